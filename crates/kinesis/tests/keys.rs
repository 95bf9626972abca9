//! Keys that are refused or rotated while a worker runs, over HTTP: a service that takes some keys and not others, and a token
//! service beside it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use frazil_kinesis::aws::{Aws, CredentialsSource, Reach, Role};
use frazil_kinesis::{Error, Kinesis, KinesisClient, NewRecord, Producer, ShardIterator, StartAt};
use frazil_model::{Clock, ErrorKind, PausedClock, Secret, SeededRandom, ShardId, StreamName, SystemClock};

#[derive(Default)]
struct Server {
    /// Access key ids that are taken.
    taken: BTreeSet<String>,
    /// Calls, and the access key id each was signed with (the token, for a bearer).
    calls: Vec<(String, String)>,
    /// Keys of a role that were given out.
    given: u32,
    /// How long they hold.
    holds: Duration,
}

type Shared = Arc<Mutex<Server>>;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(SystemClock.wall_ms().unsigned_abs())
}

async fn answer(State(server): State<Shared>, headers: HeaderMap, body: String) -> Response {
    let mut server = server.lock().expect("no panic");
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let between = |text: &str, from: &str, to: char| {
        let rest = text.split_once(from)?.1;
        Some(rest.split(to).next().unwrap_or_default().to_owned())
    };
    let id = header("authorization").and_then(|text| between(text, "Credential=", '/'));
    let Some(target) = header("x-amz-target") else {
        let action = between(&body, "Action=", '&').expect("an action");
        let who = id
            .clone()
            .or_else(|| between(&body, "WebIdentityToken=", '&'))
            .expect("somebody");
        server.calls.push((action.clone(), who));
        if id.is_some_and(|id| !server.taken.contains(&id)) {
            let body = "<ErrorResponse><Error><Type>Sender</Type><Code>ExpiredToken</Code><Message>m</Message></Error></ErrorResponse>";
            return (StatusCode::FORBIDDEN, body).into_response();
        }
        server.given += 1;
        let end = aws_sdk_sts::primitives::DateTime::from(now() + server.holds);
        let end = end
            .fmt(aws_sdk_sts::primitives::DateTimeFormat::DateTime)
            .expect("a moment");
        return format!(
            "<{action}Response><{action}Result><Credentials><AccessKeyId>ROLE{}</AccessKeyId>\
             <SecretAccessKey>canary</SecretAccessKey><SessionToken>canary</SessionToken><Expiration>{end}</Expiration>\
             </Credentials></{action}Result></{action}Response>",
            server.given
        )
        .into_response();
    };
    let (call, id) = (
        target.rsplit('.').next().expect("a call").to_owned(),
        id.expect("signed"),
    );
    server.calls.push((call.clone(), id.clone()));
    let (status, body) = if server.taken.contains(&id) {
        let body = match call.as_str() {
            "GetRecords" => r#"{"Records":[],"MillisBehindLatest":0,"NextShardIterator":"i"}"#,
            "ListShards" => r#"{"Shards":[]}"#,
            "GetShardIterator" => r#"{"ShardIterator":"i"}"#,
            "PutRecords" => {
                r#"{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ShardId":"shardId-0"}]}"#
            }
            _ => "{}",
        };
        (StatusCode::OK, body)
    } else {
        let body = r#"{"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}"#;
        (StatusCode::BAD_REQUEST, body)
    };
    (status, [("content-type", "application/x-amz-json-1.1")], body).into_response()
}

/// A server, clients of it, and their time.
struct Stage {
    server: Shared,
    url: String,
    clock: Arc<PausedClock>,
}

impl Stage {
    async fn new(taken: &[&str]) -> Self {
        let server = Server {
            taken: taken.iter().map(ToString::to_string).collect(),
            holds: Duration::from_secs(3600),
            ..Server::default()
        };
        let server = Arc::new(Mutex::new(server));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let router = Router::new().route("/", post(answer)).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let clock = Arc::new(PausedClock::at_wall_ms(SystemClock.wall_ms()));
        Self { server, url, clock }
    }

