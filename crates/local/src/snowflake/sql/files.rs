//! The folder of the segments, and what queries keep between them.
//!
//! Segments never change, so what was read of a file's end (the Parquet footer) is kept from query to query: no file's end is
//! read twice. What a statement is planned in, with every function in it, is made once and copied. All queries share one
//! memory limit.
//!
//! Limits: [`QUERY_MEMORY`] of all queries together; 50 MiB of footers (DataFusion's default).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::catalog::{CatalogProvider as _, CatalogProviderList as _};
use datafusion::catalog::{MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider};
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::object_store::path::Path as Location;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::query::run_error;
use super::{Result, Session, SqlError, arithmetic, casts, dates, flatten, sequences, texts, typed, variant};
use crate::snowflake::catalog::Catalog;

/// Memory of all queries together.
const QUERY_MEMORY: usize = 1024 * 1024 * 1024;

/// What queries read.
#[derive(Clone)]
pub(crate) struct Files {
    folder: PathBuf,
    /// Without tables.
    state: Arc<SessionState>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Files {
    pub(crate) fn new(folder: PathBuf, catalog: &Arc<Catalog>) -> Self {
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_limit(QUERY_MEMORY, 1.0)
            .build_arc()
            .expect("a runtime of defaults touches no disk until a query spills");
        let mut config = SessionConfig::new()
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(false);
        let options = config.options_mut();
        // Names were folded by Snowflake's rules before.
        options.sql_parser.enable_ident_normalization = false;
        options.sql_parser.map_string_types_to_utf8view = false;
        // Literals are exact.
        options.sql_parser.parse_float_as_decimal = true;
        // What CURRENT_TIMESTAMP gives is a TIMESTAMP_LTZ.
        options.execution.time_zone = Some("UTC".to_owned());
        options.execution.parquet.schema_force_view_types = false;
        options.execution.parquet.skip_metadata = false;
        // It leaves out the group of NULL (DataFusion 53.1: DISTINCT or GROUP BY with ORDER BY of the key and LIMIT).
        options.optimizer.enable_topk_aggregation = false;
        let mut context = SessionContext::new_with_config_rt(config, runtime);
        variant::register(&context);
        casts::register(&context);
        texts::register(&context);
        dates::register(&context);
        arithmetic::register(&context);
        flatten::register(&context);
        sequences::register(&context, catalog);
        typed::register(&mut context).expect("functions of other names than all others register");
        Self {
            folder,
            state: Arc::new(context.state()),
        }
    }

    /// The data folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What one statement is planned in, as of now: every function, and no table yet.
    pub(super) fn state(&self, session: &Session) -> Result<SessionState> {
        let database = session.database.as_deref().unwrap_or("NONE");
        let schema = session.schema.as_deref().unwrap_or("PUBLIC");
        let made = MemoryCatalogProvider::new();
        made.register_schema(schema, Arc::new(MemorySchemaProvider::new()))
            .map_err(run_error)?;
        let databases = MemoryCatalogProviderList::new();
        databases.register_catalog(database.to_owned(), Arc::new(made));
        let mut state = SessionState::clone(&self.state);
        state.register_catalog_list(Arc::new(databases));
        let defaults = &mut state.config_mut().options_mut().catalog;
        database.clone_into(&mut defaults.default_catalog);
        schema.clone_into(&mut defaults.default_schema);
        state.mark_start_execution();
        Ok(state)
    }

    /// Where DataFusion finds files of the data folder: their store, and the folder's path in it.
    pub(super) fn place(&self) -> Result<(ObjectStoreUrl, Location)> {
        let path = std::path::absolute(&self.folder).map_err(SqlError::running)?;
        // Not parsed from text: brackets and stars of a folder's name are no pattern.
        let url = url::Url::from_file_path(&path);
        let url = url.map_err(|()| SqlError::running("the data folder's path makes no address"))?;
        let url = ListingTableUrl::try_new(url, None).map_err(run_error)?;
        Ok((url.object_store(), url.prefix().clone()))
    }
}
