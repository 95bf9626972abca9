//! The door to Snowpipe Streaming: what one client of one pipe can ask.
//!
//! [`crate::client::SnowpipeClient`] is the real one, [`crate::fake::FakeSnowpipe`] the one for tests.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Error;

/// The most a request may have on the wire, after compression: 4 MB (docs.snowflake.com, "Snowpipe Streaming REST API",
/// limitations).
pub const MAX_WIRE_BYTES: usize = 4_000_000;
/// How many channels one status request may name (as the official SDK limits it).
pub const MAX_STATUS_CHANNELS: usize = 1000;

/// The service's word for the next append of a channel; it never appears in a `Debug` text.
#[derive(Clone, PartialEq, Eq)]
pub struct ContinuationToken(pub(crate) String);

impl ContinuationToken {
    /// Takes the text over.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the next append.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for ContinuationToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[continuation token]")
    }
}

/// What a channel says of itself. Counters count since the channel was made, across re-opens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChannelStatus {
    /// `SUCCESS` on a healthy channel; `ACTIVE` and `0` are seen too.
    pub code: String,
    /// The end token of the last committed batch that had one.
    pub committed_token: Option<String>,
    /// Rows in the table.
    pub rows_inserted: i64,
    /// Rows read, inserted or not.
    pub rows_parsed: i64,
    /// Rows that did not fit the table.
    pub row_errors: i64,
    /// The last row error.
    pub last_error_message: Option<String>,
    /// The last row error lies at or before this token.
    pub last_error_offset_upper_bound: Option<String>,
    /// When the channel was made, in milliseconds since 1970 UTC.
    pub created_on_ms: i64,
    /// How long the service takes from append to commit.
    pub processing_latency_ms: Option<i64>,
}

impl ChannelStatus {
    /// Whether the service takes appends on it.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        matches!(self.code.as_str(), "SUCCESS" | "ACTIVE" | "0")
    }
}

/// An opened channel.
#[derive(Debug, Clone)]
pub struct Opened {
    /// For the first append.
    pub continuation: ContinuationToken,
    /// What the channel says of itself.
    pub status: ChannelStatus,
}

/// What the destination says of the table behind a pipe.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableFacts {
    /// Database, schema and name, each in quotes.
    pub name: String,
    /// When the table was made, in milliseconds since 1970 UTC: one of the same name made later is another table.
    pub created_on_ms: i64,
    /// Whether it keeps rows that do not fit it in an error table (`ERROR_LOGGING`).
    pub error_logging: Option<bool>,
    /// Whether it takes new columns (`ENABLE_SCHEMA_EVOLUTION`).
    pub schema_evolution: Option<bool>,
}

/// One request of rows. Sent again, it is sent as it is, with a higher `retry_count`.
#[derive(Debug, Clone)]
pub struct Append {
    /// NDJSON, compressed with zstd.
    pub body: Bytes,
    /// Bytes of the NDJSON.
    pub uncompressed_bytes: usize,
    /// Lines of the NDJSON.
    pub rows: u64,
    /// The token of the first row.
    pub start_token: String,
    /// The token that stands when these rows are committed.
    pub end_token: String,
    /// From the open or the append before.
    pub continuation: ContinuationToken,
    /// A UUID, the same whenever this is sent again.
    pub request_id: String,
    /// How often it was sent before.
    pub retry_count: u32,
}

/// What one client of one pipe can ask. Each call is sent once; sending again is the caller's.
#[async_trait]
pub trait Snowpipe: Send + Sync + std::fmt::Debug {
    /// Opens a channel, making it if it is not there. Everybody who had it open before is fenced. What was accepted and not
    /// committed is discarded, unless `fail_on_uncommitted_rows`.
    ///
    /// # Errors
    /// [`Error::UncommittedRows`], [`Error::OpenInProgress`], [`Error::Missing`], and those of any call.
    async fn open_channel(&self, channel: &str, fail_on_uncommitted_rows: bool) -> Result<Opened, Error>;

    /// Appends rows; the answer means that they were accepted, not that they are committed.
    ///
    /// # Errors
    /// [`Error::StaleContinuation`], [`Error::MustReopen`], and those of any call. After [`Error::Unreachable`] and
    /// [`Error::ServerFault`] the rows may have been accepted or not.
    async fn append_rows(&self, channel: &str, append: &Append) -> Result<ContinuationToken, Error>;

    /// The status of each of these channels that exists, by the name as asked.
    ///
    /// # Errors
    /// Those of any call.
    async fn channel_status(&self, channels: &[String]) -> Result<HashMap<String, ChannelStatus>, Error>;

    /// Drops a channel with its token.
    ///
    /// # Errors
    /// [`Error::MustReopen`] where it is not there, and those of any call.
    async fn drop_channel(&self, channel: &str) -> Result<(), Error>;

    /// What is known of the table behind the pipe; none where the role may not see the pipe or its table.
    ///
    /// # Errors
    /// Those of any call that may heal.
    async fn table(&self) -> Result<Option<TableFacts>, Error>;
}
