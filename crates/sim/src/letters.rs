//! Dead letters in memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use frazil_pipeline::dead_letters::{DeadLetter, DeadLetterSink, Error};

/// Keeps letters in memory.
#[derive(Debug, Default)]
pub struct Letters {
    kept: Mutex<Vec<DeadLetter>>,
    refuses: AtomicBool,
}

impl Letters {
    /// Whether it takes no letter from now on, as a full disk.
    pub fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
    }

    /// What it was given, in this order.
    #[must_use]
    pub fn all(&self) -> Vec<DeadLetter> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl DeadLetterSink for Letters {
    async fn keep(&self, letters: &[DeadLetter]) -> Result<(), Error> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(Error::Full {
                folder: "memory".into(),
                bytes: 1,
                max_bytes: 1,
            });
        }
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(letters);
        Ok(())
    }

    fn is_durable(&self) -> bool {
        true
    }
}
