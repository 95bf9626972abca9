//! One worker's part in sharing a stream's shards: beats, takes, holds, hands over, lets go.
//!
//! How it works: a task ([`task`]) looks at the table every [`LeaseOptions::look`] (only at the workers' rows while nothing is
//! wanted) and beats once per [`LeaseOptions::tick`]. Each full look is followed by letting go of what is not its own any more,
//! by judging who lives ([`crate::liveness`]), and by taking or draining what the quota says ([`crate::assign`]). What it holds
//! stands in [`LeaseCoordinator::held`]; a shard that is to be handed over is marked as draining there, and the reader of the
//! map drains it, checkpoints, and calls [`LeaseCoordinator::release`].
//!
//! What it guarantees: the task never waits for data, so beats go on while the destination hangs (I9); each of its waits is
//! bounded. A free shard is taken at once. A dead worker's shards are taken within `timeout + 2 * look` of its death
//! (34 s by default), never while it beats. Lease writes are one beat per worker and tick, whatever the number of shards.
//!
//! While the table cannot be reached, held shards stay held, and nobody is judged dead. What another program does to the rows
//! is met shard by shard: a foreign owner, or a living foreign node, stops the shards concerned with a named reason; a foreign
//! owner that stood still for [`LeaseOptions::foreign_still`] is taken for dead.

mod prepare;
mod pulse;
mod rates;
mod reconcile;
mod snapshot;
mod task;
mod tenure;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use frazil_model::{Clock, Event, Events, Instant, Random, ShardId, StallReason, StreamName, WorkerId};
use tokio::sync::{Notify, watch};

use crate::error::Error;
use crate::row::{self, Row, WorkerRow};
use crate::state::{Pin, ShardState, StreamIdentity, Tenure};
use crate::store::{LeaseStore, Scope, Written};
use crate::update::Update;
use pulse::Pulse;
use rates::Rates;
use snapshot::{Snapshot, believed};

pub use tenure::CheckpointOutcome;

/// How often a pin is tried while others set theirs.
const PIN_TRIES: u32 = 5;

/// What a coordinator is told.
#[derive(Debug, Clone)]
pub struct LeaseOptions {
    /// The application: the table's name.
    pub application: String,
    /// The stream's name.
    pub stream_name: StreamName,
    /// Which stream of this name it is.
    pub stream: StreamIdentity,
    /// This worker: drawn anew at each start of the process.
    pub worker: WorkerId,
    /// Its name for people.
    pub display_name: String,
    /// A worker beats once in this time (default 10 s).
    pub tick: Duration,
    /// A worker whose beat stood still for this long is dead (default 30 s; at least three ticks).
    pub timeout: Duration,
    /// How often the table is looked at (default 2 s; at most a tick).
    pub look: Duration,
    /// Another program's lease or node that stood still for this long is dead (default 90 s).
    pub foreign_still: Duration,
}

impl LeaseOptions {
    /// Options with the documented defaults.
    #[must_use]
    pub fn new(
        application: &str,
        stream_name: StreamName,
        stream: StreamIdentity,
        worker: WorkerId,
        display_name: &str,
    ) -> Self {
        Self {
            application: application.to_owned(),
            stream_name,
            stream,
            worker,
            display_name: display_name.to_owned(),
            tick: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            look: Duration::from_secs(2),
            foreign_still: Duration::from_secs(90),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let detail = if self.look.is_zero() {
            "look must not be zero"
        } else if self.look > self.tick {
            "look must not be longer than tick"
        } else if self.timeout < self.tick * 3 {
            "timeout must be at least three ticks"
        } else {
            return Ok(());
        };
        Err(Error::Options { detail })
    }

    /// The longest a single call may take: a sixth of the timeout.
    fn call_timeout(&self) -> Duration {
        self.timeout / 6
    }
}

/// A shard that this worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Since when, as the table counts.
    pub tenure: Tenure,
    /// It is to be drained, checkpointed and released.
    pub draining: bool,
}

/// The shards that a worker holds now.
pub type HeldShards = Arc<HashMap<ShardId, Held>>;

