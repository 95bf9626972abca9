use super::*;
use crate::state::ShardStart;

async fn planned(world: &World, options: MigrateOptions) -> Plan {
    let migration = world.migration(&world.table, options);
    let prospect = world
        .drive(&world.table, migration.plan())
        .await
        .expect("in time");
    match prospect.expect("it can be planned") {
        Prospect::Takeover(plan) => *plan,
        other => panic!("{other:?}"),
    }
}

fn begins(plan: &Plan) -> Vec<(&str, &Begin)> {
    plan.shards.iter().map(|p| (p.shard.as_str(), &p.begin)).collect()
}

#[tokio::test]
async fn case_81_each_kind_of_checkpoint_has_its_place() {
    let mut items = usual();
    items.push(kcl(shard(4).as_str(), "TRIM_HORIZON", 0, 9));
    let mut pending = kcl(shard(5).as_str(), "4970", 0, 9);
    pending.insert("pendingCheckpoint".to_owned(), Attribute::text("4999"));
    pending.insert(
        "pendingCheckpointSubSequenceNumber".to_owned(),
        Attribute::number(7),
    );
    pending.insert("checkpointOwner".to_owned(), Attribute::text("worker-0"));
    items.push(pending);
    let world = World::new(Layout::ClientLibrary, items);
    let plan = planned(&world, World::options(1)).await;
    let shards: Vec<ShardId> = (0..6).map(shard).collect();
    let expected = [
        Begin::Ended,
        Begin::After(inside("4950", 3)),
        Begin::After(inside("4960", 0)),
        Begin::At(ShardStart::Latest { ms: WALL_MS }),
        Begin::At(ShardStart::TrimHorizon),
        Begin::After(inside("4970", 0)),
    ];
    let expected: Vec<_> = shards.iter().map(ShardId::as_str).zip(&expected).collect();
    assert_eq!(begins(&plan), expected);
    let notes = plan.shards[5].notes.join("; ");
    assert!(
        notes.contains("prepared checkpoint") && notes.contains("hand-over"),
        "{notes}"
    );
    assert_eq!(world.table.layout("app_migration"), None, "a plan writes nothing");
}

#[tokio::test]
async fn case_81_a_moment_comes_from_the_configuration() {
    let world = World::new(
        Layout::ClientLibrary,
        vec![kcl(shard(0).as_str(), "AT_TIMESTAMP", 0, 1)],
    );
    let plan = planned(&world, World::options(1)).await;
    assert_eq!(plan.shards[0].begin, Begin::At(ShardStart::TrimHorizon));
    assert!(plan.shards[0].notes[0].contains("AT_TIMESTAMP"));
    let options = MigrateOptions {
        start: PinnedStart::AtTimestamp { ms: 77 },
        ..World::options(1)
    };
    let plan = planned(&world, options).await;
    assert_eq!(
        plan.shards[0].begin,
        Begin::At(ShardStart::AtTimestamp { ms: 77 })
    );
}

#[tokio::test]
async fn case_81_rows_of_other_streams_and_housekeeping_are_left_out() {
    let ours = format!("123456789012:clicks:1600000000:{}", shard(0));
    let mut items = vec![kcl(&ours, "5", 0, 1)];
    for other in [
        "123456789012:orders:1600000000",
        "123456789012:clicks:1500000000",
        "999:clicks:1600000000",
    ] {
        items.push(kcl(&format!("{other}:{}", shard(0)), "9", 0, 1));
    }
    for kind in ["LEADER", "WORKER_METRIC_STATS", "STREAM"] {
        items.push(item(&[
            ("leaseKey", Attribute::text(kind)),
            ("entityType", Attribute::text(kind)),
        ]));
    }
    let mut lease = kcl(&format!("123456789012:clicks:1600000000:{}", shard(1)), "6", 0, 1);
    lease.insert("entityType".to_owned(), Attribute::text("LEASE"));
    items.push(lease);
    let world = World::new(Layout::ClientLibrary, items);
    let plan = planned(&world, World::options(1)).await;
    assert_eq!((plan.shards.len(), plan.rows_left_out), (2, 3));
    assert_eq!(plan.shards[0].begin, Begin::After(inside("5", 0)));
    // In place, the other streams would lose their rows.
    let error = world.carry_out(World::options(1)).await.expect_err("refused");
    assert!(error.to_string().contains("another application name"), "{error}");
    assert_eq!(world.table.layout(APP), Some(Layout::ClientLibrary));
}

