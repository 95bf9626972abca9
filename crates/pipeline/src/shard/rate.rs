//! How much is read of a shard, for whoever shares the shards out.

use std::time::Duration;

use frazil_model::Instant;

/// The rate is told this often.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// Counts a shard's bytes and tells their rate, in bytes a second.
pub(crate) struct Rate {
    tell: Box<dyn Fn(u64) + Send>,
    since: Instant,
    bytes: u64,
}

impl Rate {
    pub(crate) fn begin(tell: impl Fn(u64) + Send + 'static, now: Instant) -> Self {
        Self {
            tell: Box::new(tell),
            since: now,
            bytes: 0,
        }
    }

    /// These bytes were read, perhaps none.
    pub(crate) fn read(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes as u64;
        let passed = now.since(self.since);
        if passed < TOLD_EVERY {
            return;
        }
        (self.tell)((self.bytes as f64 / passed.as_secs_f64()) as u64);
        (self.bytes, self.since) = (0, now);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_rate_is_told_every_few_seconds_zero_included() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let (into, begun) = (Arc::clone(&told), Instant::default());
        let tell = move |rate| into.lock().expect("no panic").push(rate);
        let mut rate = Rate::begin(tell, begun);
        for second in 1..=15 {
            let bytes = if second <= 10 { 2000 } else { 0 };
            rate.read(bytes, begun + Duration::from_secs(second));
        }
        assert_eq!(*told.lock().expect("no panic"), [2000, 2000, 0]);
    }
}
