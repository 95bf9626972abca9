//! A table whose commits fail holds up no other one, and catches up when it can.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Runner;
use crate::disk::crash::CrashDisk;
use crate::disk::{Disk, DiskFile, DiskRead};
use crate::faults::{Faults, FaultsFile};
use crate::snowflake::behaviours::Behaviours;
use crate::snowflake::catalog::PipeLookup;
use crate::snowflake::crash_tests::world;
use crate::snowflake::log::Encoding;
use crate::snowflake::model::PipeRow;
use crate::snowflake::registry::Found;
use crate::snowflake::store::{Appended, Incoming, Opened, Store};

/// Refuses to create segments of one table so many times.
#[derive(Debug)]
struct FailingDisk {
    disk: CrashDisk,
    table: i64,
    failures: Arc<AtomicUsize>,
}

impl Disk for FailingDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let refused =
            path.starts_with("segments") && path.to_string_lossy().contains(&format!("/{}-", self.table));
        let left = |left: usize| left.checked_sub(1);
        if refused
            && self
                .failures
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, left)
                .is_ok()
        {
            return Err(io::Error::other("no space for this table"));
        }
        self.disk.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskRead>> {
        self.disk.open(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }
}

async fn append(store: &Arc<Store>, pipe: &PipeRow) {
    let opened = store
        .open_channel(pipe.clone(), "C".into(), "C".into(), None, false)
        .await
        .unwrap();
    let Opened::Open(_, token) = opened else { panic!() };
    let Found::Healthy(channel) = store.registry.find(&Store::key(pipe, "C")).unwrap() else {
        panic!()
    };
    let batch = Incoming {
        continuation_token: Some(token),
        request_id: "r".into(),
        offset_token: Some("1".into()),
        start_token: None,
        encoding: Encoding::Zstd,
        rows: zstd::encode_all(&b"{\"n\":\"1\"}\n"[..], 1).unwrap().into(),
        raw_length: 10,
    };
    assert!(matches!(
        store.accept(channel, batch).await.unwrap(),
        Appended::Accepted(_)
    ));
}

async fn committed(store: &Store, pipe: &PipeRow) {
    let mut commits = store.committer.commits.subscribe();
    let waiting = async {
        while store
            .catalog
            .channel(pipe.id, "C")
            .unwrap()
            .unwrap()
            .offset_token
            .is_none()
        {
            commits.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("the commit comes");
}

#[tokio::test]
async fn table_that_cannot_commit_holds_up_no_other_and_catches_up() {
    let folder = tempfile::tempdir().unwrap();
    let first = world::make_table(folder.path(), "FIRST");
    world::make_table(folder.path(), "OTHER");
    let failures = Arc::new(AtomicUsize::new(2));
    let disk = FailingDisk {
        disk: CrashDisk::default(),
        table: first,
        failures: Arc::clone(&failures),
    };
    let catalog = world::catalog(folder.path());
    let store =
        Arc::new(Store::open(Arc::new(disk), catalog, Arc::default(), Behaviours::default()).unwrap());
    let pipe = |name: &str| match store
        .catalog
        .pipe("D", "PUBLIC", &format!("{name}-STREAMING"))
        .unwrap()
    {
        PipeLookup::Found(pipe) => pipe,
        other => panic!("{other:?}"),
    };
    let (first, other) = (pipe("FIRST"), pipe("OTHER"));
    append(&store, &first).await;
    append(&store, &other).await;
    let stop = CancellationToken::new();
    let runner = Runner {
        committer: Arc::clone(&store.committer),
        log: Arc::clone(&store.log),
        stage: Arc::clone(&store.stage),
        faults: Arc::new(Faults::new(&FaultsFile::default())),
        interval: Duration::from_millis(1),
        stop: stop.clone(),
    };
    let running = tokio::spawn(runner.run());
    committed(&store, &other).await;
    committed(&store, &first).await;
    stop.cancel();
    running.await.unwrap();
    assert_eq!(failures.load(Ordering::Acquire), 0, "its first commits did fail");
}
