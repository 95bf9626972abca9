//! What is worth telling, as types.
//!
//! One [`Event`] makes the log line, moves the metrics and feeds the console: call sites [`Events::emit`] it and do
//! nothing else. The log line is written here; whoever wants more registers an [`Observer`] (metrics, the state behind
//! `/api/v1/state`) or subscribes (tests, the console).
//!
//! What it guarantees: no event carries row data, tokens that give rights, or keys. Emitting never waits: a slow
//! subscriber misses events and is told how many.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use crate::error::ErrorKind;
use crate::ids::ShardId;
use crate::position::Position;

/// How many events a subscriber may lag behind.
const BACKLOG: usize = 4096;

/// Why a shard does not move. The text form is what `status`, the console and metrics show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StallReason {
    /// Kinesis cannot be reached or refuses.
    Source,
    /// Kinesis throttles this shard.
    Throttled,
    /// Snowflake cannot be reached or refuses.
    Destination,
    /// Snowflake has accepted, and commits nothing.
    NotCommitted,
    /// The dead-letter sink does not take a letter.
    DeadLetters,
    /// The memory budget is used up.
    MemoryBudget,
    /// The lease table cannot be reached or refuses.
    LeaseTable,
    /// A row error with `on_row_error: stop`.
    RowError,
    /// A fact contradicts an invariant; see the error beside it.
    Corrupt,
    /// The destination table or pipe is not the one this shard wrote to before.
    DestinationChanged,
    /// Another program holds this shard, outside of the rules of the lease table.
    ForeignOwner,
    /// The configuration or a right must change first.
    Invalid,
}

impl StallReason {
    /// The reason as `status` shows it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Throttled => "throttled",
            Self::Destination => "destination",
            Self::NotCommitted => "not_committed",
            Self::DeadLetters => "dead_letters",
            Self::MemoryBudget => "memory_budget",
            Self::LeaseTable => "lease_table",
            Self::RowError => "row_error",
            Self::Corrupt => "corrupt",
            Self::DestinationChanged => "destination_changed",
            Self::ForeignOwner => "foreign_owner",
            Self::Invalid => "invalid",
        }
    }
}

