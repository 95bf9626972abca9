//! Turns accepted batches into committed rows.
//!
//! Per table and in log order: read the batches back, convert them into columns, write a segment, sync it and its folder,
//! then one catalog transaction for the segment, new columns and every channel's token and counters. Batches of a channel
//! that was opened again or dropped meanwhile are left out; the transaction itself checks that.
//!
//! A table whose commit fails is tried again with growing pauses and holds up no other table.

mod losses;
mod runner;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet, btree_map};
use std::sync::Arc;

use tokio::sync::watch;

pub(crate) use self::losses::Losses;
pub(crate) use self::runner::Runner;
use super::backlog::Backlog;
use super::behaviours::{Behaviours, Other};
use super::catalog::commit::{ChannelCommit, NewSegment, Outcome, RowError, TableCommit};
use super::catalog::{Catalog, now_ms};
use super::late::LateCounters;
use super::log::Batch;
use super::model::{ChannelRow, ColumnDef, Counters, Evolution, EvolutionKind, PipeRow, TableDef};
use super::rows::{self, AcceptedRows, Converted, Terms};
use super::sql::{self, Prepared, Scope};
use super::{decode, error_table, iceberg, row_timestamps, segments, stored};
use crate::disk::Disk;
use crate::{Error, Result};

/// One commit takes at most so many decompressed bytes.
const COMMIT_BYTES: u64 = 32 * 1024 * 1024;
/// ... and so many batches.
const COMMIT_BATCHES: usize = 4096;
/// Status of a channel whose stored batch cannot be read.
const MUST_BE_REOPENED: &str = "ERR_CHANNEL_MUST_BE_REOPENED";

/// Commits the backlog's batches.
#[derive(Debug)]
pub(crate) struct Committer {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) backlog: Arc<Backlog>,
    pub(super) late: Arc<LateCounters>,
    pub(super) losses: Losses,
    /// What is done where the service's documents and tests disagree.
    pub(super) behaviours: Behaviours,
    /// Counts commits and invalidated channels, for those who wait for one.
    pub(super) commits: watch::Sender<u64>,
}

/// Channels by id; `None` for one that is gone.
type Channels = BTreeMap<i64, Option<ChannelRow>>;

/// A batch with its rows.
struct Loaded {
    batch: Arc<Batch>,
    rows: Vec<u8>,
}

impl Committer {
    /// Commits the first batches of a table; true if there may be more.
    ///
    /// # Errors
    /// What kept the table from committing; its batches stay in the backlog.
    pub(crate) fn commit_some(&self, table_id: i64) -> Result<bool> {
        let mut batches = self.backlog.first(table_id, COMMIT_BYTES, COMMIT_BATCHES);
        if batches.is_empty() {
            return Ok(false);
        }
        let channels = self.channels(&batches)?;
        let pipe = of_one_pipe(&mut batches, &channels);
        let taken = batches.len();
        let table = self.catalog.table_by_id(table_id)?;
        let pipe = pipe.map(|id| self.catalog.pipe_by_id(id)).transpose()?.flatten();
        if let (Some(table), Some(pipe)) = (table, pipe) {
            let mut due = unfenced(batches, &channels);
            self.losses.lose_accepted(&mut due);
            let loaded = self.load(due)?;
            self.commit(table, &pipe, loaded)?;
        }
        self.backlog.done(table_id, taken);
        Ok(true)
    }

    /// The channels of some batches, as far as they are still there.
    fn channels(&self, batches: &[Arc<Batch>]) -> Result<Channels> {
        let mut channels = Channels::new();
        for batch in batches {
            let id = batch.record.channel_id;
            if let btree_map::Entry::Vacant(entry) = channels.entry(id) {
                entry.insert(self.catalog.channel_by_id(id)?);
            }
        }
        Ok(channels)
    }

    fn load(&self, batches: Vec<Arc<Batch>>) -> Result<Vec<Loaded>> {
        let mut loaded: Vec<Loaded> = Vec::with_capacity(batches.len());
        let mut unreadable = HashSet::new();
        for batch in batches {
            let record = &batch.record;
            if unreadable.contains(&record.channel_id) {
                continue;
            }
            if self.losses.loses_rows() {
                let rows = Vec::new();
                loaded.push(Loaded { batch, rows });
                continue;
            }
            match decode::decompress(&batch.rows()?, record.encoding, record.raw_length as usize) {
                Ok(rows) => loaded.push(Loaded { batch, rows }),
                Err(_) => {
                    tracing::error!(channel_id = record.channel_id, "stored batch cannot be read");
                    let message = "a stored batch cannot be read";
                    self.catalog.invalidate_channel(
                        record.channel_id,
                        record.client_sequencer,
                        MUST_BE_REOPENED,
                        message,
                    )?;
                    unreadable.insert(record.channel_id);
                }
            }
        }
        loaded.retain(|loaded| !unreadable.contains(&loaded.batch.record.channel_id));
        Ok(loaded)
    }

