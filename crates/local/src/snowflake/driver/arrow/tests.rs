//! What a reader of Arrow finds in the stream.

use std::collections::HashMap;

use arrow::array::Array as _;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_ipc::reader::StreamReader;

use super::*;

fn column(kind: &'static str, precision: Option<u8>, scale: Option<i8>) -> ResultColumn {
    ResultColumn {
        name: "C".to_owned(),
        kind,
        precision,
        scale,
        length: None,
        vector: None,
    }
}

fn result(column: ResultColumn, cells: &[Option<&str>]) -> QueryResult {
    let row = |cell: &Option<&str>| vec![cell.map(ToOwned::to_owned)];
    QueryResult {
        columns: vec![column],
        rows: cells.iter().map(row).collect(),
        statement_type: 0,
    }
}

fn read(encoded: &str) -> (Arc<Schema>, Vec<RecordBatch>) {
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
    let reader = StreamReader::try_new(bytes.as_slice(), None).unwrap();
    let schema = reader.schema();
    (schema, reader.map(Result::unwrap).collect())
}

/// The field and the array that a column of these cells becomes.
fn encoded(column: ResultColumn, cells: &[Option<&str>]) -> (Field, ArrayRef) {
    let stream = encode(&result(column, cells)).unwrap();
    let (schema, batches) = read(&stream);
    assert_eq!(batches.len(), 1);
    (schema.field(0).clone(), Arc::clone(batches[0].column(0)))
}

fn shown(array: &ArrayRef) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let formatter = ArrayFormatter::try_new(array, &options).unwrap();
    (0..array.len())
        .map(|row| formatter.value(row).to_string())
        .collect()
}

#[test]
fn each_kind_becomes_the_array_that_drivers_read() {
    let (zero, nine) = (Some(0), Some(9));
    let number = |scale| column("fixed", Some(38), Some(scale));
    let moment = |epoch, fraction| format!("{{epoch: {epoch}, fraction: {fraction}}}");
    let cases = [
        (
            column("real", None, None),
            "1.5",
            DataType::Float64,
            "1.5".to_owned(),
        ),
        (
            column("real", None, None),
            "-inf",
            DataType::Float64,
            "-inf".to_owned(),
        ),
        (
            column("text", None, None),
            "it's \u{fc}",
            DataType::Utf8,
            "it's \u{fc}".to_owned(),
        ),
        (
            column("variant", None, None),
            "{\"a\":1}",
            DataType::Utf8,
            "{\"a\":1}".to_owned(),
        ),
        (
            column("object", None, None),
            "{}",
            DataType::Utf8,
            "{}".to_owned(),
        ),
        (column("array", None, None), "[]", DataType::Utf8, "[]".to_owned()),
        (
            column("boolean", None, None),
            "true",
            DataType::Boolean,
            "true".to_owned(),
        ),
        (
            column("boolean", None, None),
            "false",
            DataType::Boolean,
            "false".to_owned(),
        ),
        (
            column("date", None, None),
            "-1",
            DataType::Date32,
            "1969-12-31".to_owned(),
        ),
        (
            column("binary", None, None),
            "00FF",
            DataType::Binary,
            "00ff".to_owned(),
        ),
        (
            column("time", None, nine),
            "49530.500000000",
            DataType::Int64,
            "49530500000000".to_owned(),
        ),
        (
            column("time", None, zero),
            "49530",
            DataType::Int64,
            "49530".to_owned(),
        ),
        (number(0), "-128", DataType::Int8, "-128".to_owned()),
        (number(0), "128", DataType::Int16, "128".to_owned()),
        (number(2), "327.67", DataType::Int16, "32767".to_owned()),
        (number(2), "-327.69", DataType::Int32, "-32769".to_owned()),
        (number(0), "2147483648", DataType::Int64, "2147483648".to_owned()),
        (
            number(0),
            "-99999999999999999999999999999999999999",
            DataType::Decimal128(38, 0),
            "-99999999999999999999999999999999999999".to_owned(),
        ),
        (
            number(37),
            "0.0000000000000000000123456789012345678",
            DataType::Int64,
            "123456789012345678".to_owned(),
        ),
        (
            number(5),
            "-999999999999999999999999999999999.99999",
            DataType::Decimal128(38, 5),
            "-999999999999999999999999999999999.99999".to_owned(),
        ),
        (
            column("timestamp_ltz", None, Some(3)),
            "-0.250",
            DataType::Int64,
            "-250".to_owned(),
        ),
        (
            column("timestamp_ntz", None, zero),
            "-1",
            DataType::Int64,
            "-1".to_owned(),
        ),
    ];
    for (column, cell, kind, expected) in cases {
        let name = format!("{} {cell}", column.kind);
        let (field, array) = encoded(column.clone(), &[Some(cell), None]);
        assert_eq!(
            (field.data_type(), shown(&array)),
            (&kind, vec![expected, "NULL".to_owned()]),
            "{name}"
        );
        assert_eq!(field.metadata()["logicalType"], column.kind.to_uppercase());
    }
    // The first and the last moment that there is, and one just before 1970.
    for (cell, epoch, fraction) in [
        ("1793494923.004000000", 1_793_494_923_i64, 4_000_000),
        ("-0.000000001", -1, 999_999_999),
        ("-1.750000000", -2, 250_000_000),
        ("-62135596800.000000000", -62_135_596_800, 0),
        ("253402300799.999999999", 253_402_300_799, 999_999_999),
    ] {
        for kind in ["timestamp_ntz", "timestamp_ltz"] {
            let (_, array) = encoded(column(kind, None, nine), &[Some(cell), None]);
            assert_eq!(
                shown(&array),
                [moment(epoch, fraction), "NULL".to_owned()],
                "{cell}"
            );
        }
        let zoned = format!("{cell} 1770");
        let (_, array) = encoded(column("timestamp_tz", None, nine), &[Some(&zoned), None]);
        let expected = format!("{{epoch: {epoch}, fraction: {fraction}, timezone: 1770}}");
        assert_eq!(shown(&array), [expected, "NULL".to_owned()], "{cell}");
    }
    let (field, array) = encoded(column("timestamp_tz", None, Some(3)), &[Some("-0.250 960")]);
    assert_eq!(shown(&array), ["{epoch: -250, timezone: 960}"]);
    assert_eq!(field.metadata()["byteLength"], "8");
}

