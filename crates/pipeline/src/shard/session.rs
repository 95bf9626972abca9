//! One session of a shard: from the open of its channel to whatever ends it.

mod gather;
mod remember;
mod stop;

use std::sync::Arc;
use std::time::Duration;

use frazil_kinesis::{ChildShard, StartAt};
use frazil_lease::{ChannelMark, Tenure};
use frazil_model::{Event, Instant, Position};
use frazil_snowflake::{Baseline, Batch, Channel, ChannelStatus, Counts, Proof, StatusWatch};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::batch::BatchBuilder;
use crate::dead_letters::DeadLetter;
use crate::error::Error;
use crate::options::OnRowError;
use crate::pipes::{Pipe, Placed};
use crate::shape::Shaper;
use crate::shard::memory::Held;
use crate::shard::place::{
    beginning, is_gone, own_row, placed, proved_baseline, refuse_stopped, shaping, start_behind, take_place,
    uncommitted,
};
use crate::shard::reading::Pages;
use crate::shard::{Course, Ended, Wanted, Way, until};
use remember::{Remembered, remembered};

/// Runs a session to its end, a drain, or an error; the course is told what good it did.
pub(super) async fn run(
    way: &Way,
    tenure: &Tenure,
    wanted: &mut watch::Receiver<Wanted>,
    course: &mut Course,
) -> Result<Ended, Error> {
    let mut ending = wanted.clone();
    let session = async {
        loop {
            let Some(mut session) = Session::open(way, tenure, &mut *course).await? else {
                return Ok(Ended::Finished(Vec::new()));
            };
            match session.placed.next.take() {
                None => return session.work(wanted).await,
                Some(next) => session.leave(next).await?,
            }
        }
    };
    tokio::select! {
        biased;
        () = until(&mut ending, Wanted::End) => Ok(Ended::LeaseLost),
        ended = session => ended,
    }
}

/// What the lease row remembers of a channel.
fn mark_of(pipe: &Pipe, channel: &Channel) -> ChannelMark {
    ChannelMark {
        name: channel.name().to_owned(),
        pipe: pipe.destination.clone(),
        created_on_ms: channel.created_on_ms(),
    }
}

struct Session<'a> {
    way: &'a Way,
    tenure: &'a Tenure,
    placed: Placed,
    channel: Channel,
    status: StatusWatch,
    pages: Pages,
    shaper: Shaper,
    builder: BatchBuilder,
    letters: Vec<DeadLetter>,
    /// What pages and rows of the batch under construction hold.
    memory: Held,
    /// The end of what was committed when the session began: nothing up to here is sent again.
    after: Option<Position>,
    /// The end of the committed span.
    committed: Option<Position>,
    /// Dead letters and skipped records behind the last accepted row; committed once nothing is outstanding.
    settled: Option<Position>,
    /// What the lease row remembers.
    checkpointed: Option<Position>,
    /// What arrived up to this moment is settled by the committed span.
    read_until_ms: Option<i64>,
    /// That it was idle is to be remembered.
    was_idle: bool,
    /// What was read ahead was let go of, and is to be read again.
    let_go_ahead: bool,
    mark: ChannelMark,
    on_row_error: OnRowError,
    /// Where the shard begins without any position.
    beginning: StartAt,
    /// The shard is closed and was read to its end.
    read_to_end: Option<Vec<ChildShard>>,
    checkpoint_due: Instant,
    /// A checkpoint on its way to the lease table, which data does not wait for.
    remembering: Option<JoinHandle<Remembered>>,
    /// The next append begins no earlier.
    append_due: Instant,
    /// When the channel is given up if it commits nothing until then.
    commit_due: Instant,
    course: &'a mut Course,
}

