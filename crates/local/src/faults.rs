//! Faults on request: one file for all three services.
//!
//! ```yaml
//! seed: 7
//! rules:
//!   - service: snowflake        # kinesis, dynamodb or snowflake
//!     operation: append_rows    # an AWS operation name, one of ours, or "*"
//!     fault: lost_answer
//!     probability: 0.05         # of each matching call; 1 if not given
//!     after: 10                 # so many matching calls are spared first
//!     times: 3                  # at most so often; without it for ever
//! ```
//!
//! `kinds` has the table of faults: which service and operation each is for, and what it needs beside them. Whether a rule
//! hits its nth call depends on the seed, the rule and n only. An unknown key, fault or operation is an error.
//!
//! How it works: `armed` counts calls and draws; `layer` stands before each service's router and does what needs nothing
//! of the service but its requests and answers (`answers` words the errors, `lasting` keeps the tokens that stay
//! refused). What needs more is asked for by the service itself with `Faults::hit`.

mod answers;
mod armed;
mod duration;
mod kinds;
mod lasting;
pub(crate) mod layer;

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

pub(crate) use self::armed::Hit;
pub use self::armed::{Faults, Fired};
use crate::{Error, Result};

const FILE_LIMIT: u64 = 1024 * 1024;

/// The faults file as written.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct FaultsFile {
    /// Makes the same choices again.
    #[serde(default)]
    pub seed: u64,
    /// In order; the first that answers a call, or loses its answer, is the last that sees it.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// One rule of the faults file.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Whose calls.
    pub service: Service,
    /// Which of them; `*` = all.
    #[serde(default = "all")]
    pub operation: String,
    /// What happens to them.
    pub fault: String,
    /// From 0 to 1.
    #[serde(default = "always")]
    pub probability: f64,
    /// Matching calls that are spared first.
    #[serde(default)]
    pub after: u64,
    /// How often at most.
    #[serde(default)]
    pub times: Option<u64>,
    /// Such as `200ms`, `5s`, `1m`.
    #[serde(default, deserialize_with = "duration::deserialize")]
    pub delay: Option<Duration>,
    /// HTTP status of an `error`, 400 to 599.
    #[serde(default)]
    pub status: Option<u16>,
    /// Error code of an `error`, or of the entries that a `partial` refuses.
    #[serde(default)]
    pub code: Option<String>,
    /// Bytes of the answer that come before a `cut`.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// How much of a call a `partial` refuses, from 0 to 1; a half if not given.
    #[serde(default)]
    pub share: Option<f64>,
    /// What `Retry-After` says, rounded up to seconds.
    #[serde(default, deserialize_with = "duration::deserialize")]
    pub retry_after: Option<Duration>,
    /// Text of the rows that a `refuse_rows` refuses.
    #[serde(default)]
    pub contains: Option<String>,
    /// Offset token that the other client of a `take_channel` leaves.
    #[serde(default)]
    pub token: Option<String>,
    /// Only calls on this stream, consumer or table.
    #[serde(default)]
    pub resource: Option<String>,
}

/// A service of the local stack.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// The Kinesis stand-in.
    Kinesis,
    /// The DynamoDB stand-in.
    Dynamodb,
    /// The local Snowflake.
    Snowflake,
}

impl std::fmt::Display for Service {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Kinesis => "kinesis",
            Self::Dynamodb => "dynamodb",
            Self::Snowflake => "snowflake",
        })
    }
}

fn all() -> String {
    "*".to_owned()
}

fn always() -> f64 {
    1.0
}

impl FaultsFile {
    /// Parses the YAML text and checks each rule.
    ///
    /// # Errors
    /// [`Error::Faults`] with the place and the reason.
    pub fn parse(text: &str) -> Result<Self> {
        let file: Self = serde_saphyr::from_str(text).map_err(|error| Error::Faults(error.to_string()))?;
        for (index, rule) in file.rules.iter().enumerate() {
            rule.check()
                .map_err(|reason| Error::Faults(format!("rule {}: {reason}", index + 1)))?;
        }
        Ok(file)
    }

    /// Reads and parses a file.
    ///
    /// # Errors
    /// [`Error::Disk`] if it cannot be read, [`Error::Faults`] as [`FaultsFile::parse`].
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = crate::disk::read_small(path, FILE_LIMIT).map_err(Error::disk("read", path))?;
        let text = String::from_utf8(bytes).map_err(|_| Error::Faults("the file is not UTF-8".into()))?;
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests;
