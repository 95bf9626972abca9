//! Faults that need to know the stand-in: PutRecords of which a part fails, and a list of shards from the past.
//!
//! The fault layer before this one decides that they happen, and leaves them with the request.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use ferrokinesis::sequence::parse_sequence;
use ferrokinesis::store::Store;
use ferrokinesis::util::current_time_ms;
use serde_json::Value;

use super::entries;
use super::limits::read;
use crate::aws;
use crate::faults::Hit;
use crate::faults::layer::Within;

/// The stand-in dates the children of a split or merge this far ahead.
const CHILD_AHEAD_MS: u64 = 1_000;

/// Puts the layer before a router.
pub(super) fn wrap(router: Router, store: Store) -> Router {
    router.layer(axum::middleware::from_fn_with_state(Arc::new(store), apply))
}

async fn apply(State(store): State<Arc<Store>>, mut request: Request, next: Next) -> Response {
    let Some(Within(hit)) = request.extensions_mut().remove() else {
        return next.run(request).await;
    };
    if hit.fault == "partial" {
        partial(&store, &hit, request, next).await
    } else {
        stale(hit.delay, request, next).await
    }
}

/// About `share` of the entries are refused, at least one of them.
async fn partial(store: &Store, hit: &Hit, request: Request, next: Next) -> Response {
    let (format, head, body, value) = match read(request).await {
        Ok(read) => read,
        Err(refused) => return *refused,
    };
    let known = match store.resolve_stream_name(&value) {
        Ok(name) => store.contains_stream(&name).await,
        Err(_) => false,
    };
    let count = value["Records"].as_array().map_or(0, Vec::len);
    if !known || count == 0 {
        return next.run(aws::request_with(head, body)).await;
    }
    let mut refused: Vec<bool> = (0..count).map(|entry| hit.draws(entry as u64)).collect();
    if !refused.contains(&true) {
        refused[0] = true;
    }
    let reason = (hit.code.clone(), "injected fault".to_owned());
    let refusals = refused.into_iter().map(|refused| refused.then(|| reason.clone()));
    entries::put(format, head, value, refusals.collect(), next).await
}

/// ListShards as it was: later shards are not there yet, and what closed later is open. The stream's first shards always are.
async fn stale(delay: Duration, request: Request, next: Next) -> Response {
    let format = aws::Format::of(request.headers());
    let (head, body) = next.run(request).await.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        return format.error(500, "InternalFailure", "the answer could not be read");
    };
    let Some(mut answer) = format.read(&body).filter(|_| head.status.is_success()) else {
        return aws::with_body(head, body.into());
    };
    let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    let then = current_time_ms().saturating_sub(delay);
    if let Some(shards) = answer["Shards"].as_array_mut() {
        shards.retain(|shard| was_there(shard, then));
        for shard in shards {
            let range = &mut shard["SequenceNumberRange"];
            let closed = range["EndingSequenceNumber"].as_str();
            let closed = closed.and_then(|number| parse_sequence(number).ok());
            if closed.is_some_and(|number| number.seq_time.unwrap_or(0) > then)
                && let Some(range) = range.as_object_mut()
            {
                range.remove("EndingSequenceNumber");
            }
        }
    }
    aws::with_body(head, format.write(&answer))
}

fn was_there(shard: &Value, then: u64) -> bool {
    let number = shard["SequenceNumberRange"]["StartingSequenceNumber"].as_str();
    let made = number.and_then(|number| parse_sequence(number).ok());
    let made = made.map_or(0, |number| number.shard_create_time);
    shard["ParentShardId"].is_null() || made.saturating_sub(CHILD_AHEAD_MS) <= then
}
