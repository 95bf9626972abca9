//! File mode: clients upload a file to the stage, then register it as an append.
//!
//! Big batches of the official SDK come this way (over 1 MiB, and after `SWITCH_TO_FILE_MODE`): [`upload`] is as much of S3's
//! PutObject as the SDK needs, [`register`] turns an uploaded file into the same log entry that `/rows` makes.
//!
//! A file is zstd over NDJSON, encrypted by AES-256-CTR with the pipe's key, its IV comes with the registration.

mod chunked;
pub(in super::super) mod register;
pub(super) mod upload;

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::super::Snowflake;
use super::super::catalog::now_ms;
use super::super::model::PipeRow;
use super::super::stage::Location;

/// First segment of all locations.
pub(super) const BUCKET: &str = "frazil-local";
/// The access key of all uploads; what counts is the session token.
const ACCESS_KEY: &str = "local";
const LIFETIME_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// A location as pipe-info gives it. Named channels upload to `rowset`, the elastic one to `durable`.
pub(super) fn location(snowflake: &Snowflake, pipe: &PipeRow, kind: &str) -> Value {
    let lease = uuid::Uuid::new_v4().simple().to_string();
    let expiry_ms = now_ms() + LIFETIME_MS;
    json!({
        "expiry_time_ms": expiry_ms,
        "location_type": "S3",
        "use_s3_regional_url": false,
        "location": format!("{BUCKET}/{kind}/{}/{lease}/", pipe.id),
        "region": "us-east-1",
        "creds": {
            "AWS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_KEY": ACCESS_KEY,
            "AWS_TOKEN": session_token(&snowflake.pipe_secret, pipe.id, &lease, expiry_ms),
        },
        "storage_endpoint": snowflake.storage_endpoint(),
    })
}

/// The file of a path below the server's root, or of a registration: `frazil-local/<kind>/<pipe>/<lease>/<file>`.
pub(super) fn parse(path: &str) -> Option<Location> {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        [BUCKET, "rowset" | "durable", pipe, lease, file] => Location::new(pipe, lease, file),
        _ => None,
    }
}

/// Lets its bearer upload to one location until it expires.
fn session_token(secret: &hmac::Key, pipe_id: i64, lease: &str, expiry_ms: i64) -> String {
    let signature = hmac::sign(secret, signed(pipe_id, lease, expiry_ms).as_bytes());
    let hex: String = signature
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{expiry_ms}.{hex}")
}

fn signed(pipe_id: i64, lease: &str, expiry_ms: i64) -> String {
    format!("stage {pipe_id} {lease} {expiry_ms}")
}

/// What a session token is worth at a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    Good,
    Expired,
    Foreign,
}

fn check(secret: &hmac::Key, location: &Location, token: &str, now_ms: i64) -> Session {
    let Some((expiry, hex)) = token.split_once('.') else {
        return Session::Foreign;
    };
    let Ok(expiry_ms) = expiry.parse::<i64>() else {
        return Session::Foreign;
    };
    let signature: Option<Vec<u8>> = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    let text = signed(location.pipe_id, &location.lease, expiry_ms);
    let verified =
        signature.is_some_and(|signature| hmac::verify(secret, text.as_bytes(), &signature).is_ok());
    match verified {
        false => Session::Foreign,
        true if expiry_ms <= now_ms => Session::Expired,
        true => Session::Good,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_token_is_good_for_its_location_and_time_only() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
        let token = session_token(&key, 3, "abc", 1000);
        let at = |path: &str| parse(path).unwrap();
        let own = at("/frazil-local/rowset/3/abc/1.ndjson");
        assert_eq!(check(&key, &own, &token, 999), Session::Good);
        assert_eq!(check(&key, &own, &token, 1000), Session::Expired);
        for other in ["frazil-local/durable/4/abc/1", "frazil-local/rowset/3/abd/1"] {
            assert_eq!(check(&key, &at(other), &token, 0), Session::Foreign);
        }
        let later = token.replace("1000.", "2000.");
        for wrong in ["", ".", "1000.", "1000.é", "1000.zz", later.as_str()] {
            assert_eq!(check(&key, &own, wrong, 0), Session::Foreign, "{wrong}");
        }
    }
}
