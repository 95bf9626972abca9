//! What a person does to leases while nothing runs: rewind, and remove.
//!
//! How it works: [`Upkeep`] reads the rows; if any shows a worker, an owner or a node, it watches for a while whether one of them
//! moves, on this machine's monotonic clock. If none does, they are dead, and each row is changed by one conditional update on
//! exactly what was seen.
//!
//! What it guarantees: nothing is changed while a worker lives; a worker that comes to life in the midst of it loses the shards
//! that were changed, because each change raises the epoch, and keeps the others, which are then refused. A rewind raises the
//! generation, and so the shard's channel is another one: no old token is ever met. It can be done again after an error.
//!
//! What it does not: a rewind delivers again what was delivered; it takes nothing out of the destination's table.
//!
//! IAM actions: `Query`, `GetItem`, `UpdateItem`; [`Upkeep::delete_table`] alone needs `DescribeTable`, `Scan` and `DeleteTable`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use frazil_model::{Clock, Random, RetryPolicy, ShardId};

use crate::admin::{Layout, TableAdmin};
use crate::error::Error;
use crate::row::{Attribute, Holder, Item, Row, ShardRow, decode, key_of, name};
use crate::state::{ShardStart, StreamIdentity};
use crate::store::{LeaseStore, Scope, Written};
use crate::update::Update;

const LOOK: Duration = Duration::from_secs(2);
const TRIES: u32 = 8;

/// How much [`Upkeep::remove_leases`] removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Owners and expiries: what a crash left. Positions, ends and the pin stay, for Openflow or Frazil to go on.
    Owners,
    /// Also what only Frazil remembers. `sequenceNumber`, which Openflow goes on from, stays; so do epoch and generation.
    Memory,
}

/// What was changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed {
    /// The shards.
    pub shards: Vec<ShardId>,
    /// How many other rows, of workers and the pin.
    pub others: usize,
}

/// A person's hand on a stream's leases.
#[derive(Debug, Clone)]
pub struct Upkeep {
    store: Arc<dyn LeaseStore>,
    scope: Scope,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// For how long whoever is seen must stand still to count as dead.
    watch: Duration,
}

/// The rows of the stream, as they were seen.
type Rows = BTreeMap<String, Item>;

impl Upkeep {
    /// `watch` is for how long whoever the rows show must stand still to count as dead: at least the workers' timeout (30 s
    /// unless configured); where Openflow may run, 90 s.
    #[must_use]
    pub fn new(
        store: Arc<dyn LeaseStore>,
        scope: Scope,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        watch: Duration,
    ) -> Self {
        Self {
            store,
            scope,
            clock,
            random,
            watch,
        }
    }

    /// Puts shards (all that have a row, where none are named) at another place, in a new generation.
    ///
    /// # Errors
    /// [`Error::InUse`] while a worker or another program lives on the stream's rows, or changed one meanwhile;
    /// [`Error::RowDamaged`]; [`Error::OtherStream`] for a row of another stream; else what the calls met.
    pub async fn rewind(
        &self,
        shards: Option<&[ShardId]>,
        to: &ShardStart,
        stream: &StreamIdentity,
    ) -> Result<Changed, Error> {
        let rows = self.still_rows("rewind").await?;
        let mut known = shard_rows(&rows)?;
        let wanted: Vec<ShardId> = match shards {
            Some(shards) => shards.to_vec(),
            None => known.keys().cloned().collect(),
        };
        for row in wanted.iter().filter_map(|shard| known.get(shard)) {
            if let Some(found) = row.state.stream.as_ref().filter(|found| *found != stream) {
                return Err(Error::OtherStream {
                    row: row.state.shard.to_string(),
                    found: found.to_string(),
                    expected: stream.to_string(),
                });
            }
        }
        let mut changed = Changed::default();
        for shard in wanted {
            let row = known.remove(&shard);
            let update = Update::rewind(&shard, row.as_ref(), to, stream, self.clock.wall_ms());
            self.change("rewind", &update).await?;
            changed.shards.push(shard);
        }
        Ok(changed)
    }

    /// Removes what Frazil holds or remembers, so that Openflow can go on, or Frazil after a crash.
    ///
    /// # Errors
    /// As [`Upkeep::rewind`].
    pub async fn remove_leases(&self, removal: Removal) -> Result<Changed, Error> {
        let rows = self.still_rows("remove").await?;
        let forget = removal == Removal::Memory;
        let mut changed = Changed::default();
        for (shard, row) in shard_rows(&rows)? {
            // Another program's lease is not ours to take off.
            let ours = matches!(row.holder, Holder::Worker(_)) || (forget && row.holder == Holder::Nobody);
            if ours {
                let update = Update::clear(&row, forget, self.clock.wall_ms());
                self.change("remove", &update).await?;
                changed.shards.push(shard);
            }
        }
        for item in rows.values() {
            let update = match decode(item) {
                Ok(Row::Worker(worker)) => Update::retire(&worker.key, &worker.worker, Some(worker.beat)),
                Ok(Row::Pin(_)) if forget => Update::unpin(item),
                _ => continue,
            };
            self.change("remove", &update).await?;
            changed.others += 1;
        }
        Ok(changed)
    }

