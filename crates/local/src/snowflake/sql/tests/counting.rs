//! Counts that the catalog answers, and texts as queries hold them.

use super::*;
use crate::snowflake::catalog::now_ms;
use crate::snowflake::model::SegmentKind;
use crate::snowflake::segments;

async fn counts(bench: &mut Bench, cases: &[(&str, &str)]) {
    for (sql, expected) in cases {
        assert_eq!(bench.cell(sql).await, *expected, "{sql}");
    }
}

/// Takes the files of all segments away.
fn hide_files(bench: &Bench) {
    let at = |name: &str| bench.folder.path().join(name);
    std::fs::rename(at("segments"), at("hidden")).expect("renamed");
    std::fs::create_dir(at("segments")).expect("a folder");
}

#[tokio::test]
async fn a_count_of_all_rows_opens_no_file() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench.run("CREATE TABLE T (A INT, B TEXT)").await;
    bench.load("T", "{\"a\":1,\"b\":\"x\"}\n{\"a\":2}");
    bench.load("T", "{\"a\":3}");
    hide_files(&bench);
    counts(
        &mut bench,
        &[
            ("SELECT COUNT(*) FROM T", "3"),
            ("SELECT COUNT(1) AS N FROM D.PUBLIC.T t", "3"),
            ("SELECT COUNT(*) * 2 FROM T", "6"),
            ("WITH x AS (SELECT * FROM T) SELECT COUNT(*) FROM x", "3"),
            ("SELECT COUNT(*) FROM (SELECT A FROM T) AS x", "3"),
        ],
    )
    .await;
    for sql in [
        "SELECT COUNT(B) FROM T",
        "SELECT COUNT(*) FROM T WHERE A > 1",
        "SELECT COUNT(DISTINCT A) FROM T",
        "SELECT COUNT(*) FROM T GROUP BY A",
        "SELECT COUNT(*) FROM (SELECT A FROM T LIMIT 2) AS x",
        "SELECT MAX(A) FROM T",
    ] {
        assert_eq!(bench.code(sql).await, "100038", "{sql} needs the files");
    }
}

#[tokio::test]
async fn counts_beside_limits_filters_joins_and_unions_are_of_the_rows() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench.run("CREATE TABLE T (A INT, B TEXT)").await;
    bench.run("CREATE TABLE EMPTY (A INT)").await;
    for first in [0, 10, 20] {
        let rows: Vec<String> = (first..first + 10).map(|n| format!("{{\"a\":{n}}}")).collect();
        bench.load("T", &rows.join("\n"));
    }
    counts(
        &mut bench,
        &[
            ("SELECT COUNT(*) FROM EMPTY", "0"),
            ("SELECT COUNT(*) FROM T", "30"),
            ("SELECT COUNT(B) FROM T", "0"),
            ("SELECT COUNT(*) FROM T WHERE A >= 25", "5"),
            ("SELECT COUNT(*) FROM T WHERE A >= 1000", "0"),
            ("SELECT COUNT(*) FROM T WHERE FALSE", "0"),
            ("SELECT COUNT(*) FROM (SELECT * FROM T LIMIT 7) AS x", "7"),
            ("SELECT COUNT(*) FROM (SELECT * FROM T LIMIT 70) AS x", "30"),
            ("SELECT COUNT(*) FROM (SELECT * FROM T LIMIT 0) AS x", "0"),
            (
                "SELECT COUNT(*) FROM (SELECT * FROM T LIMIT 20 OFFSET 25) AS x",
                "5",
            ),
            (
                "SELECT COUNT(*) FROM (SELECT * FROM T ORDER BY A LIMIT 3) AS x",
                "3",
            ),
            (
                "SELECT COUNT(*) FROM (SELECT A FROM T UNION ALL SELECT A FROM T) AS x",
                "60",
            ),
            ("SELECT COUNT(*) FROM (SELECT DISTINCT A % 3 FROM T) AS x", "3"),
            ("SELECT COUNT(*) FROM T l JOIN T r ON l.A = r.A + 1", "29"),
            ("SELECT COUNT(*) FROM T l CROSS JOIN T r", "900"),
            ("SELECT COUNT(*) FROM T l LEFT JOIN EMPTY r ON l.A = r.A", "30"),
            ("SELECT COUNT(*) FROM T HAVING COUNT(*) > 29", "30"),
            ("SELECT COUNT(*) + COUNT(A) + MAX(A) FROM T", "89"),
            (
                "SELECT COUNT(*) FROM T WHERE A = (SELECT COUNT(*) - 1 FROM T)",
                "1",
            ),
            (
                "SELECT SUM(N) FROM (SELECT COUNT(*) AS N FROM T GROUP BY A % 4) AS x",
                "30",
            ),
        ],
    )
    .await;
    assert_eq!(bench.run("SELECT A FROM T LIMIT 12").await.len(), 12);
    assert_eq!(bench.run("SELECT A FROM T WHERE A > 20 LIMIT 12").await.len(), 9);
}

