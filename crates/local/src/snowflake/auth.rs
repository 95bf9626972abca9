//! Who calls: key-pair JWTs of registered users, programmatic access tokens, access tokens of OAuth, and the scoped tokens that
//! are given for each of them.
//!
//! Which it is says `X-Snowflake-Authorization-Token-Type`, and without that header the token's own form. The ingest host takes
//! no access token, and no programmatic one: those buy a scoped token first.
//!
//! A key-pair JWT is RS256, `iss` = `ACCOUNT.USER.SHA256:<fingerprint>`, `sub` = `ACCOUNT.USER`, `iat` and `exp` in seconds
//! or milliseconds, good for at most one hour after `iat` (Snowflake documentation, "Using key-pair authentication"). A
//! scoped token is a JWT of ours (HS256) with a `jti`, so that no two are equal; its key is kept in the catalog, so tokens
//! survive a restart.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{hmac, signature};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use serde::Deserialize;

use super::catalog::{Catalog, now_ms};
use crate::{Error, Result};

const SECRET: &str = "scoped_token_key";
const HOUR_MS: i64 = 60 * 60 * 1000;
/// How far ahead of ours a client's clock may be.
const LEEWAY_MS: i64 = 60 * 1000;
/// Numbers above this are milliseconds: as seconds they would be the year 5138.
const MILLISECONDS_FROM: f64 = 1e11;

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Upper-case user name.
    pub user: String,
    /// The role asked for, as written.
    pub role: Option<String>,
    /// Whether the token is bound to that role.
    pub is_bound: bool,
}

/// What a caller's token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    KeyPair,
    Ours,
    Programmatic,
}

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccessClaims {
    /// Whose token it is.
    pub(crate) issuer: String,
    /// The integration that it was given by, where it is Snowflake's own.
    pub(crate) integration: Option<String>,
    pub(crate) user: String,
    /// The role that it is bound to.
    pub(crate) role: Option<String>,
}

impl Login {
    /// The role asked for, as it is stored.
    pub(crate) fn role_name(&self) -> Option<String> {
        self.role
            .as_deref()
            .filter(|role| !role.is_empty())
            .map(super::sql::folded)
    }

    /// The role that a request runs in which asks for this one; `Err` with it where the token is bound to another.
    pub(crate) fn role_for(&self, asked: Option<String>) -> std::result::Result<Option<String>, String> {
        match asked {
            Some(asked) if self.is_bound && self.role_name().as_ref() != Some(&asked) => Err(asked),
            asked => Ok(asked.or_else(|| self.role_name())),
        }
    }
}

/// Why a caller is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthFailure {
    /// HTTP status.
    pub status: u16,
    /// Snowflake's code.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// Checks tokens against the catalog's users.
pub struct Auth {
    catalog: Arc<Catalog>,
    account: String,
    key: hmac::Key,
    lifetime: Duration,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Auth")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct JwtHeader {
    alg: String,
}

#[derive(Deserialize)]
struct KeyPairClaims {
    iss: String,
    sub: String,
    iat: f64,
    exp: f64,
    #[serde(default)]
    scp: Option<String>,
}

#[derive(Deserialize)]
struct ScopedClaims {
    sub: String,
    exp: i64,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    bound: bool,
    /// Of an access token: its issuer; a scoped token has none.
    #[serde(default)]
    access: Option<String>,
    #[serde(default)]
    integration: Option<String>,
}

