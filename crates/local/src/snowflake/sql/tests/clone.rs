//! LIKE and CLONE: definitions, rows that are shared, and what happens to one when the other changes.

use super::*;
use crate::snowflake::catalog::now_ms;
use crate::snowflake::model::SegmentKind;
use crate::snowflake::segments;

/// Waits until the clock shows another millisecond, so that what follows is later than what was.
fn tick() -> i64 {
    let then = now_ms();
    while now_ms() == then {
        std::hint::spin_loop();
    }
    then
}

fn at(ms: i64) -> String {
    format!("AT(TIMESTAMP => TO_TIMESTAMP_LTZ({ms}, 3))")
}

impl Bench {
    fn merge(&self, table: &str) {
        let catalog = &self.engine.catalog;
        let table = catalog.table("D", "PUBLIC", table).unwrap().expect("the table");
        let merged = segments::merge_small(self.engine.disk.as_ref(), catalog, table.id, SegmentKind::Rows);
        assert!(merged.expect("a merge"), "nothing was merged");
    }

    /// Removes what may be removed, as the runner does, and as a start does.
    fn collect(&self) {
        let (disk, catalog) = (self.engine.disk.as_ref(), &self.engine.catalog);
        segments::collect_garbage(disk, catalog).expect("collected");
        segments::sweep(disk, catalog).expect("swept");
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("segments"))
            .expect("a folder")
            .count()
    }

    async fn numbers(&mut self, table: &str) -> String {
        let rows = self.run(&format!("SELECT A FROM {table} ORDER BY A")).await;
        let cells: Vec<String> = rows.into_iter().flatten().flatten().collect();
        cells.join(",")
    }
}

const SOURCE: &str = "CREATE TABLE S (ID INT IDENTITY(10, 5), A VARCHAR(5) DEFAULT 'x' NOT NULL COMMENT 'a', N NUMBER \
                      DEFAULT SEQ.NEXTVAL) CLUSTER BY (A) ENABLE_SCHEMA_EVOLUTION = TRUE ERROR_LOGGING = TRUE \
                      ROW_TIMESTAMP = TRUE DATA_RETENTION_TIME_IN_DAYS = 7 COMMENT = 'events'";

async fn bench() -> Bench {
    let mut bench = Bench::new();
    for sql in ["CREATE DATABASE D", "CREATE SEQUENCE SEQ START 100", SOURCE] {
        bench.run(sql).await;
    }
    bench
}

async fn ddl(bench: &mut Bench, table: &str) -> String {
    let text = bench.cell(&format!("SELECT GET_DDL('TABLE', '{table}')")).await;
    text.replacen(&format!("TABLE {table} "), "TABLE _ ", 1)
}

#[tokio::test]
async fn like_takes_the_definition_and_no_rows() {
    let mut bench = bench().await;
    let as_made = ddl(&mut bench, "S").await;
    bench.run("INSERT INTO S (A) VALUES ('a'), ('b')").await;
    assert_eq!(bench.cell("SELECT MAX(ID) FROM S").await, "15");
    let told = bench.cell("CREATE TABLE T LIKE S").await;
    assert_eq!(told, "Table T successfully created.");
    assert_eq!(ddl(&mut bench, "T").await, as_made);
    assert_eq!(bench.cell("SELECT COUNT(*) FROM T").await, "0");
    bench.run("INSERT INTO T (A) VALUES ('c')").await;
    assert_eq!(
        bench.run("SELECT ID, A, N FROM T").await,
        [[
            Some("10".to_owned()),
            Some("c".to_owned()),
            Some("102".to_owned())
        ]],
        "IDENTITY begins anew, the sequence goes on"
    );
    // Names under which the source's files hold columns are no concern of an empty table.
    bench.run("ALTER TABLE S DROP COLUMN N").await;
    bench.run("ALTER TABLE S RENAME COLUMN A TO B").await;
    bench
        .run(
            "CREATE OR REPLACE TABLE D.PUBLIC.T LIKE D.PUBLIC.S CLUSTER BY (ID, B) COMMENT = 'other' \
             DATA_RETENTION_TIME_IN_DAYS = 0 ERROR_LOGGING = FALSE",
        )
        .await;
    let made = bench.engine.catalog.table("D", "PUBLIC", "T").unwrap().unwrap();
    assert!(made.columns.iter().all(|column| column.stored.is_none()) && made.renames == 0);
    assert_eq!(
        (made.cluster_by.as_deref(), made.comment.as_deref()),
        (Some("(ID, B)"), Some("other"))
    );
    assert_eq!((made.retention_days, made.error_logging), (0, false));
    assert!(made.schema_evolution && made.row_timestamp_ms.is_some());
}

