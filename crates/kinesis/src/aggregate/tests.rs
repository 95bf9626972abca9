//! Aggregates as other programs make them, and as nobody should.

use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;
use crate::door::HashKeyRange;

/// An aggregate around a message.
fn around(message: &[u8]) -> Vec<u8> {
    [&AGGREGATE_MAGIC[..], message, &Md5::digest(message)].concat()
}

/// A field that holds bytes; short ones.
fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 128);
    [&[number << 3 | 2, content.len() as u8], content].concat()
}

/// Partition key, explicit hash key and data.
type User = (String, Option<String>, Vec<u8>);

fn opened(payload: &[u8]) -> Result<Vec<User>, BrokenAggregate> {
    let mut aggregate = Aggregate::default();
    aggregate.open(payload)?;
    let records: Vec<_> = aggregate.records(Place::default()).collect();
    assert_eq!(records.len() as u64, aggregate.len());
    for (index, record) in records.iter().enumerate() {
        assert_eq!(record.index, index as u64);
    }
    let owned = records.iter().map(|r| {
        let hash = r.explicit_hash_key.map(ToOwned::to_owned);
        (r.partition_key.to_owned(), hash, r.data.to_vec())
    });
    Ok(owned.collect())
}

fn one(key: &str, data: &[u8]) -> User {
    (key.to_owned(), None, data.to_vec())
}

/// A record of key 0 with this data.
fn record(data: &[u8]) -> Vec<u8> {
    bytes(3, &[&[0x08, 0][..], &bytes(3, data)].concat())
}

#[test]
fn case_63_aggregates_of_another_producer_are_opened() {
    let golden: [(&[u8], &str); 6] = [
        (
            include_bytes!("../../../../testdata/kpl/one.bin"),
            include_str!("../../../../testdata/kpl/one.json"),
        ),
        (
            include_bytes!("../../../../testdata/kpl/two.bin"),
            include_str!("../../../../testdata/kpl/two.json"),
        ),
        (
            include_bytes!("../../../../testdata/kpl/shared-keys.bin"),
            include_str!("../../../../testdata/kpl/shared-keys.json"),
        ),
        (
            include_bytes!("../../../../testdata/kpl/hash-keys.bin"),
            include_str!("../../../../testdata/kpl/hash-keys.json"),
        ),
        (
            include_bytes!("../../../../testdata/kpl/odd.bin"),
            include_str!("../../../../testdata/kpl/odd.json"),
        ),
        (
            include_bytes!("../../../../testdata/kpl/many.bin"),
            include_str!("../../../../testdata/kpl/many.json"),
        ),
    ];
    for (payload, records) in golden {
        assert!(is_aggregate(payload));
        let records: Vec<Json> = serde_json::from_str(records).expect("JSON");
        let found = opened(payload).expect("an aggregate");
        assert_eq!(found.len(), records.len());
        for ((key, hash, data), expected) in found.iter().zip(&records) {
            assert_eq!(Json::from(key.as_str()), expected["partition_key"]);
            assert_eq!(Json::from(hash.clone()), expected["explicit_hash_key"]);
            let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(Json::from(hex), expected["data"]);
        }
    }
}

#[test]
fn case_62_a_wrong_digest_or_a_cut_is_refused_whole() {
    let whole = around(&[bytes(1, b"k"), record(b"one"), record(b"two")].concat());
    assert_eq!(opened(&whole).map(|r| r.len()), Ok(2));
    for end in AGGREGATE_MAGIC.len()..whole.len() {
        let expected = match end {
            ..SMALLEST => BrokenAggregate::TooShort,
            _ => BrokenAggregate::WrongDigest,
        };
        assert_eq!(opened(&whole[..end]), Err(expected), "{end}");
    }
    for at in AGGREGATE_MAGIC.len()..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert_eq!(opened(&changed), Err(BrokenAggregate::WrongDigest), "{at}");
    }
}

