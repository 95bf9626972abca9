//! Takeovers over tables in memory, on a clock that the test moves.

mod crashes;
mod golden;
mod markers;
mod plans;

use frazil_model::{PausedClock, SeededRandom, SequenceNumber};

use super::*;
use crate::fake::MemoryLeases;
use crate::row::{Attribute, Item, PIN_KEY, Row, decode};
use crate::state::ShardState;
use crate::store::{LeaseStore, Scope};

const APP: &str = "app";
const WALL_MS: i64 = 1_700_000_000_000;

fn shard(n: usize) -> ShardId {
    ShardId::new(format!("shardId-{n:012}")).expect("valid")
}

fn identity() -> StreamIdentity {
    StreamIdentity {
        arn: "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks".to_owned(),
        created_ms: 1_600_000_000_123,
    }
}

fn scope() -> Scope {
    Scope {
        application: APP.to_owned(),
        stream: StreamName::new("clicks").expect("valid"),
    }
}

fn item(attributes: &[(&str, Attribute)]) -> Item {
    let attributes = attributes
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()));
    attributes.collect()
}

/// A row as version 2 of the library writes it.
fn kcl(key: &str, checkpoint: &str, sub_sequence: u64, counter: u64) -> Item {
    item(&[
        ("leaseKey", Attribute::text(key)),
        ("leaseCounter", Attribute::number(counter)),
        ("leaseOwner", Attribute::text("worker-1")),
        ("checkpoint", Attribute::text(checkpoint)),
        ("checkpointSubSequenceNumber", Attribute::number(sub_sequence)),
        ("ownerSwitchesSinceCheckpoint", Attribute::number(0)),
        ("parentShardId", Attribute::Other),
    ])
}

fn listed(n: usize, parents: &[usize], closed: bool) -> ListedShard {
    ListedShard {
        id: shard(n),
        parents: parents.iter().map(|n| shard(*n)).collect(),
        closed,
    }
}

struct World {
    clock: PausedClock,
    table: MemoryLeases,
}

impl World {
    fn new(layout: Layout, items: Vec<Item>) -> Self {
        let table = MemoryLeases::default();
        table.put_table(APP, layout, items);
        Self {
            clock: PausedClock::at_wall_ms(WALL_MS),
            table,
        }
    }

    fn options(seed: u64) -> MigrateOptions {
        let worker = WorkerId::random(&SeededRandom::new(seed));
        let stream = StreamName::new("clicks").expect("valid");
        MigrateOptions::new(APP, stream, identity(), PinnedStart::TrimHorizon, worker, WALL_MS)
    }

    fn migration(&self, door: &MemoryLeases, options: MigrateOptions) -> Migration {
        let random = Arc::new(SeededRandom::new(1));
        Migration::new(
            Arc::new(door.clone()),
            options,
            Arc::new(self.clock.clone()),
            random,
        )
    }

    /// Runs it while the clock goes; `None` where its process died or half an hour was not enough.
    async fn drive<T>(&self, door: &MemoryLeases, work: impl Future<Output = T>) -> Option<T> {
        let tick = async {
            for _ in 0..1800 {
                self.clock.advance(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = door.died() => None,
            () = tick => None,
        }
    }

    async fn carry_out(&self, options: MigrateOptions) -> Result<Outcome, Error> {
        let migration = self.migration(&self.table, options);
        let done = self.drive(&self.table, migration.carry_out()).await;
        done.expect("it ends in time")
    }

    async fn state(&self, application: &str, n: usize) -> Option<ShardState> {
        let scope = Scope {
            application: application.to_owned(),
            ..scope()
        };
        let row = self
            .table
            .row(&scope, shard(n).as_str())
            .await
            .expect("readable")?;
        match decode(&row) {
            Ok(Row::Shard(row)) => Some(row.state),
            other => panic!("{other:?}"),
        }
    }

    async fn pin(&self, application: &str) -> Option<Pin> {
        let scope = Scope {
            application: application.to_owned(),
            ..scope()
        };
        let row = self.table.row(&scope, PIN_KEY).await.expect("readable")?;
        match decode(&row) {
            Ok(Row::Pin(pin)) => Some(*pin),
            other => panic!("{other:?}"),
        }
    }
}

fn inside(sequence: &str, sub_sequence: u64) -> Position {
    Position {
        sub_sequence,
        last: false,
        ..Position::whole(SequenceNumber::new(sequence).expect("digits"))
    }
}

/// What most tests take over: a finished parent, a child in the midst of an aggregate, one at a record, one never read.
fn usual() -> Vec<Item> {
    vec![
        kcl(shard(0).as_str(), "SHARD_END", 0, 9),
        kcl(shard(1).as_str(), "4950", 3, 9),
        kcl(shard(2).as_str(), "4960", 0, 9),
        kcl(shard(3).as_str(), "LATEST", 0, 9),
    ]
}
