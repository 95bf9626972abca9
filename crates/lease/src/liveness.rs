//! Whether another worker lives, judged on this worker's own clock.
//!
//! How it works: whatever moves while its owner lives (a worker's beat, a foreign node's heartbeat, a foreign lease's expiry) is
//! observed under a key. Its *stillness* is the time for which it did not change, summed only **between successful reads at
//! most a given gap apart**. Nobody's wall clock is compared with anything.
//!
//! What it guarantees: time that this worker slept, or could not read, or could not beat itself, never counts against
//! another. A worker takes over from the dead only after two beats of its own in a row were confirmed.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use frazil_model::Instant;

/// Beats of its own that a worker must have confirmed before it takes over from another.
pub const OWN_BEATS: u32 = 2;

#[derive(Debug, Clone)]
struct Watched<V> {
    value: V,
    read_at: Instant,
    still: Duration,
    moved: bool,
}

/// What was observed of others.
#[derive(Debug, Clone)]
pub struct Liveness<K, V> {
    gap: Duration,
    own_beats: u32,
    began: Option<Instant>,
    watched: HashMap<K, Watched<V>>,
}

impl<K: Hash + Eq + Clone, V: PartialEq> Liveness<K, V> {
    /// Reads further than `gap` apart prove nothing about the time between them.
    #[must_use]
    pub fn new(gap: Duration) -> Self {
        Self {
            gap,
            own_beats: 0,
            began: None,
            watched: HashMap::new(),
        }
    }

    /// Takes in what a read at `now` showed under a key.
    pub fn observe(&mut self, now: Instant, key: &K, value: V) {
        let began = *self.began.get_or_insert(now);
        let Some(watched) = self.watched.get_mut(key) else {
            let fresh = Watched {
                value,
                read_at: now,
                still: Duration::ZERO,
                moved: now > began,
            };
            self.watched.insert(key.clone(), fresh);
            return;
        };
        let since = now.since(watched.read_at);
        if watched.value != value || since > self.gap {
            watched.still = Duration::ZERO;
        } else {
            watched.still += since;
        }
        watched.moved |= watched.value != value;
        watched.value = value;
        watched.read_at = now;
    }

    /// Takes in whether this worker's own beat was confirmed. One that was not restarts what is known of all others.
    pub fn own_beat(&mut self, confirmed: bool) {
        if confirmed {
            self.own_beats = self.own_beats.saturating_add(1);
        } else {
            self.restart();
        }
    }

    /// Forgets all stillness: this worker was away itself.
    pub fn restart(&mut self) {
        self.own_beats = 0;
        for watched in self.watched.values_mut() {
            watched.still = Duration::ZERO;
        }
    }

    /// Whether this worker may judge others at all.
    #[must_use]
    pub fn may_judge(&self) -> bool {
        self.own_beats >= OWN_BEATS
    }

    /// For how long the value was seen to stand still; zero where it never was observed.
    #[must_use]
    pub fn still(&self, key: &K) -> Duration {
        self.watched
            .get(key)
            .map_or(Duration::ZERO, |watched| watched.still)
    }

    /// Whether the value was seen to change, or to appear after the first read: until then it may be a dead worker's that
    /// stood there for ever.
    #[must_use]
    pub fn moved(&self, key: &K) -> bool {
        self.watched.get(key).is_some_and(|watched| watched.moved)
    }

    /// Forgets what was not read for this long: nobody shows it any more.
    pub fn forget_unread(&mut self, now: Instant, for_at_least: Duration) {
        self.watched
            .retain(|_, watched| now.since(watched.read_at) < for_at_least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: Duration = Duration::from_secs(20);

    fn at(seconds: u64) -> Instant {
        Instant::from_zero(Duration::from_secs(seconds))
    }

    #[test]
    fn stillness_is_the_time_between_reads_that_showed_the_same() {
        let mut liveness = Liveness::new(GAP);
        for (second, beat, still) in [(0, 1, 0), (10, 1, 10), (20, 1, 20), (30, 2, 0), (37, 2, 7)] {
            liveness.observe(at(second), &"a", beat);
            assert_eq!(liveness.still(&"a"), Duration::from_secs(still), "at {second} s");
        }
        assert_eq!(liveness.still(&"never seen"), Duration::ZERO);
    }

    #[test]
    fn what_stood_there_at_the_first_read_has_not_moved() {
        let mut liveness = Liveness::new(GAP);
        liveness.observe(at(5), &"old", 1);
        liveness.observe(at(7), &"old", 1);
        liveness.observe(at(7), &"joined", 1);
        assert!(!liveness.moved(&"old"));
        assert!(liveness.moved(&"joined"));
        liveness.observe(at(9), &"old", 2);
        assert!(liveness.moved(&"old"));
    }

    #[test]
    fn a_gap_of_the_observer_proves_nothing() {
        let mut liveness = Liveness::new(GAP);
        liveness.observe(at(0), &"a", 1);
        liveness.observe(at(19), &"a", 1);
        liveness.observe(at(60), &"a", 1);
        assert_eq!(liveness.still(&"a"), Duration::ZERO);
        liveness.observe(at(80), &"a", 1);
        assert_eq!(liveness.still(&"a"), GAP);
    }

    #[test]
    fn a_failed_own_beat_restarts_all_counters() {
        let mut liveness = Liveness::new(GAP);
        liveness.own_beat(true);
        assert!(!liveness.may_judge());
        liveness.own_beat(true);
        assert!(liveness.may_judge());
        liveness.observe(at(0), &"a", 1);
        liveness.observe(at(10), &"a", 1);
        liveness.own_beat(false);
        assert!(!liveness.may_judge());
        assert_eq!(liveness.still(&"a"), Duration::ZERO);
    }
}
