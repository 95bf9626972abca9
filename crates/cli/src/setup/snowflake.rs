//! What the Snowflake administrator needs.
//!
//! Sources: docs.snowflake.com, "Snowpipe Streaming high-performance architecture" (privileges, pipes), "Set up the Openflow Connector
//! for Kinesis" (destination tables, direct grants), "Key-pair authentication and key-pair rotation", "CREATE ICEBERG TABLE",
//! "CREATE INTERACTIVE TABLE".

use frazil_runtime::config::{Authentication, ConnectorConfig, SecretSource, Target};
use frazil_snowflake::probe::{quoted, quoted_path};

use super::table_name;
use crate::args::{self, TableKind};

/// The role that is made where the configuration names none: the user's default one.
const ROLE: &str = "FRAZIL";
/// The volume that Snowflake keeps itself; it wants no grant.
const MANAGED_VOLUME: &str = "SNOWFLAKE_MANAGED";

fn role(connector: &ConnectorConfig) -> &str {
    connector.destination.role.as_deref().unwrap_or(ROLE)
}

/// A word of a shell's line.
fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A text in SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The lines that make the key; none where the user proves itself otherwise.
pub(super) fn keys(connector: &ConnectorConfig) -> String {
    let (private_key, passphrase) = match &connector.destination.authentication {
        Authentication::KeyPair {
            private_key,
            passphrase,
        } => (private_key, passphrase),
        Authentication::ProgrammaticAccessToken { .. } => {
            let user = quoted(&connector.destination.user.to_uppercase());
            return format!(
                "# no key: the user has a token, which this SQL makes and shows once\n\
                 # ALTER USER {user} ADD PROGRAMMATIC ACCESS TOKEN FRAZIL ROLE_RESTRICTION = {}",
                literal(role(connector))
            );
        }
        Authentication::OAuth(_) => return "# no key: access tokens come from the token endpoint".to_owned(),
    };
    let file = match private_key {
        SecretSource::File(path) => path.display().to_string(),
        SecretSource::Text(_) => "frazil_rsa_key.p8".to_owned(),
    };
    let (private, public) = (shell_word(&file), shell_word(&format!("{file}.pub")));
    let sealed = match passphrase {
        Some(_) => "-v2 aes-256-cbc",
        None => "-nocrypt",
    };
    format!(
        "# a key that is there already is left alone\n\
         test ! -e {private} &&\n  \
         (umask 077; openssl genrsa 2048 | openssl pkcs8 -topk8 -inform PEM {sealed} -out {private}) &&\n  \
         openssl rsa -in {private} -pubout -out {public}"
    )
}

/// User, role and what the role itself must be granted to reach the schema.
pub(super) fn grants(connector: &ConnectorConfig, public_key: Option<&str>) -> String {
    let to = &connector.destination;
    let (role, user) = (quoted(role(connector)), quoted(&to.user.to_uppercase()));
    let (database, schema) = (quoted(&to.database), quoted_path(&[&to.database, &to.schema]));
    let mut lines = vec![
        "USE ROLE ACCOUNTADMIN;".to_owned(),
        format!("CREATE DATABASE IF NOT EXISTS {database};"),
        format!("CREATE SCHEMA IF NOT EXISTS {schema};"),
        format!("CREATE ROLE IF NOT EXISTS {role};"),
        format!("CREATE USER IF NOT EXISTS {user} TYPE = SERVICE DEFAULT_ROLE = {role};"),
        format!("GRANT ROLE {role} TO USER {user};"),
    ];
    if let Authentication::KeyPair { .. } = to.authentication {
        lines.push(match public_key {
            Some(key) => format!("ALTER USER {user} SET RSA_PUBLIC_KEY = {};", literal(key)),
            None => format!("-- once the key is there: ALTER USER {user} SET RSA_PUBLIC_KEY = '...';"),
        });
    }
    // To the role itself: what it inherits is not honoured.
    lines.push(format!("GRANT USAGE ON DATABASE {database} TO ROLE {role};"));
    lines.push(format!("GRANT USAGE ON SCHEMA {schema} TO ROLE {role};"));
    lines.join("\n")
}

