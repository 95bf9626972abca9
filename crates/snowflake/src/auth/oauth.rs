//! Access tokens of a token endpoint: client credentials, and refresh tokens.
//!
//! Source: RFC 6749 (sections 2.3.1, 4.4, 5 and 6), docs.snowflake.com, "External OAuth overview", "Configure Snowflake OAuth for
//! custom clients". The client proves itself by HTTP Basic, as each endpoint must take it. Id, secret and tokens are read for
//! each request.
//!
//! What it guarantees: no secret appears in an error, even where the endpoint repeats one. A refresh token that the endpoint
//! replaces is used from then on. What it does not: that one is kept in memory only; after a restart the configured one counts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use frazil_model::Secret;
use serde::Deserialize;
use url::{Url, form_urlencoded};

use super::kept::Kept;
use super::{OAuth, expiry};
use crate::account;
use crate::client::SnowflakeConfig;
use crate::error::Error;
use crate::http;
use crate::renewing::Issuer;
use crate::service_clock::ServiceClock;

const CALL: &str = "ask for an access token";
/// The life of an access token that does not tell it; Snowflake's own live ten minutes.
const ASSUMED_LIFE: Duration = Duration::from_secs(10 * 60);

/// The access tokens of a client.
pub(crate) struct AccessTokens {
    http: reqwest::Client,
    endpoint: Url,
    user: String,
    client_id: String,
    scope: Option<String>,
    client_secret: Kept,
    refresh_token: Option<Kept>,
    clock: Arc<ServiceClock>,
    /// Whether the endpoint is the account's own, whose clock counts.
    is_of_account: bool,
    replaced: Mutex<Option<Replaced>>,
}

/// A refresh token that came in place of another.
struct Replaced {
    configured: Secret,
    by: Secret,
}

#[derive(Deserialize)]
struct Given {
    access_token: Secret,
    expires_in: Option<u64>,
    refresh_token: Option<Secret>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Complaint {
    error: String,
    error_description: String,
    message: String,
}

struct Secrets {
    client: Secret,
    refresh: Option<Secret>,
}

impl AccessTokens {
    pub(super) fn new(
        config: &SnowflakeConfig,
        oauth: &OAuth,
        clock: &Arc<ServiceClock>,
    ) -> Result<Self, Error> {
        let account = account::address(&config.account, config.url.as_deref())?;
        let endpoint = match &oauth.token_endpoint {
            Some(text) => {
                let parsed = Url::parse(text).ok().filter(|url| url.has_host());
                parsed.ok_or_else(|| {
                    Error::BadConfig(format!(
                        "{text:?} is no address of a token endpoint; expected https://..."
                    ))
                })?
            }
            None if oauth.refresh_token.is_none() => {
                return Err(Error::BadConfig(
                    "OAuth without a refresh token needs a token endpoint".to_owned(),
                ));
            }
            None => account
                .join("/oauth/token-request")
                .map_err(|error| Error::BadConfig(format!("no address of a token endpoint: {error}")))?,
        };
        let kept = |what, key, source| Kept::new(what, key, &config.user, source);
        let refresh = oauth.refresh_token.as_ref();
        let refresh = refresh.map(|source| kept("refresh token", "refresh_token", source));
        let tokens = Self {
            http: http::client(&endpoint, config)?,
            user: config.user.clone(),
            client_id: oauth.client_id.clone(),
            scope: oauth.scope.clone(),
            client_secret: kept("client secret", "client_secret", &oauth.client_secret)?,
            refresh_token: refresh.transpose()?,
            clock: Arc::clone(clock),
            is_of_account: endpoint.origin() == account.origin(),
            endpoint,
            replaced: Mutex::default(),
        };
        Ok(tokens)
    }

    async fn secrets(&self) -> Secrets {
        Secrets {
            client: self.client_secret.now().await,
            refresh: match &self.refresh_token {
                Some(kept) => Some(kept.now().await),
                None => None,
            },
        }
    }

