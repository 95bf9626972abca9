//! What the service's codes say of a channel, as named situations.
//!
//! A code comes with a refusal or as the channel's status; it means the same in both places. Sources: docs.snowflake.com, "Snowpipe
//! Streaming: error handling" and "REST API reference". A code that is not known is [`Situation::Other`], and met as every
//! situation of a channel is: by opening it again.

use std::fmt;

/// Why a channel commits nothing more until it is opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Situation {
    /// Another client opened it: its client sequencer moved.
    TakenByAnother,
    /// Rows were missed between two appends: its row sequencer does not fit.
    Gap,
    /// The service gave it up; a row that it cannot commit is one reason.
    GivenUp,
    /// It is not there: dropped, removed after 30 idle days, or gone with its pipe.
    Missing,
    /// It is there, and is another one of the same name.
    MadeAnew,
    /// Its pipe is not there, or the role may not see it.
    PipeMissing,
    /// Its table is not there, or the role may not see it.
    TableMissing,
    /// Its pipe was dropped lately, or has moved to another host.
    PipeMoved,
    /// A code that is not known.
    Other,
}

/// In place of a code, where a channel has another age than the one that was opened.
pub(crate) const MADE_ANEW: &str = "the channel was made anew";

impl Situation {
    /// What a code says.
    #[must_use]
    pub fn of(code: &str) -> Self {
        let begins = |word: &str| code.starts_with(word);
        match code {
            MADE_ANEW => Self::MadeAnew,
            "STALE_CONTINUATION_TOKEN_SEQUENCER" | "ERR_CHANNEL_HAS_INVALID_CLIENT_SEQUENCER" => {
                Self::TakenByAnother
            }
            "ERR_CHANNEL_HAS_INVALID_ROW_SEQUENCER" => Self::Gap,
            "STALE_PIPE_CACHE" | "PIPE_FAILED_OVER" => Self::PipeMoved,
            _ if begins("ERR_CHANNEL_MUST_BE_REOPENED") && code.ends_with("_GAP") => Self::Gap,
            _ if begins("ERR_CHANNEL_MUST_BE_REOPENED") => Self::GivenUp,
            _ if begins("ERR_CHANNEL_DOES_NOT_EXIST") => Self::Missing,
            _ if begins("ERR_PIPE_DOES_NOT") => Self::PipeMissing,
            _ if begins("ERR_TABLE_DOES_NOT") => Self::TableMissing,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Situation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TakenByAnother => "another client opened it",
            Self::Gap => "rows were missed between two appends",
            Self::GivenUp => "the service gave it up",
            Self::Missing => "it is not there: dropped, or removed as idle",
            Self::MadeAnew => "it is another one of the same name",
            Self::PipeMissing => "its pipe is not there, or the role may not see it",
            Self::TableMissing => "its table is not there, or the role may not see it",
            Self::PipeMoved => "its pipe has moved or was dropped",
            Self::Other => "no documented reason",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_code_has_its_situation() {
        let cases = [
            ("STALE_CONTINUATION_TOKEN_SEQUENCER", Situation::TakenByAnother),
            (
                "ERR_CHANNEL_HAS_INVALID_CLIENT_SEQUENCER",
                Situation::TakenByAnother,
            ),
            ("ERR_CHANNEL_HAS_INVALID_ROW_SEQUENCER", Situation::Gap),
            ("ERR_CHANNEL_MUST_BE_REOPENED_DUE_TO_ROW_SEQ_GAP", Situation::Gap),
            ("ERR_CHANNEL_MUST_BE_REOPENED", Situation::GivenUp),
            (
                "ERR_CHANNEL_DOES_NOT_EXIST_OR_IS_NOT_AUTHORIZED",
                Situation::Missing,
            ),
            ("ERR_CHANNEL_DOES_NOT_EXIST_OR_NOT_AUTHORIZED", Situation::Missing),
            (MADE_ANEW, Situation::MadeAnew),
            (
                "ERR_PIPE_DOES_NOT_EXIST_OR_NOT_AUTHORIZED",
                Situation::PipeMissing,
            ),
            ("ERR_TABLE_DOES_NOT_EXIST_NOT_AUTHORIZED", Situation::TableMissing),
            ("STALE_PIPE_CACHE", Situation::PipeMoved),
            ("ERR_NEW", Situation::Other),
        ];
        for (code, situation) in cases {
            assert_eq!(Situation::of(code), situation, "{code}");
        }
    }
}
