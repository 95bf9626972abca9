//! Names of channels.
//!
//! One channel belongs to one (shard, destination) of one application, for ever: its name is made of everything that must
//! keep two writers apart, and of nothing that changes. A stream that was deleted and made again has another creation time,
//! a `rewind` another generation, so neither meets an old token. The format is frozen by a golden test.

use sha2::{Digest, Sha256};

/// The readable part keeps this many characters of the shard's id and of the stream's name.
const READABLE: usize = 64;

/// What a channel's name is made of.
#[derive(Debug, Clone, Copy)]
pub struct ChannelParts<'a> {
    /// The application's name.
    pub application: &'a str,
    /// The AWS account of the stream, as its ARN has it.
    pub account: &'a str,
    /// The stream's region.
    pub region: &'a str,
    /// The stream's name.
    pub stream: &'a str,
    /// When the stream was created, in milliseconds since 1970 UTC.
    pub stream_created_ms: i64,
    /// The shard's id.
    pub shard: &'a str,
    /// The destination as the configuration names it.
    pub destination: &'a str,
    /// How often the application was rewound.
    pub generation: u64,
}

/// `STREAM_SHARDID_0123456789ABCDEF`: a readable part in upper case and 16 hexadecimal digits of SHA-256 over all parts,
/// each behind its length, so that no two lists of parts make one text.
#[must_use]
pub fn channel_name(parts: &ChannelParts<'_>) -> String {
    let created = parts.stream_created_ms.to_string();
    let generation = parts.generation.to_string();
    let all = [
        parts.application,
        parts.account,
        parts.region,
        parts.stream,
        &created,
        parts.shard,
        parts.destination,
        &generation,
    ];
    let mut hash = Sha256::new();
    for part in all {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digits: String = hash
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02X}"))
        .collect();
    format!("{}_{}_{digits}", readable(parts.stream), readable(parts.shard))
}

fn readable(text: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    text.chars().take(READABLE).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: ChannelParts<'static> = ChannelParts {
        application: "clickstream",
        account: "123456789012",
        region: "eu-central-1",
        stream: "clicks.prod",
        stream_created_ms: 1_700_000_000_000,
        shard: "shardId-000000000001",
        destination: "MYORG-MYACCOUNT.KINESIS_DB.KINESIS_SCHEMA.CLICKS-STREAMING",
        generation: 0,
    };

    /// Frozen: these names stand in users' accounts.
    #[test]
    fn names_golden() {
        assert_eq!(
            channel_name(&PARTS),
            "CLICKS_PROD_SHARDID_000000000001_EA79617ADB18E8E1"
        );
    }

    #[test]
    fn each_part_makes_another_name() {
        let others = [
            ChannelParts {
                application: "clickstrea",
                ..PARTS
            },
            ChannelParts {
                application: "clickstream1",
                account: "23456789012",
                ..PARTS
            },
            ChannelParts {
                region: "eu-central-2",
                ..PARTS
            },
            ChannelParts {
                stream: "clicks-prod",
                ..PARTS
            },
            ChannelParts {
                stream_created_ms: 1_700_000_000_001,
                ..PARTS
            },
            ChannelParts {
                shard: "shardId-000000000002",
                ..PARTS
            },
            ChannelParts {
                destination: "X",
                ..PARTS
            },
            ChannelParts {
                generation: 1,
                ..PARTS
            },
        ];
        let mut names: Vec<String> = others.iter().map(channel_name).collect();
        names.push(channel_name(&PARTS));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), others.len() + 1);
    }
}
