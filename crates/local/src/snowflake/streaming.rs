//! The Snowpipe Streaming REST protocol (high-performance architecture), as the public REST reference has it and as the
//! official SDK needs it.
//!
//! Both planes answer on the same ports: the account's (hostname, token, telemetry) and the data's (pipe-info, channels,
//! rows, [`files`]). Errors are JSON `{"error_code", "code", "message"}`, those of uploads are XML.
//!
//! Each call about a pipe wants the privileges of [`rights`].
//!
//! Limits: a body of 4 MiB on the wire and 16 MiB after decompression, a file of 64 MiB and 256 MiB; a named channel makes 10 requests and 20 MB
//! (decompressed) a second, with a burst of two seconds, then gets 429 (can be turned off).

mod account;
mod answer;
mod append;
mod channels;
mod disturb;
pub(super) mod files;
pub(crate) mod path;
pub(crate) mod rights;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, Method};

use self::answer::Refusal;
use self::path::Route;
use super::Snowflake;
use super::auth::Login;
use super::catalog::PipeLookup;
use super::model::PipeRow;

/// Largest request body on the wire.
pub(crate) const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// The protocol's router: all paths that nobody else takes.
pub(crate) fn router(snowflake: Arc<Snowflake>) -> axum::Router {
    axum::Router::new().fallback(handle).with_state(snowflake)
}

async fn handle(State(snowflake): State<Arc<Snowflake>>, request: Request) -> Response {
    match dispatch(&snowflake, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn dispatch(snowflake: &Arc<Snowflake>, request: Request) -> Result<Response, Refusal> {
    let route = Route::parse(request.method(), request.uri().path());
    let (head, body) = request.into_parts();
    if let Route::Upload(path) = &route {
        let location = files::parse(path);
        return Ok(files::upload::upload(snowflake, location, &head.headers, body).await);
    }
    let body = answer::read_body(&head.headers, body).await?;
    let query = path::Query::parse(head.uri.query().unwrap_or_default());
    match route {
        Route::Hostname => account::hostname(snowflake, &head.headers),
        Route::Token => account::token(snowflake, &head.headers, &body),
        Route::Telemetry => Ok(account::telemetry()),
        Route::PipeInfo(pipe) => {
            let login = login(snowflake, &head.headers)?;
            account::pipe_info(snowflake, &find_pipe(snowflake, &login, &pipe)?)
        }
        Route::Open(pipe, channel) => {
            let login = login(snowflake, &head.headers)?;
            channels::open(snowflake, find_pipe(snowflake, &login, &pipe)?, channel, &body).await
        }
        Route::Drop(pipe, channel) => {
            let login = login(snowflake, &head.headers)?;
            channels::drop(snowflake, &find_pipe(snowflake, &login, &pipe)?, &channel, &body).await
        }
        Route::Status(pipe) => {
            let login = login(snowflake, &head.headers)?;
            channels::status(snowflake, &find_pipe(snowflake, &login, &pipe)?, &body).await
        }
        Route::Append(pipe, channel) => {
            let login = login(snowflake, &head.headers)?;
            let pipe = find_pipe(snowflake, &login, &pipe)?;
            append::append(snowflake, &pipe, &channel, &query, &head.headers, body).await
        }
        Route::Register(pipe, channel) => {
            let login = login(snowflake, &head.headers)?;
            let pipe = find_pipe(snowflake, &login, &pipe)?;
            files::register::register(snowflake, &pipe, &channel, &query, &body).await
        }
        Route::Upload(_) | Route::Unknown => {
            let method: &Method = &head.method;
            Err(Refusal::new(
                404,
                "ERR_UNKNOWN_PATH",
                format!("{method} {} is no resource of frazil local", head.uri.path()),
            ))
        }
    }
}

fn login(snowflake: &Snowflake, headers: &HeaderMap) -> Result<Login, Refusal> {
    Ok(snowflake.auth.authenticate_scoped(headers)?)
}

/// Finds the pipe; the default pipe of a table is made on first use. The caller's role must have the privileges.
fn find_pipe(snowflake: &Snowflake, login: &Login, path: &path::PipePath) -> Result<PipeRow, Refusal> {
    let catalog = &snowflake.store.catalog;
    let role = rights::role(catalog, login)?;
    match catalog.pipe(&path.database.lookup, &path.schema.lookup, &path.pipe.lookup)? {
        PipeLookup::Found(pipe) => {
            snowflake.rights.check(catalog, &role, &pipe)?;
            Ok(pipe)
        }
        PipeLookup::NoNamespace => Err(rights::no_namespace(path)),
        PipeLookup::NoPipe if !rights::uses_namespace(catalog, &role, path)? => {
            Err(rights::no_namespace(path))
        }
        PipeLookup::NoPipe => Err(rights::no_pipe(path)),
    }
}
