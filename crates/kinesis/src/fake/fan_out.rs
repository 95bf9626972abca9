//! Consumers and subscriptions of the fake, by the rules of the service (Kinesis API reference, `SubscribeToShard`,
//! `RegisterStreamConsumer`), on the clock that the fake was given.
//!
//! Events hold what was put; an idle subscription gets an empty one each 5 s, whose continuation moves on.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use frazil_model::{Instant, SequenceNumber, ShardId};

use super::{All, FakeKinesis, Shared, number};
use crate::door::{Consumer, ConsumerId, ConsumerStatus, FanOutEvent, StartAt, Subscription};
use crate::error::Error;
use crate::page::{ChildShard, OwnedRecord};

const SUBSCRIBE: &str = "SubscribeToShard";
/// A subscription lives this long.
const LIFE: Duration = Duration::from_secs(5 * 60);
/// An idle subscription shows this often that it lives.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// Before this a subscription cannot be taken over.
const TAKE_OVER: Duration = Duration::from_secs(5);
/// Calls of one consumer for one shard are this far apart.
const SPACING: Duration = Duration::from_secs(1);
/// Consumers that may be in the making at a time.
const MOST_CREATING: usize = 5;

/// What happens to a subscription instead of its next event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamFault {
    /// An exception of this code.
    Exception(&'static str),
    /// The connection breaks.
    Broken,
    /// The service ends it.
    Ends,
    /// Nothing comes any more.
    Silent,
    /// The shard's end is told, without children, though it has not ended.
    FalseEnd,
}

#[derive(Debug)]
struct FakeConsumer {
    arn: String,
    status: ConsumerStatus,
    /// When it is active, or gone.
    changes: Instant,
}

#[derive(Debug)]
struct Taken {
    id: u64,
    since: Instant,
}

#[derive(Debug)]
pub(super) struct FanOut {
    consumers: BTreeMap<String, FakeConsumer>,
    taken: HashMap<(String, ShardId), Taken>,
    last_calls: HashMap<(String, ShardId), Instant>,
    next_id: u64,
    kept: usize,
    limit: usize,
    creating: Duration,
    deleting: Duration,
    faults: VecDeque<(usize, StreamFault)>,
    starts: Vec<(Instant, StartAt)>,
}

impl Default for FanOut {
    fn default() -> Self {
        Self {
            consumers: BTreeMap::new(),
            taken: HashMap::new(),
            last_calls: HashMap::new(),
            next_id: 0,
            kept: 0,
            limit: 20,
            creating: Duration::from_secs(3),
            deleting: Duration::from_secs(3),
            faults: VecDeque::new(),
            starts: Vec::new(),
        }
    }
}

impl FanOut {
    /// Lets the time do its work on the consumers.
    fn pass(&mut self, now: Instant) {
        self.consumers
            .retain(|_, consumer| consumer.status != ConsumerStatus::Deleting || consumer.changes > now);
        for consumer in self.consumers.values_mut() {
            if consumer.status == ConsumerStatus::Creating && consumer.changes <= now {
                consumer.status = ConsumerStatus::Active;
            }
        }
    }

    fn find(&self, call: &'static str, id: ConsumerId<'_>) -> Result<Consumer, Error> {
        let found = self.consumers.iter().find(|(known, consumer)| match id {
            ConsumerId::Name { name, .. } => *known == name,
            ConsumerId::Arn(arn) => consumer.arn == arn,
        });
        let (name, consumer) = found.ok_or_else(|| Error::Missing {
            call,
            message: "there is no such consumer".to_owned(),
        })?;
        Ok(Consumer {
            name: name.clone(),
            arn: consumer.arn.clone(),
            status: consumer.status,
        })
    }
}

fn throttled(call: &'static str, message: &str) -> Error {
    Error::Throttled {
        call,
        message: message.to_owned(),
    }
}

fn in_use(call: &'static str, message: &str) -> Error {
    Error::InUse {
        call,
        message: message.to_owned(),
    }
}

impl FakeKinesis {
    /// A subscription meets this fault after that many events: the next one made, then the one after it, and so on.
    pub fn stream_fault(&self, after_events: usize, fault: StreamFault) {
        self.all().fan_out.faults.push_back((after_events, fault));
    }

    /// The stream takes at most this many consumers.
    pub fn set_consumer_limit(&self, limit: usize) {
        self.all().fan_out.limit = limit;
    }

    /// How long a consumer is being made, and being removed.
    pub fn set_consumer_delays(&self, creating: Duration, deleting: Duration) {
        let fan_out = &mut self.all().fan_out;
        (fan_out.creating, fan_out.deleting) = (creating, deleting);
    }

