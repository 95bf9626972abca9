//! The local Snowflake: a server of the Snowpipe Streaming REST protocol and of SQL, with its own storage.
//!
//! The way of a batch: [`streaming`] checks it and [`log`] puts it on disk (then it is *accepted*); [`committer`] turns it
//! into columns through [`rows`] and commits rows, offset tokens and counters in one transaction of [`catalog`] (then it is
//! *committed*, and [`sql`] sees it).
//!
//! Guarantees: what was answered 200 is committed exactly once, also over a crash at any moment, unless its channel is
//! opened again or dropped before the commit, which discards it, as the service does. A caller's role must have the documented
//! privileges. The elastic channel is at-least-once.

pub(crate) mod auth;
mod backlog;
pub mod behaviours;
pub mod catalog;
mod cloned;
mod committer;
#[cfg(test)]
mod crash_tests;
mod decode;
mod driver;
mod error_table;
mod iceberg;
mod keys;
mod late;
mod log;
pub mod model;
mod oauth;
mod passwords;
mod registry;
mod row_timestamps;
pub mod rows;
mod segments;
#[cfg(test)]
mod speed;
pub mod sql;
pub mod sqlapi;
mod stage;
mod statements;
mod store;
mod stored;
mod streaming;
pub(crate) mod tls;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::auth::{Auth, AuthFailure, Login};
use self::behaviours::Behaviours;
use self::catalog::Catalog;
use self::catalog::roles::Grantee;
use self::committer::Runner;
use self::model::{ACCOUNTADMIN, CreateMode, PipeRow};
use self::store::Store;
use crate::disk::{RealDisk, replace_private};
use crate::faults::Faults;
use crate::folder::{DataFolder, held};
use crate::{Error, Result};

/// Bytes that one append may have after decompression.
pub(crate) const RAW_LIMIT: usize = 16 * 1024 * 1024;

/// ... and those that come by uploaded files.
pub(crate) const FILE_RAW_LIMIT: usize = 256 * 1024 * 1024;

/// The user that each new data folder has.
pub const DEMO_USER: &str = "FRAZIL";
/// The database that each new data folder has, with schema PUBLIC.
pub const DEMO_DATABASE: &str = "FRAZIL";

const PIPE_SECRET: &str = "pipe_key";
const PREPARED: &str = "prepared";

/// What the faults file may name as an operation of this service, beside those of single faults.
pub(crate) const OPERATIONS: [&str; 13] = [
    "hostname",
    "access_token",
    "oauth_token",
    "telemetry",
    "pipe_info",
    "open_channel",
    "drop_channel",
    "channel_status",
    "append_rows",
    "register_files",
    "upload_file",
    "statements",
    "unknown",
];

/// The operation of a request, as the faults file names it.
pub(crate) fn operation(method: &http::Method, path: &str) -> &'static str {
    if path.starts_with("/api/v2/statements") {
        return "statements";
    }
    if oauth::is_endpoint(path) {
        return "access_token";
    }
    streaming::path::Route::parse(method, path).operation()
}

/// How to open the local Snowflake.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) data_dir: PathBuf,
    pub(crate) account: String,
    pub(crate) commit_interval: Duration,
    pub(crate) token_lifetime: Duration,
    pub(crate) enforce_limits: bool,
    pub(crate) behaviours: Behaviours,
    pub(crate) https_port: u16,
    pub(crate) faults: Arc<Faults>,
    /// The data folder's lock, held as long as anything runs.
    pub(crate) folder: Arc<DataFolder>,
}

/// State shared by all its endpoints.
#[derive(Debug)]
pub struct Snowflake {
    /// What exists and what is committed.
    pub catalog: Arc<Catalog>,
    /// Segment paths are relative to it.
    pub data_dir: PathBuf,
    /// Who calls.
    pub auth: Auth,
    /// Upper-case account name.
    pub account: String,
    store: Arc<Store>,
    faults: Arc<Faults>,
    enforce_limits: bool,
    https_port: u16,
    pipe_secret: aws_lc_rs::hmac::Key,
    rights: streaming::rights::Rights,
}

/// The committer's task.
#[derive(Debug)]
pub(crate) struct Running {
    stop: DropGuard,
    committer: JoinHandle<()>,
    store: Arc<Store>,
}

impl Snowflake {
    /// What runs statements.
    pub(crate) fn engine(&self) -> sql::Engine {
        let disk = Arc::clone(&self.store.committer.disk);
        sql::Engine::new(
            Arc::clone(&self.catalog),
            disk,
            self.data_dir.clone(),
            &self.account,
        )
    }

