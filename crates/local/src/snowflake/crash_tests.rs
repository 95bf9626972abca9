//! The whole store on a disk that crashes at every step.
//!
//! A client with two channels appends numbered batches, commits happen in between, one channel is opened again. At the
//! chosen step the disk dies. What a machine would find is opened again, the client repeats its unanswered append, and
//! then the table must hold each number once, in order, up to the last one, with the token and the counters to match.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _};
use bytes::Bytes;

use super::catalog::{Catalog, PipeLookup};
use super::late::LateCounters;
use super::log::Encoding;
use super::model::{ColumnDef, CreateMode, DataType, NewTable, PipeRow};
use super::registry::Found;
use super::segments;
use super::store::{Appended, Incoming, Opened, Store};
use crate::disk::Disk as _;
use crate::disk::crash::{Crash, CrashDisk};

const ROWS_PER_BATCH: i64 = 2;

fn column(name: &str) -> ColumnDef {
    let data_type = DataType::Varchar { length: 100 };
    ColumnDef { name: name.into(), data_type, nullable: true, default: None, identity: None }
}

fn catalog(folder: &Path) -> Catalog {
    let catalog = Catalog::open(&folder.join("catalog.db")).unwrap();
    // SQLite's own files are real; losing power is not simulated for them.
    catalog.no_sync();
    catalog
}

fn open(folder: &Path, disk: &CrashDisk, lose: bool) -> crate::Result<Arc<Store>> {
    let store = Store::open(Arc::new(disk.clone()), catalog(folder), LateCounters::new(false), lose)?;
    Ok(Arc::new(store))
}

fn make_table(folder: &Path) -> i64 {
    let catalog = catalog(folder);
    catalog.create_database("D", CreateMode::New).unwrap();
    let table = NewTable {
        database: "D".into(),
        schema: "PUBLIC".into(),
        name: "T".into(),
        columns: vec![column("CHANNEL"), column("N")],
        schema_evolution: false,
        error_logging: false,
    };
    catalog.create_table(&table, CreateMode::New).unwrap();
    catalog.table("D", "PUBLIC", "T").unwrap().unwrap().id
}

fn pipe(store: &Store) -> PipeRow {
    let PipeLookup::Found(pipe) = store.catalog.pipe("D", "PUBLIC", "T-STREAMING").unwrap() else { panic!() };
    pipe
}

/// What the client knows of one channel.
#[derive(Clone, Debug, Default)]
struct Client {
    token: String,
    /// Batches answered 200 since the last open.
    answered: i64,
    /// An append whose answer did not come.
    unanswered: Option<i64>,
}

