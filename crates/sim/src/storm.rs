//! One storm.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use frazil_kinesis::fake::{FakeKinesis, Fault as KinesisFault};
use frazil_kinesis::{Kinesis, Shard};
use frazil_lease::fake::MemoryLeases;
use frazil_model::{Events, PausedClock, Random, SeededRandom, ShardId};
use frazil_pipeline::{Connector, ConnectorOptions, MemoryBudget, Parts};
use frazil_snowflake::fake::{FakeSnowpipe, Fault as SnowpipeFault};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::letters::Letters;

const KEYS: u64 = 8;
const STEPS: u64 = 120;
/// The calm at the end is over when nothing has moved for this long.
const CALM: Duration = Duration::from_secs(600);

/// What a storm did and what came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Records put.
    pub put: u64,
    /// Of these, records that are no JSON object.
    pub broken: u64,
    /// Workers killed.
    pub kills: u64,
    /// Workers killed while something was accepted and not committed.
    pub hits: u64,
    /// Calls that were made to fail.
    pub faults: u64,
    /// Splits and merges.
    pub reshards: u64,
    /// Records that are neither in the table nor a letter.
    pub lost: u64,
    /// Rows beyond the first of a record.
    pub doubled: u64,
    /// Rows of a key that stand behind a later one of it.
    pub disordered: u64,
}

/// A storm under way.
#[derive(Debug)]
pub struct Storm {
    kinesis: Arc<FakeKinesis>,
    leases: MemoryLeases,
    snowpipe: Arc<FakeSnowpipe>,
    letters: Arc<Letters>,
    clock: PausedClock,
    random: Arc<SeededRandom>,
    workers: Vec<(JoinHandle<()>, CancellationToken)>,
    open: Vec<ShardId>,
    seed: u64,
    started: u64,
    verdict: Verdict,
}

