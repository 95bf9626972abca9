//! The rows of a lease table and their attributes.
//!
//! The layout is that of the Openflow Connector for Amazon Kinesis Data Streams: a table named as the application, hash key
//! `streamName` (S), range key `shardId` (S). Frazil's own attributes begin with `frazil`; Openflow leaves them alone.
//!
//! | row | range key | attributes |
//! |---|---|---|
//! | shard | the shard's id | `sequenceNumber` (S, digits: the last **wholly** committed Kinesis record), `leaseOwner` (S), `leaseExpiry` (N), `lastUpdateTimestamp` (N, for people); ours: `frazilEpoch`, `frazilGeneration`, `frazilSerial` (N), `frazilPosition` (S, token), `frazilSequence` (S, the `sequenceNumber` that Frazil last wrote), `frazilShardEnd` (BOOL), `frazilChannel` (S, JSON), `frazilRowsInserted` (N; negative: not known), `frazilRowErrors` (N), or where rows go to several tables instead of these three `frazilChannels` (S, JSON), `frazilDestination`, `frazilStream`, `frazilStop` (S), `frazilStart` (S, JSON: where to begin while there is no position), `frazilRate` (N, bytes/s), `frazilFailedOn` (S, the worker that offered it to others), `frazilReadUntil` (N, ms since 1970: what arrived until then is settled) |
//! | worker | `__node__#frazil-worker-…` | `nodeHeartbeat`, `lastUpdateTimestamp` (N, for Openflow and people), `frazilWorkerId`, `frazilWorker` (S, for people), `frazilBeat` (N). Without `frazilWorkerId` the row is free for the next worker |
//! | takeover's marker | `__migration__` | `frazilMigration`, `frazilMigrationWorker`, `frazilMigrationRows` (S), `frazilMigrationAttempt`, `frazilMigrationBeat` (N); see [`crate::migrate`] |
//! | pin | `__node__#frazil-pin` | `frazilPin` (S, JSON). Openflow skips rows of its prefix, and counts as nodes only those with `nodeHeartbeat` |
//!
//! While a worker of Frazil owns a shard, `leaseExpiry` is [`HELD_EXPIRY`]: so far ahead that Openflow never takes it, and
//! the mark by which an owner of Frazil's is told from a foreign one. A released row has neither owner nor expiry.
//!
//! What it guarantees: these names and texts are frozen (golden tests); an attribute that Frazil cannot read damages its
//! row alone, and is never guessed.

use std::collections::BTreeMap;
use std::str::FromStr;

use frazil_model::{Position, SequenceNumber, ShardId, WorkerId};

use crate::error::Error;
use crate::state::{ChannelMark, CountedChannel, Counters, Pin, ShardStart, ShardState, StreamIdentity};

/// Names of attributes.
#[allow(missing_docs)]
pub mod name {
    pub const STREAM_NAME: &str = "streamName";
    pub const SHARD_ID: &str = "shardId";
    pub const SEQUENCE_NUMBER: &str = "sequenceNumber";
    pub const LEASE_OWNER: &str = "leaseOwner";
    pub const LEASE_EXPIRY: &str = "leaseExpiry";
    pub const LAST_UPDATE: &str = "lastUpdateTimestamp";
    pub const NODE_HEARTBEAT: &str = "nodeHeartbeat";
    pub const POSITION: &str = "frazilPosition";
    pub const SEQUENCE: &str = "frazilSequence";
    pub const EPOCH: &str = "frazilEpoch";
    pub const GENERATION: &str = "frazilGeneration";
    pub const SERIAL: &str = "frazilSerial";
    pub const SHARD_END: &str = "frazilShardEnd";
    pub const CHANNEL: &str = "frazilChannel";
    pub const CHANNELS: &str = "frazilChannels";
    pub const ROWS_INSERTED: &str = "frazilRowsInserted";
    pub const ROW_ERRORS: &str = "frazilRowErrors";
    pub const DESTINATION: &str = "frazilDestination";
    pub const STREAM: &str = "frazilStream";
    pub const STOP: &str = "frazilStop";
    pub const RATE: &str = "frazilRate";
    pub const FAILED_ON: &str = "frazilFailedOn";
    pub const START: &str = "frazilStart";
    pub const READ_UNTIL: &str = "frazilReadUntil";
    pub const PIN: &str = "frazilPin";
    pub const WORKER_ID: &str = "frazilWorkerId";
    pub const WORKER: &str = "frazilWorker";
    pub const BEAT: &str = "frazilBeat";
    pub const MIGRATION: &str = "frazilMigration";
    pub const MIGRATION_WORKER: &str = "frazilMigrationWorker";
    pub const MIGRATION_BEAT: &str = "frazilMigrationBeat";
    pub const MIGRATION_ATTEMPT: &str = "frazilMigrationAttempt";
    pub const MIGRATION_ROWS: &str = "frazilMigrationRows";
}

