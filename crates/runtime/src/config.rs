//! The configuration file.
//!
//! One YAML file describes every connector of a process. It is read in four steps: parse the YAML; put variables and
//! secrets into values; convert each value to its key's type; check what belongs together. Nothing here needs a
//! network, and the result cannot say what the program cannot do: what is not built yet is refused by name.
//!
//! What it guarantees: an unknown key is an error with the nearest known key; every problem is told with file, line,
//! column and key, all of them at once; a text that came from a variable or a secret is never printed. The frame of
//! keys is frozen by a test (`frame.yaml`).
//!
//! What it does not: it does not ask whether a stream, a table or a key file's content exists or is right; the
//! connector finds out when it starts, `frazil check` before that.

mod decode;
mod fields;
mod interpolate;
mod keys;
mod problem;
mod tree;
mod units;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use frazil_model::{Secret, StreamName};

pub use interpolate::Variables;
pub use keys::KEYS;
pub use problem::{ConfigError, Place, Problem};
pub use units::moment_ms;

/// The memory budget where none is given: 256 MiB.
pub const DEFAULT_MEMORY_BUDGET: u64 = 256 * 1024 * 1024;
/// The least memory of one connector: 48 MiB, room for one largest page of records and what becomes of it.
pub const MEMORY_PER_CONNECTOR: u64 = 48 * 1024 * 1024;
/// The metadata key where none is given.
pub const DEFAULT_METADATA_KEY: &str = "kinesisMetadata";
/// How often a checkpoint is written at most, where nothing is given.
pub const DEFAULT_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);
/// After how long without any commit a channel with accepted rows is opened again, where the configuration does not say.
pub const DEFAULT_COMMIT_TIMEOUT: Duration = Duration::from_secs(180);
/// After how long without a heartbeat a worker counts as dead, where nothing is given.
pub const DEFAULT_LEASE_TIMEOUT: Duration = Duration::from_secs(30);
/// The bytes of all dead-letter files of a connector, where nothing is given: 1 GiB.
pub const DEFAULT_DEAD_LETTER_BYTES: u64 = 1024 * 1024 * 1024;
/// The address of the HTTP server where none is given.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// A whole configuration file.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// At least one; names differ.
    pub connectors: Vec<ConnectorConfig>,
    /// Bytes of event data held in memory by the process at most.
    pub memory_budget: u64,
    /// The HTTP server of the process.
    pub http: HttpConfig,
}

/// Where state, metrics and health are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpConfig {
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether an address other than loopback is allowed: there is no authentication.
    pub allow_remote: bool,
}

/// One connector: a stream into a table.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectorConfig {
    /// 1 to 64 characters of `a-z`, `A-Z`, `0-9`, `_`, `-`.
    pub name: String,
    /// What is read.
    pub source: SourceConfig,
    /// Where rows go.
    pub destination: DestinationConfig,
    /// Where ownership of shards and positions are kept.
    pub leases: Leases,
    /// How the metadata of a row looks.
    pub metadata: MetadataConfig,
    /// Where records go that cannot become rows.
    pub dead_letters: DeadLetters,
    /// What a row error does; none: what the table's `ERROR_LOGGING` says.
    pub on_row_error: Option<OnRowError>,
    /// A moved position is checkpointed at most this often.
    pub checkpoint_interval: Duration,
    /// After how long without any commit a channel with accepted rows is opened again.
    pub commit_timeout: Duration,
    /// A worker whose heartbeat stood still for this long is taken for dead, and its shards move.
    pub lease_timeout: Duration,
}

/// The Kinesis side.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceConfig {
    /// The stream.
    pub stream: StreamName,
    /// Its ARN, where it is named by that; needed for another account's stream.
    pub stream_arn: Option<String>,
    /// The AWS region of stream and lease table.
    pub region: String,
    /// The application's name; it is the lease table's name.
    pub application_name: String,
    /// How records are read.
    pub consumer_type: ConsumerType,
    /// Where the application's first start begins.
    pub initial_position: InitialPosition,
    /// What becomes of user records of aggregates whose hash key belongs to another shard.
    pub hash_range_check: HashRangeCheck,
    /// Whether compressed payloads are decompressed.
    pub decompress: Decompress,
    /// How requests are signed.
    pub credentials: Credentials,
    /// Endpoints with FIPS 140 validated cryptography.
    pub use_fips: bool,
    /// Endpoints with IPv4 and IPv6.
    pub use_dual_stack: bool,
    /// A proxy for AWS; it may hold a password.
    pub proxy: Option<Secret>,
    /// Certificates (PEM) to trust for AWS, beside the usual ones.
    pub ca_file: Option<PathBuf>,
    /// Another address of Kinesis.
    pub endpoint: Option<String>,
    /// Another address of DynamoDB.
    pub dynamodb_endpoint: Option<String>,
}

