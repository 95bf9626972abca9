use super::super::model::{ChannelFilter, ColumnDef, Counters, Created, DataType, NewTable};
use super::commit::{ChannelCommit, NewSegment, Outcome, RowError, TableCommit};
use super::*;

fn catalog() -> (tempfile::TempDir, Catalog) {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&folder.path().join("catalog.db")).unwrap();
    catalog.no_sync();
    (folder, catalog)
}

fn new_table(name: &str) -> NewTable {
    let whole = DataType::Number {
        precision: 38,
        scale: 0,
    };
    let column = ColumnDef {
        nullable: false,
        default: Some("1".into()),
        identity: Some((1, 2)),
        ..ColumnDef::new("V", whole)
    };
    NewTable {
        database: "D".into(),
        schema: "PUBLIC".into(),
        name: name.into(),
        columns: vec![column],
        schema_evolution: true,
        error_logging: false,
        row_timestamp: false,
        ..NewTable::default()
    }
}

fn with_table() -> (tempfile::TempDir, Catalog, crate::snowflake::model::TableDef) {
    let (folder, catalog) = catalog();
    catalog.create_database("D", CreateMode::New).unwrap();
    catalog.create_table(&new_table("T"), CreateMode::New).unwrap();
    let table = catalog.table("D", "PUBLIC", "T").unwrap().unwrap();
    (folder, catalog, table)
}

fn open_channel(catalog: &Catalog) -> crate::snowflake::model::ChannelRow {
    let PipeLookup::Found(pipe) = catalog.pipe("D", "PUBLIC", "T-STREAMING").unwrap() else {
        panic!()
    };
    catalog.open_channel(&pipe, "c", "C", None).unwrap()
}

fn commit_of(
    table: &crate::snowflake::model::TableDef,
    channel: &crate::snowflake::model::ChannelRow,
) -> TableCommit {
    TableCommit {
        table_id: table.id,
        columns_before: table.columns.clone(),
        columns_after: None,
        segment: Some(NewSegment {
            path: "segments/x".into(),
            rows: 3,
            bytes: 10,
        }),
        errors: None,
        channels: vec![ChannelCommit {
            id: channel.id,
            client_sequencer: channel.client_sequencer,
            row_sequencer: 1,
            request_id: "r".into(),
            offset_token: Some("7".into()),
            counted: Counters {
                rows_parsed: 4,
                rows_inserted: 3,
                rows_error_count: 1,
            },
            last_error: Some(RowError {
                message: "bad".into(),
                offset_upper_bound: Some("7".into()),
            }),
        }],
        overwrite: false,
        iceberg: None,
    }
}

#[test]
fn create_modes_do_what_they_say() {
    let (_folder, catalog, table) = with_table();
    assert!(matches!(
        catalog.create_table(&new_table("T"), CreateMode::New),
        Err(Error::ObjectExists { .. })
    ));
    assert_eq!(
        catalog
            .create_table(&new_table("T"), CreateMode::IfNotExists)
            .unwrap(),
        Created::Existed
    );
    assert_eq!(catalog.table("D", "PUBLIC", "T").unwrap().unwrap(), table);
    assert_eq!(
        catalog
            .create_table(&new_table("T"), CreateMode::OrReplace)
            .unwrap(),
        Created::Replaced
    );
    assert_ne!(catalog.table("D", "PUBLIC", "T").unwrap().unwrap().id, table.id);
    assert!(matches!(
        catalog.create_schema("NONE", "S", CreateMode::New),
        Err(Error::NoSuchObject { .. })
    ));
    assert_eq!(
        catalog.create_schema("D", "S", CreateMode::New).unwrap(),
        Created::Made
    );
    assert_eq!(catalog.list_schemas(Some("D")).unwrap().len(), 2);
    assert_eq!(catalog.list_tables(Some("D"), None).unwrap().len(), 1);
}

#[test]
fn dropped_database_takes_all_below_with_it() {
    let (_folder, catalog, table) = with_table();
    let channel = open_channel(&catalog);
    assert_eq!(
        catalog.commit(&commit_of(&table, &channel)).unwrap(),
        Outcome::Done
    );
    assert!(catalog.drop_database("D").unwrap());
    assert!(!catalog.drop_database("D").unwrap());
    assert_eq!(catalog.table_by_id(table.id).unwrap(), None);
    assert!(catalog.channels(&ChannelFilter::default()).unwrap().is_empty());
    assert_eq!(catalog.take_garbage().unwrap(), ["segments/x"]);
}

