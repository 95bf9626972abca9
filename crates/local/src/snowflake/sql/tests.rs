//! Statements against a catalog with real segments.

use super::*;
use crate::disk::RealDisk;
use crate::snowflake::catalog::commit::{Outcome, TableCommit};
use crate::snowflake::rows::{AcceptedRows, Mapping, Terms, convert};
use crate::snowflake::stored;

mod alter;
mod clone;
mod coercion;
mod counting;
mod dates;
mod flatten;
mod iceberg;
mod information;
mod interactive;
mod moments;
mod network;
mod numbers;
mod rights;
mod sequences;
mod structured;
mod texts;
mod tokens;
mod travel;
mod typed;
mod udf;
mod undrop;

struct Bench {
    folder: tempfile::TempDir,
    engine: Engine,
    session: Session,
}

impl Bench {
    fn new() -> Self {
        // A folder whose name would be a pattern.
        let folder = tempfile::Builder::new()
            .prefix("a [b]*")
            .tempdir()
            .expect("a folder");
        std::fs::create_dir(folder.path().join("segments")).expect("a folder");
        let catalog = Arc::new(Catalog::open(&folder.path().join("catalog.db")).expect("a catalog"));
        let engine = Engine::new(
            catalog,
            Arc::new(RealDisk::new(folder.path())),
            folder.path().to_owned(),
            "LOCAL",
        );
        Self {
            folder,
            engine,
            session: Session::default(),
        }
    }

    async fn run(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.try_run(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
            .rows
    }

    async fn try_run(&mut self, sql: &str) -> Result<QueryResult> {
        self.engine.execute(&mut self.session, sql).await
    }

    async fn code(&mut self, sql: &str) -> &'static str {
        self.try_run(sql).await.expect_err(sql).code
    }

    /// The only cell.
    async fn cell(&mut self, sql: &str) -> String {
        let rows = self.run(sql).await;
        assert_eq!(
            (rows.len(), rows.first().map(Vec::len)),
            (1, Some(1)),
            "{sql}: {rows:?}"
        );
        rows[0][0].clone().unwrap_or_else(|| "NULL".to_owned())
    }

    /// Commits rows as the committer does.
    fn load(&self, table: &str, ndjson: &str) {
        let catalog = &self.engine.catalog;
        let table = catalog
            .table("D", "PUBLIC", table)
            .expect("readable")
            .expect("the table");
        let rows = AcceptedRows {
            ndjson: ndjson.as_bytes(),
        };
        let numbers = super::numbers(catalog, &table, rows.lines()).expect("readable");
        let converted = convert(
            &table,
            Mapping::DEFAULT,
            &[rows],
            Terms {
                numbers: &numbers,
                ..Terms::at(0)
            },
        );
        assert_eq!(converted.per_batch[0].errors, 0, "{:?}", converted.per_batch[0]);
        let disk = RealDisk::new(self.folder.path());
        let mut after = table.columns.clone();
        crate::snowflake::committer::advance(&mut after, &converted.identities);
        crate::snowflake::committer::widen(&mut after, &converted.micros);
        after.extend(converted.added_columns);
        let written =
            stored::write(&disk, catalog, &table, Some(&after), &converted.record_batch).expect("written");
        let commit = TableCommit {
            table_id: table.id,
            columns_before: table.columns,
            columns_after: Some(after),
            segment: written.segment,
            errors: None,
            channels: Vec::new(),
            overwrite: false,
            iceberg: written.iceberg,
        };
        assert_eq!(catalog.commit(&commit).expect("committed"), Outcome::Done);
    }
}

