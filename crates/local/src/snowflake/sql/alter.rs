//! ALTER TABLE, read from the words of the statement.
//!
//! How it works: a column keeps the name under which segments hold it ([`ColumnDef::stored`]); renaming changes what it is
//! called, and a column that takes the name of a dropped one is stored under another, so no file is written again and no old
//! value comes back. Types only grow, and files are read as what the column is now.
//!
//! What it guarantees: a statement changes all it names or nothing. What it does not: DEFAULT of a column cannot be changed
//! (as in the service, but for sequences), constraints, tags, policies and SWAP WITH are not known.
//!
//! Source: Snowflake documentation, "ALTER TABLE", "ALTER TABLE ... ALTER COLUMN", "ALTER ICEBERG TABLE".

mod options;

use std::sync::Arc;

use sqlparser::ast::ColumnDef as Parsed;
use sqlparser::dialect::SnowflakeDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

pub(super) use self::options::Options;
use super::files::Files;
use super::show::type_text;
use super::words::Words;
use super::{Engine, Name, QueryResult, Result, Session, SqlError, define, iceberg, query, sequences, types};
use crate::snowflake::catalog::Catalog;
use crate::snowflake::model::{ColumnDef, DataType, TableDef, TableKind};

/// Runs the statement if it is an ALTER TABLE.
pub(super) async fn run(engine: &Engine, session: &Session, words: &Words) -> Result<Option<QueryResult>> {
    let (catalog, files) = (&engine.catalog, &engine.files);
    let kinds = [
        &["ALTER", "TABLE"][..],
        &["ALTER", "ICEBERG", "TABLE"],
        &["ALTER", "INTERACTIVE", "TABLE"],
    ];
    let Some(head) = kinds
        .iter()
        .find(|kind| words.are(0, kind))
        .map(|kind| kind.len())
    else {
        return Ok(None);
    };
    let if_exists = words.are(head, &["IF", "EXISTS"]);
    let (name, at) = words
        .name(if if_exists { head + 2 } else { head })
        .ok_or_else(|| SqlError::syntax("a table's name is missing"))?;
    let name = session.resolve(&name)?;
    let Some(table) = catalog.table(&name.database, &name.schema, &name.name)? else {
        return match if_exists {
            true => Ok(Some(super::executed())),
            false => Err(SqlError::missing("Table", &name.to_string())),
        };
    };
    let mut change = Change::read(words, at)?;
    if let Change::RenameTo(to) = &mut change {
        let target = session.resolve(to)?;
        rename(catalog, &table, &name, target)?;
        return Ok(Some(super::executed()));
    }
    if table.kind == TableKind::Iceberg {
        match &change {
            Change::Add(columns) => {
                iceberg::add_columns(engine, &table, columns).await?;
                return Ok(Some(super::executed()));
            }
            Change::Options(_) => {}
            _ => return Err(SqlError::unsupported("this form of ALTER ICEBERG TABLE")),
        }
    }
    let required = change.required();
    catalog.alter_table(table.id, |table| change.apply(table))?;
    for column in required {
        if let Some(text) = holds_null(catalog, files, session, &name, &column).await? {
            catalog.alter_table(table.id, |table| {
                let found = table.columns.iter_mut().find(|known| known.name == column);
                found.into_iter().for_each(|found| found.nullable = true);
                Result::Ok(())
            })?;
            return Err(text);
        }
    }
    Ok(Some(super::executed()))
}

/// Whether rows lack a value of a column, and what to say then. New rows obey already: the constraint was set before.
async fn holds_null(
    catalog: &Arc<Catalog>,
    files: &Files,
    session: &Session,
    name: &Name,
    column: &str,
) -> Result<Option<SqlError>> {
    let quoted = |part: &str| format!("\"{}\"", part.replace('"', "\"\""));
    let table = [&name.database, &name.schema, &name.name]
        .map(|part| quoted(part))
        .join(".");
    let sql = format!("SELECT 1 FROM {table} WHERE {} IS NULL LIMIT 1", quoted(column));
    let statement = Parser::parse_sql(&SnowflakeDialect {}, &sql)
        .map_err(SqlError::syntax)?
        .pop()
        .ok_or_else(|| SqlError::syntax("the statement is empty"))?;
    let found = query::run(catalog, files, session, statement).await?;
    Ok((!found.rows.is_empty()).then(|| SqlError {
        code: "002023",
        sql_state: "22000",
        message: format!("SQL compilation error: column '{column}' contains null values"),
    }))
}

