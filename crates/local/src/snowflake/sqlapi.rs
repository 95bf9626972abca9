//! The SQL REST API (Snowflake documentation, "SQL REST API reference").
//!
//! `POST /api/v2/statements` runs one statement: answer 200 with the result, 422 where it fails, 202 with a handle where
//! `async=true` asks for it or it takes longer than [`AT_ONCE`]. `GET /api/v2/statements/{handle}` gives the result, or a
//! further partition of it; `POST .../cancel` ends it. Requests log in as the streaming API's do.
//!
//! Each request is a session of its own, in the database and schema it names.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Snowflake;
use super::auth::Login;
use super::catalog::now_ms;
use super::sql::{
    Parameters, QueryResult, ROLE_REFUSED, ResultColumn, Session, SqlError, binding, folded, role_refused,
};
use super::statements::{Statement, Statements};

/// Rows of one partition.
const PARTITION: usize = 10_000;
/// How long a statement may take before its client is told to ask again.
const AT_ONCE: Duration = Duration::from_secs(45);

#[derive(Debug, Deserialize)]
struct Request {
    statement: String,
    database: Option<String>,
    schema: Option<String>,
    role: Option<String>,
    warehouse: Option<String>,
    bindings: Option<binding::Bindings>,
    /// Seconds; 0 and absence are [`AT_ONCE`] and what the server allows.
    timeout: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
struct Asked {
    #[serde(default, rename = "async")]
    detached: Option<bool>,
    #[serde(default, rename = "requestId")]
    request_id: String,
    partition: Option<usize>,
}

struct Api {
    snowflake: Arc<Snowflake>,
    statements: Statements,
}

/// The endpoints.
pub fn router(snowflake: Arc<Snowflake>) -> Router {
    let statements = Statements::new(snowflake.engine());
    let api = Arc::new(Api {
        snowflake,
        statements,
    });
    Router::new()
        .route("/api/v2/statements", post(run))
        .route("/api/v2/statements/{handle}", get(fetch))
        .route("/api/v2/statements/{handle}/cancel", post(cancel))
        .with_state(api)
}

fn failure(status: StatusCode, code: &str, message: &str, handle: Option<&str>) -> Response {
    let body = json!({ "code": code, "message": message, "statementHandle": handle });
    (status, Json(body)).into_response()
}

impl Api {
    fn login(&self, headers: &HeaderMap) -> Result<Login, Box<Response>> {
        self.snowflake.auth.authenticate(headers).map_err(|refused| {
            let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::UNAUTHORIZED);
            Box::new(failure(status, refused.code, &refused.message, None))
        })
    }

    fn find(&self, handle: &str, headers: &HeaderMap) -> Result<Statement, Box<Response>> {
        let user = self.login(headers)?.user;
        self.statements.find(handle, &user).ok_or_else(|| {
            let status = StatusCode::NOT_FOUND;
            Box::new(failure(status, "000709", "Statement not found.", Some(handle)))
        })
    }
}

async fn run(
    State(api): State<Arc<Api>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    let login = match api.login(&headers) {
        Ok(login) => login,
        Err(refused) => return *refused,
    };
    let Ok(request) = serde_json::from_slice::<Request>(&body) else {
        let message = "The request body is no JSON object with a statement.";
        return failure(StatusCode::BAD_REQUEST, "390142", message, None);
    };
    let named = |name: Option<String>| name.filter(|name| !name.is_empty()).map(|name| folded(&name));
    let role = match login.role_for(named(request.role)) {
        Ok(role) => role,
        Err(role) => return failure(StatusCode::UNAUTHORIZED, ROLE_REFUSED, &role_refused(&role), None),
    };
    let session = Session {
        database: named(request.database),
        schema: named(request.schema),
        role,
        warehouse: named(request.warehouse),
        user: login.user,
        ..Session::default()
    };
    let parameters = Parameters {
        bindings: request.bindings.unwrap_or_default(),
        describe_only: false,
    };
    let statement = api
        .statements
        .begin(session, request.statement, parameters, &asked.request_id, false);
    if asked.detached == Some(true) {
        return in_progress(&statement);
    }
    let limit = request
        .timeout
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs);
    if let Some(limit) = limit.filter(|limit| *limit < AT_ONCE)
        && statement.within(limit).await.is_none()
    {
        statement.cancel();
        let message = "Statement reached its statement timeout and was canceled.";
        return failure(
            StatusCode::REQUEST_TIMEOUT,
            "000630",
            message,
            Some(&statement.handle),
        );
    }
    outcome(&statement, AT_ONCE, 0).await
}

/// The answer of a statement, or where to ask for it.
async fn outcome(statement: &Statement, limit: Duration, partition: usize) -> Response {
    match statement.within(limit).await {
        Some(done) => answer(&statement.handle, &done.result, partition),
        None => in_progress(statement),
    }
}

fn in_progress(statement: &Statement) -> Response {
    let handle = &statement.handle;
    let body = json!({
        "code": "333334",
        "message": "Asynchronous execution in progress. Use provided query id to perform query monitoring.",
        "statementHandle": handle,
        "statementStatusUrl": format!("/api/v2/statements/{handle}"),
    });
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

async fn fetch(
    State(api): State<Arc<Api>>,
    Path(handle): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    match api.find(&handle, &headers) {
        Ok(statement) => outcome(&statement, Duration::ZERO, asked.partition.unwrap_or(0)).await,
        Err(refused) => *refused,
    }
}

async fn cancel(State(api): State<Arc<Api>>, Path(handle): Path<String>, headers: HeaderMap) -> Response {
    let statement = match api.find(&handle, &headers) {
        Ok(statement) => statement,
        Err(refused) => return *refused,
    };
    statement.cancel();
    let canceled = SqlError::canceled();
    let body = json!({ "code": canceled.code, "message": canceled.message, "statementHandle": handle });
    Json(body).into_response()
}

fn answer(handle: &str, done: &Result<QueryResult, SqlError>, partition: usize) -> Response {
    let result = match done {
        Ok(result) => result,
        Err(error) => {
            let body = json!({
                "code": error.code,
                "sqlState": error.sql_state,
                "message": error.message,
                "statementHandle": handle,
            });
            return (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response();
        }
    };
    let rows = result.rows.chunks(PARTITION).nth(partition).unwrap_or_default();
    if partition > 0 {
        return Json(json!({ "data": rows })).into_response();
    }
    let partitions: Vec<Value> = result
        .rows
        .chunks(PARTITION)
        .map(|rows| json!({ "rowCount": rows.len() }))
        .collect();
    let partitions = if partitions.is_empty() {
        vec![json!({ "rowCount": 0 })]
    } else {
        partitions
    };
    let types: Vec<Value> = result.columns.iter().map(ResultColumn::described).collect();
    let body = json!({
        "resultSetMetaData": {
            "numRows": result.rows.len(),
            "format": "jsonv2",
            "partitionInfo": partitions,
            "rowType": types,
        },
        "data": rows,
        "code": "090001",
        "sqlState": "00000",
        "message": "Statement executed successfully.",
        "statementHandle": handle,
        "statementStatusUrl": format!("/api/v2/statements/{handle}"),
        "createdOn": now_ms(),
    });
    Json(body).into_response()
}
