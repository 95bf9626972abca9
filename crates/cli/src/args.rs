//! The command line: verbs and their options, and nothing of what they do.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// JSON events from Amazon Kinesis Data Streams into Snowflake tables, exactly once.
#[derive(Debug, Parser)]
#[command(name = "frazil", version, about, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    /// How log lines are written
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, env = "FRAZIL_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// The whole way on this machine, with no account anywhere: stream, connector, table, queries
    #[cfg(feature = "local")]
    Demo(Demo),
    /// Run the connectors of a configuration
    Run(Run),
    /// Try everything that the connectors of a configuration need, without changing anything
    Check(Check),
    /// Print what administrators run before a connector can: key, IAM policy, SQL, hosts; changes nothing
    Setup(Setup),
    /// Run the local Kinesis, DynamoDB and Snowflake, to point any tool at
    #[cfg(feature = "local")]
    Local(Local),
    /// Put the lines of a file into a stream, one record each
    Send(Send),
    /// Ask the Snowflake of a configuration, or a local one
    Sql(Sql),
    /// What the connectors of a running worker do, shard by shard
    Status(Status),
    /// How long events take from Kinesis into the table, shard by shard
    Latency(Latency),
    /// Compare what PutRecords answered with the rows in the table: lost and doubled records
    Verify(Verify),
    /// Begin shards at another place of the stream, in a new generation of rows
    Rewind(Rewind),
    /// Deregister the consumer of enhanced fan-out; clear the leases of dead workers; delete the lease table
    Remove(Remove),
    /// Take over the checkpoint table of a Kinesis Client Library or Redpanda Connect application
    Migrate(Migrate),
    /// Let shards that stopped at a row error go on
    Resume(Resume),
}

#[cfg(feature = "local")]
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// End when every event is in the table, with exit code 1 if one was lost or doubled
    #[arg(long)]
    pub(crate) once: bool,
    /// How many events to send
    #[arg(long, default_value_t = 20_000)]
    pub(crate) events: u64,
    /// Keep everything in this folder instead of a temporary one
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The configuration
    #[arg(short, long, default_value = "frazil.yaml")]
    pub(crate) config: PathBuf,
    /// Start a local Kinesis, DynamoDB and Snowflake in this process and use them instead of the configured ones
    #[cfg(feature = "local")]
    #[arg(long)]
    pub(crate) local: bool,
    /// Where the local services keep their data
    #[cfg(feature = "local")]
    #[arg(long, default_value = "frazil-data", requires = "local")]
    pub(crate) data: PathBuf,
    /// Take over shards whose rows went to another destination before
    #[arg(long)]
    pub(crate) accept_destination: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The configuration
    #[arg(short, long, default_value = "frazil.yaml")]
    pub(crate) config: PathBuf,
    /// One connector (all, if not given)
    #[arg(long)]
    pub(crate) connector: Option<String>,
    /// The findings as a JSON array
    #[arg(long)]
    pub(crate) json: bool,
}

/// One thing to set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SetupPart {
    /// Shell lines that make the key
    Keys,
    /// The IAM policy
    Iam,
    /// Who may take the worker's role
    Trust,
    /// SQL of user, role and grants
    Snowflake,
    /// SQL of the table and its grants
    Table,
    /// SQL of the pipe and its grant
    Pipe,
    /// The hosts that a worker dials
    Hosts,
    /// SQL of network rules, where Snowflake asks for them
    Network,
    /// Role and policy as Terraform
    Terraform,
}

/// Where AWS gives the worker its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RunsOn {
    /// An instance
    Ec2,
    /// A task
    Ecs,
    /// A pod, by EKS Pod Identity
    Eks,
}

/// What the table is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TableKind {
    /// A table that gets a column for each key
    Standard,
    /// A table of fixed columns
    Static,
    /// A table that other engines read, too
    Iceberg,
    /// A table for queries of low latency, of fixed columns
    Interactive,
}

#[derive(Debug, Args)]
pub(crate) struct Setup {
    /// What to print (all, if not given)
    #[arg(value_enum)]
    pub(crate) parts: Vec<SetupPart>,
    /// The configuration
    #[arg(short, long, default_value = "frazil.yaml")]
    pub(crate) config: PathBuf,
    /// Its connector (the first, if not given)
    #[arg(long)]
    pub(crate) connector: Option<String>,
    /// With the rights that a takeover of another program's checkpoints needs
    #[arg(long)]
    pub(crate) migration: bool,
    /// The AWS account that the worker runs in, for the policy
    #[arg(long)]
    pub(crate) aws_account: Option<String>,
    /// Where the worker gets its role, if the configuration names no credentials
    #[arg(long, value_enum, default_value_t = RunsOn::Ec2)]
    pub(crate) runs_on: RunsOn,
    /// An address that workers come from, for a network policy (may be given again)
    #[arg(long)]
    pub(crate) address: Vec<String>,
    /// The kind of table
    #[arg(long, value_enum, default_value_t = TableKind::Standard)]
    pub(crate) table: TableKind,
    /// The external volume of an Iceberg table
    #[arg(long, default_value = "SNOWFLAKE_MANAGED")]
    pub(crate) volume: String,
    /// The table that the configured pipe writes into
    #[arg(long)]
    pub(crate) into: Option<String>,
}

