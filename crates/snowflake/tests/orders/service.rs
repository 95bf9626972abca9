//! A small model of the service: one channel, one table, and answers by script.
//!
//! It knows the rules that are documented and nothing of the client: an open fences and discards, an append wants the
//! continuation token of the one before, a repeated request is taken once, rows and token commit together. It is written apart from
//! `FakeSnowpipe`, so that one mistake cannot hide in both.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use frazil_model::{OffsetToken, Position, SequenceNumber};
use frazil_snowflake::{Append, ChannelStatus, ContinuationToken, Error, Opened, Snowpipe, TableFacts};

/// The one channel.
pub(crate) const NAME: &str = "C";

/// How an append or an open is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// As the rules say.
    Plain,
    /// No effect, and no answer.
    LostBefore,
    /// The effect, and no answer.
    LostAfter,
    /// No answer, and the request arrives later.
    LostLate,
    /// 429.
    Throttled,
    /// 503.
    Fault,
    /// The continuation token is called stale, without effect.
    Stale,
    /// A refusal that no other try changes.
    Refused,
    /// Another open is under way.
    InProgress,
}

/// A batch in the service's hands.
#[derive(Debug, Clone)]
struct Batch {
    from: u64,
    to: u64,
}

#[derive(Debug, Clone, Default)]
struct Channel {
    made: i64,
    /// The client sequencer.
    epoch: u64,
    taken: u64,
    code: Option<&'static str>,
    token: Option<u64>,
    inserted: i64,
    errors: i64,
    last_request: Option<String>,
    accepted: VecDeque<Batch>,
    /// What was accepted last is lost: the next append does not fit.
    has_gap: bool,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    channel: Option<Channel>,
    made: i64,
    epochs: u64,
    /// Positions in the order of their commits, row errors among them.
    pub(crate) table: Vec<u64>,
    pub(crate) row_errors: u64,
    /// Answers of the appends and opens to come.
    pub(crate) script: VecDeque<Answer>,
    /// Requests that are on their way for long.
    flying: Vec<Append>,
    /// Counters as status shows them, while they lag.
    lag: Option<(i64, i64)>,
    /// They lagged when the channel was opened.
    pub(crate) lagged_at_open: bool,
    pub(crate) stale_on_replay: bool,
    /// Batches that commit right before an open fences.
    pub(crate) commits_at_open: usize,
    /// What happened, by name.
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Service(Mutex<State>);

pub(crate) fn position(number: u64) -> Position {
    Position::whole(SequenceNumber::new(number.to_string()).expect("digits"))
}

pub(crate) fn number(position: &Position) -> u64 {
    position.sequence.as_str().parse().expect("digits")
}

fn number_of(token: &str) -> u64 {
    let token: OffsetToken = token.parse().expect("a token of ours");
    number(&token.position())
}

fn lost() -> Error {
    Error::Unreachable {
        url: "model".to_owned(),
        detail: "lost".to_owned(),
    }
}

fn stale() -> Error {
    Error::StaleContinuation {
        channel: NAME.to_owned(),
        message: String::new(),
    }
}

impl Service {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Commits the oldest batches, so many; of each as many rows as row errors as there are up to `errors`.
    pub(crate) fn commit(&mut self, batches: usize, errors: u64) {
        let Some(channel) = self.channel.as_mut().filter(|channel| channel.code.is_none()) else {
            return;
        };
        for _ in 0..batches {
            let Some(batch) = channel.accepted.pop_front() else {
                return;
            };
            let rows = batch.to - batch.from + 1;
            let bad = rows.min(errors);
            channel.token = Some(batch.to);
            channel.inserted += (rows - bad).cast_signed();
            channel.errors += bad.cast_signed();
            self.row_errors += bad;
            self.table.extend(batch.from..=batch.to);
            *self.counts.entry("commit").or_default() += 1;
            *self.counts.entry("row errors").or_default() += u64::from(bad > 0);
        }
    }

