//! Positions that are older than the stream's retention, and shards that have nothing for longer than that.

use std::time::Duration;

use frazil_kinesis::StartAt;
use frazil_lease::fake::Operation;
use frazil_lease::update::Purpose;
use frazil_model::Clock;
use frazil_pipeline::ConsumerType;

use crate::world::{ARRIVAL_MS, HOUR_MS, Worker, World};

const HOUR: Duration = Duration::from_secs(3600);
/// The fake keeps records for 24 h.
const RETENTION: u32 = 24;

/// Lets time go by with workers that run, in steps that are coarse for them.
async fn pass(world: &World, hours: u32) {
    for _ in 0..hours * 360 {
        world.clock.advance(Duration::from_secs(10)).await;
        world.snowpipe.commit_all();
    }
}

fn checkpoints(worker: &Worker) -> u64 {
    worker.leases.count(Operation::Update(Purpose::Checkpoint))
}

#[tokio::test]
async fn case_36_a_checkpoint_older_than_the_retention_is_told_and_reading_goes_on_at_the_horizon() {
    for refuses in [false, true] {
        let mut world = World::at(ARRIVAL_MS);
        world.kinesis.set_refuses_trimmed(refuses);
        let shard = world.kinesis.shard_ids()[0].clone();
        world.put(10);
        let first = world.worker();
        world.commit(10).await;
        world.end(first).await;
        // Thirty hours without a worker: of the 20 records behind the checkpoint 5 are gone.
        world.put(20);
        world.clock.advance(HOUR * 30).await;
        world.kinesis.trim(&shard, 15);
        let second = world.worker();
        world.commit(10 + 15).await;
        let told = format!("expired {shard} ");
        assert_eq!(world.told.count(&told), 1, "{:?}", world.told.all());
        let all = world.told.all();
        let text = all.iter().find(|text| text.starts_with(&told)).expect("told");
        assert!(
            text.contains("retention of 24 h") && text.contains("2023-11-14"),
            "{text}"
        );
        assert_eq!(world.told.count(&format!("started {shard} TRIM_HORIZON")), 2);
        world.end(second).await;
        // What was read since is there: the next start has nothing to tell.
        let third = world.worker();
        world.put(5);
        world.commit(30).await;
        world.end(third).await;
        assert_eq!(world.told.count(&told), 1);
        assert_eq!(world.rows(), 30);
    }
}

#[tokio::test]
async fn case_36_a_checkpoint_whose_record_is_still_there_lost_nothing() {
    let mut world = World::at(ARRIVAL_MS);
    world.put(10);
    let first = world.worker();
    world.commit(10).await;
    world.end(first).await;
    world.put(20);
    // The service trims late: everything is there.
    world.clock.advance(HOUR * 30).await;
    let second = world.worker();
    world.commit(30).await;
    world.end(second).await;
    assert_eq!(world.told.count("expired"), 0);
}

#[tokio::test]
async fn case_36_the_silence_of_an_idle_shard_is_no_loss() {
    for refuses in [false, true] {
        let mut world = World::at(ARRIVAL_MS);
        world.kinesis.set_refuses_trimmed(refuses);
        let shard = world.kinesis.shard_ids()[0].clone();
        world.put(10);
        let first = world.worker();
        world.commit(10).await;
        pass(&world, 3).await;
        let row = world.row(&shard).await.expect("a row");
        let until = row.read_until_ms.expect("looked through") - ARRIVAL_MS;
        assert!((2 * HOUR_MS..=3 * HOUR_MS).contains(&until), "{until}");
        // One when the records were committed, and one an hour.
        let written = checkpoints(&first);
        assert!((3..=4).contains(&written), "{written} checkpoints");
        world.end(first).await;
        // Away for less than the retention, though the last record is older than that.
        world.kinesis.trim(&shard, 10);
        world.clock.advance(HOUR * (RETENTION - 2)).await;
        world.put(5);
        let second = world.worker();
        world.commit(15).await;
        world.end(second).await;
        assert_eq!(
            world.told.count("expired"),
            0,
            "{refuses}: {:?}",
            world.told.all()
        );
        // Away for longer: nobody can tell any more.
        world.clock.advance(HOUR * (RETENTION + 2)).await;
        world.kinesis.trim(&shard, 15);
        let third = world.worker();
        world
            .until("it is told", async |world| world.told.count("expired") == 1)
            .await;
        world.end(third).await;
    }
}

#[tokio::test]
async fn case_58_an_idle_shard_by_fan_out_is_remembered_each_hour_where_it_was_looked_through() {
    let mut world = World::at(ARRIVAL_MS);
    world.consumer_type = ConsumerType::EnhancedFanOut;
    let shard = world.kinesis.shard_ids()[0].clone();
    let last = world.kinesis.put(&shard, "k", b"{\"n\":1}");
    let first = world.worker();
    world.commit(1).await;
    pass(&world, 1).await;
    let mut before = world
        .row(&shard)
        .await
        .and_then(|row| row.position)
        .expect("committed");
    for _ in 0..3 {
        pass(&world, 1).await;
        let position = world.row(&shard).await.and_then(|row| row.position);
        let position = position.expect("committed");
        assert!(
            position > before && position.sequence > last,
            "{position} after {before}"
        );
        before = position;
    }
    let written = checkpoints(&first);
    assert!((4..=6).contains(&written), "{written} checkpoints");
    world.kill(first);
    // Two days later nothing of before is there, and the place still is not older than the stream.
    world.kinesis.trim(&shard, 1);
    world.kinesis.set_refuses_trimmed(true);
    world.clock.advance(HOUR * (RETENTION - 2)).await;
    world.put(3);
    let subscribed = world.kinesis.subscriptions().len();
    let begun = world.clock.now();
    let second = world.worker();
    world.commit(4).await;
    let (at, start) = world.kinesis.subscriptions()[subscribed].clone();
    assert!(at >= begun);
    assert_eq!(start, StartAt::After(before.sequence));
    world.end(second).await;
    assert_eq!(world.told.count("expired"), 0);
}