#[test]
fn case_62_what_is_malformed_behind_a_right_digest_is_refused_whole() {
    let (key, good) = (bytes(1, b"k"), record(b"good"));
    let bad: [(&[u8], BrokenAggregate); 12] = [
        (&[0xff; 3], BrokenAggregate::BadMessage),
        (&bytes(3, &[0x08]), BrokenAggregate::BadMessage),
        (&bytes(3, &bytes(3, b"no key")), BrokenAggregate::MissingField),
        (&bytes(3, &[0x08, 0]), BrokenAggregate::MissingField),
        (&bytes(3, b""), BrokenAggregate::MissingField),
        (
            &bytes(3, &[&[0x08, 1][..], &bytes(3, b"x")].concat()),
            BrokenAggregate::IndexOutOfTable,
        ),
        // 2^31, 2^64 - 1: no index is narrowed.
        (
            &bytes(
                3,
                &[&[0x08, 0x80, 0x80, 0x80, 0x80, 8][..], &bytes(3, b"x")].concat(),
            ),
            BrokenAggregate::IndexOutOfTable,
        ),
        (
            &bytes(
                3,
                &[
                    &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1][..],
                    &bytes(3, b"x"),
                ]
                .concat(),
            ),
            BrokenAggregate::IndexOutOfTable,
        ),
        (
            &bytes(3, &[&[0x08, 0, 0x10, 0][..], &bytes(3, b"x")].concat()),
            BrokenAggregate::IndexOutOfTable,
        ),
        (&bytes(3, &[0x08, 0, 0x18, 1]), BrokenAggregate::BadMessage),
        (&[0x18, 0], BrokenAggregate::BadMessage),
        (&bytes(1, b"\xff"), BrokenAggregate::KeyNotText),
    ];
    for (field, reason) in bad {
        // Before, between and behind good ones.
        for message in [
            [field, &key, &good].concat(),
            [&key, field, &good].concat(),
            [&key, &good, field].concat(),
        ] {
            assert_eq!(opened(&around(&message)), Err(reason), "{field:02x?}");
        }
    }
}

#[test]
fn case_62_an_aggregate_may_hold_nothing_or_another_aggregate() {
    assert_eq!(opened(&around(&bytes(1, b"k"))), Ok(vec![]));
    let inner = around(&[bytes(1, b"k"), record(b"one")].concat());
    let outer = around(&[bytes(1, b"k"), record(&inner)].concat());
    assert_eq!(opened(&outer), Ok(vec![one("k", &inner)]));
}

#[test]
fn case_64_duplicate_keys_unknown_fields_tags_and_empty_data_are_fine() {
    let tag = bytes(4, &[bytes(1, b"name"), bytes(2, b"value")].concat());
    let unknown = [
        &[0x28, 5][..],
        &bytes(6, b"?"),
        &[0x3d, 0, 0, 0, 0],
        &[0x43, 0x44],
    ]
    .concat();
    let inner = [&tag[..], &[0x08, 1], &unknown, &bytes(3, b"data"), &tag].concat();
    let message = [
        unknown.clone(),
        bytes(1, b"k"),
        bytes(1, b"k"),
        bytes(3, &inner),
        unknown,
        record(b""),
    ]
    .concat();
    assert_eq!(
        opened(&around(&message)),
        Ok(vec![one("k", b"data"), one("k", b"")])
    );
    // Tables may stand behind the records, and the last of two values counts.
    let twice = bytes(
        3,
        &[&[0x08, 9, 0x08, 0][..], &bytes(3, b"1"), &bytes(3, b"2")].concat(),
    );
    let message = [twice, bytes(1, b"late")].concat();
    assert_eq!(opened(&around(&message)), Ok(vec![one("late", b"2")]));
}

