//! What a batch under construction holds of the memory budget.
//!
//! How it works: each page comes with what it and its rows usually cost ([`PAGE_COST`]). An aggregate, or a compressed
//! payload, may become many times its size. So a batch may hold as much NDJSON as was set aside for it; where that is
//! less than a full batch, more is taken from the budget if it is there *now*, and if it is not, the batch goes out as it is
//! and the next one begins. A single payload that decompresses to more than is paid for cannot do that. It gets more, or waits
//! for it as the only one that waits while it holds memory ([`crate::budget::Lane`]), so no two shards can wait for each other.

use crate::batch::MAX_RAW_BYTES;
use crate::budget::{MemoryBudget, Reservation};
use crate::shape::MAX_DECOMPRESSED_BYTES;
use crate::shard::reading::PAGE_COST;

/// NDJSON that any batch may hold, in bytes; smaller batches cost more in calls than they spare in memory.
const LEAST: usize = 256 * 1024;
/// What pays for a full batch.
const FULL: usize = MAX_RAW_BYTES / (PAGE_COST - 1) * PAGE_COST + PAGE_COST;

/// What pays for the largest row that a payload may become.
const LARGEST: usize = (MAX_DECOMPRESSED_BYTES + 1024) / (PAGE_COST - 1) * PAGE_COST;

/// The memory of pages and rows; given back when cleared.
#[derive(Debug, Default)]
pub(super) struct Held(Vec<Reservation>);

impl Held {
    pub(super) fn push(&mut self, memory: Reservation) {
        self.0.push(memory);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Bytes of NDJSON that are paid for: all but the pages themselves.
    pub(super) fn allowance(&self) -> usize {
        (self.bytes() / PAGE_COST * (PAGE_COST - 1)).max(LEAST)
    }

    /// How much more a payload that does not fit wants: twice as much as there is, and beyond a full batch the most there can be.
    /// None where it has that.
    pub(super) fn wanted(&self) -> Option<usize> {
        let held = self.bytes();
        let step = if self.allowance() < MAX_RAW_BYTES {
            held.clamp(2 * LEAST, FULL)
        } else {
            LARGEST.saturating_sub(held)
        };
        (step > 0).then_some(step)
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(Reservation::bytes).sum()
    }

    /// Takes as much again as it holds, if a full batch costs more than that and the budget has it now. Answers whether it
    /// did.
    pub(super) fn grow(&mut self, budget: &MemoryBudget) -> bool {
        if self.allowance() >= MAX_RAW_BYTES {
            return false;
        }
        let more = budget.try_reserve(self.bytes().clamp(2 * LEAST, FULL));
        let has_grown = more.is_some();
        self.0.extend(more);
        has_grown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::SMALLEST_SHARE;

    #[tokio::test]
    async fn a_batch_grows_while_the_budget_has_memory_and_waits_for_none() {
        let budget = MemoryBudget::new(SMALLEST_SHARE);
        let mut held = Held::default();
        held.push(budget.reserve(30 * 1024).await);
        assert_eq!(held.allowance(), LEAST);
        let mut before = 0;
        while held.grow(&budget) {
            assert!(held.allowance() > before, "it grows by something each time");
            before = held.allowance();
        }
        assert!(held.allowance() >= MAX_RAW_BYTES, "{}", held.allowance());
        assert!(held.bytes() < 3 * FULL);
        held.clear();
        assert_eq!(budget.in_use(), 0);
        let _others = budget.reserve(SMALLEST_SHARE - 1024 * 1024).await;
        held.push(budget.reserve(900 * 1024).await);
        assert!(!held.grow(&budget));
        assert_eq!(held.allowance(), 600 * 1024);
    }
}
