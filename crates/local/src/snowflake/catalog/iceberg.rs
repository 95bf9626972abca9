//! Iceberg tables: where their files are, which metadata file counts, and which files nobody needs any more.
//!
//! The pointer to the metadata file is swapped in the transaction that moves the channels' tokens ([`super::commit`]), and only
//! if it still is the one that the new file was made from. A file stands here from that transaction on; one that is on disk
//! and not here was left by a crash. `until` is the first sequence number of the table that has no use for a file: when all
//! snapshots before it are expired, the file becomes garbage, which waits for its readers as every other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, Transaction};

use super::super::model::{CreateMode, Created, NewTable};
use super::objects::table;
use super::{Catalog, write};
use crate::{Error, Result};

/// Whose turn it is to change an Iceberg table, by the table's id.
pub(super) type Turns = Mutex<HashMap<i64, Turn>>;

/// Held from the look at a table's metadata to the swap, so that commits and merges do not overtake each other for ever.
pub(crate) type Turn = Arc<Mutex<()>>;

/// Where an Iceberg table is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IcebergRow {
    /// EXTERNAL_VOLUME.
    pub(crate) volume: String,
    /// BASE_LOCATION.
    pub(crate) base_location: String,
    /// ICEBERG_VERSION.
    pub(crate) version: u8,
    /// Relative to the data folder.
    pub(crate) folder: String,
    /// The folder as its files name it, a `file://` address.
    pub(crate) location: String,
    /// The metadata file that counts, relative to the data folder.
    pub(crate) metadata: String,
    /// The current schema, as Iceberg's JSON.
    pub(crate) schema: String,
}

/// What a commit changes of an Iceberg table. Paths are relative to the data folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct IcebergCommit {
    /// The metadata file that this was made from.
    pub(crate) before: String,
    pub(crate) after: String,
    pub(crate) schema: String,
    /// New files; with the sequence number from which on one has no use, where that is known.
    pub(crate) made: Vec<(String, Option<i64>)>,
    /// Files that the table has no use for from `sequence` on.
    pub(crate) ended: Vec<String>,
    pub(crate) sequence: i64,
    /// Of the oldest snapshot that is kept.
    pub(crate) oldest: i64,
    /// Metadata files that left the log.
    pub(crate) dropped: Vec<String>,
    /// Data files that are no longer rows of the table.
    pub(crate) removed: Vec<String>,
}

impl Catalog {
    /// CREATE ICEBERG TABLE, whose first metadata file is on disk.
    ///
    /// # Errors
    /// Those of [`Catalog::create_table`]; [`Error::ObjectExists`] if the folder is, is in or holds that of another table.
    pub(crate) fn create_iceberg_table(
        &self,
        new: &NewTable,
        row: &IcebergRow,
        mode: CreateMode,
    ) -> Result<Created> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        let created = self.insert_table(&transaction, new, mode)?;
        if created == Created::Existed {
            return Ok(created);
        }
        let made = table(&transaction, &new.database, &new.schema, &new.name)?;
        let table_id = made
            .ok_or_else(|| Error::Damaged("a table that was just made is not there".into()))?
            .id;
        let taken: Option<String> = transaction
            .prepare_cached(
                "SELECT folder FROM iceberg_tables WHERE folder = ?1
                 OR substr(folder, 1, length(?1) + 1) = ?1 || '/' OR substr(?1, 1, length(folder) + 1) = folder || '/'",
            )?
            .query_row([&row.folder], |row| row.get(0))
            .optional()?;
        if let Some(name) = taken {
            return Err(Error::ObjectExists {
                kind: "An Iceberg table in",
                name,
            });
        }
        transaction.execute(
            "INSERT INTO iceberg_tables (table_id, volume, base_location, version, folder, location, metadata, schema)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            (
                table_id,
                &row.volume,
                &row.base_location,
                row.version,
                &row.folder,
                &row.location,
                &row.metadata,
                &row.schema,
            ),
        )?;
        transaction.execute(
            "INSERT OR IGNORE INTO iceberg_folders (folder) VALUES (?1)",
            [&row.folder],
        )?;
        insert_file(&transaction, table_id, &row.metadata, None)?;
        transaction.commit()?;
        self.changed();
        Ok(created)
    }

    /// To be locked while a change of a table is prepared and committed. Correctness does not rest on it.
    pub(crate) fn turn(&self, table_id: i64) -> Turn {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(table_id).or_default())
    }

    /// Where a table is, if it is an Iceberg table.
    pub(crate) fn iceberg(&self, table_id: i64) -> Result<Option<IcebergRow>> {
        iceberg(&self.lock(), table_id)
    }

    /// Notes a folder before its first file is written, so that a crash leaves nothing that is not looked at.
    pub(crate) fn note_iceberg_folder(&self, folder: &str) -> Result<()> {
        self.lock().execute(
            "INSERT OR IGNORE INTO iceberg_folders (folder) VALUES (?1)",
            [folder],
        )?;
        Ok(())
    }

    /// Folders that may hold files of Iceberg tables.
    pub(crate) fn iceberg_folders(&self) -> Result<Vec<String>> {
        let connection = self.lock();
        let mut statement =
            connection.prepare_cached("SELECT folder FROM iceberg_folders ORDER BY folder")?;
        Ok(statement
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?)
    }

    /// Forgets a folder that is empty, unless a table is there.
    pub(crate) fn forget_iceberg_folder(&self, folder: &str) -> Result<()> {
        self.lock().execute(
            "DELETE FROM iceberg_folders WHERE folder = ?1
             AND NOT EXISTS (SELECT 1 FROM iceberg_tables WHERE folder = ?1)",
            [folder],
        )?;
        Ok(())
    }

    /// Whether an Iceberg table has a use for a file.
    pub(crate) fn is_iceberg_file(&self, path: &str) -> Result<bool> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached("SELECT 1 FROM iceberg_files WHERE path = ?1")?;
        Ok(statement.exists([path])?)
    }
}

