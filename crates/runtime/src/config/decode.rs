//! From the tree to the types: which keys there are, their defaults, and what belongs together.

mod destination;
mod source;

use std::cell::RefCell;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use frazil_model::Secret;

use super::fields::{Fields, Reading};
use super::interpolate::Variables;
use super::problem::Problem;
use super::tree::{self, Node, Value};
use super::{
    ArrivalFormat, Config, ConnectorConfig, DEFAULT_CHECKPOINT_INTERVAL, DEFAULT_COMMIT_TIMEOUT,
    DEFAULT_DEAD_LETTER_BYTES, DEFAULT_LEASE_TIMEOUT, DEFAULT_LISTEN, DEFAULT_MEMORY_BUDGET,
    DEFAULT_METADATA_KEY, DeadLetters, HttpConfig, Leases, MEMORY_PER_CONNECTOR, MetadataConfig, OnRowError,
    units,
};

const SHORTEST_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
const LONGEST_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(3600);
const LEAST_DEAD_LETTER_BYTES: u64 = 16 * 1024 * 1024;

/// Reads a whole file.
pub(super) fn config(text: &str, file: &Path, variables: &Variables) -> Result<Config, Vec<Problem>> {
    let base = file.parent().unwrap_or(Path::new(""));
    let reading = Reading {
        variables,
        base,
        problems: RefCell::default(),
        asked: RefCell::default(),
    };
    let tree = tree::parse(text).map_err(|problem| vec![problem])?;
    let config = read(&reading, &tree);
    let problems = reading.problems.into_inner();
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems),
    }
}

/// The keys that reading this text asks for.
#[cfg(test)]
pub(super) fn asked_keys(text: &str) -> std::collections::BTreeSet<String> {
    let variables = Variables::these(&[]);
    let (problems, asked) = (RefCell::default(), RefCell::default());
    let reading = Reading {
        variables: &variables,
        base: Path::new(""),
        problems,
        asked,
    };
    read(&reading, &tree::parse(text).expect("YAML"));
    reading.asked.into_inner().into_iter().collect()
}

fn read(reading: &Reading<'_>, tree: &Node) -> Option<Config> {
    let mut fields = Fields::open(reading, tree, "")?;
    fields.must_have("connectors");
    let connectors = fields
        .node("connectors")
        .and_then(|node| connectors(reading, node));
    let memory_budget = fields
        .optional("memory_budget", units::bytes)
        .unwrap_or(DEFAULT_MEMORY_BUDGET);
    let http = fields
        .node("http")
        .map_or_else(|| http(None), |node| http(Fields::open(reading, node, "http")));
    let connectors = connectors.unwrap_or_default();
    let least = MEMORY_PER_CONNECTOR.saturating_mul(connectors.len() as u64);
    if memory_budget < least {
        let message = format!(
            "{} connectors need at least {}MiB: 48MiB each",
            connectors.len(),
            least >> 20
        );
        fields.problem("memory_budget", message);
    }
    fields.finish();
    Some(Config {
        connectors,
        memory_budget,
        http: http?,
    })
}

fn http(fields: Option<Fields<'_>>) -> Option<HttpConfig> {
    let default = DEFAULT_LISTEN
        .parse::<SocketAddr>()
        .expect("the default is an address");
    let Some(mut fields) = fields else {
        return Some(HttpConfig {
            listen: default,
            allow_remote: false,
        });
    };
    let address = |text: &str| {
        text.parse::<SocketAddr>()
            .map_err(|_| format!("expected an address and a port, such as `{DEFAULT_LISTEN}`"))
    };
    let listen = fields.optional("listen", address).unwrap_or(default);
    let allow_remote = fields.optional("allow_remote", yes_or_no).unwrap_or(false);
    if !listen.ip().is_loopback() && !allow_remote {
        let message = "this address can be reached from other machines, and nothing asks for a password there; \
                       use 127.0.0.1, or set `allow_remote: true` beside it";
        fields.problem("listen", message);
    }
    fields.finish();
    Some(HttpConfig { listen, allow_remote })
}

