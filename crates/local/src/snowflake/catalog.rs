//! The catalog: what exists, what is committed.
//!
//! One SQLite file (`synchronous=FULL`, write-ahead log) behind one connection and a mutex; every call is short. It holds
//! users, databases, schemas, tables with their columns, segments, pipes and channels. What a commit changes (the
//! segment, new columns, each channel's token and counters) changes in one transaction, see [`commit`].
//!
//! Guarantees: a call that returned is on disk; a [`TableSnapshot`] is one moment of a table, and its files stay until it
//! is dropped. It does not know about rows that are accepted and not committed: those are the log's.

mod channels;
pub(crate) mod clones;
pub(crate) mod commit;
pub(crate) mod defaults;
pub(crate) mod dropped;
pub(crate) mod grants;
pub(crate) mod history;
pub(crate) mod iceberg;
mod kept;
pub(crate) mod made;
pub(crate) mod network;
mod objects;
mod pins;
mod pipes;
pub(crate) mod roles;
mod schema;
pub(crate) mod statements;
pub(crate) mod tokens;
mod users;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior};

pub(crate) use self::channels::{ELASTIC, MOST_CHANNELS, SUCCESS};
pub use self::pins::Pin;
pub(crate) use self::pipes::{DEFAULT_PIPE_SUFFIX, MOST_PIPES, PipeLookup};
pub use self::users::UserRow;

use self::pins::Pins;
use super::model::{CreateMode, Segment, SegmentKind, TableKind, TableSnapshot};
use crate::{Error, Result};

/// The catalog of one data folder.
#[derive(Debug)]
pub struct Catalog {
    connection: Mutex<Connection>,
    pins: Arc<Pins>,
    /// Raised by every change that can make a pipe or channel vanish.
    generation: AtomicU64,
    turns: iceberg::Turns,
    rights: kept::Rights,
    statements: statements::Times,
}

impl Catalog {
    /// Opens or creates the catalog file.
    ///
    /// # Errors
    /// [`Error::Catalog`] if SQLite cannot open it, [`Error::Damaged`] if it is not one of ours.
    pub fn open(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        connection.set_prepared_statement_cache_capacity(64);
        upgrade(&connection)?;
        connection.execute_batch(schema::TABLES)?;
        connection.execute_batch(schema::GRANTS)?;
        connection.execute_batch(schema::ICEBERG)?;
        connection.execute_batch(tokens::TABLES)?;
        connection.execute_batch(made::TABLES)?;
        connection.execute_batch(network::TABLES)?;
        Ok(Self {
            connection: Mutex::new(connection),
            pins: Arc::default(),
            generation: AtomicU64::new(1),
            turns: iceberg::Turns::default(),
            rights: kept::Rights::default(),
            statements: statements::Times::default(),
        })
    }

    /// A table and its segments of one kind as of now, in one read.
    ///
    /// # Errors
    /// [`Error::Catalog`], [`Error::Damaged`].
    pub fn snapshot(
        &self,
        database: &str,
        schema: &str,
        name: &str,
        kind: SegmentKind,
    ) -> Result<Option<TableSnapshot>> {
        let connection = self.lock();
        let Some(table) = objects::table(&connection, database, schema, name)? else {
            return Ok(None);
        };
        let segments = segments(&connection, table.id, kind)?;
        let iceberg = match (table.kind, kind) {
            (TableKind::Iceberg, SegmentKind::Rows) => iceberg::iceberg(&connection, table.id)?,
            _ => None,
        };
        let pin = self.pins.pin();
        Ok(Some(TableSnapshot {
            table,
            segments,
            iceberg_schema: iceberg.map(|row| row.schema),
            pin,
        }))
    }

    /// All segments of a kind of a table, oldest first. Their files are not protected: use [`Catalog::snapshot`] to read
    /// rows.
    ///
    /// # Errors
    /// [`Error::Catalog`].
    pub fn segments(&self, table_id: i64, kind: SegmentKind) -> Result<Vec<Segment>> {
        segments(&self.lock(), table_id, kind)
    }

