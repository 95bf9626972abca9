//! Time travel: `FROM t AT(TIMESTAMP => ...)`, `AT(OFFSET => ...)`, `AT(STATEMENT => ...)` and the same with BEFORE.
//!
//! How it works: the moment is computed first, by a query of its own; the table is then called by a name that holds it
//! ([`moment_of`]), under which its past is looked up ([`crate::snowflake::catalog::history`]).
//!
//! Source: Snowflake documentation, "AT | BEFORE". AT includes what was committed at the moment itself. Of a STATEMENT
//! it is known when it began and ended ([`crate::snowflake::catalog`] keeps that in memory): AT includes all until its end, BEFORE
//! nothing from its begin on, to the millisecond.

use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectNamePart, Statement,
    TableAlias, TableFactor, TableVersion, VisitMut, VisitorMut,
};
use sqlparser::dialect::SnowflakeDialect;
use sqlparser::parser::Parser;

use super::files::Files;
use super::words::{self, Words};
use super::{Name, Result, Session, SqlError, query};
use crate::disk::RealDisk;
use crate::snowflake::catalog::history::Past;
use crate::snowflake::catalog::{Catalog, now_ms};
use crate::snowflake::iceberg;
use crate::snowflake::model::TableSnapshot;

/// Between a table's name and the milliseconds since 1970. No name that a statement writes has it: it is a control
/// character.
const AT: &str = "\u{1}AT ";

/// The table and the moment of a name that stands for both.
pub(super) fn moment_of(name: &str) -> Option<(&str, i64)> {
    let (table, at_ms) = name.split_once(AT)?;
    Some((table, at_ms.parse().ok()?))
}

/// A table as it was.
pub(super) fn snapshot(
    catalog: &Catalog,
    files: &Files,
    name: &Name,
    table: &str,
    at_ms: i64,
) -> Result<TableSnapshot> {
    let (database, schema) = (&name.database, &name.schema);
    let mut past = catalog.snapshot_at(database, schema, table, at_ms)?;
    if let Past::Table(snapshot) = &mut past
        && iceberg::is_it(&snapshot.table)
    {
        // The pin of the snapshot keeps the files that expire meanwhile.
        let disk = RealDisk::new(files.folder());
        match iceberg::past(&disk, catalog, snapshot.table.id, at_ms)? {
            Some((segments, schema)) => {
                (snapshot.segments, snapshot.iceberg_schema) = (segments, Some(schema))
            }
            None => past = Past::Unknown,
        }
    }
    match past {
        Past::Table(snapshot) => Ok(*snapshot),
        Past::Missing => Err(SqlError::missing(
            "Object",
            &format!("{database}.{schema}.{table}"),
        )),
        Past::Unknown => Err(SqlError {
            code: "000707",
            sql_state: "02000",
            message: format!(
                "Time travel data is not available for table {table}. The requested time is either beyond the allowed time \
                 travel period or before the object creation time."
            ),
        }),
    }
}

/// Puts the moments of a query's tables into their names.
pub(super) async fn resolve(
    catalog: &Arc<Catalog>,
    files: &Files,
    session: &Session,
    statement: &mut Statement,
) -> Result<()> {
    let mut found = Versions::default();
    let _ = statement.visit(&mut found);
    let mut moments = Vec::with_capacity(found.0.len());
    for version in found.0 {
        moments.push(moment(catalog, files, session, &version).await?);
    }
    if moments.is_empty() {
        return Ok(());
    }
    moments.reverse();
    let _ = statement.visit(&mut Renamed { moments });
    Ok(())
}

/// Versions of tables in the order of the statement.
#[derive(Default)]
struct Versions(Vec<TableVersion>);

impl VisitorMut for Versions {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { version, .. } = factor {
            self.0.extend(version.clone());
        }
        ControlFlow::Continue(())
    }
}

struct Renamed {
    /// Last first.
    moments: Vec<i64>,
}

