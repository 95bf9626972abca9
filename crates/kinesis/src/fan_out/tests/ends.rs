//! How subscriptions and shards end, and where the next one begins.

use super::*;

#[tokio::test]
async fn case_50_a_consumer_that_was_removed_meanwhile_is_found_under_its_new_arn() {
    let bench = Bench::new().await;
    bench.put(2);
    let mut reader = bench.reader(1);
    assert_eq!(bench.read(&mut reader, 2).await, [2, 3]);
    for next in 4..8_u64 {
        let arn = bench.consumer.arn().await.expect("known");
        let removed = bench.fake.deregister_consumer(ConsumerId::Arn(&arn)).await;
        removed.expect("there");
        bench.put(1);
        assert_eq!(bench.read(&mut reader, 1).await, [next]);
    }
    assert_eq!(bench.fake.calls("RegisterStreamConsumer"), 5);
}

#[tokio::test]
async fn case_50_a_shard_that_is_gone_is_not_mistaken_for_a_lost_consumer() {
    let bench = Bench::new().await;
    bench.fake.split(&bench.shard);
    bench.fake.expire(&bench.shard);
    let mut reader = bench.reader(1);
    let error = bench.run(reader.next_page(PLENTY)).await.expect_err("gone");
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    assert_eq!(bench.fake.calls("RegisterStreamConsumer"), 1);
}

#[tokio::test]
async fn case_55_after_a_fault_behind_k_events_reading_goes_on_exactly_there() {
    for after in 0..5 {
        for fault in [StreamFault::Broken, StreamFault::Ends, StreamFault::Silent] {
            let bench = Bench::new().await;
            bench.fake.set_page_records(7);
            bench.put(50);
            bench.fake.stream_fault(after, fault);
            let mut reader = bench.reader(after as u64);
            let read = bench.read(&mut reader, 50).await;
            assert_eq!(read, (2..52).collect::<Vec<_>>(), "{fault:?} after {after}");
            assert_eq!(bench.fake.subscriptions().len(), 2);
        }
    }
}

#[tokio::test]
async fn case_55_records_that_come_again_are_not_given_out_again() {
    let bench = Bench::new().await;
    bench.put(5);
    let mut reader = bench.reader(1);
    assert_eq!(bench.read(&mut reader, 5).await.len(), 5);
    // As if the service went back behind what it was asked for.
    reader.reached = Some(SequenceNumber::new("3").expect("digits"));
    reader.let_go();
    bench.put(2);
    assert_eq!(bench.read(&mut reader, 2).await, [7, 8]);
}

#[tokio::test]
async fn case_55_a_subscription_that_dies_without_an_event_again_and_again_is_told() {
    let bench = Bench::new().await;
    bench.put(1);
    for _ in 0..FAILURES_BEFORE_STALL {
        bench.fake.stream_fault(0, StreamFault::Ends);
    }
    let mut heard = bench.events.subscribe();
    let mut reader = bench.reader(1);
    assert_eq!(bench.read(&mut reader, 1).await, [2]);
    let told = told(&mut heard);
    assert_eq!(told.iter().filter(|word| **word == "failed").count(), 5);
    assert_eq!(told[5..], ["source", "moves"]);
}

#[tokio::test]
async fn case_56_each_exception_in_the_midst_of_a_subscription_has_its_kind() {
    let heal = [
        "InternalFailureException",
        "KMSThrottlingException",
        "ResourceInUseException",
    ];
    for code in heal {
        let bench = Bench::new().await;
        bench.put(3);
        bench.fake.stream_fault(0, StreamFault::Exception(code));
        assert_eq!(bench.read(&mut bench.reader(1), 3).await, [2, 3, 4], "{code}");
    }
    let lasting = [
        "KMSDisabledException",
        "KMSInvalidStateException",
        "KMSAccessDeniedException",
        "KMSNotFoundException",
        "KMSOptInRequired",
    ];
    for code in lasting {
        let bench = Bench::new().await;
        bench.put(3);
        bench.fake.stream_fault(1, StreamFault::Exception(code));
        let mut reader = bench.reader(1);
        assert_eq!(bench.read(&mut reader, 3).await, [2, 3, 4], "{code}");
        let error = bench.run(reader.next_page(PLENTY)).await.expect_err(code);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{code}");
        bench.put(1);
        assert_eq!(
            bench.read(&mut reader, 1).await,
            [5],
            "{code}: nothing was lost by it"
        );
    }
    // The consumer is there and is not what is missing: the second time it is believed.
    let bench = Bench::new().await;
    for _ in 0..2 {
        bench
            .fake
            .stream_fault(0, StreamFault::Exception("ResourceNotFoundException"));
    }
    let error = bench.run(bench.reader(1).next_page(PLENTY)).await;
    assert!(matches!(error, Err(Error::Missing { .. })), "{error:?}");
}

