//! Packs user records into aggregates, as the Kinesis Producer Library (KPL) does.
//!
//! How it works: an [`Aggregator`] gathers user records until the next one would make the aggregate longer than its limit,
//! and hands out what it has. The tables of keys and the records are written as protobuf while they are added, so that the
//! length is known exactly at any time.
//!
//! What it guarantees: user records come out in the order in which they went in, each once. No aggregate is longer than the
//! limit; a user record that does not fit with any other goes alone, plain, however long it is. As with the KPL
//! (awslabs/amazon-kinesis-producer, `kinesis_record.cc`), a single user record is a plain record under its own key, and an
//! aggregate has the partition key `a` and the hash key of its first user record.
//!
//! What it does not: it does not know shards. An aggregate goes to the shard of its first user record with all that is in
//! it, and KCL consumers throw away what belongs to another shard (awslabs/kinesis-aggregation, issue 11). Use one
//! aggregator per shard ([`hash_key`] and [`HashKeyRange::contains`](crate::HashKeyRange::contains) tell which), where other
//! consumers than Frazil read the stream or the order of a key matters.

use std::collections::HashMap;

use md5::{Digest, Md5};

use crate::aggregate::{AGGREGATE_MAGIC, hash_key};
use crate::producer::NewRecord;

/// The longest aggregate in bytes, where nothing else is said: the KPL's default (`AggregationMaxSize`).
pub const DEFAULT_AGGREGATE_BYTES: usize = 51_200;
/// The partition key of aggregates.
const OUTER_KEY: &str = "a";
const DIGEST_BYTES: usize = 16;

/// A record to put, and the hash key to put it at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AimedRecord {
    /// The record.
    pub record: NewRecord,
    /// Decides on the shard instead of the partition key (`ExplicitHashKey`).
    pub explicit_hash_key: Option<u128>,
}

impl From<NewRecord> for AimedRecord {
    fn from(record: NewRecord) -> Self {
        Self {
            record,
            explicit_hash_key: None,
        }
    }
}

/// Keys of an aggregate, each once.
#[derive(Debug, Default)]
struct Table {
    indices: HashMap<String, u64>,
    /// The table's fields of the message.
    wire: Vec<u8>,
}

/// User records on their way into one aggregate.
#[derive(Debug)]
pub struct Aggregator {
    limit: usize,
    partition_keys: Table,
    hash_keys: Table,
    /// The records' fields of the message.
    records: Vec<u8>,
    count: u64,
    /// The first user record: key, explicit hash key, and where in `records` its data begins.
    first: Option<(String, Option<u128>, usize)>,
}

impl Default for Aggregator {
    fn default() -> Self {
        Self::new(DEFAULT_AGGREGATE_BYTES)
    }
}

impl Aggregator {
    /// An empty one; its aggregates have at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            partition_keys: Table::default(),
            hash_keys: Table::default(),
            records: Vec::new(),
            count: 0,
            first: None,
        }
    }

    /// How many user records it holds.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the aggregate if it were finished now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let tables = self.partition_keys.wire.len() + self.hash_keys.wire.len();
        AGGREGATE_MAGIC.len() + tables + self.records.len() + DIGEST_BYTES
    }

    /// Adds a user record. Answers what was gathered before, if the user record does not fit in with it.
    #[must_use = "what comes out is to be put"]
    pub fn add(&mut self, user: &AimedRecord) -> Option<AimedRecord> {
        let full = self.count > 0 && self.bytes() + self.cost(user) > self.limit;
        let out = if full { self.finish() } else { None };
        self.write(user);
        out
    }

    /// Hands out what was gathered; it is empty then.
    pub fn finish(&mut self) -> Option<AimedRecord> {
        let done = std::mem::replace(self, Self::new(self.limit));
        let (key, explicit, data) = done.first?;
        if done.count == 1 {
            let data = done.records.get(data..).unwrap_or_default().to_vec();
            let record = NewRecord { key, data };
            return Some(AimedRecord {
                record,
                explicit_hash_key: explicit,
            });
        }
        let message = [done.partition_keys.wire, done.hash_keys.wire, done.records].concat();
        let data = [&AGGREGATE_MAGIC[..], &message, &Md5::digest(&message)].concat();
        Some(AimedRecord {
            record: NewRecord {
                key: OUTER_KEY.to_owned(),
                data,
            },
            explicit_hash_key: Some(explicit.unwrap_or_else(|| hash_key(&key))),
        })
    }

    /// How many bytes longer the aggregate becomes by a user record.
    fn cost(&self, user: &AimedRecord) -> usize {
        let (partition_key, mut keys) = self.partition_keys.cost(&user.record.key);
        let hash = user
            .explicit_hash_key
            .map(|hash| self.hash_keys.cost(&hash.to_string()));
        keys += hash.map_or(0, |(_, cost)| cost);
        let inner = inner_bytes(
            partition_key,
            hash.map(|(index, _)| index),
            user.record.data.len(),
        );
        keys + 1 + varint_bytes(inner as u64) + inner
    }

    fn write(&mut self, user: &AimedRecord) {
        let NewRecord { key, data } = &user.record;
        let partition_key = self.partition_keys.index(key, 1);
        let hash = user
            .explicit_hash_key
            .map(|hash| self.hash_keys.index(&hash.to_string(), 2));
        let out = &mut self.records;
        out.push(field(3, 2));
        varint(inner_bytes(partition_key, hash, data.len()) as u64, out);
        out.push(field(1, 0));
        varint(partition_key, out);
        if let Some(hash) = hash {
            out.push(field(2, 0));
            varint(hash, out);
        }
        out.push(field(3, 2));
        varint(data.len() as u64, out);
        self.first
            .get_or_insert_with(|| (key.clone(), user.explicit_hash_key, out.len()));
        out.extend_from_slice(data);
        self.count += 1;
    }
}

