//! Several pipes of one table: which shard writes to which, and how one leaves for another.

use std::collections::BTreeMap;
use std::sync::Arc;

use frazil_model::ShardId;
use frazil_pipeline::{Pipe, Pipes};
use frazil_snowflake::TableFacts;
use frazil_snowflake::fake::FakeSnowpipe;
use serde_json::Value;

use crate::world::{ARRIVAL_MS, World, table};

const SHARDS: usize = 4;

/// A world whose table has three pipes.
struct Table {
    world: World,
    pipes: BTreeMap<&'static str, Arc<FakeSnowpipe>>,
}

impl Table {
    fn new() -> Self {
        let pipes = ["OLD", "A", "B"].map(|name| (name, Arc::default()));
        Self {
            world: World::of(SHARDS, ARRIVAL_MS),
            pipes: BTreeMap::from(pipes),
        }
    }

    /// What the next worker is configured with.
    fn configure(&mut self, in_use: &[&'static str], leaving: &[&'static str]) {
        let pipe = |name: &&'static str| Pipe {
            destination: (*name).to_owned(),
            snowpipe: self.pipes[*name].clone(),
        };
        let mut in_use: Vec<Pipe> = in_use.iter().map(pipe).collect();
        let leaving = leaving.iter().map(pipe).collect();
        let first = in_use.remove(0);
        self.world.pipes = Some(Pipes::of(first, in_use, leaving));
    }

    fn put(&self, records: u64) {
        for shard in self.world.kinesis.shard_ids() {
            self.world.put_into(&shard, records);
        }
    }

    /// How often each position of each shard is in the table.
    fn rows(&self) -> BTreeMap<(String, String), u64> {
        let mut rows = BTreeMap::new();
        for pipe in self.pipes.values() {
            for batch in pipe.committed() {
                let text = zstd::decode_all(&batch.body[..]).expect("zstd");
                for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    let row: Value = serde_json::from_slice(line).expect("a row");
                    let of = |name: &str| row["kinesisMetadata"][name].as_str().expect("text").to_owned();
                    *rows.entry((of("shardId"), of("sequenceNumber"))).or_default() += 1;
                }
            }
        }
        rows
    }

    /// Commits what comes on these pipes until the table has so many different rows; each must be there once.
    async fn has(&self, different: usize, pipes: &[&str]) {
        let commit = || pipes.iter().for_each(|name| self.pipes[name].commit_all());
        let enough = async |_: &World| {
            commit();
            self.rows().len() >= different
        };
        self.world.until("rows", enough).await;
        // What was sent twice comes by now.
        self.world.advance(5).await;
        commit();
        let rows = self.rows();
        assert_eq!(rows.len(), different);
        let twice: Vec<_> = rows.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "more than once: {twice:?}");
    }

    async fn accepted(&self, pipe: &str, rows: u64) {
        let enough = async |_: &World| self.pipes[pipe].accepted_rows() == rows;
        self.world.until("accepted", enough).await;
    }

    fn channels(&self, pipe: &str) -> usize {
        self.pipes[pipe].channels().len()
    }

    async fn pipe_of(&self, shard: &ShardId) -> Option<String> {
        self.world.row(shard).await?.destination
    }
}

#[tokio::test]
async fn shards_are_spread_over_the_pipes_of_a_table() {
    let mut table = Table::new();
    table.configure(&["A", "B"], &[]);
    let worker = table.world.worker();
    table.put(5);
    table.has(20, &["A", "B", "OLD"]).await;
    assert_eq!((table.channels("A"), table.channels("B")), (2, 2));
    table.world.kill(worker);
}

#[tokio::test]
async fn a_pipe_that_is_added_moves_no_shard_even_right_after_its_first_rows() {
    let mut table = Table::new();
    table.configure(&["A"], &[]);
    let first = table.world.worker();
    table.put(5);
    table.has(20, &["A", "B", "OLD"]).await;
    // Nothing is checkpointed yet but where each shard writes.
    for shard in table.world.kinesis.shard_ids() {
        let row = table.world.row(&shard).await.expect("a row");
        assert_eq!((row.position, row.destination.as_deref()), (None, Some("A")));
    }
    table.world.kill(first);
    table.configure(&["B", "A"], &[]);
    let second = table.world.worker();
    table.put(5);
    table.has(40, &["A", "B"]).await;
    assert_eq!((table.channels("A"), table.channels("B")), (SHARDS, 0));
    table.world.kill(second);
}

/// A worker dies with rows accepted on a pipe, which are committed behind its back or not; the next is to leave the pipe.
async fn shards_leave(commits: bool) {
    let mut table = Table::new();
    table.configure(&["OLD"], &[]);
    let first = table.world.worker();
    table.put(5);
    table.has(20, &["OLD"]).await;
    table.put(3);
    table.accepted("OLD", 12).await;
    table.world.kill(first);
    if commits {
        table.pipes["OLD"].commit_all();
    }
    table.configure(&["A", "B"], &["OLD"]);
    let second = table.world.worker();
    table.put(4);
    table.has(48, &["A", "B"]).await;
    let old = table.pipes["OLD"].committed();
    let rows = old.iter().map(|batch| batch.rows).sum::<u64>();
    assert_eq!(
        (rows, table.pipes["OLD"].accepted_rows()),
        (if commits { 32 } else { 20 }, 0)
    );
    assert_eq!((table.channels("A"), table.channels("B")), (2, 2));
    for shard in table.world.kinesis.shard_ids() {
        assert!(matches!(table.pipe_of(&shard).await.as_deref(), Some("A" | "B")));
    }
    // The pipe that was left is needed no more.
    table.world.kill(second);
    table.configure(&["A", "B"], &[]);
    let third = table.world.worker();
    table.put(1);
    table.has(52, &["A", "B"]).await;
    table.world.kill(third);
}

#[tokio::test]
async fn shards_leave_a_pipe_after_what_it_committed_and_each_row_is_there_once() {
    shards_leave(true).await;
}

#[tokio::test]
async fn shards_that_leave_a_pipe_read_again_what_it_had_only_accepted() {
    shards_leave(false).await;
}

#[tokio::test]
async fn pipes_of_different_tables_are_refused_before_anything_is_read() {
    let mut tables = Table::new();
    tables.configure(&["A", "B"], &[]);
    let facts = |name: &str| {
        let name = name.to_owned();
        table(0, true).map(|facts| TableFacts { name, ..facts })
    };
    tables.pipes["A"].set_table(facts("ONE"));
    tables.pipes["B"].set_table(facts("OTHER"));
    tables.put(1);
    let (connector, stop, _) = tables.world.connector();
    let refused = connector.run(stop).await.expect_err("two tables");
    assert!(
        matches!(&refused, frazil_pipeline::Error::SeveralTables { one, other } if one == "ONE" && other == "OTHER"),
        "{refused}"
    );
    assert_eq!((tables.channels("A"), tables.channels("B")), (0, 0));
}

#[tokio::test]
async fn a_pipe_that_is_not_listed_is_not_left_in_silence() {
    let mut table = Table::new();
    table.configure(&["OLD"], &[]);
    let first = table.world.worker();
    table.put(5);
    table.has(20, &["A", "B", "OLD"]).await;
    table.world.kill(first);
    table.configure(&["A"], &[]);
    let second = table.world.worker();
    let stalled = async |world: &World| world.told.count("stalled") == SHARDS;
    table.world.until("all shards stand", stalled).await;
    assert_eq!(table.channels("A"), 0);
    table.world.kill(second);
}
