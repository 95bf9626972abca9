//! A lease table in memory, with the same conditions as the real one, and faults on demand.
//!
//! Rows survive for as long as a clone of the table does. Each operation first takes the next fault that was scripted for
//! it; while the table is cut off for a worker ([`MemoryLeases::cut_off`]) every call of that door fails.

mod tables;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::error::Error;
use crate::migrate::migration_table;
use crate::row::{Attribute, Item, name};
use crate::store::{LeaseStore, Scope, Written};
use crate::table::RowTable;
use crate::update::{Purpose, Update};

/// What an operation is, for faults and counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// The table is prepared.
    Prepare,
    /// All rows (of a prefix) are read.
    Rows,
    /// One row is read.
    Row,
    /// A row is changed.
    Update(Purpose),
    /// A table is described.
    Describe,
    /// A table is made.
    Create,
    /// A table is deleted.
    Delete,
    /// A page of a table is read.
    Scan,
}

/// What goes wrong with one operation.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It has no effect and fails with this error.
    Reject(Error),
    /// It takes effect, and the answer is lost.
    LoseAnswer,
    /// It never answers, and has no effect.
    Hang,
    /// It waits until [`MemoryLeases::let_go`], then takes effect, whether or not the caller still waits.
    Hold,
}

#[derive(Debug, Default)]
struct Table {
    rows: RowTable,
    faults: HashMap<Operation, VecDeque<Fault>>,
    counts: BTreeMap<Operation, u64>,
    standing: BTreeMap<String, tables::Standing>,
}

impl Table {
    /// A table that was deleted has no rows, and takes none.
    fn reachable(&self, scope: &Scope) -> Result<(), Error> {
        match self.standing.get(&scope.application) {
            Some(tables::Standing::Gone { .. } | tables::Standing::Other { .. }) => {
                Err(tables::missing(&scope.application))
            }
            _ => Ok(()),
        }
    }
}

/// A door to a lease table in memory. [`MemoryLeases::another_door`] gives a second worker its own.
#[derive(Debug, Clone)]
pub struct MemoryLeases {
    table: Arc<Mutex<Table>>,
    held_back: watch::Sender<u64>,
    cut_off: watch::Sender<bool>,
    /// How many calls this door still answers, and whether the last one lands.
    death: watch::Sender<Option<(u64, bool)>>,
}

impl Default for MemoryLeases {
    fn default() -> Self {
        Self {
            table: Arc::default(),
            held_back: watch::Sender::new(0),
            cut_off: watch::Sender::new(false),
            death: watch::Sender::new(None),
        }
    }
}

