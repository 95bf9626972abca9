//! When the committer works: a moment after a batch arrived, all tables side by side.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Committer, segments};
use crate::faults::{Faults, Service};
use crate::snowflake::iceberg;
use crate::snowflake::log::Log;
use crate::snowflake::model::SegmentKind;
use crate::snowflake::stage::Stage;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Commits of a table in one pass; what is left then waits for the next, so that the log is trimmed in between.
const ROUNDS: usize = 64;
/// How often garbage is looked for when nothing else happens.
const IDLE_PASS: Duration = Duration::from_secs(30);

/// The committer's task.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) committer: Arc<Committer>,
    pub(crate) log: Arc<Log>,
    pub(crate) stage: Arc<Stage>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) interval: Duration,
    pub(crate) stop: CancellationToken,
}

struct Retry {
    at: Instant,
    pause: Duration,
}

#[derive(Default)]
struct Progress {
    retries: HashMap<i64, Retry>,
    merging: Option<JoinHandle<()>>,
}

impl Runner {
    /// Commits until stopped; once more after that, unless a fault wants accepted rows to be lost.
    pub(crate) async fn run(self) {
        let mut progress = Progress::default();
        while !self.stop.is_cancelled() {
            let now = Instant::now();
            let pause = progress
                .retries
                .values()
                .map(|retry| retry.at.saturating_duration_since(now))
                .min();
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = self.committer.backlog.arrived() => {
                    if tokio::time::timeout(self.interval, self.stop.cancelled()).await.is_ok() { break }
                }
                () = tokio::time::sleep(pause.unwrap_or(IDLE_PASS)) => {}
            }
            if let Some(hit) = self.faults.hit(Service::Snowflake, "commit", "slow_commit")
                && tokio::time::timeout(hit.delay, self.stop.cancelled())
                    .await
                    .is_ok()
            {
                break;
            }
            self.pass(&mut progress).await;
            self.merge(&mut progress);
        }
        let lose = self.faults.hit(Service::Snowflake, "restart", "lose_accepted");
        if lose.is_none() {
            progress.retries.clear();
            self.pass(&mut progress).await;
        }
        if let Some(merging) = progress.merging {
            let _ = merging.await;
        }
    }

    /// Commits what waits in all tables that are not in a pause, side by side.
    async fn pass(&self, progress: &mut Progress) {
        let mut tables = self.committer.backlog.tables();
        progress.retries.retain(|table, _| tables.contains(table));
        let now = Instant::now();
        tables.retain(|table| progress.retries.get(table).is_none_or(|retry| retry.at <= now));
        let most = std::thread::available_parallelism().map_or(1, usize::from);
        let mut running = JoinSet::new();
        let mut table_of = HashMap::new();
        let mut tables = tables.into_iter();
        loop {
            while running.len() < most
                && let Some(table) = tables.next()
            {
                let committer = Arc::clone(&self.committer);
                let task = running.spawn_blocking(move || commit_table(&committer, table));
                table_of.insert(task.id(), table);
            }
            let Some(done) = running.join_next_with_id().await else {
                break;
            };
            let (task, outcome) = match done {
                Ok((task, outcome)) => (task, outcome.map_err(|error| error.to_string())),
                Err(panic) => (panic.id(), Err(panic.to_string())),
            };
            let Some(table) = table_of.remove(&task) else {
                continue;
            };
            self.note(progress, table, outcome);
        }
        let (committer, log) = (Arc::clone(&self.committer), Arc::clone(&self.log));
        let stage = Arc::clone(&self.stage);
        let tidy = tokio::task::spawn_blocking(move || {
            stage.sweep(Instant::now());
            log.trim()?;
            segments::collect_garbage(committer.disk.as_ref(), &committer.catalog)
        });
        if let Ok(Err(error)) = tidy.await {
            tracing::warn!(%error, "log or segment files not removed");
        }
    }

    fn note(&self, progress: &mut Progress, table: i64, outcome: Result<bool, String>) {
        match outcome {
            Ok(more) => {
                progress.retries.remove(&table);
                if more {
                    self.committer.backlog.poke();
                }
            }
            Err(reason) => {
                let before = progress.retries.get(&table);
                let pause = before.map_or(FIRST_PAUSE, |retry| (retry.pause * 2).min(LONGEST_PAUSE));
                tracing::error!(
                    table_id = table,
                    reason,
                    pause_ms = pause.as_millis(),
                    "commit failed"
                );
                progress.retries.insert(
                    table,
                    Retry {
                        at: Instant::now() + pause,
                        pause,
                    },
                );
            }
        }
    }

    /// Merges small segments beside the commits; one merge at a time.
    fn merge(&self, progress: &mut Progress) {
        if progress
            .merging
            .as_ref()
            .is_some_and(|merging| !merging.is_finished())
        {
            return;
        }
        let committer = Arc::clone(&self.committer);
        progress.merging = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = merge_tables(&committer) {
                tracing::warn!(%error, "small segments not merged");
            }
        }));
    }
}

/// Commits what waits in a table; true if there is more.
fn commit_table(committer: &Committer, table: i64) -> crate::Result<bool> {
    for _ in 0..ROUNDS {
        if !committer.commit_some(table)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn merge_tables(committer: &Committer) -> crate::Result<()> {
    for (table, kind) in committer.catalog.tables_with_segments(segments::MERGE_FROM)? {
        let (disk, catalog) = (committer.disk.as_ref(), &committer.catalog);
        let found = catalog.table_by_id(table)?;
        if kind == SegmentKind::Rows && found.as_ref().is_some_and(iceberg::is_it) {
            iceberg::merge_small(disk, catalog, table)?;
        } else {
            segments::merge_small(disk, catalog, table, kind)?;
        }
    }
    Ok(())
}
