//! The service's time, as its answers tell it.
//!
//! How it works: every answer of Snowflake has a `Date` (RFC 9110, section 6.6.1), a whole second that lies somewhere between
//! request and answer. So each answer says within which bounds the service's clock lies from ours; as long as what is
//! assumed lies within them it stays, else it moves into them. What took long, and what a cache answered (`Age`), says
//! nothing.
//!
//! What it guarantees: with a true clock nothing is ever corrected. JWTs and the ends of tokens go by this time. What it does
//! not: half a second and half of a call's time is as exact as it gets.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use frazil_model::{Clock, Instant};
use reqwest::header::{AGE, DATE, HeaderMap};

/// An answer that took longer than this says nothing.
const LONGEST_TRIP: Duration = Duration::from_secs(5);
/// A difference of this and more is told, and each change of it by as much.
const TOLD_FROM_MS: u64 = 30_000;

/// How far this machine's clock is from the service's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockSkew {
    /// Milliseconds that ours is ahead; negative where it is behind.
    pub ahead_ms: i64,
    /// How exact that is, in milliseconds either way.
    pub within_ms: i64,
}

/// A moment of both our clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    at: Instant,
    wall_ms: i64,
}

/// The service's clock.
#[derive(Debug)]
pub(crate) struct ServiceClock {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What is added to our time.
    correction_ms: i64,
    within_ms: Option<i64>,
    told_ms: i64,
}

impl ServiceClock {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Mutex::default(),
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Our own clock.
    pub(crate) fn ours(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Milliseconds since 1970 UTC, as the service has them.
    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.wall_ms().saturating_add(self.correction_ms())
    }

    /// Milliseconds that are added to our time. It changes only where answers demand it.
    pub(crate) fn correction_ms(&self) -> i64 {
        self.locked().correction_ms
    }

    /// How far ours is from it; `None` before the first answer that says so.
    pub(crate) fn skew(&self) -> Option<ClockSkew> {
        let state = self.locked();
        state.within_ms.map(|within_ms| ClockSkew {
            ahead_ms: -state.correction_ms,
            within_ms,
        })
    }

    /// Now, before a request.
    pub(crate) fn moment(&self) -> Moment {
        Moment {
            at: self.clock.now(),
            wall_ms: self.clock.wall_ms(),
        }
    }

    /// Takes in what the head of an answer says, which has just come to a request sent at that moment.
    pub(crate) fn note(&self, sent: Moment, headers: &HeaderMap) {
        let received = self.moment();
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        let Some(date) = date.filter(|_| !headers.contains_key(AGE)) else {
            return;
        };
        let since = date.duration_since(UNIX_EPOCH).unwrap_or_default();
        let theirs_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let trip = received.at.since(sent.at);
        let trip_ms = i64::try_from(trip.as_millis()).unwrap_or(i64::MAX);
        // Our wall clock may be set while a call is under way.
        let by_wall_ms = received.wall_ms.saturating_sub(sent.wall_ms);
        if trip > LONGEST_TRIP || by_wall_ms.saturating_sub(trip_ms).unsigned_abs() > 1000 {
            return;
        }
        let least = theirs_ms.saturating_sub(received.wall_ms);
        let most = theirs_ms.saturating_add(999).saturating_sub(sent.wall_ms);
        self.narrow(least, most);
    }

    fn narrow(&self, least: i64, most: i64) {
        let mut state = self.locked();
        // Off by a little, it goes to the nearest that fits, and so settles; by much, somebody set a clock.
        let nearest = state.correction_ms.clamp(least, most);
        state.correction_ms = if nearest.abs_diff(state.correction_ms) > most.abs_diff(least) {
            least.midpoint(most)
        } else {
            nearest
        };
        state.within_ms = Some((most - least) / 2 + 1);
        let correction_ms = state.correction_ms;
        if correction_ms.abs_diff(state.told_ms) < TOLD_FROM_MS {
            return;
        }
        state.told_ms = correction_ms;
        drop(state);
        let ahead_s = -correction_ms / 1000;
        if correction_ms.unsigned_abs() < TOLD_FROM_MS {
            tracing::info!(ahead_s, "clock agrees with the service's again");
        } else {
            tracing::warn!(
                ahead_s,
                "clock is not the service's; tokens go by the service's, but set this machine's right"
            );
        }
    }
}

#[cfg(test)]
mod tests;
