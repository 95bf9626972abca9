//! Region and credentials for AWS, once for all clients of a connector.
//!
//! With static credentials nothing of the user's own surroundings is looked at: no variable, no file, no metadata service;
//! and services on loopback are reached without any proxy of the user's. That is what rehearsals use, and a test poisons the
//! surroundings. Else it is the SDK's default chain, one profile of the user's AWS configuration, or a role assumed by one of
//! these or by the bearer of a token. Region and addresses are those of the configuration in every case.
//!
//! Keys may rotate while a worker runs: they are renewed ahead of their end, and looked for again when a service refuses
//! them.

mod chain;
pub(crate) mod keys;
mod reach;
mod role;

use std::path::PathBuf;
use std::sync::Arc;

use aws_config::BehaviorVersion;
pub use aws_config::SdkConfig;
use aws_config::identity::IdentityCache;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use frazil_model::{Clock, Keys, Secret};
use url::{Host, Url};

use chain::Chain;
use keys::{HeldKeys, OfKeys};
pub use reach::Reach;
use role::AssumedRole;

use crate::error::Error;

/// Where credentials come from.
#[derive(Debug, Clone)]
pub enum CredentialsSource {
    /// The SDK's default chain.
    Default,
    /// These, and nothing of the surroundings.
    Static {
        /// The id.
        access_key_id: String,
        /// The key.
        secret_access_key: Secret,
        /// The token of temporary credentials.
        session_token: Option<Secret>,
    },
    /// A profile of the user's AWS configuration files.
    Profile(String),
    /// A role that others may assume; its credentials are renewed ahead of their end.
    Role {
        /// Who assumes it.
        base: Box<CredentialsSource>,
        /// The role.
        role: Role,
    },
    /// A role for the bearer of a token.
    WebIdentity {
        /// Where the token stands; read again for each renewal.
        token_file: PathBuf,
        /// The role.
        role: Role,
    },
}

/// A role to assume (AWS Security Token Service API reference, `AssumeRole`, `AssumeRoleWithWebIdentity`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// What its trust policy asks for.
    pub external_id: Option<String>,
    /// How the session is called.
    pub session_name: String,
    /// Another address of the token service.
    pub sts_endpoint: Option<String>,
}

/// Whether an address is on this machine.
#[must_use]
pub fn is_loopback(address: &str) -> bool {
    let Ok(url) = Url::parse(address) else {
        return false;
    };
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// What all AWS clients of a connector are made of.
#[derive(Debug, Clone)]
pub struct Aws {
    keys: Arc<HeldKeys>,
    reach: Reach,
    on_loopback: bool,
}

impl Aws {
    /// Region, credentials and ways of clients which speak to these endpoints (none: the service's own).
    ///
    /// # Errors
    /// [`Error::BadConfig`] where the proxy or the certificates cannot be used.
    pub fn new(
        reach: Reach,
        source: &CredentialsSource,
        endpoints: &[Option<&str>],
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        reach.check()?;
        let on_loopback = endpoints.iter().all(|endpoint| endpoint.is_some_and(is_loopback));
        Ok(Self {
            keys: held(&reach, source, clock)?,
            reach,
            on_loopback,
        })
    }

    /// The SDK's configuration. Each has an HTTP client of its own, and so connections of its own.
    ///
    /// # Errors
    /// [`Error::BadConfig`].
    pub fn sdk(&self) -> Result<SdkConfig, Error> {
        self.reach.applied(signed_with(&self.keys), self.on_loopback)
    }

    /// The keys that all clients of this sign with.
    #[must_use]
    pub fn keys(&self) -> Arc<dyn Keys> {
        Arc::clone(&self.keys) as Arc<dyn Keys>
    }

    pub(crate) fn held_keys(&self) -> Arc<HeldKeys> {
        Arc::clone(&self.keys)
    }

    pub(crate) fn reach(&self) -> &Reach {
        &self.reach
    }
}

/// The keys of a source, with a cache.
fn held(reach: &Reach, source: &CredentialsSource, clock: &Arc<dyn Clock>) -> Result<Arc<HeldKeys>, Error> {
    let clock_of_keys = Arc::clone(clock);
    let keys = match source {
        CredentialsSource::Static {
            access_key_id,
            secret_access_key,
            session_token,
        } => {
            let token = session_token.as_ref().map(|token| token.reveal().to_owned());
            let secret = secret_access_key.reveal();
            let credentials = Credentials::new(access_key_id, secret, token, None, "frazil configuration");
            HeldKeys::new(credentials, clock_of_keys)
        }
        CredentialsSource::Default => HeldKeys::new(Chain::new(reach, None)?, clock_of_keys),
        CredentialsSource::Profile(name) => HeldKeys::new(Chain::new(reach, Some(name))?, clock_of_keys),
        CredentialsSource::Role { base, role } => {
            let base = held(reach, base, clock)?;
            HeldKeys::new(AssumedRole::by_keys(base, role.clone(), reach)?, clock_of_keys)
        }
        CredentialsSource::WebIdentity { token_file, role } => {
            let role = AssumedRole::by_token(role.clone(), token_file.clone(), reach)?;
            HeldKeys::new(role, clock_of_keys)
        }
    };
    Ok(Arc::new(keys))
}

/// Nothing of the surroundings; the region is put in with the rest of how services are reached.
fn unsigned() -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .build()
}

fn signed_with(keys: &Arc<HeldKeys>) -> SdkConfig {
    let provider = SharedCredentialsProvider::new(OfKeys(Arc::clone(keys)));
    // The keys are their own cache: the SDK's would keep what was refused.
    unsigned()
        .into_builder()
        .credentials_provider(provider)
        .identity_cache(IdentityCache::no_cache())
        .build()
}

#[cfg(test)]
mod tests;
