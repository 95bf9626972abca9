//! One channel: ordered batches in, committed positions out.
//!
//! How it works: [`Channel::open`] fences everybody else and tells the committed token. [`Channel::append`] sends one batch
//! at a time, each with the continuation token of the one before; a lost answer is met by sending the identical request
//! again. Accepted batches are remembered as *spans*: an end position and a count of rows, no bytes. [`Channel::observe`]
//! takes a status in and says what is proved.
//!
//! The proof has two halves. The *token* must stand at or behind a span's end. And the *counts* must add up: rows inserted
//! plus row errors, less the [`Baseline`], must cover the rows of every span up to there, and when the token stands at the
//! last accepted batch they must be equal. Counters may lag the token, so a lack is borne while they move and for
//! [`COUNTER_PATIENCE`] after; a surplus, or a lack that stays, is [`Proof::Mismatch`].
//!
//! The baseline is what the counters stood at when the first span began. It is *proved* where the channel's token is just
//! the position that the lease row remembers, with the counters it remembers. Else it is read at the open and *assumed*:
//! counters may have lagged then, so for [`COUNTER_PATIENCE`] a surplus in a quiet moment moves the baseline. A busy channel has no
//! quiet moment: where a surplus shows, it asks for one ([`Channel::wants_quiet`]). Counters that rest on an assumption are not
//! exact, and are not to be remembered as if they were ([`Channel::has_exact_counts`]).
//!
//! What it guarantees: nothing is called committed whose token does not stand, or whose rows the counters do not cover
//! (I2, I3); after any error but a throttle nothing is sent on this value again: the caller opens the channel anew. What it
//! does not: it does not know who holds the lease (I7 is its caller's).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use frazil_model::{Clock, ErrorKind, Instant, OffsetToken, Position, Random, RetryPolicy};

use crate::error::Error;
use crate::pipe::{Append, ChannelStatus, ContinuationToken, Opened, Snowpipe};
use crate::situation::MADE_ANEW;

/// How long counters may lag the token.
pub const COUNTER_PATIENCE: Duration = Duration::from_secs(60);
/// How long one batch is sent again before the channel is given up and its bytes are let go.
pub const APPEND_PATIENCE: Duration = Duration::from_secs(30);
/// How long an open waits for rows to be committed that could not be read again.
pub const COMMIT_PATIENCE: Duration = Duration::from_secs(60);
/// How long an open waits for another open of the same channel.
const OPEN_PATIENCE: Duration = Duration::from_secs(60);

/// Rows for one append.
#[derive(Debug, Clone)]
pub struct Batch {
    /// NDJSON, compressed with zstd.
    pub body: Bytes,
    /// Bytes of the NDJSON.
    pub uncompressed_bytes: usize,
    /// Lines of the NDJSON.
    pub rows: u64,
    /// The first row.
    pub from: Position,
    /// The last position that is settled when these rows are committed.
    pub to: Position,
    /// When the oldest row arrived in Kinesis, in milliseconds since 1970 UTC.
    pub oldest_arrival_ms: Option<i64>,
}

/// Counters of a channel at a proved position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Rows in the table.
    pub rows_inserted: i64,
    /// Rows that did not fit the table.
    pub row_errors: i64,
}

impl Counts {
    fn of(status: &ChannelStatus) -> Self {
        Self {
            rows_inserted: status.rows_inserted,
            row_errors: status.row_errors,
        }
    }

    fn total(self) -> i64 {
        self.rows_inserted.saturating_add(self.row_errors)
    }
}

/// What the counters stood at when the first span began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// Remembered with the position at which the token stands.
    Proved(Counts),
    /// As read at the open.
    Assumed,
}

/// What an open does with rows that were accepted and are not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncommitted {
    /// The service discards them; they are read again.
    Discard,
    /// They may be gone from where they came from: wait until they are committed, at most [`COMMIT_PATIENCE`], then discard.
    AwaitCommit,
}

