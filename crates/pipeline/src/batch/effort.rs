//! How hard to compress: by how much of the processors' time it takes.
//!
//! How it works: what compressing took is added up over windows of two seconds, and set against the time that all processors had.
//! A worker whose processors spend more than 55 of 100 parts on it has none to spare (at its limit it spends about 60 so), and goes
//! to a level that takes two thirds of the time for 15 to 30 of 100 more bytes; below 25 it goes back. Between the two nothing changes, and
//! what a change of level does to the share does not lead back over the other bound.
//!
//! What it does not: it knows neither the network nor other programs of the machine, but for the time they take away from us.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use frazil_model::Instant;

use super::compress::{DEFAULT_LEVEL, locked};

/// Where there is no time to spare.
pub const FAST_LEVEL: i32 = -1;
const WINDOW: Duration = Duration::from_secs(2);
/// Parts of a hundred.
const BUSY: u128 = 55;
const RELAXED: u128 = 25;

#[derive(Debug, Default)]
struct Window {
    begun: Option<Instant>,
    spent: Duration,
}

/// The level for now.
#[derive(Debug)]
pub(super) struct Effort {
    processors: u32,
    level: AtomicI32,
    window: Mutex<Window>,
}

impl Effort {
    pub(super) fn of(processors: u32) -> Self {
        Self {
            processors,
            level: AtomicI32::new(DEFAULT_LEVEL),
            window: Mutex::default(),
        }
    }

    pub(super) fn level(&self) -> i32 {
        self.level.load(Ordering::Relaxed)
    }

    /// Takes in that compressing took so long until now.
    pub(super) fn spent(&self, took: Duration, now: Instant) {
        let mut window = locked(&self.window);
        let begun = *window.begun.get_or_insert(now);
        window.spent += took;
        let had = now.since(begun);
        if had < WINDOW {
            return;
        }
        let share = window.spent.as_micros() * 100 / (had * self.processors).as_micros().max(1);
        *window = Window {
            begun: Some(now),
            spent: Duration::ZERO,
        };
        drop(window);
        let level = match share {
            BUSY.. => FAST_LEVEL,
            0..RELAXED => DEFAULT_LEVEL,
            _ => return,
        };
        if self.level.swap(level, Ordering::Relaxed) != level {
            tracing::debug!(level, "compression level changed");
        }
    }
}

#[cfg(test)]
mod tests {
    use frazil_model::{Clock as _, PausedClock};

    use super::*;

    /// Lets ten seconds go by in which compressing takes so many milliseconds of each 100.
    async fn ten_seconds(effort: &Effort, clock: &PausedClock, busy_ms: u64) -> i32 {
        for _ in 0..100 {
            clock.advance(Duration::from_millis(100)).await;
            effort.spent(Duration::from_millis(busy_ms), clock.now());
        }
        effort.level()
    }

    #[tokio::test]
    async fn a_busy_worker_compresses_faster_and_an_idle_one_better() {
        let (effort, clock) = (Effort::of(2), PausedClock::at_wall_ms(0));
        assert_eq!(effort.level(), DEFAULT_LEVEL);
        // Of the 200 ms that two processors have.
        assert_eq!(ten_seconds(&effort, &clock, 100).await, DEFAULT_LEVEL, "half");
        assert_eq!(
            ten_seconds(&effort, &clock, 122).await,
            FAST_LEVEL,
            "at its limit"
        );
        assert_eq!(
            ten_seconds(&effort, &clock, 100).await,
            FAST_LEVEL,
            "the limit at that level"
        );
        assert_eq!(ten_seconds(&effort, &clock, 52).await, FAST_LEVEL);
        assert_eq!(ten_seconds(&effort, &clock, 48).await, DEFAULT_LEVEL);
        assert_eq!(
            ten_seconds(&effort, &clock, 78).await,
            DEFAULT_LEVEL,
            "the same rows at that level"
        );
    }

    #[tokio::test]
    async fn one_batch_after_a_pause_changes_nothing() {
        let (effort, clock) = (Effort::of(1), PausedClock::at_wall_ms(0));
        for _ in 0..10 {
            clock.advance(Duration::from_secs(60)).await;
            effort.spent(Duration::from_millis(1900), clock.now());
            assert_eq!(effort.level(), DEFAULT_LEVEL);
        }
    }
}