    /// The token passes a batch whose rows never come: a service that breaks its word. Answers whether there was one. Where
    /// counters lagged at the open nobody could tell, and nothing is done.
    pub(crate) fn swallow(&mut self) -> bool {
        let lagged = self.lagged_at_open || self.lag.is_some();
        let channel = self.channel.as_mut();
        let Some(channel) = channel.filter(|channel| channel.code.is_none() && !lagged) else {
            return false;
        };
        let batch = channel.accepted.pop_front();
        channel.token = batch.as_ref().map(|batch| batch.to).or(channel.token);
        batch.is_some()
    }

    /// The channel becomes invalid; what it accepted is discarded.
    pub(crate) fn invalidate(&mut self, code: &'static str) {
        if let Some(channel) = &mut self.channel {
            channel.code = Some(code);
            channel.accepted.clear();
            self.count(code);
        }
    }

    /// Another client opens the channel, or makes it.
    pub(crate) fn taken_by_another(&mut self) {
        drop(self.open());
        self.count("taken by another");
    }

    /// The service removes the channel with its token.
    pub(crate) fn remove(&mut self) {
        if self.channel.take().is_some() {
            self.lag = None;
            self.count("removed");
        }
    }

    /// What is accepted is lost, and nothing says so before the next append.
    pub(crate) fn lose_accepted(&mut self) {
        if let Some(channel) = self
            .channel
            .as_mut()
            .filter(|channel| !channel.accepted.is_empty())
        {
            channel.accepted.clear();
            channel.has_gap = true;
            self.count("accepted rows lost");
        }
    }

    /// From now on counters stand still, or show all again.
    pub(crate) fn set_lag(&mut self, lag: bool) {
        let of = |channel: &Channel| (channel.inserted, channel.errors);
        self.lag = self.channel.as_ref().filter(|_| lag).map(of);
    }

    /// Requests that were under way arrive.
    pub(crate) fn arrive(&mut self) {
        for append in std::mem::take(&mut self.flying) {
            let taken = self.take(&append).is_ok();
            self.count(if taken {
                "late request taken"
            } else {
                "late request refused"
            });
        }
    }

    /// When the channel was made; none, if it is not there.
    pub(crate) fn made(&self) -> Option<i64> {
        self.channel.as_ref().map(|channel| channel.made)
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.channel.as_ref().is_none_or(|channel| channel.code.is_some())
    }

    /// As the poller would show it to a channel that is not there, too.
    pub(crate) fn status(&self) -> ChannelStatus {
        let Some(channel) = &self.channel else {
            return ChannelStatus {
                code: "ERR_CHANNEL_DOES_NOT_EXIST_OR_NOT_AUTHORIZED".to_owned(),
                ..ChannelStatus::default()
            };
        };
        let (rows_inserted, row_errors) = self.lag.unwrap_or((channel.inserted, channel.errors));
        ChannelStatus {
            code: channel.code.unwrap_or("SUCCESS").to_owned(),
            committed_token: channel.token.map(|token| position(token).token().to_string()),
            rows_inserted,
            row_errors,
            created_on_ms: channel.made,
            ..ChannelStatus::default()
        }
    }

    fn open(&mut self) -> Opened {
        let commits = std::mem::take(&mut self.commits_at_open);
        self.commit(commits, 0);
        if self.channel.is_none() {
            self.made += 1;
            self.channel = Some(Channel {
                made: self.made,
                ..Channel::default()
            });
        }
        self.epochs += 1;
        self.lagged_at_open = self.lag.is_some();
        let epoch = self.epochs;
        let channel = self.channel.as_mut().expect("made above");
        let discarded = !channel.accepted.is_empty();
        channel.accepted.clear();
        (channel.epoch, channel.taken, channel.code, channel.last_request) = (epoch, 0, None, None);
        channel.has_gap = false;
        let continuation = channel.continuation();
        if discarded {
            self.count("discarded at an open");
        }
        Opened {
            continuation,
            status: self.status(),
        }
    }

