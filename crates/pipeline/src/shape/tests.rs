//! Records into rows and letters, through real answers of GetRecords.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use frazil_snowflake::Batch;

use crate::batch::{Compressor, DEFAULT_LEVEL, Finished};

pub(super) fn page(records: &[&[u8]]) -> RecordPage {
    let records: Vec<Value> = records
        .iter()
        .enumerate()
        .map(|(n, data)| {
            json!({
                "Data": base64_simd::STANDARD.encode_to_string(data),
                "PartitionKey": "k\"ü",
                "SequenceNumber": (n + 1).to_string(),
                "ApproximateArrivalTimestamp": 1_762_333_935.3,
            })
        })
        .collect();
    let body = json!({ "Records": records, "MillisBehindLatest": 0, "NextShardIterator": "i" });
    RecordPage::parse(Bytes::from(body.to_string())).expect("an answer")
}

fn shaper() -> Shaper {
    shaper_with(&ShapeOptions::default())
}

pub(super) fn shaper_with(options: &ShapeOptions) -> Shaper {
    let stream = StreamName::new("clicks").expect("a name");
    let shard = ShardId::new("shardId-000000000001").expect("an id");
    Shaper::new(&stream, &shard, options)
}

/// The batch of a shaper that knows one pipe.
pub(super) fn only(batches: Vec<(usize, Batch)>) -> Batch {
    let [(0, batch)] = <[_; 1]>::try_from(batches).expect("one batch") else {
        panic!("another pipe")
    };
    batch
}

/// The rows and letters of a page, and the end position.
fn shape(records: &[&[u8]], after: Option<&Position>) -> (Vec<String>, Vec<DeadLetter>, Option<Position>) {
    let (mut shaper, mut builder, mut letters) = (shaper(), BatchBuilder::default(), Vec::new());
    let page = page(records);
    let mut rows = Vec::new();
    let mut end = None;
    let mut compressor = Compressor::new(DEFAULT_LEVEL);
    loop {
        let filled = shaper.shape(&page, after, &mut builder, &mut letters);
        match builder.finish(&mut compressor, &mut letters) {
            Finished::Batches(batches) => {
                let batch = only(batches);
                let ndjson = zstd::decode_all(&batch.body[..]).expect("zstd");
                let text = String::from_utf8(ndjson).expect("UTF-8");
                assert_eq!(text.lines().count() as u64, batch.rows);
                rows.extend(text.lines().map(ToOwned::to_owned));
                end = Some(batch.to);
            }
            Finished::Settled { to } => end = Some(to),
            Finished::Nothing => {}
        }
        if filled == Filled::PageDone {
            return (rows, letters, end);
        }
    }
}

