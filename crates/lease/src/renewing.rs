//! Calls of a lease table whose keys were refused, sent once more with other ones.
//!
//! What it is: [`Renewing`], a door before another one. A call that the service refused for its keys did nothing, so it may be
//! sent again, if there are other keys by then ([`Keys::renewed`]); once. Else the refusal is the caller's, as it is.

use std::sync::Arc;

use async_trait::async_trait;
use frazil_model::Keys;

use crate::admin::{Page, PageKey, Table, TableAdmin};
use crate::error::Error;
use crate::row::Item;
use crate::store::{LeaseStore, Scope, Written};
use crate::update::Update;

/// A door to lease tables whose keys are renewed.
#[derive(Debug)]
pub struct Renewing<S> {
    door: S,
    keys: Arc<dyn Keys>,
}

impl<S> Renewing<S> {
    /// Calls of this door are signed with these keys.
    #[must_use]
    pub fn new(door: S, keys: Arc<dyn Keys>) -> Self {
        Self { door, keys }
    }

    async fn call<T, F>(&self, work: impl Fn() -> F + Send) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        let edition = self.keys.edition();
        match work().await {
            Err(Error::Unauthorized { .. }) if self.keys.renewed(edition).await => work().await,
            done => done,
        }
    }
}

#[async_trait]
impl<S: LeaseStore> LeaseStore for Renewing<S> {
    async fn prepare(&self, scope: &Scope) -> Result<(), Error> {
        self.call(|| self.door.prepare(scope)).await
    }

    async fn takeover_unfinished(&self, scope: &Scope) -> Result<bool, Error> {
        self.call(|| self.door.takeover_unfinished(scope)).await
    }

    async fn rows(&self, scope: &Scope, prefix: &str) -> Result<Vec<Item>, Error> {
        self.call(|| self.door.rows(scope, prefix)).await
    }

    async fn row(&self, scope: &Scope, key: &str) -> Result<Option<Item>, Error> {
        self.call(|| self.door.row(scope, key)).await
    }

    async fn update(&self, scope: &Scope, update: &Update) -> Result<Written, Error> {
        self.call(|| self.door.update(scope, update)).await
    }
}

#[async_trait]
impl<S: TableAdmin> TableAdmin for Renewing<S> {
    async fn describe(&self, table: &str) -> Result<Option<Table>, Error> {
        self.call(|| self.door.describe(table)).await
    }

    async fn create(&self, table: &str) -> Result<(), Error> {
        self.call(|| self.door.create(table)).await
    }

    async fn delete(&self, table: &str) -> Result<(), Error> {
        self.call(|| self.door.delete(table)).await
    }

    async fn scan(&self, table: &str, from: Option<PageKey>) -> Result<Page, Error> {
        self.call(|| self.door.scan(table, from.clone())).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use frazil_model::StreamName;

    use super::*;
    use crate::fake::{Fault, MemoryLeases, Operation};
    use crate::update::Purpose;

    /// Keys that change as often as this.
    #[derive(Debug)]
    struct Rotating {
        edition: AtomicU64,
        last: u64,
    }

    #[async_trait]
    impl Keys for Rotating {
        fn edition(&self) -> u64 {
            self.edition.load(Ordering::Acquire)
        }

        async fn renewed(&self, refused: u64) -> bool {
            assert_eq!(refused, self.edition(), "what the call was signed with");
            let there_are = refused < self.last;
            self.edition.fetch_add(u64::from(there_are), Ordering::AcqRel);
            there_are
        }
    }

    const CALLS: [Operation; 8] = [
        Operation::Prepare,
        Operation::Rows,
        Operation::Row,
        Operation::Update(Purpose::Beat),
        Operation::Describe,
        Operation::Create,
        Operation::Delete,
        Operation::Scan,
    ];

    /// One call of each kind on a table of its own, refused so many times; answers how it ended and how often it was sent.
    async fn each(refusals: usize, last: u64) -> Vec<(Result<(), Error>, u64)> {
        let scope = Scope {
            application: "app".to_owned(),
            stream: StreamName::new("s").expect("valid"),
        };
        let update = Update {
            purpose: Purpose::Beat,
            key: "k".to_owned(),
            conditions: Vec::new(),
            set: Vec::new(),
            remove: Vec::new(),
        };
        let mut ends = Vec::new();
        for (index, operation) in CALLS.into_iter().enumerate() {
            let table = MemoryLeases::default();
            for _ in 0..refusals {
                let (call, detail) = ("Call", "ExpiredTokenException".to_owned());
                table.fail_next(operation, Fault::Reject(Error::Unauthorized { call, detail }));
            }
            let edition = AtomicU64::new(1);
            let door = Renewing::new(table.clone(), Arc::new(Rotating { edition, last }));
            let done = match index {
                0 => door.prepare(&scope).await,
                1 => door.rows(&scope, "").await.map(drop),
                2 => door.row(&scope, "k").await.map(drop),
                3 => door.update(&scope, &update).await.map(drop),
                4 => door.describe("app").await.map(drop),
                5 => door.create("app").await,
                6 => door.delete("app").await,
                _ => door.scan("app", None).await.map(drop),
            };
            ends.push((done, table.count(operation)));
        }
        ends
    }

    fn is_refused(done: &Result<(), Error>) -> bool {
        matches!(done, Err(Error::Unauthorized { .. }))
    }

    #[tokio::test]
    async fn case_44_a_call_whose_keys_were_refused_is_sent_once_more_with_other_ones() {
        for (refusals, times) in [(0, 1), (1, 2)] {
            for (call, (done, sent)) in each(refusals, 9).await.iter().enumerate() {
                assert!(!is_refused(done) && *sent == times, "{call}: {done:?}, {sent}");
            }
        }
    }

    #[tokio::test]
    async fn case_44_a_call_is_not_sent_again_with_the_same_keys_nor_a_third_time() {
        for (last, times) in [(1, 1), (9, 2)] {
            for (call, (done, sent)) in each(5, last).await.iter().enumerate() {
                assert!(is_refused(done) && *sent == times, "{call}: {done:?}, {sent}");
            }
        }
    }
}
