//! The public key of a private one, as `ALTER USER ... SET RSA_PUBLIC_KEY` wants it.

use crate::auth::{Authentication, public_key as of_source};
use crate::client::SnowflakeConfig;

/// The public half of the configuration's key, in base64 without head and foot; none where it has no key that can be used.
#[must_use]
pub fn public_key(config: &SnowflakeConfig) -> Option<String> {
    match &config.authentication {
        Authentication::KeyPair {
            private_key,
            passphrase,
        } => of_source(private_key, passphrase.as_ref()),
        Authentication::ProgrammaticAccessToken { .. } | Authentication::OAuth(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::auth::SecretSource;

    #[test]
    fn the_public_key_is_told_and_nothing_of_the_private_one() {
        let private = include_str!("../../../../testdata/keys/pkcs8.pem");
        let source = SecretSource::Text(frazil_model::Secret::new(private));
        let public = of_source(&source, None).expect("a key");
        // SubjectPublicKeyInfo of 2048 bits.
        assert_eq!(STANDARD.decode(&public).map(|der| der.len()), Ok(294));
        let lines: Vec<&str> = private.lines().collect();
        let near_the_end = lines[lines.len() - 3];
        // The modulus stands in both; its factors behind it in one.
        assert!(!public.contains(near_the_end), "a part of the private key");
        let none = SecretSource::Text(frazil_model::Secret::new("hello"));
        assert_eq!(of_source(&none, None), None);
    }
}
