//! What is accepted and not committed after a start.
//!
//! All files are read in order. A batch counts as waiting if its channel is there, at the batch's client sequencer, and its
//! row sequencer is above the committed one; all others are committed or were discarded by a re-open or drop. Should a row
//! sequencer be missing, the channel is fenced: its later batches must not pass the gap.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::super::catalog::Catalog;
use super::super::model::ChannelRow;
use super::format::{self, Found};
use super::{Batch, FOLDER, LogFile};
use crate::disk::Disk;
use crate::{Error, Result};

/// The last accepted append of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastAppend {
    pub(crate) client_sequencer: i64,
    pub(crate) row_sequencer: i64,
    pub(crate) request_id: String,
}

/// All that a start needs from the log.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) files: Vec<Arc<LogFile>>,
    /// Number of the next file.
    pub(crate) next: u64,
    /// Accepted, not committed; in log order.
    pub(crate) waiting: Vec<Batch>,
    /// By channel id, for channels that have a waiting batch.
    pub(crate) last: HashMap<i64, LastAppend>,
}

/// Reads the log. With `lose` (a fault), everything that is not committed is given up instead, as if the service had lost it.
pub(crate) fn recover(disk: &Arc<dyn Disk>, catalog: &Catalog, lose: bool) -> Result<Recovered> {
    disk.create_dir(FOLDER.as_ref())
        .map_err(Error::disk("create", FOLDER))?;
    let mut recovered = Recovered {
        next: 1,
        ..Recovered::default()
    };
    let mut channels: HashMap<i64, Option<ChannelRow>> = HashMap::new();
    // Last one wins: a batch that was written, failed its sync and was sent again stands twice.
    let mut waiting: BTreeMap<(i64, i64), (usize, usize)> = BTreeMap::new();
    let mut found_in_files = Vec::new();
    for name in disk.list(FOLDER.as_ref()).map_err(Error::disk("list", FOLDER))? {
        let Some(number) = name
            .strip_suffix(".log")
            .and_then(|number| number.parse::<u64>().ok())
        else {
            continue;
        };
        recovered.next = recovered.next.max(number + 1);
        let path = PathBuf::from(FOLDER).join(&name);
        let reader = disk.open(&path).map_err(Error::disk("open", &path))?;
        let found = format::scan(reader.as_ref()).map_err(Error::disk("read", &path))?;
        let file = LogFile {
            path,
            reader,
            pending: AtomicUsize::new(0),
            sealed: AtomicBool::new(true),
        };
        for (index, found) in found.iter().enumerate() {
            let record = &found.record;
            let channel = match channels.entry(record.channel_id) {
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(catalog.channel_by_id(record.channel_id)?)
                }
            };
            let is_waiting = channel.as_ref().is_some_and(|channel| {
                channel.client_sequencer == record.client_sequencer
                    && channel.committed_row_sequencer < record.row_sequencer
            });
            if is_waiting {
                waiting.insert(
                    (record.channel_id, record.row_sequencer),
                    (found_in_files.len(), index),
                );
            }
        }
        found_in_files.push(found);
        recovered.files.push(Arc::new(file));
    }
    let kept = without_gaps(catalog, &channels, waiting, lose)?;
    collect(&mut recovered, found_in_files, &kept);
    Ok(recovered)
}

/// Drops what stands behind a gap, and fences channels that lose something.
fn without_gaps(
    catalog: &Catalog,
    channels: &HashMap<i64, Option<ChannelRow>>,
    waiting: BTreeMap<(i64, i64), (usize, usize)>,
    lose: bool,
) -> Result<Vec<(usize, usize)>> {
    let mut kept = Vec::with_capacity(waiting.len());
    let mut lost: BTreeMap<i64, usize> = BTreeMap::new();
    let mut expected: HashMap<i64, i64> = HashMap::new();
    for ((channel_id, row_sequencer), place) in waiting {
        let row = channels.get(&channel_id).and_then(Option::as_ref);
        let next = expected
            .entry(channel_id)
            .or_insert(row.map_or(0, |row| row.committed_row_sequencer) + 1);
        if lose || row_sequencer != *next {
            *lost.entry(channel_id).or_default() += 1;
            continue;
        }
        *next += 1;
        kept.push(place);
    }
    for (channel_id, batches) in lost {
        if lose {
            tracing::info!(channel_id, batches, "accepted batches lost by fault");
        } else {
            tracing::error!(channel_id, batches, "log has a gap, channel must be opened again");
        }
        catalog.fence_channel(channel_id)?;
    }
    kept.sort_unstable();
    Ok(kept)
}

fn collect(recovered: &mut Recovered, found_in_files: Vec<Vec<Found>>, kept: &[(usize, usize)]) {
    let mut kept = kept.iter().peekable();
    for (file_index, found) in found_in_files.into_iter().enumerate() {
        for (index, found) in found.into_iter().enumerate() {
            if kept.next_if(|place| **place == (file_index, index)).is_none() {
                continue;
            }
            let record = found.record;
            recovered.last.insert(
                record.channel_id,
                LastAppend {
                    client_sequencer: record.client_sequencer,
                    row_sequencer: record.row_sequencer,
                    request_id: record.request_id.clone(),
                },
            );
            recovered.waiting.push(Batch::new(
                record,
                &recovered.files[file_index],
                found.rows_at,
                found.rows_length,
            ));
        }
    }
}
