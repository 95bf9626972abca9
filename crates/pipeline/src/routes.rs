//! Where the rows of a shard go: to one pipe, or by a key of each record to several.
//!
//! What it is: [`Routes`] say which pipe takes the rows whose key has which value. A [`Placement`] is that, or a single pipe,
//! as it stands in a shard's lease row.
//!
//! How it works: each pipe of the routes has its own channel for each shard, and so its own offset token. A row goes to its
//! channel only if it stands behind that channel's token; the shard's position moves when every channel has proved its rows
//! up to there. A token therefore speaks of the routes that it was written under, which is why they stand in the row: under
//! other routes it would say "is here" of rows that went elsewhere. Changed routes are taken only when no token stands behind
//! the shard's position any more.
//!
//! What it guarantees: the text of a placement is frozen (golden test), and the same routes have the same text. A text that
//! cannot be read is never guessed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;

use frazil_model::Position;
use serde::{Deserialize, Serialize};

/// The most pipes that the rows of one connector may go to: each shard has a channel on every one of them.
pub const MOST_PIPES: usize = 64;
/// The format of the text.
const VERSION: u8 = 1;

/// Which pipe takes which rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Routes {
    #[serde(rename = "routes")]
    version: u8,
    /// The key of the record that decides: a member of its outermost object, by its exact name.
    key: String,
    /// The pipe for each value.
    pipes: BTreeMap<String, String>,
    /// The pipe for every other value, and for records without the key; none: they become dead letters.
    others: Option<String>,
}

impl Routes {
    /// Routes by `key`: rows with one of these values go to its pipe, all others to `others`, or where there is none they become
    /// dead letters. The value is a text, or a number or truth value as it is written in the record.
    #[must_use]
    pub fn new(key: &str, pipes: BTreeMap<String, String>, others: Option<String>) -> Self {
        Self {
            version: VERSION,
            key: key.to_owned(),
            pipes,
            others,
        }
    }
}

/// Where the rows of a shard go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Placement {
    /// All to this pipe.
    One(String),
    /// To several.
    Routed(Routes),
}

impl Placement {
    /// Reads what stands in a lease row; none, where it is of a form that is not known here.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if !text.starts_with('{') {
            return Some(Self::One(text.to_owned()));
        }
        let routes: Routes = serde_json::from_str(text).ok()?;
        (routes.version == VERSION).then_some(Self::Routed(routes))
    }

    /// The pipes, each once; the order is always the same.
    pub(crate) fn pipes(&self) -> Vec<&str> {
        match self {
            Self::One(pipe) => vec![pipe],
            Self::Routed(routes) => {
                let all: BTreeSet<&str> = routes
                    .pipes
                    .values()
                    .chain(&routes.others)
                    .map(String::as_str)
                    .collect();
                all.into_iter().collect()
            }
        }
    }

    /// What finds the pipe of a row; none where there is but one pipe. `tokens` are those of its channels, in the order of
    /// [`Placement::pipes`].
    pub(crate) fn router(&self, tokens: Vec<Option<Position>>) -> Option<Router> {
        let Self::Routed(routes) = self else { return None };
        let pipes = self.pipes();
        let index = |pipe: &String| {
            let found = pipes.binary_search(&pipe.as_str());
            found.expect("every pipe of the routes is among them")
        };
        Some(Router {
            key: routes.key.clone().into_bytes(),
            values: routes
                .pipes
                .iter()
                .map(|(value, pipe)| (value.clone().into_bytes(), index(pipe)))
                .collect(),
            others: routes.others.as_ref().map(index),
            tokens,
        })
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(pipe) => f.write_str(pipe),
            Self::Routed(routes) => {
                let text = serde_json::to_string(routes).expect("strings are always JSON");
                f.write_str(&text)
            }
        }
    }
}

/// Finds the pipe of each row.
#[derive(Debug)]
pub(crate) struct Router {
    key: Vec<u8>,
    values: HashMap<Vec<u8>, usize>,
    others: Option<usize>,
    /// Up to where each channel has its rows.
    tokens: Vec<Option<Position>>,
}

