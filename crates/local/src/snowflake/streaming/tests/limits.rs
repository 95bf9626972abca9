//! Bodies and rates over the limits.

use super::*;

#[tokio::test]
async fn bodies_over_the_limits_or_damaged_are_refused() {
    let client = Client::start().await;
    let token = client.open("C").await.token();
    let wire = vec![b' '; super::super::BODY_LIMIT + 1];
    client
        .append_body("C", &token, "1", "r", "identity", wire)
        .await
        .is(413, "ERR_REQUEST_TOO_LARGE");
    let bomb = zstd(&vec![b' '; 16 * 1024 * 1024 + 1]);
    client
        .append_body("C", &token, "1", "r", "zstd", bomb)
        .await
        .is(413, "ERR_REQUEST_TOO_LARGE");
    let cut = zstd(b"{\"n\":\"1\"}\n");
    client
        .append_body("C", &token, "1", "r", "zstd", cut[..9].to_vec())
        .await
        .is(400, "ERR_INVALID_COMPRESSION");
    client
        .append_body("C", &token, "1", "r", "br", vec![1])
        .await
        .is(415, "ERR_UNSUPPORTED_ENCODING");
    let fits = zstd(&vec![b' '; 16 * 1024 * 1024]);
    assert_eq!(
        client
            .append_body("C", &token, "1", "r", "zstd", fits)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn channel_over_its_rate_gets_429_without_effect_unless_limits_are_off() {
    let client = Client::start().await;
    let mut token = client.open("C").await.token();
    let mut refused = None;
    for number in 0..200 {
        let answer = client
            .append(
                "C",
                &token,
                &number.to_string(),
                &number.to_string(),
                "{\"n\":\"1\"}\n",
            )
            .await;
        if answer.status == 429 {
            refused = Some(number);
            break;
        }
        token = answer.token();
    }
    assert!(refused.is_some_and(|number| number >= 20), "{refused:?}");

    let client = Client::start_with(|options| options.enforce_limits = false).await;
    let mut token = client.open("C").await.token();
    for number in 0..100 {
        token = client
            .append("C", &token, "1", &number.to_string(), "{\"n\":\"1\"}\n")
            .await
            .token();
    }
}