/// How records are read from the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumerType {
    /// By polling; the shard's 2 MB/s are shared with every other reader.
    SharedThroughput,
    /// By a registered consumer of the application's name, with 2 MB/s of each shard for itself.
    EnhancedFanOut,
}

/// What becomes of user records of an aggregate whose hash key belongs to another shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashRangeCheck {
    /// They become rows, and are counted.
    Keep,
    /// They are dropped, and counted.
    Drop,
}

/// Whether compressed payloads are decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decompress {
    /// Where they begin as gzip or zstd.
    Auto,
    /// Never.
    Off,
}

/// Where the application's first start begins; later starts go on where the last one ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitialPosition {
    /// With what arrives from now on.
    Latest,
    /// With the oldest record the stream still has.
    TrimHorizon,
    /// With the first record that arrived at or after this moment, in milliseconds since 1970-01-01 UTC.
    AtTimestamp {
        /// The moment.
        ms: i64,
    },
}

/// Whose AWS rights are used.
#[derive(Debug, Clone, PartialEq)]
pub enum Credentials {
    /// Those of the environment, in the order of the AWS SDK.
    Default,
    /// These; nothing of the environment is looked at.
    Static {
        /// The access key's id.
        access_key_id: String,
        /// The access key's secret.
        secret_access_key: Secret,
        /// The token of temporary credentials.
        session_token: Option<Secret>,
    },
    /// A profile of the AWS configuration files.
    Profile(String),
    /// A role that these may assume.
    Role {
        /// Who assumes it.
        base: Box<Credentials>,
        /// The role.
        role: RoleConfig,
    },
    /// A role for the bearer of a token, as Kubernetes gives them out.
    WebIdentity {
        /// The file that holds the token; it is read again whenever new credentials are needed.
        token_file: PathBuf,
        /// The role.
        role: RoleConfig,
    },
}

/// An AWS role to assume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleConfig {
    /// Its ARN.
    pub arn: String,
    /// What its trust policy asks for.
    pub external_id: Option<String>,
    /// How the session is called in AWS's own logs.
    pub session_name: String,
    /// Another address of the token service (STS).
    pub sts_endpoint: Option<String>,
}

/// The Snowflake side.
#[derive(Debug, Clone, PartialEq)]
pub struct DestinationConfig {
    /// The account identifier: `organisation-account` or a locator.
    pub account: String,
    /// The user who writes.
    pub user: String,
    /// The role; `None`: the user's default role.
    pub role: Option<String>,
    /// How the user proves who it is.
    pub authentication: Authentication,
    /// The database, as Snowflake stores its name: `MY_DB` where it was created without quotes.
    pub database: String,
    /// The schema, likewise.
    pub schema: String,
    /// Table or pipe, likewise. With routes, that of all rows that no other takes, or the first where there is none such.
    pub target: Target,
    /// Rows that go elsewhere, by a key of theirs.
    pub routes: Option<RoutesConfig>,
    /// More pipes of the same table, for more shards than one pipe has channels.
    pub more_pipes: Vec<String>,
    /// Pipes that shards were on, and are to leave.
    pub leaving_pipes: Vec<String>,
    /// Another address of the account.
    pub url: Option<String>,
    /// A proxy for Snowflake and the token endpoint; it may hold a password.
    pub proxy: Option<Secret>,
    /// Certificates (PEM) to trust for Snowflake and the token endpoint, beside the usual ones.
    pub ca_file: Option<PathBuf>,
}

impl DestinationConfig {
    /// Every table or pipe that rows go to, each once.
    #[must_use]
    pub fn targets(&self) -> Vec<&Target> {
        let Some(routes) = &self.routes else {
            return vec![&self.target];
        };
        let others = routes.others.iter();
        others
            .chain(routes.to.iter().map(|route| &route.target))
            .collect()
    }

    /// The same place with this table or pipe for all rows.
    #[must_use]
    pub fn at(&self, target: &Target) -> Self {
        let mut alone = self.clone();
        alone.target = target.clone();
        if alone.routes.take().is_some() {
            // They may be of any of the tables.
            alone.leaving_pipes.clear();
        }
        alone
    }
}

