//! What was put, what took effect, and what must not have.
//!
//! How it works: the doors tell it every effect as it happens, so that a rule that was broken for a moment is found even
//! where all heals afterwards: positions and epochs never go back (I4), a checkpoint covers only what is in the table or a
//! letter (I2, I3), a child is read after all of its parents are (I6), nobody appends without having read his own epoch
//! after the open, and nothing of an earlier tenure takes effect after the open, or the take, of a later one (I7). In the end
//! it counts: each record once (I1), those of a key in their order (I5).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use frazil_kinesis::Kinesis;
use frazil_kinesis::fake::FakeKinesis;
use frazil_lease::row::{Item, Row, ShardRow, decode};
use frazil_lease::update::{Purpose, Update};
use frazil_model::ShardId;
use frazil_sim::Letters;
use frazil_snowflake::fake::FakeSnowpipe;

/// A record that was put.
#[derive(Debug, Clone)]
struct Put {
    shard: String,
    sequence: u64,
    /// Its key; none of a record that is no JSON.
    key: Option<u64>,
}

/// A worker and a shard.
type Seat = (u64, String);

#[derive(Debug, Default)]
struct State {
    /// By the number in the record.
    put: Vec<Put>,
    parents: HashMap<String, Vec<String>>,
    /// Parents that were seen settled to their end, and stay so.
    past: HashSet<String>,
    /// The latest tenure of a worker.
    epochs: HashMap<Seat, u64>,
    /// How many opens a worker heard the answer of.
    opens: HashMap<Seat, u64>,
    /// Opens that no read of the own row has followed.
    unread: HashSet<Seat>,
    /// The latest tenure that opened a channel.
    opened: HashMap<String, u64>,
    /// Numbers of the rows in the table, in the order of their commits.
    rows: Vec<u64>,
    in_table: HashSet<u64>,
    batches: usize,
    wrong: Vec<String>,
    /// How often each rule was looked at.
    looked: BTreeMap<&'static str, u64>,
}

/// The judge.
#[derive(Debug)]
pub(crate) struct Judge {
    kinesis: Arc<FakeKinesis>,
    snowpipe: Arc<FakeSnowpipe>,
    letters: Arc<Letters>,
    state: Mutex<State>,
}