/// The metadata's members as a structured type, for Iceberg tables.
const METADATA_FIELDS: &str = "OBJECT(stream STRING, shardId STRING, approximateArrival STRING, partitionKey STRING, \
                               sequenceNumber STRING, subSequenceNumber BIGINT, shardedSequenceNumber STRING)";

/// The table, and the role's grants on it.
pub(super) fn table(connector: &ConnectorConfig, args: &args::Setup) -> String {
    let to = &connector.destination;
    let Some(name) = table_name(connector, args) else {
        return "-- the configuration names a pipe: name its table with --into".to_owned();
    };
    let path = quoted_path(&[&to.database, &to.schema, name]);
    let metadata = quoted(&connector.metadata.key.to_uppercase());
    let role = quoted(role(connector));
    let mut lines = vec!["USE ROLE ACCOUNTADMIN;".to_owned()];
    match args.table {
        TableKind::Standard => lines.push(format!(
            "CREATE TABLE IF NOT EXISTS {path} ({metadata} OBJECT) ENABLE_SCHEMA_EVOLUTION = TRUE ERROR_LOGGING = TRUE \
             ROW_TIMESTAMP = TRUE;"
        )),
        TableKind::Static => {
            lines.push("-- put the columns that the events have; keys without a column are left out".to_owned());
            lines.push(format!(
                "CREATE TABLE IF NOT EXISTS {path} ({metadata} OBJECT, ID VARCHAR) ERROR_LOGGING = TRUE ROW_TIMESTAMP = TRUE;"
            ));
        }
        TableKind::Iceberg => lines.push(format!(
            "CREATE ICEBERG TABLE IF NOT EXISTS {path} ({metadata} {METADATA_FIELDS}) EXTERNAL_VOLUME = {} \
             CATALOG = 'SNOWFLAKE' BASE_LOCATION = {} ICEBERG_VERSION = 3 ENABLE_SCHEMA_EVOLUTION = TRUE;",
            literal(&args.volume),
            literal(name)
        )),
        TableKind::Interactive => {
            lines.push("-- put the columns that the events have, and cluster by those that are asked for".to_owned());
            lines.push(format!(
                "CREATE INTERACTIVE TABLE {path} (ID VARCHAR, SHARD_ID VARCHAR) CLUSTER BY (ID) AS (SELECT $1:id::VARCHAR, \
                 $1:{}.shardId::VARCHAR FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')));",
                quoted(&connector.metadata.key)
            ));
        }
    }
    if args.table == TableKind::Iceberg && args.volume != MANAGED_VOLUME {
        let volume = quoted(&args.volume);
        lines.push(format!("GRANT USAGE ON EXTERNAL VOLUME {volume} TO ROLE {role};"));
    }
    lines.push(format!("GRANT INSERT ON TABLE {path} TO ROLE {role};"));
    let evolves = matches!(args.table, TableKind::Standard | TableKind::Iceberg);
    if evolves && matches!(to.target, Target::Table(_)) {
        lines.push(format!("GRANT EVOLVE SCHEMA ON TABLE {path} TO ROLE {role};"));
    }
    lines.join("\n")
}

