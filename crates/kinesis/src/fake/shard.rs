//! One shard of the fake, and where reading it begins.

use frazil_model::{SequenceNumber, ShardId};

use super::number;
use crate::door::{HashKeyRange, StartAt};

#[derive(Debug, Clone)]
pub(super) struct FakeRecord {
    pub(super) sequence: u64,
    pub(super) key: String,
    pub(super) data: Vec<u8>,
    pub(super) arrival_ms: i64,
}

#[derive(Debug)]
pub(super) struct FakeShard {
    pub(super) parents: Vec<ShardId>,
    pub(super) range: HashKeyRange,
    pub(super) begins: u64,
    pub(super) ends: Option<u64>,
    pub(super) records: Vec<FakeRecord>,
    /// So many of them have left the stream.
    pub(super) trimmed: usize,
    pub(super) expired: bool,
}

impl FakeShard {
    /// The first record to read.
    pub(super) fn index(&self, at: &StartAt) -> usize {
        let records = &self.records;
        let parse = |sequence: &SequenceNumber| sequence.as_str().parse::<u64>().unwrap_or(u64::MAX);
        let index = match at {
            StartAt::TrimHorizon => 0,
            StartAt::Timestamp { ms } => records.partition_point(|record| record.arrival_ms < *ms),
            StartAt::At(sequence) => records.partition_point(|record| record.sequence < parse(sequence)),
            StartAt::After(sequence) => records.partition_point(|record| record.sequence <= parse(sequence)),
        };
        index.max(self.trimmed)
    }

    /// Whether the place is named by a number that has left the stream.
    pub(super) fn is_trimmed(&self, at: &StartAt) -> bool {
        let (StartAt::At(sequence) | StartAt::After(sequence)) = at else {
            return false;
        };
        let last = self
            .trimmed
            .checked_sub(1)
            .and_then(|last| self.records.get(last));
        last.is_some_and(|last| *sequence <= number(last.sequence))
    }
}
