//! A SELECT of Snowflake's into one of DataFusion's.
//!
//! - `v:a.b[0]` becomes steps of functions ([`super::variant`]).
//! - A cast of VARIANT follows the rules of the columns ([`super::casts`]); Snowflake's functions become those of
//!   DataFusion or ours ([`super::functions`]). An expression is taken for VARIANT where it is a path, or the name of a column
//!   that is VARIANT, OBJECT or ARRAY in one of the tables and of another type in none.
//! - Types become those that hold them: NUMBER is DECIMAL, integers are DECIMAL(38,0), TIMESTAMP_NTZ is TIMESTAMP.

use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    AccessExpr, BinaryOperator, CaseWhen, CastKind, DataType as Type, ExactNumberInfo, Expr, Function,
    FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, JsonPathElem, ObjectName,
    Statement, Subscript, TimezoneInfo, UnaryOperator, Value, VisitMut, visit_expressions_mut,
};

use super::types::data_type;
use super::{Result, SqlError, dates, functions, texts};
use crate::snowflake::model::DataType;
use crate::snowflake::rows::is_moment;

/// Rewrites a statement in place.
pub(super) fn run(statement: &mut Statement, variants: &HashSet<String>) -> Result<()> {
    visit(statement, variants)
}

/// Rewrites an expression in place.
pub(super) fn expression(expression: &mut Expr, variants: &HashSet<String>) -> Result<()> {
    visit(expression, variants)
}

