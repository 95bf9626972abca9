//! Records that another library decoded already: those of enhanced fan-out.
//!
//! A record here is checked when it is made, so that a page of them cannot be damaged.

use bytes::Bytes;
use frazil_model::{PositionError, SequenceNumber};

use super::{ChildShard, Payload, Record};

/// What a record costs in memory beside its texts and its payload.
const OVERHEAD: usize = 128;

/// One record that owns its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRecord {
    sequence: SequenceNumber,
    /// As it stands between the quotes of a JSON string.
    key: String,
    arrival_ms: Option<i64>,
    data: Bytes,
}

/// A text as it stands between the quotes of a JSON string.
fn escaped(text: String) -> String {
    if text
        .bytes()
        .all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
    {
        return text;
    }
    let quoted = serde_json::Value::String(text).to_string();
    quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
}

impl OwnedRecord {
    /// Takes a record over: its sequence number, its partition key as plain text, its arrival in milliseconds since 1970
    /// UTC, and its payload as it is.
    ///
    /// # Errors
    /// [`PositionError::Sequence`] where the sequence number is none.
    pub fn new(
        sequence: &str,
        partition_key: String,
        arrival_ms: Option<i64>,
        data: impl Into<Bytes>,
    ) -> Result<Self, PositionError> {
        Ok(Self {
            sequence: SequenceNumber::new(sequence)?,
            key: escaped(partition_key),
            arrival_ms,
            data: data.into(),
        })
    }

    /// Its sequence number.
    #[must_use]
    pub fn sequence(&self) -> &SequenceNumber {
        &self.sequence
    }

    /// What it costs in memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        OVERHEAD + self.sequence.as_str().len() + self.key.len() + self.data.len()
    }

    pub(super) fn as_record(&self) -> Record<'_> {
        Record {
            sequence_number: self.sequence.as_str(),
            partition_key: &self.key,
            arrival_ms: self.arrival_ms,
            data: Payload::Raw(&self.data),
        }
    }
}

impl super::RecordPage {
    /// A page of records in order. `continuation` is how far the shard was looked through.
    #[must_use]
    pub fn of_records(
        records: Vec<OwnedRecord>,
        continuation: Option<SequenceNumber>,
        millis_behind: u64,
        child_shards: Vec<ChildShard>,
    ) -> Self {
        Self {
            records: records.len(),
            last_sequence: records.last().map(|record| record.sequence.clone()),
            bytes: records.iter().map(OwnedRecord::bytes).sum(),
            body: super::Body::Owned(records.into()),
            next: None,
            continuation,
            millis_behind,
            child_shards,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RecordPage;

    #[test]
    fn owned_records_come_out_as_they_went_in() {
        let keys = ["plain", "with \" and \\", "line\nend", "üñí"];
        let records = keys.iter().zip(1..).map(|(key, n)| {
            OwnedRecord::new(&n.to_string(), (*key).to_owned(), Some(n), vec![b'{', b'}']).expect("digits")
        });
        let page = RecordPage::of_records(records.collect(), None, 3, Vec::new());
        assert_eq!((page.len(), page.millis_behind), (4, 3));
        assert_eq!(page.last_sequence().map(SequenceNumber::as_str), Some("4"));
        assert!(page.bytes() > 4 * (2 + OVERHEAD));
        for (record, key) in page.records().zip(keys) {
            let text: String =
                serde_json::from_str(&format!("\"{}\"", record.partition_key)).expect("a string");
            assert_eq!(text, key);
            assert_eq!(record.data, Payload::Raw(b"{}"));
        }
    }

    #[test]
    fn a_record_without_a_sequence_number_is_refused() {
        assert!(OwnedRecord::new("7x", String::new(), None, Vec::new()).is_err());
    }
}
