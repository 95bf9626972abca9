//! Shape: each record of a page becomes one NDJSON row with its metadata, or a dead letter.
//!
//! How it works: a [`Shaper`] belongs to one shard. It decodes a record's payload right behind the rows that a
//! [`BatchBuilder`] holds already, checks it there ([`validate`](self)), and splices the metadata in before the closing
//! brace. No tree is built, and nothing is allocated per record. What cannot become a row is taken back out of the
//! builder and becomes a [`DeadLetter`] with its raw bytes.
//!
//! The row is the record's JSON object, byte by byte, with one more member ([`MetadataOptions::key`]). Changed are only:
//! whitespace around the object is dropped; `\n` and `\r` between tokens become spaces, so that a row is one line; a field
//! of the metadata's name, in any ASCII case and however escaped, is cut out and counted.
//!
//! What it guarantees: order is kept; each record that was not settled before becomes exactly one row or one dead letter,
//! whatever its bytes, and the builder's end position covers it (I2). What it does not: it opens no KPL aggregates and
//! splits no record into several documents; both have their place in [`Position`] already.

mod metadata;
mod splice;
mod validate;

use std::ops::Range;

use frazil_kinesis::{Payload, Record, RecordPage};
use frazil_model::position::compare_sequences;
use frazil_model::{Position, SequenceNumber, ShardId, StreamName};

use crate::batch::{BatchBuilder, Filled, MAX_RAW_BYTES, MAX_ROW_BYTES};
use crate::dead_letters::{DeadLetter, Reason};
use metadata::{Metadata, Origin};
use validate::{Flaw, check};

pub(crate) use metadata::iso8601;
pub use metadata::{ArrivalFormat, MetadataOptions};
pub use validate::MAX_DEPTH;

/// Makes rows of one shard's records.
#[derive(Debug)]
pub struct Shaper {
    stream: StreamName,
    shard: ShardId,
    metadata: Metadata,
    /// Members to be cut out of the record at hand.
    cuts: Vec<Range<usize>>,
    /// The last record that was shaped; empty before the first.
    done: String,
    replaced: u64,
}

impl Shaper {
    /// A shaper for one shard's records.
    #[must_use]
    pub fn new(stream: &StreamName, shard: &ShardId, options: &MetadataOptions) -> Self {
        Self {
            stream: stream.clone(),
            shard: shard.clone(),
            metadata: Metadata::new(stream, shard, options),
            cuts: Vec::new(),
            done: String::new(),
            replaced: 0,
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
        let mut last = None;
        let mut filled = Filled::PageDone;
        for record in page.records() {
            let sequence = record.sequence_number;
            let done = !self.done.is_empty() && compare_sequences(sequence, &self.done).is_le();
            if done && last.is_none() || after.is_some_and(|after| after.settles(sequence, 0, 0)) {
                continue;
            }
            if out.is_full() || !self.row(&record, out, letters) {
                filled = Filled::BatchFull;
                break;
            }
            last = Some(sequence);
        }
        if let Some(sequence) = last {
            self.done.clear();
            self.done.push_str(sequence);
            out.settle(whole(sequence));
        }
        filled
    }

    /// How many records had a field of the metadata key's name, since this was asked last.
    pub fn take_replaced(&mut self) -> u64 {
        std::mem::take(&mut self.replaced)
    }

    /// Makes a row or a letter of one record. False, with nothing done, where the batch has no room for it.
    fn row(&mut self, record: &Record<'_>, out: &mut BatchBuilder, letters: &mut Vec<DeadLetter>) -> bool {
        let escaped;
        let mut origin = Origin {
            sequence: record.sequence_number,
            sub_sequence: 0,
            partition_key: record.partition_key,
            arrival_ms: record.arrival_ms,
        };
        if !validate::is_inside_of_string(origin.partition_key) {
            // No JSON encoder wrote this; its bytes are kept as text.
            escaped = serde_json::Value::from(origin.partition_key).to_string();
            origin.partition_key = escaped.trim_matches('"');
        }
        let start = out.raw.len();
        let most = record.data.decoded_bound() + self.metadata.most_bytes(&origin);
        if out.rows > 0 && start + most > MAX_RAW_BYTES {
            return false;
        }
        let flaw = match self.write(record, &origin, &mut out.raw, start) {
            Ok(()) if out.raw.len() <= MAX_RAW_BYTES => None,
            Ok(()) if out.raw.len() <= MAX_ROW_BYTES => {
                // Alone in its batch; whether it fits a request is known when it is compressed.
                let what = "the row is larger than a request may be, even compressed";
                let flaw = Flaw {
                    reason: Reason::RowTooLarge,
                    what,
                    at: 0,
                };
                out.refused = Some(self.letter(record, &flaw));
                None
            }
            Ok(()) => {
                let what = "the row is larger than a row may be";
                Some(Flaw {
                    reason: Reason::RowTooLarge,
                    what,
                    at: 0,
                })
            }
            Err(flaw) => Some(flaw),
        };
        match flaw {
            None => out.add_row(record.sequence_number, record.arrival_ms),
            Some(flaw) => {
                out.raw.truncate(start);
                let letter = self.letter(record, &flaw);
                out.add_letter(letter.data.len());
                letters.push(letter);
            }
        }
        true
    }

    /// Appends the record's row; on a flaw, anything may stand behind `start`.
    fn write(
        &mut self,
        record: &Record<'_>,
        origin: &Origin<'_>,
        raw: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), Flaw> {
        if !record.data.decode_into(raw) {
            let what = "the payload came as base64 that cannot be read; it is kept as it came";
            return Err(Flaw {
                reason: Reason::UnreadableBase64,
                what,
                at: 0,
            });
        }
        let object = check(&raw[start..], self.metadata.key(), &mut self.cuts)?;
        self.replaced += u64::from(!self.cuts.is_empty());
        let metadata = &self.metadata;
        splice::splice(raw, start, &object, &self.cuts, |raw| metadata.write(origin, raw));
        Ok(())
    }

    #[cold]
    fn letter(&self, record: &Record<'_>, flaw: &Flaw) -> DeadLetter {
        let detail = if flaw.at > 0 {
            format!("{} (byte {})", flaw.what, flaw.at)
        } else {
            flaw.what.to_owned()
        };
        letter_of(&self.stream, &self.shard, record, flaw.reason, detail)
    }
}

/// A whole record as a dead letter.
pub(crate) fn letter_of(
    stream: &StreamName,
    shard: &ShardId,
    record: &Record<'_>,
    reason: Reason,
    detail: String,
) -> DeadLetter {
    let mut data = Vec::new();
    if !record.data.decode_into(&mut data) {
        match record.data {
            Payload::Base64(text) | Payload::Raw(text) => data.extend_from_slice(text),
        }
    }
    let key = serde_json::from_str(&format!("\"{}\"", record.partition_key));
    DeadLetter {
        stream: stream.clone(),
        shard: shard.clone(),
        position: whole(record.sequence_number),
        partition_key: key.unwrap_or_else(|_| record.partition_key.to_owned()),
        arrival_ms: record.arrival_ms,
        reason,
        detail,
        data,
    }
}

/// The position that settles a whole plain record of a page.
pub(crate) fn whole(sequence: &str) -> Position {
    Position::whole(SequenceNumber::new(sequence).expect("a page gives out checked sequence numbers"))
}

#[cfg(test)]
mod tests;
