//! Interactive tables.

use super::*;
use crate::snowflake::model::TableKind;

const METRICS: &str = "CREATE INTERACTIVE TABLE REALTIME_METRICS (
  metric_name VARCHAR, metric_value NUMBER, tags ARRAY(VARCHAR), source_stream VARCHAR, approximate_arrival NUMBER
) CLUSTER BY (metric_name)
AS (SELECT $1:M_NAME::VARCHAR, $1:M_VALUE::NUMBER, $1:tags, -- a comment
           $1:kinesisMetadata.stream::VARCHAR, $1:kinesisMetadata.approximateArrival::NUMBER
    FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')));";

#[tokio::test]
async fn the_default_pipe_does_what_the_tables_own_select_says() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench.run(METRICS).await;
    let table = bench
        .engine
        .catalog
        .table("D", "PUBLIC", "REALTIME_METRICS")
        .unwrap()
        .unwrap();
    assert_eq!(table.kind, TableKind::Interactive);
    let record = "{\"M_NAME\":\"load\",\"tags\":[\"a\"],\"M_VALUE\":\"7\",\"kinesisMetadata\":{\"stream\":\"s\",\"approximateArrival\":9}}";
    let prepared = Prepared::of(
        None,
        &table,
        &Scope::of_session(&bench.engine.catalog, &bench.session),
    );
    let accepted = [AcceptedRows {
        ndjson: record.as_bytes(),
    }];
    let converted = convert(&table, prepared.mapping(), &accepted, Terms::at(0));
    assert_eq!(converted.per_batch[0].inserted, 1, "{:?}", converted.per_batch);
    let row = arrow::util::pretty::pretty_format_batches(&[converted.record_batch])
        .unwrap()
        .to_string();
    assert!(
        row.contains("| load        | 7            | [a]  | s             | 9 "),
        "{row}"
    );
    // Renamed, it goes on.
    bench.run("ALTER TABLE REALTIME_METRICS RENAME TO M").await;
    let table = bench.engine.catalog.table("D", "PUBLIC", "M").unwrap().unwrap();
    assert!(matches!(
        Prepared::of(
            None,
            &table,
            &Scope::of_session(&bench.engine.catalog, &bench.session)
        ),
        Prepared::Select(_)
    ));
    let printed = bench.cell("SELECT GET_DDL('TABLE', 'M')").await;
    bench.run(&printed).await;
    assert_eq!(bench.cell("SELECT GET_DDL('TABLE', 'M')").await, printed);
    assert!(
        printed.contains("$1:kinesisMetadata.stream::VARCHAR"),
        "{printed}"
    );
    assert_eq!(bench.run("SHOW INTERACTIVE TABLES").await.len(), 1);
    assert_eq!(bench.run("SHOW ICEBERG TABLES").await.len(), 0);
}

#[tokio::test]
async fn rows_come_by_overwriting_only_and_what_the_service_refuses_is_refused() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench.run("CREATE TABLE SOURCE (A INT)").await;
    bench.run("INSERT INTO SOURCE VALUES (1), (2)").await;
    bench
        .run("CREATE INTERACTIVE TABLE T CLUSTER BY (A) AS SELECT A FROM SOURCE")
        .await;
    assert_eq!(bench.cell("SELECT SUM(A) FROM T").await, "3");
    bench
        .run("INSERT OVERWRITE INTO T SELECT A + 10 FROM SOURCE")
        .await;
    assert_eq!(bench.cell("SELECT SUM(A) FROM T").await, "23", "instead");
    bench
        .run("INSERT OVERWRITE INTO T SELECT A FROM SOURCE WHERE FALSE")
        .await;
    assert_eq!(bench.cell("SELECT COUNT(*) FROM T").await, "0");
    for (statement, code) in [
        ("INSERT INTO T VALUES (1)", "000002"),
        ("DELETE FROM T", "000002"),
        ("UPDATE T SET A = 1", "000002"),
        ("ALTER TABLE T ADD COLUMN B INT", "000002"),
        ("ALTER TABLE T SET ROW_TIMESTAMP = TRUE", "000002"),
        ("CREATE INTERACTIVE TABLE U (A INT)", "001003"),
        (
            "CREATE INTERACTIVE TABLE U (A INT) CLUSTER BY (A) ROW_TIMESTAMP = TRUE",
            "000002",
        ),
        (
            "CREATE INTERACTIVE TABLE U (A INT) CLUSTER BY (A) TARGET_LAG = '1 minute'",
            "000002",
        ),
        (
            "CREATE INTERACTIVE TABLE U (A INT, B INT) CLUSTER BY (A) AS \
             (SELECT $1:a FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')))",
            "002020",
        ),
        (
            "CREATE INTERACTIVE TABLE U (A INT) CLUSTER BY (A) AS \
             (SELECT $1:a FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')) WHERE TRUE)",
            "001003",
        ),
    ] {
        assert_eq!(bench.code(statement).await, code, "{statement}");
    }
    assert_eq!(bench.run("SHOW TABLES").await.len(), 2, "nothing half made");
}