#[tokio::test]
async fn the_group_of_null_stands_in_its_place_behind_an_order_and_a_limit() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench.run("CREATE TABLE T (S TEXT, N INT)").await;
    bench
        .run("INSERT INTO T VALUES ('a', 1), (NULL, NULL), ('b', 2), (NULL, NULL)")
        .await;
    for column in ["S", "N"] {
        for sql in [
            "SELECT DISTINCT X FROM T ORDER BY X NULLS FIRST LIMIT 3",
            "SELECT X FROM T GROUP BY X ORDER BY X NULLS FIRST LIMIT 3",
            "SELECT X FROM T GROUP BY X ORDER BY X DESC LIMIT 3",
        ] {
            let rows = bench.run(&sql.replace('X', column)).await;
            assert_eq!((rows.len(), &rows[0]), (3, &vec![None]), "{sql} {column}");
        }
    }
}

#[tokio::test]
async fn a_count_follows_each_change_of_the_table() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench
        .run("CREATE TABLE T (A INT, B TEXT) ERROR_LOGGING = TRUE")
        .await;
    let count = "SELECT COUNT(*) FROM T";
    for (change, expected) in [
        ("INSERT INTO T VALUES (1, 'x'), (2, 'y')", "2"),
        ("ALTER TABLE T ADD COLUMN C INT", "2"),
        ("INSERT INTO T VALUES (3, 'z', 3)", "3"),
        ("ALTER TABLE T DROP COLUMN A", "3"),
        ("ALTER TABLE T RENAME COLUMN B TO BB", "3"),
        ("INSERT INTO T SELECT * FROM T", "6"),
        ("INSERT OVERWRITE INTO T SELECT * FROM T LIMIT 4", "4"),
        ("TRUNCATE TABLE T", "0"),
        ("INSERT INTO T VALUES ('x', 1)", "1"),
        ("CREATE OR REPLACE TABLE T (A INT) ERROR_LOGGING = TRUE", "0"),
    ] {
        bench.run(change).await;
        assert_eq!(bench.cell(count).await, expected, "{change}");
        assert_eq!(bench.cell("SELECT COUNT(*) FROM ERROR_TABLE(T)").await, "0");
    }
    bench.run("INSERT INTO T VALUES (1), (2)").await;
    let then = now_ms();
    while now_ms() == then {
        std::hint::spin_loop();
    }
    bench.run("INSERT INTO T VALUES (3)").await;
    counts(
        &mut bench,
        &[
            (
                &format!("{count} AT(TIMESTAMP => TO_TIMESTAMP_LTZ({then}, 3))"),
                "2",
            ),
            (count, "3"),
            ("SELECT COUNT(METADATA$ROW_LAST_COMMIT_TIME) FROM T", "0"),
            (
                "SELECT COUNT(*) FROM T WHERE METADATA$ROW_LAST_COMMIT_TIME IS NULL",
                "3",
            ),
        ],
    )
    .await;
    // Many small segments become one.
    for n in 0..20 {
        bench.load("T", &format!("{{\"a\":{n}}}"));
    }
    let table = bench.engine.catalog.table("D", "PUBLIC", "T").unwrap().unwrap();
    let (disk, catalog) = (RealDisk::new(bench.folder.path()), &bench.engine.catalog);
    assert!(segments::merge_small(&disk, catalog, table.id, SegmentKind::Rows).expect("merged"));
    counts(&mut bench, &[(count, "23"), ("SELECT COUNT(A) FROM T", "23")]).await;
}

