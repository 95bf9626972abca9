//! Who should hold which shards, and what this worker does about it.
//!
//! How it works: every worker plays the same game over the same rows. A shard weighs one unit, and one more for each
//! [`UNIT`] bytes/s that its row tells; one whose rate is not known weighs as much as the others do on average. Free shards
//! go, heaviest first, to the worker with the least weight; ties follow from a hash of worker and shard. Then, while one
//! worker is much heavier than another, the shard that evens them out best moves. Of all that, a worker carries out its own
//! part: it takes the free shards that are its own, and drains those that move away from it.
//!
//! What it guarantees: without rates, or with equal ones, no two workers end up more than one shard apart. Once the rows stand
//! still, all plans are empty after a few rounds. A shard moves only where its weight is at most two thirds of the difference,
//! and, where weights differ, only where that is at least a fifth of the average load: so it does not move back for noise.
//! A shard of less than half the average weight moves only from a worker that has more shards.
//! What it does not: it does not move a shard whose weight alone is the difference.

use std::collections::BTreeMap;

use frazil_model::{ShardId, WorkerId};

/// Bytes per second that weigh as much as having a shard at all (the calls and beats of an idle one).
pub const UNIT: u64 = 64 * 1024;

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
    /// What its row tells of its rate, in bytes/s.
    pub rate: Option<u64>,
    /// The worker it failed on: it goes to another, if there is one.
    pub failed_on: Option<&'a WorkerId>,
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
    /// Something is to become another's that is not yet: a full look soon shows whether it did, or is this worker's now.
    pub hungry: bool,
}

