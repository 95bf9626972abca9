//! Why a verb did not do what it was asked, for the user: a text and an exit code.

use frazil_model::ErrorKind;
use frazil_runtime::exit::Exit;

/// A verb's failure.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How the process ends.
    pub(crate) exit: Exit,
    /// What happened, where, and the next step.
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self {
            exit,
            text: text.into(),
        }
    }

    /// No other exit code fits.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::new(Exit::Failed, text)
    }

    /// The exit that fits the kind.
    pub(crate) fn of_kind(kind: ErrorKind, error: &dyn std::error::Error) -> Self {
        Self::new(Exit::of_kind(kind), chain(error))
    }
}

/// An error and what it came from, in one line; a source that the error's own text holds already is left out.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = inner.source();
    }
    text
}

impl From<frazil_runtime::config::ConfigError> for Failure {
    fn from(error: frazil_runtime::config::ConfigError) -> Self {
        Self::new(Exit::Usage, error.to_string())
    }
}
