use super::*;
use crate::snowflake::keys;

/// A user with a key, able to sign.
pub(crate) struct Signer {
    pair: signature::RsaKeyPair,
    fingerprint: String,
}

impl Signer {
    /// Registers `user` with a new key.
    pub(crate) fn register(catalog: &Catalog, user: &str) -> Self {
        let (private, public) = keys::generate().unwrap();
        let fingerprint = keys::fingerprint(&public);
        catalog.put_user(user, 1, &fingerprint, &public).unwrap();
        Self::from_pem(&private, fingerprint)
    }

    pub(crate) fn from_pem(private: &str, fingerprint: String) -> Self {
        let base64: String = private
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .collect();
        let der = base64::engine::general_purpose::STANDARD.decode(base64).unwrap();
        Self {
            pair: signature::RsaKeyPair::from_pkcs8(&der).unwrap(),
            fingerprint,
        }
    }

    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(crate) fn token(&self, account: &str, user: &str, issued: i64, expires: i64) -> String {
        self.sign(&serde_json::json!({
            "iss": format!("{account}.{user}.{}", self.fingerprint),
            "sub": format!("{account}.{user}"),
            "iat": issued,
            "exp": expires,
        }))
    }

    pub(crate) fn sign(&self, claims: &serde_json::Value) -> String {
        let head = URL_SAFE_NO_PAD.encode(br#"{"typ":"JWT","alg":"RS256"}"#);
        let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut bytes = vec![0; self.pair.public_modulus_len()];
        let random = aws_lc_rs::rand::SystemRandom::new();
        self.pair
            .sign(
                &signature::RSA_PKCS1_SHA256,
                &random,
                signed.as_bytes(),
                &mut bytes,
            )
            .unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

fn auth(lifetime: Duration) -> (tempfile::TempDir, Arc<Catalog>, Auth) {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Arc::new(Catalog::open(&folder.path().join("catalog.db")).unwrap());
    let auth = Auth::new(Arc::clone(&catalog), "local", lifetime).unwrap();
    (folder, catalog, auth)
}

fn check(auth: &Auth, token: &str) -> std::result::Result<Login, AuthFailure> {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    auth.authenticate(&headers)
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn token_of_a_registered_user_is_taken_in_seconds_and_milliseconds() {
    let (_folder, catalog, auth) = auth(HOUR);
    let signer = Signer::register(&catalog, "ALICE");
    let now = now_ms();
    for token in [
        signer.token("LOCAL", "ALICE", now / 1000, now / 1000 + 3540),
        signer.token("LOCAL", "ALICE", now, now + 3_540_000),
    ] {
        assert_eq!(auth.check_key_pair(&token).unwrap().user, "ALICE");
    }
}

#[test]
fn role_in_the_scope_is_kept() {
    let (_folder, catalog, auth) = auth(HOUR);
    let signer = Signer::register(&catalog, "ALICE");
    let claims = serde_json::json!({
        "iss": format!("LOCAL.ALICE.{}", signer.fingerprint()), "sub": "LOCAL.ALICE",
        "iat": now_ms() / 1000, "exp": now_ms() / 1000 + 60, "scp": "session:role:Loader",
    });
    assert_eq!(
        check(&auth, &signer.sign(&claims)).unwrap().role.as_deref(),
        Some("Loader")
    );
}

#[test]
fn wrong_token_is_refused() {
    let (_folder, catalog, auth) = auth(HOUR);
    let signer = Signer::register(&catalog, "ALICE");
    let stranger = {
        let (private, public) = keys::generate().unwrap();
        Signer::from_pem(&private, keys::fingerprint(&public))
    };
    let now = now_ms() / 1000;
    let good = signer.token("LOCAL", "ALICE", now, now + 60);
    let mut tampered = good.clone();
    tampered.replace_range(good.len() - 8..good.len() - 4, "AAAA");
    let forged = {
        // Claims to be signed by the registered key.
        let pretender = Signer {
            pair: stranger.pair,
            fingerprint: signer.fingerprint().to_owned(),
        };
        pretender.token("LOCAL", "ALICE", now, now + 60)
    };
    let cases = [
        ("other account", signer.token("OTHER", "ALICE", now, now + 60)),
        ("other user", signer.token("LOCAL", "BOB", now, now + 60)),
        ("expired", signer.token("LOCAL", "ALICE", now - 120, now - 60)),
        (
            "older than an hour",
            signer.token("LOCAL", "ALICE", now - 3601, now + 60),
        ),
        (
            "from the future",
            signer.token("LOCAL", "ALICE", now + 600, now + 900),
        ),
        ("tampered", tampered),
        ("forged", forged),
        ("cut", good[..good.len() / 2].to_owned()),
        ("empty", String::new()),
    ];
    for (case, token) in cases {
        assert_eq!(auth.check_key_pair(&token).unwrap_err().code, "390144", "{case}");
    }
}

#[test]
fn scoped_tokens_differ_and_survive_a_restart() {
    let (folder, catalog, auth) = auth(HOUR);
    Signer::register(&catalog, "ALICE");
    let login = Login {
        user: "ALICE".into(),
        role: Some("R".into()),
        is_bound: false,
    };
    let (one, other) = (auth.issue(&login, "127.0.0.1"), auth.issue(&login, "127.0.0.1"));
    assert_ne!(one, other);
    drop((auth, catalog));
    let catalog = Arc::new(Catalog::open(&folder.path().join("catalog.db")).unwrap());
    let again = Auth::new(Arc::clone(&catalog), "LOCAL", HOUR).unwrap();
    assert_eq!(check(&again, &one).unwrap(), login);
    catalog.drop_user("ALICE").unwrap();
    assert_eq!(check(&again, &one).unwrap_err().code, "390303");
}

#[test]
fn expired_or_changed_scoped_token_is_refused() {
    let (_folder, catalog, auth) = auth(Duration::ZERO);
    Signer::register(&catalog, "ALICE");
    let token = auth.issue(
        &Login {
            user: "ALICE".into(),
            role: None,
            is_bound: false,
        },
        "127.0.0.1",
    );
    assert_eq!(check(&auth, &token).unwrap_err().code, "390318");
    let changed = format!("{}x", &token[..token.len() - 1]);
    assert_eq!(check(&auth, &changed).unwrap_err().code, "390303");
}
