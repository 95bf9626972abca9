//! Shape: each user record of a page becomes one NDJSON row with its metadata, or a dead letter.
//!
//! How it works: a [`Shaper`] belongs to one shard. It decodes a record's payload right behind the rows that a
//! [`BatchBuilder`] holds already. Four bytes of it tell what it is: an aggregate of the Kinesis Producer Library is taken
//! out again and opened, and its user records go the same way one by one; a compressed payload is decompressed in place.
//! What stands there then is checked ([`validate`](self)), and the metadata is spliced in before the closing brace. No tree
//! is built, and nothing is allocated per record. What cannot become a row is taken back out of the builder and becomes a
//! [`DeadLetter`] with its bytes as they came.
//!
//! The row is the record's JSON object, byte by byte, with one more member ([`MetadataOptions::key`]). Changed are only:
//! whitespace around the object is dropped; `\n` and `\r` between tokens become spaces, so that a row is one line; a field
//! of the metadata's name, in any ASCII case and however escaped, is cut out and counted.
//!
//! Where rows go to several pipes, the value of one member says to which ([`crate::routes`]); a row that its pipe's channel has
//! already is left out.
//!
//! What it guarantees: order is kept; each user record that was not settled before becomes exactly one row, one dead letter,
//! or one counted drop ([`HashRangeCheck::Drop`]), whatever its bytes, and the builder's end position covers it (I2). User
//! records are numbered as they stand in their aggregate, before anything is dropped; a batch may end between two of them,
//! and what follows goes on exactly there. A broken aggregate is never opened in part: it is one plain record. What it does
//! not: it splits no record into several documents; they have their place in [`Position`] already.

mod counts;
mod decompress;
mod form;
mod metadata;
mod options;
mod row;
mod splice;
mod validate;

use std::ops::Range;

use frazil_kinesis::{Aggregate, HashKeyRange, Payload, Place, Record, RecordPage};
use frazil_model::position::compare_sequences;
use frazil_model::{Position, ShardId, StreamName};

use crate::batch::{BatchBuilder, Filled};
use crate::dead_letters::{DeadLetter, Reason};
use crate::routes::Router;
use decompress::Decompression;
use form::Form;
use metadata::{Metadata, Origin};
use row::{User, position};
use validate::Flaw;

pub use counts::{OUT_OF_HASH_RANGE, ShapeCounts};
pub use decompress::MAX_DECOMPRESSED_BYTES;
pub(crate) use metadata::iso8601;
pub use metadata::{ArrivalFormat, MetadataOptions};
pub use options::{Decompress, HashRangeCheck, ShapeOptions};
pub use validate::MAX_DEPTH;

/// A record that is to be no row, whatever it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condemned {
    /// Where it stands.
    pub position: Position,
    /// Why, for people.
    pub why: String,
    /// Its letter is durable: no second one is made.
    pub is_kept: bool,
}

/// Makes rows of one shard's records.
#[derive(Debug)]
pub struct Shaper {
    stream: StreamName,
    shard: ShardId,
    metadata: Metadata,
    hash_range: Option<HashKeyRange>,
    hash_range_check: HashRangeCheck,
    decompresses: bool,
    decompression: Decompression,
    /// The payload that is being decompressed.
    compressed: Vec<u8>,
    /// Members to be cut out of the record at hand.
    cuts: Vec<Range<usize>>,
    /// The last record that was shaped; empty before the first.
    done: String,
    /// Whether user records of it are still to come.
    done_in_part: bool,
    open: OpenAggregate,
    /// Records that are to be no rows.
    condemned: Vec<Condemned>,
    /// What finds a row's pipe, where there are several.
    router: Option<Router>,
    counts: ShapeCounts,
}

/// The aggregate whose user records are being shaped.
#[derive(Debug, Default)]
struct OpenAggregate {
    /// The record it came in; empty while none is open.
    sequence: String,
    aggregate: Aggregate,
    /// Behind the last user record that was shaped.
    place: Place,
    /// A partition key as the inside of a JSON string, with its quotes.
    key: Vec<u8>,
}

/// How far shaping a record went.
enum Step {
    /// It is settled; this is its last user record.
    Whole(u64),
    /// The batch is full behind this user record of it, if any.
    Full(Option<u64>),
}

