//! One connector: a stream's shards, as far as this worker holds them, each carried on its own way.
//!
//! How it works: describe the stream, make the lease table ready, set or read the pin, then share shards through the
//! [`LeaseCoordinator`]: it is told which shards may be read ([`crate::topology`]), and what it holds is carried by one
//! task per shard ([`crate::shard`]). The end of a shard is remembered in its row, from where every worker learns it.
//!
//! What it guarantees: a fault in one shard never stops another; a child begins after its parents, whoever read them (I6);
//! a stop reads no more, commits what was accepted, remembers it, gives the leases back, and is bounded in time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use frazil_kinesis::{FanOutConsumer, StartAt, StreamDescription};
use frazil_lease::{
    HeldShards, LeaseCoordinator, LeaseOptions, Pin, PinnedShard, PinnedStart, ShardState, StreamIdentity,
    Tenure,
};
use frazil_model::{Event, RetryPolicy, ShardId, WorkerId};
use frazil_snowflake::StatusPoller;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::batch::Compressors;
use crate::error::Error;
use crate::options::{ConnectorOptions, ConsumerType, InitialPosition, OnRowError, Parts};
use crate::shard::{self, Ended, Wanted, Way};
use crate::topology::{Expired, Pinned, Topology};

/// How often ends of shards that other workers read are looked up while children wait for them.
const WAITING_LOOK: Duration = Duration::from_secs(5);
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

    async fn begin(&self) -> Result<Begun, Error> {
        let stream = self.healing("describe stream", || self.describe()).await?;
        let on_row_error = self
            .healing("reach the destination", || self.reach_destination())
            .await?;
        let consumer = self.register(&stream).await?;
        let identity = StreamIdentity {
            arn: stream.arn.clone(),
            created_ms: stream.created_ms,
        };
        let (candidates, readable) = watch::channel(Arc::default());
        let leases = self
            .healing("start leases", || {
                self.start_leases(&stream, &identity, readable.clone())
            })
            .await?;
        let pin = self.healing("pin", || self.pin(&leases, &identity)).await?;
        let statuses = StatusPoller::start(
            Arc::clone(&self.parts.snowpipe),
            Arc::clone(&self.parts.clock),
            Arc::clone(&self.parts.random),
            self.parts.events.clone(),
        );
        Ok(Begun {
            options: Arc::clone(&self.options),
            on_row_error,
            parts: self.parts.clone(),
            stream: Arc::new(stream),
            consumer,
            held: leases.held(),
            leases,
            statuses,
            compressors: Arc::default(),
            topology: Topology::new(pinned(&pin), []),
            candidates,
            states: HashMap::new(),
            ways: HashMap::new(),
            tasks: JoinSet::new(),
            over: HashMap::new(),
        })
    }

    async fn describe(&self) -> Result<StreamDescription, Error> {
        let stream = self.parts.kinesis.describe_stream().await?;
        if stream.is_readable() {
            return Ok(stream);
        }
        let code = stream.status;
        let message = format!("stream {} cannot be read yet", stream.name);
        Err(frazil_kinesis::Error::ServerFault {
            call: "DescribeStreamSummary",
            code,
            message,
        }
        .into())
    }

    /// What enhanced fan-out reads with, registered and active; none where the stream is polled.
    async fn register(&self, stream: &StreamDescription) -> Result<Option<Arc<FanOutConsumer>>, Error> {
        if self.options.consumer_type == ConsumerType::SharedThroughput {
            return Ok(None);
        }
        let parts = &self.parts;
        let consumer = FanOutConsumer::new(
            Arc::clone(&parts.kinesis),
            Arc::clone(&parts.clock),
            Arc::clone(&parts.random),
            parts.events.clone(),
            stream,
            &self.options.application,
        );
        self.healing("register consumer", || async { Ok(consumer.arn().await?) })
            .await?;
        Ok(Some(Arc::new(consumer)))
    }

    /// Asks for the status of a channel that is not there: key, names and rights are wrong for every shard, or for none.
    /// Answers what is to be done at row errors.
    async fn reach_destination(&self) -> Result<OnRowError, Error> {
        let snowpipe = &self.parts.snowpipe;
        snowpipe.channel_status(&["FRAZIL_START".to_owned()]).await?;
        if let Some(configured) = self.options.on_row_error {
            return Ok(configured);
        }
        let keeps_errors = snowpipe.table().await?.and_then(|facts| facts.error_logging);
        Ok(match keeps_errors {
            Some(true) => OnRowError::Continue,
            Some(false) | None => OnRowError::Stop,
        })
    }

    async fn start_leases(
        &self,
        stream: &StreamDescription,
        identity: &StreamIdentity,
        readable: watch::Receiver<Arc<Vec<ShardId>>>,
    ) -> Result<LeaseCoordinator, Error> {
        let worker = WorkerId::random(&*self.parts.random);
        let (name, display) = (stream.name.clone(), &self.options.display_name);
        let mut options =
            LeaseOptions::new(&self.options.application, name, identity.clone(), worker, display);
        options.timeout = self.options.lease_timeout;
        options.tick = options.timeout / 3;
        options.look = options.look.min(options.tick / 2);
        let parts = &self.parts;
        let started = LeaseCoordinator::start(
            Arc::clone(&parts.leases),
            options,
            Arc::clone(&parts.clock),
            Arc::clone(&parts.random),
            parts.events.clone(),
            readable,
        );
        Ok(started.await?)
    }

    /// What stood at the application's first start; written now, if this is it.
    async fn pin(&self, leases: &LeaseCoordinator, identity: &StreamIdentity) -> Result<Pin, Error> {
        let shards = self.parts.kinesis.list_shards().await?;
        let shards = shards.iter().map(|shard| PinnedShard {
            id: shard.id.clone(),
            closed: shard.is_closed(),
        });
        let start = match self.options.initial_position {
            InitialPosition::TrimHorizon => PinnedStart::TrimHorizon,
            InitialPosition::Latest => PinnedStart::Latest {
                ms: self.parts.clock.wall_ms(),
            },
            InitialPosition::AtTimestamp { ms } => PinnedStart::AtTimestamp { ms },
        };
        Ok(leases
            .pin(Pin {
                stream: identity.clone(),
                start,
                shards: shards.collect(),
            })
            .await?)
    }

    /// Calls until it succeeds or fails in a way that does not heal.
    async fn healing<T, F>(&self, call: &'static str, mut work: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut backoff = START.start();
        loop {
            let error = match work().await {
                Ok(done) => return Ok(done),
                Err(error) if error.kind().may_heal() => error,
                Err(error) => return Err(error),
            };
            let (kind, room, failures) = (error.kind(), error.room(), backoff.failures() + 1);
            let error = error.to_string();
            self.parts.events.emit(Event::CallFailed {
                shard: None,
                room,
                call,
                kind,
                error,
                failures,
            });
            backoff.wait(&*self.parts.clock, &*self.parts.random).await;
        }
    }
}

