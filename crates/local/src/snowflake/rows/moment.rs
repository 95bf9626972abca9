//! Dates, times and timestamps of texts and numbers.
//!
//! Formats: ISO 8601 with `T` or a space, with or without fraction and offset; a date alone is its midnight; dates also as
//! `DD-MON-YYYY` and `MM/DD/YYYY`, timestamps as RFC 2822 and `DY MON DD HH24:MI:SS TZHTZM YYYY`. The years are 1 to 9999
//! (Snowflake documentation, "Date & time data types"). An integer in a text counts from 1970, in seconds, milliseconds,
//! microseconds or nanoseconds by its size (the same, "TO_TIMESTAMP", integers in strings). Without an offset the zone is UTC.
//!
//! Moments are nanoseconds since 1970 in 128 bits; [`is_near`] tells which of them 64 bits hold.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};

use super::zoned::Zoned;

/// Integers below these are seconds, milliseconds and microseconds.
const SCALES: [(i128, i128); 3] = [
    (31_536_000_000, 1_000_000_000),
    (31_536_000_000_000, 1_000_000),
    (31_536_000_000_000_000, 1000),
];

/// Nanoseconds of a second.
pub(crate) const SECOND: i128 = 1_000_000_000;
/// The first moment of the year 1, and the first behind the year 9999, in seconds since 1970.
const YEARS: std::ops::Range<i64> = -62_135_596_800..253_402_300_800;

/// Whether 64 bits hold a moment: it is of the years 1677 to 2262.
pub(crate) fn is_near(nanos: i128) -> bool {
    i64::try_from(nanos).is_ok()
}

/// A moment of the years 1 to 9999, as a clock in UTC; of any other, the nearest that a clock shows.
pub(crate) fn clock(nanos: i128) -> DateTime<Utc> {
    let seconds =
        i64::try_from(nanos.div_euclid(SECOND)).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX });
    let rest = u32::try_from(nanos.rem_euclid(SECOND)).expect("a remainder of 1,000,000,000");
    let farthest = if nanos < 0 {
        DateTime::<Utc>::MIN_UTC
    } else {
        DateTime::<Utc>::MAX_UTC
    };
    DateTime::from_timestamp(seconds, rest).unwrap_or(farthest)
}

/// Only if it is of the years 1 to 9999.
pub(super) fn in_range(nanos: i128) -> Option<i128> {
    let seconds = i64::try_from(nanos.div_euclid(SECOND)).ok()?;
    YEARS.contains(&seconds).then_some(nanos)
}

