//! One shard's way, from the lease to the checkpoint.
//!
//! What it is: [`run`] carries one shard for as long as this worker holds its lease. It works in *sessions*: a session
//! opens the channel, finds out where to go on, and reads, shapes, appends, proves and remembers until something breaks.
//! Whatever breaks, the session ends, forgets everything it held, and the next one begins at the truth: the channel's
//! committed token and the lease row.
//!
//! What it guarantees: an error is met by what its kind says, in one place ([`run`]); a shard that stands still says why
//! ([`Event::ShardStalled`]) and gives its memory back; nothing is appended on a channel whose open was not followed by a
//! read of the lease row that shows our own epoch (I7).

mod expiry;
mod memory;
mod place;
mod rate;
mod reading;
mod session;
mod source;
mod suspicion;

use std::sync::Arc;
use std::time::Duration;

use frazil_kinesis::{ChildShard, FanOutConsumer, FanOutReader, HashKeyRange, ShardReader, StartAt};
use frazil_lease::{ChannelMark, LeaseCoordinator, Tenure};
use frazil_model::{ErrorKind, Event, Position, RetryPolicy, ShardId};
use frazil_snowflake::{ChannelParts, channel_name};
use tokio::sync::watch;

use crate::batch::Compressors;
use crate::error::Error;
use crate::options::{ConnectorOptions, Parts};
use crate::pipes::OpenPipes;
use crate::routes::Placement;
use crate::shard::expiry::Doubts;
use crate::shard::rate::Rate;
use crate::shard::reading::{IDLE_TOLD, Reading};
use crate::shard::source::Source;
use crate::shard::suspicion::{Finding, Suspicion};

/// Waits between sessions of a shard.
const SESSIONS: RetryPolicy = RetryPolicy {
    first: Duration::from_millis(500),
    cap: Duration::from_secs(30),
};
/// How often a shard that waits for a person looks whether it may go on.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// A shard that fails here for so long, without a step forward, is offered to another worker.
const OFFER_AFTER: Duration = Duration::from_secs(180);
/// A shard that fails for shorter is not yet told to stall.
const FAILURES_BEFORE_STALL: u32 = 3;

/// What is wanted of a shard's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Read on.
    Read,
    /// Stop reading, commit what is accepted, checkpoint, and end.
    Drain,
    /// End at once: the lease is another's.
    End,
}

/// How a shard's way ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Read and committed to its end; these are its children, if Kinesis named them.
    Finished(Vec<ChildShard>),
    /// Drained, or ended because it was asked to; the lease may be given back.
    Drained,
    /// The lease is another worker's.
    LeaseLost,
    /// It fails here; another worker may do better.
    Failing {
        /// Why, for people.
        reason: String,
    },
    /// Somebody else writes to its channel, where nobody may.
    AnotherWriter {
        /// The channel.
        channel: String,
    },
}

/// Everything one shard's way works with.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) options: Arc<ConnectorOptions>,
    pub(crate) parts: Parts,
    pub(crate) leases: LeaseCoordinator,
    pub(crate) pipes: Arc<OpenPipes>,
    pub(crate) compressors: Arc<Compressors>,
    pub(crate) stream: Arc<frazil_kinesis::StreamDescription>,
    /// What enhanced fan-out reads with; none: polling.
    pub(crate) consumer: Option<Arc<FanOutConsumer>>,
    pub(crate) shard: ShardId,
    /// The shard's slice of hash keys, if it is known.
    pub(crate) hash_range: Option<HashKeyRange>,
    /// Where it begins without any position.
    pub(crate) start: StartAt,
}

/// The answer to "may this worker read and append now?".
#[derive(Clone)]
pub(crate) struct MayAct {
    leases: LeaseCoordinator,
    clock: Arc<dyn frazil_model::Clock>,
}

impl Way {
    pub(crate) fn may_act(&self) -> MayAct {
        MayAct {
            leases: self.leases.clone(),
            clock: Arc::clone(&self.parts.clock),
        }
    }

