//! What the stand-in's answers lack, added on the way out.
//!
//! - GetRecords: at most 10 MiB of records; at the end of a closed shard `NextShardIterator` null and `ChildShards` (API
//!   Reference, `GetRecords`).
//! - SubscribeToShard: `ChildShards` only in the last event, each with all its parents, and no continuation number there
//!   (API Reference, `SubscribeToShardEvent`).

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use ferrokinesis::event_stream::encode_subscribe_event;
use ferrokinesis::sequence::{increment_sequence, parse_sequence};
use ferrokinesis::shard_iterator::create_shard_iterator;
use ferrokinesis::store::Store;
use ferrokinesis::types::Stream;
use ferrokinesis::util::current_time_ms;
use futures::StreamExt as _;
use serde_json::{Value, json};

use super::limits::read;
use crate::aws::named::Named;
use crate::aws::{self, Format};

/// Records of one GetRecords answer, in bytes of data and keys.
const ANSWER_LIMIT: u64 = 10 * 1024 * 1024;
/// An event before the shard's end begins so.
const NO_CHILDREN: &[u8] = br#"{"ChildShards":[]"#;

/// Bytes of a record that budgets count: data and partition key.
pub(super) fn record_bytes(record: &Value) -> u64 {
    let data = record["Data"].as_str().unwrap_or_default();
    let padding = data.bytes().rev().take_while(|byte| *byte == b'=').count();
    let key = record["PartitionKey"].as_str().map_or(0, str::len);
    ((data.len() / 4 * 3).saturating_sub(padding) + key) as u64
}

/// Puts the layer before a router.
pub(super) fn wrap(router: Router, store: Store) -> Router {
    router.layer(axum::middleware::from_fn_with_state(Arc::new(store), apply))
}

async fn apply(State(store): State<Arc<Store>>, request: Request, next: Next) -> Response {
    let operation = aws::operation(&request).unwrap_or_default().to_owned();
    let get = operation == "GetRecords";
    if !get && operation != "SubscribeToShard" {
        return next.run(request).await;
    }
    let (format, head, body, value) = match read(request).await {
        Ok(read) => read,
        Err(refused) => return *refused,
    };
    let named = Named::of_kinesis(&value);
    let response = next.run(aws::request_with(head, body)).await;
    let (Some(stream), Some(shard)) = (named.stream, named.shard) else {
        return response;
    };
    if !response.status().is_success() {
        return response;
    }
    let place = Place { store, stream, shard };
    if get {
        place.records(format, response).await
    } else {
        place.events(format, response)
    }
}

#[derive(Clone)]
struct Place {
    store: Arc<Store>,
    stream: String,
    shard: String,
}

impl Place {
    async fn records(&self, format: Format, response: Response) -> Response {
        let (head, body) = response.into_parts();
        let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
            return format.error(500, "InternalFailure", "the answer could not be read");
        };
        let stream = self.store.get_stream(&self.stream).await.ok();
        let closed = stream.filter(|stream| is_closed(stream, &self.shard));
        if closed.is_none() && body.len() as u64 <= ANSWER_LIMIT {
            return aws::with_body(head, body.into());
        }
        let Some(mut answer) = format.read(&body) else {
            return aws::with_body(head, body.into());
        };
        self.cut(&mut answer);
        if let Some(stream) = closed
            && answer["NextShardIterator"].is_null()
        {
            answer["NextShardIterator"] = Value::Null;
            answer["ChildShards"] = children(&stream, &self.shard);
        }
        aws::with_body(head, format.write(&answer))
    }

    /// Leaves out what is over the limit of an answer; the next call begins there.
    fn cut(&self, answer: &mut Value) {
        let Some(records) = answer["Records"].as_array_mut() else {
            return;
        };
        let mut bytes = 0;
        let fits = |record: &&Value| {
            bytes += record_bytes(record);
            bytes <= ANSWER_LIMIT
        };
        let kept = records.iter().take_while(fits).count().max(1);
        if kept >= records.len() {
            return;
        }
        let arrived = records[kept]["ApproximateArrivalTimestamp"].as_f64();
        records.truncate(kept);
        let last = records
            .last()
            .and_then(|record| record["SequenceNumber"].as_str());
        let Some(last) = last.and_then(|number| parse_sequence(number).ok()) else {
            return;
        };
        let now = current_time_ms();
        let next = increment_sequence(&last, None);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float cast saturates"
        )]
        let arrived = arrived.map_or(now, |seconds| (seconds * 1000.0) as u64);
        answer["MillisBehindLatest"] = now.saturating_sub(arrived).max(1).into();
        answer["NextShardIterator"] = create_shard_iterator(&self.stream, &self.shard, &next, now).into();
    }

    /// The body gives one event a frame.
    fn events(self, format: Format, response: Response) -> Response {
        let (head, body) = response.into_parts();
        let frames = body.into_data_stream().then(move |frame| {
            let place = self.clone();
            async move {
                let frame = frame?;
                Ok::<_, axum::Error>(place.event(format, &frame).await.unwrap_or(frame))
            }
        });
        Response::from_parts(head, Body::from_stream(frames))
    }

    /// The event that stands for this one, if it is another.
    async fn event(&self, format: Format, frame: &Bytes) -> Option<Bytes> {
        let payload = payload(frame)?;
        if payload.is_empty() || payload.starts_with(NO_CHILDREN) {
            return None;
        }
        let mut event = format.read(payload)?;
        if event["ChildShards"].as_array().is_none_or(Vec::is_empty) {
            return None;
        }
        let last = event["Records"].as_array().is_some_and(Vec::is_empty);
        if last {
            let stream = self.store.get_stream(&self.stream).await.ok()?;
            event["ChildShards"] = children(&stream, &self.shard);
            event.as_object_mut()?.remove("ContinuationSequenceNumber");
        } else {
            event.as_object_mut()?.remove("ChildShards");
        }
        let kind = match format {
            Format::Cbor => format.content_type(),
            Format::Json10 | Format::Json11 => "application/json",
        };
        Some(encode_subscribe_event(&format.write(&event), kind).into())
    }
}

/// The payload of an event-stream frame: lengths of the frame and its headers and their checksum stand before, a checksum
/// behind (Smithy, "Amazon Event Stream specification").
fn payload(frame: &[u8]) -> Option<&[u8]> {
    let number = |at: usize| {
        let bytes = frame.get(at..at + 4)?;
        usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()
    };
    let (total, headers) = (number(0)?, number(4)?);
    if total != frame.len() {
        return None;
    }
    frame.get(12_usize.checked_add(headers)?..total.checked_sub(4)?)
}

fn is_closed(stream: &Stream, shard: &str) -> bool {
    let shard = stream.shards.iter().find(|known| known.shard_id == shard);
    shard.is_some_and(|shard| shard.sequence_number_range.ending_sequence_number.is_some())
}

/// The shards that go on where this one ended.
fn children(stream: &Stream, shard: &str) -> Value {
    let parents = |child: &ferrokinesis::types::Shard| -> Vec<String> {
        let both = [&child.parent_shard_id, &child.adjacent_parent_shard_id];
        both.into_iter().flatten().cloned().collect()
    };
    stream
        .shards
        .iter()
        .filter(|child| parents(child).iter().any(|parent| parent == shard))
        .map(|child| {
            json!({
                "ShardId": child.shard_id,
                "ParentShards": parents(child),
                "HashKeyRange": child.hash_key_range,
            })
        })
        .collect()
}
