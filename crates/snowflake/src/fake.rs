//! A Snowpipe in memory, for tests: it keeps the rules of channels, commits when told, and misbehaves when told.
//!
//! It keeps what it was given as (channel, end token, rows, body); [`FakeSnowpipe::committed`] is what a table would hold.
//! Faults stand in a queue per call and are used up one by one.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Error;
use crate::pipe::{Append, ChannelStatus, ContinuationToken, Opened, Snowpipe, TableFacts};

/// What happens to a call instead of, or after, its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No effect, no answer.
    LostBefore,
    /// The effect, and no answer.
    LostAfter,
    /// No effect; the service asks for fewer requests.
    Throttled,
    /// No effect; the service had a fault of its own.
    ServerFault,
}

/// Says of a compressed body whether it is bad.
pub type BodyTest = fn(&[u8]) -> bool;

/// What becomes of a batch whose body is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadBatch {
    /// Its append is refused.
    Refused,
    /// It is accepted, and the channel becomes invalid when it would be committed.
    InvalidAtCommit,
}

/// A batch as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The channel.
    pub channel: String,
    /// Its end token.
    pub end_token: String,
    /// Its rows.
    pub rows: u64,
    /// Its compressed NDJSON.
    pub body: Bytes,
}

#[derive(Debug, Default)]
struct State {
    client_sequencer: u64,
    row_sequencer: u64,
    created_on_ms: i64,
    code: Option<String>,
    token: Option<String>,
    inserted: i64,
    errors: i64,
    /// Counters as shown, while they lag.
    shown: Option<(i64, i64)>,
    last_request: Option<(String, String)>,
    accepted: VecDeque<Taken>,
}

#[derive(Debug, Default)]
struct All {
    channels: HashMap<String, State>,
    committed: Vec<Taken>,
    faults: HashMap<&'static str, VecDeque<Fault>>,
    opens: u64,
    appends: u64,
    /// A replayed request is answered as stale, as a harsh service might.
    stale_on_replay: bool,
    made: i64,
    refused: HashSet<String>,
    table: Option<TableFacts>,
    /// Which bodies are bad, and what becomes of them.
    bad: Option<(BodyTest, BadBatch)>,
    bad_met: usize,
    /// What the next throttled call is told.
    retry_after: Option<Duration>,
}

/// The fake.
#[derive(Debug, Default)]
pub struct FakeSnowpipe(Mutex<All>);

impl FakeSnowpipe {
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next call of this name (`open`, `append`, `status`, `drop`) meets this fault.
    pub fn fault(&self, call: &'static str, fault: Fault) {
        self.all().faults.entry(call).or_default().push_back(fault);
    }

    /// The next call of this name is throttled, and told to wait so long.
    pub fn throttle(&self, call: &'static str, retry_after: Duration) {
        self.all().retry_after = Some(retry_after);
        self.fault(call, Fault::Throttled);
    }

    /// Faults that were not met are taken back.
    pub fn forget_faults(&self) {
        self.all().faults.clear();
    }

    /// Answers replays of an accepted request as stale from now on.
    pub fn answer_replays_as_stale(&self) {
        self.all().stale_on_replay = true;
    }

    /// Commits the `count` oldest accepted batches of a channel; counters are shown at once.
    pub fn commit(&self, channel: &str, count: usize) {
        let all = &mut *self.all();
        let Some(state) = all.channels.get_mut(channel) else {
            return;
        };
        let mut count = count.min(state.accepted.len());
        if let Some((is_bad, BadBatch::InvalidAtCommit)) = all.bad
            && let Some(at) = state
                .accepted
                .iter()
                .take(count)
                .position(|batch| is_bad(&batch.body))
        {
            count = at;
            all.bad_met += 1;
            state.code = Some("ERR_CHANNEL_MUST_BE_REOPENED".to_owned());
        }
        let taken: Vec<Taken> = state.accepted.drain(..count).collect();
        for batch in &taken {
            state.inserted += i64::try_from(batch.rows).unwrap_or(i64::MAX);
            state.token = Some(batch.end_token.clone());
        }
        all.committed.extend(taken);
    }

