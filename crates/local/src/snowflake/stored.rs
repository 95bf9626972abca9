//! Rows of a commit onto the disk: a segment, or a data file of an Iceberg table with the metadata that names it.

use arrow::record_batch::RecordBatch;

use super::catalog::Catalog;
use super::catalog::commit::{NewSegment, TableCommit};
use super::catalog::iceberg::IcebergCommit;
use super::model::{ColumnDef, TableDef};
use super::{iceberg, segments};
use crate::Result;
use crate::disk::Disk;

/// What was written and waits for its transaction.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) segment: Option<NewSegment>,
    pub(crate) iceberg: Option<IcebergCommit>,
}

/// Writes the rows of a commit to a table, whose columns it may change. No row and no change write nothing.
pub(crate) fn write(
    disk: &dyn Disk,
    catalog: &Catalog,
    table: &TableDef,
    columns_after: Option<&[ColumnDef]>,
    rows: &RecordBatch,
) -> Result<Written> {
    let has_rows = rows.num_rows() > 0;
    if !iceberg::is_it(table) {
        let segment = has_rows
            .then(|| segments::write(disk, table.id, rows))
            .transpose()?;
        return Ok(Written {
            segment,
            iceberg: None,
        });
    }
    // The next value of an IDENTITY is no part of Iceberg's schema.
    let shape = |column: &ColumnDef| (column.name.clone(), column.nullable);
    let changed = columns_after.filter(|after| !after.iter().map(shape).eq(table.columns.iter().map(shape)));
    if !has_rows && changed.is_none() {
        return Ok(Written::default());
    }
    let columns = columns_after.unwrap_or(&table.columns);
    let rows = std::slice::from_ref(rows);
    let added = has_rows
        .then(|| iceberg::add(disk, catalog, table, columns, rows))
        .transpose()?;
    let change = iceberg::Change {
        columns: changed,
        added: added.as_ref(),
        ..iceberg::Change::default()
    };
    match iceberg::prepare(disk, catalog, table, change) {
        Ok(swap) => Ok(Written {
            segment: added.map(|added| added.segment),
            iceberg: Some(swap),
        }),
        Err(error) => {
            if let Some(added) = added {
                segments::remove(disk, &added.segment.path);
            }
            Err(error)
        }
    }
}

/// Removes what a commit wrote that did not come to pass.
pub(crate) fn discard(disk: &dyn Disk, commit: &TableCommit) {
    if let Some(swap) = &commit.iceberg {
        iceberg::discard(disk, swap, None);
    } else if let Some(segment) = &commit.segment {
        segments::remove(disk, &segment.path);
    }
    if let Some(errors) = &commit.errors {
        segments::remove(disk, &errors.path);
    }
}
