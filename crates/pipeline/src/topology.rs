//! Which shards may be read now (invariant I6), and where a shard without any position starts.
//!
//! What it is: the pure part of "parents before children". It is told of complete shard lists, of children that the end
//! of a parent named, and of ends; it answers which shards are readable.
//!
//! The rules:
//! - A shard is readable when it has not ended and each of its parents has ended. A parent that no list names any more
//!   counts as ended; had it not been read to its end, that is a loss, told once.
//! - Absence counts only in *complete* lists (every page), and only if [`LISTS_TO_BELIEVE`] in a row show it: one may be stale.
//! - At the application's first start a *pin* was written: the shards that stood then, and the start. Pinned shards begin
//!   at the pin's start; **every other shard begins at TRIM_HORIZON**, because it was born after the start.
//! - Under LATEST the shards that were closed at the pin are ended, unread: nothing new can be in them.
//!
//! What it guarantees: no order of lists, children and ends makes a child readable before its parents ended. What it does
//! not: it asks nobody; the caller lists and remembers.

use std::collections::{BTreeMap, BTreeSet};

use frazil_kinesis::{HashKeyRange, Shard, StartAt};
use frazil_model::ShardId;

/// A shard is gone when so many complete lists, one after the other, do not name it.
pub const LISTS_TO_BELIEVE: u32 = 2;

/// What stood at the application's first start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// Where the shards of the pin begin.
    pub start: StartAt,
    /// The shards of the pin.
    pub shards: BTreeSet<ShardId>,
    /// Those of them that count as ended, unread.
    pub skipped: BTreeSet<ShardId>,
}

/// A shard that left the stream before it was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired(pub ShardId);

#[derive(Debug, Clone, Default)]
struct Known {
    parents: Vec<ShardId>,
    /// None until a list names it.
    hash_range: Option<HashKeyRange>,
    /// Named by a complete list at least once.
    listed: bool,
    /// Complete lists after that, one after the other, that did not name it.
    missed: u32,
    /// So many of them that it is gone.
    absent: bool,
}

/// The shards of a stream as far as they are known.
#[derive(Debug)]
pub struct Topology {
    pinned: Pinned,
    shards: BTreeMap<ShardId, Known>,
    /// Parents and pinned shards that no list ever named, and how many did not.
    unlisted: BTreeMap<ShardId, u32>,
    ended: BTreeSet<ShardId>,
    /// Whether a complete list was seen; before it nothing is readable.
    listed: bool,
}

impl Topology {
    /// A stream of which only the pin and the remembered ends are known.
    #[must_use]
    pub fn new(pinned: Pinned, ended: impl IntoIterator<Item = ShardId>) -> Self {
        let ended = ended.into_iter().chain(pinned.skipped.iter().cloned()).collect();
        Self {
            pinned,
            shards: BTreeMap::new(),
            unlisted: BTreeMap::new(),
            ended,
            listed: false,
        }
    }

    /// Takes a complete list (every page of ListShards) in. Answers the shards that left unread; `started` tells of a
    /// shard whether any worker ever remembered something of it.
    pub fn list(&mut self, list: &[Shard], started: impl Fn(&ShardId) -> bool) -> Vec<Expired> {
        self.listed = true;
        let named: BTreeSet<&ShardId> = list.iter().map(|shard| &shard.id).collect();
        for shard in list {
            let known = self.shards.entry(shard.id.clone()).or_default();
            known.parents.clone_from(&shard.parents);
            known.hash_range = Some(shard.hash_range);
            known.listed = true;
            known.missed = 0;
            known.absent = false;
        }
        let mut expired = Vec::new();
        for (id, known) in &mut self.shards {
            if !known.listed || known.absent || named.contains(id) {
                continue;
            }
            known.missed += 1;
            known.absent = known.missed >= LISTS_TO_BELIEVE;
            if known.absent && !self.ended.contains(id) {
                expired.push(Expired(id.clone()));
            }
        }
        expired.extend(self.miss(&named, started));
        expired
    }

