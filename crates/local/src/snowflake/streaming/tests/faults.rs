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

#[tokio::test]
async fn fault_throttle_says_when_to_come_again_and_unavailable_is_a_503() {
    let rules = faults(
        "  - {service: snowflake, operation: append_rows, fault: throttle, retry_after: 1500ms, times: 1}
  - {service: snowflake, operation: channel_status, fault: throttle, times: 1}
  - {service: snowflake, operation: open_channel, fault: unavailable, times: 1}
  - {service: snowflake, fault: open_in_progress, times: 1}
",
    );
    let client = Client::start_with(|options| options.faults = rules).await;
    let refused = client.open("C").await;
    refused.is(503, "ERR_GENERAL_EXCEPTION_RETRY_REQUEST");
    assert_eq!(refused.retry_after, None);
    client.open("C").await.is(409, "ERR_OPEN_CHANNEL_IN_PROGRESS");
    let token = client.open("C").await.token();
    let refused = client.append("C", &token, "1", "r1", "{\"n\":\"1\"}\n").await;
    refused.is(429, "ERR_TOO_MANY_REQUESTS");
    assert_eq!(refused.retry_after.as_deref(), Some("2"), "rounded up");
    client
        .append("C", &token, "1", "r1", "{\"n\":\"1\"}\n")
        .await
        .is_ok();
    let status = client.status_with(&client.jwt(), &["C"]).await;
    status.is(429, "ERR_TOO_MANY_REQUESTS");
    assert_eq!(status.retry_after.as_deref(), Some("1"));
    client.committed("C", "1").await;
    assert_eq!(client.rows(), 1, "what was refused had no effect");
}

#[tokio::test]
async fn fault_stale_continuation_refuses_an_append_without_effect() {
    let rules = faults("  - {service: snowflake, fault: stale_continuation, after: 1, times: 1}\n");
    let client = Client::start_with(|options| options.faults = rules).await;
    let token = client.open("C").await.token();
    let next = client
        .append("C", &token, "1", "r1", "{\"n\":\"1\"}\n")
        .await
        .token();
    client
        .append("C", &next, "2", "r2", "{\"n\":\"2\"}\n")
        .await
        .is(400, "STALE_CONTINUATION_TOKEN_SEQUENCER");
    client
        .append("C", &next, "2", "r3", "{\"n\":\"2\"}\n")
        .await
        .is_ok();
    client.committed("C", "2").await;
    assert_eq!(client.rows(), 2);
}

#[tokio::test]
async fn fault_invalidate_channel_lasts_until_this_channel_is_opened_again() {
    let rules =
        faults("  - {service: snowflake, operation: append_rows, fault: invalidate_channel, times: 1}\n");
    let client = Client::start_with(|options| options.faults = rules).await;
    let token = client.open("C").await.token();
    let other = client.open("D").await.token();
    for request in ["r1", "r2", "r3"] {
        client
            .append("C", &token, "1", request, "{\"n\":\"1\"}\n")
            .await
            .is(409, "ERR_CHANNEL_MUST_BE_REOPENED");
    }
    client
        .append("D", &other, "1", "r1", "{\"n\":\"2\"}\n")
        .await
        .is_ok();
    client.committed("D", "1").await;
    client
        .append("C", &token, "1", "r4", "{\"n\":\"1\"}\n")
        .await
        .is(409, "ERR_CHANNEL_MUST_BE_REOPENED");
    let token = client.open("c").await.token();
    client
        .append("C", &token, "1", "r5", "{\"n\":\"1\"}\n")
        .await
        .is_ok();
    client.committed("C", "1").await;
    assert_eq!(client.rows(), 2);
}

#[tokio::test]
async fn fault_expire_token_refuses_it_until_a_new_one_is_fetched() {
    let rules =
        faults("  - {service: snowflake, operation: channel_status, fault: expire_token, times: 1}\n");
    let client = Client::start_with(|options| options.faults = rules).await;
    let jwt = client.jwt();
    let token = client.exchange(&jwt).await.text;
    for _ in 0..3 {
        client.status_with(&token, &["C"]).await.is(401, "390318");
    }
    let new = client.exchange(&jwt).await.text;
    client.status_with(&new, &["C"]).await.is_ok();
    client.status_with(&token, &["C"]).await.is(401, "390318");
}