impl Auth {
    pub(crate) fn new(catalog: Arc<Catalog>, account: &str, lifetime: Duration) -> Result<Self> {
        let secret = match catalog.meta(SECRET)? {
            Some(secret) => secret,
            None => {
                let mut secret = vec![0; 32];
                aws_lc_rs::rand::fill(&mut secret).map_err(|_| Error::Key("no randomness".into()))?;
                catalog.set_meta(SECRET, &secret)?;
                secret
            }
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        Ok(Self {
            catalog,
            account: account.to_uppercase(),
            key,
            lifetime,
        })
    }

    /// How long scoped tokens are good.
    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Checks the `Authorization: Bearer` token, of any kind.
    ///
    /// # Errors
    /// What to answer.
    pub fn authenticate(&self, headers: &HeaderMap) -> std::result::Result<Login, AuthFailure> {
        let (kind, token) = presented(headers)?;
        let login = match kind {
            Kind::KeyPair => self.check_key_pair(token),
            Kind::Ours => self.check_ours(token).map(|(login, _)| login),
            Kind::Programmatic => self.check_programmatic(token),
        };
        login.and_then(|login| self.admit(login))
    }

    /// Refuses who is proved to be that user, where a network policy does not let it in. All clients come from loopback.
    ///
    /// # Errors
    /// What to answer.
    pub(crate) fn admit(&self, login: Login) -> std::result::Result<Login, AuthFailure> {
        let from = Ipv4Addr::LOCALHOST;
        match self.catalog.lets_in(&login.user, from) {
            Ok(true) => Ok(login),
            _ => Err(failure(
                "390422",
                &format!(
                    "Incoming request with IP/Token {from} is not allowed to access Snowflake. Contact your local security \
                     administrator."
                ),
            )),
        }
    }

    /// Checks the token of a request to the ingest host, which is a scoped one, or a key pair's.
    ///
    /// # Errors
    /// What to answer.
    pub(crate) fn authenticate_scoped(&self, headers: &HeaderMap) -> std::result::Result<Login, AuthFailure> {
        let (kind, token) = presented(headers)?;
        match kind {
            Kind::KeyPair => self.check_key_pair(token),
            Kind::Ours => match self.check_ours(token)? {
                (login, false) => Ok(login),
                (_, true) => Err(invalid()),
            },
            Kind::Programmatic => Err(invalid()),
        }
        .and_then(|login| self.admit(login))
    }

    /// Checks a programmatic access token.
    pub(crate) fn check_programmatic(&self, token: &str) -> std::result::Result<Login, AuthFailure> {
        let found = self.catalog.token_of(token).ok().flatten();
        let good = found.filter(|found| !found.is_disabled && now_ms() < found.expires_on_ms);
        let good = good.ok_or_else(|| failure("394400", "Programmatic access token is invalid."))?;
        Ok(Login {
            user: good.user,
            is_bound: good.role_restriction.is_some(),
            // Stored as it is: quoted, so that it is not folded again.
            role: good.role_restriction.map(|role| format!("\"{role}\"")),
        })
    }

    /// Checks an access token.
    pub(crate) fn check_access(&self, token: &str) -> std::result::Result<Login, AuthFailure> {
        match self.check_ours(token)? {
            (login, true) => Ok(login),
            (_, false) => Err(invalid()),
        }
    }

    /// Checks a key-pair JWT.
    pub(crate) fn check_key_pair(&self, token: &str) -> std::result::Result<Login, AuthFailure> {
        self.key_pair_login(token).map_err(|reason| {
            tracing::debug!(reason, "key-pair token refused");
            failure("390144", "JWT token is invalid.")
        })
    }

    fn key_pair_login(&self, token: &str) -> std::result::Result<Login, &'static str> {
        let header: JwtHeader = part(token, 0).ok_or("no header")?;
        if header.alg != "RS256" {
            return Err("not RS256");
        }
        let claims: KeyPairClaims = part(token, 1).ok_or("no claims")?;
        let (subject, fingerprint) = claims
            .iss
            .split_once(".SHA256:")
            .ok_or("iss without fingerprint")?;
        if subject != claims.sub {
            return Err("iss and sub differ");
        }
        let (account, user) = subject.split_once('.').ok_or("sub without user")?;
        if account != self.account {
            return Err("other account");
        }
        let stored = self
            .catalog
            .user_key(user, &format!("SHA256:{fingerprint}"))
            .map_err(|_| "catalog failed")?;
        let public = stored.ok_or("unknown user or key")?;
        let (signed, signature) = token.rsplit_once('.').ok_or("no signature")?;
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| "signature is not base64url")?;
        signature::UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, public)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| "wrong signature")?;
        let (issued, expires) = (milliseconds(claims.iat), milliseconds(claims.exp));
        let now = now_ms();
        if issued > now + LEEWAY_MS {
            return Err("issued in the future");
        }
        if now >= expires.min(issued.saturating_add(HOUR_MS)) {
            return Err("expired");
        }
        let role = claims
            .scp
            .as_deref()
            .and_then(|scope| scope.strip_prefix("session:role:"))
            .map(str::to_owned);
        Ok(Login {
            user: user.to_owned(),
            role,
            is_bound: false,
        })
    }

    /// A new scoped token; never equal to an earlier one.
    pub(crate) fn issue(&self, login: &Login, scope: &str) -> String {
        self.signed(
            serde_json::json!({
                "iss": "frazil-local",
                "sub": login.user,
                "role": login.role,
                "bound": login.is_bound,
                "scope": scope,
            }),
            self.lifetime,
        )
    }

    /// A new access token.
    pub(crate) fn access_token(&self, claims: &AccessClaims, life: Duration) -> String {
        self.signed(
            serde_json::json!({
                "iss": claims.issuer,
                "access": claims.issuer,
                "integration": claims.integration,
                "sub": claims.user,
                "role": claims.role.as_ref().map(|role| format!("\"{role}\"")),
                "bound": claims.role.is_some(),
            }),
            life,
        )
    }

    fn signed(&self, mut claims: serde_json::Value, life: Duration) -> String {
        let now = now_ms() / 1000;
        claims["iat"] = now.into();
        claims["exp"] = now.saturating_add_unsigned(life.as_secs()).into();
        claims["jti"] = uuid::Uuid::new_v4().to_string().into();
        let head = URL_SAFE_NO_PAD.encode(br#"{"typ":"JWT","alg":"HS256"}"#);
        let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let tag = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// Who calls with a token that we signed, and whether it is an access token.
    fn check_ours(&self, token: &str) -> std::result::Result<(Login, bool), AuthFailure> {
        let (signed, tag) = token.rsplit_once('.').ok_or_else(invalid)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| invalid())?;
        hmac::verify(&self.key, signed.as_bytes(), &tag).map_err(|_| invalid())?;
        let claims: ScopedClaims = part(token, 1).ok_or_else(invalid)?;
        if now_ms() / 1000 >= claims.exp {
            return Err(failure("390318", "OAuth access token expired."));
        }
        if !self.catalog.user_exists(&claims.sub).unwrap_or(false) || !self.is_trusted(&claims) {
            return Err(invalid());
        }
        let login = Login {
            user: claims.sub,
            role: claims.role,
            is_bound: claims.bound,
        };
        Ok((login, claims.access.is_some()))
    }

    /// Whether an integration that is switched on takes the token; scoped ones need none.
    fn is_trusted(&self, claims: &ScopedClaims) -> bool {
        let Some(issuer) = &claims.access else {
            return true;
        };
        let all = self.catalog.integrations().unwrap_or_default();
        all.iter().any(|one| match &claims.integration {
            Some(name) => one.is_enabled && one.name == *name && !one.is_external,
            None => one.is_enabled && one.is_external && one.issuer.as_ref() == Some(issuer),
        })
    }
}

