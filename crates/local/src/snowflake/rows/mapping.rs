//! How pipes make rows of records.

use super::Value;

/// How a pipe makes a table's row of a record.
#[derive(Debug, Clone, Copy)]
pub enum Mapping<'m> {
    /// By the names of its keys; ignoring case, the exact case wins.
    ByName {
        /// Only the exact case counts.
        case_sensitive: bool,
    },
    /// By expressions over the record.
    Select(&'m dyn Select),
    /// The pipe does not fit its table any more: every row fails with this.
    Broken(&'m str),
}

impl Mapping<'_> {
    /// The default pipe's.
    pub const DEFAULT: Self = Self::ByName {
        case_sensitive: false,
    };
}

/// Expressions over records.
pub trait Select: std::fmt::Debug {
    /// The columns that they fill, as places in the table.
    fn targets(&self) -> &[usize];

    /// For each record, which is a JSON object, a value for each target, or why there is none.
    fn select(&self, records: &[&str]) -> Vec<Result<Vec<Picked>, String>>;
}

/// A value that an expression gave; see [`Value`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Picked {
    /// SQL NULL.
    Null,
    /// VARIANT.
    Json(String),
    /// A number or boolean.
    Plain(String),
    /// What is written as text.
    Text(String),
    /// A timestamp, without loss.
    Moment(String),
}

impl Picked {
    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Json(json) => Value::Json(json),
            Self::Plain(text) => Value::Plain(text),
            Self::Text(text) => Value::Text(text),
            Self::Moment(text) => Value::Moment(text),
        }
    }
}
