//! The protocol over real HTTP, as a client meets it.

mod client;
mod errors;
mod evolution;
mod faults;
mod files;
mod limits;
mod pace;
mod pipes;
mod rights;
mod tokens;

use std::time::{Duration, Instant};

use serde_json::json;

use self::client::{Client, body_of, gzip, zstd};
use crate::FaultsFile;

pub(super) fn faults_of(rules: &str) -> FaultsFile {
    FaultsFile::parse(&format!("rules:\n{rules}")).unwrap()
}

pub(super) const SLOW_COMMIT: &str = "  - {service: snowflake, fault: slow_commit, delay: 1h}\n";

#[tokio::test]
async fn login_gives_the_bare_host_and_a_new_token_each_time() {
    let client = Client::start().await;
    let jwt = client.jwt();
    let hostname = client.get("/v2/streaming/hostname", &jwt).await;
    assert_eq!((hostname.status, hostname.text.as_str()), (200, "127.0.0.1"));
    let (one, other) = (client.exchange(&jwt).await, client.exchange(&jwt).await);
    assert_eq!(one.status, 200);
    assert_ne!(one.text, other.text);
    assert_eq!(one.text.split('.').count(), 3, "a JWT");
    for token in [&one.text, &other.text, &jwt] {
        assert_eq!(client.status_with(token, &["C"]).await.status, 200);
    }
}

#[tokio::test]
async fn wrong_or_missing_credentials_are_refused_with_a_code() {
    let client = Client::start().await;
    let refused = client.get("/v2/streaming/hostname", "").await;
    refused.is(401, "390101");
    client.exchange("a.b.c").await.is(401, "390144");
    client.status_with("nonsense", &["C"]).await.is(401, "390303");
    let other_grant = client
        .form("/oauth/token", "grant_type=refresh_token&scope=127.0.0.1")
        .await;
    other_grant.is(400, "unsupported_grant_type");
}

#[tokio::test]
async fn rows_in_each_encoding_are_committed_with_their_token_and_counts() {
    let client = Client::start().await;
    let mut token = client.open("C").await.token();
    let rows = "{\"n\":\"1\"}\n\n{\"n\":\"2\"}\r\n{\"n\":\"3\"}";
    let bodies = [
        ("identity", rows.as_bytes().to_vec()),
        ("zstd", zstd(rows.as_bytes())),
        ("gzip", gzip(rows.as_bytes())),
    ];
    for (number, (encoding, body)) in bodies.into_iter().enumerate() {
        let offset = format!("offset {number}+=&");
        let answer = client
            .append_body("C", &token, &offset, &number.to_string(), encoding, body)
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_ne!(answer.token(), token);
        token = answer.token();
    }
    let status = client.committed("C", "offset 2+=&").await;
    assert_eq!(status["channel_status_code"], "SUCCESS");
    assert_eq!(
        (
            &status["rows_parsed"],
            &status["rows_inserted"],
            &status["rows_error_count"]
        ),
        (&json!(9), &json!(9), &json!(0))
    );
    assert_eq!(client.rows(), 9);
}

#[tokio::test]
async fn bad_lines_are_counted_and_the_others_land() {
    let client = Client::start().await;
    let token = client.open("C").await.token();
    client
        .append("C", &token, "7", "r", "{\"n\":\"1\"}\nnot json\n{\"n\":\"2\"}\n")
        .await;
    let status = client.committed("C", "7").await;
    assert_eq!(
        (
            &status["rows_parsed"],
            &status["rows_inserted"],
            &status["rows_error_count"]
        ),
        (&json!(3), &json!(2), &json!(1))
    );
    assert_eq!(status["last_error_offset_upper_bound"], "7");
    assert!(status["last_error_message"].is_string() && status["last_error_timestamp_ms"].is_i64());
}

#[tokio::test]
async fn open_answer_has_all_fields_the_official_client_needs() {
    let client = Client::start().await;
    let answer = client.open("c1").await.json();
    let status = &answer["channel_status"];
    assert_eq!(status["channel_name"], "c1");
    assert_eq!(
        (&status["database_name"], &status["schema_name"]),
        (&json!("D"), &json!("PUBLIC"))
    );
    assert_eq!(status["pipe_name"], "T-STREAMING");
    for number in [
        "created_on_ms",
        "rows_inserted",
        "rows_parsed",
        "rows_error_count",
    ] {
        assert!(status[number].is_i64(), "{number}");
    }
    for nullable in [
        "last_committed_offset_token",
        "last_error_message",
        "last_error_timestamp_ms",
    ] {
        assert!(status[nullable].is_null(), "{nullable}");
    }
}