#[test]
fn case_65_what_merely_starts_with_the_magic_is_no_aggregate() {
    assert_eq!(opened(&AGGREGATE_MAGIC), Err(BrokenAggregate::TooShort));
    let text = [
        &AGGREGATE_MAGIC[..],
        b"{\"a\": \"a payload that is nothing else\"}",
    ]
    .concat();
    assert!(is_aggregate(&text));
    assert_eq!(opened(&text), Err(BrokenAggregate::WrongDigest));
    // An empty message with its right digest is below the smallest.
    assert_eq!(opened(&around(b"")), Err(BrokenAggregate::TooShort));
    assert!(!is_aggregate(b"{}") && !is_aggregate(b"") && !is_aggregate(&AGGREGATE_MAGIC[..3]));
}

#[test]
fn case_63_a_hundred_thousand_records_and_ten_mebibytes() {
    let many = [bytes(1, b"k"), record(b"{}").repeat(100_000)].concat();
    assert_eq!(opened(&around(&many)).map(|r| r.len()), Ok(100_000));
    let mut aggregator = crate::Aggregator::new(10 * 1024 * 1024);
    let user: crate::AimedRecord = crate::NewRecord {
        key: "k".to_owned(),
        data: vec![b'x'; 100_000],
    }
    .into();
    let full = std::iter::repeat_with(|| aggregator.add(&user)).find_map(|out| out);
    let full = full.expect("it is full at some time").record.data;
    assert!(full.len() > 10 * 1024 * 1024 - 101_000);
    assert_eq!(opened(&full).map(|r| r.len()), Ok(104));
}

#[test]
fn case_67_records_go_on_from_any_place() {
    let mut aggregate = Aggregate::default();
    let message = [record(b"0"), bytes(1, b"k"), record(b"1"), record(b"2")].concat();
    aggregate.open(&around(&message)).expect("an aggregate");
    let mut records = aggregate.records(Place::default());
    for index in 0..3 {
        let place = records.place();
        assert_eq!(place.index(), index);
        let again: Vec<u64> = aggregate.records(place).map(|r| r.index).collect();
        assert_eq!(again, (index..3).collect::<Vec<u64>>());
        records.next();
    }
    assert_eq!(records.next(), None);
    assert_eq!(aggregate.records(records.place()).count(), 0);
    // What is closed or refused leaves nothing behind.
    assert!(aggregate.open(b"\xf3\x89\x9a\xc2").is_err());
    assert_eq!(
        (aggregate.len(), aggregate.records(Place::default()).count()),
        (0, 0)
    );
}

#[test]
fn case_66_the_hash_key_is_the_explicit_one_else_of_the_partition_key() {
    let hash = |partition_key, explicit_hash_key| {
        let user = UserRecord {
            index: 0,
            partition_key,
            explicit_hash_key,
            data: b"",
        };
        user.hash_key()
    };
    // MD5 of "a" by RFC 1321: 0cc175b9c0f1b6a831c399e269772661.
    let of_a = 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661;
    assert_eq!(hash("a", None), of_a);
    assert_eq!(hash("a", Some("17")), 17);
    assert_eq!(
        hash("a", Some("340282366920938463463374607431768211455")),
        u128::MAX
    );
    for no_number in [
        "undefined",
        "",
        "-1",
        "+1",
        "340282366920938463463374607431768211456",
    ] {
        assert_eq!(hash("a", Some(no_number)), of_a, "{no_number}");
    }
    let range = HashKeyRange { start: 5, end: 7 };
    assert_eq!(
        [4, 5, 7, 8].map(|key| range.contains(key)),
        [false, true, true, false]
    );
}

proptest! {
    #[test]
    fn case_62_outside_messages_never_panic(message in prop::collection::vec(any::<u8>(), 0..60)) {
        drop(opened(&around(&message)));
        let likely = [bytes(1, b"k"), bytes(3, &message), record(b"x")].concat();
        if let Ok(records) = opened(&around(&likely)) {
            prop_assert_eq!(records.len(), 2);
        }
    }
}