pub(super) fn iceberg(connection: &Connection, table_id: i64) -> Result<Option<IcebergRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT volume, base_location, version, folder, location, metadata, schema FROM iceberg_tables WHERE table_id = ?1",
    )?;
    let row = statement.query_row([table_id], |row| {
        Ok(IcebergRow {
            volume: row.get(0)?,
            base_location: row.get(1)?,
            version: row.get(2)?,
            folder: row.get(3)?,
            location: row.get(4)?,
            metadata: row.get(5)?,
            schema: row.get(6)?,
        })
    });
    Ok(row.optional()?)
}

fn insert_file(transaction: &Transaction<'_>, table_id: i64, path: &str, until: Option<i64>) -> Result<()> {
    transaction
        .prepare_cached("INSERT INTO iceberg_files (path, table_id, until) VALUES (?1, ?2, ?3)")?
        .execute((path, table_id, until))?;
    Ok(())
}

/// Swaps the metadata file; false, and nothing is changed, if it is not the expected one any more.
pub(super) fn apply(
    transaction: &Transaction<'_>,
    table_id: i64,
    commit: &IcebergCommit,
    generation: i64,
) -> Result<bool> {
    let swapped = transaction
        .prepare_cached(
            "UPDATE iceberg_tables SET metadata = ?3, schema = ?4 WHERE table_id = ?1 AND metadata = ?2",
        )?
        .execute((table_id, &commit.before, &commit.after, &commit.schema))?;
    if swapped == 0 {
        return Ok(false);
    }
    for path in &commit.removed {
        transaction
            .prepare_cached("DELETE FROM segments WHERE path = ?1 AND table_id = ?2")?
            .execute((path, table_id))?;
    }
    for (path, until) in &commit.made {
        insert_file(transaction, table_id, path, *until)?;
    }
    for path in &commit.ended {
        transaction
            .prepare_cached("UPDATE iceberg_files SET until = ?2 WHERE path = ?1")?
            .execute((path, commit.sequence))?;
    }
    for path in &commit.dropped {
        transaction
            .prepare_cached("UPDATE iceberg_files SET until = 0 WHERE path = ?1")?
            .execute([path])?;
    }
    forget(transaction, table_id, Some(commit.oldest), generation)?;
    Ok(true)
}

/// Turns files of a table into garbage: those without a use from a sequence number on, or all.
pub(super) fn forget(
    transaction: &Transaction<'_>,
    table_id: i64,
    oldest: Option<i64>,
    generation: i64,
) -> Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO garbage (path, generation)
             SELECT path, ?3 FROM iceberg_files WHERE table_id = ?1 AND (?2 IS NULL OR until <= ?2)",
        )?
        .execute((table_id, oldest, generation))?;
    transaction
        .prepare_cached("DELETE FROM iceberg_files WHERE table_id = ?1 AND (?2 IS NULL OR until <= ?2)")?
        .execute((table_id, oldest))?;
    Ok(())
}

/// What goes with a table.
pub(super) fn remove(transaction: &Transaction<'_>, table_id: i64, generation: i64) -> Result<()> {
    forget(transaction, table_id, None, generation)?;
    transaction.execute("DELETE FROM iceberg_tables WHERE table_id = ?1", [table_id])?;
    Ok(())
}
