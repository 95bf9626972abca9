//! Openflow before, after and beside the real connector, on one application: one lease table, one stream.
//!
//! Each event has a number. What either program delivered is counted by these numbers, per program and together.

mod node;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use frazil_kinesis::{Aggregator, AimedRecord, NewRecord};
use frazil_lease::row::{Attribute, name};
use frazil_lease::update::{Purpose, Update};
use frazil_lease::upkeep::{Removal, Upkeep};
use frazil_lease::{Error as LeaseError, LeaseStore};
use frazil_model::{Clock, SeededRandom, ShardId};

use crate::world::{ARRIVAL_MS, Worker, World};
use node::Node;

/// Another program's lease or node that stood still for so long is dead, and the looks around that.
const FOREIGN_STILL_S: u64 = 90 + 2 * 10;
/// Each tick a worker reads the rows and lets go of what is not its own.
const TICK_MS: i64 = 10_000;

/// A stream that both programs read, and the numbers of its events.
struct Stream {
    world: World,
    next: u64,
}

/// What became of the events, by number.
#[derive(Debug, PartialEq, Eq)]
struct Tally {
    events: u64,
    lost: u64,
    /// Deliveries beyond the first of an event, by whichever program.
    doubled: u64,
    /// Of these, such that one program alone made.
    doubled_by_frazil: u64,
}

impl Stream {
    fn of(shards: usize) -> Self {
        Self {
            world: World::of(shards, ARRIVAL_MS),
            next: 0,
        }
    }

    fn event(&mut self) -> Vec<u8> {
        self.next += 1;
        format!("{{\"n\":{}}}", self.next - 1).into_bytes()
    }

    /// Puts so many Kinesis records over all shards; each fifth is an aggregate of three events.
    fn put(&mut self, records: usize) {
        self.put_into(&self.world.kinesis.shard_ids(), records);
    }

    fn put_into(&mut self, shards: &[ShardId], records: usize) {
        for record in 0..records {
            let shard = &shards[record % shards.len()];
            if record % 5 < 4 {
                let data = self.event();
                self.world.kinesis.put(shard, "k", &data);
                continue;
            }
            let mut aggregator = Aggregator::default();
            for _ in 0..3 {
                let (key, data) = ("k".to_owned(), self.event());
                let none = aggregator.add(&AimedRecord::from(NewRecord { key, data }));
                assert_eq!(none, None);
            }
            let whole = aggregator.finish().expect("three events").record;
            self.world.kinesis.put(shard, &whole.key, &whole.data);
        }
    }

    /// The numbers of Frazil's rows in the table.
    fn rows(&self) -> Vec<u64> {
        let mut numbers = Vec::new();
        for batch in self.world.snowpipe.committed() {
            let text = zstd::decode_all(&batch.body[..]).expect("zstd");
            for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let row: serde_json::Value = serde_json::from_slice(line).expect("JSON");
                numbers.push(row["n"].as_u64().expect("a number"));
            }
        }
        numbers
    }

    fn tally(&self, nodes: &[&Node]) -> Tally {
        let (mut all, mut ours): (BTreeMap<u64, u64>, BTreeMap<u64, u64>) = Default::default();
        for number in self.rows() {
            *all.entry(number).or_default() += 1;
            *ours.entry(number).or_default() += 1;
        }
        for number in nodes.iter().flat_map(|node| &node.delivered) {
            *all.entry(*number).or_default() += 1;
        }
        let beyond = |counts: &BTreeMap<u64, u64>| counts.values().map(|count| count - 1).sum();
        Tally {
            events: self.next,
            lost: self.next - all.len() as u64,
            doubled: beyond(&all),
            doubled_by_frazil: beyond(&ours),
        }
    }

    fn each_once(&self) -> Tally {
        Tally {
            events: self.next,
            lost: 0,
            doubled: 0,
            doubled_by_frazil: 0,
        }
    }

    /// Commits until each event that Openflow has not delivered is a row of Frazil's.
    async fn frazil_reads_the_rest(&self, nodes: &[&Node]) {
        self.world
            .until("the rest", async |world| {
                world.snowpipe.commit_all();
                self.tally(nodes).lost == 0
            })
            .await;
    }

    async fn stalls_as_foreign(&self, shard: &ShardId) {
        let named = format!("stalled {shard} foreign_owner");
        self.world
            .until(&named, async |world| world.told.count(&named) > 0)
            .await;
    }

    /// Owner and expiry taken off a row by hand, while its owner runs.
    async fn strip(&self, shard: &ShardId) {
        let update = Update {
            purpose: Purpose::Remove,
            key: shard.to_string(),
            conditions: Vec::new(),
            set: Vec::new(),
            remove: vec![name::LEASE_OWNER, name::LEASE_EXPIRY],
        };
        let written = self.world.leases.update(&World::scope(), &update).await;
        written.expect("written");
    }

    fn attribute(&self, shard: &ShardId, name: &str) -> Option<Attribute> {
        let row = self.world.leases.peek(&World::scope(), shard.as_str())?;
        row.get(name).cloned()
    }

    async fn end(&self, worker: Worker) {
        self.world.end(worker).await;
    }
}

