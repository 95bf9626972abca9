//! What is told differently by documents and tests: both answers of each question.

use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::*;
use crate::snowflake::behaviours::with;

/// The only value of the row's last column, or the code of its refusal.
fn one(table: &TableDef, line: &str, choice: &str) -> Result<Option<String>, u32> {
    let converted = run_as(table, &[line], with(choice));
    if let Some(refused) = converted.refused.first() {
        return Err(refused.refusal.code);
    }
    let cells = converted.record_batch.columns().last().expect("a column");
    let format = ArrayFormatter::try_new(cells, &FormatOptions::default()).expect("a format");
    Ok((!cells.is_null(0)).then(|| format.value(0).to_string()))
}

/// What a column of this type takes of a value.
fn value(data_type: DataType, json: &str, choice: &str) -> Result<Option<String>, u32> {
    let mut table = table(vec![column("V", data_type)], false);
    table.error_logging = true;
    one(&table, &format!("{{\"v\":{json}}}"), choice)
}

/// The type of the column that a value makes, of each kind of table.
fn made(json: &str, kind: TableKind, choice: &str) -> Option<DataType> {
    let mut table = table(Vec::new(), true);
    (table.kind, table.iceberg_version) = (kind, (kind == TableKind::Iceberg).then_some(3));
    let line = format!("{{\"v\":{json}}}");
    let converted = run_as(&table, &[&line], with(choice));
    assert_eq!(converted.per_batch[0].inserted, 1);
    converted
        .added_columns
        .into_iter()
        .next()
        .map(|column| column.data_type)
}

fn is(text: &str) -> Result<Option<String>, u32> {
    Ok(Some(text.to_owned()))
}

