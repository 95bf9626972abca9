//! The real Snowpipe Streaming client of one pipe, over HTTP.
//!
//! How it works: the account's host tells the ingest host; the key pair buys a scoped token for it; everything else goes
//! to the ingest host with that token, which is renewed ahead of its expiry, and once more when a call is refused for it.
//! An ingest host without a port inherits the account address's, and its scheme, so that a local service on one port works.
//!
//! What it guarantees: each call of [`Snowpipe`] is sent once (twice where its token had just become invalid, which has no
//! effect the first time). What it does not: it never decides to send rows again; [`crate::channel`] does.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use frazil_model::{Clock, Random, Secret};
use reqwest::{Method, RequestBuilder};
use tokio::sync::Mutex;
use url::Url;

use crate::account;
use crate::auth::{Authentication, Signer, expiry};
use crate::error::Error;
use crate::http;
use crate::pipe::{
    Append, ChannelStatus, ContinuationToken, MAX_STATUS_CHANNELS, Opened, Snowpipe, TableFacts,
};
use crate::sql::SqlClient;
use crate::table;
use crate::wire::{self, Asked};

/// A scoped token is renewed this long before it expires.
const RENEW_AHEAD_MS: i64 = 5 * 60 * 1000;
/// The life of a scoped token that does not tell it (clients assume about an hour).
const ASSUMED_LIFE_MS: i64 = 30 * 60 * 1000;
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

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
    /// A certificate (PEM) to trust beside the usual ones.
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

    /// Who signs.
    pub(crate) fn signer(&self) -> Result<Arc<Signer>, Error> {
        let account = account::in_jwt(&self.account);
        let Authentication::KeyPair {
            private_key,
            passphrase,
        } = &self.authentication;
        Signer::new(&account, &self.user, private_key, passphrase.as_ref()).map(Arc::new)
    }
}

#[derive(Clone)]
struct Ingest {
    address: Url,
    token: Secret,
    renew_at_ms: i64,
}

/// The client.
#[derive(Clone)]
pub struct SnowpipeClient {
    inner: Arc<Inner>,
}

struct Inner {
    http: reqwest::Client,
    address: Url,
    signer: Arc<Signer>,
    config: SnowflakeConfig,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    ingest: Mutex<Option<Ingest>>,
}

