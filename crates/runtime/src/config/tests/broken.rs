//! Each mistake of a file, and what is told of it.

use super::{MINIMAL, parsed};

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
