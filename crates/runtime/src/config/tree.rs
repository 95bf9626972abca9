//! The file as a tree whose every node knows its place.
//!
//! YAML is parsed first, before any variable is looked at, so that no value can change the shape of the file. Scalars
//! keep the text that stands in the file: `08` stays `08`, `1e3` stays `1e3`; what a text means is its key's business.
//! Anchors, aliases and merge keys work, within the parser's limits against expansion; a duplicate key is an error.

use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::problem::{Place, Problem};

/// The largest configuration file, in bytes.
pub(super) const MAX_FILE_BYTES: usize = 1024 * 1024;

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A key and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) name: String,
}

/// What stands at a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Empty,
    /// Any scalar, as text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<(Key, Node)>),
}

impl Value {
    /// What it is, in words.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Empty => "nothing",
            Self::Text(_) => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Parses the text of one document.
pub(super) fn parse(text: &str) -> Result<Node, Problem> {
    let at = |place, message: String| Problem {
        place,
        key: String::new(),
        message,
    };
    if text.len() > MAX_FILE_BYTES {
        return Err(at(
            Place::default(),
            format!("the file has more than {MAX_FILE_BYTES} bytes"),
        ));
    }
    let options = serde_saphyr::options! { with_snippet: false };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Ok(node(raw, text)),
        Err(error) => {
            let place = error.location().map(place).unwrap_or_default();
            Err(at(place, syntax_message(&error.to_string(), text, place)))
        }
    }
}

/// The parser's text without the place (ours stands in front already) and without advice to programmers.
fn syntax_message(error: &str, text: &str, place: Place) -> String {
    let message = error.split(" at line ").next().unwrap_or_default();
    let message = message
        .split(", set DuplicateKeyPolicy")
        .next()
        .unwrap_or_default()
        .trim();
    let line = usize::try_from(place.line.saturating_sub(1))
        .ok()
        .and_then(|n| text.lines().nth(n));
    let quotes = if message.contains(" flow ") && line.is_some_and(|line| line.contains("${")) {
        "; inside `{...}` and `[...]` a value with `${...}` needs quotes"
    } else {
        ""
    };
    format!("not valid YAML: {message}{quotes}")
}

fn place(location: serde_saphyr::Location) -> Place {
    Place {
        line: location.line(),
        column: location.column(),
    }
}

fn node(raw: Spanned<Raw>, text: &str) -> Node {
    let span = raw.defined.span();
    let value = match raw.value {
        Raw::Empty => Value::Empty,
        Raw::Text(text) => Value::Text(text),
        Raw::Typed(otherwise) => {
            // A plain scalar that YAML reads as a number or a boolean: what stands in the file counts.
            let found = span
                .byte_offset()
                .zip(span.byte_len())
                .and_then(|(start, length)| {
                    let start = usize::try_from(start).ok()?;
                    text.get(start..start.checked_add(usize::try_from(length).ok()?)?)
                });
            Value::Text(found.map_or(otherwise, |text| text.trim().to_owned()))
        }
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, text)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    (
                        Key {
                            place: place(key.defined),
                            name: key.value,
                        },
                        node(value, text),
                    )
                })
                .collect(),
        ),
    };
    Node {
        place: place(raw.defined),
        value,
    }
}

/// What the parser gives, before scalars are texts again.
enum Raw {
    Empty,
    Text(String),
    Typed(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping, a list or a single value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Empty)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Empty)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Typed(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get<'a>(node: &'a Node, key: &str) -> &'a Node {
        let Value::Map(entries) = &node.value else {
            panic!("no mapping: {node:?}")
        };
        &entries
            .iter()
            .find(|(found, _)| found.name == key)
            .expect("the key is there")
            .1
    }

    fn text(node: &Node) -> &str {
        let Value::Text(text) = &node.value else {
            panic!("no text: {node:?}")
        };
        text
    }

    #[test]
    fn scalars_keep_the_text_of_the_file_and_know_their_place() {
        let tree = parse("a: 08\nb:\n  c: 1e3   # note\n  d: yes\n  e: '1.50'\n  f: -1.50\n  é: ~\n")
            .expect("valid");
        let b = get(&tree, "b");
        assert_eq!(text(get(&tree, "a")), "08");
        assert_eq!(get(&tree, "a").place, Place { line: 1, column: 4 });
        assert_eq!(text(get(b, "c")), "1e3");
        assert_eq!(text(get(b, "d")), "yes");
        assert_eq!(text(get(b, "e")), "1.50");
        assert_eq!(text(get(b, "f")), "-1.50");
        assert_eq!(get(b, "é").value, Value::Empty);
        assert_eq!(get(b, "f").place, Place { line: 6, column: 6 });
    }

    #[test]
    fn aliases_and_merges_are_followed() {
        let tree = parse("x: &x {a: 1}\ny: *x\nz:\n  <<: *x\n  b: 2\n").expect("valid");
        assert_eq!(text(get(get(&tree, "y"), "a")), "1");
        assert_eq!(text(get(get(&tree, "z"), "a")), "1");
    }

    #[test]
    fn a_billion_laughs_are_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let row = vec![format!("*a{}", n - 1); 10].join(", ");
            text.push_str(&format!("a{n}: &a{n} [{row}]\n"));
        }
        assert!(parse(&text).is_err());
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"#".repeat(MAX_FILE_BYTES + 1)).is_err());
    }
}
