//! CREATE TABLE ... CLONE: a table that names the files of another.
//!
//! How it works: rows of `segments` and `removed_segments` that name a file are its reference count. A clone adds its own rows for
//! the files of its source; DROP, TRUNCATE, merges and the end of a retention take away rows of one table and note the
//! file as garbage, and [`Catalog::take_garbage`] takes only what no row names.
//!
//! What it guarantees: the clone is there with all its rows, or not at all; no change of either table takes a file from the
//! other. What it does not: it is told, and makes nothing, where a file left its source in between.
//!
//! Source: Snowflake documentation, "CREATE <object> ... CLONE", "Cloning considerations".

use rusqlite::Transaction;

use super::super::model::{CreateMode, Created, NewTable, Segment, SegmentKind};
use super::commit::{self, NewSegment};
use super::{Catalog, objects, write};
use crate::{Error, Result};

/// A clone that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewClone<'a> {
    pub(crate) table: &'a NewTable,
    /// The table whose files it names.
    pub(crate) source: i64,
    /// Of the source: files call columns by names that the clone must not give to others.
    pub(crate) renames: u32,
    /// Since when rows show their row timestamp, as in the source.
    pub(crate) row_timestamp_ms: Option<i64>,
    /// Files of the source that are its rows as they are.
    pub(crate) shared: Vec<Segment>,
    /// Files that were written for it.
    pub(crate) made: Vec<NewSegment>,
}

impl Catalog {
    /// Makes a clone; `None`, and no change, if the source does not have all the files any more.
    pub(crate) fn clone_table(&self, clone: &NewClone<'_>, mode: CreateMode) -> Result<Option<Created>> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        if objects::table_by_id(&transaction, clone.source)?.is_none() {
            return Ok(None);
        }
        for segment in &clone.shared {
            if !has_file(&transaction, clone.source, &segment.path)? {
                return Ok(None);
            }
        }
        // It may replace its own source: what that leaves as garbage is named again below.
        let created = self.insert_table(&transaction, clone.table, mode)?;
        if created == Created::Existed {
            return Ok(Some(created));
        }
        let new = clone.table;
        let made = objects::table(&transaction, &new.database, &new.schema, &new.name)?;
        let mut made =
            made.ok_or_else(|| Error::Damaged("a table that was just made is not there".into()))?;
        made.renames = clone.renames;
        made.row_timestamp_ms = clone.row_timestamp_ms;
        self.store_table(&transaction, &made)?;
        let shared = clone.shared.iter().map(|segment| NewSegment {
            path: segment.path.clone(),
            rows: segment.rows,
            bytes: segment.bytes,
        });
        for segment in shared.chain(clone.made.iter().cloned()) {
            commit::insert_segment(&transaction, made.id, &segment, SegmentKind::Rows)?;
        }
        transaction.commit()?;
        self.changed();
        Ok(Some(created))
    }

    /// Of the garbage, forgets what a table still names: those are files of clones, or of a clone's source.
    pub(super) fn spare_what_is_named(transaction: &Transaction<'_>) -> Result<()> {
        transaction
            .prepare_cached(
                "DELETE FROM garbage WHERE EXISTS (SELECT 1 FROM segments WHERE path = garbage.path)
                 OR EXISTS (SELECT 1 FROM removed_segments WHERE path = garbage.path)",
            )?
            .execute([])?;
        Ok(())
    }
}

fn has_file(transaction: &Transaction<'_>, table_id: i64, path: &str) -> Result<bool> {
    let mut statement = transaction.prepare_cached(
        "SELECT 1 FROM segments WHERE path = ?1 AND table_id = ?2
         UNION ALL SELECT 1 FROM removed_segments WHERE path = ?1 AND table_id = ?2",
    )?;
    Ok(statement.exists((path, table_id))?)
}
