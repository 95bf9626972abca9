//! Keys of the user's surroundings: the SDK's default chain, or one profile.
//!
//! How it works: the SDK reads the files of a profile once and for all, so a chain is made for each look. That is once in
//! minutes ([`super::keys`]).
//!
//! What goes out for it (a token service, a profile's role) is reached as everything else of the connector is; metadata
//! services, which stand beside the machine, always directly.

use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::{ProvideCredentials, Result, future};

use super::Reach;
use crate::error::Error;

/// Where keys are looked for.
#[derive(Debug)]
pub(super) struct Chain {
    reach: Reach,
    profile: Option<String>,
}

impl Chain {
    pub(super) fn new(reach: &Reach, profile: Option<&String>) -> std::result::Result<Self, Error> {
        // Tried now, because a look can only fail.
        reach.http_client_beside_metadata()?;
        Ok(Self {
            reach: reach.clone(),
            profile: profile.cloned(),
        })
    }

    async fn look(&self) -> Result {
        let refused = |error: Error| {
            aws_credential_types::provider::error::CredentialsError::invalid_configuration(error.to_string())
        };
        let region = Region::new(self.reach.region.clone());
        let mut config = ProviderConfig::without_region()
            .with_region(Some(region.clone()))
            .with_use_fips(Some(self.reach.use_fips))
            .with_use_dual_stack(Some(self.reach.use_dual_stack));
        if let Some(client) = self.reach.http_client_beside_metadata().map_err(refused)? {
            config = config.with_http_client(client);
        }
        match &self.profile {
            // Not the chain: it would take keys of variables before those of the profile that was named.
            Some(name) => {
                let profile = ProfileFileCredentialsProvider::builder();
                let profile = profile.configure(&config).profile_name(name).build();
                profile.provide_credentials().await
            }
            None => {
                let chain = DefaultCredentialsChain::builder().region(region);
                chain.configure(config).build().await.provide_credentials().await
            }
        }
    }
}

impl ProvideCredentials for Chain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.look())
    }
}
