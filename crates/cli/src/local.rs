//! `frazil local`: the local Kinesis, DynamoDB and Snowflake, until a signal.

use std::time::Duration;

use frazil_local::{FaultsFile, Fired, LocalOptions};
use frazil_runtime::exit::Exit;

use crate::args;
use crate::failure::{Failure, chain};
use crate::output;
use crate::signals::stop_token;
use crate::stack;
use crate::target::LocalAddresses;

pub(crate) async fn run(args: args::Local) -> Result<Exit, Failure> {
    let stop = stop_token();
    let mut options = LocalOptions::new(&args.data);
    options.kinesis_port = args.kinesis_port;
    options.dynamodb_port = args.dynamodb_port;
    options.snowflake_http_port = args.snowflake_port;
    options.snowflake_https_port = args.snowflake_tls_port;
    options.aws_limits = !args.no_aws_limits;
    for choice in &args.behaviour {
        options
            .behaviours
            .set(choice)
            .map_err(|error| Failure::new(Exit::Usage, chain(&error)))?;
    }
    if let Some(path) = &args.faults {
        options.faults = FaultsFile::read(path).map_err(|error| Failure::new(Exit::Usage, chain(&error)))?;
    }
    if let Some(ms) = args.commit_interval_ms {
        options.commit_interval = Duration::from_millis(ms);
    }
    let rehearsed = args.faults.as_ref().map(|path| {
        let (rules, seed) = (options.faults.rules.len(), options.faults.seed);
        format!("\nfaults     {rules} rules of {}, seed {seed}", path.display())
    });
    let chosen = options.behaviours.chosen();
    let (local, addresses) = stack::start(options).await?;
    for stream in &args.stream {
        let (name, shards) = stream.split_once('=').unwrap_or((stream, "1"));
        let shards = shards
            .parse()
            .map_err(|_| Failure::new(Exit::Usage, format!("{stream:?}: expected NAME=SHARDS")))?;
        stack::make_stream(&addresses, name, shards).await?;
    }
    for table in &args.table {
        let parts: Vec<&str> = table.split('.').collect();
        let [database, schema, name] = parts.as_slice() else {
            return Err(Failure::new(
                Exit::Usage,
                format!("{table:?}: expected DATABASE.SCHEMA.TABLE"),
            ));
        };
        stack::make_table(&addresses, (database, schema, name), "kinesisMetadata").await?;
    }
    stack::publish(&args.data, &addresses)?;
    let text = listing(&addresses);
    let behaviours = match chosen.as_slice() {
        [] => String::new(),
        chosen => format!("\nbehaviour  {}", chosen.join(", ")),
    };
    output::line(format!(
        "{text}{behaviours}{}",
        rehearsed.as_deref().unwrap_or_default()
    ));
    stop.cancelled().await;
    let faults = local.faults();
    local.shutdown().await;
    if rehearsed.is_some() {
        output::line(fired(&faults.fired()));
    }
    Ok(Exit::Done)
}

/// How often each rule of the faults file fired.
fn fired(rules: &[Fired]) -> String {
    let row = |fired: &Fired| {
        vec![
            fired.rule.to_string(),
            fired.service.to_string(),
            fired.operation.clone(),
            fired.fault.clone(),
            output::count(fired.calls),
            output::count(fired.fired),
        ]
    };
    let rows: Vec<Vec<String>> = rules.iter().map(row).collect();
    output::table(
        &["rule", "service", "operation", "fault", "calls", "fired"],
        &rows,
        &[0, 4, 5],
    )
}

/// Where everything is, for people.
pub(crate) fn listing(addresses: &LocalAddresses) -> String {
    let LocalAddresses {
        kinesis_url,
        dynamodb_url,
        snowflake_url,
        snowflake_tls_url,
        ..
    } = addresses;
    format!(
        "Kinesis    {kinesis_url}\nDynamoDB   {dynamodb_url}\nSnowflake  {snowflake_url}  and  {snowflake_tls_url}\n\
         account    {}, user {}, private key {}\ncertificate to trust  {}",
        addresses.account, addresses.user, addresses.private_key_file, addresses.certificate
    )
}
