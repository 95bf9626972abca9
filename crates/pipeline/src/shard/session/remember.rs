//! Telling the lease row what is committed.
//!
//! How it works: while data flows, a checkpoint is written beside it, one at a time: a lease table that hangs or is gone holds up
//! nothing, and what was committed meanwhile is in the next one. At a drain, an end and a stop it is waited for.
//!
//! A shard without records moves on all the same: how far it was looked through is told once an hour, so that a restart after
//! days neither begins at a place that has left the stream nor takes the silence for a loss.
//!
//! What it guarantees: only what is committed is written (I3), and nothing goes back (I4: the row's own condition). A lease
//! that is found lost ends the session.

use frazil_lease::{Checkpoint, CheckpointOutcome};
use frazil_model::{Event, Position, SequenceNumber};
use tokio::task::JoinHandle;

use super::Session;
use super::outlet::Outlet;
use crate::error::Error;

/// How a checkpoint beside the data ended, and what it was to remember.
pub(super) type Remembered = (Result<CheckpointOutcome, frazil_lease::Error>, Option<Position>);

/// Waits for a checkpoint on its way; for ever, if there is none.
pub(super) async fn remembered(on_its_way: &mut Option<JoinHandle<Remembered>>) -> Option<Remembered> {
    match on_its_way {
        None => std::future::pending().await,
        Some(task) => {
            let ended = task.await;
            *on_its_way = None;
            // A task that was ended by a panic has been told by the panic hook; the next checkpoint says the same again.
            ended.ok()
        }
    }
}

impl Session<'_> {
    fn moved_since_checkpoint(&self) -> bool {
        self.was_idle || self.committed.is_some() && self.committed > self.checkpointed
    }

    /// The shard had nothing up to here. That counts only where all before it is committed.
    pub(super) fn meet_idle(&mut self, reached: Option<SequenceNumber>, until_ms: i64) {
        if self.has_outstanding() {
            return;
        }
        self.settle();
        self.committed = self.committed.take().max(reached.map(Position::whole));
        self.reached = self.reached.take().max(self.committed.clone());
        self.read_until_ms = self.read_until_ms.max(Some(until_ms));
        self.was_idle = true;
    }

    /// Begins a checkpoint, if the committed span moved, and none is on its way.
    pub(super) fn remember_beside(&mut self) {
        self.checkpoint_due = self.way.parts.clock.now() + self.way.options.checkpoint_interval;
        if self.remembering.is_some() || !self.moved_since_checkpoint() {
            return;
        }
        let (leases, tenure) = (self.way.leases.clone(), self.tenure.clone());
        let (checkpoint, position) = (self.as_checkpoint(false), self.committed.clone());
        self.was_idle = false;
        self.remembering = Some(tokio::spawn(async move {
            (leases.checkpoint(&tenure, checkpoint).await, position)
        }));
    }

    /// Takes in how a checkpoint beside the data ended.
    pub(super) fn meet_remembered(&mut self, ended: Option<Remembered>) -> Result<(), Error> {
        match ended {
            None => Ok(()),
            Some((Ok(outcome), position)) => self.meet_outcome(outcome, position),
            // The next one says the same and more.
            Some((Err(error), _)) if error.kind().may_heal() => {
                self.way.parts.events.emit(Event::CallFailed {
                    shard: Some(self.way.shard.clone()),
                    room: "lease",
                    call: "checkpoint",
                    kind: error.kind(),
                    error: error.to_string(),
                    failures: 1,
                });
                Ok(())
            }
            Some((Err(error), _)) => Err(error.into()),
        }
    }

    /// Tells the lease row the end of the committed span, if it moved, and waits until it stands there.
    pub(super) async fn remember(&mut self) -> Result<(), Error> {
        if let Some(task) = self.remembering.take()
            && let Ok(ended) = task.await
        {
            self.meet_remembered(Some(ended))?;
        }
        self.checkpoint_due = self.way.parts.clock.now() + self.way.options.checkpoint_interval;
        if !self.moved_since_checkpoint() {
            return Ok(());
        }
        self.checkpoint(false).await
    }

    /// Writes a checkpoint and waits for it.
    pub(super) async fn checkpoint(&mut self, ended: bool) -> Result<(), Error> {
        let checkpoint = self.as_checkpoint(ended);
        self.write(checkpoint).await
    }

    /// Goes to another pipe, or under other routes: no channel holds anything behind the committed span, and where that ends and
    /// where the shard writes from now on is one write.
    pub(super) async fn leave(&mut self) -> Result<(), Error> {
        let Some(next) = self.placed.next.take() else {
            return Ok(());
        };
        self.pages.stop();
        self.settle();
        if let Some(task) = self.remembering.take()
            && let Ok(ended) = task.await
        {
            self.meet_remembered(Some(ended))?;
        }
        let checkpoint = Checkpoint {
            destination: Some(next.to_string()),
            ..self.as_checkpoint(false)
        };
        self.write(checkpoint).await?;
        self.way.tell_pipe_left(&self.placed.now, &next);
        Ok(())
    }

    async fn write(&mut self, checkpoint: Checkpoint) -> Result<(), Error> {
        let position = checkpoint.position.clone();
        self.was_idle = false;
        let outcome = self.way.leases.checkpoint(self.tenure, checkpoint).await?;
        self.meet_outcome(outcome, position)
    }

    fn meet_outcome(&mut self, outcome: CheckpointOutcome, position: Option<Position>) -> Result<(), Error> {
        match outcome {
            CheckpointOutcome::Done => {
                self.checkpointed = position;
                Ok(())
            }
            CheckpointOutcome::LeaseLost => Err(Error::LeaseLost {
                shard: self.way.shard.clone(),
            }),
        }
    }

    fn as_checkpoint(&self, ended: bool) -> Checkpoint {
        Checkpoint {
            position: self.committed.clone(),
            ended,
            channels: self.outlets.iter().map(Outlet::remembered).collect(),
            destination: Some(self.placed.now.to_string()),
            read_until_ms: self.read_until_ms,
        }
    }
}
