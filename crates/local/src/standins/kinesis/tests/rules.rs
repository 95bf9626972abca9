//! Faults of Kinesis through HTTP.

use super::*;

async fn with(rules: &str) -> Stack {
    let stack = start(tempfile::tempdir().unwrap(), &format!("seed: 3\nrules:\n{rules}")).await;
    stack.create("s", 1).await;
    stack
}

impl Stack {
    async fn error(&self, operation: &str, body: Value) -> (u16, Value) {
        self.try_call(operation, body).await.unwrap()
    }

    async fn iterator(&self) -> Value {
        let body = json!({"StreamName": "s", "ShardId": FIRST, "ShardIteratorType": "TRIM_HORIZON"});
        self.call("GetShardIterator", body).await["ShardIterator"].clone()
    }
}

#[tokio::test]
async fn expired_iterator_and_throttle_are_the_services_errors_without_effect() {
    let stack = with(
        "  - {service: kinesis, fault: expire_iterator, times: 1}
  - {service: kinesis, operation: PutRecord, fault: throttle, times: 1}
  - {service: kinesis, operation: ListShards, fault: throttle, times: 1}
",
    )
    .await;
    let put = json!({"StreamName": "s", "Data": "eA==", "PartitionKey": "k"});
    let (status, answer) = stack.error("PutRecord", put.clone()).await;
    assert_eq!(
        (status, &answer["__type"]),
        (400, &json!("ProvisionedThroughputExceededException"))
    );
    let (_, answer) = stack.error("ListShards", json!({"StreamName": "s"})).await;
    assert_eq!(answer["__type"], "LimitExceededException");
    let body = json!({"ShardIterator": stack.iterator().await});
    let (status, answer) = stack.error("GetRecords", body.clone()).await;
    assert_eq!(
        (status, &answer["__type"]),
        (400, &json!("ExpiredIteratorException"))
    );
    assert_eq!(
        stack.call("GetRecords", body).await["Records"],
        json!([]),
        "the put was refused"
    );
    stack.call("PutRecord", put).await;
}

