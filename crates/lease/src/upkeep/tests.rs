use frazil_model::{PausedClock, Position, SeededRandom, SequenceNumber, StreamName, WorkerId};

use super::*;
use crate::fake::{Fault, MemoryLeases, Operation};
use crate::row::PIN_KEY;
use crate::state::{Checkpoint, Pin, PinnedStart, Tenure};
use crate::update::{Memory, Purpose};

fn scope() -> Scope {
    Scope {
        application: "app".to_owned(),
        stream: StreamName::new("clicks").expect("valid"),
    }
}

fn identity() -> StreamIdentity {
    StreamIdentity {
        arn: "arn".to_owned(),
        created_ms: 1,
    }
}

fn shard(n: usize) -> ShardId {
    ShardId::new(format!("shardId-{n:012}")).expect("valid")
}

fn worker() -> WorkerId {
    WorkerId::new("w").expect("valid")
}

struct World {
    clock: PausedClock,
    table: MemoryLeases,
}

impl World {
    /// A worker died here: it held two shards at record 77, the second of them at its end.
    async fn after_a_crash() -> Self {
        let (clock, table) = (PausedClock::at_wall_ms(5), MemoryLeases::default());
        let mut updates = vec![Update::claim("__node__#frazil-worker-w", &worker(), "host", 4, 5)];
        for n in 0..2 {
            let tenure = Tenure {
                shard: shard(n),
                epoch: 3,
                generation: 0,
            };
            let done = Checkpoint {
                position: Some(Position::whole(SequenceNumber::new("77").expect("digits"))),
                ended: n == 1,
                ..Checkpoint::default()
            };
            updates.push(Update::take(
                &shard(n),
                None,
                Memory::Keep,
                (&worker(), 3),
                &identity(),
                5,
            ));
            updates.push(Update::checkpoint(&worker(), &tenure, 1, &done, 5));
        }
        let pin = Pin {
            stream: identity(),
            start: PinnedStart::TrimHorizon,
            shards: Vec::new(),
        };
        updates.push(Update::pin(&pin, None, 5));
        for update in updates {
            assert_eq!(table.update(&scope(), &update).await, Ok(Written::Done));
        }
        Self { clock, table }
    }

    fn upkeep(&self) -> Upkeep {
        let random = Arc::new(SeededRandom::new(1));
        let store = Arc::new(self.table.clone());
        Upkeep::new(
            store,
            scope(),
            Arc::new(self.clock.clone()),
            random,
            Duration::from_secs(30),
        )
    }

    async fn drive<T>(&self, work: impl Future<Output = T>) -> T {
        let tick = async {
            for _ in 0..600 {
                self.clock.advance(Duration::from_secs(1)).await;
            }
        };
        tokio::select! { biased; done = work => done, () = tick => panic!("it never ends") }
    }

    async fn rewind(&self, shards: Option<&[ShardId]>, to: &ShardStart) -> Result<Changed, Error> {
        self.drive(self.upkeep().rewind(shards, to, &identity())).await
    }

