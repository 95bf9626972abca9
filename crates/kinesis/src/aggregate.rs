//! Aggregates of the Kinesis Producer Library (KPL): many user records packed into one Kinesis record.
//!
//! What it is: [`is_aggregate`] tells by four bytes whether a payload may be one. An [`Aggregate`] takes such a payload
//! over, checks all of it, and then gives out its [`UserRecord`]s as slices.
//!
//! The form (source: `aggregation-format.md` of awslabs/amazon-kinesis-producer): the magic bytes `F3 89 9A C2`, a protobuf
//! message, and the message's MD5 digest. The message holds a table of partition keys (field 1), a table of explicit hash
//! keys (2), and user records (3); each of those names its keys by their place in the tables (1, 2) and holds its data (3)
//! and tags (4), which nobody uses.
//!
//! What it guarantees: *all or raw*. Everything is checked before the first user record is given out: digest, wire format,
//! required fields, every index. What is wrong in any part is refused as a whole, with a reason, and the caller has the
//! payload as it came. No user record is lost or guessed. Nothing is allocated per user record; there are at most as many
//! of them as a sixth of the payload's bytes, and their data is never more than the payload.
//!
//! What it does not: fields of later versions are skipped and tags are not looked into. An aggregate inside of a user record
//! stays data. Whether a user record belongs to the shard that it was read from is for the caller to ask
//! ([`UserRecord::hash_key`]).

mod wire;

use md5::{Digest, Md5};

use wire::{Malformed, Value, Wire};

/// What an aggregate begins with.
pub const AGGREGATE_MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
/// Bytes of the digest at the end.
const DIGEST_BYTES: usize = 16;
/// An aggregate has a message of at least one byte.
const SMALLEST: usize = AGGREGATE_MAGIC.len() + 1 + DIGEST_BYTES;
/// Buffers up to this size (bytes) are kept for the next aggregate.
const KEPT_BYTES: usize = 256 * 1024;

/// Fields of the message.
const PARTITION_KEYS: u32 = 1;
const HASH_KEYS: u32 = 2;
const RECORDS: u32 = 3;
/// Fields of a user record.
const PARTITION_KEY_INDEX: u32 = 1;
const HASH_KEY_INDEX: u32 = 2;
const DATA: u32 = 3;
const TAGS: u32 = 4;

/// Whether a payload begins as aggregates do. Such a payload may still be no aggregate; [`Aggregate::open`] knows.
#[inline]
#[must_use]
pub fn is_aggregate(payload: &[u8]) -> bool {
    payload.starts_with(&AGGREGATE_MAGIC)
}

/// Why a payload that begins as an aggregate is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BrokenAggregate {
    /// It is shorter than any aggregate.
    TooShort,
    /// The digest at its end is another one: it was cut or changed, or never was an aggregate.
    WrongDigest,
    /// The message is no protobuf, or a field has another type than it should.
    BadMessage,
    /// A user record has no partition key or no data.
    MissingField,
    /// A user record names a key that is not in the table.
    IndexOutOfTable,
    /// A key is no text.
    KeyNotText,
}

impl BrokenAggregate {
    /// The reason as events name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::WrongDigest => "wrong_digest",
            Self::BadMessage => "bad_message",
            Self::MissingField => "missing_field",
            Self::IndexOutOfTable => "index_out_of_table",
            Self::KeyNotText => "key_not_text",
        }
    }

    /// The reason in words.
    #[must_use]
    pub fn detail(self) -> &'static str {
        match self {
            Self::TooShort => "it begins as a KPL aggregate and is shorter than one can be",
            Self::WrongDigest => {
                "it begins as a KPL aggregate, and its MD5 digest is not that of its message"
            }
            Self::BadMessage => "it is a KPL aggregate, and its message is no protobuf of the right form",
            Self::MissingField => {
                "it is a KPL aggregate with a user record that lacks its partition key or its data"
            }
            Self::IndexOutOfTable => "it is a KPL aggregate with a user record whose key is not in the table",
            Self::KeyNotText => "it is a KPL aggregate with a key that is not UTF-8",
        }
    }
}

