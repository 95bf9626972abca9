//! Functions of a user's own, in SQL: CREATE, DROP, SHOW, DESCRIBE, and what a call of one becomes.
//!
//! How it works: a function is an object of the catalog with its arguments, its type and its body, an expression. A call is replaced by
//! the body, in which each argument is the call's value cast to the argument's type, cast to the function's type. Names in the body are
//! looked up in the function's schema, with the privileges of its owner.
//!
//! What it does not: bodies with a query, other languages, functions that return a table. A value that the body names twice is
//! evaluated twice. Of overloads with the same number of arguments only literals and casts are told apart.
//!
//! Source: Snowflake documentation, "CREATE FUNCTION", "DESCRIBE FUNCTION", "SHOW USER FUNCTIONS", "Scalar SQL UDFs", "Naming and
//! overloading procedures and UDFs".

mod calls;

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sqlparser::ast::{DataType as Type, Expr, Value, visit_expressions};
use sqlparser::dialect::SnowflakeDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

pub(super) use self::calls::{call, unknown};
use self::calls::{inlined, of_body};
use super::access::{Access, OWNERSHIP, of_made};
use super::show::{Filter, moment, type_text};
use super::words::Words;
use super::{Name, QueryResult, Result, Scope, Session, SqlError, define, select, types};
use crate::snowflake::catalog::Catalog;
use crate::snowflake::catalog::made::{Made, MadeKind, NewMade, Place};
use crate::snowflake::model::{CreateMode, DataType};

/// What a function is.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Definition {
    arguments: Vec<(String, DataType)>,
    returns: DataType,
    body: String,
    /// NULL where an argument is NULL.
    strict: bool,
    secure: bool,
    memoizable: bool,
}

impl Definition {
    fn of(made: &Made) -> Result<Self> {
        serde_json::from_str(&made.definition)
            .map_err(|error| crate::Error::Damaged(format!("a function: {error}")).into())
    }

    fn signature(&self) -> String {
        let types: Vec<String> = self
            .arguments
            .iter()
            .map(|(_, data_type)| short(data_type))
            .collect();
        types.join(", ")
    }
}

/// A type without its sizes, by which overloads are told apart.
fn short(data_type: &DataType) -> String {
    let text = type_text(data_type);
    text.split('(').next().unwrap_or_default().to_owned()
}

/// Runs the statement if it is about functions.
pub(super) fn run(catalog: &Arc<Catalog>, session: &Session, words: &Words) -> Result<Option<QueryResult>> {
    if words.are(0, &["SHOW", "FUNCTIONS"]) {
        return show(catalog, session, words, 2).map(Some);
    }
    if words.are(0, &["SHOW", "USER", "FUNCTIONS"]) {
        return show(catalog, session, words, 3).map(Some);
    }
    let replaces = words.are(0, &["CREATE", "OR", "REPLACE"]);
    let mut at = if replaces { 3 } else { 1 };
    let mut secure = false;
    while words
        .word(at)
        .is_some_and(|word| ["TEMP", "TEMPORARY", "SECURE"].contains(&word))
    {
        secure |= words.are(at, &["SECURE"]);
        at += 1;
    }
    if !words.are(at, &["FUNCTION"]) {
        return Ok(None);
    }
    let skipped = [&["IF", "NOT", "EXISTS"][..], &["IF", "EXISTS"]];
    let skipped = skipped.iter().find(|phrase| words.are(at + 1, phrase));
    at += 1 + skipped.map_or(0, |phrase| phrase.len());
    let (name, open) = words
        .name(at)
        .ok_or_else(|| SqlError::syntax("a function's name is missing"))?;
    let name = session.resolve(&name)?;
    match words.word(0) {
        Some("CREATE") => {
            let mode = define::mode(replaces, skipped.is_some())?;
            create(catalog, session, &name, mode, secure, (words, open)).map(Some)
        }
        Some(verb @ ("DROP" | "DESC" | "DESCRIBE")) => {
            let (signature, end) = types(words, open)?;
            if end != words.len() {
                return Err(SqlError::syntax("unexpected words behind the function's types"));
            }
            let found = catalog.made(&place(&name, &signature))?;
            let access = Access::of(catalog, session);
            match found {
                None if verb == "DROP" && skipped.is_some() => Ok(Some(QueryResult::status(format!(
                    "Drop statement executed successfully ({} already dropped).",
                    name.name
                )))),
                None => Err(SqlError::missing("Function", &name.name)),
                Some(made) if verb == "DROP" => {
                    access.require(&of_made(&made), OWNERSHIP)?;
                    catalog.drop_made(&made)?;
                    Ok(Some(QueryResult::status(format!(
                        "{} successfully dropped.",
                        name.name
                    ))))
                }
                Some(made) if access.sees(&of_made(&made))? => describe(&made).map(Some),
                Some(_) => Err(SqlError::missing("Function", &name.name)),
            }
        }
        _ => Err(SqlError::unsupported("ALTER FUNCTION")),
    }
}

