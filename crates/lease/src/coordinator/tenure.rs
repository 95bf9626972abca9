//! What a worker writes to the rows of shards it holds.

use std::collections::HashSet;

use frazil_model::{Event, RetryPolicy, ShardId};

use super::{LeaseCoordinator, Shared, locked};
use crate::error::Error;
use crate::row::{Holder, Item, Row, ShardRow, decode};
use crate::state::{Checkpoint, CountedChannel, Tenure};
use crate::store::Written;
use crate::update::Update;

/// How often a write is sent whose answer does not come, before the caller is told.
const TRIES: u32 = 3;
/// A reason is told in at most this many characters.
const MAX_REASON: usize = 400;

/// How a checkpoint ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointOutcome {
    /// The row remembers it.
    Done,
    /// The lease is not this worker's any more; nothing was written.
    LeaseLost,
}

impl LeaseCoordinator {
    /// Remembers a checkpoint in the shard's row, if the tenure still holds.
    ///
    /// A lost answer is met by sending the same write again: if it had taken effect, it is refused and recognised. A tenure's
    /// checkpoints must be given one after the other.
    ///
    /// # Errors
    /// [`Error::CheckpointRegressed`] where the row remembers a later position; else what the calls met. After an error of kind
    /// `Retry` it may have taken effect, and a later checkpoint may be given all the same.
    pub async fn checkpoint(&self, tenure: &Tenure, cp: Checkpoint) -> Result<CheckpointOutcome, Error> {
        let shared = &self.shared;
        if !shared.holds(tenure) {
            return Ok(CheckpointOutcome::LeaseLost);
        }
        let serial = {
            let mut book = locked(&shared.book);
            let serial = book.serials.entry(tenure.clone()).or_default();
            *serial += 1;
            *serial
        };
        let wall_ms = shared.clock.wall_ms();
        let rate = locked(&shared.book).rates.to_write(&tenure.shard);
        let update = Update::checkpoint(&shared.options.worker, tenure, serial, &cp, wall_ms).with_rate(rate);
        let outcome = match shared.persist(&tenure.shard, "checkpoint", &update).await? {
            Written::Done => CheckpointOutcome::Done,
            Written::Refused(row) => judge(shared, tenure, serial, &cp, row.as_ref())?,
        };
        match outcome {
            CheckpointOutcome::Done => {
                locked(&shared.book).rates.written(&tenure.shard, rate);
                shared.events.emit(Event::Checkpointed {
                    shard: tenure.shard.clone(),
                    up_to: cp.position,
                    ended: cp.ended,
                });
            }
            CheckpointOutcome::LeaseLost => shared.lose(tenure),
        }
        Ok(outcome)
    }

    /// Gives a shard back. From here on it does not count as held; if the table does not answer, the release is tried again
    /// until it does.
    pub async fn release(&self, tenure: &Tenure) {
        self.shared.release(tenure).await;
    }

    /// Takes in how much is read of a held shard, in bytes/s as Kinesis hands them out; report it every few seconds, zero
    /// included. It is averaged, and written with the next checkpoint or release if it changed much: it costs no write.
    pub fn report_rate(&self, shard: &ShardId, bytes_per_s: u64) {
        locked(&self.shared.book).rates.report(shard, bytes_per_s);
    }

    /// Gives a shard back that fails here for minutes. Another worker takes it; this one takes it again only if it is alone, or
    /// if nobody did for ten timeouts. `reason` is for people.
    pub async fn offer(&self, tenure: &Tenure, reason: &str) {
        let shared = &self.shared;
        let (connector, shard) = (shared.events.connector(), &tenure.shard);
        let reason: String = reason.chars().take(MAX_REASON).collect();
        tracing::warn!(connector, %shard, reason, "this shard fails here and is offered to another worker");
        {
            let mut book = locked(&shared.book);
            book.offered
                .insert(shard.clone(), (tenure.clone(), shared.clock.now()));
        }
        shared.release(tenure).await;
    }

    /// Empties the rows of shards that the stream does not list any more and that were read to their end. `gone` are those that
    /// no complete `ListShards` has named for long: an end that is forgotten and comes back is read again. Answers those of
    /// them that were *not* read to their end: what was left in them is lost, and they stay for a person to see.
    ///
    /// # Errors
    /// What the calls met; what was emptied by then stays so.
    pub async fn forget_gone(&self, gone: &HashSet<ShardId>) -> Result<Vec<ShardId>, Error> {
        let shared = &self.shared;
        let snapshot = shared.snapshot().await?;
        let mut unfinished = Vec::new();
        for (shard, row) in &snapshot.shards {
            let of_this_stream = row.state.stream.as_ref() == Some(&shared.options.stream);
            if !gone.contains(shard) || !of_this_stream {
                continue;
            }
            match (row.state.ended, &row.holder) {
                // Between its end and its release: the next time.
                (true, Holder::Worker(_) | Holder::Foreign(_)) => {}
                // Where it is refused, the row changed meanwhile: the next time.
                (true, Holder::Nobody) => drop(shared.update(&Update::forget(row)).await?),
                (false, _) => unfinished.push(shard.clone()),
            }
        }
        unfinished.sort();
        Ok(unfinished)
    }

