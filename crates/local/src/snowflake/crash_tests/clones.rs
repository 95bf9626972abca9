//! Clones, dropped tables and tables that come back, on a disk that crashes at every step.

use std::sync::Arc;

use super::world::{World, append, open, pipe, rows};
use crate::disk::crash::Crash;
use crate::snowflake::catalog::dropped::Undropped;
use crate::snowflake::catalog::history::{DAY_MS, Past};
use crate::snowflake::catalog::now_ms;
use crate::snowflake::model::{CreateMode, Created, NewTable, SegmentKind, TableDef};
use crate::snowflake::store::Appended;
use crate::snowflake::{Store, cloned, segments};

/// Commits before the moment of the clone, and behind it.
const COMMITS: [i64; 2] = [10, 6];

/// A table of 16 commits in one merged file, and the moment between the tenth and the next.
async fn merged(world: &mut World, store: &Arc<Store>) -> i64 {
    world.open_channel(store, "A").await.unwrap();
    let mut between = 0;
    for (part, commits) in COMMITS.into_iter().enumerate() {
        for _ in 0..commits {
            world.append(store, "A").await.unwrap();
            world.commit(store).unwrap();
        }
        if part == 0 {
            between = now_ms();
            while now_ms() == between {
                std::hint::spin_loop();
            }
        }
    }
    assert!(segments::merge_small(&world.disk, &store.catalog, world.table, SegmentKind::Rows).unwrap());
    segments::collect_garbage(&world.disk, &store.catalog).unwrap();
    between
}

fn like(table: &TableDef, name: &str) -> NewTable {
    NewTable {
        database: table.database.clone(),
        schema: table.schema.clone(),
        name: name.to_owned(),
        columns: table.columns.clone(),
        ..NewTable::default()
    }
}

fn clone_at(world: &World, store: &Store, at_ms: Option<i64>) -> crate::Result<Option<Created>> {
    let snapshot = match at_ms {
        None => store
            .catalog
            .snapshot("D", "PUBLIC", "T", SegmentKind::Rows)?
            .expect("the table"),
        Some(at_ms) => match store.catalog.snapshot_at("D", "PUBLIC", "T", at_ms)? {
            Past::Table(snapshot) => *snapshot,
            other => panic!("{other:?}"),
        },
    };
    let new = like(&snapshot.table, "C");
    cloned::make(
        &world.disk,
        &store.catalog,
        &snapshot,
        at_ms,
        &new,
        CreateMode::New,
    )
}

/// Numbers of channel A in a table.
fn numbers(store: &Store, world: &World, name: &str) -> Option<Vec<i64>> {
    let table = store.catalog.table("D", "PUBLIC", name).unwrap()?;
    let mut rows = rows(store, &world.disk, table.id).unwrap();
    Some(rows.remove("A").unwrap_or_default())
}

fn twice(last: i64) -> Vec<i64> {
    (1..=last).flat_map(|number| [number, number]).collect()
}

fn named_files(store: &Store) -> usize {
    let mut paths: Vec<String> = ["T", "C"]
        .iter()
        .filter_map(|name| store.catalog.table("D", "PUBLIC", name).unwrap())
        .flat_map(|table| store.catalog.segments(table.id, SegmentKind::Rows).unwrap())
        .map(|segment| segment.path)
        .collect();
    paths.sort();
    paths.dedup();
    paths.len()
}