impl Storm {
    /// A stream of 3 shards and nobody reading it.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let kinesis = Arc::new(FakeKinesis::new("storm", 3));
        kinesis.set_page_records(5);
        let random = Arc::new(SeededRandom::new(seed));
        kinesis.set_tells_children(random.below(2) == 0);
        let snowpipe = Arc::new(FakeSnowpipe::default());
        if random.below(2) == 0 {
            snowpipe.answer_replays_as_stale();
        }
        Self {
            open: kinesis.shard_ids(),
            kinesis,
            leases: MemoryLeases::default(),
            snowpipe,
            letters: Arc::default(),
            clock: PausedClock::at_wall_ms(1_700_000_000_000),
            random,
            workers: Vec::new(),
            seed,
            started: 0,
            verdict: Verdict::default(),
        }
    }

    /// Storms, calms down, and judges.
    pub async fn run(mut self) -> Verdict {
        self.start_worker();
        for _ in 0..STEPS {
            self.step().await;
            let time = Duration::from_millis(50 + self.random.below(3000));
            self.clock.advance(time).await;
        }
        self.calm().await;
        self.judge();
        self.verdict
    }

    async fn step(&mut self) {
        match self.random.below(12) {
            0..=4 => self.put().await,
            5 | 6 => self.snowpipe.commit_all(),
            7 => self.fault(),
            8 => self.reshard(),
            9 if self.workers.len() < 3 => self.start_worker(),
            10 if self.started < 12 => self.kill(),
            _ => {}
        }
    }

    async fn put(&mut self) {
        let shards = self
            .kinesis
            .list_shards()
            .await
            .expect("no fault of this call is scripted");
        for _ in 0..=self.random.below(12) {
            let number = self.verdict.put;
            let key = self.random.below(KEYS);
            // The hash of a key: its place among the hash keys.
            let place = u128::MAX / u128::from(KEYS) * u128::from(key) + 1;
            let takes = |shard: &&Shard| {
                !shard.is_closed() && (shard.hash_range.start..=shard.hash_range.end).contains(&place)
            };
            let shard = shards
                .iter()
                .find(takes)
                .expect("open shards take every hash key");
            let is_broken = self.random.below(20) == 0;
            let data = if is_broken {
                "no json".to_owned()
            } else {
                format!("{{\"n\":{number},\"k\":{key}}}")
            };
            self.kinesis.put(&shard.id, &key.to_string(), data.as_bytes());
            self.verdict.put += 1;
            self.verdict.broken += u64::from(is_broken);
        }
    }

    fn fault(&mut self) {
        self.verdict.faults += 1;
        match self.random.below(7) {
            0 => self.snowpipe.fault("append", SnowpipeFault::LostAfter),
            1 => self.snowpipe.fault("append", SnowpipeFault::LostBefore),
            2 => self.snowpipe.fault("open", SnowpipeFault::LostAfter),
            3 => self.snowpipe.fault("status", SnowpipeFault::ServerFault),
            4 => self.kinesis.fault("GetRecords", KinesisFault::ExpiredIterator),
            5 => self.kinesis.fault("GetRecords", KinesisFault::CutShort),
            _ => self.kinesis.fault("GetRecords", KinesisFault::Throttled),
        }
    }

    /// Splits a shard, or merges two neighbours.
    fn reshard(&mut self) {
        let index = usize::try_from(self.random.below(self.open.len() as u64)).unwrap_or(0);
        if self.open.len() > 1 && index + 1 < self.open.len() && self.random.below(2) == 0 {
            let child = self.kinesis.merge(&self.open[index], &self.open[index + 1]);
            self.open.splice(index..=index + 1, [child]);
        } else if self.open.len() < 6 {
            let children = self.kinesis.split(&self.open[index]);
            self.open.splice(index..=index, children);
        } else {
            return;
        }
        self.verdict.reshards += 1;
    }

    fn start_worker(&mut self) {
        self.started += 1;
        let parts = Parts {
            kinesis: self.kinesis.clone(),
            leases: Arc::new(self.leases.another_door()),
            tables: None,
            snowpipe: self.snowpipe.clone(),
            dead_letters: self.letters.clone(),
            clock: Arc::new(self.clock.clone()),
            random: Arc::new(SeededRandom::new(self.seed.wrapping_mul(1000) + self.started)),
            events: Events::new("storm", Vec::new()),
            budget: MemoryBudget::new(0),
        };
        let connector = Connector::new(
            ConnectorOptions::new("storm", "eu-central-1", "A.D.S.T-STREAMING"),
            parts,
        );
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let task = tokio::spawn(async move {
            connector
                .run(stopping)
                .await
                .expect("nothing that does not heal was scripted");
        });
        self.workers.push((task, stop));
    }

    /// Drops a worker where it stands.
    fn kill(&mut self) {
        if self.workers.is_empty() {
            return;
        }
        let index = usize::try_from(self.random.below(self.workers.len() as u64)).unwrap_or(0);
        let (task, _) = self.workers.swap_remove(index);
        self.verdict.kills += 1;
        self.verdict.hits += u64::from(self.snowpipe.accepted() > 0);
        task.abort();
    }

    /// Lets everything arrive: commits go through, and there is a worker.
    async fn calm(&mut self) {
        if self.workers.is_empty() {
            self.start_worker();
        }
        let mut still = Duration::ZERO;
        let mut before = 0;
        while still < CALM {
            self.clock.advance(Duration::from_secs(2)).await;
            self.snowpipe.commit_all();
            let now = self.snowpipe.committed().len();
            still = if now == before {
                still + Duration::from_secs(2)
            } else {
                Duration::ZERO
            };
            before = now;
        }
        for (task, stop) in std::mem::take(&mut self.workers) {
            stop.cancel();
            while !task.is_finished() {
                self.clock.advance(Duration::from_secs(1)).await;
            }
            task.await.expect("a worker ends without a panic");
        }
    }

    fn judge(&mut self) {
        let mut seen: HashMap<u64, u64> = HashMap::new();
        let mut last_of_key: HashMap<u64, u64> = HashMap::new();
        for batch in self.snowpipe.committed() {
            let text = zstd::decode_all(&batch.body[..]).expect("a batch is zstd");
            for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let row: serde_json::Value = serde_json::from_slice(line).expect("a row is JSON");
                let (number, key) = (row["n"].as_u64().expect("n"), row["k"].as_u64().expect("k"));
                *seen.entry(number).or_default() += 1;
                let last = last_of_key.entry(key).or_default();
                self.verdict.disordered += u64::from(number < *last);
                *last = number.max(*last);
            }
        }
        let letters = self.letters.all();
        let mut broken: Vec<_> = letters
            .iter()
            .map(|letter| (&letter.shard, &letter.position))
            .collect();
        broken.sort();
        broken.dedup();
        self.verdict.lost = self.verdict.put - (seen.len() + broken.len()) as u64;
        self.verdict.doubled = seen.values().map(|count| count - 1).sum();
    }
}
