//! Databases, schemas and tables: CREATE, list, ALTER. What DROP does is in [`super::dropped`].

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction};

use super::super::model::{
    ACCOUNTADMIN, ColumnDef, CreateMode, Created, NamespaceRow, NewTable, RETENTION_DAYS, SegmentKind,
    TableDef, TableKind,
};
use super::grants::{self, Object};
use super::{Catalog, existing, history, now_ms, write};
use crate::{Error, Result};

pub(super) const TABLE_COLUMNS: &str =
    "id, database, schema, name, columns, schema_evolution, error_logging, created_on_ms, row_timestamp_ms, kind, cluster_by,
     comment, owner, renames, retention_days, transform,
     (SELECT version FROM iceberg_tables WHERE table_id = tables.id)";

impl Catalog {
    /// CREATE DATABASE, with its schema PUBLIC.
    ///
    /// # Errors
    /// [`Error::ObjectExists`] in mode `New`.
    pub fn create_database(&self, name: &str, mode: CreateMode) -> Result<Created> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        let there = database_exists(&transaction, name)?;
        if there {
            if !existing(mode, "Database", || name.to_owned())? {
                return Ok(Created::Existed);
            }
            self.remove_database(&transaction, name)?;
        }
        let now = now_ms();
        transaction.execute(
            "INSERT INTO databases (name, created_on_ms) VALUES (?1, ?2)",
            (name, now),
        )?;
        transaction.execute(
            "INSERT INTO schemas (database, name, created_on_ms) VALUES (?1, 'PUBLIC', ?2)",
            (name, now),
        )?;
        transaction.commit()?;
        self.changed();
        Ok(if there { Created::Replaced } else { Created::Made })
    }

    /// CREATE SCHEMA.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`] if the database is missing, [`Error::ObjectExists`] in mode `New`.
    pub fn create_schema(&self, database: &str, name: &str, mode: CreateMode) -> Result<Created> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        if !database_exists(&transaction, database)? {
            return Err(Error::NoSuchObject {
                kind: "Database",
                name: database.to_owned(),
            });
        }
        let there = schema_exists(&transaction, database, name)?;
        if there {
            if !existing(mode, "Schema", || format!("{database}.{name}"))? {
                return Ok(Created::Existed);
            }
            self.remove_schema(&transaction, database, name)?;
        }
        transaction.execute(
            "INSERT INTO schemas (database, name, created_on_ms) VALUES (?1, ?2, ?3)",
            (database, name, now_ms()),
        )?;
        let object = Object::Schema(database.to_owned(), name.to_owned());
        grants::give_future(&transaction, &object, database, None)?;
        transaction.commit()?;
        self.changed();
        Ok(if there { Created::Replaced } else { Created::Made })
    }

    /// CREATE TABLE. What replaces a table gets a new id, so its pipe and channels are new ones too.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`] if database or schema is missing, [`Error::ObjectExists`] in mode `New`.
    pub fn create_table(&self, new: &NewTable, mode: CreateMode) -> Result<Created> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        let created = self.insert_table(&transaction, new, mode)?;
        if created != Created::Existed {
            transaction.commit()?;
            self.changed();
        }
        Ok(created)
    }

    pub(super) fn insert_table(
        &self,
        transaction: &Transaction<'_>,
        new: &NewTable,
        mode: CreateMode,
    ) -> Result<Created> {
        if !schema_exists(transaction, &new.database, &new.schema)? {
            return Err(Error::NoSuchObject {
                kind: "Schema",
                name: format!("{}.{}", new.database, new.schema),
            });
        }
        let old = table(transaction, &new.database, &new.schema, &new.name)?;
        let copied = match new.copy_grants_of {
            Some(id) => Some(grants::held_on(transaction, &Object::Table(id))?),
            None => None,
        };
        if let Some(old) = &old {
            if !existing(mode, "Table", || {
                format!("{}.{}.{}", new.database, new.schema, new.name)
            })? {
                return Ok(Created::Existed);
            }
            self.put_away(transaction, old)?;
        }
        transaction.execute(
            "INSERT INTO tables (database, schema, name, columns, schema_evolution, error_logging, created_on_ms,
             row_timestamp_ms, kind, cluster_by, comment, owner, retention_days, transform)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            (
                &new.database,
                &new.schema,
                &new.name,
                columns_text(&new.columns)?,
                new.schema_evolution,
                new.error_logging,
                now_ms(),
                new.row_timestamp.then(now_ms),
                new.kind.stored(),
                &new.cluster_by,
                &new.comment,
                new.owner.as_deref().unwrap_or(ACCOUNTADMIN),
                new.retention_days.unwrap_or(RETENTION_DAYS),
                &new.transform,
            ),
        )?;
        let object = Object::Table(transaction.last_insert_rowid());
        match copied {
            Some(held) => grants::give(transaction, &object, &held, new.owner.as_deref())?,
            None => grants::give_future(transaction, &object, &new.database, Some(&new.schema))?,
        }
        Ok(if old.is_some() {
            Created::Replaced
        } else {
            Created::Made
        })
    }

    /// Changes a table's definition (columns, properties, name) as it stands now: a commit that adds a column comes before
    /// or behind it.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`] if it was dropped meanwhile; whatever `change` refuses with, and nothing is changed then.
    pub fn alter_table<E: From<Error>>(
        &self,
        id: i64,
        change: impl FnOnce(&mut TableDef) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        let missing = || Error::NoSuchObject {
            kind: "Table",
            name: id.to_string(),
        };
        let mut table = table_by_id(&transaction, id)?.ok_or_else(missing)?;
        let before = table.columns.clone();
        let kept_errors = table.error_logging;
        change(&mut table)?;
        history::note_columns(&transaction, id, &before, &table.columns)?;
        self.store_table(&transaction, &table)?;
        if kept_errors && !table.error_logging {
            self.remove_segments(&transaction, id, Some(SegmentKind::Errors))?;
        }
        transaction.commit().map_err(Error::from)?;
        Ok(())
    }

    /// TRUNCATE TABLE of a table or of its error table. Channels and their tokens stay.
    ///
    /// # Errors
    /// [`Error::Catalog`].
    pub fn truncate(&self, table_id: i64, kind: SegmentKind) -> Result<()> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        if kind == SegmentKind::Rows {
            history::keep_segments(&transaction, table_id)?;
        }
        self.remove_segments(&transaction, table_id, Some(kind))?;
        transaction.commit()?;
        Ok(())
    }

    /// Turns a table's segments, of one kind or all, into garbage, but for files that another table names (they are looked for
    /// when garbage is taken).
    pub(super) fn remove_segments(
        &self,
        transaction: &Transaction<'_>,
        table_id: i64,
        kind: Option<SegmentKind>,
    ) -> Result<()> {
        let kind = kind.map(|kind| kind as i64);
        transaction.execute(
            "INSERT INTO garbage (path, generation)
             SELECT path, ?2 FROM segments WHERE table_id = ?1 AND (?3 IS NULL OR kind = ?3)
             AND path NOT IN (SELECT path FROM iceberg_files WHERE table_id = ?1)",
            (table_id, self.pins.number(), kind),
        )?;
        transaction.execute(
            "DELETE FROM segments WHERE table_id = ?1 AND (?2 IS NULL OR kind = ?2)",
            (table_id, kind),
        )?;
        Ok(())
    }

    pub(super) fn store_table(&self, connection: &Connection, table: &TableDef) -> Result<()> {
        let changed = connection.execute(
            "UPDATE tables SET name = ?2, columns = ?3, schema_evolution = ?4, error_logging = ?5,
             row_timestamp_ms = ?6, cluster_by = ?7, comment = ?8, owner = ?9, renames = ?10, retention_days = ?11
             WHERE id = ?1",
            (
                table.id,
                &table.name,
                columns_text(&table.columns)?,
                table.schema_evolution,
                table.error_logging,
                table.row_timestamp_ms,
                &table.cluster_by,
                &table.comment,
                &table.owner,
                table.renames,
                table.retention_days,
            ),
        )?;
        if changed == 0 {
            return Err(Error::NoSuchObject {
                kind: "Table",
                name: table.name.clone(),
            });
        }
        self.changed();
        Ok(())
    }

    /// Whether the database is there.
    ///
    /// # Errors
    /// [`Error::Catalog`].
    pub fn database_exists(&self, name: &str) -> Result<bool> {
        database_exists(&self.lock(), name)
    }

    /// Whether the schema is there.
    ///
    /// # Errors
    /// [`Error::Catalog`].
    pub fn schema_exists(&self, database: &str, name: &str) -> Result<bool> {
        schema_exists(&self.lock(), database, name)
    }

    /// All databases by name.
    ///
    /// # Errors
    /// [`Error::Catalog`].
    pub fn list_databases(&self) -> Result<Vec<NamespaceRow>> {
        let connection = self.lock();
        let mut statement =
            connection.prepare_cached("SELECT name, '', created_on_ms FROM databases ORDER BY name")?;
        Ok(statement
            .query_map([], namespace)?
            .collect::<rusqlite::Result<_>>()?)
    }

    /// Schemas of one or all databases, by name.
    ///
    /// # Errors
    /// [`Error::Catalog`].
    pub fn list_schemas(&self, database: Option<&str>) -> Result<Vec<NamespaceRow>> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT database, name, created_on_ms FROM schemas WHERE ?1 IS NULL OR database = ?1 ORDER BY database, name",
        )?;
        Ok(statement
            .query_map([database], namespace)?
            .collect::<rusqlite::Result<_>>()?)
    }

    /// Tables of one or all databases and schemas, by name.
    ///
    /// # Errors
    /// [`Error::Catalog`], [`Error::Damaged`].
    pub fn list_tables(&self, database: Option<&str>, schema: Option<&str>) -> Result<Vec<TableDef>> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {TABLE_COLUMNS} FROM tables
             WHERE dropped_on_ms IS NULL AND (?1 IS NULL OR database = ?1) AND (?2 IS NULL OR schema = ?2)
             ORDER BY database, schema, name"
        ))?;
        let mut rows = statement.query((database, schema))?;
        let mut tables = Vec::new();
        while let Some(row) = rows.next()? {
            tables.push(table_row(row)?);
        }
        Ok(tables)
    }

    /// One table's definition.
    ///
    /// # Errors
    /// [`Error::Catalog`], [`Error::Damaged`].
    pub fn table(&self, database: &str, schema: &str, name: &str) -> Result<Option<TableDef>> {
        table(&self.lock(), database, schema, name)
    }

    /// One table's definition by id.
    ///
    /// # Errors
    /// [`Error::Catalog`], [`Error::Damaged`].
    pub fn table_by_id(&self, id: i64) -> Result<Option<TableDef>> {
        table_by_id(&self.lock(), id)
    }

    /// Committed rows and bytes on disk of a table.
    ///
    /// # Errors
    /// [`Error::Catalog`].
    pub fn table_size(&self, table_id: i64) -> Result<(u64, u64)> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT coalesce(sum(rows), 0), coalesce(sum(bytes), 0) FROM segments WHERE table_id = ?1 AND kind = 0",
        )?;
        let (rows, bytes): (i64, i64) =
            statement.query_row([table_id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok((rows.unsigned_abs(), bytes.unsigned_abs()))
    }
}

