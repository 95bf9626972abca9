//! What a table was: its columns and its rows as of a moment of the past.
//!
//! How it works: every segment has the moment of each row's commit as its last column, so rows that came later are left out by
//! a filter, also behind a merge. What was taken away since is kept: segments by TRUNCATE, the columns' definitions by each
//! ALTER and each evolution. A table that comes back by UNDROP has its past again.
//!
//! What it guarantees: nothing is kept for longer than the table's DATA_RETENTION_TIME_IN_DAYS and the next sweep of garbage.
//!
//! Source: Snowflake documentation, "Understanding & using Time Travel".

use rusqlite::{Connection, OptionalExtension as _, Transaction};

use super::super::model::{ColumnDef, Segment, SegmentKind, TableSnapshot};
use super::{Catalog, now_ms, objects};
use crate::{Error, Result};

pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A table as it was.
#[derive(Debug)]
pub(crate) enum Past {
    /// There is none of that name.
    Missing,
    /// The table is younger, or the moment lies further back than is kept.
    Unknown,
    /// Rows that were committed later are in its segments, and are to be left out.
    Table(Box<TableSnapshot>),
}

/// Notes the columns that a change replaces, unless their names stay.
pub(super) fn note_columns(
    transaction: &Transaction<'_>,
    table_id: i64,
    before: &[ColumnDef],
    after: &[ColumnDef],
) -> Result<()> {
    let shape = |column: &ColumnDef| (column.name.clone(), column.stored_name().to_owned());
    if before.iter().map(shape).eq(after.iter().map(shape)) {
        return Ok(());
    }
    transaction
        .prepare_cached("INSERT INTO table_versions (table_id, until_ms, columns) VALUES (?1, ?2, ?3)")?
        .execute((table_id, now_ms(), objects::columns_text(before)?))?;
    Ok(())
}

/// Keeps the segments of rows that are about to be removed.
pub(super) fn keep_segments(transaction: &Transaction<'_>, table_id: i64) -> Result<()> {
    let of_table = (table_id, SegmentKind::Rows as i64, now_ms());
    transaction.execute(
        "INSERT INTO removed_segments (table_id, path, rows, bytes, removed_on_ms)
         SELECT table_id, path, rows, bytes, ?3 FROM segments WHERE table_id = ?1 AND kind = ?2",
        of_table,
    )?;
    transaction.execute(
        "DELETE FROM segments WHERE table_id = ?1 AND kind = ?2",
        (table_id, SegmentKind::Rows as i64),
    )?;
    Ok(())
}

impl Catalog {
    /// A table as of a moment that is not in the future.
    ///
    /// # Errors
    /// [`Error::Catalog`], [`Error::Damaged`].
    pub(crate) fn snapshot_at(&self, database: &str, schema: &str, name: &str, at_ms: i64) -> Result<Past> {
        let connection = self.lock();
        let Some(mut table) = objects::table(&connection, database, schema, name)? else {
            return Ok(Past::Missing);
        };
        let reach = now_ms() - i64::from(table.retention_days) * DAY_MS;
        if at_ms < table.created_on_ms || at_ms < reach {
            return Ok(Past::Unknown);
        }
        if let Some(columns) = columns_at(&connection, table.id, at_ms)? {
            let now = table.columns;
            // A type only ever grows: what is stored now fits the one of now.
            table.columns = columns
                .into_iter()
                .map(|mut column| {
                    let same = now.iter().find(|now| now.stored_name() == column.stored_name());
                    if let Some(same) = same {
                        column.data_type.clone_from(&same.data_type);
                        column.micros = same.micros;
                    }
                    column
                })
                .collect();
        }
        let mut segments = removed_later(&connection, table.id, at_ms)?;
        segments.extend(super::segments(&connection, table.id, SegmentKind::Rows)?);
        let pin = self.pins.pin();
        Ok(Past::Table(Box::new(TableSnapshot {
            table,
            segments,
            pin,
            iceberg_schema: None,
        })))
    }

    /// Lets go of what no time travel reaches any more.
    pub(super) fn forget_what_is_too_old(&self, transaction: &Transaction<'_>) -> Result<()> {
        let (now, generation) = (now_ms(), self.pins.number());
        let too_old =
            "WHERE id IN (SELECT past.id FROM removed_segments past JOIN tables ON tables.id = past.table_id
                       WHERE past.removed_on_ms < ?1 - tables.retention_days * ?2)";
        transaction
            .prepare_cached(&format!(
                "INSERT INTO garbage (path, generation) SELECT path, ?3 FROM removed_segments {too_old}"
            ))?
            .execute((now, DAY_MS, generation))?;
        transaction
            .prepare_cached(&format!("DELETE FROM removed_segments {too_old}"))?
            .execute((now, DAY_MS))?;
        transaction
            .prepare_cached(
                "DELETE FROM table_versions WHERE id IN (SELECT past.id FROM table_versions past
                 JOIN tables ON tables.id = past.table_id WHERE past.until_ms < ?1 - tables.retention_days * ?2)",
            )?
            .execute((now, DAY_MS))?;
        Ok(())
    }

    /// Lets go of all of a table's past.
    pub(super) fn forget_history(&self, transaction: &Transaction<'_>, table_id: i64) -> Result<()> {
        transaction.execute(
            "INSERT INTO garbage (path, generation) SELECT path, ?2 FROM removed_segments WHERE table_id = ?1",
            (table_id, self.pins.number()),
        )?;
        for from in ["removed_segments", "table_versions"] {
            transaction.execute(&format!("DELETE FROM {from} WHERE table_id = ?1"), [table_id])?;
        }
        Ok(())
    }
}

/// The columns that a table had then, if they are others now.
fn columns_at(connection: &Connection, table_id: i64, at_ms: i64) -> Result<Option<Vec<ColumnDef>>> {
    let text: Option<String> = connection
        .prepare_cached(
            "SELECT columns FROM table_versions WHERE table_id = ?1 AND until_ms > ?2 ORDER BY id LIMIT 1",
        )?
        .query_row((table_id, at_ms), |row| row.get(0))
        .optional()?;
    let read = text.map(|text| serde_json::from_str(&text));
    read.transpose()
        .map_err(|error| Error::Damaged(format!("columns of a table's past: {error}")))
}

/// Segments that the table had then and lost since.
fn removed_later(connection: &Connection, table_id: i64, at_ms: i64) -> Result<Vec<Segment>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, table_id, path, rows, bytes FROM removed_segments WHERE table_id = ?1 AND removed_on_ms > ?2
         ORDER BY id",
    )?;
    let rows = statement.query_map((table_id, at_ms), super::segment)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
