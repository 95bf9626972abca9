//! The SQL REST API: one statement in, typed columns and rows of texts out.
//!
//! Source: docs.snowflake.com, "SQL REST API reference". A statement that takes longer than the service waits (answer 202)
//! is asked for until it is done; further partitions of a result are fetched in order. The key-pair JWT authenticates each
//! request. Meant for questions of people and judges, not for bulk: a result is held in memory, at most
//! 512 MiB.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use frazil_model::{Clock, Random, RetryPolicy};
use reqwest::Method;
use serde::Deserialize;
use url::Url;

use crate::auth::Signer;
use crate::client::SnowflakeConfig;
use crate::error::Error;
use crate::http::{self, Answer};
use crate::wire::{self, Asked};

/// The most bytes of a result.
const MAX_RESULT_BYTES: usize = 512 * 1024 * 1024;
/// How long a statement may run.
const PATIENCE: Duration = Duration::from_secs(300);
const CALL: &str = "run a SQL statement";

/// A result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows, a text or NULL for each column.
    pub rows: Vec<Vec<Option<String>>>,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as the service names it: `fixed`, `text`, `real`, `boolean`, `timestamp_ntz`, `variant`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Digits behind the point of a `fixed`.
    pub scale: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResultWire {
    result_set_meta_data: Option<MetaWire>,
    #[serde(default)]
    data: Vec<Vec<Option<String>>>,
    statement_handle: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetaWire {
    #[serde(default)]
    row_type: Vec<Column>,
    #[serde(default)]
    partition_info: Vec<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct PartitionWire {
    data: Vec<Vec<Option<String>>>,
}

/// The client.
#[derive(Debug)]
pub struct SqlClient {
    http: reqwest::Client,
    address: Url,
    signer: Arc<Signer>,
    config: SnowflakeConfig,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl SqlClient {
    /// A client; nothing is sent yet. Statements run in the configuration's database and schema, where it names any.
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
        Ok(Self {
            http,
            address,
            signer,
            config,
            clock,
            random,
        })
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// [`Error::Sql`] where the statement fails, and those of any call. A statement is sent again only after an answer that
    /// says that it was not begun (429, 503), or none at all to a connection attempt.
    pub async fn execute(&self, statement: &str) -> Result<Rows, Error> {
        let mut body = serde_json::json!({ "statement": statement, "timeout": PATIENCE.as_secs() });
        let names = [
            ("database", Some(&self.config.database)),
            ("schema", Some(&self.config.schema)),
        ];
        let names = names.into_iter().chain([("role", self.config.role.as_ref())]);
        for (key, value) in names {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                body[key] = serde_json::Value::String(value.clone());
            }
        }
        let body = body.to_string();
        let first = self.begin(&body).await?;
        let first = self.until_done(first).await?;
        self.collect(&first).await
    }

    async fn begin(&self, body: &str) -> Result<Answer, Error> {
        let begun = self.clock.now();
        let mut backoff = RetryPolicy::NETWORK.start();
        let id = self.random.uuid();
        loop {
            let mut url = self.url("/api/v2/statements");
            url.query_pairs_mut().append_pair("requestId", &id);
            let answer = self.ask(Method::POST, url, Some(body.to_owned())).await?;
            if !matches!(answer.status, 429 | 503) || self.clock.now().since(begun) > PATIENCE {
                return Ok(answer);
            }
            backoff.wait(&*self.clock, &*self.random).await;
        }
    }

    async fn until_done(&self, mut answer: Answer) -> Result<Answer, Error> {
        let begun = self.clock.now();
        let mut backoff = RetryPolicy {
            first: Duration::from_millis(100),
            cap: Duration::from_secs(2),
        }
        .start();
        while answer.status == 202 {
            let handle = handle(&answer.body)?;
            if self.clock.now().since(begun) > PATIENCE {
                let message = format!("statement {handle} still runs after {PATIENCE:?}");
                return Err(Error::Sql {
                    code: "000630".to_owned(),
                    message,
                });
            }
            backoff.wait(&*self.clock, &*self.random).await;
            answer = self
                .ask(
                    Method::GET,
                    self.url(&format!("/api/v2/statements/{handle}")),
                    None,
                )
                .await?;
        }
        if answer.is_success() {
            return Ok(answer);
        }
        let complaint = wire::complaint(&answer.body);
        if answer.status == 422 || (answer.status == 400 && !complaint.code.is_empty()) {
            return Err(Error::Sql {
                code: complaint.code,
                message: complaint.message,
            });
        }
        let asked = Asked {
            call: CALL,
            channel: "",
            user: &self.config.user,
        };
        Err(wire::refusal(
            asked,
            answer.status,
            answer.retry_after,
            &answer.body,
        ))
    }

    async fn collect(&self, first: &Answer) -> Result<Rows, Error> {
        let wire: ResultWire = read(&first.body)?;
        let mut bytes = first.body.len();
        let (columns, partitions) = wire
            .result_set_meta_data
            .map(|meta| (meta.row_type, meta.partition_info.len()))
            .unwrap_or_default();
        let mut rows = wire.data;
        for partition in 1..partitions {
            let handle = handle(&first.body)?;
            let mut url = self.url(&format!("/api/v2/statements/{handle}"));
            url.query_pairs_mut()
                .append_pair("partition", &partition.to_string());
            let answer = self.ask(Method::GET, url, None).await?;
            bytes += answer.body.len();
            if !answer.is_success() || bytes > MAX_RESULT_BYTES {
                let detail = format!(
                    "partition {partition} with status {}, {bytes} bytes in all",
                    answer.status
                );
                return Err(Error::BadAnswer { call: CALL, detail });
            }
            rows.extend(read::<PartitionWire>(&answer.body)?.data);
        }
        Ok(Rows { columns, rows })
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.address.clone();
        url.set_path(path);
        url
    }

    async fn ask(&self, method: Method, url: Url, body: Option<String>) -> Result<Answer, Error> {
        let jwt = self.signer.jwt(self.clock.wall_ms()).await?;
        let mut request = self
            .http
            .request(method, url)
            .bearer_auth(jwt.text.reveal())
            .timeout(PATIENCE);
        request = request.header("X-Snowflake-Authorization-Token-Type", "KEYPAIR_JWT");
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body);
        }
        http::send(request, self.address.as_str()).await
    }
}

fn read<'a, T: Deserialize<'a>>(body: &'a Bytes) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::BadAnswer {
        call: CALL,
        detail: error.to_string(),
    })
}

fn handle(body: &Bytes) -> Result<String, Error> {
    let missing = || Error::BadAnswer {
        call: CALL,
        detail: "no usable statement handle".to_owned(),
    };
    let handle = read::<ResultWire>(body)?.statement_handle.ok_or_else(missing)?;
    // It becomes part of an address.
    let plain = handle.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if plain { Ok(handle) } else { Err(missing()) }
}
