//! Structured types in statements and in tables.

use super::*;

#[tokio::test]
async fn structured_columns_are_strict_and_are_read_as_json() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE d").await;
    bench
        .run(
            "CREATE TABLE t (id INT, place OBJECT(city VARCHAR NOT NULL, \"Lat\" FLOAT, since DATE, more VARIANT), tags ARRAY(STRING),
             counts MAP(VARCHAR, INT), grid ARRAY(ARRAY(NUMBER(4,1)) NOT NULL), people ARRAY(OBJECT(name STRING, age INT)))",
        )
        .await;
    bench.load(
        "T",
        "{\"id\":1,\"place\":{\"Lat\": 1.5,\"city\":\"Oslo\",\"since\":\"2026-01-02\",\"more\":{\"a\":[1]}},\"tags\":[\"x\",null],\"counts\":{\"a\":1,\"b\":\"2\"},\"grid\":[[1,2.25],[]],\"people\":[{\"name\":\"Ada\",\"age\":36}]}\n\
         {\"id\":2,\"place\":null,\"tags\":[],\"counts\":{}}\n",
    );
    let rows = bench
        .run("SELECT id, place, tags, counts, grid, people FROM t ORDER BY id")
        .await;
    let texts = |row: usize| {
        rows[row]
            .iter()
            .map(|cell| cell.clone().unwrap_or_else(|| "NULL".into()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        texts(0),
        [
            "1",
            "{\"city\":\"Oslo\",\"Lat\":1.5,\"since\":\"2026-01-02\",\"more\":{\"a\":[1]}}",
            "[\"x\",null]",
            "{\"a\":1,\"b\":2}",
            "[[1.0,2.3],[]]",
            "[{\"name\":\"Ada\",\"age\":36}]"
        ]
    );
    assert_eq!(texts(1), ["2", "NULL", "[]", "{}", "NULL", "NULL"]);
    assert_eq!(
        bench.cell("SELECT place:city::STRING FROM t WHERE id = 1").await,
        "Oslo"
    );
    assert_eq!(
        bench
            .cell("SELECT place:more.a[0]::INT + people[0]:age::INT FROM t WHERE id = 1")
            .await,
        "37"
    );
    assert_eq!(bench.cell("SELECT sum(counts:b::INT) FROM t").await, "2");
    assert_eq!(bench.cell("SELECT count(*) FROM t").await, "2");
    let kinds = bench.try_run("SELECT * FROM t").await.expect("rows").columns;
    let kinds: Vec<&str> = kinds.iter().map(|column| column.kind).collect();
    assert_eq!(kinds, ["fixed", "object", "array", "object", "array", "array"]);
    let types: Vec<String> = bench
        .run("DESC TABLE t")
        .await
        .iter()
        .map(|row| row[1].clone().expect("a type"))
        .collect();
    assert_eq!(types[3], "MAP(VARCHAR(16777216), NUMBER(38,0))");
    assert_eq!(
        types[1],
        "OBJECT(city VARCHAR(16777216) NOT NULL, Lat FLOAT, since DATE, more VARIANT)"
    );
    let ddl = bench.cell("SELECT GET_DDL('TABLE', 't')").await;
    bench.run(&ddl).await;
    assert_eq!(
        bench.cell("SELECT GET_DDL('TABLE', 't')").await,
        ddl,
        "what it prints makes the same table"
    );
    bench.run("ALTER TABLE t ADD COLUMN extra OBJECT(a INT)").await;
    bench
        .run("INSERT INTO t (id, extra) SELECT 3, PARSE_JSON('{\"a\": 4}')")
        .await;
    assert_eq!(bench.cell("SELECT extra:a FROM t").await, "4");
    let refused = bench
        .code("INSERT INTO t (id, extra) SELECT 4, PARSE_JSON('{\"b\": 4}')")
        .await;
    assert_eq!(refused, "100038");
}

#[tokio::test]
async fn a_missing_key_another_key_or_a_null_that_is_not_allowed_refuse_the_row() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE d").await;
    bench
        .run("CREATE TABLE t (v OBJECT(a INT, b STRING NOT NULL), l ARRAY(INT NOT NULL), m MAP(INT, STRING)) ERROR_LOGGING = TRUE")
        .await;
    let table = bench
        .engine
        .catalog
        .table("D", "PUBLIC", "T")
        .expect("readable")
        .expect("the table");
    let cases = [
        ("{\"v\":{\"a\":1,\"b\":\"x\"}}", true),
        ("{\"v\":{\"a\":null,\"b\":\"x\"}}", true),
        ("{\"v\":{\"b\":\"x\"}}", false),
        ("{\"v\":{\"a\":1,\"b\":\"x\",\"c\":1}}", false),
        ("{\"v\":{\"A\":1,\"b\":\"x\"}}", false),
        ("{\"v\":{\"a\":1,\"b\":null}}", false),
        ("{\"v\":{\"a\":\"y\",\"b\":\"x\"}}", false),
        ("{\"v\":{\"a\":1,\"a\":1}}", false),
        ("{\"v\":[1]}", false),
        ("{\"v\":\"{}\"}", false),
        ("{\"l\":[1,2]}", true),
        ("{\"l\":[null]}", false),
        ("{\"l\":1}", false),
        ("{\"m\":{\"1\":\"x\"}}", true),
        ("{\"m\":{\"one\":\"x\"}}", false),
    ];
    for (line, lands) in cases {
        let rows = AcceptedRows {
            ndjson: line.as_bytes(),
        };
        let converted = convert(&table, Mapping::DEFAULT, &[rows], Terms::at(0));
        assert_eq!(converted.per_batch[0].inserted == 1, lands, "{line}");
        assert_eq!(
            converted.refused.first().map(|row| row.refusal.code),
            (!lands).then_some(100_071),
            "{line}"
        );
    }
}

#[tokio::test]
async fn types_that_are_none_are_refused() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE d").await;
    let many: Vec<String> = (0..1001).map(|n| format!("k{n} INT")).collect();
    for refused in [
        "OBJECT(a)",
        "OBJECT(a INT, a INT)",
        "ARRAY(INT, INT)",
        "MAP(FLOAT, INT)",
        "MAP(VARCHAR)",
        "OBJECT(a NOTHING)",
        &format!("OBJECT({})", many.join(", ")),
    ] {
        let sql = format!("CREATE TABLE t (v {refused})");
        assert!(bench.try_run(&sql).await.is_err(), "{refused}");
    }
    let sql = format!("CREATE TABLE t (v OBJECT({}))", many[..1000].join(", "));
    bench.run(&sql).await;
}
