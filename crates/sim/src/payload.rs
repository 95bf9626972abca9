//! What producers make of events: compressed payloads, and aggregates as the Kinesis Producer Library writes them.

use std::io::Write as _;

use flate2::write::GzEncoder;
use frazil_kinesis::{Aggregator, AimedRecord, NewRecord};

/// What a payload is packed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is.
    Plain,
    /// gzip (RFC 1952).
    Gzip,
    /// zstd (RFC 8878).
    Zstd,
}

/// The payload of an event.
pub(crate) fn packed(form: Form, data: &[u8]) -> Vec<u8> {
    match form {
        Form::Plain => data.to_vec(),
        Form::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
            let written = encoder.write_all(data).and_then(|()| encoder.finish());
            written.expect("a vector takes every byte")
        }
        Form::Zstd => zstd::encode_all(data, 1).expect("a vector takes every byte"),
    }
}

/// One record of several user records (key, hash key, data): its partition key and its payload.
pub(crate) fn aggregate<'a>(users: impl Iterator<Item = (u64, u128, &'a [u8])>) -> (String, Vec<u8>) {
    let mut aggregator = Aggregator::new(usize::MAX);
    for (key, hash_key, data) in users {
        let user = AimedRecord {
            record: NewRecord {
                key: key.to_string(),
                data: data.to_vec(),
            },
            explicit_hash_key: Some(hash_key),
        };
        assert_eq!(aggregator.add(&user), None, "there is no limit");
    }
    let whole = aggregator.finish().expect("at least one user record").record;
    (whole.key, whole.data)
}
