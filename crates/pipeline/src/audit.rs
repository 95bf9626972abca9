//! Do the open shards of a stream take every hash key?
//!
//! At any moment they must (Kinesis Developer Guide, "Resharding a stream"): a hole in a complete list means a shard that
//! nobody will read. A list may be read in the midst of a reshard, so only a hole that stands in several lists is told.

use frazil_kinesis::{HashKeyRange, Shard};

/// A hole is told when it stood in so many complete lists, one after the other.
const LISTS: u32 = 3;

/// Remembers the hole that was seen last.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    hole: Option<HashKeyRange>,
    seen: u32,
}

impl Audit {
    /// Looks at a complete list; answers the first hole in it once, when it has stood for long.
    pub(crate) fn look(&mut self, shards: &[Shard]) -> Option<HashKeyRange> {
        let hole = first_hole(shards);
        self.seen = if hole.is_some() && hole == self.hole {
            self.seen.saturating_add(1)
        } else {
            1
        };
        self.hole = hole;
        hole.filter(|_| self.seen == LISTS)
    }
}

/// The lowest range of hash keys that no open shard takes.
fn first_hole(shards: &[Shard]) -> Option<HashKeyRange> {
    let mut ranges: Vec<HashKeyRange> = shards
        .iter()
        .filter(|shard| !shard.is_closed())
        .map(|shard| shard.hash_range)
        .collect();
    ranges.sort_by_key(|range| range.start);
    let mut next = 0;
    for range in ranges {
        if range.start > next {
            let end = range.start - 1;
            return Some(HashKeyRange { start: next, end });
        }
        match range.end.checked_add(1) {
            Some(behind) => next = behind.max(next),
            None => return None,
        }
    }
    let end = u128::MAX;
    Some(HashKeyRange { start: next, end })
}

#[cfg(test)]
mod tests {
    use frazil_model::{SequenceNumber, ShardId};

    use super::*;

    fn shard(start: u128, end: u128, closed: bool) -> Shard {
        let number = |text: &str| SequenceNumber::new(text).expect("digits");
        Shard {
            id: ShardId::new(format!("shard-{start}")).expect("an id"),
            parents: Vec::new(),
            hash_range: HashKeyRange { start, end },
            starting_sequence: number("1"),
            ending_sequence: closed.then(|| number("2")),
        }
    }

    #[test]
    fn case_29_a_hole_that_stays_is_told_once() {
        let whole = [
            shard(100, u128::MAX, false),
            shard(0, 99, false),
            shard(0, 49, true),
        ];
        let closed = [shard(100, u128::MAX, false), shard(0, 99, true)];
        let mut audit = Audit::default();
        assert_eq!(audit.look(&whole), None);
        let hole = HashKeyRange { start: 0, end: 99 };
        let told: Vec<_> = (0..6).map(|_| audit.look(&closed)).collect();
        assert_eq!(told, [None, None, Some(hole), None, None, None]);
        // A reshard in the midst of a list is no hole.
        assert_eq!(
            [audit.look(&whole), audit.look(&closed), audit.look(&whole)],
            [None; 3]
        );
    }

    #[test]
    fn holes_are_found_at_both_ends_and_overlaps_are_none() {
        let hole = |start, end| Some(HashKeyRange { start, end });
        assert_eq!(first_hole(&[]), hole(0, u128::MAX));
        assert_eq!(first_hole(&[shard(0, 9, false)]), hole(10, u128::MAX));
        assert_eq!(first_hole(&[shard(5, u128::MAX, false)]), hole(0, 4));
        let overlapping = [shard(0, u128::MAX, false), shard(3, 9, false)];
        assert_eq!(first_hole(&overlapping), None);
    }
}
