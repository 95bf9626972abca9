//! Owning: who reads which shard, and what is remembered of it.
//!
//! What it is: a door to the lease table ([`LeaseStore`]; [`DynamoLeases`] is the real one, [`fake::MemoryLeases`] one in
//! memory) and the [`LeaseCoordinator`] above it, which takes, holds, hands over and gives back shards for one worker.
//!
//! How it works: the table has the layout of the Openflow Connector for Amazon Kinesis Data Streams: one row per shard,
//! one heartbeat row per worker ([`row`]). Nobody renews a shard's lease: a worker beats once per tick, and others judge by
//! their own clock how long its beat stood still ([`liveness`]). Who should hold how many shards follows from the rows
//! alone, the same for every worker ([`assign`]). Each change of a row is one conditional update ([`update`]).
//!
//! Beside the coordinator stand what a person needs while nothing runs: [`migrate`] takes over another program's table,
//! [`upkeep`] rewinds and removes leases. [`FileLeases`] keeps the same rows in one local file.
//!
//! What it guarantees:
//! - a shard's row changes its owner only by a write that saw its exact values, and each such change raises its *epoch*;
//! - a checkpoint is written only by the owner in its own epoch, and never goes back (I3, I4);
//! - a write whose answer was lost is recognised by what stands in the row;
//! - while the lease table cannot be reached, held shards stay held; after a sleep of its own a worker may not act before it has
//!   read the table again ([`LeaseCoordinator::may_act`]).
//!
//! What it does not: it cannot stop a worker that acts against [`LeaseCoordinator::may_act`], or that falls asleep just after asking.
//! That a late append of it commits nothing is the channel's doing (I7), not the lease's.

pub mod admin;
pub mod assign;
mod coordinator;
mod dynamo;
mod error;
pub mod fake;
mod file;
pub mod liveness;
pub mod migrate;
pub mod probe;
mod renewing;
pub mod row;
mod state;
mod store;
mod table;
pub mod update;
pub mod upkeep;

pub use coordinator::{CheckpointOutcome, Held, HeldShards, LeaseCoordinator, LeaseOptions};
pub use dynamo::DynamoLeases;
pub use error::Error;
pub use file::FileLeases;
pub use renewing::Renewing;
pub use state::{
    ChannelMark, Checkpoint, CountedChannel, Counters, Pin, PinnedShard, PinnedStart, SequenceDigits,
    ShardStart, ShardState, StreamIdentity, Tenure,
};
pub use store::{LeaseStore, Scope, Written};
