//! What can go wrong with Kinesis, as situations.

use frazil_model::{ErrorKind, PositionError};

/// The code of [`Error::BadCredentials`] where there were no keys to sign with, and so nothing was refused.
pub(crate) const NO_KEYS: &str = "none";

/// A situation with Kinesis.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer.
    #[error("Kinesis cannot be reached ({call}): {detail}; check region, endpoint, network and proxy")]
    Unreachable {
        /// The call.
        call: &'static str,
        /// What the connection said.
        detail: String,
    },
    /// A fault of the service.
    #[error("Kinesis had a fault of its own ({call}): {code} {message}")]
    ServerFault {
        /// The call.
        call: &'static str,
        /// The service's code.
        code: String,
        /// The service's words.
        message: String,
    },
    /// The shard's or the account's limit is used up, perhaps by other readers.
    #[error("Kinesis throttles {call}: {message}")]
    Throttled {
        /// The call.
        call: &'static str,
        /// The service's words.
        message: String,
    },
    /// An iterator lives 5 minutes.
    #[error("the shard iterator has expired")]
    ExpiredIterator,
    /// The token of a list's next page lives 300 s (Kinesis API reference, `ListShards`): the list begins anew.
    #[error("the pages of {call} came so slowly that the next one has expired")]
    ExpiredPages {
        /// The call.
        call: &'static str,
    },
    /// Stream or shard is not there.
    #[error("{call}: {message}; check the stream's name and region")]
    Missing {
        /// The call.
        call: &'static str,
        /// The service's words.
        message: String,
    },
    /// What the call is about is being changed, or another call holds it: the same call works in a moment.
    #[error("Kinesis is busy with that ({call}): {message}")]
    InUse {
        /// The call.
        call: &'static str,
        /// The service's words.
        message: String,
    },
    /// The stream takes no more consumers of enhanced fan-out (Kinesis API reference, `RegisterStreamConsumer`).
    #[error(
        "the stream takes no further consumer of enhanced fan-out, and {name:?} is not registered: {message}; a stream has at \
         most 20 consumers (50 in the on-demand advantage mode), of which 5 at a time are being made. Deregister one that is \
         not used any more, ask AWS for a higher limit, or set `consumer_type: SHARED_THROUGHPUT`"
    )]
    TooManyConsumers {
        /// The consumer that was to be registered.
        name: String,
        /// The service's words.
        message: String,
    },
    /// A consumer of enhanced fan-out that does not get ready.
    #[error(
        "consumer {name:?} of the stream is still {status} after {waited_s} s; look at it with `aws kinesis \
         describe-stream-consumer`"
    )]
    ConsumerNotReady {
        /// The consumer.
        name: String,
        /// What it is doing.
        status: &'static str,
        /// How long was waited for it, in seconds.
        waited_s: u64,
    },
    /// The credentials are not taken.
    #[error(
        "AWS does not take the credentials ({call}): {code} {message}; check the access key, or the profile or role they come from"
    )]
    BadCredentials {
        /// The call.
        call: &'static str,
        /// The service's code.
        code: String,
        /// The service's words.
        message: String,
    },
    /// A right is missing.
    #[error(
        "AWS refuses {call}: {message}; the policy of these credentials lacks kinesis:{call} on this stream"
    )]
    AccessDenied {
        /// The call, as IAM names the action.
        call: &'static str,
        /// The service's words.
        message: String,
    },
    /// The stream's records are encrypted with a key that these credentials may not use.
    #[error(
        "AWS refuses {call}: {message}; the stream is encrypted, and these credentials lack kms:Decrypt on its key"
    )]
    KeyDenied {
        /// The call.
        call: &'static str,
        /// The service's words.
        message: String,
    },
    /// The service does not take a request; sending it again changes nothing.
    #[error("Kinesis refuses {call}: {code} {message}")]
    Refused {
        /// The call.
        call: &'static str,
        /// The service's code.
        code: String,
        /// The service's words.
        message: String,
    },
    /// An answer that cannot be read.
    #[error("Kinesis answered {call} with what cannot be read: {detail}")]
    BadAnswer {
        /// The call.
        call: &'static str,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// A number of the answer is no sequence number.
    #[error("Kinesis answered with a sequence number that is none: {0}")]
    BadSequence(#[from] PositionError),
    /// An answer longer than was asked for.
    #[error("an answer of {bytes} bytes is more than the program takes")]
    PageTooLarge {
        /// Its bytes.
        bytes: usize,
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
            | Self::ExpiredIterator
            | Self::ExpiredPages { .. }
            | Self::InUse { .. }
            | Self::ConsumerNotReady { .. }
            | Self::BadAnswer { .. } => ErrorKind::Retry,
            Self::Throttled { .. } => ErrorKind::SlowDown,
            Self::BadCredentials { .. } => ErrorKind::ReAuthenticate,
            Self::Missing { .. }
            | Self::TooManyConsumers { .. }
            | Self::AccessDenied { .. }
            | Self::KeyDenied { .. }
            | Self::Refused { .. }
            | Self::PageTooLarge { .. }
            | Self::BadConfig(_) => ErrorKind::Invalid,
            Self::BadSequence(_) => ErrorKind::Corrupt,
        }
    }

    /// The situation behind an error code of the service (Kinesis API reference, "Common errors" and `GetRecords`).
    pub(crate) fn of_code(call: &'static str, code: &str, message: String) -> Self {
        let name = code
            .rsplit('#')
            .next()
            .unwrap_or(code)
            .split(':')
            .next()
            .unwrap_or(code);
        let code = name.to_owned();
        match name {
            "ProvisionedThroughputExceededException"
            | "LimitExceededException"
            | "KMSThrottlingException"
            | "ThrottlingException"
            | "Throttling"
            | "RequestLimitExceeded" => Self::Throttled { call, message },
            "ExpiredIteratorException" => Self::ExpiredIterator,
            "ExpiredNextTokenException" => Self::ExpiredPages { call },
            "ResourceNotFoundException" => Self::Missing { call, message },
            "ResourceInUseException" => Self::InUse { call, message },
            "AccessDeniedException" => Self::AccessDenied { call, message },
            "KMSAccessDeniedException" => Self::KeyDenied { call, message },
            "ExpiredTokenException"
            | "ExpiredToken"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "NotAuthorized" => Self::BadCredentials { call, code, message },
            "InternalFailure"
            | "InternalFailureException"
            | "InternalServerError"
            | "ServiceUnavailable"
            | "" => Self::ServerFault { call, code, message },
            _ => Self::Refused { call, code, message },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_kind() {
        let cases = [
            ("ProvisionedThroughputExceededException", ErrorKind::SlowDown),
            (
                "com.amazonaws.kinesis.v20131202#ExpiredIteratorException",
                ErrorKind::Retry,
            ),
            (
                "ResourceNotFoundException:http://internal.amazon.com/",
                ErrorKind::Invalid,
            ),
            ("AccessDeniedException", ErrorKind::Invalid),
            ("KMSAccessDeniedException", ErrorKind::Invalid),
            ("ResourceInUseException", ErrorKind::Retry),
            ("ExpiredTokenException", ErrorKind::ReAuthenticate),
            ("InternalFailure", ErrorKind::Retry),
            ("", ErrorKind::Retry),
            ("InvalidArgumentException", ErrorKind::Invalid),
        ];
        for (code, kind) in cases {
            assert_eq!(
                Error::of_code("GetRecords", code, String::new()).kind(),
                kind,
                "{code}"
            );
        }
    }
}
