//! The words every part of Frazil uses.
//!
//! What it is: the vocabulary that reading, owning, writing and the way between them share: names of streams, shards
//! and workers ([`ids`]), positions in a shard and their text as a Snowpipe offset token ([`position`]), what a caller
//! should do about an error ([`error`]), the doors to time and chance ([`clock`], [`random`]), keys that are renewed
//! ([`keys`]), the one retry policy ([`retry`]), what is worth telling ([`event`]) and what must never be told ([`secret`]).
//!
//! What it guarantees: the text forms here live in users' accounts for ever; golden tests hold them. Everything that
//! reads a clock or draws a random number does so through [`Clock`] and [`Random`], so a test can replay it.
//!
//! What it does not: no network, no files.

pub mod clock;
pub mod error;
pub mod event;
pub mod ids;
pub mod keys;
pub mod position;
pub mod random;
pub mod retry;
pub mod secret;

pub use clock::{Clock, Instant, PausedClock, SystemClock};
pub use error::ErrorKind;
pub use event::{Event, Events, StallReason};
pub use ids::{ShardId, StreamName, WorkerId};
pub use keys::Keys;
pub use position::{OffsetToken, Position, PositionError, SequenceNumber};
pub use random::{Random, SeededRandom, SystemRandom};
pub use retry::{Backoff, RetryPolicy};
pub use secret::Secret;
