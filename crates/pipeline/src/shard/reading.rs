//! Reads a shard ahead of its writer, one page at a time.
//!
//! How it works: wait for the shard's pace, set memory aside for a page and for what becomes of it, fetch, give back what
//! the page did not need, hand both over. The hand-over holds one page, so at most two pages of a shard are in memory
//! before the writer. Enhanced fan-out pushes: there one event waits until its memory is set aside, and no memory is held
//! while an idle shard is listened to.
//!
//! An idle shard says once an hour how far it was looked through ([`Read::Idle`]).
//!
//! What it guarantees: no page is fetched before its memory is set aside (I8), nor while the lease is in doubt. An event that
//! was pushed and gets no memory, or whose follower gets no place, for 20 s is let go of together with its subscription, and
//! comes again later. Dropping the [`Pages`] ends it at its next wait.

use std::sync::Arc;
use std::time::Duration;

use frazil_kinesis::{ChildShard, Fetched, RecordPage};
use frazil_model::{Clock, Event, Events, Instant, SequenceNumber, ShardId, StallReason};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::budget::{MemoryBudget, Reservation};
use crate::shard::MayAct;
use crate::shard::rate::Rate;
use crate::shard::source::Source;

/// What a page costs in memory, as a multiple of its answer's bytes: the answer, the NDJSON made of it (an answer spends
/// at least 170 bytes on each record, the metadata of a row at most about 460), and its compressed form. What becomes
/// larger than that, because it was packed, is paid for when it is unpacked ([`super::memory`]).
pub(crate) const PAGE_COST: usize = 3;
/// The least that is set aside for an answer.
pub(crate) const SMALLEST_PAGE: usize = 64 * 1024;
/// What is set aside for an answer of a busy shard: a second's worth of records as base64, and some more.
const USUAL_PAGE: usize = 4 * 1024 * 1024;
/// The largest answer that is taken. Kinesis answers at most 10 MiB of records (GetRecords, API reference), which is 14 MiB
/// as base64 and up to 5 MiB around 10,000 of them; stand-ins of it are known to answer more.
pub(crate) const LARGEST_PAGE: usize = 64 * 1024 * 1024;
/// A fetch that takes longer gives its memory back and begins again.
const FETCH_LIMIT: Duration = Duration::from_secs(30);
/// What was pushed is not kept for longer while it has to wait.
const HELD_LIMIT: Duration = Duration::from_secs(20);

/// How often a shard without records says how far it was looked through.
pub(crate) const IDLE_TOLD: Duration = Duration::from_secs(60 * 60);

/// What comes out of a shard.
pub(crate) enum Read {
    /// A page and the memory it holds.
    Page(RecordPage, Reservation),
    /// There was nothing behind the last page.
    Idle {
        /// Up to here, where the service says so (enhanced fan-out: `ContinuationSequenceNumber`).
        reached: Option<SequenceNumber>,
        /// Up to this moment, in milliseconds since 1970 UTC.
        until_ms: i64,
    },
    /// The shard is closed and was read to its end.
    End(Vec<ChildShard>),
    /// Reading cannot go on by itself.
    Failed(frazil_kinesis::Error),
}

/// A shard being read; dropped, it is no longer read.
pub(crate) struct Pages {
    pages: mpsc::Receiver<Read>,
    task: JoinHandle<()>,
}

impl Pages {
    /// Starts reading.
    pub(crate) fn start(reading: Reading) -> Self {
        let (sender, pages) = mpsc::channel(1);
        let task = tokio::spawn(reading.run(sender));
        Self { pages, task }
    }

    /// The next of the shard; nothing after an end, a failure, or a fault of this program.
    pub(crate) async fn next(&mut self) -> Option<Read> {
        self.pages.recv().await
    }

    /// Reads no more.
    pub(crate) fn stop(&mut self) {
        self.task.abort();
        self.pages.close();
    }

    /// Reads no more, and drops what was read ahead.
    pub(crate) fn let_go(&mut self) {
        self.stop();
        while self.pages.try_recv().is_ok() {}
    }

