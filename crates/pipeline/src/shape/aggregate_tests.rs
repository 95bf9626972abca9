//! Aggregates and compressed payloads into rows and letters.

use std::io::Write as _;

use bytes::Bytes;
use frazil_kinesis::{Aggregator, AimedRecord, BrokenAggregate, NewRecord, hash_key};
use frazil_model::SequenceNumber;
use md5::{Digest, Md5};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::tests::{only, page, shaper_with};
use super::*;
use crate::batch::{Compressor, DEFAULT_LEVEL, Finished};

/// What became of records.
#[derive(Debug, Default)]
struct Shaped {
    rows: Vec<Value>,
    letters: Vec<DeadLetter>,
    /// The end of each batch.
    ends: Vec<Position>,
    /// Rows up to the end of each batch.
    rows_at_end: Vec<usize>,
    counts: ShapeCounts,
}

impl Shaped {
    /// Sub-sequence numbers of the rows.
    fn subs(&self) -> Vec<u64> {
        let subs = self
            .rows
            .iter()
            .map(|row| row["kinesisMetadata"]["subSequenceNumber"].as_u64());
        subs.map(|sub| sub.expect("a number")).collect()
    }

    fn end(&self) -> Option<&Position> {
        self.ends.last()
    }
}

fn shape_page(options: &ShapeOptions, page: &RecordPage, after: Option<&Position>) -> Shaped {
    shape_within(usize::MAX, options, page, after)
}

/// Shapes into batches that may hold this many bytes of NDJSON.
fn shape_within(bytes: usize, options: &ShapeOptions, page: &RecordPage, after: Option<&Position>) -> Shaped {
    let (mut shaper, mut builder) = (shaper_with(options), BatchBuilder::default());
    let mut allowed = bytes;
    builder.allow(allowed);
    let (mut shaped, mut compressor) = (Shaped::default(), Compressor::new(DEFAULT_LEVEL));
    loop {
        let filled = shaper.shape(page, after, &mut builder, &mut shaped.letters);
        let is_starved = builder.is_starved;
        match builder.finish(&mut compressor, &mut shaped.letters) {
            Finished::Batches(batches) => {
                let batch = only(batches);
                assert!(batch.from <= batch.to);
                let ndjson = zstd::decode_all(&batch.body[..]).expect("zstd");
                let rows = ndjson.split(|b| *b == b'\n').filter(|line| !line.is_empty());
                shaped
                    .rows
                    .extend(rows.map(|row| serde_json::from_slice::<Value>(row).expect("JSON")));
                shaped.ends.push(batch.to);
            }
            Finished::Settled { to } => shaped.ends.push(to),
            Finished::Nothing => {}
        }
        shaped.rows_at_end.resize(shaped.ends.len(), shaped.rows.len());
        if filled == Filled::PageDone {
            shaped.counts = shaper.take_counts();
            return shaped;
        }
        if is_starved {
            // As a session does that waits for memory.
            allowed = allowed.saturating_mul(2);
            builder.allow(allowed);
        }
    }
}

fn shape(records: &[&[u8]]) -> Shaped {
    shape_page(&ShapeOptions::default(), &page(records), None)
}

/// An aggregate of user records, also where there is only one.
fn aggregate(users: &[(&str, &[u8])]) -> Vec<u8> {
    let mut aggregator = Aggregator::new(usize::MAX);
    let add = |aggregator: &mut Aggregator, (key, data): &(&str, &[u8])| {
        let user: AimedRecord = NewRecord {
            key: (*key).to_owned(),
            data: data.to_vec(),
        }
        .into();
        assert_eq!(aggregator.add(&user), None);
    };
    if let [only] = users {
        // Twice, and the second one cut off: both have the same key and the same length.
        add(&mut aggregator, only);
        add(&mut aggregator, only);
        let two = aggregator.finish().expect("two").record.data;
        let message = &two[4..two.len() - 16];
        let table = 2 + only.0.len();
        return around(&message[..table + (message.len() - table) / 2]);
    }
    users.iter().for_each(|user| add(&mut aggregator, user));
    aggregator.finish().expect("several").record.data
}

fn around(message: &[u8]) -> Vec<u8> {
    [&[0xf3, 0x89, 0x9a, 0xc2][..], message, &Md5::digest(message)].concat()
}

