//! Passwords at rest: PBKDF2 with HMAC-SHA-256, a salt of 16 bytes before the digest.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;

use crate::{Error, Result};

const SALT: usize = 16;
const DIGEST: usize = 32;
/// A rehearsal's passwords guard nothing; drivers should not wait for their check.
const ROUNDS: NonZeroU32 = NonZeroU32::new(20_000).expect("not zero");

/// What is stored of a password.
pub(crate) fn stored(password: &str) -> Result<Vec<u8>> {
    let mut stored = vec![0; SALT + DIGEST];
    let (salt, digest) = stored.split_at_mut(SALT);
    aws_lc_rs::rand::fill(salt).map_err(|_| Error::Key("no randomness".into()))?;
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        ROUNDS,
        salt,
        password.as_bytes(),
        digest,
    );
    Ok(stored)
}

/// Whether this is the password that was stored.
pub(crate) fn is_it(password: &str, stored: &[u8]) -> bool {
    let Some((salt, digest)) = stored.split_at_checked(SALT) else {
        return false;
    };
    // A shorter one would be a beginning of the right one.
    digest.len() == DIGEST
        && pbkdf2::verify(
            pbkdf2::PBKDF2_HMAC_SHA256,
            ROUNDS,
            salt,
            password.as_bytes(),
            digest,
        )
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_itself_is_it() {
        let one = stored("secret").unwrap();
        assert!(is_it("secret", &one));
        assert!(
            !is_it("Secret", &one) && !is_it("", &one) && !is_it("secret", &one[..20]) && !is_it("", &[])
        );
        assert_ne!(one, stored("secret").unwrap(), "salted");
    }
}
