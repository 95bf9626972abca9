//! Values that an expression gave, for columns: SQL's casts, where those of streaming are narrower.

use arrow::array::ArrayRef;

use super::cell::{Cell, Misfit, coerce, coerce_text};
use super::column::ColumnBuilder;
use super::disputed::truth;
use super::json::{Kind, Raw};
use super::moment;
use crate::snowflake::model::{ColumnDef, DataType};

/// A value of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// SQL NULL.
    Null,
    /// VARIANT.
    Json(&'a str),
    /// SQL's number or boolean, as JSON writes it.
    Plain(&'a str),
    /// Text, or what is written as text.
    Text(&'a str),
    /// A timestamp, without loss.
    Moment(&'a str),
}

/// A value for a column of this type. BINARY is hexadecimal, and a number is a boolean.
pub(super) fn fit<'a>(value: Value<'a>, to: &DataType) -> Result<Cell<'a>, Misfit> {
    match value {
        Value::Null => Ok(Cell::Null),
        Value::Text(text) => match to {
            DataType::Binary { length } => bytes(text, *length),
            _ => coerce_text(text, to),
        },
        Value::Moment(text) => match to {
            DataType::Varchar { .. } => coerce_text(&moment::shown(text), to).map(Cell::into_owned),
            _ => coerce_text(text, to),
        },
        Value::Plain(text) if matches!(to, DataType::Varchar { .. }) => coerce_text(text, to),
        Value::Json(json) | Value::Plain(json) => {
            let Ok(raw) = Raw::parse(json) else {
                // A number that JSON does not know, such as NaN.
                return coerce_text(json, to);
            };
            match (to, raw.kind) {
                (DataType::Boolean, Kind::Number) => truth(raw.text),
                (DataType::Binary { length }, Kind::Text(_)) => {
                    bytes(&raw.string().ok_or(Misfit::Kind)?, *length)
                }
                _ => coerce(&raw, to).map(Cell::into_owned),
            }
        }
    }
}

fn bytes(text: &str, length: u32) -> Result<Cell<'static>, Misfit> {
    let bytes = unhex(text).ok_or(Misfit::Hex)?;
    if bytes.len() <= length as usize {
        Ok(Cell::Bytes(bytes))
    } else {
        Err(Misfit::TooLong)
    }
}

/// The bytes that pairs of hexadecimal digits stand for.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| {
        let digit = char::from(byte).to_digit(16);
        digit.and_then(|digit| u8::try_from(digit).ok())
    };
    let pairs = digits.chunks(2);
    pairs
        .map(|pair| Some(digit(pair[0])? * 16 + digit(pair[1])?))
        .collect()
}

/// Whether a text is a timestamp, and no number.
pub fn is_moment(text: &str) -> bool {
    text.contains(['-', '/', ',']) && moment_of(text).is_some()
}

/// What a text is as a TIMESTAMP_NTZ, in nanoseconds since 1970.
pub fn moment_of(text: &str) -> Option<i128> {
    moment::timestamp(text.trim(), true)
}

/// Whether a text is a timestamp of before 1677 or behind 2262.
pub fn is_far(text: &str) -> bool {
    moment_of(text).is_some_and(|nanos| !moment::is_near(nanos))
}

/// The same of a number of seconds.
pub fn is_far_number(text: &str) -> bool {
    moment::seconds(text).is_some_and(|nanos| !moment::is_near(nanos))
}

/// Whether a moment is of the years 1 to 9999.
pub fn is_in_range(nanos: i128) -> bool {
    moment::in_range(nanos).is_some()
}

/// Casts values as an expression does; a leniently cast one that does not fit is NULL.
///
/// # Errors
/// What Snowflake says of the first one that does not fit.
pub fn cast<'a>(
    values: impl Iterator<Item = Value<'a>>,
    to: &ColumnDef,
    lenient: bool,
) -> Result<ArrayRef, String> {
    let mut built = ColumnBuilder::new(to);
    for value in values {
        match fit(value, &to.data_type) {
            Ok(cell) if cell.far().is_some() && !to.micros => {
                let beyond = format!(
                    "Timestamp '{}' is beyond the years 1677 to 2262: cast it to a type of six digits of a second, such as \
                     TIMESTAMP_NTZ(6)",
                    shown(value)
                );
                return Err(beyond);
            }
            // JSON null is NULL in every type but VARIANT.
            Ok(cell) => built.push(cell),
            Err(_) if lenient => built.push(Cell::Null),
            Err(why) => return Err(super::Refusal::misfit(to, shown(value), why).message),
        }
    }
    let built = built.finish();
    if !to.data_type.is_structured() {
        return Ok(built);
    }
    let json = super::parts_as_json(&built).map_err(|error| error.to_string())?;
    Ok(std::sync::Arc::new(json))
}

pub(super) fn shown(value: Value<'_>) -> &str {
    match value {
        Value::Null => "NULL",
        Value::Json(text) | Value::Plain(text) | Value::Text(text) | Value::Moment(text) => text,
    }
}
