//! The hot way allocates per page and per batch, and not per record.

use bytes::Bytes;
use frazil_kinesis::RecordPage;
use frazil_model::{ShardId, StreamName};
use frazil_pipeline::batch::{BatchBuilder, Compressor, DEFAULT_LEVEL, Filled, Finished};
use frazil_pipeline::shape::{MetadataOptions, Shaper};

fn body(first: usize, records: usize) -> Bytes {
    let records: Vec<serde_json::Value> = (first..first + records)
        .map(|number| {
            let event = format!("{{\"n\":{number},\"text\":\"{}\"}}", "x".repeat(200));
            serde_json::json!({
                "SequenceNumber": format!("49590338271490256608559692538361571095{number:09}"),
                "ApproximateArrivalTimestamp": 1_762_333_935.3,
                "Data": base64_simd::STANDARD.encode_to_string(event),
                "PartitionKey": format!("key-{number}"),
            })
        })
        .collect();
    let body =
        serde_json::json!({ "Records": records, "NextShardIterator": "next", "MillisBehindLatest": 0 });
    Bytes::from(body.to_string())
}

#[test]
fn allocations_do_not_grow_with_the_number_of_records() {
    let (stream, shard) = (
        StreamName::new("s").expect("a name"),
        ShardId::new("shard").expect("an id"),
    );
    let mut shaper = Shaper::new(&stream, &shard, &MetadataOptions::default());
    let (mut builder, mut compressor) = (BatchBuilder::default(), Compressor::new(DEFAULT_LEVEL));
    let mut carry = |body: &Bytes| {
        let mut letters = Vec::new();
        let page = RecordPage::parse(body.clone()).expect("an answer");
        let filled = shaper.shape(&page, None, &mut builder, &mut letters);
        assert_eq!(filled, Filled::PageDone);
        let Finished::Batch(batch) = builder.finish(&mut compressor, &mut letters) else {
            panic!("no batch")
        };
        assert_eq!(batch.rows as usize, page.len());
    };
    // Buffers that are kept grow to their size at first.
    carry(&body(0, 5000));
    let (few, many) = (body(10_000, 2500), body(20_000, 5000));
    let of_few = allocation_counter::measure(|| carry(&few)).count_total;
    let of_many = allocation_counter::measure(|| carry(&many)).count_total;
    assert!(of_few > 0, "nothing was counted");
    assert!(
        of_many <= of_few + 5,
        "{of_few} allocations for 2,500 records, {of_many} for 5,000"
    );
    assert!(of_many < 100, "{of_many} allocations for one page");
}
