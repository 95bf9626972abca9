//! Thousands of scripted orders of answers: the channel against a small model of the service.
//!
//! How it works: a case is a list of [`Op`]s: appends with scripted answers, statuses of now and of before, commits, lagging
//! counters, re-opens, removals. The [`Writer`] is a caller as the pipeline is one: after whatever error it drops the channel,
//! opens it again and goes on behind the later of the token and what was proved. After the last step the service is healthy,
//! and status alone must bring the writer to the end.
//!
//! What is asserted is in [`Writer::look`] and [`Writer::finish`]. How often each thing happened is counted over all cases, and
//! one that never happened fails the test. `PROPTEST_CASES=n` runs more of them.

mod poller;
mod service;
mod writer;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use service::Answer;
use writer::Writer;

const CASES: u32 = 3000;

/// A step of a case.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// The next rows, and how the tries before the last one are answered.
    Append { rows: u64, answers: Vec<Answer> },
    /// The status of now.
    Status,
    /// The status of so many steps ago, which may be of an older epoch.
    StatusOfBefore(usize),
    /// The oldest batches are committed, with row errors in each.
    Commit { batches: usize, errors: u64 },
    /// Counters stand still, or show all again.
    Lag(bool),
    /// The channel becomes invalid.
    Invalidate(&'static str),
    /// Another client opens it.
    TakenByAnother,
    /// The service removes it.
    Remove,
    /// Accepted rows are lost, and nothing says so.
    LoseAccepted,
    /// Requests that were under way arrive.
    Arrive,
    /// The writer is started anew: opens are answered so, and so many batches commit before the fence.
    Restart {
        answers: Vec<Answer>,
        commits: usize,
        awaits: bool,
    },
    /// The lease row is told.
    Checkpoint,
    /// Time goes by, in seconds.
    Wait(u64),
    /// A token passes rows that never come.
    Swallow,
}

const CODES: [&str; 6] = [
    "ERR_CHANNEL_MUST_BE_REOPENED",
    "ERR_CHANNEL_MUST_BE_REOPENED_DUE_TO_ROW_SEQ_GAP",
    "ERR_CHANNEL_HAS_INVALID_ROW_SEQUENCER",
    "ERR_CHANNEL_HAS_INVALID_CLIENT_SEQUENCER",
    "ERR_PIPE_DOES_NOT_EXIST_OR_NOT_AUTHORIZED",
    "ERR_TABLE_DOES_NOT_EXIST_NOT_AUTHORIZED",
];

