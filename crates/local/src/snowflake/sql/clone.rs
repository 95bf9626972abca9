//! CREATE TABLE ... LIKE and CREATE TABLE ... CLONE, read from the words of the statement.
//!
//! How it works: both take the definition of their source: columns with DEFAULTs, NOT NULL, IDENTITY and comments, the clustering
//! key, the comment and the options; what the statement says itself comes first. LIKE makes an empty table, whose IDENTITY
//! begins anew. CLONE names the source's files ([`crate::snowflake::cloned`]), as of now or of a moment of time travel, and goes on with
//! its IDENTITY. A DEFAULT of a sequence goes on with the same sequence.
//!
//! What it guarantees: one transaction of the catalog makes the table. Pipes, channels and error rows are never copied; grants are
//! by COPY GRANTS, and then those on future tables are not given. What it does not: only standard tables are a source; whole
//! databases and schemas are not cloned; LIKE wants SELECT on its source too.
//!
//! Source: Snowflake documentation, "CREATE TABLE", "CREATE <object> ... CLONE", "Cloning considerations". That LIKE takes the options
//! along is read from "creates an empty copy of an existing table".

use sqlparser::ast::TableVersion;
use sqlparser::tokenizer::Token;

use super::access::{Access, MODIFIERS};
use super::alter::{self, Options};
use super::define::{mode, told};
use super::words::Words;
use super::{Engine, Name, QueryResult, Result, Session, SqlError, travel};
use crate::snowflake::cloned;
use crate::snowflake::model::{CreateMode, Created, NewTable, SegmentKind, TableDef, TableKind};

/// What a statement asks for.
struct Copy {
    mode: CreateMode,
    target: Vec<String>,
    source: Vec<String>,
    is_clone: bool,
    version: Option<TableVersion>,
    cluster_by: Option<String>,
    copy_grants: bool,
    options: Words,
}

/// Runs the statement if it is one of these.
pub(super) async fn run(engine: &Engine, session: &Session, words: &Words) -> Result<Option<QueryResult>> {
    let Some(copy) = Copy::read(words)? else {
        return Ok(None);
    };
    let (target, source) = (session.resolve(&copy.target)?, session.resolve(&copy.source)?);
    let catalog = &engine.catalog;
    if !catalog.schema_exists(&target.database, &target.schema)? {
        let name = format!("{}.{}", target.database, target.schema);
        return Err(SqlError::missing("Schema", &name));
    }
    let there = catalog.table(&target.database, &target.schema, &target.name)?;
    match copy.mode {
        CreateMode::New if there.is_some() => return Err(SqlError::exists("TABLE", &target.to_string())),
        CreateMode::IfNotExists if there.is_some() => {
            return Ok(Some(told("Table", &target.name, Created::Existed)));
        }
        _ => {}
    }
    Access::of(catalog, session).read(&source)?;
    let created = match copy.is_clone {
        true => copy.clone_of(engine, session, &target, &source).await?,
        false => {
            let table = catalog.table(&source.database, &source.schema, &source.name)?;
            let mut table = table.ok_or_else(|| missing(&source))?;
            empty(&mut table);
            catalog.create_table(&copy.table(session, &target, table)?, copy.mode)?
        }
    };
    Ok(Some(told("Table", &target.name, created)))
}

fn missing(source: &Name) -> SqlError {
    SqlError::missing("Object", &source.to_string())
}

/// Makes a definition that of a table without rows.
fn empty(table: &mut TableDef) {
    for column in &mut table.columns {
        (column.stored, column.evolution) = (None, None);
        if let (Some(begin), Some((next, _))) = (column.identity_begin.take(), &mut column.identity) {
            *next = begin;
        }
    }
}

