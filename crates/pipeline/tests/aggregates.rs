//! Aggregates on the whole way, from a stream to a table, with fakes for the outside.

use std::sync::Arc;
use std::time::Duration;

use frazil_kinesis::fake::FakeKinesis;
use frazil_kinesis::{Aggregator, HashKeyRange, Kinesis as _, NewRecord, hash_key};
use frazil_lease::fake::MemoryLeases;
use frazil_model::clock::PausedClock;
use frazil_model::random::SeededRandom;
use frazil_model::{Event, Events, Position};
use frazil_pipeline::dead_letters::Discard;
use frazil_pipeline::shape::{HashRangeCheck, OUT_OF_HASH_RANGE};
use frazil_pipeline::{Connector, ConnectorOptions, MemoryBudget, Parts, Pipes};
use frazil_snowflake::fake::FakeSnowpipe;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Stage {
    kinesis: Arc<FakeKinesis>,
    leases: MemoryLeases,
    snowpipe: Arc<FakeSnowpipe>,
    clock: PausedClock,
    events: Events,
    workers: u64,
}

impl Stage {
    fn new() -> Self {
        Self {
            kinesis: Arc::new(FakeKinesis::new("clicks", 1)),
            leases: MemoryLeases::default(),
            snowpipe: Arc::default(),
            clock: PausedClock::at_wall_ms(1_700_000_000_000),
            events: Events::new("clicks", Vec::new()),
            workers: 0,
        }
    }

    fn start(&mut self, check: HashRangeCheck) -> JoinHandle<()> {
        self.workers += 1;
        let parts = Parts {
            kinesis: self.kinesis.clone(),
            leases: Arc::new(self.leases.another_door()),
            tables: None,
            pipes: Pipes::only("A.D.S.T-STREAMING", self.snowpipe.clone()),
            dead_letters: Arc::new(Discard),
            clock: Arc::new(self.clock.clone()),
            random: Arc::new(SeededRandom::new(self.workers)),
            events: self.events.clone(),
            budget: MemoryBudget::new(0),
        };
        let mut options = ConnectorOptions::new("clicks", "eu-central-1");
        options.hash_range_check = check;
        let connector = Connector::new(options, parts);
        tokio::spawn(async move {
            let run = connector.run(CancellationToken::new()).await;
            run.expect("nothing that does not heal was scripted");
        })
    }

    /// Lets time pass until this is so.
    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..10_000 {
            if is_so(self) {
                return;
            }
            self.clock.advance(Duration::from_millis(200)).await;
        }
        panic!("{what} does not come");
    }

    /// Commits all that is accepted until the table has this many rows.
    async fn commit_until(&self, rows: usize) {
        self.until("the last row", |stage| {
            stage.snowpipe.commit_all();
            stage.rows().len() >= rows
        })
        .await;
    }

    fn rows(&self) -> Vec<Value> {
        let mut rows = Vec::new();
        for batch in self.snowpipe.committed() {
            let text = zstd::decode_all(&batch.body[..]).expect("a batch is zstd");
            let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            rows.extend(lines.map(|line| serde_json::from_slice::<Value>(line).expect("a row is JSON")));
        }
        rows
    }
}

fn numbers(rows: &[Value]) -> Vec<u64> {
    rows.iter().map(|row| row["n"].as_u64().expect("n")).collect()
}

fn aggregate(users: impl Iterator<Item = (String, u64)>) -> Vec<u8> {
    let mut aggregator = Aggregator::new(usize::MAX);
    for (key, number) in users {
        let data = format!("{{\"n\":{number}}}").into_bytes();
        assert!(aggregator.add(&NewRecord { key, data }.into()).is_none());
    }
    aggregator.finish().expect("several").record.data
}

#[tokio::test]
async fn case_67_a_worker_that_dies_inside_of_an_aggregate_is_followed_exactly_there() {
    const USERS: u64 = 40_000;
    let mut stage = Stage::new();
    let shard = stage.kinesis.shard_ids().remove(0);
    stage.kinesis.put(&shard, "k", b"{\"n\":0}");
    let payload = aggregate((1..=USERS).map(|n| (format!("k{n}"), n)));
    stage.kinesis.put(&shard, "a", &payload);
    stage
        .kinesis
        .put(&shard, "k", format!("{{\"n\":{}}}", USERS + 1).as_bytes());

    let first = stage.start(HashRangeCheck::Keep);
    stage
        .until("the second batch", |stage| stage.snowpipe.accepted() >= 2)
        .await;
    let channel = stage.snowpipe.channels().remove(0);
    stage.snowpipe.commit(&channel, 1);
    let ended = stage.snowpipe.committed()[0]
        .end_token
        .parse::<Position>()
        .expect("a token");
    assert!(!ended.last && ended.sub_sequence > 0, "{ended}");
    first.abort();

    let second = stage.start(HashRangeCheck::Keep);
    stage.commit_until(USERS as usize + 2).await;
    second.abort();
    assert_eq!(numbers(&stage.rows()), (0..USERS + 2).collect::<Vec<u64>>());
}

#[tokio::test]
async fn case_66_what_lands_on_the_wrong_shard_after_a_split_is_kept_or_dropped_and_counted() {
    let is_lower = |n: &u64| hash_key(&format!("k{n}")) < u128::MAX / 2;
    let (lower, upper): (Vec<u64>, Vec<u64>) = (1..=20).partition(is_lower);
    assert!(!lower.is_empty() && !upper.is_empty());
    for check in [HashRangeCheck::Keep, HashRangeCheck::Drop] {
        let mut stage = Stage::new();
        let mut events = stage.events.subscribe();
        let parent = stage.kinesis.shard_ids().remove(0);
        stage.kinesis.put(&parent, "k", b"{\"n\":0}");
        let worker = stage.start(check);
        stage.commit_until(1).await;
        // The children are known by the end of their parent at first.
        let [child, _] = stage.kinesis.split(&parent);
        let range = HashKeyRange {
            start: 0,
            end: u128::MAX / 2,
        };
        let shards = stage.kinesis.list_shards().await.expect("no fault is scripted");
        let listed = shards.iter().find(|shard| shard.id == child).expect("a child");
        assert_eq!(listed.hash_range, range);
        let payload = aggregate((1..=20).map(|n| (format!("k{n}"), n)));
        stage.kinesis.put(&child, "a", &payload);
        let expected = match check {
            HashRangeCheck::Keep => (0..=20).collect(),
            HashRangeCheck::Drop => [&[0][..], &lower].concat(),
        };
        stage.commit_until(expected.len()).await;
        worker.abort();
        assert_eq!(numbers(&stage.rows()), expected);
        let mut foreign = 0;
        while let Ok(event) = events.try_recv() {
            match &*event {
                Event::OutOfHashRange { count, .. } if check == HashRangeCheck::Keep => foreign += count,
                Event::RecordsDropped { count, reason, .. } if check == HashRangeCheck::Drop => {
                    assert_eq!(*reason, OUT_OF_HASH_RANGE);
                    foreign += count;
                }
                _ => {}
            }
        }
        assert_eq!(foreign, upper.len() as u64, "{check:?}");
    }
}
