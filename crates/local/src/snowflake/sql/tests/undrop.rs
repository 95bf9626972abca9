//! DROP TABLE and UNDROP TABLE.

use super::*;
use crate::snowflake::catalog::history::DAY_MS;
use crate::snowflake::catalog::now_ms;
use crate::snowflake::segments;

async fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench.run("CREATE TABLE T (A VARCHAR) COMMENT = 'first'").await;
    bench.run("INSERT INTO T VALUES ('one')").await;
    bench
}

fn files(bench: &Bench) -> usize {
    let (disk, catalog) = (bench.engine.disk.as_ref(), &bench.engine.catalog);
    segments::collect_garbage(disk, catalog).expect("collected");
    segments::sweep(disk, catalog).expect("swept");
    std::fs::read_dir(bench.folder.path().join("segments"))
        .expect("a folder")
        .count()
}

fn tick() -> i64 {
    let then = now_ms();
    while now_ms() == then {
        std::hint::spin_loop();
    }
    then
}

#[tokio::test]
async fn a_dropped_table_comes_back_as_it_was() {
    let mut bench = bench().await;
    let one = tick();
    bench.run("TRUNCATE TABLE T").await;
    bench.run("INSERT INTO T VALUES ('two')").await;
    bench.run("CREATE ROLE R").await;
    bench.run("GRANT SELECT ON TABLE T TO ROLE R").await;
    let grants = bench.run("SHOW GRANTS TO ROLE R").await;
    bench.run("DROP TABLE T").await;
    for sql in [
        "SELECT * FROM T",
        "INSERT INTO T VALUES ('x')",
        "DESC TABLE T",
        "DROP TABLE T",
        "TRUNCATE TABLE T",
        "ALTER TABLE T ADD COLUMN B INT",
        "CREATE TABLE C CLONE T",
    ] {
        assert_eq!(bench.code(sql).await, "002003", "{sql}");
    }
    assert!(bench.run("SHOW TABLES").await.is_empty());
    assert!(bench.run("SHOW GRANTS TO ROLE R").await.is_empty());
    let names = bench.run("SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'PUBLIC'");
    assert!(names.await.is_empty());
    assert_eq!(files(&bench), 2, "kept for the retention");
    let reopened = Catalog::open(&bench.folder.path().join("catalog.db")).expect("a catalog");
    bench.engine.catalog = Arc::new(reopened);
    assert_eq!(
        bench.cell("UNDROP TABLE T").await,
        "Table T successfully restored."
    );
    assert_eq!(bench.cell("SELECT A FROM T").await, "two");
    let then = format!("SELECT A FROM T AT(TIMESTAMP => TO_TIMESTAMP_LTZ({one}, 3))");
    assert_eq!(bench.cell(&then).await, "one", "its past too");
    assert_eq!(bench.run("SHOW GRANTS TO ROLE R").await, grants);
    assert_eq!(bench.code("UNDROP TABLE T").await, "002003", "there is no other");
    bench.load("T", "{\"a\":\"three\"}");
    assert_eq!(bench.cell("SELECT COUNT(*) FROM T").await, "2");
}

#[tokio::test]
async fn the_last_table_of_a_name_comes_back_unless_the_name_is_taken() {
    let mut bench = bench().await;
    bench.run("DROP TABLE T").await;
    tick();
    bench.run("CREATE TABLE T (A VARCHAR)").await;
    bench.run("INSERT INTO T VALUES ('two')").await;
    bench.run("CREATE OR REPLACE TABLE T (A VARCHAR)").await;
    bench.run("INSERT INTO T VALUES ('three')").await;
    assert_eq!(bench.code("UNDROP TABLE T").await, "002002");
    assert_eq!(bench.cell("SELECT A FROM T").await, "three", "and is not touched");
    let shown = bench
        .try_run("SHOW TABLES HISTORY LIKE 't'")
        .await
        .expect("shown");
    let dropped = shown
        .columns
        .iter()
        .position(|column| column.name == "dropped_on");
    assert_eq!(dropped, Some(11));
    let dropped: Vec<_> = shown
        .rows
        .iter()
        .map(|row| (row[1].as_deref(), row[11].is_some()))
        .collect();
    assert_eq!(
        dropped,
        [(Some("T"), false), (Some("T"), true), (Some("T"), true)]
    );
    assert_eq!(bench.run("SHOW TABLES").await[0].len(), shown.columns.len() - 1);
    bench.run("ALTER TABLE T RENAME TO THIRD").await;
    bench.run("UNDROP TABLE D.PUBLIC.T").await;
    assert_eq!(bench.cell("SELECT A FROM T").await, "two");
    bench.run("ALTER TABLE T RENAME TO SECOND").await;
    bench.run("UNDROP TABLE T").await;
    assert_eq!(bench.cell("SELECT A FROM T").await, "one");
    for (sql, code) in [
        ("UNDROP TABLE NONE", "002003"),
        ("UNDROP TABLE D.NONE.T", "002003"),
        ("UNDROP TABLE T T", "001003"),
        ("UNDROP TABLE", "001003"),
        ("UNDROP SCHEMA PUBLIC", "000002"),
        ("UNDROP DATABASE D", "000002"),
        ("UNDROP ICEBERG TABLE T", "000002"),
        ("UNDROP TABLE IDENTIFIER(7)", "000002"),
    ] {
        assert_eq!(bench.code(sql).await, code, "{sql}");
    }
}