/// What the worker remembers about shards, beside the table.
#[derive(Debug, Default)]
struct Book {
    /// The highest epoch seen or written of each shard: a row that an operator deleted starts above it.
    epochs: HashMap<ShardId, u64>,
    /// The latest tenure that was given back: rows up to its epoch are not taken for held.
    released: HashMap<ShardId, u64>,
    /// Given back, but the table has not confirmed it.
    unconfirmed: HashMap<ShardId, Tenure>,
    /// Checkpoints written in a tenure.
    serials: HashMap<Tenure, u64>,
    /// Why shards that this worker wants cannot be taken.
    stalled: HashMap<ShardId, (StallReason, String)>,
    /// How much is read of held shards.
    rates: Rates,
    /// Given back because they failed here: the tenure, and when.
    offered: HashMap<ShardId, (Tenure, Instant)>,
    /// Drain all, take nothing more.
    leaving: bool,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn LeaseStore>,
    scope: Scope,
    options: LeaseOptions,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    events: Events,
    held: watch::Sender<HeldShards>,
    pulse: Mutex<Pulse>,
    book: Mutex<Book>,
    /// Something changed that asks for a full look.
    wake: Notify,
    stopping: watch::Sender<bool>,
    ended: watch::Sender<bool>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these; what a panic left would still be whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// One call, bounded. One that takes too long is an answer that did not come.
    async fn bounded<T>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let limit = self.options.call_timeout();
        tokio::select! {
            answer = work => answer,
            () = self.clock.sleep(limit) => {
                Err(Error::Unreachable { call, detail: format!("no answer within {limit:?}") })
            }
        }
    }

    async fn update(&self, update: &Update) -> Result<Written, Error> {
        self.bounded("UpdateItem", self.store.update(&self.scope, update))
            .await
    }

    async fn row(&self, key: &str) -> Result<Option<row::Item>, Error> {
        self.bounded("GetItem", self.store.row(&self.scope, key)).await
    }

    async fn snapshot(&self) -> Result<Snapshot, Error> {
        let began = self.clock.now();
        let items = self.bounded("Query", self.store.rows(&self.scope, "")).await?;
        Ok(Snapshot::of(&items, began))
    }

    fn tell_failure(&self, call: &'static str, shard: Option<&ShardId>, error: &Error, failures: u32) {
        self.events.emit(Event::CallFailed {
            shard: shard.cloned(),
            room: "lease",
            call,
            kind: error.kind(),
            error: error.to_string(),
            failures,
        });
    }

    /// Puts a shard among the held ones.
    fn hold(&self, tenure: Tenure) {
        let mut book = locked(&self.book);
        let epoch = book.epochs.entry(tenure.shard.clone()).or_default();
        *epoch = tenure.epoch.max(*epoch);
        book.rates.forget(&tenure.shard);
        book.serials
            .retain(|other, _| *other == tenure || other.shard != tenure.shard);
        drop(book);
        let (shard, epoch) = (tenure.shard.clone(), tenure.epoch);
        self.held.send_modify(|held| {
            let draining = locked(&self.book).leaving;
            Arc::make_mut(held).insert(shard.clone(), Held { tenure, draining });
        });
        self.moves(&shard);
        self.events.emit(Event::LeaseTaken { shard, epoch });
    }

    /// Takes a tenure out of the held ones. Answers whether it was there.
    fn unhold(&self, tenure: &Tenure) -> bool {
        self.held.send_if_modified(|held| {
            let is_held = held.get(&tenure.shard).is_some_and(|held| held.tenure == *tenure);
            if is_held {
                Arc::make_mut(held).remove(&tenure.shard);
            }
            is_held
        })
    }

    /// The lease is another's.
    fn lose(&self, tenure: &Tenure) {
        if self.unhold(tenure) {
            self.events.emit(Event::LeaseLost {
                shard: tenure.shard.clone(),
                epoch: tenure.epoch,
            });
            self.wake.notify_one();
        }
    }

    fn holds(&self, tenure: &Tenure) -> bool {
        self.held
            .borrow()
            .get(&tenure.shard)
            .is_some_and(|held| held.tenure == *tenure)
    }

    /// Tells once why a shard cannot be taken.
    fn stall(&self, shard: &ShardId, error: &Error) {
        let reason = match error {
            Error::ForeignOwner { .. } => StallReason::ForeignOwner,
            Error::RowDamaged { .. } => StallReason::Corrupt,
            Error::OtherStream { .. } => StallReason::Invalid,
            _ => StallReason::LeaseTable,
        };
        let stall = (reason, error.to_string());
        let before = locked(&self.book).stalled.insert(shard.clone(), stall.clone());
        if before.is_none_or(|before| before.0 != reason) {
            self.events.emit(Event::ShardStalled {
                shard: shard.clone(),
                reason,
                error: stall.1,
            });
        }
    }

    fn moves(&self, shard: &ShardId) {
        if locked(&self.book).stalled.remove(shard).is_some() {
            self.events.emit(Event::ShardMoves { shard: shard.clone() });
        }
    }
}

