//! Row timestamps: when each row was committed.
//!
//! Source: Snowflake documentation, "Row timestamps": with ROW_TIMESTAMP on, `METADATA$ROW_LAST_COMMIT_TIME` is the commit of
//! the row; NULL for rows from before; all rows of a commit share it; switching off discards the values for good. It is no
//! column: `SELECT *` leaves it out.
//!
//! It is stored as a last column of each segment of standard and interactive tables, because time travel goes by it too; a query that names it sees it where it is
//! not older than the option.

use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;

use super::model::{TableDef, TableKind};

/// How a query names it, and how it is stored.
pub(crate) const COLUMN: &str = "METADATA$ROW_LAST_COMMIT_TIME";

/// How it is stored.
pub(crate) fn field() -> Field {
    let kind = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    Field::new(COLUMN, kind, true)
}

/// The rows with the moment of their commit; those of Iceberg tables as they are.
pub(crate) fn stamp(table: &TableDef, rows: RecordBatch, now_ms: i64) -> RecordBatch {
    if rows.num_rows() == 0 || table.kind == TableKind::Iceberg {
        return rows;
    }
    let moment = now_ms.saturating_mul(1_000_000);
    let moments = TimestampNanosecondArray::from_value(moment, rows.num_rows()).with_timezone("UTC");
    let mut arrays: Vec<ArrayRef> = rows.columns().to_vec();
    arrays.push(Arc::new(moments));
    let fields = rows
        .schema()
        .fields()
        .iter()
        .cloned()
        .chain([Arc::new(field())])
        .collect::<Vec<_>>();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .expect("one array for each field, all of one length")
}
