//! Collects [`State`] from events, and from what the runtime says about connectors.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use frazil_model::event::Observer;
use frazil_model::{Clock, ErrorKind, Event, Instant, ShardId};
use hdrhistogram::Histogram;

use super::rate::Rate;
use super::{ConnectorState, Latency, MemoryState, Phase, ShardState, Stall, State, Totals, Trouble};

/// Latencies above a day count as a day.
const LONGEST_LATENCY_MS: u64 = 24 * 3600 * 1000;

/// Where the board reads the memory in use.
pub type MemoryGauge = Box<dyn Fn() -> MemoryState + Send + Sync>;

/// Where the board reads how far a connector's service is behind this machine's clock, in milliseconds.
pub type ClockGauge = Box<dyn Fn() -> Option<i64> + Send + Sync>;

/// The state of the process, kept up to date.
pub struct Board {
    clock: Arc<dyn Clock>,
    started_ms: i64,
    memory: Mutex<MemoryGauge>,
    clocks: Mutex<BTreeMap<String, ClockGauge>>,
    connectors: Mutex<BTreeMap<String, Connector>>,
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Board")
            .field("started_ms", &self.started_ms)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Connector {
    phase: Phase,
    worker: Option<String>,
    trouble: Option<Trouble>,
    starts: u64,
    latency: Histogram<u64>,
    shards: BTreeMap<ShardId, Shard>,
}

#[derive(Debug, Default)]
struct Shard {
    epoch: Option<u64>,
    channel: Option<String>,
    finished: bool,
    read: Option<(Duration, Instant)>,
    records: Rate,
    bytes: Rate,
    /// None before the first span.
    latency: Option<Histogram<u64>>,
    totals: Totals,
    accepted: Option<String>,
    committed: Option<String>,
    checkpointed: Option<String>,
    stall: Option<Stall>,
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_LATENCY_MS, 2).expect("the bounds are valid")
}

fn quantiles(latency: &Histogram<u64>) -> Latency {
    let rows = latency.len();
    let measured = |value: u64| (rows > 0).then_some(value);
    Latency {
        rows,
        p50_ms: measured(latency.value_at_quantile(0.5)),
        p99_ms: measured(latency.value_at_quantile(0.99)),
        max_ms: measured(latency.max()),
    }
}

impl Connector {
    fn new() -> Self {
        Self {
            phase: Phase::Starting,
            worker: None,
            trouble: None,
            starts: 0,
            latency: histogram(),
            shards: BTreeMap::new(),
        }
    }

    fn shard(&mut self, shard: &ShardId) -> &mut Shard {
        self.shards.entry(shard.clone()).or_default()
    }

    fn let_go(&mut self, shard: &ShardId) {
        let shard = self.shard(shard);
        (shard.epoch, shard.read, shard.stall) = (None, None, None);
    }

    /// Events about the connector, its leases and its channels.
    fn note(&mut self, event: &Event, wall_ms: i64) {
        match event {
            Event::ConnectorStarted { worker } => {
                (self.phase, self.trouble) = (Phase::Running, None);
                self.worker = Some(worker.to_string());
                self.starts += 1;
            }
            Event::ConnectorStopped => {
                self.shards
                    .keys()
                    .cloned()
                    .collect::<Vec<_>>()
                    .iter()
                    .for_each(|shard| {
                        self.let_go(shard);
                    })
            }
            Event::LeaseTaken { shard, epoch } => self.shard(shard).epoch = Some(*epoch),
            Event::LeaseLost { shard, .. } | Event::LeaseReleased { shard } => self.let_go(shard),
            Event::ChannelOpened {
                shard,
                channel,
                committed,
                ..
            } => {
                let shard = self.shard(shard);
                shard.channel = Some(channel.clone());
                // What was accepted on an earlier open and not committed is discarded by this one.
                shard.accepted = committed.as_ref().map(ToString::to_string);
                if let Some(committed) = committed {
                    shard.committed = Some(committed.to_string());
                }
            }
            Event::ShardStalled { shard, reason, error } => {
                let shard = self.shard(shard);
                let before = shard.stall.take().filter(|stall| stall.reason == *reason);
                let since_ms = before.map_or(wall_ms, |stall| stall.since_ms);
                shard.stall = Some(Stall {
                    reason: *reason,
                    error: error.clone(),
                    since_ms,
                });
            }
            Event::ShardMoves { shard } => self.shard(shard).stall = None,
            Event::ShardFinished { shard } => self.shard(shard).finished = true,
            _ => {}
        }
    }

