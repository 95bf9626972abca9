//! What shaping is told.

use frazil_kinesis::HashKeyRange;

use crate::shape::MetadataOptions;

/// What to do with user records of an aggregate that belong to another shard by their hash key.
///
/// How they come there: the Kinesis Producer Library (KPL) packs an aggregate for the shard that it believes in. After a
/// split or a merge it may land on another one, with some user records, or all, outside of that shard's hash keys. What the
/// producer does then depends on its version:
///
/// - before KPL pull request 576 (awslabs/amazon-kinesis-producer, merged in August 2024) it sends *all* user records of such
///   an aggregate again. Those that were read from the wrong shard come twice.
/// - since then it sends only those again that lie *outside* of the shard; those inside count as delivered.
/// - other producers do not look at shards at all: a foreign hash key is nothing special there, and nothing is sent again
///   (awslabs/kinesis-aggregation, issue 11; awslabs/amazon-kinesis-client, issue 343).
///
/// KCL consumers throw away the whole aggregate as soon as one hash key is foreign, which loses records of the second and
/// the third kind. Frazil loses nothing unless told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HashRangeCheck {
    /// Every user record becomes a row; the foreign ones are counted. After a reshard of a stream that a KPL writes to, rows
    /// may be there twice, as the producer sent them twice.
    #[default]
    Keep,
    /// Foreign user records are dropped and counted, the others of their aggregate become rows. Only where every producer of
    /// the stream is a KPL: with other producers this loses records.
    Drop,
}

/// Whether compressed payloads are decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decompress {
    /// Payloads that begin as gzip or zstd are decompressed.
    #[default]
    Auto,
    /// Payloads are taken as they are; a compressed one is no JSON and becomes a dead letter.
    Off,
}

/// What shaping the records of one shard is told.
#[derive(Debug, Clone, Default)]
pub struct ShapeOptions {
    /// The metadata of each row.
    pub metadata: MetadataOptions,
    /// What to do with user records that belong to another shard.
    pub hash_range_check: HashRangeCheck,
    /// The shard's slice of hash keys; where it is not known, every user record belongs to the shard.
    pub hash_range: Option<HashKeyRange>,
    /// Whether compressed payloads are decompressed.
    pub decompress: Decompress,
}

impl From<MetadataOptions> for ShapeOptions {
    fn from(metadata: MetadataOptions) -> Self {
        Self {
            metadata,
            ..Self::default()
        }
    }
}
