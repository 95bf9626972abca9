//! The coordinator's loop.

use std::sync::Arc;
use std::time::Duration;

use frazil_model::{Backoff, Instant, RetryPolicy, ShardId};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::snapshot::{Life, Snapshot};
use super::{Shared, locked};
use crate::error::Error;
use crate::liveness::Liveness;
use crate::row::{NODE_PREFIX, WORKER_PREFIX};
use crate::state::Tenure;
use crate::store::Written;
use crate::update::Update;

/// How many rows are written at once.
pub(super) const WRITES_AT_ONCE: usize = 16;

/// This worker's heartbeat row.
#[derive(Debug)]
struct Heart {
    /// Its range key, once it is this worker's.
    key: Option<String>,
    beats: u64,
    next: Instant,
    failures: u32,
}

/// What a look leaves to do.
enum Look {
    Done,
    /// Another, full look, at once.
    Again,
}

pub(super) struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) candidates: watch::Receiver<Arc<Vec<ShardId>>>,
    pub(super) liveness: Liveness<Life, String>,
    heart: Heart,
    /// Workers' rows that were seen free.
    free_workers: Vec<String>,
    /// The workers' rows at the latest look: who is there, and whether dead.
    crew: Vec<(String, String, bool)>,
    /// There is something to take that only a full look can show.
    pub(super) hungry: bool,
    /// Waits between looks that fail.
    backoff: Backoff,
    candidates_end: bool,
}

impl Task {
    pub(super) fn new(shared: Arc<Shared>, candidates: watch::Receiver<Arc<Vec<ShardId>>>) -> Self {
        let (tick, look) = (shared.options.tick, shared.options.look);
        let next = shared.clock.now();
        Self {
            candidates,
            liveness: Liveness::new(tick * 2),
            heart: Heart {
                key: None,
                beats: 0,
                next,
                failures: 0,
            },
            free_workers: Vec::new(),
            crew: Vec::new(),
            hungry: false,
            backoff: RetryPolicy {
                first: look,
                cap: tick,
            }
            .start(),
            candidates_end: false,
            shared,
        }
    }

    pub(super) async fn run(mut self) {
        let mut stopping = self.shared.stopping.subscribe();
        let mut full = true;
        // Before the first beat, to find a row that an earlier worker left; the full look meets what this one meets.
        drop(self.crew_look().await);
        while !*stopping.borrow() {
            self.turn();
            full |= self.beat_if_due().await;
            full |= self.hungry || locked(&self.shared.pulse).must_read();
            full |= !locked(&self.shared.book).unconfirmed.is_empty();
            let looked = if full {
                self.full_look().await
            } else {
                self.crew_look().await
            };
            if matches!(looked, Ok(Look::Again)) {
                full = true;
                continue;
            }
            let wait = self.wait_after(looked);
            full = tokio::select! {
                () = self.shared.clock.sleep(wait) => false,
                () = self.shared.wake.notified() => true,
                changed = self.candidates.changed(), if !self.candidates_end => {
                    self.candidates_end = changed.is_err();
                    true
                }
                _ = stopping.changed() => false,
            };
        }
        self.shut_down().await;
        self.shared.ended.send_replace(true);
    }

    /// Notes that the loop is awake; after a sleep nothing is known of others.
    pub(super) fn turn(&mut self) {
        let now = self.shared.clock.now();
        if locked(&self.shared.pulse).turn(now) {
            tracing::info!(
                connector = self.shared.events.connector(),
                "this worker was asleep"
            );
            self.liveness.restart();
        }
    }

    /// Up to a tenth less than this, so that workers that began together do not stay in step.
    fn jittered(&self, time: Duration) -> Duration {
        time.mul_f64(0.9 + 0.1 * self.shared.random.fraction())
    }

    fn wait_after(&mut self, looked: Result<Look, Error>) -> Duration {
        match looked {
            Ok(_) => {
                self.backoff.reset();
                let until_beat = self.heart.next.since(self.shared.clock.now());
                self.jittered(self.shared.options.look).min(until_beat)
            }
            Err(error) => {
                self.shared
                    .tell_failure("look", None, &error, self.backoff.failures() + 1);
                self.backoff.next_wait(&*self.shared.random)
            }
        }
    }

    /// Beats once per tick. Answers whether it was due.
    async fn beat_if_due(&mut self) -> bool {
        let now = self.shared.clock.now();
        if now < self.heart.next {
            return false;
        }
        self.heart.next = now + self.jittered(self.shared.options.tick);
        let confirmed = match self.beat().await {
            Ok(()) => true,
            Err(error) => {
                self.heart.failures += 1;
                self.shared
                    .tell_failure("beat", None, &error, self.heart.failures);
                // The next look is a good time to try again.
                self.heart.next = now + self.shared.options.look;
                false
            }
        };
        self.turn();
        self.liveness.own_beat(confirmed);
        if confirmed {
            self.heart.failures = 0;
        }
        true
    }

