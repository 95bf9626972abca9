//! The SQL REST API: one statement in, typed columns and rows of texts out.
//!
//! Source: docs.snowflake.com, "SQL REST API reference". A statement that takes longer than the service waits (answer 202)
//! is asked for until it is done; further partitions of a result are fetched in order. Each request carries a proof of who asks
//! ([`crate::auth`]). Meant for questions of people and judges, not for bulk: a result is held in memory, at most
//! 512 MiB.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use frazil_model::{Clock, Random, RetryPolicy};
use reqwest::Method;
use serde::Deserialize;

use crate::auth::Proof;
use crate::client::SnowflakeConfig;
use crate::error::Error;
use crate::http::Answer;
use crate::service_clock::ClockSkew;
use crate::session::Session;
use crate::wire;

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
    session: Arc<Session>,
}

impl SqlClient {
    /// A client; nothing is sent yet. Statements run in the configuration's database and schema, where it names any.
    ///
    /// # Errors
    /// [`Error::BadKey`], [`Error::UnfinishedSecret`], [`Error::BadSecret`], [`Error::BadConfig`].
    pub fn new(
        config: SnowflakeConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, Error> {
        Session::new(config, clock, random).map(Self::of)
    }

    pub(crate) fn of(session: Arc<Session>) -> Self {
        Self { session }
    }

    /// How far this machine's clock is from the service's; `None` before the first answer that tells it.
    #[must_use]
    pub fn clock_skew(&self) -> Option<ClockSkew> {
        self.session.clock.skew()
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// [`Error::Sql`] where the statement fails, and those of any call. A statement is sent again only after an answer that
    /// says that it was not begun (429, 503), or none at all to a connection attempt.
    pub async fn execute(&self, statement: &str) -> Result<Rows, Error> {
        let mut body = serde_json::json!({ "statement": statement, "timeout": PATIENCE.as_secs() });
        let names = [
            ("database", Some(&self.session.config.database)),
            ("schema", Some(&self.session.config.schema)),
        ];
        let names = names
            .into_iter()
            .chain([("role", self.session.config.role.as_ref())]);
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
        let begun = self.clock().now();
        let mut backoff = RetryPolicy::NETWORK.start();
        let id = self.session.random.uuid();
        loop {
            let query = [("requestId", id.as_str())];
            let answer = self
                .ask(Method::POST, "/api/v2/statements", &query, Some(body))
                .await?;
            if !matches!(answer.status, 429 | 503) || self.clock().now().since(begun) > PATIENCE {
                return Ok(answer);
            }
            backoff.wait(&**self.clock(), &*self.session.random).await;
        }
    }

    async fn until_done(&self, mut answer: Answer) -> Result<Answer, Error> {
        let begun = self.clock().now();
        let mut backoff = RetryPolicy {
            first: Duration::from_millis(100),
            cap: Duration::from_secs(2),
        }
        .start();
        while answer.status == 202 {
            let handle = handle(&answer.body)?;
            if self.clock().now().since(begun) > PATIENCE {
                let message = format!("statement {handle} still runs after {PATIENCE:?}");
                return Err(Error::Sql {
                    code: "000630".to_owned(),
                    message,
                });
            }
            backoff.wait(&**self.clock(), &*self.session.random).await;
            answer = self
                .ask(Method::GET, &format!("/api/v2/statements/{handle}"), &[], None)
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
        let asked = self.session.asked(CALL, "");
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
            let (path, partition) = (format!("/api/v2/statements/{handle}"), partition.to_string());
            let query = [("partition", partition.as_str())];
            let answer = self.ask(Method::GET, &path, &query, None).await?;
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

    fn clock(&self) -> &Arc<dyn Clock> {
        self.session.clock.ours()
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&str>,
    ) -> Result<Answer, Error> {
        let build = |_: &Proof| {
            let request = self
                .session
                .request(method.clone(), path, query)
                .timeout(PATIENCE);
            match body {
                Some(body) => request
                    .header("Content-Type", "application/json")
                    .body(body.to_owned()),
                None => request,
            }
        };
        self.session.ask(build).await
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
