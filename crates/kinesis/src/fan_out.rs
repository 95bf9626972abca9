//! Reads one shard by enhanced fan-out, in order, without a gap.
//!
//! How it works: the service pushes events through a subscription, which lives 5 minutes (Kinesis API reference,
//! `SubscribeToShard`). [`FanOutReader`] holds at most one event that nobody has taken yet, and reads the subscription only
//! while somebody asks. A subscription begins behind the furthest point that was given out: the last record, or the
//! continuation number of the last event, which moves on even where nothing is written. It is renewed
//!
//! - when it has lived for 4 to 5 minutes, at a moment that is drawn, so that shards that began together do not end together;
//! - when the service ends it, or it breaks off, at once, but at most once a second;
//! - when nothing came for 35 s of asking: an idle one shows every 5 s that it lives;
//! - when nobody asked for 20 s: what it sent meanwhile waits in the connection's buffers, which are not for keeping things;
//! - when another subscription of the same consumer took over, or began less than 5 s ago ("in use"): that is how a shard
//!   changes hands, so it is tried again each second and counts as no failure.
//!
//! What it guarantees: pages come in order and without a gap, whatever ends a subscription; records that came before are not
//! given out again; dropping a future that has not ended loses nothing. Every wait has a bound and jitter. What may heal is
//! tried again here and nowhere else, and a shard that stands still is told. An end of the shard that names no children is
//! believed when it is told twice.
//!
//! What it does not: it holds no memory budget, but says what it holds ([`FanOutReader::held_bytes`]) and lets go of it when
//! told ([`FanOutReader::let_go`]); it does nothing while nobody asks.

use std::sync::Arc;
use std::time::Duration;

use frazil_model::{
    Backoff, Clock, ErrorKind, Event, Events, Instant, Random, RetryPolicy, SequenceNumber, ShardId,
    StallReason,
};

use crate::consumer::FanOutConsumer;
use crate::door::{FanOutEvent, Kinesis, StartAt, Subscription};
use crate::error::Error;
use crate::page::{ChildShard, RecordPage};
use crate::reader::{FAILURES_BEFORE_STALL, Fetched};

/// Calls of one consumer for one shard are at least this far apart.
const SPACING: Duration = Duration::from_secs(1);
/// An accepted call answers within this, or is made again.
const CALL_LIMIT: Duration = Duration::from_secs(35);
/// A subscription from which nothing came for this long, while it was asked, is broken.
const SILENCE: Duration = Duration::from_secs(35);
/// A subscription that nobody asked for this long is ended.
const UNASKED: Duration = Duration::from_secs(20);
/// A subscription is renewed between this age ...
const RENEW_FROM: Duration = Duration::from_secs(240);
/// ... and this much later: before the service ends it at 300 s.
const RENEW_WITHIN: Duration = Duration::from_secs(55);
/// "In use" this often in a row, about a second apart, is no change of hands any more.
const IN_USE_BEFORE_STALL: u32 = 30;
const SUBSCRIBE: &str = "SubscribeToShard";

type Beginning = std::pin::Pin<Box<dyn Future<Output = Begun> + Send>>;

/// What became of a call, and the consumer's ARN that it was made with, if there was one.
struct Begun {
    arn: Option<String>,
    subscription: Result<Box<dyn Subscription>, Error>,
}

enum Stage {
    /// No subscription; the next call waits for its time.
    Resting,
    /// A call is under way. It is kept here, and not in a future that a caller may drop, since the service counts it.
    Beginning(Beginning),
    Open(Open),
}

struct Open {
    subscription: Box<dyn Subscription>,
    /// Whether any event came.
    heard: bool,
    /// How long it was asked since the last event.
    silent: Duration,
    /// When somebody last stopped asking.
    left: Instant,
    renew_at: Instant,
}

/// Counts the time in which somebody asks, however the asking ends.
struct Asking<'a> {
    clock: &'a dyn Clock,
    since: Instant,
    silent: &'a mut Duration,
    left: &'a mut Instant,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let now = self.clock.now();
        *self.silent += now.since(self.since);
        *self.left = now;
    }
}

/// An event that nobody has taken yet.
struct Held {
    page: RecordPage,
    /// The shard ends behind it.
    is_end: bool,
}

/// One shard being read by enhanced fan-out.
pub struct FanOutReader {
    kinesis: Arc<dyn Kinesis>,
    consumer: Arc<FanOutConsumer>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    events: Events,
    shard: ShardId,
    start: StartAt,
    /// The last record that was given out.
    last: Option<SequenceNumber>,
    /// The furthest point that was given out, records or not.
    reached: Option<SequenceNumber>,
    stage: Stage,
    held: Option<Held>,
    failed: Option<Error>,
    ended: Option<Vec<ChildShard>>,
    arn: Option<String>,
    /// Something was not found under this ARN, and the consumer is searched again.
    missed: bool,
    /// An end without children was told and is not believed yet.
    doubted_end: bool,
    next_call: Instant,
    in_use: u32,
    backoff: Backoff,
    stalled: bool,
}