impl Copy {
    fn read(words: &Words) -> Result<Option<Self>> {
        let or_replace = words.are(1, &["OR", "REPLACE"]);
        let mut at = if or_replace { 3 } else { 1 };
        while MODIFIERS.iter().any(|word| words.are(at, &[word])) {
            at += 1;
        }
        let Some(kind) = words.word(at).filter(|_| words.are(0, &["CREATE"])) else {
            return Ok(None);
        };
        at += if words.are(at + 1, &["TABLE"]) { 2 } else { 1 };
        let if_not_exists = words.are(at, &["IF", "NOT", "EXISTS"]);
        let Some((target, at)) = words.name(if if_not_exists { at + 3 } else { at }) else {
            return Ok(None);
        };
        let is_clone = words.are(at, &["CLONE"]);
        match kind {
            "TABLE" if is_clone || words.are(at, &["LIKE"]) => {}
            "ICEBERG" | "INTERACTIVE" | "DYNAMIC" | "EVENT" | "HYBRID" | "DATABASE" | "SCHEMA"
                if is_clone || words.are(at, &["LIKE"]) =>
            {
                let what = if is_clone { "CLONE" } else { "LIKE" };
                return Err(SqlError::unsupported(&format!("CREATE {kind} ... {what}")));
            }
            _ => return Ok(None),
        }
        let (source, mut at) = words
            .name(at + 1)
            .ok_or_else(|| SqlError::syntax("a table's name is missing"))?;
        let version = match version_end(words, at) {
            Some(end) if is_clone => {
                let version = travel::version(words.range(at, end));
                at = end;
                Some(version?)
            }
            _ => None,
        };
        let mut copy = Self {
            mode: mode(or_replace, if_not_exists)?,
            target,
            source,
            is_clone,
            version,
            cluster_by: None,
            copy_grants: false,
            options: words.range(0, 0),
        };
        copy.rest(words, at)?;
        Ok(Some(copy))
    }

    /// What stands behind the source.
    fn rest(&mut self, words: &Words, mut at: usize) -> Result<()> {
        let mut options = Vec::new();
        while let Some(token) = words.get(at) {
            if words.are(at, &["COPY", "GRANTS"]) {
                self.copy_grants = true;
                at += 2;
            } else if words.are(at, &["CLUSTER", "BY"]) && !self.is_clone {
                let (keys, end) = alter::cluster_keys(words, at + 2)?;
                self.cluster_by = Some(keys);
                at = end;
            } else {
                options.push(token.clone());
                at += 1;
            }
        }
        self.options = Words::folded(options);
        Ok(())
    }

    /// The table that is to be made, of its source's definition.
    fn table(&self, session: &Session, target: &Name, mut table: TableDef) -> Result<NewTable> {
        if table.kind != TableKind::Standard {
            let what = if self.is_clone { "CLONE" } else { "LIKE" };
            return Err(SqlError::unsupported(&format!(
                "CREATE TABLE ... {what} of a table that is no standard one"
            )));
        }
        if self.options.len() > 0 {
            Options::set(&self.options, 0)?.apply(&mut table)?;
        }
        Ok(NewTable {
            database: target.database.clone(),
            schema: target.schema.clone(),
            name: target.name.clone(),
            columns: table.columns,
            schema_evolution: table.schema_evolution,
            error_logging: table.error_logging,
            row_timestamp: table.row_timestamp_ms.is_some(),
            kind: table.kind,
            cluster_by: self.cluster_by.clone().or(table.cluster_by),
            comment: table.comment,
            owner: Some(session.role_name()),
            retention_days: Some(table.retention_days),
            transform: None,
            copy_grants_of: self.copy_grants.then_some(table.id),
        })
    }

    async fn clone_of(
        &self,
        engine: &Engine,
        session: &Session,
        target: &Name,
        source: &Name,
    ) -> Result<Created> {
        let (catalog, files) = (&engine.catalog, &engine.files);
        let until_ms = match &self.version {
            Some(version) => Some(travel::moment(catalog, files, session, version).await?),
            None => None,
        };
        loop {
            let (database, schema, name) = (&source.database, &source.schema, &source.name);
            let snapshot = match until_ms {
                Some(at_ms) => travel::snapshot(catalog, files, source, name, at_ms)?,
                None => catalog
                    .snapshot(database, schema, name, SegmentKind::Rows)?
                    .ok_or_else(|| missing(source))?,
            };
            let new = self.table(session, target, snapshot.table.clone())?;
            let (here, mode) = (engine.clone(), self.mode);
            let done = tokio::task::spawn_blocking(move || {
                let disk = here.disk.as_ref();
                cloned::make(disk, &here.catalog, &snapshot, until_ms, &new, mode)
            });
            // A merge took files of the snapshot in between: its result has the same rows.
            if let Some(created) = done.await.map_err(SqlError::running)?? {
                return Ok(created);
            }
        }
    }
}

/// Where `AT (...)` or `BEFORE (...)` that begins here ends.
fn version_end(words: &Words, at: usize) -> Option<usize> {
    let begins = words.are(at, &["AT"]) || words.are(at, &["BEFORE"]);
    let is_it = begins && words.get(at + 1) == Some(&Token::LParen);
    is_it.then(|| words.closing(at + 1)).flatten().map(|end| end + 1)
}
