//! A connector that reads by enhanced fan-out, against the fakes of all doors, on a clock that stands still until it is
//! moved.

use std::sync::Arc;
use std::time::Duration;

use frazil_kinesis::fake::FakeKinesis;
use frazil_lease::fake::MemoryLeases;
use frazil_model::{Events, PausedClock, SeededRandom};
use frazil_pipeline::dead_letters::Discard;
use frazil_pipeline::{Connector, ConnectorOptions, ConsumerType, MemoryBudget, Parts, Pipes};
use frazil_snowflake::fake::FakeSnowpipe;
use tokio_util::sync::CancellationToken;

struct Bench {
    clock: PausedClock,
    kinesis: Arc<FakeKinesis>,
    leases: MemoryLeases,
    snowpipe: Arc<FakeSnowpipe>,
    runs: u64,
}

impl Bench {
    fn new() -> Self {
        let clock = PausedClock::default();
        Self {
            kinesis: Arc::new(FakeKinesis::on_clock("s", 2, Arc::new(clock.clone()))),
            leases: MemoryLeases::default(),
            snowpipe: Arc::default(),
            clock,
            runs: 0,
        }
    }

    fn put(&self, count: usize) {
        for shard in self.kinesis.shard_ids().iter().take(2) {
            for _ in 0..count {
                self.kinesis.put(shard, "k", br#"{"n":1}"#);
            }
        }
    }

    fn rows(&self) -> u64 {
        self.snowpipe.commit_all();
        self.snowpipe.committed().iter().map(|batch| batch.rows).sum()
    }

    /// Runs a connector until the table has this many rows, and stops it.
    async fn run(&mut self, consumer_type: ConsumerType, rows: u64) {
        self.runs += 1;
        let mut options = ConnectorOptions::new("app", "eu-central-1");
        options.consumer_type = consumer_type;
        let parts = Parts {
            kinesis: self.kinesis.clone(),
            leases: Arc::new(self.leases.another_door()),
            tables: None,
            pipes: Pipes::only("A.B.C.D", self.snowpipe.clone()),
            dead_letters: Arc::new(Discard),
            clock: Arc::new(self.clock.clone()),
            random: Arc::new(SeededRandom::new(self.runs)),
            events: Events::new("t", Vec::new()),
            budget: MemoryBudget::new(64 << 20),
        };
        let budget = parts.budget.clone();
        let stop = CancellationToken::new();
        let connector = tokio::spawn({
            let stop = stop.clone();
            async move { Connector::new(options, parts).run(stop).await }
        });
        for _ in 0..1200 {
            self.clock.advance(Duration::from_millis(250)).await;
            if self.rows() >= rows {
                break;
            }
        }
        assert_eq!(self.rows(), rows, "run {}", self.runs);
        // What listens to idle shards holds no memory.
        self.clock.advance(Duration::from_secs(2)).await;
        if consumer_type == ConsumerType::EnhancedFanOut {
            assert_eq!(budget.in_use(), 0);
        }
        stop.cancel();
        while !connector.is_finished() {
            self.clock.advance(Duration::from_millis(250)).await;
            self.snowpipe.commit_all();
        }
        connector.await.expect("no panic").expect("a clean stop");
    }
}

#[tokio::test]
async fn case_60_polling_fan_out_and_polling_again_make_each_row_once() {
    let mut bench = Bench::new();
    let turns = [
        ConsumerType::SharedThroughput,
        ConsumerType::EnhancedFanOut,
        ConsumerType::EnhancedFanOut,
        ConsumerType::SharedThroughput,
    ];
    for (turn, rows) in turns.into_iter().zip(1..) {
        bench.put(300);
        bench.run(turn, rows * 600).await;
    }
    assert_eq!(bench.kinesis.calls("RegisterStreamConsumer"), 1);
    assert_eq!(
        bench.kinesis.calls("DeregisterStreamConsumer"),
        0,
        "a stop removes no consumer"
    );
}

#[tokio::test]
async fn case_57_children_are_read_after_their_parent_by_fan_out() {
    let mut bench = Bench::new();
    bench.put(50);
    let parent = bench.kinesis.shard_ids().remove(0);
    let children = bench.kinesis.split(&parent);
    for child in &children {
        bench.kinesis.put(child, "k", br#"{"n":2}"#);
    }
    bench.run(ConsumerType::EnhancedFanOut, 102).await;
}
