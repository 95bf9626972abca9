//! Texts with units: durations, bytes, moments. Each error says what was expected.

use std::time::Duration;

const DURATION: &str = "expected a number and a unit: `500ms`, `10s`, `5m`, `1h` or `7d`";
const BYTES: &str =
    "expected a whole number and a unit: `512B`, `64KiB`, `16MiB`, `2GiB` (or `kB`, `MB`, `GB`)";
const MOMENT: &str = "expected a moment as `2026-01-31T23:59:00Z` or `2026-01-31T23:59:00.250+01:00`";

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    Some((digits.parse().ok()?, unit.trim_start_matches(' ')))
}

/// A duration: a whole number and `ms`, `s`, `m`, `h` or `d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = split(text).and_then(|(number, unit)| {
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        number.checked_mul(unit_ms)
    });
    parsed
        .map(Duration::from_millis)
        .ok_or_else(|| DURATION.to_owned())
}

/// Bytes: a whole number and a unit, of 1024 (`KiB`) or of 1000 (`kB`).
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let parsed = split(text).and_then(|(number, unit)| {
        let unit: u64 = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "kB" => 1000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            _ => return None,
        };
        number.checked_mul(unit)
    });
    parsed.ok_or_else(|| BYTES.to_owned())
}

/// A moment of RFC 3339, in milliseconds since 1970-01-01 UTC; what is finer than a millisecond is cut off.
pub fn moment_ms(text: &str) -> Result<i64, String> {
    rfc3339_ms(text).ok_or_else(|| MOMENT.to_owned())
}

fn rfc3339_ms(text: &str) -> Option<i64> {
    let number = |part: &str| {
        part.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| part.parse::<i64>().ok())?
    };
    let at = |from: usize, to: usize| text.get(from..to).and_then(number);
    let is = |index: usize, any: &[u8]| text.as_bytes().get(index).is_some_and(|b| any.contains(b));
    if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (at(0, 4)?, at(5, 7)?, at(8, 10)?);
    let (hour, minute, second) = (at(11, 13)?, at(14, 16)?, at(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut ms = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let end = fraction
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(fraction.len());
        let (digits, zone) = fraction.split_at(end);
        if digits.is_empty() {
            return None;
        }
        ms = number(format!("{digits:0<3}").get(..3)?)?;
        rest = zone;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some((seconds - zone_seconds(rest)?) * 1000 + ms)
}

fn zone_seconds(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let digits = |part: &str| {
        (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok())?
    };
    let (hours, minutes): (i64, i64) = (digits(hours)?, digits(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar ("chrono-compatible low-level date algorithms", H. Hinnant).
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_bytes_need_their_unit() {
        for (text, ms) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("5 m", 300_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for (text, expected) in [
            ("512B", 512),
            ("16MiB", 16 << 20),
            ("1GB", 1_000_000_000),
            ("64 KiB", 65_536),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for bad in [
            "",
            "10",
            "s",
            "-1s",
            "1.5s",
            "10 S",
            "99999999999999999d",
            "10 sec",
            "１s",
        ] {
            assert!(duration(bad).is_err(), "{bad:?} passed");
        }
        for bad in ["", "16", "16M", "16mib", "-1B", "99999999999GiB", "1.5GiB"] {
            assert!(bytes(bad).is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn moments_are_read_with_their_zone() {
        // Expected values from `date -u -d ... +%s`.
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2024-02-29T12:34:56.789Z", 1_709_210_096_789),
            ("2026-01-31T23:59:00.25+01:00", 1_769_900_340_250),
            ("1969-12-31 19:00:00-05:00", 0),
            ("2000-03-01T00:00:00.1234567z", 951_868_800_123),
        ] {
            assert_eq!(moment_ms(text), Ok(ms), "{text}");
        }
        for bad in [
            "2026-01-31",
            "2025-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+1:00",
            "2026-01-0éT00:00:00Z",
            "now",
        ] {
            assert!(moment_ms(bad).is_err(), "{bad:?} passed");
        }
    }
}
