//! What the AWS administrator needs.
//!
//! Sources: `docs/iam` holds the policies, which are tried right by right; AWS General Reference, "Amazon Kinesis Data Streams
//! endpoints", "Amazon DynamoDB endpoints", "AWS STS endpoints".

mod terraform;
mod trust;

pub(super) use terraform::terraform;
pub(super) use trust::document as trust;

use frazil_runtime::config::{ConsumerType, SourceConfig};
use serde_json::Value;

const POLICY: &str = include_str!("../../../../docs/iam/policy.json");
const WITH_TAKEOVER: &str = include_str!("../../../../docs/iam/policy-with-takeover.json");
/// Where the account is not known.
const NO_ACCOUNT: &str = "ACCOUNT_ID";

/// The part of an ARN that names the world of a region.
fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// The policy of the documentation with this connector's names; without what only enhanced fan-out uses, where it polls.
pub(super) fn policy(source: &SourceConfig, migration: bool, account: Option<&str>) -> String {
    let template = if migration { WITH_TAKEOVER } else { POLICY };
    let mut policy: Value = serde_json::from_str(template).expect("the documented policy is JSON");
    // arn:PARTITION:kinesis:REGION:ACCOUNT:stream/NAME
    let of_arn = source.stream_arn.as_deref().and_then(|arn| arn.split(':').nth(4));
    let stream_account = of_arn.or(account).unwrap_or(NO_ACCOUNT);
    let polls = source.consumer_type == ConsumerType::SharedThroughput;
    let statements = policy["Statement"]
        .as_array_mut()
        .expect("a policy has statements");
    if polls {
        statements.retain(|statement| statement["Sid"] != "Consumer");
    }
    for statement in statements {
        if let Some(actions) = statement["Action"].as_array_mut().filter(|_| polls) {
            actions.retain(|action| !action.as_str().is_some_and(|action| action.contains("Consumer")));
        }
        let account = if statement["Sid"] == "Leases" {
            account.unwrap_or(NO_ACCOUNT)
        } else {
            stream_account
        };
        let fill = |text: &str| {
            text.replace("arn:aws:", &format!("arn:{}:", partition(&source.region)))
                .replace("${Region}", &source.region)
                .replace("${Account}", account)
                .replace("${Stream}", source.stream.as_str())
                .replace("${Application}", &source.application_name)
        };
        match &mut statement["Resource"] {
            Value::String(text) => *text = fill(text),
            Value::Array(all) => {
                for one in all {
                    *one = Value::String(fill(one.as_str().unwrap_or_default()));
                }
            }
            _ => {}
        }
    }
    serde_json::to_string_pretty(&policy).expect("a policy is JSON")
}

/// The hosts of AWS that a worker dials.
pub(super) fn hosts(source: &SourceConfig) -> Vec<String> {
    let domain = match (source.use_dual_stack, partition(&source.region)) {
        (true, "aws-cn") => "api.amazonwebservices.com.cn",
        (true, _) => "api.aws",
        (false, "aws-cn") => "amazonaws.com.cn",
        (false, _) => "amazonaws.com",
    };
    let host = |service: &str| {
        let fips = if source.use_fips { "-fips" } else { "" };
        format!("{service}{fips}.{}.{domain}", source.region)
    };
    let given = |address: &Option<String>, service: &str| address.clone().unwrap_or_else(|| host(service));
    vec![
        given(&source.endpoint, "kinesis"),
        given(&source.dynamodb_endpoint, "dynamodb"),
        host("sts"),
    ]
}
