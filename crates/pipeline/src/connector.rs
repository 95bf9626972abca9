//! One connector: a stream's shards, as far as this worker holds them, each carried on its own way.
//!
//! How it works: describe the stream, make the lease table ready, set or read the pin, then share shards through the
//! [`LeaseCoordinator`]: it is told which shards may be read ([`crate::topology`]), and what it holds is carried by one
//! task per shard ([`crate::shard`]). The end of a shard is remembered in its row, from where every worker learns it.
//!
//! What it guarantees: a fault in one shard never stops another; a child begins after its parents, whoever read them (I6);
//! a stop reads no more, commits what was accepted, remembers it, gives the leases back, and is bounded in time.

mod begin;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use frazil_kinesis::{FanOutConsumer, StreamDescription};
use frazil_lease::{HeldShards, LeaseCoordinator, ShardState, Tenure};
use frazil_model::{Event, RetryPolicy, ShardId};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::batch::Compressors;
use crate::error::Error;
use crate::options::{ConnectorOptions, Parts};
use crate::pipes::OpenPipes;
use crate::shard::{self, Ended, Wanted, Way};
use crate::topology::{Expired, Topology};

pub use begin::listed_shard;

/// How often ends of shards that other workers read are looked up while children wait for them.
const WAITING_LOOK: Duration = Duration::from_secs(5);
/// Rows of shards that left the stream are emptied at every so many looks, if none of so many named them.
const FORGET_EVERY: u32 = 10;
/// How much longer than a drain a stop may take before what is left is dropped.
const STOP_SLACK: Duration = Duration::from_secs(10);
const START: RetryPolicy = RetryPolicy {
    first: Duration::from_millis(500),
    cap: Duration::from_secs(20),
};

/// One connector.
#[derive(Debug)]
pub struct Connector {
    options: Arc<ConnectorOptions>,
    parts: Parts,
}

impl Connector {
    /// A connector that has not begun.
    #[must_use]
    pub fn new(options: ConnectorOptions, parts: Parts) -> Self {
        Self {
            options: Arc::new(options),
            parts,
        }
    }

    /// Carries the stream until `stop` is cancelled; then drains and returns. May be called again after an error.
    ///
    /// # Errors
    /// What keeps the whole connector from beginning and does not heal by itself. What goes wrong with one shard stays there.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), Error> {
        let begun = tokio::select! {
            begun = self.begin() => begun?,
            () = stop.cancelled() => return Ok(()),
        };
        let worker = begun.leases.worker().clone();
        self.parts.events.emit(Event::ConnectorStarted { worker });
        let done = begun.carry(stop).await;
        self.parts.events.emit(Event::ConnectorStopped);
        done
    }
}

struct RunningWay {
    tenure: Tenure,
    wanted: watch::Sender<Wanted>,
}

/// A connector that has begun.
struct Begun {
    options: Arc<ConnectorOptions>,
    parts: Parts,
    stream: Arc<StreamDescription>,
    consumer: Option<Arc<FanOutConsumer>>,
    leases: LeaseCoordinator,
    held: watch::Receiver<HeldShards>,
    pipes: Arc<OpenPipes>,
    compressors: Arc<Compressors>,
    topology: Topology,
    candidates: watch::Sender<Arc<Vec<ShardId>>>,
    /// The rows of the lease table as of the last look.
    states: HashMap<ShardId, ShardState>,
    ways: HashMap<ShardId, RunningWay>,
    tasks: JoinSet<(Tenure, Ended)>,
    /// Tenures that a way found to be over before the coordinator did.
    over: HashMap<ShardId, Tenure>,
    /// What ends the connector.
    fatal: Option<Error>,
    looks: u32,
    /// Shards with a row, and how many lists in a row did not name them.
    missed: HashMap<ShardId, u32>,
    audit: Audit,
}