fn pinned(pin: &Pin) -> Pinned {
    let (start, latest) = match pin.start {
        PinnedStart::TrimHorizon => (StartAt::TrimHorizon, false),
        PinnedStart::Latest { ms } => (StartAt::Timestamp { ms }, true),
        PinnedStart::AtTimestamp { ms } => (StartAt::Timestamp { ms }, false),
    };
    let closed = pin.shards.iter().filter(|shard| latest && shard.closed);
    let skipped: BTreeSet<ShardId> = closed.map(|shard| shard.id.clone()).collect();
    Pinned {
        start,
        shards: pin.shards.iter().map(|shard| shard.id.clone()).collect(),
        skipped,
    }
}

struct RunningWay {
    tenure: Tenure,
    wanted: watch::Sender<Wanted>,
}

/// A connector that has begun.
struct Begun {
    options: Arc<ConnectorOptions>,
    on_row_error: OnRowError,
    parts: Parts,
    stream: Arc<StreamDescription>,
    consumer: Option<Arc<FanOutConsumer>>,
    leases: LeaseCoordinator,
    held: watch::Receiver<HeldShards>,
    statuses: StatusPoller,
    compressors: Arc<Compressors>,
    topology: Topology,
    candidates: watch::Sender<Arc<Vec<ShardId>>>,
    /// The rows of the lease table as of the last look.
    states: HashMap<ShardId, ShardState>,
    ways: HashMap<ShardId, RunningWay>,
    tasks: JoinSet<(Tenure, Ended)>,
    /// Tenures that a way found to be over before the coordinator did.
    over: HashMap<ShardId, Tenure>,
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
        Ok(())
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
        Ok(())
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
            statuses: self.statuses.clone(),
            compressors: Arc::clone(&self.compressors),
            stream: Arc::clone(&self.stream),
            hash_range: self.topology.hash_range(&tenure.shard),
            consumer: self.consumer.clone(),
            start: self.topology.start(&tenure.shard),
            shard: tenure.shard.clone(),
            on_row_error: self.on_row_error,
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
