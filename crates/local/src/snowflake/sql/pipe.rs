//! Pipes of a user's own: CREATE, ALTER, DROP, DESCRIBE, and what their COPY statement says.
//!
//! Source: Snowflake documentation, "CREATE PIPE" and "Snowpipe Streaming high-performance architecture": a streaming pipe
//! copies `FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING'))`, either by the names of the keys (MATCH_BY_COLUMN_NAME) or by a
//! projection of scalar expressions over `$1`, the whole record. Both together are refused, as is all that makes more or
//! fewer rows than records.
//!
//! The COPY statement is kept as written and read again at each commit, so that a pipe breaks where its table changed.

use std::sync::Arc;

use sqlparser::ast::{Expr, GroupByExpr, Query, Select, SelectItem, SetExpr, Statement, TableFactor};
use sqlparser::dialect::SnowflakeDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer, Word};

use super::access::Access;
use super::words::Words;
use super::{Name, QueryResult, Result, Session, SqlError, define, select};
use crate::snowflake::catalog::{Catalog, DEFAULT_PIPE_SUFFIX, MOST_PIPES};
use crate::snowflake::model::{NewPipe, PipeRow, TableDef};

/// What stands for `TABLE(DATA_SOURCE(TYPE => 'STREAMING'))` while the projection is parsed.
const SOURCE: &str = "DATA_SOURCE";
/// Options of a pipe and their one value that means what the local Snowflake does.
const ONLY: [(&str, &str); 3] = [
    ("ON_ERROR", "CONTINUE"),
    ("ENFORCE_LENGTH", "TRUE"),
    ("TRUNCATECOLUMNS", "FALSE"),
];

/// A COPY statement.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Copy {
    /// The target, as written.
    pub(super) table: Vec<String>,
    pub(super) source: Source,
}

/// How rows are made.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    ByName {
        case_sensitive: bool,
    },
    Select {
        /// Without them, the table's columns in order.
        columns: Option<Vec<String>>,
        expressions: Vec<Expr>,
    },
}

/// Runs `CREATE PIPE`.
pub(super) fn create(
    catalog: &Arc<Catalog>,
    session: &Session,
    words: &Words,
    sql: &str,
) -> Result<QueryResult> {
    let or_replace = words.are(1, &["OR", "REPLACE"]);
    let mut at = if or_replace { 4 } else { 2 };
    let if_not_exists = words.are(at, &["IF", "NOT", "EXISTS"]);
    at += if if_not_exists { 3 } else { 0 };
    let (name, mut at) = words
        .name(at)
        .ok_or_else(|| SqlError::syntax("a pipe's name is missing"))?;
    let name = session.resolve(&name)?;
    let mut comment = None;
    while !words.are(at, &["AS"]) {
        match (words.word(at), words.get(at + 1), words.text(at + 2)) {
            (Some("COMMENT"), Some(Token::Eq), Some(text)) => comment = Some(text.to_owned()),
            (Some(option), ..) => {
                return Err(SqlError::unsupported(&format!(
                    "the option {option} of a streaming pipe"
                )));
            }
            _ => return Err(SqlError::syntax("AS COPY INTO is missing")),
        }
        at += 3;
    }
    let copy = Copy::read(words, at + 1)?;
    let table = copy.target(catalog, session)?;
    let target = session.resolve(&copy.table)?;
    Access::of(catalog, session).table_for(&target, &["SELECT", "INSERT"])?;
    select::mapping(&copy, &table, &select::Scope::of_session(catalog, session))?;
    if name.name.ends_with(DEFAULT_PIPE_SUFFIX) {
        let table = name.name.trim_end_matches(DEFAULT_PIPE_SUFFIX);
        if catalog.table(&name.database, &name.schema, table)?.is_some() {
            return Err(managed(&name));
        }
    }
    let mode = define::mode(or_replace, if_not_exists)?;
    if !or_replace
        && !if_not_exists
        && catalog
            .find_pipe(&name.database, &name.schema, &name.name)?
            .is_some()
    {
        return Err(SqlError::exists("PIPE", &name.to_string()));
    }
    let new = NewPipe {
        table_id: table.id,
        database: name.database.clone(),
        schema: name.schema.clone(),
        name: name.name.clone(),
        copy: copy_text(sql)?,
        comment,
        owner: Some(session.role_name()),
    };
    let created = catalog.create_pipe(&new, mode)?.ok_or_else(|| {
        let message = format!("a table has at most {MOST_PIPES} streaming pipes");
        SqlError::syntax(message)
    })?;
    Ok(define::told("Pipe", &name.name, created))
}

