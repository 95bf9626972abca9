//! What the board tells after events.

use frazil_model::{PausedClock, Position, SequenceNumber, StallReason, WorkerId};

use super::*;

fn shard(n: u32) -> ShardId {
    ShardId::new(format!("shardId-{n:012}")).expect("valid")
}

fn position(sequence: &str) -> Position {
    Position {
        sequence: SequenceNumber::new(sequence).expect("digits"),
        sub_sequence: 0,
        document: 0,
        last: true,
    }
}

fn board() -> (PausedClock, Board) {
    let clock = PausedClock::at_wall_ms(1_000_000);
    let board = Board::new(Arc::new(clock.clone()), ["orders", "clicks"]);
    (clock, board)
}

fn committed(rows: u64, latency_ms: u64) -> Event {
    Event::SpanCommitted {
        shard: shard(0),
        rows,
        row_errors: 1,
        up_to: Some(position("77")),
        latency: Some(Duration::from_millis(latency_ms)),
    }
}

fn page(records: u64) -> Event {
    Event::PageRead {
        shard: shard(0),
        records,
        bytes: records * 100,
        behind: Duration::from_secs(2),
    }
}

#[tokio::test]
async fn a_shard_shows_owner_lag_rate_and_positions() {
    let (clock, board) = board();
    let worker = WorkerId::new("w1").expect("valid");
    for event in [
        Event::ConnectorStarted { worker },
        Event::LeaseTaken {
            shard: shard(0),
            epoch: 7,
        },
        Event::ChannelOpened {
            shard: shard(0),
            channel: "CH".into(),
            committed: None,
            again: false,
        },
        page(40),
        Event::BatchAccepted {
            shard: shard(0),
            rows: 38,
            bytes: 1,
            wire_bytes: 1,
            took: Duration::ZERO,
            up_to: position("75"),
        },
        Event::DeadLettersKept {
            shard: shard(0),
            count: 2,
            reason: "not_json",
        },
        committed(37, 1500),
        Event::Checkpointed {
            shard: shard(0),
            up_to: Some(position("70")),
            ended: false,
        },
    ] {
        board.observe("clicks", &event);
    }
    clock.advance(Duration::from_secs(3)).await;
    let state = board.state();
    assert_eq!(
        state
            .connectors
            .iter()
            .map(|c| c.name.as_str())
            .collect::<Vec<_>>(),
        ["clicks", "orders"]
    );
    let connector = &state.connectors[0];
    assert_eq!((connector.phase, connector.starts), (Phase::Running, 1));
    assert_eq!(connector.totals, connector.shards[0].totals);
    let shard = &connector.shards[0];
    assert_eq!(
        (shard.owner.as_deref(), shard.epoch, shard.lag_ms),
        (Some("w1"), Some(7), Some(5000))
    );
    assert_eq!((shard.records_per_second, shard.bytes_per_second), (4.0, 400.0));
    assert_eq!(
        (shard.committed.as_deref(), shard.checkpointed.as_deref()),
        (Some("77"), Some("70"))
    );
    let totals = Totals {
        records_read: 40,
        bytes_read: 4000,
        rows_accepted: 38,
        rows_committed: 37,
        row_errors: 1,
        dead_letters: 2,
        records_dropped: 0,
    };
    assert_eq!(shard.totals, totals);
    let text = serde_json::to_string(&state).expect("JSON");
    assert_eq!(
        serde_json::from_str::<State>(&text).expect("the same types"),
        state
    );
}

#[test]
fn a_lost_lease_has_no_owner_no_lag_and_no_stall() {
    let (_, board) = board();
    for event in [
        Event::LeaseTaken {
            shard: shard(0),
            epoch: 7,
        },
        page(1),
        Event::ShardStalled {
            shard: shard(0),
            reason: StallReason::Source,
            error: "no route".into(),
        },
        Event::LeaseLost {
            shard: shard(0),
            epoch: 7,
        },
    ] {
        board.observe("clicks", &event);
    }
    let state = board.state();
    let shard = &state.connectors[0].shards[0];
    assert_eq!(
        (&shard.owner, shard.epoch, shard.lag_ms, &shard.stall),
        (&None, None, None, &None)
    );
    assert_eq!(shard.totals.records_read, 1);
}

#[test]
fn percentiles_are_weighted_by_rows() {
    let (_, board) = board();
    assert_eq!(board.state().connectors[0].latency, Latency::default());
    board.observe("clicks", &committed(980, 100));
    board.observe("clicks", &committed(20, 4000));
    let latency = board.state().connectors[0].latency;
    let near = |found: Option<u64>, wanted: u64| found.is_some_and(|ms| ms.abs_diff(wanted) * 100 <= wanted);
    assert_eq!(latency.rows, 1000);
    assert!(
        near(latency.p50_ms, 100) && near(latency.p99_ms, 4000),
        "{latency:?}"
    );
    board.observe("clicks", &committed(1, 10 * LONGEST_LATENCY_MS));
    assert_eq!(board.state().connectors[0].latency.rows, 1001);
}

#[tokio::test]
async fn readiness_needs_running_connectors_without_long_stalls() {
    let (clock, board) = board();
    let worker = WorkerId::new("w1").expect("valid");
    assert_eq!(
        board.state().not_ready(),
        ["connector clicks is starting", "connector orders is starting"]
    );
    board.observe(
        "clicks",
        &Event::ConnectorStarted {
            worker: worker.clone(),
        },
    );
    board.observe("orders", &Event::ConnectorStarted { worker });
    assert!(board.state().not_ready().is_empty());
    let stall = |error: &str| Event::ShardStalled {
        shard: shard(3),
        reason: StallReason::Destination,
        error: error.into(),
    };
    board.observe("clicks", &stall("first"));
    clock.advance(Duration::from_secs(60)).await;
    assert!(board.state().not_ready().is_empty());
    // Told again, it stands still since the first time.
    board.observe("clicks", &stall("second"));
    clock.advance(Duration::from_millis(1)).await;
    assert_eq!(
        board.state().not_ready(),
        ["connector clicks: shard shardId-000000000003 is stalled: destination"]
    );
    board.observe("clicks", &Event::ShardMoves { shard: shard(3) });
    board.failed("orders", Phase::Waiting, ErrorKind::Retry, "no route");
    let state = board.state();
    assert_eq!(state.not_ready(), ["connector orders is waiting"]);
    assert_eq!(
        state.connectors[1].trouble.as_ref().map(|t| t.error.as_str()),
        Some("no route")
    );
}