    /// Marks the shard as stopped, durably, until [`LeaseCoordinator::resume`]; `seen` is what its channels had counted, which
    /// stops it no second time.
    ///
    /// # Errors
    /// What the call met.
    pub async fn mark_stopped(
        &self,
        tenure: &Tenure,
        reason: &str,
        seen: &[CountedChannel],
    ) -> Result<CheckpointOutcome, Error> {
        let shared = &self.shared;
        let wall_ms = shared.clock.wall_ms();
        let update = Update::stop(&shared.options.worker, tenure, reason, seen, wall_ms);
        match shared.persist(&tenure.shard, "stop mark", &update).await? {
            Written::Done => Ok(CheckpointOutcome::Done),
            Written::Refused(_) => {
                shared.lose(tenure);
                Ok(CheckpointOutcome::LeaseLost)
            }
        }
    }

    /// Takes a stop mark off. Answers whether it stood there with this reason.
    ///
    /// # Errors
    /// What the call met.
    pub async fn resume(&self, shard: &ShardId, reason: &str) -> Result<bool, Error> {
        let written = self
            .shared
            .persist(shard, "resume", &Update::resume(shard, reason))
            .await?;
        Ok(written == Written::Done)
    }
}

impl Shared {
    /// Sends a write until it is answered, a few times. Every write may be sent twice: its conditions see to it.
    async fn persist(&self, shard: &ShardId, call: &'static str, update: &Update) -> Result<Written, Error> {
        let mut backoff = RetryPolicy::NETWORK.start();
        loop {
            match self.update(update).await {
                Ok(written) => return Ok(written),
                Err(error) if error.kind().may_heal() && backoff.failures() + 1 < TRIES => {
                    self.tell_failure(call, Some(shard), &error, backoff.failures() + 1);
                    backoff.wait(&*self.clock, &*self.random).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) async fn release(&self, tenure: &Tenure) {
        {
            let mut book = locked(&self.book);
            let epoch = book.released.entry(tenure.shard.clone()).or_default();
            *epoch = tenure.epoch.max(*epoch);
            book.unconfirmed.insert(tenure.shard.clone(), tenure.clone());
        }
        self.unhold(tenure);
        self.confirm_release(tenure).await;
    }

    /// The release of a tenure, as an offer where it is one.
    pub(super) fn release_of(&self, tenure: &Tenure) -> Update {
        let (worker, wall_ms) = (&self.options.worker, self.clock.wall_ms());
        let book = locked(&self.book);
        let offered = book
            .offered
            .get(&tenure.shard)
            .is_some_and(|(of, _)| of == tenure);
        let update = if offered {
            Update::offer(worker, tenure, wall_ms)
        } else {
            Update::release(worker, tenure, wall_ms)
        };
        update.with_rate(book.rates.to_write(&tenure.shard))
    }

    /// Writes a release. One that is refused is done: either an earlier try took effect, or the shard is another's.
    pub(super) async fn confirm_release(&self, tenure: &Tenure) {
        let update = self.release_of(tenure);
        match self.persist(&tenure.shard, "release", &update).await {
            Ok(_) => {
                let mut book = locked(&self.book);
                let first = book.unconfirmed.get(&tenure.shard) == Some(tenure);
                if first {
                    book.unconfirmed.remove(&tenure.shard);
                }
                drop(book);
                if first {
                    self.events.emit(Event::LeaseReleased {
                        shard: tenure.shard.clone(),
                    });
                }
            }
            Err(error) => self.tell_failure("release", Some(&tenure.shard), &error, 1),
        }
    }
}

/// Why a checkpoint was refused, by the row as it stood.
fn judge(
    shared: &Shared,
    tenure: &Tenure,
    serial: u64,
    new: &Checkpoint,
    row: Option<&Item>,
) -> Result<CheckpointOutcome, Error> {
    let Some(Row::Shard(row)) = row.map(decode).transpose()? else {
        return Ok(CheckpointOutcome::LeaseLost);
    };
    if !is_of(&row, tenure, shared) || row.state.foreign_moved {
        return Ok(CheckpointOutcome::LeaseLost);
    }
    let (stored, new) = (&row.state.position, &new.position);
    if row.serial >= serial && (new.is_none() || stored >= new) {
        // This very write, or a later one of the same tenure: its answer was lost.
        return Ok(CheckpointOutcome::Done);
    }
    match (stored, new) {
        (Some(stored), Some(new)) if stored > new => Err(Error::CheckpointRegressed {
            shard: tenure.shard.clone(),
            stored: stored.clone(),
            new: new.clone(),
        }),
        _ => Ok(CheckpointOutcome::LeaseLost),
    }
}

fn is_of(row: &ShardRow, tenure: &Tenure, shared: &Shared) -> bool {
    row.holder == Holder::Worker(shared.options.worker.clone())
        && row.state.epoch == tenure.epoch
        && row.state.generation == tenure.generation
}
