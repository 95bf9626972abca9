//! Channels: open, drop, status.

use std::sync::Arc;

use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::Snowflake;
use super::super::catalog::{ELASTIC, MOST_CHANNELS, SUCCESS, now_ms};
use super::super::model::{ChannelRow, Counters, PipeRow};
use super::super::store::Opened;
use super::answer::{self, Refusal};
use super::disturb::disturb;
use super::path::Name;
use crate::faults::Service;

/// Names that one status call may ask for.
const STATUS_LIMIT: usize = 1000;
const NAME_LIMIT: usize = 255;

#[derive(Default, Deserialize)]
struct OpenBody {
    #[serde(default)]
    fail_on_uncommitted_rows: Option<bool>,
    #[serde(default)]
    offset_token: Option<String>,
}

#[derive(Deserialize)]
struct StatusBody {
    channel_names: Vec<String>,
}

/// `PUT .../channels/<channel>`: accepted rows that are not committed are discarded, unless the body forbids it.
pub(super) async fn open(
    snowflake: &Arc<Snowflake>,
    pipe: PipeRow,
    name: Name,
    body: &[u8],
) -> Result<Response, Refusal> {
    let body: OpenBody = answer::parse(body)?;
    if name.lookup.eq_ignore_ascii_case(ELASTIC) {
        return Err(Refusal::new(
            400,
            "ERR_INVALID_CHANNEL_NAME",
            "ELASTIC is reserved and is never opened.",
        ));
    }
    if name.written.len() > NAME_LIMIT {
        return Err(Refusal::new(
            400,
            "ERR_INVALID_CHANNEL_NAME",
            "The channel name is longer than 255 bytes.",
        ));
    }
    let fail = body.fail_on_uncommitted_rows.unwrap_or(false);
    let store = &snowflake.store;
    match store
        .open_channel(pipe, name.written, name.lookup, body.offset_token, fail)
        .await?
    {
        Opened::Open(row, token) => {
            tracing::info!(
                channel = row.name,
                client_sequencer = row.client_sequencer,
                "channel opened"
            );
            let status = status_of(snowflake, &row);
            Ok(answer::ok(
                &json!({"next_continuation_token": token, "channel_status": status}),
            ))
        }
        Opened::Uncommitted => Err(uncommitted()),
        Opened::TooMany => Err(Refusal::new(
            400,
            "ERR_TOO_MANY_CHANNELS",
            format!(
                "The pipe has {MOST_CHANNELS} channels, and takes no more. Drop channels that are not used."
            ),
        )),
    }
}

/// `DELETE .../channels/<channel>`.
pub(super) async fn drop(
    snowflake: &Arc<Snowflake>,
    pipe: &PipeRow,
    name: &Name,
    body: &[u8],
) -> Result<Response, Refusal> {
    let body: OpenBody = answer::parse(body)?;
    if name.lookup.eq_ignore_ascii_case(ELASTIC) {
        return Err(Refusal::new(
            400,
            "ERR_INVALID_CHANNEL_NAME",
            "ELASTIC is reserved and is never dropped.",
        ));
    }
    let Some(row) = snowflake.store.catalog.channel(pipe.id, &name.lookup)? else {
        return Err(Refusal::new(
            404,
            "ERR_CHANNEL_DOES_NOT_EXIST_OR_IS_NOT_AUTHORIZED",
            format!("Channel {} does not exist or is not authorized.", name.written),
        ));
    };
    match snowflake
        .store
        .drop_channel(row, body.fail_on_uncommitted_rows.unwrap_or(false))
        .await?
    {
        Some(last) => {
            tracing::info!(channel = last.name, "channel dropped");
            Ok(answer::ok(
                &json!({"last_committed_offset_token": last.offset_token}),
            ))
        }
        None => Err(uncommitted()),
    }
}

/// `POST <pipe>:bulk-channel-status`: keys as asked, unknown channels left out, `ELASTIC` always known.
pub(super) async fn status(
    snowflake: &Arc<Snowflake>,
    pipe: &PipeRow,
    body: &[u8],
) -> Result<Response, Refusal> {
    let body: StatusBody = answer::parse(body)?;
    if body.channel_names.len() > STATUS_LIMIT {
        return Err(Refusal::new(
            400,
            "ERR_TOO_MANY_CHANNELS",
            "At most 1000 channels can be asked for at once.",
        ));
    }
    for asked in &body.channel_names {
        if disturb(snowflake, pipe, &Name::new(asked).lookup, "channel_status").await? {
            break;
        }
    }
    let catalog = &snowflake.store.catalog;
    let mut statuses = Map::new();
    for asked in body.channel_names {
        let exact = catalog.channel(pipe.id, &asked)?;
        let row = match exact {
            Some(row) => Some(row),
            None => catalog.channel(pipe.id, &Name::new(&asked).lookup)?,
        };
        let row = row.or_else(|| asked.eq_ignore_ascii_case(ELASTIC).then(|| unused_elastic(pipe)));
        if let Some(row) = row {
            statuses.insert(asked, status_of(snowflake, &row));
        }
    }
    Ok(answer::ok(&json!({"channel_statuses": statuses})))
}

fn status_of(snowflake: &Snowflake, row: &ChannelRow) -> Value {
    let counters = match snowflake
        .faults
        .hit(Service::Snowflake, "channel_status", "late_counters")
    {
        Some(hit) => snowflake
            .store
            .committer
            .late
            .as_of(row.id, row.counters, hit.delay),
        None => row.counters,
    };
    json!({
        "database_name": row.database,
        "schema_name": row.schema,
        "pipe_name": row.pipe,
        "channel_name": row.name,
        "channel_status_code": row.status_code,
        "created_on_ms": row.created_on_ms,
        "rows_inserted": counters.rows_inserted,
        "rows_parsed": counters.rows_parsed,
        "rows_error_count": counters.rows_error_count,
        "last_committed_offset_token": row.offset_token,
        "last_error_offset_upper_bound": row.last_error_offset_upper_bound,
        "last_error_message": row.last_error_message,
        "last_error_timestamp_ms": row.last_error_timestamp_ms,
        "snowflake_avg_processing_latency_ms": null,
    })
}

fn unused_elastic(pipe: &PipeRow) -> ChannelRow {
    ChannelRow {
        id: 0,
        pipe_id: pipe.id,
        table_id: pipe.table_id,
        database: pipe.database.clone(),
        schema: pipe.schema.clone(),
        pipe: pipe.name.clone(),
        table: pipe.table.clone(),
        name: ELASTIC.to_owned(),
        status_code: SUCCESS.to_owned(),
        created_on_ms: now_ms(),
        client_sequencer: 0,
        committed_row_sequencer: 0,
        offset_token: None,
        counters: Counters::default(),
        last_error_message: None,
        last_error_offset_upper_bound: None,
        last_error_timestamp_ms: None,
    }
}

fn uncommitted() -> Refusal {
    Refusal::new(
        409,
        "ERR_CHANNEL_HAS_UNCOMMITTED_DATA",
        "The channel has uncommitted rows. Wait for their commit, or set fail_on_uncommitted_rows to false.",
    )
}