impl std::fmt::Display for BrokenAggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.detail())
    }
}

impl std::error::Error for BrokenAggregate {}

impl From<Malformed> for BrokenAggregate {
    fn from(_: Malformed) -> Self {
        Self::BadMessage
    }
}

/// Where a table's entry stands in the message.
#[derive(Debug, Clone, Copy)]
struct Span {
    at: u32,
    length: u32,
}

/// A place between two user records of an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    at: usize,
    index: u64,
}

impl Place {
    /// How many user records stand before it.
    #[must_use]
    pub fn index(self) -> u64 {
        self.index
    }
}

/// One aggregate that was checked. Its buffers are used again by the next one.
#[derive(Debug, Default)]
pub struct Aggregate {
    /// The protobuf message; empty while none is open.
    message: Vec<u8>,
    partition_keys: Vec<Span>,
    hash_keys: Vec<Span>,
    records: u64,
}

/// One user record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserRecord<'a> {
    /// Its place in the aggregate, from 0: its sub-sequence number.
    pub index: u64,
    /// Its partition key, as text.
    pub partition_key: &'a str,
    /// Its explicit hash key, as it stands there: a decimal number, if the producer is sound.
    pub explicit_hash_key: Option<&'a str>,
    /// Its payload.
    pub data: &'a [u8],
}

impl UserRecord<'_> {
    /// The hash key that says to which shard it belongs: the explicit one, else that of its partition key. A text that is no
    /// number counts as none, because producers are known that write `undefined` where they mean none
    /// (awslabs/kinesis-aggregation, pull request 49).
    #[must_use]
    pub fn hash_key(&self) -> u128 {
        self.explicit_hash_key
            .and_then(explicit_hash_key)
            .unwrap_or_else(|| hash_key(self.partition_key))
    }
}

/// The hash key of a partition key: its MD5 digest as a number, big-endian (Kinesis API reference, `PutRecord`).
#[must_use]
pub fn hash_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into())
}

fn explicit_hash_key(text: &str) -> Option<u128> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl Aggregate {
    /// Takes a payload over and checks it, whole. Whatever was open before is forgotten.
    ///
    /// # Errors
    /// [`BrokenAggregate`]: it is to be taken as the plain record that it came as; nothing is open then.
    pub fn open(&mut self, payload: &[u8]) -> Result<(), BrokenAggregate> {
        self.close();
        let checked = self.check(payload);
        if checked.is_err() {
            self.close();
        }
        checked
    }

    fn check(&mut self, payload: &[u8]) -> Result<(), BrokenAggregate> {
        if payload.len() < SMALLEST || u32::try_from(payload.len()).is_err() {
            return Err(BrokenAggregate::TooShort);
        }
        let message = payload.get(AGGREGATE_MAGIC.len()..).unwrap_or_default();
        let (message, digest) = message.split_at(message.len() - DIGEST_BYTES);
        if Md5::digest(message)[..] != *digest {
            return Err(BrokenAggregate::WrongDigest);
        }
        let mut wire = Wire::new(message, 0);
        // How long the tables must be. They may stand behind the records that use them.
        let (mut partition_keys, mut hash_keys) = (0, 0);
        while let Some(field) = wire.field()? {
            let table = match (field.number, field.value) {
                (PARTITION_KEYS, Value::Bytes(key)) => (&mut self.partition_keys, key),
                (HASH_KEYS, Value::Bytes(key)) => (&mut self.hash_keys, key),
                (RECORDS, Value::Bytes(record)) => {
                    let record = record_fields(record)?;
                    partition_keys = partition_keys.max(record.partition_key.saturating_add(1));
                    hash_keys = hash_keys.max(record.hash_key.map_or(0, |index| index.saturating_add(1)));
                    self.records += 1;
                    continue;
                }
                (PARTITION_KEYS | HASH_KEYS | RECORDS, _) => return Err(BrokenAggregate::BadMessage),
                _ => continue,
            };
            let (table, key) = table;
            if std::str::from_utf8(key).is_err() {
                return Err(BrokenAggregate::KeyNotText);
            }
            table.push(Span {
                at: (wire.at() - key.len()) as u32,
                length: key.len() as u32,
            });
        }
        if partition_keys > self.partition_keys.len() as u64 || hash_keys > self.hash_keys.len() as u64 {
            return Err(BrokenAggregate::IndexOutOfTable);
        }
        self.message.extend_from_slice(message);
        Ok(())
    }

    /// Forgets what is open. Buffers that a large aggregate needed are given back.
    pub fn close(&mut self) {
        self.records = 0;
        self.message.clear();
        self.message.shrink_to(KEPT_BYTES);
        for table in [&mut self.partition_keys, &mut self.hash_keys] {
            table.clear();
            table.shrink_to(KEPT_BYTES / size_of::<Span>());
        }
    }

    /// How many user records it holds; an aggregate may hold none.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.records
    }

    /// Whether it holds none, or none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The user records from a place of this aggregate on; the default place is its beginning.
    #[must_use]
    pub fn records(&self, from: Place) -> UserRecords<'_> {
        UserRecords {
            aggregate: self,
            wire: Wire::new(&self.message, from.at),
            index: from.index,
        }
    }

    fn key(&self, table: &[Span], index: u64) -> Option<&str> {
        let span = table.get(usize::try_from(index).ok()?)?;
        let bytes = self
            .message
            .get(span.at as usize..)?
            .get(..span.length as usize)?;
        std::str::from_utf8(bytes).ok()
    }
}

