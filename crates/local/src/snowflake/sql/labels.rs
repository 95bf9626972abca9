//! Names of result columns that have no alias: the text of their expression in upper case. Also TOP and MINUS, which are other words
//! for LIMIT and EXCEPT.
//!
//! Without them a column would be called as the plan writes it, casts left out and functions of ours named. Of two columns of one
//! name the plan would make an error, where the service has both: the later ones are told apart by a number behind [`AGAIN`], which
//! results leave out. What it does not: keep the spaces of the text as they were written.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, LimitClause, OrderByKind, Query, SelectItem, SetExpr, SetOperator, Statement, Top,
    TopQuantity, Value, VisitMut as _, VisitorMut,
};

/// What stands between the name of a column and the number that makes it another one.
pub(super) const AGAIN: char = '\u{1}';

/// Gives each expression of a SELECT its name.
pub(super) fn give(statement: &mut Statement) {
    let _: ControlFlow<()> = statement.visit(&mut Labels);
}

struct Labels;

impl VisitorMut for Labels {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        limited(query);
        let given = body(&mut query.body);
        let Some(OrderByKind::Expressions(order)) = query.order_by.as_mut().map(|order| &mut order.kind)
        else {
            return ControlFlow::Continue(());
        };
        // What is ordered by an expression of the SELECT is ordered by its column.
        for by in order {
            if let Some((_, label)) = given.iter().find(|(expression, _)| *expression == by.expr) {
                by.expr = Expr::Identifier(label.clone());
            }
        }
        ControlFlow::Continue(())
    }
}

/// `SELECT TOP n` is a limit.
fn limited(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else {
        return;
    };
    let is_plain = |top: &Top| !top.with_ties && !top.percent;
    let count = match select
        .top
        .as_ref()
        .filter(|top| is_plain(top) && query.limit_clause.is_none())
    {
        Some(Top {
            quantity: Some(TopQuantity::Constant(count)),
            ..
        }) => *count,
        _ => return,
    };
    select.top = None;
    query.limit_clause = Some(LimitClause::LimitOffset {
        limit: Some(Expr::Value(Value::Number(count.to_string(), false).into())),
        offset: None,
        limit_by: Vec::new(),
    });
}

/// The expressions that got a name. Of several SELECTs the first one says the names.
fn body(of: &mut SetExpr) -> Vec<(Expr, Ident)> {
    let mut given = Vec::new();
    let select = match of {
        SetExpr::Select(select) => select,
        SetExpr::SetOperation { left, right, op, .. } => {
            if *op == SetOperator::Minus {
                *op = SetOperator::Except;
            }
            body(left);
            body(right);
            return given;
        }
        _ => return given,
    };
    let mut names: Vec<String> = Vec::new();
    for item in &mut select.projection {
        let (expression, name) = match item {
            SelectItem::UnnamedExpr(expression) => {
                let Some(name) = label(expression) else { continue };
                (expression, name)
            }
            SelectItem::ExprWithAlias { expr, alias } => (expr, alias.value.clone()),
            _ => continue,
        };
        let times = names.iter().filter(|known| **known == name).count();
        names.push(name.clone());
        let is_column = matches!(expression, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        if times == 0 && is_column {
            continue;
        }
        let alias = match times {
            0 => name,
            times => format!("{name}{AGAIN}{times}"),
        };
        let (expression, alias) = (expression.clone(), Ident::with_quote('"', alias));
        if !is_column {
            given.push((expression.clone(), alias.clone()));
        }
        *item = SelectItem::ExprWithAlias {
            expr: expression,
            alias,
        };
    }
    given
}

/// A column is called by its own name, also where that of its table stands before it.
fn label(expression: &Expr) -> Option<String> {
    if let Expr::Identifier(name) = expression {
        return Some(name.value.clone());
    }
    if let Expr::CompoundIdentifier(_) = expression {
        return Some(expression.to_string());
    }
    let label = expression.to_string().to_uppercase();
    // A type or a name that something of ours stands for.
    (!label.contains("FRAZIL_")).then_some(label)
}