    fn channel_name(&self, destination: &str, generation: u64) -> String {
        channel_name(&ChannelParts {
            application: &self.options.application,
            account: self.stream.account(),
            region: &self.options.region,
            stream: self.stream.name.as_str(),
            stream_created_ms: self.stream.created_ms,
            shard: self.shard.as_str(),
            destination,
            generation,
        })
    }

    fn reading(&self, start: StartAt, read_until_ms: Option<i64>) -> Reading {
        let parts = &self.parts;
        let (kinesis, clock, random) = (
            Arc::clone(&parts.kinesis),
            Arc::clone(&parts.clock),
            Arc::clone(&parts.random),
        );
        let (events, shard) = (parts.events.clone(), self.shard.clone());
        let (leases, weighed) = (self.leases.clone(), self.shard.clone());
        let tell = move |rate| leases.report_rate(&weighed, rate);
        let source = match &self.consumer {
            None => {
                let reader = ShardReader::new(kinesis, clock, random, events, shard, start);
                Source::Polling(Box::new(reader))
            }
            Some(consumer) => {
                let consumer = Arc::clone(consumer);
                let reader = FanOutReader::new(kinesis, consumer, clock, random, events, shard, start);
                Source::FanOut(Box::new(reader))
            }
        };
        let silent_ms = read_until_ms.map_or(0, |ms| parts.clock.wall_ms().saturating_sub(ms));
        let silent = Duration::from_millis(u64::try_from(silent_ms).unwrap_or(0));
        Reading {
            shard: self.shard.clone(),
            idle_due: parts.clock.now() + IDLE_TOLD.saturating_sub(silent),
            source,
            budget: parts.budget.clone(),
            clock: Arc::clone(&parts.clock),
            events: parts.events.clone(),
            may_act: self.may_act(),
            rate: Rate::begin(tell, parts.clock.now()),
        }
    }

    fn tell_opened(&self, channel: &str, committed: Option<&Position>, again: bool) {
        self.parts.events.emit(Event::ChannelOpened {
            shard: self.shard.clone(),
            channel: channel.to_owned(),
            committed: committed.cloned(),
            again,
        });
    }

    fn tell_pipe_left(&self, from: &Placement, to: &Placement) {
        self.parts.events.emit(Event::PipeLeft {
            shard: self.shard.clone(),
            from: from.to_string(),
            to: to.to_string(),
        });
    }

    fn tell_suspects(&self, among: u64, error: &Error) {
        self.parts.events.emit(Event::RowsSuspected {
            shard: self.shard.clone(),
            rows: among,
            error: error.to_string(),
        });
    }

    fn tell_gone(&self, channel: &str, from: Option<&Position>) {
        let (events, shard) = (&self.parts.events, self.shard.clone());
        let behind = from.map_or_else(|| self.start.to_string(), |p| format!("behind {p}"));
        let detail = format!(
            "channel {channel} is new though it was written to before; rows {behind} may be there twice"
        );
        events.emit(Event::ChannelGone {
            shard: shard.clone(),
            channel: channel.to_owned(),
            from: from.cloned(),
        });
        events.emit(Event::MayRepeat { shard, detail });
    }
}

impl MayAct {
    /// Returns once the lease table was seen recently enough.
    pub(crate) async fn wait(&self) {
        while !self.leases.may_act() {
            self.clock.sleep(Duration::from_millis(100)).await;
        }
    }
}

/// How a shard fares on this worker: what outlives a session.
#[derive(Debug, Default)]
struct Course {
    /// The channels that were opened last, one for each name.
    opened: Vec<ChannelMark>,
    /// A span was committed in this session.
    moved: bool,
    /// It was told that the shard stands still.
    stalled: bool,
    /// The end of the last span that was proved in this tenure.
    proved: Option<Position>,
    doubts: Doubts,
    suspicion: Suspicion,
}

impl Course {
    /// The channel of this name and pipe as it was opened last.
    fn opened_before(&self, mark: &ChannelMark) -> Option<&ChannelMark> {
        let is = |opened: &&ChannelMark| opened.name == mark.name && opened.pipe == mark.pipe;
        self.opened.iter().find(is)
    }

