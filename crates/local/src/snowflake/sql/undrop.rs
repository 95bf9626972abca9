//! UNDROP TABLE, read from the words of the statement.
//!
//! The table that was dropped last under the name comes back ([`crate::snowflake::catalog::dropped`]), with its rows, its past, its
//! definition and its grants; its pipes and channels do not. Other objects are refused: they are gone when they are dropped.
//!
//! Source: Snowflake documentation, "UNDROP TABLE"; the privileges are those of "Understanding & using Time Travel": OWNERSHIP of
//! the object, and the right to create such objects where it is restored.

use super::access::Access;
use super::words::Words;
use super::{QueryResult, Result, Session, SqlError};
use crate::snowflake::catalog::Catalog;
use crate::snowflake::catalog::dropped::Undropped;

/// Runs the statement if it is an UNDROP.
pub(super) fn run(catalog: &Catalog, session: &Session, words: &Words) -> Result<Option<QueryResult>> {
    if !words.are(0, &["UNDROP"]) {
        return Ok(None);
    }
    if !words.are(1, &["TABLE"]) {
        let kind = words.word(1).unwrap_or("what is written here");
        return Err(SqlError::unsupported(&format!("UNDROP {kind}")));
    }
    let (name, end) = words
        .name(2)
        .ok_or_else(|| SqlError::syntax("a table's name is missing"))?;
    if words.are(2, &["IDENTIFIER"]) && end < words.len() {
        return Err(SqlError::unsupported("UNDROP TABLE IDENTIFIER(...)"));
    }
    if end != words.len() {
        return Err(SqlError::syntax("unexpected words behind the table's name"));
    }
    let name = session.resolve(&name)?;
    if !catalog.schema_exists(&name.database, &name.schema)? {
        let schema = format!("{}.{}", name.database, name.schema);
        return Err(SqlError::missing("Schema", &schema));
    }
    let purged = || SqlError {
        code: "002003",
        sql_state: "02000",
        message: format!(
            "SQL compilation error: Table '{}' did not exist or was purged.",
            name.name
        ),
    };
    let dropped = catalog.dropped_tables(Some(&name.database), Some(&name.schema))?;
    let last = dropped
        .into_iter()
        .find(|dropped| dropped.table.name == name.name);
    let table = last.ok_or_else(purged)?.table;
    Access::of(catalog, session).undrop(&table)?;
    match catalog.undrop_table(&table)? {
        Undropped::Done => Ok(Some(QueryResult::status(format!(
            "Table {} successfully restored.",
            name.name
        )))),
        Undropped::Taken => Err(SqlError::exists("TABLE", &name.to_string())),
        Undropped::Gone => Err(purged()),
    }
}
