//! Token endpoints: where clients of security integrations get access tokens.
//!
//! - `POST /oauth/token-request` is Snowflake's own (Snowflake documentation, "Configure Snowflake OAuth for custom clients"): a
//!   client of an integration of `TYPE = OAUTH` proves itself by HTTP Basic and gives a refresh token. What a browser does first
//!   there, a user who agrees, is a grant of ours: `grant_type=urn:frazil:local:consent&username=ADA`, which gives the refresh
//!   token.
//! - `POST /oauth2/token` stands for somebody else's authorization server, with the issuer [`ISSUER`]: its clients are the users
//!   with a password, who ask for themselves (`client_credentials`). An integration of `TYPE = EXTERNAL_OAUTH` with that issuer
//!   takes its tokens.
//!
//! A scope `session:role:NAME` binds the token to a role. Errors are those of RFC 6749, section 5.2.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::Snowflake;
use super::auth::{AccessClaims, random_text};
use super::catalog::now_ms;
use super::catalog::tokens::{Integration, Refresh};
use super::sql::folded;
use crate::{Error, Result};

/// The issuer that stands for others, as `EXTERNAL_OAUTH_ISSUER` names it.
pub(super) const ISSUER: &str = "http://127.0.0.1/oauth2";
/// The issuer of Snowflake's own tokens.
pub(super) const OWN_ISSUER: &str = "snowflake";
const CONSENT: &str = "urn:frazil:local:consent";
/// How long an access token is good, at most (Snowflake documentation, "Introduction to OAuth").
const LIFETIME: Duration = Duration::from_secs(600);

/// The endpoints.
pub(super) fn router(snowflake: Arc<Snowflake>) -> Router {
    Router::new()
        .route("/oauth/token-request", post(own))
        .route("/oauth2/token", post(others))
        .with_state(snowflake)
}

/// Whether a path is one of them.
pub(super) fn is_endpoint(path: &str) -> bool {
    matches!(path, "/oauth/token-request" | "/oauth2/token")
}

/// Why no token is given.
struct Refused(StatusCode, &'static str, String);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        tracing::error!(%error, "access token could not be given");
        Self(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            "An error of the server.".to_owned(),
        )
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, error, message) = self;
        let body =
            json!({ "error": error, "error_description": message, "message": message, "success": false });
        (status, Json(body)).into_response()
    }
}

fn bad(error: &'static str, message: impl Into<String>) -> Refused {
    Refused(StatusCode::BAD_REQUEST, error, message.into())
}

fn no_client() -> Refused {
    let message = "This is an invalid client.".to_owned();
    Refused(StatusCode::UNAUTHORIZED, "invalid_client", message)
}

struct Form(Vec<(String, String)>);