impl<'a> Session<'a> {
    /// Opens the channel and finds out where to go on. None: the shard has ended.
    async fn open(way: &'a Way, tenure: &'a Tenure, course: &'a mut Course) -> Result<Option<Self>, Error> {
        let row = own_row(way, tenure).await?;
        if row.ended {
            return Ok(None);
        }
        refuse_stopped(way, &row)?;
        let (placed, parts) = (placed(way, &row)?, &way.parts);
        let destination = &placed.on.pipe.destination;
        let name = way.channel_name(destination, tenure.generation);
        let (pipe, clock) = (Arc::clone(&placed.on.pipe.snowpipe), Arc::clone(&parts.clock));
        let uncommitted = uncommitted(way, &row).await;
        let random = Arc::clone(&parts.random);
        let opened = Channel::open(pipe, &name, uncommitted, Arc::clone(&clock), random).await?;
        let (mut channel, status) = opened;
        // I7: only a read after the open proves that nobody took the shard in between.
        let row = own_row(way, tenure).await?;
        take_place(way, tenure, &row, destination).await?;
        let token = channel.token().cloned();
        // What was proved in memory counts too: a channel that is gone has no token, and the row is told only now and then.
        let after = token.clone().max(row.position.clone()).max(course.proved.clone());
        let mark = mark_of(&placed.on.pipe, &channel);
        // Which channel this worker had is known better here, too, unless the row knows this one.
        let is_known = row.channel.as_ref() == Some(&mark);
        let before = course.opened.clone().filter(|_| !is_known);
        let before = before.or_else(|| row.channel.clone());
        let gone = is_gone(&row, before.as_ref(), &mark, token.as_ref());
        if let Some(counts) = proved_baseline(&row, &mark, token.as_ref()) {
            channel.set_baseline(Baseline::Proved(counts));
        }
        way.tell_opened(&name, token.as_ref(), course.opened.is_some());
        let shaping = shaping(way).await?;
        let beginning = beginning(way, &row);
        let start = match &after {
            _ if course.doubts.is_out_of_stream(way, &row, after.as_ref()).await => StartAt::TrimHorizon,
            Some(after) => start_behind(after),
            None => beginning.clone(),
        };
        parts.events.emit(Event::ShardStarted {
            shard: way.shard.clone(),
            from: start.to_string(),
        });
        course.suspicion.begin(after.as_ref());
        let shaper =
            Shaper::new(&way.stream.name, &way.shard, &shaping).condemning(course.suspicion.condemned());
        let now = clock.now();
        let mut session = Self {
            pages: Pages::start(way.reading(start, row.read_until_ms)),
            status: placed.on.statuses.watch(&name),
            shaper,
            builder: BatchBuilder::default(),
            letters: Vec::new(),
            memory: Held::default(),
            committed: after.clone(),
            settled: None,
            checkpointed: row.position.clone(),
            read_until_ms: row.read_until_ms,
            was_idle: false,
            let_go_ahead: false,
            after,
            mark,
            on_row_error: way.on_row_error,
            beginning,
            read_to_end: None,
            remembering: None,
            checkpoint_due: now + way.options.checkpoint_interval,
            append_due: now,
            commit_due: now + way.options.commit_timeout,
            way,
            tenure,
            placed,
            channel,
            course,
        };
        if gone {
            let after = session.after.clone();
            session.meet_gone(before, after.as_ref()).await?;
        }
        session.course.opened = Some(session.mark.clone());
        session.meet_errors_of_before(&row, gone, &status).await?;
        Ok(Some(session))
    }

    async fn work(&mut self, wanted: &mut watch::Receiver<Wanted>) -> Result<Ended, Error> {
        loop {
            let clock = Arc::clone(&self.way.parts.clock);
            let wait = self.next_due().since(clock.now());
            let reading = self.read_to_end.is_none();
            tokio::select! {
                biased;
                () = until(wanted, Wanted::Drain) => return self.drain().await,
                status = self.status.next() => self.prove(&status).await?,
                remembered = remembered(&mut self.remembering) => self.meet_remembered(remembered)?,
                () = clock.sleep(wait) => self.meet_due().await?,
                read = self.pages.next(), if reading => self.take(read).await?,
            }
            if self.read_to_end.is_some() && !self.channel.has_outstanding() {
                return self.finish().await;
            }
        }
    }

    fn next_due(&self) -> Instant {
        if self.channel.has_outstanding() {
            self.checkpoint_due.min(self.commit_due)
        } else {
            self.checkpoint_due
        }
    }

    async fn meet_due(&mut self) -> Result<(), Error> {
        let now = self.way.parts.clock.now();
        if self.channel.has_outstanding() && now >= self.commit_due {
            let (channel, waited) = (self.channel.name().to_owned(), self.way.options.commit_timeout);
            return Err(Error::NotCommitted { channel, waited });
        }
        if now >= self.checkpoint_due {
            self.remember_beside();
        }
        Ok(())
    }

    async fn append(&mut self, batch: Batch) -> Result<(), Error> {
        if self.course.suspicion.most_rows().is_some() || self.channel.wants_quiet() {
            self.until_committed().await?;
        }
        self.way.may_act().wait().await;
        self.course.suspicion.sends(&batch);
        let clock = &self.way.parts.clock;
        let early = self.append_due.since(clock.now());
        if !early.is_zero() {
            clock.sleep(early).await;
        }
        let begun = clock.now();
        self.append_due = begun + self.way.options.append_interval;
        let was_quiet = !self.channel.has_outstanding();
        self.channel.append(&batch).await?;
        let now = clock.now();
        if was_quiet {
            self.commit_due = now + self.way.options.commit_timeout;
        }
        self.settled = None;
        self.status.want(true);
        self.way.parts.events.emit(Event::BatchAccepted {
            shard: self.way.shard.clone(),
            rows: batch.rows,
            bytes: batch.uncompressed_bytes as u64,
            wire_bytes: batch.body.len() as u64,
            took: now.since(begun),
            up_to: batch.to,
        });
        Ok(())
    }

