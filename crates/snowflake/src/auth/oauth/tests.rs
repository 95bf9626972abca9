//! Against an endpoint that notes what it is asked and answers as told.

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use frazil_model::{ErrorKind, PausedClock};

use super::super::{Authentication, SecretSource};
use super::*;

type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// An endpoint with these answers, last first; its address, and the `Authorization` and the form of each request.
async fn endpoint(answers: Vec<(u16, &'static str)>) -> (String, Asked) {
    let (asked, answers) = (Asked::default(), Arc::new(Mutex::new(answers)));
    let seen = Arc::clone(&asked);
    let answer = move |request: Request| {
        let (seen, answers) = (Arc::clone(&seen), Arc::clone(&answers));
        async move {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1 << 16).await.expect("a short body");
            let header = head.headers["authorization"].to_str().expect("ASCII").to_owned();
            let body = String::from_utf8_lossy(&body).into_owned();
            seen.lock().expect("no panic").push((header, body));
            let (status, body) = answers.lock().expect("no panic").pop().expect("an answer");
            (StatusCode::from_u16(status).expect("a status"), body).into_response()
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = format!("http://{}/token", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    (address, asked)
}

fn tokens(
    endpoint: Option<String>,
    secret: SecretSource,
    refresh: Option<SecretSource>,
) -> Result<AccessTokens, Error> {
    let oauth = OAuth {
        token_endpoint: endpoint,
        client_id: "the id".to_owned(),
        client_secret: secret,
        refresh_token: refresh,
        scope: Some("session:role:R".to_owned()),
    };
    let config = SnowflakeConfig {
        account: "a-b".to_owned(),
        user: "ADA".to_owned(),
        role: None,
        authentication: Authentication::OAuth(oauth.clone()),
        url: None,
        proxy: None,
        ca_file: None,
        database: "D".to_owned(),
        schema: "S".to_owned(),
        pipe: "P".to_owned(),
    };
    let clock = ServiceClock::new(Arc::new(PausedClock::at_wall_ms(1_700_000_000_000)));
    AccessTokens::new(&config, &oauth, &Arc::new(clock))
}

fn text(text: &str) -> SecretSource {
    SecretSource::Text(Secret::new(text))
}

#[tokio::test]
async fn client_credentials_are_asked_for_as_the_standard_says() {
    let (address, asked) = endpoint(vec![
        (200, r#"{"access_token":"opaque"}"#),
        (
            200,
            r#"{"access_token":"a","token_type":"Bearer","expires_in":90}"#,
        ),
    ])
    .await;
    let tokens = tokens(Some(address), text("s:+%"), None).expect("usable");
    let (token, life) = tokens.issue().await.expect("given");
    assert_eq!((token.reveal(), life.as_secs()), ("a", 90));
    // Nothing says how long it lives.
    assert_eq!(tokens.issue().await.expect("given").1, ASSUMED_LIFE);
    let asked = asked.lock().expect("no panic").remove(0);
    // the+id:s%3A%2B%25
    assert_eq!(asked.0, "Basic dGhlK2lkOnMlM0ElMkIlMjU=");
    assert_eq!(asked.1, "grant_type=client_credentials&scope=session%3Arole%3AR");
}

#[tokio::test]
async fn a_refresh_token_is_followed_by_the_one_that_replaces_it_until_the_file_has_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("refresh");
    std::fs::write(&path, "r1\n").expect("written");
    let given = |next: &'static str| (200, next);
    let (address, asked) = endpoint(vec![
        given(r#"{"access_token":"e","expires_in":60}"#),
        given(r#"{"access_token":"d","expires_in":60}"#),
        given(r#"{"access_token":"c","expires_in":60,"refresh_token":"r3"}"#),
        given(r#"{"access_token":"b","expires_in":60,"refresh_token":"r2"}"#),
    ])
    .await;
    let tokens = tokens(Some(address), text("s"), Some(SecretSource::File(path.clone()))).expect("usable");
    for _ in 0..2 {
        tokens.issue().await.expect("given");
    }
    // Nothing in it for a moment: what was read last is used.
    std::fs::write(&path, "").expect("written");
    tokens.issue().await.expect("given");
    std::fs::write(&path, "q1").expect("written");
    tokens.issue().await.expect("given");
    let asked = asked.lock().expect("no panic");
    let used: Vec<&str> = asked
        .iter()
        .filter_map(|(_, form)| {
            form.split('&')
                .find_map(|pair| pair.strip_prefix("refresh_token="))
        })
        .collect();
    assert_eq!(used, ["r1", "r2", "r3", "q1"]);
}

#[tokio::test]
async fn each_refusal_has_its_situation_and_repeats_no_secret() {
    let answers = [
        (
            401,
            r#"{"error":"invalid_client","error_description":"canary-c is wrong"}"#,
            ErrorKind::ReAuthenticate,
        ),
        (
            400,
            r#"{"error":"invalid_grant","message":"canary-r is over"}"#,
            ErrorKind::ReAuthenticate,
        ),
        (400, "canary-c canary-r", ErrorKind::ReAuthenticate),
        (429, "", ErrorKind::SlowDown),
        (503, "canary-c", ErrorKind::Retry),
        (200, r#"{"token":"canary-t"}"#, ErrorKind::Retry),
        (200, "canary-t", ErrorKind::Retry),
    ];
    let replies = answers
        .iter()
        .rev()
        .map(|(status, body, _)| (*status, *body))
        .collect();
    let (address, asked) = endpoint(replies).await;
    let tokens = tokens(Some(address), text("canary-c"), Some(text("canary-r"))).expect("usable");
    for (status, body, kind) in answers {
        let error = tokens.issue().await.map(drop).expect_err(body);
        assert_eq!(error.kind(), kind, "{status} {body}: {error}");
        let told = format!("{error} {error:?}");
        assert!(!told.contains("canary"), "{told}");
    }
    assert_eq!(asked.lock().expect("no panic").len(), 7);
}

#[test]
fn what_cannot_be_used_is_told_at_the_start() {
    for (endpoint, secret, refresh, why) in [
        (None, text("s"), None, "needs a token endpoint"),
        (Some("nowhere".to_owned()), text("s"), None, "is no address"),
        (
            None,
            SecretSource::File("/nowhere/secret".into()),
            Some(text("r")),
            "/nowhere/secret cannot be read",
        ),
        (
            None,
            text("two\nlines"),
            Some(text("r")),
            "`client_secret` is no single line",
        ),
        (None, text("s"), Some(text("")), "`refresh_token` is empty"),
    ] {
        let told = tokens(endpoint, secret, refresh)
            .err()
            .map(|error| error.to_string());
        assert!(
            told.as_ref().is_some_and(|told| told.contains(why)),
            "{why}: {told:?}"
        );
    }
    let own = tokens(None, text("s"), Some(text("r"))).expect("usable");
    assert_eq!(
        own.endpoint.as_str(),
        "https://a-b.snowflakecomputing.com/oauth/token-request"
    );
}

#[test]
fn a_file_without_anything_in_it_may_be_being_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secret");
    for (text, kind) in [
        ("", ErrorKind::Retry),
        ("\n", ErrorKind::Retry),
        ("a\nb\n", ErrorKind::Invalid),
    ] {
        std::fs::write(&path, text).expect("written");
        let source = SecretSource::File(path.clone());
        let error = tokens(Some("http://127.0.0.1:9".to_owned()), source, None).err();
        assert_eq!(error.map(|error| error.kind()), Some(kind), "{text:?}");
    }
}
