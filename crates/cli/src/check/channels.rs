//! How many channels there is room for: in each pipe of a connector, and in pipes that several connectors write to.
//!
//! Source: Snowflake documentation, "Snowpipe Streaming high-performance architecture", limits: 2,000 named channels of a pipe.

use std::collections::BTreeMap;

use frazil_runtime::config::{ConnectorConfig, Target};
use frazil_runtime::exit::Exit;

use super::finding::{Book, Finding, Group, Repair, State};

/// Named channels of a pipe.
const MOST_CHANNELS: usize = 2000;
/// From here on it is said that the end is near.
const NEAR: usize = 1600;
pub(super) const ID: &str = "snowflake.channels";

/// The pipes that a connector's shards are spread over.
pub(super) fn pipes(connector: &ConnectorConfig) -> Vec<String> {
    let to = &connector.destination;
    let first = to.targets().into_iter().map(Target::pipe);
    first.chain(to.more_pipes.iter().cloned()).collect()
}

/// How many of so many shards come to each pipe, at most.
pub(super) fn share(connector: &ConnectorConfig, shards: usize) -> usize {
    let to = &connector.destination;
    match to.routes {
        // Each shard writes to every one of them.
        Some(_) => shards,
        None => shards.div_ceil(1 + to.more_pipes.len()),
    }
}

/// What so many shards mean for a pipe that has so many channels of others.
fn room(shards: usize, there: usize) -> (State, String) {
    let limit = format!("a pipe has at most {MOST_CHANNELS}");
    let says = format!("{shards} shards take a channel each, others have {there}, {limit}");
    if shards > MOST_CHANNELS {
        (State::Refused, says)
    } else if shards > NEAR {
        (State::Warning, format!("{says}: a resharding may go beyond that"))
    } else if shards + there > MOST_CHANNELS {
        let what = format!("{says}: the others may leave no room");
        (State::Warning, what)
    } else {
        (State::Proved, says)
    }
}

/// Says whether there is room in a pipe for so many shards.
pub(super) fn judge(book: &mut Book, place: &str, shards: usize, there: usize) {
    let step = || {
        let text = "add a pipe of the same table to `destination.more_pipes`, merge shards, or drop channels that nobody writes \
                    to";
        vec![Repair::Step(text.to_owned())]
    };
    match room(shards, there) {
        (State::Refused, what) => book.refused(Exit::Failed, ID, place, &what, step()),
        (State::Warning, what) => book.warning(ID, place, &what, step()),
        (_, what) => book.proved(ID, place, &what),
    }
}

/// Adds up the shards of connectors that write to the same pipe; what is not known of one is left out of the sum.
pub(super) fn together(connectors: &[(&ConnectorConfig, Option<usize>)]) -> Vec<Finding> {
    let mut of_pipes: BTreeMap<String, Vec<(&str, usize)>> = BTreeMap::new();
    for (connector, shards) in connectors {
        let (to, Some(shards)) = (&connector.destination, *shards) else {
            continue;
        };
        for pipe in pipes(connector) {
            let account = to.account.to_uppercase();
            let place = format!("{account}.{}.{}.{pipe}", to.database, to.schema);
            let of = of_pipes.entry(place).or_default();
            of.push((&connector.name, share(connector, shards)));
        }
    }
    let mut book = Book::new("");
    book.enter(Group::Snowflake);
    for (pipe, of) in of_pipes.iter().filter(|(_, of)| of.len() > 1) {
        let names: Vec<&str> = of.iter().map(|(name, _)| *name).collect();
        let place = format!("{pipe} of connectors {}", names.join(", "));
        judge(&mut book, &place, of.iter().map(|(_, shards)| shards).sum(), 0);
    }
    book.into_findings()
}

#[cfg(test)]
mod tests {
    use frazil_runtime::config::{Config, Variables};

    use super::*;

    #[test]
    fn room_for_channels_ends_at_two_thousand() {
        for (shards, there, state) in [
            (4, 4, State::Proved),
            (1600, 400, State::Proved),
            (1600, 401, State::Warning),
            (1601, 0, State::Warning),
            (2000, 0, State::Warning),
            (2001, 0, State::Refused),
        ] {
            assert_eq!(room(shards, there).0, state, "{shards} {there}");
        }
    }

    #[test]
    fn shards_of_connectors_on_one_pipe_are_added_up() {
        let connector = |name: &str, account: &str, to: &str| {
            format!(
                "  - {{name: {name}, source: {{stream: {name}, region: eu-central-1, application_name: frazil-{name}, \
                 initial_position: LATEST}}, destination: {{account: {account}, user: U, private_key: k, database: D, \
                 schema: S, {to}}}}}\n"
            )
        };
        let text = format!(
            "memory_budget: 512MiB\nconnectors:\n{}{}{}{}",
            connector("a", "o-x", "table: T"),
            connector("b", "O-X", "pipe: P, more_pipes: [T-STREAMING]"),
            connector("c", "o-y", "table: T"),
            connector("d", "o-x", "table: T"),
        ) + &connector(
            "e",
            "o-z",
            "table: T, routes: {key: k, to: [{table: A, values: [a]}]}",
        ) + &connector("f", "o-z", "table: A");
        let config = Config::parse(&text, std::path::Path::new("."), &Variables::of_process())
            .expect("it can be used");
        let of = |shards: [Option<usize>; 6]| {
            let all: Vec<_> = config.connectors.iter().zip(shards).collect();
            together(&all)
        };
        let findings = of([Some(1100), Some(1001), Some(1900), None, None, None]);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].state, State::Warning, "1601 of 2000");
        assert_eq!(findings[0].place, "O-X.D.S.T-STREAMING of connectors a, b");
        let findings = of([Some(1100), Some(402), Some(1900), Some(700), None, None]);
        assert_eq!(findings[0].state, State::Refused, "2001 of 2000");
        // Each shard of routes has a channel for every table.
        let findings = of([None, None, None, None, Some(1500), Some(501)]);
        assert_eq!(findings.len(), 1);
        assert_eq!(
            (findings[0].state, findings[0].place.as_str()),
            (State::Refused, "O-Z.D.S.A-STREAMING of connectors e, f")
        );
        let findings = of([Some(1100), None, Some(1900), None, None, None]);
        assert!(findings.is_empty(), "{findings:?}");
    }
}
