//! Who may do what: privileges of roles on objects, and ownership.
//!
//! Source: Snowflake documentation, "Overview of Access Control" and "Access control privileges". A role has the privileges
//! that were granted to it, those of the roles that were granted to it, and those of PUBLIC; who owns an object has every
//! privilege on it. An object that is dropped or replaced takes its grants along;
//! those of a table come back with UNDROP, or go to the new one by COPY GRANTS.

use rusqlite::{Connection, OptionalExtension as _};

use super::kept::Question;
use super::made::MadeKind;
use super::{Catalog, now_ms, write};
use crate::Result;

/// What every role is a member of.
pub(crate) const PUBLIC: &str = "PUBLIC";

/// The roles that `?1` has, itself first.
const HELD: &str = "WITH RECURSIVE held (role) AS (
    SELECT ?1 UNION SELECT 'PUBLIC'
    UNION SELECT g.role FROM role_grants g JOIN held ON g.grantee_kind = 'ROLE' AND g.grantee = held.role)";

/// What privileges are granted on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    /// The account.
    Account,
    /// A database by name.
    Database(String),
    /// A schema by database and name.
    Schema(String, String),
    /// A table of any kind, by id.
    Table(i64),
    /// A pipe by id.
    Pipe(i64),
    /// A sequence or a function by id.
    Made(MadeKind, i64),
    /// An object of the account of this kind, by name.
    Named(Kind, String),
}

/// Kinds of objects of the account that have a name and nothing else here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// EXTERNAL VOLUME.
    Volume,
    /// WAREHOUSE.
    Warehouse,
    /// INTEGRATION.
    Integration,
    /// USER.
    User,
    /// ROLE.
    Role,
}

impl Kind {
    /// As SQL writes it.
    pub(crate) fn sql(self) -> &'static str {
        match self {
            Self::Volume => "EXTERNAL VOLUME",
            Self::Warehouse => "WAREHOUSE",
            Self::Integration => "INTEGRATION",
            Self::User => "USER",
            Self::Role => "ROLE",
        }
    }
}

/// Behind the database in the key of a schema; no name has it.
const BETWEEN: char = '\u{1}';

impl Object {
    /// As SQL writes its kind.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Account => "ACCOUNT",
            Self::Database(_) => "DATABASE",
            Self::Schema(..) => "SCHEMA",
            Self::Table(_) => "TABLE",
            Self::Pipe(_) => "PIPE",
            Self::Made(kind, _) => kind.sql(),
            Self::Named(kind, _) => kind.sql(),
        }
    }

    /// What it is stored under.
    fn key(&self) -> String {
        match self {
            Self::Account => String::new(),
            Self::Database(name) | Self::Named(_, name) => name.clone(),
            Self::Schema(database, name) => format!("{database}{BETWEEN}{name}"),
            Self::Table(id) | Self::Pipe(id) | Self::Made(_, id) => id.to_string(),
        }
    }
}

/// Where objects that are yet to be made will get a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Future {
    /// TABLE, PIPE or SCHEMA.
    pub(crate) kind: &'static str,
    /// The schema, or the database.
    pub(crate) within: Object,
}

impl Future {
    fn stored(&self) -> String {
        format!("FUTURE {}", self.kind)
    }
}

/// What a grant is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Something that is there.
    Object(Object),
    /// What will be made.
    Future(Future),
}

impl Target {
    fn stored(&self) -> (String, String) {
        match self {
            Self::Object(object) => (object.kind().to_owned(), object.key()),
            Self::Future(future) => (future.stored(), future.within.key()),
        }
    }
}

/// A grant of a privilege, as SHOW GRANTS tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GrantRow {
    /// Milliseconds since 1970.
    pub(crate) created_on_ms: i64,
    /// The privilege.
    pub(crate) privilege: String,
    /// The kind of the object.
    pub(crate) kind: String,
    /// The object's full name.
    pub(crate) name: String,
    /// The role that has it.
    pub(crate) role: String,
    /// Whether the role may grant it further.
    pub(crate) grant_option: bool,
    /// The role that gave it; none for what was there from the start.
    pub(crate) granted_by: Option<String>,
}