fn connectors(reading: &Reading<'_>, node: &Node) -> Option<Vec<ConnectorConfig>> {
    let Value::List(items) = &node.value else {
        let found = node.value.describe();
        reading.problem(
            node.place,
            "connectors",
            format!("expected a list of connectors, found {found}"),
        );
        return None;
    };
    if items.is_empty() {
        reading.problem(
            node.place,
            "connectors",
            "is empty; at least one connector is needed",
        );
    }
    let (mut names, mut readers) = (HashSet::new(), HashSet::new());
    let mut connectors = Vec::new();
    for (n, item) in items.iter().enumerate() {
        let path = format!("connectors[{n}]");
        let Some(fields) = Fields::open(reading, item, &path) else {
            continue;
        };
        let place = fields.place();
        let Some(connector) = connector(reading, fields) else {
            continue;
        };
        if !names.insert(connector.name.clone()) {
            let message = format!("another connector is named `{}` too", connector.name);
            reading.problem(place, &format!("{path}.name"), message);
        }
        let source = &connector.source;
        let reader = (
            source.region.clone(),
            source.application_name.clone(),
            source.stream.clone(),
        );
        if !readers.insert(reader) {
            let message = "another connector reads the same stream under the same application name; \
                           give each its own";
            reading.problem(place, &format!("{path}.source.application_name"), message);
        }
        connectors.push(connector);
    }
    Some(connectors)
}

fn connector(reading: &Reading<'_>, mut fields: Fields<'_>) -> Option<ConnectorConfig> {
    let name = fields.required("name", connector_name);
    fields.must_have("source");
    let source = fields
        .mapping("source")
        .and_then(|fields| source::source(reading, fields));
    fields.must_have("destination");
    let destination = fields
        .mapping("destination")
        .and_then(|fields| destination::destination(reading, fields));
    let leases = leases(reading, &mut fields, name.as_deref().unwrap_or_default());
    let metadata = match fields.mapping("metadata") {
        Some(fields) => metadata(fields),
        None => metadata_default(),
    };
    let dead_letters = dead_letters(reading, &mut fields, name.as_deref().unwrap_or_default());
    let on_row_error = fields.optional("on_row_error", |text| match text {
        "continue" => Ok(OnRowError::Continue),
        "stop" => Ok(OnRowError::Stop),
        _ => Err("expected `continue` or `stop`".to_owned()),
    });
    let checkpoint_interval = fields.optional("checkpoint_interval", checkpoint_interval);
    let commit_timeout = fields.optional("commit_timeout", commit_timeout);
    let lease_timeout = fields.optional("lease_timeout", lease_timeout);
    fields.refuse(
        "routing",
        "rows go to several tables by `destination.routes`; remove the key",
    );
    let is_routed = destination.as_ref().is_some_and(|to| to.routes.is_some());
    if is_routed && matches!(leases, Leases::None { .. }) {
        let text = "`destination.routes` need a lease table: how far each table has its rows is kept there";
        fields.problem("leases", text);
    }
    fields.refuse(
        "transforms",
        "this version sends records as they are; remove the key",
    );
    fields.finish();
    Some(ConnectorConfig {
        name: name?,
        source: source?,
        destination: destination?,
        leases,
        metadata,
        dead_letters,
        on_row_error,
        checkpoint_interval: checkpoint_interval.unwrap_or(DEFAULT_CHECKPOINT_INTERVAL),
        commit_timeout: commit_timeout.unwrap_or(DEFAULT_COMMIT_TIMEOUT),
        lease_timeout: lease_timeout.unwrap_or(DEFAULT_LEASE_TIMEOUT),
    })
}

fn metadata_default() -> MetadataConfig {
    MetadataConfig {
        key: DEFAULT_METADATA_KEY.to_owned(),
        approximate_arrival: ArrivalFormat::Iso8601,
    }
}

fn metadata(mut fields: Fields<'_>) -> MetadataConfig {
    let default = metadata_default();
    let key = fields.optional("key", metadata_key);
    let approximate_arrival = fields.optional("approximate_arrival", |text| match text {
        "iso8601" => Ok(ArrivalFormat::Iso8601),
        "epoch_ms" => Ok(ArrivalFormat::EpochMs),
        _ => Err("expected `iso8601` or `epoch_ms`".to_owned()),
    });
    fields.finish();
    MetadataConfig {
        key: key.unwrap_or(default.key),
        approximate_arrival: approximate_arrival.unwrap_or(default.approximate_arrival),
    }
}

fn dead_letters(reading: &Reading<'_>, fields: &mut Fields<'_>, connector: &str) -> DeadLetters {
    let default_path = reading.base.join("dead-letters").join(connector);
    let default = DeadLetters::File {
        path: default_path.clone(),
        max_bytes: DEFAULT_DEAD_LETTER_BYTES,
    };
    let Some(node) = fields.node("dead_letters") else {
        return default;
    };
    if let Value::Text(_) = node.value {
        let discard = |text: &str| match text {
            "discard" => Ok(DeadLetters::Discard),
            _ => Err("expected `discard`, or the mapping `file`".to_owned()),
        };
        return reading
            .scalar(node, &fields.key("dead_letters"), true, discard)
            .unwrap_or(default);
    }
    let Some(mut kinds) = Fields::open(reading, node, &fields.key("dead_letters")) else {
        return default;
    };
    kinds.must_have("file");
    let file = kinds.mapping("file");
    kinds.refuse(
        "kinesis",
        "this version keeps dead letters in files only; use `file`",
    );
    kinds.refuse(
        "table",
        "this version keeps dead letters in files only; use `file`",
    );
    kinds.finish();
    let Some(mut file) = file else { return default };
    let path = file
        .optional("path", |text| path(reading, text))
        .unwrap_or(default_path);
    let max_bytes = file.optional("max_bytes", |text| match units::bytes(text)? {
        bytes if bytes < LEAST_DEAD_LETTER_BYTES => Err("expected at least 16MiB".to_owned()),
        bytes => Ok(bytes),
    });
    file.finish();
    DeadLetters::File {
        path,
        max_bytes: max_bytes.unwrap_or(DEFAULT_DEAD_LETTER_BYTES),
    }
}