fn numbered(count: usize) -> Vec<u8> {
    let data: Vec<String> = (0..count).map(|n| format!("{{\"n\":{n}}}")).collect();
    let users: Vec<(&str, &[u8])> = data.iter().map(|data| ("k", data.as_bytes())).collect();
    aggregate(&users)
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 1).expect("memory")
}

#[test]
fn case_81_a_record_that_another_program_checkpointed_is_not_read_again() {
    // The client library writes "sub-sequence 0" of a plain record and of an aggregate's first user record alike.
    let mut broken = numbered(3);
    let end = broken.len() - 1;
    broken[end] ^= 1;
    let payloads: [(&[u8], u64); 4] = [
        (b"{\"n\":0}", 0),
        (b"no object", 0),
        (&broken, 0),
        (&numbered(3), 2),
    ];
    for (first, rows_of_it) in payloads {
        let page = page(&[first, b"{\"n\":1}"]);
        let sequence = page
            .records()
            .next()
            .expect("a record")
            .sequence_number
            .to_owned();
        let after = Position {
            last: false,
            ..Position::whole(SequenceNumber::new(sequence).expect("digits"))
        };
        let shaped = shape_page(&ShapeOptions::default(), &page, Some(&after));
        assert_eq!(shaped.rows.len() as u64, rows_of_it + 1, "{:?}", shaped.rows);
        assert!(shaped.letters.is_empty(), "{:?}", shaped.letters);
    }
}

#[test]
fn case_62_a_broken_aggregate_is_one_letter_with_its_bytes_as_they_came() {
    let sound = numbered(2);
    let message = &sound[4..sound.len() - 16];
    let broken: [(Vec<u8>, BrokenAggregate); 7] = [
        (sound[..20].to_vec(), BrokenAggregate::TooShort),
        (sound[..sound.len() - 1].to_vec(), BrokenAggregate::WrongDigest),
        (
            around(&[message, &[0xff][..]].concat()),
            BrokenAggregate::BadMessage,
        ),
        (
            around(&[message, &[0x1a, 2, 8, 0]].concat()),
            BrokenAggregate::MissingField,
        ),
        (
            around(&[message, &[0x1a, 4, 8, 1, 0x1a, 0]].concat()),
            BrokenAggregate::IndexOutOfTable,
        ),
        (
            around(&[message, &[0x1a, 6, 8, 0, 16, 0, 0x1a, 0]].concat()),
            BrokenAggregate::IndexOutOfTable,
        ),
        (
            around(&[message, &[0x0a, 1, 0xff]].concat()),
            BrokenAggregate::KeyNotText,
        ),
    ];
    for (payload, reason) in broken {
        let shaped = shape(&[b"{}", &payload, &sound]);
        assert_eq!((shaped.rows.len(), shaped.letters.len()), (3, 1), "{reason:?}");
        let letter = &shaped.letters[0];
        assert_eq!((letter.reason, &letter.data), (Reason::BrokenAggregate, &payload));
        assert_eq!(letter.position, whole("2"));
        assert_eq!(shaped.counts.broken_aggregates.get(reason.as_str()), Some(&1));
    }
}

#[test]
fn case_62_an_aggregate_without_records_settles_its_position() {
    let empty = around(&[0x0a, 1, b'k']);
    let shaped = shape(&[&empty]);
    assert!(shaped.rows.is_empty() && shaped.letters.is_empty());
    assert_eq!(shaped.end(), Some(&whole("1")));
    assert_eq!(shape(&[b"{}", &empty, b"{}", &empty]).end(), Some(&whole("4")));
}

#[test]
fn case_62_an_aggregate_inside_of_an_aggregate_stays_data() {
    let inner = numbered(2);
    let shaped = shape(&[&aggregate(&[("k", b"{}"), ("k", &inner)])]);
    assert_eq!(shaped.subs(), [0]);
    let letter = &shaped.letters[0];
    assert_eq!((letter.reason, &letter.data), (Reason::InvalidUtf8, &inner));
    assert_eq!((letter.position.sub_sequence, letter.position.last), (1, true));
}

