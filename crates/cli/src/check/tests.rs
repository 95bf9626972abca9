//! Broken set-ups against the local stack. Each is named by exactly the right findings, and its own repairs, applied as they are
//! printed, leave none; no check changes anything.

mod aws;
mod bench;
mod snowflake;

/// The fewest broken set-ups that are tried; a list that shrinks is noticed.
const FEWEST: usize = 20;
