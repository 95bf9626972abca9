//! The protocol of Snowflake's drivers, as `snowflake-connector-python` 4 and 5 and the `snow` command line speak it.
//!
//! A session is a login with a password or a key-pair JWT; its tokens are held in memory, so after a restart a driver logs in
//! again. A statement answers within [`AT_ONCE`], else with code 333333 and a path to ask again; `asyncExec` answers at once
//! with 333334. Rows come in one piece: those of queries as Arrow where the session takes it (`format.rs`, `arrow.rs`), all
//! others as JSON, booleans as `1` and `0`.
//!
//! What it does not do: transactions over several statements, PUT and GET of files, results in chunks, several statements in
//! one request.

mod arrow;
mod format;
mod session;
#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::session::{DriverSession, Refused, Sessions};
use super::Snowflake;
use super::sql::{Parameters, QUERY, QueryResult, ResultColumn, SqlError, binding, result_scan};
use super::statements::{Done, Statement, Statements};

/// How long a statement may take before its client is told to ask again (drivers expect 45 s).
const AT_ONCE: Duration = Duration::from_secs(40);
/// Largest body, on the wire and after decompression.
const BODY_LIMIT: usize = 32 * 1024 * 1024;

struct Api {
    snowflake: Arc<Snowflake>,
    sessions: Sessions,
    statements: Statements,
}

/// The endpoints.
pub(super) fn router(snowflake: Arc<Snowflake>) -> Router {
    let statements = Statements::new(snowflake.engine());
    let api = Arc::new(Api {
        snowflake,
        sessions: Sessions::default(),
        statements,
    });
    Router::new()
        .route("/session/v1/login-request", post(login))
        .route("/session/token-request", post(renew))
        .route("/session/heartbeat", post(heartbeat))
        .route("/session", post(close))
        .route("/queries/v1/query-request", post(query))
        .route("/queries/v1/abort-request", post(abort))
        .route("/queries/{handle}/result", get(fetch))
        .route("/queries/{handle}/abort-request", post(abort_one))
        .route("/monitoring/queries/{handle}", get(monitor))
        // As version 5 of the Python connector writes it.
        .route("/monitoring/queries//{handle}", get(monitor))
        .route("/telemetry/send", post(telemetry))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(api)
}

/// Every answer of the protocol is a 200; what went wrong stands in the body.
fn answer(data: Value) -> Response {
    Json(json!({ "data": data, "code": null, "message": null, "success": true })).into_response()
}

fn failed(code: &str, message: &str, data: Value) -> Response {
    Json(json!({ "data": data, "code": code, "message": message, "success": false })).into_response()
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        failed(self.code, &self.message, Value::Null)
    }
}

/// A body as JSON; drivers compress it as they like.
fn parse<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, Refused> {
    let malformed = || Refused {
        code: "390142",
        message: "The request body is not the JSON that is expected here.".to_owned(),
    };
    let is_gzip = headers
        .get("content-encoding")
        .is_some_and(|value| value == "gzip")
        || body.starts_with(&[0x1f, 0x8b]);
    if !is_gzip {
        return serde_json::from_slice(body).map_err(|_| malformed());
    }
    let mut plain = Vec::new();
    let limit = BODY_LIMIT as u64;
    let mut reader = flate2::read::GzDecoder::new(body.as_ref()).take(limit + 1);
    reader.read_to_end(&mut plain).map_err(|_| malformed())?;
    if plain.len() > BODY_LIMIT {
        return Err(malformed());
    }
    serde_json::from_slice(&plain).map_err(|_| malformed())
}

