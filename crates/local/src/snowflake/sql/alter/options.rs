//! The options that SET, UNSET and a copied table's statement say of a table.

use sqlparser::tokenizer::Token;

use crate::snowflake::catalog::now_ms;
use crate::snowflake::model::{RETENTION_DAYS, TableDef};
use crate::snowflake::sql::words::Words;
use crate::snowflake::sql::{Result, SqlError, define};

/// The options of SET and UNSET.
#[derive(Debug, Default)]
pub(in crate::snowflake::sql) struct Options {
    schema_evolution: Option<bool>,
    error_logging: Option<bool>,
    row_timestamp: Option<bool>,
    comment: Option<Option<String>>,
    retention_days: Option<u8>,
}

impl Options {
    pub(in crate::snowflake::sql) fn set(words: &Words, mut at: usize) -> Result<Self> {
        let mut options = Self::default();
        loop {
            let word = words
                .word(at)
                .ok_or_else(|| SqlError::syntax("SET wants an option"))?;
            let truth = || {
                words
                    .set_to(at + 1)
                    .ok_or_else(|| SqlError::syntax(format!("{word} is TRUE or FALSE")))
            };
            match word {
                "ENABLE_SCHEMA_EVOLUTION" => options.schema_evolution = Some(truth()?),
                "ERROR_LOGGING" => options.error_logging = Some(truth()?),
                "ROW_TIMESTAMP" => options.row_timestamp = Some(truth()?),
                // There is nothing for it to do here.
                "CHANGE_TRACKING" => _ = truth()?,
                "COMMENT" => {
                    let text = words
                        .text(at + 2)
                        .ok_or_else(|| SqlError::syntax("COMMENT is a text"))?;
                    options.comment = Some(Some(text.to_owned()));
                }
                "DATA_RETENTION_TIME_IN_DAYS" => {
                    let days = words.get(at + 2).and_then(|token| token.to_string().parse().ok());
                    options.retention_days = Some(define::retention(days.unwrap_or(u64::MAX))?);
                }
                other => return Err(SqlError::unsupported(&format!("the option {other} of a table"))),
            }
            at += 3;
            match words.get(at) {
                None => return Ok(options),
                Some(Token::Comma) => at += 1,
                Some(_) => {}
            }
        }
    }

    pub(super) fn unset(words: &Words, mut at: usize) -> Result<Self> {
        let mut options = Self::default();
        loop {
            match words.word(at).unwrap_or_default() {
                "ENABLE_SCHEMA_EVOLUTION" => options.schema_evolution = Some(false),
                "ERROR_LOGGING" => options.error_logging = Some(false),
                "ROW_TIMESTAMP" => options.row_timestamp = Some(false),
                "CHANGE_TRACKING" => {}
                "COMMENT" => options.comment = Some(None),
                "DATA_RETENTION_TIME_IN_DAYS" => options.retention_days = Some(RETENTION_DAYS),
                other => return Err(SqlError::unsupported(&format!("ALTER TABLE ... UNSET {other}"))),
            }
            match words.get(at + 1) {
                None => return Ok(options),
                Some(Token::Comma) => at += 2,
                Some(_) => return Err(SqlError::syntax("UNSET wants options with commas between them")),
            }
        }
    }

    pub(in crate::snowflake::sql) fn apply(self, table: &mut TableDef) -> Result<()> {
        if self.row_timestamp == Some(true) {
            define::takes_row_timestamps(table.kind)?;
        }
        table.schema_evolution = self.schema_evolution.unwrap_or(table.schema_evolution);
        table.error_logging = self.error_logging.unwrap_or(table.error_logging);
        table.row_timestamp_ms = match self.row_timestamp {
            None => table.row_timestamp_ms,
            Some(true) => table.row_timestamp_ms.or_else(|| Some(now_ms())),
            Some(false) => None,
        };
        table.retention_days = self.retention_days.unwrap_or(table.retention_days);
        if let Some(comment) = self.comment {
            table.comment = comment;
        }
        Ok(())
    }
}
