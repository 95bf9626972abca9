//! Reads one shard by polling, in order, without a gap.
//!
//! How it works: [`ShardReader::next_page`] keeps an iterator; where it has none, or the service forgot it, it asks for one
//! behind the last record that it gave out, or at the start if it gave out none. It keeps the shard's pace
//! ([`crate::pace`]), alone or among other pollers.
//!
//! What it guarantees: pages come in order and without a gap, whatever fails between them; dropping a `next_page` that has
//! not ended loses nothing. Every wait has a bound and jitter. What may heal is tried again here and nowhere else, and a
//! shard that stands still is told.
//!
//! What it does not: it holds no memory budget (the caller passes what it may read), and it does not know LATEST: a start
//! that moves would make a gap at the first lost iterator.

use std::sync::Arc;
use std::time::Duration;

use frazil_model::{
    Backoff, Clock, ErrorKind, Event, Events, Random, RetryPolicy, SequenceNumber, ShardId, StallReason,
};

use crate::door::{Kinesis, StartAt};
use crate::error::Error;
use crate::pace::{Answered, Pace};
use crate::page::{ChildShard, RecordPage, ShardIterator};

/// Failures in a row after which the shard is told to stand still.
pub(crate) const FAILURES_BEFORE_STALL: u32 = 5;
const RETRY: RetryPolicy = RetryPolicy::NETWORK;

/// What a call of [`ShardReader::next_page`] gives.
#[derive(Debug)]
pub enum Fetched {
    /// Records, perhaps none.
    Page(RecordPage),
    /// The answer has this many bytes: ask again with at least as many.
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
    /// The shard is closed and every record of it was given out.
    End {
        /// The shards that go on, if the service named them.
        children: Vec<ChildShard>,
    },
}

/// One shard being read.
#[derive(Debug)]
pub struct ShardReader {
    kinesis: Arc<dyn Kinesis>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    events: Events,
    shard: ShardId,
    start: StartAt,
    last: Option<SequenceNumber>,
    iterator: Option<ShardIterator>,
    ended: Option<Vec<ChildShard>>,
    pace: Pace,
    backoff: Backoff,
    stalled: bool,
}

impl ShardReader {
    /// A reader that has not begun.
    #[must_use]
    pub fn new(
        kinesis: Arc<dyn Kinesis>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        events: Events,
        shard: ShardId,
        start: StartAt,
    ) -> Self {
        let pace = Pace::begin(clock.now(), &*random);
        Self {
            kinesis,
            clock,
            random,
            events,
            shard,
            start,
            last: None,
            iterator: None,
            ended: None,
            pace,
            backoff: RETRY.start(),
            stalled: false,
        }
    }

    /// Returns when the shard's pace allows the next call.
    pub async fn ready(&mut self) {
        if self.ended.is_none() {
            self.pace.ready(&*self.clock).await;
        }
    }

    /// The next page, its end, or what the caller must change first.
    ///
    /// # Errors
    /// Whatever does not heal by itself: [`Error::Missing`], [`Error::AccessDenied`], [`Error::BadCredentials`], ...
    pub async fn next_page(&mut self, max_bytes: usize) -> Result<Fetched, Error> {
        loop {
            if let Some(children) = &self.ended {
                return Ok(Fetched::End {
                    children: children.clone(),
                });
            }
            self.ready().await;
            let limit = self.pace.limit(max_bytes);
            let error = match self.fetch(limit, max_bytes).await {
                Ok(page) => return Ok(self.give_out(page)),
                Err(Error::PageTooLarge { bytes }) => {
                    self.pace.too_large(self.clock.now(), limit, bytes);
                    return Ok(Fetched::TooLarge { bytes });
                }
                Err(error) => error,
            };
            self.meet(error)?;
        }
    }

    async fn fetch(&mut self, limit: u32, max_bytes: usize) -> Result<RecordPage, Error> {
        let iterator = match &self.iterator {
            Some(iterator) => iterator.clone(),
            None => {
                let start = self
                    .last
                    .clone()
                    .map_or_else(|| self.start.clone(), StartAt::After);
                let iterator = self.kinesis.shard_iterator(&self.shard, &start).await?;
                self.iterator = Some(iterator.clone());
                iterator
            }
        };
        self.kinesis.get_records(&iterator, limit, max_bytes).await
    }

    fn give_out(&mut self, mut page: RecordPage) -> Fetched {
        self.backoff.reset();
        if std::mem::take(&mut self.stalled) {
            self.events.emit(Event::ShardMoves {
                shard: self.shard.clone(),
            });
        }
        self.iterator = page.next.take();
        if let Some(last) = page.last_sequence() {
            self.last = Some(last.clone());
        }
        let answered = Answered {
            records: page.len(),
            bytes: page.bytes(),
            millis_behind: page.millis_behind,
        };
        self.pace.answered(self.clock.now(), &*self.random, answered);
        self.events.emit(Event::PageRead {
            shard: self.shard.clone(),
            records: page.len() as u64,
            bytes: page.bytes() as u64,
            behind: Duration::from_millis(page.millis_behind),
        });
        if self.iterator.is_none() {
            self.ended = Some(std::mem::take(&mut page.child_shards));
            if page.is_empty() {
                return Fetched::End {
                    children: self.ended.clone().unwrap_or_default(),
                };
            }
        }
        Fetched::Page(page)
    }

    /// What may heal is waited for by the pace; everything else is the caller's.
    fn meet(&mut self, error: Error) -> Result<(), Error> {
        if matches!(error, Error::ExpiredIterator) {
            self.iterator = None;
            return Ok(());
        }
        if !error.kind().may_heal() {
            return Err(error);
        }
        let failures = self.backoff.failures() + 1;
        self.events.emit(Event::CallFailed {
            shard: Some(self.shard.clone()),
            room: "kinesis",
            call: "GetRecords",
            kind: error.kind(),
            error: error.to_string(),
            failures,
        });
        if failures == FAILURES_BEFORE_STALL {
            self.stalled = true;
            let throttled = error.kind() == ErrorKind::SlowDown;
            let reason = if throttled {
                StallReason::Throttled
            } else {
                StallReason::Source
            };
            self.events.emit(Event::ShardStalled {
                shard: self.shard.clone(),
                reason,
                error: error.to_string(),
            });
        }
        // An iterator of an answer that could not be read may be used up; one behind the last record is always right.
        self.iterator = None;
        let wait = self.backoff.next_wait(&*self.random);
        let throttled = error.kind() == ErrorKind::SlowDown;
        self.pace.failed(self.clock.now(), &*self.random, wait, throttled);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
