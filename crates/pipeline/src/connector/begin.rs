//! How a connector begins: the stream, the destination, the lease table, the pin.
//!
//! What may heal is tried again until it does, and nothing is read before all of it is known. Another program's checkpoint
//! table of the application's name is taken over first.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use frazil_kinesis::{FanOutConsumer, Shard, StartAt, StreamDescription};
use frazil_lease::admin::Layout;
use frazil_lease::migrate::{ListedShard, MigrateOptions, Migration, Outcome, migration_table};
use frazil_lease::{LeaseCoordinator, LeaseOptions, Pin, PinnedShard, PinnedStart, StreamIdentity};
use frazil_model::{Event, ShardId, WorkerId};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Begun, Connector, START};
use crate::audit::Audit;
use crate::error::Error;
use crate::options::{ConsumerType, InitialPosition, OnRowError};
use crate::pipes::OpenPipes;
use crate::topology::{Pinned, Topology};

impl Connector {
    pub(super) async fn begin(&self) -> Result<Begun, Error> {
        let stream = self.healing("describe stream", || self.describe()).await?;
        let on_row_error = self
            .healing("reach the destination", || self.reach_destination())
            .await?;
        let consumer = self.register(&stream).await?;
        let identity = StreamIdentity {
            arn: stream.arn.clone(),
            created_ms: stream.created_ms,
        };
        self.healing("take over", || self.take_over(&identity)).await?;
        let (candidates, readable) = watch::channel(Arc::default());
        let leases = self
            .healing("start leases", || {
                self.start_leases(&stream, &identity, readable.clone())
            })
            .await?;
        let pin = self.healing("pin", || self.pin(&leases, &identity)).await?;
        let parts = &self.parts;
        let pipes = OpenPipes::start(
            &parts.pipes,
            |pipe| on_row_error.get(pipe).copied().unwrap_or(OnRowError::Stop),
            &parts.clock,
            &parts.random,
            &parts.events,
        );
        Ok(Begun {
            options: Arc::clone(&self.options),
            parts: self.parts.clone(),
            stream: Arc::new(stream),
            consumer,
            held: leases.held(),
            leases,
            pipes: Arc::new(pipes),
            compressors: Arc::default(),
            topology: Topology::new(pinned(&pin), []),
            candidates,
            states: HashMap::new(),
            ways: HashMap::new(),
            tasks: JoinSet::new(),
            over: HashMap::new(),
            fatal: None,
            looks: 0,
            missed: HashMap::new(),
            audit: Audit::default(),
        })
    }

    async fn describe(&self) -> Result<StreamDescription, Error> {
        let stream = self.parts.kinesis.describe_stream().await?;
        if stream.is_readable() {
            return Ok(stream);
        }
        let code = stream.status;
        let message = format!("stream {} cannot be read yet", stream.name);
        Err(frazil_kinesis::Error::ServerFault {
            call: "DescribeStream",
            code,
            message,
        }
        .into())
    }

    /// What enhanced fan-out reads with, registered and active; none where the stream is polled.
    async fn register(&self, stream: &StreamDescription) -> Result<Option<Arc<FanOutConsumer>>, Error> {
        if self.options.consumer_type == ConsumerType::SharedThroughput {
            return Ok(None);
        }
        let parts = &self.parts;
        let consumer = FanOutConsumer::new(
            Arc::clone(&parts.kinesis),
            Arc::clone(&parts.clock),
            Arc::clone(&parts.random),
            parts.events.clone(),
            stream,
            &self.options.application,
        );
        self.healing("register consumer", || async { Ok(consumer.arn().await?) })
            .await?;
        Ok(Some(Arc::new(consumer)))
    }

    /// Asks for the status of a channel that is not there: key, names and rights are wrong for every shard, or for none.
    /// Answers for each pipe what is to be done at row errors. Pipes of one table must write to one, as far as the role sees it.
    async fn reach_destination(&self) -> Result<HashMap<String, OnRowError>, Error> {
        let nobodys = ["FRAZIL_START".to_owned()];
        let pipes = &self.parts.pipes;
        for pipe in pipes.all() {
            pipe.snowpipe.channel_status(&nobodys).await?;
        }
        let mut on_row_error = HashMap::new();
        let mut tables: HashMap<String, String> = HashMap::new();
        for pipe in pipes.all() {
            let name = pipe.destination.clone();
            if let Some(configured) = self.options.on_row_error
                && pipes.of_one_table().len() < 2
            {
                on_row_error.insert(name, configured);
                continue;
            }
            let facts = pipe.snowpipe.table().await?;
            let default = match facts.as_ref().and_then(|facts| facts.error_logging) {
                Some(true) => OnRowError::Continue,
                _ => OnRowError::Stop,
            };
            on_row_error.insert(name.clone(), self.options.on_row_error.unwrap_or(default));
            tables.extend(facts.map(|facts| (name, facts.name)));
        }
        let mut of_one = pipes
            .of_one_table()
            .iter()
            .filter_map(|pipe| tables.get(&pipe.destination));
        if let Some(one) = of_one.next()
            && let Some(other) = of_one.find(|other| *other != one)
        {
            let (one, other) = (one.clone(), other.clone());
            return Err(Error::SeveralTables { one, other });
        }
        Ok(on_row_error)
    }

