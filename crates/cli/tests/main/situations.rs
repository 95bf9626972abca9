//! Each documented situation of a Snowpipe channel, provoked through real servers while rows flow.
//!
//! How it works: a [`Situation`] is what provokes it (rules of `frazil local --faults`, or SQL) and what the worker tells of it. A
//! run plays several that do not hide each other: two producers, one plain and one aggregating, write numbered events into a
//! stream of three shards, wave behind wave until everything was told; a worker carries them, and SQL counts the rows by shard,
//! sequence and sub-sequence number.
//!
//! What fails a run: a row that is lost, one that is there twice where the situation does not permit that, a situation that was not
//! told, a rule that did not hit.

mod play;

use std::collections::BTreeMap;

use crate::connector::number_behind;
use play::{Deed, Run, Situation, play};

/// A pipe of the user's own, which can be made again as the table's own cannot.
const PIPE: &str = "CREATE OR REPLACE PIPE D.PUBLIC.P AS COPY INTO D.PUBLIC.T FROM TABLE(DATA_SOURCE(TYPE => \
                    'STREAMING')) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE;";

/// The rows of the table and those that it refused.
const WITH_REFUSED: &str = "SELECT N, KINESISMETADATA AS M FROM D.PUBLIC.T UNION ALL SELECT ERROR_DATA:\"$1\":n::NUMBER, \
                            ERROR_DATA:\"$1\":kinesisMetadata FROM ERROR_TABLE(D.PUBLIC.T)";

/// Opens of a channel beside the first of each of the three shards.
fn reopened(log: &[String]) -> usize {
    let opened = log.iter().filter(|line| line.contains("channel opened"));
    opened.count().saturating_sub(3)
}

#[test]
fn answers_that_are_lost_or_put_off_are_met_by_the_same_request_and_no_channel_is_opened_again() {
    let situations = [
        Situation {
            what: "an answer is lost behind the append",
            rules: &["service: snowflake, operation: append_rows, fault: lost_answer, after: 1, times: 2"],
            told: "BatchAccepted",
        },
        Situation {
            what: "a request is lost before the append",
            rules: &["service: snowflake, operation: append_rows, fault: lost_request, after: 1, times: 2"],
            told: "BatchAccepted",
        },
        Situation {
            what: "an answer is cut",
            rules: &["service: snowflake, operation: append_rows, fault: cut, bytes: 9, after: 2, times: 2"],
            told: "BatchAccepted",
        },
        Situation {
            what: "429",
            rules: &[
                "service: snowflake, operation: append_rows, fault: throttle, retry_after: 1s, after: 3, times: 1",
                "service: snowflake, operation: channel_status, fault: throttle, times: 1",
            ],
            told: "channel_status",
        },
        Situation {
            what: "503, 500 and 408",
            rules: &[
                "service: snowflake, operation: append_rows, fault: unavailable, after: 3, times: 1",
                "service: snowflake, operation: append_rows, fault: error, status: 500, after: 4, times: 1",
                "service: snowflake, operation: append_rows, fault: error, status: 408, after: 4, times: 1",
            ],
            told: "BatchAccepted",
        },
        Situation {
            what: "status has no answer",
            rules: &[
                "service: snowflake, operation: channel_status, fault: lost_request, after: 1, times: 2",
                "service: snowflake, operation: channel_status, fault: unavailable, after: 1, times: 1",
            ],
            told: "call=\"channel_status\"",
        },
        Situation {
            what: "401, the token is over",
            rules: &["service: snowflake, operation: append_rows, fault: expire_token, after: 5, times: 1"],
            told: "BatchAccepted",
        },
    ];
    let run = Run {
        rate: Some("120"),
        ..Run::default()
    };
    let log = play(&situations, &run);
    assert_eq!(reopened(&log), 0, "{log:#?}");
}