/// The user records of an aggregate in order.
#[derive(Debug, Clone)]
pub struct UserRecords<'a> {
    aggregate: &'a Aggregate,
    wire: Wire<'a>,
    index: u64,
}

impl UserRecords<'_> {
    /// The place before the next user record.
    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            at: self.wire.at(),
            index: self.index,
        }
    }
}

impl<'a> Iterator for UserRecords<'a> {
    type Item = UserRecord<'a>;

    fn next(&mut self) -> Option<UserRecord<'a>> {
        loop {
            // What is open was checked; nothing here can fail.
            let field = self.wire.field().ok()??;
            let (RECORDS, Value::Bytes(record)) = (field.number, field.value) else {
                continue;
            };
            let record = record_fields(record).ok()?;
            let index = self.index;
            self.index += 1;
            let aggregate = self.aggregate;
            return Some(UserRecord {
                index,
                partition_key: aggregate.key(&aggregate.partition_keys, record.partition_key)?,
                explicit_hash_key: match record.hash_key {
                    Some(index) => Some(aggregate.key(&aggregate.hash_keys, index)?),
                    None => None,
                },
                data: record.data,
            });
        }
    }
}

struct RecordFields<'a> {
    partition_key: u64,
    hash_key: Option<u64>,
    data: &'a [u8],
}

/// The fields of a user record. Of a field that stands there twice the last one counts, as in any protobuf reader.
fn record_fields(bytes: &[u8]) -> Result<RecordFields<'_>, BrokenAggregate> {
    let (mut partition_key, mut hash_key, mut data) = (None, None, None);
    let mut wire = Wire::new(bytes, 0);
    while let Some(field) = wire.field()? {
        match (field.number, field.value) {
            (PARTITION_KEY_INDEX, Value::Number(index)) => partition_key = Some(index),
            (HASH_KEY_INDEX, Value::Number(index)) => hash_key = Some(index),
            (DATA, Value::Bytes(bytes)) => data = Some(bytes),
            (TAGS, Value::Bytes(_)) => {}
            (PARTITION_KEY_INDEX | HASH_KEY_INDEX | DATA | TAGS, _) => {
                return Err(BrokenAggregate::BadMessage);
            }
            _ => {}
        }
    }
    Ok(RecordFields {
        partition_key: partition_key.ok_or(BrokenAggregate::MissingField)?,
        hash_key,
        data: data.ok_or(BrokenAggregate::MissingField)?,
    })
}

#[cfg(test)]
mod tests;