fn rename(catalog: &Catalog, table: &TableDef, from: &Name, to: Name) -> Result<()> {
    if !catalog.schema_exists(&to.database, &to.schema)? {
        return Err(SqlError::missing(
            "Schema",
            &format!("{}.{}", to.database, to.schema),
        ));
    }
    if catalog.table(&to.database, &to.schema, &to.name)?.is_some() {
        return Err(SqlError::exists("TABLE", &to.to_string()));
    }
    if *from == to {
        return Ok(());
    }
    Ok(catalog.rename_table(table.id, &to.database, &to.schema, &to.name)?)
}

/// What a statement asks for.
#[derive(Debug)]
enum Change {
    Options(Options),
    RenameTo(Vec<String>),
    /// Definitions, and whether IF NOT EXISTS stands before them.
    Add(Vec<(Parsed, bool)>),
    Drop(Vec<String>, bool),
    Rename(String, String),
    Columns(Vec<(String, Column)>),
    ClusterBy(Option<String>),
    /// RECLUSTER and the like: there is nothing to do.
    Nothing,
}

/// What is to become of a column.
#[derive(Debug)]
enum Column {
    NotNull(bool),
    Type(DataType),
    Comment(Option<String>),
    NoDefault,
}

impl Change {
    fn read(words: &Words, at: usize) -> Result<Self> {
        match words.word(at).unwrap_or_default() {
            "SET" => Options::set(words, at + 1).map(Self::Options),
            "UNSET" => Options::unset(words, at + 1).map(Self::Options),
            "RENAME" if words.are(at + 1, &["TO"]) => {
                let (to, end) = words.name(at + 2).ok_or_else(name_is_missing)?;
                ended(words, end)?;
                Ok(Self::RenameTo(to))
            }
            "RENAME" if words.are(at + 1, &["COLUMN"]) => match (words.word(at + 2), words.word(at + 4)) {
                (Some(from), Some(to)) if words.are(at + 3, &["TO"]) => {
                    ended(words, at + 5)?;
                    Ok(Self::Rename(from.to_owned(), to.to_owned()))
                }
                _ => Err(SqlError::syntax("RENAME COLUMN wants: old TO new")),
            },
            "ADD" => added(words, at + 1).map(Self::Add),
            "DROP" if words.are(at + 1, &["CLUSTERING", "KEY"]) => Ok(Self::ClusterBy(None)),
            "DROP" => dropped(words, at + 1),
            "ALTER" | "MODIFY" => altered(words, at + 1).map(Self::Columns),
            "CLUSTER" if words.are(at + 1, &["BY"]) => {
                let (keys, end) = cluster_keys(words, at + 2)?;
                ended(words, end)?;
                Ok(Self::ClusterBy(Some(keys)))
            }
            "SUSPEND" | "RESUME" if words.are(at + 1, &["RECLUSTER"]) => Ok(Self::Nothing),
            _ => Err(SqlError::unsupported("this form of ALTER TABLE")),
        }
    }

    /// The columns that rows must have values of from now on.
    fn required(&self) -> Vec<String> {
        let Self::Columns(changes) = self else {
            return Vec::new();
        };
        let of =
            |(name, change): &(String, Column)| matches!(change, Column::NotNull(true)).then(|| name.clone());
        changes.iter().filter_map(of).collect()
    }

    fn apply(self, table: &mut TableDef) -> Result<()> {
        match self {
            Self::Options(options) => options.apply(table),
            Self::Add(columns) => columns
                .into_iter()
                .try_for_each(|(new, if_new)| add(table, &new, if_new)),
            Self::Drop(names, if_exists) => names
                .iter()
                .try_for_each(|name| drop_column(table, name, if_exists)),
            Self::Rename(from, to) => rename_column(table, &from, to),
            Self::Columns(changes) => changes
                .into_iter()
                .try_for_each(|(name, change)| alter(column_mut(table, &name)?, change)),
            Self::ClusterBy(text) => {
                table.cluster_by = text;
                Ok(())
            }
            Self::RenameTo(_) | Self::Nothing => Ok(()),
        }
    }
}