/// A stable preference of a worker for a shard: FNV-1a over both names.
fn preference(worker: &WorkerId, shard: &ShardId) -> u64 {
    let bytes = worker.as_str().bytes().chain([0]).chain(shard.as_str().bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The weights of the shards, and whether all are the same.
fn weights(shards: &[ShardView<'_>]) -> (Vec<u64>, bool) {
    let known: Vec<u64> = shards
        .iter()
        .filter_map(|shard| shard.rate)
        .map(|rate| 1 + rate / UNIT)
        .collect();
    let sum = known
        .iter()
        .fold(0_u64, |sum, weight| sum.saturating_add(*weight));
    let average = sum.checked_div(known.len() as u64).unwrap_or(1).max(1);
    let weights: Vec<u64> = shards
        .iter()
        .map(|shard| shard.rate.map_or(average, |rate| 1 + rate / UNIT))
        .collect();
    let equal = weights.windows(2).all(|pair| pair[0] == pair[1]);
    (weights, equal)
}

/// A worker in the game.
struct Player<'a> {
    id: &'a WorkerId,
    load: u64,
    /// Its shards, by their place in the view, with its preference for them: thousands are compared again and again.
    shards: Vec<(usize, u64)>,
}

struct Game<'a> {
    view: &'a View<'a>,
    weights: Vec<u64>,
    equal: bool,
    /// By id, so that every worker sees them in one order.
    players: Vec<Player<'a>>,
}

impl<'a> Game<'a> {
    fn new(view: &'a View<'a>) -> Self {
        let (weights, equal) = weights(&view.shards);
        let mut ids: Vec<&WorkerId> = view.others.iter().copied().chain([view.me]).collect();
        ids.sort();
        let players = ids.into_iter().map(|id| Player {
            id,
            load: 0,
            shards: Vec::new(),
        });
        Self {
            players: players.collect(),
            view,
            weights,
            equal,
        }
    }

    fn give(&mut self, player: usize, shard: usize) {
        let player = &mut self.players[player];
        player.load = player.load.saturating_add(self.weights[shard]);
        let preference = preference(player.id, self.view.shards[shard].shard);
        player.shards.push((shard, preference));
    }

    fn may_have(&self, player: usize, shard: usize) -> bool {
        self.players.len() == 1 || self.view.shards[shard].failed_on != Some(self.players[player].id)
    }

    /// Hands out held shards to their holders, and the free ones, heaviest first, to the lightest players.
    fn deal(&mut self) {
        let by_id: BTreeMap<&WorkerId, usize> =
            self.players.iter().enumerate().map(|(n, p)| (p.id, n)).collect();
        let mut free = Vec::new();
        for (n, shard) in self.view.shards.iter().enumerate() {
            let holder = match shard.hold {
                // On its way to be free: it is dealt as if it were.
                Hold::Free | Hold::Mine { draining: true } => None,
                Hold::Mine { draining: false } => Some(self.view.me),
                Hold::Other(other) => self.view.others.get(other).copied(),
            };
            match holder.and_then(|holder| by_id.get(holder)) {
                Some(holder) => self.give(*holder, n),
                None => free.push(n),
            }
        }
        free.sort_by_key(|n| (std::cmp::Reverse(self.weights[*n]), self.view.shards[*n].shard));
        for shard in free {
            let id = self.view.shards[shard].shard;
            let lightest = (0..self.players.len())
                .filter(|player| self.may_have(*player, shard))
                .min_by_key(|player| {
                    let player = &self.players[*player];
                    (
                        player.load,
                        player.shards.len(),
                        preference(player.id, id),
                        player.id,
                    )
                });
            if let Some(lightest) = lightest {
                self.give(lightest, shard);
            }
        }
    }

    /// Moves one shard from a heavier player to the lightest, if that is worth it: (shard, from, to).
    fn even_out(&mut self) -> Option<(usize, usize, usize)> {
        let total = self
            .players
            .iter()
            .fold(0_u64, |sum, player| sum.saturating_add(player.load));
        let least_gap = if self.equal {
            0
        } else {
            total / self.players.len() as u64 / 5
        };
        let mut order: Vec<usize> = (0..self.players.len()).collect();
        order.sort_by_key(|n| {
            (
                self.players[*n].load,
                self.players[*n].shards.len(),
                self.players[*n].id,
            )
        });
        let to = *order.first()?;
        let average = total / self.view.shards.len().max(1) as u64;
        for from in order.into_iter().rev() {
            let gap = self.players[from].load.saturating_sub(self.players[to].load);
            if gap < least_gap {
                return None;
            }
            // A hand-over has its price: a light shard is worth it only where the numbers are uneven too.
            let more = self.players[from].shards.len() > self.players[to].shards.len() + 1;
            let fitting = self.players[from].shards.iter().copied().filter(|(shard, _)| {
                let weight = self.weights[*shard];
                let worth = more || weight.saturating_mul(2) >= average;
                worth && weight.saturating_mul(3) <= gap.saturating_mul(2) && self.may_have(to, *shard)
            });
            // The one that leaves them closest; of equal ones the least preferred: it is the likeliest to be another's choice.
            let best = fitting.min_by_key(|(shard, preference)| {
                let apart = self.weights[*shard].saturating_mul(2).abs_diff(gap);
                let id = self.view.shards[*shard].shard;
                (apart, std::cmp::Reverse(*preference), id)
            });
            if let Some((shard, _)) = best {
                let giver = &mut self.players[from];
                giver.shards.retain(|(held, _)| *held != shard);
                giver.load = giver.load.saturating_sub(self.weights[shard]);
                self.give(to, shard);
                return Some((shard, from, to));
            }
        }
        None
    }
}

/// Decides what this worker does next.
#[must_use]
pub fn plan(view: &View<'_>) -> Plan {
    let mut game = Game::new(view);
    game.deal();
    let mut owners: BTreeMap<usize, &WorkerId> = BTreeMap::new();
    for player in &game.players {
        owners.extend(player.shards.iter().map(|(shard, _)| (*shard, player.id)));
    }
    // Each move brings two players closer, so that it ends; the bound is for the reader.
    for _ in 0..view.shards.len() {
        let Some((shard, _, to)) = game.even_out() else {
            break;
        };
        // A free shard that was dealt and moved at once is simply the other's.
        owners.insert(shard, game.players[to].id);
    }
    let mut plan = Plan::default();
    for (n, shard) in view.shards.iter().enumerate() {
        let mine = owners.get(&n) == Some(&view.me);
        match (shard.hold, mine) {
            (Hold::Free, true) => plan.take.push(shard.shard.clone()),
            (Hold::Mine { draining: false }, false) => plan.drain.push(shard.shard.clone()),
            (Hold::Free, false) | (Hold::Other(_), true) => plan.hungry = true,
            (Hold::Mine { .. }, _) | (Hold::Other(_), false) => {}
        }
    }
    plan
}

#[cfg(test)]
mod tests;
