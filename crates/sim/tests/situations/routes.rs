//! Rows of one stream in several tables: each record once and in its own, whatever dies when, and whatever the routes become.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use frazil_model::{Position, Random, SeededRandom, ShardId};
use frazil_pipeline::{Pipe, Pipes, Routes};
use frazil_snowflake::fake::{FakeSnowpipe, Fault};
use serde_json::Value;

use crate::world::{ARRIVAL_MS, Worker, World, table};

const SHARDS: usize = 2;
const TABLES: [&str; 4] = ["CLICKS", "ORDERS", "OTHER", "OLD"];

/// Which values of the routing key go where; `*` stands for all others.
type Rules = &'static [(&'static str, &'static str)];

/// By which most situations begin.
const FIRST: Rules = &[("click", "CLICKS"), ("order", "ORDERS"), ("*", "OTHER")];
/// Clicks and orders change places, and one more value has a table.
const SECOND: Rules = &[
    ("click", "ORDERS"),
    ("order", "CLICKS"),
    ("view", "CLICKS"),
    ("*", "OTHER"),
];

/// A stream whose rows go to several tables.
struct Shop {
    world: World,
    tables: BTreeMap<&'static str, Arc<FakeSnowpipe>>,
    put: usize,
}

/// One row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    shard: String,
    sequence: String,
    kind: Option<String>,
}

impl Shop {
    fn new() -> Self {
        Self {
            world: World::of(SHARDS, ARRIVAL_MS),
            tables: TABLES.map(|name| (name, Arc::default())).into(),
            put: 0,
        }
    }

    fn pipe(&self, name: &str) -> Pipe {
        Pipe {
            destination: name.to_owned(),
            snowpipe: self.tables[name].clone(),
        }
    }

    /// What the next worker is configured with.
    fn route(&mut self, rules: Rules, leaving: &[&str]) {
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        values.extend(
            rules
                .iter()
                .map(|(value, table)| ((*value).to_owned(), (*table).to_owned())),
        );
        let pipes: BTreeSet<&str> = rules.iter().map(|(_, table)| *table).collect();
        let others = values.remove("*");
        let routes = Routes::new("type", values, others);
        let open = |name: &&str| self.pipe(name);
        let routed = Pipes::routed(
            routes,
            pipes.iter().map(open).collect(),
            leaving.iter().map(open).collect(),
        );
        self.world.pipes = Some(routed.expect("every pipe is there"));
    }

    /// The next worker writes to one table.
    fn one(&mut self, name: &str, leaving: &[&str]) {
        let leaving = leaving.iter().map(|name| self.pipe(name)).collect();
        self.world.pipes = Some(Pipes::of(self.pipe(name), Vec::new(), leaving));
    }

    /// Puts a record of each of these kinds into each shard.
    fn put(&mut self, kinds: &[&str]) {
        for shard in self.world.kinesis.shard_ids() {
            for kind in kinds {
                let text = match *kind {
                    "none" => r#"{"n":1}"#.to_owned(),
                    kind => format!(r#"{{"n":1,"type":"{kind}"}}"#),
                };
                self.world.kinesis.put(&shard, "k", text.as_bytes());
                self.put += 1;
            }
        }
    }

    fn rows(&self, name: &str) -> Vec<Row> {
        let mut rows = Vec::new();
        for batch in self.tables[name].committed() {
            let text = zstd::decode_all(&batch.body[..]).expect("zstd");
            for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let row: Value = serde_json::from_slice(line).expect("a row");
                let of = |name: &str| row["kinesisMetadata"][name].as_str().expect("text").to_owned();
                rows.push(Row {
                    shard: of("shardId"),
                    sequence: of("sequenceNumber"),
                    kind: row["type"].as_str().map(str::to_owned),
                });
            }
        }
        rows
    }

    fn count(&self) -> usize {
        TABLES.iter().map(|name| self.rows(name).len()).sum()
    }

    fn commit(&self, tables: &[&str]) {
        tables.iter().for_each(|name| self.tables[*name].commit_all());
    }

    async fn accepted(&self, name: &str, rows: u64) {
        let enough = async |_: &World| self.tables[name].accepted_rows() == rows;
        self.world.until("accepted", enough).await;
    }

