//! A model of taking, losing, resuming and resharding, searched through to its end.
//!
//! What is modelled: two workers, a shard that is split and whose children are merged, two destinations with a channel of
//! each shard. A step is one remote call of a worker (take, open, read the row, append, status, checkpoint, end) or one of the
//! service (commit, deliver a late append). A call may lose its answer after its effect; an append may take effect later than
//! its sender waits; a worker may die, or be slow for so long that the other takes its shard; a budget bounds how many such
//! faults there are together, and every way to spend it is tried.
//!
//! What is checked in every state is I1 to I7 of the architecture, each where it could break, and that from every state the
//! work can still be finished without any further fault. Which shard may be read is asked of the real [`Topology`], and
//! positions are compared as the real ones. That the search finds what it should is shown by breaking one rule at a time.
//!
//! What it is not: the code of the connector; that runs against faults in the storms and situations beside this.

mod search;
mod service;
mod worker;

use std::collections::BTreeSet;

use frazil_kinesis::{HashKeyRange, Shard, StartAt};
use frazil_model::{Position, SequenceNumber, ShardId};
use frazil_pipeline::topology::{Pinned, Topology};

use search::search;
use service::commit;

/// Shards: one, its two children, and what they are merged into.
const SHARDS: usize = 4;
const WORKERS: usize = 2;
const DESTINATIONS: usize = 2;
/// Records of each shard, numbered from 1.
const RECORDS: [u8; SHARDS] = [2, 1, 1, 1];
const PARENTS: [&[usize]; SHARDS] = [&[], &[0], &[0], &[1, 2]];
const NOBODY: u8 = 255;

/// Where a record of a shard goes.
fn destination(shard: usize, record: u8) -> usize {
    (shard + usize::from(record)) % DESTINATIONS
}

/// A rule that is left out, to see that the search misses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    Nothing,
    /// The row is not read again after the channels are open.
    NoReadAfterOpen,
    /// Rows are written without looking at owner, epoch and checkpoint.
    NoConditions,
    /// What was accepted counts as committed.
    AcceptedIsCommitted,
    /// A checkpoint follows the faster destination.
    FasterDestination,
    /// A child starts when its parents were read to their end.
    ChildAtReadEnd,
    /// After a lost answer the record is appended again without opening the channel again.
    ResentWithoutOpen,
    /// Reading goes on behind what another tenure had accepted instead of behind the token.
    ResumesAtAccepted,
    /// Opening a channel does not fence the one before.
    OpenDoesNotFence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Row {
    owner: u8,
    epoch: u8,
    checkpoint: u8,
    ended: bool,
}

/// A channel of the service. Accepted records wait in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Channel {
    sequencer: u8,
    /// Appends since it was opened: what a continuation token stands for.
    appends: u8,
    accepted: [Accepted; 2],
    token: u8,
    rows: [u8; 3],
    /// The latest tenure that opened it.
    opened_by: u8,
}

/// A record that is accepted, and the tenure it came from; record 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Accepted {
    record: u8,
    epoch: u8,
}

/// What a worker knows of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Tenure {
    None,
    /// Taken; so many channels are open.
    Opening {
        epoch: u8,
        checkpoint: u8,
        open: u8,
        sequencers: [u8; DESTINATIONS],
        tokens: [u8; DESTINATIONS],
    },
    Reading {
        epoch: u8,
        checkpoint: u8,
        sequencers: [u8; DESTINATIONS],
        appends: [u8; DESTINATIONS],
        tokens: [u8; DESTINATIONS],
        /// The last record that was appended, or was there.
        at: u8,
    },
}

/// An append that is still on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Late {
    shard: u8,
    destination: u8,
    sequencer: u8,
    appends: u8,
    record: u8,
    epoch: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    rows: [Row; SHARDS],
    channels: [[Channel; DESTINATIONS]; SHARDS],
    workers: [[Tenure; SHARDS]; WORKERS],
    late: Option<Late>,
    /// Faults that may still come.
    faults: u8,
}