    /// Deletes the lease table of the application, if nobody lives on it and no other stream has rows in it.
    ///
    /// # Errors
    /// [`Error::InUse`]; [`Error::AccessDenied`] without the right `dynamodb:DeleteTable`; [`Error::ForeignLayout`] for a table
    /// that is none of ours; else what the calls met. A table that is gone is no error.
    pub async fn delete_table(&self, admin: &dyn TableAdmin) -> Result<(), Error> {
        const WHAT: &str = "deleting the lease table";
        let table = &self.scope.application;
        let Some(described) = admin.describe(table).await? else {
            return Ok(());
        };
        if described.layout != Layout::Lease {
            return Err(Error::ForeignLayout {
                table: table.clone(),
                found: described.layout.to_string(),
                hint: "",
            });
        }
        self.still_rows(WHAT).await?;
        let mut from = None;
        loop {
            let page = admin.scan(table, from).await?;
            let ours = Attribute::text(&self.scope.stream);
            if let Some(other) = page
                .items
                .iter()
                .find(|item| item.get(name::STREAM_NAME) != Some(&ours))
            {
                let detail = format!(
                    "table {table} has rows of another stream: {:?}",
                    other.get(name::STREAM_NAME)
                );
                return Err(Error::InUse { what: WHAT, detail });
            }
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        admin.delete(table).await
    }

    /// The rows, once it is known that nobody alive uses them.
    async fn still_rows(&self, what: &'static str) -> Result<Rows, Error> {
        let first = self.rows().await?;
        let began = self.clock.now();
        let mut last = first.clone();
        while !signs(&first).is_empty() && self.clock.now().since(began) < self.watch {
            self.clock.sleep(LOOK).await;
            last = self.rows().await?;
            let (before, now) = (signs(&first), signs(&last));
            let moved = now.iter().find(|(key, sign)| before.get(*key) != Some(sign));
            if let Some((key, _)) = moved {
                return Err(Error::InUse {
                    what,
                    detail: format!(
                        "row {key} shows that somebody lives; stop all workers of this application first"
                    ),
                });
            }
        }
        Ok(last)
    }

    async fn rows(&self) -> Result<Rows, Error> {
        let items = self.calling(|| self.store.rows(&self.scope, "")).await?;
        Ok(items
            .into_iter()
            .map(|item| (key_of(&item).to_owned(), item))
            .collect())
    }

    /// Writes one change. One that is refused was made already, by a try whose answer was lost, or somebody came in between.
    async fn change(&self, what: &'static str, update: &Update) -> Result<(), Error> {
        match self.calling(|| self.store.update(&self.scope, update)).await? {
            Written::Done => Ok(()),
            Written::Refused(Some(row)) if is_made(update, &row) => Ok(()),
            Written::Refused(_) => Err(Error::InUse {
                what,
                detail: format!(
                    "row {} was changed meanwhile; stop all workers and try again",
                    update.key
                ),
            }),
        }
    }

    async fn calling<T, F>(&self, mut work: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut backoff = RetryPolicy::NETWORK.start();
        loop {
            match work().await {
                Err(error) if error.kind().may_heal() && backoff.failures() + 1 < TRIES => {
                    backoff.wait(&*self.clock, &*self.random).await;
                }
                other => return other,
            }
        }
    }
}

fn is_made(update: &Update, row: &Item) -> bool {
    update
        .set
        .iter()
        .all(|(name, value)| row.get(*name) == Some(value))
        && update.remove.iter().all(|name| !row.contains_key(*name))
}

/// What moves while somebody lives, by row: beats, heartbeats, owners and expiries.
fn signs(rows: &Rows) -> BTreeMap<&str, Vec<&Attribute>> {
    let of_life = [
        name::WORKER_ID,
        name::BEAT,
        name::NODE_HEARTBEAT,
        name::LEASE_OWNER,
        name::LEASE_EXPIRY,
    ];
    let signs = rows.iter().filter_map(|(key, item)| {
        let signs: Vec<&Attribute> = of_life.iter().filter_map(|name| item.get(*name)).collect();
        (!signs.is_empty()).then_some((key.as_str(), signs))
    });
    signs.collect()
}

fn shard_rows(rows: &Rows) -> Result<BTreeMap<ShardId, ShardRow>, Error> {
    let mut shards = BTreeMap::new();
    for item in rows.values() {
        if let Row::Shard(row) = decode(item)? {
            shards.insert(row.state.shard.clone(), *row);
        }
    }
    Ok(shards)
}

#[cfg(test)]
mod tests;
