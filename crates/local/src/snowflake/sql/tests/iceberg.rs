//! Iceberg tables in statements.

use super::*;
use crate::snowflake::iceberg as tables;
use crate::snowflake::model::SegmentKind;

const PLACE: &str = "EXTERNAL_VOLUME = 'vol' CATALOG = 'SNOWFLAKE'";

/// Names in a folder below the data folder.
fn files(bench: &Bench, folder: &str) -> Vec<String> {
    let found = std::fs::read_dir(bench.folder.path().join(folder)).expect("a folder");
    let mut names: Vec<String> = found
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

/// The current metadata file, as any engine finds it.
async fn metadata(bench: &mut Bench, table: &str) -> serde_json::Value {
    let told = bench
        .cell(&format!("SELECT SYSTEM$GET_ICEBERG_TABLE_INFORMATION('{table}')"))
        .await;
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    let location = told["metadataLocation"].as_str().expect("a location");
    let path = location.strip_prefix("file://").expect("an address of a file");
    serde_json::from_slice(&std::fs::read(path).expect("the file")).expect("JSON")
}

/// The entry of a list with this id; the lists have no order.
fn with_id<'m>(
    metadata: &'m serde_json::Value,
    list: &str,
    id: &str,
    is: &serde_json::Value,
) -> &'m serde_json::Value {
    let mut all = metadata[list].as_array().expect("a list").iter();
    all.find(|one| one[id] == *is).expect("the entry")
}

fn snapshot(metadata: &serde_json::Value) -> &serde_json::Value {
    with_id(
        metadata,
        "snapshots",
        "snapshot-id",
        &metadata["current-snapshot-id"],
    )
}

fn schema(metadata: &serde_json::Value) -> &serde_json::Value {
    with_id(metadata, "schemas", "schema-id", &metadata["current-schema-id"])
}

#[tokio::test]
async fn rows_of_each_type_go_into_files_of_iceberg_and_come_back() {
    for version in [2, 3] {
        let mut bench = Bench::new();
        bench.run("CREATE DATABASE d").await;
        bench
            .run(&format!(
                "CREATE OR REPLACE ICEBERG TABLE t (i INT, l BIGINT, n NUMBER(10,2), f FLOAT, b BOOLEAN NOT NULL, s STRING, y BINARY,
                 d DATE, t TIME, ts TIMESTAMP_NTZ, tz TIMESTAMP_LTZ(6), o OBJECT(a INT, \"B c\" STRING), a ARRAY(BIGINT),
                 m MAP(VARCHAR, OBJECT(at TIMESTAMP_NTZ(6), y BINARY))) {PLACE} BASE_LOCATION = 'a/b.c/' ICEBERG_VERSION = {version} COMMENT = 'x'"
            ))
            .await;
        bench.load(
            "T",
            "{\"i\":-5,\"l\":9007199254740993,\"n\":\"1.5\",\"f\":0.25,\"b\":true,\"s\":\"x\",\"y\":\"aGk=\",\"d\":\"2024-10-15\",\"t\":\"01:02:03.123456\",\
             \"ts\":\"2024-10-15T01:02:03.123456\",\"tz\":\"2024-10-15T01:02:03Z\",\"o\":{\"a\":1,\"B c\":null},\"a\":[1,2],\
             \"m\":{\"k\":{\"at\":\"2024-10-15\",\"y\":\"aGk=\"}}}\n{\"b\":false}\n",
        );
        let rows = bench.run("SELECT * FROM t ORDER BY i").await;
        let texts: Vec<String> = rows[0]
            .iter()
            .map(|cell| cell.clone().unwrap_or_default())
            .collect();
        assert_eq!(
            texts,
            [
                "-5",
                "9007199254740993",
                "1.50",
                "0.25",
                "true",
                "x",
                "6869",
                "20011",
                "3723.123456000",
                "1728954123.123456000",
                "1728954123.000000000",
                "{\"a\":1,\"B c\":null}",
                "[1,2]",
                "{\"k\":{\"at\":\"2024-10-15 00:00:00.000\",\"y\":\"6869\"}}"
            ]
        );
        assert_eq!(rows[1].iter().filter(|cell| cell.is_some()).count(), 1);
        assert_eq!(
            bench
                .cell("SELECT o:a::INT + a[1]::INT FROM t WHERE i = -5")
                .await,
            "3"
        );
        assert_eq!(
            bench
                .cell("SELECT count(*) FROM t WHERE ts > '2024-10-01'::TIMESTAMP_NTZ")
                .await,
            "1"
        );
        bench
            .run("INSERT INTO t (i, b, o) SELECT 7, TRUE, PARSE_JSON('{\"a\": 4, \"B c\": \"z\"}')")
            .await;
        assert_eq!(bench.cell("SELECT sum(o:a::INT) FROM t").await, "5");
        assert_eq!(
            bench.code("INSERT INTO t (i, b) VALUES (3000000000, TRUE)").await,
            "100038"
        );
        assert_eq!(files(&bench, "iceberg/VOL/a/b.c"), ["data", "metadata"]);
        let found = metadata(&mut bench, "t").await;
        assert_eq!(found["format-version"], version);
        assert_eq!(found["snapshots"].as_array().expect("snapshots").len(), 2);
        assert_eq!(snapshot(&found)["summary"]["total-records"], "3");
        let types: Vec<String> = bench
            .run("DESC TABLE t")
            .await
            .iter()
            .map(|row| row[1].clone().expect("a type"))
            .collect();
        assert_eq!(types[..2], ["NUMBER(10,0)", "NUMBER(19,0)"]);
        assert_eq!(types[11], "OBJECT(a NUMBER(10,0), \"B c\" VARCHAR(134217728))");
        let ddl = bench.cell("SELECT GET_DDL('TABLE', 't')").await;
        assert!(ddl.starts_with("create or replace ICEBERG TABLE T ("), "{ddl}");
        let before = found["table-uuid"].clone();
        bench.run(&ddl).await;
        assert_eq!(bench.cell("SELECT GET_DDL('TABLE', 't')").await, ddl);
        assert_ne!(
            metadata(&mut bench, "t").await["table-uuid"],
            before,
            "it is another table"
        );
        assert_eq!(bench.cell("SELECT count(*) FROM t").await, "0");
    }
}

