//! One table that a session's rows go to: its channel, and what is known of it.
//!
//! How it works: a session opens the channels of all its tables at once. Where there is more than one, rows that were gathered
//! together go out together, each table's on its own channel, with the token of the same position; and the shard's span is
//! committed up to that position when each of the channels has proved its own.

use std::sync::Arc;

use frazil_lease::{ChannelMark, CountedChannel, Counters};
use frazil_model::{Instant, Position};
use frazil_snowflake::{Batch, Channel, ChannelStatus, Counts, Error, StatusWatch, Uncommitted};
use futures::future::{join_all, select_all};

use crate::pipes::OpenPipe;
use crate::shard::Way;

/// In place of the rows inserted, where it is not known what they were at the position.
const UNKNOWN: i64 = -1;

/// A table's channel, open.
pub(super) struct Outlet {
    pub(super) on: OpenPipe,
    pub(super) channel: Channel,
    pub(super) status: StatusWatch,
    /// What the lease row remembers of the channel.
    pub(super) mark: ChannelMark,
    /// What the row says of the channel, where that is not yet compared with it.
    pub(super) known: Option<CountedChannel>,
    /// Up to here all of the table's rows are proved.
    pub(super) proved: Option<Position>,
    /// When the channel is given up if it commits nothing until then.
    pub(super) commit_due: Instant,
}

impl Outlet {
    /// The channel with what the lease row is to remember of its counters.
    pub(super) fn counted(&self, counts: Counts) -> CountedChannel {
        let Counts {
            rows_inserted,
            row_errors,
        } = counts;
        CountedChannel {
            channel: self.mark.clone(),
            counters: Counters {
                rows_inserted,
                row_errors,
            },
        }
    }

    /// The channel as the lease row is to remember it now.
    pub(super) fn remembered(&self) -> CountedChannel {
        let mut counts = self.channel.proved();
        if !self.channel.has_exact_counts() {
            // Taken for exact by the next session, counters that lagged would contradict what it sends.
            counts.rows_inserted = UNKNOWN;
        }
        let known = self.known.clone();
        known.unwrap_or_else(|| self.counted(counts))
    }

    /// Sends a batch.
    async fn append(&mut self, way: &Way, batch: &Batch) -> Result<(), Error> {
        let was_quiet = !self.channel.has_outstanding();
        self.channel.append(batch).await?;
        if was_quiet {
            self.commit_due = way.parts.clock.now() + way.options.commit_timeout;
        }
        self.status.want(true);
        Ok(())
    }
}

/// Opens a shard's channels on these pipes, all at once; answers each with its status.
pub(super) async fn open(
    way: &Way,
    generation: u64,
    pipes: &[OpenPipe],
    uncommitted: Uncommitted,
) -> Result<Vec<(Outlet, ChannelStatus)>, Error> {
    let opens = pipes.iter().map(async |on| {
        let name = way.channel_name(&on.pipe.destination, generation);
        let (door, clock) = (Arc::clone(&on.pipe.snowpipe), Arc::clone(&way.parts.clock));
        let random = Arc::clone(&way.parts.random);
        let (channel, status) = Channel::open(door, &name, uncommitted, clock, random).await?;
        let mark = ChannelMark {
            name: name.clone(),
            pipe: on.pipe.destination.clone(),
            created_on_ms: channel.created_on_ms(),
        };
        let outlet = Outlet {
            status: on.statuses.watch(&name),
            on: on.clone(),
            known: None,
            proved: channel.token().cloned(),
            channel,
            mark,
            commit_due: way.parts.clock.now(),
        };
        Ok((outlet, status))
    });
    join_all(opens).await.into_iter().collect()
}

/// The next status of any of them, and whose it is.
pub(super) async fn next_status(outlets: &mut [Outlet]) -> (usize, ChannelStatus) {
    let statuses = outlets
        .iter_mut()
        .enumerate()
        .map(|(index, outlet)| Box::pin(async move { (index, outlet.status.next().await) }));
    let (next, _, _) = select_all(statuses).await;
    next
}

/// Sends each batch on its channel, beside each other; answers the first error when all have ended.
pub(super) async fn append_all(
    way: &Way,
    outlets: &mut [Outlet],
    batches: &[(usize, Batch)],
) -> Result<(), Error> {
    let sends = outlets.iter_mut().enumerate().filter_map(|(index, outlet)| {
        let (_, batch) = batches.iter().find(|(to, _)| *to == index)?;
        Some(outlet.append(way, batch))
    });
    join_all(sends).await.into_iter().collect()
}
