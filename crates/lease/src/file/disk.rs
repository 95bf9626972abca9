//! The door to the disk, so that a test can fill it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What the state file needs of a disk.
pub(super) trait Disk: Send + std::fmt::Debug {
    /// The whole file as text, or `None` where there is none.
    fn read(&self, path: &Path) -> io::Result<Option<String>>;

    /// Puts this in place of the whole file, durably. After an error the file is the old or the new one.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
}

/// A path with a suffix to its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

#[derive(Debug)]
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn read(&self, path: &Path) -> io::Result<Option<String>> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let new = beside(path, "new");
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        std::fs::rename(&new, path)?;
        // A rename is durable once its folder is (fsync(2)). Windows syncs no folders.
        #[cfg(unix)]
        {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    }
}
