//! One value for one column: what a column takes of JSON, and what it refuses.
//!
//! The rules are Snowflake's for Snowpipe Streaming (documentation, "Snowpipe Streaming: supported data types", and
//! "Casting semi-structured data"): each value behaves as a VARIANT cast to the column's type, but BOOLEAN takes no
//! numbers, and VARIANT keeps strings as strings and JSON null as null.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::decfloat::{self, Decfloat};
use super::json::{Kind, Raw, quote};
use super::moment;
use super::number::{bits, decimal};
use super::parts::coerce_parts;
use super::vector;
use super::zoned::Zoned;
use crate::snowflake::model::DataType;

/// The length of VARCHAR without one.
pub(crate) const MAX_VARCHAR: u32 = 16_777_216;

/// A value as its column stores it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    /// Unscaled.
    Number(i128),
    Float(f64),
    Boolean(bool),
    /// VARCHAR, and VARIANT, OBJECT and ARRAY as compact JSON.
    Text(Cow<'a, str>),
    Bytes(Vec<u8>),
    /// Days since 1970.
    Date(i32),
    /// Nanoseconds since midnight.
    Time(i64),
    /// Nanoseconds since 1970.
    Moment(i128),
    /// TIMESTAMP_TZ.
    Zoned(Zoned),
    /// As [`Decfloat::encode`] writes it.
    Decfloat([u8; decfloat::BYTES as usize]),
    /// VECTOR(FLOAT, n).
    Floats(Vec<f32>),
    /// VECTOR(INT, n).
    Ints(Vec<i32>),
    /// The parts of a structured OBJECT, in its order, or of a structured ARRAY.
    Parts(Vec<Cell<'a>>),
    /// Of a MAP.
    Entries(Vec<(Cell<'a>, Cell<'a>)>),
}

impl Cell<'_> {
    /// The moment of a timestamp of before 1677 or behind 2262.
    pub(super) fn far(&self) -> Option<i128> {
        match self {
            Self::Moment(nanos) | Self::Zoned(Zoned { nanos, .. }) => {
                Some(*nanos).filter(|nanos| !moment::is_near(*nanos))
            }
            _ => None,
        }
    }

    pub(super) fn into_owned(self) -> Cell<'static> {
        match self {
            Self::Null => Cell::Null,
            Self::Number(number) => Cell::Number(number),
            Self::Float(number) => Cell::Float(number),
            Self::Boolean(truth) => Cell::Boolean(truth),
            Self::Text(text) => Cell::Text(Cow::Owned(text.into_owned())),
            Self::Bytes(bytes) => Cell::Bytes(bytes),
            Self::Date(days) => Cell::Date(days),
            Self::Time(nanos) => Cell::Time(nanos),
            Self::Moment(nanos) => Cell::Moment(nanos),
            Self::Zoned(moment) => Cell::Zoned(moment),
            Self::Decfloat(bytes) => Cell::Decfloat(bytes),
            Self::Floats(elements) => Cell::Floats(elements),
            Self::Ints(elements) => Cell::Ints(elements),
            Self::Parts(parts) => Cell::Parts(parts.into_iter().map(Cell::into_owned).collect()),
            Self::Entries(entries) => {
                let owned = |(key, value): (Cell<'_>, Cell<'_>)| (key.into_owned(), value.into_owned());
                Cell::Entries(entries.into_iter().map(owned).collect())
            }
        }
    }
}

/// Why a column does not take a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    Number,
    OutOfRange,
    Boolean,
    Moment,
    TooLong,
    Base64,
    Hex,
    Object,
    Parts,
    Null,
    Dimension,
    Element,
    Kind,
}

impl Misfit {
    /// Without the value: a channel's status shows it.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Number => "the value is no number",
            Self::OutOfRange => "the number is out of range",
            Self::Boolean => "the value is no boolean",
            Self::Moment => "the value is no date or time that the column takes",
            Self::TooLong => "the value is too long",
            Self::Base64 => "the value is no base64",
            Self::Hex => "the value is no hexadecimal text",
            Self::Object => "the value is no object",
            Self::Parts => "the value's keys are not those of the structured type",
            Self::Null => "a part that is NOT NULL is null",
            Self::Dimension => "the array has not as many elements as the vector",
            Self::Element => "an element is no number of the vector's type",
            Self::Kind => "the value is of a kind that the column does not take",
        }
    }
}