#[test]
fn a_text_that_looks_like_a_date_makes_text_or_a_date() {
    for (json, kind, text) in [
        (r#""2026-04-13""#, TableKind::Standard, TEXT),
        (r#""2026-04-13""#, TableKind::Iceberg, evolution::LONG_TEXT),
    ] {
        assert_eq!(
            made(json, kind, "column_from_date_text=varchar"),
            Some(text.clone())
        );
        assert_eq!(
            made(json, kind, "column_from_date_text=date"),
            Some(DataType::Date)
        );
        for other in [
            r#""2026-4-13""#,
            r#""2026-04-13T00:00:00Z""#,
            r#""2026-02-30""#,
            r#""abcd-ef-gh""#,
        ] {
            assert_eq!(
                made(other, kind, "column_from_date_text=date"),
                Some(text.clone()),
                "{other}"
            );
        }
    }
    // What else the batch has makes it text again.
    let table = table(Vec::new(), true);
    let lines = "{\"d\":\"2026-04-13\"}\n{\"d\":\"soon\"}";
    let converted = run_as(&table, &[lines], with("column_from_date_text=date"));
    assert_eq!(texts(&converted, "D"), some(&["2026-04-13", "soon"]));
}

#[test]
fn an_array_makes_a_variant_or_an_array() {
    let made = |choice| made("[1]", TableKind::Standard, choice);
    assert_eq!(made("column_from_array=variant"), Some(DataType::Variant));
    assert_eq!(made("column_from_array=array"), Some(DataType::Array));
    let table = table(Vec::new(), true);
    let lines = "{\"a\":[1]}\n{\"a\":{\"b\":2}}";
    let converted = run_as(&table, &[lines], with("column_from_array=array"));
    assert_eq!(converted.added_columns[0].data_type, DataType::Variant);
}

#[test]
fn boolean_takes_numbers_or_does_not() {
    for (json, truth) in [("0", "false"), ("1", "true"), ("-0.5", "true")] {
        assert_eq!(
            value(DataType::Boolean, json, "boolean_from_number=refuse"),
            Err(100_071)
        );
        assert_eq!(
            value(DataType::Boolean, json, "boolean_from_number=accept"),
            is(truth)
        );
    }
    assert_eq!(
        value(DataType::Boolean, "\"2\"", "boolean_from_number=accept"),
        Err(100_071)
    );
}

#[test]
fn time_takes_an_offset_or_does_not() {
    let time = || DataType::Time { scale: 9 };
    for (json, clock) in [
        (r#""20:57:01.123456789+07:00""#, "20:57:01.123456789"),
        (r#""13:45:30-0500""#, "13:45:30"),
        (r#""00:00:00Z""#, "00:00:00"),
    ] {
        assert_eq!(
            value(time(), json, "time_with_offset=refuse"),
            Err(100_071),
            "{json}"
        );
        assert_eq!(
            value(time(), json, "time_with_offset=accept"),
            is(clock),
            "{json}"
        );
    }
    for json in [
        r#""25:00:00Z""#,
        r#""13:45:30+5""#,
        r#""é-0500""#,
        r#""23:59:60Z""#,
    ] {
        assert_eq!(
            value(time(), json, "time_with_offset=accept"),
            Err(100_071),
            "{json}"
        );
    }
    assert_eq!(
        value(time(), r#""13:45""#, "time_with_offset=accept"),
        is("13:45:00")
    );
}

#[test]
fn a_number_is_a_moment_in_utc_or_the_clock_of_los_angeles() {
    let ntz = || DataType::TimestampNtz { scale: 9 };
    let ask = |json, choice| value(ntz(), json, choice);
    assert_eq!(
        ask("1705312800", "ntz_from_number=utc"),
        is("2024-01-15T10:00:00")
    );
    assert_eq!(
        ask("1705312800", "ntz_from_number=los_angeles"),
        is("2024-01-15T02:00:00")
    );
    // In summer it is an hour less.
    assert_eq!(
        ask("1720000000", "ntz_from_number=los_angeles"),
        is("2024-07-03T02:46:40")
    );
    // Texts are as they are written.
    let text = r#""2024-01-15T10:00:00Z""#;
    assert_eq!(
        ask(text, "ntz_from_number=los_angeles"),
        is("2024-01-15T10:00:00")
    );
}

#[test]
fn a_null_is_the_variants_or_sqls() {
    assert_eq!(
        value(DataType::Variant, "null", "variant_from_null=json_null"),
        is("null")
    );
    assert_eq!(
        value(DataType::Variant, "null", "variant_from_null=sql_null"),
        Ok(None)
    );
    assert_eq!(
        value(DataType::Variant, "[null]", "variant_from_null=sql_null"),
        is("[null]")
    );
    let mut table = table(vec![column("V", DataType::Variant)], false);
    (table.columns[0].nullable, table.error_logging) = (false, true);
    assert_eq!(
        one(&table, "{\"v\":null}", "variant_from_null=sql_null"),
        Err(100_072)
    );
}

#[test]
fn a_key_that_stands_twice_refuses_the_row_or_its_last_value_counts() {
    let mut table = table(vec![column("A", WHOLE), column("V", WHOLE)], false);
    table.error_logging = true;
    let line = r#"{"v":1,"a":9,"v":2,"a":8,"v":3}"#;
    assert!(one(&table, line, "duplicate_keys=refuse").is_err());
    assert_eq!(one(&table, line, "duplicate_keys=last"), is("3"));
    let converted = run_as(&table, &[line], with("duplicate_keys=last"));
    assert_eq!(
        converted
            .record_batch
            .column(0)
            .as_primitive::<Decimal128Type>()
            .values(),
        &[8]
    );
}

#[test]
fn interactive_and_iceberg_tables_evolve_or_stay_as_they_are() {
    for (kind, name) in [
        (TableKind::Interactive, "interactive_evolution"),
        (TableKind::Iceberg, "iceberg_evolution"),
    ] {
        assert_eq!(
            made("true", kind, &format!("{name}=allow")),
            Some(DataType::Boolean)
        );
        assert_eq!(made("true", kind, &format!("{name}=ignore")), None);
        assert_eq!(
            made("true", TableKind::Standard, &format!("{name}=ignore")),
            Some(DataType::Boolean)
        );
        // A missing value is a refused row then, as where evolution is off.
        let mut table = table(vec![column("N", WHOLE)], true);
        (table.columns[0].nullable, table.kind) = (false, kind);
        let refused = run_as(&table, &["{}"], with(&format!("{name}=ignore")));
        assert_eq!(
            (refused.per_batch[0].errors, refused.dropped_not_null.len()),
            (1, 0)
        );
    }
}

#[test]
fn of_two_keys_that_make_one_column_its_own_case_wins() {
    let table = table(Vec::new(), true);
    for line in [
        r#"{"age":1,"AGE":2}"#,
        r#"{"AGE":2,"age":1}"#,
        r#"{"Age":1,"age":2}"#,
    ] {
        let converted = run(&table, &[line]);
        let names: Vec<_> = converted
            .added_columns
            .iter()
            .map(|column| column.name.as_str())
            .collect();
        assert_eq!((names, converted.per_batch[0].inserted), (vec!["AGE"], 1));
        let value = converted
            .record_batch
            .column(0)
            .as_primitive::<Decimal128Type>()
            .value(0);
        assert_eq!(value, if line.contains("AGE") { 2 } else { 1 }, "{line}");
    }
}
