//! The folder of the segments, and what queries keep of its files.
//!
//! Segments never change, so what was read of a file's end (statistics, the Parquet footer) is kept from query to query: a COUNT
//! opens no file twice. All queries share one memory limit.
//!
//! Limits: [`QUERY_MEMORY`] of all queries together; 50 MiB of footers (DataFusion's default); statistics of
//! [`MOST_STATISTICS`] files, beyond which they are all forgotten.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::execution::cache::CacheAccessor as _;
use datafusion::execution::cache::cache_manager::{CacheManagerConfig, FileStatisticsCache};
use datafusion::execution::cache::cache_unit::DefaultFileStatisticsCache;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};

/// Memory of all queries together.
const QUERY_MEMORY: usize = 1024 * 1024 * 1024;
/// Files whose statistics are kept: a few kilobytes each.
const MOST_STATISTICS: usize = 4096;

/// What queries read.
#[derive(Clone)]
pub(crate) struct Files {
    folder: PathBuf,
    runtime: Arc<RuntimeEnv>,
    statistics: Arc<DefaultFileStatisticsCache>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Files {
    pub(crate) fn new(folder: PathBuf) -> Self {
        let statistics = Arc::new(DefaultFileStatisticsCache::default());
        let caches = CacheManagerConfig::default().with_files_statistics_cache(Some(statistics.clone()));
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_limit(QUERY_MEMORY, 1.0)
            .with_cache_manager(caches)
            .build_arc()
            .expect("a runtime of defaults touches no disk until a query spills");
        Self {
            folder,
            runtime,
            statistics,
        }
    }

    /// The data folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What a query runs in.
    pub(super) fn runtime(&self) -> Arc<RuntimeEnv> {
        Arc::clone(&self.runtime)
    }

    /// Where statistics are kept.
    pub(super) fn statistics(&self) -> Arc<dyn FileStatisticsCache> {
        if self.statistics.len() > MOST_STATISTICS {
            self.statistics.clear();
        }
        self.statistics.clone()
    }
}
