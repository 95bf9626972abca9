//! Where a session begins: what the lease row and the channel's token say together.

use std::time::Duration;

use frazil_kinesis::StartAt;
use frazil_lease::{
    ChannelMark, Checkpoint, CheckpointOutcome, CountedChannel, ShardStart, ShardState, Tenure,
};
use frazil_model::Position;
use frazil_snowflake::{Counts, Uncommitted};

use crate::error::Error;
use crate::pipes::Placed;
use crate::routes::Placement;
use crate::shape::{HashRangeCheck, ShapeOptions};
use crate::shard::Way;

/// The row of the shard, if it is still ours.
pub(super) async fn own_row(way: &Way, tenure: &Tenure) -> Result<ShardState, Error> {
    let row = way.leases.read(&way.shard).await?;
    let ours = row.epoch == tenure.epoch && row.owner.as_ref() == Some(way.leases.worker());
    if ours {
        Ok(row)
    } else {
        Err(Error::LeaseLost {
            shard: way.shard.clone(),
        })
    }
}

pub(super) fn refuse_stopped(way: &Way, row: &ShardState) -> Result<(), Error> {
    match &row.stop {
        None => Ok(()),
        Some(mark) => Err(Error::Stopped {
            shard: way.shard.clone(),
            mark: mark.clone(),
        }),
    }
}

/// Where the shard is to write. Routes that cannot be followed any more are not given up even where another destination is
/// accepted: their tokens may stand in front of rows that other tables lack.
pub(super) fn placed(way: &Way, row: &ShardState) -> Result<Placed, Error> {
    let before = row.destination.as_deref();
    let was_one = || matches!(before.and_then(Placement::parse), Some(Placement::One(_)));
    match way.pipes.place(&way.shard, before) {
        Some(placed) => Ok(placed),
        None if way.options.accept_destination && was_one() => Ok(way.pipes.place_anew(&way.shard)),
        None => Err(Error::DestinationChanged {
            shard: way.shard.clone(),
            before: before.unwrap_or_default().to_owned(),
            now: way.pipes.names().to_owned(),
        }),
    }
}

/// Writes where the shard writes into its row, if something else stands there, or nothing: what was appended is found only where
/// the row says, whatever the configuration says by then.
pub(super) async fn take_place(
    way: &Way,
    tenure: &Tenure,
    row: &ShardState,
    placement: &Placement,
) -> Result<(), Error> {
    let destination = placement.to_string();
    if row.destination.as_ref() == Some(&destination) {
        return Ok(());
    }
    let place = Checkpoint {
        destination: Some(destination),
        ..Checkpoint::default()
    };
    match way.leases.checkpoint(tenure, place).await? {
        CheckpointOutcome::Done => Ok(()),
        CheckpointOutcome::LeaseLost => Err(Error::LeaseLost {
            shard: way.shard.clone(),
        }),
    }
}

