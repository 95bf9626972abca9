//! The whole store on a disk that crashes at every step.
//!
//! A client with two channels appends numbered batches, commits happen in between, one channel is opened again. At the
//! chosen step the disk dies. What a machine would find is opened again, the client repeats its unanswered append, and
//! then the table must hold each number once, in order, up to the last one, with the token and the counters to match.

mod clones;
mod files;
mod iceberg;
pub(crate) mod world;

use std::path::Path;
use std::sync::Arc;

use self::world::{World, append, append_rows, open, rows};
use super::catalog::history::DAY_MS;
use super::segments;
use super::store::Appended;
use crate::disk::Disk as _;
use crate::disk::crash::Crash;
use crate::snowflake::Store;
use crate::snowflake::model::SegmentKind;

/// Plays with a crash; gives whether it happened, and what was wrong afterwards.
async fn crash_once(mut world: World, crash: Crash, lying_disk: bool) -> (bool, Result<(), String>) {
    if lying_disk {
        world.disk.ignore_sync();
    }
    world.disk.crash_at(crash);
    let played = world.play().await;
    let crashed = world.disk.dead();
    assert_eq!(
        played.is_err(),
        crashed,
        "the script fails if and only if the disk dies: {played:?}"
    );
    (crashed, world.recover().await)
}

/// Crashes at each step of the script, before and after it, with several tails; gives the number of crashes and failures.
async fn crash_everywhere(lying_disk: bool) -> (usize, Vec<String>) {
    let (mut crashes, mut failures) = (0, Vec::new());
    for at in 0.. {
        let mut any = false;
        for (after, torn) in [(false, 0), (true, 0), (true, 255), (false, 130)] {
            let (crashed, outcome) = crash_once(World::new(), Crash { at, after, torn }, lying_disk).await;
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
    assert!(
        failures.is_empty(),
        "{} failures, first: {}",
        failures.len(),
        failures[0]
    );
    assert!(crashes > 100, "only {crashes} crashes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_refuses_and_loses_nothing_and_goes_on_when_there_is_room() {
    let mut world = World::new();
    let store = open(world.folder.path(), &world.disk, false).unwrap();
    for name in ["A", "B"] {
        world.open_channel(&store, name).await.unwrap();
    }
    let (mut appends, mut commits) = (0, 0);
    for room in [0, 1, 7, 8, 40, 120, 200, 300, 800] {
        for name in ["A", "B"] {
            world.append(&store, name).await.unwrap();
        }
        world.disk.leave_room(Some(room));
        let committed = world.commit(&store);
        commits += usize::from(committed.is_err());
        for _ in 0..20 {
            for name in ["A", "B"] {
                // The same bytes again, as a client does that got a 503.
                match world.append(&store, name).await {
                    Ok(_) => {}
                    Err(error) => {
                        assert!(error.is_disk_full(), "{error}");
                        appends += 1;
                    }
                }
            }
        }
        world.disk.leave_room(None);
        for name in ["A", "B"] {
            world.append(&store, name).await.unwrap();
        }
        world.commit(&store).unwrap();
        world.check(&store, &world.disk).unwrap();
        let kept = store
            .catalog
            .segments(world.table, SegmentKind::Rows)
            .unwrap()
            .len();
        assert_eq!(world.disk.files("segments"), kept, "nothing half written stays");
        assert!(world.disk.files("log") <= 3, "{}", world.disk.files("log"));
    }
    assert!(
        appends > 300 && commits >= 8,
        "{appends} appends and {commits} commits met it"
    );
    let log = Arc::clone(&store.log);
    tokio::task::spawn_blocking(move || log.stop()).await.unwrap();
    drop(store);
    world.recover().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_during_recovery_from_a_crash_loses_and_doubles_nothing() {
    let mut crashes = 0;
    for first in (0..60).step_by(3) {
        for second in 0..12 {
            let mut world = World::new();
            world.disk.crash_at(Crash {
                at: first,
                after: true,
                torn: 90,
            });
            let _ = world.play().await;
            if world.disk.dead()
                && world
                    .die_again(Crash {
                        at: second,
                        after: second % 2 == 0,
                        torn: 255,
                    })
                    .await
            {
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
    assert_eq!(
        append(&store, "A", &used, 1).await.unwrap(),
        Appended::Replayed(next)
    );
    world.commit(&store).unwrap();
    world.check(&store, &disk).unwrap();
    store.log.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opens_that_race_with_commits_lose_and_double_nothing() {
    let mut world = World::new();
    let store = open(world.folder.path(), &world.disk, false).unwrap();
    world.open_channel(&store, "B").await.unwrap();
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let committing = {
        let (store, table, done) = (Arc::clone(&store), world.table, Arc::clone(&done));
        std::thread::spawn(move || {
            while !done.load(std::sync::atomic::Ordering::Acquire) {
                store.committer.commit_some(table).unwrap();
            }
        })
    };
    for round in 0..150 {
        world.open_channel(&store, "A").await.unwrap();
        // Rows without a token, so that the same number stands at another place in each tenure.
        for _ in 0..round % 3 {
            let token = world.clients["A"].token.clone();
            let noise = append_rows(&store, "A", &token, None, "{\"channel\":\"noise\",\"n\":\"0\"}\n")
                .await
                .unwrap();
            let Appended::Accepted(token) = noise else {
                panic!("{noise:?}")
            };
            world.clients.get_mut("A").unwrap().token = token;
        }
        for name in ["A", "B", "A"] {
            assert!(matches!(
                world.append(&store, name).await.unwrap(),
                Appended::Accepted(_)
            ));
        }
    }
    done.store(true, std::sync::atomic::Ordering::Release);
    committing.join().unwrap();
    world.commit(&store).unwrap();
    world
        .check_rows(&rows(&store, &world.disk, world.table).unwrap())
        .unwrap();
    store.log.stop();
}

fn segments_of(store: &Store, world: &World) -> usize {
    let found = store.catalog.segments(world.table, SegmentKind::Rows);
    found.unwrap().len()
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
            assert_eq!(segments_of(&store, &world), 16);
            world.disk.crash_at(Crash { at, after, torn: 0 });
            let merged = segments::merge_small(&world.disk, &store.catalog, world.table, SegmentKind::Rows);
            let collected = segments::collect_garbage(&world.disk, &store.catalog);
            crashed |= world.disk.dead();
            if !world.disk.dead() {
                assert!(merged.unwrap());
                collected.unwrap();
                assert_eq!(segments_of(&store, &world), 1);
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
    let snapshot = store
        .catalog
        .snapshot("D", "PUBLIC", "T", SegmentKind::Rows)
        .unwrap()
        .unwrap();
    store.catalog.drop_table("D", "PUBLIC", "T").unwrap();
    store.catalog.age_dropped(2 * DAY_MS);
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
