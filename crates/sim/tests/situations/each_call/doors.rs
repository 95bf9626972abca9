//! The three doors of one worker: each call goes through its [`Process`], and the [`Judge`] sees what takes effect.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use frazil_kinesis::fake::FakeKinesis;
use frazil_kinesis::{
    Consumer, ConsumerId, Kinesis, RecordPage, Shard, ShardIterator, StartAt, StreamDescription, Subscription,
};
use frazil_lease::fake::MemoryLeases;
use frazil_lease::row::{Item, NODE_PREFIX};
use frazil_lease::update::{Purpose, Update};
use frazil_lease::{LeaseStore, Scope, Written};
use frazil_model::ShardId;
use frazil_snowflake::fake::FakeSnowpipe;
use frazil_snowflake::{Append, ChannelStatus, ContinuationToken, Opened, Snowpipe, TableFacts};

use super::judge::Judge;
use super::process::Process;

/// One worker's doors.
#[derive(Debug, Clone)]
pub(crate) struct Doors {
    pub(crate) process: Arc<Process>,
    pub(crate) judge: Arc<Judge>,
    pub(crate) kinesis: Arc<FakeKinesis>,
    pub(crate) leases: MemoryLeases,
    pub(crate) snowpipe: Arc<FakeSnowpipe>,
}

fn no_kinesis() -> frazil_kinesis::Error {
    frazil_kinesis::Error::Unreachable {
        call: "fake",
        detail: "scripted".to_owned(),
    }
}

fn no_table() -> frazil_lease::Error {
    frazil_lease::Error::Unreachable {
        call: "fake",
        detail: "scripted".to_owned(),
    }
}

fn no_snowpipe() -> frazil_snowflake::Error {
    frazil_snowflake::Error::Unreachable {
        url: "fake".to_owned(),
        detail: "scripted".to_owned(),
    }
}

#[async_trait]
impl Kinesis for Doors {
    async fn describe_stream(&self) -> Result<StreamDescription, frazil_kinesis::Error> {
        let kinesis = Arc::clone(&self.kinesis);
        let work = async move { kinesis.describe_stream().await };
        self.process.call("DescribeStreamSummary", no_kinesis, work).await
    }

    async fn list_shards(&self) -> Result<Vec<Shard>, frazil_kinesis::Error> {
        let kinesis = Arc::clone(&self.kinesis);
        let work = async move { kinesis.list_shards().await };
        self.process.call("ListShards", no_kinesis, work).await
    }

    async fn shard_iterator(
        &self,
        shard: &ShardId,
        at: &StartAt,
    ) -> Result<ShardIterator, frazil_kinesis::Error> {
        let (kinesis, shard, at) = (Arc::clone(&self.kinesis), shard.clone(), at.clone());
        let work = async move { kinesis.shard_iterator(&shard, &at).await };
        self.process.call("GetShardIterator", no_kinesis, work).await
    }

    async fn get_records(
        &self,
        iterator: &ShardIterator,
        limit: u32,
        max_bytes: usize,
    ) -> Result<RecordPage, frazil_kinesis::Error> {
        let (this, iterator) = (self.clone(), iterator.clone());
        let work = async move {
            this.judge.reads(iterator.as_str());
            this.kinesis.get_records(&iterator, limit, max_bytes).await
        };
        self.process.call("GetRecords", no_kinesis, work).await
    }

    async fn describe_consumer(&self, arn: &str, name: &str) -> Result<Consumer, frazil_kinesis::Error> {
        self.kinesis.describe_consumer(arn, name).await
    }

    async fn register_consumer(&self, arn: &str, name: &str) -> Result<Consumer, frazil_kinesis::Error> {
        self.kinesis.register_consumer(arn, name).await
    }

    async fn deregister_consumer(&self, consumer: ConsumerId<'_>) -> Result<(), frazil_kinesis::Error> {
        self.kinesis.deregister_consumer(consumer).await
    }

    async fn subscribe(
        &self,
        arn: &str,
        shard: &ShardId,
        at: &StartAt,
    ) -> Result<Box<dyn Subscription>, frazil_kinesis::Error> {
        self.kinesis.subscribe(arn, shard, at).await
    }
}

/// The shard that a channel's name begins with, as its row is named.
fn shard_of(channel: &str) -> String {
    let digits = channel.split("SHARDID_").nth(1).and_then(|rest| rest.get(..12));
    format!("shardId-{}", digits.expect("a channel is named after its shard"))
}