#[tokio::test]
async fn truncate_alter_and_drop_change_the_table_and_its_files_go_when_nobody_needs_them() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE d").await;
    bench
        .run(&format!(
            "CREATE ICEBERG TABLE t (i INT) {PLACE} BASE_LOCATION = 't'"
        ))
        .await;
    bench.load("T", "{\"i\":1}\n{\"i\":2}\n");
    bench.run("ALTER ICEBERG TABLE t ADD COLUMN n NUMBER(5,1)").await;
    bench.run("ALTER ICEBERG TABLE t SET ERROR_LOGGING = TRUE").await;
    bench.load("T", "{\"i\":3,\"n\":2.5}\n");
    assert_eq!(
        bench
            .cell("SELECT count(*) || '/' || count(n) || '/' || sum(i) FROM t")
            .await,
        "3/1/6"
    );
    let found = metadata(&mut bench, "t").await;
    assert_eq!(found["current-schema-id"], 1);
    assert_eq!(schema(&found)["fields"][1]["id"], 2);
    bench.run("TRUNCATE TABLE t").await;
    assert_eq!(bench.cell("SELECT count(*) FROM t").await, "0");
    let found = metadata(&mut bench, "t").await;
    assert_eq!(snapshot(&found)["summary"]["operation"], "delete");
    bench.load("T", "{\"i\":4}\n");
    assert_eq!(bench.cell("SELECT sum(i) FROM t").await, "4");
    let shown = bench.run("SHOW ICEBERG TABLES LIKE 't'").await;
    assert_eq!(
        (shown.len(), shown[0][5].as_deref(), shown[0][10].as_deref()),
        (1, Some("VOL"), Some("2"))
    );
    assert_eq!(bench.run("SHOW TABLES").await.len(), 1);
    assert_eq!(
        files(&bench, "iceberg/VOL/t/data").len(),
        3,
        "snapshots name them"
    );
    let disk = RealDisk::new(bench.folder.path());
    tables::sweep(&disk, &bench.engine.catalog).expect("swept");
    assert_eq!(
        bench.cell("SELECT sum(i) FROM t").await,
        "4",
        "what is needed stays"
    );
    std::fs::write(bench.folder.path().join("iceberg/VOL/t/data/left.parquet"), "x").expect("written");
    tables::sweep(&disk, &bench.engine.catalog).expect("swept");
    assert_eq!(
        files(&bench, "iceberg/VOL/t/data").len(),
        3,
        "what a crash left goes"
    );
    bench.run("DROP ICEBERG TABLE t").await;
    crate::snowflake::segments::collect_garbage(&disk, &bench.engine.catalog).expect("collected");
    assert!(
        files(&bench, "iceberg/VOL/t/data").is_empty() && files(&bench, "iceberg/VOL/t/metadata").is_empty()
    );
}

