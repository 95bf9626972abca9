//! `POST .../rows`: rows of a named or elastic channel.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use axum::body::Bytes;
use axum::response::Response;
use http::{HeaderMap, header};
use serde_json::json;

use super::super::catalog::ELASTIC;
use super::super::decode::{self, Refused};
use super::super::log::Encoding;
use super::super::model::PipeRow;
use super::super::registry::{Channel, Found};
use super::super::store::{Appended, Incoming, Store};
use super::super::{RAW_LIMIT, Snowflake};
use super::answer::{self, Refusal};
use super::disturb::disturb;
use super::path::{Name, Query};
use crate::faults::{Faults, Service};

/// Longest offset token and request id.
const TOKEN_LIMIT: usize = 64 * 1024;

pub(super) async fn append(
    snowflake: &Arc<Snowflake>,
    pipe: &PipeRow,
    name: &Name,
    query: &Query,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    disturb(snowflake, pipe, &name.lookup, "append_rows").await?;
    let channel = find(snowflake, pipe, name).await?;
    let batch = incoming(snowflake, &channel, query, headers, body).await?;
    let outcome = snowflake.store.accept(Arc::clone(&channel), batch).await?;
    answer(snowflake, &channel, "append_rows", outcome)
}

/// The answer to an append, by whichever way its rows came.
pub(super) fn answer(
    snowflake: &Snowflake,
    channel: &Channel,
    operation: &str,
    outcome: Appended,
) -> Result<Response, Refusal> {
    match outcome {
        Appended::Accepted(token) => Ok(accepted(&token)),
        Appended::Replayed(token) => {
            let faults = &snowflake.faults;
            let stale_on_replay = faults
                .hit(Service::Snowflake, operation, "stale_on_replay")
                .is_some();
            if stale_on_replay {
                return Err(stale());
            }
            tracing::debug!(channel_id = channel.id, "append replayed");
            Ok(accepted(&token))
        }
        Appended::Stale => Err(stale()),
        Appended::Full => Err(busy("Too much is accepted and not committed, retry later.")),
    }
}

pub(super) async fn find(
    snowflake: &Arc<Snowflake>,
    pipe: &PipeRow,
    name: &Name,
) -> Result<Arc<Channel>, Refusal> {
    if name.lookup.eq_ignore_ascii_case(ELASTIC) {
        return Ok(snowflake.store.elastic_channel(pipe).await?);
    }
    match snowflake.store.registry.find(&Store::key(pipe, &name.lookup))? {
        Found::Healthy(channel) => Ok(channel),
        Found::Invalid(code) => Err(Refusal::new(
            409,
            code,
            "The channel is invalid. Please reopen the channel.",
        )),
        Found::Absent => Err(Refusal::new(
            404,
            "ERR_CHANNEL_DOES_NOT_EXIST_OR_IS_NOT_AUTHORIZED",
            format!("Channel {} does not exist or is not authorized.", name.written),
        )),
    }
}

/// The offset tokens of an append.
pub(super) struct Tokens<'a> {
    pub(super) start: Option<&'a String>,
    pub(super) end: Option<&'a String>,
}

/// Checks which tokens there are, and their lengths.
pub(super) fn check(channel: &Channel, query: &Query, tokens: &Tokens<'_>) -> Result<(), Refusal> {
    let all = [tokens.start, tokens.end, query.request_id.as_ref()];
    if all.into_iter().flatten().any(|token| token.len() > TOKEN_LIMIT) {
        return Err(Refusal::new(
            400,
            "ERR_TOKEN_TOO_LONG",
            "A token is longer than 64 KiB.",
        ));
    }
    if channel.elastic
        && (tokens.start.is_some() || tokens.end.is_some() || query.continuation_token.is_some())
    {
        return Err(Refusal::new(
            400,
            "ERR_INVALID_REQUEST",
            "The elastic channel takes no offset or continuation token.",
        ));
    }
    if !channel.elastic && query.continuation_token.is_none() {
        return Err(Refusal::new(
            400,
            "ERR_MISSING_CONTINUATION_TOKEN",
            "continuationToken is required.",
        ));
    }
    Ok(())
}

/// Takes one request off a named channel's rate.
pub(super) fn allow(snowflake: &Snowflake, channel: &Channel) -> Result<(), Refusal> {
    if !snowflake.enforce_limits || channel.elastic {
        return Ok(());
    }
    let mut rate = channel.rate.lock().unwrap_or_else(PoisonError::into_inner);
    if rate.allow(Instant::now()) {
        Ok(())
    } else {
        Err(busy("The channel is over its rate limit, retry later."))
    }
}

