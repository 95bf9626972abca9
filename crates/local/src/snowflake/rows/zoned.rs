//! TIMESTAMP_TZ: a moment, and the offset from UTC that it was written with.
//!
//! At rest it is two columns, the moment (since 1970, UTC) and the offset in minutes, whose name is that of the column and
//! [`OFFSET`]; files of earlier versions lack the second, and are read as UTC. In a query it is one value of bytes that
//! sorts by the moment: eight of the moment in nanoseconds, or nine in microseconds where the column reaches beyond the years
//! 1677 to 2262, and two of the offset, all so that bytes compare as numbers do.
//!
//! What it does not: values of one moment with two offsets are different bytes; comparisons look at the moment alone
//! (`sql/typed.rs`), and within a structured type only the moment is kept.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder};
use arrow::datatypes::{DataType as Arrow, Field, Int16Type, TimeUnit};
use arrow::error::ArrowError;
use chrono::{DateTime, Utc};

use super::moment;
use super::moments::{self, Moments};

/// What the name of the offsets' column ends with; no column of a user does.
const OFFSET: &str = "\u{1}offset";
/// Minutes of a day, the most that an offset can be away from UTC.
const DAY: i16 = 1440;

/// A moment and its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Zoned {
    /// Nanoseconds since 1970, UTC.
    pub(crate) nanos: i128,
    /// Minutes to the east of UTC.
    pub(crate) offset: i16,
}

impl Zoned {
    fn encode(self, unit: TimeUnit) -> Vec<u8> {
        let offset = self.offset.saturating_add(DAY).to_be_bytes();
        let moment = match unit {
            TimeUnit::Microsecond => {
                // The ninth byte tells the forms apart by their length.
                let micros = moments::micros(self.nanos).cast_unsigned() ^ (1 << 63);
                [&[0], micros.to_be_bytes().as_slice()].concat()
            }
            _ => {
                let nanos = moments::nanos(self.nanos).cast_unsigned() ^ (1 << 63);
                nanos.to_be_bytes().to_vec()
            }
        };
        [moment.as_slice(), &offset].concat()
    }

    fn decode(bytes: &[u8]) -> Self {
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let (moment, offset) = bytes.split_at(bytes.len().saturating_sub(2));
        let signed = i128::from((number(moment) ^ (1 << 63)).cast_signed());
        Self {
            nanos: if moment.len() > 8 { signed * 1000 } else { signed },
            offset: i16::try_from(number(offset)).unwrap_or(DAY) - DAY,
        }
    }

    /// What a clock with this offset shows, in nanoseconds since 1970.
    pub(crate) fn wall(self) -> i128 {
        self.nanos + i128::from(self.offset) * 60 * moment::SECOND
    }

    fn clock(self) -> DateTime<Utc> {
        moment::clock(self.wall())
    }

    fn offset_text(self, between: &str) -> String {
        let sign = if self.offset < 0 { '-' } else { '+' };
        let minutes = self.offset.unsigned_abs();
        format!("{sign}{:02}{between}{:02}", minutes / 60, minutes % 60)
    }

    /// As TIMESTAMP_OUTPUT_FORMAT's default writes it, `YYYY-MM-DD HH24:MI:SS.FF3 TZHTZM` (Snowflake documentation, "Date and time
    /// input and output formats").
    pub(crate) fn text(self) -> String {
        format!("{} {}", moment::clock_text(self.wall()), self.offset_text(""))
    }

    /// Without loss, as casts read it.
    pub(crate) fn canonical(self) -> String {
        format!(
            "{}{}",
            self.clock().format("%Y-%m-%dT%H:%M:%S%.9f"),
            self.offset_text(":")
        )
    }

    /// The offset as protocols write it: minutes, 1440 for UTC.
    pub(crate) fn shifted_offset(self) -> i16 {
        self.offset.saturating_add(DAY)
    }
}

/// How a query knows values whose moments are of this unit.
pub(crate) fn kind(unit: TimeUnit) -> Arrow {
    Arrow::FixedSizeBinary(bytes(unit))
}

fn bytes(unit: TimeUnit) -> i32 {
    match unit {
        TimeUnit::Microsecond => 11,
        _ => 10,
    }
}

/// The unit of the moments of a type of [`kind`]; `None` for any other.
pub(crate) fn unit(of: &Arrow) -> Option<TimeUnit> {
    let units = [TimeUnit::Nanosecond, TimeUnit::Microsecond];
    units.into_iter().find(|unit| kind(*unit) == *of)
}

/// The column of the offsets of a column.
pub(crate) fn offset_name(column: &str) -> String {
    format!("{column}{OFFSET}")
}

/// Whether a stored column is one of offsets.
pub(crate) fn is_offset(column: &str) -> bool {
    column.ends_with(OFFSET)
}

