//! Writing: a Snowpipe Streaming client of the high-performance architecture, and the SQL REST API.
//!
//! What it is: [`Snowpipe`] is the door, one client of one pipe; [`SnowpipeClient`] speaks the REST protocol over HTTP, for
//! a user who proves itself by a key pair, a programmatic access token or OAuth. Above it a [`Channel`] is one ordered
//! writer: batches in, proved positions out; a [`StatusPoller`] asks for all channels at once, and [`Gated`] keeps all of an
//! account within what the service asks for. [`SqlClient`] asks questions in SQL.
//!
//! What it guarantees: a 200 is *accepted* and never called more; *committed* is only what token and counters prove. A lost
//! answer is met by the identical request, and else by opening the channel again. No key and no token reaches a log line,
//! an error or a `Debug` text.
//!
//! What it does not: it knows nothing of Kinesis or leases, and makes no rows.

mod account;
mod auth;
mod channel;
mod client;
mod error;
pub mod fake;
mod gate;
mod http;
mod name;
mod pipe;
pub mod probe;
mod renewing;
mod service_clock;
mod session;
mod situation;
mod sql;
mod status;
mod table;
mod wire;

pub use auth::{Authentication, OAuth, SecretSource};
pub use channel::{
    APPEND_PATIENCE, Baseline, Batch, COMMIT_PATIENCE, COUNTER_PATIENCE, Channel, Counts, Proof, Uncommitted,
};
pub use client::{SnowflakeConfig, SnowpipeClient};
pub use error::Error;
pub use gate::{AccountGate, Gated, MOST_APPENDS};
pub use name::{ChannelParts, channel_name};
pub use pipe::{
    Append, ChannelStatus, ContinuationToken, MAX_STATUS_CHANNELS, MAX_WIRE_BYTES, Opened, Snowpipe,
    TableFacts,
};
pub use service_clock::ClockSkew;
pub use situation::Situation;
pub use sql::{Column, Rows, SqlClient};
pub use status::{StatusPoller, StatusWatch};