    /// This channel is opened.
    fn opens(&mut self, mark: ChannelMark) {
        self.opened.retain(|opened| opened.name != mark.name);
        self.opened.push(mark);
    }
}

/// Carries the shard until its end, a drain, or the loss of its lease.
pub(crate) async fn run(way: Way, tenure: Tenure, mut wanted: watch::Receiver<Wanted>) -> Ended {
    let mut backoff = SESSIONS.start();
    let mut failing_since = None;
    let mut course = Course::default();
    loop {
        course.moved = false;
        let error = match session::run(&way, &tenure, &mut wanted, &mut course).await {
            Ok(ended) => return ended,
            Err(error) => error,
        };
        if course.moved {
            backoff.reset();
            failing_since = None;
        }
        if matches!(error, Error::LeaseLost { .. }) {
            return Ended::LeaseLost;
        }
        course.doubts.meet(&error);
        if let (true, Error::Snowflake(frazil_snowflake::Error::AnotherWriter { channel })) =
            (way.options.sole_writer, &error)
        {
            let channel = channel.clone();
            return Ended::AnotherWriter { channel };
        }
        let now = way.parts.clock.now();
        let finding = course.suspicion.meet(&error, now);
        if let Finding::LookOn { among } = finding {
            way.tell_suspects(among, &error);
            let wait = SESSIONS.start().next_wait(&*way.parts.random);
            if let Some(ended) = pause(&way, &mut wanted, wait).await {
                return ended;
            }
            continue;
        }
        tell(&way, &error, backoff.failures() + 1, &mut course.stalled);
        let since = *failing_since.get_or_insert(now);
        if finding == Finding::Nothing && now.since(since) >= OFFER_AFTER && error.may_be_of_this_worker() {
            let reason = error.to_string();
            return Ended::Failing { reason };
        }
        let wait = match error.kind() {
            _ if finding == Finding::Wait => backoff.next_wait(&*way.parts.random),
            ErrorKind::Retry | ErrorKind::SlowDown | ErrorKind::ReAuthenticate | ErrorKind::Fenced => {
                backoff.next_wait(&*way.parts.random)
            }
            ErrorKind::Invalid | ErrorKind::Corrupt | ErrorKind::Internal => {
                let _ = backoff.next_wait(&*way.parts.random);
                LOOK_AGAIN
            }
        };
        if let Some(ended) = pause(&way, &mut wanted, wait).await {
            return ended;
        }
    }
}

/// Returns once this is wanted, or nobody is left to want anything.
async fn until(wanted: &mut watch::Receiver<Wanted>, what: Wanted) {
    drop(wanted.wait_for(|now| *now == what).await);
}

/// Waits; answers how it ended if something else is wanted meanwhile. Between sessions nothing is held, so a drain is
/// done at once.
async fn pause(way: &Way, wanted: &mut watch::Receiver<Wanted>, wait: Duration) -> Option<Ended> {
    let mut ending = wanted.clone();
    tokio::select! {
        () = way.parts.clock.sleep(wait) => None,
        () = until(&mut ending, Wanted::End) => Some(Ended::LeaseLost),
        () = until(wanted, Wanted::Drain) => Some(Ended::Drained),
    }
}

fn tell(way: &Way, error: &Error, failures: u32, stalled: &mut bool) {
    let shard = way.shard.clone();
    let text = error.to_string();
    way.parts.events.emit(Event::CallFailed {
        shard: Some(shard.clone()),
        room: error.room(),
        call: "session",
        kind: error.kind(),
        error: text.clone(),
        failures,
    });
    let lasting = !error.kind().may_heal() && error.kind() != ErrorKind::Fenced;
    if !*stalled && (lasting || failures >= FAILURES_BEFORE_STALL) {
        *stalled = true;
        way.parts.events.emit(Event::ShardStalled {
            shard,
            reason: error.stall_reason(),
            error: text,
        });
    }
}
