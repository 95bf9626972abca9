//! Takeover of another program's checkpoint table.
//!
//! What it is: [`Migration`] reads the table of the Kinesis Client Library (1.x, 2.x, 3.x; of one stream or of several) or of
//! Redpanda Connect, tells what it would do of it ([`Migration::plan`]), and does it ([`Migration::carry_out`]). A table of
//! Openflow's has our layout already: there is nothing to do.
//!
//! How it works: rows are copied into a table that is not the source, read back and compared one by one, and the source is read
//! again and must not have changed; only then does a marker row say `COPIED`. Under another application name that table is the
//! new application's, and the source stays. Under the same name it is `<application>_migration`: then the source is deleted,
//! made again in our layout, filled from there, compared again, and `<application>_migration` deleted. The pin is written last:
//! a lease table without it is not complete, and a coordinator refuses to start on it.
//!
//! What it guarantees:
//! - nothing is deleted before its copy is proved, nor while the source's program moves: the source is watched for
//!   [`MigrateOptions::watch`] on this machine's monotonic clock;
//! - it may end at any moment and be started again, by anybody: what it does next follows from the tables alone, and a copy
//!   without its `COPIED` is made anew;
//! - of several that run at once, one works; the others wait, and take over if its marker stood still for
//!   [`MigrateOptions::stale`] on their clocks. Rows carry the number of the attempt, so that a late write of an earlier one
//!   changes nothing.
//!
//! What it does not: it cannot tell that the source's program runs while it holds no lease. It deletes no side tables
//! (`<application>-WorkerMetricStats`, `<application>-CoordinatorState`). What the library processed without a checkpoint is
//! delivered again; so are the further JSON documents of the user record at the checkpoint, if it holds several.

pub(crate) use carry::is_marked;

mod carry;
mod marker;
mod plan;
mod source;
mod standing;
mod tables;

use std::sync::Arc;
use std::time::Duration;

use frazil_model::{Clock, Position, Random, ShardId, StreamName, WorkerId};

use crate::admin::{Layout, TableAdmin};
use crate::error::Error;
use crate::state::{Pin, PinnedStart, ShardStart, StreamIdentity};

/// A shard as `ListShards` of the Kinesis API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedShard {
    /// The shard.
    pub id: ShardId,
    /// Its parents: none, one after a split, two after a merge. Those that the stream has forgotten may be among them.
    pub parents: Vec<ShardId>,
    /// It takes no records any more.
    pub closed: bool,
}

/// What a takeover is told.
#[derive(Debug, Clone)]
pub struct MigrateOptions {
    /// The other program's table.
    pub source: String,
    /// The application that goes on: the lease table's name. The same as `source` replaces that table.
    pub application: String,
    /// The stream's name.
    pub stream_name: StreamName,
    /// Which stream of this name it is.
    pub stream: StreamIdentity,
    /// All shards of a complete `ListShards`.
    pub listed: Vec<ListedShard>,
    /// The configured initial position.
    pub start: PinnedStart,
    /// This run: drawn anew at each start.
    pub worker: WorkerId,
    /// What the wall clock shows, in milliseconds since 1970 UTC: where shards begin that were at `LATEST`, unread.
    pub now_ms: i64,
    /// For how long the source must stand still (default 60 s; the library renews a lease every third of its failover time,
    /// which is 10 s unless configured).
    pub watch: Duration,
    /// Another run whose marker stood still for this long is dead (default 60 s).
    pub stale: Duration,
    /// How long a table may take to be made or deleted, and a new one to be known everywhere (default 180 s).
    pub patience: Duration,
}

impl MigrateOptions {
    /// Options with the documented defaults, under the same name.
    #[must_use]
    pub fn new(
        application: &str,
        stream_name: StreamName,
        stream: StreamIdentity,
        start: PinnedStart,
        worker: WorkerId,
        now_ms: i64,
    ) -> Self {
        Self {
            source: application.to_owned(),
            application: application.to_owned(),
            stream_name,
            stream,
            listed: Vec::new(),
            start,
            worker,
            now_ms,
            watch: Duration::from_secs(60),
            stale: Duration::from_secs(60),
            patience: Duration::from_secs(180),
        }
    }
}

/// Where a shard is to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// After this position; where it is not the last of its record, inside that record.
    After(Position),
    /// Nowhere: it was read to its end.
    Ended,
    /// At its first record from there on.
    At(ShardStart),
    /// Where the configuration says; no row is written.
    AsConfigured,
}

/// What is planned for a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedShard {
    /// The shard.
    pub shard: ShardId,
    /// Where it begins.
    pub begin: Begin,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// What a takeover would write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Whose table it is.
    pub source: Layout,
    /// The shards, by id.
    pub shards: Vec<PlannedShard>,
    /// Rows of other streams.
    pub rows_left_out: u64,
    /// The pin: which shards begin where the configuration says. All that are neither in it nor above begin at their oldest
    /// record.
    pub pin: Pin,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// What a dry run found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prospect {
    /// The lease table has our layout and is complete.
    NothingToDo,
    /// An earlier takeover was not finished; [`Migration::carry_out`] finishes it.
    Unfinished,
    /// This would be written.
    Takeover(Box<Plan>),
}

/// How a takeover ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// There was nothing to do, or another run did it.
    NothingToDo,
    /// The lease table is complete.
    Done {
        /// What a person should know, such as a table that is left over.
        notes: Vec<String>,
    },
}

/// A takeover. See the module's page.
#[derive(Debug, Clone)]
pub struct Migration {
    store: Arc<dyn TableAdmin>,
    options: MigrateOptions,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Migration {
    /// Nothing happens yet.
    #[must_use]
    pub fn new(
        store: Arc<dyn TableAdmin>,
        options: MigrateOptions,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self {
            store,
            options,
            clock,
            random,
        }
    }

    fn in_place(&self) -> bool {
        self.options.source == self.options.application
    }

    /// The table that the copy is made in.
    fn work_table(&self) -> String {
        if self.in_place() {
            migration_table(&self.options.application)
        } else {
            self.options.application.clone()
        }
    }

    fn refuse(&self, detail: impl Into<String>) -> Error {
        Error::Takeover {
            table: self.options.source.clone(),
            detail: detail.into(),
        }
    }
}

/// The table in which a takeover under the same name keeps its copy, as Openflow's takeover calls it.
#[must_use]
pub fn migration_table(application: &str) -> String {
    format!("{application}_migration")
}

#[cfg(test)]
mod tests;