#[test]
fn case_63_one_two_and_a_hundred_thousand_records_in_an_aggregate() {
    for count in [1, 2, 100_000] {
        let shaped = shape(&[&numbered(count), b"{}"]);
        assert_eq!(shaped.rows.len(), count + 1);
        for (n, row) in shaped.rows[..count].iter().enumerate() {
            assert_eq!(row["n"], n);
            assert_eq!(row["kinesisMetadata"]["subSequenceNumber"], n);
        }
        assert_eq!(shaped.end(), Some(&whole("2")));
        // Each batch but the last ends inside of the aggregate.
        for (end, rows) in shaped.ends.iter().zip(&shaped.rows_at_end).rev().skip(1) {
            assert_eq!(*end, position("1", *rows as u64 - 1, *rows == count));
        }
    }
}

#[test]
fn case_63_ten_mebibytes_of_user_records() {
    let data = format!("{{\"t\":\"{}\"}}", "x".repeat(100_000));
    let users = vec![("k", data.as_bytes()); 104];
    let payload = aggregate(&users);
    assert!(payload.len() > 10_000_000 && payload.len() < 10 * 1024 * 1024);
    let shaped = shape(&[&payload]);
    assert_eq!(shaped.subs(), (0..104).collect::<Vec<u64>>());
    assert_eq!(shaped.end(), Some(&position("1", 103, true)));
    assert!(shaped.ends.len() > 2);
}

#[test]
fn case_64_a_user_record_without_data_is_a_letter_under_its_own_position() {
    let shaped = shape(&[&aggregate(&[
        ("k\"1", b"{\"n\":0}"),
        ("k\"1", b""),
        ("other", b"{\"n\":2}"),
    ])]);
    assert_eq!(shaped.subs(), [0, 2]);
    let letter = &shaped.letters[0];
    assert_eq!(
        (letter.reason, letter.partition_key.as_str()),
        (Reason::Empty, "k\"1")
    );
    assert_eq!(letter.position, position("1", 1, false));
    assert_eq!(shaped.end(), Some(&position("1", 2, true)));
}

#[test]
fn case_65_what_merely_starts_with_the_magic_is_a_letter() {
    let text = [&[0xf3, 0x89, 0x9a, 0xc2][..], b"{\"a\":\"no aggregate at all\"}"].concat();
    let shaped = shape(&[&text, b"{}", &text[..4]]);
    assert_eq!((shaped.rows.len(), shaped.letters.len()), (1, 2));
    let counts = shaped.counts.broken_aggregates;
    assert_eq!(
        counts.into_iter().collect::<Vec<_>>(),
        [("too_short", 1), ("wrong_digest", 1)]
    );
}

#[test]
fn case_66_foreign_user_records_are_kept_and_counted_or_dropped_and_counted() {
    let keys = ["a", "b", "c", "d", "e", "f"];
    let users: Vec<(&str, &[u8])> = keys.iter().map(|key| (*key, &b"{}"[..])).collect();
    let (lower, upper) = (0..=u128::MAX / 2, u128::MAX / 2 + 1..=u128::MAX);
    for range in [lower, upper] {
        let inside: Vec<u64> = (0..6)
            .filter(|n| range.contains(&hash_key(keys[*n as usize])))
            .collect();
        let foreign = 6 - inside.len() as u64;
        assert!((1..6).contains(&foreign));
        let mut options = ShapeOptions {
            hash_range: Some(HashKeyRange {
                start: *range.start(),
                end: *range.end(),
            }),
            ..ShapeOptions::default()
        };
        let page = page(&[&aggregate(&users), b"{}"]);
        let kept = shape_page(&options, &page, None);
        assert_eq!(kept.subs(), [0, 1, 2, 3, 4, 5, 0]);
        assert_eq!(
            (kept.counts.out_of_range_kept, kept.counts.out_of_range_dropped),
            (foreign, 0)
        );
        options.hash_range_check = HashRangeCheck::Drop;
        let dropped = shape_page(&options, &page, None);
        // Numbers are those of the aggregate, and plain records are never looked at.
        assert_eq!(dropped.subs(), [&inside[..], &[0]].concat());
        assert_eq!(
            (
                dropped.counts.out_of_range_kept,
                dropped.counts.out_of_range_dropped
            ),
            (0, foreign)
        );
        assert_eq!(dropped.end(), Some(&whole("2")));
        options.hash_range = None;
        assert_eq!(shape_page(&options, &page, None).rows.len(), 7);
    }
}

