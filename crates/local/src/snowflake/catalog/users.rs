//! Users and their public keys.

use rusqlite::OptionalExtension as _;

use super::{Catalog, now_ms, write};
use crate::Result;

/// A registered user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// Upper-case name.
    pub name: String,
    /// `SHA256:<base64>` of each key's SubjectPublicKeyInfo, at most two (RSA_PUBLIC_KEY, RSA_PUBLIC_KEY_2).
    pub fingerprints: Vec<String>,
    /// Milliseconds since 1970.
    pub created_on_ms: i64,
}

impl Catalog {
    /// Registers a user, or replaces one of its keys. `slot` is 1 (RSA_PUBLIC_KEY) or 2 (RSA_PUBLIC_KEY_2); `public_key`
    /// is the DER SubjectPublicKeyInfo. Use [`crate::snowflake::Snowflake::register_user`] to give PEM text.
    ///
    /// # Errors
    /// [`crate::Error::Catalog`].
    pub(crate) fn put_user(&self, name: &str, slot: u8, fingerprint: &str, public_key: &[u8]) -> Result<()> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        transaction.execute(
            "INSERT INTO users (name, created_on_ms) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING",
            (name, now_ms()),
        )?;
        transaction.execute(
            "INSERT INTO user_keys (user, slot, fingerprint, public_key) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (user, slot) DO UPDATE SET fingerprint = ?3, public_key = ?4",
            (name, slot, fingerprint, public_key),
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// Registers a user without a key.
    pub(crate) fn create_user(&self, name: &str) -> Result<()> {
        self.lock().execute(
            "INSERT INTO users (name, created_on_ms) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING",
            (name, now_ms()),
        )?;
        Ok(())
    }

    /// Forgets one of a user's keys.
    pub(crate) fn remove_key(&self, name: &str, slot: u8) -> Result<()> {
        self.lock().execute(
            "DELETE FROM user_keys WHERE user = ?1 AND slot = ?2",
            (name, slot),
        )?;
        Ok(())
    }

    /// What is stored of a user's password.
    pub(crate) fn password(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached("SELECT password FROM users WHERE name = ?1")?;
        Ok(statement
            .query_row([name], |row| row.get(0))
            .optional()?
            .flatten())
    }

    /// Replaces what is stored of a user's password.
    pub(crate) fn set_password(&self, name: &str, stored: &[u8]) -> Result<()> {
        self.lock()
            .execute("UPDATE users SET password = ?2 WHERE name = ?1", (name, stored))?;
        Ok(())
    }

    /// Removes a user; false if it was not there.
    ///
    /// # Errors
    /// [`crate::Error::Catalog`].
    pub fn drop_user(&self, name: &str) -> Result<bool> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        transaction.execute(
            "DELETE FROM role_grants WHERE grantee_kind = 'USER' AND grantee = ?1",
            [name],
        )?;
        transaction.execute("DELETE FROM active_policies WHERE user = ?1", [name])?;
        let dropped = transaction.execute("DELETE FROM users WHERE name = ?1", [name])? > 0;
        transaction.commit()?;
        Ok(dropped)
    }

    /// All users by name.
    ///
    /// # Errors
    /// [`crate::Error::Catalog`].
    pub fn users(&self) -> Result<Vec<UserRow>> {
        let connection = self.lock();
        let mut statement =
            connection.prepare_cached("SELECT name, created_on_ms FROM users ORDER BY name")?;
        let names: Vec<(String, i64)> = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let mut keys =
            connection.prepare_cached("SELECT fingerprint FROM user_keys WHERE user = ?1 ORDER BY slot")?;
        let mut users = Vec::with_capacity(names.len());
        for (name, created_on_ms) in names {
            let fingerprints = keys
                .query_map([&name], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            users.push(UserRow {
                name,
                fingerprints,
                created_on_ms,
            });
        }
        Ok(users)
    }

    /// The DER SubjectPublicKeyInfo of the user's key with this fingerprint.
    pub(crate) fn user_key(&self, user: &str, fingerprint: &str) -> Result<Option<Vec<u8>>> {
        let connection = self.lock();
        let mut statement = connection
            .prepare_cached("SELECT public_key FROM user_keys WHERE user = ?1 AND fingerprint = ?2")?;
        Ok(statement
            .query_row([user, fingerprint], |row| row.get(0))
            .optional()?)
    }

    /// The fingerprint of one of a user's keys: 1 is RSA_PUBLIC_KEY, 2 RSA_PUBLIC_KEY_2.
    pub(crate) fn fingerprint(&self, user: &str, slot: u8) -> Result<Option<String>> {
        let connection = self.lock();
        let mut statement =
            connection.prepare_cached("SELECT fingerprint FROM user_keys WHERE user = ?1 AND slot = ?2")?;
        Ok(statement.query_row((user, slot), |row| row.get(0)).optional()?)
    }

    /// Whether the user is registered.
    pub(crate) fn user_exists(&self, user: &str) -> Result<bool> {
        Ok(self
            .lock()
            .prepare_cached("SELECT 1 FROM users WHERE name = ?1")?
            .exists([user])?)
    }
}
