//! The reader against the fake, on a clock that stands still until it is moved.

use std::collections::BTreeSet;

use frazil_model::{PausedClock, SeededRandom};

use super::*;
use crate::door::ConsumerId;
use crate::fake::{FakeKinesis, Fault, StreamFault};
use crate::reader::ShardReader;

mod ends;
mod rules;

const PLENTY: usize = 1 << 20;
const TICK: Duration = Duration::from_millis(50);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

struct Bench {
    fake: Arc<FakeKinesis>,
    clock: PausedClock,
    shard: ShardId,
    consumer: Arc<FanOutConsumer>,
    events: Events,
}

impl Bench {
    async fn new() -> Self {
        Self::of_shards(1).await
    }

    async fn of_shards(shards: usize) -> Self {
        let clock = PausedClock::default();
        let fake = Arc::new(FakeKinesis::on_clock("s", shards, Arc::new(clock.clone())));
        fake.set_consumer_delays(Duration::ZERO, Duration::ZERO);
        let stream = fake.describe_stream().await.expect("there");
        let (random, events) = (Arc::new(SeededRandom::new(9)), Events::new("t", vec![]));
        let consumer = FanOutConsumer::new(
            fake.clone(),
            Arc::new(clock.clone()),
            random,
            events.clone(),
            &stream,
            "app",
        );
        Self {
            shard: fake.shard_ids().remove(0),
            consumer: Arc::new(consumer),
            fake,
            clock,
            events,
        }
    }

    fn put(&self, count: usize) {
        for n in 0..count {
            self.fake
                .put(&self.shard, "k", format!("{{\"n\":{n}}}").as_bytes());
        }
    }

    fn reader(&self, seed: u64) -> FanOutReader {
        self.reader_of(&self.shard, StartAt::TrimHorizon, seed)
    }

    fn reader_of(&self, shard: &ShardId, start: StartAt, seed: u64) -> FanOutReader {
        let (clock, random) = (Arc::new(self.clock.clone()), Arc::new(SeededRandom::new(seed)));
        FanOutReader::new(
            self.fake.clone(),
            Arc::clone(&self.consumer),
            clock,
            random,
            self.events.clone(),
            shard.clone(),
            start,
        )
    }

    /// Lets the time pass until the work is done.
    async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = self.clock.advance(TICK) => {}
            }
        }
    }

    /// The sequence numbers of the next `count` records.
    async fn read(&self, reader: &mut FanOutReader, count: usize) -> Vec<u64> {
        let mut read = Vec::new();
        while read.len() < count {
            match self.run(reader.next_page(PLENTY)).await.expect("it heals") {
                Fetched::Page(page) => read.extend(numbers(&page)),
                other => panic!("{other:?} after {} records", read.len()),
            }
        }
        read
    }

    /// Asks for this long; whatever comes is given to `take`.
    async fn ask(&self, reader: &mut FanOutReader, time: Duration, mut take: impl FnMut(Fetched)) {
        let end = self.clock.now() + time;
        while self.clock.now() < end {
            tokio::select! {
                biased;
                fetched = reader.next_page(PLENTY) => take(fetched.expect("it heals")),
                () = self.clock.advance(TICK * 5) => {}
            }
        }
    }
}

fn told(heard: &mut tokio::sync::broadcast::Receiver<Arc<Event>>) -> Vec<&'static str> {
    let mut told = Vec::new();
    while let Ok(event) = heard.try_recv() {
        match &*event {
            Event::ShardStalled { reason, .. } => told.push(reason.as_str()),
            Event::ShardMoves { .. } => told.push("moves"),
            Event::CallFailed { .. } => told.push("failed"),
            _ => {}
        }
    }
    told
}

fn numbers(page: &RecordPage) -> Vec<u64> {
    let records = page.records();
    records
        .map(|record| record.sequence_number.parse().expect("a number"))
        .collect()
}
