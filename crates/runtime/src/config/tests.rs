//! The frame, the defaults, and what is said about broken files.

use std::collections::BTreeSet;

use super::*;

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

/// (what is replaced in the minimal file, by what, the whole error text).
const BROKEN: &[(&str, &str, &str)] = &[
    (
        "stream: s",
        "sream: s",
        "3:14: connectors[0].source: the key `stream` is missing
3:14: connectors[0].source.sream: unknown key; did you mean `stream`?",
    ),
    (
        "region:",
        "Region:",
        "3:14: connectors[0].source: the key `region` is missing
3:25: connectors[0].source.Region: unknown key; did you mean `region`?",
    ),
    (
        "- name: a",
        "- name: a\n    stream: s",
        "3:5: connectors[0].stream: unknown key; `stream` belongs under `connectors[].source`",
    ),
    (
        "connectors:",
        "threads: 4\nconnectors:",
        "1:1: threads: unknown key; known here: connectors, http, memory_budget",
    ),
    (
        "- name: a",
        "- name: a b",
        "2:11: connectors[0].name: expected 1 to 64 characters of a-z, A-Z, 0-9, '_', '-'; found `a b`",
    ),
    (
        "- name: a",
        "- name:",
        "2:9: connectors[0].name: has no value; give one or remove the key",
    ),
    (
        "- name: a",
        "- name: [a]",
        "2:11: connectors[0].name: expected a single value, found a list",
    ),
    (
        "- name: a",
        "- name: a\n    name: b",
        "3:5: not valid YAML: duplicate mapping key: name",
    ),
    (
        "stream: s",
        "stream: ${BAD}",
        "3:23: not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'; inside `{...}` and `[...]` a value with `${...}` needs quotes",
    ),
    (
        "stream: s",
        "stream: \"${BAD}\"",
        "3:22: connectors[0].source.stream: expected the stream's name (1 to 128 characters of a-z, A-Z, 0-9, '_', '.', '-') or its ARN, such as `arn:aws:kinesis:eu-central-1:123456789012:stream/clicks`; the value comes from ${BAD}",
    ),
    (
        "stream: s",
        "stream: \"${MISSING}\"",
        "3:22: connectors[0].source.stream: the environment variable `MISSING` is not set; set it, or give a default as in `${MISSING:-default}`",
    ),
    (
        "stream: s",
        "stream: \"${1X}\"",
        "3:22: connectors[0].source.stream: `${1X}` names no variable: expected `${NAME}`, `${NAME:-default}` or `${secret:provider/name}`",
    ),
    (
        "stream: s",
        "stream: \"${X\"",
        "3:22: connectors[0].source.stream: `${` without its `}`; write `$$` for a dollar sign",
    ),
    (
        "stream: s",
        "stream: \"${secret:vault/x}\"",
        "3:22: connectors[0].source.stream: no secret provider is named `vault`; there are `env` and `file`",
    ),
    (
        "stream: s",
        "stream: \"${secret:x}\"",
        "3:22: connectors[0].source.stream: `${secret:x}` has no name: expected `${secret:provider/name}`",
    ),
    (
        "stream: s",
        "stream: \"${secret:env/EMPTY}\"",
        "3:22: connectors[0].source.stream: the environment variable `EMPTY` of the secret is not set or empty",
    ),
    (
        "stream: s",
        "stream: \"${secret:file/none}\"",
        "3:22: connectors[0].source.stream: the secret's file /etc/frazil/none cannot be read: No such file or directory (os error 2)",
    ),
    (
        "eu-central-1",
        "Frankfurt",
        "3:33: connectors[0].source.region: expected an AWS region, such as `eu-central-1`; found `Frankfurt`",
    ),
    (
        "name: app",
        "name: a/b",
        "3:65: connectors[0].source.application_name: expected 3 to 255 characters of a-z, A-Z, 0-9, '_', '.', '-': it names the DynamoDB table; found `a/b`",
    ),
    (
        "name: app",
        "name: app, consumer_type: shared",
        "3:85: connectors[0].source.consumer_type: expected `SHARED_THROUGHPUT` or `ENHANCED_FAN_OUT`; found `shared`",
    ),
    (
        "name: app",
        "name: app, initial_position: latest",
        "3:88: connectors[0].source.initial_position: expected `LATEST`, `TRIM_HORIZON` or `AT_TIMESTAMP`; found `latest`",
    ),
    (
        "name: app",
        "name: app, initial_position: AT_TIMESTAMP",
        "3:88: connectors[0].source.initial_position: `AT_TIMESTAMP` needs the key `initial_timestamp` beside it",
    ),
    (
        "name: app",
        "name: app, initial_timestamp: 2026-01-01T00:00:00Z",
        "3:89: connectors[0].source.initial_timestamp: only has a meaning with `initial_position: AT_TIMESTAMP`",
    ),
    (
        "name: app",
        "name: app, endpoint: localhost:80",
        "3:80: connectors[0].source.endpoint: expected an address such as `https://host:443`, without path, user or password; found `localhost:80`",
    ),
    (
        "name: app",
        "name: app, credentials: {access_key_id: x}",
        "3:84: connectors[0].source.credentials: the key `secret_access_key` is missing",
    ),
    (
        "name: app",
        "name: app, credentials: {profile: p, access_key_id: x}",
        "3:93: connectors[0].source.credentials.profile: give either a profile or an access key, not both",
    ),
    (
        "name: app",
        "name: app, credentials: {access_key_id: x, secret_access_key: [canary]}",
        "3:121: connectors[0].source.credentials.secret_access_key: expected a single value, found a list",
    ),
    (
        "name: app",
        "name: app, credentials: {profile: p, role_arn: r}",
        "3:106: connectors[0].source.credentials.role_arn: expected a role's ARN, such as `arn:aws:iam::123456789012:role/frazil`; found `r`",
    ),
    (
        "name: app",
        "name: app, credentials: {profile: p, external_id: e}",
        "3:109: connectors[0].source.credentials.external_id: only has a meaning with `role_arn`",
    ),
    (
        "name: app",
        "name: app, credentials: {web_identity_token_file: t}",
        "3:84: connectors[0].source.credentials: the key `role_arn` is missing",
    ),
    (
        "account: o-a",
        "account: https://o-a.snowflakecomputing.com",
        "4:28: connectors[0].destination.account: expected the account identifier alone, such as `myorg-myaccount`; an address goes to `url`; found `https://o-a.snowflakecomputing.com`",
    ),
    (
        "private_key_file: k.p8",
        "role: R",
        "4:19: connectors[0].destination: the key `private_key_file` is missing",
    ),
    (
        "private_key_file: k.p8",
        "private_key_file: k.p8, private_key: canary",
        "4:79: connectors[0].destination.private_key: give either `private_key` or `private_key_file`, not both",
    ),
    (
        "private_key_file: k.p8",
        "private_key_file: k.p8, token: canary",
        "4:73: connectors[0].destination.token: the user proves itself in one way; give either `private_key_file` or `token`",
    ),
    (
        "private_key_file: k.p8",
        "token: canary, token_file: t",
        "4:49: connectors[0].destination.token: give either `token` or `token_file`, not both",
    ),
    (
        "private_key_file: k.p8",
        "token: canary, private_key_passphrase: canary",
        "4:81: connectors[0].destination.private_key_passphrase: only has a meaning with `private_key_file` or `private_key`",
    ),
    (
        "private_key_file: k.p8",
        "oauth: {client_id: c, client_secret: canary}",
        "4:50: connectors[0].destination.oauth: the key `token_endpoint` is missing",
    ),
    (
        "private_key_file: k.p8",
        "oauth: {client_id: c, client_secret: canary, token_endpoint: 'http://login.example.com'}",
        "4:103: connectors[0].destination.oauth.token_endpoint: expected https: the client's secret goes there; found `http://login.example.com`",
    ),
    (
        "private_key_file: k.p8",
        "private_key_file: k.p8, proxy: 'canary:3128'",
        "4:73: connectors[0].destination.proxy: expected an address, such as `http://proxy.example:3128`",
    ),
    (
        "private_key_file: k.p8",
        "private_key: ''",
        "4:55: connectors[0].destination.private_key: expected a secret, found an empty text",
    ),
    (
        "table: T",
        "tabel: T",
        "4:19: connectors[0].destination: the key `table` is missing
4:90: connectors[0].destination.tabel: unknown key; did you mean `table`?",
    ),
    (
        "table: T",
        "table: T, pipe: P",
        "4:106: connectors[0].destination.pipe: give either a table or a pipe, not both",
    ),
    (
        "table: T",
        "table: T, more_pipes: [P, T-STREAMING]",
        "4:112: connectors[0].destination.more_pipes: names the pipe T-STREAMING, which is named already",
    ),
    (
        "table: T",
        "pipe: P, more_pipes: [Q, R], leaving_pipes: [Q]",
        "4:134: connectors[0].destination.leaving_pipes: names the pipe Q, which is named already",
    ),
    (
        "table: T",
        "table: T, leaving_pipes: P",
        "4:115: connectors[0].destination.leaving_pipes: expected a list, found a single value",
    ),
    (
        "table: T",
        "table: T, more_pipes: [P, [Q]]",
        "4:116: connectors[0].destination.more_pipes[1]: expected a single value, found a list",
    ),
    (
        "table: T",
        "routes: {key: type, to: [{table: A, values: [x, y]}, {pipe: A-STREAMING, values: [y]}]}",
        "4:114: connectors[0].destination.routes.to: names the pipe A-STREAMING, which is named already
4:114: connectors[0].destination.routes.to: names the value `y` twice",
    ),
    (
        "table: T",
        "table: T, more_pipes: [P], routes: {key: k, to: [{table: A}], values: [x]}",
        "4:112: connectors[0].destination.more_pipes: cannot stand beside `routes`: each table of theirs has one pipe
4:140: connectors[0].destination.routes.to[0]: the key `values` is missing
4:152: connectors[0].destination.routes.values: unknown key; `values` belongs under `connectors[].destination.routes.to[]`",
    ),
    (
        "table: T",
        "routes: {key: k, to: [{table: A, values: []}, {values: [x]}]}",
        "4:131: connectors[0].destination.routes.to[0].values: expected at least one value
4:137: connectors[0].destination.routes.to[1]: the key `table` is missing",
    ),
    (
        "table: T",
        "table: T, routes: {to: []}",
        "4:109: connectors[0].destination.routes: the key `key` is missing
4:113: connectors[0].destination.routes.to: expected at least one table with its values",
    ),
    (
        "- name: a",
        "- name: a\n    leases: table",
        "3:13: connectors[0].leases: expected `dynamodb` or `none`; found `table`",
    ),
    (
        "- name: a",
        "- name: a\n    state_file: x",
        "3:17: connectors[0].state_file: only has a meaning with `leases: none`",
    ),
    (
        "- name: a",
        "- name: a\n    routing: {by: type}",
        "3:14: connectors[0].routing: rows go to several tables by `destination.routes`; remove the key",
    ),
    (
        "- name: a",
        "- name: a\n    metadata: {key: 'a\"b'}",
        "3:21: connectors[0].metadata.key: expected 1 to 255 characters without quotes and backslashes; found `a\"b`",
    ),
    (
        "- name: a",
        "- name: a\n    metadata: {approximate_arrival: iso}",
        "3:37: connectors[0].metadata.approximate_arrival: expected `iso8601` or `epoch_ms`; found `iso`",
    ),
    (
        "- name: a",
        "- name: a\n    dead_letters: drop",
        "3:19: connectors[0].dead_letters: expected `discard`, or the mapping `file`; found `drop`",
    ),
    (
        "- name: a",
        "- name: a\n    dead_letters: {file: {max_bytes: 1MiB}}",
        "3:38: connectors[0].dead_letters.file.max_bytes: expected at least 16MiB; found `1MiB`",
    ),
    (
        "- name: a",
        "- name: a\n    dead_letters: {}",
        "3:19: connectors[0].dead_letters: the key `file` is missing",
    ),
    (
        "- name: a",
        "- name: a\n    on_row_error: true",
        "3:19: connectors[0].on_row_error: expected `continue` or `stop`; found `true`",
    ),
    (
        "- name: a",
        "- name: a\n    checkpoint_interval: 10",
        "3:26: connectors[0].checkpoint_interval: expected a number and a unit: `500ms`, `10s`, `5m`, `1h` or `7d`; found `10`",
    ),
    (
        "- name: a",
        "- name: a\n    checkpoint_interval: 2h",
        "3:26: connectors[0].checkpoint_interval: expected between 1s and 1h; found `2h`",
    ),
    (
        "- name: a",
        "- name: a\n    commit_timeout: 5s",
        "3:21: connectors[0].commit_timeout: expected between 10s and 1h; found `5s`",
    ),
    (
        "connectors:",
        "memory_budget: 16M\nconnectors:",
        "1:16: memory_budget: expected a whole number and a unit: `512B`, `64KiB`, `16MiB`, `2GiB` (or `kB`, `MB`, `GB`); found `16M`",
    ),
    (
        "connectors:",
        "memory_budget: 16MiB\nconnectors:",
        "1:16: memory_budget: 1 connectors need at least 48MiB: 48MiB each",
    ),
    (
        "connectors:",
        "http: {listen: \"0.0.0.0:80\"}\nconnectors:",
        "1:16: http.listen: this address can be reached from other machines, and nothing asks for a password there; use 127.0.0.1, or set `allow_remote: true` beside it",
    ),
    (
        "connectors:",
        "http: {listen: \"${BAD}\"}\nconnectors:",
        "1:16: http.listen: expected an address and a port, such as `127.0.0.1:8080`; the value comes from ${BAD}",
    ),
    (
        "connectors:",
        "http: 8080\nconnectors:",
        "1:7: http: expected a mapping of keys, found a single value",
    ),
];

#[test]
fn a_broken_file_is_told_by_file_line_and_key() {
    let mut differences = String::new();
    for (part, by, expected) in BROKEN {
        assert_eq!(MINIMAL.matches(part).count(), 1, "{part}");
        let expected: Vec<String> = expected
            .lines()
            .map(|line| format!("/etc/frazil/frazil.yaml:{line}"))
            .collect();
        let found =
            parsed(&MINIMAL.replacen(part, by, 1)).map_or_else(|error| error, |_| "no error".to_owned());
        if found != expected.join("\n") {
            differences.push_str(&format!(
                "{by:?}\n  found    {found}\n  expected {}\n",
                expected.join("\n")
            ));
        }
        assert!(!found.contains("canary"), "{found}");
    }
    assert!(differences.is_empty(), "{differences}");
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
