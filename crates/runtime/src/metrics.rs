//! Metrics, in the OpenMetrics text format that Prometheus reads.
//!
//! Counters and histograms move with events; gauges are read from the [`Board`] when they are asked for. Names are
//! `frazil_<crate>_<noun>_<unit>`, with `_total` on counters. Labels are `connector` and, where it says so, `reason`,
//! `kind` or `part`, all from fixed lists: a shard is never a label, because reshardings would make new ones for ever;
//! shards are told by `/api/v1/state`. `docs/metrics.md` says how to read each, and a test compares both.

use std::sync::Arc;

use frazil_model::Event;
use frazil_model::event::Observer;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

use crate::state::{Board, ConnectorState, Phase};

/// The content type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct By {
    connector: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    connector: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCall {
    connector: String,
    part: &'static str,
    kind: &'static str,
}

type Seconds = Family<By, Histogram, fn() -> Histogram>;

/// 10 ms to 82 s, each bucket twice the one before.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.0, 14))
}

/// The metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    records: Family<By, Counter>,
    read_bytes: Family<By, Counter>,
    pages: Family<By, Counter>,
    finished: Family<By, Counter>,
    expirations: Family<By, Counter>,
    dead_letters: Family<ByReason, Counter>,
    dropped: Family<ByReason, Counter>,
    replaced: Family<By, Counter>,
    broken_aggregates: Family<ByReason, Counter>,
    out_of_hash_range: Family<By, Counter>,
    unread_keys: Family<By, Counter>,
    stalls: Family<ByReason, Counter>,
    batches: Family<By, Counter>,
    accepted_rows: Family<By, Counter>,
    accepted_bytes: Family<By, Counter>,
    wire_bytes: Family<By, Counter>,
    append: Seconds,
    committed_rows: Family<By, Counter>,
    row_errors: Family<By, Counter>,
    commit_latency: Seconds,
    opens: Family<By, Counter>,
    reopens: Family<By, Counter>,
    gone: Family<By, Counter>,
    suspected: Family<By, Counter>,
    repeats: Family<By, Counter>,
    taken: Family<By, Counter>,
    lost: Family<By, Counter>,
    released: Family<By, Counter>,
    checkpoints: Family<By, Counter>,
    failures: Family<ByCall, Counter>,
    starts: Family<By, Counter>,
}

fn add<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn add_seconds(registry: &mut Registry, name: &str, help: &str) -> Seconds {
    let metric = Seconds::new_with_constructor(seconds);
    registry.register(name, help, metric.clone());
    metric
}

