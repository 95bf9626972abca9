//! The door to whole tables: what a takeover and a removal need beside rows.
//!
//! What it is: [`TableAdmin`], above [`LeaseStore`]. Rows are still written by conditional updates alone; what is new here is to
//! describe, create, delete and scan a table, of any layout.
//!
//! What it guarantees: nothing waits. A table that is being made or deleted is answered as such, and asked for again by the caller.

use async_trait::async_trait;

use crate::error::Error;
use crate::row::Item;
use crate::store::LeaseStore;

/// Whose layout a table has, by its key alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// `streamName` (HASH, S), `shardId` (RANGE, S): ours and Openflow's.
    Lease,
    /// `leaseKey` (HASH, S): the Kinesis Client Library's, 1.x to 3.x (`DynamoDBLeaseSerializer` of the library).
    ClientLibrary,
    /// `StreamID` (HASH, S), `ShardID` (RANGE, S): Redpanda Connect's (its `aws_kinesis` input, field `dynamodb`).
    RedpandaConnect,
    /// None that is known: the key, for people.
    Unknown(String),
}

impl Layout {
    /// The layout of a key: each part as (attribute, `HASH` or `RANGE`, type).
    #[must_use]
    pub fn of_key(key: &[(&str, &str, &str)]) -> Self {
        match key {
            [("streamName", "HASH", "S"), ("shardId", "RANGE", "S")] => Self::Lease,
            [("leaseKey", "HASH", "S")] => Self::ClientLibrary,
            [("StreamID", "HASH", "S"), ("ShardID", "RANGE", "S")] => Self::RedpandaConnect,
            other => {
                let parts = other
                    .iter()
                    .map(|(name, role, kind)| format!("{name} ({role}, {kind})"));
                Self::Unknown(parts.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lease => f.write_str("Openflow"),
            Self::ClientLibrary => f.write_str("Kinesis Client Library"),
            Self::RedpandaConnect => f.write_str("Redpanda Connect"),
            Self::Unknown(key) => write!(f, "unknown, with the key {key}"),
        }
    }
}

/// A table that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its layout.
    pub layout: Layout,
    /// `None` where it can be used; else its status, such as `CREATING`.
    pub not_ready: Option<String>,
}

/// Where a scan goes on; what it is made of is the store's own business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageKey(pub(crate) Item);

/// One page of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Rows with all their attributes; types that lease rows do not use are [`crate::row::Attribute::Other`].
    pub items: Vec<Item>,
    /// Where it goes on; none at the end.
    pub next: Option<PageKey>,
}

/// Whole tables of one AWS account and region.
#[async_trait]
pub trait TableAdmin: LeaseStore {
    /// A table, or `None` where there is none.
    ///
    /// # Errors
    /// [`Error::TableUnusable`] for one that will not be ready by itself; else what the call met.
    async fn describe(&self, table: &str) -> Result<Option<Table>, Error>;

    /// Begins to make a table of our layout. One that is there already is no error, whatever its layout.
    ///
    /// # Errors
    /// What the call met.
    async fn create(&self, table: &str) -> Result<(), Error>;

    /// Begins to delete a table with all its rows. One that is not there is no error.
    ///
    /// # Errors
    /// [`Error::TableNotReady`] while it is being made or changed; [`Error::AccessDenied`]; else what the call met.
    async fn delete(&self, table: &str) -> Result<(), Error>;

    /// One page of all rows, strongly consistent, from the beginning where `from` is none.
    ///
    /// # Errors
    /// What the call met.
    async fn scan(&self, table: &str, from: Option<PageKey>) -> Result<Page, Error>;
}
