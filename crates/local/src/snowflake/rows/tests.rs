//! Rows into columns, as the default pipe does it.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Decimal128Type, Float64Type};

use super::evolution::{TEXT, WHOLE};
use super::*;
use crate::snowflake::model::{ACCOUNTADMIN, DataType, TableKind};

mod coercion;
mod disputed;

fn column(name: &str, data_type: DataType) -> ColumnDef {
    ColumnDef::new(name, data_type)
}

fn table(columns: Vec<ColumnDef>, schema_evolution: bool) -> TableDef {
    TableDef {
        id: 1,
        database: "D".to_owned(),
        schema: "S".to_owned(),
        name: "T".to_owned(),
        columns,
        schema_evolution,
        error_logging: false,
        row_timestamp_ms: None,
        created_on_ms: 0,
        renames: 0,
        retention_days: 1,
        transform: None,
        kind: TableKind::Standard,
        cluster_by: None,
        comment: None,
        owner: ACCOUNTADMIN.to_owned(),
        iceberg_version: None,
    }
}

fn run<'a>(table: &TableDef, batches: &[&'a str]) -> Converted<'a> {
    run_as(table, batches, Behaviours::default())
}

fn run_as<'a>(table: &TableDef, batches: &[&'a str], behaviours: Behaviours) -> Converted<'a> {
    let batches: Vec<_> = batches
        .iter()
        .map(|text| AcceptedRows {
            ndjson: text.as_bytes(),
        })
        .collect();
    let terms = Terms {
        behaviours,
        ..Terms::at(1_700_000_000_000)
    };
    convert(table, Mapping::DEFAULT, &batches, terms)
}

fn texts(converted: &Converted<'_>, name: &str) -> Vec<Option<String>> {
    let column = converted.record_batch.column_by_name(name).expect("the column");
    column
        .as_string::<i32>()
        .iter()
        .map(|text| text.map(ToOwned::to_owned))
        .collect()
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

#[test]
fn keys_find_columns_ignoring_case_and_the_exact_case_wins() {
    let table = table(
        vec![
            column("city", TEXT),
            column("CITY", TEXT),
            column("ODD KEY", TEXT),
        ],
        false,
    );
    let one = run(
        &table,
        &[
            "{\"City\":\"a\"}\n\r\n{\"city\":\"b\",\"CITY\":\"c\",\"x\":1}\n{\"CITY\":\"c\",\"city\":\"b\",\"odd key\":\"d\"}",
        ],
    );
    assert_eq!(texts(&one, "city"), some(&["a", "b", "b"]));
    assert_eq!(texts(&one, "CITY"), some(&["a", "c", "c"]));
    assert_eq!(texts(&one, "ODD KEY"), [None, None, Some("d".to_owned())]);
    assert_eq!(
        one.per_batch[0],
        BatchCounts {
            parsed: 3,
            inserted: 3,
            ..BatchCounts::default()
        }
    );
    assert!(one.added_columns.is_empty());
}

#[test]
fn keys_that_move_between_rows_are_looked_up_again() {
    let table = table(
        vec![column("A", TEXT), column("a", TEXT), column("B", TEXT)],
        false,
    );
    let rows = [
        r#"{"A":"1","B":"2"}"#,
        r#"{"B":"3","A":"4"}"#,
        r#"{"b":"5"}"#,
        r#"{"a":"6","b":"7","A":"8"}"#,
        r#"{"c":"9","B":"0","a":"x"}"#,
        r#"{"A":"1","A":"2"}"#,
        r#"{"A":"1","B":"2"}"#,
    ];
    let rows = rows.join("\n");
    let one = run(&table, &[&rows]);
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        texts(&one, "A"),
        [text("1"), text("4"), None, text("8"), None, text("1")]
    );
    assert_eq!(texts(&one, "a"), [None, None, None, text("6"), text("x"), None]);
    assert_eq!(
        texts(&one, "B"),
        [text("2"), text("3"), text("5"), text("7"), text("0"), text("2")]
    );
    assert_eq!(one.per_batch[0].errors, 1, "a key stands twice");
}

#[test]
fn bad_rows_fail_alone_and_are_counted_for_their_batch() {
    let table = table(vec![column("N", WHOLE)], false);
    let bad = "{\"n\":1}\nnot json\n[1]\n{\"n\":1,\"n\":2}\n{\"n\":\"x\"}\n{\"n\":2}";
    let converted = run(&table, &["{\"n\":0}", bad]);
    let numbers = converted
        .record_batch
        .column(0)
        .as_primitive::<Decimal128Type>()
        .values()
        .to_vec();
    assert_eq!(numbers, [0, 1, 2]);
    assert_eq!(
        (converted.per_batch[0].errors, converted.per_batch[1].errors),
        (0, 4)
    );
    assert_eq!(
        (converted.per_batch[1].parsed, converted.per_batch[1].inserted),
        (6, 2)
    );
    assert_eq!(
        converted.per_batch[1].last_error.as_deref(),
        Some("column N: the value is no number")
    );
}

#[test]
fn missing_keys_take_the_default_and_null_stays_null() {
    let mut n = column("N", WHOLE);
    n.default = Some("7".to_owned());
    let mut s = column("S", TEXT);
    (s.default, s.nullable) = (Some("'it''s'".to_owned()), false);
    let converted = run(&table(vec![n, s], false), &["{}\n{\"n\":null}\n{\"s\":null}"]);
    let numbers = converted.record_batch.column(0).as_primitive::<Decimal128Type>();
    assert_eq!((numbers.value(0), numbers.is_null(1)), (7, true));
    assert_eq!(texts(&converted, "S"), some(&["it's", "it's"]));
    assert_eq!(
        converted.per_batch[0].last_error.as_deref(),
        Some("column S: NULL is not allowed")
    );
}

