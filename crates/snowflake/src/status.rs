//! Asks for the status of all channels at once, while any of them waits for a commit.
//!
//! One task per pipe. A shard that has accepted rows outstanding says so ([`StatusWatch::want`]) and sees each answer that
//! comes. While nobody waits nothing is asked. A failed question is asked again with back-off and told as an event; the
//! shards see no answer meanwhile. Who watches sees no answer to a question that was asked before he began to: it may tell of an
//! older opening of the channel.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use frazil_model::{Clock, Event, Events, Random, RetryPolicy};
use tokio::sync::{Notify, watch};

use crate::pipe::{ChannelStatus, Snowpipe};

/// Time between two questions.
const INTERVAL: Duration = Duration::from_millis(300);
const FAILURES: RetryPolicy = RetryPolicy {
    first: Duration::from_millis(500),
    cap: Duration::from_secs(10),
};

#[derive(Debug)]
struct Entry {
    wanted: bool,
    serial: u64,
    statuses: watch::Sender<Option<ChannelStatus>>,
}

#[derive(Debug, Default)]
struct Registry {
    entries: Mutex<(u64, HashMap<String, Entry>)>,
    wanted: Notify,
}

impl Registry {
    fn locked(&self) -> MutexGuard<'_, (u64, HashMap<String, Entry>)> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channels that wait, each with the number of who watches it.
    fn wanted(&self) -> (Vec<String>, Vec<u64>) {
        let entries = self.locked();
        let wanted = entries.1.iter().filter(|(_, entry)| entry.wanted);
        let mut wanted: Vec<_> = wanted.map(|(name, entry)| (name.clone(), entry.serial)).collect();
        wanted.sort();
        wanted.into_iter().unzip()
    }
}

/// The questions about one pipe's channels.
#[derive(Debug, Clone)]
pub struct StatusPoller {
    registry: Arc<Registry>,
    _task: Arc<Task>,
}

#[derive(Debug)]
struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One channel's answers; dropped, the channel is no longer asked about.
#[derive(Debug)]
pub struct StatusWatch {
    registry: Arc<Registry>,
    channel: String,
    serial: u64,
    statuses: watch::Receiver<Option<ChannelStatus>>,
}

impl StatusPoller {
    /// Starts the task; it ends with the last clone.
    #[must_use]
    pub fn start(
        pipe: Arc<dyn Snowpipe>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        events: Events,
    ) -> Self {
        let registry = Arc::new(Registry::default());
        let task = tokio::spawn(poll(Arc::clone(&registry), pipe, clock, random, events));
        Self {
            registry,
            _task: Arc::new(Task(task)),
        }
    }

    /// Begins to watch a channel. Whoever watched it before sees nothing any more.
    #[must_use]
    pub fn watch(&self, channel: &str) -> StatusWatch {
        let (sender, statuses) = watch::channel(None);
        let mut entries = self.registry.locked();
        entries.0 += 1;
        let serial = entries.0;
        entries.1.insert(
            channel.to_owned(),
            Entry {
                wanted: false,
                serial,
                statuses: sender,
            },
        );
        drop(entries);
        StatusWatch {
            registry: Arc::clone(&self.registry),
            channel: channel.to_owned(),
            serial,
            statuses,
        }
    }
}

impl StatusWatch {
    /// Says whether this channel waits for a commit.
    pub fn want(&self, wanted: bool) {
        let mut entries = self.registry.locked();
        if let Some(entry) = entries
            .1
            .get_mut(&self.channel)
            .filter(|e| e.serial == self.serial)
        {
            entry.wanted = wanted;
        }
        drop(entries);
        if wanted {
            self.registry.wanted.notify_one();
        }
    }

    /// The next answer; never, if the poller has ended.
    pub async fn next(&mut self) -> ChannelStatus {
        loop {
            if self.statuses.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if let Some(status) = self.statuses.borrow_and_update().clone() {
                return status;
            }
        }
    }
}

impl Drop for StatusWatch {
    fn drop(&mut self) {
        let mut entries = self.registry.locked();
        if entries
            .1
            .get(&self.channel)
            .is_some_and(|entry| entry.serial == self.serial)
        {
            entries.1.remove(&self.channel);
        }
    }
}

async fn poll(
    registry: Arc<Registry>,
    pipe: Arc<dyn Snowpipe>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    events: Events,
) {
    let mut backoff = FAILURES.start();
    loop {
        let (names, serials) = registry.wanted();
        if names.is_empty() {
            registry.wanted.notified().await;
            continue;
        }
        match pipe.channel_status(&names).await {
            Ok(mut found) => {
                backoff.reset();
                let entries = registry.locked();
                for (name, serial) in names.into_iter().zip(serials) {
                    let status = found.remove(&name).unwrap_or_else(missing);
                    // Who began to watch after the question was asked opened the channel meanwhile: the answer is of before.
                    if let Some(entry) = entries.1.get(&name).filter(|entry| entry.serial == serial) {
                        entry.statuses.send_replace(Some(status));
                    }
                }
            }
            Err(error) => {
                events.emit(Event::CallFailed {
                    shard: None,
                    room: "snowflake",
                    call: "channel_status",
                    kind: error.kind(),
                    error: error.to_string(),
                    failures: backoff.failures() + 1,
                });
                backoff.wait(&*clock, &*random).await;
            }
        }
        clock.sleep(INTERVAL).await;
    }
}

/// A channel that is left out of the answer is not there (docs.snowflake.com, "Snowpipe Streaming: REST API reference").
fn missing() -> ChannelStatus {
    ChannelStatus {
        code: "ERR_CHANNEL_DOES_NOT_EXIST_OR_NOT_AUTHORIZED".to_owned(),
        ..ChannelStatus::default()
    }
}
