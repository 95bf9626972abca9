//! A user who signs with a key pair: JWTs for the account's host, with the key that its source holds at that time.
//!
//! How it works: key and passphrase are read again for each JWT, and parsed where they differ from those in use. What cannot
//! be used then (half written, gone, of another passphrase) leaves the key in use, and is told once.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use frazil_model::Secret;

use super::SecretSource;
use super::key::{Key, Trouble};
use crate::error::Error;

/// How long a JWT is valid. The service takes at most an hour (docs.snowflake.com, "SQL REST API: authenticating"); less
/// leaves room for a clock that is ahead.
const LIFETIME_S: i64 = 55 * 60;
/// A JWT is dated back, for what the measure of the service's clock does not know.
const DATED_BACK_S: i64 = 60;

/// A user who signs.
pub(crate) struct Signer {
    account: String,
    user: String,
    private_key: SecretSource,
    passphrase: Option<SecretSource>,
    held: Mutex<Held>,
}

/// The key in use, and what was read last.
struct Held {
    key: Arc<Key>,
    texts: Texts,
    /// What did not become a key, so that it is neither parsed nor told again.
    refused: Option<(Option<Texts>, String)>,
}

#[derive(Clone, PartialEq, Eq)]
struct Texts {
    key: Secret,
    passphrase: Option<Secret>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("account", &self.account)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A JWT, and which key signed it.
#[derive(Debug)]
pub(crate) struct Jwt {
    pub(crate) text: Secret,
    pub(crate) fingerprint: String,
}

/// The public half of a private key, in base64; none where there is no key that can be used.
pub(crate) fn public_key(private_key: &SecretSource, passphrase: Option<&SecretSource>) -> Option<String> {
    Texts::read(private_key, passphrase).ok()?.parse().ok()?.public()
}

impl Signer {
    /// Reads the key. `account` is its name in JWTs.
    ///
    /// # Errors
    /// [`Error::BadKey`] where the file cannot be read or holds no RSA private key in PEM, or one of another passphrase;
    /// [`Error::UnfinishedSecret`].
    pub(crate) fn new(
        account: &str,
        user: &str,
        private_key: &SecretSource,
        passphrase: Option<&SecretSource>,
    ) -> Result<Self, Error> {
        let bad = |detail: String| Error::BadKey {
            user: user.to_owned(),
            detail,
        };
        let texts = Texts::read(private_key, passphrase).map_err(bad)?;
        let key = match texts.parse() {
            Ok(key) => key,
            Err(Trouble::Incomplete) => {
                let name = private_key.describe("private_key");
                return Err(Error::UnfinishedSecret {
                    what: "private key",
                    user: user.to_owned(),
                    detail: format!("{name}: {}", Trouble::Incomplete.detail()),
                });
            }
            Err(trouble) => {
                let name = private_key.describe("private_key");
                return Err(bad(format!("{name}: {}", trouble.detail())));
            }
        };
        Ok(Self {
            account: account.to_owned(),
            user: user.to_uppercase(),
            private_key: private_key.clone(),
            passphrase: passphrase.cloned(),
            held: Mutex::new(Held {
                key: Arc::new(key),
                texts,
                refused: None,
            }),
        })
    }

    /// A JWT for requests to the account's host, with the key as it is now. `now_ms` is the service's time.
    ///
    /// # Errors
    /// [`Error::BadKey`] where the key cannot sign.
    pub(crate) async fn jwt(self: &Arc<Self>, now_ms: i64) -> Result<Jwt, Error> {
        let files = |source: &SecretSource| matches!(source, SecretSource::File(_));
        if files(&self.private_key) || self.passphrase.as_ref().is_some_and(files) {
            let signer = Arc::clone(self);
            // A failure is a panic of its own, or the runtime's end: the key in use will do.
            drop(tokio::task::spawn_blocking(move || signer.look()).await);
        }
        self.signed(now_ms)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the key again; blocks on the disk, and for as long as the passphrase takes to become a key.
    fn look(&self) {
        let found = Texts::read(&self.private_key, self.passphrase.as_ref());
        {
            let mut held = self.locked();
            let known = match &found {
                Ok(texts) if *texts == held.texts => {
                    held.refused = None;
                    true
                }
                Ok(texts) => matches!(&held.refused, Some((Some(refused), _)) if refused == texts),
                Err(why) => matches!(&held.refused, Some((None, refused)) if refused == why),
            };
            if known {
                return;
            }
        }
        let parsed = match &found {
            Ok(texts) => texts.parse().map_err(|trouble| trouble.detail().to_owned()),
            Err(why) => Err(why.clone()),
        };
        let mut held = self.locked();
        match (parsed, found) {
            (Ok(key), Ok(texts)) => {
                let fingerprint = &key.fingerprint;
                tracing::info!(
                    user = self.user,
                    fingerprint,
                    "private key was read again, and is another"
                );
                *held = Held {
                    key: Arc::new(key),
                    texts,
                    refused: None,
                };
            }
            (Ok(_), Err(_)) => {}
            (Err(why), found) => {
                let key = self.private_key.describe("private_key");
                tracing::warn!(
                    user = self.user,
                    key,
                    error = why,
                    "private key cannot be used as it is now; the one in use stays"
                );
                held.refused = Some((found.ok(), why));
            }
        }
    }

    fn signed(&self, now_ms: i64) -> Result<Jwt, Error> {
        let key = Arc::clone(&self.locked().key);
        let issued = now_ms.div_euclid(1000) - DATED_BACK_S;
        let subject = format!("{}.{}", self.account, self.user);
        let claims = serde_json::json!({
            "iss": format!("{subject}.{}", key.fingerprint),
            "sub": subject,
            "iat": issued,
            "exp": issued + LIFETIME_S,
        });
        let head = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"RS256"}"#);
        let mut text = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = key.sign(text.as_bytes()).ok_or_else(|| Error::BadKey {
            user: self.user.clone(),
            detail: "it cannot sign".to_owned(),
        })?;
        text.push('.');
        text.push_str(&URL_SAFE_NO_PAD.encode(&signature));
        Ok(Jwt {
            text: Secret::new(text),
            fingerprint: key.fingerprint.clone(),
        })
    }
}

impl Texts {
    fn read(key: &SecretSource, passphrase: Option<&SecretSource>) -> Result<Self, String> {
        Ok(Self {
            key: key.read("private_key")?,
            passphrase: passphrase
                .map(|source| source.read("private_key_passphrase"))
                .transpose()?,
        })
    }

    fn parse(&self) -> Result<Key, Trouble> {
        Key::read(self.key.reveal(), self.passphrase.as_ref())
    }
}

#[cfg(test)]
mod tests;