impl VisitorMut for Renamed {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table {
            name, alias, version, ..
        } = factor
            && version.take().is_some()
            && let (Some(at_ms), Some(ObjectNamePart::Identifier(ident))) =
                (self.moments.pop(), name.0.last_mut())
        {
            if alias.is_none() {
                *alias = Some(TableAlias {
                    explicit: true,
                    name: ident.clone(),
                    columns: Vec::new(),
                });
            }
            *ident = Ident::with_quote('"', format!("{}{AT}{at_ms}", ident.value));
        }
        ControlFlow::Continue(())
    }
}

/// The version that `AT (...)` or `BEFORE (...)` means.
pub(super) fn version(words: Words) -> Result<TableVersion> {
    let mut tokens = Words::of("T")?.tokens().to_vec();
    tokens.extend_from_slice(words.tokens());
    let parsed = words::deep(|| {
        let dialect = SnowflakeDialect {};
        Parser::new(&dialect).with_tokens(tokens).parse_table_factor()
    });
    match parsed.map_err(SqlError::syntax)? {
        TableFactor::Table {
            version: Some(version),
            ..
        } => Ok(version),
        _ => Err(wanted()),
    }
}

fn wanted() -> SqlError {
    SqlError::syntax("AT and BEFORE want TIMESTAMP =>, OFFSET => or STATEMENT =>")
}

/// The last millisecond whose commits are seen.
pub(super) async fn moment(
    catalog: &Arc<Catalog>,
    files: &Files,
    session: &Session,
    version: &TableVersion,
) -> Result<i64> {
    let TableVersion::Function(Expr::Function(function)) = version else {
        return Err(wanted());
    };
    let (kind, value) = argument(function).ok_or_else(wanted)?;
    let is_before = function.name.to_string().eq_ignore_ascii_case("BEFORE");
    let to = match kind.to_uppercase().as_str() {
        "TIMESTAMP" => "TIMESTAMP_LTZ",
        "OFFSET" => "NUMBER(18, 3)",
        "STATEMENT" => "VARCHAR",
        _ => return Err(wanted()),
    };
    let sql = format!("SELECT CAST({value} AS {to})");
    let statement = Parser::parse_sql(&SnowflakeDialect {}, &sql)
        .map_err(SqlError::syntax)?
        .pop()
        .ok_or_else(wanted)?;
    let rows = Box::pin(query::run(catalog, files, session, statement))
        .await?
        .rows;
    let text = rows
        .into_iter()
        .next()
        .and_then(|row| row.into_iter().next().flatten());
    if to == "VARCHAR" {
        let id = text.ok_or_else(wanted)?;
        let span = catalog.statement(&id).ok_or_else(|| SqlError {
            code: "000709",
            sql_state: "02000",
            message: format!("Statement {id} not found"),
        })?;
        return Ok(if is_before {
            span.begun_ms - 1
        } else {
            span.ended_ms
        });
    }
    let thousandths = text.as_deref().and_then(thousandths).ok_or_else(wanted)?;
    let at_ms = match to {
        "TIMESTAMP_LTZ" => thousandths,
        _ => now_ms().saturating_add(thousandths),
    };
    Ok(at_ms.saturating_sub(i64::from(is_before)))
}

fn argument(function: &Function) -> Option<(String, &Expr)> {
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    match list.args.as_slice() {
        [
            FunctionArg::Named {
                name,
                arg: FunctionArgExpr::Expr(value),
                ..
            },
        ] => Some((name.value.clone(), value)),
        [
            FunctionArg::ExprNamed {
                name: Expr::Identifier(name),
                arg: FunctionArgExpr::Expr(value),
                ..
            },
        ] => Some((name.value.clone(), value)),
        _ => None,
    }
}

/// `-1.5` as -1500; digits behind the third are cut off, downwards.
fn thousandths(text: &str) -> Option<i64> {
    let negative = text.starts_with('-');
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(3).collect();
    let rest = fraction
        .get(3..)
        .is_some_and(|rest| rest.bytes().any(|digit| digit != b'0'));
    let whole: i64 = whole.trim_start_matches('-').parse().ok()?;
    let amount = whole.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    Some(if negative {
        -amount - i64::from(rest)
    } else {
        amount
    })
}
