//! Many connectors in one process: builds each from its configuration, keeps it running, and ends it.
//!
//! How it works: each connector is a task of its own. It builds its parts (which asks nobody), then carries its stream until
//! it is told to stop. An error that may heal starts it again after a pause; any other makes it `failed`, which the state,
//! `/readyz` and the exit code tell; the others go on.
//!
//! What it guarantees: a fault in one connector never stops another. A stop drains every connector, in bounded time. The
//! memory budget is cut into equal shares. What it does not: it takes no signals; the program does.

mod destination;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use frazil_kinesis::KinesisClient;
use frazil_kinesis::aws::{Aws, CredentialsSource, Reach, Role};
use frazil_lease::admin::TableAdmin;
use frazil_lease::{DynamoLeases, FileLeases, LeaseStore, Renewing};
use frazil_model::event::Observer;
use frazil_model::{Clock, ErrorKind, Events, Random, RetryPolicy};
use frazil_pipeline::dead_letters::{DeadLetterSink, Discard, FileDeadLetters};
use frazil_pipeline::shape::{ArrivalFormat, Decompress, HashRangeCheck, MetadataOptions};
use frazil_pipeline::{
    Connector, ConnectorOptions, ConsumerType, InitialPosition, MemoryBudget, OnRowError, Parts,
};
pub use frazil_pipeline::{Error, listed_shard};
use frazil_snowflake::AccountGate;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config, ConnectorConfig};
use crate::exit::Exit;
use crate::http::{self, Server};
use crate::metrics::Metrics;
use crate::state::{Board, MemoryState, Phase};
use destination::pipes;

pub use destination::snowflake;

/// Pauses before a connector that failed is started again.
const AGAIN: RetryPolicy = RetryPolicy {
    first: Duration::from_secs(1),
    cap: Duration::from_secs(60),
};

/// What is not in the configuration.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Take shards over whose rows went to another destination before.
    pub accept_destination: bool,
    /// The worker's name for people.
    pub display_name: String,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
}

/// A process's connectors, running.
#[derive(Debug)]
pub struct Runtime {
    board: Arc<Board>,
    address: std::net::SocketAddr,
    connectors: JoinSet<Exit>,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
    serving: CancellationToken,
}

/// The source of credentials that a configuration means.
#[must_use]
pub fn credentials(configured: &config::Credentials) -> CredentialsSource {
    match configured {
        config::Credentials::Default => CredentialsSource::Default,
        config::Credentials::Profile(name) => CredentialsSource::Profile(name.clone()),
        config::Credentials::Static {
            access_key_id,
            secret_access_key,
            session_token,
        } => CredentialsSource::Static {
            access_key_id: access_key_id.clone(),
            secret_access_key: secret_access_key.clone(),
            session_token: session_token.clone(),
        },
        config::Credentials::Role { base, role } => CredentialsSource::Role {
            base: Box::new(credentials(base)),
            role: assumed(role),
        },
        config::Credentials::WebIdentity { token_file, role } => CredentialsSource::WebIdentity {
            token_file: token_file.clone(),
            role: assumed(role),
        },
    }
}

fn assumed(role: &config::RoleConfig) -> Role {
    Role {
        arn: role.arn.clone(),
        external_id: role.external_id.clone(),
        session_name: role.session_name.clone(),
        sts_endpoint: role.sts_endpoint.clone(),
    }
}

