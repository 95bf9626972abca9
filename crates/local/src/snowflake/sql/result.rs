//! Results: typed columns, and cells as texts in the form that a protocol wants.
//!
//! Forms of cells (Snowflake documentation, "SQL REST API: handling responses"): numbers as decimal text, dates as days
//! since 1970, times as seconds with nine digits of fraction, timestamps as seconds since 1970 with nine digits, behind those of
//! TIMESTAMP_TZ the offset in minutes plus 1440, DECFLOAT as decimal text, VECTOR as a JSON array, binary as
//! upper-case hexadecimal digits, booleans as `true` and `false`, VARIANT as JSON text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType as Arrow, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Time64NanosecondType,
    TimeUnit,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{Result, SqlError, flatten, labels};
use crate::snowflake::model::{DataType, VectorElement};
use crate::snowflake::rows::{Form, TYPE_KEY, Typed, moments, zoned};

/// The most bytes of a result's cells.
pub(crate) const LARGEST_RESULT: usize = 256 * 1024 * 1024;

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultColumn {
    /// Its name.
    pub name: String,
    /// `fixed`, `real`, `decfloat`, `text`, `boolean`, `date`, `time`, `timestamp_ntz`, `timestamp_ltz`, `timestamp_tz`, `binary`,
    /// `variant`, `object`, `array`, `vector`.
    pub kind: &'static str,
    /// Digits of a `fixed`.
    pub precision: Option<u8>,
    /// Digits behind the point of a `fixed`, or of the seconds of a time.
    pub scale: Option<i8>,
    /// Characters of a `text`, bytes of a `binary`.
    pub length: Option<u32>,
    /// Of a `vector`: what its elements are, `real` or `fixed`, and how many.
    pub vector: Option<(&'static str, u16)>,
}

impl ResultColumn {
    /// As an entry of `rowType` and `rowtype`.
    pub(crate) fn described(&self) -> serde_json::Value {
        let mut described = serde_json::json!({
            "name": self.name,
            "type": self.kind,
            "nullable": true,
            "length": self.length,
            "byteLength": self.length,
            "precision": self.precision,
            "scale": self.scale,
            "database": "",
            "schema": "",
            "table": "",
            "collation": null,
        });
        if let Some((element, dimension)) = self.vector {
            let (precision, scale) = if element == "fixed" {
                (Some(38), Some(0))
            } else {
                (None, None)
            };
            described["vectorDimension"] = dimension.into();
            described["fields"] = serde_json::json!([{
                "name": "",
                "type": element,
                "nullable": false,
                "length": null,
                "byteLength": null,
                "precision": precision,
                "scale": scale,
            }]);
        }
        described
    }
}

/// A result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryResult {
    /// The columns.
    pub columns: Vec<ResultColumn>,
    /// The rows.
    pub rows: Vec<Vec<Option<String>>>,
    /// What kind of statement it was, as drivers know it.
    pub statement_type: u32,
}

impl QueryResult {
    /// Texts, but for `created_on`, which is a moment, and `rows` and `bytes`, which are numbers.
    pub(super) fn texts(names: &[&str], rows: Vec<Vec<Option<String>>>) -> Self {
        Self {
            columns: names.iter().map(|name| text_column(name)).collect(),
            rows,
            statement_type: 0,
        }
    }

    /// One column of whole numbers.
    pub(super) fn numbers(name: &str, numbers: Vec<usize>) -> Self {
        let mut column = text_column(name);
        (column.kind, column.length) = ("fixed", None);
        (column.precision, column.scale) = (Some(38), Some(0));
        Self {
            columns: vec![column],
            rows: numbers
                .into_iter()
                .map(|number| vec![Some(number.to_string())])
                .collect(),
            statement_type: 0,
        }
    }

    /// The one line that a definition answers.
    pub(super) fn status(text: String) -> Self {
        Self::texts(&["status"], vec![vec![Some(text)]])
    }
}

fn text_column(name: &str) -> ResultColumn {
    if name == "created_on" {
        return ResultColumn {
            name: name.to_owned(),
            kind: "timestamp_ltz",
            precision: Some(0),
            scale: Some(3),
            length: None,
            vector: None,
        };
    }
    if name == "rows" || name == "bytes" {
        return ResultColumn {
            name: name.to_owned(),
            kind: "fixed",
            precision: Some(38),
            scale: Some(0),
            length: None,
            vector: None,
        };
    }
    ResultColumn {
        name: name.to_owned(),
        kind: "text",
        precision: None,
        scale: None,
        length: Some(16_777_216),
        vector: None,
    }
}

/// The column of a field of a query.
pub(super) fn column(field: &Field) -> ResultColumn {
    let name = field.name().split(labels::AGAIN).next().unwrap_or_default();
    let name = name.rsplit(flatten::APART).next().unwrap_or_default();
    let mut column = text_column(name);
    column.length = None;
    match (Typed::data_type(field.data_type()), field.data_type()) {
        (Some(DataType::Vector { element, dimension }), _) => {
            let element = match element {
                VectorElement::Float => "real",
                VectorElement::Int => "fixed",
            };
            (column.kind, column.vector) = ("vector", Some((element, dimension)));
        }
        (Some(DataType::Decfloat), _) => (column.kind, column.precision) = ("decfloat", Some(38)),
        (Some(_), _) => (column.kind, column.scale) = ("timestamp_tz", Some(9)),
        (None, kind) => plain_column(&mut column, field, kind),
    }
    column
}

