//! Everything but records: one JSON file, replaced as a whole.

use std::collections::BTreeMap;
use std::path::Path;

use ferrokinesis::persistence::PersistentStream;
use ferrokinesis::store::Store;
use ferrokinesis::types::{Consumer, ConsumerStatus, StreamStatus};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::disk::{read_small, replace_private};
use crate::{Error, Result};

const NAME: &str = "state.json";
const FILE_LIMIT: u64 = 256 * 1024 * 1024;

/// A stream, and where its records start in the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct KeptStream {
    pub(super) stream: PersistentStream,
    /// Lines of the journal before it belong to an earlier stream of this name.
    pub(super) records_from: u64,
}

/// A call whose effect is not complete yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Command {
    pub(super) target: String,
    pub(super) content_type: String,
    pub(super) body: Vec<u8>,
    /// Length of the journal before the call.
    pub(super) records_from: u64,
}

/// The file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StateFile {
    pub(super) streams: BTreeMap<String, KeptStream>,
    pub(super) consumers: Vec<Consumer>,
    /// Tags and policies by resource.
    pub(super) tags: BTreeMap<String, BTreeMap<String, String>>,
    pub(super) policies: BTreeMap<String, String>,
    pub(super) account_settings: Value,
    pub(super) pending: Vec<Command>,
}

impl Default for StateFile {
    fn default() -> Self {
        Self {
            streams: BTreeMap::new(),
            consumers: Vec::new(),
            tags: BTreeMap::new(),
            policies: BTreeMap::new(),
            account_settings: Value::Object(serde_json::Map::new()),
            pending: Vec::new(),
        }
    }
}

impl StateFile {
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        if !path.exists() {
            return Ok(Self::default());
        }
        let bytes = read_small(&path, FILE_LIMIT).map_err(Error::disk("read", &path))?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Damaged(format!("{}: {error}", path.display())))
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(NAME);
        let bytes = serde_json::to_vec(self).map_err(|error| Error::Damaged(error.to_string()))?;
        replace_private(&path, &bytes).map_err(Error::disk("write", &path))
    }

    /// Takes over what the store has now. Streams that are changing stay as they were; once nothing is, the pending calls
    /// are forgotten.
    pub(super) async fn refresh(&mut self, store: &Store) {
        let mut settled = true;
        let records_from = self.pending.iter().map(|command| command.records_from).min();
        let mut streams = BTreeMap::new();
        self.consumers.clear();
        self.tags.clear();
        self.policies.clear();
        for name in store.list_stream_names().await {
            let Ok(stream) = store.get_stream(&name).await else {
                continue;
            };
            let arn = stream.stream_arn.clone();
            let known = self.streams.remove(&name);
            // Creation times are whole seconds; one that is CREATING is new in any case.
            let same = known.filter(|known| {
                stream.stream_status != StreamStatus::Creating
                    && known.stream.stream_creation_timestamp == stream.stream_creation_timestamp
            });
            if stream.stream_status == StreamStatus::Active {
                let records_from = same
                    .as_ref()
                    .map(|known| known.records_from)
                    .or(records_from)
                    .unwrap_or_default();
                let stream = PersistentStream::from_stream(name.clone(), &stream, Vec::new());
                streams.insert(name, KeptStream { stream, records_from });
            } else {
                settled = false;
                if let Some(known) = same {
                    streams.insert(name, known);
                }
            }
            self.refresh_resource(store, &arn).await;
            for consumer in store.list_consumers_for_stream(&arn).await {
                self.refresh_resource(store, &consumer.consumer_arn).await;
                if consumer.consumer_status == ConsumerStatus::Active {
                    self.consumers.push(consumer);
                } else {
                    settled = false;
                }
            }
        }
        self.streams = streams;
        self.account_settings = store.get_account_settings().await;
        if settled {
            self.pending.clear();
        }
    }

    async fn refresh_resource(&mut self, store: &Store, arn: &str) {
        let tags = store.get_resource_tags(arn).await;
        if !tags.is_empty() {
            self.tags.insert(arn.to_owned(), tags);
        }
        if let Some(policy) = store.get_policy(arn).await {
            self.policies.insert(arn.to_owned(), policy);
        }
    }
}
