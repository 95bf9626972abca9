//! A Kinesis stream in memory, for tests: shards that take records, split, merge and forget, and that misbehave when told.
//!
//! Its answers of GetRecords are real JSON bodies, so that what reads them is the same as with the service. Faults stand in
//! a queue per call and are used up one by one. Iterators do not expire by themselves. Consumers and subscriptions of enhanced
//! fan-out follow the service's rules on a clock.

mod fan_out;
mod shard;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use frazil_model::{Clock, SequenceNumber, ShardId, StreamName, SystemClock};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::door::{
    Consumer, ConsumerId, HashKeyRange, Kinesis, Shard, StartAt, StreamDescription, Subscription,
};
use crate::error::Error;
use crate::page::{RecordPage, ShardIterator};

pub use fan_out::StreamFault;
use shard::{FakeRecord, FakeShard};

/// What happens to a call instead of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No answer.
    Lost,
    /// The shard's limit is used up.
    Throttled,
    /// The iterator has expired.
    ExpiredIterator,
    /// The token of the next page has expired.
    ExpiredPages,
    /// An answer without records, though there are some further on.
    EmptyBehind,
    /// The answer ends in the middle.
    CutShort,
    /// A fault of the service.
    ServerFault,
    /// A right is missing.
    AccessDenied,
    /// What the call is about is not there.
    Missing,
    /// What the call is about is held by another.
    InUse,
}

#[derive(Debug)]
struct All {
    name: StreamName,
    created_ms: i64,
    shards: BTreeMap<ShardId, FakeShard>,
    next_sequence: u64,
    now_ms: i64,
    page_records: usize,
    tells_children: bool,
    faults: HashMap<&'static str, VecDeque<Fault>>,
    calls: HashMap<&'static str, u64>,
    fan_out: fan_out::FanOut,
    /// Shards that so many further lists do not name.
    hidden: BTreeMap<ShardId, u32>,
    refuses_trimmed: bool,
}

/// What the fake and its subscriptions share.
#[derive(Debug)]
struct Shared {
    all: Mutex<All>,
    clock: Arc<dyn Clock>,
    /// Told whenever a subscription may have something new.
    changed: Notify,
}

impl Shared {
    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fake.
#[derive(Debug)]
pub struct FakeKinesis {
    shared: Arc<Shared>,
}

impl FakeKinesis {
    /// A stream of this many shards, on the machine's clock.
    #[must_use]
    pub fn new(name: &str, shards: usize) -> Self {
        Self::on_clock(name, shards, Arc::new(SystemClock))
    }

    /// A stream of this many shards, on this clock.
    #[must_use]
    pub fn on_clock(name: &str, shards: usize, clock: Arc<dyn Clock>) -> Self {
        let name = StreamName::new(name).expect("a stream's name");
        let all = All {
            name,
            created_ms: 1_700_000_000_000,
            shards: BTreeMap::new(),
            next_sequence: 1,
            now_ms: 1_700_000_000_000,
            page_records: 100,
            tells_children: true,
            faults: HashMap::new(),
            calls: HashMap::new(),
            fan_out: fan_out::FanOut::default(),
            hidden: BTreeMap::new(),
            refuses_trimmed: false,
        };
        let shared = Shared {
            all: Mutex::new(all),
            clock,
            changed: Notify::new(),
        };
        let fake = Self {
            shared: Arc::new(shared),
        };
        let step = u128::MAX / shards.max(1) as u128;
        for index in 0..shards as u128 {
            let end = if index + 1 == shards as u128 {
                u128::MAX
            } else {
                (index + 1) * step - 1
            };
            fake.all().make(
                Vec::new(),
                HashKeyRange {
                    start: index * step,
                    end,
                },
            );
        }
        fake
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.shared.all()
    }

    /// The next call of this name (`GetRecords`, `GetShardIterator`, `SubscribeToShard`, ...) meets this fault.
    pub fn fault(&self, call: &'static str, fault: Fault) {
        self.all().faults.entry(call).or_default().push_back(fault);
    }

    /// Answers have at most this many records.
    pub fn set_page_records(&self, records: usize) {
        self.all().page_records = records;
    }

    /// Whether the end of a shard names its children, as Kinesis does and some stand-ins do not.
    pub fn set_tells_children(&self, tells: bool) {
        self.all().tells_children = tells;
    }

    /// The ids of all shards, oldest first.
    #[must_use]
    pub fn shard_ids(&self) -> Vec<ShardId> {
        self.all().shards.keys().cloned().collect()
    }

    /// All shards as a list would show them, with no fault in between.
    #[must_use]
    pub fn shards(&self) -> Vec<Shard> {
        self.all().listed(&[])
    }

    /// Puts a record into an open shard; answers its sequence number.
    pub fn put(&self, shard: &ShardId, key: &str, data: &[u8]) -> SequenceNumber {
        let mut all = self.all();
        let sequence = all.next_sequence;
        all.next_sequence += 1;
        all.now_ms += 1;
        let arrival_ms = all.now_ms;
        let target = all.shards.get_mut(shard).expect("a shard of this stream");
        assert!(target.ends.is_none(), "{shard} is closed");
        target.records.push(FakeRecord {
            sequence,
            key: key.to_owned(),
            data: data.to_vec(),
            arrival_ms,
        });
        drop(all);
        self.shared.changed.notify_waiters();
        number(sequence)
    }