impl Shaper {
    /// A shaper for one shard's records.
    #[must_use]
    pub fn new(stream: &StreamName, shard: &ShardId, options: &ShapeOptions) -> Self {
        Self {
            stream: stream.clone(),
            shard: shard.clone(),
            metadata: Metadata::new(stream, shard, &options.metadata),
            hash_range: options.hash_range,
            hash_range_check: options.hash_range_check,
            decompresses: options.decompress == Decompress::Auto,
            decompression: Decompression::new(MAX_DECOMPRESSED_BYTES),
            compressed: Vec::new(),
            cuts: Vec::new(),
            done: String::new(),
            done_in_part: false,
            open: OpenAggregate::default(),
            condemned: Vec::new(),
            router: None,
            counts: ShapeCounts::default(),
        }
    }

    /// Shapes the records of a page that neither `after` settles nor this shaper has shaped before: rows go to `out`,
    /// the rest to `letters`. With [`Filled::BatchFull`], finish the batch and call again with the same page.
    pub fn shape(
        &mut self,
        page: &RecordPage,
        after: Option<&Position>,
        out: &mut BatchBuilder,
        letters: &mut Vec<DeadLetter>,
    ) -> Filled {
        let mut settled = None;
        let mut filled = Filled::PageDone;
        for record in page.records() {
            let sequence = record.sequence_number;
            let is_settled = |after: &Position| after.settles(sequence, u64::MAX, u32::MAX);
            if settled.is_none() && self.is_done(sequence) || after.is_some_and(is_settled) {
                continue;
            }
            match self.record(&record, after, out, letters) {
                Step::Whole(sub_sequence) => settled = Some((sequence, sub_sequence, true)),
                Step::Full(part) => {
                    settled = part
                        .map(|sub_sequence| (sequence, sub_sequence, false))
                        .or(settled);
                    filled = Filled::BatchFull;
                    break;
                }
            }
        }
        if let Some((sequence, sub_sequence, last)) = settled {
            self.done.clear();
            self.done.push_str(sequence);
            self.done_in_part = !last;
            out.settle(position(sequence, sub_sequence, last));
        }
        filled
    }

    /// Makes dead letters of these records, [`Reason::RefusedByService`].
    #[must_use]
    pub fn condemning(mut self, records: &[Condemned]) -> Self {
        self.condemned = records.to_vec();
        self
    }

    /// Sends each row to the pipe that this finds for it.
    #[must_use]
    pub(crate) fn routing(mut self, router: Option<Router>) -> Self {
        self.router = router;
        self
    }

    /// What was counted since this was asked last.
    pub fn take_counts(&mut self) -> ShapeCounts {
        std::mem::take(&mut self.counts)
    }

    /// Whether a record was shaped to its end.
    fn is_done(&self, sequence: &str) -> bool {
        let order = compare_sequences(sequence, &self.done);
        !self.done.is_empty() && (order.is_lt() || order.is_eq() && !self.done_in_part)
    }

    /// Shapes one Kinesis record, as far as the batch has room.
    fn record(
        &mut self,
        record: &Record<'_>,
        after: Option<&Position>,
        out: &mut BatchBuilder,
        letters: &mut Vec<DeadLetter>,
    ) -> Step {
        if out.is_full() {
            return Step::Full(None);
        }
        if self.open.sequence == record.sequence_number {
            return self.user_records(record, after, out, letters);
        }
        let is_settled = after.is_some_and(|after| after.settles(record.sequence_number, 0, 0));
        let escaped;
        let mut user = plain(record);
        if !validate::is_inside_of_string(user.origin.partition_key) {
            // No JSON encoder wrote this; its bytes are kept as text.
            escaped = serde_json::Value::from(user.origin.partition_key).to_string();
            user.origin.partition_key = escaped.trim_matches('"');
        }
        let start = out.raw.len();
        if !self.has_room(&user.origin, record.data.decoded_bound(), out) {
            return Step::Full(None);
        }
        let is_readable = record.data.decode_into(&mut out.raw);
        let form = Form::of(&out.raw[start..]);
        if is_settled && form != Form::Aggregate {
            // The position is another program's, which did not know that nothing comes after it in this record.
            out.raw.truncate(start);
            return Step::Whole(0);
        }
        if !is_readable {
            let what = "the payload came as base64 that cannot be read; it is kept as it came";
            let reason = Reason::UnreadableBase64;
            self.refuse(&user, &Flaw { reason, what, at: 0 }, start, out, letters);
            return Step::Whole(0);
        }
        if form == Form::Aggregate {
            return self.aggregate(&user, record, after, start, out, letters);
        }
        if self.carry(&user, form, start, out, letters) {
            Step::Whole(0)
        } else {
            Step::Full(None)
        }
    }