    fn aws(&self, source: &CredentialsSource) -> Aws {
        let clock: Arc<dyn Clock> = Arc::<PausedClock>::clone(&self.clock);
        Aws::new(Reach::region("eu-central-1"), source, &[Some(&self.url)], &clock).expect("usable")
    }

    fn client(&self, aws: &Aws) -> KinesisClient {
        let stream = StreamName::new("s").expect("a name");
        let clock = Arc::<PausedClock>::clone(&self.clock);
        KinesisClient::new(aws, stream, None, Some(&self.url), clock).expect("a client")
    }

    fn role(&self) -> Role {
        Role {
            arn: "arn:aws:iam::123456789012:role/reader".to_owned(),
            external_id: None,
            session_name: "frazil".to_owned(),
            sts_endpoint: Some(self.url.clone()),
        }
    }

    /// From here on these keys are taken, and no other.
    fn takes(&self, taken: &[&str]) {
        self.server.lock().expect("no panic").taken = taken.iter().map(ToString::to_string).collect();
    }

    /// The calls since the last time, as `call by id`.
    fn calls(&self) -> Vec<String> {
        let calls = std::mem::take(&mut self.server.lock().expect("no panic").calls);
        calls
            .into_iter()
            .map(|(call, id)| format!("{call} by {id}"))
            .collect()
    }
}

/// A place for files, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("frazil-keys-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn get_records(kinesis: &KinesisClient) -> Result<(), Error> {
    let page = kinesis.get_records(&ShardIterator::new("i"), 10, 1 << 20).await;
    page.map(drop)
}

#[tokio::test]
async fn case_44_a_refused_session_is_replaced_within_the_call_by_every_client() {
    let stage = Stage::new(&["ROLE1"]).await;
    let folder = Folder::new("bearer");
    let token_file = folder.write("token", "first\n");
    let source = CredentialsSource::WebIdentity {
        token_file: token_file.clone(),
        role: stage.role(),
    };
    let aws = stage.aws(&source);
    let kinesis = stage.client(&aws);
    kinesis.list_shards().await.expect("taken");
    get_records(&kinesis).await.expect("taken");
    let bearer = "AssumeRoleWithWebIdentity by";
    let first = [
        format!("{bearer} first"),
        "ListShards by ROLE1".to_owned(),
        "GetRecords by ROLE1".to_owned(),
    ];
    assert_eq!(stage.calls(), first, "one cache for all clients");

    folder.write("token", "second");
    stage.takes(&["ROLE2"]);
    get_records(&kinesis).await.expect("renewed and sent again");
    kinesis
        .list_shards()
        .await
        .expect("the SDK's client knows them, too");
    let second = [
        "GetRecords by ROLE1".to_owned(),
        format!("{bearer} second"),
        "GetRecords by ROLE2".to_owned(),
        "ListShards by ROLE2".to_owned(),
    ];
    assert_eq!(stage.calls(), second);

    for call in ["ListShards", "SubscribeToShard", "PutRecords", "GetShardIterator"] {
        stage.clock.advance(Duration::from_secs(10)).await;
        let next = format!("ROLE{}", stage.server.lock().expect("no panic").given + 1);
        stage.takes(&[&next]);
        let shard = ShardId::new("shardId-000000000000").expect("an id");
        match call {
            "ListShards" => kinesis.list_shards().await.map(drop).expect("renewed"),
            // The service here knows no events; that it was asked with other keys is enough.
            "SubscribeToShard" => drop(kinesis.subscribe("arn:c", &shard, &StartAt::TrimHorizon).await),
            "GetShardIterator" => {
                let iterator = kinesis.shard_iterator(&shard, &StartAt::TrimHorizon).await;
                iterator.map(drop).expect("renewed");
            }
            _ => {
                let (clock, random) = (Arc::clone(&stage.clock), Arc::new(SeededRandom::new(1)));
                let stream = StreamName::new("s").expect("a name");
                let producer = Producer::new(&aws, stream, None, Some(&stage.url), clock, random);
                let record = NewRecord {
                    key: "k".to_owned(),
                    data: Vec::new(),
                };
                let put = producer.expect("usable").put(&[record]).await;
                assert_eq!(put.expect("renewed").len(), 1);
            }
        }
        let calls = stage.calls();
        assert_eq!(calls.len(), 3, "{calls:?}");
        assert_eq!(calls[2], format!("{call} by {next}"));
    }
}

