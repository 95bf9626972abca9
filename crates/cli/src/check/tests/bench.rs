//! A local stack, an administrator of it, and connectors whose set-up is whole until something is broken.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use frazil_kinesis::{Kinesis as _, KinesisClient};
use frazil_lease::admin::TableAdmin;
use frazil_lease::{DynamoLeases, LeaseStore as _, Scope};
use frazil_local::{FaultsFile, Local, LocalOptions};
use frazil_model::{Clock, StreamName, SystemClock, SystemRandom};
use frazil_runtime::config::{ArrivalFormat, Config, ConnectorConfig, Target, Variables};
use frazil_runtime::run;
use frazil_snowflake::{Rows, SqlClient};
use tokio::sync::Mutex;

use super::super::finding::{Book, Finding, Group, Repair, State};
use super::super::inspect;
use crate::stack;
use crate::target::LocalAddresses;

/// The stream, lease table and shards that all share.
pub(super) const STREAM: &str = "clicks";
pub(super) const APPLICATION: &str = "app";

type Doors = (KinesisClient, Arc<dyn TableAdmin>);

pub(super) struct Bench {
    local: Local,
    pub(super) addresses: LocalAddresses,
    folder: tempfile::TempDir,
    admin: SqlClient,
    /// Doors that dumps went through, by stream: a client costs more than what is asked of it.
    doors: Mutex<HashMap<String, Doors>>,
}

/// Runs a test on threads with room for the plans of queries.
pub(super) fn on_threads<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(32 * 1024 * 1024)
        .enable_all()
        .build()
        .expect("threads");
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    runtime.block_on(work)
}

pub(super) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

