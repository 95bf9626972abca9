//! A connector from its set-up to its rows, as processes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::{CANARY, Local, frazil, told};

/// How long a worker may take for what a test waits for.
const LIMIT: Duration = Duration::from_secs(300);

/// A worker under way; killed when dropped.
pub(crate) struct Worker {
    child: Child,
    log: mpsc::Receiver<String>,
}

impl Worker {
    pub(crate) fn start(config: &Path) -> Self {
        let mut child = frazil()
            .env(
                "FRAZIL_LOG",
                "frazil_model=debug,frazil_runtime=info,frazil_snowflake=info",
            )
            .args(["run", "-c"])
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, log }
    }

    /// Reads the log until `enough` of its lines so far.
    pub(crate) fn until(&self, enough: impl Fn(&[String]) -> bool) -> Vec<String> {
        let (mut lines, end) = (Vec::new(), Instant::now() + LIMIT);
        while !enough(&lines) {
            let line = self
                .log
                .recv_timeout(end.saturating_duration_since(Instant::now()));
            lines.push(line.unwrap_or_else(|error| panic!("{error}: {lines:#?}")));
        }
        lines
    }

    /// Adds what is told to the log, until nothing is told for so long, or a line has come after that time.
    pub(crate) fn more(&self, log: &mut Vec<String>, time: Duration) {
        let end = Instant::now() + time;
        while let Ok(line) = self
            .log
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            log.push(line);
        }
    }

    /// Stops it as its user would, and waits until it has ended well.
    pub(crate) fn stop(mut self, log: &mut Vec<String>) {
        let id = self.child.id().to_string();
        let asked = std::process::Command::new("kill").args(["-TERM", &id]).status();
        assert!(asked.expect("it runs").success());
        log.extend(self.log.iter());
        let ended = self.child.wait().expect("it ends");
        assert!(ended.success(), "{ended}: {log:#?}");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The number behind these words of a line.
pub(crate) fn number_behind(line: &str, words: &str) -> Option<u64> {
    let rest = line.split_once(words)?.1;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[test]
fn a_record_that_no_commit_survives_becomes_a_letter_and_all_others_rows_with_their_latency() {
    let local = Local::start();
    let data = local.folder.path().join("data");
    let sql = |statement: &str| {
        let output = frazil()
            .args(["sql", "--json", "--data"])
            .arg(&data)
            .arg(statement)
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON")
    };
    sql("ALTER TABLE D.PUBLIC.T SET ROW_TIMESTAMP = TRUE");
    // More new columns than evolution adds at once: the channel becomes invalid, each time.
    let wide: Vec<String> = (0..150).map(|n| format!("\"c{n}\":{n}")).collect();
    let lines: Vec<String> = (0..300)
        .map(|n| match n {
            137 => format!("{{\"n\":{n},{}}}", wide.join(",")),
            _ => format!("{{\"n\":{n}}}"),
        })
        .collect();
    let events = local.folder.path().join("events.ndjson");
    std::fs::write(&events, lines.join("\n")).expect("written");
    local.send(&events);
    let letters = local.folder.path().join("letters");
    let kept = format!(
        "name: one\n    dead_letters: {{file: {{path: {}}}}}",
        letters.display()
    );
    let config = local.configuration("name: one", &kept);
    let worker = Worker::start(&config);
    let committed = |lines: &[String]| -> u64 {
        let spans = lines.iter().filter(|line| line.contains("SpanCommitted"));
        spans.filter_map(|line| number_behind(line, " rows: ")).sum()
    };
    // What was committed right before a channel became invalid is in the table, and no span of it is told.
    let is_there = || sql("SELECT COUNT(*) AS C FROM D.PUBLIC.T")[0]["C"] == 299;
    let log = worker.until(|lines| {
        let last = lines.last().is_some_and(|line| line.contains("SpanCommitted"));
        last && committed(lines) > 150 && is_there()
    });
    assert!(committed(&log) <= 299, "{}", committed(&log));
    let suspected = log
        .iter()
        .filter(|line| line.contains("channel failed on rows"))
        .count();
    assert!((4..40).contains(&suspected), "{suspected} looks for the record");
    let kept = std::fs::read_dir(&letters).expect("a folder").flatten();
    let text: String = kept
        .filter_map(|file| std::fs::read_to_string(file.path()).ok())
        .collect();
    let letters: Vec<&str> = text.lines().collect();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0].contains("\"refused_by_service\""), "{}", letters[0]);
    let found = sql("SELECT COUNT(*) AS C, COUNT(DISTINCT N) AS D, SUM(N) AS S FROM D.PUBLIC.T");
    let wanted = serde_json::json!([{ "C": 299, "D": 299, "S": 299 * 300 / 2 - 137 }]);
    assert_eq!(found, wanted);
    let output = frazil()
        .args(["latency", "--table", "--json", "-c"])
        .arg(&config)
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let latency: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(latency[0]["rows"], 299, "{latency}");
    assert!(
        latency[1]["p50_ms"].as_u64().is_some_and(|ms| ms > 0),
        "{latency}"
    );
}

