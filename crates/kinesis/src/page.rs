//! Records as they came: one answer of GetRecords, without a copy or an object per record; or one event of enhanced fan-out.
//!
//! How it works: an answer's bytes are kept as they came. Once, at the start, they are walked over to find the members,
//! count the records and find the last one's sequence number; [`RecordPage::records`] walks over the records again, giving
//! out slices. Source of the form: Kinesis API reference, `GetRecords`; members may come in any order.
//! The records of an event come from the SDK, which made an object of each; a page holds them as they are.
//!
//! What it guarantees: no allocation per record of an answer; no panic, whatever the bytes; a record that cannot be read
//! makes an error before any record of the page is given out.

mod owned;

use std::sync::Arc;

use bytes::Bytes;
use frazil_model::{SequenceNumber, ShardId};
use serde::Deserialize;

use crate::error::Error;
use crate::scan::{Cursor, seconds_to_ms};

pub use owned::OwnedRecord;

/// The service's word for where a shard is read next; it never appears in a `Debug` text.
#[derive(Clone, PartialEq, Eq)]
pub struct ShardIterator(String);

impl ShardIterator {
    /// Takes the text over.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the next call.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for ShardIterator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[shard iterator]")
    }
}

/// A shard that begins where its parents end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildShard {
    /// The child.
    pub id: ShardId,
    /// Its one or two parents.
    pub parents: Vec<ShardId>,
}

#[derive(Deserialize)]
struct ChildWire {
    #[serde(rename = "ShardId")]
    id: ShardId,
    #[serde(rename = "ParentShards", default)]
    parents: Vec<ShardId>,
}

#[derive(Debug, Clone)]
enum Body {
    /// An answer, and where its array of records begins; the end of the answer where there is none.
    Answer(Bytes, usize),
    Owned(Arc<[OwnedRecord]>),
}

/// Records of a shard, in order.
#[derive(Debug, Clone)]
pub struct RecordPage {
    body: Body,
    bytes: usize,
    records: usize,
    last_sequence: Option<SequenceNumber>,
    /// Where to poll next; none at the end of a closed shard, and with enhanced fan-out.
    pub next: Option<ShardIterator>,
    /// How far the shard was looked through, with enhanced fan-out only: reading may go on behind it, even if the page is
    /// empty. None at the end of a closed shard.
    pub continuation: Option<SequenceNumber>,
    /// How far the page is behind the tip of the shard, in milliseconds.
    pub millis_behind: u64,
    /// The shards that go on where this one ended, if the service names them.
    pub child_shards: Vec<ChildShard>,
}

/// The payload of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// As base64.
    Base64(&'a [u8]),
    /// As it is.
    Raw(&'a [u8]),
}

impl Payload<'_> {
    /// At most how many bytes it decodes to.
    #[must_use]
    pub fn decoded_bound(&self) -> usize {
        match self {
            Self::Base64(text) => text.len() / 4 * 3 + 3,
            Self::Raw(bytes) => bytes.len(),
        }
    }

    /// Appends the decoded payload. Answers false, with `out` as it was, where it is no base64.
    #[must_use]
    pub fn decode_into(&self, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Raw(bytes) => out.extend_from_slice(bytes),
            Self::Base64(text) if memchr::memchr(b'\\', text).is_some() => {
                // Some encoders write `/` as `\/`.
                let plain: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'\\').collect();
                return Payload::Base64(&plain).decode_into(out);
            }
            Self::Base64(text) => {
                let begin = out.len();
                let Ok(length) = base64_simd::STANDARD.decoded_length(text) else {
                    return false;
                };
                out.resize(begin + length, 0);
                let Some(target) = out.get_mut(begin..) else {
                    return false;
                };
                if base64_simd::STANDARD
                    .decode(text, base64_simd::Out::from_slice(target))
                    .is_err()
                {
                    out.truncate(begin);
                    return false;
                }
            }
        }
        true
    }
}

/// One record, as slices of its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its sequence number: 1 to 129 digits.
    pub sequence_number: &'a str,
    /// Its partition key as it stands between the quotes of a JSON string.
    pub partition_key: &'a str,
    /// When it arrived, in milliseconds since 1970 UTC.
    pub arrival_ms: Option<i64>,
    /// Its payload.
    pub data: Payload<'a>,
}

const CALL: &str = "GetRecords";

fn bad(detail: &'static str) -> Error {
    Error::BadAnswer { call: CALL, detail }
}

