//! Aggregates that DataFusion calls or does otherwise: AVG, MEDIAN, COUNT_IF, LISTAGG, ARRAY_AGG, OBJECT_AGG, APPROX_COUNT_DISTINCT,
//! BOOLAND_AGG, BOOLOR_AGG; those of numbers over VARIANT, whose values are FLOAT then; and the window of FIRST_VALUE, LAST_VALUE and
//! NTH_VALUE, which is all of the partition where nothing else is said.
//!
//! Source: Snowflake documentation, the page of each function.

use std::collections::HashSet;

use sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, OrderByExpr, WindowFrame, WindowFrameBound,
    WindowFrameUnits, WindowType,
};

use super::rewrite::{call, case, cast, is_variant, number, text};
use super::{Result, SqlError};
use crate::snowflake::model::DataType;

/// Those whose name is another one.
const NAMES: [(&str, &str); 5] = [
    ("APPROX_COUNT_DISTINCT", "approx_distinct"),
    ("HLL", "approx_distinct"),
    ("BOOLAND_AGG", "bool_and"),
    ("BOOLOR_AGG", "bool_or"),
    ("VARIANCE", "var_samp"),
];

/// Those of numbers.
const NUMERIC: [&str; 8] = [
    "SUM",
    "AVG",
    "MEDIAN",
    "STDDEV",
    "STDDEV_SAMP",
    "STDDEV_POP",
    "VAR_SAMP",
    "VARIANCE",
];

/// What a call becomes; `None` if it stays.
pub(super) fn rewrite(name: &str, function: &Function, variants: &HashSet<String>) -> Result<Option<Expr>> {
    let mut function = function.clone();
    if NUMERIC.contains(&name) {
        for argument in arguments(&mut function) {
            if is_variant(argument, variants) {
                *argument = cast(argument.clone(), &DataType::Float, false)?;
            }
        }
    }
    if let Some((_, other)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(Some(Expr::Function(named(function, other))));
    }
    Ok(match name {
        "AVG" => {
            let (sum, count) = (named(function.clone(), "sum"), named(function, "count"));
            Some(call(
                "frazil_divide",
                vec![Expr::Function(sum), Expr::Function(count)],
            ))
        }
        "COUNT_IF" => {
            let mut counted = named(function, "count");
            match arguments(&mut counted).as_mut_slice() {
                [condition] => **condition = case(condition.clone(), number("1"), None),
                _ => return Err(SqlError::syntax("COUNT_IF takes one condition")),
            }
            Some(Expr::Function(counted))
        }
        "MEDIAN" => {
            // Of whole numbers, too, it may lie between two.
            for argument in arguments(&mut function) {
                *argument = call("frazil_divide", vec![argument.clone(), number("1")]);
            }
            Some(Expr::Function(function))
        }
        "FIRST_VALUE" | "LAST_VALUE" | "NTH_VALUE" => whole_partition(function),
        "ARRAY_AGG" | "ARRAYAGG" => Some(array(function)?),
        "OBJECT_AGG" => Some(object(function, variants)?),
        "LISTAGG" => Some(list(function, variants)?),
        name if NUMERIC.contains(&name) => Some(Expr::Function(function)),
        _ => None,
    })
}

fn named(mut function: Function, name: &str) -> Function {
    function.name = ObjectName::from(vec![Ident::new(name)]);
    function
}

fn arguments(function: &mut Function) -> Vec<&mut Expr> {
    let FunctionArguments::List(list) = &mut function.args else {
        return Vec::new();
    };
    let plain = list.args.iter_mut().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => Some(argument),
        _ => None,
    });
    plain.collect()
}

/// With the window that Snowflake gives a function of one row's value; `None` if one is said.
fn whole_partition(mut function: Function) -> Option<Expr> {
    let Some(WindowType::WindowSpec(window)) = &mut function.over else {
        return None;
    };
    if window.window_frame.is_some() {
        return None;
    }
    window.window_frame = Some(WindowFrame {
        units: WindowFrameUnits::Rows,
        start_bound: WindowFrameBound::Preceding(None),
        end_bound: Some(WindowFrameBound::Following(None)),
    });
    Some(Expr::Function(function))
}

