//! Dates, times and timestamps out of text, and back.
//!
//! The formats are those that Snowflake's AUTO detection documents ("Date and time input and output formats") and that the
//! streaming server takes. Years 1 to 9999 are read; timestamps are kept as nanoseconds since 1970 in 64 bits, so one
//! outside the years 1678 to 2261 is refused, where the service takes it.

use std::fmt::Write as _;

pub(crate) const NANOS: i64 = 1_000_000_000;
pub(crate) const DAY_SECONDS: i64 = 86_400;
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// A date and time of day as written, with the offset if there was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Days since 1970-01-01.
    pub(crate) days: i32,
    /// Nanoseconds since midnight.
    pub(crate) nanos: i64,
    /// Minutes east of UTC.
    pub(crate) offset: Option<i16>,
}

impl Moment {
    /// The wall clock as nanoseconds since 1970, without regard to the offset.
    pub(crate) fn wall(&self) -> Option<i64> {
        i64::from(self.days).checked_mul(DAY_SECONDS * NANOS)?.checked_add(self.nanos)
    }

    /// The instant as nanoseconds since 1970; without an offset the wall clock is taken as UTC.
    pub(crate) fn instant(&self) -> Option<i64> {
        self.wall()?.checked_sub(i64::from(self.offset.unwrap_or(0)) * 60 * NANOS)
    }
}

/// Days since 1970-01-01 of a day in the proleptic Gregorian calendar; `None` if there is no such day.
pub(crate) fn days(year: i64, month: i64, day: i64) -> Option<i32> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=9999).contains(&year) || !(1..=last).contains(&day) {
        return None;
    }
    // Years that start in March put the leap day at their end.
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    i32::try_from(era * 146_097 + day_of_era - 719_468).ok()
}