impl ConnectorConfig {
    /// The connector as it is for each of its tables alone.
    #[must_use]
    pub fn by_target(&self) -> Vec<Self> {
        let at = |target: &Target| Self {
            destination: self.destination.at(target),
            ..self.clone()
        };
        self.destination.targets().into_iter().map(at).collect()
    }
}

/// Which rows go to which table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutesConfig {
    /// The member of a record that decides, by its exact name.
    pub key: String,
    /// At least one; no value and no target stands in two of them.
    pub to: Vec<RouteConfig>,
    /// Where all other rows go; none: they are dead letters.
    pub others: Option<Target>,
}

/// One of several tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteConfig {
    /// The table, or a pipe to it.
    pub target: Target,
    /// The values of the key that send a row there; at least one.
    pub values: Vec<String>,
}

/// How the user proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// By a private key whose public key is set on the user.
    KeyPair {
        /// The key (PEM).
        private_key: SecretSource,
        /// What an encrypted key is opened with.
        passphrase: Option<SecretSource>,
    },
    /// By a programmatic access token of the user's.
    ProgrammaticAccessToken {
        /// The token.
        token: SecretSource,
    },
    /// By access tokens of a token endpoint.
    OAuth(OAuthConfig),
}

/// Where access tokens come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthConfig {
    /// The endpoint; none: the account's own, for a refresh token.
    pub token_endpoint: Option<String>,
    /// The client's id.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: SecretSource,
    /// The refresh token; none: the client asks for itself (`client_credentials`).
    pub refresh_token: Option<SecretSource>,
    /// The scope that is asked for.
    pub scope: Option<String>,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file, which is read again whenever the secret is needed.
    File(PathBuf),
    /// In the configuration, or in what it named when it was read.
    Text(Secret),
}

/// What rows are sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A table, through its default pipe.
    Table(String),
    /// A pipe of the user's own.
    Pipe(String),
}

impl Target {
    /// The pipe: a table's default pipe has its name and `-STREAMING` (docs.snowflake.com, "Snowpipe Streaming:
    /// high-performance architecture").
    #[must_use]
    pub fn pipe(&self) -> String {
        match self {
            Self::Table(table) => format!("{table}-STREAMING"),
            Self::Pipe(pipe) => pipe.clone(),
        }
    }
}

/// Where ownership of shards and positions are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leases {
    /// In a DynamoDB table named after the application.
    DynamoDb,
    /// In a file of this machine: one worker only.
    None {
        /// The file.
        state_file: PathBuf,
    },
}

/// How a row's metadata looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataConfig {
    /// The key it is found under.
    pub key: String,
    /// How the arrival in Kinesis is written.
    pub approximate_arrival: ArrivalFormat,
}

/// How a moment is written into a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrivalFormat {
    /// `"2026-01-31T23:59:00.250Z"`.
    Iso8601,
    /// Milliseconds since 1970-01-01 UTC, as a number.
    EpochMs,
}

/// Where records go that cannot become rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetters {
    /// Into files of this folder; when they hold `max_bytes`, the shard stalls.
    File {
        /// The folder.
        path: PathBuf,
        /// Bytes of all its files at most.
        max_bytes: u64,
    },
    /// Nowhere: they are counted.
    Discard,
}

/// What a row error does to its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRowError {
    /// It is counted, and the shard goes on.
    Continue,
    /// The shard stops until told to go on.
    Stop,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem found, also where the file cannot be read.
    pub fn load(file: &Path, variables: &Variables) -> Result<Self, ConfigError> {
        let unreadable = |message: String| {
            let problem = Problem {
                place: Place::default(),
                key: String::new(),
                message,
            };
            ConfigError::new(file, vec![problem])
        };
        let failed = |error: std::io::Error| unreadable(format!("the file cannot be read: {error}"));
        let length = std::fs::metadata(file).map_err(failed)?.len();
        if length > tree::MAX_FILE_BYTES as u64 {
            return Err(unreadable(format!(
                "the file has more than {} bytes",
                tree::MAX_FILE_BYTES
            )));
        }
        let text = std::fs::read_to_string(file).map_err(failed)?;
        Self::parse(&text, file, variables)
    }

    /// Reads a text. `file` is the name for messages, and its folder is where relative paths count from.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem found.
    pub fn parse(text: &str, file: &Path, variables: &Variables) -> Result<Self, ConfigError> {
        decode::config(text, file, variables).map_err(|problems| ConfigError::new(file, problems))
    }
}

#[cfg(test)]
mod tests;
