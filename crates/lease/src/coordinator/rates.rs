//! How much is read of each held shard, and when that is worth a word in its row.

use std::collections::HashMap;

use frazil_model::ShardId;

/// So many eighths of the average stay at each report: a burst of a few seconds moves no shard.
const KEPT: u64 = 7;
const OF: u64 = 8;

#[derive(Debug, Default)]
pub(super) struct Rates(HashMap<ShardId, Rate>);

#[derive(Debug, Default)]
struct Rate {
    average: u64,
    written: Option<u64>,
}

impl Rates {
    pub(super) fn report(&mut self, shard: &ShardId, bytes_per_s: u64) {
        match self.0.get_mut(shard) {
            Some(rate) => {
                let kept = rate.average.saturating_mul(KEPT) / OF;
                rate.average = kept.saturating_add(bytes_per_s / OF);
            }
            None => {
                let first = Rate {
                    average: bytes_per_s,
                    written: None,
                };
                self.0.insert(shard.clone(), first);
            }
        }
    }

    /// The rate, if it differs by more than a quarter from what was written: others shall see no noise.
    pub(super) fn to_write(&self, shard: &ShardId) -> Option<u64> {
        let rate = self.0.get(shard)?;
        let differs = rate
            .written
            .is_none_or(|written| rate.average.abs_diff(written) > written.max(rate.average) / 4);
        differs.then_some(rate.average)
    }

    pub(super) fn written(&mut self, shard: &ShardId, rate: Option<u64>) {
        if let (Some(rate), Some(known)) = (rate, self.0.get_mut(shard)) {
            known.written = Some(rate);
        }
    }

    /// A shard that is held anew is measured anew.
    pub(super) fn forget(&mut self, shard: &ShardId) {
        self.0.remove(shard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_told_when_it_changed_much() {
        let shard = ShardId::new("s").expect("valid");
        let mut rates = Rates::default();
        assert_eq!(rates.to_write(&shard), None);
        rates.report(&shard, 1000);
        assert_eq!(rates.to_write(&shard), Some(1000));
        rates.written(&shard, Some(1000));
        for wandering in [1200, 800, 1100, 700, 1300] {
            rates.report(&shard, wandering);
            assert_eq!(rates.to_write(&shard), None);
        }
        for _ in 0..20 {
            rates.report(&shard, 3000);
        }
        assert!(
            rates
                .to_write(&shard)
                .is_some_and(|rate| (2500..3000).contains(&rate))
        );
        for _ in 0..200 {
            rates.report(&shard, 0);
        }
        assert!(rates.to_write(&shard).is_some_and(|rate| rate < 10));
    }
}