pub(super) fn place(name: &Name, signature: &str) -> Place {
    Place {
        signature: signature.to_owned(),
        ..Place::in_schema(MadeKind::Function, &name.database, &name.schema, &name.name)
    }
}

/// `(type, ...)` as the signature that it means, and where it ends.
pub(super) fn types(words: &Words, open: usize) -> Result<(String, usize)> {
    let (parts, end) = list(words, open)?;
    let short = parts
        .iter()
        .map(|part| data_type(part).map(|parsed| short(&parsed)));
    Ok((short.collect::<Result<Vec<_>>>()?.join(", "), end))
}

/// What stands in parentheses with commas between, and where it ends.
fn list(words: &Words, open: usize) -> Result<(Vec<Words>, usize)> {
    let missing = || SqlError::syntax("the function's arguments in parentheses are missing");
    if words.get(open) != Some(&Token::LParen) {
        return Err(missing());
    }
    let close = words.closing(open).ok_or_else(missing)?;
    let (mut parts, mut begin, mut depth) = (Vec::new(), open + 1, 0_usize);
    for at in open + 1..close {
        match words.get(at) {
            Some(Token::LParen) => depth += 1,
            Some(Token::RParen) => depth = depth.saturating_sub(1),
            Some(Token::Comma) if depth == 0 => {
                parts.push(words.range(begin, at));
                begin = at + 1;
            }
            _ => {}
        }
    }
    if begin < close || !parts.is_empty() {
        parts.push(words.range(begin, close));
    }
    Ok((parts, close + 1))
}

/// A type that a function can have.
fn data_type(words: &Words) -> Result<DataType> {
    let found = types::data_type(&parsed_type(words)?)?;
    if found.is_structured() {
        return Err(SqlError::unsupported("structured types in functions"));
    }
    Ok(found)
}

fn parsed_type(words: &Words) -> Result<Type> {
    let dialect = SnowflakeDialect {};
    let mut parser = Parser::new(&dialect).with_tokens(words.tokens().to_vec());
    let parsed = parser.parse_data_type().map_err(SqlError::syntax)?;
    match parser.next_token().token {
        Token::EOF => Ok(parsed),
        other => Err(SqlError::syntax(format!("unexpected {other} behind a type"))),
    }
}

