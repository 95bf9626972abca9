//! One storm.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use frazil_kinesis::Shard;
use frazil_kinesis::fake::{FakeKinesis, Fault as KinesisFault, StreamFault};
use frazil_lease::fake::{Fault as LeaseFault, MemoryLeases, Operation};
use frazil_lease::update::Purpose;
use frazil_model::{Clock, Events, PausedClock, Random, SeededRandom, ShardId};
use frazil_pipeline::{Connector, ConnectorOptions, ConsumerType, MemoryBudget, Parts, Pipes};
use frazil_snowflake::fake::{FakeSnowpipe, Fault as SnowpipeFault};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::letters::Letters;
use crate::payload::{self, Form};

const KEYS: u64 = 8;
/// The calm at the end is over when nothing has moved for this long.
const CALM: Duration = Duration::from_secs(600);

/// How long a storm lasts and how thick it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// Things that happen.
    pub steps: u64,
    /// The time between two of them at most.
    pub most_apart: Duration,
    /// Of a hundred workers so many poll; the others read by enhanced fan-out. Each storm draws one of these.
    pub polling: [u64; 3],
    /// Workers at a time.
    pub most_at_once: usize,
    /// One in so many reshards that could be is made.
    pub reshard_one_in: u64,
    /// Open shards at most.
    pub most_open: usize,
    /// Workers started at most, before the calm.
    pub most_workers: u64,
}

impl Weather {
    /// Three minutes in which something happens each second or two.
    #[must_use]
    pub fn squall() -> Self {
        Self {
            steps: 120,
            most_apart: Duration::from_secs(3),
            polling: [0, 50, 100],
            most_at_once: 3,
            reshard_one_in: 1,
            most_open: 6,
            most_workers: 12,
        }
    }

    /// A day in which something happens about each half minute.
    #[must_use]
    pub fn day() -> Self {
        Self {
            steps: 2880,
            most_apart: Duration::from_secs(60),
            polling: [10; 3],
            most_at_once: 2,
            reshard_one_in: 8,
            most_open: 4,
            most_workers: 200,
        }
    }
}

/// What a storm did and what came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// User records put.
    pub put: u64,
    /// Of these, records that are no JSON object.
    pub broken: u64,
    /// Aggregates put.
    pub aggregates: u64,
    /// Compressed payloads put.
    pub compressed: u64,
    /// Subscriptions made.
    pub subscriptions: u64,
    /// Calls of GetRecords.
    pub polls: u64,
    /// Seconds that went by before the calm.
    pub seconds: u64,
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

impl Verdict {
    /// Adds another storm's counts.
    pub fn add(&mut self, other: &Self) {
        let counts = [
            (&mut self.put, other.put),
            (&mut self.broken, other.broken),
            (&mut self.aggregates, other.aggregates),
            (&mut self.compressed, other.compressed),
            (&mut self.subscriptions, other.subscriptions),
            (&mut self.polls, other.polls),
            (&mut self.seconds, other.seconds),
            (&mut self.kills, other.kills),
            (&mut self.hits, other.hits),
            (&mut self.faults, other.faults),
            (&mut self.reshards, other.reshards),
            (&mut self.lost, other.lost),
            (&mut self.doubled, other.doubled),
            (&mut self.disordered, other.disordered),
        ];
        for (count, more) in counts {
            *count += more;
        }
    }
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
    /// Shards that a stale list did not name.
    hidden: HashSet<ShardId>,
    weather: Weather,
    /// Of a hundred workers so many poll.
    polling: u64,
    seed: u64,
    started: u64,
    verdict: Verdict,
}

impl Storm {
    /// A stream of 3 shards and nobody reading it.
    #[must_use]
    pub fn new(seed: u64, weather: Weather) -> Self {
        let clock = PausedClock::at_wall_ms(1_700_000_000_000);
        let kinesis = Arc::new(FakeKinesis::on_clock("storm", 3, Arc::new(clock.clone())));
        kinesis.set_page_records(5);
        let random = Arc::new(SeededRandom::new(seed));
        kinesis.set_tells_children(random.below(2) == 0);
        let snowpipe = Arc::new(FakeSnowpipe::default());
        if random.below(2) == 0 {
            snowpipe.answer_replays_as_stale();
        }
        let polling = weather.polling[usize::try_from(random.below(3)).unwrap_or(0)];
        Self {
            open: kinesis.shard_ids(),
            hidden: HashSet::new(),
            kinesis,
            leases: MemoryLeases::default(),
            snowpipe,
            letters: Arc::default(),
            clock,
            random,
            workers: Vec::new(),
            weather,
            polling,
            seed,
            started: 0,
            verdict: Verdict::default(),
        }
    }

    /// Storms, calms down, and judges.
    pub async fn run(mut self) -> Verdict {
        self.start_worker();
        let begun = self.clock.now();
        let most_apart = u64::try_from(self.weather.most_apart.as_millis()).unwrap_or(u64::MAX);
        for _ in 0..self.weather.steps {
            self.step();
            let time = Duration::from_millis(50 + self.random.below(most_apart));
            self.clock.advance(time).await;
        }
        self.verdict.seconds = self.clock.now().since(begun).as_secs();
        self.calm().await;
        self.judge();
        self.verdict
    }

    fn step(&mut self) {
        match self.random.below(12) {
            0..=4 => self.put(),
            5 | 6 => self.snowpipe.commit_all(),
            7 => self.fault(),
            8 if self.random.below(self.weather.reshard_one_in) == 0 => self.reshard(),
            9 if self.workers.len() < self.weather.most_at_once => self.start_worker(),
            10 if self.started < self.weather.most_workers => self.kill(),
            _ => {}
        }
    }