/// Whose grants are told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of<'a> {
    /// Those on an object.
    Object(&'a Object),
    /// Those that a role has itself.
    Role(&'a str),
}

impl Catalog {
    /// Whether a role has a privilege on an object or owns it. `direct`: grants that it inherits do not count.
    pub(crate) fn may(&self, role: &str, direct: bool, privilege: &str, object: &Object) -> Result<bool> {
        self.has(role, direct, Some(privilege), object)
    }

    /// Whether a role owns the object or has any privilege on it.
    pub(crate) fn sees(&self, role: &str, object: &Object) -> Result<bool> {
        self.has(role, false, None, object)
    }

    fn has(&self, role: &str, direct: bool, privilege: Option<&str>, object: &Object) -> Result<bool> {
        let question = Question {
            role: role.to_owned(),
            direct,
            privilege: privilege.map(ToOwned::to_owned),
            object: object.clone(),
        };
        self.rights.of(&self.lock(), question, ask)
    }

    /// Whether a role may give this privilege away: it owns the object, has the privilege with grant option, or has MANAGE
    /// GRANTS.
    pub(crate) fn may_grant(&self, role: &str, privilege: &str, target: &Target) -> Result<bool> {
        if self.may(role, false, "MANAGE GRANTS", &Object::Account)? {
            return Ok(true);
        }
        let connection = self.lock();
        let (kind, key) = target.stored();
        let owner = match target {
            Target::Object(object) => owner(&connection, object)?,
            Target::Future(future) => owner(&connection, &future.within)?,
        };
        Ok(connection
            .prepare_cached(&format!(
                "{HELD} SELECT 1 FROM held WHERE role = ?5 OR EXISTS (SELECT 1 FROM grants g WHERE g.kind = ?2
                 AND g.object = ?3 AND g.role = held.role AND g.privilege = ?4 AND g.grant_option = 1)"
            ))?
            .exists((role, kind, key, privilege, owner))?)
    }

    /// GRANT of privileges to a role.
    pub(crate) fn grant(
        &self,
        privileges: &[String],
        target: &Target,
        role: &str,
        grant_option: bool,
        by: &str,
    ) -> Result<()> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        let (kind, key) = target.stored();
        for privilege in privileges {
            transaction.execute(
                "INSERT INTO grants (kind, object, role, privilege, grant_option, granted_by, created_on_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (kind, object, role, privilege)
                 DO UPDATE SET grant_option = grant_option OR excluded.grant_option",
                (&kind, &key, role, privilege, grant_option, by, now_ms()),
            )?;
        }
        transaction.commit()?;
        self.changed();
        Ok(())
    }

    /// REVOKE of privileges, or of the option to grant them further.
    pub(crate) fn revoke(
        &self,
        privileges: &[String],
        target: &Target,
        role: &str,
        only_option: bool,
    ) -> Result<()> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        let (kind, key) = target.stored();
        let statement = if only_option {
            "UPDATE grants SET grant_option = 0 WHERE kind = ?1 AND object = ?2 AND role = ?3 AND privilege = ?4"
        } else {
            "DELETE FROM grants WHERE kind = ?1 AND object = ?2 AND role = ?3 AND privilege = ?4"
        };
        for privilege in privileges {
            transaction.execute(statement, (&kind, &key, role, privilege))?;
        }
        transaction.commit()?;
        self.changed();
        Ok(())
    }

    /// Roles that have grants on the object beside its owner.
    pub(crate) fn grantees(&self, object: &Object) -> Result<Vec<(String, String)>> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT privilege, role FROM grants WHERE kind = ?1 AND object = ?2 ORDER BY privilege, role",
        )?;
        let rows = statement.query_map((object.kind(), object.key()), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// GRANT OWNERSHIP. `revoke` takes the grants on the object away.
    pub(crate) fn set_owner(&self, object: &Object, role: &str, revoke: bool) -> Result<()> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        match object {
            Object::Database(name) => {
                transaction.execute("UPDATE databases SET owner = ?2 WHERE name = ?1", (name, role))?
            }
            Object::Schema(database, name) => transaction.execute(
                "UPDATE schemas SET owner = ?3 WHERE database = ?1 AND name = ?2",
                (database, name, role),
            )?,
            Object::Table(id) => {
                transaction.execute("UPDATE tables SET owner = ?2 WHERE id = ?1", (id, role))?
            }
            Object::Pipe(id) => {
                transaction.execute("UPDATE pipes SET owner = ?2 WHERE id = ?1", (id, role))?
            }
            Object::Made(_, id) => {
                transaction.execute("UPDATE made_objects SET owner = ?2 WHERE id = ?1", (id, role))?
            }
            Object::Named(Kind::Role, name) => {
                transaction.execute("UPDATE roles SET owner = ?2 WHERE name = ?1", (name, role))?
            }
            Object::Account | Object::Named(..) => 0,
        };
        if revoke {
            forget(&transaction, object)?;
        }
        transaction.commit()?;
        self.changed();
        Ok(())
    }

    /// The role that owns the object; none for what the service manages.
    pub(crate) fn owner(&self, object: &Object) -> Result<Option<String>> {
        owner(&self.lock(), object)
    }

    /// Grants on an object or to a role, OWNERSHIP of databases, schemas, tables and pipes among them.
    pub(crate) fn grants(&self, of: Of<'_>) -> Result<Vec<GrantRow>> {
        let connection = self.lock();
        // An object of the account has neither database nor schema.
        let name_of_made =
            "CASE database WHEN '' THEN name ELSE database || '.' || schema || '.' || name END";
        let made = format!("(SELECT {name_of_made} FROM made_objects WHERE id = CAST(g.object AS INTEGER))");
        let mut statement = connection.prepare_cached(&format!(
            "SELECT created_on_ms, privilege, kind, name, role, grant_option, granted_by FROM (
                SELECT g.created_on_ms, g.privilege, g.kind, g.object, g.role, g.grant_option, g.granted_by,
                    CASE g.kind WHEN 'TABLE' THEN (SELECT database || '.' || schema || '.' || name FROM tables
                                                   WHERE id = CAST(g.object AS INTEGER))
                                WHEN 'PIPE' THEN (SELECT database || '.' || schema || '.' || name FROM pipes
                                                  WHERE id = CAST(g.object AS INTEGER))
                                WHEN 'SEQUENCE' THEN {made} WHEN 'FUNCTION' THEN {made}
                                WHEN 'NETWORK RULE' THEN {made} WHEN 'NETWORK POLICY' THEN {made}
                                ELSE replace(g.object, char(1), '.') END AS name
                FROM grants g
                WHERE g.kind <> 'TABLE' OR g.object IN (SELECT CAST(id AS TEXT) FROM tables WHERE dropped_on_ms IS NULL)
                UNION ALL SELECT created_on_ms, 'OWNERSHIP', 'DATABASE', name, owner, 1, owner, name FROM databases
                UNION ALL SELECT created_on_ms, 'OWNERSHIP', 'SCHEMA', database || char(1) || name, owner, 1, owner,
                    database || '.' || name FROM schemas
                UNION ALL SELECT created_on_ms, 'OWNERSHIP', 'TABLE', CAST(id AS TEXT), owner, 1, owner,
                    database || '.' || schema || '.' || name FROM tables WHERE dropped_on_ms IS NULL
                UNION ALL SELECT created_on_ms, 'OWNERSHIP', 'PIPE', CAST(id AS TEXT), owner, 1, owner,
                    database || '.' || schema || '.' || name FROM pipes WHERE owner IS NOT NULL
                UNION ALL SELECT created_on_ms, 'OWNERSHIP', kind, CAST(id AS TEXT), owner, 1, owner,
                    {name_of_made} FROM made_objects)
             WHERE (?1 IS NULL OR (kind = ?1 AND object = ?2)) AND (?3 IS NULL OR role = ?3)
             ORDER BY kind, name, privilege, role"
        ))?;
        let (kind, key, role) = match of {
            Of::Object(object) => (Some(object.kind()), Some(object.key()), None),
            Of::Role(role) => (None, None, Some(role)),
        };
        let rows = statement.query_map((kind, key, role), |row| {
            Ok(GrantRow {
                created_on_ms: row.get(0)?,
                privilege: row.get(1)?,
                kind: row.get(2)?,
                name: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
                role: row.get(4)?,
                grant_option: row.get(5)?,
                granted_by: row.get(6)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

fn ask(connection: &Connection, question: &Question) -> Result<bool> {
    let object = &question.object;
    let owner = owner(connection, object)?;
    let held = if question.direct {
        "WITH held (role) AS (SELECT ?1)"
    } else {
        HELD
    };
    Ok(connection
        .prepare_cached(&format!(
            "{held} SELECT 1 FROM held WHERE role = ?5 OR EXISTS (SELECT 1 FROM grants g
             WHERE g.kind = ?2 AND g.object = ?3 AND g.role = held.role AND (?4 IS NULL OR g.privilege = ?4))"
        ))?
        .exists((
            &question.role,
            object.kind(),
            object.key(),
            &question.privilege,
            owner,
        ))?)
}

/// The owner of an object.
fn owner(connection: &Connection, object: &Object) -> Result<Option<String>> {
    let mut found = match object {
        Object::Account => return Ok(None),
        Object::Database(name) => connection
            .prepare_cached("SELECT owner FROM databases WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()?,
        Object::Schema(database, name) => connection
            .prepare_cached("SELECT owner FROM schemas WHERE database = ?1 AND name = ?2")?
            .query_row([database, name], |row| row.get(0))
            .optional()?,
        Object::Table(id) => connection
            .prepare_cached("SELECT owner FROM tables WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?,
        Object::Pipe(id) => connection
            .prepare_cached("SELECT owner FROM pipes WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?,
        Object::Made(_, id) => connection
            .prepare_cached("SELECT owner FROM made_objects WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?,
        Object::Named(Kind::Role, name) => connection
            .prepare_cached("SELECT owner FROM roles WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()?,
        Object::Named(Kind::User, _) => Some(Some("USERADMIN".to_owned())),
        Object::Named(..) => Some(Some(super::super::model::ACCOUNTADMIN.to_owned())),
    };
    Ok(found.take().flatten())
}

/// Takes away what is granted on an object.
pub(super) fn forget(connection: &Connection, object: &Object) -> Result<()> {
    let (kind, key) = (object.kind(), object.key());
    connection.execute("DELETE FROM grants WHERE kind = ?1 AND object = ?2", (kind, &key))?;
    if matches!(object, Object::Database(_) | Object::Schema(..)) {
        connection.execute(
            "DELETE FROM grants WHERE kind LIKE 'FUTURE %' AND object = ?1",
            [key],
        )?;
    }
    Ok(())
}

/// A privilege on an object that a role has, and whether it may grant it further.
pub(super) struct Held {
    role: String,
    privilege: String,
    grant_option: bool,
}

/// What is granted on an object; its OWNERSHIP is no part of that.
pub(super) fn held_on(connection: &Connection, object: &Object) -> Result<Vec<Held>> {
    let mut statement = connection
        .prepare_cached("SELECT role, privilege, grant_option FROM grants WHERE kind = ?1 AND object = ?2")?;
    let rows = statement.query_map((object.kind(), object.key()), |row| {
        Ok(Held {
            role: row.get(0)?,
            privilege: row.get(1)?,
            grant_option: row.get(2)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Gives a new object these, as COPY GRANTS does: by the role that made it, now.
pub(super) fn give(connection: &Connection, object: &Object, held: &[Held], by: Option<&str>) -> Result<()> {
    for one in held {
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO grants (kind, object, role, privilege, grant_option, granted_by, created_on_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute((
                object.kind(),
                object.key(),
                &one.role,
                &one.privilege,
                one.grant_option,
                by,
                now_ms(),
            ))?;
    }
    Ok(())
}

/// Gives a new object what was granted on future ones; grants on those of its schema come before those of its database.
pub(super) fn give_future(
    connection: &Connection,
    object: &Object,
    database: &str,
    schema: Option<&str>,
) -> Result<()> {
    let (kind, key) = (object.kind(), object.key());
    let mut within = vec![Object::Database(database.to_owned())];
    if let Some(schema) = schema {
        within.insert(0, Object::Schema(database.to_owned(), schema.to_owned()));
    }
    for within in within {
        let future = Future { kind, within };
        let given = connection.execute(
            "INSERT OR IGNORE INTO grants (kind, object, role, privilege, grant_option, granted_by, created_on_ms)
             SELECT ?1, ?2, role, privilege, grant_option, granted_by, ?5 FROM grants WHERE kind = ?3 AND object = ?4",
            (kind, &key, future.stored(), future.within.key(), now_ms()),
        )?;
        if given > 0 {
            break;
        }
    }
    Ok(())
}