/// `leaseExpiry` of a shard that a worker of Frazil owns: 2100-01-01T00:00:00Z in milliseconds since 1970.
pub const HELD_EXPIRY: i64 = 4_102_444_800_000;
/// The prefix of range keys that are no shards.
pub const NODE_PREFIX: &str = "__node__#";
/// The prefix of our workers' range keys.
pub const WORKER_PREFIX: &str = "__node__#frazil-worker-";
/// The range key of the pin.
pub const PIN_KEY: &str = "__node__#frazil-pin";
/// The range key of a migration's marker: ours has `frazilMigration`, other programs' have not.
pub const MIGRATION_KEY: &str = "__migration__";

/// The value of an attribute, as far as lease rows use DynamoDB's types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// A string.
    S(String),
    /// A number, as text.
    N(String),
    /// A truth value.
    Bool(bool),
    /// A type that lease rows do not use.
    Other,
}

impl Attribute {
    /// A number.
    #[must_use]
    pub fn number(value: impl std::fmt::Display) -> Self {
        Self::N(value.to_string())
    }

    /// A string.
    #[must_use]
    pub fn text(value: impl std::fmt::Display) -> Self {
        Self::S(value.to_string())
    }
}

/// A row: its attributes by name, keys among them.
pub type Item = BTreeMap<String, Attribute>;

/// Reads attributes of one row, naming the row in errors.
struct Reader<'a> {
    key: &'a str,
    item: &'a Item,
}

impl Reader<'_> {
    fn damaged(&self, attribute: &'static str, detail: impl Into<String>) -> Error {
        Error::RowDamaged {
            key: self.key.to_owned(),
            attribute,
            detail: detail.into(),
        }
    }

    fn text(&self, attribute: &'static str) -> Result<Option<&str>, Error> {
        match self.item.get(attribute) {
            None => Ok(None),
            Some(Attribute::S(text)) => Ok(Some(text)),
            Some(_) => Err(self.damaged(attribute, "is no string")),
        }
    }

    fn parsed<T: FromStr>(&self, attribute: &'static str) -> Result<Option<T>, Error>
    where
        T::Err: std::fmt::Display,
    {
        let parse = |text: &str| {
            text.parse()
                .map_err(|e: T::Err| self.damaged(attribute, e.to_string()))
        };
        self.text(attribute)?.map(parse).transpose()
    }

    fn json<T: serde::de::DeserializeOwned>(&self, attribute: &'static str) -> Result<Option<T>, Error> {
        let parse = |text| serde_json::from_str(text).map_err(|e| self.damaged(attribute, e.to_string()));
        self.text(attribute)?.map(parse).transpose()
    }

    fn number<T: FromStr>(&self, attribute: &'static str) -> Result<Option<T>, Error> {
        match self.item.get(attribute) {
            None => Ok(None),
            Some(Attribute::N(text)) => {
                let parsed = text
                    .parse()
                    .map_err(|_| self.damaged(attribute, "is out of range"));
                parsed.map(Some)
            }
            Some(_) => Err(self.damaged(attribute, "is no number")),
        }
    }

    fn sequence(&self, attribute: &'static str) -> Result<Option<SequenceNumber>, Error> {
        let parse = |text| SequenceNumber::new(text).map_err(|e| self.damaged(attribute, e.to_string()));
        self.text(attribute)?.map(parse).transpose()
    }
}

