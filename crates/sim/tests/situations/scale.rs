//! Many shards on one worker, and one broken shard beside sound ones.

use std::time::Duration;

use frazil_lease::fake::Operation;
use frazil_lease::update::Purpose;
use frazil_model::Clock;

use crate::world::{ARRIVAL_MS, Worker, World, table};

/// How many shards: 200, or what `SHARDS` says (1000 takes minutes without optimisation).
fn many() -> usize {
    let asked = std::env::var("SHARDS")
        .ok()
        .and_then(|shards| shards.parse().ok());
    asked.unwrap_or(200)
}

/// Every write of a lease row, of whatever purpose.
fn writes_of(worker: &Worker) -> u64 {
    [
        Purpose::Take,
        Purpose::Checkpoint,
        Purpose::Release,
        Purpose::Stop,
        Purpose::Beat,
        Purpose::Retire,
        Purpose::Pin,
        Purpose::Migrate,
        Purpose::Rewind,
        Purpose::Remove,
    ]
    .into_iter()
    .map(|purpose| worker.leases.count(Operation::Update(purpose)))
    .sum()
}

#[tokio::test]
async fn many_shards_cost_a_dozen_lease_writes_a_minute_when_idle() {
    let shards = many();
    let mut world = World::of(shards, ARRIVAL_MS);
    let begun = world.clock.now();
    let worker = world.worker();
    world
        .until("all shards are read", async |world| {
            world.told.count("started") == shards
        })
        .await;
    let took = world.clock.now().since(begun);
    assert!(took < Duration::from_secs(30), "taking all took {took:?}");
    // What taking them wrote is written.
    world.advance(15).await;
    let written = writes_of(&worker);
    world.advance(60).await;
    let idle = writes_of(&worker) - written;
    assert!((1..=12).contains(&idle), "{idle} lease writes in an idle minute");

    // Busy: checkpoints are at most one for each shard and interval, beside the beats.
    for shard in world.kinesis.shard_ids() {
        world.put_into(&shard, 2);
    }
    world.commit(2 * shards as u64).await;
    let written = writes_of(&worker);
    for _ in 0..12 {
        for shard in world.kinesis.shard_ids() {
            world.put_into(&shard, 1);
        }
        world.advance(10).await;
        world.snowpipe.commit_all();
    }
    let busy = writes_of(&worker) - written;
    let most = 2 * shards as u64 + shards as u64 + 24;
    assert!(
        (shards as u64..=most).contains(&busy),
        "{busy} lease writes in two busy minutes"
    );
    world.kill(worker);
}

/// Four shards take records steadily, and something is broken about the first; answers the rows of each of the others, and how
/// many each was to get.
async fn beside(broken: impl Fn(&World, &str)) -> (Vec<u64>, u64) {
    let mut world = World::of(4, ARRIVAL_MS);
    world.snowpipe.set_table(table(0, true));
    let shards = world.kinesis.shard_ids();
    let worker = world.worker();
    for shard in &shards {
        world.put_into(shard, 1);
    }
    world.commit(4).await;
    let channels = world.snowpipe.channels();
    let channel_of = |index: usize| {
        let part = shards[index].as_str().to_uppercase().replace('-', "_");
        let channel = channels.iter().find(|name| name.contains(&part));
        channel.expect("each shard has its channel").clone()
    };
    broken(&world, &channel_of(0));
    let before = world.rows_of(&channel_of(0));
    let mut put = 0;
    for _ in 0..120 {
        world.kinesis.put(&shards[0], "k", b"poison");
        for shard in &shards {
            world.put_into(shard, 5);
        }
        put += 5;
        world.advance(1).await;
        world.snowpipe.commit_all();
    }
    assert!(
        world.rows_of(&channel_of(0)) < before + put / 2,
        "nothing was broken"
    );
    let rows = (1..4)
        .map(|index| world.rows_of(&channel_of(index)) - 1)
        .collect();
    world.kill(worker);
    (rows, put)
}

#[tokio::test]
async fn one_broken_shard_takes_nothing_from_the_others() {
    let sink = beside(|world, _| world.letters.refuse(true)).await;
    let way_out = beside(|world, channel| world.snowpipe.refuse(channel)).await;
    for (what, (rows, put)) in [("dead-letter sink", sink), ("way out", way_out)] {
        assert!(
            rows.iter().all(|rows| rows * 10 >= put * 9),
            "{what}: {rows:?} of {put} rows each"
        );
    }
}
