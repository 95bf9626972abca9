//! Values by a format or a time zone.

use chrono::{Offset as _, TimeZone as _};

use super::super::formats;
use super::{Answer, Given, Is, at, cut, first, upper_hex};
use crate::snowflake::rows::unhex;

fn zone(name: &str) -> std::result::Result<chrono_tz::Tz, String> {
    name.parse().map_err(|_| format!("Unknown time zone: '{name}'"))
}

fn wall(text: &str) -> std::result::Result<(chrono::NaiveDateTime, i32), String> {
    formats::of_arrow(text).ok_or_else(|| format!("Timestamp '{text}' is not recognized"))
}

/// `CONVERT_TIMEZONE(target, moment)`: the moment with the target's wall clock and offset.
pub(super) fn in_zone(given: &[Given<'_>]) -> Answer {
    let target = zone(first(given)?)?;
    let (moment, offset) = wall(at(given, 1).unwrap_or_default())?;
    let there = target.from_utc_datetime(&(moment - chrono::Duration::seconds(i64::from(offset))));
    Ok(Some(formats::canonical(formats::Read {
        moment: there.naive_local(),
        offset: Some(there.offset().fix().local_minus_utc()),
    })))
}

/// `CONVERT_TIMEZONE(source, target, moment)`: one wall clock as the other.
pub(super) fn between_zones(given: &[Given<'_>]) -> Answer {
    let (source, target) = (zone(first(given)?)?, zone(at(given, 1).unwrap_or_default())?);
    let (moment, _) = wall(at(given, 2).unwrap_or_default())?;
    // A moment that summer time leaves out is that of the hour before.
    let here = source.from_local_datetime(&moment);
    let here = here.earliest().or_else(|| {
        source
            .from_local_datetime(&(moment - chrono::Duration::hours(1)))
            .earliest()
            .map(|before| before + chrono::Duration::hours(1))
    });
    let here = here.ok_or_else(|| format!("Timestamp '{moment}' is not in {source}"))?;
    Ok(Some(formats::canonical(formats::Read {
        moment: here.with_timezone(&target).naive_local(),
        offset: None,
    })))
}

fn moment_as(given: &[Given<'_>]) -> std::result::Result<Option<formats::Read>, String> {
    let (text, format) = (first(given)?, at(given, 1).unwrap_or_default());
    if format.eq_ignore_ascii_case("AUTO") {
        return Err("the format AUTO is that of no format".to_owned());
    }
    let read = formats::read(text, format);
    read.map(Some)
        .ok_or_else(|| format!("Can't parse '{text}' as timestamp with format '{format}'"))
}

/// `TO_CHAR(moment or binary, format)`
pub(super) fn char_as(given: &[Given<'_>]) -> Answer {
    let (text, format) = (first(given)?, at(given, 1).unwrap_or_default());
    match given.first().map(|given| given.is) {
        Some(Is::Moment) => {
            let (moment, offset) = wall(text)?;
            Ok(Some(formats::write(moment, offset, format)))
        }
        Some(Is::Bytes) => {
            let bytes = unhex(text).unwrap_or_default();
            match format.to_uppercase().as_str() {
                "HEX" => Ok(Some(text.to_owned())),
                "BASE64" => Ok(Some(base64(&bytes))),
                "UTF-8" | "UTF8" => String::from_utf8(bytes)
                    .map(Some)
                    .map_err(|_| "the binary is no UTF-8".to_owned()),
                _ => Err(format!("'{format}' is no format of binary (HEX, BASE64, UTF-8)")),
            }
        }
        _ => Err(format!(
            "the local Snowflake does not know TO_CHAR of a number with a format ('{format}')"
        )),
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// `TO_BINARY(text, format)` as hexadecimal digits.
pub(super) fn binary_as(given: &[Given<'_>]) -> Answer {
    use base64::Engine as _;
    let (text, format) = (first(given)?, at(given, 1).unwrap_or_default());
    let bytes = match format.to_uppercase().as_str() {
        "HEX" => unhex(text),
        "BASE64" => base64::engine::general_purpose::STANDARD.decode(text).ok(),
        "UTF-8" | "UTF8" => Some(text.as_bytes().to_vec()),
        _ => return Err(format!("'{format}' is no format of binary (HEX, BASE64, UTF-8)")),
    };
    let bytes = bytes
        .ok_or_else(|| format!("The following string is not a legal {format}-encoded value: '{text}'"))?;
    Ok(Some(upper_hex(&bytes)))
}

/// `TO_NUMBER(text, format)`: `$`, commas, a sign and a point where the format has them; `X` for hexadecimal digits.
pub(super) fn number_as(given: &[Given<'_>]) -> Answer {
    let (text, format) = (
        first(given)?.trim(),
        at(given, 1).unwrap_or_default().to_uppercase(),
    );
    let wrong = || format!("Can't parse '{text}' as number with format '{format}'");
    if format.chars().all(|letter| letter == 'X') && !format.is_empty() {
        let value = i128::from_str_radix(text, 16).map_err(|_| wrong())?;
        return Ok(Some(value.to_string()));
    }
    if !format.chars().all(|letter| "90$,.SMITE".contains(letter)) {
        return Err(format!(
            "the local Snowflake does not know the number format '{format}'"
        ));
    }
    let plain: String = text
        .chars()
        .filter(|sign| !(*sign == '$' || *sign == ',') || !format.contains(*sign))
        .collect();
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let (before, behind) = cut(unsigned, '.');
    let digits = |part: &str| part.bytes().all(|digit| digit.is_ascii_digit());
    let room = |part: &str| part.chars().filter(|letter| "90".contains(*letter)).count();
    let (whole_room, point_room) = cut(&format, '.');
    let fits = format.starts_with("TM")
        || before.len() <= room(whole_room) && behind.unwrap_or("").len() <= room(point_room.unwrap_or(""));
    if unsigned.is_empty() || !digits(before) || !digits(behind.unwrap_or("")) || !fits {
        return Err(wrong());
    }
    Ok(Some(plain.trim_start_matches('+').to_owned()))
}

/// A moment by a format, as the cast reads it.
pub(super) fn moment(given: &[Given<'_>]) -> Answer {
    moment_as(given).map(|read| read.map(formats::canonical))
}

/// The same; what is none is NULL.
pub(super) fn try_moment(given: &[Given<'_>]) -> Answer {
    Ok(moment_as(given).ok().flatten().map(formats::canonical))
}

/// Its time of day.
pub(super) fn time(given: &[Given<'_>]) -> Answer {
    Ok(moment_as(given)?.map(|read| read.moment.format("%H:%M:%S%.9f").to_string()))
}
