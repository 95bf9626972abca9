//! The scan against serde_json, and against damaged answers.

use base64_simd::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn body(records: &[(u64, String, Vec<u8>, i64)]) -> Value {
    let records: Vec<Value> = records
        .iter()
        .map(|(sequence, key, data, ms)| {
            json!({
                "Data": STANDARD.encode_to_string(data),
                "PartitionKey": key,
                "SequenceNumber": sequence.to_string(),
                "ApproximateArrivalTimestamp": *ms as f64 / 1000.0,
                "EncryptionType": "NONE",
            })
        })
        .collect();
    json!({ "MillisBehindLatest": 17, "NextShardIterator": "AAA/+=", "Records": records })
}

fn parse(text: &str) -> Result<RecordPage, Error> {
    RecordPage::parse(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn members_may_come_in_any_order_and_with_space() {
    let text = r#" { "Records" : [ { "SequenceNumber" : "7" , "Data" : "e30=" , "PartitionKey" : "k\"ü" ,
        "ApproximateArrivalTimestamp" : 1.7E9 } ] , "NextShardIterator" : null , "ChildShards" :
        [ {"ShardId":"s-2","ParentShards":["s-1"],"HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"1"}} ] ,
        "MillisBehindLatest" : 0 } "#;
    let page = parse(text).expect("readable");
    assert_eq!(
        (page.len(), page.next.is_none(), page.child_shards.len()),
        (1, true, 1)
    );
    assert_eq!(page.child_shards[0].parents[0].as_str(), "s-1");
    let record = page.records().next().expect("one");
    assert_eq!((record.sequence_number, record.partition_key), ("7", r#"k\"ü"#));
    assert_eq!(record.arrival_ms, Some(1_700_000_000_000));
    let mut data = b"x".to_vec();
    assert!(record.data.decode_into(&mut data));
    assert_eq!(data, b"x{}");
}

#[test]
fn an_answer_without_records_is_empty() {
    for text in [
        r#"{"MillisBehindLatest":0,"Records":[],"NextShardIterator":"a"}"#,
        r#"{"NextShardIterator":"a"}"#,
    ] {
        let page = parse(text).expect("readable");
        assert!(page.is_empty() && page.records().next().is_none());
        assert!(page.next.is_some());
    }
}

#[test]
fn a_damaged_record_makes_an_error_of_the_page() {
    let good = r#"{"SequenceNumber":"1","Data":"e30=","PartitionKey":"k"}"#;
    for damaged in [
        r#"{"SequenceNumber":"x","Data":"e30=","PartitionKey":"k"}"#,
        r#"{"Data":"e30=","PartitionKey":"k"}"#,
        r#"{"SequenceNumber":"1","PartitionKey":"k"}"#,
        r#"{"SequenceNumber":1}"#,
        "7",
    ] {
        let text = format!(r#"{{"Records":[{good},{damaged}],"NextShardIterator":"a"}}"#);
        assert!(parse(&text).is_err(), "{damaged}");
    }
}

#[test]
fn what_is_no_base64_leaves_the_buffer_as_it_was() {
    let mut out = b"kept".to_vec();
    for bad in ["e30", "e3 0=", "é===", "====", "e30=e30="] {
        assert!(!Payload::Base64(bad.as_bytes()).decode_into(&mut out), "{bad}");
        assert_eq!(out, b"kept");
    }
    assert!(Payload::Base64(br"Pz8\/").decode_into(&mut out));
    assert_eq!(out, b"kept???");
}

proptest! {
    #[test]
    fn the_scan_sees_what_a_parser_sees(
        records in prop::collection::vec(
            (any::<u64>(), "\\PC{0,12}", prop::collection::vec(any::<u8>(), 0..60), 0_i64..4_000_000_000_000),
            0..12,
        ),
        pretty in any::<bool>(),
    ) {
        let value = body(&records);
        let text = if pretty { format!("{value:#}") } else { value.to_string() };
        let page = parse(&text).expect("readable");
        prop_assert_eq!(page.len(), records.len());
        prop_assert_eq!(page.millis_behind, 17);
        let mut count = 0;
        for (record, (sequence, key, data, ms)) in page.records().zip(&records) {
            prop_assert_eq!(record.sequence_number, sequence.to_string());
            let unescaped: String = serde_json::from_str(&format!("\"{}\"", record.partition_key)).expect("a string");
            prop_assert_eq!(&unescaped, key);
            prop_assert_eq!(record.arrival_ms, Some(*ms));
            let mut decoded = Vec::new();
            prop_assert!(record.data.decode_into(&mut decoded));
            prop_assert_eq!(&decoded, data);
            count += 1;
        }
        prop_assert_eq!(count, records.len());
        prop_assert_eq!(page.last_sequence().map(ToString::to_string), records.last().map(|r| r.0.to_string()));
    }

    #[test]
    fn damaged_answers_never_panic(
        records in prop::collection::vec((any::<u64>(), "\\PC{0,4}", prop::collection::vec(any::<u8>(), 0..9), 0_i64..99), 0..4),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut text = body(&records).to_string().into_bytes();
        let at = at.index(text.len());
        if cut { text.truncate(at) } else { text[at] = byte }
        if let Ok(page) = RecordPage::parse(Bytes::from(text)) {
            let mut out = Vec::new();
            for record in page.records() {
                let _ = record.data.decode_into(&mut out);
            }
        }
    }
}