    /// Commits everything accepted on every channel.
    pub fn commit_all(&self) {
        let names: Vec<String> = self.all().channels.keys().cloned().collect();
        names.iter().for_each(|name| self.commit(name, usize::MAX));
    }

    /// Shows these counters instead of the true ones; `None` shows the true ones again.
    pub fn show_counters(&self, channel: &str, shown: Option<(i64, i64)>) {
        if let Some(state) = self.all().channels.get_mut(channel) {
            state.shown = shown;
        }
    }

    /// Counts this many of the committed rows as row errors instead.
    pub fn turn_into_errors(&self, channel: &str, rows: i64) {
        if let Some(state) = self.all().channels.get_mut(channel) {
            state.inserted -= rows;
            state.errors += rows;
        }
    }

    /// Loses what was accepted and not committed, as a fault of the service.
    pub fn lose_accepted(&self, channel: &str) {
        if let Some(state) = self.all().channels.get_mut(channel) {
            state.accepted.clear();
        }
    }

    /// Gives the channel this status code, and refuses its appends until it is opened again.
    pub fn invalidate(&self, channel: &str, code: &str) {
        if let Some(state) = self.all().channels.get_mut(channel) {
            state.code = Some(code.to_owned());
        }
    }

    /// Forgets the channel, with its token.
    pub fn forget(&self, channel: &str) {
        self.all().channels.remove(channel);
    }

    /// Refuses every append of this channel from now on, as a request that cannot be.
    pub fn refuse(&self, channel: &str) {
        self.all().refused.insert(channel.to_owned());
    }

    /// Fails on batches whose compressed body is bad from now on; `None` takes each again.
    pub fn fail_on(&self, bad: Option<(BodyTest, BadBatch)>) {
        self.all().bad = bad;
    }

    /// How often it failed on one.
    #[must_use]
    pub fn bad_met(&self) -> usize {
        self.all().bad_met
    }

    /// Says this of the table from now on.
    pub fn set_table(&self, facts: Option<TableFacts>) {
        self.all().table = facts;
    }

    /// What a table would hold, in the order of the commits.
    #[must_use]
    pub fn committed(&self) -> Vec<Taken> {
        self.all().committed.clone()
    }

    /// The channels that there are.
    #[must_use]
    pub fn channels(&self) -> Vec<String> {
        self.all().channels.keys().cloned().collect()
    }

    /// Batches accepted and not committed.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.all()
            .channels
            .values()
            .map(|state| state.accepted.len())
            .sum()
    }

    /// Rows accepted and not committed.
    #[must_use]
    pub fn accepted_rows(&self) -> u64 {
        let all = self.all();
        let accepted = all.channels.values().flat_map(|state| &state.accepted);
        accepted.map(|batch| batch.rows).sum()
    }

    /// How often `open` and `append` were called.
    #[must_use]
    pub fn calls(&self) -> (u64, u64) {
        let all = self.all();
        (all.opens, all.appends)
    }
}

impl All {
    /// The fault of this call, met before its effect; or the fault that comes after it.
    fn meet(&mut self, call: &'static str) -> Result<Option<Fault>, Error> {
        let fault = self.faults.get_mut(call).and_then(VecDeque::pop_front);
        match fault {
            Some(Fault::LostBefore) => Err(lost()),
            Some(Fault::Throttled) => Err(Error::Throttled {
                call: "fake",
                retry_after: self.retry_after.take(),
                message: "scripted".to_owned(),
            }),
            Some(Fault::ServerFault) => Err(Error::ServerFault {
                call: "fake",
                status: 503,
                message: "scripted".to_owned(),
            }),
            other => Ok(other),
        }
    }
}

fn lost() -> Error {
    Error::Unreachable {
        url: "fake".to_owned(),
        detail: "scripted".to_owned(),
    }
}

fn or_lost<T>(after: Option<Fault>, answer: T) -> Result<T, Error> {
    if after == Some(Fault::LostAfter) {
        Err(lost())
    } else {
        Ok(answer)
    }
}