    /// Counts what no list ever named: it left while no worker ran, or the list is stale. Answers what was lost: remembered as
    /// begun, or pinned, and not ended.
    fn miss(&mut self, named: &BTreeSet<&ShardId>, started: impl Fn(&ShardId) -> bool) -> Vec<Expired> {
        let missing = self.unlisted_parents_and_pins(named);
        self.unlisted.retain(|id, _| missing.contains(id));
        let mut expired = Vec::new();
        for id in missing {
            let missed = self.unlisted.entry(id.clone()).or_default();
            *missed += 1;
            if *missed < LISTS_TO_BELIEVE {
                continue;
            }
            self.unlisted.remove(&id);
            if !self.ended.contains(&id) && (started(&id) || self.pinned.shards.contains(&id)) {
                expired.push(Expired(id.clone()));
            }
            let gone = Known {
                listed: true,
                absent: true,
                ..Known::default()
            };
            self.shards.insert(id, gone);
        }
        expired
    }

    fn unlisted_parents_and_pins(&self, named: &BTreeSet<&ShardId>) -> BTreeSet<ShardId> {
        let parents = self.shards.values().flat_map(|known| &known.parents);
        let all = parents.chain(&self.pinned.shards);
        all.filter(|id| !named.contains(id) && !self.shards.contains_key(*id))
            .cloned()
            .collect()
    }

    /// Takes a child in that the end of its parent named, before any list does.
    pub fn child(&mut self, id: ShardId, parents: Vec<ShardId>) {
        let known = self.shards.entry(id).or_default();
        if !known.listed {
            known.parents = parents;
        }
    }

    /// Remembers that a shard was read and committed to its end.
    pub fn end(&mut self, id: ShardId) {
        self.ended.insert(id);
    }

    /// Whether the shard was read and committed to its end, or is skipped.
    #[must_use]
    pub fn has_ended(&self, id: &ShardId) -> bool {
        self.ended.contains(id)
    }

    /// The shards that may be read now.
    #[must_use]
    pub fn readable(&self) -> Vec<ShardId> {
        if !self.listed {
            return Vec::new();
        }
        let shards = self.shards.iter();
        let readable = shards.filter(|(id, known)| {
            !known.absent && !self.ended.contains(*id) && known.parents.iter().all(|p| self.is_behind(p))
        });
        readable.map(|(id, _)| id.clone()).collect()
    }

    /// Whether a shard waits for its parents.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        let shards = self.shards.iter();
        let open = shards.filter(|(id, known)| !known.absent && !self.ended.contains(*id));
        open.into_iter()
            .any(|(_, known)| known.parents.iter().any(|parent| !self.is_behind(parent)))
    }

    /// A parent that holds nobody back any more.
    fn is_behind(&self, parent: &ShardId) -> bool {
        // One that a child named before any list did may still be read by another worker: only a list makes it absent.
        self.ended.contains(parent) || self.shards.get(parent).is_some_and(|known| known.absent)
    }

    /// The shard's slice of hash keys, if a list named it already.
    #[must_use]
    pub fn hash_range(&self, id: &ShardId) -> Option<HashKeyRange> {
        self.shards.get(id)?.hash_range
    }

    /// Where a shard without any position begins.
    #[must_use]
    pub fn start(&self, id: &ShardId) -> StartAt {
        if self.pinned.shards.contains(id) {
            self.pinned.start.clone()
        } else {
            StartAt::TrimHorizon
        }
    }
}

#[cfg(test)]
mod tests {
    use frazil_model::SequenceNumber;

    use super::*;

    fn id(name: &str) -> ShardId {
        ShardId::new(name).expect("a shard id")
    }

    fn shard(name: &str, parents: &[&str]) -> Shard {
        Shard {
            id: id(name),
            parents: parents.iter().map(|p| id(p)).collect(),
            hash_range: HashKeyRange {
                start: 0,
                end: u128::MAX,
            },
            starting_sequence: SequenceNumber::new("1").expect("digits"),
            ending_sequence: None,
        }
    }

    fn pinned(start: StartAt, shards: &[&str], skipped: &[&str]) -> Pinned {
        let set = |names: &[&str]| names.iter().map(|n| id(n)).collect();
        Pinned {
            start,
            shards: set(shards),
            skipped: set(skipped),
        }
    }

    fn never(_: &ShardId) -> bool {
        false
    }

