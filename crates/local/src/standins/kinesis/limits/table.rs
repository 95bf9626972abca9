//! The budgets as AWS documents them.
//!
//! | budget | figure | public source (Amazon Kinesis Data Streams) |
//! |---|---|---|
//! | puts into a shard | 1 MiB and 1,000 records a second, partition keys included | API Reference, `PutRecords`; Developer Guide, "Quotas and limits" |
//! | GetRecords of a shard | 5 calls and 2 MiB a second; after 10 MiB calls fail for 5 s | API Reference, `GetRecords` |
//! | GetShardIterator | 5 a second per open shard | API Reference, `GetShardIterator` |
//! | SubscribeToShard | 1 a second per consumer and shard | API Reference, `SubscribeToShard` |
//! | calls of [`CALLS`] | beside each | API Reference, the operation's page |
//!
//! An on-demand stream starts with four shards, which is its documented 4 MB/s in; the budgets of its shards are the same.

/// Records and bytes a second into a shard.
pub(super) const PUT_RECORDS: u32 = 1_000;
pub(super) const PUT_BYTES: u32 = 1024 * 1024;
/// GetRecords calls and their bytes a second out of a shard.
pub(super) const GET_CALLS: u32 = 5;
pub(super) const GET_BYTES: u32 = 2 * 1024 * 1024;

pub(super) const THROUGHPUT: &str = "ProvisionedThroughputExceededException";
pub(super) const LIMIT: &str = "LimitExceededException";

/// What a budget of calls is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Account,
    Stream,
    Shard,
    ConsumerAndShard,
}

/// So many calls of an operation a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calls {
    pub(super) operation: &'static str,
    pub(super) per_second: u32,
    pub(super) scope: Scope,
    pub(super) code: &'static str,
}

const fn calls(operation: &'static str, per_second: u32, scope: Scope) -> Calls {
    Calls {
        operation,
        per_second,
        scope,
        code: LIMIT,
    }
}

/// Budgets of calls. A refused GetShardIterator is a throughput error, the others are limit errors.
pub(super) const CALLS: [Calls; 14] = [
    Calls {
        code: THROUGHPUT,
        ..calls("GetShardIterator", 5, Scope::Shard)
    },
    calls("SubscribeToShard", 1, Scope::ConsumerAndShard),
    calls("ListShards", 1_000, Scope::Stream),
    calls("DescribeStream", 10, Scope::Account),
    calls("DescribeStreamSummary", 20, Scope::Account),
    calls("DescribeStreamConsumer", 20, Scope::Stream),
    calls("ListStreamConsumers", 5, Scope::Stream),
    calls("ListStreams", 5, Scope::Account),
    calls("CreateStream", 5, Scope::Account),
    calls("DeleteStream", 5, Scope::Account),
    calls("SplitShard", 5, Scope::Account),
    calls("MergeShards", 5, Scope::Account),
    calls("RegisterStreamConsumer", 5, Scope::Account),
    calls("DeregisterStreamConsumer", 5, Scope::Stream),
];