    /// Splits an open shard in two; answers the children.
    pub fn split(&self, shard: &ShardId) -> [ShardId; 2] {
        let mut all = self.all();
        let range = all.close(shard);
        let middle = range.start + (range.end - range.start) / 2;
        let low = all.make(
            vec![shard.clone()],
            HashKeyRange {
                start: range.start,
                end: middle,
            },
        );
        let high = all.make(
            vec![shard.clone()],
            HashKeyRange {
                start: middle + 1,
                end: range.end,
            },
        );
        drop(all);
        self.shared.changed.notify_waiters();
        [low, high]
    }

    /// Merges two open shards into one; answers the child.
    pub fn merge(&self, one: &ShardId, other: &ShardId) -> ShardId {
        let mut all = self.all();
        let (a, b) = (all.close(one), all.close(other));
        let range = HashKeyRange {
            start: a.start.min(b.start),
            end: a.end.max(b.end),
        };
        let child = all.make(vec![one.clone(), other.clone()], range);
        drop(all);
        self.shared.changed.notify_waiters();
        child
    }

    /// Forgets a closed shard, as its retention ends.
    pub fn expire(&self, shard: &ShardId) {
        if let Some(shard) = self.all().shards.get_mut(shard) {
            shard.expired = true;
        }
    }

    /// The first so many records of a shard leave the stream, as their retention ends.
    pub fn trim(&self, shard: &ShardId, records: usize) {
        let mut all = self.all();
        let shard = all.shards.get_mut(shard).expect("a shard of this stream");
        shard.trimmed = records.min(shard.records.len());
    }

    /// Whether a place named by a number that has left the stream is refused; else reading begins at the oldest record. The
    /// service was seen to do either.
    pub fn set_refuses_trimmed(&self, refuses: bool) {
        self.all().refuses_trimmed = refuses;
    }

    /// So many lists of shards, from now on, do not name this one, though it is there: they are stale.
    pub fn hide(&self, shard: &ShardId, lists: u32) {
        self.all().hidden.insert(shard.clone(), lists);
    }

    /// From now on it is another stream of the same name, made at this moment.
    pub fn made_anew(&self, created_ms: i64) {
        self.all().created_ms = created_ms;
    }

    /// How often a call was made.
    #[must_use]
    pub fn calls(&self, call: &'static str) -> u64 {
        self.all().calls.get(call).copied().unwrap_or(0)
    }
}

fn number(sequence: u64) -> SequenceNumber {
    SequenceNumber::new(sequence.to_string()).expect("digits")
}

impl All {
    fn make(&mut self, parents: Vec<ShardId>, range: HashKeyRange) -> ShardId {
        let id = ShardId::new(format!("shardId-{:012}", self.shards.len())).expect("a shard id");
        let begins = self.next_sequence;
        self.next_sequence += 1;
        let shard = FakeShard {
            parents,
            range,
            begins,
            ends: None,
            records: Vec::new(),
            trimmed: 0,
            expired: false,
        };
        self.shards.insert(id.clone(), shard);
        id
    }

    fn close(&mut self, shard: &ShardId) -> HashKeyRange {
        let end = self.next_sequence;
        self.next_sequence += 1;
        let shard = self.shards.get_mut(shard).expect("a shard of this stream");
        assert!(shard.ends.is_none(), "closed already");
        shard.ends = Some(end);
        shard.range
    }

    fn meet(&mut self, call: &'static str) -> Result<Option<Fault>, Error> {
        *self.calls.entry(call).or_default() += 1;
        let message = "scripted".to_owned();
        match self.faults.get_mut(call).and_then(VecDeque::pop_front) {
            Some(Fault::Lost) => Err(Error::Unreachable {
                call,
                detail: message,
            }),
            Some(Fault::Throttled) => Err(Error::Throttled { call, message }),
            Some(Fault::ExpiredIterator) => Err(Error::ExpiredIterator),
            Some(Fault::ExpiredPages) => Err(Error::ExpiredPages { call }),
            Some(Fault::ServerFault) => Err(Error::ServerFault {
                call,
                code: "500".to_owned(),
                message,
            }),
            Some(Fault::AccessDenied) => Err(Error::AccessDenied { call, message }),
            Some(Fault::Missing) => Err(Error::Missing { call, message }),
            Some(Fault::InUse) => Err(Error::InUse { call, message }),
            other => Ok(other),
        }
    }

    fn shard(&self, call: &'static str, shard: &ShardId) -> Result<&FakeShard, Error> {
        let missing = || Error::Missing {
            call,
            message: format!("{shard} is not there"),
        };
        self.shards
            .get(shard)
            .filter(|shard| !shard.expired)
            .ok_or_else(missing)
    }

