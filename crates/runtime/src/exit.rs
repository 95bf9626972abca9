//! How the process ends, as a number that a script can look at.
//!
//! `docs/exit-codes.md` describes each; a test compares both. Numbers are frozen: they are added, never changed.

use std::process::{ExitCode, Termination};

use frazil_model::ErrorKind;

/// Why the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done.
    Done = 0,
    /// It was not, and no other code fits.
    Failed = 1,
    /// The command line or the configuration cannot be used.
    Usage = 2,
    /// A service does not take the credentials, or they lack a right.
    Unauthorized = 3,
    /// A stream, table, pipe, schema or database is not there.
    Missing = 4,
    /// Another program writes where only one may write.
    AnotherWriter = 5,
    /// A service cannot be reached, or throttles.
    Unreachable = 6,
    /// A fact contradicts what always has to hold; nothing was written after it was seen.
    Corrupt = 7,
    /// A fault of this program.
    Internal = 70,
    /// A second signal ended the process before it had drained.
    Interrupted = 130,
}

/// Every exit, in the order of the numbers.
pub const EXITS: [Exit; 10] = [
    Exit::Done,
    Exit::Failed,
    Exit::Usage,
    Exit::Unauthorized,
    Exit::Missing,
    Exit::AnotherWriter,
    Exit::Unreachable,
    Exit::Corrupt,
    Exit::Internal,
    Exit::Interrupted,
];

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The name, as the page has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Unauthorized => "unauthorized",
            Self::Missing => "missing",
            Self::AnotherWriter => "another writer",
            Self::Unreachable => "unreachable",
            Self::Corrupt => "corrupt",
            Self::Internal => "internal",
            Self::Interrupted => "interrupted",
        }
    }

    /// The exit of an error of which no more is known than its kind.
    #[must_use]
    pub fn of_kind(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Retry | ErrorKind::SlowDown => Self::Unreachable,
            ErrorKind::ReAuthenticate => Self::Unauthorized,
            ErrorKind::Fenced => Self::AnotherWriter,
            ErrorKind::Invalid => Self::Failed,
            ErrorKind::Corrupt => Self::Corrupt,
            ErrorKind::Internal => Self::Internal,
        }
    }

    /// Ends the process now, without dropping anything.
    pub fn now(self) -> ! {
        std::process::exit(i32::from(self.code()))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_describes_every_exit_and_no_other() {
        let page = include_str!("../../../docs/exit-codes.md");
        let on_page: Vec<(u8, &str)> = page
            .lines()
            .filter_map(|line| {
                let mut cells = line.strip_prefix("| ")?.split(" | ");
                Some((cells.next()?.parse().ok()?, cells.next()?))
            })
            .collect();
        let in_code: Vec<(u8, &str)> = EXITS.iter().map(|exit| (exit.code(), exit.as_str())).collect();
        assert_eq!(on_page, in_code);
    }

    #[test]
    fn a_kind_that_may_heal_is_unreachable() {
        for kind in [ErrorKind::Retry, ErrorKind::SlowDown] {
            assert!(kind.may_heal());
            assert_eq!(Exit::of_kind(kind), Exit::Unreachable);
        }
        assert_eq!(Exit::of_kind(ErrorKind::Fenced).code(), 5);
        assert_eq!(Exit::of_kind(ErrorKind::Internal).code(), 70);
    }
}
