//! Registration against the fake, on a clock that stands still until it is moved.

use frazil_model::{PausedClock, SeededRandom, StreamName};

use super::*;
use crate::fake::{FakeKinesis, Fault};

struct Bench {
    fake: Arc<FakeKinesis>,
    clock: PausedClock,
}

impl Bench {
    fn new() -> Self {
        let clock = PausedClock::default();
        let fake = Arc::new(FakeKinesis::on_clock("s", 1, Arc::new(clock.clone())));
        Self { fake, clock }
    }

    fn consumer(&self, name: &str, seed: u64) -> FanOutConsumer {
        let stream = StreamDescription {
            name: StreamName::new("s").expect("a name"),
            arn: "arn:stream/s".to_owned(),
            created_ms: 1,
            status: "ACTIVE".to_owned(),
            retention_hours: 24,
        };
        let (clock, random) = (Arc::new(self.clock.clone()), Arc::new(SeededRandom::new(seed)));
        FanOutConsumer::new(
            self.fake.clone(),
            clock,
            random,
            Events::new("t", vec![]),
            &stream,
            name,
        )
    }

    /// What comes of it, and after how long.
    async fn run<T>(&self, work: impl Future<Output = T>) -> (T, Duration) {
        let begun = self.clock.now();
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return (done, self.clock.now().since(begun)),
                () = self.clock.advance(Duration::from_millis(100)) => {}
            }
        }
    }
}

#[tokio::test]
async fn case_48_a_new_consumer_is_registered_and_waited_for() {
    let bench = Bench::new();
    let consumer = bench.consumer("app", 1);
    let (arn, took) = bench.run(consumer.arn()).await;
    assert!(arn.expect("registered").contains("consumer/app"));
    assert!(
        took >= Duration::from_secs(3) && took < Duration::from_secs(12),
        "{took:?}"
    );
    // An active one is used as it is, by this process and by the next.
    let (again, took) = bench.run(bench.consumer("app", 2).arn()).await;
    assert_eq!((again.ok(), took), (consumer.arn().await.ok(), Duration::ZERO));
    assert_eq!(bench.fake.calls("RegisterStreamConsumer"), 1);
}

#[tokio::test]
async fn case_48_a_consumer_that_is_being_removed_is_waited_out_and_registered_anew() {
    let bench = Bench::new();
    let (before, _) = bench.run(bench.consumer("app", 1).arn()).await;
    let consumer = bench.consumer("app", 2);
    bench
        .fake
        .set_consumer_delays(Duration::from_secs(3), Duration::from_secs(30));
    consumer
        .deregister()
        .await
        .expect("by name, though this one never saw the ARN");
    consumer.deregister().await.expect("removed already");
    let (after, took) = bench.run(consumer.arn()).await;
    assert_ne!(after.expect("registered anew"), before.expect("registered"));
    assert!(took >= Duration::from_secs(33), "{took:?}");
}

#[tokio::test]
async fn case_48_a_consumer_that_never_gets_ready_is_an_error_in_bounded_time() {
    let bench = Bench::new();
    bench
        .fake
        .set_consumer_delays(Duration::from_secs(9999), Duration::ZERO);
    let (arn, took) = bench.run(bench.consumer("app", 1).arn()).await;
    let error = arn.expect_err("it is never active");
    assert!(
        matches!(
            error,
            Error::ConsumerNotReady {
                status: "CREATING",
                ..
            }
        ),
        "{error}"
    );
    assert!(
        took >= READY_LIMIT && took <= READY_LIMIT + Duration::from_secs(6),
        "{took:?}"
    );
}

