//! A statement as tokens, with Snowflake's rule for names applied: unquoted ones become upper case, quoted ones stay.
//!
//! The parts of a path into a VARIANT (`col:path.to`) are no names and keep their case.

use sqlparser::dialect::SnowflakeDialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, Tokenizer};

use super::{Result, SqlError, structured};
use crate::snowflake::model::TableKind;

/// What parsing may need: its frames are large where nothing is optimised, and it goes 50 levels deep before it refuses.
const STACK: usize = 16 * 1024 * 1024;

/// Parses on a stack of its own, so that no text ends the server.
pub(super) fn deep<T>(parse: impl FnOnce() -> T) -> T {
    stacker::grow(STACK, parse)
}

/// The longest statement, in bytes (Snowflake takes 1 MB).
const LONGEST: usize = 1024 * 1024;

/// Operators, steps of paths and set operations of one statement: parser and planner go one level deeper for each.
const MOST_OPERATORS: usize = 300;

/// Behind the name of a table whose error table is meant. No name that a statement writes ends so: it is a control
/// character, and [`Words::of`] refuses those.
const ERROR_TABLE: &str = "\u{1}ERROR_TABLE";

/// The table of a name that stands for its error table.
pub(super) fn error_table_of(name: &str) -> Option<&str> {
    name.strip_suffix(ERROR_TABLE)
}

/// Options of a table that the parser does not know, or that we read for ourselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TableOptions {
    pub(super) kind: TableKind,
    /// What an interactive table does with streamed records, as a SELECT in parentheses.
    pub(super) transform: Option<String>,
    pub(super) schema_evolution: Option<bool>,
    pub(super) error_logging: Option<bool>,
    pub(super) row_timestamp: Option<bool>,
}

/// The tokens of one statement, without spaces, comments and the closing semicolon.
#[derive(Debug, Clone)]
pub(super) struct Words(Vec<Token>);

impl Words {
    pub(super) fn of(sql: &str) -> Result<Self> {
        if sql.len() > LONGEST {
            return Err(SqlError::syntax(format!(
                "the statement has more than {LONGEST} bytes"
            )));
        }
        if sql.contains('\u{1}') {
            return Err(SqlError::syntax("the statement has a control character"));
        }
        let tokens = Tokenizer::new(&SnowflakeDialect {}, sql)
            .tokenize()
            .map_err(SqlError::syntax)?;
        let mut tokens: Vec<Token> = tokens
            .into_iter()
            .filter(|t| !matches!(t, Token::Whitespace(_)))
            .collect();
        while matches!(tokens.last(), Some(Token::SemiColon | Token::EOF)) {
            tokens.pop();
        }
        structured::collapse(&mut tokens)?;
        fold(&mut tokens);
        // A minus at the beginning of an element is no level: a vector has many.
        let signs = tokens
            .windows(2)
            .filter(|pair| pair[1] == Token::Minus && matches!(pair[0], Token::Comma | Token::LBracket));
        let signs = signs.count();
        if tokens.iter().filter(|token| is_operator(token)).count() - signs > MOST_OPERATORS {
            return Err(SqlError::unsupported(&format!(
                "statements of more than {MOST_OPERATORS} operators"
            )));
        }
        Ok(Self(tokens))
    }

    pub(super) fn get(&self, index: usize) -> Option<&Token> {
        self.0.get(index)
    }

    /// The word at this place, as it counts: a name or keyword in upper case, or a quoted name.
    pub(super) fn word(&self, index: usize) -> Option<&str> {
        match self.0.get(index)? {
            Token::Word(word) => Some(&word.value),
            _ => None,
        }
    }

