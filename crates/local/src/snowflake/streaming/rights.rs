//! What a streaming client's role must be allowed.
//!
//! Source: Snowflake documentation, "Snowpipe Streaming high-performance architecture", required privileges: USAGE on database and
//! schema; INSERT on the table, and EVOLVE SCHEMA where its schema evolves, or OWNERSHIP; OPERATE on a pipe of one's own.
//! "Set up the Openflow Connector for Kinesis": the grants must be the role's own, inherited ones are not honoured.
//!
//! What was found is remembered until anything in the catalog changes that could alter it, so that an append does not ask
//! again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::super::auth::Login;
use super::super::catalog::Catalog;
use super::super::catalog::grants::Object;
use super::super::model::PipeRow;
use super::super::sql::{ROLE_REFUSED, role_refused};
use super::answer::Refusal;
use super::path::PipePath;

/// Answers that are remembered.
const REMEMBERED: usize = 10_000;

/// Answers by role and pipe, of one generation of the catalog.
#[derive(Debug, Default)]
pub(crate) struct Rights(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    generation: u64,
    allowed: HashMap<(String, i64), ()>,
}

impl Rights {
    /// Fails unless the role may write through the pipe.
    pub(super) fn check(&self, catalog: &Catalog, role: &str, pipe: &PipeRow) -> Result<(), Refusal> {
        let generation = catalog.generation();
        let key = (role.to_owned(), pipe.id);
        {
            let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if remembered.generation != generation || remembered.allowed.len() >= REMEMBERED {
                remembered.generation = generation;
                remembered.allowed.clear();
            }
            if remembered.allowed.contains_key(&key) {
                return Ok(());
            }
        }
        ask(catalog, role, pipe)?;
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.generation == generation {
            remembered.allowed.insert(key, ());
        }
        Ok(())
    }
}

fn ask(catalog: &Catalog, role: &str, pipe: &PipeRow) -> Result<(), Refusal> {
    let full = format!("{}.{}.{}", pipe.database, pipe.schema, pipe.name);
    if !uses(catalog, role, &pipe.database, &pipe.schema)? {
        return Err(namespace(&full));
    }
    let table = Object::Table(pipe.table_id);
    if pipe.copy.is_some() && !catalog.may(role, true, "OPERATE", &Object::Pipe(pipe.id))? {
        return Err(pipe_missing(&full));
    }
    let evolves = catalog
        .table_by_id(pipe.table_id)?
        .is_some_and(|table| table.schema_evolution && pipe.goes_by_names());
    let may = catalog.may(role, true, "INSERT", &table)?
        && (!evolves || catalog.may(role, true, "EVOLVE SCHEMA", &table)?);
    if may {
        return Ok(());
    }
    let wanted = if evolves {
        "INSERT and EVOLVE SCHEMA, or OWNERSHIP"
    } else {
        "INSERT, or OWNERSHIP"
    };
    Err(Refusal::new(
        404,
        "ERR_TABLE_DOES_NOT_EXIST_NOT_AUTHORIZED",
        format!(
            "Table {}.{}.{} does not exist or not authorized: role {role} needs {wanted}, granted to it directly.",
            pipe.database, pipe.schema, pipe.table
        ),
    ))
}

/// The role of a caller: the one that its token names, else the first one of its user.
pub(super) fn role(catalog: &Catalog, login: &Login) -> Result<String, Refusal> {
    match login.role_name() {
        None => Ok(catalog.first_role(&login.user)?),
        Some(role) if catalog.user_has_role(&login.user, &role)? => Ok(role),
        Some(role) => Err(Refusal::new(401, ROLE_REFUSED, role_refused(&role))),
    }
}

fn uses(catalog: &Catalog, role: &str, database: &str, schema: &str) -> Result<bool, Refusal> {
    let objects = [
        Object::Database(database.to_owned()),
        Object::Schema(database.to_owned(), schema.to_owned()),
    ];
    for object in objects {
        if !catalog.may(role, true, "USAGE", &object)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the role may use the database and schema of a path.
pub(super) fn uses_namespace(catalog: &Catalog, role: &str, path: &PipePath) -> Result<bool, Refusal> {
    uses(catalog, role, &path.database.lookup, &path.schema.lookup)
}

fn full(path: &PipePath) -> String {
    format!(
        "{}.{}.{}",
        path.database.lookup, path.schema.lookup, path.pipe.lookup
    )
}

pub(super) fn no_namespace(path: &PipePath) -> Refusal {
    namespace(&full(path))
}

pub(super) fn no_pipe(path: &PipePath) -> Refusal {
    pipe_missing(&full(path))
}

fn namespace(full: &str) -> Refusal {
    Refusal::new(
        404,
        "ERR_DATABASE_DOES_NOT_EXIST_OR_NOT_AUTHORIZED",
        format!("Database or schema of {full} does not exist or not authorized."),
    )
}

fn pipe_missing(full: &str) -> Refusal {
    Refusal::new(
        404,
        "ERR_PIPE_DOES_NOT_EXIST_OR_NOT_AUTHORIZED",
        format!("Pipe {full} does not exist or not authorized."),
    )
}
