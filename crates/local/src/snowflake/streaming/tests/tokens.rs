//! Programmatic access tokens and OAuth over HTTP: what they buy, and how they end.

use serde_json::{Value, json};

use super::client::Client;
use crate::snowflake::catalog::now_ms;
use crate::snowflake::oauth::ISSUER;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";
const PAT: &str = "programmatic_access_token";

/// A caller of the account's endpoints with one token.
struct Caller<'a> {
    client: &'a Client,
    http: reqwest::Client,
    kind: Option<&'static str>,
}

struct Told {
    status: u16,
    body: String,
}

impl Told {
    fn code(&self) -> (u16, String) {
        let value: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let code = value["code"].as_str().or(value["error"].as_str());
        (self.status, code.unwrap_or_default().to_owned())
    }

    fn field(&self, name: &str) -> String {
        assert_eq!(self.status, 200, "{}", self.body);
        let value: Value = serde_json::from_str(&self.body).unwrap();
        value[name].as_str().unwrap_or_default().to_owned()
    }
}

impl<'a> Caller<'a> {
    fn of(client: &'a Client, kind: Option<&'static str>) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { client, http, kind }
    }

    async fn send(&self, mut request: reqwest::RequestBuilder) -> Told {
        if let Some(kind) = self.kind {
            request = request.header("X-Snowflake-Authorization-Token-Type", kind);
        }
        let answer = request.send().await.unwrap();
        Told {
            status: answer.status().as_u16(),
            body: answer.text().await.unwrap(),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.client.addresses().snowflake_http_url)
    }

    async fn hostname(&self, token: &str) -> Told {
        let request = self.http.get(self.url("/v2/streaming/hostname"));
        self.send(request.bearer_auth(token)).await
    }

    async fn scoped(&self, token: &str, subject: &str, scope: &str) -> Told {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", EXCHANGE)
            .append_pair("subject_token_type", subject)
            .append_pair("scope", scope)
            .finish();
        let request = self.http.post(self.url("/oauth/token"));
        self.send(request.bearer_auth(token).body(form)).await
    }

    async fn statement(&self, token: &str, body: Value) -> Told {
        let request = self.http.post(self.url("/api/v2/statements"));
        self.send(request.bearer_auth(token).body(body.to_string())).await
    }

    async fn status(&self, token: &str) -> Told {
        let path = "/v2/streaming/databases/D/schemas/PUBLIC/pipes/T-STREAMING:bulk-channel-status";
        let body = json!({ "channel_names": ["C"] }).to_string();
        self.send(self.http.post(self.url(path)).bearer_auth(token).body(body))
            .await
    }

    async fn ask(&self, path: &str, id: &str, secret: &str, form: &[(&str, &str)]) -> Told {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = self.http.post(self.url(path)).basic_auth(id, Some(secret));
        self.send(request.body(body)).await
    }
}

fn cell(rows: &[Vec<Option<String>>], column: usize) -> String {
    rows[0][column].clone().unwrap()
}

