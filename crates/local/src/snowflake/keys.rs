//! RSA keys of users: generate, read PEM, fingerprint.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PublicEncryptingKey};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{Error, Result};

/// A new key pair: PKCS#8 PEM of the private key and DER SubjectPublicKeyInfo of the public one.
pub(crate) fn generate() -> Result<(String, Vec<u8>)> {
    let failed = |_| Error::Key("an RSA key pair could not be generated".into());
    let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
    let private: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
    Ok((pem("PRIVATE KEY", private.as_ref()), public.as_ref().to_vec()))
}

/// PEM text of a DER value.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// Reads a public key as ALTER USER takes it: PEM, or its base64 without the delimiters. Gives the DER SubjectPublicKeyInfo.
///
/// # Errors
/// [`Error::Key`] if it is no RSA public key of 2048 bits or more.
pub(crate) fn read_public(text: &str) -> Result<Vec<u8>> {
    let wrong = || Error::Key("not an RSA public key: expected PEM (BEGIN PUBLIC KEY) or its base64".into());
    let base64: String = text
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .flat_map(str::split_whitespace)
        .collect();
    let der = STANDARD.decode(base64).map_err(|_| wrong())?;
    let key = PublicEncryptingKey::from_der(&der).map_err(|_| wrong())?;
    if key.key_size_bits() < 2048 {
        return Err(Error::Key("the RSA key has less than 2048 bits".into()));
    }
    let canonical: PublicKeyX509Der<'_> = key.as_der().map_err(|_| wrong())?;
    Ok(canonical.as_ref().to_vec())
}

/// `SHA256:` and the base64 of the digest over the SubjectPublicKeyInfo, as in `RSA_PUBLIC_KEY_FP` of DESC USER.
pub(crate) fn fingerprint(public: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, public);
    format!("SHA256:{}", STANDARD.encode(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_key_reads_back_from_pem_and_bare_base64() {
        let (_, public) = generate().unwrap();
        assert_eq!(read_public(&pem("PUBLIC KEY", &public)).unwrap(), public);
        assert_eq!(read_public(&STANDARD.encode(&public)).unwrap(), public);
        assert!(read_public("hello").is_err());
    }
}
