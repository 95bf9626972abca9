//! What a subscription must keep to: pace, renewal, change of hands, silence, and a caller that is held up.

use super::*;

#[tokio::test]
async fn case_51_renewals_of_many_shards_lose_nothing_make_no_gap_and_are_spread() {
    let bench = Bench::of_shards(8).await;
    let shards = bench.fake.shard_ids();
    let readers = shards.iter().zip(1..);
    let mut readers: Vec<FanOutReader> = readers
        .map(|(shard, seed)| bench.reader_of(shard, StartAt::TrimHorizon, seed))
        .collect();
    let (mut put, mut read) = (0_u64, [0_u64; 8]);
    let mut slowest = Duration::ZERO;
    // 10 minutes: two renewals of each.
    for _ in 0..(10 * 60) {
        let began = bench.clock.now();
        put += 1;
        for ((reader, shard), n) in readers.iter_mut().zip(&shards).zip(0..) {
            bench.fake.put(shard, "k", b"{}");
            while read[n] < put {
                match bench.run(reader.next_page(PLENTY)).await.expect("it heals") {
                    Fetched::Page(page) => read[n] += page.len() as u64,
                    other => panic!("{other:?}"),
                }
            }
        }
        let took = bench.clock.now().since(began);
        if began > Instant::from_zero(seconds(10)) {
            slowest = slowest.max(took);
        }
        let rest = seconds(1).saturating_sub(took);
        bench.clock.advance(rest).await;
    }
    assert_eq!(read, [put; 8]);
    assert!(slowest < seconds(1), "a record waited {slowest:?}");
    let made = bench.fake.subscriptions();
    assert!(made.len() >= 24, "{} subscriptions", made.len());
    let renewed = made[8..16]
        .iter()
        .map(|(at, _)| at.since(Instant::default()).as_secs());
    let renewed: BTreeSet<u64> = renewed.collect();
    let span = renewed.last().expect("8") - renewed.first().expect("8");
    assert!(renewed.len() >= 6 && span >= 20, "renewed in step: {renewed:?}");
}

#[tokio::test]
async fn case_51_the_service_ends_a_subscription_first() {
    let bench = Bench::new().await;
    bench.put(3);
    bench.fake.stream_fault(1, StreamFault::Ends);
    let mut reader = bench.reader(1);
    assert_eq!(bench.read(&mut reader, 3).await, [2, 3, 4]);
    bench.clock.advance(seconds(6)).await;
    bench.put(1);
    let began = bench.clock.now();
    assert_eq!(bench.read(&mut reader, 1).await, [5]);
    assert!(bench.clock.now().since(began) < seconds(1));
}

#[tokio::test]
async fn case_52_in_use_from_an_own_subscription_is_waited_out_and_no_failure() {
    let bench = Bench::new().await;
    bench.put(2);
    let mut heard = bench.events.subscribe();
    let mut before = bench.reader(1);
    assert_eq!(bench.read(&mut before, 2).await, [2, 3]);
    drop(before);
    bench.clock.advance(seconds(1)).await;
    let (calls, began) = (bench.fake.calls(SUBSCRIBE), bench.clock.now());
    let mut after = bench.reader(2);
    assert_eq!(bench.read(&mut after, 2).await, [2, 3]);
    let took = bench.clock.now().since(began);
    assert!(took > seconds(3) && took < seconds(8), "{took:?}");
    let calls = bench.fake.calls(SUBSCRIBE) - calls;
    assert!((4..=7).contains(&calls), "{calls} calls in {took:?}");
    assert!(told(&mut heard).is_empty());
}

#[tokio::test]
async fn case_52_a_rival_takes_over_after_5_s_and_the_old_subscription_stops() {
    let bench = Bench::new().await;
    bench.put(1);
    let mut old = bench.reader(1);
    assert_eq!(bench.read(&mut old, 1).await, [2]);
    bench.clock.advance(seconds(5)).await;
    let mut rival = bench.reader(2);
    assert_eq!(bench.read(&mut rival, 1).await, [2]);
    bench.put(1);
    // The old one gets nothing that came after it was taken over, until it may take over itself.
    let mut got = 0;
    let count = |fetched| {
        if let Fetched::Page(page) = fetched {
            got += page.len();
        }
    };
    bench.ask(&mut old, seconds(3), count).await;
    assert_eq!(got, 0);
    assert_eq!(bench.read(&mut rival, 1).await, [3]);
}

#[tokio::test]
async fn case_52_a_rival_that_never_lets_go_is_told() {
    let bench = Bench::new().await;
    for _ in 0..IN_USE_BEFORE_STALL {
        bench.fake.fault(SUBSCRIBE, Fault::InUse);
    }
    let mut heard = bench.events.subscribe();
    let mut reader = bench.reader(1);
    bench.put(1);
    assert_eq!(bench.read(&mut reader, 1).await, [2]);
    assert_eq!(told(&mut heard), ["source", "moves"]);
}