    #[test]
    fn a_merged_child_waits_for_both_parents() {
        let mut topology = Topology::new(pinned(StartAt::TrimHorizon, &["a", "b"], &[]), []);
        assert!(
            topology.readable().is_empty(),
            "nothing is readable before a complete list"
        );
        topology.list(
            &[shard("a", &[]), shard("b", &[]), shard("c", &["a", "b"])],
            never,
        );
        assert_eq!(topology.readable(), [id("a"), id("b")]);
        topology.end(id("a"));
        assert_eq!(topology.readable(), [id("b")]);
        topology.end(id("b"));
        assert_eq!(topology.readable(), [id("c")]);
    }

    #[test]
    fn a_child_named_by_its_parents_end_waits_for_the_other_parent() {
        let mut topology = Topology::new(pinned(StartAt::TrimHorizon, &["a", "b"], &[]), []);
        topology.list(&[shard("a", &[]), shard("b", &[])], never);
        topology.child(id("c"), vec![id("a"), id("b")]);
        topology.end(id("a"));
        assert_eq!(topology.readable(), [id("b")]);
        topology.end(id("b"));
        assert_eq!(topology.readable(), [id("c")]);
    }

    #[test]
    fn children_born_after_the_start_begin_at_trim_horizon() {
        let latest = StartAt::Timestamp { ms: 5 };
        let mut topology = Topology::new(pinned(latest.clone(), &["old", "a"], &["old"]), []);
        topology.list(
            &[shard("old", &[]), shard("a", &["old"]), shard("b", &["a"])],
            never,
        );
        assert_eq!(
            topology.readable(),
            [id("a")],
            "the closed shard is skipped, its open child is not"
        );
        assert_eq!(topology.start(&id("a")), latest);
        assert_eq!(topology.start(&id("b")), StartAt::TrimHorizon);
    }

    #[test]
    fn an_absent_parent_holds_nobody_back_and_is_a_loss_if_it_was_begun() {
        let mut topology = Topology::new(pinned(StartAt::TrimHorizon, &[], &[]), []);
        let list = [shard("b", &["gone"]), shard("c", &["begun"])];
        let begun = |shard: &ShardId| *shard == id("begun");
        assert_eq!(topology.list(&list, begun), [], "one list may be stale");
        assert!(topology.readable().is_empty() && topology.has_waiting());
        assert_eq!(topology.list(&list, begun), [Expired(id("begun"))]);
        assert_eq!(topology.readable(), [id("b"), id("c")]);
        assert!(topology.list(&list, |_| true).is_empty(), "told twice");
    }

    #[test]
    fn case_24_a_stale_list_starts_nothing_and_loses_nothing() {
        let mut topology = Topology::new(pinned(StartAt::TrimHorizon, &["a", "b"], &[]), []);
        let whole = [shard("a", &[]), shard("b", &[]), shard("c", &["a"])];
        // The first list lacks the parent, a later one everything that is new, one is empty; never two in a row the same.
        for stale in [&whole[1..], &whole[..2], &[], &whole[1..], &whole[..1]] {
            assert_eq!(topology.list(stale, |_| true), []);
            assert!(
                !topology.readable().contains(&id("c")),
                "a child before its parent"
            );
            assert_eq!(topology.list(&whole, |_| true), []);
            assert_eq!(topology.readable(), [id("a"), id("b")]);
        }
        topology.end(id("a"));
        assert_eq!(topology.readable(), [id("b"), id("c")]);
    }

    #[test]
    fn a_shard_that_expires_while_it_is_read_is_told_once() {
        let mut topology = Topology::new(pinned(StartAt::TrimHorizon, &["a"], &[]), []);
        topology.list(&[shard("a", &[]), shard("b", &["a"])], never);
        assert_eq!(topology.list(&[shard("b", &["a"])], never), []);
        assert_eq!(topology.list(&[shard("b", &["a"])], never), [Expired(id("a"))]);
        assert!(topology.list(&[shard("b", &["a"])], never).is_empty());
        assert_eq!(topology.readable(), [id("b")]);
    }

    #[test]
    fn a_remembered_end_frees_the_children_after_a_restart() {
        let mut topology = Topology::new(pinned(StartAt::TrimHorizon, &["a"], &[]), [id("a")]);
        topology.list(&[shard("a", &[]), shard("b", &["a"])], never);
        assert_eq!(topology.readable(), [id("b")]);
    }
}
