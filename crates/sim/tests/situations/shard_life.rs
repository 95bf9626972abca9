//! Shards that split, merge, end and expire.

use frazil_kinesis::fake::Fault;

use crate::world::{ARRIVAL_MS, World};

/// The order in which shards began.
fn began(world: &World) -> Vec<String> {
    let all = world.told.all();
    let started = all.iter().filter_map(|text| text.strip_prefix("started "));
    started
        .map(|text| text.split(' ').next().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn case_21_generations_are_read_one_after_the_other() {
    let mut world = World::of(2, ARRIVAL_MS);
    world.kinesis.set_page_records(3);
    let shards = world.kinesis.shard_ids();
    world.put_into(&shards[0], 10);
    world.put_into(&shards[1], 10);
    let [low, high] = world.kinesis.split(&shards[0]);
    world.put_into(&low, 10);
    world.put_into(&high, 10);
    // One parent of the merge is a child that nobody has begun to read.
    let merged = world.kinesis.merge(&high, &shards[1]);
    world.put_into(&merged, 10);
    let worker = world.worker();
    world.commit(50).await;
    let order = began(&world);
    let at = |id: &frazil_model::ShardId| order.iter().position(|one| one == id.as_str());
    assert!(
        at(&shards[0]) < at(&low) && at(&shards[0]) < at(&high),
        "{order:?}"
    );
    assert!(
        at(&high) < at(&merged) && at(&shards[1]) < at(&merged),
        "{order:?}"
    );
    world.end(worker).await;
}

#[tokio::test]
async fn case_22_a_child_waits_for_an_end_that_its_parents_owner_did_not_live_to_write() {
    let mut world = World::at(ARRIVAL_MS);
    let parent = world.kinesis.shard_ids()[0].clone();
    world.put(10);
    let children = world.kinesis.split(&parent);
    world.put_into(&children[0], 5);
    let first = world.worker();
    world
        .until("accepted", async |world| world.snowpipe.accepted_rows() == 10)
        .await;
    // All of the parent is read, none of it is committed: its owner dies.
    assert_eq!(
        world.told.count(&format!("started {}", children[0])),
        0,
        "a child before its parent's end"
    );
    world.kill(first);
    let second = world.worker();
    world.commit(15).await;
    world.advance(10).await;
    assert_eq!(world.rows(), 15);
    assert!(world.row(&parent).await.is_some_and(|row| row.ended));
    world.end(second).await;
}

#[tokio::test]
async fn case_23_children_that_no_list_shows_are_learnt_from_their_parents_end() {
    let mut world = World::at(ARRIVAL_MS);
    world.put(3);
    let worker = world.worker();
    world.commit(3).await;
    for _ in 0..50 {
        world.kinesis.fault("ListShards", Fault::Lost);
    }
    let children = world.kinesis.split(&world.kinesis.shard_ids()[0]);
    world.put_into(&children[0], 4);
    world.put_into(&children[1], 4);
    let listed = world.kinesis.calls("ListShards");
    world.commit(11).await;
    assert!(
        world.kinesis.calls("ListShards") < listed + 50,
        "the list came back first"
    );
    world.end(worker).await;
}

#[tokio::test]
async fn case_23_case_28_children_that_no_end_names_are_learnt_from_the_list() {
    let mut world = World::at(ARRIVAL_MS);
    world.kinesis.set_tells_children(false);
    world.put(3);
    let worker = world.worker();
    let children = world.kinesis.split(&world.kinesis.shard_ids()[0]);
    world.put_into(&children[0], 4);
    world.commit(7).await;
    world.end(worker).await;
}

#[tokio::test]
async fn case_25_a_stream_that_doubles_again_and_again() {
    let mut world = World::at(ARRIVAL_MS);
    let mut open = world.kinesis.shard_ids();
    let mut rows = 0;
    for _ in 0..4 {
        for shard in &open {
            world.put_into(shard, 2);
            rows += 2;
        }
        open = open.iter().flat_map(|shard| world.kinesis.split(shard)).collect();
    }
    let worker = world.worker();
    world.commit(rows).await;
    world
        .until("the youngest generation", async |world| began(world).len() == 31)
        .await;
    world.end(worker).await;
}

#[tokio::test]
async fn case_26_a_closed_shard_is_not_read_again_after_a_restart() {
    let mut world = World::at(ARRIVAL_MS);
    let parent = world.kinesis.shard_ids()[0].clone();
    world.put(10);
    let children = world.kinesis.split(&parent);
    let first = world.worker();
    world.commit(10).await;
    world
        .until("the end", async |world| world.told.count("finished") == 1)
        .await;
    world.end(first).await;
    world.put_into(&children[0], 2);
    let second = world.worker();
    world.commit(12).await;
    world.advance(120).await;
    assert_eq!(
        world.told.count(&format!("started {parent}")),
        1,
        "{:?}",
        world.told.all()
    );
    assert_eq!(world.rows(), 12);
    world.end(second).await;
}

#[tokio::test]
async fn case_27_a_shard_that_expires_unread_is_told_and_its_children_go_on() {
    let mut world = World::at(ARRIVAL_MS);
    let parent = world.kinesis.shard_ids()[0].clone();
    let first = world.worker();
    world.put(3);
    world.commit(3).await;
    world.end(first).await;
    world.put(5);
    let children = world.kinesis.split(&parent);
    world.put_into(&children[0], 4);
    world.kinesis.expire(&parent);
    let second = world.worker();
    world.commit(7).await;
    assert_eq!(
        world.told.count(&format!("expired {parent}")),
        1,
        "{:?}",
        world.told.all()
    );
    world.end(second).await;
}

#[tokio::test]
async fn case_24_stale_lists_start_no_child_early_and_count_nothing_as_lost() {
    let mut world = World::of(2, ARRIVAL_MS);
    world.kinesis.set_page_records(3);
    let parent = world.kinesis.shard_ids()[0].clone();
    world.put(40);
    let children = world.kinesis.split(&parent);
    world.put_into(&children[0], 5);
    world.put_into(&children[1], 5);
    // The lists of the pin and of the first look lack the parent.
    world.kinesis.hide(&parent, 2);
    let first = world.worker();
    world
        .until("the first look", async |world| {
            world.kinesis.calls("ListShards") >= 2
        })
        .await;
    let mut stale = 0;
    while world.rows() < 30 {
        // A stale list every now and then, while the parent is read.
        if world.kinesis.calls("ListShards") % 2 == 1 {
            world.kinesis.hide(&parent, 1);
            stale += 1;
        }
        world.advance(1).await;
        if world.told.count("started") == 2 {
            world.snowpipe.commit_all();
        }
        assert_eq!(world.told.count(&format!("started {}", children[0])), 0);
    }
    assert!(stale > 0, "no list was stale");
    world.commit(50).await;
    // What was read to its end is not read again because a list did not name it for once, whoever is asked.
    world.kinesis.hide(&parent, 1);
    world.advance(700).await;
    world.end(first).await;
    assert!(world.row(&parent).await.is_some_and(|row| row.ended));
    let second = world.worker();
    world.kinesis.hide(&parent, 1);
    world.advance(120).await;
    world.end(second).await;
    assert_eq!(world.rows(), 50);
    assert_eq!(world.told.count("expired"), 0, "{:?}", world.told.all());
    assert_eq!(world.told.count(&format!("started {parent}")), 1);
}

#[tokio::test]
async fn case_24_pages_that_fail_at_the_start_are_asked_for_again() {
    let mut world = World::at(ARRIVAL_MS);
    world.put(3);
    for _ in 0..3 {
        world.kinesis.fault("ListShards", Fault::ExpiredPages);
        world.kinesis.fault("ListShards", Fault::InUse);
        world.kinesis.fault("ListShards", Fault::Throttled);
    }
    let worker = world.worker();
    world.commit(3).await;
    assert!(world.kinesis.calls("ListShards") > 9);
    assert_eq!(world.told.count("expired"), 0);
    world.end(worker).await;
}
