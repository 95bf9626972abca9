//! The judge of a run: what PutRecords answered against what SQL finds in the table.
//!
//! It trusts no counter of ours. What was sent is the set of (shard id, sequence number) that Kinesis returned, and how many
//! user records were packed into each; what
//! arrived is the multiset of (shardId, sequenceNumber, subSequenceNumber) that the table holds in its metadata column.
//! *Lost* is a receipt without a row, *doubled* is every row beyond the first of one key, *unknown* is a row without a
//! receipt: a producer that saw no answer and sent again may have put a record twice, and that is not the connector's.

use std::collections::{HashMap, HashSet};

/// One record as PutRecords answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Receipt {
    /// The shard that took it.
    pub(crate) shard_id: String,
    /// Its sequence number.
    pub(crate) sequence_number: String,
    /// How many user records it packs; 1 for a plain record.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub(crate) user_records: u64,
}

fn one() -> u64 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_one(count: &u64) -> bool {
    *count == 1
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Verdict {
    /// Receipts.
    pub(crate) sent: u64,
    /// Rows in the table.
    pub(crate) rows: u64,
    /// Receipts without a row.
    pub(crate) lost: u64,
    /// Rows beyond the first of one record.
    pub(crate) doubled: u64,
    /// Rows without a receipt.
    pub(crate) unknown: u64,
}

impl Verdict {
    /// Whether each record is there once.
    pub(crate) fn is_exactly_once(&self) -> bool {
        self.lost == 0 && self.doubled == 0
    }
}

/// The statement that reads the keys of all rows.
pub(crate) fn statement(table: &str, metadata_column: &str) -> String {
    let field = |name: &str, kind: &str| format!("{metadata_column}:{name}::{kind}");
    format!(
        "SELECT {}, {}, {} FROM {table}",
        field("shardId", "VARCHAR"),
        field("sequenceNumber", "VARCHAR"),
        field("subSequenceNumber", "VARCHAR"),
    )
}

/// Compares receipts with the rows that [`statement`] found. `dead` are records known to stand in dead letters.
pub(crate) fn judge(receipts: &[Receipt], rows: &[Vec<Option<String>>], dead: &[Receipt]) -> Verdict {
    let mut found: HashMap<(&str, &str, &str), u64> = HashMap::with_capacity(rows.len());
    for row in rows {
        let cell = |index: usize| row.get(index).and_then(Option::as_deref).unwrap_or("");
        *found.entry((cell(0), cell(1), cell(2))).or_default() += 1;
    }
    let mut arrived: HashMap<(&str, &str), u64> = HashMap::with_capacity(found.len());
    for (shard, sequence, _) in found.keys() {
        *arrived.entry((*shard, *sequence)).or_default() += 1;
    }
    let in_letters: HashSet<(&str, &str)> = dead.iter().map(Receipt::key).collect();
    let sent: HashMap<(&str, &str), u64> = receipts.iter().map(|r| (r.key(), r.user_records)).collect();
    let missing = |key: &(&str, &str), of: u64| {
        let there = arrived.get(key).copied().unwrap_or(0);
        if in_letters.contains(key) {
            0
        } else {
            of.saturating_sub(there)
        }
    };
    let lost = sent.iter().map(|(key, of)| missing(key, *of)).sum();
    let extra = |key: &(&str, &str), there: u64| there.saturating_sub(sent.get(key).copied().unwrap_or(0));
    let unknown = arrived.iter().map(|(key, there)| extra(key, *there)).sum();
    Verdict {
        sent: sent.values().sum(),
        rows: rows.len() as u64,
        lost,
        doubled: found.values().map(|count| count - 1).sum(),
        unknown,
    }
}

impl Receipt {
    fn key(&self) -> (&str, &str) {
        (&self.shard_id, &self.sequence_number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(shard: &str, sequence: &str) -> Receipt {
        Receipt {
            shard_id: shard.to_owned(),
            sequence_number: sequence.to_owned(),
            user_records: 1,
        }
    }

    fn row(shard: &str, sequence: &str, sub: &str) -> Vec<Option<String>> {
        [shard, sequence, sub]
            .iter()
            .map(|c| Some((*c).to_owned()))
            .collect()
    }

    #[test]
    fn lost_doubled_and_unknown_are_told_apart() {
        let sent = [
            receipt("a", "1"),
            receipt("a", "2"),
            receipt("b", "1"),
            receipt("b", "9"),
        ];
        let rows = [
            row("a", "1", "0"),
            row("a", "1", "0"),
            row("b", "1", "0"),
            row("c", "7", "0"),
        ];
        let verdict = judge(&sent, &rows, &[receipt("b", "9")]);
        assert_eq!(
            verdict,
            Verdict {
                sent: 4,
                rows: 4,
                lost: 1,
                doubled: 1,
                unknown: 1
            }
        );
        assert!(!verdict.is_exactly_once());
    }

    #[test]
    fn records_of_one_aggregate_are_no_doubles() {
        let rows = [row("a", "1", "0"), row("a", "1", "1")];
        let packed = |user_records| Receipt {
            user_records,
            ..receipt("a", "1")
        };
        assert!(judge(&[packed(2)], &rows, &[]).is_exactly_once());
        assert_eq!(judge(&[packed(3)], &rows, &[]).lost, 1);
        assert_eq!(judge(&[packed(1)], &rows, &[]).unknown, 1);
        let text = serde_json::to_string(&packed(3)).expect("JSON");
        assert_eq!(text, r#"{"shardId":"a","sequenceNumber":"1","userRecords":3}"#);
        let plain: Receipt =
            serde_json::from_str(r#"{"shardId":"a","sequenceNumber":"1"}"#).expect("a receipt");
        assert_eq!(plain.user_records, 1);
    }

    #[test]
    fn a_row_without_metadata_is_unknown_and_its_twin_doubled() {
        let rows = [vec![None, None, None], vec![None, None, None]];
        let verdict = judge(&[], &rows, &[]);
        assert_eq!((verdict.unknown, verdict.doubled), (1, 1));
    }
}
