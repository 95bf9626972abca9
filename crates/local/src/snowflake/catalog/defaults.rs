//! ROW_TIMESTAMP_DEFAULT of the account, of databases and of schemas: what a table without ROW_TIMESTAMP of its own gets. The
//! nearest one that was set counts (Snowflake documentation, "Row timestamps").

use rusqlite::OptionalExtension as _;

use super::Catalog;
use crate::Result;

const ACCOUNT: &str = "row_timestamp_default";

/// What has a default for the tables in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    Account,
    Database(String),
    Schema(String, String),
}

impl Catalog {
    /// Sets a default, or leaves it to what is above.
    pub(crate) fn set_row_timestamp_default(&self, scope: &Scope, value: Option<bool>) -> Result<()> {
        match scope {
            Scope::Account => match value {
                Some(value) => self.set_meta(ACCOUNT, &[u8::from(value)])?,
                None => {
                    _ = self
                        .lock()
                        .execute("DELETE FROM meta WHERE key = ?1", [ACCOUNT])?
                }
            },
            Scope::Database(name) => {
                let sql = "UPDATE databases SET row_timestamp_default = ?2 WHERE name = ?1";
                self.lock().execute(sql, (name, value))?;
            }
            Scope::Schema(database, name) => {
                let sql = "UPDATE schemas SET row_timestamp_default = ?3 WHERE database = ?1 AND name = ?2";
                self.lock().execute(sql, (database, name, value))?;
            }
        }
        Ok(())
    }

    /// What counts for a new table.
    pub(crate) fn row_timestamp_default(&self, database: &str, schema: &str) -> Result<bool> {
        let nearest: Option<Option<bool>> = self
            .lock()
            .prepare_cached(
                "SELECT coalesce(s.row_timestamp_default, d.row_timestamp_default) FROM schemas s
                 JOIN databases d ON d.name = s.database WHERE s.database = ?1 AND s.name = ?2",
            )?
            .query_row((database, schema), |row| row.get(0))
            .optional()?;
        match nearest.flatten() {
            Some(value) => Ok(value),
            None => Ok(self.meta(ACCOUNT)?.is_some_and(|value| value == [1])),
        }
    }
}
