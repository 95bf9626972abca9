//! The door to a Kinesis data stream.
//!
//! [`crate::client::KinesisClient`] is the real one, [`crate::fake::FakeKinesis`] the one for tests.

use async_trait::async_trait;
use frazil_model::{SequenceNumber, ShardId, StreamName};

use crate::error::Error;
use crate::page::{ChildShard, OwnedRecord, RecordPage, ShardIterator};

/// The slice of hash keys that a shard takes, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashKeyRange {
    /// The first.
    pub start: u128,
    /// The last.
    pub end: u128,
}

impl HashKeyRange {
    /// Whether a hash key belongs to it.
    #[must_use]
    pub fn contains(&self, hash_key: u128) -> bool {
        (self.start..=self.end).contains(&hash_key)
    }
}

/// A shard of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its id.
    pub id: ShardId,
    /// The one (split) or two (merge) shards it came from, even if they are no longer there.
    pub parents: Vec<ShardId>,
    /// Its slice of hash keys.
    pub hash_range: HashKeyRange,
    /// No record of it is before this.
    pub starting_sequence: SequenceNumber,
    /// No record of it is behind this; none while it is open.
    pub ending_sequence: Option<SequenceNumber>,
}

impl Shard {
    /// Whether it takes no records any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.ending_sequence.is_some()
    }
}

/// What the stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamDescription {
    /// Its name.
    pub name: StreamName,
    /// Its ARN.
    pub arn: String,
    /// When it was made, in milliseconds since 1970 UTC: a stream of the same name made later is another one.
    pub created_ms: i64,
    /// `CREATING`, `ACTIVE`, `UPDATING` or `DELETING`.
    pub status: String,
    /// How long records are kept, in hours.
    pub retention_hours: u32,
}

impl StreamDescription {
    /// The AWS account, as the ARN has it.
    #[must_use]
    pub fn account(&self) -> &str {
        self.arn.split(':').nth(4).unwrap_or_default()
    }

    /// Whether it can be read.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        matches!(self.status.as_str(), "ACTIVE" | "UPDATING")
    }
}

/// Where reading a shard begins (Kinesis API reference, `GetShardIterator`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartAt {
    /// The oldest record there is.
    TrimHorizon,
    /// The first record that arrived at or after this moment.
    Timestamp {
        /// Milliseconds since 1970 UTC.
        ms: i64,
    },
    /// This record.
    At(SequenceNumber),
    /// The record after this one.
    After(SequenceNumber),
}

impl std::fmt::Display for StartAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TrimHorizon => f.write_str("TRIM_HORIZON"),
            Self::Timestamp { ms } => write!(f, "AT_TIMESTAMP {ms}"),
            Self::At(sequence) => write!(f, "AT_SEQUENCE_NUMBER {sequence}"),
            Self::After(sequence) => write!(f, "AFTER_SEQUENCE_NUMBER {sequence}"),
        }
    }
}

/// What a consumer of enhanced fan-out is doing (Kinesis API reference, `ConsumerDescription`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumerStatus {
    /// Being made; it reads nothing yet.
    Creating,
    /// It can read.
    Active,
    /// Being removed; its name is free once it is gone.
    Deleting,
}

/// A registered consumer of enhanced fan-out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// Its name, one of its stream's.
    pub name: String,
    /// Its ARN. It has the moment of registration in it: a consumer of the same name that is registered later has another.
    pub arn: String,
    /// What it is doing.
    pub status: ConsumerStatus,
}

/// How a consumer is named in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumerId<'a> {
    /// By its name; this process need not have seen its ARN.
    Name {
        /// The ARN of its stream.
        stream_arn: &'a str,
        /// Its name.
        name: &'a str,
    },
    /// By its ARN.
    Arn(&'a str),
}

/// What a subscription pushes (Kinesis API reference, `SubscribeToShardEvent`).
#[derive(Debug, Clone, Default)]
pub struct FanOutEvent {
    /// The records, in order; none in the events by which an idle subscription shows that it lives, about every 5 s.
    pub records: Vec<OwnedRecord>,
    /// How far the shard was looked through, records or not; none at the end of a closed shard.
    pub continuation: Option<SequenceNumber>,
    /// How far behind the tip of the shard it is, in milliseconds.
    pub millis_behind: u64,
    /// The shards that go on where this one ended; only at the end.
    pub child_shards: Vec<ChildShard>,
}

/// One subscription to a shard. It lives 5 minutes at most (Kinesis API reference, `SubscribeToShard`); dropping it ends it.
#[async_trait]
pub trait Subscription: Send + std::fmt::Debug {
    /// The next event; none once the service has ended the subscription. Nothing is lost where the future is dropped
    /// before it ends. After an end or an error it must not be asked again.
    ///
    /// # Errors
    /// [`Error::InUse`] where another subscription of the same consumer to the same shard took over, and those of any call.
    async fn next(&mut self) -> Result<Option<FanOutEvent>, Error>;
}

/// One stream. Each call is sent once; pace and trying again are the caller's.
#[async_trait]
pub trait Kinesis: Send + Sync + std::fmt::Debug {
    /// What the stream is.
    ///
    /// # Errors
    /// [`Error::Missing`], and those of any call.
    async fn describe_stream(&self) -> Result<StreamDescription, Error>;

    /// All shards within the stream's retention, open and closed: every page, or an error.
    ///
    /// # Errors
    /// Those of any call.
    async fn list_shards(&self) -> Result<Vec<Shard>, Error>;

    /// An iterator, good for 5 minutes.
    ///
    /// # Errors
    /// [`Error::Missing`] for a shard that is no longer there, and those of any call.
    async fn shard_iterator(&self, shard: &ShardId, at: &StartAt) -> Result<ShardIterator, Error>;

    /// The next records, at most `limit` (1 to 10,000).
    ///
    /// # Errors
    /// [`Error::PageTooLarge`], before the body is read, where the answer has more than `max_bytes`; the iterator stays good.
    /// [`Error::ExpiredIterator`], [`Error::Throttled`], and those of any call.
    async fn get_records(
        &self,
        iterator: &ShardIterator,
        limit: u32,
        max_bytes: usize,
    ) -> Result<RecordPage, Error>;

    /// A consumer of enhanced fan-out, by name. At most 20 calls a second for a stream.
    ///
    /// # Errors
    /// [`Error::Missing`] where there is none, and those of any call.
    async fn describe_consumer(&self, stream_arn: &str, name: &str) -> Result<Consumer, Error>;

    /// Registers a consumer; it is being made when this answers. At most 5 calls a second for a stream.
    ///
    /// # Errors
    /// [`Error::InUse`] where there is one of this name already, [`Error::Throttled`] where the stream has all the consumers
    /// that it may have or too many of them are being made, and those of any call.
    async fn register_consumer(&self, stream_arn: &str, name: &str) -> Result<Consumer, Error>;

    /// Begins to remove a consumer. At most 5 calls a second for a stream.
    ///
    /// # Errors
    /// [`Error::Missing`] where there is none, and those of any call.
    async fn deregister_consumer(&self, consumer: ConsumerId<'_>) -> Result<(), Error>;

    /// Subscribes a consumer to a shard. At most one call a second for each consumer and shard.
    ///
    /// # Errors
    /// [`Error::InUse`] where this consumer subscribed to this shard less than 5 s ago, or is not active; [`Error::Missing`]
    /// where consumer or shard are not there; and those of any call.
    async fn subscribe(
        &self,
        consumer_arn: &str,
        shard: &ShardId,
        at: &StartAt,
    ) -> Result<Box<dyn Subscription>, Error>;
}