/// A text that nobody guesses.
pub(crate) fn random_text(prefix: &str) -> Result<String> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Key("no randomness".into()))?;
    Ok(format!("{prefix}-{}", URL_SAFE_NO_PAD.encode(bytes)))
}

fn invalid() -> AuthFailure {
    failure("390303", "Invalid OAuth access token.")
}

/// The token of a request, and of which kind it is.
fn presented(headers: &HeaderMap) -> std::result::Result<(Kind, &str), AuthFailure> {
    let token = bearer(headers)
        .ok_or_else(|| failure("390101", "Authorization header not found in the request data."))?;
    let named = headers.get("x-snowflake-authorization-token-type");
    let kind = match named.map(http::HeaderValue::as_bytes) {
        Some(b"KEYPAIR_JWT") => Kind::KeyPair,
        Some(b"OAUTH") => Kind::Ours,
        Some(b"PROGRAMMATIC_ACCESS_TOKEN") => Kind::Programmatic,
        Some(_) => return Err(invalid()),
        None => match part::<JwtHeader>(token, 0).map(|header| header.alg).as_deref() {
            Some("RS256") => Kind::KeyPair,
            None if token.starts_with("fzpat-") => Kind::Programmatic,
            _ => Kind::Ours,
        },
    };
    Ok((kind, token))
}

/// The bearer token of a request.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn failure(code: &'static str, message: &str) -> AuthFailure {
    AuthFailure {
        status: 401,
        code,
        message: message.to_owned(),
    }
}

fn part<T: for<'de> Deserialize<'de>>(token: &str, index: usize) -> Option<T> {
    let text = token.split('.').nth(index)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float cast saturates, and a claim out of range is in the past or future"
)]
fn milliseconds(claim: f64) -> i64 {
    if claim > MILLISECONDS_FROM {
        claim as i64
    } else {
        (claim * 1000.0) as i64
    }
}

#[cfg(test)]
pub(crate) mod tests;