/// What a status proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Nothing new.
    Waiting,
    /// These spans are committed.
    Committed {
        /// The end of the last of them.
        up_to: Position,
        /// Rows of theirs in the table.
        rows: u64,
        /// Rows of theirs that the channel counted as errors.
        row_errors: u64,
        /// When their oldest row arrived in Kinesis.
        oldest_arrival_ms: Option<i64>,
    },
    /// The counters contradict what was sent.
    Mismatch {
        /// What rows and row errors must add up to.
        expected: i64,
        /// What they add up to.
        found: i64,
    },
    /// Nothing more will be committed on this open.
    MustReopen {
        /// Why: the channel's status code, or words of ours.
        code: String,
    },
}

#[derive(Debug, Clone)]
struct Span {
    to: Position,
    rows: i64,
    oldest_arrival_ms: Option<i64>,
}

/// An open channel.
#[derive(Debug)]
pub struct Channel {
    pipe: Arc<dyn Snowpipe>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    name: String,
    continuation: ContinuationToken,
    /// Accepted, not yet proved, oldest first.
    spans: VecDeque<Span>,
    /// The token of the last status.
    token: Option<Position>,
    /// Counters at the end of the last proved span.
    proved: Counts,
    assumed_until: Option<Instant>,
    /// The counters are ahead of what the token covers, as they are where they had lagged at the open.
    is_ahead: bool,
    /// `proved` rests on no assumption.
    is_exact: bool,
    /// Since when the counters lack something, and what they were then.
    lacking: Option<(Instant, i64)>,
    created_on_ms: i64,
}

