//! A client of the protocol for tests, on its own running stack.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::snowflake::auth::tests::Signer;
use crate::snowflake::catalog::{Catalog, now_ms};
use crate::snowflake::model::{ColumnDef, CreateMode, DataType, NewTable, TableDef};
use crate::snowflake::sql::{Session, SqlError};
use crate::{Addresses, Local, LocalOptions};

const MANAGEMENT: &str = "/v2/streaming/databases/D/schemas/PUBLIC/pipes/";
const DATA: &str = "/v2/streaming/data/databases/D/schemas/PUBLIC/pipes/";

pub(super) struct Client {
    folder: tempfile::TempDir,
    options: LocalOptions,
    local: Local,
    http: reqwest::Client,
    signer: Signer,
    pipe: &'static str,
    /// What it calls with, instead of a key-pair token without a role.
    scoped: Option<String>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) text: String,
    pub(super) retry_after: Option<String>,
    pub(super) etag: Option<String>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        serde_json::from_str(&self.text).unwrap()
    }

    pub(super) fn token(&self) -> String {
        self.json()["next_continuation_token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub(super) fn is(&self, status: u16, code: &str) {
        let body: Value =
            serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text));
        assert_eq!(
            (self.status, body["error_code"].as_str()),
            (status, Some(code)),
            "{}",
            self.text
        );
        assert!(
            body["code"] == body["error_code"] && body["message"].is_string(),
            "{}",
            self.text
        );
    }

    pub(super) fn is_ok(&self) {
        self.json();
    }
}

impl Client {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(super) async fn start_with(change: impl FnOnce(&mut LocalOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = LocalOptions::new(folder.path().join("data"));
        options.commit_interval = std::time::Duration::from_millis(5);
        change(&mut options);
        let local = Local::start(options.clone()).await.unwrap();
        let private = std::fs::read_to_string(&local.addresses().private_key).unwrap();
        let fingerprint = local.snowflake().catalog.users().unwrap()[0].fingerprints[0].clone();
        let client = Self {
            folder,
            options,
            local,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            signer: Signer::from_pem(&private, fingerprint),
            pipe: "T-STREAMING",
            scoped: None,
        };
        client
            .local
            .snowflake()
            .catalog
            .create_database("D", CreateMode::New)
            .unwrap();
        client.make_table(CreateMode::New);
        client
    }

    /// Writes to this pipe from here on.
    pub(super) fn of_pipe(mut self, pipe: &'static str) -> Self {
        self.pipe = pipe;
        self
    }

    /// Stops the stack and starts it again on the same folder and ports.
    pub(super) async fn restart(self) -> Self {
        let port = |url: &str| url.rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
        let addresses = self.local.addresses().clone();
        let mut options = self.options;
        options.kinesis_port = port(&addresses.kinesis_url);
        options.dynamodb_port = port(&addresses.dynamodb_url);
        options.snowflake_http_port = port(&addresses.snowflake_http_url);
        options.snowflake_https_port = port(&addresses.snowflake_https_url);
        self.local.shutdown().await;
        let local = Local::start(options.clone()).await.unwrap();
        assert_eq!(*local.addresses(), addresses);
        Self {
            folder: self.folder,
            options,
            local,
            http: self.http,
            signer: self.signer,
            pipe: self.pipe,
            scoped: self.scoped,
        }
    }

    pub(super) fn addresses(&self) -> &Addresses {
        self.local.addresses()
    }

    pub(super) fn make_table(&self, mode: CreateMode) {
        let data_type = DataType::Varchar { length: 100 };
        let column = ColumnDef::new("N", data_type);
        let table = NewTable {
            database: "D".into(),
            schema: "PUBLIC".into(),
            name: "T".into(),
            columns: vec![column],
            schema_evolution: false,
            error_logging: false,
            row_timestamp: false,
            ..NewTable::default()
        };
        self.local.snowflake().catalog.create_table(&table, mode).unwrap();
    }

    pub(super) fn catalog(&self) -> &Catalog {
        &self.local.snowflake().catalog
    }

    /// A statement's rows; D.PUBLIC is where names are looked up.
    pub(super) async fn sql(&self, statement: &str) -> Result<Vec<Vec<Option<String>>>, SqlError> {
        let snowflake = self.local.snowflake();
        let engine = snowflake.engine();
        let mut session = Session {
            database: Some("D".to_owned()),
            schema: Some("PUBLIC".to_owned()),
            user: "FRAZIL".to_owned(),
            ..Session::default()
        };
        let result = engine.execute(&mut session, statement).await?;
        Ok(result.rows)
    }

    pub(super) fn table(&self) -> TableDef {
        self.catalog().table("D", "PUBLIC", "T").unwrap().unwrap()
    }

    /// Rows in the table.
    pub(super) fn rows(&self) -> u64 {
        self.catalog().table_size(self.table().id).unwrap().0
    }

    /// Calls with a token of this role from here on.
    pub(super) async fn in_role(&mut self, role: &str) -> Answer {
        self.scoped = None;
        let form = format!(
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&scope=127.0.0.1+session%3Arole%3A{role}"
        );
        let answer = self.form("/oauth/token", &form).await;
        if answer.status == 200 {
            self.scoped = Some(answer.text.clone());
        }
        answer
    }

    pub(super) fn jwt(&self) -> String {
        if let Some(scoped) = &self.scoped {
            return scoped.clone();
        }
        let now = now_ms();
        self.signer.token("LOCAL", "FRAZIL", now, now + 3_540_000)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.local.addresses().snowflake_http_url)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
        let answer = request.send().await?;
        Ok(Answer {
            status: answer.status().as_u16(),
            retry_after: answer
                .headers()
                .get("retry-after")
                .map(|value| value.to_str().unwrap().to_owned()),
            etag: answer
                .headers()
                .get("etag")
                .map(|value| value.to_str().unwrap().to_owned()),
            text: answer.text().await?,
        })
    }