#[test]
fn a_channel_that_was_taken_given_up_or_has_a_gap_is_opened_again_and_goes_on_behind_its_token() {
    let situations = [
        Situation {
            what: "the continuation token is stale",
            rules: &["service: snowflake, fault: stale_continuation, after: 3, times: 1"],
            told: "was opened by another writer",
        },
        Situation {
            what: "another client opens the channel, seen by the append",
            rules: &["service: snowflake, operation: append_rows, fault: take_channel, after: 6, times: 1"],
            told: "was opened by another writer",
        },
        Situation {
            what: "another client opens the channel, between appends",
            rules: &[
                "service: snowflake, operation: channel_status, fault: take_channel, after: 2, times: 1",
            ],
            told: "was opened by another writer",
        },
        Situation {
            what: "the channel must be opened again",
            rules: &[
                "service: snowflake, operation: append_rows, fault: invalidate_channel, after: 9, times: 1",
            ],
            told: "ERR_CHANNEL_MUST_BE_REOPENED (the service gave it up)",
        },
        Situation {
            what: "a gap, seen by the append",
            rules: &[
                "service: snowflake, operation: append_rows, fault: invalidate_channel, code: \
                 ERR_CHANNEL_MUST_BE_REOPENED_DUE_TO_ROW_SEQ_GAP, after: 12, times: 1",
            ],
            told: "ERR_CHANNEL_MUST_BE_REOPENED_DUE_TO_ROW_SEQ_GAP (rows were missed between two appends)",
        },
        Situation {
            what: "410, the pipe has moved",
            rules: &[
                "service: snowflake, operation: append_rows, fault: error, status: 410, code: PIPE_FAILED_OVER, after: 15, \
                 times: 1",
            ],
            told: "PIPE_FAILED_OVER (its pipe has moved or was dropped)",
        },
        Situation {
            what: "another open is under way, and the answer of one is lost",
            rules: &[
                "service: snowflake, operation: open_channel, fault: open_in_progress, after: 3, times: 2",
                "service: snowflake, operation: open_channel, fault: lost_answer, after: 4, times: 1",
            ],
            told: "channel opened",
        },
    ];
    let run = Run {
        rate: Some("100"),
        ..Run::default()
    };
    let log = play(&situations, &run);
    assert!(reopened(&log) >= 5, "{} opens; {log:#?}", reopened(&log));
}

#[test]
fn a_replay_that_is_called_stale_and_counters_that_lag_lose_and_double_nothing() {
    let situations = [Situation {
        what: "a lost answer, and its replay is called stale",
        rules: &[
            "service: snowflake, operation: append_rows, fault: lost_answer, after: 5, times: 3",
            "service: snowflake, operation: append_rows, fault: stale_on_replay, times: 3",
        ],
        told: "was opened by somebody else, or has lost our place",
    }];
    let run = Run {
        rate: Some("120"),
        rules: &[
            "service: snowflake, operation: channel_status, fault: late_counters, delay: 2s",
            "service: snowflake, operation: commit, fault: slow_commit, delay: 700ms",
        ],
        ..Run::default()
    };
    let log = play(&situations, &run);
    assert!(reopened(&log) >= 2, "{} opens; {log:#?}", reopened(&log));
    let stopped = log.iter().any(|line| line.contains("shard stalled"));
    assert!(!stopped, "{log:#?}");
}

#[test]
fn status_alone_finds_a_channel_that_must_be_opened_again_when_nothing_more_is_appended() {
    // Everything is sent at once, and the commit comes late: no append follows that could find out.
    let situations = [
        Situation {
            what: "the channel must be opened again",
            rules: &[
                "service: snowflake, operation: channel_status, fault: invalidate_channel, after: 3, times: 2",
            ],
            told: "ERR_CHANNEL_MUST_BE_REOPENED (the service gave it up)",
        },
        Situation {
            what: "a gap",
            rules: &[
                "service: snowflake, operation: channel_status, fault: invalidate_channel, code: \
                 ERR_CHANNEL_HAS_INVALID_ROW_SEQUENCER, after: 5, times: 2",
            ],
            told: "ERR_CHANNEL_HAS_INVALID_ROW_SEQUENCER (rows were missed between two appends)",
        },
        Situation {
            what: "another client has the sequencer",
            rules: &[
                "service: snowflake, operation: channel_status, fault: invalidate_channel, code: \
                 ERR_CHANNEL_HAS_INVALID_CLIENT_SEQUENCER, after: 7, times: 2",
            ],
            told: "ERR_CHANNEL_HAS_INVALID_CLIENT_SEQUENCER (another client opened it)",
        },
    ];
    let run = Run {
        rules: &["service: snowflake, operation: commit, fault: slow_commit, delay: 3s"],
        waves: 1,
        ..Run::default()
    };
    let log = play(&situations, &run);
    // An append's refusal has a message behind it.
    let alone = |line: &&String| {
        line.contains("(the service gave it up)") && !line.contains("The channel is invalid")
    };
    let by_status = log.iter().filter(alone).count();
    assert!(by_status >= 1 && reopened(&log) >= 3, "{log:#?}");
}