    /// Tables with at least so many segments of a kind.
    pub(crate) fn tables_with_segments(&self, least: usize) -> Result<Vec<(i64, SegmentKind)>> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT table_id, segments.kind FROM segments JOIN tables ON tables.id = table_id WHERE dropped_on_ms IS NULL
             GROUP BY table_id, segments.kind HAVING count(*) >= ?1",
        )?;
        let least = i64::try_from(least).unwrap_or(i64::MAX);
        let rows = statement.query_map([least], |row| Ok((row.get(0)?, kind(row.get(1)?))))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Whether `path` is a segment of some table, now or as far back as time travel reaches.
    pub(crate) fn is_segment(&self, path: &str) -> Result<bool> {
        let found: Option<i64> = self
            .lock()
            .prepare_cached(
                "SELECT 1 FROM segments WHERE path = ?1 UNION SELECT 1 FROM removed_segments WHERE path = ?1",
            )?
            .query_row([path], |row| row.get(0))
            .optional()?;
        Ok(found.is_some())
    }

    /// Files that nobody can read any more and no table names: forgets them and returns their paths, to be removed from disk.
    pub(crate) fn take_garbage(&self) -> Result<Vec<String>> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        self.forget_what_is_too_old(&transaction)?;
        self.remove_what_is_over(&transaction)?;
        Self::spare_what_is_named(&transaction)?;
        let mut paths = Vec::new();
        let mut ids = Vec::new();
        {
            let mut statement =
                transaction.prepare_cached("SELECT id, path, generation FROM garbage ORDER BY id")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if self.pins.released(row.get::<_, i64>(2)?) {
                    ids.push(row.get::<_, i64>(0)?);
                    paths.push(row.get(1)?);
                }
            }
        }
        for id in ids {
            transaction
                .prepare_cached("DELETE FROM garbage WHERE id = ?1")?
                .execute([id])?;
        }
        transaction.commit()?;
        Ok(paths)
    }

    /// Garbage of an earlier process: no reader of it can be alive.
    pub(crate) fn release_old_garbage(&self) -> Result<()> {
        self.lock().execute("UPDATE garbage SET generation = 0", [])?;
        Ok(())
    }

    /// Reads a value stored under a name, for instance a secret of this data folder.
    pub(crate) fn meta(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
        Ok(statement.query_row([key], |row| row.get(0)).optional()?)
    }

    /// Stores a value under a name.
    pub(crate) fn set_meta(&self, key: &str, value: &[u8]) -> Result<()> {
        let connection = self.lock();
        connection
            .prepare_cached(
                "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
            )?
            .execute((key, value))?;
        Ok(())
    }

    /// A number that changes whenever a pipe or channel may have vanished.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub(crate) fn no_sync(&self) {
        self.lock().pragma_update(None, "synchronous", "OFF").unwrap();
    }

    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic while holding the lock rolls its transaction back when the guard's borrow ends, so the connection is sound.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A transaction that takes SQLite's write lock at once.
fn write(connection: &mut Connection) -> Result<Transaction<'_>> {
    Ok(connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
}

/// Brings a file of an earlier version up to this one; refuses one of a later version.
fn upgrade(connection: &Connection) -> Result<()> {
    let latest = schema::UPGRADES.len();
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let is_new: bool = connection.query_row(
        "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'segments')",
        [],
        |row| row.get(0),
    )?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version > latest {
        return Err(Error::Damaged(format!(
            "the catalog is of version {version}, and this program knows {latest}"
        )));
    }
    if is_new {
        connection.pragma_update(None, "user_version", latest)?;
        return Ok(());
    }
    for (step, statements) in schema::UPGRADES.iter().enumerate().skip(version) {
        let next = step + 1;
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {statements} PRAGMA user_version = {next}; COMMIT;"
        ))?;
        tracing::info!(version = next, "catalog upgraded");
    }
    Ok(())
}

fn kind(number: i64) -> SegmentKind {
    match number {
        0 => SegmentKind::Rows,
        _ => SegmentKind::Errors,
    }
}

fn segments(connection: &Connection, table_id: i64, kind: SegmentKind) -> Result<Vec<Segment>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, table_id, path, rows, bytes FROM segments WHERE table_id = ?1 AND kind = ?2 ORDER BY id",
    )?;
    let rows = statement.query_map((table_id, kind as i64), segment)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn segment(row: &Row<'_>) -> rusqlite::Result<Segment> {
    Ok(Segment {
        id: row.get(0)?,
        table_id: row.get(1)?,
        path: row.get(2)?,
        rows: row.get::<_, i64>(3)?.unsigned_abs(),
        bytes: row.get::<_, i64>(4)?.unsigned_abs(),
    })
}

/// Decides what a CREATE does with an object that is there.
fn existing(mode: CreateMode, kind: &'static str, name: impl FnOnce() -> String) -> Result<bool> {
    match mode {
        CreateMode::New => Err(Error::ObjectExists { kind, name: name() }),
        CreateMode::IfNotExists => Ok(false),
        CreateMode::OrReplace => Ok(true),
    }
}

/// Milliseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "this crate uses none of the workspace, and its clock is the server's own"
)]
pub(crate) fn now_ms() -> i64 {
    let elapsed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
