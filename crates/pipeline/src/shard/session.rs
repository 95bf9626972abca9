//! One session of a shard: from the open of its channels to whatever ends it.

mod gather;
mod outlet;
mod remember;
mod stop;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use frazil_kinesis::{ChildShard, StartAt};
use frazil_lease::{ShardState, Tenure};
use frazil_model::{Event, Instant, Position};
use frazil_snowflake::{Baseline, Batch, ChannelStatus, Counts, Proof};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::batch::BatchBuilder;
use crate::dead_letters::DeadLetter;
use crate::error::Error;
use crate::pipes::Placed;
use crate::shape::Shaper;
use crate::shard::memory::Held;
use crate::shard::place::{
    beginning, is_gone, own_row, placed, proved_baseline, refuse_stopped, remembered_of, shaping,
    start_behind, take_place, uncommitted,
};
use crate::shard::reading::Pages;
use crate::shard::{Course, Ended, Wanted, Way, until};
use outlet::{Outlet, append_all, next_status};
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
            if let Some(ended) = session.work(wanted).await? {
                return Ok(ended);
            }
        }
    };
    tokio::select! {
        biased;
        () = until(&mut ending, Wanted::End) => Ok(Ended::LeaseLost),
        ended = session => ended,
    }
}

struct Session<'a> {
    way: &'a Way,
    tenure: &'a Tenure,
    placed: Placed,
    /// One for each pipe, in the placement's order.
    outlets: Vec<Outlet>,
    pages: Pages,
    shaper: Shaper,
    builder: BatchBuilder,
    letters: Vec<DeadLetter>,
    /// What pages and rows of the batch under construction hold.
    memory: Held,
    /// The end of what was committed when the session began: nothing up to here is sent again.
    after: Option<Position>,
    /// The furthest that any channel had rows when the session began.
    furthest: Option<Position>,
    /// The end of what was sent, kept or skipped.
    reached: Option<Position>,
    /// What was accepted together ends here, oldest first; not yet proved by each of its channels.
    rounds: VecDeque<Position>,
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
    /// Where the shard begins without any position.
    beginning: StartAt,
    /// The shard is closed and was read to its end.
    read_to_end: Option<Vec<ChildShard>>,
    checkpoint_due: Instant,
    /// A checkpoint on its way to the lease table, which data does not wait for.
    remembering: Option<JoinHandle<Remembered>>,
    /// The next append begins no earlier.
    append_due: Instant,
    course: &'a mut Course,
}

impl<'a> Session<'a> {
    /// Opens the channels and finds out where to go on. None: the shard has ended.
    async fn open(way: &'a Way, tenure: &'a Tenure, course: &'a mut Course) -> Result<Option<Self>, Error> {
        let row = own_row(way, tenure).await?;
        if row.ended {
            return Ok(None);
        }
        refuse_stopped(way, &row)?;
        let (placed, parts) = (placed(way, &row)?, &way.parts);
        let uncommitted = uncommitted(way, &row).await;
        let opened = outlet::open(way, tenure.generation, &placed.on, uncommitted).await?;
        // I7: only a read after the opens proves that nobody took the shard in between.
        let row = own_row(way, tenure).await?;
        take_place(way, tenure, &row, &placed.now).await?;
        let (outlets, statuses): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
        let tokens: Vec<_> = outlets
            .iter()
            .map(|outlet| outlet.channel.token().cloned())
            .collect();
        // Whatever channel a record falls to, it is settled only up to where all of them are. What was proved in memory counts
        // too: a channel that is gone has no token, and the row is told only now and then.
        let settled = row.position.clone().max(course.proved.clone());
        let after = tokens.iter().min().cloned().flatten().max(settled);
        let furthest = tokens.iter().max().cloned().flatten();
        let beginning = beginning(way, &row);
        let start = match &after {
            _ if course.doubts.is_out_of_stream(way, &row, after.as_ref()).await => StartAt::TrimHorizon,
            Some(after) => start_behind(after),
            None => beginning.clone(),
        };
        course.suspicion.begin(after.as_ref());
        let shaper = Shaper::new(&way.stream.name, &way.shard, &shaping(way).await?)
            .condemning(course.suspicion.condemned())
            .routing(placed.now.router(tokens));
        let now = parts.clock.now();
        let mut session = Self {
            pages: Pages::start(way.reading(start.clone(), row.read_until_ms)),
            shaper,
            builder: BatchBuilder::default(),
            letters: Vec::new(),
            memory: Held::default(),
            reached: after.clone(),
            committed: after.clone(),
            rounds: VecDeque::new(),
            settled: None,
            checkpointed: row.position.clone(),
            read_until_ms: row.read_until_ms,
            was_idle: false,
            let_go_ahead: false,
            after,
            furthest,
            beginning,
            read_to_end: None,
            remembering: None,
            checkpoint_due: now + way.options.checkpoint_interval,
            append_due: now,
            way,
            tenure,
            placed,
            outlets,
            course,
        };
        session.meet_opened(&row, &start, &statuses).await?;
        Ok(Some(session))
    }