#[tokio::test]
async fn case_88_after_openflow_was_drained_frazil_goes_on_without_loss_and_double() {
    let mut stream = Stream::of(3);
    stream.put(60);
    let mut openflow = Node::new(&stream.world, "node-1");
    openflow.turn().await;
    stream.world.advance(10).await;
    stream.put(30);
    openflow.turn().await;
    openflow.stop().await;
    let by_openflow = openflow.delivered.len() as u64;
    assert_eq!(by_openflow, stream.next, "Openflow left something unread");

    stream.put(45);
    let begun = stream.world.clock.now();
    let worker = stream.world.worker();
    stream.frazil_reads_the_rest(&[&openflow]).await;
    assert_eq!(stream.tally(&[&openflow]), stream.each_once());
    assert_eq!(stream.rows().len() as u64, stream.next - by_openflow);
    let took = stream.world.clock.now().since(begun);
    assert!(
        took < Duration::from_secs(30),
        "nothing was to be waited for: {took:?}"
    );
    assert_eq!(stream.world.told.count("stalled"), 0);
    // Nothing comes twice later on, either.
    stream.world.advance(120).await;
    stream.end(worker).await;
    assert_eq!(stream.tally(&[&openflow]), stream.each_once());
}

#[tokio::test]
async fn case_88_after_openflow_died_frazil_waits_and_repeats_what_was_not_checkpointed() {
    let mut stream = Stream::of(2);
    stream.put(40);
    let mut openflow = Node::new(&stream.world, "node-1");
    openflow.turn().await;
    let checkpointed = openflow.delivered.len() as u64;
    stream.put(20);
    openflow.checkpoints = false;
    openflow.turn().await;
    let repeated = openflow.delivered.len() as u64 - checkpointed;
    assert!(repeated > 20, "{repeated}");

    // It is gone, and its leases stand.
    let shards = stream.world.kinesis.shard_ids();
    let begun = stream.world.clock.now();
    let worker = stream.world.worker();
    stream.stalls_as_foreign(&shards[0]).await;
    stream.world.advance(60).await;
    assert!(stream.rows().is_empty(), "taken while its owner may live");
    stream.put(10);
    stream.frazil_reads_the_rest(&[&openflow]).await;
    let took = stream.world.clock.now().since(begun).as_secs();
    assert!((80..=FOREIGN_STILL_S).contains(&took), "taken after {took} s");
    stream.end(worker).await;
    let expected = Tally {
        doubled: repeated,
        ..stream.each_once()
    };
    assert_eq!(stream.tally(&[&openflow]), expected);
}

