//! Dead letters in memory.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use frazil_pipeline::dead_letters::{DeadLetter, DeadLetterSink, Error};

/// Keeps letters in memory.
#[derive(Debug, Default)]
pub struct Letters(Mutex<Vec<DeadLetter>>);

impl Letters {
    /// What it was given, in this order.
    #[must_use]
    pub fn all(&self) -> Vec<DeadLetter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl DeadLetterSink for Letters {
    async fn keep(&self, letters: &[DeadLetter]) -> Result<(), Error> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(letters);
        Ok(())
    }

    fn is_durable(&self) -> bool {
        true
    }
}
