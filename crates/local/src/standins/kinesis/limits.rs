//! The budgets of the real service, as a layer before the stand-in, which has none.
//!
//! How it works: calls and records are counted per account, stream, shard or consumer ([`table`] has the figures and their
//! sources), on a monotonic clock ([`budget`]). What is over its budget is refused as AWS refuses it: a call with
//! `ProvisionedThroughputExceededException` or `LimitExceededException`, an entry of PutRecords within a 200, in its place.
//!
//! What it guarantees: nothing refused has an effect; what is accepted of a PutRecords is put in its order. What it does
//! not: it knows no other account or region, and budgets begin full at each start.

pub(crate) mod budget;
mod table;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use ferrokinesis::sequence::partition_key_to_hash_key;
use ferrokinesis::store::Store;
use ferrokinesis::types::Stream;
use serde_json::Value;

use self::budget::{Bucket, Monotonic, ReadWindow};
use self::table::{CALLS, Calls, Scope, THROUGHPUT};
use super::answers::record_bytes;
use super::entries;
use crate::aws::named::Named;
use crate::aws::{self, BODY_LIMIT, Format};

/// Budgets kept before idle ones are dropped.
const KEPT: usize = 10_000;

/// What the layer keeps.
pub(super) struct Limits {
    store: Store,
    clock: Monotonic,
    account: String,
    budgets: Mutex<Budgets>,
}

#[derive(Debug, Default)]
struct Budgets {
    calls: HashMap<(&'static str, String), Bucket>,
    shards: HashMap<(String, String), Shard>,
}

#[derive(Debug)]
struct Shard {
    records: Bucket,
    bytes: Bucket,
    gets: Bucket,
    out: ReadWindow,
}

impl Shard {
    fn new(now: Duration) -> Self {
        Self {
            records: Bucket::full(table::PUT_RECORDS, now),
            bytes: Bucket::full(table::PUT_BYTES, now),
            gets: Bucket::full(table::GET_CALLS, now),
            out: ReadWindow::new(table::GET_BYTES, now),
        }
    }

    fn put(&mut self, now: Duration, bytes: u32) -> bool {
        let fits = self.records.has(now, 1) && self.bytes.has(now, bytes);
        if fits {
            self.records.take(1);
            self.bytes.take(bytes);
        }
        fits
    }

    fn unput(&mut self, bytes: u32) {
        self.records.give(1);
        self.bytes.give(bytes);
    }

    fn get(&mut self, now: Duration) -> bool {
        let allowed = self.out.is_open(now) && self.gets.has(now, 1);
        if allowed {
            self.gets.take(1);
        }
        allowed
    }

    fn is_idle(&self, now: Duration) -> bool {
        self.records.is_idle(now) && self.gets.is_idle(now) && self.out.is_open(now)
    }
}

impl Budgets {
    fn shard(&mut self, now: Duration, stream: &str, shard: &str) -> &mut Shard {
        if self.shards.len() >= KEPT {
            self.shards.retain(|_, shard| !shard.is_idle(now));
        }
        self.shards
            .entry((stream.to_owned(), shard.to_owned()))
            .or_insert_with(|| Shard::new(now))
    }

    fn call(&mut self, now: Duration, calls: &Calls, counted_by: String) -> bool {
        if self.calls.len() >= KEPT {
            self.calls.retain(|_, bucket| !bucket.is_idle(now));
        }
        let bucket = self
            .calls
            .entry((calls.operation, counted_by))
            .or_insert_with(|| Bucket::full(calls.per_second, now));
        let allowed = bucket.has(now, 1);
        if allowed {
            bucket.take(1);
        }
        allowed
    }
}

/// A record of a put: where it goes and what it costs.
struct Entry {
    shard: String,
    bytes: u32,
}

impl Limits {
    pub(super) fn new(store: Store, clock: Monotonic, account: String) -> Arc<Self> {
        Arc::new(Self {
            store,
            clock,
            account,
            budgets: Mutex::default(),
        })
    }

    fn budgets<T>(&self, work: impl FnOnce(&mut Budgets, Duration) -> T) -> T {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut budgets, self.clock.now())
    }

    fn over_shard(&self, stream: &str, shard: &str) -> String {
        format!(
            "Rate exceeded for shard {shard} in stream {stream} under account {}.",
            self.account
        )
    }

    /// An operation with a budget of calls.
    async fn counted(&self, calls: &Calls, request: Request, next: Next) -> Response {
        let (format, head, body, value) = match read(request).await {
            Ok(read) => read,
            Err(refused) => return *refused,
        };
        let named = Named::of_kinesis(&value);
        let (stream, shard) = (named.stream.unwrap_or_default(), named.shard.unwrap_or_default());
        let (counted_by, what) = match calls.scope {
            Scope::Account => (String::new(), calls.operation.to_owned()),
            Scope::Stream => (stream.clone(), format!("stream {stream}")),
            Scope::Shard => (
                format!("{stream}/{shard}"),
                format!("shard {shard} in stream {stream}"),
            ),
            Scope::ConsumerAndShard => {
                let consumer = named.consumer_arn.unwrap_or_default();
                (
                    format!("{consumer}/{shard}"),
                    format!("consumer {consumer} and shard {shard}"),
                )
            }
        };
        if self.budgets(|budgets, now| budgets.call(now, calls, counted_by)) {
            return next.run(aws::request_with(head, body)).await;
        }
        let message = format!("Rate exceeded for {what} under account {}.", self.account);
        format.error(400, calls.code, &message)
    }

