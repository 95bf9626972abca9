//! `frazil latency`: how long events take from their arrival in Kinesis until their rows are committed, shard by shard.
//!
//! Two sources. A running worker measures each span that it proves committed; its state tells that ([`Latency`]). And where
//! the table has row timestamps, the rows themselves tell it, whoever wrote them: `METADATA$ROW_LAST_COMMIT_TIME` less the
//! arrival in their metadata (Snowflake documentation, "Row timestamps": for measuring the latency of ingestion). Quantiles are
//! counted here, of the rows committed last, so that the statement is one that any Snowflake runs fast.

use std::collections::BTreeMap;

use frazil_runtime::config::{ConnectorConfig, Target, moment_ms};
use frazil_runtime::exit::Exit;
use frazil_runtime::run;
use frazil_runtime::state::Latency;
use frazil_snowflake::Rows;
use serde::Serialize;

use crate::args;
use crate::failure::Failure;
use crate::{output, status, target};

/// What is known of one shard.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Line {
    connector: String,
    /// The shard; all of them, if none.
    shard: Option<String>,
    #[serde(flatten)]
    latency: Latency,
}

pub(crate) async fn run(args: args::Latency) -> Result<Exit, Failure> {
    let lines = match &args.table {
        false => measured(&args).await?,
        true => of_table(&args).await?,
    };
    if args.json {
        output::line(serde_json::to_string(&lines).map_err(|error| Failure::failed(error.to_string()))?);
        return Ok(Exit::Done);
    }
    let head = [
        "connector",
        "shard",
        "rows",
        "half within",
        "99 of 100 within",
        "slowest",
    ];
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    output::line(output::table(&head, &rows, &[2, 3, 4, 5]));
    Ok(Exit::Done)
}

fn row(line: &Line) -> Vec<String> {
    let time =
        |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{:.3} s", ms as f64 / 1000.0));
    vec![
        line.connector.clone(),
        line.shard.clone().unwrap_or_else(|| "all".to_owned()),
        output::count(line.latency.rows),
        time(line.latency.p50_ms),
        time(line.latency.p99_ms),
        time(line.latency.max_ms),
    ]
}

/// What the running worker measured.
async fn measured(args: &args::Latency) -> Result<Vec<Line>, Failure> {
    let state = status::state(args.address).await?;
    let mut lines = Vec::new();
    for connector in state.connectors {
        let of = |shard: Option<String>, latency: Latency| Line {
            connector: connector.name.clone(),
            shard,
            latency,
        };
        lines.push(of(None, connector.latency));
        let shards = connector.shards.iter().filter(|shard| shard.latency.rows > 0);
        lines.extend(shards.map(|shard| of(Some(shard.shard.clone()), shard.latency)));
    }
    Ok(lines)
}

