use frazil_runtime::config::{Config, Variables};
use serde_json::Value;

use super::*;
use crate::args::{RunsOn, TableKind};

fn connector(source: &str, destination: &str) -> ConnectorConfig {
    let text = format!(
        "connectors:\n  - name: one\n    source:\n      stream: clicks\n      region: eu-central-1\n      application_name: app\n{source}\
         \x20   destination:\n      account: org-acct\n      user: writer\n      private_key_file: /keys/it's.p8\n      database: D\n\
         \x20     schema: PUBLIC\n{destination}"
    );
    let config = Config::parse(
        &text,
        std::path::Path::new("frazil.yaml"),
        &Variables::of_process(),
    );
    config.expect("a configuration").connectors.remove(0)
}

fn setup() -> args::Setup {
    args::Setup {
        parts: Vec::new(),
        config: "frazil.yaml".into(),
        connector: None,
        migration: false,
        aws_account: Some("123456789012".to_owned()),
        table: TableKind::Standard,
        volume: "SNOWFLAKE_MANAGED".to_owned(),
        into: None,
        runs_on: RunsOn::Ec2,
        address: Vec::new(),
    }
}

fn policy(source: &str, migration: bool) -> Value {
    let connector = connector(source, "      table: T\n");
    serde_json::from_str(&aws::policy(&connector.source, migration, Some("123456789012"))).expect("JSON")
}

#[test]
fn with_fan_out_the_policy_is_the_documented_one_with_its_names() {
    for (migration, documented) in [
        (false, include_str!("../../../../docs/iam/policy.json")),
        (
            true,
            include_str!("../../../../docs/iam/policy-with-takeover.json"),
        ),
    ] {
        let filled = documented
            .replace("${Region}", "eu-central-1")
            .replace("${Account}", "123456789012")
            .replace("${Stream}", "clicks")
            .replace("${Application}", "app");
        let wanted: Value = serde_json::from_str(&filled).expect("JSON");
        assert_eq!(
            policy("      consumer_type: ENHANCED_FAN_OUT\n", migration),
            wanted
        );
    }
}

#[test]
fn polling_asks_for_no_right_of_consumers_and_other_worlds_have_their_arns() {
    let polling = policy("", false).to_string();
    assert!(
        !polling.contains("Consumer") && polling.contains("kinesis:GetRecords"),
        "{polling}"
    );
    let mut source = connector("", "      table: T\n").source;
    source.region = "us-gov-west-1".to_owned();
    source.use_fips = true;
    let text = aws::policy(&source, false, None);
    assert!(
        text.contains("arn:aws-us-gov:kinesis:us-gov-west-1:ACCOUNT_ID:stream/clicks"),
        "{text}"
    );
    assert_eq!(aws::hosts(&source)[0], "kinesis-fips.us-gov-west-1.amazonaws.com");
    (source.use_fips, source.use_dual_stack) = (false, true);
    assert_eq!(aws::hosts(&source)[1], "dynamodb.us-gov-west-1.api.aws");
}

#[test]
fn hostile_names_are_quoted_as_each_language_wants() {
    let hostile = "      table: 'we\"ird; drop table x'\n      role: \"r'; drop\"\n";
    let connector = connector("", hostile);
    let sql = snowflake::table(&connector, &setup());
    assert!(
        sql.contains("\"D\".\"PUBLIC\".\"we\"\"ird; drop table x\""),
        "{sql}"
    );
    assert!(sql.contains("TO ROLE \"r'; drop\";"), "{sql}");
    let shell = snowflake::keys(&connector);
    assert!(shell.contains("-nocrypt -out '/keys/it'\\''s.p8'"), "{shell}");
    let mut volume = setup();
    (volume.table, volume.volume) = (TableKind::Iceberg, "v'); DROP".to_owned());
    let sql = snowflake::table(&connector, &volume);
    assert!(sql.contains("EXTERNAL_VOLUME = 'v''); DROP'"), "{sql}");
    assert!(
        sql.contains("GRANT USAGE ON EXTERNAL VOLUME \"v'); DROP\""),
        "{sql}"
    );
}

#[test]
fn a_pipe_wants_its_table_named() {
    let connector = connector("", "      pipe: P\n");
    let mut args = setup();
    assert!(snowflake::pipe(&connector, &args).contains("--into"));
    args.into = Some("T".to_owned());
    let sql = snowflake::pipe(&connector, &args);
    assert!(
        sql.contains("GRANT OPERATE ON PIPE \"D\".\"PUBLIC\".\"P\""),
        "{sql}"
    );
    assert!(!snowflake::table(&connector, &args).contains("EVOLVE SCHEMA"));
}

/// A text of Terraform.
struct Terraform(hcl_edit::structure::Body);

impl Terraform {
    fn read(text: &str) -> Self {
        Self(text.parse().expect("HCL"))
    }

    /// The text of a key of the block with this kind and this label.
    fn text(&self, kind: &str, label: &str, key: &str) -> String {
        let mut blocks = self.0.get_blocks(kind);
        let block = blocks.find(|block| block.labels.iter().any(|found| found.as_str() == label));
        let value = &block
            .and_then(|block| block.body.get_attribute(key))
            .expect("there is one")
            .value;
        match value.as_heredoc_template() {
            Some(heredoc) => heredoc.template.to_string(),
            None => value.as_str().expect("a text").to_owned(),
        }
    }

    fn policy(&self, kind: &str, key: &str) -> Value {
        serde_json::from_str(&self.text("resource", kind, key)).expect("a policy is JSON")
    }
}

