//! `LATERAL FLATTEN(...)` and `TABLE(FLATTEN(...))` in FROM.
//!
//! How it works: the relation whose value is opened becomes a subquery of the same name that has the elements as further columns, and
//! what names the function's columns names these. Their names hold [`APART`], which no name of a user does, and results leave out what
//! stands before it.
//!
//! Source: Snowflake documentation, "FLATTEN". What it does not: open a value that is computed of several relations, and tell the
//! columns of two FLATTENs apart where their alias is missing.

mod function;

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArguments, Ident, JoinOperator, Query,
    Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Statement, TableAlias, TableFactor, Value,
    VisitMut as _, VisitorMut, visit_expressions, visit_expressions_mut,
};
use sqlparser::dialect::SnowflakeDialect;
use sqlparser::parser::Parser;

pub(super) use self::function::register;
use super::{Result, SqlError};

/// What stands between a FLATTEN's name and its column's.
pub(super) const APART: char = '\u{2}';
/// Its columns.
const COLUMNS: [&str; 6] = ["SEQ", "KEY", "PATH", "INDEX", "VALUE", "THIS"];
/// Those that are VARIANT.
const VARIANTS: [&str; 2] = ["VALUE", "THIS"];

/// One FLATTEN of a FROM.
struct Found {
    /// Its alias, or a name that nobody else has.
    name: String,
    input: Expr,
    path: String,
    outer: bool,
    objects: bool,
    arrays: bool,
    recursive: bool,
}

/// Rewrites each FLATTEN of a statement; answers the names of the columns that are VARIANT.
pub(super) fn rewrite(statement: &mut Statement) -> Result<Vec<String>> {
    let mut rewriter = Rewriter { variants: Vec::new() };
    match statement.visit(&mut rewriter) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(rewriter.variants),
    }
}

struct Rewriter {
    variants: Vec<String>,
}

impl VisitorMut for Rewriter {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        match self.query(query) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Rewriter {
    fn query(&mut self, query: &mut Query) -> Result<()> {
        let SetExpr::Select(select) = query.body.as_mut() else {
            return self.body(&mut query.body);
        };
        let owners = self.select(select)?;
        if let Some(order) = &mut query.order_by {
            rename(order, &owners);
        }
        Ok(())
    }

    fn body(&mut self, body: &mut SetExpr) -> Result<()> {
        match body {
            SetExpr::Select(select) => self.select(select).map(drop),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left)?;
                self.body(right)
            }
            _ => Ok(()),
        }
    }

    /// Takes the FLATTENs out of a FROM; answers in which relation the columns of each are now.
    fn select(&mut self, select: &mut Select) -> Result<Owners> {
        let mut owners = Owners::default();
        let mut number = 0;
        while let Some(found) = take(select, &mut number)? {
            let mut input = found.input.clone();
            rename(&mut input, &owners);
            name_relations(select);
            let owner = owner(select, &input)?;
            attach(select, &owner, &found, &input)?;
            self.variants
                .extend(VARIANTS.map(|column| format!("{}{APART}{column}", found.name)));
            owners.only = (number == 1).then(|| found.name.clone());
            owners.of.insert(found.name, owner);
        }
        if owners.of.is_empty() {
            return Ok(owners);
        }
        wildcards(select, &owners);
        let from = std::mem::take(&mut select.from);
        rename(select, &owners);
        select.from = from;
        Ok(owners)
    }
}

/// Which relation has the columns of each FLATTEN.
#[derive(Default)]
struct Owners {
    of: HashMap<String, String>,
    /// The one whose columns need no name before them.
    only: Option<String>,
}

/// The columns of a FLATTEN, where they are named, become those of the relation that has them.
fn rename(node: &mut impl sqlparser::ast::VisitMut, owners: &Owners) {
    let _ = visit_expressions_mut(node, |expression| {
        let (name, column) = match &*expression {
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [name, column] => (Some(&name.value), &column.value),
                _ => return ControlFlow::<()>::Continue(()),
            },
            Expr::Identifier(column) => (owners.only.as_ref(), &column.value),
            _ => return ControlFlow::Continue(()),
        };
        let known = name.and_then(|name| owners.of.get_key_value(name));
        if let Some((name, owner)) = known.filter(|_| COLUMNS.contains(&column.as_str())) {
            *expression = named(owner, name, column);
        }
        ControlFlow::Continue(())
    });
}

fn named(relation: &str, name: &str, column: &str) -> Expr {
    Expr::CompoundIdentifier(vec![
        Ident::with_quote('"', relation),
        Ident::with_quote('"', format!("{name}{APART}{column}")),
    ])
}

