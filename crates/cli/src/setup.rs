//! `frazil setup`: what two administrators run before a connector can, filled in from its configuration.
//!
//! It prints and changes nothing: the lines that make a key, the IAM policy and who may take its role, both as Terraform, too, SQL
//! for user, role, grants, table, pipe and network rules, and the hosts that a worker dials. Without a part it prints all of them, each under a heading, in the order in which they are needed.
//! One part alone is a document of its own: `frazil setup iam` is JSON, `frazil setup snowflake table` a script that
//! `frazil sql --file` and every other client of Snowflake runs.
//!
//! What it guarantees: names and texts of the configuration are written as each language quotes them. What it does not: it asks
//! nobody whether any of it is there already (`frazil check` does), and prints no secret.

mod aws;
mod snowflake;

use frazil_runtime::config::{ConnectorConfig, Target};
use frazil_runtime::exit::Exit;
use frazil_runtime::run;

use crate::args::{self, SetupPart};
use crate::failure::Failure;
use crate::{output, target};

pub(crate) async fn run(args: args::Setup) -> Result<Exit, Failure> {
    let connector = target::named(&args.config, args.connector.as_deref())?;
    let all = [
        SetupPart::Keys,
        SetupPart::Iam,
        SetupPart::Trust,
        SetupPart::Snowflake,
        SetupPart::Table,
        SetupPart::Pipe,
        SetupPart::Hosts,
        SetupPart::Network,
        SetupPart::Terraform,
    ];
    let chosen = match args.parts.as_slice() {
        [] => all.as_slice(),
        some => some,
    };
    for (number, part) in chosen.iter().enumerate() {
        let text = text(*part, &connector, &args)?;
        if args.parts.is_empty() {
            let between = if number > 0 { "\n" } else { "" };
            output::line(format!("{between}-- {}. {}", number + 1, heading(*part)));
        }
        output::line(text.trim_end());
    }
    Ok(Exit::Done)
}

fn heading(part: SetupPart) -> &'static str {
    match part {
        SetupPart::Keys => "a key pair (shell)",
        SetupPart::Iam => "what the worker may do in AWS (IAM policy)",
        SetupPart::Trust => "who may take the worker's role (IAM trust policy)",
        SetupPart::Snowflake => "user, role and grants (Snowflake SQL)",
        SetupPart::Table => "the table (Snowflake SQL)",
        SetupPart::Pipe => "the pipe (Snowflake SQL)",
        SetupPart::Hosts => "hosts that the worker dials, all on port 443",
        SetupPart::Network => "what Snowflake lets out and in, where it asks for that (Snowflake SQL)",
        SetupPart::Terraform => "instead of 2 and 3: role and policy (Terraform)",
    }
}

fn text(part: SetupPart, connector: &ConnectorConfig, args: &args::Setup) -> Result<String, Failure> {
    Ok(match part {
        SetupPart::Keys => snowflake::keys(connector),
        SetupPart::Iam => aws::policy(&connector.source, args.migration, args.aws_account.as_deref()),
        SetupPart::Trust => aws::trust(&connector.source, args.aws_account.as_deref(), args.runs_on),
        SetupPart::Network => snowflake::network(connector, &aws::hosts(&connector.source), &args.address),
        SetupPart::Terraform => aws::terraform(
            &connector.source,
            args.migration,
            args.aws_account.as_deref(),
            args.runs_on,
        ),
        SetupPart::Snowflake => {
            let public_key = frazil_snowflake::probe::public_key(&run::snowflake(&connector.destination));
            snowflake::grants(connector, public_key.as_deref())
        }
        SetupPart::Table => each(connector, |connector| snowflake::table(connector, args)),
        SetupPart::Pipe => each(connector, |connector| snowflake::pipe(connector, args)),
        SetupPart::Hosts => {
            let address = run::snowflake(&connector.destination).address();
            let address = address.map_err(target::of_snowflake)?;
            let mut hosts = aws::hosts(&connector.source);
            if let Some(sts) = hosts.last_mut() {
                sts.push_str(" (where a role is assumed)");
            }
            hosts.push(address.host_str().unwrap_or_default().to_owned());
            hosts.push(
                "(the ingest host that Snowflake names at /v2/streaming/hostname of that one)".to_owned(),
            );
            hosts.join("\n")
        }
    })
}

/// The same for each table that rows go to.
fn each(connector: &ConnectorConfig, of: impl Fn(&ConnectorConfig) -> String) -> String {
    let texts: Vec<String> = connector.by_target().iter().map(of).collect();
    texts.join("\n")
}

/// The table that rows go to, if the configuration tells it.
fn table_name<'a>(connector: &'a ConnectorConfig, args: &'a args::Setup) -> Option<&'a str> {
    match &connector.destination.target {
        Target::Table(table) => Some(table),
        Target::Pipe(_) => args.into.as_deref(),
    }
}

#[cfg(test)]
mod tests;
