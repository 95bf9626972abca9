//! Sequences: CREATE, ALTER, DROP, SHOW, DESCRIBE, and the numbers that NEXTVAL and DEFAULTs take of them.
//!
//! How it works: a sequence is an object of the catalog ([`made`]) with its next number. `name.NEXTVAL` becomes a function that takes
//! as many numbers as there are rows, in one transaction of the catalog, before it answers. A DEFAULT takes numbers for all rows of a
//! commit at once. Numbers of rows that fail are gaps, as in the service; none is given twice.
//!
//! Source: Snowflake documentation, "CREATE SEQUENCE", "ALTER SEQUENCE", "SHOW SEQUENCES", "Using Sequences". With one writer
//! ORDER and NOORDER give the same numbers.
//!
//! [`made`]: crate::snowflake::catalog::made

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::DataType as Arrow;
use datafusion::common::{DataFusionError, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionContext;
use serde::{Deserialize, Serialize};
use sqlparser::tokenizer::Token;

use super::access::{Access, of_made};
use super::show::{Filter, moment};
use super::words::Words;
use super::{QueryResult, Result, Session, SqlError, define, executed};
use crate::snowflake::catalog::Catalog;
use crate::snowflake::catalog::made::{Made, MadeKind, NewMade, Place};
use crate::snowflake::model::{CreateMode, TableDef};
use crate::snowflake::rows::Numbers;

/// What stands behind a sequence's name where its next number is meant.
pub(super) const NEXTVAL: &str = "NEXTVAL";
/// The function that NEXTVAL becomes.
pub(super) const TAKE: &str = "frazil_nextval";

/// What a sequence is, beside its next number.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Steps {
    pub(super) step: i64,
    ordered: bool,
}

impl Steps {
    pub(super) fn of(made: &Made) -> Result<Self> {
        serde_json::from_str(&made.definition)
            .map_err(|error| crate::Error::Damaged(format!("a sequence: {error}")).into())
    }

    fn text(self) -> Result<String> {
        serde_json::to_string(&self).map_err(SqlError::syntax)
    }
}

/// Runs the statement if it is about sequences.
pub(super) fn run(catalog: &Catalog, session: &Session, words: &Words) -> Result<Option<QueryResult>> {
    if words.are(0, &["SHOW", "SEQUENCES"]) {
        return show(catalog, session, words).map(Some);
    }
    let replaces = words.are(0, &["CREATE", "OR", "REPLACE"]);
    let at = if replaces { 3 } else { 1 };
    if !words.are(at, &["SEQUENCE"]) {
        return Ok(None);
    }
    let skipped = [&["IF", "NOT", "EXISTS"][..], &["IF", "EXISTS"]];
    let skipped = skipped.iter().find(|phrase| words.are(at + 1, phrase));
    let at = at + 1 + skipped.map_or(0, |phrase| phrase.len());
    let (name, end) = words
        .name(at)
        .ok_or_else(|| SqlError::syntax("a sequence's name is missing"))?;
    let name = session.resolve(&name)?;
    let place = Place::in_schema(MadeKind::Sequence, &name.database, &name.schema, &name.name);
    if words.are(0, &["CREATE"]) {
        let mode = define::mode(replaces, skipped.is_some())?;
        return create(catalog, session, place, mode, words, end).map(Some);
    }
    let found = catalog.made(&place)?;
    match (words.word(0), found) {
        (Some("DROP"), None) if skipped.is_some() => Ok(Some(QueryResult::status(format!(
            "Drop statement executed successfully ({} already dropped).",
            name.name
        )))),
        (Some("ALTER"), None) if skipped.is_some() => Ok(Some(executed())),
        (Some("DROP" | "ALTER" | "DESC" | "DESCRIBE"), None) => {
            Err(SqlError::missing("Sequence", &name.to_string()))
        }
        (Some("DROP"), Some(found)) => {
            catalog.drop_made(&found)?;
            let text = format!("{} successfully dropped.", name.name);
            Ok(Some(QueryResult::status(text)))
        }
        (Some("ALTER"), Some(found)) => alter(catalog, session, &found, words, end).map(Some),
        (Some("DESC" | "DESCRIBE"), Some(found)) => Ok(Some(QueryResult::texts(&SHOWN, vec![shown(found)?]))),
        _ => Ok(None),
    }
}

fn create(
    catalog: &Catalog,
    session: &Session,
    place: Place,
    mode: CreateMode,
    words: &Words,
    end: usize,
) -> Result<QueryResult> {
    let at = end + usize::from(words.are(end, &["WITH"]));
    let said = Said::read(words, at)?;
    let steps = Steps {
        step: said.step.unwrap_or(1),
        ordered: said.ordered.unwrap_or(false),
    };
    let new = NewMade {
        definition: steps.text()?,
        comment: said.comment,
        owner: session.role_name(),
        next: Some(said.start.unwrap_or(1)),
        place,
    };
    let name = new.place.name.clone();
    if mode == CreateMode::New && catalog.made(&new.place)?.is_some() {
        return Err(SqlError::exists("SEQUENCE", &name));
    }
    let created = catalog.make(&new, mode)?;
    Ok(define::told("Sequence", &name, created))
}