impl Table {
    /// The index that a key has or would get, and the bytes that the table grows by it.
    fn cost(&self, key: &str) -> (u64, usize) {
        match self.indices.get(key) {
            Some(index) => (*index, 0),
            None => (
                self.indices.len() as u64,
                1 + varint_bytes(key.len() as u64) + key.len(),
            ),
        }
    }

    fn index(&mut self, key: &str, number: u8) -> u64 {
        if let Some(index) = self.indices.get(key) {
            return *index;
        }
        let index = self.indices.len() as u64;
        self.indices.insert(key.to_owned(), index);
        self.wire.push(field(number, 2));
        varint(key.len() as u64, &mut self.wire);
        self.wire.extend_from_slice(key.as_bytes());
        index
    }
}

/// The tag of a field with a number below 16.
fn field(number: u8, wire_type: u8) -> u8 {
    number << 3 | wire_type
}

fn inner_bytes(partition_key: u64, hash_key: Option<u64>, data: usize) -> usize {
    let hash_key = hash_key.map_or(0, |index| 1 + varint_bytes(index));
    1 + varint_bytes(partition_key) + hash_key + 1 + varint_bytes(data as u64) + data
}

fn varint_bytes(number: u64) -> usize {
    let bits = 64 - (number | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::aggregate::{Aggregate, Place, is_aggregate};

    fn user(key: &str, explicit_hash_key: Option<u128>, data: &[u8]) -> AimedRecord {
        let record = NewRecord {
            key: key.to_owned(),
            data: data.to_vec(),
        };
        AimedRecord {
            record,
            explicit_hash_key,
        }
    }

    fn packed(limit: usize, users: &[AimedRecord]) -> Vec<AimedRecord> {
        let mut aggregator = Aggregator::new(limit);
        let mut out: Vec<AimedRecord> = Vec::new();
        for user in users {
            out.extend(aggregator.add(user));
            assert!(aggregator.len() == 1 || aggregator.bytes() <= limit);
        }
        out.extend(aggregator.finish());
        assert!(aggregator.is_empty() && aggregator.finish().is_none());
        out
    }

    /// The user records of a record.
    fn unpacked(record: &AimedRecord) -> Vec<AimedRecord> {
        if !is_aggregate(&record.record.data) {
            return vec![record.clone()];
        }
        let mut aggregate = Aggregate::default();
        aggregate.open(&record.record.data).expect("an aggregate");
        let records = aggregate.records(Place::default());
        records
            .map(|r| {
                let hash = r.explicit_hash_key.map(|text| text.parse().expect("a number"));
                user(r.partition_key, hash, r.data)
            })
            .collect()
    }

    #[test]
    fn a_single_record_is_plain_and_several_are_aimed_at_the_first() {
        let (one, other) = (user("one", None, b"1"), user("other", Some(7), b"2"));
        for single in [&one, &other] {
            let single = std::slice::from_ref(single);
            assert_eq!(packed(1000, single), single);
        }
        let out = packed(1000, &[one.clone(), other.clone()]);
        assert_eq!((out.len(), out[0].record.key.as_str()), (1, "a"));
        assert_eq!(out[0].explicit_hash_key, Some(hash_key("one")));
        let out = packed(1000, &[other, one]);
        assert_eq!(out[0].explicit_hash_key, Some(7));
        assert!(packed(1000, &[]).is_empty());
    }

    #[test]
    fn a_record_that_fits_with_no_other_goes_alone() {
        let (small, large) = (user("k", None, b"small"), user("k", None, &[7; 500]));
        let out = packed(100, &[small.clone(), large.clone(), small.clone(), small.clone()]);
        assert_eq!(out[..2], [small.clone(), large]);
        assert_eq!(unpacked(&out[2]), [small.clone(), small]);
    }

    #[test]
    fn aggregates_are_byte_by_byte_those_of_another_producer() {
        let golden: [&[u8]; 5] = [
            include_bytes!("../../../testdata/kpl/two.bin"),
            include_bytes!("../../../testdata/kpl/shared-keys.bin"),
            include_bytes!("../../../testdata/kpl/hash-keys.bin"),
            include_bytes!("../../../testdata/kpl/odd.bin"),
            include_bytes!("../../../testdata/kpl/many.bin"),
        ];
        for payload in golden {
            let users = unpacked(&user("a", None, payload));
            let out = packed(DEFAULT_AGGREGATE_BYTES, &users);
            assert_eq!(out.len(), 1);
            assert_eq!(out[0].record.data, payload);
        }
    }

    fn any_user() -> impl Strategy<Value = AimedRecord> {
        let key = prop_oneof!["[a-c]", "\\PC{1,20}", "x{200}"];
        let hash = prop::option::of(prop_oneof![any::<u128>(), 0..3_u128]);
        let data = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20),
            prop::collection::vec(any::<u8>(), 100..300)
        ];
        (key, hash, data).prop_map(|(key, hash, data)| user(&key, hash, &data))
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(
            users in prop::collection::vec(any_user(), 0..300),
            limit in prop_oneof![Just(DEFAULT_AGGREGATE_BYTES), 64_usize..2000],
        ) {
            let out = packed(limit, &users);
            for record in &out {
                let aggregate = is_aggregate(&record.record.data);
                prop_assert!(!aggregate || record.record.data.len() <= limit);
            }
            let back: Vec<AimedRecord> = out.iter().flat_map(unpacked).collect();
            prop_assert_eq!(back, users);
        }
    }
}
