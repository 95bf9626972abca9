//! Kinesis: `ferrokinesis`, made durable.
//!
//! The crate's own durable mode writes all retained records again at each put, so its cost grows with what is stored. Here
//! it runs in memory, and this module keeps what it needs to come back:
//!
//! - [`journal`]: each put as the crate's own capture writer writes it, synced before the put is answered;
//! - [`state`]: streams, consumers, tags and policies as one small file, replaced whenever a call changed them; calls that
//!   are still under way (a stream that is CREATING) are kept beside it and made again at the next start.
//!
//! Guarantees: a put answered 200 is there after a crash, under its sequence number; no later record gets a smaller one.
//! GetRecords shows only what is on disk; SubscribeToShard may show a record a moment earlier. Arrival times are whole
//! seconds, as the crate has it.
//!
//! Layers before it make it as strict as the service: [`limits`] has the budgets of shards and calls, [`answers`] what the
//! crate's answers lack.

mod answers;
mod entries;
mod journal;
mod layer;
pub(crate) mod limits;
mod rehearse;
mod restore;
mod state;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use ferrokinesis::capture::CaptureWriter;
use ferrokinesis::store::{Store, StoreOptions};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::journal::Journal;
use self::layer::Durable;
use self::limits::Limits;
use self::limits::budget::Monotonic;
use self::state::StateFile;
use crate::aws::BODY_LIMIT;
use crate::faults::layer::{Account, Layer};
use crate::faults::{Faults, Service};
use crate::folder::{DataFolder, held};
use crate::{Error, Result};

const RECORDS: &str = "records.ndjson";
/// How long a stream or consumer stays in CREATING, UPDATING or DELETING.
const TRANSITION_MS: u64 = 200;
const SHARD_LIMIT: u32 = 100_000;
const RETENTION_CHECK: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// How to start the stand-in.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) folder: PathBuf,
    pub(crate) region: String,
    pub(crate) account_id: String,
    pub(crate) faults: Arc<Faults>,
    /// The clock of the service's budgets; without it there are none.
    pub(crate) limits: Option<Monotonic>,
    /// The folder's lock, held as long as anything runs.
    pub(crate) held: Arc<DataFolder>,
}

/// The running stand-in.
#[derive(Debug)]
pub(crate) struct Kinesis {
    stop: DropGuard,
    tasks: Vec<JoinHandle<()>>,
}

impl Kinesis {
    /// Restores the state of the folder and serves.
    pub(crate) async fn start(setup: Setup, listener: TcpListener) -> Result<Self> {
        let folder = &setup.folder;
        std::fs::create_dir_all(folder).map_err(Error::disk("create", folder))?;
        let file = StateFile::read(folder)?;
        let records = folder.join(RECORDS);
        journal::repair(&records)?;
        let capture = CaptureWriter::new(&records, false).map_err(Error::disk("open", &records))?;
        sync_folder(folder)?;
        let journal = Journal::open(&records)?;
        let options = StoreOptions {
            create_stream_ms: TRANSITION_MS,
            delete_stream_ms: TRANSITION_MS,
            update_stream_ms: TRANSITION_MS,
            shard_limit: SHARD_LIMIT,
            enforce_limits: false,
            aws_account_id: setup.account_id.clone(),
            aws_region: setup.region.clone(),
            ..StoreOptions::default()
        };
        let (router, store) = ferrokinesis::create_app_with_capture(options, Some(capture));
        let router = router.layer(DefaultBodyLimit::max(BODY_LIMIT));
        let file = restore::restore(&store, folder, file, &records, &journal).await?;
        let pending = file.pending.clone();
        let durable = Arc::new(Durable::new(store.clone(), journal, folder.clone(), file));
        restore::repeat(&router, &pending).await;

        let stop = CancellationToken::new();
        let mut layered = answers::wrap(layer::wrap(router, Arc::clone(&durable)), store.clone());
        if let Some(clock) = setup.limits {
            let limits = Limits::new(store.clone(), clock, setup.account_id.clone());
            layered = limits::wrap(layered, limits);
        }
        let account = Account {
            region: setup.region,
            id: setup.account_id,
        };
        let layered = rehearse::wrap(layered, store.clone());
        let layered = Layer::new(setup.faults, Service::Kinesis, account).wrap(layered);
        let shutdown = stop.clone();
        let serve = async move {
            let served =
                ferrokinesis::serve_plain_http(listener, layered, shutdown.clone().cancelled_owned());
            // It waits for subscriptions to end; they may be minutes long.
            let limit = async {
                shutdown.cancelled().await;
                tokio::time::sleep(STOP_LIMIT).await;
            };
            tokio::select! {
                served = served => if let Err(error) = served { tracing::error!(%error, "kinesis stand-in failed") },
                () = limit => {}
            }
        };
        let tasks = vec![
            tokio::spawn(held(&setup.held, serve)),
            tokio::spawn(held(&setup.held, Arc::clone(&durable).settle_all(stop.clone()))),
            tokio::spawn(expire(store, stop.clone())),
        ];
        Ok(Self {
            stop: stop.drop_guard(),
            tasks,
        })
    }

    /// Stops serving.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// Removes records past their stream's retention from memory. The journal loses them at the next start.
async fn expire(store: Store, stop: CancellationToken) {
    while tokio::time::timeout(RETENTION_CHECK, stop.cancelled())
        .await
        .is_err()
    {
        for name in store.list_stream_names().await {
            if let Ok(stream) = store.get_stream(&name).await {
                store
                    .delete_expired_records(&name, stream.retention_period_hours)
                    .await;
            }
        }
    }
}

fn sync_folder(folder: &Path) -> Result<()> {
    std::fs::File::open(folder)
        .and_then(|file| file.sync_all())
        .map_err(Error::disk("sync", folder))
}

#[cfg(test)]
mod tests;
