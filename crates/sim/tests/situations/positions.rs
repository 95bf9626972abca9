//! Where reading begins, and begins again.

use frazil_kinesis::fake::Fault;
use frazil_lease::admin::Layout;
use frazil_lease::fake::{Fault as Denied, Operation};
use frazil_lease::row::{Attribute, Item};
use frazil_model::ShardId;
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

/// A row as the Kinesis Client Library leaves it when its worker was stopped.
fn library_row(shard: &ShardId, checkpoint: &str) -> Item {
    let text = |text: &str| Attribute::S(text.to_owned());
    [
        ("leaseKey", text(shard.as_str())),
        ("checkpoint", text(checkpoint)),
        ("checkpointSubSequenceNumber", Attribute::number(0)),
        ("leaseCounter", Attribute::number(17)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

#[tokio::test]
async fn case_81_a_client_library_table_is_taken_over_at_the_start() {
    let mut world = World::of(2, ARRIVAL_MS);
    let shards = world.kinesis.shard_ids();
    let put = |n| {
        world
            .kinesis
            .put(&shards[0], "k", format!("{{\"n\":{n}}}").as_bytes())
    };
    let sequences: Vec<_> = (0..10).map(put).collect();
    let fourth = &sequences[3];
    world.put_into(&shards[1], 5);
    let rows = vec![
        library_row(&shards[0], fourth.as_str()),
        library_row(&shards[1], "TRIM_HORIZON"),
    ];
    world.leases.put_table("app", Layout::ClientLibrary, rows);
    world.initial_position = InitialPosition::Latest;
    let worker = world.worker();
    // Of the first shard what stands behind its checkpoint, of the second all: the configured LATEST is of no account.
    world.commit(6 + 5).await;
    world.advance(30).await;
    assert_eq!(world.rows(), 11);
    world.end(worker).await;
    assert!(
        world
            .row(&shards[0])
            .await
            .is_some_and(|row| row.position.is_some())
    );
}

#[tokio::test]
async fn case_89_who_may_not_look_at_the_takeovers_table_needs_no_takeover() {
    let mut world = World::at(ARRIVAL_MS);
    world.put(3);
    let (connector, stop, leases) = world.connector();
    let denied = frazil_lease::Error::AccessDenied {
        call: "DescribeTable",
        table: "app_migration".to_owned(),
        detail: "scripted".to_owned(),
    };
    leases.fail_next(Operation::Describe, Denied::Reject(denied));
    let stopping = stop.clone();
    let run = tokio::spawn(async move { connector.run(stopping).await });
    world.commit(3).await;
    stop.cancel();
    world.until("the end", async |_| run.is_finished()).await;
    run.await.expect("no panic").expect("it ran");
}
