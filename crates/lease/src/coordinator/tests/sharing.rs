//! Joining, leaving, dying, freezing.

use super::*;
use crate::fake::Operation;
use crate::update::Purpose;

fn disjoint(hosts: &[&Host]) -> usize {
    let all: Vec<ShardId> = hosts
        .iter()
        .flat_map(|host| host.held().keys().cloned().collect::<Vec<_>>())
        .collect();
    let distinct: std::collections::HashSet<&ShardId> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "a shard is held twice");
    all.len()
}

#[tokio::test]
async fn a_single_worker_takes_all_free_shards_at_once() {
    let world = World::new();
    let a = world.host(40).await;
    world.run(Duration::from_millis(100)).await;
    assert_eq!(a.count(), 40);
    assert!(a.leases.may_act());
}

#[tokio::test]
async fn rows_of_dead_workers_without_shards_hold_up_nobody() {
    let world = World::new();
    let old = world.host(0).await;
    world.run(seconds(60)).await;
    old.kill();
    world.run(seconds(3600)).await;
    let a = world.host(8).await;
    world.run(Duration::from_millis(100)).await;
    assert_eq!(a.count(), 8);
}

#[tokio::test]
async fn case_1_two_race_for_one_shard_and_one_wins() {
    let world = World::new();
    let (a, b) = (world.host(0).await, world.host(0).await);
    let one = Arc::new(vec![shard(0)]);
    a.candidates.send_replace(Arc::clone(&one));
    b.candidates.send_replace(one);
    for _ in 0..30 {
        world.run(seconds(1)).await;
        assert_eq!(disjoint(&[&a, &b]), 1);
    }
    assert_eq!(world.text(0, "frazilEpoch").as_deref(), Some("1"));
}

#[tokio::test]
async fn case_10_one_who_joins_has_its_share_in_seconds() {
    let world = World::new();
    let a = world.host(5).await;
    world.run(seconds(60)).await;
    let b = world.host(5).await;
    for _ in 0..6 {
        world.run(seconds(1)).await;
        a.drain().await;
        disjoint(&[&a, &b]);
    }
    assert_eq!((a.count(), b.count()), (3, 2));
    world.run(seconds(300)).await;
    assert_eq!(
        (a.drain().await, b.drain().await),
        (0, 0),
        "shards move although all is balanced"
    );
}

#[tokio::test]
async fn case_11_one_who_leaves_is_followed_in_seconds() {
    let world = World::new();
    let a = world.host(4).await;
    let b = world.host(4).await;
    for _ in 0..10 {
        world.run(seconds(1)).await;
        a.drain().await;
    }
    assert_eq!((a.count(), b.count()), (2, 2));
    a.leases.leave();
    world.run(seconds(1)).await;
    assert!(a.held().values().all(|held| held.draining));
    assert_eq!(a.drain().await, 2);
    a.leases.stop().await;
    world.run(seconds(5)).await;
    assert_eq!((a.count(), b.count()), (0, 4));
    let rows = world
        .table
        .rows(&world.scope, crate::row::WORKER_PREFIX)
        .await
        .expect("readable");
    let used = rows
        .iter()
        .filter(|row| row.contains_key("nodeHeartbeat"))
        .count();
    assert_eq!((rows.len(), used), (2, 1), "its row is free again");
    let c = world.host(4).await;
    assert_eq!(
        world
            .table
            .rows(&world.scope, crate::row::WORKER_PREFIX)
            .await
            .expect("readable")
            .len(),
        2
    );
    drop(c);
}

#[tokio::test]
async fn one_who_is_leaving_takes_nothing() {
    let world = World::new();
    let a = world.host(2).await;
    world.run(seconds(1)).await;
    a.leases.leave();
    a.drain().await;
    a.candidates.send_replace(Arc::new((0..3).map(shard).collect()));
    world.run(seconds(30)).await;
    assert_eq!(a.count(), 0);
}

#[tokio::test]
async fn case_2_a_killed_workers_shards_move_in_under_45_s_and_not_while_it_may_live() {
    for offset in [0, 3, 7, 9] {
        let world = World::new();
        let a = world.host(4).await;
        world.run(seconds(1)).await;
        let b = world.host(0).await;
        world.run(seconds(30 + offset)).await;
        b.candidates.send_replace(Arc::new((0..4).map(shard).collect()));
        a.kill();
        world.run(seconds(18)).await;
        assert_eq!(b.count(), 0, "taken before the timeout");
        world.run(seconds(26)).await;
        assert_eq!(b.count(), 4, "not taken 44 s after the kill");
        assert_eq!(b.tenure(0).epoch, 2);
    }
}

#[tokio::test]
async fn case_12_a_worker_that_comes_back_after_a_kill_is_another_one() {
    let world = World::new();
    let a = world.host(2).await;
    world.run(seconds(15)).await;
    let old = a.leases.worker().clone();
    a.kill();
    let b = world.host(2).await;
    assert_ne!(*b.leases.worker(), old);
    world.run(seconds(10)).await;
    assert_eq!(b.count(), 0, "it took what an earlier start may still hold");
    world.run(seconds(34)).await;
    assert_eq!(b.count(), 2);
}

