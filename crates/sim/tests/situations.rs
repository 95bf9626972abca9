//! Situations of one shard that a person is told of: what stops it, what is kept, and how it goes on.

use std::sync::Arc;
use std::time::Duration;

use frazil_kinesis::fake::FakeKinesis;
use frazil_lease::fake::MemoryLeases;
use frazil_lease::row::{Row, decode};
use frazil_lease::update::Update;
use frazil_lease::{LeaseStore, Scope, Written};
use frazil_model::{Events, PausedClock, SeededRandom, StreamName};
use frazil_pipeline::dead_letters::Reason;
use frazil_pipeline::{Connector, ConnectorOptions, MemoryBudget, Parts};
use frazil_sim::Letters;
use frazil_snowflake::TableFacts;
use frazil_snowflake::fake::FakeSnowpipe;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// When the fake's records arrive.
const ARRIVAL_MS: i64 = 1_700_000_000_000;
const HOUR_MS: i64 = 3_600_000;

struct World {
    kinesis: Arc<FakeKinesis>,
    leases: MemoryLeases,
    snowpipe: Arc<FakeSnowpipe>,
    letters: Arc<Letters>,
    clock: PausedClock,
    started: u64,
}

struct Worker {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl World {
    fn at(wall_ms: i64) -> Self {
        Self {
            kinesis: Arc::new(FakeKinesis::new("s", 1)),
            leases: MemoryLeases::default(),
            snowpipe: Arc::default(),
            letters: Arc::default(),
            clock: PausedClock::at_wall_ms(wall_ms),
            started: 0,
        }
    }

    fn put(&self, records: u64) {
        let shard = &self.kinesis.shard_ids()[0];
        for number in 0..records {
            self.kinesis
                .put(shard, "k", format!("{{\"n\":{number}}}").as_bytes());
        }
    }

    fn worker(&mut self) -> Worker {
        self.started += 1;
        let parts = Parts {
            kinesis: self.kinesis.clone(),
            leases: Arc::new(self.leases.another_door()),
            tables: None,
            snowpipe: self.snowpipe.clone(),
            dead_letters: self.letters.clone(),
            clock: Arc::new(self.clock.clone()),
            random: Arc::new(SeededRandom::new(self.started)),
            events: Events::new("c", Vec::new()),
            budget: MemoryBudget::new(0),
        };
        let options = ConnectorOptions::new("app", "eu-central-1", "A.D.S.T-STREAMING");
        let connector = Connector::new(options, parts);
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let task = tokio::spawn(async move { connector.run(stopping).await.expect("it runs") });
        Worker { task, stop }
    }

    /// Lets time go by until this holds.
    async fn until(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        for _ in 0..6000 {
            if holds(self).await {
                return;
            }
            self.clock.advance(Duration::from_millis(100)).await;
        }
        panic!("ten minutes went by without: {what}");
    }

    /// Puts records and waits until the worker's append was accepted.
    async fn accept(&self, records: u64) {
        self.put(records);
        self.until("accepted", async |world| {
            world.snowpipe.accepted_rows() == records
        })
        .await;
    }

    /// Commits whatever comes until the table has this many rows.
    async fn commit(&self, rows: u64) {
        self.until("rows", async |world| {
            world.snowpipe.commit_all();
            world.rows() == rows
        })
        .await;
    }

    async fn stopped(&self) {
        self.until("the mark", async |world| world.stop_mark().await.is_some())
            .await;
    }

    async fn advance(&self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.clock.advance(Duration::from_millis(100)).await;
        }
    }

    async fn end(&self, worker: Worker) {
        worker.stop.cancel();
        while !worker.task.is_finished() {
            self.snowpipe.commit_all();
            self.clock.advance(Duration::from_millis(100)).await;
        }
        worker.task.await.expect("no panic");
    }

    fn scope() -> Scope {
        Scope {
            application: "app".to_owned(),
            stream: StreamName::new("s").expect("a name"),
        }
    }

    async fn stop_mark(&self) -> Option<String> {
        let items = self.leases.rows(&Self::scope(), "shardId").await.expect("rows");
        let Row::Shard(row) = decode(items.first()?).expect("a row of ours") else {
            panic!("no shard's row")
        };
        row.state.stop
    }

    async fn resume(&self) {
        let mark = self.stop_mark().await.expect("a mark");
        let update = Update::resume(&self.kinesis.shard_ids()[0], &mark);
        let written = self.leases.update(&Self::scope(), &update).await;
        assert!(matches!(written, Ok(Written::Done)));
    }

    fn rows(&self) -> u64 {
        self.snowpipe.committed().iter().map(|batch| batch.rows).sum()
    }

    /// Commits what is accepted, and counts this many rows of it as errors.
    fn commit_with_errors(&self, errors: i64) {
        let channel = self.snowpipe.channels().pop().expect("a channel");
        self.snowpipe.commit(&channel, usize::MAX);
        self.snowpipe.turn_into_errors(&channel, errors);
    }

