//! The metadata of a row: where it comes from, as one more member of its object.
//!
//! ```json
//! "kinesisMetadata":{"stream":"clicks","shardId":"shardId-000000000001",
//!   "approximateArrival":"2025-11-05T09:12:15.300Z","partitionKey":"42","sequenceNumber":"4959...",
//!   "subSequenceNumber":0,"shardedSequenceNumber":"4959...00000000000000000000"}
//! ```
//!
//! The names and their meaning are those of the Openflow Connector for Kinesis Data Streams (Snowflake's documentation,
//! `KINESISMETADATA`): `shardedSequenceNumber` is the sequence number followed by the sub-sequence number as 20 digits;
//! `approximateArrival` is left out where Kinesis does not tell it (or tells a time outside of the years 0 to 9999).
//! What is the same for all rows of a shard is rendered once.

use std::io::Write as _;

use frazil_model::{ShardId, StreamName};

/// Digits of the sub-sequence number inside `shardedSequenceNumber`.
const SUB_DIGITS: usize = 20;
/// More than what a row's metadata spends on what neither comes from the record nor is rendered once.
const FIXED_BYTES: usize = 224;

/// How `approximateArrival` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ArrivalFormat {
    /// Text, ISO 8601 in UTC with milliseconds: `"2025-11-05T09:12:15.300Z"`.
    #[default]
    Iso8601,
    /// A number, milliseconds since 1970 UTC: `1762333935300`.
    EpochMs,
}

/// The metadata of each row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataOptions {
    /// The member's key. A field of that name in the record, ignoring ASCII case, is replaced.
    pub key: String,
    /// How the arrival is written.
    pub approximate_arrival: ArrivalFormat,
}

impl Default for MetadataOptions {
    fn default() -> Self {
        Self {
            key: "kinesisMetadata".to_owned(),
            approximate_arrival: ArrivalFormat::default(),
        }
    }
}

/// What the metadata says of one record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) sequence: &'a str,
    pub(super) sub_sequence: u64,
    /// As it stands between the quotes of a JSON string.
    pub(super) partition_key: &'a str,
    pub(super) arrival_ms: Option<i64>,
}

/// Writes the metadata of one shard's rows.
#[derive(Debug)]
pub(super) struct Metadata {
    key: String,
    /// `"kinesisMetadata":{"stream":"..","shardId":".."`
    constant: Vec<u8>,
    arrival: ArrivalFormat,
}