fn visit(node: &mut impl VisitMut, variants: &HashSet<String>) -> Result<()> {
    let mut failed = None;
    let walked = visit_expressions_mut(node, |expression| match one(expression, variants) {
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
                    JsonPathElem::Bracket { key } => step(stepped, key)?,
                    #[allow(unreachable_patterns)]
                    _ => return Err(SqlError::unsupported("this step of a path")),
                };
            }
            *expression = stepped;
        }
        // One with an exponent is a FLOAT.
        Expr::Value(value) => {
            if let Value::Number(number, _) = &value.value
                && number.contains(['e', 'E'])
            {
                *expression = Expr::Cast {
                    kind: CastKind::Cast,
                    expr: Box::new(text(number)),
                    data_type: Type::DoublePrecision,
                    array: false,
                    format: None,
                };
            }
        }
        Expr::Cast {
            expr,
            data_type: to,
            kind,
            ..
        } => {
            let wanted = data_type(to)?;
            let lenient = matches!(kind, CastKind::TryCast | CastKind::SafeCast);
            match (&wanted, is_variant(expr, variants)) {
                (DataType::Variant, true) => *expression = (**expr).clone(),
                (DataType::Variant, false) => *expression = call("frazil_variant", vec![(**expr).clone()]),
                (DataType::Varchar { .. }, true) => *expression = call("frazil_text", vec![(**expr).clone()]),
                // A literal keeps all of its digits.
                (DataType::Decfloat, false) if number_text(expr).is_some() => {
                    let digits = number_text(expr).unwrap_or_default();
                    *expression = cast(text(&digits), &wanted, lenient)?;
                }
                (wanted, variant) if variant || wanted.json_kind().is_some() || is_typed(wanted) => {
                    *expression = cast((**expr).clone(), wanted, lenient)?;
                }
                _ => {
                    let untyped = match &wanted {
                        DataType::Date | DataType::Time { .. } => "frazil_wall",
                        DataType::Varchar { .. } => "frazil_shown",
                        _ => "frazil_plain",
                    };
                    wrap(untyped, expr);
                    *to = stored(&wanted);
                    if *kind == CastKind::DoubleColon {
                        *kind = CastKind::Cast;
                    }
                }
            }
        }
        Expr::CompoundFieldAccess { root, access_chain } if is_variant(root, variants) => {
            let mut stepped = (**root).clone();
            for access in access_chain {
                stepped = match access {
                    AccessExpr::Subscript(Subscript::Index { index }) => step(stepped, index)?,
                    AccessExpr::Dot(Expr::Identifier(key)) => {
                        call("frazil_get", vec![stepped, text(&key.value)])
                    }
                    _ => return Err(SqlError::unsupported("this step of a path")),
                };
            }
            *expression = stepped;
        }
        Expr::Function(function) => {
            if let Some(rewritten) = functions::rewrite(function, variants)? {
                *expression = rewritten;
            }
        }
        Expr::Like { expr, .. }
        | Expr::ILike { expr, .. }
        | Expr::RLike { expr, .. }
        | Expr::Substring { expr, .. }
        | Expr::Trim { expr, .. }
            if is_variant(expr, variants) =>
        {
            **expr = call("frazil_text", vec![(**expr).clone()]);
        }
        Expr::Ceil { expr, .. } | Expr::Floor { expr, .. } if is_variant(expr, variants) => {
            **expr = cast((**expr).clone(), &DataType::Float, false)?;
        }
        Expr::InList { expr, list, .. } if is_variant(expr, variants) => {
            if let Some(first) = list.first() {
                operand(expr, &BinaryOperator::Eq, first)?;
            }
        }
        Expr::Between { expr, low, .. } if is_variant(expr, variants) => {
            operand(expr, &BinaryOperator::GtEq, low)?;
        }
        // As comparisons it is planned as these are, whatever the type of what is looked for.
        Expr::InList { expr, list, negated } if is_of_moments(list) => {
            let each = |item: &Expr| binary((**expr).clone(), BinaryOperator::Eq, item.clone());
            let any = list
                .iter()
                .map(each)
                .reduce(|one, other| binary(one, BinaryOperator::Or, other));
            if let Some(any) = any {
                *expression = either(Expr::Nested(Box::new(any)), *negated);
            }
        }
        Expr::InList { expr, list, .. } => {
            wrap("frazil_moment", expr);
            list.iter_mut().for_each(|item| wrap("frazil_moment", item));
        }
        Expr::IsDistinctFrom(one, other) | Expr::IsNotDistinctFrom(one, other) => {
            wrap("frazil_moment", one);
            wrap("frazil_moment", other);
        }
        // As two comparisons it is planned as these are, whatever the types.
        Expr::Between {
            expr,
            negated,
            low,
            high,
        } => {
            let (least, most) = (
                binary((**expr).clone(), BinaryOperator::GtEq, (**low).clone()),
                binary((**expr).clone(), BinaryOperator::LtEq, (**high).clone()),
            );
            let within = Expr::Nested(Box::new(binary(least, BinaryOperator::And, most)));
            *expression = either(within, *negated);
        }
        Expr::Extract { field, expr, .. } => {
            *expression = dates::extract(&field.to_string(), (**expr).clone())?;
        }
        // Without a start and a length it is a function call.
        Expr::Substring {
            expr,
            substring_from: Some(from),
            substring_for,
            ..
        } => {
            let mut arguments = vec![(**expr).clone(), (**from).clone()];
            arguments.extend(substring_for.as_deref().cloned());
            *expression = call("frazil_substr", arguments);
        }
        Expr::RLike {
            negated,
            expr,
            pattern,
            ..
        } => {
            let matches = call("frazil_rlike", vec![(**expr).clone(), (**pattern).clone()]);
            let truth = binary(matches, BinaryOperator::Eq, text("true"));
            *expression = either(Expr::Nested(Box::new(truth)), *negated);
        }
        Expr::Position { expr, r#in } => {
            let place = call("frazil_charindex", vec![(**expr).clone(), (**r#in).clone()]);
            let whole = DataType::Number {
                precision: 38,
                scale: 0,
            };
            *expression = cast(place, &whole, false)?;
        }
        Expr::Array(array) if !array.elem.is_empty() => {
            *expression = call("frazil_array", std::mem::take(&mut array.elem));
        }
        Expr::BinaryOp { left, op, right } => {
            match (is_variant(left, variants), is_variant(right, variants)) {
                (true, false) => operand(left, op, right)?,
                (false, true) => operand(right, op, left)?,
                _ => {}
            }
        }
        _ => {}
    }
    Ok(())
}

/// Puts a function of [`super::typed`] around what is no literal.
pub(super) fn wrap(function: &str, value: &mut Expr) {
    if literal(value).is_none() {
        *value = call(function, vec![value.clone()]);
    }
}

/// Whether the type is one that DataFusion does not cast to as it is to be.
fn is_typed(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::TimestampNtz { .. }
            | DataType::TimestampLtz { .. }
            | DataType::TimestampTz { .. }
            | DataType::Decfloat
            | DataType::Vector { .. }
    )
}