/// How offsets are stored.
pub(super) fn offset_field(column: &str) -> Field {
    Field::new(offset_name(column), Arrow::Int16, true)
}

/// The values of an array of this type.
pub(crate) fn values(array: &ArrayRef) -> impl Iterator<Item = Option<Zoned>> + '_ {
    let bytes: &FixedSizeBinaryArray = array.as_fixed_size_binary();
    (0..bytes.len()).map(|row| (!bytes.is_null(row)).then(|| Zoned::decode(bytes.value(row))))
}

/// An array of values whose moments are of this unit.
///
/// # Errors
/// None for values of this type; those of the builder.
pub(crate) fn array(
    unit: TimeUnit,
    values: impl Iterator<Item = Option<Zoned>>,
) -> Result<ArrayRef, ArrowError> {
    let mut built = FixedSizeBinaryBuilder::new(bytes(unit));
    for value in values {
        match value {
            Some(value) => built.append_value(value.encode(unit))?,
            None => built.append_null(),
        }
    }
    Ok(Arc::new(built.finish()))
}

/// Moments and offsets as values; a missing offset is UTC.
///
/// # Errors
/// For arrays of other types.
pub(crate) fn joined(moments: &ArrayRef, offsets: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let (Some(unit), Some(offsets)) = (
        moments::unit(moments.data_type()),
        offsets.as_primitive_opt::<Int16Type>(),
    ) else {
        return Err(ArrowError::CastError("no moments with offsets".to_owned()));
    };
    let joined = moments::values(moments).zip(offsets).map(|(nanos, offset)| {
        Some(Zoned {
            nanos: nanos?,
            offset: offset.unwrap_or(0),
        })
    });
    array(unit, joined)
}

/// Clocks' times with the offsets of other values.
///
/// # Errors
/// For arrays of other types.
pub(crate) fn at_offsets(walls: &ArrayRef, models: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let Some(unit) = moments::unit(walls.data_type()) else {
        return Err(ArrowError::CastError("no clock's times".to_owned()));
    };
    let moved = moments::values(walls).zip(values(models)).map(|(wall, model)| {
        let (wall, Zoned { offset, .. }) = (wall?, model?);
        let nanos = wall - i128::from(offset) * 60 * moment::SECOND;
        Some(Zoned { nanos, offset })
    });
    array(unit, moved)
}

/// The moments of values.
pub(crate) fn moments(array: &ArrayRef) -> ArrayRef {
    let unit = unit(array.data_type()).unwrap_or(TimeUnit::Nanosecond);
    let mut built = Moments::new(unit, true);
    values(array).for_each(|value| built.push(value.map(|value| value.nanos)));
    built.finish()
}

/// What the clocks of values show.
pub(crate) fn walls(array: &ArrayRef) -> ArrayRef {
    let unit = unit(array.data_type()).unwrap_or(TimeUnit::Nanosecond);
    let mut built = Moments::new(unit, false);
    values(array).for_each(|value| built.push(value.map(Zoned::wall)));
    built.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_sort_as_moments_do_and_lose_nothing() {
        let of = |nanos: i128, offset| Zoned { nanos, offset };
        let far = 253_402_300_799_999_999_000;
        let near = [
            of(i64::MIN.into(), 0),
            of(-1, 1439),
            of(0, -1439),
            of(0, 0),
            of(1, -330),
            of(i64::MAX.into(), 0),
        ];
        let wide = [
            of(-far, 60),
            of(-1000, 1439),
            of(0, -1439),
            of(0, 0),
            of(1000, -330),
            of(far, 0),
        ];
        for (unit, rising) in [(TimeUnit::Nanosecond, near), (TimeUnit::Microsecond, wide)] {
            let array = array(unit, rising.iter().copied().map(Some)).unwrap();
            assert_eq!(
                (array.data_type(), super::unit(array.data_type())),
                (&kind(unit), Some(unit))
            );
            assert!(values(&array).eq(rising.into_iter().map(Some)));
            for pair in rising.windows(2) {
                assert!(pair[0].encode(unit) < pair[1].encode(unit), "{pair:?}");
            }
        }
    }

    #[test]
    fn texts_show_the_clock_and_its_offset() {
        let noon = 1_767_355_445_678_000_001;
        for (offset, text, canonical) in [
            (
                0,
                "2026-01-02 12:04:05.678 +0000",
                "2026-01-02T12:04:05.678000001+00:00",
            ),
            (
                330,
                "2026-01-02 17:34:05.678 +0530",
                "2026-01-02T17:34:05.678000001+05:30",
            ),
            (
                -90,
                "2026-01-02 10:34:05.678 -0130",
                "2026-01-02T10:34:05.678000001-01:30",
            ),
        ] {
            let value = Zoned { nanos: noon, offset };
            assert_eq!(
                (value.text().as_str(), value.canonical().as_str()),
                (text, canonical)
            );
        }
    }
}
