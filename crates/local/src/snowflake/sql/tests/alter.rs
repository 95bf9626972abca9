//! ALTER TABLE over rows that are there.

use super::*;

/// A table with two rows.
async fn table() -> Bench {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench
        .run("CREATE TABLE T (A VARCHAR(5) NOT NULL COMMENT 'first', B NUMBER(4,1), V VARIANT) COMMENT = 'events'")
        .await;
    bench.load("T", "{\"a\":\"x\",\"b\":1.5,\"v\":{\"k\":7}}\n{\"a\":\"y\"}");
    bench
}

fn texts(rows: &[Vec<Option<String>>]) -> Vec<Vec<&str>> {
    let cell = |cell: &Option<String>| -> &'static str {
        Box::leak(cell.clone().unwrap_or_else(|| "NULL".to_owned()).into_boxed_str())
    };
    rows.iter().map(|row| row.iter().map(cell).collect()).collect()
}

#[tokio::test]
async fn a_renamed_column_keeps_its_rows_and_takes_new_ones() {
    let mut bench = table().await;
    bench.run("ALTER TABLE T RENAME COLUMN A TO \"z z\"").await;
    bench.load("T", "{\"z z\":\"n\",\"a\":\"lost\"}");
    let rows = bench.run("SELECT * FROM T ORDER BY \"z z\"").await;
    assert_eq!(
        texts(&rows),
        [
            ["n", "NULL", "NULL"],
            ["x", "1.5", "{\"k\":7}"],
            ["y", "NULL", "NULL"]
        ]
    );
    assert_eq!(
        bench.cell("SELECT V:k::NUMBER FROM T WHERE \"z z\" = 'x'").await,
        "7"
    );
    bench.run("ALTER TABLE T RENAME COLUMN V TO W").await;
    assert_eq!(
        bench.cell("SELECT W:k FROM T WHERE \"z z\" = 'x'").await,
        "7",
        "still JSON"
    );
    // The name that is free again belongs to another column.
    bench.run("ALTER TABLE T ADD COLUMN A VARCHAR, W2 DATE").await;
    assert_eq!(bench.cell("SELECT COUNT(A) FROM T").await, "0");
    bench.load("T", "{\"z z\":\"m\",\"a\":\"new\"}");
    assert_eq!(bench.cell("SELECT A FROM T WHERE \"z z\" = 'm'").await, "new");
    assert_eq!(bench.code("ALTER TABLE T RENAME COLUMN A TO B").await, "002002");
    assert_eq!(
        bench.code("ALTER TABLE T RENAME COLUMN NONE TO C").await,
        "000904"
    );
}

#[tokio::test]
async fn a_dropped_columns_values_do_not_come_back_with_its_name() {
    let mut bench = table().await;
    bench.run("ALTER TABLE T DROP COLUMN B").await;
    assert_eq!(bench.code("SELECT B FROM T").await, "000904");
    bench.run("ALTER TABLE T ADD B NUMBER(4,1)").await;
    assert_eq!(bench.cell("SELECT COUNT(B) FROM T").await, "0");
    bench.load("T", "{\"a\":\"n\",\"b\":2.5}");
    assert_eq!(bench.cell("SELECT SUM(B) FROM T").await, "2.5");
    // By evolution too.
    bench
        .run("ALTER TABLE T SET ENABLE_SCHEMA_EVOLUTION = TRUE COMMENT = 'x'")
        .await;
    bench.run("ALTER TABLE T DROP COLUMN IF EXISTS B, V").await;
    bench.load("T", "{\"a\":\"e\",\"b\":3,\"v\":4}");
    assert_eq!(bench.cell("SELECT SUM(B) || ' ' || SUM(V) FROM T").await, "3 4");
    bench.run("ALTER TABLE T DROP COLUMN B, V").await;
    assert_eq!(
        bench.code("ALTER TABLE T DROP COLUMN A").await,
        "001003",
        "the last one"
    );
    assert_eq!(bench.code("ALTER TABLE T DROP COLUMN B").await, "000904");
}