impl fmt::Display for StallReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that happened. Counts are of this event alone, not totals.
#[derive(Debug, Clone)]
pub enum Event {
    /// The connector began: its worker id.
    ConnectorStarted {
        /// The worker.
        worker: crate::ids::WorkerId,
    },
    /// The connector ended, by request or by an error told beside it.
    ConnectorStopped,
    /// This worker took a shard's lease.
    LeaseTaken {
        /// The shard.
        shard: ShardId,
        /// The number of this tenure.
        epoch: u64,
    },
    /// The lease is another's now.
    LeaseLost {
        /// The shard.
        shard: ShardId,
        /// The number of the tenure that ended.
        epoch: u64,
    },
    /// This worker gave the lease back.
    LeaseReleased {
        /// The shard.
        shard: ShardId,
    },
    /// The shard's channel answered an open.
    ChannelOpened {
        /// The shard.
        shard: ShardId,
        /// The channel.
        channel: String,
        /// The committed token it came with; where the shard has several channels, what all of them have.
        committed: Option<Position>,
        /// Whether this worker had it open before.
        again: bool,
    },
    /// A channel that had to exist is new, or has lost its token.
    ChannelGone {
        /// The shard.
        shard: ShardId,
        /// The channel.
        channel: String,
        /// After here reading goes on.
        from: Option<Position>,
    },
    /// The shard goes to another pipe, or under other routes; where it wrote before nothing is outstanding.
    PipeLeft {
        /// The shard.
        shard: ShardId,
        /// The pipe, or the routes, before.
        from: String,
        /// The pipe, or the routes, from now on.
        to: String,
    },
    /// Reading begins.
    ShardStarted {
        /// The shard.
        shard: ShardId,
        /// Where, in words.
        from: String,
    },
    /// A page came from Kinesis.
    PageRead {
        /// The shard.
        shard: ShardId,
        /// Kinesis records.
        records: u64,
        /// Bytes of the answer.
        bytes: u64,
        /// How far behind the tip of the shard it was.
        behind: Duration,
    },
    /// Records became no row and are kept elsewhere.
    DeadLettersKept {
        /// The shard.
        shard: ShardId,
        /// How many.
        count: u64,
        /// Why, from a fixed list.
        reason: &'static str,
    },
    /// Records were dropped and counted, because the configuration says so.
    RecordsDropped {
        /// The shard.
        shard: ShardId,
        /// How many.
        count: u64,
        /// Why, from a fixed list.
        reason: &'static str,
    },
    /// Records had a field of the metadata key's name; ours took its place.
    MetadataReplaced {
        /// The shard.
        shard: ShardId,
        /// How many.
        count: u64,
    },
    /// User records of aggregates lie outside of the shard's hash keys; they became rows all the same, and may be there
    /// twice if their producer sent them again.
    OutOfHashRange {
        /// The shard.
        shard: ShardId,
        /// How many.
        count: u64,
    },
    /// No open shard takes these hash keys, in several complete lists: a shard is missing, and nobody reads it.
    HashKeysUnread {
        /// The first.
        first: u128,
        /// The last.
        last: u128,
    },
    /// Records begin as aggregates of the Kinesis Producer Library and are none; they were taken as plain ones.
    BrokenAggregates {
        /// The shard.
        shard: ShardId,
        /// How many.
        count: u64,
        /// What is wrong with them, from a fixed list.
        reason: &'static str,
    },
    /// Snowflake answered 200 to a batch.
    BatchAccepted {
        /// The shard.
        shard: ShardId,
        /// Rows.
        rows: u64,
        /// Bytes of NDJSON.
        bytes: u64,
        /// Bytes on the wire.
        wire_bytes: u64,
        /// How long the append took.
        took: Duration,
        /// The last position that the batch settles.
        up_to: Position,
    },
    /// A span was proved committed.
    SpanCommitted {
        /// The shard.
        shard: ShardId,
        /// Rows of the span that are in the table.
        rows: u64,
        /// Rows of the span that the channel counted as errors.
        row_errors: u64,
        /// The end of the shard's committed span; none, where rows of another table before all of these are not proved yet.
        up_to: Option<Position>,
        /// From the arrival of the span's oldest record in Kinesis to the proof.
        latency: Option<Duration>,
    },
    /// The lease row remembers.
    Checkpointed {
        /// The shard.
        shard: ShardId,
        /// Up to here.
        up_to: Option<Position>,
        /// The shard was read and committed to its end.
        ended: bool,
    },
    /// A call failed and will be tried again.
    CallFailed {
        /// The shard, if it was for one.
        shard: Option<ShardId>,
        /// The room: `kinesis`, `lease`, `snowflake`, ...
        room: &'static str,
        /// What was called.
        call: &'static str,
        /// What kind of error it was.
        kind: ErrorKind,
        /// The error's text.
        error: String,
        /// How many times in a row.
        failures: u32,
    },
    /// Snowflake fails on rows of these, and they are looked through for the one that makes it fail.
    RowsSuspected {
        /// The shard.
        shard: ShardId,
        /// Among so many rows.
        rows: u64,
        /// How it failed.
        error: String,
    },
    /// A shard stands still.
    ShardStalled {
        /// The shard.
        shard: ShardId,
        /// Why.
        reason: StallReason,
        /// The error's text: what happened and the next step.
        error: String,
    },
    /// A shard that stood still moves again.
    ShardMoves {
        /// The shard.
        shard: ShardId,
    },
    /// A shard was read and committed to its end.
    ShardFinished {
        /// The shard.
        shard: ShardId,
    },
    /// Data left Kinesis unread.
    DataExpired {
        /// The shard.
        shard: ShardId,
        /// What is known about it.
        detail: String,
    },
    /// Rows may stand in the table twice: from after this position on.
    MayRepeat {
        /// The shard.
        shard: ShardId,
        /// Why.
        detail: String,
    },
}

/// Sees each event as it happens. It must not wait.
pub trait Observer: Send + Sync {
    /// Takes note.
    fn observe(&self, connector: &str, event: &Event);
}

/// Where events go, for one connector.
#[derive(Clone)]
pub struct Events {
    connector: Arc<str>,
    observers: Arc<[Arc<dyn Observer>]>,
    subscribers: broadcast::Sender<Arc<Event>>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("connector", &self.connector)
            .finish_non_exhaustive()
    }
}

impl Events {
    /// Events of the connector of this name.
    #[must_use]
    pub fn new(connector: &str, observers: Vec<Arc<dyn Observer>>) -> Self {
        let (subscribers, _) = broadcast::channel(BACKLOG);
        Self {
            connector: connector.into(),
            observers: observers.into(),
            subscribers,
        }
    }

