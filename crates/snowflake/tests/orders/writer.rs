//! A caller of the channel, and what must hold of it at each step.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use frazil_model::{Clock, Instant, SeededRandom};
use frazil_snowflake::{Baseline, Batch, Channel, ChannelStatus, Counts, Error, Proof, Uncommitted};
use proptest::prelude::*;

use crate::Op;
use crate::service::{NAME, Service, number, position};

type Judged = Result<(), TestCaseError>;

/// As the pipeline has it.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(180);
/// Counters lag no longer than this, and no status is older: together less than the channel bears.
const LONGEST_LAG: Duration = Duration::from_secs(25);

/// A clock on which who sleeps moves the time.
#[derive(Debug, Default)]
struct StepClock(Mutex<Duration>);

impl StepClock {
    fn pass(&self, time: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }
}

#[async_trait]
impl Clock for StepClock {
    fn now(&self) -> Instant {
        Instant::default() + *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wall_ms(&self) -> i64 {
        0
    }

    async fn sleep(&self, time: Duration) {
        self.pass(time);
    }
}

/// What the lease row remembers.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    position: u64,
    counts: Option<Counts>,
    made: Option<i64>,
}

/// A status as it was.
struct Snapshot {
    at: Instant,
    epoch: u64,
    status: ChannelStatus,
}

pub(crate) struct Writer {
    service: Arc<Service>,
    clock: Arc<StepClock>,
    channel: Channel,
    /// Opens so far.
    epoch: u64,
    /// Accepted in this epoch and not proved: their ends and rows.
    in_flight: VecDeque<(u64, u64)>,
    /// Proved, in memory.
    proved: u64,
    next: u64,
    row: Row,
    /// Rows that were committed and not proved when their channel went: they may be there twice.
    may_repeat: Vec<(u64, u64)>,
    commit_due: Instant,
    lag_since: Option<Instant>,
    history: VecDeque<Snapshot>,
    /// The service swallowed a batch.
    swallowed: bool,
    stopped: bool,
    told: BTreeMap<&'static str, u64>,
    rows_told: u64,
    errors_told: u64,
}