/// A JSON value for a column of this type.
pub(super) fn coerce<'a>(value: &Raw<'a>, to: &DataType) -> Result<Cell<'a>, Misfit> {
    match (to, value.kind) {
        (DataType::Variant, _) => return Ok(Cell::Text(value.compact())),
        (_, Kind::Null) => return Ok(Cell::Null),
        (structured, _) if structured.is_structured() => return coerce_parts(value, structured),
        (DataType::Object, Kind::Object) | (DataType::Array, Kind::Array) => {
            return Ok(Cell::Text(value.compact()));
        }
        (DataType::Vector { element, dimension }, Kind::Array) => {
            return vector::read(value.text, *element, *dimension);
        }
        (DataType::Array, _) => return Ok(Cell::Text(Cow::Owned(format!("[{}]", value.compact())))),
        (DataType::Varchar { length }, Kind::Text(_)) => {
            return fitting(value.string().ok_or(Misfit::Kind)?, *length);
        }
        (DataType::Varchar { length }, Kind::Number) => {
            return fitting(Cow::Borrowed(without_zeros(value.text)), *length);
        }
        (DataType::Varchar { length }, _) => return fitting(value.compact(), *length),
        (DataType::Boolean, Kind::Boolean(truth)) => return Ok(Cell::Boolean(truth)),
        (DataType::Boolean, Kind::Number) => return Err(Misfit::Boolean),
        (DataType::Number { .. } | DataType::Int | DataType::Long, Kind::Boolean(truth)) => {
            return coerce_text(if truth { "1" } else { "0" }, to).map(Cell::into_owned);
        }
        (DataType::Date | DataType::Time { .. }, Kind::Number) => return Err(Misfit::Moment),
        (DataType::TimestampNtz { scale } | DataType::TimestampLtz { scale }, Kind::Number) => {
            return at(moment::seconds(value.text), *scale);
        }
        (DataType::TimestampTz { scale }, Kind::Number) => {
            let at_utc = moment::seconds(value.text).map(|nanos| Zoned { nanos, offset: 0 });
            return zoned(at_utc, *scale);
        }
        _ => {}
    }
    match value.kind {
        Kind::Number => coerce_text(value.text, to).map(Cell::into_owned),
        Kind::Text(_) => {
            let text = value.string().ok_or(Misfit::Kind)?;
            coerce_text(&text, to).map(Cell::into_owned)
        }
        _ => Err(Misfit::Kind),
    }
}

// Digits of a second that a scale has no place for are cut, as the service does (Snowflake documentation, "Date & time data
// types").

/// A moment at a column's scale.
fn at(nanos: Option<i128>, scale: u8) -> Result<Cell<'static>, Misfit> {
    let nanos = nanos.ok_or(Misfit::Moment)?;
    Ok(Cell::Moment(moment::to_scale(nanos, scale)))
}

fn zoned(value: Option<Zoned>, scale: u8) -> Result<Cell<'static>, Misfit> {
    let value = value.ok_or(Misfit::Moment)?;
    Ok(Cell::Zoned(Zoned {
        nanos: moment::to_scale(value.nanos, scale),
        ..value
    }))
}

/// A time of a day, in nanoseconds since its midnight, at a column's scale.
pub(super) fn time(nanos: Option<i64>, scale: u8) -> Result<Cell<'static>, Misfit> {
    let cut = |nanos: i64| i64::try_from(moment::to_scale(nanos.into(), scale)).ok();
    nanos.and_then(cut).map(Cell::Time).ok_or(Misfit::Moment)
}

/// A number's text without the zeros that end its fraction, as Snowflake writes it.
fn without_zeros(number: &str) -> &str {
    if !number.contains('.') || number.contains(['e', 'E']) {
        return number;
    }
    number.trim_end_matches('0').trim_end_matches('.')
}

