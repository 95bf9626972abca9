//! Pipes: find, make, drop, list.

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::super::model::{ACCOUNTADMIN, CreateMode, Created, NewPipe, PipeRow, TableDef};
use super::grants::{self, Object};
use super::{Catalog, existing, now_ms, objects, write};
use crate::Result;

/// What the default pipe of a table is called: its name and this.
pub(crate) const DEFAULT_PIPE_SUFFIX: &str = "-STREAMING";

/// Pipes of their own that a table may have (Snowflake documentation, "Snowpipe Streaming high-performance architecture",
/// limitations).
pub(crate) const MOST_PIPES: i64 = 10;

const PIPE_COLUMNS: &str =
    "p.id, p.table_id, p.database, p.schema, p.name, t.name, p.created_on_ms, p.copy, p.comment, t.transform
    FROM pipes p JOIN tables t ON t.id = p.table_id";

/// Answer to looking a pipe up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PipeLookup {
    /// It is there.
    Found(PipeRow),
    /// Database or schema is missing.
    NoNamespace,
    /// They are there, the pipe is not, and it is no default pipe of a table.
    NoPipe,
}

impl Catalog {
    /// Finds a pipe; makes the default pipe of a table on first use.
    pub(crate) fn pipe(&self, database: &str, schema: &str, name: &str) -> Result<PipeLookup> {
        let mut connection = self.lock();
        if let Some(pipe) = pipe(&connection, database, schema, name)? {
            return Ok(PipeLookup::Found(pipe));
        }
        let transaction = write(&mut connection)?;
        let there = transaction
            .prepare_cached("SELECT 1 FROM schemas WHERE database = ?1 AND name = ?2")?
            .exists([database, schema])?;
        if !there {
            return Ok(PipeLookup::NoNamespace);
        }
        let Some(table_name) = name.strip_suffix(DEFAULT_PIPE_SUFFIX) else {
            return Ok(PipeLookup::NoPipe);
        };
        let Some(table) = objects::table(&transaction, database, schema, table_name)? else {
            return Ok(PipeLookup::NoPipe);
        };
        make_pipe(&transaction, &table, name)?;
        let made = pipe(&transaction, database, schema, name)?;
        transaction.commit()?;
        Ok(made.map_or(PipeLookup::NoPipe, PipeLookup::Found))
    }

