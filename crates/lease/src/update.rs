//! Every change that Frazil makes to a lease row, as data: conditions, and what then changes.
//!
//! How it works: an [`Update`] holds conditions that must all hold ([`Condition`]) and the attributes it sets and removes. A
//! store that keeps rows itself asks [`Update::holds`] and calls [`Update::apply`]; DynamoDB gets the same as an UpdateItem
//! with expressions. There is no unconditional change, and no delete.

mod condition;

use frazil_model::{ShardId, WorkerId};

use crate::row::{Attribute, HELD_EXPIRY, Item, PIN_KEY, SEEN, ShardRow, name};
use crate::state::{Checkpoint, CountedChannel, Pin, ShardStart, StreamIdentity, Tenure};

pub use condition::Condition;

/// A conditional change of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// What it is for.
    pub purpose: Purpose,
    /// The range key.
    pub key: String,
    /// All of these must hold.
    pub conditions: Vec<Condition>,
    /// What it sets.
    pub set: Vec<(&'static str, Attribute)>,
    /// What it removes.
    pub remove: Vec<&'static str>,
}

/// What an update is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// A shard becomes a worker's.
    Take,
    /// A shard's position is remembered.
    Checkpoint,
    /// A shard is given back.
    Release,
    /// A shard gets or loses its durable stop mark.
    Stop,
    /// A worker tells that it lives.
    Beat,
    /// A worker's row is made free.
    Retire,
    /// The application's pin is set.
    Pin,
    /// A takeover writes a row or its marker.
    Migrate,
    /// A position is moved by a person.
    Rewind,
    /// What Frazil wrote, or an owner, is taken off a row.
    Remove,
    /// Nothing changes: its condition never holds.
    Probe,
}

/// What Frazil remembers in a shard's row, beside its numbers.
const SHARD_MEMORY: [&str; 15] = [
    name::POSITION,
    name::SEQUENCE,
    name::SERIAL,
    name::SHARD_END,
    name::CHANNEL,
    name::CHANNELS,
    name::ROWS_INSERTED,
    name::ROW_ERRORS,
    name::DESTINATION,
    name::STREAM,
    name::STOP,
    name::START,
    name::RATE,
    name::FAILED_ON,
    name::READ_UNTIL,
];

/// What is to be remembered with a new owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// What the row remembers stands.
    Keep,
    /// Another program moved `sequenceNumber`: it becomes the position.
    Adopt,
    /// The row speaks of a stream that was deleted since: it is forgotten.
    Forget,
}

impl Update {
    fn new(purpose: Purpose, key: impl Into<String>) -> Self {
        Self {
            purpose,
            key: key.into(),
            conditions: Vec::new(),
            set: Vec::new(),
            remove: Vec::new(),
        }
    }

    fn set(mut self, name: &'static str, value: Attribute) -> Self {
        self.set.push((name, value));
        self
    }