/// Year, month and day of a day since 1970-01-01.
pub(crate) fn civil(days: i32) -> (i64, i64, i64) {
    let shifted = i64::from(days) + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Nanoseconds since 1970 of an epoch number; the unit is guessed from its size (Snowflake documentation, TO_TIMESTAMP).
pub(crate) fn guessed_epoch(value: i64) -> Option<i64> {
    let unit = match value.unsigned_abs() {
        ..31_536_000_000 => NANOS,
        ..31_536_000_000_000 => 1_000_000,
        ..31_536_000_000_000_000 => 1_000,
        _ => 1,
    };
    value.checked_mul(unit)
}

/// Cuts digits below the scale (0 to 9).
pub(crate) fn truncate(nanos: i64, scale: u8) -> i64 {
    let unit = 10_i64.pow(u32::from(9 - scale.min(9)));
    nanos.div_euclid(unit) * unit
}

/// Reads a date, `YYYY-MM-DD`, `DD-MON-YYYY`, `MM/DD/YYYY`, or the date of a timestamp.
pub(crate) fn date(text: &str) -> Option<i32> {
    timestamp(text).map(|moment| moment.days)
}

/// Reads a time of day, `HH24:MI[:SS[.FF]]` or with AM/PM, as nanoseconds since midnight. An offset is refused, as the
/// streaming server does.
pub(crate) fn time(text: &str) -> Option<i64> {
    let mut reader = Reader { rest: text.trim() };
    let nanos = reader.clock()?;
    reader.rest.is_empty().then_some(nanos)
}

/// Reads a timestamp in one of the detected formats.
pub(crate) fn timestamp(text: &str) -> Option<Moment> {
    let text = text.trim();
    let starts_with_letter = text.as_bytes().first()?.is_ascii_alphabetic();
    if starts_with_letter { Reader { rest: text }.worded() } else { Reader { rest: text }.numbered() }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn take(&mut self, wanted: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(wanted)?;
        Some(())
    }

    fn any(&mut self, wanted: &[&str]) -> Option<()> {
        wanted.iter().find_map(|wanted| self.take(wanted))
    }

    /// Digits, at least and at most so many.
    fn digits(&mut self, least: usize, most: usize) -> Option<i64> {
        let length = self.rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if length < least {
            return None;
        }
        let (digits, rest) = self.rest.split_at(length);
        self.rest = rest;
        digits.parse().ok()
    }

    /// The index of the word that is next, by its first three letters; longer spellings are not read.
    fn word(&mut self, words: &[&str]) -> Option<usize> {
        let word = self.rest.get(..3)?;
        let index = words.iter().position(|known| known.eq_ignore_ascii_case(word))?;
        self.rest = self.rest.get(3..)?;
        Some(index)
    }

    fn month(&mut self) -> Option<i64> {
        self.word(&MONTHS).and_then(|index| i64::try_from(index + 1).ok())
    }

    /// `HH:MI[:SS[.FF]]`, then perhaps AM or PM.
    fn clock(&mut self) -> Option<i64> {
        let mut hour = self.digits(1, 2)?;
        self.take(":")?;
        let minute = self.digits(2, 2)?;
        let second = if self.take(":").is_some() { self.digits(2, 2)? } else { 0 };
        let fraction = if self.take(".").is_some() { self.fraction()? } else { 0 };
        let before = self.rest;
        self.rest = self.rest.trim_start();
        match self.rest.get(..2).map(str::to_ascii_uppercase).as_deref() {
            Some("AM" | "PM") if !(1..=12).contains(&hour) => return None,
            Some("AM") => hour %= 12,
            Some("PM") => hour = hour % 12 + 12,
            _ => self.rest = before,
        }
        if self.rest.len() < before.len() {
            self.rest = self.rest.get(2..)?;
        }
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        Some(((hour * 60 + minute) * 60 + second) * NANOS + fraction)
    }

    /// Digits after the point, as nanoseconds; more than nine are cut.
    fn fraction(&mut self) -> Option<i64> {
        let length = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.rest.split_at(length);
        self.rest = rest;
        let kept = &digits[..length.min(9)];
        let value: i64 = kept.parse().ok()?;
        Some(value * 10_i64.pow(9 - u32::try_from(kept.len()).ok()?))
    }

    /// `Z`, `+HH`, `+HHMM`, `+HH:MM`, or nothing.
    fn offset(&mut self) -> Option<Option<i16>> {
        self.rest = self.rest.trim_start();
        if self.rest.is_empty() {
            return Some(None);
        }
        if self.any(&["Z", "z", "UTC", "GMT"]).is_some() {
            return Some(Some(0));
        }
        let sign = if self.take("-").is_some() { -1 } else { self.take("+").map(|()| 1)? };
        let hours = self.digits(1, 2)?;
        let minutes = match self.rest.is_empty() || self.rest.starts_with(' ') {
            true => 0,
            false => {
                let _colon = self.take(":");
                self.digits(2, 2)?
            }
        };
        if hours > 14 || minutes > 59 {
            return None;
        }
        i16::try_from(sign * (hours * 60 + minutes)).ok().map(Some)
    }

    fn finish(mut self, days: i32) -> Option<Moment> {
        if self.rest.is_empty() {
            return Some(Moment { days, nanos: 0, offset: None });
        }
        self.any(&["T", "t", " "])?;
        let nanos = self.clock()?;
        let offset = self.offset()?;
        self.rest.is_empty().then_some(Moment { days, nanos, offset })
    }

    /// `YYYY-MM-DD`, `DD-MON-YYYY`, `MM/DD/YYYY`, each perhaps with a time.
    fn numbered(mut self) -> Option<Moment> {
        let length = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let first = self.digits(1, 4)?;
        if self.take("/").is_some() {
            let day = self.digits(1, 2)?;
            self.take("/")?;
            let year = self.digits(4, 4)?;
            let days = days(year, first, day)?;
            return self.finish(days);
        }
        self.take("-")?;
        if length == 4 {
            let month = self.digits(1, 2)?;
            self.take("-")?;
            let day = self.digits(1, 2)?;
            let days = days(first, month, day)?;
            return self.finish(days);
        }
        let month = self.month()?;
        self.take("-")?;
        let year = self.digits(4, 4)?;
        let days = days(year, month, first)?;
        self.finish(days)
    }

    /// `DY, DD MON YYYY HH24:MI[:SS] [offset]` and `DY MON DD HH24:MI:SS [offset] YYYY`.
    fn worded(mut self) -> Option<Moment> {
        self.word(&WEEKDAYS)?;
        if self.take(", ").is_some() {
            let day = self.digits(1, 2)?;
            self.take(" ")?;
            let month = self.month()?;
            self.take(" ")?;
            let year = self.digits(4, 4)?;
            let days = days(year, month, day)?;
            return self.finish(days);
        }
        self.take(" ")?;
        let month = self.month()?;
        self.take(" ")?;
        let day = self.digits(1, 2)?;
        self.take(" ")?;
        let nanos = self.clock()?;
        self.take(" ")?;
        let offset = match self.rest.starts_with(['+', '-']) {
            true => {
                let offset = self.offset()?;
                self.take(" ")?;
                offset
            }
            false => None,
        };
        let year = self.digits(4, 4)?;
        let days = days(year, month, day)?;
        self.rest.is_empty().then_some(Moment { days, nanos, offset })
    }
}

/// `YYYY-MM-DD`.
pub(crate) fn date_text(days: i32) -> String {
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `HH24:MI:SS` and, if not zero, the fraction with `scale` digits.
pub(crate) fn time_text(nanos: i64, scale: u8) -> String {
    let seconds = nanos.div_euclid(NANOS);
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    push_fraction(&mut text, nanos, scale.min(9));
    text
}

/// `YYYY-MM-DD HH24:MI:SS.FF3` of a wall clock, Snowflake's default TIMESTAMP_OUTPUT_FORMAT without its zone.
pub(crate) fn timestamp_text(nanos: i64) -> String {
    let seconds = nanos.div_euclid(NANOS);
    let days = i32::try_from(seconds.div_euclid(DAY_SECONDS)).unwrap_or_default();
    let of_day = nanos.rem_euclid(DAY_SECONDS * NANOS);
    format!("{} {}", date_text(days), time_text(of_day, 3))
}

/// ` +HHMM`.
pub(crate) fn offset_text(minutes: i16) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    let magnitude = minutes.unsigned_abs();
    format!(" {sign}{:02}{:02}", magnitude / 60, magnitude % 60)
}

/// `.` and `scale` digits of the fraction of a second.
pub(crate) fn push_fraction(text: &mut String, nanos: i64, scale: u8) {
    if scale > 0 {
        let width = usize::from(scale);
        let fraction = nanos.rem_euclid(NANOS) / 10_i64.pow(9 - u32::from(scale));
        // Writing to a String cannot fail.
        let _ = write!(text, ".{fraction:0width$}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_calendar_agree_over_all_years() {
        assert_eq!(days(1970, 1, 1), Some(0));
        assert_eq!(days(2000, 2, 29), Some(11_016));
        assert_eq!(days(1900, 2, 29), None);
        assert_eq!(days(2023, 13, 1), None);
        let first = days(1, 1, 1).unwrap();
        let last = days(9999, 12, 31).unwrap();
        for day in (first..=last).step_by(17) {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), Some(day));
        }
    }

    #[test]
    fn timestamps_read_in_each_format() {
        for (text, instant) in [
            ("2024-01-15T10:00:00Z", "2024-01-15 10:00:00.000"),
            ("2024-01-15 10:00:00.123456789", "2024-01-15 10:00:00.123"),
            ("2024-01-15T10:00:00+05:30", "2024-01-15 04:30:00.000"),
            ("2024-01-15 10:00 -0800", "2024-01-15 18:00:00.000"),
            ("2024-01-15T10:00:00+05", "2024-01-15 05:00:00.000"),
            ("2024-01-15", "2024-01-15 00:00:00.000"),
            ("15-JAN-2024", "2024-01-15 00:00:00.000"),
            ("1/15/2024 13:05:06", "2024-01-15 13:05:06.000"),
            ("Mon, 15 Jan 2024 10:00:00 +0100", "2024-01-15 09:00:00.000"),
            ("Mon Jan 15 10:00:00 +0100 2024", "2024-01-15 09:00:00.000"),
            ("2024-01-15 01:30:00 PM", "2024-01-15 13:30:00.000"),
            ("1969-12-31 23:59:59.5", "1969-12-31 23:59:59.500"),
        ] {
            let moment = timestamp(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(timestamp_text(moment.instant().unwrap()), instant, "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_timestamps() {
        for text in [
            "", "x", "2024", "2024-1", "2024-02-30", "2024-01-15T", "2024-01-15T25:00", "2024-01-15T10:00:60Z", "10000-01-01",
            "0000-01-01", "2024-01-15T10:00:00+15:00", "2024-01-15T10:00:00 Mars", "13/01/2024", "Mon", "2024-01-15T10:00:00.", "é",
        ] {
            assert_eq!(timestamp(text), None, "{text}");
        }
    }

    #[test]
    fn times_read_without_offset_only() {
        assert_eq!(time("13:45:30.5"), Some(((13 * 60 + 45) * 60 + 30) * NANOS + NANOS / 2));
        assert_eq!(time("12:00 AM"), Some(0));
        assert_eq!(time("1:05 pm"), Some((13 * 60 + 5) * 60 * NANOS));
        for text in ["13:45:30Z", "13:45:30+05:30", "24:00", "13:60", "1345", "13:45 PM"] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn epochs_are_guessed_by_size() {
        let second = 1_700_000_000;
        for value in [second, second * 1_000, second * 1_000_000, second * NANOS] {
            assert_eq!(guessed_epoch(value), Some(second * NANOS), "{value}");
        }
        assert_eq!(truncate(-1, 3), -1_000_000);
        assert_eq!(truncate(123_456_789, 3), 123_000_000);
    }
}
