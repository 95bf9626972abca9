//! Snowflake's functions as those of DataFusion, or ours.
//!
//! Source: Snowflake documentation, "Supported functions" of COPY transformations, and each function's page. What is not
//! here goes to DataFusion by its own name, with a VARIANT argument as text, as Snowflake casts it.

use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    Statement, Value, visit_expressions_mut,
};

use super::rewrite::{call, case, cast, is_variant, literal, number, text, wrap};
use super::{Result, SERVER_VERSION, Session, SqlError, aggregates, conversions, dates};
use crate::snowflake::model::DataType;

/// Names of the same function in DataFusion or of ours.
const NAMES: [(&str, &str); 19] = [
    ("GETDATE", "now"),
    ("ENDSWITH", "ends_with"),
    ("STARTSWITH", "starts_with"),
    ("IFNULL", "coalesce"),
    ("CHAR", "chr"),
    ("LENGTH", "character_length"),
    ("LEN", "character_length"),
    ("UUID_STRING", "uuid"),
    ("UNICODE", "ascii"),
    ("PARSE_JSON", "frazil_parse"),
    ("TRY_PARSE_JSON", "frazil_try_parse"),
    ("OBJECT_CONSTRUCT", "frazil_object"),
    ("ARRAY_CONSTRUCT", "frazil_array"),
    ("ARRAY_SIZE", "frazil_size"),
    ("SPLIT", "frazil_split"),
    ("HEX_ENCODE", "frazil_hex"),
    ("HEX_DECODE_STRING", "frazil_unhex"),
    ("TRY_HEX_DECODE_STRING", "frazil_try_unhex"),
    ("TO_VARIANT", "frazil_variant"),
];

/// Functions that take VARIANT as it is.
const TAKES_VARIANT: [&str; 13] = [
    "OBJECT_CONSTRUCT",
    "ARRAY_CONSTRUCT",
    "ARRAY_SIZE",
    "TO_VARIANT",
    "COUNT",
    "MIN",
    "MAX",
    "ANY_VALUE",
    "ARRAY_AGG",
    "COALESCE",
    "NVL",
    "NVL2",
    "NULLIF",
];

/// Puts in what a statement asks of its session: CURRENT_USER(), CURRENT_ROLE() and their like.
pub(super) fn context(statement: &mut Statement, session: &Session, account: &str) {
    let _ = visit_expressions_mut(statement, |expression| {
        if let Expr::Function(function) = expression
            && let Some(value) = of_session(&function.name.to_string(), session, account)
        {
            *expression = match value {
                Some(value) => text(&value),
                None => Expr::Value(Value::Null.into()),
            };
        }
        ControlFlow::<()>::Continue(())
    });
}

fn of_session(name: &str, session: &Session, account: &str) -> Option<Option<String>> {
    Some(match name {
        "CURRENT_USER" => Some(session.user.clone()),
        "CURRENT_ROLE" => Some(session.role_name()),
        "CURRENT_DATABASE" => session.database.clone(),
        "CURRENT_SCHEMA" => session.schema.clone(),
        "CURRENT_WAREHOUSE" => session.warehouse.clone(),
        "CURRENT_ACCOUNT" | "CURRENT_ACCOUNT_NAME" => Some(account.to_owned()),
        "CURRENT_REGION" => Some("LOCAL".to_owned()),
        "CURRENT_VERSION" => Some(SERVER_VERSION.to_owned()),
        _ => return None,
    })
}

