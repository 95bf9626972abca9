//! Where in a shard: sequence numbers, positions, and their text as a Snowpipe offset token.
//!
//! A *position* names one document of one user record of one Kinesis record, counted on the raw decoding, before any
//! filter, hash check or transform, and says whether it is the last of its Kinesis record. Its *offset token* is its
//! text, laid out such that the order of texts is the order of positions:
//!
//! | part | width | |
//! |---|---|---|
//! | format version | 1 | `1` |
//! | length of the sequence number | 3 | `001` to `129` |
//! | sequence number | that many | decimal digits |
//! | sub-sequence number | 20 | index in a KPL aggregate, else 0 |
//! | document index | 10 | index among the JSON documents of one user record |
//! | last of its Kinesis record | 1 | `0` or `1` |
//!
//! What it guarantees: a token made here parses to the same position for ever (golden tests), and a text that no
//! version of this format made is refused, never guessed. Sequence numbers follow the Kinesis API reference (data type
//! `SequenceNumber`: decimal digits, at most 129); they are compared as numbers, and only within one shard.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The most digits a sequence number may have (Kinesis API reference, data type `SequenceNumber`).
pub const MAX_SEQUENCE_DIGITS: usize = 129;
/// Bytes of the longest offset token.
pub const MAX_TOKEN_BYTES: usize = 1 + 3 + MAX_SEQUENCE_DIGITS + SUB_DIGITS + DOCUMENT_DIGITS + 1;

const VERSION: u8 = b'1';
const SUB_DIGITS: usize = 20;
const DOCUMENT_DIGITS: usize = 10;

/// A text that is no sequence number, or no offset token of ours.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum PositionError {
    /// A sequence number is 1 to 129 decimal digits.
    #[error(
        "a sequence number has 1 to 129 decimal digits; this one has {length} bytes, not all of them digits"
    )]
    Sequence {
        /// Bytes of the refused text.
        length: usize,
    },
    /// A token of a format that this version does not know.
    #[error(
        "the offset token {found:?} has a format this version does not know; it was written by another program or a later version"
    )]
    Version {
        /// The refused text, cut short.
        found: String,
    },
    /// A token whose parts do not fit together.
    #[error("the offset token {found:?} is damaged: {part} is not as written")]
    Damaged {
        /// The refused text, cut short.
        found: String,
        /// The part that does not fit.
        part: &'static str,
    },
}

/// A Kinesis sequence number: decimal digits, compared as a number.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SequenceNumber(Arc<str>);

impl SequenceNumber {
    /// Checks the text and takes it over.
    ///
    /// # Errors
    /// [`PositionError::Sequence`] where it is not 1 to 129 decimal digits.
    pub fn new(text: impl AsRef<str>) -> Result<Self, PositionError> {
        let text = text.as_ref();
        if (1..=MAX_SEQUENCE_DIGITS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(Self(Arc::from(text)));
        }
        Err(PositionError::Sequence { length: text.len() })
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Compares two texts of digits as numbers without leading zeros: by length, then digit by digit.
#[must_use]
pub fn compare_sequences(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_sequences(&self.0, &other.0)
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One document of one user record of one Kinesis record of a shard. The fields are declared in the order in which
/// they are compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The Kinesis record.
    pub sequence: SequenceNumber,
    /// The user record inside a KPL aggregate; 0 for a plain record.
    pub sub_sequence: u64,
    /// The JSON document inside the user record.
    pub document: u32,
    /// Whether nothing of this Kinesis record comes after it.
    pub last: bool,
}

impl Position {
    /// The position that settles a whole plain record.
    #[must_use]
    pub fn whole(sequence: SequenceNumber) -> Self {
        Self {
            sequence,
            sub_sequence: 0,
            document: 0,
            last: true,
        }
    }

    /// The position as an offset token.
    #[must_use]
    pub fn token(&self) -> OffsetToken {
        OffsetToken(format!(
            "{}{:03}{}{:020}{:010}{}",
            char::from(VERSION),
            self.sequence.as_str().len(),
            self.sequence,
            self.sub_sequence,
            self.document,
            u8::from(self.last)
        ))
    }

    /// Whether a record at (sequence, sub-sequence, document) is settled by this position.
    #[must_use]
    pub fn settles(&self, sequence: &str, sub_sequence: u64, document: u32) -> bool {
        match compare_sequences(sequence, self.sequence.as_str()) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => self.last || (sub_sequence, document) <= (self.sub_sequence, self.document),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.sequence)?;
        if self.sub_sequence > 0 || self.document > 0 || !self.last {
            write!(f, "/{}/{}", self.sub_sequence, self.document)?;
        }
        Ok(())
    }
}

/// The text of a [`Position`], as Snowflake stores it with the rows and as the lease row remembers it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OffsetToken(String);

impl OffsetToken {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The position it names. It cannot fail: only [`Position::token`] and [`OffsetToken::from_str`] make tokens.
    #[must_use]
    pub fn position(&self) -> Position {
        parse(&self.0).expect("a token is checked when it is made")
    }
}

impl fmt::Display for OffsetToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for OffsetToken {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        parse(text).map(|_| Self(text.to_owned()))
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        parse(text)
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_TOKEN_BYTES).collect()
}

