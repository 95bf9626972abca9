//! The same for an Iceberg table, whose commit is four files and a transaction.
//!
//! Besides rows, tokens and counters: what the catalog takes for the table's data files must be what its manifests name, and on
//! disk there must be the files that somebody needs and no other one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::world::{World, open, rows};
use super::{Crash, crash_once};
use crate::disk::Disk as _;
use crate::disk::crash::CrashDisk;
use crate::snowflake::Store;
use crate::snowflake::catalog::commit::{Outcome, TableCommit};
use crate::snowflake::iceberg;
use crate::snowflake::model::SegmentKind;
use crate::snowflake::segments;

/// What is wrong with the table's files on a disk that was just opened.
fn files(store: &Store, disk: &CrashDisk, table: i64) -> Result<(), String> {
    let mut known: Vec<String> = store
        .catalog
        .segments(table, SegmentKind::Rows)
        .unwrap()
        .into_iter()
        .map(|segment| segment.path)
        .collect();
    known.sort();
    let named = iceberg::live_files(disk, &store.catalog, table).map_err(|error| error.to_string())?;
    if known != named {
        return Err(format!("the catalog has {known:?}, the manifests {named:?}"));
    }
    for part in ["data", "metadata"] {
        let folder = format!("{}/V/b/t/{part}", iceberg::FOLDER);
        for name in disk.list(Path::new(&folder)).unwrap() {
            let path = format!("{folder}/{name}");
            if !store.catalog.is_iceberg_file(&path).unwrap() {
                return Err(format!("{path} is left over"));
            }
        }
    }
    Ok(())
}

/// After everything was checked by the clients' view: opens once more, and checks the files.
async fn check_files(world: &World) -> Result<(), String> {
    let disk = world.disk.restart();
    let store = open(world.folder.path(), &disk, false).map_err(|error| error.to_string())?;
    let outcome = files(&store, &disk, world.table);
    store.log.stop();
    outcome
}