async fn run(client: &Client, statements: &[&str]) {
    for sql in statements {
        client
            .sql(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

const WHO: &str = "SELECT CURRENT_USER() || ' ' || CURRENT_ROLE()";

#[tokio::test]
async fn a_programmatic_access_token_serves_until_it_is_rotated_disabled_or_over() {
    let client = Client::start().await;
    run(&client, &["CREATE ROLE R", "GRANT ROLE R TO USER FRAZIL"]).await;
    let made = client
        .sql("ALTER USER FRAZIL ADD PROGRAMMATIC ACCESS TOKEN T1 ROLE_RESTRICTION = 'R' DAYS_TO_EXPIRY = 3")
        .await
        .unwrap();
    let one = cell(&made, 1);
    for kind in [None, Some("PROGRAMMATIC_ACCESS_TOKEN")] {
        let caller = Caller::of(&client, kind);
        assert_eq!(caller.hostname(&one).await.body, "127.0.0.1");
        let told = caller.statement(&one, json!({ "statement": WHO })).await;
        assert!(told.body.contains("\"FRAZIL R\""), "{}", told.body);
        // It buys a scoped token, of its own role only; and is none itself.
        let scoped = caller.scoped(&one, PAT, "127.0.0.1").await;
        assert_eq!(scoped.status, 200, "{}", scoped.body);
        assert_eq!(
            caller.scoped(&one, PAT, "127.0.0.1 session:role:R").await.status,
            200
        );
        let other = caller
            .scoped(&one, PAT, "127.0.0.1 session:role:ACCOUNTADMIN")
            .await;
        assert_eq!(other.code(), (401, "390186".to_owned()));
        let role = json!({ "statement": WHO, "role": "ACCOUNTADMIN" });
        assert_eq!(
            caller.statement(&one, role).await.code(),
            (401, "390186".to_owned())
        );
        assert_eq!(caller.status(&one).await.code(), (401, "390303".to_owned()));
        let reach = Caller::of(&client, Some("OAUTH"));
        // R has no rights on the table: known as a caller, refused as a role.
        assert_eq!(reach.status(&scoped.body).await.status, 404);
        assert_eq!(caller.scoped(&one, ACCESS, "127.0.0.1").await.status, 401);
    }
    // The header counts, not the form.
    for (kind, code) in [("OAUTH", "390303"), ("KEYPAIR_JWT", "390144"), ("ELSE", "390303")] {
        let told = Caller::of(&client, Some(kind)).hostname(&one).await;
        assert_eq!(told.code(), (401, code.to_owned()));
    }
    let caller = Caller::of(&client, Some("PROGRAMMATIC_ACCESS_TOKEN"));
    let invalid = (401, "394400".to_owned());
    assert_eq!(caller.hostname("fzpat-nobody").await.code(), invalid);
    assert_eq!(caller.hostname(&client.jwt()).await.code(), invalid);
    // Rotated: both serve, and the old one not at all where no hours are given it.
    let rotated = client.sql("ALTER USER FRAZIL ROTATE PAT T1").await.unwrap();
    let two = cell(&rotated, 1);
    for token in [&one, &two] {
        assert_eq!(caller.hostname(token).await.status, 200);
    }
    let rotate = "ALTER USER FRAZIL ROTATE PAT T1 EXPIRE_ROTATED_TOKEN_AFTER_HOURS = 0";
    let three = cell(&client.sql(rotate).await.unwrap(), 1);
    assert_eq!(caller.hostname(&two).await.code(), invalid);
    assert_eq!(caller.hostname(&three).await.status, 200);
    run(&client, &["ALTER USER FRAZIL MODIFY PAT T1 SET DISABLED = TRUE"]).await;
    assert_eq!(caller.hostname(&three).await.code(), invalid);
    run(&client, &["ALTER USER FRAZIL MODIFY PAT T1 SET DISABLED = FALSE"]).await;
    assert_eq!(caller.hostname(&three).await.status, 200);
    run(&client, &["ALTER USER FRAZIL REMOVE PAT T1"]).await;
    assert_eq!(caller.hostname(&three).await.code(), invalid);
    // Over.
    let mut old = client.catalog().tokens("FRAZIL").unwrap().remove(0);
    (old.name, old.expires_on_ms) = ("OVER".to_owned(), now_ms() - 1);
    let digest = crate::snowflake::catalog::tokens::digest("fzpat-over");
    client.catalog().add_token(&old, &digest, None).unwrap();
    assert_eq!(caller.hostname("fzpat-over").await.code(), invalid);
    let shown = client.sql("SHOW USER PROGRAMMATIC ACCESS TOKENS").await.unwrap();
    let over = shown
        .iter()
        .find(|row| row[0].as_deref() == Some("OVER"))
        .unwrap();
    assert_eq!(over[4].as_deref(), Some("EXPIRED"));
    // Without a restriction the role may be chosen.
    let free = cell(&client.sql("ALTER USER ADD PAT FREE").await.unwrap(), 1);
    let told = caller
        .statement(&free, json!({ "statement": WHO, "role": "R" }))
        .await;
    assert!(told.body.contains("\"FRAZIL R\""), "{}", told.body);
}

#[tokio::test]
async fn snowflakes_own_endpoint_gives_access_tokens_for_a_refresh_token() {
    let client = Client::start().await;
    let caller = Caller::of(&client, None);
    run(
        &client,
        &[
            "CREATE ROLE R",
            "GRANT ROLE R TO USER FRAZIL",
            "CREATE SECURITY INTEGRATION I TYPE = OAUTH ENABLED = TRUE OAUTH_CLIENT = CUSTOM OAUTH_CLIENT_TYPE = 'CONFIDENTIAL' \
             OAUTH_REDIRECT_URI = 'https://localhost' OAUTH_ISSUE_REFRESH_TOKENS = TRUE OAUTH_REFRESH_TOKEN_VALIDITY = 86400",
        ],
    )
    .await;
    let secrets = client
        .sql("SELECT SYSTEM$SHOW_OAUTH_CLIENT_SECRETS('I')")
        .await
        .unwrap();
    let secrets: Value = serde_json::from_str(&cell(&secrets, 0)).unwrap();
    let (id, secret) = (
        secrets["OAUTH_CLIENT_ID"].as_str().unwrap(),
        secrets["OAUTH_CLIENT_SECRET"].as_str().unwrap(),
    );
    let path = "/oauth/token-request";
    let consent = [
        ("grant_type", "urn:frazil:local:consent"),
        ("username", "frazil"),
        ("scope", "session:role:R"),
    ];
    let refresh = caller
        .ask(path, id, secret, &consent)
        .await
        .field("refresh_token");
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    let first = caller.ask(path, id, secret, &form).await;
    let token = first.field("access_token");
    assert!(first.body.contains("\"expires_in\":600"), "{}", first.body);
    assert_eq!(first.field("refresh_token"), "", "it stays");
    assert_ne!(
        token,
        caller.ask(path, id, secret, &form).await.field("access_token")
    );
    let oauth = Caller::of(&client, Some("OAUTH"));
    let told = oauth.statement(&token, json!({ "statement": WHO })).await;
    assert!(told.body.contains("\"FRAZIL R\""), "{}", told.body);
    assert_eq!(oauth.status(&token).await.code(), (401, "390303".to_owned()));
    assert_eq!(oauth.scoped(&token, ACCESS, "127.0.0.1").await.status, 200);
    let scoped = oauth
        .scoped(&token, ACCESS, "127.0.0.1 session:role:R")
        .await
        .body;
    assert_eq!(oauth.scoped(&scoped, ACCESS, "127.0.0.1").await.status, 401);
    for (form, code) in [
        (
            vec![("grant_type", "refresh_token"), ("refresh_token", "x")],
            "invalid_grant",
        ),
        (vec![("grant_type", "refresh_token")], "invalid_grant"),
        (
            vec![("grant_type", "client_credentials")],
            "unsupported_grant_type",
        ),
        (
            vec![("grant_type", "urn:frazil:local:consent"), ("username", "nobody")],
            "invalid_grant",
        ),
        (
            vec![
                ("grant_type", "urn:frazil:local:consent"),
                ("username", "frazil"),
                ("scope", "session:role:NONE"),
            ],
            "invalid_scope",
        ),
    ] {
        assert_eq!(
            caller.ask(path, id, secret, &form).await.code(),
            (400, code.to_owned())
        );
    }
    let stranger = (401, "invalid_client".to_owned());
    assert_eq!(caller.ask(path, id, "x", &form).await.code(), stranger);
    // Switched off, neither its clients nor their tokens are known; dropped, their refresh tokens are gone.
    run(&client, &["ALTER SECURITY INTEGRATION I SET ENABLED = FALSE"]).await;
    assert_eq!(caller.ask(path, id, secret, &form).await.code(), stranger);
    assert_eq!(oauth.hostname(&token).await.code(), (401, "390303".to_owned()));
    run(&client, &["ALTER SECURITY INTEGRATION I SET ENABLED = TRUE"]).await;
    assert_eq!(oauth.hostname(&token).await.status, 200);
    run(&client, &["DROP SECURITY INTEGRATION I"]).await;
    assert_eq!(client.catalog().refresh(&refresh).unwrap(), None);
}

#[tokio::test]
async fn a_refresh_token_of_single_use_is_followed_by_another() {
    let client = Client::start().await;
    let caller = Caller::of(&client, None);
    let create = "CREATE SECURITY INTEGRATION I TYPE = OAUTH ENABLED = TRUE OAUTH_CLIENT = CUSTOM \
                  OAUTH_SINGLE_USE_REFRESH_TOKENS_REQUIRED = TRUE";
    run(&client, &[create]).await;
    let found = client.catalog().integration("I").unwrap().unwrap();
    let (id, secret) = (found.client_id.as_str(), found.client_secret.as_str());
    let path = "/oauth/token-request";
    let consent = [("grant_type", "urn:frazil:local:consent"), ("username", "FRAZIL")];
    let mut refresh = caller
        .ask(path, id, secret, &consent)
        .await
        .field("refresh_token");
    for _ in 0..3 {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.as_str()),
        ];
        let next = caller.ask(path, id, secret, &form).await.field("refresh_token");
        assert!(!next.is_empty() && next != refresh);
        let again = caller.ask(path, id, secret, &form).await;
        assert_eq!(again.code(), (400, "invalid_grant".to_owned()), "used up");
        refresh = next;
    }
}

#[tokio::test]
async fn an_external_servers_tokens_are_taken_by_who_trusts_its_issuer() {
    let client = Client::start().await;
    let caller = Caller::of(&client, Some("OAUTH"));
    run(
        &client,
        &[
            "CREATE USER ADA PASSWORD = 'a secret:+%'",
            "CREATE ROLE R",
            "GRANT ROLE R TO USER ADA",
        ],
    )
    .await;
    let form = [("grant_type", "client_credentials"), ("scope", "session:role:R")];
    // As RFC 6749 wants it: encoded as a form before it is put into Basic.
    let encoded: String = url::form_urlencoded::byte_serialize(b"a secret:+%").collect();
    let token = caller
        .ask("/oauth2/token", "ADA", &encoded, &form)
        .await
        .field("access_token");
    assert_eq!(
        caller.hostname(&token).await.code(),
        (401, "390303".to_owned()),
        "nobody trusts it"
    );
    let integration = |issuer: &str| {
        format!(
            "CREATE OR REPLACE SECURITY INTEGRATION X TYPE = EXTERNAL_OAUTH ENABLED = TRUE EXTERNAL_OAUTH_TYPE = CUSTOM \
             EXTERNAL_OAUTH_ISSUER = '{issuer}' EXTERNAL_OAUTH_AUDIENCE_LIST = ('a', 'b') \
             EXTERNAL_OAUTH_TOKEN_USER_MAPPING_CLAIM = 'sub' EXTERNAL_OAUTH_SNOWFLAKE_USER_MAPPING_ATTRIBUTE = 'login_name'"
        )
    };
    run(&client, &[&integration("https://login.example.com")]).await;
    assert_eq!(caller.hostname(&token).await.status, 401);
    run(&client, &[&integration(ISSUER)]).await;
    let told = caller.statement(&token, json!({ "statement": WHO })).await;
    assert!(told.body.contains("\"ADA R\""), "{}", told.body);
    assert_eq!(caller.scoped(&token, ACCESS, "127.0.0.1").await.status, 200);
    for (id, secret, form, status) in [
        ("ADA", "wrong", &form[..], 401),
        ("FRAZIL", "", &form, 401),
        ("ADA", encoded.as_str(), &[("grant_type", "password")], 400),
    ] {
        assert_eq!(
            caller.ask("/oauth2/token", id, secret, form).await.status,
            status,
            "{id}"
        );
    }
}
