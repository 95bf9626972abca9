//! The SQL REST API (Snowflake documentation, "SQL REST API reference").
//!
//! `POST /api/v2/statements` runs one statement: answer 200 with the result, 422 where it fails, 202 with a handle where
//! `async=true` asks for it. `GET /api/v2/statements/{handle}` gives the result again, or a further partition of it;
//! `POST .../cancel` forgets it. Requests log in as the streaming API's do.
//!
//! Each request is a session of its own, in the database and schema it names. Results are kept for a while so that their
//! partitions can be fetched: at most [`KEPT`] of them, [`KEPT_BYTES`] together, the oldest go first. A statement begun
//! with `async=true` runs to its end within the request's time; its answer is fetched by its handle.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Snowflake;
use super::catalog::now_ms;
use super::sql::{Engine, QueryResult, Session, SqlError};

/// Rows of one partition.
const PARTITION: usize = 10_000;
/// Results that are kept.
const KEPT: usize = 64;
/// Bytes of cells that are kept.
const KEPT_BYTES: usize = 256 * 1024 * 1024;

#[derive(Debug, Deserialize)]
struct Request {
    statement: String,
    database: Option<String>,
    schema: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Parameters {
    #[serde(default, rename = "async")]
    detached: Option<bool>,
    partition: Option<usize>,
}

struct Kept {
    handle: String,
    bytes: usize,
    done: Arc<Result<QueryResult, SqlError>>,
}

struct Api {
    snowflake: Arc<Snowflake>,
    engine: Engine,
    kept: Mutex<VecDeque<Kept>>,
}

/// The endpoints.
pub fn router(snowflake: Arc<Snowflake>) -> Router {
    let engine = snowflake.engine();
    let api = Arc::new(Api {
        snowflake,
        engine,
        kept: Mutex::default(),
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
    fn login(&self, headers: &HeaderMap) -> Result<String, Box<Response>> {
        self.snowflake
            .auth
            .authenticate(headers)
            .map(|login| login.user)
            .map_err(|refused| {
                let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::UNAUTHORIZED);
                Box::new(failure(status, refused.code, &refused.message, None))
            })
    }

    fn keep(&self, handle: &str, done: &Arc<Result<QueryResult, SqlError>>) {
        let bytes = match &**done {
            Ok(result) => result
                .rows
                .iter()
                .flatten()
                .map(|cell| cell.as_ref().map_or(0, String::len) + 24)
                .sum(),
            Err(_) => 0,
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(Kept {
            handle: handle.to_owned(),
            bytes,
            done: Arc::clone(done),
        });
        while kept.len() > KEPT
            || (kept.len() > 1 && kept.iter().map(|k| k.bytes).sum::<usize>() > KEPT_BYTES)
        {
            kept.pop_front();
        }
    }

    fn find(&self, handle: &str) -> Option<Arc<Result<QueryResult, SqlError>>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter()
            .find(|one| one.handle == handle)
            .map(|one| Arc::clone(&one.done))
    }
}

/// A name of a request: quoted as it stands, else upper case.
fn folded(name: &str) -> String {
    match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_uppercase(),
    }
}

async fn run(
    State(api): State<Arc<Api>>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    let user = match api.login(&headers) {
        Ok(user) => user,
        Err(refused) => return *refused,
    };
    let Ok(request) = serde_json::from_slice::<Request>(&body) else {
        let message = "The request body is no JSON object with a statement.";
        return failure(StatusCode::BAD_REQUEST, "390142", message, None);
    };
    let named = |name: Option<String>| name.filter(|name| !name.is_empty()).map(|name| folded(&name));
    let mut session = Session {
        database: named(request.database),
        schema: named(request.schema),
        user,
    };
    let handle = Uuid::new_v4().to_string();
    let done = Arc::new(api.engine.execute(&mut session, &request.statement).await);
    api.keep(&handle, &done);
    if parameters.detached == Some(true) {
        let body = json!({
            "code": "333334",
            "message": "Asynchronous execution in progress. Use provided query id to perform query monitoring.",
            "statementHandle": handle,
            "statementStatusUrl": format!("/api/v2/statements/{handle}"),
        });
        return (StatusCode::ACCEPTED, Json(body)).into_response();
    }
    answer(&handle, &done, 0)
}

async fn fetch(
    State(api): State<Arc<Api>>,
    Path(handle): Path<String>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = api.login(&headers) {
        return *refused;
    }
    match api.find(&handle) {
        Some(done) => answer(&handle, &done, parameters.partition.unwrap_or(0)),
        None => failure(
            StatusCode::NOT_FOUND,
            "000709",
            "Statement not found.",
            Some(&handle),
        ),
    }
}

async fn cancel(State(api): State<Arc<Api>>, Path(handle): Path<String>, headers: HeaderMap) -> Response {
    if let Err(refused) = api.login(&headers) {
        return *refused;
    }
    let mut kept = api.kept.lock().unwrap_or_else(PoisonError::into_inner);
    kept.retain(|one| one.handle != handle);
    let body = json!({ "code": "000604", "message": "SQL execution canceled", "statementHandle": handle });
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
    let types: Vec<Value> = result
        .columns
        .iter()
        .map(|column| {
            json!({
                "name": column.name,
                "type": column.kind,
                "nullable": true,
                "length": column.length,
                "byteLength": column.length,
                "precision": column.precision,
                "scale": column.scale,
                "database": "",
                "schema": "",
                "table": "",
                "collation": null,
            })
        })
        .collect();
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