#[test]
fn decimal_floats_are_an_exponent_and_the_fewest_bytes() {
    for (cell, exponent, significand) in [
        ("0", 0, vec![0]),
        ("1.5", -1, vec![15]),
        ("-0.5", -1, vec![0xfb]),
        ("128", 0, vec![0, 128]),
        ("-128", 0, vec![0x80]),
        ("1200", 2, vec![12]),
        ("-1.23e7002", 7000, vec![0x85]),
        ("1e-16383", -16383, vec![1]),
        (
            "99999999999999999999999999999999999999",
            0,
            (10_i128.pow(38) - 1).to_be_bytes().to_vec(),
        ),
    ] {
        let (_, array) = encoded(column("decfloat", Some(38), None), &[None, Some(cell)]);
        let parts = array.as_struct();
        let exponents = parts
            .column_by_name("exponent")
            .unwrap()
            .as_primitive::<Int16Type>();
        let significands = parts.column_by_name("significand").unwrap().as_binary::<i32>();
        assert_eq!(
            (exponents.value(1), significands.value(1)),
            (exponent, significand.as_slice()),
            "{cell}"
        );
        assert!(parts.is_null(0));
    }
}

#[test]
fn vectors_are_lists_of_their_size_and_one_that_is_null_takes_its_place() {
    fn values<T: ArrowPrimitiveType>(kind: &'static str, cell: &str) -> Vec<T::Native> {
        let mut column = column("vector", None, None);
        column.vector = Some((kind, 2));
        let (_, array) = encoded(column, &[None, Some(cell), None]);
        let lists = array.as_fixed_size_list();
        assert_eq!(
            (lists.is_null(0), lists.is_valid(1), lists.values().len()),
            (true, true, 6)
        );
        lists.value(1).as_primitive::<T>().values().to_vec()
    }
    assert_eq!(values::<Float32Type>("real", "[1.5,-2.0]"), [1.5, -2.0]);
    assert_eq!(values::<Int32Type>("fixed", "[1,-2]"), [1, -2]);
    let mut large = column("vector", None, None);
    large.vector = Some(("real", 4096));
    let rows = vec![None; LARGEST_RESULT / (4096 * 4) + 1];
    let large = encode(&result(large, &rows));
    assert!(matches!(large, Err(Unfit::Large(_))), "{large:?}");
}