    fn take(&mut self, append: &Append) -> Result<ContinuationToken, Error> {
        let stale_on_replay = self.stale_on_replay;
        let gone = |code: &str| Error::MustReopen {
            channel: NAME.to_owned(),
            code: code.to_owned(),
            message: String::new(),
        };
        let channel = self.channel.as_mut();
        let channel = channel.ok_or_else(|| gone("ERR_CHANNEL_DOES_NOT_EXIST_OR_IS_NOT_AUTHORIZED"))?;
        match channel.code {
            None => {}
            Some(code) if code.ends_with("CLIENT_SEQUENCER") => return Err(stale()),
            Some(code) => return Err(gone(code)),
        }
        if channel.last_request.as_ref() == Some(&append.request_id) {
            let again = channel.continuation();
            self.count(if stale_on_replay {
                "replay called stale"
            } else {
                "replay answered"
            });
            return if stale_on_replay { Err(stale()) } else { Ok(again) };
        }
        if append.continuation != channel.continuation() {
            return Err(stale());
        }
        if channel.has_gap {
            channel.code = Some("ERR_CHANNEL_MUST_BE_REOPENED_DUE_TO_ROW_SEQ_GAP");
            return Err(gone("ERR_CHANNEL_MUST_BE_REOPENED_DUE_TO_ROW_SEQ_GAP"));
        }
        channel.taken += 1;
        channel.last_request = Some(append.request_id.clone());
        channel.accepted.push_back(Batch {
            from: number_of(&append.start_token),
            to: number_of(&append.end_token),
        });
        Ok(channel.continuation())
    }
}

impl Channel {
    fn continuation(&self) -> ContinuationToken {
        ContinuationToken::new(format!("{}:{}", self.epoch, self.taken))
    }
}

#[async_trait]
impl Snowpipe for Service {
    async fn open_channel(&self, _: &str, fail_on_uncommitted_rows: bool) -> Result<Opened, Error> {
        let mut state = self.state();
        match state.script.pop_front().unwrap_or(Answer::Plain) {
            Answer::LostBefore | Answer::LostLate => {
                state.count("open lost before");
                return Err(lost());
            }
            Answer::LostAfter => {
                drop(state.open());
                state.count("open lost after");
                return Err(lost());
            }
            Answer::InProgress => {
                state.count("open in progress");
                return Err(Error::OpenInProgress {
                    channel: NAME.to_owned(),
                });
            }
            _ => {}
        }
        let waits = |channel: &Channel| channel.code.is_none() && !channel.accepted.is_empty();
        if fail_on_uncommitted_rows && state.channel.as_ref().is_some_and(waits) {
            state.count("uncommitted rows");
            // They are committed while the caller waits.
            state.commit(1, 0);
            return Err(Error::UncommittedRows {
                channel: NAME.to_owned(),
            });
        }
        Ok(state.open())
    }

    async fn append_rows(&self, _: &str, append: &Append) -> Result<ContinuationToken, Error> {
        let mut state = self.state();
        let answer = state.script.pop_front().unwrap_or(Answer::Plain);
        match answer {
            Answer::Plain | Answer::InProgress => state.take(append),
            Answer::LostBefore => {
                state.count("lost before");
                Err(lost())
            }
            Answer::LostAfter => {
                drop(state.take(append));
                state.count("lost after");
                Err(lost())
            }
            Answer::LostLate => {
                state.flying.push(append.clone());
                state.count("lost late");
                Err(lost())
            }
            Answer::Throttled => {
                state.count("throttled");
                Err(Error::Throttled {
                    call: "append rows",
                    retry_after: None,
                    message: String::new(),
                })
            }
            Answer::Fault => {
                state.count("server fault");
                Err(Error::ServerFault {
                    call: "append rows",
                    status: 503,
                    message: String::new(),
                })
            }
            Answer::Stale => {
                state.count("called stale");
                Err(stale())
            }
            Answer::Refused => {
                state.count("refused");
                Err(Error::Refused {
                    call: "append rows",
                    status: 400,
                    code: "ERR_MODEL".to_owned(),
                    message: String::new(),
                })
            }
        }
    }

    async fn channel_status(&self, _: &[String]) -> Result<HashMap<String, ChannelStatus>, Error> {
        Ok(HashMap::from([(NAME.to_owned(), self.state().status())]))
    }

    async fn drop_channel(&self, _: &str) -> Result<(), Error> {
        self.state().remove();
        Ok(())
    }

    async fn table(&self) -> Result<Option<TableFacts>, Error> {
        Ok(None)
    }
}