    async fn get_records(&self, request: Request, next: Next) -> Response {
        let (format, head, body, value) = match read(request).await {
            Ok(read) => read,
            Err(refused) => return *refused,
        };
        let named = Named::of_kinesis(&value);
        let (Some(stream), Some(shard)) = (named.stream, named.shard) else {
            return next.run(aws::request_with(head, body)).await;
        };
        if !self.budgets(|budgets, now| budgets.shard(now, &stream, &shard).get(now)) {
            return format.error(400, THROUGHPUT, &self.over_shard(&stream, &shard));
        }
        let response = next.run(aws::request_with(head, body)).await;
        if !response.status().is_success() {
            return response;
        }
        let (head, body) = response.into_parts();
        let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
            return format.error(500, "InternalFailure", "the answer could not be read");
        };
        let answer = format.read(&body).unwrap_or_default();
        let records = answer["Records"].as_array().into_iter().flatten();
        let bytes = records.map(record_bytes).sum();
        self.budgets(|budgets, now| budgets.shard(now, &stream, &shard).out.answered(now, bytes));
        aws::with_body(head, body.into())
    }

    /// PutRecord and PutRecords.
    async fn put(&self, request: Request, next: Next, many: bool) -> Response {
        let (format, head, body, mut value) = match read(request).await {
            Ok(read) => read,
            Err(refused) => return *refused,
        };
        let (name, stream) = match self.stream(&value).await {
            Some(found) => found,
            None => return next.run(aws::request_with(head, body)).await,
        };
        let records = if many {
            value["Records"].take()
        } else {
            value.clone()
        };
        let records = match records {
            Value::Array(records) => records,
            one => vec![one],
        };
        let Some(wanted) = entries_of(&stream, &records) else {
            // The stand-in says what is wrong with it.
            return next.run(aws::request_with(head, body)).await;
        };
        let fits: Vec<bool> = self.budgets(|budgets, now| {
            let put = |entry: &Entry| budgets.shard(now, &name, &entry.shard).put(now, entry.bytes);
            wanted.iter().map(put).collect()
        });
        let refusal = |(entry, fits): (&Entry, &bool)| {
            (!fits).then(|| (THROUGHPUT.to_owned(), self.over_shard(&name, &entry.shard)))
        };
        let refusals: Vec<_> = wanted.iter().zip(&fits).map(refusal).collect();
        let response = if refusals.iter().all(Option::is_none) {
            next.run(aws::request_with(head, body)).await
        } else if many {
            value["Records"] = Value::Array(records);
            entries::put(format, head, value, refusals, next).await
        } else {
            let (code, message) = refusals.into_iter().flatten().next().unwrap_or_default();
            return format.error(400, &code, &message);
        };
        if !response.status().is_success() {
            self.budgets(|budgets, now| {
                for (entry, _) in wanted.iter().zip(&fits).filter(|(_, fits)| **fits) {
                    budgets.shard(now, &name, &entry.shard).unput(entry.bytes);
                }
            });
        }
        response
    }

    async fn stream(&self, body: &Value) -> Option<(String, Stream)> {
        let name = self.store.resolve_stream_name(body).ok()?;
        let stream = self.store.get_stream(&name).await.ok()?;
        Some((name, stream))
    }
}

/// Where each record goes; none if one of them is not valid.
fn entries_of(stream: &Stream, records: &[Value]) -> Option<Vec<Entry>> {
    let open = stream
        .shards
        .iter()
        .filter(|shard| shard.sequence_number_range.ending_sequence_number.is_none());
    let range = |shard: &ferrokinesis::types::Shard| {
        let from = shard.hash_key_range.starting_hash_key.parse::<u128>().ok()?;
        let to = shard.hash_key_range.ending_hash_key.parse::<u128>().ok()?;
        Some((from, to, shard.shard_id.clone()))
    };
    let ranges: Vec<(u128, u128, String)> = open.filter_map(range).collect();
    let entry = |record: &Value| {
        let key = record["PartitionKey"].as_str()?;
        let hash = match record["ExplicitHashKey"].as_str() {
            Some(hash) => hash.parse().ok()?,
            None => partition_key_to_hash_key(key),
        };
        let (.., shard) = ranges
            .iter()
            .find(|(from, to, _)| (*from..=*to).contains(&hash))?;
        Some(Entry {
            shard: shard.clone(),
            bytes: u32::try_from(record_bytes(record)).unwrap_or(u32::MAX),
        })
    };
    records.iter().map(entry).collect()
}

type Read = (Format, http::request::Parts, axum::body::Bytes, Value);

/// The whole request. A body that does not parse is an empty value; the stand-in refuses it.
pub(super) async fn read(request: Request) -> Result<Read, Box<Response>> {
    let (head, body) = request.into_parts();
    let format = Format::of(&head.headers);
    let Ok(body) = axum::body::to_bytes(body, BODY_LIMIT).await else {
        return Err(Box::new(aws::too_large(format)));
    };
    let value = format.read(&body).unwrap_or_default();
    Ok((format, head, body, value))
}

/// Puts the layer before a router.
pub(super) fn wrap(router: Router, limits: Arc<Limits>) -> Router {
    router.layer(axum::middleware::from_fn_with_state(limits, apply))
}

async fn apply(State(limits): State<Arc<Limits>>, request: Request, next: Next) -> Response {
    let operation = aws::operation(&request).unwrap_or_default().to_owned();
    if let Some(calls) = CALLS.iter().find(|calls| calls.operation == operation) {
        return limits.counted(calls, request, next).await;
    }
    match operation.as_str() {
        "GetRecords" => limits.get_records(request, next).await,
        "PutRecord" => limits.put(request, next, false).await,
        "PutRecords" => limits.put(request, next, true).await,
        _ => next.run(request).await,
    }
}
