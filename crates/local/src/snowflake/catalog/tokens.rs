//! Programmatic access tokens, security integrations, and the refresh tokens that their clients hold.
//!
//! Of a token only its SHA-256 is stored: it is random, so that says nothing of it. Client secrets are stored as they are, since
//! `SYSTEM$SHOW_OAUTH_CLIENT_SECRETS` tells them again.

use rusqlite::{OptionalExtension as _, Row};

use super::{Catalog, write};
use crate::Result;

/// Run at each open, behind the tables of users.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS access_tokens (
    user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    role_restriction TEXT,
    days INTEGER NOT NULL,
    expires_on_ms INTEGER NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0,
    comment TEXT,
    created_on_ms INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    rotated_to TEXT,
    PRIMARY KEY (user, name)) STRICT;
CREATE TABLE IF NOT EXISTS integrations (
    name TEXT PRIMARY KEY,
    external INTEGER NOT NULL,
    enabled INTEGER NOT NULL,
    issuer TEXT,
    client_id TEXT NOT NULL UNIQUE,
    client_secret TEXT NOT NULL,
    refresh_validity_s INTEGER NOT NULL,
    single_use INTEGER NOT NULL,
    comment TEXT,
    created_on_ms INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS refresh_tokens (
    digest BLOB PRIMARY KEY,
    integration TEXT NOT NULL REFERENCES integrations (name) ON DELETE CASCADE,
    user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    role TEXT,
    expires_on_ms INTEGER NOT NULL) STRICT;
";

/// A programmatic access token of a user, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccessToken {
    pub(crate) user: String,
    pub(crate) name: String,
    pub(crate) role_restriction: Option<String>,
    /// How long it was made for; a rotation gives as much again.
    pub(crate) days: i64,
    pub(crate) expires_on_ms: i64,
    pub(crate) is_disabled: bool,
    pub(crate) comment: Option<String>,
    pub(crate) created_on_ms: i64,
    pub(crate) created_by: String,
    pub(crate) rotated_to: Option<String>,
}

/// A security integration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Integration {
    pub(crate) name: String,
    /// `EXTERNAL_OAUTH`, else `OAUTH`.
    pub(crate) is_external: bool,
    pub(crate) is_enabled: bool,
    /// Whose tokens an external one takes.
    pub(crate) issuer: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) refresh_validity_s: i64,
    /// A refresh token is used up by its use, and followed by another.
    pub(crate) is_single_use: bool,
    pub(crate) comment: Option<String>,
    pub(crate) created_on_ms: i64,
}

/// What a refresh token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refresh {
    pub(crate) integration: String,
    pub(crate) user: String,
    pub(crate) role: Option<String>,
    pub(crate) expires_on_ms: i64,
}

const TOKEN: &str = "SELECT user, name, role_restriction, days, expires_on_ms, disabled, comment, created_on_ms, created_by, \
                     rotated_to FROM access_tokens";
const INTEGRATION: &str = "SELECT name, external, enabled, issuer, client_id, client_secret, refresh_validity_s, single_use, \
                           comment, created_on_ms FROM integrations";

/// What is stored of a secret text.
pub(crate) fn digest(secret: &str) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.as_bytes())
        .as_ref()
        .to_vec()
}

fn token(row: &Row<'_>) -> rusqlite::Result<AccessToken> {
    Ok(AccessToken {
        user: row.get(0)?,
        name: row.get(1)?,
        role_restriction: row.get(2)?,
        days: row.get(3)?,
        expires_on_ms: row.get(4)?,
        is_disabled: row.get(5)?,
        comment: row.get(6)?,
        created_on_ms: row.get(7)?,
        created_by: row.get(8)?,
        rotated_to: row.get(9)?,
    })
}

fn integration(row: &Row<'_>) -> rusqlite::Result<Integration> {
    Ok(Integration {
        name: row.get(0)?,
        is_external: row.get(1)?,
        is_enabled: row.get(2)?,
        issuer: row.get(3)?,
        client_id: row.get(4)?,
        client_secret: row.get(5)?,
        refresh_validity_s: row.get(6)?,
        is_single_use: row.get(7)?,
        comment: row.get(8)?,
        created_on_ms: row.get(9)?,
    })
}

