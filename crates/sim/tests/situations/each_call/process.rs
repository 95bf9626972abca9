//! A worker as the outside sees it: a process that calls, and that can be killed or frozen at any of its calls.
//!
//! How it works: each remote call of any worker goes through [`Process::call`], which counts it under its name. Where the
//! [`Plan`] names this very call, a [`Kind`] of fault happens instead. A killed process never calls again and hears no answer;
//! a frozen one neither calls, nor hears an answer, nor wakes from a sleep until it thaws, while time goes on.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use frazil_model::{Clock, Instant, PausedClock};
use tokio::task::AbortHandle;

/// Longer than a lease timeout (30 s), and than the 34 s within which a dead worker's shards are taken.
const LONG: Duration = Duration::from_secs(45);
/// How long a caller waits for the answer of a request that is still on its way.
const PATIENCE: Duration = Duration::from_secs(5);
/// Long enough for a worker that thawed to have a share again.
const LONGER: Duration = Duration::from_secs(75);

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// It fails before its effect.
    Refused,
    /// It takes effect, and its answer is lost.
    AnswerLost,
    /// It takes effect, and its answer comes after more than a lease timeout.
    AnswerLate,
    /// The caller gives up, and the request takes effect after more than a lease timeout.
    RequestLate,
    /// The process dies before it.
    KilledBefore,
    /// It takes effect, and the process dies before it hears the answer.
    KilledAfter,
    /// The process stands still for more than a lease timeout, then calls.
    FrozenBefore,
    /// It takes effect, and the process stands still for more than a lease timeout before it hears the answer.
    FrozenAfter,
    /// The request is under way while the process stands still, and takes effect half a minute after it thawed.
    FrozenInFlight,
}

impl Kind {
    pub(crate) const ALL: [Self; 9] = [
        Self::Refused,
        Self::AnswerLost,
        Self::AnswerLate,
        Self::RequestLate,
        Self::KilledBefore,
        Self::KilledAfter,
        Self::FrozenBefore,
        Self::FrozenAfter,
        Self::FrozenInFlight,
    ];
}

/// A call: its name, and the how many-eth of that name it is, over all workers.
pub(crate) type Point = (&'static str, u64);

#[derive(Debug, Default)]
struct Calls {
    counts: BTreeMap<&'static str, u64>,
    hit: Vec<(Point, Kind)>,
}

/// Which calls meet which fault, and what was called.
#[derive(Debug)]
pub(crate) struct Plan {
    faults: HashMap<Point, Kind>,
    calls: Mutex<Calls>,
    pub(crate) clock: PausedClock,
}

impl Plan {
    pub(crate) fn new(faults: &[(Point, Kind)], clock: PausedClock) -> Self {
        Self {
            faults: faults.iter().copied().collect(),
            calls: Mutex::default(),
            clock,
        }
    }

    /// How often each call was made.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.counts.clone()
    }

    /// The faults that happened.
    pub(crate) fn hit(&self) -> Vec<(Point, Kind)> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.hit.clone()
    }

    fn meet(&self, name: &'static str) -> Option<Kind> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let count = calls.counts.entry(name).or_default();
        *count += 1;
        let point = (name, *count);
        let kind = self.faults.get(&point).copied()?;
        calls.hit.push((point, kind));
        Some(kind)
    }
}

/// How a process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Runs,
    FrozenUntil(Instant),
    Dead,
}

/// One worker's process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) number: u64,
    pub(crate) plan: Arc<Plan>,
    pub(crate) task: OnceLock<AbortHandle>,
    standing: Mutex<Standing>,
}

impl Process {
    pub(crate) fn new(number: u64, plan: Arc<Plan>) -> Self {
        Self {
            number,
            plan,
            task: OnceLock::new(),
            standing: Mutex::new(Standing::Runs),
        }
    }

    fn stand(&self, standing: Standing) {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    pub(crate) fn is_dead(&self) -> bool {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) == Standing::Dead
    }

    /// Returns when the process runs; never, if it is dead.
    async fn awake(&self) {
        loop {
            let standing = *self.standing.lock().unwrap_or_else(PoisonError::into_inner);
            match standing {
                Standing::Runs => return,
                Standing::Dead => std::future::pending().await,
                Standing::FrozenUntil(then) => {
                    let now = self.plan.clock.now();
                    if now >= then {
                        self.stand(Standing::Runs);
                    } else {
                        self.plan.clock.sleep(then.since(now)).await;
                    }
                }
            }
        }
    }

    fn freeze(&self) {
        self.stand(Standing::FrozenUntil(self.plan.clock.now() + LONG));
    }

    async fn die<T>(&self) -> T {
        self.stand(Standing::Dead);
        let task = self.task.get().expect("only a worker that was started calls");
        task.abort();
        std::future::pending().await
    }

    /// Makes a call, or lets its fault happen.
    pub(crate) async fn call<T: Send + 'static, E: Send + 'static>(
        &self,
        name: &'static str,
        lost: impl Fn() -> E + Send + Sync,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E> {
        self.awake().await;
        let clock = &self.plan.clock;
        let late = |work, by| {
            let clock = clock.clone();
            tokio::spawn(async move {
                clock.sleep(by).await;
                drop::<Result<T, E>>(Box::pin(work).await);
            });
        };
        let answer = match self.plan.meet(name) {
            None => work.await,
            Some(Kind::Refused) => Err(lost()),
            Some(Kind::AnswerLost) => {
                drop(work.await);
                Err(lost())
            }
            Some(Kind::AnswerLate) => {
                let answer = work.await;
                clock.sleep(LONG).await;
                answer
            }
            Some(Kind::RequestLate) => {
                late(work, LONG);
                clock.sleep(PATIENCE).await;
                Err(lost())
            }
            Some(Kind::KilledBefore) => self.die().await,
            Some(Kind::KilledAfter) => {
                drop(work.await);
                self.die().await
            }
            Some(Kind::FrozenBefore) => {
                self.freeze();
                self.awake().await;
                work.await
            }
            Some(Kind::FrozenAfter) => {
                let answer = work.await;
                self.freeze();
                answer
            }
            Some(Kind::FrozenInFlight) => {
                late(work, LONGER);
                self.freeze();
                Err(lost())
            }
        };
        self.awake().await;
        answer
    }
}

/// A process's clock: what sleeps in a frozen process wakes when it thaws.
#[derive(Debug)]
pub(crate) struct ProcessClock(pub(crate) Arc<Process>);

#[async_trait]
impl Clock for ProcessClock {
    fn now(&self) -> Instant {
        self.0.plan.clock.now()
    }

    fn wall_ms(&self) -> i64 {
        self.0.plan.clock.wall_ms()
    }

    async fn sleep(&self, time: Duration) {
        self.0.plan.clock.sleep(time).await;
        self.0.awake().await;
    }
}
