//! The inside of the process over HTTP: state, metrics, health. Read only, without authentication, on loopback unless
//! configured otherwise.
//!
//! | path | answer |
//! |---|---|
//! | `GET /api/v1/state` | [`State`] as JSON |
//! | `GET /metrics` | metrics as OpenMetrics text |
//! | `GET /livez` | 200 as long as the process can answer |
//! | `GET /readyz` | 200 where every connector runs and no shard has stood still for over 60 s, else 503 and the reasons, one a line |
//!
//! It never waits for the way of the data: all it reads is the [`Board`], so it answers while every service hangs. At most
//! [`MOST_CONNECTIONS`] requests are answered at a time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::HttpConfig;
use crate::metrics::{CONTENT_TYPE, Metrics};
use crate::state::{Board, State};

/// The most requests that are answered at a time; more are refused with 503.
pub const MOST_CONNECTIONS: usize = 64;

/// The address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else has it, or the machine has no such address.
    #[error("cannot listen on {address}: {source}; choose another address as `http.listen`")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// It can be reached from other machines, and nobody allowed that.
    #[error("{address} can be reached from other machines; set `http.allow_remote: true` if that is meant")]
    Remote {
        /// The configured address.
        address: SocketAddr,
    },
}

#[derive(Clone)]
struct Sources {
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    places: Arc<Semaphore>,
}

/// A server that has its address and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    /// [`Error::Listen`] where it cannot be had, [`Error::Remote`] where it is not loopback and `allow_remote` is off.
    pub async fn bind(config: HttpConfig) -> Result<Self, Error> {
        let address = config.listen;
        if !address.ip().is_loopback() && !config.allow_remote {
            return Err(Error::Remote { address });
        }
        let failed = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The address it has, with the port that port 0 became.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until told to stop. What was being answered then is cut off when the process ends.
    ///
    /// # Errors
    /// Where the listener fails.
    pub async fn serve(
        self,
        board: Arc<Board>,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let sources = Sources {
            board,
            metrics,
            places: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
        };
        axum::serve(self.listener, router(sources))
            .with_graceful_shutdown(stop.cancelled_owned())
            .await
    }
}

fn router(sources: Sources) -> Router {
    Router::new()
        .route("/api/v1/state", get(state))
        .route("/metrics", get(metrics))
        .route("/readyz", get(ready))
        .route("/livez", get(|| async { "alive\n" }))
        .layer(axum::middleware::from_fn_with_state(sources.clone(), bounded))
        .with_state(sources)
}

async fn bounded(
    Shared(sources): Shared<Sources>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    match sources.places.try_acquire() {
        Ok(_place) => next.run(request).await,
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "too many requests at a time\n").into_response(),
    }
}

async fn state(Shared(sources): Shared<Sources>) -> Json<State> {
    Json(sources.board.state())
}

async fn metrics(Shared(sources): Shared<Sources>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], sources.metrics.render())
}

async fn ready(Shared(sources): Shared<Sources>) -> impl IntoResponse {
    let reasons = sources.board.state().not_ready();
    if reasons.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use frazil_model::event::Observer;
    use frazil_model::{Event, SystemClock, WorkerId};

    use super::*;

    fn loopback() -> HttpConfig {
        HttpConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            allow_remote: false,
        }
    }

    #[tokio::test]
    async fn state_metrics_and_health_are_served_over_http() {
        let board = Arc::new(Board::new(Arc::new(SystemClock), ["clicks"]));
        let metrics = Arc::new(Metrics::new(Arc::clone(&board), ["clicks"]));
        let server = Server::bind(loopback()).await.expect("a free port");
        let base = format!("http://{}", server.address());
        let stop = CancellationToken::new();
        let serving = tokio::spawn(server.serve(Arc::clone(&board), metrics, stop.clone()));
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let get = async |path: &str| {
            let answer = client
                .get(format!("{base}{path}"))
                .send()
                .await
                .expect("an answer");
            (answer.status().as_u16(), answer.text().await.expect("a text"))
        };
        assert_eq!(get("/livez").await, (200, "alive\n".to_owned()));
        assert_eq!(
            get("/readyz").await,
            (503, "connector clicks is starting\n".to_owned())
        );
        board.observe(
            "clicks",
            &Event::ConnectorStarted {
                worker: WorkerId::new("w").expect("valid"),
            },
        );
        assert_eq!(get("/readyz").await, (200, "ready\n".to_owned()));
        let (status, text) = get("/api/v1/state").await;
        let state: State = serde_json::from_str(&text).expect("the same types");
        assert_eq!((status, state.connectors[0].worker.as_deref()), (200, Some("w")));
        let (status, text) = get("/metrics").await;
        assert_eq!(status, 200);
        assert!(text.ends_with("# EOF\n"), "{text}");
        assert_eq!(get("/").await.0, 404);
        drop(client);
        stop.cancel();
        serving.await.expect("no panic").expect("it stopped");
    }

    #[tokio::test]
    async fn an_address_that_is_taken_or_remote_is_refused() {
        let first = Server::bind(loopback()).await.expect("a free port");
        let taken = HttpConfig {
            listen: first.address(),
            allow_remote: false,
        };
        assert!(matches!(Server::bind(taken).await, Err(Error::Listen { .. })));
        let remote = HttpConfig {
            listen: ([0, 0, 0, 0], 0).into(),
            allow_remote: false,
        };
        assert!(matches!(Server::bind(remote).await, Err(Error::Remote { .. })));
        Server::bind(HttpConfig {
            allow_remote: true,
            ..remote
        })
        .await
        .expect("allowed");
    }
}