#[tokio::test]
async fn case_88_after_frazil_was_stopped_openflow_goes_on_and_back_again() {
    let mut stream = Stream::of(2);
    stream.put(50);
    let worker = stream.world.worker();
    stream.frazil_reads_the_rest(&[]).await;
    let mut openflow = Node::new(&stream.world, "node-1");
    stream.end(worker).await;

    stream.put(30);
    openflow.turn().await;
    assert_eq!(openflow.owned.len(), 2, "a lease was not given back");
    assert_eq!(stream.tally(&[&openflow]), stream.each_once());
    assert_eq!(openflow.delivered.len(), 42);
    openflow.stop().await;

    // And back: the channels' tokens of before are behind what Openflow checkpointed.
    stream.put(30);
    let worker = stream.world.worker();
    stream.frazil_reads_the_rest(&[&openflow]).await;
    stream.world.advance(120).await;
    stream.end(worker).await;
    assert_eq!(stream.tally(&[&openflow]), stream.each_once());
}

#[tokio::test]
async fn case_88_after_frazil_died_a_removal_of_its_leases_lets_openflow_go_on() {
    let mut stream = Stream::of(2);
    stream.put(50);
    let worker = stream.world.worker();
    stream.frazil_reads_the_rest(&[]).await;
    stream.world.advance(70).await;
    let checkpointed = stream.next;
    let upkeep = Upkeep::new(
        Arc::new(stream.world.leases.another_door()),
        World::scope(),
        Arc::new(stream.world.clock.clone()),
        Arc::new(SeededRandom::new(7)),
        Duration::from_secs(90),
    );
    let remove = |upkeep: Upkeep| tokio::spawn(async move { upkeep.remove_leases(Removal::Owners).await });
    let refused = remove(upkeep.clone());
    stream.world.advance(95).await;
    let refused = refused.await.expect("no panic");
    assert!(
        matches!(refused, Err(LeaseError::InUse { .. })),
        "done while a worker lives: {refused:?}"
    );
    // Committed and not checkpointed: that comes again from whoever goes on by the checkpoint.
    stream.put(10);
    stream.frazil_reads_the_rest(&[]).await;
    stream.world.kill(worker);

    let mut openflow = Node::new(&stream.world, "node-1");
    stream.world.advance(3600).await;
    openflow.turn().await;
    assert_eq!(openflow.owned.len(), 0, "a lease of Frazil's lapsed by itself");
    openflow.stop().await;
    let removed = remove(upkeep);
    stream.world.advance(95).await;
    let removed = removed.await.expect("no panic").expect("nobody lives");
    assert_eq!(removed.shards.len(), 2);
    stream.put(20);
    openflow.turn().await;
    assert_eq!(openflow.owned.len(), 2);
    let repeated = openflow.delivered.len() as u64 - 28;
    assert_eq!(repeated, stream.next - 28 - checkpointed);
    let expected = Tally {
        doubled: repeated,
        ..stream.each_once()
    };
    assert_eq!(stream.tally(&[&openflow]), expected);
}

#[tokio::test]
async fn case_88_beside_openflow_a_held_shard_is_safe_and_a_free_one_is_not_taken() {
    let mut stream = Stream::of(2);
    stream.put(20);
    let worker = stream.world.worker();
    stream.frazil_reads_the_rest(&[]).await;
    let mut openflow = Node::new(&stream.world, "node-1");
    let parent = stream.world.kinesis.shard_ids()[0].clone();
    for _ in 0..30 {
        openflow.turn().await;
        stream.put(4);
        stream.world.advance(10).await;
        stream.world.snowpipe.commit_all();
    }
    assert_eq!((openflow.owned.len(), openflow.delivered.len()), (0, 0));
    // New shards are nobody's yet: Frazil leaves them to the node that lives, and says so.
    let [low, high] = stream.world.kinesis.split(&parent);
    stream.stalls_as_foreign(&low).await;
    stream.stalls_as_foreign(&high).await;
    openflow.turn().await;
    assert!(!openflow.owned.is_empty(), "Openflow takes what is free");
    stream.put_into(&[low, high], 20);
    stream.world.advance(60).await;
    openflow.turn().await;
    assert!(!openflow.delivered.is_empty());
    openflow.stop().await;
    stream.frazil_reads_the_rest(&[&openflow]).await;
    stream.end(worker).await;
    assert_eq!(stream.tally(&[&openflow]), stream.each_once());
}

