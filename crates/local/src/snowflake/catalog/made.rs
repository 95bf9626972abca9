//! Objects that are a name and a definition: sequences, functions and network rules of a schema; network policies and external
//! access integrations of the account, whose database and schema are empty.
//!
//! They live in one table. What a definition says is its kind's business ([`crate::snowflake::sql`]); here it is text. Two functions
//! may have one name with other arguments (`signature`).
//!
//! Guarantees: numbers of a sequence that were taken are never given again, also over a crash: what was taken is on disk before the
//! call returns. Numbers that were taken and not used are gaps.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction};

use super::super::model::{CreateMode, Created};
use super::grants::{self, Object};
use super::{Catalog, existing, now_ms, objects, write};
use crate::{Error, Result};

/// Run at each open. A sequence's next number stands beside its definition.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS made_objects (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    database TEXT NOT NULL,
    schema TEXT NOT NULL,
    name TEXT NOT NULL,
    signature TEXT NOT NULL,
    definition TEXT NOT NULL,
    comment TEXT,
    owner TEXT NOT NULL,
    created_on_ms INTEGER NOT NULL,
    next INTEGER,
    UNIQUE (kind, database, schema, name, signature)) STRICT;
";

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MadeKind {
    /// SEQUENCE.
    Sequence,
    /// FUNCTION.
    Function,
    /// NETWORK RULE.
    NetworkRule,
    /// NETWORK POLICY.
    NetworkPolicy,
    /// EXTERNAL ACCESS INTEGRATION.
    ExternalAccess,
}

impl MadeKind {
    /// As SQL writes it.
    pub(crate) fn sql(self) -> &'static str {
        match self {
            Self::Sequence => "SEQUENCE",
            Self::Function => "FUNCTION",
            Self::NetworkRule => "NETWORK RULE",
            Self::NetworkPolicy => "NETWORK POLICY",
            Self::ExternalAccess => "EXTERNAL ACCESS INTEGRATION",
        }
    }

    /// From how SQL writes it.
    pub(crate) fn of(sql: &str) -> Option<Self> {
        let all = [
            Self::Sequence,
            Self::Function,
            Self::NetworkRule,
            Self::NetworkPolicy,
            Self::ExternalAccess,
        ];
        all.into_iter().find(|kind| kind.sql() == sql)
    }
}

/// Where an object is, and which of its overloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) kind: MadeKind,
    pub(crate) database: String,
    pub(crate) schema: String,
    pub(crate) name: String,
    /// The types of a function's arguments with commas; empty for all else.
    pub(crate) signature: String,
}

/// An object that is yet to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewMade {
    pub(crate) place: Place,
    pub(crate) definition: String,
    pub(crate) comment: Option<String>,
    pub(crate) owner: String,
    /// The first number of a sequence.
    pub(crate) next: Option<i64>,
}

/// One that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    /// Never reused.
    pub(crate) id: i64,
    pub(crate) place: Place,
    pub(crate) definition: String,
    pub(crate) comment: Option<String>,
    pub(crate) owner: String,
    /// Milliseconds since 1970.
    pub(crate) created_on_ms: i64,
    /// The next number of a sequence; none when they are used up.
    pub(crate) next: Option<i64>,
}

impl Place {
    /// Of an object that has no overloads.
    pub(crate) fn in_schema(kind: MadeKind, database: &str, schema: &str, name: &str) -> Self {
        Self {
            kind,
            database: database.to_owned(),
            schema: schema.to_owned(),
            name: name.to_owned(),
            signature: String::new(),
        }
    }

    /// Of an object of the account.
    pub(crate) fn in_account(kind: MadeKind, name: &str) -> Self {
        Self::in_schema(kind, "", "", name)
    }

    fn is_in_account(&self) -> bool {
        self.database.is_empty()
    }
}

impl Made {
    /// What privileges on it are granted on.
    pub(crate) fn object(&self) -> Object {
        Object::Made(self.place.kind, self.id)
    }
}

const COLUMNS: &str =
    "id, kind, database, schema, name, signature, definition, comment, owner, created_on_ms, next";

