//! Reading: one shard of a Kinesis data stream in, ordered records out.
//!
//! What it is: [`Kinesis`] is the door to one stream; [`KinesisClient`] is the real one. A [`ShardReader`] reads one shard
//! by polling, at the pace the service allows; a [`FanOutReader`] reads it by enhanced fan-out, with a [`FanOutConsumer`] that
//! is registered for the application. Both give out [`RecordPage`]s: by polling their records are slices of the answer's own
//! bytes, by fan-out they are what the SDK decoded. An [`Aggregate`] opens what the Kinesis Producer Library packed.
//! [`Producer`] puts records, and an [`Aggregator`] packs them.
//!
//! What it guarantees: records of a shard come in order and without a gap, whatever fails in between; by polling nothing is
//! allocated per record; a damaged answer is an error and never a panic.
//!
//! What it does not: it remembers nothing beyond a process, and does not know who should read which shard.

mod aggregate;
mod aggregator;
pub mod aws;
mod client;
mod consumer;
mod door;
mod error;
pub mod fake;
mod fan_out;
mod pace;
mod page;
mod producer;
mod reader;
mod scan;

pub use aggregate::{
    AGGREGATE_MAGIC, Aggregate, BrokenAggregate, Place, UserRecord, UserRecords, hash_key, is_aggregate,
};
pub use aggregator::{Aggregator, AimedRecord, DEFAULT_AGGREGATE_BYTES};
pub use client::{KinesisClient, StreamFacts};
pub use consumer::{FanOutConsumer, deregister_consumer};
pub use door::{
    Consumer, ConsumerId, ConsumerStatus, FanOutEvent, HashKeyRange, Kinesis, Shard, StartAt,
    StreamDescription, Subscription,
};
pub use error::Error;
pub use fan_out::FanOutReader;
pub use page::{ChildShard, OwnedRecord, Payload, Record, RecordPage, Records, ShardIterator};
pub use producer::{MAX_CALL_BYTES, MAX_RECORDS, NewRecord, Producer, Put};
pub use reader::{Fetched, ShardReader};