impl RecordPage {
    /// Takes an answer over.
    ///
    /// # Errors
    /// [`Error::BadAnswer`] where it is no answer of GetRecords, or one of its records cannot be read.
    pub fn parse(body: Bytes) -> Result<Self, Error> {
        let mut page = Self {
            body: Body::Answer(Bytes::new(), 0),
            bytes: body.len(),
            records: 0,
            last_sequence: None,
            next: None,
            continuation: None,
            millis_behind: 0,
            child_shards: Vec::new(),
        };
        let mut records_at = body.len();
        let mut cursor = Cursor::new(&body, 0);
        let mut last: Option<&[u8]> = None;
        let walked = cursor.members(|cursor, name| {
            match name {
                b"Records" => {
                    cursor.peek()?;
                    records_at = cursor.at();
                    cursor.elements(|cursor| {
                        let members = Members::of(cursor)?;
                        last = Some(members.sequence);
                        page.records += 1;
                        members.is_sound().then_some(())
                    })?;
                }
                b"NextShardIterator" if cursor.peek()? == b'"' => {
                    let text: String = serde_json::from_slice(cursor.value()?).ok()?;
                    page.next = Some(ShardIterator(text));
                }
                b"MillisBehindLatest" => {
                    let text = std::str::from_utf8(cursor.plain()?).ok()?;
                    page.millis_behind = if text == "null" {
                        0
                    } else {
                        text.parse::<f64>().ok()? as u64
                    };
                }
                b"ChildShards" if cursor.peek()? == b'[' => {
                    let children: Vec<ChildWire> = serde_json::from_slice(cursor.value()?).ok()?;
                    page.child_shards = children
                        .into_iter()
                        .map(|c| ChildShard {
                            id: c.id,
                            parents: c.parents,
                        })
                        .collect();
                }
                _ => {
                    cursor.value()?;
                }
            }
            Some(())
        });
        walked.ok_or_else(|| bad("it is no answer of GetRecords, or a record of it is damaged"))?;
        page.last_sequence = match last.map(std::str::from_utf8) {
            Some(Ok(text)) => Some(SequenceNumber::new(text)?),
            Some(Err(_)) => return Err(bad("a sequence number is no text")),
            None => None,
        };
        page.body = Body::Answer(body, records_at);
        Ok(page)
    }

    /// How many records it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes of the answer; with enhanced fan-out, what its records cost in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The sequence number of the last record.
    #[must_use]
    pub fn last_sequence(&self) -> Option<&SequenceNumber> {
        self.last_sequence.as_ref()
    }

    /// The records in order.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records(match &self.body {
            Body::Answer(body, records_at) => {
                let mut cursor = Cursor::new(body, *records_at);
                let left = if cursor.take(b'[').is_some() {
                    self.records
                } else {
                    0
                };
                Walk::Answer { cursor, left }
            }
            Body::Owned(records) => Walk::Owned(records.iter()),
        })
    }
}

/// The records of a page, one after the other.
#[derive(Debug, Clone)]
pub struct Records<'a>(Walk<'a>);

#[derive(Debug, Clone)]
enum Walk<'a> {
    Answer { cursor: Cursor<'a>, left: usize },
    Owned(std::slice::Iter<'a, OwnedRecord>),
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        match &mut self.0 {
            Walk::Answer { cursor, left } => {
                *left = left.checked_sub(1)?;
                let record = Members::of(cursor)?.record()?;
                // Between records; there is none after the last.
                let _ = cursor.take(b',');
                Some(record)
            }
            Walk::Owned(records) => records.next().map(OwnedRecord::as_record),
        }
    }
}

/// A record's members as they stand in the answer.
struct Members<'a> {
    sequence: &'a [u8],
    key: &'a [u8],
    arrival: Option<&'a [u8]>,
    data: &'a [u8],
}

impl<'a> Members<'a> {
    fn of(cursor: &mut Cursor<'a>) -> Option<Self> {
        let (mut sequence, mut key, mut arrival, mut data) = (None, &[][..], None, None);
        cursor.members(|cursor, name| {
            match name {
                b"SequenceNumber" => sequence = Some(cursor.string()?),
                b"PartitionKey" => key = cursor.string()?,
                b"Data" => data = Some(cursor.string()?),
                b"ApproximateArrivalTimestamp" => arrival = Some(cursor.plain()?),
                _ => {
                    cursor.value()?;
                }
            }
            Some(())
        })?;
        Some(Self {
            sequence: sequence?,
            key,
            arrival,
            data: data?,
        })
    }

    /// Whether the texts are what they must be: done for each record before any is given out.
    fn is_sound(&self) -> bool {
        let fits = (1..=frazil_model::position::MAX_SEQUENCE_DIGITS).contains(&self.sequence.len());
        // Without a way out in the middle: that lets the compiler look at many bytes at once.
        let digits = self
            .sequence
            .iter()
            .fold(true, |all, byte| all & byte.is_ascii_digit());
        fits && digits && std::str::from_utf8(self.key).is_ok()
    }

    fn record(&self) -> Option<Record<'a>> {
        Some(Record {
            sequence_number: std::str::from_utf8(self.sequence).ok()?,
            partition_key: std::str::from_utf8(self.key).ok()?,
            arrival_ms: self.arrival.and_then(seconds_to_ms),
            data: Payload::Base64(self.data),
        })
    }
}

#[cfg(test)]
mod tests;
