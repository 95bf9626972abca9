//! Where reading begins, and begins again.

use frazil_kinesis::fake::Fault;
use frazil_pipeline::InitialPosition;

use crate::world::{ARRIVAL_MS, HOUR_MS, World};

/// A stream that has ten records when the application first starts.
async fn begun_at(position: InitialPosition, wall_ms: i64) -> (World, crate::world::Worker) {
    let mut world = World::at(wall_ms);
    world.initial_position = position;
    world.put(10);
    let worker = world.worker();
    world
        .until("the shard is read", async |world| world.told.count("started") > 0)
        .await;
    (world, worker)
}

/// Past the arrival of every record that was put before, as the fake counts.
const LATER_MS: i64 = ARRIVAL_MS + 100;

#[tokio::test]
async fn case_31_trim_horizon_reads_what_is_there() {
    let (world, worker) = begun_at(InitialPosition::TrimHorizon, ARRIVAL_MS).await;
    world.commit(10).await;
    world.end(worker).await;
}

#[tokio::test]
async fn case_31_case_35_a_timestamp_inside_of_the_records_and_before_them() {
    for (ms, rows) in [(ARRIVAL_MS + 8, 3), (ARRIVAL_MS - HOUR_MS, 10)] {
        let (world, worker) = begun_at(InitialPosition::AtTimestamp { ms }, ARRIVAL_MS).await;
        world.commit(rows).await;
        world.advance(30).await;
        assert_eq!(world.rows(), rows, "{ms}");
        world.end(worker).await;
    }
}

#[tokio::test]
async fn case_32_latest_is_pinned_before_the_first_record() {
    let (mut world, worker) = begun_at(InitialPosition::Latest, LATER_MS).await;
    world.kill(worker);
    world.advance(1).await;
    // The fake's clock: what is put now arrives behind the pin.
    world.put(100);
    let second = world.worker();
    world.commit(10 + 100 - 99).await;
    world.end(second).await;
}

#[tokio::test]
async fn case_34_an_iterator_that_expires_before_the_first_record_moves_no_latest() {
    let (world, worker) = begun_at(InitialPosition::Latest, LATER_MS).await;
    for _ in 0..3 {
        world.kinesis.fault("GetRecords", Fault::ExpiredIterator);
    }
    world.advance(2).await;
    world.put(100);
    world.kinesis.fault("GetRecords", Fault::ExpiredIterator);
    world.commit(11).await;
    world.end(worker).await;
}

#[tokio::test]
async fn case_33_children_of_a_stream_read_from_latest_are_read_whole() {
    let (world, worker) = begun_at(InitialPosition::Latest, LATER_MS).await;
    let parent = world.kinesis.shard_ids()[0].clone();
    let children = world.kinesis.split(&parent);
    // Before anybody could know of the children.
    world.put_into(&children[0], 7);
    world.put_into(&children[1], 8);
    world.commit(15).await;
    assert_eq!(world.told.count("started"), 3, "{:?}", world.told.all());
    world.end(worker).await;
}