async fn crash_everywhere(lying_disk: bool) -> (usize, Vec<String>) {
    let (mut crashes, mut failures) = (0, Vec::new());
    for at in 0.. {
        let mut any = false;
        for (after, torn) in [(false, 130), (true, 0)] {
            let (crashed, outcome) =
                crash_once(World::iceberg(), Crash { at, after, torn }, lying_disk).await;
            any |= crashed;
            crashes += usize::from(crashed);
            if let Err(failure) = outcome {
                failures.push(format!("step {at}, after {after}, torn {torn}: {failure}"));
            }
        }
        if !any || (lying_disk && !failures.is_empty()) {
            break;
        }
    }
    (crashes, failures)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_at_every_step_of_an_iceberg_commit_loses_and_doubles_nothing() {
    let (crashes, failures) = crash_everywhere(false).await;
    assert!(
        failures.is_empty(),
        "{} failures, first: {}",
        failures.len(),
        failures[0]
    );
    assert!(crashes > 100, "only {crashes} crashes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_that_lies_about_syncs_is_noticed_for_iceberg_too() {
    let (_, failures) = crash_everywhere(true).await;
    assert!(!failures.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_iceberg_crash_leaves_is_removed_and_the_manifests_agree() {
    let mut left = 0;
    for at in (0..400).step_by(3) {
        let mut world = World::iceberg();
        world.disk.crash_at(Crash {
            at,
            after: true,
            torn: 0,
        });
        let _ = world.play().await;
        if !world.disk.dead() {
            break;
        }
        let found = world.disk.restart();
        let count =
            |disk: &CrashDisk| disk.files("iceberg/V/b/t/data") + disk.files("iceberg/V/b/t/metadata");
        let before = count(&found);
        let store = open(world.folder.path(), &found, false).unwrap();
        left += before - count(&found);
        let outcome = files(&store, &found, world.table);
        store.log.stop();
        assert_eq!(outcome, Ok(()), "crash at {at}");
        drop(store);
        world.recover().await.unwrap();
        check_files(&world).await.unwrap();
    }
    assert!(left > 10, "only {left} files were left by crashes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_while_merging_data_files_loses_and_doubles_nothing() {
    let mut crashes = 0;
    for at in 0.. {
        let mut crashed = false;
        for after in [false, true] {
            let mut world = World::iceberg();
            let store = open(world.folder.path(), &world.disk, false).unwrap();
            world.open_channel(&store, "A").await.unwrap();
            for _ in 0..16 {
                world.append(&store, "A").await.unwrap();
                world.commit(&store).unwrap();
            }
            world.disk.crash_at(Crash { at, after, torn: 0 });
            let merged = iceberg::merge_small(&world.disk, &store.catalog, world.table);
            let collected = segments::collect_garbage(&world.disk, &store.catalog);
            crashed |= world.disk.dead();
            if !world.disk.dead() {
                assert!(merged.unwrap());
                collected.unwrap();
                let kept = store.catalog.segments(world.table, SegmentKind::Rows).unwrap();
                assert_eq!((kept.len(), kept[0].rows), (1, 32));
                world.check(&store, &world.disk).unwrap();
                files(&store, &world.disk, world.table).unwrap();
            }
            store.log.stop();
            drop(store);
            world.recover().await.unwrap();
            check_files(&world).await.unwrap();
        }
        crashes += usize::from(crashed);
        if !crashed {
            break;
        }
    }
    assert!(crashes > 10, "only {crashes} steps");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_and_merges_that_race_lose_and_double_nothing() {
    let mut world = World::iceberg();
    let store = open(world.folder.path(), &world.disk, false).unwrap();
    world.open_channel(&store, "A").await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let merging = {
        let (store, disk, table, done) = (
            Arc::clone(&store),
            world.disk.clone(),
            world.table,
            Arc::clone(&done),
        );
        std::thread::spawn(move || {
            let mut merges = 0;
            while !done.load(Ordering::Acquire) {
                merges += usize::from(iceberg::merge_small(&disk, &store.catalog, table).unwrap());
                segments::collect_garbage(&disk, &store.catalog).unwrap();
            }
            merges
        })
    };
    for _ in 0..150 {
        world.append(&store, "A").await.unwrap();
        world.commit(&store).unwrap();
    }
    done.store(true, Ordering::Release);
    let merges = merging.join().unwrap();
    assert!(merges > 3, "only {merges} merges");
    let mut found = rows(&store, &world.disk, world.table)
        .unwrap()
        .remove("A")
        .unwrap();
    found.sort_unstable();
    let expected: Vec<i64> = (1..=150).flat_map(|n| [n, n]).collect();
    assert_eq!(found, expected);
    segments::collect_garbage(&world.disk, &store.catalog).unwrap();
    files(&store, &world.disk, world.table).unwrap();
    store.log.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_changes_made_from_one_metadata_file_the_second_is_made_again() {
    let mut world = World::iceberg();
    let store = open(world.folder.path(), &world.disk, false).unwrap();
    world.open_channel(&store, "A").await.unwrap();
    world.append(&store, "A").await.unwrap();
    world.commit(&store).unwrap();
    let catalog = &store.catalog;
    let table = catalog.table_by_id(world.table).unwrap().unwrap();
    let removed: Vec<String> = catalog
        .segments(table.id, SegmentKind::Rows)
        .unwrap()
        .into_iter()
        .map(|segment| segment.path)
        .collect();
    let prepared = || {
        let change = iceberg::Change {
            removed: removed.clone(),
            ..iceberg::Change::default()
        };
        TableCommit {
            table_id: table.id,
            columns_before: table.columns.clone(),
            columns_after: None,
            segment: None,
            errors: None,
            channels: Vec::new(),
            overwrite: false,
            iceberg: Some(iceberg::prepare(&world.disk, catalog, &table, change).unwrap()),
        }
    };
    let (first, second) = (prepared(), prepared());
    assert_eq!(catalog.commit(&first).unwrap(), Outcome::Done);
    assert_eq!(catalog.commit(&second).unwrap(), Outcome::TableChanged);
    files(&store, &world.disk, world.table).unwrap_err();
    iceberg::discard(&world.disk, second.iceberg.as_ref().unwrap(), None);
    files(&store, &world.disk, world.table).unwrap();
    store.log.stop();
}
