//! Beside, before and after Openflow, whose conditions [`Openflow`] follows.

use super::*;
use crate::row::name;

/// A node of the Openflow connector: what it does to rows, and when it may (its lease is judged by wall clocks).
struct Openflow<'a> {
    world: &'a World,
    node: &'static str,
}

const OPENFLOW_LEASE_MS: i64 = 30_000;

impl Openflow<'_> {
    fn read(&self, n: usize) -> (Option<String>, Option<i64>) {
        let Some(item) = self.world.table.peek(&self.world.scope, shard(n).as_str()) else {
            return (None, None);
        };
        let text = |name: &str| match item.get(name) {
            Some(Attribute::S(text) | Attribute::N(text)) => Some(text.clone()),
            _ => None,
        };
        (
            text(name::LEASE_OWNER),
            text(name::LEASE_EXPIRY).and_then(|text| text.parse().ok()),
        )
    }

    /// Acquires or renews: no owner, or its own, or the expiry is past.
    fn acquire(&self, n: usize) -> bool {
        let now = self.world.clock.wall_ms();
        let (owner, expiry) = self.read(n);
        let may = owner.is_none_or(|owner| owner == self.node) || expiry.is_some_and(|expiry| expiry < now);
        if may {
            let attributes = [
                (name::LEASE_OWNER, Attribute::text(self.node)),
                (name::LEASE_EXPIRY, Attribute::number(now + OPENFLOW_LEASE_MS)),
                (name::LAST_UPDATE, Attribute::number(now)),
            ];
            self.world
                .table
                .put(&self.world.scope, shard(n).as_str(), attributes);
        }
        may
    }

    fn checkpoint(&self, n: usize, sequence: &str) {
        assert_eq!(
            self.read(n).0.as_deref(),
            Some(self.node),
            "Openflow asks for its ownership"
        );
        let attributes = [(name::SEQUENCE_NUMBER, Attribute::text(sequence))];
        self.world
            .table
            .put(&self.world.scope, shard(n).as_str(), attributes);
    }

    fn release(&self, n: usize) {
        let key = shard(n);
        let mut item = self.world.item(n);
        item.remove(name::LEASE_OWNER);
        item.remove(name::LEASE_EXPIRY);
        self.world.table.delete(&self.world.scope, key.as_str());
        let attributes = item.into_iter().filter_map(|(name, value)| {
            let known = ALL.iter().find(|known| **known == name)?;
            Some((*known, value))
        });
        self.world.table.put(&self.world.scope, key.as_str(), attributes);
    }

    fn heartbeat(&self) {
        let now = self.world.clock.wall_ms();
        let key = format!("__node__#{}", self.node);
        self.world.table.put(
            &self.world.scope,
            &key,
            [(name::NODE_HEARTBEAT, Attribute::number(now))],
        );
    }
}

/// The attributes of a shard's row that this test may meet.
const ALL: [&str; 13] = [
    name::CHANNELS,
    name::SEQUENCE_NUMBER,
    name::LAST_UPDATE,
    name::POSITION,
    name::SEQUENCE,
    name::EPOCH,
    name::GENERATION,
    name::SERIAL,
    name::ROWS_INSERTED,
    name::ROW_ERRORS,
    name::STREAM,
    name::CHANNEL,
    name::DESTINATION,
];

#[tokio::test]
async fn case_88_after_openflow_frazil_goes_on_and_after_frazil_openflow_does() {
    let world = World::new();
    let openflow = Openflow {
        world: &world,
        node: "0b0e4b9e-7a4d-4f55-9a3b-7b0a1f2c3d4e",
    };
    assert!(openflow.acquire(0));
    openflow.checkpoint(0, "100");
    openflow.release(0);

    let a = world.host(1).await;
    world.run(seconds(1)).await;
    let state = a.leases.read(&shard(0)).await.expect("readable");
    assert_eq!(state.position, Some(position(100)));
    assert!(!state.foreign_moved, "taken over, it is Frazil's own");
    assert_eq!(
        a.leases.checkpoint(&a.tenure(0), up_to(120)).await,
        Ok(CheckpointOutcome::Done)
    );
    world.run(seconds(7200)).await;
    assert!(!openflow.acquire(0), "Openflow takes a shard that Frazil holds");

    a.leases.stop().await;
    assert_eq!(world.text(0, "sequenceNumber").as_deref(), Some("120"));
    assert!(openflow.acquire(0));
    openflow.checkpoint(0, "150");
    openflow.release(0);

    let b = world.host(1).await;
    world.run(seconds(1)).await;
    assert_eq!(
        b.leases.read(&shard(0)).await.expect("readable").position,
        Some(position(150))
    );
    assert_eq!(
        b.leases.checkpoint(&b.tenure(0), up_to(151)).await,
        Ok(CheckpointOutcome::Done)
    );
}

