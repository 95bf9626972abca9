//! The channel against the fake: each situation of an append and of a proof, and thousands of scripted orders of them.

use std::sync::Arc;

use frazil_model::{PausedClock, SeededRandom, SequenceNumber};

use super::*;
use crate::fake::{FakeSnowpipe, Fault};

struct Bench {
    fake: Arc<FakeSnowpipe>,
    clock: PausedClock,
    seed: u64,
}

fn position(number: u64) -> Position {
    Position::whole(SequenceNumber::new(number.to_string()).expect("digits"))
}

fn batch(from: u64, to: u64) -> Batch {
    Batch {
        body: Bytes::from(format!("{from}..{to}")),
        uncompressed_bytes: 8,
        rows: to - from + 1,
        from: position(from),
        to: position(to),
        oldest_arrival_ms: None,
    }
}

impl Bench {
    fn new(seed: u64) -> Self {
        Self {
            fake: Arc::default(),
            clock: PausedClock::default(),
            seed,
        }
    }

    async fn open(&self) -> Channel {
        let random = Arc::new(SeededRandom::new(self.seed));
        let (pipe, clock) = (self.fake.clone(), Arc::new(self.clock.clone()));
        let opened = Channel::open(pipe, "C", Uncommitted::Discard, clock, random).await;
        opened.expect("it opens").0
    }

    async fn append(&self, channel: &mut Channel, batch: Batch) -> Result<(), Error> {
        let append = channel.append(&batch);
        let mut append = std::pin::pin!(append);
        loop {
            tokio::select! {
                biased;
                done = &mut append => return done,
                () = self.clock.advance(Duration::from_secs(1)) => {}
            }
        }
    }

    async fn status(&self) -> ChannelStatus {
        let statuses = self
            .fake
            .channel_status(&["C".to_owned()])
            .await
            .expect("an answer");
        statuses["C"].clone()
    }

    async fn proof(&self, channel: &mut Channel) -> Proof {
        channel.observe(&self.status().await).expect("our token")
    }
}

fn committed(up_to: u64, rows: u64, row_errors: u64) -> Proof {
    Proof::Committed {
        up_to: position(up_to),
        rows,
        row_errors,
        oldest_arrival_ms: None,
    }
}

#[tokio::test]
async fn accepted_is_not_committed_until_the_token_stands() {
    let bench = Bench::new(1);
    let mut channel = bench.open().await;
    bench.append(&mut channel, batch(1, 10)).await.expect("accepted");
    bench.append(&mut channel, batch(11, 15)).await.expect("accepted");
    assert_eq!(bench.proof(&mut channel).await, Proof::Waiting);
    bench.fake.commit("C", 1);
    assert_eq!(bench.proof(&mut channel).await, committed(10, 10, 0));
    assert!(channel.has_outstanding());
    bench.fake.commit("C", 1);
    assert_eq!(bench.proof(&mut channel).await, committed(15, 5, 0));
    assert_eq!(
        channel.proved(),
        Counts {
            rows_inserted: 15,
            row_errors: 0
        }
    );
}

#[tokio::test]
async fn a_lost_answer_is_met_by_the_identical_request() {
    for fault in [
        Fault::LostAfter,
        Fault::LostBefore,
        Fault::Throttled,
        Fault::ServerFault,
    ] {
        let bench = Bench::new(2);
        let mut channel = bench.open().await;
        bench.fake.fault("append", fault);
        bench
            .append(&mut channel, batch(1, 3))
            .await
            .expect("accepted at the second try");
        bench
            .append(&mut channel, batch(4, 4))
            .await
            .expect("the chain goes on");
        bench.fake.commit_all();
        let ends: Vec<_> = bench.fake.committed().iter().map(|t| t.rows).collect();
        assert_eq!(ends, [3, 1], "{fault:?}");
        assert_eq!(bench.fake.calls().1, 3, "{fault:?} was not met");
    }
}