#[tokio::test]
async fn second_open_fences_the_first_and_discards_what_was_not_committed() {
    let client = Client::start_with(|options| options.faults = faults_of(SLOW_COMMIT)).await;
    let first = client.open("C").await.token();
    let next = client
        .append("C", &first, "1", "r1", "{\"n\":\"1\"}\n")
        .await
        .token();
    client
        .open_body("C", &json!({"fail_on_uncommitted_rows": true}))
        .await
        .is(409, "ERR_CHANNEL_HAS_UNCOMMITTED_DATA");
    let drop = client
        .delete("C", &json!({"fail_on_uncommitted_rows": true}))
        .await;
    drop.is(409, "ERR_CHANNEL_HAS_UNCOMMITTED_DATA");
    let second = client
        .open_body("C", &json!({"fail_on_uncommitted_rows": false}))
        .await;
    assert!(second.json()["channel_status"]["last_committed_offset_token"].is_null());
    client
        .append("C", &next, "2", "r2", "{\"n\":\"2\"}\n")
        .await
        .is(400, "STALE_CONTINUATION_TOKEN_SEQUENCER");
    client
        .append("C", &second.token(), "3", "r3", "{\"n\":\"3\"}\n")
        .await;
    // The last pass at shutdown commits without delay.
    let client = client.restart().await;
    let status = client.status("C").await;
    assert_eq!(status["last_committed_offset_token"], "3");
    assert_eq!((client.rows(), &status["rows_inserted"]), (1, &json!(1)));
}

#[tokio::test]
async fn open_with_an_offset_token_sets_it() {
    let client = Client::start().await;
    client.open("C").await;
    let answer = client.open_body("C", &json!({"offset_token": "42"})).await.json();
    assert_eq!(answer["channel_status"]["last_committed_offset_token"], "42");
    assert_eq!(client.status("C").await["last_committed_offset_token"], "42");
}

#[tokio::test]
async fn empty_end_token_leaves_the_committed_one() {
    let client = Client::start().await;
    let token = client.open("C").await.token();
    let token = client
        .append("C", &token, "5", "r1", "{\"n\":\"1\"}\n")
        .await
        .token();
    client.append("C", &token, "", "r2", "{\"n\":\"2\"}\n").await;
    client.until("C", |status| status["rows_inserted"] == 2).await;
    assert_eq!(client.status("C").await["last_committed_offset_token"], "5");
}

#[tokio::test]
async fn replayed_append_gets_the_same_answer_and_is_stored_once() {
    let client = Client::start().await;
    let token = client.open("C").await.token();
    let next = client
        .append("C", &token, "1", "r1", "{\"n\":\"1\"}\n")
        .await
        .token();
    assert_eq!(
        client
            .append("C", &token, "1", "r1", "{\"n\":\"1\"}\n")
            .await
            .token(),
        next
    );
    client
        .append("C", &token, "1", "other request", "{\"n\":\"1\"}\n")
        .await
        .is(400, "STALE_CONTINUATION_TOKEN_SEQUENCER");
    client.append("C", &next, "2", "r2", "{\"n\":\"2\"}\n").await;
    client.committed("C", "2").await;
    assert_eq!(client.rows(), 2);
}

#[tokio::test]
async fn continuation_token_rows_and_ports_survive_a_restart() {
    let client = Client::start().await;
    let token = client.open("C").await.token();
    let next = client
        .append("C", &token, "1", "r1", "{\"n\":\"1\"}\n")
        .await
        .token();
    let client = client.restart().await;
    assert_eq!(
        client
            .append("C", &token, "1", "r1", "{\"n\":\"1\"}\n")
            .await
            .token(),
        next,
        "replay"
    );
    client.append("C", &next, "2", "r2", "{\"n\":\"2\"}\n").await;
    client.committed("C", "2").await;
    assert_eq!(client.rows(), 2);
}