#[test]
fn case_66_an_aggregate_that_is_dropped_whole_settles_its_last_position() {
    let options = ShapeOptions {
        hash_range: Some(HashKeyRange { start: 0, end: 0 }),
        hash_range_check: HashRangeCheck::Drop,
        ..ShapeOptions::default()
    };
    let shaped = shape_page(&options, &page(&[&numbered(3)]), None);
    assert_eq!((shaped.rows.len(), shaped.counts.out_of_range_dropped), (0, 3));
    assert_eq!(shaped.end(), Some(&position("1", 2, true)));
}

#[test]
fn case_67_reading_goes_on_exactly_behind_any_position_inside_of_an_aggregate() {
    let page = page(&[b"{}", &numbered(5), b"{}"]);
    let options = ShapeOptions::default();
    for sub in 0..5 {
        let shaped = shape_page(&options, &page, Some(&position("2", sub, sub == 4)));
        assert_eq!(shaped.subs(), [(sub + 1..5).collect(), vec![0]].concat());
        assert_eq!(shaped.end(), Some(&whole("3")));
    }
    let all = shape_page(&options, &page, Some(&whole("1")));
    assert_eq!(all.subs(), [0, 1, 2, 3, 4, 0]);
}

#[test]
fn case_67_a_crash_behind_any_batch_loses_and_repeats_nothing() {
    let page = page(&[&numbered(40_000), b"no row", &numbered(10)]);
    let options = ShapeOptions::default();
    for (bytes, batches) in [(usize::MAX, 3), (1_500_000, 7)] {
        let all = shape_within(bytes, &options, &page, None);
        assert_eq!(all.rows.len(), 40_010);
        assert!(all.ends.len() >= batches, "{} batches", all.ends.len());
        for (end, rows) in all.ends.iter().zip(&all.rows_at_end) {
            let rest = shape_page(&options, &page, Some(end));
            assert_eq!(rest.rows, all.rows[*rows..]);
        }
    }
}

#[test]
fn case_68_sharded_sequence_numbers_are_the_sequence_and_twenty_digits_in_order() {
    let users: Vec<(String, String)> = (0..12)
        .map(|n| (format!("key \"{n}\"\\u0041"), format!("{{\"n\":{n}}}")))
        .collect();
    let users: Vec<(&str, &[u8])> = users
        .iter()
        .map(|(key, data)| (key.as_str(), data.as_bytes()))
        .collect();
    let payload = aggregate(&users);
    let sequence = "49590338271490256608559692538361571095921575989136588898";
    let record = json!({
        "Data": base64_simd::STANDARD.encode_to_string(&payload),
        "PartitionKey": "a",
        "SequenceNumber": sequence,
    });
    let body = json!({ "Records": [record], "MillisBehindLatest": 0, "NextShardIterator": "i" });
    let page = RecordPage::parse(Bytes::from(body.to_string())).expect("an answer");
    let shaped = shape_page(&ShapeOptions::default(), &page, None);
    let mut sharded = Vec::new();
    for (n, row) in shaped.rows.iter().enumerate() {
        let metadata = &row["kinesisMetadata"];
        assert_eq!(metadata["partitionKey"], users[n].0, "the inner key, as text");
        assert_eq!(metadata["sequenceNumber"], sequence);
        assert_eq!(metadata["subSequenceNumber"], n);
        sharded.push(metadata["shardedSequenceNumber"].as_str().expect("text"));
    }
    assert_eq!(sharded[3], format!("{sequence}00000000000000000003"));
    assert_eq!(sharded[11], format!("{sequence}00000000000000000011"));
    assert!(sharded.is_sorted());
}