/// Takes the rows' decompressed bytes off it.
pub(super) fn charge(snowflake: &Snowflake, channel: &Channel, raw_length: u32) {
    if snowflake.enforce_limits && !channel.elastic {
        let mut rate = channel.rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.charge(raw_length);
    }
}

/// Checks limits, tokens and encoding, and decompresses once, so that what is accepted can be committed.
async fn incoming(
    snowflake: &Snowflake,
    channel: &Channel,
    query: &Query,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Incoming, Refusal> {
    let offset_token = query
        .end_offset_token
        .clone()
        .or_else(|| query.offset_token.clone());
    let tokens = Tokens {
        start: query.start_offset_token.as_ref(),
        end: offset_token.as_ref(),
    };
    check(channel, query, &tokens)?;
    allow(snowflake, channel)?;
    let encoding = headers
        .get(header::CONTENT_ENCODING)
        .map_or(b"identity".as_slice(), |value| value.as_bytes());
    let compressed = match encoding.to_ascii_lowercase().as_slice() {
        b"zstd" => Some(Encoding::Zstd),
        b"gzip" => Some(Encoding::Gzip),
        b"identity" | b"" => None,
        _ => {
            return Err(Refusal::new(
                415,
                "ERR_UNSUPPORTED_ENCODING",
                "Content-Encoding must be zstd, gzip or identity.",
            ));
        }
    };
    let faults = Arc::clone(&snowflake.faults);
    let work = tokio::task::spawn_blocking(move || {
        let (encoding, rows, raw_length) = prepare(&body, compressed).map_err(refused)?;
        refuse_rows(&faults, encoding, &rows, raw_length)?;
        Ok::<_, Refusal>((encoding, rows, raw_length))
    });
    let (encoding, rows, raw_length) = work.await.map_err(|_| Refusal::from(crate::Error::Stopping))??;
    charge(snowflake, channel, raw_length);
    Ok(Incoming {
        continuation_token: query.continuation_token.clone(),
        request_id: query.request_id.clone().unwrap_or_default(),
        offset_token,
        start_token: query.start_offset_token.clone(),
        encoding,
        rows,
        raw_length,
    })
}

/// The fault `refuse_rows`.
fn refuse_rows(faults: &Faults, encoding: Encoding, rows: &[u8], raw_length: u32) -> Result<(), Refusal> {
    const FAULT: &str = "refuse_rows";
    if !faults.has(Service::Snowflake, FAULT) {
        return Ok(());
    }
    let rows = decode::decompress(rows, encoding, raw_length as usize).map_err(refused)?;
    match faults.hit_rows("append_rows", FAULT, &rows) {
        Some(hit) => Err(Refusal::new(hit.status, hit.code, "injected fault")),
        None => Ok(()),
    }
}

/// The rows as they are stored, and their decompressed length.
fn prepare(body: &Bytes, compressed: Option<Encoding>) -> Result<(Encoding, Bytes, u32), Refused> {
    let length = match compressed {
        Some(encoding) => decode::measure(body, encoding, RAW_LIMIT)?,
        None => body.len() as u64,
    };
    let length = u32::try_from(length).map_err(|_| Refused::TooLarge)?;
    match compressed {
        Some(encoding) => Ok((encoding, body.clone(), length)),
        None => {
            let rows = zstd::bulk::compress(body, 1).map_err(|_| Refused::Damaged)?;
            Ok((Encoding::Zstd, rows.into(), length))
        }
    }
}

fn refused(refused: Refused) -> Refusal {
    match refused {
        Refused::TooLarge => Refusal::new(
            413,
            "ERR_REQUEST_TOO_LARGE",
            "The request body is larger than 16 MB after decompression.",
        ),
        Refused::Damaged => Refusal::new(
            400,
            "ERR_INVALID_COMPRESSION",
            "The request body is not in its Content-Encoding.",
        ),
    }
}

fn accepted(token: &str) -> Response {
    answer::ok(&json!({"message": "OK", "next_continuation_token": token}))
}

fn stale() -> Refusal {
    Refusal::new(
        400,
        "STALE_CONTINUATION_TOKEN_SEQUENCER",
        "Channel sequencer in the continuation token is stale. Please reopen the channel",
    )
}

fn busy(message: &str) -> Refusal {
    Refusal::new(429, "ERR_TOO_MANY_REQUESTS", message)
}
