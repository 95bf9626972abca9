//! Sequences: definitions, numbers in statements and DEFAULTs, privileges, restarts.

use super::*;

async fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench
}

fn texts(rows: &[Vec<Option<String>>]) -> Vec<Vec<&str>> {
    let rows = rows.iter();
    rows.map(|row| row.iter().map(|cell| cell.as_deref().unwrap_or("NULL")).collect())
        .collect()
}

#[tokio::test]
async fn sequences_are_made_shown_changed_and_dropped() {
    let mut bench = bench().await;
    let made = bench
        .cell("CREATE SEQUENCE S WITH START WITH = -5 INCREMENT BY 10 ORDER COMMENT = 'it''s'")
        .await;
    assert_eq!(made, "Sequence S successfully created.");
    assert_eq!(bench.code("CREATE SEQUENCE S").await, "002002");
    bench.run("CREATE SEQUENCE IF NOT EXISTS S START 7").await;
    bench.run("CREATE SEQUENCE \"odd\" INCREMENT -1").await;
    let shown = bench.run("SHOW SEQUENCES LIKE 's'").await;
    let row = texts(&shown);
    assert_eq!(row[0][..5], ["S", "D", "PUBLIC", "-5", "10"]);
    assert_eq!(row[0][6..], ["ACCOUNTADMIN", "it's", "ROLE", "Y"]);
    assert_eq!(bench.run("DESC SEQUENCE D.PUBLIC.S").await, shown);
    assert_eq!(bench.run("SHOW SEQUENCES IN DATABASE D").await.len(), 2);
    bench
        .run("ALTER SEQUENCE S SET INCREMENT BY 3, COMMENT = 'other'")
        .await;
    bench.run("ALTER SEQUENCE S SET NOORDER").await;
    bench.run("ALTER SEQUENCE S RENAME TO T").await;
    let shown = bench.run("DESC SEQUENCE T").await;
    assert_eq!(
        (texts(&shown)[0][4], texts(&shown)[0][7], texts(&shown)[0][9]),
        ("3", "other", "N")
    );
    for (statement, code) in [
        ("ALTER SEQUENCE T SET ORDER", "001003"),
        ("ALTER SEQUENCE T SET START 3", "001003"),
        ("ALTER SEQUENCE T RENAME TO \"odd\"", "002002"),
        ("ALTER SEQUENCE GONE SET COMMENT = 'x'", "002003"),
        ("CREATE SEQUENCE Z INCREMENT 0", "001003"),
        ("CREATE SEQUENCE Z START 9223372036854775808", "001003"),
        ("CREATE OR REPLACE SEQUENCE IF NOT EXISTS Z", "001003"),
        ("CREATE SEQUENCE NOWHERE.PUBLIC.Z", "000603"),
        ("DROP SEQUENCE GONE", "002003"),
    ] {
        assert_eq!(bench.code(statement).await, code, "{statement}");
    }
    bench.run("DROP SEQUENCE IF EXISTS GONE").await;
    bench.run("DROP SEQUENCE T").await;
    bench.run("DROP SCHEMA PUBLIC").await;
    assert!(bench.run("SHOW SEQUENCES IN ACCOUNT").await.is_empty());
}

#[tokio::test]
async fn each_row_and_each_mention_takes_its_own_number() {
    let mut bench = bench().await;
    bench.run("CREATE SEQUENCE S START 10 INCREMENT 5").await;
    assert_eq!(bench.cell("SELECT S.NEXTVAL").await, "10");
    assert_eq!(bench.cell("SELECT D.PUBLIC.S.NEXTVAL + 1").await, "16");
    bench.run("CREATE TABLE T (ID NUMBER, A VARCHAR)").await;
    bench.run("CREATE TABLE LETTERS (L VARCHAR)").await;
    bench.run("INSERT INTO LETTERS VALUES ('a'), ('b'), ('c')").await;
    bench.run("INSERT INTO T SELECT S.NEXTVAL, L FROM LETTERS").await;
    bench
        .run("INSERT INTO T VALUES (S.NEXTVAL, 'd'), (S.NEXTVAL, 'e')")
        .await;
    let rows = bench
        .run("SELECT COUNT(DISTINCT ID), COUNT(*), MIN(ID) FROM T")
        .await;
    assert_eq!(texts(&rows), [["5", "5", "20"]]);
    let twice = bench.run("SELECT S.NEXTVAL A, S.NEXTVAL B").await;
    assert_ne!(twice[0][0], twice[0][1]);
    let again = bench.run("SELECT X A, X B FROM (SELECT S.NEXTVAL X)").await;
    assert_eq!(again[0][0], again[0][1], "a number that was taken stays");
    // A table that is no sequence may have such a column.
    bench.run("CREATE TABLE U (NEXTVAL INT)").await;
    bench.run("INSERT INTO U VALUES (1)").await;
    assert_eq!(bench.cell("SELECT U.NEXTVAL FROM U").await, "1");
    assert_eq!(bench.code("SELECT GONE.NEXTVAL").await, "000904");
    bench.run("CREATE SEQUENCE E START 9223372036854775807").await;
    assert_eq!(bench.cell("SELECT E.NEXTVAL").await, "9223372036854775807");
    assert_eq!(bench.code("SELECT E.NEXTVAL").await, "100038");
}

