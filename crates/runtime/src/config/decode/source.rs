//! The Kinesis side of a connector.

use frazil_model::StreamName;

use super::super::fields::{Fields, Reading};
use super::super::{
    ConsumerType, Credentials, Decompress, HashRangeCheck, InitialPosition, RoleConfig, SourceConfig, units,
};
use super::{address, matches, name, path, proxy};

/// The longest name of a consumer (Kinesis API reference, `RegisterStreamConsumer`).
const MAX_CONSUMER_NAME: usize = 128;

pub(super) fn source(reading: &Reading<'_>, mut fields: Fields<'_>) -> Option<SourceConfig> {
    let stream = fields.required("stream", stream);
    let region = match &stream {
        Some(Stream { arn: Some(arn), .. }) => {
            let of_arn = arn.split(':').nth(3).unwrap_or_default().to_owned();
            let named = fields.optional("region", region);
            if named.as_ref().is_some_and(|named| *named != of_arn) {
                fields.problem(
                    "region",
                    format!("the stream's ARN is of region {of_arn}; leave `region` out"),
                );
            }
            Some(of_arn)
        }
        _ => fields.required("region", region),
    };
    let application_name = fields.required("application_name", application_name);
    let consumer_type = fields.optional("consumer_type", |text| match text {
        "SHARED_THROUGHPUT" => Ok(ConsumerType::SharedThroughput),
        "ENHANCED_FAN_OUT" => Ok(ConsumerType::EnhancedFanOut),
        _ => Err("expected `SHARED_THROUGHPUT` or `ENHANCED_FAN_OUT`".to_owned()),
    });
    let initial_position = initial_position(&mut fields);
    let credentials = fields
        .mapping("credentials")
        .map_or(Some(Credentials::Default), |fields| credentials(reading, fields));
    let hash_range_check = fields.optional("hash_range_check", |text| match text {
        "keep" => Ok(HashRangeCheck::Keep),
        "drop" => Ok(HashRangeCheck::Drop),
        _ => Err("expected `keep` or `drop`".to_owned()),
    });
    let decompress = fields.optional("decompress", |text| match text {
        "auto" => Ok(Decompress::Auto),
        "off" => Ok(Decompress::Off),
        _ => Err("expected `auto` or `off`".to_owned()),
    });
    let use_fips = fields.optional("use_fips", yes_or_no);
    let use_dual_stack = fields.optional("use_dual_stack", yes_or_no);
    let proxy = proxy(&mut fields);
    let ca_file = fields.optional("ca_file", |text| path(reading, text));
    let endpoint = fields.optional("endpoint", address);
    let dynamodb_endpoint = fields.optional("dynamodb_endpoint", address);
    if consumer_type == Some(ConsumerType::EnhancedFanOut)
        && application_name
            .as_ref()
            .is_some_and(|name| name.len() > MAX_CONSUMER_NAME)
    {
        fields.problem(
            "application_name",
            "names the consumer of enhanced fan-out, too, and may have at most 128 characters for it",
        );
    }
    fields.finish();
    let stream = stream?;
    Some(SourceConfig {
        stream: stream.name,
        stream_arn: stream.arn,
        region: region?,
        application_name: application_name?,
        consumer_type: consumer_type.unwrap_or(ConsumerType::SharedThroughput),
        initial_position: initial_position?,
        hash_range_check: hash_range_check.unwrap_or(HashRangeCheck::Keep),
        decompress: decompress.unwrap_or(Decompress::Auto),
        credentials: credentials?,
        use_fips: use_fips.unwrap_or(false),
        use_dual_stack: use_dual_stack.unwrap_or(false),
        proxy,
        ca_file,
        endpoint,
        dynamodb_endpoint,
    })
}

/// A stream by its name or its ARN.
struct Stream {
    name: StreamName,
    arn: Option<String>,
}

fn stream(text: &str) -> Result<Stream, String> {
    if let Ok(name) = StreamName::new(text) {
        return Ok(Stream { name, arn: None });
    }
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    if let ["arn", _, "kinesis", of_region, account, resource] = parts[..]
        && region(of_region).is_ok()
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && let Some(name) = resource.strip_prefix("stream/")
        && let Ok(name) = StreamName::new(name)
    {
        return Ok(Stream {
            name,
            arn: Some(text.to_owned()),
        });
    }
    Err("expected the stream's name (1 to 128 characters of a-z, A-Z, 0-9, '_', '.', '-') or its ARN, such as \
         `arn:aws:kinesis:eu-central-1:123456789012:stream/clicks`"
        .to_owned())
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("expected `true` or `false`".to_owned()),
    }
}

