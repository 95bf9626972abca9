use super::*;
use crate::coordinator::LeaseCoordinator;
use crate::fake::{Fault, Operation};
use crate::update::Purpose;
use crate::{LeaseOptions, ShardStart};
use frazil_model::Events;
use tokio::sync::watch;

/// The lease table holds all that the usual source did, and nothing is left over.
async fn complete(world: &World, application: &str) {
    let ended = world.state(application, 0).await.expect("a row");
    assert!(ended.ended && ended.position.is_none());
    assert_eq!(
        world.state(application, 1).await.expect("a row").position,
        Some(inside("4950", 3))
    );
    let plain = world.state(application, 2).await.expect("a row");
    assert_eq!(
        (plain.position, plain.foreign_moved),
        (Some(inside("4960", 0)), false)
    );
    let latest = world.state(application, 3).await.expect("a row");
    assert_eq!(latest.start, Some(ShardStart::Latest { ms: WALL_MS }));
    assert_eq!(latest.stream, Some(identity()));
    assert!(world.pin(application).await.is_some());
    assert_eq!(world.table.layout("app_migration"), None);
}

#[tokio::test]
async fn case_81_the_old_table_becomes_the_new_one() {
    let world = World::new(Layout::ClientLibrary, usual());
    let began = frazil_model::Clock::now(&world.clock);
    let outcome = world.carry_out(World::options(1)).await.expect("done");
    assert!(matches!(outcome, Outcome::Done { .. }));
    complete(&world, APP).await;
    let took = frazil_model::Clock::now(&world.clock).since(began);
    assert!(
        took >= Duration::from_secs(60) && took < Duration::from_secs(120),
        "{took:?}"
    );
    assert_eq!(world.carry_out(World::options(2)).await, Ok(Outcome::NothingToDo));
}

#[tokio::test]
async fn case_81_under_another_name_the_old_table_stays() {
    let world = World::new(Layout::ClientLibrary, usual());
    let options = |seed| MigrateOptions {
        application: "frazil".to_owned(),
        ..World::options(seed)
    };
    assert!(matches!(
        world.carry_out(options(1)).await,
        Ok(Outcome::Done { .. })
    ));
    complete(&world, "frazil").await;
    assert_eq!(world.table.layout(APP), Some(Layout::ClientLibrary));
    assert_eq!(world.table.count(Operation::Delete), 0);
    assert_eq!(world.carry_out(options(2)).await, Ok(Outcome::NothingToDo));
}

/// How many calls an undisturbed takeover makes.
async fn calls(options: &MigrateOptions) -> u64 {
    let world = World::new(Layout::ClientLibrary, usual());
    drop(world.carry_out(options.clone()).await.expect("done"));
    world.table.calls()
}

/// Dies at each call, before or after it took effect, and again at another one; the third run ends it.
async fn crash_everywhere(options: impl Fn(u64) -> MigrateOptions) {
    let all = calls(&options(1)).await;
    assert!(all > 15, "{all} calls: the test tests too little");
    let application = options(1).application;
    for first in 1..=all {
        for lands in [false, true] {
            let world = World::new(Layout::ClientLibrary, usual());
            for (seed, after) in [(1, first), (2, 1 + (first * 7) % all)] {
                let door = world.table.another_door();
                door.die_after(after, lands);
                let run = world.migration(&door, options(seed));
                let ended = world.drive(&door, run.carry_out()).await;
                assert!(!matches!(ended, Some(Err(_))), "call {first}, {lands}: {ended:?}");
                assert!(
                    whole(&world, &application).await,
                    "call {first}, {lands}: rows are in no table"
                );
            }
            let last = world.carry_out(options(3)).await;
            assert!(last.is_ok(), "call {first}, {lands}: {last:?}");
            complete(&world, &application).await;
        }
    }
}

