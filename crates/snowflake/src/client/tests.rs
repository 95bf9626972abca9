//! The client against a service that notes what it is sent and answers as told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes as Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use frazil_model::{PausedClock, SeededRandom};

use super::*;
use crate::auth::SecretSource;
use crate::auth::tests::{PASSPHRASE, pem};

const NOON_MS: i64 = 1_700_049_600_000;

/// A request as it came.
#[derive(Debug, Clone)]
struct Seen {
    path: String,
    kind: String,
    bearer: String,
    form: HashMap<String, String>,
}

/// The service: its clock is the test's, off by `ahead_ms`.
struct Service {
    clock: PausedClock,
    ahead_ms: AtomicI64,
    tokens: AtomicU64,
    seen: Mutex<Vec<Seen>>,
    /// Fingerprints whose JWTs are taken; none: any.
    keys: Mutex<Option<Vec<String>>>,
    /// The bearer that is taken, where it is no JWT.
    bearers: Mutex<Vec<String>>,
    /// Statuses of the next answers of `/oauth/token`.
    token_statuses: Mutex<Vec<u16>>,
    /// Scoped tokens up to this number are refused.
    refused_up_to: AtomicU64,
    /// So many calls of the ingest host are told that the pipe has moved.
    failed_over: AtomicU64,
    /// The ingest host that is told.
    ingest: Mutex<String>,
}

impl Service {
    fn now_ms(&self) -> i64 {
        self.clock.wall_ms() + self.ahead_ms.load(Ordering::SeqCst)
    }

    fn seen(&self, path: &str) -> Vec<Seen> {
        let seen = self.seen.lock().expect("no panic");
        seen.iter().filter(|seen| seen.path == path).cloned().collect()
    }

    fn jwt_is_good(&self, token: &str) -> bool {
        let Some(claims) = token
            .split('.')
            .nth(1)
            .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
        else {
            return false;
        };
        let Ok(claims) = serde_json::from_slice::<serde_json::Value>(&claims) else {
            return false;
        };
        let number = |name: &str| claims[name].as_i64().unwrap_or(0);
        let now = self.now_ms() / 1000;
        let keys = self.keys.lock().expect("no panic");
        let issuer = claims["iss"].as_str().unwrap_or_default();
        // Stricter than the service is known to be.
        number("iat") <= now
            && now < number("exp")
            && number("exp") - number("iat") <= 3600
            && keys
                .as_ref()
                .is_none_or(|keys| keys.iter().any(|key| issuer.ends_with(key)))
    }

