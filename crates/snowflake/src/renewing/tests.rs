use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use frazil_model::{PausedClock, SeededRandom};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Gives tokens that live an hour, or what a test has laid out, each after `takes`.
struct Fake {
    clock: PausedClock,
    takes: Mutex<Duration>,
    laid_out: Mutex<VecDeque<Result<Duration, Error>>>,
    asked: AtomicU64,
    at_once: AtomicU64,
    most_at_once: AtomicU64,
}

#[async_trait]
impl Issuer for Arc<Fake> {
    type Token = u64;
    const WHAT: &'static str = "test token";

    async fn issue(&self) -> Result<(u64, Duration), Error> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        let takes = *self.takes.lock().expect("no panic");
        if !takes.is_zero() {
            self.clock.sleep(takes).await;
        }
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        let laid_out = self.laid_out.lock().expect("no panic").pop_front();
        laid_out.unwrap_or(Ok(HOUR)).map(|life| (number, life))
    }
}

struct World {
    clock: PausedClock,
    fake: Arc<Fake>,
    tokens: Arc<Renewing<Arc<Fake>>>,
}

impl World {
    fn new() -> Self {
        let clock = PausedClock::at_wall_ms(1_700_000_000_000);
        let fake = Arc::new(Fake {
            clock: clock.clone(),
            takes: Mutex::default(),
            laid_out: Mutex::default(),
            asked: AtomicU64::new(0),
            at_once: AtomicU64::new(0),
            most_at_once: AtomicU64::new(0),
        });
        let tokens = Renewing::new(
            Arc::clone(&fake),
            Arc::new(clock.clone()),
            Arc::new(SeededRandom::new(1)),
        );
        Self {
            clock,
            fake,
            tokens: Arc::new(tokens),
        }
    }

    fn asked(&self) -> u64 {
        self.fake.asked.load(Ordering::SeqCst)
    }

    fn lay_out(&self, answer: Result<Duration, Error>) {
        self.fake.laid_out.lock().expect("no panic").push_back(answer);
    }

    async fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds)).await;
    }

    async fn get(&self) -> Result<u64, Error> {
        self.tokens.get(None).await.map(|current| current.token)
    }
}

fn down() -> Error {
    Error::ServerFault {
        call: "test",
        status: 503,
        message: String::new(),
    }
}

#[tokio::test]
async fn many_first_callers_share_one_renewal() {
    let world = World::new();
    *world.fake.takes.lock().expect("no panic") = Duration::from_secs(2);
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let tokens = Arc::clone(&world.tokens);
            tokio::spawn(async move { tokens.get(None).await.map(|current| current.token) })
        })
        .collect();
    world.pass(1).await;
    assert!(callers.iter().all(|caller| !caller.is_finished()));
    world.pass(1).await;
    for caller in callers {
        assert_eq!(caller.await.expect("no panic").expect("a token"), 1);
    }
    assert_eq!(world.asked(), 1);
}

#[tokio::test]
async fn a_renewal_that_hangs_keeps_nobody_waiting_while_the_token_is_good() {
    let world = World::new();
    assert_eq!(world.get().await.expect("a token"), 1);
    world.pass(55 * 60 - 1).await;
    assert_eq!(world.get().await.expect("a token"), 1);
    assert_eq!(world.asked(), 1, "not due yet");
    // It takes four of the five minutes that are left.
    *world.fake.takes.lock().expect("no panic") = Duration::from_secs(240);
    world.pass(1).await;
    for _ in 0..239 {
        // Answers at once: nothing here moves the clock.
        assert_eq!(world.get().await.expect("a token"), 1);
        world.pass(1).await;
    }
    assert_eq!(world.asked(), 2, "one renewal under way at a time");
    world.pass(1).await;
    assert_eq!(world.get().await.expect("a token"), 2);
    assert_eq!(world.fake.most_at_once.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn failed_renewals_stop_nobody_before_the_token_ends() {
    let world = World::new();
    world.get().await.expect("a token");
    world.pass(55 * 60).await;
    for _ in 0..10_000 {
        world.lay_out(Err(down()));
    }
    let mut answered = 0;
    for _ in 0..300 {
        assert_eq!(world.get().await.expect("still good"), 1);
        answered += 1;
        world.pass(1).await;
    }
    assert_eq!(answered, 300);
    // Backed off: waits up to 20 s each, and not once for each call.
    let tries = world.asked() - 1;
    assert!((15..100).contains(&tries), "{tries}");
    // Over now: callers get the failure, and still do not ask for each call.
    let before = world.asked();
    for _ in 0..100 {
        let failed = world.get().await.expect_err("over");
        assert!(
            matches!(failed, Error::ServerFault { status: 503, .. }),
            "{failed}"
        );
    }
    assert!(world.asked() - before <= 1, "{}", world.asked() - before);
    world.fake.laid_out.lock().expect("no panic").clear();
    world.pass(20).await;
    assert!(world.get().await.expect("renewed") > 1);
}

#[tokio::test]
async fn what_failed_for_those_who_waited_is_not_asked_again_by_each() {
    let world = World::new();
    *world.fake.takes.lock().expect("no panic") = Duration::from_secs(1);
    world.lay_out(Err(down()));
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let tokens = Arc::clone(&world.tokens);
            tokio::spawn(async move { tokens.get(None).await.is_err() })
        })
        .collect();
    world.pass(1).await;
    for caller in callers {
        assert!(caller.await.expect("no panic"));
    }
    assert_eq!(world.asked(), 1);
}

#[tokio::test]
async fn a_refused_token_is_not_used_again_and_renewed_once_for_all() {
    let world = World::new();
    let refused = world.tokens.get(None).await.expect("a token");
    for _ in 0..20 {
        let next = world.tokens.get(Some(refused.edition)).await.expect("a token");
        assert_eq!((next.token, next.edition), (2, 2));
    }
    assert_eq!(world.get().await.expect("a token"), 2);
    assert_eq!(world.asked(), 2);
}

#[tokio::test]
async fn short_lives_are_renewed_at_their_half() {
    let world = World::new();
    for _ in 0..3 {
        world.lay_out(Ok(Duration::from_secs(60)));
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..95 {
        seen.insert(world.get().await.expect("a token"));
        world.pass(1).await;
    }
    assert_eq!((world.asked(), seen.len()), (4, 4), "{seen:?}");
    // One that is over when it comes does not make anybody wait for ever.
    for _ in 0..9 {
        world.lay_out(Ok(Duration::ZERO));
    }
    let ended = world.tokens.get(Some(4)).await.map(|current| current.token);
    assert!(matches!(ended, Err(Error::BadAnswer { .. })), "{ended:?}");
}

#[tokio::test]
async fn a_service_that_asks_for_time_is_given_it() {
    let world = World::new();
    world.lay_out(Err(Error::Throttled {
        call: "test",
        retry_after: Some(Duration::from_secs(90)),
        message: String::new(),
    }));
    world.get().await.expect_err("throttled");
    for _ in 0..89 {
        world.pass(1).await;
        world.get().await.expect_err("throttled");
    }
    assert_eq!(world.asked(), 1);
    world.pass(1).await;
    world.get().await.expect("a token");
}
