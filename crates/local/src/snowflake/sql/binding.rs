//! Values bound to the question marks of a statement.
//!
//! Source: Snowflake documentation, "SQL REST API: using bind variables": DATE is in milliseconds since 1970, TIME in
//! nanoseconds since midnight, TIMESTAMP in nanoseconds since 1970. A list of values runs an INSERT for each of them.

use std::collections::BTreeMap;

use serde::Deserialize;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, Word};

use super::{Result, SqlError};
use crate::snowflake::rows::moment;
use crate::snowflake::rows::zoned::Zoned;

/// Bound values by their numbers, from "1" on.
pub(crate) type Bindings = BTreeMap<String, Binding>;

/// A bound value, or one for each row.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Binding {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    value: serde_json::Value,
}

impl Binding {
    /// How many rows it has values for; `None` if it is one value.
    pub(super) fn rows(&self) -> Option<usize> {
        self.value.as_array().map(Vec::len)
    }

    fn at(&self, row: usize) -> &serde_json::Value {
        match &self.value {
            serde_json::Value::Array(values) => values.get(row).unwrap_or(&serde_json::Value::Null),
            one => one,
        }
    }
}

/// The tokens with each question mark, or `:1`, replaced by its value of this row.
pub(super) fn bind(tokens: &[Token], bindings: &Bindings, row: usize) -> Result<Vec<Token>> {
    let mut bound = Vec::with_capacity(tokens.len());
    let (mut next, mut at) = (0, 0);
    while let Some(token) = tokens.get(at) {
        at += 1;
        let number = match token {
            Token::Placeholder(mark) if mark == "?" => {
                next += 1;
                next.to_string()
            }
            Token::Colon if stands_alone(bound.last()) => match tokens.get(at) {
                Some(Token::Number(number, _)) => {
                    at += 1;
                    number.clone()
                }
                _ => {
                    bound.push(token.clone());
                    continue;
                }
            },
            other => {
                bound.push(other.clone());
                continue;
            }
        };
        let value = bindings
            .get(&number)
            .ok_or_else(|| SqlError::syntax(format!("Bind variable {number} not set.")))?;
        literal(&value.kind, value.at(row), &mut bound)?;
    }
    Ok(bound)
}

/// The tokens with NULL for each question mark: what a statement gives is described before it has its values.
pub(super) fn unbound(tokens: &[Token]) -> Vec<Token> {
    let value = |token: &Token| match token {
        Token::Placeholder(mark) if mark == "?" => word("NULL"),
        other => other.clone(),
    };
    tokens.iter().map(value).collect()
}

/// Whether a colon behind this token begins a bind variable, and no path.
fn stands_alone(before: Option<&Token>) -> bool {
    !matches!(
        before,
        Some(
            Token::Word(Word {
                keyword: Keyword::NoKeyword,
                ..
            }) | Token::RParen
                | Token::RBracket
                | Token::Placeholder(_)
        )
    )
}

fn word(text: &str) -> Token {
    Token::make_keyword(text)
}

