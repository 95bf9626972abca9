//! The stand-in is killed by copying its folder while it runs: the copy is what a killed process leaves.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::FaultsFile;

struct Stack {
    folder: tempfile::TempDir,
    kinesis: Kinesis,
    url: String,
    http: reqwest::Client,
}

async fn start(folder: tempfile::TempDir, faults: &str) -> Stack {
    start_with(folder, faults, None).await
}

async fn start_with(folder: tempfile::TempDir, faults: &str, limits: Option<Monotonic>) -> Stack {
    let held = Arc::new(DataFolder::open(&folder.path().join("data")).unwrap());
    let (listener, port) = crate::server::bind("kinesis", 0).await.unwrap();
    let setup = Setup {
        folder: held.path().join("kinesis"),
        region: "eu-west-1".into(),
        account_id: "123456789012".into(),
        faults: Arc::new(Faults::new(&FaultsFile::parse(faults).unwrap())),
        limits,
        held,
    };
    let kinesis = Kinesis::start(setup, listener).await.unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    Stack {
        folder,
        kinesis,
        url: format!("http://127.0.0.1:{port}"),
        http,
    }
}

async fn start_new() -> Stack {
    start(tempfile::tempdir().unwrap(), "rules: []").await
}

impl Stack {
    async fn try_raw(&self, operation: &str, body: Value) -> Result<reqwest::Response, reqwest::Error> {
        let request = self
            .http
            .post(&self.url)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("Kinesis_20131202.{operation}"))
            .header("x-amz-date", "20260101T000000Z")
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=a/b/c/kinesis/d, SignedHeaders=host, Signature=0",
            );
        request.body(body.to_string()).send().await
    }

    async fn raw(&self, operation: &str, body: Value) -> reqwest::Response {
        self.try_raw(operation, body).await.unwrap()
    }

    async fn try_call(&self, operation: &str, body: Value) -> Result<(u16, Value), reqwest::Error> {
        let answer = self.try_raw(operation, body).await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    async fn call(&self, operation: &str, body: Value) -> Value {
        let (status, answer) = self.try_call(operation, body).await.unwrap();
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    }

    /// Asks as a client does until the stream is as wanted.
    async fn until(&self, stream: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..200 {
            let (_, answer) = self
                .try_call("DescribeStream", json!({"StreamName": stream}))
                .await
                .unwrap();
            if wanted(&answer["StreamDescription"]) {
                return answer["StreamDescription"].clone();
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("stream {stream} does not get there");
    }

    async fn create(&self, stream: &str, shards: u32) {
        self.call(
            "CreateStream",
            json!({"StreamName": stream, "ShardCount": shards}),
        )
        .await;
        self.until(stream, |stream| stream["StreamStatus"] == "ACTIVE")
            .await;
    }

    async fn put(&self, stream: &str, key: &str, data: &str) -> (String, String) {
        let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, data);
        let record = json!({"Data": data, "PartitionKey": key});
        let answer = self
            .call("PutRecords", json!({"StreamName": stream, "Records": [record]}))
            .await;
        let record = &answer["Records"][0];
        (
            record["ShardId"].as_str().unwrap().into(),
            record["SequenceNumber"].as_str().unwrap().into(),
        )
    }

    /// Sequence numbers of a shard's records.
    async fn records(&self, stream: &str, shard: &str) -> Vec<String> {
        let iterator = json!({"StreamName": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
        let iterator = self.call("GetShardIterator", iterator).await["ShardIterator"].clone();
        let answer = self.call("GetRecords", json!({"ShardIterator": iterator})).await;
        let records = answer["Records"].as_array().unwrap();
        records
            .iter()
            .map(|record| record["SequenceNumber"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Kills it and starts on what is on disk at this moment.
    async fn kill(self) -> Stack {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(&self.folder.path().join("data"), &copy.path().join("data"));
        self.kinesis.stop().await;
        start(copy, "rules: []").await
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (entry, target) = entry
            .map(|entry| (entry.path(), to.join(entry.file_name())))
            .unwrap();
        if entry.is_dir() {
            copy_folder(&entry, &target);
        } else {
            std::fs::copy(entry, target).unwrap();
        }
    }
}

mod limits;
mod resharding;
mod rules;

const FIRST: &str = "shardId-000000000000";

#[tokio::test]
async fn answered_puts_survive_a_kill_and_later_ones_come_after_them() {
    let stack = start_new().await;
    stack.create("s", 1).await;
    let mut expected = Vec::new();
    for number in 0..20 {
        expected.push(stack.put("s", "k", &number.to_string()).await.1);
    }
    let stack = stack.kill().await;
    assert_eq!(stack.records("s", FIRST).await, expected);
    let (_, later) = stack.put("s", "k", "later").await;
    // Equal lengths: text order is number order.
    assert_eq!(later.len(), expected[19].len());
    assert!(later > expected[19], "{later} after {}", expected[19]);
    expected.push(later);
    let stack = stack.kill().await;
    assert_eq!(stack.records("s", FIRST).await, expected);
}

#[tokio::test]
async fn stream_is_the_same_after_a_restart_with_its_shards_and_creation_time() {
    let stack = start_new().await;
    stack.create("s", 2).await;
    let hash = "85070591730234615865843651857942052863";
    let split = json!({"StreamName": "s", "ShardToSplit": FIRST, "NewStartingHashKey": hash});
    stack.call("SplitShard", split).await;
    let before = stack
        .until("s", |stream| {
            stream["Shards"]
                .as_array()
                .is_some_and(|shards| shards.len() == 4)
        })
        .await;
    let (child, sequence) = stack.put("s", "k", "x").await;
    let stack = stack.kill().await;
    assert_eq!(stack.until("s", |_| true).await, before);
    assert_eq!(stack.records("s", &child).await, [sequence]);
}

#[tokio::test]
async fn calls_that_were_answered_and_not_complete_are_made_again() {
    let stack = start_new().await;
    stack.create("old", 1).await;
    stack
        .call("CreateStream", json!({"StreamName": "new", "ShardCount": 3}))
        .await;
    stack.call("DeleteStream", json!({"StreamName": "old"})).await;
    let stack = stack.kill().await;
    let made = stack
        .until("new", |stream| stream["StreamStatus"] == "ACTIVE")
        .await;
    assert_eq!(made["Shards"].as_array().unwrap().len(), 3);
    stack.until("old", Value::is_null).await;
}

#[tokio::test]
async fn stream_made_again_under_its_name_has_no_old_records() {
    let stack = start_new().await;
    stack.create("s", 1).await;
    stack.put("s", "k", "old").await;
    stack.call("DeleteStream", json!({"StreamName": "s"})).await;
    stack.until("s", Value::is_null).await;
    stack.create("s", 1).await;
    let (_, sequence) = stack.put("s", "k", "new").await;
    let stack = stack.kill().await;
    assert_eq!(stack.records("s", FIRST).await, [sequence]);
}

#[tokio::test]
async fn consumers_and_tags_survive_a_restart() {
    let stack = start_new().await;
    stack.create("s", 1).await;
    let arn = stack.until("s", |_| true).await["StreamARN"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(arn, "arn:aws:kinesis:eu-west-1:123456789012:stream/s");
    stack
        .call(
            "AddTagsToStream",
            json!({"StreamName": "s", "Tags": {"team": "ice"}}),
        )
        .await;
    stack
        .call(
            "RegisterStreamConsumer",
            json!({"StreamARN": arn, "ConsumerName": "c"}),
        )
        .await;
    let stack = stack.kill().await;
    let tags = stack.call("ListTagsForStream", json!({"StreamName": "s"})).await;
    assert_eq!(tags["Tags"], json!([{"Key": "team", "Value": "ice"}]));
    let consumers = stack.call("ListStreamConsumers", json!({"StreamARN": arn})).await;
    assert_eq!(consumers["Consumers"][0]["ConsumerName"], "c");
}

#[tokio::test]
async fn fault_lost_answer_keeps_the_put_and_cuts_the_connection() {
    let rules = "rules:\n  - {service: kinesis, operation: PutRecords, fault: lost_answer, times: 1}\n";
    let stack = start(tempfile::tempdir().unwrap(), rules).await;
    stack.create("s", 1).await;
    let put = json!({"StreamName": "s", "Records": [{"Data": "eA==", "PartitionKey": "k"}]});
    assert!(stack.try_call("PutRecords", put).await.is_err());
    assert_eq!(stack.records("s", FIRST).await.len(), 1);
}

#[tokio::test]
async fn body_of_ten_mebibytes_is_taken() {
    let stack = start_new().await;
    stack.create("s", 1).await;
    let data = "A".repeat(1_000_000);
    let records: Vec<Value> = (0..5)
        .map(|_| json!({"Data": data, "PartitionKey": "k"}))
        .collect();
    let answer = stack
        .call("PutRecords", json!({"StreamName": "s", "Records": records}))
        .await;
    assert_eq!(answer["FailedRecordCount"], 0);
}
