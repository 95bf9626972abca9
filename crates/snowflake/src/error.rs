//! What can go wrong with Snowflake, as situations.

use std::time::Duration;

use frazil_model::{ErrorKind, PositionError};

use crate::situation::Situation;

/// A situation with Snowflake.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No answer, and the call had no effect that matters: connection refused, name not found, time-out before sending.
    #[error(
        "Snowflake cannot be reached at {url}: {detail}; check the address, the network policy and the proxy"
    )]
    Unreachable {
        /// The address.
        url: String,
        /// What the connection said.
        detail: String,
    },
    /// The service had a fault of its own (5xx, 408).
    #[error("Snowflake answered {status} to {call}: {message}")]
    ServerFault {
        /// The call.
        call: &'static str,
        /// HTTP status.
        status: u16,
        /// The service's words.
        message: String,
    },
    /// Too many requests (429).
    #[error("Snowflake asks for fewer requests ({call}): {message}")]
    Throttled {
        /// The call.
        call: &'static str,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
        /// The service's words.
        message: String,
    },
    /// Credentials or their rights are refused (401, 403, 390144, 390303).
    #[error("Snowflake refuses user {user} ({call}: {code} {message}); check {check}, and the user's role")]
    Unauthorized {
        /// The call.
        call: &'static str,
        /// The user.
        user: String,
        /// The service's code.
        code: String,
        /// The service's words.
        message: String,
        /// What to look at first.
        check: &'static str,
    },
    /// The token endpoint gives no access token for these credentials.
    #[error("the token endpoint {url} gives user {user} no access token: {code} {message}; check {check}")]
    NoAccessToken {
        /// The endpoint.
        url: String,
        /// The user.
        user: String,
        /// Its code (RFC 6749, section 5.2).
        code: String,
        /// Its words.
        message: String,
        /// What to look at first.
        check: &'static str,
    },
    /// Another client opened the channel, or the service forgot our place in it.
    #[error("channel {channel} was opened by somebody else, or has lost our place: {message}")]
    StaleContinuation {
        /// The channel.
        channel: String,
        /// The service's words.
        message: String,
    },
    /// Somebody else opened the channel: its sequencer moved between two appends of ours that were both answered.
    #[error("channel {channel} was opened by another writer")]
    AnotherWriter {
        /// The channel.
        channel: String,
    },
    /// The channel must be opened again before anything else.
    #[error("channel {channel} must be opened again: {code} ({}) {message}", Situation::of(.code))]
    MustReopen {
        /// The channel.
        channel: String,
        /// The service's code.
        code: String,
        /// The service's words.
        message: String,
    },
    /// Accepted rows are not committed yet, and the call wanted none.
    #[error("channel {channel} has accepted rows that are not committed yet")]
    UncommittedRows {
        /// The channel.
        channel: String,
    },
    /// Two opens at the same time.
    #[error("channel {channel} is being opened by somebody else")]
    OpenInProgress {
        /// The channel.
        channel: String,
    },
    /// Database, schema, table or pipe.
    #[error(
        "{call}: {code} {message}; check the names (as Snowflake stores them: upper case where they were made without \
         quotes) and that the role has USAGE on database and schema and OWNERSHIP or INSERT on the table"
    )]
    Missing {
        /// The call.
        call: &'static str,
        /// The service's code.
        code: String,
        /// The service's words.
        message: String,
    },
    /// A request the service does not take; sending it again changes nothing.
    #[error("Snowflake refuses {call} with {status}: {code} {message}")]
    Refused {
        /// The call.
        call: &'static str,
        /// HTTP status.
        status: u16,
        /// The service's code.
        code: String,
        /// The service's words.
        message: String,
    },
    /// A SQL statement failed.
    #[error("SQL failed: {code} {message}")]
    Sql {
        /// The service's code.
        code: String,
        /// The service's words.
        message: String,
    },
    /// An answer that cannot be read.
    #[error("Snowflake answered {call} with what cannot be read: {detail}")]
    BadAnswer {
        /// The call.
        call: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The channel carries an offset token that Frazil did not write.
    #[error(
        "channel {channel}: {source}; another program writes to this channel, and Frazil will not guess its meaning. \
         Stop it and drop the channel with it (or run `CREATE OR REPLACE PIPE`): the shard then goes on behind what was committed"
    )]
    ForeignToken {
        /// The channel.
        channel: String,
        /// What is wrong with it.
        source: PositionError,
    },
    /// The private key cannot be used.
    #[error("the private key of user {user} cannot be used: {detail}")]
    BadKey {
        /// The user.
        user: String,
        /// What is wrong with it, without its text.
        detail: String,
    },
    /// The file of a secret has no end, or nothing in it: somebody may be writing it.
    #[error(
        "the {what} of user {user} is not whole: {detail}; if nobody is writing it right now, write it anew"
    )]
    UnfinishedSecret {
        /// Which one.
        what: &'static str,
        /// The user.
        user: String,
        /// Where it is, and what is missing.
        detail: String,
    },
    /// A secret that proves who the user is cannot be used.
    #[error("the {what} of user {user} cannot be used: {detail}")]
    BadSecret {
        /// Which one.
        what: &'static str,
        /// The user.
        user: String,
        /// What is wrong with it, without its text.
        detail: String,
    },
    /// The configuration cannot be used.
    #[error("{0}")]
    BadConfig(String),
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable { .. }
            | Self::ServerFault { .. }
            | Self::MustReopen { .. }
            | Self::UncommittedRows { .. }
            | Self::OpenInProgress { .. }
            | Self::UnfinishedSecret { .. }
            | Self::BadAnswer { .. } => ErrorKind::Retry,
            Self::Throttled { .. } => ErrorKind::SlowDown,
            Self::Unauthorized { .. } | Self::NoAccessToken { .. } => ErrorKind::ReAuthenticate,
            Self::StaleContinuation { .. } | Self::AnotherWriter { .. } => ErrorKind::Fenced,
            Self::Missing { .. }
            | Self::Refused { .. }
            | Self::Sql { .. }
            | Self::BadKey { .. }
            | Self::BadSecret { .. }
            | Self::BadConfig(_) => ErrorKind::Invalid,
            Self::ForeignToken { .. } => ErrorKind::Corrupt,
        }
    }

    /// Whether the same request, sent again as it is, may be answered differently.
    pub(crate) fn is_worth_sending_again(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::ServerFault { .. } | Self::Throttled { .. }
        )
    }
}