impl Metrics {
    /// The metrics of these connectors. Counters without a further label stand at 0 from the start.
    pub fn new<'a>(board: Arc<Board>, connectors: impl IntoIterator<Item = &'a str>) -> Self {
        let mut registry = Registry::default();
        let r = &mut registry;
        let mut metrics = Self {
            records: add(r, "frazil_kinesis_records", "Kinesis records read"),
            read_bytes: add(r, "frazil_kinesis_read_bytes", "Bytes of GetRecords answers"),
            pages: add(r, "frazil_kinesis_pages", "Answers of GetRecords"),
            finished: add(
                r,
                "frazil_kinesis_finished_shards",
                "Shards read and committed to their end",
            ),
            expirations: add(
                r,
                "frazil_kinesis_expirations",
                "Times that data left Kinesis unread",
            ),
            dead_letters: add(r, "frazil_pipeline_dead_letters", "Records kept as dead letters"),
            dropped: add(
                r,
                "frazil_pipeline_dropped_records",
                "Records dropped as configured",
            ),
            broken_aggregates: add(
                r,
                "frazil_kinesis_broken_aggregates",
                "Records that begin as aggregates and are none",
            ),
            out_of_hash_range: add(
                r,
                "frazil_kinesis_out_of_hash_range",
                "User records of aggregates whose hash key belongs to another shard, kept as rows",
            ),
            unread_keys: add(
                r,
                "frazil_kinesis_unread_hash_keys",
                "Times that hash keys were found which no open shard takes",
            ),
            replaced: add(
                r,
                "frazil_pipeline_replaced_metadata",
                "Records whose own metadata field was replaced",
            ),
            stalls: add(
                r,
                "frazil_pipeline_stalls",
                "Times that a shard began to stand still",
            ),
            batches: add(
                r,
                "frazil_snowflake_accepted_batches",
                "Batches that Snowflake accepted",
            ),
            accepted_rows: add(
                r,
                "frazil_snowflake_accepted_rows",
                "Rows that Snowflake accepted",
            ),
            accepted_bytes: add(
                r,
                "frazil_snowflake_accepted_bytes",
                "Bytes of NDJSON that Snowflake accepted",
            ),
            wire_bytes: add(
                r,
                "frazil_snowflake_wire_bytes",
                "Compressed bytes of accepted batches",
            ),
            append: add_seconds(
                r,
                "frazil_snowflake_append_seconds",
                "How long an accepted append took",
            ),
            committed_rows: add(
                r,
                "frazil_snowflake_committed_rows",
                "Rows proved to be in the table",
            ),
            row_errors: add(
                r,
                "frazil_snowflake_row_errors",
                "Rows that the channel counted as errors",
            ),
            commit_latency: add_seconds(
                r,
                "frazil_snowflake_commit_latency_seconds",
                "From the arrival of a span's oldest record to the proof of its commit",
            ),
            opens: add(
                r,
                "frazil_snowflake_channel_opens",
                "Channels opened for the first time by this worker",
            ),
            reopens: add(
                r,
                "frazil_snowflake_channel_reopens",
                "Channels opened again by this worker",
            ),
            gone: add(
                r,
                "frazil_snowflake_gone_channels",
                "Channels that had to exist and did not",
            ),
            suspected: add(
                r,
                "frazil_snowflake_suspected_batches",
                "Times that a channel failed on what may be one of its rows",
            ),
            repeats: add(
                r,
                "frazil_snowflake_repeats",
                "Spans that may stand in the table twice",
            ),
            taken: add(r, "frazil_lease_taken_shards", "Leases taken"),
            lost: add(r, "frazil_lease_lost_shards", "Leases lost to another worker"),
            released: add(r, "frazil_lease_released_shards", "Leases given back"),
            checkpoints: add(
                r,
                "frazil_lease_checkpoints",
                "Positions written to the lease table",
            ),
            failures: add(
                r,
                "frazil_runtime_call_failures",
                "Calls to a service that failed and are tried again",
            ),
            starts: add(
                r,
                "frazil_runtime_connector_starts",
                "Times that a connector started",
            ),
            registry: Registry::default(),
        };
        registry.register_collector(Box::new(Gauges(board)));
        metrics.registry = registry;
        connectors
            .into_iter()
            .for_each(|connector| metrics.begin(connector));
        metrics
    }

    /// Lets the connector's series begin at 0.
    fn begin(&self, connector: &str) {
        let by = By {
            connector: connector.to_owned(),
        };
        for counter in [
            &self.records,
            &self.read_bytes,
            &self.pages,
            &self.finished,
            &self.expirations,
            &self.replaced,
            &self.out_of_hash_range,
            &self.unread_keys,
            &self.batches,
            &self.accepted_rows,
            &self.accepted_bytes,
            &self.wire_bytes,
            &self.committed_rows,
            &self.row_errors,
            &self.opens,
            &self.reopens,
            &self.gone,
            &self.suspected,
            &self.repeats,
            &self.taken,
            &self.lost,
            &self.released,
            &self.checkpoints,
            &self.starts,
        ] {
            drop(counter.get_or_create(&by));
        }
        drop(self.append.get_or_create(&by));
        drop(self.commit_latency.get_or_create(&by));
    }

    /// All metrics as text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        encode(&mut text, &self.registry).expect("a String takes every text");
        text
    }
}

fn by_reason(connector: &str, reason: &'static str) -> ByReason {
    ByReason {
        connector: connector.to_owned(),
        reason,
    }
}

