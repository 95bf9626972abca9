//! TO_... and TRY_TO_...: conversions that have a function's form.
//!
//! Source: Snowflake documentation, "Conversion functions".

use std::collections::HashSet;

use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value};

use super::functions::plain;
use super::rewrite::{call, cast, is_variant, literal, wrap};
use super::{Result, SqlError};
use crate::snowflake::model::DataType;
use crate::snowflake::rows::MAX_VARCHAR;

/// What a call becomes; `None` of any other function.
pub(super) fn rewrite(name: &str, arguments: &[Expr], variants: &HashSet<String>) -> Result<Option<Expr>> {
    let lenient = name.starts_with("TRY_");
    if let Some(to) = target(name.trim_start_matches("TRY_"), arguments)? {
        let [value, ..] = arguments else {
            return Err(SqlError::syntax(format!("{name} wants a value")));
        };
        let is_format = |argument: &Expr| matches!(literal(argument), Some(Value::SingleQuotedString(_)));
        if let Some(format) = arguments.get(1).filter(|argument| is_format(argument)) {
            return formatted(name, &plain(value, variants), format, arguments, lenient).map(Some);
        }
        return match to {
            DataType::Varchar { .. } => {
                let mut value = value.clone();
                if !is_variant(&value, variants) {
                    wrap("frazil_shown", &mut value);
                }
                Ok(Some(call("frazil_text", vec![value])))
            }
            DataType::TimestampNtz { .. } | DataType::TimestampLtz { .. } | DataType::TimestampTz { .. } => {
                let mut cast = cast(value.clone(), &to, lenient)?;
                if let (Some(digits), Expr::Function(function)) = (arguments.get(1), &mut cast) {
                    append(function, fraction_digits(digits)?);
                }
                Ok(Some(cast))
            }
            to => cast(value.clone(), &to, lenient).map(Some),
        };
    }
    Ok(None)
}

/// `TO_...(value, format)`.
fn formatted(name: &str, value: &Expr, format: &Expr, arguments: &[Expr], lenient: bool) -> Result<Expr> {
    let given = || vec![value.clone(), format.clone()];
    let moment = if lenient {
        "frazil_try_moment_as"
    } else {
        "frazil_moment_as"
    };
    let plain = name.trim_start_matches("TRY_");
    let (function, to) = match plain {
        "TO_CHAR" | "TO_VARCHAR" | "TO_STRING" => return Ok(call("frazil_char_as", given())),
        "TO_TIME" if !lenient => ("frazil_time_as", DataType::Time { scale: 9 }),
        "TO_BINARY" if !lenient => {
            let length = 8 * 1024 * 1024;
            ("frazil_binary_as", DataType::Binary { length })
        }
        "TO_NUMBER" | "TO_DECIMAL" | "TO_NUMERIC" if !lenient => {
            let rest: Vec<Expr> = [&arguments[..1], &arguments[2..]].concat();
            let to = target(plain, &rest)?;
            let whole = DataType::Number {
                precision: 38,
                scale: 0,
            };
            ("frazil_number_as", to.unwrap_or(whole))
        }
        "TO_DATE" => (moment, DataType::Date),
        "TO_TIMESTAMP" | "TO_TIMESTAMP_NTZ" => (moment, DataType::TimestampNtz { scale: 9 }),
        "TO_TIMESTAMP_LTZ" => (moment, DataType::TimestampLtz { scale: 9 }),
        "TO_TIMESTAMP_TZ" => (moment, DataType::TimestampTz { scale: 9 }),
        _ => return Err(SqlError::unsupported(&format!("{name} with a format"))),
    };
    cast(call(function, given()), &to, lenient)
}

/// The type of a `TO_...` function; `None` for any other.
fn target(name: &str, arguments: &[Expr]) -> Result<Option<DataType>> {
    let digits = |index: usize, default: u8| match arguments.get(index).and_then(literal) {
        None => Ok(default),
        Some(Value::Number(digits, _)) => digits
            .parse()
            .map_err(|_| SqlError::syntax(format!("{digits} is no number of digits"))),
        Some(_) => Ok(default),
    };
    Ok(Some(match name {
        "TO_CHAR" | "TO_VARCHAR" | "TO_STRING" => DataType::Varchar { length: MAX_VARCHAR },
        "TO_NUMBER" | "TO_DECIMAL" | "TO_NUMERIC" => {
            let scale = i8::try_from(digits(2, 0)?).unwrap_or(i8::MAX);
            let precision = digits(1, 38)?;
            if !(1..=38).contains(&precision) || scale > 37 {
                return Err(SqlError::syntax(format!(
                    "NUMBER({precision},{scale}) is no type"
                )));
            }
            DataType::Number { precision, scale }
        }
        "TO_DOUBLE" => DataType::Float,
        "TO_DECFLOAT" => DataType::Decfloat,
        "TO_BOOLEAN" => DataType::Boolean,
        "TO_BINARY" => DataType::Binary {
            length: 8 * 1024 * 1024,
        },
        "TO_DATE" => DataType::Date,
        "TO_TIME" => DataType::Time { scale: 9 },
        "TO_TIMESTAMP" | "TO_TIMESTAMP_NTZ" => DataType::TimestampNtz { scale: 9 },
        "TO_TIMESTAMP_LTZ" => DataType::TimestampLtz { scale: 9 },
        "TO_TIMESTAMP_TZ" => DataType::TimestampTz { scale: 9 },
        "TO_OBJECT" => DataType::Object,
        "TO_ARRAY" => DataType::Array,
        _ => return Ok(None),
    }))
}

/// How many digits of a number are fractions of a second: 0 to 9.
fn fraction_digits(digits: &Expr) -> Result<Expr> {
    let known = match literal(digits) {
        Some(Value::Number(number, _)) => number.parse().ok().filter(|digits: &u8| *digits <= 9),
        _ => None,
    };
    known.map(|_| digits.clone()).ok_or_else(|| {
        let message = format!("{digits} is no scale of a timestamp: 0 to 9");
        SqlError::syntax(message)
    })
}

fn append(function: &mut Function, argument: Expr) {
    if let FunctionArguments::List(list) = &mut function.args {
        list.args
            .push(FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)));
    }
}
