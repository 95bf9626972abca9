//! The door to time.
//!
//! [`Clock::now`] is monotonic and goes on while the machine sleeps (CLOCK_BOOTTIME on Linux), because leases are judged
//! by it: a worker that was suspended must see that time has passed. [`Clock::wall_ms`] is for people and for claims
//! that a service checks; nothing is decided by comparing it with another machine's.
//!
//! [`SystemClock`] is the real one. [`PausedClock`] stands still until a test moves it, then wakes the sleepers in the
//! order of their times; protocol times are asserted on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::oneshot;

/// A moment of a [`Clock`]: the time since the clock's own zero. Moments of two clocks are not comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(Duration);

impl Instant {
    /// The moment this long after the clock's zero.
    #[must_use]
    pub fn from_zero(since: Duration) -> Self {
        Self(since)
    }

    /// How long this is after `earlier`; zero where it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

/// A source of time.
#[async_trait]
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The monotonic time.
    fn now(&self) -> Instant;

    /// Milliseconds since 1970-01-01 UTC, as this machine believes.
    fn wall_ms(&self) -> i64;

    /// Returns once this long has passed. Dropping the future is the way to stop waiting.
    async fn sleep(&self, time: Duration);
}

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

#[cfg(target_os = "linux")]
fn boot_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // The kernel gives neither part as negative: the clock counts from boot.
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(not(target_os = "linux"))]
fn boot_time() -> Duration {
    use std::sync::OnceLock;
    static ZERO: OnceLock<std::time::Instant> = OnceLock::new();
    ZERO.get_or_init(std::time::Instant::now).elapsed()
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant(boot_time())
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "this is the door that the rule points to"
    )]
    fn wall_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

#[derive(Debug, Default)]
struct Paused {
    now: Duration,
    wall_zero_ms: i64,
    next_id: u64,
    sleepers: BTreeMap<(Duration, u64), oneshot::Sender<()>>,
}

/// A clock that stands still until [`PausedClock::advance`] moves it.
#[derive(Debug, Clone, Default)]
pub struct PausedClock(Arc<Mutex<Paused>>);

impl PausedClock {
    /// A clock at zero whose wall time starts at `wall_ms`.
    #[must_use]
    pub fn at_wall_ms(wall_ms: i64) -> Self {
        let clock = Self::default();
        clock.locked().wall_zero_ms = wall_ms;
        clock
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Paused> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the time on and wakes those whose time has come, earliest first; between two of them the runtime gets a
    /// turn, so that what one of them starts is under way before the next wakes.
    pub async fn advance(&self, by: Duration) {
        let end = self.locked().now + by;
        loop {
            for _ in 0..32 {
                tokio::task::yield_now().await;
            }
            let wake = {
                let mut paused = self.locked();
                match paused.sleepers.first_key_value().map(|(key, _)| *key) {
                    Some(key) if key.0 <= end => {
                        paused.now = paused.now.max(key.0);
                        paused.sleepers.remove(&key)
                    }
                    _ => {
                        paused.now = end;
                        None
                    }
                }
            };
            match wake {
                // A sleeper that was dropped no longer listens, and that is its right.
                Some(sleeper) => drop(sleeper.send(())),
                None => break,
            }
        }
        for _ in 0..32 {
            tokio::task::yield_now().await;
        }
    }

    /// How many tasks sleep on this clock now.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.locked().sleepers.values().filter(|s| !s.is_closed()).count()
    }
}

#[async_trait]
impl Clock for PausedClock {
    fn now(&self) -> Instant {
        Instant(self.locked().now)
    }

    fn wall_ms(&self) -> i64 {
        let paused = self.locked();
        paused.wall_zero_ms + i64::try_from(paused.now.as_millis()).unwrap_or(i64::MAX)
    }

    async fn sleep(&self, time: Duration) {
        let woken = {
            let mut paused = self.locked();
            let (sender, receiver) = oneshot::channel();
            let key = (paused.now + time, paused.next_id);
            paused.next_id += 1;
            paused.sleepers.insert(key, sender);
            receiver
        };
        // The sender is only dropped with the clock itself; then nobody can wait for time any more.
        drop(woken.await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleepers_wake_in_the_order_of_their_times() {
        let clock = PausedClock::default();
        let (told, mut hear) = tokio::sync::mpsc::channel(8);
        for seconds in [3_u64, 1, 2, 9] {
            let (clock, told) = (clock.clone(), told.clone());
            tokio::spawn(async move {
                clock.sleep(Duration::from_secs(seconds)).await;
                told.send((seconds, clock.now())).await.expect("the test listens");
            });
        }
        clock.advance(Duration::from_secs(5)).await;
        for seconds in [1, 2, 3] {
            let (who, when) = hear.recv().await.expect("woken");
            assert_eq!(who, seconds);
            assert_eq!(when, Instant::from_zero(Duration::from_secs(seconds)));
        }
        assert!(hear.try_recv().is_err(), "the sleeper of 9 s woke at 5 s");
        assert_eq!(clock.sleepers(), 1);
    }

    #[test]
    fn the_machines_clock_does_not_go_back() {
        let (one, two) = (SystemClock.now(), SystemClock.now());
        assert!(one <= two);
        assert!(SystemClock.wall_ms() > 1_700_000_000_000);
    }
}