    /// Compares each channel with what the row remembers of it.
    async fn meet_opened(
        &mut self,
        row: &ShardState,
        start: &StartAt,
        statuses: &[ChannelStatus],
    ) -> Result<(), Error> {
        let (way, is_one) = (self.way, self.outlets.len() == 1);
        for outlet in &mut self.outlets {
            let token = outlet.channel.token();
            if let Some(counts) = proved_baseline(row, &outlet.mark, token) {
                outlet.channel.set_baseline(Baseline::Proved(counts));
            }
            let again = self.course.opened_before(&outlet.mark).is_some();
            // What one table of several has is not what the shard has.
            let committed = if is_one {
                outlet.channel.token()
            } else {
                self.after.as_ref()
            };
            way.tell_opened(&outlet.mark.name, committed, again);
            outlet.known = remembered_of(row, &outlet.mark).cloned();
            outlet.proved = outlet.proved.take().max(self.after.clone());
        }
        way.parts.events.emit(Event::ShardStarted {
            shard: way.shard.clone(),
            from: start.to_string(),
        });
        for (index, status) in statuses.iter().enumerate() {
            let outlet = &mut self.outlets[index];
            let known = outlet.known.take();
            // Which channel this worker had is known better here, too, unless the row knows this one.
            let of_row = known.as_ref().map(|known| &known.channel);
            let of_course = self.course.opened_before(&outlet.mark);
            let before = of_course
                .filter(|_| of_row != Some(&outlet.mark))
                .or(of_row)
                .cloned();
            let gone = is_gone(row, before.as_ref(), &outlet.mark, outlet.channel.token());
            if let Some(before) = before.filter(|_| gone) {
                self.meet_gone(index, &before).await?;
            }
            let outlet = &self.outlets[index];
            self.course.opens(outlet.mark.clone());
            let same = known.filter(|known| known.channel == outlet.mark);
            self.meet_errors_of_before(index, row, same.as_ref(), gone, status)
                .await?;
        }
        Ok(())
    }

    /// Until the session ends; none: it wrote down where the shard writes from now on, and the next one begins there.
    async fn work(&mut self, wanted: &mut watch::Receiver<Wanted>) -> Result<Option<Ended>, Error> {
        loop {
            let leaves = self.placed.next.is_some() && self.reached >= self.furthest;
            if leaves && !self.has_outstanding() {
                self.leave().await?;
                return Ok(None);
            }
            let clock = Arc::clone(&self.way.parts.clock);
            let wait = self.next_due().since(clock.now());
            let reading = self.read_to_end.is_none() && !leaves;
            tokio::select! {
                biased;
                () = until(wanted, Wanted::Drain) => return self.drain().await.map(Some),
                (of, status) = next_status(&mut self.outlets) => self.prove(of, &status).await?,
                remembered = remembered(&mut self.remembering) => self.meet_remembered(remembered)?,
                () = clock.sleep(wait) => self.meet_due().await?,
                read = self.pages.next(), if reading => self.take(read).await?,
            }
            if self.read_to_end.is_some() && !self.has_outstanding() {
                return self.finish().await.map(Some);
            }
        }
    }

    /// Whether anything is accepted and not proved.
    fn has_outstanding(&self) -> bool {
        self.outlets.iter().any(|outlet| outlet.channel.has_outstanding())
    }

    fn next_due(&self) -> Instant {
        let waiting = self
            .outlets
            .iter()
            .filter(|outlet| outlet.channel.has_outstanding());
        let dues = waiting.map(|outlet| outlet.commit_due);
        dues.fold(self.checkpoint_due, Instant::min)
    }

    async fn meet_due(&mut self) -> Result<(), Error> {
        let now = self.way.parts.clock.now();
        let is_late = |outlet: &&Outlet| outlet.channel.has_outstanding() && now >= outlet.commit_due;
        if let Some(late) = self.outlets.iter().find(is_late) {
            let (channel, waited) = (late.mark.name.clone(), self.way.options.commit_timeout);
            return Err(Error::NotCommitted { channel, waited });
        }
        if now >= self.checkpoint_due {
            self.remember_beside();
        }
        Ok(())
    }