    /// When subscriptions were made, and where they began.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<(Instant, StartAt)> {
        self.all().fan_out.starts.clone()
    }

    /// How many subscriptions their readers keep now.
    #[must_use]
    pub fn kept_subscriptions(&self) -> usize {
        self.all().fan_out.kept
    }

    pub(super) fn describe(&self, name: &str) -> Result<Consumer, Error> {
        let (now, mut all) = (self.shared.clock.now(), self.all());
        all.meet("DescribeStreamConsumer")?;
        all.fan_out.pass(now);
        let stream_arn = "";
        all.fan_out
            .find("DescribeStreamConsumer", ConsumerId::Name { stream_arn, name })
    }

    pub(super) fn register(&self, stream_arn: &str, name: &str) -> Result<Consumer, Error> {
        let call = "RegisterStreamConsumer";
        let (now, mut all) = (self.shared.clock.now(), self.all());
        all.meet(call)?;
        let fan_out = &mut all.fan_out;
        fan_out.pass(now);
        if fan_out.consumers.contains_key(name) {
            return Err(in_use(call, "there is a consumer of this name"));
        }
        let all_there = fan_out.consumers.values();
        let creating = all_there.filter(|consumer| consumer.status == ConsumerStatus::Creating);
        if creating.count() >= MOST_CREATING || fan_out.consumers.len() >= fan_out.limit {
            return Err(throttled(
                call,
                "the stream has all the consumers that it may have",
            ));
        }
        fan_out.next_id += 1;
        let consumer = FakeConsumer {
            arn: format!("{stream_arn}/consumer/{name}:{}", fan_out.next_id),
            status: ConsumerStatus::Creating,
            changes: now + fan_out.creating,
        };
        fan_out.consumers.insert(name.to_owned(), consumer);
        fan_out.find(call, ConsumerId::Name { stream_arn, name })
    }

    pub(super) fn deregister(&self, consumer: ConsumerId<'_>) -> Result<(), Error> {
        let call = "DeregisterStreamConsumer";
        let (now, mut all) = (self.shared.clock.now(), self.all());
        all.meet(call)?;
        let fan_out = &mut all.fan_out;
        fan_out.pass(now);
        let found = fan_out.find(call, consumer)?;
        let changes = now + fan_out.deleting;
        if let Some(consumer) = fan_out.consumers.get_mut(&found.name) {
            (consumer.status, consumer.changes) = (ConsumerStatus::Deleting, changes);
        }
        drop(all);
        self.shared.changed.notify_waiters();
        Ok(())
    }

    pub(super) fn subscribed(
        &self,
        arn: &str,
        shard: &ShardId,
        at: &StartAt,
    ) -> Result<Box<dyn Subscription>, Error> {
        let (now, mut all) = (self.shared.clock.now(), self.all());
        all.meet(SUBSCRIBE)?;
        all.fan_out.pass(now);
        if all.fan_out.find(SUBSCRIBE, ConsumerId::Arn(arn))?.status != ConsumerStatus::Active {
            return Err(in_use(SUBSCRIBE, "the consumer is not active"));
        }
        let from = all.begin(SUBSCRIBE, shard, at)?;
        let key = (arn.to_owned(), shard.clone());
        let fan_out = &mut all.fan_out;
        let last_call = fan_out.last_calls.insert(key.clone(), now);
        if last_call.is_some_and(|last| now.since(last) < SPACING) {
            return Err(throttled(SUBSCRIBE, "one call a second"));
        }
        let taken = fan_out.taken.get(&key);
        if taken.is_some_and(|taken| now.since(taken.since) < TAKE_OVER) {
            return Err(in_use(SUBSCRIBE, "another subscription began less than 5 s ago"));
        }
        fan_out.next_id += 1;
        let id = fan_out.next_id;
        fan_out.taken.insert(key.clone(), Taken { id, since: now });
        fan_out.kept += 1;
        fan_out.starts.push((now, at.clone()));
        let fault = fan_out.faults.pop_front();
        drop(all);
        self.shared.changed.notify_waiters();
        Ok(Box::new(FakeSubscription {
            shared: Arc::clone(&self.shared),
            key,
            id,
            from,
            ends: now + LIFE,
            sign_due: now + SIGN_OF_LIFE,
            events: 0,
            fault,
        }))
    }
}

#[derive(Debug)]
struct FakeSubscription {
    shared: Arc<Shared>,
    key: (String, ShardId),
    id: u64,
    from: usize,
    ends: Instant,
    sign_due: Instant,
    events: usize,
    fault: Option<(usize, StreamFault)>,
}

