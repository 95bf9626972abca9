//! Each way in which a user proves itself, from the configuration to the local Snowflake: rows in, SQL, renewals; and no secret
//! in what is told.
#![cfg(feature = "local")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use frazil_local::{Local, LocalOptions};
use frazil_model::{ErrorKind, PausedClock, SeededRandom, SystemClock};
use frazil_runtime::config::{Config, Variables};
use frazil_runtime::run;
use frazil_snowflake::{Append, SnowflakeConfig, Snowpipe, SnowpipeClient, SqlClient};

const HOUR: Duration = Duration::from_secs(3600);
const PASSWORD: &str = "canary password:+%";

/// Everything that is logged, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }
}

/// Stands before the local Snowflake, passes each request on, and notes it.
#[derive(Clone)]
struct Between {
    behind: String,
    http: reqwest::Client,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Debug, Clone)]
struct Seen {
    path: String,
    status: u16,
    kind: String,
    authorization: String,
    body: String,
    answer: String,
}

impl Between {
    async fn start(behind: &str) -> (Self, String) {
        let between = Self {
            behind: behind.to_owned(),
            http: reqwest::Client::builder().no_proxy().build().expect("a client"),
            seen: Arc::default(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(pass).with_state(between.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (between, address)
    }

    /// Answers of this path with a status of 200, and with others.
    fn count(&self, path: &str) -> (usize, usize) {
        let seen = self.seen.lock().expect("no panic");
        let of_path: Vec<bool> = seen
            .iter()
            .filter(|seen| seen.path == path)
            .map(|seen| seen.status == 200)
            .collect();
        let good = of_path.iter().filter(|good| **good).count();
        (good, of_path.len() - good)
    }

    fn forget(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().expect("no panic"))
    }
}

async fn pass(State(between): State<Between>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 24).await.expect("a short body");
    let header = |name: &str| {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let path_and_query = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let url = format!("{}{path_and_query}", between.behind);
    let sent = between
        .http
        .request(head.method.clone(), url)
        .headers(head.headers.clone());
    let answer = sent.body(body.clone()).send().await.expect("an answer");
    let (status, headers) = (answer.status(), answer.headers().clone());
    let text = answer.text().await.expect("text");
    between.seen.lock().expect("no panic").push(Seen {
        path: head.uri.path().to_owned(),
        status: status.as_u16(),
        kind: header("x-snowflake-authorization-token-type"),
        authorization: header("authorization"),
        body: String::from_utf8_lossy(&body).into_owned(),
        answer: text.clone(),
    });
    let status = StatusCode::from_u16(status.as_u16()).expect("a status");
    let mut passed = (status, text).into_response();
    if let Some(date) = headers.get("date") {
        passed.headers_mut().insert("date", date.clone());
    }
    passed
}

/// The local stack, and the ways in.
struct World {
    folder: tempfile::TempDir,
    local: Local,
    between: Between,
    address: String,
}

/// One way: the keys of the configuration, and what is known of its requests.
struct Way {
    name: &'static str,
    keys: String,
    kind: &'static str,
    /// Where access tokens come from.
    endpoint: Option<&'static str>,
    user: &'static str,
    /// What takes the right away, and the code that is told then.
    revoked_by: &'static str,
    code: &'static str,
}

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/keys")
        .join(name)
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut options = LocalOptions::new(folder.path().join("data"));
        options.commit_interval = Duration::from_millis(5);
        let local = Local::start(options).await.expect("it starts");
        let (between, address) = Between::start(&local.addresses().snowflake_http_url).await;
        Self {
            folder,
            local,
            between,
            address,
        }
    }

    /// The Snowflake side of a connector with these keys in its destination.
    fn configured(&self, user: &str, keys: &str) -> SnowflakeConfig {
        let text = format!(
            "connectors:
  - name: one
    source: {{stream: clicks, region: us-east-1, application_name: app}}
    destination:
      account: LOCAL
      user: {user}
      role: LOADER
      url: {}
      database: D
      schema: PUBLIC
      table: T
{keys}
",
            self.address
        );
        let file = self.folder.path().join("frazil.yaml");
        let config = Config::parse(&text, &file, &Variables::these(&[])).expect("valid");
        run::snowflake(&config.connectors[0].destination)
    }

