//! When the committer works: a moment after a batch arrived, all tables side by side.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Committer, segments};
use crate::faults::{Faults, Service};
use crate::snowflake::log::Log;

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
    pub(crate) faults: Arc<Faults>,
    pub(crate) interval: Duration,
    pub(crate) stop: CancellationToken,
}

struct Retry {
    at: Instant,
    pause: Duration,
}

impl Runner {
    /// Commits until stopped; once more after that, unless a fault wants accepted rows to be lost.
    pub(crate) async fn run(self) {
        let mut retries: HashMap<i64, Retry> = HashMap::new();
        while !self.stop.is_cancelled() {
            let pause = retries.values().map(|retry| retry.at.saturating_duration_since(Instant::now())).min();
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = self.committer.backlog.arrived() => {
                    if tokio::time::timeout(self.interval, self.stop.cancelled()).await.is_ok() { break }
                }
                () = tokio::time::sleep(pause.unwrap_or(IDLE_PASS)) => {}
            }
            if let Some(hit) = self.faults.hit(Service::Snowflake, "commit", "slow_commit") {
                let _ = tokio::time::timeout(hit.delay, self.stop.cancelled()).await;
            }
            self.pass(&mut retries).await;
        }
        if !self.faults.has(Service::Snowflake, "lose_accepted") {
            self.pass(&mut HashMap::new()).await;
        }
    }

    /// Commits what waits in all tables that are not in a pause.
    async fn pass(&self, retries: &mut HashMap<i64, Retry>) {
        let mut tables = self.committer.backlog.tables();
        retries.retain(|table, _| tables.contains(table));
        tables.retain(|table| retries.get(table).is_none_or(|retry| retry.at <= Instant::now()));
        let most = std::thread::available_parallelism().map_or(1, usize::from);
        let mut running = JoinSet::new();
        let mut tables = tables.into_iter();
        loop {
            while running.len() < most
                && let Some(table) = tables.next()
            {
                let committer = Arc::clone(&self.committer);
                running.spawn_blocking(move || (table, commit_table(&committer, table)));
            }
            let Some(done) = running.join_next().await else { break };
            let Ok((table, outcome)) = done else { continue };
            match outcome {
                Ok(()) => drop(retries.remove(&table)),
                Err(error) => {
                    let pause = retries.get(&table).map_or(FIRST_PAUSE, |retry| (retry.pause * 2).min(LONGEST_PAUSE));
                    tracing::error!(table_id = table, %error, pause_ms = pause.as_millis(), "commit failed");
                    retries.insert(table, Retry { at: Instant::now() + pause, pause });
                }
            }
        }
        if !self.committer.backlog.tables().is_empty() {
            self.committer.backlog.poke();
        }
        let (committer, log) = (Arc::clone(&self.committer), Arc::clone(&self.log));
        let tidy = tokio::task::spawn_blocking(move || {
            log.trim()?;
            segments::collect_garbage(committer.disk.as_ref(), &committer.catalog)
        });
        if let Ok(Err(error)) = tidy.await {
            tracing::warn!(%error, "log or segment files not removed");
        }
    }
}

fn commit_table(committer: &Committer, table: i64) -> crate::Result<()> {
    for _ in 0..ROUNDS {
        if !committer.commit_some(table)? {
            break;
        }
    }
    if let Err(error) = segments::merge_small(committer.disk.as_ref(), &committer.catalog, table) {
        tracing::warn!(table_id = table, %error, "small segments not merged");
    }
    Ok(())
}
