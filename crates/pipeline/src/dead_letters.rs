//! Dead letters: records that could not become rows, kept with where they came from and why.
//!
//! What it is: a [`DeadLetterSink`] takes letters before anything behind them is appended. [`FileDeadLetters`] keeps them in
//! files of a folder, one JSON object a line; [`Discard`] drops them, and the connector counts that.
//!
//! The envelope is frozen by a golden test: `version`, `connector`, `stream`, `shardId`, `sequenceNumber`,
//! `subSequenceNumber`, `documentIndex`, `position` (the offset token, the letter's key), `partitionKey`,
//! `approximateArrival` (ISO 8601 UTC, or null), `reason`, `detail`, `data` (the record's bytes, base64).
//!
//! What it guarantees: when [`DeadLetterSink::keep`] has answered, the letters are synced to disk, and so is the folder's
//! entry of their file. A letter may stand there twice after a crash; its key tells. Nothing is deleted here: at its bound
//! the sink refuses, and the shard stalls with the next step.

mod file;

use std::path::PathBuf;

use async_trait::async_trait;
use frazil_model::{ErrorKind, Position, ShardId, StreamName};

pub use file::{FileDeadLetters, LetterLine, read_file};

/// Why a record is no row; the texts stand in envelopes, metrics and docs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It has no bytes but spaces.
    Empty,
    /// It is no JSON of RFC 8259.
    InvalidJson,
    /// It is no UTF-8.
    InvalidUtf8,
    /// It is JSON, and no object.
    NotAnObject,
    /// It is nested too deeply.
    TooDeep,
    /// It fits no request.
    RowTooLarge,
    /// Its base64 cannot be read.
    UnreadableBase64,
    /// It begins as an aggregate of the Kinesis Producer Library and is none.
    BrokenAggregate,
    /// It begins as gzip or zstd and cannot be decompressed.
    BadCompression,
    /// Decompressed, it is larger than a record may become.
    DecompressedTooLarge,
    /// The table refused it, or one of its neighbours in a span that has a refused row.
    RowErrorSuspect,
    /// Snowflake fails on it, sent alone too.
    RefusedByService,
    /// No route says to which table it goes.
    NoRoute,
}

impl Reason {
    /// The text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::InvalidJson => "invalid_json",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::NotAnObject => "not_an_object",
            Self::TooDeep => "too_deep",
            Self::RowTooLarge => "row_too_large",
            Self::UnreadableBase64 => "unreadable_base64",
            Self::BrokenAggregate => "broken_aggregate",
            Self::BadCompression => "bad_compression",
            Self::DecompressedTooLarge => "decompressed_too_large",
            Self::RowErrorSuspect => "row_error_suspect",
            Self::RefusedByService => "refused_by_service",
            Self::NoRoute => "no_route",
        }
    }
}

/// A record that could not become a row.
#[derive(Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its stream.
    pub stream: StreamName,
    /// Its shard.
    pub shard: ShardId,
    /// Where in the shard it stands; the letter's key.
    pub position: Position,
    /// Its partition key.
    pub partition_key: String,
    /// When it arrived, in milliseconds since 1970 UTC.
    pub arrival_ms: Option<i64>,
    /// Why it is no row.
    pub reason: Reason,
    /// More about it; no part of the record.
    pub detail: String,
    /// Its bytes.
    pub data: Vec<u8>,
}

impl std::fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("DeadLetter");
        shown
            .field("shard", &self.shard)
            .field("position", &self.position)
            .field("reason", &self.reason);
        shown
            .field("detail", &self.detail)
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// Why letters could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk.
    #[error("the dead-letter file {} cannot be written: {source}; free or repair the disk, the shard goes on by itself", path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bound is reached.
    #[error(
        "the dead letters in {} have {bytes} bytes, and may have {max_bytes}; move files away from there or raise \
         `dead_letters: {{file: {{max_bytes}}}}`, the shard goes on by itself", folder.display()
    )]
    Full {
        /// The folder.
        folder: PathBuf,
        /// Bytes of its files.
        bytes: u64,
        /// The bound.
        max_bytes: u64,
    },
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            // Both pass when somebody makes room.
            Self::Disk { .. } | Self::Full { .. } => ErrorKind::Retry,
        }
    }
}

/// Takes dead letters.
#[async_trait]
pub trait DeadLetterSink: Send + Sync + std::fmt::Debug {
    /// Keeps the letters, all or an error; after an error some may be kept.
    ///
    /// # Errors
    /// [`Error`].
    async fn keep(&self, letters: &[DeadLetter]) -> Result<(), Error>;

    /// Whether what it took is still there after a crash; what it takes otherwise counts as dropped.
    fn is_durable(&self) -> bool;
}

/// Keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Discard;

#[async_trait]
impl DeadLetterSink for Discard {
    async fn keep(&self, _: &[DeadLetter]) -> Result<(), Error> {
        Ok(())
    }

    fn is_durable(&self) -> bool {
        false
    }
}
