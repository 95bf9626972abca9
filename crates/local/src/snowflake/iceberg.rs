//! Iceberg tables: real ones, which any other engine reads as they lie in the data folder.
//!
//! Data files (Parquet), manifests, manifest lists and metadata files stand under
//! `iceberg/<volume>/<base location>/{data,metadata}`; schemas, Avro and metadata are made by the `iceberg` crate. The catalog is
//! ours ([`super::catalog::iceberg`]): the crate's own `Catalog` trait commits nothing but a table's update, and here the
//! metadata file and the channels' tokens must change in one transaction. So a change is first made on disk ([`prepare`]) and
//! then swapped in by [`super::catalog::Catalog::commit`].
//!
//! Guarantees: a metadata file that counts, and each file that it names, is on disk; what a crash leaves is removed at the next
//! start; the numbers of files, manifests, snapshots and metadata files stay bounded under any number of small commits. What it does
//! not: partitions, deletes of single rows, row lineage across merges (ids of version 3 are given anew), VARIANT in Parquet's
//! own encoding (it is JSON text).

mod change;
mod files;
mod merge;
mod schema;

use std::path::Path;
use std::sync::{MutexGuard, PoisonError};

use iceberg::TableCreation;
use iceberg::spec::{FormatVersion, TableMetadata, TableMetadataBuilder};

use super::catalog::commit::{Outcome, TableCommit};
use super::catalog::iceberg::{IcebergCommit, IcebergRow, Turn};
use super::catalog::{Catalog, now_ms};
use super::model::{ColumnDef, Segment, SegmentKind, TableDef, TableKind};
use crate::disk::Disk;
use crate::{Error, Result};

pub(crate) use self::change::{Added, Change, SNAPSHOTS, add, prepare};
pub(crate) use self::files::{FOLDER, discard, sweep};
pub(crate) use self::merge::merge_small;
pub(crate) use self::schema::arrow_schema;

/// Metadata files that are kept behind the current one.
pub(crate) const PREVIOUS: usize = 50;
/// Tries of a change that others overtake.
const TRIES: usize = 20;

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Segment(format!("iceberg: {error}"))
}

/// What CREATE ICEBERG TABLE says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) volume: String,
    pub(crate) base_location: String,
    pub(crate) version: u8,
}

fn format_version(version: u8) -> FormatVersion {
    if version >= 3 {
        FormatVersion::V3
    } else {
        FormatVersion::V2
    }
}

/// Writes the first metadata file of a table.
pub(crate) fn create(
    disk: &dyn Disk,
    catalog: &Catalog,
    data_dir: &Path,
    place: &Place,
    columns: &[ColumnDef],
) -> Result<IcebergRow> {
    let folder = format!("{FOLDER}/{}/{}", place.volume, place.base_location);
    let root = std::path::absolute(data_dir).map_err(Error::disk("find", data_dir))?;
    let root = root
        .to_str()
        .ok_or_else(|| failed("the data folder's path is no UTF-8"))?;
    let location = format!("file://{root}/{folder}");
    let properties = [
        ("write.parquet.compression-codec", "zstd".to_owned()),
        ("write.metadata.delete-after-commit.enabled", "true".to_owned()),
        ("write.metadata.previous-versions-max", PREVIOUS.to_string()),
        ("history.expire.min-snapshots-to-keep", SNAPSHOTS.to_string()),
    ];
    let creation = TableCreation::builder()
        .name("table".to_owned())
        .location(location.clone())
        .schema(schema::new(columns)?)
        .properties(properties.map(|(key, value)| (key.to_owned(), value)))
        .format_version(format_version(place.version))
        .build();
    let built = TableMetadataBuilder::from_table_creation(creation).map_err(failed)?;
    let metadata = built.build().map_err(failed)?.metadata;
    catalog.note_iceberg_folder(&folder)?;
    files::prepare_folders(disk, &folder)?;
    let path = files::metadata_path(&folder, None);
    let bytes = serde_json::to_vec(&metadata).map_err(failed)?;
    files::write_all(disk, &folder, &[(path.clone(), bytes.into())])?;
    Ok(IcebergRow {
        volume: place.volume.clone(),
        base_location: place.base_location.clone(),
        version: place.version,
        folder,
        location,
        metadata: path,
        schema: schema::text(metadata.current_schema())?,
    })
}

/// The metadata that counts.
fn load(disk: &dyn Disk, row: &IcebergRow) -> Result<TableMetadata> {
    let bytes = files::read(disk, &row.metadata)?;
    serde_json::from_slice(&bytes).map_err(|error| Error::Damaged(format!("{}: {error}", row.metadata)))
}

fn row_of(catalog: &Catalog, table_id: i64) -> Result<IcebergRow> {
    let row = catalog.iceberg(table_id)?;
    row.ok_or_else(|| Error::Damaged(format!("table {table_id} is no Iceberg table")))
}

/// Whether the rows of a table are Iceberg's.
pub(crate) fn is_it(table: &TableDef) -> bool {
    table.kind == TableKind::Iceberg
}

