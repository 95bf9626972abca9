use super::*;

macro_rules! pem {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../testdata/keys/",
            $name,
            ".pem"
        ))
    };
}
pub(crate) use pem;

pub(crate) const PASSPHRASE: &str = "canary-passphrase";

/// As `openssl rsa -pubout -outform DER | openssl dgst -sha256 -binary | base64` has it.
pub(crate) const FINGERPRINT: &str = "SHA256:+dPEY5h/FFJMorcYzlqjkN6P4LANbY9c0t/JwSbCuYg=";

#[test]
fn every_form_of_one_key_has_one_fingerprint() {
    let passphrase = Secret::new(PASSPHRASE);
    for (form, pem, is_encrypted) in [
        ("PKCS#1", pem!("pkcs1"), false),
        ("PKCS#8", pem!("pkcs8"), false),
        ("AES-256", pem!("pkcs8-aes256"), true),
        ("3DES", pem!("pkcs8-des3"), true),
        ("3DES, HMAC-SHA-1", pem!("pkcs8-des3-sha1"), true),
        ("scrypt", pem!("pkcs8-scrypt"), true),
    ] {
        let given = Key::read(pem, Some(&passphrase)).map(|key| key.fingerprint);
        assert_eq!(given.as_deref(), Ok(FINGERPRINT), "{form}");
        // As it comes out of variables and of editors of other systems.
        let folded = format!("Bag Attributes\r\n{}", pem.replace('\n', "\r\n"));
        let folded = Key::read(&folded, Some(&passphrase)).map(|key| key.fingerprint);
        assert_eq!(folded.as_deref(), Ok(FINGERPRINT), "{form}");
        let without = Key::read(pem, None).map(|key| key.fingerprint);
        assert_eq!(without.is_ok(), !is_encrypted, "{form}");
        let wrong = Key::read(pem, Some(&Secret::new("wrong"))).map(|key| key.fingerprint);
        assert_eq!(wrong.is_ok(), !is_encrypted, "{form}");
        if is_encrypted {
            let told = |key: Result<String, Trouble>| key.err().map(|trouble| trouble.detail().to_owned());
            assert!(told(without).is_some_and(|why| why.contains("set `private_key_passphrase`")));
            assert!(told(wrong).is_some_and(|why| why.contains("passphrase does not fit")));
        }
    }
}

#[test]
fn what_is_no_key_says_why_and_what_to_do() {
    let passphrase = Secret::new(PASSPHRASE);
    for (pem, why) in [
        (pem!("pkcs8-pbes1"), "openssl pkcs8 -topk8 -v2"),
        (pem!("pkcs1-encrypted"), "openssl pkcs8 -topk8 -v2"),
        (pem!("ec"), "no RSA private key of 2048 bits"),
        (pem!("rsa1024"), "no RSA private key of 2048 bits"),
        ("hello", "no private key in PEM"),
        (
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\n*\n-----END ENCRYPTED PRIVATE KEY-----",
            "cannot be read",
        ),
        (
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----",
            "not supported",
        ),
    ] {
        let Err(trouble) = Key::read(pem, Some(&passphrase)) else {
            panic!("{why}");
        };
        assert!(trouble.detail().contains(why), "{trouble:?}");
        assert_ne!(trouble, Trouble::Incomplete);
    }
}

#[test]
fn a_text_that_is_cut_anywhere_is_incomplete_or_no_key() {
    let passphrase = Secret::new(PASSPHRASE);
    let mut incomplete = 0;
    for pem in [pem!("pkcs8"), pem!("pkcs8-des3"), pem!("pkcs1")] {
        let armour_end = pem.rfind("-----END").expect("an end");
        for length in (0..pem.trim_end().len()).step_by(7) {
            let Err(trouble) = Key::read(&pem[..length], Some(&passphrase)) else {
                panic!("{length} of {}", pem.len());
            };
            if length == 0 || (20..armour_end).contains(&length) {
                assert_eq!(trouble, Trouble::Incomplete, "{length}");
                incomplete += 1;
            }
        }
    }
    assert!(incomplete > 300, "{incomplete}");
}