#[tokio::test]
async fn a_replay_that_is_called_stale_ends_the_channel_and_the_token_decides() {
    let bench = Bench::new(3);
    bench.fake.answer_replays_as_stale();
    let mut channel = bench.open().await;
    bench.fake.fault("append", Fault::LostAfter);
    let error = bench.append(&mut channel, batch(1, 3)).await.expect_err("stale");
    assert!(matches!(error, Error::StaleContinuation { .. }), "{error}");
    bench.fake.commit_all();
    let again = bench.open().await;
    assert_eq!(
        again.token(),
        Some(&position(3)),
        "it had been accepted, and nothing is sent again"
    );
}

#[tokio::test]
async fn an_append_without_any_answer_gives_up_in_time() {
    let bench = Bench::new(4);
    let mut channel = bench.open().await;
    for _ in 0..100 {
        bench.fake.fault("append", Fault::LostBefore);
    }
    let error = bench
        .append(&mut channel, batch(1, 3))
        .await
        .expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::Retry);
    let now = bench.clock.now().since(Instant::default());
    assert!(now <= APPEND_PATIENCE + Duration::from_secs(2), "{now:?}");
}

#[tokio::test]
async fn a_fenced_channel_appends_nothing() {
    let bench = Bench::new(5);
    let mut old = bench.open().await;
    bench.append(&mut old, batch(1, 3)).await.expect("accepted");
    let mut new = bench.open().await;
    assert_eq!(
        new.token(),
        None,
        "what was accepted and not committed is discarded"
    );
    let error = bench.append(&mut old, batch(4, 6)).await.expect_err("fenced");
    assert_eq!(error.kind(), ErrorKind::Fenced);
    bench.append(&mut new, batch(1, 3)).await.expect("accepted");
    bench.fake.commit_all();
    assert_eq!(bench.fake.committed().len(), 1);
}

#[tokio::test]
async fn counters_that_lag_the_token_are_waited_for() {
    let bench = Bench::new(6);
    let mut channel = bench.open().await;
    bench.append(&mut channel, batch(1, 10)).await.expect("accepted");
    bench.fake.commit_all();
    bench.fake.show_counters("C", Some((0, 0)));
    assert_eq!(bench.proof(&mut channel).await, Proof::Waiting);
    bench.clock.advance(Duration::from_secs(50)).await;
    bench.fake.show_counters("C", Some((4, 0)));
    assert_eq!(bench.proof(&mut channel).await, Proof::Waiting);
    bench.clock.advance(Duration::from_secs(50)).await;
    assert_eq!(
        bench.proof(&mut channel).await,
        Proof::Waiting,
        "they moved less than a minute ago"
    );
    bench.fake.show_counters("C", None);
    assert_eq!(bench.proof(&mut channel).await, committed(10, 10, 0));
}

#[tokio::test]
async fn counters_that_stay_behind_are_a_mismatch() {
    let bench = Bench::new(7);
    let mut channel = bench.open().await;
    bench.append(&mut channel, batch(1, 10)).await.expect("accepted");
    bench.fake.commit_all();
    bench.fake.show_counters("C", Some((9, 0)));
    assert_eq!(bench.proof(&mut channel).await, Proof::Waiting);
    bench
        .clock
        .advance(COUNTER_PATIENCE + Duration::from_secs(1))
        .await;
    assert_eq!(
        bench.proof(&mut channel).await,
        Proof::Mismatch {
            expected: 10,
            found: 9
        }
    );
}

#[tokio::test]
async fn a_surplus_over_a_proved_baseline_is_a_mismatch() {
    let bench = Bench::new(8);
    let mut channel = bench.open().await;
    channel.set_baseline(Baseline::Proved(Counts::default()));
    bench.append(&mut channel, batch(1, 10)).await.expect("accepted");
    bench.fake.commit_all();
    bench.fake.show_counters("C", Some((11, 0)));
    assert_eq!(
        bench.proof(&mut channel).await,
        Proof::Mismatch {
            expected: 10,
            found: 11
        }
    );
}