    /// Commits what comes until as many rows are there as records were put; each must be there once, and each table's in order.
    async fn all_there(&self) {
        let enough = async |_: &World| {
            self.commit(&TABLES);
            self.count() >= self.put
        };
        self.world.until("all rows", enough).await;
        // What was sent twice comes by now.
        self.world.advance(5).await;
        self.commit(&TABLES);
        let mut seen = BTreeSet::new();
        for name in TABLES {
            let mut last: BTreeMap<String, String> = BTreeMap::new();
            for Row { shard, sequence, .. } in self.rows(name) {
                assert!(
                    seen.insert((shard.clone(), sequence.clone())),
                    "{shard} {sequence} twice"
                );
                let order = |text: &String| (text.len(), text.clone());
                let before = last.insert(shard, sequence.clone());
                assert!(
                    before.is_none_or(|before| order(&before) < order(&sequence)),
                    "order in {name}"
                );
            }
        }
        assert_eq!(seen.len(), self.put);
    }

    /// Commits what comes until each shard's row says that it is routed so.
    async fn routed_by(&self, text: &str) {
        let taken = async |world: &World| {
            self.commit(&TABLES);
            for shard in world.kinesis.shard_ids() {
                let row = world.row(&shard).await.expect("a row");
                if !row
                    .destination
                    .is_some_and(|destination| destination.contains(text))
                {
                    return false;
                }
            }
            true
        };
        self.world.until("the routes", taken).await;
    }

    /// How many rows of which kind a table has.
    fn kinds(&self, name: &str) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for row in self.rows(name) {
            *kinds.entry(row.kind.unwrap_or_default()).or_default() += 1;
        }
        kinds
    }

    fn has(&self, name: &str, kinds: &[(&str, usize)]) {
        let expected = kinds
            .iter()
            .map(|(kind, count)| ((*kind).to_owned(), *count))
            .collect();
        assert_eq!(self.kinds(name), expected, "{name}");
    }

    async fn position(&self, shard: &ShardId) -> Option<Position> {
        self.world.row(shard).await?.position
    }

    async fn end(&self, worker: Worker) {
        worker.stop.cancel();
        while !worker.task.is_finished() {
            self.commit(&TABLES);
            self.world.advance(1).await;
        }
        worker.task.await.expect("no panic");
    }
}