#[tokio::test]
async fn case_57_a_closed_shard_ends_after_its_last_record_and_names_its_children() {
    let bench = Bench::new().await;
    bench.put(5);
    let children = bench.fake.split(&bench.shard);
    let mut reader = bench.reader(1);
    assert_eq!(bench.read(&mut reader, 5).await.len(), 5);
    for _ in 0..2 {
        let Ok(Fetched::End { children: named }) = bench.run(reader.next_page(PLENTY)).await else {
            panic!("no end")
        };
        assert_eq!(named.iter().map(|c| c.id.clone()).collect::<Vec<_>>(), children);
        assert_eq!(named[0].parents, std::slice::from_ref(&bench.shard));
    }
    assert_eq!(
        bench.fake.subscriptions().len(),
        1,
        "an end with children is believed"
    );
}

#[tokio::test]
async fn case_57_an_end_without_children_is_believed_when_it_is_told_twice() {
    let bench = Bench::new().await;
    bench.put(5);
    bench.fake.stream_fault(1, StreamFault::FalseEnd);
    let mut reader = bench.reader(1);
    assert_eq!(bench.read(&mut reader, 5).await.len(), 5);
    bench.put(1);
    assert_eq!(bench.read(&mut reader, 1).await, [7], "it was no end");
    bench.fake.set_tells_children(false);
    bench.fake.split(&bench.shard);
    let end = bench.run(reader.next_page(PLENTY)).await;
    assert!(matches!(end, Ok(Fetched::End { children }) if children.is_empty()));
}

#[tokio::test]
async fn case_58_an_idle_shard_moves_on_by_its_continuation() {
    let bench = Bench::new().await;
    let late = StartAt::Timestamp { ms: i64::MAX };
    let mut reader = bench.reader_of(&bench.shard, late, 1);
    let mut seen: Vec<SequenceNumber> = Vec::new();
    let note = |fetched| {
        if let Fetched::Page(page) = fetched {
            assert!(page.is_empty());
            seen.extend(page.continuation);
        }
    };
    bench.ask(&mut reader, seconds(600), note).await;
    assert!(seen.len() >= 100, "{} signs of life in 10 minutes", seen.len());
    assert!(seen.is_sorted());
    // Each renewal begins behind the last of them, and not at the start, which may mean something else by then.
    let starts = bench.fake.subscriptions();
    let renewed = starts.get(1..).unwrap_or_default();
    assert!(renewed.len() >= 2);
    assert!(
        renewed.iter().all(|(_, at)| matches!(at, StartAt::After(_))),
        "{starts:?}"
    );
}

#[tokio::test]
async fn case_60_polling_and_fan_out_go_on_where_the_other_one_ended() {
    let bench = Bench::new().await;
    bench.fake.set_page_records(4);
    bench.put(30);
    let mut read = Vec::new();
    let mut start = StartAt::TrimHorizon;
    for turn in 0..6_u64 {
        let (clock, random) = (Arc::new(bench.clock.clone()), Arc::new(SeededRandom::new(turn)));
        let (kinesis, events, shard) = (bench.fake.clone(), bench.events.clone(), bench.shard.clone());
        let page = if turn % 2 == 0 {
            let mut polling = ShardReader::new(kinesis, clock, random, events, shard, start);
            bench.run(polling.next_page(PLENTY)).await
        } else {
            let mut fan_out = bench.reader_of(&shard, start, turn);
            bench.run(fan_out.next_page(PLENTY)).await
        };
        let Ok(Fetched::Page(page)) = page else {
            panic!("{page:?}")
        };
        read.extend(numbers(&page));
        start = StartAt::After(page.last_sequence().expect("records").clone());
    }
    assert_eq!(read, (2..26).collect::<Vec<_>>());
}
