//! Payloads that become many times their size, against the memory budget (I8).

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use frazil_model::ShardId;
use frazil_pipeline::ConsumerType;

use crate::world::{ARRIVAL_MS, World};

const MIB: usize = 1024 * 1024;
/// A row of this many bytes, of a payload of a few thousand.
const LARGE: usize = 12 * MIB;

fn put_large(world: &World, shard: &ShardId) {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let text = format!("{{\"n\":0,\"text\":\"{}\"}}", "a".repeat(LARGE));
    encoder.write_all(text.as_bytes()).expect("memory");
    let payload = encoder.finish().expect("memory");
    assert!(payload.len() < LARGE / 100);
    world.kinesis.put(shard, "k", &payload);
}

#[tokio::test]
async fn a_payload_that_grows_is_paid_for_before_it_does() {
    for consumer_type in [ConsumerType::SharedThroughput, ConsumerType::EnhancedFanOut] {
        let mut world = World::at(ARRIVAL_MS);
        world.consumer_type = consumer_type;
        let shard = world.kinesis.shard_ids()[0].clone();
        world.put(5);
        put_large(&world, &shard);
        world.put(5);
        let worker = world.worker();
        world.commit(11).await;
        let highest = world.budget.highest();
        assert!(highest >= LARGE, "{highest} bytes were set aside for {LARGE}");
        world.advance(2).await;
        assert!(
            world.budget.in_use() < MIB,
            "{} bytes are kept",
            world.budget.in_use()
        );
        world.end(worker).await;
        assert_eq!(world.rows(), 11);
    }
}

#[tokio::test]
async fn payloads_that_grow_wait_for_memory_and_never_for_each_other() {
    let mut world = World::of(6, ARRIVAL_MS);
    let shards = world.kinesis.shard_ids();
    for shard in &shards {
        world.put_into(shard, 3);
        put_large(&world, shard);
        world.put_into(shard, 3);
    }
    // What others hold leaves room for pages, and not for what becomes of them.
    let others = world.budget.reserve(world.budget.total() - 8 * MIB).await;
    let worker = world.worker();
    for _ in 0..150 {
        world.advance(1).await;
        world.snowpipe.commit_all();
    }
    let rows = world.rows();
    assert!(
        (6..=18).contains(&rows),
        "{rows} rows: what is small goes on, what is large does not"
    );
    assert!(world.told.count("stalled") > 0, "nobody was told");
    drop(others);
    world.commit(6 * 7).await;
    world.advance(60).await;
    world.end(worker).await;
    assert_eq!(world.rows(), 42);
    assert!(world.budget.highest() <= world.budget.total());
}
