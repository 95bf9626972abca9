//! CREATE INTERACTIVE TABLE, and what such a table does not take.
//!
//! How it works: the statement is read as a CREATE TABLE; `AS (SELECT ... FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING')))` is taken
//! off before, checked like a pipe's projection, and kept with the table: its default pipe does what it says.
//!
//! Source: Snowflake documentation, "Interactive tables and interactive warehouses", "CREATE INTERACTIVE TABLE": CLUSTER BY is
//! required; rows come by streaming and INSERT OVERWRITE; no ADD COLUMN, no row timestamps. What it does not: TARGET_LAG
//! (tables that are refreshed from others) is not known; interactive warehouses are nothing here.

use sqlparser::tokenizer::Token;

use super::pipe::{Copy, data_source, text_from};
use super::words::Words;
use super::{Result, SqlError, select};
use crate::snowflake::model::{NewTable, TableDef};

/// Makes a CREATE TABLE of a CREATE INTERACTIVE TABLE; answers its transform, if it has one.
pub(super) fn taken(words: &mut Words, sql: &str) -> Result<Option<Option<String>>> {
    let at = if words.are(0, &["CREATE", "OR", "REPLACE"]) {
        3
    } else {
        1
    };
    if !words.are(0, &["CREATE"]) || !words.are(at, &["INTERACTIVE", "TABLE"]) {
        return Ok(None);
    }
    if let Some(option) = (at..words.len()).find(|at| words.are(*at, &["TARGET_LAG"])) {
        let what = words.word(option).unwrap_or_default();
        return Err(SqlError::unsupported(&format!("{what} of an interactive table")));
    }
    let mut end = words.len();
    let mut transform = None;
    if (at..words.len()).any(|at| data_source(words, at).is_some()) {
        let begin = outermost_as(&words.tokens().iter().collect::<Vec<_>>())
            .ok_or_else(|| SqlError::syntax("AS is missing before the SELECT"))?;
        let text = text_from(sql, |tokens| outermost_as(tokens).map(|at| at + 1))?.unwrap_or_default();
        transform = Some(if text.starts_with('(') {
            text
        } else {
            format!("({text})")
        });
        end = begin;
    }
    let mut tokens = words.range(0, at).tokens().to_vec();
    tokens.extend_from_slice(words.range(at + 1, end).tokens());
    *words = Words::folded(tokens);
    Ok(Some(transform))
}

/// The AS that stands in no parentheses.
fn outermost_as(tokens: &[&Token]) -> Option<usize> {
    let mut depth = 0_usize;
    tokens.iter().position(|token| {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Word(word) => {
                return depth == 0 && word.quote_style.is_none() && word.value.eq_ignore_ascii_case("AS");
            }
            _ => {}
        }
        false
    })
}

/// Refuses what is no interactive table.
pub(super) fn check(new: &NewTable, scope: &select::Scope) -> Result<()> {
    if new.cluster_by.is_none() {
        return Err(SqlError::syntax("an interactive table needs CLUSTER BY"));
    }
    let Some(transform) = &new.transform else {
        return Ok(());
    };
    if new.columns.is_empty() {
        return Err(SqlError::unsupported(
            "an interactive table that is streamed into without a list of its columns",
        ));
    }
    let table = TableDef::unsaved(new);
    select::mapping(&Copy::of_transform(transform)?, &table, scope).map(|_| ())
}