/// What the defaults of TIMESTAMP_NTZ_OUTPUT_FORMAT write of what a clock shows (Snowflake documentation, "Date and time input and
/// output formats").
pub(crate) fn clock_text(wall: i128) -> String {
    clock(wall).format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// A timestamp that was written without loss, as a cast to VARCHAR gives it.
pub(super) fn shown(text: &str) -> String {
    let time = text.get(10..).unwrap_or_default();
    let read = match time.contains(['Z', '+', '-']) {
        true => zoned(text).map(Zoned::text),
        false => timestamp(text, true).map(clock_text),
    };
    read.unwrap_or_else(|| text.to_owned())
}

/// Days since 1970.
pub(super) fn date(text: &str) -> Option<i32> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .or_else(|_| NaiveDate::parse_from_str(text, "%d-%b-%Y"))
        .or_else(|_| NaiveDate::parse_from_str(text, "%m/%d/%Y"))
        .ok()
        .or_else(|| Some(clock(timestamp(text, true)?).date_naive()))?;
    if !(1..=9999).contains(&day.year()) {
        return None;
    }
    i32::try_from(day.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

/// Nanoseconds since midnight. A time with an offset is refused, as the service does.
pub(super) fn time(text: &str) -> Option<i64> {
    let formats = ["%H:%M:%S%.f", "%H:%M", "%I:%M:%S%.f %p", "%I:%M %p"];
    let time = formats
        .iter()
        .find_map(|format| NaiveTime::parse_from_str(text, format).ok());
    let time = match time {
        Some(time) => time,
        None => clock(integer(text)?).time(),
    };
    // A leap second has no place in a day.
    let nanos = i64::from(time.num_seconds_from_midnight()) * 1_000_000_000 + i64::from(time.nanosecond());
    (time.nanosecond() < 1_000_000_000).then_some(nanos)
}

/// Nanoseconds since 1970. An offset is dropped where `as_written`, else applied.
pub(super) fn timestamp(text: &str, as_written: bool) -> Option<i128> {
    let usual = usual(text.as_bytes()).and_then(|read| read.nanos(as_written));
    if let Some(nanos) = usual.or_else(|| integer(text)) {
        return Some(nanos);
    }
    general(text)?.nanos(as_written)
}

/// A moment and its offset; UTC if there is none.
pub(super) fn zoned(text: &str) -> Option<Zoned> {
    let usual = usual(text.as_bytes()).and_then(Written::zoned);
    let integer = || integer(text).map(|nanos| Zoned { nanos, offset: 0 });
    usual.or_else(integer).or_else(|| general(text)?.zoned())
}

/// What a text says: a clock, and its offset from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Written {
    /// Of the clock, since 1970.
    seconds: i64,
    nanos: u32,
    offset_minutes: i16,
}

impl Written {
    fn nanos(self, as_written: bool) -> Option<i128> {
        let offset = if as_written {
            0
        } else {
            i64::from(self.offset_minutes) * 60
        };
        in_range(i128::from(self.seconds - offset) * SECOND + i128::from(self.nanos))
    }

    fn zoned(self) -> Option<Zoned> {
        Some(Zoned {
            nanos: self.nanos(false)?,
            offset: self.offset_minutes,
        })
    }
}

fn general(text: &str) -> Option<Written> {
    let with_offset = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f %z"))
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .or_else(|_| DateTime::parse_from_rfc2822(text))
        .or_else(|_| DateTime::parse_from_str(text, "%a %b %d %H:%M:%S %z %Y"));
    let (clock, offset_seconds) = match with_offset {
        Ok(moment) => (moment.naive_local(), moment.offset().local_minus_utc()),
        Err(_) => (without_offset(text)?, 0),
    };
    let nanos = clock.nanosecond();
    // A leap second has no place in a day.
    (nanos < 1_000_000_000).then_some(Written {
        seconds: clock.and_utc().timestamp(),
        nanos,
        offset_minutes: i16::try_from(offset_seconds / 60).ok()?,
    })
}

/// The form that nearly all timestamps have, `YYYY-MM-DDTHH:MM:SS[.F]` with `T` and an offset (`Z`, `+HH:MM`) or none, or with a
/// space and none. It says what the general way says, which tries its formats one by one; anything else is left to that.
fn usual(text: &[u8]) -> Option<Written> {
    let number = |from: usize, to: usize| -> Option<u32> {
        text.get(from..to)?.iter().try_fold(0, |sum: u32, byte| {
            byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0'))
        })
    };
    let is = |at: usize, byte: u8| text.get(at) == Some(&byte);
    if !(is(4, b'-') && is(7, b'-') && (is(10, b'T') || is(10, b' ')) && is(13, b':') && is(16, b':')) {
        return None;
    }
    let year = i32::try_from(number(0, 4)?).ok()?;
    let day = NaiveDate::from_ymd_opt(year, number(5, 7)?, number(8, 10)?)?;
    let moment = day.and_hms_opt(number(11, 13)?, number(14, 16)?, number(17, 19)?)?;
    let mut at = 19;
    let mut nanos = 0;
    if is(at, b'.') {
        let digits = text[20..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return None;
        }
        at = 20 + digits;
        nanos = number(20, at)? * 10_u32.pow(9 - u32::try_from(digits).ok()?);
    }
    let offset_minutes = match &text[at..] {
        [] => 0,
        [b'Z'] if is(10, b'T') => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] if is(10, b'T') => {
            let (hours, minutes) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let minutes = i16::try_from(hours * 60 + minutes).ok()?;
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    Some(Written {
        seconds: moment.and_utc().timestamp(),
        nanos,
        offset_minutes,
    })
}

fn without_offset(text: &str) -> Option<NaiveDateTime> {
    let formats = [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M",
        "%m/%d/%Y %H:%M:%S",
    ];
    let moment = formats
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    moment.or_else(|| {
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        day.and_hms_opt(0, 0, 0)
    })
}

/// An integer in a text; its unit is guessed.
fn integer(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i128 = text.parse().ok()?;
    let unit = SCALES
        .iter()
        .find(|(limit, _)| number.abs() < *limit)
        .map_or(1, |(_, unit)| *unit);
    in_range(number.checked_mul(unit)?)
}

/// A JSON number: seconds. Digits behind nanoseconds are cut.
pub(super) fn seconds(text: &str) -> Option<i128> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let are_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(whole) || !are_digits(fraction) {
        // With an exponent.
        let nanos = text.parse::<f64>().ok()? * 1e9;
        return in_range(nanos.round() as i128);
    }
    let whole = whole.parse::<i64>().ok()?;
    let nanos: i128 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let nanos = i128::from(whole) * SECOND + nanos;
    in_range(if negative { -nanos } else { nanos })
}

/// Without the digits of a second that a column of this scale does not keep (the same, "Date & time data types").
pub(super) fn to_scale(nanos: i128, scale: u8) -> i128 {
    let unit = 10_i128.pow(u32::from(9_u8.saturating_sub(scale)));
    nanos - nanos.rem_euclid(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i128 = 1_767_355_445_678_000_000;

    #[test]
    fn texts_become_moments() {
        let cases = [
            ("2026-01-02T12:04:05.678", true, Some(NOON)),
            ("2026-01-02 12:04:05.678", false, Some(NOON)),
            ("2026-01-02T12:04:05.678Z", true, Some(NOON)),
            ("2026-01-02T14:04:05.678+02:00", false, Some(NOON)),
            ("2026-01-02T12:04:05.678+02:00", true, Some(NOON)),
            ("1767355445678", true, Some(NOON)),
            ("1767355445", true, Some(1_767_355_445_000_000_000)),
            ("2026-01-02", true, Some(1_767_312_000_000_000_000)),
            ("2026-13-02", true, None),
            ("2026-06-30T23:59:60Z", true, None),
            (
                "9999-12-31T23:59:59.999999999",
                true,
                Some(253_402_300_799_999_999_999),
            ),
            ("0001-01-01", true, Some(-62_135_596_800 * SECOND)),
            ("9999-12-31T23:59:59-01:00", true, Some(253_402_300_799 * SECOND)),
            ("9999-12-31T23:59:59-01:00", false, None),
            ("0000-12-31T23:59:59", true, None),
            ("99999-01-01", true, None),
            ("soon", true, None),
        ];
        for (text, as_written, expected) in cases {
            assert_eq!(timestamp(text, as_written), expected, "{text}");
        }
    }

    /// Texts around the usual form, most of them broken somewhere.
    #[test]
    fn the_usual_form_is_read_as_the_general_way_reads_it() {
        let stems = [
            "2026-01-02T12:04:05",
            "2026-01-02 12:04:05",
            "2026-02-29T00:00:00",
            "2024-02-29T23:59:59",
            "1969-12-31T23:59:59",
            "0001-01-01T00:00:00",
            "9999-12-31T00:00:00",
            "2026-06-30T23:59:60",
            "2026-01-02T24:00:00",
            "2026-01-02T12:60:05",
            "2026-1-02T12:04:05",
            "2026-01-02t12:04:05",
            "+2026-01-02T12:04:05",
        ];
        let fractions = ["", ".", ".1", ".000001", ".123456789", ".1234567890", ".12x"];
        let ends = [
            "", "Z", "z", " Z", "+02:00", "-02:00", "-00:00", "+23:59", "+24:00", "+02:60", "+0200", "+02",
            " +02:00", "+0a:00", "é",
        ];
        let (mut usually, mut read) = (0, 0);
        for stem in stems {
            for fraction in fractions {
                for end in ends {
                    for as_written in [true, false] {
                        let text = format!("{stem}{fraction}{end}");
                        let fast = usual(text.as_bytes()).and_then(|read| read.nanos(as_written));
                        let slow = general(&text).and_then(|read| read.nanos(as_written));
                        assert!(fast.is_none() || fast == slow, "{text}: {fast:?}, {slow:?}");
                        usually += usize::from(fast.is_some());
                        read += usize::from(slow.is_some());
                    }
                }
            }
        }
        assert!(usually > 100 && usually <= read, "{usually} of {read}");
    }

    #[test]
    fn zoned_texts_keep_their_offset() {
        for (text, nanos, offset) in [
            ("2026-01-02T12:04:05.678Z", NOON, 0),
            ("2026-01-02T14:04:05.678+02:00", NOON, 120),
            ("2026-01-02 10:34:05.678 -0130", NOON, -90),
            ("2026-01-02T12:04:05.678", NOON, 0),
            ("Fri, 02 Jan 2026 17:34:05 +0530", NOON - 678_000_000, 330),
            ("1767355445678", NOON, 0),
        ] {
            assert_eq!(zoned(text), Some(Zoned { nanos, offset }), "{text}");
        }
        assert_eq!(zoned("soon"), None);
    }

    #[test]
    fn dates_and_times_are_read_as_documented() {
        for text in ["2026-01-02", "02-Jan-2026", "01/02/2026", "2026-01-02T23:00:00"] {
            assert_eq!(date(text), Some(20_455), "{text}");
        }
        assert_eq!(time("03:04:05.0006"), Some(11_045_000_600_000));
        assert_eq!(time("03:04"), Some(11_040_000_000_000));
        for text in ["13:45:30+05:00", "00:00:00Z", "25:00:00", "x"] {
            assert_eq!(time(text), None, "{text}");
        }
        assert_eq!(seconds("1.5"), Some(1_500_000_000));
        assert_eq!(seconds("-0.5"), Some(-500_000_000));
        assert_eq!(seconds("1795898814.294"), Some(1_795_898_814_294_000_000));
        assert_eq!(seconds("1.7958e9"), Some(1_795_800_000_000_000_000));
        assert_eq!(seconds("1e12"), None);
        assert_eq!(date("9999-12-31"), Some(2_932_896));
        assert_eq!(date("9999-12-31T23:00:00"), Some(2_932_896));
        assert_eq!(date("0000-12-31"), None);
        assert_eq!(to_scale(-1, 3), -1_000_000);
        assert_eq!(to_scale(1_999_999_999, 0), 1_000_000_000);
    }
}
