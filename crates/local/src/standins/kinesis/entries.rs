//! PutRecords of which some entries are refused: the others are put, and the answer has all in the order of the request.

use axum::middleware::Next;
use axum::response::Response;
use http::request;
use serde_json::{Value, json};

use crate::aws::{self, Format};

/// Why an entry is refused: error code and message.
pub(super) type Refused = Option<(String, String)>;

/// Puts the entries of `body` that are not refused.
pub(super) async fn put(
    format: Format,
    head: request::Parts,
    mut body: Value,
    refusals: Vec<Refused>,
    next: Next,
) -> Response {
    let entries = match body["Records"].take() {
        Value::Array(entries) => entries,
        _ => Vec::new(),
    };
    let accepted: Vec<Value> = entries
        .into_iter()
        .zip(&refusals)
        .filter(|(_, refused)| refused.is_none())
        .map(|(entry, _)| entry)
        .collect();
    let count = accepted.len();
    let (answer_head, mut answer) = if accepted.is_empty() {
        let mut answer = Response::new(axum::body::Body::empty());
        answer.headers_mut().insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static(format.content_type()),
        );
        (answer.into_parts().0, json!({}))
    } else {
        body["Records"] = Value::Array(accepted);
        let request = aws::request_with(head, format.write(&body));
        let (head, answered) = next.run(request).await.into_parts();
        let Ok(answered) = axum::body::to_bytes(answered, aws::BODY_LIMIT).await else {
            return format.error(500, "InternalFailure", "the answer could not be read");
        };
        let answer = format.read(&answered).filter(|_| head.status.is_success());
        match answer {
            Some(answer) => (head, answer),
            None => return aws::with_body(head, answered.into()),
        }
    };
    let puts = match answer["Records"].take() {
        Value::Array(puts) => puts,
        _ => Vec::new(),
    };
    if puts.len() != count {
        return format.error(500, "InternalFailure", "not every entry was answered");
    }
    let mut puts = puts.into_iter();
    let records: Vec<Value> = refusals
        .into_iter()
        .map(|refused| match refused {
            Some((code, message)) => json!({"ErrorCode": code, "ErrorMessage": message}),
            None => puts.next().unwrap_or_default(),
        })
        .collect();
    let failed = records.iter().filter(|record| !record["ErrorCode"].is_null());
    answer["FailedRecordCount"] = failed.count().into();
    answer["Records"] = Value::Array(records);
    aws::with_body(answer_head, format.write(&answer))
}
