//! What can go wrong with leases, by situation.

use frazil_model::{ErrorKind, Position, ShardId};

/// A situation of the lease table or of a lease.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum Error {
    /// No answer came: whether a write took effect is not known.
    #[error("the lease table did not answer {call}: {detail}")]
    Unreachable {
        /// The DynamoDB action.
        call: &'static str,
        /// What the transport said.
        detail: String,
    },
    /// DynamoDB asks for less.
    #[error("DynamoDB throttles {call}: {detail}")]
    Throttled {
        /// The DynamoDB action.
        call: &'static str,
        /// What the service said.
        detail: String,
    },
    /// The credentials are not (or no longer) taken.
    #[error("DynamoDB does not take the credentials of {call}: {detail}")]
    Unauthorized {
        /// The DynamoDB action.
        call: &'static str,
        /// What the service said.
        detail: String,
    },
    /// A right is missing.
    #[error("the right dynamodb:{call} on table {table} is missing: {detail}")]
    AccessDenied {
        /// The DynamoDB action, as an IAM policy names it.
        call: &'static str,
        /// The table.
        table: String,
        /// What the service said.
        detail: String,
    },
    /// The table is not there (any more).
    #[error("the lease table {table} is missing; it is made again at the next start")]
    TableMissing {
        /// The table.
        table: String,
    },
    /// The table is being made, changed or deleted.
    #[error("the lease table {table} is not ready: its status is {status}")]
    TableNotReady {
        /// The table.
        table: String,
        /// Its status.
        status: String,
    },
    /// The table cannot be used before a person did something.
    #[error("the lease table {table} cannot be used, its status is {status}: {next}")]
    TableUnusable {
        /// The table.
        table: String,
        /// Its status.
        status: String,
        /// What to do.
        next: &'static str,
    },
    /// A table of this name has another layout.
    #[error(
        "table {table} has the key {found}, and a lease table has streamName (HASH, S), shardId (RANGE, S){hint}; choose another application_name"
    )]
    ForeignLayout {
        /// The table.
        table: String,
        /// Its key.
        found: String,
        /// Whose layout it is, where it is known.
        hint: &'static str,
    },
    /// A row cannot be read.
    #[error("the lease row {key} is damaged: {attribute} {detail}")]
    RowDamaged {
        /// The range key of the row.
        key: String,
        /// The attribute.
        attribute: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// Another program holds the shard, or is alive on the table.
    #[error("shard {shard}: {detail}; stop the other program, or give this one another application_name")]
    ForeignOwner {
        /// The shard.
        shard: ShardId,
        /// What was seen of the other program.
        detail: String,
    },
    /// The row belongs to another stream of the same name.
    #[error(
        "lease row {row}: the lease table remembers the stream {found}, and this is {expected}; give this connector another application_name"
    )]
    OtherStream {
        /// The range key of the row.
        row: String,
        /// The stream of the row: ARN and creation time.
        found: String,
        /// The stream of this connector.
        expected: String,
    },
    /// A checkpoint lies before the stored one.
    #[error("shard {shard}: the checkpoint {new} lies before the stored {stored}")]
    CheckpointRegressed {
        /// The shard.
        shard: ShardId,
        /// What the row remembers.
        stored: Position,
        /// What was to be written.
        new: Position,
    },
    /// The lease is not this worker's any more.
    #[error("the lease of shard {shard} is not this worker's any more")]
    LeaseLost {
        /// The shard.
        shard: ShardId,
    },
    /// DynamoDB refuses the request as such.
    #[error("DynamoDB refuses {call}: {detail}")]
    Rejected {
        /// The DynamoDB action.
        call: &'static str,
        /// What the service said.
        detail: String,
    },
    /// A takeover of another program's table cannot begin or go on before a person did something.
    #[error("takeover of table {table}: {detail}")]
    Takeover {
        /// The table it is about.
        table: String,
        /// What stands in the way, and what to do.
        detail: String,
    },
    /// The program whose table is to be taken over still works on it.
    #[error(
        "takeover of table {table}: the program that wrote it still runs: {detail}; stop all its workers and try again"
    )]
    SourceAlive {
        /// The table.
        table: String,
        /// What was seen to move.
        detail: String,
    },
    /// The state file of `leases: none` cannot be used.
    #[error("the lease state file {path}: {detail}")]
    StateFile {
        /// The file.
        path: String,
        /// What went wrong.
        detail: String,
        /// Whether it may pass, as a full disk does.
        may_heal: bool,
    },
    /// Somebody still works on the table, or needs it.
    #[error("{what} is refused: {detail}")]
    InUse {
        /// What was to be done.
        what: &'static str,
        /// Who is in the way.
        detail: String,
    },
    /// The options contradict each other.
    #[error("the lease options do not fit together: {detail}")]
    Options {
        /// Which.
        detail: &'static str,
    },
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable { .. }
            | Self::TableNotReady { .. }
            | Self::StateFile { may_heal: true, .. } => ErrorKind::Retry,
            Self::Throttled { .. } => ErrorKind::SlowDown,
            Self::Unauthorized { .. } => ErrorKind::ReAuthenticate,
            Self::AccessDenied { .. }
            | Self::TableMissing { .. }
            | Self::TableUnusable { .. }
            | Self::ForeignLayout { .. }
            | Self::ForeignOwner { .. }
            | Self::OtherStream { .. }
            | Self::Takeover { .. }
            | Self::SourceAlive { .. }
            | Self::StateFile { .. }
            | Self::InUse { .. }
            | Self::Options { .. } => ErrorKind::Invalid,
            Self::RowDamaged { .. } | Self::CheckpointRegressed { .. } => ErrorKind::Corrupt,
            Self::LeaseLost { .. } => ErrorKind::Fenced,
            Self::Rejected { .. } => ErrorKind::Internal,
        }
    }
}
