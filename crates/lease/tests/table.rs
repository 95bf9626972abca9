//! A table that is not ready, over HTTP: what is asked for, and what becomes of each answer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use frazil_lease::admin::TableAdmin;
use frazil_lease::{DynamoLeases, Error, LeaseStore, Scope};
use frazil_model::StreamName;

/// What is answered, in turn: a table's status, or the code of an error; and what was asked for.
#[derive(Default)]
struct Script {
    answers: VecDeque<&'static str>,
    asked: Vec<String>,
}

type Shared = Arc<Mutex<Script>>;

async fn answer(State(script): State<Shared>, headers: HeaderMap, body: String) -> Response {
    let mut script = script.lock().expect("no panic");
    let target = headers["x-amz-target"].to_str().expect("text");
    let action = target.rsplit('.').next().expect("an action");
    let table = body
        .split("\"TableName\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    script.asked.push(format!("{action} {}", table.expect("a table")));
    let says = script.answers.pop_front().expect("no more was to be asked");
    let (status, body) = if says.ends_with("Exception") {
        (
            StatusCode::BAD_REQUEST,
            format!(r#"{{"__type":"{says}","message":"scripted"}}"#),
        )
    } else {
        let table = format!(
            r#"{{"TableStatus":"{says}","KeySchema":[{{"AttributeName":"streamName","KeyType":"HASH"}},
            {{"AttributeName":"shardId","KeyType":"RANGE"}}],"AttributeDefinitions":[{{"AttributeName":"streamName",
            "AttributeType":"S"}},{{"AttributeName":"shardId","AttributeType":"S"}}],
            "BillingModeSummary":{{"BillingMode":"PROVISIONED"}}}}"#
        );
        let name = if action == "DescribeTable" {
            "Table"
        } else {
            "TableDescription"
        };
        (StatusCode::OK, format!(r#"{{"{name}":{table}}}"#))
    };
    (status, [("content-type", "application/x-amz-json-1.0")], body).into_response()
}

/// A door to a service that answers so.
async fn door(answers: &[&'static str]) -> (DynamoLeases, Shared) {
    let script = Script {
        answers: answers.iter().copied().collect(),
        ..Script::default()
    };
    let script = Arc::new(Mutex::new(script));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let router = Router::new().route("/", post(answer)).with_state(script.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let credentials = Credentials::new("local", "local", None, None, "test");
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build();
    (DynamoLeases::new(&sdk, Some(url)), script)
}

const GONE: &str = "ResourceNotFoundException";

#[tokio::test]
async fn case_90_a_table_that_is_being_deleted_is_made_anew_once_it_is_gone() {
    let answers = [
        "DELETING", // told
        GONE,
        GONE,
        "ResourceInUseException", // gone for this call, and not yet for the next one
        "DELETING",               // told
        GONE,
        GONE,
        "CREATING", // made
        "CREATING", // told
        "UPDATING", // usable
    ];
    let (leases, script) = door(&answers).await;
    let scope = Scope {
        application: "app".to_owned(),
        stream: StreamName::new("s").expect("valid"),
    };
    let mut told = Vec::new();
    loop {
        match leases.prepare(&scope).await {
            Ok(()) => break,
            Err(Error::TableNotReady { status, .. }) => told.push(status),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(told, ["DELETING", "CREATING", "DELETING", "CREATING", "CREATING"]);
    let (describe, copy, create) = (
        "DescribeTable app",
        "DescribeTable app_migration",
        "CreateTable app",
    );
    let asked = [
        describe, describe, copy, create, describe, describe, copy, create, describe, describe,
    ];
    assert_eq!(script.lock().expect("no panic").asked, asked);
}

#[tokio::test]
async fn case_90_a_table_whose_key_is_out_of_reach_is_not_taken_for_a_missing_one() {
    for status in ["INACCESSIBLE_ENCRYPTION_CREDENTIALS", "ARCHIVED"] {
        let (leases, script) = door(&[status, status]).await;
        let scope = Scope {
            application: "app".to_owned(),
            stream: StreamName::new("s").expect("valid"),
        };
        for error in [
            leases.prepare(&scope).await.expect_err("unusable"),
            leases.describe("app").await.expect_err("unusable"),
        ] {
            assert!(matches!(error, Error::TableUnusable { .. }), "{error}");
        }
        assert_eq!(
            script.lock().expect("no panic").asked,
            ["DescribeTable app"; 2],
            "nothing is made"
        );
    }
}
