//! Is it a row that makes the channel fail?
//!
//! How it works: some rows are taken by the append and make the service give the channel up when it commits them (a record with
//! more new columns than schema evolution adds at once is one), or have their whole request refused. Opened again, the channel
//! meets the same rows, and fails again, for ever. So when a channel fails twice without a commit in between, the rows
//! that it had accepted or was offered are *suspects*: from then on one batch at a time is sent, of half of the suspects, and
//! waited for. What commits is innocent; what fails is where to look on. A single row that still fails is *condemned*: from the
//! next session on the shaper makes a dead letter of it, which is durable before anything behind it is sent, and the shard goes on.
//!
//! What it guarantees: a row is condemned only after it failed alone, twice, while the service was just seen to commit other
//! suspects; or, where there are none, after [`AFTER_COMMIT`] of failing behind rows that were committed not long before; or
//! else after [`WITHOUT_WITNESS`]. At most
//! [`MOST_WITHOUT_COMMIT`] rows in a row are condemned without any commit between them: a service that takes nothing does not
//! drain a shard into dead letters, and the shard is not offered to a worker that would begin to count anew. What it does not:
//! it is forgotten with the tenure; the next owner looks again, and letters may repeat.

use std::time::Duration;

use frazil_model::{Instant, Position};
use frazil_snowflake::Batch;

use crate::error::Error;
use crate::shape::Condemned;

/// How long a row must fail alone where nothing beside it was seen to commit for that long.
const WITHOUT_WITNESS: Duration = Duration::from_secs(120);
/// How long a row must fail alone where only rows before it were seen to commit, not longer ago than [`WITHOUT_WITNESS`].
const AFTER_COMMIT: Duration = Duration::from_secs(15);
/// Rows condemned one behind another without a commit between them.
const MOST_WITHOUT_COMMIT: usize = 3;
/// Failures without a commit between them that make suspects.
const FAILURES: u32 = 2;

/// What is known of rows that may be the cause.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    /// Rows sent in this session and not proved.
    unproved: u64,
    /// The first of the last batch that was sent.
    last_from: Option<Position>,
    /// Sessions that failed by what may be a row, since the last commit.
    failures: u32,
    /// One of so many rows, from the committed span on, is the cause.
    suspects: Option<u64>,
    /// Since when a single row fails.
    alone_since: Option<Instant>,
    /// When suspects were committed last.
    witness: Option<Instant>,
    /// When anything was.
    committed: Option<Instant>,
    condemned: Vec<Condemned>,
    without_commit: usize,
}

/// What a session's end means for the rows it had sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// It says nothing about rows.
    Nothing,
    /// It may be a row; the next session tells more, at once.
    LookOn {
        /// Rows among which it stands.
        among: u64,
    },
    /// It may be a row, and only time, or a person, can tell.
    Wait,
}

impl Suspicion {
    /// A session begins behind `after`.
    pub(super) fn begin(&mut self, after: Option<&Position>) {
        self.unproved = 0;
        self.condemned
            .retain(|condemned| after.is_none_or(|after| condemned.position > *after));
    }

    /// The rows that are to become dead letters, and why.
    pub(super) fn condemned(&self) -> &[Condemned] {
        &self.condemned
    }

    /// The letter of this row is durable; the next session makes no second one.
    pub(super) fn kept(&mut self, position: &Position) {
        for condemned in &mut self.condemned {
            condemned.is_kept |= condemned.position == *position;
        }
    }

    /// How many rows the next batch may have; and it is sent only when nothing is outstanding.
    pub(super) fn most_rows(&self) -> Option<u64> {
        self.suspects.map(|rows| (rows / 2).max(1))
    }

    /// A batch is about to be sent.
    pub(super) fn sends(&mut self, batch: &Batch) {
        self.unproved += batch.rows;
        self.last_from = Some(batch.from.clone());
    }

