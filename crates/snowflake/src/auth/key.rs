//! RSA private keys, read from PEM.
//!
//! PKCS#8 plain and encrypted (PBES2: AES or 3DES, keys derived by PBKDF2 or scrypt), and PKCS#1 plain. Source of the forms:
//! docs.snowflake.com, "Key-pair authentication and key-pair rotation", whose instructions make PKCS#8 with `-v2 des3`.
//!
//! What it guarantees: no error holds any of the text. What it does not: PKCS#1 that is encrypted in OpenSSL's traditional
//! form, and PBES1, are refused with what to do.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use frazil_model::Secret;
use pkcs8::{EncryptedPrivateKeyInfo, SecretDocument};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

/// A private key that signs, and the fingerprint of its public part.
pub(super) struct Key {
    pair: RsaKeyPair,
    /// As `RSA_PUBLIC_KEY_FP` of `DESC USER` has it.
    pub(super) fingerprint: String,
}

/// Why a text is no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It has no end: it may be being written right now.
    Incomplete,
    /// It will not become one; what is wrong, and what to do.
    Unusable(String),
}

impl Trouble {
    pub(super) fn detail(&self) -> &str {
        match self {
            Self::Incomplete => "it has no end (-----END ...)",
            Self::Unusable(detail) => detail,
        }
    }
}

const NO_RSA_KEY: &str = "it is no RSA private key of 2048 bits or more, which is what Snowflake takes; make one with `openssl genrsa 2048`";

impl Key {
    /// Reads a key; an encrypted one needs its passphrase. With one that is not encrypted, a passphrase is not looked at.
    pub(super) fn read(pem: &str, passphrase: Option<&Secret>) -> Result<Self, Trouble> {
        let unusable = |detail: &str| Err(Trouble::Unusable(detail.to_owned()));
        // An empty file is what a writer makes first.
        if pem.trim().is_empty() || (pem.contains("-----BEGIN ") && !pem.contains("-----END ")) {
            return Err(Trouble::Incomplete);
        }
        if pem.contains("Proc-Type: 4,ENCRYPTED") {
            return unusable(
                "it is encrypted in OpenSSL's traditional form, which is not supported; write it as PKCS#8 with \
                 `openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW`",
            );
        }
        if let Some(sealed) = armoured(pem, "ENCRYPTED PRIVATE KEY") {
            let der = decrypted(sealed, passphrase)?;
            // Of a wrong passphrase one in 256 leaves a padding that looks right.
            let pair = RsaKeyPair::from_pkcs8(der.as_bytes())
                .map_err(|_| Trouble::Unusable(format!("{WRONG_PASSPHRASE}; or {NO_RSA_KEY}")))?;
            return Self::of(pair);
        }
        let Ok(der) = PrivateKeyDer::from_pem_slice(pem.as_bytes()) else {
            return unusable("it holds no private key in PEM (-----BEGIN PRIVATE KEY-----)");
        };
        let pair = match &der {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            _ => return unusable(NO_RSA_KEY),
        };
        pair.map_or_else(|_| unusable(NO_RSA_KEY), Self::of)
    }

    /// The public half, as `RSA_PUBLIC_KEY` of a user wants it: base64 without head and foot.
    pub(super) fn public(&self) -> Option<String> {
        let der = self.pair.public_key().as_der().ok()?;
        Some(STANDARD.encode(der.as_ref()))
    }

    fn of(pair: RsaKeyPair) -> Result<Self, Trouble> {
        let public = pair
            .public_key()
            .as_der()
            .map_err(|_| Trouble::Unusable("it has no public part".to_owned()))?;
        let hash = digest::digest(&digest::SHA256, public.as_ref());
        Ok(Self {
            fingerprint: format!("SHA256:{}", STANDARD.encode(hash)),
            pair,
        })
    }

    /// The RS256 signature of a text; `None` where the key cannot sign.
    pub(super) fn sign(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = rand::SystemRandom::new();
        self.pair
            .sign(&RSA_PKCS1_SHA256, &random, text, &mut signature)
            .ok()?;
        Some(signature)
    }
}

const WRONG_PASSPHRASE: &str = "the passphrase does not fit it; check `private_key_passphrase`, as `openssl pkey -in KEY -noout` asks for it";

/// What stands between the lines of a label.
fn armoured<'a>(pem: &'a str, label: &str) -> Option<&'a str> {
    let (_, rest) = pem.split_once(&format!("-----BEGIN {label}-----"))?;
    rest.split_once(&format!("-----END {label}-----"))
        .map(|(inside, _)| inside)
}

fn decrypted(base64: &str, passphrase: Option<&Secret>) -> Result<SecretDocument, Trouble> {
    let unusable = |detail: &str| Trouble::Unusable(detail.to_owned());
    let passphrase = passphrase.ok_or_else(|| {
        unusable("it is encrypted, and no passphrase is given; set `private_key_passphrase`")
    })?;
    let packed: String = base64.split_whitespace().collect();
    let der = STANDARD
        .decode(packed)
        .map_err(|_| unusable("its PEM (-----BEGIN ENCRYPTED PRIVATE KEY-----) cannot be read"))?;
    let readable = EncryptedPrivateKeyInfo::try_from(der.as_slice()).ok();
    let sealed = readable
        .filter(|sealed| sealed.encryption_algorithm.pbes2().is_some())
        .ok_or_else(|| {
            unusable(
                "its encryption is not supported (PBES2 with AES or 3DES is); write it anew with \
                 `openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW`",
            )
        })?;
    sealed
        .decrypt(passphrase.reveal())
        .map_err(|_| unusable(WRONG_PASSPHRASE))
}

#[cfg(test)]
pub(crate) mod tests;
