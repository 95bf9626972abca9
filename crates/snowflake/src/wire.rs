//! The JSON of the protocol, in all the shapes that the service and its documents are known to use, and what an answer
//! that is no success means.
//!
//! Sources: docs.snowflake.com, "Snowpipe Streaming: REST API reference", "error handling", and what the official SDK
//! (1.9.1) reads and needs; where they differ (`rows_error_count` and `rows_errors`, `code` and `error_code`, texts that are
//! JSON or bare), both are taken.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use crate::error::Error;
use crate::http::Answer;
use crate::pipe::ChannelStatus;

/// The most of an error's text that is kept.
const LONGEST_MESSAGE: usize = 500;

#[derive(Debug, Deserialize)]
struct StatusWire {
    channel_status_code: Option<serde_json::Value>,
    last_committed_offset_token: Option<String>,
    #[serde(default)]
    rows_inserted: i64,
    #[serde(default)]
    rows_parsed: i64,
    rows_error_count: Option<i64>,
    rows_errors: Option<i64>,
    last_error_message: Option<String>,
    last_error_offset_upper_bound: Option<String>,
    #[serde(default)]
    created_on_ms: i64,
    snowflake_avg_processing_latency_ms: Option<i64>,
}

impl From<StatusWire> for ChannelStatus {
    fn from(wire: StatusWire) -> Self {
        let code = match wire.channel_status_code {
            Some(serde_json::Value::String(text)) => text,
            Some(other) => other.to_string(),
            None => "SUCCESS".to_owned(),
        };
        Self {
            code,
            committed_token: wire.last_committed_offset_token.filter(|token| !token.is_empty()),
            rows_inserted: wire.rows_inserted,
            rows_parsed: wire.rows_parsed,
            row_errors: wire.rows_error_count.or(wire.rows_errors).unwrap_or(0),
            last_error_message: wire.last_error_message,
            last_error_offset_upper_bound: wire.last_error_offset_upper_bound,
            created_on_ms: wire.created_on_ms,
            processing_latency_ms: wire.snowflake_avg_processing_latency_ms,
        }
    }
}

#[derive(Debug, Deserialize)]
struct OpenWire {
    next_continuation_token: String,
    channel_status: StatusWire,
}

#[derive(Debug, Deserialize)]
struct AppendWire {
    next_continuation_token: String,
}

#[derive(Debug, Deserialize)]
struct BulkWire {
    channel_statuses: HashMap<String, StatusWire>,
}

fn read<'a, T: Deserialize<'a>>(call: &'static str, body: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::BadAnswer {
        call,
        detail: error.to_string(),
    })
}

/// Continuation token and status of an open.
pub(crate) fn opened(body: &[u8]) -> Result<(String, ChannelStatus), Error> {
    let wire: OpenWire = read("open channel", body)?;
    Ok((wire.next_continuation_token, wire.channel_status.into()))
}

/// The continuation token of an append.
pub(crate) fn appended(body: &[u8]) -> Result<String, Error> {
    read::<AppendWire>("append rows", body).map(|wire| wire.next_continuation_token)
}

/// The statuses of the asked channels; the service may answer with another spelling of a name.
pub(crate) fn statuses(body: &[u8], asked: &[String]) -> Result<HashMap<String, ChannelStatus>, Error> {
    let mut wire: BulkWire = read("channel status", body)?;
    let mut found = HashMap::with_capacity(asked.len());
    for name in asked {
        let spelled = match wire.channel_statuses.contains_key(name) {
            true => Some(name.clone()),
            false => wire
                .channel_statuses
                .keys()
                .find(|key| same_name(key, name))
                .cloned(),
        };
        if let Some(status) = spelled.and_then(|key| wire.channel_statuses.remove(&key)) {
            found.insert(name.clone(), status.into());
        }
    }
    Ok(found)
}

fn same_name(one: &str, other: &str) -> bool {
    one.trim_matches('"')
        .eq_ignore_ascii_case(other.trim_matches('"'))
}

/// A text that comes bare, as a JSON string, or under one of these keys of a JSON object.
pub(crate) fn text(body: &[u8], keys: &[&str]) -> Option<String> {
    let bare = std::str::from_utf8(body).ok()?.trim();
    match serde_json::from_str::<serde_json::Value>(bare) {
        Ok(serde_json::Value::String(text)) => Some(text),
        Ok(serde_json::Value::Object(map)) => keys
            .iter()
            .find_map(|key| map.get(*key)?.as_str().map(ToOwned::to_owned)),
        _ if bare.is_empty() => None,
        _ => Some(bare.to_owned()),
    }
}