#[test]
fn commit_moves_segment_token_and_counters_together() {
    let (_folder, catalog, table) = with_table();
    let channel = open_channel(&catalog);
    assert_eq!(
        catalog.commit(&commit_of(&table, &channel)).unwrap(),
        Outcome::Done
    );
    assert_eq!(catalog.table_size(table.id).unwrap(), (3, 10));
    let row = catalog.channel_by_id(channel.id).unwrap().unwrap();
    assert_eq!(row.offset_token.as_deref(), Some("7"));
    assert_eq!(
        row.counters,
        Counters {
            rows_parsed: 4,
            rows_inserted: 3,
            rows_error_count: 1
        }
    );
    assert_eq!(row.last_error_message.as_deref(), Some("bad"));
    assert_eq!(row.committed_row_sequencer, 1);
}

#[test]
fn commit_of_a_fenced_channel_changed_table_or_dropped_table_changes_nothing() {
    let (_folder, catalog, table) = with_table();
    let channel = open_channel(&catalog);
    let commit = commit_of(&table, &channel);
    let reopened = open_channel(&catalog);
    assert_eq!(
        catalog.commit(&commit).unwrap(),
        Outcome::Fenced(vec![channel.id])
    );
    let commit = commit_of(&table, &reopened);
    let change = |table: &mut crate::snowflake::model::TableDef| {
        table.columns[0].nullable = true;
        Ok::<(), crate::Error>(())
    };
    catalog.alter_table(table.id, change).unwrap();
    assert_eq!(catalog.commit(&commit).unwrap(), Outcome::TableChanged);
    assert_eq!(catalog.table_size(table.id).unwrap(), (0, 0));
    assert_eq!(
        catalog.channel_by_id(channel.id).unwrap().unwrap().offset_token,
        None
    );
    catalog.drop_table("D", "PUBLIC", "T").unwrap();
    assert_eq!(catalog.commit(&commit).unwrap(), Outcome::TableGone);
}

#[test]
fn committing_the_same_batch_twice_is_fenced() {
    let (_folder, catalog, table) = with_table();
    let channel = open_channel(&catalog);
    let mut commit = commit_of(&table, &channel);
    assert_eq!(catalog.commit(&commit).unwrap(), Outcome::Done);
    commit.segment = None;
    assert_eq!(
        catalog.commit(&commit).unwrap(),
        Outcome::Fenced(vec![channel.id])
    );
}

#[test]
fn open_keeps_counters_and_takes_an_offset_token() {
    let (_folder, catalog, table) = with_table();
    let channel = open_channel(&catalog);
    catalog.commit(&commit_of(&table, &channel)).unwrap();
    let PipeLookup::Found(pipe) = catalog.pipe("D", "PUBLIC", "T-STREAMING").unwrap() else {
        panic!()
    };
    let reopened = catalog.open_channel(&pipe, "c", "C", None).unwrap();
    assert_eq!(reopened.offset_token.as_deref(), Some("7"));
    assert_eq!(reopened.counters.rows_inserted, 3);
    assert_eq!(reopened.client_sequencer, channel.client_sequencer + 1);
    let set = catalog.open_channel(&pipe, "c", "C", Some("9")).unwrap();
    assert_eq!(set.offset_token.as_deref(), Some("9"));
}

#[test]
fn pipe_lookup_tells_what_is_missing() {
    let (_folder, catalog, _table) = with_table();
    assert_eq!(
        catalog.pipe("NONE", "PUBLIC", "T-STREAMING").unwrap(),
        PipeLookup::NoNamespace
    );
    assert_eq!(
        catalog.pipe("D", "PUBLIC", "X-STREAMING").unwrap(),
        PipeLookup::NoPipe
    );
    assert_eq!(catalog.pipe("D", "PUBLIC", "T").unwrap(), PipeLookup::NoPipe);
    assert!(matches!(
        catalog.pipe("D", "PUBLIC", "T-STREAMING").unwrap(),
        PipeLookup::Found(_)
    ));
    assert_eq!(catalog.pipes(None, None).unwrap().len(), 1);
}

#[test]
fn state_is_there_after_opening_again() {
    let (folder, catalog, table) = with_table();
    drop(catalog);
    let again = Catalog::open(&folder.path().join("catalog.db")).unwrap();
    assert_eq!(again.table("D", "PUBLIC", "T").unwrap().unwrap(), table);
}

