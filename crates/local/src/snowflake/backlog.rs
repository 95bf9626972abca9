//! Accepted batches that wait for their commit, by table, in log order.
//!
//! Only their heads are in memory; the rows stay in the log until the committer reads them. The total is bounded: over
//! [`LIMIT_BYTES`] of rows the protocol answers 429.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::log::Batch;

/// Decompressed bytes that may wait.
pub(crate) const LIMIT_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// The waiting batches of all tables.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    tables: Mutex<BTreeMap<i64, VecDeque<Arc<Batch>>>>,
    bytes: AtomicU64,
    arrived: Notify,
}

impl Backlog {
    pub(crate) fn push(&self, batches: Vec<Batch>) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        for batch in batches {
            self.bytes
                .fetch_add(u64::from(batch.record.raw_length), Ordering::AcqRel);
            tables
                .entry(batch.record.table_id)
                .or_default()
                .push_back(Arc::new(batch));
        }
        drop(tables);
        self.arrived.notify_one();
    }

    /// Returns when something was pushed since the last time this returned.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Lets [`Backlog::arrived`] return once, for what is left.
    pub(crate) fn poke(&self) {
        self.arrived.notify_one();
    }

    /// Tables that have a waiting batch.
    pub(crate) fn tables(&self) -> Vec<i64> {
        self.tables
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .copied()
            .collect()
    }

    /// The first batches of a table: at least one, else up to `limit` decompressed bytes and `most` batches.
    pub(crate) fn first(&self, table: i64, limit: u64, most: usize) -> Vec<Arc<Batch>> {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = 0;
        let Some(queue) = tables.get(&table) else {
            return Vec::new();
        };
        let fits = |batch: &&Arc<Batch>| {
            let first = bytes == 0;
            bytes += u64::from(batch.record.raw_length).max(1);
            first || bytes <= limit
        };
        queue.iter().take(most).take_while(fits).cloned().collect()
    }

    /// Removes the first `count` batches of a table: they are committed or discarded.
    pub(crate) fn done(&self, table: i64, count: usize) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = tables.get_mut(&table) else {
            return;
        };
        for batch in queue.drain(..count.min(queue.len())) {
            self.bytes
                .fetch_sub(u64::from(batch.record.raw_length), Ordering::AcqRel);
        }
        if queue.is_empty() {
            tables.remove(&table);
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Acquire) > LIMIT_BYTES
    }
}
