//! The program as its users run it: the whole way under a poisoned environment, and one clear error for each mistake.
#![cfg(feature = "local")]

mod connector;
mod routes;
mod situations;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

/// A text that must never be told.
const CANARY: &str = "canary-7f3a";

fn frazil() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_frazil"));
    command
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null());
    command
}

/// What a user's own cloud settings may look like; used, each of them breaks the run.
fn poison(command: &mut Command, folder: &Path) {
    let file = folder.join("poisoned");
    std::fs::write(
        &file,
        "[default]\naws_access_key_id = poison\nregion = mars-1\nendpoint_url = http://127.0.0.1:9\n",
    )
    .expect("written");
    for name in [
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_CA_BUNDLE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    ] {
        command.env(name, &file);
    }
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env(name, "http://127.0.0.1:9");
    }
    for name in [
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_KINESIS",
        "AWS_ENDPOINT_URL_DYNAMODB",
        "SNOWFLAKE_HOST",
    ] {
        command.env(name, "http://127.0.0.1:9");
    }
    command.envs([
        ("AWS_ACCESS_KEY_ID", CANARY),
        ("AWS_SECRET_ACCESS_KEY", CANARY),
        ("AWS_SESSION_TOKEN", CANARY),
        ("AWS_PROFILE", "nowhere"),
        ("AWS_REGION", "mars-1"),
        ("AWS_ROLE_ARN", "arn:aws:iam::0:role/poison"),
        (
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "http://127.0.0.1:9/credentials",
        ),
        ("SNOWFLAKE_ACCOUNT", "POISON"),
        ("SNOWFLAKE_USER", "POISON"),
        ("SNOWFLAKE_PRIVATE_KEY_FILE", "/nowhere/key.p8"),
    ]);
}