/// The list behind CLUSTER BY, and where it ends.
pub(super) fn cluster_keys(words: &Words, at: usize) -> Result<(String, usize)> {
    let end = words
        .closing(at)
        .ok_or_else(|| SqlError::syntax("CLUSTER BY wants a list"))?;
    let tokens = words.range(at + 1, end).tokens().to_vec();
    let mut parser = Parser::new(&SnowflakeDialect {}).with_tokens(tokens);
    let keys = parser
        .parse_comma_separated(Parser::parse_expr)
        .map_err(SqlError::syntax)?;
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    Ok((format!("({})", keys.join(", ")), end + 1))
}

fn name_is_missing() -> SqlError {
    SqlError::syntax("a name is missing")
}

fn ended(words: &Words, at: usize) -> Result<()> {
    match words.get(at) {
        None => Ok(()),
        Some(token) => Err(SqlError::syntax(format!("unexpected '{token}'"))),
    }
}

/// `[COLUMN] [IF NOT EXISTS] definition, ...`
fn added(words: &Words, at: usize) -> Result<Vec<(Parsed, bool)>> {
    let mut columns = Vec::new();
    for part in listed(words, at) {
        let start = usize::from(part.are(0, &["COLUMN"]));
        let if_new = part.are(start, &["IF", "NOT", "EXISTS"]);
        let start = if if_new { start + 3 } else { start };
        let mut parser =
            Parser::new(&SnowflakeDialect {}).with_tokens(part.range(start, part.len()).tokens().to_vec());
        let parsed = parser.parse_column_def().map_err(SqlError::syntax)?;
        let rest = parser.peek_token().token;
        if rest != Token::EOF {
            return Err(SqlError::syntax(format!("unexpected '{rest}'")));
        }
        columns.push((parsed, if_new));
    }
    Ok(columns)
}

/// `[COLUMN] [IF EXISTS] name, ...`
fn dropped(words: &Words, at: usize) -> Result<Change> {
    let at = at + usize::from(words.are(at, &["COLUMN"]));
    let if_exists = words.are(at, &["IF", "EXISTS"]);
    let mut names = Vec::new();
    for part in listed(words, if if_exists { at + 2 } else { at }) {
        match part.name(0) {
            Some((name, end)) if end == part.len() && name.len() == 1 => names.extend(name),
            _ => return Err(SqlError::unsupported("this form of ALTER TABLE ... DROP")),
        }
    }
    Ok(Change::Drop(names, if_exists))
}

/// `[(] [COLUMN] name action, ... [)]`
fn altered(words: &Words, at: usize) -> Result<Vec<(String, Column)>> {
    let inner = match (words.get(at), words.closing(at)) {
        (Some(Token::LParen), Some(end)) => {
            ended(words, end + 1)?;
            words.range(at + 1, end)
        }
        _ => words.range(at, words.len()),
    };
    let mut changes = Vec::new();
    for part in listed(&inner, 0) {
        let start = usize::from(part.are(0, &["COLUMN"]));
        let name = part.word(start).ok_or_else(name_is_missing)?.to_owned();
        changes.push((name, action(&part.range(start + 1, part.len()))?));
    }
    Ok(changes)
}

fn action(words: &Words) -> Result<Column> {
    let exactly = |phrase: &[&str]| words.are(0, phrase) && words.len() == phrase.len();
    let type_at = [&["SET", "DATA", "TYPE"][..], &["TYPE"]];
    if let Some(phrase) = type_at.iter().find(|phrase| words.are(0, phrase)) {
        let tokens = words.range(phrase.len(), words.len()).tokens().to_vec();
        let parsed = Parser::new(&SnowflakeDialect {})
            .with_tokens(tokens)
            .parse_data_type();
        return types::data_type(&parsed.map_err(SqlError::syntax)?).map(Column::Type);
    }
    if exactly(&["SET", "NOT", "NULL"]) || exactly(&["NOT", "NULL"]) {
        return Ok(Column::NotNull(true));
    }
    if exactly(&["DROP", "NOT", "NULL"]) {
        return Ok(Column::NotNull(false));
    }
    if exactly(&["DROP", "DEFAULT"]) {
        return Ok(Column::NoDefault);
    }
    if exactly(&["UNSET", "COMMENT"]) {
        return Ok(Column::Comment(None));
    }
    if words.are(0, &["COMMENT"])
        && words.len() == 2
        && let Some(text) = words.text(1)
    {
        return Ok(Column::Comment(Some(text.to_owned())));
    }
    Err(SqlError::unsupported("this form of ALTER TABLE ... ALTER COLUMN"))
}