struct World {
    folder: tempfile::TempDir,
    disk: CrashDisk,
    table: i64,
    clients: BTreeMap<&'static str, Client>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let table = make_table(folder.path());
        Self { folder, disk: CrashDisk::default(), table, clients: BTreeMap::new() }
    }

    async fn open_channel(&mut self, store: &Arc<Store>, name: &'static str) -> crate::Result<()> {
        let opened = store.open_channel(pipe(store), name.into(), name.into(), None, false).await?;
        let Opened::Open(row, token) = opened else { panic!("open was refused") };
        let answered = row.offset_token.map_or(0, |token| token.parse().unwrap());
        self.clients.insert(name, Client { token, answered, unanswered: None });
        Ok(())
    }

    async fn append(&mut self, store: &Arc<Store>, name: &'static str) -> crate::Result<Appended> {
        let client = self.clients.get_mut(name).unwrap();
        let number = client.unanswered.unwrap_or(client.answered + 1);
        client.unanswered = Some(number);
        let token = client.token.clone();
        let outcome = append(store, name, &token, number).await?;
        let client = self.clients.get_mut(name).unwrap();
        if let Appended::Accepted(token) | Appended::Replayed(token) = &outcome {
            client.token.clone_from(token);
            client.answered = number;
            client.unanswered = None;
        }
        Ok(outcome)
    }

    /// The script; ends early when the disk dies.
    async fn play(&mut self) -> crate::Result<()> {
        let store = open(self.folder.path(), &self.disk, false)?;
        let played = self.play_on(&store).await;
        let log = Arc::clone(&store.log);
        tokio::task::spawn_blocking(move || log.stop()).await.unwrap();
        played
    }

    async fn play_on(&mut self, store: &Arc<Store>) -> crate::Result<()> {
        for name in ["A", "B"] {
            self.open_channel(store, name).await?;
        }
        for round in 0..4 {
            self.append(store, "A").await?;
            self.append(store, "B").await?;
            if round == 1 || round == 3 {
                self.commit(store)?;
            }
            if round == 2 {
                // Discards what B appended in this round; it is sent again.
                self.open_channel(store, "B").await?;
                self.append(store, "B").await?;
            }
        }
        self.append(store, "A").await?;
        Ok(())
    }

    fn commit(&self, store: &Store) -> crate::Result<()> {
        while store.committer.commit_some(self.table)? {}
        store.log.trim()
    }

    /// Restarts on what is on disk and dies again at a step of that.
    async fn die_again(&mut self, crash: Crash) -> bool {
        let disk = self.disk.restart();
        disk.crash_at(crash);
        self.disk = disk.clone();
        let Ok(store) = open(self.folder.path(), &disk, false) else { return disk.dead() };
        let mut failed = false;
        for name in self.clients.clone().into_keys() {
            failed = failed || self.append(&store, name).await.is_err() || self.commit(&store).is_err();
        }
        let log = Arc::clone(&store.log);
        tokio::task::spawn_blocking(move || log.stop()).await.unwrap();
        disk.dead()
    }

    /// Restarts on what is on disk, lets the clients go on, and checks everything.
    async fn recover(&mut self) -> Result<(), String> {
        let disk = self.disk.restart();
        let store = open(self.folder.path(), &disk, false).map_err(|error| error.to_string())?;
        for name in self.clients.clone().into_keys() {
            // The unanswered one is repeated, then one more is sent with the token it gave.
            for _ in 0..2 {
                match self.append(&store, name).await.map_err(|error| error.to_string())? {
                    Appended::Accepted(_) | Appended::Replayed(_) => {}
                    other => return Err(format!("channel {name}: append after the restart is {other:?}")),
                }
            }
        }
        self.commit(&store).map_err(|error| error.to_string())?;
        let checked = self.check(&store, &disk);
        let log = Arc::clone(&store.log);
        tokio::task::spawn_blocking(move || log.stop()).await.unwrap();
        checked
    }

    fn check(&self, store: &Store, disk: &CrashDisk) -> Result<(), String> {
        let rows = rows(store, disk, self.table)?;
        for (name, client) in &self.clients {
            let expected: Vec<i64> =
                (1..=client.answered).flat_map(|n| std::iter::repeat_n(n, ROWS_PER_BATCH as usize)).collect();
            let found = rows.get(*name).cloned().unwrap_or_default();
            if found != expected {
                return Err(format!("channel {name}: {found:?} instead of {expected:?}"));
            }
            let row = store.catalog.channel(pipe(store).id, name).unwrap().unwrap();
            if row.offset_token != Some(client.answered.to_string()) {
                return Err(format!("channel {name}: token {:?} after {}", row.offset_token, client.answered));
            }
            if row.counters.rows_inserted != expected.len() as i64 || row.counters.rows_parsed != expected.len() as i64 {
                return Err(format!("channel {name}: counters {:?} for {} rows", row.counters, expected.len()));
            }
        }
        Ok(())
    }
}

async fn append(store: &Arc<Store>, name: &str, token: &str, number: i64) -> crate::Result<Appended> {
    let key = Store::key(&pipe(store), name);
    let Found::Healthy(channel) = store.registry.find(&key)? else { panic!("channel {name} is not healthy") };
    let line = format!("{{\"channel\":\"{name}\",\"n\":\"{number}\"}}\n");
    let rows = zstd::encode_all(line.repeat(ROWS_PER_BATCH as usize).as_bytes(), 1).unwrap();
    let batch = Incoming {
        continuation_token: Some(token.to_owned()),
        request_id: format!("{name}-{number}"),
        offset_token: Some(number.to_string()),
        encoding: Encoding::Zstd,
        rows: Bytes::from(rows),
        raw_length: 64,
    };
    store.accept(channel, batch).await
}

