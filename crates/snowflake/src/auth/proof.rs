//! What a request to the account's host carries.
//!
//! How it works: a [`Prover`] makes a [`Proof`] for each request. After a refusal it makes the next one from what has changed
//! since: a key file, what is known of the service's clock, a token file, another access token. Where nothing has, the two are
//! equal and nothing is sent again.

use std::sync::Arc;

use frazil_model::{Random, Secret};
use reqwest::RequestBuilder;

use super::kept::Kept;
use super::oauth::AccessTokens;
use super::{Authentication, Signer};
use crate::account;
use crate::client::SnowflakeConfig;
use crate::error::Error;
use crate::renewing::Renewing;
use crate::service_clock::ServiceClock;

/// JWTs whose times are as close as this are accepted or refused alike: they are dated back by more.
const SAME_TIME_MS: u64 = 5_000;

const WHAT: &str = "programmatic access token";

/// The kinds of proof, as the header names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    KeyPair,
    AccessToken,
    ProgrammaticAccessToken,
}

/// What a request proves itself with.
#[derive(Debug, Clone)]
pub(crate) struct Proof {
    pub(crate) token: Secret,
    pub(crate) kind: Kind,
    basis: Basis,
}

/// What a proof was made of: two of the same are refused alike.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Basis {
    Key { fingerprint: String, correction_ms: i64 },
    Token(Secret),
    Edition(u64),
}

impl Proof {
    /// Puts it into a request.
    pub(crate) fn sign(&self, request: RequestBuilder) -> RequestBuilder {
        let kind = match self.kind {
            Kind::KeyPair => "KEYPAIR_JWT",
            Kind::AccessToken => "OAUTH",
            Kind::ProgrammaticAccessToken => "PROGRAMMATIC_ACCESS_TOKEN",
        };
        request
            .bearer_auth(self.token.reveal())
            .header("X-Snowflake-Authorization-Token-Type", kind)
    }

    /// Whether it was made of something else.
    pub(crate) fn differs(&self, other: &Self) -> bool {
        match (&self.basis, &other.basis) {
            (
                Basis::Key {
                    fingerprint,
                    correction_ms,
                },
                Basis::Key {
                    fingerprint: other,
                    correction_ms: others_ms,
                },
            ) => fingerprint != other || correction_ms.abs_diff(*others_ms) > SAME_TIME_MS,
            (one, other) => one != other,
        }
    }
}

/// Who makes proofs.
pub(crate) enum Prover {
    KeyPair(Arc<Signer>),
    ProgrammaticAccessToken(Kept),
    OAuth(Renewing<AccessTokens>),
}

impl Prover {
    /// Reads what it needs. Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::BadKey`], [`Error::UnfinishedSecret`], [`Error::BadSecret`], [`Error::BadConfig`].
    pub(crate) fn new(
        config: &SnowflakeConfig,
        clock: &Arc<ServiceClock>,
        random: &Arc<dyn Random>,
    ) -> Result<Self, Error> {
        match &config.authentication {
            Authentication::KeyPair {
                private_key,
                passphrase,
            } => {
                let account = account::in_jwt(&config.account);
                let signer = Signer::new(&account, &config.user, private_key, passphrase.as_ref())?;
                Ok(Self::KeyPair(Arc::new(signer)))
            }
            Authentication::ProgrammaticAccessToken { token } => {
                Kept::new(WHAT, "token", &config.user, token).map(Self::ProgrammaticAccessToken)
            }
            Authentication::OAuth(oauth) => {
                let tokens = AccessTokens::new(config, oauth, clock)?;
                let renewing = Renewing::new(tokens, Arc::clone(clock.ours()), Arc::clone(random));
                Ok(Self::OAuth(renewing))
            }
        }
    }

    /// A proof for now; after a refusal, the next one.
    ///
    /// # Errors
    /// [`Error::BadKey`]; with OAuth those of the token endpoint.
    pub(crate) async fn prove(&self, clock: &ServiceClock, refused: Option<&Proof>) -> Result<Proof, Error> {
        match self {
            Self::KeyPair(signer) => {
                let correction_ms = clock.correction_ms();
                let jwt = signer
                    .jwt(clock.ours().wall_ms().saturating_add(correction_ms))
                    .await?;
                Ok(Proof {
                    token: jwt.text,
                    kind: Kind::KeyPair,
                    basis: Basis::Key {
                        fingerprint: jwt.fingerprint,
                        correction_ms,
                    },
                })
            }
            Self::ProgrammaticAccessToken(kept) => {
                let token = kept.now().await;
                Ok(Proof {
                    basis: Basis::Token(token.clone()),
                    kind: Kind::ProgrammaticAccessToken,
                    token,
                })
            }
            Self::OAuth(tokens) => {
                let refused = refused.and_then(|proof| match proof.basis {
                    Basis::Edition(edition) => Some(edition),
                    _ => None,
                });
                let current = tokens.get(refused).await?;
                Ok(Proof {
                    token: current.token,
                    kind: Kind::AccessToken,
                    basis: Basis::Edition(current.edition),
                })
            }
        }
    }

    /// What to look at where the user is refused.
    pub(crate) fn check(&self) -> &'static str {
        match self {
            Self::KeyPair(_) => {
                "that the public key of this private key is set on the user (`ALTER USER ... SET RSA_PUBLIC_KEY`)"
            }
            Self::ProgrammaticAccessToken(_) => {
                "that the programmatic access token is the user's, has not ended (`SHOW USER PROGRAMMATIC ACCESS TOKENS`), and \
                 that a network policy lets this machine use it"
            }
            Self::OAuth(_) => "that a security integration accepts the access token, and maps it to the user",
        }
    }
}
