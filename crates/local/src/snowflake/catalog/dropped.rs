//! DROP and UNDROP: tables that are dropped, and may come back.
//!
//! How it works: DROP TABLE and CREATE OR REPLACE leave the table's row, under a name that no statement can write and with the
//! moment of the drop; its segments, its past and its grants stay as they are, its pipes and channels go. UNDROP TABLE gives
//! the name back. When DATA_RETENTION_TIME_IN_DAYS is over, the next look for garbage removes the rest.
//!
//! What it guarantees: each is one transaction; a dropped table is found by nothing but UNDROP and SHOW TABLES HISTORY; its
//! files take disk for the retention and no longer, at once nothing where that is 0. What it does not: dropped databases and
//! schemas are gone with all in them, and so are Iceberg tables.
//!
//! Source: Snowflake documentation, "DROP TABLE", "UNDROP TABLE", "Understanding & using Time Travel".

use rusqlite::Transaction;

use super::super::model::{TableDef, TableKind};
use super::grants::{self, Object};
use super::history::DAY_MS;
use super::{Catalog, iceberg, made, now_ms, objects, write};
use crate::Result;

/// Behind the name of a dropped table, before its id. A control character: no name that a statement writes has it.
const MARK: char = '\u{1}';

/// A table that was dropped and can come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// As it was, with its name.
    pub(crate) table: TableDef,
    /// Milliseconds since 1970.
    pub(crate) dropped_on_ms: i64,
}

/// What became of an UNDROP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undropped {
    /// It is back.
    Done,
    /// Another table has its name.
    Taken,
    /// Its time was over.
    Gone,
}

fn mark(id: i64) -> String {
    format!("{MARK}{id}")
}

