//! Names in expressions that mean objects: `sequence.NEXTVAL`.
//!
//! It runs before all other rewriting, on the tree as it was parsed. A name that is no such object is left alone: it may be a column's,
//! and if it is nothing at all the query says so.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Value, VisitMut, visit_expressions_mut};

use super::rewrite::call;
use super::{Result, Session, sequences};
use crate::snowflake::catalog::Catalog;

/// Puts in what the names of a statement or an expression stand for.
pub(super) fn resolve(catalog: &Catalog, session: &Session, node: &mut impl VisitMut) -> Result<()> {
    let walked = visit_expressions_mut(node, |expression| match one(catalog, session, expression) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    });
    match walked {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn one(catalog: &Catalog, session: &Session, expression: &mut Expr) -> Result<()> {
    if let Expr::CompoundIdentifier(parts) = expression
        && let Some((last, name)) = parts.split_last()
        && last.value == sequences::NEXTVAL
        && last.quote_style.is_none()
    {
        let name: Vec<String> = name.iter().map(|part| part.value.clone()).collect();
        if let Some(made) = sequences::usable(catalog, session, &name)? {
            let id = Value::Number(made.id.to_string(), false);
            *expression = call(sequences::TAKE, vec![Expr::Value(id.into())]);
        }
    }
    Ok(())
}
