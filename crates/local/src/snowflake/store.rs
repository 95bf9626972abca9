//! The storage of the local Snowflake as one thing: catalog, log, backlog, channels, uploaded files.
//!
//! Opening runs recovery. [`Store::accept`], [`Store::open_channel`] and [`Store::drop_channel`] are all that changes
//! channels; they run to their end even if the caller goes away.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::backlog::Backlog;
use super::behaviours::Behaviours;
use super::catalog::{Catalog, ELASTIC, MOST_CHANNELS, SUCCESS};
use super::committer::{Committer, Losses};
use super::iceberg;
use super::late::LateCounters;
use super::log::{Encoding, Log, Record, recovery};
use super::model::{ChannelRow, PipeRow};
use super::registry::{Accepted, Channel, ChannelKey, Registry};
use super::segments;
use super::stage::Stage;
use crate::disk::Disk;
use crate::faults::{Faults, Service};
use crate::{Error, Result};

/// Everything that is kept on disk, and its state in memory.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) log: Arc<Log>,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) registry: Registry,
    pub(crate) committer: Arc<Committer>,
    pub(crate) stage: Arc<Stage>,
}

/// A batch as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) continuation_token: Option<String>,
    pub(crate) request_id: String,
    /// `None` leaves the committed token.
    pub(crate) offset_token: Option<String>,
    pub(crate) start_token: Option<String>,
    pub(crate) encoding: Encoding,
    pub(crate) rows: Bytes,
    pub(crate) raw_length: u32,
}

/// What an append came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// On disk; the next append carries this token.
    Accepted(String),
    /// It was accepted before and is not stored again.
    Replayed(String),
    /// The token is not the expected one.
    Stale,
    /// Too much waits for its commit.
    Full,
}

/// What an open came to.
#[derive(Debug)]
pub(crate) enum Opened {
    Open(Box<ChannelRow>, String),
    /// There are accepted rows that are not committed, and the caller did not want to lose them.
    Uncommitted,
    /// The pipe has [`MOST_CHANNELS`].
    TooMany,
}