/// `f.*` is all columns of a FLATTEN.
fn wildcards(select: &mut Select, owners: &Owners) {
    let items = std::mem::take(&mut select.projection).into_iter();
    let expanded = items.flat_map(|item| {
        let name = match &item {
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => name
                .0
                .last()
                .and_then(|part| part.as_ident())
                .map(|name| name.value.clone()),
            _ => None,
        };
        match name.and_then(|name| owners.of.get_key_value(&name)) {
            Some((name, owner)) => COLUMNS
                .iter()
                .map(|column| SelectItem::UnnamedExpr(named(owner, name, column)))
                .collect(),
            None => vec![item],
        }
    });
    select.projection = expanded.collect();
}

/// Takes the first FLATTEN out of a FROM.
fn take(select: &mut Select, number: &mut usize) -> Result<Option<Found>> {
    let relations = select.from.len();
    for at in 0..relations {
        let from = &mut select.from[at];
        for place in 0..from.joins.len() {
            let join = &from.joins[place];
            let Some(mut found) = read(&join.relation, number)? else {
                continue;
            };
            match &join.join_operator {
                JoinOperator::CrossJoin(_) | JoinOperator::Join(_) | JoinOperator::Inner(_) => {}
                JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => found.outer = true,
                _ => return Err(SqlError::unsupported("this kind of join with FLATTEN")),
            }
            from.joins.remove(place);
            return Ok(Some(found));
        }
        let Some(found) = read(&from.relation, number)? else {
            continue;
        };
        if !from.joins.is_empty() {
            return Err(SqlError::unsupported(
                "a join to FLATTEN; write the joined tables before it",
            ));
        }
        if relations == 1 {
            // `FROM TABLE(FLATTEN(...))` opens a value of its own.
            from.relation = factor(&format!("(SELECT 1 AS \"{APART}\") AS \"{APART}\""))?;
            return Ok(Some(found));
        }
        select.from.remove(at);
        return Ok(Some(found));
    }
    Ok(None)
}

/// What a factor says if it is a FLATTEN.
fn read(factor: &TableFactor, number: &mut usize) -> Result<Option<Found>> {
    let (name, args, alias) = match factor {
        TableFactor::Function {
            name, args, alias, ..
        } => (name.to_string(), args.clone(), alias),
        TableFactor::TableFunction {
            expr: Expr::Function(function),
            alias,
        } => match &function.args {
            FunctionArguments::List(list) => (function.name.to_string(), list.args.clone(), alias),
            _ => return Ok(None),
        },
        TableFactor::Table {
            name,
            alias,
            args: Some(args),
            ..
        } => (name.to_string(), args.args.clone(), alias),
        _ => return Ok(None),
    };
    if name != "FLATTEN" {
        return Ok(None);
    }
    *number += 1;
    let mut found = Found {
        name: alias_name(alias).unwrap_or_else(|| format!("{APART}{number}")),
        input: Expr::Value(Value::Null.into()),
        path: String::new(),
        outer: false,
        objects: true,
        arrays: true,
        recursive: false,
    };
    let mut has_input = false;
    for argument in args {
        let (option, value) = match argument {
            FunctionArg::Named {
                name,
                arg: FunctionArgExpr::Expr(value),
                operator: FunctionArgOperator::RightArrow,
            } => (name.value.to_uppercase(), value),
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) if !has_input => ("INPUT".to_owned(), value),
            other => return Err(SqlError::syntax(format!("{other} is no argument of FLATTEN"))),
        };
        let text = match &value {
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) => text.clone(),
                Value::Boolean(truth) => truth.to_string(),
                _ => String::new(),
            },
            _ => String::new(),
        };
        let truth = || match text.to_uppercase().as_str() {
            "TRUE" => Ok(true),
            "FALSE" => Ok(false),
            _ => Err(SqlError::syntax(format!("{option} of FLATTEN is TRUE or FALSE"))),
        };
        match option.as_str() {
            "INPUT" => (found.input, has_input) = (value, true),
            "PATH" => found.path = text,
            "OUTER" => found.outer = truth()?,
            "RECURSIVE" => found.recursive = truth()?,
            "MODE" => match text.to_uppercase().as_str() {
                "BOTH" => {}
                "OBJECT" => found.arrays = false,
                "ARRAY" => found.objects = false,
                _ => return Err(SqlError::syntax("MODE of FLATTEN is 'OBJECT', 'ARRAY' or 'BOTH'")),
            },
            other => return Err(SqlError::syntax(format!("FLATTEN has no argument {other}"))),
        }
    }
    match has_input {
        true => Ok(Some(found)),
        false => Err(SqlError::syntax("FLATTEN wants an INPUT")),
    }
}

