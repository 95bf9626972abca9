//! Has what is to be read next left the stream?
//!
//! How it works: Kinesis says nothing when a place that is asked for is older than the stream's retention: reading begins at the
//! oldest record, or the place is refused. So before reading goes on, the lease row's `read_until_ms` is held against the
//! retention. If all that arrived since then must still be there, nothing is asked. If not, or if that moment is not known, or the
//! place was refused, the position's own record is looked for: while it is there, so is everything behind it.
//!
//! What it guarantees: a span that may have left the stream unread is told once for each start of the shard
//! ([`Event::DataExpired`]), and reading goes on at the oldest record. What it does not: nobody can tell how many records
//! there were, or whether there were any; and while the look itself fails, nothing is told and reading goes on as it can.

use std::time::Duration;

use frazil_kinesis::StartAt;
use frazil_lease::ShardState;
use frazil_model::position::compare_sequences;
use frazil_model::{Event, Position};

use crate::error::Error;
use crate::shape::iso8601;
use crate::shard::Way;
use crate::shard::place::LOOK_BYTES;

/// How long the look may take.
const LOOK_LIMIT: Duration = Duration::from_secs(10);
/// Answers without records that the look goes through.
const MOST_HOPS: usize = 10;

/// What is known about a shard's place from its sessions so far.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// Kinesis refused something; perhaps the place.
    refused: bool,
    /// The loss was told.
    told: bool,
}

/// What became of a position's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// It is there.
    There,
    /// It is not, and reading from it may begin at the oldest record.
    Gone,
    /// That could not be found out.
    Unknown,
}

impl Doubts {
    /// Takes in why a session ended.
    pub(super) fn meet(&mut self, error: &Error) {
        self.refused = matches!(error, Error::Kinesis(frazil_kinesis::Error::Refused { .. }));
    }

    /// Whether reading must go on at the oldest record because the place behind `after` has left the stream. Tells it where
    /// something may have been lost.
    pub(super) async fn is_out_of_stream(
        &mut self,
        way: &Way,
        row: &ShardState,
        after: Option<&Position>,
    ) -> bool {
        let (clock, retention_ms) = (
            &way.parts.clock,
            i64::from(way.stream.retention_hours) * 3_600_000,
        );
        let horizon_ms = clock.wall_ms() - retention_ms;
        let all_there = row.read_until_ms.is_some_and(|ms| ms >= horizon_ms);
        if all_there && !self.refused || after.is_none() && row.read_until_ms.is_none() {
            return false;
        }
        let found = match after {
            None => Found::Gone,
            Some(after) => tokio::select! {
                found = look_for(way, after) => found,
                () = clock.sleep(LOOK_LIMIT) => Found::Unknown,
            },
        };
        if found == Found::Gone && !all_there && !std::mem::replace(&mut self.told, true) {
            tell(way, row, after, horizon_ms);
        }
        found == Found::Gone
    }
}

/// Looks for the record of a position.
async fn look_for(way: &Way, position: &Position) -> Found {
    let kinesis = &way.parts.kinesis;
    let at = StartAt::At(position.sequence.clone());
    let mut iterator = match kinesis.shard_iterator(&way.shard, &at).await {
        Ok(iterator) => iterator,
        Err(frazil_kinesis::Error::Refused { .. }) => return Found::Gone,
        Err(_) => return Found::Unknown,
    };
    for _ in 0..MOST_HOPS {
        let Ok(mut page) = kinesis.get_records(&iterator, 1, LOOK_BYTES).await else {
            return Found::Unknown;
        };
        if let Some(first) = page.records().next() {
            let is_later = compare_sequences(first.sequence_number, position.sequence.as_str()).is_gt();
            return if is_later { Found::Gone } else { Found::There };
        }
        match page.next.take() {
            Some(next) if page.millis_behind > 0 => iterator = next,
            // There is nothing at all from it on.
            _ => return Found::Gone,
        }
    }
    Found::Unknown
}

fn tell(way: &Way, row: &ShardState, after: Option<&Position>, horizon_ms: i64) {
    let hours = way.stream.retention_hours;
    let since = row
        .read_until_ms
        .map_or_else(|| "the last reading".to_owned(), moment);
    let position = after.map_or_else(|| "the start".to_owned(), ToString::to_string);
    let detail = format!(
        "reading stopped for longer than the stream's retention of {hours} h: what arrived between {since} and {} behind {position} \
         left the stream unread, if there was anything; reading goes on at the oldest record",
        moment(horizon_ms)
    );
    let shard = way.shard.clone();
    way.parts.events.emit(Event::DataExpired { shard, detail });
}

fn moment(ms: i64) -> String {
    let text = iso8601(ms).map(|text| String::from_utf8_lossy(&text).into_owned());
    text.unwrap_or_else(|| format!("{ms} ms"))
}
