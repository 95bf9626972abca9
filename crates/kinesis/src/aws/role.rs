//! Credentials of an assumed role, from the AWS Security Token Service.
//!
//! Source: AWS STS API reference, `AssumeRole` (signed by the credentials that may assume it) and `AssumeRoleWithWebIdentity`
//! (unsigned; the token is the proof). The token's file is read anew each time, because Kubernetes replaces it. Nothing is
//! kept here: the clients keep credentials until shortly before their end.

use std::path::PathBuf;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, Result, future};
use aws_sdk_sts::Client;
use aws_sdk_sts::error::DisplayErrorContext;

use super::{Reach, Role, is_loopback};
use crate::error::Error;

/// Gives out credentials of a role.
#[derive(Debug)]
pub(super) struct AssumedRole {
    sts: Client,
    role: Role,
    token_file: Option<PathBuf>,
}

impl AssumedRole {
    /// Assumed by whoever `base` is.
    pub(super) fn by_credentials(
        base: &SdkConfig,
        role: Role,
        reach: &Reach,
    ) -> std::result::Result<Self, Error> {
        Self::new(base, role, None, reach)
    }

    /// Assumed by the bearer of a token.
    pub(super) fn by_token(
        base: &SdkConfig,
        role: Role,
        token_file: PathBuf,
        reach: &Reach,
    ) -> std::result::Result<Self, Error> {
        Self::new(base, role, Some(token_file), reach)
    }

    fn new(
        base: &SdkConfig,
        role: Role,
        token_file: Option<PathBuf>,
        reach: &Reach,
    ) -> std::result::Result<Self, Error> {
        let on_loopback = role.sts_endpoint.as_deref().is_some_and(is_loopback);
        let mut config = reach.applied(base.clone(), on_loopback)?;
        if let Some(address) = &role.sts_endpoint {
            config = config.into_builder().endpoint_url(address).build();
        }
        Ok(Self {
            sts: Client::new(&config),
            role,
            token_file,
        })
    }

    async fn assume(&self) -> Result {
        let Role {
            arn,
            external_id,
            session_name,
            ..
        } = &self.role;
        let refused = |error: String| {
            CredentialsError::provider_error(format!("role {arn} cannot be assumed: {error}"))
        };
        let given = match &self.token_file {
            None => {
                let call = self
                    .sts
                    .assume_role()
                    .role_arn(arn)
                    .role_session_name(session_name);
                let answer = call.set_external_id(external_id.clone()).send().await;
                let answer = answer.map_err(|error| refused(DisplayErrorContext(error).to_string()))?;
                answer.credentials
            }
            Some(path) => {
                let token = tokio::fs::read_to_string(path).await;
                let token = token.map_err(|error| refused(format!("token {}: {error}", path.display())))?;
                let call = self.sts.assume_role_with_web_identity().role_arn(arn);
                let call = call.role_session_name(session_name);
                let answer = call.web_identity_token(token.trim()).send().await;
                let answer = answer.map_err(|error| refused(DisplayErrorContext(error).to_string()))?;
                answer.credentials
            }
        };
        let given = given.ok_or_else(|| refused("the answer has no credentials".to_owned()))?;
        let end = std::time::SystemTime::try_from(given.expiration)
            .map_err(|_| refused("the end of the credentials cannot be read".to_owned()))?;
        let token = Some(given.session_token);
        Ok(Credentials::new(
            given.access_key_id,
            given.secret_access_key,
            token,
            Some(end),
            "assumed role",
        ))
    }
}

impl ProvideCredentials for AssumedRole {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.assume())
    }
}
