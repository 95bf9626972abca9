//! DynamoDB: `dynoxide` on a SQLite file of the data folder, which syncs each write itself.
//!
//! If the faults file has rules for it, it listens on a port of its own and a small proxy with the fault layer stands on
//! the asked one, because the crate gives no router to wrap.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use dynoxide::Database;
use http::StatusCode;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::faults::layer::{Account, Layer};
use crate::faults::{Faults, Service};
use crate::folder::{DataFolder, held};
use crate::{Error, Result, server};

const BODY_LIMIT: usize = 16 * 1024 * 1024;
const PROXY_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// How to start the stand-in.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) file: PathBuf,
    pub(crate) faults: Arc<Faults>,
    /// For names in errors.
    pub(crate) account: Account,
    /// The data folder's lock, held as long as anything runs.
    pub(crate) held: Arc<DataFolder>,
}

/// The running stand-in.
#[derive(Debug)]
pub(crate) struct DynamoDb {
    stop: DropGuard,
    tasks: Vec<JoinHandle<()>>,
}

impl DynamoDb {
    /// Opens the file and serves.
    pub(crate) async fn start(setup: Setup, listener: TcpListener) -> Result<Self> {
        let failed = |reason: String| Error::StandIn {
            service: "dynamodb",
            reason,
        };
        let path = setup
            .file
            .to_str()
            .ok_or_else(|| failed("the data folder's name is not UTF-8".into()))?;
        let database = Database::new(path).map_err(|error| failed(error.to_string()))?;
        let stop = CancellationToken::new();
        let mut tasks = Vec::new();
        let direct = if setup.faults.concern(Service::Dynamodb) {
            let (behind, port) = server::bind("dynamodb", 0).await?;
            let proxy = Layer::new(setup.faults, Service::Dynamodb, setup.account).wrap(proxy(port)?);
            tasks.push(tokio::spawn(held(
                &setup.held,
                server::serve(listener, proxy, None, stop.clone()),
            )));
            behind
        } else {
            listener
        };
        tasks.push(tokio::spawn(held(
            &setup.held,
            serve(direct, database, stop.clone()),
        )));
        Ok(Self {
            stop: stop.drop_guard(),
            tasks,
        })
    }

    /// Stops serving.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

async fn serve(listener: TcpListener, database: Database, stop: CancellationToken) {
    let served = dynoxide::server::serve_with_shutdown(listener, database, stop.clone().cancelled_owned());
    // A request that hangs would hold it up for ever.
    let limit = async {
        stop.cancelled().await;
        tokio::time::sleep(STOP_LIMIT).await;
    };
    tokio::select! {
        served = served => if let Err(error) = served { tracing::error!(error, "dynamodb stand-in failed") },
        () = limit => {}
    }
}

#[derive(Clone, Debug)]
struct Proxy {
    client: reqwest::Client,
    base: String,
}

/// Passes each request on to the port behind. Never through a proxy of the user's environment.
fn proxy(port: u16) -> Result<Router> {
    let client = reqwest::Client::builder().no_proxy().timeout(PROXY_LIMIT).build();
    let client = client.map_err(|error| Error::StandIn {
        service: "dynamodb",
        reason: error.to_string(),
    })?;
    Ok(Router::new().fallback(forward).with_state(Proxy {
        client,
        base: format!("http://127.0.0.1:{port}"),
    }))
}

async fn forward(State(proxy): State<Proxy>, request: Request) -> Response {
    match pass_on(&proxy, request).await {
        Ok(response) => response,
        Err(error) => {
            tracing::warn!(%error, "request not passed on to the dynamodb stand-in");
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    }
}

async fn pass_on(
    proxy: &Proxy,
    request: Request,
) -> std::result::Result<Response, Box<dyn std::error::Error + Send + Sync>> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_LIMIT).await?;
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let sent = proxy
        .client
        .request(head.method, format!("{}{path}", proxy.base))
        .headers(head.headers)
        .body(body);
    let answer = sent.send().await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = Response::new(Body::from(answer.bytes().await?));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

#[cfg(test)]
mod tests;