/// The script: a clone of the past, the source dropped for good, its files collected.
fn play(world: &World, store: &Store, between: i64) -> crate::Result<()> {
    clone_at(world, store, Some(between))?;
    store.catalog.drop_table("D", "PUBLIC", "T")?;
    store.catalog.age_dropped(2 * DAY_MS);
    segments::collect_garbage(&world.disk, &store.catalog)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_while_cloning_and_dropping_leaves_the_whole_clone_or_none_and_no_file_without_a_name() {
    let mut crashes = 0;
    for at in 0.. {
        let mut any = false;
        for (after, torn) in [(false, 0), (true, 0), (true, 255), (false, 130)] {
            let mut world = World::new();
            let store = open(world.folder.path(), &world.disk, false).unwrap();
            let between = merged(&mut world, &store).await;
            world.disk.crash_at(Crash { at, after, torn });
            let played = play(&world, &store, between);
            let crashed = world.disk.dead();
            // Garbage that stays behind is told in the log only.
            assert!(crashed || played.is_ok(), "{played:?}");
            any |= crashed;
            crashes += usize::from(crashed);
            store.log.stop();
            drop(store);
            world.disk = world.disk.restart();
            let store = open(world.folder.path(), &world.disk, false).unwrap();
            let (source, clone) = (numbers(&store, &world, "T"), numbers(&store, &world, "C"));
            let what = format!("step {at}, after {after}, torn {torn}");
            match (source, clone) {
                // The clone was not made, and so nothing behind it.
                (Some(source), None) => assert_eq!(source, twice(16), "{what}"),
                (source, Some(clone)) => {
                    assert_eq!(clone, twice(COMMITS[0]), "{what}");
                    assert!(source.is_none_or(|source| source == twice(16)), "{what}");
                }
                (None, None) => panic!("{what}: both are gone"),
            }
            let files = world.disk.files(segments::FOLDER);
            assert_eq!(files, named_files(&store), "{what}");
            store.log.stop();
        }
        if !any {
            break;
        }
    }
    assert!(crashes >= 20, "only {crashes} crashes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_while_files_of_a_source_or_a_clone_go_leaves_the_other_its_rows() {
    for (dropped, kept) in [("T", "C"), ("C", "T")] {
        for at in 0.. {
            let mut crashed = false;
            for after in [false, true] {
                let mut world = World::new();
                let store = open(world.folder.path(), &world.disk, false).unwrap();
                merged(&mut world, &store).await;
                // A second file, so that some go and some stay.
                clone_at(&world, &store, None).unwrap();
                world.append(&store, "A").await.unwrap();
                world.commit(&store).unwrap();
                world.disk.crash_at(Crash { at, after, torn: 0 });
                store.catalog.drop_table("D", "PUBLIC", dropped).unwrap();
                store.catalog.age_dropped(2 * DAY_MS);
                segments::collect_garbage(&world.disk, &store.catalog).unwrap();
                crashed |= world.disk.dead();
                if !world.disk.dead() {
                    // A removal that no folder sync followed is undone by the restart below.
                    assert!(numbers(&store, &world, kept).is_some_and(|rows| !rows.is_empty()));
                }
                store.log.stop();
                drop(store);
                for _ in 0..2 {
                    world.disk = world.disk.restart();
                    let store = open(world.folder.path(), &world.disk, false).unwrap();
                    let expected = if kept == "T" { 17 } else { 16 };
                    assert_eq!(
                        numbers(&store, &world, kept),
                        Some(twice(expected)),
                        "step {at}, after {after}"
                    );
                    let files = world.disk.files(segments::FOLDER);
                    assert_eq!(files, named_files(&store));
                    store.log.stop();
                }
            }
            if !crashed {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_around_a_drop_leaves_a_table_that_comes_back() {
    let mut crashes = 0;
    for at in 0.. {
        let mut any = false;
        for (after, torn) in [(false, 0), (true, 0), (true, 255), (false, 130)] {
            let mut world = World::new();
            let store = open(world.folder.path(), &world.disk, false).unwrap();
            world.open_channel(&store, "A").await.unwrap();
            world.append(&store, "A").await.unwrap();
            world.commit(&store).unwrap();
            let table = store.catalog.table_by_id(world.table).unwrap().unwrap();
            world.disk.crash_at(Crash { at, after, torn });
            let sent = world.append(&store, "A").await.is_ok();
            let committed = sent && world.commit(&store).is_ok();
            let dropped = committed && store.catalog.drop_table("D", "PUBLIC", "T").unwrap();
            segments::collect_garbage(&world.disk, &store.catalog).unwrap();
            any |= world.disk.dead();
            crashes += usize::from(world.disk.dead());
            store.log.stop();
            drop(store);
            world.disk = world.disk.restart();
            let store = open(world.folder.path(), &world.disk, false).unwrap();
            let what = format!("step {at}, after {after}, torn {torn}");
            assert_eq!(numbers(&store, &world, "T").is_none(), dropped, "{what}");
            if dropped {
                let undropped = store.catalog.undrop_table(&table).unwrap();
                assert_eq!(undropped, Undropped::Done, "{what}");
            }
            world.commit(&store).unwrap();
            let found = numbers(&store, &world, "T").unwrap();
            let whole = found == twice(2) || (!committed && found == twice(1));
            assert!(whole, "{what}: {found:?}");
            store.log.stop();
        }
        if !any {
            break;
        }
    }
    assert!(crashes >= 12, "only {crashes} crashes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clone_is_tried_again_where_a_merge_took_its_files() {
    let mut world = World::new();
    let store = open(world.folder.path(), &world.disk, false).unwrap();
    world.open_channel(&store, "A").await.unwrap();
    for _ in 0..16 {
        world.append(&store, "A").await.unwrap();
        world.commit(&store).unwrap();
    }
    let catalog = &store.catalog;
    let snapshot = catalog
        .snapshot("D", "PUBLIC", "T", SegmentKind::Rows)
        .unwrap()
        .unwrap();
    assert!(segments::merge_small(&world.disk, catalog, world.table, SegmentKind::Rows).unwrap());
    let new = like(&snapshot.table, "C");
    let made = cloned::make(&world.disk, catalog, &snapshot, None, &new, CreateMode::New);
    assert_eq!(made.unwrap(), None);
    assert_eq!(numbers(&store, &world, "C"), None);
    assert_eq!(clone_at(&world, &store, None).unwrap(), Some(Created::Made));
    drop(snapshot);
    segments::collect_garbage(&world.disk, catalog).unwrap();
    assert_eq!(numbers(&store, &world, "C"), Some(twice(16)));
    store.log.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_written_for_a_clone_goes_where_the_clone_is_not_made() {
    let mut world = World::new();
    let store = open(world.folder.path(), &world.disk, false).unwrap();
    let between = merged(&mut world, &store).await;
    let Past::Table(snapshot) = store.catalog.snapshot_at("D", "PUBLIC", "T", between).unwrap() else {
        panic!("no past")
    };
    let new = like(&snapshot.table, "C");
    let make = |mode| cloned::make(&world.disk, &store.catalog, &snapshot, Some(between), &new, mode);
    assert_eq!(make(CreateMode::New).unwrap(), Some(Created::Made));
    assert_eq!(world.disk.files(segments::FOLDER), 2);
    assert_eq!(make(CreateMode::IfNotExists).unwrap(), Some(Created::Existed));
    make(CreateMode::New).unwrap_err();
    store.catalog.drop_table("D", "PUBLIC", "T").unwrap();
    assert_eq!(make(CreateMode::OrReplace).unwrap(), None, "the source is gone");
    assert_eq!(world.disk.files(segments::FOLDER), 2);
    assert_eq!(numbers(&store, &world, "C"), Some(twice(COMMITS[0])));
    store.log.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_of_a_dropped_table_and_what_they_accepted_do_not_come_back() {
    let mut world = World::new();
    let store = open(world.folder.path(), &world.disk, false).unwrap();
    world.open_channel(&store, "A").await.unwrap();
    world.append(&store, "A").await.unwrap();
    world.commit(&store).unwrap();
    world.append(&store, "A").await.unwrap();
    let old = pipe(&store);
    let table = store.catalog.table_by_id(world.table).unwrap().unwrap();
    store.catalog.drop_table("D", "PUBLIC", "T").unwrap();
    assert_eq!(store.catalog.undrop_table(&table).unwrap(), Undropped::Done);
    world.commit(&store).unwrap();
    assert_eq!(
        numbers(&store, &world, "T"),
        Some(twice(1)),
        "accepted is not committed"
    );
    assert!(store.catalog.channel(old.id, "A").unwrap().is_none());
    assert_ne!(pipe(&store).id, old.id, "its managed pipe is a new one");
    let (disk, folder) = (world.disk.restart(), world.folder.path().to_owned());
    store.log.stop();
    drop(store);
    world.disk = disk;
    let store = open(&folder, &world.disk, false).unwrap();
    world.commit(&store).unwrap();
    assert_eq!(
        numbers(&store, &world, "T"),
        Some(twice(1)),
        "nor after a restart"
    );
    world.open_channel(&store, "A").await.unwrap();
    assert_eq!(world.clients["A"].answered, 0, "no token");
    let token = world.clients["A"].token.clone();
    let told = append(&store, "A", &token, 2).await.unwrap();
    assert!(matches!(told, Appended::Accepted(_)));
    world.commit(&store).unwrap();
    assert_eq!(numbers(&store, &world, "T"), Some(twice(2)));
    store.log.stop();
}
