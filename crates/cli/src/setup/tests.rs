use frazil_runtime::config::{Config, Variables};
use serde_json::Value;

use super::*;
use crate::args::TableKind;

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