#[test]
fn evolution_adds_columns_of_the_type_that_the_values_have() {
    let converted = run(
        &table(vec![column("KINESISMETADATA", DataType::Object)], true),
        &[
            "{\"kinesisMetadata\":{\"a\":1},\"n\":1,\"f\":1,\"t\":\"x\",\"v\":{\"a\":1},\"b\":true,\"nothing\":null}",
            "{\"f\":1.5,\"my key\":2,\"mixed\":1}\n{\"mixed\":\"x\"}",
        ],
    );
    let added: Vec<_> = converted
        .added_columns
        .iter()
        .map(|c| (c.name.as_str(), c.data_type.clone()))
        .collect();
    let expected = [
        ("N", WHOLE),
        ("F", DataType::Float),
        ("T", TEXT),
        ("V", DataType::Variant),
        ("B", DataType::Boolean),
        ("NOTHING", TEXT),
        ("MY KEY", WHOLE),
        ("MIXED", TEXT),
    ];
    assert_eq!(added, expected);
    let floats = converted
        .record_batch
        .column_by_name("F")
        .expect("F")
        .as_primitive::<Float64Type>();
    assert_eq!(
        (floats.value(0), floats.value(1), floats.is_null(2)),
        (1.0, 1.5, true)
    );
    assert_eq!(
        texts(&converted, "MIXED"),
        [None, Some("1".to_owned()), Some("x".to_owned())]
    );
    assert_eq!(converted.record_batch.num_rows(), 3);
}

#[test]
fn evolution_takes_texts_that_look_like_dates_for_texts() {
    let line = "{\"d\":\"2026-11-24\",\"t\":\"2026-11-24T12:00:00Z\",\"c\":\"12:00:00\"}";
    let converted = run(&table(Vec::new(), true), &[line]);
    let added: Vec<_> = converted
        .added_columns
        .iter()
        .map(|c| (c.name.as_str(), c.data_type.clone()))
        .collect();
    assert_eq!(added, [("D", TEXT), ("T", TEXT), ("C", TEXT)]);
    assert_eq!(texts(&converted, "T"), [Some("2026-11-24T12:00:00Z".to_owned())]);
}

#[test]
fn evolution_drops_not_null_instead_of_the_row() {
    let mut n = column("N", WHOLE);
    n.nullable = false;
    let converted = run(&table(vec![n.clone()], true), &["{\"n\":1}\n{}"]);
    assert_eq!(
        (
            converted.dropped_not_null.as_slice(),
            converted.record_batch.num_rows()
        ),
        (&["N".to_owned()][..], 2)
    );
    let converted = run(&table(vec![n], false), &["{\"n\":1}\n{}"]);
    assert_eq!(
        (
            converted.dropped_not_null.len(),
            converted.record_batch.num_rows()
        ),
        (0, 1)
    );
}

#[test]
fn more_than_100_new_columns_in_a_batch_invalidate_its_channel() {
    let row = |count: usize| {
        let keys: Vec<String> = (0..count).map(|n| format!("\"k{n}\":1")).collect();
        format!("{{{}}}", keys.join(","))
    };
    let evolving = table(vec![], true);
    assert!(run(&evolving, &[&row(100)]).invalid.is_none());
    let invalid = run(&evolving, &[&row(3), &row(101)]).invalid.expect("too many");
    assert_eq!(invalid.batch, 1);
    assert!(
        run(&evolving, &["{\"\":1}"]).invalid.is_some(),
        "an empty name is none"
    );
    assert!(run(&table(vec![], false), &[&row(101)]).invalid.is_none());
}

#[test]
fn refused_lines_are_kept_in_order_with_their_codes_where_the_table_logs_errors() {
    let mut n = column("N", WHOLE);
    n.nullable = false;
    let mut table = table(
        vec![
            n,
            column("S", DataType::Varchar { length: 3 }),
            column("D", DataType::Date),
        ],
        false,
    );
    let lines = "{\"n\":\"x\"}\nno json\n{\"s\":\"a\"}\n{\"n\":1}\n{\"n\":1,\"s\":\"abcd\"}\n{\"n\":1,\"d\":\"soon\"}";
    assert!(run(&table, &[lines]).refused.is_empty());
    table.error_logging = true;
    let converted = run(&table, &["{\"n\":1}", lines]);
    let refused: Vec<_> = converted
        .refused
        .iter()
        .map(|row| {
            (
                row.batch,
                row.refusal.code,
                row.refusal.column.as_deref(),
                row.refusal.message.as_str(),
            )
        })
        .collect();
    let parse = "Error parsing JSON: json-invalid: the line is no JSON object";
    assert_eq!(
        refused,
        [
            (
                1,
                100_071,
                Some("N"),
                "Failed to cast variant value \"x\" to FIXED"
            ),
            (1, 100_069, None, parse),
            (1, 100_072, Some("N"), "NULL result in a non-nullable column"),
            (
                1,
                100_078,
                Some("S"),
                "String 'abcd' is too long and would be truncated"
            ),
            (
                1,
                100_071,
                Some("D"),
                "Failed to cast variant value \"soon\" to DATE"
            ),
        ]
    );
    assert_eq!(converted.refused[1].line, b"no json");
    assert_eq!(converted.per_batch[1].errors, 5);
}