impl Channel {
    /// Opens the channel. What was accepted and not committed before is discarded by the service, at once or after a wait.
    ///
    /// # Errors
    /// [`Error::ForeignToken`] where the channel has a token that is not ours, and those of [`Snowpipe::open_channel`].
    pub async fn open(
        pipe: Arc<dyn Snowpipe>,
        name: &str,
        uncommitted: Uncommitted,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<(Self, ChannelStatus), Error> {
        let opened = open_once_free(&*pipe, name, uncommitted, &*clock, &*random).await?;
        let Opened { continuation, status } = opened;
        let token = parse(name, &status)?;
        let now = clock.now();
        let channel = Self {
            pipe,
            clock,
            random,
            name: name.to_owned(),
            continuation,
            spans: VecDeque::new(),
            token,
            proved: Counts::of(&status),
            assumed_until: Some(now + COUNTER_PATIENCE),
            is_ahead: false,
            is_exact: false,
            lacking: None,
            created_on_ms: status.created_on_ms,
        };
        Ok((channel, status))
    }

    /// The channel's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When the channel was made.
    #[must_use]
    pub fn created_on_ms(&self) -> i64 {
        self.created_on_ms
    }

    /// The committed token as of the open or the last status.
    #[must_use]
    pub fn token(&self) -> Option<&Position> {
        self.token.as_ref()
    }

    /// Says what the counters stood at; only before the first append.
    pub fn set_baseline(&mut self, baseline: Baseline) {
        if let Baseline::Proved(counts) = baseline {
            self.proved = counts;
            (self.assumed_until, self.is_exact) = (None, true);
        }
    }

    /// Counters at the end of the last proved span.
    #[must_use]
    pub fn proved(&self) -> Counts {
        self.proved
    }

    /// Whether [`Channel::proved`] can be remembered: the counters did not lag when it was read.
    #[must_use]
    pub fn has_exact_counts(&self) -> bool {
        self.is_exact
    }

    /// Whether the next append is to wait until nothing is outstanding: only then it shows what the counters stand at.
    #[must_use]
    pub fn wants_quiet(&self) -> bool {
        self.is_ahead
    }

    /// Whether batches are accepted and not proved.
    #[must_use]
    pub fn has_outstanding(&self) -> bool {
        !self.spans.is_empty()
    }

    /// The end of the oldest batch that is accepted and not proved.
    #[must_use]
    pub fn first_outstanding(&self) -> Option<&Position> {
        self.spans.front().map(|span| &span.to)
    }

    /// Sends a batch until it is accepted, identically each time, for at most [`APPEND_PATIENCE`].
    ///
    /// # Errors
    /// Those of [`Snowpipe::append_rows`]. Whether the rows were accepted is then unknown; the caller opens the channel
    /// again, and its token decides.
    pub async fn append(&mut self, batch: &Batch) -> Result<(), Error> {
        let mut append = Append {
            body: batch.body.clone(),
            uncompressed_bytes: batch.uncompressed_bytes,
            rows: batch.rows,
            start_token: batch.from.token().to_string(),
            end_token: batch.to.token().to_string(),
            continuation: self.continuation.clone(),
            request_id: self.random.uuid(),
            retry_count: 0,
        };
        let begun = self.clock.now();
        let mut backoff = RetryPolicy::NETWORK.start();
        loop {
            match self.pipe.append_rows(&self.name, &append).await {
                Ok(next) => {
                    self.continuation = next;
                    let rows = i64::try_from(batch.rows).unwrap_or(i64::MAX);
                    let oldest_arrival_ms = batch.oldest_arrival_ms;
                    self.spans.push_back(Span {
                        to: batch.to.clone(),
                        rows,
                        oldest_arrival_ms,
                    });
                    return Ok(());
                }
                // Nothing of ours was lost on the way: it was not we who moved the channel on.
                Err(Error::StaleContinuation { .. }) if append.retry_count == 0 => {
                    let channel = self.name.clone();
                    return Err(Error::AnotherWriter { channel });
                }
                Err(error) if !error.is_worth_sending_again() => return Err(error),
                Err(error) => {
                    let mut wait = backoff.next_wait(&*self.random);
                    if let Error::Throttled {
                        retry_after: Some(asked),
                        ..
                    } = &error
                    {
                        wait = wait.max(*asked);
                    }
                    if self.clock.now().since(begun) + wait > APPEND_PATIENCE {
                        return Err(error);
                    }
                    self.clock.sleep(wait).await;
                    append.retry_count += 1;
                }
            }
        }
    }

    /// Takes a status in.
    ///
    /// # Errors
    /// [`Error::ForeignToken`].
    pub fn observe(&mut self, status: &ChannelStatus) -> Result<Proof, Error> {
        if !status.is_healthy() {
            return Ok(Proof::MustReopen {
                code: status.code.clone(),
            });
        }
        if status.created_on_ms != self.created_on_ms {
            return Ok(Proof::MustReopen {
                code: MADE_ANEW.to_owned(),
            });
        }
        let token = parse(&self.name, status)?;
        if token < self.token {
            // Asked before what we know already; answers may overtake each other.
            return Ok(Proof::Waiting);
        }
        self.token = token;
        let now = self.clock.now();
        let counts = Counts::of(status);
        let found = counts.total() - self.proved.total();
        let (reached, reached_rows) = self.reached();
        if reached == self.spans.len() && found > reached_rows {
            return Ok(self.surplus(now, counts, reached_rows, found));
        }
        if found < reached_rows {
            let lacking = *self.lacking.get_or_insert((now, found));
            if lacking.1 != found {
                self.lacking = Some((now, found));
            } else if now.since(lacking.0) > COUNTER_PATIENCE {
                return Ok(Proof::Mismatch {
                    expected: reached_rows,
                    found,
                });
            }
        } else {
            self.lacking = None;
        }
        // A boundary at which the counters stand exactly is a place where they can be remembered.
        match self.boundary(reached, found) {
            0 => {
                self.is_ahead |= found > reached_rows && self.is_assumed(now);
                Ok(Proof::Waiting)
            }
            count => Ok(self.commit(count, counts)),
        }
    }

    /// How many spans the token covers, and their rows.
    fn reached(&self) -> (usize, i64) {
        let Some(token) = &self.token else { return (0, 0) };
        let spans = self.spans.iter().take_while(|span| span.to <= *token);
        spans.fold((0, 0), |(count, rows), span| (count + 1, rows + span.rows))
    }

    /// The most of the first `reached` spans whose rows are just what was found.
    fn boundary(&self, reached: usize, found: i64) -> usize {
        let mut rows = 0;
        let mut boundary = 0;
        for (index, span) in self.spans.iter().take(reached).enumerate() {
            rows += span.rows;
            if rows == found {
                boundary = index + 1;
            }
        }
        boundary
    }

    fn is_assumed(&self, now: Instant) -> bool {
        self.assumed_until.is_some_and(|until| now < until)
    }

    fn surplus(&mut self, now: Instant, counts: Counts, expected: i64, found: i64) -> Proof {
        if !self.is_assumed(now) && !self.is_ahead {
            return Proof::Mismatch { expected, found };
        }
        // The counters had lagged at the open: the surplus belongs to rows of before.
        let all = self.spans.len();
        if all > 0 {
            return self.commit(all, counts);
        }
        self.proved = counts;
        self.is_ahead = false;
        Proof::Waiting
    }

    fn commit(&mut self, count: usize, counts: Counts) -> Proof {
        let spans: Vec<Span> = self.spans.drain(..count).collect();
        let sent: i64 = spans.iter().map(|span| span.rows).sum();
        let row_errors = counts
            .row_errors
            .saturating_sub(self.proved.row_errors)
            .clamp(0, sent);
        self.proved = counts;
        self.is_ahead = false;
        self.is_exact |= !self.is_assumed(self.clock.now());
        let Some(last) = spans.last() else {
            return Proof::Waiting;
        };
        Proof::Committed {
            up_to: last.to.clone(),
            rows: (sent - row_errors).unsigned_abs(),
            row_errors: row_errors.unsigned_abs(),
            oldest_arrival_ms: spans.iter().filter_map(|span| span.oldest_arrival_ms).min(),
        }
    }
}

fn parse(channel: &str, status: &ChannelStatus) -> Result<Option<Position>, Error> {
    let Some(text) = &status.committed_token else {
        return Ok(None);
    };
    let token: Result<OffsetToken, _> = text.parse();
    match token {
        Ok(token) => Ok(Some(token.position())),
        Err(source) => Err(Error::ForeignToken {
            channel: channel.to_owned(),
            source,
        }),
    }
}

async fn open_once_free(
    pipe: &dyn Snowpipe,
    name: &str,
    uncommitted: Uncommitted,
    clock: &dyn Clock,
    random: &dyn Random,
) -> Result<Opened, Error> {
    let begun = clock.now();
    let mut backoff = RetryPolicy::NETWORK.start();
    let mut wait_for_commit = uncommitted == Uncommitted::AwaitCommit;
    let mut is_told = false;
    let patience = match uncommitted {
        Uncommitted::Discard => OPEN_PATIENCE,
        Uncommitted::AwaitCommit => COMMIT_PATIENCE + OPEN_PATIENCE,
    };
    loop {
        let error = match pipe.open_channel(name, wait_for_commit).await {
            Err(error @ (Error::OpenInProgress { .. } | Error::UncommittedRows { .. })) => error,
            other => return other,
        };
        debug_assert_eq!(error.kind(), ErrorKind::Retry);
        if matches!(error, Error::UncommittedRows { .. }) && !is_told {
            is_told = true;
            tracing::info!(
                channel = name,
                "channel opens once its accepted rows are committed"
            );
        }
        let wait = backoff.next_wait(random);
        let waited = clock.now().since(begun) + wait;
        if wait_for_commit && waited > COMMIT_PATIENCE {
            // One last try, without a condition.
            wait_for_commit = false;
            continue;
        }
        if !wait_for_commit && waited > patience {
            return Err(error);
        }
        clock.sleep(wait).await;
    }
}

#[cfg(test)]
mod tests;
