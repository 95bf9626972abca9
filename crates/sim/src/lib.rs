//! The storm outside, for tests: the real connector between a Kinesis, a lease table and a Snowpipe that misbehave.
//!
//! How it works: everything outside is a fake in memory, time is a clock that the storm moves, and every choice comes from
//! one seed. A storm puts records (plain, compressed, aggregates), splits and merges shards, commits and loses, fails calls,
//! kills workers (drops them where they stand) and starts new ones, which poll or read by enhanced fan-out. In the end the stream is carried to its end in calm, and the judge counts.
//!
//! What it checks: each user record is in the table once (I1, I2), the records of a key in the order they were put, across splits
//! and merges (I5, which holds only with I6). What it does not: it has no sockets and no disk; the scripts `crash` and
//! `workers` have.

mod letters;
mod payload;
mod storm;

pub use letters::Letters;
pub use storm::{Storm, Verdict, Weather};