fn answers() -> impl Strategy<Value = Vec<Answer>> {
    let answer = prop_oneof![
        4 => Just(Answer::LostBefore),
        4 => Just(Answer::LostAfter),
        2 => Just(Answer::LostLate),
        2 => Just(Answer::Throttled),
        2 => Just(Answer::Fault),
        1 => Just(Answer::Stale),
        1 => Just(Answer::Refused),
        1 => Just(Answer::InProgress),
    ];
    prop_oneof![
        3 => Just(Vec::new()),
        2 => prop::collection::vec(answer, 1..4),
        // More than a batch is sent again.
        1 => prop_oneof![Just(Answer::LostAfter), Just(Answer::LostBefore)].prop_map(|lost| vec![lost; 30]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (1_u64..6, answers()).prop_map(|(rows, answers)| Op::Append { rows, answers }),
        8 => Just(Op::Status),
        3 => (1_usize..12).prop_map(Op::StatusOfBefore),
        6 => (1_usize..4, prop_oneof![3 => Just(0_u64), 1 => 1_u64..3])
            .prop_map(|(batches, errors)| Op::Commit { batches, errors }),
        2 => Just(Op::Lag(true)),
        2 => Just(Op::Lag(false)),
        1 => prop::sample::select(&CODES[..]).prop_map(Op::Invalidate),
        1 => Just(Op::TakenByAnother),
        1 => Just(Op::Remove),
        1 => Just(Op::LoseAccepted),
        2 => Just(Op::Arrive),
        2 => (answers(), 0_usize..3, any::<bool>())
            .prop_map(|(answers, commits, awaits)| Op::Restart { answers, commits, awaits }),
        2 => Just(Op::Checkpoint),
        3 => (1_u64..25).prop_map(Op::Wait),
    ]
}

fn case() -> impl Strategy<Value = (bool, Vec<Op>)> {
    (any::<bool>(), prop::collection::vec(op(), 1..60))
}

/// Runs cases; answers what happened in all of them.
fn run(
    number: u32,
    cases: impl Strategy<Value = (bool, Vec<Op>)>,
    judge: impl Fn(&mut Writer) -> Result<(), TestCaseError>,
) -> BTreeMap<&'static str, u64> {
    let counts = Mutex::new(BTreeMap::new());
    let more = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok());
    let config = Config {
        cases: more.unwrap_or(number),
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let outcome = runner.run(&cases, |(stale_on_replay, ops)| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut writer = Writer::start(stale_on_replay).await;
            for op in &ops {
                writer.meet(op).await?;
            }
            writer.finish().await?;
            judge(&mut writer)?;
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            for (what, count) in writer.counts() {
                *counts.entry(what).or_default() += count;
            }
            Ok(())
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    counts.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Fails if one of these hardly ever happened.
#[expect(clippy::print_stdout, reason = "what was tried is the test's answer")]
fn happened(counts: &BTreeMap<&'static str, u64>, what: &[&'static str]) {
    println!("{counts:#?}");
    for name in what {
        let count = counts.get(name).copied().unwrap_or(0);
        assert!(count >= 20, "{name} happened {count} times");
    }
}

#[test]
fn no_order_of_answers_loses_or_doubles_a_row_or_calls_one_committed_that_is_not_there() {
    let counts = run(CASES, case(), |_| Ok(()));
    let service = [
        "commit",
        "row errors",
        "lost before",
        "lost after",
        "lost late",
        "throttled",
        "server fault",
        "called stale",
        "refused",
        "replay answered",
        "replay called stale",
        "late request taken",
        "late request refused",
        "taken by another",
        "removed",
        "accepted rows lost",
        "discarded at an open",
        "open lost before",
        "open lost after",
        "open in progress",
        "uncommitted rows",
    ];
    let writer = [
        "committed",
        "waiting",
        "status of an older epoch",
        "lagging status",
        "append given up",
        "another writer",
        "stale continuation",
        "reopen by append",
        "reopen by status",
        "reopen by commit timeout",
        "in-flight batches dropped",
        "channel gone",
        "baseline proved",
        "baseline assumed",
        "recovered by status alone",
    ];
    happened(&counts, &service);
    happened(&counts, &CODES);
    happened(&counts, &writer);
}

#[test]
fn a_token_that_passes_rows_that_never_came_is_a_mismatch_and_never_a_commit() {
    let cases = (
        any::<bool>(),
        prop::collection::vec(op(), 0..12),
        prop::collection::vec(op(), 0..6),
    )
        .prop_map(|(stale, mut ops, after)| {
            ops.extend([
                Op::Append {
                    rows: 3,
                    answers: Vec::new(),
                },
                Op::Append {
                    rows: 2,
                    answers: Vec::new(),
                },
                Op::Swallow,
            ]);
            // A re-open believes the token: only the counts of the same opening can tell.
            let quiet = |op: &Op| match op {
                Op::Append { answers, .. } => answers.is_empty(),
                op => matches!(op, Op::Status | Op::Commit { .. } | Op::Wait(_)),
            };
            ops.extend(after.into_iter().filter(quiet));
            (stale, ops)
        });
    let counts = run(CASES / 3, cases, |writer| {
        prop_assert_eq!(writer.has_stopped(), writer.has_swallowed());
        Ok(())
    });
    happened(&counts, &["mismatch", "swallowed"]);
}