    /// The next, if it is here already.
    pub(crate) fn try_next(&mut self) -> Option<Read> {
        self.pages.try_recv().ok()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What reading a shard needs.
pub(crate) struct Reading {
    pub(crate) shard: ShardId,
    pub(crate) source: Source,
    /// From when on an empty page is told.
    pub(crate) idle_due: Instant,
    pub(crate) budget: MemoryBudget,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Events,
    pub(crate) may_act: MayAct,
    pub(crate) rate: Rate,
}

impl Reading {
    async fn run(mut self, pages: mpsc::Sender<Read>) {
        let mut expected = SMALLEST_PAGE;
        loop {
            self.source.ready().await;
            let ready_ms = self.clock.wall_ms();
            // An event may have been waited for longer than the lease is sure.
            self.may_act.wait().await;
            let held = self.source.held_bytes();
            let mut memory = self.reserve(held.unwrap_or(expected) * PAGE_COST).await;
            if held.is_some() && self.source.held_bytes().is_none() {
                continue;
            }
            let most = held.map_or(expected, |held| held.max(expected));
            let clock = Arc::clone(&self.clock);
            let fetched = tokio::select! {
                fetched = self.source.next_page(most) => fetched,
                () = clock.sleep(FETCH_LIMIT) => continue,
            };
            let read = match fetched {
                Ok(Fetched::TooLarge { bytes }) if bytes <= LARGEST_PAGE => {
                    expected = bytes;
                    continue;
                }
                Ok(Fetched::TooLarge { bytes }) => {
                    Read::Failed(frazil_kinesis::Error::PageTooLarge { bytes })
                }
                Ok(Fetched::Page(page)) => {
                    self.rate.read(page.bytes(), self.clock.now());
                    let more = (page.bytes() * 4).min(USUAL_PAGE);
                    expected = more.max(page.bytes() * 5 / 4).clamp(SMALLEST_PAGE, LARGEST_PAGE);
                    let now = self.clock.now();
                    if page.is_empty() && now < self.idle_due {
                        continue;
                    }
                    self.idle_due = now + IDLE_TOLD;
                    if page.is_empty() {
                        drop(memory);
                        idle(page, ready_ms)
                    } else {
                        memory.shrink_to(page.bytes() * PAGE_COST);
                        Read::Page(page, memory)
                    }
                }
                Ok(Fetched::End { children }) => Read::End(children),
                Err(error) => Read::Failed(error),
            };
            let last = matches!(read, Read::End(_) | Read::Failed(_));
            if !self.hand_over(&pages, read).await || last {
                return;
            }
        }
    }

    /// Hands over; answers whether anybody takes it.
    async fn hand_over(&mut self, pages: &mpsc::Sender<Read>, read: Read) -> bool {
        let mut place = std::pin::pin!(pages.reserve());
        let place = tokio::select! {
            biased;
            place = &mut place => place,
            () = self.clock.sleep(HELD_LIMIT) => {
                self.source.let_go();
                place.await
            }
        };
        place.map(|place| place.send(read)).is_ok()
    }

    /// Sets memory aside; tells when that takes long, and lets go of what was pushed.
    async fn reserve(&mut self, bytes: usize) -> Reservation {
        let mut reserve = std::pin::pin!(self.budget.reserve(bytes));
        tokio::select! {
            biased;
            memory = &mut reserve => return memory,
            () = self.clock.sleep(HELD_LIMIT) => {}
        }
        self.source.let_go();
        let error = format!(
            "the memory budget of {} bytes is used up by rows that wait for Snowflake; raise `memory_budget` if this lasts",
            self.budget.total()
        );
        let (shard, reason) = (self.shard.clone(), StallReason::MemoryBudget);
        self.events.emit(Event::ShardStalled {
            shard: shard.clone(),
            reason,
            error,
        });
        let memory = reserve.await;
        self.events.emit(Event::ShardMoves { shard });
        memory
    }
}

/// What an empty page says that was asked for, or came, not before this moment.
fn idle(page: RecordPage, at_ms: i64) -> Read {
    let behind = i64::try_from(page.millis_behind).unwrap_or(i64::MAX);
    Read::Idle {
        until_ms: at_ms.saturating_sub(behind),
        reached: page.continuation,
    }
}

#[cfg(test)]
mod tests;
