//! Who may take the role that the worker has.
//!
//! Sources: AWS Identity and Access Management user guide, "How to use external IDs when granting access to your AWS resources to
//! a third party", "IAM roles for Amazon EC2"; Amazon ECS Developer Guide, "Task IAM role"; Amazon EKS user guide, "IAM roles for
//! service accounts", "EKS Pod Identity".

use frazil_runtime::config::{Credentials, SourceConfig};
use serde_json::{Value, json};

use super::{NO_ACCOUNT, partition};
use crate::args::RunsOn;

/// The trust policy of the role; none where the configuration names keys of a user or a profile, and no role.
pub(in crate::setup) fn trust(source: &SourceConfig, account: Option<&str>, on: RunsOn) -> Option<Value> {
    let account = account.unwrap_or(NO_ACCOUNT);
    let arn = |rest: &str| format!("arn:{}:iam::{account}:{rest}", partition(&source.region));
    let statement = match &source.credentials {
        Credentials::Role { role, .. } => {
            let mut statement = json!({
                "Effect": "Allow",
                "Principal": { "AWS": arn("root") },
                "Action": "sts:AssumeRole",
            });
            if let Some(id) = &role.external_id {
                statement["Condition"] = json!({ "StringEquals": { "sts:ExternalId": id } });
            }
            statement
        }
        Credentials::WebIdentity { .. } => json!({
            "Effect": "Allow",
            "Principal": { "Federated": arn("oidc-provider/OIDC_PROVIDER") },
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": { "StringEquals": {
                "OIDC_PROVIDER:aud": "sts.amazonaws.com",
                "OIDC_PROVIDER:sub": "system:serviceaccount:NAMESPACE:SERVICE_ACCOUNT",
            } },
        }),
        Credentials::Default => {
            let (service, action) = match on {
                RunsOn::Ec2 => ("ec2.amazonaws.com", json!("sts:AssumeRole")),
                RunsOn::Ecs => ("ecs-tasks.amazonaws.com", json!("sts:AssumeRole")),
                RunsOn::Eks => (
                    "pods.eks.amazonaws.com",
                    json!(["sts:AssumeRole", "sts:TagSession"]),
                ),
            };
            json!({ "Effect": "Allow", "Principal": { "Service": service }, "Action": action })
        }
        Credentials::Static { .. } | Credentials::Profile(_) => return None,
    };
    Some(json!({ "Version": "2012-10-17", "Statement": [statement] }))
}

/// The same as a document of its own.
pub(in crate::setup) fn document(source: &SourceConfig, account: Option<&str>, on: RunsOn) -> String {
    match trust(source, account, on) {
        Some(policy) => serde_json::to_string_pretty(&policy).expect("a policy is JSON"),
        None => "# the configuration names keys of a user: there is no role to trust anybody, and the policy is the user's".to_owned(),
    }
}
