//! From what is read to batches.
//!
//! How it works: pages are shaped into the batch under construction; it is sent when it is full, or when nothing more is here and
//! the next append may begin. What a payload needs beyond its page's memory is got here, too.
//!
//! What it guarantees: a batch's dead letters are kept before it is appended (D4); memory is given back with the batch that its
//! page ends in (I8).

use std::time::Duration;

use frazil_kinesis::{RecordPage, StartAt};

use super::Session;
use crate::batch::{Filled, Finished};
use crate::budget::Reservation;
use crate::error::Error;
use crate::shard::reading::{Pages, Read};

/// Pages that are here already are gathered into one batch while it holds less than this.
const ENOUGH_RAW: usize = 2 * 1024 * 1024;

/// A payload that got no memory for so long lets go of all that the shard holds.
const FEED_LIMIT: Duration = Duration::from_secs(20);

impl Session<'_> {
    /// Takes what came out of the shard.
    pub(super) async fn take(&mut self, read: Option<Read>) -> Result<(), Error> {
        let mut read = read;
        loop {
            match read {
                Some(Read::Page(page, memory)) => self.shape(page, memory).await?,
                Some(Read::Idle { reached, until_ms }) => {
                    self.send().await?;
                    self.meet_idle(reached, until_ms);
                    return Ok(());
                }
                Some(Read::End(children)) => {
                    self.send().await?;
                    self.read_to_end = Some(children);
                    return Ok(());
                }
                Some(Read::Failed(error)) => return Err(error.into()),
                None => {
                    return Err(Error::ReaderDied {
                        shard: self.way.shard.clone(),
                    });
                }
            }
            if self.builder.raw_bytes() >= ENOUGH_RAW {
                break;
            }
            match self.next_for_batch().await {
                Some(next) => read = Some(next),
                None => break,
            }
        }
        self.send().await
    }

    /// What else came out of the shard before the next append may begin. A shard that has appended nothing for a while waits for
    /// nothing.
    async fn next_for_batch(&mut self) -> Option<Read> {
        let clock = &self.way.parts.clock;
        let wait = self.append_due.since(clock.now());
        if wait.is_zero() || self.builder.rows() == 0 {
            return self.pages.try_next();
        }
        tokio::select! {
            biased;
            read = self.pages.next() => read,
            () = clock.sleep(wait) => None,
        }
    }

    async fn shape(&mut self, page: RecordPage, memory: Reservation) -> Result<(), Error> {
        self.memory.push(memory);
        let compressors = &self.way.compressors;
        self.builder.gather_in(|| compressors.buffer());
        loop {
            self.builder.allow(self.memory.allowance());
            self.builder.allow_rows(self.course.suspicion.most_rows());
            let (after, letters) = (self.after.as_ref(), &mut self.letters);
            match self.shaper.shape(&page, after, &mut self.builder, letters) {
                Filled::PageDone => break,
                Filled::BatchFull if self.builder.is_starved => self.feed().await?,
                Filled::BatchFull if !self.builder.is_full() && self.memory.grow(&self.way.parts.budget) => {}
                Filled::BatchFull => {
                    // The page's memory is given back with its last batch.
                    let memory = std::mem::take(&mut self.memory);
                    self.send().await?;
                    self.memory = memory;
                    self.builder.gather_in(|| compressors.buffer());
                }
            }
        }
        if std::mem::take(&mut self.let_go_ahead)
            && let Some(last) = page.last_sequence()
        {
            let start = StartAt::After(last.clone());
            self.pages = Pages::start(self.way.reading(start, self.read_until_ms));
        }
        let counts = self.shaper.take_counts();
        counts.tell(&self.way.parts.events, &self.way.shard);
        Ok(())
    }

    /// Gets memory for a payload that decompresses to more than is paid for. Where it is not there now, what was read ahead is
    /// let go of, and read again behind this page.
    async fn feed(&mut self) -> Result<(), Error> {
        let budget = &self.way.parts.budget;
        let bytes = self.memory.wanted().unwrap_or_default();
        if let Some(more) = budget.try_reserve(bytes) {
            self.memory.push(more);
            return Ok(());
        }
        let no_memory = |waited| Error::NoMemory {
            shard: self.way.shard.clone(),
            bytes,
            waited,
        };
        let lane = budget.try_lane().ok_or_else(|| no_memory(Duration::ZERO))?;
        self.pages.let_go();
        self.let_go_ahead = true;
        let more = tokio::select! {
            more = budget.reserve(bytes) => more,
            () = self.way.parts.clock.sleep(FEED_LIMIT) => return Err(no_memory(FEED_LIMIT)),
        };
        drop(lane);
        self.memory.push(more);
        Ok(())
    }

    /// Sends what was gathered, after its dead letters are kept.
    pub(super) async fn send(&mut self) -> Result<(), Error> {
        let (begun, finished) = {
            let mut compressor = self.way.compressors.lend();
            let begun = self.way.parts.clock.now();
            (begun, self.builder.finish(&mut compressor, &mut self.letters))
        };
        if let Finished::Batches(_) = finished {
            let now = self.way.parts.clock.now();
            self.way.compressors.spent(now.since(begun), now);
        }
        if let Some(buffer) = self.builder.take_buffer() {
            self.way.compressors.keep_buffer(buffer);
        }
        self.keep_letters().await?;
        match finished {
            Finished::Nothing => {}
            Finished::Settled { to } => {
                self.reached = Some(to.clone());
                self.settled = Some(to);
                self.settle();
            }
            Finished::Batches(batches) => {
                let reached = batches.first().map(|(_, batch)| batch.to.clone());
                self.append(batches).await?;
                self.reached = reached;
            }
        }
        self.memory.clear();
        Ok(())
    }
}
