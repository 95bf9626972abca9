//! Parts of dates and times: what they are called, and the arithmetic of each.
//!
//! Times are nanoseconds since 1970 as a clock shows them. Weeks begin on Monday, and days of the week count from Sunday, 0, as the
//! defaults of WEEK_START and WEEK_OF_YEAR_POLICY say. Source: Snowflake documentation, "Date & time functions", supported date
//! and time parts, and "DATEDIFF", "DATEADD", "DATE_TRUNC".

use chrono::{Datelike, NaiveDate, NaiveDateTime, Timelike};

use crate::snowflake::rows::moment::{SECOND, clock};

/// Nanoseconds of a day.
pub(super) const DAY: i128 = 86_400 * SECOND;

/// A part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Year,
    Quarter,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
    DayOfWeek,
    DayOfWeekIso,
    DayOfYear,
    YearOfWeek,
    /// Since 1970, in this many nanoseconds.
    Epoch(i128),
    ZoneHour,
    ZoneMinute,
}

const NAMES: [(Part, &str); 21] = [
    (Part::Year, "year y yy yyy yyyy yr years yrs"),
    (Part::Quarter, "quarter q qtr qtrs quarters"),
    (Part::Month, "month mm mon mons months"),
    (
        Part::Week,
        "week w wk weeks weekofyear woy wy weekiso week_iso weekofyeariso weekofyear_iso",
    ),
    (Part::Day, "day d dd days dayofmonth"),
    (Part::Hour, "hour h hh hr hours hrs"),
    (Part::Minute, "minute m mi min minutes mins"),
    (Part::Second, "second s sec seconds secs"),
    (Part::Millisecond, "millisecond ms msec milliseconds"),
    (Part::Microsecond, "microsecond us usec microseconds"),
    (
        Part::Nanosecond,
        "nanosecond ns nsec nanosec nsecond nanoseconds nanosecs nseconds",
    ),
    (Part::DayOfWeek, "dayofweek weekday dow dw"),
    (
        Part::DayOfWeekIso,
        "dayofweekiso weekday_iso dow_iso dw_iso dayofweek_iso",
    ),
    (Part::DayOfYear, "dayofyear yearday doy dy"),
    (Part::YearOfWeek, "yearofweek yearofweekiso"),
    (Part::Epoch(SECOND), "epoch_second epoch epoch_seconds"),
    (Part::Epoch(1_000_000), "epoch_millisecond epoch_milliseconds"),
    (Part::Epoch(1000), "epoch_microsecond epoch_microseconds"),
    (Part::Epoch(1), "epoch_nanosecond epoch_nanoseconds"),
    (Part::ZoneHour, "timezone_hour tzh"),
    (Part::ZoneMinute, "timezone_minute tzm"),
];

fn whole(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
}

fn at_midnight(day: NaiveDate) -> i128 {
    i128::from(day.signed_duration_since(NaiveDate::default()).num_days()) * DAY
}

fn first_of(month: i128) -> Option<NaiveDate> {
    let year = i32::try_from(month.div_euclid(12)).ok()?;
    NaiveDate::from_ymd_opt(year, u32::try_from(month.rem_euclid(12)).ok()? + 1, 1)
}

/// Months since the year 0.
fn month_of(at: NaiveDateTime) -> i128 {
    i128::from(at.year()) * 12 + i128::from(at.month0())
}

impl Part {
    /// The part of this name, in any case.
    pub(super) fn read(name: &str) -> Option<Self> {
        let is = |word: &str| word.eq_ignore_ascii_case(name);
        let known = NAMES
            .iter()
            .find(|(_, names)| names.split_ascii_whitespace().any(is));
        known.map(|(part, _)| *part)
    }

    /// Months of a part that is made of them.
    fn months(self) -> Option<i128> {
        match self {
            Self::Year => Some(12),
            Self::Quarter => Some(3),
            Self::Month => Some(1),
            _ => None,
        }
    }

    /// Nanoseconds of a part that is always as long.
    fn length(self) -> Option<i128> {
        Some(match self {
            Self::Week => 7 * DAY,
            Self::Day => DAY,
            Self::Hour => 3600 * SECOND,
            Self::Minute => 60 * SECOND,
            Self::Second => SECOND,
            Self::Millisecond => 1_000_000,
            Self::Microsecond => 1000,
            Self::Nanosecond => 1,
            _ => return None,
        })
    }

    /// Whether it can be counted, as in DATEADD.
    pub(super) fn is_span(self) -> bool {
        self.months().is_some() || self.length().is_some()
    }

    /// Whether it is shorter than a day.
    pub(super) fn is_of_time(self) -> bool {
        self.length().is_some_and(|length| length < DAY)
    }

    /// How many of the part began since a fixed one.
    pub(super) fn number(self, at: i128) -> Option<i128> {
        if let Some(months) = self.months() {
            return Some(month_of(clock(at).naive_utc()).div_euclid(months));
        }
        // The first of January of 1970 was a Thursday.
        let shift = if self == Self::Week { 3 * DAY } else { 0 };
        Some((at + shift).div_euclid(self.length()?))
    }

