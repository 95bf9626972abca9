//! Faults of Snowflake that last: channels to be opened again, bearer tokens that have expired.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest;

/// Channels and tokens that are kept; the oldest go first.
const KEPT: usize = 10_000;

/// What stays refused.
#[derive(Debug, Default)]
pub(super) struct Lasting(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    channels: VecDeque<String>,
    /// Digests: a token is never kept.
    tokens: VecDeque<Vec<u8>>,
}

impl Lasting {
    fn with<T>(&self, work: impl FnOnce(&mut Kept) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn invalidate(&self, channel: &str) {
        self.with(|kept| add(&mut kept.channels, channel.to_owned()));
    }

    pub(super) fn is_invalid(&self, channel: &str) -> bool {
        self.with(|kept| kept.channels.iter().any(|known| known == channel))
    }

    pub(super) fn reopened(&self, channel: &str) {
        self.with(|kept| kept.channels.retain(|known| known != channel));
    }

    pub(super) fn expire(&self, token: &str) {
        self.with(|kept| add(&mut kept.tokens, digest_of(token)));
    }

    pub(super) fn has_expired(&self, token: &str) -> bool {
        self.with(|kept| !kept.tokens.is_empty() && kept.tokens.contains(&digest_of(token)))
    }
}

fn add<T: PartialEq>(kept: &mut VecDeque<T>, new: T) {
    if kept.contains(&new) {
        return;
    }
    if kept.len() == KEPT {
        kept.pop_front();
    }
    kept.push_back(new);
}

fn digest_of(token: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, token.as_bytes())
        .as_ref()
        .to_vec()
}