    /// Takes another program's checkpoints over, where the application's table is one of those.
    async fn take_over(&self, stream: &StreamIdentity) -> Result<(), Error> {
        let Some(tables) = &self.parts.tables else {
            return Ok(());
        };
        let application = &self.options.application;
        // A takeover that was not finished is known by its copy. Who may not look at that has none under way.
        let unfinished = match tables.describe(&migration_table(application)).await {
            Err(frazil_lease::Error::AccessDenied { .. }) => false,
            found => found?.is_some(),
        };
        let found = tables.describe(application).await?;
        let foreign = found.is_some_and(|found| found.layout == Layout::ClientLibrary);
        if !(foreign || unfinished) {
            return Ok(());
        }
        let stream_name = self.parts.kinesis.describe_stream().await?.name;
        let worker = WorkerId::random(&*self.parts.random);
        let now_ms = self.parts.clock.wall_ms();
        let start = self.pinned_start();
        let mut options =
            MigrateOptions::new(application, stream_name, stream.clone(), start, worker, now_ms);
        let listed = self.parts.kinesis.list_shards().await?;
        options.listed = listed.into_iter().map(listed_shard).collect();
        let (clock, random) = (Arc::clone(&self.parts.clock), Arc::clone(&self.parts.random));
        let migration = Migration::new(Arc::clone(tables), options, clock, random);
        if let Outcome::Done { notes } = migration.carry_out().await? {
            let connector = self.parts.events.connector();
            tracing::info!(connector, application, ?notes, "checkpoint table taken over");
        }
        Ok(())
    }

    fn pinned_start(&self) -> PinnedStart {
        match self.options.initial_position {
            InitialPosition::TrimHorizon => PinnedStart::TrimHorizon,
            InitialPosition::Latest => PinnedStart::Latest {
                ms: self.parts.clock.wall_ms(),
            },
            InitialPosition::AtTimestamp { ms } => PinnedStart::AtTimestamp { ms },
        }
    }

    async fn start_leases(
        &self,
        stream: &StreamDescription,
        identity: &StreamIdentity,
        readable: watch::Receiver<Arc<Vec<ShardId>>>,
    ) -> Result<LeaseCoordinator, Error> {
        let worker = WorkerId::random(&*self.parts.random);
        let (name, display) = (stream.name.clone(), &self.options.display_name);
        let mut options =
            LeaseOptions::new(&self.options.application, name, identity.clone(), worker, display);
        options.timeout = self.options.lease_timeout;
        options.tick = options.timeout / 3;
        options.look = options.look.min(options.tick / 2);
        let parts = &self.parts;
        let started = LeaseCoordinator::start(
            Arc::clone(&parts.leases),
            options,
            Arc::clone(&parts.clock),
            Arc::clone(&parts.random),
            parts.events.clone(),
            readable,
        );
        Ok(started.await?)
    }

    /// What stood at the application's first start; written now, if this is it.
    async fn pin(&self, leases: &LeaseCoordinator, identity: &StreamIdentity) -> Result<Pin, Error> {
        let shards = self.parts.kinesis.list_shards().await?;
        let shards = shards.iter().map(|shard| PinnedShard {
            id: shard.id.clone(),
            closed: shard.is_closed(),
        });
        let start = self.pinned_start();
        Ok(leases
            .pin(Pin {
                stream: identity.clone(),
                start,
                shards: shards.collect(),
            })
            .await?)
    }

    /// Calls until it succeeds or fails in a way that does not heal.
    async fn healing<T, F>(&self, call: &'static str, mut work: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut backoff = START.start();
        loop {
            let error = match work().await {
                Ok(done) => return Ok(done),
                Err(error) if error.kind().may_heal() => error,
                Err(error) => return Err(error),
            };
            let (kind, room, failures) = (error.kind(), error.room(), backoff.failures() + 1);
            let error = error.to_string();
            self.parts.events.emit(Event::CallFailed {
                shard: None,
                room,
                call,
                kind,
                error,
                failures,
            });
            backoff.wait(&*self.parts.clock, &*self.parts.random).await;
        }
    }
}

/// A shard as a takeover wants to see it.
#[must_use]
pub fn listed_shard(shard: Shard) -> ListedShard {
    ListedShard {
        closed: shard.is_closed(),
        id: shard.id,
        parents: shard.parents,
    }
}

fn pinned(pin: &Pin) -> Pinned {
    let (start, latest) = match pin.start {
        PinnedStart::TrimHorizon => (StartAt::TrimHorizon, false),
        PinnedStart::Latest { ms } => (StartAt::Timestamp { ms }, true),
        PinnedStart::AtTimestamp { ms } => (StartAt::Timestamp { ms }, false),
    };
    let closed = pin.shards.iter().filter(|shard| latest && shard.closed);
    let skipped: BTreeSet<ShardId> = closed.map(|shard| shard.id.clone()).collect();
    Pinned {
        start,
        shards: pin.shards.iter().map(|shard| shard.id.clone()).collect(),
        skipped,
    }
}
