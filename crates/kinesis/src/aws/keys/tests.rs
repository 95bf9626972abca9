//! When keys are asked for, on a clock that stands still.

use std::sync::Mutex as Plain;
use std::sync::atomic::AtomicU32;
use std::time::SystemTime;

use frazil_model::PausedClock;

use super::*;

/// Gives out what stands in it, and counts.
#[derive(Debug, Default)]
struct Script {
    gives: Plain<Option<(String, Option<SystemTime>)>>,
    looks: AtomicU32,
}

impl Script {
    fn gives(&self, id: &str, end: Option<SystemTime>) {
        *self.gives.lock().expect("no panic inside") = Some((id.to_owned(), end));
    }

    fn fails(&self) {
        *self.gives.lock().expect("no panic inside") = None;
    }

    fn looks(&self) -> u32 {
        self.looks.load(Ordering::Acquire)
    }
}

#[derive(Debug)]
struct Source(Arc<Script>);

impl ProvideCredentials for Source {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        self.0.looks.fetch_add(1, Ordering::AcqRel);
        let gives = self.0.gives.lock().expect("no panic inside").clone();
        future::ProvideCredentials::ready(match gives {
            Some((id, end)) => Ok(Credentials::new(id, "canary", None, end, "test")),
            None => Err(CredentialsError::provider_error("no answer")),
        })
    }
}

const WALL_MS: i64 = 1_700_000_000_000;

fn held() -> (HeldKeys, Arc<Script>, Arc<PausedClock>) {
    let (script, clock) = (
        Arc::<Script>::default(),
        Arc::new(PausedClock::at_wall_ms(WALL_MS)),
    );
    let keys = HeldKeys::new(Source(Arc::clone(&script)), Arc::<PausedClock>::clone(&clock));
    (keys, script, clock)
}

fn wall(after: Duration) -> Option<SystemTime> {
    Some(SystemTime::UNIX_EPOCH + Duration::from_millis(WALL_MS.unsigned_abs()) + after)
}

async fn id(keys: &HeldKeys) -> String {
    keys.provide_credentials()
        .await
        .expect("keys")
        .access_key_id()
        .to_owned()
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn case_44_keys_are_renewed_five_minutes_ahead_of_their_end() {
    let (keys, script, clock) = held();
    script.gives("one", wall(60 * MINUTE));
    assert_eq!(id(&keys).await, "one");
    script.gives("two", wall(120 * MINUTE));
    clock.advance(54 * MINUTE).await;
    assert_eq!((id(&keys).await.as_str(), script.looks()), ("one", 1));
    clock.advance(2 * MINUTE).await;
    assert_eq!((id(&keys).await.as_str(), script.looks()), ("two", 2));
    assert_eq!(keys.edition(), 2);
    assert_eq!(format!("{keys:?}"), "[keys]");
}

#[tokio::test]
async fn case_44_keys_without_an_end_are_looked_at_every_five_minutes() {
    let (keys, script, clock) = held();
    script.gives("one", None);
    for _ in 0..3 {
        assert_eq!(id(&keys).await, "one");
    }
    script.gives("two", None);
    clock.advance(4 * MINUTE).await;
    assert_eq!((id(&keys).await.as_str(), script.looks()), ("one", 1));
    clock.advance(MINUTE).await;
    assert_eq!((id(&keys).await.as_str(), script.looks()), ("two", 2));
}

#[tokio::test]
async fn case_44_keys_that_hold_are_used_while_their_source_fails() {
    let (keys, script, clock) = held();
    script.gives("one", wall(10 * MINUTE));
    assert_eq!(id(&keys).await, "one");
    script.fails();
    clock.advance(6 * MINUTE).await;
    for _ in 0..5 {
        assert_eq!(id(&keys).await, "one", "it holds for four minutes more");
    }
    assert_eq!(script.looks(), 2, "not for each call");
    clock.advance(5 * MINUTE).await;
    let failed = keys.provide_credentials().await.expect_err("it is over");
    assert!(!format!("{failed:?}").contains("canary"));
    keys.provide_credentials().await.expect_err("and told again");
    assert_eq!(script.looks(), 3, "one failure answers all that ask at once");
    script.gives("two", wall(100 * MINUTE));
    clock.advance(FAILED_FOR).await;
    assert_eq!(id(&keys).await, "two");
}

#[tokio::test]
async fn case_44_keys_that_live_shortly_are_not_asked_for_with_each_call() {
    let (keys, script, clock) = held();
    script.gives("one", wall(MINUTE));
    for _ in 0..30 {
        id(&keys).await;
        clock.advance(Duration::from_secs(1)).await;
    }
    assert_eq!(script.looks(), 3);
}

#[tokio::test]
async fn case_44_a_refusal_is_looked_into_once_for_all_and_at_most_every_five_seconds() {
    let (keys, script, clock) = held();
    script.gives("one", wall(60 * MINUTE));
    assert_eq!(id(&keys).await, "one");
    script.gives("two", wall(60 * MINUTE));
    // Of many calls that were refused together, one looks.
    for refused in [1, 1, 0] {
        assert!(keys.renewed(refused).await);
    }
    assert_eq!(
        (id(&keys).await.as_str(), script.looks(), keys.edition()),
        ("two", 2, 2)
    );
    // The new ones are refused as well.
    assert!(!keys.renewed(2).await);
    assert_eq!(script.looks(), 2);
    clock.advance(FORCED_APART).await;
    assert!(!keys.renewed(2).await, "they are the same");
    assert_eq!(script.looks(), 3);
    clock.advance(FORCED_APART).await;
    script.fails();
    assert!(!keys.renewed(2).await);
    script.gives("three", None);
    clock.advance(FORCED_APART).await;
    assert!(keys.renewed(2).await);
    assert_eq!(id(&keys).await, "three");
}

#[tokio::test]
async fn case_44_a_source_that_hangs_is_given_up() {
    #[derive(Debug)]
    struct Hangs;
    impl ProvideCredentials for Hangs {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(std::future::pending())
        }
    }
    let clock = Arc::new(PausedClock::at_wall_ms(WALL_MS));
    let keys = HeldKeys::new(Hangs, Arc::<PausedClock>::clone(&clock));
    let (given, ()) = tokio::join!(keys.provide_credentials(), clock.advance(PATIENCE));
    assert!(
        matches!(given, Err(CredentialsError::ProviderTimedOut(_))),
        "{given:?}"
    );
}
