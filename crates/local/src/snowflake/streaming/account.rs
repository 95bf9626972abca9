//! The account's endpoints, and pipe-info.

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde_json::json;

use super::super::Snowflake;
use super::super::auth;
use super::super::model::PipeRow;
use super::super::sql::{ROLE_REFUSED, folded, role_refused};
use super::answer::{self, Refusal};
use super::{files, rights};

/// The ingest host that the account names. Clients add the port of the account URL themselves.
const HOST: &str = "127.0.0.1";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const PROGRAMMATIC: &str = "programmatic_access_token";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// `GET /v2/streaming/hostname`: bare text, as the official SDK needs it.
pub(super) fn hostname(snowflake: &Snowflake, headers: &HeaderMap) -> Result<Response, Refusal> {
    snowflake.auth.authenticate(headers)?;
    Ok(answer::text(HOST.to_owned()))
}

/// `POST /oauth/token`: a scoped token for a key-pair JWT, which stands in the Authorization header or as `assertion`; or in
/// exchange for a programmatic access token or an access token (RFC 8693), which stand in the header or as `subject_token`.
pub(super) fn token(snowflake: &Snowflake, headers: &HeaderMap, body: &[u8]) -> Result<Response, Refusal> {
    let form: Vec<(String, String)> = form(body);
    let field = |name: &str| {
        form.iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    let bearer = auth::bearer(headers).unwrap_or_default();
    let subject = field("subject_token").unwrap_or(bearer);
    let mut login = match (field("grant_type"), field("subject_token_type")) {
        (Some(JWT_BEARER), _) => snowflake
            .auth
            .check_key_pair(field("assertion").unwrap_or(bearer))?,
        (Some(EXCHANGE), Some(PROGRAMMATIC)) => snowflake.auth.check_programmatic(subject)?,
        (Some(EXCHANGE), Some(ACCESS_TOKEN)) => snowflake.auth.check_access(subject)?,
        (Some(EXCHANGE), _) => {
            let message = format!("subject_token_type must be {PROGRAMMATIC} or {ACCESS_TOKEN}");
            return Err(Refusal::new(400, "invalid_request", message));
        }
        _ => {
            let message = format!("grant_type must be {JWT_BEARER} or {EXCHANGE}");
            return Err(Refusal::new(400, "unsupported_grant_type", message));
        }
    };
    let scope = field("scope").unwrap_or_default();
    let mut words = scope.split_ascii_whitespace();
    let host = words.next().unwrap_or_default();
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    if !["127.0.0.1", "localhost"].contains(&name) || port.parse::<u16>().is_err() {
        return Err(Refusal::new(
            400,
            "invalid_scope",
            "The scope must be the ingest host.",
        ));
    }
    if let Some(role) = words.find_map(|word| word.strip_prefix("session:role:")) {
        let role = login.role_for(Some(folded(role)));
        let role = role.map_err(|role| Refusal::new(401, ROLE_REFUSED, role_refused(&role)))?;
        login.role = role.map(|role| format!("\"{role}\""));
    }
    rights::role(&snowflake.catalog, &login)?;
    Ok(answer::text(snowflake.auth.issue(&login, host)))
}

fn form(body: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(body)
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect()
}

/// `POST /telemetry/send/...`: taken and thrown away.
pub(super) fn telemetry() -> Response {
    answer::ok(&json!({"data": "", "success": true}))
}

/// `POST <pipe>:pipe-info`. The storage endpoint is always our own address, so that nothing dials outside.
pub(super) fn pipe_info(snowflake: &Snowflake, pipe: &PipeRow) -> Result<Response, Refusal> {
    let key = snowflake.pipe_key(pipe);
    Ok(answer::ok(&json!({
        "rowset_stage_location": files::location(snowflake, pipe, "rowset"),
        "durable_stage_location": files::location(snowflake, pipe, "durable"),
        "encryption_info": {
            "pipe_key": STANDARD.encode(key),
            "pipe_key_id": pipe.id.to_string(),
            "diversifier": pipe.id.to_string(),
        },
        "parameter_overrides": {"binary_input_format": "BASE64"},
    })))
}
