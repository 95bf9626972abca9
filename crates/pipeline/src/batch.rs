//! Batch: rows gathered for one append, compressed into its body.
//!
//! How it works: the shaper writes rows into a [`BatchBuilder`] as NDJSON. A batch is full at [`MAX_RAW_BYTES`] of NDJSON,
//! chosen such that its body fits a request even if nothing can be compressed. A larger row goes alone; whether its body
//! fits is known when it is compressed, and if it does not, it becomes a dead letter. A [`Compressor`] keeps its zstd
//! context and its output buffer; [`Compressors`] lends a few of them, and of the buffers that rows are gathered in, to any
//! number of shards: a shard holds a buffer only while it gathers, so that a thousand idle shards hold none (I8).
//!
//! What it guarantees: no body is larger than [`MAX_WIRE_BYTES`]; a batch's `to` is the last position it *settles*, dead
//! letters and skipped records behind its last row included (I2); rows stand in the order in which they were added.
//! What it does not: it keeps nothing after [`BatchBuilder::finish`] but its empty buffer, until that is taken.

mod compress;
mod effort;

use frazil_model::Position;
use frazil_snowflake::Batch;
pub use frazil_snowflake::MAX_WIRE_BYTES;

pub use compress::{Compressor, Compressors, DEFAULT_LEVEL, Lent};
pub use effort::FAST_LEVEL;

use crate::dead_letters::DeadLetter;

/// NDJSON of a batch of several rows, in bytes. zstd's bound for what cannot be compressed adds 0.4 %, which stays below
/// [`MAX_WIRE_BYTES`].
pub const MAX_RAW_BYTES: usize = 3_900_000;
/// The largest row, in bytes of NDJSON: 16 MB, which a VARIANT could hold in each version of Snowflake (Snowflake
/// documentation, "Semi-structured data types").
pub const MAX_ROW_BYTES: usize = 16_000_000;
/// A buffer that was used to less than this part of itself is halved.
const USED_PART: usize = 4;
/// Below this, a buffer is left as it is.
const SMALL_BUFFER: usize = 64 * 1024;

/// How far shaping a page went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// Every record of the page is settled by the builder.
    PageDone,
    /// The batch is full; finish it, then shape the same page again.
    BatchFull,
}

/// What a builder was finished to.
#[derive(Debug)]
pub enum Finished {
    /// Nothing was added since the last time.
    Nothing,
    /// There are no rows: everything up to here is dead letters.
    Settled {
        /// The last position that is settled once the letters are kept.
        to: Position,
    },
    /// Rows to append.
    Batch(Batch),
}

/// Rows under construction.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    /// NDJSON.
    pub(crate) raw: Vec<u8>,
    pub(crate) rows: u64,
    /// The letter that the one large row becomes if its body does not fit a request.
    pub(crate) refused: Option<DeadLetter>,
    from: Option<Position>,
    to: Option<Position>,
    oldest_arrival_ms: Option<i64>,
    letter_bytes: usize,
    /// How much NDJSON is paid for.
    allowance: Option<usize>,
    /// How many rows it may have, where they are counted.
    most_rows: Option<u64>,
    /// The next record decompresses to more than that, and there are no rows that could go first.
    pub(crate) is_starved: bool,
}

impl BatchBuilder {
    /// Whether it holds neither rows nor a position.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.to.is_none()
    }

    /// Bytes of NDJSON.
    #[must_use]
    pub fn raw_bytes(&self) -> usize {
        self.raw.len()
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether no record may be added before it is finished: it holds a large row, or as many rows as it may, or its dead
    /// letters need as much memory as rows may.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.refused.is_some()
            || self.letter_bytes >= MAX_RAW_BYTES
            || self.most_rows.is_some_and(|most| self.rows >= most)
    }

    /// Lets it hold at most so many rows; none: as many as there is room for.
    pub fn allow_rows(&mut self, most: Option<u64>) {
        self.most_rows = most;
    }

    /// Lets it hold this many bytes of NDJSON, but not more than [`MAX_RAW_BYTES`]; a single row may be larger.
    pub fn allow(&mut self, bytes: usize) {
        self.allowance = Some(bytes);
        self.is_starved = false;
    }

    /// How many bytes of NDJSON are paid for, one large row included.
    pub(crate) fn paid(&self) -> usize {
        self.allowance.unwrap_or(usize::MAX)
    }

    /// How many bytes of NDJSON several rows may have.
    pub(crate) fn most_raw(&self) -> usize {
        self.allowance.unwrap_or(MAX_RAW_BYTES).min(MAX_RAW_BYTES)
    }

    /// Counts the row that now ends the NDJSON.
    pub(crate) fn add_row(&mut self, position: impl FnOnce() -> Position, arrival_ms: Option<i64>) {
        self.rows += 1;
        self.from.get_or_insert_with(position);
        self.oldest_arrival_ms = match (self.oldest_arrival_ms, arrival_ms) {
            (Some(oldest), Some(this)) => Some(oldest.min(this)),
            (oldest, this) => oldest.or(this),
        };
    }

    pub(crate) fn add_letter(&mut self, bytes: usize) {
        self.letter_bytes += bytes;
    }

    /// Everything up to here is a row or a letter.
    pub(crate) fn settle(&mut self, to: Position) {
        self.to = Some(to);
    }

    /// Compresses what was added and begins anew. A large row whose body fits no request goes to `letters`: keep the letters
    /// after this, and before the append.
    pub fn finish(&mut self, compressor: &mut Compressor, letters: &mut Vec<DeadLetter>) -> Finished {
        let refused = self.refused.take();
        let (from, oldest_arrival_ms) = (self.from.take(), self.oldest_arrival_ms.take());
        let (rows, uncompressed_bytes) = (std::mem::take(&mut self.rows), self.raw.len());
        self.letter_bytes = 0;
        let Some(to) = self.to.take() else {
            return Finished::Nothing;
        };
        let Some(from) = from else {
            return Finished::Settled { to };
        };
        let body = compressor.compress(&self.raw);
        self.empty();
        match (body, refused) {
            (Some(body), _) => Finished::Batch(Batch {
                body,
                uncompressed_bytes,
                rows,
                from,
                to,
                oldest_arrival_ms,
            }),
            (None, refused) => {
                letters.push(refused.expect("only a row larger than a batch can be too large for a request"));
                Finished::Settled { to }
            }
        }
    }

    /// Gathers in this buffer from now on, if it has none.
    pub fn gather_in(&mut self, buffer: impl FnOnce() -> Vec<u8>) {
        if self.raw.capacity() == 0 {
            self.raw = buffer();
        }
    }

    /// Gives the empty buffer back, for others.
    pub fn take_buffer(&mut self) -> Option<Vec<u8>> {
        (self.raw.is_empty() && self.raw.capacity() > 0).then(|| std::mem::take(&mut self.raw))
    }

    /// Forgets what was added and lets the buffer go; for a shard that is not going to add soon.
    pub fn rest(&mut self) {
        *self = Self::default();
    }

    fn empty(&mut self) {
        let (used, size) = (self.raw.len(), self.raw.capacity());
        self.raw.clear();
        if size > 2 * MAX_RAW_BYTES {
            self.raw.shrink_to(MAX_RAW_BYTES);
        } else if size > SMALL_BUFFER && used < size / USED_PART {
            self.raw.shrink_to(size / 2);
        }
    }
}

#[cfg(test)]
mod tests;
