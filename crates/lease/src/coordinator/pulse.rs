//! Whether this worker itself was awake.
//!
//! The coordinator's loop takes a *turn* at least every few seconds, also while the lease table is silent, because each of its
//! waits is bounded. A turn that comes later than the limit shows that the process slept (SIGSTOP, a suspended machine, a
//! starved runtime): then others may have taken what it held, and only a read of the table that *began* after the sleep can
//! tell. A table that cannot be reached makes no turn late, so that held shards go on without it.

use std::time::Duration;

use frazil_model::Instant;

#[derive(Debug)]
pub(super) struct Pulse {
    limit: Duration,
    last_turn: Instant,
    /// A read that began before this says nothing.
    asleep_until: Instant,
    must_read: bool,
}

impl Pulse {
    /// Nothing was read yet.
    pub(super) fn new(limit: Duration, now: Instant) -> Self {
        Self {
            limit,
            last_turn: now,
            asleep_until: now,
            must_read: true,
        }
    }

    /// Notes that the loop is awake. Answers whether it had slept.
    pub(super) fn turn(&mut self, now: Instant) -> bool {
        let slept = now.since(self.last_turn) > self.limit;
        if slept {
            self.must_read = true;
            self.asleep_until = now;
        }
        self.last_turn = now;
        slept
    }

    /// Notes that all rows were read and what they showed is done, by a read that began at `began`.
    pub(super) fn read(&mut self, began: Instant) {
        if began >= self.asleep_until {
            self.must_read = false;
        }
    }

    pub(super) fn must_read(&self) -> bool {
        self.must_read
    }

    pub(super) fn may_act(&self, now: Instant) -> bool {
        !self.must_read && now.since(self.last_turn) <= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_zero(Duration::from_secs(seconds))
    }

    #[test]
    fn after_a_sleep_only_a_read_that_began_later_counts() {
        let mut pulse = Pulse::new(Duration::from_secs(15), at(0));
        assert!(!pulse.may_act(at(0)), "nothing was read yet");
        pulse.read(at(0));
        assert!(pulse.may_act(at(15)));
        assert!(
            !pulse.may_act(at(16)),
            "asleep, though no turn has noticed it yet"
        );
        assert!(pulse.turn(at(60)));
        assert!(!pulse.may_act(at(60)));
        pulse.read(at(14));
        assert!(!pulse.may_act(at(60)), "the read began before the sleep");
        pulse.read(at(60));
        assert!(pulse.may_act(at(60)));
    }

    #[test]
    fn turns_on_time_keep_the_right_to_act_without_any_read() {
        let mut pulse = Pulse::new(Duration::from_secs(15), at(0));
        pulse.read(at(0));
        for second in (0..400).step_by(7) {
            assert!(!pulse.turn(at(second)));
            assert!(pulse.may_act(at(second)));
        }
    }
}