    fn admin(&self) -> SqlClient {
        let key = self.local.addresses().private_key.display();
        let mut config = self.configured("FRAZIL", &format!("      private_key_file: {key}"));
        config.role = Some("ACCOUNTADMIN".to_owned());
        SqlClient::new(config, Arc::new(SystemClock), Arc::new(SeededRandom::new(1))).expect("a client")
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("written");
    }

    async fn prepare(&self, admin: &SqlClient) -> Vec<Way> {
        let public = std::fs::read_to_string(testdata("public.pem")).expect("readable");
        let public: String = public.lines().filter(|line| !line.starts_with('-')).collect();
        for sql in [
            "CREATE DATABASE D",
            "CREATE TABLE D.PUBLIC.T (N NUMBER)",
            "CREATE ROLE LOADER",
            "GRANT USAGE ON DATABASE D TO ROLE LOADER",
            "GRANT USAGE ON SCHEMA D.PUBLIC TO ROLE LOADER",
            "GRANT SELECT, INSERT ON TABLE D.PUBLIC.T TO ROLE LOADER",
            "CREATE USER KEYS",
            &format!("ALTER USER KEYS SET RSA_PUBLIC_KEY_2 = '{public}'"),
            "CREATE USER TOKENS",
            "CREATE USER CONSENTS",
            &format!("CREATE USER EXTERN PASSWORD = '{PASSWORD}'"),
            "GRANT ROLE LOADER TO USER KEYS",
            "GRANT ROLE LOADER TO USER TOKENS",
            "GRANT ROLE LOADER TO USER CONSENTS",
            "GRANT ROLE LOADER TO USER EXTERN",
            "CREATE SECURITY INTEGRATION OWN TYPE = OAUTH OAUTH_CLIENT = CUSTOM ENABLED = TRUE",
            "CREATE SECURITY INTEGRATION THEIRS TYPE = EXTERNAL_OAUTH ENABLED = TRUE EXTERNAL_OAUTH_TYPE = CUSTOM \
             EXTERNAL_OAUTH_ISSUER = 'http://127.0.0.1/oauth2'",
        ] {
            admin
                .execute(sql)
                .await
                .unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        let pat = "ALTER USER TOKENS ADD PAT P ROLE_RESTRICTION = 'LOADER' DAYS_TO_EXPIRY = 30";
        let pat = admin.execute(pat).await.expect("a token").rows[0][1].clone();
        self.write("token", &pat.expect("a secret"));
        let secrets = admin
            .execute("SELECT SYSTEM$SHOW_OAUTH_CLIENT_SECRETS('OWN')")
            .await;
        let secrets = secrets.expect("secrets").rows[0][0].clone().expect("JSON");
        let secrets: serde_json::Value = serde_json::from_str(&secrets).expect("JSON");
        let text = |name: &str| secrets[name].as_str().expect("a text").to_owned();
        let (id, secret) = (text("OAUTH_CLIENT_ID"), text("OAUTH_CLIENT_SECRET"));
        let consent = reqwest::Client::builder().no_proxy().build().expect("a client");
        let consent = consent
            .post(format!(
                "{}/oauth/token-request",
                self.local.addresses().snowflake_http_url
            ))
            .basic_auth(&id, Some(&secret))
            .body("grant_type=urn:frazil:local:consent&username=CONSENTS&scope=session:role:LOADER")
            .send()
            .await
            .expect("an answer");
        let consent: serde_json::Value =
            serde_json::from_str(&consent.text().await.expect("text")).expect("JSON");
        self.write("refresh", consent["refresh_token"].as_str().expect("a token"));
        self.write("client", &secret);
        self.write("password", PASSWORD);
        self.write("passphrase", "canary-passphrase\n");
        self.ways(&id)
    }

    fn ways(&self, client_id: &str) -> Vec<Way> {
        let key = testdata("pkcs8-des3.pem");
        vec![
            Way {
                name: "an encrypted key, by the user's second slot",
                keys: format!(
                    "      private_key_file: {}\n      private_key_passphrase: ${{secret:file/passphrase}}",
                    key.display()
                ),
                kind: "KEYPAIR_JWT",
                endpoint: None,
                user: "KEYS",
                revoked_by: "ALTER USER KEYS UNSET RSA_PUBLIC_KEY_2",
                code: "390144",
            },
            Way {
                name: "a programmatic access token",
                keys: "      token_file: token".to_owned(),
                kind: "PROGRAMMATIC_ACCESS_TOKEN",
                endpoint: None,
                user: "TOKENS",
                revoked_by: "ALTER USER TOKENS REMOVE PAT P",
                code: "394400",
            },
            Way {
                name: "a refresh token",
                keys: format!(
                    "      oauth: {{client_id: {client_id}, client_secret: '${{secret:file/client}}', refresh_token: '${{secret:file/refresh}}'}}"
                ),
                kind: "OAUTH",
                endpoint: Some("/oauth/token-request"),
                user: "CONSENTS",
                revoked_by: "ALTER SECURITY INTEGRATION OWN SET ENABLED = FALSE",
                code: "invalid_client",
            },
            Way {
                name: "client credentials of an external server",
                keys: format!(
                    "      oauth: {{token_endpoint: '{}/oauth2/token', client_id: EXTERN, client_secret: '${{secret:file/password}}', scope: 'session:role:LOADER'}}",
                    self.address
                ),
                kind: "OAUTH",
                endpoint: Some("/oauth2/token"),
                user: "EXTERN",
                revoked_by: "ALTER SECURITY INTEGRATION THEIRS SET ENABLED = FALSE",
                code: "390303",
            },
        ]
    }
}

/// Opens a channel, appends two rows, and waits until they are committed.
async fn carry(client: &SnowpipeClient, channel: &str) {
    let opened = client.open_channel(channel, false).await.expect("opened");
    let rows = b"{\"n\":1}\n{\"n\":2}\n";
    let append = Append {
        body: zstd::encode_all(&rows[..], 1).expect("compressed").into(),
        uncompressed_bytes: rows.len(),
        rows: 2,
        start_token: "1".to_owned(),
        end_token: "2".to_owned(),
        continuation: opened.continuation,
        request_id: "0b3c6b0e-2f3d-4d7f-9d61-5a0b1f1f0001".to_owned(),
        retry_count: 0,
    };
    client.append_rows(channel, &append).await.expect("accepted");
    let committed = async {
        let names = [channel.to_owned()];
        loop {
            let status = client.channel_status(&names).await.expect("a status");
            if status[channel].committed_token.as_deref() == Some("2") {
                return status[channel].rows_inserted;
            }
            tokio::task::yield_now().await;
        }
    };
    let committed = tokio::time::timeout(Duration::from_secs(30), committed).await;
    assert_eq!(committed.expect("committed in time"), 2);
}

/// What was sent and answered that gives rights.
fn secrets_of(seen: &[Seen]) -> BTreeSet<String> {
    let mut secrets = BTreeSet::new();
    for seen in seen {
        let (_, token) = seen.authorization.split_once(' ').unwrap_or_default();
        secrets.insert(token.to_owned());
        for pair in seen.body.split('&') {
            for name in ["refresh_token=", "subject_token="] {
                secrets.extend(pair.strip_prefix(name).map(ToOwned::to_owned));
            }
        }
        if seen.path == "/oauth/token" && seen.status == 200 {
            secrets.insert(seen.answer.clone());
        }
        let answer: serde_json::Value = serde_json::from_str(&seen.answer).unwrap_or_default();
        for name in ["access_token", "refresh_token"] {
            secrets.extend(answer[name].as_str().map(ToOwned::to_owned));
        }
    }
    secrets.retain(|secret| secret.len() > 8);
    secrets
}

#[tokio::test]
async fn each_way_writes_asks_renews_and_tells_no_secret() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .init();
    let world = World::start().await;
    let admin = world.admin();
    let ways = world.prepare(&admin).await;
    let mut secrets: BTreeSet<String> = ["canary-passphrase", PASSWORD].map(ToOwned::to_owned).into();
    for name in ["token", "refresh", "client"] {
        secrets.insert(std::fs::read_to_string(world.folder.path().join(name)).expect("readable"));
    }
    let mut told = String::new();
    world.between.forget();
    let mut exchanges = 0;
    for (n, way) in ways.iter().enumerate() {
        let config = world.configured(way.user, &way.keys);
        told.push_str(&format!("{config:?}"));
        let now_ms = frazil_model::Clock::wall_ms(&SystemClock);
        let clock = PausedClock::at_wall_ms(now_ms);
        let random = Arc::new(SeededRandom::new(7));
        let client = SnowpipeClient::new(config.clone(), Arc::new(clock.clone()), random.clone());
        let client = client.expect("a client");
        carry(&client, &format!("C{n}")).await;
        let sql = SqlClient::new(config, Arc::new(SystemClock), random).expect("a client");
        let rows = sql
            .execute("SELECT CURRENT_USER(), CURRENT_ROLE(), COUNT(*) FROM D.PUBLIC.T")
            .await;
        let rows = rows.unwrap_or_else(|error| panic!("{}: {error}", way.name)).rows;
        let count = (2 * (n + 1)).to_string();
        let expected = [way.user, "LOADER", &count].map(|text| Some(text.to_owned()));
        assert_eq!(rows, [expected], "{}", way.name);
        // One token for the client, and where it needs one, an access token for each client.
        assert_eq!(world.between.count("/oauth/token"), (1, 0), "{}", way.name);
        if let Some(endpoint) = way.endpoint {
            assert_eq!(world.between.count(endpoint), (2, 0), "{}", way.name);
        }
        // Each hour one more of each. A clock that ran an hour costs a key pair one refused request.
        let names = [format!("C{n}")];
        for hour in 1..=3 {
            clock.advance(HOUR).await;
            let status = client.channel_status(&names).await.expect("renewed");
            assert_eq!(status[&names[0]].rows_inserted, 2);
            let refused = if way.kind == "KEYPAIR_JWT" { hour } else { 0 };
            assert_eq!(
                world.between.count("/oauth/token"),
                (1 + hour, refused),
                "{}",
                way.name
            );
            if let Some(endpoint) = way.endpoint {
                assert_eq!(world.between.count(endpoint), (2 + hour, 0), "{}", way.name);
            }
        }
        exchanges += world.between.count("/oauth/token").0;
        let skew = client.clock_skew().expect("measured");
        assert!(skew.ahead_ms.abs_diff(3 * 3_600_000) < 120_000, "{skew:?}");
        // Taken away: the next token is refused, by name.
        admin.execute(way.revoked_by).await.expect(way.revoked_by);
        clock.advance(HOUR).await;
        let error = client.channel_status(&names).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::ReAuthenticate, "{error}");
        assert!(error.to_string().contains(way.code), "{}: {error}", way.name);
        told.push_str(&format!("{error} {error:?} {client:?} {sql:?}"));
        let seen = world.between.forget();
        let of_way = seen.iter().filter(|seen| seen.path == "/oauth/token");
        assert!(of_way.clone().count() >= 4 && of_way.clone().all(|seen| seen.kind == way.kind));
        secrets.extend(secrets_of(&seen));
    }
    assert_eq!(exchanges, 4 * ways.len());
    let log = log.text();
    assert!(log.contains("token") && log.len() > 10_000, "the log was heard");
    assert!(secrets.len() >= 35, "{}", secrets.len());
    for secret in &secrets {
        assert!(!told.contains(secret.as_str()), "told: {secret}");
        let line = log.lines().find(|line| line.contains(secret.as_str()));
        assert_eq!(line, None, "logged: {secret}");
    }
    world.local.shutdown().await;
}