#[tokio::test]
async fn what_iceberg_tables_do_not_have_is_refused() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE d").await;
    let cases = [
        ("v VARCHAR(10)", "BASE_LOCATION = 'x'", "001003"),
        ("v VARIANT", "BASE_LOCATION = 'x'", "091386"),
        ("v OBJECT(a VARIANT)", "BASE_LOCATION = 'x'", "091386"),
        ("v OBJECT", "BASE_LOCATION = 'x' ICEBERG_VERSION = 3", "001003"),
        ("v TIMESTAMP_TZ", "BASE_LOCATION = 'x'", "001003"),
        ("v DECFLOAT", "BASE_LOCATION = 'x' ICEBERG_VERSION = 3", "001003"),
        (
            "v VECTOR(FLOAT, 3)",
            "BASE_LOCATION = 'x' ICEBERG_VERSION = 3",
            "001003",
        ),
        ("v TIMESTAMP_NTZ(9)", "BASE_LOCATION = 'x'", "001003"),
        ("v TIME(9)", "BASE_LOCATION = 'x' ICEBERG_VERSION = 3", "001003"),
        ("v INT", "BASE_LOCATION = 'x' ICEBERG_VERSION = 1", "001003"),
        ("v INT", "BASE_LOCATION = '../x'", "001003"),
        ("v INT", "BASE_LOCATION = 'a b'", "001003"),
        ("v INT", "BASE_LOCATION = 'x' ROW_TIMESTAMP = TRUE", "000002"),
        ("v INT", "BASE_LOCATION = 'x' PARTITION BY (v)", "000002"),
    ];
    for (columns, options, code) in cases {
        let sql = format!("CREATE ICEBERG TABLE t ({columns}) {PLACE} {options}");
        assert_eq!(bench.code(&sql).await, code, "{sql}");
    }
    assert_eq!(
        bench
            .code("CREATE ICEBERG TABLE t (v INT) CATALOG = 'GLUE'")
            .await,
        "000002"
    );
    assert!(bench.run("SHOW TABLES").await.is_empty());
    bench.run(&format!("CREATE ICEBERG TABLE t (v TIMESTAMP_NTZ(9), w VARIANT) {PLACE} BASE_LOCATION = 'x/y' ICEBERG_VERSION = 3")).await;
    assert_eq!(
        bench.code("ALTER TABLE t SET ROW_TIMESTAMP = TRUE").await,
        "000002"
    );
    for inside in ["x", "x/y", "x/y/z"] {
        let sql = format!("CREATE ICEBERG TABLE u (v INT) {PLACE} BASE_LOCATION = '{inside}'");
        assert!(
            bench.try_run(&sql).await.is_err(),
            "{inside}: two tables, one folder"
        );
    }
    bench
        .run("CREATE ICEBERG TABLE u (v INT) EXTERNAL_VOLUME = 'SNOWFLAKE_MANAGED'")
        .await;
}

#[tokio::test]
async fn evolution_adds_columns_of_fixed_point_and_what_iceberg_has_no_type_for_is_left_out() {
    for (version, expected) in [
        (2, "NUMBER(38,2) NUMBER(38,0) BOOLEAN VARCHAR(134217728)"),
        (3, "NUMBER(38,2) NUMBER(38,0) BOOLEAN VARCHAR(134217728) VARIANT"),
    ] {
        let mut bench = Bench::new();
        bench.run("CREATE DATABASE d").await;
        bench
            .run(&format!("CREATE ICEBERG TABLE t (i INT NOT NULL) {PLACE} BASE_LOCATION = 't' ICEBERG_VERSION = {version} ENABLE_SCHEMA_EVOLUTION = TRUE"))
            .await;
        bench.load("T", "{\"i\":1}\n");
        bench.load(
            "T",
            "{\"i\":2,\"price\":0.5,\"count\":3,\"ok\":true,\"name\":\"x\",\"tags\":[1],\"more\":{\"a\":1}}\n{\"i\":3,\"price\":0.99}\n",
        );
        let types: Vec<String> = bench
            .run("DESC TABLE t")
            .await
            .iter()
            .skip(1)
            .map(|row| row[1].clone().expect("a type"))
            .collect();
        assert_eq!(types.join(" "), expected);
        assert_eq!(
            bench.cell("SELECT sum(price) || '/' || count(*) FROM t").await,
            "1.49/3"
        );
        if version == 3 {
            assert_eq!(bench.cell("SELECT more:a FROM t WHERE i = 2").await, "1");
        }
        let found = metadata(&mut bench, "t").await;
        let last = schema(&found);
        assert_eq!(last["fields"][1]["type"], "decimal(38, 2)");
    }
}