impl Catalog {
    /// DROP DATABASE with all below it, for good; false if it was not there.
    ///
    /// # Errors
    /// [`crate::Error::Catalog`].
    pub fn drop_database(&self, name: &str) -> Result<bool> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        let there = objects::database_exists(&transaction, name)?;
        if there {
            self.remove_database(&transaction, name)?;
            transaction.commit()?;
            self.changed();
        }
        Ok(there)
    }

    /// DROP SCHEMA with all below it, for good; false if it was not there.
    ///
    /// # Errors
    /// [`crate::Error::Catalog`].
    pub fn drop_schema(&self, database: &str, name: &str) -> Result<bool> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        let there = objects::schema_exists(&transaction, database, name)?;
        if there {
            self.remove_schema(&transaction, database, name)?;
            transaction.commit()?;
            self.changed();
        }
        Ok(there)
    }

    /// DROP TABLE; its pipes and channels go for good; false if it was not there.
    ///
    /// # Errors
    /// [`crate::Error::Catalog`].
    pub fn drop_table(&self, database: &str, schema: &str, name: &str) -> Result<bool> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        let Some(table) = objects::table(&transaction, database, schema, name)? else {
            return Ok(false);
        };
        self.put_away(&transaction, &table)?;
        transaction.commit()?;
        self.changed();
        Ok(true)
    }

    /// Dropped tables of one or all databases and schemas whose retention is not over; the last that was dropped first.
    pub(crate) fn dropped_tables(
        &self,
        database: Option<&str>,
        schema: Option<&str>,
    ) -> Result<Vec<Dropped>> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {}, dropped_on_ms FROM tables
             WHERE dropped_on_ms >= ?3 - retention_days * ?4
             AND (?1 IS NULL OR database = ?1) AND (?2 IS NULL OR schema = ?2) ORDER BY dropped_on_ms DESC, id DESC",
            objects::TABLE_COLUMNS
        ))?;
        let mut rows = statement.query((database, schema, now_ms(), DAY_MS))?;
        let mut dropped = Vec::new();
        while let Some(row) = rows.next()? {
            let mut table = objects::table_row(row)?;
            if let Some(name) = table.name.strip_suffix(&mark(table.id)) {
                table.name = name.to_owned();
            }
            dropped.push(Dropped {
                table,
                dropped_on_ms: row.get("dropped_on_ms")?,
            });
        }
        Ok(dropped)
    }

    /// UNDROP TABLE of a table that [`Catalog::dropped_tables`] gave.
    pub(crate) fn undrop_table(&self, table: &TableDef) -> Result<Undropped> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        if objects::table(&transaction, &table.database, &table.schema, &table.name)?.is_some() {
            return Ok(Undropped::Taken);
        }
        let restored = transaction.execute(
            "UPDATE tables SET name = ?2, dropped_on_ms = NULL
             WHERE id = ?1 AND dropped_on_ms >= ?3 - retention_days * ?4",
            (table.id, &table.name, now_ms(), DAY_MS),
        )?;
        if restored == 0 {
            return Ok(Undropped::Gone);
        }
        transaction.commit()?;
        self.changed();
        Ok(Undropped::Done)
    }

    /// Drops a table: for its retention, or for good where it has none.
    pub(super) fn put_away(&self, transaction: &Transaction<'_>, table: &TableDef) -> Result<()> {
        if table.retention_days == 0 || table.kind == TableKind::Iceberg {
            return self.remove_table(transaction, table.id);
        }
        remove_pipes(transaction, table.id)?;
        transaction.execute(
            "UPDATE tables SET name = ?2, dropped_on_ms = ?3 WHERE id = ?1",
            (table.id, format!("{}{}", table.name, mark(table.id)), now_ms()),
        )?;
        Ok(())
    }

    /// Removes for good the dropped tables whose retention is over.
    pub(super) fn remove_what_is_over(&self, transaction: &Transaction<'_>) -> Result<()> {
        let over: Vec<i64> = transaction
            .prepare_cached("SELECT id FROM tables WHERE dropped_on_ms < ?1 - retention_days * ?2")?
            .query_map((now_ms(), DAY_MS), |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        over.into_iter()
            .try_for_each(|id| self.remove_table(transaction, id))
    }

    pub(super) fn remove_database(&self, transaction: &Transaction<'_>, name: &str) -> Result<()> {
        let schemas: Vec<String> = transaction
            .prepare_cached("SELECT name FROM schemas WHERE database = ?1")?
            .query_map([name], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for schema in schemas {
            self.remove_schema(transaction, name, &schema)?;
        }
        transaction.execute("DELETE FROM databases WHERE name = ?1", [name])?;
        grants::forget(transaction, &Object::Database(name.to_owned()))?;
        Ok(())
    }

    pub(super) fn remove_schema(
        &self,
        transaction: &Transaction<'_>,
        database: &str,
        name: &str,
    ) -> Result<()> {
        let tables: Vec<i64> = transaction
            .prepare_cached("SELECT id FROM tables WHERE database = ?1 AND schema = ?2")?
            .query_map([database, name], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for table in tables {
            self.remove_table(transaction, table)?;
        }
        made::remove_of_schema(transaction, database, name)?;
        transaction.execute(
            "DELETE FROM schemas WHERE database = ?1 AND name = ?2",
            [database, name],
        )?;
        grants::forget(transaction, &Object::Schema(database.to_owned(), name.to_owned()))?;
        Ok(())
    }

    fn remove_table(&self, transaction: &Transaction<'_>, id: i64) -> Result<()> {
        self.remove_segments(transaction, id, None)?;
        self.forget_history(transaction, id)?;
        iceberg::remove(transaction, id, self.pins.number())?;
        remove_pipes(transaction, id)?;
        grants::forget(transaction, &Object::Table(id))?;
        transaction.execute("DELETE FROM tables WHERE id = ?1", [id])?;
        Ok(())
    }

    /// Lets a table have been dropped so many milliseconds earlier.
    #[cfg(test)]
    pub(crate) fn age_dropped(&self, by_ms: i64) {
        self.lock()
            .execute("UPDATE tables SET dropped_on_ms = dropped_on_ms - ?1", [by_ms])
            .unwrap();
    }
}

/// Removes a table's pipes, with their channels and grants.
fn remove_pipes(transaction: &Transaction<'_>, table_id: i64) -> Result<()> {
    let pipes: Vec<i64> = transaction
        .prepare_cached("SELECT id FROM pipes WHERE table_id = ?1")?
        .query_map([table_id], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for pipe in pipes {
        grants::forget(transaction, &Object::Pipe(pipe))?;
    }
    for from in ["channels", "pipes"] {
        transaction.execute(&format!("DELETE FROM {from} WHERE table_id = ?1"), [table_id])?;
    }
    Ok(())
}
