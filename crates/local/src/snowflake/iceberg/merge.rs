//! Small data files into larger ones, so that a table of many small commits stays a table of few files.
//!
//! The rows of a size class are written once again as one file, which replaces its files in one snapshot. The file is written
//! before the snapshot is tried, and the snapshot is tried again when a commit overtakes it.

use super::{Change, TRIES, add, commit, held, is_it, prepare};
use crate::Result;
use crate::disk::Disk;
use crate::snowflake::catalog::Catalog;
use crate::snowflake::model::{Segment, SegmentKind, TableDef};
use crate::snowflake::segments::{MERGE_FROM, read, remove};

/// Upper ends of the size classes, in bytes. A merge holds its rows in memory: the last one bounds them.
const CLASSES: [u64; 3] = [64 * 1024, 512 * 1024, 4 * 1024 * 1024];
/// Files of one merge.
const MOST: usize = 64;

/// Merges small data files of a table, if there are enough; true if it did.
pub(crate) fn merge_small(disk: &dyn Disk, catalog: &Catalog, table_id: i64) -> Result<bool> {
    let Some(table) = catalog.table_by_id(table_id)?.filter(is_it) else {
        return Ok(false);
    };
    // The files stay until this is done, also if the table is emptied meanwhile.
    let found = catalog.snapshot(&table.database, &table.schema, &table.name, SegmentKind::Rows)?;
    let Some(found) = found.filter(|found| found.table.id == table_id) else {
        return Ok(false);
    };
    let mut classes: [Vec<&Segment>; CLASSES.len()] = Default::default();
    for segment in &found.segments {
        if let Some(class) = CLASSES.iter().position(|end| segment.bytes < *end) {
            classes[class].push(segment);
        }
    }
    let Some(mut small) = classes.into_iter().find(|class| class.len() >= MERGE_FROM) else {
        return Ok(false);
    };
    small.truncate(MOST);
    let mut rows = Vec::new();
    for segment in &small {
        rows.extend(read(disk, segment)?.1);
    }
    let added = add(disk, catalog, &table, &table.columns, &rows)?;
    drop(rows);
    let paths: Vec<String> = small.iter().map(|segment| segment.path.clone()).collect();
    let expected: u64 = small.iter().map(|segment| segment.rows).sum();
    let mut merged = Ok(false);
    if expected == added.segment.rows {
        merged = swap(disk, catalog, &table, &added, &paths);
    }
    match &merged {
        Ok(true) => tracing::debug!(
            table_id,
            files = paths.len(),
            rows = expected,
            "data files merged"
        ),
        // After an error of the transaction itself nobody knows whether it is named.
        Ok(false) => remove(disk, &added.segment.path),
        Err(_) => {}
    }
    merged
}

fn swap(
    disk: &dyn Disk,
    catalog: &Catalog,
    table: &TableDef,
    added: &super::Added,
    paths: &[String],
) -> Result<bool> {
    for _ in 0..TRIES {
        let turn = catalog.turn(table.id);
        let _mine = held(&turn);
        let Some(now) = catalog.table_by_id(table.id)? else {
            return Ok(false);
        };
        let known = catalog.segments(table.id, SegmentKind::Rows)?;
        let are_there = paths
            .iter()
            .all(|path| known.iter().any(|segment| segment.path == *path));
        if !are_there {
            return Ok(false);
        }
        let change = Change {
            columns: None,
            added: Some(added),
            removed: paths.to_vec(),
            merges: true,
        };
        let prepared = prepare(disk, catalog, &now, change);
        let swap = match prepared {
            Ok(swap) => swap,
            // Overtaken between the look and the preparation: a metadata file or a manifest of then may be gone.
            Err(error) if catalog.segments(table.id, SegmentKind::Rows)? == known => return Err(error),
            Err(_) => continue,
        };
        if commit(disk, catalog, &now, None, Some(added), swap)? {
            return Ok(true);
        }
    }
    Ok(false)
}
