//! The hot way allocates per page and per batch, and not per record, plain, aggregated or compressed.

use std::io::Write as _;

use bytes::Bytes;
use frazil_kinesis::{Aggregator, NewRecord, RecordPage};
use frazil_model::{ShardId, StreamName};
use frazil_pipeline::batch::{BatchBuilder, Compressor, DEFAULT_LEVEL, Filled, Finished};
use frazil_pipeline::shape::{ShapeOptions, Shaper};

/// How payloads come.
#[derive(Debug, Clone, Copy)]
enum Packed {
    Plain,
    /// 50 user records in each record.
    Aggregated,
    Gzip,
    Zstd,
}

fn event(number: usize) -> Vec<u8> {
    format!("{{\"n\":{number},\"text\":\"{}\"}}", "x".repeat(200)).into_bytes()
}

fn payload(number: usize, packed: Packed) -> Vec<u8> {
    match packed {
        Packed::Plain => event(number),
        Packed::Zstd => zstd::encode_all(&event(number)[..], 1).expect("memory"),
        Packed::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&event(number)).expect("memory");
            encoder.finish().expect("memory")
        }
        Packed::Aggregated => {
            let mut aggregator = Aggregator::new(usize::MAX);
            for user in 0..50 {
                let record = NewRecord {
                    // A key that needs escapes.
                    key: format!("key \"{}\"", user % 30),
                    data: event(number * 50 + user),
                };
                assert!(aggregator.add(&record.into()).is_none());
            }
            aggregator.finish().expect("several").record.data
        }
    }
}

fn body(first: usize, records: usize, packed: Packed) -> Bytes {
    let records: Vec<serde_json::Value> = (first..first + records)
        .map(|number| {
            serde_json::json!({
                "SequenceNumber": format!("49590338271490256608559692538361571095{number:09}"),
                "ApproximateArrivalTimestamp": 1_762_333_935.3,
                "Data": base64_simd::STANDARD.encode_to_string(payload(number, packed)),
                "PartitionKey": format!("key-{number}"),
            })
        })
        .collect();
    let body =
        serde_json::json!({ "Records": records, "NextShardIterator": "next", "MillisBehindLatest": 0 });
    Bytes::from(body.to_string())
}

fn measure(packed: Packed, rows: usize) {
    let users = if matches!(packed, Packed::Aggregated) {
        50
    } else {
        1
    };
    let records = rows / users;
    let (stream, shard) = (
        StreamName::new("s").expect("a name"),
        ShardId::new("shard").expect("an id"),
    );
    let mut shaper = Shaper::new(&stream, &shard, &ShapeOptions::default());
    let (mut builder, mut compressor) = (BatchBuilder::default(), Compressor::new(DEFAULT_LEVEL));
    let mut carry = |body: &Bytes| {
        let mut letters = Vec::new();
        let page = RecordPage::parse(body.clone()).expect("an answer");
        let filled = shaper.shape(&page, None, &mut builder, &mut letters);
        assert_eq!(filled, Filled::PageDone);
        let Finished::Batches(batches) = builder.finish(&mut compressor, &mut letters) else {
            panic!("no batch")
        };
        assert_eq!(batches[0].1.rows as usize, page.len() * users);
    };
    // Buffers that are kept grow to their size at first.
    carry(&body(0, records, packed));
    let (few, many) = (body(10_000, records / 2, packed), body(20_000, records, packed));
    let of_few = allocation_counter::measure(|| carry(&few)).count_total;
    let of_many = allocation_counter::measure(|| carry(&many)).count_total;
    assert!(of_few > 0, "nothing was counted");
    assert!(
        of_many <= of_few + 5,
        "{packed:?}: {of_few} allocations for {} rows, {of_many} for {rows}",
        rows / 2
    );
    assert!(of_many < 100, "{packed:?}: {of_many} allocations for one page");
}

#[test]
fn allocations_do_not_grow_with_the_number_of_records() {
    measure(Packed::Plain, 5000);
}

#[test]
fn allocations_do_not_grow_with_the_number_of_user_records_of_aggregates() {
    measure(Packed::Aggregated, 5000);
}

#[test]
fn allocations_do_not_grow_with_the_number_of_compressed_records() {
    measure(Packed::Gzip, 5000);
    measure(Packed::Zstd, 5000);
}
