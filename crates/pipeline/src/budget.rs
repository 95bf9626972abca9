//! Bytes held in memory, counted before they are fetched (invariant I8).
//!
//! What it is: one [`MemoryBudget`] per process, cut into one share per connector. A shard reserves what a page and what
//! becomes of it can cost at most, then fetches, then shrinks the reservation to what came; the reservation travels with
//! the bytes and is given back when they are accepted, or settled without rows.
//!
//! How it works: a fair semaphore in units of [`UNIT`]. Waiters are served in the order they came, so a shard that needs
//! much is not overtaken for ever by shards that need little, and each shard gets its turn.
//!
//! Who holds memory and needs more of it could wait for another who does the same. So only one at a time may ([`Lane`]).
//!
//! What it guarantees: the sum of all reservations never exceeds the share. What it does not: it counts what the way of
//! the data holds, not the program's fixed costs (code, connections, tables of shards).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of one unit of accounting.
pub const UNIT: usize = 1024;
/// The smallest share a connector works with: one largest page (10 MiB of records, a third more as base64) and what
/// becomes of it.
pub const SMALLEST_SHARE: usize = 48 * 1024 * 1024;

/// A connector's share of the process's memory.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    units: Arc<Semaphore>,
    lane: Arc<Semaphore>,
    total_units: usize,
    highest: Arc<AtomicUsize>,
}

/// Bytes set aside; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    permit: OwnedSemaphorePermit,
}

/// The right to wait for memory while holding some.
#[derive(Debug)]
pub struct Lane {
    _permit: OwnedSemaphorePermit,
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT)
}

impl MemoryBudget {
    /// A budget of this many bytes, but not less than [`SMALLEST_SHARE`].
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let total_units = units(bytes.max(SMALLEST_SHARE)).min(u32::MAX as usize);
        Self {
            units: Arc::new(Semaphore::new(total_units)),
            lane: Arc::new(Semaphore::new(1)),
            total_units,
            highest: Arc::default(),
        }
    }

    /// Cuts the process's budget into equal shares.
    #[must_use]
    pub fn shares(bytes: usize, connectors: usize) -> Vec<Self> {
        let share = bytes / connectors.max(1);
        (0..connectors).map(|_| Self::new(share)).collect()
    }

    /// Bytes in all.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total_units * UNIT
    }

    /// Bytes reserved now.
    #[must_use]
    pub fn in_use(&self) -> usize {
        (self.total_units - self.units.available_permits().min(self.total_units)) * UNIT
    }

    /// The most bytes that were ever reserved at a time.
    #[must_use]
    pub fn highest(&self) -> usize {
        self.highest.load(Ordering::Relaxed)
    }

    /// Waits until the bytes are free and sets them aside. More than the whole budget counts as the whole budget: one
    /// page that is larger than all of it passes alone.
    pub async fn reserve(&self, bytes: usize) -> Reservation {
        let wanted = u32::try_from(units(bytes).min(self.total_units)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.units).acquire_many_owned(wanted).await;
        let permit = permit.expect("the semaphore of a budget is never closed");
        self.highest.fetch_max(self.in_use(), Ordering::Relaxed);
        Reservation { permit }
    }

    /// The right to wait for memory while holding some, if nobody has it. Who does not get it lets go of what it holds.
    #[must_use]
    pub fn try_lane(&self) -> Option<Lane> {
        let permit = Arc::clone(&self.lane).try_acquire_owned().ok()?;
        Some(Lane { _permit: permit })
    }

    /// Sets the bytes aside if they are free now and nobody waits for them.
    #[must_use]
    pub fn try_reserve(&self, bytes: usize) -> Option<Reservation> {
        let wanted = u32::try_from(units(bytes)).ok()?;
        let permit = Arc::clone(&self.units).try_acquire_many_owned(wanted).ok()?;
        self.highest.fetch_max(self.in_use(), Ordering::Relaxed);
        Some(Reservation { permit })
    }
}

impl Reservation {
    /// Bytes set aside.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.permit.num_permits() * UNIT
    }

    /// Gives back what is above `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let spare = self.permit.num_permits().saturating_sub(units(bytes));
        drop(self.permit.split(spare));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[tokio::test]
    async fn reservations_never_exceed_the_budget() {
        let budget = MemoryBudget::new(64 * MIB);
        let mut first = budget.reserve(40 * MIB).await;
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.reserve(30 * MIB).await.bytes() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "70 of 64 MiB were given");
        // What is free is kept for the one who waits longest.
        assert!((40 * MIB..=64 * MIB).contains(&budget.in_use()));
        first.shrink_to(MIB);
        assert_eq!(waiting.await.expect("no panic"), 30 * MIB);
        assert_eq!(budget.in_use(), MIB);
        drop(first);
        assert_eq!((budget.in_use(), budget.highest()), (0, 40 * MIB));
    }

    #[tokio::test]
    async fn a_page_larger_than_the_budget_passes_alone() {
        let budget = MemoryBudget::new(0);
        assert_eq!(budget.total(), SMALLEST_SHARE);
        let all = budget.reserve(10 * SMALLEST_SHARE).await;
        assert_eq!(all.bytes(), SMALLEST_SHARE);
    }

    #[test]
    fn connectors_get_equal_shares() {
        let shares = MemoryBudget::shares(256 * MIB, 2);
        assert_eq!(
            shares.iter().map(MemoryBudget::total).collect::<Vec<_>>(),
            [128 * MIB, 128 * MIB]
        );
    }
}
