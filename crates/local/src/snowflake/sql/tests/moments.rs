//! Timestamps of the years 1 to 9999.

use super::*;

const ROWS: &str = r#"{"id":1,"a":"2026-01-02T03:04:05.123456789","b":"2026-01-02T03:04:05.123456789Z","c":"2026-01-02T03:04:05.123456789+01:00"}"#;
const FAR: &str = r#"{"id":2,"a":"9999-12-31T23:59:59.999999","b":"9999-12-31T23:59:59.999999Z","c":"9999-12-31T23:59:59.999999+01:00"}
{"id":3,"a":"0001-01-01","b":"0001-01-01","c":"0001-01-01T00:00:00-02:00"}
{"id":4}"#;

async fn table(bench: &mut Bench) {
    bench.run("CREATE DATABASE D").await;
    bench
        .run("CREATE TABLE T (ID INT, A TIMESTAMP_NTZ, B TIMESTAMP_LTZ, C TIMESTAMP_TZ)")
        .await;
}

async fn rows(bench: &mut Bench, sql: &str) -> Vec<Vec<String>> {
    let rows = bench.run(sql).await.into_iter();
    rows.map(|row| row.into_iter().map(Option::unwrap_or_default).collect())
        .collect()
}

#[tokio::test]
async fn the_years_1_to_9999_are_kept_and_make_microseconds_of_their_column() {
    let mut bench = Bench::new();
    table(&mut bench).await;
    bench.load("T", ROWS);
    let exact = bench.cell("SELECT A FROM T").await;
    assert_eq!(exact, "1767323045.123456789", "no other value, no digit lost");
    let definition = bench.cell("SELECT GET_DDL('TABLE', 'T')").await;
    bench.load("T", FAR);
    assert_eq!(bench.cell("SELECT GET_DDL('TABLE', 'T')").await, definition);
    assert_eq!(
        rows(&mut bench, "SELECT A, B, C FROM T ORDER BY ID").await,
        [
            [
                "1767323045.123456000",
                "1767323045.123456000",
                "1767319445.123456000 1500"
            ],
            [
                "253402300799.999999000",
                "253402300799.999999000",
                "253402297199.999999000 1500"
            ],
            [
                "-62135596800.000000000",
                "-62135596800.000000000",
                "-62135589600.000000000 1320"
            ],
            ["", "", ""],
        ]
    );
    assert_eq!(
        rows(
            &mut bench,
            "SELECT A::VARCHAR, B::VARCHAR, TO_VARCHAR(C) FROM T ORDER BY A DESC NULLS LAST"
        )
        .await,
        [
            [
                "9999-12-31 23:59:59.999",
                "9999-12-31 23:59:59.999 +0000",
                "9999-12-31 23:59:59.999 +0100"
            ],
            [
                "2026-01-02 03:04:05.123",
                "2026-01-02 03:04:05.123 +0000",
                "2026-01-02 03:04:05.123 +0100"
            ],
            [
                "0001-01-01 00:00:00.000",
                "0001-01-01 00:00:00.000 +0000",
                "0001-01-01 00:00:00.000 -0200"
            ],
            ["", "", ""],
        ]
    );
}