fn told(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn a_poisoned_environment_does_not_reach_the_demo() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = frazil();
    poison(&mut command, folder.path());
    let data = folder.path().join("data");
    let output = command
        .args(["demo", "--once", "--events", "600", "--data"])
        .arg(&data)
        .output()
        .expect("it runs");
    let told = told(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    for (line, count) in [
        ("sent", "600"),
        ("committed", "600"),
        ("lost", "0"),
        ("doubled", "0"),
    ] {
        let row = told
            .lines()
            .find(|text| text.starts_with(&format!("│ {line} ")))
            .unwrap_or_else(|| panic!("{told}"));
        assert!(row.contains(&format!(" {count} │")), "{row}");
    }
    // Nothing that gives rights was told: not the poison, and not the demo's own key.
    let key = std::fs::read_to_string(data.join("keys/frazil_rsa_key.p8")).expect("the demo's key");
    let secret = key.lines().nth(3).expect("a key of several lines");
    assert!(
        !told.contains(CANARY) && !told.contains(secret),
        "a secret was told"
    );
}

/// A `frazil local` with a stream and a table.
struct Local {
    child: Child,
    out: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
    addresses: serde_json::Value,
}

impl Local {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ports = [
            "--kinesis-port",
            "0",
            "--dynamodb-port",
            "0",
            "--snowflake-port",
            "0",
            "--snowflake-tls-port",
            "0",
        ];
        let mut child = frazil()
            .args(["local", "--stream", "clicks=1", "--table", "D.PUBLIC.T", "--data"])
            .arg(folder.path().join("data"))
            .args(ports)
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        // The listing comes when everything is there.
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        out.read_line(&mut line).expect("a line");
        assert!(line.starts_with("Kinesis"), "{line:?}");
        let text = std::fs::read_to_string(folder.path().join("data/local.json")).expect("the addresses");
        Self {
            child,
            out,
            addresses: serde_json::from_str(&text).expect("JSON"),
            folder,
        }
    }

    /// Ends it as Ctrl-C does; what it told behind its first line.
    fn stop(mut self) -> String {
        let id = self.child.id().to_string();
        let told = Command::new("kill")
            .args(["-INT", &id])
            .status()
            .expect("it runs");
        assert!(told.success());
        let mut text = String::new();
        std::io::Read::read_to_string(&mut self.out, &mut text).expect("text");
        text
    }

    /// Puts the lines of a file into the stream.
    fn send(&self, events: &Path) {
        let output = frazil()
            .arg("send")
            .arg(events)
            .args(["--stream", "clicks", "--local"])
            .arg(self.addresses["kinesisUrl"].as_str().expect("an address"))
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    }

    /// Runs a script of SQL, given as its standard input.
    fn play(&self, script: &str) {
        let mut client = frazil()
            .args(["sql", "--file", "-", "--data"])
            .arg(self.folder.path().join("data"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut input = client.stdin.take().expect("piped");
        std::io::Write::write_all(&mut input, script.as_bytes()).expect("taken");
        drop(input);
        let output = client.wait_with_output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{script}\n{}", told(&output));
    }

    /// A configuration with one text replaced.
    fn configuration(&self, replace: &str, with: &str) -> std::path::PathBuf {
        let at = |name: &str| self.addresses[name].as_str().expect("an address").to_owned();
        let text = format!(
            "connectors:
  - name: one
    source:
      stream: clicks
      region: us-east-1
      application_name: errors
      endpoint: {}
      dynamodb_endpoint: {}
      credentials: {{access_key_id: AKIDLOCAL, secret_access_key: {CANARY}}}
    destination:
      account: LOCAL
      user: FRAZIL
      private_key_file: {}
      url: {}
      database: D
      schema: PUBLIC
      table: T
http: {{listen: 127.0.0.1:0}}
",
            at("kinesisUrl"),
            at("dynamodbUrl"),
            at("privateKeyFile"),
            at("snowflakeUrl"),
        );
        assert!(text.contains(replace), "{replace}");
        let path = self.folder.path().join("frazil.yaml");
        std::fs::write(&path, text.replacen(replace, with, 1)).expect("written");
        path
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn events_of_a_key_keep_their_order_while_a_part_of_each_put_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("faults.yaml");
    let text = "seed: 11\nrules:\n  - {service: kinesis, operation: PutRecords, fault: partial, share: 0.4, times: 20}\n";
    std::fs::write(&rules, text).expect("written");
    let local = Local::start_with(&["--faults", rules.to_str().expect("UTF-8")]);
    let events = folder.path().join("events.ndjson");
    let lines: Vec<String> = (0..100)
        .map(|n| format!("{{\"n\":{n},\"key\":\"k{}\"}}", n % 10))
        .collect();
    std::fs::write(&events, lines.join("\n")).expect("written");
    let receipts = folder.path().join("receipts");
    let output = frazil()
        .arg("send")
        .arg(&events)
        .args(["--stream", "clicks", "--key", "key", "--local"])
        .arg(local.addresses["kinesisUrl"].as_str().expect("an address"))
        .arg("--receipts")
        .arg(&receipts)
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    // Receipts stand in the order of the events; all sequence numbers of the shard are equally long.
    let receipts = std::fs::read_to_string(&receipts).expect("receipts");
    let numbers: Vec<String> = receipts
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .map(|receipt| receipt["sequenceNumber"].as_str().expect("a number").to_owned())
        .collect();
    assert_eq!(numbers.len(), 100);
    for key in 0..10 {
        let of_key: Vec<&String> = numbers.iter().skip(key).step_by(10).collect();
        assert!(of_key.is_sorted(), "{key}: {of_key:?}");
    }
    let last = local.stop();
    assert!(
        last.contains("faults     1 rules of") && last.contains("seed 11"),
        "{last}"
    );
    let row = last.lines().find(|line| line.contains("partial"));
    let row = row.unwrap_or_else(|| panic!("{last}"));
    let fired: u32 = row
        .rsplit('┆')
        .next()
        .and_then(|cell| cell.trim_matches([' ', '│']).parse().ok())
        .expect(row);
    assert!((10..=20).contains(&fired), "{row}");
}

#[test]
fn each_mistake_gets_one_clear_error_with_its_exit_code() {
    let local = Local::start();
    let other_key = "/nowhere/key.p8";
    let key = local.addresses["privateKeyFile"]
        .as_str()
        .expect("a path")
        .to_owned();
    let cases = [
        (
            "stream: clicks",
            "stream: nowhere",
            4,
            "check the stream's name and region",
        ),
        ("table: T", "table: NOWHERE", 4, "check the names"),
        ("schema: PUBLIC", "schema: NOWHERE", 4, "check the names"),
        ("user: FRAZIL", "user: NOBODY", 3, "ALTER USER"),
        (key.as_str(), other_key, 3, "/nowhere/key.p8 cannot be read"),
        ("table: T", "tabel: T", 2, "did you mean"),
        ("region: us-east-1", "region: us east", 2, "5:15"),
    ];
    for (replace, with, code, words) in cases {
        let config = local.configuration(replace, with);
        let output = frazil()
            .args(["run", "-c"])
            .arg(&config)
            .output()
            .expect("it runs");
        let told = told(&output);
        assert_eq!(output.status.code(), Some(code), "{with}: {told}");
        assert!(told.contains(words), "{with}: {told}");
        assert!(!told.contains(CANARY), "{with}: a secret was told");
    }
}

#[test]
fn a_check_tells_what_is_missing_and_ends_as_the_worst_of_it() {
    let local = Local::start();
    let check = |config: &Path, options: &[&str]| {
        let mut command = frazil();
        poison(&mut command, local.folder.path());
        let output = command.args(["check", "-c"]).arg(config).args(options).output();
        let output = output.expect("it runs");
        let told = told(&output);
        assert!(!told.contains(CANARY), "a secret was told");
        (output.status.code(), told)
    };
    let whole = local.configuration("", "");
    let (code, told) = check(&whole, &[]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains(" 0 refused, 0 warnings, 1 unknowable"), "{told}");
    let (code, json) = check(&whole, &["--json"]);
    assert_eq!(code, Some(0), "{json}");
    let findings: Vec<serde_json::Value> = serde_json::from_str(&json).expect("a JSON array");
    assert!(findings.len() >= 25, "{}", findings.len());
    for finding in &findings {
        for key in ["id", "state", "what", "where", "connector", "group"] {
            assert!(finding[key].is_string(), "{key}: {finding}");
        }
        assert!(finding["repair"].is_array(), "{finding}");
    }
    let cases = [
        (
            "stream: clicks",
            "stream: nowhere",
            4,
            "aws kinesis create-stream",
        ),
        ("table: T", "table: t", 4, "destination.table: T"),
        (
            "user: FRAZIL",
            "user: NOBODY",
            3,
            "ALTER USER \"NOBODY\" SET RSA_PUBLIC_KEY = 'MII",
        ),
        ("region: us-east-1", "region: us east", 2, "5:15"),
        ("name: one", "naem: one", 2, "did you mean"),
    ];
    for (replace, with, exit, words) in cases {
        let (code, told) = check(&local.configuration(replace, with), &[]);
        assert_eq!(code, Some(exit), "{with}: {told}");
        assert!(told.contains(words), "{with}: {told}");
    }
    let (code, told) = check(&whole, &["--connector", "two"]);
    assert_eq!(code, Some(2), "{told}");
}

#[test]
fn scripts_run_statement_by_statement_and_stop_where_one_fails() {
    let local = Local::start();
    let play = |file: &Path| {
        let data = local.folder.path().join("data");
        let mut command = frazil();
        command
            .args(["sql", "--json", "--file"])
            .arg(file)
            .arg("--data")
            .arg(data);
        command.output().expect("it runs")
    };
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/sql");
    let mut answers = 0;
    for script in [
        "1-roles.sql",
        "2-tables.sql",
        "3-pipes.sql",
        "4-iceberg.sql",
        "5-changes.sql",
    ] {
        let output = play(&scripts.join(script));
        assert_eq!(output.status.code(), Some(0), "{script}: {}", told(&output));
        answers += String::from_utf8_lossy(&output.stdout).lines().count();
    }
    assert!(answers >= 91, "{answers} answers");
    let broken = local.folder.path().join("broken.sql");
    std::fs::write(
        &broken,
        "-- begin\nUSE SCHEMA kinesis_db.kinesis_schema;\nSELECT COUNT(*) AS C FROM paid;\n\nSELECT * FROM nowhere;\nDROP TABLE paid;\n",
    )
    .expect("written");
    let output = play(&broken);
    let told = told(&output);
    assert_ne!(output.status.code(), Some(0), "{told}");
    assert!(
        told.contains(r#"[{"C":2}]"#) && told.contains("broken.sql:5: "),
        "{told}"
    );
    let left = local.folder.path().join("left.sql");
    std::fs::write(&left, "SELECT COUNT(*) AS C FROM kinesis_db.kinesis_schema.paid").expect("written");
    assert_eq!(
        play(&left).status.code(),
        Some(0),
        "nothing ran behind the failure"
    );
    local.stop();
}

#[test]
fn a_verb_without_its_counterpart_says_what_to_do() {
    let nowhere = ["status", "--address", "127.0.0.1:9"];
    let output = frazil().args(nowhere).output().expect("it runs");
    assert_eq!(output.status.code(), Some(6), "{}", told(&output));
    assert!(told(&output).contains("is a worker running"), "{}", told(&output));
    let output = frazil()
        .args(["sql", "SELECT 1", "--data", "/nowhere"])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(4), "{}", told(&output));
    assert!(told(&output).contains("frazil local --data"), "{}", told(&output));
}
