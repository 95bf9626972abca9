//! `frazil status`: what the connectors of a running worker do, shard by shard.

use std::net::SocketAddr;
use std::time::Duration;

use frazil_runtime::exit::Exit;
use frazil_runtime::state::{ConnectorState, ShardState, State};

use crate::args;
use crate::failure::Failure;
use crate::output;

/// The longest answer that is read: a few hundred bytes for each of 10,000 shards.
const LONGEST_ANSWER: usize = 16 * 1024 * 1024;

pub(crate) async fn run(args: args::Status) -> Result<Exit, Failure> {
    if args.json {
        output::line(ask(args.address).await?.trim_end());
        return Ok(Exit::Done);
    }
    let state = state(args.address).await?;
    for connector in &state.connectors {
        show(connector);
    }
    for reason in state.not_ready() {
        output::line(format!("not ready: {reason}"));
    }
    Ok(Exit::Done)
}

/// The state of the worker whose console listens there.
pub(crate) async fn state(address: SocketAddr) -> Result<State, Failure> {
    serde_json::from_str(&ask(address).await?)
        .map_err(|error| Failure::failed(format!("{address} answered what is no state: {error}")))
}

async fn ask(address: SocketAddr) -> Result<String, Failure> {
    let url = format!("http://{address}/api/v1/state");
    let unreachable = |error: reqwest::Error| {
        let next = "is a worker running, and is this the address of its `http: {listen: ...}`?";
        Failure::new(
            Exit::Unreachable,
            format!("no worker answers at {url}: {error}; {next}"),
        )
    };
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .build();
    let answer = client
        .map_err(unreachable)?
        .get(&url)
        .send()
        .await
        .map_err(unreachable)?;
    let answer = answer.error_for_status().map_err(unreachable)?;
    if answer
        .content_length()
        .is_some_and(|length| length > LONGEST_ANSWER as u64)
    {
        return Err(Failure::failed(format!(
            "{url} answers more than {LONGEST_ANSWER} bytes; it is no worker"
        )));
    }
    answer.text().await.map_err(unreachable)
}

fn show(connector: &ConnectorState) {
    let worker = connector.worker.as_deref().unwrap_or("-");
    output::line(format!(
        "connector {} is {}, worker {worker}",
        connector.name,
        connector.phase.as_str()
    ));
    if let Some(trouble) = &connector.trouble {
        output::line(format!("  {}", trouble.error));
    }
    let head = [
        "shard",
        "held",
        "lag",
        "records/s",
        "rows accepted",
        "rows committed",
        "committed",
        "checkpointed",
        "stalled",
    ];
    let rows: Vec<_> = connector.shards.iter().map(row).collect();
    output::line(output::table(&head, &rows, &[2, 3, 4, 5]));
    for shard in &connector.shards {
        if let Some(stall) = &shard.stall {
            output::line(format!("  {}: {}", shard.shard, stall.error));
        }
    }
}

/// The last digits of a position: sequence numbers of a shard differ at the end.
fn tail(position: Option<&String>) -> String {
    let Some(text) = position else {
        return "-".to_owned();
    };
    let skipped = text.chars().count().saturating_sub(12);
    let tail: String = text.chars().skip(skipped).collect();
    if skipped > 0 { format!("..{tail}") } else { tail }
}

fn row(shard: &ShardState) -> Vec<String> {
    let held = match (shard.finished, &shard.owner) {
        (true, _) => "ended".to_owned(),
        (false, Some(_)) => "yes".to_owned(),
        (false, None) => "no".to_owned(),
    };
    vec![
        shard.shard.clone(),
        held,
        shard
            .lag_ms
            .map_or_else(|| "-".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1000.0)),
        format!("{:.0}", shard.records_per_second),
        output::count(shard.totals.rows_accepted),
        output::count(shard.totals.rows_committed),
        tail(shard.committed.as_ref()),
        tail(shard.checkpointed.as_ref()),
        shard
            .stall
            .as_ref()
            .map_or_else(|| "-".to_owned(), |stall| stall.reason.to_string()),
    ]
}