fn options(configured: &ConnectorConfig, run: &RunOptions) -> ConnectorOptions {
    let source = &configured.source;
    let mut options = ConnectorOptions::new(&source.application_name, &source.region);
    options.display_name.clone_from(&run.display_name);
    options.initial_position = match source.initial_position {
        config::InitialPosition::Latest => InitialPosition::Latest,
        config::InitialPosition::TrimHorizon => InitialPosition::TrimHorizon,
        config::InitialPosition::AtTimestamp { ms } => InitialPosition::AtTimestamp { ms },
    };
    options.metadata = MetadataOptions {
        key: configured.metadata.key.clone(),
        approximate_arrival: match configured.metadata.approximate_arrival {
            config::ArrivalFormat::Iso8601 => ArrivalFormat::Iso8601,
            config::ArrivalFormat::EpochMs => ArrivalFormat::EpochMs,
        },
    };
    options.consumer_type = match source.consumer_type {
        config::ConsumerType::SharedThroughput => ConsumerType::SharedThroughput,
        config::ConsumerType::EnhancedFanOut => ConsumerType::EnhancedFanOut,
    };
    options.hash_range_check = match source.hash_range_check {
        config::HashRangeCheck::Keep => HashRangeCheck::Keep,
        config::HashRangeCheck::Drop => HashRangeCheck::Drop,
    };
    options.decompress = match source.decompress {
        config::Decompress::Auto => Decompress::Auto,
        config::Decompress::Off => Decompress::Off,
    };
    options.on_row_error = configured.on_row_error.map(|configured| match configured {
        config::OnRowError::Continue => OnRowError::Continue,
        config::OnRowError::Stop => OnRowError::Stop,
    });
    options.sole_writer = matches!(configured.leases, config::Leases::None { .. });
    options.checkpoint_interval = configured.checkpoint_interval;
    options.commit_timeout = configured.commit_timeout;
    options.lease_timeout = configured.lease_timeout;
    options.accept_destination = run.accept_destination;
    options
}

/// The door to the stream of a connector.
///
/// # Errors
/// What the configuration does not allow.
pub async fn kinesis(source: &config::SourceConfig, clock: &Arc<dyn Clock>) -> Result<KinesisClient, Error> {
    let aws = aws(source, clock).await?;
    let endpoint = source.endpoint.as_deref();
    Ok(KinesisClient::new(
        &aws,
        source.stream.clone(),
        source.stream_arn.clone(),
        endpoint,
        Arc::clone(clock),
    )?)
}

/// Where the leases of a connector are, and their table as a whole where there is one.
pub type LeaseDoors = (Arc<dyn LeaseStore>, Option<Arc<dyn TableAdmin>>);

/// The door to the leases of a connector.
///
/// # Errors
/// [`frazil_lease::Error::StateFile`].
pub async fn leases(configured: &ConnectorConfig, clock: &Arc<dyn Clock>) -> Result<LeaseDoors, Error> {
    match &configured.leases {
        config::Leases::DynamoDb => {
            let source = &configured.source;
            let aws = aws(source, clock).await?;
            let table = DynamoLeases::new(&aws.sdk()?, source.dynamodb_endpoint.clone());
            let table = Arc::new(Renewing::new(table, aws.keys()));
            Ok((Arc::clone(&table) as Arc<dyn LeaseStore>, Some(table)))
        }
        config::Leases::None { state_file } => {
            let path = state_file.clone();
            let opened = tokio::task::spawn_blocking(move || FileLeases::open(path)).await;
            let file = opened.map_err(|error| frazil_lease::Error::Unreachable {
                call: "open of the state file",
                detail: error.to_string(),
            })??;
            Ok((Arc::new(file), None))
        }
    }
}

/// What a connector's AWS clients are made of.
///
/// # Errors
/// What the configuration does not allow: a proxy that is none, certificates that cannot be read.
pub async fn aws(source: &config::SourceConfig, clock: &Arc<dyn Clock>) -> Result<Aws, Error> {
    let ca_pem = match &source.ca_file {
        None => None,
        Some(path) => {
            let read = tokio::fs::read(path).await;
            let unreadable = |error| {
                let text = format!("ca_file {} cannot be read: {error}", path.display());
                frazil_kinesis::Error::BadConfig(text)
            };
            Some(read.map_err(unreadable)?)
        }
    };
    let reach = Reach {
        region: source.region.clone(),
        use_fips: source.use_fips,
        use_dual_stack: source.use_dual_stack,
        proxy: source.proxy.clone(),
        ca_pem,
    };
    let endpoints = [source.endpoint.as_deref(), source.dynamodb_endpoint.as_deref()];
    Ok(Aws::new(
        reach,
        &credentials(&source.credentials),
        &endpoints,
        clock,
    )?)
}

