//! One account's patience, shared by all that ask it.
//!
//! How it works: [`Gated`] stands before a [`Snowpipe`]. When a call is answered 429, the [`AccountGate`] closes for as long as
//! the service asks (`Retry-After`), or for a back-off that doubles until nothing was refused for a minute. While it is closed no call is
//! sent: each is answered [`Error::Throttled`] here, with the time that is left, and its caller waits as it would have
//! for the service's own answer. A part of chance in that time keeps the callers from coming back together. Appends also have
//! a bound of how many are under way at once; those that wait go in the order in which they came.
//!
//! What it guarantees: after a 429, nobody of this process who shares the gate sends anything before the time is over. What
//! it does not: other processes have gates of their own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use frazil_model::{Backoff, Clock, Instant, Random, RetryPolicy};
use tokio::sync::Semaphore;

use crate::error::Error;
use crate::pipe::{Append, ChannelStatus, ContinuationToken, Opened, Snowpipe, TableFacts};

/// Appends of one account that are under way at once. Each has a body of up to 4 MB.
pub const MOST_APPENDS: usize = 64;
/// The longest closing that is taken from an answer; after it the service is asked again.
const LONGEST: Duration = Duration::from_secs(300);
/// After so long without a refusal a success makes the next back-off begin anew.
const QUIET: Duration = Duration::from_secs(60);
const REFUSED: RetryPolicy = RetryPolicy {
    first: Duration::from_secs(1),
    cap: Duration::from_secs(60),
};

#[derive(Debug)]
struct State {
    closed_until: Option<Instant>,
    refused: Backoff,
    refused_at: Option<Instant>,
}

/// Whether an account may be asked now.
#[derive(Debug)]
pub struct AccountGate {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    state: Mutex<State>,
    appends: Semaphore,
}

impl AccountGate {
    /// An open gate.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self {
            clock,
            random,
            state: Mutex::new(State {
                closed_until: None,
                refused: REFUSED.start(),
                refused_at: None,
            }),
            appends: Semaphore::new(MOST_APPENDS),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses while the gate is closed.
    fn pass(&self, call: &'static str) -> Result<(), Error> {
        let now = self.clock.now();
        let Some(until) = self.state().closed_until.filter(|until| now < *until) else {
            return Ok(());
        };
        let left = until.since(now);
        let part = left
            .min(Duration::from_secs(10))
            .mul_f64(0.2 * self.random.fraction());
        Err(Error::Throttled {
            call,
            retry_after: Some(left + part),
            message: "it did so before, and is given the time it asked for".to_owned(),
        })
    }

    /// Takes in what a call that was sent came to.
    fn meet<T>(&self, answer: Result<T, Error>) -> Result<T, Error> {
        let now = self.clock.now();
        let mut state = self.state();
        match &answer {
            Err(Error::Throttled { retry_after, .. }) => {
                state.refused_at = Some(now);
                // Of many that were under way together only the first counts for the back-off.
                if state.closed_until.is_none_or(|until| until <= now) {
                    let wait = state.refused.next_wait(&*self.random);
                    state.closed_until = Some(now + wait);
                }
                if let Some(asked) = retry_after {
                    let asked = now + (*asked).min(LONGEST);
                    state.closed_until = state.closed_until.max(Some(asked));
                }
            }
            // What one call may, another may not yet: one success among refusals ends nothing.
            Ok(_) if state.refused_at.is_some_and(|at| now.since(at) > QUIET) => {
                state.refused_at = None;
                state.refused.reset();
            }
            _ => {}
        }
        drop(state);
        answer
    }
}

/// A [`Snowpipe`] behind its account's gate.
#[derive(Debug)]
pub struct Gated {
    pipe: Arc<dyn Snowpipe>,
    gate: Arc<AccountGate>,
}

impl Gated {
    /// Puts the pipe behind the gate.
    #[must_use]
    pub fn new(pipe: Arc<dyn Snowpipe>, gate: Arc<AccountGate>) -> Self {
        Self { pipe, gate }
    }
}

#[async_trait]
impl Snowpipe for Gated {
    async fn open_channel(&self, channel: &str, fail_on_uncommitted_rows: bool) -> Result<Opened, Error> {
        self.gate.pass("open channel")?;
        let answer = self.pipe.open_channel(channel, fail_on_uncommitted_rows).await;
        self.gate.meet(answer)
    }

    async fn append_rows(&self, channel: &str, append: &Append) -> Result<ContinuationToken, Error> {
        self.gate.pass("append rows")?;
        let _turn = self
            .gate
            .appends
            .acquire()
            .await
            .expect("nobody closes the semaphore");
        self.gate.pass("append rows")?;
        let answer = self.pipe.append_rows(channel, append).await;
        self.gate.meet(answer)
    }

    async fn channel_status(&self, channels: &[String]) -> Result<HashMap<String, ChannelStatus>, Error> {
        self.gate.pass("channel status")?;
        let answer = self.pipe.channel_status(channels).await;
        self.gate.meet(answer)
    }

