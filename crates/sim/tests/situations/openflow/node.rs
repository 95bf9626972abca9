//! A node of the Openflow connector for Kinesis (Apache NiFi, `ConsumeKinesis`, 2.12): its rules of the lease table.
//!
//! What it keeps to: a lease lives 30 s by wall clocks and is renewed every 10 s; a row may be taken that has no owner, or is
//! its own, or whose expiry is past; a checkpoint writes `sequenceNumber` and asks for nothing but its own ownership; each node
//! takes no more than its share of all listed shards; a stop gives every lease back and clears its heartbeat. It begins after
//! `sequenceNumber`, and without one at the oldest record; it delivers first and checkpoints then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use frazil_kinesis::fake::FakeKinesis;
use frazil_kinesis::{Aggregate, Kinesis, Place, Record, StartAt, is_aggregate};
use frazil_lease::fake::MemoryLeases;
use frazil_lease::row::{Attribute, Item, NODE_PREFIX, key_of, name};
use frazil_lease::update::{Condition, Purpose, Update};
use frazil_lease::{LeaseStore, Written};
use frazil_model::{Clock, PausedClock, SequenceNumber, ShardId};

use crate::world::World;

const LEASE_MS: i64 = 30_000;
const REFRESH_MS: i64 = 10_000;
const NODE_MS: i64 = LEASE_MS + REFRESH_MS;

/// A node under way. Nothing of it moves by itself: call [`Node::turn`] about every 10 s.
pub(super) struct Node {
    name: &'static str,
    leases: MemoryLeases,
    kinesis: Arc<FakeKinesis>,
    clock: PausedClock,
    /// Its shards, and after where it reads on.
    pub(super) owned: BTreeMap<ShardId, Option<SequenceNumber>>,
    /// Shards it gives up, and when.
    leaving: BTreeMap<ShardId, i64>,
    /// The numbers of the events that it delivered, in this order.
    pub(super) delivered: Vec<u64>,
    /// Whether what it delivers is checkpointed.
    pub(super) checkpoints: bool,
}

impl Node {
    pub(super) fn new(world: &World, name: &'static str) -> Self {
        Self {
            name,
            leases: world.leases.another_door(),
            kinesis: world.kinesis.clone(),
            clock: world.clock.clone(),
            owned: BTreeMap::new(),
            leaving: BTreeMap::new(),
            delivered: Vec::new(),
            checkpoints: true,
        }
    }

    /// One refresh of its leases, and one batch of each of its shards.
    pub(super) async fn turn(&mut self) {
        self.beat(true).await;
        let rows = self.rows().await;
        self.share(&rows).await;
        for shard in self.owned.keys().cloned().collect::<Vec<_>>() {
            self.read(&shard).await;
        }
    }

    /// Stops as told by a person: every lease is given back.
    pub(super) async fn stop(&mut self) {
        let given_up: BTreeSet<ShardId> = self.owned.keys().chain(self.leaving.keys()).cloned().collect();
        for shard in given_up {
            self.release(&shard).await;
        }
        (self.owned, self.leaving) = (BTreeMap::new(), BTreeMap::new());
        self.beat(false).await;
    }

    async fn rows(&self) -> BTreeMap<String, Item> {
        let items = self.leases.rows(&World::scope(), "").await.expect("readable");
        let keyed = items.into_iter().map(|item| (key_of(&item).to_owned(), item));
        keyed.collect()
    }

    async fn share(&mut self, rows: &BTreeMap<String, Item>) {
        let now = self.clock.wall_ms();
        let listed = self.kinesis.list_shards().await.expect("a list");
        let ids: Vec<ShardId> = listed.into_iter().map(|shard| shard.id).collect();
        let owner = |shard: &ShardId| rows.get(shard.as_str())?.get(name::LEASE_OWNER);
        let me = Attribute::text(self.name);
        self.owned
            .retain(|shard, _| owner(shard) == Some(&me) && ids.contains(shard));
        let nodes = rows.iter().filter(|(key, item)| {
            key.starts_with(NODE_PREFIX)
                && number(item, name::NODE_HEARTBEAT).is_some_and(|at| at + NODE_MS >= now)
        });
        let target = ids.len().div_ceil(nodes.count().max(1));
        while self.owned.len() > target {
            let (shard, _) = self.owned.pop_last().expect("it is longer");
            self.leaving.insert(shard, now + REFRESH_MS);
        }
        for shard in self.owned.keys().cloned().collect::<Vec<_>>() {
            self.acquire(&shard).await;
        }
        for (shard, until) in self.leaving.clone() {
            if until > now {
                self.acquire(&shard).await;
            } else {
                self.release(&shard).await;
                self.leaving.remove(&shard);
            }
        }
        for shard in ids {
            let expiry = rows
                .get(shard.as_str())
                .and_then(|row| number(row, name::LEASE_EXPIRY));
            let is_free = owner(&shard).is_none() || expiry.is_some_and(|expiry| expiry < now);
            let may = is_free && !self.owned.contains_key(&shard) && !self.leaving.contains_key(&shard);
            if may && self.owned.len() < target && self.acquire(&shard).await {
                let after = self.checkpoint_of(&shard).await;
                self.owned.insert(shard, after);
            }
        }
    }

