use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use frazil_model::{
    ErrorKind, Events, Position, Random, SeededRandom, SequenceNumber, ShardId, StreamName, SystemClock,
    WorkerId,
};
use tokio::sync::watch;

use super::*;
use crate::state::{Checkpoint, StreamIdentity, Tenure};
use crate::update::Memory;
use crate::{CheckpointOutcome, LeaseCoordinator, LeaseOptions};

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("frazil-lease-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("deep/leases.json")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
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
        created_ms: 1000,
    }
}

fn shard() -> ShardId {
    ShardId::new("shardId-000000000000").expect("valid")
}

fn take() -> Update {
    let worker = WorkerId::new("w").expect("valid");
    Update::take(&shard(), None, Memory::Keep, (&worker, 1), &stream(), 7)
}

fn checkpoint(sequence: &str) -> Update {
    let tenure = Tenure {
        shard: shard(),
        epoch: 1,
        generation: 0,
    };
    let new = Checkpoint {
        position: Some(Position::whole(SequenceNumber::new(sequence).expect("digits"))),
        ended: true,
        ..Checkpoint::default()
    };
    Update::checkpoint(&WorkerId::new("w").expect("valid"), &tenure, 1, &new, 8)
}

const GOLDEN: &str = r#"{
  "format": "frazil-leases",
  "version": 1,
  "rows": [
    {
      "application": "app",
      "stream": "clicks",
      "key": "shardId-000000000000",
      "attributes": {
        "frazilEpoch": {
          "N": "1"
        },
        "frazilGeneration": {
          "N": "0"
        },
        "frazilPosition": {
          "S": "1002770000000000000000000000000000001"
        },
        "frazilSequence": {
          "S": "77"
        },
        "frazilSerial": {
          "N": "1"
        },
        "frazilShardEnd": {
          "BOOL": true
        },
        "frazilStream": {
          "S": "arn:aws:kinesis:eu-central-1:1:stream/clicks@1000"
        },
        "lastUpdateTimestamp": {
          "N": "8"
        },
        "leaseExpiry": {
          "N": "4102444800000"
        },
        "leaseOwner": {
          "S": "w"
        },
        "sequenceNumber": {
          "S": "77"
        }
      }
    }
  ]
}
"#;

/// Frozen: such files stand on users' disks.
#[tokio::test]
async fn state_file_golden() {
    let folder = Folder::new("golden");
    let leases = FileLeases::open(folder.file()).expect("opened");
    assert!(leases.is_new());
    for update in [take(), checkpoint("77")] {
        assert_eq!(leases.update(&scope(), &update).await, Ok(Written::Done));
    }
    assert_eq!(std::fs::read_to_string(folder.file()).expect("a file"), GOLDEN);
    let row = leases.row(&scope(), shard().as_str()).await;
    drop(leases);
    let leases = FileLeases::open(folder.file()).expect("opened again");
    assert!(!leases.is_new());
    assert_eq!(leases.row(&scope(), shard().as_str()).await, row);
    assert!(matches!(
        leases.update(&scope(), &take()).await,
        Ok(Written::Refused(Some(_)))
    ));
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let folder = Folder::new("second");
    let first = FileLeases::open(folder.file()).expect("opened");
    let error = FileLeases::open(folder.file()).expect_err("refused");
    assert!(error.to_string().contains("another process has it"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    drop(first);
    assert!(FileLeases::open(folder.file()).is_ok());
}

#[test]
fn a_file_that_cannot_be_understood_is_never_guessed() {
    let folder = Folder::new("damaged");
    drop(FileLeases::open(folder.file()));
    for (text, expected) in [
        (GOLDEN.replace("\"version\": 1", "\"version\": 2"), "version 2"),
        (GOLDEN.replace("frazil-leases", "other"), "no state file"),
        (GOLDEN[..GOLDEN.len() / 2].to_owned(), "damaged"),
        (String::new(), "damaged"),
        (GOLDEN.replace("\"BOOL\"", "\"NULL\""), "damaged"),
    ] {
        std::fs::write(folder.file(), &text).expect("written");
        let error = FileLeases::open(folder.file()).expect_err("refused").to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(std::fs::read_to_string(folder.file()).expect("untouched"), text);
    }
}

/// A disk that fills up in the midst of writing the new file.
#[derive(Debug, Clone)]
struct SmallDisk(Arc<AtomicBool>);

impl Disk for SmallDisk {
    fn read(&self, path: &Path) -> io::Result<Option<String>> {
        RealDisk.read(path)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if self.0.load(Ordering::SeqCst) {
            std::fs::write(disk::beside(path, "new"), &bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        RealDisk.replace(path, bytes)
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_loses_nothing() {
    let folder = Folder::new("full");
    let full = Arc::new(AtomicBool::new(false));
    let leases = FileLeases::open_on(&folder.file(), Box::new(SmallDisk(Arc::clone(&full)))).expect("opened");
    assert_eq!(leases.update(&scope(), &take()).await, Ok(Written::Done));
    let before = leases.row(&scope(), shard().as_str()).await;
    full.store(true, Ordering::SeqCst);
    let error = leases
        .update(&scope(), &checkpoint("77"))
        .await
        .expect_err("full");
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert_eq!(leases.row(&scope(), shard().as_str()).await, before);
    full.store(false, Ordering::SeqCst);
    // The old file is replaced, never written over.
    let link = folder.file().with_extension("old");
    std::fs::hard_link(folder.file(), &link).expect("linked");
    let old = std::fs::read(&link).expect("readable");
    assert_eq!(
        leases.update(&scope(), &checkpoint("77")).await,
        Ok(Written::Done)
    );
    assert_eq!(std::fs::read(&link).expect("readable"), old);
    full.store(true, Ordering::SeqCst);
    drop(leases.update(&scope(), &Update::resume(&shard(), "x")).await);
    let kept = leases.row(&scope(), shard().as_str()).await;
    drop(leases);
    let leases = FileLeases::open(folder.file()).expect("opened over what the full disk left");
    assert_eq!(leases.row(&scope(), shard().as_str()).await, kept);
}

#[tokio::test]
async fn the_coordinator_lives_on_a_file() {
    let folder = Folder::new("coordinator");
    for round in 1..=2_u64 {
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(round));
        let candidates = watch::Sender::new(Arc::new(vec![shard()]));
        let worker = WorkerId::random(&*random);
        let options = LeaseOptions::new("app", scope().stream, stream(), worker, "host");
        let store = Arc::new(FileLeases::open(folder.file()).expect("opened"));
        let events = Events::new("test", Vec::new());
        let clock = Arc::new(SystemClock);
        let started =
            LeaseCoordinator::start(store, options, clock, random, events, candidates.subscribe()).await;
        let leases = started.expect("started");
        let mut held = leases.held();
        let all = tokio::time::timeout(Duration::from_secs(20), held.wait_for(|held| held.len() == 1)).await;
        let tenure = all.expect("in time").expect("running")[&shard()].tenure.clone();
        assert_eq!(tenure.epoch, round);
        let position = Position::whole(SequenceNumber::new(round.to_string()).expect("digits"));
        let checkpoint = Checkpoint {
            position: Some(position),
            ..Checkpoint::default()
        };
        assert_eq!(
            leases.checkpoint(&tenure, checkpoint).await,
            Ok(CheckpointOutcome::Done)
        );
        leases.stop().await;
        drop(leases);
        // The task ends a moment after its last handle, and the lock with it.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