fn fitting(text: Cow<'_, str>, length: u32) -> Result<Cell<'_>, Misfit> {
    // Characters are at most bytes.
    let fits = text.len() <= length as usize || text.chars().count() <= length as usize;
    if fits {
        Ok(Cell::Text(text))
    } else {
        Err(Misfit::TooLong)
    }
}

/// A text for a column of this type.
pub(super) fn coerce_text<'a>(text: &'a str, to: &DataType) -> Result<Cell<'a>, Misfit> {
    let trimmed = text.trim();
    match to {
        DataType::Number { precision, scale } => decimal(trimmed, *precision, *scale).map(Cell::Number),
        DataType::Int => bits(decimal(trimmed, 10, 0)?, i32::MIN.into(), i32::MAX.into()),
        DataType::Long => bits(decimal(trimmed, 19, 0)?, i64::MIN.into(), i64::MAX.into()),
        DataType::Float => float(trimmed).map(Cell::Float).ok_or(Misfit::Number),
        DataType::Boolean => boolean(trimmed).map(Cell::Boolean).ok_or(Misfit::Boolean),
        DataType::Varchar { length } => fitting(Cow::Borrowed(text), *length),
        DataType::Binary { length } => {
            let bytes = STANDARD.decode(trimmed).map_err(|_| Misfit::Base64)?;
            if bytes.len() <= *length as usize {
                Ok(Cell::Bytes(bytes))
            } else {
                Err(Misfit::TooLong)
            }
        }
        DataType::Date => moment::date(trimmed).map(Cell::Date).ok_or(Misfit::Moment),
        DataType::Time { scale } => time(moment::time(trimmed), *scale),
        DataType::TimestampNtz { scale } => at(moment::timestamp(trimmed, true), *scale),
        DataType::TimestampLtz { scale } => at(moment::timestamp(trimmed, false), *scale),
        DataType::TimestampTz { scale } => zoned(moment::zoned(trimmed), *scale),
        DataType::Decfloat => match Decfloat::read(trimmed) {
            Ok(number) => Ok(Cell::Decfloat(number.encode())),
            Err(decfloat::Wrong::Number) => Err(Misfit::Number),
            Err(decfloat::Wrong::Range) => Err(Misfit::OutOfRange),
        },
        DataType::Variant => {
            let mut quoted = String::with_capacity(text.len() + 2);
            quote(text, &mut quoted);
            Ok(Cell::Text(Cow::Owned(quoted)))
        }
        DataType::Object => match Raw::parse(text) {
            Ok(raw) if raw.kind == Kind::Object => Ok(Cell::Text(raw.compact())),
            _ => Err(Misfit::Object),
        },
        DataType::Array => {
            let mut quoted = String::from("[");
            quote(text, &mut quoted);
            quoted.push(']');
            Ok(Cell::Text(Cow::Owned(quoted)))
        }
        DataType::Vector { .. } | DataType::Struct { .. } | DataType::List { .. } | DataType::Map { .. } => {
            Err(Misfit::Kind)
        }
    }
}