    /// Takes or renews; whether it may.
    pub(super) async fn acquire(&self, shard: &ShardId) -> bool {
        let now = self.clock.wall_ms();
        let free = vec![
            Condition::Absent(name::LEASE_OWNER),
            Condition::Is(name::LEASE_OWNER, Attribute::text(self.name)),
            Condition::Below(name::LEASE_EXPIRY, Attribute::number(now)),
        ];
        let set = vec![
            (name::LEASE_OWNER, Attribute::text(self.name)),
            (name::LEASE_EXPIRY, Attribute::number(now + LEASE_MS)),
            (name::LAST_UPDATE, Attribute::number(now)),
        ];
        self.write(shard.as_str(), vec![Condition::Any(free)], set, Vec::new())
            .await
    }

    async fn release(&self, shard: &ShardId) {
        let mine = Condition::Is(name::LEASE_OWNER, Attribute::text(self.name));
        let gone = vec![name::LEASE_OWNER, name::LEASE_EXPIRY];
        self.write(shard.as_str(), vec![mine], Vec::new(), gone).await;
    }

    async fn checkpoint(&self, shard: &ShardId, sequence: &SequenceNumber) {
        let now = self.clock.wall_ms();
        let mine = Condition::Is(name::LEASE_OWNER, Attribute::text(self.name));
        let set = vec![
            (name::SEQUENCE_NUMBER, Attribute::text(sequence)),
            (name::LEASE_EXPIRY, Attribute::number(now + LEASE_MS)),
            (name::LAST_UPDATE, Attribute::number(now)),
        ];
        // Refused, it is logged and swallowed.
        self.write(shard.as_str(), vec![mine], set, Vec::new()).await;
    }

    async fn checkpoint_of(&self, shard: &ShardId) -> Option<SequenceNumber> {
        let row = self.leases.row(&World::scope(), shard.as_str()).await;
        match row.expect("readable")?.get(name::SEQUENCE_NUMBER)? {
            Attribute::S(digits) => SequenceNumber::new(digits).ok(),
            _ => None,
        }
    }

    async fn beat(&self, lives: bool) {
        let now = Attribute::number(self.clock.wall_ms());
        let key = format!("{NODE_PREFIX}{}", self.name);
        let (set, gone) = if lives {
            let set = vec![(name::NODE_HEARTBEAT, now.clone()), (name::LAST_UPDATE, now)];
            (set, Vec::new())
        } else {
            // A row of two keys stays behind.
            (Vec::new(), vec![name::NODE_HEARTBEAT, name::LAST_UPDATE])
        };
        self.write(&key, Vec::new(), set, gone).await;
    }

    async fn write(
        &self,
        key: &str,
        conditions: Vec<Condition>,
        set: Vec<(&'static str, Attribute)>,
        remove: Vec<&'static str>,
    ) -> bool {
        let update = Update {
            purpose: Purpose::Migrate,
            key: key.to_owned(),
            conditions,
            set,
            remove,
        };
        let written = self.leases.update(&World::scope(), &update).await;
        written.expect("an answer") == Written::Done
    }

    /// Delivers what the shard has behind where it stands, and checkpoints.
    async fn read(&mut self, shard: &ShardId) {
        let after = self.owned.get(shard).cloned().flatten();
        let start = after.map_or(StartAt::TrimHorizon, StartAt::After);
        let mut iterator = Some(self.kinesis.shard_iterator(shard, &start).await.expect("there"));
        let mut last = None;
        while let Some(at) = iterator.take() {
            let page = self.kinesis.get_records(&at, 10_000, usize::MAX).await;
            let page = page.expect("a page");
            for record in page.records() {
                self.delivered.extend(numbers(&record));
                last = Some(SequenceNumber::new(record.sequence_number).expect("digits"));
            }
            iterator = page.next.clone().filter(|_| !page.is_empty());
        }
        if let Some(last) = last {
            if self.checkpoints {
                self.checkpoint(shard, &last).await;
            }
            self.owned.insert(shard.clone(), Some(last));
        }
    }
}

fn number(item: &Item, name: &str) -> Option<i64> {
    match item.get(name)? {
        Attribute::N(digits) => digits.parse().ok(),
        _ => None,
    }
}

/// The numbers of a record's events: one, or those of the user records of an aggregate.
fn numbers(record: &Record<'_>) -> Vec<u64> {
    let mut data = Vec::new();
    assert!(record.data.decode_into(&mut data), "sound base64");
    let number = |data: &[u8]| {
        let event: serde_json::Value = serde_json::from_slice(data).expect("JSON");
        event["n"].as_u64().expect("a number")
    };
    if !is_aggregate(&data) {
        return vec![number(&data)];
    }
    let mut aggregate = Aggregate::default();
    aggregate.open(&data).expect("sound");
    let users = aggregate.records(Place::default());
    users.map(|user| number(user.data)).collect()
}
