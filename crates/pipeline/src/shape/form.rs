//! What a payload is, by its first four bytes. None of these begins a JSON document.

use frazil_kinesis::AGGREGATE_MAGIC;

/// The form of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Nothing that is known here: JSON, or what becomes a dead letter.
    Plain,
    /// An aggregate of the Kinesis Producer Library, or what looks like one.
    Aggregate,
    /// Compressed, or what looks like it.
    Compressed(Compression),
}

/// How a payload is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

const AGGREGATE: u32 = u32::from_be_bytes(AGGREGATE_MAGIC);
const ZSTD: u32 = 0x28b5_2ffd;
const GZIP: u32 = 0x1f8b;

impl Form {
    #[inline]
    pub(super) fn of(payload: &[u8]) -> Self {
        let Some(first) = payload.first_chunk::<4>() else {
            return Self::Plain;
        };
        match u32::from_be_bytes(*first) {
            AGGREGATE => Self::Aggregate,
            ZSTD => Self::Compressed(Compression::Zstd),
            first if first >> 16 == GZIP => Self::Compressed(Compression::Gzip),
            _ => Self::Plain,
        }
    }
}
