//! A takeover against dynoxide on loopback: the doors to whole tables mean there what they mean in memory.

use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use dynoxide::Database;
use frazil_lease::admin::{Layout, TableAdmin};
use frazil_lease::migrate::{MigrateOptions, Migration, Outcome};
use frazil_lease::row::{Row, decode};
use frazil_lease::{DynamoLeases, LeaseStore, PinnedStart, Scope, StreamIdentity};
use frazil_model::{SeededRandom, StreamName, SystemClock, WorkerId};

async fn serve() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("bound");
    let database = Database::memory().expect("memory");
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    format!("http://{address}")
}

fn sdk(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new("local", "local", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

async fn library_table(client: &Client) {
    let definition = AttributeDefinition::builder()
        .attribute_name("leaseKey")
        .attribute_type(ScalarAttributeType::S)
        .build()
        .expect("whole");
    let element = KeySchemaElement::builder()
        .attribute_name("leaseKey")
        .key_type(KeyType::Hash)
        .build()
        .expect("whole");
    client
        .create_table()
        .table_name("app")
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(definition)
        .key_schema(element)
        .send()
        .await
        .expect("made");
}

#[tokio::test]
async fn case_81_on_the_real_protocol() {
    let endpoint = serve().await;
    let client = Client::new(&sdk(&endpoint));
    let leases = Arc::new(DynamoLeases::new(&sdk(&endpoint), Some(endpoint.clone())));
    assert_eq!(leases.describe("app").await, Ok(None));
    library_table(&client).await;
    // DynamoDB ends a page at 1 MB; these rows have 2 MB.
    let filling = "x".repeat(300_000);
    for n in 0..7 {
        let checkpoint = if n == 0 {
            "SHARD_END".to_owned()
        } else {
            format!("{}", 4000 + n)
        };
        client
            .put_item()
            .table_name("app")
            .item("leaseKey", AttributeValue::S(format!("shardId-{n:012}")))
            .item("checkpoint", AttributeValue::S(checkpoint))
            .item("checkpointSubSequenceNumber", AttributeValue::N(n.to_string()))
            .item("leaseCounter", AttributeValue::N("5".to_owned()))
            .item("parentShardId", AttributeValue::Ss(vec!["shardId-9".to_owned()]))
            .item("filling", AttributeValue::S(filling.clone()))
            .send()
            .await
            .expect("put");
    }
    let layout = leases
        .describe("app")
        .await
        .expect("described")
        .expect("there")
        .layout;
    assert_eq!(layout, Layout::ClientLibrary);
    let stream = StreamIdentity {
        arn: "arn:aws:kinesis:eu-central-1:1:stream/clicks".to_owned(),
        created_ms: 1,
    };
    let random = Arc::new(SeededRandom::new(5));
    let name = StreamName::new("clicks").expect("valid");
    let worker = WorkerId::random(&*random);
    let mut options = MigrateOptions::new("app", name.clone(), stream, PinnedStart::TrimHorizon, worker, 5);
    options.watch = Duration::from_millis(50);
    let migration = Migration::new(leases.clone(), options, Arc::new(SystemClock), random);
    assert!(matches!(migration.carry_out().await, Ok(Outcome::Done { .. })));
    assert_eq!(leases.describe("app_migration").await, Ok(None));
    let scope = Scope {
        application: "app".to_owned(),
        stream: name,
    };
    let rows = leases.rows(&scope, "shardId-").await.expect("readable");
    assert_eq!(rows.len(), 7);
    for item in &rows {
        let Ok(Row::Shard(row)) = decode(item) else {
            panic!("{item:?}");
        };
        let position = row.state.position.map(|position| position.to_string());
        let first = row.state.shard.as_str() == "shardId-000000000000";
        assert_eq!((row.state.ended, position.is_none()), (first, first));
    }
    assert_eq!(migration.carry_out().await, Ok(Outcome::NothingToDo));
}