/// What a function of this name becomes; arguments are rewritten already.
pub(super) fn rewrite(function: &Function, variants: &HashSet<String>) -> Result<Option<Expr>> {
    let name = function.name.to_string();
    if name.starts_with("frazil_") {
        return Ok(None);
    }
    if let Some(rewritten) = aggregates::rewrite(&name, function, variants)? {
        return Ok(Some(rewritten));
    }
    let Some(arguments) = arguments(function) else {
        return Ok(None);
    };
    if let Some(rewritten) = special(&name, &arguments, variants)? {
        return Ok(Some(rewritten));
    }
    let mut rewritten = function.clone();
    let known = NAMES.iter().find(|(ours, _)| *ours == name);
    if let Some((_, other)) = known {
        rewritten.name = ObjectName::from(vec![Ident::new(*other)]);
    }
    let takes_variant = TAKES_VARIANT.contains(&name.as_str());
    if let (false, FunctionArguments::List(list)) = (takes_variant, &mut rewritten.args) {
        for argument in &mut list.args {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument
                && is_variant(argument, variants)
            {
                *argument = call("frazil_text", vec![argument.clone()]);
            }
        }
    }
    Ok(Some(Expr::Function(rewritten)))
}

/// The arguments, if all are plain expressions.
fn arguments(function: &Function) -> Option<Vec<Expr>> {
    match &function.args {
        FunctionArguments::None => Some(Vec::new()),
        FunctionArguments::Subquery(_) => None,
        FunctionArguments::List(list) => list
            .args
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression.clone()),
                _ => None,
            })
            .collect(),
    }
}

fn special(name: &str, arguments: &[Expr], variants: &HashSet<String>) -> Result<Option<Expr>> {
    if let Some(call) = of_texts(name, arguments, variants) {
        return Ok(Some(call));
    }
    let texts: Vec<Expr> = arguments
        .iter()
        .map(|argument| plain(argument, variants))
        .collect();
    if let Some(call) = dates::rewrite(name, &texts)? {
        return Ok(Some(call));
    }
    if let Some(cast) = conversions::rewrite(name, arguments, variants)? {
        return Ok(Some(cast));
    }
    Ok(Some(match (name, arguments) {
        ("IFF", [condition, then, otherwise]) => {
            case(condition.clone(), then.clone(), Some(otherwise.clone()))
        }
        ("DIV0", [one, other]) => call("frazil_divide_or_zero", vec![one.clone(), other.clone()]),
        ("DIV0NULL", [one, other]) => call("frazil_divide_or_zero_of_null", vec![one.clone(), other.clone()]),
        ("ZEROIFNULL", [value]) => call("coalesce", vec![value.clone(), number("0")]),
        ("NULLIFZERO", [value]) => call("nullif", vec![value.clone(), number("0")]),
        // NULL beside anything is NULL.
        ("GREATEST" | "LEAST", [_, ..]) => case(
            any_is_null(arguments),
            Expr::Value(Value::Null.into()),
            Some(call(&name.to_lowercase(), arguments.to_vec())),
        ),
        ("CONCAT", [_, _, ..]) => joined(arguments.iter().map(|argument| plain(argument, variants))),
        ("CONCAT_WS", [between, _, ..]) => {
            let between = plain(between, variants);
            let parts = arguments[1..].iter().map(|argument| plain(argument, variants));
            let mut all = Vec::new();
            for part in parts {
                if !all.is_empty() {
                    all.push(between.clone());
                }
                all.push(part);
            }
            joined(all.into_iter())
        }
        ("SPLIT_PART", [value, between, place]) if matches!(literal(place), Some(Value::Number(zero, _)) if zero == "0") =>
        {
            let first = vec![plain(value, variants), between.clone(), number("1")];
            call("split_part", first)
        }
        ("LEFT", [value, length]) => {
            let begin = vec![plain(value, variants), number("1"), length.clone()];
            call("frazil_substr", begin)
        }
        // A length that is none gives nothing.
        ("RIGHT", [value, length]) => {
            let length = call("greatest", vec![length.clone(), number("0")]);
            call("right", vec![plain(value, variants), length])
        }
        ("OBJECT_CONSTRUCT", []) => call("frazil_parse", vec![text("{}")]),
        ("ARRAY_CONSTRUCT", []) => call("frazil_parse", vec![text("[]")]),
        ("SQUARE", [value]) => Expr::Nested(Box::new(Expr::BinaryOp {
            left: Box::new(value.clone()),
            op: BinaryOperator::Multiply,
            right: Box::new(value.clone()),
        })),
        ("SYSDATE", []) => cast(
            call("now", Vec::new()),
            &DataType::TimestampNtz { scale: 9 },
            false,
        )?,
        ("MOD", [one, other]) => Expr::Nested(Box::new(Expr::BinaryOp {
            left: Box::new(one.clone()),
            op: BinaryOperator::Modulo,
            right: Box::new(other.clone()),
        })),
        ("EQUAL_NULL", [one, other]) => {
            let (mut one, mut other) = (one.clone(), other.clone());
            wrap("frazil_moment", &mut one);
            wrap("frazil_moment", &mut other);
            Expr::IsNotDistinctFrom(Box::new(one), Box::new(other))
        }
        ("GET", [value, key]) => match literal(key) {
            Some(Value::Number(..)) => call("frazil_at", vec![value.clone(), key.clone()]),
            _ => call("frazil_get", vec![value.clone(), key.clone()]),
        },
        ("GET_PATH", [value, path]) => get_path(value, path)?,
        ("TO_JSON", [value]) => call("frazil_json", vec![value.clone()]),
        ("TYPEOF", [value]) => call("frazil_type", vec![value.clone()]),
        ("CHECK_JSON", [value]) => check_json(value),
        ("IS_ARRAY" | "IS_OBJECT" | "IS_BOOLEAN" | "IS_INTEGER" | "IS_NULL_VALUE", [value])
            if is_variant(value, variants) =>
        {
            let kind = name.trim_start_matches("IS_");
            compare(call("frazil_type", vec![value.clone()]), kind)
        }
        ("IS_DECIMAL", [value]) if is_variant(value, variants) => {
            let kind = || call("frazil_type", vec![value.clone()]);
            Expr::Nested(Box::new(Expr::BinaryOp {
                left: Box::new(compare(kind(), "DECIMAL")),
                op: BinaryOperator::Or,
                right: Box::new(compare(kind(), "INTEGER")),
            }))
        }
        _ => return Ok(None),
    }))
}

