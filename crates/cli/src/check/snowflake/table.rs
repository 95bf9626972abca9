//! What the table is, and what becomes of keys and rows that do not fit it.
//!
//! Source: Snowflake documentation, "Table schema evolution", "Error tables", "Row timestamps", "Snowpipe Streaming
//! high-performance architecture" (kinds of tables).

use frazil_runtime::config::OnRowError;
use frazil_runtime::exit::Exit;
use frazil_snowflake::probe::{Held, ShownTable, TableKind, quoted, quoted_path};

use super::Look;
use super::names::Found;
use crate::check::finding::{Repair, Stage};

/// The catalog of Iceberg tables that Snowflake writes to.
const OWN_CATALOG: &str = "SNOWFLAKE";

/// A change of a table of this kind.
pub(super) fn alter(kind: &TableKind, names: &[&str], change: &str) -> Repair {
    let kind = match kind {
        TableKind::Iceberg => "ICEBERG TABLE",
        _ => "TABLE",
    };
    let text = format!("ALTER {kind} {} {change}", quoted_path(names));
    Repair::Sql(Stage::Alter, text)
}

impl Look<'_> {
    /// Says what the table is.
    pub(super) fn table(&mut self, path: &[String], shown: &ShownTable, found: &Found) {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let place = path.join(".");
        self.kind(&place, shown);
        self.evolution(&names, &place, shown, found);
        self.error_logging(&names, &place, shown);
        let id = "snowflake.row_timestamp";
        match shown.row_timestamp {
            Some(true) => self.book.proved(id, &place, "on"),
            Some(false) => self.book.proved(
                id,
                &place,
                "off; METADATA$ROW_LAST_COMMIT_TIME would tell when a row was committed",
            ),
            None => {}
        }
    }

    fn kind(&mut self, place: &str, shown: &ShownTable) {
        let id = "snowflake.table_kind";
        let foreign = shown.catalog.as_deref().filter(|catalog| *catalog != OWN_CATALOG);
        match (&shown.kind, foreign) {
            (TableKind::Other(kind), _) => {
                let what = format!("it is {kind}, and Snowpipe Streaming does not write to such tables");
                let step = "name a standard, Iceberg or interactive table".to_owned();
                self.book
                    .refused(Exit::Usage, id, place, &what, vec![Repair::Step(step)]);
            }
            (TableKind::Iceberg, Some(catalog)) => {
                let what = format!(
                    "its catalog is {catalog}, and Snowflake writes to Iceberg tables of its own alone"
                );
                let step = "name an Iceberg table with CATALOG = 'SNOWFLAKE'".to_owned();
                self.book
                    .refused(Exit::Usage, id, place, &what, vec![Repair::Step(step)]);
            }
            (TableKind::Standard, _) => self.book.proved(id, place, "a standard table"),
            (TableKind::Iceberg, None) => self.book.proved(id, place, "an Iceberg table of Snowflake's"),
            (TableKind::Interactive, _) => self.book.proved(id, place, "an interactive table"),
        }
    }

    fn evolution(&mut self, names: &[&str], place: &str, shown: &ShownTable, found: &Found) {
        let id = "snowflake.evolution";
        if !found.by_name() {
            let what = "the pipe takes what its SELECT names; other keys are left out";
            return self.book.proved(id, place, what);
        }
        match shown.schema_evolution {
            Some(true) => self.book.proved(id, place, "keys without a column get one"),
            None => self.book.unknowable(id, place, "whether it is on is not told"),
            Some(false) => {
                let what = "off: keys without a column are left out, and nothing counts them";
                let mut repair = vec![alter(&shown.kind, names, "SET ENABLE_SCHEMA_EVOLUTION = TRUE")];
                let held = self.grants.as_ref();
                let held = held.map(|grants| grants.held("EVOLVE SCHEMA", "TABLE", names));
                if held != Some(Held::Direct) {
                    let (on, role) = (quoted_path(names), quoted(&self.role));
                    let grant = format!("GRANT EVOLVE SCHEMA ON TABLE {on} TO ROLE {role}");
                    repair.push(Repair::Sql(Stage::Grant, grant));
                }
                self.book.warning(id, place, what, repair);
            }
        }
    }

    fn error_logging(&mut self, names: &[&str], place: &str, shown: &ShownTable) {
        let id = "snowflake.error_logging";
        let what = match (shown.error_logging, self.connector.on_row_error) {
            (Some(true), Some(OnRowError::Stop)) => {
                return self
                    .book
                    .proved(id, place, "rows that do not fit are kept, and stop their shard");
            }
            (Some(true), _) => {
                return self
                    .book
                    .proved(id, place, "rows that do not fit are kept in its error table");
            }
            (None, _) => return self.book.unknowable(id, place, "whether it is on is not told"),
            (Some(false), Some(OnRowError::Continue)) => {
                "off, and on_row_error is continue: rows that do not fit are counted, and lost"
            }
            (Some(false), _) => {
                "off: a row that does not fit stops its shard, and the records around it become dead letters"
            }
        };
        let repair = vec![alter(&shown.kind, names, "SET ERROR_LOGGING = TRUE")];
        self.book.warning(id, place, what, repair);
    }
}
