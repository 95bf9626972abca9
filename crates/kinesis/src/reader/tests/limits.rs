//! Pollers of one shard under the service's own limits (Kinesis API reference, `GetRecords`): 5 calls a second and 2 MiB a
//! second to all of them together, and nothing for a second after more.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use frazil_model::Clock;

use super::*;
use crate::door::{Consumer, ConsumerId, Shard, StreamDescription, Subscription};

/// A fake that refuses what the service would refuse.
#[derive(Debug)]
struct Limited {
    fake: Arc<FakeKinesis>,
    clock: PausedClock,
    /// By shard: when the latest calls were, and until when the bytes given are paid off.
    used: Mutex<HashMap<String, (Vec<Instant>, Instant)>>,
    throttles: Mutex<u64>,
}

#[async_trait]
impl Kinesis for Limited {
    async fn describe_stream(&self) -> Result<StreamDescription, Error> {
        self.fake.describe_stream().await
    }

    async fn list_shards(&self) -> Result<Vec<Shard>, Error> {
        self.fake.list_shards().await
    }

    async fn shard_iterator(&self, shard: &ShardId, at: &StartAt) -> Result<ShardIterator, Error> {
        self.fake.shard_iterator(shard, at).await
    }

    async fn describe_consumer(&self, stream_arn: &str, name: &str) -> Result<Consumer, Error> {
        self.fake.describe_consumer(stream_arn, name).await
    }

    async fn register_consumer(&self, stream_arn: &str, name: &str) -> Result<Consumer, Error> {
        self.fake.register_consumer(stream_arn, name).await
    }

    async fn deregister_consumer(&self, consumer: ConsumerId<'_>) -> Result<(), Error> {
        self.fake.deregister_consumer(consumer).await
    }

    async fn subscribe(
        &self,
        consumer_arn: &str,
        shard: &ShardId,
        at: &StartAt,
    ) -> Result<Box<dyn Subscription>, Error> {
        self.fake.subscribe(consumer_arn, shard, at).await
    }

    async fn get_records(
        &self,
        iterator: &ShardIterator,
        limit: u32,
        max_bytes: usize,
    ) -> Result<RecordPage, Error> {
        let shard = iterator.as_str().split('/').next().unwrap_or_default().to_owned();
        let now = self.clock.now();
        {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            let (calls, paid) = used.entry(shard.clone()).or_default();
            calls.retain(|call| now.since(*call) < Duration::from_secs(1));
            if calls.len() >= 5 || now < *paid {
                *self.throttles.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                return Err(Error::Throttled {
                    call: "GetRecords",
                    message: "limit".to_owned(),
                });
            }
            calls.push(now);
        }
        let page = self.fake.get_records(iterator, limit, max_bytes).await?;
        let bytes: usize = page.records().map(|record| record.data.decoded_bound()).sum();
        let debt = Duration::from_secs_f64(bytes as f64 / (2.0 * 1024.0 * 1024.0));
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, paid)) = used.get_mut(&shard) {
            *paid = now + debt.saturating_sub(Duration::from_secs(1));
        }
        Ok(page)
    }
}

struct Shared {
    bench: Bench,
    limited: Arc<Limited>,
}

impl Shared {
    fn new() -> Self {
        let bench = Bench::new();
        let limited = Arc::new(Limited {
            fake: bench.fake.clone(),
            clock: bench.clock.clone(),
            used: Mutex::default(),
            throttles: Mutex::default(),
        });
        Self { bench, limited }
    }

    fn reader(&self, shard: &ShardId, seed: u64) -> ShardReader {
        let (clock, random) = (
            Arc::new(self.bench.clock.clone()),
            Arc::new(SeededRandom::new(seed)),
        );
        let events = Events::new("t", vec![]);
        ShardReader::new(
            self.limited.clone(),
            clock,
            random,
            events,
            shard.clone(),
            StartAt::TrimHorizon,
        )
    }

    /// Lets the readers poll for so long; answers the pages that each got.
    async fn poll(&self, readers: &mut [ShardReader], seconds: u64) -> Vec<u64> {
        let counts: Vec<Mutex<u64>> = readers.iter().map(|_| Mutex::new(0)).collect();
        let all = readers.iter_mut().zip(&counts).map(|(reader, count)| async move {
            loop {
                drop(reader.next_page(PLENTY).await.expect("it heals"));
                *count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            }
        });
        let mut all: Vec<_> = all.map(Box::pin).collect();
        let mut together = std::pin::pin!(std::future::poll_fn(|context| {
            for one in &mut all {
                let _: std::task::Poll<()> = one.as_mut().poll(context);
            }
            std::task::Poll::<()>::Pending
        }));
        for _ in 0..seconds * 20 {
            tokio::select! {
                biased;
                () = &mut together => {}
                () = self.bench.clock.advance(Duration::from_millis(50)) => {}
            }
        }
        counts
            .iter()
            .map(|count| *count.lock().unwrap_or_else(PoisonError::into_inner))
            .collect()
    }

