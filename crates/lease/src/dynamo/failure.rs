//! DynamoDB's errors as situations of the lease table.

use std::error::Error as StdError;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::error::Error;

/// Errors are told in at most this many characters.
const MAX_DETAIL: usize = 400;

/// Which call failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    /// The action, as an IAM policy names it.
    pub(super) action: &'static str,
    pub(super) table: &'a str,
}

/// The service's error code, where it answered with one.
pub(super) fn code_of<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// The error and its causes in one line.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text.chars().take(MAX_DETAIL).collect()
}

/// What the service said, without what it may have echoed.
fn said<E: ProvideErrorMetadata>(error: &E) -> String {
    let text = format!(
        "{}: {}",
        error.code().unwrap_or("no code"),
        error.message().unwrap_or("no message")
    );
    text.chars().take(MAX_DETAIL).collect()
}

pub(super) fn to_error<E, R>(call: Call<'_>, error: &SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + StdError + 'static,
    R: std::fmt::Debug + 'static,
{
    let action = call.action;
    let SdkError::ServiceError(service) = error else {
        let detail = chain(error);
        return match error {
            // Credentials are fetched while the request is made; a request of ours is complete otherwise.
            SdkError::ConstructionFailure(_) => Error::Unauthorized { call: action, detail },
            _ if detail.contains("credentials provider") || detail.contains("loading credentials") => {
                Error::Unauthorized { call: action, detail }
            }
            _ => Error::Unreachable { call: action, detail },
        };
    };
    by_code(call, service.err().code().unwrap_or(""), said(service.err()))
}

/// Codes of the DynamoDB developer guide, "Error handling with DynamoDB".
fn by_code(call: Call<'_>, code: &str, detail: String) -> Error {
    let action = call.action;
    let table = call.table.to_owned();
    match code {
        "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "ThrottlingException"
        | "Throttling"
        | "LimitExceededException"
        | "TransactionConflictException"
        | "TransactionInProgressException" => Error::Throttled { call: action, detail },
        "AccessDeniedException" => Error::AccessDenied {
            call: action,
            table,
            detail,
        },
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException"
        | "MissingAuthenticationToken"
        | "InvalidClientTokenId"
        | "ExpiredTokenException"
        | "ExpiredToken" => Error::Unauthorized { call: action, detail },
        "ResourceNotFoundException" => Error::TableMissing { table },
        "ValidationException" | "SerializationException" => Error::Rejected { call: action, detail },
        // InternalServerError, ServiceUnavailable, ReplicatedWriteConflict, a proxy's own words: what took effect is not known.
        _ => Error::Unreachable { call: action, detail },
    }
}

#[cfg(test)]
mod tests {
    use frazil_model::ErrorKind;

    use super::*;

    #[test]
    fn each_code_has_its_kind() {
        let call = Call {
            action: "UpdateItem",
            table: "app",
        };
        for (code, kind) in [
            ("ThrottlingException", ErrorKind::SlowDown),
            ("ProvisionedThroughputExceededException", ErrorKind::SlowDown),
            ("AccessDeniedException", ErrorKind::Invalid),
            ("ResourceNotFoundException", ErrorKind::Invalid),
            ("ExpiredTokenException", ErrorKind::ReAuthenticate),
            ("ValidationException", ErrorKind::Internal),
            ("InternalServerError", ErrorKind::Retry),
            ("", ErrorKind::Retry),
        ] {
            assert_eq!(by_code(call, code, String::new()).kind(), kind, "{code}");
        }
        let denied = by_code(call, "AccessDeniedException", "no".to_owned()).to_string();
        assert!(denied.contains("dynamodb:UpdateItem on table app"), "{denied}");
    }
}