/// Who holds a shard, by its row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// Nobody.
    Nobody,
    /// A worker of Frazil's.
    Worker(WorkerId),
    /// Another program: an owner without our mark.
    Foreign(String),
}

/// A shard's row with what is needed to judge and to write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardRow {
    /// What is remembered.
    pub state: ShardState,
    /// Who holds it.
    pub holder: Holder,
    /// How many checkpoints the current tenure wrote.
    pub serial: u64,
    /// How much was read of it lately, in bytes/s.
    pub rate: Option<u64>,
    /// The worker that could not read it and offered it to others.
    pub failed_on: Option<WorkerId>,
    /// The attributes by which a change of the row is noticed, exactly as they stand.
    pub seen: Item,
}

/// The attributes a taker must have seen exactly.
pub const SEEN: [&str; 6] = [
    name::LEASE_OWNER,
    name::LEASE_EXPIRY,
    name::EPOCH,
    name::SEQUENCE_NUMBER,
    name::POSITION,
    name::STREAM,
];

/// A heartbeat row of a worker of Frazil's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRow {
    /// Its range key.
    pub key: String,
    /// The worker.
    pub worker: WorkerId,
    /// Its name for people.
    pub display: String,
    /// How often it beat.
    pub beat: u64,
}

/// A row, by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// A shard's.
    Shard(Box<ShardRow>),
    /// A worker's.
    Worker(WorkerRow),
    /// A worker's row that no worker uses: its range key.
    FreeWorker(String),
    /// A node of another program: its range key, and its heartbeat as it stands.
    ForeignNode {
        /// Its range key.
        key: String,
        /// Its heartbeat.
        heartbeat: String,
    },
    /// The application's pin.
    Pin(Box<Pin>),
    /// Of no meaning to Frazil.
    Other,
}

/// The range key of a row; empty where it has none, which DynamoDB excludes.
#[must_use]
pub fn key_of(item: &Item) -> &str {
    match item.get(name::SHARD_ID) {
        Some(Attribute::S(key)) => key,
        _ => "",
    }
}

/// Reads a row.
///
/// # Errors
/// [`Error::RowDamaged`] where an attribute that Frazil uses cannot be read.
pub fn decode(item: &Item) -> Result<Row, Error> {
    let reader = Reader {
        key: key_of(item),
        item,
    };
    let key = reader.key;
    if key == PIN_KEY {
        let pin = reader.json(name::PIN)?;
        return Ok(pin.map_or(Row::Other, |pin| Row::Pin(Box::new(pin))));
    }
    if key.starts_with(WORKER_PREFIX) {
        return worker(&reader);
    }
    if key.starts_with(NODE_PREFIX) {
        return Ok(match item.get(name::NODE_HEARTBEAT) {
            Some(Attribute::N(heartbeat) | Attribute::S(heartbeat)) => Row::ForeignNode {
                key: key.to_owned(),
                heartbeat: heartbeat.clone(),
            },
            _ => Row::Other,
        });
    }
    let emptied = item
        .keys()
        .all(|name| name == name::STREAM_NAME || name == name::SHARD_ID);
    if key == MIGRATION_KEY || emptied {
        return Ok(Row::Other);
    }
    shard(&reader).map(|row| Row::Shard(Box::new(row)))
}