/// The digits of a literal number, also of one with an exponent, which is a FLOAT by now.
fn number_text(value: &Expr) -> Option<String> {
    match value {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => Some(number.clone()),
            _ => None,
        },
        Expr::Cast {
            expr,
            data_type: Type::DoublePrecision,
            ..
        } => match literal(expr) {
            Some(Value::SingleQuotedString(number)) => Some(number.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// Whether these are few texts, each of which is a timestamp.
fn is_of_moments(list: &[Expr]) -> bool {
    const FEW: usize = 50;
    let is_moment =
        |item: &Expr| matches!(literal(item), Some(Value::SingleQuotedString(text)) if is_moment(text));
    list.len() <= FEW && list.iter().all(is_moment)
}

fn either(truth: Expr, negated: bool) -> Expr {
    if !negated {
        return truth;
    }
    Expr::UnaryOp {
        op: UnaryOperator::Not,
        expr: Box::new(truth),
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    }
}

/// A VARIANT beside a value of another type is cast to that: to a number beside numbers and in arithmetic, else to text.
fn operand(variant: &mut Expr, op: &BinaryOperator, other: &Expr) -> Result<()> {
    let arithmetic = matches!(
        op,
        BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo
    );
    let other = match other {
        Expr::UnaryOp { expr, .. } => expr,
        other => other,
    };
    let inner = Box::new(variant.clone());
    *variant = match literal(other) {
        Some(Value::Number(..)) => cast(*inner, &DataType::Float, false)?,
        Some(Value::Boolean(_)) => cast(*inner, &DataType::Boolean, false)?,
        _ if arithmetic => cast(*inner, &DataType::Float, false)?,
        Some(Value::SingleQuotedString(_)) => call("frazil_text", vec![*inner]),
        _ if *op == BinaryOperator::StringConcat => call("frazil_text", vec![*inner]),
        // What the other side is, only the plan knows.
        _ => return Ok(()),
    };
    Ok(())
}

/// One step of a path: by a key, or by a place.
fn step(value: Expr, key: &Expr) -> Result<Expr> {
    match literal(key) {
        Some(Value::SingleQuotedString(key)) => Ok(call("frazil_get", vec![value, text(key)])),
        Some(Value::Number(..)) => Ok(call("frazil_at", vec![value, key.clone()])),
        _ => Err(SqlError::unsupported("a computed step of a path")),
    }
}

/// A cast of VARIANT or text by the rules of the columns.
pub(super) fn cast(value: Expr, to: &DataType, lenient: bool) -> Result<Expr> {
    let name = if lenient { "frazil_try_cast" } else { "frazil_cast" };
    let to = serde_json::to_string(to).map_err(SqlError::syntax)?;
    Ok(call(name, vec![value, text(&to)]))
}

pub(super) fn literal(expression: &Expr) -> Option<&Value> {
    match expression {
        Expr::Value(value) => Some(&value.value),
        _ => None,
    }
}

/// Those of [`super::variant`] that answer JSON.
const GIVES_VARIANT: [&str; 8] = [
    "frazil_get",
    "frazil_at",
    "frazil_variant",
    "frazil_parse",
    "frazil_try_parse",
    "frazil_object",
    "frazil_array",
    "frazil_split",
];

pub(super) fn is_variant(expression: &Expr, variants: &HashSet<String>) -> bool {
    match expression {
        Expr::Identifier(ident) => variants.contains(&ident.value),
        Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|ident| variants.contains(&ident.value)),
        Expr::Nested(inner) => is_variant(inner, variants),
        Expr::Function(function) => {
            let name = function.name.to_string();
            GIVES_VARIANT.contains(&name.as_str()) || texts::gives_json(&name)
        }
        _ => false,
    }
}

pub(super) fn text(text: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.to_owned()).into())
}

pub(super) fn call(name: &str, arguments: Vec<Expr>) -> Expr {
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

/// A literal number.
pub(super) fn number(digits: &str) -> Expr {
    Expr::Value(Value::Number(digits.to_owned(), false).into())
}

/// `CASE WHEN condition THEN then ELSE otherwise END`
pub(super) fn case(condition: Expr, then: Expr, otherwise: Option<Expr>) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen {
            condition,
            result: then,
        }],
        else_result: otherwise.map(Box::new),
    }
}

/// The type of DataFusion's SQL that holds it.
fn stored(wanted: &DataType) -> Type {
    match wanted {
        DataType::Number { precision, scale } => Type::Decimal(ExactNumberInfo::PrecisionAndScale(
            u64::from(*precision),
            i64::from(*scale),
        )),
        DataType::Int | DataType::Long => Type::Decimal(ExactNumberInfo::PrecisionAndScale(19, 0)),
        DataType::Float => Type::DoublePrecision,
        DataType::Boolean => Type::Boolean,
        DataType::Binary { .. } => Type::Bytea,
        DataType::Date => Type::Date,
        DataType::Time { .. } => Type::Time(None, TimezoneInfo::None),
        DataType::Varchar { .. }
        | DataType::TimestampNtz { .. }
        | DataType::TimestampLtz { .. }
        | DataType::TimestampTz { .. }
        | DataType::Decfloat
        | DataType::Vector { .. }
        | DataType::Variant
        | DataType::Object
        | DataType::Array
        | DataType::Struct { .. }
        | DataType::List { .. }
        | DataType::Map { .. } => Type::Varchar(None),
    }
}
