//! Statements under way and their results, for the SQL REST API and the drivers.
//!
//! Each statement runs in a task of its own, so that a client may leave and ask again by its handle, or cancel it; and on threads of
//! their own ([`STATEMENT_THREAD`]), so that one that computes for long, or that the planner panics on, takes nothing from the servers. A request
//! id that was seen answers with the statement it began, because clients repeat requests whose answer was lost. Results are
//! kept for a while: at most [`KEPT`] of them, [`KEPT_BYTES`] together; the oldest that are done go first.
//! When a statement ran is known for longer, to time travel.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::catalog::now_ms;
use super::sql::{Engine, Parameters, QueryResult, Session, SqlError};
use crate::STATEMENT_THREAD;

/// Statements that are kept.
const KEPT: usize = 256;
/// Bytes of cells that are kept.
const KEPT_BYTES: usize = 256 * 1024 * 1024;

/// Threads of an interface's statements.
const THREADS: usize = 2;
/// The stack of each, in bytes: statements nest.
const STACK: usize = 8 * 1024 * 1024;

/// The threads of one interface's statements.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Threads {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name(STATEMENT_THREAD)
            .thread_stack_size(STACK)
            .enable_all()
            .build();
        Self(
            runtime
                .inspect_err(|error| tracing::warn!(%error, "statements have no threads of their own"))
                .ok(),
        )
    }

    fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        match &self.0 {
            Some(runtime) => runtime.spawn(work),
            None => tokio::spawn(work),
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // It is dropped by a task, which must not wait; a statement that still computes ends with the process.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// What a statement came to, and the session behind it.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) result: Result<QueryResult, SqlError>,
    pub(crate) session: Session,
    /// Of its cells, counted once: each new statement asks all that are kept.
    bytes: usize,
}

impl Done {
    fn new(result: Result<QueryResult, SqlError>, session: Session) -> Self {
        let cells = result.iter().flat_map(|result| &result.rows).flatten();
        let bytes = cells.map(|cell| cell.as_ref().map_or(0, String::len) + 24).sum();
        Self {
            result,
            session,
            bytes,
        }
    }
}

/// A statement that was begun.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) handle: String,
    /// Whether its client asked for Arrow when it began.
    pub(crate) takes_arrow: bool,
    request_id: String,
    user: String,
    cancel: CancellationToken,
    done: watch::Receiver<Option<Arc<Done>>>,
}

impl Statement {
    /// Its outcome, if it comes within this time.
    pub(crate) async fn within(&self, limit: Duration) -> Option<Arc<Done>> {
        let mut done = self.done.clone();
        let waited = tokio::time::timeout(limit, done.wait_for(Option::is_some)).await;
        waited.ok()?.ok()?.clone()
    }

    /// Ends it, if it still runs.
    pub(crate) fn cancel(&self) {
        self.cancel.cancel();
    }

    fn bytes(&self) -> usize {
        self.done.borrow().as_ref().map_or(0, |done| done.bytes)
    }
}

/// The statements of one interface.
#[derive(Debug)]
pub(crate) struct Statements {
    engine: Engine,
    threads: Threads,
    kept: Mutex<VecDeque<Statement>>,
}

impl Statements {
    pub(crate) fn new(engine: Engine) -> Self {
        Self {
            engine,
            threads: Threads::start(),
            kept: Mutex::default(),
        }
    }

    /// Begins a statement; or answers the one that a request with this id began.
    pub(crate) fn begin(
        &self,
        session: Session,
        sql: String,
        parameters: Parameters,
        request_id: &str,
        takes_arrow: bool,
    ) -> Statement {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let again = |one: &&Statement| {
            !request_id.is_empty() && one.request_id == request_id && one.user == session.user
        };
        if let Some(begun) = kept.iter().find(again) {
            return begun.clone();
        }
        let (sender, done) = watch::channel(None);
        let statement = Statement {
            handle: Uuid::new_v4().to_string(),
            takes_arrow,
            request_id: request_id.to_owned(),
            user: session.user.clone(),
            cancel: CancellationToken::new(),
            done,
        };
        kept.push_back(statement.clone());
        forget_oldest(&mut kept);
        drop(kept);
        let (engine, cancel) = (self.engine.clone(), statement.cancel.clone());
        let handle = statement.handle.clone();
        let begun_ms = now_ms();
        let (runs, before) = (engine.clone(), session.clone());
        let mut running = self.threads.spawn(async move {
            let mut session = session;
            let result = runs.execute_with(&mut session, &sql, &parameters).await;
            (result, session)
        });
        tokio::spawn(async move {
            let (result, session) = tokio::select! {
                ended = &mut running => ended.unwrap_or_else(|_| (Err(SqlError::failed()), before)),
                () = cancel.cancelled() => {
                    running.abort();
                    (Err(SqlError::canceled()), before)
                }
            };
            engine.note(&handle, begun_ms);
            sender.send_replace(Some(Arc::new(Done::new(result, session))));
        });
        statement
    }

    /// A statement of this user by its handle.
    pub(crate) fn find(&self, handle: &str, user: &str) -> Option<Statement> {
        self.first(|one| one.handle == handle && one.user == user)
    }

    /// A statement of this user by the id of the request that began it.
    pub(crate) fn find_request(&self, request_id: &str, user: &str) -> Option<Statement> {
        self.first(|one| one.request_id == request_id && one.user == user)
    }

    fn first(&self, is_it: impl Fn(&Statement) -> bool) -> Option<Statement> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|one| is_it(one)).cloned()
    }
}

fn forget_oldest(kept: &mut VecDeque<Statement>) {
    let is_done = |one: &Statement| one.done.borrow().is_some();
    while kept.len() > KEPT || kept.iter().map(Statement::bytes).sum::<usize>() > KEPT_BYTES {
        let Some(oldest) = kept.iter().position(is_done) else {
            return;
        };
        kept.remove(oldest);
    }
}
