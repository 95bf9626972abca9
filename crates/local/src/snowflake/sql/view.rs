//! What a query sees of a table's segments.
//!
//! Mostly the files as they are ([`super::segment_files`]). Columns whose stored name is not their own are called by their name; rows
//! that were committed behind the moment of a time travel are left out; where a query names
//! `METADATA$ROW_LAST_COMMIT_TIME`, it is a last column, NULL for rows from before the option was switched on.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::empty::EmptyTable;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, lit, when};
use datafusion::prelude::SessionContext;

use super::files::Files;
use super::query::run_error;
use super::segment_files::SegmentFiles;
use super::{Result, variant};
use crate::snowflake::iceberg;
use crate::snowflake::model::{DataType as Type, TableSnapshot};
use crate::snowflake::row_timestamps::{self, COLUMN};
use crate::snowflake::rows::{schema, zoned};

/// A table for a query, as of now or as of a moment in milliseconds since 1970.
pub(super) fn of(
    state: &SessionState,
    snapshot: &TableSnapshot,
    kept: &Files,
    is_timed: bool,
    until_ms: Option<i64>,
) -> Result<Arc<dyn TableProvider>> {
    // The files of an Iceberg table are those of its snapshot of then.
    let until_ms = until_ms.filter(|_| snapshot.iceberg_schema.is_none());
    let stamped = is_timed || until_ms.is_some();
    let files = files(snapshot, kept, stamped)?;
    let is_renamed = |column: &crate::snowflake::model::ColumnDef| column.stored.is_some();
    if !stamped && !snapshot.table.columns.iter().any(is_renamed) {
        return Ok(files);
    }
    shaped(state, snapshot, files, is_timed, until_ms).map_err(run_error)
}

fn shaped(
    state: &SessionState,
    snapshot: &TableSnapshot,
    files: Arc<dyn TableProvider>,
    is_timed: bool,
    until_ms: Option<i64>,
) -> std::result::Result<Arc<dyn TableProvider>, DataFusionError> {
    let column = |name: &str| Expr::Column(Column::new_unqualified(name));
    let at =
        |ms: i64| ScalarValue::TimestampNanosecond(Some(ms.saturating_mul(1_000_000)), Some("UTC".into()));
    let mut selected: Vec<Expr> = Vec::new();
    for known in &snapshot.table.columns {
        selected.push(column(known.stored_name()).alias(&known.name));
        if matches!(known.data_type, Type::TimestampTz { .. }) {
            let offsets = column(&zoned::offset_name(known.stored_name()));
            selected.push(offsets.alias(zoned::offset_name(&known.name)));
        }
    }
    if is_timed {
        let since = snapshot.table.row_timestamp_ms.unwrap_or(i64::MAX);
        let stamp = when(column(COLUMN).gt_eq(lit(at(since))), column(COLUMN)).end()?;
        selected.push(stamp.alias(COLUMN));
    }
    let mut frame = SessionContext::new_with_state(state.clone()).read_table(files)?;
    if let Some(until) = until_ms {
        // Segments of earlier versions do not know their moment.
        let then = column(COLUMN).is_null().or(column(COLUMN).lt_eq(lit(at(until))));
        frame = frame.filter(then)?;
    }
    Ok(frame.select(selected)?.into_view())
}

fn files(snapshot: &TableSnapshot, kept: &Files, stamped: bool) -> Result<Arc<dyn TableProvider>> {
    let mut schema = match &snapshot.iceberg_schema {
        Some(text) => iceberg::arrow_schema(text)?,
        None => schema(&snapshot.table.columns),
    };
    if stamped {
        let stamp = Arc::new(row_timestamps::field());
        schema = Arc::new(Schema::new(
            schema.fields().iter().cloned().chain([stamp]).collect::<Vec<_>>(),
        ));
    }
    let schema = with_views(&schema);
    if snapshot.segments.is_empty() {
        return Ok(Arc::new(EmptyTable::new(schema)));
    }
    Ok(Arc::new(SegmentFiles::new(schema, &snapshot.segments, kept)?))
}

/// With texts as views, which group and compare short ones without going to their bytes. JSON stays as it is: what reads it
/// wants it in one piece.
fn with_views(schema: &Schema) -> SchemaRef {
    let field = |field: &FieldRef| {
        if *field.data_type() == DataType::Utf8 && !variant::is_json(field) {
            Arc::new(Field::clone(field).with_data_type(DataType::Utf8View))
        } else {
            Arc::clone(field)
        }
    };
    let fields: Vec<FieldRef> = schema.fields().iter().map(field).collect();
    Arc::new(Schema::new(fields))
}
