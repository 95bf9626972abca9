//! What the local Snowflake costs, as multiples of what anyone's program would cost that does the same work with the same
//! libraries. Run by `scripts/speed-local` in profile `fast`; figures stand in `docs/speed.md`.
//!
//! Both sides of a measure run in turns in one process, and what counts is the median of the ratios of neighbours, because
//! machines are shared. `FRAZIL_SPEED_ROWS` says how many rows the queries read, in millions.

#![allow(clippy::print_stdout)]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{Decimal128Array, Float64Array, StringArray};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::behaviours::Behaviours;
use super::catalog::commit::{Outcome, TableCommit};
use super::catalog::{Catalog, PipeLookup};
use super::late::LateCounters;
use super::log::Encoding;
use super::model::{ColumnDef, CreateMode, DataType, NewTable, TableDef};
use super::registry::Channel;
use super::rows::{self, AcceptedRows, Mapping};
use super::sql::{Engine, Session};
use super::store::{Appended, Incoming, Opened, Store};
use super::{RAW_LIMIT, decode, row_timestamps, segments};
use crate::disk::{Disk, DiskFile, DiskRead, RealDisk};

const ROUNDS: usize = 9;
/// Channels that append side by side.
const CHANNELS: usize = 8;
/// Appends of each.
const APPENDS: usize = 6;
/// Rows of an append: about 4 MB.
const ROWS: usize = 20_000;

/// Tells the median beside its goal, and fails above `most`.
fn judge(name: &str, goal: f64, most: f64, ratios: &mut [f64]) {
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    println!(
        "{name}: {median:.2} (goal {goal}; {} rounds, {:.2} to {:.2})",
        ratios.len(),
        ratios[0],
        ratios[ratios.len() - 1]
    );
    assert!(
        median < most,
        "{name}: {median:.2} is more than {most} (goal {goal})"
    );
}

fn ratio(ours: Duration, theirs: Duration) -> f64 {
    ours.as_secs_f64() / theirs.as_secs_f64()
}

/// A draw without a library: the same each time.
fn draw(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

fn events(first: usize) -> Vec<u8> {
    let mut seed = 88_172_645_463_325_252 ^ (first as u64 + 1);
    let mut lines = Vec::new();
    for number in first..first + ROWS {
        let (a, b, c) = (draw(&mut seed), draw(&mut seed), draw(&mut seed));
        writeln!(
            lines,
            "{{\"id\":{number},\"city\":\"city {}\",\"reading\":{}.{:03},\"is_open\":{},\"seen\":\"2026-11-{:02} {:02}:{:02}:{:02}.{:03}\",\
             \"trace\":\"{a:016x}{b:016x}{c:016x}\",\"note\":\"measured at station {} by instrument {}\"}}",
            a % 1000,
            b % 10_000,
            c % 1000,
            a % 2 == 0,
            a % 28 + 1,
            b % 24,
            c % 60,
            a % 60,
            b % 1000,
            c % 977,
            b % 77,
        )
        .expect("memory takes it");
    }
    lines
}

fn columns() -> Vec<ColumnDef> {
    let text = || DataType::Varchar {
        length: rows::MAX_VARCHAR,
    };
    let whole = DataType::Number {
        precision: 38,
        scale: 0,
    };
    vec![
        ColumnDef::new("id", whole),
        ColumnDef::new("city", text()),
        ColumnDef::new("reading", DataType::Float),
        ColumnDef::new("is_open", DataType::Boolean),
        ColumnDef::new("seen", DataType::TimestampNtz { scale: 9 }),
        ColumnDef::new("trace", text()),
        ColumnDef::new("note", text()),
    ]
}

fn catalog(folder: &Path, columns: Vec<ColumnDef>) -> (Catalog, TableDef) {
    let catalog = Catalog::open(&folder.join("catalog.db")).expect("a catalog");
    catalog.create_database("D", CreateMode::New).expect("a database");
    let new = NewTable {
        database: "D".into(),
        schema: "PUBLIC".into(),
        name: "T".into(),
        columns,
        ..NewTable::default()
    };
    catalog.create_table(&new, CreateMode::New).expect("a table");
    let table = catalog
        .table("D", "PUBLIC", "T")
        .expect("readable")
        .expect("the table");
    (catalog, table)
}

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
    let store = Store::open(
        Arc::new(disk),
        catalog,
        LateCounters::new(false),
        false,
        Behaviours::default(),
    )
    .expect("a store");
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
        2.6,
        &mut ratios,
    );
}

fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("a level")))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .build()
}

