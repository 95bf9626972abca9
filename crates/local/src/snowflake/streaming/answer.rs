//! Answers: JSON bodies, refusals, request bodies with their limits.

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;

use super::BODY_LIMIT;
use crate::Error;
use crate::snowflake::auth::AuthFailure;

/// A body over the limit is read up to here before it is refused, so that the client gets to see the answer.
const DRAIN_LIMIT: usize = 64 * 1024 * 1024;

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: u16,
    code: String,
    message: String,
}

impl Refusal {
    pub(super) fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
        }
    }

    pub(super) fn into_response(self) -> Response {
        let body = json!({"error_code": self.code, "code": self.code, "message": self.message});
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        with_status(status, body.to_string().into(), "application/json")
    }
}

impl From<AuthFailure> for Refusal {
    fn from(failure: AuthFailure) -> Self {
        Self::new(failure.status, failure.code, failure.message)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        if error.is_disk_full() {
            tracing::warn!(%error, "disk is full");
            return Self::new(
                503,
                "ERR_GENERAL_EXCEPTION_RETRY_REQUEST",
                "The disk of the local Snowflake is full. Make room, and retry the request.",
            );
        }
        tracing::error!(%error, "request failed");
        let status = if matches!(error, Error::Stopping) {
            503
        } else {
            500
        };
        Self::new(
            status,
            "ERR_GENERAL_EXCEPTION_RETRY_REQUEST",
            "Internal failure, retry the request.",
        )
    }
}

/// 200 with a JSON body.
pub(super) fn ok(body: &serde_json::Value) -> Response {
    with_status(StatusCode::OK, body.to_string().into(), "application/json")
}

/// 200 with bare text, without a newline.
pub(super) fn text(body: String) -> Response {
    with_status(StatusCode::OK, body.into(), "text/plain")
}

fn with_status(status: StatusCode, body: Body, kind: &'static str) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Reads a request's body, at most [`BODY_LIMIT`].
pub(super) async fn read_body(headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut parts = Vec::with_capacity(announced.unwrap_or(0).min(BODY_LIMIT));
    let mut length = 0;
    let mut stream = body.into_data_stream();
    while let Some(part) = stream.next().await {
        let part =
            part.map_err(|_| Refusal::new(400, "ERR_INCOMPLETE_BODY", "The request body ended early."))?;
        length += part.len();
        if length <= BODY_LIMIT {
            parts.extend_from_slice(&part);
        } else if length > DRAIN_LIMIT {
            break;
        }
    }
    if length > BODY_LIMIT {
        return Err(Refusal::new(
            413,
            "ERR_REQUEST_TOO_LARGE",
            "The request body is larger than 4 MB.",
        ));
    }
    Ok(Bytes::from(parts))
}

/// Parses a JSON body; an empty one is like `{}`.
pub(super) fn parse<T: for<'de> serde::Deserialize<'de>>(body: &[u8]) -> Result<T, Refusal> {
    let body = if body.iter().all(u8::is_ascii_whitespace) {
        b"{}"
    } else {
        body
    };
    serde_json::from_slice(body)
        .map_err(|error| Refusal::new(400, "ERR_INVALID_REQUEST_BODY", error.to_string()))
}
