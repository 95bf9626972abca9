//! One session of a shard: from the open of its channel to whatever ends it.

use std::sync::Arc;
use std::time::Duration;

use frazil_kinesis::{ChildShard, RecordPage, ShardReader, StartAt};
use frazil_lease::{ChannelMark, ShardState, Tenure};
use frazil_model::{Event, Instant, Position, SequenceNumber};
use frazil_snowflake::{Channel, ChannelStatus, Proof};
use tokio::sync::watch;

use crate::batch::{BatchBuilder, Filled, Finished};
use crate::budget::Reservation;
use crate::dead_letters::DeadLetter;
use crate::error::Error;
use crate::options::OnRowError;
use crate::shape::Shaper;
use crate::shard::progress::Progress;
use crate::shard::reading::{Pages, Read, Reading};
use crate::shard::{Ended, MayAct, Wanted, Way};

/// Pages are gathered into one batch while they are there and it holds less than this.
const ENOUGH_RAW: usize = 2 * 1024 * 1024;

/// Runs a session to its end, a drain, or an error. `moved` tells whether it did any good.
pub(super) async fn run(
    way: &Way,
    tenure: &Tenure,
    wanted: &mut watch::Receiver<Wanted>,
    moved: &mut bool,
    stalled: &mut bool,
) -> Result<Ended, Error> {
    let mut ending = wanted.clone();
    tokio::select! {
        _ = ending.wait_for(|w| *w == Wanted::End) => Ok(Ended::LeaseLost),
        ended = async {
            match Session::open(way, tenure, stalled).await? {
                Opened::Ended => Ok(Ended::Finished(Vec::new())),
                Opened::Session(mut session) => session.work(wanted, moved).await,
            }
        } => ended,
    }
}

enum Opened<'a> {
    /// The row says that the shard has ended.
    Ended,
    Session(Box<Session<'a>>),
}

struct Session<'a> {
    way: &'a Way,
    tenure: &'a Tenure,
    channel: Channel,
    status: watch::Receiver<Option<ChannelStatus>>,
    pages: Pages,
    shaper: Shaper,
    builder: BatchBuilder,
    letters: Vec<DeadLetter>,
    /// What the rows under construction and in flight hold.
    memory: Vec<Reservation>,
    /// What is at or before this is settled already.
    after: Option<Position>,
    progress: Progress,
    /// The shard is closed and read to its end; its children.
    read_to_end: Option<Vec<ChildShard>>,
    stalled: &'a mut bool,
    checkpoint_due: Instant,
    commit_due: Instant,
}

/// The row of the shard, if it is still ours.
async fn own_row(way: &Way, tenure: &Tenure) -> Result<ShardState, Error> {
    let state = way.leases.read(&way.shard).await?;
    if state.epoch == tenure.epoch && state.owner.as_ref() == Some(way.leases.worker()) {
        return Ok(state);
    }
    Err(Error::LeaseLost { shard: way.shard.clone() })
}

/// Where to go on after a position.
fn start_after(position: &Position) -> StartAt {
    let sequence: SequenceNumber = position.sequence.clone();
    if position.last { StartAt::After(sequence) } else { StartAt::At(sequence) }
}

impl<'a> Session<'a> {
    async fn open(way: &'a Way, tenure: &'a Tenure, stalled: &'a mut bool) -> Result<Opened<'a>, Error> {
        let row = own_row(way, tenure).await?;
        if row.ended {
            return Ok(Opened::Ended);
        }
        refuse_stopped(way, &row)?;
        let name = way.channel_name(tenure.generation);
        let parts = &way.parts;
        let (mut channel, opened) = Channel::open(
            Arc::clone(&parts.snowpipe),
            &name,
            Arc::clone(&parts.clock),
            Arc::clone(&parts.random),
            parts.events.clone(),
            way.shard.clone(),
        )
        .await?;
        // I7: only a read after the open proves that nobody took the shard in between.
        let row = own_row(way, tenure).await?;
        let committed = opened.committed.as_ref().map(|token| token.position());
        let after = committed.clone().max(row.position.clone());
        let gone = channel_is_gone(&row, &name, &opened.status, committed.as_ref());
        let baseline = (!gone && committed == row.position).then_some(row.counters);
        channel.set_baseline(baseline);
        let start = after.as_ref().map_or_else(|| way.start.clone(), start_after);
        parts.events.emit(Event::ShardStarted { shard: way.shard.clone(), from: describe(&start) });
        if gone {
            way.tell_gone(&name, after.as_ref());
        }
        let mark = ChannelMark {
            name: name.clone(),
            pipe: way.options.destination.clone(),
            created_on_ms: opened.status.created_on_ms,
        };
        let now = parts.clock.now();
        let status = way.statuses.watch(&name);
        let session = Self {
            pages: Pages::start(way.reading(start)),
            shaper: Shaper::new(&way.stream.name, &way.shard, &way.options.metadata),
            builder: BatchBuilder::default(),
            letters: Vec::new(),
            memory: Vec::new(),
            progress: Progress::new(after.clone(), row.position.clone(), mark, channel.counters()),
            after,
            read_to_end: None,
            checkpoint_due: now + way.options.checkpoint_interval,
            commit_due: now + way.options.commit_timeout,
            way,
            tenure,
            channel,
            status,
            stalled,
        };
        let mut session = Box::new(session);
        session.meet_earlier_row_errors(&row, &opened.status).await?;
        Ok(Opened::Session(session))
    }
}