impl std::fmt::Debug for SnowpipeClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnowpipeClient")
            .field("address", &self.inner.address.as_str())
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
    /// [`Error::BadKey`], [`Error::BadConfig`].
    pub fn new(
        config: SnowflakeConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, Error> {
        let address = config.address()?;
        let signer = config.signer()?;
        let http = http::client(&address, config.ca_file.as_deref())?;
        let ingest = Mutex::new(None);
        Ok(Self {
            inner: Arc::new(Inner {
                http,
                address,
                signer,
                config,
                clock,
                random,
                ingest,
            }),
        })
    }

    async fn send(&self, asked: Asked<'_>, request: RequestBuilder) -> Result<Bytes, Error> {
        let answer = http::send(request, self.inner.address.as_str()).await?;
        if answer.is_success() {
            return Ok(answer.body);
        }
        Err(wire::refusal(
            asked,
            answer.status,
            answer.retry_after,
            &answer.body,
        ))
    }

    fn asked<'a>(&'a self, call: &'static str, channel: &'a str) -> Asked<'a> {
        Asked {
            call,
            channel,
            user: &self.inner.config.user,
        }
    }

    async fn on_account(&self, method: Method, path: &str) -> Result<RequestBuilder, Error> {
        let mut url = self.inner.address.clone();
        url.set_path(path);
        url.query_pairs_mut()
            .append_pair("requestId", &self.inner.random.uuid())
            .append_pair("retryCount", "0");
        let jwt = self.inner.signer.jwt(self.inner.clock.wall_ms()).await?;
        let request = self
            .inner
            .http
            .request(method, url)
            .bearer_auth(jwt.text.reveal());
        Ok(request.header("X-Snowflake-Authorization-Token-Type", "KEYPAIR_JWT"))
    }

    /// The ingest host and a token for it that is still good for a while.
    async fn ingest(&self, refused: Option<&Secret>) -> Result<Ingest, Error> {
        let mut known = self.inner.ingest.lock().await;
        let now = self.inner.clock.wall_ms();
        if let Some(ingest) = known
            .as_ref()
            .filter(|i| i.renew_at_ms > now && refused != Some(&i.token))
        {
            return Ok(ingest.clone());
        }
        let address = match known.as_ref() {
            Some(ingest) => ingest.address.clone(),
            None => self.discover().await?,
        };
        let token = self.scoped_token(&address).await?;
        let expires_ms =
            expiry(token.reveal()).map_or(now + ASSUMED_LIFE_MS, |seconds| seconds.saturating_mul(1000));
        // A token that lives shorter than that is renewed at half its life.
        let renew_at_ms = (expires_ms - RENEW_AHEAD_MS).max(now + (expires_ms - now) / 2);
        let ingest = Ingest {
            address,
            token,
            renew_at_ms,
        };
        *known = Some(ingest.clone());
        Ok(ingest)
    }

    async fn discover(&self) -> Result<Url, Error> {
        let call = "ask for the ingest host";
        let request = self.on_account(Method::GET, "/v2/streaming/hostname").await?;
        let body = self.send(self.asked(call, ""), request).await?;
        let bad = |detail: &str| Error::BadAnswer {
            call,
            detail: detail.to_owned(),
        };
        let host = wire::text(&body, &["hostname"]).ok_or_else(|| bad("it is empty"))?;
        // Host names have no underscores; the service wants dashes for those of account names.
        let text = format!("{}://{}", self.inner.address.scheme(), host.replace('_', "-"));
        let mut url = Url::parse(&text).map_err(|_| bad("it is no host name"))?;
        if url.port().is_none() && url.set_port(self.inner.address.port()).is_err() {
            return Err(bad("it is no host name"));
        }
        Ok(url)
    }

    async fn scoped_token(&self, address: &Url) -> Result<Secret, Error> {
        let call = "exchange the key pair for a token";
        let mut scope = address.host_str().unwrap_or_default().to_owned();
        if let Some(role) = &self.inner.config.role {
            scope = format!("{scope} session:role:{role}");
        }
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", GRANT)
            .append_pair("scope", &scope)
            .finish();
        let request = self.on_account(Method::POST, "/oauth/token").await?;
        let request = request
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form);
        let body = self.send(self.asked(call, ""), request).await?;
        let token = wire::text(&body, &["token", "access_token"]);
        token.map(Secret::new).ok_or_else(|| Error::BadAnswer {
            call,
            detail: "it is empty".to_owned(),
        })
    }

    /// The address of something below the pipe: `last` is put behind the pipe's name, `below` under it.
    fn pipe_url(&self, address: &Url, data: bool, last: &str, below: &[&str]) -> Url {
        let config = &self.inner.config;
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
        let ingest = self.ingest(None).await?;
        let signed = |ingest: &Ingest| {
            let request = build(&ingest.address).bearer_auth(ingest.token.reveal());
            request.header("X-Snowflake-Authorization-Token-Type", "OAUTH")
        };
        match self.send(asked, signed(&ingest)).await {
            Err(Error::Unauthorized { .. }) => {
                let renewed = self.ingest(Some(&ingest.token)).await?;
                self.send(asked, signed(&renewed)).await
            }
            other => other,
        }
    }

    fn with_request_id(&self, mut url: Url) -> Url {
        url.query_pairs_mut()
            .append_pair("requestId", &self.inner.random.uuid())
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
                .inner
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
                .inner
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
                self.inner
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
            self.inner.http.delete(url)
        };
        self.on_ingest(self.asked("drop channel", channel), build)
            .await
            .map(drop)
    }

    async fn table(&self) -> Result<Option<TableFacts>, Error> {
        let Inner {
            config,
            clock,
            random,
            ..
        } = &*self.inner;
        let Some(name) = table::table_of(&config.pipe) else {
            return Ok(None);
        };
        let sql = SqlClient::new(config.clone(), Arc::clone(clock), Arc::clone(random))?;
        table::facts(&sql, &config.database, &config.schema, name).await
    }
}

/// The time after which a call without an answer counts as lost (as the official SDK has it).
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(30);
