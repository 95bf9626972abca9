//! `frazil check`: tries, with the rights of each connector, everything that it will need.
//!
//! How it works: the calls of a connector are made as it makes them, but such that nothing comes of them: a read of one record,
//! an update whose condition never holds, the making of what is there already. In Snowflake it looks around with SHOW and
//! DESCRIBE. Each thing tried is one finding; what is refused says which statement or step repairs it.
//!
//! What it guarantees: nothing is changed. What cannot be tried so is said to be unknowable. What it does not: it proves the
//! rights of this moment, not that they stay; and it does not look at other workers.

mod aws;
mod channels;
mod clock;
mod files;
mod finding;
mod leases;
mod report;
mod snowflake;

use std::path::Path;
use std::sync::Arc;

use frazil_model::{Clock, SystemRandom};
use frazil_runtime::config::{Config, ConfigError, ConnectorConfig, DeadLetters, Variables};
use frazil_runtime::exit::Exit;

use crate::args;
use crate::failure::Failure;
use crate::output;
use crate::target;
use finding::{Book, Finding, Group};

pub(crate) async fn run(args: args::Check) -> Result<Exit, Failure> {
    let shown = |findings: &[Finding]| match args.json {
        true => output::line(report::json(findings)),
        false => output::line(report::text(findings, &args.config)),
    };
    let config = match Config::load(&args.config, &Variables::of_process()) {
        Ok(config) => config,
        Err(error) => {
            let findings = unusable(&args.config, &error);
            shown(&findings);
            return Ok(finding::exit(&findings));
        }
    };
    let mut connectors = config.connectors;
    if let Some(name) = &args.connector {
        connectors.retain(|connector| connector.name == *name);
        if connectors.is_empty() {
            let text = format!("{} names no connector {name:?}", args.config.display());
            return Err(Failure::new(Exit::Usage, text));
        }
    }
    let mut findings = Vec::new();
    let mut shards = Vec::new();
    for connector in &connectors {
        let (found, open) = inspect(connector, &args.config, &target::clock()).await;
        findings.extend(found);
        shards.push((connector, open));
    }
    findings.extend(channels::together(&shards));
    shown(&findings);
    Ok(finding::exit(&findings))
}

/// What is wrong with a configuration that cannot be used.
fn unusable(file: &Path, error: &ConfigError) -> Vec<Finding> {
    let mut book = Book::new("");
    for problem in error.problems() {
        let place = format!(
            "{}:{}:{} {}",
            file.display(),
            problem.place.line,
            problem.place.column,
            problem.key
        );
        let place = place.trim_end();
        book.refused(Exit::Usage, "configuration", place, &problem.message, Vec::new());
    }
    book.into_findings()
}

/// Everything that is found of one connector, in the order it was tried, and how many open shards its stream has.
pub(crate) async fn inspect(
    connector: &ConnectorConfig,
    file: &Path,
    clock: &Arc<dyn Clock>,
) -> (Vec<Finding>, Option<usize>) {
    let mut book = Book::new(&connector.name);
    let place = format!("{}, connector {}", file.display(), connector.name);
    book.proved("configuration", &place, "it can be used");
    dead_letters(&mut book, &connector.dead_letters);
    book.enter(Group::Aws);
    let seen = aws::look(&mut book, connector, clock).await;
    book.enter(Group::Leases);
    leases::look(&mut book, connector, &seen, clock).await;
    book.enter(Group::Snowflake);
    let random = Arc::new(SystemRandom);
    snowflake::look(&mut book, connector, seen.open_shards, clock, random).await;
    (book.into_findings(), seen.open_shards)
}

/// Whether dead letters have a place.
fn dead_letters(book: &mut Book, configured: &DeadLetters) {
    let id = "dead_letters";
    let DeadLetters::File { path, .. } = configured else {
        return book.proved(
            id,
            "discard",
            "records that cannot become rows are counted, and lost",
        );
    };
    let place = path.display().to_string();
    // Something within it has room where it has.
    match files::room(&path.join("letters")) {
        files::Room::There => book.proved(id, &place, "files can be made there"),
        files::Room::None(why, repair) => book.refused(Exit::Failed, id, &place, &why, vec![repair]),
    }
}

#[cfg(all(test, feature = "local"))]
mod tests;