    /// All pipes of one or all databases and schemas, by name.
    ///
    /// # Errors
    /// [`crate::Error::Catalog`].
    pub fn pipes(&self, database: Option<&str>, schema: Option<&str>) -> Result<Vec<PipeRow>> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            &format!("SELECT {PIPE_COLUMNS}
             WHERE (?1 IS NULL OR p.database = ?1) AND (?2 IS NULL OR p.schema = ?2) ORDER BY p.database, p.schema, p.name")
        )?;
        Ok(statement
            .query_map((database, schema), pipe_row)?
            .collect::<rusqlite::Result<_>>()?)
    }

    /// A pipe by id.
    pub(crate) fn pipe_by_id(&self, id: i64) -> Result<Option<PipeRow>> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(&format!("SELECT {PIPE_COLUMNS} WHERE p.id = ?1"))?;
        Ok(statement.query_row([id], pipe_row).optional()?)
    }

    /// CREATE PIPE. A replaced pipe gets a new id, so its channels are gone; `None` if its table has too many already.
    ///
    /// # Errors
    /// [`crate::Error::ObjectExists`] in mode `New`.
    pub(crate) fn create_pipe(&self, new: &NewPipe, mode: CreateMode) -> Result<Option<Created>> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        let old = pipe(&transaction, &new.database, &new.schema, &new.name)?;
        if let Some(old) = &old {
            if !existing(mode, "Pipe", || {
                format!("{}.{}.{}", new.database, new.schema, new.name)
            })? {
                return Ok(Some(Created::Existed));
            }
            remove_pipe(&transaction, old.id)?;
        }
        let there: i64 = transaction.query_row(
            "SELECT count(*) FROM pipes WHERE table_id = ?1 AND copy IS NOT NULL",
            [new.table_id],
            |row| row.get(0),
        )?;
        if there >= MOST_PIPES {
            return Ok(None);
        }
        transaction.execute(
            "INSERT INTO pipes (table_id, database, schema, name, created_on_ms, copy, comment, owner)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            (
                new.table_id,
                &new.database,
                &new.schema,
                &new.name,
                now_ms(),
                &new.copy,
                &new.comment,
                new.owner.as_deref().unwrap_or(ACCOUNTADMIN),
            ),
        )?;
        let object = Object::Pipe(transaction.last_insert_rowid());
        grants::give_future(&transaction, &object, &new.database, Some(&new.schema))?;
        transaction.commit()?;
        self.changed();
        Ok(Some(if old.is_some() {
            Created::Replaced
        } else {
            Created::Made
        }))
    }

    /// A pipe as it stands, without making a default one.
    pub(crate) fn find_pipe(&self, database: &str, schema: &str, name: &str) -> Result<Option<PipeRow>> {
        pipe(&self.lock(), database, schema, name)
    }

    /// DROP PIPE, with its channels.
    pub(crate) fn drop_pipe(&self, id: i64) -> Result<()> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        remove_pipe(&transaction, id)?;
        transaction.commit()?;
        self.changed();
        Ok(())
    }

    /// Gives a table another name. Pipes do not follow: those of the user's own refuse their rows from now on, and the
    /// managed one, with its channels, is gone, because it has the table's name.
    pub(crate) fn rename_table(&self, id: i64, database: &str, schema: &str, name: &str) -> Result<()> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        let managed: Vec<i64> = transaction
            .prepare_cached("SELECT id FROM pipes WHERE table_id = ?1 AND copy IS NULL")?
            .query_map([id], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for pipe in managed {
            remove_pipe(&transaction, pipe)?;
        }
        transaction.execute(
            "UPDATE tables SET database = ?2, schema = ?3, name = ?4 WHERE id = ?1",
            (id, database, schema, name),
        )?;
        transaction.commit()?;
        self.changed();
        Ok(())
    }

    /// COMMENT of a pipe.
    pub(crate) fn comment_pipe(&self, id: i64, comment: Option<&str>) -> Result<()> {
        self.lock()
            .execute("UPDATE pipes SET comment = ?2 WHERE id = ?1", (id, comment))?;
        Ok(())
    }
}

fn remove_pipe(connection: &Connection, id: i64) -> Result<()> {
    grants::forget(connection, &Object::Pipe(id))?;
    connection.execute("DELETE FROM channels WHERE pipe_id = ?1", [id])?;
    connection.execute("DELETE FROM pipes WHERE id = ?1", [id])?;
    Ok(())
}

fn make_pipe(connection: &Connection, table: &TableDef, name: &str) -> Result<()> {
    connection.execute(
        "INSERT INTO pipes (table_id, database, schema, name, created_on_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        (table.id, &table.database, &table.schema, name, now_ms()),
    )?;
    Ok(())
}

fn pipe(connection: &Connection, database: &str, schema: &str, name: &str) -> Result<Option<PipeRow>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {PIPE_COLUMNS} WHERE p.database = ?1 AND p.schema = ?2 AND p.name = ?3"
    ))?;
    Ok(statement
        .query_row([database, schema, name], pipe_row)
        .optional()?)
}

fn pipe_row(row: &Row<'_>) -> rusqlite::Result<PipeRow> {
    Ok(PipeRow {
        id: row.get(0)?,
        table_id: row.get(1)?,
        database: row.get(2)?,
        schema: row.get(3)?,
        name: row.get(4)?,
        table: row.get(5)?,
        created_on_ms: row.get(6)?,
        copy: row.get(7)?,
        comment: row.get(8)?,
        transform: row.get(9)?,
    })
}
