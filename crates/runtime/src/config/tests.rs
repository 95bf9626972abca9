//! The frame, the defaults, and what is said about broken files.

use std::collections::BTreeSet;

use super::*;

mod broken;

const FRAME: &str = include_str!("frame.yaml");
const MINIMAL: &str = "connectors:
  - name: a
    source: {stream: s, region: eu-central-1, application_name: app}
    destination: {account: o-a, user: U, private_key_file: k.p8, database: D, schema: S, table: T}
";

fn variables() -> Variables {
    Variables::these(&[
        ("AWS_SECRET", "canary-one"),
        ("AWS_TOKEN", "canary-two"),
        ("PRIVATE_KEY", "canary-three"),
        ("PORT", "9000"),
        ("BAD", "canary four"),
        ("PASSPHRASE", "canary-seven"),
        ("CLIENT_SECRET", "canary-eight"),
        ("REFRESH_TOKEN", "canary-nine"),
        ("EMPTY", ""),
    ])
}

fn parsed(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/etc/frazil/frazil.yaml"), &variables()).map_err(|error| error.to_string())
}

/// Frozen: users' files have these keys, values and meanings.
#[test]
fn the_frame_golden() {
    let clickstream = ConnectorConfig {
        name: "clickstream".into(),
        source: SourceConfig {
            stream: StreamName::new("clickstream").expect("valid"),
            stream_arn: None,
            region: "eu-central-1".into(),
            application_name: "frazil-clickstream".into(),
            consumer_type: ConsumerType::SharedThroughput,
            initial_position: InitialPosition::AtTimestamp {
                ms: 1_769_900_340_250,
            },
            hash_range_check: HashRangeCheck::Keep,
            decompress: Decompress::Auto,
            credentials: Credentials::Static {
                access_key_id: "AKIDEXAMPLE".into(),
                secret_access_key: Secret::new("canary-one"),
                session_token: Some(Secret::new("canary-two")),
            },
            use_fips: false,
            use_dual_stack: true,
            proxy: Some(Secret::new("http://ada:canary-six@proxy:3128")),
            ca_file: Some("/etc/frazil/aws-ca.pem".into()),
            endpoint: Some("http://127.0.0.1:4567".into()),
            dynamodb_endpoint: Some("http://127.0.0.1:4568".into()),
        },
        destination: DestinationConfig {
            account: "myorg-myaccount".into(),
            user: "FRAZIL".into(),
            role: Some("FRAZIL_ROLE".into()),
            authentication: Authentication::KeyPair {
                private_key: SecretSource::File("/etc/frazil/keys/frazil.p8".into()),
                passphrase: Some(SecretSource::Text(Secret::new("canary-seven"))),
            },
            database: "EVENTS".into(),
            schema: "PUBLIC".into(),
            target: Target::Table("CLICKS".into()),
            routes: None,
            more_pipes: Vec::new(),
            leaving_pipes: Vec::new(),
            url: Some("https://localhost:8443".into()),
            proxy: None,
            ca_file: Some("/etc/frazil/ca.pem".into()),
        },
        leases: Leases::DynamoDb,
        metadata: MetadataConfig {
            key: "kinesisMetadata".into(),
            approximate_arrival: ArrivalFormat::EpochMs,
        },
        dead_letters: DeadLetters::File {
            path: "/var/lib/frazil/letters".into(),
            max_bytes: 64 << 20,
        },
        on_row_error: Some(OnRowError::Continue),
        checkpoint_interval: Duration::from_secs(30),
        commit_timeout: Duration::from_secs(120),
        lease_timeout: Duration::from_secs(20),
    };
    let config = parsed(FRAME).expect("valid");
    assert_eq!(config.connectors[0], clickstream);
    let orders = &config.connectors[1];
    assert_eq!(orders.source.credentials, Credentials::Profile("prod".into()));
    assert_eq!(
        orders.destination.authentication,
        Authentication::KeyPair {
            private_key: SecretSource::Text(Secret::new("canary-three")),
            passphrase: None,
        }
    );
    assert_eq!(orders.destination.target, Target::Pipe("ORDERS_PIPE".into()));
    assert_eq!(orders.dead_letters, DeadLetters::Discard);
    let audit = &config.connectors[2].destination;
    let oauth = OAuthConfig {
        token_endpoint: Some("https://login.example.com/oauth2/token".into()),
        client_id: "frazil".into(),
        client_secret: SecretSource::Text(Secret::new("canary-eight")),
        refresh_token: Some(SecretSource::Text(Secret::new("canary-nine"))),
        scope: Some("session:role:FRAZIL_ROLE".into()),
    };
    assert_eq!(audit.authentication, Authentication::OAuth(oauth));
    assert_eq!(audit.proxy, Some(Secret::new("http://ada:canary-ten@proxy:3128")));
    let token = SecretSource::File("/etc/frazil/frazil.token".into());
    assert_eq!(
        config.connectors[3].destination.authentication,
        Authentication::ProgrammaticAccessToken { token }
    );
    assert_eq!(config.memory_budget, 512 << 20);
    assert_eq!(
        config.http,
        HttpConfig {
            listen: ([0, 0, 0, 0], 9000).into(),
            allow_remote: true
        }
    );
}