#[tokio::test]
async fn an_assumed_baseline_moves_in_a_quiet_moment_only_for_a_while() {
    let bench = Bench::new(9);
    let mut channel = bench.open().await;
    bench.fake.show_counters("C", Some((7, 0)));
    assert_eq!(bench.proof(&mut channel).await, Proof::Waiting);
    assert_eq!(channel.proved().rows_inserted, 7);
    bench.clock.advance(COUNTER_PATIENCE).await;
    bench.fake.show_counters("C", Some((8, 0)));
    assert_eq!(
        bench.proof(&mut channel).await,
        Proof::Mismatch {
            expected: 0,
            found: 1
        }
    );
}

#[tokio::test]
async fn a_busy_channel_whose_counters_lagged_at_the_open_asks_for_a_quiet_moment_and_goes_on() {
    let bench = Bench::new(13);
    let mut before = bench.open().await;
    bench.append(&mut before, batch(1, 3)).await.expect("accepted");
    bench.fake.commit_all();
    bench.fake.show_counters("C", Some((0, 0)));
    let mut channel = bench.open().await;
    bench.fake.show_counters("C", None);
    bench.append(&mut channel, batch(4, 8)).await.expect("accepted");
    bench.append(&mut channel, batch(9, 9)).await.expect("accepted");
    bench.fake.commit("C", 1);
    // Eight rows are counted where five were sent: three are of before, and no boundary fits.
    assert!(!channel.wants_quiet());
    assert_eq!(bench.proof(&mut channel).await, Proof::Waiting);
    assert!(channel.wants_quiet() && !channel.has_exact_counts());
    bench.clock.advance(COUNTER_PATIENCE * 2).await;
    bench.fake.commit_all();
    assert_eq!(bench.proof(&mut channel).await, committed(9, 6, 0));
    assert!(!channel.wants_quiet() && channel.has_exact_counts());
    bench.append(&mut channel, batch(10, 10)).await.expect("accepted");
    bench.fake.commit_all();
    assert_eq!(bench.proof(&mut channel).await, committed(10, 1, 0));
}

#[tokio::test]
async fn row_errors_count_as_settled_and_are_told() {
    let bench = Bench::new(10);
    let mut channel = bench.open().await;
    bench.append(&mut channel, batch(1, 10)).await.expect("accepted");
    bench.fake.commit_all();
    bench.fake.turn_into_errors("C", 3);
    assert_eq!(bench.proof(&mut channel).await, committed(10, 7, 3));
}

#[tokio::test]
async fn an_invalid_channel_or_a_new_one_of_its_name_must_be_opened_again() {
    let bench = Bench::new(11);
    let mut channel = bench.open().await;
    bench.fake.invalidate("C", "ERR_CHANNEL_MUST_BE_REOPENED");
    assert!(matches!(
        bench.proof(&mut channel).await,
        Proof::MustReopen { .. }
    ));
    bench.fake.forget("C");
    drop(bench.open().await);
    assert!(matches!(
        bench.proof(&mut channel).await,
        Proof::MustReopen { .. }
    ));
}

