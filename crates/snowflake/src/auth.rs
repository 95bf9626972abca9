//! Who writes, and how that is proved.
//!
//! Each request to the account's own host carries a proof in `Authorization`, and its kind in
//! `X-Snowflake-Authorization-Token-Type` (docs.snowflake.com, "SQL REST API: authenticating"):
//!
//! - *key pair*: a JWT that the user's private key signs, one for each request ([`signer`]);
//! - *programmatic access token*: the token itself, which stays as it is until somebody rotates it;
//! - *OAuth*: an access token, which a token endpoint gives and which is renewed ahead of its end ([`oauth`]).
//!
//! For the ingest host a proof is exchanged for a scoped token ([`crate::client`]).
//!
//! What it guarantees: no key, secret or token appears in a `Debug` text, an error or a log line. Secrets that stand in files
//! are read again: the key for each JWT, a programmatic access token for each request to the account's host, the others for
//! each access token. A proof that was refused is followed by another one only where there is another.

mod kept;
mod key;
mod oauth;
mod proof;
mod signer;

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use frazil_model::Secret;

pub(crate) use proof::{Kind, Proof, Prover};
pub(crate) use signer::{Signer, public_key};

/// The largest secret that is read from a file, in bytes.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// How a user proves who it is.
#[derive(Debug, Clone)]
pub enum Authentication {
    /// By a private key whose public key is set on the user.
    KeyPair {
        /// The key, PEM: PKCS#8 plain or encrypted, or PKCS#1.
        private_key: SecretSource,
        /// What an encrypted key is opened with.
        passphrase: Option<SecretSource>,
    },
    /// By a token that `ALTER USER ... ADD PROGRAMMATIC ACCESS TOKEN` gave.
    ProgrammaticAccessToken {
        /// The token.
        token: SecretSource,
    },
    /// By access tokens of a token endpoint.
    OAuth(OAuth),
}

/// Where access tokens come from (RFC 6749).
#[derive(Debug, Clone)]
pub struct OAuth {
    /// The endpoint; none: that of the account itself, `/oauth/token-request` (docs.snowflake.com, "Configure Snowflake OAuth
    /// for custom clients").
    pub token_endpoint: Option<String>,
    /// The client's id.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: SecretSource,
    /// The refresh token; without one the client asks for itself (`client_credentials`).
    pub refresh_token: Option<SecretSource>,
    /// The scope that is asked for.
    pub scope: Option<String>,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file of at most 64 KiB; a line break at its end does not count. It is read again whenever it is needed.
    File(PathBuf),
    /// The text itself.
    Text(Secret),
}

impl SecretSource {
    /// Its name for people: the file's, or that of its key in the configuration.
    pub(crate) fn describe(&self, key: &str) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Text(_) => format!("`{key}`"),
        }
    }

    /// The text as it is now. Blocks on the disk. The error names the file and why.
    pub(crate) fn read(&self, key: &str) -> Result<Secret, String> {
        let path = match self {
            Self::Text(text) => return Ok(text.clone()),
            Self::File(path) => path,
        };
        let shown = self.describe(key);
        let failed = |error: std::io::Error| format!("{shown} cannot be read: {error}");
        if std::fs::metadata(path).map_err(failed)?.len() > MAX_SECRET_BYTES {
            return Err(format!("{shown} has more than {MAX_SECRET_BYTES} bytes"));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Ok(Secret::new(text.strip_suffix('\r').unwrap_or(text)))
    }

    /// The text as it is now, of one line that may stand in a header. Blocks on the disk.
    pub(crate) fn read_line(&self, key: &str) -> Result<Secret, String> {
        let text = self.read(key)?;
        let shown = self.describe(key);
        match text.reveal() {
            "" => Err(format!("{shown} is empty")),
            text if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) => Ok(Secret::new(text)),
            _ => Err(format!("{shown} is no single line of ASCII")),
        }
    }

    /// [`Self::read_line`], off the runtime's threads.
    pub(crate) async fn line(&self, key: &'static str) -> Result<Secret, String> {
        if let Self::Text(_) = self {
            return self.read_line(key);
        }
        let source = self.clone();
        let read = tokio::task::spawn_blocking(move || source.read_line(key)).await;
        read.unwrap_or_else(|error| Err(error.to_string()))
    }
}

/// The `exp` of a JWT in seconds since 1970 UTC, without checking its signature; `None` where it has none.
pub(crate) fn expiry(token: &str) -> Option<i64> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    claims.get("exp")?.as_i64()
}

#[cfg(test)]
pub(crate) mod tests {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::RsaKeyPair;
    use base64::engine::general_purpose::STANDARD;

    pub(crate) use super::key::tests::{FINGERPRINT, PASSPHRASE, pem};

    /// A new key as PEM.
    pub(crate) fn other_key() -> String {
        use base64::Engine;
        let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let der = AsDer::<Pkcs8V1Der<'static>>::as_der(&key).expect("DER");
        let text = STANDARD.encode(der.as_ref());
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    }

    /// The fingerprint of a key.
    pub(crate) fn fingerprint(pem: &str) -> String {
        super::key::Key::read(pem, None).expect("a key").fingerprint
    }
}
