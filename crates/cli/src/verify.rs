//! `frazil verify`: what PutRecords answered against the rows in the table.

use std::path::Path;

use frazil_runtime::config::{ConnectorConfig, Target};
use frazil_runtime::exit::Exit;
use frazil_runtime::run::snowflake;
use frazil_snowflake::SnowflakeConfig;

use crate::args;
use crate::failure::Failure;
use crate::judge::{self, Receipt};
use crate::output;
use crate::target::{self, LocalAddresses};

pub(crate) async fn run(args: args::Verify) -> Result<Exit, Failure> {
    let receipts = receipts(&args.receipts)?;
    let (config, table, column) = asked(&args)?;
    let sql = target::sql_client(config)?;
    let rows = sql
        .execute(&judge::statement(&table, &column))
        .await
        .map_err(target::of_snowflake)?;
    let verdict = judge::judge(&receipts, &rows.rows, &[]);
    let cells = [
        verdict.sent,
        verdict.rows,
        verdict.lost,
        verdict.doubled,
        verdict.unknown,
    ];
    let cells = cells.iter().map(|count| output::count(*count)).collect();
    let head = ["sent", "rows", "lost", "doubled", "without receipt"];
    output::line(output::table(&head, &[cells], &[0, 1, 2, 3, 4]));
    Ok(if verdict.is_exactly_once() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn receipts(path: &Path) -> Result<Vec<Receipt>, Failure> {
    let failed = |why: String| Failure::failed(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let mut receipts = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        match serde_json::from_str(line) {
            Ok(receipt) => receipts.push(receipt),
            // A sender that was killed may leave half a line at the end.
            Err(_) if lines.peek().is_none() => {}
            Err(error) => return Err(failed(format!("line {}: {error}", receipts.len() + 1))),
        }
    }
    if receipts.is_empty() {
        Err(failed("no receipts".to_owned()))
    } else {
        Ok(receipts)
    }
}

/// Whom to ask, for which table, and in which column the metadata stands.
fn asked(args: &args::Verify) -> Result<(SnowflakeConfig, String, String), Failure> {
    let default_column = "KINESISMETADATA".to_owned();
    if let Some(data) = &args.data {
        let table = args
            .table
            .clone()
            .ok_or_else(|| Failure::new(Exit::Usage, "--data wants --table, too"))?;
        return Ok((
            LocalAddresses::read(data)?.snowflake("FRAZIL", "PUBLIC"),
            table,
            default_column,
        ));
    }
    let connector = target::first(target::load(&args.config)?, &args.config)?;
    let config = snowflake(&connector.destination);
    let column = quoted(&connector.metadata.key.to_uppercase());
    let table = match &args.table {
        Some(table) => table.clone(),
        None => tables(&connector, &column)?,
    };
    Ok((config, table, column))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The table of a connector, or all of its tables as one.
fn tables(connector: &ConnectorConfig, column: &str) -> Result<String, Failure> {
    let to = &connector.destination;
    let named = |target: &Target| match target {
        Target::Table(table) => Ok([&to.database, &to.schema, table]
            .map(|name| quoted(name))
            .join(".")),
        Target::Pipe(_) => Err(Failure::new(
            Exit::Usage,
            "the destination is a pipe; name its table with --table",
        )),
    };
    let tables = to
        .targets()
        .into_iter()
        .map(named)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(match tables.as_slice() {
        [only] => only.clone(),
        several => {
            let each: Vec<_> = several
                .iter()
                .map(|table| format!("SELECT {column} FROM {table}"))
                .collect();
            format!("({})", each.join(" UNION ALL "))
        }
    })
}