#[tokio::test]
async fn fault_invalidate_channel_is_told_by_status_with_its_code_and_nothing_more_is_committed() {
    let rules = faults(&format!(
        "  - {{service: snowflake, operation: channel_status, fault: invalidate_channel, code: ERR_X, after: 1, times: 1}}
{SLOW_COMMIT}"
    ));
    let client = Client::start_with(|options| options.faults = rules).await;
    let token = client.open("C").await.token();
    let next = client
        .append("C", &token, "1", "r1", "{\"n\":\"1\"}\n")
        .await
        .token();
    assert_eq!(client.status("C").await["channel_status_code"], "SUCCESS");
    assert_eq!(client.status("C").await["channel_status_code"], "ERR_X");
    assert_eq!(client.status("C").await["channel_status_code"], "ERR_X");
    client
        .append("C", &next, "2", "r2", "{\"n\":\"2\"}\n")
        .await
        .is(409, "ERR_X");
    client.open("C").await.is_ok();
    let status = client.status("C").await;
    assert_eq!(status["channel_status_code"], "SUCCESS");
    assert!(status["last_committed_offset_token"].is_null(), "{status}");
}

#[tokio::test]
async fn fault_take_channel_opens_it_as_another_client_would() {
    let rules =
        faults("  - {service: snowflake, operation: append_rows, fault: take_channel, after: 1, times: 1}\n");
    let client = Client::start_with(|options| options.faults = rules).await;
    let token = client.open("C").await.token();
    let next = client
        .append("C", &token, "1", "r1", "{\"n\":\"1\"}\n")
        .await
        .token();
    client.committed("C", "1").await;
    for request in ["r2", "r3"] {
        client
            .append("C", &next, "2", request, "{\"n\":\"2\"}\n")
            .await
            .is(400, "STALE_CONTINUATION_TOKEN_SEQUENCER");
    }
    let token = client.open("C").await.token();
    client
        .append("C", &token, "2", "r4", "{\"n\":\"2\"}\n")
        .await
        .is_ok();
    client.committed("C", "2").await;
    assert_eq!(client.rows(), 2);
}

#[tokio::test]
async fn fault_remove_channel_takes_it_away_with_its_token() {
    let rules = faults(
        "  - {service: snowflake, operation: append_rows, fault: remove_channel, after: 1, times: 1}
  - {service: snowflake, operation: channel_status, fault: remove_channel, after: 1000, times: 1}\n",
    );
    let client = Client::start_with(|options| options.faults = rules).await;
    let token = client.open("C").await.token();
    let next = client
        .append("C", &token, "1", "r1", "{\"n\":\"1\"}\n")
        .await
        .token();
    let before = client.committed("C", "1").await;
    client
        .append("C", &next, "2", "r2", "{\"n\":\"2\"}\n")
        .await
        .is(404, "ERR_CHANNEL_DOES_NOT_EXIST_OR_IS_NOT_AUTHORIZED");
    client.open("C").await.is_ok();
    let status = client.status("C").await;
    assert!(status["last_committed_offset_token"].is_null(), "{status}");
    assert_eq!(
        (&before["rows_inserted"], &status["rows_inserted"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(client.rows(), 1, "the table keeps its rows");
}

#[tokio::test]
async fn fault_lost_request_has_neither_effect_nor_answer() {
    let rules = faults("  - {service: snowflake, operation: append_rows, fault: lost_request, times: 1}\n");
    let client = Client::start_with(|options| options.faults = rules).await;
    let token = client.open("C").await.token();
    let lost = client.try_append("C", &token, "1", "r1", "{\"n\":\"1\"}\n").await;
    assert!(lost.is_err(), "no answer");
    client
        .append("C", &token, "2", "r2", "{\"n\":\"2\"}\n")
        .await
        .is_ok();
    client.committed("C", "2").await;
    assert_eq!(client.rows(), 1, "the lost request had an effect");
}
