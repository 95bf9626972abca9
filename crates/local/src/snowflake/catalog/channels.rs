//! Channels: find, open, drop, list.

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::super::model::{ChannelFilter, ChannelRow, Counters, PipeRow};
use super::{Catalog, now_ms, write};
use crate::Result;

/// The implicit channel of each pipe, without order and tokens.
pub(crate) const ELASTIC: &str = "ELASTIC";

/// Named channels that a pipe may have (Snowflake documentation, "Snowpipe Streaming high-performance architecture",
/// limitations).
pub(crate) const MOST_CHANNELS: usize = 2000;

/// Status of a healthy channel.
pub(crate) const SUCCESS: &str = "SUCCESS";

const CHANNEL_COLUMNS: &str = "c.id, c.pipe_id, c.table_id, p.database, p.schema, p.name, t.name, c.name, c.status_code,
    c.created_on_ms, c.client_sequencer, c.committed_row_sequencer, c.offset_token, c.rows_parsed, c.rows_inserted,
    c.rows_error_count, c.last_error_message, c.last_error_offset_upper_bound, c.last_error_timestamp_ms
    FROM channels c JOIN pipes p ON p.id = c.pipe_id JOIN tables t ON t.id = c.table_id";

impl Catalog {
    /// Opens or re-opens a channel: its client sequencer goes up, earlier appends that are not committed are fenced off.
    pub(crate) fn open_channel(
        &self,
        pipe: &PipeRow,
        name: &str,
        lookup: &str,
        offset_token: Option<&str>,
    ) -> Result<ChannelRow> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        transaction
            .prepare_cached(
                "INSERT INTO channels (pipe_id, table_id, name, lookup, created_on_ms) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (pipe_id, lookup) DO NOTHING",
            )?
            .execute((pipe.id, pipe.table_id, name, lookup, now_ms()))?;
        transaction
            .prepare_cached(
                "UPDATE channels SET client_sequencer = client_sequencer + 1, committed_row_sequencer = 0,
                 last_request_id = NULL, status_code = 'SUCCESS', offset_token = coalesce(?3, offset_token)
                 WHERE pipe_id = ?1 AND lookup = ?2",
            )?
            .execute((pipe.id, lookup, offset_token))?;
        let row = channel(&transaction, pipe.id, lookup)?;
        transaction.commit()?;
        row.ok_or(crate::Error::Catalog(rusqlite::Error::QueryReturnedNoRows))
    }

    /// Named channels of a pipe.
    pub(crate) fn named_channels(&self, pipe_id: i64) -> Result<usize> {
        let connection = self.lock();
        let mut statement =
            connection.prepare_cached("SELECT count(*) FROM channels WHERE pipe_id = ?1 AND lookup <> ?2")?;
        let count: i64 = statement.query_row((pipe_id, ELASTIC), |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// Makes the elastic channel of a pipe, or leaves it as it is.
    pub(crate) fn make_elastic_channel(&self, pipe: &PipeRow) -> Result<ChannelRow> {
        let connection = self.lock();
        connection
            .prepare_cached(
                "INSERT INTO channels (pipe_id, table_id, name, lookup, created_on_ms, client_sequencer)
                 VALUES (?1, ?2, ?3, ?3, ?4, 1) ON CONFLICT (pipe_id, lookup) DO NOTHING",
            )?
            .execute((pipe.id, pipe.table_id, ELASTIC, now_ms()))?;
        channel(&connection, pipe.id, ELASTIC)?
            .ok_or(crate::Error::Catalog(rusqlite::Error::QueryReturnedNoRows))
    }

    /// Raises the client sequencer of a channel without opening it: what is accepted and not committed is lost.
    pub(crate) fn fence_channel(&self, id: i64) -> Result<()> {
        let connection = self.lock();
        connection
            .prepare_cached(
                "UPDATE channels SET client_sequencer = client_sequencer + 1, committed_row_sequencer = 0,
                 last_request_id = NULL WHERE id = ?1",
            )?
            .execute([id])?;
        Ok(())
    }

    /// One channel of a pipe.
    pub(crate) fn channel(&self, pipe_id: i64, lookup: &str) -> Result<Option<ChannelRow>> {
        channel(&self.lock(), pipe_id, lookup)
    }

    /// One channel by id.
    pub(crate) fn channel_by_id(&self, id: i64) -> Result<Option<ChannelRow>> {
        let connection = self.lock();
        let mut statement =
            connection.prepare_cached(&format!("SELECT {CHANNEL_COLUMNS} WHERE c.id = ?1"))?;
        Ok(statement.query_row([id], channel_row).optional()?)
    }

    /// The request id of the last committed append of the channel's current client sequencer.
    pub(crate) fn last_request_id(&self, id: i64) -> Result<Option<String>> {
        let connection = self.lock();
        let mut statement =
            connection.prepare_cached("SELECT last_request_id FROM channels WHERE id = ?1")?;
        Ok(statement.query_row([id], |row| row.get(0)).optional()?.flatten())
    }

    /// Forgets a channel with its token and counters; what is accepted and not committed is discarded.
    pub(crate) fn drop_channel(&self, id: i64) -> Result<bool> {
        let deleted = self.lock().execute("DELETE FROM channels WHERE id = ?1", [id])?;
        self.changed();
        Ok(deleted > 0)
    }

    /// Marks a channel as one that must be re-opened.
    pub(crate) fn invalidate_channel(
        &self,
        id: i64,
        client_sequencer: i64,
        code: &str,
        message: &str,
    ) -> Result<()> {
        let connection = self.lock();
        connection
            .prepare_cached(
                "UPDATE channels SET status_code = ?3, last_error_message = ?4, last_error_timestamp_ms = ?5
                 WHERE id = ?1 AND client_sequencer = ?2",
            )?
            .execute((id, client_sequencer, code, message, now_ms()))?;
        self.changed();
        Ok(())
    }

    /// Channels by filter, by name.
    ///
    /// # Errors
    /// [`crate::Error::Catalog`].
    pub fn channels(&self, filter: &ChannelFilter) -> Result<Vec<ChannelRow>> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {CHANNEL_COLUMNS} WHERE (?1 IS NULL OR p.database = ?1) AND (?2 IS NULL OR p.schema = ?2)
             AND (?3 IS NULL OR p.name = ?3) AND (?4 IS NULL OR t.name = ?4) ORDER BY c.name, c.id"
        ))?;
        let rows = statement.query_map(
            (&filter.database, &filter.schema, &filter.pipe, &filter.table),
            channel_row,
        )?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

fn channel(connection: &Connection, pipe_id: i64, lookup: &str) -> Result<Option<ChannelRow>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {CHANNEL_COLUMNS} WHERE c.pipe_id = ?1 AND c.lookup = ?2"
    ))?;
    Ok(statement.query_row((pipe_id, lookup), channel_row).optional()?)
}

fn channel_row(row: &Row<'_>) -> rusqlite::Result<ChannelRow> {
    Ok(ChannelRow {
        id: row.get(0)?,
        pipe_id: row.get(1)?,
        table_id: row.get(2)?,
        database: row.get(3)?,
        schema: row.get(4)?,
        pipe: row.get(5)?,
        table: row.get(6)?,
        name: row.get(7)?,
        status_code: row.get(8)?,
        created_on_ms: row.get(9)?,
        client_sequencer: row.get(10)?,
        committed_row_sequencer: row.get(11)?,
        offset_token: row.get(12)?,
        counters: Counters {
            rows_parsed: row.get(13)?,
            rows_inserted: row.get(14)?,
            rows_error_count: row.get(15)?,
        },
        last_error_message: row.get(16)?,
        last_error_offset_upper_bound: row.get(17)?,
        last_error_timestamp_ms: row.get(18)?,
    })
}
