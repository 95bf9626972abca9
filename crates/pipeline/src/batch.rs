//! Batch: rows gathered for one append, compressed into its body.
//!
//! How it works: the shaper writes rows into a [`BatchBuilder`] as NDJSON. A batch is full at [`MAX_RAW_BYTES`] of NDJSON,
//! chosen such that its body fits a request even if nothing can be compressed. A larger row goes alone; whether its body
//! fits is known when it is compressed, and if it does not, it becomes a dead letter. A [`Compressor`] keeps its zstd
//! context and its output buffer; [`Compressors`] lends a few of them, and of the buffers that rows are gathered in, to any
//! number of shards: a shard holds a buffer only while it gathers, so that a thousand idle shards hold none (I8).
//!
//! Rows for several pipes are gathered in one buffer, in their order, and sorted out when the builder is finished: so one bound
//! holds for all of them together, and the batches that come out at once settle the same position.
//!
//! What it guarantees: no body is larger than [`MAX_WIRE_BYTES`]; a batch's `to` is the last position it *settles*, dead
//! letters and skipped records behind its last row included (I2); rows of a pipe stand in the order in which they were added.
//! What it does not: it keeps nothing after [`BatchBuilder::finish`] but its empty buffer, until that is taken.

mod compress;
mod effort;

use bytes::Bytes;
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
    /// Rows to append: for each pipe that has any its number, and one batch. All of them settle the same position.
    Batches(Vec<(usize, Batch)>),
}

/// Rows of one pipe among those that were gathered.
#[derive(Debug, Default, Clone)]
struct Part {
    rows: u64,
    from: Option<Position>,
    oldest_arrival_ms: Option<i64>,
}

/// Neighbouring rows of one pipe.
#[derive(Debug, Clone, Copy)]
struct Run {
    pipe: usize,
    /// Where the last of them ends in the NDJSON.
    end: usize,
}

/// Rows under construction.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    /// NDJSON.
    pub(crate) raw: Vec<u8>,
    pub(crate) rows: u64,
    /// By the number of the pipe.
    parts: Vec<Part>,
    runs: Vec<Run>,
    /// The letter that the one large row becomes if its body does not fit a request.
    pub(crate) refused: Option<DeadLetter>,
    to: Option<Position>,
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

    /// Counts the row that now ends the NDJSON, and goes to this pipe.
    pub(crate) fn add_row(
        &mut self,
        pipe: usize,
        position: impl FnOnce() -> Position,
        arrival_ms: Option<i64>,
    ) {
        self.rows += 1;
        let end = self.raw.len();
        match self.runs.last_mut() {
            Some(run) if run.pipe == pipe => run.end = end,
            _ => self.runs.push(Run { pipe, end }),
        }
        if self.parts.len() <= pipe {
            self.parts.resize(pipe + 1, Part::default());
        }
        let part = &mut self.parts[pipe];
        part.rows += 1;
        part.from.get_or_insert_with(position);
        part.oldest_arrival_ms = match (part.oldest_arrival_ms, arrival_ms) {
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
        self.letter_bytes = 0;
        let Some(to) = self.to.take() else {
            return Finished::Nothing;
        };
        if std::mem::take(&mut self.rows) == 0 {
            return Finished::Settled { to };
        }
        let mut batches = Vec::with_capacity(1);
        for pipe in 0..self.parts.len() {
            let Part {
                rows,
                from: Some(from),
                oldest_arrival_ms,
            } = std::mem::take(&mut self.parts[pipe])
            else {
                continue;
            };
            let (body, uncompressed_bytes) = self.compress(pipe, compressor);
            let Some(body) = body else {
                letters.push(refused.expect("only a row larger than a batch can be too large for a request"));
                self.empty();
                return Finished::Settled { to };
            };
            let to = to.clone();
            let batch = Batch {
                body,
                uncompressed_bytes,
                rows,
                from,
                to,
                oldest_arrival_ms,
            };
            batches.push((pipe, batch));
        }
        self.empty();
        Finished::Batches(batches)
    }

    /// The body of one pipe's rows, and how many bytes they were before; no body where it fits no request.
    fn compress(&self, pipe: usize, compressor: &mut Compressor) -> (Option<Bytes>, usize) {
        if self.runs.len() == 1 {
            return (compressor.compress(&self.raw), self.raw.len());
        }
        let mut begin = 0;
        let rows = self.runs.iter().filter_map(|run| {
            let rows = begin..run.end;
            begin = run.end;
            (run.pipe == pipe).then(|| &self.raw[rows])
        });
        compressor.compress_joined(rows)
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
        self.runs.clear();
        if size > 2 * MAX_RAW_BYTES {
            self.raw.shrink_to(MAX_RAW_BYTES);
        } else if size > SMALL_BUFFER && used < size / USED_PART {
            self.raw.shrink_to(size / 2);
        }
    }
}

#[cfg(test)]
mod tests;