/// The numbers in the table by channel, in segment order.
fn rows(store: &Store, disk: &CrashDisk, table: i64) -> Result<BTreeMap<String, Vec<i64>>, String> {
    let mut rows: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for segment in store.catalog.segments(table).unwrap() {
        let (_, batches) = segments::read(disk, &segment).map_err(|error| error.to_string())?;
        for batch in batches {
            let column = |name| arrow::compute::cast(batch.column_by_name(name).unwrap(), &arrow::datatypes::DataType::Utf8);
            let (channels, numbers) = (column("CHANNEL").unwrap(), column("N").unwrap());
            let (channels, numbers) = (channels.as_string::<i32>(), numbers.as_string::<i32>());
            for index in 0..channels.len() {
                let numbers_of = rows.entry(channels.value(index).to_owned()).or_default();
                numbers_of.push(numbers.value(index).parse().unwrap());
            }
        }
    }
    Ok(rows)
}

/// Plays with a crash; gives whether it happened, and what was wrong afterwards.
async fn crash_once(crash: Crash, lying_disk: bool) -> (bool, Result<(), String>) {
    let mut world = World::new();
    if lying_disk {
        world.disk.ignore_sync();
    }
    world.disk.crash_at(crash);
    let played = world.play().await;
    let crashed = world.disk.dead();
    assert_eq!(played.is_err(), crashed, "the script fails if and only if the disk dies: {played:?}");
    (crashed, world.recover().await)
}

