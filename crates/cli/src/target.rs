//! Which stream and which Snowflake a verb speaks to: those of a configuration, or of a local stack.

use std::path::Path;
use std::sync::Arc;

use frazil_kinesis::aws::{Aws, CredentialsSource, Reach};
use frazil_kinesis::{Kinesis, KinesisClient, Producer, StreamDescription};
use frazil_lease::StreamIdentity;
use frazil_model::{Clock, Secret, StreamName, SystemClock, SystemRandom};
use frazil_runtime::config::{Config, ConnectorConfig, Variables};
use frazil_runtime::exit::Exit;
use frazil_runtime::run;
use frazil_snowflake::{Authentication, SecretSource, SnowflakeConfig, SqlClient};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// What a running local stack writes into its data folder: where it listens and how to log in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LocalAddresses {
    pub(crate) kinesis_url: String,
    pub(crate) dynamodb_url: String,
    pub(crate) snowflake_url: String,
    pub(crate) snowflake_tls_url: String,
    pub(crate) certificate: String,
    pub(crate) account: String,
    pub(crate) user: String,
    pub(crate) private_key_file: String,
    pub(crate) region: String,
}

/// The name of that file.
pub(crate) const LOCAL_FILE: &str = "local.json";
/// The region of a local stack.
pub(crate) const LOCAL_REGION: &str = "us-east-1";

impl LocalAddresses {
    /// Reads what a local stack wrote.
    pub(crate) fn read(data: &Path) -> Result<Self, Failure> {
        let path = data.join(LOCAL_FILE);
        let failed = |why: String| {
            let text = format!(
                "{}: {why}; start `frazil local --data {}` first",
                path.display(),
                data.display()
            );
            Failure::new(Exit::Missing, text)
        };
        let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| failed(error.to_string()))
    }

    /// The Snowflake side, in this database and schema.
    pub(crate) fn snowflake(&self, database: &str, schema: &str) -> SnowflakeConfig {
        SnowflakeConfig {
            account: self.account.clone(),
            user: self.user.clone(),
            role: None,
            authentication: Authentication::KeyPair {
                private_key: SecretSource::File(self.private_key_file.clone().into()),
                passphrase: None,
            },
            url: Some(self.snowflake_url.clone()),
            proxy: None,
            ca_file: None,
            database: database.to_owned(),
            schema: schema.to_owned(),
            pipe: String::new(),
        }
    }
}

/// The time that verbs go by.
pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// Credentials that a local stack takes; it checks none.
pub(crate) fn local_credentials() -> CredentialsSource {
    let secret_access_key = Secret::new("local");
    CredentialsSource::Static {
        access_key_id: "AKIDLOCAL".to_owned(),
        secret_access_key,
        session_token: None,
    }
}

/// The configuration's connector of this name; the first, if none is asked for.
pub(crate) fn load(path: &Path) -> Result<Config, Failure> {
    Ok(Config::load(path, &Variables::of_process())?)
}

/// The first connector.
pub(crate) fn first(config: Config, path: &Path) -> Result<ConnectorConfig, Failure> {
    let first = config.connectors.into_iter().next();
    first.ok_or_else(|| Failure::new(Exit::Usage, format!("{} names no connector", path.display())))
}

/// The connector of this name; the first, if none is asked for.
pub(crate) fn named(path: &Path, name: Option<&str>) -> Result<ConnectorConfig, Failure> {
    let config = load(path)?;
    let Some(name) = name else {
        return first(config, path);
    };
    let found = config
        .connectors
        .into_iter()
        .find(|connector| connector.name == name);
    let missing = || {
        Failure::new(
            Exit::Usage,
            format!("{} names no connector {name:?}", path.display()),
        )
    };
    found.ok_or_else(missing)
}

/// The failure of a connector's part.
pub(crate) fn of_connector(error: impl Into<run::Error>) -> Failure {
    let error = error.into();
    Failure::new(run::exit_of(&error), error.to_string())
}

/// What a verb that touches leases works with: the stream, and who it is.
pub(crate) struct Stream {
    pub(crate) kinesis: KinesisClient,
    pub(crate) description: StreamDescription,
    pub(crate) identity: StreamIdentity,
}

/// The stream of a connector.
pub(crate) async fn stream(connector: &ConnectorConfig) -> Result<Stream, Failure> {
    let kinesis = run::kinesis(&connector.source, &clock())
        .await
        .map_err(of_connector)?;
    let description = kinesis.describe_stream().await.map_err(of_kinesis)?;
    let identity = StreamIdentity {
        arn: description.arn.clone(),
        created_ms: description.created_ms,
    };
    Ok(Stream {
        kinesis,
        description,
        identity,
    })
}

/// A client of the SQL API.
pub(crate) fn sql_client(config: SnowflakeConfig) -> Result<SqlClient, Failure> {
    let client = SqlClient::new(config, Arc::new(SystemClock), Arc::new(SystemRandom));
    client.map_err(|error| Failure::of_kind(error.kind(), &error))
}

/// The failure of a call to Snowflake.
pub(crate) fn of_snowflake(error: frazil_snowflake::Error) -> Failure {
    let text = error.to_string();
    Failure::new(run::exit_of(&error.into()), text)
}

/// The failure of a call to Kinesis.
pub(crate) fn of_kinesis(error: frazil_kinesis::Error) -> Failure {
    let text = error.to_string();
    Failure::new(run::exit_of(&error.into()), text)
}

/// What clients of a local stack are made of.
pub(crate) fn local_aws(region: &str, endpoint: &str) -> Result<Aws, Failure> {
    let made = Aws::new(
        Reach::region(region),
        &local_credentials(),
        &[Some(endpoint)],
        &clock(),
    );
    made.map_err(of_kinesis)
}

/// A producer for the stream, which may be named by its ARN, too.
pub(crate) fn producer(
    aws: &Aws,
    stream: StreamName,
    stream_arn: Option<String>,
    endpoint: Option<&str>,
) -> Result<Producer, Failure> {
    let random = Arc::new(SystemRandom);
    Producer::new(aws, stream, stream_arn, endpoint, clock(), random).map_err(of_kinesis)
}