impl Judge {
    pub(crate) fn new(kinesis: Arc<FakeKinesis>, snowpipe: Arc<FakeSnowpipe>, letters: Arc<Letters>) -> Self {
        Self {
            kinesis,
            snowpipe,
            letters,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a record of a key into the open shard that takes it; without a key, one that is no JSON into the first.
    pub(crate) async fn put(&self, key: Option<u64>, keys: u64) {
        // The hash of a key: its place among the hash keys.
        let place = u128::MAX / u128::from(keys) * u128::from(key.unwrap_or(0)) + 1;
        let shards = self.kinesis.list_shards().await.expect("no fault here");
        let open = shards.iter().filter(|shard| !shard.is_closed());
        let shard = open.into_iter().find(|shard| shard.hash_range.contains(place));
        let shard = shard.expect("open shards take every hash key");
        let number = self.state().put.len();
        let data = key.map_or("no json".to_owned(), |_| format!("{{\"n\":{number}}}"));
        let sequence = self.kinesis.put(&shard.id, "k", data.as_bytes());
        let mut state = self.state();
        state.put.push(Put {
            shard: shard.id.to_string(),
            sequence: sequence.as_str().parse().expect("digits"),
            key,
        });
        for shard in &shards {
            let parents = shard.parents.iter().map(ShardId::to_string).collect();
            state.parents.insert(shard.id.to_string(), parents);
        }
    }

    /// The latest tenure of a worker at a shard; 0 before its first.
    pub(crate) fn epoch(&self, worker: u64, shard: &str) -> u64 {
        let seat = (worker, shard.to_owned());
        self.state().epochs.get(&seat).copied().unwrap_or(0)
    }

    /// A page is read.
    pub(crate) fn reads(&self, iterator: &str) {
        let shard = iterator.split('/').next().unwrap_or_default();
        let mut state = self.state();
        let parents = state.parents.get(shard).cloned().unwrap_or_default();
        for parent in parents {
            *state.looked.entry("I6 parents first").or_default() += 1;
            if state.past.contains(&parent) {
                continue;
            }
            if let Some(lacks) = self.first_unsettled(&mut state, &parent, u64::MAX) {
                let text = format!("I6: {shard} is read while record {lacks} of its parent {parent} is open");
                state.wrong.push(text);
            } else {
                state.past.insert(parent);
            }
        }
    }

    /// The first record of a shard up to a sequence number that is neither in the table nor a letter.
    fn first_unsettled(&self, state: &mut State, shard: &str, up_to: u64) -> Option<usize> {
        self.take_in(state);
        let letters = self.letters.all();
        let is_letter = |put: &Put| {
            letters.iter().any(|letter| {
                letter.shard.as_str() == put.shard
                    && letter.position.sequence.as_str() == put.sequence.to_string()
            })
        };
        let puts = state.put.iter().enumerate();
        let mut open = puts.filter(|(number, put)| {
            put.shard == shard
                && put.sequence <= up_to
                && !state.in_table.contains(&(*number as u64))
                && !is_letter(put)
        });
        open.next().map(|(number, _)| number)
    }

    /// Takes in what was committed since.
    fn take_in(&self, state: &mut State) {
        let committed = self.snowpipe.committed();
        for batch in &committed[state.batches..] {
            let text = zstd::decode_all(&batch.body[..]).expect("a batch is zstd");
            for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let row: serde_json::Value = serde_json::from_slice(line).expect("a row is JSON");
                let number = row["n"].as_u64().expect("a number");
                state.rows.push(number);
                state.in_table.insert(number);
            }
        }
        state.batches = committed.len();
    }

    /// A read of a row begins; answers what [`Judge::has_read`] needs.
    pub(crate) fn begins_read(&self, worker: u64, shard: &str) -> u64 {
        let seat = (worker, shard.to_owned());
        self.state().opens.get(&seat).copied().unwrap_or(0)
    }

    /// A worker heard the answer of a read that began after so many opens.
    pub(crate) fn has_read(&self, worker: u64, shard: &str, opens: u64, item: &Item) {
        let seat = (worker, shard.to_owned());
        let mut state = self.state();
        let is_after = state.opens.get(&seat).copied().unwrap_or(0) == opens;
        let own = shard_row(Some(item)).is_some_and(|row| Some(&row.state.epoch) == state.epochs.get(&seat));
        if is_after && own {
            state.unread.remove(&seat);
        }
    }

    /// A worker heard the answer of an open.
    pub(crate) fn has_opened(&self, worker: u64, shard: &str) {
        let seat = (worker, shard.to_owned());
        let mut state = self.state();
        *state.opens.entry(seat.clone()).or_default() += 1;
        state.unread.insert(seat);
    }

    /// A channel is opened in a tenure.
    pub(crate) fn opens(&self, epoch: u64, channel: &str) {
        let mut state = self.state();
        let latest = state.opened.entry(channel.to_owned()).or_default();
        *latest = epoch.max(*latest);
    }

    /// A worker begins to append.
    pub(crate) fn wants_to_append(&self, worker: u64, shard: &str) {
        let seat = (worker, shard.to_owned());
        let mut state = self.state();
        *state.looked.entry("I7 read after open").or_default() += 1;
        if state.unread.contains(&seat) {
            let text =
                format!("I7: worker {worker} appends to {shard} without a read of its row after the open");
            state.wrong.push(text);
        }
    }

    /// Rows are accepted in a tenure.
    pub(crate) fn appends(&self, epoch: u64, channel: &str) {
        let mut state = self.state();
        *state.looked.entry("I7 latest tenure").or_default() += 1;
        let latest = state.opened.get(channel).copied().unwrap_or(0);
        if epoch < latest {
            let text =
                format!("I7: an append of tenure {epoch} is accepted by {channel} after an open of {latest}");
            state.wrong.push(text);
        }
    }

    /// A row changes, by a worker in its tenure of the time when it asked.
    pub(crate) fn writes(
        &self,
        worker: u64,
        epoch: u64,
        update: &Update,
        before: Option<Item>,
        after: Option<Item>,
    ) {
        let Some(now) = shard_row(after.as_ref()) else {
            return;
        };
        let then = shard_row(before.as_ref());
        let mut state = self.state();
        let shard = &update.key;
        if update.purpose == Purpose::Take {
            let seat = (worker, shard.clone());
            let latest = state.epochs.entry(seat).or_default();
            *latest = now.state.epoch.max(*latest);
        }
        if let Some(then) = &then {
            *state.looked.entry("I4 forward").or_default() += 1;
            if now.state.position < then.state.position || now.state.epoch < then.state.epoch {
                let (from, to) = (&then.state, &now.state);
                let text = format!("I4: {shard} goes back from {from:?} to {to:?}");
                state.wrong.push(text);
            }
            if update.purpose != Purpose::Take && then.state.epoch != epoch {
                let (held, purpose) = (then.state.epoch, update.purpose);
                let text = format!("I7: a {purpose:?} of tenure {epoch} changes {shard} in tenure {held}");
                state.wrong.push(text);
            }
        }
        if update.purpose == Purpose::Checkpoint {
            *state.looked.entry("I3 checkpoint").or_default() += 1;
            let position = now.state.position.as_ref();
            let sequence = position.map_or(0, |at| at.sequence.as_str().parse().expect("digits"));
            let up_to = if now.state.ended { u64::MAX } else { sequence };
            if let Some(lacks) = self.first_unsettled(&mut state, shard, up_to) {
                let text =
                    format!("I3: {shard} is checkpointed at {position:?} while record {lacks} is open");
                state.wrong.push(text);
            }
        }
    }

    /// Whether every record is in the table or a letter.
    pub(crate) fn all_settled(&self) -> bool {
        let mut state = self.state();
        let shards: Vec<String> = state.parents.keys().cloned().collect();
        shards
            .iter()
            .all(|shard| self.first_unsettled(&mut state, shard, u64::MAX).is_none())
    }

    /// The last record of each shard.
    pub(crate) fn last_sequences(&self) -> BTreeMap<String, u64> {
        let state = self.state();
        state
            .put
            .iter()
            .map(|put| (put.shard.clone(), put.sequence))
            .collect()
    }

    /// What was wrong, counted in the end, and how often each rule was looked at.
    pub(crate) fn verdict(&self) -> (Vec<String>, BTreeMap<&'static str, u64>) {
        let mut state = self.state();
        self.take_in(&mut state);
        let mut wrong = state.wrong.clone();
        let shards: Vec<String> = state.parents.keys().cloned().collect();
        for shard in shards {
            if let Some(lost) = self.first_unsettled(&mut state, &shard, u64::MAX) {
                wrong.push(format!("I2: record {lost} of {shard} is lost"));
            }
        }
        let mut seen = HashSet::new();
        let mut last_of_key: HashMap<u64, u64> = HashMap::new();
        for number in &state.rows {
            if !seen.insert(*number) {
                wrong.push(format!("I1: record {number} is in the table twice"));
            }
            let index = usize::try_from(*number).expect("few records");
            let key = state.put[index].key.expect("a row is a record of a key");
            if let Some(before) = last_of_key.insert(key, *number).filter(|before| before > number) {
                wrong.push(format!("I5: record {number} of key {key} comes behind {before}"));
            }
        }
        *state.looked.entry("I1 rows").or_default() += seen.len() as u64;
        (wrong, state.looked.clone())
    }
}

fn shard_row(item: Option<&Item>) -> Option<Box<ShardRow>> {
    match decode(item?) {
        Ok(Row::Shard(row)) => Some(row),
        _ => None,
    }
}