impl MemoryLeases {
    /// Another door to the same table, which can be cut off by itself.
    #[must_use]
    pub fn another_door(&self) -> Self {
        Self {
            cut_off: watch::Sender::new(false),
            death: watch::Sender::new(None),
            ..self.clone()
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Scripts a fault for the next operation of this kind that has none yet.
    pub fn fail_next(&self, operation: Operation, fault: Fault) {
        self.locked()
            .faults
            .entry(operation)
            .or_default()
            .push_back(fault);
    }

    /// Lets every held operation take effect.
    pub fn let_go(&self) {
        self.held_back.send_modify(|count| *count += 1);
    }

    /// While cut off, every call of this door (and its clones) fails as unreachable.
    pub fn cut_off(&self, is: bool) {
        self.cut_off.send_replace(is);
    }

    /// How many operations of this kind began, over all doors.
    #[must_use]
    pub fn count(&self, operation: Operation) -> u64 {
        self.locked().counts.get(&operation).copied().unwrap_or(0)
    }

    /// A row as it stands.
    #[must_use]
    pub fn peek(&self, scope: &Scope, key: &str) -> Option<Item> {
        self.locked().rows.row(scope, key)
    }

    /// Writes a row as another program does: attributes are set, others left.
    pub fn put(
        &self,
        scope: &Scope,
        key: &str,
        attributes: impl IntoIterator<Item = (&'static str, Attribute)>,
    ) {
        let mut table = self.locked();
        let row = table.rows.part(scope).entry(key.to_owned()).or_default();
        for (name, value) in [
            (name::STREAM_NAME, &*scope.stream.to_string()),
            (name::SHARD_ID, key),
        ] {
            row.insert(name.to_owned(), Attribute::text(value));
        }
        row.extend(
            attributes
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value)),
        );
    }

    /// Removes a row, as an operator may.
    pub fn delete(&self, scope: &Scope, key: &str) {
        self.locked().rows.part(scope).remove(key);
    }

    fn begin(&self, operation: Operation) -> Result<Option<Fault>, Error> {
        let mut table = self.locked();
        *table.counts.entry(operation).or_default() += 1;
        if *self.cut_off.borrow() {
            return Err(lost("cut off"));
        }
        Ok(table.faults.get_mut(&operation).and_then(VecDeque::pop_front))
    }

    /// Whether this call is never answered, and whether it takes effect all the same.
    fn dies(&self) -> Option<bool> {
        let mut dies = None;
        self.death.send_if_modified(|death| match death {
            None => false,
            Some((0, _)) => {
                dies = Some(false);
                false
            }
            Some((left, lands)) => {
                *left -= 1;
                dies = (*left == 0).then_some(*lands);
                true
            }
        });
        dies
    }

    /// Does `work` under the scripted fault.
    async fn perform<T: Send + 'static>(
        &self,
        operation: Operation,
        work: impl FnOnce(&mut Table) -> T + Send + 'static,
    ) -> Result<T, Error> {
        if let Some(lands) = self.dies() {
            if lands {
                drop(work(&mut self.locked()));
            }
            return std::future::pending().await;
        }
        match self.begin(operation)? {
            None => Ok(work(&mut self.locked())),
            Some(Fault::Reject(error)) => Err(error),
            Some(Fault::LoseAnswer) => {
                drop(work(&mut self.locked()));
                Err(lost("answer lost"))
            }
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Hold) => {
                let (this, mut held) = (self.clone(), self.held_back.subscribe());
                let late = tokio::spawn(async move {
                    drop(held.changed().await);
                    work(&mut this.locked())
                });
                late.await.map_err(|_| lost("the runtime ended"))
            }
        }
    }
}

fn lost(detail: &str) -> Error {
    Error::Unreachable {
        call: "a call of the table in memory",
        detail: detail.to_owned(),
    }
}

#[async_trait]
impl LeaseStore for MemoryLeases {
    async fn prepare(&self, scope: &Scope) -> Result<(), Error> {
        let scope = scope.clone();
        self.perform(Operation::Prepare, move |table| {
            if let Some(tables::Standing::Gone { .. }) = table.standing.get(&scope.application) {
                table.standing.remove(&scope.application);
            }
            table.rows.part(&scope);
        })
        .await
    }

    async fn takeover_unfinished(&self, scope: &Scope) -> Result<bool, Error> {
        Ok(self.layout(&migration_table(&scope.application)).is_some())
    }

    async fn rows(&self, scope: &Scope, prefix: &str) -> Result<Vec<Item>, Error> {
        let (scope, prefix) = (scope.clone(), prefix.to_owned());
        let work = move |table: &mut Table| {
            table.reachable(&scope)?;
            Ok(table.rows.rows(&scope, &prefix))
        };
        self.perform(Operation::Rows, work).await?
    }

    async fn row(&self, scope: &Scope, key: &str) -> Result<Option<Item>, Error> {
        let (scope, key) = (scope.clone(), key.to_owned());
        self.perform(Operation::Row, move |table| {
            table.reachable(&scope)?;
            Ok(table.rows.row(&scope, &key))
        })
        .await?
    }

    async fn update(&self, scope: &Scope, update: &Update) -> Result<Written, Error> {
        let operation = Operation::Update(update.purpose);
        let (scope, update) = (scope.clone(), update.clone());
        let work = move |table: &mut Table| {
            table.reachable(&scope)?;
            Ok(table.rows.update(&scope, &update))
        };
        self.perform(operation, work).await?
    }
}
