//! Rows of other programs' checkpoint tables.
//!
//! Facts: attribute names and values of the Kinesis Client Library are those of its `DynamoDBLeaseSerializer` and
//! `SentinelCheckpoint` (1.x to 3.x); a lease key of its multi-stream mode is `account:stream:creation epoch:shard`
//! (`StreamIdentifier`). Those of Redpanda Connect are of its `awsKinesisCheckpointer`.

use frazil_model::{SequenceNumber, ShardId};

use super::MigrateOptions;
use crate::admin::Layout;
use crate::error::Error;
use crate::row::{Attribute, Item};

/// What another program remembered of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Remembered {
    /// This user record is done. The library does not say whether the Kinesis record holds more of them.
    UpTo {
        sequence: SequenceNumber,
        sub_sequence: u64,
    },
    /// This Kinesis record is done wholly.
    Wholly(SequenceNumber),
    ShardEnd,
    TrimHorizon,
    Latest,
    AtTimestamp,
    /// A row without any position.
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceRow {
    pub(super) shard: ShardId,
    pub(super) remembered: Remembered,
    pub(super) notes: Vec<&'static str>,
}

/// A row, by whether it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// A shard of this stream.
    Ours(SourceRow),
    /// A shard of another stream: which.
    OtherStream(String),
    /// No shard: the library's own housekeeping.
    Housekeeping,
}

pub(super) fn read(layout: &Layout, item: &Item, options: &MigrateOptions) -> Result<Found, Error> {
    match layout {
        Layout::ClientLibrary => client_library(item, options),
        Layout::RedpandaConnect => redpanda(item, options),
        Layout::Lease | Layout::Unknown(_) => Ok(Found::Housekeeping),
    }
}

/// Reads attributes of one row, naming the row in errors.
struct Reader<'a> {
    key: &'a str,
    item: &'a Item,
}

impl<'a> Reader<'a> {
    fn damaged(&self, attribute: &'static str, detail: impl Into<String>) -> Error {
        Error::RowDamaged {
            key: self.key.to_owned(),
            attribute,
            detail: detail.into(),
        }
    }

    fn text(&self, attribute: &'static str) -> Result<Option<&'a str>, Error> {
        match self.item.get(attribute) {
            None => Ok(None),
            Some(Attribute::S(text)) => Ok(Some(text)),
            Some(_) => Err(self.damaged(attribute, "is no string")),
        }
    }

    fn shard(&self, attribute: &'static str, text: &str) -> Result<ShardId, Error> {
        ShardId::new(text).map_err(|e| self.damaged(attribute, e.to_string()))
    }

    fn sequence(&self, attribute: &'static str, text: &str) -> Result<SequenceNumber, Error> {
        SequenceNumber::new(text).map_err(|e| self.damaged(attribute, e.to_string()))
    }
}

fn key<'a>(item: &'a Item, attribute: &str) -> &'a str {
    match item.get(attribute) {
        Some(Attribute::S(key)) => key,
        _ => "",
    }
}

fn client_library(item: &Item, options: &MigrateOptions) -> Result<Found, Error> {
    let reader = Reader {
        key: key(item, "leaseKey"),
        item,
    };
    // Since 3.5 the library may keep its leader, its metrics and its states in the lease table.
    if reader.text("entityType")?.is_some_and(|kind| kind != "LEASE") {
        return Ok(Found::Housekeeping);
    }
    let parts: Vec<&str> = reader.key.split(':').collect();
    let shard = match parts[..] {
        [shard] => shard,
        [account, stream, epoch, shard] => {
            let identity = &options.stream;
            let same = stream == options.stream_name.as_str()
                && identity.arn.split(':').nth(4).is_none_or(|own| own == account)
                && epoch == (identity.created_ms.div_euclid(1000)).to_string();
            if !same {
                return Ok(Found::OtherStream(format!("{account}:{stream}:{epoch}")));
            }
            shard
        }
        _ => return Err(reader.damaged("leaseKey", "names neither a shard nor a stream's shard")),
    };
    let shard = reader.shard("leaseKey", shard)?;
    let mut notes = Vec::new();
    if item.contains_key("pendingCheckpoint") {
        notes.push("a prepared checkpoint that was never made is ignored");
    }
    if item.contains_key("checkpointOwner") {
        notes.push("a hand-over that was not finished is ignored; its checkpoint stands");
    }
    let remembered = match reader.text("checkpoint")? {
        None => return Err(reader.damaged("checkpoint", "is missing")),
        Some("SHARD_END") => Remembered::ShardEnd,
        Some("TRIM_HORIZON") => Remembered::TrimHorizon,
        Some("LATEST") => Remembered::Latest,
        Some("AT_TIMESTAMP") => Remembered::AtTimestamp,
        Some(digits) => Remembered::UpTo {
            sequence: reader.sequence("checkpoint", digits)?,
            sub_sequence: sub_sequence(&reader)?,
        },
    };
    Ok(Found::Ours(SourceRow {
        shard,
        remembered,
        notes,
    }))
}

fn sub_sequence(reader: &Reader<'_>) -> Result<u64, Error> {
    const NAME: &str = "checkpointSubSequenceNumber";
    match reader.item.get(NAME) {
        None => Ok(0),
        Some(Attribute::N(text)) => text.parse().map_err(|_| reader.damaged(NAME, "is out of range")),
        Some(_) => Err(reader.damaged(NAME, "is no number")),
    }
}

fn redpanda(item: &Item, options: &MigrateOptions) -> Result<Found, Error> {
    let reader = Reader {
        key: key(item, "ShardID"),
        item,
    };
    let stream = reader.text("StreamID")?.unwrap_or_default();
    // A stream is named there as its configuration names it: by its name or by its ARN.
    if stream != options.stream_name.as_str() && stream != options.stream.arn {
        return Ok(Found::OtherStream(stream.to_owned()));
    }
    let shard = reader.shard("ShardID", reader.key)?;
    let remembered = match reader.text("SequenceNumber")? {
        None | Some("") => Remembered::Nothing,
        Some(digits) => Remembered::Wholly(reader.sequence("SequenceNumber", digits)?),
    };
    Ok(Found::Ours(SourceRow {
        shard,
        remembered,
        notes: Vec::new(),
    }))
}