    /// When the part that a time is in began.
    pub(super) fn begin(self, at: i128) -> Option<i128> {
        let number = self.number(at)?;
        self.begin_of(number)
    }

    fn begin_of(self, number: i128) -> Option<i128> {
        if let Some(months) = self.months() {
            return first_of(number * months).map(at_midnight);
        }
        let shift = if self == Self::Week { 3 * DAY } else { 0 };
        Some(number * self.length()? - shift)
    }

    /// The last day of the part that a time is in, at midnight.
    pub(super) fn last_day(self, at: i128) -> Option<i128> {
        let number = self.number(at)?;
        Some(self.begin_of(number + 1)? - DAY)
    }

    /// So many later. A day that the month does not have is its last one.
    pub(super) fn add(self, at: i128, count: i64) -> Option<i128> {
        if let Some(months) = self.months() {
            let now = clock(at).naive_utc();
            let to = month_of(now) + i128::from(count) * months;
            let (begin, end) = (first_of(to)?, first_of(to + 1)?);
            let last = i128::from(end.signed_duration_since(begin).num_days()) - 1;
            let day = i128::from(now.day0()).min(last);
            return Some(at_midnight(begin) + day * DAY + at.rem_euclid(DAY));
        }
        at.checked_add(self.length()?.checked_mul(count.into())?)
    }

    /// What a clock shows of it; `offset` is that of the clock, in minutes.
    pub(super) fn value(self, wall: i128, offset: i16) -> i64 {
        let at = clock(wall).naive_utc();
        match self {
            Self::Year => at.year().into(),
            Self::Quarter => i64::from(at.month0() / 3) + 1,
            Self::Month => at.month().into(),
            Self::Week => at.iso_week().week().into(),
            Self::Day => at.day().into(),
            Self::Hour => at.hour().into(),
            Self::Minute => at.minute().into(),
            Self::Second => at.second().into(),
            Self::Millisecond => i64::from(at.nanosecond()) / 1_000_000,
            Self::Microsecond => i64::from(at.nanosecond()) / 1000,
            Self::Nanosecond => at.nanosecond().into(),
            Self::DayOfWeek => at.weekday().num_days_from_sunday().into(),
            Self::DayOfWeekIso => at.weekday().number_from_monday().into(),
            Self::DayOfYear => at.ordinal().into(),
            Self::YearOfWeek => at.iso_week().year().into(),
            Self::Epoch(unit) => whole((wall - i128::from(offset) * 60 * SECOND).div_euclid(unit)),
            Self::ZoneHour => i64::from(offset) / 60,
            Self::ZoneMinute => i64::from(offset) % 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i128 {
        let at = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").expect(text);
        i128::from(at.and_utc().timestamp()) * SECOND
    }

    #[test]
    fn each_name_is_of_one_part() {
        let mut names: Vec<&str> = NAMES
            .iter()
            .flat_map(|(_, names)| names.split_ascii_whitespace())
            .collect();
        for name in &names {
            assert!(Part::read(&name.to_uppercase()).is_some(), "{name}");
        }
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), Part::read("fortnight")), (all, None));
    }

    #[test]
    fn parts_begin_and_end_where_the_calendar_says() {
        let now = at("2024-02-29 13:45:30");
        for (part, begin, last) in [
            (Part::Year, "2024-01-01 00:00:00", "2024-12-31 00:00:00"),
            (Part::Quarter, "2024-01-01 00:00:00", "2024-03-31 00:00:00"),
            (Part::Month, "2024-02-01 00:00:00", "2024-02-29 00:00:00"),
            (Part::Week, "2024-02-26 00:00:00", "2024-03-03 00:00:00"),
            (Part::Day, "2024-02-29 00:00:00", "2024-02-29 00:00:00"),
        ] {
            assert_eq!(
                (part.begin(now), part.last_day(now)),
                (Some(at(begin)), Some(at(last))),
                "{part:?}"
            );
        }
        assert_eq!(Part::Hour.begin(now), Some(at("2024-02-29 13:00:00")));
        assert_eq!(
            Part::Week.begin(at("0001-01-01 05:00:00")),
            Some(at("0001-01-01 00:00:00"))
        );
        assert_eq!(Part::Millisecond.begin(-1), Some(-1_000_000));
    }

    #[test]
    fn months_are_added_to_days_that_there_are() {
        for (part, from, count, to) in [
            (Part::Month, "2024-01-31 01:02:03", 1, "2024-02-29 01:02:03"),
            (Part::Month, "2024-03-31 01:02:03", -13, "2023-02-28 01:02:03"),
            (Part::Year, "2024-02-29 00:00:00", 1, "2025-02-28 00:00:00"),
            (Part::Quarter, "2023-11-30 00:00:00", 1, "2024-02-29 00:00:00"),
            (Part::Week, "2024-02-29 00:00:00", 2, "2024-03-14 00:00:00"),
            (Part::Hour, "2024-02-29 23:00:00", 2, "2024-03-01 01:00:00"),
        ] {
            assert_eq!(part.add(at(from), count), Some(at(to)), "{part:?} {from} {count}");
        }
        assert_eq!(Part::Year.add(0, i64::MAX), None);
        assert_eq!(Part::Epoch(1).add(0, 1), None);
    }
}