#[tokio::test]
async fn columns_of_values_have_names_and_places() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    let result = bench
        .try_run("SELECT * FROM VALUES (1, 'a'), (2, 'b')")
        .await
        .expect("rows");
    let names: Vec<&str> = result.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(
        (names.as_slice(), result.rows.len()),
        (&["COLUMN1", "COLUMN2"][..], 2)
    );
    for (statement, wanted) in [
        ("SELECT SUM($1) FROM VALUES (1), (2)", "3"),
        ("SELECT column2 FROM VALUES (1, 'a')", "a"),
        ("SELECT V.COLUMN1 FROM VALUES (1) V", "1"),
        ("SELECT A + B FROM (VALUES (1, 2)) AS V (A, B)", "3"),
        ("SELECT $2 FROM (VALUES (1, 2)) AS V (A, B) WHERE $1 = 1", "2"),
        (
            "SELECT COUNT(*) FROM (SELECT $1 AS X FROM VALUES (1), (1), (2)) WHERE X = 1",
            "2",
        ),
        (
            "SELECT L.COLUMN1 + R.COLUMN1 FROM VALUES (1) L JOIN VALUES (10) R ON TRUE",
            "11",
        ),
    ] {
        assert_eq!(bench.cell(statement).await, wanted, "{statement}");
    }
    bench.run("CREATE TABLE T (V VARIANT)").await;
    bench
        .run("INSERT INTO T SELECT PARSE_JSON($1) FROM VALUES ('{\"a\":1}'), ('{\"a\":2}')")
        .await;
    assert_eq!(bench.cell("SELECT SUM(V:a::NUMBER) FROM T").await, "3");
    assert!(bench.try_run("SELECT $3 FROM VALUES (1, 2)").await.is_err());
}

#[tokio::test]
async fn names_fold_to_upper_case_unless_quoted() {
    let mut bench = Bench::new();
    bench.run("create database d").await;
    bench
        .run("CREATE TABLE t (a INT, \"b\" TEXT) ENABLE_SCHEMA_EVOLUTION = TRUE ERROR_LOGGING = TRUE")
        .await;
    bench.load("T", "{\"a\":1,\"b\":\"x\"}\n{\"a\":2}");
    assert_eq!(
        bench.cell("select A from d.public.T where \"b\" = 'x'").await,
        "1"
    );
    assert_eq!(bench.code("select b from t").await, "000904");
    assert_eq!(bench.code("select * from \"t\"").await, "002003");
    let rows = bench.run("SHOW TABLES LIKE 't'").await;
    assert_eq!(
        (
            rows[0][7].as_deref(),
            rows[0][14].as_deref(),
            rows[0][21].as_deref()
        ),
        (Some("2"), Some("Y"), Some("ON"))
    );
    let rows = bench.run("desc table t").await;
    assert_eq!(rows[1][0].as_deref(), Some("b"));
    assert_eq!(rows[0][1].as_deref(), Some("NUMBER(38,0)"));
}

#[tokio::test]
async fn paths_and_casts_of_variant_work_as_documented() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench.run("CREATE TABLE T (V VARIANT, S TEXT)").await;
    bench.load(
        "T",
        r#"{"v":{"a":{"B":[1,{"c":"x"},2.6]},"t":true,"n":null,"Odd key":7},"s":"\"q\""}"#,
    );
    for (sql, expected) in [
        ("select v:a.B[1].c::varchar from t", "x"),
        ("select v:a.B[1].c from t", "\"x\""),
        ("select v:a.B[2]::number from t", "3"),
        ("select v:a.B[2]::float + 1 from t", "3.6"),
        ("select v:a.B[0]::int + 1 as n from t where v:t::boolean", "2"),
        ("select v:\"Odd key\"::int from t", "7"),
        ("select v['t'] from t", "true"),
        ("select v:n::varchar from t", "NULL"),
        ("select v:nothing.at.all from t", "NULL"),
        ("select s::varchar from t", "\"q\""),
        ("select count(distinct v:a.B[0]) from t", "1"),
        ("select try_cast(v:a.B[1].c as int) from t", "NULL"),
    ] {
        assert_eq!(bench.cell(sql).await, expected, "{sql}");
    }
    let columns = bench
        .try_run("select v, v:a as a, s from t")
        .await
        .expect("runs")
        .columns;
    let kinds: Vec<_> = columns
        .iter()
        .map(|column| (column.name.as_str(), column.kind))
        .collect();
    assert_eq!(kinds, [("V", "variant"), ("A", "variant"), ("S", "text")]);
}