#[tokio::test]
async fn what_is_dropped_takes_disk_for_its_retention_and_no_longer() {
    let mut bench = bench().await;
    bench.run("DROP TABLE T").await;
    bench.engine.catalog.age_dropped(DAY_MS - 60_000);
    assert_eq!(files(&bench), 1);
    bench.engine.catalog.age_dropped(120_000);
    assert_eq!(bench.code("UNDROP TABLE T").await, "002003", "its time is over");
    assert!(bench.run("SHOW TABLES HISTORY").await.is_empty());
    assert_eq!(files(&bench), 0);

    for drop in ["DROP TABLE U", "CREATE OR REPLACE TABLE U (A INT)"] {
        bench
            .run("CREATE TABLE U (A INT) DATA_RETENTION_TIME_IN_DAYS = 0")
            .await;
        bench.run("INSERT INTO U VALUES (1)").await;
        bench.run(drop).await;
        assert_eq!(files(&bench), 0, "{drop}");
        bench.run("DROP TABLE IF EXISTS U").await;
    }
    // A schema takes the dropped tables in it along.
    bench.run("CREATE SCHEMA D.S").await;
    bench.run("CREATE TABLE D.S.V (A INT)").await;
    bench.run("INSERT INTO D.S.V VALUES (1)").await;
    bench.run("DROP TABLE D.S.V").await;
    assert_eq!(files(&bench), 1);
    bench.run("DROP SCHEMA D.S").await;
    assert_eq!(files(&bench), 0);
}

#[tokio::test]
async fn only_its_owner_who_may_make_tables_brings_a_table_back() {
    let mut bench = bench().await;
    for sql in [
        "CREATE ROLE R",
        "GRANT USAGE ON DATABASE D TO ROLE R",
        "GRANT USAGE ON SCHEMA D.PUBLIC TO ROLE R",
    ] {
        bench.run(sql).await;
    }
    let mut as_role = async |role: Option<&str>, sql: &str, code: Option<&str>| {
        bench.session.role = role.map(ToOwned::to_owned);
        let told = bench.try_run(sql).await;
        assert_eq!(
            told.as_ref().err().map(|error| error.code),
            code,
            "{sql}: {told:?}"
        );
        told.map(|result| result.rows.len()).unwrap_or_default()
    };
    as_role(None, "DROP TABLE T", None).await;
    as_role(Some("R"), "UNDROP TABLE T", Some("002003")).await;
    assert_eq!(as_role(Some("R"), "SHOW TABLES HISTORY", None).await, 0);
    assert_eq!(as_role(None, "SHOW TABLES HISTORY", None).await, 1);
    as_role(None, "UNDROP TABLE T", None).await;
    as_role(None, "GRANT SELECT ON TABLE T TO ROLE R", None).await;
    as_role(None, "DROP TABLE T", None).await;
    assert_eq!(as_role(Some("R"), "SHOW TABLES HISTORY", None).await, 1);
    as_role(Some("R"), "UNDROP TABLE T", Some("003001")).await;
    as_role(None, "UNDROP TABLE T", None).await;
    as_role(
        None,
        "GRANT OWNERSHIP ON TABLE T TO ROLE R REVOKE CURRENT GRANTS",
        None,
    )
    .await;
    as_role(Some("R"), "DROP TABLE T", None).await;
    as_role(Some("R"), "UNDROP TABLE T", Some("003001")).await;
    as_role(None, "GRANT CREATE TABLE ON SCHEMA D.PUBLIC TO ROLE R", None).await;
    as_role(Some("R"), "UNDROP TABLE T", None).await;
}
