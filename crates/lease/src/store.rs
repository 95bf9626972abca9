//! The door to the lease table.

use std::fmt;

use async_trait::async_trait;
use frazil_model::StreamName;

use crate::error::Error;
use crate::row::Item;
use crate::update::Update;

/// One stream's part of one application's table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The application's name, which is the table's name.
    pub application: String,
    /// The stream, which is the hash key of all its rows.
    pub stream: StreamName,
}

/// The answer to a conditional update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It took effect.
    Done,
    /// Its conditions did not hold; the row as it stood, none where there is none.
    Refused(Option<Item>),
}

/// A table of lease rows with conditional updates. Reads are strongly consistent.
#[async_trait]
pub trait LeaseStore: Send + Sync + fmt::Debug {
    /// Makes the table if it is missing, and refuses one of another layout. It does not wait: ask again until it can be used.
    ///
    /// # Errors
    /// [`Error::TableNotReady`] while the table is being made or deleted; [`Error::TableUnusable`] where it will not be ready by
    /// itself; [`Error::ForeignLayout`] for one that is none of ours; else what the call met.
    async fn prepare(&self, scope: &Scope) -> Result<(), Error>;

    /// Whether the table that a takeover of this application keeps its copy in stands beside the lease table. Asked only while
    /// there is no pin, for a takeover writes it last.
    ///
    /// # Errors
    /// What the call met; a right that is missing is no error but a "no", because then no takeover can have run with these
    /// rights.
    async fn takeover_unfinished(&self, _scope: &Scope) -> Result<bool, Error> {
        Ok(false)
    }

    /// All rows of the stream whose range key begins with `prefix` (all rows where it is empty), or an error: never a part.
    ///
    /// # Errors
    /// What the call met.
    async fn rows(&self, scope: &Scope, prefix: &str) -> Result<Vec<Item>, Error>;

    /// One row.
    ///
    /// # Errors
    /// What the call met.
    async fn row(&self, scope: &Scope, key: &str) -> Result<Option<Item>, Error>;

    /// Changes one row if its conditions hold; a missing row has no attributes, and is made.
    ///
    /// # Errors
    /// What the call met. After an error of kind `Retry` it may have taken effect.
    async fn update(&self, scope: &Scope, update: &Update) -> Result<Written, Error>;
}
