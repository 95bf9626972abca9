//! Region and credentials for AWS, once for all clients of a connector.
//!
//! With static credentials nothing of the user's own surroundings is looked at: no variable, no file, no metadata service;
//! and services on loopback are reached without any proxy of the user's. That is what rehearsals use, and a test poisons the
//! surroundings. Else it is the SDK's default chain, or one profile of
//! the user's AWS configuration.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, Connector};
use frazil_model::Secret;
use url::{Host, Url};

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

/// The configuration for all AWS clients of a connector, which speak to these endpoints (none: the service's own).
pub async fn sdk_config(region: &str, source: &CredentialsSource, endpoints: &[Option<&str>]) -> SdkConfig {
    let region = Region::new(region.to_owned());
    let config = match source {
        CredentialsSource::Static {
            access_key_id,
            secret_access_key,
            session_token,
        } => {
            let token = session_token.as_ref().map(|token| token.reveal().to_owned());
            let credentials = Credentials::new(
                access_key_id,
                secret_access_key.reveal(),
                token,
                None,
                "frazil configuration",
            );
            SdkConfig::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(region)
                .credentials_provider(SharedCredentialsProvider::new(credentials))
                .build()
        }
        CredentialsSource::Default => {
            aws_config::defaults(BehaviorVersion::latest())
                .region(region)
                .load()
                .await
        }
        CredentialsSource::Profile(name) => {
            aws_config::defaults(BehaviorVersion::latest())
                .region(region)
                .profile_name(name)
                .load()
                .await
        }
    };
    if !endpoints.iter().all(|endpoint| endpoint.is_some_and(is_loopback)) {
        return config;
    }
    let direct = Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = Connector::builder().proxy_config(ProxyConfig::disabled());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .build()
    });
    config.into_builder().http_client(direct).build()
}
