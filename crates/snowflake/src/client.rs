//! The real Snowpipe Streaming client of one pipe, over HTTP.
//!
//! How it works: the account's host tells the ingest host; what proves the user there ([`crate::auth`]) buys a scoped token
//! for it; everything else goes to the ingest host with that token, which is renewed ahead of its end without a gap
//! ([`crate::renewing`]), and once more when a call is refused for it. An ingest host without a port inherits the account address's, and its scheme, so that a local service on one port works.
//!
//! What it guarantees: each call of [`Snowpipe`] is sent once (twice where its token had just become invalid, which has no
//! effect the first time). What it does not: it never decides to send rows again; [`crate::channel`] does.

mod scoped;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use frazil_model::{Clock, Random, Secret};
use reqwest::RequestBuilder;
use url::Url;

use self::scoped::{KnownHost, ScopedTokens};
use crate::account;
use crate::auth::Authentication;
use crate::error::Error;
use crate::pipe::{
    Append, ChannelStatus, ContinuationToken, MAX_STATUS_CHANNELS, Opened, Snowpipe, TableFacts,
};
use crate::renewing::Renewing;
use crate::service_clock::ClockSkew;
use crate::session::Session;
use crate::sql::SqlClient;
use crate::table;
use crate::wire::{self, Asked};

/// Where rows go, and who writes them.
#[derive(Debug, Clone)]
pub struct SnowflakeConfig {
    /// The account identifier.
    pub account: String,
    /// The user.
    pub user: String,
    /// The role; the user's default, if none.
    pub role: Option<String>,
    /// How the user proves who it is.
    pub authentication: Authentication,
    /// Another address of the account, such as a local service's.
    pub url: Option<String>,
    /// A proxy for what is not on loopback: `http://user:password@host:port`, user and password percent-encoded. It may hold a
    /// password. None: that of the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`).
    pub proxy: Option<Secret>,
    /// Certificates (PEM) to trust beside the usual ones.
    pub ca_file: Option<PathBuf>,
    /// The database, as Snowflake stores its name.
    pub database: String,
    /// The schema, likewise.
    pub schema: String,
    /// The pipe, likewise; the default pipe of a table is `<TABLE>-STREAMING`.
    pub pipe: String,
}

impl SnowflakeConfig {
    /// The account's address.
    ///
    /// # Errors
    /// [`Error::BadConfig`] where `url` is no http or https address, or the account makes no host name.
    pub fn address(&self) -> Result<Url, Error> {
        account::address(&self.account, self.url.as_deref())
    }
}

#[derive(Clone)]
struct Ingest {
    address: Url,
    token: Secret,
}

/// The client.
#[derive(Clone)]
pub struct SnowpipeClient {
    session: Arc<Session>,
    tokens: Arc<Renewing<ScopedTokens>>,
    host: KnownHost,
}

impl std::fmt::Debug for SnowpipeClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnowpipeClient")
            .field("address", &self.session.address.as_str())
            .finish_non_exhaustive()
    }
}

/// A name in a path: as it is where it is upper case, quoted where the case must be kept.
fn path_name(name: &str) -> String {
    if name.chars().any(char::is_lowercase) {
        format!("\"{name}\"")
    } else {
        name.to_owned()
    }
}

