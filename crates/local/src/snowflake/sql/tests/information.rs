//! INFORMATION_SCHEMA, the lists of SHOW and DESCRIBE, and defaults of row timestamps.

use super::*;

async fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench
        .run(
            "CREATE TABLE T (ID INT AUTOINCREMENT, N NUMBER(10,2) NOT NULL DEFAULT 1, S VARCHAR(20) COMMENT 'name', \
             TS TIMESTAMP_NTZ(3)) CLUSTER BY (N) COMMENT = 'events' ENABLE_SCHEMA_EVOLUTION = TRUE",
        )
        .await;
    bench
}

#[tokio::test]
async fn the_information_schema_tells_what_there_is() {
    let mut bench = bench().await;
    bench.load("T", "{\"n\":2,\"fresh\":[1]}");
    let rows = bench
        .run(
            "SELECT COLUMN_NAME, ORDINAL_POSITION, DATA_TYPE, IS_NULLABLE, NUMERIC_SCALE, CHARACTER_MAXIMUM_LENGTH, \
             COLUMN_DEFAULT, IDENTITY_START, COMMENT FROM INFORMATION_SCHEMA.COLUMNS \
             WHERE TABLE_SCHEMA = 'PUBLIC' AND table_name ILIKE 't' ORDER BY ORDINAL_POSITION",
        )
        .await;
    let rows: Vec<String> = rows
        .iter()
        .map(|row| {
            row.iter()
                .map(|cell| cell.as_deref().unwrap_or("-"))
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(
        rows,
        [
            "ID 1 NUMBER YES 0 - - 2 -",
            "N 2 NUMBER NO 2 - 1 - -",
            "S 3 TEXT YES - 20 - - name",
            "TS 4 TIMESTAMP_NTZ YES - - - - -",
            "FRESH 5 VARIANT YES - - - - -",
        ]
    );
    let sql = "SELECT t.ROW_COUNT, t.COMMENT, t.CLUSTERING_KEY, s.SCHEMA_OWNER FROM D.INFORMATION_SCHEMA.TABLES t \
               JOIN D.INFORMATION_SCHEMA.SCHEMATA s ON s.SCHEMA_NAME = t.TABLE_SCHEMA";
    let row = bench.run(sql).await.remove(0);
    let row: Vec<&str> = row.iter().flatten().map(String::as_str).collect();
    assert_eq!(row, ["1", "events", "LINEAR(N)", "ACCOUNTADMIN"]);
    bench
        .run(
            "CREATE PIPE P AS COPY INTO T FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')) \
             MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE",
        )
        .await;
    let definition = bench
        .cell("SELECT DEFINITION FROM INFORMATION_SCHEMA.PIPES")
        .await;
    assert!(definition.starts_with("COPY INTO T"), "{definition}");
    assert_eq!(
        bench.cell("SELECT COUNT(*) FROM INFORMATION_SCHEMA.VIEWS").await,
        "0"
    );
    assert_eq!(
        bench
            .cell("SELECT DATABASE_NAME FROM INFORMATION_SCHEMA.DATABASES")
            .await,
        "D"
    );
    assert_eq!(
        bench.code("SELECT * FROM INFORMATION_SCHEMA.NONE").await,
        "002003"
    );
    assert_eq!(
        bench.code("SELECT * FROM NONE.INFORMATION_SCHEMA.TABLES").await,
        "002003"
    );
}

#[tokio::test]
async fn the_information_schema_shows_what_the_role_sees() {
    let mut bench = bench().await;
    bench.run("CREATE TABLE HIDDEN (A INT)").await;
    bench.run("CREATE ROLE R").await;
    bench.run("GRANT USAGE ON DATABASE D TO ROLE R").await;
    bench.run("GRANT USAGE ON SCHEMA D.PUBLIC TO ROLE R").await;
    bench.run("GRANT INSERT ON TABLE T TO ROLE R").await;
    bench.run("CREATE DATABASE SECRET").await;
    bench.session.role = Some("R".to_owned());
    bench.session.database = Some("D".to_owned());
    assert_eq!(
        bench
            .cell("SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES")
            .await,
        "T"
    );
    assert_eq!(
        bench
            .cell("SELECT COUNT(DISTINCT TABLE_NAME) FROM INFORMATION_SCHEMA.COLUMNS")
            .await,
        "1"
    );
    assert_eq!(
        bench
            .cell("SELECT DATABASE_NAME FROM INFORMATION_SCHEMA.DATABASES")
            .await,
        "D"
    );
    assert_eq!(
        bench
            .cell("SELECT ROLE_NAME FROM INFORMATION_SCHEMA.ENABLED_ROLES")
            .await,
        "R"
    );
    assert_eq!(
        bench.code("SELECT * FROM SECRET.INFORMATION_SCHEMA.TABLES").await,
        "002003"
    );
}

#[tokio::test]
async fn evolution_leaves_its_record_until_a_column_is_changed_by_hand() {
    let mut bench = bench().await;
    bench.load("T", "{\"fresh\":1}");
    let record = "SELECT SCHEMA_EVOLUTION_RECORD FROM INFORMATION_SCHEMA.COLUMNS WHERE COLUMN_NAME = 'FRESH'";
    let told: serde_json::Value = serde_json::from_str(&bench.cell(record).await).expect("JSON");
    assert_eq!(told["evolutionType"], "ADD_COLUMN");
    assert!(
        told["triggeringTime"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z')),
        "{told}"
    );
    let last = |rows: &[Vec<Option<String>>]| rows.last().and_then(|row| row.last().cloned()).flatten();
    assert!(last(&bench.run("SHOW COLUMNS IN TABLE T").await).is_some());
    assert!(last(&bench.run("DESC TABLE T").await).is_some());
    bench.run("ALTER TABLE T ALTER COLUMN FRESH COMMENT 'mine'").await;
    assert_eq!(bench.cell(record).await, "NULL");
    assert_eq!(last(&bench.run("DESC TABLE T").await), None);
    bench
        .run("ALTER TABLE T SET ENABLE_SCHEMA_EVOLUTION = FALSE")
        .await;
    let columns = bench.try_run("DESC TABLE T").await.expect("described").columns;
    assert_eq!(
        columns.last().map(|column| column.name.as_str()),
        Some("privacy domain")
    );
}

#[tokio::test]
async fn new_tables_take_the_nearest_default_of_row_timestamps() {
    let mut bench = bench().await;
    bench.run("CREATE SCHEMA S").await;
    for (statement, expected) in [
        ("ALTER ACCOUNT SET ROW_TIMESTAMP_DEFAULT = TRUE", true),
        ("ALTER DATABASE D SET ROW_TIMESTAMP_DEFAULT = FALSE", false),
        ("ALTER SCHEMA D.S SET ROW_TIMESTAMP_DEFAULT = TRUE", true),
        ("ALTER SCHEMA S UNSET ROW_TIMESTAMP_DEFAULT", false),
        ("ALTER DATABASE D UNSET ROW_TIMESTAMP_DEFAULT", true),
        ("ALTER ACCOUNT UNSET ROW_TIMESTAMP_DEFAULT", false),
    ] {
        bench.run(statement).await;
        bench.run("CREATE OR REPLACE TABLE D.S.X (A INT)").await;
        let table = bench.engine.catalog.table("D", "S", "X").unwrap().unwrap();
        assert_eq!(table.row_timestamp_ms.is_some(), expected, "{statement}");
    }
    bench.run("CREATE TABLE D.S.Y (A INT) ROW_TIMESTAMP = TRUE").await;
    bench
        .run("CREATE INTERACTIVE TABLE D.S.I (A INT) CLUSTER BY (A)")
        .await;
    let told = bench
        .cell("SELECT SYSTEM$SET_ROW_TIMESTAMP_ON_ALL_SUPPORTED_TABLES('schema', 'd.s')")
        .await;
    assert!(told.contains(" 1 "), "{told}");
    let on: Vec<bool> = ["X", "Y", "I"]
        .iter()
        .map(|name| {
            bench
                .engine
                .catalog
                .table("D", "S", name)
                .unwrap()
                .unwrap()
                .row_timestamp_ms
                .is_some()
        })
        .collect();
    assert_eq!(on, [true, true, false]);
    for (statement, code) in [
        ("ALTER SCHEMA NONE SET ROW_TIMESTAMP_DEFAULT = TRUE", "002003"),
        ("ALTER DATABASE D SET ROW_TIMESTAMP_DEFAULT = 5", "000002"),
        (
            "SELECT SYSTEM$SET_ROW_TIMESTAMP_ON_ALL_SUPPORTED_TABLES('schema')",
            "001003",
        ),
    ] {
        assert_eq!(bench.code(statement).await, code, "{statement}");
    }
    bench.run("CREATE ROLE R").await;
    bench.session.role = Some("R".to_owned());
    assert_eq!(
        bench.code("ALTER ACCOUNT SET ROW_TIMESTAMP_DEFAULT = TRUE").await,
        "003001"
    );
}