fn name_of(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Take => "UpdateItem take",
        Purpose::Checkpoint => "UpdateItem checkpoint",
        Purpose::Release => "UpdateItem release",
        Purpose::Stop => "UpdateItem stop",
        Purpose::Beat => "UpdateItem beat",
        Purpose::Retire => "UpdateItem retire",
        Purpose::Pin => "UpdateItem pin",
        Purpose::Migrate | Purpose::Rewind | Purpose::Remove | Purpose::Probe => "UpdateItem other",
    }
}

#[async_trait]
impl LeaseStore for Doors {
    async fn prepare(&self, scope: &Scope) -> Result<(), frazil_lease::Error> {
        let (leases, scope) = (self.leases.clone(), scope.clone());
        let work = async move { leases.prepare(&scope).await };
        self.process.call("prepare", no_table, work).await
    }

    async fn rows(&self, scope: &Scope, prefix: &str) -> Result<Vec<Item>, frazil_lease::Error> {
        let (leases, scope, prefix) = (self.leases.clone(), scope.clone(), prefix.to_owned());
        let name = if prefix == NODE_PREFIX {
            "Query workers"
        } else {
            "Query all"
        };
        let work = async move { leases.rows(&scope, &prefix).await };
        self.process.call(name, no_table, work).await
    }

    async fn row(&self, scope: &Scope, key: &str) -> Result<Option<Item>, frazil_lease::Error> {
        let (this, scope, key) = (self.clone(), scope.clone(), key.to_owned());
        let begun = self.judge.begins_read(self.process.number, &key);
        let read_key = key.clone();
        let work = async move { this.leases.row(&scope, &read_key).await };
        let answer = self.process.call("GetItem", no_table, work).await;
        if let Ok(Some(item)) = &answer {
            self.judge.has_read(self.process.number, &key, begun, item);
        }
        answer
    }

    async fn update(&self, scope: &Scope, update: &Update) -> Result<Written, frazil_lease::Error> {
        let (this, scope, update) = (self.clone(), scope.clone(), update.clone());
        let name = name_of(update.purpose);
        let epoch = self.judge.epoch(self.process.number, &update.key);
        let work = async move {
            let before = this.leases.peek(&scope, &update.key);
            let written = this.leases.update(&scope, &update).await?;
            if written == Written::Done {
                let after = this.leases.peek(&scope, &update.key);
                let worker = this.process.number;
                this.judge.writes(worker, epoch, &update, before, after);
            }
            Ok(written)
        };
        self.process.call(name, no_table, work).await
    }
}

#[async_trait]
impl Snowpipe for Doors {
    async fn open_channel(
        &self,
        channel: &str,
        fail_on_uncommitted_rows: bool,
    ) -> Result<Opened, frazil_snowflake::Error> {
        let (this, name) = (self.clone(), channel.to_owned());
        let epoch = self.judge.epoch(self.process.number, &shard_of(channel));
        let work = async move {
            let opened = this
                .snowpipe
                .open_channel(&name, fail_on_uncommitted_rows)
                .await?;
            this.judge.opens(epoch, &name);
            Ok(opened)
        };
        let answer = self.process.call("open", no_snowpipe, work).await;
        if answer.is_ok() {
            self.judge.has_opened(self.process.number, &shard_of(channel));
        }
        answer
    }

    async fn append_rows(
        &self,
        channel: &str,
        append: &Append,
    ) -> Result<ContinuationToken, frazil_snowflake::Error> {
        let (this, name, append) = (self.clone(), channel.to_owned(), append.clone());
        let epoch = self.judge.epoch(self.process.number, &shard_of(channel));
        self.judge
            .wants_to_append(self.process.number, &shard_of(channel));
        let work = async move {
            let next = this.snowpipe.append_rows(&name, &append).await?;
            this.judge.appends(epoch, &name);
            Ok(next)
        };
        self.process.call("append", no_snowpipe, work).await
    }

    async fn channel_status(
        &self,
        channels: &[String],
    ) -> Result<HashMap<String, ChannelStatus>, frazil_snowflake::Error> {
        let (snowpipe, channels) = (Arc::clone(&self.snowpipe), channels.to_vec());
        let work = async move { snowpipe.channel_status(&channels).await };
        self.process.call("status", no_snowpipe, work).await
    }

    async fn drop_channel(&self, channel: &str) -> Result<(), frazil_snowflake::Error> {
        let (snowpipe, channel) = (Arc::clone(&self.snowpipe), channel.to_owned());
        let work = async move { snowpipe.drop_channel(&channel).await };
        self.process.call("drop", no_snowpipe, work).await
    }

    async fn table(&self) -> Result<Option<TableFacts>, frazil_snowflake::Error> {
        let snowpipe = Arc::clone(&self.snowpipe);
        let work = async move { snowpipe.table().await };
        self.process.call("table", no_snowpipe, work).await
    }
}
