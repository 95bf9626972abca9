//! Region and credentials for AWS, once for all clients of a connector.
//!
//! With static credentials nothing of the user's own surroundings is looked at: no variable, no file, no metadata service.
//! That is what rehearsals use, and a test poisons the surroundings. Else it is the SDK's default chain, or one profile of
//! the user's AWS configuration.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use frazil_model::Secret;

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

/// The configuration for all AWS clients of a connector.
pub async fn sdk_config(region: &str, source: &CredentialsSource) -> SdkConfig {
    let region = Region::new(region.to_owned());
    match source {
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
    }
}