impl std::fmt::Debug for FanOutReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FanOutReader")
            .field("shard", &self.shard)
            .field("reached", &self.reached)
            .finish_non_exhaustive()
    }
}

impl FanOutReader {
    /// A reader that has not begun.
    #[must_use]
    pub fn new(
        kinesis: Arc<dyn Kinesis>,
        consumer: Arc<FanOutConsumer>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        events: Events,
        shard: ShardId,
        start: StartAt,
    ) -> Self {
        // Shards that begin together do not call in step.
        let next_call = clock.now() + SPACING.mul_f64(random.fraction());
        Self {
            kinesis,
            consumer,
            clock,
            random,
            events,
            shard,
            start,
            last: None,
            reached: None,
            stage: Stage::Resting,
            held: None,
            failed: None,
            ended: None,
            arn: None,
            missed: false,
            doubted_end: false,
            next_call,
            in_use: 0,
            backoff: RetryPolicy::NETWORK.start(),
            stalled: false,
        }
    }

    /// Returns once there is something to give out: an event, the end, or an error.
    pub async fn ready(&mut self) {
        if self.failed.is_none()
            && let Err(error) = self.fill().await
        {
            self.failed = Some(error);
        }
    }

    /// Bytes of the event that waits to be taken; none where none waits.
    #[must_use]
    pub fn held_bytes(&self) -> Option<usize> {
        self.held.as_ref().map(|held| held.page.bytes())
    }

    /// Ends the subscription and lets go of what was not taken; it comes again with the next one. For a caller that will not
    /// ask for long, or has no memory.
    pub fn let_go(&mut self) {
        self.held = None;
        self.stage = Stage::Resting;
    }

