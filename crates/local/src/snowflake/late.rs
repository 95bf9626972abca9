//! The fault `late_counters`: status shows the new offset token with older counters.
//!
//! A client that trusts counters as soon as it sees the token fails under it. Without such a rule nothing is kept here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::model::Counters;

/// So many commits of a channel are remembered.
const MOST: usize = 1024;

/// What was committed lately, by channel.
#[derive(Debug, Default)]
pub(crate) struct LateCounters {
    enabled: bool,
    recent: Mutex<HashMap<i64, VecDeque<(Instant, Counters)>>>,
}

impl LateCounters {
    pub(crate) fn new(enabled: bool) -> Self {
        Self {
            enabled,
            recent: Mutex::default(),
        }
    }

    pub(crate) fn committed(&self, channel_id: i64, counted: Counters) {
        if !self.enabled {
            return;
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let commits = recent.entry(channel_id).or_default();
        if commits.len() == MOST {
            commits.pop_front();
        }
        commits.push_back((Instant::now(), counted));
    }

    /// `now` without what was committed during the last `delay`.
    pub(crate) fn as_of(&self, channel_id: i64, now: Counters, delay: Duration) -> Counters {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = now;
        for (at, counted) in recent.get(&channel_id).into_iter().flatten().rev() {
            if at.elapsed() >= delay {
                break;
            }
            seen.rows_parsed -= counted.rows_parsed;
            seen.rows_inserted -= counted.rows_inserted;
            seen.rows_error_count -= counted.rows_error_count;
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_commits_are_hidden_and_old_ones_are_not() {
        let late = LateCounters::new(true);
        let one = Counters {
            rows_parsed: 3,
            rows_inserted: 2,
            rows_error_count: 1,
        };
        late.committed(7, one);
        assert_eq!(late.as_of(7, one, Duration::from_secs(60)), Counters::default());
        assert_eq!(late.as_of(7, one, Duration::ZERO), one);
        assert_eq!(late.as_of(8, one, Duration::from_secs(60)), one);
    }
}