fn namespace(row: &Row<'_>) -> rusqlite::Result<NamespaceRow> {
    Ok(NamespaceRow {
        database: row.get(0)?,
        schema: row.get(1)?,
        created_on_ms: row.get(2)?,
    })
}

pub(super) fn database_exists(connection: &Connection, name: &str) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM databases WHERE name = ?1")?
        .exists([name])?)
}

pub(super) fn schema_exists(connection: &Connection, database: &str, name: &str) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM schemas WHERE database = ?1 AND name = ?2")?
        .exists([database, name])?)
}

pub(super) fn table(
    connection: &Connection,
    database: &str,
    schema: &str,
    name: &str,
) -> Result<Option<TableDef>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {TABLE_COLUMNS} FROM tables WHERE database = ?1 AND schema = ?2 AND name = ?3 AND dropped_on_ms IS NULL"
    ))?;
    statement
        .query_row([database, schema, name], |row| Ok(table_row(row)))
        .optional()?
        .transpose()
}

pub(super) fn table_by_id(connection: &Connection, id: i64) -> Result<Option<TableDef>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {TABLE_COLUMNS} FROM tables WHERE id = ?1 AND dropped_on_ms IS NULL"
    ))?;
    statement
        .query_row([id], |row| Ok(table_row(row)))
        .optional()?
        .transpose()
}

pub(super) fn table_row(row: &Row<'_>) -> Result<TableDef> {
    let columns: String = row.get(4)?;
    let kind: String = row.get(9)?;
    Ok(TableDef {
        id: row.get(0)?,
        database: row.get(1)?,
        schema: row.get(2)?,
        name: row.get(3)?,
        columns: serde_json::from_str(&columns)
            .map_err(|error| Error::Damaged(format!("columns of a table: {error}")))?,
        schema_evolution: row.get(5)?,
        error_logging: row.get(6)?,
        row_timestamp_ms: row.get(8)?,
        created_on_ms: row.get(7)?,
        kind: TableKind::read(&kind).ok_or_else(|| Error::Damaged(format!("kind of a table: {kind}")))?,
        cluster_by: row.get(10)?,
        comment: row.get(11)?,
        owner: row.get(12)?,
        renames: row.get(13)?,
        retention_days: row.get(14)?,
        transform: row.get(15)?,
        iceberg_version: row.get(16)?,
    })
}

pub(super) fn columns_text(columns: &[ColumnDef]) -> Result<String> {
    serde_json::to_string(columns).map_err(|error| Error::Damaged(format!("columns of a table: {error}")))
}
