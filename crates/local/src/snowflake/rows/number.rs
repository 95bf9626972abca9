//! Numbers out of text: exact decimals and floats.

/// Most digits of a NUMBER.
pub(crate) const MAX_PRECISION: u8 = 38;

/// Why a text is no number of the wanted type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberError {
    /// It is no number.
    NotANumber,
    /// It has too many digits before the point.
    OutOfRange,
}

/// The parts of a number: its digits without the point, and the power of ten they stand for.
struct Digits<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i32,
}

impl<'a> Digits<'a> {
    /// Reads what SQL takes as a number: like JSON, also with a plus sign, leading zeros, and without digits on one side
    /// of the point.
    fn parse(text: &'a str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let (mantissa, exponent) = match rest.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (&rest[..at], exponent(&rest[at + 1..])?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.iter().position(|byte| *byte == b'.') {
            Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
            None => (mantissa, &[][..]),
        };
        let digits = whole.iter().chain(fraction).all(u8::is_ascii_digit);
        (digits && whole.len() + fraction.len() > 0).then_some(Self { negative, whole, fraction, exponent })
    }

    fn all(&self) -> impl Iterator<Item = u8> {
        self.whole.iter().chain(self.fraction).copied()
    }
}

/// An exponent; far ones are cut, which changes no result.
fn exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0_i32, |value, digit| (value * 10 + i32::from(digit - b'0')).min(100_000));
    Some(if negative { -value } else { value })
}

/// A number as an integer count of 10^-scale, rounded half away from zero, then checked against the precision
/// (Snowflake documentation, "Numeric data types"; so 9.96 does not fit NUMBER(2,1)).
pub(crate) fn decimal(text: &str, precision: u8, scale: i8) -> Result<i128, NumberError> {
    let digits = Digits::parse(text).ok_or(NumberError::NotANumber)?;
    let leading_zeros = digits.all().take_while(|digit| *digit == b'0').count();
    let length = digits.whole.len() + digits.fraction.len();
    if leading_zeros == length {
        return Ok(0);
    }
    let significant = i64::try_from(length - leading_zeros).map_err(|_| NumberError::OutOfRange)?;
    let fraction = i64::try_from(digits.fraction.len()).map_err(|_| NumberError::OutOfRange)?;
    let shift = i64::from(digits.exponent) - fraction + i64::from(scale);
    let kept = significant + shift;
    if kept > i64::from(MAX_PRECISION) {
        return Err(NumberError::OutOfRange);
    }
    if kept < 0 {
        return Ok(0);
    }
    let mut value: i128 = 0;
    let mut taken = 0;
    for digit in digits.all().skip(leading_zeros) {
        let digit = i128::from(digit - b'0');
        if taken == kept {
            value += i128::from(digit >= 5);
            break;
        }
        value = value * 10 + digit;
        taken += 1;
    }
    for _ in taken..kept {
        value *= 10;
    }
    if value >= 10_i128.pow(u32::from(precision.min(MAX_PRECISION))) {
        return Err(NumberError::OutOfRange);
    }
    Ok(if digits.negative { -value } else { value })
}

/// A 64-bit float; `NaN`, `inf` and `Infinity` in any case only where `words` allows them.
pub(crate) fn float(text: &str, words: bool) -> Result<f64, NumberError> {
    let named = words && {
        let bare = text.trim_start_matches(['-', '+']);
        ["nan", "inf", "infinity"].iter().any(|word| bare.eq_ignore_ascii_case(word)) && text.len() <= bare.len() + 1
    };
    if !named && Digits::parse(text).is_none() {
        return Err(NumberError::NotANumber);
    }
    let value: f64 = text.parse().map_err(|_| NumberError::NotANumber)?;
    if value.is_infinite() && !named { Err(NumberError::OutOfRange) } else { Ok(value) }
}

/// How many digits stand before the point, at least, and whether it has a fraction or an exponent.
pub(crate) fn shape(text: &str) -> (usize, bool) {
    let text = text.trim_start_matches('-');
    let whole = text.bytes().take_while(u8::is_ascii_digit).count();
    (whole, whole < text.len())
}

