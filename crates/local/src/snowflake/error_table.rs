//! Error tables: the rows that a table with ERROR_LOGGING refused.
//!
//! Source: Snowflake documentation, "Error tables for DML" and "Snowpipe Streaming error logging": the five columns,
//! `error_metadata` with `service` and `details`, and `error_data:"$1"`, which is the record before any transformation.
//! They are Parquet segments beside those of the table, committed with the rows and tokens of the same batches. The offset
//! tokens are those of the batch: with more than one record in it they are a range.
//!
//! Only reading and TRUNCATE are possible; without ERROR_LOGGING there is none, and switching it off drops the rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Builder, StringBuilder, TimestampNanosecondBuilder};
use arrow::datatypes::DataType as Arrow;
use arrow::record_batch::RecordBatch;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::model::{ColumnDef, DataType};
use super::rows::{self, Content, RefusedRow};

/// Where the lines of a batch came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) pipe: String,
    pub(crate) channel: String,
    pub(crate) start_token: Option<String>,
    pub(crate) end_token: Option<String>,
}

/// The columns of every error table.
pub(crate) fn columns() -> Vec<ColumnDef> {
    let text = DataType::Varchar {
        length: rows::MAX_VARCHAR,
    };
    let number = DataType::Number {
        precision: 38,
        scale: 0,
    };
    [
        ("TIMESTAMP", DataType::TimestampLtz { scale: 9 }),
        ("QUERY_ID", text),
        ("ERROR_CODE", number),
        ("ERROR_METADATA", DataType::Object),
        ("ERROR_DATA", DataType::Object),
    ]
    .map(|(name, data_type)| ColumnDef::new(name, data_type))
    .into()
}

/// Refused lines as rows of the error table; `origins` has one for each batch.
pub(crate) fn rows(refused: &[RefusedRow<'_>], origins: &[Origin], now_ms: i64) -> RecordBatch {
    let mut moments = TimestampNanosecondBuilder::new().with_timezone("UTC");
    let mut queries = StringBuilder::new();
    let mut codes = Decimal128Builder::new().with_data_type(Arrow::Decimal128(38, 0));
    let (mut metadata, mut data) = (StringBuilder::new(), StringBuilder::new());
    let nowhere = Origin::default();
    for row in refused {
        moments.append_value(now_ms.saturating_mul(1_000_000));
        queries.append_null();
        codes.append_value(i128::from(row.refusal.code));
        let origin = origins.get(row.batch).unwrap_or(&nowhere);
        metadata.append_value(described(row, origin).to_string());
        data.append_value(raw(row));
    }
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(moments.finish()),
        Arc::new(queries.finish()),
        Arc::new(codes.finish()),
        Arc::new(metadata.finish()),
        Arc::new(data.finish()),
    ];
    RecordBatch::try_new(rows::schema(&columns()), arrays).expect("each array is built for its column")
}

fn described(row: &RefusedRow<'_>, origin: &Origin) -> Value {
    let refusal = &row.refusal;
    let content = match refusal.content {
        Content::Json => "json",
        Content::InvalidJson => "json-invalid",
        Content::Binary => "binary-base64",
    };
    json!({
        "error_code": refusal.code,
        "error_message": refusal.message,
        "error_source": refusal.column,
        "sql_state": refusal.sql_state,
        "service": "snowpipe_streaming",
        "details": {
            "pipe_name": origin.pipe,
            "channel_name": origin.channel,
            "offset_token_lower_bound": origin.start_token,
            "offset_token_upper_bound": origin.end_token,
            "error_data_truncated": false,
            "error_data_content_type": content,
        },
    })
}

/// `{"$1": the line}`: as JSON where it is an object, else as text, else as base64.
fn raw(row: &RefusedRow<'_>) -> String {
    match (row.refusal.content, std::str::from_utf8(row.line)) {
        (Content::Json, Ok(line)) => format!("{{\"$1\":{line}}}"),
        (_, Ok(line)) => json!({ "$1": line }).to_string(),
        (_, Err(_)) => json!({ "$1": STANDARD.encode(row.line) }).to_string(),
    }
}