#[tokio::test]
async fn what_cannot_be_copied_is_refused_and_nothing_is_made() {
    let mut bench = bench().await;
    bench.run("CREATE ICEBERG TABLE I (A INT)").await;
    bench
        .run("CREATE INTERACTIVE TABLE V (A INT) CLUSTER BY (A)")
        .await;
    bench.run("CREATE TABLE T (A INT)").await;
    for (sql, code) in [
        ("CREATE TABLE T LIKE S", "002002"),
        ("CREATE TABLE T CLONE S", "002002"),
        ("CREATE TABLE N LIKE NONE", "002003"),
        ("CREATE TABLE N CLONE NONE", "002003"),
        ("CREATE TABLE NONE.PUBLIC.N CLONE S", "002003"),
        ("CREATE TABLE N CLONE NONE.PUBLIC.S", "002003"),
        ("CREATE OR REPLACE TABLE IF NOT EXISTS N CLONE S", "001003"),
        ("CREATE TABLE N LIKE I", "000002"),
        ("CREATE TABLE N CLONE I", "000002"),
        ("CREATE TABLE N LIKE V", "000002"),
        ("CREATE TABLE N CLONE V", "000002"),
        ("CREATE ICEBERG TABLE N CLONE I", "000002"),
        ("CREATE INTERACTIVE TABLE N LIKE V", "000002"),
        ("CREATE SCHEMA N CLONE PUBLIC", "000002"),
        ("CREATE DATABASE N CLONE D", "000002"),
        ("CREATE TABLE N LIKE S AT(OFFSET => -1)", "000002"),
        ("CREATE TABLE N CLONE S AT(OFFSET => -100000)", "000707"),
        ("CREATE TABLE N CLONE S AT(NOTHING => 1)", "001003"),
        ("CREATE TABLE N CLONE S BEFORE(STATEMENT => 'none')", "000709"),
        (
            "CREATE TABLE N CLONE S DATA_RETENTION_TIME_IN_DAYS = 91",
            "001003",
        ),
        ("CREATE TABLE N CLONE S SOMETHING", "000002"),
        ("CREATE TABLE N CLONE", "001003"),
        ("CREATE TABLE N CLONE ERROR_TABLE(S)", "002003"),
    ] {
        assert_eq!(bench.code(sql).await, code, "{sql}");
    }
    assert_eq!(
        bench.cell("CREATE TABLE IF NOT EXISTS T CLONE S").await,
        "T already exists, statement succeeded."
    );
    assert_eq!(bench.run("SHOW TABLES").await.len(), 4);
    // Quoted, these are names.
    bench.run("CREATE TABLE \"LIKE\" (\"CLONE\" INT)").await;
    bench.run("CREATE TABLE \"CLONE\" LIKE \"LIKE\"").await;
}

#[tokio::test]
async fn a_clone_has_the_rows_and_goes_on_by_itself() {
    let mut bench = bench().await;
    bench.run("INSERT INTO S (A) VALUES ('a'), ('b')").await;
    bench.run("ALTER TABLE S RENAME COLUMN A TO OLD").await;
    bench.run("ALTER TABLE S ADD COLUMN A VARCHAR").await;
    bench.run("INSERT INTO S (OLD, A) VALUES ('c', 'c')").await;
    let files = bench.files();
    bench.run("CREATE TABLE C CLONE S COMMENT = 'copy'").await;
    assert_eq!(bench.files(), files, "no file was written");
    let with_moments = "SELECT *, METADATA$ROW_LAST_COMMIT_TIME FROM";
    let rows = bench.run(&format!("{with_moments} C ORDER BY ID")).await;
    assert_eq!(rows, bench.run(&format!("{with_moments} S ORDER BY ID")).await);
    assert_eq!(
        rows.iter().map(|row| row[3].as_deref()).collect::<Vec<_>>(),
        [None, None, Some("c")]
    );
    for table in ["C", "S"] {
        bench
            .run(&format!("INSERT INTO {table} (OLD, A) VALUES ('{table}', 'own')"))
            .await;
        let own = format!("SELECT ID FROM {table} WHERE A = 'own'");
        assert_eq!(bench.cell(&own).await, "25", "{table}: IDENTITY goes on");
    }
    // Names of columns that are gone do not bring their values back.
    bench.run("ALTER TABLE C DROP COLUMN A").await;
    bench.run("ALTER TABLE C ADD COLUMN A VARCHAR").await;
    assert_eq!(bench.cell("SELECT COUNT(A) FROM C").await, "0");
    assert_eq!(bench.cell("SELECT COUNT(A) FROM S").await, "2");
    let shown = bench.run("SHOW TABLES LIKE 'C'").await;
    assert_eq!(
        (shown[0][5].as_deref(), shown[0][10].as_deref()),
        (Some("copy"), Some("7"))
    );
    assert_eq!(bench.cell("SELECT COUNT(*) FROM ERROR_TABLE(C)").await, "0");
    // Its history begins with it.
    assert_eq!(bench.code("SELECT * FROM C AT(OFFSET => -3600)").await, "000707");
    assert_eq!(bench.cell("SELECT COUNT(*) FROM C AT(OFFSET => 0)").await, "4");
}