async fn parts(
    configured: &ConnectorConfig,
    run: &RunOptions,
    board: &Board,
    events: Events,
    budget: MemoryBudget,
    gate: &Arc<AccountGate>,
) -> Result<Parts, Error> {
    let clock = Arc::clone(&run.clock);
    let kinesis = kinesis(&configured.source, &clock).await?;
    let (leases, tables) = leases(configured, &clock).await?;
    let pipes = pipes(configured, run, board, gate)?;
    let dead_letters: Arc<dyn DeadLetterSink> = match &configured.dead_letters {
        config::DeadLetters::Discard => Arc::new(Discard),
        config::DeadLetters::File { path, max_bytes } => {
            Arc::new(FileDeadLetters::new(&configured.name, path, *max_bytes)?)
        }
    };
    Ok(Parts {
        kinesis: Arc::new(kinesis),
        leases,
        tables,
        pipes,
        dead_letters,
        clock,
        random: Arc::clone(&run.random),
        events,
        budget,
    })
}

impl Runtime {
    /// Starts every connector and the HTTP server; `stop` drains and ends them.
    ///
    /// # Errors
    /// [`http::Error`] where the address of the HTTP server cannot be had.
    pub async fn start(
        config: Config,
        run: RunOptions,
        stop: CancellationToken,
    ) -> Result<Self, http::Error> {
        let names: Vec<&str> = config
            .connectors
            .iter()
            .map(|connector| connector.name.as_str())
            .collect();
        let board = Arc::new(Board::new(Arc::clone(&run.clock), names.iter().copied()));
        let metrics = Arc::new(Metrics::new(Arc::clone(&board), names.iter().copied()));
        let server = Server::bind(config.http).await?;
        let address = server.address();
        tracing::info!(%address, "console listens");
        let bytes = usize::try_from(config.memory_budget).unwrap_or(usize::MAX);
        let shares = MemoryBudget::shares(bytes, config.connectors.len());
        watch_memory(&board, &shares);
        let mut connectors = JoinSet::new();
        let mut gates: HashMap<String, Arc<AccountGate>> = HashMap::new();
        for (configured, budget) in config.connectors.into_iter().zip(shares) {
            let observers: Vec<Arc<dyn Observer>> = vec![board.clone(), metrics.clone()];
            let events = Events::new(&configured.name, observers);
            let (board, run, stop) = (Arc::clone(&board), run.clone(), stop.clone());
            let to = &configured.destination;
            let account = to.url.as_ref().unwrap_or(&to.account).to_lowercase();
            let gate = gates.entry(account).or_insert_with(|| {
                Arc::new(AccountGate::new(Arc::clone(&run.clock), Arc::clone(&run.random)))
            });
            let gate = Arc::clone(gate);
            connectors.spawn(keep_running(configured, run, events, budget, gate, board, stop));
        }
        // State and health are served until the last connector has drained.
        let serving = CancellationToken::new();
        let server = tokio::spawn(server.serve(Arc::clone(&board), metrics, serving.clone()));
        Ok(Self {
            board,
            address,
            connectors,
            server,
            serving,
        })
    }

    /// What the connectors are at.
    #[must_use]
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Where the HTTP server listens.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    /// Waits until every connector has ended; answers the worst of their ends.
    pub async fn wait(mut self) -> Exit {
        let mut worst = Exit::Done;
        while let Some(ended) = self.connectors.join_next().await {
            let exit = ended.unwrap_or(Exit::Internal);
            if worst == Exit::Done {
                worst = exit;
            }
        }
        self.serving.cancel();
        if let Ok(Err(error)) = self.server.await {
            tracing::warn!(%error, "console ended");
        }
        worst
    }
}

