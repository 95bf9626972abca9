//! What `GET /api/v1/state` tells: the whole inside of the process, as types that a client decodes again.
//!
//! It is a snapshot. Texts of moments are milliseconds since 1970-01-01 UTC by this machine's clock (`..._ms`),
//! durations too. Totals count since this process started. Fields are added, never renamed; a client ignores what it
//! does not know. It holds no row data, tokens or keys: positions and counts only.
//!
//! [`Board`] collects it from events.

mod board;
mod rate;

use frazil_model::{ErrorKind, StallReason};
use serde::{Deserialize, Serialize};

pub use board::{Board, ClockGauge, MemoryGauge};

/// How long a shard may stand still before the process is not ready any more: 60 s.
pub const READY_STALL_MS: i64 = 60_000;

/// The process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The version of the program.
    pub version: String,
    /// When the process started.
    pub started_ms: i64,
    /// When this snapshot was taken.
    pub now_ms: i64,
    /// Memory for event data.
    pub memory: MemoryState,
    /// The connectors, by name.
    pub connectors: Vec<ConnectorState>,
}

/// Memory for event data, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryState {
    /// What may be reserved.
    pub budget_bytes: u64,
    /// What is reserved.
    pub in_use_bytes: u64,
    /// The most that was ever reserved at a time, summed over the connectors.
    pub highest_bytes: u64,
}

/// What a connector is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It connects and looks its parts up.
    Starting,
    /// It reads.
    Running,
    /// It failed in a way that may heal, and waits to start again.
    Waiting,
    /// It was asked to stop, and commits what was accepted.
    Draining,
    /// It stopped as asked.
    Stopped,
    /// It failed in a way that does not heal by itself.
    Failed,
}

impl Phase {
    /// The phase as it stands in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// One connector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectorState {
    /// Its name.
    pub name: String,
    /// What it is at.
    pub phase: Phase,
    /// This worker's id, once it has started.
    pub worker: Option<String>,
    /// Why it waits or failed.
    pub trouble: Option<Trouble>,
    /// How often it was started, the first time included.
    pub starts: u64,
    /// Milliseconds that this machine's clock is ahead of Snowflake's, negative where it is behind; none before Snowflake has
    /// answered.
    #[serde(default)]
    pub clock_ahead_ms: Option<i64>,
    /// From arrival in Kinesis to the proof that the row is committed.
    pub latency: Latency,
    /// Sums over all shards this worker ever held.
    pub totals: Totals,
    /// The shards this worker ever held, by id.
    pub shards: Vec<ShardState>,
}

/// An error that a connector ended with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What kind of error.
    pub kind: ErrorKind,
    /// What happened, and the next step.
    pub error: String,
    /// When.
    pub since_ms: i64,
}

/// Latency of rows, weighted by rows; each row counts with the latency of its span's oldest record, so these are upper
/// bounds. Two significant digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Rows measured.
    pub rows: u64,
    /// Half of the rows were not slower.
    pub p50_ms: Option<u64>,
    /// 99 of 100 rows were not slower.
    pub p99_ms: Option<u64>,
    /// The slowest row.
    pub max_ms: Option<u64>,
}

/// Counts since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Kinesis records read.
    pub records_read: u64,
    /// Bytes of GetRecords answers.
    pub bytes_read: u64,
    /// Rows that Snowflake accepted, those sent again included.
    pub rows_accepted: u64,
    /// Rows proved to be in the table.
    pub rows_committed: u64,
    /// Rows that the channel counted as errors.
    pub row_errors: u64,
    /// Records kept as dead letters, those kept again included.
    pub dead_letters: u64,
    /// Records dropped because the configuration says so.
    pub records_dropped: u64,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.records_read += other.records_read;
        self.bytes_read += other.bytes_read;
        self.rows_accepted += other.rows_accepted;
        self.rows_committed += other.rows_committed;
        self.row_errors += other.row_errors;
        self.dead_letters += other.dead_letters;
        self.records_dropped += other.records_dropped;
    }
}

/// One shard, as this worker knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShardState {
    /// The shard's id.
    pub shard: String,
    /// This worker's id while it holds the lease.
    pub owner: Option<String>,
    /// The number of the tenure, while it lasts.
    pub epoch: Option<u64>,
    /// The Snowpipe channel, once opened.
    pub channel: Option<String>,
    /// Read and committed to its end.
    pub finished: bool,
    /// How far reading is behind the tip of the shard at most: as of the last page, plus the page's age. `None` while
    /// the shard is not held, or nothing was read yet.
    pub lag_ms: Option<u64>,
    /// Records read each second, over the last ten seconds.
    pub records_per_second: f64,
    /// Bytes read each second, over the last ten seconds.
    pub bytes_per_second: f64,
    /// From arrival in Kinesis to the proof that the row is committed.
    #[serde(default)]
    pub latency: Latency,
    /// Counts.
    #[serde(flatten)]
    pub totals: Totals,
    /// The end of what Snowflake accepted on the open channel.
    pub accepted: Option<String>,
    /// The end of what is proved committed: sequence number, and where needed `/sub-sequence/document`.
    pub committed: Option<String>,
    /// The end of what the lease row remembers.
    pub checkpointed: Option<String>,
    /// Why it stands still, if it does.
    pub stall: Option<Stall>,
}

/// A shard that stands still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// Why.
    pub reason: StallReason,
    /// What happened, and the next step.
    pub error: String,
    /// Since when.
    pub since_ms: i64,
}

impl State {
    /// Why the process is not ready, one text for each reason; empty where it is: every connector runs, and no shard
    /// has been standing still for longer than [`READY_STALL_MS`].
    #[must_use]
    pub fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for connector in &self.connectors {
            let name = &connector.name;
            if connector.phase != Phase::Running {
                reasons.push(format!("connector {name} is {}", connector.phase.as_str()));
            }
            for shard in &connector.shards {
                let Some(stall) = &shard.stall else { continue };
                if self.now_ms.saturating_sub(stall.since_ms) > READY_STALL_MS {
                    reasons.push(format!(
                        "connector {name}: shard {} is stalled: {}",
                        shard.shard, stall.reason
                    ));
                }
            }
        }
        reasons
    }
}