/// What shaping is told. A child that is known by the end of its parent alone comes without its hash keys, and right after
/// a reshard is when they matter; so they are asked for.
pub(super) async fn shaping(way: &Way) -> Result<ShapeOptions, Error> {
    let options = &way.options;
    let mut hash_range = way.hash_range;
    if hash_range.is_none() {
        let shards = match way.parts.kinesis.list_shards().await {
            Ok(shards) => shards,
            // Without them nothing is counted; only where rows depend on them that is worth waiting for.
            Err(_) if options.hash_range_check == HashRangeCheck::Keep => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let this = shards.iter().find(|shard| shard.id == way.shard);
        hash_range = this.map(|shard| shard.hash_range);
    }
    Ok(ShapeOptions {
        metadata: options.metadata.clone(),
        hash_range_check: options.hash_range_check,
        hash_range,
        decompress: options.decompress,
    })
}

/// Where the shard begins without any position: where a takeover or a rewind put it, else where the pin says.
pub(super) fn beginning(way: &Way, row: &ShardState) -> StartAt {
    match &row.start {
        None => way.start.clone(),
        Some(ShardStart::TrimHorizon) => StartAt::TrimHorizon,
        Some(ShardStart::Latest { ms } | ShardStart::AtTimestamp { ms }) => StartAt::Timestamp { ms: *ms },
        Some(ShardStart::AtSequenceNumber { sequence }) => StartAt::At(sequence.0.clone()),
    }
}

/// Where reading goes on behind a position.
pub(super) fn start_behind(position: &Position) -> StartAt {
    let sequence = position.sequence.clone();
    if position.last {
        StartAt::After(sequence)
    } else {
        StartAt::At(sequence)
    }
}

/// Records this close to the end of the stream's retention may be gone before they are read again.
const RETENTION_MARGIN: Duration = Duration::from_secs(60 * 60);
/// How long the look at the oldest record that would be read again may take.
const LOOK_LIMIT: Duration = Duration::from_secs(10);
/// More than one record of the largest size, and what stands around it.
pub(super) const LOOK_BYTES: usize = 16 * 1024 * 1024;

/// What the open of the channel does with rows that were accepted and are not committed: they are discarded and read again,
/// unless Kinesis may have forgotten them by then. That is looked up: when did the first record behind the row's position
/// arrive?
pub(super) async fn uncommitted(way: &Way, row: &ShardState) -> Uncommitted {
    let start = row
        .position
        .as_ref()
        .map_or_else(|| beginning(way, row), start_behind);
    let clock = &way.parts.clock;
    let arrival = tokio::select! {
        arrival = first_arrival(way, &start) => arrival,
        () = clock.sleep(LOOK_LIMIT) => None,
    };
    let retention = Duration::from_secs(u64::from(way.stream.retention_hours) * 3600);
    let margin = i64::try_from(retention.saturating_sub(RETENTION_MARGIN).as_millis()).unwrap_or(i64::MAX);
    match arrival {
        Some(Some(arrival_ms)) if clock.wall_ms() - arrival_ms < margin => Uncommitted::Discard,
        Some(None) => Uncommitted::Discard,
        // Too old, or not to be found out: waiting costs time only where rows are uncommitted.
        _ => Uncommitted::AwaitCommit,
    }
}

/// When the first record arrived that reading from here gives; `Some(None)` where there is none within the first answer, and
/// `None` where that could not be found out.
async fn first_arrival(way: &Way, start: &StartAt) -> Option<Option<i64>> {
    let kinesis = &way.parts.kinesis;
    let iterator = kinesis.shard_iterator(&way.shard, start).await.ok()?;
    match kinesis.get_records(&iterator, 1, LOOK_BYTES).await {
        Ok(page) => match page.records().next() {
            Some(record) => record.arrival_ms.map(Some),
            // Nothing here, though there is something further on.
            None if page.millis_behind > 0 => None,
            None => Some(None),
        },
        Err(_) => None,
    }
}

/// What the row remembers of a channel by its name and pipe, whenever it was made.
pub(super) fn remembered_of<'a>(row: &'a ShardState, mark: &ChannelMark) -> Option<&'a CountedChannel> {
    let is = |known: &&CountedChannel| known.channel.name == mark.name && known.channel.pipe == mark.pipe;
    row.channels.iter().find(is)
}

/// Counters that are known to belong to the channel's token: those of the row, where the channel holds nothing behind the
/// row's position; or none, where the channel has just been made.
pub(super) fn proved_baseline(
    row: &ShardState,
    mark: &ChannelMark,
    token: Option<&Position>,
) -> Option<Counts> {
    match (remembered_of(row, mark), token) {
        (None, None) if row.channels.is_empty() => Some(Counts::default()),
        (Some(before), Some(token))
            if before.channel == *mark
                && !row.foreign_moved
                && before.counters.rows_inserted >= 0
                && Some(token) <= row.position.as_ref() =>
        {
            Some(Counts {
                rows_inserted: before.counters.rows_inserted,
                row_errors: before.counters.row_errors,
            })
        }
        _ => None,
    }
}

/// Whether the channel of before had to be here and is not.
pub(super) fn is_gone(
    row: &ShardState,
    before: Option<&ChannelMark>,
    mark: &ChannelMark,
    token: Option<&Position>,
) -> bool {
    let Some(before) = before else {
        return false;
    };
    let had_rows = remembered_of(row, mark).is_some_and(|known| known.counters.rows_inserted != 0);
    before.created_on_ms != mark.created_on_ms || (token.is_none() && had_rows)
}