fn watch_memory(board: &Board, shares: &[MemoryBudget]) {
    let shares = shares.to_vec();
    let sum =
        |of: fn(&MemoryBudget) -> usize, shares: &[MemoryBudget]| shares.iter().map(of).sum::<usize>() as u64;
    board.watch_memory(Box::new(move || MemoryState {
        budget_bytes: sum(MemoryBudget::total, &shares),
        in_use_bytes: sum(MemoryBudget::in_use, &shares),
        highest_bytes: sum(MemoryBudget::highest, &shares),
    }));
}

/// Runs one connector until it is stopped, or fails in a way that does not heal.
async fn keep_running(
    configured: ConnectorConfig,
    run: RunOptions,
    events: Events,
    budget: MemoryBudget,
    gate: Arc<AccountGate>,
    board: Arc<Board>,
    stop: CancellationToken,
) -> Exit {
    let name = configured.name.clone();
    let mut backoff = AGAIN.start();
    loop {
        board.phase(&name, Phase::Starting);
        let draining = tokio::spawn({
            let (board, name, stop) = (Arc::clone(&board), name.clone(), stop.clone());
            async move {
                stop.cancelled().await;
                board.phase(&name, Phase::Draining);
            }
        });
        let ended = match parts(&configured, &run, &board, events.clone(), budget.clone(), &gate).await {
            Ok(parts) => {
                Connector::new(options(&configured, &run), parts)
                    .run(stop.clone())
                    .await
            }
            Err(error) => Err(error),
        };
        draining.abort();
        let error = match ended {
            Ok(()) => {
                board.phase(&name, Phase::Stopped);
                return Exit::Done;
            }
            Err(error) => error,
        };
        let (kind, text) = (error.kind(), error.to_string());
        if !kind.may_heal() || stop.is_cancelled() {
            tracing::error!(
                connector = name,
                kind = kind.as_str(),
                error = text,
                "connector failed"
            );
            board.failed(&name, Phase::Failed, kind, &text);
            return exit_of(&error);
        }
        tracing::warn!(
            connector = name,
            kind = kind.as_str(),
            error = text,
            "connector failed and starts again"
        );
        board.failed(&name, Phase::Waiting, kind, &text);
        let pause = backoff.next_wait(&*run.random);
        tokio::select! {
            () = run.clock.sleep(pause) => {}
            () = stop.cancelled() => return exit_of(&error),
        }
    }
}

/// The exit that fits the situation.
#[must_use]
pub fn exit_of(error: &Error) -> Exit {
    match error {
        Error::Kinesis(frazil_kinesis::Error::Missing { .. })
        | Error::Snowflake(frazil_snowflake::Error::Missing { .. }) => Exit::Missing,
        Error::Kinesis(
            frazil_kinesis::Error::AccessDenied { .. } | frazil_kinesis::Error::KeyDenied { .. },
        )
        | Error::Lease(frazil_lease::Error::AccessDenied { .. })
        | Error::Snowflake(
            frazil_snowflake::Error::Unauthorized { .. }
            | frazil_snowflake::Error::BadKey { .. }
            | frazil_snowflake::Error::BadSecret { .. },
        ) => Exit::Unauthorized,
        Error::Kinesis(frazil_kinesis::Error::BadConfig(_))
        | Error::Snowflake(frazil_snowflake::Error::BadConfig(_))
        | Error::Lease(frazil_lease::Error::ForeignLayout { .. } | frazil_lease::Error::OtherStream { .. }) => {
            Exit::Usage
        }
        Error::AnotherWriter { .. } => Exit::AnotherWriter,
        other if other.kind() == ErrorKind::ReAuthenticate => Exit::Unauthorized,
        other => Exit::of_kind(other.kind()),
    }
}