#[tokio::test]
async fn unknown_objects_are_404_with_their_code() {
    let client = Client::start().await;
    let empty = json!({});
    let open = |path: &'static str| client.put(path, &empty);
    open("/v2/streaming/databases/NONE/schemas/PUBLIC/pipes/T-STREAMING/channels/C")
        .await
        .is(404, "ERR_DATABASE_DOES_NOT_EXIST_OR_NOT_AUTHORIZED");
    open("/v2/streaming/databases/D/schemas/NONE/pipes/T-STREAMING/channels/C")
        .await
        .is(404, "ERR_DATABASE_DOES_NOT_EXIST_OR_NOT_AUTHORIZED");
    open("/v2/streaming/databases/D/schemas/PUBLIC/pipes/NONE-STREAMING/channels/C")
        .await
        .is(404, "ERR_PIPE_DOES_NOT_EXIST_OR_NOT_AUTHORIZED");
    client
        .append("NONE", "t", "1", "r", "{}")
        .await
        .is(404, "ERR_CHANNEL_DOES_NOT_EXIST_OR_IS_NOT_AUTHORIZED");
    client
        .delete("NONE", &json!({}))
        .await
        .is(404, "ERR_CHANNEL_DOES_NOT_EXIST_OR_IS_NOT_AUTHORIZED");
    client
        .get("/v2/streaming/other", &client.jwt())
        .await
        .is(404, "ERR_UNKNOWN_PATH");
    open("/v2/streaming/databases/d/schemas/public/pipes/t-streaming/channels/C")
        .await
        .is_ok();
}

#[tokio::test]
async fn dropped_channel_is_gone_and_a_new_one_starts_without_token() {
    let client = Client::start().await;
    let token = client.open("C").await.token();
    let next = client
        .append("C", &token, "9", "r", "{\"n\":\"1\"}\n")
        .await
        .token();
    client.committed("C", "9").await;
    let dropped = client.delete("C", &json!({})).await;
    assert_eq!(dropped.json()["last_committed_offset_token"], "9");
    client
        .append("C", &next, "10", "r2", "{}")
        .await
        .is(404, "ERR_CHANNEL_DOES_NOT_EXIST_OR_IS_NOT_AUTHORIZED");
    assert!(client.statuses(&["C"]).await.as_object().unwrap().is_empty());
    let again = client.open("C").await;
    assert!(again.json()["channel_status"]["last_committed_offset_token"].is_null());
    client
        .append("C", &next, "10", "r2", "{}")
        .await
        .is(400, "STALE_CONTINUATION_TOKEN_SEQUENCER");
}

#[tokio::test]
async fn status_keeps_the_spelling_leaves_out_unknown_and_knows_elastic() {
    let client = Client::start().await;
    client.open("Mixed").await;
    let statuses = client.statuses(&["mIXED", "NONE", "ELASTIC"]).await;
    let mut keys: Vec<&String> = statuses.as_object().unwrap().keys().collect();
    keys.sort_unstable();
    assert_eq!(keys, ["ELASTIC", "mIXED"]);
    assert_eq!(statuses["mIXED"]["channel_name"], "Mixed");
    assert_eq!(statuses["ELASTIC"]["channel_status_code"], "SUCCESS");
    let many: Vec<String> = (0..1001).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    client
        .status_with(&client.jwt(), &many)
        .await
        .is(400, "ERR_TOO_MANY_CHANNELS");
}

#[tokio::test]
async fn elastic_channel_takes_rows_without_tokens_on_both_paths() {
    let client = Client::start().await;
    let pipe_path = "/v2/streaming/data/databases/D/schemas/PUBLIC/pipes/T-STREAMING/channels/elastic/rows";
    let table_path = "/v2/streaming/data/databases/D/schemas/PUBLIC/tables/T/rows";
    for (number, path) in [pipe_path, table_path].into_iter().enumerate() {
        let answer = client
            .post_rows(
                &format!("{path}?requestId=e{number}&retryCount=0"),
                "{\"n\":\"1\"}\n",
            )
            .await;
        assert_eq!((answer.status, answer.token().as_str()), (200, ""));
    }
    client
        .until("ELASTIC", |status| status["rows_inserted"] == 2)
        .await;
    let with_token = client
        .post_rows(&format!("{table_path}?requestId=e&continuationToken=x"), "{}\n")
        .await;
    with_token.is(400, "ERR_INVALID_REQUEST");
    client.open("Elastic").await.is(400, "ERR_INVALID_CHANNEL_NAME");
    client
        .delete("ELASTIC", &json!({}))
        .await
        .is(400, "ERR_INVALID_CHANNEL_NAME");
}

