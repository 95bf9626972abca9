//! What a worker does with a shard: one remote call a step.

use super::{
    Broken, DESTINATIONS, Late, Model, NOBODY, Next, RECORDS, Row, State, Step, Tenure, destination, fault,
    is_mine, opening, push, rows_of, settles,
};

impl Model {
    pub(super) fn of_worker(&self, state: &State, worker: usize, shard: usize, steps: &mut Vec<Next>) {
        match state.workers[worker][shard] {
            Tenure::None => self.take(state, worker, shard, steps),
            Tenure::Opening { open, .. } if usize::from(open) < DESTINATIONS => {
                self.open(state, worker, shard, steps);
            }
            Tenure::Opening { .. } => {
                let after = self.read_row(state, worker, shard);
                push(steps, Step::ReadRow { worker, shard }, false, Ok(after));
            }
            Tenure::Reading { .. } => self.read(state, worker, shard, steps),
        }
    }

    fn take(&self, state: &State, worker: usize, shard: usize, steps: &mut Vec<Next>) {
        let row = state.rows[shard];
        if row.ended || !self.may_read(state, shard) {
            return;
        }
        // The other one's is taken when it seems dead: it is, or it was only slow, which is a fault.
        let other = usize::from(row.owner);
        let is_held = row.owner != NOBODY && other != worker && state.workers[other][shard] != Tenure::None;
        if is_held && state.faults == 0 {
            return;
        }
        let mut after = if is_held { fault(state) } else { state.clone() };
        let epoch = row.epoch + 1;
        after.rows[shard] = Row {
            owner: u8::try_from(worker).expect("two"),
            epoch,
            ..row
        };
        if after.faults > 0 {
            let lost = fault(&after);
            push(
                steps,
                Step::Take {
                    worker,
                    shard,
                    answered: false,
                },
                true,
                Ok(lost),
            );
        }
        after.workers[worker][shard] = opening(epoch, row.checkpoint);
        push(
            steps,
            Step::Take {
                worker,
                shard,
                answered: true,
            },
            is_held,
            Ok(after),
        );
    }

    fn open(&self, state: &State, worker: usize, shard: usize, steps: &mut Vec<Next>) {
        let Tenure::Opening {
            epoch,
            checkpoint,
            open,
            mut sequencers,
            mut tokens,
        } = state.workers[worker][shard]
        else {
            return;
        };
        let destination = usize::from(open);
        let mut after = state.clone();
        let channel = &mut after.channels[shard][destination];
        let discards = self.broken != Broken::ResumesAtAccepted;
        if self.broken != Broken::OpenDoesNotFence {
            channel.sequencer += 1;
            channel.appends = 0;
        }
        tokens[destination] = channel.token;
        if discards {
            channel.accepted = Default::default();
        } else {
            let last = channel
                .accepted
                .iter()
                .map(|accepted| accepted.record)
                .max()
                .unwrap_or(0);
            tokens[destination] = tokens[destination].max(last);
            channel.accepted = Default::default();
        }
        channel.opened_by = channel.opened_by.max(epoch);
        sequencers[destination] = channel.sequencer;
        if state.faults > 0 {
            let step = Step::Open {
                worker,
                shard,
                destination,
                answered: false,
            };
            push(steps, step, true, Ok(fault(&after)));
        }
        after.workers[worker][shard] = Tenure::Opening {
            epoch,
            checkpoint,
            open: open + 1,
            sequencers,
            tokens,
        };
        let step = Step::Open {
            worker,
            shard,
            destination,
            answered: true,
        };
        push(steps, step, false, Ok(after));
    }

    fn read_row(&self, state: &State, worker: usize, shard: usize) -> State {
        let Tenure::Opening {
            epoch,
            checkpoint,
            sequencers,
            tokens,
            ..
        } = state.workers[worker][shard]
        else {
            return state.clone();
        };
        let row = state.rows[shard];
        let mut after = state.clone();
        let looks = self.broken != Broken::NoReadAfterOpen;
        after.workers[worker][shard] = if looks && !is_mine(&row, worker, epoch) {
            Tenure::None
        } else {
            let checkpoint = if looks { row.checkpoint } else { checkpoint };
            Tenure::Reading {
                epoch,
                checkpoint,
                sequencers,
                appends: std::array::from_fn(|d| state.channels[shard][d].appends),
                tokens,
                at: checkpoint,
            }
        };
        after
    }

    /// Append, status, checkpoint, end: what a worker does while it reads.
    fn read(&self, state: &State, worker: usize, shard: usize, steps: &mut Vec<Next>) {
        let Tenure::Reading {
            epoch,
            checkpoint,
            tokens,
            at,
            ..
        } = state.workers[worker][shard]
        else {
            return;
        };
        if at < RECORDS[shard] {
            self.append(state, worker, shard, steps);
        }
        let shown: [u8; DESTINATIONS] = std::array::from_fn(|d| {
            let channel = &state.channels[shard][d];
            let accepted = channel
                .accepted
                .iter()
                .map(|accepted| accepted.record)
                .max()
                .unwrap_or(0);
            if self.broken == Broken::AcceptedIsCommitted {
                channel.token.max(accepted)
            } else {
                channel.token
            }
        });
        if shown != tokens {
            let mut after = state.clone();
            if let Tenure::Reading { tokens, .. } = &mut after.workers[worker][shard] {
                *tokens = shown;
            }
            push(steps, Step::Status { worker, shard }, false, Ok(after));
        }
        let is_lost = |record: &u8| {
            let channel = &state.channels[shard][destination(shard, *record)];
            !settles(channel.token, *record) && channel.accepted[0].record == 0
        };
        if (1..=at).any(|record| is_lost(&record)) {
            let mut after = state.clone();
            after.workers[worker][shard] = if is_mine(&state.rows[shard], worker, epoch) {
                opening(epoch, checkpoint)
            } else {
                Tenure::None
            };
            push(steps, Step::Overdue { worker, shard }, false, Ok(after));
        }
        let proved = self.proved(shard, tokens, at);
        if proved > checkpoint {
            self.checkpoint(state, (worker, shard, epoch, proved), steps);
        }
        if checkpoint == RECORDS[shard] {
            let (after, written) = self.write(state, worker, shard, epoch, |row| {
                row.ended = true;
                row.owner = NOBODY;
            });
            let lost = written && (1..=RECORDS[shard]).any(|record| rows_of(&after, shard, record) == 0);
            let mut after = after;
            after.workers[worker][shard] = Tenure::None;
            let state = if lost {
                Err("I2: a shard ended and a record of it is no row")
            } else {
                Ok(after)
            };
            push(steps, Step::End { worker, shard }, false, state);
        }
    }

