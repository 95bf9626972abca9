//! Many workers, hand-overs that stick, and tables that go away.

use super::*;
use crate::fake::Operation;
use crate::update::Purpose;

async fn settle(world: &World, hosts: &[&Host], time: u64) {
    for _ in 0..time {
        world.run(seconds(1)).await;
        for host in hosts {
            host.drain().await;
        }
    }
}

/// Shards held by any of them; none by two.
fn all_held(hosts: &[&Host]) -> usize {
    let mut all: Vec<ShardId> = hosts
        .iter()
        .flat_map(|host| host.held().keys().cloned().collect::<Vec<_>>())
        .collect();
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "two hold one shard");
    count
}

#[tokio::test]
async fn case_5_wall_clocks_that_are_a_minute_wrong_change_nothing() {
    for skew in [-60_000, 60_000] {
        let world = World::new();
        let a = world.host(4).await;
        world.skew_ms.set(skew);
        let b = world.host(4).await;
        settle(&world, &[&a, &b], 30).await;
        assert_eq!((a.count(), b.count()), (2, 2));
        let before = (a.held(), b.held());
        settle(&world, &[&a, &b], 300).await;
        assert_eq!((a.held(), b.held()), before);
        a.kill();
        world.run(seconds(20)).await;
        assert_eq!(b.count(), 2, "taken before the timeout");
        world.run(seconds(25)).await;
        assert_eq!(b.count(), 4);
    }
}

#[tokio::test]
async fn case_8_a_worker_whose_destination_hangs_keeps_its_leases() {
    let world = World::new();
    let a = world.host(4).await;
    world.run(seconds(3)).await;
    let b = world.host(4).await;
    // Two shards are to be handed over, and a cannot drain them: its destination hangs for ten minutes.
    settle(&world, &[&b], 600).await;
    assert_eq!((a.count(), b.count()), (4, 0));
    assert_eq!(a.held().values().filter(|held| held.draining).count(), 2);
    assert!(a.leases.may_act());
    settle(&world, &[&a, &b], 10).await;
    assert_eq!((a.count(), b.count()), (2, 2));
}

#[tokio::test]
async fn case_9_five_thousand_shards_cost_no_more_writes_than_one() {
    let world = World::new();
    let a = world.host(5000).await;
    world.run(seconds(5)).await;
    assert_eq!(a.count(), 5000);
    let updates = || {
        let all = [
            Purpose::Take,
            Purpose::Checkpoint,
            Purpose::Release,
            Purpose::Retire,
        ];
        all.map(|purpose| world.table.count(Operation::Update(purpose)))
    };
    let (before, beats) = (updates(), world.table.count(Operation::Update(Purpose::Beat)));
    world.run(seconds(30)).await;
    assert_eq!(updates(), before);
    assert!(world.table.count(Operation::Update(Purpose::Beat)) - beats <= 4);
}

#[tokio::test]
async fn case_12_all_at_once_again() {
    let world = World::new();
    let mut old = Vec::new();
    for _ in 0..3 {
        old.push(world.host(6).await);
    }
    let hosts: Vec<&Host> = old.iter().collect();
    settle(&world, &hosts, 30).await;
    assert_eq!(all_held(&hosts), 6);
    old.into_iter().for_each(Host::kill);
    let mut new = Vec::new();
    for _ in 0..3 {
        new.push(world.host(6).await);
    }
    let hosts: Vec<&Host> = new.iter().collect();
    settle(&world, &hosts, 60).await;
    assert_eq!(
        hosts.iter().map(|host| host.count()).collect::<Vec<_>>(),
        [2, 2, 2]
    );
}

#[tokio::test]
async fn case_13_more_workers_than_shards_stand_by() {
    let world = World::new();
    let mut hosts = Vec::new();
    for _ in 0..5 {
        hosts.push(world.host(2).await);
    }
    let all: Vec<&Host> = hosts.iter().collect();
    settle(&world, &all, 30).await;
    assert_eq!(all_held(&all), 2);
    let takes = world.table.count(Operation::Update(Purpose::Take));
    settle(&world, &all, 300).await;
    assert_eq!(all_held(&all), 2);
    assert_eq!(
        world.table.count(Operation::Update(Purpose::Take)),
        takes,
        "they stand still"
    );
    let holder = hosts.iter().position(|host| host.count() > 0).expect("one");
    hosts.remove(holder).kill();
    let all: Vec<&Host> = hosts.iter().collect();
    settle(&world, &all, 50).await;
    assert_eq!(all_held(&all), 2);
}

