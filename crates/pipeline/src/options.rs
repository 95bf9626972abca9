//! What a connector is told, and the doors it works through.

use std::sync::Arc;
use std::time::Duration;

use frazil_kinesis::Kinesis;
use frazil_lease::LeaseStore;
use frazil_lease::admin::TableAdmin;
use frazil_model::{Clock, Events, Random};

use crate::budget::MemoryBudget;
use crate::dead_letters::DeadLetterSink;
use crate::pipes::Pipes;
use crate::shape::{Decompress, HashRangeCheck, MetadataOptions};

/// Where an application without any position starts (Kinesis API reference, `ShardIteratorType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitialPosition {
    /// At the oldest record the stream still has.
    TrimHorizon,
    /// At what arrives from now on; resolved once, at the application's first start.
    Latest,
    /// At the first record that arrived at or after this moment (milliseconds since 1970 UTC).
    AtTimestamp {
        /// The moment.
        ms: i64,
    },
}

/// How the stream is read (Kinesis Developer Guide, "Develop enhanced fan-out consumers with dedicated throughput").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumerType {
    /// By polling, within the 2 MiB a second of each shard that all its readers share.
    SharedThroughput,
    /// By a registered consumer of the application's name, which has 2 MiB a second of each shard for itself and is paid
    /// for by shard and hour. It is registered at the start and never removed by itself.
    EnhancedFanOut,
}

/// What to do when the channel counts row errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRowError {
    /// Tell them and go on: the table keeps them in its error table.
    Continue,
    /// Stop the shard, durably, until `frazil resume`.
    Stop,
}

/// What a connector is told.
#[derive(Debug, Clone)]
pub struct ConnectorOptions {
    /// The application: name of the lease table, and part of the channels' names.
    pub application: String,
    /// The AWS region, part of the channels' names.
    pub region: String,
    /// This worker's name for people.
    pub display_name: String,
    /// How the stream is read.
    pub consumer_type: ConsumerType,
    /// Where an application without any position starts.
    pub initial_position: InitialPosition,
    /// The metadata of each row.
    pub metadata: MetadataOptions,
    /// What to do with user records of aggregates that belong to another shard by their hash key.
    pub hash_range_check: HashRangeCheck,
    /// Whether compressed payloads are decompressed.
    pub decompress: Decompress,
    /// What to do when the channel counts row errors. None: go on where the table keeps such rows in an error table, and
    /// stop where it does not, or where that is not known.
    pub on_row_error: Option<OnRowError>,
    /// A moved position is remembered at most this often, but for hand-over, end and stop.
    pub checkpoint_interval: Duration,
    /// Nobody else may write to this connector's channels, because nothing but this process shares its shards out
    /// (`leases: none`): a channel that another writer opened ends the connector.
    pub sole_writer: bool,
    /// Take shards over whose rows went to another destination before.
    pub accept_destination: bool,
    /// A worker whose heartbeat stood still for this long is taken for dead; its shards move.
    pub lease_timeout: Duration,
    /// How often all shards are listed when nothing else asks for it.
    pub list_interval: Duration,
    /// Appends of one shard begin at least this far apart; what is read meanwhile goes into one batch. The service allows ten
    /// requests a second for each channel (docs.snowflake.com, "Snowpipe Streaming: limitations").
    pub append_interval: Duration,
    /// How long a stop or a hand-over waits for accepted rows to be committed.
    pub drain_timeout: Duration,
    /// After how long without any commit a channel with accepted rows is opened again.
    pub commit_timeout: Duration,
}

impl ConnectorOptions {
    /// Options with the documented defaults.
    #[must_use]
    pub fn new(application: &str, region: &str) -> Self {
        Self {
            application: application.to_owned(),
            region: region.to_owned(),
            display_name: application.to_owned(),
            consumer_type: ConsumerType::SharedThroughput,
            initial_position: InitialPosition::TrimHorizon,
            metadata: MetadataOptions::default(),
            hash_range_check: HashRangeCheck::default(),
            decompress: Decompress::default(),
            on_row_error: None,
            checkpoint_interval: Duration::from_secs(60),
            sole_writer: false,
            accept_destination: false,
            lease_timeout: Duration::from_secs(30),
            list_interval: Duration::from_secs(60),
            append_interval: Duration::from_millis(100),
            drain_timeout: Duration::from_secs(60),
            commit_timeout: Duration::from_secs(180),
        }
    }
}

/// The doors a connector works through.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The stream.
    pub kinesis: Arc<dyn Kinesis>,
    /// The lease table.
    pub leases: Arc<dyn LeaseStore>,
    /// The lease table as a whole, to take over another program's; none where that is not wanted.
    pub tables: Option<Arc<dyn TableAdmin>>,
    /// The pipes of the table. A shard whose rows went to another one before is refused.
    pub pipes: Pipes,
    /// Where dead letters are kept.
    pub dead_letters: Arc<dyn DeadLetterSink>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// Where events go.
    pub events: Events,
    /// This connector's share of memory.
    pub budget: MemoryBudget,
}
