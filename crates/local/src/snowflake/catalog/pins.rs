//! Keeps files that a running query may still open.
//!
//! Each snapshot holds a pin with the number of its making. A file that leaves a table is noted with the number of that
//! moment and is removed when no older pin lives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug, Default)]
struct State {
    next: i64,
    alive: BTreeMap<i64, ()>,
}

/// All pins of a catalog.
#[derive(Debug, Default)]
pub(super) struct Pins {
    state: Mutex<State>,
}

/// Held by a snapshot; see [`super::super::model::TableSnapshot`].
#[derive(Debug)]
pub struct Pin {
    number: i64,
    pins: Arc<Pins>,
}

impl Pins {
    pub(super) fn pin(self: &Arc<Self>) -> Arc<Pin> {
        let number = self.number();
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .alive
            .insert(number, ());
        Arc::new(Pin {
            number,
            pins: Arc::clone(self),
        })
    }

    /// The number of this moment: greater than that of every pin so far. Always above 0.
    pub(super) fn number(&self) -> i64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.next += 1;
        state.next
    }

    /// Whether no pin older than `number` lives.
    pub(super) fn released(&self, number: i64) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state
            .alive
            .first_key_value()
            .is_none_or(|(oldest, ())| *oldest > number)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.pins
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .alive
            .remove(&self.number);
    }
}