    /// Events about data.
    fn count(&mut self, event: &Event, now: Instant) {
        match event {
            Event::PageRead {
                shard,
                records,
                bytes,
                behind,
            } => {
                let shard = self.shard(shard);
                shard.read = Some((*behind, now));
                shard.records.add(now, *records);
                shard.bytes.add(now, *bytes);
                shard.totals.records_read += records;
                shard.totals.bytes_read += bytes;
            }
            Event::DeadLettersKept { shard, count, .. } => self.shard(shard).totals.dead_letters += count,
            Event::RecordsDropped { shard, count, .. } => self.shard(shard).totals.records_dropped += count,
            Event::BatchAccepted {
                shard, rows, up_to, ..
            } => {
                let shard = self.shard(shard);
                shard.totals.rows_accepted += rows;
                shard.accepted = Some(up_to.to_string());
            }
            Event::SpanCommitted {
                shard,
                rows,
                row_errors,
                up_to,
                latency,
            } => {
                let ms = latency.map(|latency| u64::try_from(latency.as_millis()).unwrap_or(u64::MAX));
                if let Some(ms) = ms {
                    self.latency.saturating_record_n(ms, *rows);
                }
                let shard = self.shard(shard);
                if let Some(ms) = ms {
                    let latency = shard.latency.get_or_insert_with(histogram);
                    latency.saturating_record_n(ms, *rows);
                }
                shard.totals.rows_committed += rows;
                shard.totals.row_errors += row_errors;
                if let Some(up_to) = up_to {
                    shard.committed = Some(up_to.to_string());
                }
            }
            Event::Checkpointed { shard, up_to, ended } => {
                let shard = self.shard(shard);
                shard.checkpointed = up_to
                    .as_ref()
                    .map(ToString::to_string)
                    .or(shard.checkpointed.take());
                shard.finished |= ended;
            }
            _ => {}
        }
    }

    fn state(&mut self, name: &str, now: Instant) -> ConnectorState {
        let owner = self.worker.clone();
        let mut totals = Totals::default();
        let shards = self.shards.iter_mut().map(|(id, shard)| {
            totals += shard.totals;
            shard.state(id, owner.as_ref(), now)
        });
        let shards = shards.collect();
        ConnectorState {
            name: name.to_owned(),
            phase: self.phase,
            worker: owner,
            trouble: self.trouble.clone(),
            starts: self.starts,
            clock_ahead_ms: None,
            latency: quantiles(&self.latency),
            totals,
            shards,
        }
    }
}

impl Shard {
    fn state(&mut self, id: &ShardId, owner: Option<&String>, now: Instant) -> ShardState {
        let held = self.epoch.is_some();
        let lag = self
            .read
            .filter(|_| held && !self.finished)
            .map(|(behind, at)| behind + now.since(at));
        ShardState {
            shard: id.to_string(),
            owner: owner.filter(|_| held).cloned(),
            epoch: self.epoch,
            channel: self.channel.clone(),
            finished: self.finished,
            lag_ms: lag.map(|lag| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX)),
            records_per_second: self.records.per_second(now),
            bytes_per_second: self.bytes.per_second(now),
            latency: self.latency.as_ref().map(quantiles).unwrap_or_default(),
            totals: self.totals,
            accepted: self.accepted.clone(),
            committed: self.committed.clone(),
            checkpointed: self.checkpointed.clone(),
            stall: self.stall.clone(),
        }
    }
}

impl Board {
    /// A board of these connectors, all of them starting.
    pub fn new<'a>(clock: Arc<dyn Clock>, connectors: impl IntoIterator<Item = &'a str>) -> Self {
        let connectors = connectors
            .into_iter()
            .map(|name| (name.to_owned(), Connector::new()))
            .collect();
        Self {
            started_ms: clock.wall_ms(),
            clock,
            memory: Mutex::new(Box::new(MemoryState::default)),
            clocks: Mutex::default(),
            connectors: Mutex::new(connectors),
        }
    }

    /// Says where the memory in use is read.
    pub fn watch_memory(&self, gauge: MemoryGauge) {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = gauge;
    }

    /// Says where a connector's difference of clocks is read.
    pub fn watch_clock(&self, connector: &str, gauge: ClockGauge) {
        let mut clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        clocks.insert(connector.to_owned(), gauge);
    }

    fn clock_ahead_ms(&self, connector: &str) -> Option<i64> {
        let clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        clocks.get(connector).and_then(|gauge| gauge())
    }

    fn connectors(&self) -> MutexGuard<'_, BTreeMap<String, Connector>> {
        self.connectors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connector is at something else now.
    pub fn phase(&self, connector: &str, phase: Phase) {
        if let Some(connector) = self.connectors().get_mut(connector) {
            connector.phase = phase;
        }
    }

    /// The connector ended by an error, and waits or has failed.
    pub fn failed(&self, connector: &str, phase: Phase, kind: ErrorKind, error: &str) {
        let since_ms = self.clock.wall_ms();
        if let Some(connector) = self.connectors().get_mut(connector) {
            connector.phase = phase;
            connector.trouble = Some(Trouble {
                kind,
                error: error.to_owned(),
                since_ms,
            });
        }
    }

    /// The state now.
    #[must_use]
    pub fn state(&self) -> State {
        let memory = (self.memory.lock().unwrap_or_else(PoisonError::into_inner))();
        let now = self.clock.now();
        State {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_ms: self.started_ms,
            now_ms: self.clock.wall_ms(),
            memory,
            connectors: self
                .connectors()
                .iter_mut()
                .map(|(name, connector)| ConnectorState {
                    clock_ahead_ms: self.clock_ahead_ms(name),
                    ..connector.state(name, now)
                })
                .collect(),
        }
    }
}

impl Observer for Board {
    fn observe(&self, connector: &str, event: &Event) {
        let (now, wall_ms) = (self.clock.now(), self.clock.wall_ms());
        if let Some(connector) = self.connectors().get_mut(connector) {
            connector.note(event, wall_ms);
            connector.count(event, now);
        }
    }
}

#[cfg(test)]
mod tests;