#[cfg(feature = "local")]
#[derive(Debug, Args)]
pub(crate) struct Local {
    /// Where everything is kept
    #[arg(long, default_value = "frazil-data")]
    pub(crate) data: PathBuf,
    /// Port of Kinesis (0 takes a free one)
    #[arg(long, default_value_t = 4567)]
    pub(crate) kinesis_port: u16,
    /// Port of DynamoDB (0 takes a free one)
    #[arg(long, default_value_t = 4568)]
    pub(crate) dynamodb_port: u16,
    /// Port of Snowflake over plain HTTP (0 takes a free one)
    #[arg(long, default_value_t = 4569)]
    pub(crate) snowflake_port: u16,
    /// Port of Snowflake over TLS (0 takes a free one)
    #[arg(long, default_value_t = 4570)]
    pub(crate) snowflake_tls_port: u16,
    /// Make this stream if it is missing, as NAME or NAME=SHARDS; may be given more than once
    #[arg(long)]
    pub(crate) stream: Vec<String>,
    /// Make this table if it is missing, as DATABASE.SCHEMA.TABLE, with schema evolution on; may be given more than once
    #[arg(long)]
    pub(crate) table: Vec<String>,
    /// Faults to rehearse
    #[arg(long)]
    pub(crate) faults: Option<PathBuf>,
    /// What Snowflake answers where its documents and tests disagree, as NAME=VALUE; several with commas or by giving it more
    /// than once. docs/local.md lists them, and so does the refusal of an unknown one
    #[arg(long, value_delimiter = ',', value_name = "NAME=VALUE")]
    pub(crate) behaviour: Vec<String>,
    /// Let Kinesis take, give and answer as fast as this machine can, instead of with the limits of the real service
    #[arg(long)]
    pub(crate) no_aws_limits: bool,
    /// Wait this many milliseconds before accepted rows are committed, as the service takes seconds
    #[arg(long)]
    pub(crate) commit_interval_ms: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// The file: one JSON event a line ("-" for standard input)
    pub(crate) file: PathBuf,
    /// The stream (of the configuration's first connector, if not given)
    #[arg(long)]
    pub(crate) stream: Option<String>,
    /// The configuration that names stream and credentials
    #[arg(short, long, default_value = "frazil.yaml")]
    pub(crate) config: PathBuf,
    /// A running local Kinesis, instead of the configured one
    #[arg(long)]
    pub(crate) local: Option<String>,
    /// Send the file this often; a number is added to each event as "frazilEvent"
    #[arg(long)]
    pub(crate) repeat: Option<u64>,
    /// At most this many records a second
    #[arg(long)]
    pub(crate) rate: Option<u64>,
    /// Write what PutRecords answered, one JSON line a record, for `frazil verify`
    #[arg(long)]
    pub(crate) receipts: Option<PathBuf>,
    /// The field of the event that becomes the partition key (a random key, if not given)
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Pack events into aggregates, as the Kinesis Producer Library does
    #[arg(long)]
    pub(crate) aggregate: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Sql {
    /// The statement
    #[arg(required_unless_present = "file")]
    pub(crate) statement: Option<String>,
    /// A script instead ("-" for standard input): its statements run in order, up to the first that fails
    #[arg(short, long, conflicts_with = "statement")]
    pub(crate) file: Option<PathBuf>,
    /// The configuration whose first destination is asked
    #[arg(short, long, default_value = "frazil.yaml")]
    pub(crate) config: PathBuf,
    /// The data folder of a running `frazil local`, instead of a configuration
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// One JSON array of objects instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Where the worker's console listens
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) address: SocketAddr,
    /// The state as the worker gives it
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Latency {
    /// Where the worker's console listens
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) address: SocketAddr,
    /// Ask the table's row timestamps, instead of a running worker
    #[arg(long)]
    pub(crate) table: bool,
    /// The configuration whose table is asked
    #[arg(short, long, default_value = "frazil.yaml")]
    pub(crate) config: PathBuf,
    /// Its connector (the first, if not given)
    #[arg(long)]
    pub(crate) connector: Option<String>,
    /// How many of the rows committed last are looked at
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rows: u32,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// What `frazil send --receipts` wrote
    pub(crate) receipts: PathBuf,
    /// The configuration whose first destination is asked
    #[arg(short, long, default_value = "frazil.yaml")]
    pub(crate) config: PathBuf,
    /// The data folder of a running `frazil local`, instead of the configured destination's account
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// The table, as database.schema.table (of the configuration, if not given)
    #[arg(long)]
    pub(crate) table: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Rewind {
    /// The configuration
    #[arg(short, long, default_value = "frazil.yaml")]
    pub(crate) config: PathBuf,
    /// The connector (the first, if not given)
    #[arg(long)]
    pub(crate) connector: Option<String>,
    /// TRIM_HORIZON, LATEST, a moment such as 2026-01-31T23:59:00Z, or a sequence number (with one --shard)
    #[arg(long)]
    pub(crate) to: String,
    /// Only this shard; may be given more than once
    #[arg(long)]
    pub(crate) shard: Vec<String>,
    /// Do it; without this, only tell what would be done
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The configuration
    #[arg(short, long, default_value = "frazil.yaml")]
    pub(crate) config: PathBuf,
    /// The connector (the first, if not given)
    #[arg(long)]
    pub(crate) connector: Option<String>,
    /// Also clear owners and expiries that a crash left in the lease table, so that Openflow can go on
    #[arg(long)]
    pub(crate) leases: bool,
    /// Also delete the lease table with all positions
    #[arg(long)]
    pub(crate) lease_table: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// The configuration
    #[arg(short, long, default_value = "frazil.yaml")]
    pub(crate) config: PathBuf,
    /// The connector (the first, if not given)
    #[arg(long)]
    pub(crate) connector: Option<String>,
    /// The other application's table (the connector's own application name, if not given)
    #[arg(long)]
    pub(crate) from: Option<String>,
    /// Only tell what would be written
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// The configuration
    #[arg(short, long, default_value = "frazil.yaml")]
    pub(crate) config: PathBuf,
    /// One shard; all that stopped, if not given
    #[arg(long)]
    pub(crate) shard: Option<String>,
}
