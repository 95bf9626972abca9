//! The local stack, as verbs start it, and a configuration turned towards it.

use std::path::{Path, PathBuf};

use frazil_kinesis::Producer;
use frazil_local::{Local, LocalOptions};
use frazil_model::{Secret, StreamName};
use frazil_runtime::config::{Authentication, Config, Credentials, SecretSource, Target};
use frazil_runtime::exit::Exit;

use crate::failure::{Failure, chain};
use crate::target::{self, LOCAL_FILE, LocalAddresses};

/// Shards of a stream that is made for a rehearsal.
const SHARDS: u32 = 4;

/// Starts the stack.
pub(crate) async fn start(options: LocalOptions) -> Result<(Local, LocalAddresses), Failure> {
    let local = Local::start(options)
        .await
        .map_err(|error| Failure::failed(chain(&error)))?;
    let at = local.addresses();
    let text = |path: &Path| {
        std::path::absolute(path)
            .unwrap_or_else(|_| path.to_owned())
            .display()
            .to_string()
    };
    let addresses = LocalAddresses {
        kinesis_url: at.kinesis_url.clone(),
        dynamodb_url: at.dynamodb_url.clone(),
        snowflake_url: at.snowflake_http_url.clone(),
        snowflake_tls_url: at.snowflake_https_url.clone(),
        certificate: text(&at.certificate),
        account: at.account.clone(),
        user: at.user.clone(),
        private_key_file: text(&at.private_key),
        region: at.region.clone(),
    };
    Ok((local, addresses))
}

/// Writes the addresses into the data folder, such that a reader sees all of them or none; whoever waits for the file may
/// use what was made before.
pub(crate) fn publish(data: &Path, addresses: &LocalAddresses) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("{}: {error}", data.display()));
    let text = serde_json::to_string_pretty(addresses).map_err(|error| Failure::failed(error.to_string()))?;
    let draft = data.join(format!("{LOCAL_FILE}.new"));
    std::fs::write(&draft, text).map_err(failed)?;
    std::fs::rename(&draft, data.join(LOCAL_FILE)).map_err(failed)
}

/// A producer of a stream of the stack.
pub(crate) async fn producer(addresses: &LocalAddresses, stream: &str) -> Result<Producer, Failure> {
    let stream = StreamName::new(stream).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let url = addresses.kinesis_url.as_str();
    let aws = target::local_aws(&addresses.region, url)?;
    target::producer(&aws, stream, None, Some(url))
}

/// Makes a stream if it is missing.
pub(crate) async fn make_stream(
    addresses: &LocalAddresses,
    stream: &str,
    shards: u32,
) -> Result<Producer, Failure> {
    let producer = producer(addresses, stream).await?;
    producer.create_stream(shards).await.map_err(target::of_kinesis)?;
    Ok(producer)
}

/// Makes a table if it is missing, with schema evolution on: only the metadata's column is there before the first row.
pub(crate) async fn make_table(
    addresses: &LocalAddresses,
    (database, schema, table): (&str, &str, &str),
    metadata_key: &str,
) -> Result<(), Failure> {
    let sql = target::sql_client(addresses.snowflake("", ""))?;
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let (database, schema, table) = (quoted(database), quoted(schema), quoted(table));
    let column = quoted(&metadata_key.to_uppercase());
    for statement in [
        format!("CREATE DATABASE IF NOT EXISTS {database}"),
        format!("CREATE SCHEMA IF NOT EXISTS {database}.{schema}"),
        format!(
            "CREATE TABLE IF NOT EXISTS {database}.{schema}.{table} ({column} OBJECT) ENABLE_SCHEMA_EVOLUTION = TRUE \
             ERROR_LOGGING = TRUE"
        ),
    ] {
        sql.execute(&statement).await.map_err(target::of_snowflake)?;
    }
    Ok(())
}

/// Starts the stack and turns each connector towards it: its stream and table are made there if they are missing.
pub(crate) async fn rehearse(mut config: Config, data: &Path) -> Result<(Config, Local), Failure> {
    let (local, addresses) = start(LocalOptions::new(data)).await?;
    for connector in &mut config.connectors {
        let source = &mut connector.source;
        source.endpoint = Some(addresses.kinesis_url.clone());
        source.dynamodb_endpoint = Some(addresses.dynamodb_url.clone());
        source.region.clone_from(&addresses.region);
        source.credentials = Credentials::Static {
            access_key_id: "AKIDLOCAL".to_owned(),
            secret_access_key: Secret::new("local"),
            session_token: None,
        };
        make_stream(&addresses, source.stream.as_str(), SHARDS).await?;
        let to = &mut connector.destination;
        to.account.clone_from(&addresses.account);
        to.user.clone_from(&addresses.user);
        to.role = None;
        to.authentication = Authentication::KeyPair {
            private_key: SecretSource::File(PathBuf::from(&addresses.private_key_file)),
            passphrase: None,
        };
        to.url = Some(addresses.snowflake_url.clone());
        to.proxy = None;
        to.ca_file = None;
        for target in connector.destination.targets() {
            let Target::Table(table) = target else {
                let text = format!(
                    "connector {}: pipes of your own cannot be rehearsed yet; name a table",
                    connector.name
                );
                return Err(Failure::new(Exit::Usage, text));
            };
            let to = &connector.destination;
            let place = (to.database.as_str(), to.schema.as_str(), table.as_str());
            make_table(&addresses, place, &connector.metadata.key).await?;
        }
    }
    publish(data, &addresses)?;
    Ok((config, local))
}
