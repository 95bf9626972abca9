//! Faults in the words of each service.

use std::task::{Poll, ready};

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures::StreamExt as _;
use http::{HeaderValue, StatusCode, header};

use super::layer::{Account, Call};
use super::{Hit, Service};

/// The answer to a call that a fault refuses.
pub(super) fn refusal(service: Service, account: &Account, call: &Call, hit: &Hit) -> Response {
    match (service, hit.fault.as_str()) {
        (Service::Snowflake, _) => snowflake(call, hit),
        (_, "throttle") => {
            let (code, message) = throttle(service, &call.operation);
            call.format.error(400, code, message)
        }
        (_, "deny") => call
            .format
            .error(400, "AccessDeniedException", &denied(service, account, call)),
        (_, "expire_iterator") => call.format.error(
            400,
            "ExpiredIteratorException",
            "Iterator expired. The iterator was created more than 300000 milliseconds ago.",
        ),
        _ => call.format.error(hit.status, &hit.code, "injected fault"),
    }
}

fn throttle(service: Service, operation: &str) -> (&'static str, &'static str) {
    const THROUGHPUT: &str = "ProvisionedThroughputExceededException";
    match (service, operation) {
        (Service::Kinesis, "GetRecords" | "GetShardIterator" | "PutRecord" | "PutRecords") => {
            (THROUGHPUT, "Rate exceeded for shard.")
        }
        (Service::Kinesis, _) => ("LimitExceededException", "Rate exceeded."),
        _ => (
            THROUGHPUT,
            "The level of configured provisioned throughput for the table was exceeded. Consider increasing your \
             provisioning level with the UpdateTable API.",
        ),
    }
}

/// As IAM words it (IAM User Guide, "Troubleshoot access denied error messages").
fn denied(service: Service, account: &Account, call: &Call) -> String {
    let Account { region, id } = account;
    let action = format!("{service}:{}", call.operation);
    let named = &call.named;
    let resource = match (service, &named.consumer_arn, &named.stream, named.tables.first()) {
        (Service::Kinesis, Some(consumer), ..) => consumer.clone(),
        (Service::Kinesis, None, Some(stream), _) => format!("arn:aws:kinesis:{region}:{id}:stream/{stream}"),
        (Service::Dynamodb, .., Some(table)) => format!("arn:aws:dynamodb:{region}:{id}:table/{table}"),
        _ => "*".to_owned(),
    };
    format!(
        "User: arn:aws:iam::{id}:user/local is not authorized to perform: {action} on resource: {resource} because no \
         identity-based policy allows the {action} action"
    )
}

fn snowflake(call: &Call, hit: &Hit) -> Response {
    let (status, code, message) = match hit.fault.as_str() {
        "throttle" if call.operation == "statements" => (429, "390505", "Too many requests."),
        "throttle" => (429, "ERR_TOO_MANY_REQUESTS", "Too many requests, retry later."),
        "unavailable" => (
            503,
            "ERR_GENERAL_EXCEPTION_RETRY_REQUEST",
            "Service unavailable, retry the request.",
        ),
        "stale_continuation" => (
            400,
            "STALE_CONTINUATION_TOKEN_SEQUENCER",
            "Channel sequencer in the continuation token is stale. Please reopen the channel",
        ),
        "open_in_progress" => (
            409,
            "ERR_OPEN_CHANNEL_IN_PROGRESS",
            "Another open of the channel is in progress, retry later.",
        ),
        "expire_token" => (401, "390318", "OAuth access token expired."),
        _ => (hit.status, hit.code.as_str(), "injected fault"),
    };
    let body = serde_json::json!({"error_code": code, "code": code, "message": message});
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let seconds = hit
        .retry_after
        .map(|wait| wait.as_millis().div_ceil(1000))
        .or((status == 429).then_some(1));
    if let Some(seconds) = seconds {
        headers.insert(
            header::RETRY_AFTER,
            HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)),
        );
    }
    response
}

/// An answer that never arrives: its body fails, which ends the connection.
pub(super) fn lost() -> Response {
    let failing = futures::stream::once(async { Err::<Bytes, _>(ended()) });
    let mut response = Response::new(Body::from_stream(failing));
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from_static("1"));
    response
}

/// The answer, with its connection ended after so many bytes of the body. A shorter one arrives whole.
pub(super) fn cut(response: Response, bytes: u64) -> Response {
    let (head, body) = response.into_parts();
    let mut body = body.into_data_stream();
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    let (mut over, mut sent) = (false, false);
    let parts = futures::stream::poll_fn(move |context| {
        if !over {
            let part = match ready!(body.poll_next_unpin(context)) {
                Some(Ok(part)) => part,
                Some(Err(error)) => return Poll::Ready(Some(Err(std::io::Error::other(error)))),
                None => return Poll::Ready(None),
            };
            over = part.len() > left;
            let part = part.slice(..part.len().min(left));
            left -= part.len();
            if !part.is_empty() {
                return Poll::Ready(Some(Ok(part)));
            }
        }
        if over && sent {
            return Poll::Ready(Some(Err(ended())));
        }
        // The server sends what it has whenever the body lets it wait.
        sent = true;
        context.waker().wake_by_ref();
        Poll::Pending
    });
    Response::from_parts(head, Body::from_stream(parts))
}

fn ended() -> std::io::Error {
    std::io::Error::other("connection ended by fault")
}