#[tokio::test]
async fn rows_of_before_a_new_column_show_null_in_it() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench
        .run("CREATE TABLE T (A INT) ENABLE_SCHEMA_EVOLUTION = TRUE")
        .await;
    assert_eq!(bench.cell("SELECT COUNT(*) FROM T").await, "0");
    for n in 0..20 {
        bench.load("T", &format!("{{\"a\":{n}}}"));
    }
    bench.load("T", "{\"a\":99,\"new\":\"x\"}");
    assert_eq!(bench.cell("SELECT COUNT(*) FROM T").await, "21");
    assert_eq!(bench.cell("SELECT COUNT(NEW) FROM T").await, "1");
    assert_eq!(bench.cell("SELECT SUM(A) FROM T WHERE NEW IS NULL").await, "190");
    let rows = bench
        .run("WITH x AS (SELECT A, NEW FROM T) SELECT a, new FROM x ORDER BY a DESC LIMIT 2")
        .await;
    assert_eq!(rows[0], [Some("99".to_owned()), Some("x".to_owned())]);
    assert_eq!(rows[1], [Some("19".to_owned()), None]);
    let joined = "SELECT l.a FROM t l JOIN t r ON l.a = r.a + 1 GROUP BY l.a ORDER BY 1 LIMIT 1";
    assert_eq!(bench.cell(joined).await, "1");
}

#[tokio::test]
async fn definitions_answer_and_refuse_as_snowflake_does() {
    let mut bench = Bench::new();
    assert_eq!(bench.code("CREATE TABLE T (A INT)").await, "090105");
    bench.run("CREATE DATABASE D").await;
    bench.run("CREATE SCHEMA IF NOT EXISTS S").await;
    bench.run("USE SCHEMA D.S").await;
    bench
        .run("CREATE TABLE T (A INT NOT NULL DEFAULT 1, B TIMESTAMP_NTZ(3), C NUMBER(10,2), O OBJECT)")
        .await;
    assert_eq!(bench.code("CREATE TABLE T (A INT)").await, "002002");
    bench.run("CREATE TABLE IF NOT EXISTS T (A INT)").await;
    bench
        .run("ALTER TABLE T SET ENABLE_SCHEMA_EVOLUTION = TRUE")
        .await;
    bench.run("ALTER TABLE T ADD COLUMN D VARCHAR(3)").await;
    assert_eq!(bench.run("DESCRIBE TABLE D.S.T").await.len(), 5);
    bench.run("CREATE OR REPLACE TABLE T (X FLOAT)").await;
    assert_eq!(bench.run("DESC TABLE T").await.len(), 1);
    bench.run("DROP TABLE T").await;
    bench.run("DROP TABLE IF EXISTS T").await;
    assert_eq!(bench.code("DROP TABLE T").await, "002003");
    assert_eq!(bench.code("DESC TABLE T").await, "002003");
    assert_eq!(bench.code("USE DATABASE NOWHERE").await, "002003");
    assert_eq!(bench.run("SHOW SCHEMAS IN DATABASE D").await.len(), 2);
    bench.run("DROP DATABASE D").await;
}

#[tokio::test]
async fn what_is_no_statement_is_refused_with_a_code() {
    let mut bench = Bench::new();
    for (sql, code) in [
        ("", "001003"),
        ("SELEC 1", "001003"),
        ("SELECT 'open", "001003"),
        ("SELECT 1; SELECT 2", "000002"),
        ("GRANT USAGE ON DATABASE D TO ROLE R", "002003"),
        ("SHOW WAREHOUSES", "000002"),
        ("SELECT nothing(1)", "002140"),
    ] {
        assert_eq!(bench.code(sql).await, code, "{sql}");
    }
    assert_eq!(bench.cell("SELECT 1 + 1").await, "2");
    assert_eq!(bench.cell("SELECT NULL").await, "NULL");
    let long = format!("SELECT 1{}", " + 1".repeat(20_000));
    assert_eq!(bench.code(&long).await, "000002");
    let long = format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(20_000));
    assert_eq!(bench.code(&long).await, "000002");
}

