//! The page and the code name the same metrics, and each of them moves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use frazil_model::{ErrorKind, Position, SequenceNumber, ShardId, StallReason, SystemClock, WorkerId};

use super::*;

/// One of each event that moves something, and those that end it.
fn events() -> Vec<Event> {
    let shard = ShardId::new("shardId-000000000000").expect("valid");
    let sequence = SequenceNumber::new("5").expect("digits");
    let position = Position {
        sequence,
        sub_sequence: 0,
        document: 0,
        last: true,
    };
    let s = || shard.clone();
    let ms = Duration::from_millis;
    vec![
        Event::ConnectorStarted {
            worker: WorkerId::new("w").expect("valid"),
        },
        Event::LeaseTaken { shard: s(), epoch: 1 },
        Event::ChannelOpened {
            shard: s(),
            channel: "C".into(),
            committed: None,
            again: false,
        },
        Event::ChannelOpened {
            shard: s(),
            channel: "C".into(),
            committed: None,
            again: true,
        },
        Event::ChannelGone {
            shard: s(),
            channel: "C".into(),
            from: None,
        },
        Event::RowsSuspected {
            shard: s(),
            rows: 8,
            error: "canary".into(),
        },
        Event::ShardStarted {
            shard: s(),
            from: "the oldest record".into(),
        },
        Event::PageRead {
            shard: s(),
            records: 2,
            bytes: 3,
            behind: ms(4000),
        },
        Event::DeadLettersKept {
            shard: s(),
            count: 4,
            reason: "not_json",
        },
        Event::RecordsDropped {
            shard: s(),
            count: 5,
            reason: "too_large",
        },
        Event::MetadataReplaced { shard: s(), count: 6 },
        Event::HashKeysUnread { first: 1, last: 2 },
        Event::OutOfHashRange { shard: s(), count: 2 },
        Event::BrokenAggregates {
            shard: s(),
            count: 3,
            reason: "wrong_digest",
        },
        Event::BatchAccepted {
            shard: s(),
            rows: 7,
            bytes: 8,
            wire_bytes: 9,
            took: ms(15),
            up_to: position.clone(),
        },
        Event::SpanCommitted {
            shard: s(),
            rows: 10,
            row_errors: 11,
            up_to: Some(position),
            latency: Some(ms(700)),
        },
        Event::Checkpointed {
            shard: s(),
            up_to: None,
            ended: false,
        },
        Event::CallFailed {
            shard: None,
            room: "kinesis",
            call: "GetRecords",
            kind: ErrorKind::SlowDown,
            error: "canary".into(),
            failures: 3,
        },
        Event::ShardStalled {
            shard: s(),
            reason: StallReason::Source,
            error: "canary".into(),
        },
        Event::DataExpired {
            shard: s(),
            detail: "canary".into(),
        },
        Event::MayRepeat {
            shard: s(),
            detail: "canary".into(),
        },
    ]
}

fn metrics() -> (Arc<Board>, Metrics) {
    let board = Arc::new(Board::new(Arc::new(SystemClock), ["clicks"]));
    let metrics = Metrics::new(Arc::clone(&board), ["clicks"]);
    (board, metrics)
}

fn after_all_events() -> String {
    let (board, metrics) = metrics();
    board.watch_memory(Box::new(|| crate::state::MemoryState {
        budget_bytes: 100,
        in_use_bytes: 12,
        highest_bytes: 13,
    }));
    board.watch_clock("clicks", Box::new(|| Some(600_500)));
    let mut events = events();
    let shard = ShardId::new("shardId-000000000001").expect("valid");
    events.extend([
        Event::LeaseLost {
            shard: shard.clone(),
            epoch: 1,
        },
        Event::LeaseReleased { shard: shard.clone() },
        Event::ShardFinished { shard },
    ]);
    for event in &events {
        board.observe("clicks", event);
        metrics.observe("clicks", event);
    }
    metrics.render()
}

/// Name as it is queried -> type.
fn described(text: &str) -> BTreeMap<String, String> {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    lines
        .map(|(name, kind)| {
            let name = if kind == "counter" {
                format!("{name}_total")
            } else {
                name.to_owned()
            };
            (name, kind.to_owned())
        })
        .collect()
}

#[test]
fn every_metric_moves() {
    let text = after_all_events();
    for (name, kind) in described(&text) {
        let sample = if kind == "histogram" {
            format!("{name}_count")
        } else {
            name.clone()
        };
        let moved = text.lines().any(|line| {
            let value = line
                .strip_prefix(sample.as_str())
                .filter(|rest| rest.starts_with(['{', ' ']));
            value
                .and_then(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
                .is_some_and(|value| value > 0.0)
        });
        assert!(moved, "{name} did not move:\n{text}");
    }
    assert!(!text.contains("canary") && !text.contains("shardId"), "{text}");
    for line in [
        "frazil_kinesis_records_total{connector=\"clicks\"} 2",
        "frazil_pipeline_dead_letters_total{connector=\"clicks\",reason=\"not_json\"} 4",
        "frazil_runtime_call_failures_total{connector=\"clicks\",part=\"kinesis\",kind=\"slow_down\"} 1",
        "frazil_snowflake_append_seconds_bucket{le=\"0.02\",connector=\"clicks\"} 1",
        "frazil_pipeline_memory_bytes 12.0",
        "frazil_snowflake_clock_ahead_seconds{connector=\"clicks\"} 600.5",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line:?} in\n{text}");
    }
}

#[test]
fn counters_stand_at_zero_before_anything_happened() {
    let (_, metrics) = metrics();
    let text = metrics.render();
    assert!(
        text.contains("frazil_snowflake_committed_rows_total{connector=\"clicks\"} 0\n"),
        "{text}"
    );
    assert!(
        text.contains("frazil_runtime_running_connectors{connector=\"clicks\"} 0"),
        "{text}"
    );
}

#[test]
fn the_page_describes_every_metric_and_no_other() {
    let page = include_str!("../../../../docs/metrics.md");
    let on_page: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `frazil_")?.split('`').next())
        .collect();
    let unique: BTreeSet<String> = on_page.iter().map(|name| format!("frazil_{name}")).collect();
    assert_eq!(unique.len(), on_page.len(), "a metric stands there twice");
    let in_code: BTreeSet<String> = described(&after_all_events()).into_keys().collect();
    assert_eq!(unique, in_code);
}
