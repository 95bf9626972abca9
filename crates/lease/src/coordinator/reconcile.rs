//! What follows from a full look: let go, judge, take, hand over.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use frazil_model::{Event, ShardId, WorkerId};
use tokio::task::JoinSet;

use super::snapshot::{Life, Snapshot, believed, memory_of};
use super::task::{Task, WRITES_AT_ONCE};
use super::{Shared, locked};
use crate::assign::{Hold, ShardView, View, plan};
use crate::error::Error;
use crate::row::{Holder, Row, ShardRow, decode, name};
use crate::state::Tenure;
use crate::store::Written;
use crate::update::{Memory, Update};

/// A dead worker's row is made free once it stood still for this many timeouts.
const TIMEOUTS_BEFORE_RETIRE: u32 = 4;

/// A shard that this worker offered and nobody took for this many timeouts is its own again.
const TIMEOUTS_BEFORE_TAKING_BACK: u32 = 10;

/// What stands between this worker and a shard.
enum Owner {
    Nobody,
    Me,
    Worker(WorkerId),
    Dead(WorkerId),
    /// It is not to be had, for this reason.
    Blocked(Error),
    /// Read to its end, or on its way to be given back.
    Finished,
}

impl Task {
    pub(super) async fn reconcile(&mut self, snapshot: &Snapshot) {
        self.observe_owners(snapshot);
        self.let_go(snapshot);
        self.recognise(snapshot);
        // From here on `held` is no more than what the rows showed.
        locked(&self.shared.pulse).read(snapshot.began);
        self.retry_releases().await;
        self.share(snapshot).await;
        self.retire_the_dead(snapshot).await;
    }

    /// Owners that have no heartbeat row, and foreign owners, are watched by the rows they hold.
    fn observe_owners(&mut self, snapshot: &Snapshot) {
        let now = self.shared.clock.now();
        let beating: HashSet<&WorkerId> = snapshot.workers.iter().map(|row| &row.worker).collect();
        let mut silent = HashSet::new();
        for (shard, row) in &snapshot.shards {
            match &row.holder {
                Holder::Worker(worker) if !beating.contains(worker) => drop(silent.insert(worker)),
                Holder::Foreign(owner) => {
                    let expiry = row.seen.get(name::LEASE_EXPIRY);
                    let value = format!("{owner} {expiry:?}");
                    self.liveness
                        .observe(now, &Life::ForeignLease(shard.clone()), value);
                }
                Holder::Worker(_) | Holder::Nobody => {}
            }
        }
        for worker in silent {
            self.liveness
                .observe(now, &Life::Worker(worker.clone()), String::new());
        }
        let mut book = locked(&self.shared.book);
        for (shard, row) in &snapshot.shards {
            let epoch = book.epochs.entry(shard.clone()).or_default();
            *epoch = row.state.epoch.max(*epoch);
        }
    }

    /// Lets go of what the rows show as another's.
    fn let_go(&self, snapshot: &Snapshot) {
        let me = &self.shared.options.worker;
        let held = self.shared.held.borrow().clone();
        for (shard, held) in held.iter() {
            let row = snapshot.shards.get(shard);
            let mine = row.is_some_and(|row| {
                row.holder == Holder::Worker(me.clone()) && row.state.epoch == held.tenure.epoch
            });
            let moved = row.is_some_and(|row| row.state.foreign_moved);
            if mine && !moved {
                continue;
            }
            self.shared.lose(&held.tenure);
            if mine {
                self.give_back_moved(&held.tenure);
            } else if let Some(Holder::Foreign(owner)) = row.map(|row| &row.holder) {
                self.shared.stall(shard, &foreign_lease(shard, owner));
            }
        }
    }

    /// Given back, it is taken again from where the other program put it.
    fn give_back_moved(&self, tenure: &Tenure) {
        let shard = &tenure.shard;
        tracing::warn!(connector = self.shared.events.connector(), %shard, "another program moved the position");
        let mut book = locked(&self.shared.book);
        book.released.insert(shard.clone(), tenure.epoch);
        book.unconfirmed.insert(shard.clone(), tenure.clone());
    }