    /// Converts and commits; leaves out what turns out to be fenced. Each round but the last drops a channel or meets a
    /// changed table, so it ends.
    fn commit(&self, mut table: TableDef, pipe: &PipeRow, mut loaded: Vec<Loaded>) -> Result<()> {
        while !loaded.is_empty() {
            let accepted: Vec<AcceptedRows<'_>> = loaded
                .iter()
                .map(|one| AcceptedRows { ndjson: &one.rows })
                .collect();
            let scope = self.scope(pipe)?;
            let prepared = Prepared::of(pipe.copy.as_deref(), &table, &scope);
            let mut terms = Terms::at(now_ms());
            terms.time_ms = scope.time_ms.unwrap_or(terms.now_ms);
            terms.behaviours = self.behaviours;
            let lines = accepted.iter().map(AcceptedRows::lines).sum();
            let numbers = sql::numbers(&self.catalog, &table, lines)?;
            terms.numbers = &numbers;
            let converted = rows::convert(&table, prepared.mapping(), &accepted, terms);
            if let Some(invalid) = &converted.invalid {
                self.invalidate(&mut loaded, invalid)?;
                continue;
            }
            let stamped = row_timestamps::stamp(&table, converted.record_batch.clone(), now_ms());
            let columns_after = evolved(&table, &converted);
            let turn = iceberg::is_it(&table).then(|| self.catalog.turn(table.id));
            let _mine = turn.as_ref().map(iceberg::held);
            let disk = self.disk.as_ref();
            let written = stored::write(disk, &self.catalog, &table, columns_after.as_deref(), &stamped)?;
            let errors = self.errors(&table, pipe, &loaded, &converted)?;
            let commit = TableCommit {
                table_id: table.id,
                columns_before: table.columns.clone(),
                columns_after,
                segment: written.segment,
                errors,
                channels: moves(&loaded, &converted),
                overwrite: false,
                iceberg: written.iceberg,
            };
            let outcome = self.catalog.commit(&commit);
            if let Ok(Outcome::Fenced(_) | Outcome::TableGone | Outcome::TableChanged) = &outcome {
                stored::discard(disk, &commit);
            }
            match outcome? {
                Outcome::Done => {
                    self.committed(&commit);
                    return Ok(());
                }
                Outcome::Fenced(channels) => {
                    loaded.retain(|one| !channels.contains(&one.batch.record.channel_id))
                }
                Outcome::TableGone => return Ok(()),
                Outcome::TableChanged => match self.catalog.table_by_id(table.id)? {
                    Some(changed) => table = changed,
                    None => return Ok(()),
                },
            }
        }
        Ok(())
    }

    /// What a pipe's expressions go by; those of a default pipe have the time of the commit in any case.
    fn scope(&self, pipe: &PipeRow) -> Result<Scope> {
        let of_making = pipe.copy.is_some() && self.behaviours.has(Other::TimeOfMaking);
        Ok(Scope {
            time_ms: of_making.then_some(pipe.created_on_ms),
            ..Scope::of_pipe(&self.catalog, pipe)?
        })
    }

    /// The refused rows as a segment of the error table, if there are any.
    fn errors(
        &self,
        table: &TableDef,
        pipe: &PipeRow,
        loaded: &[Loaded],
        converted: &Converted<'_>,
    ) -> Result<Option<NewSegment>> {
        if converted.refused.is_empty() {
            return Ok(None);
        }
        let mut names: BTreeMap<i64, String> = BTreeMap::new();
        let mut origins = Vec::with_capacity(loaded.len());
        for one in loaded {
            let record = &one.batch.record;
            if let btree_map::Entry::Vacant(entry) = names.entry(record.channel_id) {
                // One that was dropped meanwhile is left out by the transaction.
                let row = self.catalog.channel_by_id(record.channel_id)?;
                entry.insert(row.map(|row| row.name).unwrap_or_default());
            }
            origins.push(error_table::Origin {
                pipe: pipe.name.clone(),
                channel: names.get(&record.channel_id).cloned().unwrap_or_default(),
                start_token: record.start_token.clone(),
                end_token: record.offset_token.clone(),
            });
        }
        let rows = error_table::rows(&converted.refused, &origins, now_ms());
        segments::write(self.disk.as_ref(), table.id, &rows).map(Some)
    }

    fn invalidate(&self, loaded: &mut Vec<Loaded>, invalid: &rows::Invalid) -> Result<()> {
        let record = &loaded
            .get(invalid.batch)
            .ok_or_else(|| Error::Damaged("no such batch".into()))?
            .batch
            .record;
        let channel_id = record.channel_id;
        tracing::warn!(channel_id, code = %invalid.code, "channel invalidated");
        self.catalog.invalidate_channel(
            channel_id,
            record.client_sequencer,
            &invalid.code,
            &invalid.message,
        )?;
        self.commits.send_modify(|commits| *commits += 1);
        // The transaction refuses invalid channels, so its earlier batches go too: they were accepted, not committed.
        loaded.retain(|one| one.batch.record.channel_id != channel_id);
        Ok(())
    }