/// Splits `digits` decimal digits off the front.
fn take<'a>(rest: &mut &'a str, digits: usize) -> Option<&'a str> {
    let (head, tail) = rest.split_at_checked(digits)?;
    *rest = tail;
    head.bytes().all(|b| b.is_ascii_digit()).then_some(head)
}

fn parse(text: &str) -> Result<Position, PositionError> {
    let damaged = |part| PositionError::Damaged {
        found: cut(text),
        part,
    };
    let Some(mut rest) = text.strip_prefix(char::from(VERSION)) else {
        return Err(PositionError::Version { found: cut(text) });
    };
    let length = take(&mut rest, 3).and_then(|d| d.parse::<usize>().ok());
    let length = length.ok_or_else(|| damaged("the length of the sequence number"))?;
    let sequence = take(&mut rest, length).ok_or_else(|| damaged("the sequence number"))?;
    let sequence = SequenceNumber::new(sequence).map_err(|_| damaged("the sequence number"))?;
    let sub_sequence = take(&mut rest, SUB_DIGITS).and_then(|d| d.parse().ok());
    let sub_sequence = sub_sequence.ok_or_else(|| damaged("the sub-sequence number"))?;
    let document = take(&mut rest, DOCUMENT_DIGITS).and_then(|d| d.parse().ok());
    let document = document.ok_or_else(|| damaged("the document index"))?;
    let last = match rest {
        "0" => false,
        "1" => true,
        _ => return Err(damaged("the end-of-record mark")),
    };
    Ok(Position {
        sequence,
        sub_sequence,
        document,
        last,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position(sequence: &str, sub_sequence: u64, document: u32, last: bool) -> Position {
        let sequence = SequenceNumber::new(sequence).expect("digits");
        Position {
            sequence,
            sub_sequence,
            document,
            last,
        }
    }

    /// Frozen: these texts stand in users' accounts.
    #[test]
    fn tokens_golden() {
        let golden = [
            (
                position("0", 0, 0, true),
                concat!("1", "001", "0", "00000000000000000000", "0000000000", "1"),
            ),
            (
                position(
                    "49590338271490256608559692538361571095921575989136588898",
                    0,
                    0,
                    true,
                ),
                concat!(
                    "1",
                    "056",
                    "49590338271490256608559692538361571095921575989136588898",
                    "00000000000000000000",
                    "0000000000",
                    "1"
                ),
            ),
            (
                position("123456789", 3, 12, false),
                concat!("1", "009", "123456789", "00000000000000000003", "0000000012", "0"),
            ),
            (
                position("7", u64::MAX, u32::MAX, true),
                concat!("1", "001", "7", "18446744073709551615", "4294967295", "1"),
            ),
        ];
        for (position, text) in golden {
            assert_eq!(position.token().as_str(), text);
            assert_eq!(text.parse::<Position>(), Ok(position));
        }
    }

    #[test]
    fn a_foreign_token_is_refused_and_named() {
        for bad in ["", "2009123", "12345", "kafka-17", "1", "é"] {
            assert!(bad.parse::<OffsetToken>().is_err(), "{bad:?} passed");
        }
        let good = position("123", 4, 5, true).token().to_string();
        for end in 0..good.len() {
            assert!(
                good[..end].parse::<OffsetToken>().is_err(),
                "{:?} passed",
                &good[..end]
            );
        }
        assert!(format!("{good}0").parse::<OffsetToken>().is_err());
        assert!(good.replace('4', "x").parse::<OffsetToken>().is_err());
    }

    #[test]
    fn a_position_settles_what_is_not_after_it() {
        let inside = position("100", 2, 1, false);
        assert!(inside.settles("99", 7, 7));
        assert!(inside.settles("100", 2, 1));
        assert!(inside.settles("100", 1, 9));
        assert!(!inside.settles("100", 2, 2));
        assert!(!inside.settles("101", 0, 0));
        assert!(position("100", 2, 1, true).settles("100", 9, 9));
    }

    fn any_position() -> impl Strategy<Value = Position> {
        ("0|[1-9][0-9]{0,128}", any::<u64>(), any::<u32>(), any::<bool>())
            .prop_map(|(sequence, sub, document, last)| position(&sequence, sub, document, last))
    }

    proptest! {
        #[test]
        fn a_token_parses_to_its_position(position in any_position()) {
            let token = position.token();
            prop_assert!(token.as_str().len() <= MAX_TOKEN_BYTES);
            prop_assert_eq!(token.as_str().parse::<Position>(), Ok(position));
        }

        #[test]
        fn case_38_text_order_is_position_order(a in any_position(), b in any_position()) {
            prop_assert_eq!(a.token().cmp(&b.token()), a.cmp(&b));
        }

        #[test]
        fn outside_text_never_panics(text in "\\PC{0,200}") {
            drop(text.parse::<Position>());
        }
    }
}
