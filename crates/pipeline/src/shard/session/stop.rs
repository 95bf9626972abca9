//! What a session does when it must not go on by itself: keep what is suspect, and mark the shard.
//!
//! How it works: a finding that a person must look at (rows that the table refused, counts that contradict what was sent, a
//! table that was made anew) becomes a durable mark in the shard's row. With it goes what the channel had counted, so that
//! `frazil resume` goes on and the same finding does not stop the shard again.
//!
//! What it guarantees: before the mark stands for refused rows, every record of the span in which they lie is in the
//! dead-letter file, read from Kinesis once more: the channel tells how many rows it refused, and not which. What it does
//! not: where the stream has forgotten the span, it says so and marks the shard all the same.

use std::sync::Arc;

use frazil_kinesis::{Fetched, RecordPage, ShardReader};
use frazil_lease::{ChannelMark, CheckpointOutcome, CountedChannel, ShardState};
use frazil_model::position::compare_sequences;
use frazil_model::{Event, Position};
use frazil_snowflake::{ChannelStatus, Counts, TableFacts};

use super::Session;
use super::outlet::Outlet;
use crate::dead_letters::{DeadLetter, Reason};
use crate::error::Error;
use crate::options::OnRowError;
use crate::shape::letter_of;
use crate::shard::place::start_behind;
use crate::shard::reading::{LARGEST_PAGE, PAGE_COST, SMALLEST_PAGE};

