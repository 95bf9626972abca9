//! The keys of a connector: one cache for its clients of one kind, and for our own GetRecords.
//!
//! How it works: the SDK's own caches are off, every request asks here. Keys with an end are renewed five minutes ahead of
//! it, keys without one are looked at again every five minutes. Where they come from is read anew each time: the SDK's
//! chain reads the user's files once and for all, so a chain is made for each look.
//!
//! What it guarantees: keys that a service refused before their end are looked at again at once, in one place for all
//! clients, and at most every 5 s; keys that still hold are used while where they come from does not answer. Each wait for
//! that has a bound. Nothing here is ever shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, Result, future};
use frazil_model::{Clock, Instant, Keys};
use tokio::sync::Mutex;

use crate::error::{Error, NO_KEYS};

/// Keys with an end are renewed this long before it.
const AHEAD: Duration = Duration::from_secs(5 * 60);
/// Keys without an end are looked at again after this.
const AGAIN: Duration = Duration::from_secs(5 * 60);
/// Looks that nobody forced are at least this far apart, however short keys live and however long their source fails.
const APART: Duration = Duration::from_secs(10);
/// Looks that a refusal forces.
const FORCED_APART: Duration = Duration::from_secs(5);
/// How long a source is waited for: the SDK tries metadata services and the token service some times.
const PATIENCE: Duration = Duration::from_secs(30);
/// A failure answers all that ask within this, so that they do not wait for the source one after another.
const FAILED_FOR: Duration = Duration::from_secs(1);

/// Keys in use, and where they come from.
pub(crate) struct HeldKeys {
    source: Box<dyn ProvideCredentials>,
    clock: Arc<dyn Clock>,
    edition: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: Option<Known>,
    forced: Option<Instant>,
    failed: Option<(Instant, String)>,
}

struct Known {
    credentials: Credentials,
    look: Instant,
    end: Option<Instant>,
}

impl std::fmt::Debug for HeldKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[keys]")
    }
}

impl HeldKeys {
    pub(super) fn new(source: impl ProvideCredentials + 'static, clock: Arc<dyn Clock>) -> Self {
        Self {
            source: Box::new(source),
            clock,
            edition: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    async fn look(&self) -> Result {
        tokio::select! {
            given = self.source.provide_credentials() => given,
            () = self.clock.sleep(PATIENCE) => Err(CredentialsError::provider_timed_out(PATIENCE)),
        }
    }

    /// Puts keys to use.
    fn take(&self, state: &mut State, fresh: Credentials) {
        let now = self.clock.now();
        let wall = Duration::from_millis(u64::try_from(self.clock.wall_ms()).unwrap_or(0));
        let left = fresh.expiry().map(|end| {
            let end = end.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            end.saturating_sub(wall)
        });
        let wait = left.map_or(AGAIN, |left| left.saturating_sub(AHEAD).max(APART));
        if state
            .known
            .as_ref()
            .is_none_or(|known| is_other(&known.credentials, &fresh))
        {
            self.edition.fetch_add(1, Ordering::AcqRel);
        }
        state.failed = None;
        state.known = Some(Known {
            credentials: fresh,
            look: now + wait,
            end: left.map(|left| now + left),
        });
    }

    async fn current(&self) -> Result {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        if let Some(known) = state.known.as_ref().filter(|known| now < known.look) {
            return Ok(known.credentials.clone());
        }
        if let Some((at, why)) = &state.failed
            && now.since(*at) < FAILED_FOR
        {
            return Err(CredentialsError::provider_error(why.clone()));
        }
        let error = match self.look().await {
            Ok(fresh) => {
                self.take(&mut state, fresh.clone());
                return Ok(fresh);
            }
            Err(error) => error,
        };
        let (now, why) = (self.clock.now(), innermost(&error));
        if let Some(known) = &mut state.known
            && known.end.is_none_or(|end| now < end)
        {
            tracing::warn!(
                error = why,
                "credentials could not be renewed; those in use still hold"
            );
            known.look = now + APART;
            return Ok(known.credentials.clone());
        }
        state.failed = Some((now, why));
        Err(error)
    }
}

/// What lies at the bottom of a failure of a source.
pub(crate) fn innermost(error: &CredentialsError) -> String {
    let mut source: &dyn std::error::Error = error;
    while let Some(inner) = source.source() {
        source = inner;
    }
    source.to_string()
}

fn is_other(one: &Credentials, two: &Credentials) -> bool {
    let parts = |keys: &Credentials| {
        (
            keys.access_key_id().to_owned(),
            keys.secret_access_key().to_owned(),
            keys.session_token().map(ToOwned::to_owned),
        )
    };
    parts(one) != parts(two)
}

#[async_trait]
impl Keys for HeldKeys {
    fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }

    async fn renewed(&self, refused: u64) -> bool {
        let mut state = self.state.lock().await;
        // The first keys are given out within the first call: who asked before it was signed with those.
        if self.edition() > refused.max(1) {
            return true;
        }
        let now = self.clock.now();
        if state
            .forced
            .is_some_and(|forced| now.since(forced) < FORCED_APART)
        {
            return false;
        }
        let before = self.edition();
        match self.look().await {
            Ok(fresh) => self.take(&mut state, fresh),
            Err(error) => {
                tracing::warn!(
                    error = innermost(&error),
                    "refused credentials could not be renewed"
                );
            }
        }
        state.forced = Some(self.clock.now());
        let other = self.edition() != before;
        if other {
            tracing::info!("refused credentials were replaced");
        }
        other
    }
}

impl ProvideCredentials for HeldKeys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.current())
    }
}

/// Keys as the SDK wants them.
#[derive(Debug)]
pub(super) struct OfKeys(pub(super) Arc<HeldKeys>);

impl ProvideCredentials for OfKeys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        self.0.provide_credentials()
    }
}

/// Sends a call, and once more if its keys were refused and there are other ones now.
pub(crate) async fn renewing<T, F>(
    keys: &HeldKeys,
    work: impl Fn() -> F + Send,
) -> std::result::Result<T, Error>
where
    F: Future<Output = std::result::Result<T, Error>> + Send,
{
    let edition = keys.edition();
    match work().await {
        Err(Error::BadCredentials { code, .. }) if code != NO_KEYS && keys.renewed(edition).await => {
            work().await
        }
        done => done,
    }
}

#[cfg(test)]
mod tests;
