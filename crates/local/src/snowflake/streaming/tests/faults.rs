//! The faults as a client meets them.

use serde_json::json;

use super::client::Client;
use super::{SLOW_COMMIT, faults_of as faults};

#[tokio::test]
async fn fault_stale_on_replay_answers_a_replay_as_stale() {
    let rules = faults("  - {service: snowflake, fault: stale_on_replay}\n");
    let client = Client::start_with(|options| options.faults = rules).await;
    let token = client.open("C").await.token();
    client.append("C", &token, "1", "r1", "{\"n\":\"1\"}\n").await;
    client
        .append("C", &token, "1", "r1", "{\"n\":\"1\"}\n")
        .await
        .is(400, "STALE_CONTINUATION_TOKEN_SEQUENCER");
}

#[tokio::test]
async fn fault_lost_answer_has_its_effect_and_the_replay_finds_it() {
    let rules = faults("  - {service: snowflake, operation: append_rows, fault: lost_answer, times: 1}\n");
    let client = Client::start_with(|options| options.faults = rules).await;
    let token = client.open("C").await.token();
    assert!(
        client
            .try_append("C", &token, "1", "r1", "{\"n\":\"1\"}\n")
            .await
            .is_err(),
        "no answer"
    );
    client.committed("C", "1").await;
    assert_eq!(
        client
            .append("C", &token, "1", "r1", "{\"n\":\"1\"}\n")
            .await
            .status,
        200
    );
    assert_eq!(client.rows(), 1);
}

#[tokio::test]
async fn fault_error_answers_with_its_status_and_code() {
    let rule = "  - {service: snowflake, operation: open_channel, fault: error, status: 503, code: ERR_X, times: 1}\n";
    let client = Client::start_with(|options| options.faults = faults(rule)).await;
    client.open("C").await.is(503, "ERR_X");
    assert_eq!(client.open("C").await.status, 200);
}

#[tokio::test]
async fn fault_late_counters_shows_the_token_before_its_counts() {
    let rules =
        faults("  - {service: snowflake, operation: channel_status, fault: late_counters, delay: 1h}\n");
    let client = Client::start_with(|options| options.faults = rules).await;
    let token = client.open("C").await.token();
    client.append("C", &token, "1", "r1", "{\"n\":\"1\"}\n").await;
    let status = client.committed("C", "1").await;
    assert_eq!(
        (&status["rows_parsed"], &status["rows_inserted"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(client.rows(), 1);
}

#[tokio::test]
async fn fault_lose_accepted_loses_over_a_restart_what_is_not_committed() {
    let rules = faults(&format!(
        "  - {{service: snowflake, fault: lose_accepted}}\n{SLOW_COMMIT}"
    ));
    let client = Client::start_with(|options| options.faults = rules).await;
    let token = client.open("C").await.token();
    let next = client
        .append("C", &token, "1", "r1", "{\"n\":\"1\"}\n")
        .await
        .token();
    let client = client.restart().await;
    client
        .append("C", &next, "2", "r2", "{\"n\":\"2\"}\n")
        .await
        .is(400, "STALE_CONTINUATION_TOKEN_SEQUENCER");
    assert!(client.status("C").await["last_committed_offset_token"].is_null());
    assert_eq!(client.rows(), 0);
}
