//! Key-pair authentication.
//!
//! How it works: 1. the user's private key signs a JWT whose issuer carries the SHA-256 of the public key
//! (docs.snowflake.com, "Key-pair authentication" and "SQL REST API: authenticating"); 2. on the account's own host that
//! JWT is the bearer token of each request; 3. for the ingest host it is exchanged for a scoped token, which is used
//! until shortly before it expires ([`crate::client`]).
//!
//! What it guarantees: neither key nor token appears in a `Debug` text, an error or a log line. What it does not:
//! encrypted private keys, OAuth and programmatic access tokens are refused by name.

use std::path::PathBuf;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use frazil_model::Secret;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use crate::error::Error;

/// How long a JWT is valid. The service takes at most an hour (docs.snowflake.com, "SQL REST API: authenticating"); less
/// leaves room for a clock that is ahead.
const LIFETIME_S: i64 = 55 * 60;
/// A JWT is dated back, for a clock of ours that is ahead of the service's.
const DATED_BACK_S: i64 = 60;

/// Where the private key is.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// A file (PEM).
    File(PathBuf),
    /// The text itself (PEM).
    Text(Secret),
}

/// A user who signs with a key pair.
pub(crate) struct Signer {
    account: String,
    user: String,
    fingerprint: String,
    key: RsaKeyPair,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("account", &self.account)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// Reads the key.
    ///
    /// # Errors
    /// [`Error::BadKey`] where the file cannot be read or holds no RSA private key in PEM, unencrypted.
    pub(crate) fn new(account: &str, user: &str, source: &KeySource) -> Result<Self, Error> {
        let bad = |detail: String| Error::BadKey {
            user: user.to_owned(),
            detail,
        };
        let pem = match source {
            KeySource::File(path) => std::fs::read_to_string(path)
                .map_err(|error| bad(format!("{} cannot be read: {error}", path.display())))?,
            KeySource::Text(text) => text.reveal().to_owned(),
        };
        let key = parse(&pem).map_err(|detail| bad(detail.to_owned()))?;
        let public = key
            .public_key()
            .as_der()
            .map_err(|_| bad("it has no public part".to_owned()))?;
        let hash = digest::digest(&digest::SHA256, public.as_ref());
        Ok(Self {
            // A locator may carry a region behind a dot, which the issuer leaves out.
            account: account.split('.').next().unwrap_or(account).to_uppercase(),
            user: user.to_uppercase(),
            fingerprint: format!("SHA256:{}", STANDARD.encode(hash)),
            key,
        })
    }

    /// The user, in upper case.
    #[must_use]
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// A JWT for requests to the account's host.
    ///
    /// # Errors
    /// [`Error::BadKey`] where the key cannot sign.
    pub(crate) fn jwt(&self, now_ms: i64) -> Result<Secret, Error> {
        let issued = now_ms / 1000 - DATED_BACK_S;
        let subject = format!("{}.{}", self.account, self.user);
        let claims = serde_json::json!({
            "iss": format!("{subject}.{}", self.fingerprint),
            "sub": subject,
            "iat": issued,
            "exp": issued + LIFETIME_S,
        });
        let head = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"RS256"}"#);
        let mut token = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = rand::SystemRandom::new();
        self.key
            .sign(&RSA_PKCS1_SHA256, &random, token.as_bytes(), &mut signature)
            .map_err(|_| Error::BadKey {
                user: self.user.clone(),
                detail: "it cannot sign".to_owned(),
            })?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(&signature));
        Ok(Secret::new(token))
    }
}

fn parse(pem: &str) -> Result<RsaKeyPair, &'static str> {
    if pem.contains("ENCRYPTED") {
        return Err(
            "it is encrypted, which is not supported yet; decrypt it with `openssl pkcs8 -in key.p8 -out plain.p8` into a \
             file that only the worker can read",
        );
    }
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| "it holds no private key in PEM (-----BEGIN PRIVATE KEY-----)")?;
    let key = match &der {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err("it is no RSA key; Snowflake takes RSA keys of 2048 bits and more"),
    };
    key.map_err(|_| "it is no RSA private key of 2048 bits or more")
}

/// The `exp` of a JWT in seconds since 1970 UTC, without checking its signature; `None` where it has none.
pub(crate) fn expiry(token: &str) -> Option<i64> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    claims.get("exp")?.as_i64()
}

#[cfg(test)]
pub(crate) mod tests {
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    /// A new key as PEM.
    pub(crate) fn key() -> Secret {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let der = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'static>>::as_der(&key)
            .expect("der");
        let text = STANDARD.encode(der.as_ref());
        Secret::new(format!(
            "-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"
        ))
    }

    #[test]
    fn a_jwt_is_signed_and_names_account_user_and_key() {
        let signer = Signer::new("org-acct.eu", "frazil", &KeySource::Text(key())).expect("a signer");
        let jwt = signer.jwt(1_700_000_000_000).expect("signed");
        let parts: Vec<&str> = jwt.reveal().split('.').collect();
        let claims: serde_json::Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).expect("base64")).expect("JSON");
        assert_eq!(claims["sub"], "ORG-ACCT.FRAZIL");
        assert_eq!(claims["iss"], format!("ORG-ACCT.FRAZIL.{}", signer.fingerprint));
        assert_eq!(
            expiry(jwt.reveal()),
            Some(1_700_000_000 - DATED_BACK_S + LIFETIME_S)
        );
        let signed = format!("{}.{}", parts[0], parts[1]);
        let signature = URL_SAFE_NO_PAD.decode(parts[2]).expect("base64");
        let public = signer.key.public_key();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public.as_ref())
            .verify(signed.as_bytes(), &signature)
            .expect("the signature fits");
    }

    #[test]
    fn neither_key_nor_its_errors_show_its_text() {
        let secret = key();
        let middle = secret.reveal().lines().nth(1).expect("base64")[40..80].to_owned();
        let signer = Signer::new("a", "u", &KeySource::Text(secret.clone())).expect("a signer");
        let broken = secret.reveal().replacen(&middle, &middle.to_lowercase(), 1);
        let error = Signer::new("a", "u", &KeySource::Text(Secret::new(broken)));
        let told = format!("{signer:?} {error:?} {:?}", KeySource::Text(secret));
        assert!(
            !told.contains(&middle) && !told.contains(&middle.to_lowercase()),
            "{told}"
        );
    }

    #[test]
    fn keys_that_cannot_be_used_say_why() {
        let error = |pem: &str| {
            let source = KeySource::Text(Secret::new(pem));
            Signer::new("a", "u", &source).expect_err("refused").to_string()
        };
        assert!(error("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n").contains("openssl pkcs8"));
        assert!(error("hello").contains("no private key in PEM"));
        let missing = KeySource::File(PathBuf::from("/nowhere/key.p8"));
        let error = Signer::new("a", "u", &missing).expect_err("refused").to_string();
        assert!(error.contains("/nowhere/key.p8"), "{error}");
    }
}