    async fn goes_on(&self, rows_before: u64) {
        self.put(5);
        self.commit(rows_before + 5).await;
        self.advance(120).await;
        assert_eq!(self.stop_mark().await, None, "it stopped again");
    }
}

fn table(created_on_ms: i64, error_logging: bool) -> Option<TableFacts> {
    Some(TableFacts {
        created_on_ms,
        error_logging: Some(error_logging),
        schema_evolution: Some(true),
    })
}

#[tokio::test]
async fn refused_rows_stop_the_shard_and_their_span_is_kept() {
    let mut world = World::at(ARRIVAL_MS);
    world.snowpipe.set_table(table(0, false));
    let worker = world.worker();
    world.put(3);
    world.commit(3).await;
    world.advance(5).await;
    world.accept(10).await;
    world.commit_with_errors(2);
    world.stopped().await;
    assert_eq!(world.stop_mark().await.as_deref(), Some("row_error"));
    let letters = world.letters.all();
    assert_eq!(letters.len(), 10, "the span of the refused rows, and no more");
    assert!(
        letters
            .iter()
            .all(|letter| letter.reason == Reason::RowErrorSuspect)
    );
    let rows = world.rows();
    world.put(4);
    world.advance(120).await;
    assert_eq!(world.rows(), rows, "a stopped shard reads on");
    world.resume().await;
    world.goes_on(rows + 4).await;
    world.end(worker).await;
}

#[tokio::test]
async fn refused_rows_that_a_dead_owner_did_not_see_stop_the_next_one_once() {
    let mut world = World::at(ARRIVAL_MS);
    world.snowpipe.set_table(table(0, false));
    let first = world.worker();
    world.accept(10).await;
    first.task.abort();
    world.commit_with_errors(3);
    let second = world.worker();
    world.stopped().await;
    assert_eq!(world.letters.all().len(), 10);
    world.resume().await;
    world.goes_on(10).await;
    world.end(second).await;
}

#[tokio::test]
async fn refused_rows_of_a_table_with_an_error_table_stop_nothing() {
    let mut world = World::at(ARRIVAL_MS);
    world.snowpipe.set_table(table(0, true));
    let worker = world.worker();
    world.accept(10).await;
    world.commit_with_errors(2);
    world.goes_on(10).await;
    assert!(world.letters.all().is_empty());
    world.end(worker).await;
}

/// Writes ten rows, stops, takes the channel away, and starts again with a table of this age.
async fn channel_taken_away(table_created_ms: i64) -> (World, Worker) {
    let mut world = World::at(ARRIVAL_MS);
    world.snowpipe.set_table(table(0, false));
    let first = world.worker();
    world.put(10);
    world.commit(10).await;
    world.end(first).await;
    let channel = world.snowpipe.channels().pop().expect("a channel");
    world.snowpipe.forget(&channel);
    world.snowpipe.set_table(table(table_created_ms, false));
    let second = world.worker();
    (world, second)
}

#[tokio::test]
async fn a_table_made_anew_stops_the_shard_until_a_person_says_so() {
    let (world, worker) = channel_taken_away(1_000_000).await;
    world.stopped().await;
    assert_eq!(world.stop_mark().await.as_deref(), Some("destination_changed"));
    world.put(4);
    world.advance(120).await;
    assert_eq!(world.rows(), 10, "rows went into a table that nobody confirmed");
    world.resume().await;
    world.goes_on(14).await;
    world.end(worker).await;
}

#[tokio::test]
async fn a_channel_that_the_service_forgot_is_made_anew_behind_the_checkpoint() {
    let (world, worker) = channel_taken_away(0).await;
    world.goes_on(10).await;
    assert_eq!(world.rows(), 15, "what was checkpointed is not sent again");
    world.end(worker).await;
}

/// A worker dies with rows accepted that are not committed; answers how many appends the next one needs until all are.
async fn appends_after_a_death(wall_ms: i64) -> u64 {
    let mut world = World::at(wall_ms);
    let first = world.worker();
    world.accept(10).await;
    first.task.abort();
    let appends = world.snowpipe.calls().1;
    let second = world.worker();
    // The lease of the dead passes on, and the new owner opens the channel, or waits to.
    let opens = world.snowpipe.calls().0;
    world
        .until("the new owner's open", async |world| {
            world.snowpipe.calls().0 > opens
        })
        .await;
    world.advance(10).await;
    world.commit(10).await;
    world.advance(120).await;
    assert_eq!(world.rows(), 10, "exactly once");
    world.end(second).await;
    world.snowpipe.calls().1 - appends
}

#[tokio::test]
async fn accepted_rows_that_kinesis_is_about_to_forget_are_waited_for() {
    assert_eq!(
        appends_after_a_death(ARRIVAL_MS).await,
        2,
        "fresh rows are read again"
    );
    let late = ARRIVAL_MS + 23 * HOUR_MS + HOUR_MS / 2;
    assert_eq!(appends_after_a_death(late).await, 0, "old rows were discarded");
}
