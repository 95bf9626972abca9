//! A local Kinesis, DynamoDB and Snowflake in one process, to rehearse a pipeline without any account.
//!
//! [`Local::start`] binds loopback ports, brings back the state of one data folder and serves: Kinesis (`ferrokinesis`) and
//! DynamoDB (`dynoxide`) with their own protocols, and a local Snowflake with the Snowpipe Streaming REST protocol and SQL,
//! over plain HTTP and over TLS. It speaks to clients by their protocols only and shares no types with them.
//!
//! Guarantees: everything listens on 127.0.0.1 only and nothing dials outside; what was answered as done survives a crash
//! of the process or machine; one process at a time uses a data folder. It is made for one machine and checks no grants.

mod aws;
mod disk;
pub mod error;
pub mod faults;
mod folder;
mod server;
pub mod snowflake;
mod standins;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::error::{Error, Result};
use self::faults::Service;
use self::faults::layer::{Account, Layer};
pub use self::faults::{Faults, FaultsFile, Fired};
use self::folder::DataFolder;
pub use self::snowflake::behaviours::Behaviours;
use self::snowflake::{DEMO_USER, Running, Setup, Snowflake, tls};
use self::standins::dynamodb::{self, DynamoDb};
use self::standins::kinesis::limits::budget::Monotonic;
use self::standins::kinesis::{self, Kinesis};

/// The name of the threads that SQL statements run on. A panic there is an error of the statement: what a user may write is planned by a
/// library that does not answer all of it.
pub const STATEMENT_THREAD: &str = "frazil-statement";

/// How to start the local stack. Port 0 means any free one.
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// Where everything is kept; made if it is absent.
    pub data_dir: PathBuf,
    /// Port of Kinesis.
    pub kinesis_port: u16,
    /// Port of DynamoDB.
    pub dynamodb_port: u16,
    /// Port of the local Snowflake, plain HTTP.
    pub snowflake_http_port: u16,
    /// Port of the local Snowflake, TLS.
    pub snowflake_https_port: u16,
    /// AWS region in names.
    pub region: String,
    /// AWS account in names, 12 digits.
    pub aws_account_id: String,
    /// Account name of the local Snowflake; key-pair tokens must name it.
    pub account: String,
    /// Faults to inject.
    pub faults: FaultsFile,
    /// How long accepted rows wait for others before they are committed together.
    pub commit_interval: Duration,
    /// How long scoped tokens are good.
    pub token_lifetime: Duration,
    /// Whether a channel that makes more than 10 requests or 20 MB a second gets 429.
    pub enforce_limits: bool,
    /// What the local Snowflake answers where documents and tests of the service disagree.
    pub behaviours: Behaviours,
    /// Whether Kinesis has the budgets of the real service: what a shard takes and gives, and how often it may be asked.
    pub aws_limits: bool,
}

impl LocalOptions {
    /// Free ports, no faults, all limits, rows committed every 200 ms.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            kinesis_port: 0,
            dynamodb_port: 0,
            snowflake_http_port: 0,
            snowflake_https_port: 0,
            region: "us-east-1".into(),
            aws_account_id: "000000000000".into(),
            account: "LOCAL".into(),
            faults: FaultsFile::default(),
            commit_interval: Duration::from_millis(200),
            token_lifetime: Duration::from_secs(3600),
            enforce_limits: true,
            behaviours: Behaviours::default(),
            aws_limits: true,
        }
    }
}

/// Where the running stack is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Endpoint of Kinesis.
    pub kinesis_url: String,
    /// Endpoint of DynamoDB.
    pub dynamodb_url: String,
    /// Account URL of the local Snowflake, plain HTTP.
    pub snowflake_http_url: String,
    /// Account URL of the local Snowflake, TLS.
    pub snowflake_https_url: String,
    /// The authority to trust for it, PEM.
    pub certificate: PathBuf,
    /// Account name of the local Snowflake.
    pub account: String,
    /// A registered user.
    pub user: String,
    /// The user's private key, PKCS#8 PEM.
    pub private_key: PathBuf,
    /// AWS region.
    pub region: String,
}

/// The running local stack. Dropping it stops it too, but nobody knows when it is done: the data folder and the ports are
/// free a moment later.
#[derive(Debug)]
pub struct Local {
    addresses: Addresses,
    snowflake: Arc<Snowflake>,
    faults: Arc<Faults>,
    running: Running,
    kinesis: Kinesis,
    dynamodb: DynamoDb,
    stop: DropGuard,
    servers: Vec<JoinHandle<()>>,
}

