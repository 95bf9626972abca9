//! How often one shard is asked, and for how many records.
//!
//! How it works: a shard gives 5 answers and 2 MiB a second to all its pollers together (Kinesis API reference, `GetRecords`).
//! Calls are 200 ms apart, and a large answer is paid off at 2 MiB a second before the next. A throttle means that somebody
//! else polls the shard too: the distance doubles, and each answer after it shortens it a little again (additive increase,
//! multiplicative decrease), so that pollers who do not know of each other come to share. How many records are asked for
//! follows from their average size, so that an answer fits the memory set aside for it, and no answer locks the shard for
//! seconds (after 10 MiB it refuses calls for 5 s).
//!
//! What it guarantees: no wait but the pace while reading is behind; none beyond the pace at the tip, unless the shard had
//! nothing for a minute.

use std::time::Duration;

use frazil_model::{Clock, Instant, Random};

/// Calls of one shard are at least this far apart.
pub(crate) const SPACING: Duration = Duration::from_millis(200);
/// Calls of a shard that had nothing for long.
const IDLE_SPACING: Duration = Duration::from_secs(1);
/// Empty answers at the tip before a shard counts as idle: a minute of them.
const IDLE_AFTER: u32 = 300;
/// Calls of a shard with many other pollers are at most this far apart.
pub(crate) const WIDEST_SPACING: Duration = Duration::from_secs(2);
/// What each answer takes off a distance that a throttle had widened.
const NARROWING: Duration = Duration::from_millis(20);
/// Bytes of records a second that a shard gives.
const BYTES_PER_SECOND: f64 = 2.0 * 1024.0 * 1024.0;
/// Bytes of an answer that are aimed at: one second's worth, as base64.
const TARGET_BYTES: f64 = BYTES_PER_SECOND / BASE64;
/// Records of one answer at most.
const MOST_RECORDS: u32 = 10_000;
/// Bytes of an answer for one record, before any was seen.
const FIRST_GUESS: f64 = 6_000.0;
/// Weight of the newest answer in the average.
const WEIGHT: f64 = 0.3;
/// How much of the room is planned for: records differ.
const ROOM: f64 = 0.8;
/// Base64 is a third longer than what it stands for.
const BASE64: f64 = 0.75;

/// The pace of one shard.
#[derive(Debug)]
pub(crate) struct Pace {
    next_call: Instant,
    spacing: Duration,
    empty: u32,
    bytes_per_record: f64,
    /// An answer to this many records was too large for the room there was.
    at_most: Option<u32>,
}

impl Pace {
    /// A pace whose first call is within the first 200 ms, so that shards that begin together do not call in step.
    pub(crate) fn begin(now: Instant, random: &dyn Random) -> Self {
        Self {
            next_call: now + SPACING.mul_f64(random.fraction()),
            spacing: SPACING,
            empty: 0,
            bytes_per_record: FIRST_GUESS,
            at_most: None,
        }
    }

    /// Waits for the next call's turn.
    pub(crate) async fn ready(&self, clock: &dyn Clock) {
        let wait = self.next_call.since(clock.now());
        if !wait.is_zero() {
            clock.sleep(wait).await;
        }
    }

    /// How many records to ask for, so that the answer has at most about `max_bytes`.
    pub(crate) fn limit(&self, max_bytes: usize) -> u32 {
        let room = (max_bytes as f64 * ROOM).min(TARGET_BYTES);
        let fitting = (room / self.bytes_per_record) as u32;
        fitting
            .min(self.at_most.unwrap_or(MOST_RECORDS))
            .clamp(1, MOST_RECORDS)
    }

    /// An answer came.
    pub(crate) fn answered(&mut self, now: Instant, random: &dyn Random, page: Answered) {
        self.at_most = None;
        self.spacing = self.spacing.saturating_sub(NARROWING).max(SPACING);
        if page.records > 0 {
            let each = page.bytes as f64 / page.records as f64;
            self.bytes_per_record += (each - self.bytes_per_record) * WEIGHT;
            // A guess that was too small costs an answer read twice; one too large only a call more.
            self.bytes_per_record = self.bytes_per_record.max(each);
        }
        self.empty = if page.records == 0 && page.millis_behind == 0 {
            self.empty.saturating_add(1)
        } else {
            0
        };
        let spacing = if self.empty > IDLE_AFTER {
            self.spacing.max(IDLE_SPACING)
        } else {
            self.spacing
        };
        let spacing = spacing.mul_f64(1.0 + 0.1 * random.fraction());
        self.next_call = now + spacing.max(debt(page.records, page.bytes));
    }

    /// The answer to `limit` records had more bytes than there was room for; it is paid off all the same.
    pub(crate) fn too_large(&mut self, now: Instant, limit: u32, bytes: usize) {
        self.at_most = Some(limit);
        self.next_call = now + SPACING.max(debt(1, bytes));
    }

    /// The call failed; the next is not before `wait`.
    pub(crate) fn failed(&mut self, now: Instant, random: &dyn Random, wait: Duration, throttled: bool) {
        if throttled {
            self.spacing = (self.spacing * 2).min(WIDEST_SPACING);
        }
        let spacing = self.spacing.mul_f64(1.0 + 0.1 * random.fraction());
        self.next_call = now + wait.max(spacing);
    }
}

/// What the pace wants to know of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
    pub(crate) millis_behind: u64,
}

/// How long the shard gives nothing more for an answer of these bytes.
fn debt(records: usize, bytes: usize) -> Duration {
    if records == 0 {
        return Duration::ZERO;
    }
    Duration::from_secs_f64(bytes as f64 * BASE64 / BYTES_PER_SECOND)
}