/// What stands between the commas that are in no parentheses.
fn listed(words: &Words, at: usize) -> Vec<Words> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (at, 0_usize);
    for index in at..words.len() {
        match words.get(index) {
            Some(Token::LParen) => depth += 1,
            Some(Token::RParen) => depth = depth.saturating_sub(1),
            Some(Token::Comma) if depth == 0 => {
                parts.push(words.range(start, index));
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(words.range(start, words.len()));
    parts
}

fn unknown_column(name: &str) -> SqlError {
    SqlError {
        code: "000904",
        sql_state: "42000",
        message: format!("SQL compilation error: invalid identifier '{name}'"),
    }
}

fn column_mut<'t>(table: &'t mut TableDef, name: &str) -> Result<&'t mut ColumnDef> {
    let found = table.columns.iter_mut().find(|column| column.name == name);
    found.ok_or_else(|| unknown_column(name))
}

fn add(table: &mut TableDef, parsed: &Parsed, if_new: bool) -> Result<()> {
    let mut new = define::column(parsed)?;
    if new
        .default
        .as_deref()
        .is_some_and(|default| sequences::of_default(default).is_some())
    {
        return Err(SqlError::unsupported(
            "a sequence as the DEFAULT of a column that is added",
        ));
    }
    if table.kind == TableKind::Interactive {
        return Err(SqlError::unsupported(
            "ADD COLUMN of an interactive table (as in the service)",
        ));
    }
    if table.columns.iter().any(|known| known.name == new.name) {
        return match if_new {
            true => Ok(()),
            false => Err(SqlError::exists("COLUMN", &new.name)),
        };
    }
    new.stored = table.stored_as(&new.name);
    table.columns.push(new);
    Ok(())
}

fn drop_column(table: &mut TableDef, name: &str, if_exists: bool) -> Result<()> {
    let Some(place) = table.columns.iter().position(|column| column.name == name) else {
        return match if_exists {
            true => Ok(()),
            false => Err(unknown_column(name)),
        };
    };
    if table.columns.len() == 1 {
        let message = format!("cannot drop column '{name}': a table has at least one");
        return Err(SqlError::syntax(message));
    }
    table.columns.remove(place);
    table.renames += 1;
    Ok(())
}

fn rename_column(table: &mut TableDef, from: &str, to: String) -> Result<()> {
    if from != to && table.columns.iter().any(|column| column.name == to) {
        return Err(SqlError::exists("COLUMN", &to));
    }
    let column = column_mut(table, from)?;
    if from == to {
        return Ok(());
    }
    column.stored = Some(column.stored_name().to_owned());
    column.name = to;
    column.evolution = None;
    table.renames += 1;
    Ok(())
}

fn alter(column: &mut ColumnDef, change: Column) -> Result<()> {
    match change {
        Column::NotNull(not_null) => column.nullable = !not_null,
        Column::Comment(comment) => column.comment = comment,
        Column::NoDefault => column.default = None,
        Column::Type(new) => {
            if !grows(&column.data_type, &new) {
                return Err(SqlError {
                    code: "002108",
                    sql_state: "22000",
                    message: format!(
                        "SQL compilation error: cannot change column {} from type {} to {}",
                        column.name,
                        type_text(&column.data_type),
                        type_text(&new)
                    ),
                });
            }
            column.data_type = new;
        }
    }
    column.evolution = None;
    Ok(())
}

/// Whether all values of the one type are values of the other: longer texts, more digits before the point.
fn grows(old: &DataType, new: &DataType) -> bool {
    match (old, new) {
        (DataType::Varchar { length: old }, DataType::Varchar { length: new })
        | (DataType::Binary { length: old }, DataType::Binary { length: new }) => new >= old,
        (
            DataType::Number {
                precision: old,
                scale: kept,
            },
            DataType::Number { precision, scale },
        ) => scale == kept && precision >= old,
        (old, new) => old == new,
    }
}
