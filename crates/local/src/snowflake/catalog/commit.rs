//! The commit: one transaction for a segment, new columns, and each channel's token and counters.
//!
//! The transaction checks what the rows were made under: the table is there with the columns they were converted for,
//! and every channel is still at the client sequencer that appended them. If not, nothing changes and the caller is told
//! what to leave out.

use rusqlite::{OptionalExtension as _, Transaction};

use super::super::model::{ColumnDef, Counters, SegmentKind};
use super::iceberg::{self, IcebergCommit};
use super::{Catalog, history, now_ms, objects, write};
use crate::Result;

/// A Parquet file that is on disk and synced.
#[derive(Clone, Debug)]
pub(crate) struct NewSegment {
    pub(crate) path: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// What a commit moves in one channel.
#[derive(Clone, Debug)]
pub(crate) struct ChannelCommit {
    pub(crate) id: i64,
    pub(crate) client_sequencer: i64,
    /// Of the last batch in this commit.
    pub(crate) row_sequencer: i64,
    pub(crate) request_id: String,
    /// `None` leaves the committed token.
    pub(crate) offset_token: Option<String>,
    /// Added to the channel's counters.
    pub(crate) counted: Counters,
    pub(crate) last_error: Option<RowError>,
}

/// The last row error of a channel in a commit.
#[derive(Clone, Debug)]
pub(crate) struct RowError {
    pub(crate) message: String,
    pub(crate) offset_upper_bound: Option<String>,
}

/// All of one table's commit.
#[derive(Clone, Debug)]
pub(crate) struct TableCommit {
    pub(crate) table_id: i64,
    /// The columns that the rows were converted for.
    pub(crate) columns_before: Vec<ColumnDef>,
    /// The columns after evolution, if it changed them.
    pub(crate) columns_after: Option<Vec<ColumnDef>>,
    /// `None` when no row was good.
    pub(crate) segment: Option<NewSegment>,
    /// The refused rows, where the table keeps them.
    pub(crate) errors: Option<NewSegment>,
    pub(crate) channels: Vec<ChannelCommit>,
    /// Instead of the rows that the table has.
    pub(crate) overwrite: bool,
    /// The new metadata file of an Iceberg table, whose data file the segment is.
    pub(crate) iceberg: Option<IcebergCommit>,
}

/// What became of a commit. Only `Done` changed anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// These channels were opened again or dropped: leave their batches out.
    Fenced(Vec<i64>),
    /// The table was dropped.
    TableGone,
    /// The table's columns, or the metadata file of an Iceberg table, changed: convert again.
    TableChanged,
}

impl Catalog {
    /// Commits a table's rows with their tokens and counters.
    pub(crate) fn commit(&self, commit: &TableCommit) -> Result<Outcome> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        let Some(table) = objects::table_by_id(&transaction, commit.table_id)? else {
            return Ok(Outcome::TableGone);
        };
        let fenced = fenced(&transaction, &commit.channels)?;
        if !fenced.is_empty() {
            return Ok(Outcome::Fenced(fenced));
        }
        let keeps_errors = table.error_logging || commit.errors.is_none();
        if table.columns != commit.columns_before || !keeps_errors {
            return Ok(Outcome::TableChanged);
        }
        if let Some(swap) = &commit.iceberg
            && !iceberg::apply(&transaction, table.id, swap, self.pins.number())?
        {
            return Ok(Outcome::TableChanged);
        }
        if let Some(columns) = &commit.columns_after {
            history::note_columns(&transaction, table.id, &table.columns, columns)?;
            transaction
                .prepare_cached("UPDATE tables SET columns = ?2 WHERE id = ?1")?
                .execute((table.id, objects::columns_text(columns)?))?;
        }
        if commit.overwrite {
            history::keep_segments(&transaction, commit.table_id)?;
        }
        for (segment, kind) in [
            (&commit.segment, SegmentKind::Rows),
            (&commit.errors, SegmentKind::Errors),
        ] {
            if let Some(segment) = segment {
                insert_segment(&transaction, commit.table_id, segment, kind)?;
            }
        }
        for channel in &commit.channels {
            move_channel(&transaction, channel)?;
        }
        transaction.commit()?;
        Ok(Outcome::Done)
    }

    /// Replaces segments of a table by one that holds the same rows; false (and no change) if one of them is gone.
    pub(crate) fn replace_segments(
        &self,
        table_id: i64,
        kind: SegmentKind,
        old: &[i64],
        new: &NewSegment,
    ) -> Result<bool> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        let generation = self.pins.number();
        for id in old {
            let moved = transaction
                .prepare_cached(
                    "INSERT INTO garbage (path, generation) SELECT path, ?3 FROM segments WHERE id = ?1 AND table_id = ?2",
                )?
                .execute((id, table_id, generation))?;
            if moved == 0 {
                return Ok(false);
            }
            transaction
                .prepare_cached("DELETE FROM segments WHERE id = ?1")?
                .execute([id])?;
        }
        insert_segment(&transaction, table_id, new, kind)?;
        transaction.commit()?;
        Ok(true)
    }
}

fn fenced(transaction: &Transaction<'_>, channels: &[ChannelCommit]) -> Result<Vec<i64>> {
    let mut statement = transaction.prepare_cached(
        "SELECT client_sequencer, status_code, committed_row_sequencer FROM channels WHERE id = ?1",
    )?;
    let mut fenced = Vec::new();
    for channel in channels {
        let found: Option<(i64, String, i64)> = statement
            .query_row([channel.id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let mine = found.is_some_and(|(client, status, committed)| {
            client == channel.client_sequencer
                && status == super::channels::SUCCESS
                && committed < channel.row_sequencer
        });
        if !mine {
            fenced.push(channel.id);
        }
    }
    Ok(fenced)
}

pub(super) fn insert_segment(
    transaction: &Transaction<'_>,
    table_id: i64,
    segment: &NewSegment,
    kind: SegmentKind,
) -> Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO segments (table_id, path, rows, bytes, kind) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((
            table_id,
            &segment.path,
            segment.rows.cast_signed(),
            segment.bytes.cast_signed(),
            kind as i64,
        ))?;
    Ok(())
}

fn move_channel(transaction: &Transaction<'_>, channel: &ChannelCommit) -> Result<()> {
    transaction
        .prepare_cached(
            "UPDATE channels SET committed_row_sequencer = ?2, last_request_id = ?3,
             offset_token = coalesce(?4, offset_token), rows_parsed = rows_parsed + ?5,
             rows_inserted = rows_inserted + ?6, rows_error_count = rows_error_count + ?7 WHERE id = ?1",
        )?
        .execute((
            channel.id,
            channel.row_sequencer,
            &channel.request_id,
            &channel.offset_token,
            channel.counted.rows_parsed,
            channel.counted.rows_inserted,
            channel.counted.rows_error_count,
        ))?;
    if let Some(error) = &channel.last_error {
        transaction
            .prepare_cached(
                "UPDATE channels SET last_error_message = ?2, last_error_offset_upper_bound = ?3,
                 last_error_timestamp_ms = ?4 WHERE id = ?1",
            )?
            .execute((channel.id, &error.message, &error.offset_upper_bound, now_ms()))?;
    }
    Ok(())
}
