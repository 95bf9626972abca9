//! `FROM VALUES (...)`: its columns are COLUMN1, COLUMN2 ... and, where nothing else is in FROM, `$1`, `$2` ...
//!
//! Source: Snowflake documentation, "VALUES". `$1` of a table or of a join is unknown.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, Query, Select, SetExpr, Statement, TableAlias, TableAliasColumnDef, TableFactor, Value,
    VisitMut as _, VisitorMut, visit_expressions_mut,
};

/// Names the columns of each VALUES in FROM.
pub(super) fn name_columns(statement: &mut Statement) {
    let _: ControlFlow<()> = statement.visit(&mut Names);
}

struct Names;

impl VisitorMut for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let SetExpr::Select(select) = query.body.as_mut()
            && let Some(columns) = only_values(select)
        {
            by_place(select, columns);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let Some(count) = values(factor) else {
            return ControlFlow::Continue(());
        };
        if let TableFactor::Derived { alias, .. } = factor {
            let alias = alias.get_or_insert_with(|| TableAlias {
                explicit: true,
                name: Ident::with_quote('"', "VALUES"),
                columns: Vec::new(),
            });
            if alias.columns.is_empty() {
                let named = |place: usize| TableAliasColumnDef {
                    name: Ident::with_quote('"', column(place)),
                    data_type: None,
                };
                alias.columns = (1..=count).map(named).collect();
            }
        }
        ControlFlow::Continue(())
    }
}

fn column(place: usize) -> String {
    format!("COLUMN{place}")
}

/// How many columns the VALUES of a factor has; `None` if it is something else.
fn values(factor: &TableFactor) -> Option<usize> {
    let TableFactor::Derived { subquery, .. } = factor else {
        return None;
    };
    match subquery.body.as_ref() {
        SetExpr::Values(values) => values.rows.first().map(Vec::len),
        _ => None,
    }
}

/// The columns of a SELECT whose FROM is one VALUES and nothing else.
fn only_values(select: &Select) -> Option<Vec<Ident>> {
    let [from] = select.from.as_slice() else {
        return None;
    };
    let count = values(&from.relation).filter(|_| from.joins.is_empty())?;
    let named = match &from.relation {
        TableFactor::Derived { alias, .. } => alias.as_ref().map(|alias| alias.columns.as_slice()),
        _ => None,
    };
    let named = named.unwrap_or_default();
    let name = |place: usize| match named.get(place) {
        Some(column) => column.name.clone(),
        None => Ident::with_quote('"', column(place + 1)),
    };
    Some((0..count).map(name).collect())
}

/// Replaces `$1` by the first column's name, and so on.
fn by_place(select: &mut Select, columns: Vec<Ident>) {
    let _ = visit_expressions_mut(select, |expression| {
        if let Expr::Value(value) = expression
            && let Value::Placeholder(mark) = &value.value
            && let Some(place) = mark
                .strip_prefix('$')
                .and_then(|place| place.parse::<usize>().ok())
            && let Some(column) = place.checked_sub(1).and_then(|place| columns.get(place))
        {
            *expression = Expr::Identifier(column.clone());
        }
        ControlFlow::<()>::Continue(())
    });
}