#[test]
fn rows_that_could_not_be_read_again_are_committed_before_the_channel_is_opened_again() {
    // When the oldest record that would be read again arrived cannot be found out: the first calls are those of the three
    // shards' first sessions, a look and a reader each.
    let situations = [Situation {
        what: "accepted rows are not committed at the open",
        rules: &[
            "service: snowflake, fault: stale_continuation, after: 6, times: 1",
            "service: kinesis, operation: GetShardIterator, fault: error, status: 500, after: 6, times: 4",
        ],
        told: "channel opens once its accepted rows are committed",
    }];
    let run = Run {
        rate: Some("120"),
        rules: &["service: snowflake, operation: commit, fault: slow_commit, delay: 1s"],
        ..Run::default()
    };
    play(&situations, &run);
}

#[test]
fn a_channel_that_the_service_removed_is_made_anew_behind_what_was_proved() {
    let situations = [
        Situation {
            what: "removed as idle, seen by the append",
            rules: &["service: snowflake, operation: append_rows, fault: remove_channel, after: 4, times: 1"],
            told: "channel had to exist and is gone",
        },
        Situation {
            what: "removed as idle, seen by status",
            rules: &[
                "service: snowflake, operation: channel_status, fault: remove_channel, after: 6, times: 1",
            ],
            told: "(it is not there: dropped, or removed as idle)",
        },
    ];
    let run = Run {
        rate: Some("120"),
        may_repeat: true,
        ..Run::default()
    };
    play(&situations, &run);
}

#[test]
fn a_pipe_that_is_dropped_stalls_its_shards_until_it_is_there_again() {
    let situations = [Situation {
        what: "the pipe is dropped and made again",
        rules: &[],
        told: "ERR_PIPE_DOES_NOT_EXIST_OR_NOT_AUTHORIZED",
    }];
    let run = Run {
        rate: Some("120"),
        prepare: PIPE,
        configured: Some(("table: T", "pipe: P")),
        meanwhile: "DROP PIPE D.PUBLIC.P;",
        once_told: Some(("ERR_PIPE_DOES_NOT_EXIST_OR_NOT_AUTHORIZED", 3, Deed::Play(PIPE))),
        may_repeat: true,
        ..Run::default()
    };
    play(&situations, &run);
}

#[test]
fn a_table_made_anew_stops_its_shards_and_resume_goes_on_behind_what_was_committed() {
    let situations = [Situation {
        what: "the table is made anew",
        rules: &[],
        told: "was made anew",
    }];
    let run = Run {
        rate: Some("120"),
        meanwhile: "ALTER TABLE D.PUBLIC.T RENAME TO D.PUBLIC.BEFORE; \
                    CREATE TABLE D.PUBLIC.T (N NUMBER) ENABLE_SCHEMA_EVOLUTION = TRUE;",
        rows: Some(
            "SELECT N, KINESISMETADATA AS M FROM D.PUBLIC.T UNION ALL SELECT N, KINESISMETADATA AS M FROM D.PUBLIC.BEFORE",
        ),
        once_told: Some(("was made anew", 3, Deed::Resume)),
        may_repeat: true,
        ..Run::default()
    };
    play(&situations, &run);
}

#[test]
fn accepted_rows_that_are_never_committed_are_read_again_once_their_commit_is_overdue() {
    let situations = [Situation {
        what: "accepted rows are lost, and nothing tells it",
        rules: &["service: snowflake, operation: commit, fault: lose_accepted, after: 2, times: 2"],
        told: "accepted rows and committed none of them for 10s",
    }];
    let run = Run {
        rate: Some("120"),
        configured: Some(("name: one", "name: one\n    commit_timeout: 10s")),
        ..Run::default()
    };
    play(&situations, &run);
}

