//! What a call of a function of one's own becomes: its body with the call's values.

use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{
    CaseWhen, CastKind, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value,
    visit_expressions_mut,
};

use super::super::access::{Access, of_made};
use super::super::show::type_text;
use super::super::words::Words;
use super::super::{Name, Result, Session, SqlError, define, naming, types};
use super::{Definition, body, parsed_type};
use crate::snowflake::catalog::Catalog;
use crate::snowflake::catalog::made::{Made, MadeKind};
use crate::snowflake::model::DataType;

/// Functions that call functions, at most so many levels deep.
const DEEPEST: usize = 16;

/// What a call of a function of one's own becomes; `None` if it is none of those.
pub(crate) fn call(
    catalog: &Arc<Catalog>,
    session: &Session,
    function: &Function,
    depth: usize,
) -> Result<Option<Expr>> {
    let Ok(parts) = define::parts(&function.name) else {
        return Ok(None);
    };
    // Without a database no name of one part can be resolved, and it is no function of one's own.
    let Ok(name) = session.resolve(&parts) else {
        return Ok(None);
    };
    let (database, schema) = (Some(name.database.as_str()), Some(name.schema.as_str()));
    let overloads = catalog.all_made(MadeKind::Function, database, schema, Some(&name.name))?;
    if overloads.is_empty() {
        return Ok(None);
    }
    let overloads: Vec<(Made, Definition)> = overloads
        .into_iter()
        .map(|made| Definition::of(&made).map(|definition| (made, definition)))
        .collect::<Result<_>>()?;
    let (made, definition, values) = chosen(&name, function, overloads)?;
    let access = Access::of(catalog, session);
    let found = of_made(&made);
    if !access.sees(&found)? {
        return Err(unknown(&name.name));
    }
    access.require(&found, "USAGE")?;
    let scope = of_body(&name, made.owner);
    inlined(catalog, &scope, &definition, values, depth).map(Some)
}

/// The session in which a body's names are looked up.
pub(super) fn of_body(name: &Name, owner: String) -> Session {
    Session {
        database: Some(name.database.clone()),
        schema: Some(name.schema.clone()),
        role: Some(owner),
        ..Session::default()
    }
}

pub(crate) fn unknown(name: &str) -> SqlError {
    SqlError {
        code: "002140",
        sql_state: "42601",
        message: format!("SQL compilation error: Unknown function {name}"),
    }
}

/// The overload that a call means, and the values of its arguments in order.
fn chosen(
    name: &Name,
    function: &Function,
    overloads: Vec<(Made, Definition)>,
) -> Result<(Made, Definition, Vec<Expr>)> {
    let given: &[FunctionArg] = match &function.args {
        FunctionArguments::List(list) => &list.args,
        _ => &[],
    };
    let mut fitting: Vec<(Made, Definition, Vec<Expr>)> = Vec::new();
    for (made, definition) in overloads {
        if let Some(values) = values(given, &definition) {
            fitting.push((made, definition, values));
        }
    }
    if fitting.len() > 1 {
        let agrees = |definition: &Definition, values: &[Expr]| {
            let pairs = definition.arguments.iter().zip(values);
            pairs
                .into_iter()
                .all(|((_, wanted), value)| kind(value).is_none_or(|kind| kind == class(wanted)))
        };
        fitting.retain(|(_, definition, values)| agrees(definition, values));
    }
    match (fitting.pop(), fitting.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => Err(SqlError::unsupported(&format!(
            "which overload of {} this call means: cast its arguments",
            name.name
        ))),
        (None, _) => {
            let types: Vec<&str> = given.iter().map(|_| "?").collect();
            Err(SqlError {
                code: "001044",
                sql_state: "42P13",
                message: format!(
                    "SQL compilation error: Invalid argument types for function '{}': ({})",
                    name.name,
                    types.join(", ")
                ),
            })
        }
    }
}