    /// So many rows, row errors included, are committed.
    pub(super) fn proved(&mut self, rows: u64, now: Instant) {
        self.unproved = self.unproved.saturating_sub(rows);
        (self.failures, self.without_commit, self.alone_since) = (0, 0, None);
        self.committed = Some(now);
        if let Some(suspects) = self.suspects {
            self.witness = Some(now);
            self.suspects = Some(suspects.saturating_sub(rows)).filter(|left| *left > 0);
        }
    }

    /// Takes in why a session ended.
    pub(super) fn meet(&mut self, error: &Error, now: Instant) -> Finding {
        let rows = std::mem::take(&mut self.unproved);
        if rows == 0 || !may_be_a_row(error) {
            return Finding::Nothing;
        }
        if self.without_commit >= MOST_WITHOUT_COMMIT {
            return Finding::Wait;
        }
        self.failures += 1;
        match self.suspects {
            None if self.failures < FAILURES => return Finding::LookOn { among: rows },
            Some(1) if rows == 1 => return self.alone(error, now),
            _ => {}
        }
        self.suspects = Some(rows);
        Finding::LookOn { among: rows }
    }

    /// A single row failed once more.
    fn alone(&mut self, error: &Error, now: Instant) -> Finding {
        let since = *self.alone_since.get_or_insert(now);
        let is_fresh = |at: Option<Instant>| at.is_some_and(|at| now.since(at) < WITHOUT_WITNESS);
        let patience = match () {
            () if is_fresh(self.witness) => Duration::ZERO,
            () if is_fresh(self.committed) => AFTER_COMMIT,
            () => WITHOUT_WITNESS,
        };
        if now.since(since) < patience {
            return Finding::Wait;
        }
        if let Some(position) = self.last_from.take() {
            self.condemned.push(Condemned {
                position,
                why: error.to_string(),
                is_kept: false,
            });
        }
        self.without_commit += 1;
        (self.suspects, self.failures, self.alone_since) = (None, 0, None);
        Finding::LookOn { among: 1 }
    }
}

