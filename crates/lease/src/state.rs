//! What is remembered of a shard, as the rest of the program sees it.

use std::fmt;
use std::str::FromStr;

use frazil_model::{Position, PositionError, SequenceNumber, ShardId, WorkerId};
use serde::{Deserialize, Serialize};

/// Which stream a row speaks of: a stream that was deleted and made again under the same name is another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StreamIdentity {
    /// The stream's ARN.
    pub arn: String,
    /// When the stream was made: milliseconds since 1970 UTC (Kinesis API reference, `StreamCreationTimestamp`).
    pub created_ms: i64,
}

impl fmt::Display for StreamIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.arn, self.created_ms)
    }
}

impl FromStr for StreamIdentity {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (arn, created) = text
            .rsplit_once('@')
            .ok_or("has no '@' between ARN and creation time")?;
        let created_ms = created
            .parse()
            .map_err(|_| "has no creation time after the '@'")?;
        Ok(Self {
            arn: arn.to_owned(),
            created_ms,
        })
    }
}

/// The channel a position was committed through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelMark {
    /// The channel's name.
    pub name: String,
    /// The pipe it belongs to, fully qualified.
    pub pipe: String,
    /// When the service made it: milliseconds since 1970 UTC.
    pub created_on_ms: i64,
}

/// What a channel had counted when the position was committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Rows inserted since the channel was made; negative where that is not known of the position.
    pub rows_inserted: i64,
    /// Rows refused since the channel was made.
    pub row_errors: i64,
}

/// A channel, and what it had counted when the position was committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedChannel {
    /// The channel.
    #[serde(flatten)]
    pub channel: ChannelMark,
    /// What it had counted.
    #[serde(flatten)]
    pub counters: Counters,
}

/// One worker's time as the owner of one shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tenure {
    /// The shard.
    pub shard: ShardId,
    /// The number of the tenure; every change of owner raises it.
    pub epoch: u64,
    /// The generation of the shard's positions; only a rewind raises it.
    pub generation: u64,
}

/// A shard's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardState {
    /// The shard.
    pub shard: ShardId,
    /// The generation of its positions.
    pub generation: u64,
    /// The number of the current or latest tenure; 0 before the first.
    pub epoch: u64,
    /// The worker that owns it; none where nobody or a foreign program does.
    pub owner: Option<WorkerId>,
    /// A foreign program that owns it.
    pub foreign_owner: Option<String>,
    /// The end of the committed span. Where another program moved `sequenceNumber`, that record, wholly.
    pub position: Option<Position>,
    /// Another program moved `sequenceNumber` since Frazil last wrote it.
    pub foreign_moved: bool,
    /// Read and committed to its end.
    pub ended: bool,
    /// The channels the position was committed through: one for each table that the shard's rows go to.
    pub channels: Vec<CountedChannel>,
    /// The fingerprint of the destination.
    pub destination: Option<String>,
    /// The stream the row speaks of; none in rows no Frazil has owned yet.
    pub stream: Option<StreamIdentity>,
    /// Why the shard must not go on until a person says so.
    pub stop: Option<String>,
    /// Where it begins while it has no position, instead of where the pin says: set by a takeover or a rewind.
    pub start: Option<ShardStart>,
    /// What arrived in the shard up to this moment (milliseconds since 1970 UTC) is settled by the position, or there was
    /// nothing; what came later may be, too. None where that is not known.
    pub read_until_ms: Option<i64>,
}

impl ShardState {
    /// The state of a shard that has no row.
    #[must_use]
    pub fn unknown(shard: ShardId) -> Self {
        Self {
            shard,
            generation: 0,
            epoch: 0,
            owner: None,
            foreign_owner: None,
            position: None,
            foreign_moved: false,
            ended: false,
            channels: Vec::new(),
            destination: None,
            stream: None,
            stop: None,
            start: None,
            read_until_ms: None,
        }
    }
}

/// What is to be remembered of a shard. Parts that are `None`, `false` or empty are left as they stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The end of the committed span.
    pub position: Option<Position>,
    /// Read and committed to its end.
    pub ended: bool,
    /// The channels the position was committed through; they replace all that are remembered.
    pub channels: Vec<CountedChannel>,
    /// The fingerprint of the destination.
    pub destination: Option<String>,
    /// See [`ShardState::read_until_ms`].
    pub read_until_ms: Option<i64>,
}

/// Where the shards of a pin start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PinnedStart {
    /// At the oldest record the stream still had.
    TrimHorizon,
    /// At what arrived after the pin was made; shards that were closed then count as ended, unread.
    Latest {
        /// When the pin was made: milliseconds since 1970 UTC.
        ms: i64,
    },
    /// At the first record that arrived at or after this moment.
    AtTimestamp {
        /// The moment: milliseconds since 1970 UTC.
        ms: i64,
    },
}

/// Where one shard begins while it has no position (the types of the Kinesis API reference, `ShardIteratorType`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ShardStart {
    /// At the oldest record the stream still has.
    TrimHorizon,
    /// At what arrived at or after this moment, which is when somebody said "from now on".
    Latest {
        /// The moment: milliseconds since 1970 UTC.
        ms: i64,
    },
    /// At the first record that arrived at or after this moment.
    AtTimestamp {
        /// The moment: milliseconds since 1970 UTC.
        ms: i64,
    },
    /// At this record, inclusive.
    AtSequenceNumber {
        /// Its sequence number.
        sequence: SequenceDigits,
    },
}

/// A sequence number as JSON text; a text that is none is refused when it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SequenceDigits(pub SequenceNumber);

impl TryFrom<String> for SequenceDigits {
    type Error = PositionError;

    fn try_from(text: String) -> Result<Self, PositionError> {
        SequenceNumber::new(text).map(Self)
    }
}

impl From<SequenceDigits> for String {
    fn from(digits: SequenceDigits) -> Self {
        digits.0.as_str().to_owned()
    }
}

impl fmt::Display for ShardStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrimHorizon => f.write_str("TRIM_HORIZON"),
            Self::Latest { ms } => write!(f, "LATEST as of {ms} ms"),
            Self::AtTimestamp { ms } => write!(f, "AT_TIMESTAMP {ms} ms"),
            Self::AtSequenceNumber { sequence } => write!(f, "AT_SEQUENCE_NUMBER {}", sequence.0),
        }
    }
}

/// A shard that stood when the pin was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedShard {
    /// The shard.
    pub id: ShardId,
    /// It took no records any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
}

/// What stood at the application's first start on the stream. Shards that are not in it are younger than the start and begin
/// at their oldest record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The stream.
    pub stream: StreamIdentity,
    /// Where its shards start.
    pub start: PinnedStart,
    /// The shards that stood.
    pub shards: Vec<PinnedShard>,
}
