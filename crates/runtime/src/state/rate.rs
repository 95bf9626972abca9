//! How much per second, over the last ten seconds.

use std::time::Duration;

use frazil_model::Instant;

const SECONDS: u64 = 10;

/// Sums of the last whole seconds, in a ring of one slot for each.
#[derive(Debug, Default)]
pub(super) struct Rate {
    slots: [u64; SECONDS as usize + 1],
    newest: u64,
}

fn second(now: Instant) -> u64 {
    now.since(Instant::from_zero(Duration::ZERO)).as_secs()
}

fn slot(second: u64) -> usize {
    usize::try_from(second % (SECONDS + 1)).expect("a remainder below 11")
}

impl Rate {
    /// Empties the slots between the newest and now.
    fn turn(&mut self, now: u64) {
        let stale = now.saturating_sub(self.newest).min(SECONDS + 1);
        for n in 0..stale {
            self.slots[slot(now - n)] = 0;
        }
        self.newest = self.newest.max(now);
    }

    pub(super) fn add(&mut self, now: Instant, amount: u64) {
        let now = second(now);
        self.turn(now);
        // A clock that gave an earlier time than before: counted with the newest.
        self.slots[slot(self.newest)] += amount;
    }

    /// The mean of the last ten whole seconds; the running one does not count.
    pub(super) fn per_second(&mut self, now: Instant) -> f64 {
        self.turn(second(now));
        let running = self.slots[slot(self.newest)];
        (self.slots.iter().sum::<u64>() - running) as f64 / SECONDS as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_flow_shows_its_rate_and_its_end() {
        let mut rate = Rate::default();
        let at = |seconds: u64| Instant::from_zero(Duration::from_millis(seconds * 1000 + 500));
        for second in 100..130 {
            rate.add(at(second), 30);
            rate.add(at(second), 20);
        }
        assert_eq!(rate.per_second(at(129)), 50.0);
        assert_eq!(rate.per_second(at(130)), 50.0);
        assert_eq!(rate.per_second(at(135)), 25.0);
        assert_eq!(rate.per_second(at(140)), 0.0);
        rate.add(at(1_000_000), 5);
        assert_eq!(rate.per_second(at(1_000_001)), 0.5);
    }
}