#[tokio::test]
async fn inserted_rows_take_defaults_and_the_next_identity_and_fail_together() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench
        .run("CREATE TABLE T (ID INT AUTOINCREMENT START 10 INCREMENT 5, A INT NOT NULL, S VARCHAR(3) DEFAULT 'x', V VARIANT, B BINARY)")
        .await;
    let inserted = bench
        .cell("INSERT INTO T (A, V) SELECT 1, PARSE_JSON('{\"k\": [1]}')")
        .await;
    assert_eq!(inserted, "1");
    assert_eq!(bench.cell("INSERT INTO T (A) VALUES (2)").await, "1");
    bench.load("T", "{\"a\":3}\n{\"a\":4,\"id\":1000}\n{\"a\":5}");
    bench
        .run("INSERT INTO T VALUES (7, 6, 'abc', 'text', '00ff')")
        .await;
    let rows = bench.run("SELECT ID, A, S, V, B FROM T ORDER BY A").await;
    let cells: Vec<Vec<&str>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| cell.as_deref().unwrap_or("NULL")).collect())
        .collect();
    assert_eq!(
        cells,
        [
            ["10", "1", "x", r#"{"k":[1]}"#, "NULL"],
            ["15", "2", "x", "NULL", "NULL"],
            ["20", "3", "x", "NULL", "NULL"],
            ["1000", "4", "x", "NULL", "NULL"],
            ["25", "5", "x", "NULL", "NULL"],
            ["7", "6", "abc", "\"text\"", "00FF"],
        ]
    );
    for (sql, code) in [
        ("INSERT INTO T (A) VALUES (8), (NULL)", "100072"),
        ("INSERT INTO T (A, S) VALUES (8, 'long')", "100078"),
        ("INSERT INTO T (A) VALUES ('many')", "100038"),
        ("INSERT INTO T (A) VALUES (1, 2)", "002020"),
        ("INSERT INTO T (NONE) VALUES (1)", "000904"),
        ("INSERT INTO NOWHERE VALUES (1)", "002003"),
        ("INSERT OVERWRITE INTO T SELECT 1", "002020"),
        ("CREATE TABLE U (A FLOAT IDENTITY)", "001003"),
        ("CREATE TABLE U (A INT IDENTITY(1, 0))", "001003"),
    ] {
        assert_eq!(bench.code(sql).await, code, "{sql}");
    }
    assert_eq!(
        bench.cell("SELECT COUNT(*) FROM T").await,
        "6",
        "none of the failed rows"
    );
}

#[tokio::test]
async fn a_table_is_made_of_a_query() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench.run("CREATE TABLE T (A NUMBER(10,2), V VARIANT)").await;
    bench.load("T", "{\"a\":1.5,\"v\":{\"n\":7}}\n{\"a\":2}");
    bench
        .run("CREATE TABLE U AS SELECT a, v:n::INT AS n, v FROM t")
        .await;
    let types: Vec<_> = bench
        .run("DESC TABLE U")
        .await
        .into_iter()
        .map(|row| row[1].clone().unwrap())
        .collect();
    assert_eq!(types, ["NUMBER(10,2)", "NUMBER(38,0)", "VARIANT"]);
    assert_eq!(bench.cell("SELECT SUM(N) FROM U").await, "7");
    bench
        .run("CREATE OR REPLACE TABLE U (X VARCHAR) AS SELECT A FROM U")
        .await;
    assert_eq!(bench.cell("SELECT X FROM U ORDER BY 1 LIMIT 1").await, "1.50");
    bench.run("CREATE TABLE IF NOT EXISTS U AS SELECT 1 AS Y").await;
    assert_eq!(bench.cell("SELECT COUNT(*) FROM U").await, "2");
    assert_eq!(
        bench.code("CREATE TABLE W (X INT, Y INT) AS SELECT 1").await,
        "002020"
    );
    assert_eq!(bench.code("SELECT * FROM W").await, "002003");
}