/// Runs `DROP PIPE`, `ALTER PIPE ... SET|UNSET COMMENT` or `DESCRIBE PIPE`, whose name begins at `at`.
pub(super) fn change(catalog: &Catalog, session: &Session, words: &Words) -> Result<QueryResult> {
    let if_exists = words.are(2, &["IF", "EXISTS"]);
    let (name, end) = words
        .name(if if_exists { 4 } else { 2 })
        .ok_or_else(|| SqlError::syntax("a pipe's name is missing"))?;
    let name = session.resolve(&name)?;
    let found = catalog.find_pipe(&name.database, &name.schema, &name.name)?;
    let drops = words.are(0, &["DROP"]);
    let pipe = match found {
        Some(pipe) => pipe,
        None if if_exists && drops => {
            let text = format!(
                "Drop statement executed successfully ({} already dropped).",
                name.name
            );
            return Ok(QueryResult::status(text));
        }
        None if if_exists => return Ok(QueryResult::status("Statement executed successfully.".to_owned())),
        None => return Err(SqlError::missing("Pipe", &name.to_string())),
    };
    if matches!(words.word(0), Some("DESC" | "DESCRIBE")) {
        return Ok(QueryResult::texts(&SHOWN, vec![shown(pipe)]));
    }
    if pipe.copy.is_none() {
        return Err(managed(&name));
    }
    if drops {
        catalog.drop_pipe(pipe.id)?;
        return Ok(QueryResult::status(format!(
            "{} successfully dropped.",
            name.name
        )));
    }
    match (words.word(end), words.word(end + 1), words.text(end + 3)) {
        (Some("SET"), Some("COMMENT"), Some(text)) => catalog.comment_pipe(pipe.id, Some(text))?,
        (Some("UNSET"), Some("COMMENT"), _) => catalog.comment_pipe(pipe.id, None)?,
        _ => return Err(SqlError::unsupported("this form of ALTER PIPE")),
    }
    Ok(QueryResult::status("Statement executed successfully.".to_owned()))
}

fn managed(name: &Name) -> SqlError {
    let message = format!("SQL access control error: pipe '{name}' is created and managed by Snowflake");
    SqlError {
        code: "003001",
        sql_state: "42501",
        message,
    }
}

/// Columns of SHOW PIPES and DESCRIBE PIPE.
pub(super) const SHOWN: [&str; 8] = [
    "created_on",
    "name",
    "database_name",
    "schema_name",
    "definition",
    "owner",
    "comment",
    "is_snowflake_managed",
];

/// What a pipe does.
pub(super) fn definition(pipe: &PipeRow) -> String {
    let table = &pipe.table;
    match (&pipe.copy, &pipe.transform) {
        (Some(copy), _) => copy.clone(),
        (None, Some(transform)) => format!("COPY INTO {table} FROM {transform}"),
        (None, None) => format!(
            "COPY INTO {table} FROM TABLE(DATA_SOURCE(TYPE =>'STREAMING')) MATCH_BY_COLUMN_NAME=CASE_INSENSITIVE"
        ),
    }
}

/// What is said of it.
pub(super) fn comment(pipe: &PipeRow) -> Option<String> {
    let managed = "Default pipe for Snowpipe Streaming High Performance ingestion to a table. Created and managed by Snowflake.";
    let managed = pipe.copy.is_none().then(|| managed.to_owned());
    pipe.comment.clone().or(managed)
}

/// A row of them.
pub(super) fn shown(pipe: PipeRow) -> Vec<Option<String>> {
    let managed = pipe.copy.is_none();
    let (definition, comment) = (definition(&pipe), comment(&pipe));
    vec![
        super::show::moment(pipe.created_on_ms),
        Some(pipe.name),
        Some(pipe.database),
        Some(pipe.schema),
        Some(definition),
        (!managed).then(|| "SYSADMIN".to_owned()),
        comment,
        Some(managed.to_string()),
    ]
}