    /// The next event, the end, or what the caller must change first. An event without records says how far the shard was
    /// looked through ([`RecordPage::continuation`]).
    ///
    /// # Errors
    /// Whatever does not heal by itself: [`Error::Missing`] for a shard that is no longer there,
    /// [`Error::TooManyConsumers`], [`Error::AccessDenied`], [`Error::BadCredentials`], ...
    pub async fn next_page(&mut self, max_bytes: usize) -> Result<Fetched, Error> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.fill().await?;
        let Some(held) = self.held.take() else {
            let children = self.ended.clone().unwrap_or_default();
            return Ok(Fetched::End { children });
        };
        let bytes = held.page.bytes();
        if bytes > max_bytes {
            self.held = Some(held);
            return Ok(Fetched::TooLarge { bytes });
        }
        Ok(self.give_out(held))
    }

    fn give_out(&mut self, held: Held) -> Fetched {
        let Held { mut page, is_end } = held;
        if let Some(last) = page.last_sequence() {
            self.last = Some(last.clone());
            self.reached = self.reached.take().max(Some(last.clone()));
        }
        self.reached = self.reached.take().max(page.continuation.clone());
        self.events.emit(Event::PageRead {
            shard: self.shard.clone(),
            records: page.len() as u64,
            bytes: page.bytes() as u64,
            behind: Duration::from_millis(page.millis_behind),
        });
        if is_end {
            let children = std::mem::take(&mut page.child_shards);
            self.ended = Some(children.clone());
            if page.is_empty() {
                return Fetched::End { children };
            }
        }
        Fetched::Page(page)
    }

    /// Returns once an event is held, or the end was given out.
    async fn fill(&mut self) -> Result<(), Error> {
        while self.held.is_none() && self.ended.is_none() {
            if let Err(error) = self.step().await {
                self.meet(error)?;
            }
        }
        Ok(())
    }

    /// One step towards an event. Between its waits nothing is held that is not in `self`.
    async fn step(&mut self) -> Result<(), Error> {
        let clock = Arc::clone(&self.clock);
        match &mut self.stage {
            Stage::Resting => {
                let wait = self.next_call.since(clock.now());
                if !wait.is_zero() {
                    clock.sleep(wait).await;
                }
                self.next_call = clock.now() + SPACING.mul_f64(1.0 + 0.1 * self.random.fraction());
                self.stage = Stage::Beginning(self.begin());
                Ok(())
            }
            Stage::Beginning(call) => {
                let begun = call.await;
                self.meet_begun(begun)
            }
            Stage::Open(open) => {
                let now = clock.now();
                if now >= open.renew_at || now.since(open.left) > UNASKED {
                    self.stage = Stage::Resting;
                    return Ok(());
                }
                if open.silent >= SILENCE {
                    return Err(broken("nothing came for 35 s"));
                }
                let wait = SILENCE.saturating_sub(open.silent);
                let wait = wait.min(open.renew_at.since(now));
                let asking = Asking {
                    clock: &*clock,
                    since: now,
                    silent: &mut open.silent,
                    left: &mut open.left,
                };
                let came = tokio::select! {
                    biased;
                    came = open.subscription.next() => Some(came),
                    () = clock.sleep(wait) => None,
                };
                drop(asking);
                came.map_or(Ok(()), |came| self.meet_event(came))
            }
        }
    }

    fn begin(&self) -> Beginning {
        let (kinesis, consumer) = (Arc::clone(&self.kinesis), Arc::clone(&self.consumer));
        let (clock, shard) = (Arc::clone(&self.clock), self.shard.clone());
        let stale = self.arn.clone().filter(|_| self.missed);
        let at = self
            .reached
            .clone()
            .map_or_else(|| self.start.clone(), StartAt::After);
        Box::pin(async move {
            let arn = match &stale {
                Some(stale) => consumer.arn_instead_of(stale).await,
                None => consumer.arn().await,
            };
            let arn = match arn {
                Ok(arn) => arn,
                Err(error) => {
                    let subscription = Err(error);
                    return Begun {
                        arn: None,
                        subscription,
                    };
                }
            };
            let subscription = tokio::select! {
                biased;
                subscription = kinesis.subscribe(&arn, &shard, &at) => subscription,
                () = clock.sleep(CALL_LIMIT) => Err(broken("no answer in time")),
            };
            Begun {
                arn: Some(arn),
                subscription,
            }
        })
    }

    fn meet_begun(&mut self, begun: Begun) -> Result<(), Error> {
        self.stage = Stage::Resting;
        let now = self.clock.now();
        if let Some(arn) = begun.arn {
            if self.arn.as_ref() != Some(&arn) {
                // Another consumer than the one that was missed.
                self.missed = false;
            }
            self.arn = Some(arn);
            // The search for the consumer may have taken long; the pace counts from the call.
            self.next_call = self.next_call.max(now + SPACING);
        }
        self.stage = Stage::Open(Open {
            subscription: begun.subscription?,
            heard: false,
            silent: Duration::ZERO,
            left: now,
            renew_at: now + RENEW_FROM + RENEW_WITHIN.mul_f64(self.random.fraction()),
        });
        Ok(())
    }

    fn meet_event(&mut self, came: Result<Option<FanOutEvent>, Error>) -> Result<(), Error> {
        let Stage::Open(open) = &mut self.stage else {
            return Ok(());
        };
        let Some(mut event) = came? else {
            let heard = open.heard;
            self.stage = Stage::Resting;
            return if heard {
                Ok(())
            } else {
                Err(broken("it ended without an event"))
            };
        };
        open.heard = true;
        open.silent = Duration::ZERO;
        self.tell_moving();
        if let Some(last) = &self.last {
            event.records.retain(|record| record.sequence() > last);
        }
        let named = !event.child_shards.is_empty();
        let no_more = named || event.continuation.is_none();
        let is_end = named || (no_more && self.doubted_end);
        self.doubted_end = no_more && !is_end;
        if no_more {
            self.stage = Stage::Resting;
        }
        if self.doubted_end && event.records.is_empty() {
            return Ok(());
        }
        let page = RecordPage::of_records(
            event.records,
            event.continuation,
            event.millis_behind,
            event.child_shards,
        );
        self.held = Some(Held { page, is_end });
        Ok(())
    }

    fn tell_moving(&mut self) {
        self.backoff.reset();
        self.in_use = 0;
        self.missed = false;
        if std::mem::take(&mut self.stalled) {
            self.events.emit(Event::ShardMoves {
                shard: self.shard.clone(),
            });
        }
    }

    /// What may heal is waited for by the pace; everything else is the caller's.
    fn meet(&mut self, error: Error) -> Result<(), Error> {
        self.stage = Stage::Resting;
        let now = self.clock.now();
        match &error {
            Error::InUse { .. } => {
                self.in_use = self.in_use.saturating_add(1);
                let pause = SPACING.mul_f64(1.0 + 0.3 * self.random.fraction());
                self.next_call = self.next_call.max(now + pause);
                if self.in_use == IN_USE_BEFORE_STALL {
                    self.tell_stalled(&error);
                }
                return Ok(());
            }
            // It may be the consumer that is not there, or the shard.
            Error::Missing { call: SUBSCRIBE, .. } if !self.missed => {
                self.missed = true;
                return Ok(());
            }
            _ => {}
        }
        self.missed = false;
        let failures = self.backoff.failures() + 1;
        let wait = self.backoff.next_wait(&*self.random);
        self.next_call = self.next_call.max(now + wait);
        if !error.kind().may_heal() {
            return Err(error);
        }
        self.events.emit(Event::CallFailed {
            shard: Some(self.shard.clone()),
            room: "kinesis",
            call: SUBSCRIBE,
            kind: error.kind(),
            error: error.to_string(),
            failures,
        });
        if failures == FAILURES_BEFORE_STALL {
            self.tell_stalled(&error);
        }
        Ok(())
    }

    fn tell_stalled(&mut self, error: &Error) {
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
}

fn broken(detail: &str) -> Error {
    Error::Unreachable {
        call: SUBSCRIBE,
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests;
