//! `ALTER ACCOUNT|DATABASE|SCHEMA ... SET ROW_TIMESTAMP_DEFAULT`, and the function that switches row timestamps on for all
//! tables there are (Snowflake documentation, "Row timestamps", "SYSTEM$SET_ROW_TIMESTAMP_ON_ALL_SUPPORTED_TABLES").

use sqlparser::tokenizer::Token;

use super::access::{self, Access, OWNERSHIP};
use super::words::Words;
use super::{QueryResult, Result, Session, SqlError};
use crate::snowflake::catalog::defaults::Scope;
use crate::snowflake::catalog::{Catalog, now_ms};
use crate::snowflake::model::{ACCOUNTADMIN, TableKind};

const ALL_TABLES: &str = "SYSTEM$SET_ROW_TIMESTAMP_ON_ALL_SUPPORTED_TABLES";

/// Runs the statement if it is one of these.
pub(super) fn run(catalog: &Catalog, session: &Session, words: &Words) -> Result<Option<QueryResult>> {
    if words.are(0, &["SELECT", ALL_TABLES]) {
        return all_tables(catalog, session, words).map(Some);
    }
    let scopes = ["ACCOUNT", "DATABASE", "SCHEMA"];
    let kind = words
        .word(1)
        .filter(|kind| words.are(0, &["ALTER"]) && scopes.contains(kind));
    let Some(kind) = kind else { return Ok(None) };
    let (name, at) = match kind {
        "ACCOUNT" => (Vec::new(), 2),
        _ => words
            .name(2)
            .ok_or_else(|| SqlError::syntax("a name is missing"))?,
    };
    let value = match (words.word(at), words.word(at + 1), words.set_to(at + 2)) {
        (Some("SET"), Some("ROW_TIMESTAMP_DEFAULT"), Some(value)) if words.len() == at + 4 => Some(value),
        (Some("UNSET"), Some("ROW_TIMESTAMP_DEFAULT"), None) if words.len() == at + 2 => None,
        _ => return Err(SqlError::unsupported(&format!("this form of ALTER {kind}"))),
    };
    let scope = scope(catalog, session, kind, &name)?;
    if scope == Scope::Account {
        administers(session)?;
    }
    catalog.set_row_timestamp_default(&scope, value)?;
    Ok(Some(super::executed()))
}

fn administers(session: &Session) -> Result<()> {
    match session.role() {
        ACCOUNTADMIN => Ok(()),
        role => Err(access::insufficient("account", role)),
    }
}

fn scope(catalog: &Catalog, session: &Session, kind: &str, name: &[String]) -> Result<Scope> {
    let database = || session.database.clone().ok_or_else(super::no_database);
    let scope = match (kind, name) {
        ("ACCOUNT", _) => return Ok(Scope::Account),
        ("DATABASE", [name]) => Scope::Database(name.clone()),
        ("SCHEMA", [name]) => Scope::Schema(database()?, name.clone()),
        ("SCHEMA", [database, name]) => Scope::Schema(database.clone(), name.clone()),
        _ => return Err(SqlError::syntax("a name has too many parts")),
    };
    let is_there = match &scope {
        Scope::Account => true,
        Scope::Database(name) => catalog.database_exists(name)?,
        Scope::Schema(database, name) => catalog.schema_exists(database, name)?,
    };
    match is_there {
        true => Ok(scope),
        false if kind == "DATABASE" => Err(SqlError::missing("Database", &name.join("."))),
        false => Err(SqlError::missing("Schema", &name.join("."))),
    }
}

/// `SELECT SYSTEM$SET_...('schema', 'db.sch')`: of the standard tables in it, those that the role owns.
fn all_tables(catalog: &Catalog, session: &Session, words: &Words) -> Result<QueryResult> {
    let wrong = || {
        SqlError::syntax(format!(
            "{ALL_TABLES} wants ('account'), ('database', name) or ('schema', name)"
        ))
    };
    let kind = words.text(3).ok_or_else(wrong)?.to_uppercase();
    let name = match (words.get(4), words.text(5), words.get(6)) {
        (Some(Token::RParen), None, None) if words.len() == 5 => Vec::new(),
        (Some(Token::Comma), Some(name), Some(Token::RParen)) if words.len() == 7 => {
            Words::of(name)?.name(0).ok_or_else(wrong)?.0
        }
        _ => return Err(wrong()),
    };
    let scope = scope(catalog, session, &kind, &name)?;
    let (database, schema) = match &scope {
        Scope::Account => (None, None),
        Scope::Database(database) => (Some(database.as_str()), None),
        Scope::Schema(database, schema) => (Some(database.as_str()), Some(schema.as_str())),
    };
    let access = Access::of(catalog, session);
    let mut count = 0;
    for table in catalog.list_tables(database, schema)? {
        let parts = [table.database.clone(), table.schema.clone(), table.name.clone()];
        let found = access.find("TABLE", &parts)?;
        let owned = found.is_some_and(|found| access.require(&found, OWNERSHIP).is_ok());
        if owned && table.kind == TableKind::Standard && table.row_timestamp_ms.is_none() {
            catalog.alter_table(table.id, |table| {
                table.row_timestamp_ms = table.row_timestamp_ms.or_else(|| Some(now_ms()));
                Result::Ok(())
            })?;
            count += 1;
        }
    }
    let text = format!("ROW_TIMESTAMP is on for {count} more tables.");
    Ok(QueryResult::texts(&[ALL_TABLES], vec![vec![Some(text)]]))
}
