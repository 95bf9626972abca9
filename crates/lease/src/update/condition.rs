//! What must hold for a row to be changed.
//!
//! A condition is judged as DynamoDB judges it, so that a store that keeps rows itself and the table decide alike.

use std::cmp::Ordering;

use crate::row::{Attribute, Item};

/// A condition on one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The attribute is not there.
    Absent(&'static str),
    /// The attribute is exactly this.
    Is(&'static str, Attribute),
    /// The attribute is there and less than this.
    Below(&'static str, Attribute),
    /// The attribute is there and not greater than this.
    AtMost(&'static str, Attribute),
    /// Both attributes are there and equal.
    Same(&'static str, &'static str),
    /// At least one of these holds.
    Any(Vec<Condition>),
}

/// DynamoDB compares values of one type only, strings by their bytes, numbers by value.
fn compare(a: &Attribute, b: &Attribute) -> Option<Ordering> {
    match (a, b) {
        (Attribute::S(a), Attribute::S(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Attribute::N(a), Attribute::N(b)) => {
            let (x, y): (i128, i128) = (a.parse().ok()?, b.parse().ok()?);
            Some(x.cmp(&y))
        }
        (Attribute::Bool(a), Attribute::Bool(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

impl Condition {
    /// Whether it holds for a row; a missing row has no attributes.
    #[must_use]
    pub fn holds(&self, item: &Item) -> bool {
        let value = |name: &str, other: &Attribute| item.get(name).and_then(|value| compare(value, other));
        match self {
            Self::Absent(name) => !item.contains_key(*name),
            Self::Is(name, other) => value(name, other) == Some(Ordering::Equal),
            Self::Below(name, other) => value(name, other) == Some(Ordering::Less),
            Self::AtMost(name, other) => matches!(value(name, other), Some(Ordering::Less | Ordering::Equal)),
            Self::Same(one, two) => item
                .get(*two)
                .is_some_and(|two| value(one, two) == Some(Ordering::Equal)),
            Self::Any(any) => any.iter().any(|condition| condition.holds(item)),
        }
    }

    pub(super) fn exactly(name: &'static str, value: Option<&Attribute>) -> Self {
        value.map_or(Self::Absent(name), |value| Self::Is(name, value.clone()))
    }
}
