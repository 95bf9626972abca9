//! The hot way against zstd alone: GetRecords bodies in, compressed batches out, in memory, 1 KB events.
//!
//! Both sides run in turns in one process over the same NDJSON, and what is told is the median of the ratios of neighbours,
//! because machines are shared. `--check N` fails above N. Build it with `--profile fast`.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use frazil_kinesis::{Aggregator, HashKeyRange, NewRecord, RecordPage};
use frazil_model::{ShardId, StreamName};
use frazil_pipeline::batch::{BatchBuilder, Compressor, DEFAULT_LEVEL, Filled, Finished};
use frazil_pipeline::shape::{ShapeOptions, Shaper};

/// What the whole way may cost, as a multiple of what compression alone costs.
const GOAL: f64 = 1.7;
const ROUNDS: usize = 31;
const PAGES: usize = 8;
/// Records of a page: about 1 MB of them.
const RECORDS: usize = 1000;
const EVENTS: &str = include_str!("../../../testdata/earthquakes.ndjson");

/// Real events with every digit drawn anew, brought to about 1 KB by a list of readings with random ids: no two events share
/// their numbers, as in a stream.
fn events() -> Vec<String> {
    let lines: Vec<&str> = EVENTS.lines().collect();
    let mut seed = 88_172_645_463_325_252_u64;
    let mut draw = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    (0..PAGES * RECORDS)
        .map(|number| {
            let line = lines[number % lines.len()];
            let digits = |c: char, drawn: u64| {
                if c.is_ascii_digit() {
                    char::from(b'1' + (drawn % 9) as u8)
                } else {
                    c
                }
            };
            let line: String = line.chars().map(|c| digits(c, draw())).collect();
            let mut readings = String::new();
            while readings.len() + line.len() < 980 {
                let (high, low) = (draw(), draw());
                readings.push_str(&format!(
                    "{{\"trace\":\"{high:016x}{low:016x}\",\"value\":{}}},",
                    draw() % 100_000
                ));
            }
            readings.pop();
            format!("{{\"number\":{number},\"readings\":[{readings}],{}", &line[1..])
        })
        .collect()
}

/// The events, packed as the Kinesis Producer Library packs them.
fn aggregates(events: &[String]) -> Vec<Vec<u8>> {
    let mut aggregator = Aggregator::default();
    let mut out = Vec::new();
    for (number, event) in events.iter().enumerate() {
        let record = NewRecord {
            key: format!("key-{number}"),
            data: event.clone().into_bytes(),
        };
        out.extend(aggregator.add(&record.into()));
    }
    out.extend(aggregator.finish());
    out.into_iter().map(|aggregate| aggregate.record.data).collect()
}

fn bodies(events: &[impl AsRef<[u8]>], of_a_page: usize) -> Vec<Bytes> {
    let pages = events.chunks(of_a_page).enumerate().map(|(page, events)| {
        let records: Vec<serde_json::Value> = events
            .iter()
            .enumerate()
            .map(|(index, event)| {
                let number = page * of_a_page + index;
                serde_json::json!({
                    "SequenceNumber": format!("4959033827149025660855969253836157109592157598913{number:07}"),
                    "ApproximateArrivalTimestamp": 1_762_333_935.3 + number as f64 / 1000.0,
                    "Data": base64_simd::STANDARD.encode_to_string(event.as_ref()),
                    "PartitionKey": format!("key-{number}"),
                })
            })
            .collect();
        let body =
            serde_json::json!({ "Records": records, "NextShardIterator": "next", "MillisBehindLatest": 0 });
        Bytes::from(body.to_string())
    });
    pages.collect()
}

fn shaper() -> Shaper {
    let (stream, shard) = (
        StreamName::new("clicks").unwrap(),
        ShardId::new("shardId-000000000001").unwrap(),
    );
    let options = ShapeOptions {
        hash_range: Some(HashKeyRange {
            start: 0,
            end: u128::MAX,
        }),
        ..ShapeOptions::default()
    };
    Shaper::new(&stream, &shard, &options)
}

struct Way {
    shaper: Shaper,
    builder: BatchBuilder,
    compressor: Compressor,
}

impl Way {
    fn new() -> Self {
        Self {
            shaper: shaper(),
            builder: BatchBuilder::default(),
            compressor: Compressor::new(DEFAULT_LEVEL),
        }
    }

