//! The stage: files that streaming clients uploaded and did not register yet.
//!
//! A file is kept as it came (encrypted) under `stage/<location>~<etag>`; its ETag is a digest of its bytes, so an upload that
//! is repeated finds itself, and a file that a crash cut short is known by its name. Registering copies the rows into the
//! log, then the file goes.
//!
//! Guarantees: a file whose [`Stage::put`] gave [`Put::Kept`] is found after any crash, until it is registered, refused or
//! [`KEEP`] old. All files together have at most [`LIMIT_BYTES`]. Does not decrypt and knows no channels.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::disk::Disk;
use crate::{Error, Result};

/// Folder of the files.
pub(crate) const FOLDER: &str = "stage";
/// Largest file, as uploaded.
pub(crate) const FILE_LIMIT: usize = 64 * 1024 * 1024;
/// All files together.
pub(crate) const LIMIT_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// A file that nobody registered for so long is abandoned; also counted from a restart.
pub(crate) const KEEP: Duration = Duration::from_secs(60 * 60);
/// KiB of files that are in memory at once, on their way in or into the log; more have to wait outside.
const ROOM_KIB: u32 = 256 * 1024;
/// Registered files that are remembered.
const REMEMBERED: usize = 4096;

/// Which file of which pipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) pipe_id: i64,
    /// Of one answer to pipe-info: clients count their files from one.
    pub(crate) lease: String,
    pub(crate) file: String,
}

impl Location {
    /// Of parts of a path; `None` if they cannot be a file name.
    pub(crate) fn new(pipe_id: &str, lease: &str, file: &str) -> Option<Self> {
        let plain = |text: &str, most: usize| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !text.is_empty() && text.len() <= most && !text.starts_with('.') && text.bytes().all(known)
        };
        let pipe_id = pipe_id.parse().ok().filter(|id| *id > 0)?;
        (plain(lease, 40) && plain(file, 100)).then(|| Self {
            pipe_id,
            lease: lease.to_owned(),
            file: file.to_owned(),
        })
    }

    fn name(&self, etag: &str) -> String {
        format!("{}~{}~{}~{etag}", self.pipe_id, self.lease, self.file)
    }
}

/// What an upload came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// On disk; its ETag, without quotes.
    Kept(String),
    /// The same file is being written or removed.
    Busy,
    /// The stage has no room.
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Being written or removed.
    Moving,
    /// Written and synced by this process.
    Whole,
    /// Found at the start; perhaps cut short.
    Found,
}

#[derive(Debug)]
struct Entry {
    length: u64,
    since: Instant,
    state: State,
}

#[derive(Debug, Default)]
struct Files {
    by_name: HashMap<String, Entry>,
    bytes: u64,
    /// Names of files that were registered lately, and their order.
    registered: VecDeque<String>,
}

impl Files {
    fn forget(&mut self, name: &str) {
        if let Some(entry) = self.by_name.remove(name) {
            self.bytes -= entry.length;
        }
    }
}

/// The uploaded files of one data folder.
#[derive(Debug)]
pub(crate) struct Stage {
    disk: Arc<dyn Disk>,
    files: Mutex<Files>,
    room: Arc<Semaphore>,
}

impl Stage {
    /// Opens the stage with what an earlier process left in it.
    pub(crate) fn open(disk: Arc<dyn Disk>) -> Result<Self> {
        disk.create_dir(FOLDER.as_ref())
            .map_err(Error::disk("create", FOLDER))?;
        let mut files = Files::default();
        let since = Instant::now();
        for name in disk.list(FOLDER.as_ref()).map_err(Error::disk("list", FOLDER))? {
            let path = path(&name);
            let length = disk.open(&path).and_then(|file| file.len());
            let length = length.map_err(Error::disk("open", &path))?;
            files.bytes += length;
            let entry = Entry {
                length,
                since,
                state: State::Found,
            };
            files.by_name.insert(name, entry);
        }
        Ok(Self {
            disk,
            files: Mutex::new(files),
            room: Arc::new(Semaphore::new(ROOM_KIB as usize)),
        })
    }

