//! `frazil send`: the lines of a file into a stream, one record each.

use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::time::Duration;

use frazil_kinesis::{Aggregator, AimedRecord, MAX_RECORDS, NewRecord, Producer};
use frazil_model::{Clock, Random, StreamName, SystemClock, SystemRandom};
use frazil_runtime::exit::Exit;
use frazil_runtime::run;

use crate::args;
use crate::failure::Failure;
use crate::judge::Receipt;
use crate::output;
use crate::signals::stop_token;
use crate::target;

/// The field that tells repeated events apart.
pub(crate) const NUMBER_FIELD: &str = "frazilEvent";

pub(crate) async fn run(args: args::Send) -> Result<Exit, Failure> {
    let producer = producer(&args).await?;
    let lines = lines(&args.file)?;
    let mut receipts = match &args.receipts {
        Some(path) => Some(BufWriter::new(
            std::fs::File::create(path).map_err(|error| at(path, &error))?,
        )),
        None => None,
    };
    let stop = stop_token();
    let clock = SystemClock;
    let begun = clock.now();
    let repeats = args.repeat.unwrap_or(1);
    let total = repeats.saturating_mul(lines.len() as u64);
    let mut sent = 0_u64;
    while sent < total && !stop.is_cancelled() {
        let batch = batch(&args, &lines, sent, total);
        let packed = pack(&args, batch);
        let (records, counts): (Vec<AimedRecord>, Vec<u64>) = packed.into_iter().unzip();
        let puts = producer.put_aimed(&records).await.map_err(target::of_kinesis)?;
        sent += counts.iter().sum::<u64>();
        if let (Some(receipts), Some(path)) = (&mut receipts, &args.receipts) {
            for (put, user_records) in puts.iter().zip(&counts) {
                let receipt = Receipt {
                    user_records: *user_records,
                    shard_id: put.shard.to_string(),
                    sequence_number: put.sequence.to_string(),
                };
                let text = serde_json::to_string(&receipt).unwrap_or_default();
                writeln!(receipts, "{text}").map_err(|error| at(path, &error))?;
            }
            receipts.flush().map_err(|error| at(path, &error))?;
        }
        if let Some(rate) = args.rate.filter(|rate| *rate > 0) {
            let due = begun + Duration::from_secs_f64(sent as f64 / rate as f64);
            tokio::select! {
                () = clock.sleep(due.since(clock.now())) => {}
                () = stop.cancelled() => {}
            }
        }
    }
    output::line(format!("{} records sent", output::count(sent)));
    Ok(Exit::Done)
}

fn at(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("{}: {error}", path.display()))
}

async fn producer(args: &args::Send) -> Result<Producer, Failure> {
    let name =
        |text: &str| StreamName::new(text).map_err(|error| Failure::new(Exit::Usage, error.to_string()));
    if let Some(url) = &args.local {
        let stream = args.stream.as_deref();
        let stream = stream.ok_or_else(|| Failure::new(Exit::Usage, "--local wants --stream, too"))?;
        let aws = target::local_aws(target::LOCAL_REGION, url)?;
        return target::producer(&aws, name(stream)?, None, Some(url));
    }
    let source = target::first(target::load(&args.config)?, &args.config)?.source;
    let aws = run::aws(&source, &target::clock())
        .await
        .map_err(target::of_connector)?;
    let endpoint = source.endpoint.as_deref();
    match args.stream.as_deref() {
        Some(other) => target::producer(&aws, name(other)?, None, endpoint),
        None => target::producer(&aws, source.stream, source.stream_arn, endpoint),
    }
}

fn lines(path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let reader: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(|error| at(path, &error))?)
    };
    let lines = BufReader::new(reader)
        .split(b'\n')
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| at(path, &error))?;
    let lines: Vec<_> = lines
        .into_iter()
        .filter(|line| !line.trim_ascii().is_empty())
        .collect();
    if lines.is_empty() {
        return Err(Failure::failed(format!(
            "{} has no lines to send",
            path.display()
        )));
    }
    Ok(lines)
}

/// The next records: a second's worth of the rate, but not more than a call takes.
fn batch(args: &args::Send, lines: &[Vec<u8>], from: u64, total: u64) -> Vec<NewRecord> {
    let most = args.rate.map_or(MAX_RECORDS as u64, |rate| {
        (rate / 10).clamp(1, MAX_RECORDS as u64)
    });
    let end = total.min(from + most);
    (from..end)
        .map(|number| {
            let index = usize::try_from(number % lines.len() as u64).unwrap_or(0);
            let line = lines.get(index).cloned().unwrap_or_default();
            let data = if args.repeat.is_some() {
                numbered(&line, number)
            } else {
                line
            };
            NewRecord {
                key: key(args, &data),
                data,
            }
        })
        .collect()
}

/// What is put for these events, and how many each holds: themselves, or aggregates of them.
fn pack(args: &args::Send, batch: Vec<NewRecord>) -> Vec<(AimedRecord, u64)> {
    let plain = batch.into_iter().map(AimedRecord::from);
    if !args.aggregate {
        return plain.map(|record| (record, 1)).collect();
    }
    let mut aggregator = Aggregator::default();
    let mut packed = Vec::new();
    for record in plain {
        let before = aggregator.len();
        packed.extend(aggregator.add(&record).map(|full| (full, before)));
    }
    let rest = aggregator.len();
    packed.extend(aggregator.finish().map(|last| (last, rest)));
    packed
}

/// The event with its number; one that is no object stays as it is.
pub(crate) fn numbered(line: &[u8], number: u64) -> Vec<u8> {
    let line = line.trim_ascii();
    match line.strip_prefix(b"{") {
        Some(rest) if line.ends_with(b"}") => {
            let comma = if rest.trim_ascii() == b"}" { "" } else { "," };
            let mut data = format!("{{\"{NUMBER_FIELD}\":{number}{comma}").into_bytes();
            data.extend_from_slice(rest);
            data
        }
        _ => line.to_vec(),
    }
}

fn key(args: &args::Send, data: &[u8]) -> String {
    let field = args.key.as_deref().and_then(|field| {
        let value: serde_json::Value = serde_json::from_slice(data).ok()?;
        match value.get(field)? {
            serde_json::Value::String(text) => Some(text.chars().take(256).collect()),
            other => Some(other.to_string().chars().take(256).collect::<String>()),
        }
    });
    field
        .filter(|key: &String| !key.is_empty())
        .unwrap_or_else(|| format!("{:016x}", SystemRandom.next_u64()))
}

#[cfg(test)]
mod tests {
    use super::numbered;

    #[test]
    fn a_number_becomes_the_first_field() {
        assert_eq!(numbered(b" {\"a\":1} ", 7), b"{\"frazilEvent\":7,\"a\":1}");
        assert_eq!(numbered(b"{}", 7), b"{\"frazilEvent\":7}");
        assert_eq!(numbered(b"[1]", 7), b"[1]");
    }
}
