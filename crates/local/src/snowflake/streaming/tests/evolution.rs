//! Schema evolution as a client meets it.

use std::collections::BTreeSet;

use super::client::Client;
use crate::snowflake::catalog::PipeLookup;

/// Payloads whose keys differ from one to the next.
const WEBHOOKS: &str = include_str!("../../../../../../testdata/github-webhooks.ndjson");

fn columns(client: &Client) -> Vec<String> {
    client
        .table()
        .columns
        .into_iter()
        .map(|column| column.name)
        .collect()
}

#[tokio::test]
async fn new_key_becomes_a_column_where_evolution_is_on_and_is_ignored_elsewhere() {
    let client = Client::start().await;
    let token = client.open("C").await.token();
    let token = client
        .append("C", &token, "1", "r1", "{\"n\":\"1\",\"depth\":7}\n")
        .await
        .token();
    client.committed("C", "1").await;
    assert_eq!(columns(&client), ["N"]);

    let evolve = |table: &mut crate::snowflake::model::TableDef| {
        table.schema_evolution = true;
        Ok::<(), crate::Error>(())
    };
    client.catalog().alter_table(client.table().id, evolve).unwrap();
    client
        .append(
            "C",
            &token,
            "2",
            "r2",
            "{\"n\":\"1\",\"depth\":7}\n{\"n\":\"2\"}\n",
        )
        .await;
    let status = client.committed("C", "2").await;
    assert_eq!(columns(&client), ["N", "DEPTH"]);
    assert_eq!(status["rows_inserted"], 3);
}

#[tokio::test]
async fn evolved_table_is_the_same_after_a_restart_and_goes_on() {
    let client = Client::start().await;
    let evolve = |table: &mut crate::snowflake::model::TableDef| {
        table.schema_evolution = true;
        Ok::<(), crate::Error>(())
    };
    client.catalog().alter_table(client.table().id, evolve).unwrap();
    let token = client.open("C").await.token();
    let token = client
        .append("C", &token, "1", "r1", "{\"a\":1,\"b\":{\"c\":[1]}}\n")
        .await
        .token();
    client.committed("C", "1").await;
    let before = client.table();
    let client = client.restart().await;
    assert_eq!(client.table(), before);
    client
        .append("C", &token, "2", "r2", "{\"a\":2,\"d\":true}\n")
        .await;
    client.committed("C", "2").await;
    assert_eq!(columns(&client).len(), 4);
    assert_eq!(client.rows(), 2);
}

/// The same client, whose table evolves.
async fn evolving() -> Client {
    let client = Client::start_with(|options| options.enforce_limits = false).await;
    client
        .sql("ALTER TABLE T SET ENABLE_SCHEMA_EVOLUTION = TRUE")
        .await
        .unwrap();
    client
}

#[tokio::test]
async fn webhooks_of_many_kinds_make_a_column_of_each_key() {
    let client = evolving().await;
    let keys: BTreeSet<String> = WEBHOOKS
        .lines()
        .flat_map(|line| {
            let event: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
            event.into_iter().map(|(key, _)| key.to_uppercase())
        })
        .collect();
    assert!(keys.len() >= 50, "{} keys", keys.len());
    let mut token = client.open("C").await.token();
    for (number, line) in WEBHOOKS.lines().enumerate() {
        let offset = number.to_string();
        token = client
            .append("C", &token, &offset, &offset, &format!("{line}\n"))
            .await
            .token();
    }
    let last = (WEBHOOKS.lines().count() - 1).to_string();
    let status = client.committed("C", &last).await;
    assert_eq!(status["rows_error_count"], 0, "{status}");
    let mut there: BTreeSet<String> = columns(&client).into_iter().collect();
    assert!(there.remove("N"));
    assert_eq!(there, keys);
    let rows = client
        .sql("SELECT COUNT(*), COUNT(SENDER:login::VARCHAR) FROM T")
        .await
        .unwrap();
    let senders = WEBHOOKS.lines().filter(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        event["sender"]["login"].is_string()
    });
    let counts = [WEBHOOKS.lines().count(), senders.count()].map(|count| Some(count.to_string()));
    assert_eq!(rows[0], counts);
}

#[tokio::test]
async fn a_record_of_150_keys_invalidates_its_channel_each_time_it_comes() {
    let client = evolving().await;
    let keys: Vec<String> = (0..150)
        .map(|number| format!("\"key{number}\":{number}"))
        .collect();
    let wide = format!("{{{}}}\n", keys.join(","));
    let token = client.open("C").await.token();
    let token = client
        .append("C", &token, "1", "r1", "{\"n\":\"1\"}\n")
        .await
        .token();
    client.committed("C", "1").await;
    let mut token = token;
    for request in ["r2", "r3"] {
        client.append("C", &token, "2", request, &wide).await.is_ok();
        let status = client
            .until("C", |status| status["channel_status_code"] != "SUCCESS")
            .await;
        assert_eq!(status["last_committed_offset_token"], "1", "{status}");
        let code = status["channel_status_code"].as_str().unwrap();
        client
            .append("C", &token, "3", "later", "{}\n")
            .await
            .is(409, code);
        token = client.open_body("C", &serde_json::json!({})).await.token();
    }
    assert_eq!(columns(&client), ["N"]);
    // Other data go through the channel that was opened again.
    client
        .append("C", &token, "4", "r4", "{\"n\":\"2\",\"more\":true}\n")
        .await
        .is_ok();
    client.committed("C", "4").await;
    assert_eq!(columns(&client), ["N", "MORE"]);
    assert_eq!(client.rows(), 2);
}

#[tokio::test]
async fn a_pipe_takes_2000_channels_and_those_can_be_opened_again() {
    let client = Client::start().await;
    let first = client.open("C").await.token();
    client.catalog().no_sync();
    let PipeLookup::Found(pipe) = client.catalog().pipe("D", "PUBLIC", "T-STREAMING").unwrap() else {
        panic!()
    };
    for number in 1..2000 {
        let name = format!("C{number}");
        client.catalog().open_channel(&pipe, &name, &name, None).unwrap();
    }
    client.open("ONE_MORE").await.is(400, "ERR_TOO_MANY_CHANNELS");
    assert_ne!(client.open("C").await.token(), first);
    client.delete("C7", &serde_json::json!({})).await.is_ok();
    client.open("ONE_MORE").await.is_ok();
}
