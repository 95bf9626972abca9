//! Rates, offers, and rows that nobody needs any more.

use std::collections::HashSet;

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

#[tokio::test]
async fn case_16_busy_shards_move_by_weight_and_then_stay() {
    let world = World::new();
    let one = world.host(8).await;
    world.run(seconds(3)).await;
    let two = world.host(8).await;
    settle(&world, &[&one, &two], 60).await;
    assert_eq!((one.count(), two.count()), (4, 4));
    // All that the first worker holds becomes busy, and nothing of the second's.
    let busy: HashSet<ShardId> = one.held().keys().cloned().collect();
    let mut sequence = 0;
    let mut moves = Vec::new();
    for _ in 0..20 {
        let before: HashSet<ShardId> = one.held().keys().cloned().collect();
        sequence += 1;
        for host in [&one, &two] {
            for (shard, held) in host.held().iter() {
                let rate = if busy.contains(shard) { 2_000_000 } else { 1000 };
                host.leases.report_rate(shard, rate);
                let done = host.leases.checkpoint(&held.tenure, up_to(sequence)).await;
                assert_eq!(done, Ok(CheckpointOutcome::Done));
            }
        }
        settle(&world, &[&one, &two], 60).await;
        let after: HashSet<ShardId> = one.held().keys().cloned().collect();
        moves.push(before.difference(&after).count());
    }
    let held = one.held();
    assert_eq!(held.keys().filter(|shard| busy.contains(shard)).count(), 2);
    assert!(
        moves.iter().sum::<usize>() <= 3 && moves[3..].iter().all(|moved| *moved == 0),
        "{moves:?}"
    );
}

#[tokio::test]
async fn a_rate_costs_no_write_of_its_own() {
    let world = World::new();
    let host = world.host(1).await;
    world.run(seconds(3)).await;
    for _ in 0..300 {
        host.leases.report_rate(&shard(0), 5_000_000);
        world.run(seconds(1)).await;
    }
    assert_eq!(world.table.count(Operation::Update(Purpose::Checkpoint)), 0);
    assert_eq!(world.text(0, "frazilRate"), None);
    host.leases
        .checkpoint(&host.tenure(0), up_to(1))
        .await
        .expect("written");
    assert_eq!(world.text(0, "frazilRate").as_deref(), Some("5000000"));
    // A release tells what no checkpoint did.
    for _ in 0..100 {
        host.leases.report_rate(&shard(0), 0);
    }
    host.leases.release(&host.tenure(0)).await;
    let rate: u64 = world
        .text(0, "frazilRate")
        .expect("told")
        .parse()
        .expect("a number");
    assert!(rate < 10, "{rate}");
}

#[tokio::test]
async fn a_shard_that_fails_here_goes_to_another_and_does_not_come_back() {
    let world = World::new();
    let one = world.host(2).await;
    let two = world.host(2).await;
    settle(&world, &[&one, &two], 30).await;
    assert_eq!((one.count(), two.count()), (1, 1));
    let failing = one.held().keys().next().expect("one").clone();
    one.leases
        .offer(&one.held()[&failing].tenure, "connection refused for 5 minutes")
        .await;
    settle(&world, &[&one, &two], 30).await;
    assert!(two.held().contains_key(&failing));
    // Even to even things out it is the other shard that moves.
    for _ in 0..20 {
        settle(&world, &[&one, &two], 30).await;
        assert!(!one.held().contains_key(&failing));
        assert_eq!((one.count(), two.count()), (1, 1));
    }
    // Given back in the ordinary way it is anybody's.
    two.leases.stop().await;
    settle(&world, &[&one], 30).await;
    assert_eq!(one.count(), 2);
    let n = usize::from(failing == shard(1));
    assert_eq!(world.text(n, "frazilFailedOn"), None);
}

#[tokio::test]
async fn one_who_is_alone_takes_back_what_it_offered() {
    let world = World::new();
    let host = world.host(1).await;
    world.run(seconds(3)).await;
    host.leases.offer(&host.tenure(0), "refused").await;
    assert_eq!(
        world.text(0, "frazilFailedOn"),
        Some(host.leases.worker().to_string())
    );
    assert_eq!(host.count(), 0);
    world.run(seconds(10)).await;
    assert_eq!(host.count(), 1);
}

#[tokio::test]
async fn what_nobody_took_for_long_is_taken_back() {
    let world = World::new();
    let one = world.host(1).await;
    let two = world.host(1).await;
    settle(&world, &[&one, &two], 30).await;
    let (holder, other) = if one.count() == 1 {
        (&one, &two)
    } else {
        (&two, &one)
    };
    // The other one beats, but leaves and takes nothing.
    other.leases.leave();
    holder.leases.offer(&holder.tenure(0), "refused").await;
    settle(&world, &[holder], 200).await;
    assert_eq!(holder.count(), 0);
    settle(&world, &[holder], 150).await;
    assert_eq!(holder.count(), 1);
}

#[tokio::test]
async fn rows_of_shards_that_are_gone_are_emptied_and_losses_are_told() {
    let world = World::new();
    let host = world.host(4).await;
    world.run(seconds(3)).await;
    for n in 0..2 {
        let end = Checkpoint {
            ended: true,
            ..up_to(9)
        };
        host.leases
            .checkpoint(&host.tenure(n), end)
            .await
            .expect("written");
    }
    host.leases.release(&host.tenure(0)).await;
    host.candidates.send_replace(Arc::new(vec![shard(3)]));
    world.run(seconds(10)).await;
    // Only the last is listed: 0 was ended and given back, 1 is ended but held, 2 was not ended.
    let gone: HashSet<ShardId> = (0..3).map(shard).collect();
    let unfinished = host.leases.forget_gone(&gone).await;
    assert_eq!(unfinished, Ok(vec![shard(2)]));
    assert_eq!(world.item(0).len(), 2, "{:?}", world.item(0));
    assert!(world.item(1).len() > 2 && world.item(2).len() > 2);
    let states = host.leases.all_states().await.expect("readable");
    assert!(
        states.iter().all(|state| state.shard != shard(0)),
        "an emptied row is no shard"
    );
    assert_eq!(
        host.leases.read(&shard(0)).await,
        Ok(ShardState::unknown(shard(0)))
    );
}
