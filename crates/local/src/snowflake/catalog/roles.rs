//! Roles, and who has them.
//!
//! Source: Snowflake documentation, "Overview of Access Control": a role is granted to users and to other roles, which then
//! have its privileges too. Every user has PUBLIC.

use rusqlite::OptionalExtension as _;

use super::grants::PUBLIC;
use super::{Catalog, now_ms, write};
use crate::Result;

/// A role, as SHOW ROLES tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoleRow {
    /// Its name.
    pub(crate) name: String,
    /// The role that owns it; none for the system's.
    pub(crate) owner: Option<String>,
    /// COMMENT.
    pub(crate) comment: Option<String>,
    /// Milliseconds since 1970.
    pub(crate) created_on_ms: i64,
}

/// A grant of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoleGrant {
    /// The role that is granted.
    pub(crate) role: String,
    /// USER or ROLE.
    pub(crate) grantee_kind: String,
    /// Who has it.
    pub(crate) grantee: String,
    /// The role that gave it.
    pub(crate) granted_by: Option<String>,
    /// Milliseconds since 1970.
    pub(crate) created_on_ms: i64,
}

/// Who gets a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grantee {
    /// A user.
    User(String),
    /// Another role.
    Role(String),
}

impl Grantee {
    fn stored(&self) -> (&'static str, &str) {
        match self {
            Self::User(name) => ("USER", name),
            Self::Role(name) => ("ROLE", name),
        }
    }
}

impl Catalog {
    /// A role by name.
    pub(crate) fn role(&self, name: &str) -> Result<Option<RoleRow>> {
        Ok(self.roles()?.into_iter().find(|role| role.name == name))
    }

    /// All roles by name.
    pub(crate) fn roles(&self) -> Result<Vec<RoleRow>> {
        let connection = self.lock();
        let mut statement = connection
            .prepare_cached("SELECT name, owner, comment, created_on_ms FROM roles ORDER BY name")?;
        let rows = statement.query_map([], |row| {
            Ok(RoleRow {
                name: row.get(0)?,
                owner: row.get(1)?,
                comment: row.get(2)?,
                created_on_ms: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// CREATE ROLE of a role that is not there.
    pub(crate) fn create_role(&self, name: &str, owner: &str, comment: Option<&str>) -> Result<()> {
        self.lock().execute(
            "INSERT INTO roles (name, owner, comment, created_on_ms) VALUES (?1, ?2, ?3, ?4)",
            (name, owner, comment, now_ms()),
        )?;
        self.changed();
        Ok(())
    }

    /// COMMENT of a role.
    pub(crate) fn comment_role(&self, name: &str, comment: Option<&str>) -> Result<()> {
        self.lock()
            .execute("UPDATE roles SET comment = ?2 WHERE name = ?1", (name, comment))?;
        Ok(())
    }

    /// DROP ROLE. What it owned is owned by `heir` from now on, who drops it.
    pub(crate) fn drop_role(&self, name: &str, heir: &str) -> Result<()> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        for table in ["databases", "schemas", "tables", "pipes", "roles"] {
            transaction.execute(
                &format!("UPDATE {table} SET owner = ?2 WHERE owner = ?1"),
                (name, heir),
            )?;
        }
        transaction.execute("DELETE FROM grants WHERE role = ?1", [name])?;
        transaction.execute(
            "DELETE FROM role_grants WHERE role = ?1 OR (grantee_kind = 'ROLE' AND grantee = ?1)",
            [name],
        )?;
        transaction.execute("DELETE FROM roles WHERE name = ?1", [name])?;
        transaction.commit()?;
        self.changed();
        Ok(())
    }

    /// GRANT ROLE; false if that would make a circle.
    pub(crate) fn grant_role(&self, role: &str, grantee: &Grantee, by: &str) -> Result<bool> {
        if let Grantee::Role(to) = grantee
            && self.holds(role, to)?
        {
            return Ok(false);
        }
        let (kind, name) = grantee.stored();
        self.lock().execute(
            "INSERT OR IGNORE INTO role_grants (role, grantee_kind, grantee, granted_by, created_on_ms)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            (role, kind, name, by, now_ms()),
        )?;
        self.changed();
        Ok(true)
    }

    /// REVOKE ROLE.
    pub(crate) fn revoke_role(&self, role: &str, grantee: &Grantee) -> Result<()> {
        let (kind, name) = grantee.stored();
        self.lock().execute(
            "DELETE FROM role_grants WHERE role = ?1 AND grantee_kind = ?2 AND grantee = ?3",
            (role, kind, name),
        )?;
        self.changed();
        Ok(())
    }

    /// Whether a role is another one or has it, at whatever distance.
    pub(crate) fn holds(&self, role: &str, other: &str) -> Result<bool> {
        Ok(self
            .lock()
            .prepare_cached(
                "WITH RECURSIVE held (role) AS (SELECT ?1 UNION SELECT g.role FROM role_grants g
                 JOIN held ON g.grantee_kind = 'ROLE' AND g.grantee = held.role) SELECT 1 FROM held WHERE role = ?2",
            )?
            .exists((role, other))?)
    }

    /// Whether a user may use a role: it, or a role that has it, was granted to the user.
    pub(crate) fn user_has_role(&self, user: &str, role: &str) -> Result<bool> {
        if role == PUBLIC {
            return Ok(true);
        }
        Ok(self
            .lock()
            .prepare_cached(
                "WITH RECURSIVE held (role) AS (
                 SELECT role FROM role_grants WHERE grantee_kind = 'USER' AND grantee = ?1
                 UNION SELECT g.role FROM role_grants g JOIN held ON g.grantee_kind = 'ROLE' AND g.grantee = held.role)
                 SELECT 1 FROM held WHERE role = ?2",
            )?
            .exists((user, role))?)
    }

    /// The role that a user's sessions begin with: the default one if the user has it, else PUBLIC.
    pub(crate) fn first_role(&self, user: &str) -> Result<String> {
        let default: Option<Option<String>> = self
            .lock()
            .prepare_cached("SELECT default_role FROM users WHERE name = ?1")?
            .query_row([user], |row| row.get(0))
            .optional()?;
        match default.flatten() {
            Some(role) if self.user_has_role(user, &role)? => Ok(role),
            _ => Ok(PUBLIC.to_owned()),
        }
    }

    /// DEFAULT_ROLE of a user.
    pub(crate) fn set_default_role(&self, user: &str, role: Option<&str>) -> Result<()> {
        self.lock()
            .execute("UPDATE users SET default_role = ?2 WHERE name = ?1", (user, role))?;
        Ok(())
    }

    /// Grants of roles: of one role, or to one grantee, or all.
    pub(crate) fn role_grants(&self, role: Option<&str>, to: Option<&Grantee>) -> Result<Vec<RoleGrant>> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT role, grantee_kind, grantee, granted_by, created_on_ms FROM role_grants
             WHERE (?1 IS NULL OR role = ?1) AND (?2 IS NULL OR (grantee_kind = ?2 AND grantee = ?3))
             ORDER BY role, grantee_kind, grantee",
        )?;
        let to = to.map(Grantee::stored);
        let rows = statement.query_map((role, to.map(|to| to.0), to.map(|to| to.1)), |row| {
            Ok(RoleGrant {
                role: row.get(0)?,
                grantee_kind: row.get(1)?,
                grantee: row.get(2)?,
                granted_by: row.get(3)?,
                created_on_ms: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