/// The text of a JSON number as a VARCHAR: no trailing zeros after the point, no exponent unless it is far.
pub(crate) fn plain(text: &str) -> String {
    if text.contains(['e', 'E']) {
        return text.parse().map_or_else(|_| text.to_owned(), float_text);
    }
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    }
}

/// A float as Snowflake prints it in results.
pub(crate) fn float_text(value: f64) -> String {
    let magnitude = value.abs();
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "inf".to_owned() } else { "-inf".to_owned() }
    } else if magnitude != 0.0 && !(1e-5..1e15).contains(&magnitude) {
        format!("{value:e}")
    } else {
        value.to_string()
    }
}

/// A decimal as text, with all digits of its scale.
pub(crate) fn decimal_text(value: i128, scale: i8) -> String {
    let scale = usize::from(scale.max(0).unsigned_abs());
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::NumberError::{NotANumber, OutOfRange};
    use super::*;

    #[test]
    fn decimals_round_half_away_from_zero_and_then_must_fit() {
        for (text, precision, scale, expected) in [
            ("0", 38, 0, Ok(0)),
            ("-7", 38, 0, Ok(-7)),
            ("0.5", 38, 0, Ok(1)),
            ("-0.5", 38, 0, Ok(-1)),
            ("0.49999", 38, 0, Ok(0)),
            ("-2.5", 38, 0, Ok(-3)),
            ("1.005", 10, 2, Ok(101)),
            ("9.96", 2, 1, Err(OutOfRange)),
            ("9.94", 2, 1, Ok(99)),
            ("1e3", 38, 0, Ok(1000)),
            ("1.25E1", 4, 1, Ok(125)),
            ("1e-400", 38, 0, Ok(0)),
            ("1e99999999999", 38, 0, Err(OutOfRange)),
            ("0e99999999999", 38, 0, Ok(0)),
            ("12345678901", 10, 2, Err(OutOfRange)),
            ("99999999999999999.99", 38, 2, Ok(9_999_999_999_999_999_999)),
            ("99999999999999999999999999999999999999", 38, 0, Ok(99_999_999_999_999_999_999_999_999_999_999_999_999)),
            ("100000000000000000000000000000000000000", 38, 0, Err(OutOfRange)),
            ("99999999999999999999999999999999999999.5", 38, 0, Err(OutOfRange)),
            ("000000000000000000000000000000000000000000001", 38, 0, Ok(1)),
            ("+1.", 38, 0, Ok(1)),
            (".5", 38, 1, Ok(5)),
            (".", 38, 0, Err(NotANumber)),
            ("", 38, 0, Err(NotANumber)),
            ("1e", 38, 0, Err(NotANumber)),
            ("--1", 38, 0, Err(NotANumber)),
            ("1.2.3", 38, 0, Err(NotANumber)),
            ("0x10", 38, 0, Err(NotANumber)),
        ] {
            assert_eq!(decimal(text, precision, scale), expected, "{text} as NUMBER({precision},{scale})");
        }
    }

    #[test]
    fn floats_know_their_words_only_where_allowed() {
        assert_eq!(float("1.5e2", false), Ok(150.0));
        assert_eq!(float("-Infinity", true), Ok(f64::NEG_INFINITY));
        assert!(float("nan", true).is_ok_and(f64::is_nan));
        for text in ["NaN", "inf", "", "1_0", "--inf"] {
            assert_eq!(float(text, false), Err(NotANumber), "{text}");
        }
        assert_eq!(float("--inf", true), Err(NotANumber));
        assert_eq!(float("1e999", false), Err(OutOfRange));
    }

    #[test]
    fn numbers_print_without_needless_digits() {
        for (text, expected) in [("5.000", "5"), ("1e3", "1000"), ("-0.50", "-0.5"), ("100", "100"), ("1.5e300", "1.5e300")] {
            assert_eq!(plain(text), expected);
        }
        assert_eq!(decimal_text(-5, 2), "-0.05");
        assert_eq!(decimal_text(12345, 2), "123.45");
        assert_eq!(decimal_text(7, 0), "7");
        assert_eq!(float_text(2.0), "2");
    }
}
