//! How a run is played: local services, a worker, producers, and the count of the rows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use crate::connector::Worker;
use crate::{Local, frazil, told};

/// What a run may take until all rows are there.
const LIMIT: Duration = Duration::from_secs(300);
/// Events of each producer of a wave.
const EVENTS: u64 = 240;

/// A situation, what provokes it, and what is told of it.
pub(super) struct Situation {
    pub(super) what: &'static str,
    /// Rules of the faults file.
    pub(super) rules: &'static [&'static str],
    /// Words of one line of the worker's log.
    pub(super) told: &'static str,
}

/// What a run does beside the situations.
#[derive(Default)]
pub(super) struct Run {
    /// More rules.
    pub(super) rules: &'static [&'static str],
    /// Events a second of each producer; none: all at once.
    pub(super) rate: Option<&'static str>,
    /// Statements before anything.
    pub(super) prepare: &'static str,
    /// A text of the configuration and what stands there instead.
    pub(super) configured: Option<(&'static str, &'static str)>,
    /// Statements while rows flow.
    pub(super) meanwhile: &'static str,
    /// What is there in the end, as SQL that answers the metadata of all rows.
    pub(super) rows: Option<&'static str>,
    /// What a person does each time that so many shards stalled and told this.
    pub(super) once_told: Option<(&'static str, usize, Deed)>,
    /// Waves of events at least; 0: two.
    pub(super) waves: u64,
    /// Rows may be there twice if that was told.
    pub(super) may_repeat: bool,
    /// How many rows are missing, as the log tells it.
    pub(super) missing: Option<fn(&[String]) -> u64>,
    /// The table has an error table, and each row in it is a dead letter, too.
    pub(super) refused: bool,
}

/// What a person does about it.
#[derive(Clone, Copy)]
pub(super) enum Deed {
    /// Runs statements.
    Play(&'static str),
    /// Runs `frazil resume`.
    Resume,
}

/// Producers under way; killed when dropped.
struct Producers(Vec<Child>);

impl Producers {
    fn start(local: &Local, rate: Option<&str>, wave: u64) -> Self {
        let start = |(name, first, more): (&str, u64, &[&str])| {
            let path = local.folder.path().join(name);
            let lines: Vec<String> = (first..first + EVENTS)
                .map(|n| format!("{{\"n\":{n},\"text\":\"event {n}\"}}"))
                .collect();
            std::fs::write(&path, lines.join("\n")).expect("written");
            frazil()
                .arg("send")
                .arg(&path)
                .args(["--stream", "flow", "--local"])
                .arg(local.addresses["kinesisUrl"].as_str().expect("an address"))
                .args(rate.iter().flat_map(|rate| ["--rate", rate]))
                .args(more)
                .stdout(Stdio::null())
                .spawn()
                .expect("it runs")
        };
        let flows: [(&str, u64, &[&str]); 2] = [
            ("plain.ndjson", wave * 2 * EVENTS, &[]),
            ("packed.ndjson", (wave * 2 + 1) * EVENTS, &["--aggregate"]),
        ];
        Self(flows.map(start).into())
    }

