//! Formats of dates and times: a text by a format, and back.
//!
//! Source: Snowflake documentation, "Date and time input and output formats", table of elements. Unknown letters stand for
//! themselves; what stands in double quotes does too. Formats of numbers are not known.

use chrono::{Datelike, Duration, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

/// One element of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Element {
    Year4,
    Year2,
    Month,
    MonthShort,
    MonthLong,
    Day,
    DayShort,
    Hour24,
    Hour12,
    /// True for PM where a text is made of a moment.
    Meridian,
    Minute,
    Second,
    /// Digits; 9 if none are said.
    Fraction(u8),
    /// Hours and minutes of the offset, and what stands between them.
    Offset(&'static str),
    OffsetHour,
    OffsetMinute,
    Literal(char),
}

const WORDS: [(&str, Element); 20] = [
    ("TZHTZM", Element::Offset("")),
    ("TZH:TZM", Element::Offset(":")),
    ("TZH", Element::OffsetHour),
    ("TZM", Element::OffsetMinute),
    ("YYYY", Element::Year4),
    ("UUUU", Element::Year4),
    ("YY", Element::Year2),
    ("MMMM", Element::MonthLong),
    ("MON", Element::MonthShort),
    ("MM", Element::Month),
    ("MI", Element::Minute),
    ("DD", Element::Day),
    ("DY", Element::DayShort),
    ("HH24", Element::Hour24),
    ("HH12", Element::Hour12),
    ("HH", Element::Hour24),
    ("AM", Element::Meridian),
    ("PM", Element::Meridian),
    ("SS", Element::Second),
    ("FF", Element::Fraction(9)),
];

fn elements(format: &str) -> Vec<Element> {
    let mut elements = Vec::new();
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (inner, behind) = quoted.split_once('"').unwrap_or((quoted, ""));
            elements.extend(inner.chars().map(Element::Literal));
            rest = behind;
            continue;
        }
        let known = WORDS.iter().find(|(word, _)| {
            rest.get(..word.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(word))
        });
        let Some((word, element)) = known else {
            elements.push(Element::Literal(first));
            rest = &rest[first.len_utf8()..];
            continue;
        };
        rest = &rest[word.len()..];
        let digit = rest.chars().next().and_then(|digit| digit.to_digit(10));
        match (element, digit) {
            (Element::Fraction(_), Some(digits)) => {
                elements.push(Element::Fraction(u8::try_from(digits).unwrap_or(9)));
                rest = &rest[1..];
            }
            _ => elements.push(element.clone()),
        }
    }
    elements
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// What a text says, with its offset from UTC in seconds, if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) moment: NaiveDateTime,
    pub(super) offset: Option<i32>,
}

#[derive(Default)]
struct Parts {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    hour: u32,
    is_pm: Option<bool>,
    minute: u32,
    second: u32,
    nanos: u32,
    offset: Option<i32>,
}

/// Up to so many digits at the beginning.
fn digits<'t>(text: &mut &'t str, most: usize) -> Option<&'t str> {
    let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(count);
    *text = rest;
    (!digits.is_empty()).then_some(digits)
}

fn number(text: &mut &str, most: usize) -> Option<u32> {
    digits(text, most)?.parse().ok()
}

fn named(text: &mut &str, names: &[&str], length: Option<usize>) -> Option<usize> {
    let of = |name: &&str| length.map_or(name.len(), |length| length.min(name.len()));
    let place = names.iter().position(|name| {
        text.get(..of(name))
            .is_some_and(|start| start.eq_ignore_ascii_case(&name[..of(name)]))
    })?;
    *text = &text[of(&names[place])..];
    Some(place)
}

/// Hours of an offset, with its sign.
fn signed_hours(text: &mut &str) -> Option<(i32, i32)> {
    let sign = match text.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    *text = &text[1..];
    Some((sign, i32::try_from(number(text, 2)?).ok()?))
}

