//! A start: streams back into the store, their records, their sequence counters, then the calls that were under way.

use std::collections::BTreeMap;
use std::path::Path;

use axum::Router;
use axum::body::Body;
use ferrokinesis::capture::CaptureRecord;
use ferrokinesis::sequence::{parse_sequence, resolve_shard_id, shard_ix_to_hex};
use ferrokinesis::store::Store;
use ferrokinesis::types::{StoredRecord, Stream};
use http::Request;
use tower::ServiceExt as _;

use super::journal::{Journal, Reader};
use super::state::{Command, StateFile};
use crate::{Error, Result};

/// Sequence numbers skipped after a start: a subscriber may have seen records that were not on disk yet.
const GAP: u64 = 2048;
const BATCH: usize = 1000;

struct Restored {
    stream: Stream,
    records_from: u64,
    /// By shard number: when it was made (ms), and the highest index used.
    shards: BTreeMap<i64, (u64, u64)>,
    batch: Vec<(String, StoredRecord)>,
    oldest_ms: u64,
}

/// Fills the store; gives the state as it is to be kept from now on.
pub(super) async fn restore(
    store: &Store,
    folder: &Path,
    mut file: StateFile,
    records: &Path,
    journal: &Journal,
) -> Result<StateFile> {
    let mut streams = BTreeMap::new();
    for (name, kept) in &file.streams {
        let (_, stream, _) = kept.stream.clone().into_parts();
        store.put_stream(name, stream.clone()).await.map_err(refused)?;
        streams.insert(name.clone(), Restored::new(stream, kept.records_from));
    }
    for consumer in &file.consumers {
        store
            .put_consumer(&consumer.consumer_arn, consumer.clone())
            .await
            .map_err(refused)?;
    }
    for (arn, tags) in &file.tags {
        store.put_resource_tags(arn, tags).await.map_err(refused)?;
    }
    for (arn, policy) in &file.policies {
        store.put_policy(arn, policy).await.map_err(refused)?;
    }
    store
        .put_account_settings(&file.account_settings)
        .await
        .map_err(refused)?;

    let live = load(store, records, &mut streams).await?;
    for (name, restored) in &streams {
        raise_counters(store, name, restored).await?;
    }
    if live > 0 {
        tracing::info!(streams = streams.len(), records = live, "kinesis state restored");
    } else if journal.length()? > 0 {
        // All of it is past retention or of deleted streams.
        for kept in file.streams.values_mut() {
            kept.records_from = 0;
        }
        for command in &mut file.pending {
            command.records_from = 0;
        }
        file.write(folder)?;
        journal.clear()?;
    }
    Ok(file)
}

impl Restored {
    fn new(stream: Stream, records_from: u64) -> Self {
        let shard = |shard: &ferrokinesis::types::Shard| {
            let start = parse_sequence(&shard.sequence_number_range.starting_sequence_number).ok()?;
            let (_, number) = resolve_shard_id(&shard.shard_id).ok()?;
            Some((number, (start.shard_create_time, 0)))
        };
        let retention = u64::from(stream.retention_period_hours) * 60 * 60 * 1000;
        Self {
            shards: stream.shards.iter().filter_map(shard).collect(),
            oldest_ms: ferrokinesis::util::current_time_ms().saturating_sub(retention),
            stream,
            records_from,
            batch: Vec::new(),
        }
    }

    /// Takes a record of this stream; false if it belongs to an earlier one of the name or is past retention.
    fn take(&mut self, offset: u64, record: CaptureRecord) -> bool {
        let Ok(sequence) = parse_sequence(&record.sequence_number) else {
            return false;
        };
        let Some((made, highest)) = self.shards.get_mut(&sequence.shard_ix) else {
            return false;
        };
        if offset < self.records_from || sequence.shard_create_time != *made {
            return false;
        }
        *highest = (*highest).max(sequence.seq_ix.unwrap_or(0));
        if record.ts < self.oldest_ms {
            return false;
        }
        let key = format!(
            "{}/{}",
            shard_ix_to_hex(sequence.shard_ix),
            record.sequence_number
        );
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
        let arrived = (record.ts / 1000) as f64;
        let stored = StoredRecord {
            partition_key: record.partition_key,
            data: record.data,
            approximate_arrival_timestamp: arrived,
        };
        self.batch.push((key, stored));
        true
    }
}

/// Reads the journal into the store; gives the number of records that are still retained.
async fn load(store: &Store, records: &Path, streams: &mut BTreeMap<String, Restored>) -> Result<usize> {
    let mut reader = Reader::open(records)?;
    let mut live = 0;
    while let Some((offset, record)) = reader.next()? {
        let name = record.stream.clone();
        let Some(restored) = streams.get_mut(&name) else {
            continue;
        };
        live += usize::from(restored.take(offset, record));
        if restored.batch.len() == BATCH {
            let batch = std::mem::take(&mut restored.batch);
            store.put_records_batch(&name, &batch).await.map_err(refused)?;
        }
    }
    for (name, restored) in streams {
        let batch = std::mem::take(&mut restored.batch);
        if !batch.is_empty() {
            store.put_records_batch(name, &batch).await.map_err(refused)?;
        }
    }
    Ok(live)
}

/// Uses up the sequence numbers that were used before. Closed shards get no more records.
async fn raise_counters(store: &Store, name: &str, restored: &Restored) -> Result<()> {
    for shard in &restored.stream.shards {
        if shard.sequence_number_range.ending_sequence_number.is_some() {
            continue;
        }
        let Ok((_, number)) = resolve_shard_id(&shard.shard_id) else {
            continue;
        };
        let Ok(hash) = shard.hash_key_range.starting_hash_key.parse::<u128>() else {
            continue;
        };
        let used = restored.shards.get(&number).map_or(0, |(_, highest)| *highest);
        let mut left = usize::try_from(used + GAP).unwrap_or(usize::MAX);
        while left > 0 {
            let some = left.min(BATCH);
            store
                .allocate_sequences_batch(name, &vec![hash; some])
                .await
                .map_err(refused)?;
            left -= some;
        }
    }
    Ok(())
}

/// Makes the calls again that were answered and not complete when the last process ended.
pub(super) async fn repeat(router: &Router, pending: &[Command]) {
    for command in pending {
        let request = Request::post("/")
            .header("content-type", &command.content_type)
            .header("x-amz-target", &command.target)
            .header("x-amz-date", "20200101T000000Z")
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=local/20200101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=0",
            )
            .body(Body::from(command.body.clone()));
        let Ok(request) = request else { continue };
        let status = match router.clone().oneshot(request).await {
            Ok(response) => response.status(),
            Err(never) => match never {},
        };
        // A call that had its effect before the end is refused now; that is its outcome.
        tracing::info!(
            target = command.target,
            status = status.as_u16(),
            "unfinished kinesis call repeated"
        );
    }
}

fn refused(error: impl std::fmt::Debug) -> Error {
    Error::StandIn {
        service: "kinesis",
        reason: format!("{error:?}"),
    }
}