#[tokio::test]
async fn each_row_goes_to_the_table_of_its_value_once_and_in_order() {
    let mut shop = Shop::new();
    shop.route(FIRST, &[]);
    let worker = shop.world.worker();
    shop.put(&["click", "order", "view", "click", "none"]);
    shop.all_there().await;
    shop.has("CLICKS", &[("click", 4)]);
    shop.has("ORDERS", &[("order", 2)]);
    shop.has("OTHER", &[("view", 2), ("", 2)]);
    // All tables are remembered with what they counted.
    shop.end(worker).await;
    for shard in shop.world.kinesis.shard_ids() {
        let row = shop.world.row(&shard).await.expect("a row");
        let counted: Vec<_> = row
            .channels
            .iter()
            .map(|counted| (counted.channel.pipe.as_str(), counted.counters.rows_inserted))
            .collect();
        assert_eq!(counted, [("CLICKS", 2), ("ORDERS", 1), ("OTHER", 2)]);
        let expected =
            r#"{"routes":1,"key":"type","pipes":{"click":"CLICKS","order":"ORDERS"},"others":"OTHER"}"#;
        assert_eq!(row.destination.as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn a_row_without_a_route_is_a_dead_letter_where_no_table_takes_all_others() {
    let mut shop = Shop::new();
    shop.route(&[("click", "CLICKS")], &[]);
    let worker = shop.world.worker();
    shop.put(&["click", "view", "none"]);
    let kept = async |world: &World| {
        shop.commit(&TABLES);
        let letters = world.letters.all();
        let of_it = letters
            .iter()
            .filter(|letter| letter.reason.as_str() == "no_route");
        of_it.count() == 2 * SHARDS
    };
    shop.world.until("letters", kept).await;
    shop.has("CLICKS", &[("click", SHARDS)]);
    shop.end(worker).await;
    for shard in shop.world.kinesis.shard_ids() {
        let position = shop.position(&shard).await.expect("a position");
        let table = shop
            .rows("CLICKS")
            .into_iter()
            .find(|row| row.shard == shard.as_str());
        assert!(position.sequence.as_str() > table.expect("a row").sequence.as_str());
    }
}

#[tokio::test]
async fn the_position_waits_for_the_slowest_table() {
    let mut shop = Shop::new();
    shop.route(FIRST, &[]);
    let worker = shop.world.worker();
    shop.put(&["click", "order", "click"]);
    shop.accepted("ORDERS", SHARDS as u64).await;
    shop.commit(&["CLICKS"]);
    shop.world.advance(100).await;
    let shards = shop.world.kinesis.shard_ids();
    assert_eq!(shop.position(&shards[0]).await, None, "orders are not committed");
    shop.commit(&["ORDERS"]);
    shop.world.advance(100).await;
    assert!(shop.position(&shards[0]).await.is_some());
    shop.end(worker).await;
}

/// A worker dies when one table has committed what another has only accepted, or not even been sent.
async fn dies_between(lost: bool) {
    let mut shop = Shop::new();
    shop.route(FIRST, &[]);
    let first = shop.world.worker();
    shop.put(&["click", "order", "none"]);
    shop.all_there().await;
    if lost {
        (0..200).for_each(|_| shop.tables["ORDERS"].fault("append", Fault::LostBefore));
    }
    shop.put(&["order", "click", "order", "none", "click"]);
    shop.accepted("CLICKS", 2 * SHARDS as u64).await;
    if !lost {
        shop.accepted("ORDERS", 2 * SHARDS as u64).await;
    }
    shop.commit(&["CLICKS"]);
    shop.world.kill(first);
    shop.tables["ORDERS"].forget_faults();
    let second = shop.world.worker();
    // Its open discards what was only accepted.
    shop.accepted("ORDERS", 0).await;
    shop.put(&["order", "click"]);
    shop.all_there().await;
    shop.has("CLICKS", &[("click", 4 * SHARDS)]);
    shop.has("ORDERS", &[("order", 4 * SHARDS)]);
    shop.end(second).await;
}

#[tokio::test]
async fn after_a_death_each_table_gets_exactly_what_it_lacks() {
    dies_between(false).await;
}

#[tokio::test]
async fn a_table_that_was_not_reached_gets_its_rows_and_the_others_get_none_twice() {
    dies_between(true).await;
}

#[tokio::test]
async fn changed_routes_are_taken_when_what_was_sent_by_the_old_ones_is_settled() {
    let mut shop = Shop::new();
    shop.route(FIRST, &[]);
    let first = shop.world.worker();
    shop.put(&["click", "order", "none"]);
    shop.all_there().await;
    // Clicks are ahead of orders: by the new routes the orders between would count as there.
    shop.put(&["order", "click", "order", "click"]);
    shop.accepted("ORDERS", 2 * SHARDS as u64).await;
    shop.accepted("CLICKS", 2 * SHARDS as u64).await;
    shop.commit(&["CLICKS"]);
    shop.world.kill(first);
    shop.route(SECOND, &[]);
    let second = shop.world.worker();
    shop.accepted("ORDERS", 0).await;
    shop.routed_by("\"view\":\"CLICKS\"").await;
    shop.has("CLICKS", &[("click", 3 * SHARDS)]);
    shop.has("ORDERS", &[("order", 3 * SHARDS)]);
    shop.put(&["order", "click", "view"]);
    shop.all_there().await;
    shop.has(
        "CLICKS",
        &[("click", 3 * SHARDS), ("order", SHARDS), ("view", SHARDS)],
    );
    shop.has("ORDERS", &[("order", 3 * SHARDS), ("click", SHARDS)]);
    shop.end(second).await;
    // After a stop nothing is to be settled: the next routes hold from the first row.
    shop.route(FIRST, &[]);
    let third = shop.world.worker();
    shop.put(&["click", "view"]);
    shop.all_there().await;
    shop.has(
        "CLICKS",
        &[("click", 4 * SHARDS), ("order", SHARDS), ("view", SHARDS)],
    );
    shop.has("OTHER", &[("", SHARDS), ("view", SHARDS)]);
    shop.end(third).await;
}

#[tokio::test]
async fn one_table_becomes_several_and_one_again() {
    let mut shop = Shop::new();
    shop.one("OTHER", &[]);
    let first = shop.world.worker();
    shop.put(&["click", "order"]);
    shop.all_there().await;
    shop.put(&["click"]);
    shop.accepted("OTHER", SHARDS as u64).await;
    shop.world.kill(first);
    shop.route(FIRST, &[]);
    let second = shop.world.worker();
    shop.accepted("OTHER", 0).await;
    shop.put(&["click", "order", "none"]);
    shop.all_there().await;
    shop.has("OTHER", &[("click", SHARDS), ("order", SHARDS), ("", SHARDS)]);
    shop.has("CLICKS", &[("click", 2 * SHARDS)]);
    shop.put(&["click", "order", "none"]);
    shop.accepted("ORDERS", SHARDS as u64).await;
    shop.commit(&["OTHER"]);
    shop.world.kill(second);
    // Tables that the routes led to are still to be settled.
    shop.one("OTHER", &["CLICKS"]);
    let third = shop.world.worker();
    let stand = async |world: &World| world.told.count("stalled") >= SHARDS;
    shop.world.until("a missing table is told", stand).await;
    shop.world.kill(third);
    shop.one("OTHER", &["CLICKS", "ORDERS"]);
    let fourth = shop.world.worker();
    shop.put(&["order"]);
    shop.all_there().await;
    shop.has("ORDERS", &[("order", 2 * SHARDS)]);
    shop.end(fourth).await;
    for shard in shop.world.kinesis.shard_ids() {
        let row = shop.world.row(&shard).await.expect("a row");
        assert_eq!(
            (row.destination.as_deref(), row.channels.len()),
            (Some("OTHER"), 1)
        );
    }
}

#[tokio::test]
async fn of_several_tables_one_that_was_made_anew_stops_the_shard() {
    let mut shop = Shop::new();
    shop.world = World::at(ARRIVAL_MS);
    shop.route(FIRST, &[]);
    TABLES
        .iter()
        .for_each(|name| shop.tables[name].set_table(table(0, true)));
    let first = shop.world.worker();
    shop.put(&["click", "order", "none"]);
    shop.all_there().await;
    shop.end(first).await;
    let channel = shop.tables["ORDERS"].channels()[0].clone();
    shop.tables["ORDERS"].forget(&channel);
    shop.tables["ORDERS"].set_table(table(ARRIVAL_MS * 2, true));
    let second = shop.world.worker();
    shop.world.stopped().await;
    shop.put(&["click"]);
    shop.world.advance(60).await;
    assert_eq!(shop.count(), 3, "it stands");
    shop.world.resume().await;
    shop.all_there().await;
    shop.end(second).await;
}

/// Workers die, tables commit or not, routes change: whatever comes, each record is in one table once.
#[tokio::test]
async fn a_storm_over_tables_and_routes_loses_and_doubles_nothing() {
    let (mut ahead, mut changes) = (0, 0);
    for seed in 0..8 {
        let random = SeededRandom::new(seed);
        let mut shop = Shop::new();
        let mut rules = FIRST;
        shop.route(rules, &[]);
        let mut worker = shop.world.worker();
        for _ in 0..40 {
            match random.below(7) {
                0..=2 => {
                    let kinds = ["click", "order", "view", "none"];
                    let pick = |_| kinds[usize::try_from(random.below(4)).expect("small")];
                    let kinds: Vec<&str> = (0..1 + random.below(4)).map(pick).collect();
                    shop.put(&kinds);
                }
                3 | 4 => {
                    let name = TABLES[usize::try_from(random.below(3)).expect("small")];
                    shop.commit(&[name]);
                    let others = TABLES.iter().filter(|other| **other != name);
                    let behind: u64 = others.map(|other| shop.tables[other].accepted_rows()).sum();
                    ahead += usize::from(behind > 0);
                }
                5 => {
                    shop.world.kill(worker);
                    if random.below(2) == 0 {
                        rules = if std::ptr::eq(rules, FIRST) { SECOND } else { FIRST };
                        changes += 1;
                    }
                    shop.route(rules, &[]);
                    worker = shop.world.worker();
                }
                _ => shop.world.advance(1 + random.below(60)).await,
            }
            shop.world.advance(1).await;
        }
        shop.put(&["click", "order", "view", "none"]);
        shop.all_there().await;
        shop.end(worker).await;
    }
    assert!(
        ahead > 40 && changes > 10,
        "{ahead} commits of one table before another, {changes} changes"
    );
}
