//! The AWS side as Terraform.
//!
//! Source: registry.terraform.io, provider `hashicorp/aws`: `aws_iam_policy`, `aws_iam_role`, `aws_iam_role_policy_attachment`,
//! `aws_caller_identity`. The policies are those of the other parts, as JSON within the file; an account that is not given is that
//! of whoever runs Terraform.

use frazil_runtime::config::{Credentials, SourceConfig};

use super::{NO_ACCOUNT, policy, trust};
use crate::args::RunsOn;

/// What Terraform puts where the account's number stands.
const CALLERS: &str = "${data.aws_caller_identity.current.account_id}";

pub(in crate::setup) fn terraform(
    source: &SourceConfig,
    migration: bool,
    account: Option<&str>,
    on: RunsOn,
) -> String {
    let name = label(&source.application_name);
    let literal = |text: &str| serde_json::Value::from(text).to_string().replace("${", "$${");
    let of_arn = |arn: &str| arn.rsplit('/').next().unwrap_or(arn).to_owned();
    let role = match &source.credentials {
        Credentials::Role { role, .. } | Credentials::WebIdentity { role, .. } => of_arn(&role.arn),
        _ => format!("frazil-{}", source.application_name),
    };
    let (role, quoted) = (
        literal(&role),
        literal(&format!("frazil-{}", source.application_name)),
    );
    // Texts of the configuration are letters to Terraform, too; what it is to put in comes after them.
    let document = |text: &str| {
        let text = text.replace("${", "$${").replace("%{", "%%{");
        indented(&text.replace(NO_ACCOUNT, CALLERS))
    };
    let mut blocks = vec![
        format!("provider \"aws\" {{\n  region = {}\n}}", literal(&source.region)),
        "data \"aws_caller_identity\" \"current\" {}".to_owned(),
        format!(
            "resource \"aws_iam_policy\" \"{name}\" {{\n  name   = {quoted}\n  policy = <<-JSON\n{}\n  JSON\n}}",
            document(&policy(source, migration, account))
        ),
    ];
    match trust::trust(source, account, on) {
        None => blocks.push(format!(
            "# attach this policy to the user whose keys the configuration names\noutput \"policy_arn\" {{\n  value = \
             aws_iam_policy.{name}.arn\n}}"
        )),
        Some(trust) => blocks.extend([
            format!(
                "resource \"aws_iam_role\" \"{name}\" {{\n  name               = {role}\n  assume_role_policy = \
                 <<-JSON\n{}\n  JSON\n}}",
                document(&serde_json::to_string_pretty(&trust).expect("a policy is JSON"))
            ),
            format!(
                "resource \"aws_iam_role_policy_attachment\" \"{name}\" {{\n  role       = aws_iam_role.{name}.name\n  \
                 policy_arn = aws_iam_policy.{name}.arn\n}}"
            ),
            format!("output \"role_arn\" {{\n  value = aws_iam_role.{name}.arn\n}}"),
        ]),
    }
    blocks.join("\n\n")
}

/// An application's name as Terraform takes names: letters, digits, `_` and `-`, not a digit first.
fn label(application: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    let plain: String = application.chars().map(plain).collect();
    format!("frazil_{plain}")
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}
