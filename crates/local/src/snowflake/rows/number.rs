//! Numbers of columns: exact, in 128 bits, rounded half away from zero to the column's scale.
//!
//! Source: Snowflake documentation, "Numeric data types"; the range is looked at behind the rounding.

use super::cell::{Cell, Misfit};

/// A whole number that ends at a number of bits (Snowflake documentation, "Data types for Apache Iceberg tables").
pub(super) fn bits(number: i128, least: i128, most: i128) -> Result<Cell<'static>, Misfit> {
    if (least..=most).contains(&number) {
        Ok(Cell::Number(number))
    } else {
        Err(Misfit::OutOfRange)
    }
}

/// The unscaled value of a number, rounded half away from zero to the column's scale.
pub(super) fn decimal(text: &str, precision: u8, scale: i8) -> Result<i128, Misfit> {
    let (negative, rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if scale == 0
        && let Some(whole) = whole(rest, precision)
    {
        return Ok(if negative { -whole } else { whole });
    }
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (
            &rest[..at],
            rest[at + 1..].parse::<i64>().map_err(|_| Misfit::Number)?,
        ),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: String = [whole, fraction].concat();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Misfit::Number);
    }
    // How many of the digits stand before the point of the unscaled value.
    let kept = whole.len() as i64 + exponent.clamp(-100_000, 100_000) + i64::from(scale);
    let kept_digits = usize::try_from(kept).unwrap_or(0).min(digits.len());
    let mut value: i128 = 0;
    for byte in digits.bytes().take(kept_digits) {
        let next = value
            .checked_mul(10)
            .and_then(|v| v.checked_add(i128::from(byte - b'0')));
        value = next.ok_or(Misfit::OutOfRange)?;
    }
    for _ in kept_digits as i64..kept.max(0) {
        if value == 0 {
            break;
        }
        value = value.checked_mul(10).ok_or(Misfit::OutOfRange)?;
    }
    let rounds_up = kept >= 0
        && digits.as_bytes().get(kept_digits).is_some_and(|d| *d >= b'5')
        && kept as usize == kept_digits;
    value += i128::from(rounds_up);
    let limit = 10_i128
        .checked_pow(u32::from(precision))
        .ok_or(Misfit::OutOfRange)?;
    if value >= limit {
        return Err(Misfit::OutOfRange);
    }
    Ok(if negative { -value } else { value })
}

/// The form that most numbers have: digits, so few that nothing can overflow. It says what the general way says.
fn whole(digits: &str, precision: u8) -> Option<i128> {
    const FEW: usize = 18;
    if digits.is_empty() || digits.len() > FEW.min(precision.into()) {
        return None;
    }
    let value = digits.bytes().try_fold(0_i64, |sum, byte| {
        byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'))
    });
    value.map(i128::from)
}