    /// Up to where every destination has proved its rows.
    fn proved(&self, shard: usize, tokens: [u8; DESTINATIONS], at: u8) -> u8 {
        let is_proved = |record: &u8| {
            let token = if self.broken == Broken::FasterDestination {
                tokens.into_iter().max().unwrap_or(0)
            } else {
                tokens[destination(shard, *record)]
            };
            settles(token, *record)
        };
        let all = 1..=at;
        u8::try_from(all.take_while(is_proved).count()).expect("few")
    }

    fn append(&self, state: &State, worker: usize, shard: usize, steps: &mut Vec<Next>) {
        let Tenure::Reading {
            epoch,
            checkpoint,
            sequencers,
            appends,
            tokens,
            at,
        } = state.workers[worker][shard]
        else {
            return;
        };
        let record = at + 1;
        let to = destination(shard, record);
        if settles(tokens[to], record) {
            let mut after = state.clone();
            if let Tenure::Reading { at, .. } = &mut after.workers[worker][shard] {
                *at = record;
            }
            push(steps, Step::Skip { worker, shard }, false, Ok(after));
            return;
        }
        let sent = Late {
            shard: u8::try_from(shard).expect("few"),
            destination: u8::try_from(to).expect("few"),
            sequencer: sequencers[to],
            appends: appends[to],
            record,
            epoch,
        };
        let again = if self.broken == Broken::ResentWithoutOpen {
            let mut appends = appends;
            appends[to] += 1;
            Tenure::Reading {
                epoch,
                checkpoint,
                sequencers,
                appends,
                tokens,
                at,
            }
        } else {
            opening(epoch, checkpoint)
        };
        let mut after = state.clone();
        let outcome = self.accept(&mut after, sent);
        if state.faults > 0 {
            let mut lost = fault(&after);
            lost.workers[worker][shard] = again;
            let lost = outcome.map(|_| lost);
            push(
                steps,
                Step::Append {
                    worker,
                    shard,
                    record,
                    answered: false,
                },
                true,
                lost,
            );
            if state.late.is_none() {
                let mut late = fault(state);
                late.late = Some(sent);
                late.workers[worker][shard] = again;
                push(
                    steps,
                    Step::AppendLate {
                        worker,
                        shard,
                        record,
                    },
                    true,
                    Ok(late),
                );
            }
        }
        let after = outcome.map(|taken| {
            after.workers[worker][shard] = match &mut after.workers[worker][shard] {
                Tenure::Reading { appends, at, .. } if taken => {
                    appends[to] += 1;
                    *at = record;
                    after.workers[worker][shard]
                }
                // Fenced: whoever is no longer the owner lets go, the owner opens again.
                _ if is_mine(&after.rows[shard], worker, epoch) => opening(epoch, checkpoint),
                _ => Tenure::None,
            };
            after
        });
        push(
            steps,
            Step::Append {
                worker,
                shard,
                record,
                answered: true,
            },
            false,
            after,
        );
    }

    fn checkpoint(
        &self,
        state: &State,
        (worker, shard, epoch, proved): (usize, usize, u8, u8),
        steps: &mut Vec<Next>,
    ) {
        let before = state.rows[shard].checkpoint;
        let (mut after, written) = self.write(state, worker, shard, epoch, |row| {
            if row.checkpoint < proved || self.broken == Broken::NoConditions {
                row.checkpoint = proved;
            }
        });
        let missing = written && (1..=proved).any(|record| rows_of(&after, shard, record) == 0);
        let broken = if missing {
            Some("I3: a checkpoint is beyond what is committed")
        } else if after.rows[shard].checkpoint < before {
            Some("I4: a checkpoint went back")
        } else {
            None
        };
        let outcome = |after: State| broken.map_or(Ok(after), Err);
        if state.faults > 0 {
            let step = Step::Checkpoint {
                worker,
                shard,
                answered: false,
            };
            push(steps, step, true, outcome(fault(&after)));
        }
        after.workers[worker][shard] = match &mut after.workers[worker][shard] {
            Tenure::Reading { checkpoint, .. } if written => {
                *checkpoint = proved;
                after.workers[worker][shard]
            }
            _ => Tenure::None,
        };
        push(
            steps,
            Step::Checkpoint {
                worker,
                shard,
                answered: true,
            },
            false,
            outcome(after),
        );
    }

    /// A write of the shard's row, on the condition that it is this tenure's.
    fn write(
        &self,
        state: &State,
        worker: usize,
        shard: usize,
        epoch: u8,
        change: impl FnOnce(&mut Row),
    ) -> (State, bool) {
        let mut after = state.clone();
        let row = &mut after.rows[shard];
        let allowed = is_mine(row, worker, epoch) || self.broken == Broken::NoConditions;
        if allowed {
            change(row);
        }
        (after, allowed)
    }
}
