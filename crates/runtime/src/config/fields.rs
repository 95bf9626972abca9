//! Reading a mapping key by key, keeping every problem.
//!
//! A [`Fields`] hands out the values of one mapping; what was never asked for is an unknown key. Each getter answers
//! `None` where the key is absent or bad, and has then noted why, if that is a problem. So a reader asks for all of its
//! keys first and puts its struct together afterwards, and a user sees all problems at once.

use std::cell::RefCell;
use std::path::Path;

use frazil_model::Secret;

use super::SecretSource;
use super::interpolate::{Variables, fill, secret_file};
use super::keys;
use super::problem::{Place, Problem};
use super::tree::{Key, Node, Value};

/// How much of a bad value is shown.
const SHOWN_CHARS: usize = 60;

/// What the whole file shares: where values come from, and the problems so far.
pub(super) struct Reading<'a> {
    pub(super) variables: &'a Variables,
    pub(super) base: &'a Path,
    pub(super) problems: RefCell<Vec<Problem>>,
    /// Every key that was asked for, without list indexes.
    pub(super) asked: RefCell<Vec<String>>,
}

impl Reading<'_> {
    pub(super) fn problem(&self, place: Place, key: &str, message: impl Into<String>) {
        let problem = Problem {
            place,
            key: key.to_owned(),
            message: message.into(),
        };
        self.problems.borrow_mut().push(problem);
    }

    /// The text of a single value, with variables put in; `parse` says what it expects instead. A value that came from
    /// a variable, or is a secret, is never shown.
    pub(super) fn scalar<T>(
        &self,
        node: &Node,
        key: &str,
        shown: bool,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let Value::Text(text) = &node.value else {
            let found = node.value.describe();
            self.problem(node.place, key, format!("expected a single value, found {found}"));
            return None;
        };
        let filled = match fill(text, self.variables, self.base) {
            Ok(filled) => filled,
            Err(message) => {
                self.problem(node.place, key, message);
                return None;
            }
        };
        match parse(&filled.text) {
            Ok(value) => Some(value),
            Err(expected) => {
                let found = if !filled.from.is_empty() {
                    format!("; the value comes from {}", filled.from.join(" and "))
                } else if shown {
                    format!("; found `{}`", text.chars().take(SHOWN_CHARS).collect::<String>())
                } else {
                    String::new()
                };
                self.problem(node.place, key, format!("{expected}{found}"));
                None
            }
        }
    }
}