#[test]
fn what_setup_prints_makes_a_connector_run_and_each_grant_of_it_is_needed() {
    let local = Local::start();
    let config = local.configuration("user: FRAZIL", "user: writer\n      role: CONNECTOR");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    let text = text
        .replace("database: D", "database: NEW")
        .replace("table: T", "table: EVENTS");
    std::fs::write(&config, text).expect("written");
    let output = frazil()
        .args(["setup", "snowflake", "table", "-c"])
        .arg(&config)
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let script = String::from_utf8(output.stdout).expect("text");
    let run = |script: &str| local.play(script);
    let refused = || -> Vec<String> {
        let output = frazil()
            .args(["check", "--json", "-c"])
            .arg(&config)
            .output()
            .expect("it runs");
        let findings: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let findings = findings.as_array().expect("findings");
        assert!(findings.len() > 10, "{findings:?}");
        let refused = findings.iter().filter(|finding| finding["state"] == "refused");
        refused
            .map(|finding| finding["id"].as_str().expect("an id").to_owned())
            .collect()
    };
    assert!(!refused().is_empty(), "nothing is there yet");
    run(&script);
    assert_eq!(refused(), Vec::<String>::new(), "{script}");
    // Each grant, taken back, is missed; given again, it is not.
    let mut tried = 0;
    for grant in script.lines().filter(|line| line.starts_with("GRANT ")) {
        let revoke = grant.replacen("GRANT ", "REVOKE ", 1);
        let revoke = revoke
            .replacen(" TO ROLE ", " FROM ROLE ", 1)
            .replacen(" TO USER ", " FROM USER ", 1);
        run(&format!("USE ROLE ACCOUNTADMIN;\n{revoke}"));
        assert!(!refused().is_empty(), "{grant} is not needed");
        run(&format!("USE ROLE ACCOUNTADMIN;\n{grant}"));
        assert_eq!(refused(), Vec::<String>::new(), "{grant}");
        tried += 1;
    }
    assert_eq!(tried, 5, "{script}");
    // From where the user may come: from this machine, and then from another one only.
    let output = frazil()
        .args(["setup", "network", "--address", "127.0.0.1/32", "-c"])
        .arg(&config)
        .output()
        .expect("it runs");
    let script = String::from_utf8(output.stdout).expect("text");
    assert_eq!(
        script.lines().filter(|line| line.starts_with("CREATE ")).count(),
        4,
        "{script}"
    );
    run(&script);
    assert_eq!(refused(), Vec::<String>::new(), "{script}");
    let from = |address: &str| {
        let rule = "\"NEW\".\"PUBLIC\".\"ONE_WORKERS\"";
        run(&format!(
            "ALTER NETWORK RULE {rule} SET VALUE_LIST = ('{address}');"
        ));
    };
    from("203.0.113.7");
    assert_eq!(refused(), ["snowflake.login"]);
    from("127.0.0.1");
    assert_eq!(refused(), Vec::<String>::new());
    // And rows come through it.
    let events = local.folder.path().join("events.ndjson");
    std::fs::write(&events, "{\"n\":1}\n{\"n\":2}\n").expect("written");
    local.send(&events);
    let worker = Worker::start(&config);
    worker.until(|lines| {
        let spans = lines.iter().filter(|line| line.contains("SpanCommitted"));
        spans
            .filter_map(|line| number_behind(line, " rows: "))
            .sum::<u64>()
            >= 2
    });
}

#[test]
fn each_part_of_a_set_up_is_a_document_of_its_own_and_all_kinds_of_tables_are_made() {
    let local = Local::start();
    let print = |config: &Path, arguments: &[&str]| {
        let output = frazil()
            .arg("setup")
            .args(arguments)
            .arg("-c")
            .arg(config)
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        String::from_utf8(output.stdout).expect("text")
    };
    let sql = |script: &str| local.play(script);
    let mut made = 0;
    for kind in ["standard", "static", "iceberg", "interactive"] {
        let config = local.configuration("table: T", &format!("table: {}", kind.to_uppercase()));
        sql(&print(&config, &["snowflake", "table", "--table", kind]));
        made += 1;
    }
    assert_eq!(made, 4);
    let config = local.configuration("table: T", "pipe: P");
    let statements = print(&config, &["pipe", "--into", "STATIC"]);
    sql(&print(&config, &["snowflake"]));
    sql(&statements);
    let policy: serde_json::Value = serde_json::from_str(&print(&config, &["iam"])).expect("JSON");
    assert_eq!(policy["Version"], "2012-10-17");
    // Whole, it is a page for people.
    let all = print(&config, &["--into", "STATIC"]);
    let is_heading = |line: &&str| {
        let text = line.strip_prefix("-- ");
        text.is_some_and(|text| text.starts_with(|c: char| c.is_ascii_digit()))
    };
    assert_eq!(all.lines().filter(is_heading).count(), 9, "{all}");
    assert!(!all.contains(CANARY), "a secret was told");
    let key =
        std::fs::read_to_string(local.addresses["privateKeyFile"].as_str().expect("a path")).expect("a key");
    assert!(
        !all.contains(key.lines().nth(3).expect("a line")),
        "the key was told"
    );
}