    fn throttles(&self) -> u64 {
        *self
            .limited
            .throttles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[tokio::test]
async fn case_40_pollers_that_do_not_know_of_each_other_share_a_shard() {
    let world = Shared::new();
    let shard = &world.bench.shard;
    let mut readers: Vec<ShardReader> = (1..=3).map(|seed| world.reader(shard, seed)).collect();
    let alone = world.poll(&mut readers[..1], 60).await[0];
    assert!((260..=300).contains(&alone), "alone it gets {alone} of 300 calls");
    assert_eq!(world.throttles(), 0, "alone it never meets the limit");
    let together = world.poll(&mut readers, 300).await;
    let sum: u64 = together.iter().sum();
    assert!(sum >= 900, "the three get {together:?} of 1,500 calls");
    assert!(
        together.iter().all(|got| *got > sum / 6),
        "one starves: {together:?}"
    );
    assert!(world.throttles() > 10, "they never met");
    // The others go away: the first is back at its pace within seconds.
    world.bench.put(1);
    world.poll(&mut readers[..1], 10).await;
    let again = world.poll(&mut readers[..1], 60).await[0];
    assert!(again >= 240, "{again} of 300 calls after the others left");
}

#[tokio::test]
async fn case_46_one_throttled_shard_does_not_slow_another() {
    let world = Shared::new();
    let children = world.bench.fake.split(&world.bench.shard);
    let rivals: Vec<ShardReader> = (10..14).map(|seed| world.reader(&children[0], seed)).collect();
    let mut readers = vec![world.reader(&children[0], 1)];
    readers.extend(rivals);
    readers.push(world.reader(&children[1], 2));
    let pages = world.poll(&mut readers, 60).await;
    assert!(world.throttles() > 10, "{} throttles", world.throttles());
    assert!(*pages.last().expect("a reader") >= 260, "{pages:?}");
}

#[tokio::test]
async fn case_47_the_limit_follows_the_size_of_records_and_few_answers_are_read_twice() {
    for (size, records) in [(20, 3_000), (2_000, 600), (200_000, 30)] {
        let world = Shared::new();
        world.bench.fake.set_page_records(10_000);
        for _ in 0..records {
            world.bench.fake.put(&world.bench.shard, "k", &vec![b'x'; size]);
        }
        let mut reader = world.reader(&world.bench.shard, 1);
        let (mut read, mut pages, mut twice, mut largest) = (0, 0, 0, 0);
        let mut room = 64 * 1024;
        while read < records {
            match world.bench.next(&mut reader, room).await.expect("it heals") {
                Fetched::Page(page) => {
                    read += page.len();
                    pages += 1;
                    largest = largest.max(page.bytes());
                    room = (page.bytes() * 4)
                        .clamp(64 * 1024, 4 << 20)
                        .max(page.bytes() * 5 / 4);
                }
                Fetched::TooLarge { bytes } => {
                    twice += 1;
                    room = bytes;
                }
                Fetched::End { .. } => panic!("the shard is open"),
            }
        }
        assert!(
            twice <= 2,
            "{size} bytes: {twice} of {pages} answers were read twice"
        );
        assert!(
            largest <= 5 << 20,
            "{size} bytes: an answer of {largest} bytes locks the shard"
        );
    }
}

#[tokio::test]
async fn case_39_a_large_answer_is_paid_off_before_the_next_call() {
    let world = Shared::new();
    world.bench.fake.set_page_records(10_000);
    for _ in 0..12 {
        world
            .bench
            .fake
            .put(&world.bench.shard, "k", &vec![b'x'; 1 << 20]);
    }
    let mut reader = world.reader(&world.bench.shard, 1);
    let begun = world.bench.clock.now();
    let mut read = 0;
    while read < 12 {
        if let Fetched::Page(page) = world.bench.next(&mut reader, 20 << 20).await.expect("it heals") {
            read += page.len();
        }
    }
    let took = world.bench.clock.now().since(begun);
    assert_eq!(world.throttles(), 0, "the pace met the limit");
    assert!(
        took <= Duration::from_secs(30),
        "12 MiB took {took:?}, 6 s is the limit"
    );
}
