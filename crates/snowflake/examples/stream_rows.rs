//! Streams rows into a table through a few channels, and waits until all of them are committed: this crate used alone.
//!
//! `cargo run -p frazil-snowflake --example stream_rows -- URL ACCOUNT USER KEY_FILE DATABASE SCHEMA TABLE CHANNELS ROWS`, where
//! ROWS is of each channel. It prints one JSON object: rows, bytes of NDJSON, seconds. `frazil local` is a URL to try it on.

#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use frazil_model::{Clock, Events, Position, Random, SequenceNumber, SystemClock, SystemRandom};
use frazil_snowflake::{
    Authentication, Batch, Channel, Proof, SecretSource, SnowflakeConfig, Snowpipe, SnowpipeClient,
    StatusPoller, Uncommitted,
};

/// Rows of one append.
const ROWS: u64 = 8000;
/// A run that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(300);

type Failure = Box<dyn std::error::Error + Send + Sync>;

struct Service {
    pipe: Arc<dyn Snowpipe>,
    statuses: StatusPoller,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// Positions are any numbers that grow; here, that of the row.
fn position(number: u64) -> Result<Position, Failure> {
    Ok(Position::whole(SequenceNumber::new(&number.to_string())?))
}

fn row(channel: usize, number: u64) -> serde_json::Value {
    let trace = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    serde_json::json!({
        "CHANNEL": channel,
        "N": number,
        "TRACE": format!("{trace:016x}{:016x}", trace.rotate_left(17)),
        "TEXT": format!("measured at station {} by instrument {}", trace % 977, trace % 77),
        "READING": (trace % 100_000) as f64 / 100.0,
    })
}

fn batch(rows: &[serde_json::Value], from: u64) -> Result<Batch, Failure> {
    let mut ndjson = Vec::with_capacity(rows.len() * 200);
    for row in rows {
        serde_json::to_writer(&mut ndjson, row)?;
        ndjson.push(b'\n');
    }
    Ok(Batch {
        body: Bytes::from(zstd::bulk::compress(&ndjson, 1)?),
        uncompressed_bytes: ndjson.len(),
        rows: rows.len() as u64,
        from: position(from)?,
        to: position(from + rows.len() as u64 - 1)?,
        oldest_arrival_ms: None,
    })
}

/// Sends the rows through one channel; answers bytes of NDJSON once the last of them is proved committed.
async fn stream(service: Arc<Service>, name: String, rows: Vec<serde_json::Value>) -> Result<usize, Failure> {
    let Service {
        pipe,
        statuses,
        clock,
        random,
    } = &*service;
    let open = Channel::open(
        Arc::clone(pipe),
        &name,
        Uncommitted::Discard,
        Arc::clone(clock),
        Arc::clone(random),
    );
    let (mut channel, _) = open.await?;
    let mut watch = statuses.watch(&name);
    let (mut bytes, mut from) = (0, 1);
    for rows in rows.chunks(ROWS as usize) {
        let batch = batch(rows, from)?;
        bytes += batch.uncompressed_bytes;
        from += batch.rows;
        channel.append(&batch).await?;
    }
    watch.want(true);
    let end = Instant::now() + LIMIT;
    while channel.has_outstanding() {
        if Instant::now() > end {
            return Err(format!("channel {name} did not commit in {LIMIT:?}").into());
        }
        match channel.observe(&watch.next().await)? {
            Proof::Waiting => {}
            Proof::Committed { row_errors: 0, .. } => {}
            other => return Err(format!("channel {name}: {other:?}").into()),
        }
    }
    Ok(bytes)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, account, user, key, database, schema, table, channels, rows] = arguments.as_slice() else {
        return Err(
            "usage: stream_rows URL ACCOUNT USER KEY_FILE DATABASE SCHEMA TABLE CHANNELS ROWS".into(),
        );
    };
    let (channels, rows): (usize, u64) = (channels.parse()?, rows.parse()?);
    let config = SnowflakeConfig {
        account: account.clone(),
        user: user.clone(),
        role: None,
        authentication: Authentication::KeyPair {
            private_key: SecretSource::File(key.into()),
            passphrase: None,
        },
        url: Some(url.clone()),
        proxy: None,
        ca_file: None,
        database: database.clone(),
        schema: schema.clone(),
        pipe: format!("{table}-STREAMING"),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let pipe: Arc<dyn Snowpipe> = Arc::new(SnowpipeClient::new(
        config,
        Arc::clone(&clock),
        Arc::clone(&random),
    )?);
    let events = Events::new("stream_rows", Vec::new());
    let statuses = StatusPoller::start(Arc::clone(&pipe), Arc::clone(&clock), Arc::clone(&random), events);
    let service = Arc::new(Service {
        pipe,
        statuses,
        clock,
        random,
    });
    let prepared: Vec<Vec<serde_json::Value>> = (0..channels)
        .map(|channel| (0..rows).map(|number| row(channel, number)).collect())
        .collect();
    let begun = Instant::now();
    let tasks: Vec<_> = prepared
        .into_iter()
        .enumerate()
        .map(|(channel, rows)| tokio::spawn(stream(Arc::clone(&service), format!("OURS_{channel}"), rows)))
        .collect();
    let mut bytes = 0;
    for task in tasks {
        bytes += task.await??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let total = channels as u64 * rows;
    println!(
        "{}",
        serde_json::json!({ "rows": total, "bytes": bytes, "seconds": seconds })
    );
    Ok(())
}
