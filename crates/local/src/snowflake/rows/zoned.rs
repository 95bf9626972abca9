//! TIMESTAMP_TZ: a moment, and the offset from UTC that it was written with.
//!
//! At rest it is two columns, the moment (nanoseconds since 1970, UTC) and the offset in minutes, whose name is that of the column and
//! [`OFFSET`]; files of earlier versions lack the second, and are read as UTC. In a query it is one value of [`BYTES`] bytes that
//! sorts by the moment: eight of the moment and two of the offset, both so that bytes compare as numbers do.
//!
//! What it does not: values of one moment with two offsets are different bytes; comparisons look at the moment alone
//! (`sql/typed.rs`), and within a structured type only the moment is kept.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType as Arrow, Field, Int16Type, TimestampNanosecondType};
use arrow::error::ArrowError;
use chrono::{DateTime, Utc};

/// Bytes of a value in a query.
const BYTES: i32 = 10;
/// What the name of the offsets' column ends with; no column of a user does.
const OFFSET: &str = "\u{1}offset";
/// Minutes of a day, the most that an offset can be away from UTC.
const DAY: i16 = 1440;

/// A moment and its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Zoned {
    /// Nanoseconds since 1970, UTC.
    pub(crate) nanos: i64,
    /// Minutes to the east of UTC.
    pub(crate) offset: i16,
}

impl Zoned {
    fn encode(self) -> [u8; BYTES as usize] {
        let mut bytes = [0; BYTES as usize];
        bytes[..8].copy_from_slice(&(self.nanos.cast_unsigned() ^ (1 << 63)).to_be_bytes());
        bytes[8..].copy_from_slice(&self.offset.saturating_add(DAY).to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        let part = |from: usize, to: usize| {
            bytes
                .get(from..to)
                .unwrap_or_default()
                .iter()
                .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        Self {
            nanos: (part(0, 8) ^ (1 << 63)).cast_signed(),
            offset: i16::try_from(part(8, 10)).unwrap_or(DAY) - DAY,
        }
    }

    /// What a clock with this offset shows, in nanoseconds since 1970.
    pub(crate) fn wall(self) -> i64 {
        self.nanos.saturating_add(i64::from(self.offset) * 60_000_000_000)
    }

    fn clock(self) -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(self.wall())
    }

    fn offset_text(self, between: &str) -> String {
        let sign = if self.offset < 0 { '-' } else { '+' };
        let minutes = self.offset.unsigned_abs();
        format!("{sign}{:02}{between}{:02}", minutes / 60, minutes % 60)
    }

    /// As TIMESTAMP_OUTPUT_FORMAT's default writes it, `YYYY-MM-DD HH24:MI:SS.FF3 TZHTZM` (Snowflake documentation, "Date and time
    /// input and output formats").
    pub(crate) fn text(self) -> String {
        format!(
            "{} {}",
            self.clock().format("%Y-%m-%d %H:%M:%S%.3f"),
            self.offset_text("")
        )
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

/// How a query knows the type.
pub(crate) const TYPE: Arrow = Arrow::FixedSizeBinary(BYTES);

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

/// An array of this type.
///
/// # Errors
/// None for values of this type; those of the builder.
pub(crate) fn array(values: impl Iterator<Item = Option<Zoned>>) -> Result<ArrayRef, ArrowError> {
    let mut built = FixedSizeBinaryBuilder::new(BYTES);
    for value in values {
        match value {
            Some(value) => built.append_value(value.encode())?,
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
    let (Some(moments), Some(offsets)) = (
        moments.as_primitive_opt::<TimestampNanosecondType>(),
        offsets.as_primitive_opt::<Int16Type>(),
    ) else {
        return Err(ArrowError::CastError("no moments with offsets".to_owned()));
    };
    array(moments.iter().zip(offsets).map(|(nanos, offset)| {
        Some(Zoned {
            nanos: nanos?,
            offset: offset.unwrap_or(0),
        })
    }))
}

/// Clocks' times with the offsets of other values.
///
/// # Errors
/// For arrays of other types.
pub(crate) fn at_offsets(walls: &ArrayRef, models: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let Some(walls) = walls.as_primitive_opt::<TimestampNanosecondType>() else {
        return Err(ArrowError::CastError("no clock's times".to_owned()));
    };
    array(walls.iter().zip(values(models)).map(|(wall, model)| {
        let (wall, Zoned { offset, .. }) = (wall?, model?);
        let nanos = wall.saturating_sub(i64::from(offset) * 60_000_000_000);
        Some(Zoned { nanos, offset })
    }))
}

/// The moments of values.
pub(crate) fn moments(array: &ArrayRef) -> ArrayRef {
    let nanos = values(array).map(|value| value.map(|value| value.nanos));
    Arc::new(nanos.collect::<TimestampNanosecondArray>().with_timezone("UTC"))
}

/// What the clocks of values show.
pub(crate) fn walls(array: &ArrayRef) -> ArrayRef {
    let nanos = values(array).map(|value| value.map(Zoned::wall));
    Arc::new(nanos.collect::<TimestampNanosecondArray>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_sort_as_moments_do_and_lose_nothing() {
        let of = |nanos, offset| Zoned { nanos, offset };
        let rising = [
            of(i64::MIN, 0),
            of(-1, 1439),
            of(0, -1439),
            of(0, 0),
            of(1, -330),
            of(i64::MAX, 0),
        ];
        let array = array(rising.iter().copied().map(Some)).unwrap();
        assert!(values(&array).eq(rising.into_iter().map(Some)));
        for pair in rising.windows(2) {
            assert!(pair[0].encode() < pair[1].encode(), "{pair:?}");
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
