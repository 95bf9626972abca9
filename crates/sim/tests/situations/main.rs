//! Situations of a stream, one at a time, through the real connector: what happens, and what a person is told.

mod delivery;
mod each_call;
mod memory;
mod model;
mod openflow;
mod pipes;
mod positions;
mod retention;
mod routes;
mod scale;
mod shard_life;
mod stops;
mod world;
