//! `frazil demo`: the whole way on this machine, with no account anywhere.
//!
//! It starts the local stack on free ports, makes a stream of 4 shards and a table with schema evolution on, runs the
//! connector as `frazil run` would, sends events, and in the end lets [`crate::judge`] compare what PutRecords answered
//! with what SQL finds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use frazil_kinesis::{MAX_RECORDS, NewRecord, Producer};
use frazil_local::LocalOptions;
use frazil_model::{Clock, Random, SystemClock, SystemRandom};
use frazil_runtime::config::{Config, Variables};
use frazil_runtime::exit::Exit;
use frazil_runtime::run::Runtime;
use frazil_runtime::state::{Board, Latency, Totals};
use frazil_snowflake::SqlClient;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::args;
use crate::failure::Failure;
use crate::judge::{self, Receipt, Verdict};
use crate::output::{self, count};
use crate::run::options;
use crate::send::numbered;
use crate::signals::stop_token;
use crate::sql;
use crate::stack;
use crate::target::{self, LocalAddresses};

/// One week of earthquakes (U.S. Geological Survey, public domain), cut.
const EVENTS: &str = include_str!("../../../testdata/earthquakes.ndjson");
const STREAM: &str = "earthquakes";
const SHARDS: u32 = 4;
const TABLE: (&str, &str, &str) = ("DEMO", "PUBLIC", "EARTHQUAKES");
/// The demo gives up after this long without any progress.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(200);

pub(crate) async fn run(args: args::Demo) -> Result<Exit, Failure> {
    let stop = stop_token();
    let (folder, _temporary) = folder(args.data.as_deref())?;
    let (local, addresses) = stack::start(LocalOptions::new(&folder)).await?;
    let producer = stack::make_stream(&addresses, STREAM, SHARDS).await?;
    stack::make_table(&addresses, TABLE, "kinesisMetadata").await?;
    stack::publish(&folder, &addresses)?;
    output::line(format!(
        "local stack in {}\n{}\n",
        folder.display(),
        crate::local::listing(&addresses)
    ));

    let path = folder.join("frazil.yaml");
    let text = configuration(&addresses, &folder);
    std::fs::write(&path, &text).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
    let config = Config::parse(&text, &path, &Variables::these(&[]))?;
    let draining = CancellationToken::new();
    let started = Runtime::start(config, options(false), draining.clone()).await;
    let runtime = started.map_err(|error| Failure::failed(error.to_string()))?;
    let board = Arc::clone(runtime.board());
    let console = runtime.address();

    let carried = carry(&args, producer, &board, &stop).await;
    let exit = match carried {
        Ok(carried) => tell(&carried, &board, &addresses).await?,
        Err(failure) => {
            draining.cancel();
            runtime.wait().await;
            return Err(failure);
        }
    };
    if !args.once && !stop.is_cancelled() {
        output::line(commands(&addresses, &folder, console));
        stop.cancelled().await;
    }
    draining.cancel();
    let ended = runtime.wait().await;
    local.shutdown().await;
    Ok(if exit == Exit::Done { ended } else { exit })
}

/// The given folder, or a temporary one that goes with the demo.
fn folder(given: Option<&Path>) -> Result<(PathBuf, Option<tempfile::TempDir>), Failure> {
    if let Some(folder) = given {
        return Ok((folder.to_owned(), None));
    }
    let made = tempfile::Builder::new().prefix("frazil-demo-").tempdir();
    let made = made.map_err(|error| Failure::failed(format!("no temporary folder: {error}")))?;
    Ok((made.path().to_owned(), Some(made)))
}

fn configuration(addresses: &LocalAddresses, folder: &Path) -> String {
    let (database, schema, table) = TABLE;
    let LocalAddresses {
        kinesis_url,
        dynamodb_url,
        snowflake_url,
        account,
        user,
        private_key_file,
        region,
        ..
    } = addresses;
    format!(
        "connectors:
  - name: demo
    source:
      stream: {STREAM}
      region: {region}
      application_name: frazil-demo
      consumer_type: SHARED_THROUGHPUT
      initial_position: TRIM_HORIZON
      endpoint: {kinesis_url}
      dynamodb_endpoint: {dynamodb_url}
      credentials: {{access_key_id: AKIDLOCAL, secret_access_key: local}}
    destination:
      account: {account}
      user: {user}
      private_key_file: {private_key_file:?}
      url: {snowflake_url}
      database: {database}
      schema: {schema}
      table: {table}
    leases: dynamodb
    dead_letters: {{file: {{path: {letters:?}}}}}
    on_row_error: stop
http: {{listen: 127.0.0.1:0}}
",
        letters = folder.join("dead-letters"),
    )
}