/// The COPY statement as it stands behind the pipe's AS.
fn copy_text(sql: &str) -> Result<String> {
    let copy = |token: &Token| matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("COPY"));
    text_from(sql, |tokens| tokens.iter().position(|token| copy(token)))
        .and_then(|text| text.ok_or_else(|| SqlError::syntax("COPY INTO is missing")))
}

/// A statement's text from one of its tokens to its end; spaces and comments are no tokens.
pub(super) fn text_from(sql: &str, place: impl FnOnce(&[&Token]) -> Option<usize>) -> Result<Option<String>> {
    let tokens = Tokenizer::new(&SnowflakeDialect {}, sql)
        .tokenize_with_location()
        .map_err(SqlError::syntax)?;
    let written = tokens
        .iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_)));
    let (tokens, places): (Vec<&Token>, Vec<_>) =
        written.map(|token| (&token.token, token.span.start)).unzip();
    let Some(place) = place(&tokens).and_then(|at| places.get(at)) else {
        return Ok(None);
    };
    let line_at = sql
        .split_inclusive('\n')
        .take(usize::try_from(place.line).unwrap_or(1).saturating_sub(1))
        .map(str::len)
        .sum::<usize>();
    let line = sql.get(line_at..).unwrap_or_default();
    let column = usize::try_from(place.column).unwrap_or(1).saturating_sub(1);
    let offset = line.char_indices().nth(column).map_or(0, |(offset, _)| offset);
    // The rest of that line, and those behind it.
    let rest = line.get(offset..).unwrap_or_default();
    Ok(Some(
        rest.trim_end_matches([';', ' ', '\n', '\r', '\t']).to_owned(),
    ))
}

impl Copy {
    /// Reads a COPY statement that was kept.
    pub(super) fn of(text: &str) -> Result<Self> {
        Self::read(&Words::of(text)?, 0)
    }

    /// What a table's own transform means: `(SELECT ...)` into its columns in order.
    pub(super) fn of_transform(transform: &str) -> Result<Self> {
        Self::of(&format!("COPY INTO T FROM {transform}"))
    }

    /// The table that it fills.
    fn target(&self, catalog: &Catalog, session: &Session) -> Result<TableDef> {
        let name = session.resolve(&self.table)?;
        catalog
            .table(&name.database, &name.schema, &name.name)?
            .ok_or_else(|| SqlError::missing("Table", &name.to_string()))
    }

    fn read(words: &Words, at: usize) -> Result<Self> {
        if !words.are(at, &["COPY", "INTO"]) {
            return Err(SqlError::syntax("COPY INTO is missing"));
        }
        let (table, mut at) = words
            .name(at + 2)
            .ok_or_else(|| SqlError::syntax("a table's name is missing"))?;
        let mut columns = None;
        if words.get(at) == Some(&Token::LParen) {
            let end = words.closing(at).ok_or_else(unclosed)?;
            let names = (at + 1..end)
                .step_by(2)
                .map(|place| words.word(place).map(ToOwned::to_owned));
            let names: Option<Vec<String>> = names.collect();
            columns = Some(names.ok_or_else(|| SqlError::syntax("a list of columns is expected"))?);
            at = end + 1;
        }
        if !words.are(at, &["FROM"]) {
            return Err(SqlError::syntax("FROM is missing"));
        }
        at += 1;
        let mut expressions = None;
        if words.get(at) == Some(&Token::LParen) && words.are(at + 1, &["SELECT"]) {
            let end = words.closing(at).ok_or_else(unclosed)?;
            expressions = Some(projection(words.range(at + 1, end))?);
            at = end + 1;
        } else {
            at = data_source(words, at).ok_or_else(|| {
                SqlError::unsupported("a pipe from anything but TABLE(DATA_SOURCE(TYPE => 'STREAMING'))")
            })?;
        }
        let by_name = options(words, at)?;
        let source = match (expressions, by_name) {
            (Some(_), Some(_)) => {
                return Err(SqlError::syntax(
                    "match_by_column_name is not supported with copy transform",
                ));
            }
            (Some(expressions), None) => Source::Select { columns, expressions },
            (None, Some(case_sensitive)) if columns.is_none() => Source::ByName { case_sensitive },
            (None, Some(_)) => {
                return Err(SqlError::syntax("match_by_column_name takes no list of columns"));
            }
            (None, None) => {
                return Err(SqlError::syntax(
                    "a streaming pipe needs MATCH_BY_COLUMN_NAME or a SELECT over the record",
                ));
            }
        };
        Ok(Self { table, source })
    }
}

