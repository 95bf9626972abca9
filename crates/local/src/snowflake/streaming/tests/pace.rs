//! How much file mode carries, with a client that costs little: its files are made before the clock starts.
//!
//! The official SDK shares the machine with the server and takes most of it, so what it reaches tells little of the server.

#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::Client;
use super::files::{Uploader, framed};
use crate::snowflake::speed::events;

const CHANNELS: usize = 3;
/// Files of each channel, of about 4 MB before compression.
const FILES: usize = 60;
/// Files that differ.
const KINDS: usize = 6;
/// MB a second in each channel.
const GOAL: f64 = 20.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: scripts/speed-local"]
async fn three_channels_of_files_at_once() {
    let client = Client::start_with(|options| {
        options.commit_interval = Duration::from_millis(200);
        // 20 MB/s a channel are the limit, too.
        options.enforce_limits = false;
    })
    .await;
    let table = "CREATE OR REPLACE TABLE T (ID NUMBER, CITY VARCHAR, READING FLOAT, IS_OPEN BOOLEAN, SEEN TIMESTAMP_NTZ,
                 TRACE VARCHAR, NOTE VARCHAR)";
    client.sql(table).await.unwrap();
    let up = Arc::new(Uploader::of(client).await);
    let raw: Vec<String> = (0..KINDS)
        .map(|kind| String::from_utf8(events(kind * 20_000)).unwrap())
        .collect();
    let files: Arc<Vec<(Vec<u8>, Vec<u8>)>> = Arc::new(
        raw.iter()
            .map(|rows| {
                let file = up.file(rows);
                let body = framed(&file);
                (file, body)
            })
            .collect(),
    );
    let raw = Arc::new(raw);
    let begin = Instant::now();
    let mut tasks = Vec::new();
    for channel in 0..CHANNELS {
        let (up, raw, files) = (Arc::clone(&up), Arc::clone(&raw), Arc::clone(&files));
        tasks.push(tokio::spawn(async move {
            let name = format!("C{channel}");
            let mut token = up.client.open(&name).await.token();
            let mut bytes = 0;
            for number in 0..FILES {
                let (rows, (file, body)) = (&raw[number % KINDS], &files[number % KINDS]);
                let place = format!("{channel}-{number}.ndjson");
                let answer = up.put_framed(&place, body.clone()).await;
                assert_eq!(answer.status, 200, "{}", answer.text);
                let offset = format!("{number:06}");
                let entry = up.entry(&place, &answer, file.len(), rows, Some(&offset));
                let request = format!("{channel}-{number}");
                token = up.register(&name, Some(&token), &request, &[entry]).await.token();
                bytes += rows.len();
            }
            up.client.committed(&name, &format!("{:06}", FILES - 1)).await;
            bytes
        }));
    }
    let mut bytes = 0;
    for task in tasks {
        bytes += task.await.unwrap();
    }
    let took = begin.elapsed().as_secs_f64();
    let rows = up.client.sql("SELECT COUNT(*) FROM T").await.unwrap();
    assert_eq!(
        rows[0][0].as_deref(),
        Some((CHANNELS * FILES * 20_000).to_string().as_str())
    );
    let each = bytes as f64 / 1e6 / took / CHANNELS as f64;
    println!(
        "{CHANNELS} channels of files at once, to the last commit: {each:.1} MB/s in each (goal {GOAL}; {} MB in {took:.1} s)",
        bytes / 1_000_000
    );
    assert!(each > GOAL / 5.0, "{each:.1} MB/s in each channel");
}
