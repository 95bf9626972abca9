//! Aggregates that DataFusion calls or does otherwise: AVG, COUNT_IF, LISTAGG, APPROX_COUNT_DISTINCT, BOOLAND_AGG, BOOLOR_AGG; and those
//! of numbers over VARIANT, whose values are FLOAT then.
//!
//! Source: Snowflake documentation, the page of each function.

use std::collections::HashSet;

use sqlparser::ast::{
    CaseWhen, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, Value,
};

use super::rewrite::{call, cast, is_variant, text};
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
                [condition] => **condition = if_true(condition.clone()),
                _ => return Err(SqlError::syntax("COUNT_IF takes one condition")),
            }
            Some(Expr::Function(counted))
        }
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

fn if_true(condition: Expr) -> Expr {
    Expr::Case {
        case_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
        end_token: sqlparser::ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen {
            condition,
            result: Expr::Value(Value::Number("1".to_owned(), false).into()),
        }],
        else_result: None,
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
