//! What stops a connector or a shard.

use std::time::Duration;

use frazil_model::{ErrorKind, Position, ShardId, StallReason};

use crate::dead_letters;
use crate::shape::iso8601;

/// A situation in which a connector, or one of its shards, does not move.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading.
    #[error(transparent)]
    Kinesis(#[from] frazil_kinesis::Error),
    /// Owning and remembering.
    #[error(transparent)]
    Lease(#[from] frazil_lease::Error),
    /// Writing.
    #[error(transparent)]
    Snowflake(#[from] frazil_snowflake::Error),
    /// Keeping what could not become a row.
    #[error(transparent)]
    DeadLetters(#[from] dead_letters::Error),
    /// The channel's counts contradict what was sent.
    #[error(
        "channel {channel} shows {found} rows and row errors where {expected} were sent, and stays so; rows are missing or \
         another program writes to this channel. Nothing was sent again. Compare the table with the stream from some \
         minutes before the checkpoint on, then run `frazil resume`"
    )]
    CountMismatch {
        /// The channel.
        channel: String,
        /// Rows sent.
        expected: i64,
        /// Rows and row errors that the channel counts.
        found: i64,
    },
    /// The channel counted row errors and the configuration says to stop at them.
    #[error(
        "the table refused {count} rows of shard {shard}{}; repair the table, or set `on_row_error: continue`, then run \
         `frazil resume`", last_message(.message)
    )]
    RowErrors {
        /// The shard.
        shard: ShardId,
        /// How many.
        count: i64,
        /// The channel's last error.
        message: Option<String>,
    },
    /// The table is not the one that the shard wrote to.
    #[error(
        "the table of shard {shard} was made anew (at {}), and the channel with it; what was committed{} was in the old table. \
         `frazil resume` goes on behind it; to read the stream again from the start, use another `application_name`",
        moment(.table_created_ms), behind(.committed)
    )]
    TableRecreated {
        /// The shard.
        shard: ShardId,
        /// When the table was made, in milliseconds since 1970 UTC.
        table_created_ms: i64,
        /// The end of what the old table held.
        committed: Option<Position>,
    },
    /// The shard stands stopped since an earlier run.
    #[error("shard {shard} was stopped ({mark}) and waits for `frazil resume`")]
    Stopped {
        /// The shard.
        shard: ShardId,
        /// The mark in its row.
        mark: String,
    },
    /// The lease row remembers another destination.
    #[error(
        "shard {shard} wrote to {before} until now, and is configured to write to {now}; if that is \
         another table, and meant, start with `--accept-destination`; if it is another pipe of the same table, or these are \
         routes, list the pipes of before in `destination.leaving_pipes`"
    )]
    DestinationChanged {
        /// The shard.
        shard: ShardId,
        /// What the row remembers.
        before: String,
        /// What is configured.
        now: String,
    },
    /// The pipes of a connector write to different tables.
    #[error(
        "the pipes of this connector write to different tables: {one} and {other}; take out of `destination.more_pipes` and \
         `destination.leaving_pipes` what is not of the same table"
    )]
    SeveralTables {
        /// A table.
        one: String,
        /// Another.
        other: String,
    },
    /// Accepted, and not committed for long.
    #[error(
        "channel {channel} accepted rows and committed none of them for {waited:?}; it will be opened again"
    )]
    NotCommitted {
        /// The channel.
        channel: String,
        /// For how long.
        waited: Duration,
    },
    /// The channel says that it must be opened again.
    #[error("channel {channel} must be opened again: {code} ({})", frazil_snowflake::Situation::of(.code))]
    MustReopen {
        /// The channel.
        channel: String,
        /// The channel's status code.
        code: String,
    },
    /// With `leases: none` somebody else writes to the connector's channels.
    #[error(
        "another writer opened channel {channel}, and with `leases: none` there must be only one; stop the other one, or use \
         `leases: dynamodb`"
    )]
    AnotherWriter {
        /// The channel.
        channel: String,
    },
    /// The lease is another worker's.
    #[error("the lease of shard {shard} is another worker's")]
    LeaseLost {
        /// The shard.
        shard: ShardId,
    },
    /// A payload becomes larger than what is left of the memory budget.
    #[error(
        "a payload of shard {shard} wants {bytes} bytes more to be decompressed, and the memory budget has not had them for \
         {waited:?}; the shard begins again. Raise `memory_budget` if this lasts"
    )]
    NoMemory {
        /// The shard.
        shard: ShardId,
        /// What is wanted.
        bytes: usize,
        /// For how long.
        waited: Duration,
    },
    /// A task of the shard ended by a panic.
    #[error("reading shard {shard} ended by a fault of this program")]
    ReaderDied {
        /// The shard.
        shard: ShardId,
    },
}