/// What Snowflake lets a worker reach that runs within it, and from where it lets workers in.
///
/// Sources: docs.snowflake.com, "CREATE NETWORK RULE", "CREATE EXTERNAL ACCESS INTEGRATION", "CREATE NETWORK POLICY".
pub(super) fn network(connector: &ConnectorConfig, hosts: &[String], addresses: &[String]) -> String {
    let to = &connector.destination;
    let (role, user) = (quoted(role(connector)), quoted(&to.user.to_uppercase()));
    let named = |end: &str| format!("{}_{end}", connector.name.to_uppercase());
    let list = |texts: Vec<String>| texts.join(", ");
    // A given endpoint is an address with a scheme; a rule names host and port.
    let host = |host: &String| {
        let host = host.split("://").last().unwrap_or(host).trim_end_matches('/');
        literal(&if host.contains(':') {
            host.to_owned()
        } else {
            format!("{host}:443")
        })
    };
    let rule = quoted_path(&[&to.database, &to.schema, &named("AWS")]);
    let integration = quoted(&named("AWS"));
    let mut lines = vec![
        "USE ROLE ACCOUNTADMIN;".to_owned(),
        "-- only for a worker that runs within Snowflake: what it may reach".to_owned(),
        format!(
            "CREATE NETWORK RULE IF NOT EXISTS {rule} MODE = EGRESS TYPE = HOST_PORT VALUE_LIST = ({});",
            list(hosts.iter().map(host).collect())
        ),
        format!(
            "CREATE EXTERNAL ACCESS INTEGRATION IF NOT EXISTS {integration} ALLOWED_NETWORK_RULES = ({rule}) ENABLED = TRUE;"
        ),
        format!("GRANT USAGE ON INTEGRATION {integration} TO ROLE {role};"),
    ];
    if addresses.is_empty() {
        lines.push(
            "-- name the addresses that workers come from with --address, if the account lets in only some"
                .to_owned(),
        );
        return lines.join("\n");
    }
    let rule = quoted_path(&[&to.database, &to.schema, &named("WORKERS")]);
    let policy = quoted(&named("WORKERS"));
    lines.extend([
        "-- from where the user may come".to_owned(),
        format!(
            "CREATE NETWORK RULE IF NOT EXISTS {rule} MODE = INGRESS TYPE = IPV4 VALUE_LIST = ({});",
            list(addresses.iter().map(|address| literal(address)).collect())
        ),
        format!(
            "CREATE NETWORK POLICY IF NOT EXISTS {policy} ALLOWED_NETWORK_RULE_LIST = ({});",
            literal(&rule)
        ),
        format!("ALTER USER {user} SET NETWORK_POLICY = {policy};"),
    ]);
    lines.join("\n")
}

/// The pipe, which picks columns out of each event, and the role's grant on it.
pub(super) fn pipe(connector: &ConnectorConfig, args: &args::Setup) -> String {
    let to = &connector.destination;
    let Some(table) = table_name(connector, args) else {
        return "-- the configuration names a pipe: name its table with --into".to_owned();
    };
    let table = quoted_path(&[&to.database, &to.schema, table]);
    let more = to.more_pipes.iter().filter(|pipe| !pipe.ends_with("-STREAMING"));
    let mut lines = Vec::new();
    match &to.target {
        Target::Table(_) if to.more_pipes.is_empty() => {
            return "-- the table's own pipe makes itself with the first channel; nothing is to be done"
                .to_owned();
        }
        Target::Table(_) => {
            lines.push("USE ROLE ACCOUNTADMIN;".to_owned());
            let role = quoted(role(connector));
            for pipe in more {
                let pipe = quoted_path(&[&to.database, &to.schema, pipe]);
                lines.push(format!(
                    "CREATE PIPE IF NOT EXISTS {pipe} AS COPY INTO {table} FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')) \
                     MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE;"
                ));
                lines.push(format!("GRANT OPERATE ON PIPE {pipe} TO ROLE {role};"));
            }
        }
        Target::Pipe(pipe) => lines.push(picking(connector, std::iter::once(pipe).chain(more), &table)),
    }
    lines.join("\n")
}

/// Pipes that pick columns.
fn picking<'a>(connector: &ConnectorConfig, pipes: impl Iterator<Item = &'a String>, table: &str) -> String {
    let to = &connector.destination;
    let key = quoted(&connector.metadata.key);
    let metadata = quoted(&connector.metadata.key.to_uppercase());
    let role = quoted(role(connector));
    let mut lines = vec![
        "USE ROLE ACCOUNTADMIN;".to_owned(),
        "-- put the columns of the table, each with what it is made of".to_owned(),
    ];
    for pipe in pipes {
        let pipe = quoted_path(&[&to.database, &to.schema, pipe]);
        lines.push(format!(
            "CREATE PIPE IF NOT EXISTS {pipe} AS COPY INTO {table} ({metadata}, ID) FROM (SELECT $1:{key}, $1:id::VARCHAR \
             FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')));"
        ));
        lines.push(format!("GRANT OPERATE ON PIPE {pipe} TO ROLE {role};"));
    }
    lines.join("\n")
}
