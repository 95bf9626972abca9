//! SQL over the catalog and the committed segments.
//!
//! How it works: a statement is cut into tokens ([`words`]); SHOW, DESCRIBE and USE are read from them directly, everything
//! else by the Snowflake dialect of `sqlparser`. Definitions change the catalog ([`define`]); a SELECT is rewritten
//! ([`rewrite`]: names by Snowflake's rules, paths and casts of VARIANT) and run by DataFusion over one snapshot of each
//! table it names ([`query`]).
//!
//! What it guarantees: a SELECT sees for each table the rows of whole commits only. What it does not: it does not know all
//! of Snowflake's SQL; what it does not know is refused with a code, never guessed. Queries share 1 GiB of memory.

mod access;
mod aggregates;
mod alter;
mod arithmetic;
pub(crate) mod binding;
mod casts;
mod clone;
mod conversions;
mod dates;
mod ddl;
mod define;
mod files;
mod flatten;
mod formats;
mod functions;
mod grants;
mod iceberg;
mod information;
mod insert;
mod integrations;
mod interactive;
mod labels;
mod naming;
mod network;
mod options;
mod pipe;
mod query;
mod result;
mod rewrite;
mod roles;
mod row_defaults;
mod segment_files;
mod select;
mod sequences;
mod show;
mod statement;
mod structured;
mod texts;
mod timed;
mod tokens;
mod travel;
mod typed;
mod types;
mod udf;
mod undrop;
mod users;
mod values;
mod variant;
mod view;
mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use sqlparser::ast::Statement;
use sqlparser::dialect::SnowflakeDialect;
use sqlparser::parser::Parser;

use super::catalog::statements::Span;
use super::catalog::{Catalog, now_ms};
use super::model::{ACCOUNTADMIN, TableKind};
use crate::disk::Disk;

use self::access::Access;
use self::files::Files;
pub(crate) use self::result::LARGEST_RESULT;
pub use self::result::{QueryResult, ResultColumn};
pub(crate) use self::select::{Prepared, Scope};
pub(crate) use self::sequences::numbers;
pub(crate) use self::statement::{QUERY, parameter, result_scan};
use self::statement::{bound, pipe_statement, statement_type, transaction};
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
    /// The role that was chosen. Without one, a statement begins with the first role of the user; who embeds the engine
    /// and names no user has ACCOUNTADMIN.
    pub role: Option<String>,
    /// The warehouse that was chosen; it decides nothing.
    pub warehouse: Option<String>,
    /// Parameters that were set, by ALTER SESSION or a login, in upper case; only those that decide something here.
    pub parameters: BTreeMap<&'static str, String>,
}

/// What comes with a statement.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameters {
    /// Values of its question marks.
    pub(crate) bindings: binding::Bindings,
    /// Only its columns are wanted; nothing is run.
    pub(crate) describe_only: bool,
}