/// What the rows committed last tell.
async fn of_table(args: &args::Latency) -> Result<Vec<Line>, Failure> {
    let connector = target::named(&args.config, args.connector.as_deref())?;
    let client = target::sql_client(run::snowflake(&connector.destination))?;
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut names = Vec::new();
    for target in connector.destination.targets() {
        let Target::Table(table) = target else {
            let text = "rows are asked for their commit time where the destination is a table; here it is a pipe, whose table \
                        and columns are its own matter";
            return Err(Failure::new(Exit::Usage, text.to_owned()));
        };
        names.push(table.as_str());
        let rows = client.execute(&statement(&connector, table, args.rows)).await;
        let rows = rows.map_err(|error| {
            let next = "does the table have row timestamps (ALTER TABLE ... SET ROW_TIMESTAMP = TRUE), and may the role read it?";
            let failure = target::of_snowflake(error);
            Failure::new(failure.exit, format!("{}; {next}", failure.text))
        })?;
        for (shard, latencies) in by_shard(&rows)? {
            found.entry(shard).or_default().extend(latencies);
        }
    }
    let table = names.join(", ");
    let mut all: Vec<u64> = found.values().flatten().copied().collect();
    if all.is_empty() {
        let text = format!(
            "no row of {table} has a commit time and an arrival: row timestamps are off, or there are no rows yet"
        );
        return Err(Failure::new(Exit::Missing, text));
    }
    let of = |shard: Option<String>, latencies: &mut Vec<u64>| Line {
        connector: connector.name.clone(),
        shard,
        latency: quantiles(latencies),
    };
    let mut lines = vec![of(None, &mut all)];
    lines.extend(
        found
            .into_iter()
            .map(|(shard, mut latencies)| of(Some(shard), &mut latencies)),
    );
    Ok(lines)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Shard, arrival and commit of the rows that were committed last; the SQL API gives the commit in seconds since 1970.
fn statement(connector: &ConnectorConfig, table: &str, rows: u32) -> String {
    let to = &connector.destination;
    let metadata = quoted(&connector.metadata.key.to_uppercase());
    let table = [&to.database, &to.schema, &table.to_owned()]
        .map(|name| quoted(name))
        .join(".");
    let commit = "METADATA$ROW_LAST_COMMIT_TIME";
    format!(
        "SELECT {metadata}:shardId::VARCHAR, {metadata}:approximateArrival::VARCHAR, {commit} \
         FROM {table} WHERE {commit} IS NOT NULL ORDER BY {commit} DESC LIMIT {rows}"
    )
}

/// Latencies in milliseconds.
fn by_shard(rows: &Rows) -> Result<BTreeMap<String, Vec<u64>>, Failure> {
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for row in &rows.rows {
        let [Some(shard), Some(arrival), Some(commit)] = row.as_slice() else {
            continue;
        };
        let unreadable = || {
            Failure::failed(format!(
                "a row says that it arrived at {arrival:?} and was committed at {commit:?}"
            ))
        };
        let arrival_ms = match arrival.parse::<i64>() {
            Ok(ms) => ms,
            Err(_) => moment_ms(arrival).map_err(|_| unreadable())?,
        };
        let commit_s: f64 = commit.parse().map_err(|_| unreadable())?;
        let commit_ms = (commit_s * 1000.0).round() as i64;
        // Two clocks are compared: a commit before its arrival is one at its arrival.
        let latency = u64::try_from(commit_ms - arrival_ms).unwrap_or(0);
        found.entry(shard.clone()).or_default().push(latency);
    }
    Ok(found)
}

fn quantiles(latencies: &mut [u64]) -> Latency {
    latencies.sort_unstable();
    let at = |part: f64| {
        let place = (latencies.len() as f64 * part).ceil() as usize;
        latencies.get(place.saturating_sub(1)).copied()
    };
    Latency {
        rows: latencies.len() as u64,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        max_ms: latencies.last().copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_rows() {
        let mut latencies: Vec<u64> = (1..=1000).rev().collect();
        let all = quantiles(&mut latencies);
        assert_eq!(
            (all.rows, all.p50_ms, all.p99_ms, all.max_ms),
            (1000, Some(500), Some(990), Some(1000))
        );
        assert_eq!(quantiles(&mut [7]).p99_ms, Some(7));
        assert_eq!(quantiles(&mut []), Latency::default());
    }

    #[test]
    fn arrivals_are_read_in_both_forms() {
        let row = |shard: &str, arrival: &str, commit: &str| {
            [shard, arrival, commit]
                .map(|text| Some(text.to_owned()))
                .to_vec()
        };
        let rows = Rows {
            rows: vec![
                row("s1", "2026-01-02T03:04:05.678Z", "1767323046.000000000"),
                row("s1", "1767323045000", "1767323046"),
                row("s2", "2026-01-02T03:04:05Z", "1767323044.5"),
                vec![None, None, Some("1".to_owned())],
            ],
            ..Rows::default()
        };
        let found = by_shard(&rows).expect("readable");
        assert_eq!(found["s1"], [322, 1000]);
        assert_eq!(found["s2"], [0]);
        assert_eq!(found.len(), 2);
    }
}