#[tokio::test]
async fn counts_of_iceberg_and_interactive_tables_are_of_their_rows() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench
        .run("CREATE ICEBERG TABLE I (A INT, B STRING) EXTERNAL_VOLUME = 'v' CATALOG = 'SNOWFLAKE' BASE_LOCATION = 'i/'")
        .await;
    bench
        .run("CREATE INTERACTIVE TABLE M CLUSTER BY (A) AS SELECT 1 AS A UNION ALL SELECT 2")
        .await;
    counts(
        &mut bench,
        &[("SELECT COUNT(*) FROM I", "0"), ("SELECT COUNT(*) FROM M", "2")],
    )
    .await;
    bench.run("INSERT INTO I VALUES (1, 'x'), (2, 'y')").await;
    bench.load("I", "{\"a\":3,\"b\":\"z\"}");
    bench.run("INSERT OVERWRITE INTO M SELECT A FROM I").await;
    counts(
        &mut bench,
        &[
            ("SELECT COUNT(*) FROM I", "3"),
            ("SELECT COUNT(*) FROM I WHERE B = 'z'", "1"),
            ("SELECT COUNT(*) FROM M", "3"),
        ],
    )
    .await;
    bench.run("TRUNCATE TABLE I").await;
    counts(
        &mut bench,
        &[("SELECT COUNT(*) FROM I", "0"), ("SELECT COUNT(*) FROM M", "3")],
    )
    .await;
}

#[tokio::test]
async fn texts_of_a_table_behave_as_texts_wherever_they_stand() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench.run("CREATE TABLE T (S TEXT, V VARIANT, N TEXT)").await;
    bench.load(
        "T",
        "{\"s\":\"a text of more than twelve bytes\",\"v\":{\"a\":\"short\"},\"n\":\"42\"}\n{\"s\":\"short\",\"v\":\"short\",\"n\":\"7\"}\n{}",
    );
    let of_n = |to: &str| format!("SELECT CAST(N AS {to}) FROM T WHERE N = '42'");
    for (to, expected) in [
        ("NUMBER", "42"),
        ("NUMBER(5,2)", "42.00"),
        ("FLOAT", "42"),
        ("VARCHAR", "42"),
        ("VARIANT", "\"42\""),
    ] {
        let told = bench.try_run(&of_n(to)).await.map(|result| result.rows);
        let told = told.unwrap_or_else(|error| panic!("{to}: {error}"));
        assert_eq!(told, [[Some(expected.to_owned())]], "{to}");
    }
    let dated = "SELECT CAST(S AS DATE) FROM (SELECT '2026-01-02' AS S UNION ALL SELECT S FROM T WHERE S = 'none') AS x";
    counts(
        &mut bench,
        &[
            (dated, "20455"),
            (
                "SELECT CAST(REPLACE(N, '42', 'true') AS BOOLEAN) FROM T WHERE N = '42'",
                "true",
            ),
            ("SELECT COUNT(*) FROM T WHERE S = V:a OR S = V::VARCHAR", "1"),
            ("SELECT COUNT(*) FROM T WHERE S LIKE '%twelve%'", "1"),
            (
                "SELECT COUNT(*) FROM T WHERE S IN ('short', 'long') AND S || N = 'short7'",
                "1",
            ),
            ("SELECT MIN(S) || MAX(S) FROM T WHERE LENGTH(S) < 9", "shortshort"),
            ("SELECT COALESCE(S, 'none') FROM T WHERE S IS NULL", "none"),
            (
                "SELECT CASE WHEN N = '7' THEN S ELSE 'no' END FROM T WHERE N = '7'",
                "short",
            ),
            ("SELECT UPPER(SUBSTR(S, 3, 4)) FROM T WHERE N = '42'", "TEXT"),
            ("SELECT COUNT(*) FROM T l JOIN T r ON l.S = r.S", "2"),
            (
                "SELECT COUNT(*) FROM (SELECT S FROM T UNION SELECT 'short') AS x",
                "3",
            ),
            ("SELECT COUNT(DISTINCT S) FROM T", "2"),
            (
                "SELECT S FROM T GROUP BY S ORDER BY S NULLS FIRST LIMIT 1 OFFSET 2",
                "short",
            ),
            (
                "SELECT OBJECT_CONSTRUCT('s', S)::VARCHAR FROM T WHERE N = '7'",
                "{\"s\":\"short\"}",
            ),
        ],
    )
    .await;
    let columns = bench.try_run("SELECT S, V FROM T").await.expect("runs").columns;
    assert_eq!((columns[0].kind, columns[1].kind), ("text", "variant"));
    bench.run("CREATE TABLE COPIED AS SELECT S, V FROM T").await;
    let described = bench.run("DESC TABLE COPIED").await;
    assert_eq!(described[0][1].as_deref(), Some("VARCHAR(16777216)"));
    assert_eq!(described[1][1].as_deref(), Some("VARIANT"));
    assert_eq!(bench.cell("SELECT COUNT(S) FROM COPIED").await, "2");
}