    fn only_if(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Makes `worker` the owner of a shard whose row is exactly as it was seen (`None`: no row), in a new epoch.
    #[must_use]
    pub fn take(
        shard: &ShardId,
        seen: Option<&ShardRow>,
        memory: Memory,
        (worker, epoch): (&WorkerId, u64),
        stream: &StreamIdentity,
        wall_ms: i64,
    ) -> Self {
        let mut update = Self::new(Purpose::Take, shard.as_str());
        for name in SEEN {
            let value = seen.and_then(|row| row.seen.get(name));
            update.conditions.push(Condition::exactly(name, value));
        }
        let generation = seen.map_or(0, |row| row.state.generation);
        let mut update = update
            .set(name::LEASE_OWNER, Attribute::text(worker))
            .set(name::LEASE_EXPIRY, Attribute::number(HELD_EXPIRY))
            .set(name::EPOCH, Attribute::number(epoch))
            .set(name::GENERATION, Attribute::number(generation))
            .set(name::SERIAL, Attribute::number(0))
            .set(name::STREAM, Attribute::text(stream))
            .set(name::LAST_UPDATE, Attribute::number(wall_ms));
        let position = seen.and_then(|row| row.state.position.as_ref());
        match (memory, position) {
            (Memory::Adopt, Some(position)) => {
                update
                    .set
                    .push((name::POSITION, Attribute::text(position.token())));
                update
                    .set
                    .push((name::SEQUENCE, Attribute::text(&position.sequence)));
                update.remove.push(name::READ_UNTIL);
            }
            (Memory::Forget, _) => update.remove.extend([
                name::SEQUENCE_NUMBER,
                name::POSITION,
                name::SEQUENCE,
                name::SHARD_END,
                name::CHANNEL,
                name::ROWS_INSERTED,
                name::ROW_ERRORS,
                name::STOP,
                name::START,
                name::READ_UNTIL,
            ]),
            (Memory::Keep | Memory::Adopt, _) => {}
        }
        update
    }

    /// Conditions of everything a worker writes to a shard's row during its tenure.
    fn in_tenure(purpose: Purpose, worker: &WorkerId, tenure: &Tenure) -> Self {
        Self::new(purpose, tenure.shard.as_str())
            .only_if(Condition::Is(name::LEASE_OWNER, Attribute::text(worker)))
            .only_if(Condition::Is(name::EPOCH, Attribute::number(tenure.epoch)))
            .only_if(Condition::Is(
                name::GENERATION,
                Attribute::number(tenure.generation),
            ))
    }

    /// Remembers a checkpoint. `serial` counts the checkpoints of the tenure from 1: it keeps an earlier request that arrives
    /// late from undoing a later one. A position never goes back, and one that another program moved meanwhile stands.
    #[must_use]
    pub fn checkpoint(
        worker: &WorkerId,
        tenure: &Tenure,
        serial: u64,
        new: &Checkpoint,
        wall_ms: i64,
    ) -> Self {
        let unmoved = vec![
            Condition::Absent(name::SEQUENCE_NUMBER),
            Condition::Same(name::SEQUENCE_NUMBER, name::SEQUENCE),
        ];
        let mut update = Self::in_tenure(Purpose::Checkpoint, worker, tenure)
            .only_if(Condition::Below(name::SERIAL, Attribute::number(serial)))
            .only_if(Condition::Any(unmoved))
            .set(name::SERIAL, Attribute::number(serial))
            .set(name::LAST_UPDATE, Attribute::number(wall_ms))
            .with_channels(&new.channels);
        if let Some(position) = &new.position {
            // The text order of tokens is the order of positions, so that DynamoDB can compare them.
            let token = Attribute::text(position.token());
            let forward = vec![
                Condition::Absent(name::POSITION),
                Condition::AtMost(name::POSITION, token.clone()),
            ];
            update = update.only_if(Condition::Any(forward)).set(name::POSITION, token);
            if position.last {
                update = update
                    .set(name::SEQUENCE_NUMBER, Attribute::text(&position.sequence))
                    .set(name::SEQUENCE, Attribute::text(&position.sequence));
            }
        }
        if let Some(ms) = new.read_until_ms {
            update = update.set(name::READ_UNTIL, Attribute::number(ms));
        }
        if new.ended {
            update = update.set(name::SHARD_END, Attribute::Bool(true));
        }
        if let Some(destination) = &new.destination {
            update = update.set(name::DESTINATION, Attribute::text(destination));
        }
        update
    }

    /// Replaces the channels that are remembered; none: they stand. A single one has the attributes that it always had.
    fn with_channels(self, channels: &[CountedChannel]) -> Self {
        let (mut update, stale): (Self, &[&'static str]) = match channels {
            [] => return self,
            [only] => {
                let update = self
                    .set(name::CHANNEL, json(&only.channel))
                    .set(
                        name::ROWS_INSERTED,
                        Attribute::number(only.counters.rows_inserted),
                    )
                    .set(name::ROW_ERRORS, Attribute::number(only.counters.row_errors));
                (update, &[name::CHANNELS])
            }
            several => {
                let update = self.set(name::CHANNELS, json(several));
                (update, &[name::CHANNEL, name::ROWS_INSERTED, name::ROW_ERRORS])
            }
        };
        update.remove.extend(stale);
        update
    }

    /// Tells a shard's rate with whatever is written anyway.
    #[must_use]
    pub fn with_rate(self, bytes_per_s: Option<u64>) -> Self {
        match bytes_per_s {
            Some(rate) => self.set(name::RATE, Attribute::number(rate)),
            None => self,
        }
    }

    /// Gives a shard back: neither owner nor expiry stay, so that Openflow may take it.
    #[must_use]
    pub fn release(worker: &WorkerId, tenure: &Tenure, wall_ms: i64) -> Self {
        let mut update = Self::in_tenure(Purpose::Release, worker, tenure)
            .set(name::LAST_UPDATE, Attribute::number(wall_ms));
        update
            .remove
            .extend([name::LEASE_OWNER, name::LEASE_EXPIRY, name::FAILED_ON]);
        update
    }

    /// Gives a shard back that could not be read here, and says so: it is for another worker, where there is one.
    #[must_use]
    pub fn offer(worker: &WorkerId, tenure: &Tenure, wall_ms: i64) -> Self {
        let mut update = Self::release(worker, tenure, wall_ms).set(name::FAILED_ON, Attribute::text(worker));
        update.remove.retain(|name| *name != name::FAILED_ON);
        update
    }

    /// Removes all that a row of a shard holds which is gone from the stream, if it is as it was seen; two keys are left.
    #[must_use]
    pub fn forget(row: &ShardRow) -> Self {
        let mut update = Self::new(Purpose::Remove, row.state.shard.as_str());
        for name in SEEN {
            update
                .conditions
                .push(Condition::exactly(name, row.seen.get(name)));
        }
        update.remove.extend(SHARD_MEMORY);
        update.remove.extend([
            name::LEASE_OWNER,
            name::LEASE_EXPIRY,
            name::EPOCH,
            name::GENERATION,
            name::SEQUENCE_NUMBER,
            name::LAST_UPDATE,
            name::MIGRATION_ATTEMPT,
        ]);
        update
    }

    /// Marks a held shard as stopped, for this reason, until [`Update::resume`]. What its channels had counted then is
    /// remembered as seen, so that the same finding does not stop the shard again after a person resumed it.
    #[must_use]
    pub fn stop(
        worker: &WorkerId,
        tenure: &Tenure,
        reason: &str,
        seen: &[CountedChannel],
        wall_ms: i64,
    ) -> Self {
        Self::in_tenure(Purpose::Stop, worker, tenure)
            .set(name::STOP, Attribute::text(reason))
            .set(name::LAST_UPDATE, Attribute::number(wall_ms))
            .with_channels(seen)
    }

    /// Takes the stop mark off, if it still is the one that a person saw.
    #[must_use]
    pub fn resume(shard: &ShardId, reason: &str) -> Self {
        let seen = Condition::Is(name::STOP, Attribute::text(reason));
        let mut update = Self::new(Purpose::Stop, shard.as_str()).only_if(seen);
        update.remove.push(name::STOP);
        update
    }

    /// Puts a shard, whose row is exactly as it was seen (`None`: no row), at another place: a new generation without a position,
    /// without an owner, and in a new epoch, so that nothing an earlier owner still sends takes effect.
    #[must_use]
    pub fn rewind(
        shard: &ShardId,
        seen: Option<&ShardRow>,
        to: &ShardStart,
        stream: &StreamIdentity,
        wall_ms: i64,
    ) -> Self {
        let mut update = Self::new(Purpose::Rewind, shard.as_str());
        for name in SEEN {
            let value = seen.and_then(|row| row.seen.get(name));
            update.conditions.push(Condition::exactly(name, value));
        }
        let (epoch, generation) = seen.map_or((0, 0), |row| (row.state.epoch, row.state.generation));
        let json = serde_json::to_string(to).expect("strings and numbers are always JSON");
        let mut update = update
            .set(name::EPOCH, Attribute::number(epoch + 1))
            .set(name::GENERATION, Attribute::number(generation + 1))
            .set(name::START, Attribute::S(json))
            .set(name::STREAM, Attribute::text(stream))
            .set(name::LAST_UPDATE, Attribute::number(wall_ms));
        update.remove.extend([
            name::LEASE_OWNER,
            name::LEASE_EXPIRY,
            name::SEQUENCE_NUMBER,
            name::POSITION,
            name::SEQUENCE,
            name::SHARD_END,
            name::CHANNEL,
            name::ROWS_INSERTED,
            name::ROW_ERRORS,
            name::STOP,
            name::READ_UNTIL,
        ]);
        update
    }

    /// Takes owner and expiry off a shard's row that is as it was seen, and with `forget` all that Frazil remembers but its
    /// numbers: should Frazil come back, a new tenure or generation must not have the number of an old one.
    #[must_use]
    pub fn clear(row: &ShardRow, forget: bool, wall_ms: i64) -> Self {
        let mut update = Self::new(Purpose::Remove, row.state.shard.as_str());
        for name in SEEN {
            update
                .conditions
                .push(Condition::exactly(name, row.seen.get(name)));
        }
        let mut update = update
            .set(name::EPOCH, Attribute::number(row.state.epoch + 1))
            .set(name::LAST_UPDATE, Attribute::number(wall_ms));
        update.remove.extend([name::LEASE_OWNER, name::LEASE_EXPIRY]);
        if forget {
            update.remove.extend(SHARD_MEMORY);
        }
        update
    }

    /// Takes the pin off.
    #[must_use]
    pub fn unpin(item: &Item) -> Self {
        let mut update =
            Self::new(Purpose::Remove, PIN_KEY).only_if(Condition::exactly(name::PIN, item.get(name::PIN)));
        update.remove.extend([name::PIN, name::LAST_UPDATE]);
        update
    }

    /// Makes a free (or missing) worker's row this worker's, with its first beat.
    #[must_use]
    pub fn claim(key: &str, worker: &WorkerId, display: &str, beat: u64, wall_ms: i64) -> Self {
        Self::beat(key, worker, beat, wall_ms)
            .replace_conditions(Condition::Absent(name::WORKER_ID))
            .set(name::WORKER_ID, Attribute::text(worker))
            .set(name::WORKER, Attribute::text(display))
    }

    fn replace_conditions(mut self, condition: Condition) -> Self {
        self.conditions = vec![condition];
        self
    }

    /// Tells that the worker lives.
    #[must_use]
    pub fn beat(key: &str, worker: &WorkerId, beat: u64, wall_ms: i64) -> Self {
        Self::new(Purpose::Beat, key)
            .only_if(Condition::Is(name::WORKER_ID, Attribute::text(worker)))
            .set(name::BEAT, Attribute::number(beat))
            .set(name::NODE_HEARTBEAT, Attribute::number(wall_ms))
            .set(name::LAST_UPDATE, Attribute::number(wall_ms))
    }

    /// Makes a worker's row free: its own at its end (`beat` none), or one that stood still at this beat for long.
    #[must_use]
    pub fn retire(key: &str, worker: &WorkerId, beat: Option<u64>) -> Self {
        let mut update =
            Self::new(Purpose::Retire, key).only_if(Condition::Is(name::WORKER_ID, Attribute::text(worker)));
        if let Some(beat) = beat {
            update = update.only_if(Condition::Is(name::BEAT, Attribute::number(beat)));
        }
        let all = [
            name::WORKER_ID,
            name::WORKER,
            name::BEAT,
            name::NODE_HEARTBEAT,
            name::LAST_UPDATE,
        ];
        update.remove.extend(all);
        update
    }

    /// Sets the pin where none stands, or where the one that stands is of a stream that was deleted since.
    #[must_use]
    pub fn pin(pin: &Pin, instead_of: Option<&Item>, wall_ms: i64) -> Self {
        let stood = instead_of.and_then(|item| item.get(name::PIN));
        Self::new(Purpose::Pin, PIN_KEY)
            .only_if(Condition::exactly(name::PIN, stood))
            .set(name::PIN, json(pin))
            .set(name::LAST_UPDATE, Attribute::number(wall_ms))
    }

    /// Whether all conditions hold for a row.
    #[must_use]
    pub fn holds(&self, item: &Item) -> bool {
        self.conditions.iter().all(|condition| condition.holds(item))
    }

    /// Makes the change.
    pub fn apply(&self, item: &mut Item) {
        for name in &self.remove {
            item.remove(*name);
        }
        for (name, value) in &self.set {
            item.insert((*name).to_owned(), value.clone());
        }
    }
}

fn json(value: &(impl serde::Serialize + ?Sized)) -> Attribute {
    let json = serde_json::to_string(value).expect("strings and numbers are always JSON");
    Attribute::S(json)
}