#[tokio::test]
async fn a_foreign_token_stops_the_open() {
    let bench = Bench::new(12);
    let mut channel = bench.open().await;
    let status = ChannelStatus {
        committed_token: Some("kafka-17".to_owned()),
        ..bench.status().await
    };
    let error = channel.observe(&status).expect_err("not ours");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

/// A random life of a channel: appends, faults, commits of part, lagging counters, re-opens. Whatever happens, what was
/// proved is in the table, in order, once; and in the end everything is proved.
#[tokio::test]
async fn whatever_happens_committed_is_in_the_table_once() {
    let (mut proofs, mut opens, mut lags) = (0, 0, 0);
    for seed in 0..1500 {
        let random = SeededRandom::new(seed);
        let bench = Bench::new(seed);
        if random.below(2) == 0 {
            bench.fake.answer_replays_as_stale();
        }
        let mut channel = bench.open().await;
        let (mut next, mut proved) = (1, 0);
        for _ in 0..30 {
            match random.below(8) {
                0 => bench.fake.fault("append", Fault::LostAfter),
                1 => bench.fake.fault("append", Fault::LostBefore),
                2 => bench.fake.commit("C", 1),
                3 => {
                    let status = bench.status().await;
                    bench
                        .fake
                        .show_counters("C", Some((status.rows_inserted, status.row_errors)));
                    lags += 1;
                }
                4 => bench.fake.show_counters("C", None),
                5 => {
                    channel = bench.open().await;
                    opens += 1;
                    next = channel.token().map_or(0, number) + 1;
                    // What a re-open shows as committed was committed.
                    proved = proved.max(next - 1);
                }
                _ => {
                    let rows = 1 + random.below(5);
                    match bench.append(&mut channel, batch(next, next + rows - 1)).await {
                        Ok(()) => next += rows,
                        Err(_) => {
                            channel = bench.open().await;
                            next = channel.token().map_or(0, number) + 1;
                        }
                    }
                }
            }
            match bench.proof(&mut channel).await {
                Proof::Committed { up_to, .. } => {
                    proofs += 1;
                    assert!(
                        number(&up_to) > proved || proved == 0,
                        "seed {seed}: proved twice"
                    );
                    proved = number(&up_to);
                    let there: u64 = bench.fake.committed().iter().map(|t| t.rows).sum();
                    assert!(
                        proved <= there,
                        "seed {seed}: {proved} told, {there} in the table"
                    );
                }
                Proof::Waiting => {}
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        bench.fake.commit_all();
        bench.fake.show_counters("C", None);
        drop(bench.proof(&mut channel).await);
        assert!(!channel.has_outstanding(), "seed {seed}: not all was proved");
        let there: u64 = bench.fake.committed().iter().map(|t| t.rows).sum();
        assert_eq!(there, next - 1, "seed {seed}: rows are lost or doubled");
    }
    assert!(
        proofs > 1200 && opens > 3000 && lags > 3000,
        "{proofs} {opens} {lags}"
    );
}

fn number(position: &Position) -> u64 {
    position.sequence.as_str().parse().expect("a number")
}

/// Opens with a wait for the commit; `commits_at` is the second at which the service commits.
async fn open_behind_uncommitted(commits_at: Option<u64>) -> (Option<Position>, u64) {
    let bench = Bench::new(1);
    let mut before = bench.open().await;
    bench
        .append(&mut before, batch(1, 10))
        .await
        .expect("it is accepted");
    let (pipe, clock) = (bench.fake.clone(), Arc::new(bench.clock.clone()));
    let random = Arc::new(SeededRandom::new(1));
    let open = Channel::open(pipe, "C", Uncommitted::AwaitCommit, clock, random);
    let mut open = std::pin::pin!(open);
    let mut seconds = 0;
    let (channel, _) = loop {
        tokio::select! {
            biased;
            opened = &mut open => break opened.expect("it opens"),
            () = bench.clock.advance(Duration::from_secs(1)) => {
                seconds += 1;
                if commits_at == Some(seconds) {
                    bench.fake.commit_all();
                }
            }
        }
    };
    (channel.token().cloned(), seconds)
}

#[tokio::test]
async fn rows_that_could_not_be_read_again_are_waited_for() {
    let (token, seconds) = open_behind_uncommitted(Some(20)).await;
    assert_eq!(token, Some(position(10)), "they were discarded");
    assert!((20..60).contains(&seconds), "{seconds} s");
}

#[tokio::test]
async fn a_commit_that_does_not_come_is_waited_for_at_most_a_minute() {
    let (token, seconds) = open_behind_uncommitted(None).await;
    assert_eq!(token, None);
    let patience = COMMIT_PATIENCE.as_secs();
    assert!((patience / 2..=patience).contains(&seconds), "{seconds} s");
}
