//! Puts records into a stream.
//!
//! How it works: records are sent with PutRecords, at most 500 and 5 MB a call (Kinesis API reference, `PutRecords`); those
//! that the answer says were not taken, and only those, are sent again with back-off, and for each record the answer's shard
//! and sequence number are kept. Kinesis may take a later record of a call and refuse an earlier one, so a call has one
//! record of a key, and the key's next record goes with a later call.
//!
//! What it guarantees: every record that [`Producer::put`] answers for was taken by Kinesis, as answered; records of one key
//! have sequence numbers in the order given. What it does not: no doubles, where an answer is lost: the records are sent
//! again, and Kinesis may have taken them twice.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use frazil_model::{Clock, Random, RetryPolicy, SequenceNumber, ShardId, StreamName};

use crate::aggregator::AimedRecord;
use crate::aws::Aws;
use crate::aws::keys::{HeldKeys, renewing};
use crate::client::{of_sdk, sdk_client};
use crate::error::Error;

/// Records of one call.
pub const MAX_RECORDS: usize = 500;
/// Bytes of one call, keys included.
pub const MAX_CALL_BYTES: usize = 5_000_000;
const RETRY: RetryPolicy = RetryPolicy {
    first: Duration::from_millis(100),
    cap: Duration::from_secs(5),
};
const CALL: &str = "PutRecords";
/// How long a new stream may take to become active.
const ACTIVE_PATIENCE: Duration = Duration::from_secs(120);

/// A record to put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Its partition key, 1 to 256 characters.
    pub key: String,
    /// Its payload.
    pub data: Vec<u8>,
}

/// Where a record went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The shard that took it.
    pub shard: ShardId,
    /// Its sequence number.
    pub sequence: SequenceNumber,
}

