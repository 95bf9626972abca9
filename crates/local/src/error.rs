//! What can go wrong in the local stack.
//!
//! Protocol answers (a stale token, an unknown pipe) are no `Error`: they are values of the routers. `Error` is for the
//! program that starts the stack and for its storage. It never holds row data, tokens or keys.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One situation that stops a start or a storage operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process holds the data folder's lock.
    #[error("the data folder {} is in use by another process; stop it or give another --data folder", .0.display())]
    DataFolderInUse(PathBuf),
    /// The folder holds files, but not ours.
    #[error("{} is not empty and is no data folder of frazil local; give an empty or a new folder", .0.display())]
    ForeignDataFolder(PathBuf),
    /// The folder was written by a version with another layout.
    #[error("the data folder {} has layout version {found}; this program reads version {expected}", path.display())]
    DataFolderVersion {
        /// The folder.
        path: PathBuf,
        /// What its version file says.
        found: String,
        /// What this program writes.
        expected: u32,
    },
    /// A port that was asked for is taken or not allowed.
    #[error("cannot listen on 127.0.0.1:{port} for {service}: {source}")]
    PortTaken {
        /// Which service wanted it.
        service: &'static str,
        /// The port (0 = any).
        port: u16,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file or folder could not be read, written or synced.
    #[error("cannot {action} {}: {source}", path.display())]
    Disk {
        /// What was tried, as an infinitive.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// SQLite refused a statement or could not write.
    #[error("catalog: {0}")]
    Catalog(#[from] rusqlite::Error),
    /// What is stored contradicts itself.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// A name that must exist does not.
    #[error("{kind} '{name}' does not exist")]
    NoSuchObject {
        /// Database, Schema, Table, ...
        kind: &'static str,
        /// Its full name.
        name: String,
    },
    /// A name that must be free is taken.
    #[error("{kind} '{name}' already exists")]
    ObjectExists {
        /// Database, Schema, Table, ...
        kind: &'static str,
        /// Its full name.
        name: String,
    },
    /// The faults file does not parse or names something unknown.
    #[error("faults: {0}")]
    Faults(String),
    /// A behaviour that is asked for is none of the known ones.
    #[error("{choice:?} is no known behaviour; known are (the default first):\n{known}")]
    Behaviour {
        /// As it was given.
        choice: String,
        /// What could be given, one a line.
        known: String,
    },
    /// A key pair, certificate or token could not be made or read.
    #[error("{0}")]
    Key(String),
    /// Rows could not be written as or read from a segment.
    #[error("segment: {0}")]
    Segment(String),
    /// An embedded stand-in did not start.
    #[error("the embedded {service} did not start: {reason}")]
    StandIn {
        /// kinesis or dynamodb.
        service: &'static str,
        /// Its own words.
        reason: String,
    },
    /// The stack is stopping or its storage has failed; the reason was logged.
    #[error("the local stack is stopping")]
    Stopping,
}

impl Error {
    /// Whether it is for want of room on the disk.
    pub(crate) fn is_disk_full(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::Disk { source, .. } => matches!(source.kind(), StorageFull | QuotaExceeded),
            Self::Catalog(rusqlite::Error::SqliteFailure(failure, _)) => {
                failure.code == rusqlite::ErrorCode::DiskFull
            }
            _ => false,
        }
    }

    /// Wraps an I/O error with what was tried and where.
    pub(crate) fn disk(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Disk { action, path, source }
    }
}
