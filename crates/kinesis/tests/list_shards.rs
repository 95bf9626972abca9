//! A list of shards that comes in pages, over HTTP, from a server that keeps the service's rules of tokens.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use frazil_kinesis::aws::{Aws, CredentialsSource, Reach};
use frazil_kinesis::{Error, Kinesis, KinesisClient};
use frazil_model::{Clock, ErrorKind, Secret, StreamName, SystemClock};
use serde_json::{Value, json};

/// Shards on a page at most (Kinesis API reference, `ListShards`).
const PAGE: usize = 1000;

#[derive(Default)]
struct Server {
    shards: usize,
    /// The first shard of each page that was asked for.
    pages: Vec<usize>,
    /// The token of this page has expired, so many times.
    expires: Option<(usize, u32)>,
    /// Each page begins so many shards before the end of the one before it.
    overlap: usize,
    /// A page is never the last.
    endless: bool,
    /// Requests that name both the stream and a token, which the service refuses.
    refused: u32,
}

type Shared = Arc<Mutex<Server>>;

fn shard(index: usize) -> Value {
    json!({
        "ShardId": format!("shardId-{index:012}"),
        "HashKeyRange": { "StartingHashKey": "0", "EndingHashKey": "9" },
        "SequenceNumberRange": { "StartingSequenceNumber": "1" },
    })
}

async fn answer(State(server): State<Shared>, body: String) -> Response {
    let mut server = server.lock().expect("no panic");
    let asked: Value = serde_json::from_str(&body).expect("JSON");
    let token = asked["NextToken"].as_str();
    if token.is_some() == asked["StreamName"].is_string() {
        server.refused += 1;
        return error("InvalidArgumentException");
    }
    let from = token.map_or(0, |token| token.parse().expect("a token of this server"));
    server.pages.push(from);
    if let Some((page, left)) = &mut server.expires
        && *page == from
        && *left > 0
    {
        *left -= 1;
        return error("ExpiredNextTokenException");
    }
    let end = (from + PAGE).min(server.shards);
    let shards: Vec<Value> = (from..end).map(shard).collect();
    let next = if server.endless {
        Some("0".to_owned())
    } else {
        (end < server.shards).then(|| (end - server.overlap).to_string())
    };
    Json(json!({ "Shards": shards, "NextToken": next })).into_response()
}

fn error(code: &str) -> Response {
    let body = json!({ "__type": code, "message": "scripted" });
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

async fn client(server: Server) -> (KinesisClient, Shared) {
    let shared = Arc::new(Mutex::new(server));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let router = Router::new().route("/", post(answer)).with_state(shared.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let source = CredentialsSource::Static {
        access_key_id: "local".to_owned(),
        secret_access_key: Secret::new("local"),
        session_token: None,
    };
    let endpoint = Some(endpoint.as_str());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let aws = Aws::new(Reach::region("eu-central-1"), &source, &[endpoint], &clock);
    let aws = aws.expect("nothing odd");
    let name = StreamName::new("s").expect("a name");
    let client = KinesisClient::new(&aws, name, None, endpoint, clock);
    (client.expect("a client"), shared)
}

#[tokio::test]
async fn case_24_every_page_of_2500_shards_is_read_and_1001_take_two() {
    for (shards, pages) in [(2500, &[0, 1000, 2000][..]), (1001, &[0, 1000]), (1000, &[0])] {
        let server = Server {
            shards,
            ..Server::default()
        };
        let (client, server) = client(server).await;
        assert_eq!(client.list_shards().await.expect("whole").len(), shards);
        let server = server.lock().expect("no panic");
        assert_eq!((&server.pages[..], server.refused), (pages, 0));
    }
}

#[tokio::test]
async fn case_24_a_list_whose_token_expired_is_no_list_and_begins_anew() {
    let server = Server {
        shards: 1500,
        expires: Some((1000, 1)),
        ..Server::default()
    };
    let (client, _) = client(server).await;
    let failed = client
        .list_shards()
        .await
        .expect_err("a part of the shards is no list");
    assert!(matches!(failed, Error::ExpiredPages { .. }), "{failed:?}");
    assert_eq!(failed.kind(), ErrorKind::Retry);
    assert_eq!(client.list_shards().await.expect("whole").len(), 1500);
}

#[tokio::test]
async fn case_24_pages_that_overlap_name_each_shard_once() {
    let server = Server {
        shards: 1500,
        overlap: 10,
        ..Server::default()
    };
    let (client, server) = client(server).await;
    let shards = client.list_shards().await.expect("whole");
    assert_eq!(shards.len(), 1500);
    assert_eq!(server.lock().expect("no panic").pages, [0, 990]);
}

#[tokio::test]
async fn case_24_pages_without_end_are_given_up() {
    let server = Server {
        shards: 1,
        endless: true,
        ..Server::default()
    };
    let (client, server) = client(server).await;
    let failed = client.list_shards().await.expect_err("it does not end");
    assert!(matches!(failed, Error::BadAnswer { .. }), "{failed:?}");
    assert!(server.lock().expect("no panic").pages.len() >= 1000);
}