#[tokio::test]
async fn a_default_takes_numbers_of_a_sequence_also_for_streamed_rows() {
    let mut bench = bench().await;
    bench.run("CREATE SEQUENCE S START 100").await;
    bench
        .run("CREATE TABLE T (ID NUMBER NOT NULL DEFAULT S.NEXTVAL, A VARCHAR(2))")
        .await;
    bench.run("INSERT INTO T (A) VALUES ('a'), ('b')").await;
    bench.run("INSERT INTO T VALUES (7, 'c')").await;
    bench.load("T", "{\"a\":\"d\"}\n{\"id\":8,\"a\":\"e\"}\n{\"a\":\"f\"}\n");
    let rows = bench.run("SELECT A, ID FROM T ORDER BY A").await;
    assert_eq!(
        texts(&rows)[..4],
        [["a", "100"], ["b", "101"], ["c", "7"], ["d", "103"]]
    );
    assert_eq!(texts(&rows)[4], ["e", "8"]);
    let last: i64 = texts(&rows)[5][1].parse().expect("a number");
    assert!(last > 103);
    let shown = bench.run("DESC TABLE T").await;
    assert!(
        shown[0].contains(&Some("D.PUBLIC.S.NEXTVAL".to_owned())),
        "{shown:?}"
    );
    // By its name: another sequence of the name goes on, and without one the row fails.
    bench.run("CREATE OR REPLACE SEQUENCE S START 5000").await;
    bench.run("INSERT INTO T (A) VALUES ('g')").await;
    assert_eq!(bench.cell("SELECT ID FROM T WHERE A = 'g'").await, "5000");
    bench.run("DROP SEQUENCE S").await;
    assert_eq!(bench.code("INSERT INTO T (A) VALUES ('h')").await, "002003");
    bench.run("INSERT INTO T VALUES (9, 'h')").await;
    assert_eq!(
        bench
            .code("CREATE TABLE U (ID NUMBER DEFAULT GONE.NEXTVAL)")
            .await,
        "002003"
    );
    assert_eq!(
        bench
            .code("ALTER TABLE T ADD COLUMN N NUMBER DEFAULT S.NEXTVAL")
            .await,
        "000002"
    );
}

#[tokio::test]
async fn a_sequence_wants_usage_and_survives_a_restart() {
    let mut bench = bench().await;
    bench.run("CREATE ROLE R").await;
    for statement in [
        "CREATE SEQUENCE S",
        "GRANT USAGE ON DATABASE D TO ROLE R",
        "GRANT USAGE ON SCHEMA D.PUBLIC TO ROLE R",
    ] {
        bench.run(statement).await;
    }
    assert_eq!(bench.cell("SELECT S.NEXTVAL").await, "1");
    bench.session.role = Some("R".to_owned());
    assert_eq!(bench.code("SELECT S.NEXTVAL").await, "002003");
    assert_eq!(bench.code("CREATE SEQUENCE MINE").await, "003001");
    assert!(bench.run("SHOW SEQUENCES").await.is_empty());
    bench.session.role = None;
    bench.run("GRANT USAGE ON SEQUENCE S TO ROLE R").await;
    bench
        .run("GRANT CREATE SEQUENCE ON SCHEMA D.PUBLIC TO ROLE R")
        .await;
    let grants = bench.run("SHOW GRANTS ON SEQUENCE S").await;
    assert!(
        texts(&grants)
            .iter()
            .any(|row| row[1..4] == ["USAGE", "SEQUENCE", "D.PUBLIC.S"]),
        "{grants:?}"
    );
    bench.session.role = Some("R".to_owned());
    assert_eq!(bench.cell("SELECT S.NEXTVAL").await, "2");
    assert_eq!(bench.code("DROP SEQUENCE S").await, "003001");
    bench.run("CREATE SEQUENCE MINE").await;
    assert_eq!(bench.run("SHOW SEQUENCES").await.len(), 2);
    let reopened = Catalog::open(&bench.folder.path().join("catalog.db")).expect("a catalog");
    bench.engine.catalog = Arc::new(reopened);
    assert_eq!(bench.cell("SELECT S.NEXTVAL").await, "3");
}
