//! Faults of a commit: what was accepted and is silently never committed.
//!
//! | fault | what a client sees |
//! |---|---|
//! | `lose_accepted` | the channel's token stands still until it is opened again, and nothing tells why |
//! | `lose_rows` | the token passes the rows, and neither counter counts them |

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::faults::{Faults, Service};
use crate::snowflake::log::Batch;

const COMMIT: &str = "commit";

/// What is lost, as the rules of the faults file want it.
#[derive(Debug)]
pub(crate) struct Losses {
    faults: Arc<Faults>,
    /// Openings (channel, client sequencer) of which nothing is committed any more.
    silent: Mutex<HashSet<(i64, i64)>>,
}

impl Losses {
    pub(crate) fn new(faults: Arc<Faults>) -> Self {
        Self {
            faults,
            silent: Mutex::default(),
        }
    }

    /// Takes out what is never to be committed.
    pub(super) fn lose_accepted(&self, batches: &mut Vec<Arc<Batch>>) {
        const FAULT: &str = "lose_accepted";
        if batches.is_empty() || !self.faults.has(Service::Snowflake, FAULT) {
            return;
        }
        let opening = |batch: &Arc<Batch>| (batch.record.channel_id, batch.record.client_sequencer);
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        if self.faults.hit(Service::Snowflake, COMMIT, FAULT).is_some() {
            tracing::debug!(batches = batches.len(), fault = FAULT, "fault injected");
            silent.extend(batches.iter().map(opening));
        }
        batches.retain(|batch| !silent.contains(&opening(batch)));
    }

    /// Whether the rows of the batch at hand are lost.
    pub(super) fn loses_rows(&self) -> bool {
        const FAULT: &str = "lose_rows";
        let hit = self.faults.hit(Service::Snowflake, COMMIT, FAULT);
        hit.inspect(|_| tracing::debug!(fault = FAULT, "fault injected"))
            .is_some()
    }
}