fn plain_column(column: &mut ResultColumn, field: &Field, kind: &Arrow) {
    match kind {
        Arrow::Decimal128(precision, scale) => {
            (column.kind, column.precision, column.scale) = ("fixed", Some(*precision), Some(*scale));
        }
        Arrow::Int8
        | Arrow::Int16
        | Arrow::Int32
        | Arrow::Int64
        | Arrow::UInt8
        | Arrow::UInt16
        | Arrow::UInt32
        | Arrow::UInt64 => (column.kind, column.precision, column.scale) = ("fixed", Some(38), Some(0)),
        Arrow::Float16 | Arrow::Float32 | Arrow::Float64 => column.kind = "real",
        Arrow::Boolean => column.kind = "boolean",
        Arrow::Date32 | Arrow::Date64 => column.kind = "date",
        Arrow::Time32(_) | Arrow::Time64(_) => (column.kind, column.scale) = ("time", Some(9)),
        Arrow::Timestamp(_, None) => (column.kind, column.scale) = ("timestamp_ntz", Some(9)),
        Arrow::Timestamp(_, Some(_)) => (column.kind, column.scale) = ("timestamp_ltz", Some(9)),
        Arrow::Binary | Arrow::LargeBinary | Arrow::BinaryView => {
            (column.kind, column.length) = ("binary", Some(8_388_608));
        }
        _ => {
            column.length = Some(16_777_216);
            column.kind = match field.metadata().get(TYPE_KEY).map(String::as_str) {
                Some("VARIANT") => "variant",
                Some("OBJECT" | "MAP") => "object",
                Some("ARRAY") => "array",
                _ => "text",
            };
        }
    }
}

/// Appends the rows of a batch, bounded in bytes.
pub(super) fn append(
    rows: &mut Vec<Vec<Option<String>>>,
    arrays: &[ArrayRef],
    count: usize,
    bytes: &mut usize,
) -> Result<()> {
    let begin = rows.len();
    rows.resize_with(begin + count, || Vec::with_capacity(arrays.len()));
    for array in arrays {
        let cells = cells(array)?;
        for (row, cell) in rows.iter_mut().skip(begin).zip(cells) {
            *bytes += cell.as_ref().map_or(0, String::len) + 24;
            row.push(cell);
        }
        if *bytes > LARGEST_RESULT {
            let message =
                format!("the result has more than {LARGEST_RESULT} bytes; ask for less, or aggregate");
            return Err(SqlError::running(message));
        }
    }
    Ok(())
}

fn fraction(nanos: i128) -> String {
    let (seconds, rest) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    // Written as a decimal number: -0.5 s is -1 s and half a second.
    if seconds < 0 && rest > 0 {
        let (whole, part) = (-(seconds + 1), 1_000_000_000 - rest);
        return format!("-{whole}.{part:09}");
    }
    format!("{seconds}.{rest:09}")
}

fn each<T>(array: &ArrayRef, cell: impl Fn(usize) -> T) -> Vec<Option<T>> {
    (0..array.len())
        .map(|row| (!array.is_null(row)).then(|| cell(row)))
        .collect()
}

fn cells(array: &ArrayRef) -> Result<Vec<Option<String>>> {
    match Typed::of(array.data_type()) {
        None => {}
        // The offset is that of UTC at 1440.
        Some(Typed::Zoned) => {
            let cell = |value: zoned::Zoned| format!("{} {}", fraction(value.nanos), value.shifted_offset());
            return Ok(zoned::values(array).map(|value| value.map(cell)).collect());
        }
        Some(typed) => {
            let texts = typed.texts(array, Form::Shown);
            return Ok(texts.iter().map(|text| text.map(ToOwned::to_owned)).collect());
        }
    }
    let cells = match array.data_type() {
        Arrow::Null => vec![None; array.len()],
        Arrow::Utf8 => each(array, |row| array.as_string::<i32>().value(row).to_owned()),
        Arrow::Utf8View => each(array, |row| array.as_string_view().value(row).to_owned()),
        Arrow::Decimal128(..) => {
            let numbers = array.as_primitive::<Decimal128Type>();
            each(array, |row| numbers.value_as_string(row))
        }
        Arrow::Float64 => each(array, |row| real(array.as_primitive::<Float64Type>().value(row))),
        Arrow::Float32 => each(array, |row| {
            real(f64::from(array.as_primitive::<Float32Type>().value(row)))
        }),
        Arrow::Date32 => each(array, |row| {
            array.as_primitive::<Date32Type>().value(row).to_string()
        }),
        Arrow::Time64(TimeUnit::Nanosecond) => each(array, |row| {
            fraction(array.as_primitive::<Time64NanosecondType>().value(row).into())
        }),
        Arrow::Timestamp(unit, _) => {
            let array = match unit {
                TimeUnit::Nanosecond | TimeUnit::Microsecond => Arc::clone(array),
                TimeUnit::Second | TimeUnit::Millisecond => {
                    let micros = moments::kind(TimeUnit::Microsecond, false);
                    arrow::compute::cast(array, &micros).map_err(SqlError::running)?
                }
            };
            moments::values(&array).map(|value| value.map(fraction)).collect()
        }
        Arrow::Binary => {
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            each(array, |row| hex(array.as_binary::<i32>().value(row)))
        }
        // Booleans become `true` and `false`, whole numbers their digits, texts themselves.
        _ => {
            let options = FormatOptions::default();
            let formatter = ArrayFormatter::try_new(array.as_ref(), &options).map_err(SqlError::running)?;
            each(array, |row| formatter.value(row).to_string())
        }
    };
    Ok(cells)
}

fn real(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    format!("{number}")
}