#[tokio::test]
async fn case_48_a_full_stream_is_an_error_that_says_what_to_do() {
    let bench = Bench::new();
    bench.fake.set_consumer_limit(1);
    bench
        .run(bench.consumer("one", 1).arn())
        .await
        .0
        .expect("room for one");
    let (arn, _) = bench.run(bench.consumer("two", 2).arn()).await;
    let error = arn.expect_err("full");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    for word in [
        "two",
        "20",
        "50",
        "5 at a time",
        "Deregister",
        "SHARED_THROUGHPUT",
    ] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[tokio::test]
async fn case_48_the_sixth_consumer_in_the_making_waits_for_its_turn() {
    let bench = Bench::new();
    bench
        .fake
        .set_consumer_delays(Duration::from_secs(20), Duration::ZERO);
    for n in 0..5 {
        bench
            .fake
            .register_consumer("arn:stream/s", &format!("other-{n}"))
            .await
            .expect("room");
    }
    bench.fake.fault("DescribeStreamConsumer", Fault::Throttled);
    let consumer = bench.consumer("app", 1);
    let error = bench
        .run(consumer.arn())
        .await
        .0
        .expect_err("the look was throttled");
    assert_eq!(
        error.kind(),
        ErrorKind::SlowDown,
        "what heals is the caller's to try again"
    );
    let (arn, took) = bench.run(consumer.arn()).await;
    arn.expect("it had its turn");
    assert!(took >= Duration::from_secs(40 - 1), "{took:?}");
}

#[tokio::test]
async fn case_49_two_workers_that_register_at_once_share_one_consumer() {
    let bench = Bench::new();
    let (one, two) = (bench.consumer("app", 1), bench.consumer("app", 2));
    // Both look before either registers.
    let both = async { tokio::join!(one.arn(), two.arn()) };
    let ((a, b), _) = bench.run(both).await;
    assert_eq!(a.expect("registered"), b.expect("found"));
    // And where the other one registers between our look and our call.
    let late = Bench::new();
    late.fake.fault("DescribeStreamConsumer", Fault::Missing);
    late.fake
        .register_consumer("arn:stream/s", "app")
        .await
        .expect("the other one");
    let (arn, _) = late.run(late.consumer("app", 3).arn()).await;
    arn.expect("found");
    assert_eq!(late.fake.calls("RegisterStreamConsumer"), 2, "ours was refused");
}

#[tokio::test]
async fn case_50_a_lost_consumer_is_searched_once_for_all_shards_and_not_without_pause() {
    let bench = Bench::new();
    let consumer = bench.consumer("app", 1);
    let (first, _) = bench.run(consumer.arn()).await;
    let mut stale = first.expect("registered");
    bench.fake.set_consumer_delays(Duration::ZERO, Duration::ZERO);
    let begun = bench.clock.now();
    for _ in 0..8 {
        bench
            .fake
            .deregister_consumer(ConsumerId::Arn(&stale))
            .await
            .expect("there");
        let looks = bench.fake.calls("DescribeStreamConsumer");
        let shards = async { tokio::join!(consumer.arn_instead_of(&stale), consumer.arn_instead_of(&stale)) };
        let ((a, b), _) = bench.run(shards).await;
        let fresh = a.expect("found");
        assert_eq!(fresh, b.expect("found"));
        assert_ne!(fresh, stale);
        assert!(
            bench.fake.calls("DescribeStreamConsumer") <= looks + 2,
            "both shards looked"
        );
        stale = fresh;
    }
    let took = bench.clock.now().since(begun);
    assert!(
        took > Duration::from_secs(20),
        "8 losses in a row within {took:?}"
    );
}

#[tokio::test]
async fn case_61_a_consumer_is_removed_by_command_only() {
    let bench = Bench::new();
    let consumer = bench.consumer("app", 1);
    bench.run(consumer.arn()).await.0.expect("registered");
    drop(consumer);
    assert_eq!(bench.fake.calls("DeregisterStreamConsumer"), 0);
    deregister_consumer(&*bench.fake, "arn:stream/s", "app")
        .await
        .expect("by name");
    deregister_consumer(&*bench.fake, "arn:stream/s", "never-there")
        .await
        .expect("nothing to do");
    assert_eq!(bench.fake.calls("DeregisterStreamConsumer"), 2);
}
