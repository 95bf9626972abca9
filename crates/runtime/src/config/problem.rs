//! What is wrong with a configuration file, and where.
//!
//! A [`ConfigError`] holds every problem found in one reading, not only the first. A problem never repeats a text that
//! came from a variable or stands where a secret belongs.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place in the file: both count from 1; zeros where it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The character within the line.
    pub column: u64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// The key, as `connectors[0].source.stream`; empty for the file as a whole.
    pub key: String,
    /// What is wrong, and the next step.
    pub message: String,
}

/// A configuration that cannot be used. Its text has one line for each problem:
/// `file:line:column: key.path: what is wrong`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    file: PathBuf,
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn new(file: &Path, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place);
        Self {
            file: file.to_owned(),
            problems,
        }
    }

    /// The problems, in the order of the file. There is at least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:", self.file.display())?;
            if problem.place != Place::default() {
                write!(f, "{}:{}:", problem.place.line, problem.place.column)?;
            }
            if !problem.key.is_empty() {
                write!(f, " {}:", problem.key)?;
            }
            write!(f, " {}", problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
