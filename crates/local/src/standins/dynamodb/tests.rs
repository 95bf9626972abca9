use serde_json::{Value, json};

use super::*;
use crate::FaultsFile;

struct Stack {
    folder: tempfile::TempDir,
    dynamodb: DynamoDb,
    url: String,
    http: reqwest::Client,
}

async fn start(folder: tempfile::TempDir, faults: &str) -> Stack {
    let held = Arc::new(DataFolder::open(&folder.path().join("data")).unwrap());
    let (listener, port) = server::bind("dynamodb", 0).await.unwrap();
    let faults = Arc::new(Faults::new(&FaultsFile::parse(faults).unwrap()));
    let setup = Setup {
        file: held.path().join("dynamodb.db"),
        faults,
        account: Account {
            region: "eu-west-1".into(),
            id: "123456789012".into(),
        },
        held,
    };
    let dynamodb = DynamoDb::start(setup, listener).await.unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    Stack {
        folder,
        dynamodb,
        url: format!("http://127.0.0.1:{port}"),
        http,
    }
}

impl Stack {
    async fn try_call(&self, operation: &str, body: Value) -> Result<(u16, Value), reqwest::Error> {
        let request = self
            .http
            .post(&self.url)
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .header("x-amz-date", "20260101T000000Z")
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0",
            );
        let answer = request.body(body.to_string()).send().await?;
        let status = answer.status().as_u16();
        Ok((
            status,
            serde_json::from_str(&answer.text().await?).unwrap_or(Value::Null),
        ))
    }

    async fn call(&self, operation: &str, body: Value) -> Value {
        let (status, answer) = self.try_call(operation, body).await.unwrap();
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    }

    async fn create(&self) {
        let table = json!({
            "TableName": "leases",
            "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
            "BillingMode": "PAY_PER_REQUEST",
        });
        self.call("CreateTable", table).await;
    }

    async fn get(&self) -> Value {
        self.call(
            "GetItem",
            json!({"TableName": "leases", "Key": {"k": {"S": "a"}}}),
        )
        .await["Item"]
            .clone()
    }
}

const ITEM: &str = r#"{"TableName": "leases", "Item": {"k": {"S": "a"}, "v": {"N": "1"}}}"#;

#[tokio::test]
async fn items_survive_a_restart() {
    let stack = start(tempfile::tempdir().unwrap(), "rules: []").await;
    stack.create().await;
    stack.call("PutItem", serde_json::from_str(ITEM).unwrap()).await;
    let before = stack.get().await;
    stack.dynamodb.stop().await;
    let stack = start(stack.folder, "rules: []").await;
    assert_eq!(stack.get().await, before);
    assert_eq!(before["v"]["N"], "1");
}

#[tokio::test]
async fn faults_apply_to_the_named_operation_only() {
    let rules = "rules:
  - {service: dynamodb, operation: PutItem, fault: lost_answer, times: 1}
  - {service: dynamodb, operation: GetItem, fault: error, status: 400, code: ProvisionedThroughputExceededException, times: 1}
";
    let stack = start(tempfile::tempdir().unwrap(), rules).await;
    stack.create().await;
    assert!(
        stack
            .try_call("PutItem", serde_json::from_str(ITEM).unwrap())
            .await
            .is_err()
    );
    let (status, error) = stack
        .try_call(
            "GetItem",
            json!({"TableName": "leases", "Key": {"k": {"S": "a"}}}),
        )
        .await
        .unwrap();
    assert_eq!(
        (status, error["__type"].as_str()),
        (400, Some("ProvisionedThroughputExceededException"))
    );
    assert_eq!(stack.get().await["v"]["N"], "1", "the put had its effect");
}

#[tokio::test]
async fn throttle_and_deny_are_the_services_errors_without_effect() {
    let rules = "rules:
  - {service: dynamodb, operation: PutItem, fault: throttle, times: 1}
  - {service: dynamodb, fault: deny, operation: UpdateItem, resource: leases}
  - {service: dynamodb, fault: deny, operation: PutItem, resource: other}
  - {service: dynamodb, operation: DescribeTable, fault: cut, bytes: 10, times: 1}
";
    let stack = start(tempfile::tempdir().unwrap(), rules).await;
    stack.create().await;
    let item: Value = serde_json::from_str(ITEM).unwrap();
    let (status, error) = stack.try_call("PutItem", item.clone()).await.unwrap();
    assert_eq!(
        (status, error["__type"].as_str()),
        (400, Some("ProvisionedThroughputExceededException"))
    );
    assert!(stack.get().await.is_null(), "it had no effect");
    stack.call("PutItem", item).await;
    let update = json!({"TableName": "leases", "Key": {"k": {"S": "a"}}});
    let (status, error) = stack.try_call("UpdateItem", update).await.unwrap();
    assert_eq!(
        (status, error["__type"].as_str()),
        (400, Some("AccessDeniedException"))
    );
    let message = error["message"].as_str().unwrap();
    let expected = "User: arn:aws:iam::123456789012:user/local is not authorized to perform: dynamodb:UpdateItem on \
                    resource: arn:aws:dynamodb:eu-west-1:123456789012:table/leases because no identity-based policy \
                    allows the dynamodb:UpdateItem action";
    assert_eq!(message, expected);
    let table = json!({"TableName": "leases"});
    assert!(
        stack.try_call("DescribeTable", table.clone()).await.is_err(),
        "cut"
    );
    stack.call("DescribeTable", table).await;
    assert_eq!(stack.get().await["v"]["N"], "1");
}