#[tokio::test]
async fn replaced_table_has_new_channels_and_old_tokens_die() {
    let client = Client::start().await;
    let token = client.open("C").await.token();
    client.make_table(crate::snowflake::model::CreateMode::OrReplace);
    client
        .append("C", &token, "1", "r", "{}")
        .await
        .is(404, "ERR_CHANNEL_DOES_NOT_EXIST_OR_IS_NOT_AUTHORIZED");
    assert!(client.open("C").await.json()["channel_status"]["last_committed_offset_token"].is_null());
}

#[tokio::test]
async fn pipe_info_names_our_own_address_and_gives_a_key() {
    let client = Client::start().await;
    let body = json!({"generate_new_token": true, "encryption_version": "AES-CTR-128.1"});
    let info = client
        .post(
            "/v2/streaming/databases/D/schemas/PUBLIC/pipes/T-STREAMING:pipe-info",
            &body,
        )
        .await
        .json();
    let https = client
        .addresses()
        .snowflake_https_url
        .trim_start_matches("https://")
        .to_owned();
    for location in ["rowset_stage_location", "durable_stage_location"] {
        assert_eq!(info[location]["storage_endpoint"], https.as_str());
        assert!(info[location]["location"].as_str().unwrap().ends_with('/'));
    }
    let key = info["encryption_info"]["pipe_key"].as_str().unwrap();
    assert_eq!(
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, key)
            .unwrap()
            .len(),
        32
    );
    let telemetry = client
        .post("/telemetry/send/sessionless", &json!({"logs": []}))
        .await;
    assert_eq!(telemetry.json(), json!({"data": "", "success": true}));
}

#[tokio::test]
async fn tls_port_serves_the_same_to_who_trusts_the_certificate() {
    let client = Client::start().await;
    let certificate = std::fs::read(&client.addresses().certificate).unwrap();
    let trusting = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([reqwest::Certificate::from_pem(&certificate).unwrap()])
        .build()
        .unwrap();
    let url = format!("{}/v2/streaming/hostname", client.addresses().snowflake_https_url);
    let answer = trusting.get(&url).bearer_auth(client.jwt()).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "127.0.0.1");
    let stranger = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()
        .unwrap();
    assert!(stranger.get(&url).send().await.is_err());
}

#[tokio::test]
async fn channels_of_a_hundred_clients_commit_side_by_side() {
    let client = Client::start_with(|options| options.commit_interval = Duration::from_millis(20)).await;
    let names: Vec<String> = (0..100).map(|number| format!("C{number}")).collect();
    let one = async |name: &str| {
        let mut token = client.open(name).await.token();
        for number in 1..=5 {
            let rows = body_of(number);
            token = client
                .append(name, &token, &number.to_string(), &number.to_string(), &rows)
                .await
                .token();
        }
    };
    futures::future::join_all(names.iter().map(|name| one(name))).await;
    for name in &names {
        let status = client.committed(name, "5").await;
        assert_eq!(status["rows_inserted"], 15, "{name}");
    }
    assert_eq!(client.rows(), 1500);
}

/// From the 200 of an append into an idle table to a query that sees its row: within 1 s. Measured on the wall clock, so it
/// fails only at five times that.
#[tokio::test]
async fn an_appended_row_is_seen_by_queries_within_a_second_when_idle() {
    let client = Client::start().await;
    let mut token = client.open("C").await.token();
    let mut slowest = Duration::ZERO;
    for number in 1..=5 {
        let offset = number.to_string();
        let answer = client
            .append("C", &token, &offset, &offset, "{\"n\":\"1\"}\n")
            .await;
        token = answer.token();
        let begin = Instant::now();
        client.committed("C", &offset).await;
        let rows = client.sql("SELECT COUNT(*) FROM D.PUBLIC.T").await.unwrap();
        slowest = slowest.max(begin.elapsed());
        assert_eq!(rows, [[Some(offset)]]);
    }
    println!(
        "from an append's answer to a query that sees its row: at most {slowest:?} of 5 times (goal 1 s)"
    );
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
}