/// Frozen: what a file that names nothing but the way gets.
#[test]
fn the_defaults_golden() {
    let config = parsed(MINIMAL).expect("valid");
    let connector = &config.connectors[0];
    assert_eq!(connector.source.consumer_type, ConsumerType::SharedThroughput);
    assert_eq!(connector.source.initial_position, InitialPosition::TrimHorizon);
    assert_eq!(connector.source.credentials, Credentials::Default);
    assert_eq!(
        (&connector.source.endpoint, &connector.source.dynamodb_endpoint),
        (&None, &None)
    );
    assert_eq!(connector.leases, Leases::DynamoDb);
    assert_eq!(connector.metadata.key, "kinesisMetadata");
    assert_eq!(connector.metadata.approximate_arrival, ArrivalFormat::Iso8601);
    let letters = DeadLetters::File {
        path: "/etc/frazil/dead-letters/a".into(),
        max_bytes: 1 << 30,
    };
    assert_eq!(connector.dead_letters, letters);
    assert_eq!(
        (connector.on_row_error, connector.checkpoint_interval),
        (None, Duration::from_secs(60))
    );
    assert_eq!(connector.commit_timeout, Duration::from_secs(180));
    assert_eq!(config.memory_budget, 256 << 20);
    assert_eq!(
        config.http,
        HttpConfig {
            listen: ([127, 0, 0, 1], 8080).into(),
            allow_remote: false
        }
    );
}

#[test]
fn the_list_of_keys_is_what_reading_asks_for() {
    let listed: BTreeSet<String> = KEYS.iter().map(|key| (*key).to_owned()).collect();
    assert_eq!(decode::asked_keys(FRAME), listed);
}

#[test]
fn the_page_describes_every_key_and_no_other() {
    let page = include_str!("../../../../docs/configuration.md");
    let table = page
        .split("## Keys")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .expect("the table of keys");
    let described: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let mut listed = KEYS.to_vec();
    listed.sort_unstable();
    let mut sorted = described.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, listed);
}

#[test]
fn the_page_s_example_is_valid() {
    let page = include_str!("../../../../docs/configuration.md");
    let example = page
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("an example");
    let variables = Variables::these(&[("SNOWFLAKE_ACCOUNT", "o-a")]);
    Config::parse(example, Path::new("frazil.yaml"), &variables).expect("valid");
}