    /// Opens the storage, recovers, starts committing. Blocks on the disk.
    pub(crate) fn open(setup: Setup) -> Result<(Arc<Self>, Running)> {
        let catalog = Catalog::open(&store::catalog_path(&setup.data_dir))?;
        let faults = setup.faults;
        let disk = Arc::new(RealDisk::new(&setup.data_dir));
        let store = Arc::new(Store::open(disk, catalog, Arc::clone(&faults), setup.behaviours)?);
        let catalog = Arc::clone(&store.catalog);
        let snowflake = Arc::new(Self {
            auth: Auth::new(Arc::clone(&catalog), &setup.account, setup.token_lifetime)?,
            pipe_secret: secret(&catalog)?,
            catalog,
            data_dir: setup.data_dir,
            account: setup.account.to_uppercase(),
            store: Arc::clone(&store),
            faults: Arc::clone(&faults),
            enforce_limits: setup.enforce_limits,
            https_port: setup.https_port,
            rights: streaming::rights::Rights::default(),
        });
        snowflake.prepare()?;
        let stop = CancellationToken::new();
        let runner = Runner {
            committer: Arc::clone(&store.committer),
            log: Arc::clone(&store.log),
            stage: Arc::clone(&store.stage),
            faults,
            interval: setup.commit_interval,
            stop: stop.clone(),
        };
        let running = Running {
            stop: stop.drop_guard(),
            committer: tokio::spawn(held(&setup.folder, runner.run())),
            store,
        };
        Ok((snowflake, running))
    }

    /// Registers a user with the role ACCOUNTADMIN, or replaces its first key (RSA_PUBLIC_KEY). The name is folded to upper case; the key is PEM or its
    /// base64.
    ///
    /// # Errors
    /// [`Error::Key`] if the key is no RSA key of at least 2048 bits.
    pub fn register_user(&self, name: &str, public_key: &str) -> Result<()> {
        let public = keys::read_public(public_key)?;
        let name = name.to_uppercase();
        self.catalog
            .put_user(&name, 1, &keys::fingerprint(&public), &public)?;
        self.may_everything(&name)
    }

    /// Gives a user the role ACCOUNTADMIN, as its default one.
    fn may_everything(&self, user: &str) -> Result<()> {
        let user_of_it = Grantee::User(user.to_owned());
        self.catalog.grant_role(ACCOUNTADMIN, &user_of_it, ACCOUNTADMIN)?;
        self.catalog.set_default_role(user, Some(ACCOUNTADMIN))
    }

    /// Whether this is the password of a registered user.
    pub(crate) fn check_password(&self, user: &str, password: &str) -> Result<bool> {
        let stored = self.catalog.password(user)?;
        Ok(stored.is_some_and(|stored| passwords::is_it(password, &stored)))
    }

    /// The private key of user [`DEMO_USER`]: PKCS#8 PEM, readable by its owner only.
    #[must_use]
    pub fn demo_key_path(&self) -> PathBuf {
        self.data_dir.join("keys").join("frazil_rsa_key.p8")
    }

    /// What a new data folder gets: a user with a key, a database.
    fn prepare(&self) -> Result<()> {
        if self.catalog.meta(PREPARED)?.is_some() {
            return Ok(());
        }
        let path = self.demo_key_path();
        let folder = self.data_dir.join("keys");
        std::fs::create_dir_all(&folder).map_err(Error::disk("create", &folder))?;
        let (private, public) = keys::generate()?;
        replace_private(&path, private.as_bytes()).map_err(Error::disk("write", &path))?;
        self.catalog
            .put_user(DEMO_USER, 1, &keys::fingerprint(&public), &public)?;
        self.may_everything(DEMO_USER)?;
        self.catalog
            .create_database(DEMO_DATABASE, CreateMode::IfNotExists)?;
        self.catalog.set_meta(PREPARED, b"1")
    }

    fn storage_endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.https_port)
    }

    /// 32 bytes that stay the same for a pipe.
    fn pipe_key(&self, pipe: &PipeRow) -> Vec<u8> {
        aws_lc_rs::hmac::sign(&self.pipe_secret, &pipe.id.to_be_bytes())
            .as_ref()
            .to_vec()
    }

    /// All endpoints of the service.
    pub(crate) fn router(self: &Arc<Self>) -> axum::Router {
        sqlapi::router(Arc::clone(self))
            .merge(driver::router(Arc::clone(self)))
            .merge(oauth::router(Arc::clone(self)))
            .merge(streaming::router(Arc::clone(self)))
    }
}

impl Running {
    /// Ends the committer after what is accepted is committed (unless a fault wants it lost), then the log.
    pub(crate) async fn stop(self) {
        let log = Arc::clone(&self.store.log);
        let _ = tokio::task::spawn_blocking(move || log.stop()).await;
        drop(self.stop);
        if let Err(error) = self.committer.await {
            tracing::error!(%error, "committer ended badly");
        }
    }
}

fn secret(catalog: &Catalog) -> Result<aws_lc_rs::hmac::Key> {
    let bytes = match catalog.meta(PIPE_SECRET)? {
        Some(bytes) => bytes,
        None => {
            let mut bytes = vec![0; 32];
            aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Key("no randomness".into()))?;
            catalog.set_meta(PIPE_SECRET, &bytes)?;
            bytes
        }
    };
    Ok(aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &bytes))
}
