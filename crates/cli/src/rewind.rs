//! `frazil rewind`: shards begin at another place, in a new generation.

use std::sync::Arc;

use frazil_lease::upkeep::Upkeep;
use frazil_lease::{Scope, SequenceDigits, ShardStart};
use frazil_model::{Clock, SequenceNumber, ShardId, SystemClock, SystemRandom};
use frazil_runtime::config::moment_ms;
use frazil_runtime::exit::Exit;
use frazil_runtime::run;

use crate::args;
use crate::failure::Failure;
use crate::output;
use crate::target;

pub(crate) async fn run(args: args::Rewind) -> Result<Exit, Failure> {
    let connector = target::named(&args.config, args.connector.as_deref())?;
    let to = place(&args.to, args.shard.len())?;
    let usage = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, error.to_string());
    let shards: Result<Vec<ShardId>, _> = args.shard.iter().map(ShardId::new).collect();
    let shards = shards.map_err(|error| usage(&error))?;
    let which = if shards.is_empty() {
        "every shard".to_owned()
    } else {
        args.shard.join(", ")
    };
    let application = &connector.source.application_name;
    if !args.yes {
        output::line(format!(
            "would put {which} of application {application} at {to}, in a new generation: rows from there on are written again, \
             and none are taken out of the table. Stop every worker, then run it again with --yes"
        ));
        return Ok(Exit::Done);
    }
    let stream = target::stream(&connector).await?;
    let (store, _) = run::leases(&connector, &target::clock())
        .await
        .map_err(target::of_connector)?;
    let upkeep = Upkeep::new(
        store,
        scope(&connector),
        Arc::new(SystemClock),
        Arc::new(SystemRandom),
        connector.lease_timeout,
    );
    let chosen = (!shards.is_empty()).then_some(shards.as_slice());
    let changed = upkeep
        .rewind(chosen, &to, &stream.identity)
        .await
        .map_err(target::of_connector)?;
    for shard in &changed.shards {
        output::line(format!("{shard} begins at {to}"));
    }
    if changed.shards.is_empty() {
        output::line(format!("application {application} has no shard's row yet"));
    }
    Ok(Exit::Done)
}

/// The rows of a connector's stream.
pub(crate) fn scope(connector: &frazil_runtime::config::ConnectorConfig) -> Scope {
    Scope {
        application: connector.source.application_name.clone(),
        stream: connector.source.stream.clone(),
    }
}

fn place(text: &str, shards: usize) -> Result<ShardStart, Failure> {
    match text {
        "TRIM_HORIZON" => return Ok(ShardStart::TrimHorizon),
        "LATEST" => {
            let ms = SystemClock.wall_ms();
            return Ok(ShardStart::Latest { ms });
        }
        _ => {}
    }
    if let Ok(sequence) = SequenceNumber::new(text) {
        if shards != 1 {
            let text = "a sequence number is of one shard: name it with --shard".to_owned();
            return Err(Failure::new(Exit::Usage, text));
        }
        let sequence = SequenceDigits(sequence);
        return Ok(ShardStart::AtSequenceNumber { sequence });
    }
    let expected =
        "expected TRIM_HORIZON, LATEST, a moment such as 2026-01-31T23:59:00Z, or a sequence number";
    let refused = |_| Failure::new(Exit::Usage, format!("--to {text:?}: {expected}"));
    moment_ms(text)
        .map(|ms| ShardStart::AtTimestamp { ms })
        .map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        assert_eq!(place("TRIM_HORIZON", 0).ok(), Some(ShardStart::TrimHorizon));
        assert!(matches!(place("LATEST", 2), Ok(ShardStart::Latest { ms }) if ms > 0));
        let moment = place("1970-01-01T00:00:01Z", 0).ok();
        assert_eq!(moment, Some(ShardStart::AtTimestamp { ms: 1000 }));
        assert!(matches!(
            place("4951", 1),
            Ok(ShardStart::AtSequenceNumber { .. })
        ));
        assert!(place("4951", 0).is_err(), "of which shard?");
        assert!(place("yesterday", 0).is_err());
    }
}
