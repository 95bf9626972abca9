//! Names of things: streams, shards and workers.
//!
//! Each is a checked, cheaply cloned text. The limits are those of the Kinesis API reference (data types `StreamName`,
//! `ShardId`: 1 to 128 characters of `[a-zA-Z0-9_.-]`); a worker's id is ours.

use std::fmt;
use std::sync::Arc;

use crate::random::Random;

/// A name that is empty, too long, or has a character the service does not allow.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("{what} must be 1 to 128 characters of a-z, A-Z, 0-9, '_', '.', '-', and is {found:?}")]
pub struct InvalidName {
    what: &'static str,
    found: String,
}

fn check(what: &'static str, text: &str) -> Result<(), InvalidName> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if (1..=128).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(());
    }
    let found = text.chars().take(140).collect();
    Err(InvalidName { what, found })
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks the text and takes it over.
            ///
            /// # Errors
            /// [`InvalidName`] where the text breaks the service's rule for names.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidName> {
                check($what, text.as_ref())?;
                Ok(Self(Arc::from(text.as_ref())))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// The name of a Kinesis data stream.
    StreamName,
    "a stream name"
);
name!(
    /// The id of a shard, such as `shardId-000000000001`.
    ShardId,
    "a shard id"
);
name!(
    /// One start of one process: 128 random bits, drawn anew at each start, so that a worker never mistakes what an
    /// earlier start wrote for its own.
    WorkerId,
    "a worker id"
);

impl WorkerId {
    /// Draws a new id: 32 hexadecimal digits.
    pub fn random(random: &dyn Random) -> Self {
        let text = format!("{:016x}{:016x}", random.next_u64(), random.next_u64());
        Self(Arc::from(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn names_outside_the_rule_are_refused() {
        for bad in ["", "a b", "a/b", "ä", &"x".repeat(129)] {
            assert!(StreamName::new(bad).is_err(), "{bad:?} passed");
        }
        for good in ["a", "clicks.prod_1-x", &"x".repeat(128)] {
            assert_eq!(ShardId::new(good).expect("valid").as_str(), good);
        }
    }

    #[test]
    fn two_starts_draw_two_worker_ids() {
        let random = SeededRandom::new(1);
        let (one, two) = (WorkerId::random(&random), WorkerId::random(&random));
        assert_ne!(one, two);
        assert_eq!(one.as_str().len(), 32);
    }
}