/// A writer of one stream.
#[derive(Debug, Clone)]
pub struct Producer {
    sdk: aws_sdk_kinesis::Client,
    stream: StreamName,
    stream_arn: Option<String>,
    keys: Arc<HeldKeys>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Producer {
    /// A producer; nothing is sent yet. With an ARN the stream is found by that.
    ///
    /// # Errors
    /// [`Error::BadConfig`].
    pub fn new(
        aws: &Aws,
        stream: StreamName,
        stream_arn: Option<String>,
        endpoint: Option<&str>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, Error> {
        Ok(Self {
            sdk: sdk_client(&aws.sdk()?, endpoint),
            stream,
            stream_arn,
            keys: aws.held_keys(),
            clock,
            random,
        })
    }

    /// Makes the stream, if it is not there, and waits until it can be used.
    ///
    /// # Errors
    /// Those of any call, and [`Error::BadAnswer`] where it does not become active in two minutes.
    pub async fn create_stream(&self, shards: u32) -> Result<(), Error> {
        let count = i32::try_from(shards).unwrap_or(i32::MAX);
        let made = self
            .sdk
            .create_stream()
            .stream_name(self.stream.as_str())
            .shard_count(count)
            .send()
            .await;
        if let Err(error) = made
            && !error
                .as_service_error()
                .is_some_and(|e| e.is_resource_in_use_exception())
        {
            return Err(of_sdk("CreateStream", error));
        }
        let begun = self.clock.now();
        let mut backoff = RETRY.start();
        loop {
            let call = "DescribeStream";
            let answer = self
                .sdk
                .describe_stream()
                .limit(1)
                .stream_name(self.stream.as_str())
                .send()
                .await;
            let answer = answer.map_err(|error| of_sdk(call, error))?;
            let status = answer
                .stream_description()
                .map(|s| s.stream_status().as_str().to_owned());
            if matches!(status.as_deref(), Some("ACTIVE" | "UPDATING")) {
                return Ok(());
            }
            if self.clock.now().since(begun) > ACTIVE_PATIENCE {
                return Err(Error::BadAnswer {
                    call,
                    detail: "the stream does not become active",
                });
            }
            backoff.wait(&*self.clock, &*self.random).await;
        }
    }

    /// Puts records and answers where each went, in the order given.
    ///
    /// # Errors
    /// What does not heal by itself; records of the call may have been taken then.
    pub async fn put(&self, records: &[NewRecord]) -> Result<Vec<Put>, Error> {
        self.put_all(&records.iter().map(|record| (record, None)).collect::<Vec<_>>())
            .await
    }

    /// As [`Producer::put`], for records that are aimed at a hash key; what an [`crate::Aggregator`] hands out.
    ///
    /// # Errors
    /// As [`Producer::put`].
    pub async fn put_aimed(&self, records: &[AimedRecord]) -> Result<Vec<Put>, Error> {
        let aimed = records
            .iter()
            .map(|aimed| (&aimed.record, aimed.explicit_hash_key));
        self.put_all(&aimed.collect::<Vec<_>>()).await
    }

    async fn put_all(&self, records: &[(&NewRecord, Option<u128>)]) -> Result<Vec<Put>, Error> {
        let mut puts = Vec::with_capacity(records.len());
        let mut rest = records;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(fitting(rest));
            puts.extend(self.put_call(now).await?);
            rest = later;
        }
        Ok(puts)
    }

    async fn put_call(&self, records: &[(&NewRecord, Option<u128>)]) -> Result<Vec<Put>, Error> {
        let mut puts: Vec<Option<Put>> = vec![None; records.len()];
        let mut backoff = RETRY.start();
        loop {
            let open = next_call(records, &puts);
            if open.is_empty() {
                return Ok(puts.into_iter().flatten().collect());
            }
            let entries = open
                .iter()
                .filter_map(|index| records.get(*index))
                .map(entry)
                .collect::<Result<_, _>>()?;
            let request = self
                .sdk
                .put_records()
                .set_stream_name(self.stream_arn.is_none().then(|| self.stream.to_string()))
                .set_stream_arn(self.stream_arn.clone())
                .set_records(Some(entries));
            let sent = renewing(&self.keys, || async {
                let sent = request.clone().send().await;
                sent.map_err(|error| of_sdk(CALL, error))
            });
            match sent.await {
                Ok(answer) => {
                    let answers = answer.records();
                    if answers.len() != open.len() {
                        return Err(Error::BadAnswer {
                            call: CALL,
                            detail: "it does not answer for each record",
                        });
                    }
                    let before = open.len();
                    let mut taken = 0;
                    for (index, answer) in open.iter().zip(answers) {
                        let (Some(shard), Some(sequence)) = (answer.shard_id(), answer.sequence_number())
                        else {
                            continue;
                        };
                        let bad = |_| Error::BadAnswer {
                            call: CALL,
                            detail: "a shard's id is none",
                        };
                        let shard = ShardId::new(shard).map_err(bad)?;
                        let put = Put {
                            shard,
                            sequence: SequenceNumber::new(sequence)?,
                        };
                        if let Some(slot) = puts.get_mut(*index) {
                            *slot = Some(put);
                            taken += 1;
                        }
                    }
                    if taken > 0 {
                        backoff.reset();
                    }
                    if taken == before {
                        continue;
                    }
                }
                Err(error) => {
                    if !error.kind().may_heal() {
                        return Err(error);
                    }
                    if backoff.failures() == 0 {
                        tracing::warn!(%error, "put failed, trying again");
                    }
                }
            }
            backoff.wait(&*self.clock, &*self.random).await;
        }
    }
}

/// What is still to be put, one record of a key: the first.
fn next_call(records: &[(&NewRecord, Option<u128>)], puts: &[Option<Put>]) -> Vec<usize> {
    let mut keys = HashSet::new();
    let open = records
        .iter()
        .zip(puts)
        .enumerate()
        .filter(|(_, (_, put))| put.is_none());
    open.filter(|(_, ((record, aimed), _))| keys.insert((&record.key, aimed)))
        .map(|(index, _)| index)
        .collect()
}

/// How many of these go into one call: at least one.
fn fitting(records: &[(&NewRecord, Option<u128>)]) -> usize {
    let mut bytes = 0;
    let fits = records.iter().take(MAX_RECORDS).take_while(|(record, _)| {
        bytes += record.data.len() + record.key.len();
        bytes <= MAX_CALL_BYTES
    });
    fits.count().max(1)
}

fn entry((record, explicit_hash_key): &(&NewRecord, Option<u128>)) -> Result<PutRecordsRequestEntry, Error> {
    let entry = PutRecordsRequestEntry::builder()
        .partition_key(&record.key)
        .set_explicit_hash_key(explicit_hash_key.map(|hash_key| hash_key.to_string()))
        .data(Blob::new(record.data.clone()));
    entry
        .build()
        .map_err(|_| Error::BadConfig("a record without key or data cannot be put".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(bytes: usize) -> NewRecord {
        NewRecord {
            key: "k".to_owned(),
            data: vec![b' '; bytes],
        }
    }

    #[test]
    fn a_refused_record_goes_again_alone_and_before_the_next_of_its_key() {
        let keyed = |key: &str| NewRecord {
            key: key.to_owned(),
            data: Vec::new(),
        };
        let (a, b) = (keyed("a"), keyed("b"));
        let records = [(&a, None), (&a, None), (&b, None), (&a, Some(1)), (&b, None)];
        let put = || {
            Some(Put {
                shard: ShardId::new("shardId-000000000000").expect("an id"),
                sequence: SequenceNumber::new("1").expect("a number"),
            })
        };
        let mut puts = vec![None; records.len()];
        assert_eq!(next_call(&records, &puts), [0, 2, 3]);
        // The first was refused.
        (puts[2], puts[3]) = (put(), put());
        assert_eq!(next_call(&records, &puts), [0, 4]);
        puts[0] = put();
        assert_eq!(next_call(&records, &puts), [1, 4]);
        (puts[1], puts[4]) = (put(), put());
        assert!(next_call(&records, &puts).is_empty());
    }

    #[test]
    fn calls_keep_both_limits() {
        let (small, large, huge) = (record(10), record(1_000_000), record(9_000_000));
        assert_eq!(fitting(&vec![(&small, None); 2000]), MAX_RECORDS);
        assert_eq!(fitting(&vec![(&large, None); 9]), 4);
        assert_eq!(fitting(&[(&huge, None), (&small, Some(0))]), 1);
    }
}