    fn committed(&self, commit: &TableCommit) {
        let rows = commit.segment.as_ref().map_or(0, |segment| segment.rows);
        tracing::debug!(
            table_id = commit.table_id,
            rows,
            channels = commit.channels.len(),
            "rows committed"
        );
        for channel in &commit.channels {
            self.late.committed(channel.id, channel.counted);
        }
        self.commits.send_modify(|commits| *commits += 1);
        let nullable = |columns: &[ColumnDef]| columns.iter().filter(|column| column.nullable).count();
        let before = &commit.columns_before;
        if let Some(columns) = &commit.columns_after
            && (columns.len(), nullable(columns)) != (before.len(), nullable(before))
        {
            tracing::info!(
                table_id = commit.table_id,
                columns = columns.len(),
                "table columns changed"
            );
        }
    }
}

/// Cuts the batches to the first ones of one pipe, which is answered; those whose channel is gone belong to any.
fn of_one_pipe(batches: &mut Vec<Arc<Batch>>, channels: &Channels) -> Option<i64> {
    let pipe_of = |batch: &Arc<Batch>| {
        let channel = channels.get(&batch.record.channel_id)?;
        channel.as_ref().map(|channel| channel.pipe_id)
    };
    let pipe = batches.iter().find_map(pipe_of)?;
    let other = batches
        .iter()
        .position(|batch| pipe_of(batch).is_some_and(|other| other != pipe));
    batches.truncate(other.unwrap_or(batches.len()));
    Some(pipe)
}

/// Without the batches whose channel is gone, opened again, invalid, or that are committed already.
fn unfenced(batches: Vec<Arc<Batch>>, channels: &Channels) -> Vec<Arc<Batch>> {
    let is_due = |batch: &Arc<Batch>| {
        channels
            .get(&batch.record.channel_id)
            .and_then(Option::as_ref)
            .is_some_and(|channel| {
                channel.client_sequencer == batch.record.client_sequencer
                    && channel.committed_row_sequencer < batch.record.row_sequencer
                    && channel.status_code == super::catalog::SUCCESS
            })
    };
    batches.into_iter().filter(is_due).collect()
}

/// Notes the next values of IDENTITY columns.
pub(crate) fn advance(columns: &mut [ColumnDef], identities: &[(usize, i64)]) {
    for (place, next) in identities {
        if let Some(column) = columns.get_mut(*place)
            && let Some((first, _)) = column.identity.as_mut()
        {
            column.identity_begin.get_or_insert(*first);
            *first = *next;
        }
    }
}

/// Notes which columns of timestamps are kept in microseconds from now on.
pub(crate) fn widen(columns: &mut [ColumnDef], micros: &[usize]) {
    for place in micros {
        if let Some(column) = columns.get_mut(*place) {
            column.micros = true;
        }
    }
}

/// The table's columns after this batch, if they differ.
fn evolved(table: &TableDef, converted: &Converted<'_>) -> Option<Vec<ColumnDef>> {
    let unmoved = converted.identities.is_empty() && converted.micros.is_empty();
    if unmoved && converted.added_columns.is_empty() && converted.dropped_not_null.is_empty() {
        return None;
    }
    let mut columns = table.columns.clone();
    advance(&mut columns, &converted.identities);
    widen(&mut columns, &converted.micros);
    for column in columns
        .iter_mut()
        .filter(|column| converted.dropped_not_null.contains(&column.name))
    {
        column.nullable = true;
        column.evolution = Some(Evolution {
            kind: EvolutionKind::DropNotNull,
            at_ms: now_ms(),
        });
    }
    columns.extend(converted.added_columns.iter().cloned());
    Some(columns)
}

/// What each channel gains.
fn moves(loaded: &[Loaded], converted: &Converted<'_>) -> Vec<ChannelCommit> {
    let mut channels: BTreeMap<i64, ChannelCommit> = BTreeMap::new();
    for (one, counts) in loaded.iter().zip(&converted.per_batch) {
        let record = &one.batch.record;
        let channel = channels
            .entry(record.channel_id)
            .or_insert_with(|| ChannelCommit {
                id: record.channel_id,
                client_sequencer: record.client_sequencer,
                row_sequencer: 0,
                request_id: String::new(),
                offset_token: None,
                counted: Counters::default(),
                last_error: None,
            });
        channel.row_sequencer = record.row_sequencer;
        channel.request_id.clone_from(&record.request_id);
        if record.offset_token.is_some() {
            channel.offset_token.clone_from(&record.offset_token);
        }
        channel.counted.rows_parsed += counts.parsed.cast_signed();
        channel.counted.rows_inserted += counts.inserted.cast_signed();
        channel.counted.rows_error_count += counts.errors.cast_signed();
        if let Some(message) = &counts.last_error {
            channel.last_error = Some(RowError {
                message: message.clone(),
                offset_upper_bound: record.offset_token.clone(),
            });
        }
    }
    channels.into_values().collect()
}