    /// Holds what the rows show as its own although no answer said so: a take whose answer was lost.
    fn recognise(&self, snapshot: &Snapshot) {
        let me = &self.shared.options.worker;
        for (shard, row) in &snapshot.shards {
            let epoch = row.state.epoch;
            if row.holder != Holder::Worker(me.clone()) || self.shared.held.borrow().contains_key(shard) {
                continue;
            }
            // A release notes itself before it takes the shard out of the held ones: asked in this order, none is missed.
            let given_back = locked(&self.shared.book)
                .released
                .get(shard)
                .is_some_and(|e| *e >= epoch);
            let tenure = Tenure {
                shard: shard.clone(),
                epoch,
                generation: row.state.generation,
            };
            match (given_back, row.state.foreign_moved) {
                (true, _) => {}
                (false, true) => self.give_back_moved(&tenure),
                (false, false) => self.shared.hold(tenure),
            }
        }
    }

    async fn retry_releases(&mut self) {
        let unconfirmed: Vec<Tenure> = locked(&self.shared.book).unconfirmed.values().cloned().collect();
        for tenure in unconfirmed {
            let update = self.shared.release_of(&tenure);
            let written = self.shared.update(&update).await;
            self.turn();
            match written {
                Ok(_) => {
                    let confirmed = locked(&self.shared.book).unconfirmed.remove(&tenure.shard);
                    if confirmed.is_some() {
                        self.shared
                            .events
                            .emit(Event::LeaseReleased { shard: tenure.shard });
                    }
                    self.hungry = true;
                }
                Err(_) => return,
            }
        }
    }

    fn owner(&self, shard: &ShardId, snapshot: &Snapshot) -> Owner {
        if let Some(error) = snapshot.damaged.get(shard) {
            return Owner::Blocked(error.clone());
        }
        if self.shared.held.borrow().contains_key(shard) {
            return Owner::Me;
        }
        let Some(row) = snapshot.shards.get(shard) else {
            return Owner::Nobody;
        };
        match believed(row.state.clone(), &self.shared.options.stream) {
            Err(error) => return Owner::Blocked(error),
            Ok(state) if state.ended => return Owner::Finished,
            Ok(_) => {}
        }
        match &row.holder {
            Holder::Nobody => Owner::Nobody,
            // It is being given back, and only the next look shows that it was.
            Holder::Worker(worker) if *worker == self.shared.options.worker => Owner::Finished,
            Holder::Worker(worker) if self.is_dead(&Life::Worker(worker.clone())) => {
                Owner::Dead(worker.clone())
            }
            Holder::Worker(worker) => Owner::Worker(worker.clone()),
            Holder::Foreign(_) if self.is_dead(&Life::ForeignLease(shard.clone())) => Owner::Nobody,
            Holder::Foreign(owner) => Owner::Blocked(foreign_lease(shard, owner)),
        }
    }

    /// A node of another program that beats, or was not watched for long enough to tell.
    fn foreign_node(&self, snapshot: &Snapshot) -> Option<String> {
        let mut nodes = snapshot.foreign_nodes.iter();
        let alive = nodes.find(|(key, _)| !self.is_dead(&Life::ForeignNode(key.clone())));
        alive.map(|(key, _)| key.clone())
    }

    /// The other workers that have a share.
    fn others(&self, owners: &BTreeMap<&ShardId, Owner>, snapshot: &Snapshot) -> BTreeSet<WorkerId> {
        // A row that never moved and owns nothing may be long dead: it gets no share.
        let beating = snapshot.workers.iter().map(|row| &row.worker);
        let beating = beating.filter(|worker| self.liveness.moved(&Life::Worker((*worker).clone())));
        let owning = owners.values().filter_map(|owner| match owner {
            Owner::Worker(worker) => Some(worker),
            _ => None,
        });
        let me = &self.shared.options.worker;
        let others = beating.chain(owning).filter(|worker| *worker != me).cloned();
        others
            .filter(|worker| !self.is_dead(&Life::Worker(worker.clone())))
            .collect()
    }

