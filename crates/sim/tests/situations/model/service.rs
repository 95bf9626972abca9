//! What the service does: takes appends, commits them in order.

use super::{Accepted, Broken, Late, Model, PARENTS, RECORDS, State, destination, rows_of};

impl Model {
    /// The service's side of an append: whether it was taken.
    pub(super) fn accept(&self, state: &mut State, sent: Late) -> Result<bool, &'static str> {
        let (shard, to) = (usize::from(sent.shard), usize::from(sent.destination));
        let fences = self.broken != Broken::OpenDoesNotFence;
        let channel = &mut state.channels[shard][to];
        if fences && (channel.sequencer != sent.sequencer || channel.appends != sent.appends) {
            return Ok(false);
        }
        let Some(free) = channel.accepted.iter_mut().find(|accepted| accepted.record == 0) else {
            return Ok(false);
        };
        *free = Accepted {
            record: sent.record,
            epoch: sent.epoch,
        };
        channel.appends += 1;
        let parents = PARENTS[shard].iter();
        let complete =
            |parent: &usize| (1..=RECORDS[*parent]).all(|record| rows_of(state, *parent, record) > 0);
        if parents.copied().all(|parent| complete(&parent)) {
            Ok(true)
        } else {
            Err("I6: a child is written before its parents are committed")
        }
    }
}

/// The service commits the first record that a channel accepted.
pub(super) fn commit(state: &State, shard: usize, to: usize) -> Result<State, &'static str> {
    let mut after = state.clone();
    let channel = &mut after.channels[shard][to];
    let [first, second] = channel.accepted;
    channel.accepted = [second, Accepted::default()];
    channel.token = first.record;
    channel.rows[usize::from(first.record)] += 1;
    let (rows, opened_by) = (channel.rows, channel.opened_by);
    if rows.iter().any(|count| *count > 1) {
        return Err("I1: a record is in the table twice");
    }
    if first.epoch < opened_by {
        return Err("I7: an append of an earlier tenure was committed");
    }
    let before = (1..first.record).filter(|record| destination(shard, *record) == to);
    if before.into_iter().any(|record| rows[usize::from(record)] == 0) {
        return Err("I5: a record is committed before the one ahead of it");
    }
    Ok(after)
}