#[tokio::test]
async fn case_52_calls_keep_their_pace_whatever_fails() {
    let bench = Bench::new().await;
    for fault in [Fault::Lost, Fault::Throttled, Fault::InUse, Fault::ServerFault].repeat(5) {
        bench.fake.fault(SUBSCRIBE, fault);
    }
    let began = bench.clock.now();
    let mut reader = bench.reader(1);
    bench.put(1);
    assert_eq!(bench.read(&mut reader, 1).await, [2]);
    let took = bench.clock.now().since(began);
    assert!(took >= seconds(20), "21 calls within {took:?}");
    assert!(took < seconds(21 * 20), "each wait has a bound: {took:?}");
}

#[tokio::test]
async fn case_53_a_subscription_that_is_silent_for_35_s_is_renewed() {
    let bench = Bench::new().await;
    bench.put(1);
    bench.fake.stream_fault(1, StreamFault::Silent);
    let mut reader = bench.reader(1);
    assert_eq!(bench.read(&mut reader, 1).await, [2]);
    let began = bench.clock.now();
    bench.put(1);
    assert_eq!(bench.read(&mut reader, 1).await, [3]);
    let took = bench.clock.now().since(began);
    assert!(took >= SILENCE && took < SILENCE + seconds(2), "{took:?}");
}

#[tokio::test]
async fn case_53_time_in_which_nobody_asks_is_no_silence() {
    let bench = Bench::new().await;
    bench.put(1);
    bench.fake.stream_fault(1, StreamFault::Silent);
    let mut reader = bench.reader(1);
    assert_eq!(bench.read(&mut reader, 1).await, [2]);
    let made = bench.fake.subscriptions().len();
    // Asked for 30 s in all, and not asked for 45 s between: never as long as would end it.
    for _ in 0..3 {
        bench
            .ask(&mut reader, seconds(10), |_| panic!("it is silent"))
            .await;
        bench.clock.advance(seconds(15)).await;
    }
    assert_eq!(
        bench.fake.subscriptions().len(),
        made,
        "waiting was counted as silence"
    );
    bench.ask(&mut reader, seconds(7), |_| {}).await;
    assert_eq!(
        bench.fake.subscriptions().len(),
        made + 1,
        "35 s of asking in slices are 35 s"
    );
}

#[tokio::test]
async fn case_54_a_caller_that_is_held_up_costs_one_event_and_loses_none() {
    let bench = Bench::new().await;
    bench.fake.set_page_records(10);
    bench.put(100);
    let mut reader = bench.reader(1);
    bench.run(reader.ready()).await;
    let held = reader.held_bytes().expect("an event waits");
    assert!(held < 10 * 300, "{held} bytes");
    let made = bench.fake.subscriptions().len();
    // Longer than it is kept, and not as long as would end it anyway.
    bench.clock.advance(seconds(30)).await;
    assert_eq!(reader.held_bytes(), Some(held));
    assert_eq!(bench.read(&mut reader, 100).await, (2..102).collect::<Vec<_>>());
    assert_eq!(
        bench.fake.subscriptions().len(),
        made + 1,
        "the forgotten one was ended"
    );
    // And where the caller gives even the one event back.
    bench.put(5);
    bench.run(reader.ready()).await;
    reader.let_go();
    assert_eq!(reader.held_bytes(), None);
    assert_eq!(bench.read(&mut reader, 5).await, [102, 103, 104, 105, 106]);
}

#[tokio::test]
async fn case_54_a_future_that_is_dropped_at_any_moment_loses_nothing() {
    let bench = Bench::new().await;
    bench.fake.set_page_records(3);
    bench.put(60);
    for fault in [StreamFault::Broken, StreamFault::Ends] {
        bench.fake.stream_fault(4, fault);
    }
    let mut reader = bench.reader(1);
    let mut read = Vec::new();
    while read.len() < 60 {
        tokio::select! {
            biased;
            fetched = reader.next_page(PLENTY) => {
                if let Fetched::Page(page) = fetched.expect("it heals") {
                    read.extend(numbers(&page));
                }
            }
            () = tokio::task::yield_now() => {}
        }
        bench.clock.advance(Duration::from_millis(7)).await;
    }
    assert_eq!(read, (2..62).collect::<Vec<_>>());
    assert_eq!(
        bench.fake.subscriptions().len(),
        3,
        "a call was dropped and made again"
    );
}

#[tokio::test]
async fn case_54_an_event_that_is_too_large_waits_for_its_memory() {
    let bench = Bench::new().await;
    bench.put(50);
    let mut reader = bench.reader(1);
    let Ok(Fetched::TooLarge { bytes }) = bench.run(reader.next_page(100)).await else {
        panic!("it fitted")
    };
    let Ok(Fetched::Page(page)) = bench.run(reader.next_page(bytes)).await else {
        panic!("it did not fit")
    };
    assert_eq!((page.len(), page.bytes()), (50, bytes));
}