fn unclosed() -> SqlError {
    SqlError::syntax("a parenthesis is not closed")
}

/// Where `TABLE(DATA_SOURCE(TYPE => 'STREAMING'))`, which begins here, ends.
pub(super) fn data_source(words: &Words, at: usize) -> Option<usize> {
    let (open, close) = (Some(&Token::LParen), Some(&Token::RParen));
    let is_it = words.are(at, &["TABLE"])
        && words.get(at + 1) == open
        && words.are(at + 2, &["DATA_SOURCE"])
        && words.get(at + 3) == open
        && words.are(at + 4, &["TYPE"])
        && words.get(at + 5) == Some(&Token::RArrow)
        && words
            .text(at + 6)
            .is_some_and(|text| text.eq_ignore_ascii_case("STREAMING"))
        && words.get(at + 7) == close
        && words.get(at + 8) == close;
    is_it.then_some(at + 9)
}

/// Whether names are matched, and if so, whether their case counts.
fn options(words: &Words, mut at: usize) -> Result<Option<bool>> {
    let mut by_name = None;
    while at < words.len() {
        let (option, value) = match (words.word(at), words.get(at + 1), words.word(at + 2)) {
            (Some(option), Some(Token::Eq), Some(value)) => (option, value),
            _ => return Err(SqlError::syntax("unexpected words behind the COPY")),
        };
        match (option, value) {
            ("MATCH_BY_COLUMN_NAME", "CASE_SENSITIVE") => by_name = Some(true),
            ("MATCH_BY_COLUMN_NAME", "CASE_INSENSITIVE") => by_name = Some(false),
            // Rows are sorted by nothing here; the option changes no result.
            ("CLUSTER_AT_INGEST_TIME", "TRUE" | "FALSE") => {}
            pair if ONLY.contains(&pair) => {}
            _ => {
                return Err(SqlError::unsupported(&format!(
                    "{option} = {value} in a streaming pipe"
                )));
            }
        }
        at += 3;
    }
    Ok(by_name)
}

fn word(text: &str) -> Token {
    Token::Word(Word {
        value: text.to_owned(),
        quote_style: Some('"'),
        keyword: Keyword::NoKeyword,
    })
}

/// The expressions of `SELECT ... FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING'))`.
fn projection(words: Words) -> Result<Vec<Expr>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(token) = words.get(at) {
        if let Some(end) = data_source(&words, at) {
            tokens.push(word(SOURCE));
            at = end;
            continue;
        }
        tokens.push(match token {
            Token::Placeholder(text) if text == "$1" => word("$1"),
            Token::Placeholder(text) => {
                return Err(SqlError::syntax(format!(
                    "invalid identifier '{text}': a record is $1"
                )));
            }
            other => other.clone(),
        });
        at += 1;
    }
    let parsed = super::words::deep(|| {
        let dialect = SnowflakeDialect {};
        Parser::new(&dialect).with_tokens(tokens).parse_statement()
    });
    let Statement::Query(query) = parsed.map_err(SqlError::syntax)? else {
        return Err(not_simple());
    };
    let select = simple(&query).ok_or_else(not_simple)?;
    let expressions = select.projection.iter().map(|item| match item {
        SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } => {
            Ok(expression.clone())
        }
        // All that a record has is $1.
        SelectItem::Wildcard(_) => Ok(Expr::Identifier(sqlparser::ast::Ident::with_quote('"', "$1"))),
        SelectItem::QualifiedWildcard(..) => Err(not_simple()),
    });
    expressions.collect()
}

/// The SELECT, if it makes one row of each record.
fn simple(query: &Query) -> Option<&Select> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let [from] = select.from.as_slice() else {
        return None;
    };
    let is_source = matches!(&from.relation, TableFactor::Table { name, args: None, .. } if name.to_string() == format!("\"{SOURCE}\""));
    let one_by_one = is_source
        && from.joins.is_empty()
        && query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && select.distinct.is_none()
        && select.top.is_none()
        && select.selection.is_none()
        && select.having.is_none()
        && select.qualify.is_none()
        && select.lateral_views.is_empty()
        && matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    one_by_one.then_some(select)
}

fn not_simple() -> SqlError {
    SqlError::syntax("COPY statement only supports simple SELECT from stage statements for import.")
}