#[tokio::test]
async fn timestamps_far_away_are_compared_with_texts_dates_and_each_other() {
    for load in [ROWS.to_owned(), format!("{ROWS}\n{FAR}")] {
        let mut bench = Bench::new();
        table(&mut bench).await;
        bench.load("T", &load);
        let far = load.lines().count() > 1;
        for column in ["A", "B", "C"] {
            for (condition, near, all) in [
                ("< '9999-12-31'", "1", "2"),
                ("<= '9999-12-31 23:59:59.999999'", "1", "3"),
                ("> '0001-01-01T05:00:00'", "1", "2"),
                ("> '2020-01-01'", "1", "2"),
                ("> '2020-01-01'::TIMESTAMP_NTZ", "1", "2"),
                ("< '9999-12-31'::TIMESTAMP_NTZ", "1", "2"),
                ("< TO_TIMESTAMP('9999-12-31')", "1", "2"),
                ("> '2020-01-01'::DATE", "1", "2"),
                ("< '9999-12-31'::DATE", "1", "2"),
                ("< CURRENT_TIMESTAMP()", "1", "2"),
                ("BETWEEN '0001-01-01' AND '2500-01-01'", "1", "2"),
                ("NOT BETWEEN '1000-01-01' AND '2500-01-01'", "0", "2"),
                ("IN ('9999-12-31T23:59:59.999999', '2026-01-02')", "0", "1"),
            ] {
                // What is between 00:00 and 02:00 of the year 1 differs by the offset; C is asked of the others only.
                if column == "C" && condition.contains("999999") {
                    continue;
                }
                let sql = format!("SELECT COUNT(*) FROM T WHERE {column} {condition}");
                assert_eq!(
                    bench.cell(&sql).await,
                    if far { all } else { near },
                    "{sql}, {far}"
                );
            }
        }
        let same = "SELECT COUNT(*) FROM T one JOIN T other ON one.A = other.B::TIMESTAMP_NTZ";
        assert_eq!(bench.cell(same).await, if far { "3" } else { "1" });
    }
}

#[tokio::test]
async fn functions_and_statements_take_timestamps_far_away() {
    let mut bench = Bench::new();
    table(&mut bench).await;
    bench.load("T", &format!("{ROWS}\n{FAR}"));
    for (sql, expected) in [
        ("SELECT MAX(A) FROM T", "253402300799.999999000"),
        ("SELECT MIN(B) FROM T", "-62135596800.000000000"),
        ("SELECT MAX(C) FROM T", "253402297199.999999000 1500"),
        ("SELECT EXTRACT(year FROM MAX(A)) FROM T", "9999"),
        ("SELECT DATE_PART('year', MIN(B)) FROM T", "1"),
        ("SELECT EXTRACT(month FROM MAX(C)) FROM T", "12"),
        (
            "SELECT DATE_TRUNC('month', MAX(A)) FROM T",
            "253399622400.000000000",
        ),
        ("SELECT DATEADD(day, -1, MAX(A)) FROM T", "253402214399.999999000"),
        ("SELECT TO_CHAR(MAX(A), 'YYYY/MM/DD') FROM T", "9999/12/31"),
        (
            "SELECT TO_CHAR(MIN(C), 'YYYY-MM-DD TZH:TZM') FROM T",
            "0001-01-01 -02:00",
        ),
        ("SELECT MAX(A)::DATE FROM T", "2932896"),
        ("SELECT MAX(A)::TIMESTAMP_LTZ FROM T", "253402300799.999999000"),
        ("SELECT MAX(A)::TIMESTAMP_NTZ(0) FROM T", "253402300799.000000000"),
        ("SELECT MAX(C)::TIMESTAMP_NTZ FROM T", "253402300799.999999000"),
        (
            "SELECT COALESCE(A, '9999-12-31'::TIMESTAMP_NTZ) FROM T WHERE ID = 4",
            "253402214400.000000000",
        ),
        ("SELECT COUNT(DISTINCT A) FROM T", "3"),
        ("SELECT '0001-01-01'::TIMESTAMP_NTZ", "-62135596800.000000000"),
        (
            "SELECT '9999-12-31 01:02:03 +0100'::TIMESTAMP_TZ",
            "253402214523.000000000 1500",
        ),
        (
            "SELECT '9999-12-31'::DATE::TIMESTAMP_NTZ",
            "253402214400.000000000",
        ),
        (
            "SELECT PARSE_JSON('{\"t\":\"9999-12-31\"}'):t::TIMESTAMP_NTZ(6)",
            "253402214400.000000000",
        ),
        (
            "SELECT '2026-01-02 03:04:05.987654321'::TIMESTAMP_NTZ(3)",
            "1767323045.987000000",
        ),
        (
            "SELECT '2026-01-02 03:04:05.987654321'::TIMESTAMP_NTZ",
            "1767323045.987654321",
        ),
        ("SELECT TO_TIMESTAMP(1767323045987, 3)", "1767323045.987000000"),
        ("SELECT TO_TIMESTAMP_LTZ(253402214400)", "253402214400.000000000"),
        (
            "SELECT A::VARIANT::TIMESTAMP_NTZ(6) FROM T WHERE ID = 2",
            "253402300799.999999000",
        ),
    ] {
        assert_eq!(bench.cell(sql).await, expected, "{sql}");
    }
    let error = bench
        .try_run("SELECT PARSE_JSON('{\"t\":\"9999-12-31\"}'):t::TIMESTAMP_NTZ")
        .await;
    let error = error.expect_err("a VARIANT's timestamp of nine digits").message;
    assert!(error.contains("TIMESTAMP_NTZ(6)"), "{error}");
    assert_eq!(bench.code("SELECT TO_TIMESTAMP(1, 10)").await, "001003");

    bench.run("CREATE TABLE U AS SELECT * FROM T").await;
    bench.run("CREATE TABLE V CLONE T").await;
    bench.run("CREATE TABLE W LIKE T").await;
    bench.run("INSERT INTO W SELECT * FROM U WHERE ID < 3").await;
    bench
        .run("INSERT INTO W SELECT 3, '0001-01-01', '0001-01-01', '0001-01-01 00:00:00 -0200'")
        .await;
    let all = rows(&mut bench, "SELECT * FROM T WHERE ID < 4 ORDER BY ID").await;
    for copy in ["U", "V", "W"] {
        let sql = format!("SELECT * FROM {copy} WHERE ID < 4 ORDER BY ID");
        assert_eq!(rows(&mut bench, &sql).await, all, "{copy}");
    }
    let sql =
        "SELECT A FROM T UNION SELECT '2026-01-02 03:04:05.123456'::TIMESTAMP_NTZ ORDER BY 1 NULLS LAST";
    assert_eq!(rows(&mut bench, sql).await.len(), 4);
}