impl Observer for Metrics {
    fn observe(&self, connector: &str, event: &Event) {
        let by = By {
            connector: connector.to_owned(),
        };
        let more = |family: &Family<By, Counter>, n: u64| {
            family.get_or_create(&by).inc_by(n);
        };
        let one = |family: &Family<By, Counter>| more(family, 1);
        match event {
            Event::ConnectorStarted { .. } => one(&self.starts),
            Event::LeaseTaken { .. } => one(&self.taken),
            Event::LeaseLost { .. } => one(&self.lost),
            Event::LeaseReleased { .. } => one(&self.released),
            Event::ChannelOpened { again: false, .. } => one(&self.opens),
            Event::ChannelOpened { again: true, .. } => one(&self.reopens),
            Event::ChannelGone { .. } => one(&self.gone),
            Event::RowsSuspected { .. } => one(&self.suspected),
            Event::PageRead { records, bytes, .. } => {
                one(&self.pages);
                more(&self.records, *records);
                more(&self.read_bytes, *bytes);
            }
            Event::DeadLettersKept { count, reason, .. } => {
                self.dead_letters
                    .get_or_create(&by_reason(connector, reason))
                    .inc_by(*count);
            }
            Event::RecordsDropped { count, reason, .. } => {
                self.dropped
                    .get_or_create(&by_reason(connector, reason))
                    .inc_by(*count);
            }
            Event::HashKeysUnread { .. } => more(&self.unread_keys, 1),
            Event::MetadataReplaced { count, .. } => more(&self.replaced, *count),
            Event::OutOfHashRange { count, .. } => more(&self.out_of_hash_range, *count),
            Event::BrokenAggregates { count, reason, .. } => {
                self.broken_aggregates
                    .get_or_create(&by_reason(connector, reason))
                    .inc_by(*count);
            }
            Event::BatchAccepted {
                rows,
                bytes,
                wire_bytes,
                took,
                ..
            } => {
                one(&self.batches);
                more(&self.accepted_rows, *rows);
                more(&self.accepted_bytes, *bytes);
                more(&self.wire_bytes, *wire_bytes);
                self.append.get_or_create(&by).observe(took.as_secs_f64());
            }
            Event::SpanCommitted {
                rows,
                row_errors,
                latency,
                ..
            } => {
                more(&self.committed_rows, *rows);
                more(&self.row_errors, *row_errors);
                if let Some(latency) = latency {
                    self.commit_latency
                        .get_or_create(&by)
                        .observe(latency.as_secs_f64());
                }
            }
            Event::Checkpointed { .. } => one(&self.checkpoints),
            Event::CallFailed { room, kind, .. } => {
                let call = ByCall {
                    connector: connector.to_owned(),
                    part: room,
                    kind: kind.as_str(),
                };
                self.failures.get_or_create(&call).inc();
            }
            Event::ShardStalled { reason, .. } => {
                self.stalls
                    .get_or_create(&by_reason(connector, reason.as_str()))
                    .inc();
            }
            Event::ShardFinished { .. } => one(&self.finished),
            Event::DataExpired { .. } => one(&self.expirations),
            Event::MayRepeat { .. } => one(&self.repeats),
            // These move gauges, which are read from the board.
            Event::ConnectorStopped
            | Event::ShardStarted { .. }
            | Event::ShardMoves { .. }
            | Event::PipeLeft { .. } => {}
        }
    }
}

/// What is read from the board when somebody asks.
#[derive(Debug)]
struct Gauges(Arc<Board>);

type ConnectorGauge = (&'static str, &'static str, fn(&ConnectorState) -> f64);

/// Name, help, and how to read it. The casts lose what is above 2^53.
const CONNECTOR_GAUGES: [ConnectorGauge; 5] = [
    (
        "frazil_kinesis_lag_seconds",
        "How far the shard that is furthest behind is behind its tip at most",
        |connector| {
            let lag_ms = connector.shards.iter().filter_map(|shard| shard.lag_ms).max();
            lag_ms.unwrap_or(0) as f64 / 1000.0
        },
    ),
    (
        "frazil_lease_held_shards",
        "Shards whose lease this worker holds",
        |connector| {
            connector
                .shards
                .iter()
                .filter(|shard| shard.owner.is_some())
                .count() as f64
        },
    ),
    (
        "frazil_pipeline_stalled_shards",
        "Shards that stand still",
        |connector| {
            connector
                .shards
                .iter()
                .filter(|shard| shard.stall.is_some())
                .count() as f64
        },
    ),
    (
        "frazil_snowflake_clock_ahead_seconds",
        "How far this machine's clock is ahead of Snowflake's",
        |connector| connector.clock_ahead_ms.unwrap_or(0) as f64 / 1000.0,
    ),
    (
        "frazil_runtime_running_connectors",
        "1 where the connector runs, else 0",
        |connector| f64::from(u8::from(connector.phase == Phase::Running)),
    ),
];

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let state = self.0.state();
        for (name, help, read) in CONNECTOR_GAUGES {
            let mut family: MetricEncoder<'_> =
                encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for connector in &state.connectors {
                let by = By {
                    connector: connector.name.clone(),
                };
                ConstGauge::new(read(connector)).encode(family.encode_family(&by)?)?;
            }
        }
        for (name, help, bytes) in [
            (
                "frazil_pipeline_memory_bytes",
                "Memory reserved for event data",
                state.memory.in_use_bytes,
            ),
            (
                "frazil_pipeline_memory_budget_bytes",
                "Memory for event data at most",
                state.memory.budget_bytes,
            ),
        ] {
            let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(bytes as f64).encode(gauge)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
