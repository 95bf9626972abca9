//! The one seam between the local Snowflake and the file system: log, segments, folder entries.
//!
//! Paths are relative to the data folder. A write is not on disk before [`DiskFile::sync`] returned, and a new, renamed or
//! removed name is not before [`Disk::sync_dir`] of its folder returned. Tests run the whole store on [`crash::CrashDisk`],
//! which at a chosen step loses everything that was not synced. SQLite keeps its own files itself.

#[cfg(test)]
pub(crate) mod crash;

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

/// Folder of files, as far as the store needs one.
pub(crate) trait Disk: Send + Sync + Debug {
    /// Makes a folder and those above it; no error if it is there.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a new file; an error if it is there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskRead>>;
    /// Removes a file; no error if it is absent.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Names in a folder.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Puts a folder's entries on disk.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// A file that is written from front to end.
pub(crate) trait DiskFile: Send + Debug {
    /// Writes at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Puts all that was written on disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file that is read.
pub(crate) trait DiskRead: Send + Sync + Debug {
    /// Its length now.
    fn len(&self) -> io::Result<u64>;
    /// Exactly `length` bytes from `offset`.
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes>;
}

/// The real file system below one folder.
#[derive(Debug)]
pub(crate) struct RealDisk {
    root: PathBuf,
}

impl RealDisk {
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }
}

#[derive(Debug)]
struct RealFile(File);

#[derive(Debug)]
struct RealRead(File);

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(self.root.join(path))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(self.root.join(path))?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskRead>> {
        Ok(Arc::new(RealRead(File::open(self.root.join(path))?)))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_file(self.root.join(path)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.root.join(path))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(self.root.join(path))?.sync_all()
    }
}

impl DiskFile for RealFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl DiskRead for RealRead {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut buffer = vec![0; length];
        self.0.read_exact_at(&mut buffer, offset)?;
        Ok(Bytes::from(buffer))
    }
}

/// Reads a whole small file, at most `limit` bytes.
pub(crate) fn read_small(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            "file is larger than expected",
        ));
    }
    Ok(bytes)
}

/// Replaces a file as a whole: written beside it, synced, renamed, folder synced. The file is readable by its owner only.
pub(crate) fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let folder = path
        .parent()
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "path without a folder"))?;
    let beside = path.with_extension("new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}