#[test]
fn a_token_that_passes_rows_which_never_came_stops_its_shard_and_tells_how_many_are_missing() {
    fn missing(log: &[String]) -> u64 {
        let stalls = log.iter().filter(|line| line.contains("shard stalled"));
        let told = stalls.filter_map(|line| {
            let channel = line.split_once("channel ")?.1.split_once(' ')?.0.to_owned();
            let found = number_behind(line, " shows ")?;
            Some((channel, number_behind(line, "row errors where ")? - found))
        });
        told.collect::<BTreeMap<_, _>>().values().sum()
    }
    let situations = [Situation {
        what: "rows are lost, and the token passes them",
        rules: &["service: snowflake, operation: commit, fault: lose_rows, after: 4, times: 1"],
        told: "and stays so",
    }];
    let run = Run {
        rate: Some("60"),
        once_told: Some(("and stays so", 1, Deed::Resume)),
        missing: Some(missing),
        ..Run::default()
    };
    let log = play(&situations, &run);
    assert!(missing(&log) > 0, "{log:#?}");
}

#[test]
fn a_token_of_another_program_stops_its_shard_until_the_channel_is_gone() {
    let situations = [Situation {
        what: "another program writes to the channel",
        rules: &[
            "service: snowflake, operation: append_rows, fault: take_channel, token: offset-17, after: 6, times: 1",
        ],
        told: "another program writes to this channel",
    }];
    let run = Run {
        rate: Some("120"),
        prepare: PIPE,
        configured: Some(("table: T", "pipe: P")),
        once_told: Some(("another program writes to this channel", 1, Deed::Play(PIPE))),
        may_repeat: true,
        ..Run::default()
    };
    play(&situations, &run);
}

#[test]
fn requests_that_are_refused_are_halved_until_the_record_stands_alone() {
    let situations = [Situation {
        what: "a request is refused with 400 for one of its rows",
        rules: &[
            "service: snowflake, operation: append_rows, fault: refuse_rows, contains: '\"event 137\"'",
            "service: snowflake, operation: append_rows, fault: refuse_rows, status: 413, contains: '\"event 311\"'",
        ],
        told: "channel failed on rows",
    }];
    let run = Run {
        missing: Some(|log| {
            let kept = log.iter().filter(|line| line.contains("dead letters kept"));
            kept.filter_map(|line| number_behind(line, " count=")).sum()
        }),
        ..Run::default()
    };
    let log = play(&situations, &run);
    assert_eq!(run.missing.map(|missing| missing(&log)), Some(2), "{log:#?}");
}

/// Rows whose text is longer than nine characters, those of the third wave, are refused by the table.
const NARROW: &str = "ALTER TABLE D.PUBLIC.T ADD COLUMN TEXT VARCHAR(9); \
                      ALTER TABLE D.PUBLIC.T SET ERROR_LOGGING = TRUE;";

#[test]
fn rows_that_the_table_refuses_are_counted_and_stand_in_its_error_table() {
    let situations = [Situation {
        what: "the table refuses rows",
        rules: &[],
        told: "row errors counted by the channel",
    }];
    let run = Run {
        prepare: NARROW,
        rows: Some(WITH_REFUSED),
        waves: 3,
        ..Run::default()
    };
    let log = play(&situations, &run);
    let counted = log.iter().filter(|line| line.contains("row errors counted"));
    let counted: u64 = counted
        .filter_map(|line| number_behind(line, "row_errors="))
        .sum();
    assert_eq!(counted, 3 * 480 - 1000, "{log:#?}");
}

#[test]
fn refused_rows_stop_their_shards_with_all_suspects_kept_and_resume_goes_on() {
    let situations = [Situation {
        what: "the table refuses rows, and that is to stop the shard",
        rules: &[],
        told: "the table refused",
    }];
    let run = Run {
        prepare: NARROW,
        configured: Some(("name: one", "name: one\n    on_row_error: stop")),
        rows: Some(WITH_REFUSED),
        once_told: Some(("the table refused", 1, Deed::Resume)),
        waves: 3,
        refused: true,
        ..Run::default()
    };
    let log = play(&situations, &run);
    let stops = log.iter().filter(|line| line.contains("shard stalled"));
    assert!(stops.count() >= 3, "{log:#?}");
}
