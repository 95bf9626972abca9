use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;

use super::super::expiry;
use super::super::tests::{FINGERPRINT, PASSPHRASE, pem};
use super::*;

fn text(pem: &str) -> SecretSource {
    SecretSource::Text(Secret::new(pem))
}

fn signer(pem: &str) -> Result<Arc<Signer>, Error> {
    Signer::new("ORG-ACCT", "frazil", &text(pem), None).map(Arc::new)
}

#[tokio::test]
async fn a_jwt_is_signed_and_names_account_user_and_key() {
    let signer = signer(pem!("pkcs8")).expect("a signer");
    let jwt = signer.jwt(1_700_000_000_000).await.expect("signed");
    let parts: Vec<&str> = jwt.text.reveal().split('.').collect();
    let claims: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).expect("base64")).expect("JSON");
    assert_eq!(claims["sub"], "ORG-ACCT.FRAZIL");
    assert_eq!(claims["iss"], format!("ORG-ACCT.FRAZIL.{FINGERPRINT}"));
    assert_eq!(jwt.fingerprint, FINGERPRINT);
    assert_eq!(
        expiry(jwt.text.reveal()),
        Some(1_700_000_000 - DATED_BACK_S + LIFETIME_S)
    );
    let signed = format!("{}.{}", parts[0], parts[1]);
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).expect("base64");
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem!("pkcs8").as_bytes()).expect("PEM");
    let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).expect("a key");
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref())
        .verify(signed.as_bytes(), &signature)
        .expect("the signature fits");
}

#[test]
fn neither_key_nor_its_errors_show_its_text() {
    let pem = pem!("pkcs8");
    let middle = &pem.lines().nth(2).expect("base64")[10..50];
    let signer = signer(pem).expect("a signer");
    let broken = pem.replacen(middle, &middle.to_lowercase(), 1);
    let error = Signer::new("a", "u", &text(&broken), Some(&text(PASSPHRASE)));
    let wrong = Signer::new("a", "u", &text(pem!("pkcs8-des3")), Some(&text("canary")));
    let told = format!("{signer:?} {error:?} {wrong:?} {:?}", text(pem));
    assert!(
        !told.contains(middle) && !told.contains(&middle.to_lowercase()) && !told.contains("canary"),
        "{told}"
    );
}

#[test]
fn an_error_names_the_key() {
    let error = |source: &SecretSource| {
        Signer::new("a", "ada", source, None)
            .expect_err("refused")
            .to_string()
    };
    let told = error(&SecretSource::File("/nowhere/key.p8".into()));
    assert!(
        told.contains("user ada") && told.contains("/nowhere/key.p8 cannot be read"),
        "{told}"
    );
    let told = error(&text(pem!("pkcs8-des3")));
    assert!(told.contains("`private_key`: it is encrypted"), "{told}");
    let told = error(&text("-----BEGIN PRIVATE KEY-----\nMII"));
    assert!(told.contains("no end"), "{told}");
}