fn literal(kind: &str, value: &serde_json::Value, bound: &mut Vec<Token>) -> Result<()> {
    let text = match value {
        serde_json::Value::Null => {
            bound.push(word("NULL"));
            return Ok(());
        }
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let wrong = || SqlError::syntax(format!("a bind variable is no {kind}"));
    let nanos = |per_unit: i128| {
        let parsed: Option<i128> = text.parse().ok();
        parsed
            .and_then(|units| units.checked_mul(per_unit))
            .ok_or_else(wrong)
    };
    match kind.to_uppercase().as_str() {
        "FIXED" | "REAL" => {
            let digits = text.strip_prefix('-').unwrap_or(&text);
            if digits.parse::<f64>().is_err() || !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            {
                return Err(wrong());
            }
            bound.push(Token::LParen);
            if digits.len() < text.len() {
                bound.push(Token::Minus);
            }
            bound.extend([Token::Number(digits.to_owned(), false), Token::RParen]);
        }
        "BOOLEAN" => {
            let truth = matches!(
                text.to_lowercase().as_str(),
                "true" | "1" | "yes" | "on" | "t" | "y"
            );
            bound.push(word(if truth { "TRUE" } else { "FALSE" }));
        }
        "DATE" => cast(&written(nanos(1_000_000)?, "%Y-%m-%d"), "DATE", bound),
        "TIME" => cast(&written(nanos(1)?, "%H:%M:%S%.9f"), "TIME", bound),
        "TIMESTAMP_NTZ" | "TIMESTAMP" => cast(
            &written(nanos(1)?, "%Y-%m-%dT%H:%M:%S%.9f"),
            "TIMESTAMP_NTZ",
            bound,
        ),
        "TIMESTAMP_LTZ" => cast(
            &written(nanos(1)?, "%Y-%m-%dT%H:%M:%S%.9fZ"),
            "TIMESTAMP_LTZ",
            bound,
        ),
        // Nanoseconds, and the offset in minutes plus a day; UTC without one.
        "TIMESTAMP_TZ" => {
            let (instant, offset) = text.split_once(' ').unwrap_or((&text, "1440"));
            let offset = offset
                .parse()
                .ok()
                .and_then(|offset: i16| offset.checked_sub(1440));
            let parsed = instant
                .parse()
                .ok()
                .zip(offset.filter(|offset| offset.abs() < 1440));
            let (nanos, offset) = parsed.ok_or_else(wrong)?;
            cast(&Zoned { nanos, offset }.canonical(), "TIMESTAMP_TZ", bound);
        }
        "DECFLOAT" => cast(&text, "DECFLOAT", bound),
        "TEXT" | "ANY" | "VARIANT" | "OBJECT" | "ARRAY" | "BINARY" | "" => {
            bound.push(Token::SingleQuotedString(text))
        }
        _ => return Err(SqlError::unsupported(&format!("a bind variable of type {kind}"))),
    }
    Ok(())
}

fn cast(text: &str, to: &str, bound: &mut Vec<Token>) {
    bound.extend([
        Token::SingleQuotedString(text.to_owned()),
        Token::DoubleColon,
        word(to),
    ]);
}

fn written(nanos: i128, format: &str) -> String {
    moment::clock(nanos).format(format).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::words::Words;
    use super::*;

    fn bound(sql: &str, bindings: serde_json::Value, row: usize) -> Result<String> {
        let bindings: Bindings = serde_json::from_value(bindings).expect("bindings");
        let tokens = bind(Words::of(sql)?.tokens(), &bindings, row)?;
        Ok(tokens
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" "))
    }

    #[test]
    fn question_marks_and_numbers_become_literals() {
        let values = json!({
            "1": {"type": "FIXED", "value": "-5"}, "2": {"type": "TEXT", "value": "it's"},
            "3": {"type": "BOOLEAN", "value": "true"}, "4": {"type": "TEXT", "value": null},
            "5": {"type": "DATE", "value": "1700000000000"}, "6": {"type": "TIMESTAMP_NTZ", "value": "1700000000000000000"},
        });
        assert_eq!(
            bound("SELECT ?, ?, ?, ?, ?, ?", values.clone(), 0).expect("bound"),
            "SELECT ( - 5 ) , 'it's' , TRUE , NULL , '2023-11-14' :: DATE , '2023-11-14T22:13:20.000000000' :: TIMESTAMP_NTZ"
        );
        assert_eq!(
            bound("SELECT v:a, :2, v[0]:1 WHERE :1 = ?", values, 0).expect("bound"),
            "SELECT V : a , 'it's' , V [ 0 ] : 1 WHERE ( - 5 ) = ( - 5 )"
        );
        for (value, expected) in [
            ("1700000000000000001 0960", "2023-11-14T14:13:20.000000001-08:00"),
            ("1700000000000000001", "2023-11-14T22:13:20.000000001+00:00"),
        ] {
            let values = json!({"1": {"type": "TIMESTAMP_TZ", "value": value}});
            let sql = bound("SELECT ?", values, 0).expect("bound");
            assert_eq!(sql, format!("SELECT '{expected}' :: TIMESTAMP_TZ"));
        }
        let rows = json!({"1": {"type": "FIXED", "value": ["1", "2"]}});
        assert_eq!(bound("VALUES (?)", rows, 1).expect("bound"), "VALUES ( ( 2 ) )");
    }

    #[test]
    fn what_cannot_be_bound_is_told() {
        for (kind, value) in [
            ("FIXED", "1; DROP TABLE T"),
            ("FIXED", "NaN"),
            ("DATE", "soon"),
            ("TIMESTAMP_TZ", "1700000000000000001 2880"),
            ("GEOGRAPHY", "x"),
        ] {
            let values = json!({"1": {"type": kind, "value": value}});
            assert!(bound("SELECT ?", values, 0).is_err(), "{kind} {value}");
        }
        assert!(bound("SELECT ?", json!({}), 0).is_err());
    }
}
