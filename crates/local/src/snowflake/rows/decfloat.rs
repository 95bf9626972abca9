//! DECFLOAT: 38 digits and a decimal exponent.
//!
//! A value is a sign, an exponent and a coefficient of 38 digits of which the first is not zero, so that each number is written in one way. Stored
//! and queried it is [`BYTES`] bytes that sort as the numbers do: the sign, the exponent, the coefficient; the latter two
//! inverted for negative numbers.
//!
//! Source: Snowflake documentation, "Numeric data types", DECFLOAT: 38 significant digits, rounded half up; exponents from
//! -16383 to 16384; no NaN and no infinity.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder};
use arrow::datatypes::DataType as Arrow;
use arrow::error::ArrowError;

/// Bytes of a value.
pub(super) const BYTES: i32 = 19;
/// Significant digits.
const DIGITS: usize = 38;
const EXPONENTS: std::ops::RangeInclusive<i64> = -16_383..=16_384;

/// How a query knows the type.
pub(crate) const TYPE: Arrow = Arrow::FixedSizeBinary(BYTES);

/// A number; `exponent` is that of its first digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decfloat {
    sign: Ordering,
    exponent: i16,
    coefficient: u128,
}

/// Why a text is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    Number,
    Range,
}

impl Decfloat {
    const ZERO: Self = Self {
        sign: Ordering::Equal,
        exponent: 0,
        coefficient: 0,
    };

    /// Reads a number, rounded half away from zero to 38 digits.
    pub(super) fn read(text: &str) -> Result<Self, Wrong> {
        let (sign, rest) = match text.as_bytes().first() {
            Some(b'-') => (Ordering::Less, &text[1..]),
            Some(b'+') => (Ordering::Greater, &text[1..]),
            _ => (Ordering::Greater, text),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], rest[at + 1..].parse().map_err(|_| Wrong::Number)?),
            None => (rest, 0_i64),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(Wrong::Number);
        }
        let Some(first) = digits.iter().position(|digit| *digit != b'0') else {
            return Ok(Self::ZERO);
        };
        let significant = &digits[first..];
        let mut coefficient = (0..DIGITS)
            .map(|place| significant.get(place).unwrap_or(&b'0') - b'0')
            .fold(0_u128, |sum, digit| sum * 10 + u128::from(digit));
        // No text has more digits than an i64 counts.
        let before_point = whole.len() as i64 - first as i64;
        let mut exponent = exponent.saturating_add(before_point - 1);
        if significant.get(DIGITS).is_some_and(|digit| *digit >= b'5') {
            coefficient += 1;
        }
        if coefficient == 10_u128.pow(38) {
            (coefficient, exponent) = (10_u128.pow(37), exponent.saturating_add(1));
        }
        let exponent = Some(exponent).filter(|exponent| EXPONENTS.contains(exponent));
        let exponent = exponent.and_then(|exponent| i16::try_from(exponent).ok());
        Ok(Self {
            sign,
            exponent: exponent.ok_or(Wrong::Range)?,
            coefficient,
        })
    }

    pub(super) fn encode(self) -> [u8; BYTES as usize] {
        let mut bytes = [0; BYTES as usize];
        if self.sign != Ordering::Equal {
            let shifted = u16::try_from(i32::from(self.exponent) + 16_383).unwrap_or(0);
            bytes[1..3].copy_from_slice(&shifted.to_be_bytes());
            bytes[3..].copy_from_slice(&self.coefficient.to_be_bytes());
        }
        if self.sign == Ordering::Less {
            bytes[1..].iter_mut().for_each(|byte| *byte = !*byte);
        }
        bytes[0] = match self.sign {
            Ordering::Less => 0,
            Ordering::Equal => 1,
            Ordering::Greater => 2,
        };
        bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        let Some((class, rest)) = bytes.split_first() else {
            return Self::ZERO;
        };
        let sign = class.cmp(&1);
        let part = |from: usize, to: usize| {
            rest.get(from..to)
                .unwrap_or_default()
                .iter()
                .map(|byte| if sign == Ordering::Less { !*byte } else { *byte })
                .fold(0_u128, |sum, byte| sum << 8 | u128::from(byte))
        };
        if sign == Ordering::Equal {
            return Self::ZERO;
        }
        Self {
            sign,
            exponent: i16::try_from(part(0, 2).cast_signed() - 16_383).unwrap_or(0),
            coefficient: part(2, 18),
        }
    }
}