fn leases(reading: &Reading<'_>, fields: &mut Fields<'_>, connector: &str) -> Leases {
    let in_table = fields.optional("leases", |text| match text {
        "dynamodb" => Ok(true),
        "none" => Ok(false),
        _ => Err("expected `dynamodb` or `none`".to_owned()),
    });
    let state_file = fields.optional("state_file", |text| path(reading, text));
    if in_table.unwrap_or(true) {
        if fields.has("state_file") {
            fields.problem("state_file", "only has a meaning with `leases: none`");
        }
        return Leases::DynamoDb;
    }
    let state_file = state_file.unwrap_or_else(|| reading.base.join(format!("state/{connector}.json")));
    Leases::None { state_file }
}

fn checkpoint_interval(text: &str) -> Result<Duration, String> {
    let interval = units::duration(text)?;
    let allowed = SHORTEST_CHECKPOINT_INTERVAL..=LONGEST_CHECKPOINT_INTERVAL;
    if allowed.contains(&interval) {
        Ok(interval)
    } else {
        Err("expected between 1s and 1h".to_owned())
    }
}

fn commit_timeout(text: &str) -> Result<Duration, String> {
    let timeout = units::duration(text)?;
    let range = Duration::from_secs(10)..=Duration::from_secs(3600);
    if range.contains(&timeout) {
        Ok(timeout)
    } else {
        Err("expected between 10s and 1h".to_owned())
    }
}

fn lease_timeout(text: &str) -> Result<Duration, String> {
    let timeout = units::duration(text)?;
    let range = Duration::from_secs(3)..=Duration::from_secs(300);
    if range.contains(&timeout) {
        Ok(timeout)
    } else {
        Err("expected between 3s and 300s".to_owned())
    }
}

/// A proxy. It is never shown: it may hold a password.
fn proxy(fields: &mut Fields<'_>) -> Option<Secret> {
    let proxy = fields.secret("proxy")?;
    if ["http://", "https://"]
        .iter()
        .any(|scheme| proxy.reveal().starts_with(scheme))
    {
        return Some(proxy);
    }
    fields.problem(
        "proxy",
        "expected an address, such as `http://proxy.example:3128`",
    );
    None
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "expected `true` or `false`".to_owned())
}

fn matches(text: &str, lengths: std::ops::RangeInclusive<usize>, more: &[u8]) -> bool {
    lengths.contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
}

fn connector_name(text: &str) -> Result<String, String> {
    let expected = "expected 1 to 64 characters of a-z, A-Z, 0-9, '_', '-'";
    if matches(text, 1..=64, b"_-") {
        Ok(text.to_owned())
    } else {
        Err(expected.to_owned())
    }
}

/// A name as Snowflake or AWS stores it (Snowflake documentation, "Identifier requirements": at most 255 characters).
fn name(text: &str) -> Result<String, String> {
    if (1..=255).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        return Ok(text.to_owned());
    }
    Err("expected a name of 1 to 255 characters".to_owned())
}

/// A key that needs no escape in JSON.
fn metadata_key(text: &str) -> Result<String, String> {
    let plain = !text.contains(['"', '\\']) && !text.chars().any(char::is_control);
    if plain && (1..=255).contains(&text.chars().count()) {
        return Ok(text.to_owned());
    }
    Err("expected 1 to 255 characters without quotes and backslashes".to_owned())
}

fn address(text: &str) -> Result<String, String> {
    let expected =
        || "expected an address such as `https://host:443`, without path, user or password".to_owned();
    let url = url::Url::parse(text).map_err(|_| expected())?;
    let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let rooted = matches!(url.path(), "" | "/") && url.fragment().is_none();
    if bare && rooted && matches!(url.scheme(), "http" | "https") && url.has_host() {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    Err(expected())
}

fn path(reading: &Reading<'_>, text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        return Err("expected a path".to_owned());
    }
    Ok(reading.base.join(text))
}
