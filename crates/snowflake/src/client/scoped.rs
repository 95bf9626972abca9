//! Scoped tokens: what the ingest host takes.
//!
//! Source: docs.snowflake.com, "Snowpipe Streaming: REST API reference" (`GET /v2/streaming/hostname`, `POST /oauth/token`);
//! the grants are those that the official SDK (1.9.1) was seen to ask for. A key pair's JWT stands in the header alone; a token
//! is the subject of an exchange (RFC 8693), and stands in both.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use frazil_model::Secret;
use reqwest::Method;
use url::{Url, form_urlencoded};

use super::Ingest;
use crate::auth::{Kind, Proof, expiry};
use crate::error::Error;
use crate::renewing::Issuer;
use crate::session::Session;
use crate::wire;

/// The life of a scoped token that does not tell it (clients assume about an hour).
const ASSUMED_LIFE: Duration = Duration::from_secs(30 * 60);

/// The ingest host, as far as it is known.
#[derive(Clone, Default)]
pub(super) struct KnownHost(Arc<Mutex<Option<Url>>>);

impl KnownHost {
    fn get(&self) -> Option<Url> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, host: Option<Url>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = host;
    }

    /// It is asked for again with the next token.
    pub(super) fn forget(&self) {
        self.set(None);
    }
}

/// The tokens of one user for the ingest host.
pub(super) struct ScopedTokens {
    session: Arc<Session>,
    host: KnownHost,
}

impl ScopedTokens {
    pub(super) fn new(session: Arc<Session>, host: KnownHost) -> Self {
        Self { session, host }
    }

    async fn discover(&self) -> Result<Url, Error> {
        let call = "ask for the ingest host";
        let session = &self.session;
        let id = session.random.uuid();
        let query = [("requestId", id.as_str()), ("retryCount", "0")];
        let build = |_: &Proof| session.request(Method::GET, "/v2/streaming/hostname", &query);
        let body = wire::accepted(session.asked(call, ""), session.ask(build).await?)?;
        let bad = |detail: &str| Error::BadAnswer {
            call,
            detail: detail.to_owned(),
        };
        let host = wire::text(&body, &["hostname"]).ok_or_else(|| bad("it is empty"))?;
        // Host names have no underscores; the service wants dashes for those of account names.
        let text = format!("{}://{}", session.address.scheme(), host.replace('_', "-"));
        let mut url = Url::parse(&text).map_err(|_| bad("it is no host name"))?;
        if url.port().is_none() && url.set_port(session.address.port()).is_err() {
            return Err(bad("it is no host name"));
        }
        Ok(url)
    }

    async fn token(&self, address: &Url) -> Result<Secret, Error> {
        let call = "ask for a scoped token";
        let session = &self.session;
        let mut scope = address.host_str().unwrap_or_default().to_owned();
        if let Some(role) = &session.config.role {
            scope = format!("{scope} session:role:{role}");
        }
        let id = session.random.uuid();
        let query = [("requestId", id.as_str()), ("retryCount", "0")];
        let build = |proof: &Proof| {
            let request = session.request(Method::POST, "/oauth/token", &query);
            request
                .header("Content-Type", "application/x-www-form-urlencoded")
                .body(grant(proof, &scope))
        };
        let body = wire::accepted(session.asked(call, ""), session.ask(build).await?)?;
        let token = wire::text(&body, &["token", "access_token"]);
        token.map(Secret::new).ok_or_else(|| Error::BadAnswer {
            call,
            detail: "it is empty".to_owned(),
        })
    }
}

/// The form of a request for a scoped token.
fn grant(proof: &Proof, scope: &str) -> String {
    const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
    let mut form = form_urlencoded::Serializer::new(String::new());
    let mut exchange = |subject: &str| {
        form.append_pair("grant_type", EXCHANGE)
            .append_pair("subject_token_type", subject)
            .append_pair("subject_token", proof.token.reveal());
    };
    match proof.kind {
        Kind::KeyPair => {
            form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
        }
        Kind::ProgrammaticAccessToken => exchange("programmatic_access_token"),
        Kind::AccessToken => exchange("urn:ietf:params:oauth:token-type:access_token"),
    }
    form.append_pair("scope", scope).finish()
}

#[async_trait]
impl Issuer for ScopedTokens {
    type Token = Ingest;
    const WHAT: &'static str = "scoped token";

    async fn issue(&self) -> Result<(Ingest, Duration), Error> {
        let address = match self.host.get() {
            Some(address) => address,
            None => {
                let found = self.discover().await?;
                self.host.set(Some(found.clone()));
                found
            }
        };
        let token = self.token(&address).await?;
        // By the service's clock, whose time the answer has just told.
        let now_ms = self.session.clock.now_ms();
        let life = expiry(token.reveal()).map(|seconds| {
            let left_ms = seconds.saturating_mul(1000).saturating_sub(now_ms);
            Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
        });
        // A new token that is over already: the service's time is not known well enough. If it is, it will be refused.
        let life = life.filter(|life| !life.is_zero()).unwrap_or(ASSUMED_LIFE);
        Ok((Ingest { address, token }, life))
    }
}