#[test]
fn terraform_holds_the_policies_of_the_other_parts() {
    let account = Some("123456789012");
    for on in [RunsOn::Ec2, RunsOn::Ecs, RunsOn::Eks] {
        let connector = connector("", "      table: T\n");
        let text = aws::terraform(&connector.source, false, account, on);
        let read = Terraform::read(&text);
        let trusted: Value = serde_json::from_str(&aws::trust(&connector.source, account, on)).expect("JSON");
        assert_eq!(read.policy("aws_iam_policy", "policy"), policy("", false));
        assert_eq!(read.policy("aws_iam_role", "assume_role_policy"), trusted);
        for kind in ["aws_iam_policy", "aws_iam_role"] {
            assert_eq!(read.text("resource", kind, "name"), "frazil-app");
        }
        assert_eq!(read.text("provider", "aws", "region"), "eu-central-1");
    }
}

#[test]
fn terraform_puts_in_the_callers_account_and_nothing_that_the_configuration_spells() {
    let source = "      credentials:\n        role_arn: arn:aws:iam::210987654321:role/path/Reader\n        external_id: \
                  '${data.x} %{if}'\n";
    // The configuration's own `${VAR}` is written `$${VAR}`.
    let connector = connector(&source.replace("${", "$${"), "      table: T\n");
    let text = aws::terraform(&connector.source, false, None, RunsOn::Ec2);
    assert!(
        text.contains("arn:aws:iam::${data.aws_caller_identity.current.account_id}:root"),
        "{text}"
    );
    assert!(text.contains("$${data.x} %%{if}"), "{text}");
    assert!(
        text.contains(
            "arn:aws:kinesis:eu-central-1:${data.aws_caller_identity.current.account_id}:stream/clicks"
        ),
        "{text}"
    );
    assert_eq!(
        Terraform::read(&text).text("resource", "aws_iam_role", "name"),
        "Reader"
    );
}

#[test]
fn the_role_trusts_whoever_the_configuration_lets_take_it() {
    let of = |source: &str| {
        aws::trust(
            &connector(source, "      table: T\n").source,
            Some("123456789012"),
            RunsOn::Ec2,
        )
    };
    let parsed = |source: &str| -> Value { serde_json::from_str(&of(source)).expect("JSON") };
    let machine = parsed("");
    assert_eq!(
        machine["Statement"][0]["Principal"]["Service"],
        "ec2.amazonaws.com"
    );
    let role = "      credentials:\n        role_arn: arn:aws:iam::210987654321:role/R\n";
    assert_eq!(
        parsed(role)["Statement"][0]["Principal"]["AWS"],
        "arn:aws:iam::123456789012:root"
    );
    assert!(parsed(role)["Statement"][0]["Condition"].is_null());
    let external = parsed(&format!("{role}        external_id: shared\n"));
    assert_eq!(
        external["Statement"][0]["Condition"]["StringEquals"]["sts:ExternalId"],
        "shared"
    );
    let token = parsed(&format!("{role}        web_identity_token_file: /token\n"));
    assert_eq!(token["Statement"][0]["Action"], "sts:AssumeRoleWithWebIdentity");
    let keys = "      credentials:\n        access_key_id: AKIDEXAMPLE\n        secret_access_key: hidden\n";
    assert!(of(keys).contains("there is no role"));
    assert!(!of(keys).contains("hidden"));
}

#[test]
fn network_rules_name_each_host_and_each_address() {
    let connector = connector(
        "      dynamodb_endpoint: http://127.0.0.1:4568\n",
        "      table: T\n",
    );
    let hosts = aws::hosts(&connector.source);
    let sql = snowflake::network(&connector, &hosts, &[]);
    assert!(
        sql.contains(
            "CREATE NETWORK RULE IF NOT EXISTS \"D\".\"PUBLIC\".\"ONE_AWS\" MODE = EGRESS TYPE = HOST_PORT VALUE_LIST = \
             ('kinesis.eu-central-1.amazonaws.com:443', '127.0.0.1:4568', 'sts.eu-central-1.amazonaws.com:443');"
        ),
        "{sql}"
    );
    assert!(
        !sql.contains("NETWORK_POLICY") && sql.contains("--address"),
        "{sql}"
    );
    let sql = snowflake::network(
        &connector,
        &hosts,
        &["203.0.113.7".to_owned(), "198.51.100.0/24".to_owned()],
    );
    assert!(
        sql.contains("MODE = INGRESS TYPE = IPV4 VALUE_LIST = ('203.0.113.7', '198.51.100.0/24');"),
        "{sql}"
    );
    assert!(
        sql.contains("ALTER USER \"WRITER\" SET NETWORK_POLICY = \"ONE_WORKERS\";"),
        "{sql}"
    );
}

#[test]
fn each_further_pipe_of_a_table_is_made_and_granted() {
    let table = connector("", "      table: T\n      more_pipes: [P2, P3]\n");
    let sql = snowflake::pipe(&table, &setup());
    for pipe in ["P2", "P3"] {
        let made = format!(
            "CREATE PIPE IF NOT EXISTS \"D\".\"PUBLIC\".\"{pipe}\" AS COPY INTO \"D\".\"PUBLIC\".\"T\" FROM"
        );
        assert!(sql.contains(&made), "{sql}");
        assert!(
            sql.contains(&format!("OPERATE ON PIPE \"D\".\"PUBLIC\".\"{pipe}\"")),
            "{sql}"
        );
    }
    let own = connector("", "      pipe: P\n      more_pipes: [T-STREAMING, P2]\n");
    let args = args::Setup {
        into: Some("T".to_owned()),
        ..setup()
    };
    let sql = snowflake::pipe(&own, &args);
    assert_eq!(sql.matches("CREATE PIPE").count(), 2, "{sql}");
    assert!(!sql.contains("STREAMING\""), "{sql}");
}