impl Router {
    /// The member of a record that decides.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The pipe of a row by the text of the member's value, of which `None` is said where the record has no such member.
    pub(crate) fn pipe_of(&self, record: &[u8], value: Option<&Range<usize>>) -> Option<usize> {
        let text = value
            .and_then(|range| record.get(range.clone()))
            .unwrap_or_default();
        let found = match text {
            [b'"', inside @ .., b'"'] if !inside.contains(&b'\\') => self.values.get(inside),
            [b'"', ..] => serde_json::from_slice::<String>(text)
                .ok()
                .and_then(|text| self.values.get(text.as_bytes())),
            [] | [b'{' | b'[' | b'n', ..] => None,
            // Numbers and truth values, as they are written.
            plain => self.values.get(plain),
        };
        found.copied().or(self.others)
    }

    /// Whether a pipe has this row already. Rows are asked about in their order.
    pub(crate) fn has(&mut self, pipe: usize, sequence: &str, sub_sequence: u64) -> bool {
        let Some(token) = self.tokens.get_mut(pipe) else {
            return false;
        };
        let has = token
            .as_ref()
            .is_some_and(|token| token.settles(sequence, sub_sequence, 0));
        if !has {
            *token = None;
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::whole;

    fn routes(others: Option<&str>) -> Routes {
        let pipes = [
            ("click", "B"),
            ("view", "B"),
            ("order \"x\"", "A"),
            ("7", "C"),
            ("true", "C"),
        ];
        let pipes = pipes.map(|(value, pipe)| (value.to_owned(), pipe.to_owned()));
        Routes::new("type", BTreeMap::from(pipes), others.map(str::to_owned))
    }

    /// Frozen: these texts stand in users' lease tables.
    #[test]
    fn text_golden() {
        let golden = r#"{"routes":1,"key":"type","pipes":{"7":"C","click":"B","order \"x\"":"A","true":"C","view":"B"},"others":"D"}"#;
        let routed = Placement::Routed(routes(Some("D")));
        assert_eq!(routed.to_string(), golden);
        assert_eq!(Placement::parse(golden), Some(routed));
        assert_eq!(
            Placement::parse("A.B.C.D"),
            Some(Placement::One("A.B.C.D".to_owned()))
        );
        for unknown in [
            golden.replace(":1,", ":2,").as_str(),
            golden.replace("}", ",\"more\":1}").as_str(),
            "{",
        ] {
            assert_eq!(Placement::parse(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_row_goes_where_its_value_says() {
        let placement = Placement::Routed(routes(Some("D")));
        assert_eq!(placement.pipes(), ["A", "B", "C", "D"]);
        let router = placement.router(vec![None; 4]).expect("several pipes");
        let strict = Placement::Routed(routes(None));
        let strict = strict.router(vec![None; 3]).expect("several pipes");
        for (value, pipe) in [
            (r#""click""#, Some(1)),
            (r#""view""#, Some(1)),
            (r#""\u0063lick""#, Some(1)),
            (r#""order \"x\"""#, Some(0)),
            ("7", Some(2)),
            (r#""7""#, Some(2)),
            ("true", Some(2)),
            ("7.0", None),
            (r#""Click""#, None),
            (r#""""#, None),
            ("null", None),
            ("[7]", None),
            (r#"{"click":1}"#, None),
            ("", None),
        ] {
            let range = 0..value.len();
            let found = [&router, &strict].map(|router| router.pipe_of(value.as_bytes(), Some(&range)));
            assert_eq!(found, [pipe.or(Some(3)), pipe], "{value}");
        }
        assert_eq!(router.pipe_of(b"", None), Some(3));
    }

    #[test]
    fn a_pipe_has_what_its_own_token_settles() {
        let placement = Placement::Routed(routes(None));
        let mut router = placement
            .router(vec![Some(whole("20")), Some(whole("10")), None])
            .expect("several pipes");
        assert!(router.has(0, "15", 0) && router.has(1, "9", 3) && router.has(1, "10", 0));
        assert!(!router.has(1, "15", 0) && !router.has(2, "1", 0));
        assert!(router.has(0, "20", 7) && !router.has(0, "21", 0));
    }
}