    fn listed(&self, hidden: &[ShardId]) -> Vec<Shard> {
        let there = self.shards.iter();
        let there = there.filter(|(id, shard)| !shard.expired && !hidden.contains(id));
        let listed = there.map(|(id, shard)| Shard {
            id: id.clone(),
            parents: shard.parents.clone(),
            hash_range: shard.range,
            starting_sequence: number(shard.begins),
            ending_sequence: shard.ends.map(number),
        });
        listed.collect()
    }

    fn begin(&self, call: &'static str, id: &ShardId, at: &StartAt) -> Result<usize, Error> {
        let shard = self.shard(call, id)?;
        if self.refuses_trimmed && shard.is_trimmed(at) {
            let message = "StartingSequenceNumber is no longer in the stream".to_owned();
            return Err(Error::of_code(call, "InvalidArgumentException", message));
        }
        Ok(shard.index(at))
    }

    fn body(&self, id: &ShardId, from: usize, limit: usize) -> Result<(String, Value), Error> {
        let shard = self.shard("GetRecords", id)?;
        let from = from.max(shard.trimmed);
        let taken: Vec<&FakeRecord> = shard
            .records
            .iter()
            .skip(from)
            .take(limit.min(self.page_records))
            .collect();
        let next = from + taken.len();
        let at_end = shard.ends.is_some() && next == shard.records.len();
        let records: Vec<Value> = taken
            .iter()
            .map(|record| {
                json!({
                    "SequenceNumber": record.sequence.to_string(),
                    "ApproximateArrivalTimestamp": record.arrival_ms as f64 / 1000.0,
                    "Data": base64_simd::STANDARD.encode_to_string(&record.data),
                    "PartitionKey": record.key,
                })
            })
            .collect();
        let children: Vec<Value> = self
            .shards
            .iter()
            .filter(|(_, child)| at_end && self.tells_children && child.parents.contains(id))
            .map(|(child_id, child)| json!({ "ShardId": child_id, "ParentShards": child.parents }))
            .collect();
        let iterator = (!at_end).then(|| format!("{id}/{next}"));
        let behind = (shard.records.len() - next) * 1000;
        let body = json!({
            "Records": records,
            "NextShardIterator": iterator,
            "MillisBehindLatest": behind,
            "ChildShards": if children.is_empty() { Value::Null } else { Value::Array(children) },
        });
        Ok((body.to_string(), body))
    }
}

#[async_trait]
impl Kinesis for FakeKinesis {
    async fn describe_stream(&self) -> Result<StreamDescription, Error> {
        let mut all = self.all();
        all.meet("DescribeStream")?;
        Ok(StreamDescription {
            name: all.name.clone(),
            arn: format!("arn:aws:kinesis:eu-central-1:123456789012:stream/{}", all.name),
            created_ms: all.created_ms,
            status: "ACTIVE".to_owned(),
            retention_hours: 24,
        })
    }

    async fn list_shards(&self) -> Result<Vec<Shard>, Error> {
        let mut all = self.all();
        all.meet("ListShards")?;
        let hidden: Vec<ShardId> = all.hidden.keys().cloned().collect();
        all.hidden.retain(|_, lists| {
            *lists = lists.saturating_sub(1);
            *lists > 0
        });
        Ok(all.listed(&hidden))
    }

    async fn shard_iterator(&self, shard: &ShardId, at: &StartAt) -> Result<ShardIterator, Error> {
        let mut all = self.all();
        all.meet("GetShardIterator")?;
        let from = all.begin("GetShardIterator", shard, at)?;
        Ok(ShardIterator::new(format!("{shard}/{from}")))
    }

    async fn get_records(
        &self,
        iterator: &ShardIterator,
        limit: u32,
        max_bytes: usize,
    ) -> Result<RecordPage, Error> {
        let mut all = self.all();
        let fault = all.meet("GetRecords")?;
        let (shard, from) = iterator.as_str().split_once('/').ok_or(Error::ExpiredIterator)?;
        let shard = ShardId::new(shard).map_err(|_| Error::ExpiredIterator)?;
        let from = from.parse().map_err(|_| Error::ExpiredIterator)?;
        let (mut body, _) = all.body(&shard, from, limit as usize)?;
        if body.len() > max_bytes {
            return Err(Error::PageTooLarge { bytes: body.len() });
        }
        if fault == Some(Fault::EmptyBehind) {
            let next = format!("{shard}/{from}");
            body =
                json!({ "Records": [], "NextShardIterator": next, "MillisBehindLatest": 60_000 }).to_string();
        }
        if fault == Some(Fault::CutShort) {
            body.truncate(body.len() / 2);
        }
        RecordPage::parse(Bytes::from(body))
    }

    async fn describe_consumer(&self, _: &str, name: &str) -> Result<Consumer, Error> {
        self.describe(name)
    }

    async fn register_consumer(&self, stream_arn: &str, name: &str) -> Result<Consumer, Error> {
        self.register(stream_arn, name)
    }

    async fn deregister_consumer(&self, consumer: ConsumerId<'_>) -> Result<(), Error> {
        self.deregister(consumer)
    }

    async fn subscribe(
        &self,
        consumer_arn: &str,
        shard: &ShardId,
        at: &StartAt,
    ) -> Result<Box<dyn Subscription>, Error> {
        self.subscribed(consumer_arn, shard, at)
    }
}