impl Bench {
    pub(super) async fn start(faults: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), faults, false).await
    }

    async fn start_in(folder: tempfile::TempDir, faults: &str, aws_limits: bool) -> Self {
        let mut options = LocalOptions::new(folder.path().join("data"));
        options.aws_limits = aws_limits;
        options.faults = FaultsFile::parse(faults).expect("faults");
        let (local, addresses) = stack::start(options).await.expect("a stack");
        let admin = SqlClient::new(
            addresses.snowflake("", ""),
            Arc::new(SystemClock),
            Arc::new(SystemRandom),
        );
        Self {
            local,
            addresses,
            folder,
            admin: admin.expect("a client"),
            doors: Mutex::default(),
        }
    }

    /// Stops the stack, and starts it again on the same data with other faults.
    pub(super) async fn again(self, faults: &str) -> Self {
        self.local.shutdown().await;
        Self::start_in(self.folder, faults, false).await
    }

    /// Likewise, with the budgets of Kinesis.
    pub(super) async fn again_limited(self) -> Self {
        self.local.shutdown().await;
        Self::start_in(self.folder, "", true).await
    }

    /// Runs a statement as the administrator.
    pub(super) async fn sql(&self, statement: &str) -> Rows {
        let ran = self.admin.execute(statement).await;
        ran.unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    pub(super) async fn stream(&self, name: &str) {
        stack::make_stream(&self.addresses, name, 2)
            .await
            .expect("a stream");
    }

    /// A connector of this text, with what a broken set-up replaces in it.
    pub(super) fn connector(&self, application: &str, database: &str, role: &str) -> ConnectorConfig {
        let LocalAddresses {
            kinesis_url,
            dynamodb_url,
            snowflake_url,
            private_key_file,
            account,
            user,
            region,
            ..
        } = &self.addresses;
        let text = format!(
            "connectors:
  - name: one
    source:
      stream: {STREAM}
      region: {region}
      application_name: {application}
      endpoint: {kinesis_url}
      dynamodb_endpoint: {dynamodb_url}
      credentials: {{access_key_id: AKIDLOCAL, secret_access_key: local}}
    destination:
      account: {account}
      user: {user}
      role: {role}
      private_key_file: {private_key_file}
      url: {snowflake_url}
      database: {database}
      schema: S
      table: T
http: {{listen: 127.0.0.1:0}}
"
        );
        let config = Config::parse(&text, Path::new("frazil.yaml"), &Variables::of_process());
        let config = config.expect("a configuration");
        config.connectors.into_iter().next().expect("a connector")
    }

    /// Makes what a connector needs, in a database and a role of its own; the text `{n}` of statements stands for its number.
    pub(super) async fn whole(&self, n: usize) -> ConnectorConfig {
        for statement in [
            "CREATE DATABASE D{n}",
            "CREATE SCHEMA D{n}.S",
            "CREATE TABLE D{n}.S.T (KINESISMETADATA OBJECT, N NUMBER) ENABLE_SCHEMA_EVOLUTION = TRUE ERROR_LOGGING = TRUE",
            "CREATE ROLE R{n}",
            "GRANT ROLE R{n} TO USER FRAZIL",
            "GRANT USAGE ON DATABASE D{n} TO ROLE R{n}",
            "GRANT USAGE ON SCHEMA D{n}.S TO ROLE R{n}",
            "GRANT INSERT, EVOLVE SCHEMA ON TABLE D{n}.S.T TO ROLE R{n}",
        ] {
            self.sql(&numbered(statement, n)).await;
        }
        self.connector(APPLICATION, &format!("D{n}"), &format!("R{n}"))
    }

    pub(super) async fn tables(&self, connector: &ConnectorConfig) -> Arc<dyn TableAdmin> {
        let (_, tables) = run::leases(connector, &clock()).await.expect("leases");
        tables.expect("a lease table")
    }

    pub(super) async fn kinesis(&self, connector: &ConnectorConfig) -> KinesisClient {
        run::kinesis(&connector.source, &clock()).await.expect("a client")
    }

    /// Makes the lease table of an application, as the first start does.
    pub(super) async fn lease_table(&self, application: &str) {
        let aws =
            crate::target::local_aws(&self.addresses.region, &self.addresses.dynamodb_url).expect("AWS");
        let leases = DynamoLeases::new(
            &aws.sdk().expect("settings"),
            Some(self.addresses.dynamodb_url.clone()),
        );
        let scope = Scope {
            application: application.to_owned(),
            stream: StreamName::new(STREAM).expect("a name"),
        };
        let mut tries = 0;
        while leases.prepare(&scope).await.is_err() {
            tries += 1;
            assert!(tries < 1000, "the lease table is never ready");
            tokio::task::yield_now().await;
        }
    }

    /// Asks DynamoDB for something that no door of ours does.
    pub(super) async fn dynamodb(&self, action: &str, body: serde_json::Value) {
        let sent = reqwest::Client::builder().no_proxy().build().expect("a client");
        let answer = sent
            .post(&self.addresses.dynamodb_url)
            .header("x-amz-target", format!("DynamoDB_20120810.{action}"))
            .header("content-type", "application/x-amz-json-1.0")
            .header("authorization", "AWS4-HMAC-SHA256 Credential=AKIDLOCAL/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=00")
            .header("x-amz-date", "20260101T000000Z")
            .timeout(Duration::from_secs(30))
            .body(body.to_string())
            .send()
            .await
            .expect("an answer");
        let status = answer.status();
        assert!(
            status.is_success(),
            "{action}: {status} {:?}",
            answer.text().await
        );
    }

    async fn doors(&self, connector: &ConnectorConfig) -> Doors {
        let stream = connector.source.stream.to_string();
        let mut known = self.doors.lock().await;
        if let Some(doors) = known.get(&stream) {
            return doors.clone();
        }
        let doors = (self.kinesis(connector).await, self.tables(connector).await);
        known.insert(stream, doors.clone());
        doors
    }

    /// Everything that a check could change, as text.
    pub(super) async fn dump(&self, connector: &ConnectorConfig) -> String {
        let mut text = String::new();
        for statement in [
            "SHOW DATABASES",
            "SHOW SCHEMAS IN ACCOUNT",
            "SHOW TABLES IN ACCOUNT",
            "SHOW PIPES IN ACCOUNT",
            "SHOW CHANNELS IN ACCOUNT",
            "SHOW USERS",
            "SHOW ROLES",
        ] {
            text.push_str(&format!("{statement}: {:?}\n", self.sql(statement).await.rows));
        }
        // Roles of other set-ups are counted above; their grants would cost as much as all the rest.
        let own = connector
            .destination
            .database
            .trim_start_matches(char::is_alphabetic);
        for row in self.sql("SHOW ROLES").await.rows {
            let role = row[1].clone().expect("a name");
            if role.ends_with(|c: char| c.is_ascii_digit()) && !role.ends_with(own) {
                continue;
            }
            let grants = self.sql(&format!("SHOW GRANTS TO ROLE {role}")).await;
            text.push_str(&format!("{role}: {:?}\n", grants.rows));
        }
        let (kinesis, tables) = self.doors(connector).await;
        let application = &connector.source.application_name;
        let table = tables.describe(application).await;
        text.push_str(&format!("{application}: {table:?}\n"));
        if matches!(table, Ok(Some(_))) {
            let page = tables.scan(application, None).await.expect("rows");
            text.push_str(&format!("{:?}\n", page.items));
        }
        let stream = kinesis.describe_stream().await;
        let consumer = match &stream {
            Ok(stream) => Some(kinesis.describe_consumer(&stream.arn, application).await),
            Err(_) => None,
        };
        text.push_str(&format!(
            "{stream:?} {consumer:?} {:?}\n",
            kinesis.list_shards().await
        ));
        text
    }

    /// Checks a connector, and that nothing was changed by it.
    pub(super) async fn check(&self, connector: &ConnectorConfig) -> Vec<Finding> {
        let (file, clock) = (Path::new("frazil.yaml"), clock());
        let findings = self
            .unchanged(connector, async { inspect(connector, file, &clock).await.0 })
            .await;
        assert!(findings.len() >= 5, "{findings:?}");
        findings
    }

    /// Likewise, what is Snowflake's alone.
    pub(super) async fn check_snowflake(&self, connector: &ConnectorConfig) -> Vec<Finding> {
        let findings = self.unchanged(connector, async {
            let mut book = Book::new(&connector.name);
            book.enter(Group::Snowflake);
            let random = Arc::new(SystemRandom);
            super::super::snowflake::look(&mut book, connector, Some(2), &clock(), random).await;
            book.into_findings()
        });
        findings.await
    }

    async fn unchanged(
        &self,
        connector: &ConnectorConfig,
        check: impl Future<Output = Vec<Finding>>,
    ) -> Vec<Finding> {
        let before = self.dump(connector).await;
        let findings = check.await;
        assert_eq!(before, self.dump(connector).await, "the check changed something");
        findings
    }

    /// Does what a finding prints; what only a person can do is left, and answered.
    pub(super) async fn apply(&self, connector: &mut ConnectorConfig, findings: &[Finding]) -> Vec<String> {
        let mut sql = Vec::new();
        let mut steps = Vec::new();
        for repair in findings.iter().flat_map(|finding| &finding.repair) {
            match repair {
                Repair::Sql(stage, text) => sql.push((*stage, text.clone())),
                Repair::Configuration { key, value } => configure(connector, key, value),
                Repair::Shell(text) => self.shell(text).await,
                Repair::Step(text) => steps.push(text.clone()),
                Repair::Policy { .. } => panic!("rights of AWS are given by faults: {repair:?}"),
            }
        }
        sql.sort_by_key(|(stage, _)| *stage);
        for (_, statement) in sql {
            self.sql(&statement).await;
        }
        steps
    }

    async fn shell(&self, text: &str) {
        let words: Vec<&str> = text.split(' ').collect();
        assert_eq!(words[..3], ["aws", "kinesis", "create-stream"], "{text}");
        assert_eq!(words[3], "--stream-name", "{text}");
        self.stream(words[4]).await;
    }
}

