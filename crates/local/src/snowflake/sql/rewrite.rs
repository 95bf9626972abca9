//! A SELECT of Snowflake's into one of DataFusion's.
//!
//! - `v:a.b[0]` becomes steps of functions ([`super::variant`]).
//! - A cast of VARIANT goes through its text. An expression is taken for VARIANT where it is a path, or the name of a column
//!   that is VARIANT, OBJECT or ARRAY in one of the tables and of another type in none.
//! - Types become those that hold them: NUMBER is DECIMAL, integers are DECIMAL(38,0), TIMESTAMP_NTZ is TIMESTAMP.

use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType as Type, ExactNumberInfo, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, Interval, JsonPathElem, ObjectName,
    Statement, TimezoneInfo, Value, visit_expressions_mut,
};

use super::define::data_type;
use super::{Result, SqlError};
use crate::snowflake::model::DataType;

/// Rewrites in place.
pub(super) fn run(statement: &mut Statement, variants: &HashSet<String>) -> Result<()> {
    let mut failed = None;
    let walked = visit_expressions_mut(statement, |expression| match one(expression, variants) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    });
    match (walked, failed) {
        (ControlFlow::Break(()), Some(error)) => Err(error),
        _ => Ok(()),
    }
}

/// Inner expressions come first, so that a path below a cast is a function already.
fn one(expression: &mut Expr, variants: &HashSet<String>) -> Result<()> {
    match expression {
        Expr::JsonAccess { value, path } => {
            let mut stepped = (**value).clone();
            for element in &path.path {
                stepped = match element {
                    JsonPathElem::Dot { key, .. } => call("frazil_get", vec![stepped, text(key)]),
                    JsonPathElem::Bracket { key } => match literal(key) {
                        Some(Value::SingleQuotedString(key)) => call("frazil_get", vec![stepped, text(key)]),
                        Some(Value::Number(..)) => call("frazil_at", vec![stepped, key.clone()]),
                        _ => return Err(SqlError::unsupported("a computed step of a path")),
                    },
                    #[allow(unreachable_patterns)]
                    _ => return Err(SqlError::unsupported("this step of a path")),
                };
            }
            *expression = stepped;
        }
        Expr::Cast {
            expr,
            data_type: to,
            kind,
            ..
        } => {
            let wanted = data_type(to)?;
            let is_variant = is_variant(expr, variants);
            match (&wanted, is_variant) {
                (DataType::Variant | DataType::Object | DataType::Array, true) => {
                    *expression = (**expr).clone()
                }
                (DataType::Variant | DataType::Object | DataType::Array, false) => {
                    return Err(SqlError::unsupported("a cast to VARIANT, OBJECT or ARRAY"));
                }
                _ => {
                    *to = stored(&wanted);
                    if *kind == CastKind::DoubleColon {
                        *kind = CastKind::Cast;
                    }
                    if is_variant {
                        **expr = call("frazil_text", vec![(**expr).clone()]);
                    }
                }
            }
        }
        Expr::Function(function) if is_date_add(function) => *expression = date_add(function)?,
        _ => {}
    }
    Ok(())
}

fn is_date_add(function: &Function) -> bool {
    matches!(
        function.name.to_string().as_str(),
        "DATEADD" | "TIMEADD" | "TIMESTAMPADD"
    )
}

/// `DATEADD(hour, -1, t)` as `t + INTERVAL '-1 hour'`.
fn date_add(function: &Function) -> Result<Expr> {
    let FunctionArguments::List(list) = &function.args else {
        return Err(SqlError::syntax("DATEADD takes three arguments"));
    };
    let arguments: Vec<&Expr> = list
        .args
        .iter()
        .filter_map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
            _ => None,
        })
        .collect();
    let [unit, count, moment] = arguments[..] else {
        return Err(SqlError::syntax("DATEADD takes three arguments"));
    };
    let unit = unit.to_string();
    let unit = unit.trim_matches(['"', '\'']).to_lowercase();
    let (unit, times) = match unit.trim_end_matches('s') {
        "year" | "yy" | "yyyy" | "y" | "yr" => ("year", 1),
        "quarter" | "q" | "qtr" => ("month", 3),
        "month" | "mm" | "mon" => ("month", 1),
        "week" | "w" | "wk" => ("week", 1),
        "day" | "d" | "dd" => ("day", 1),
        "hour" | "h" | "hh" | "hr" => ("hour", 1),
        "minute" | "m" | "mi" | "min" => ("minute", 1),
        "second" | "sec" => ("second", 1),
        "millisecond" | "msec" => ("millisecond", 1),
        "microsecond" | "usec" => ("microsecond", 1),
        other => return Err(SqlError::syntax(format!("'{other}' is no date or time part"))),
    };
    let count: i64 = count
        .to_string()
        .replace(' ', "")
        .parse()
        .map_err(|_| SqlError::unsupported("DATEADD of a computed number"))?;
    let interval = text(&format!("{} {unit}", count.saturating_mul(times)));
    Ok(Expr::Nested(Box::new(Expr::BinaryOp {
        left: Box::new(moment.clone()),
        op: BinaryOperator::Plus,
        right: Box::new(Expr::Interval(Interval {
            value: Box::new(interval),
            leading_field: None,
            leading_precision: None,
            last_field: None,
            fractional_seconds_precision: None,
        })),
    })))
}

fn literal(expression: &Expr) -> Option<&Value> {
    match expression {
        Expr::Value(value) => Some(&value.value),
        _ => None,
    }
}

fn is_variant(expression: &Expr, variants: &HashSet<String>) -> bool {
    match expression {
        Expr::Identifier(ident) => variants.contains(&ident.value),
        Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|ident| variants.contains(&ident.value)),
        Expr::Nested(inner) => is_variant(inner, variants),
        Expr::Function(function) => matches!(function.name.to_string().as_str(), "frazil_get" | "frazil_at"),
        _ => false,
    }
}

fn text(text: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.to_owned()).into())
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments
        .into_iter()
        .map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)))
        .collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The type of DataFusion's SQL that holds it.
fn stored(wanted: &DataType) -> Type {
    match wanted {
        DataType::Number { precision, scale } => Type::Decimal(ExactNumberInfo::PrecisionAndScale(
            u64::from(*precision),
            i64::from(*scale),
        )),
        DataType::Float => Type::DoublePrecision,
        DataType::Boolean => Type::Boolean,
        DataType::Binary { .. } => Type::Bytea,
        DataType::Date => Type::Date,
        DataType::Time { .. } => Type::Time(None, TimezoneInfo::None),
        DataType::TimestampNtz { .. } => Type::Timestamp(None, TimezoneInfo::None),
        DataType::TimestampLtz { .. } | DataType::TimestampTz { .. } => {
            Type::Timestamp(None, TimezoneInfo::WithTimeZone)
        }
        DataType::Varchar { .. } | DataType::Variant | DataType::Object | DataType::Array => {
            Type::Varchar(None)
        }
    }
}
