//! Queries that name `METADATA$ROW_LAST_COMMIT_TIME` ([`row_timestamps`]).

use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    ExcludeSelectItem, Expr, Ident, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    Statement, TableFactor, VisitMut, VisitorMut, visit_expressions,
};

use crate::snowflake::row_timestamps::COLUMN;

/// Whether a statement names it.
pub(super) fn is_named(statement: &Statement) -> bool {
    let named = visit_expressions(statement, |expression| {
        let last = match expression {
            Expr::Identifier(ident) => Some(ident),
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        match last {
            Some(ident) if ident.value == COLUMN => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    named.is_break()
}

/// Leaves it out of every `*` over a table itself.
pub(super) fn leave_out_of_wildcards(statement: &mut Statement, common: &HashSet<String>) {
    let _ = statement.visit(&mut Wildcards { common });
}

struct Wildcards<'c> {
    /// Names that WITH gives.
    common: &'c HashSet<String>,
}

impl VisitorMut for Wildcards<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.body(&mut query.body);
        ControlFlow::Continue(())
    }
}

impl Wildcards<'_> {
    fn body(&self, body: &mut SetExpr) {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left);
                self.body(right);
            }
            _ => {}
        }
    }

    fn select(&self, select: &mut Select) {
        let tables: HashSet<String> = select
            .from
            .iter()
            .flat_map(|from| {
                std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
            })
            .filter_map(|relation| self.table(relation))
            .collect();
        for item in &mut select.projection {
            let (options, applies) = match item {
                SelectItem::Wildcard(options) => (options, !tables.is_empty()),
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    let last = name.0.last().and_then(|part| part.as_ident());
                    let applies = last.is_some_and(|ident| tables.contains(&ident.value));
                    (options, applies)
                }
                _ => continue,
            };
            if applies && options.opt_exclude.is_none() {
                options.opt_exclude = Some(ExcludeSelectItem::Single(Ident::with_quote('"', COLUMN)));
            }
        }
    }

    /// How a table itself is called in its SELECT.
    fn table(&self, relation: &TableFactor) -> Option<String> {
        let TableFactor::Table { name, alias, .. } = relation else {
            return None;
        };
        let last = name.0.last()?.as_ident()?.value.clone();
        if name.0.len() == 1 && self.common.contains(&last) {
            return None;
        }
        Some(alias.as_ref().map_or(last, |alias| alias.name.value.clone()))
    }
}
