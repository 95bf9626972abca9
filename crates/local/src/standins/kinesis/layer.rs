//! The layer before the router: nothing is answered before it is on disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use ferrokinesis::store::Store;
use http::{HeaderMap, StatusCode};
use tokio::sync::{Mutex, Notify, RwLock};
use tokio_util::sync::CancellationToken;

use super::journal::Journal;
use super::state::{Command, StateFile};
use crate::aws::{self, BODY_LIMIT};
use crate::{Error, Result};

const SETTLE_EVERY: Duration = Duration::from_millis(100);

/// What the layer keeps.
#[derive(Debug)]
pub(super) struct Durable {
    store: StoreHandle,
    journal: Journal,
    folder: PathBuf,
    file: Mutex<StateFile>,
    /// A call is under way.
    unsettled: AtomicBool,
    called: Notify,
    /// Puts hold it shared until they are on disk; readers pass through it alone before they answer.
    puts: RwLock<()>,
}

struct StoreHandle(Store);

impl std::fmt::Debug for StoreHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Store")
    }
}

impl Durable {
    pub(super) fn new(store: Store, journal: Journal, folder: PathBuf, file: StateFile) -> Self {
        let unsettled = AtomicBool::new(!file.pending.is_empty());
        Self {
            store: StoreHandle(store),
            journal,
            folder,
            file: Mutex::new(file),
            unsettled,
            called: Notify::new(),
            puts: RwLock::new(()),
        }
    }

    /// Follows calls that take their time until they are complete.
    pub(super) async fn settle_all(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if self.unsettled.load(Ordering::Acquire) {
                let _ = tokio::time::timeout(SETTLE_EVERY, stop.cancelled()).await;
                if let Err(error) = self.settle().await {
                    tracing::error!(%error, "kinesis state not written");
                }
            } else {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = self.called.notified() => {}
                }
            }
        }
    }

    /// While a call is under way: brings the file up to date.
    async fn settle(&self) -> Result<()> {
        if !self.unsettled.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut file = self.file.lock().await;
        self.refresh(&mut file).await
    }

    async fn refresh(&self, file: &mut StateFile) -> Result<()> {
        file.refresh(&self.store.0).await;
        let pending = !file.pending.is_empty();
        if pending {
            self.unsettled.store(true, Ordering::Release);
        }
        let (kept, folder) = (file.clone(), self.folder.clone());
        tokio::task::spawn_blocking(move || kept.write(&folder))
            .await
            .map_err(|_| Error::Stopping)??;
        // Not before it is on disk: a put that finds nothing under way is answered.
        self.unsettled.store(pending, Ordering::Release);
        Ok(())
    }

    async fn put(&self, request: Request, next: Next) -> Result<Response> {
        let _shared = self.puts.read().await;
        let response = next.run(request).await;
        if response.status().is_success() {
            self.journal.sync().await?;
            self.settle().await?;
        }
        Ok(response)
    }

    async fn read(&self, request: Request, next: Next) -> Result<Response> {
        self.settle().await?;
        let response = next.run(request).await;
        drop(self.puts.write().await);
        Ok(response)
    }

    async fn change(&self, request: Request, next: Next) -> Result<Response> {
        let mut file = self.file.lock().await;
        let (head, body) = request.into_parts();
        let Ok(body) = axum::body::to_bytes(body, BODY_LIMIT).await else {
            return Ok(status(StatusCode::PAYLOAD_TOO_LARGE));
        };
        let command = Command {
            target: text(&head.headers, "x-amz-target"),
            content_type: text(&head.headers, "content-type"),
            body: body.to_vec(),
            records_from: self.journal.length()?,
        };
        let response = next.run(Request::from_parts(head, Body::from(body))).await;
        if response.status().is_success() {
            file.pending.push(command);
            self.refresh(&mut file).await?;
            self.called.notify_one();
        }
        Ok(response)
    }
}

/// Puts the layer before a router.
pub(super) fn wrap(router: Router, durable: Arc<Durable>) -> Router {
    router.layer(axum::middleware::from_fn_with_state(durable, apply))
}

async fn apply(State(durable): State<Arc<Durable>>, request: Request, next: Next) -> Response {
    let operation = aws::operation(&request).unwrap_or_default().to_owned();
    // A task of its own: a client that goes away must not stop a call between its effect and the disk.
    let call = tokio::spawn(async move {
        match operation.as_str() {
            "PutRecord" | "PutRecords" => durable.put(request, next).await,
            "GetRecords" => durable.read(request, next).await,
            name if name.starts_with("Describe")
                || name.starts_with("List")
                || name.starts_with("Get")
                || name == "SubscribeToShard"
                || name.is_empty() =>
            {
                durable.settle().await?;
                Ok(next.run(request).await)
            }
            _ => durable.change(request, next).await,
        }
    });
    match call.await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            tracing::error!(%error, "kinesis call is not on disk");
            status(StatusCode::INTERNAL_SERVER_ERROR)
        }
        Err(_) => status(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

fn status(status: StatusCode) -> Response {
    let mut response = Response::new(Body::from(r#"{"__type":"InternalFailure"}"#));
    *response.status_mut() = status;
    response
}