#[test]
fn a_row_is_the_object_unchanged_with_its_metadata() {
    let (rows, letters, end) = shape(&[br#" {"a": 1.50, "b":"\u00e9"} "#, b"{}"], None);
    let metadata = |n: u64| {
        format!(
            r#""kinesisMetadata":{{"stream":"clicks","shardId":"shardId-000000000001","approximateArrival":"2025-11-05T09:12:15.300Z","partitionKey":"k\"ü","sequenceNumber":"{n}","subSequenceNumber":0,"shardedSequenceNumber":"{n}00000000000000000000"}}"#
        )
    };
    assert_eq!(rows[0], format!(r#"{{"a": 1.50, "b":"\u00e9",{}}}"#, metadata(1)));
    assert_eq!(rows[1], format!("{{{}}}", metadata(2)));
    assert!(letters.is_empty());
    assert_eq!(end, Some(whole("2")));
}

#[test]
fn case_76_case_77_each_record_that_is_no_object_becomes_a_letter_and_the_rest_go_on() {
    let deep = ["[".repeat(600), "]".repeat(600)].concat();
    let deep = format!("{{\"a\":{deep}}}");
    let bad: [(&[u8], Reason); 10] = [
        (b"", Reason::Empty),
        (b" \n ", Reason::Empty),
        (b"not json", Reason::InvalidJson),
        (b"{\"a\":1} {\"a\":2}", Reason::InvalidJson),
        (b"{\"a\":NaN}", Reason::InvalidJson),
        (b"\xef\xbb\xbf{}", Reason::InvalidJson),
        (b"17", Reason::NotAnObject),
        (b"[1,2]", Reason::NotAnObject),
        (b"{\"a\":\"\xff\"}", Reason::InvalidUtf8),
        (deep.as_bytes(), Reason::TooDeep),
    ];
    for (data, reason) in bad {
        let (rows, letters, end) = shape(&[b"{\"n\":1}", data, b"{\"n\":2}"], None);
        assert_eq!(
            (rows.len(), letters.len(), end),
            (2, 1, Some(whole("3"))),
            "{reason:?}"
        );
        assert_eq!((letters[0].reason, letters[0].data.as_slice()), (reason, data));
        assert_eq!(letters[0].partition_key, "k\"ü");
        // The last record of a page is settled, too, if it is a letter.
        let (_, letters, end) = shape(&[b"{}", data], None);
        assert_eq!((letters.len(), end), (1, Some(whole("2"))), "{reason:?}");
    }
}

#[test]
fn case_78_a_field_of_the_metadatas_name_is_replaced_in_any_case_and_counted() {
    for data in [
        &br#"{"KINESISMETADATA":{"x":[1]},"a":1}"#[..],
        br#"{"a":1,"kinesisMetadata":"}"}"#,
        br#"{"\u006binesismetadata":null,"a":1,"kinesisMetadatA":2}"#,
    ] {
        let (mut shaper, mut builder, mut letters) = (shaper(), BatchBuilder::default(), Vec::new());
        shaper.shape(&page(&[data]), None, &mut builder, &mut letters);
        assert_eq!(shaper.take_counts().replaced, 1);
        let row: serde_json::Map<String, Value> = serde_json::from_slice(&builder.raw).expect("an object");
        assert_eq!(row.keys().collect::<Vec<_>>(), ["a", "kinesisMetadata"]);
        assert_eq!(row["kinesisMetadata"]["stream"], "clicks");
    }
}

#[test]
fn what_is_settled_is_skipped_and_nothing_else() {
    let records: [&[u8]; 3] = [b"{\"n\":1}", b"{\"n\":2}", b"{\"n\":3}"];
    assert_eq!(shape(&records, Some(&whole("2"))).0.len(), 1);
    assert_eq!(shape(&records, Some(&whole("3"))).2, None);
    assert_eq!(shape(&records, None).0.len(), 3);
}

#[test]
fn a_ten_mebibyte_record_goes_alone_or_becomes_a_letter() {
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(10 * 1024 * 1024 - 10));
    let (rows, letters, _) = shape(&[b"{\"n\":1}", large.as_bytes(), b"{\"n\":2}"], None);
    assert_eq!((rows.len(), letters.len()), (3, 0), "it compresses well");
    let mut noise = 1_u64;
    let digits: String = (0..6 * 1024 * 1024)
        .map(|_| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            // 64 characters, none of which needs an escape: six bits that cannot be compressed.
            char::from(
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"[(noise % 64) as usize],
            )
        })
        .collect();
    let noisy = format!("{{\"a\":\"{digits}\"}}");
    let (rows, letters, end) = shape(&[b"{\"n\":1}", noisy.as_bytes(), b"{\"n\":2}"], None);
    assert_eq!((rows.len(), letters.len(), end), (2, 1, Some(whole("3"))));
    assert_eq!(letters[0].reason, Reason::RowTooLarge);
}

proptest! {
    #[test]
    fn case_79_no_record_is_lost_and_rows_mean_what_was_sent(
        records in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..20),
                "\\{\"[a-z]{1,3}\":( |\n)?[0-9]{1,4}\\}".prop_map(String::into_bytes),
                "\\PC{0,10}".prop_map(|text| json!({ "t": text, "n": [null, { "x": 1.5e3 }] }).to_string().into_bytes()),
            ],
            0..20,
        ),
    ) {
        let slices: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        let (rows, letters, end) = shape(&slices, None);
        prop_assert_eq!(rows.len() + letters.len(), records.len());
        prop_assert_eq!(end, (!records.is_empty()).then(|| whole(&records.len().to_string())));
        let objects = records.iter().filter_map(|data| serde_json::from_slice::<serde_json::Map<String, Value>>(data).ok());
        let mut count = 0;
        for (row, sent) in rows.iter().zip(objects) {
            let mut row: serde_json::Map<String, Value> = serde_json::from_str(row).expect("an object");
            row.remove("kinesisMetadata").expect("metadata");
            prop_assert_eq!(row, sent);
            count += 1;
        }
        prop_assert_eq!(count, rows.len());
    }
}
