//! What a takeover does to tables, each call bounded and tried again.

use std::time::Duration;

use frazil_model::RetryPolicy;
use tokio::task::JoinSet;

use super::Migration;
use super::marker::Marker;
use crate::admin::Table;
use crate::error::Error;
use crate::row::{Item, MIGRATION_KEY};
use crate::store::{Scope, Written};
use crate::update::Update;

/// How often a call that may heal is tried.
const TRIES: u32 = 8;
/// The longest a single call may take.
const CALL: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_secs(1);
/// How many rows are written at once.
const WRITES_AT_ONCE: usize = 16;

impl Migration {
    pub(super) fn scope(&self, table: &str) -> Scope {
        Scope {
            application: table.to_owned(),
            stream: self.options.stream_name.clone(),
        }
    }

    /// Calls until it is answered, a few times. A table made a moment ago may be missing, or still have its old key, at some
    /// of the service's doors: while `settling`, that too is tried again, for as long as patience lasts.
    async fn calling<T, F>(
        &self,
        call: &'static str,
        settling: bool,
        mut work: impl FnMut() -> F + Send,
    ) -> Result<T, Error>
    where
        T: Send,
        F: Future<Output = Result<T, Error>> + Send,
    {
        let began = self.clock.now();
        let mut backoff = RetryPolicy::NETWORK.start();
        loop {
            let answer = tokio::select! {
                answer = work() => answer,
                () = self.clock.sleep(CALL) => {
                    Err(Error::Unreachable { call, detail: format!("no answer within {CALL:?}") })
                }
            };
            let error = match answer {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let unsettled = settling && matches!(error, Error::Rejected { .. } | Error::TableMissing { .. });
            let patient = self.clock.now().since(began) < self.options.patience;
            let again = (error.kind().may_heal() && backoff.failures() + 1 < TRIES) || (unsettled && patient);
            if !again {
                return Err(error);
            }
            tracing::info!(call, %error, "a call of the takeover failed, and is tried again");
            backoff.wait(&*self.clock, &*self.random).await;
        }
    }

    /// A table that can be used, or `None` where there is none; one that is being made or deleted is waited for.
    pub(super) async fn settled(&self, table: &str) -> Result<Option<Table>, Error> {
        let began = self.clock.now();
        loop {
            let described = self
                .calling("DescribeTable", false, || self.store.describe(table))
                .await?;
            let Some(status) = described.as_ref().and_then(|table| table.not_ready.clone()) else {
                return Ok(described);
            };
            if self.clock.now().since(began) >= self.options.patience {
                return Err(Error::TableNotReady {
                    table: table.to_owned(),
                    status,
                });
            }
            self.clock.sleep(LOOK).await;
        }
    }

    pub(super) async fn create(&self, table: &str) -> Result<(), Error> {
        self.calling("CreateTable", false, || self.store.create(table))
            .await
    }

    /// One try, bounded.
    pub(super) async fn delete_once(&self, table: &str) -> Result<(), Error> {
        tokio::select! {
            deleted = self.store.delete(table) => deleted,
            () = self.clock.sleep(CALL) => {
                Err(Error::Unreachable { call: "DeleteTable", detail: format!("no answer within {CALL:?}") })
            }
        }
    }

    pub(super) async fn delete(&self, table: &str) -> Result<(), Error> {
        let began = self.clock.now();
        loop {
            match self
                .calling("DeleteTable", false, || self.store.delete(table))
                .await
            {
                Err(Error::TableNotReady { .. }) if self.clock.now().since(began) < self.options.patience => {
                    self.clock.sleep(LOOK).await;
                }
                other => return other,
            }
        }
    }

    /// All rows of a table, page by page: a page that fails is tried again, not the whole.
    pub(super) async fn scan(&self, table: &str) -> Result<Vec<Item>, Error> {
        let (mut all, mut from) = (Vec::new(), None);
        loop {
            let page = self
                .calling("Scan", false, || self.store.scan(table, from.clone()))
                .await?;
            all.extend(page.items);
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// The rows of the stream in a table of our layout.
    pub(super) async fn rows(&self, table: &str) -> Result<Vec<Item>, Error> {
        let scope = self.scope(table);
        self.calling("Query", true, || self.store.rows(&scope, "")).await
    }

    pub(super) async fn row(&self, table: &str, key: &str) -> Result<Option<Item>, Error> {
        let scope = self.scope(table);
        self.calling("GetItem", true, || self.store.row(&scope, key))
            .await
    }

    pub(super) async fn write(&self, table: &str, update: &Update) -> Result<Written, Error> {
        let scope = self.scope(table);
        self.calling("UpdateItem", true, || self.store.update(&scope, update))
            .await
    }

    /// Writes many rows, whatever their conditions say: what stands in the end is compared afterwards.
    pub(super) async fn write_all(&self, table: &str, updates: Vec<Update>) -> Result<(), Error> {
        let mut writes: JoinSet<Result<Written, Error>> = JoinSet::new();
        for update in updates {
            if writes.len() >= WRITES_AT_ONCE {
                joined(writes.join_next().await)?;
            }
            let (this, table) = (self.clone(), table.to_owned());
            writes.spawn(async move { this.write(&table, &update).await });
        }
        while !writes.is_empty() {
            joined(writes.join_next().await)?;
        }
        Ok(())
    }

    /// The marker: `Err` where another program's stands.
    pub(super) async fn marker(&self, table: &str) -> Result<Option<Marker>, Error> {
        let item = self.row(table, MIGRATION_KEY).await?;
        match item {
            None => Ok(None),
            Some(item) => match Marker::of(&item) {
                Some(marker) => Ok(Some(marker)),
                None => Err(self.refuse(format!(
                    "table {table} holds the marker of another program's takeover; finish it there, or delete {table} if \
                     it is left over"
                ))),
            },
        }
    }
}

fn joined(write: Option<Result<Result<Written, Error>, tokio::task::JoinError>>) -> Result<(), Error> {
    match write {
        None | Some(Ok(Ok(_))) => Ok(()),
        Some(Ok(Err(error))) => Err(error),
        Some(Err(error)) => Err(Error::Unreachable {
            call: "UpdateItem",
            detail: error.to_string(),
        }),
    }
}