    fn put(&mut self) {
        let shards = self.kinesis.shards();
        for _ in 0..=self.random.below(12) {
            let key = self.random.below(KEYS);
            let takes = |shard: &&Shard| !shard.is_closed() && shard.hash_range.contains(place(key));
            let shard = shards
                .iter()
                .find(takes)
                .expect("open shards take every hash key");
            match self.random.below(8) {
                0 => self.put_aggregate(shard),
                1 => self.put_alone(shard, key, Form::Gzip),
                2 => self.put_alone(shard, key, Form::Zstd),
                _ => self.put_alone(shard, key, Form::Plain),
            }
        }
    }

    /// The next user record of a key.
    fn event(&mut self, key: u64) -> String {
        let number = self.verdict.put;
        self.verdict.put += 1;
        if self.random.below(20) == 0 {
            self.verdict.broken += 1;
            return "no json".to_owned();
        }
        format!("{{\"n\":{number},\"k\":{key}}}")
    }

    fn put_alone(&mut self, shard: &Shard, key: u64, form: Form) {
        self.verdict.compressed += u64::from(form != Form::Plain);
        let data = payload::packed(form, self.event(key).as_bytes());
        self.kinesis.put(&shard.id, &key.to_string(), &data);
    }

    /// Puts up to six user records as one, of keys that belong to the shard.
    fn put_aggregate(&mut self, shard: &Shard) {
        let keys: Vec<u64> = (0..KEYS)
            .filter(|key| shard.hash_range.contains(place(*key)))
            .collect();
        let users: Vec<(u64, String)> = (0..2 + self.random.below(5))
            .map(|_| {
                let index = usize::try_from(self.random.below(keys.len() as u64)).unwrap_or(0);
                (keys[index], self.event(keys[index]))
            })
            .collect();
        self.verdict.aggregates += 1;
        let users = users
            .iter()
            .map(|(key, data)| (*key, place(*key), data.as_bytes()));
        let (key, data) = payload::aggregate(users);
        self.kinesis.put(&shard.id, &key, &data);
    }

    fn fault(&mut self) {
        self.verdict.faults += 1;
        match self.random.below(16) {
            7 => self.kinesis.fault("ListShards", KinesisFault::ExpiredPages),
            8 => self.stale_list(),
            9 => self.kinesis.fault("SubscribeToShard", KinesisFault::InUse),
            10 => self.kinesis.fault("SubscribeToShard", KinesisFault::Lost),
            11 | 12 => self.subscription_fault(),
            13 => self.lease_fault(Purpose::Checkpoint),
            14 => self.lease_fault(Purpose::Take),
            15 => self.lease_fault(Purpose::Release),
            0 => self.snowpipe.fault("append", SnowpipeFault::LostAfter),
            1 => self.snowpipe.fault("append", SnowpipeFault::LostBefore),
            2 => self.snowpipe.fault("open", SnowpipeFault::LostAfter),
            3 => self.snowpipe.fault("status", SnowpipeFault::ServerFault),
            4 => self.kinesis.fault("GetRecords", KinesisFault::ExpiredIterator),
            5 => self.kinesis.fault("GetRecords", KinesisFault::CutShort),
            _ => self.kinesis.fault("GetRecords", KinesisFault::Throttled),
        }
    }

    /// One list of shards lacks one of them. Each is hidden once: what two lists in a row do not name is gone.
    fn stale_list(&mut self) {
        let shards = self.kinesis.shard_ids();
        let index = usize::try_from(self.random.below(shards.len() as u64)).unwrap_or(0);
        if self.hidden.insert(shards[index].clone()) {
            self.kinesis.hide(&shards[index], 1);
        }
    }

    fn subscription_fault(&self) {
        let faults = [
            StreamFault::Exception("InternalFailureException"),
            StreamFault::Broken,
            StreamFault::Ends,
            StreamFault::Silent,
        ];
        let fault = faults[usize::try_from(self.random.below(4)).unwrap_or(0)];
        let after = usize::try_from(self.random.below(4)).unwrap_or(0);
        self.kinesis.stream_fault(after, fault);
    }

    /// The write takes effect and its answer is lost, or it never answers and has none.
    fn lease_fault(&self, purpose: Purpose) {
        let fault = if self.random.below(3) == 0 {
            LeaseFault::Hang
        } else {
            LeaseFault::LoseAnswer
        };
        self.leases.fail_next(Operation::Update(purpose), fault);
    }

    /// Splits a shard, or merges two neighbours.
    fn reshard(&mut self) {
        let index = usize::try_from(self.random.below(self.open.len() as u64)).unwrap_or(0);
        if self.open.len() > 1 && index + 1 < self.open.len() && self.random.below(2) == 0 {
            let child = self.kinesis.merge(&self.open[index], &self.open[index + 1]);
            self.open.splice(index..=index + 1, [child]);
        } else if self.open.len() < self.weather.most_open {
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
            pipes: Pipes::only("A.D.S.T-STREAMING", self.snowpipe.clone()),
            dead_letters: self.letters.clone(),
            clock: Arc::new(self.clock.clone()),
            random: Arc::new(SeededRandom::new(self.seed.wrapping_mul(1000) + self.started)),
            events: Events::new("storm", Vec::new()),
            budget: MemoryBudget::new(0),
        };
        let mut options = ConnectorOptions::new("storm", "eu-central-1");
        if self.random.below(100) >= self.polling {
            options.consumer_type = ConsumerType::EnhancedFanOut;
        }
        let connector = Connector::new(options, parts);
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
        self.verdict.subscriptions = self.kinesis.subscriptions().len() as u64;
        self.verdict.polls = self.kinesis.calls("GetRecords");
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

/// The hash key of a key.
fn place(key: u64) -> u128 {
    u128::MAX / u128::from(KEYS) * u128::from(key) + 1
}