impl Catalog {
    /// CREATE of one. A replaced one gets a new id, so its grants are gone.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`] if the schema is missing, [`Error::ObjectExists`] in mode `New`.
    pub(crate) fn make(&self, new: &NewMade, mode: CreateMode) -> Result<Created> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        let Place {
            kind,
            database,
            schema,
            name,
            signature,
        } = &new.place;
        if !new.place.is_in_account() && !objects::schema_exists(&transaction, database, schema)? {
            return Err(Error::NoSuchObject {
                kind: "Schema",
                name: format!("{database}.{schema}"),
            });
        }
        let old = at(&transaction, &new.place)?;
        if let Some(old) = &old {
            if !existing(mode, kind.sql(), || name.clone())? {
                return Ok(Created::Existed);
            }
            remove(&transaction, old)?;
        }
        transaction.execute(
            "INSERT INTO made_objects (kind, database, schema, name, signature, definition, comment, owner, created_on_ms, next)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            (
                kind.sql(),
                database,
                schema,
                name,
                signature,
                &new.definition,
                &new.comment,
                &new.owner,
                now_ms(),
                new.next,
            ),
        )?;
        let object = Object::Made(*kind, transaction.last_insert_rowid());
        if !new.place.is_in_account() {
            grants::give_future(&transaction, &object, database, Some(schema))?;
        }
        transaction.commit()?;
        self.changed();
        Ok(if old.is_some() {
            Created::Replaced
        } else {
            Created::Made
        })
    }

    /// The one at a place.
    pub(crate) fn made(&self, place: &Place) -> Result<Option<Made>> {
        at(&self.lock(), place)
    }

    /// The one with an id.
    pub(crate) fn made_by_id(&self, id: i64) -> Result<Option<Made>> {
        let connection = self.lock();
        let mut statement =
            connection.prepare_cached(&format!("SELECT {COLUMNS} FROM made_objects WHERE id = ?1"))?;
        statement
            .query_row([id], |row| Ok(read(row)))
            .optional()?
            .transpose()
    }

    /// Those of a kind, of one or all databases and schemas, of one or all names.
    pub(crate) fn all_made(
        &self,
        kind: MadeKind,
        database: Option<&str>,
        schema: Option<&str>,
        name: Option<&str>,
    ) -> Result<Vec<Made>> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM made_objects WHERE kind = ?1 AND (?2 IS NULL OR database = ?2)
             AND (?3 IS NULL OR schema = ?3) AND (?4 IS NULL OR name = ?4) ORDER BY database, schema, name, signature"
        ))?;
        let mut rows = statement.query((kind.sql(), database, schema, name))?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(read(row)?);
        }
        Ok(all)
    }

    /// ALTER: gives it another definition and comment, which `change` sees as they are now.
    ///
    /// # Errors
    /// [`Error::NoSuchObject`] if it was dropped meanwhile; what `change` refuses with.
    pub(crate) fn alter_made<E: From<Error>>(
        &self,
        id: i64,
        change: impl FnOnce(&mut Made) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        let found = transaction
            .query_row(
                &format!("SELECT {COLUMNS} FROM made_objects WHERE id = ?1"),
                [id],
                |row| Ok(read(row)),
            )
            .optional()
            .map_err(Error::from)?
            .transpose()?;
        let mut made = found.ok_or_else(|| Error::NoSuchObject {
            kind: "Object",
            name: id.to_string(),
        })?;
        change(&mut made)?;
        transaction
            .execute(
                "UPDATE made_objects SET definition = ?2, comment = ?3, name = ?4 WHERE id = ?1",
                (id, &made.definition, &made.comment, &made.place.name),
            )
            .map_err(Error::from)?;
        transaction.commit().map_err(Error::from)?;
        self.changed();
        Ok(())
    }

    /// DROP of one, with what is granted on it.
    pub(crate) fn drop_made(&self, made: &Made) -> Result<()> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        remove(&transaction, made)?;
        transaction.commit()?;
        self.changed();
        Ok(())
    }

    /// Takes so many numbers, `step` apart, of a sequence: the first of them. `None` if it is gone or has not that many left.
    pub(crate) fn take_numbers(&self, id: i64, count: usize, step: i64) -> Result<Option<i64>> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        let next: Option<Option<i64>> = transaction
            .prepare_cached("SELECT next FROM made_objects WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?;
        let Some(first) = next.flatten() else {
            return Ok(None);
        };
        let steps = i64::try_from(count).unwrap_or(i64::MAX);
        let last = steps
            .checked_sub(1)
            .and_then(|steps| steps.checked_mul(step))
            .and_then(|way| first.checked_add(way));
        let Some(last) = last else {
            return Ok(None);
        };
        transaction
            .prepare_cached("UPDATE made_objects SET next = ?2 WHERE id = ?1")?
            .execute((id, last.checked_add(step)))?;
        transaction.commit()?;
        Ok(Some(first))
    }
}

fn at(connection: &Connection, place: &Place) -> Result<Option<Made>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM made_objects WHERE kind = ?1 AND database = ?2 AND schema = ?3 AND name = ?4 AND signature = ?5"
    ))?;
    let Place {
        kind,
        database,
        schema,
        name,
        signature,
    } = place;
    statement
        .query_row((kind.sql(), database, schema, name, signature), |row| {
            Ok(read(row))
        })
        .optional()?
        .transpose()
}

fn remove(transaction: &Transaction<'_>, made: &Made) -> Result<()> {
    grants::forget(transaction, &made.object())?;
    transaction.execute("DELETE FROM made_objects WHERE id = ?1", [made.id])?;
    Ok(())
}

/// Drops all that a schema holds.
pub(super) fn remove_of_schema(transaction: &Transaction<'_>, database: &str, schema: &str) -> Result<()> {
    transaction.execute(
        "DELETE FROM grants WHERE EXISTS (SELECT 1 FROM made_objects made WHERE made.kind = grants.kind
         AND CAST(made.id AS TEXT) = grants.object AND made.database = ?1 AND made.schema = ?2)",
        [database, schema],
    )?;
    transaction.execute(
        "DELETE FROM made_objects WHERE database = ?1 AND schema = ?2",
        [database, schema],
    )?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<Made> {
    let kind: String = row.get(1)?;
    Ok(Made {
        id: row.get(0)?,
        place: Place {
            kind: MadeKind::of(&kind).ok_or_else(|| Error::Damaged(format!("kind of an object: {kind}")))?,
            database: row.get(2)?,
            schema: row.get(3)?,
            name: row.get(4)?,
            signature: row.get(5)?,
        },
        definition: row.get(6)?,
        comment: row.get(7)?,
        owner: row.get(8)?,
        created_on_ms: row.get(9)?,
        next: row.get(10)?,
    })
}
