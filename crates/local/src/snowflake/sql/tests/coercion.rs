//! What `$1:a::T` of a pipe makes of each JSON value: SQL's casts, where those of the default pipe are narrower or other.
//! Source: Snowflake documentation, "Data type conversion", and each type's page. The default pipe's are in
//! `rows/tests/coercion.rs`.

use super::*;

/// The type of cast and column, the JSON value, and the cell; `Err` where the row is refused.
const CASES: [(&str, &str, std::result::Result<&str, ()>); 68] = [
    ("BOOLEAN", "1", Ok("true")),
    ("BOOLEAN", "0", Ok("false")),
    ("BOOLEAN", "42", Ok("true")),
    ("BOOLEAN", "-1", Ok("true")),
    ("BOOLEAN", "true", Ok("true")),
    ("BOOLEAN", "\"yes\"", Ok("true")),
    ("BOOLEAN", "\"off\"", Ok("false")),
    ("BOOLEAN", "\"2\"", Err(())),
    ("BOOLEAN", "\"maybe\"", Err(())),
    ("BOOLEAN", "{}", Err(())),
    ("NUMBER(10,2)", "1.005", Ok("1.01")),
    ("NUMBER(10,2)", "\"42\"", Ok("42.00")),
    ("NUMBER(10,2)", "\" 42 \"", Ok("42.00")),
    ("NUMBER(10,2)", "12345678901", Err(())),
    ("NUMBER(10,2)", "true", Ok("1.00")),
    ("NUMBER(10,2)", "\"x\"", Err(())),
    ("NUMBER(10,2)", "[1]", Err(())),
    ("NUMBER", "2.5", Ok("3")),
    ("NUMBER", "-2.5", Ok("-3")),
    ("FLOAT", "1.5", Ok("1.5")),
    ("FLOAT", "\"1e3\"", Ok("1000.0")),
    ("FLOAT", "\"x\"", Err(())),
    ("VARCHAR", "\"text\"", Ok("text")),
    ("VARCHAR", "1.50", Ok("1.50")),
    ("VARCHAR", "true", Ok("true")),
    ("VARCHAR", "{\"a\": 1}", Ok("{\"a\":1}")),
    ("VARCHAR", "[1, 2]", Ok("[1,2]")),
    ("VARCHAR(3)", "\"long\"", Err(())),
    ("BINARY", "\"ABCD\"", Ok("abcd")),
    ("BINARY", "\"q80=\"", Err(())),
    ("BINARY", "\"ABC\"", Err(())),
    ("DATE", "\"2024-03-05\"", Ok("2024-03-05")),
    ("DATE", "\"2024-03-05T23:00:00\"", Ok("2024-03-05")),
    ("DATE", "\"1709600000\"", Ok("2024-03-05")),
    ("DATE", "\"no date\"", Err(())),
    ("TIME", "\"13:45:30\"", Ok("13:45:30")),
    ("TIME", "\"1:45 PM\"", Ok("13:45:00")),
    ("TIME", "\"x\"", Err(())),
    ("TIMESTAMP_NTZ", "1705312800", Ok("2024-01-15T10:00:00")),
    ("TIMESTAMP_NTZ", "\"1705312800\"", Ok("2024-01-15T10:00:00")),
    ("TIMESTAMP_NTZ", "\"1705312800000\"", Ok("2024-01-15T10:00:00")),
    ("TIMESTAMP_NTZ", "\"1705312800000000\"", Ok("2024-01-15T10:00:00")),
    (
        "TIMESTAMP_NTZ",
        "\"1705312800000000000\"",
        Ok("2024-01-15T10:00:00"),
    ),
    (
        "TIMESTAMP_NTZ",
        "\"2024-01-15 10:00:00 +02:00\"",
        Ok("2024-01-15T10:00:00"),
    ),
    ("TIMESTAMP_NTZ", "\"2024-01-15\"", Ok("2024-01-15T00:00:00")),
    ("TIMESTAMP_NTZ", "\"2024-01-15 10:00:60\"", Err(())),
    ("TIMESTAMP_NTZ", "\"x\"", Err(())),
    (
        "TIMESTAMP_LTZ",
        "\"2024-01-15 10:00:00 +02:00\"",
        Ok("2024-01-15T08:00:00Z"),
    ),
    (
        "TIMESTAMP_LTZ",
        "\"2024-01-15 10:00:00\"",
        Ok("2024-01-15T10:00:00Z"),
    ),
    ("TIMESTAMP_LTZ", "1705312800", Ok("2024-01-15T10:00:00Z")),
    // The offset stands in a column of its own.
    (
        "TIMESTAMP_TZ",
        "\"2024-01-15 10:00:00 +02:00\"",
        Ok("2024-01-15T08:00:00Z"),
    ),
    ("DECFLOAT", "\"NaN\"", Err(())),
    ("DECFLOAT", "\"x\"", Err(())),
    ("VECTOR(FLOAT, 2)", "[1,2.5]", Ok("[1.0, 2.5]")),
    ("VECTOR(FLOAT, 2)", "[1]", Err(())),
    ("VECTOR(INT, 2)", "[1,2.5]", Err(())),
    ("VARIANT", "\"42\"", Ok("\"42\"")),
    ("VARIANT", "{\"a\":null}", Ok("{\"a\":null}")),
    ("OBJECT", "{\"a\":1}", Ok("{\"a\":1}")),
    ("OBJECT", "[1]", Err(())),
    ("ARRAY", "[1,2]", Ok("[1,2]")),
    ("ARRAY", "5", Ok("[5]")),
    // A JSON null, and a path that leads nowhere, are NULL in every type.
    ("NUMBER", "null", Ok("")),
    ("VARCHAR", "null", Ok("")),
    ("BOOLEAN", "null", Ok("")),
    ("DATE", "null", Ok("")),
    ("TIMESTAMP_NTZ", "null", Ok("")),
    ("NUMBER", "", Ok("")),
];

