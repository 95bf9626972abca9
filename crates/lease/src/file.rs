//! Leases in one local file: what `leases: none` keeps of positions, pins and ends.
//!
//! How it works: the file holds all rows, as they would stand in the table, and is read once. Each change is written whole to a
//! file beside it, synced, and put in its place, and the folder is synced; only then does it count. An advisory lock on
//! `<file>.lock` is held for as long as the store lives.
//!
//! What it guarantees: the same conditions as the real table; whatever moment the process or the machine ends at, the file is
//! the old or the new one, whole. A second process is refused. A full disk is an error, after which the old rows still stand.
//!
//! What it does not: it shares nothing between machines. The lock is advisory, and on network file systems it is as good as
//! they make it. Each change costs the size of the file: it is meant for hundreds of shards, not for thousands.

mod disk;
mod format;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::error::Error;
use crate::row::Item;
use crate::store::{LeaseStore, Scope, Written};
use crate::table::{Part, RowTable};
use crate::update::Update;
use disk::{Disk, RealDisk};

#[derive(Debug)]
struct State {
    path: PathBuf,
    disk: Box<dyn Disk>,
    rows: RowTable,
    /// Held until the last handle is gone.
    _lock: File,
}

/// A door to a local state file. Clones are the same door.
#[derive(Debug, Clone)]
pub struct FileLeases {
    state: Arc<Mutex<State>>,
    is_new: bool,
}

impl FileLeases {
    /// Opens the file, or begins with none; the folder is made. It blocks for as long as reading the file takes.
    ///
    /// # Errors
    /// [`Error::StateFile`] where another process has it, where it is damaged or of a later version, or what the disk said.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_on(path.as_ref(), Box::new(RealDisk))
    }

    fn open_on(path: &Path, disk: Box<dyn Disk>) -> Result<Self, Error> {
        let lock = lock(path)?;
        let text = disk.read(path).map_err(|e| failed(path, "cannot be read", &e))?;
        let is_new = text.is_none();
        let rows = match text {
            None => RowTable::default(),
            Some(text) => format::parse(&text).map_err(|detail| refused(path, detail))?,
        };
        let state = State {
            path: path.to_owned(),
            disk,
            rows,
            _lock: lock,
        };
        Ok(Self {
            state: Arc::new(Mutex::new(state)),
            is_new,
        })
    }

    /// How many rows the file holds, without opening it: no lock is taken and nothing is made; none where there is no file.
    ///
    /// # Errors
    /// [`Error::StateFile`] where it is damaged or of a later version, or what the disk said.
    pub fn look(path: impl AsRef<Path>) -> Result<Option<usize>, Error> {
        let path = path.as_ref();
        let text = RealDisk
            .read(path)
            .map_err(|e| failed(path, "cannot be read", &e))?;
        let rows = text.map(|text| format::parse(&text).map_err(|detail| refused(path, detail)));
        let count = |rows: RowTable| rows.0.values().map(Part::len).sum();
        Ok(rows.transpose()?.map(count))
    }

    /// Whether there was no file when it was opened: nothing is remembered.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Does `work` away from the runtime's threads; once begun it goes on to its end, whether or not the caller still waits.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut State) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let state = Arc::clone(&self.state);
        let task = tokio::task::spawn_blocking(move || {
            // A panic in the midst leaves the rows as they were: they are replaced as a whole.
            work(&mut state.lock().unwrap_or_else(PoisonError::into_inner))
        });
        task.await.map_err(|error| Error::Unreachable {
            call: "a call of the state file",
            detail: error.to_string(),
        })?
    }
}

impl State {
    fn update(&mut self, scope: &Scope, update: &Update) -> Result<Written, Error> {
        let mut rows = self.rows.clone();
        let written = rows.update(scope, update);
        if written == Written::Done {
            let text = format::render(&rows).map_err(|detail| refused(&self.path, detail))?;
            let replaced = self.disk.replace(&self.path, text.as_bytes());
            replaced.map_err(|e| failed(&self.path, "cannot be written", &e))?;
            self.rows = rows;
        }
        Ok(written)
    }
}

fn refused(path: &Path, detail: String) -> Error {
    Error::StateFile {
        path: path.display().to_string(),
        detail,
        may_heal: false,
    }
}

fn failed(path: &Path, what: &str, error: &std::io::Error) -> Error {
    Error::StateFile {
        path: path.display().to_string(),
        detail: format!("{what}: {error}"),
        may_heal: true,
    }
}

fn lock(path: &Path) -> Result<File, Error> {
    let lock_path = disk::beside(path, "lock");
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|e| refused(path, format!("its folder cannot be made: {e}")))?;
    }
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path);
    let lock = lock.map_err(|e| {
        refused(
            path,
            format!("its lock {} cannot be opened: {e}", lock_path.display()),
        )
    })?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(refused(
            path,
            "another process has it; with leases: none one process alone may run".to_owned(),
        )),
        Err(TryLockError::Error(e)) => Err(refused(path, format!("it cannot be locked: {e}"))),
    }
}

#[async_trait]
impl LeaseStore for FileLeases {
    async fn prepare(&self, _scope: &Scope) -> Result<(), Error> {
        Ok(())
    }

    async fn rows(&self, scope: &Scope, prefix: &str) -> Result<Vec<Item>, Error> {
        let (scope, prefix) = (scope.clone(), prefix.to_owned());
        self.with(move |state| Ok(state.rows.rows(&scope, &prefix))).await
    }

    async fn row(&self, scope: &Scope, key: &str) -> Result<Option<Item>, Error> {
        let (scope, key) = (scope.clone(), key.to_owned());
        self.with(move |state| Ok(state.rows.row(&scope, &key))).await
    }

    async fn update(&self, scope: &Scope, update: &Update) -> Result<Written, Error> {
        let (scope, update) = (scope.clone(), update.clone());
        self.with(move |state| state.update(&scope, &update)).await
    }
}

#[cfg(test)]
mod tests;