    async fn beat(&mut self) -> Result<(), Error> {
        self.heart.beats += 1;
        let options = &self.shared.options;
        let (worker, beats, wall_ms) = (&options.worker, self.heart.beats, self.shared.clock.wall_ms());
        if let Some(key) = &self.heart.key {
            let update = Update::beat(key, worker, beats, wall_ms);
            if self.shared.update(&update).await? == Written::Done {
                return Ok(());
            }
            // It stood still for so long that another worker made the row free.
            self.heart.key = None;
        }
        // A row that an earlier worker left, else one of its own; the latter is nobody else's, so that one of two works.
        let own = format!("{WORKER_PREFIX}{worker}");
        let left = self.free_workers.pop();
        for key in left.into_iter().chain([own]) {
            let claim = Update::claim(&key, worker, &options.display_name, beats, wall_ms);
            let again = Update::beat(&key, worker, beats, wall_ms);
            // A claim whose answer was lost is refused the second time, and then a beat is not.
            for update in [claim, again] {
                if self.shared.update(&update).await? == Written::Done {
                    self.heart.key = Some(key);
                    return Ok(());
                }
            }
        }
        Err(Error::Rejected {
            call: "UpdateItem",
            detail: "no worker row can be claimed".to_owned(),
        })
    }

    async fn full_look(&mut self) -> Result<Look, Error> {
        let looked = self.shared.snapshot().await;
        self.turn();
        let snapshot = looked?;
        self.observe_crew(&snapshot);
        self.reconcile(&snapshot).await;
        // A sleep in the midst of it: what it read may be old.
        let slept = locked(&self.shared.pulse).must_read();
        Ok(if slept { Look::Again } else { Look::Done })
    }

    /// Looks at the workers' rows alone; if someone came, went or died, a full look is due.
    async fn crew_look(&mut self) -> Result<Look, Error> {
        let began = self.shared.clock.now();
        let rows = self.shared.store.rows(&self.shared.scope, NODE_PREFIX);
        let looked = self.shared.bounded("Query", rows).await;
        self.turn();
        let snapshot = Snapshot::of(&looked?, began);
        Ok(if self.observe_crew(&snapshot) {
            Look::Again
        } else {
            Look::Done
        })
    }

    /// Takes in who is there. Answers whether someone came, went or died since the last look.
    fn observe_crew(&mut self, snapshot: &Snapshot) -> bool {
        let now = self.shared.clock.now();
        for row in &snapshot.workers {
            self.liveness
                .observe(now, &Life::Worker(row.worker.clone()), row.beat.to_string());
        }
        for (key, heartbeat) in &snapshot.foreign_nodes {
            self.liveness
                .observe(now, &Life::ForeignNode(key.clone()), heartbeat.clone());
        }
        self.liveness.forget_unread(now, self.shared.options.timeout * 10);
        self.free_workers.clone_from(&snapshot.free_workers);
        let workers = snapshot.workers.iter();
        let mut crew: Vec<_> = workers
            .map(|row| {
                let dead = self.is_dead(&Life::Worker(row.worker.clone()));
                (row.key.clone(), row.worker.to_string(), dead)
            })
            .collect();
        crew.sort();
        let changed = crew != self.crew;
        self.crew = crew;
        changed
    }

    pub(super) fn is_dead(&self, life: &Life) -> bool {
        let limit = match life {
            Life::Worker(_) => self.shared.options.timeout,
            Life::ForeignNode(_) | Life::ForeignLease(_) => self.shared.options.foreign_still,
        };
        self.liveness.still(life) >= limit
    }

    /// Releases all, and makes the worker's row free.
    async fn shut_down(&mut self) {
        let shared = Arc::clone(&self.shared);
        let work = async {
            let held: Vec<Tenure> = shared
                .held
                .borrow()
                .values()
                .map(|held| held.tenure.clone())
                .collect();
            let unconfirmed: Vec<Tenure> = locked(&shared.book).unconfirmed.values().cloned().collect();
            let mut releases = JoinSet::new();
            for tenure in held.into_iter().chain(unconfirmed) {
                if releases.len() >= WRITES_AT_ONCE {
                    drop(releases.join_next().await);
                }
                let shared = Arc::clone(&shared);
                releases.spawn(async move { shared.release(&tenure).await });
            }
            while releases.join_next().await.is_some() {}
            if let Some(key) = &self.heart.key {
                let update = Update::retire(key, &shared.options.worker, None);
                if let Err(error) = shared.update(&update).await {
                    shared.tell_failure("retire", None, &error, 1);
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = shared.clock.sleep(shared.options.timeout / 2) => {
                tracing::warn!(connector = shared.events.connector(), "the lease table did not confirm the stop in time");
            }
        }
    }
}