async fn login(
    State(api): State<Arc<Api>>,
    Query(wanted): Query<session::Wanted>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request: session::LoginRequest = match parse(&headers, &body) {
        Ok(request) => request,
        Err(refused) => return refused.into_response(),
    };
    let snowflake = Arc::clone(&api.snowflake);
    // A password takes a while to check.
    let checked = tokio::task::spawn_blocking(move || session::check(&snowflake, &request, &wanted)).await;
    match checked
        .map_err(|_| Refused::internal())
        .and_then(|checked| checked)
    {
        Ok((session, client)) => answer(api.sessions.open(session, client)),
        Err(refused) => refused.into_response(),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RenewRequest {
    old_session_token: String,
}

async fn renew(State(api): State<Arc<Api>>, headers: HeaderMap, body: Bytes) -> Response {
    let renewed = parse::<RenewRequest>(&headers, &body)
        .and_then(|request| api.sessions.renew(&headers, &request.old_session_token));
    match renewed {
        Ok(data) => answer(data),
        Err(refused) => refused.into_response(),
    }
}

async fn heartbeat(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    match api.sessions.of(&headers) {
        Ok(_) => answer(Value::Null),
        Err(refused) => refused.into_response(),
    }
}

async fn close(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    api.sessions.close(&headers);
    answer(Value::Null)
}

async fn telemetry() -> Response {
    answer(json!("Log Received"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueryRequest {
    sql_text: String,
    #[serde(default)]
    async_exec: bool,
    #[serde(default)]
    describe_only: bool,
    #[serde(default)]
    bindings: Option<binding::Bindings>,
    #[serde(default)]
    parameters: Option<serde_json::Map<String, Value>>,
}

#[derive(Deserialize)]
struct QueryParameters {
    #[serde(rename = "requestId", default)]
    request_id: String,
}

async fn query(
    State(api): State<Arc<Api>>,
    Query(parameters): Query<QueryParameters>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let session = match api.sessions.of(&headers) {
        Ok(session) => session,
        Err(refused) => return refused.into_response(),
    };
    let request: QueryRequest = match parse(&headers, &body) {
        Ok(request) => request,
        Err(refused) => return refused.into_response(),
    };
    let several = request
        .parameters
        .as_ref()
        .and_then(|parameters| parameters.get("MULTI_STATEMENT_COUNT"))
        .and_then(Value::as_i64);
    if several.is_some_and(|count| count > 1) {
        let error = SqlError::unsupported("several statements in one request");
        return sql_failure(&error, "");
    }
    let takes_arrow = session
        .client
        .takes_arrow(&session.sql, request.parameters.as_ref());
    if let Some(handle) = result_scan(&request.sql_text) {
        // A query of its own, whatever the statement was whose rows it reads.
        let arrow = if takes_arrow { Arrow::Any } else { Arrow::Never };
        return match find(&api, &session, &handle) {
            Ok(statement) => finish(&api, &headers, &session, &statement, arrow).await,
            Err(refused) => refused.into_response(),
        };
    }
    let parameters_of_it = Parameters {
        bindings: request.bindings.unwrap_or_default(),
        describe_only: request.describe_only,
    };
    let statement = api.statements.begin(
        session.sql.clone(),
        request.sql_text,
        parameters_of_it,
        &parameters.request_id,
        takes_arrow && !request.describe_only,
    );
    if request.async_exec {
        return in_progress("333334", &statement);
    }
    finish(&api, &headers, &session, &statement, Arrow::of(&statement)).await
}

/// Which rows go out as Arrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrow {
    Never,
    /// Those of a query; what SHOW, DESC, DML and definitions answer is JSON at the real service, too.
    OfQueries,
    Any,
}

impl Arrow {
    fn of(statement: &Statement) -> Self {
        if statement.takes_arrow {
            Self::OfQueries
        } else {
            Self::Never
        }
    }
}

/// The statement's answer, or where to ask for it.
async fn finish(
    api: &Api,
    headers: &HeaderMap,
    session: &DriverSession,
    statement: &Statement,
    arrow: Arrow,
) -> Response {
    match statement.within(AT_ONCE).await {
        None => in_progress("333333", statement),
        Some(done) => {
            api.sessions.moved(headers, &done.session);
            finished(session, statement, done, arrow).await
        }
    }
}

fn in_progress(code: &str, statement: &Statement) -> Response {
    let handle = &statement.handle;
    let data = json!({
        "queryId": handle,
        "getResultUrl": format!("/queries/{handle}/result"),
        "queryAbortsAfterSecs": 300,
    });
    let message = "Query execution in progress.";
    Json(json!({ "data": data, "code": code, "message": message, "success": true })).into_response()
}

fn sql_failure(error: &SqlError, handle: &str) -> Response {
    let data = json!({
        "errorCode": error.code,
        "sqlState": error.sql_state,
        "queryId": handle,
        "internalError": false,
    });
    failed(error.code, &error.message, data)
}

async fn finished(session: &DriverSession, statement: &Statement, done: Arc<Done>, arrow: Arrow) -> Response {
    let result = match &done.result {
        Ok(result) => result,
        Err(error) => return sql_failure(error, &statement.handle),
    };
    let mut data = json!({
        "queryId": statement.handle,
        "rowtype": result.columns.iter().map(ResultColumn::described).collect::<Vec<_>>(),
        "total": result.rows.len(),
        "returned": result.rows.len(),
        "statementTypeId": result.statement_type,
        "finalDatabaseName": done.session.database,
        "finalSchemaName": done.session.schema,
        "finalRoleName": done.session.role,
        "numberOfBinds": 0,
        "version": 1,
        "parameters": session::parameters(session.client, &done.session),
    });
    let is_arrow = match arrow {
        Arrow::Never => false,
        Arrow::OfQueries => result.statement_type == QUERY,
        Arrow::Any => true,
    };
    let stream = if is_arrow { arrow_stream(&done).await } else { None };
    if let Some(stream) = stream {
        data["queryResultFormat"] = "arrow".into();
        data["rowsetBase64"] = stream.into();
    } else {
        data["queryResultFormat"] = "json".into();
        data["rowset"] = rows(result);
    }
    answer(data)
}

/// The rows as Arrow, made on a thread that may be busy for long; nothing, if they have to go out as JSON.
async fn arrow_stream(done: &Arc<Done>) -> Option<String> {
    let done = Arc::clone(done);
    let encode = move || done.result.as_ref().ok().map(arrow::encode);
    let encoded = tokio::task::spawn_blocking(encode).await.ok()??;
    encoded
        .inspect_err(|reason| tracing::debug!(%reason, "a result goes out as JSON instead of Arrow"))
        .ok()
}

/// Rows as they are, but for booleans.
fn rows(result: &QueryResult) -> Value {
    let booleans: Vec<bool> = result
        .columns
        .iter()
        .map(|column| column.kind == "boolean")
        .collect();
    if !booleans.contains(&true) {
        return json!(result.rows);
    }
    let row = |row: &Vec<Option<String>>| {
        let cells = row
            .iter()
            .zip(&booleans)
            .map(|(cell, is_boolean)| match (cell, is_boolean) {
                (Some(cell), true) => json!(if cell == "true" { "1" } else { "0" }),
                (cell, _) => json!(cell),
            });
        Value::Array(cells.collect())
    };
    Value::Array(result.rows.iter().map(row).collect())
}

async fn fetch(State(api): State<Arc<Api>>, Path(handle): Path<String>, headers: HeaderMap) -> Response {
    let found = found(&api, &headers, &handle);
    match found {
        // A session that asks for JSON gets it, whoever began the statement.
        Ok((session, statement)) if session.client.takes_arrow(&session.sql, None) => {
            finish(&api, &headers, &session, &statement, Arrow::of(&statement)).await
        }
        Ok((session, statement)) => finish(&api, &headers, &session, &statement, Arrow::Never).await,
        Err(refused) => refused.into_response(),
    }
}

/// The session of a call, and a statement of its user.
fn found(api: &Api, headers: &HeaderMap, handle: &str) -> Result<(DriverSession, Statement), Refused> {
    let session = api.sessions.of(headers)?;
    let statement = find(api, &session, handle)?;
    Ok((session, statement))
}

fn find(api: &Api, session: &DriverSession, handle: &str) -> Result<Statement, Refused> {
    let found = api.statements.find(handle, &session.sql.user);
    found.ok_or_else(|| Refused {
        code: "000709",
        message: format!("Statement {handle} not found"),
    })
}

async fn monitor(State(api): State<Arc<Api>>, Path(handle): Path<String>, headers: HeaderMap) -> Response {
    let statement = match found(&api, &headers, &handle) {
        Ok((_, statement)) => statement,
        Err(refused) => return refused.into_response(),
    };
    let (status, error) = match statement.within(Duration::ZERO).await.as_deref() {
        None => ("RUNNING", None),
        Some(Done { result: Ok(_), .. }) => ("SUCCESS", None),
        Some(Done {
            result: Err(error), ..
        }) => ("FAILED_WITH_ERROR", Some(error.clone())),
    };
    let (code, message) = error.map_or((None, None), |error| (Some(error.code), Some(error.message)));
    answer(json!({ "queries": [{
        "id": handle, "status": status, "errorCode": code, "errorMessage": message,
    }] }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AbortRequest {
    request_id: String,
}

async fn abort(State(api): State<Arc<Api>>, headers: HeaderMap, body: Bytes) -> Response {
    let session = match api.sessions.of(&headers) {
        Ok(session) => session,
        Err(refused) => return refused.into_response(),
    };
    match parse::<AbortRequest>(&headers, &body) {
        Ok(request) => {
            if let Some(statement) = api
                .statements
                .find_request(&request.request_id, &session.sql.user)
            {
                statement.cancel();
            }
            answer(Value::Null)
        }
        Err(refused) => refused.into_response(),
    }
}

async fn abort_one(State(api): State<Arc<Api>>, Path(handle): Path<String>, headers: HeaderMap) -> Response {
    match found(&api, &headers, &handle) {
        Ok((_, statement)) => {
            statement.cancel();
            answer(Value::Null)
        }
        Err(refused) => refused.into_response(),
    }
}
