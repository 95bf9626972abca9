//! Columns that records may not fill, and the one of the metadata.
//!
//! Source: Snowflake documentation, "Snowpipe Streaming: default pipe" (a DEFAULT or AUTOINCREMENT fills a column whose key is
//! missing), "CREATE PIPE" (functions of time are evaluated when the pipe is compiled).

use frazil_snowflake::Error;
use frazil_snowflake::probe::{ShownColumn, ShownTable, TableKind, quoted, quoted_path};

use super::Look;
use super::names::Found;
use crate::check::finding::{Repair, Stage};
use frazil_runtime::exit::Exit;

/// Functions whose value would be that of the pipe's compilation.
const OF_TIME: [&str; 8] = [
    "CURRENT_TIMESTAMP",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "LOCALTIMESTAMP",
    "LOCALTIME",
    "SYSDATE",
    "GETDATE",
    "SYSTIMESTAMP",
];

/// Whether a value of this type can hold the metadata, which is an object; text holds it as JSON.
fn holds_an_object(kind: &str) -> bool {
    ["OBJECT", "VARIANT", "VARCHAR", "STRING", "TEXT", "MAP"]
        .iter()
        .any(|good| kind.to_uppercase().starts_with(good))
}

fn is_identity(default: &str) -> bool {
    let default = default.to_uppercase();
    default.starts_with("IDENTITY") || default.starts_with("AUTOINCREMENT")
}

impl Look<'_> {
    /// Says what of the columns may surprise. A SELECT fills what it names, which is its author's to know.
    pub(super) async fn columns(
        &mut self,
        path: &[String],
        shown: &ShownTable,
        found: &Found,
    ) -> Result<(), Error> {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let place = path.join(".");
        let columns = match self.probe.columns(&names).await {
            Ok(columns) => columns,
            Err(Error::Sql { message, .. }) => {
                self.book.unknowable("snowflake.columns", &place, &message);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.defaults(&place, &columns);
        if !found.by_name() {
            return Ok(());
        }
        let evolves = shown.schema_evolution == Some(true);
        self.metadata(&names, &place, &columns, evolves, &shown.kind);
        self.not_null(&names, &place, &columns, evolves);
        Ok(())
    }

    fn metadata(
        &mut self,
        names: &[&str],
        place: &str,
        columns: &[ShownColumn],
        evolves: bool,
        kind: &TableKind,
    ) {
        let (id, key) = ("snowflake.metadata", self.connector.metadata.key.clone());
        let column = columns
            .iter()
            .find(|column| column.name.to_uppercase() == key.to_uppercase());
        match column {
            Some(column) if holds_an_object(&column.kind) => {
                let what = format!("{key} goes to {} {}", column.name, column.kind);
                self.book.proved(id, place, &what);
            }
            Some(column) => {
                let what = format!(
                    "{} is {}, and {key} is an object: no row would fit",
                    column.name, column.kind
                );
                let value = format!("{key}Of");
                let key = "metadata.key";
                self.book.refused(
                    Exit::Usage,
                    id,
                    place,
                    &what,
                    vec![Repair::Configuration { key, value }],
                );
            }
            None if evolves => {
                let what = format!("{key} gets a column with the first row");
                self.book.proved(id, place, &what);
            }
            None => {
                let what =
                    format!("there is no column for {key}: rows do not tell which record they come from");
                let table = match kind {
                    TableKind::Iceberg => "ICEBERG TABLE",
                    _ => "TABLE",
                };
                let text = format!(
                    "ALTER {table} {} ADD COLUMN {} {}",
                    quoted_path(names),
                    quoted(&key.to_uppercase()),
                    if *kind == TableKind::Iceberg {
                        "STRING"
                    } else {
                        "OBJECT"
                    }
                );
                self.book
                    .warning(id, place, &what, vec![Repair::Sql(Stage::Alter, text)]);
            }
        }
    }

    fn not_null(&mut self, names: &[&str], place: &str, columns: &[ShownColumn], evolves: bool) {
        let id = "snowflake.not_null";
        let metadata = self.connector.metadata.key.to_uppercase();
        let mut strict = columns.iter().filter(|column| {
            !column.nullable && column.default.is_none() && column.name.to_uppercase() != metadata
        });
        let mut any = false;
        for column in strict.by_ref() {
            any = true;
            let what = if evolves {
                "NOT NULL without a DEFAULT: the first record without its key takes the constraint off"
            } else {
                "NOT NULL without a DEFAULT: a record without its key is a row error"
            };
            let text = format!(
                "ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL",
                quoted_path(names),
                quoted(&column.name)
            );
            let place = format!("{place}.{}", column.name);
            self.book
                .warning(id, &place, what, vec![Repair::Sql(Stage::Alter, text)]);
        }
        if !any {
            self.book
                .proved(id, place, "no column wants a value that a record may lack");
        }
    }

    fn defaults(&mut self, place: &str, columns: &[ShownColumn]) {
        let id = "snowflake.defaults";
        let mut any = false;
        for column in columns {
            let Some(default) = &column.default else { continue };
            let place = format!("{place}.{}", column.name);
            if OF_TIME
                .iter()
                .any(|function| default.to_uppercase().contains(function))
            {
                any = true;
                let what = format!(
                    "DEFAULT {default} is evaluated when the pipe is compiled: rows of many hours may have the same value"
                );
                let step = format!(
                    "use METADATA$ROW_LAST_COMMIT_TIME (ROW_TIMESTAMP = TRUE) or the metadata's approximateArrival instead of \
                     column {}",
                    column.name
                );
                self.book.warning(id, &place, &what, vec![Repair::Step(step)]);
            } else if is_identity(default) {
                any = true;
                let what = "numbered as rows are committed, which is not the order of the stream".to_owned();
                self.book.proved(id, &place, &what);
            } else {
                any = true;
                let what = format!("{default} where the key is missing; an explicit null stays NULL");
                self.book.proved(id, &place, &what);
            }
        }
        if !any {
            self.book.proved(id, place, "no column has one");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_hold_the_metadata_and_defaults_that_count() {
        for (kind, holds) in [
            ("OBJECT", true),
            ("OBJECT(stream VARCHAR)", true),
            ("VARIANT", true),
            ("VARCHAR(16777216)", true),
            ("NUMBER(38,0)", false),
            ("TIMESTAMP_NTZ(9)", false),
        ] {
            assert_eq!(holds_an_object(kind), holds, "{kind}");
        }
        for (default, counts) in [
            ("IDENTITY START 1 INCREMENT 1", true),
            ("autoincrement", true),
            ("0", false),
        ] {
            assert_eq!(is_identity(default), counts, "{default}");
        }
    }
}