/// A body as an expression.
fn body(text: &str) -> Result<Expr> {
    let words = Words::of(text)?;
    if words.are(0, &["SELECT"]) || words.are(0, &["WITH"]) {
        return Err(SqlError::unsupported("a function whose body is a query"));
    }
    let dialect = SnowflakeDialect {};
    let mut parser = Parser::new(&dialect).with_tokens(words.tokens().to_vec());
    let parsed = super::words::deep(|| parser.parse_expr()).map_err(SqlError::syntax)?;
    if parser.next_token().token != Token::EOF {
        return Err(SqlError::syntax("a function's body is one expression"));
    }
    let has_query = visit_expressions(&parsed, |part| match part {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    if has_query.is_break() {
        return Err(SqlError::unsupported("a query in a function's body"));
    }
    Ok(parsed)
}

fn create(
    catalog: &Arc<Catalog>,
    session: &Session,
    name: &Name,
    mode: CreateMode,
    secure: bool,
    (words, open): (&Words, usize),
) -> Result<QueryResult> {
    let (definition, comment) = read(words, open, secure)?;
    let new = NewMade {
        place: place(name, &definition.signature()),
        definition: serde_json::to_string(&definition).map_err(SqlError::syntax)?,
        comment,
        owner: session.role_name(),
        next: None,
    };
    let old = catalog.made(&new.place)?;
    let access = Access::of(catalog, session);
    match (&old, mode) {
        (Some(_), CreateMode::New) => return Err(SqlError::exists("FUNCTION", &name.name)),
        (Some(old), CreateMode::OrReplace) => access.require(&of_made(old), OWNERSHIP)?,
        _ => {}
    }
    // The body is tried on NULLs of its types.
    let nulls = definition
        .arguments
        .iter()
        .map(|_| Expr::Value(Value::Null.into()));
    let scope = of_body(name, session.role_name());
    let tried = inlined(catalog, &scope, &definition, nulls.collect(), 0)?;
    select::compiles(&Scope::of_session(catalog, &scope), tried)?;
    let created = catalog.make(&new, mode)?;
    Ok(define::told("Function", &name.name, created))
}

/// What stands behind a function's name.
fn read(words: &Words, open: usize, secure: bool) -> Result<(Definition, Option<String>)> {
    let (parts, mut at) = list(words, open)?;
    let mut arguments: Vec<(String, DataType)> = Vec::new();
    for part in parts {
        let argument = part
            .word(0)
            .ok_or_else(|| SqlError::syntax("an argument's name is missing"))?;
        if arguments.iter().any(|(known, _)| known == argument) {
            return Err(SqlError::syntax(format!(
                "the argument '{argument}' stands twice"
            )));
        }
        let until = (1..part.len()).find(|at| part.are(*at, &["DEFAULT"]));
        if until.is_some() {
            return Err(SqlError::unsupported("the DEFAULT of a function's argument"));
        }
        arguments.push((argument.to_owned(), data_type(&part.range(1, part.len()))?));
    }
    if words.are(at, &["COPY", "GRANTS"]) {
        return Err(SqlError::unsupported("COPY GRANTS of a function"));
    }
    if !words.are(at, &["RETURNS"]) {
        return Err(SqlError::syntax("RETURNS is missing"));
    }
    if words.are(at + 1, &["TABLE"]) {
        return Err(SqlError::unsupported("functions that return a table"));
    }
    at += 1;
    let behind = [
        "LANGUAGE",
        "VOLATILE",
        "IMMUTABLE",
        "CALLED",
        "RETURNS",
        "STRICT",
        "MEMOIZABLE",
        "COMMENT",
        "AS",
        "NOT",
        "NULL",
    ];
    let is_behind = |at: &usize| behind.iter().any(|word| words.are(*at, &[word]));
    let end = (at..words.len()).find(is_behind).unwrap_or(words.len());
    let returns = data_type(&words.range(at, end))?;
    let mut definition = Definition {
        arguments,
        returns,
        body: String::new(),
        strict: false,
        secure,
        memoizable: false,
    };
    let comment = options(words, end, &mut definition)?;
    Ok((definition, comment))
}

fn options(words: &Words, mut at: usize, definition: &mut Definition) -> Result<Option<String>> {
    let mut comment = None;
    while !words.are(at, &["AS"]) {
        let phrases: [(&[&str], bool); 8] = [
            (&["NOT", "NULL"], false),
            (&["NULL"], false),
            (&["LANGUAGE", "SQL"], false),
            (&["VOLATILE"], false),
            (&["IMMUTABLE"], false),
            (&["CALLED", "ON", "NULL", "INPUT"], false),
            (&["RETURNS", "NULL", "ON", "NULL", "INPUT"], true),
            (&["STRICT"], true),
        ];
        if let Some((phrase, strict)) = phrases.iter().find(|(phrase, _)| words.are(at, phrase)) {
            definition.strict |= strict;
            at += phrase.len();
        } else if words.are(at, &["MEMOIZABLE"]) {
            definition.memoizable = true;
            at += 1;
        } else if words.are(at, &["COMMENT"]) && words.get(at + 1) == Some(&Token::Eq) {
            let text = words.text(at + 2);
            comment = Some(
                text.ok_or_else(|| SqlError::syntax("a COMMENT is a text"))?
                    .to_owned(),
            );
            at += 3;
        } else if words.are(at, &["LANGUAGE"]) {
            let language = words.word(at + 1).unwrap_or_default();
            return Err(SqlError::unsupported(&format!(
                "functions in {language}: only LANGUAGE SQL runs here"
            )));
        } else {
            return Err(SqlError::syntax("AS and the function's body are missing"));
        }
    }
    let text = match words.get(at + 1) {
        Some(Token::SingleQuotedString(text)) => text.clone(),
        Some(Token::DollarQuotedString(text)) => text.value.clone(),
        _ => return Err(SqlError::syntax("a function's body stands in '...' or $$...$$")),
    };
    if at + 2 != words.len() {
        return Err(SqlError::syntax("unexpected words behind the function's body"));
    }
    definition.body = text;
    Ok(comment)
}

fn describe(made: &Made) -> Result<QueryResult> {
    let definition = Definition::of(made)?;
    let arguments = definition.arguments.iter();
    let arguments: Vec<String> = arguments
        .map(|(name, data_type)| format!("{name} {}", type_text(data_type)))
        .collect();
    let rows = [
        ("signature", format!("({})", arguments.join(", "))),
        ("returns", type_text(&definition.returns)),
        ("language", "SQL".to_owned()),
        ("body", definition.body),
    ];
    let rows = rows.map(|(property, value)| vec![Some(property.to_owned()), Some(value)]);
    Ok(QueryResult::texts(&["property", "value"], rows.to_vec()))
}

const SHOWN: [&str; 18] = [
    "created_on",
    "name",
    "schema_name",
    "is_builtin",
    "is_aggregate",
    "is_ansi",
    "min_num_arguments",
    "max_num_arguments",
    "arguments",
    "description",
    "catalog_name",
    "is_table_function",
    "valid_for_clustering",
    "is_secure",
    "is_external_function",
    "language",
    "is_memoizable",
    "is_data_metric",
];

/// Functions of users' own; the service's SHOW FUNCTIONS lists the built-in ones too.
fn show(catalog: &Catalog, session: &Session, words: &Words, at: usize) -> Result<QueryResult> {
    let filter = Filter::read(words, at)?;
    let (database, schema) = filter.scope(session);
    let access = Access::of(catalog, session);
    let mut rows = Vec::new();
    for made in catalog.all_made(MadeKind::Function, database.as_deref(), schema.as_deref(), None)? {
        if !filter.admits(&made.place.name) || !access.sees(&of_made(&made))? {
            continue;
        }
        let definition = Definition::of(&made)?;
        let yes = |truth: bool| Some(if truth { "Y" } else { "N" }.to_owned());
        let count = Some(definition.arguments.len().to_string());
        let (name, signature) = (made.place.name, definition.signature());
        let arguments = format!("{name}({signature}) RETURN {}", short(&definition.returns));
        rows.push(vec![
            moment(made.created_on_ms),
            Some(name),
            Some(made.place.schema),
            yes(false),
            yes(false),
            yes(false),
            count.clone(),
            count,
            Some(arguments),
            Some(made.comment.unwrap_or_else(|| "user-defined function".to_owned())),
            Some(made.place.database),
            yes(false),
            yes(false),
            yes(definition.secure),
            yes(false),
            Some("SQL".to_owned()),
            yes(definition.memoizable),
            yes(false),
        ]);
    }
    Ok(QueryResult::texts(&SHOWN, rows))
}