impl Writer {
    pub(crate) async fn start(stale_on_replay: bool) -> Self {
        let (service, clock) = (Arc::new(Service::default()), Arc::new(StepClock::default()));
        service.state().stale_on_replay = stale_on_replay;
        let opened = open(&service, &clock, 0, false).await;
        let mut channel = opened.expect("nothing is scripted yet").0;
        channel.set_baseline(Baseline::Proved(Counts::default()));
        let commit_due = clock.now() + COMMIT_TIMEOUT;
        Self {
            service,
            clock,
            channel,
            epoch: 0,
            in_flight: VecDeque::new(),
            proved: 0,
            next: 1,
            row: Row::default(),
            may_repeat: Vec::new(),
            commit_due,
            lag_since: None,
            history: VecDeque::new(),
            swallowed: false,
            stopped: false,
            told: BTreeMap::new(),
            rows_told: 0,
            errors_told: 0,
        }
    }

    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        let state = self.service.state();
        let all = state.counts.iter().chain(&self.told);
        all.map(|(what, count)| (*what, *count)).collect()
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.stopped
    }

    pub(crate) fn has_swallowed(&self) -> bool {
        self.swallowed
    }

    fn tell(&mut self, what: &'static str) {
        *self.told.entry(what).or_default() += 1;
    }

    /// Takes a step.
    pub(crate) async fn meet(&mut self, op: &Op) -> Judged {
        if self.stopped {
            return Ok(());
        }
        match op {
            Op::Append { rows, answers } => {
                self.service.state().script = answers.clone().into();
                self.append(*rows).await?;
                self.service.state().script.clear();
            }
            Op::Status => self.observe_now().await?,
            Op::StatusOfBefore(steps) => self.observe_before(*steps).await?,
            Op::Commit { batches, errors } => self.service.state().commit(*batches, *errors),
            Op::Lag(lag) => self.lag(*lag),
            Op::Invalidate(code) => self.service.state().invalidate(code),
            Op::TakenByAnother => self.service.state().taken_by_another(),
            Op::Remove => self.service.state().remove(),
            Op::LoseAccepted => self.service.state().lose_accepted(),
            Op::Arrive => self.service.state().arrive(),
            Op::Restart {
                answers,
                commits,
                awaits,
            } => {
                self.service.state().script = answers.clone().into();
                self.service.state().commits_at_open = *commits;
                // A new process knows the row alone.
                self.proved = self.row.position;
                self.reopen(*awaits).await?;
            }
            Op::Checkpoint => self.checkpoint(),
            Op::Wait(seconds) => self.wait(*seconds).await?,
            Op::Swallow => {
                self.swallowed = self.service.state().swallow();
                if self.swallowed {
                    self.tell("swallowed");
                }
            }
        }
        self.look()?;
        let (at, status) = (self.clock.now(), self.service.state().status());
        self.history.push_back(Snapshot {
            at,
            epoch: self.epoch,
            status,
        });
        Ok(())
    }

    async fn append(&mut self, rows: u64) -> Judged {
        if self.channel.wants_quiet() && self.channel.has_outstanding() {
            return Ok(());
        }
        let (from, to) = (self.next, self.next + rows - 1);
        let batch = Batch {
            body: Bytes::from_static(b"rows"),
            uncompressed_bytes: 4,
            rows,
            from: position(from),
            to: position(to),
            oldest_arrival_ms: None,
        };
        let was_quiet = self.in_flight.is_empty();
        let error = match self.channel.append(&batch).await {
            Ok(()) => {
                self.in_flight.push_back((to, rows));
                self.next = to + 1;
                if was_quiet {
                    self.commit_due = self.clock.now() + COMMIT_TIMEOUT;
                }
                return Ok(());
            }
            Err(error) => error,
        };
        match error {
            Error::AnotherWriter { .. } => {
                let state = self.service.state();
                let happened = |what: &str| state.counts.contains_key(what);
                let reasons = [
                    "taken by another",
                    "called stale",
                    "open lost after",
                    "late request taken",
                ];
                let code = |code: &&str| code.ends_with("CLIENT_SEQUENCER") && happened(code);
                let is_so = reasons.into_iter().any(happened) || crate::CODES.iter().any(code);
                drop(state);
                prop_assert!(is_so, "nobody else was there");
                self.tell("another writer");
            }
            Error::StaleContinuation { .. } => self.tell("stale continuation"),
            error if error.kind() == frazil_model::ErrorKind::Invalid => {}
            Error::MustReopen { .. } => {}
            _ => self.tell("append given up"),
        }
        self.tell("reopen by append");
        self.service.state().script.clear();
        self.reopen(false).await
    }

    async fn observe_now(&mut self) -> Judged {
        if self.lag_since.is_some() {
            self.tell("lagging status");
        }
        let status = self.service.state().status();
        self.observe(&status).await
    }

    async fn observe_before(&mut self, steps: usize) -> Judged {
        let Some(index) = self.history.len().checked_sub(steps) else {
            return Ok(());
        };
        let snapshot = &self.history[index];
        if self.clock.now().since(snapshot.at) > LONGEST_LAG {
            return Ok(());
        }
        let (status, is_old) = (snapshot.status.clone(), snapshot.epoch < self.epoch);
        if is_old {
            self.tell("status of an older epoch");
        }
        self.observe(&status).await
    }

    async fn observe(&mut self, status: &ChannelStatus) -> Judged {
        let token = self.channel.token().cloned();
        let proof = self.channel.observe(status).expect("tokens are ours");
        prop_assert!(self.channel.token() >= token.as_ref(), "the token went back");
        match proof {
            Proof::Waiting => self.tell("waiting"),
            Proof::MustReopen { .. } => {
                self.tell("reopen by status");
                return self.reopen(false).await;
            }
            Proof::Mismatch { .. } => {
                prop_assert!(self.swallowed, "nothing was swallowed: {:?}", status);
                self.tell("mismatch");
                self.stopped = true;
            }
            Proof::Committed {
                up_to,
                rows,
                row_errors,
                ..
            } => {
                self.tell("committed");
                self.commit_due = self.clock.now() + COMMIT_TIMEOUT;
                let end = number(&up_to);
                let mut sent = 0;
                while let Some((to, rows)) = self.in_flight.front().copied()
                    && to <= end
                {
                    sent += rows;
                    self.in_flight.pop_front();
                    self.proved = to;
                }
                prop_assert_eq!(self.proved, end, "not the end of a batch of this epoch");
                prop_assert_eq!(rows + row_errors, sent);
                self.rows_told += rows;
                self.errors_told += row_errors;
            }
        }
        Ok(())
    }

    /// Drops the channel and opens it again, as often as that takes.
    async fn reopen(&mut self, awaits: bool) -> Judged {
        if !self.in_flight.is_empty() {
            self.tell("in-flight batches dropped");
        }
        self.in_flight.clear();
        let before = self.row.made;
        let (channel, status) = loop {
            self.epoch += 1;
            match open(&self.service, &self.clock, self.epoch, awaits).await {
                Ok(opened) => break opened,
                Err(error) => prop_assert_eq!(error.kind(), frazil_model::ErrorKind::Retry),
            }
        };
        self.service.state().script.clear();
        prop_assert!(!channel.has_outstanding());
        let (token, made) = (channel.token().map_or(0, number), status.created_on_ms);
        self.channel = channel;
        let gone = before.is_some_and(|before| before != made) || token < self.proved;
        if gone {
            self.tell("channel gone");
        }
        let after = token.max(self.proved);
        let highest = self.service.state().table.iter().copied().max().unwrap_or(0);
        if after < highest {
            prop_assert!(
                token < highest,
                "rows of a channel that is still there would be sent again"
            );
            let known = self.service.state().counts.contains_key("removed");
            prop_assert!(known, "the token went back");
            self.may_repeat.push((after + 1, highest));
        }
        let baseline = match (self.row.made, self.row.counts) {
            (None, _) if token == 0 => Baseline::Proved(Counts::default()),
            (Some(before), Some(counts)) if before == made && token > 0 && token <= self.row.position => {
                Baseline::Proved(counts)
            }
            _ => Baseline::Assumed,
        };
        self.tell(match baseline {
            Baseline::Proved(_) => "baseline proved",
            Baseline::Assumed => "baseline assumed",
        });
        self.channel.set_baseline(baseline);
        (self.proved, self.next) = (after, after + 1);
        self.commit_due = self.clock.now() + COMMIT_TIMEOUT;
        Ok(())
    }

    fn checkpoint(&mut self) {
        if self.proved > self.row.position {
            self.row = Row {
                position: self.proved,
                counts: self.channel.has_exact_counts().then(|| self.channel.proved()),
                made: Some(self.channel.created_on_ms()),
            };
        }
    }

    fn lag(&mut self, lag: bool) {
        self.service.state().set_lag(lag);
        self.lag_since = lag.then(|| self.clock.now());
    }

    async fn wait(&mut self, seconds: u64) -> Judged {
        self.clock.pass(Duration::from_secs(seconds));
        let now = self.clock.now();
        if self.lag_since.is_some_and(|since| now.since(since) > LONGEST_LAG) {
            self.lag(false);
        }
        if !self.in_flight.is_empty() && now >= self.commit_due {
            self.tell("reopen by commit timeout");
            return self.reopen(false).await;
        }
        Ok(())
    }

    /// What must hold always.
    fn look(&self) -> Judged {
        let state = self.service.state();
        let mut times: BTreeMap<u64, u64> = BTreeMap::new();
        let mut highest = 0;
        for at in &state.table {
            let count = times.entry(*at).or_default();
            *count += 1;
            let may_repeat = self.may_repeat.iter().any(|(from, to)| (from..=to).contains(&at));
            prop_assert!(*count == 1 || may_repeat, "{at} is there twice");
            if !self.swallowed {
                prop_assert!(*at <= highest + 1, "{} was skipped", highest + 1);
            }
            highest = highest.max(*at);
        }
        prop_assert!(
            self.proved <= highest,
            "{} is called committed, {highest} is there",
            self.proved
        );
        let errors = state.row_errors;
        prop_assert!(
            self.errors_told <= errors,
            "{} row errors told of {errors}",
            self.errors_told
        );
        let there = state.table.len() as u64 - errors;
        prop_assert!(
            self.rows_told <= there + self.errors_not_told(errors),
            "{} rows told",
            self.rows_told
        );
        Ok(())
    }

    /// Row errors of batches that a re-open found committed are in its baseline.
    fn errors_not_told(&self, errors: u64) -> u64 {
        errors - self.errors_told
    }

    /// From now on the service is healthy and takes nothing new: status alone must lead to the end.
    pub(crate) async fn finish(&mut self) -> Judged {
        self.lag(false);
        self.service.state().arrive();
        let made_anew = self.service.state().made() != Some(self.channel.created_on_ms());
        let was_broken = (self.service.state().is_broken() || made_anew) && !self.in_flight.is_empty();
        let by_time = self.told.get("reopen by commit timeout").copied().unwrap_or(0);
        let highest_sent = self.next - 1;
        for round in 0..100 {
            if self.stopped || self.proved >= highest_sent && self.in_flight.is_empty() {
                break;
            }
            prop_assert!(round < 99, "it does not end");
            self.service.state().commit(usize::MAX, 0);
            self.observe_now().await?;
            self.look()?;
            // What a re-open let go of is sent again; nothing else is.
            if self.in_flight.is_empty() && !self.stopped && self.next <= highest_sent {
                self.append(highest_sent - self.next + 1).await?;
            }
            self.wait(7).await?;
        }
        let by_time = self.told.get("reopen by commit timeout").copied().unwrap_or(0) - by_time;
        if was_broken && !self.stopped {
            prop_assert_eq!(by_time, 0, "status had told it");
            self.tell("recovered by status alone");
        }
        Ok(())
    }
}

async fn open(
    service: &Arc<Service>,
    clock: &Arc<StepClock>,
    epoch: u64,
    awaits: bool,
) -> Result<(Channel, ChannelStatus), Error> {
    let uncommitted = match awaits {
        true => Uncommitted::AwaitCommit,
        false => Uncommitted::Discard,
    };
    let random = Arc::new(SeededRandom::new(epoch));
    Channel::open(service.clone(), NAME, uncommitted, clock.clone(), random).await
}