    /// The refresh token to send in place of the configured one.
    fn current_refresh(&self, configured: &Secret) -> Secret {
        let replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        match &*replaced {
            Some(replaced) if replaced.configured == *configured => replaced.by.clone(),
            _ => configured.clone(),
        }
    }

    fn form(&self, refresh: Option<&Secret>) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        match refresh {
            Some(token) => form
                .append_pair("grant_type", "refresh_token")
                .append_pair("refresh_token", token.reveal()),
            None => form.append_pair("grant_type", "client_credentials"),
        };
        if let Some(scope) = &self.scope {
            form.append_pair("scope", scope);
        }
        form.finish()
    }

    async fn ask(&self, secrets: &Secrets) -> Result<Given, Error> {
        let refresh = secrets.refresh.as_ref().map(|token| self.current_refresh(token));
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let request = self
            .http
            .post(self.endpoint.clone())
            // Marked as sensitive, so that no layer below prints it.
            .basic_auth(encoded(&self.client_id), Some(encoded(secrets.client.reveal())))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(self.form(refresh.as_ref()));
        let clock = self.is_of_account.then_some(&*self.clock);
        let answer = http::send(request, self.endpoint.as_str(), clock).await?;
        if !answer.is_success() {
            let hidden = [Some(&secrets.client), secrets.refresh.as_ref(), refresh.as_ref()];
            return Err(self.refusal(&answer, &hidden));
        }
        serde_json::from_slice(&answer.body).map_err(|_| Error::BadAnswer {
            call: CALL,
            // Not what it says: the token is part of it.
            detail: "it is no JSON object with an access_token".to_owned(),
        })
    }

    fn refusal(&self, answer: &http::Answer, hidden: &[Option<&Secret>]) -> Error {
        let Complaint {
            error,
            error_description,
            message,
        } = serde_json::from_slice(&answer.body).unwrap_or_default();
        let told = |text: String| {
            let all = hidden.iter().flatten();
            let text = all.fold(text, |text, secret| text.replace(secret.reveal(), "[secret]"));
            text.chars().take(300).collect::<String>()
        };
        let message = told(if error_description.is_empty() {
            message
        } else {
            error_description
        });
        match answer.status {
            429 => Error::Throttled {
                call: CALL,
                retry_after: answer.retry_after,
                message,
            },
            408 | 500..=599 => Error::ServerFault {
                call: CALL,
                status: answer.status,
                message,
            },
            status => Error::NoAccessToken {
                url: self.endpoint.to_string(),
                user: self.user.clone(),
                code: if error.is_empty() {
                    status.to_string()
                } else {
                    told(error)
                },
                message,
                check: match self.refresh_token {
                    Some(_) => {
                        "client id and secret, and that the refresh token has neither ended nor been used up"
                    }
                    None => "client id, client secret and scope",
                },
            },
        }
    }
}

#[async_trait]
impl Issuer for AccessTokens {
    type Token = Secret;
    const WHAT: &'static str = "access token";

    async fn issue(&self) -> Result<(Secret, Duration), Error> {
        let secrets = self.secrets().await;
        let given = self.ask(&secrets).await?;
        if let (Some(configured), Some(by)) = (secrets.refresh, given.refresh_token) {
            let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
            if by != configured && replaced.is_none() {
                tracing::info!(
                    user = self.user,
                    "refresh token was replaced; the new one is kept in memory only"
                );
            }
            *replaced = Some(Replaced { configured, by });
        }
        let by_claim = expiry(given.access_token.reveal()).map(|seconds| {
            let left_ms = seconds.saturating_mul(1000).saturating_sub(self.clock.now_ms());
            Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
        });
        let life = given.expires_in.map(Duration::from_secs).or(by_claim);
        Ok((given.access_token, life.unwrap_or(ASSUMED_LIFE)))
    }
}

#[cfg(test)]
mod tests;