    /// Waits until so many bytes of files may be in memory.
    pub(crate) async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room);
        room.acquire_many_owned(kib.clamp(1, ROOM_KIB))
            .await
            .map_err(|_| Error::Stopping)
    }

    /// Keeps a file. Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::Disk`]; nothing is kept then.
    pub(crate) fn put(&self, location: &Location, bytes: &[u8]) -> Result<Put> {
        let etag = etag(bytes);
        let name = location.name(&etag);
        let length = bytes.len() as u64;
        let mut files = self.files();
        let found = files.by_name.get(&name).map(|entry| entry.state);
        match found {
            Some(State::Whole) => return Ok(Put::Kept(etag)),
            Some(State::Moving) => return Ok(Put::Busy),
            Some(State::Found) => files.forget(&name),
            None => {}
        }
        if files.bytes + length > LIMIT_BYTES {
            return Ok(Put::Full);
        }
        files.bytes += length;
        let entry = Entry {
            length,
            since: Instant::now(),
            state: State::Moving,
        };
        files.by_name.insert(name.clone(), entry);
        drop(files);
        let written = self.write(&path(&name), bytes, found.is_some());
        let mut files = self.files();
        match written {
            Ok(()) => {
                if let Some(entry) = files.by_name.get_mut(&name) {
                    entry.state = State::Whole;
                }
                Ok(Put::Kept(etag))
            }
            Err(error) => {
                files.forget(&name);
                Err(error)
            }
        }
    }

    fn write(&self, path: &Path, bytes: &[u8], there: bool) -> Result<()> {
        if there {
            self.disk.remove(path).map_err(Error::disk("remove", path))?;
        }
        let mut file = self.disk.create(path).map_err(Error::disk("create", path))?;
        let written = file.append(bytes).and_then(|()| file.sync());
        let written = written.and_then(|()| self.disk.sync_dir(FOLDER.as_ref()));
        if written.is_err() {
            let _ = self.disk.remove(path);
        }
        written.map_err(Error::disk("write", path))
    }

    /// The bytes of a file; `None` if there is no whole one of this ETag. Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::Disk`] if it is there and cannot be read.
    pub(crate) fn read(&self, location: &Location, etag_wanted: &str) -> Result<Option<Vec<u8>>> {
        let name = location.name(etag_wanted);
        let (length, state) = match self.files().by_name.get(&name) {
            Some(entry) if entry.state != State::Moving && entry.length <= FILE_LIMIT as u64 => {
                (entry.length, entry.state)
            }
            _ => return Ok(None),
        };
        let path = path(&name);
        let file = self.disk.open(&path).map_err(Error::disk("open", &path))?;
        let length = usize::try_from(length).unwrap_or(FILE_LIMIT);
        let bytes = file.read_at(0, length).map_err(Error::disk("read", &path))?;
        // One that this process wrote and synced is whole; its digest was made then.
        let is_whole = state == State::Whole || etag(&bytes) == etag_wanted;
        Ok(is_whole.then(|| Vec::from(bytes)))
    }

    /// Whether a file was registered lately.
    pub(crate) fn was_registered(&self, location: &Location, etag: &str) -> bool {
        let name = location.name(etag);
        self.files().registered.contains(&name)
    }

    /// Removes a file whose rows are in the log (`registered`) or were refused. Blocks on the disk.
    pub(crate) fn remove(&self, location: &Location, etag: &str, registered: bool) {
        let name = location.name(etag);
        if registered {
            let mut files = self.files();
            if files.registered.len() >= REMEMBERED {
                files.registered.pop_front();
            }
            files.registered.push_back(name.clone());
        }
        self.remove_name(&name);
    }

    /// Removes what is abandoned; gives how many files that were. Blocks on the disk.
    pub(crate) fn sweep(&self, now: Instant) -> usize {
        let is_old = |entry: &Entry| now.saturating_duration_since(entry.since) >= KEEP;
        let old: Vec<String> = self
            .files()
            .by_name
            .iter()
            .filter(|(_, entry)| entry.state != State::Moving && is_old(entry))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &old {
            self.remove_name(name);
        }
        if !old.is_empty() {
            tracing::info!(files = old.len(), "abandoned uploads removed");
        }
        old.len()
    }

    fn remove_name(&self, name: &str) {
        let before = match self.files().by_name.get_mut(name) {
            Some(entry) if entry.state != State::Moving => std::mem::replace(&mut entry.state, State::Moving),
            _ => return,
        };
        let removed = self.disk.remove(&path(name));
        let mut files = self.files();
        match removed {
            Ok(()) => files.forget(name),
            Err(error) => {
                // The sweep comes to it again.
                tracing::warn!(%error, "uploaded file not removed");
                if let Some(entry) = files.by_name.get_mut(name) {
                    entry.state = before;
                }
            }
        }
    }

    /// Number of files, and their bytes.
    #[cfg(test)]
    pub(crate) fn size(&self) -> (usize, u64) {
        let files = self.files();
        (files.by_name.len(), files.bytes)
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// The first half of the SHA-256, in hex.
fn etag(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let half = &digest.as_ref()[..16];
    half.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::crash::{Crash, CrashDisk};

    fn location(file: &str) -> Location {
        Location::new("7", "lease", file).unwrap()
    }

    fn stage(disk: &CrashDisk) -> Stage {
        Stage::open(Arc::new(disk.clone())).unwrap()
    }

    #[test]
    fn uploaded_file_is_found_after_a_crash_at_every_step_once_it_was_answered() {
        let (mut answered, mut cut) = (0, 0);
        for at in 0..12 {
            for (after, torn) in [(false, 0), (true, 0), (true, 200), (false, 90)] {
                let disk = CrashDisk::default();
                let before = stage(&disk);
                disk.crash_at(Crash { at, after, torn });
                let put = before.put(&location("1.ndjson"), b"some bytes of a file");
                let disk = disk.restart();
                let stage = stage(&disk);
                let wanted = etag(b"some bytes of a file");
                let found = stage.read(&location("1.ndjson"), &wanted).unwrap();
                if put.is_ok() {
                    answered += 1;
                    assert_eq!(found.as_deref(), Some(&b"some bytes of a file"[..]));
                } else {
                    cut += 1;
                    assert!(found.is_none_or(|found| found == b"some bytes of a file"));
                }
                // The client sends it again.
                let again = stage.put(&location("1.ndjson"), b"some bytes of a file").unwrap();
                assert_eq!(again, Put::Kept(wanted.clone()));
                assert!(stage.read(&location("1.ndjson"), &wanted).unwrap().is_some());
                assert_eq!(stage.size(), (1, 20));
            }
        }
        assert!(answered > 5 && cut > 5, "{answered} answered, {cut} cut");
    }

    #[test]
    fn abandoned_files_go_after_an_hour_and_registered_ones_at_once() {
        let disk = CrashDisk::default();
        let stage = stage(&disk);
        for file in ["1", "2"] {
            stage.put(&location(file), file.as_bytes()).unwrap();
        }
        stage.remove(&location("1"), &etag(b"1"), true);
        assert!(stage.was_registered(&location("1"), &etag(b"1")));
        assert_eq!((stage.size(), disk.files(FOLDER)), ((1, 1), 1));
        let start = Instant::now();
        assert_eq!(stage.sweep(start + KEEP / 2), 0);
        assert_eq!(stage.sweep(start + KEEP), 1);
        assert!(!stage.was_registered(&location("2"), &etag(b"2")));
        assert_eq!((stage.size(), disk.files(FOLDER)), ((0, 0), 0));
    }

    #[test]
    fn full_stage_takes_no_more_and_a_full_disk_leaves_nothing() {
        let disk = CrashDisk::default();
        let stage = stage(&disk);
        stage.files().bytes = LIMIT_BYTES - 3;
        assert_eq!(stage.put(&location("1"), b"four").unwrap(), Put::Full);
        assert!(matches!(stage.put(&location("1"), b"123").unwrap(), Put::Kept(_)));
        stage.files().bytes = 3;
        disk.leave_room(Some(2));
        assert!(stage.put(&location("2"), b"four").unwrap_err().is_disk_full());
        assert_eq!((stage.size(), disk.files(FOLDER)), ((1, 3), 1));
    }

    #[test]
    fn parts_of_a_path_that_are_no_file_names_are_refused() {
        for (pipe, lease, file) in [
            ("0", "a", "b"),
            ("x", "a", "b"),
            ("1", "..", "b"),
            ("1", "a", "../b"),
            ("1", "a", ""),
            ("1", "a", "b~c"),
        ] {
            assert_eq!(Location::new(pipe, lease, file), None, "{pipe} {lease} {file}");
        }
        assert!(Location::new("1", "a", "b").is_some());
    }
}