impl Form {
    fn read(body: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(body).into_owned().collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The role that the scope binds to.
    fn role(&self) -> Option<String> {
        let mut words = self.get("scope")?.split_ascii_whitespace();
        words
            .find_map(|word| word.strip_prefix("session:role:"))
            .map(folded)
    }
}

/// Id and secret of a client, from HTTP Basic; both are form-encoded (RFC 6749, section 2.3.1).
fn client(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let text = value.strip_prefix("Basic ").or(value.strip_prefix("basic "))?;
    let text = String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decoded = |text: &str| {
        let pair = format!("x={text}");
        let mut pairs = url::form_urlencoded::parse(pair.as_bytes());
        pairs.next().map(|(_, value)| value.into_owned())
    };
    Some((decoded(id)?, decoded(secret)?))
}

fn given(snowflake: &Snowflake, claims: &AccessClaims, refresh: Option<&str>) -> Response {
    let life = LIFETIME.min(snowflake.auth.lifetime());
    let token = snowflake.auth.access_token(claims, life);
    let mut body = json!({
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": life.as_secs(),
        "username": claims.user,
    });
    if let Some(refresh) = refresh {
        body["refresh_token"] = refresh.into();
    }
    Json(body).into_response()
}

async fn own(State(snowflake): State<Arc<Snowflake>>, headers: HeaderMap, body: Bytes) -> Response {
    own_token(&snowflake, &headers, &Form::read(&body)).unwrap_or_else(IntoResponse::into_response)
}

fn own_token(snowflake: &Snowflake, headers: &HeaderMap, form: &Form) -> Result<Response, Refused> {
    let (id, secret) = client(headers).ok_or_else(no_client)?;
    let integration = snowflake.catalog.integrations()?.into_iter().find(|found| {
        !found.is_external && found.is_enabled && found.client_id == id && found.client_secret == secret
    });
    let integration = integration.ok_or_else(no_client)?;
    match form.get("grant_type") {
        Some("refresh_token") => refreshed(snowflake, &integration, form),
        Some(CONSENT) => consented(snowflake, &integration, form),
        other => Err(bad(
            "unsupported_grant_type",
            format!("grant_type {other:?} is none of refresh_token, {CONSENT}"),
        )),
    }
}

fn refreshed(snowflake: &Snowflake, integration: &Integration, form: &Form) -> Result<Response, Refused> {
    let invalid = || bad("invalid_grant", "This is an invalid refresh token.");
    let token = form.get("refresh_token").ok_or_else(invalid)?;
    let stands_for = snowflake.catalog.refresh(token)?.ok_or_else(invalid)?;
    if stands_for.integration != integration.name || stands_for.expires_on_ms <= now_ms() {
        return Err(invalid());
    }
    let claims = AccessClaims {
        issuer: OWN_ISSUER.to_owned(),
        integration: Some(integration.name.clone()),
        user: stands_for.user.clone(),
        role: stands_for.role.clone(),
    };
    if !integration.is_single_use {
        return Ok(given(snowflake, &claims, None));
    }
    let next = random_text("fzrefresh")?;
    snowflake.catalog.put_refresh(&next, &stands_for, Some(token))?;
    Ok(given(snowflake, &claims, Some(&next)))
}

fn consented(snowflake: &Snowflake, integration: &Integration, form: &Form) -> Result<Response, Refused> {
    let user = form.get("username").map(folded).unwrap_or_default();
    if !snowflake.catalog.user_exists(&user)? {
        return Err(bad("invalid_grant", "There is no such user."));
    }
    let role = bound_role(snowflake, &user, form)?;
    let stands_for = Refresh {
        integration: integration.name.clone(),
        user: user.clone(),
        role: role.clone(),
        expires_on_ms: now_ms().saturating_add(integration.refresh_validity_s.saturating_mul(1000)),
    };
    let token = random_text("fzrefresh")?;
    snowflake.catalog.put_refresh(&token, &stands_for, None)?;
    let claims = AccessClaims {
        issuer: OWN_ISSUER.to_owned(),
        integration: Some(integration.name.clone()),
        user,
        role,
    };
    Ok(given(snowflake, &claims, Some(&token)))
}

/// The role of the scope, which must be the user's.
fn bound_role(snowflake: &Snowflake, user: &str, form: &Form) -> Result<Option<String>, Refused> {
    let Some(role) = form.role() else { return Ok(None) };
    if snowflake.catalog.user_has_role(user, &role)? {
        return Ok(Some(role));
    }
    Err(bad(
        "invalid_scope",
        "The role requested is not granted to the user.",
    ))
}

async fn others(State(snowflake): State<Arc<Snowflake>>, headers: HeaderMap, body: Bytes) -> Response {
    // A password takes a while to check.
    let checked = tokio::task::spawn_blocking(move || {
        others_token(&snowflake, &headers, &Form::read(&body)).unwrap_or_else(IntoResponse::into_response)
    });
    checked.await.unwrap_or_else(|_| no_client().into_response())
}

fn others_token(snowflake: &Snowflake, headers: &HeaderMap, form: &Form) -> Result<Response, Refused> {
    let (id, secret) = client(headers).ok_or_else(no_client)?;
    let user = folded(&id);
    if !snowflake.check_password(&user, &secret)? {
        return Err(no_client());
    }
    if form.get("grant_type") != Some("client_credentials") {
        return Err(bad(
            "unsupported_grant_type",
            "grant_type must be client_credentials",
        ));
    }
    let claims = AccessClaims {
        issuer: ISSUER.to_owned(),
        integration: None,
        role: bound_role(snowflake, &user, form)?,
        user,
    };
    Ok(given(snowflake, &claims, None))
}