#[tokio::test]
async fn casts_of_a_pipe_take_what_sql_takes() {
    let mut bench = Bench::new();
    bench.run("CREATE DATABASE D").await;
    let (mut wrong, mut refused) = (Vec::new(), 0);
    for (number, (data_type, json, expected)) in CASES.iter().enumerate() {
        bench
            .run(&format!("CREATE TABLE T{number} (A {data_type})"))
            .await;
        let copy = format!(
            "COPY INTO T{number} FROM (SELECT $1:a::{data_type} FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')))"
        );
        let catalog = &bench.engine.catalog;
        let table = catalog
            .table("D", "PUBLIC", &format!("T{number}"))
            .unwrap()
            .expect("the table");
        let prepared = Prepared::of(
            Some(&copy),
            &table,
            &Scope::of_session(&bench.engine.catalog, &bench.session),
        );
        let line = if json.is_empty() {
            "{\"b\":1}".to_owned()
        } else {
            format!("{{\"a\":{json}}}")
        };
        let accepted = [AcceptedRows {
            ndjson: line.as_bytes(),
        }];
        let converted = convert(&table, prepared.mapping(), &accepted, Terms::at(0));
        let got = match converted.per_batch[0].inserted {
            1 => {
                let column = converted.record_batch.column(0);
                let options = arrow::util::display::FormatOptions::default();
                let formatter =
                    arrow::util::display::ArrayFormatter::try_new(column.as_ref(), &options).unwrap();
                Ok(formatter.value(0).to_string())
            }
            _ => Err(()),
        };
        refused += usize::from(got.is_err());
        if got.as_deref() != expected.as_deref().map_err(|()| &()) {
            wrong.push(format!("{json} as {data_type}: {got:?} is not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(refused >= 15, "{refused} refused");
}