#[test]
#[ignore = "measures; run by scripts/speed-local"]
fn committing_to_columns() {
    let folder = tempfile::tempdir().expect("a folder");
    let (catalog, table) = catalog(folder.path(), columns());
    let disk = RealDisk::new(folder.path());
    disk.create_dir(Path::new(segments::FOLDER)).expect("a folder");
    let lines: Vec<Vec<u8>> = (0..6).map(|number| events(number * ROWS)).collect();
    let all = lines.concat();
    let (mut ratios, mut committed) = (Vec::new(), 0);
    for round in 0..=ROUNDS {
        let begin = Instant::now();
        let accepted: Vec<AcceptedRows<'_>> = lines.iter().map(|ndjson| AcceptedRows { ndjson }).collect();
        let converted = rows::convert(&table, Mapping::DEFAULT, &accepted, rows::Terms::at(0));
        let stamped = row_timestamps::stamp(&table, converted.record_batch, 0);
        let segment = segments::write(&disk, table.id, &stamped).expect("written");
        committed += segment.rows;
        let commit = TableCommit {
            table_id: table.id,
            columns_before: table.columns.clone(),
            columns_after: None,
            segment: Some(segment),
            errors: None,
            channels: Vec::new(),
            overwrite: false,
            iceberg: None,
        };
        assert_eq!(catalog.commit(&commit).expect("committed"), Outcome::Done);
        let ours = begin.elapsed();

        let begin = Instant::now();
        let path = folder.path().join(format!("plain-{round}.parquet"));
        let schema = rows::schema(&columns());
        let reader = arrow::json::ReaderBuilder::new(Arc::clone(&schema))
            .with_batch_size(8192)
            .build(&all[..])
            .expect("a reader");
        let file = File::create(&path).expect("a file");
        let mut writer =
            ArrowWriter::try_new(file.try_clone().expect("a handle"), schema, Some(properties()))
                .expect("a writer");
        for batch in reader {
            writer.write(&batch.expect("rows")).expect("written");
        }
        writer.close().expect("closed");
        file.sync_all().expect("synced");
        let theirs = begin.elapsed();
        if round > 0 {
            ratios.push(ratio(ours, theirs));
        }
    }
    assert_eq!(committed, ((ROUNDS + 1) * 6 * ROWS) as u64, "rows");
    judge(
        "committing to columns, to arrow-json and the Parquet writer",
        2.0,
        4.0,
        &mut ratios,
    );
}

/// A million rows, or what is left, of the table that is queried.
fn part(first: i128, count: i128) -> RecordBatch {
    let columns = queried();
    let mut seed = u64::try_from(first + 7).expect("small");
    let ids = Decimal128Array::from_iter_values(first..first + count)
        .with_precision_and_scale(38, 0)
        .expect("a type");
    let cities: Vec<String> = (0..count)
        .map(|_| format!("city {}", draw(&mut seed) % 1000))
        .collect();
    let readings: Vec<f64> = (0..count)
        .map(|_| (draw(&mut seed) % 1_000_000) as f64 / 1000.0)
        .collect();
    RecordBatch::try_new(
        rows::schema(&columns),
        vec![
            Arc::new(ids),
            Arc::new(StringArray::from(cities)),
            Arc::new(Float64Array::from(readings)),
        ],
    )
    .expect("rows")
}

fn queried() -> Vec<ColumnDef> {
    let names = ["ID", "CITY", "READING"];
    columns()
        .into_iter()
        .zip(names)
        .map(|(column, name)| ColumnDef {
            name: name.to_owned(),
            ..column
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; run by scripts/speed-local"]
async fn counting_and_grouping() {
    let millions: i128 = std::env::var("FRAZIL_SPEED_ROWS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(10);
    let folder = tempfile::tempdir().expect("a folder");
    let (catalog, table) = catalog(folder.path(), queried());
    let disk = RealDisk::new(folder.path());
    disk.create_dir(Path::new(segments::FOLDER)).expect("a folder");
    let plain = folder.path().join("plain.parquet");
    let file = File::create(&plain).expect("a file");
    let mut writer =
        ArrowWriter::try_new(file, rows::schema(&queried()), Some(properties())).expect("a writer");
    // As many segments as merging leaves of such a table.
    let per_segment = 250_000;
    for number in 0..millions * 4 {
        let rows = part(number * per_segment, per_segment);
        writer.write(&rows).expect("written");
        let stamped = row_timestamps::stamp(&table, rows, 1);
        let commit = TableCommit {
            table_id: table.id,
            columns_before: table.columns.clone(),
            columns_after: None,
            segment: Some(segments::write(&disk, table.id, &stamped).expect("written")),
            errors: None,
            channels: Vec::new(),
            overwrite: false,
            iceberg: None,
        };
        assert_eq!(catalog.commit(&commit).expect("committed"), Outcome::Done);
    }
    writer.close().expect("closed");
    let engine = Engine::new(
        Arc::new(catalog),
        Arc::new(disk),
        folder.path().to_owned(),
        "LOCAL",
    );
    let context = SessionContext::new();
    let plain = plain.to_str().expect("a path");
    context
        .register_parquet("plain", plain, ParquetReadOptions::default())
        .await
        .expect("registered");
    for (name, sql, rows) in [
        (
            "COUNT and SUM by group",
            "SELECT \"CITY\", COUNT(*), SUM(\"READING\") FROM T GROUP BY \"CITY\"",
            1000,
        ),
        ("COUNT(*)", "SELECT COUNT(*) FROM T", 1),
    ] {
        let mut ratios = Vec::new();
        for round in 0..=5 {
            let mut session = Session {
                database: Some("D".to_owned()),
                ..Session::default()
            };
            let begin = Instant::now();
            let result = engine.execute(&mut session, sql).await.expect("a result");
            let ours = begin.elapsed();
            assert_eq!(result.rows.len(), rows, "{sql}");
            let begin = Instant::now();
            let theirs = context
                .sql(&sql.replace("FROM T", "FROM plain"))
                .await
                .expect("a plan")
                .collect()
                .await
                .expect("rows");
            let took = begin.elapsed();
            assert_eq!(
                theirs.iter().map(RecordBatch::num_rows).sum::<usize>(),
                rows,
                "{sql}"
            );
            println!("  {name}: {ours:?} to {took:?}");
            if round > 0 {
                ratios.push(ratio(ours, took));
            }
        }
        // A count is answered from the files' ends: its milliseconds are those of parsing, planning and asking for 40 files.
        let most = if rows == 1 { 6.0 } else { 3.0 };
        judge(
            &format!("{name} of {millions} million rows, to DataFusion on one file"),
            1.5,
            most,
            &mut ratios,
        );
    }
}
