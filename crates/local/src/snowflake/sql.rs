//! SQL over the catalog and the committed segments.
//!
//! How it works: a statement is cut into tokens ([`words`]); SHOW, DESCRIBE and USE are read from them directly, everything
//! else by the Snowflake dialect of `sqlparser`. Definitions change the catalog ([`define`]); a SELECT is rewritten
//! ([`rewrite`]: names by Snowflake's rules, paths and casts of VARIANT) and run by DataFusion over one snapshot of each
//! table it names ([`query`]).
//!
//! What it guarantees: a SELECT sees for each table the rows of whole commits only. What it does not: it does not know all
//! of Snowflake's SQL; what it does not know is refused with a code, never guessed. Queries share 1 GiB of memory.

mod casts;
mod define;
mod functions;
mod insert;
mod pipe;
mod query;
mod result;
mod rewrite;
mod select;
mod show;
mod variant;
mod words;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use sqlparser::ast::Statement;
use sqlparser::dialect::SnowflakeDialect;
use sqlparser::parser::Parser;

use super::catalog::Catalog;
use crate::disk::Disk;

pub use self::result::{QueryResult, ResultColumn};
pub(crate) use self::select::Prepared;
use self::words::Words;

/// Where unqualified names are looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// The database, as stored.
    pub database: Option<String>,
    /// The schema, as stored.
    pub schema: Option<String>,
    /// The user.
    pub user: String,
}

/// Why a statement failed, with Snowflake's code and SQL state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code} ({sql_state}): {message}")]
pub struct SqlError {
    /// Six digits.
    pub code: &'static str,
    /// Five characters.
    pub sql_state: &'static str,
    /// What is wrong.
    pub message: String,
}

impl SqlError {
    fn syntax(message: impl std::fmt::Display) -> Self {
        let message = format!("SQL compilation error: {message}");
        Self {
            code: "001003",
            sql_state: "42000",
            message,
        }
    }

    fn missing(kind: &str, name: &str) -> Self {
        let message = format!("SQL compilation error: {kind} '{name}' does not exist or not authorized.");
        Self {
            code: "002003",
            sql_state: "02000",
            message,
        }
    }

    fn exists(kind: &str, name: &str) -> Self {
        let message = format!("SQL compilation error: Object '{name}' already exists as {kind}");
        Self {
            code: "002002",
            sql_state: "42710",
            message,
        }
    }

    fn unsupported(what: &str) -> Self {
        let message = format!("Unsupported feature: the local Snowflake does not know {what}");
        Self {
            code: "000002",
            sql_state: "0A000",
            message,
        }
    }

    fn running(message: impl std::fmt::Display) -> Self {
        Self {
            code: "100038",
            sql_state: "22000",
            message: message.to_string(),
        }
    }
}

impl From<crate::Error> for SqlError {
    fn from(error: crate::Error) -> Self {
        Self {
            code: "000603",
            sql_state: "XX000",
            message: error.to_string(),
        }
    }
}

type Result<T> = std::result::Result<T, SqlError>;

/// Three resolved parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name {
    database: String,
    schema: String,
    name: String,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.database, self.schema, self.name)
    }
}

impl Session {
    /// Resolves one to three parts against the session.
    fn resolve(&self, parts: &[String]) -> Result<Name> {
        let database = || self.database.clone().ok_or_else(no_database);
        let schema = || self.schema.clone().unwrap_or_else(|| "PUBLIC".to_owned());
        let (database, schema, name) = match parts {
            [name] => (database()?, schema(), name.clone()),
            [schema, name] => (database()?, schema.clone(), name.clone()),
            [database, schema, name] => (database.clone(), schema.clone(), name.clone()),
            _ => return Err(SqlError::syntax("a name has one to three parts")),
        };
        Ok(Name {
            database,
            schema,
            name,
        })
    }
}

fn no_database() -> SqlError {
    let message = "Cannot perform this statement. This session does not have a current database. Call 'USE DATABASE', \
                   or use a qualified name.";
    SqlError {
        code: "090105",
        sql_state: "22000",
        message: message.to_owned(),
    }
}

/// Runs statements.
#[derive(Debug, Clone)]
pub struct Engine {
    catalog: Arc<Catalog>,
    disk: Arc<dyn Disk>,
    data_dir: PathBuf,
}

/// The verb of a statement about a pipe.
fn pipe_statement(words: &Words) -> Option<&str> {
    let at = if words.are(0, &["CREATE", "OR", "REPLACE"]) {
        3
    } else {
        1
    };
    let verb = words.word(0)?;
    let known = ["CREATE", "ALTER", "DROP", "DESC", "DESCRIBE"].contains(&verb);
    (known && words.are(at, &["PIPE"])).then_some(verb)
}

impl Engine {
    /// An engine over a catalog whose segments lie below `data_dir`.
    #[must_use]
    pub(crate) fn new(catalog: Arc<Catalog>, disk: Arc<dyn Disk>, data_dir: PathBuf) -> Self {
        Self {
            catalog,
            disk,
            data_dir,
        }
    }

    /// Runs one statement; USE changes the session.
    ///
    /// # Errors
    /// [`SqlError`] with Snowflake's code where there is one.
    pub async fn execute(&self, session: &mut Session, sql: &str) -> Result<QueryResult> {
        let mut words = Words::of(sql)?;
        words.mark_error_tables();
        if let Some(word) = pipe_statement(&words) {
            return match word {
                "CREATE" => pipe::create(&self.catalog, session, &words, sql),
                _ => pipe::change(&self.catalog, session, &words),
            };
        }
        if let Some(shown) = show::run(&self.catalog, session, &words)? {
            return Ok(shown);
        }
        if words.are(0, &["TRUNCATE"]) {
            return define::truncate(&self.catalog, session, &words);
        }
        let (text, options) = words.without_table_options();
        // What is left of `ALTER TABLE t SET <options>` is no statement any more.
        if words.are(0, &["ALTER", "TABLE"])
            && let Some((name, end)) = words.name(2)
            && words.are(end, &["SET"])
            && text.len() == end + 1
        {
            return define::set_options(&self.catalog, session, &name, options);
        }
        let parsed = Parser::new(&SnowflakeDialect {})
            .with_tokens(text)
            .parse_statements();
        let mut statements = parsed.map_err(SqlError::syntax)?;
        let statement = match (statements.pop(), statements.pop()) {
            (Some(statement), None) => statement,
            (None, _) => return Err(SqlError::syntax("the statement is empty")),
            (Some(_), Some(_)) => return Err(SqlError::unsupported("several statements in one request")),
        };
        match statement {
            Statement::Query(_) => query::run(&self.catalog, &self.data_dir, session, statement).await,
            Statement::Insert(insert) => insert::run(self, session, insert).await,
            Statement::CreateTable(create) if create.query.is_some() => {
                insert::create(self, session, create, options).await
            }
            other => define::run(&self.catalog, session, other, options),
        }
    }
}