/// Ends the task when the last handle is gone, as a crash would: nothing is released.
#[derive(Debug)]
struct Task(tokio::task::AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A handle to one worker's coordinator. Clones are the same coordinator.
#[derive(Debug, Clone)]
pub struct LeaseCoordinator {
    shared: Arc<Shared>,
    _task: Arc<Task>,
}

impl LeaseCoordinator {
    /// Makes the table if it is missing, and starts to share the shards of `candidates`: those that may be read now.
    ///
    /// # Errors
    /// [`Error::ForeignLayout`] for a table that is none of ours; [`Error::TableNotReady`] if it stays so for about a minute;
    /// else what the calls met. It is the caller's to try again.
    pub async fn start(
        store: Arc<dyn LeaseStore>,
        options: LeaseOptions,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        events: Events,
        candidates: watch::Receiver<Arc<Vec<ShardId>>>,
    ) -> Result<Self, Error> {
        options.check()?;
        let scope = Scope {
            application: options.application.clone(),
            stream: options.stream_name.clone(),
        };
        let pulse = Pulse::new(options.timeout / 2, clock.now());
        let shared = Arc::new(Shared {
            store,
            scope,
            options,
            clock,
            random,
            events,
            held: watch::Sender::new(HeldShards::default()),
            pulse: Mutex::new(pulse),
            book: Mutex::default(),
            wake: Notify::new(),
            stopping: watch::Sender::new(false),
            ended: watch::Sender::new(false),
        });
        shared.prepare().await?;
        let task = tokio::spawn(task::Task::new(Arc::clone(&shared), candidates).run());
        Ok(Self {
            shared,
            _task: Arc::new(Task(task.abort_handle())),
        })
    }

    /// This worker.
    #[must_use]
    pub fn worker(&self) -> &WorkerId {
        &self.shared.options.worker
    }

    /// What this worker holds, as it changes.
    #[must_use]
    pub fn held(&self) -> watch::Receiver<HeldShards> {
        self.shared.held.subscribe()
    }

    /// Whether this worker may read or append now: it was awake all the time since it last saw the table. While the table cannot
    /// be reached the answer stays yes; after a sleep of its own it is no until the table was read again.
    #[must_use]
    pub fn may_act(&self) -> bool {
        locked(&self.shared.pulse).may_act(self.shared.clock.now())
    }

    /// Why shards that this worker wants cannot be taken.
    #[must_use]
    pub fn stalled(&self) -> HashMap<ShardId, (StallReason, String)> {
        locked(&self.shared.book).stalled.clone()
    }

    /// A shard's row as it stands.
    ///
    /// # Errors
    /// [`Error::RowDamaged`], [`Error::OtherStream`], or what the call met.
    pub async fn read(&self, shard: &ShardId) -> Result<ShardState, Error> {
        let Some(item) = self.shared.row(shard.as_str()).await? else {
            return Ok(ShardState::unknown(shard.clone()));
        };
        match row::decode(&item)? {
            Row::Shard(row) => believed(row.state, &self.shared.options.stream),
            _ => Ok(ShardState::unknown(shard.clone())),
        }
    }

    /// All shards that have a row. One whose row is damaged, or of another stream, is left out: it cannot be taken either, and
    /// [`LeaseCoordinator::stalled`] tells of it.
    ///
    /// # Errors
    /// What the call met.
    pub async fn all_states(&self) -> Result<Vec<ShardState>, Error> {
        let snapshot = self.shared.snapshot().await?;
        let stream = &self.shared.options.stream;
        let states = snapshot
            .shards
            .into_values()
            .filter_map(|row| believed(row.state, stream).ok());
        Ok(states.collect())
    }

    /// The heartbeat rows of all workers, dead ones among them.
    ///
    /// # Errors
    /// What the call met.
    pub async fn workers(&self) -> Result<Vec<WorkerRow>, Error> {
        Ok(self.shared.snapshot().await?.workers)
    }

    /// Sets the pin if none stands, and answers the one that stands. One of a stream that was deleted since is replaced.
    ///
    /// # Errors
    /// [`Error::OtherStream`] where the pin is another stream's; [`Error::RowDamaged`]; else what the calls met.
    pub async fn pin(&self, proposed: Pin) -> Result<Pin, Error> {
        let shared = &self.shared;
        let mut stands = shared.row(row::PIN_KEY).await?;
        for _ in 0..PIN_TRIES {
            let old = stands.as_ref().map(row::decode).transpose()?;
            if let Some(Row::Pin(pin)) = old {
                let found = &pin.stream;
                if *found == proposed.stream {
                    return Ok(*pin);
                }
                if found.arn != proposed.stream.arn || found.created_ms > proposed.stream.created_ms {
                    return Err(Error::OtherStream {
                        row: row::PIN_KEY.to_owned(),
                        found: found.to_string(),
                        expected: proposed.stream.to_string(),
                    });
                }
            }
            let update = Update::pin(&proposed, stands.as_ref(), shared.clock.wall_ms());
            match shared.update(&update).await? {
                Written::Done => return Ok(proposed),
                Written::Refused(row) => stands = row,
            }
        }
        Err(Error::Unreachable {
            call: "UpdateItem",
            detail: "the pin changed at every try".to_owned(),
        })
    }

    /// Asks for all held shards to be drained, and takes nothing more.
    pub fn leave(&self) {
        locked(&self.shared.book).leaving = true;
        self.shared.held.send_modify(|held| {
            Arc::make_mut(held)
                .values_mut()
                .for_each(|held| held.draining = true);
        });
    }

    /// Releases what is still held, makes the worker's row free, and ends the task. Bounded by half the timeout: what the table
    /// did not confirm by then is left to time out.
    pub async fn stop(&self) {
        self.shared.stopping.send_replace(true);
        let mut ended = self.shared.ended.subscribe();
        tokio::select! {
            _ = ended.wait_for(|ended| *ended) => {}
            // Only a task that died could be that late.
            () = self.shared.clock.sleep(self.shared.options.timeout) => {}
        }
    }
}

#[cfg(test)]
mod tests;
