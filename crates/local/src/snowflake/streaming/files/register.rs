//! `POST .../filebuffer`: uploaded files become one append, as if their rows had come by `/rows`.
//!
//! All files are read, decrypted and measured before anything is stored; one that is missing or damaged refuses the whole
//! call. Their rows go into the log as one batch, so that they are committed together, with the last end token.

use std::sync::Arc;

use aws_lc_rs::cipher::{AES_256, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use axum::body::Bytes;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::super::super::log::Encoding;
use super::super::super::model::PipeRow;
use super::super::super::registry::Channel;
use super::super::super::stage::{FILE_LIMIT, Location, Stage};
use super::super::super::store::{Appended, Incoming, Store};
use super::super::super::{FILE_RAW_LIMIT, Snowflake, decode};
use super::super::answer::{self, Refusal};
use super::super::append::{self, Tokens};
use super::super::disturb::disturb;
use super::super::path::{Name, Query};
use super::parse;

/// Files of one call.
const MOST_FILES: usize = 100;
const IV_BYTES: usize = 16;
/// As the faults file names it.
const OPERATION: &str = "register_files";

/// One file as the official SDK describes it; fields that nothing here depends on are left out.
#[derive(Deserialize)]
struct Described {
    file_path: String,
    file_etag: String,
    file_length_bytes: u64,
    #[serde(default)]
    fragment_length_bytes: Option<u64>,
    #[serde(default)]
    fragment_start_byte_offset: Option<u64>,
    #[serde(default)]
    fragment_start_offset_token: Option<String>,
    #[serde(default)]
    fragment_end_offset_token: Option<String>,
    iv_base64: String,
}

/// One file to be read.
pub(in super::super::super) struct Wanted {
    pub(in super::super::super) location: Location,
    pub(in super::super::super) etag: String,
    pub(in super::super::super) iv: [u8; IV_BYTES],
    pub(in super::super::super) length: u64,
}

/// What the files of one call are together.
struct Rows {
    zstd: Vec<u8>,
    raw_length: u32,
}

/// Why there are no rows.
enum NoRows {
    Missing(String),
    Damaged(String),
    TooLarge,
    Failed(crate::Error),
}

pub(in super::super) async fn register(
    snowflake: &Arc<Snowflake>,
    pipe: &PipeRow,
    name: &Name,
    query: &Query,
    body: &[u8],
) -> Result<Response, Refusal> {
    let described: Vec<Described> = answer::parse(body)?;
    let (start_token, end_token) = tokens(&described);
    let wanted = wanted(described, pipe)?;
    disturb(snowflake, pipe, &name.lookup, OPERATION).await?;
    let channel = append::find(snowflake, pipe, name).await?;
    append::check(
        &channel,
        query,
        &Tokens {
            start: start_token.as_ref(),
            end: end_token.as_ref(),
        },
    )?;
    let store = &snowflake.store;
    // A repeated call finds its files gone: they are in the log.
    let request_id = query.request_id.clone().unwrap_or_default();
    let continuation_token = query.continuation_token.as_deref();
    if let Some(known) = store.known(&channel, continuation_token, &request_id).await {
        discard(&store.stage, wanted, matches!(known, Appended::Replayed(_))).await;
        return append::answer(snowflake, &channel, OPERATION, known);
    }
    append::allow(snowflake, &channel)?;
    let batch = Incoming {
        continuation_token: query.continuation_token.clone(),
        request_id,
        offset_token: end_token,
        start_token,
        encoding: Encoding::Zstd,
        rows: Bytes::new(),
        raw_length: 0,
    };
    let key = snowflake.pipe_key(pipe);
    let charge = |raw_length| append::charge(snowflake, &channel, raw_length);
    let outcome = into_log(store, &channel, key, wanted, batch, charge).await?;
    append::answer(snowflake, &channel, OPERATION, outcome)
}

/// Reads the files into `batch`, accepts that, and removes the files unless the client comes again with them.
pub(in super::super::super) async fn into_log(
    store: &Arc<Store>,
    channel: &Arc<Channel>,
    key: Vec<u8>,
    wanted: Vec<Wanted>,
    mut batch: Incoming,
    charge: impl FnOnce(u32),
) -> Result<Appended, Refusal> {
    let total = wanted.iter().map(|file| file.length).sum::<u64>();
    let total = usize::try_from(total).unwrap_or(FILE_LIMIT);
    let _room = store.stage.room(total).await?;
    let stage = Arc::clone(&store.stage);
    let work = tokio::task::spawn_blocking(move || (rows_of(&stage, &key, &wanted), wanted)).await;
    let (rows, wanted) = work.map_err(|_| Refusal::from(crate::Error::Stopping))?;
    let rows = match rows {
        Ok(rows) => rows,
        Err(no_rows) => return no_rows_of(&store.stage, channel, wanted, no_rows).await,
    };
    charge(rows.raw_length);
    batch.rows = Bytes::from(rows.zstd);
    batch.raw_length = rows.raw_length;
    let outcome = store.accept(Arc::clone(channel), batch).await?;
    match &outcome {
        Appended::Accepted(_) | Appended::Replayed(_) => {
            let (files, bytes) = (wanted.len(), rows.raw_length);
            tracing::debug!(channel_id = channel.id, files, bytes, "files registered");
            discard(&store.stage, wanted, true).await;
        }
        Appended::Stale => discard(&store.stage, wanted, false).await,
        Appended::Full => {}
    }
    Ok(outcome)
}

/// The first start token and the last end token; empty ones are none.
fn tokens(described: &[Described]) -> (Option<String>, Option<String>) {
    let given = |token: &Option<String>| token.clone().filter(|token| !token.is_empty());
    let start = described
        .iter()
        .find_map(|file| given(&file.fragment_start_offset_token));
    let end = described
        .iter()
        .rev()
        .find_map(|file| given(&file.fragment_end_offset_token));
    (start, end)
}

fn wanted(described: Vec<Described>, pipe: &PipeRow) -> Result<Vec<Wanted>, Refusal> {
    let invalid = |message: String| Refusal::new(400, "ERR_INVALID_REQUEST_BODY", message);
    if described.is_empty() || described.len() > MOST_FILES {
        return Err(invalid(format!(
            "From 1 to {MOST_FILES} files can be registered at once."
        )));
    }
    let mut wanted: Vec<Wanted> = Vec::with_capacity(described.len());
    let mut total = 0_u64;
    for file in described {
        let location = parse(&file.file_path)
            .filter(|location| location.pipe_id == pipe.id)
            .ok_or_else(|| not_there(&file.file_path))?;
        let whole = file.fragment_start_byte_offset.unwrap_or(0) == 0
            && file
                .fragment_length_bytes
                .is_none_or(|length| length == file.file_length_bytes);
        if !whole {
            return Err(Refusal::new(
                501,
                "ERR_FILE_FRAGMENT_NOT_SUPPORTED",
                "frazil local takes whole files only, not fragments of one",
            ));
        }
        let iv = STANDARD
            .decode(&file.iv_base64)
            .ok()
            .and_then(|iv| iv.try_into().ok());
        let iv = iv.ok_or_else(|| invalid("iv_base64 must be 16 bytes in base64.".into()))?;
        total = total.saturating_add(file.file_length_bytes);
        let etag = file.file_etag.trim_matches('"').to_owned();
        if wanted
            .iter()
            .any(|other| other.location == location && other.etag == etag)
        {
            return Err(invalid("A file is named twice.".into()));
        }
        wanted.push(Wanted {
            location,
            etag,
            iv,
            length: file.file_length_bytes,
        });
    }
    if total > FILE_LIMIT as u64 {
        return Err(too_large());
    }
    Ok(wanted)
}

fn rows_of(stage: &Stage, key: &[u8], wanted: &[Wanted]) -> Result<Rows, NoRows> {
    let mut zstd: Vec<u8> = Vec::new();
    let mut raw_length = 0_u64;
    for file in wanted {
        let found = stage.read(&file.location, &file.etag).map_err(NoRows::Failed)?;
        let mut bytes = found.ok_or_else(|| NoRows::Missing(file.location.file.clone()))?;
        let damaged = |reason: &str| NoRows::Damaged(format!("File {} {reason}.", file.location.file));
        if bytes.len() as u64 != file.length {
            return Err(damaged("has another length than registered"));
        }
        decrypt(key, file.iv, &mut bytes).ok_or_else(|| damaged("cannot be decrypted"))?;
        let left = FILE_RAW_LIMIT - usize::try_from(raw_length).unwrap_or(FILE_RAW_LIMIT);
        let length = match decode::measure(&bytes, Encoding::Zstd, left) {
            Ok(length) => length,
            Err(decode::Refused::TooLarge) => return Err(NoRows::TooLarge),
            Err(decode::Refused::Damaged) => return Err(damaged("is no zstd under the pipe's key")),
        };
        raw_length += length;
        // Frames behind one another are one stream: rows keep their order.
        if zstd.is_empty() {
            zstd = bytes;
        } else {
            zstd.extend_from_slice(&bytes);
        }
    }
    let raw_length = u32::try_from(raw_length).map_err(|_| NoRows::TooLarge)?;
    Ok(Rows { zstd, raw_length })
}

/// AES-256-CTR, in place.
fn decrypt(key: &[u8], iv: [u8; IV_BYTES], bytes: &mut [u8]) -> Option<()> {
    let key = UnboundCipherKey::new(&AES_256, key).ok()?;
    let context = DecryptionContext::Iv128(FixedLength::from(iv));
    DecryptingKey::ctr(key).ok()?.decrypt(bytes, context).ok()?;
    Some(())
}

async fn no_rows_of(
    stage: &Arc<Stage>,
    channel: &Channel,
    wanted: Vec<Wanted>,
    no_rows: NoRows,
) -> Result<Appended, Refusal> {
    match no_rows {
        // The elastic channel has many clients and remembers the last request only.
        NoRows::Missing(_)
            if channel.elastic
                && wanted
                    .iter()
                    .all(|file| stage.was_registered(&file.location, &file.etag)) =>
        {
            Ok(Appended::Replayed(String::new()))
        }
        NoRows::Missing(file) => Err(not_there(&file)),
        NoRows::Failed(error) => Err(error.into()),
        NoRows::Damaged(message) => {
            discard(stage, wanted, false).await;
            tracing::warn!(channel_id = channel.id, reason = message, "uploaded file refused");
            Err(Refusal::new(400, "ERR_INVALID_FILE", message))
        }
        NoRows::TooLarge => {
            discard(stage, wanted, false).await;
            Err(too_large())
        }
    }
}

/// Removes the files; should the server end before, they are abandoned.
async fn discard(stage: &Arc<Stage>, wanted: Vec<Wanted>, registered: bool) {
    let stage = Arc::clone(stage);
    let work = tokio::task::spawn_blocking(move || {
        for file in wanted {
            stage.remove(&file.location, &file.etag, registered);
        }
    });
    if work.await.is_err() {
        tracing::warn!("uploaded files not removed");
    }
}

fn not_there(file: &str) -> Refusal {
    let message = format!("File {file} was not uploaded to this pipe, or is abandoned.");
    Refusal::new(400, "ERR_FILE_NOT_FOUND", message)
}

fn too_large() -> Refusal {
    let message = "The files are larger than 64 MiB, or than 256 MiB after decompression.";
    Refusal::new(413, "ERR_REQUEST_TOO_LARGE", message)
}