    /// Carries the pages; answers rows and compressed bytes, and hands each batch to `seen`.
    fn carry(&mut self, bodies: &[Bytes], mut seen: impl FnMut(&[u8])) -> (u64, usize) {
        let (mut rows, mut bytes, mut letters) = (0, 0, Vec::new());
        for body in bodies {
            let page = RecordPage::parse(body.clone()).unwrap();
            loop {
                let filled = self.shaper.shape(&page, None, &mut self.builder, &mut letters);
                if let Finished::Batches(batches) = self.builder.finish(&mut self.compressor, &mut letters) {
                    for (_, batch) in batches {
                        rows += batch.rows;
                        bytes += batch.body.len();
                        seen(&batch.body);
                    }
                }
                if filled == Filled::PageDone {
                    break;
                }
            }
        }
        assert!(letters.is_empty());
        (rows, bytes)
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let done = work();
    (begun.elapsed(), done)
}

/// The median of a third of the rounds, in MB/s.
fn speed_of(bodies: &[Bytes], events: usize, raw: usize) -> f64 {
    let mut speeds: Vec<f64> = (0..ROUNDS / 3)
        .map(|_| {
            let (took, (rows, _)) = timed(|| Way::new().carry(bodies, |_| {}));
            assert_eq!(rows as usize, events);
            raw as f64 / 1e6 / took.as_secs_f64()
        })
        .collect();
    speeds.sort_by(f64::total_cmp);
    speeds[speeds.len() / 2]
}

fn main() {
    let events = events();
    let raw: usize = events.iter().map(String::len).sum();
    let aggregates = bodies(&aggregates(&events), RECORDS / 50);
    let bodies = bodies(&events, RECORDS);
    // The very NDJSON that the way compresses, batch by batch.
    let mut chunks: Vec<Vec<u8>> = Vec::new();
    let (rows, wire) = Way::new().carry(&bodies, |body| chunks.push(zstd::decode_all(body).unwrap()));
    assert_eq!(rows as usize, events.len());
    let ndjson: usize = chunks.iter().map(Vec::len).sum();

    let mut alone = zstd::bulk::Compressor::new(DEFAULT_LEVEL).unwrap();
    let mut buffer = Vec::with_capacity(zstd::zstd_safe::compress_bound(
        chunks.iter().map(Vec::len).max().unwrap(),
    ));
    let mut pairs = Vec::new();
    let mut way = Way::new();
    for round in 0..ROUNDS {
        // Sequence numbers go on within one shard, so each round is another shard's. Buffers are kept, as a worker keeps them.
        way.shaper = shaper();
        let (whole, (rows, _)) = timed(|| way.carry(&bodies, |_| {}));
        assert_eq!(rows as usize, events.len());
        let (compression, _) = timed(|| {
            for chunk in &chunks {
                buffer.clear();
                alone.compress_to_buffer(chunk, &mut buffer).unwrap();
            }
        });
        if round > 0 {
            pairs.push((whole, compression));
        }
    }
    let median = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let ratio = median(
        pairs
            .iter()
            .map(|(whole, alone)| whole.as_secs_f64() / alone.as_secs_f64())
            .collect(),
    );
    let speed = |of: fn(&(Duration, Duration)) -> Duration, bytes: usize| {
        median(
            pairs
                .iter()
                .map(|pair| bytes as f64 / 1e6 / of(pair).as_secs_f64())
                .collect(),
        )
    };
    println!(
        "{} events, {:.1} MB raw, {:.1} MB as NDJSON, {} rounds",
        events.len(),
        raw as f64 / 1e6,
        ndjson as f64 / 1e6,
        pairs.len()
    );
    println!("the whole way: {:.0} MB/s of events", speed(|pair| pair.0, raw));
    println!(
        "zstd level {DEFAULT_LEVEL} alone: {:.0} MB/s of NDJSON",
        speed(|pair| pair.1, ndjson)
    );
    println!("compressed to one {:.1}th", ndjson as f64 / wire as f64);
    println!("ratio: {ratio:.2} (goal {GOAL})");
    println!(
        "of aggregates: {:.0} MB/s of events",
        speed_of(&aggregates, events.len(), raw)
    );
    let mut arguments = std::env::args()
        .skip_while(|argument| argument != "--check")
        .skip(1);
    if let Some(limit) = arguments.next().and_then(|limit| limit.parse::<f64>().ok())
        && ratio > limit
    {
        println!("the whole way costs more than {limit} times what compression costs");
        std::process::exit(1);
    }
}
