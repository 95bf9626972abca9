//! Time travel over rows of several moments.

use super::*;
use crate::snowflake::catalog::now_ms;
use crate::snowflake::segments;

/// Waits until the clock shows another millisecond, so that what follows is later than what was.
fn tick() -> i64 {
    let then = now_ms();
    while now_ms() == then {
        std::hint::spin_loop();
    }
    then
}

/// A moment as a query writes it.
fn at(ms: i64) -> String {
    format!("AT(TIMESTAMP => TO_TIMESTAMP_LTZ({ms}, 3))")
}

#[tokio::test]
async fn a_table_is_seen_as_it_was() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench.run("CREATE TABLE T (A INT, B VARCHAR)").await;
    let empty = tick();
    bench.run("INSERT INTO T VALUES (1, 'one'), (2, 'two')").await;
    let two = tick();
    bench.run("INSERT INTO T VALUES (3, 'three')").await;
    let three = tick();
    bench.run("ALTER TABLE T ADD COLUMN C INT").await;
    bench.run("ALTER TABLE T RENAME COLUMN B TO BB").await;
    bench.run("ALTER TABLE T DROP COLUMN A").await;
    let changed = tick();
    bench.run("TRUNCATE TABLE T").await;
    bench.run("INSERT INTO T VALUES ('four', 4)").await;
    for (moment, count) in [(empty, "0"), (two, "2"), (three, "3"), (changed, "3")] {
        assert_eq!(
            bench
                .cell(&format!("SELECT COUNT(*) FROM T {}", at(moment)))
                .await,
            count,
            "{moment}"
        );
    }
    let sql = format!("SELECT A, t.B FROM T {} ORDER BY T.A DESC LIMIT 1", at(three));
    assert_eq!(
        bench.run(&sql).await,
        [[Some("3".to_owned()), Some("three".to_owned())]]
    );
    let sql = format!("SELECT * FROM T {} ORDER BY BB LIMIT 1", at(changed));
    assert_eq!(
        bench.run(&sql).await,
        [[Some("one".to_owned()), None]],
        "columns of then"
    );
    assert_eq!(bench.cell("SELECT BB FROM T").await, "four", "now");
    // Two moments of a table side by side.
    let sql = format!(
        "SELECT new.BB FROM T {} AS new LEFT JOIN T {} AS old ON new.BB = old.B WHERE old.B IS NULL",
        at(changed),
        at(two)
    );
    assert_eq!(bench.cell(&sql).await, "three");
    assert_eq!(bench.cell("SELECT COUNT(*) FROM T AT(OFFSET => 0)").await, "1");
    let sql = format!("CREATE TABLE SAVED AS SELECT * FROM T {}", at(two));
    bench.run(&sql).await;
    assert_eq!(bench.cell("SELECT COUNT(A) FROM SAVED").await, "2");
    for (what, code) in [
        ("AT(OFFSET => -60*60*24)", "000707"),
        ("AT(STATEMENT => '01b')", "000709"),
        ("AT(NOTHING => 1)", "001003"),
        ("AT(TIMESTAMP => 'no time')", "100038"),
    ] {
        assert_eq!(
            bench.code(&format!("SELECT * FROM T {what}")).await,
            code,
            "{what}"
        );
    }
    assert_eq!(
        bench.code(&format!("SELECT * FROM NONE {}", at(two))).await,
        "002003"
    );
}

#[tokio::test]
async fn rows_of_merged_segments_keep_their_moments_and_the_past_has_an_end() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench.run("CREATE TABLE T (A INT)").await;
    let mut moments = Vec::new();
    for number in 0..segments::MERGE_FROM {
        bench.run(&format!("INSERT INTO T VALUES ({number})")).await;
        moments.push(tick());
    }
    let (disk, catalog) = (Arc::clone(&bench.engine.disk), Arc::clone(&bench.engine.catalog));
    let table = catalog.table("D", "PUBLIC", "T").unwrap().expect("the table");
    let merged = segments::merge_small(
        disk.as_ref(),
        &catalog,
        table.id,
        crate::snowflake::model::SegmentKind::Rows,
    );
    assert!(merged.expect("a merge"), "nothing was merged");
    for (number, moment) in moments.iter().enumerate() {
        let count = bench
            .cell(&format!("SELECT COUNT(*) FROM T {}", at(*moment)))
            .await;
        assert_eq!(count, (number + 1).to_string());
    }
    // What TRUNCATE removed stays for the retention, and no longer.
    let files = |bench: &Bench| {
        std::fs::read_dir(bench.folder.path().join("segments"))
            .unwrap()
            .count()
    };
    segments::collect_garbage(disk.as_ref(), &catalog).expect("collected");
    assert_eq!(files(&bench), 1);
    bench.run("TRUNCATE TABLE T").await;
    segments::collect_garbage(disk.as_ref(), &catalog).expect("collected");
    segments::sweep(disk.as_ref(), &catalog).expect("swept");
    assert_eq!(files(&bench), 1, "still within reach");
    tick();
    bench
        .run("ALTER TABLE T SET DATA_RETENTION_TIME_IN_DAYS = 0")
        .await;
    segments::collect_garbage(disk.as_ref(), &catalog).expect("collected");
    assert_eq!(files(&bench), 0);
    assert_eq!(
        bench.code(&format!("SELECT * FROM T {}", at(moments[3]))).await,
        "000707"
    );
}

#[tokio::test]
async fn an_iceberg_table_is_seen_as_it_was_as_far_as_its_snapshots_reach() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench.run("CREATE ICEBERG TABLE T (A INT, B STRING)").await;
    let empty = tick();
    bench.run("INSERT INTO T VALUES (1, 'one'), (2, 'two')").await;
    let two = tick();
    bench.run("ALTER ICEBERG TABLE T ADD COLUMN C INT").await;
    bench.run("INSERT INTO T VALUES (3, 'three', 3)").await;
    let three = tick();
    bench.run("TRUNCATE TABLE T").await;
    bench.run("INSERT INTO T VALUES (4, 'four', 4)").await;
    for (moment, count) in [(empty, "0"), (two, "2"), (three, "3")] {
        let sql = format!("SELECT COUNT(*) FROM T {}", at(moment));
        assert_eq!(bench.cell(&sql).await, count, "{moment}");
    }
    let sql = format!("SELECT * FROM T {} ORDER BY A LIMIT 1", at(two));
    assert_eq!(
        bench.run(&sql).await,
        [[Some("1".to_owned()), Some("one".to_owned())]]
    );
    let sql = format!("SELECT SUM(C) FROM T {}", at(three));
    assert_eq!(bench.cell(&sql).await, "3");
    assert_eq!(bench.cell("SELECT COUNT(*) FROM T").await, "1");
    // So many commits later the first snapshots are expired.
    for number in 0..crate::snowflake::iceberg::SNAPSHOTS {
        bench
            .run(&format!("INSERT INTO T VALUES ({number}, 'x', 0)"))
            .await;
    }
    assert_eq!(
        bench.code(&format!("SELECT * FROM T {}", at(two))).await,
        "000707"
    );
    assert_eq!(bench.cell("SELECT COUNT(*) FROM T AT(OFFSET => 0)").await, "101");
}