#[tokio::test]
async fn a_far_timestamp_reaches_columns_that_were_renamed_defaults_and_the_past() {
    let mut bench = Bench::new();
    table(&mut bench).await;
    bench.load("T", ROWS);
    bench.run("ALTER TABLE T RENAME COLUMN A TO AA").await;
    let then = crate::snowflake::catalog::now_ms();
    while crate::snowflake::catalog::now_ms() == then {
        std::hint::spin_loop();
    }
    // The columns of then are those of before this, when none was in microseconds.
    bench.run("ALTER TABLE T RENAME COLUMN C TO CC").await;
    bench
        .run("INSERT INTO T SELECT 2, '9999-12-31 23:59:59.999999', NULL, '0001-01-01 00:00:00 -0200'")
        .await;
    assert_eq!(
        bench.cell("SELECT MAX(AA) FROM T").await,
        "253402300799.999999000"
    );
    assert_eq!(
        bench.cell("SELECT MIN(CC) FROM T").await,
        "-62135589600.000000000 1320"
    );
    let past = format!("SELECT MAX(AA), MAX(C) FROM T AT(TIMESTAMP => TO_TIMESTAMP_LTZ({then}, 3))");
    assert_eq!(
        rows(&mut bench, &past).await,
        [["1767323045.123456000", "1767319445.123456000 1500"]]
    );
    bench
        .run("CREATE TABLE S (ID INT, UNTIL TIMESTAMP_NTZ DEFAULT '9999-12-31')")
        .await;
    bench.load("S", r#"{"id":1}"#);
    bench.run("INSERT INTO S (ID) VALUES (2)").await;
    assert_eq!(
        bench
            .cell("SELECT COUNT(*) FROM S WHERE UNTIL = '9999-12-31'")
            .await,
        "2"
    );
}