#[tokio::test]
async fn case_14_one_that_comes_and_goes_leaves_no_shard_alone() {
    let world = World::new();
    let a = world.host(6).await;
    let b = world.host(6).await;
    settle(&world, &[&a, &b], 30).await;
    for round in 0..10 {
        let flapping = world.host(6).await;
        settle(&world, &[&a, &b, &flapping], 3 + round).await;
        all_held(&[&a, &b, &flapping]);
        if round % 2 == 0 {
            flapping.kill();
        } else {
            flapping.leases.stop().await;
        }
        settle(&world, &[&a, &b], 5).await;
        all_held(&[&a, &b]);
    }
    settle(&world, &[&a, &b], 60).await;
    assert_eq!((a.count(), b.count()), (3, 3));
}

#[tokio::test]
async fn case_17_two_of_one_name_are_two_workers() {
    let world = World::new();
    let a = world.host(4).await;
    // The name for people is the same; the id is drawn at each start.
    world.hosts.set(0);
    let random: Arc<dyn Random> = Arc::new(SeededRandom::new(99));
    let worker = WorkerId::random(&*random);
    let options = LeaseOptions::new("app", world.scope.stream.clone(), stream(), worker, "host-1");
    let candidates = watch::Sender::new(Arc::new((0..4).map(shard).collect()));
    let (clock, events) = (Arc::new(world.clock.clone()), Events::new("test", Vec::new()));
    let store = Arc::new(world.table.another_door());
    let b = LeaseCoordinator::start(store, options, clock, random, events, candidates.subscribe());
    let b = b.await.expect("started");
    settle(&world, &[&a], 30).await;
    let other = b.held().borrow().clone();
    assert_eq!((a.count(), other.len()), (2, 2));
    assert!(a.held().keys().all(|shard| !other.contains_key(shard)));
}

#[tokio::test]
async fn case_19_a_table_that_was_deleted_stops_nobody_who_reads() {
    let world = World::new();
    let a = world.host(2).await;
    world.run(seconds(15)).await;
    let old = a.tenure(0);
    world.table.remove_table("app");
    world.run(seconds(60)).await;
    assert!(
        a.count() == 2 && a.leases.may_act(),
        "the channel fences, not the table"
    );
    let error = a.leases.checkpoint(&old, up_to(5)).await.expect_err("no table");
    assert!(
        matches!(&error, Error::TableMissing { table } if table == "app"),
        "{error}"
    );
    // A start makes it again; what was held is held in later epochs.
    world.table.prepare(&world.scope).await.expect("made");
    world.run(seconds(40)).await;
    assert_eq!(a.count(), 2);
    assert!(a.tenure(0).epoch > old.epoch);
}

#[tokio::test]
async fn case_20_hand_overs_that_stick_end_all_the_same() {
    // The old owner never drains, and dies.
    let world = World::new();
    let a = world.host(2).await;
    world.run(seconds(3)).await;
    let b = world.host(2).await;
    settle(&world, &[&b], 60).await;
    assert_eq!((a.count(), b.count()), (2, 0));
    a.kill();
    settle(&world, &[&b], 50).await;
    assert_eq!(b.count(), 2);

    // The new owner dies while the old one drains: it goes back.
    let world = World::new();
    let a = world.host(2).await;
    world.run(seconds(3)).await;
    let b = world.host(2).await;
    settle(&world, &[&b], 15).await;
    assert_eq!(a.held().values().filter(|held| held.draining).count(), 1);
    b.kill();
    settle(&world, &[&a], 60).await;
    assert_eq!(a.count(), 2);

    // The old owner dies while it drains, and starts again as another worker.
    let world = World::new();
    let a = world.host(2).await;
    world.run(seconds(3)).await;
    let b = world.host(2).await;
    settle(&world, &[&b], 15).await;
    a.kill();
    let a = world.host(2).await;
    settle(&world, &[&a, &b], 60).await;
    assert_eq!((a.count(), b.count()), (1, 1));
}
