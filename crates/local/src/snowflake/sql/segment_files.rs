//! The segments of a snapshot as a table of DataFusion's.
//!
//! The catalog knows each file's path, length and rows, so planning touches no disk: nothing is listed, and no footer is read
//! for the number of rows. That number is exact, because segments are written once, rows are never deleted from one, and a
//! snapshot names whole files. Of the columns nothing is told in advance; a scan leaves out row groups by their footers.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::datasource::file_format::FileFormat as _;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::object_store::path::Path as Location;
use datafusion::physical_plan::ExecutionPlan;

use super::files::Files;
use super::{Result, SqlError};
use crate::snowflake::model::Segment;

/// Files that hold rows of one schema, or of earlier ones of the same table.
#[derive(Debug)]
pub(super) struct SegmentFiles {
    schema: SchemaRef,
    store: ObjectStoreUrl,
    files: Vec<PartitionedFile>,
    rows: usize,
}

impl SegmentFiles {
    /// Of at least one segment.
    pub(super) fn new(schema: SchemaRef, segments: &[Segment], kept: &Files) -> Result<Self> {
        let (store, folder) = kept.place()?;
        let files = segments
            .iter()
            .map(|segment| {
                let location = Location::parse(format!("{folder}/{}", segment.path));
                let mut file = PartitionedFile::new("", segment.bytes);
                file.object_meta.location = location.map_err(SqlError::running)?;
                Ok(file)
            })
            .collect::<Result<Vec<_>>>()?;
        let rows = segments.iter().map(|segment| segment.rows).sum::<u64>();
        Ok(Self {
            schema,
            store,
            files,
            rows: usize::try_from(rows).unwrap_or(usize::MAX),
        })
    }
}

#[async_trait]
impl TableProvider for SegmentFiles {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> std::result::Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        // They leave out row groups; the plan filters rows.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> std::result::Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let format = ParquetFormat::default();
        let source = format.file_source(TableSchema::new(Arc::clone(&self.schema), Vec::new()));
        let mut statistics = Statistics::new_unknown(&self.schema);
        // A scan that may stop early gives fewer.
        statistics.num_rows = match limit {
            None => Precision::Exact(self.rows),
            Some(limit) => Precision::Inexact(self.rows.min(limit)),
        };
        let config = FileScanConfigBuilder::new(self.store.clone(), source)
            .with_file_groups(vec![FileGroup::new(self.files.clone())])
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        format.create_physical_plan(state, config).await
    }
}
