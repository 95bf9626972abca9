//! `DynamoLeases` against dynoxide on loopback: every update means there what it means to the table in memory.

use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use dynoxide::Database;
use frazil_lease::admin::TableAdmin;
use frazil_lease::fake::MemoryLeases;
use frazil_lease::probe::{Right, probe};
use frazil_lease::row::{Item, Row, ShardRow, decode};
use frazil_lease::update::{Memory, Update};
use frazil_lease::{
    ChannelMark, Checkpoint, CheckpointOutcome, CountedChannel, Counters, DynamoLeases, Error,
    LeaseCoordinator, LeaseOptions, LeaseStore, Pin, PinnedStart, Scope, ShardStart, StreamIdentity, Tenure,
    Written,
};
use frazil_model::{
    ErrorKind, Events, Position, Random, SeededRandom, SequenceNumber, ShardId, StreamName, SystemClock,
    WorkerId,
};
use tokio::sync::watch;

async fn serve() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("bound");
    let database = Database::memory().expect("memory");
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    format!("http://{address}")
}

fn sdk() -> SdkConfig {
    let credentials = Credentials::new("local", "local", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

fn scope() -> Scope {
    Scope {
        application: "app".to_owned(),
        stream: StreamName::new("clicks").expect("valid"),
    }
}

fn stream() -> StreamIdentity {
    StreamIdentity {
        arn: "arn:aws:kinesis:eu-central-1:1:stream/clicks".to_owned(),
        created_ms: 1,
    }
}

async fn prepared() -> DynamoLeases {
    let leases = DynamoLeases::new(&sdk(), Some(serve().await));
    let mut tries = 0;
    while let Err(error) = leases.prepare(&scope()).await {
        assert!(matches!(error, Error::TableNotReady { .. }), "{error}");
        tries += 1;
        assert!(tries < 200, "the table is never ready");
        tokio::task::yield_now().await;
    }
    leases
}

fn shard_row(item: Option<&Item>) -> Option<ShardRow> {
    match item.map(decode) {
        Some(Ok(Row::Shard(row))) => Some(*row),
        _ => None,
    }
}

/// Some update that a worker, its rival, or a late request of one of them might send.
fn any_update(random: &SeededRandom, seen: &[Option<ShardRow>]) -> Update {
    let worker = WorkerId::new(["one", "two"][usize::from(random.below(2) == 1)]).expect("valid");
    let shard = ShardId::new("shardId-000000000000").expect("valid");
    let row = seen[usize::try_from(random.below(seen.len() as u64)).expect("small")].as_ref();
    let known = row.filter(|_| random.below(3) > 0);
    let worker = known.and_then(|row| row.state.owner.clone()).unwrap_or(worker);
    let tenure = Tenure {
        shard: shard.clone(),
        epoch: known.map_or(random.below(4), |row| row.state.epoch),
        generation: known.map_or(0, |row| row.state.generation),
    };
    let sequence = SequenceNumber::new(random.below(1200).to_string()).expect("digits");
    let position = Position {
        last: random.below(3) > 0,
        ..Position::whole(sequence)
    };
    let checkpoint = Checkpoint {
        position: (random.below(5) > 0).then_some(position),
        ended: random.below(8) == 0,
        channels: vec![CountedChannel {
            channel: ChannelMark {
                name: "C".to_owned(),
                pipe: "P".to_owned(),
                created_on_ms: 1,
            },
            counters: Counters {
                rows_inserted: 5,
                row_errors: 1,
            },
        }],
        ..Checkpoint::default()
    };
    let key = "__node__#frazil-worker-1";
    match random.below(14) {
        0 | 1 | 13 => {
            let memory = [Memory::Keep, Memory::Adopt, Memory::Forget]
                [usize::try_from(random.below(3)).expect("small")];
            let epoch = row.map_or(0, |row| row.state.epoch) + 1;
            Update::take(&shard, row, memory, (&worker, epoch), &stream(), 5)
        }
        2..=4 => Update::checkpoint(&worker, &tenure, random.below(6), &checkpoint, 6),
        5 => Update::release(&worker, &tenure, 7),
        9 => Update::rewind(&shard, row, &ShardStart::TrimHorizon, &stream(), 5),
        10 => match row {
            Some(row) => Update::clear(row, random.below(2) == 0, 6),
            None => Update::release(&worker, &tenure, 7),
        },
        11 => Update::offer(&worker, &tenure, 7).with_rate(Some(random.below(9))),
        12 => match row {
            Some(row) if random.below(3) == 0 => Update::forget(row),
            _ => Update::checkpoint(&worker, &tenure, random.below(6), &checkpoint, 6).with_rate(Some(3)),
        },
        6 => Update::claim(key, &worker, "host", 1, 8),
        7 => Update::beat(key, &worker, random.below(9), 9),
        _ => Update::retire(key, &worker, (random.below(2) == 0).then_some(3)),
    }
}

#[tokio::test]
async fn random_updates_end_as_they_do_in_memory() {
    let (dynamo, memory) = (prepared().await, MemoryLeases::default());
    let scope = scope();
    let random = SeededRandom::new(11);
    let mut seen = vec![None];
    let (mut done, mut refused) = (0, 0);
    for step in 0..900 {
        let update = any_update(&random, &seen);
        let expected = memory.update(&scope, &update).await.expect("memory answers");
        let answer = dynamo.update(&scope, &update).await.expect("dynoxide answers");
        assert_eq!(answer, expected, "step {step}: {update:?}");
        match answer {
            Written::Done => done += 1,
            Written::Refused(_) => refused += 1,
        }
        let row = dynamo.row(&scope, &update.key).await.expect("dynoxide answers");
        assert_eq!(row, memory.peek(&scope, &update.key), "step {step}: {update:?}");
        if update.key.starts_with("shardId") {
            seen = vec![shard_row(row.as_ref()), seen.swap_remove(0)];
        }
    }
    assert!(
        done > 100 && refused > 100,
        "{done} done, {refused} refused: the test tests too little"
    );
    let mut rows = dynamo.rows(&scope, "").await.expect("dynoxide answers");
    rows.sort_by_key(|row| format!("{:?}", row.get("shardId")));
    assert_eq!(rows, memory.rows(&scope, "").await.expect("memory answers"));
    let nodes = dynamo.rows(&scope, "__node__#").await.expect("dynoxide answers");
    assert_eq!(nodes.len(), 1);
}

#[tokio::test]
async fn all_pages_of_a_query_are_read() {
    let leases = prepared().await;
    let scope = scope();
    let worker = WorkerId::new("w").expect("valid");
    // DynamoDB ends a page at 1 MB; these rows have 3 MB.
    let display = "x".repeat(300_000);
    for n in 0..10 {
        let update = Update::claim(&format!("__node__#frazil-worker-{n}"), &worker, &display, 1, 1);
        assert_eq!(leases.update(&scope, &update).await, Ok(Written::Done));
    }
    assert_eq!(leases.rows(&scope, "").await.expect("dynoxide answers").len(), 10);
}

#[tokio::test]
async fn a_worker_lives_on_the_real_protocol() {
    let leases = Arc::new(DynamoLeases::new(&sdk(), Some(serve().await)));
    let random: Arc<dyn Random> = Arc::new(SeededRandom::new(3));
    let shards: Vec<ShardId> = (0..4)
        .map(|n| ShardId::new(format!("shardId-{n:012}")).expect("valid"))
        .collect();
    let candidates = watch::Sender::new(Arc::new(shards.clone()));
    let worker = WorkerId::random(&*random);
    let options = LeaseOptions::new("app", scope().stream, stream(), worker, "host");
    let store: Arc<dyn LeaseStore> = leases.clone();
    let clock = Arc::new(SystemClock);
    let events = Events::new("test", Vec::new());
    let coordinator =
        LeaseCoordinator::start(store, options, clock, random, events, candidates.subscribe()).await;
    let coordinator = coordinator.expect("the table is made");
    let mut held = coordinator.held();
    let all = held.wait_for(|held| held.len() == 4);
    let held = tokio::time::timeout(Duration::from_secs(20), all)
        .await
        .expect("in time")
        .expect("running")
        .clone();
    let tenure = &held[&shards[2]].tenure;
    let position = Position::whole(SequenceNumber::new("77").expect("digits"));
    let checkpoint = Checkpoint {
        position: Some(position.clone()),
        ..Checkpoint::default()
    };
    assert_eq!(
        coordinator.checkpoint(tenure, checkpoint).await,
        Ok(CheckpointOutcome::Done)
    );
    assert_eq!(
        coordinator.read(&shards[2]).await.expect("readable").position,
        Some(position)
    );
    let pin = Pin {
        stream: stream(),
        start: PinnedStart::TrimHorizon,
        shards: Vec::new(),
    };
    assert_eq!(coordinator.pin(pin.clone()).await, Ok(pin));
    coordinator.stop().await;
    for shard in &shards {
        let row = shard_row(
            leases
                .row(&scope(), shard.as_str())
                .await
                .expect("readable")
                .as_ref(),
        );
        let state = row.expect("the row stays").state;
        assert_eq!((state.owner, state.epoch), (None, 1));
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let leases = DynamoLeases::new(&sdk(), Some(format!("http://{address}")));
    let error = leases.rows(&scope(), "").await.expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::Retry);
    let leases = DynamoLeases::new(&sdk(), Some(serve().await));
    let error = leases.rows(&scope(), "").await.expect_err("no table");
    assert_eq!(
        error,
        Error::TableMissing {
            table: "app".to_owned()
        }
    );
}

#[tokio::test]
async fn a_probe_proves_each_action_and_writes_nothing() {
    let leases = prepared().await;
    let found = probe(&leases, &scope()).await;
    assert_eq!(found.table.as_ref().map(Option::is_some), Ok(true));
    let proved: Vec<&str> = found.rights.iter().map(|(action, _)| *action).collect();
    assert_eq!(
        proved,
        ["DescribeTable", "CreateTable", "Query", "GetItem", "UpdateItem"]
    );
    assert!(
        found.rights.iter().all(|(_, right)| *right == Right::Proved),
        "{found:?}"
    );
    assert_eq!(found.stream, None);
    let page = leases.scan("app", None).await.expect("scanned");
    assert_eq!(page.items, [], "nothing was written");
    // A table that is not there: what is asked of it is refused for that, which proves the right.
    let nowhere = Scope {
        application: "nowhere".to_owned(),
        ..scope()
    };
    let found = probe(&leases, &nowhere).await;
    assert_eq!(found.table, Ok(None));
    let untried: Vec<&str> = found
        .rights
        .iter()
        .filter(|(_, right)| *right != Right::Proved)
        .map(|(action, right)| {
            assert_eq!(*right, Right::Untried, "{action}");
            *action
        })
        .collect();
    assert_eq!(untried, ["CreateTable"]);
    assert_eq!(leases.describe("nowhere").await, Ok(None), "none was made");
}