/// A value as a text, if it is VARIANT.
pub(super) fn plain(value: &Expr, variants: &HashSet<String>) -> Expr {
    if is_variant(value, variants) {
        call("frazil_text", vec![value.clone()])
    } else {
        value.clone()
    }
}

/// The functions of [`super::texts`] that have a name of Snowflake's.
fn of_texts(name: &str, arguments: &[Expr], variants: &HashSet<String>) -> Option<Expr> {
    let other = match (name, arguments.len()) {
        ("MD5" | "MD5_HEX", 1) => "frazil_md5",
        ("SHA1" | "SHA1_HEX", 1) => "frazil_sha1",
        ("SHA2" | "SHA2_HEX", 1 | 2) => "frazil_sha2",
        ("REGEXP_SUBSTR" | "REGEXP_EXTRACT", 2..=6) => "frazil_regexp_substr",
        ("REGEXP_REPLACE", 2..=6) => "frazil_regexp_replace",
        ("SUBSTR" | "SUBSTRING", 2 | 3) => "frazil_substr",
        ("STRTOK", 1..=3) => "frazil_strtok",
        ("RLIKE" | "REGEXP_LIKE", 2 | 3) => {
            let all = arguments.iter().map(|argument| plain(argument, variants));
            return Some(compare(call("frazil_rlike", all.collect()), "true"));
        }
        ("CHARINDEX" | "POSITION", 2 | 3) => return counted("frazil_charindex", arguments, variants),
        ("REGEXP_COUNT", 2..=4) => return counted("frazil_regexp_count", arguments, variants),
        ("REGEXP_INSTR", 2..=6) => return counted("frazil_regexp_instr", arguments, variants),
        ("PARSE_URL", 1 | 2) => "frazil_parse_url",
        ("PARSE_IP", 2 | 3) => "frazil_parse_ip",
        ("CHECK_XML", 1) => "frazil_check_xml",
        ("PARSE_XML", 1) => "frazil_parse_xml",
        // The element is JSON here, and its text is what is wanted.
        ("XMLGET", 2 | 3) => return Some(call("frazil_xmlget", arguments.to_vec())),
        ("CONVERT_TIMEZONE", 2) => {
            let zoned = call("frazil_in_zone", arguments.to_vec());
            return cast(zoned, &DataType::TimestampTz { scale: 9 }, false).ok();
        }
        ("CONVERT_TIMEZONE", 3) => {
            let there = call("frazil_between_zones", arguments.to_vec());
            return cast(there, &DataType::TimestampNtz { scale: 9 }, false).ok();
        }
        ("RANDOM", 0 | 1) => return Some(random()),
        _ => return None,
    };
    let plain = arguments
        .iter()
        .map(|argument| plain(argument, variants))
        .collect();
    Some(call(other, plain))
}