    /// Takes and hands over what the quota says.
    async fn share(&mut self, snapshot: &Snapshot) {
        let candidates = self.candidates.borrow().clone();
        let foreign_node = self.foreign_node(snapshot);
        let owners: BTreeMap<&ShardId, Owner> = candidates
            .iter()
            .map(|shard| (shard, self.owner(shard, snapshot)))
            .collect();
        let others = self.others(&owners, snapshot);
        let others: Vec<&WorkerId> = others.iter().collect();
        let mut view = View {
            me: &self.shared.options.worker,
            others,
            shards: Vec::new(),
        };
        let mut victims = Vec::new();
        for (shard, owner) in &owners {
            let hold = match owner {
                Owner::Me => {
                    let held = self.shared.held.borrow();
                    Hold::Mine {
                        draining: held.get(*shard).is_some_and(|held| held.draining),
                    }
                }
                Owner::Worker(worker) => match view.others.iter().position(|other| *other == worker) {
                    Some(other) => Hold::Other(other),
                    None => continue,
                },
                Owner::Nobody | Owner::Dead(_) => {
                    if let Some(node) = &foreign_node {
                        self.shared.stall(shard, &foreign_alive(shard, node));
                        continue;
                    }
                    if let Owner::Dead(worker) = owner {
                        victims.push((*shard, worker.clone()));
                    }
                    Hold::Free
                }
                Owner::Blocked(error) => {
                    self.shared.stall(shard, error);
                    continue;
                }
                Owner::Finished => continue,
            };
            let row = snapshot.shards.get(*shard);
            view.shards.push(ShardView {
                shard,
                hold,
                rate: row.and_then(|row| row.rate),
                failed_on: row.and_then(|row| row.failed_on.as_ref()),
            });
        }
        let mut plan = plan(&view);
        let taken_back = self.taken_by_nobody(&view);
        plan.take.retain(|shard| !taken_back.contains(shard));
        plan.take.extend(taken_back);
        let leaving = locked(&self.shared.book).leaving;
        self.hungry = !leaving && (plan.hungry || foreign_node.is_some());
        if leaving {
            return;
        }
        self.ask_to_drain(&plan.drain);
        self.forget_stalls(&owners);
        self.take(snapshot, plan.take, &victims).await;
    }

    /// What this worker offered, and nobody took for long: it is tried here again.
    fn taken_by_nobody(&self, view: &View<'_>) -> Vec<ShardId> {
        let long = self.shared.options.timeout * TIMEOUTS_BEFORE_TAKING_BACK;
        let now = self.shared.clock.now();
        let book = locked(&self.shared.book);
        let own = view
            .shards
            .iter()
            .filter(|seen| seen.hold == Hold::Free && seen.failed_on == Some(view.me));
        let late = own.filter(|seen| {
            let offered = book.offered.get(seen.shard);
            offered.is_some_and(|(_, at)| now.since(*at) >= long)
        });
        late.map(|seen| seen.shard.clone()).collect()
    }

    fn ask_to_drain(&self, shards: &[ShardId]) {
        if shards.is_empty() {
            return;
        }
        self.shared.held.send_modify(|held| {
            let held = Arc::make_mut(held);
            for shard in shards {
                if let Some(held) = held.get_mut(shard) {
                    held.draining = true;
                }
            }
        });
    }

    /// A shard that another worker holds now, or that is finished, does not stall here any more.
    fn forget_stalls(&self, owners: &BTreeMap<&ShardId, Owner>) {
        for (shard, owner) in owners {
            if matches!(owner, Owner::Worker(_) | Owner::Finished) {
                self.shared.moves(shard);
            }
        }
    }

    async fn take(&mut self, snapshot: &Snapshot, shards: Vec<ShardId>, victims: &[(&ShardId, WorkerId)]) {
        let mut alive: HashSet<WorkerId> = HashSet::new();
        let mut looked_at: HashSet<WorkerId> = HashSet::new();
        let mut writes = JoinSet::new();
        for shard in shards {
            if let Some((_, victim)) = victims.iter().find(|(victims_shard, _)| **victims_shard == shard) {
                if !self.liveness.may_judge() {
                    self.hungry = true;
                    continue;
                }
                if looked_at.insert(victim.clone()) && !self.is_dead_still(snapshot, victim).await {
                    alive.insert(victim.clone());
                }
                if alive.contains(victim) {
                    continue;
                }
            }
            if writes.len() >= WRITES_AT_ONCE {
                drop(writes.join_next().await);
                self.turn();
            }
            let row = snapshot.shards.get(&shard).cloned();
            let shared = Arc::clone(&self.shared);
            writes.spawn(async move { shared.take(&shard, row.as_ref()).await });
        }
        while writes.join_next().await.is_some() {
            self.turn();
        }
    }

