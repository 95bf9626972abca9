//! A disk in memory that crashes at a chosen step.
//!
//! Each change (create, append, sync, remove, folder sync) is a step. At the chosen step the disk is dead: before or after
//! the step took effect, and every later call fails. [`CrashDisk::restart`] gives the disk as a machine would find it:
//! only synced bytes (and, if asked, an arbitrary part of the unsynced tail, as a torn write leaves it), and only names
//! whose folder was synced.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::{Disk, DiskFile, DiskRead};

/// When a crash happens and what it leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crash {
    /// Number of the step, from 0.
    pub(crate) at: usize,
    /// The step itself takes effect before the crash.
    pub(crate) after: bool,
    /// Of each file's unsynced bytes this many in 256 are found.
    pub(crate) torn: u8,
}

#[derive(Clone, Debug, Default)]
struct Node {
    data: Vec<u8>,
    synced: usize,
}

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<usize, Node>,
    next_node: usize,
    live: BTreeMap<PathBuf, usize>,
    synced: BTreeMap<PathBuf, usize>,
    steps: usize,
    crash: Option<Crash>,
    dead: bool,
    /// Breaks the disk on purpose: file syncs do nothing, to see that the tests notice.
    ignore_sync: bool,
    /// Bytes that still fit; without it, any number does.
    room: Option<usize>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct CrashDisk {
    state: Arc<Mutex<State>>,
}

impl CrashDisk {
    pub(crate) fn crash_at(&self, crash: Crash) {
        let mut state = self.state.lock().unwrap();
        state.crash = Some(Crash {
            at: state.steps + crash.at,
            ..crash
        });
    }

    /// Makes each file sync a lie.
    pub(crate) fn ignore_sync(&self) {
        self.state.lock().unwrap().ignore_sync = true;
    }

    /// From here on so many bytes fit; `None`: there is room again.
    pub(crate) fn leave_room(&self, bytes: Option<usize>) {
        self.state.lock().unwrap().room = bytes;
    }

    /// Names in a folder.
    pub(crate) fn files(&self, folder: &str) -> usize {
        self.list(Path::new(folder)).unwrap().len()
    }

    pub(crate) fn dead(&self) -> bool {
        self.state.lock().unwrap().dead
    }

    /// What is found after the crash (or after pulling the plug now).
    pub(crate) fn restart(&self) -> CrashDisk {
        let state = self.state.lock().unwrap();
        let torn = state.crash.map_or(0, |crash| usize::from(crash.torn));
        let mut next = State {
            next_node: state.next_node,
            ..State::default()
        };
        for (path, id) in &state.synced {
            let node = &state.nodes[id];
            let kept = node.synced + (node.data.len() - node.synced) * torn / 256;
            next.nodes.insert(
                *id,
                Node {
                    data: node.data[..kept].to_vec(),
                    synced: kept,
                },
            );
            next.live.insert(path.clone(), *id);
            next.synced.insert(path.clone(), *id);
        }
        CrashDisk {
            state: Arc::new(Mutex::new(next)),
        }
    }

    fn step<T>(&self, effect: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.lock().unwrap();
        if state.dead {
            return Err(crashed());
        }
        let number = state.steps;
        state.steps += 1;
        match state.crash {
            Some(crash) if crash.at == number => {
                if crash.after {
                    effect(&mut state)?;
                }
                state.dead = true;
                Err(crashed())
            }
            _ => effect(&mut state),
        }
    }
}

fn crashed() -> io::Error {
    io::Error::other("the disk has crashed")
}

#[derive(Debug)]
struct Handle {
    disk: CrashDisk,
    node: usize,
}

impl Disk for CrashDisk {
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let node = self.step(|state| {
            if state.live.contains_key(path) {
                return Err(ErrorKind::AlreadyExists.into());
            }
            let node = state.next_node;
            state.next_node += 1;
            state.nodes.insert(node, Node::default());
            state.live.insert(path.to_owned(), node);
            Ok(node)
        })?;
        Ok(Box::new(Handle {
            disk: self.clone(),
            node,
        }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskRead>> {
        let state = self.state.lock().unwrap();
        if state.dead {
            return Err(crashed());
        }
        let node = *state.live.get(path).ok_or(ErrorKind::NotFound)?;
        Ok(Arc::new(Handle {
            disk: self.clone(),
            node,
        }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(|state| {
            state.live.remove(path);
            Ok(())
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock().unwrap();
        let inside = state.live.keys().filter(|file| file.parent() == Some(path));
        Ok(inside
            .map(|file| file.file_name().unwrap().to_string_lossy().into_owned())
            .collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.step(|state| {
            let live = state.live.clone();
            state
                .synced
                .retain(|file, _| file.parent() != Some(path) || live.contains_key(file));
            for (file, node) in live.iter().filter(|(file, _)| file.parent() == Some(path)) {
                state.synced.insert(file.clone(), *node);
            }
            Ok(())
        })
    }
}

impl DiskFile for Handle {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.disk.step(|state| {
            let fits = state.room.map_or(bytes.len(), |room| room.min(bytes.len()));
            if let Some(room) = &mut state.room {
                *room -= fits;
            }
            let node = state.nodes.get_mut(&self.node).unwrap();
            node.data.extend_from_slice(&bytes[..fits]);
            if fits < bytes.len() {
                return Err(ErrorKind::StorageFull.into());
            }
            Ok(())
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.step(|state| {
            let ignore = state.ignore_sync;
            let node = state.nodes.get_mut(&self.node).unwrap();
            if !ignore {
                node.synced = node.data.len();
            }
            Ok(())
        })
    }
}

impl DiskRead for Handle {
    fn len(&self) -> io::Result<u64> {
        let state = self.disk.state.lock().unwrap();
        Ok(state.nodes[&self.node].data.len() as u64)
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let state = self.disk.state.lock().unwrap();
        if state.dead {
            return Err(crashed());
        }
        let start = usize::try_from(offset).unwrap();
        let data = state.nodes[&self.node]
            .data
            .get(start..start + length)
            .ok_or(ErrorKind::UnexpectedEof)?;
        Ok(Bytes::copy_from_slice(data))
    }
}
