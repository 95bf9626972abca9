//! What a caller should do about an error.
//!
//! Every crate has one error enum whose variants are situations of the trade. Each situation answers `kind()` with one
//! of these, and retrying, metrics, exit codes and the console look at nothing else.

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// May pass by itself: try again with back-off.
    Retry,
    /// The service asks for less: slow down first, then try again.
    SlowDown,
    /// The credentials are not (or no longer) taken: renew them once, then tell the user.
    ReAuthenticate,
    /// Another owner is ahead: let go quietly, never try again.
    Fenced,
    /// Configuration or data: tell the user, do not try again by itself.
    Invalid,
    /// A fact contradicts an invariant: stop this shard, loudly.
    Corrupt,
    /// A fault of this program.
    Internal,
}

impl ErrorKind {
    /// The kind as it stands in metrics and in the console.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::SlowDown => "slow_down",
            Self::ReAuthenticate => "re_authenticate",
            Self::Fenced => "fenced",
            Self::Invalid => "invalid",
            Self::Corrupt => "corrupt",
            Self::Internal => "internal",
        }
    }

    /// Whether the same call may succeed later without anybody doing anything.
    #[must_use]
    pub fn may_heal(self) -> bool {
        matches!(self, Self::Retry | Self::SlowDown)
    }
}