    fn are_done(&mut self) -> bool {
        self.0.iter_mut().all(|producer| match producer.try_wait() {
            Ok(Some(status)) => {
                assert!(status.success(), "a producer failed");
                true
            }
            _ => false,
        })
    }
}

impl Drop for Producers {
    fn drop(&mut self) {
        for producer in &mut self.0 {
            drop(producer.kill());
            drop(producer.wait());
        }
    }
}

/// Rows, and how many of them there are by their place in the stream and by their number.
fn count(local: &Local, rows: Option<&str>) -> [u64; 3] {
    let rows = rows.unwrap_or("SELECT N, KINESISMETADATA AS M FROM D.PUBLIC.T");
    let statement = format!(
        "SELECT COUNT(*) AS C, COUNT(DISTINCT N) AS D, COUNT(DISTINCT M:shardId::VARCHAR || '/' || \
         M:sequenceNumber::VARCHAR || '/' || M:subSequenceNumber::VARCHAR) AS K FROM ({rows})"
    );
    // Before the first row its columns are not there, and a table that is made anew is not there for a moment.
    let Some(found) = query(local, &statement) else {
        return [0; 3];
    };
    ["C", "D", "K"].map(|column| found[0][column].as_u64().unwrap_or(0))
}

/// What runs a statement and answers JSON.
fn query(local: &Local, statement: &str) -> Option<Value> {
    let output = frazil()
        .args(["sql", "--json", "--data"])
        .arg(local.folder.path().join("data"))
        .arg(statement)
        .output()
        .expect("it runs");
    serde_json::from_slice(&output.stdout).ok()
}

/// The numbers of the events in the error table.
fn refused(local: &Local) -> BTreeSet<u64> {
    let statement = "SELECT ERROR_DATA:\"$1\":n::NUMBER AS N FROM ERROR_TABLE(D.PUBLIC.T)";
    let rows = query(local, statement).expect("rows");
    let rows = rows.as_array().expect("a list");
    rows.iter()
        .map(|row| row["N"].as_u64().expect("a number"))
        .collect()
}

/// The numbers of the events that were kept as dead letters, aggregates opened.
fn letters(config: &Path) -> BTreeSet<u64> {
    let folder = config.with_file_name("dead-letters").join("one");
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let texts = files.map(|file| std::fs::read_to_string(file.path()).expect("readable"));
    let text: String = texts.collect();
    // The last line may be half written.
    let letters = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let numbers = letters.flat_map(|line| {
        let letter: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(letter["reason"], "row_error_suspect", "{line}");
        let data = BASE64
            .decode(letter["data"].as_str().expect("text"))
            .expect("base64");
        numbers_in(&String::from_utf8_lossy(&data))
    });
    numbers.collect()
}

/// The numbers of all events in a record.
fn numbers_in(record: &str) -> Vec<u64> {
    let behind = record.split("{\"n\":").skip(1);
    let digits = behind.filter_map(|rest| rest.split(',').next()?.parse().ok());
    digits.collect()
}

/// How often each rule hit, as the local services tell it at their end.
fn hits(told: &str) -> Vec<u64> {
    let cell = |line: &str| line.rsplit('┆').next()?.trim_matches([' ', '│']).parse().ok();
    let rules = told
        .lines()
        .filter(|line| line.contains("snowflake") || line.contains("kinesis"));
    rules.filter_map(cell).collect()
}

/// The local services, with these rules of faults.
fn local(folder: &Path, rules: &[&str], run: &Run) -> Local {
    let faults = folder.join("faults.yaml");
    let lines: Vec<String> = rules.iter().map(|rule| format!("  - {{{rule}}}\n")).collect();
    let text = if lines.is_empty() {
        "rules: []\n".to_owned()
    } else {
        format!("rules:\n{}", lines.concat())
    };
    std::fs::write(&faults, text).expect("written");
    let faults = faults.to_str().expect("UTF-8");
    let local = Local::start_with(&["--stream", "flow=3", "--faults", faults]);
    if !run.prepare.is_empty() {
        local.play(run.prepare);
    }
    local
}

/// The configuration of the worker.
fn configuration(local: &Local, run: &Run) -> PathBuf {
    let (replaced, with) = run.configured.unwrap_or(("table: T", "table: T"));
    let config = local.configuration(replaced, with);
    let text = std::fs::read_to_string(&config).expect("a configuration");
    let text = text
        .replace("stream: clicks", "stream: flow")
        .replace("name: one", "name: one\n    checkpoint_interval: 2s");
    std::fs::write(&config, text).expect("written");
    config
}

/// Takes the stop off the shards that have one; one command takes it off all.
fn resume(config: &Path) {
    let output = frazil()
        .args(["resume", "-c"])
        .arg(config)
        .output()
        .expect("it runs");
    let told = told(&output);
    let known = ["goes on", "no shard is stopped"];
    assert!(known.iter().any(|words| told.contains(words)), "{told}");
}

/// Plays a run; answers the worker's log.
pub(super) fn play(situations: &[Situation], run: &Run) -> Vec<String> {
    let rules: Vec<&str> = situations
        .iter()
        .flat_map(|one| one.rules)
        .chain(run.rules)
        .copied()
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let local = local(folder.path(), &rules, run);
    let config = configuration(&local, run);
    let worker = Worker::start(&config);
    let (mut producers, mut waves) = (Producers::start(&local, run.rate, 0), 1);
    let least = if run.waves == 0 { 2 } else { run.waves };
    let (mut log, end) = (Vec::new(), Instant::now() + LIMIT);
    let (mut meanwhile, mut deeds) = (Some(run.meanwhile).filter(|sql| !sql.is_empty()), 0);
    let missing = |log: &[String]| run.missing.map_or(0, |missing| missing(log));
    let all = loop {
        worker.more(&mut log, Duration::from_millis(500));
        let found = count(&local, run.rows.filter(|_| meanwhile.is_none()));
        if let Some(sql) = meanwhile.take_if(|_| found[0] > EVENTS / 2) {
            local.play(sql);
        }
        let stalled = |words: &str| {
            let stalls = log.iter().filter(|line| line.contains("shard stalled"));
            stalls.filter(|line| line.contains(words)).count()
        };
        if let Some((words, shards, deed)) = run.once_told
            && stalled(words) >= (deeds + 1) * shards
        {
            deeds += 1;
            match deed {
                Deed::Play(sql) => local.play(sql),
                Deed::Resume => resume(&config),
            }
        }
        let missed = situations
            .iter()
            .filter(|one| !log.iter().any(|line| line.contains(one.told)));
        let missed: Vec<&str> = missed.map(|one| one.what).collect();
        if producers.are_done() && meanwhile.is_none() {
            let (all, lost) = (waves * 2 * EVENTS, missing(&log));
            // What was on its way at a stop is found by the next look at the shard.
            let are_kept = !run.refused || refused(&local).is_subset(&letters(&config));
            let is_done = are_kept && (run.once_told.is_none() || deeds > 0);
            let are_there = found[1] + lost == all;
            if waves < least || !missed.is_empty() && is_done && are_there {
                producers = Producers::start(&local, run.rate, waves);
                waves += 1;
            } else if are_there && missed.is_empty() && is_done {
                break all - lost;
            }
        }
        if Instant::now() > end {
            let rules = local.stop();
            panic!("{found:?}; not told: {missed:?}; {log:#?}\n{rules}");
        }
    };
    worker.stop(&mut log);
    let last = count(&local, run.rows);
    assert_eq!(last[1..], [all, all], "rows are lost: {last:?}; {log:#?}");
    if run.may_repeat {
        let is_told = log.iter().any(|line| line.contains("may repeat"));
        assert!(last[0] == all || is_told, "{} rows of {all}; {log:#?}", last[0]);
    } else {
        assert_eq!(last[0], all, "rows are there twice; {log:#?}");
    }
    let told = local.stop();
    let hits = hits(&told);
    assert_eq!(hits.len(), rules.len(), "{told}");
    for (rule, hits) in rules.iter().zip(hits) {
        assert!(hits > 0, "a rule did not hit: {rule}\n{told}");
    }
    log
}