    /// Waits until nothing is outstanding: whether the next batch fails is then its own doing.
    async fn until_committed(&mut self) -> Result<(), Error> {
        let clock = Arc::clone(&self.way.parts.clock);
        while self.channel.has_outstanding() {
            let wait = self.next_due().since(clock.now());
            tokio::select! {
                biased;
                status = self.status.next() => self.prove(&status).await?,
                () = clock.sleep(wait) => self.meet_due().await?,
            }
        }
        Ok(())
    }

    /// What is settled without rows is committed once nothing before it is open.
    fn settle(&mut self) {
        if !self.channel.has_outstanding()
            && let Some(to) = self.settled.take()
        {
            self.committed = self.committed.take().max(Some(to));
        }
    }

    async fn prove(&mut self, status: &ChannelStatus) -> Result<(), Error> {
        match self.channel.observe(status)? {
            Proof::Waiting => Ok(()),
            Proof::MustReopen { code } => Err(Error::MustReopen {
                channel: self.channel.name().to_owned(),
                code,
            }),
            Proof::Mismatch { expected, found } => {
                let error = Error::CountMismatch {
                    channel: self.channel.name().to_owned(),
                    expected,
                    found,
                };
                let seen = Counts {
                    rows_inserted: status.rows_inserted,
                    row_errors: status.row_errors,
                };
                Err(self.stop(error, seen).await)
            }
            Proof::Committed {
                up_to,
                rows,
                row_errors,
                oldest_arrival_ms,
            } => {
                let now = self.way.parts.clock.now();
                self.course.suspicion.proved(rows + row_errors, now);
                self.tell_committed(&up_to, rows, row_errors, oldest_arrival_ms);
                self.read_until_ms = self.read_until_ms.max(oldest_arrival_ms);
                self.course.proved = Some(up_to.clone());
                let before = self.committed.replace(up_to);
                self.settle();
                self.commit_due = now + self.way.options.commit_timeout;
                self.status.want(self.channel.has_outstanding());
                if row_errors == 0 {
                    return Ok(());
                }
                let count = i64::try_from(row_errors).unwrap_or(i64::MAX);
                let (message, seen) = (status.last_error_message.clone(), self.channel.proved());
                self.meet_row_errors(count, message, before, seen).await
            }
        }
    }

    fn tell_committed(
        &mut self,
        up_to: &Position,
        rows: u64,
        row_errors: u64,
        oldest_arrival_ms: Option<i64>,
    ) {
        let (events, shard) = (&self.way.parts.events, self.way.shard.clone());
        let now_ms = self.way.parts.clock.wall_ms();
        let latency = oldest_arrival_ms
            .and_then(|ms| u64::try_from(now_ms - ms).ok())
            .map(Duration::from_millis);
        self.course.moved = true;
        if std::mem::take(&mut self.course.stalled) {
            events.emit(Event::ShardMoves { shard: shard.clone() });
        }
        events.emit(Event::SpanCommitted {
            shard,
            rows,
            row_errors,
            up_to: up_to.clone(),
            latency,
        });
    }

    /// The shard is read to its end and all of it is committed.
    async fn finish(&mut self) -> Result<Ended, Error> {
        self.settle();
        self.checkpoint(true).await?;
        self.way.parts.events.emit(Event::ShardFinished {
            shard: self.way.shard.clone(),
        });
        // Only now its token is of no use any more. A channel that stays is removed by the service after 30 idle days.
        if let Err(error) = self
            .placed
            .on
            .pipe
            .snowpipe
            .drop_channel(self.channel.name())
            .await
        {
            tracing::debug!(shard = %self.way.shard, %error, "channel of a finished shard not dropped");
        }
        Ok(Ended::Finished(self.read_to_end.take().unwrap_or_default()))
    }

    /// Stops reading, waits until what is accepted is committed, and remembers it.
    async fn drain(&mut self) -> Result<Ended, Error> {
        self.pages.stop();
        self.builder.rest();
        self.memory.clear();
        let clock = Arc::clone(&self.way.parts.clock);
        let end = clock.now() + self.way.options.drain_timeout;
        while self.channel.has_outstanding() {
            tokio::select! {
                status = self.status.next() => self.prove(&status).await?,
                () = clock.sleep(end.since(clock.now())) => break,
            }
        }
        self.remember().await?;
        Ok(Ended::Drained)
    }
}
