//! Who writes, and how that is proved.
//!
//! How it works with a key pair: 1. the user's private key signs a JWT whose issuer carries the SHA-256 of the public key
//! (docs.snowflake.com, "Key-pair authentication" and "SQL REST API: authenticating"); 2. on the account's own host that
//! JWT is the bearer token of each request; 3. for the ingest host it is exchanged for a scoped token, which is used
//! until shortly before it expires ([`crate::client`]).
//!
//! What it guarantees: neither key nor token appears in a `Debug` text, an error or a log line. What it does not: OAuth and
//! programmatic access tokens are refused by name.

mod key;
mod signer;

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use frazil_model::Secret;

pub(crate) use signer::Signer;

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
}

/// The `exp` of a JWT in seconds since 1970 UTC, without checking its signature; `None` where it has none.
pub(crate) fn expiry(token: &str) -> Option<i64> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    claims.get("exp")?.as_i64()
}