impl State {
    fn continuation(&self) -> String {
        format!("{}:{}", self.client_sequencer, self.row_sequencer)
    }

    fn status(&self) -> ChannelStatus {
        let (rows_inserted, row_errors) = self.shown.unwrap_or((self.inserted, self.errors));
        ChannelStatus {
            code: self.code.clone().unwrap_or_else(|| "SUCCESS".to_owned()),
            committed_token: self.token.clone(),
            rows_inserted,
            rows_parsed: rows_inserted + row_errors,
            row_errors,
            created_on_ms: self.created_on_ms,
            ..ChannelStatus::default()
        }
    }
}

#[async_trait]
impl Snowpipe for FakeSnowpipe {
    async fn open_channel(&self, channel: &str, fail_on_uncommitted_rows: bool) -> Result<Opened, Error> {
        let mut all = self.all();
        all.opens += 1;
        let after = all.meet("open")?;
        all.made += 1;
        let made = all.made;
        let state = all.channels.entry(channel.to_owned()).or_insert_with(|| State {
            created_on_ms: made,
            ..State::default()
        });
        if fail_on_uncommitted_rows && !state.accepted.is_empty() {
            return Err(Error::UncommittedRows {
                channel: channel.to_owned(),
            });
        }
        state.accepted.clear();
        state.client_sequencer += 1;
        (state.row_sequencer, state.code, state.last_request) = (0, None, None);
        let opened = Opened {
            continuation: ContinuationToken::new(state.continuation()),
            status: state.status(),
        };
        or_lost(after, opened)
    }

    async fn append_rows(&self, channel: &str, append: &Append) -> Result<ContinuationToken, Error> {
        let mut all = self.all();
        all.appends += 1;
        let after = all.meet("append")?;
        let is_bad = all
            .bad
            .is_some_and(|(is_bad, how)| how == BadBatch::Refused && is_bad(&append.body));
        all.bad_met += usize::from(is_bad);
        if is_bad || all.refused.contains(channel) {
            return Err(Error::Refused {
                call: "append rows",
                status: 400,
                code: "SCRIPTED".to_owned(),
                message: "scripted".to_owned(),
            });
        }
        let stale_on_replay = all.stale_on_replay;
        let gone = || Error::MustReopen {
            channel: channel.to_owned(),
            code: "ERR_CHANNEL_DOES_NOT_EXIST_OR_IS_NOT_AUTHORIZED".to_owned(),
            message: String::new(),
        };
        let state = all.channels.get_mut(channel).ok_or_else(gone)?;
        if let Some(code) = &state.code {
            let (channel, code) = (channel.to_owned(), code.clone());
            return Err(Error::MustReopen {
                channel,
                code,
                message: String::new(),
            });
        }
        if let Some((request, next)) = &state.last_request
            && *request == append.request_id
            && !stale_on_replay
        {
            return or_lost(after, ContinuationToken::new(next.clone()));
        }
        if append.continuation.as_str() != state.continuation() {
            return Err(Error::StaleContinuation {
                channel: channel.to_owned(),
                message: "scripted".to_owned(),
            });
        }
        state.row_sequencer += 1;
        let next = state.continuation();
        state.last_request = Some((append.request_id.clone(), next.clone()));
        state.accepted.push_back(Taken {
            channel: channel.to_owned(),
            end_token: append.end_token.clone(),
            rows: append.rows,
            body: append.body.clone(),
        });
        or_lost(after, ContinuationToken::new(next))
    }

    async fn channel_status(&self, channels: &[String]) -> Result<HashMap<String, ChannelStatus>, Error> {
        let mut all = self.all();
        let after = all.meet("status")?;
        let known = channels
            .iter()
            .filter_map(|name| Some((name.clone(), all.channels.get(name)?.status())));
        or_lost(after, known.collect())
    }

    async fn drop_channel(&self, channel: &str) -> Result<(), Error> {
        let mut all = self.all();
        let after = all.meet("drop")?;
        all.channels.remove(channel);
        or_lost(after, ())
    }

    async fn table(&self) -> Result<Option<TableFacts>, Error> {
        Ok(self.all().table.clone())
    }
}
