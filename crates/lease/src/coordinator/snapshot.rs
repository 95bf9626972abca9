//! All rows of a stream as one read showed them.

use std::collections::HashMap;

use frazil_model::{Instant, ShardId, WorkerId};

use crate::error::Error;
use crate::row::{Item, Row, ShardRow, WorkerRow, decode, key_of};
use crate::state::{ShardState, StreamIdentity};
use crate::update::Memory;

/// Something that moves while its owner lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Life {
    /// A worker of Frazil's: its beat.
    Worker(WorkerId),
    /// A node of another program, by its range key: its heartbeat.
    ForeignNode(String),
    /// Another program's lease of a shard: owner and expiry.
    ForeignLease(ShardId),
}

#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// When the read began.
    pub(super) began: Instant,
    pub(super) shards: HashMap<ShardId, ShardRow>,
    pub(super) damaged: HashMap<ShardId, Error>,
    pub(super) workers: Vec<WorkerRow>,
    /// Range keys of worker rows that nobody uses.
    pub(super) free_workers: Vec<String>,
    /// Heartbeats of other programs' nodes.
    pub(super) foreign_nodes: Vec<(String, String)>,
}

impl Snapshot {
    /// Reads rows. A damaged row of no shard is passed over: it can only make a worker look silent.
    pub(super) fn of(items: &[Item], began: Instant) -> Self {
        let mut this = Self {
            began,
            ..Self::default()
        };
        for item in items {
            match decode(item) {
                Ok(Row::Shard(row)) => drop(this.shards.insert(row.state.shard.clone(), *row)),
                Ok(Row::Worker(row)) => this.workers.push(row),
                Ok(Row::FreeWorker(key)) => this.free_workers.push(key),
                Ok(Row::ForeignNode { key, heartbeat }) => this.foreign_nodes.push((key, heartbeat)),
                Ok(Row::Pin(_) | Row::Other) => {}
                Err(error) => {
                    if let Ok(shard) = ShardId::new(key_of(item)) {
                        this.damaged.insert(shard, error);
                    }
                }
            }
        }
        this
    }
}

/// What a row's memory is worth to this stream.
pub(super) fn memory_of(state: &ShardState, stream: &StreamIdentity) -> Result<Memory, Error> {
    match &state.stream {
        Some(found) if found == stream => {}
        Some(found) if found.arn == stream.arn && found.created_ms < stream.created_ms => {
            return Ok(Memory::Forget);
        }
        Some(found) => {
            return Err(Error::OtherStream {
                row: state.shard.to_string(),
                found: found.to_string(),
                expected: stream.to_string(),
            });
        }
        None => {}
    }
    Ok(if state.foreign_moved {
        Memory::Adopt
    } else {
        Memory::Keep
    })
}

/// The state as it holds for this stream: what is remembered of one that was deleted since is left out.
pub(super) fn believed(state: ShardState, stream: &StreamIdentity) -> Result<ShardState, Error> {
    Ok(match memory_of(&state, stream)? {
        Memory::Keep | Memory::Adopt => state,
        Memory::Forget => ShardState {
            generation: state.generation,
            epoch: state.epoch,
            owner: state.owner,
            foreign_owner: state.foreign_owner,
            destination: state.destination,
            ..ShardState::unknown(state.shard)
        },
    })
}