fn worker(reader: &Reader<'_>) -> Result<Row, Error> {
    let key = reader.key.to_owned();
    let Some(worker) = reader.text(name::WORKER_ID)? else {
        return Ok(Row::FreeWorker(key));
    };
    let worker = WorkerId::new(worker).map_err(|e| reader.damaged(name::WORKER_ID, e.to_string()))?;
    let display = reader.text(name::WORKER)?.unwrap_or_default().to_owned();
    let beat = reader.number(name::BEAT)?.unwrap_or(0);
    Ok(Row::Worker(WorkerRow {
        key,
        worker,
        display,
        beat,
    }))
}

fn holder(reader: &Reader<'_>) -> Holder {
    let held = Attribute::number(HELD_EXPIRY);
    let ours = reader.item.get(name::LEASE_EXPIRY) == Some(&held) && reader.item.contains_key(name::EPOCH);
    match reader.item.get(name::LEASE_OWNER) {
        None => Holder::Nobody,
        Some(Attribute::S(owner)) => match WorkerId::new(owner) {
            Ok(worker) if ours => Holder::Worker(worker),
            _ => Holder::Foreign(owner.clone()),
        },
        Some(_) => Holder::Foreign("an owner that is no string".to_owned()),
    }
}

fn channels(reader: &Reader<'_>) -> Result<Vec<CountedChannel>, Error> {
    if let Some(several) = reader.json(name::CHANNELS)? {
        return Ok(several);
    }
    let counters = Counters {
        rows_inserted: reader.number(name::ROWS_INSERTED)?.unwrap_or(0),
        row_errors: reader.number(name::ROW_ERRORS)?.unwrap_or(0),
    };
    let only = reader.json::<ChannelMark>(name::CHANNEL)?;
    Ok(only
        .map(|channel| CountedChannel { channel, counters })
        .into_iter()
        .collect())
}

fn shard(reader: &Reader<'_>) -> Result<ShardRow, Error> {
    let shard = ShardId::new(reader.key).map_err(|e| reader.damaged(name::SHARD_ID, e.to_string()))?;
    let sequence = reader.sequence(name::SEQUENCE_NUMBER)?;
    let written = reader.sequence(name::SEQUENCE)?;
    let own: Option<Position> = reader.parsed(name::POSITION)?;
    let foreign_moved = sequence.is_some() && sequence != written;
    let position = if foreign_moved {
        sequence.map(Position::whole)
    } else {
        own
    };
    let ended = match reader.item.get(name::SHARD_END) {
        None => false,
        Some(Attribute::Bool(ended)) => *ended,
        Some(_) => return Err(reader.damaged(name::SHARD_END, "is no truth value")),
    };
    let holder = holder(reader);
    let state = ShardState {
        shard,
        generation: reader.number(name::GENERATION)?.unwrap_or(0),
        epoch: reader.number(name::EPOCH)?.unwrap_or(0),
        owner: if let Holder::Worker(worker) = &holder {
            Some(worker.clone())
        } else {
            None
        },
        foreign_owner: if let Holder::Foreign(owner) = &holder {
            Some(owner.clone())
        } else {
            None
        },
        position,
        foreign_moved,
        ended,
        channels: channels(reader)?,
        destination: reader.text(name::DESTINATION)?.map(str::to_owned),
        stream: reader.parsed::<StreamIdentity>(name::STREAM)?,
        stop: reader.text(name::STOP)?.map(str::to_owned),
        start: reader.json::<ShardStart>(name::START)?,
        // It belongs to the position that Frazil wrote.
        read_until_ms: reader.number(name::READ_UNTIL)?.filter(|_| !foreign_moved),
    };
    let serial = reader.number(name::SERIAL)?.unwrap_or(0);
    Ok(ShardRow {
        state,
        holder,
        serial,
        rate: reader.number(name::RATE)?,
        // Only for sharing: one that cannot be read names nobody.
        failed_on: reader
            .text(name::FAILED_ON)?
            .and_then(|worker| WorkerId::new(worker).ok()),
        seen: seen(reader.item),
    })
}

fn seen(item: &Item) -> Item {
    let kept = SEEN.iter().filter_map(|name| item.get_key_value(*name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests;
