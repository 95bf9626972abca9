//! What a column takes of a value where the service's documents and tests disagree ([`Behaviours`]); all else is [`coerce`]'s.
//!
//! It is about whole columns: the parts of structured types always take the default answer.

use chrono::{NaiveTime, Timelike};
use chrono_tz::America::Los_Angeles;

use super::cell::{Cell, Misfit, coerce, time};
use super::json::{Kind, Raw};
use super::moment;
use crate::snowflake::behaviours::{Behaviours, Other};
use crate::snowflake::model::DataType;

/// A JSON value for a column of this type.
pub(super) fn coerce_as<'a>(
    value: &Raw<'a>,
    to: &DataType,
    behaviours: Behaviours,
) -> Result<Cell<'a>, Misfit> {
    match (to, value.kind) {
        (DataType::Variant, Kind::Null) if behaviours.has(Other::NullOfNull) => Ok(Cell::Null),
        (DataType::Boolean, Kind::Number) if behaviours.has(Other::BooleanOfNumber) => truth(value.text),
        (DataType::Time { scale }, Kind::Text(_)) if behaviours.has(Other::TimeWithOffset) => {
            let text = value.string().ok_or(Misfit::Kind)?;
            match without_offset(text.trim()) {
                Some(nanos) => time(Some(nanos), *scale),
                None => coerce(value, to),
            }
        }
        (DataType::TimestampNtz { .. }, Kind::Number) if behaviours.has(Other::LosAngeles) => {
            match coerce(value, to)? {
                Cell::Moment(nanos) => Ok(Cell::Moment(in_los_angeles(nanos))),
                other => Ok(other),
            }
        }
        _ => coerce(value, to),
    }
}

/// A number as a truth: all but 0 is true (Snowflake documentation, "Logical data types", conversion to BOOLEAN).
pub(super) fn truth(text: &str) -> Result<Cell<'static>, Misfit> {
    let number: f64 = text.parse().map_err(|_| Misfit::Boolean)?;
    Ok(Cell::Boolean(number != 0.0))
}

/// Nanoseconds since midnight of `HH:MM:SS[.F]` with `Z`, `+HH:MM` or `+HHMM` behind it, which is left out.
fn without_offset(text: &str) -> Option<i64> {
    let digits = |text: &str| text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    let time = match text.strip_suffix('Z') {
        Some(time) => time,
        None => {
            let (time, offset) = text.split_at_checked(text.rfind(['+', '-'])?)?;
            digits(&offset[1..].replacen(':', "", 1)).then_some(time)?
        }
    };
    let time = NaiveTime::parse_from_str(time.trim_end(), "%H:%M:%S%.f").ok()?;
    let nanos = i64::from(time.num_seconds_from_midnight()) * 1_000_000_000 + i64::from(time.nanosecond());
    (time.nanosecond() < 1_000_000_000).then_some(nanos)
}

/// What a clock in Los Angeles shows at a moment, as nanoseconds since 1970.
fn in_los_angeles(nanos: i128) -> i128 {
    let here = moment::clock(nanos);
    let there = here.with_timezone(&Los_Angeles).naive_local();
    let behind = there.signed_duration_since(here.naive_utc()).num_seconds();
    nanos + i128::from(behind) * moment::SECOND
}
