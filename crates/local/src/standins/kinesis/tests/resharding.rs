//! The end of a shard as polling and subscribing clients see it.

use super::*;

const HALF: &str = "170141183460469231731687303715884105728";

impl Stack {
    /// Splits the one shard of `s` at the middle, or merges two, and waits until it is done.
    async fn reshard(&self, operation: &str, body: Value, shards: usize) {
        self.call(operation, body).await;
        self.until("s", |stream| {
            stream["StreamStatus"] == "ACTIVE"
                && stream["Shards"].as_array().is_some_and(|all| all.len() == shards)
        })
        .await;
    }

    async fn split(&self) {
        let body = json!({"StreamName": "s", "ShardToSplit": FIRST, "NewStartingHashKey": HALF});
        self.reshard("SplitShard", body, 3).await;
    }

    async fn merge(&self) {
        let body =
            json!({"StreamName": "s", "ShardToMerge": FIRST, "AdjacentShardToMerge": "shardId-000000000001"});
        self.reshard("MergeShards", body, 3).await;
    }

    /// Reads a shard to its end; the number of records and the last answer.
    async fn read_out(&self, shard: &str) -> (usize, Value) {
        let body = json!({"StreamName": "s", "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
        let mut iterator = self.call("GetShardIterator", body).await["ShardIterator"].clone();
        let mut records = 0;
        for _ in 0..100 {
            let answer = self
                .call("GetRecords", json!({"ShardIterator": iterator, "Limit": 2}))
                .await;
            records += answer["Records"].as_array().unwrap().len();
            if answer["NextShardIterator"].is_null() {
                return (records, answer);
            }
            assert!(answer.get("ChildShards").is_none(), "children before the end");
            iterator = answer["NextShardIterator"].clone();
        }
        panic!("{shard} has no end");
    }

    async fn consumer(&self) -> Value {
        let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/s";
        let body = json!({"StreamARN": arn, "ConsumerName": "c"});
        let made = self.call("RegisterStreamConsumer", body).await;
        let arn = made["Consumer"]["ConsumerARN"].clone();
        for _ in 0..200 {
            let answer = self
                .call("DescribeStreamConsumer", json!({"ConsumerARN": arn}))
                .await;
            if answer["ConsumerDescription"]["ConsumerStatus"] == "ACTIVE" {
                return arn;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the consumer does not become active");
    }

    /// All events of a subscription that ends by itself.
    async fn events(&self, consumer: &Value, shard: &str) -> Vec<Value> {
        let body =
            json!({"ConsumerARN": consumer, "ShardId": shard, "StartingPosition": {"Type": "TRIM_HORIZON"}});
        let bytes = self.raw("SubscribeToShard", body).await.bytes().await.unwrap();
        let mut rest = &bytes[..];
        let mut events = Vec::new();
        while !rest.is_empty() {
            let length = |at: usize| u32::from_be_bytes(rest[at..at + 4].try_into().unwrap()) as usize;
            let (total, headers) = (length(0), length(4));
            let payload = &rest[12 + headers..total - 4];
            if !payload.is_empty() {
                events.push(serde_json::from_slice(payload).unwrap());
            }
            rest = &rest[total..];
        }
        events
    }
}

fn ids(children: &Value) -> Vec<&str> {
    let children = children.as_array().unwrap();
    children
        .iter()
        .map(|child| child["ShardId"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn last_answer_of_a_split_shard_has_its_children_and_no_iterator() {
    let stack = start_new().await;
    stack.create("s", 1).await;
    for _ in 0..5 {
        stack.put("s", "k", "x").await;
    }
    stack.split().await;
    let (records, last) = stack.read_out(FIRST).await;
    assert_eq!(records, 5);
    assert!(
        last.as_object().unwrap().contains_key("NextShardIterator"),
        "null, not absent"
    );
    let children = &last["ChildShards"];
    assert_eq!(ids(children), ["shardId-000000000001", "shardId-000000000002"]);
    assert_eq!(children[0]["ParentShards"], json!([FIRST]));
    assert_eq!(children[1]["HashKeyRange"]["StartingHashKey"], HALF);
}

#[tokio::test]
async fn child_of_a_merge_names_both_parents_at_the_end_of_each() {
    let stack = start_new().await;
    stack.create("s", 2).await;
    stack.merge().await;
    for parent in [FIRST, "shardId-000000000001"] {
        let (_, last) = stack.read_out(parent).await;
        assert_eq!(ids(&last["ChildShards"]), ["shardId-000000000002"]);
        let parents = &last["ChildShards"][0]["ParentShards"];
        assert_eq!(*parents, json!([FIRST, "shardId-000000000001"]));
    }
}

#[tokio::test]
async fn only_the_last_event_has_children_and_it_has_no_continuation() {
    let stack = start_new().await;
    stack.create("s", 2).await;
    let consumer = stack.consumer().await;
    for number in 0..4 {
        stack.put("s", &number.to_string(), "x").await;
    }
    stack.merge().await;
    let mut records = 0;
    for parent in [FIRST, "shardId-000000000001"] {
        let events = stack.events(&consumer, parent).await;
        let (last, before) = events.split_last().unwrap();
        for event in before {
            records += event["Records"].as_array().unwrap().len();
            let children = event["ChildShards"].as_array();
            assert!(children.is_none_or(Vec::is_empty), "{event}");
            assert!(event["ContinuationSequenceNumber"].is_string());
        }
        assert_eq!(ids(&last["ChildShards"]), ["shardId-000000000002"]);
        let parents = &last["ChildShards"][0]["ParentShards"];
        assert_eq!(*parents, json!([FIRST, "shardId-000000000001"]));
        assert!(last.get("ContinuationSequenceNumber").is_none());
    }
    assert_eq!(records, 4, "unread records come before the end");
}