/// What happened, for a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Take {
        worker: usize,
        shard: usize,
        answered: bool,
    },
    Open {
        worker: usize,
        shard: usize,
        destination: usize,
        answered: bool,
    },
    ReadRow {
        worker: usize,
        shard: usize,
    },
    Skip {
        worker: usize,
        shard: usize,
    },
    Append {
        worker: usize,
        shard: usize,
        record: u8,
        answered: bool,
    },
    AppendLate {
        worker: usize,
        shard: usize,
        record: u8,
    },
    Deliver,
    Commit {
        shard: usize,
        destination: usize,
    },
    Status {
        worker: usize,
        shard: usize,
    },
    /// A commit that did not come in time: the channel is opened again.
    Overdue {
        worker: usize,
        shard: usize,
    },
    Checkpoint {
        worker: usize,
        shard: usize,
        answered: bool,
    },
    End {
        worker: usize,
        shard: usize,
    },
    Crash {
        worker: usize,
    },
}

/// A step, whether it was a fault, and the state behind it; or which invariant it broke.
pub(super) struct Next {
    pub(super) step: Step,
    pub(super) is_fault: bool,
    pub(super) state: Result<State, &'static str>,
}

pub(super) struct Model {
    broken: Broken,
    /// By which shards have ended: which may be read, as the real topology says.
    readable: Vec<[bool; SHARDS]>,
}

fn shard_id(shard: usize) -> ShardId {
    ShardId::new(format!("shardId-{shard:012}")).expect("an id")
}

/// A record as a position; 0 is before the first.
fn position(record: u8) -> Position {
    Position::whole(SequenceNumber::new((100 + u32::from(record)).to_string()).expect("digits"))
}

/// Whether what stands at `token` settles the record.
fn settles(token: u8, record: u8) -> bool {
    position(token).settles(position(record).sequence.as_str(), 0, 0)
}

fn readable(ended: usize) -> [bool; SHARDS] {
    let shards: Vec<Shard> = (0..SHARDS)
        .map(|shard| Shard {
            id: shard_id(shard),
            parents: PARENTS[shard].iter().map(|parent| shard_id(*parent)).collect(),
            hash_range: HashKeyRange {
                start: 0,
                end: u128::MAX,
            },
            starting_sequence: SequenceNumber::new("1").expect("digits"),
            ending_sequence: None,
        })
        .collect();
    let pinned = Pinned {
        start: StartAt::TrimHorizon,
        shards: [shard_id(0)].into(),
        skipped: BTreeSet::new(),
    };
    let ended = (0..SHARDS)
        .filter(|shard| ended & (1 << shard) != 0)
        .map(shard_id);
    let mut topology = Topology::new(pinned, ended);
    topology.list(&shards, |_| false);
    let found = topology.readable();
    std::array::from_fn(|shard| found.contains(&shard_id(shard)))
}

impl Model {
    pub(super) fn new(broken: Broken) -> Self {
        Self {
            broken,
            readable: (0..1 << SHARDS).map(readable).collect(),
        }
    }

    pub(super) fn start(faults: u8) -> State {
        let row = Row {
            owner: NOBODY,
            epoch: 0,
            checkpoint: 0,
            ended: false,
        };
        State {
            rows: [row; SHARDS],
            channels: [[Channel::default(); DESTINATIONS]; SHARDS],
            workers: [[Tenure::None; SHARDS]; WORKERS],
            late: None,
            faults,
        }
    }

    pub(super) fn is_done(state: &State) -> bool {
        state.rows.iter().all(|row| row.ended)
    }

    fn may_read(&self, state: &State, shard: usize) -> bool {
        if self.broken == Broken::ChildAtReadEnd {
            let is_read = |parent: &usize| {
                state.rows[*parent].ended
                    || state.workers.iter().any(|worker| {
                        matches!(worker[*parent], Tenure::Reading { at, .. } if at == RECORDS[*parent])
                    })
            };
            return !state.rows[shard].ended && PARENTS[shard].iter().all(is_read);
        }
        let ended = (0..SHARDS).filter(|shard| state.rows[*shard].ended);
        let ended: usize = ended.map(|shard| 1 << shard).sum();
        self.readable[ended][shard]
    }

