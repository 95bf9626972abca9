//! Statements under way and their results, for the SQL REST API and the drivers.
//!
//! Each statement runs in a task of its own, so that a client may leave and ask again by its handle, or cancel it. A request
//! id that was seen answers with the statement it began, because clients repeat requests whose answer was lost. Results are
//! kept for a while: at most [`KEPT`] of them, [`KEPT_BYTES`] together; the oldest that are done go first.
//! When a statement ran is known for longer, to time travel.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::catalog::now_ms;
use super::sql::{Engine, Parameters, QueryResult, Session, SqlError};

/// Statements that are kept.
const KEPT: usize = 256;
/// Bytes of cells that are kept.
const KEPT_BYTES: usize = 256 * 1024 * 1024;

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
    kept: Mutex<VecDeque<Statement>>,
}

impl Statements {
    pub(crate) fn new(engine: Engine) -> Self {
        Self {
            engine,
            kept: Mutex::default(),
        }
    }

    /// Begins a statement; or answers the one that a request with this id began.
    pub(crate) fn begin(
        &self,
        mut session: Session,
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
        tokio::spawn(async move {
            let begun_ms = now_ms();
            let result = tokio::select! {
                result = engine.execute_with(&mut session, &sql, &parameters) => result,
                () = cancel.cancelled() => Err(SqlError::canceled()),
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