/// In full where 38 digits are enough for it, else with an exponent.
impl std::fmt::Display for Decfloat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.sign == Ordering::Equal {
            return f.write_str("0");
        }
        let digits = self.coefficient.to_string();
        let digits = digits.trim_end_matches('0');
        let sign = if self.sign == Ordering::Less { "-" } else { "" };
        let (exponent, count) = (i32::from(self.exponent), digits.len());
        let magnitude = exponent.unsigned_abs() as usize;
        match exponent {
            0..38 if count > magnitude + 1 => {
                let (whole, fraction) = digits.split_at(magnitude + 1);
                write!(f, "{sign}{whole}.{fraction}")
            }
            0..38 => write!(f, "{sign}{digits:0<width$}", width = magnitude + 1),
            -37..0 if magnitude + count <= DIGITS => {
                write!(f, "{sign}0.{digits:0>width$}", width = magnitude + count - 1)
            }
            _ => {
                let (first, others) = digits.split_at(1);
                let point = if others.is_empty() { "" } else { "." };
                write!(f, "{sign}{first}{point}{others}e{exponent}")
            }
        }
    }
}

/// The values of an array of this type.
pub(crate) fn values(array: &ArrayRef) -> impl Iterator<Item = Option<Decfloat>> + '_ {
    let bytes: &FixedSizeBinaryArray = array.as_fixed_size_binary();
    (0..bytes.len()).map(|row| (!bytes.is_null(row)).then(|| Decfloat::decode(bytes.value(row))))
}

/// Values as they were encoded.
pub(super) fn array(values: Vec<Option<[u8; BYTES as usize]>>) -> Result<ArrayRef, ArrowError> {
    let mut built = FixedSizeBinaryBuilder::with_capacity(values.len(), BYTES);
    for value in values {
        match value {
            Some(value) => built.append_value(value)?,
            None => built.append_null(),
        }
    }
    Ok(Arc::new(built.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_half_up_to_38_digits_and_shown_as_the_documentation_does() {
        let nines = "99999999999999999999999999999999999999";
        for (text, expected) in [
            ("123e7000", Ok("1.23e7002")),
            (
                "12345678901234567890123456789",
                Ok("12345678901234567890123456789"),
            ),
            ("-4.2e-5432", Ok("-4.2e-5432")),
            (
                "1.00000000000000000000000000000000000014",
                Ok("1.0000000000000000000000000000000000001"),
            ),
            (
                "1.00000000000000000000000000000000000015",
                Ok("1.0000000000000000000000000000000000002"),
            ),
            ("1e1000", Ok("1e1000")),
            ("-2.47e999", Ok("-2.47e999")),
            ("22e-75", Ok("2.2e-74")),
            ("0", Ok("0")),
            ("-0.000", Ok("0")),
            ("0e99999", Ok("0")),
            ("+007.50", Ok("7.5")),
            ("100", Ok("100")),
            ("1.5E3", Ok("1500")),
            (".25", Ok("0.25")),
            ("0.001", Ok("0.001")),
            (nines, Ok(nines)),
            ("1e37", Ok("10000000000000000000000000000000000000")),
            ("1e38", Ok("1e38")),
            ("1e-37", Ok("0.0000000000000000000000000000000000001")),
            ("1e-38", Ok("1e-38")),
            ("99999999999999999999999999999999999999.5", Ok("1e38")),
            ("9e16384", Ok("9e16384")),
            ("1e16385", Err(Wrong::Range)),
            ("999999999999999999999999999999999999995e16346", Err(Wrong::Range)),
            ("1e-16383", Ok("1e-16383")),
            ("1e-16384", Err(Wrong::Range)),
            ("1e9223372036854775807", Err(Wrong::Range)),
            ("", Err(Wrong::Number)),
            (".", Err(Wrong::Number)),
            ("1e", Err(Wrong::Number)),
            ("NaN", Err(Wrong::Number)),
            ("inf", Err(Wrong::Number)),
            ("1_0", Err(Wrong::Number)),
        ] {
            let read = Decfloat::read(text);
            assert_eq!(
                read.map(|number| number.to_string())
                    .as_deref()
                    .map_err(|why| *why),
                expected,
                "{text}"
            );
            if let Ok(number) = read {
                assert_eq!(Decfloat::decode(&number.encode()), number, "{text}");
            }
        }
    }

    #[test]
    fn bytes_sort_as_the_numbers_do() {
        let rising = [
            "-1e16384",
            "-10",
            "-9.5",
            "-9",
            "-1",
            "-0.1",
            "-1e-16383",
            "0",
            "1e-16383",
            "0.1",
            "0.11",
            "1",
            "9",
            "10",
            "11",
            "1e16384",
        ];
        let bytes = rising.map(|text| Decfloat::read(text).unwrap().encode());
        for (pair, text) in bytes.windows(2).zip(rising.windows(2)) {
            assert!(pair[0] < pair[1], "{text:?}");
        }
    }
}
