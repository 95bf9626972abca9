//! Region and credentials for AWS, once for all clients of a connector.
//!
//! With static credentials nothing of the user's own surroundings is looked at: no variable, no file, no metadata service;
//! and services on loopback are reached without any proxy of the user's. That is what rehearsals use, and a test poisons the
//! surroundings. Else it is the SDK's default chain, one profile of the user's AWS configuration, or a role assumed by one of
//! these or by the bearer of a token. Every client asks again ahead of the end of what it was given, so that keys may
//! rotate while a worker runs.

mod reach;
mod role;

use std::path::PathBuf;

pub use aws_config::SdkConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use frazil_model::Secret;
use url::{Host, Url};

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
    signed: SdkConfig,
    reach: Reach,
    on_loopback: bool,
}

impl Aws {
    /// Region, credentials and ways of clients which speak to these endpoints (none: the service's own).
    ///
    /// # Errors
    /// [`Error::BadConfig`] where the proxy or the certificates cannot be used.
    pub async fn new(
        reach: Reach,
        source: &CredentialsSource,
        endpoints: &[Option<&str>],
    ) -> Result<Self, Error> {
        reach.check()?;
        let signed = signed_by(&reach, source).await?;
        let on_loopback = endpoints.iter().all(|endpoint| endpoint.is_some_and(is_loopback));
        Ok(Self {
            signed,
            reach,
            on_loopback,
        })
    }

    /// The SDK's configuration. Each has an HTTP client of its own, and so connections of its own.
    ///
    /// # Errors
    /// [`Error::BadConfig`].
    pub fn sdk(&self) -> Result<SdkConfig, Error> {
        self.reach.applied(self.signed.clone(), self.on_loopback)
    }

    pub(crate) fn reach(&self) -> &Reach {
        &self.reach
    }
}

async fn signed_by(reach: &Reach, source: &CredentialsSource) -> Result<SdkConfig, Error> {
    let region = reach.region.as_str();
    let defaults = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(region.to_owned()));
    Ok(match source {
        CredentialsSource::Static {
            access_key_id,
            secret_access_key,
            session_token,
        } => {
            let token = session_token.as_ref().map(|token| token.reveal().to_owned());
            let secret = secret_access_key.reveal();
            let credentials = Credentials::new(access_key_id, secret, token, None, "frazil configuration");
            bare(region)
                .into_builder()
                .credentials_provider(SharedCredentialsProvider::new(credentials))
                .build()
        }
        CredentialsSource::Default => defaults.load().await,
        CredentialsSource::Profile(name) => defaults.profile_name(name).load().await,
        CredentialsSource::Role { base, role } => {
            let base = Box::pin(signed_by(reach, base)).await?;
            let provider = AssumedRole::by_credentials(&base, role.clone(), reach)?;
            assumed(base, provider)
        }
        CredentialsSource::WebIdentity { token_file, role } => {
            let base = bare(region);
            let provider = AssumedRole::by_token(&base, role.clone(), token_file.clone(), reach)?;
            assumed(base, provider)
        }
    })
}

/// Nothing of the surroundings.
fn bare(region: &str) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .build()
}

fn assumed(base: SdkConfig, provider: AssumedRole) -> SdkConfig {
    let provider = SharedCredentialsProvider::new(provider);
    base.into_builder().credentials_provider(provider).build()
}

#[cfg(test)]
mod tests;