/// The values of a call in the order of the arguments; `None` if they are not as many, or are named otherwise.
fn values(given: &[FunctionArg], definition: &Definition) -> Option<Vec<Expr>> {
    if given.len() != definition.arguments.len() {
        return None;
    }
    let value = |(place, (wanted, _)): (usize, &(String, DataType))| {
        let named = given.iter().find_map(|argument| match argument {
            FunctionArg::Named {
                name,
                arg: FunctionArgExpr::Expr(value),
                ..
            } if name.value == *wanted => Some(value.clone()),
            _ => None,
        });
        named.or_else(|| match given.get(place) {
            Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(value))) => Some(value.clone()),
            _ => None,
        })
    };
    definition.arguments.iter().enumerate().map(value).collect()
}

/// What kind of value an expression is, where it says so itself.
fn kind(value: &Expr) -> Option<&'static str> {
    match value {
        Expr::Nested(inner) => kind(inner),
        Expr::UnaryOp { expr, .. } => kind(expr),
        Expr::Value(value) => match value.value {
            Value::Number(..) => Some("number"),
            Value::SingleQuotedString(_) => Some("text"),
            Value::Boolean(_) => Some("boolean"),
            _ => None,
        },
        Expr::Cast { data_type, .. } => types::data_type(data_type).ok().map(|found| class(&found)),
        Expr::JsonAccess { .. } => Some("VARIANT"),
        _ => None,
    }
}

fn class(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Number { .. } | DataType::Float | DataType::Int | DataType::Long | DataType::Decfloat => {
            "number"
        }
        DataType::Varchar { .. } => "text",
        DataType::Boolean => "boolean",
        DataType::Binary { .. } => "BINARY",
        DataType::Date => "DATE",
        DataType::Time { .. } => "TIME",
        DataType::TimestampNtz { .. } => "TIMESTAMP_NTZ",
        DataType::TimestampLtz { .. } => "TIMESTAMP_LTZ",
        DataType::TimestampTz { .. } => "TIMESTAMP_TZ",
        DataType::Variant => "VARIANT",
        DataType::Object | DataType::Struct { .. } | DataType::Map { .. } => "OBJECT",
        DataType::Array | DataType::List { .. } => "ARRAY",
        DataType::Vector { .. } => "VECTOR",
    }
}

/// The body with these values.
pub(super) fn inlined(
    catalog: &Arc<Catalog>,
    scope: &Session,
    definition: &Definition,
    values: Vec<Expr>,
    depth: usize,
) -> Result<Expr> {
    if depth >= DEEPEST {
        return Err(SqlError::unsupported(&format!(
            "functions that call each other {DEEPEST} levels deep"
        )));
    }
    let mut body = body(&definition.body)?;
    naming::resolve_at(catalog, scope, &mut body, depth + 1)?;
    let values: Vec<(&str, Expr)> = definition
        .arguments
        .iter()
        .zip(values)
        .map(|((name, data_type), value)| Ok((name.as_str(), cast(value, data_type)?)))
        .collect::<Result<_>>()?;
    let _ = visit_expressions_mut(&mut body, |part| {
        if let Expr::Identifier(ident) = part
            && let Some((_, value)) = values.iter().find(|(name, _)| *name == ident.value)
        {
            *part = value.clone();
        }
        ControlFlow::<()>::Continue(())
    });
    let body = cast(body, &definition.returns)?;
    if !definition.strict || values.is_empty() {
        return Ok(Expr::Nested(Box::new(body)));
    }
    let token = sqlparser::ast::helpers::attached_token::AttachedToken::empty;
    let conditions = values.into_iter().map(|(_, value)| CaseWhen {
        condition: Expr::IsNull(Box::new(value)),
        result: Expr::Value(Value::Null.into()),
    });
    Ok(Expr::Case {
        case_token: token(),
        end_token: token(),
        operand: None,
        conditions: conditions.collect(),
        else_result: Some(Box::new(body)),
    })
}

fn cast(value: Expr, to: &DataType) -> Result<Expr> {
    let data_type = parsed_type(&Words::of(&type_text(to))?)?;
    Ok(Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Nested(Box::new(value))),
        data_type,
        array: false,
        format: None,
    })
}
