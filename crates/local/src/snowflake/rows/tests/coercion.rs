//! What each type of column takes of each JSON value through the default pipe, one case for each cell of the documents' table.
//!
//! Source: Snowflake documentation, "Snowpipe Streaming high-performance architecture", data types; "Date and time input
//! formats" (the unit that a number in a text stands for); the end-to-end tests of Snowflake's Kafka connector 4
//! (`test_type_compatibility`), which run against the service. Where these disagree, `docs/local.md` says what was chosen.

use arrow::array::ArrayRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::*;
use crate::snowflake::model::VectorElement;

/// What becomes of a value.
enum To {
    /// The cell, as text.
    Is(&'static str),
    /// NULL of SQL.
    Null,
    /// The row is refused with this code.
    No(u32),
}

use To::{Is, No, Null};

/// A value that a type does not take.
const CAST: u32 = 100_071;
/// A text that is too long.
const LONG: u32 = 100_078;

const fn number(precision: u8, scale: i8) -> DataType {
    DataType::Number { precision, scale }
}

const fn text(length: u32) -> DataType {
    DataType::Varchar { length }
}

const NTZ: DataType = DataType::TimestampNtz { scale: 9 };
const LTZ: DataType = DataType::TimestampLtz { scale: 9 };
const TZ: DataType = DataType::TimestampTz { scale: 9 };
const TIME: DataType = DataType::Time { scale: 9 };

/// The cell that a value becomes.
fn becomes(data_type: &DataType, json: &str) -> Result<Option<String>, u32> {
    let mut table = table(vec![column("V", data_type.clone())], false);
    table.error_logging = true;
    let line = format!("{{\"v\":{json}}}");
    let converted = run(&table, &[&line]);
    if let Some(refused) = converted.refused.first() {
        assert_eq!(converted.record_batch.num_rows(), 0);
        return Err(refused.refusal.code);
    }
    let cells = converted.record_batch.column(0);
    if cells.is_null(0) {
        return Ok(None);
    }
    let is_zoned = matches!(data_type, DataType::TimestampTz { .. });
    if let (Some(typed), false) = (Typed::of(cells.data_type()), is_zoned) {
        return Ok(Some(typed.texts(cells, Form::Shown).value(0).to_owned()));
    }
    let shown = |cells: &ArrayRef| {
        let format = ArrayFormatter::try_new(cells, &FormatOptions::default()).expect("a format");
        format.value(0).to_string()
    };
    Ok(Some(match is_zoned {
        true => format!("{} {}", shown(cells), shown(converted.record_batch.column(1))),
        false => shown(cells),
    }))
}

fn check(data_type: &DataType, cases: &[(&str, To)]) -> usize {
    for (json, to) in cases {
        let expected = match to {
            Is(text) => Ok(Some((*text).to_owned())),
            Null => Ok(None),
            No(code) => Err(*code),
        };
        assert_eq!(becomes(data_type, json), expected, "{data_type:?} of {json}");
    }
    cases.len()
}

#[test]
fn numbers() {
    let nines = "99999999999999999999999999999999999999";
    let whole = [
        ("1", Is("1")),
        ("-7", Is("-7")),
        ("1.4", Is("1")),
        ("1.5", Is("2")),
        ("-1.5", Is("-2")),
        ("2.5", Is("3")),
        ("1e3", Is("1000")),
        ("\"42\"", Is("42")),
        ("\"  42 \"", Is("42")),
        ("true", Is("1")),
        ("false", Is("0")),
        ("null", Null),
        (nines, Is(nines)),
        ("100000000000000000000000000000000000000", No(CAST)),
        ("99999999999999999999999999999999999999.5", No(CAST)),
        ("99999999999999999999999999999999999999.4", Is(nines)),
        ("\"text\"", No(CAST)),
        ("\"\"", No(CAST)),
        ("{}", No(CAST)),
        ("[1]", No(CAST)),
    ];
    let scaled = [
        ("1.005", Is("1.01")),
        ("1.004", Is("1.00")),
        ("-1.005", Is("-1.01")),
        ("12345678.90", Is("12345678.90")),
        ("\"12345678901\"", No(CAST)),
        ("-12345678901", No(CAST)),
        ("99999999.994", Is("99999999.99")),
        ("99999999.995", No(CAST)),
    ];
    let wide = [
        (
            "\"99999999999999999.99\"",
            Is("99999999999999999.99000000000000000000"),
        ),
        ("123456789012345678901234567890", No(CAST)),
        (
            "123456789012345678",
            Is("123456789012345678.00000000000000000000"),
        ),
        ("1234567890123456789", No(CAST)),
    ];
    let narrow = [
        ("9.94", Is("9.9")),
        ("9.95", No(CAST)),
        ("9.96", No(CAST)),
        ("-9.96", No(CAST)),
    ];
    let count = check(&number(38, 0), &whole)
        + check(&number(10, 2), &scaled)
        + check(&number(38, 20), &wide)
        + check(&number(2, 1), &narrow);
    assert!(count >= 36, "{count} cases");
}

#[test]
fn floats() {
    check(
        &DataType::Float,
        &[
            ("1", Is("1.0")),
            ("0.99", Is("0.99")),
            ("1e300", Is("1e300")),
            ("\"2.5\"", Is("2.5")),
            ("\"NaN\"", Is("NaN")),
            ("\"Infinity\"", Is("inf")),
            ("\"-Infinity\"", Is("-inf")),
            ("null", Null),
            ("\"text\"", No(CAST)),
            ("{}", No(CAST)),
            ("[1]", No(CAST)),
        ],
    );
}

#[test]
fn booleans() {
    let mut cases = vec![
        ("true", Is("true")),
        ("false", Is("false")),
        ("null", Null),
        // The streaming server takes no numbers, though a cast of a VARIANT would.
        ("0", No(CAST)),
        ("1", No(CAST)),
        ("42", No(CAST)),
        ("-1", No(CAST)),
        ("999", No(CAST)),
        ("\"maybe\"", No(CAST)),
        ("{}", No(CAST)),
        ("[true]", No(CAST)),
    ];
    for yes in ["\"true\"", "\"T\"", "\"yes\"", "\"Y\"", "\"ON\"", "\"1\""] {
        cases.push((yes, Is("true")));
    }
    for no in ["\"False\"", "\"f\"", "\"NO\"", "\"n\"", "\"off\"", "\"0\""] {
        cases.push((no, Is("false")));
    }
    assert_eq!(check(&DataType::Boolean, &cases), 23);
}

#[test]
fn texts_of_anything() {
    let any = [
        ("\"text\"", Is("text")),
        ("\"\"", Is("")),
        ("42", Is("42")),
        ("5.000", Is("5")),
        ("1.50", Is("1.5")),
        ("true", Is("true")),
        ("{\"key\": \"value\"}", Is("{\"key\":\"value\"}")),
        ("[1, 2, 3]", Is("[1,2,3]")),
        ("null", Null),
    ];
    let ten = [
        ("\"0123456789\"", Is("0123456789")),
        ("\"01234567890123456789\"", No(LONG)),
        ("{\"key\":\"value\"}", No(LONG)),
        // Characters count, not bytes.
        ("\"ääääääääää\"", Is("ääääääääää")),
        ("\"äääääääääää\"", No(LONG)),
        ("\"\\ud83d\\ude00\"", Is("😀")),
    ];
    assert_eq!(check(&text(MAX_VARCHAR), &any) + check(&text(10), &ten), 15);
}

#[test]
fn binaries_are_base64() {
    check(
        &DataType::Binary { length: 4 },
        &[
            ("\"AP8=\"", Is("00ff")),
            // Hexadecimal digits are taken for base64, and give other bytes.
            ("\"00ff\"", Is("d347df")),
            ("\"AAECAw==\"", Is("00010203")),
            ("\"AAECAwQ=\"", No(CAST)),
            ("\"not base64!\"", No(CAST)),
            ("1", No(CAST)),
            ("{}", No(CAST)),
            ("null", Null),
        ],
    );
}

#[test]
fn dates_and_times() {
    let dates = [
        ("\"2024-01-15\"", Is("2024-01-15")),
        ("\"15-JAN-2024\"", Is("2024-01-15")),
        ("\"01/15/2024\"", Is("2024-01-15")),
        ("\"2024-01-15T13:45:30Z\"", Is("2024-01-15")),
        ("\"1705312800\"", Is("2024-01-15")),
        ("1705312800", No(CAST)),
        ("\"soon\"", No(CAST)),
        ("\"2024-02-30\"", No(CAST)),
        ("true", No(CAST)),
        ("{}", No(CAST)),
        ("null", Null),
    ];
    let times = [
        ("\"13:45\"", Is("13:45:00")),
        ("\"13:45:30\"", Is("13:45:30")),
        ("\"13:45:30.123456789\"", Is("13:45:30.123456789")),
        ("\"01:45:30 PM\"", Is("13:45:30")),
        ("\"49530\"", Is("13:45:30")),
        // An offset is not taken, though the documents list it.
        ("\"00:00:00Z\"", No(CAST)),
        ("\"13:45:30+05:00\"", No(CAST)),
        ("\"noon\"", No(CAST)),
        ("{}", No(CAST)),
        ("null", Null),
    ];
    assert_eq!(check(&DataType::Date, &dates) + check(&TIME, &times), 21);
}

#[test]
fn timestamps() {
    let ntz = [
        ("\"2024-01-15T13:45:30\"", Is("2024-01-15T13:45:30")),
        ("\"2024-01-15 13:45:30.5\"", Is("2024-01-15T13:45:30.500")),
        ("\"2024-01-15\"", Is("2024-01-15T00:00:00")),
        // The wall clock stays, the offset is thrown away.
        ("\"2024-01-15T13:45:30+05:00\"", Is("2024-01-15T13:45:30")),
        ("\"2024-01-15T13:45:30Z\"", Is("2024-01-15T13:45:30")),
        ("\"01/15/2024 13:45:30\"", Is("2024-01-15T13:45:30")),
        ("\"Mon, 15 Jan 2024 13:45:30 +0000\"", Is("2024-01-15T13:45:30")),
        ("\"Mon Jan 15 13:45:30 +0000 2024\"", Is("2024-01-15T13:45:30")),
        ("1705312800", Is("2024-01-15T10:00:00")),
        ("\"2024-06-30T23:59:60\"", No(CAST)),
        ("\"0001-01-01T00:00:00\"", Is("0001-01-01T00:00:00")),
        ("\"9999-12-31T23:59:59.999999\"", Is("9999-12-31T23:59:59.999999")),
        ("253402300799", Is("9999-12-31T23:59:59")),
        ("253402300800", No(CAST)),
        ("\"0000-12-31T23:59:59\"", No(CAST)),
        ("\"10000-01-01T00:00:00\"", No(CAST)),
        ("\"soon\"", No(CAST)),
        ("true", No(CAST)),
        ("{}", No(CAST)),
        ("null", Null),
    ];
    // The unit of a number in a text, on both sides of each bound.
    let units = [
        ("\"9000000000\"", Is("2255-03-14T16:00:00")),
        ("\"31535999999\"", Is("2969-05-02T23:59:59")),
        ("\"31536000000\"", Is("1971-01-01T00:00:00")),
        ("\"9000000000000\"", Is("2255-03-14T16:00:00")),
        ("\"31535999999999\"", Is("2969-05-02T23:59:59.999")),
        ("\"31536000000000\"", Is("1971-01-01T00:00:00")),
        ("\"9000000000000000\"", Is("2255-03-14T16:00:00")),
        ("\"31535999999999999\"", Is("2969-05-02T23:59:59.999999")),
        ("\"31536000000000000\"", Is("1971-01-01T00:00:00")),
        ("\"1705312800\"", Is("2024-01-15T10:00:00")),
        ("\"1705312800123\"", Is("2024-01-15T10:00:00.123")),
    ];
    let zoned = [
        ("\"2024-01-15T13:45:30+05:00\"", Is("2024-01-15T08:45:30Z")),
        ("\"2024-01-15T13:45:30Z\"", Is("2024-01-15T13:45:30Z")),
        ("\"2024-01-15T13:45:30\"", Is("2024-01-15T13:45:30Z")),
        ("1705312800", Is("2024-01-15T10:00:00Z")),
        ("\"1705312800123\"", Is("2024-01-15T10:00:00.123Z")),
        ("\"9999-12-31T23:59:59+05:00\"", Is("9999-12-31T18:59:59Z")),
        ("\"9999-12-31T23:59:59-05:00\"", No(CAST)),
        ("\"soon\"", No(CAST)),
        ("[]", No(CAST)),
        ("null", Null),
    ];
    // The moment, and the offset in minutes.
    let with_offset = [
        ("\"2024-01-15T13:45:30+05:00\"", Is("2024-01-15T08:45:30Z 300")),
        (
            "\"2024-01-15 13:45:30.5 -0330\"",
            Is("2024-01-15T17:15:30.500Z -210"),
        ),
        (
            "\"Mon, 15 Jan 2024 13:45:30 +0100\"",
            Is("2024-01-15T12:45:30Z 60"),
        ),
        (
            "\"Mon Jan 15 13:45:30 -0800 2024\"",
            Is("2024-01-15T21:45:30Z -480"),
        ),
        ("\"2024-01-15T13:45:30Z\"", Is("2024-01-15T13:45:30Z 0")),
        ("\"2024-01-15T13:45:30\"", Is("2024-01-15T13:45:30Z 0")),
        ("\"2024-01-15\"", Is("2024-01-15T00:00:00Z 0")),
        ("1705312800", Is("2024-01-15T10:00:00Z 0")),
        ("\"1705312800123\"", Is("2024-01-15T10:00:00.123Z 0")),
        ("\"2024-06-30T23:59:60Z\"", No(CAST)),
        ("\"2024-01-15T13:45:30+24:00\"", No(CAST)),
        ("\"0001-01-01T00:00:00-01:00\"", Is("0001-01-01T01:00:00Z -60")),
        ("\"soon\"", No(CAST)),
        ("true", No(CAST)),
        ("[]", No(CAST)),
        ("null", Null),
    ];
    let count = check(&NTZ, &ntz) + check(&NTZ, &units) + check(&LTZ, &zoned) + check(&TZ, &with_offset);
    assert_eq!(count, 57);
}

#[test]
fn digits_of_a_second_behind_the_scale_are_cut() {
    let text = "\"2024-01-15T13:45:30.987654321\"";
    let times = "\"13:45:30.987654321\"";
    let mut count = 0;
    for (scale, moment, zoned, with_offset, time) in [
        (
            0,
            "2024-01-15T13:45:30",
            "2024-01-15T13:45:30Z",
            "2024-01-15T13:45:30Z 0",
            "13:45:30",
        ),
        (
            3,
            "2024-01-15T13:45:30.987",
            "2024-01-15T13:45:30.987Z",
            "2024-01-15T13:45:30.987Z 0",
            "13:45:30.987",
        ),
        (
            9,
            "2024-01-15T13:45:30.987654321",
            "2024-01-15T13:45:30.987654321Z",
            "2024-01-15T13:45:30.987654321Z 0",
            "13:45:30.987654321",
        ),
    ] {
        count += check(&DataType::TimestampNtz { scale }, &[(text, Is(moment))])
            + check(&DataType::TimestampLtz { scale }, &[(text, Is(zoned))])
            + check(&DataType::TimestampTz { scale }, &[(text, Is(with_offset))])
            + check(&DataType::Time { scale }, &[(times, Is(time))]);
    }
    assert_eq!(count, 12);
    // Before 1970 they are cut, too, not rounded towards it.
    let before = [("\"1969-12-31T23:59:59.9\"", Is("1969-12-31T23:59:59"))];
    check(&DataType::TimestampNtz { scale: 0 }, &before);
}

#[test]
fn decimal_floats() {
    let nines = "99999999999999999999999999999999999999";
    let cases = [
        ("1", Is("1")),
        ("-7.50", Is("-7.5")),
        ("1e400", Is("1e400")),
        ("-4.2e-5432", Is("-4.2e-5432")),
        ("\"42\"", Is("42")),
        ("\"  1.5 \"", Is("1.5")),
        (nines, Is(nines)),
        (
            "\"1.00000000000000000000000000000000000015\"",
            Is("1.0000000000000000000000000000000000002"),
        ),
        ("1e16384", Is("1e16384")),
        ("1e16385", No(CAST)),
        ("\"NaN\"", No(CAST)),
        ("\"inf\"", No(CAST)),
        ("\"text\"", No(CAST)),
        ("{}", No(CAST)),
        ("[1]", No(CAST)),
        ("null", Null),
    ];
    assert_eq!(check(&DataType::Decfloat, &cases), 16);
}

#[test]
fn vectors() {
    let vector = |element| DataType::Vector {
        element,
        dimension: 3,
    };
    let floats = [
        ("[1.5, -2, 1e-3]", Is("[1.5,-2.0,0.001]")),
        ("[1,2]", No(CAST)),
        ("[1,2,3,4]", No(CAST)),
        ("[1,2,null]", No(CAST)),
        ("[1,2,\"3\"]", No(CAST)),
        ("[1,2,1e39]", No(CAST)),
        ("\"[1,2,3]\"", No(CAST)),
        ("{}", No(CAST)),
        ("1", No(CAST)),
        ("null", Null),
    ];
    let ints = [
        ("[1,-2,2147483647]", Is("[1,-2,2147483647]")),
        ("[1,2,2147483648]", No(CAST)),
        ("[1,2,3.5]", No(CAST)),
        ("[]", No(CAST)),
        ("null", Null),
    ];
    let count = check(&vector(VectorElement::Float), &floats) + check(&vector(VectorElement::Int), &ints);
    assert_eq!(count, 15);
}

#[test]
fn semi_structured_values() {
    let variants = [
        ("1", Is("1")),
        ("\"42\"", Is("\"42\"")),
        // A text is not read again.
        ("\"{\\\"a\\\":1}\"", Is("\"{\\\"a\\\":1}\"")),
        ("\"hello\"", Is("\"hello\"")),
        ("{\"a\":[1,null]}", Is("{\"a\":[1,null]}")),
        ("[]", Is("[]")),
        ("true", Is("true")),
        // Not the NULL of SQL.
        ("null", Is("null")),
    ];
    let objects = [
        ("{\"a\":1}", Is("{\"a\":1}")),
        ("\"{\\\"a\\\":1}\"", Is("{\"a\":1}")),
        ("{}", Is("{}")),
        ("[1]", No(CAST)),
        ("\"[1]\"", No(CAST)),
        ("\"text\"", No(CAST)),
        ("1", No(CAST)),
        ("true", No(CAST)),
        ("null", Null),
    ];
    let arrays = [
        ("[1,\"x\"]", Is("[1,\"x\"]")),
        ("[]", Is("[]")),
        // Any other scalar is the one element, a text too.
        ("\"not_json\"", Is("[\"not_json\"]")),
        ("\"[1,2,3]\"", Is("[\"[1,2,3]\"]")),
        ("1", Is("[1]")),
        ("true", Is("[true]")),
        ("null", Null),
    ];
    let count = check(&DataType::Variant, &variants)
        + check(&DataType::Object, &objects)
        + check(&DataType::Array, &arrays);
    assert_eq!(count, 24);
}