#[tokio::test]
async fn a_thousand_small_commits_leave_few_files_and_every_row() {
    let mut bench = Bench::new();
    bench.engine.catalog.no_sync();
    bench.run("CREATE DATABASE d").await;
    bench
        .run(&format!(
            "CREATE ICEBERG TABLE t (i INT, s STRING) {PLACE} BASE_LOCATION = 't' ICEBERG_VERSION = 3"
        ))
        .await;
    let disk = RealDisk::new(bench.folder.path());
    let id = bench
        .engine
        .catalog
        .table("D", "PUBLIC", "T")
        .expect("readable")
        .expect("the table")
        .id;
    let mut merges = 0;
    for number in 0..1000 {
        bench.load("T", &format!("{{\"i\":{number},\"s\":\"row {number}\"}}\n"));
        merges += usize::from(tables::merge_small(&disk, &bench.engine.catalog, id).expect("merged"));
        crate::snowflake::segments::collect_garbage(&disk, &bench.engine.catalog).expect("collected");
    }
    assert!(merges > 30, "{merges} merges");
    assert_eq!(
        bench
            .cell("SELECT count(*) || '/' || count(DISTINCT i) || '/' || min(i) || '/' || max(i) FROM t")
            .await,
        "1000/1000/0/999"
    );
    let live = bench
        .engine
        .catalog
        .segments(id, SegmentKind::Rows)
        .expect("segments")
        .len();
    assert!(live <= 20, "{live} data files");
    let (data, meta) = (
        files(&bench, "iceberg/VOL/t/data"),
        files(&bench, "iceberg/VOL/t/metadata"),
    );
    assert!(
        data.len() < 150,
        "{} data files with those of kept snapshots",
        data.len()
    );
    let pointers = meta
        .iter()
        .filter(|name| name.ends_with(".metadata.json"))
        .count();
    assert_eq!(pointers, tables::PREVIOUS + 1);
    assert!(meta.len() < 400, "{} files of metadata", meta.len());
    let found = metadata(&mut bench, "t").await;
    assert_eq!(
        found["snapshots"].as_array().expect("snapshots").len(),
        tables::SNAPSHOTS
    );
    assert!(
        found.to_string().len() < 120_000,
        "{} bytes",
        found.to_string().len()
    );
    let current = snapshot(&found);
    assert_eq!(current["summary"]["total-records"], "1000");
    assert_eq!(current["summary"]["total-data-files"], live.to_string());
}

#[tokio::test]
async fn the_years_1_to_9999_are_kept_in_microseconds_and_those_of_nanoseconds_end_in_2262() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    bench
        .run(&format!(
            "CREATE ICEBERG TABLE t (id INT, v TIMESTAMP_NTZ, w TIMESTAMP_LTZ) {PLACE} BASE_LOCATION = 'x'"
        ))
        .await;
    bench.load(
        "T",
        r#"{"id":1,"v":"2026-01-02T03:04:05.123456","w":"2026-01-02T03:04:05Z"}"#,
    );
    bench.load(
        "T",
        r#"{"id":2,"v":"9999-12-31T23:59:59.999999","w":"0001-01-01T00:00:00Z"}"#,
    );
    let read = bench.run("SELECT v, w FROM t ORDER BY id").await;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        read,
        [
            [text("1767323045.123456000"), text("1767323045.000000000")],
            [text("253402300799.999999000"), text("-62135596800.000000000")]
        ]
    );
    assert_eq!(
        bench.cell("SELECT COUNT(*) FROM t WHERE v < '9999-12-31'").await,
        "1"
    );
    bench
        .run(&format!(
            "CREATE ICEBERG TABLE n (v TIMESTAMP_NTZ(9)) {PLACE} BASE_LOCATION = 'y' ICEBERG_VERSION = 3"
        ))
        .await;
    bench
        .run("INSERT INTO n VALUES ('2262-04-11 23:47:16.854775807')")
        .await;
    let far = bench.try_run("INSERT INTO n VALUES ('9999-12-31')").await;
    let message = far.expect_err("no place for it").message;
    assert!(message.contains("9999-12-31"), "{message}");
    assert_eq!(bench.cell("SELECT COUNT(*) FROM n").await, "1");
}
