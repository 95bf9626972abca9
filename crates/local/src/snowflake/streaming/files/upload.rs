//! S3's PutObject, as much as the official SDK sends: path style, a body in one piece or `aws-chunked`, a CRC-32.
//!
//! The session token of pipe-info decides who may upload where; the signature (SigV4) is not checked. Errors are S3's: XML
//! with a code (Amazon S3 API Reference, "Error responses").

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::super::super::Snowflake;
use super::super::super::catalog::now_ms;
use super::super::super::stage::{FILE_LIMIT, Location, Put};
use super::chunked::{self, Unframed};
use super::{Session, check};
use crate::Error;

/// What framing may add to a file.
const FRAMING: usize = 1024 * 1024;
/// A body that is not there by then is given up, so that its room in memory is not held for ever.
const BODY_WAIT: Duration = Duration::from_secs(120);

/// Why a file is not taken: status and S3's code.
type Refusal = (u16, &'static str, &'static str);

const CUT: Refusal = (
    400,
    "IncompleteBody",
    "The request body ended early or is not framed as its headers say.",
);

/// `PUT /frazil-local/...`.
pub(in super::super) async fn upload(
    snowflake: &Arc<Snowflake>,
    location: Option<Location>,
    headers: &HeaderMap,
    body: Body,
) -> Response {
    match take(snowflake, location, headers, body).await {
        Ok(etag) => kept(&etag),
        Err(refusal) => refused(refusal),
    }
}

async fn take(
    snowflake: &Arc<Snowflake>,
    location: Option<Location>,
    headers: &HeaderMap,
    body: Body,
) -> Result<String, Refusal> {
    let location = location.ok_or((404, "NoSuchBucket", "There is no such location."))?;
    let token = text(headers, "x-amz-security-token").unwrap_or_default();
    match check(&snowflake.pipe_secret, &location, token, now_ms()) {
        Session::Good => {}
        Session::Expired => return Err((400, "ExpiredToken", "The provided token has expired.")),
        Session::Foreign => return Err((403, "AccessDenied", "The session token is not for this location.")),
    }
    let announced = text(headers, "content-length").and_then(|value| value.parse::<usize>().ok());
    let announced = announced.ok_or((
        411,
        "MissingContentLength",
        "You must provide the Content-Length header.",
    ))?;
    if announced > FILE_LIMIT + FRAMING {
        return Err((400, "EntityTooLarge", "The file is larger than 64 MiB."));
    }
    let room = snowflake.store.stage.room(announced).await;
    let room = room.map_err(|_| (503, "ServiceUnavailable", "The server is stopping."))?;
    let body = tokio::time::timeout(BODY_WAIT, read(body, announced)).await;
    let body = body.map_err(|_| (400, "RequestTimeout", "The request body did not arrive in time."))??;
    let framed = text(headers, "content-encoding").is_some_and(|value| value.contains("aws-chunked"))
        || text(headers, "x-amz-content-sha256").is_some_and(|value| value.starts_with("STREAMING-"));
    let decoded = text(headers, "x-amz-decoded-content-length").and_then(|value| value.parse::<usize>().ok());
    let crc32 = text(headers, "x-amz-checksum-crc32").map(str::to_owned);
    let store = Arc::clone(&snowflake.store);
    let work = tokio::task::spawn_blocking(move || {
        let _room = room;
        let file = if framed {
            chunked::unframe(body).ok_or(CUT)?
        } else {
            Unframed { bytes: body, crc32 }
        };
        verify(&file, if framed { decoded } else { None })?;
        store.stage.put(&location, &file.bytes).map_err(failed)
    });
    let put = work
        .await
        .map_err(|_| (503, "ServiceUnavailable", "The server is stopping."))??;
    match put {
        Put::Kept(etag) => Ok(etag),
        Put::Busy => Err((503, "SlowDown", "The file is being written, retry later.")),
        Put::Full => Err((503, "SlowDown", "The stage is full, retry later.")),
    }
}

async fn read(body: Body, announced: usize) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::with_capacity(announced);
    let mut parts = body.into_data_stream();
    while let Some(part) = parts.next().await {
        // HTTP/1.1 gives no more than Content-Length.
        bytes.extend_from_slice(&part.map_err(|_| CUT)?);
    }
    if bytes.len() == announced {
        Ok(bytes)
    } else {
        Err(CUT)
    }
}

fn verify(file: &Unframed, decoded: Option<usize>) -> Result<(), Refusal> {
    if file.bytes.len() > FILE_LIMIT {
        return Err((400, "EntityTooLarge", "The file is larger than 64 MiB."));
    }
    if decoded.is_some_and(|decoded| decoded != file.bytes.len()) {
        return Err(CUT);
    }
    let Some(wanted) = &file.crc32 else {
        return Ok(());
    };
    let mut crc = flate2::Crc::new();
    crc.update(&file.bytes);
    if STANDARD.encode(crc.sum().to_be_bytes()) == *wanted {
        Ok(())
    } else {
        Err((
            400,
            "BadDigest",
            "The CRC32 you specified did not match what we received.",
        ))
    }
}

fn failed(error: Error) -> Refusal {
    tracing::warn!(%error, "upload not kept");
    if error.is_disk_full() {
        (503, "SlowDown", "The disk of the local Snowflake is full.")
    } else {
        (
            500,
            "InternalError",
            "We encountered an internal error, try again.",
        )
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn kept(etag: &str) -> Response {
    let mut response = Response::new(Body::empty());
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

fn refused((status, code, message): Refusal) -> Response {
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    let mut response = Response::new(Body::from(xml));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}