/// At any moment the positions stand wholly in one table at least.
async fn whole(world: &World, application: &str) -> bool {
    if world.table.layout(APP) == Some(Layout::ClientLibrary) {
        return true;
    }
    for table in [application, "app_migration"] {
        if world.table.layout(table) != Some(Layout::Lease) {
            continue;
        }
        let mut found = 0;
        for n in 0..4 {
            found += usize::from(world.state(table, n).await.is_some());
        }
        if found == 4 && world.pin(table).await.is_some() {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn case_82_a_crash_at_each_step_twice_loses_nothing() {
    crash_everywhere(World::options).await;
}

#[tokio::test]
async fn case_82_nor_under_another_name() {
    crash_everywhere(|seed| MigrateOptions {
        application: "frazil".to_owned(),
        ..World::options(seed)
    })
    .await;
}

#[tokio::test]
async fn case_82_a_copy_that_is_not_proved_is_never_trusted() {
    let (mut trusted, mut refused) = (0, 0);
    for after in 1..=calls(&World::options(1)).await {
        let world = World::new(Layout::ClientLibrary, usual());
        let door = world.table.another_door();
        door.die_after(after, true);
        let run = world.migration(&door, World::options(1));
        drop(world.drive(&door, run.carry_out()).await);
        if world.table.layout(APP) != Some(Layout::ClientLibrary) {
            break;
        }
        // Then somebody deletes the old table.
        world.table.remove_table(APP);
        let copy = Scope {
            application: "app_migration".to_owned(),
            ..scope()
        };
        let marker = world.table.peek(&copy, "__migration__");
        let proved =
            marker.is_some_and(|marker| marker.get("frazilMigration") == Some(&Attribute::text("COPIED")));
        match world.carry_out(World::options(2)).await {
            Ok(_) => {
                assert!(proved, "call {after}");
                complete(&world, APP).await;
                trusted += 1;
            }
            Err(error) => {
                let error = error.to_string();
                assert!(
                    error.contains("no proved copy") || error.contains("no such table"),
                    "{error}"
                );
                assert!(!proved, "call {after}");
                refused += 1;
            }
        }
    }
    assert!(trusted > 0 && refused > 5, "{trusted} trusted, {refused} refused");
}

#[tokio::test]
async fn case_83_of_ten_that_start_together_one_works() {
    for count in [2, 10] {
        let world = World::new(Layout::ClientLibrary, usual());
        let runs: Vec<Migration> = (0..count)
            .map(|seed| world.migration(&world.table, World::options(seed)))
            .collect();
        let mut tasks: Vec<_> = Vec::new();
        for run in runs {
            tasks.push(tokio::spawn(async move { run.carry_out().await }));
        }
        let all = async {
            let mut done = 0;
            for task in tasks {
                match task.await.expect("no panic") {
                    Ok(Outcome::Done { .. }) => done += 1,
                    Ok(Outcome::NothingToDo) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            done
        };
        let done = world.drive(&world.table, all).await.expect("in time");
        assert_eq!(done, 1);
        complete(&world, APP).await;
        assert_eq!(
            world.table.count(Operation::Delete),
            2,
            "the old table and the copy, once each"
        );
    }
}

#[tokio::test]
async fn case_83_one_that_died_is_followed_and_one_that_lives_is_not() {
    let world = World::new(Layout::ClientLibrary, usual());
    let door = world.table.another_door();
    let run = world.migration(&door, World::options(1));
    // Held back in the midst of its copy, it may still live.
    world.table.fail_next(Operation::Scan, Fault::Hang);
    door.die_after(24, true);
    drop(world.drive(&door, run.carry_out()).await);
    let began = frazil_model::Clock::now(&world.clock);
    assert!(world.carry_out(World::options(2)).await.is_ok());
    let took = frazil_model::Clock::now(&world.clock).since(began);
    assert!(took >= Duration::from_secs(60), "{took:?}");
    complete(&world, APP).await;
}

#[tokio::test]
async fn case_84_a_source_that_moves_is_not_taken() {
    let world = World::new(Layout::ClientLibrary, usual());
    let table = world.table.clone();
    let run = world.migration(&world.table, World::options(1));
    let clock = world.clock.clone();
    let renews = async {
        frazil_model::Clock::sleep(&clock, Duration::from_secs(55)).await;
        table.change_table(APP, |items| items[2] = kcl(shard(2).as_str(), "4960", 0, 10));
        std::future::pending::<()>().await;
    };
    let work = async {
        tokio::select! { biased; () = renews => unreachable!(), done = run.carry_out() => done }
    };
    let error = world
        .drive(&world.table, work)
        .await
        .expect("in time")
        .expect_err("refused");
    assert!(
        matches!(&error, Error::SourceAlive { detail, .. } if detail.contains("000000000002")),
        "{error}"
    );
    let writes =
        world.table.count(Operation::Update(Purpose::Migrate)) + world.table.count(Operation::Create);
    assert_eq!(writes, 0, "it was refused before anything was written");
}

#[tokio::test]
async fn case_84_not_even_one_that_moves_after_it_was_watched() {
    let world = World::new(Layout::ClientLibrary, usual());
    let table = world.table.clone();
    let run = world.migration(&world.table, World::options(1));
    let renews = async {
        while table.count(Operation::Update(Purpose::Migrate)) < 2 {
            tokio::task::yield_now().await;
        }
        table.change_table(APP, |items| drop(items.remove(0)));
        std::future::pending::<()>().await;
    };
    let work = async {
        tokio::select! { biased; () = renews => unreachable!(), done = run.carry_out() => done }
    };
    let error = world
        .drive(&world.table, work)
        .await
        .expect("in time")
        .expect_err("refused");
    assert!(matches!(error, Error::SourceAlive { .. }), "{error}");
    assert_eq!(world.table.count(Operation::Delete), 0);
}

#[tokio::test]
async fn case_82_a_copy_that_is_not_as_written_deletes_nothing() {
    let world = World::new(Layout::ClientLibrary, usual());
    let table = world.table.clone();
    let run = world.migration(&world.table, World::options(1));
    let copy = Scope {
        application: "app_migration".to_owned(),
        ..scope()
    };
    let spoils = async {
        // The marker, four shards and the pin.
        while table.count(Operation::Update(Purpose::Migrate)) < 6 {
            tokio::task::yield_now().await;
        }
        let other = [("frazilPosition", Attribute::text(inside("4000", 0).token()))];
        table.put(&copy, shard(2).as_str(), other);
        std::future::pending::<()>().await;
    };
    let work = async {
        tokio::select! { biased; () = spoils => unreachable!(), done = run.carry_out() => done }
    };
    let error = world
        .drive(&world.table, work)
        .await
        .expect("in time")
        .expect_err("refused");
    assert!(
        error.to_string().contains("not what was to be written"),
        "{error}"
    );
    assert_eq!(world.table.count(Operation::Delete), 0);
}

#[tokio::test]
async fn case_85_ten_thousand_rows_over_a_throttled_table() {
    let items = (0..10_000)
        .map(|n| kcl(shard(n).as_str(), &format!("{}", 1_000_000 + n), 0, 1))
        .collect();
    let world = World::new(Layout::ClientLibrary, items);
    for _ in 0..3 {
        for operation in [
            Operation::Scan,
            Operation::Update(Purpose::Migrate),
            Operation::Rows,
        ] {
            let throttled = Error::Throttled {
                call: "Scan",
                detail: String::new(),
            };
            world.table.fail_next(operation, Fault::Reject(throttled));
            world.table.fail_next(operation, Fault::LoseAnswer);
        }
    }
    assert!(matches!(
        world.carry_out(World::options(1)).await,
        Ok(Outcome::Done { .. })
    ));
    assert_eq!(
        world.state(APP, 9_999).await.expect("a row").position,
        Some(inside("1009999", 0))
    );
    let rows = world.table.rows(&scope(), "").await.expect("readable");
    assert_eq!(rows.len(), 10_001);
}

#[tokio::test]
async fn case_87_a_door_that_still_knows_the_old_key_is_asked_again() {
    let world = World::new(Layout::ClientLibrary, usual());
    let table = world.table.clone();
    let run = world.migration(&world.table, World::options(1));
    let stale = async {
        // From the moment the old table is gone.
        while table.count(Operation::Delete) < 1 {
            tokio::task::yield_now().await;
        }
        for _ in 0..12 {
            let rejected = Error::Rejected {
                call: "UpdateItem",
                detail: "ValidationException: The provided key element does not match the schema".to_owned(),
            };
            table.fail_next(Operation::Update(Purpose::Migrate), Fault::Reject(rejected));
        }
        std::future::pending::<()>().await;
    };
    let work = async {
        tokio::select! { biased; () = stale => unreachable!(), done = run.carry_out() => done }
    };
    let done = world.drive(&world.table, work).await.expect("in time");
    assert!(matches!(done, Ok(Outcome::Done { .. })), "{done:?}");
    complete(&world, APP).await;
}

#[tokio::test]
async fn without_the_right_to_delete_a_person_is_told_what_to_do() {
    let world = World::new(Layout::ClientLibrary, usual());
    let denied = Error::AccessDenied {
        call: "DeleteTable",
        table: APP.to_owned(),
        detail: "no".to_owned(),
    };
    world
        .table
        .fail_next(Operation::Delete, Fault::Reject(denied.clone()));
    let error = world
        .carry_out(World::options(1))
        .await
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("dynamodb:DeleteTable on app") && error.contains("another application name"),
        "{error}"
    );
    // The person deletes it, and the copy goes on from there; what is left over is named.
    world.table.remove_table(APP);
    world.table.fail_next(Operation::Delete, Fault::Reject(denied));
    let Ok(Outcome::Done { notes }) = world.carry_out(World::options(2)).await else {
        panic!("not done");
    };
    assert!(
        notes[0].contains("app_migration is not needed any more"),
        "{notes:?}"
    );
    assert!(world.pin(APP).await.is_some());
}

#[tokio::test]
async fn case_83_one_that_was_overtaken_deletes_nothing_more() {
    let world = World::new(Layout::ClientLibrary, usual());
    let (table, door) = (world.table.clone(), world.table.another_door());
    let run = world.migration(&door, World::options(1));
    // Its delete is lost on the way; until it tries again, another run has taken the marker.
    let unreachable = Error::Unreachable {
        call: "DeleteTable",
        detail: String::new(),
    };
    table.fail_next(Operation::Delete, Fault::Reject(unreachable));
    let copy = Scope {
        application: "app_migration".to_owned(),
        ..scope()
    };
    let overtakes = async {
        while table.count(Operation::Delete) < 1 {
            tokio::task::yield_now().await;
        }
        let other = [
            ("frazilMigrationWorker", Attribute::text("other")),
            ("frazilMigrationAttempt", Attribute::number(2)),
        ];
        table.put(&copy, "__migration__", other);
        frazil_model::Clock::sleep(&world.clock, Duration::from_secs(40)).await;
    };
    let work = async {
        tokio::select! { biased; () = overtakes => true, _ = run.carry_out() => false }
    };
    assert_eq!(
        world.drive(&door, work).await,
        Some(true),
        "it waits for the other one"
    );
    assert_eq!(table.count(Operation::Delete), 1);
    assert_eq!(table.layout(APP), Some(Layout::ClientLibrary));
}

#[tokio::test]
async fn nothing_reads_a_stream_whose_takeover_is_not_finished() {
    let world = World::new(Layout::ClientLibrary, usual());
    world.table.put_table(APP, Layout::Lease, Vec::new());
    world.table.remove_table(APP);
    let copy = Scope {
        application: "app_migration".to_owned(),
        ..scope()
    };
    world.table.put(
        &copy,
        "__migration__",
        [("frazilMigration", Attribute::text("COPIED"))],
    );
    let random = Arc::new(SeededRandom::new(1));
    let worker = WorkerId::random(&*random);
    let options = LeaseOptions::new(APP, scope().stream, identity(), worker, "host");
    let shards = watch::Sender::new(Arc::new(vec![shard(0)]));
    let clock = Arc::new(world.clock.clone());
    let events = Events::new("test", Vec::new());
    let store = Arc::new(world.table.clone());
    let start = LeaseCoordinator::start(store, options, clock, random, events, shards.subscribe()).await;
    assert!(matches!(start, Err(Error::Takeover { .. })));
}