fn alias_name(alias: &Option<TableAlias>) -> Option<String> {
    alias.as_ref().map(|alias| alias.name.value.clone())
}

/// How a relation is called in its SELECT.
fn relation_name(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { name, alias, .. } => {
            let last = name.0.last().and_then(|part| part.as_ident());
            alias_name(alias).or_else(|| last.map(|name| name.value.clone()))
        }
        TableFactor::Derived { alias, .. } => alias_name(alias),
        _ => None,
    }
}

/// Gives subqueries without an alias one.
fn name_relations(select: &mut Select) {
    let relations = select.from.iter_mut().flat_map(|from| {
        std::iter::once(&mut from.relation).chain(from.joins.iter_mut().map(|join| &mut join.relation))
    });
    for (number, relation) in relations.enumerate() {
        if let TableFactor::Derived { alias, .. } = relation {
            alias.get_or_insert_with(|| TableAlias {
                explicit: true,
                name: Ident::with_quote('"', format!("{APART}r{number}")),
                columns: Vec::new(),
            });
        }
    }
}

/// The relation whose value is opened: the one that is named, or the only one.
fn owner(select: &Select, input: &Expr) -> Result<String> {
    let relations = select
        .from
        .iter()
        .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    let names: Vec<String> = relations.filter_map(relation_name).collect();
    let mut wanted: Vec<String> = Vec::new();
    let _ = visit_expressions(input, |expression| {
        if let Expr::CompoundIdentifier(parts) = expression
            && let [.., relation, _] = parts.as_slice()
            && names.contains(&relation.value)
            && !wanted.contains(&relation.value)
        {
            wanted.push(relation.value.clone());
        }
        ControlFlow::<()>::Continue(())
    });
    match (wanted.as_slice(), names.as_slice()) {
        ([one], _) | ([], [one]) => Ok(one.clone()),
        ([], []) => Err(SqlError::unsupported(
            "FLATTEN beside a relation without a name: give it an alias",
        )),
        ([], _) => Err(SqlError::syntax(
            "it is not said which relation's value FLATTEN opens: write its name before the column",
        )),
        _ => Err(SqlError::unsupported("FLATTEN of a value of several relations")),
    }
}

/// Gives a relation the elements as further columns.
fn attach(select: &mut Select, owner: &str, found: &Found, input: &Expr) -> Result<()> {
    let wants_this = select.to_string().contains("THIS");
    let relations = select.from.iter_mut().flat_map(|from| {
        std::iter::once(&mut from.relation).chain(from.joins.iter_mut().map(|join| &mut join.relation))
    });
    let mut relations = relations.filter(|factor| relation_name(factor).as_deref() == Some(owner));
    let Some(relation) = relations.next() else {
        return Err(SqlError::syntax(format!("invalid identifier '{owner}'")));
    };
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let (name, all) = (quoted(owner), quoted(&format!("{}{APART}", found.name)));
    let path = found.path.replace('\'', "''");
    let input = match path.is_empty() {
        true => input.to_string(),
        false => format!("GET_PATH({input}, '{path}')"),
    };
    let others = if *owner == APART.to_string() {
        String::new()
    } else {
        format!("* EXCLUDE ({all}), ")
    };
    let Found {
        outer,
        objects,
        arrays,
        recursive,
        ..
    } = found;
    let columns: Vec<String> = COLUMNS
        .iter()
        .map(|column| {
            let named = quoted(&format!("{}{APART}{column}", found.name));
            format!("get_field({name}.{all}, '{column}') AS {named}")
        })
        .collect();
    let text = format!(
        "(SELECT {others}{} FROM (SELECT {name}.*, unnest(frazil_flatten({input}, '{path}', {outer}, {objects}, {arrays}, \
         {recursive}, {wants_this})) AS {all} FROM {relation}) AS {name}) AS {name}",
        columns.join(", ")
    );
    *relation = factor(&text)?;
    Ok(())
}

fn factor(text: &str) -> Result<TableFactor> {
    let mut parser = Parser::new(&SnowflakeDialect {})
        .try_with_sql(text)
        .map_err(SqlError::syntax)?;
    parser.parse_table_factor().map_err(SqlError::syntax)
}
