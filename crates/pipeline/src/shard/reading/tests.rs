//! Reading ahead by enhanced fan-out, on a clock that stands still until it is moved.

use frazil_kinesis::fake::FakeKinesis;
use frazil_kinesis::{FanOutConsumer, FanOutReader, Kinesis, StartAt};
use frazil_lease::fake::MemoryLeases;
use frazil_lease::{LeaseCoordinator, LeaseOptions, StreamIdentity};
use frazil_model::{PausedClock, SeededRandom, StreamName, WorkerId};
use tokio::sync::watch;

use super::*;
use crate::shard::rate::Rate;

const TICK: Duration = Duration::from_millis(250);

struct Bench {
    clock: PausedClock,
    fake: Arc<FakeKinesis>,
    budget: MemoryBudget,
    pages: Pages,
}

impl Bench {
    async fn new() -> Self {
        let paused = PausedClock::default();
        let clock: Arc<dyn Clock> = Arc::new(paused.clone());
        let fake = Arc::new(FakeKinesis::on_clock("s", 1, clock.clone()));
        fake.set_consumer_delays(Duration::ZERO, Duration::ZERO);
        fake.set_page_records(10);
        let (random, events) = (Arc::new(SeededRandom::new(1)), Events::new("t", vec![]));
        let stream = fake.describe_stream().await.expect("there");
        let (arn, created_ms) = (stream.arn.clone(), stream.created_ms);
        let identity = StreamIdentity { arn, created_ms };
        let worker = WorkerId::random(&*random);
        let name = StreamName::new("s").expect("a name");
        let leases = LeaseCoordinator::start(
            Arc::new(MemoryLeases::default()),
            LeaseOptions::new("app", name, identity, worker, "w"),
            clock.clone(),
            random.clone(),
            events.clone(),
            watch::channel(Arc::default()).1,
        );
        let leases = leases.await.expect("started");
        let consumer = Arc::new(FanOutConsumer::new(
            fake.clone(),
            clock.clone(),
            random.clone(),
            events.clone(),
            &stream,
            "app",
        ));
        let (shard, budget) = (fake.shard_ids().remove(0), MemoryBudget::new(0));
        let reader = FanOutReader::new(
            fake.clone(),
            consumer,
            clock.clone(),
            random,
            events.clone(),
            shard.clone(),
            StartAt::TrimHorizon,
        );
        let pages = Pages::start(Reading {
            idle_due: frazil_model::Instant::default() + IDLE_TOLD,
            rate: Rate::begin(|_| {}, frazil_model::Instant::default()),
            shard,
            source: Source::FanOut(Box::new(reader)),
            budget: budget.clone(),
            may_act: MayAct {
                leases,
                clock: clock.clone(),
            },
            clock,
            events,
        });
        Self {
            clock: paused,
            fake,
            budget,
            pages,
        }
    }

    fn put(&self, count: usize) {
        let shard = self.fake.shard_ids().remove(0);
        for _ in 0..count {
            self.fake.put(&shard, "k", &[b'x'; 1000]);
        }
    }

    async fn pass(&self, seconds: u64) {
        for _ in 0..seconds * 4 {
            self.clock.advance(TICK).await;
        }
    }

    /// The sequence numbers of all that comes within 10 s.
    async fn drain(&mut self) -> Vec<u64> {
        let mut read = Vec::new();
        for _ in 0..40 {
            self.clock.advance(TICK).await;
            while let Some(Read::Page(page, _memory)) = self.pages.try_next() {
                let records = page.records();
                read.extend(records.map(|r| r.sequence_number.parse::<u64>().expect("a number")));
                self.clock.advance(Duration::ZERO).await;
            }
        }
        read
    }
}

#[tokio::test]
async fn case_54_a_writer_that_is_blocked_for_10_minutes_costs_bounded_memory_and_loses_nothing() {
    let mut bench = Bench::new().await;
    bench.put(200);
    bench.pass(600).await;
    let made = bench.fake.subscriptions().len();
    assert_eq!(made, 1, "nothing is subscribed to while nobody takes");
    assert_eq!(bench.fake.kept_subscriptions(), 0, "it was not let go of");
    let (held, a_page) = (bench.budget.in_use(), 10 * 1300 * PAGE_COST);
    assert!(held > 0 && held <= 2 * a_page, "{held} bytes for two pages");
    bench.put(100);
    assert_eq!(bench.drain().await, (2..302).collect::<Vec<_>>());
    assert_eq!(bench.fake.subscriptions().len(), 2);
    assert_eq!(bench.budget.in_use(), 0);
}

#[tokio::test]
async fn case_54_what_gets_no_memory_for_20_s_is_let_go_of_and_comes_again() {
    let mut bench = Bench::new().await;
    let all = bench.budget.reserve(usize::MAX).await;
    bench.put(30);
    bench.pass(60).await;
    assert!(bench.pages.try_next().is_none(), "a page without memory");
    assert_eq!(bench.fake.subscriptions().len(), 1);
    assert_eq!(bench.fake.kept_subscriptions(), 0, "it was not let go of");
    drop(all);
    assert_eq!(bench.drain().await, (2..32).collect::<Vec<_>>());
    assert_eq!(bench.fake.subscriptions().len(), 2);
}

#[tokio::test]
async fn case_58_an_idle_shard_is_listened_to_without_memory() {
    let bench = Bench::new().await;
    bench.pass(30).await;
    assert_eq!(bench.fake.subscriptions().len(), 1);
    assert_eq!((bench.budget.in_use(), bench.budget.highest()), (0, 0));
}