fn beside(one: Expr, other: Expr) -> Expr {
    Expr::Nested(Box::new(Expr::BinaryOp {
        left: Box::new(one),
        op: BinaryOperator::StringConcat,
        right: Box::new(other),
    }))
}

/// The texts of an aggregate's values, which are JSON, as one JSON text between two brackets.
fn joined(mut function: Function, value: Expr, brackets: [&str; 2], to: &DataType) -> Result<Expr> {
    let order = std::mem::take(&mut function.within_group);
    let FunctionArguments::List(list) = &mut function.args else {
        return Err(SqlError::syntax("an aggregate wants a value"));
    };
    let is_distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    let plain = |expression| FunctionArg::Unnamed(FunctionArgExpr::Expr(expression));
    list.args = vec![plain(value.clone()), plain(text(","))];
    if let Some(first) = order.first() {
        let order = match is_distinct {
            true => vec![OrderByExpr {
                expr: value,
                ..first.clone()
            }],
            false => order,
        };
        list.clauses.push(FunctionArgumentClause::OrderBy(order));
    }
    let listed = Expr::Function(named(function, "string_agg"));
    let [begin, end] = brackets;
    let inner = call("coalesce", vec![listed, text("")]);
    let all = beside(beside(text(begin), inner), text(end));
    cast(call("frazil_parse", vec![all]), to, false)
}

/// `ARRAY_AGG(x) [WITHIN GROUP (ORDER BY y)]`, without NULLs.
fn array(mut function: Function) -> Result<Expr> {
    match arguments(&mut function).as_slice() {
        [value] => {
            let value = call("frazil_json", vec![(*value).clone()]);
            joined(function, value, ["[", "]"], &DataType::Array)
        }
        _ => Err(SqlError::syntax("ARRAY_AGG takes one value")),
    }
}

/// `OBJECT_AGG(key, value)`, without pairs of NULL.
fn object(mut function: Function, variants: &HashSet<String>) -> Result<Expr> {
    match arguments(&mut function).as_slice() {
        [key, value] => {
            let key = match is_variant(key, variants) {
                true => call("frazil_text", vec![(*key).clone()]),
                false => (*key).clone(),
            };
            let pair = beside(
                beside(call("frazil_json", vec![key]), text(":")),
                call("frazil_json", vec![(*value).clone()]),
            );
            joined(function, pair, ["{", "}"], &DataType::Object)
        }
        _ => Err(SqlError::syntax("OBJECT_AGG takes a key and a value")),
    }
}

/// `LISTAGG(x, d) WITHIN GROUP (ORDER BY y)`; of no values an empty text.
fn list(mut function: Function, variants: &HashSet<String>) -> Result<Expr> {
    let order = std::mem::take(&mut function.within_group);
    let FunctionArguments::List(FunctionArgumentList {
        args,
        clauses,
        duplicate_treatment,
    }) = &mut function.args
    else {
        return Err(SqlError::syntax("LISTAGG takes a value and a delimiter"));
    };
    if args.len() == 1 {
        args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(text(""))));
    }
    // They are ordered as what they are, not as their texts.
    if *duplicate_treatment == Some(DuplicateTreatment::Distinct)
        && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(between))) = args.pop()
    {
        if !order.is_empty() {
            clauses.push(FunctionArgumentClause::OrderBy(order));
        }
        let all = Expr::Function(named(function, "array_agg"));
        let listed = call("array_to_string", vec![all, between]);
        return Ok(call("coalesce", vec![listed, text("")]));
    }
    if !order.is_empty() {
        clauses.push(FunctionArgumentClause::OrderBy(order));
    }
    if let Some(first) = arguments(&mut function).into_iter().next() {
        let shown = if is_variant(first, variants) {
            "frazil_text"
        } else {
            "frazil_shown"
        };
        *first = Expr::Cast {
            kind: sqlparser::ast::CastKind::Cast,
            expr: Box::new(call(shown, vec![first.clone()])),
            data_type: sqlparser::ast::DataType::Varchar(None),
            array: false,
            format: None,
        };
    }
    let listed = Expr::Function(named(function, "string_agg"));
    Ok(call("coalesce", vec![listed, text("")]))
}
