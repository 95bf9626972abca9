//! The journal of puts: NDJSON lines of `ferrokinesis::capture`, one a record.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ferrokinesis::capture::CaptureRecord;

use crate::{Error, Result};

/// No line is longer: 10 MiB as base64, and its names.
const LINE_LIMIT: u64 = 32 * 1024 * 1024;

/// Syncs the file that the capture writer appends to; one sync serves all that wait.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Arc<File>,
    asked: AtomicU64,
    synced: tokio::sync::Mutex<u64>,
}

impl Journal {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(Error::disk("open", path))?;
        Ok(Self {
            path: path.to_owned(),
            file: Arc::new(file),
            asked: AtomicU64::new(0),
            synced: tokio::sync::Mutex::new(0),
        })
    }

    /// Returns when all that was written before the call is on disk.
    pub(super) async fn sync(&self) -> Result<()> {
        let ticket = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let mut synced = self.synced.lock().await;
        if *synced >= ticket {
            return Ok(());
        }
        let covers = self.asked.load(Ordering::Acquire);
        let file = Arc::clone(&self.file);
        let done = tokio::task::spawn_blocking(move || file.sync_data())
            .await
            .map_err(|_| Error::Stopping)?;
        done.map_err(Error::disk("sync", &self.path))?;
        *synced = covers;
        Ok(())
    }

    /// Empties the file: none of its records is needed.
    pub(super) fn clear(&self) -> Result<()> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.sync_all())
            .map_err(Error::disk("empty", &self.path))
    }

    pub(super) fn length(&self) -> Result<u64> {
        Ok(self
            .file
            .metadata()
            .map_err(Error::disk("read", &self.path))?
            .len())
    }
}

/// Cuts an unfinished last line off, so that the next one starts cleanly. Makes the file if it is absent.
pub(super) fn repair(path: &Path) -> Result<()> {
    let failed = || Error::disk("repair", path);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .map_err(failed())?;
    let length = file.metadata().map_err(failed())?.len();
    let mut end = length;
    let mut buffer = vec![0; 64 * 1024];
    while end > 0 {
        let size = end.min(buffer.len() as u64);
        let part = &mut buffer[..usize::try_from(size).unwrap_or(usize::MAX)];
        file.seek(SeekFrom::Start(end - size))
            .and_then(|_| file.read_exact(part))
            .map_err(failed())?;
        if let Some(newline) = part.iter().rposition(|byte| *byte == b'\n') {
            end = end - size + newline as u64 + 1;
            break;
        }
        end -= size;
    }
    if end < length {
        tracing::info!(
            bytes = length - end,
            "unfinished record cut off the kinesis journal"
        );
        file.set_len(end)
            .and_then(|()| file.sync_all())
            .map_err(failed())?;
    }
    Ok(())
}

/// Reads a journal from its start.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    reader: BufReader<File>,
    line: Vec<u8>,
    offset: u64,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::disk("open", path))?;
        Ok(Self {
            path: path.to_owned(),
            reader: BufReader::new(file),
            line: Vec::new(),
            offset: 0,
        })
    }

    /// The next record and the offset of its line.
    pub(super) fn next(&mut self) -> Result<Option<(u64, CaptureRecord)>> {
        self.line.clear();
        let mut limited = self.reader.by_ref().take(LINE_LIMIT);
        let length = limited
            .read_until(b'\n', &mut self.line)
            .map_err(Error::disk("read", &self.path))?;
        if length == 0 {
            return Ok(None);
        }
        let offset = self.offset;
        self.offset += length as u64;
        let damaged = |_| Error::Damaged(format!("{} at byte {offset}", self.path.display()));
        Ok(Some((
            offset,
            serde_json::from_slice(&self.line).map_err(damaged)?,
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_line_is_cut_and_whole_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        for (before, after) in [("", ""), ("a\n", "a\n"), ("a\nbc", "a\n"), ("abc", "")] {
            std::fs::write(&path, before).unwrap();
            repair(&path).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
        let long = "x".repeat(200_000);
        std::fs::write(&path, format!("first\n{long}")).unwrap();
        repair(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first\n");
    }
}