#[tokio::test]
async fn partial_put_refuses_its_share_and_keeps_the_order_of_the_rest() {
    let stack = with("  - {service: kinesis, operation: PutRecords, fault: partial, share: 0.3, code: InternalFailure, times: 1}\n").await;
    let data = |number: usize| {
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{number:03}"))
    };
    let records: Vec<Value> = (0..100)
        .map(|n| json!({"Data": data(n), "PartitionKey": "k"}))
        .collect();
    let body = json!({"StreamName": "s", "Records": records});
    let answer = stack.call("PutRecords", body.clone()).await;
    let answers = answer["Records"].as_array().unwrap();
    assert_eq!(answers.len(), 100);
    let failed: Vec<usize> = (0..100)
        .filter(|n| answers[*n]["ErrorCode"] == "InternalFailure")
        .collect();
    assert_eq!(answer["FailedRecordCount"], failed.len());
    assert!((15..45).contains(&failed.len()), "{}", failed.len());
    let got = stack
        .call("GetRecords", json!({"ShardIterator": stack.iterator().await}))
        .await;
    let got: Vec<(&Value, &Value)> = got["Records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (&r["SequenceNumber"], &r["Data"]))
        .collect();
    let expected: Vec<Value> = (0..100)
        .filter(|n| !failed.contains(n))
        .map(|n| json!(data(n)))
        .collect();
    assert_eq!(
        got.iter().map(|(_, data)| (*data).clone()).collect::<Vec<_>>(),
        expected
    );
    let taken: Vec<&Value> = answers
        .iter()
        .filter(|a| a["ErrorCode"].is_null())
        .map(|a| &a["SequenceNumber"])
        .collect();
    assert_eq!(got.iter().map(|(number, _)| *number).collect::<Vec<_>>(), taken);
    assert_eq!(stack.call("PutRecords", body).await["FailedRecordCount"], 0);
}

#[tokio::test]
async fn partial_put_of_one_record_refuses_it() {
    let stack = with("  - {service: kinesis, fault: partial, share: 0.0, times: 1}\n").await;
    let body = json!({"StreamName": "s", "Records": [{"Data": "eA==", "PartitionKey": "k"}]});
    let answer = stack.call("PutRecords", body).await;
    assert_eq!(answer["FailedRecordCount"], 1);
    assert_eq!(stack.records("s", FIRST).await.len(), 0);
}

#[tokio::test]
async fn stale_list_of_shards_knows_nothing_of_a_later_split() {
    let stack =
        with("  - {service: kinesis, operation: ListShards, fault: stale, delay: 1h, times: 1}\n").await;
    let hash = "170141183460469231731687303715884105728";
    stack
        .call(
            "SplitShard",
            json!({"StreamName": "s", "ShardToSplit": FIRST, "NewStartingHashKey": hash}),
        )
        .await;
    stack
        .until("s", |stream| {
            stream["Shards"]
                .as_array()
                .is_some_and(|shards| shards.len() == 3)
        })
        .await;
    let stale = stack.call("ListShards", json!({"StreamName": "s"})).await;
    let shards = stale["Shards"].as_array().unwrap();
    assert_eq!(shards.len(), 1);
    assert_eq!(shards[0]["ShardId"], FIRST);
    assert!(
        shards[0]["SequenceNumberRange"]
            .get("EndingSequenceNumber")
            .is_none(),
        "still open"
    );
    let now = stack.call("ListShards", json!({"StreamName": "s"})).await;
    assert_eq!(now["Shards"].as_array().unwrap().len(), 3);
    assert!(now["Shards"][0]["SequenceNumberRange"]["EndingSequenceNumber"].is_string());
}

#[tokio::test]
async fn cut_answer_has_its_first_bytes_and_an_ended_connection() {
    let stack = with(
        "  - {service: kinesis, operation: GetRecords, fault: cut, bytes: 40, times: 1}
  - {service: kinesis, operation: SubscribeToShard, fault: cut, bytes: 100}
  - {service: kinesis, operation: ListShards, fault: cut, bytes: 1000000}
",
    )
    .await;
    stack.put("s", "k", "some text").await;
    let iterator = stack.iterator().await;
    let answer = stack.raw("GetRecords", json!({"ShardIterator": iterator})).await;
    assert_eq!(received(answer).await, (40, false));
    let answer = stack.call("GetRecords", json!({"ShardIterator": iterator})).await;
    assert_eq!(answer["Records"].as_array().unwrap().len(), 1);
    // A subscription's frame of the initial response has 99 bytes or so; the cut is in or behind it.
    let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/s";
    let made = stack
        .call(
            "RegisterStreamConsumer",
            json!({"StreamARN": arn, "ConsumerName": "c"}),
        )
        .await;
    let consumer = made["Consumer"]["ConsumerARN"].clone();
    for _ in 0..200 {
        let answer = stack
            .call("DescribeStreamConsumer", json!({"ConsumerARN": consumer}))
            .await;
        if answer["ConsumerDescription"]["ConsumerStatus"] == "ACTIVE" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let body =
        json!({"ConsumerARN": consumer, "ShardId": FIRST, "StartingPosition": {"Type": "TRIM_HORIZON"}});
    assert_eq!(
        received(stack.raw("SubscribeToShard", body).await).await,
        (100, false)
    );
    let shorter = stack.raw("ListShards", json!({"StreamName": "s"})).await;
    assert!(
        received(shorter).await.1,
        "an answer that is shorter arrives whole"
    );
}

/// Bytes of the body that arrived, and whether it ended as it should.
async fn received(mut answer: reqwest::Response) -> (usize, bool) {
    let mut bytes = 0;
    loop {
        match answer.chunk().await {
            Ok(Some(part)) => bytes += part.len(),
            Ok(None) => return (bytes, true),
            Err(_) => return (bytes, false),
        }
    }
}

#[tokio::test]
async fn deny_names_action_and_resource_and_spares_other_resources() {
    let stack = with(
        "  - {service: kinesis, operation: GetRecords, fault: deny, resource: s}
  - {service: kinesis, operation: SubscribeToShard, fault: deny, resource: app}
  - {service: kinesis, operation: ListStreams, fault: deny}
",
    )
    .await;
    stack.create("other", 1).await;
    assert_eq!(stack.records("other", FIRST).await.len(), 0);
    let (status, answer) = stack
        .error("GetRecords", json!({"ShardIterator": stack.iterator().await}))
        .await;
    assert_eq!(
        (status, &answer["__type"]),
        (400, &json!("AccessDeniedException"))
    );
    let message = answer["message"].as_str().unwrap();
    assert!(
        message.contains("is not authorized to perform: kinesis:GetRecords on resource: arn:aws:kinesis:eu-west-1:123456789012:stream/s because"),
        "{message}"
    );
    let subscribe = |consumer: &str| {
        let arn = format!("arn:aws:kinesis:eu-west-1:123456789012:stream/s/consumer/{consumer}:1");
        json!({"ConsumerARN": arn, "ShardId": FIRST, "StartingPosition": {"Type": "LATEST"}})
    };
    let (_, answer) = stack.error("SubscribeToShard", subscribe("app")).await;
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("stream/s/consumer/app:1 because"),
        "{answer}"
    );
    let (_, answer) = stack.error("SubscribeToShard", subscribe("none")).await;
    assert_eq!(answer["__type"], "ResourceNotFoundException");
    let (_, answer) = stack.error("ListStreams", json!({})).await;
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("on resource: * because"),
        "{answer}"
    );
}