#[tokio::test]
async fn case_44_keys_that_stay_refused_are_an_error_and_no_storm() {
    let stage = Stage::new(&[]).await;
    let folder = Folder::new("refused");
    let source = CredentialsSource::WebIdentity {
        token_file: folder.write("token", "t"),
        role: stage.role(),
    };
    let aws = stage.aws(&source);
    let kinesis = stage.client(&aws);
    for _ in 0..10 {
        let error = get_records(&kinesis).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::ReAuthenticate);
        assert!(error.to_string().contains("ExpiredTokenException"), "{error}");
        let error = kinesis.list_shards().await.expect_err("refused").to_string();
        assert!(!error.contains("canary"), "{error}");
    }
    let calls = stage.calls();
    let asked = calls.iter().filter(|call| call.starts_with("Assume")).count();
    assert_eq!((asked, calls.len()), (2, 23), "{calls:?}");
    stage.takes(&["ROLE3"]);
    stage.clock.advance(Duration::from_secs(5)).await;
    get_records(&kinesis).await.expect("found when they were there");
    assert_eq!(aws.keys().edition(), 3);
}

#[tokio::test]
async fn case_44_configured_keys_that_are_refused_are_told_at_once() {
    let stage = Stage::new(&[]).await;
    let source = CredentialsSource::Static {
        access_key_id: "FIXED".to_owned(),
        secret_access_key: Secret::new("canary"),
        session_token: None,
    };
    let kinesis = stage.client(&stage.aws(&source));
    let error = kinesis.list_shards().await.expect_err("refused").to_string();
    assert!(error.contains("check the access key"), "{error}");
    assert_eq!(
        stage.calls(),
        ["ListShards by FIXED"],
        "the same keys are not sent twice"
    );
}

#[tokio::test]
async fn case_44_a_role_that_cannot_be_assumed_is_told_as_that() {
    let stage = Stage::new(&[]).await;
    let base = CredentialsSource::Static {
        access_key_id: "FIXED".to_owned(),
        secret_access_key: Secret::new("canary"),
        session_token: None,
    };
    let source = CredentialsSource::Role {
        base: Box::new(base),
        role: stage.role(),
    };
    let kinesis = stage.client(&stage.aws(&source));
    for error in [
        kinesis.list_shards().await.expect_err("no keys"),
        get_records(&kinesis).await.expect_err("no keys"),
    ] {
        assert_eq!(error.kind(), ErrorKind::ReAuthenticate, "{error}");
        let error = error.to_string();
        assert!(error.contains("role/reader cannot be assumed"), "{error}");
        assert!(
            error.contains("ExpiredToken") && !error.contains("canary"),
            "{error}"
        );
    }
    let looks = stage.calls();
    assert_eq!(
        looks,
        ["AssumeRole by FIXED"],
        "nothing was refused that another look might heal"
    );
}

const CHILD: &str = "FRAZIL_TEST_KEYS_FILE";

fn profile(id: &str) -> String {
    format!(
        "[default]\naws_access_key_id = {id}\naws_secret_access_key = canary\n[other]\naws_access_key_id = {id}O\naws_secret_access_key = canary\n"
    )
}

/// Runs this test alone in a process of its own, whose files of the AWS SDK these are.
async fn in_surroundings(test: &str, file: &Path, variables: &[(&str, &str)]) {
    let program = std::env::current_exe().expect("this program");
    let mut child = tokio::process::Command::new(program);
    child.args(["--exact", test, "--nocapture"]).env(CHILD, file);
    child
        .env("AWS_SHARED_CREDENTIALS_FILE", file)
        .env("AWS_CONFIG_FILE", "/dev/null");
    for name in [
        "AWS_PROFILE",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ] {
        child.env_remove(name);
    }
    child
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(variables.iter().copied());
    let output = child.output().await.expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{told}"
    );
}

