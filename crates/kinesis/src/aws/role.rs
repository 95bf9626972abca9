//! Credentials of an assumed role, from the AWS Security Token Service.
//!
//! Source: AWS STS API reference, `AssumeRole` (signed by the credentials that may assume it) and `AssumeRoleWithWebIdentity`
//! (unsigned; the token is the proof). The token's file is read anew each time, because Kubernetes replaces it. Nothing is
//! kept here: see [`super::keys`]. Keys that the service does not take are looked for again, once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, Result, future};
use aws_sdk_sts::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::{Client, types};
use frazil_model::Keys as _;

use super::keys::HeldKeys;
use super::{Reach, Role, is_loopback, signed_with, unsigned};
use crate::error::Error;

/// Gives out credentials of a role.
#[derive(Debug)]
pub(super) struct AssumedRole {
    sts: Client,
    role: Role,
    who: Who,
}

/// Who assumes a role.
#[derive(Debug)]
enum Who {
    /// Whoever holds these keys.
    Keys(Arc<HeldKeys>),
    /// The bearer of the token in this file.
    Bearer(PathBuf),
}

impl AssumedRole {
    /// Assumed by whoever holds these keys.
    pub(super) fn by_keys(
        keys: Arc<HeldKeys>,
        role: Role,
        reach: &Reach,
    ) -> std::result::Result<Self, Error> {
        Self::new(&signed_with(&keys), role, Who::Keys(keys), reach)
    }

    /// Assumed by the bearer of a token.
    pub(super) fn by_token(
        role: Role,
        token_file: PathBuf,
        reach: &Reach,
    ) -> std::result::Result<Self, Error> {
        Self::new(&unsigned(), role, Who::Bearer(token_file), reach)
    }

    fn new(base: &SdkConfig, role: Role, who: Who, reach: &Reach) -> std::result::Result<Self, Error> {
        let on_loopback = role.sts_endpoint.as_deref().is_some_and(is_loopback);
        let mut config = reach.applied(base.clone(), on_loopback)?;
        if let Some(address) = &role.sts_endpoint {
            config = config.into_builder().endpoint_url(address).build();
        }
        Ok(Self {
            sts: Client::new(&config),
            role,
            who,
        })
    }

    fn refused(&self, error: &str) -> CredentialsError {
        CredentialsError::provider_error(format!("role {} cannot be assumed: {error}", self.role.arn))
    }

    async fn assume(&self) -> Result {
        let given = match &self.who {
            Who::Keys(keys) => {
                let edition = keys.edition();
                match self.by_signature().await {
                    Err(error) if is_of_keys(&error) && keys.renewed(edition).await => {
                        self.by_signature().await
                    }
                    done => done,
                }
                .map_err(|error| self.refused(&DisplayErrorContext(error).to_string()))?
            }
            Who::Bearer(path) => self.by_bearer(path).await?,
        };
        let given = given.ok_or_else(|| self.refused("the answer has no credentials"))?;
        let end = std::time::SystemTime::try_from(given.expiration)
            .map_err(|_| self.refused("the end of the credentials cannot be read"))?;
        let token = Some(given.session_token);
        Ok(Credentials::new(
            given.access_key_id,
            given.secret_access_key,
            token,
            Some(end),
            "assumed role",
        ))
    }

    async fn by_signature(
        &self,
    ) -> std::result::Result<Option<types::Credentials>, SdkError<AssumeRoleError>> {
        let call = self
            .sts
            .assume_role()
            .role_arn(&self.role.arn)
            .role_session_name(&self.role.session_name)
            .set_external_id(self.role.external_id.clone());
        Ok(call.send().await?.credentials)
    }

    async fn by_bearer(
        &self,
        path: &Path,
    ) -> std::result::Result<Option<types::Credentials>, CredentialsError> {
        let token = tokio::fs::read_to_string(path).await;
        let token = token.map_err(|error| self.refused(&format!("token {}: {error}", path.display())))?;
        let call = self
            .sts
            .assume_role_with_web_identity()
            .role_arn(&self.role.arn)
            .role_session_name(&self.role.session_name)
            .web_identity_token(token.trim());
        let answer = call.send().await;
        let answer = answer.map_err(|error| self.refused(&DisplayErrorContext(error).to_string()))?;
        Ok(answer.credentials)
    }
}

/// Whether the token service did not take the keys (AWS STS API reference, "Common errors").
fn is_of_keys(error: &SdkError<AssumeRoleError>) -> bool {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    matches!(
        code,
        Some(
            "ExpiredToken"
                | "ExpiredTokenException"
                | "InvalidClientTokenId"
                | "UnrecognizedClientException"
                | "SignatureDoesNotMatch"
        )
    )
}

impl ProvideCredentials for AssumedRole {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.assume())
    }
}