impl Catalog {
    /// Adds tokens, by what is stored of their secrets; with a rotation, the old one under its new name first.
    pub(crate) fn add_token(
        &self,
        new: &AccessToken,
        digest: &[u8],
        rotated: Option<(&str, i64)>,
    ) -> Result<()> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        if let Some((old_name, expires_on_ms)) = rotated {
            transaction.execute(
                "UPDATE access_tokens SET name = ?3, rotated_to = ?2, expires_on_ms = MIN(expires_on_ms, ?4)
                 WHERE user = ?1 AND name = ?2",
                (&new.user, &new.name, old_name, expires_on_ms),
            )?;
        }
        transaction.execute(
            "INSERT INTO access_tokens (user, name, digest, role_restriction, days, expires_on_ms, disabled, comment,
             created_on_ms, created_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            (
                &new.user,
                &new.name,
                digest,
                &new.role_restriction,
                new.days,
                new.expires_on_ms,
                new.is_disabled,
                &new.comment,
                new.created_on_ms,
                &new.created_by,
            ),
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// Forgets a token; false if it was not there.
    pub(crate) fn remove_token(&self, user: &str, name: &str) -> Result<bool> {
        let sql = "DELETE FROM access_tokens WHERE user = ?1 AND name = ?2";
        Ok(self.lock().execute(sql, (user, name))? > 0)
    }

    /// Lets a token rest, or not.
    pub(crate) fn disable_token(&self, user: &str, name: &str, is_disabled: bool) -> Result<()> {
        let sql = "UPDATE access_tokens SET disabled = ?3 WHERE user = ?1 AND name = ?2";
        self.lock().execute(sql, (user, name, is_disabled))?;
        Ok(())
    }

    /// A user's tokens by name.
    pub(crate) fn tokens(&self, user: &str) -> Result<Vec<AccessToken>> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(&format!("{TOKEN} WHERE user = ?1 ORDER BY name"))?;
        let rows = statement.query_map([user], token)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The token of this secret.
    pub(crate) fn token_of(&self, secret: &str) -> Result<Option<AccessToken>> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(&format!("{TOKEN} WHERE digest = ?1"))?;
        Ok(statement.query_row([digest(secret)], token).optional()?)
    }

    /// Makes a security integration, or replaces one of its name.
    pub(crate) fn put_integration(&self, new: &Integration) -> Result<()> {
        self.lock().execute(
            "INSERT OR REPLACE INTO integrations (name, external, enabled, issuer, client_id, client_secret,
             refresh_validity_s, single_use, comment, created_on_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            (
                &new.name,
                new.is_external,
                new.is_enabled,
                &new.issuer,
                &new.client_id,
                &new.client_secret,
                new.refresh_validity_s,
                new.is_single_use,
                &new.comment,
                new.created_on_ms,
            ),
        )?;
        Ok(())
    }

    /// Switches a security integration on or off.
    pub(crate) fn enable_integration(&self, name: &str, is_enabled: bool) -> Result<()> {
        let sql = "UPDATE integrations SET enabled = ?2 WHERE name = ?1";
        self.lock().execute(sql, (name, is_enabled))?;
        Ok(())
    }

    /// Forgets a security integration and what its clients hold; false if it was not there.
    pub(crate) fn drop_integration(&self, name: &str) -> Result<bool> {
        Ok(self
            .lock()
            .execute("DELETE FROM integrations WHERE name = ?1", [name])?
            > 0)
    }

    /// All security integrations by name.
    pub(crate) fn integrations(&self) -> Result<Vec<Integration>> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(&format!("{INTEGRATION} ORDER BY name"))?;
        let rows = statement.query_map([], integration)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The security integration of this name.
    pub(crate) fn integration(&self, name: &str) -> Result<Option<Integration>> {
        Ok(self.integrations()?.into_iter().find(|found| found.name == name))
    }

    /// Keeps a refresh token, in place of another one.
    pub(crate) fn put_refresh(&self, token: &str, stands_for: &Refresh, used_up: Option<&str>) -> Result<()> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        if let Some(used_up) = used_up {
            transaction.execute("DELETE FROM refresh_tokens WHERE digest = ?1", [digest(used_up)])?;
        }
        transaction.execute(
            "INSERT INTO refresh_tokens (digest, integration, user, role, expires_on_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
            (
                digest(token),
                &stands_for.integration,
                &stands_for.user,
                &stands_for.role,
                stands_for.expires_on_ms,
            ),
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// What a refresh token stands for.
    pub(crate) fn refresh(&self, token: &str) -> Result<Option<Refresh>> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT integration, user, role, expires_on_ms FROM refresh_tokens WHERE digest = ?1",
        )?;
        let refresh = |row: &Row<'_>| {
            Ok(Refresh {
                integration: row.get(0)?,
                user: row.get(1)?,
                role: row.get(2)?,
                expires_on_ms: row.get(3)?,
            })
        };
        Ok(statement.query_row([digest(token)], refresh).optional()?)
    }
}