/// What was sent, and how long it took until all of it was committed.
struct Carried {
    receipts: Vec<Receipt>,
    bytes: u64,
    took: Duration,
}

fn totals(board: &Board) -> (Totals, Latency) {
    let state = board.state();
    state
        .connectors
        .first()
        .map(|c| (c.totals, c.latency))
        .unwrap_or_default()
}

fn bar(label: &'static str, events: u64) -> ProgressBar {
    let bar = ProgressBar::new(events);
    let style = ProgressStyle::with_template("{prefix:>10} {bar:40} {human_pos}/{human_len} ({elapsed})");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(label);
    bar
}

/// Sends the events and waits until the connector has committed as many rows and letters.
async fn carry(
    args: &args::Demo,
    producer: Producer,
    board: &Board,
    stop: &CancellationToken,
) -> Result<Carried, Failure> {
    let clock = SystemClock;
    let begun = clock.now();
    let bars = indicatif::MultiProgress::new();
    let (sent_bar, committed_bar) = (
        bars.add(bar("sent", args.events)),
        bars.add(bar("committed", args.events)),
    );
    let (sender, mut sent) = mpsc::channel(16);
    let sending = tokio::spawn(send(producer, args.events, sender));
    let mut carried = Carried {
        receipts: Vec::new(),
        bytes: 0,
        took: Duration::ZERO,
    };
    let mut sending_done = false;
    let mut moved = Moved::default();
    loop {
        tokio::select! {
            batch = sent.recv(), if !sending_done => match batch {
                Some((receipts, bytes)) => {
                    carried.receipts.extend(receipts);
                    carried.bytes += bytes;
                    sent_bar.set_position(carried.receipts.len() as u64);
                }
                None => sending_done = true,
            },
            () = clock.sleep(LOOK) => moved.looks += 1,
            () = stop.cancelled() => return Err(Failure::new(Exit::Interrupted, "the demo was interrupted")),
        }
        let (totals, _) = totals(board);
        let settled = totals.rows_committed + totals.dead_letters;
        committed_bar.set_position(settled);
        if sending_done && settled >= carried.receipts.len() as u64 {
            break;
        }
        let progress = settled + carried.receipts.len() as u64;
        if moved.stands_still(progress) {
            tracing::warn!(settled, "no progress for a minute; the judge decides");
            break;
        }
    }
    carried.took = clock.now().since(begun);
    // Whoever still sends would wait for it to be taken.
    drop(sent);
    sent_bar.finish();
    committed_bar.finish();
    match sending.await {
        Ok(Ok(())) => Ok(carried),
        Ok(Err(error)) => Err(target::of_kinesis(error)),
        Err(_) => Err(Failure::new(
            Exit::Internal,
            "sending ended by a fault of this program",
        )),
    }
}

/// Whether anything moves. Counted in looks and not in time: a machine that was asleep has not looked.
#[derive(Default)]
struct Moved {
    looks: u32,
    count: u64,
}

impl Moved {
    fn stands_still(&mut self, count: u64) -> bool {
        if count != self.count {
            *self = Self { looks: 0, count };
        }
        LOOK * self.looks > PATIENCE
    }
}

