//! Parts of texts: SUBSTR, CHARINDEX, STRTOK. Places count characters, from 1.

use super::{Answer, Given, at, first};

fn number(given: &[Given<'_>], index: usize) -> std::result::Result<Option<i64>, String> {
    let read = |text: &str| {
        let whole = text.split('.').next().unwrap_or_default();
        whole
            .parse()
            .map_err(|_| format!("Numeric value '{text}' is not recognized"))
    };
    at(given, index).map(read).transpose()
}

/// `SUBSTR(text, start [, length])`: 0 is the first character, and a negative start counts from the end.
pub(super) fn substr(given: &[Given<'_>]) -> Answer {
    let text = first(given)?;
    let start = number(given, 1)?.unwrap_or(1);
    let length = number(given, 2)?;
    let characters = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let skipped = match start {
        0 => 0,
        1.. => start - 1,
        _ if -start > characters => return Ok(Some(String::new())),
        _ => characters + start,
    };
    let places = |number: i64| usize::try_from(number.max(0)).unwrap_or(usize::MAX);
    let rest = text.chars().skip(places(skipped));
    Ok(Some(match length {
        Some(length) => rest.take(places(length)).collect(),
        None => rest.collect(),
    }))
}

/// `CHARINDEX(part, text [, start])`: where a part begins, 0 if nowhere.
pub(super) fn charindex(given: &[Given<'_>]) -> Answer {
    let (part, text) = (first(given)?, at(given, 1).unwrap_or_default());
    let start = usize::try_from(number(given, 2)?.unwrap_or(1).max(1) - 1).unwrap_or(usize::MAX);
    let from = text
        .char_indices()
        .nth(start)
        .map_or(text.len(), |(offset, _)| offset);
    let found = text.get(from..).and_then(|rest| rest.find(part));
    let place = found.map_or(0, |offset| text[..from + offset].chars().count() + 1);
    Ok(Some(place.to_string()))
}

/// `STRTOK(text [, delimiters [, number]])`: a part between characters that are delimiters; NULL where there are fewer parts.
pub(super) fn strtok(given: &[Given<'_>]) -> Answer {
    let text = first(given)?;
    let delimiters = at(given, 1).unwrap_or(" ");
    let wanted = usize::try_from(number(given, 2)?.unwrap_or(1)).unwrap_or(0);
    let mut parts = text
        .split(|sign| delimiters.contains(sign))
        .filter(|part| !part.is_empty());
    Ok(match wanted {
        0 => None,
        wanted => parts.nth(wanted - 1).map(ToOwned::to_owned),
    })
}
