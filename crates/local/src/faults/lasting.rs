//! The fault of Snowflake that lasts: bearer tokens that have expired.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest;

/// Tokens that are kept; the oldest go first.
const KEPT: usize = 10_000;

/// What stays refused.
#[derive(Debug, Default)]
pub(super) struct Lasting {
    /// Digests: a token is never kept.
    tokens: Mutex<VecDeque<Vec<u8>>>,
}

impl Lasting {
    fn tokens(&self) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn expire(&self, token: &str) {
        let (mut tokens, new) = (self.tokens(), digest_of(token));
        if tokens.contains(&new) {
            return;
        }
        if tokens.len() == KEPT {
            tokens.pop_front();
        }
        tokens.push_back(new);
    }

    pub(super) fn has_expired(&self, token: &str) -> bool {
        let tokens = self.tokens();
        !tokens.is_empty() && tokens.contains(&digest_of(token))
    }
}

fn digest_of(token: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, token.as_bytes())
        .as_ref()
        .to_vec()
}