impl Store {
    /// Opens the store of a data folder.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        catalog: Catalog,
        faults: Arc<Faults>,
        behaviours: Behaviours,
    ) -> Result<Self> {
        let catalog = Arc::new(catalog);
        catalog.release_old_garbage()?;
        let _: Vec<String> = catalog.take_garbage()?;
        segments::sweep(disk.as_ref(), &catalog)?;
        iceberg::sweep(disk.as_ref(), &catalog)?;
        let stage = Arc::new(Stage::open(Arc::clone(&disk))?);
        let lose = faults
            .hit(Service::Snowflake, "restart", "lose_accepted")
            .is_some();
        let recovered = recovery::recover(&disk, &catalog, lose)?;
        let backlog = Arc::new(Backlog::default());
        if !recovered.waiting.is_empty() {
            tracing::info!(batches = recovered.waiting.len(), "accepted batches recovered");
            backlog.push(recovered.waiting);
        }
        let registry = Registry::new(Arc::clone(&catalog), recovered.last);
        let log = Arc::new(Log::start(
            Arc::clone(&disk),
            recovered.files,
            recovered.next,
            Arc::clone(&backlog),
        )?);
        let committer = Arc::new(Committer {
            disk,
            catalog: Arc::clone(&catalog),
            backlog: Arc::clone(&backlog),
            late: Arc::new(LateCounters::new(faults.has(Service::Snowflake, "late_counters"))),
            losses: Losses::new(faults),
            commits: tokio::sync::watch::Sender::new(0),
            behaviours,
        });
        Ok(Self {
            catalog,
            log,
            backlog,
            registry,
            committer,
            stage,
        })
    }

    /// Accepts a batch: checks its token, puts it on disk, moves the channel.
    ///
    /// # Errors
    /// The log's; the batch may be on disk or not.
    pub(crate) async fn accept(self: &Arc<Self>, channel: Arc<Channel>, batch: Incoming) -> Result<Appended> {
        let store = Arc::clone(self);
        let task = tokio::spawn(async move { store.accept_here(&channel, batch).await });
        task.await.map_err(|_| Error::Stopping)?
    }

    /// What an append comes to whatever its rows are: replayed or stale; `None` if it is the expected one.
    pub(crate) async fn known(
        &self,
        channel: &Channel,
        continuation_token: Option<&str>,
        request_id: &str,
    ) -> Option<Appended> {
        let state = channel.state.lock().await;
        known(channel, &state, continuation_token, request_id)
    }

    async fn accept_here(&self, channel: &Channel, batch: Incoming) -> Result<Appended> {
        let mut state = channel.state.lock().await;
        let known = known(
            channel,
            &state,
            batch.continuation_token.as_deref(),
            &batch.request_id,
        );
        if let Some(known) = known {
            return Ok(known);
        }
        if self.backlog.is_full() {
            return Ok(Appended::Full);
        }
        let record = Record {
            channel_id: channel.id,
            table_id: channel.table_id,
            client_sequencer: state.client_sequencer,
            row_sequencer: state.row_sequencer + 1,
            request_id: batch.request_id.clone(),
            offset_token: batch.offset_token,
            start_token: batch.start_token,
            encoding: batch.encoding,
            raw_length: batch.raw_length,
        };
        self.log.append(record, batch.rows).await?;
        state.row_sequencer += 1;
        state.request_id = batch.request_id;
        Ok(Appended::Accepted(if channel.elastic {
            String::new()
        } else {
            state.next_token(channel.id)
        }))
    }

    /// Opens a channel, or opens it again: accepted rows that are not committed are discarded.
    ///
    /// # Errors
    /// The catalog's.
    pub(crate) async fn open_channel(
        self: &Arc<Self>,
        pipe: PipeRow,
        name: String,
        lookup: String,
        offset_token: Option<String>,
        fail_on_uncommitted: bool,
    ) -> Result<Opened> {
        let store = Arc::clone(self);
        let task = tokio::spawn(async move {
            let known = match store.catalog.channel(pipe.id, &lookup)? {
                Some(row) => Some(store.registry.of_row(&row)?),
                None => None,
            };
            if known.is_none() && store.catalog.named_channels(pipe.id)? >= MOST_CHANNELS {
                return Ok(Opened::TooMany);
            }
            // Holding the state keeps appends out until the new client sequencer is in the catalog and here.
            let mut state = match &known {
                Some(channel) => Some(channel.state.lock().await),
                None => None,
            };
            if let (true, Some(state), Some(channel)) = (fail_on_uncommitted, &state, &known)
                && store.uncommitted(channel.id, state)?
            {
                return Ok(Opened::Uncommitted);
            }
            let row = store
                .catalog
                .open_channel(&pipe, &name, &lookup, offset_token.as_deref())?;
            let opened = Accepted {
                client_sequencer: row.client_sequencer,
                row_sequencer: 0,
                request_id: String::new(),
            };
            let token = opened.next_token(row.id);
            match (&mut state, &known) {
                (Some(state), Some(channel)) if channel.id == row.id => **state = opened,
                _ => {
                    drop(state);
                    let channel = store.registry.of_row(&row)?;
                    let mut state = channel.state.lock().await;
                    // Two first opens may meet: the later one owns the channel.
                    if state.client_sequencer <= opened.client_sequencer {
                        *state = opened;
                    }
                }
            }
            Ok(Opened::Open(Box::new(row), token))
        });
        task.await.map_err(|_| Error::Stopping)?
    }

    /// The elastic channel of a pipe, made on first use. One that became invalid starts anew: nobody can open it again.
    pub(crate) async fn elastic_channel(self: &Arc<Self>, pipe: &PipeRow) -> Result<Arc<Channel>> {
        let row = match self.catalog.channel(pipe.id, ELASTIC)? {
            Some(row) => row,
            None => self.catalog.make_elastic_channel(pipe)?,
        };
        if row.status_code != SUCCESS {
            self.open_channel(pipe.clone(), ELASTIC.to_owned(), ELASTIC.to_owned(), None, false)
                .await?;
        }
        self.registry.of_row(&row)
    }

    /// Drops a channel; `None` if rows are not committed and the caller did not want to lose them.
    ///
    /// # Errors
    /// The catalog's.
    pub(crate) async fn drop_channel(
        self: &Arc<Self>,
        row: ChannelRow,
        fail_on_uncommitted: bool,
    ) -> Result<Option<ChannelRow>> {
        let store = Arc::clone(self);
        let task = tokio::spawn(async move {
            let channel = store.registry.of_row(&row)?;
            let state = channel.state.lock().await;
            if fail_on_uncommitted && store.uncommitted(channel.id, &state)? {
                return Ok(None);
            }
            let last = store.catalog.channel_by_id(row.id)?.unwrap_or(row);
            store.catalog.drop_channel(last.id)?;
            store.registry.forget(last.id);
            Ok(Some(last))
        });
        task.await.map_err(|_| Error::Stopping)?
    }

    fn uncommitted(&self, id: i64, state: &Accepted) -> Result<bool> {
        let row = self.catalog.channel_by_id(id)?;
        Ok(row.is_some_and(|row| {
            // What an invalid channel accepted is discarded already.
            row.status_code == SUCCESS
                && row.client_sequencer == state.client_sequencer
                && row.committed_row_sequencer < state.row_sequencer
        }))
    }

    /// The key of a channel name.
    pub(crate) fn key(pipe: &PipeRow, lookup: &str) -> ChannelKey {
        ChannelKey {
            pipe_id: pipe.id,
            lookup: lookup.to_owned(),
        }
    }
}

fn known(
    channel: &Channel,
    state: &Accepted,
    continuation_token: Option<&str>,
    request_id: &str,
) -> Option<Appended> {
    let repeats = !request_id.is_empty() && request_id == state.request_id;
    if channel.elastic {
        return repeats.then(|| Appended::Replayed(String::new()));
    }
    let token = continuation_token.unwrap_or_default();
    if repeats && token == state.last_token(channel.id) {
        return Some(Appended::Replayed(state.next_token(channel.id)));
    }
    (token != state.next_token(channel.id)).then_some(Appended::Stale)
}

/// Where a catalog file is below the data folder.
pub(crate) fn catalog_path(data_dir: &std::path::Path) -> PathBuf {
    data_dir.join("catalog.db")
}