    /// The connector's name.
    #[must_use]
    pub fn connector(&self) -> &str {
        &self.connector
    }

    /// Logs the event, shows it to the observers, and passes it to the subscribers.
    pub fn emit(&self, event: Event) {
        self.log(&event);
        for observer in self.observers.iter() {
            observer.observe(&self.connector, &event);
        }
        if self.subscribers.receiver_count() > 0 {
            // It fails only when the last subscriber has just left.
            drop(self.subscribers.send(Arc::new(event)));
        }
    }

    /// The events from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.subscribers.subscribe()
    }

    fn log(&self, event: &Event) {
        let connector = &*self.connector;
        match event {
            Event::ConnectorStarted { worker } => tracing::info!(connector, %worker, "connector started"),
            Event::ConnectorStopped => tracing::info!(connector, "connector stopped"),
            Event::LeaseTaken { shard, epoch } => tracing::info!(connector, %shard, epoch, "lease taken"),
            Event::LeaseLost { shard, epoch } => tracing::info!(connector, %shard, epoch, "lease lost"),
            Event::LeaseReleased { shard } => tracing::info!(connector, %shard, "lease released"),
            Event::ChannelOpened {
                shard,
                channel,
                committed,
                again,
            } => {
                let committed = committed.as_ref().map(tracing::field::display);
                tracing::info!(connector, %shard, %channel, committed, again, "channel opened");
            }
            Event::ChannelGone { shard, channel, from } => {
                let from = from.as_ref().map(tracing::field::display);
                tracing::warn!(connector, %shard, %channel, from, "channel had to exist and is gone");
            }
            Event::PipeLeft { shard, from, to } => {
                tracing::info!(connector, %shard, %from, %to, "pipe left for another");
            }
            Event::ShardStarted { shard, from } => {
                tracing::info!(connector, %shard, %from, "reading started")
            }
            Event::ShardFinished { shard } => tracing::info!(connector, %shard, "shard finished"),
            Event::ShardStalled { shard, reason, error } => {
                tracing::warn!(connector, %shard, %reason, %error, "shard stalled");
            }
            Event::RowsSuspected { shard, rows, error } => {
                tracing::warn!(connector, %shard, rows, %error, "channel failed on rows");
            }
            Event::ShardMoves { shard } => tracing::info!(connector, %shard, "shard moves again"),
            Event::DeadLettersKept { shard, count, reason } => {
                tracing::warn!(connector, %shard, count, reason, "dead letters kept");
            }
            Event::BrokenAggregates { shard, count, reason } => {
                tracing::warn!(connector, %shard, count, reason, "broken aggregates taken as plain records");
            }
            Event::DataExpired { shard, detail } => {
                tracing::error!(connector, %shard, %detail, "data expired unread");
            }
            Event::HashKeysUnread { first, last } => {
                tracing::error!(connector, first, last, "no open shard takes these hash keys");
            }
            Event::MayRepeat { shard, detail } => {
                tracing::warn!(connector, %shard, %detail, "rows may repeat");
            }
            // The first failure of a series is news; the rest would only repeat it.
            Event::CallFailed {
                shard,
                room,
                call,
                kind,
                error,
                failures: 1,
            } => {
                let shard = shard.as_ref().map(tracing::field::display);
                tracing::warn!(connector, shard, room, call, kind = kind.as_str(), %error, "call failed");
            }
            Event::SpanCommitted {
                shard,
                rows,
                row_errors,
                ..
            } if *row_errors > 0 => {
                tracing::warn!(connector, %shard, rows, row_errors, "row errors counted by the channel");
            }
            quiet => tracing::debug!(connector, event = ?quiet, "event"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Seen(Mutex<Vec<String>>);

    impl Observer for Seen {
        fn observe(&self, connector: &str, event: &Event) {
            self.0
                .lock()
                .expect("no panic inside")
                .push(format!("{connector}: {event:?}"));
        }
    }

    #[tokio::test]
    async fn an_event_reaches_observers_and_subscribers() {
        let seen = Arc::new(Seen::default());
        let events = Events::new("clicks", vec![seen.clone()]);
        let mut subscribed = events.subscribe();
        events.emit(Event::ConnectorStopped);
        assert!(matches!(
            *subscribed.recv().await.expect("sent"),
            Event::ConnectorStopped
        ));
        assert_eq!(
            *seen.0.lock().expect("no panic inside"),
            ["clicks: ConnectorStopped"]
        );
    }
}
