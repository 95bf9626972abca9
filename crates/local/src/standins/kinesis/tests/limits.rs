//! The service's budgets through HTTP, on a clock that the tests move.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::aws::Format;

struct Limited {
    stack: Stack,
    clock: Arc<AtomicU64>,
}

const THROUGHPUT: &str = "ProvisionedThroughputExceededException";

/// Clock of the budgets at 0, a stream `s`, which the budgets of other calls have paid for.
async fn limited(shards: u32) -> Limited {
    let clock = Arc::new(AtomicU64::new(0));
    let limits = Some(Monotonic::by_hand(Arc::clone(&clock)));
    let stack = start_with(tempfile::tempdir().unwrap(), "rules: []", limits).await;
    stack
        .call("CreateStream", json!({"StreamName": "s", "ShardCount": shards}))
        .await;
    let limited = Limited { stack, clock };
    for _ in 0..200 {
        limited.pass(1_000);
        let asked = json!({"StreamName": "s"});
        let answer = limited.stack.call("DescribeStreamSummary", asked).await;
        if answer["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE" {
            return limited;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the stream does not become active");
}

impl Limited {
    fn pass(&self, milliseconds: u64) {
        self.clock.fetch_add(milliseconds, Ordering::AcqRel);
    }

    /// Status and error of a call.
    async fn error(&self, operation: &str, body: Value) -> (u16, String) {
        let (status, answer) = self.stack.try_call(operation, body).await.unwrap();
        (status, answer["__type"].as_str().unwrap_or_default().to_owned())
    }

    /// How many of these calls pass until one is refused; its error.
    async fn until_refused(&self, operation: &str, body: Value) -> (u32, String) {
        for passed in 0..2_000 {
            let (status, code) = self.error(operation, body.clone()).await;
            if status != 200 {
                return (passed, code);
            }
        }
        panic!("{operation} is never refused");
    }

    async fn iterator(&self, shard: &str) -> Value {
        let body = json!({"StreamName": "s", "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
        self.stack.call("GetShardIterator", body).await["ShardIterator"].clone()
    }

    /// Puts records under hash keys, and says which failed.
    async fn put(&self, records: &[(&str, usize)]) -> (Value, Vec<bool>) {
        let records = records.iter().map(|(hash, bytes)| {
            let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, vec![b'x'; *bytes]);
            json!({"Data": data, "PartitionKey": "k", "ExplicitHashKey": hash})
        });
        let body = json!({"StreamName": "s", "Records": records.collect::<Vec<_>>()});
        let answer = self.stack.call("PutRecords", body).await;
        let failed = answer["Records"].as_array().unwrap().iter();
        let failed = failed.map(|record| !record["ErrorCode"].is_null()).collect();
        (answer, failed)
    }
}

/// Hash keys of the first and the second of two shards.
const LOW: &str = "0";
const HIGH: &str = "340282366920938463463374607431768211455";
const SECOND: &str = "shardId-000000000001";

#[tokio::test]
async fn a_shard_answers_five_calls_a_second_to_all_together() {
    let limited = limited(2).await;
    let (one, other) = (limited.iterator(FIRST).await, limited.iterator(SECOND).await);
    let call = |iterator: &Value| json!({"ShardIterator": iterator});
    let refused = limited.until_refused("GetRecords", call(&one)).await;
    assert_eq!(refused, (5, THROUGHPUT.to_owned()));
    assert_eq!(
        limited.error("GetRecords", call(&other)).await.0,
        200,
        "the other shard has its own"
    );
    limited.pass(200);
    let refused = limited.until_refused("GetRecords", call(&one)).await;
    assert_eq!(refused.0, 1);
    limited.pass(10_000);
    assert_eq!(limited.until_refused("GetRecords", call(&one)).await.0, 5);
}

#[tokio::test]
async fn ten_mebibytes_come_at_most_and_lock_the_shard_for_five_seconds() {
    let limited = limited(1).await;
    for _ in 0..12 {
        limited.pass(2_000);
        let (answer, failed) = limited.put(&[(LOW, 1_000_000)]).await;
        assert_eq!(failed, [false], "{answer}");
    }
    let iterator = limited.iterator(FIRST).await;
    let body = json!({"ShardIterator": iterator});
    let answer = limited.stack.call("GetRecords", body).await;
    assert_eq!(
        answer["Records"].as_array().unwrap().len(),
        10,
        "12 MB are more than an answer holds"
    );
    assert!(answer["MillisBehindLatest"].as_u64().unwrap() > 0);
    let next = json!({"ShardIterator": answer["NextShardIterator"]});
    assert_eq!(
        limited.error("GetRecords", next.clone()).await,
        (400, THROUGHPUT.to_owned())
    );
    // 10 MB are a little less than 10 MiB.
    limited.pass(4_700);
    assert_eq!(limited.error("GetRecords", next.clone()).await.0, 400);
    limited.pass(300);
    let answer = limited.stack.call("GetRecords", next).await;
    assert_eq!(
        answer["Records"].as_array().unwrap().len(),
        2,
        "nothing is skipped, nothing comes twice"
    );
}

#[tokio::test]
async fn put_records_fails_in_part_and_puts_what_it_took() {
    let limited = limited(2).await;
    // The first shard's megabyte is used up; the second's is not.
    let (_, failed) = limited.put(&[(LOW, 1_000_000)]).await;
    assert_eq!(failed, [false]);
    let (answer, failed) = limited
        .put(&[(HIGH, 10), (LOW, 100_000), (HIGH, 20), (LOW, 200_000)])
        .await;
    assert_eq!(failed, [false, true, false, true]);
    assert_eq!(answer["FailedRecordCount"], 2);
    let refused = &answer["Records"][1];
    assert_eq!(refused["ErrorCode"], THROUGHPUT);
    let message = refused["ErrorMessage"].as_str().unwrap();
    assert!(
        message.contains(FIRST) && message.contains("stream s under account 123456789012"),
        "{message}"
    );
    assert!(refused["SequenceNumber"].is_null());
    let taken: Vec<&str> = [0, 2]
        .map(|index| answer["Records"][index]["SequenceNumber"].as_str().unwrap())
        .into();
    assert_eq!(limited.stack.records("s", SECOND).await, taken);
    assert_eq!(
        limited.stack.records("s", FIRST).await.len(),
        1,
        "what was refused is not there"
    );
    limited.pass(1_000);
    let (_, failed) = limited.put(&[(LOW, 100_000), (LOW, 200_000)]).await;
    assert_eq!(failed, [false, false]);
}

#[tokio::test]
async fn a_shard_takes_a_thousand_records_a_second_and_put_record_is_refused_whole() {
    let limited = limited(1).await;
    let (_, failed) = limited.put(&[(LOW, 1); 500]).await;
    assert!(!failed.contains(&true));
    let (_, failed) = limited.put(&[(LOW, 1); 500]).await;
    assert!(!failed.contains(&true));
    let one = json!({"StreamName": "s", "Data": "eA==", "PartitionKey": "k"});
    assert_eq!(
        limited.error("PutRecord", one.clone()).await,
        (400, THROUGHPUT.to_owned())
    );
    let (answer, failed) = limited.put(&[(LOW, 1); 3]).await;
    assert_eq!((failed, &answer["FailedRecordCount"]), (vec![true; 3], &json!(3)));
    limited.pass(1);
    assert_eq!(limited.error("PutRecord", one.clone()).await.0, 200);
    assert_eq!(limited.error("PutRecord", one).await.0, 400);
}

#[tokio::test]
async fn a_put_that_the_stand_in_refuses_costs_nothing() {
    let limited = limited(1).await;
    let bad = json!({"StreamName": "s", "Data": "eA==", "PartitionKey": "k".repeat(300)});
    for _ in 0..1_001 {
        let (status, code) = limited.error("PutRecord", bad.clone()).await;
        assert_eq!((status, code == THROUGHPUT), (400, false));
    }
    let (_, failed) = limited.put(&[(LOW, 1)]).await;
    assert_eq!(failed, [false]);
}

#[tokio::test]
async fn calls_have_their_own_rates_and_errors() {
    let limited = limited(1).await;
    let stream = json!({"StreamName": "s"});
    let limit = "LimitExceededException".to_owned();
    limited.pass(1_000);
    assert_eq!(
        limited.until_refused("DescribeStream", stream.clone()).await,
        (10, limit.clone())
    );
    assert_eq!(
        limited
            .until_refused("DescribeStreamSummary", stream.clone())
            .await,
        (20, limit.clone())
    );
    assert_eq!(
        limited.until_refused("ListShards", stream).await,
        (1_000, limit.clone())
    );
    assert_eq!(
        limited.until_refused("ListStreams", json!({"Limit": 1})).await,
        (5, limit.clone())
    );
    let iterator = json!({"StreamName": "s", "ShardId": FIRST, "ShardIteratorType": "LATEST"});
    let refused = limited.until_refused("GetShardIterator", iterator).await;
    assert_eq!(refused, (5, THROUGHPUT.to_owned()));
    let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/s/consumer/c:1";
    let subscribe =
        |shard: &str| json!({"ConsumerARN": arn, "ShardId": shard, "StartingPosition": {"Type": "LATEST"}});
    assert_eq!(
        limited.error("SubscribeToShard", subscribe(FIRST)).await.1,
        "ResourceNotFoundException"
    );
    assert_eq!(
        limited.error("SubscribeToShard", subscribe(FIRST)).await,
        (400, limit)
    );
    assert_eq!(
        limited.error("SubscribeToShard", subscribe(SECOND)).await.1,
        "ResourceNotFoundException"
    );
}

#[tokio::test]
async fn cbor_clients_get_the_same_answers_in_cbor() {
    let limited = limited(1).await;
    limited.put(&[(LOW, 1_000_000)]).await;
    let record = |data: &str| json!({"Data": data, "PartitionKey": "k"});
    let big = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, vec![7; 200_000]);
    let body = json!({"StreamName": "s", "Records": [record("AQID"), record(&big), record("BAUG")]});
    let (status, answer) = limited.stack.cbor("PutRecords", &body).await;
    assert_eq!((status, &answer["FailedRecordCount"]), (200, &json!(1)));
    assert_eq!(answer["Records"][1]["ErrorCode"], THROUGHPUT);
    let iterator = limited.iterator(FIRST).await;
    let (_, answer) = limited
        .stack
        .cbor("GetRecords", &json!({"ShardIterator": iterator}))
        .await;
    let data: Vec<&Value> = answer["Records"].as_array().unwrap()[1..]
        .iter()
        .map(|record| &record["Data"])
        .collect();
    assert_eq!(data, ["AQID", "BAUG"]);
    let (status, error) = limited.stack.cbor("ListStreams", &json!({})).await;
    assert_eq!((status, error["__type"].as_str()), (200, None));
    for _ in 0..4 {
        limited.stack.cbor("ListStreams", &json!({})).await;
    }
    let (status, error) = limited.stack.cbor("ListStreams", &json!({})).await;
    assert_eq!(
        (status, error["__type"].as_str()),
        (400, Some("LimitExceededException"))
    );
}

impl Stack {
    async fn cbor(&self, operation: &str, body: &Value) -> (u16, Value) {
        let request = self
            .http
            .post(&self.url)
            .header("content-type", "application/x-amz-cbor-1.1")
            .header("x-amz-target", format!("Kinesis_20131202.{operation}"))
            .header("x-amz-date", "20260101T000000Z")
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=a/b/c/kinesis/d, SignedHeaders=host, Signature=0",
            );
        let answer = request.body(Format::Cbor.write(body)).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/x-amz-cbor-1.1");
        let status = answer.status().as_u16();
        let body = answer.bytes().await.unwrap();
        (status, Format::Cbor.read(&body).unwrap_or_default())
    }
}