/// `initial_position` and the moment that one of its values needs.
fn initial_position(fields: &mut Fields<'_>) -> Option<InitialPosition> {
    let position = fields.optional("initial_position", |text| match text {
        "LATEST" | "TRIM_HORIZON" | "AT_TIMESTAMP" => Ok(text.to_owned()),
        _ => Err("expected `LATEST`, `TRIM_HORIZON` or `AT_TIMESTAMP`".to_owned()),
    });
    let moment = fields.optional("initial_timestamp", units::moment_ms);
    let position = match position.as_deref() {
        None if fields.has("initial_position") => return None,
        Some("LATEST") => InitialPosition::Latest,
        Some("AT_TIMESTAMP") => {
            if !fields.has("initial_timestamp") {
                fields.problem(
                    "initial_position",
                    "`AT_TIMESTAMP` needs the key `initial_timestamp` beside it",
                );
            }
            return moment.map(|ms| InitialPosition::AtTimestamp { ms });
        }
        _ => InitialPosition::TrimHorizon,
    };
    if fields.has("initial_timestamp") {
        fields.problem(
            "initial_timestamp",
            "only has a meaning with `initial_position: AT_TIMESTAMP`",
        );
    }
    Some(position)
}

fn credentials(reading: &Reading<'_>, mut fields: Fields<'_>) -> Option<Credentials> {
    let profile = fields.optional("profile", name);
    let access_key_id = fields.optional("access_key_id", name);
    let secret_access_key = fields.secret("secret_access_key");
    let session_token = fields.secret("session_token");
    let role = role(&mut fields);
    let token_file = fields.optional("web_identity_token_file", |text| path(reading, text));
    let has_key = fields.has("access_key_id") || fields.has("secret_access_key");
    if fields.has("profile") && has_key {
        fields.problem("profile", "give either a profile or an access key, not both");
    }
    if fields.has("web_identity_token_file") {
        fields.must_have("role_arn");
        if has_key || fields.has("profile") {
            fields.problem(
                "web_identity_token_file",
                "takes the place of a profile or an access key; give one of them",
            );
        }
    }
    let others = ["profile", "role_arn", "web_identity_token_file"];
    if !fields.has("profile") && (has_key || !others.iter().any(|key| fields.has(key))) {
        fields.must_have("access_key_id");
        fields.must_have("secret_access_key");
    } else if fields.has("session_token") {
        fields.problem("session_token", "belongs to an access key");
    }
    fields.finish();
    if let Some(token_file) = token_file {
        let role = role??;
        return Some(Credentials::WebIdentity { token_file, role });
    }
    let base = match (profile, access_key_id) {
        (Some(profile), _) => Credentials::Profile(profile),
        (None, Some(access_key_id)) => Credentials::Static {
            access_key_id,
            secret_access_key: secret_access_key?,
            session_token,
        },
        (None, None) => Credentials::Default,
    };
    Some(match role? {
        Some(role) => Credentials::Role {
            base: Box::new(base),
            role,
        },
        None => base,
    })
}

/// The role to assume, if one is named; the outer `None` where it is named wrongly.
#[allow(clippy::option_option)]
fn role(fields: &mut Fields<'_>) -> Option<Option<RoleConfig>> {
    let arn = fields.optional("role_arn", |text| {
        if text.starts_with("arn:") && text.contains(":iam::") && text.contains(":role/") {
            return Ok(text.to_owned());
        }
        Err("expected a role's ARN, such as `arn:aws:iam::123456789012:role/frazil`".to_owned())
    });
    let external_id = fields.optional("external_id", name);
    let session_name = fields.optional("session_name", |text| {
        if matches(text, 2..=64, b"_+=,.@-") {
            return Ok(text.to_owned());
        }
        Err("expected 2 to 64 characters of a-z, A-Z, 0-9, '_', '+', '=', ',', '.', '@', '-'".to_owned())
    });
    let sts_endpoint = fields.optional("sts_endpoint", address);
    let named = fields.has("role_arn");
    for key in ["external_id", "session_name", "sts_endpoint"] {
        if fields.has(key) && !named {
            fields.problem(key, "only has a meaning with `role_arn`");
        }
    }
    if named && arn.is_none() {
        return None;
    }
    Some(arn.map(|arn| RoleConfig {
        arn,
        external_id,
        session_name: session_name.unwrap_or_else(|| "frazil".to_owned()),
        sts_endpoint,
    }))
}

/// The limits are those of DynamoDB table names (DynamoDB developer guide, "Naming rules").
fn application_name(text: &str) -> Result<String, String> {
    let expected =
        "expected 3 to 255 characters of a-z, A-Z, 0-9, '_', '.', '-': it names the DynamoDB table";
    if matches(text, 3..=255, b"_.-") {
        Ok(text.to_owned())
    } else {
        Err(expected.to_owned())
    }
}

fn region(text: &str) -> Result<String, String> {
    let lower = text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if lower && (1..=64).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err("expected an AWS region, such as `eu-central-1`".to_owned())
}
