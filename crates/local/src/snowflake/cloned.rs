//! CLONE of a table: which files are its rows as of a moment.
//!
//! How it works: of a snapshot each file is shared as it is. For a moment of the past, a file with no row of later is shared, one
//! of later rows only is left out, and one of both (the result of a merge) is read, and its rows of then are written as a
//! file of the clone's own. The catalog then makes the clone in one transaction ([`super::catalog::clones`]).
//!
//! What it guarantees: a crash leaves the whole clone or none, and files that nothing names go at the next start. What it
//! does not: the clone has no error rows, as in the service; its rows keep their row timestamps.
//!
//! Source: Snowflake documentation, "CREATE <object> ... CLONE", "DML error logging", "Row timestamps".

use arrow::array::{Array as _, AsArray as _, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampNanosecondType;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;

use super::catalog::Catalog;
use super::catalog::clones::NewClone;
use super::catalog::commit::NewSegment;
use super::model::{CreateMode, Created, NewTable, Segment, TableSnapshot};
use super::row_timestamps::COLUMN;
use super::segments;
use crate::disk::Disk;
use crate::{Error, Result};

/// Makes a clone of a snapshot's rows, of those until a moment where one is given; `None`, and nothing is changed, if its files
/// changed hands in between: it is to be tried again with a new snapshot.
pub(crate) fn make(
    disk: &dyn Disk,
    catalog: &Catalog,
    snapshot: &TableSnapshot,
    until_ms: Option<i64>,
    table: &NewTable,
    mode: CreateMode,
) -> Result<Option<Created>> {
    let source = &snapshot.table;
    let mut clone = NewClone {
        table,
        source: source.id,
        renames: source.renames,
        row_timestamp_ms: source.row_timestamp_ms.filter(|_| table.row_timestamp),
        shared: Vec::new(),
        made: Vec::new(),
    };
    let gathered = gather(disk, snapshot, until_ms, &mut clone);
    let outcome = gathered.and_then(|()| catalog.clone_table(&clone, mode));
    if !matches!(outcome, Ok(Some(Created::Made | Created::Replaced))) {
        for made in &clone.made {
            segments::remove(disk, &made.path);
        }
    }
    outcome
}

fn gather(
    disk: &dyn Disk,
    snapshot: &TableSnapshot,
    until_ms: Option<i64>,
    clone: &mut NewClone<'_>,
) -> Result<()> {
    for segment in &snapshot.segments {
        let kept = match until_ms {
            None => segment.rows,
            Some(until_ms) => rows_until(disk, segment, until_ms)?,
        };
        match until_ms {
            Some(until_ms) if kept < segment.rows => {
                if kept > 0 {
                    clone.made.push(part(disk, snapshot.table.id, segment, until_ms)?);
                }
            }
            _ => clone.shared.push(segment.clone()),
        }
    }
    Ok(())
}

/// Rows of a file that were committed until a moment. Files of earlier versions do not tell; their rows count as older.
fn rows_until(disk: &dyn Disk, segment: &Segment, until_ms: i64) -> Result<u64> {
    let builder = segments::builder(disk, segment)?;
    let Ok(place) = builder.schema().index_of(COLUMN) else {
        return Ok(segment.rows);
    };
    let mask = ProjectionMask::roots(builder.parquet_schema(), [place]);
    let reader = builder
        .with_projection(mask)
        .build()
        .map_err(segments::segment_error)?;
    let mut kept = 0;
    for batch in reader {
        let batch = batch.map_err(segments::segment_error)?;
        kept += older(&batch, until_ms)?.true_count() as u64;
    }
    Ok(kept)
}

/// Which rows were committed until a moment.
fn older(batch: &RecordBatch, until_ms: i64) -> Result<BooleanArray> {
    let moments = batch
        .column_by_name(COLUMN)
        .and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>())
        .ok_or_else(|| Error::Segment("the moments of commits are no timestamps".into()))?;
    let until = until_ms.saturating_mul(1_000_000);
    let is_older = |row| moments.is_null(row) || moments.value(row) <= until;
    Ok((0..moments.len()).map(|row| Some(is_older(row))).collect())
}

/// A file with the rows of another that were committed until a moment.
fn part(disk: &dyn Disk, table_id: i64, segment: &Segment, until_ms: i64) -> Result<NewSegment> {
    let (schema, batches) = segments::read(disk, segment)?;
    let kept = batches
        .into_iter()
        .map(|batch| filter_record_batch(&batch, &older(&batch, until_ms)?).map_err(segments::segment_error));
    segments::write_all(disk, table_id, schema, kept)
}