    /// Opens the payload behind `start`, which looks like an aggregate, and shapes what is in it.
    #[inline(never)]
    fn aggregate(
        &mut self,
        user: &User<'_>,
        record: &Record<'_>,
        after: Option<&Position>,
        start: usize,
        out: &mut BatchBuilder,
        letters: &mut Vec<DeadLetter>,
    ) -> Step {
        match self.open.aggregate.open(&out.raw[start..]) {
            Ok(()) => {
                out.raw.truncate(start);
                self.open.sequence.clear();
                self.open.sequence.push_str(record.sequence_number);
                self.open.place = Place::default();
                self.user_records(record, after, out, letters)
            }
            Err(_) if after.is_some_and(|after| after.settles(record.sequence_number, 0, 0)) => {
                out.raw.truncate(start);
                Step::Whole(0)
            }
            Err(broken) => {
                // Never JSON: the bytes it begins with are not UTF-8.
                *self.counts.broken_aggregates.entry(broken.as_str()).or_default() += 1;
                let (reason, what) = (Reason::BrokenAggregate, broken.detail());
                self.refuse(user, &Flaw { reason, what, at: 0 }, start, out, letters);
                Step::Whole(0)
            }
        }
    }

    /// Shapes the user records of the open aggregate from its place on, as far as the batch has room.
    fn user_records(
        &mut self,
        record: &Record<'_>,
        after: Option<&Position>,
        out: &mut BatchBuilder,
        letters: &mut Vec<DeadLetter>,
    ) -> Step {
        let mut open = std::mem::take(&mut self.open);
        let end = open.aggregate.len().saturating_sub(1);
        let mut records = open.aggregate.records(open.place);
        let mut settled = None;
        loop {
            let place = records.place();
            let Some(inner) = records.next() else {
                break;
            };
            if after.is_some_and(|after| after.settles(record.sequence_number, inner.index, 0)) {
                continue;
            }
            let is_foreign = self
                .hash_range
                .is_some_and(|range| !range.contains(inner.hash_key()));
            if is_foreign && self.hash_range_check == HashRangeCheck::Drop {
                self.counts.out_of_range_dropped += 1;
                settled = Some(inner.index);
                continue;
            }
            let user = User {
                origin: Origin {
                    sequence: record.sequence_number,
                    sub_sequence: inner.index,
                    partition_key: inside_of_string(inner.partition_key, &mut open.key),
                    arrival_ms: record.arrival_ms,
                },
                last: inner.index == end,
                data: Payload::Raw(inner.data),
            };
            if out.is_full() || !self.user_record(&user, inner.data, out, letters) {
                open.place = place;
                self.open = open;
                return Step::Full(settled);
            }
            self.counts.out_of_range_kept += u64::from(is_foreign);
            settled = Some(inner.index);
        }
        open.aggregate.close();
        open.sequence.clear();
        self.open = open;
        Step::Whole(end)
    }

    fn user_record(
        &mut self,
        user: &User<'_>,
        data: &[u8],
        out: &mut BatchBuilder,
        letters: &mut Vec<DeadLetter>,
    ) -> bool {
        if !self.has_room(&user.origin, data.len(), out) {
            return false;
        }
        let start = out.raw.len();
        out.raw.extend_from_slice(data);
        self.carry(user, Form::of(data), start, out, letters)
    }
}

fn plain<'a>(record: &Record<'a>) -> User<'a> {
    User {
        origin: Origin {
            sequence: record.sequence_number,
            sub_sequence: 0,
            partition_key: record.partition_key,
            arrival_ms: record.arrival_ms,
        },
        last: true,
        data: record.data,
    }
}

/// A whole Kinesis record as a dead letter, for what was found out about it after it was shaped.
pub(crate) fn letter_of(
    stream: &StreamName,
    shard: &ShardId,
    record: &Record<'_>,
    reason: Reason,
    detail: String,
) -> DeadLetter {
    row::letter_of(stream, shard, &plain(record), reason, detail)
}

/// A text as it stands between the quotes of a JSON string; `buffer` keeps it where it needs escapes.
fn inside_of_string<'a>(text: &'a str, buffer: &'a mut Vec<u8>) -> &'a str {
    if validate::needs_no_escape(text) {
        return text;
    }
    buffer.clear();
    serde_json::to_writer(&mut *buffer, text).expect("a vector takes every text");
    let inside = buffer.get(1..buffer.len() - 1).unwrap_or_default();
    std::str::from_utf8(inside).expect("JSON of a text is text")
}

/// The position that settles a whole plain record of a page.
#[cfg(test)]
pub(crate) fn whole(sequence: &str) -> Position {
    position(sequence, 0, true)
}

#[cfg(test)]
mod aggregate_tests;
#[cfg(test)]
mod tests;
