//! The data folder: one process at a time, one layout version.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{read_small, replace_private};
use crate::{Error, Result};

const LOCK: &str = "lock";
const VERSION_FILE: &str = "format-version";
/// Raised when an earlier program would read a data folder wrongly.
const VERSION: u32 = 2;
/// The earliest version that is upgraded: its parts do that when they are opened, before anything else is written.
const UPGRADED_FROM: u32 = 1;

/// A locked data folder. The lock ends with this value, or with the process.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Locks the folder, makes it if it is absent or empty, and refuses one that is not ours or of another version.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        if !path.exists() {
            let made = std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path);
            made.map_err(Error::disk("create", path))?;
        }
        let path = path.canonicalize().map_err(Error::disk("open", path))?;
        let list = || Error::disk("list", &path);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(list())? {
            names.push(entry.map_err(list())?.file_name());
        }
        let ours = names.iter().any(|name| name == VERSION_FILE);
        // A crash right at the first start leaves the lock and perhaps an unfinished version file.
        let unfinished = names
            .iter()
            .all(|name| name == LOCK || name == "format-version.new");
        if !ours && !unfinished {
            return Err(Error::ForeignDataFolder(path));
        }
        let lock_path = path.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path);
        let lock = lock.map_err(Error::disk("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::DataFolderInUse(path)),
            Err(TryLockError::Error(error)) => return Err(Error::disk("lock", lock_path)(error)),
        }
        let version = path.join(VERSION_FILE);
        if ours {
            let found = read_small(&version, 64).map_err(Error::disk("read", &version))?;
            let found = String::from_utf8_lossy(&found).trim().to_owned();
            let known = found
                .parse()
                .ok()
                .filter(|version| (UPGRADED_FROM..=VERSION).contains(version));
            let Some(known) = known else {
                return Err(Error::DataFolderVersion {
                    path,
                    found,
                    expected: VERSION,
                });
            };
            if known < VERSION {
                write_version(&version)?;
                tracing::info!(from = known, to = VERSION, "data folder upgraded");
            }
        } else {
            write_version(&version)?;
        }
        Ok(Self { path, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the folder's own entries on disk.
    pub(crate) fn sync(&self) -> Result<()> {
        File::open(&self.path)
            .and_then(|folder| folder.sync_all())
            .map_err(Error::disk("sync", &self.path))
    }
}

/// Keeps the folder locked while `work` runs.
pub(crate) fn held<F: Future + Send>(
    folder: &Arc<DataFolder>,
    work: F,
) -> impl Future<Output = F::Output> + Send + use<F> {
    let folder = Arc::clone(folder);
    async move {
        let done = work.await;
        drop(folder);
        done
    }
}

fn write_version(path: &Path) -> Result<()> {
    replace_private(path, format!("{VERSION}\n").as_bytes()).map_err(Error::disk("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_opening_is_refused_until_the_first_ends() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataFolder::open(folder.path()).unwrap();
        assert!(matches!(
            DataFolder::open(folder.path()),
            Err(Error::DataFolderInUse(_))
        ));
        drop(first);
        DataFolder::open(folder.path()).unwrap();
    }

    #[test]
    fn foreign_folder_and_other_version_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("thesis.txt"), "x").unwrap();
        assert!(matches!(
            DataFolder::open(folder.path()),
            Err(Error::ForeignDataFolder(_))
        ));

        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(VERSION_FILE), "99\n").unwrap();
        let error = DataFolder::open(folder.path()).unwrap_err();
        assert!(
            matches!(&error, Error::DataFolderVersion { found, .. } if found == "99"),
            "{error}"
        );
    }

    #[test]
    fn folder_of_the_version_before_is_upgraded() {
        let folder = tempfile::tempdir().unwrap();
        let version = folder.path().join(VERSION_FILE);
        std::fs::write(&version, "1\n").unwrap();
        DataFolder::open(folder.path()).unwrap();
        assert_eq!(std::fs::read_to_string(&version).unwrap(), "2\n");
    }

    #[test]
    fn new_folder_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a").join("b");
        DataFolder::open(&inner).unwrap();
        assert_eq!(
            std::fs::metadata(inner).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }
}
