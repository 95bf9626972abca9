//! The log of accepted batches.
//!
//! One writer thread takes batches from all channels, writes them behind one another and syncs once for all that were
//! waiting; only then does an append get its 200. The files (`log/<number>.log`) rotate by size and are removed when each
//! of their batches is committed or discarded. At start all of them are read again, see [`recovery`].
//!
//! Guarantees: a batch whose [`Log::append`] returned `Ok` is found by recovery after any crash. A batch whose append
//! failed may be found or not, as with a lost answer. Batches of one channel stand in the order of their row sequencers.

mod format;
pub(crate) mod recovery;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

pub(crate) use self::format::{Encoding, Record};
use super::backlog::Backlog;
use crate::disk::{Disk, DiskFile, DiskRead};
use crate::{Error, Result};

/// Folder of the log files.
pub(crate) const FOLDER: &str = "log";
/// A file is sealed when it is larger.
const ROTATE_BYTES: u64 = 64 * 1024 * 1024;
/// Batches written and synced together are at most this large.
const GROUP_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of batches that wait for the writer; more have to wait outside.
const WAITING_KIB: u32 = 64 * 1024;

/// One file of the log.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    reader: Arc<dyn DiskRead>,
    /// Batches in it that are neither committed nor discarded.
    pending: AtomicUsize,
    sealed: AtomicBool,
}

/// A batch that is on disk and waits for its commit. Dropping it means: committed or discarded.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) record: Record,
    file: Arc<LogFile>,
    offset: u64,
    length: usize,
}

impl Batch {
    fn new(record: Record, file: &Arc<LogFile>, offset: u64, length: usize) -> Self {
        file.pending.fetch_add(1, Ordering::AcqRel);
        Self {
            record,
            file: Arc::clone(file),
            offset,
            length,
        }
    }

    /// The rows as they were received, read back from the file.
    pub(crate) fn rows(&self) -> Result<Bytes> {
        self.file
            .reader
            .read_at(self.offset, self.length)
            .map_err(Error::disk("read", &self.file.path))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.file.pending.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Where a batch's rows are in a file: offset and length.
type Span = (u64, usize);

struct Append {
    record: Record,
    rows: Bytes,
    answer: oneshot::Sender<Result<()>>,
    _room: OwnedSemaphorePermit,
}

/// The log of one data folder.
#[derive(Debug)]
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    sender: mpsc::UnboundedSender<Append>,
    room: Arc<Semaphore>,
    files: Arc<Mutex<Vec<Arc<LogFile>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    stopping: Arc<AtomicBool>,
}

impl Log {
    /// Starts the writer behind the files that recovery found.
    pub(crate) fn start(
        disk: Arc<dyn Disk>,
        recovered: Vec<Arc<LogFile>>,
        next: u64,
        backlog: Arc<Backlog>,
    ) -> Result<Self> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let files = Arc::new(Mutex::new(recovered));
        let mut writer = Writer {
            disk: Arc::clone(&disk),
            files: Arc::clone(&files),
            backlog,
            next,
            current: None,
            buffer: Vec::new(),
        };
        let stopping = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new()
            .name("frazil-log".into())
            .spawn(move || writer.run(receiver))
            .map_err(Error::disk("start the writer of", FOLDER))?;
        let room = Arc::new(Semaphore::new(WAITING_KIB as usize));
        Ok(Self {
            disk,
            sender,
            room,
            files,
            thread: Mutex::new(Some(thread)),
            stopping,
        })
    }

    /// Puts a batch on disk; it is handed to the committer before this returns.
    ///
    /// # Errors
    /// [`Error::Disk`] if it could not be written and synced, [`Error::Stopping`] after [`Log::stop`].
    pub(crate) async fn append(&self, record: Record, rows: Bytes) -> Result<()> {
        let kib = u32::try_from(rows.len() / 1024)
            .unwrap_or(u32::MAX)
            .clamp(1, WAITING_KIB);
        let room = Arc::clone(&self.room)
            .acquire_many_owned(kib)
            .await
            .map_err(|_| Error::Stopping)?;
        if self.stopping.load(Ordering::Acquire) {
            return Err(Error::Stopping);
        }
        let (answer, outcome) = oneshot::channel();
        self.sender
            .send(Append {
                record,
                rows,
                answer,
                _room: room,
            })
            .map_err(|_| Error::Stopping)?;
        outcome.await.map_err(|_| Error::Stopping)?
    }

    /// Removes sealed files whose batches are all done.
    pub(crate) fn trim(&self) -> Result<()> {
        let done: Vec<Arc<LogFile>> = {
            let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            let is_done = |file: &Arc<LogFile>| {
                file.sealed.load(Ordering::Acquire) && file.pending.load(Ordering::Acquire) == 0
            };
            let done = files.iter().filter(|file| is_done(file)).cloned().collect();
            files.retain(|file| !is_done(file));
            done
        };
        for file in done {
            self.disk
                .remove(&file.path)
                .map_err(Error::disk("remove", &file.path))?;
        }
        Ok(())
    }