#[test]
fn refused_rows_are_not_committed_to_a_table_that_stopped_keeping_them() {
    let (_folder, catalog, table) = with_table();
    let channel = open_channel(&catalog);
    let mut commit = commit_of(&table, &channel);
    commit.errors = Some(NewSegment {
        path: "segments/errors".into(),
        rows: 1,
        bytes: 10,
    });
    assert!(!table.error_logging);
    assert_eq!(catalog.commit(&commit).unwrap(), Outcome::TableChanged);
    catalog
        .alter_table(table.id, |table| {
            table.error_logging = true;
            Ok::<(), Error>(())
        })
        .unwrap();
    assert_eq!(catalog.commit(&commit).unwrap(), Outcome::Done);
    assert_eq!(catalog.segments(table.id, SegmentKind::Errors).unwrap().len(), 1);
    assert_eq!(catalog.segments(table.id, SegmentKind::Rows).unwrap().len(), 1);
}

#[test]
fn a_dropped_table_is_found_by_nothing_but_those_who_look_for_dropped_ones() {
    let (_folder, catalog, table) = with_table();
    assert!(catalog.drop_table("D", "PUBLIC", "T").unwrap());
    let hidden = format!("T\u{1}{}", table.id);
    for name in ["T", &hidden] {
        assert_eq!(catalog.table("D", "PUBLIC", name).unwrap(), None);
        let pipe = catalog.pipe("D", "PUBLIC", &format!("{name}-STREAMING")).unwrap();
        assert_eq!(pipe, PipeLookup::NoPipe, "{name}");
    }
    assert_eq!(catalog.table_by_id(table.id).unwrap(), None);
    let commit = TableCommit {
        table_id: table.id,
        columns_before: table.columns.clone(),
        columns_after: None,
        segment: None,
        errors: None,
        channels: Vec::new(),
        overwrite: false,
        iceberg: None,
    };
    assert_eq!(catalog.commit(&commit).unwrap(), Outcome::TableGone);
    let dropped = catalog.dropped_tables(Some("D"), Some("PUBLIC")).unwrap();
    assert_eq!(dropped.len(), 1);
    assert_eq!(dropped[0].table, table, "with its own name");
}

#[test]
fn file_of_the_first_version_is_upgraded_and_a_later_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    let mut first = schema::TABLES.to_owned();
    for added in [
        "    renames INTEGER NOT NULL DEFAULT 0,\n    retention_days INTEGER NOT NULL DEFAULT 1,\n    transform TEXT,\n",
        "    dropped_on_ms INTEGER,\n",
        ",\n    row_timestamp_default INTEGER",
        ",\n    kind INTEGER NOT NULL DEFAULT 0",
        "    copy TEXT,\n    comment TEXT,\n",
        ", password BLOB",
        "    row_timestamp_ms INTEGER,\n",
        "    kind TEXT NOT NULL DEFAULT 'standard',\n    cluster_by TEXT,\n    comment TEXT,\n",
        "    owner TEXT NOT NULL DEFAULT 'ACCOUNTADMIN',\n",
        ", default_role TEXT",
        ",\n    owner TEXT NOT NULL DEFAULT 'ACCOUNTADMIN'",
        "    owner TEXT,\n",
    ] {
        assert!(first.contains(added), "{added}");
        first = first.replace(added, "");
    }
    let old = Connection::open(&path).unwrap();
    old.execute_batch(&first).unwrap();
    old.execute_batch(
        "INSERT INTO databases VALUES ('D', 0); INSERT INTO schemas VALUES ('D', 'PUBLIC', 0);
         INSERT INTO tables VALUES (1, 'D', 'PUBLIC', 'T', '[]', 0, 0, 0);
         INSERT INTO segments VALUES (1, 1, 'segments/x', 5, 50);
         INSERT INTO removed_segments VALUES (1, 1, 'segments/y', 5, 50, 7);
         INSERT INTO pipes VALUES (1, 1, 'D', 'PUBLIC', 'T-STREAMING', 0);
         INSERT INTO users VALUES ('ADA', 0);",
    )
    .unwrap();
    drop(old);
    for _ in 0..2 {
        let catalog = Catalog::open(&path).unwrap();
        assert_eq!(catalog.segments(1, SegmentKind::Rows).unwrap()[0].rows, 5);
        assert!(catalog.segments(1, SegmentKind::Errors).unwrap().is_empty());
        assert!(catalog.is_segment("segments/y").unwrap());
        assert_eq!(catalog.pipes(None, None).unwrap()[0].copy, None);
        assert_eq!(catalog.first_role("ADA").unwrap(), "ACCOUNTADMIN", "as before");
    }
    let later = Connection::open(&path).unwrap();
    later.pragma_update(None, "user_version", 99).unwrap();
    drop(later);
    assert!(matches!(Catalog::open(&path), Err(Error::Damaged(_))));
}