#[tokio::test]
async fn no_change_of_one_takes_files_from_the_other() {
    let changes = [
        "TRUNCATE TABLE {}",
        "INSERT OVERWRITE INTO {} VALUES ('new')",
        "DROP TABLE {}",
        "CREATE OR REPLACE TABLE {} (A VARCHAR)",
        "CREATE OR REPLACE TABLE {} CLONE {}",
        "MERGE {}",
        "DROP SCHEMA {}",
    ];
    for change in changes {
        for retention in [0, 1] {
            for (changed, other) in [("S.T", "PUBLIC.T"), ("PUBLIC.T", "S.T")] {
                let mut bench = Bench::new();
                bench.run("CREATE DATABASE D").await;
                bench.run("CREATE SCHEMA S").await;
                let made = format!("CREATE TABLE S.T (A VARCHAR) DATA_RETENTION_TIME_IN_DAYS = {retention}");
                bench.run(&made).await;
                let mut expected = Vec::new();
                for number in 10..10 + segments::MERGE_FROM {
                    bench.run(&format!("INSERT INTO S.T VALUES ('{number}')")).await;
                    expected.push(number.to_string());
                }
                bench.run("CREATE TABLE PUBLIC.T CLONE S.T").await;
                let what = format!("{change} of {changed}, retention {retention}");
                if change == "MERGE {}" {
                    let (schema, name) = changed.split_once('.').unwrap();
                    let table = bench.engine.catalog.table("D", schema, name).unwrap().unwrap();
                    let (disk, catalog) = (bench.engine.disk.as_ref(), &bench.engine.catalog);
                    assert!(segments::merge_small(disk, catalog, table.id, SegmentKind::Rows).unwrap());
                } else {
                    let object = match change.contains("SCHEMA") {
                        true => changed.split('.').next().unwrap(),
                        false => changed,
                    };
                    bench.run(&change.replace("{}", object)).await;
                }
                bench.collect();
                bench.collect();
                assert_eq!(bench.numbers(other).await, expected.join(","), "{what}");
                if change.contains("CLONE") || change.contains("MERGE") {
                    assert_eq!(bench.numbers(changed).await, expected.join(","), "{what}");
                }
                // When the other is gone too, nothing stays that nobody needs.
                bench.run("DROP DATABASE D").await;
                bench.collect();
                assert_eq!(bench.files(), 0, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_clone_of_the_past_has_rows_and_columns_of_then() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench.run("CREATE TABLE T (A VARCHAR, B INT)").await;
    let mut moments = vec![(tick(), 0)];
    for number in 0..segments::MERGE_FROM {
        bench
            .run(&format!("INSERT INTO T VALUES ('{number:02}', 1)"))
            .await;
        moments.push((tick(), number + 1));
    }
    bench.merge("T");
    bench.run("ALTER TABLE T DROP COLUMN B").await;
    bench.run("INSERT INTO T VALUES ('last')").await;
    let last = tick();
    bench.run("TRUNCATE TABLE T").await;
    bench.collect();
    for (moment, count) in &moments {
        bench
            .run(&format!(
                "CREATE OR REPLACE TABLE C CLONE T {} COPY GRANTS",
                at(*moment)
            ))
            .await;
        let found = bench.run("SELECT COUNT(*), COUNT(B), MAX(A) FROM C").await;
        let max = count.checked_sub(1).map(|last| format!("{last:02}"));
        assert_eq!(
            found,
            [[Some(count.to_string()), Some(count.to_string()), max]],
            "{moment}"
        );
    }
    bench.run(&format!("CREATE TABLE L CLONE T {}", at(last))).await;
    assert_eq!(bench.cell("SELECT COUNT(*) FROM L").await, "17");
    assert_eq!(bench.code("SELECT B FROM L").await, "000904");
    bench.run("CREATE TABLE E CLONE T AT(OFFSET => 0)").await;
    assert_eq!(bench.cell("SELECT COUNT(*) FROM E").await, "0");
    // A table that was emptied by mistake is put back from its own past.
    bench
        .run(&format!("CREATE OR REPLACE TABLE T CLONE T {}", at(last)))
        .await;
    assert_eq!(bench.cell("SELECT MAX(A) FROM T").await, "last");
    bench.run("DROP DATABASE D").await;
    bench.collect();
    assert_eq!(bench.files(), 0);
}

#[tokio::test]
async fn a_clone_wants_select_and_gets_grants_by_copy_grants_only() {
    let mut bench = bench().await;
    for sql in [
        "CREATE ROLE R",
        "CREATE ROLE READER",
        "GRANT USAGE ON DATABASE D TO ROLE R",
        "GRANT USAGE ON SCHEMA D.PUBLIC TO ROLE R",
        "GRANT CREATE TABLE ON SCHEMA D.PUBLIC TO ROLE R",
        "GRANT INSERT ON TABLE S TO ROLE R",
        "GRANT SELECT ON TABLE S TO ROLE READER WITH GRANT OPTION",
        "GRANT TRUNCATE ON FUTURE TABLES IN SCHEMA D.PUBLIC TO ROLE READER",
    ] {
        bench.run(sql).await;
    }
    bench.session.role = Some("R".to_owned());
    for sql in ["CREATE TABLE C CLONE S", "CREATE TABLE C LIKE S"] {
        assert_eq!(bench.code(sql).await, "003001", "{sql}");
    }
    bench.session.role = None;
    bench.run("GRANT SELECT ON TABLE S TO ROLE R").await;
    bench
        .run("REVOKE CREATE TABLE ON SCHEMA D.PUBLIC FROM ROLE R")
        .await;
    bench.session.role = Some("R".to_owned());
    for modifiers in ["", "TRANSIENT", "LOCAL TEMP", "GLOBAL TEMPORARY", "VOLATILE"] {
        for like in ["CLONE S", "LIKE S", "(A INT)"] {
            let sql = format!("CREATE {modifiers} TABLE C {like}");
            assert_eq!(bench.code(&sql).await, "003001", "{sql}");
        }
    }
    bench.session.role = None;
    bench.run("GRANT CREATE TABLE ON SCHEMA D.PUBLIC TO ROLE R").await;
    bench.session.role = Some("R".to_owned());
    let copied = ["READER SELECT true R", "R INSERT false R", "R SELECT false R"];
    for (sql, expected) in [
        (
            "CREATE TABLE C CLONE S",
            &["READER TRUNCATE false ACCOUNTADMIN"][..],
        ),
        (
            "CREATE OR REPLACE TABLE C LIKE S",
            &["READER TRUNCATE false ACCOUNTADMIN"],
        ),
        ("CREATE OR REPLACE TABLE C CLONE S COPY GRANTS", &copied),
        // Those of the table that is replaced.
        ("CREATE OR REPLACE TABLE C (A INT) COPY GRANTS", &copied),
    ] {
        bench.run(sql).await;
        let shown = bench.run("SHOW GRANTS ON TABLE C").await;
        let mut found: Vec<String> = shown
            .iter()
            .filter(|row| row[1].as_deref() != Some("OWNERSHIP"))
            .map(|row| {
                [5, 1, 6, 7]
                    .map(|at| row[at].clone().unwrap_or_default())
                    .join(" ")
            })
            .collect();
        found.sort();
        let mut expected: Vec<&str> = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "{sql}");
    }
    bench.session.role = None;
    assert_eq!(bench.code("SELECT * FROM C").await, "002003", "R owns it");
}
