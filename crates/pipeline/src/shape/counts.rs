//! What shaping counts, beside rows and letters.

use std::collections::BTreeMap;

use frazil_model::{Event, Events, ShardId};

/// The reason under which dropped user records are counted.
pub const OUT_OF_HASH_RANGE: &str = "out_of_hash_range";

/// Counts since they were taken last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShapeCounts {
    /// Records that had a field of the metadata key's name.
    pub replaced: u64,
    /// User records outside of the shard's hash keys that became rows or letters all the same.
    pub out_of_range_kept: u64,
    /// User records outside of the shard's hash keys that were dropped.
    pub out_of_range_dropped: u64,
    /// Records that look like aggregates and are none, by reason.
    pub broken_aggregates: BTreeMap<&'static str, u64>,
}

impl ShapeCounts {
    /// Emits an event for each count that is not zero.
    pub fn tell(self, events: &Events, shard: &ShardId) {
        if self == Self::default() {
            return;
        }
        let shard = || shard.clone();
        if self.replaced > 0 {
            let (shard, count) = (shard(), self.replaced);
            events.emit(Event::MetadataReplaced { shard, count });
        }
        if self.out_of_range_kept > 0 {
            let (shard, count) = (shard(), self.out_of_range_kept);
            events.emit(Event::OutOfHashRange { shard, count });
        }
        if self.out_of_range_dropped > 0 {
            let (shard, count, reason) = (shard(), self.out_of_range_dropped, OUT_OF_HASH_RANGE);
            events.emit(Event::RecordsDropped { shard, count, reason });
        }
        for (reason, count) in self.broken_aggregates {
            let shard = shard();
            events.emit(Event::BrokenAggregates { shard, count, reason });
        }
    }
}
