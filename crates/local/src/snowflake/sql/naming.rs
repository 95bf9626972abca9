//! Names in expressions that mean objects: `sequence.NEXTVAL`, and calls of functions of a user's own.
//!
//! It runs before all other rewriting, on the tree as it was parsed. A name that is no such object is left alone: it may be a column's
//! or a built-in function's, and if it is nothing at all the query says so.

use std::fmt::Display;
use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{Expr, Value, VisitMut, visit_expressions_mut};

use super::rewrite::call;
use super::words::Words;
use super::{Result, Session, SqlError, sequences, udf};
use crate::snowflake::catalog::Catalog;

/// Puts in what the names of a statement or an expression stand for.
pub(super) fn resolve(
    catalog: &Arc<Catalog>,
    session: &Session,
    node: &mut (impl VisitMut + Display),
) -> Result<()> {
    let inlined = resolve_at(catalog, session, node, 0)?;
    if inlined {
        // What functions made of it has the limits of what a user writes.
        Words::of(&node.to_string())?;
    }
    Ok(())
}

/// The same within the body of a function, so many levels deep; whether a function was put in.
pub(super) fn resolve_at(
    catalog: &Arc<Catalog>,
    session: &Session,
    node: &mut impl VisitMut,
    depth: usize,
) -> Result<bool> {
    let mut inlined = false;
    let walked = visit_expressions_mut(node, |expression| {
        let replaced = match expression {
            Expr::CompoundIdentifier(_) => number(catalog, session, expression),
            Expr::Function(function) => {
                let body = udf::call(catalog, session, function, depth);
                inlined |= matches!(body, Ok(Some(_)));
                body
            }
            _ => Ok(None),
        };
        match replaced {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(replaced)) => {
                *expression = replaced;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break::<SqlError>(error),
        }
    });
    match walked {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(inlined),
    }
}

/// `sequence.NEXTVAL`
fn number(catalog: &Catalog, session: &Session, expression: &Expr) -> Result<Option<Expr>> {
    let Expr::CompoundIdentifier(parts) = expression else {
        return Ok(None);
    };
    let Some((last, name)) = parts.split_last() else {
        return Ok(None);
    };
    if last.value != sequences::NEXTVAL || last.quote_style.is_some() {
        return Ok(None);
    }
    let name: Vec<String> = name.iter().map(|part| part.value.clone()).collect();
    let Some(made) = sequences::usable(catalog, session, &name)? else {
        return Ok(None);
    };
    let id = Value::Number(made.id.to_string(), false);
    Ok(Some(call(sequences::TAKE, vec![Expr::Value(id.into())])))
}
