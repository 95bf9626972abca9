//! Columns that records may not fill.
//!
//! Source: Snowflake documentation, "Snowpipe Streaming: default pipe" (a DEFAULT or AUTOINCREMENT fills a column whose key is
//! missing), "CREATE PIPE" (functions of time are evaluated when the pipe is compiled).

use frazil_snowflake::Error;
use frazil_snowflake::probe::{ShownColumn, ShownTable, quoted};

use super::Look;
use super::names::Found;
use super::table::alter;
use crate::check::finding::Repair;

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
        self.not_null(&names, &place, &columns, shown);
        Ok(())
    }

    fn not_null(&mut self, names: &[&str], place: &str, columns: &[ShownColumn], shown: &ShownTable) {
        let id = "snowflake.not_null";
        let metadata = self.connector.metadata.key.to_uppercase();
        let mut strict = columns.iter().filter(|column| {
            !column.nullable && column.default.is_none() && column.name.to_uppercase() != metadata
        });
        let mut any = false;
        for column in strict.by_ref() {
            any = true;
            let what = if shown.schema_evolution == Some(true) {
                "NOT NULL without a DEFAULT: the first record without its key takes the constraint off"
            } else {
                "NOT NULL without a DEFAULT: a record without its key is a row error"
            };
            let change = format!("ALTER COLUMN {} DROP NOT NULL", quoted(&column.name));
            let repair = vec![alter(&shown.kind, names, &change)];
            let place = format!("{place}.{}", column.name);
            self.book.warning(id, &place, what, repair);
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
    fn numbers_of_the_service_are_told_from_other_defaults() {
        for (default, counts) in [
            ("IDENTITY START 1 INCREMENT 1", true),
            ("autoincrement", true),
            ("0", false),
        ] {
            assert_eq!(is_identity(default), counts, "{default}");
        }
    }
}
