//! The real connector between fakes, moved step by step.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use frazil_kinesis::fake::FakeKinesis;
use frazil_lease::fake::MemoryLeases;
use frazil_lease::row::{Row, decode};
use frazil_lease::update::Update;
use frazil_lease::{LeaseStore, Scope, ShardState, Written};
use frazil_model::event::Observer;
use frazil_model::{Event, Events, PausedClock, SeededRandom, ShardId, StreamName};
use frazil_pipeline::{
    Connector, ConnectorOptions, ConsumerType, InitialPosition, MemoryBudget, Parts, Pipes,
};
use frazil_sim::Letters;
use frazil_snowflake::TableFacts;
use frazil_snowflake::fake::FakeSnowpipe;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What was told of it, as far as tests look at it.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<Vec<String>>);

impl Told {
    /// How often a text that begins so was told.
    pub(crate) fn count(&self, begin: &str) -> usize {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|text| text.starts_with(begin)).count()
    }

    /// What was told, in order.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Told {
    fn observe(&self, _: &str, event: &Event) {
        let text = match event {
            Event::ShardStarted { shard, from } => format!("started {shard} {from}"),
            Event::ShardFinished { shard } => format!("finished {shard}"),
            Event::DataExpired { shard, detail } => format!("expired {shard} {detail}"),
            Event::ShardStalled { shard, reason, .. } => format!("stalled {shard} {reason}"),
            Event::MayRepeat { shard, .. } => format!("may repeat {shard}"),
            Event::PageRead { shard, behind, .. } => format!("page {shard} {} ms behind", behind.as_millis()),
            Event::LeaseReleased { shard } => format!("released {shard}"),
            _ => return,
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}

/// When the fake's records arrive.
pub(crate) const ARRIVAL_MS: i64 = 1_700_000_000_000;
pub(crate) const HOUR_MS: i64 = 3_600_000;

/// A stream, a lease table, a pipe, and a clock that stands still until it is moved.
pub(crate) struct World {
    pub(crate) kinesis: Arc<FakeKinesis>,
    pub(crate) leases: MemoryLeases,
    pub(crate) snowpipe: Arc<FakeSnowpipe>,
    /// The pipes of the table, where it is not `snowpipe` alone.
    pub(crate) pipes: Option<Pipes>,
    pub(crate) letters: Arc<Letters>,
    pub(crate) clock: PausedClock,
    pub(crate) initial_position: InitialPosition,
    pub(crate) consumer_type: ConsumerType,
    pub(crate) told: Arc<Told>,
    /// All workers' memory.
    pub(crate) budget: MemoryBudget,
    started: u64,
}

/// A worker under way.
pub(crate) struct Worker {
    pub(crate) task: JoinHandle<()>,
    pub(crate) stop: CancellationToken,
    /// Its own door to the lease table.
    pub(crate) leases: MemoryLeases,
}

impl World {
    pub(crate) fn at(wall_ms: i64) -> Self {
        Self::of(1, wall_ms)
    }

    /// A stream of so many shards.
    pub(crate) fn of(shards: usize, wall_ms: i64) -> Self {
        let clock = PausedClock::at_wall_ms(wall_ms);
        Self {
            kinesis: Arc::new(FakeKinesis::on_clock("s", shards, Arc::new(clock.clone()))),
            leases: MemoryLeases::default(),
            snowpipe: Arc::default(),
            pipes: None,
            letters: Arc::default(),
            clock,
            initial_position: InitialPosition::TrimHorizon,
            consumer_type: ConsumerType::SharedThroughput,
            told: Arc::default(),
            budget: MemoryBudget::new(0),
            started: 0,
        }
    }

    pub(crate) fn put(&self, records: u64) {
        self.put_into(&self.kinesis.shard_ids()[0], records);
    }

    pub(crate) fn put_into(&self, shard: &ShardId, records: u64) {
        for number in 0..records {
            self.kinesis
                .put(shard, "k", format!("{{\"n\":{number}}}").as_bytes());
        }
    }

    pub(crate) fn worker(&mut self) -> Worker {
        let (connector, stop, leases) = self.connector();
        let stopping = stop.clone();
        let task = tokio::spawn(async move { connector.run(stopping).await.expect("it runs") });
        Worker { task, stop, leases }
    }

    /// A worker's connector that does not run yet, what stops it, and its own door to the lease table.
    pub(crate) fn connector(&mut self) -> (Connector, CancellationToken, MemoryLeases) {
        self.started += 1;
        let leases = self.leases.another_door();
        let only = || Pipes::only("A.D.S.T-STREAMING", self.snowpipe.clone());
        let pipes = self.pipes.clone().unwrap_or_else(only);
        let parts = Parts {
            kinesis: self.kinesis.clone(),
            leases: Arc::new(leases.clone()),
            tables: Some(Arc::new(leases.clone())),
            pipes,
            dead_letters: self.letters.clone(),
            clock: Arc::new(self.clock.clone()),
            random: Arc::new(SeededRandom::new(self.started)),
            events: Events::new("c", vec![self.told.clone()]),
            budget: self.budget.clone(),
        };
        let mut options = ConnectorOptions::new("app", "eu-central-1");
        options.initial_position = self.initial_position;
        options.consumer_type = self.consumer_type;
        (Connector::new(options, parts), CancellationToken::new(), leases)
    }

    /// Lets time go by until this holds.
    pub(crate) async fn until(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        for _ in 0..6000 {
            if holds(self).await {
                return;
            }
            self.clock.advance(Duration::from_millis(100)).await;
        }
        panic!(
            "ten minutes went by without: {what}; {} rows, told {:?}",
            self.rows(),
            self.told
                .all()
                .iter()
                .filter(|t| !t.starts_with("page"))
                .collect::<Vec<_>>()
        );
    }

    /// Puts records and waits until the worker's append was accepted.
    pub(crate) async fn accept(&self, records: u64) {
        self.put(records);
        self.until("accepted", async |world| {
            world.snowpipe.accepted_rows() == records
        })
        .await;
    }

    /// Commits whatever comes until the table has this many rows.
    pub(crate) async fn commit(&self, rows: u64) {
        self.until("rows", async |world| {
            world.snowpipe.commit_all();
            world.rows() == rows
        })
        .await;
    }

    pub(crate) async fn stopped(&self) {
        self.until("the mark", async |world| world.stop_mark().await.is_some())
            .await;
    }

    pub(crate) async fn advance(&self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.clock.advance(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn end(&self, worker: Worker) {
        worker.stop.cancel();
        while !worker.task.is_finished() {
            self.snowpipe.commit_all();
            self.clock.advance(Duration::from_millis(100)).await;
        }
        worker.task.await.expect("no panic");
    }

    pub(crate) fn scope() -> Scope {
        Scope {
            application: "app".to_owned(),
            stream: StreamName::new("s").expect("a name"),
        }
    }

    pub(crate) async fn stop_mark(&self) -> Option<String> {
        let items = self.leases.rows(&Self::scope(), "shardId").await.expect("rows");
        let Row::Shard(row) = decode(items.first()?).expect("a row of ours") else {
            panic!("no shard's row")
        };
        row.state.stop
    }

    /// A shard's row.
    pub(crate) async fn row(&self, shard: &ShardId) -> Option<ShardState> {
        let item = self
            .leases
            .row(&Self::scope(), shard.as_str())
            .await
            .expect("an answer")?;
        match decode(&item).expect("a row of ours") {
            Row::Shard(row) => Some(row.state),
            _ => None,
        }
    }

    /// Drops a worker where it stands.
    pub(crate) fn kill(&self, worker: Worker) {
        worker.task.abort();
    }

    pub(crate) async fn resume(&self) {
        let mark = self.stop_mark().await.expect("a mark");
        let update = Update::resume(&self.kinesis.shard_ids()[0], &mark);
        let written = self.leases.update(&Self::scope(), &update).await;
        assert!(matches!(written, Ok(Written::Done)));
    }

    pub(crate) fn rows(&self) -> u64 {
        self.snowpipe.committed().iter().map(|batch| batch.rows).sum()
    }

    /// Rows that came through one channel.
    pub(crate) fn rows_of(&self, channel: &str) -> u64 {
        let committed = self.snowpipe.committed();
        let of_it = committed.iter().filter(|batch| batch.channel == channel);
        of_it.map(|batch| batch.rows).sum()
    }

    /// Commits what is accepted, and counts this many rows of it as errors.
    pub(crate) fn commit_with_errors(&self, errors: i64) {
        self.commit_with_errors_of(&self.kinesis.shard_ids()[0], errors);
    }

    /// The same for one shard.
    pub(crate) fn commit_with_errors_of(&self, shard: &ShardId, errors: i64) {
        let part = shard.as_str().to_uppercase().replace('-', "_");
        let channels = self.snowpipe.channels();
        let channel = channels
            .iter()
            .find(|name| name.contains(&part))
            .expect("a channel");
        self.snowpipe.commit(channel, usize::MAX);
        self.snowpipe.turn_into_errors(channel, errors);
    }

    pub(crate) async fn goes_on(&self, rows_before: u64) {
        self.put(5);
        self.commit(rows_before + 5).await;
        self.advance(120).await;
        assert_eq!(self.stop_mark().await, None, "it stopped again");
    }
}

/// What is known of the table.
pub(crate) fn table(created_on_ms: i64, error_logging: bool) -> Option<TableFacts> {
    Some(TableFacts {
        name: "\"D\".\"S\".\"T\"".to_owned(),
        created_on_ms,
        error_logging: Some(error_logging),
        schema_evolution: Some(true),
    })
}