    fn row(&self, n: usize) -> ShardRow {
        let item = self.table.peek(&scope(), shard(n).as_str()).expect("a row");
        match decode(&item) {
            Ok(Row::Shard(row)) => *row,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_rewound_shard_begins_elsewhere_in_a_new_generation() {
    let world = World::after_a_crash().await;
    let to = ShardStart::AtTimestamp { ms: 99 };
    let changed = world.rewind(Some(&[shard(1)]), &to).await.expect("rewound");
    assert_eq!(changed.shards, [shard(1)]);
    let row = world.row(1);
    assert_eq!(
        (row.state.generation, row.state.epoch, row.state.ended),
        (1, 4, false)
    );
    assert_eq!(
        (row.state.start, row.state.position, row.holder),
        (Some(to), None, Holder::Nobody)
    );
    assert!(
        !row.seen.contains_key(name::SEQUENCE_NUMBER),
        "Openflow would go on from it"
    );
    let untouched = world.row(0);
    assert_eq!((untouched.state.generation, untouched.state.epoch), (0, 3));
    // What the dead owner still had under way takes no effect.
    let tenure = Tenure {
        shard: shard(1),
        epoch: 3,
        generation: 0,
    };
    let late = Update::checkpoint(&worker(), &tenure, 9, &Checkpoint::default(), 6);
    assert!(matches!(
        world.table.update(&scope(), &late).await,
        Ok(Written::Refused(_))
    ));
}

#[tokio::test]
async fn all_shards_or_one_without_a_row_can_be_rewound() {
    let world = World::after_a_crash().await;
    let changed = world
        .rewind(None, &ShardStart::TrimHorizon)
        .await
        .expect("rewound");
    assert_eq!(changed.shards, [shard(0), shard(1)]);
    let sequence = crate::state::SequenceDigits(SequenceNumber::new("81").expect("digits"));
    let to = ShardStart::AtSequenceNumber { sequence };
    drop(world.rewind(Some(&[shard(7)]), &to).await.expect("rewound"));
    assert_eq!(world.row(7).state.start, Some(to));
    assert_eq!(world.row(7).state.generation, 1);
    let other = StreamIdentity {
        arn: "arn".to_owned(),
        created_ms: 2,
    };
    let refused = world.upkeep();
    let refused = world
        .drive(refused.rewind(None, &ShardStart::TrimHorizon, &other))
        .await;
    assert!(matches!(refused, Err(Error::OtherStream { .. })));
}

#[tokio::test]
async fn while_a_worker_lives_nothing_is_changed() {
    let world = World::after_a_crash().await;
    let lives = async {
        for beat in 5.. {
            Clock::sleep(&world.clock, Duration::from_secs(10)).await;
            let update = Update::beat("__node__#frazil-worker-w", &worker(), beat, 5);
            assert_eq!(world.table.update(&scope(), &update).await, Ok(Written::Done));
        }
    };
    let upkeep = world.upkeep();
    let to = ShardStart::TrimHorizon;
    let both = async {
        tokio::select! {
            () = lives => unreachable!("it lives for ever"),
            done = async { upkeep.rewind(None, &to, &identity()).await } => done,
        }
    };
    assert!(matches!(world.drive(both).await, Err(Error::InUse { .. })));
    assert_eq!(world.row(0).state.generation, 0);
    assert_eq!(world.table.count(Operation::Update(Purpose::Rewind)), 0);
}

#[tokio::test]
async fn a_lost_answer_is_recognised_and_a_rival_is_not_overwritten() {
    let world = World::after_a_crash().await;
    world
        .table
        .fail_next(Operation::Update(Purpose::Rewind), Fault::LoseAnswer);
    assert!(
        world
            .rewind(Some(&[shard(0)]), &ShardStart::TrimHorizon)
            .await
            .is_ok()
    );
    assert_eq!(world.row(0).state.generation, 1, "once, not twice");
    // Somebody takes the shard between the look and the write.
    let (upkeep, rival) = (world.upkeep(), world.table.clone());
    world
        .table
        .fail_next(Operation::Update(Purpose::Rewind), Fault::Hold);
    let row = world.row(0);
    let takes = async {
        while rival.count(Operation::Update(Purpose::Rewind)) < 3 {
            tokio::task::yield_now().await;
        }
        let take = Update::take(
            &shard(0),
            Some(&row),
            Memory::Keep,
            (&worker(), 9),
            &identity(),
            5,
        );
        assert_eq!(rival.update(&scope(), &take).await, Ok(Written::Done));
        rival.let_go();
        std::future::pending::<()>().await;
    };
    let both = async {
        tokio::select! {
            () = takes => unreachable!("it waits for ever"),
            done = async { upkeep.rewind(Some(&[shard(0)]), &ShardStart::TrimHorizon, &identity()).await } => done,
        }
    };
    assert!(matches!(world.drive(both).await, Err(Error::InUse { .. })));
    assert_eq!(world.row(0).state.epoch, 9);
}

#[tokio::test]
async fn case_88_after_a_removal_openflow_can_go_on() {
    let world = World::after_a_crash().await;
    let upkeep = world.upkeep();
    let changed = world
        .drive(upkeep.remove_leases(Removal::Owners))
        .await
        .expect("removed");
    assert_eq!((changed.shards.len(), changed.others), (2, 1));
    let row = world.row(1);
    assert_eq!(
        (&row.holder, row.state.ended, row.state.epoch),
        (&Holder::Nobody, true, 4)
    );
    assert!(row.state.position.is_some());

    let changed = world
        .drive(upkeep.remove_leases(Removal::Memory))
        .await
        .expect("removed");
    assert_eq!((changed.shards.len(), changed.others), (2, 1));
    let item = world.table.peek(&scope(), shard(1).as_str()).expect("a row");
    let names: Vec<&str> = item.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "frazilEpoch",
            "frazilGeneration",
            "lastUpdateTimestamp",
            "sequenceNumber",
            "shardId",
            "streamName"
        ]
    );
    let pin = world.table.peek(&scope(), PIN_KEY).expect("a row");
    assert_eq!(decode(&pin), Ok(Row::Other));
}

#[tokio::test]
async fn another_programs_lease_is_left() {
    let world = World::after_a_crash().await;
    let foreign = [
        (name::LEASE_OWNER, Attribute::text("nifi")),
        (name::LEASE_EXPIRY, Attribute::number(5)),
    ];
    world.table.put(&scope(), shard(3).as_str(), foreign);
    let upkeep = world.upkeep();
    let changed = world
        .drive(upkeep.remove_leases(Removal::Memory))
        .await
        .expect("removed");
    assert_eq!(changed.shards, [shard(0), shard(1)]);
    assert!(matches!(world.row(3).holder, Holder::Foreign(_)));
}

#[tokio::test]
async fn a_table_is_deleted_only_with_the_right_and_without_other_streams() {
    let world = World::after_a_crash().await;
    let upkeep = world.upkeep();
    let other = Scope {
        stream: StreamName::new("orders").expect("valid"),
        ..scope()
    };
    world.table.put(&other, "shardId-1", []);
    let error = world
        .drive(upkeep.delete_table(&world.table))
        .await
        .expect_err("refused");
    assert!(
        matches!(&error, Error::InUse { detail, .. } if detail.contains("orders")),
        "{error}"
    );
    world.table.delete(&other, "shardId-1");
    let denied = Error::AccessDenied {
        call: "DeleteTable",
        table: "app".to_owned(),
        detail: "no".to_owned(),
    };
    world
        .table
        .fail_next(Operation::Delete, Fault::Reject(denied.clone()));
    assert_eq!(world.drive(upkeep.delete_table(&world.table)).await, Err(denied));
    assert_eq!(world.drive(upkeep.delete_table(&world.table)).await, Ok(()));
    assert_eq!(world.table.layout("app"), None);
}