#[tokio::test]
async fn case_81_a_row_that_cannot_be_read_stops_the_takeover() {
    for (attribute, value) in [
        ("checkpoint", Attribute::text("")),
        ("checkpoint", Attribute::text("12x")),
        ("checkpoint", Attribute::number(12)),
        ("checkpoint", Attribute::text("1".repeat(130))),
        ("checkpointSubSequenceNumber", Attribute::number(-1)),
        ("leaseKey", Attribute::text("a:b")),
    ] {
        let mut row = kcl(shard(0).as_str(), "5", 0, 1);
        row.insert(attribute.to_owned(), value);
        let world = World::new(Layout::ClientLibrary, vec![row]);
        let error = world.carry_out(World::options(1)).await.expect_err("damaged");
        assert!(
            matches!(&error, Error::RowDamaged { attribute: named, .. } if *named == attribute),
            "{error}"
        );
    }
}

#[tokio::test]
async fn case_81_redpanda_connect_is_read_too() {
    let row = |stream: &str, n: usize, sequence: &str| {
        item(&[
            ("StreamID", Attribute::text(stream)),
            ("ShardID", Attribute::text(shard(n))),
            ("SequenceNumber", Attribute::text(sequence)),
        ])
    };
    let items = vec![
        row("clicks", 1, "77"),
        row(&identity().arn, 2, "78"),
        row("orders", 1, "79"),
    ];
    let world = World::new(Layout::RedpandaConnect, items);
    let mut options = World::options(1);
    options.listed = vec![
        listed(0, &[], true),
        listed(1, &[0], false),
        listed(2, &[0], false),
    ];
    let plan = planned(&world, options).await;
    let whole = |digits: &str| Begin::After(Position::whole(SequenceNumber::new(digits).expect("digits")));
    let begins: Vec<&Begin> = plan.shards.iter().map(|planned| &planned.begin).collect();
    // It deletes the rows of shards it has emptied: the parent was one.
    assert_eq!(begins, [&Begin::Ended, &whole("77"), &whole("78")]);
    assert_eq!(plan.rows_left_out, 1);
}

#[tokio::test]
async fn shards_without_a_row_are_placed_by_their_kin() {
    let items = vec![
        kcl(shard(2).as_str(), "5", 0, 1),
        kcl(shard(5).as_str(), "LATEST", 0, 1),
    ];
    let world = World::new(Layout::ClientLibrary, items);
    let mut options = World::options(1);
    options.start = PinnedStart::Latest { ms: WALL_MS };
    options.listed = vec![
        listed(0, &[], true),
        listed(1, &[0], true),
        listed(2, &[1], true),
        listed(3, &[2], false),
        listed(4, &[], true),
        listed(5, &[], false),
    ];
    let plan = planned(&world, options).await;
    let ended: Vec<&str> = plan
        .shards
        .iter()
        .filter(|planned| planned.begin == Begin::Ended)
        .map(|planned| planned.shard.as_str())
        .collect();
    assert_eq!(
        ended,
        [shard(0).as_str(), shard(1).as_str()],
        "forgotten because finished"
    );
    let pinned: Vec<&ShardId> = plan.pin.shards.iter().map(|pinned| &pinned.id).collect();
    // 3 is younger than the library's last look: not in the pin, it begins at its oldest record.
    assert_eq!(pinned, [&shard(4), &shard(5)]);
}

#[tokio::test]
async fn case_88_a_table_of_our_layout_needs_nothing() {
    let world = World::new(Layout::ClientLibrary, Vec::new());
    world.table.put_table(APP, Layout::Lease, Vec::new());
    assert_eq!(world.carry_out(World::options(1)).await, Ok(Outcome::NothingToDo));
}

#[tokio::test]
async fn case_86_tables_that_are_in_the_way_are_named() {
    let unknown = Layout::Unknown("id (HASH, N)".to_owned());
    let world = World::new(unknown.clone(), Vec::new());
    let error = world
        .carry_out(World::options(1))
        .await
        .expect_err("unknown layout");
    assert!(error.to_string().contains("id (HASH, N)"), "{error}");

    let world = World::new(Layout::ClientLibrary, usual());
    world.table.put_table("app_migration", unknown, Vec::new());
    let error = world.carry_out(World::options(1)).await.expect_err("in the way");
    assert!(
        error.to_string().contains("app_migration is in the way"),
        "{error}"
    );

    let world = World::new(Layout::ClientLibrary, usual());
    let copy = Scope {
        application: "app_migration".to_owned(),
        ..scope()
    };
    world.table.put(
        &copy,
        "__migration__",
        [("migrationStatus", Attribute::text("COMPLETE"))],
    );
    let error = world
        .carry_out(World::options(1))
        .await
        .expect_err("another program's");
    assert!(
        error.to_string().contains("another program's takeover"),
        "{error}"
    );
    assert_eq!(world.table.layout(APP), Some(Layout::ClientLibrary));
}
