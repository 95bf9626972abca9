//! Who should hold how many shards, and what this worker does about it.
//!
//! How it works: every worker computes the same quotas from the same rows. With `n` shards and `w` live workers each gets
//! `n / w`, and the `n % w` workers that hold most (ties by id) one more, so that nothing moves without need. A worker
//! below its quota takes free shards; one above it drains some and gives them back. Which ones follows from a hash of
//! worker and shard, so that workers that start together reach for different shards.
//!
//! What it guarantees: once the rows stand still, all plans are empty after a few rounds and no two workers differ by more
//! than one shard; nothing moves back and forth. What it does not: it counts shards, not bytes.

use std::collections::BTreeSet;

use frazil_model::{ShardId, WorkerId};

/// Who holds an unfinished shard that may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Nobody who lives.
    Free,
    /// This worker.
    Mine {
        /// It was asked to drain and give it back.
        draining: bool,
    },
    /// This live worker: its place in [`View::others`].
    Other(usize),
}

/// What a worker sees of an unfinished shard that may be read.
#[derive(Debug, Clone, Copy)]
pub struct ShardView<'a> {
    /// The shard.
    pub shard: &'a ShardId,
    /// Who holds it.
    pub hold: Hold,
}

/// What a worker sees.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// This worker.
    pub me: &'a WorkerId,
    /// The other live workers, each once.
    pub others: Vec<&'a WorkerId>,
    /// The unfinished shards that may be read, each once, without those that a foreign program or a damaged row blocks.
    pub shards: Vec<ShardView<'a>>,
}

/// What this worker does next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Free shards to take.
    pub take: Vec<ShardId>,
    /// Shards to drain and give back.
    pub drain: Vec<ShardId>,
    /// This worker stays below its quota until another one gives something back.
    pub hungry: bool,
}

/// A stable preference of a worker for a shard: FNV-1a over both names.
fn preference(worker: &WorkerId, shard: &ShardId) -> u64 {
    let bytes = worker.as_str().bytes().chain([0]).chain(shard.as_str().bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn quota(view: &View<'_>) -> usize {
    let held_by_me = view
        .shards
        .iter()
        .filter(|s| matches!(s.hold, Hold::Mine { .. }))
        .count();
    let mut held = vec![0_usize; view.others.len()];
    for shard in &view.shards {
        if let Hold::Other(other) = shard.hold
            && let Some(held) = held.get_mut(other)
        {
            *held += 1;
        }
    }
    let workers = view.others.len() + 1;
    let (each, more) = (view.shards.len() / workers, view.shards.len() % workers);
    let others = view.others.iter().zip(held);
    let before_me = others.filter(|(id, held)| *held > held_by_me || (*held == held_by_me && **id < view.me));
    each + usize::from(before_me.count() < more)
}

/// Decides what this worker does next.
#[must_use]
pub fn plan(view: &View<'_>) -> Plan {
    let quota = quota(view);
    let prefer = |shard: &ShardId| (preference(view.me, shard), shard.clone());
    let mut mine = BTreeSet::new();
    let mut free = BTreeSet::new();
    let mut draining = 0;
    for shard in &view.shards {
        match shard.hold {
            Hold::Mine { draining: true } => draining += 1,
            Hold::Mine { draining: false } => drop(mine.insert(prefer(shard.shard))),
            Hold::Free => drop(free.insert(prefer(shard.shard))),
            Hold::Other(_) => {}
        }
    }
    let held = mine.len() + draining;
    let room = quota.saturating_sub(held);
    let over = held.saturating_sub(quota).saturating_sub(draining);
    let take: Vec<ShardId> = free.into_iter().take(room).map(|(_, shard)| shard).collect();
    Plan {
        hungry: take.len() < room,
        take,
        // The least preferred first: they are the likeliest to be another's choice.
        drain: mine
            .into_iter()
            .rev()
            .take(over)
            .map(|(_, shard)| shard)
            .collect(),
    }
}

#[cfg(test)]
mod tests;