    /// Reads a victim's heartbeat again, right before its shards are taken.
    async fn is_dead_still(&mut self, snapshot: &Snapshot, victim: &WorkerId) -> bool {
        let Some(row) = snapshot.workers.iter().find(|row| row.worker == *victim) else {
            return true;
        };
        let read = self.shared.row(&row.key).await;
        self.turn();
        let Ok(item) = read else {
            return false;
        };
        if let Some(Ok(Row::Worker(now))) = item.as_ref().map(decode)
            && now.worker == *victim
        {
            let at = self.shared.clock.now();
            self.liveness
                .observe(at, &Life::Worker(victim.clone()), now.beat.to_string());
        }
        self.is_dead(&Life::Worker(victim.clone())) && self.liveness.may_judge()
    }

    /// Makes the rows of workers free that are dead for long and hold nothing, so that rows do not pile up.
    async fn retire_the_dead(&mut self, snapshot: &Snapshot) {
        let long = self.shared.options.timeout * TIMEOUTS_BEFORE_RETIRE;
        let owners: HashSet<&Holder> = snapshot.shards.values().map(|row| &row.holder).collect();
        for row in &snapshot.workers {
            let still = self.liveness.still(&Life::Worker(row.worker.clone()));
            let owns = owners.contains(&Holder::Worker(row.worker.clone()));
            if still < long || owns || !self.liveness.may_judge() || row.worker == self.shared.options.worker
            {
                continue;
            }
            let update = Update::retire(&row.key, &row.worker, Some(row.beat));
            let written = self.shared.update(&update).await;
            self.turn();
            if written.is_ok() {
                tracing::info!(connector = self.shared.events.connector(), worker = %row.worker, "dead worker's row made free");
            }
        }
    }
}

fn foreign_lease(shard: &ShardId, owner: &str) -> Error {
    let owner: String = owner.chars().take(64).collect();
    Error::ForeignOwner {
        shard: shard.clone(),
        detail: format!("another program holds its lease as {owner:?}"),
    }
}

fn foreign_alive(shard: &ShardId, node: &str) -> Error {
    let node: String = node.chars().take(96).collect();
    let detail =
        format!("another program's node {node:?} is alive on the lease table, or not known to be dead yet");
    Error::ForeignOwner {
        shard: shard.clone(),
        detail,
    }
}

impl Shared {
    /// Takes one shard whose row is as it was seen.
    async fn take(&self, shard: &ShardId, row: Option<&ShardRow>) {
        let options = &self.options;
        let memory = match row.map(|row| memory_of(&row.state, &options.stream)).transpose() {
            Ok(memory) => memory.unwrap_or(Memory::Keep),
            Err(error) => return self.stall(shard, &error),
        };
        let epoch = {
            let mut book = locked(&self.book);
            let epoch = book.epochs.entry(shard.clone()).or_default();
            *epoch = row.map_or(0, |row| row.state.epoch).max(*epoch) + 1;
            *epoch
        };
        let owner = (&options.worker, epoch);
        let update = Update::take(shard, row, memory, owner, &options.stream, self.clock.wall_ms());
        let generation = row.map_or(0, |row| row.state.generation);
        let tenure = Tenure {
            shard: shard.clone(),
            epoch,
            generation,
        };
        match self.update(&update).await {
            Ok(Written::Done) => {
                self.tell_memory(shard, row, memory);
                self.hold(tenure);
            }
            // Another worker was faster, and the next look shows who; or this very write was sent twice.
            Ok(Written::Refused(now)) => {
                let now = now.as_ref().map(decode);
                if let Some(Ok(Row::Shard(now))) = now
                    && now.holder == Holder::Worker(options.worker.clone())
                    && now.state.epoch == epoch
                {
                    self.hold(tenure);
                }
            }
            // It may have taken effect; then the next look shows it.
            Err(error) => {
                self.tell_failure("take", Some(shard), &error, 1);
                self.wake.notify_one();
            }
        }
    }

    fn tell_memory(&self, shard: &ShardId, row: Option<&ShardRow>, memory: Memory) {
        let connector = self.events.connector();
        match memory {
            Memory::Adopt => {
                let position = row
                    .and_then(|row| row.state.position.as_ref())
                    .map(tracing::field::display);
                tracing::info!(connector, %shard, position, "position taken over from another program");
            }
            Memory::Forget => {
                tracing::warn!(connector, %shard, "the stream was made again; positions of the earlier one are put away");
            }
            Memory::Keep => {}
        }
    }
}
