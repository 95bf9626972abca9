//! A token that is renewed ahead of its end, without a gap.
//!
//! How it works: one renewal is under way at a time, as a task of its own. While the token in use is good, callers go on with
//! it; only where there is none that is good do they wait for the renewal, all for the same one. A renewal that failed is
//! followed by the next under the one retry policy, asked for by the next caller: nothing runs where nobody asks.
//!
//! What it guarantees: no caller waits, or fails, for a renewal while the token in use is good; a token that was refused is
//! not used again; ends are counted on the monotonic clock from the moment a token came.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use frazil_model::retry::Backoff;
use frazil_model::{Clock, Instant, Random, RetryPolicy};
use tokio::sync::watch;

use crate::error::Error;

/// A token is renewed this long before it ends; one that lives shorter than twice that, at half its life.
const RENEW_AHEAD: Duration = Duration::from_secs(5 * 60);
/// Nobody waits for more renewals than this in one call: each of them is bounded, and fails or gives a token.
const MOST_ROUNDS: usize = 3;

/// Where tokens come from.
#[async_trait]
pub(crate) trait Issuer: Send + Sync + 'static {
    /// The token, and what belongs to it.
    type Token: Clone + Send + Sync + 'static;
    /// What it is called in log lines.
    const WHAT: &'static str;

    /// A new one, and how long it is good. Bounded in time.
    async fn issue(&self) -> Result<(Self::Token, Duration), Error>;
}

/// A token in use.
#[derive(Clone)]
pub(crate) struct Current<T> {
    pub(crate) token: T,
    /// Which one it is: each has a number of its own.
    pub(crate) edition: u64,
}

/// The token of an issuer.
pub(crate) struct Renewing<I: Issuer>(Arc<Shared<I>>);

struct Shared<I: Issuer> {
    issuer: I,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    state: Mutex<State<I::Token>>,
    /// Raised at the end of each renewal.
    rounds: watch::Sender<u64>,
}

struct State<T> {
    held: Option<Held<T>>,
    under_way: bool,
    /// Until when the last failure answers for itself.
    failed: Option<(Instant, Error)>,
    backoff: Backoff,
    editions: u64,
}

struct Held<T> {
    current: Current<T>,
    renew: Instant,
    end: Instant,
    is_refused: bool,
}

impl<T> State<T> {
    fn may_try(&self, now: Instant) -> bool {
        !self.under_way && self.failed.as_ref().is_none_or(|(until, _)| now >= *until)
    }
}

impl<I: Issuer> Renewing<I> {
    pub(crate) fn new(issuer: I, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self(Arc::new(Shared {
            issuer,
            clock,
            random,
            state: Mutex::new(State {
                held: None,
                under_way: false,
                failed: None,
                backoff: RetryPolicy::NETWORK.start(),
                editions: 0,
            }),
            rounds: watch::Sender::new(0),
        }))
    }

    /// A token that is good, and not the one that was refused.
    ///
    /// # Errors
    /// Those of the issuer, where no token is good any more.
    pub(crate) async fn get(&self, refused: Option<u64>) -> Result<Current<I::Token>, Error> {
        let mut rounds = self.0.rounds.subscribe();
        for round in 0..MOST_ROUNDS {
            rounds.borrow_and_update();
            if let Some(done) = self.look(refused, round > 0) {
                return done;
            }
            // The sender lives as long as this does.
            drop(rounds.changed().await);
        }
        Err(Error::BadAnswer {
            call: I::WHAT,
            detail: "tokens end as soon as they come".to_owned(),
        })
    }

    /// What can be answered at once; `None`: after the renewal that is under way now. Who has waited for one takes its
    /// failure for an answer.
    fn look(&self, refused: Option<u64>, has_waited: bool) -> Option<Result<Current<I::Token>, Error>> {
        let now = self.0.clock.now();
        let mut state = self.0.locked();
        if let Some(held) = &mut state.held {
            held.is_refused |= refused == Some(held.current.edition);
        }
        let good = state
            .held
            .as_ref()
            .filter(|held| !held.is_refused && now < held.end)
            .map(|held| (held.current.clone(), now >= held.renew));
        let may_try = state.may_try(now);
        if let Some((current, is_due)) = good {
            if is_due && may_try {
                self.begin(state);
            }
            return Some(Ok(current));
        }
        if let Some((_, error)) = &state.failed
            && !state.under_way
            && (has_waited || !may_try)
        {
            return Some(Err(error.clone()));
        }
        if may_try {
            self.begin(state);
        }
        None
    }

    fn begin(&self, mut state: MutexGuard<'_, State<I::Token>>) {
        state.under_way = true;
        drop(state);
        let round = Round(Arc::clone(&self.0));
        tokio::spawn(async move {
            let issued = round.0.issuer.issue().await;
            round.0.take(issued);
        });
    }
}

impl<I: Issuer> Shared<I> {
    fn locked(&self) -> MutexGuard<'_, State<I::Token>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, issued: Result<(I::Token, Duration), Error>) {
        let now = self.clock.now();
        let mut state = self.locked();
        let (token, life) = match issued {
            Ok(issued) => issued,
            Err(error) => {
                let asked = match &error {
                    Error::Throttled { retry_after, .. } => retry_after.unwrap_or_default(),
                    _ => Duration::ZERO,
                };
                let pause = state.backoff.next_wait(&*self.random).max(asked);
                let still_good = state
                    .held
                    .as_ref()
                    .filter(|held| !held.is_refused)
                    .map(|held| held.end.since(now).as_secs());
                // Told once in a series; without a good token the callers tell it.
                if state.backoff.failures() == 1
                    && let Some(good_for_s) = still_good.filter(|seconds| *seconds > 0)
                {
                    let what = I::WHAT;
                    tracing::warn!(what, %error, good_for_s, "token could not be renewed; the one in use still holds");
                }
                state.failed = Some((now + pause, error));
                return;
            }
        };
        if state.backoff.failures() > 0 && state.held.is_some() {
            tracing::info!(what = I::WHAT, "token was renewed");
        }
        state.backoff.reset();
        state.failed = None;
        state.editions += 1;
        let edition = state.editions;
        state.held = Some(Held {
            current: Current { token, edition },
            renew: now + life.saturating_sub(RENEW_AHEAD).max(life / 2),
            end: now + life,
            is_refused: false,
        });
    }
}

/// A renewal under way: it ends however its task ends.
struct Round<I: Issuer>(Arc<Shared<I>>);

impl<I: Issuer> Drop for Round<I> {
    fn drop(&mut self) {
        self.0.locked().under_way = false;
        self.0.rounds.send_modify(|rounds| *rounds += 1);
    }
}

#[cfg(test)]
mod tests;