impl Drop for FakeSubscription {
    fn drop(&mut self) {
        self.shared.all().fan_out.kept -= 1;
    }
}

enum Now {
    Event(Option<FanOutEvent>),
    Nothing,
}

impl FakeSubscription {
    fn met(&self) -> Result<Option<Now>, Error> {
        Ok(match self.fault.filter(|(after, _)| *after <= self.events) {
            None => None,
            Some((_, StreamFault::Exception(code))) => {
                return Err(Error::of_code(SUBSCRIBE, code, "scripted".to_owned()));
            }
            Some((_, StreamFault::Broken)) => {
                return Err(Error::Unreachable {
                    call: SUBSCRIBE,
                    detail: "scripted".to_owned(),
                });
            }
            Some((_, StreamFault::Ends)) => Some(Now::Event(None)),
            Some((_, StreamFault::Silent)) => Some(Now::Nothing),
            Some((_, StreamFault::FalseEnd)) => Some(Now::Event(Some(FanOutEvent::default()))),
        })
    }

    fn look(&mut self) -> Result<Now, Error> {
        if let Some(met) = self.met()? {
            return Ok(met);
        }
        let now = self.shared.clock.now();
        let mut all = self.shared.all();
        all.fan_out.pass(now);
        let consumer = all.fan_out.find(SUBSCRIBE, ConsumerId::Arn(&self.key.0))?;
        if consumer.status == ConsumerStatus::Deleting {
            return Err(Error::of_code(
                SUBSCRIBE,
                "ResourceNotFoundException",
                "deregistered".to_owned(),
            ));
        }
        if all.fan_out.taken.get(&self.key).map(|taken| taken.id) != Some(self.id) {
            return Err(in_use(SUBSCRIBE, "another subscription took over"));
        }
        if now >= self.ends {
            return Ok(Now::Event(None));
        }
        let event = all.event(&self.key.1, &mut self.from)?;
        let tells = !event.records.is_empty() || event.continuation.is_none();
        if !tells && now < self.sign_due {
            return Ok(Now::Nothing);
        }
        self.sign_due = now + SIGN_OF_LIFE;
        self.events += 1;
        if event.continuation.is_none() {
            // Nothing comes behind the end.
            self.ends = now;
        }
        Ok(Now::Event(Some(event)))
    }
}

#[async_trait]
impl Subscription for FakeSubscription {
    async fn next(&mut self) -> Result<Option<FanOutEvent>, Error> {
        let shared = Arc::clone(&self.shared);
        loop {
            // Listens before it looks, so that nothing that changes in between is missed.
            let mut changed = std::pin::pin!(shared.changed.notified());
            changed.as_mut().enable();
            if let Now::Event(event) = self.look()? {
                return Ok(event);
            }
            let now = shared.clock.now();
            if self.sign_due <= now {
                // Silent, though a sign of life was due.
                self.sign_due = now + SIGN_OF_LIFE;
            }
            let due = self
                .sign_due
                .min(self.ends)
                .since(now)
                .max(Duration::from_millis(1));
            tokio::select! {
                () = &mut changed => {}
                () = shared.clock.sleep(due) => {}
            }
        }
    }
}

impl All {
    fn event(&mut self, id: &ShardId, from: &mut usize) -> Result<FanOutEvent, Error> {
        let most = self.page_records;
        let shard = self.shard(SUBSCRIBE, id)?;
        *from = shard.trimmed.max(*from);
        let records = shard.records.iter().skip(*from).take(most).map(|record| {
            let (key, arrival_ms) = (record.key.clone(), Some(record.arrival_ms));
            OwnedRecord::new(&record.sequence.to_string(), key, arrival_ms, record.data.clone())
        });
        let records: Vec<OwnedRecord> = records.collect::<Result<_, _>>()?;
        *from += records.len();
        let left = shard.records.len() - *from;
        let at_end = shard.ends.is_some() && left == 0;
        let children = self
            .shards
            .iter()
            .filter(|(_, child)| at_end && self.tells_children && child.parents.contains(id));
        let child_shards = children.map(|(id, child)| ChildShard {
            id: id.clone(),
            parents: child.parents.clone(),
        });
        let child_shards = child_shards.collect();
        let continuation = match records.last() {
            _ if at_end => None,
            Some(last) => Some(last.sequence().clone()),
            None => Some(self.look_further()),
        };
        Ok(FanOutEvent {
            records,
            continuation,
            millis_behind: left as u64 * 1000,
            child_shards,
        })
    }

    /// Numbers pass by without records.
    fn look_further(&mut self) -> SequenceNumber {
        self.next_sequence += 1;
        number(self.next_sequence - 1)
    }
}
