//! The reader against the fake, on a clock that stands still until it is moved.

mod limits;

use frazil_model::{Instant, PausedClock, SeededRandom};

use super::*;
use crate::fake::{FakeKinesis, Fault};
use crate::pace::SPACING;

const PLENTY: usize = 1 << 20;

struct Bench {
    fake: Arc<FakeKinesis>,
    clock: PausedClock,
    shard: ShardId,
}

impl Bench {
    fn new() -> Self {
        let fake = Arc::new(FakeKinesis::new("s", 1));
        let shard = fake.shard_ids().remove(0);
        Self {
            fake,
            clock: PausedClock::default(),
            shard,
        }
    }

    fn put(&self, count: usize) {
        for n in 0..count {
            self.fake
                .put(&self.shard, "k", format!("{{\"n\":{n}}}").as_bytes());
        }
    }

    fn reader(&self, start: StartAt) -> ShardReader {
        let (clock, random) = (Arc::new(self.clock.clone()), Arc::new(SeededRandom::new(1)));
        ShardReader::new(
            self.fake.clone(),
            clock,
            random,
            Events::new("t", vec![]),
            self.shard.clone(),
            start,
        )
    }

    async fn next(&self, reader: &mut ShardReader, max_bytes: usize) -> Result<Fetched, Error> {
        let mut next = std::pin::pin!(reader.next_page(max_bytes));
        loop {
            tokio::select! {
                biased;
                fetched = &mut next => return fetched,
                () = self.clock.advance(Duration::from_millis(50)) => {}
            }
        }
    }

    /// The sequence numbers of the next `count` records.
    async fn read(&self, reader: &mut ShardReader, count: usize) -> Vec<u64> {
        let mut read = Vec::new();
        while read.len() < count {
            match self.next(reader, PLENTY).await.expect("it heals") {
                Fetched::Page(page) => read.extend(
                    page.records()
                        .map(|r| r.sequence_number.parse::<u64>().expect("a number")),
                ),
                other => panic!("{other:?} after {} records", read.len()),
            }
        }
        read
    }
}

#[tokio::test]
async fn case_41_case_45_records_come_in_order_without_gap_or_double_whatever_fails() {
    let faults = [
        Fault::Lost,
        Fault::Throttled,
        Fault::ExpiredIterator,
        Fault::CutShort,
        Fault::ServerFault,
    ];
    for fault in faults {
        let bench = Bench::new();
        bench.fake.set_page_records(7);
        bench.put(50);
        let mut reader = bench.reader(StartAt::TrimHorizon);
        let mut read = bench.read(&mut reader, 14).await;
        bench.fake.fault("GetRecords", fault);
        bench.fake.fault("GetShardIterator", Fault::Lost);
        read.extend(bench.read(&mut reader, 36).await);
        assert_eq!(read, (2..52).collect::<Vec<_>>(), "{fault:?}");
        assert!(bench.fake.calls("GetRecords") >= 9, "{fault:?} was not met");
    }
}

#[tokio::test]
async fn an_iterator_that_expires_before_the_first_record_begins_at_the_start_again() {
    let bench = Bench::new();
    bench.put(3);
    bench.fake.fault("GetRecords", Fault::ExpiredIterator);
    let mut reader = bench.reader(StartAt::After(SequenceNumber::new("2").expect("digits")));
    assert_eq!(bench.read(&mut reader, 2).await, [3, 4]);
}

#[tokio::test]
async fn a_closed_shard_ends_after_its_last_record_and_names_its_children() {
    let bench = Bench::new();
    bench.put(5);
    let children = bench.fake.split(&bench.shard);
    let mut reader = bench.reader(StartAt::TrimHorizon);
    assert_eq!(bench.read(&mut reader, 5).await.len(), 5);
    for _ in 0..2 {
        let Ok(Fetched::End { children: named }) = bench.next(&mut reader, PLENTY).await else {
            panic!("no end")
        };
        assert_eq!(named.iter().map(|c| c.id.clone()).collect::<Vec<_>>(), children);
        assert_eq!(named[0].parents, std::slice::from_ref(&bench.shard));
    }
}

#[tokio::test]
async fn a_page_that_is_too_large_is_asked_for_again_and_lost_by_nobody() {
    let bench = Bench::new();
    bench.put(50);
    let mut reader = bench.reader(StartAt::TrimHorizon);
    let Ok(Fetched::TooLarge { bytes }) = bench.next(&mut reader, 100).await else {
        panic!("it fitted")
    };
    let Ok(Fetched::Page(page)) = bench.next(&mut reader, bytes).await else {
        panic!("it did not fit")
    };
    assert_eq!(page.len(), 1, "as many as were too large before");
    assert_eq!(bench.read(&mut reader, 49).await, (3..52).collect::<Vec<_>>());
}

#[tokio::test]
async fn calls_keep_the_pace_of_a_shard() {
    let bench = Bench::new();
    let mut reader = bench.reader(StartAt::TrimHorizon);
    for _ in 0..20 {
        drop(bench.next(&mut reader, PLENTY).await.expect("empty pages"));
    }
    let took = bench.clock.now().since(Instant::default());
    assert!(
        took >= SPACING * 19 && took <= SPACING * 19 * 2,
        "20 calls took {took:?}"
    );
    // A large answer is paid off at 2 MiB a second.
    bench.fake.put(&bench.shard, "k", &vec![b'x'; 4 << 20]);
    drop(bench.next(&mut reader, 8 << 20).await.expect("the large one"));
    let before = bench.clock.now();
    drop(bench.next(&mut reader, PLENTY).await.expect("the next"));
    let waited = bench.clock.now().since(before);
    assert!(
        waited >= Duration::from_millis(1900) && waited <= Duration::from_millis(2600),
        "{waited:?}"
    );
}

#[tokio::test]
async fn what_does_not_heal_is_the_callers() {
    let bench = Bench::new();
    bench.put(1);
    bench.fake.fault("GetRecords", Fault::AccessDenied);
    let mut reader = bench.reader(StartAt::TrimHorizon);
    let error = bench.next(&mut reader, PLENTY).await.expect_err("denied");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(bench.read(&mut reader, 1).await, [2], "nothing was lost by it");
}

#[tokio::test]
async fn a_shard_that_fails_on_is_told_to_stall_and_to_move_again() {
    let bench = Bench::new();
    bench.put(1);
    for _ in 0..FAILURES_BEFORE_STALL {
        bench.fake.fault("GetRecords", Fault::Throttled);
    }
    let mut reader = bench.reader(StartAt::TrimHorizon);
    let mut events = reader.events.subscribe();
    assert_eq!(bench.read(&mut reader, 1).await, [2]);
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        match &*event {
            Event::ShardStalled { reason, .. } => told.push(reason.as_str()),
            Event::ShardMoves { .. } => told.push("moves"),
            _ => {}
        }
    }
    assert_eq!(told, ["throttled", "moves"]);
}

#[tokio::test]
async fn case_42_empty_answers_while_behind_cost_their_pace_and_nothing_more() {
    let bench = Bench::new();
    bench.put(3);
    for _ in 0..1000 {
        bench.fake.fault("GetRecords", Fault::EmptyBehind);
    }
    let mut reader = bench.reader(StartAt::TrimHorizon);
    let begun = bench.clock.now();
    assert_eq!(bench.read(&mut reader, 3).await, [2, 3, 4]);
    let took = bench.clock.now().since(begun);
    assert_eq!(bench.fake.calls("GetRecords"), 1001);
    assert!(took < SPACING * 1300, "1,001 answers took {took:?}");
}