#[tokio::test]
async fn case_88_beside_openflow_a_shard_that_it_took_is_let_go_of_within_a_tick() {
    let mut stream = Stream::of(2);
    stream.put(20);
    let worker = stream.world.worker();
    stream.frazil_reads_the_rest(&[]).await;
    stream.world.advance(70).await;
    let shard = stream.world.kinesis.shard_ids()[0].clone();
    let mut openflow = Node::new(&stream.world, "node-1");
    stream.strip(&shard).await;
    openflow.turn().await;
    assert!(openflow.owned.contains_key(&shard), "Openflow did not take it");
    let taken_ms = stream.world.clock.wall_ms();
    stream.put(10);
    stream.stalls_as_foreign(&shard).await;
    let late = stream.world.clock.wall_ms() - taken_ms;
    assert!(late <= TICK_MS + 1_000, "noticed after {late} ms");
    let told = stream.world.told.all();
    assert!(
        told.contains(&format!("stalled {shard} foreign_owner")),
        "{told:?}"
    );

    // From here on the shard is Openflow's alone: no row, no checkpoint of Frazil's.
    stream.world.snowpipe.commit_all();
    let marks = [name::POSITION, name::SEQUENCE, name::EPOCH, name::SERIAL];
    let before = marks.map(|mark| stream.attribute(&shard, mark));
    let channels = stream.world.snowpipe.channels();
    let part = shard.as_str().to_uppercase().replace('-', "_");
    let channel = channels
        .iter()
        .find(|name| name.contains(&part))
        .expect("a channel");
    let rows = stream.world.rows_of(channel);
    for _ in 0..12 {
        stream.put(10);
        openflow.turn().await;
        stream.world.advance(10).await;
        stream.world.snowpipe.commit_all();
    }
    assert_eq!(stream.world.rows_of(channel), rows, "Frazil wrote on");
    assert_eq!(marks.map(|mark| stream.attribute(&shard, mark)), before);
    assert!(openflow.delivered.len() > 60, "{}", openflow.delivered.len());

    openflow.stop().await;
    stream.put(10);
    stream.frazil_reads_the_rest(&[&openflow]).await;
    stream.end(worker).await;
    let tally = stream.tally(&[&openflow]);
    assert_eq!((tally.lost, tally.doubled_by_frazil), (0, 0), "{tally:?}");
    // Read by both in the tick before it was noticed, and no more.
    assert!(tally.doubled <= 14, "{tally:?}");
}

#[tokio::test]
async fn case_88_beside_openflow_a_hand_over_between_workers_loses_nothing() {
    let mut stream = Stream::of(4);
    stream.put(40);
    let first = stream.world.worker();
    stream.frazil_reads_the_rest(&[]).await;
    let mut openflow = Node::new(&stream.world, "node-1");
    openflow.turn().await;
    // The first worker makes room for the second, which may not take beside a node that lives.
    let second = stream.world.worker();
    for _ in 0..60 {
        stream.put(4);
        stream.world.advance(1).await;
        openflow.turn().await;
        stream.world.snowpipe.commit_all();
    }
    assert!(
        !openflow.owned.is_empty(),
        "Openflow got nothing between the workers"
    );
    assert!(stream.world.told.count("stalled") > 0);
    openflow.stop().await;
    stream.frazil_reads_the_rest(&[&openflow]).await;
    stream.world.advance(120).await;
    stream.world.snowpipe.commit_all();
    let tally = stream.tally(&[&openflow]);
    // A shard goes from one to the other committed and checkpointed.
    assert_eq!(tally, stream.each_once());
    stream.end(second).await;
    stream.end(first).await;
}