#[test]
fn a_number_takes_the_width_of_the_widest_and_none_is_64_bits() {
    let number = || column("fixed", Some(12), Some(3));
    let (field, array) = encoded(number(), &[Some("0.001"), None, Some("-40000.000")]);
    assert_eq!(field.data_type(), &DataType::Int32);
    assert_eq!(array.as_primitive::<Int32Type>().values(), &[1, 0, -40_000_000]);
    let (field, _) = encoded(number(), &[None]);
    assert_eq!(field.data_type(), &DataType::Int64);
}

#[test]
fn fields_say_what_the_service_says() {
    let metadata = |column: ResultColumn, cell: &str| {
        let (field, _) = encoded(column, &[Some(cell)]);
        (
            field.is_nullable(),
            field.metadata().clone(),
            field.data_type().clone(),
        )
    };
    let expected = |kind: &str, precision: &str, scale: &str, length: &str, bytes: &str| {
        [
            ("logicalType", kind),
            ("precision", precision),
            ("scale", scale),
            ("charLength", length),
            ("byteLength", bytes),
            ("finalType", "T"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    };
    let mut text = column("text", None, None);
    text.length = Some(16_777_216);
    // As in `test/data/test_arrow_data` of snowflake-connector-python.
    let cases: [(ResultColumn, &str, HashMap<String, String>); 7] = [
        (
            column("fixed", Some(12), Some(3)),
            "40000.000",
            expected("FIXED", "12", "3", "0", "4"),
        ),
        (
            column("boolean", None, None),
            "true",
            expected("BOOLEAN", "38", "0", "0", "1"),
        ),
        (
            column("date", None, None),
            "1",
            expected("DATE", "38", "0", "0", "4"),
        ),
        (
            column("real", None, None),
            "1",
            expected("REAL", "38", "0", "0", "8"),
        ),
        (text, "", expected("TEXT", "38", "0", "16777216", "16777216")),
        (
            column("time", None, Some(9)),
            "1.000000000",
            expected("TIME", "0", "9", "0", "8"),
        ),
        (
            column("timestamp_tz", None, Some(9)),
            "1.000000000 1440",
            expected("TIMESTAMP_TZ", "0", "9", "0", "16"),
        ),
    ];
    for (column, cell, expected) in cases {
        let (nullable, metadata, kind) = metadata(column, cell);
        assert!(nullable);
        assert_eq!(metadata, expected);
        if let DataType::Struct(parts) = kind {
            assert!(parts.iter().all(|part| part.metadata() == &expected));
        }
    }
}

#[test]
fn a_result_without_rows_is_an_empty_text() {
    let none = result(column("timestamp_tz", None, Some(9)), &[]);
    assert_eq!(encode(&none).unwrap(), "");
}

#[test]
fn a_cell_of_another_form_is_refused() {
    for (column, cell) in [
        (column("fixed", Some(38), Some(0)), "1.5"),
        (column("fixed", Some(38), Some(0)), "many"),
        (
            column("fixed", Some(38), Some(38)),
            "99999999999999999999999999999999999999",
        ),
        (column("fixed", Some(38), Some(-2)), "100"),
        (column("real", None, None), ""),
        (column("boolean", None, None), "1"),
        (column("date", None, None), "2026-11-24"),
        (column("time", None, Some(9)), "13:45:30"),
        (column("time", None, Some(10)), "1"),
        (column("timestamp_ntz", None, Some(9)), "soon"),
        (column("timestamp_ntz", None, Some(3)), "9223372036854775807"),
        (column("timestamp_tz", None, Some(9)), "1.000000000"),
        (column("timestamp_tz", None, Some(9)), "1.000000000 soon"),
        (column("binary", None, None), "0"),
        (column("decfloat", Some(38), None), "1e40000"),
        (column("decfloat", Some(38), None), ""),
        (column("vector", None, None), "[1]"),
    ] {
        let name = format!("{} {cell}", column.kind);
        let refused = encode(&result(column, &[Some(cell)]));
        assert!(matches!(refused, Err(Unfit::Cell(..))), "{name}: {refused:?}");
    }
    let mut vector = column("vector", None, None);
    vector.vector = Some(("fixed", 2));
    for cell in ["[1]", "[1,2,3]", "[1,x]", "1,2", "[]"] {
        let refused = encode(&result(vector.clone(), &[Some(cell)]));
        assert!(matches!(refused, Err(Unfit::Cell(..))), "{cell}: {refused:?}");
    }
}