/// A call whose answer is a number.
fn counted(name: &str, arguments: &[Expr], variants: &HashSet<String>) -> Option<Expr> {
    let all = arguments.iter().map(|argument| plain(argument, variants));
    let whole = DataType::Number {
        precision: 38,
        scale: 0,
    };
    cast(call(name, all.collect()), &whole, false).ok()
}

fn any_is_null(values: &[Expr]) -> Expr {
    let each = values.iter().map(|value| Expr::IsNull(Box::new(value.clone())));
    let any = each.reduce(|one, other| Expr::BinaryOp {
        left: Box::new(one),
        op: BinaryOperator::Or,
        right: Box::new(other),
    });
    any.unwrap_or(Expr::Value(Value::Boolean(false).into()))
}

/// Texts one behind the other; NULL if one of them is.
fn joined(parts: impl Iterator<Item = Expr>) -> Expr {
    let all = parts.reduce(|one, other| Expr::BinaryOp {
        left: Box::new(one),
        op: BinaryOperator::StringConcat,
        right: Box::new(other),
    });
    Expr::Nested(Box::new(all.unwrap_or_else(|| text(""))))
}

/// A whole number of 64 bits, as RANDOM gives; a seed changes nothing.
fn random() -> Expr {
    let operation = |left: Expr, op: BinaryOperator, right: Expr| {
        Expr::Nested(Box::new(Expr::BinaryOp {
            left: Box::new(left),
            op,
            right: Box::new(right),
        }))
    };
    let centred = operation(call("random", Vec::new()), BinaryOperator::Minus, number("0.5"));
    Expr::Cast {
        kind: sqlparser::ast::CastKind::Cast,
        expr: Box::new(operation(centred, BinaryOperator::Multiply, number("1.8e19"))),
        data_type: sqlparser::ast::DataType::BigInt(None),
        array: false,
        format: None,
    }
}

fn compare(value: Expr, with: &str) -> Expr {
    Expr::Nested(Box::new(Expr::BinaryOp {
        left: Box::new(value),
        op: BinaryOperator::Eq,
        right: Box::new(text(with)),
    }))
}

/// NULL where the text is JSON, else what is wrong.
fn check_json(value: &Expr) -> Expr {
    let parsed = call("frazil_try_parse", vec![value.clone()]);
    let broken = Expr::BinaryOp {
        left: Box::new(Expr::IsNull(Box::new(parsed))),
        op: BinaryOperator::And,
        right: Box::new(Expr::IsNotNull(Box::new(value.clone()))),
    };
    case(broken, text("the text is no JSON"), None)
}

/// `GET_PATH(v, 'a.b[0]')` as its steps.
fn get_path(value: &Expr, path: &Expr) -> Result<Expr> {
    let Some(Value::SingleQuotedString(path)) = literal(path) else {
        return Err(SqlError::unsupported("a computed path"));
    };
    let mut stepped = value.clone();
    for part in path.replace('[', ".[").split('.').filter(|part| !part.is_empty()) {
        let place = part.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        stepped = match place {
            Some(place) if place.parse::<u64>().is_ok() => {
                let number = Expr::Value(Value::Number(place.to_owned(), false).into());
                call("frazil_at", vec![stepped, number])
            }
            _ => {
                let key = place.unwrap_or(part).trim_matches(['"', '\'']);
                call("frazil_get", vec![stepped, text(key)])
            }
        };
    }
    Ok(stepped)
}
