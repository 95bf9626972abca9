//! The one retry policy.
//!
//! Each edge to the outside (Kinesis, DynamoDB, Snowflake) retries in one place, with a [`RetryPolicy`]: exponential,
//! full jitter ("Exponential Backoff and Jitter", AWS Architecture Blog, 2015), a cap on each wait. A [`Backoff`] is the
//! state of one series of tries; success resets it. It never decides *whether* to retry: the error's kind does.

use std::time::Duration;

use crate::clock::Clock;
use crate::random::Random;

/// How long to wait between tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The upper bound of the first wait.
    pub first: Duration,
    /// The upper bound of any wait.
    pub cap: Duration,
}

impl RetryPolicy {
    /// For calls over a network: waits of up to 200 ms, 400 ms, ... 20 s.
    pub const NETWORK: Self = Self {
        first: Duration::from_millis(200),
        cap: Duration::from_secs(20),
    };

    /// Starts a series of tries.
    #[must_use]
    pub fn start(self) -> Backoff {
        Backoff {
            policy: self,
            failures: 0,
        }
    }
}

/// One series of tries.
#[derive(Debug, Clone)]
pub struct Backoff {
    policy: RetryPolicy,
    failures: u32,
}

impl Backoff {
    /// How many tries have failed in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Notes a failure and draws the wait before the next try: between a tenth of the bound and the bound, so that
    /// workers that failed together do not try together, and a lucky draw does not hammer the service.
    pub fn next_wait(&mut self, random: &dyn Random) -> Duration {
        let doubled = self.policy.first.saturating_mul(1 << self.failures.min(16));
        let bound = doubled.min(self.policy.cap);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(0.1 + 0.9 * random.fraction())
    }

    /// Notes a failure and waits.
    pub async fn wait(&mut self, clock: &dyn Clock, random: &dyn Random) {
        let time = self.next_wait(random);
        clock.sleep(time).await;
    }

    /// Notes a success: the next failure waits as the first did.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn waits_grow_to_the_cap_and_differ_between_workers() {
        let policy = RetryPolicy::NETWORK;
        let (one, two) = (SeededRandom::new(1), SeededRandom::new(2));
        let (mut a, mut b) = (policy.start(), policy.start());
        let mut same = 0;
        for n in 0..40_u32 {
            let bound = policy.first.saturating_mul(1 << n.min(16)).min(policy.cap);
            let (x, y) = (a.next_wait(&one), b.next_wait(&two));
            assert!(
                x <= bound && y <= bound && x >= bound.mul_f64(0.09),
                "{x:?} of {bound:?}"
            );
            same += usize::from(x == y);
        }
        assert!(same < 3, "two workers wait in step");
        a.reset();
        assert!(a.next_wait(&one) <= policy.first);
    }
}
