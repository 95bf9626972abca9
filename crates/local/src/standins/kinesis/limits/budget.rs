//! Budgets: how much of a rate is left. Time is handed in, so that tests move it by hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// Monotonic time since some moment.
#[derive(Clone)]
pub(crate) struct Monotonic(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Monotonic {
    pub(crate) fn system() -> Self {
        let start = Instant::now();
        Self(Arc::new(move || start.elapsed()))
    }

    #[cfg(test)]
    pub(crate) fn by_hand(milliseconds: Arc<std::sync::atomic::AtomicU64>) -> Self {
        Self(Arc::new(move || {
            Duration::from_millis(milliseconds.load(std::sync::atomic::Ordering::Acquire))
        }))
    }

    pub(crate) fn now(&self) -> Duration {
        (self.0)()
    }
}

impl std::fmt::Debug for Monotonic {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Monotonic").field(&self.now()).finish()
    }
}

/// So much a second, with a burst of one second.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: f64,
    level: f64,
    at: Duration,
}

impl Bucket {
    pub(super) fn full(per_second: u32, now: Duration) -> Self {
        let per_second = f64::from(per_second);
        Self {
            per_second,
            level: per_second,
            at: now,
        }
    }

    /// Whether so much may be taken. What is more than a second's worth needs the full bucket and leaves a debt.
    pub(super) fn has(&mut self, now: Duration, amount: u32) -> bool {
        let seconds = now.saturating_sub(self.at).as_secs_f64();
        self.level = (self.level + seconds * self.per_second).min(self.per_second);
        self.at = self.at.max(now);
        self.level >= f64::from(amount).min(self.per_second)
    }

    pub(super) fn take(&mut self, amount: u32) {
        self.level -= f64::from(amount);
    }

    /// What was taken for nothing comes back.
    pub(super) fn give(&mut self, amount: u32) {
        self.level = (self.level + f64::from(amount)).min(self.per_second);
    }

    /// Whether nothing was taken for so long that it is full whatever was taken: it need not be kept.
    pub(super) fn is_idle(&self, now: Duration) -> bool {
        now.saturating_sub(self.at) > IDLE
    }
}

/// The longest debt is 10 MiB at 1 MiB a second.
const IDLE: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

/// Bytes that a shard gives to its pollers: within a second's window calls are free until the rate is reached; the answer
/// that reaches it locks the shard for as long as its bytes take at the rate, and to the window's end at least. So 10 MiB
/// lock for 5 s from that answer on.
#[derive(Debug)]
pub(super) struct ReadWindow {
    per_second: u32,
    begun: Duration,
    used: u64,
    locked_until: Duration,
}

impl ReadWindow {
    pub(super) fn new(per_second: u32, now: Duration) -> Self {
        Self {
            per_second,
            begun: now,
            used: 0,
            locked_until: Duration::ZERO,
        }
    }

    pub(super) fn is_open(&self, now: Duration) -> bool {
        now >= self.locked_until
    }

    pub(super) fn answered(&mut self, now: Duration, bytes: u64) {
        if now >= self.begun + SECOND || now < self.begun {
            self.begun = now;
            self.used = 0;
        }
        self.used += bytes;
        if self.used >= u64::from(self.per_second) {
            #[expect(clippy::cast_precision_loss, reason = "an answer has a few MiB")]
            let paid = Duration::from_secs_f64(bytes as f64 / f64::from(self.per_second));
            let until = (now + paid).max(self.begun + SECOND);
            self.locked_until = self.locked_until.max(until);
            // The next window begins when the lock ends.
            self.begun = self.locked_until;
            self.used = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u32 = 1024 * 1024;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn bucket_gives_a_second_at_once_and_then_its_rate() {
        let mut bucket = Bucket::full(5, ms(0));
        let mut calls = |at: u64| {
            let mut count = 0;
            while bucket.has(ms(at), 1) {
                bucket.take(1);
                count += 1;
            }
            count
        };
        assert_eq!(calls(0), 5);
        assert_eq!(calls(199), 0);
        assert_eq!(calls(200), 1);
        assert_eq!(calls(10_000), 5, "no more than a second is kept");
    }

    #[test]
    fn more_than_a_second_needs_the_full_bucket_and_is_paid_off() {
        let mut bucket = Bucket::full(MIB, ms(0));
        assert!(bucket.has(ms(0), 3 * MIB));
        bucket.take(3 * MIB);
        assert!(!bucket.has(ms(1_900), 1), "3 MiB less the burst last 2 s");
        assert!(bucket.has(ms(2_100), 1));
        bucket.take(1);
        assert!(!bucket.has(ms(2_500), 3 * MIB));
        bucket.give(MIB);
        assert!(bucket.has(ms(2_500), MIB));
    }

    #[test]
    fn ten_mebibytes_lock_for_five_seconds() {
        let mut window = ReadWindow::new(2 * MIB, ms(0));
        assert!(window.is_open(ms(700)));
        window.answered(ms(700), 10 * u64::from(MIB));
        assert!(!window.is_open(ms(700)));
        assert!(!window.is_open(ms(5_699)));
        assert!(window.is_open(ms(5_700)));
    }

    #[test]
    fn answers_within_the_rate_never_lock_and_the_one_over_it_ends_the_second() {
        let mut window = ReadWindow::new(2 * MIB, ms(0));
        for call in 0..50 {
            assert!(window.is_open(ms(call * 200)), "call {call}");
            window.answered(ms(call * 200), 419_000);
        }
        let start = 60_000;
        window.answered(ms(start), u64::from(MIB));
        assert!(window.is_open(ms(start + 10)));
        window.answered(ms(start + 10), u64::from(MIB));
        assert!(!window.is_open(ms(start + 999)));
        assert!(window.is_open(ms(start + 1_000)));
    }
}
