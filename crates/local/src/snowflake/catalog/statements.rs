//! When statements ran, for `AT|BEFORE (STATEMENT => id)`.
//!
//! Kept in memory: at most [`MOST`], the oldest go first, and none survives a restart (the service knows those of 14 days). An
//! embedder's statements have no id and are not here.
//!
//! Source: Snowflake documentation, "AT | BEFORE".

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::Catalog;

const MOST: usize = 10_000;

/// From its begin to its end, in milliseconds since 1970; both belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) begun_ms: i64,
    pub(crate) ended_ms: i64,
}

/// Of all interfaces.
#[derive(Debug, Default)]
pub(super) struct Times(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    spans: HashMap<String, Span>,
    order: VecDeque<String>,
}

impl Catalog {
    /// Notes a statement that is done, whatever it came to.
    pub(crate) fn note_statement(&self, id: &str, span: Span) {
        let mut kept = self.statements.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.spans.insert(id.to_owned(), span).is_none() {
            kept.order.push_back(id.to_owned());
        }
        while kept.order.len() > MOST {
            if let Some(oldest) = kept.order.pop_front() {
                kept.spans.remove(&oldest);
            }
        }
    }

    /// When a statement ran.
    pub(crate) fn statement(&self, id: &str) -> Option<Span> {
        let kept = self.statements.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.spans.get(id).copied()
    }
}