#[tokio::test]
async fn a_living_foreign_owner_stops_its_shard_alone() {
    let world = World::new();
    let openflow = Openflow {
        world: &world,
        node: "node-1",
    };
    assert!(openflow.acquire(0));
    let mut a = world.host(3).await;
    for _ in 0..30 {
        assert!(openflow.acquire(0), "Openflow lost its lease");
        world.run(seconds(10)).await;
    }
    assert_eq!(a.count(), 2);
    assert_eq!(a.leases.stalled()[&shard(0)].0, StallReason::ForeignOwner);
    let told = a.heard();
    let stalls = told
        .iter()
        .filter(|e| matches!(***e, Event::ShardStalled { .. }))
        .count();
    assert_eq!(stalls, 1, "a stall is told once");
    // It dies: its lease stands still.
    world.run(seconds(80)).await;
    assert_eq!(a.count(), 2);
    world.run(seconds(20)).await;
    assert_eq!(a.count(), 3);
    assert!(a.leases.stalled().is_empty());
}

#[tokio::test]
async fn a_foreign_owner_on_a_held_row_ends_the_tenure() {
    let world = World::new();
    let mut a = world.host(2).await;
    world.run(seconds(5)).await;
    let tenure = a.tenure(0);
    let theirs = [
        (name::LEASE_OWNER, Attribute::text("node-1")),
        (name::LEASE_EXPIRY, Attribute::number(5)),
    ];
    world.table.put(&world.scope, shard(0).as_str(), theirs);
    world.run(seconds(12)).await;
    assert!(!a.held().contains_key(&shard(0)) && a.held().contains_key(&shard(1)));
    assert!(a.leases.stalled()[&shard(0)].1.contains("node-1"));
    assert!(a.heard().iter().any(|e| matches!(**e, Event::LeaseLost { .. })));
    assert_eq!(
        a.leases.checkpoint(&tenure, up_to(9)).await,
        Ok(CheckpointOutcome::LeaseLost)
    );
}

#[tokio::test]
async fn beside_a_beating_foreign_node_no_shard_is_taken() {
    let world = World::new();
    let openflow = Openflow {
        world: &world,
        node: "node-1",
    };
    openflow.heartbeat();
    let a = world.host(2).await;
    for _ in 0..20 {
        world.run(seconds(10)).await;
        openflow.heartbeat();
    }
    assert_eq!(a.count(), 0);
    assert_eq!(a.leases.stalled()[&shard(1)].0, StallReason::ForeignOwner);
    world.run(seconds(100)).await;
    assert_eq!(a.count(), 2);
}

#[tokio::test]
async fn a_position_that_another_program_moved_replaces_ours() {
    let world = World::new();
    let a = world.host(1).await;
    world.run(seconds(1)).await;
    let tenure = a.tenure(0);
    assert_eq!(
        a.leases.checkpoint(&tenure, up_to(100)).await,
        Ok(CheckpointOutcome::Done)
    );
    let theirs = [(name::SEQUENCE_NUMBER, Attribute::text("40"))];
    world.table.put(&world.scope, shard(0).as_str(), theirs);
    let state = a.leases.read(&shard(0)).await.expect("readable");
    assert!(state.foreign_moved);
    assert_eq!(
        a.leases.checkpoint(&tenure, up_to(110)).await,
        Ok(CheckpointOutcome::LeaseLost)
    );
    world.run(seconds(15)).await;
    let again = a.tenure(0);
    assert_eq!(again.epoch, tenure.epoch + 1);
    let state = a.leases.read(&shard(0)).await.expect("readable");
    assert_eq!((state.position, state.foreign_moved), (Some(position(40)), false));
    assert_eq!(
        a.leases.checkpoint(&again, up_to(41)).await,
        Ok(CheckpointOutcome::Done)
    );
}