    /// Every step that can come next.
    pub(super) fn next(&self, state: &State) -> Vec<Next> {
        let mut steps = Vec::new();
        for worker in 0..WORKERS {
            for shard in 0..SHARDS {
                self.of_worker(state, worker, shard, &mut steps);
            }
            if state.faults > 0 && state.workers[worker] != [Tenure::None; SHARDS] {
                let mut after = fault(state);
                after.workers[worker] = [Tenure::None; SHARDS];
                push(&mut steps, Step::Crash { worker }, true, Ok(after));
            }
        }
        for shard in 0..SHARDS {
            for destination in 0..DESTINATIONS {
                if state.channels[shard][destination].accepted[0].record > 0 {
                    let step = Step::Commit { shard, destination };
                    push(&mut steps, step, false, commit(state, shard, destination));
                }
            }
        }
        if let Some(late) = state.late {
            let mut after = state.clone();
            after.late = None;
            let delivered = self.accept(&mut after, late);
            push(&mut steps, Step::Deliver, false, delivered.map(|_| after));
        }
        steps
    }
}

fn push(steps: &mut Vec<Next>, step: Step, is_fault: bool, state: Result<State, &'static str>) {
    steps.push(Next {
        step,
        is_fault,
        state,
    });
}

fn fault(state: &State) -> State {
    let mut after = state.clone();
    after.faults -= 1;
    after
}

fn is_mine(row: &Row, worker: usize, epoch: u8) -> bool {
    usize::from(row.owner) == worker && row.epoch == epoch && !row.ended
}

fn opening(epoch: u8, checkpoint: u8) -> Tenure {
    Tenure::Opening {
        epoch,
        checkpoint,
        open: 0,
        sequencers: [0; DESTINATIONS],
        tokens: [0; DESTINATIONS],
    }
}

fn rows_of(state: &State, shard: usize, record: u8) -> u8 {
    state.channels[shard][destination(shard, record)].rows[usize::from(record)]
}

/// Faults of one run in CI; `FAULTS=3` and more take minutes.
fn faults() -> u8 {
    std::env::var("FAULTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1)
}

#[test]
fn case_4_case_21_case_22_no_order_of_calls_and_faults_breaks_an_invariant() {
    let found = search(&Model::new(Broken::Nothing), faults(), usize::MAX);
    if let Some((broken, trace)) = found.broken {
        panic!("{broken}:\n{trace:#?}");
    }
    println!(
        "{} states, {} steps, {} of them faults",
        found.states, found.steps, found.faults
    );
    assert!(
        found.states > 50_000 && found.faults > 1_000,
        "too little was tried"
    );
    assert_eq!(found.stuck, 0, "states from which the work cannot be finished");
    assert!(found.done > 0);
}

#[test]
fn every_rule_that_is_broken_is_found_out() {
    for (broken, invariant) in [
        (Broken::NoReadAfterOpen, "I7"),
        (Broken::NoConditions, "I4"),
        (Broken::AcceptedIsCommitted, "I3"),
        (Broken::FasterDestination, "I3"),
        (Broken::ChildAtReadEnd, "I6"),
        (Broken::ResentWithoutOpen, "I1"),
        (Broken::ResumesAtAccepted, "I"),
        (Broken::OpenDoesNotFence, "I"),
    ] {
        let found = search(&Model::new(broken), 1, 300_000);
        let Some((reason, trace)) = found.broken else {
            panic!("{broken:?} was not found out in {} states", found.states);
        };
        println!("{broken:?}: {reason} after {} steps", trace.len());
        assert!(reason.starts_with(invariant), "{broken:?}: {reason}\n{trace:#?}");
    }
}