fn moment(ms: &i64) -> String {
    iso8601(*ms).map_or_else(
        || ms.to_string(),
        |text| String::from_utf8_lossy(&text).into_owned(),
    )
}

fn behind(position: &Option<Position>) -> String {
    position
        .as_ref()
        .map(|position| format!(" up to {position}"))
        .unwrap_or_default()
}

fn last_message(message: &Option<String>) -> String {
    message
        .as_ref()
        .map(|m| format!(" (last: {m})"))
        .unwrap_or_default()
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Kinesis(error) => error.kind(),
            Self::Lease(error) => error.kind(),
            Self::Snowflake(error) => error.kind(),
            Self::DeadLetters(error) => error.kind(),
            Self::CountMismatch { .. } => ErrorKind::Corrupt,
            Self::RowErrors { .. }
            | Self::Stopped { .. }
            | Self::TableRecreated { .. }
            | Self::SeveralTables { .. }
            | Self::DestinationChanged { .. } => ErrorKind::Invalid,
            Self::NotCommitted { .. } | Self::MustReopen { .. } | Self::NoMemory { .. } => ErrorKind::Retry,
            Self::LeaseLost { .. } | Self::AnotherWriter { .. } => ErrorKind::Fenced,
            Self::ReaderDied { .. } => ErrorKind::Internal,
        }
    }

    /// The crate it came from, as metrics name it.
    #[must_use]
    pub fn room(&self) -> &'static str {
        match self {
            Self::Kinesis(_) => "kinesis",
            Self::Lease(_) | Self::LeaseLost { .. } => "lease",
            Self::Snowflake(_) => "snowflake",
            _ => "pipeline",
        }
    }

    /// Whether another worker may do better: what stands in the shard's row or in the destination is the same for all.
    pub(crate) fn may_be_of_this_worker(&self) -> bool {
        match self {
            Self::CountMismatch { .. }
            | Self::RowErrors { .. }
            | Self::Stopped { .. }
            | Self::TableRecreated { .. }
            | Self::DestinationChanged { .. }
            | Self::SeveralTables { .. }
            | Self::AnotherWriter { .. }
            | Self::LeaseLost { .. } => false,
            Self::Kinesis(_)
            | Self::Lease(_)
            | Self::Snowflake(_)
            | Self::DeadLetters(_)
            | Self::NotCommitted { .. }
            | Self::MustReopen { .. }
            | Self::NoMemory { .. }
            | Self::ReaderDied { .. } => true,
        }
    }

    /// Why a shard stalls by it.
    #[must_use]
    pub fn stall_reason(&self) -> StallReason {
        match self {
            Self::Kinesis(error) if error.kind() == ErrorKind::SlowDown => StallReason::Throttled,
            Self::Kinesis(_) => StallReason::Source,
            Self::Lease(_) | Self::LeaseLost { .. } => StallReason::LeaseTable,
            Self::Snowflake(error) if error.kind() == ErrorKind::Corrupt => StallReason::Corrupt,
            Self::Snowflake(_) | Self::MustReopen { .. } => StallReason::Destination,
            Self::DeadLetters(_) => StallReason::DeadLetters,
            Self::CountMismatch { .. } | Self::ReaderDied { .. } => StallReason::Corrupt,
            Self::AnotherWriter { .. } => StallReason::ForeignOwner,
            Self::RowErrors { .. } | Self::Stopped { .. } => StallReason::RowError,
            Self::DestinationChanged { .. } | Self::TableRecreated { .. } | Self::SeveralTables { .. } => {
                StallReason::DestinationChanged
            }
            Self::NotCommitted { .. } => StallReason::NotCommitted,
            Self::NoMemory { .. } => StallReason::MemoryBudget,
        }
    }
}
