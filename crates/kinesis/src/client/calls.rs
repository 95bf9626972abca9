//! The calls of a stream, each sent once.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::ShardIteratorType;
use frazil_model::{SequenceNumber, ShardId};

use super::{Calls, LONGEST_ERROR, MOST_PAGES, fan_out, of_sdk, read, refusal, unreachable};
use crate::door::{
    Consumer, ConsumerId, HashKeyRange, Kinesis, Shard, StartAt, StreamDescription, Subscription,
};
use crate::error::Error;
use crate::page::{RecordPage, ShardIterator};

impl Calls {
    /// DescribeStream. Not DescribeStreamSummary: policies that were written for the Openflow connector do not have it.
    pub(super) async fn described(&self) -> Result<aws_sdk_kinesis::types::StreamDescription, Error> {
        let call = "DescribeStream";
        let (name, arn) = self.named();
        let request = self.sdk.describe_stream().limit(1);
        let request = request.set_stream_name(name).set_stream_arn(arn);
        let answer = request.send().await.map_err(|error| of_sdk(call, error))?;
        answer.stream_description.ok_or(Error::BadAnswer {
            call,
            detail: "it describes no stream",
        })
    }

    pub(super) fn description(
        &self,
        described: &aws_sdk_kinesis::types::StreamDescription,
    ) -> StreamDescription {
        StreamDescription {
            name: self.stream.clone(),
            arn: described.stream_arn().to_owned(),
            created_ms: described.stream_creation_timestamp().to_millis().unwrap_or(0),
            status: described.stream_status().as_str().to_owned(),
            retention_hours: u32::try_from(described.retention_period_hours()).unwrap_or(24),
        }
    }
}

#[async_trait]
impl Kinesis for Calls {
    async fn describe_stream(&self) -> Result<StreamDescription, Error> {
        Ok(self.description(&self.described().await?))
    }

    async fn list_shards(&self) -> Result<Vec<Shard>, Error> {
        let call = "ListShards";
        // The stream may change between two pages, and a shard stand on both: the later one counts.
        let mut shards = BTreeMap::new();
        let mut token: Option<String> = None;
        for _ in 0..MOST_PAGES {
            // A token stands for the stream; both together are refused.
            let (name, arn) = self.named();
            let name = name.filter(|_| token.is_none());
            let request = self
                .sdk
                .list_shards()
                .set_stream_name(name)
                .set_stream_arn(arn)
                .set_next_token(token.take());
            let answer = request.send().await.map_err(|error| of_sdk(call, error))?;
            for shard in answer.shards() {
                let shard = listed(shard)?;
                shards.insert(shard.id.clone(), shard);
            }
            match answer.next_token() {
                Some(next) if !next.is_empty() => token = Some(next.to_owned()),
                _ => return Ok(shards.into_values().collect()),
            }
        }
        let detail = "its pages do not end";
        Err(Error::BadAnswer { call, detail })
    }

    async fn shard_iterator(&self, shard: &ShardId, at: &StartAt) -> Result<ShardIterator, Error> {
        let call = "GetShardIterator";
        let (name, arn) = self.named();
        let request = self.sdk.get_shard_iterator();
        let request = request
            .set_stream_name(name)
            .set_stream_arn(arn)
            .shard_id(shard.as_str());
        let request = match at {
            StartAt::TrimHorizon => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            StartAt::Timestamp { ms } => request
                .shard_iterator_type(ShardIteratorType::AtTimestamp)
                .timestamp(DateTime::from_millis(*ms)),
            StartAt::At(sequence) => request
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .starting_sequence_number(sequence.as_str()),
            StartAt::After(sequence) => request
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(sequence.as_str()),
        };
        let answer = request.send().await.map_err(|error| of_sdk(call, error))?;
        let iterator = answer.shard_iterator().ok_or(Error::BadAnswer {
            call,
            detail: "it has no iterator",
        })?;
        Ok(ShardIterator::new(iterator))
    }

    async fn get_records(
        &self,
        iterator: &ShardIterator,
        limit: u32,
        max_bytes: usize,
    ) -> Result<RecordPage, Error> {
        let call = "GetRecords";
        let credentials = self.raw.credentials(call).await?;
        let mut body = serde_json::json!({ "ShardIterator": iterator.as_str(), "Limit": limit });
        if let Some(arn) = &self.stream_arn {
            body["StreamARN"] = arn.as_str().into();
        }
        let body = body.to_string();
        let request = self.raw.signed(credentials, &body)?;
        let answer = request.send().await.map_err(|error| unreachable(call, &error))?;
        let status = answer.status().as_u16();
        if status == 200 {
            return RecordPage::parse(read(call, answer, max_bytes).await?);
        }
        let header = answer
            .headers()
            .get("x-amzn-errortype")
            .and_then(|v| v.to_str().ok())
            .map(ToOwned::to_owned);
        let body = read(call, answer, LONGEST_ERROR).await.unwrap_or_default();
        Err(refusal(call, status, header, &body))
    }

    async fn describe_consumer(&self, stream_arn: &str, name: &str) -> Result<Consumer, Error> {
        fan_out::describe(&self.sdk, stream_arn, name).await
    }

    async fn register_consumer(&self, stream_arn: &str, name: &str) -> Result<Consumer, Error> {
        fan_out::register(&self.sdk, stream_arn, name).await
    }

    async fn deregister_consumer(&self, consumer: ConsumerId<'_>) -> Result<(), Error> {
        fan_out::deregister(&self.sdk, consumer).await
    }

    async fn subscribe(
        &self,
        consumer_arn: &str,
        shard: &ShardId,
        at: &StartAt,
    ) -> Result<Box<dyn Subscription>, Error> {
        self.subscriptions.subscribe(consumer_arn, shard, at).await
    }
}

fn listed(shard: &aws_sdk_kinesis::types::Shard) -> Result<Shard, Error> {
    let bad = |detail| Error::BadAnswer {
        call: "ListShards",
        detail,
    };
    let id = |text: &str| ShardId::new(text).map_err(|_| bad("a shard's id is none"));
    let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
    let parents = parents.into_iter().flatten().map(id).collect::<Result<_, _>>()?;
    let key = |text: &str| text.parse::<u128>().map_err(|_| bad("a hash key is no number"));
    let range = shard
        .hash_key_range()
        .ok_or_else(|| bad("a shard has no hash key range"))?;
    let sequences = shard
        .sequence_number_range()
        .ok_or_else(|| bad("a shard has no sequence number range"))?;
    Ok(Shard {
        id: id(shard.shard_id())?,
        parents,
        hash_range: HashKeyRange {
            start: key(range.starting_hash_key())?,
            end: key(range.ending_hash_key())?,
        },
        starting_sequence: SequenceNumber::new(sequences.starting_sequence_number())?,
        ending_sequence: sequences
            .ending_sequence_number()
            .map(SequenceNumber::new)
            .transpose()?,
    })
}