/// Crashes at each step of the script, before and after it, with several tails; gives the number of crashes and failures.
async fn crash_everywhere(lying_disk: bool) -> (usize, Vec<String>) {
    let (mut crashes, mut failures) = (0, Vec::new());
    for at in 0.. {
        let mut any = false;
        for (after, torn) in [(false, 0), (true, 0), (true, 255), (false, 130)] {
            let (crashed, outcome) = crash_once(Crash { at, after, torn }, lying_disk).await;
            any |= crashed;
            crashes += usize::from(crashed);
            if let Err(failure) = outcome {
                failures.push(format!("step {at}, after {after}, torn {torn}: {failure}"));
            }
        }
        if !any {
            break;
        }
    }
    (crashes, failures)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_at_every_step_loses_and_doubles_nothing() {
    let (crashes, failures) = crash_everywhere(false).await;
    assert!(failures.is_empty(), "{} failures, first: {}", failures.len(), failures[0]);
    assert!(crashes > 100, "only {crashes} crashes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_during_recovery_from_a_crash_loses_and_doubles_nothing() {
    let mut crashes = 0;
    for first in (0..60).step_by(3) {
        for second in 0..12 {
            let mut world = World::new();
            world.disk.crash_at(Crash { at: first, after: true, torn: 90 });
            let _ = world.play().await;
            if world.disk.dead() && world.die_again(Crash { at: second, after: second % 2 == 0, torn: 255 }).await {
                crashes += 1;
                let outcome = world.recover().await;
                assert_eq!(outcome, Ok(()), "first crash at {first}, second at {second}");
            }
        }
    }
    assert!(crashes > 100, "only {crashes} double crashes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_that_lies_about_syncs_is_noticed_by_these_tests() {
    let (_, failures) = crash_everywhere(true).await;
    assert!(!failures.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_with_lost_batches_makes_tokens_stale_and_keeps_what_is_committed() {
    let mut world = World::new();
    let store = open(world.folder.path(), &world.disk, false).unwrap();
    world.open_channel(&store, "A").await.unwrap();
    world.append(&store, "A").await.unwrap();
    world.commit(&store).unwrap();
    world.append(&store, "A").await.unwrap();
    store.log.stop();

    let disk = world.disk.restart();
    let store = open(world.folder.path(), &disk, true).unwrap();
    assert_eq!(world.append(&store, "A").await.unwrap(), Appended::Stale);
    world.open_channel(&store, "A").await.unwrap();
    assert_eq!(world.clients["A"].answered, 1, "the second batch is lost");
    world.append(&store, "A").await.unwrap();
    world.commit(&store).unwrap();
    world.check(&store, &disk).unwrap();
    store.log.stop();

    // What was lost once does not come back from the log later.
    let disk = disk.restart();
    let store = open(world.folder.path(), &disk, false).unwrap();
    world.commit(&store).unwrap();
    world.check(&store, &disk).unwrap();
    store.log.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replay_of_the_last_committed_append_after_a_restart_is_not_stored_again() {
    let mut world = World::new();
    let store = open(world.folder.path(), &world.disk, false).unwrap();
    world.open_channel(&store, "A").await.unwrap();
    let used = world.clients["A"].token.clone();
    world.append(&store, "A").await.unwrap();
    world.commit(&store).unwrap();
    store.log.stop();

    let disk = world.disk.restart();
    let store = open(world.folder.path(), &disk, false).unwrap();
    let next = world.clients["A"].token.clone();
    assert_eq!(append(&store, "A", &used, 1).await.unwrap(), Appended::Replayed(next));
    world.commit(&store).unwrap();
    world.check(&store, &disk).unwrap();
    store.log.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_while_merging_segments_loses_and_doubles_nothing() {
    for at in 0.. {
        let mut crashed = false;
        for after in [false, true] {
            let mut world = World::new();
            let store = open(world.folder.path(), &world.disk, false).unwrap();
            world.open_channel(&store, "A").await.unwrap();
            for _ in 0..16 {
                world.append(&store, "A").await.unwrap();
                world.commit(&store).unwrap();
            }
            assert_eq!(store.catalog.segments(world.table).unwrap().len(), 16);
            world.disk.crash_at(Crash { at, after, torn: 0 });
            let merged = segments::merge_small(&world.disk, &store.catalog, world.table);
            let collected = segments::collect_garbage(&world.disk, &store.catalog);
            crashed |= world.disk.dead();
            if !world.disk.dead() {
                assert!(merged.unwrap());
                collected.unwrap();
                assert_eq!(store.catalog.segments(world.table).unwrap().len(), 1);
                assert_eq!(world.disk.list(Path::new(segments::FOLDER)).unwrap().len(), 1);
                world.check(&store, &world.disk).unwrap();
            }
            store.log.stop();
            drop(store);
            world.recover().await.unwrap();
        }
        if !crashed {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_a_dropped_table_stay_while_a_snapshot_lives() {
    let mut world = World::new();
    let store = open(world.folder.path(), &world.disk, false).unwrap();
    world.open_channel(&store, "A").await.unwrap();
    world.append(&store, "A").await.unwrap();
    world.commit(&store).unwrap();
    let snapshot = store.catalog.snapshot("D", "PUBLIC", "T").unwrap().unwrap();
    store.catalog.drop_table("D", "PUBLIC", "T").unwrap();
    segments::collect_garbage(&world.disk, &store.catalog).unwrap();
    segments::read(&world.disk, &snapshot.segments[0]).unwrap();
    drop(snapshot);
    segments::collect_garbage(&world.disk, &store.catalog).unwrap();
    assert!(world.disk.list(Path::new(segments::FOLDER)).unwrap().is_empty());
    store.log.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_files_go_when_their_batches_are_committed_and_the_next_is_begun() {
    let mut world = World::new();
    let store = open(world.folder.path(), &world.disk, false).unwrap();
    world.open_channel(&store, "A").await.unwrap();
    world.append(&store, "A").await.unwrap();
    store.log.stop();
    let disk = world.disk.restart();
    let store = open(world.folder.path(), &disk, false).unwrap();
    assert_eq!(store.log.files(), 1);
    store.log.trim().unwrap();
    assert_eq!(store.log.files(), 1, "a batch of it waits");
    world.commit(&store).unwrap();
    assert_eq!(store.log.files(), 0);
    assert!(disk.list(Path::new(super::log::FOLDER)).unwrap().is_empty());
    store.log.stop();
}