    async fn drop_channel(&self, channel: &str) -> Result<(), Error> {
        self.gate.pass("drop channel")?;
        let answer = self.pipe.drop_channel(channel).await;
        self.gate.meet(answer)
    }

    async fn table(&self) -> Result<Option<TableFacts>, Error> {
        self.gate.pass("describe the table")?;
        let answer = self.pipe.table().await;
        self.gate.meet(answer)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use frazil_model::{PausedClock, SeededRandom};

    use super::*;
    use crate::fake::{FakeSnowpipe, Fault};

    fn gated() -> (Arc<FakeSnowpipe>, Gated, Gated, PausedClock) {
        let clock = PausedClock::at_wall_ms(0);
        let fake = Arc::new(FakeSnowpipe::default());
        let gate = Arc::new(AccountGate::new(
            Arc::new(clock.clone()),
            Arc::new(SeededRandom::new(1)),
        ));
        let one = Gated::new(fake.clone(), Arc::clone(&gate));
        let other = Gated::new(fake.clone(), gate);
        (fake, one, other, clock)
    }

    fn left<T: std::fmt::Debug>(answer: Result<T, Error>) -> Duration {
        match answer {
            Err(Error::Throttled {
                retry_after: Some(left),
                ..
            }) => left,
            other => panic!("{other:?}"),
        }
    }

    fn append(continuation: ContinuationToken) -> Append {
        Append {
            body: Bytes::new(),
            uncompressed_bytes: 0,
            rows: 1,
            start_token: String::new(),
            end_token: String::new(),
            continuation,
            request_id: "r".to_owned(),
            retry_count: 0,
        }
    }

    #[tokio::test]
    async fn after_a_throttle_nobody_of_the_account_sends_before_its_time() {
        let (fake, one, other, clock) = gated();
        fake.throttle("open", Duration::from_secs(20));
        assert!(matches!(
            one.open_channel("A", false).await,
            Err(Error::Throttled { .. })
        ));
        assert_eq!(fake.calls().0, 1);
        let first = left(other.open_channel("B", false).await);
        assert!((20..25).contains(&first.as_secs()), "{first:?}");
        left(other.channel_status(&["B".to_owned()]).await);
        clock.advance(Duration::from_secs(19)).await;
        let rest = left(one.open_channel("A", false).await);
        assert!(rest <= Duration::from_millis(1200), "{rest:?}");
        assert_eq!(fake.calls().0, 1, "it was asked before the time");
        clock.advance(Duration::from_secs(1)).await;
        other.open_channel("B", false).await.expect("open again");
    }

    #[tokio::test]
    async fn without_a_time_it_waits_longer_after_each_refusal_and_begins_anew_after_a_quiet_minute() {
        let (fake, one, _, clock) = gated();
        let mut waits = Vec::new();
        for _ in 0..8 {
            fake.fault("open", Fault::Throttled);
            let begun = clock.now();
            assert!(one.open_channel("A", false).await.is_err());
            let asked = fake.calls().0;
            loop {
                clock.advance(Duration::from_millis(50)).await;
                fake.fault("open", Fault::LostBefore);
                let _ = one.open_channel("A", false).await;
                if fake.calls().0 > asked {
                    break;
                }
                fake.forget_faults();
            }
            waits.push(clock.now().since(begun));
        }
        assert!(waits[7] > waits[0] * 4, "{waits:?}");
        assert!(waits[7] <= Duration::from_secs(61), "{waits:?}");
        one.open_channel("A", false).await.expect("open");
        fake.fault("open", Fault::Throttled);
        assert!(one.open_channel("A", false).await.is_err());
        assert!(
            left(one.open_channel("A", false).await) > Duration::from_millis(1300),
            "a success among refusals ended them"
        );
        clock.advance(Duration::from_secs(130)).await;
        one.open_channel("A", false).await.expect("open");
        fake.fault("open", Fault::Throttled);
        assert!(one.open_channel("A", false).await.is_err());
        assert!(left(one.open_channel("A", false).await) <= Duration::from_millis(1200));
    }

    #[tokio::test]
    async fn appends_beyond_the_bound_wait_and_go_in_order() {
        let (fake, one, _, _) = gated();
        let opened = one.open_channel("A", false).await.expect("open");
        let turns = one
            .gate
            .appends
            .acquire_many(MOST_APPENDS as u32)
            .await
            .expect("turns");
        let batch = append(opened.continuation);
        let sending = one.append_rows("A", &batch);
        tokio::pin!(sending);
        assert!(futures_poll(&mut sending).await.is_none());
        assert_eq!(fake.calls().1, 0);
        drop(turns);
        sending.await.expect("accepted");
        assert_eq!(fake.calls().1, 1);
    }

    /// Polls once.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        tokio::select! {
            biased;
            done = future => Some(done),
            () = std::future::ready(()) => None,
        }
    }
}
