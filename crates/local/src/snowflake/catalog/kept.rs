//! Answers that are asked for with every statement, kept until the catalog changes.
//!
//! SQLite counts what its connection ever changed, and there is no other connection: an answer of the same count is the
//! answer of now, whatever the change was. [`Rights::of`] is called with the connection locked, so nothing changes in between.
//!
//! Limit: [`MOST`] answers, beyond which all are forgotten.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use super::grants::Object;
use crate::Result;

const MOST: usize = 4096;

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) role: String,
    /// Without what the role inherits.
    pub(super) direct: bool,
    /// `None`: any.
    pub(super) privilege: Option<String>,
    pub(super) object: Object,
}

/// Answers about rights of roles.
#[derive(Debug, Default)]
pub(super) struct Rights {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Changes of the connection when the answers were given.
    changes: u64,
    answers: HashMap<Question, bool>,
}

impl Rights {
    /// The answer as of now; `ask` gives it where it is not known.
    pub(super) fn of(
        &self,
        connection: &Connection,
        question: Question,
        ask: impl FnOnce(&Connection, &Question) -> Result<bool>,
    ) -> Result<bool> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = connection.total_changes();
        if kept.changes != changes || kept.answers.len() >= MOST {
            kept.answers.clear();
            kept.changes = changes;
        }
        if let Some(known) = kept.answers.get(&question) {
            return Ok(*known);
        }
        let answer = ask(connection, &question)?;
        kept.answers.insert(question, answer);
        Ok(answer)
    }
}
