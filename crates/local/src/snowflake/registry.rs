//! The channels in use: where each stands with what it accepted.
//!
//! The catalog knows what is committed; this knows what is accepted: the client sequencer, the last row sequencer and the
//! request that had it. One lock a channel orders its opens and appends. After a restart the state comes from the catalog
//! and the log, and continuation tokens are computed from it, so they stay good.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::catalog::{Catalog, ELASTIC};
use super::log::recovery::LastAppend;
use super::model::ChannelRow;
use crate::Result;

/// A channel's name as a URI gives it, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ChannelKey {
    pub(crate) pipe_id: i64,
    /// Upper case unless quoted.
    pub(crate) lookup: String,
}

/// One channel.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) id: i64,
    pub(crate) table_id: i64,
    pub(crate) elastic: bool,
    pub(crate) state: tokio::sync::Mutex<Accepted>,
    pub(crate) rate: Mutex<Rate>,
}

/// What a channel accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) client_sequencer: i64,
    /// Of the last accepted batch; 0 = none since the open.
    pub(crate) row_sequencer: i64,
    /// The request of that batch; empty = unknown.
    pub(crate) request_id: String,
}

impl Accepted {
    /// The token that the next append must carry.
    pub(crate) fn next_token(&self, channel_id: i64) -> String {
        token(channel_id, self.client_sequencer, self.row_sequencer + 1)
    }

    /// The token that the last accepted append carried.
    pub(crate) fn last_token(&self, channel_id: i64) -> String {
        token(channel_id, self.client_sequencer, self.row_sequencer)
    }
}

fn token(channel_id: i64, client_sequencer: i64, row_sequencer: i64) -> String {
    format!("0_{channel_id:x}_{client_sequencer:x}_{row_sequencer:x}")
}

/// Requests a second a channel may make, and bytes (documented limits of a named channel).
const REQUESTS_PER_SECOND: f64 = 10.0;
const BYTES_PER_SECOND: f64 = 20_000_000.0;
/// Seconds of unused allowance that are kept.
const BURST_SECONDS: f64 = 2.0;

/// How much of its rate limits a channel has left.
#[derive(Debug)]
pub(crate) struct Rate {
    requests: f64,
    bytes: f64,
    at: Instant,
}

impl Rate {
    fn new() -> Self {
        Self {
            requests: REQUESTS_PER_SECOND * BURST_SECONDS,
            bytes: BYTES_PER_SECOND * BURST_SECONDS,
            at: Instant::now(),
        }
    }

    /// Takes one request, if there is room for one. Its bytes are charged afterwards and may go into debt.
    pub(crate) fn allow(&mut self, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.requests =
            (self.requests + seconds * REQUESTS_PER_SECOND).min(REQUESTS_PER_SECOND * BURST_SECONDS);
        self.bytes = (self.bytes + seconds * BYTES_PER_SECOND).min(BYTES_PER_SECOND * BURST_SECONDS);
        let allowed = self.requests >= 1.0 && self.bytes > 0.0;
        if allowed {
            self.requests -= 1.0;
        }
        allowed
    }

    pub(crate) fn charge(&mut self, bytes: u32) {
        self.bytes -= f64::from(bytes);
    }
}

#[derive(Debug, Default)]
struct Maps {
    /// With the catalog generation at which the name was resolved.
    by_key: HashMap<ChannelKey, (u64, Arc<Channel>)>,
    by_id: HashMap<i64, Arc<Channel>>,
    recovered: HashMap<i64, LastAppend>,
}

/// All channels in use.
#[derive(Debug)]
pub(crate) struct Registry {
    catalog: Arc<Catalog>,
    maps: Mutex<Maps>,
}

impl Registry {
    pub(crate) fn new(catalog: Arc<Catalog>, recovered: HashMap<i64, LastAppend>) -> Self {
        Self {
            catalog,
            maps: Mutex::new(Maps {
                recovered,
                ..Maps::default()
            }),
        }
    }

    /// The channel of this name if it is there and healthy enough to be appended to; else its status code.
    pub(crate) fn find(&self, key: &ChannelKey) -> Result<Found> {
        let generation = self.catalog.generation();
        {
            let maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((at, channel)) = maps.by_key.get(key)
                && *at == generation
            {
                return Ok(Found::Healthy(Arc::clone(channel)));
            }
        }
        let Some(row) = self.catalog.channel(key.pipe_id, &key.lookup)? else {
            self.maps
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .by_key
                .remove(key);
            return Ok(Found::Absent);
        };
        if row.status_code != super::catalog::SUCCESS {
            return Ok(Found::Invalid(row.status_code));
        }
        let channel = self.of_row(&row)?;
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        maps.by_key
            .insert(key.clone(), (generation, Arc::clone(&channel)));
        Ok(Found::Healthy(channel))
    }

    /// The channel of a catalog row.
    pub(crate) fn of_row(&self, row: &ChannelRow) -> Result<Arc<Channel>> {
        let committed = Accepted {
            client_sequencer: row.client_sequencer,
            row_sequencer: row.committed_row_sequencer,
            request_id: self.catalog.last_request_id(row.id)?.unwrap_or_default(),
        };
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = maps.by_id.get(&row.id) {
            return Ok(Arc::clone(channel));
        }
        let accepted = match maps.recovered.remove(&row.id) {
            Some(last)
                if last.client_sequencer == row.client_sequencer
                    && last.row_sequencer > row.committed_row_sequencer =>
            {
                Accepted {
                    client_sequencer: last.client_sequencer,
                    row_sequencer: last.row_sequencer,
                    request_id: last.request_id,
                }
            }
            _ => committed,
        };
        let channel = Arc::new(Channel {
            id: row.id,
            table_id: row.table_id,
            elastic: row.name == ELASTIC,
            state: tokio::sync::Mutex::new(accepted),
            rate: Mutex::new(Rate::new()),
        });
        maps.by_id.insert(row.id, Arc::clone(&channel));
        Ok(channel)
    }

    /// Forgets a dropped channel.
    pub(crate) fn forget(&self, id: i64) {
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        maps.by_id.remove(&id);
        maps.by_key.retain(|_, (_, channel)| channel.id != id);
    }
}

/// Answer to looking a channel up.
#[derive(Debug)]
pub(crate) enum Found {
    Healthy(Arc<Channel>),
    /// It must be opened again; why.
    Invalid(String),
    Absent,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rate_allows_a_burst_and_then_ten_a_second() {
        let mut rate = Rate::new();
        let start = rate.at;
        let burst = (0..100).filter(|_| rate.allow(start)).count();
        assert_eq!(burst, 20);
        let second = (0..100)
            .filter(|_| rate.allow(start + Duration::from_secs(1)))
            .count();
        assert_eq!(second, 10);
    }

    #[test]
    fn bytes_over_the_limit_block_until_the_debt_is_paid() {
        let mut rate = Rate::new();
        let start = rate.at;
        for _ in 0..3 {
            assert!(rate.allow(start));
            rate.charge(16_000_000);
        }
        assert!(!rate.allow(start), "8 MB of debt");
        assert!(!rate.allow(start + Duration::from_millis(300)));
        assert!(rate.allow(start + Duration::from_millis(500)));
    }

    #[test]
    fn token_names_channel_tenure_and_place() {
        let accepted = Accepted {
            client_sequencer: 2,
            row_sequencer: 10,
            request_id: String::new(),
        };
        assert_eq!(accepted.next_token(255), "0_ff_2_b");
        assert_eq!(accepted.last_token(255), "0_ff_2_a");
    }
}