impl SnowpipeClient {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::BadKey`], [`Error::UnfinishedSecret`], [`Error::BadSecret`], [`Error::BadConfig`].
    pub fn new(
        config: SnowflakeConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, Error> {
        let session = Session::new(config, Arc::clone(&clock), Arc::clone(&random))?;
        let host = KnownHost::default();
        let tokens = ScopedTokens::new(Arc::clone(&session), host.clone());
        let tokens = Arc::new(Renewing::new(tokens, clock, random));
        Ok(Self {
            session,
            tokens,
            host,
        })
    }

    /// How far this machine's clock is from the service's; `None` before the first answer that tells it.
    #[must_use]
    pub fn clock_skew(&self) -> Option<ClockSkew> {
        self.session.clock.skew()
    }

    fn asked<'a>(&'a self, call: &'static str, channel: &'a str) -> Asked<'a> {
        self.session.asked(call, channel)
    }

    /// The address of something below the pipe: `last` is put behind the pipe's name, `below` under it.
    fn pipe_url(&self, address: &Url, data: bool, last: &str, below: &[&str]) -> Url {
        let config = &self.session.config;
        let mut url = address.clone();
        {
            let mut path = url.path_segments_mut().expect("an http address has a path");
            path.clear().extend(["v2", "streaming"]);
            if data {
                path.push("data");
            }
            path.extend([
                "databases",
                &path_name(&config.database),
                "schemas",
                &path_name(&config.schema),
            ]);
            path.push("pipes")
                .push(&format!("{}{last}", path_name(&config.pipe)))
                .extend(below);
        }
        url
    }

    /// Sends a request to the ingest host; a refused token is renewed once.
    async fn on_ingest(
        &self,
        asked: Asked<'_>,
        build: impl Fn(&Url) -> RequestBuilder + Send + Sync,
    ) -> Result<Bytes, Error> {
        let signed = |ingest: &Ingest| {
            let request = build(&ingest.address).bearer_auth(ingest.token.reveal());
            request.header("X-Snowflake-Authorization-Token-Type", "OAUTH")
        };
        let current = self.tokens.get(None).await?;
        let mut answer = self
            .session
            .send_to(&current.token.address, signed(&current.token))
            .await?;
        if wire::refuses_proof(answer.status, &answer.body) {
            let renewed = self.tokens.get(Some(current.edition)).await?;
            answer = self
                .session
                .send_to(&renewed.token.address, signed(&renewed.token))
                .await?;
        }
        if answer.status == wire::FAILED_OVER {
            // Another host takes this pipe's rows now: it is asked for, and its channels are opened there. Should that fail, the
            // next call finds the same answer, and asks again.
            self.host.forget();
            drop(self.tokens.get(Some(current.edition)).await);
        }
        wire::accepted(asked, answer)
    }

    fn with_request_id(&self, mut url: Url) -> Url {
        url.query_pairs_mut()
            .append_pair("requestId", &self.session.random.uuid())
            .append_pair("retryCount", "0");
        url
    }
}

#[async_trait]
impl Snowpipe for SnowpipeClient {
    async fn open_channel(&self, channel: &str, fail_on_uncommitted_rows: bool) -> Result<Opened, Error> {
        let asked = self.asked("open channel", channel);
        let text = format!(r#"{{"fail_on_uncommitted_rows":{fail_on_uncommitted_rows}}}"#);
        let build = |address: &Url| {
            let url = self.with_request_id(self.pipe_url(address, false, "", &["channels", channel]));
            let request = self
                .session
                .http
                .put(url)
                .header("Content-Type", "application/json");
            request.body(text.clone())
        };
        let body = self.on_ingest(asked, build).await?;
        let (continuation, status) = wire::opened(&body)?;
        if status.is_healthy() {
            return Ok(Opened {
                continuation: ContinuationToken::new(continuation),
                status,
            });
        }
        // A pipe that became invalid answers 200 here and would swallow appends.
        let complaint = serde_json::json!({ "code": status.code, "message": status.last_error_message });
        Err(wire::refusal(asked, 400, None, complaint.to_string().as_bytes()))
    }

    async fn append_rows(&self, channel: &str, append: &Append) -> Result<ContinuationToken, Error> {
        let asked = self.asked("append rows", channel);
        let build = |address: &Url| {
            let mut url = self.pipe_url(address, true, "", &["channels", channel, "rows"]);
            url.query_pairs_mut()
                .append_pair("startOffsetToken", &append.start_token)
                .append_pair("endOffsetToken", &append.end_token)
                .append_pair("continuationToken", append.continuation.as_str())
                .append_pair("requestId", &append.request_id)
                .append_pair("retryCount", &append.retry_count.to_string());
            let request = self
                .session
                .http
                .post(url)
                .header("Content-Type", "application/x-ndjson");
            let request = request.header("Content-Encoding", "zstd");
            let request = request.header(
                "X-Snowflake-Uncompressed-Content-Length",
                append.uncompressed_bytes,
            );
            request.body(append.body.clone())
        };
        let body = self.on_ingest(asked, build).await?;
        wire::appended(&body).map(ContinuationToken::new)
    }

    async fn channel_status(&self, channels: &[String]) -> Result<HashMap<String, ChannelStatus>, Error> {
        let mut found = HashMap::with_capacity(channels.len());
        for names in channels.chunks(MAX_STATUS_CHANNELS) {
            let asked = self.asked("channel status", "");
            let text = serde_json::json!({ "channel_names": names }).to_string();
            let build = |address: &Url| {
                let url = self.with_request_id(self.pipe_url(address, false, ":bulk-channel-status", &[]));
                self.session
                    .http
                    .post(url)
                    .header("Content-Type", "application/json")
                    .body(text.clone())
            };
            found.extend(wire::statuses(&self.on_ingest(asked, build).await?, names)?);
        }
        Ok(found)
    }

    async fn drop_channel(&self, channel: &str) -> Result<(), Error> {
        let build = |address: &Url| {
            let url = self.with_request_id(self.pipe_url(address, false, "", &["channels", channel]));
            self.session.http.delete(url)
        };
        self.on_ingest(self.asked("drop channel", channel), build)
            .await
            .map(drop)
    }

    async fn table(&self) -> Result<Option<TableFacts>, Error> {
        let config = &self.session.config;
        let sql = SqlClient::of(Arc::clone(&self.session));
        table::facts(&sql, &config.database, &config.schema, &config.pipe).await
    }
}

#[cfg(test)]
mod tests;