/// Whether rows can be the cause. A channel that is not there, or was made anew, is none of theirs.
fn may_be_a_row(error: &Error) -> bool {
    let is_theirs = |code: &str| code.starts_with("ERR_CHANNEL_MUST_BE_REOPENED") && !code.ends_with("_GAP");
    match error {
        Error::MustReopen { code, .. } => is_theirs(code),
        Error::Snowflake(frazil_snowflake::Error::MustReopen { code, .. }) => is_theirs(code),
        Error::Snowflake(frazil_snowflake::Error::Refused { .. }) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use frazil_model::{Clock as _, PausedClock};

    use super::*;
    use crate::shape::whole;

    fn failed(channel_code: &str) -> Error {
        Error::MustReopen {
            channel: "C".to_owned(),
            code: channel_code.to_owned(),
        }
    }

    fn batch(from: u64, rows: u64) -> Batch {
        Batch {
            body: Bytes::new(),
            uncompressed_bytes: 0,
            rows,
            from: whole(&from.to_string()),
            to: whole(&(from + rows - 1).to_string()),
            oldest_arrival_ms: None,
        }
    }

    /// Carries rows 1 to `rows` past a service that fails on the `bad` ones; answers which were condemned, and how many sessions
    /// that took beside those that only waited.
    async fn carry(rows: u64, bad: &[u64], most: u64) -> (Vec<u64>, u32) {
        let clock = PausedClock::at_wall_ms(0);
        let (mut suspicion, mut condemned, mut sessions, mut done) = (Suspicion::default(), Vec::new(), 0, 0);
        while done < rows {
            sessions += 1;
            assert!(sessions < 10_000, "it does not end");
            suspicion.begin((done > 0).then(|| whole(&done.to_string())).as_ref());
            loop {
                for row in suspicion.condemned() {
                    let number: u64 = row.position.sequence.as_str().parse().expect("a number");
                    if number == done + 1 {
                        condemned.push(number);
                        done += 1;
                    }
                }
                if done >= rows {
                    break;
                }
                let next = suspicion
                    .condemned()
                    .iter()
                    .filter_map(|row| row.position.sequence.as_str().parse().ok())
                    .find(|number: &u64| *number > done)
                    .unwrap_or(rows + 1);
                let count = suspicion
                    .most_rows()
                    .unwrap_or(most)
                    .min(next - 1 - done)
                    .min(most);
                suspicion.sends(&batch(done + 1, count));
                if bad.iter().any(|bad| (done + 1..=done + count).contains(bad)) {
                    let finding = suspicion.meet(&failed("ERR_CHANNEL_MUST_BE_REOPENED"), clock.now());
                    assert_ne!(finding, Finding::Nothing);
                    if finding == Finding::Wait {
                        sessions -= 1;
                        clock.advance(Duration::from_secs(10)).await;
                    }
                    break;
                }
                suspicion.proved(count, clock.now());
                done += count;
            }
        }
        (condemned, sessions)
    }

    #[tokio::test]
    async fn exactly_the_bad_rows_are_condemned_wherever_they_stand() {
        for bad in [
            vec![2],
            vec![777],
            vec![1000],
            vec![500, 501],
            vec![3, 400, 999, 1000],
        ] {
            let (condemned, sessions) = carry(1000, &bad, 256).await;
            assert_eq!(condemned, bad);
            assert!(
                sessions <= 14 * bad.len() as u32,
                "{sessions} sessions for {bad:?}"
            );
        }
    }

    #[tokio::test]
    async fn the_first_row_is_condemned_only_after_two_minutes() {
        let clock = PausedClock::at_wall_ms(0);
        let mut suspicion = Suspicion::default();
        let error = failed("ERR_CHANNEL_MUST_BE_REOPENED");
        let mut waited = 0;
        while suspicion.condemned().is_empty() {
            suspicion.begin(None);
            suspicion.sends(&batch(1, suspicion.most_rows().unwrap_or(8)));
            if suspicion.meet(&error, clock.now()) == Finding::Wait {
                waited += 1;
                clock.advance(Duration::from_secs(10)).await;
            }
        }
        assert_eq!(waited, 12);
        assert_eq!(suspicion.condemned()[0].position, whole("1"));
    }

    #[tokio::test]
    async fn a_service_that_takes_nothing_drains_no_shard_into_dead_letters() {
        let clock = PausedClock::at_wall_ms(0);
        let mut suspicion = Suspicion::default();
        let error = failed("ERR_CHANNEL_MUST_BE_REOPENED");
        for _ in 0..1000 {
            let first = suspicion.condemned().len() as u64 + 1;
            suspicion.begin(None);
            suspicion.sends(&batch(first, suspicion.most_rows().unwrap_or(8)));
            suspicion.meet(&error, clock.now());
            clock.advance(Duration::from_secs(10)).await;
        }
        assert_eq!(suspicion.condemned().len(), MOST_WITHOUT_COMMIT);
        // The next commit shows that it takes rows again.
        suspicion.begin(None);
        suspicion.sends(&batch(4, 1));
        suspicion.proved(1, clock.now());
        suspicion.sends(&batch(5, 1));
        assert_eq!(suspicion.meet(&error, clock.now()), Finding::LookOn { among: 1 });
    }

    #[test]
    fn what_is_no_fault_of_rows_makes_no_suspects() {
        let clock = PausedClock::at_wall_ms(0);
        let mut suspicion = Suspicion::default();
        for error in [
            failed("ERR_CHANNEL_DOES_NOT_EXIST_OR_IS_NOT_AUTHORIZED"),
            failed("ERR_CHANNEL_MUST_BE_REOPENED_DUE_TO_ROW_SEQ_GAP"),
            failed("the channel was made anew"),
            Error::NotCommitted {
                channel: "C".to_owned(),
                waited: Duration::from_secs(1),
            },
        ] {
            for _ in 0..5 {
                suspicion.begin(None);
                suspicion.sends(&batch(1, 8));
                assert_eq!(suspicion.meet(&error, clock.now()), Finding::Nothing);
                assert_eq!(suspicion.most_rows(), None);
            }
        }
    }
}
