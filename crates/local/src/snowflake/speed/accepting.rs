//! Accepting appends: from compressed bodies in memory to all of them synced.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{ROUNDS, ROWS, catalog, columns, events, judge, ratio};
use crate::disk::{Disk, DiskFile, DiskRead, RealDisk};
use crate::snowflake::behaviours::Behaviours;
use crate::snowflake::catalog::PipeLookup;
use crate::snowflake::log::Encoding;
use crate::snowflake::registry::Channel;
use crate::snowflake::store::{Appended, Incoming, Opened, Store};
use crate::snowflake::{RAW_LIMIT, decode};

/// Channels that append side by side.
const CHANNELS: usize = 8;
/// Appends of each.
const APPENDS: usize = 6;

/// A disk that counts the syncs of its log files.
#[derive(Debug)]
struct Counting {
    disk: RealDisk,
    syncs: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct CountingFile {
    file: Box<dyn DiskFile>,
    syncs: Arc<AtomicUsize>,
}

impl Disk for Counting {
    fn create_dir(&self, path: &Path) -> std::io::Result<()> {
        self.disk.create_dir(path)
    }

    fn create(&self, path: &Path) -> std::io::Result<Box<dyn DiskFile>> {
        let syncs = Arc::clone(&self.syncs);
        self.disk
            .create(path)
            .map(|file| Box::new(CountingFile { file, syncs }) as Box<dyn DiskFile>)
    }

    fn open(&self, path: &Path) -> std::io::Result<Arc<dyn DiskRead>> {
        self.disk.open(path)
    }

    fn remove(&self, path: &Path) -> std::io::Result<()> {
        self.disk.remove(path)
    }

    fn list(&self, path: &Path) -> std::io::Result<Vec<String>> {
        self.disk.list(path)
    }

    fn sync_dir(&self, path: &Path) -> std::io::Result<()> {
        self.disk.sync_dir(path)
    }
}

impl DiskFile for CountingFile {
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.append(bytes)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.syncs.fetch_add(1, Ordering::AcqRel);
        self.file.sync()
    }
}

/// Accepts all appends of all channels; answers the time and how many syncs that took.
async fn accept_all(bodies: &[Bytes]) -> (Duration, usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let (catalog, _) = catalog(folder.path(), columns());
    let syncs = Arc::new(AtomicUsize::new(0));
    let disk = Counting {
        disk: RealDisk::new(folder.path()),
        syncs: Arc::clone(&syncs),
    };
    let store = Store::open(Arc::new(disk), catalog, Arc::default(), Behaviours::default()).expect("a store");
    let store = Arc::new(store);
    let PipeLookup::Found(pipe) = store
        .catalog
        .pipe("D", "PUBLIC", "T-STREAMING")
        .expect("a lookup")
    else {
        panic!("the table has no pipe")
    };
    let mut channels = Vec::new();
    for number in 0..CHANNELS {
        let name = format!("C{number}");
        let opened = store
            .open_channel(pipe.clone(), name.clone(), name, None, false)
            .await;
        let Ok(Opened::Open(row, token)) = opened else {
            panic!("no channel: {opened:?}")
        };
        channels.push((store.registry.of_row(&row).expect("a channel"), token));
    }
    let before = syncs.load(Ordering::Acquire);
    let begin = Instant::now();
    let mut tasks = Vec::new();
    for (channel, token) in channels {
        let (store, bodies) = (Arc::clone(&store), bodies.to_vec());
        tasks.push(tokio::spawn(append_all(store, channel, token, bodies)));
    }
    for task in tasks {
        task.await.expect("a channel's appends");
    }
    let took = begin.elapsed();
    let syncs = syncs.load(Ordering::Acquire) - before;
    let log = Arc::clone(&store.log);
    tokio::task::spawn_blocking(move || log.stop())
        .await
        .expect("stopped");
    (took, syncs)
}

async fn append_all(store: Arc<Store>, channel: Arc<Channel>, mut token: String, bodies: Vec<Bytes>) {
    for (number, body) in bodies.into_iter().cycle().take(APPENDS).enumerate() {
        // What the endpoint does before it asks the store.
        let measured = body.clone();
        let length =
            tokio::task::spawn_blocking(move || decode::measure(&measured, Encoding::Zstd, RAW_LIMIT));
        let length = length.await.expect("measured").expect("sound");
        let batch = Incoming {
            continuation_token: Some(token),
            request_id: number.to_string(),
            offset_token: Some(number.to_string()),
            start_token: None,
            encoding: Encoding::Zstd,
            rows: body,
            raw_length: u32::try_from(length).expect("below the limit"),
        };
        match store.accept(Arc::clone(&channel), batch).await.expect("accepted") {
            Appended::Accepted(next) => token = next,
            other => panic!("{other:?}"),
        }
    }
}

/// Decompresses the same bodies by as many threads, and writes them with as many syncs, spread evenly.
fn plain_writes(bodies: &[Bytes], syncs: usize) -> Duration {
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = File::create(folder.path().join("plain")).expect("a file");
    let total = CHANNELS * APPENDS;
    let each = total.div_ceil(syncs.max(1));
    let begin = Instant::now();
    let (sender, receiver) = std::sync::mpsc::sync_channel::<Bytes>(CHANNELS);
    std::thread::scope(|scope| {
        for _ in 0..CHANNELS {
            let sender = sender.clone();
            scope.spawn(move || {
                for body in bodies.iter().cycle().take(APPENDS) {
                    let mut decoder = zstd::stream::read::Decoder::with_buffer(&body[..]).expect("zstd");
                    std::io::copy(&mut decoder, &mut std::io::sink()).expect("sound");
                    sender.send(body.clone()).expect("the writer lives");
                }
            });
        }
        drop(sender);
        for (number, body) in receiver.into_iter().enumerate() {
            file.write_all(&body).expect("written");
            if (number + 1) % each == 0 || number + 1 == total {
                file.sync_data().expect("synced");
            }
        }
    });
    begin.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; run by scripts/speed-local"]
async fn accepting_an_append() {
    let bodies: Vec<Bytes> = (0..3)
        .map(|number| {
            zstd::bulk::compress(&events(number * ROWS), 1)
                .expect("compressed")
                .into()
        })
        .collect();
    let mut ratios = Vec::new();
    for round in 0..=ROUNDS {
        let (ours, syncs) = accept_all(&bodies).await;
        assert!(syncs > 0, "nothing was synced");
        let plain = bodies.clone();
        let theirs = tokio::task::spawn_blocking(move || plain_writes(&plain, syncs))
            .await
            .expect("written");
        println!("  {ours:?} with {syncs} syncs to {theirs:?}");
        // The first one warms caches.
        if round > 0 {
            ratios.push(ratio(ours, theirs));
        }
    }
    judge(
        "accepting appends, to decompressing and writing them with as many syncs",
        1.3,
        1.6,
        &mut ratios,
    );
}