#[tokio::test]
async fn types_grow_and_constraints_are_looked_at() {
    let mut bench = table().await;
    bench
        .run("ALTER TABLE T ALTER COLUMN A SET DATA TYPE VARCHAR(10), COLUMN B TYPE NUMBER(20,1), A COMMENT 'longer'")
        .await;
    bench.load("T", "{\"a\":\"0123456789\",\"b\":1234567890.5}");
    assert_eq!(bench.cell("SELECT SUM(B) FROM T").await, "1234567892.0");
    for (statement, code) in [
        ("ALTER TABLE T MODIFY COLUMN A SET DATA TYPE VARCHAR(4)", "002108"),
        ("ALTER TABLE T MODIFY B SET DATA TYPE NUMBER(20,2)", "002108"),
        ("ALTER TABLE T MODIFY B SET DATA TYPE VARCHAR", "002108"),
        ("ALTER TABLE T ALTER B SET NOT NULL", "002023"),
        ("ALTER TABLE T ALTER NONE DROP NOT NULL", "000904"),
        ("ALTER TABLE T ALTER A SET DEFAULT 'x'", "000002"),
        ("ALTER TABLE T SWAP WITH U", "000002"),
        ("ALTER TABLE T SET DATA_RETENTION_TIME_IN_DAYS = 91", "001003"),
        ("ALTER TABLE NONE DROP COLUMN A", "002003"),
    ] {
        assert_eq!(bench.code(statement).await, code, "{statement}");
    }
    assert_eq!(
        bench.cell("SELECT COUNT(*) FROM T WHERE B IS NULL").await,
        "1",
        "as before"
    );
    bench.load("T", "{\"a\":\"null goes\"}");
    bench
        .run("ALTER TABLE T MODIFY (COLUMN A DROP NOT NULL, B DROP DEFAULT)")
        .await;
    bench.load("T", "{\"b\":1}");
    bench.run("ALTER TABLE IF EXISTS NONE DROP COLUMN A").await;
    bench.run("ALTER TABLE T CLUSTER BY (A, TRUNC(B))").await;
    let ddl = bench.cell("SELECT GET_DDL('TABLE', 'T')").await;
    for part in ["VARCHAR(10) COMMENT 'longer'", "NUMBER(20,1)", "(A, TRUNC(B))"] {
        assert!(ddl.to_lowercase().contains(&part.to_lowercase()), "{part}: {ddl}");
    }
    assert!(!ddl.contains("NOT NULL"), "{ddl}");
    bench.run("ALTER TABLE T DROP CLUSTERING KEY").await;
    bench
        .run("ALTER TABLE T UNSET COMMENT, DATA_RETENTION_TIME_IN_DAYS")
        .await;
    let ddl = bench.cell("SELECT GET_DDL('TABLE', 'T')").await;
    assert!(
        !ddl.to_uppercase().contains("CLUSTER") && !ddl.contains("events"),
        "{ddl}"
    );
}

#[tokio::test]
async fn a_renamed_table_keeps_its_rows_and_pipes_do_not_follow() {
    let mut bench = table().await;
    bench
        .run("CREATE PIPE P AS COPY INTO T (A) FROM (SELECT $1:a FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')))")
        .await;
    bench.run("CREATE SCHEMA S").await;
    bench.run("CREATE TABLE D.S.OTHER (A INT)").await;
    assert_eq!(
        bench.code("ALTER TABLE D.PUBLIC.T RENAME TO D.S.OTHER").await,
        "002002"
    );
    bench.run("ALTER TABLE D.PUBLIC.T RENAME TO D.S.U").await;
    assert_eq!(bench.cell("SELECT COUNT(*) FROM D.S.U").await, "2");
    assert_eq!(bench.code("SELECT * FROM D.PUBLIC.T").await, "002003");
    let catalog = &bench.engine.catalog;
    let table = catalog.table("D", "S", "U").unwrap().expect("the table");
    let pipe = catalog.find_pipe("D", "PUBLIC", "P").unwrap().expect("the pipe");
    assert!(matches!(
        Prepared::of(
            pipe.copy.as_deref(),
            &table,
            &Scope::of_session(&bench.engine.catalog, &bench.session)
        ),
        Prepared::Broken(_)
    ));
}