#[test]
fn compressed_payloads_become_rows_plain_or_in_an_aggregate() {
    let (one, two) = (gzip(b"{\"n\":1}"), zstd(b"{\"n\":2}"));
    let packed = aggregate(&[("k", &one), ("k", b"{\"n\":3}"), ("k", &two)]);
    let records: [&[u8]; 4] = [&one, &two, b"{\"n\":0}", &packed];
    let shaped = shape(&records);
    let numbers: Vec<&Value> = shaped.rows.iter().map(|row| &row["n"]).collect();
    assert_eq!(numbers, [1, 2, 0, 1, 3, 2]);
    assert!(shaped.letters.is_empty());
    let off = ShapeOptions {
        decompress: Decompress::Off,
        ..ShapeOptions::default()
    };
    let shaped = shape_page(&off, &page(&records), None);
    assert_eq!((shaped.rows.len(), shaped.letters.len()), (2, 4));
    assert!(
        shaped
            .letters
            .iter()
            .all(|letter| letter.reason == Reason::InvalidUtf8)
    );
}

#[test]
fn what_cannot_be_decompressed_is_a_letter_with_its_bytes_as_they_came() {
    let sound = gzip(b"{\"n\":1}");
    let cut = &sound[..sound.len() - 3];
    let bomb = zstd(&vec![b' '; MAX_DECOMPRESSED_BYTES + 1]);
    let array = zstd(b"[1]");
    let shaped = shape(&[
        b"{}",
        cut,
        &bomb,
        &array,
        &aggregate(&[("k", &sound), ("k", cut)]),
    ]);
    assert_eq!(shaped.rows.len(), 2);
    let found: Vec<(Reason, &[u8])> = shaped.letters.iter().map(|l| (l.reason, &l.data[..])).collect();
    let expected: [(Reason, &[u8]); 4] = [
        (Reason::BadCompression, cut),
        (Reason::DecompressedTooLarge, &bomb),
        (Reason::NotAnObject, &array),
        (Reason::BadCompression, cut),
    ];
    assert_eq!(found, expected);
    assert_eq!(shaped.letters[3].position, position("5", 1, true));
    assert_eq!(shaped.end(), Some(&position("5", 1, true)));
}

#[test]
fn what_grows_by_decompression_waits_for_the_next_batch() {
    let large = |n: usize| format!("{{\"n\":{n},\"t\":\"{}\"}}", "x".repeat(1_500_000));
    let packed: Vec<Vec<u8>> = (0..7).map(|n| gzip(large(n).as_bytes())).collect();
    let records: Vec<&[u8]> = packed.iter().map(Vec::as_slice).collect();
    let users: Vec<(&str, &[u8])> = records.iter().map(|data| ("k", *data)).collect();
    for shaped in [shape(&records), shape(&[&aggregate(&users)])] {
        assert_eq!(shaped.rows_at_end, [2, 4, 6, 7]);
        assert!(shaped.rows.iter().enumerate().all(|(n, row)| row["n"] == n));
    }
}

proptest! {
    #[test]
    fn case_67_each_user_record_is_settled_once_wherever_reading_begins_again(
        records in prop::collection::vec(prop::collection::vec((0..5_u8, 0..9_u32), 0..6), 1..8),
        cut in any::<prop::sample::Index>(),
        bytes in 1..2000_usize,
    ) {
        let data = |(form, n): &(u8, u32)| {
            let row = format!("{{\"n\":{n}}}").into_bytes();
            match form {
                0 => gzip(&row),
                1 => zstd(&row),
                2 => b"no row".to_vec(),
                _ => row,
            }
        };
        let mut positions = Vec::new();
        let payloads: Vec<Vec<u8>> = records.iter().zip(1..).map(|(users, sequence)| {
            let users: Vec<Vec<u8>> = users.iter().map(data).collect();
            for sub in 0..users.len() {
                positions.push(position(&sequence.to_string(), sub as u64, sub + 1 == users.len()));
            }
            match &users[..] {
                [] => around(&[0x0a, 1, b'k']),
                [plain] => plain.clone(),
                several => aggregate(&several.iter().map(|data| ("k", &data[..])).collect::<Vec<_>>()),
            }
        }).collect();
        let page = page(&payloads.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let after = (!positions.is_empty()).then(|| cut.get(&positions).clone());
        for after in [None, after] {
            let shaped = shape_within(bytes, &ShapeOptions::default(), &page, after.as_ref());
            let left = positions.iter().filter(|p| after.as_ref().is_none_or(|after| *p > after)).count();
            prop_assert_eq!(shaped.rows.len() + shaped.letters.len(), left);
            if left > 0 {
                prop_assert!(shaped.end() >= positions.last());
            }
        }
    }
}