    /// Appends what was gathered together: a batch for each table that has rows in it, all up to the same position.
    async fn append(&mut self, batches: Vec<(usize, Batch)>) -> Result<(), Error> {
        let wants_quiet = |outlet: &Outlet| outlet.channel.wants_quiet();
        if self.course.suspicion.most_rows().is_some() || self.outlets.iter().any(wants_quiet) {
            self.until_committed().await?;
        }
        self.way.may_act().wait().await;
        for (_, batch) in &batches {
            self.course.suspicion.sends(batch);
        }
        let clock = &self.way.parts.clock;
        let early = self.append_due.since(clock.now());
        if !early.is_zero() {
            clock.sleep(early).await;
        }
        let begun = clock.now();
        self.append_due = begun + self.way.options.append_interval;
        append_all(self.way, &mut self.outlets, &batches).await?;
        let took = clock.now().since(begun);
        self.settled = None;
        self.rounds
            .extend(batches.first().map(|(_, batch)| batch.to.clone()));
        for (_, batch) in batches {
            self.way.parts.events.emit(Event::BatchAccepted {
                shard: self.way.shard.clone(),
                rows: batch.rows,
                bytes: batch.uncompressed_bytes as u64,
                wire_bytes: batch.body.len() as u64,
                took,
                up_to: batch.to,
            });
        }
        Ok(())
    }

    /// Waits until nothing is outstanding: whether the next batch fails is then its own doing.
    async fn until_committed(&mut self) -> Result<(), Error> {
        let clock = Arc::clone(&self.way.parts.clock);
        while self.has_outstanding() {
            let wait = self.next_due().since(clock.now());
            tokio::select! {
                biased;
                (of, status) = next_status(&mut self.outlets) => self.prove(of, &status).await?,
                () = clock.sleep(wait) => self.meet_due().await?,
            }
        }
        Ok(())
    }

    /// Moves the committed span over what each channel has proved.
    fn advance(&mut self) {
        let outlets = self.outlets.iter();
        let open = outlets
            .filter_map(|outlet| outlet.channel.first_outstanding())
            .min();
        while let Some(end) = self.rounds.front()
            && open.is_none_or(|open| end < open)
        {
            self.committed = self.committed.take().max(self.rounds.pop_front());
        }
    }

    /// What is settled without rows is committed once nothing before it is open.
    fn settle(&mut self) {
        if !self.has_outstanding()
            && let Some(to) = self.settled.take()
        {
            self.committed = self.committed.take().max(Some(to));
        }
    }

    async fn prove(&mut self, of: usize, status: &ChannelStatus) -> Result<(), Error> {
        let outlet = &mut self.outlets[of];
        match outlet.channel.observe(status)? {
            Proof::Waiting => Ok(()),
            Proof::MustReopen { code } => Err(Error::MustReopen {
                channel: outlet.mark.name.clone(),
                code,
            }),
            Proof::Mismatch { expected, found } => {
                let error = Error::CountMismatch {
                    channel: outlet.mark.name.clone(),
                    expected,
                    found,
                };
                let seen = Counts {
                    rows_inserted: status.rows_inserted,
                    row_errors: status.row_errors,
                };
                Err(self.stop(of, error, seen).await)
            }
            Proof::Committed {
                up_to,
                rows,
                row_errors,
                oldest_arrival_ms,
            } => {
                let now = self.way.parts.clock.now();
                let before = outlet.proved.replace(up_to);
                outlet.commit_due = now + self.way.options.commit_timeout;
                outlet.status.want(outlet.channel.has_outstanding());
                let seen = outlet.channel.proved();
                self.course.suspicion.proved(rows + row_errors, now);
                self.advance();
                self.course.proved = self.course.proved.take().max(self.committed.clone());
                self.tell_committed(rows, row_errors, oldest_arrival_ms);
                self.read_until_ms = self.read_until_ms.max(oldest_arrival_ms);
                self.settle();
                if row_errors == 0 {
                    return Ok(());
                }
                let count = i64::try_from(row_errors).unwrap_or(i64::MAX);
                let message = status.last_error_message.clone();
                self.meet_row_errors(of, count, message, before, seen).await
            }
        }
    }

    fn tell_committed(&mut self, rows: u64, row_errors: u64, oldest_arrival_ms: Option<i64>) {
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
            up_to: self.committed.clone(),
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
        // Only now its tokens are of no use any more. A channel that stays is removed by the service after 30 idle days.
        for outlet in &self.outlets {
            let dropped = outlet.on.pipe.snowpipe.drop_channel(&outlet.mark.name).await;
            if let Err(error) = dropped {
                tracing::debug!(shard = %self.way.shard, %error, "channel of a finished shard not dropped");
            }
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
        while self.has_outstanding() {
            tokio::select! {
                (of, status) = next_status(&mut self.outlets) => self.prove(of, &status).await?,
                () = clock.sleep(end.since(clock.now())) => break,
            }
        }
        self.remember().await?;
        Ok(Ended::Drained)
    }
}