#[tokio::test]
async fn rows_tell_when_they_were_committed_while_that_is_on() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench.run("CREATE TABLE T (A INT)").await;
    bench.run("INSERT INTO T VALUES (1)").await;
    let stamps = "SELECT A, METADATA$ROW_LAST_COMMIT_TIME FROM T ORDER BY A";
    assert_eq!(bench.run(stamps).await[0][1], None, "off");
    bench.run("ALTER TABLE T SET ROW_TIMESTAMP = TRUE").await;
    bench.run("INSERT INTO T VALUES (2), (3)").await;
    let rows = bench.run(stamps).await;
    assert_eq!(rows[0][1], None, "from before");
    assert!(rows[1][1].is_some());
    assert_eq!(rows[1][1], rows[2][1], "one commit");
    for (star, columns) in [
        ("SELECT * FROM T", 1),
        ("SELECT T.*, METADATA$ROW_LAST_COMMIT_TIME FROM T", 2),
        (
            "SELECT t.*, t.metadata$row_last_commit_time AS at FROM T t JOIN T u ON t.A = u.A",
            2,
        ),
        (
            "WITH c AS (SELECT *, METADATA$ROW_LAST_COMMIT_TIME AS m FROM T) SELECT * FROM c WHERE m IS NOT NULL",
            2,
        ),
    ] {
        assert_eq!(bench.run(star).await[0].len(), columns, "{star}");
    }
    let fresh = "SELECT COUNT(*) FROM T WHERE METADATA$ROW_LAST_COMMIT_TIME > DATEADD(minute, -1, CURRENT_TIMESTAMP())";
    assert_eq!(bench.cell(fresh).await, "2");
    bench.run("ALTER TABLE T SET ROW_TIMESTAMP = FALSE").await;
    let gone = "SELECT COUNT(METADATA$ROW_LAST_COMMIT_TIME) FROM T";
    assert_eq!(bench.cell(gone).await, "0");
    bench.run("ALTER TABLE T SET ROW_TIMESTAMP = TRUE").await;
    assert_eq!(bench.cell(gone).await, "0", "discarded for good");
}

#[tokio::test]
async fn a_printed_definition_makes_the_same_object_again() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench
        .run(
            "CREATE TABLE T (ID INT NOT NULL AUTOINCREMENT START 10 INCREMENT 5, \"odd name\" VARCHAR(20) DEFAULT 'it''s', \
             N NUMBER(10,2), F FLOAT, B BOOLEAN, X BINARY, D DATE, C TIME(3), T1 TIMESTAMP_NTZ, T2 TIMESTAMP_LTZ(6), \
             T3 TIMESTAMP_TZ, V VARIANT, O OBJECT, A ARRAY) CLUSTER BY (ID) ENABLE_SCHEMA_EVOLUTION = TRUE \
             ERROR_LOGGING = TRUE ROW_TIMESTAMP = TRUE COMMENT = 'a ''table'''",
        )
        .await;
    bench
        .run(
            "CREATE PIPE P COMMENT = 'one' AS COPY INTO T (N) \
             FROM (SELECT $1:n FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')))",
        )
        .await;
    let before = bench.run("SHOW COLUMNS IN TABLE T").await;
    assert_eq!(before.len(), 14);
    assert_eq!(
        before[0][3].as_deref(),
        Some(r#"{"nullable":false,"precision":38,"scale":0,"type":"FIXED"}"#)
    );
    assert_eq!(
        before[0][10].as_deref(),
        Some("IDENTITY START 10 INCREMENT 5 NOORDER")
    );
    let some = bench.run("SHOW COLUMNS LIKE 'T_' IN TABLE D.PUBLIC.T").await;
    assert_eq!(some.len(), 3);
    let table = bench.cell("SELECT GET_DDL('TABLE', 'd.public.t')").await;
    let pipe = bench.cell("SELECT GET_DDL('PIPE', 'P')").await;
    let made = bench.engine.catalog.table("D", "PUBLIC", "T").unwrap().unwrap();
    assert_eq!(made.comment.as_deref(), Some("a 'table'"));
    bench.run(&table).await;
    bench.run(&pipe).await;
    assert_eq!(bench.run("SHOW COLUMNS IN TABLE T").await, before);
    assert_eq!(bench.cell("SELECT GET_DDL('TABLE', 'T')").await, table);
    assert_eq!(bench.cell("SELECT GET_DDL('PIPE', 'P')").await, pipe);
    let again = bench.engine.catalog.table("D", "PUBLIC", "T").unwrap().unwrap();
    assert_eq!(
        (&again.cluster_by, &again.comment),
        (&made.cluster_by, &made.comment)
    );
    assert!(again.id != made.id && again.error_logging && again.row_timestamp_ms.is_some());
    for (sql, code) in [
        ("SELECT GET_DDL('TABLE', 'NOWHERE')", "002003"),
        ("SELECT GET_DDL('TABLE', 'a b')", "001003"),
        ("SELECT GET_DDL('SCHEMA', 'PUBLIC')", "000002"),
        ("SHOW COLUMNS IN TABLE NOWHERE", "002003"),
    ] {
        assert_eq!(bench.code(sql).await, code, "{sql}");
    }
}