    fn answer(&self, seen: &Seen) -> (StatusCode, String) {
        let refused = |code: &str| {
            let body = format!(r#"{{"code":"{code}","message":"JWT token is invalid."}}"#);
            (StatusCode::UNAUTHORIZED, body)
        };
        let bearers = self.bearers.lock().expect("no panic").clone();
        let is_known = match seen.kind.as_str() {
            "KEYPAIR_JWT" => self.jwt_is_good(&seen.bearer),
            "OAUTH" if seen.bearer.starts_with("scoped.") => true,
            _ => bearers.contains(&seen.bearer),
        };
        match seen.path.as_str() {
            "/v2/streaming/hostname" if is_known => {
                (StatusCode::OK, self.ingest.lock().expect("no panic").clone())
            }
            "/oauth/token" if is_known => {
                let status = self.token_statuses.lock().expect("no panic").pop();
                if let Some(status) = status {
                    let status = StatusCode::from_u16(status).expect("a status");
                    return (status, String::new());
                }
                let number = self.tokens.fetch_add(1, Ordering::SeqCst) + 1;
                let claims = serde_json::json!({ "exp": self.now_ms() / 1000 + 3600, "n": number });
                let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
                (StatusCode::OK, format!("scoped.{claims}.{number}"))
            }
            "/v2/streaming/hostname" | "/oauth/token" => refused("390144"),
            _ => {
                let number = seen.bearer.rsplit('.').next().and_then(|text| text.parse().ok());
                let expired = URL_SAFE_NO_PAD
                    .decode(seen.bearer.split('.').nth(1).unwrap_or_default())
                    .ok()
                    .and_then(|claims| serde_json::from_slice::<serde_json::Value>(&claims).ok())
                    .is_none_or(|claims| claims["exp"].as_i64() <= Some(self.now_ms() / 1000));
                if expired
                    || number.is_none_or(|number: u64| number <= self.refused_up_to.load(Ordering::SeqCst))
                {
                    return refused("390303");
                }
                let moved = self
                    .failed_over
                    .try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
                if moved.is_ok() {
                    return (StatusCode::GONE, String::new());
                }
                (StatusCode::OK, r#"{"channel_statuses":{}}"#.to_owned())
            }
        }
    }
}

async fn handle(State(service): State<Arc<Service>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body: Body = axum::body::to_bytes(body, 1 << 20).await.expect("a short body");
    let header = |name: &str| {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let seen = Seen {
        path: head.uri.path().to_owned(),
        kind: header("x-snowflake-authorization-token-type"),
        bearer: header("authorization").replacen("Bearer ", "", 1),
        form: url::form_urlencoded::parse(&body).into_owned().collect(),
    };
    service.seen.lock().expect("no panic").push(seen.clone());
    let (status, body) = service.answer(&seen);
    let now = u64::try_from(service.now_ms()).expect("after 1970");
    let mut headers = HeaderMap::new();
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(now));
    headers.insert("date", date.parse().expect("ASCII"));
    (status, headers, body).into_response()
}

struct World {
    clock: PausedClock,
    service: Arc<Service>,
    client: SnowpipeClient,
}

impl World {
    async fn new(authentication: Authentication, ahead_ms: i64) -> Self {
        let clock = PausedClock::at_wall_ms(NOON_MS);
        let service = Arc::new(Service {
            clock: clock.clone(),
            ahead_ms: AtomicI64::new(ahead_ms),
            tokens: AtomicU64::new(0),
            seen: Mutex::default(),
            keys: Mutex::default(),
            bearers: Mutex::new(vec!["pat-one".to_owned()]),
            token_statuses: Mutex::default(),
            refused_up_to: AtomicU64::new(0),
            failed_over: AtomicU64::new(0),
            ingest: Mutex::new("127.0.0.1".to_owned()),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(handle).with_state(Arc::clone(&service));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let config = SnowflakeConfig {
            account: "local".to_owned(),
            user: "ADA".to_owned(),
            role: Some("LOADER".to_owned()),
            authentication,
            url: Some(format!("http://{address}")),
            proxy: None,
            ca_file: None,
            database: "D".to_owned(),
            schema: "S".to_owned(),
            pipe: "T-STREAMING".to_owned(),
        };
        let client = SnowpipeClient::new(config, Arc::new(clock.clone()), Arc::new(SeededRandom::new(7)));
        Self {
            clock,
            service,
            client: client.expect("a client"),
        }
    }

    async fn status(&self) -> Result<(), Error> {
        self.client.channel_status(&["C".to_owned()]).await.map(drop)
    }

    fn tokens(&self) -> usize {
        self.service.seen("/oauth/token").len()
    }
}

fn text(text: &str) -> SecretSource {
    SecretSource::Text(Secret::new(text))
}

fn key_pair(private_key: SecretSource) -> Authentication {
    Authentication::KeyPair {
        private_key,
        passphrase: Some(text(PASSPHRASE)),
    }
}

#[tokio::test]
async fn clocks_ten_minutes_off_cost_one_refused_request_and_no_more() {
    // Ours is ahead of the service's, behind it, so far behind that JWTs are over, and right.
    for (ahead_ms, refused) in [(-600_000, 1), (600_000, 0), (7_200_000, 1), (0, 0)] {
        let world = World::new(key_pair(text(pem!("pkcs8"))), ahead_ms).await;
        world.status().await.expect("the corrected JWT is taken");
        let hosts = world.service.seen("/v2/streaming/hostname").len();
        assert_eq!((hosts, world.tokens()), (1 + refused, 1), "{ahead_ms}");
        let skew = world.client.clock_skew().expect("measured");
        assert!(skew.ahead_ms.abs_diff(-ahead_ms) <= 1000, "{skew:?}");
        // The token lives an hour of the service's: it is renewed five minutes ahead, and used until then.
        let status = "/v2/streaming/databases/D/schemas/S/pipes/T-STREAMING:bulk-channel-status";
        let mut calls = 1;
        for _ in 0..110 {
            world.clock.advance(Duration::from_secs(30)).await;
            world.status().await.expect("no gap");
            calls += 1;
        }
        world.clock.advance(Duration::from_secs(30)).await;
        world.status().await.expect("no gap");
        let renewed = async {
            while world.tokens() < 2 {
                tokio::task::yield_now().await;
            }
        };
        let renewed = tokio::time::timeout(Duration::from_secs(20), renewed).await;
        renewed.expect("the renewal is under way");
        world.status().await.expect("no gap");
        assert_eq!(
            (world.tokens(), world.service.seen(status).len()),
            (2, calls + 2),
            "{ahead_ms}"
        );
        let hosts = world.service.seen("/v2/streaming/hostname").len();
        assert_eq!(hosts, 1 + refused, "the host was found once");
    }
}

#[tokio::test]
async fn a_key_that_is_rotated_in_its_file_is_taken_up_without_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key.p8");
    std::fs::write(&path, pem!("pkcs8-des3")).expect("written");
    let world = World::new(key_pair(SecretSource::File(path.clone())), 0).await;
    world.status().await.expect("the first key");
    let next = crate::auth::tests::other_key();
    let fingerprint = crate::auth::tests::fingerprint(&next);
    // Half of it is there when the token falls due: the old key stays, and still does.
    std::fs::write(&path, &next[..next.len() / 2]).expect("written");
    for _ in 0..2 {
        world.clock.advance(Duration::from_secs(3_600)).await;
        world.status().await.expect("the first key, still");
    }
    assert_eq!(world.tokens(), 3);
    // Now the service takes the new one only.
    *world.service.keys.lock().expect("no panic") = Some(vec![fingerprint.clone()]);
    world.clock.advance(Duration::from_secs(3_600)).await;
    let error = world.status().await.expect_err("the first key is refused");
    assert!(
        matches!(&error, Error::Unauthorized { code, .. } if code == "390144"),
        "{error}"
    );
    // Refused once: the key is no other, so nothing was sent again.
    assert_eq!(world.tokens(), 4);
    std::fs::write(&path, &next).expect("written");
    world.clock.advance(Duration::from_secs(20)).await;
    world.status().await.expect("the second key");
    assert_eq!(world.tokens(), 5);
}

#[tokio::test]
async fn a_key_that_changed_while_its_jwt_was_under_way_is_tried_once_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key.p8");
    std::fs::write(&path, pem!("pkcs8")).expect("written");
    let world = World::new(key_pair(SecretSource::File(path.clone())), 0).await;
    let session = Arc::clone(&world.client.session);
    let next = crate::auth::tests::other_key();
    *world.service.keys.lock().expect("no panic") = Some(vec![crate::auth::tests::fingerprint(&next)]);
    let build = |_: &crate::auth::Proof| {
        // Signed already; the file changes before the answer comes.
        std::fs::write(&path, &next).expect("written");
        session.request(reqwest::Method::GET, "/v2/streaming/hostname", &[])
    };
    let answer = session.ask(build).await.expect("answered");
    assert_eq!(answer.status, 200);
    assert_eq!(world.service.seen("/v2/streaming/hostname").len(), 2);
}

#[tokio::test]
async fn a_refused_scoped_token_is_renewed_once_and_the_call_sent_again() {
    let world = World::new(key_pair(text(pem!("pkcs8"))), 0).await;
    world.status().await.expect("the first token");
    world.service.refused_up_to.store(1, Ordering::SeqCst);
    world.status().await.expect("the second token");
    assert_eq!(world.tokens(), 2);
    world.service.refused_up_to.store(100, Ordering::SeqCst);
    let error = world.status().await.expect_err("refused twice");
    assert_eq!(error.kind(), frazil_model::ErrorKind::ReAuthenticate);
    assert_eq!(world.tokens(), 3);
}

#[tokio::test]
async fn a_pipe_that_has_moved_is_asked_for_again_and_its_channels_are_opened_there() {
    let world = World::new(key_pair(text(pem!("pkcs8"))), 0).await;
    world.status().await.expect("the first host");
    let hosts = || world.service.seen("/v2/streaming/hostname").len();
    assert_eq!(hosts(), 1);
    world.service.failed_over.store(1, Ordering::SeqCst);
    let error = world.status().await.expect_err("it moved");
    assert!(matches!(error, Error::MustReopen { .. }), "{error}");
    world.status().await.expect("the next host");
    assert_eq!((hosts(), world.tokens()), (2, 2));
}

#[tokio::test]
async fn an_ingest_host_that_is_not_reached_is_named() {
    let world = World::new(key_pair(text(pem!("pkcs8"))), 0).await;
    // A port that nobody listens on any more.
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let host = closed.local_addr().expect("an address").to_string();
    drop(closed);
    host.clone_into(&mut world.service.ingest.lock().expect("no panic"));
    let error = world.status().await.expect_err("nobody is there");
    assert!(
        matches!(&error, Error::Unreachable { url, .. } if url.contains(&host)),
        "{error}"
    );
}

#[tokio::test]
async fn renewals_that_fail_leave_the_token_in_use() {
    let world = World::new(key_pair(text(pem!("pkcs8"))), 0).await;
    world.status().await.expect("the first token");
    *world.service.token_statuses.lock().expect("no panic") = vec![503; 1000];
    world.clock.advance(Duration::from_secs(55 * 60)).await;
    for _ in 0..290 {
        world.status().await.expect("still good");
        world.clock.advance(Duration::from_secs(1)).await;
    }
    let tries = world.tokens();
    assert!((10..100).contains(&tries), "{tries}");
    world.clock.advance(Duration::from_secs(30)).await;
    let error = world.status().await.expect_err("over");
    assert!(matches!(error, Error::ServerFault { status: 503, .. }), "{error}");
    world.service.token_statuses.lock().expect("no panic").clear();
    world.clock.advance(Duration::from_secs(20)).await;
    world.status().await.expect("renewed");
}

#[tokio::test]
async fn a_programmatic_access_token_is_exchanged_and_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    std::fs::write(&path, "pat-one\n").expect("written");
    let token = SecretSource::File(path.clone());
    let world = World::new(Authentication::ProgrammaticAccessToken { token }, 0).await;
    world.status().await.expect("taken");
    let seen = world.service.seen("/oauth/token").remove(0);
    assert_eq!(
        (seen.kind.as_str(), seen.bearer.as_str()),
        ("PROGRAMMATIC_ACCESS_TOKEN", "pat-one")
    );
    for (name, value) in [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token_type", "programmatic_access_token"),
        ("subject_token", "pat-one"),
        ("scope", "127.0.0.1 session:role:LOADER"),
    ] {
        assert_eq!(seen.form.get(name).map(String::as_str), Some(value), "{name}");
    }
    // Rotated; the file is empty for a moment.
    *world.service.bearers.lock().expect("no panic") = vec!["pat-two".to_owned(), "pat-one".to_owned()];
    std::fs::write(&path, "").expect("written");
    world.clock.advance(Duration::from_secs(3_600)).await;
    world.status().await.expect("the old one stays");
    std::fs::write(&path, "pat-two").expect("written");
    world.clock.advance(Duration::from_secs(3_600)).await;
    world.status().await.expect("the new one");
    let bearers: Vec<String> = world
        .service
        .seen("/oauth/token")
        .into_iter()
        .map(|seen| seen.bearer)
        .collect();
    assert_eq!(bearers, ["pat-one", "pat-one", "pat-two"]);
    *world.service.bearers.lock().expect("no panic") = Vec::new();
    world.clock.advance(Duration::from_secs(3_600)).await;
    let told = world.status().await.expect_err("refused").to_string();
    assert!(
        told.contains("programmatic access token") && !told.contains("pat-two"),
        "{told}"
    );
}

/// A client of an account at this address, through a proxy.
fn through(url: &str, proxy: &str) -> Result<SnowpipeClient, Error> {
    let config = SnowflakeConfig {
        account: "local".to_owned(),
        user: "ADA".to_owned(),
        role: None,
        authentication: key_pair(text(pem!("pkcs8"))),
        url: Some(url.to_owned()),
        proxy: Some(Secret::new(proxy)),
        ca_file: None,
        database: "D".to_owned(),
        schema: "S".to_owned(),
        pipe: "P".to_owned(),
    };
    assert!(!format!("{config:?}").contains("canary"));
    let clock = Arc::new(frazil_model::SystemClock);
    SnowpipeClient::new(config, clock, Arc::new(SeededRandom::new(7)))
}

#[tokio::test]
async fn everything_that_is_not_on_loopback_goes_through_the_proxy() {
    let proxies = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&proxies);
    let answer = move |request: Request| {
        let to = request.uri().to_string();
        let header = request.headers().get("proxy-authorization").cloned();
        seen.lock().expect("no panic").push((to, header));
        async { (StatusCode::PROXY_AUTHENTICATION_REQUIRED, "") }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let mut told = String::new();
    for url in ["http://account.invalid", "https://account.invalid"] {
        let client = through(url, &format!("http://ada:canary%40x@127.0.0.1:{port}")).expect("a client");
        let error = client
            .channel_status(&["C".to_owned()])
            .await
            .expect_err("refused by the proxy");
        told.push_str(&format!("{error} {error:?} {client:?}"));
    }
    {
        let proxies = proxies.lock().expect("no panic");
        assert_eq!(proxies.len(), 2, "{proxies:?}");
        for (to, header) in &*proxies {
            assert!(to.contains("account.invalid"), "{to}");
            // ada:canary@x
            let header = header.as_ref().and_then(|header| header.to_str().ok());
            assert_eq!(header, Some("Basic YWRhOmNhbmFyeUB4"), "{to}");
        }
    }
    // Nobody listens there; and what is no address.
    let dead = through("https://account.invalid", "http://ada:canary@127.0.0.1:9").expect("a client");
    let error = dead
        .channel_status(&["C".to_owned()])
        .await
        .expect_err("no proxy");
    told.push_str(&format!("{error} {error:?}"));
    for odd in [
        "socks5://ada:canary@h:1",
        "http://canary@",
        "http://h/canary",
        "canary",
    ] {
        let error = through("https://account.invalid", odd).expect_err(odd);
        told.push_str(&format!("{error} {error:?}"));
    }
    assert!(!told.contains("canary") && !told.contains("Y2FuYXJ5"), "{told}");
    // Loopback is reached directly.
    let before = proxies.lock().expect("no panic").len();
    let direct = through("http://127.0.0.1:9", &format!("http://127.0.0.1:{port}")).expect("a client");
    direct
        .channel_status(&["C".to_owned()])
        .await
        .expect_err("nobody listens there");
    assert_eq!(proxies.lock().expect("no panic").len(), before);
}