/// Reads a text by a format; `None` if it is not of it. Without a date it is the first of January 1970.
pub(super) fn read(text: &str, format: &str) -> Option<Read> {
    let mut rest = text.trim();
    let mut parts = Parts::default();
    for element in elements(format) {
        element.read(&mut rest, &mut parts)?;
    }
    if !rest.is_empty() {
        return None;
    }
    let hour = match parts.is_pm {
        Some(_) if !(1..=12).contains(&parts.hour) => return None,
        Some(true) => parts.hour % 12 + 12,
        Some(false) => parts.hour % 12,
        None => parts.hour,
    };
    let date = NaiveDate::from_ymd_opt(
        parts.year.unwrap_or(1970),
        parts.month.unwrap_or(1),
        parts.day.unwrap_or(1),
    )?;
    let time = NaiveTime::from_hms_nano_opt(hour, parts.minute, parts.second, parts.nanos)?;
    Some(Read {
        moment: date.and_time(time),
        offset: parts.offset,
    })
}

impl Element {
    fn read(&self, rest: &mut &str, parts: &mut Parts) -> Option<()> {
        match self {
            Self::Year4 => parts.year = Some(i32::try_from(number(rest, 4)?).ok()?),
            // Snowflake's TWO_DIGIT_CENTURY_START is 1970.
            Self::Year2 => {
                let year = i32::try_from(number(rest, 2)?).ok()?;
                parts.year = Some(if year < 70 { 2000 + year } else { 1900 + year });
            }
            Self::Month => parts.month = Some(number(rest, 2)?),
            Self::MonthShort => parts.month = Some(u32::try_from(named(rest, &MONTHS, Some(3))?).ok()? + 1),
            Self::MonthLong => parts.month = Some(u32::try_from(named(rest, &MONTHS, None)?).ok()? + 1),
            Self::Day => parts.day = Some(number(rest, 2)?),
            Self::DayShort => _ = named(rest, &DAYS, None)?,
            Self::Hour24 | Self::Hour12 => parts.hour = number(rest, 2)?,
            Self::Meridian => parts.is_pm = Some(named(rest, &["AM", "PM"], None)? == 1),
            Self::Minute => parts.minute = number(rest, 2)?,
            Self::Second => parts.second = number(rest, 2)?,
            Self::Fraction(_) => {
                let digits = digits(rest, 9)?;
                parts.nanos = format!("{digits:0<9}").parse().ok()?;
            }
            Self::Offset(between) => {
                if let Some(behind) = rest.strip_prefix(['Z', 'z']) {
                    *rest = behind;
                    parts.offset = Some(0);
                    return Some(());
                }
                let (sign, hours) = signed_hours(rest)?;
                *rest = rest.strip_prefix(between).unwrap_or(rest);
                let minutes = i32::try_from(number(rest, 2)?).ok()?;
                parts.offset = Some(sign * (hours * 3600 + minutes * 60));
            }
            Self::OffsetHour => {
                let (sign, hours) = signed_hours(rest)?;
                parts.offset = Some(sign * hours * 3600);
            }
            Self::OffsetMinute => {
                let minutes = i32::try_from(number(rest, 2)?).ok()? * 60;
                let hours = parts.offset.unwrap_or(0);
                parts.offset = Some(if hours < 0 {
                    hours - minutes
                } else {
                    hours + minutes
                });
            }
            Self::Literal(expected) => *rest = rest.strip_prefix(*expected)?,
        }
        Some(())
    }

    fn write(&self, moment: NaiveDateTime, offset: i32, is_12: bool, into: &mut String) {
        let month = MONTHS.get(moment.month0() as usize).copied().unwrap_or_default();
        let sign = if offset < 0 { '-' } else { '+' };
        let (hours, minutes) = (offset.abs() / 3600, offset.abs() % 3600 / 60);
        let text = match self {
            Self::Year4 => format!("{:04}", moment.year()),
            Self::Year2 => format!("{:02}", moment.year().rem_euclid(100)),
            Self::Month => format!("{:02}", moment.month()),
            Self::MonthShort => month.get(..3).unwrap_or_default().to_owned(),
            Self::MonthLong => month.to_owned(),
            Self::Day => format!("{:02}", moment.day()),
            Self::DayShort => {
                let day = moment.weekday().num_days_from_monday() as usize;
                DAYS.get(day).copied().unwrap_or_default().to_owned()
            }
            Self::Hour24 if !is_12 => format!("{:02}", moment.hour()),
            Self::Hour24 | Self::Hour12 => format!("{:02}", moment.hour12().1),
            Self::Meridian => if moment.hour12().0 { "PM" } else { "AM" }.to_owned(),
            Self::Minute => format!("{:02}", moment.minute()),
            Self::Second => format!("{:02}", moment.second()),
            Self::Fraction(digits) => {
                let nanos = format!("{:09}", moment.nanosecond() % 1_000_000_000);
                nanos.get(..usize::from(*digits)).unwrap_or(&nanos).to_owned()
            }
            Self::Offset(between) => format!("{sign}{hours:02}{between}{minutes:02}"),
            Self::OffsetHour => format!("{sign}{hours:02}"),
            Self::OffsetMinute => format!("{minutes:02}"),
            Self::Literal(literal) => literal.to_string(),
        };
        into.push_str(&text);
    }
}