async fn send(
    producer: Producer,
    events: u64,
    sent: mpsc::Sender<(Vec<Receipt>, u64)>,
) -> Result<(), frazil_kinesis::Error> {
    let lines: Vec<&str> = EVENTS.lines().filter(|line| !line.is_empty()).collect();
    let mut number = 0;
    while number < events {
        let batch: Vec<NewRecord> = (number..events.min(number + MAX_RECORDS as u64))
            .zip(
                lines
                    .iter()
                    .cycle()
                    .skip(usize::try_from(number % lines.len() as u64).unwrap_or(0)),
            )
            .map(|(number, line)| NewRecord {
                key: format!("{:016x}", SystemRandom.next_u64()),
                data: numbered(line.as_bytes(), number),
            })
            .collect();
        number += batch.len() as u64;
        let bytes = batch.iter().map(|record| record.data.len() as u64).sum();
        let puts = producer.put(&batch).await?;
        let receipts = puts.into_iter().map(|put| Receipt {
            user_records: 1,
            shard_id: put.shard.to_string(),
            sequence_number: put.sequence.to_string(),
        });
        if sent.send((receipts.collect(), bytes)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Judges, and shows the table.
async fn tell(carried: &Carried, board: &Board, addresses: &LocalAddresses) -> Result<Exit, Failure> {
    let (database, schema, table) = TABLE;
    let client = target::sql_client(addresses.snowflake(database, schema))?;
    let rows = client
        .execute(&judge::statement(table, "KINESISMETADATA"))
        .await
        .map_err(target::of_snowflake)?;
    let verdict = judge::judge(&carried.receipts, &rows.rows, &[]);
    output::line(summary(carried, &verdict, board));
    output::line(format!("\nthree rows of {database}.{schema}.{table}:"));
    output::line(sql::table(&samples(&client).await?));
    Ok(if verdict.is_exactly_once() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

async fn samples(client: &SqlClient) -> Result<frazil_snowflake::Rows, Failure> {
    let statement = format!(
        "SELECT FRAZILEVENT, PROPERTIES:title::VARCHAR AS TITLE, PROPERTIES:mag::FLOAT AS MAG, \
         KINESISMETADATA:shardId::VARCHAR AS SHARD FROM {} ORDER BY FRAZILEVENT LIMIT 3",
        TABLE.2
    );
    client.execute(&statement).await.map_err(target::of_snowflake)
}

fn summary(carried: &Carried, verdict: &Verdict, board: &Board) -> String {
    let (totals, latency) = totals(board);
    let seconds = carried.took.as_secs_f64().max(0.001);
    let ms = |value: Option<u64>| {
        value.map_or_else(|| "-".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1000.0))
    };
    let rows = [
        ("sent", count(verdict.sent)),
        ("committed", count(verdict.rows)),
        ("lost", count(verdict.lost)),
        ("doubled", count(verdict.doubled)),
        ("dead letters", count(totals.dead_letters)),
        ("MB/s", format!("{:.1}", carried.bytes as f64 / 1e6 / seconds)),
        ("arrival to commit, p50", ms(latency.p50_ms)),
        ("arrival to commit, p99", ms(latency.p99_ms)),
        ("took", format!("{seconds:.1} s")),
    ];
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(name, value)| vec![name.to_owned(), value])
        .collect();
    output::table(&["exactly once?", ""], &rows, &[1])
}

/// Ready to be pasted.
fn commands(addresses: &LocalAddresses, folder: &Path, console: std::net::SocketAddr) -> String {
    let LocalAddresses {
        kinesis_url,
        snowflake_tls_url,
        certificate,
        account,
        user,
        private_key_file,
        region,
        ..
    } = addresses;
    let (database, schema, table) = TABLE;
    format!(
        "
It goes on until Ctrl-C. Put more events in, and ask for them:

  frazil send testdata/earthquakes.ndjson --stream {STREAM} --local {kinesis_url}
  frazil sql --data {data} 'SELECT COUNT(*) FROM {database}.{schema}.{table}'
  frazil status --address {console}

AWS CLI:

  AWS_ACCESS_KEY_ID=AKIDLOCAL AWS_SECRET_ACCESS_KEY=local AWS_DEFAULT_REGION={region} \\
    aws --endpoint-url {kinesis_url} kinesis put-record --stream-name {STREAM} --partition-key k \\
    --cli-binary-format raw-in-base64-out --data '{{\"hello\":\"world\"}}'

boto3:

  boto3.client('kinesis', endpoint_url='{kinesis_url}', region_name='{region}',
               aws_access_key_id='AKIDLOCAL', aws_secret_access_key='local')

The official snowpipe-streaming SDK (with SSL_CERT_FILE={certificate}):

  StreamingIngestClient('demo', '{database}', '{schema}', '{table}-STREAMING', properties={{
      'url': '{snowflake_tls_url}', 'account': '{account}', 'user': '{user}',
      'private_key': open('{private_key_file}').read(),
      'max_buffered_kb_for_rowset_mode': '1000000', 'max_rowset_payload_size_mb': '16'}})

Configuration: {data}/frazil.yaml   Console: http://{console}/api/v1/state
",
        data = folder.display(),
    )
}