impl Begun {
    async fn carry(mut self, stop: CancellationToken) -> Result<(), Error> {
        let mut backoff = START.start();
        let clock = Arc::clone(&self.parts.clock);
        let mut look_due = clock.now();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                changed = self.held.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.follow_leases();
                }
                Some(ended) = self.tasks.join_next() => {
                    if self.meet_end(ended).await {
                        look_due = clock.now();
                    }
                    if self.fatal.is_some() {
                        break;
                    }
                }
                () = clock.sleep(look_due.since(clock.now())) => {
                    let wait = match self.look().await {
                        Ok(()) => {
                            backoff.reset();
                            let waiting = self.topology.has_waiting();
                            if waiting { WAITING_LOOK.min(self.options.list_interval) } else { self.options.list_interval }
                        }
                        Err(error) => {
                            self.tell_failed_look(&error, backoff.failures() + 1);
                            backoff.next_wait(&*self.parts.random)
                        }
                    };
                    look_due = clock.now() + wait;
                }
            }
        }
        self.drain().await;
        self.fatal.map_or(Ok(()), Err)
    }

    fn tell_failed_look(&self, error: &Error, failures: u32) {
        self.parts.events.emit(Event::CallFailed {
            shard: None,
            room: error.room(),
            call: "list shards",
            kind: error.kind(),
            error: error.to_string(),
            failures,
        });
    }

    /// Learns which shards there are and which have ended, and says which may be read.
    async fn look(&mut self) -> Result<(), Error> {
        let shards = self.parts.kinesis.list_shards().await?;
        let states = self.leases.all_states().await?;
        self.states = states
            .into_iter()
            .map(|state| (state.shard.clone(), state))
            .collect();
        for state in self.states.values().filter(|state| state.ended) {
            self.topology.end(state.shard.clone());
        }
        let states = &self.states;
        let begun = |id: &ShardId| {
            states
                .get(id)
                .is_some_and(|state| state.position.is_some() || state.epoch > 0)
        };
        for Expired(shard) in self.topology.list(&shards, begun) {
            let detail = "the shard left the stream's retention before it was read to its end".to_owned();
            self.parts.events.emit(Event::DataExpired { shard, detail });
        }
        self.offer();
        if let Some(hole) = self.audit.look(&shards) {
            let (first, last) = (hole.start, hole.end);
            self.parts.events.emit(Event::HashKeysUnread { first, last });
        }
        let listed: HashSet<ShardId> = shards.into_iter().map(|shard| shard.id).collect();
        let gone = self.gone_for_long(&listed);
        self.looks = self.looks.wrapping_add(1);
        if self.looks.is_multiple_of(FORGET_EVERY) && !gone.is_empty() {
            // What was not read to its end is told above, once, as it leaves.
            drop(self.leases.forget_gone(&gone).await?);
        }
        Ok(())
    }

    /// The shards with a row that the last lists did not name, each of them. An end that is forgotten too early would be read
    /// again, so this takes more than [`crate::topology`] does.
    fn gone_for_long(&mut self, listed: &HashSet<ShardId>) -> HashSet<ShardId> {
        let unlisted = self.states.keys().filter(|id| !listed.contains(*id));
        let missed = unlisted.map(|id| (id.clone(), self.missed.get(id).map_or(1, |lists| lists + 1)));
        self.missed = missed.collect();
        let gone = self.missed.iter().filter(|(_, lists)| **lists >= FORGET_EVERY);
        gone.map(|(id, _)| id.clone()).collect()
    }

    fn offer(&self) {
        let readable = Arc::new(self.topology.readable());
        self.candidates.send_if_modified(|candidates| {
            let changed = *candidates != readable;
            *candidates = readable;
            changed
        });
    }

    /// Starts ways of shards that are held now, and ends or drains others.
    fn follow_leases(&mut self) {
        let held = Arc::clone(&self.held.borrow_and_update());
        for (shard, way) in &self.ways {
            let wanted = match held.get(shard) {
                Some(held) if held.tenure == way.tenure && held.draining => Wanted::Drain,
                Some(held) if held.tenure == way.tenure => continue,
                _ => Wanted::End,
            };
            way.wanted.send_if_modified(|now| {
                let changed = *now != wanted && *now != Wanted::End;
                if changed {
                    *now = wanted;
                }
                changed
            });
        }
        for (shard, held) in held.iter() {
            if !self.ways.contains_key(shard) && self.over.get(shard) != Some(&held.tenure) {
                self.start_way(&held.tenure, held.draining);
            }
        }
    }

    fn start_way(&mut self, tenure: &Tenure, draining: bool) {
        let wanted = if draining { Wanted::Drain } else { Wanted::Read };
        let (sender, receiver) = watch::channel(wanted);
        let way = Way {
            options: Arc::clone(&self.options),
            parts: self.parts.clone(),
            leases: self.leases.clone(),
            pipes: Arc::clone(&self.pipes),
            compressors: Arc::clone(&self.compressors),
            stream: Arc::clone(&self.stream),
            hash_range: self.topology.hash_range(&tenure.shard),
            consumer: self.consumer.clone(),
            start: self.topology.start(&tenure.shard),
            shard: tenure.shard.clone(),
        };
        self.ways.insert(
            tenure.shard.clone(),
            RunningWay {
                tenure: tenure.clone(),
                wanted: sender,
            },
        );
        let tenure = tenure.clone();
        self.tasks.spawn(async move {
            let ended = shard::run(way, tenure.clone(), receiver).await;
            (tenure, ended)
        });
    }

    /// Meets the end of a way. Answers whether the shards are to be listed now.
    async fn meet_end(&mut self, ended: Result<(Tenure, Ended), tokio::task::JoinError>) -> bool {
        let Ok((tenure, ended)) = ended else {
            // A panic; the process's panic hook has told it. The lease times out, or is drained at the stop.
            return false;
        };
        self.ways.remove(&tenure.shard);
        let mut list = false;
        match ended {
            Ended::Finished(children) => {
                self.topology.end(tenure.shard.clone());
                list = children.is_empty();
                for child in children {
                    self.topology.child(child.id, child.parents);
                }
                self.offer();
                self.leases.release(&tenure).await;
            }
            Ended::Drained => self.leases.release(&tenure).await,
            Ended::LeaseLost => {
                self.over.insert(tenure.shard.clone(), tenure);
            }
            Ended::Failing { reason } => self.leases.offer(&tenure, &reason).await,
            Ended::AnotherWriter { channel } => {
                self.fatal = Some(Error::AnotherWriter { channel });
            }
        }
        // What was taken anew while the old way was still ending has no way yet.
        self.follow_leases();
        list
    }

    /// Drains every way, gives the leases back, and ends.
    async fn drain(&mut self) {
        self.leases.leave();
        let clock = Arc::clone(&self.parts.clock);
        let end = clock.now() + self.options.drain_timeout + STOP_SLACK;
        for way in self.ways.values() {
            way.wanted.send_if_modified(|now| {
                let changed = *now == Wanted::Read;
                if changed {
                    *now = Wanted::Drain;
                }
                changed
            });
        }
        while !self.tasks.is_empty() {
            tokio::select! {
                Some(ended) = self.tasks.join_next() => {
                    if let Ok((tenure, Ended::Finished(_) | Ended::Drained)) = ended {
                        self.leases.release(&tenure).await;
                    }
                }
                () = clock.sleep(end.since(clock.now())) => {
                    tracing::warn!(shards = self.tasks.len(), "shards did not drain in time and are let go");
                    self.tasks.abort_all();
                    break;
                }
            }
        }
        self.leases.stop().await;
    }
}
