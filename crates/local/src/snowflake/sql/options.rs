//! Options of a statement about users, tokens, integrations and network objects: `NAME = value` with texts, numbers, names and lists
//! of them.

use sqlparser::tokenizer::Token;

use super::words::Words;
use super::{Result, SqlError};

/// A value of an option: texts and names, of a list or alone.
pub(super) struct Value {
    is_list: bool,
    pub(super) items: Vec<Item>,
}

/// One text, number or name.
pub(super) enum Item {
    Text(String),
    Number(String),
    /// Its parts.
    Name(Vec<String>),
}

impl Item {
    /// The name that is meant, also where it stands in a text.
    pub(super) fn name(&self) -> Result<Vec<String>> {
        match self {
            Self::Name(parts) => Ok(parts.clone()),
            Self::Text(text) | Self::Number(text) => {
                let words = Words::of(text)?;
                let name = words.name(0).filter(|(_, end)| *end == words.len());
                name.map(|(parts, _)| parts)
                    .ok_or_else(|| SqlError::syntax(format!("'{text}' is no name")))
            }
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Text(text) | Self::Number(text) => text.clone(),
            Self::Name(parts) => parts.join("."),
        }
    }
}

impl Value {
    pub(super) fn one(&self, option: &str) -> Result<String> {
        match (self.is_list, self.items.as_slice()) {
            (false, [item]) => Ok(item.text()),
            _ => Err(SqlError::syntax(format!("{option} wants one value"))),
        }
    }

    /// The one text, in quotes.
    pub(super) fn quoted(&self, option: &str) -> Result<String> {
        match (self.is_list, self.items.as_slice()) {
            (false, [Item::Text(text)]) => Ok(text.clone()),
            _ => Err(SqlError::syntax(format!("{option} wants a text"))),
        }
    }

    /// The one object's name, which is folded where it stands in a text.
    pub(super) fn folded(&self, option: &str) -> Result<String> {
        match (self.is_list, self.items.as_slice()) {
            (false, [Item::Text(text)]) => Ok(super::folded(text)),
            _ => self.one(option),
        }
    }

    pub(super) fn truth(&self, option: &str) -> Result<bool> {
        Ok(self.word(option, &["TRUE", "FALSE"])? == "TRUE")
    }

    /// A whole number of a range.
    pub(super) fn whole(&self, option: &str, range: std::ops::RangeInclusive<i64>) -> Result<i64> {
        let number = self.one(option)?.parse().ok();
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            SqlError::syntax(format!(
                "{option} is a whole number from {} to {}",
                range.start(),
                range.end()
            ))
        })
    }

    pub(super) fn word(&self, option: &str, known: &[&str]) -> Result<String> {
        let word = self.one(option)?.to_uppercase();
        if known.contains(&word.as_str()) {
            return Ok(word);
        }
        Err(SqlError::syntax(format!(
            "invalid value '{word}' for property '{option}'"
        )))
    }

    pub(super) fn texts(&self) -> Vec<String> {
        self.items.iter().map(Item::text).collect()
    }
}

/// `NAME = value`, as often as it stands there, with commas or without.
pub(super) fn options(words: &Words, mut at: usize) -> Result<Vec<(String, Value)>> {
    let mut options = Vec::new();
    while at < words.len() {
        if words.get(at) == Some(&Token::Comma) {
            at += 1;
            continue;
        }
        let name = words
            .word(at)
            .filter(|_| words.get(at + 1) == Some(&Token::Eq))
            .ok_or_else(|| SqlError::syntax("an option with '=' and its value is expected"))?;
        at += 2;
        let list = match words.get(at) {
            Some(Token::LParen) => Some(
                words
                    .closing(at)
                    .ok_or_else(|| SqlError::syntax(format!("the list of {name} does not end")))?,
            ),
            _ => None,
        };
        let end = list.unwrap_or(words.len());
        at += usize::from(list.is_some());
        let mut items = Vec::new();
        while at < end {
            if let Some(text) = words.text(at) {
                items.push(Item::Text(text.to_owned()));
                at += 1;
            } else if let Some(Token::Number(number, _)) = words.get(at) {
                items.push(Item::Number(number.clone()));
                at += 1;
            } else if let Some((parts, next)) = words.name(at) {
                items.push(Item::Name(parts));
                at = next;
            } else if words.get(at) != Some(&Token::Comma) || list.is_none() {
                break;
            } else {
                at += 1;
            }
            if list.is_none() {
                break;
            }
        }
        if at < end && list.is_some() || list.is_none() && items.is_empty() {
            return Err(SqlError::syntax(format!("the value of {name} cannot be read")));
        }
        at += usize::from(list.is_some());
        options.push((
            name.to_owned(),
            Value {
                is_list: list.is_some(),
                items,
            },
        ));
    }
    Ok(options)
}