    /// Takes no more batches and ends the writer once what it has is written.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.room.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (answer, _ignored) = oneshot::channel();
        // An empty record without a channel is the writer's sign to end.
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned();
        if let Ok(room) = room {
            let _ = self.sender.send(Append {
                record: Record::end(),
                rows: Bytes::new(),
                answer,
                _room: room,
            });
        }
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    #[cfg(test)]
    pub(crate) fn files(&self) -> usize {
        self.files.lock().unwrap().len()
    }
}

struct Current {
    file: Box<dyn DiskFile>,
    shared: Arc<LogFile>,
    length: u64,
}

struct Writer {
    disk: Arc<dyn Disk>,
    files: Arc<Mutex<Vec<Arc<LogFile>>>>,
    backlog: Arc<Backlog>,
    next: u64,
    current: Option<Current>,
    buffer: Vec<u8>,
}

impl Writer {
    fn run(&mut self, mut receiver: mpsc::UnboundedReceiver<Append>) {
        let mut group = Vec::new();
        while let Some(first) = receiver.blocking_recv() {
            let mut bytes = first.rows.len();
            group.push(first);
            while bytes < GROUP_BYTES {
                let Ok(more) = receiver.try_recv() else { break };
                bytes += more.rows.len();
                group.push(more);
            }
            let end = group.iter().position(|append| append.record.is_end());
            group.truncate(end.unwrap_or(group.len()));
            self.write(&mut group);
            if end.is_some() {
                return;
            }
        }
    }

    fn write(&mut self, group: &mut Vec<Append>) {
        if group.is_empty() {
            return;
        }
        match self.write_group(group) {
            Ok((shared, spans)) => {
                let batches = group.iter().zip(spans).map(|(append, (offset, length))| {
                    Batch::new(append.record.clone(), &shared, offset, length)
                });
                self.backlog.push(batches.collect());
                for append in group.drain(..) {
                    // The client may be gone; its batch is accepted all the same.
                    let _ = append.answer.send(Ok(()));
                }
            }
            Err(error) => {
                tracing::error!(%error, batches = group.len(), "log write failed");
                // What the failed write left in the file is unknown, so nothing may follow it.
                if let Some(current) = self.current.take() {
                    current.shared.sealed.store(true, Ordering::Release);
                }
                let kind = match &error {
                    Error::Disk { source, .. } => source.kind(),
                    _ => std::io::ErrorKind::Other,
                };
                for append in group.drain(..) {
                    let failed = std::io::Error::new(kind, error.to_string());
                    let _ = append.answer.send(Err(Error::disk("write", FOLDER)(failed)));
                }
            }
        }
    }

    /// Writes and syncs; gives the span of each batch's rows.
    fn write_group(&mut self, group: &[Append]) -> Result<(Arc<LogFile>, Vec<Span>)> {
        if self
            .current
            .as_ref()
            .is_some_and(|current| current.length >= ROTATE_BYTES)
            && let Some(full) = self.current.take()
        {
            full.shared.sealed.store(true, Ordering::Release);
        }
        let current = match self.current.take() {
            Some(current) => current,
            None => self.create()?,
        };
        let current = self.current.insert(current);
        self.buffer.clear();
        let mut spans = Vec::with_capacity(group.len());
        for append in group {
            let at = format::encode(&mut self.buffer, &append.record, &append.rows)?;
            spans.push((current.length + at as u64, append.rows.len()));
        }
        let path = &current.shared.path;
        current
            .file
            .append(&self.buffer)
            .map_err(Error::disk("write", path))?;
        current.file.sync().map_err(Error::disk("sync", path))?;
        current.length += self.buffer.len() as u64;
        if self.buffer.capacity() > 2 * GROUP_BYTES {
            self.buffer = Vec::new();
        }
        Ok((Arc::clone(&current.shared), spans))
    }

    fn create(&mut self) -> Result<Current> {
        let path = PathBuf::from(FOLDER).join(format!("{:012}.log", self.next));
        self.next += 1;
        let mut file = self.disk.create(&path).map_err(Error::disk("create", &path))?;
        if let Err(error) = file.append(format::FILE_HEADER) {
            // A full disk would get one more such file with each append.
            let _ = self.disk.remove(&path);
            return Err(Error::disk("write", &path)(error));
        }
        self.disk
            .sync_dir(FOLDER.as_ref())
            .map_err(Error::disk("sync", FOLDER))?;
        let reader = self.disk.open(&path).map_err(Error::disk("open", &path))?;
        let shared = Arc::new(LogFile {
            path,
            reader,
            pending: AtomicUsize::new(0),
            sealed: AtomicBool::new(false),
        });
        self.files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&shared));
        Ok(Current {
            file,
            shared,
            length: format::FILE_HEADER.len() as u64,
        })
    }
}