/// A name as a request gives it: quoted as it stands, else upper case.
pub(crate) fn folded(name: &str) -> String {
    match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_uppercase(),
    }
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

    pub(crate) fn canceled() -> Self {
        Self {
            code: "000604",
            sql_state: "57014",
            message: "SQL execution canceled".to_owned(),
        }
    }

    pub(crate) fn unsupported(what: &str) -> Self {
        let message = format!("Unsupported feature: the local Snowflake does not know {what}");
        Self {
            code: "000002",
            sql_state: "0A000",
            message,
        }
    }

    /// The planner's own fault.
    pub(crate) fn failed() -> Self {
        let message =
            "the local Snowflake cannot plan or run this statement; the log has the place in its planner";
        Self {
            code: "000603",
            sql_state: "XX000",
            message: message.to_owned(),
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

/// What CURRENT_VERSION() says: of this crate, behind a number that drivers take for a server's.
pub(crate) const SERVER_VERSION: &str = concat!("9.0.0 frazil-local-", env!("CARGO_PKG_VERSION"));

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
    /// The role whose privileges count.
    fn role(&self) -> &str {
        self.role.as_deref().unwrap_or(ACCOUNTADMIN)
    }

    fn role_name(&self) -> String {
        self.role().to_owned()
    }

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

/// Gives a session its role, and refuses one that its user does not have.
fn settle(catalog: &Catalog, session: &mut Session) -> Result<()> {
    if session.user.is_empty() {
        return Ok(());
    }
    match &session.role {
        None => session.role = Some(catalog.first_role(&session.user)?),
        Some(role) if catalog.user_has_role(&session.user, role)? => {}
        Some(role) => {
            return Err(SqlError {
                code: ROLE_REFUSED,
                sql_state: "08004",
                message: role_refused(role),
            });
        }
    }
    Ok(())
}

/// The code of a role that a login asks for and its user does not have.
pub(crate) const ROLE_REFUSED: &str = "390186";

/// What is said of it.
pub(crate) fn role_refused(role: &str) -> String {
    format!(
        "Role '{role}' specified in the connect string is not granted to this user. Contact your local system \
         administrator, or attempt to login with another role, e.g. PUBLIC."
    )
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
    files: Files,
    account: String,
}

impl Engine {
    /// An engine over a catalog whose segments lie below `data_dir`.
    #[must_use]
    pub(crate) fn new(catalog: Arc<Catalog>, disk: Arc<dyn Disk>, data_dir: PathBuf, account: &str) -> Self {
        Self {
            files: Files::new(data_dir, &catalog),
            catalog,
            disk,
            account: account.to_owned(),
        }
    }

    /// Notes when a statement ran, under the id that its client knows.
    pub(crate) fn note(&self, id: &str, begun_ms: i64) {
        let ended_ms = now_ms();
        self.catalog.note_statement(id, Span { begun_ms, ended_ms });
    }

    /// Runs one statement; USE changes the session.
    ///
    /// # Errors
    /// [`SqlError`] with Snowflake's code where there is one.
    pub async fn execute(&self, session: &mut Session, sql: &str) -> Result<QueryResult> {
        self.execute_with(session, sql, &Parameters::default()).await
    }

    /// The same with what came with it. Bound lists make an INSERT of several rows.
    pub(crate) async fn execute_with(
        &self,
        session: &mut Session,
        sql: &str,
        parameters: &Parameters,
    ) -> Result<QueryResult> {
        let mut words = Words::of(sql)?;
        if !parameters.bindings.is_empty() {
            words = bound(&words, &parameters.bindings)?;
        } else if parameters.describe_only {
            words = Words::folded(binding::unbound(words.tokens()));
        }
        let (words, limit) = show::limited(words)?;
        let kind = statement_type(&words);
        settle(&self.catalog, session)?;
        let shown = words.are(0, &["SHOW"]).then(|| words.clone());
        let mut result = self.run(session, words, sql, parameters.describe_only).await?;
        if let Some(words) = shown {
            Access::of(&self.catalog, session).leave_visible(&words, &mut result)?;
        }
        if let Some(limit) = limit {
            limit.apply(&mut result);
        }
        result.statement_type = kind;
        Ok(result)
    }

    async fn run(
        &self,
        session: &mut Session,
        mut words: Words,
        sql: &str,
        describe_only: bool,
    ) -> Result<QueryResult> {
        words.mark_error_tables();
        let is_query = words
            .word(0)
            .is_none_or(|word| matches!(word, "SELECT" | "WITH" | "VALUES"));
        if describe_only && !is_query {
            return Ok(match words.word(0) {
                Some("INSERT") => QueryResult::numbers(insert::INSERTED, Vec::new()),
                _ => QueryResult::texts(&["status"], Vec::new()),
            });
        }
        Access::of(&self.catalog, session).check(&words)?;
        if let Some(done) = clone::run(self, session, &words).await? {
            return Ok(done);
        }
        let (mut words, iceberg) = match iceberg::read(&words)? {
            Some((words, options)) => (words, Some(options)),
            None => (iceberg::plain(&words), None),
        };
        if let Some(done) = iceberg::truncate(self, session, &words).await? {
            return Ok(done);
        }
        if let Some(done) = self.run_words(session, &words, sql)? {
            return Ok(done);
        }
        if let Some(done) = alter::run(self, session, &words).await? {
            return Ok(done);
        }
        let interactive = interactive::taken(&mut words, sql)?;
        let (text, mut options) = words.without_table_options();
        if let Some(transform) = interactive {
            (options.kind, options.transform) = (TableKind::Interactive, transform);
        }
        let parsed = words::deep(|| {
            let dialect = SnowflakeDialect {};
            Parser::new(&dialect).with_tokens(text).parse_statements()
        });
        let mut statements = parsed.map_err(SqlError::syntax)?;
        let mut statement = match (statements.pop(), statements.pop()) {
            (Some(statement), None) => statement,
            (None, _) => return Err(SqlError::syntax("the statement is empty")),
            (Some(_), Some(_)) => return Err(SqlError::unsupported("several statements in one request")),
        };
        labels::give(&mut statement);
        functions::context(&mut statement, session, &self.account);
        match statement {
            Statement::Query(_) if describe_only => {
                let running = query::start(&self.catalog, &self.files, session, statement).await?;
                Ok(QueryResult {
                    columns: running.columns(),
                    ..QueryResult::default()
                })
            }
            Statement::Query(_) => query::run(&self.catalog, &self.files, session, statement).await,
            Statement::Insert(insert) => insert::run(self, session, insert).await,
            Statement::CreateTable(create) if iceberg.is_some() => {
                iceberg::create(self, session, create, options, iceberg.unwrap_or_default()).await
            }
            Statement::CreateTable(create) if create.query.is_some() => {
                insert::create(self, session, create, options).await
            }
            other => define::run(&self.catalog, session, other, options),
        }
    }

    /// Statements that are read from their words.
    fn run_words(&self, session: &mut Session, words: &Words, sql: &str) -> Result<Option<QueryResult>> {
        if let Some(done) = iceberg::run(self, session, words)? {
            return Ok(Some(done));
        }
        if let Some(done) = roles::run(&self.catalog, session, words)? {
            return Ok(Some(done));
        }
        if let Some(done) = grants::run(&self.catalog, session, words)? {
            return Ok(Some(done));
        }
        if let Some(word) = pipe_statement(words) {
            let done = match word {
                "CREATE" => pipe::create(&self.catalog, session, words, sql),
                _ => pipe::change(&self.catalog, session, words),
            };
            return done.map(Some);
        }
        if let Some(done) = ddl::run(&self.catalog, session, words)? {
            return Ok(Some(done));
        }
        if let Some(done) = network::run(&self.catalog, session, words)? {
            return Ok(Some(done));
        }
        if let Some(done) = row_defaults::run(&self.catalog, session, words)? {
            return Ok(Some(done));
        }
        if let Some(done) = tokens::run(&self.catalog, session, words)? {
            return Ok(Some(done));
        }
        if let Some(done) = integrations::run(&self.catalog, session, words)? {
            return Ok(Some(done));
        }
        if let Some(done) = sequences::run(&self.catalog, session, words)? {
            return Ok(Some(done));
        }
        if let Some(done) = udf::run(&self.catalog, session, words)? {
            return Ok(Some(done));
        }
        if let Some(done) = users::run(&self.catalog, session, words)? {
            return Ok(Some(done));
        }
        if let Some(done) = undrop::run(&self.catalog, session, words)? {
            return Ok(Some(done));
        }
        if words.are(0, &["TRUNCATE"]) {
            return define::truncate(&self.catalog, session, words).map(Some);
        }
        if let Some(done) = transaction(session, words)? {
            return Ok(Some(done));
        }
        show::run(&self.catalog, session, words)
    }
}

fn executed() -> QueryResult {
    QueryResult::status("Statement executed successfully.".to_owned())
}