impl Local {
    /// Starts everything; on return all ports answer.
    ///
    /// # Errors
    /// The data folder is in use, foreign or of another version; a port is taken; stored state is damaged.
    pub async fn start(options: LocalOptions) -> Result<Self> {
        let folder = Arc::new(DataFolder::open(&options.data_dir)?);
        let data_dir = folder.path().to_owned();
        let faults = Arc::new(Faults::new(&options.faults));
        let (kinesis_listener, kinesis_port) = server::bind("kinesis", options.kinesis_port).await?;
        let (dynamodb_listener, dynamodb_port) = server::bind("dynamodb", options.dynamodb_port).await?;
        let (http_listener, http_port) = server::bind("snowflake", options.snowflake_http_port).await?;
        let (https_listener, https_port) = server::bind("snowflake", options.snowflake_https_port).await?;

        let tls = tls::prepare(&data_dir.join("tls"))?;
        let account = Account {
            region: options.region.clone(),
            id: options.aws_account_id.clone(),
        };
        let kinesis = kinesis::Setup {
            folder: data_dir.join("kinesis"),
            region: options.region.clone(),
            account_id: options.aws_account_id,
            faults: Arc::clone(&faults),
            limits: options.aws_limits.then(Monotonic::system),
            held: Arc::clone(&folder),
        };
        let kinesis = Kinesis::start(kinesis, kinesis_listener).await?;
        let dynamodb = dynamodb::Setup {
            file: data_dir.join("dynamodb.db"),
            faults: Arc::clone(&faults),
            account: account.clone(),
            held: Arc::clone(&folder),
        };
        let dynamodb = DynamoDb::start(dynamodb, dynamodb_listener).await?;
        let (snowflake, running) = Snowflake::open(Setup {
            data_dir: data_dir.clone(),
            account: options.account,
            commit_interval: options.commit_interval,
            token_lifetime: options.token_lifetime,
            enforce_limits: options.enforce_limits,
            behaviours: options.behaviours,
            https_port,
            faults: Arc::clone(&faults),
            folder: Arc::clone(&folder),
        })?;
        folder.sync()?;

        let stop = CancellationToken::new();
        let router = Layer::new(Arc::clone(&faults), Service::Snowflake, account).wrap(snowflake.router());
        let servers = vec![
            tokio::spawn(folder::held(
                &folder,
                server::serve(http_listener, router.clone(), None, stop.clone()),
            )),
            tokio::spawn(folder::held(
                &folder,
                server::serve(https_listener, router, Some(tls.config), stop.clone()),
            )),
        ];
        let addresses = Addresses {
            kinesis_url: format!("http://127.0.0.1:{kinesis_port}"),
            dynamodb_url: format!("http://127.0.0.1:{dynamodb_port}"),
            snowflake_http_url: format!("http://127.0.0.1:{http_port}"),
            snowflake_https_url: format!("https://127.0.0.1:{https_port}"),
            certificate: tls.authority,
            account: snowflake.account.clone(),
            user: DEMO_USER.to_owned(),
            private_key: snowflake.demo_key_path(),
            region: options.region,
        };
        tracing::info!(
            kinesis = addresses.kinesis_url,
            dynamodb = addresses.dynamodb_url,
            snowflake = addresses.snowflake_http_url,
            snowflake_tls = addresses.snowflake_https_url,
            "local stack started"
        );
        Ok(Self {
            addresses,
            snowflake,
            faults,
            running,
            kinesis,
            dynamodb,
            stop: stop.drop_guard(),
            servers,
        })
    }

    /// Where it listens, and how to log in.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The local Snowflake, for what is done in the same process: users, catalog.
    #[must_use]
    pub fn snowflake(&self) -> &Arc<Snowflake> {
        &self.snowflake
    }

    /// The faults that are injected, and how often each did; good beyond the end of the stack.
    #[must_use]
    pub fn faults(&self) -> Arc<Faults> {
        Arc::clone(&self.faults)
    }

    /// Ends serving (running requests get a few seconds), commits what is accepted, closes everything and frees the data
    /// folder and the ports.
    pub async fn shutdown(self) {
        drop(self.stop);
        for server in self.servers {
            let _ = server.await;
        }
        self.running.stop().await;
        self.kinesis.stop().await;
        self.dynamodb.stop().await;
        drop(self.snowflake);
        tracing::info!("local stack stopped");
    }
}
