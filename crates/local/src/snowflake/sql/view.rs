//! What a query sees of a table's segments.
//!
//! Mostly the files as they are, listed for DataFusion. Columns whose stored name is not their own are called by their name; rows
//! that were committed behind the moment of a time travel are left out; where a query names
//! `METADATA$ROW_LAST_COMMIT_TIME`, it is a last column, NULL for rows from before the option was switched on.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, lit, when};
use datafusion::prelude::SessionContext;

use super::files::Files;
use super::query::run_error;
use super::{Result, SqlError};
use crate::snowflake::iceberg;
use crate::snowflake::model::{DataType, TableSnapshot};
use crate::snowflake::row_timestamps::{self, COLUMN};
use crate::snowflake::rows::{schema, zoned};

/// A table for a query, as of now or as of a moment in milliseconds since 1970.
pub(super) fn of(
    context: &SessionContext,
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
    shaped(context, snapshot, files, is_timed, until_ms).map_err(run_error)
}

fn shaped(
    context: &SessionContext,
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
        if matches!(known.data_type, DataType::TimestampTz { .. }) {
            let offsets = column(&zoned::offset_name(known.stored_name()));
            selected.push(offsets.alias(zoned::offset_name(&known.name)));
        }
    }
    if is_timed {
        let since = snapshot.table.row_timestamp_ms.unwrap_or(i64::MAX);
        let stamp = when(column(COLUMN).gt_eq(lit(at(since))), column(COLUMN)).end()?;
        selected.push(stamp.alias(COLUMN));
    }
    let mut frame = context.read_table(files)?;
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
    if snapshot.segments.is_empty() {
        return Ok(Arc::new(EmptyTable::new(schema)));
    }
    let path = |relative: &str| {
        let path = std::path::absolute(kept.folder().join(relative)).map_err(SqlError::running)?;
        // Not parsed from text: brackets and stars of a folder's name are no pattern.
        let url = url::Url::from_file_path(&path);
        let url = url.map_err(|()| SqlError::running("the data folder's path makes no address"))?;
        ListingTableUrl::try_new(url, None).map_err(run_error)
    };
    let paths = snapshot
        .segments
        .iter()
        .map(|segment| path(&segment.path))
        .collect::<Result<Vec<_>>>()?;
    let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
    let config = ListingTableConfig::new_with_multi_paths(paths)
        .with_listing_options(options)
        .with_schema(schema);
    let table = ListingTable::try_new(config).map_err(run_error)?;
    Ok(Arc::new(table.with_cache(Some(kept.statistics()))))
}