/// One mapping of the file.
pub(super) struct Fields<'a> {
    reading: &'a Reading<'a>,
    place: Place,
    path: String,
    entries: &'a [(Key, Node)],
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Opens a node that must be a mapping. `path` is its key; empty for the whole file.
    pub(super) fn open(reading: &'a Reading<'a>, node: &'a Node, path: &str) -> Option<Self> {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            other => {
                reading.problem(
                    node.place,
                    path,
                    format!("expected a mapping of keys, found {}", other.describe()),
                );
                return None;
            }
        };
        // A block mapping has the place of its first key.
        let place = entries.first().map_or(node.place, |(key, _)| key.place);
        Some(Self {
            reading,
            place,
            path: path.to_owned(),
            entries,
            asked: Vec::new(),
        })
    }

    /// The full name of a key.
    pub(super) fn key(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The place of the mapping.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Notes a problem with a key, at the place of its value.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        let found = self.entries.iter().find(|(found, _)| found.name == key);
        let place = found.map_or(self.place, |(_, node)| node.place);
        self.reading.problem(place, &self.key(key), message);
    }

    /// The node of a key that may be absent.
    pub(super) fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        self.asked.push(key);
        self.reading
            .asked
            .borrow_mut()
            .push(keys::without_indexes(&self.key(key)));
        let (_, node) = self.entries.iter().find(|(found, _)| found.name == key)?;
        if node.value == Value::Empty {
            self.problem(key, "has no value; give one or remove the key");
            return None;
        }
        Some(node)
    }

    /// Whether the key stands in the file.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(found, _)| found.name == key)
    }

    /// A single value that may be absent.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.node(key)?;
        self.reading.scalar(node, &self.key(key), true, parse)
    }

    /// A list of single values; empty where it is absent.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let Some(node) = self.node(key) else {
            return (!self.has(key)).then(Vec::new);
        };
        let Value::List(items) = &node.value else {
            let found = node.value.describe();
            self.problem(key, format!("expected a list, found {found}"));
            return None;
        };
        let name = self.key(key);
        let item = |(index, item): (usize, &Node)| {
            self.reading
                .scalar(item, &format!("{name}[{index}]"), true, &parse)
        };
        items.iter().enumerate().map(item).collect()
    }

    /// A single value that must be there.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.must_have(key);
        self.optional(key, parse)
    }

    /// Notes a problem where the key is absent.
    pub(super) fn must_have(&self, key: &str) {
        if !self.has(key) {
            self.reading
                .problem(self.place, &self.path, format!("the key `{key}` is missing"));
        }
    }

    /// A secret that may be absent. It is never shown.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<Secret> {
        let node = self.node(key)?;
        let parse = |text: &str| match text {
            "" => Err("expected a secret, found an empty text".to_owned()),
            text => Ok(Secret::new(text)),
        };
        self.reading.scalar(node, &self.key(key), false, parse)
    }

    /// A secret that may be absent, or the file that it stands in and will be read from again.
    pub(super) fn secret_source(&mut self, key: &'static str) -> Option<SecretSource> {
        let text = self.secret(key)?;
        let node = self.node(key)?;
        let Value::Text(written) = &node.value else {
            return None;
        };
        let file = secret_file(written, self.reading.base);
        Some(file.map_or(SecretSource::Text(text), SecretSource::File))
    }

    /// A secret by one of two keys: itself, or the path of its file.
    pub(super) fn secret_or_file(
        &mut self,
        key: &'static str,
        file_key: &'static str,
    ) -> Option<SecretSource> {
        let text = self.secret_source(key);
        let base = self.reading.base;
        let file = self.optional(file_key, |text| match text {
            "" => Err("expected a path".to_owned()),
            text => Ok(base.join(text)),
        });
        if self.has(key) && self.has(file_key) {
            self.problem(key, format!("give either `{key}` or `{file_key}`, not both"));
        }
        text.or_else(|| file.map(SecretSource::File))
    }

    /// A mapping that may be absent.
    pub(super) fn mapping(&mut self, key: &'static str) -> Option<Fields<'a>> {
        let node = self.node(key)?;
        Fields::open(self.reading, node, &self.key(key))
    }

    /// A list of mappings that may be absent.
    pub(super) fn mappings(&mut self, key: &'static str) -> Option<Vec<Fields<'a>>> {
        let node = self.node(key)?;
        let Value::List(items) = &node.value else {
            let found = node.value.describe();
            self.problem(key, format!("expected a list, found {found}"));
            return None;
        };
        let name = self.key(key);
        let item =
            |(index, item): (usize, &'a Node)| Fields::open(self.reading, item, &format!("{name}[{index}]"));
        items.iter().enumerate().map(item).collect()
    }

    /// A key that is planned and does not exist yet: refused with its own message.
    pub(super) fn refuse(&mut self, key: &'static str, message: &str) {
        self.asked.push(key);
        if self.has(key) {
            self.problem(key, message);
        }
    }

    /// Ends the reading of this mapping: what was not asked for is unknown.
    pub(super) fn finish(self) {
        for (key, _) in self.entries {
            if self.asked.contains(&key.name.as_str()) {
                continue;
            }
            let hint = keys::hint(&self.path, &key.name, &self.asked);
            self.reading
                .problem(key.place, &self.key(&key.name), format!("unknown key; {hint}"));
        }
    }
}
