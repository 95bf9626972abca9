//! Pipes and channels: what rows are streamed through.

/// A channel's counters. They only grow, and survive a re-open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Rows parsed, inserted or not.
    pub rows_parsed: i64,
    /// Rows that are in the table.
    pub rows_inserted: i64,
    /// Rows that are not, with a reason.
    pub rows_error_count: i64,
}

/// A channel as the catalog knows it: what is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelRow {
    /// Never reused.
    pub id: i64,
    /// Its pipe.
    pub pipe_id: i64,
    /// Its table.
    pub table_id: i64,
    /// Database.
    pub database: String,
    /// Schema.
    pub schema: String,
    /// Pipe name.
    pub pipe: String,
    /// Table name.
    pub table: String,
    /// Channel name.
    pub name: String,
    /// `SUCCESS`, or why the channel must be re-opened.
    pub status_code: String,
    /// Milliseconds since 1970.
    pub created_on_ms: i64,
    /// Raised by each open; older ones are fenced.
    pub client_sequencer: i64,
    /// Of the current client sequencer; 0 = nothing yet.
    pub committed_row_sequencer: i64,
    /// The committed offset token.
    pub offset_token: Option<String>,
    /// Counters.
    pub counters: Counters,
    /// Text of the last row error.
    pub last_error_message: Option<String>,
    /// The end token of the batch that had it.
    pub last_error_offset_upper_bound: Option<String>,
    /// Milliseconds since 1970.
    pub last_error_timestamp_ms: Option<i64>,
}

/// Which channels to list; `None` = all.
#[derive(Clone, Debug, Default)]
pub struct ChannelFilter {
    /// Database.
    pub database: Option<String>,
    /// Schema.
    pub schema: Option<String>,
    /// Pipe.
    pub pipe: Option<String>,
    /// Table.
    pub table: Option<String>,
}

/// A pipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipeRow {
    /// Never reused.
    pub id: i64,
    /// Its table.
    pub table_id: i64,
    /// Database.
    pub database: String,
    /// Schema.
    pub schema: String,
    /// `<TABLE>-STREAMING` for a table's default pipe.
    pub name: String,
    /// Table name.
    pub table: String,
    /// Milliseconds since 1970.
    pub created_on_ms: i64,
    /// Its COPY statement; `None` for a default pipe.
    pub copy: Option<String>,
    /// COMMENT.
    pub comment: Option<String>,
    /// The transform of its table, which a default pipe does.
    pub transform: Option<String>,
}

impl PipeRow {
    /// Whether keys find their columns by name, so that new ones can become columns: the default pipe, and one whose COPY says
    /// MATCH_BY_COLUMN_NAME, which excludes a projection.
    pub(crate) fn goes_by_names(&self) -> bool {
        match &self.copy {
            Some(copy) => copy.to_uppercase().contains("MATCH_BY_COLUMN_NAME"),
            None => self.transform.is_none(),
        }
    }
}

/// What `Catalog::create_pipe` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPipe {
    /// Its table.
    pub table_id: i64,
    /// Database.
    pub database: String,
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// Its COPY statement.
    pub copy: String,
    /// COMMENT.
    pub comment: Option<String>,
    /// The role that will own it; [`ACCOUNTADMIN`](super::ACCOUNTADMIN) if none is given.
    pub owner: Option<String>,
}
