//! Why a row did not become one, as a channel's status and the error table tell it.
//!
//! Codes and SQL states are those of Snowflake's error messages (documentation, "Error tables for DML": 100071, 100072;
//! "VARIANT": 100069 for text that is no JSON; 100078 for text that is too long).

use super::cell::Misfit;
use crate::snowflake::model::{ColumnDef, DataType};

/// Characters of a value that a message shows.
const SHOWN: usize = 100;

/// How the refused line stands in the error table (`error_data_content_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A JSON object.
    Json,
    /// Text that is none.
    InvalidJson,
    /// No UTF-8.
    Binary,
}

/// Why a row did not become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Snowflake's error code.
    pub code: u32,
    /// Its SQL state.
    pub sql_state: &'static str,
    /// For the channel's status: without row data.
    pub reason: String,
    /// For the error table, which holds the row anyway.
    pub message: String,
    /// The column that did not take its value.
    pub column: Option<String>,
    /// What the line is.
    pub content: Content,
}

/// A line that did not become a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRow<'a> {
    /// Which batch it came in.
    pub batch: usize,
    /// The line as it came, without the newline.
    pub line: &'a [u8],
    /// Why.
    pub refusal: Refusal,
}

impl Refusal {
    pub(super) fn no_object(reason: &'static str, content: Content) -> Self {
        Self {
            code: 100_069,
            sql_state: "22P02",
            reason: reason.to_owned(),
            message: format!("Error parsing JSON: {reason}"),
            column: None,
            content,
        }
    }

    /// An expression of the pipe failed on the row.
    pub(super) fn failed(message: &str) -> Self {
        Self {
            code: 100_038,
            sql_state: "22018",
            reason: "the pipe's transformation failed on the row".to_owned(),
            message: message.to_owned(),
            column: None,
            content: Content::Json,
        }
    }

    /// The pipe does not fit its table any more.
    pub(super) fn broken_pipe(message: &str) -> Self {
        Self {
            code: 1003,
            sql_state: "42000",
            reason: format!("the pipe is broken: {message}"),
            message: message.to_owned(),
            column: None,
            content: Content::Json,
        }
    }

    /// The sequence of a column's DEFAULT gives no number.
    pub(super) fn no_number(column: &ColumnDef) -> Self {
        let sequence = column.default.as_deref().unwrap_or_default();
        let sequence = sequence.strip_suffix(".NEXTVAL").unwrap_or(sequence);
        Self {
            code: 2003,
            sql_state: "02000",
            reason: format!("column {}: its sequence gives no number", column.name),
            message: format!("Sequence '{sequence}' does not exist or has no more numbers"),
            column: Some(column.name.clone()),
            content: Content::Json,
        }
    }

    pub(super) fn null(column: &ColumnDef) -> Self {
        Self {
            code: 100_072,
            sql_state: "22000",
            reason: format!("column {}: NULL is not allowed", column.name),
            message: "NULL result in a non-nullable column".to_owned(),
            column: Some(column.name.clone()),
            content: Content::Json,
        }
    }

    pub(super) fn misfit(column: &ColumnDef, value: &str, why: Misfit) -> Self {
        let shown: String = value.chars().take(SHOWN).collect();
        let is_text = matches!(column.data_type, DataType::Varchar { .. });
        let (code, message) = match why {
            Misfit::TooLong if is_text => (
                100_078,
                format!(
                    "String '{}' is too long and would be truncated",
                    shown.trim_matches('"')
                ),
            ),
            _ => {
                let to = kind(&column.data_type);
                (100_071, format!("Failed to cast variant value {shown} to {to}"))
            }
        };
        Self {
            code,
            sql_state: "22000",
            reason: format!("column {}: {}", column.name, why.text()),
            message,
            column: Some(column.name.clone()),
            content: Content::Json,
        }
    }
}

/// What Snowflake's cast errors call a type.
fn kind(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Number { .. } | DataType::Int | DataType::Long => "FIXED",
        DataType::Float => "REAL",
        DataType::Boolean => "BOOLEAN",
        DataType::Varchar { .. } => "TEXT",
        DataType::Binary { .. } => "BINARY",
        DataType::Date => "DATE",
        DataType::Time { .. } => "TIME",
        DataType::TimestampNtz { .. } => "TIMESTAMP_NTZ",
        DataType::TimestampLtz { .. } => "TIMESTAMP_LTZ",
        DataType::TimestampTz { .. } => "TIMESTAMP_TZ",
        DataType::Variant => "VARIANT",
        DataType::Object | DataType::Struct { .. } => "OBJECT",
        DataType::Array | DataType::List { .. } => "ARRAY",
        DataType::Map { .. } => "MAP",
        DataType::Decfloat => "DECFLOAT",
        DataType::Vector { .. } => "VECTOR",
    }
}
