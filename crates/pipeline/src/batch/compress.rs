//! zstd with everything kept that can be used again.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use frazil_model::Instant;
use frazil_snowflake::MAX_WIRE_BYTES;

use super::effort::Effort;

/// The level at which compression costs least for what it saves, on JSON events.
pub const DEFAULT_LEVEL: i32 = 1;

/// One zstd context and its buffers: about 5 MB after its first full batch, 9 MB where rows are sorted out.
pub struct Compressor {
    level: i32,
    context: zstd::bulk::Compressor<'static>,
    output: Vec<u8>,
    joined: Vec<u8>,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor")
            .field("output", &self.output.capacity())
            .finish_non_exhaustive()
    }
}

impl Compressor {
    /// A compressor of this zstd level; a level that zstd does not know becomes its nearest.
    #[must_use]
    pub fn new(level: i32) -> Self {
        let known = zstd::compression_level_range();
        let level = level.clamp(*known.start(), *known.end());
        let context = zstd::bulk::Compressor::new(level).expect("zstd takes each level of its range");
        Self {
            level,
            context,
            output: Vec::new(),
            joined: Vec::new(),
        }
    }

    /// Goes on at another level.
    fn at(mut self, level: i32) -> Self {
        if self.level != level && self.context.set_compression_level(level).is_ok() {
            self.level = level;
        }
        self
    }

    /// The body of these parts in a row, none where it is larger than a request may be, and the bytes that they had.
    pub(crate) fn compress_joined<'a>(
        &mut self,
        parts: impl Iterator<Item = &'a [u8]>,
    ) -> (Option<Bytes>, usize) {
        let mut joined = std::mem::take(&mut self.joined);
        joined.clear();
        parts.for_each(|part| joined.extend_from_slice(part));
        let body = self.compress(&joined);
        let bytes = joined.len();
        self.joined = joined;
        (body, bytes)
    }

    /// The body; none where it is larger than a request may be.
    pub(crate) fn compress(&mut self, raw: &[u8]) -> Option<Bytes> {
        let bound = zstd::zstd_safe::compress_bound(raw.len());
        self.output.clear();
        self.output.reserve_exact(bound.min(MAX_WIRE_BYTES));
        match self.context.compress_to_buffer(raw, &mut self.output) {
            Ok(bytes) if bytes <= MAX_WIRE_BYTES => Some(Bytes::copy_from_slice(&self.output)),
            Ok(_) => None,
            Err(_) if bound > MAX_WIRE_BYTES => None,
            // Only a lack of memory is left, which ends a Rust program anyway.
            Err(error) => panic!("zstd failed with room for the worst case: {error}"),
        }
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these; what a panic left would still be whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Compressors, and buffers to gather rows in, for any number of shards; how hard they compress follows from how busy they keep
/// the processors. It keeps as many of each as there are processors;
/// more are made where more are asked for at once, and dropped when they come back.
#[derive(Debug)]
pub struct Compressors {
    effort: Effort,
    keep: usize,
    idle: Mutex<Vec<Compressor>>,
    buffers: Mutex<Vec<Vec<u8>>>,
}

impl Compressors {
    /// None yet, for the processors that this process may use.
    #[must_use]
    pub fn new() -> Self {
        let keep = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            effort: Effort::of(u32::try_from(keep).unwrap_or(u32::MAX)),
            keep,
            idle: Mutex::default(),
            buffers: Mutex::default(),
        }
    }

    /// An empty buffer.
    #[must_use]
    pub fn buffer(&self) -> Vec<u8> {
        locked(&self.buffers).pop().unwrap_or_default()
    }

    /// Takes an empty buffer for the next who asks.
    pub fn keep_buffer(&self, buffer: Vec<u8>) {
        let mut buffers = locked(&self.buffers);
        if buffers.len() < self.keep {
            buffers.push(buffer);
        }
    }

    /// A compressor, until it is dropped.
    #[must_use]
    pub fn lend(&self) -> Lent<'_> {
        let (idle, level) = (locked(&self.idle).pop(), self.effort.level());
        let compressor = idle.map_or_else(|| Compressor::new(level), |idle| idle.at(level));
        Lent {
            home: self,
            compressor: Some(compressor),
        }
    }

    /// Takes in how long a batch took to compress, and that it is done now.
    pub fn spent(&self, took: Duration, now: Instant) {
        self.effort.spent(took, now);
    }
}

impl Default for Compressors {
    fn default() -> Self {
        Self::new()
    }
}

/// A compressor that goes back when dropped.
#[derive(Debug)]
pub struct Lent<'a> {
    home: &'a Compressors,
    compressor: Option<Compressor>,
}

impl Deref for Lent<'_> {
    type Target = Compressor;

    fn deref(&self) -> &Compressor {
        self.compressor.as_ref().expect("it is there until the drop")
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut Compressor {
        self.compressor.as_mut().expect("it is there until the drop")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut idle = locked(&self.home.idle);
        if idle.len() < self.home.keep {
            idle.extend(self.compressor.take());
        }
    }
}