impl Metadata {
    pub(super) fn new(stream: &StreamName, shard: &ShardId, options: &MetadataOptions) -> Self {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let constant = format!(
            "{}:{{\"stream\":{},\"shardId\":{}",
            text(&options.key),
            text(stream.as_str()),
            text(shard.as_str())
        );
        Self {
            key: options.key.clone(),
            constant: constant.into_bytes(),
            arrival: options.approximate_arrival,
        }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// More than [`Metadata::write`] can append for this record.
    pub(super) fn most_bytes(&self, origin: &Origin<'_>) -> usize {
        self.constant.len() + origin.partition_key.len() + 2 * origin.sequence.len() + FIXED_BYTES
    }

    /// Appends the member.
    pub(super) fn write(&self, origin: &Origin<'_>, row: &mut Vec<u8>) {
        row.extend_from_slice(&self.constant);
        if let Some(ms) = origin.arrival_ms {
            match self.arrival {
                ArrivalFormat::EpochMs => {
                    row.extend_from_slice(b",\"approximateArrival\":");
                    write!(row, "{ms}").expect("a vector takes every byte");
                }
                ArrivalFormat::Iso8601 => {
                    if let Some(text) = iso8601(ms) {
                        row.extend_from_slice(b",\"approximateArrival\":\"");
                        row.extend_from_slice(&text);
                        row.push(b'"');
                    }
                }
            }
        }
        row.extend_from_slice(b",\"partitionKey\":\"");
        row.extend_from_slice(origin.partition_key.as_bytes());
        row.extend_from_slice(b"\",\"sequenceNumber\":\"");
        row.extend_from_slice(origin.sequence.as_bytes());
        row.extend_from_slice(b"\",\"subSequenceNumber\":");
        let sub_sequence = digits::<SUB_DIGITS>(origin.sub_sequence);
        let significant = sub_sequence
            .iter()
            .position(|&d| d != b'0')
            .unwrap_or(SUB_DIGITS - 1);
        row.extend_from_slice(&sub_sequence[significant..]);
        row.extend_from_slice(b",\"shardedSequenceNumber\":\"");
        row.extend_from_slice(origin.sequence.as_bytes());
        row.extend_from_slice(&sub_sequence);
        row.extend_from_slice(b"\"}");
    }
}

/// The lowest `N` decimal digits of a number, with leading zeros.
fn digits<const N: usize>(mut number: u64) -> [u8; N] {
    let mut text = [b'0'; N];
    for digit in text.iter_mut().rev() {
        if number == 0 {
            break;
        }
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    text
}

/// Milliseconds since 1970 UTC as ISO 8601 text; nothing outside of the years 0 to 9999.
pub(crate) fn iso8601(ms: i64) -> Option<[u8; 24]> {
    const DAY_MS: i64 = 86_400_000;
    let (year, month, day) = date(ms.div_euclid(DAY_MS));
    if !(0..=9999).contains(&year) {
        return None;
    }
    let of_day = ms.rem_euclid(DAY_MS);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let mut put = |at: usize, width: usize, number: i64| {
        let all = digits::<4>(number.unsigned_abs());
        text[at..at + width].copy_from_slice(&all[4 - width..]);
    };
    put(0, 4, year);
    put(5, 2, month);
    put(8, 2, day);
    put(11, 2, of_day / 3_600_000);
    put(14, 2, of_day / 60_000 % 60);
    put(17, 2, of_day / 1000 % 60);
    put(20, 3, of_day % 1000);
    Some(text)
}

/// Year, month and day of a day counted from 1970-01-01 in the proleptic Gregorian calendar. Years are counted from
/// March on, so that the leap day is a year's last day.
fn date(days: i64) -> (i64, i64, i64) {
    const DAYS_TO_1970: i64 = 719_468; // from 0000-03-01
    const DAYS_OF_400_YEARS: i64 = 146_097;
    let days = days + DAYS_TO_1970;
    let era = days.div_euclid(DAYS_OF_400_YEARS);
    let of_era = days.rem_euclid(DAYS_OF_400_YEARS);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153; // 0 is March
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + carry, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEQUENCE: &str = "49590338271490256608559692538361571095921575989136588898";

    fn written(options: &MetadataOptions, origin: &Origin<'_>) -> String {
        let stream = StreamName::new("clicks").expect("a name");
        let shard = ShardId::new("shardId-000000000001").expect("a name");
        let metadata = Metadata::new(&stream, &shard, options);
        let mut row = Vec::new();
        metadata.write(origin, &mut row);
        assert!(row.len() <= metadata.most_bytes(origin), "{} bytes", row.len());
        String::from_utf8(row).expect("text")
    }

    fn origin(arrival_ms: Option<i64>) -> Origin<'static> {
        Origin {
            sequence: SEQUENCE,
            sub_sequence: 0,
            partition_key: "a\\\"b",
            arrival_ms,
        }
    }

    #[test]
    fn metadata_golden() {
        let expected = format!(
            r#""kinesisMetadata":{{"stream":"clicks","shardId":"shardId-000000000001","approximateArrival":"2025-11-05T09:12:15.300Z","partitionKey":"a\"b","sequenceNumber":"{SEQUENCE}","subSequenceNumber":0,"shardedSequenceNumber":"{SEQUENCE}00000000000000000000"}}"#
        );
        assert_eq!(
            written(&MetadataOptions::default(), &origin(Some(1_762_333_935_300))),
            expected
        );
    }

    #[test]
    fn key_arrival_and_sub_sequence_follow_options_and_record() {
        let options = MetadataOptions {
            key: "from \"kinesis\"".to_owned(),
            approximate_arrival: ArrivalFormat::EpochMs,
        };
        let origin = Origin {
            sub_sequence: u64::MAX,
            ..origin(Some(1_762_333_935_300))
        };
        let text = written(&options, &origin);
        assert!(text.starts_with(r#""from \"kinesis\"":{"stream":"#), "{text}");
        assert!(text.contains(r#","approximateArrival":1762333935300,"#), "{text}");
        assert!(
            text.contains(r#""subSequenceNumber":18446744073709551615,"#),
            "{text}"
        );
        assert!(
            text.ends_with(&format!("{SEQUENCE}18446744073709551615\"}}")),
            "{text}"
        );
    }

    #[test]
    fn case_80_an_unknown_arrival_is_left_out() {
        for unknown in [None, Some(i64::MIN), Some(i64::MAX)] {
            let text = written(&MetadataOptions::default(), &origin(unknown));
            assert!(!text.contains("approximateArrival"), "{text}");
        }
    }

    #[test]
    fn times_golden() {
        let golden = [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
        ];
        for (ms, text) in golden {
            let found = iso8601(ms).map(|t| String::from_utf8_lossy(&t).into_owned());
            assert_eq!(found.as_deref(), Some(text));
        }
        assert_eq!(iso8601(253_402_300_800_000), None);
        assert_eq!(iso8601(-62_167_219_200_001), None);
    }
}
