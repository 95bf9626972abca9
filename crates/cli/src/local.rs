//! `frazil local`: the local Kinesis, DynamoDB and Snowflake, until a signal.

use std::time::Duration;

use frazil_local::{FaultsFile, LocalOptions};
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
    if let Some(path) = &args.faults {
        options.faults = FaultsFile::read(path).map_err(|error| Failure::new(Exit::Usage, chain(&error)))?;
    }
    if let Some(ms) = args.commit_interval_ms {
        options.commit_interval = Duration::from_millis(ms);
    }
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
    output::line(listing(&addresses));
    stop.cancelled().await;
    local.shutdown().await;
    Ok(Exit::Done)
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