fn float(text: &str) -> Option<f64> {
    let is_number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
    if text.bytes().all(is_number) {
        return text.parse().ok();
    }
    match text.to_ascii_lowercase().as_str() {
        "nan" => Some(f64::NAN),
        "inf" | "infinity" | "+inf" | "+infinity" => Some(f64::INFINITY),
        "-inf" | "-infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str, precision: u8, scale: i8) -> Result<i128, Misfit> {
        decimal(text, precision, scale)
    }

    #[test]
    fn numbers_are_rounded_half_away_from_zero_and_bounded() {
        let cases = [
            ("42", 38, 0, Ok(42)),
            ("-1.5", 38, 0, Ok(-2)),
            ("1.49", 38, 0, Ok(1)),
            ("0.05", 10, 1, Ok(1)),
            ("0.04", 10, 1, Ok(0)),
            ("1.5E3", 38, 0, Ok(1500)),
            ("15e-1", 38, 0, Ok(2)),
            ("1e-9", 38, 0, Ok(0)),
            ("5e-1", 38, 0, Ok(1)),
            ("9.96", 2, 1, Err(Misfit::OutOfRange)),
            ("9.94", 2, 1, Ok(99)),
            ("12345678901", 10, 2, Err(Misfit::OutOfRange)),
            ("99999999999999999.99", 38, 2, Ok(9_999_999_999_999_999_999)),
            (
                "99999999999999999999999999999999999999",
                38,
                0,
                Ok(99_999_999_999_999_999_999_999_999_999_999_999_999),
            ),
            (
                "100000000000000000000000000000000000000",
                38,
                0,
                Err(Misfit::OutOfRange),
            ),
            ("0e999999999", 38, 0, Ok(0)),
            ("1e999999999", 38, 0, Err(Misfit::OutOfRange)),
            ("", 38, 0, Err(Misfit::Number)),
            ("-", 38, 0, Err(Misfit::Number)),
            ("1x", 38, 0, Err(Misfit::Number)),
            ("é", 38, 0, Err(Misfit::Number)),
        ];
        for (text, precision, scale, expected) in cases {
            assert_eq!(number(text, precision, scale), expected, "{text}");
        }
    }

    #[test]
    fn few_digits_are_read_as_the_general_way_reads_them() {
        let texts = [
            "0",
            "7",
            "-7",
            "+7",
            "00042",
            "-0",
            "999",
            "1000",
            "123456789012345678",
            "1234567890123456789",
            "000000000000000000001",
            "12a",
            "1 2",
            "--1",
            "",
        ];
        let mut read = 0;
        for text in texts {
            for precision in [1, 3, 18, 19, 38] {
                let general = number(&format!("{text}e0"), precision, 0);
                assert_eq!(number(text, precision, 0), general, "{text} {precision}");
                read += usize::from(general.is_ok());
            }
        }
        assert!(read > 30, "{read}");
    }

    #[test]
    fn each_type_takes_and_refuses_what_the_service_does() {
        let varchar = |length| DataType::Varchar { length };
        let text = |t: &str| Ok(Cell::Text(Cow::Owned(t.to_owned())));
        let cases: [(&str, DataType, Result<Cell<'static>, ()>); 26] = [
            ("true", DataType::Boolean, Ok(Cell::Boolean(true))),
            (r#""Yes""#, DataType::Boolean, Ok(Cell::Boolean(true))),
            ("1", DataType::Boolean, Err(())),
            (
                "true",
                DataType::Number {
                    precision: 38,
                    scale: 0,
                },
                Ok(Cell::Number(1)),
            ),
            (
                r#"" 42 ""#,
                DataType::Number {
                    precision: 38,
                    scale: 0,
                },
                Ok(Cell::Number(42)),
            ),
            (
                "[1]",
                DataType::Number {
                    precision: 38,
                    scale: 0,
                },
                Err(()),
            ),
            (
                r#""-Infinity""#,
                DataType::Float,
                Ok(Cell::Float(f64::NEG_INFINITY)),
            ),
            ("1.5", DataType::Float, Ok(Cell::Float(1.5))),
            (r#""abc""#, DataType::Float, Err(())),
            (r#"{"a": 1}"#, varchar(100), text(r#"{"a":1}"#)),
            ("5.000", varchar(3), text("5")),
            ("100", varchar(3), text("100")),
            (r#""üüü""#, varchar(3), text("üüü")),
            (r#""üüüü""#, varchar(3), Err(())),
            ("null", varchar(3), Ok(Cell::Null)),
            ("null", DataType::Variant, text("null")),
            (r#""42""#, DataType::Variant, text(r#""42""#)),
            (r#"{"a": [1, 2]}"#, DataType::Variant, text(r#"{"a":[1,2]}"#)),
            (r#""{\"a\":1}""#, DataType::Object, text(r#"{"a":1}"#)),
            ("[1]", DataType::Object, Err(())),
            (r#""x""#, DataType::Array, text(r#"["x"]"#)),
            ("[1, 2]", DataType::Array, text("[1,2]")),
            (
                r#""aGk=""#,
                DataType::Binary { length: 8 },
                Ok(Cell::Bytes(b"hi".to_vec())),
            ),
            (r#""?""#, DataType::Binary { length: 8 }, Err(())),
            (r#""1970-01-03""#, DataType::Date, Ok(Cell::Date(2))),
            ("3", DataType::Date, Err(())),
        ];
        for (json, to, expected) in cases {
            let raw = Raw::parse(json).unwrap();
            assert_eq!(coerce(&raw, &to).map_err(|_| ()), expected, "{json} into {to:?}");
        }
    }
}