/// What a CREATE or ALTER says.
#[derive(Default)]
struct Said {
    start: Option<i64>,
    step: Option<i64>,
    ordered: Option<bool>,
    comment: Option<String>,
}

impl Said {
    fn read(words: &Words, mut at: usize) -> Result<Self> {
        let mut said = Self::default();
        while at < words.len() {
            let option = words.word(at).unwrap_or_default();
            at += 1;
            match option {
                "START" => {
                    at += usize::from(words.are(at, &["WITH"]));
                    said.start = Some(number(words, &mut at)?);
                }
                "INCREMENT" => {
                    at += usize::from(words.are(at, &["BY"]));
                    let step = number(words, &mut at)?;
                    if step == 0 {
                        return Err(SqlError::syntax("the increment of a sequence is not zero"));
                    }
                    said.step = Some(step);
                }
                "ORDER" => said.ordered = Some(true),
                "NOORDER" => said.ordered = Some(false),
                "COMMENT" if words.get(at) == Some(&Token::Eq) => {
                    let text = words.text(at + 1);
                    said.comment = Some(
                        text.ok_or_else(|| SqlError::syntax("a COMMENT is a text"))?
                            .to_owned(),
                    );
                    at += 2;
                }
                // ALTER ... SET takes its options with commas.
                "" if words.get(at - 1) == Some(&Token::Comma) => {}
                other => {
                    return Err(SqlError::syntax(format!(
                        "unexpected '{other}' in a sequence's definition"
                    )));
                }
            }
        }
        Ok(said)
    }
}

/// A whole number of 64 bits, behind an equals sign or not.
fn number(words: &Words, at: &mut usize) -> Result<i64> {
    *at += usize::from(words.get(*at) == Some(&Token::Eq));
    let sign = match words.get(*at) {
        Some(Token::Minus) => "-",
        _ => "",
    };
    *at += sign.len();
    let digits = match words.get(*at) {
        Some(Token::Number(digits, _)) => format!("{sign}{digits}"),
        _ => return Err(SqlError::syntax("a whole number is expected")),
    };
    *at += 1;
    digits
        .parse()
        .map_err(|_| SqlError::syntax(format!("{digits} is no whole number of 64 bits")))
}

fn alter(
    catalog: &Catalog,
    session: &Session,
    found: &Made,
    words: &Words,
    end: usize,
) -> Result<QueryResult> {
    if words.are(end, &["RENAME", "TO"]) {
        let (name, last) = words
            .name(end + 2)
            .ok_or_else(|| SqlError::syntax("a sequence's name is missing"))?;
        let name = session.resolve(&name)?;
        let place = Place::in_schema(MadeKind::Sequence, &name.database, &name.schema, &name.name);
        if last != words.len()
            || (&place.database, &place.schema) != (&found.place.database, &found.place.schema)
        {
            return Err(SqlError::unsupported(
                "a rename of a sequence into another schema",
            ));
        }
        if catalog.made(&place)?.is_some() {
            return Err(SqlError::exists("SEQUENCE", &name.to_string()));
        }
        catalog.alter_made(found.id, |made| {
            made.place.name = place.name;
            Ok::<(), SqlError>(())
        })?;
        return Ok(executed());
    }
    if words.are(end, &["UNSET", "COMMENT"]) && words.len() == end + 2 {
        catalog.alter_made(found.id, |made| {
            made.comment = None;
            Ok::<(), SqlError>(())
        })?;
        return Ok(executed());
    }
    let said = Said::read(words, end + usize::from(words.are(end, &["SET"])))?;
    if said.start.is_some() {
        return Err(SqlError::syntax("the START of a sequence cannot be changed"));
    }
    catalog.alter_made(found.id, |made| {
        let mut steps = Steps::of(made)?;
        match (steps.ordered, said.ordered) {
            (false, Some(true)) => return Err(SqlError::syntax("a NOORDER sequence cannot be made ORDER")),
            (_, Some(ordered)) => steps.ordered = ordered,
            _ => {}
        }
        steps.step = said.step.unwrap_or(steps.step);
        made.definition = steps.text()?;
        made.comment = said.comment.or(made.comment.take());
        Ok(())
    })?;
    Ok(executed())
}

const SHOWN: [&str; 10] = [
    "name",
    "database_name",
    "schema_name",
    "next_value",
    "interval",
    "created_on",
    "owner",
    "comment",
    "owner_role_type",
    "ordered",
];

fn shown(made: Made) -> Result<Vec<Option<String>>> {
    let steps = Steps::of(&made)?;
    Ok(vec![
        Some(made.place.name),
        Some(made.place.database),
        Some(made.place.schema),
        made.next.map(|next| next.to_string()),
        Some(steps.step.to_string()),
        moment(made.created_on_ms),
        Some(made.owner),
        Some(made.comment.unwrap_or_default()),
        Some("ROLE".to_owned()),
        Some(if steps.ordered { "Y" } else { "N" }.to_owned()),
    ])
}