    /// Whether these unquoted words stand here.
    pub(super) fn are(&self, index: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(offset, expected)| {
            matches!(self.0.get(index + offset), Some(Token::Word(w)) if w.quote_style.is_none() && w.value == *expected)
        })
    }

    /// Where the parenthesis that opens here closes.
    pub(super) fn closing(&self, at: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for (index, token) in self.0.iter().enumerate().skip(at) {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => {
                    depth = depth.checked_sub(1)?;
                    if depth == 0 {
                        return Some(index);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// The words from one place to before another.
    pub(super) fn range(&self, from: usize, to: usize) -> Self {
        Self(self.0.get(from..to).unwrap_or_default().to_vec())
    }

    pub(super) fn tokens(&self) -> &[Token] {
        &self.0
    }

    /// Words of these tokens, folded already.
    pub(super) fn folded(tokens: Vec<Token>) -> Self {
        Self(tokens)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// A name of several parts that begins here, and where it ends.
    pub(super) fn name(&self, index: usize) -> Option<(Vec<String>, usize)> {
        let mut parts = vec![self.word(index)?.to_owned()];
        let mut at = index + 1;
        while self.0.get(at) == Some(&Token::Period) {
            parts.push(self.word(at + 1)?.to_owned());
            at += 2;
        }
        Some((parts, at))
    }

    /// A text at this place.
    pub(super) fn text(&self, index: usize) -> Option<&str> {
        match self.0.get(index)? {
            Token::SingleQuotedString(text) => Some(text),
            _ => None,
        }
    }

    /// `TRUE` or `FALSE` behind an equals sign.
    pub(super) fn set_to(&self, index: usize) -> Option<bool> {
        if self.0.get(index) != Some(&Token::Eq) {
            return None;
        }
        match self.word(index + 1)? {
            "TRUE" => Some(true),
            "FALSE" => Some(false),
            _ => None,
        }
    }

    /// Turns each `ERROR_TABLE(name)` into a name that [`error_table_of`] knows; the parser would take it for a function.
    pub(super) fn mark_error_tables(&mut self) {
        let mut at = 0;
        while at < self.0.len() {
            if self.are(at, &["ERROR_TABLE"])
                && self.0.get(at + 1) == Some(&Token::LParen)
                && let Some((_, end)) = self.name(at + 2)
                && self.0.get(end) == Some(&Token::RParen)
            {
                if let Some(Token::Word(word)) = self.0.get_mut(end - 1) {
                    word.value.push_str(ERROR_TABLE);
                    word.quote_style = Some('"');
                    word.keyword = Keyword::NoKeyword;
                }
                self.0.remove(end);
                self.0.drain(at..at + 2);
            }
            at += 1;
        }
    }

    /// The tokens without `ENABLE_SCHEMA_EVOLUTION = ...`, `ERROR_LOGGING = ...` and `ROW_TIMESTAMP = ...`, and what these
    /// said.
    pub(super) fn without_table_options(&self) -> (Vec<Token>, TableOptions) {
        let mut options = TableOptions::default();
        let mut kept = Vec::with_capacity(self.0.len());
        let mut at = 0;
        while let Some(token) = self.0.get(at) {
            match (self.word(at), self.set_to(at + 1)) {
                (Some("ENABLE_SCHEMA_EVOLUTION"), Some(value)) => options.schema_evolution = Some(value),
                (Some("ERROR_LOGGING"), Some(value)) => options.error_logging = Some(value),
                (Some("ROW_TIMESTAMP"), Some(value)) => options.row_timestamp = Some(value),
                _ => {
                    kept.push(token.clone());
                    at += 1;
                    continue;
                }
            }
            at += 3;
        }
        (kept, options)
    }
}

fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => {
            let words = [
                "AND",
                "OR",
                "NOT",
                "UNION",
                "INTERSECT",
                "EXCEPT",
                "MINUS",
                "LIKE",
                "IS",
                "CASE",
                "SELECT",
            ];
            word.quote_style.is_none() && words.contains(&word.value.as_str())
        }
        Token::Comma
        | Token::LParen
        | Token::RParen
        | Token::RBracket
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Period => false,
        _ => true,
    }
}

/// Folds unquoted names to upper case. Behind a colon, parts of a path follow, joined by dots and brackets, until two parts
/// stand side by side.
fn fold(tokens: &mut [Token]) {
    let mut path = false;
    let mut part = false;
    for token in tokens {
        match token {
            Token::Colon => (path, part) = (true, false),
            Token::Period | Token::LBracket | Token::RBracket if path => part = false,
            Token::Number(..) | Token::SingleQuotedString(_) if path && !part => part = true,
            Token::Word(_) if path && !part => part = true,
            Token::Word(word) => {
                path = false;
                if word.quote_style.is_none() {
                    word.value = word.value.to_uppercase();
                }
            }
            _ => path = false,
        }
    }
}
