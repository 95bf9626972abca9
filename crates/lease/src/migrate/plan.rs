//! What a takeover would write, before anything is written.
//!
//! How it works: each row of the source gives one planned shard. Shards that the stream lists and the source does not know are
//! placed by their kin: a shard whose descendant has a row was finished, because both programs begin a child only after its
//! parents, and forget finished ones; it becomes an ended row, so that it is not read again. All others without a row are either
//! younger than the source's last look, and so begin at their oldest record, or begin where the configuration says.

use std::collections::{BTreeMap, BTreeSet};

use frazil_model::{Position, ShardId};

use super::source::{Found, Remembered, SourceRow, read};
use super::{Begin, MigrateOptions, Plan, PlannedShard};
use crate::admin::Layout;
use crate::error::Error;
use crate::row::{Attribute, Item, PIN_KEY, name};
use crate::state::{Pin, PinnedShard, PinnedStart, ShardStart};

/// A row to be written: its range key, and its attributes without the keys.
pub(super) type NewRow = (String, Vec<(&'static str, Attribute)>);

const ROWS_SHOWN: usize = 5;

/// Plans from all rows of the source.
pub(super) fn plan(layout: &Layout, items: &[Item], options: &MigrateOptions) -> Result<Plan, Error> {
    let mut shards: BTreeMap<ShardId, PlannedShard> = BTreeMap::new();
    let mut others: BTreeSet<String> = BTreeSet::new();
    let mut rows_left_out = 0;
    for item in items {
        match read(layout, item, options)? {
            Found::Ours(row) => {
                let shard = row.shard.clone();
                if shards.insert(shard.clone(), planned(row, options)).is_some() {
                    return Err(Error::Takeover {
                        table: options.source.clone(),
                        detail: format!("shard {shard} has two rows, and nobody can tell which one is meant"),
                    });
                }
            }
            Found::OtherStream(stream) => {
                rows_left_out += 1;
                others.insert(stream);
            }
            Found::Housekeeping => {}
        }
    }
    let known: BTreeSet<ShardId> = shards.keys().cloned().collect();
    for shard in finished(options, &known) {
        let planned = PlannedShard {
            shard: shard.clone(),
            begin: Begin::Ended,
            notes: vec!["it has no row, but a descendant has: it was finished".to_owned()],
        };
        shards.insert(shard, planned);
    }
    let mut notes = Vec::new();
    if !others.is_empty() {
        let shown: Vec<&str> = others.iter().take(ROWS_SHOWN).map(String::as_str).collect();
        let shown = shown.join(", ");
        notes.push(format!(
            "{rows_left_out} rows of other streams are left out: {shown}"
        ));
    }
    if shards.is_empty() {
        notes.push("the table has no row of this stream".to_owned());
    }
    let pin = pin(options, &shards, &known);
    Ok(Plan {
        source: layout.clone(),
        shards: shards.into_values().collect(),
        rows_left_out,
        pin,
        notes,
    })
}

fn planned(row: SourceRow, options: &MigrateOptions) -> PlannedShard {
    let mut notes: Vec<String> = row.notes.iter().map(|note| (*note).to_owned()).collect();
    let begin = match row.remembered {
        Remembered::UpTo {
            sequence,
            sub_sequence,
        } => {
            if sub_sequence > 0 {
                notes.push(format!(
                    "goes on inside an aggregate, after sub-sequence {sub_sequence}"
                ));
            }
            // Not marked as the last of its record: the record is read again, and what is done of it skipped.
            Begin::After(Position {
                sequence,
                sub_sequence,
                document: 0,
                last: false,
            })
        }
        Remembered::Wholly(sequence) => Begin::After(Position::whole(sequence)),
        Remembered::ShardEnd => Begin::Ended,
        Remembered::TrimHorizon => Begin::At(ShardStart::TrimHorizon),
        Remembered::Latest => {
            notes.push(
                "never read; what arrived before this takeover is not read, as LATEST means".to_owned(),
            );
            Begin::At(ShardStart::Latest { ms: options.now_ms })
        }
        Remembered::AtTimestamp => match options.start {
            PinnedStart::AtTimestamp { ms } => Begin::At(ShardStart::AtTimestamp { ms }),
            _ => {
                notes.push(
                    "never read, and the table does not hold the moment of AT_TIMESTAMP: begins at the oldest record; \
                     configure initial_position AT_TIMESTAMP to begin at a moment"
                        .to_owned(),
                );
                Begin::At(ShardStart::TrimHorizon)
            }
        },
        Remembered::Nothing => {
            notes.push("has a row without a position: begins where initial_position says".to_owned());
            Begin::AsConfigured
        }
    };
    PlannedShard {
        shard: row.shard,
        begin,
        notes,
    }
}

/// Listed shards without a row that are ancestors of one with a row.
fn finished(options: &MigrateOptions, known: &BTreeSet<ShardId>) -> BTreeSet<ShardId> {
    let parents: BTreeMap<&ShardId, &Vec<ShardId>> = options
        .listed
        .iter()
        .map(|shard| (&shard.id, &shard.parents))
        .collect();
    let mut finished = BTreeSet::new();
    let mut open: Vec<&ShardId> = known.iter().collect();
    while let Some(shard) = open.pop() {
        for parent in parents.get(shard).into_iter().flat_map(|parents| parents.iter()) {
            let listed = parents.contains_key(parent);
            if listed && !known.contains(parent) && finished.insert(parent.clone()) {
                open.push(parent);
            }
        }
    }
    finished
}

/// The pin of the application's first start. Shards that are not in it begin at their oldest record: so a listed shard is in
/// it only where it is no descendant of a known one, and a known one only where its row says `LATEST` or a moment, or nothing.
fn pin(options: &MigrateOptions, shards: &BTreeMap<ShardId, PlannedShard>, known: &BTreeSet<ShardId>) -> Pin {
    let parents: BTreeMap<&ShardId, &Vec<ShardId>> = options
        .listed
        .iter()
        .map(|shard| (&shard.id, &shard.parents))
        .collect();
    let descends = |shard: &ShardId| {
        let mut seen: BTreeSet<&ShardId> = BTreeSet::new();
        let mut open: Vec<&ShardId> = parents.get(shard).into_iter().flat_map(|p| p.iter()).collect();
        while let Some(ancestor) = open.pop() {
            if known.contains(ancestor) {
                return true;
            }
            if seen.insert(ancestor) {
                open.extend(parents.get(ancestor).into_iter().flat_map(|p| p.iter()));
            }
        }
        false
    };
    let pinned = options
        .listed
        .iter()
        .filter(|listed| match shards.get(&listed.id) {
            Some(planned) => matches!(
                planned.begin,
                Begin::AsConfigured | Begin::At(ShardStart::Latest { .. } | ShardStart::AtTimestamp { .. })
            ),
            None => !descends(&listed.id),
        });
    let pinned = pinned.map(|listed| PinnedShard {
        id: listed.id.clone(),
        closed: listed.closed,
    });
    Pin {
        stream: options.stream.clone(),
        start: options.start,
        shards: pinned.collect(),
    }
}

impl Plan {
    /// The rows of the shards.
    pub(super) fn rows(&self) -> Vec<NewRow> {
        let rows = self.shards.iter().filter_map(|planned| {
            let mut row = vec![(name::STREAM, Attribute::text(&self.pin.stream))];
            match &planned.begin {
                Begin::After(position) => {
                    row.push((name::POSITION, Attribute::text(position.token())));
                    // What Openflow would go on after. Of a record that is done in part it would skip the rest.
                    if position.sub_sequence == 0 {
                        row.push((name::SEQUENCE_NUMBER, Attribute::text(&position.sequence)));
                        row.push((name::SEQUENCE, Attribute::text(&position.sequence)));
                    }
                }
                Begin::Ended => row.push((name::SHARD_END, Attribute::Bool(true))),
                Begin::At(start) => {
                    let json = serde_json::to_string(start).expect("strings and numbers are always JSON");
                    row.push((name::START, Attribute::S(json)));
                }
                Begin::AsConfigured => return None,
            }
            Some((planned.shard.to_string(), row))
        });
        rows.collect()
    }

    /// The pin's row.
    pub(super) fn pin_row(&self) -> NewRow {
        let json = serde_json::to_string(&self.pin).expect("strings and numbers are always JSON");
        (PIN_KEY.to_owned(), vec![(name::PIN, Attribute::S(json))])
    }
}