/// Keys of a file that is written anew: found when the old ones are refused, and without that after five minutes.
async fn follows_the_file(source: CredentialsSource, file: &Path, ids: [&str; 3]) {
    let stage = Stage::new(&[ids[0]]).await;
    let write = |id: &str| std::fs::write(file, profile(id)).expect("written");
    write("A");
    let kinesis = stage.client(&stage.aws(&source));
    kinesis.list_shards().await.expect("taken");
    write("B");
    stage.takes(&[ids[1]]);
    get_records(&kinesis).await.expect("found");
    write("C");
    stage.takes(&[ids[1], ids[2]]);
    kinesis.list_shards().await.expect("taken");
    stage.clock.advance(Duration::from_secs(301)).await;
    kinesis.list_shards().await.expect("taken");
    let expected = [
        ("ListShards", ids[0]),
        ("GetRecords", ids[0]),
        ("GetRecords", ids[1]),
        ("ListShards", ids[1]),
        ("ListShards", ids[2]),
    ];
    assert_eq!(
        stage.calls(),
        expected.map(|(call, id)| format!("{call} by {id}"))
    );
}

#[tokio::test]
async fn case_44_a_file_of_keys_that_is_written_anew_is_found() {
    let Some(file) = std::env::var_os(CHILD) else {
        let folder = Folder::new("file");
        let file = folder.write("credentials", &profile("A"));
        let poison = [
            ("AWS_REGION", "us-poison-1"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
            ("AWS_USE_FIPS_ENDPOINT", "true"),
        ];
        return in_surroundings(
            "case_44_a_file_of_keys_that_is_written_anew_is_found",
            &file,
            &poison,
        )
        .await;
    };
    follows_the_file(CredentialsSource::Default, Path::new(&file), ["A", "B", "C"]).await;
    let aws = Stage::new(&[]).await.aws(&CredentialsSource::Default);
    let sdk = aws.sdk().expect("usable");
    assert_eq!((sdk.endpoint_url(), sdk.use_fips()), (None, Some(false)));
    assert_eq!(sdk.region().map(AsRef::as_ref), Some("eu-central-1"));
}

#[tokio::test]
async fn case_44_a_profile_is_found_anew_and_no_variable_comes_before_it() {
    let test = "case_44_a_profile_is_found_anew_and_no_variable_comes_before_it";
    let Some(file) = std::env::var_os(CHILD) else {
        let folder = Folder::new("profile");
        let file = folder.write("credentials", &profile("A"));
        let poison = [
            ("AWS_ACCESS_KEY_ID", "POISON"),
            ("AWS_SECRET_ACCESS_KEY", "poison"),
        ];
        return in_surroundings(test, &file, &poison).await;
    };
    let source = CredentialsSource::Profile("other".to_owned());
    follows_the_file(source, Path::new(&file), ["AO", "BO", "CO"]).await;
}

#[tokio::test]
async fn case_44_keys_that_assume_a_role_are_found_anew_too() {
    let test = "case_44_keys_that_assume_a_role_are_found_anew_too";
    let Some(file) = std::env::var_os(CHILD) else {
        let folder = Folder::new("base");
        let file = folder.write("credentials", &profile("A"));
        return in_surroundings(test, &file, &[]).await;
    };
    let stage = Stage::new(&["A", "ROLE1"]).await;
    let source = CredentialsSource::Role {
        base: Box::new(CredentialsSource::Profile("default".to_owned())),
        role: stage.role(),
    };
    let kinesis = stage.client(&stage.aws(&source));
    kinesis.list_shards().await.expect("taken");
    std::fs::write(&file, profile("B")).expect("written");
    stage.takes(&["B", "ROLE2"]);
    kinesis.list_shards().await.expect("both were found");
    let expected = [
        "AssumeRole by A",
        "ListShards by ROLE1",
        "ListShards by ROLE1",
        "AssumeRole by A",
        "AssumeRole by B",
        "ListShards by ROLE2",
    ];
    assert_eq!(stage.calls(), expected);
}