/// TRUNCATE: a snapshot without files.
pub(crate) fn truncate(disk: &dyn Disk, catalog: &Catalog, table_id: i64) -> Result<()> {
    change_table(disk, catalog, table_id, |table| {
        let removed = catalog.segments(table.id, SegmentKind::Rows)?;
        Ok((removed.into_iter().map(|segment| segment.path).collect(), None))
    })
}

/// ALTER: other columns.
///
/// # Errors
/// What `change` refuses with; nothing is changed then.
pub(crate) fn alter<E: From<Error>>(
    disk: &dyn Disk,
    catalog: &Catalog,
    table_id: i64,
    change: impl Fn(&mut TableDef) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let mut refused = None;
    let done = change_table(disk, catalog, table_id, |table| {
        let mut after = table.clone();
        match change(&mut after) {
            Ok(()) => Ok((Vec::new(), Some(after.columns))),
            Err(why) => {
                refused = Some(why);
                Err(Error::Stopping)
            }
        }
    });
    match refused {
        Some(why) => Err(why),
        None => done.map_err(E::from),
    }
}

/// The turn, as long as the guard lives.
pub(crate) fn held(turn: &Turn) -> MutexGuard<'_, ()> {
    turn.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a change until nobody overtakes it.
fn change_table(
    disk: &dyn Disk,
    catalog: &Catalog,
    table_id: i64,
    mut change: impl FnMut(&TableDef) -> Result<(Vec<String>, Option<Vec<ColumnDef>>)>,
) -> Result<()> {
    for _ in 0..TRIES {
        let gone = || Error::NoSuchObject {
            kind: "Table",
            name: table_id.to_string(),
        };
        let turn = catalog.turn(table_id);
        let _mine = held(&turn);
        let table = catalog.table_by_id(table_id)?.ok_or_else(gone)?;
        let (removed, columns) = change(&table)?;
        let change = Change {
            columns: columns.as_deref(),
            added: None,
            removed,
            merges: false,
        };
        if change.is_nothing(&table) {
            return Ok(());
        }
        let swap = prepare(disk, catalog, &table, change)?;
        if commit(disk, catalog, &table, columns, None, swap)? {
            return Ok(());
        }
    }
    Err(failed("the table changes too fast"))
}

/// Swaps a change in; false if it was overtaken, and then its files are gone but for the data file.
fn commit(
    disk: &dyn Disk,
    catalog: &Catalog,
    table: &TableDef,
    columns_after: Option<Vec<ColumnDef>>,
    added: Option<&Added>,
    swap: IcebergCommit,
) -> Result<bool> {
    let commit = TableCommit {
        table_id: table.id,
        columns_before: table.columns.clone(),
        columns_after,
        segment: added.map(|added| added.segment.clone()),
        errors: None,
        channels: Vec::new(),
        overwrite: false,
        iceberg: Some(swap),
    };
    let outcome = catalog.commit(&commit)?;
    if outcome == Outcome::Done {
        return Ok(true);
    }
    if let Some(swap) = &commit.iceberg {
        discard(disk, swap, added.map(|added| added.segment.path.as_str()));
    }
    Ok(false)
}

/// A table's rows as of a moment: the data files of the snapshot that was current then, and the schema of its time. `None` if that
/// snapshot is expired.
pub(crate) fn past(
    disk: &dyn Disk,
    catalog: &Catalog,
    table_id: i64,
    at_ms: i64,
) -> Result<Option<(Vec<Segment>, String)>> {
    let row = row_of(catalog, table_id)?;
    let metadata = load(disk, &row)?;
    let current_then = metadata
        .history()
        .iter()
        .rev()
        .find(|entry| entry.timestamp_ms <= at_ms);
    let Some(entry) = current_then else {
        // Before the first one the table was empty; before the first of those that are kept it was not.
        let first = metadata
            .history()
            .first()
            .and_then(|entry| metadata.snapshot_by_id(entry.snapshot_id));
        let was_empty = first.is_none_or(|first| first.parent_snapshot_id().is_none());
        return Ok(was_empty.then(|| (Vec::new(), row.schema)));
    };
    let Some(snapshot) = metadata.snapshot_by_id(entry.snapshot_id) else {
        return Ok(None);
    };
    let schema = snapshot.schema(&metadata).map_err(failed)?;
    let live = change::live(disk, &row, &metadata, snapshot)?
        .into_iter()
        .zip(1_i64..);
    let segments = live.map(|((path, rows, bytes), id)| Segment {
        id,
        table_id,
        path,
        rows,
        bytes,
    });
    Ok(Some((segments.collect(), schema::text(&schema)?)))
}

/// The data files of the current snapshot, as its manifests have them, relative to the data folder.
#[cfg(test)]
pub(crate) fn live_files(disk: &dyn Disk, catalog: &Catalog, table_id: i64) -> Result<Vec<String>> {
    let row = row_of(catalog, table_id)?;
    let metadata = load(disk, &row)?;
    let Some(current) = metadata.current_snapshot() else {
        return Ok(Vec::new());
    };
    let live = change::live(disk, &row, &metadata, current)?;
    Ok(live.into_iter().map(|(path, ..)| path).collect())
}

/// Not before what the table has seen.
fn moment(metadata: &TableMetadata) -> i64 {
    now_ms().max(metadata.last_updated_ms())
}
