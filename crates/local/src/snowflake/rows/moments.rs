//! Timestamps at rest and in queries: a column of moments, in nanoseconds or in microseconds.
//!
//! A column begins with nanoseconds of 64 bits, which reach from the year 1677 to 2262. The first value beyond makes it one of
//! microseconds, for good ([`ColumnDef::micros`]): all values that it is given from then on are cut to microseconds, and files of before
//! are read as such. So the years 1 to 9999 cost nothing where they do not occur.
//!
//! What this does not: keep the last three digits of a second beside a year that far away.
//!
//! [`ColumnDef::micros`]: crate::snowflake::model::ColumnDef::micros

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray, TimestampNanosecondBuilder};
use arrow::datatypes::{DataType as Arrow, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType};

use super::moment;

/// The arrow type of such a column; `zoned` for a moment, else what a clock shows.
pub(crate) fn kind(unit: TimeUnit, zoned: bool) -> Arrow {
    Arrow::Timestamp(unit, zoned.then(|| "UTC".into()))
}

/// Nanoseconds or microseconds; `None` for a type that is no such column's.
pub(crate) fn unit(of: &Arrow) -> Option<TimeUnit> {
    match of {
        Arrow::Timestamp(unit @ (TimeUnit::Nanosecond | TimeUnit::Microsecond), _) => Some(*unit),
        _ => None,
    }
}

/// Moments in microseconds, cut.
pub(super) fn micros(nanos: i128) -> i64 {
    i64::try_from(nanos.div_euclid(1000)).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
}

/// Moments in nanoseconds; one that is too far away becomes the nearest that 64 bits hold.
pub(crate) fn nanos(nanos: i128) -> i64 {
    i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
}

/// The values of a column, in nanoseconds since 1970.
pub(crate) fn values(array: &ArrayRef) -> impl Iterator<Item = Option<i128>> + '_ {
    let nanos = array.as_primitive_opt::<TimestampNanosecondType>();
    let micros = array.as_primitive_opt::<TimestampMicrosecondType>();
    (0..array.len()).map(move |row| {
        if array.is_null(row) {
            return None;
        }
        match (nanos, micros) {
            (Some(nanos), _) => Some(i128::from(nanos.value(row))),
            (_, Some(micros)) => Some(i128::from(micros.value(row)) * 1000),
            _ => None,
        }
    })
}

/// Takes the values of one column.
#[derive(Debug)]
pub(crate) struct Moments {
    zoned: bool,
    held: Held,
}

#[derive(Debug)]
enum Held {
    Nanos(TimestampNanosecondBuilder),
    Micros(Vec<Option<i64>>),
}

impl Moments {
    pub(crate) fn new(unit: TimeUnit, zoned: bool) -> Self {
        let held = match unit {
            TimeUnit::Microsecond => Held::Micros(Vec::new()),
            _ => Held::Nanos(TimestampNanosecondBuilder::new()),
        };
        Self { zoned, held }
    }

    /// Adds a value, in nanoseconds since 1970.
    pub(crate) fn push(&mut self, value: Option<i128>) {
        match (&mut self.held, value) {
            (Held::Nanos(near), Some(value)) => match i64::try_from(value) {
                Ok(value) => near.append_value(value),
                Err(_) => {
                    let before = near.finish();
                    let mut all: Vec<Option<i64>> = before
                        .iter()
                        .map(|value| value.map(|value| value.div_euclid(1000)))
                        .collect();
                    all.push(Some(micros(value)));
                    self.held = Held::Micros(all);
                }
            },
            (Held::Nanos(near), None) => near.append_null(),
            (Held::Micros(all), value) => all.push(value.map(micros)),
        }
    }

    /// What its array will be of.
    pub(super) fn unit(&self) -> TimeUnit {
        match self.held {
            Held::Nanos(_) => TimeUnit::Nanosecond,
            Held::Micros(_) => TimeUnit::Microsecond,
        }
    }

    pub(crate) fn finish(self) -> ArrayRef {
        let zone = self.zoned.then(|| "UTC".into());
        match self.held {
            Held::Nanos(mut near) => Arc::new(near.finish().with_timezone_opt::<Arc<str>>(zone)),
            Held::Micros(all) => {
                let array: TimestampMicrosecondArray = all.into_iter().collect();
                Arc::new(array.with_timezone_opt::<Arc<str>>(zone))
            }
        }
    }
}

/// A column with other digits of seconds: those behind the scale are cut, and one of another unit is read in this one.
pub(crate) fn scaled(array: &ArrayRef, unit: TimeUnit, zoned: bool, scale: u8) -> ArrayRef {
    let mut built = Moments::new(unit, zoned);
    for value in values(array) {
        built.push(value.map(|value| moment::to_scale(value, scale)));
    }
    built.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_that_is_far_away_makes_microseconds_of_all() {
        let far = 253_402_300_799_999_999_999_i128;
        for zoned in [false, true] {
            let mut built = Moments::new(TimeUnit::Nanosecond, zoned);
            for value in [Some(-1), None, Some(1999)] {
                built.push(value);
            }
            assert_eq!(built.unit(), TimeUnit::Nanosecond);
            for value in [Some(far), None, Some(1)] {
                built.push(value);
            }
            assert_eq!(built.unit(), TimeUnit::Microsecond);
            let array = built.finish();
            assert_eq!(*array.data_type(), kind(TimeUnit::Microsecond, zoned));
            let read: Vec<_> = values(&array).collect();
            let cut = [Some(-1000), None, Some(1000), Some(far - 999), None, Some(0)];
            assert_eq!(read, cut);
        }
    }

    #[test]
    fn near_values_keep_all_digits() {
        let mut built = Moments::new(TimeUnit::Nanosecond, false);
        for value in [Some(i128::from(i64::MIN)), None, Some(i128::from(i64::MAX))] {
            built.push(value);
        }
        let array = built.finish();
        let read: Vec<_> = values(&array).collect();
        assert_eq!(read, [Some(i64::MIN.into()), None, Some(i64::MAX.into())]);
        let seconds: Vec<_> = values(&scaled(&array, TimeUnit::Microsecond, false, 0)).collect();
        assert_eq!(seconds[2], Some(9_223_372_036 * 1_000_000_000));
    }
}
