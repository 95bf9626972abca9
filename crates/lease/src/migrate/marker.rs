//! Who works on a takeover, and what a copied row looks like.
//!
//! The marker is the row `__migration__` of the stream in the table that the copy is made in: the run that works
//! (`frazilMigrationWorker`), its attempt (a number that each new run raises), its beat, and whether the copy is proved
//! (`frazilMigration`: `COPYING` or `COPIED`; then `frazilMigrationRows`: attempt and number of rows).

use frazil_model::WorkerId;

use super::plan::NewRow;
use crate::row::{Attribute, Item, MIGRATION_KEY, name};
use crate::update::{Condition, Purpose, Update};

const COPYING: &str = "COPYING";
const COPIED: &str = "COPIED";

/// What a row of a takeover may hold beside its keys.
const DATA: [&str; 7] = [
    name::POSITION,
    name::SEQUENCE_NUMBER,
    name::SEQUENCE,
    name::SHARD_END,
    name::START,
    name::STREAM,
    name::PIN,
];

/// A copy that was proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Copied {
    pub(super) attempt: u64,
    pub(super) rows: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) worker: String,
    pub(super) attempt: u64,
    pub(super) beat: u64,
    pub(super) copied: Option<Copied>,
}

fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    match item.get(name) {
        Some(Attribute::S(text) | Attribute::N(text)) => Some(text),
        _ => None,
    }
}

impl Marker {
    /// Reads a marker of ours; none where the row is another program's.
    pub(super) fn of(item: &Item) -> Option<Self> {
        let state = text(item, name::MIGRATION)?;
        let copied = text(item, name::MIGRATION_ROWS).filter(|_| state == COPIED);
        let copied = copied.and_then(|copied| {
            let (attempt, rows) = copied.split_once('/')?;
            Some(Copied {
                attempt: attempt.parse().ok()?,
                rows: rows.parse().ok()?,
            })
        });
        Some(Self {
            worker: text(item, name::MIGRATION_WORKER)?.to_owned(),
            attempt: text(item, name::MIGRATION_ATTEMPT)?.parse().ok()?,
            beat: text(item, name::MIGRATION_BEAT)?.parse().ok()?,
            copied,
        })
    }
}

fn update(key: &str, conditions: Vec<Condition>, set: Vec<(&'static str, Attribute)>) -> Update {
    Update {
        purpose: Purpose::Migrate,
        key: key.to_owned(),
        conditions,
        set,
        remove: Vec::new(),
    }
}

/// Makes `worker` the one that works, if the marker is as it was seen. `anew` forgets that a copy was proved.
pub(super) fn claim(seen: Option<&Marker>, worker: &WorkerId, anew: bool) -> (Marker, Update) {
    let conditions = match seen {
        // Without any attribute, not only ours: another program's marker is not to be overwritten.
        None => vec![
            Condition::Absent(name::MIGRATION),
            Condition::Absent("migrationStatus"),
        ],
        Some(seen) => vec![
            Condition::Is(name::MIGRATION_WORKER, Attribute::text(&seen.worker)),
            Condition::Is(name::MIGRATION_ATTEMPT, Attribute::number(seen.attempt)),
            Condition::Is(name::MIGRATION_BEAT, Attribute::number(seen.beat)),
        ],
    };
    let marker = Marker {
        worker: worker.to_string(),
        attempt: seen.map_or(0, |seen| seen.attempt) + 1,
        beat: 1,
        copied: seen.and_then(|seen| seen.copied).filter(|_| !anew),
    };
    let state = if marker.copied.is_some() { COPIED } else { COPYING };
    let set = vec![
        (name::MIGRATION, Attribute::text(state)),
        (name::MIGRATION_WORKER, Attribute::text(worker)),
        (name::MIGRATION_ATTEMPT, Attribute::number(marker.attempt)),
        (name::MIGRATION_BEAT, Attribute::number(1)),
    ];
    let mut update = update(MIGRATION_KEY, conditions, set);
    if marker.copied.is_none() {
        update.remove.push(name::MIGRATION_ROWS);
    }
    (marker, update)
}

/// Tells that the marker's run lives; the beat in it is the new one. `copied` says that the copy is proved.
pub(super) fn beat(marker: &Marker, copied: Option<Copied>) -> Update {
    let conditions = vec![
        Condition::Is(name::MIGRATION_WORKER, Attribute::text(&marker.worker)),
        Condition::Is(name::MIGRATION_ATTEMPT, Attribute::number(marker.attempt)),
    ];
    let mut set = vec![(name::MIGRATION_BEAT, Attribute::number(marker.beat))];
    if let Some(copied) = copied {
        let rows = format!("{}/{}", copied.attempt, copied.rows);
        set.push((name::MIGRATION, Attribute::text(COPIED)));
        set.push((name::MIGRATION_ROWS, Attribute::S(rows)));
    }
    update(MIGRATION_KEY, conditions, set)
}

/// Writes a row of the copy, over one of an earlier attempt, but never over one that a worker has taken.
pub(super) fn copy((key, data): &NewRow, attempt: u64) -> Update {
    let attempt = Attribute::number(attempt);
    let earlier = vec![
        Condition::Absent(name::SHARD_ID),
        Condition::AtMost(name::MIGRATION_ATTEMPT, attempt.clone()),
    ];
    let conditions = vec![Condition::Any(earlier), Condition::Absent(name::EPOCH)];
    let mut set = data.clone();
    set.push((name::MIGRATION_ATTEMPT, attempt));
    let mut update = update(key, conditions, set);
    let unset = DATA
        .iter()
        .filter(|name| data.iter().all(|(set, _)| set != *name));
    update.remove.extend(unset);
    update
}

/// Writes a row where none stands.
pub(super) fn restore((key, data): &NewRow) -> Update {
    update(key, vec![Condition::Absent(name::SHARD_ID)], data.clone())
}

/// A row of the copy with its attempt, as it is to be compared and restored; none where it holds what no takeover writes.
pub(super) fn copied_row(item: &Item) -> Option<(u64, NewRow)> {
    let key = text(item, name::SHARD_ID)?.to_owned();
    let attempt = text(item, name::MIGRATION_ATTEMPT)?.parse().ok()?;
    let mut data = Vec::new();
    for (attribute, value) in item {
        if [name::SHARD_ID, name::STREAM_NAME, name::MIGRATION_ATTEMPT].contains(&attribute.as_str()) {
            continue;
        }
        let known = DATA.iter().find(|name| *name == attribute)?;
        data.push((*known, value.clone()));
    }
    Some((attempt, (key, data)))
}

/// Rows in one order, so that they can be compared.
pub(super) fn sorted(mut rows: Vec<NewRow>) -> Vec<NewRow> {
    for (_, data) in &mut rows {
        data.sort_by_key(|(name, _)| *name);
    }
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}