#[tokio::test]
async fn case_3_case_4_a_frozen_worker_may_not_act_and_lets_go_when_it_wakes() {
    let world = World::new();
    let mut a = world.host(2).await;
    world.run(seconds(25)).await;
    let stale = a.tenure(0);
    assert!(a.leases.may_act());
    assert_eq!(
        a.leases.checkpoint(&stale, up_to(5)).await,
        Ok(CheckpointOutcome::Done)
    );

    a.frozen.send_replace(true);
    let b = world.host(2).await;
    world.run(seconds(60)).await;
    assert_eq!(b.count(), 2);
    let taken = b.tenure(0);
    assert_eq!(taken.epoch, stale.epoch + 1);
    assert_eq!(
        b.leases.checkpoint(&taken, up_to(9)).await,
        Ok(CheckpointOutcome::Done)
    );
    // ABA: the taker dies as well before the frozen one wakes.
    b.kill();
    world.run(seconds(60)).await;

    a.heard();
    assert_eq!(a.count(), 2, "frozen, it knows of nothing");
    assert!(
        !a.leases.may_act(),
        "awake, its readers must not go on before it has read the table"
    );
    a.frozen.send_replace(false);
    world.run(Duration::from_millis(1)).await;
    assert_eq!(a.count(), 0);
    assert!(a.leases.may_act());
    let lost = a
        .heard()
        .iter()
        .filter(|e| matches!(***e, Event::LeaseLost { .. }))
        .count();
    assert_eq!(lost, 2);
    assert_eq!(
        a.leases.checkpoint(&stale, up_to(7)).await,
        Ok(CheckpointOutcome::LeaseLost)
    );

    world.run(seconds(44)).await;
    let again = a.tenure(0);
    assert_eq!(again.epoch, stale.epoch + 2);
    assert_eq!(
        a.leases.read(&shard(0)).await.expect("readable").position,
        Some(position(9))
    );
    assert_eq!(
        a.leases.checkpoint(&stale, up_to(11)).await,
        Ok(CheckpointOutcome::LeaseLost)
    );
}

#[tokio::test]
async fn a_frozen_observer_does_not_count_its_own_sleep_against_others() {
    let world = World::new();
    let a = world.host(1).await;
    let b = world.host(1).await;
    world.run(seconds(25)).await;
    for host in [&a, &b] {
        host.frozen.send_replace(true);
    }
    world.run(seconds(600)).await;
    b.frozen.send_replace(false);
    world.run(seconds(5)).await;
    assert_eq!(b.count(), 0, "it judged by time it slept through");
    a.frozen.send_replace(false);
    world.run(seconds(120)).await;
    assert_eq!((a.count(), b.count()), (1, 0));
}

#[tokio::test]
async fn a_short_sleep_of_the_observer_restarts_its_count_as_well() {
    let world = World::new();
    let a = world.host(1).await;
    world.run(seconds(1)).await;
    let b = world.host(1).await;
    world.run(seconds(30)).await;
    a.kill();
    world.run(seconds(16)).await;
    b.frozen.send_replace(true);
    world.run(seconds(17)).await;
    b.frozen.send_replace(false);
    world.run(seconds(12)).await;
    assert_eq!(b.count(), 0, "it counted time it slept through");
    world.run(seconds(30)).await;
    assert_eq!(b.count(), 1);
}

#[tokio::test]
async fn children_are_taken_as_soon_as_they_may_be_read() {
    let world = World::new();
    let a = world.host(1).await;
    world.run(seconds(15)).await;
    a.candidates.send_replace(Arc::new((0..3).map(shard).collect()));
    world.run(Duration::from_millis(100)).await;
    assert_eq!(a.count(), 3);
}

#[tokio::test]
async fn case_15_an_ended_shard_is_taken_by_nobody() {
    let world = World::new();
    let a = world.host(2).await;
    world.run(seconds(1)).await;
    let tenure = a.tenure(1);
    let end = Checkpoint {
        ended: true,
        ..up_to(3)
    };
    assert_eq!(
        a.leases.checkpoint(&tenure, end).await,
        Ok(CheckpointOutcome::Done)
    );
    a.leases.release(&tenure).await;
    world.run(seconds(30)).await;
    assert_eq!(a.held().keys().cloned().collect::<Vec<_>>(), [shard(0)]);
}

#[tokio::test]
async fn case_9_idle_leases_cost_one_write_per_worker_and_tick() {
    let world = World::new();
    let a = world.host(200).await;
    world.run(seconds(1)).await;
    assert_eq!(a.count(), 200);
    let writes = |world: &World| {
        let all = [
            Purpose::Take,
            Purpose::Beat,
            Purpose::Checkpoint,
            Purpose::Release,
            Purpose::Retire,
        ];
        all.map(|purpose| world.table.count(Operation::Update(purpose)))
    };
    let before = writes(&world);
    world.run(seconds(600)).await;
    let after = writes(&world);
    let beats = after[1] - before[1];
    assert!((59..=67).contains(&beats), "{beats} beats in ten minutes");
    assert_eq!(
        (after[0], &after[2..]),
        (before[0], &before[2..]),
        "something else was written"
    );
}

#[tokio::test]
async fn rows_of_the_long_dead_are_made_free() {
    let world = World::new();
    let a = world.host(1).await;
    world.run(seconds(15)).await;
    let b = world.host(1).await;
    world.run(seconds(15)).await;
    a.kill();
    world.run(seconds(200)).await;
    assert_eq!(b.leases.workers().await.expect("readable").len(), 1);
}