fn show(catalog: &Catalog, session: &Session, words: &Words) -> Result<QueryResult> {
    let filter = Filter::read(words, 2)?;
    let (database, schema) = filter.scope(session);
    let all = catalog.all_made(MadeKind::Sequence, database.as_deref(), schema.as_deref(), None)?;
    let rows = all.into_iter().filter(|made| filter.admits(&made.place.name));
    Ok(QueryResult::texts(
        &SHOWN,
        rows.map(shown).collect::<Result<_>>()?,
    ))
}

/// The sequence of a name whose numbers the session may take; `None` if there is none.
pub(super) fn usable(catalog: &Catalog, session: &Session, parts: &[String]) -> Result<Option<Made>> {
    let name = session.resolve(parts)?;
    let place = Place::in_schema(MadeKind::Sequence, &name.database, &name.schema, &name.name);
    let Some(made) = catalog.made(&place)? else {
        return Ok(None);
    };
    Access::of(catalog, session).require(&of_made(&made), "USAGE")?;
    Ok(Some(made))
}

/// The DEFAULT `name.NEXTVAL` with its whole name; `None` if it is another one.
pub(super) fn whole_default(catalog: &Catalog, session: &Session, default: &str) -> Result<Option<String>> {
    let Some(parts) = of_default(default) else {
        return Ok(None);
    };
    let made = usable(catalog, session, &parts)?;
    let made = made.ok_or_else(|| SqlError::missing("Sequence", &parts.join(".")))?;
    let parts = [&made.place.database, &made.place.schema, &made.place.name];
    let quoted = parts.map(|part| super::ddl::quoted(part));
    Ok(Some(format!("{}.{NEXTVAL}", quoted.join("."))))
}

/// The name of the sequence that a DEFAULT takes its values from.
pub(super) fn of_default(default: &str) -> Option<Vec<String>> {
    if !default.ends_with(NEXTVAL) {
        return None;
    }
    let words = Words::of(default).ok()?;
    let (mut parts, end) = words.name(0)?;
    let is_next = parts.pop().is_some_and(|last| last == NEXTVAL);
    (is_next && end == words.len() && !parts.is_empty()).then_some(parts)
}

/// Takes numbers for so many rows, for each column whose DEFAULT is a sequence.
pub(crate) fn numbers(catalog: &Catalog, table: &TableDef, rows: usize) -> crate::Result<Vec<Numbers>> {
    let mut taken = Vec::new();
    for (place, column) in table.columns.iter().enumerate() {
        let parts = column.default.as_deref().and_then(of_default);
        let Some([database, schema, name]) = parts.as_deref() else {
            continue;
        };
        let sequence = Place::in_schema(MadeKind::Sequence, database, schema, name);
        let range = match catalog.made(&sequence)? {
            Some(made) if rows > 0 => {
                let step = Steps::of(&made)
                    .map_err(|error| crate::Error::Damaged(error.message))?
                    .step;
                catalog
                    .take_numbers(made.id, rows, step)?
                    .map(|first| (first, step))
            }
            _ => None,
        };
        taken.push(Numbers { place, range });
    }
    Ok(taken)
}

/// Makes the function that NEXTVAL becomes known to a query or a pipe.
pub(super) fn register(context: &SessionContext, catalog: &Arc<Catalog>) {
    context.register_udf(ScalarUDF::from(Take {
        catalog: Held(Arc::clone(catalog)),
        signature: Signature::exact(vec![Arrow::Int64], Volatility::Volatile),
    }));
}

/// The catalog of a function; two of them are never told apart.
#[derive(Clone)]
struct Held(Arc<Catalog>);

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("catalog")
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Held {}

impl std::hash::Hash for Held {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_usize(Arc::as_ptr(&self.0).addr());
    }
}

/// `frazil_nextval(id)`: a number of the sequence for each row.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Take {
    catalog: Held,
    signature: Signature,
}

impl ScalarUDFImpl for Take {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn name(&self) -> &str {
        TAKE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[Arrow]) -> datafusion::common::Result<Arrow> {
        Ok(Arrow::Int64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> datafusion::common::Result<ColumnarValue> {
        let Some(ColumnarValue::Scalar(ScalarValue::Int64(Some(id)))) = arguments.args.first() else {
            return exec_err!("a sequence is expected");
        };
        let count = arguments.number_rows;
        let failed = |error: crate::Error| DataFusionError::Execution(error.to_string());
        let taken = match self.catalog.0.made_by_id(*id).map_err(failed)? {
            Some(made) => {
                let steps = Steps::of(&made).map_err(|error| DataFusionError::Execution(error.message))?;
                let first = self
                    .catalog
                    .0
                    .take_numbers(*id, count, steps.step)
                    .map_err(failed)?;
                first.map(|first| (first, steps.step))
            }
            None => None,
        };
        let Some((first, step)) = taken else {
            return exec_err!("the sequence has no more numbers, or was dropped");
        };
        let numbers = std::iter::successors(Some(first), |number| Some(number.wrapping_add(step)));
        let numbers: Int64Array = numbers.take(count).collect::<Vec<i64>>().into();
        Ok(ColumnarValue::Array(Arc::new(numbers)))
    }
}