/// What an answer that is no success says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// Reads an error body: `error_code`, `code` or a number `status_code`, and `message`; or a bare text.
pub(crate) fn complaint(body: &[u8]) -> Complaint {
    let shorten = |text: &str| text.chars().take(LONGEST_MESSAGE).collect::<String>();
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else {
        return Complaint {
            code: String::new(),
            message: shorten(&String::from_utf8_lossy(body)),
        };
    };
    if let serde_json::Value::String(text) = &value {
        return Complaint {
            code: shorten(text),
            message: String::new(),
        };
    }
    let field = |key: &str| match value.get(key) {
        Some(serde_json::Value::String(text)) if !text.is_empty() => Some(shorten(text)),
        Some(serde_json::Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let numeric = field("status_code").map(|number| match number.as_str() {
        "3" => "390303".to_owned(),
        "4" => "STALE_CONTINUATION_TOKEN_SEQUENCER".to_owned(),
        _ => number,
    });
    Complaint {
        code: field("error_code")
            .or_else(|| field("code"))
            .or(numeric)
            .unwrap_or_default(),
        message: field("message").unwrap_or_default(),
    }
}

/// The pipe has moved to another ingest host: its channels must be opened there (the official SDK, 1.9.1, calls this answer
/// `SfApiPipeFailedOverError` and wants its client made anew).
pub(crate) const FAILED_OVER: u16 = 410;

/// What was asked, for errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) call: &'static str,
    pub(crate) channel: &'a str,
    pub(crate) user: &'a str,
    /// What to look at where the user is refused.
    pub(crate) check: &'static str,
}

/// Whether an answer refuses what a request proves itself with, so that another proof may do.
pub(crate) fn refuses_proof(status: u16, body: &[u8]) -> bool {
    // docs.snowflake.com, "Key-pair authentication: troubleshooting", "SQL REST API: response codes"; a programmatic access
    // token is refused with 394400 (snowflakedb/gosnowflake, driver tests).
    status == 401
        || (400..500).contains(&status)
            && matches!(
                complaint(body).code.as_str(),
                "390144" | "390303" | "390318" | "394400"
            )
}

/// The body of an answer that is a success.
pub(crate) fn accepted(asked: Asked<'_>, answer: Answer) -> Result<Bytes, Error> {
    if answer.is_success() {
        return Ok(answer.body);
    }
    Err(refusal(asked, answer.status, answer.retry_after, &answer.body))
}

fn unauthorized(asked: Asked<'_>, code: String, message: String) -> Error {
    Error::Unauthorized {
        call: asked.call,
        user: asked.user.to_owned(),
        code,
        message,
        check: asked.check,
    }
}

/// The situation behind an answer that is no success.
pub(crate) fn refusal(asked: Asked<'_>, status: u16, retry_after: Option<Duration>, body: &[u8]) -> Error {
    let Complaint { code, message } = complaint(body);
    let call = asked.call;
    let channel = asked.channel.to_owned();
    match code.as_str() {
        "STALE_CONTINUATION_TOKEN_SEQUENCER" | "ERR_CHANNEL_HAS_INVALID_CLIENT_SEQUENCER" => {
            return Error::StaleContinuation { channel, message };
        }
        "ERR_CHANNEL_HAS_UNCOMMITTED_DATA" => return Error::UncommittedRows { channel },
        "ERR_OPEN_CHANNEL_IN_PROGRESS" => return Error::OpenInProgress { channel },
        "ERR_GENERAL_EXCEPTION_RETRY_REQUEST" => {
            return Error::ServerFault {
                call,
                status,
                message: code,
            };
        }
        // A gap is no sign of another writer.
        "STALE_PIPE_CACHE" | "ERR_CHANNEL_HAS_INVALID_ROW_SEQUENCER" => {
            return Error::MustReopen {
                channel,
                code,
                message,
            };
        }
        "390144" | "390303" | "390318" | "394400" => return unauthorized(asked, code, message),
        _ => {}
    }
    let begins = |words: &[&str]| words.iter().any(|word| code.starts_with(word));
    if begins(&["ERR_CHANNEL_MUST_BE_REOPENED", "ERR_CHANNEL_DOES_NOT_EXIST"]) {
        return Error::MustReopen {
            channel,
            code,
            message,
        };
    }
    if begins(&[
        "ERR_PIPE_DOES_NOT",
        "ERR_TABLE_DOES_NOT",
        "ERR_DATABASE_DOES_NOT",
        "ERR_SCHEMA_DOES_NOT",
    ]) {
        return Error::Missing { call, code, message };
    }
    match status {
        429 => Error::Throttled {
            call,
            retry_after,
            message,
        },
        401 | 403 => unauthorized(asked, code, message),
        // A 404 that names nothing comes from something in between (as the official SDK treats it).
        404 if code.is_empty() => Error::ServerFault {
            call,
            status,
            message,
        },
        408 | 500..=599 => Error::ServerFault {
            call,
            status,
            message,
        },
        409 | FAILED_OVER => Error::MustReopen {
            channel,
            code,
            message,
        },
        _ => Error::Refused {
            call,
            status,
            code,
            message,
        },
    }
}

#[cfg(test)]
mod tests {
    use frazil_model::ErrorKind;

    use super::*;

    const ASKED: Asked<'static> = Asked {
        call: "append rows",
        channel: "C",
        user: "U",
        check: "the key",
    };

    #[test]
    fn every_shape_of_a_refusal_has_its_situation() {
        let cases: [(u16, &str, ErrorKind); 16] = [
            (
                400,
                r#"{"code":"ERR_CHANNEL_HAS_INVALID_CLIENT_SEQUENCER"}"#,
                ErrorKind::Fenced,
            ),
            (
                400,
                r#"{"code":"ERR_CHANNEL_HAS_INVALID_ROW_SEQUENCER"}"#,
                ErrorKind::Retry,
            ),
            (410, r#"{"code":"PIPE_FAILED_OVER"}"#, ErrorKind::Retry),
            (
                400,
                r#"{"error_code":"STALE_CONTINUATION_TOKEN_SEQUENCER","code":"X","message":"m"}"#,
                ErrorKind::Fenced,
            ),
            (400, r#"{"status_code":4,"message":"stale"}"#, ErrorKind::Fenced),
            (400, r#"{"status_code":3}"#, ErrorKind::ReAuthenticate),
            (401, "", ErrorKind::ReAuthenticate),
            (429, "slow", ErrorKind::SlowDown),
            (503, r#""ERR_GENERAL_EXCEPTION_RETRY_REQUEST""#, ErrorKind::Retry),
            (404, "not here", ErrorKind::Retry),
            (
                404,
                r#"{"code":"ERR_PIPE_DOES_NOT_EXIST_OR_NOT_AUTHORIZED"}"#,
                ErrorKind::Invalid,
            ),
            (
                404,
                r#"{"code":"ERR_CHANNEL_DOES_NOT_EXIST_OR_IS_NOT_AUTHORIZED"}"#,
                ErrorKind::Retry,
            ),
            (
                409,
                r#"{"code":"ERR_CHANNEL_HAS_UNCOMMITTED_DATA"}"#,
                ErrorKind::Retry,
            ),
            (
                409,
                r#"{"code":"ERR_OPEN_CHANNEL_IN_PROGRESS"}"#,
                ErrorKind::Retry,
            ),
            (413, r#"{"code":"PAYLOAD_TOO_LARGE"}"#, ErrorKind::Invalid),
            (500, "\u{0}\u{1}", ErrorKind::Retry),
        ];
        for (status, body, kind) in cases {
            let error = refusal(ASKED, status, None, body.as_bytes());
            assert_eq!(error.kind(), kind, "{status} {body}: {error:?}");
        }
    }

    #[test]
    fn a_status_is_read_in_both_spellings() {
        let body =
            br#"{"channel_statuses":{"c":{"channel_status_code":"ACTIVE","rows_errors":3,"rows_inserted":7,
            "last_committed_offset_token":"t","new_field":1}}}"#;
        let found = statuses(body, &["C".to_owned(), "D".to_owned()]).expect("readable");
        let status = &found["C"];
        assert_eq!(
            (status.row_errors, status.rows_inserted, status.is_healthy()),
            (3, 7, true)
        );
        assert_eq!(status.committed_token.as_deref(), Some("t"));
        assert!(!found.contains_key("D"));
    }

    #[test]
    fn texts_come_bare_or_as_json() {
        for body in ["host", "host\n", "\"host\"", r#"{"hostname":"host"}"#] {
            assert_eq!(
                text(body.as_bytes(), &["hostname"]).as_deref(),
                Some("host"),
                "{body}"
            );
        }
        assert_eq!(text(b"", &["hostname"]), None);
    }
}
