//! The public key of a private one, as `ALTER USER ... SET RSA_PUBLIC_KEY` wants it.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use crate::auth::KeySource;
use crate::client::SnowflakeConfig;

/// The public half of the configuration's key, in base64 without head and foot; none where it has no key that can be used.
#[must_use]
pub fn public_key(config: &SnowflakeConfig) -> Option<String> {
    let pem = match &config.private_key {
        KeySource::File(path) => std::fs::read_to_string(path).ok()?,
        KeySource::Text(text) => text.reveal().to_owned(),
    };
    of_pem(&pem)
}

fn of_pem(pem: &str) -> Option<String> {
    let key = match PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()? {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok()?,
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).ok()?,
        _ => return None,
    };
    let public = key.public_key().as_der().ok()?;
    Some(STANDARD.encode(public.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_key_is_told_and_nothing_of_the_private_one() {
        let private = crate::auth::tests::key();
        let public = of_pem(private.reveal()).expect("a key");
        // SubjectPublicKeyInfo of 2048 bits.
        assert_eq!(STANDARD.decode(&public).map(|der| der.len()), Ok(294));
        let text = private.reveal().lines().nth(1).expect("base64");
        // The modulus stands in both; its factors behind it in one.
        assert!(
            !public.contains(&text[text.len() - 64..]),
            "a part of the private key"
        );
        assert_eq!(of_pem("hello"), None);
    }
}
