//! The elements of a JSON value, as FLATTEN gives them.
//!
//! Source: Snowflake documentation, "FLATTEN". A value that is no object and no array has none.

use std::borrow::Cow;

use super::json::{Kind, Raw};
use super::parts::{elements, members};

/// What is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct How {
    pub(crate) objects: bool,
    pub(crate) arrays: bool,
    /// Elements of elements, too.
    pub(crate) recursive: bool,
}

/// One element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    /// Of an object's member.
    pub(crate) key: Option<Cow<'a, str>>,
    /// Of an array's element.
    pub(crate) index: Option<i64>,
    /// From the value that was opened.
    pub(crate) path: String,
    /// As JSON.
    pub(crate) value: &'a str,
    /// What it is an element of, as JSON.
    pub(crate) this: &'a str,
}

/// Calls `each` for the elements of a JSON text, which stands at `path` of what was asked for.
///
/// # Errors
/// Those of `each`, which end it.
pub(crate) fn flatten<'a, E>(
    text: &'a str,
    path: &str,
    how: How,
    each: &mut impl FnMut(Element<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let text = text.trim();
    let Ok(raw) = Raw::parse(text) else {
        return Ok(());
    };
    let mut of = |key: Option<Cow<'a, str>>, index: Option<i64>, value: Raw<'a>| {
        let path = match (&key, index) {
            (Some(key), _) if is_plain(key) && path.is_empty() => key.to_string(),
            (Some(key), _) if is_plain(key) => format!("{path}.{key}"),
            (Some(key), _) => format!("{path}['{key}']"),
            (None, index) => format!("{path}[{}]", index.unwrap_or_default()),
        };
        let deeper = how.recursive && matches!(value.kind, Kind::Object | Kind::Array);
        let inner = deeper.then(|| path.clone());
        each(Element {
            key,
            index,
            path,
            value: value.text,
            this: text,
        })?;
        match inner {
            Some(path) => flatten(value.text, &path, how, each),
            None => Ok(()),
        }
    };
    match raw.kind {
        Kind::Object if how.objects => {
            for (key, value) in members(text).unwrap_or_default() {
                of(Some(key), None, value)?;
            }
        }
        Kind::Array if how.arrays => {
            for (index, value) in (0..).zip(elements(text).unwrap_or_default()) {
                of(None, Some(index), value)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Whether a key needs no brackets in a path.
fn is_plain(key: &str) -> bool {
    let begins = key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    begins
        && key
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}
