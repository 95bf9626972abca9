//! Workers over one table in memory, on one clock that the test moves.

mod crowds;
mod faults;
mod foreign;
mod rows;
mod sharing;
mod weights;

use async_trait::async_trait;
use frazil_model::{Instant, PausedClock, Position, SeededRandom, SequenceNumber};
use tokio::sync::broadcast;

use super::*;
use crate::fake::MemoryLeases;
use crate::row::{Attribute, Item};
use crate::state::Checkpoint;

/// A moment of 2023, in milliseconds since 1970.
const WALL_MS: i64 = 1_700_000_000_000;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn shard(n: usize) -> ShardId {
    ShardId::new(format!("shardId-{n:012}")).expect("valid")
}

fn stream() -> StreamIdentity {
    StreamIdentity {
        arn: "arn:aws:kinesis:eu-central-1:1:stream/clicks".to_owned(),
        created_ms: 1000,
    }
}

fn position(sequence: u64) -> Position {
    Position::whole(SequenceNumber::new(sequence.to_string()).expect("digits"))
}

fn up_to(sequence: u64) -> Checkpoint {
    Checkpoint {
        position: Some(position(sequence)),
        ..Checkpoint::default()
    }
}

/// The clock of one process: while it is frozen (SIGSTOP), none of its waits end.
#[derive(Debug, Clone)]
struct HostClock {
    inner: PausedClock,
    frozen: watch::Sender<bool>,
    /// How wrong the host's wall clock is.
    skew_ms: i64,
}

#[async_trait]
impl Clock for HostClock {
    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn wall_ms(&self) -> i64 {
        self.inner.wall_ms() + self.skew_ms
    }

    async fn sleep(&self, time: Duration) {
        self.inner.sleep(time).await;
        drop(self.frozen.subscribe().wait_for(|frozen| !frozen).await);
    }
}

struct World {
    clock: PausedClock,
    table: MemoryLeases,
    scope: Scope,
    hosts: std::cell::Cell<u64>,
    /// Of the next host's wall clock.
    skew_ms: std::cell::Cell<i64>,
}

struct Host {
    leases: LeaseCoordinator,
    door: MemoryLeases,
    frozen: watch::Sender<bool>,
    candidates: watch::Sender<Arc<Vec<ShardId>>>,
    events: broadcast::Receiver<Arc<Event>>,
}

impl World {
    fn new() -> Self {
        let scope = Scope {
            application: "app".to_owned(),
            stream: StreamName::new("clicks").expect("valid"),
        };
        let clock = PausedClock::at_wall_ms(WALL_MS);
        Self {
            clock,
            table: MemoryLeases::default(),
            scope,
            hosts: std::cell::Cell::new(0),
            skew_ms: std::cell::Cell::new(0),
        }
    }

    async fn run(&self, time: Duration) {
        self.clock.advance(time).await;
    }

    async fn host(&self, shards: usize) -> Host {
        self.host_of(shards, stream()).await
    }

    async fn host_of(&self, shards: usize, stream: StreamIdentity) -> Host {
        self.hosts.set(self.hosts.get() + 1);
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(self.hosts.get()));
        let worker = WorkerId::random(&*random);
        let display = format!("host-{}", self.hosts.get());
        let options = LeaseOptions::new("app", self.scope.stream.clone(), stream, worker, &display);
        let frozen = watch::Sender::new(false);
        let clock = HostClock {
            inner: self.clock.clone(),
            frozen: frozen.clone(),
            skew_ms: self.skew_ms.get(),
        };
        let door = self.table.another_door();
        let events = Events::new("test", Vec::new());
        let heard = events.subscribe();
        let candidates = watch::Sender::new(Arc::new((0..shards).map(shard).collect()));
        let start = LeaseCoordinator::start(
            Arc::new(door.clone()),
            options,
            Arc::new(clock),
            random,
            events,
            candidates.subscribe(),
        );
        let leases = start.await.expect("the table is there");
        self.run(Duration::ZERO).await;
        Host {
            leases,
            door,
            frozen,
            candidates,
            events: heard,
        }
    }

    fn item(&self, n: usize) -> Item {
        self.table
            .peek(&self.scope, shard(n).as_str())
            .expect("the row is there")
    }

    fn text(&self, n: usize, attribute: &str) -> Option<String> {
        match self.item(n).get(attribute) {
            Some(Attribute::S(text) | Attribute::N(text)) => Some(text.clone()),
            _ => None,
        }
    }
}

impl Host {
    fn held(&self) -> HeldShards {
        self.leases.held().borrow().clone()
    }

    fn count(&self) -> usize {
        self.held().len()
    }

    fn tenure(&self, n: usize) -> Tenure {
        self.held().get(&shard(n)).expect("held").tenure.clone()
    }

    /// What a pipeline does with shards it is asked to drain.
    async fn drain(&self) -> usize {
        let held = self.held();
        let draining: Vec<Tenure> = held
            .values()
            .filter(|held| held.draining)
            .map(|held| held.tenure.clone())
            .collect();
        for tenure in &draining {
            self.leases.release(tenure).await;
        }
        draining.len()
    }

    /// SIGKILL: its tasks end, and nothing is written.
    fn kill(self) {
        drop(self);
    }

    fn heard(&mut self) -> Vec<Arc<Event>> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }
}