/// Writes a moment, whose wall clock is given, by a format.
pub(super) fn write(moment: NaiveDateTime, offset: i32, format: &str) -> String {
    let elements = elements(format);
    let is_12 = elements.contains(&Element::Meridian);
    let mut written = String::new();
    for element in elements {
        element.write(moment, offset, is_12, &mut written);
    }
    written
}

/// A moment as the casts of texts read it.
pub(super) fn canonical(read: Read) -> String {
    let plain = read.moment.format("%Y-%m-%d %H:%M:%S%.9f");
    match read.offset {
        None => plain.to_string(),
        Some(offset) => {
            let sign = if offset < 0 { '-' } else { '+' };
            format!(
                "{plain}{sign}{:02}:{:02}",
                offset.abs() / 3600,
                offset.abs() % 3600 / 60
            )
        }
    }
}

/// A moment as arrow writes it, and its offset.
pub(super) fn of_arrow(text: &str) -> Option<(NaiveDateTime, i32)> {
    if let Ok(zoned) = chrono::DateTime::parse_from_rfc3339(text) {
        return Some((zoned.naive_local(), zoned.offset().local_minus_utc()));
    }
    let text = text.trim_end_matches('Z');
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"] {
        if let Ok(moment) = NaiveDateTime::parse_from_str(text, format) {
            return Some((moment, 0));
        }
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some((date.and_time(NaiveTime::MIN), 0));
    }
    let time = NaiveTime::parse_from_str(text, "%H:%M:%S%.f").ok()?;
    Some((
        NaiveDate::default().and_time(NaiveTime::MIN) + Duration::nanoseconds(nanos(time)),
        0,
    ))
}

fn nanos(time: NaiveTime) -> i64 {
    i64::from(time.num_seconds_from_midnight()) * 1_000_000_000 + i64::from(time.nanosecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_by_their_format_and_written_back() {
        for (text, format, expected) in [
            ("2024-03-05", "YYYY-MM-DD", "2024-03-05 00:00:00.000000000"),
            ("05.03.24", "DD.MM.YY", "2024-03-05 00:00:00.000000000"),
            (
                "05/Mar/1970:04:05:06 -0730",
                "DD/MON/YYYY:HH24:MI:SS TZHTZM",
                "1970-03-05 04:05:06.000000000-07:30",
            ),
            (
                "March 05, 1999 04:05 PM",
                "MMMM DD, YYYY HH12:MI AM",
                "1999-03-05 16:05:00.000000000",
            ),
            (
                "Tue 2024-03-05T04:05:06.789+01:00",
                "DY YYYY-MM-DD\"T\"HH24:MI:SS.FF3TZH:TZM",
                "2024-03-05 04:05:06.789000000+01:00",
            ),
            (
                "20240305040506",
                "YYYYMMDDHH24MISS",
                "2024-03-05 04:05:06.000000000",
            ),
        ] {
            let got = read(text, format).unwrap_or_else(|| panic!("{text} is no {format}"));
            assert_eq!(canonical(got), expected, "{text} {format}");
            let back = write(got.moment, got.offset.unwrap_or(0), format);
            assert_eq!(back, text, "{format}");
        }
        for (text, format) in [
            ("2024-13-05", "YYYY-MM-DD"),
            ("2024-03-05x", "YYYY-MM-DD"),
            ("13:05 PM", "HH12:MI AM"),
            ("", "YYYY"),
            ("24:00:00", "HH24:MI:SS"),
        ] {
            assert_eq!(read(text, format), None, "{text} {format}");
        }
    }
}