#[test]
fn a_file_that_is_no_configuration_is_told() {
    let at = "/etc/frazil/frazil.yaml:";
    for (text, expected) in [
        ("", "1:1: expected a mapping of keys, found nothing"),
        ("- a", "1:1: expected a mapping of keys, found a list"),
        ("{}", "1:1: the key `connectors` is missing"),
        (
            "connectors: []",
            "1:13: connectors: is empty; at least one connector is needed",
        ),
        (
            "connectors: {a: b}",
            "1:13: connectors: expected a list of connectors, found a mapping",
        ),
    ] {
        let found = parsed(text).map_or_else(|error| error, |_| "no error".to_owned());
        assert_eq!(
            found.lines().next().unwrap_or_default(),
            format!("{at}{expected}"),
            "{text:?}"
        );
    }
    let tabs = parsed("connectors:\n\t- name: a").expect_err("tabs do not indent");
    assert!(
        tabs.starts_with("/etc/frazil/frazil.yaml:2:2: not valid YAML: "),
        "{tabs}"
    );
    let missing = Config::load(Path::new("/nowhere/f.yaml"), &variables())
        .expect_err("no file")
        .to_string();
    assert_eq!(
        missing,
        "/nowhere/f.yaml: the file cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn two_connectors_must_not_be_mistaken_for_each_other() {
    let item = MINIMAL.split_once('\n').expect("lines").1;
    let twice = parsed(&format!("{MINIMAL}{item}")).expect_err("the same twice");
    assert_eq!(
        twice,
        "/etc/frazil/frazil.yaml:5:5: connectors[1].name: another connector is named `a` too\n\
         /etc/frazil/frazil.yaml:5:5: connectors[1].source.application_name: another connector reads the same stream \
         under the same application name; give each its own"
    );
    let other = item
        .replace("name: a\n", "name: b\n")
        .replace("application_name: app", "application_name: app2");
    assert_eq!(
        parsed(&format!("{MINIMAL}{other}"))
            .expect("valid")
            .connectors
            .len(),
        2
    );
}

#[test]
fn routes_lead_to_each_table_once_and_need_a_lease_table() {
    let routed = |others: &str| {
        let routes = "routes: {key: type, to: [{table: A, values: [x, 7, true]}, {pipe: P, values: [z]}]}";
        MINIMAL.replace("table: T", &format!("{others}{routes}"))
    };
    let (with, without) = (parsed(&routed("table: T, ")), parsed(&routed("")));
    let (with, without) = (with.expect("valid"), without.expect("valid"));
    let to = |config: &Config| config.connectors[0].destination.clone();
    let (a, p, t) = (
        Target::Table("A".into()),
        Target::Pipe("P".into()),
        Target::Table("T".into()),
    );
    assert_eq!(to(&with).targets(), [&t, &a, &p]);
    assert_eq!(to(&without).targets(), [&a, &p]);
    assert_eq!((to(&with).target, to(&without).target), (t, a.clone()));
    let routes = to(&without).routes.expect("routes");
    let values: Vec<_> = routes.to.iter().map(|route| route.values.clone()).collect();
    assert_eq!(values, [vec!["x", "7", "true"], vec!["z"]]);
    let alone = to(&with).at(&a);
    assert_eq!((alone.targets(), alone.routes.clone()), (vec![&a], None));
    let file = routed("").replace("name: a\n", "name: a\n    leases: none\n");
    let refused = parsed(&file).expect_err("no lease table");
    assert_eq!(
        refused,
        "/etc/frazil/frazil.yaml:3:13: connectors[0].leases: `destination.routes` need a lease table: how far each table has \
         its rows is kept there"
    );
}

#[test]
fn secrets_are_never_printed() {
    let config = parsed(FRAME).expect("valid");
    assert!(!format!("{config:?} {config:#?}").contains("canary"));
}

#[test]
fn a_secret_of_a_file_stays_with_its_file() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["key", "pass"] {
        std::fs::write(folder.path().join(name), "canary\n").expect("written");
    }
    let keys = "private_key: '${secret:file/key}', private_key_passphrase: '${secret:file/pass}'";
    let text = MINIMAL.replace("private_key_file: k.p8", keys);
    let file = folder.path().join("frazil.yaml");
    let config = Config::parse(&text, &file, &variables()).expect("valid");
    let expected = Authentication::KeyPair {
        private_key: SecretSource::File(folder.path().join("key")),
        passphrase: Some(SecretSource::File(folder.path().join("pass"))),
    };
    assert_eq!(config.connectors[0].destination.authentication, expected);
    // What is put together of a file and something else is a text.
    let text = text.replace("${secret:file/pass}", "x${secret:file/pass}");
    let config = Config::parse(&text, &file, &variables()).expect("valid");
    let expected = Some(SecretSource::Text(Secret::new("xcanary")));
    let found = &config.connectors[0].destination.authentication;
    assert!(matches!(found, Authentication::KeyPair { passphrase, .. } if *passphrase == expected));
}

#[test]
fn a_stream_may_be_named_by_its_arn_which_says_the_region() {
    let with = |source: &str| {
        let destination = "{account: o-a, user: U, private_key_file: k.p8, database: D, schema: S, table: T}";
        parsed(&format!(
            "connectors:\n- name: c\n  source: {{application_name: app, {source}}}\n  destination: {destination}\n"
        ))
    };
    let arn = "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks";
    for source in [
        format!("stream: '{arn}'"),
        format!("stream: '{arn}', region: eu-central-1"),
    ] {
        let config = with(&source).expect("a configuration");
        let source = &config.connectors[0].source;
        assert_eq!(
            (source.stream.as_str(), source.region.as_str()),
            ("clicks", "eu-central-1")
        );
        assert_eq!(source.stream_arn.as_deref(), Some(arn));
    }
    for (source, why) in [
        (
            format!("stream: '{arn}', region: us-east-1"),
            "is of region eu-central-1",
        ),
        (
            "stream: 'arn:aws:kinesis:eu-central-1:12:stream/clicks', region: us-east-1".to_owned(),
            "or its ARN",
        ),
        (
            "stream: clicks, region: us-east-1, proxy: 'proxy canary'".to_owned(),
            "expected an address",
        ),
        (
            "stream: clicks, region: us-east-1, use_fips: perhaps".to_owned(),
            "expected `true` or `false`",
        ),
    ] {
        let error = with(&source).expect_err(&source);
        assert!(error.contains(why) && !error.contains("canary"), "{error}");
    }
}