impl Session<'_> {
    /// Row errors that the channel counted after the last checkpoint, under whatever owner.
    pub(super) async fn meet_errors_of_before(
        &mut self,
        of: usize,
        row: &ShardState,
        known: Option<&CountedChannel>,
        gone: bool,
        now: &ChannelStatus,
    ) -> Result<(), Error> {
        let count = now.row_errors - known.map_or(0, |known| known.counters.row_errors);
        if gone || count <= 0 {
            return Ok(());
        }
        let seen = Counts {
            rows_inserted: now.rows_inserted,
            row_errors: now.row_errors,
        };
        let message = now.last_error_message.clone();
        self.meet_row_errors(of, count, message, row.position.clone(), seen)
            .await
    }

    /// The channel counted row errors somewhere behind `from`, and not behind its token.
    pub(super) async fn meet_row_errors(
        &mut self,
        of: usize,
        count: i64,
        message: Option<String>,
        from: Option<Position>,
        seen: Counts,
    ) -> Result<(), Error> {
        if self.outlets[of].on.on_row_error == OnRowError::Continue {
            return Ok(());
        }
        self.pages.stop();
        self.builder.rest();
        self.memory.clear();
        if let Some(to) = self.outlets[of].channel.token().cloned() {
            self.keep_suspects(from.as_ref(), &to).await?;
        }
        let error = Error::RowErrors {
            shard: self.way.shard.clone(),
            count,
            message,
        };
        Err(self.stop(of, error, seen).await)
    }

    /// Marks the shard as stopped, durably; the error says why.
    pub(super) async fn stop(&mut self, of: usize, error: Error, seen: Counts) -> Error {
        // What was proved before is remembered, so that `resume` goes on behind it.
        if let Err(failed) = self.remember().await {
            tracing::warn!(shard = %self.way.shard, error = %failed, "checkpoint before a stop failed");
        }
        let reason = error.stall_reason();
        let mut channels: Vec<_> = self.outlets.iter().map(Outlet::remembered).collect();
        channels[of] = self.outlets[of].counted(seen);
        match self
            .way
            .leases
            .mark_stopped(self.tenure, reason.as_str(), &channels)
            .await
        {
            Ok(CheckpointOutcome::Done) => {
                // Each mark is told, also of a shard that has not moved since the last one.
                self.course.stalled = false;
                error
            }
            Ok(CheckpointOutcome::LeaseLost) => Error::LeaseLost {
                shard: self.way.shard.clone(),
            },
            Err(failed) => failed.into(),
        }
    }

    /// Keeps every record behind `from` up to `to` as a dead letter: one of them is a row that the table refused.
    async fn keep_suspects(&mut self, from: Option<&Position>, to: &Position) -> Result<(), Error> {
        let parts = &self.way.parts;
        let start = from.map_or_else(|| self.beginning.clone(), start_behind);
        let (kinesis, clock) = (Arc::clone(&parts.kinesis), Arc::clone(&parts.clock));
        let (random, events) = (Arc::clone(&parts.random), parts.events.clone());
        let shard = self.way.shard.clone();
        let mut reader = ShardReader::new(kinesis, clock, random, events, shard, start);
        let mut expected = SMALLEST_PAGE;
        loop {
            let memory = parts.budget.reserve(expected * PAGE_COST).await;
            let page = match reader.next_page(expected).await? {
                Fetched::Page(page) => page,
                Fetched::TooLarge { bytes } if bytes <= LARGEST_PAGE => {
                    expected = bytes;
                    continue;
                }
                Fetched::TooLarge { bytes } => {
                    return Err(frazil_kinesis::Error::PageTooLarge { bytes }.into());
                }
                Fetched::End { .. } => return Ok(()),
            };
            expected = expected.max(page.bytes());
            let done = self.suspects_of(&page, from, to) || page.millis_behind == 0 && page.is_empty();
            self.keep_letters().await?;
            drop(memory);
            if done {
                return Ok(());
            }
        }
    }

    /// Makes letters of a page's suspect records; true where the span ends in it.
    fn suspects_of(&mut self, page: &RecordPage, from: Option<&Position>, to: &Position) -> bool {
        for record in page.records() {
            let sequence = record.sequence_number;
            if from.is_some_and(|from| from.settles(sequence, 0, 0)) {
                continue;
            }
            if compare_sequences(sequence, to.sequence.as_str()).is_gt() {
                return true;
            }
            let detail = "the table refused at least one row among this record and its neighbours".to_owned();
            let letter = letter_of(
                &self.way.stream.name,
                &self.way.shard,
                &record,
                Reason::RowErrorSuspect,
                detail,
            );
            self.letters.push(letter);
        }
        false
    }

    /// The channel of before is gone: is it the table that was made anew?
    pub(super) async fn meet_gone(&mut self, of: usize, before: &ChannelMark) -> Result<(), Error> {
        let outlet = &self.outlets[of];
        self.way.tell_gone(&outlet.mark.name, self.after.as_ref());
        let facts = outlet.on.pipe.snowpipe.table().await?;
        let made_later = |facts: &TableFacts| facts.created_on_ms > before.created_on_ms;
        let Some(facts) = facts.filter(made_later) else {
            return Ok(());
        };
        let error = Error::TableRecreated {
            shard: self.way.shard.clone(),
            table_created_ms: facts.created_on_ms,
            committed: self.after.clone(),
        };
        Err(self.stop(of, error, Counts::default()).await)
    }

    /// Keeps the gathered letters, and tells how many of which kind.
    pub(super) async fn keep_letters(&mut self) -> Result<(), Error> {
        if self.letters.is_empty() {
            return Ok(());
        }
        self.way.parts.dead_letters.keep(&self.letters).await?;
        let events = &self.way.parts.events;
        let mut counts: Vec<(&'static str, u64)> = Vec::new();
        for letter in self.letters.drain(..) {
            let DeadLetter { reason, position, .. } = letter;
            if reason == Reason::RefusedByService {
                self.course.suspicion.kept(&position);
            }
            match counts.iter_mut().find(|(known, _)| *known == reason.as_str()) {
                Some((_, count)) => *count += 1,
                None => counts.push((reason.as_str(), 1)),
            }
        }
        let is_kept = self.way.parts.dead_letters.is_durable();
        for (reason, count) in counts {
            let shard = self.way.shard.clone();
            events.emit(match is_kept {
                true => Event::DeadLettersKept { shard, count, reason },
                false => Event::RecordsDropped { shard, count, reason },
            });
        }
        Ok(())
    }
}