    pub(super) async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(self.http.get(self.url(path)).bearer_auth(token))
            .await
            .unwrap()
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(
            self.http
                .put(self.url(path))
                .bearer_auth(self.jwt())
                .body(body.to_string()),
        )
        .await
        .unwrap()
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(
            self.http
                .post(self.url(path))
                .bearer_auth(self.jwt())
                .body(body.to_string()),
        )
        .await
        .unwrap()
    }

    pub(super) async fn post_rows(&self, path: &str, rows: &str) -> Answer {
        self.send(
            self.http
                .post(self.url(path))
                .bearer_auth(self.jwt())
                .body(rows.to_owned()),
        )
        .await
        .unwrap()
    }

    pub(super) async fn form(&self, path: &str, form: &str) -> Answer {
        self.send(
            self.http
                .post(self.url(path))
                .bearer_auth(self.jwt())
                .body(form.to_owned()),
        )
        .await
        .unwrap()
    }

    pub(super) async fn pipe_info(&self) -> Answer {
        let path = format!("{MANAGEMENT}{}:pipe-info", self.pipe);
        let body = "{\"generate_new_token\":true,\"encryption_version\":\"AES-CTR-128.1\"}";
        self.post_rows(&path, body).await
    }

    /// Uploads a framed file, as S3's PutObject.
    pub(super) async fn put_file(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, reqwest::Error> {
        let mut request = self.http.put(self.url(path));
        request = request.header("content-encoding", "aws-chunked");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body)).await
    }

    pub(super) async fn file_buffer(
        &self,
        channel: &str,
        token: Option<&str>,
        request: &str,
        body: String,
    ) -> Result<Answer, reqwest::Error> {
        let path = format!("{DATA}{}/channels/{channel}/filebuffer", self.pipe);
        let token = token.map_or_else(String::new, |token| format!("continuationToken={token}&"));
        let url = self.url(&format!("{path}?{token}requestId={request}&retryCount=0"));
        self.send(self.http.post(url).bearer_auth(self.jwt()).body(body))
            .await
    }

    /// Uploaded files on disk.
    pub(super) fn stage_files(&self) -> usize {
        let folder = self.options.data_dir.join(crate::snowflake::stage::FOLDER);
        std::fs::read_dir(folder).unwrap().count()
    }

    pub(super) async fn exchange(&self, jwt: &str) -> Answer {
        let form = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&scope=127.0.0.1";
        self.send(
            self.http
                .post(self.url("/oauth/token"))
                .bearer_auth(jwt)
                .body(form),
        )
        .await
        .unwrap()
    }

    pub(super) async fn open(&self, channel: &str) -> Answer {
        self.open_body(channel, &json!({"fail_on_uncommitted_rows": true}))
            .await
    }

    pub(super) async fn open_body(&self, channel: &str, body: &Value) -> Answer {
        self.put(&format!("{MANAGEMENT}{}/channels/{channel}", self.pipe), body)
            .await
    }

    pub(super) async fn delete(&self, channel: &str, body: &Value) -> Answer {
        let url = self.url(&format!("{MANAGEMENT}{}/channels/{channel}", self.pipe));
        self.send(
            self.http
                .delete(url)
                .bearer_auth(self.jwt())
                .body(body.to_string()),
        )
        .await
        .unwrap()
    }

    pub(super) async fn append(
        &self,
        channel: &str,
        token: &str,
        offset: &str,
        request: &str,
        rows: &str,
    ) -> Answer {
        self.try_append(channel, token, offset, request, rows)
            .await
            .unwrap()
    }

    pub(super) async fn try_append(
        &self,
        channel: &str,
        token: &str,
        offset: &str,
        request: &str,
        rows: &str,
    ) -> Result<Answer, reqwest::Error> {
        self.send_rows(channel, token, offset, request, "zstd", zstd(rows.as_bytes()))
            .await
    }

    pub(super) async fn append_body(
        &self,
        channel: &str,
        token: &str,
        offset: &str,
        request: &str,
        encoding: &str,
        body: Vec<u8>,
    ) -> Answer {
        self.send_rows(channel, token, offset, request, encoding, body)
            .await
            .unwrap()
    }

    async fn send_rows(
        &self,
        channel: &str,
        token: &str,
        offset: &str,
        request: &str,
        encoding: &str,
        body: Vec<u8>,
    ) -> Result<Answer, reqwest::Error> {
        let path = format!("{DATA}{}/channels/{channel}/rows", self.pipe);
        let encode = |text: &str| {
            text.bytes()
                .map(|byte| format!("%{byte:02X}"))
                .collect::<String>()
        };
        let offset = encode(offset);
        let query = format!(
            "startOffsetToken={offset}&endOffsetToken={offset}&continuationToken={}&requestId={}&retryCount=0",
            encode(token),
            encode(request)
        );
        let request = self
            .http
            .post(self.url(&format!("{path}?{query}")))
            .bearer_auth(self.jwt());
        let request = request
            .header("content-type", "application/x-ndjson")
            .header("content-encoding", encoding);
        self.send(request.body(body)).await
    }

    pub(super) async fn status_with(&self, token: &str, names: &[&str]) -> Answer {
        let url = self.url(&format!("{MANAGEMENT}{}:bulk-channel-status", self.pipe));
        let body = json!({"channel_names": names}).to_string();
        self.send(self.http.post(url).bearer_auth(token).body(body))
            .await
            .unwrap()
    }

    pub(super) async fn statuses(&self, names: &[&str]) -> Value {
        self.status_with(&self.jwt(), names).await.json()["channel_statuses"].clone()
    }

    pub(super) async fn status(&self, channel: &str) -> Value {
        self.statuses(&[channel]).await[channel].clone()
    }

    /// The channel's status once its committed token is `offset`.
    pub(super) async fn committed(&self, channel: &str, offset: &str) -> Value {
        self.until(channel, |status| status["last_committed_offset_token"] == offset)
            .await
    }

    /// The channel's status once it is as wanted; looked at after each commit.
    pub(super) async fn until(&self, channel: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut commits = self.local.snowflake().store.committer.commits.subscribe();
        let waiting = async {
            loop {
                commits.mark_unchanged();
                let status = self.status(channel).await;
                if wanted(&status) {
                    return status;
                }
                commits.changed().await.unwrap();
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(120), waiting)
            .await
            .expect("the commit comes")
    }
}

pub(super) fn zstd(rows: &[u8]) -> Vec<u8> {
    zstd::encode_all(rows, 1).unwrap()
}

pub(super) fn gzip(rows: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(rows).unwrap();
    encoder.finish().unwrap()
}

/// Three rows.
pub(super) fn body_of(number: i32) -> String {
    format!("{{\"n\":\"{number}\"}}\n").repeat(3)
}
