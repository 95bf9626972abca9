//! Faults beside the data: another shard's, the lease table's, the configuration's.

use frazil_lease::Error as LeaseError;
use frazil_pipeline::{Error, InitialPosition};
use tokio_util::sync::CancellationToken;

use crate::world::{ARRIVAL_MS, World, table};

const HOUR_S: u64 = 3600;

#[tokio::test]
async fn case_30_a_stream_made_anew_under_its_old_name_is_not_mistaken_for_the_old_one() {
    let mut world = World::at(ARRIVAL_MS);
    world.put(3);
    let first = world.worker();
    world.commit(3).await;
    world.end(first).await;
    // The same ids and sequence numbers in another stream: no position of before is believed, and no channel is used again.
    world.kinesis.made_anew(ARRIVAL_MS + 1);
    let second = world.worker();
    world.commit(3 + 3).await;
    world.end(second).await;
    assert_eq!(world.told.count("started shardId-000000000000 TRIM_HORIZON"), 2);
    // An older stream than the one that is remembered: this is another table's application.
    world.kinesis.made_anew(ARRIVAL_MS - 1);
    let (connector, _, _) = world.connector();
    let run = tokio::spawn(async move { connector.run(CancellationToken::new()).await });
    world.until("the refusal", async |_| run.is_finished()).await;
    let ended = run.await.expect("no panic");
    assert!(
        matches!(ended, Err(Error::Lease(LeaseError::OtherStream { .. }))),
        "{ended:?}"
    );
}

#[tokio::test]
async fn case_70_a_shard_that_stops_does_not_hold_up_another() {
    let mut world = World::of(2, ARRIVAL_MS);
    world.snowpipe.set_table(table(0, false));
    let shards = world.kinesis.shard_ids();
    world.put_into(&shards[0], 5);
    let worker = world.worker();
    world
        .until("accepted", async |world| world.snowpipe.accepted_rows() == 5)
        .await;
    world.commit_with_errors_of(&shards[0], 1);
    world
        .until("the mark", async |world| {
            world.row(&shards[0]).await.is_some_and(|row| row.stop.is_some())
        })
        .await;
    world.put_into(&shards[0], 5);
    world.put_into(&shards[1], 50);
    world.commit(5 + 50).await;
    world.advance(60).await;
    assert_eq!(world.rows(), 55, "the stopped shard went on");
    world.end(worker).await;
}

#[tokio::test]
async fn case_75_data_flows_while_the_lease_table_is_gone_for_hours() {
    let mut world = World::at(ARRIVAL_MS);
    world.put(1);
    let worker = world.worker();
    world.commit(1).await;
    worker.leases.cut_off(true);
    let mut rows = 1;
    for _ in 0..4 {
        world.advance(HOUR_S / 2).await;
        world.put(10);
        rows += 10;
        world.commit(rows).await;
    }
    let shard = world.kinesis.shard_ids()[0].clone();
    let before = world.row(&shard).await.and_then(|row| row.position);
    worker.leases.cut_off(false);
    world
        .until("the checkpoint", async |world| {
            world.row(&shard).await.and_then(|row| row.position) > before
        })
        .await;
    world.end(worker).await;
    assert_eq!(world.rows(), rows);
}

#[tokio::test]
async fn case_92_a_stop_under_load_loses_nothing_and_is_bounded() {
    let mut world = World::at(ARRIVAL_MS);
    world.kinesis.set_page_records(7);
    world.put(500);
    let first = world.worker();
    world
        .until("some rows", async |world| world.snowpipe.accepted_rows() > 50)
        .await;
    let begun = frazil_model::Clock::now(&world.clock);
    world.end(first).await;
    let took = frazil_model::Clock::now(&world.clock).since(begun);
    assert!(took.as_secs() <= 70, "{took:?}");
    assert!(world.rows() < 500, "it stopped after all was done");
    let shard = world.kinesis.shard_ids()[0].clone();
    let row = world.row(&shard).await.expect("a row");
    assert!(row.owner.is_none() && row.position.is_some(), "{row:?}");
    let second = world.worker();
    world.commit(500).await;
    world.advance(30).await;
    assert_eq!(world.rows(), 500);
    world.end(second).await;
}

#[tokio::test]
async fn case_93_another_initial_position_moves_nothing_that_has_begun() {
    let mut world = World::at(ARRIVAL_MS);
    world.put(5);
    let first = world.worker();
    world.commit(5).await;
    world.end(first).await;
    world.put(5);
    world.initial_position = InitialPosition::Latest;
    let second = world.worker();
    world.commit(10).await;
    world.end(second).await;
}

#[tokio::test]
async fn case_94_a_shard_without_records_tells_its_lag() {
    let mut world = World::at(ARRIVAL_MS);
    let worker = world.worker();
    let shard = world.kinesis.shard_ids()[0].clone();
    let idle = format!("page {shard} 0 ms behind");
    world
        .until("an empty page", async |world| world.told.count(&idle) > 2)
        .await;
    world.end(worker).await;
}

#[tokio::test]
async fn what_was_accepted_and_lost_is_written_again_although_nothing_new_comes() {
    let mut world = World::at(ARRIVAL_MS);
    let worker = world.worker();
    world.accept(3).await;
    // A worker that was asleep opened the channel: what is accepted is discarded, and nobody appends to find out.
    let channel = world.snowpipe.channels()[0].clone();
    world.snowpipe.lose_accepted(&channel);
    world.commit(3).await;
    world.end(worker).await;
    assert_eq!(world.rows(), 3);
}

#[tokio::test]
async fn a_busy_shard_appends_ten_times_a_second_and_a_quiet_one_at_once() {
    let mut world = World::at(ARRIVAL_MS);
    world.consumer_type = frazil_pipeline::ConsumerType::EnhancedFanOut;
    let worker = world.worker();
    world.put(1);
    world.commit(1).await;
    // Quiet: nothing is waited for.
    let mut slowest = 0;
    for number in 0..10 {
        world.advance(2).await;
        let begun = frazil_model::Clock::now(&world.clock);
        world.put(1);
        while world.snowpipe.accepted_rows() == 0 {
            world.clock.advance(std::time::Duration::from_millis(10)).await;
        }
        let took = frazil_model::Clock::now(&world.clock).since(begun);
        slowest = slowest.max(took.as_millis());
        world.commit(2 + number).await;
    }
    assert!(
        slowest <= 100,
        "a quiet shard's row was accepted after {slowest} ms"
    );
    // Busy: an event each 10 ms.
    let (_, before) = world.snowpipe.calls();
    for _ in 0..500 {
        world.put(1);
        world.clock.advance(std::time::Duration::from_millis(10)).await;
    }
    let (_, after) = world.snowpipe.calls();
    let appends = after - before;
    assert!((25..=51).contains(&appends), "{appends} appends in five seconds");
    world.commit(511).await;
    world.end(worker).await;
}