fn configure(connector: &mut ConnectorConfig, key: &str, value: &str) {
    let value = value.to_owned();
    let to = &mut connector.destination;
    match key {
        "destination.database" => to.database = value,
        "destination.schema" => to.schema = value,
        "destination.table" => to.target = Target::Table(value),
        "destination.pipe" => to.target = Target::Pipe(value),
        "destination.role" => to.role = Some(value),
        "metadata.key" => connector.metadata.key = value,
        "metadata.approximate_arrival" => {
            assert_eq!(value, "epoch_ms");
            connector.metadata.approximate_arrival = ArrivalFormat::EpochMs;
        }
        "source.application_name" => connector.source.application_name = value,
        other => panic!("no such key: {other}"),
    }
}

/// A text with the number put in.
pub(super) fn numbered(text: &str, n: usize) -> String {
    text.replace("{n}", &n.to_string())
}

/// What is neither proved nor unknowable.
pub(super) fn bad(findings: &[Finding]) -> Vec<&Finding> {
    let bad = |finding: &&Finding| matches!(finding.state, State::Refused | State::Warning);
    findings.iter().filter(bad).collect()
}

/// Their ids, with the state's first letter.
pub(super) fn ids(findings: &[Finding]) -> Vec<String> {
    let id = |finding: &&Finding| format!("{} {}", finding.state.as_str(), finding.id);
    bad(findings).iter().map(id).collect()
}
