//! The way of the data: read -> shape -> append -> prove -> remember, one ordered way per shard.
//!
//! What it is: a [`Connector`] carries one Kinesis stream into one Snowflake table or pipe. It takes its share of the
//! stream's shards by leases, and runs each shard as one ordered way:
//!
//! 1. *read*: a page of records ([`frazil_kinesis`]);
//! 2. *shape* ([`shape`]): each record becomes one NDJSON row with its metadata, or a dead letter ([`dead_letters`]);
//! 3. *append* ([`batch`]): rows go to the shard's own channel with the offset token of the last position they settle. A
//!    200 means **accepted**;
//! 4. *prove*: the channel's token stands there and its counts add up. Only then is the span **committed**;
//! 5. *remember*: the lease row is told. Only then is the position **checkpointed**.
//!
//! What it guarantees: invariants I1 to I9 of the architecture page, per shard and across workers; a fault in one shard
//! never stops another. What it does not: it knows no files of configuration and draws no pictures; that is the runtime.

mod audit;
pub mod batch;
pub mod budget;
mod connector;
pub mod dead_letters;
mod error;
mod options;
mod pipes;
mod routes;
pub mod shape;
mod shard;
pub mod topology;

pub use budget::MemoryBudget;
pub use connector::{Connector, listed_shard};
pub use error::Error;
pub use options::{ConnectorOptions, ConsumerType, InitialPosition, OnRowError, Parts};
pub use pipes::{Pipe, Pipes};
pub use routes::{MOST_PIPES, Routes};
