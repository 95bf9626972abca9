//! The gate before each statement: may the session's role do this?
//!
//! How it works: what a statement does to which object is read from its words (definitions, DESCRIBE, TRUNCATE) or asked for
//! where a name is resolved (queries, INSERT, CREATE PIPE); the answer of a SHOW loses the rows that the role cannot see.
//!
//! Source: Snowflake documentation, "Access control privileges": an operation wants its privilege on the object and at least
//! one privilege on its database and on its schema; ownership has every privilege; what a role has no privilege on at all
//! does not exist for it. Secondary roles do not count here, so a role that works here works there.

use super::words::{Words, error_table_of};
use super::{Name, QueryResult, Result, Session, SqlError, tokens, travel};
use crate::snowflake::catalog::Catalog;
use crate::snowflake::catalog::grants::{Kind, Object};
use crate::snowflake::catalog::made::{Made, MadeKind, Place};
use crate::snowflake::model::TableDef;

/// The privilege that only the owner has.
pub(super) const OWNERSHIP: &str = "OWNERSHIP";

/// What may stand between CREATE and the kind of object.
pub(super) const MODIFIERS: [&str; 7] = [
    "LOCAL",
    "GLOBAL",
    "TEMPORARY",
    "TEMP",
    "VOLATILE",
    "TRANSIENT",
    "SECURE",
];

/// The catalog as a session's role sees it.
#[derive(Clone, Copy)]
pub(super) struct Access<'a> {
    catalog: &'a Catalog,
    session: &'a Session,
}

/// An object that is there, with its name for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) object: Object,
    pub(super) name: String,
    /// Database and schema it lies in.
    within: Vec<Object>,
}

/// `Database` from `DATABASE`.
fn title(kind: &str) -> String {
    let mut letters = kind.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first
        .into_iter()
        .chain(letters.map(|letter| letter.to_ascii_lowercase()))
        .collect()
}

pub(super) fn insufficient(kind: &str, name: &str) -> SqlError {
    let kind = kind.to_lowercase();
    SqlError {
        code: "003001",
        sql_state: "42501",
        message: format!("SQL access control error: Insufficient privileges to operate on {kind} '{name}'"),
    }
}

impl<'a> Access<'a> {
    pub(super) fn of(catalog: &'a Catalog, session: &'a Session) -> Self {
        Self { catalog, session }
    }

    fn role(&self) -> &str {
        self.session.role()
    }

    /// Fails unless the role has the privilege on an object, which it must be able to see.
    pub(super) fn require(&self, found: &Found, privilege: &str) -> Result<()> {
        if !self.sees(found)? {
            return Err(SqlError::missing(&title(found.object.kind()), &found.name));
        }
        self.require_seen(found, privilege)
    }

    fn require_seen(&self, found: &Found, privilege: &str) -> Result<()> {
        if self.catalog.may(self.role(), false, privilege, &found.object)? {
            return Ok(());
        }
        Err(insufficient(found.object.kind(), &found.name))
    }

    /// Whether the role has any privilege on the object and on what it lies in.
    pub(super) fn sees(&self, found: &Found) -> Result<bool> {
        if self
            .catalog
            .may(self.role(), false, "MANAGE GRANTS", &Object::Account)?
            && !matches!(
                found.object,
                Object::Table(_) | Object::Pipe(_) | Object::Made(..)
            )
        {
            return Ok(true);
        }
        for object in found.within.iter().chain([&found.object]) {
            if !self.catalog.sees(self.role(), object)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Fails unless the role may read the table, or its error table.
    pub(super) fn read(&self, name: &Name) -> Result<()> {
        let name_now = travel::moment_of(&name.name).map_or(name.name.as_str(), |(table, _)| table);
        let (table, privilege) = match error_table_of(name_now) {
            Some(table) => (table, "SELECT ERROR TABLE"),
            None => (name_now, "SELECT"),
        };
        let found = self.table(&name.database, &name.schema, table)?;
        match found {
            Some(found) if self.sees(&found)? => self.require_seen(&found, privilege),
            Some(found) => Err(SqlError::missing("Object", &found.name)),
            None => Ok(()),
        }
    }

    /// Fails unless the role has these privileges on the table, if it is there.
    pub(super) fn table_for(&self, name: &Name, privileges: &[&str]) -> Result<()> {
        let Some(found) = self.table(&name.database, &name.schema, &name.name)? else {
            return Ok(());
        };
        privileges
            .iter()
            .try_for_each(|privilege| self.require(&found, privilege))
    }

    pub(super) fn account(&self, privilege: &str) -> Result<()> {
        if self
            .catalog
            .may(self.role(), false, privilege, &Object::Account)?
        {
            return Ok(());
        }
        Err(insufficient("account", &self.session.role_name()))
    }

    fn table(&self, database: &str, schema: &str, name: &str) -> Result<Option<Found>> {
        let table = self.catalog.table(database, schema, name)?;
        Ok(table.map(|table| inside(Object::Table(table.id), database, schema, name)))
    }

    /// An object of this kind by its name as written; `None` if there is none.
    pub(super) fn find(&self, kind: &str, parts: &[String]) -> Result<Option<Found>> {
        let alone = |object: Object, name: String| Found {
            object,
            name,
            within: Vec::new(),
        };
        match (kind, parts) {
            ("ACCOUNT", _) => Ok(Some(alone(Object::Account, self.session.role_name()))),
            ("DATABASE", [name]) => {
                let there = self.catalog.database_exists(name)?;
                Ok(there.then(|| alone(Object::Database(name.clone()), name.clone())))
            }
            ("SCHEMA", parts) => {
                let (database, name) = match parts {
                    [database, name] => (database.clone(), name.clone()),
                    [name] => {
                        let database = self.session.database.clone().ok_or_else(super::no_database)?;
                        (database, name.clone())
                    }
                    _ => return Err(SqlError::syntax("a schema's name has one or two parts")),
                };
                let there = self.catalog.schema_exists(&database, &name)?;
                Ok(there.then(|| Found {
                    name: format!("{database}.{name}"),
                    within: vec![Object::Database(database.clone())],
                    object: Object::Schema(database, name),
                }))
            }
            ("TABLE", parts) => {
                let name = self.session.resolve(parts)?;
                self.table(&name.database, &name.schema, &name.name)
            }
            ("PIPE", parts) => {
                let name = self.session.resolve(parts)?;
                let (database, schema) = (&name.database, &name.schema);
                let pipe = self.catalog.find_pipe(database, schema, &name.name)?;
                Ok(pipe.map(|pipe| inside(Object::Pipe(pipe.id), database, schema, &name.name)))
            }
            ("SEQUENCE", parts) => {
                let name = self.session.resolve(parts)?;
                let place = Place::in_schema(MadeKind::Sequence, &name.database, &name.schema, &name.name);
                Ok(self.catalog.made(&place)?.map(|made| of_made(&made)))
            }
            ("NETWORK RULE", parts) => {
                let name = self.session.resolve(parts)?;
                let place = Place::in_schema(MadeKind::NetworkRule, &name.database, &name.schema, &name.name);
                Ok(self.catalog.made(&place)?.map(|made| of_made(&made)))
            }
            ("NETWORK POLICY", [name]) => {
                let place = Place::in_account(MadeKind::NetworkPolicy, name);
                Ok(self.catalog.made(&place)?.map(|made| of_account(&made)))
            }
            ("ROLE", [name]) => {
                let there = self.catalog.role(name)?.is_some();
                Ok(there.then(|| alone(Object::Named(Kind::Role, name.clone()), name.clone())))
            }
            ("USER", [name]) => {
                let there = self.catalog.user_exists(name)?;
                Ok(there.then(|| alone(Object::Named(Kind::User, name.clone()), name.clone())))
            }
            ("EXTERNAL VOLUME", [name]) => Ok(Some(alone(
                Object::Named(Kind::Volume, name.clone()),
                name.clone(),
            ))),
            ("WAREHOUSE", [name]) => Ok(Some(alone(
                Object::Named(Kind::Warehouse, name.clone()),
                name.clone(),
            ))),
            ("INTEGRATION", [name]) => Ok(Some(alone(
                Object::Named(Kind::Integration, name.clone()),
                name.clone(),
            ))),
            _ => Ok(None),
        }
    }

    /// Fails if the role may not run a statement that is about one object, as its words say.
    pub(super) fn check(&self, words: &Words) -> Result<()> {
        let verb = words.word(0).unwrap_or_default();
        let or_replace = words.are(1, &["OR", "REPLACE"]);
        let mut at = if or_replace { 3 } else { 1 };
        while MODIFIERS.iter().any(|word| words.are(at, &[word])) {
            at += 1;
        }
        let Some((kind, made, at)) = kind(words, at, verb) else {
            return Ok(());
        };
        let skipped = [&["IF", "NOT", "EXISTS"][..], &["IF", "EXISTS"]];
        let skipped = skipped.iter().find(|skipped| words.are(at, skipped));
        let Some((mut name, _)) = words.name(at + skipped.map_or(0, |skipped| skipped.len())) else {
            return Ok(());
        };
        if let Some(last) = name.last_mut()
            && let Some(table) = error_table_of(last)
        {
            *last = table.to_owned();
        }
        if verb == "ALTER" && kind == "USER" && tokens::is_of_oneself(words, at) {
            return Ok(());
        }
        match verb {
            "CREATE" => self.create(kind, &made, &name, or_replace),
            "ALTER" | "DROP" | "TRUNCATE" | "DESC" | "DESCRIBE" => self.change(verb, kind, &name),
            _ => Ok(()),
        }
    }

    fn create(&self, kind: &str, made: &str, name: &[String], or_replace: bool) -> Result<()> {
        let within = match kind {
            "SCHEMA" => match name {
                [database, _] => self.find("DATABASE", std::slice::from_ref(database))?,
                _ => match &self.session.database {
                    Some(database) => self.find("DATABASE", std::slice::from_ref(database))?,
                    None => None,
                },
            },
            "DATABASE" | "USER" | "ROLE" | "WAREHOUSE" | "EXTERNAL VOLUME" | "INTEGRATION"
            | "NETWORK POLICY" => {
                self.account(made)?;
                None
            }
            _ => {
                let full = self.session.resolve(name)?;
                self.find("SCHEMA", &[full.database, full.schema])?
            }
        };
        if let Some(within) = within {
            self.require(&within, made)?;
        }
        match self.find(kind, name)? {
            // Replacing is dropping too.
            Some(old)
                if or_replace
                    && matches!(
                        kind,
                        "DATABASE"
                            | "SCHEMA"
                            | "TABLE"
                            | "PIPE"
                            | "ROLE"
                            | "SEQUENCE"
                            | "NETWORK RULE"
                            | "NETWORK POLICY"
                    )
                    && self.catalog.owner(&old.object)?.is_some() =>
            {
                self.require(&old, OWNERSHIP)
            }
            _ => Ok(()),
        }
    }

    /// Fails if the role may not bring a dropped table back.
    pub(super) fn undrop(&self, table: &TableDef) -> Result<()> {
        self.require(&of_table(table), OWNERSHIP)?;
        let schema = [table.database.clone(), table.schema.clone()];
        match self.find("SCHEMA", &schema)? {
            Some(schema) => self.require(&schema, "CREATE TABLE"),
            None => Ok(()),
        }
    }

    /// Fails if the role may not change a user; everybody may change itself.
    pub(super) fn user(&self, name: &str) -> Result<()> {
        if name == self.session.user {
            return Ok(());
        }
        self.account("CREATE USER")
    }

    fn change(&self, verb: &str, kind: &str, name: &[String]) -> Result<()> {
        if matches!(kind, "USER") {
            return match name {
                [name] if verb != "DROP" => self.user(name),
                _ => self.account("CREATE USER"),
            };
        }
        let Some(found) = self.find(kind, name)? else {
            return Ok(());
        };
        match verb {
            // Whoever sees it may ask what it is.
            "DESC" | "DESCRIBE" if self.sees(&found)? => Ok(()),
            "DESC" | "DESCRIBE" => Err(SqlError::missing(&title(kind), &found.name)),
            "TRUNCATE" => self.require(&found, "TRUNCATE"),
            // Pipes that the service manages have no owner; what is refused of them is said later.
            _ if kind == "PIPE" && self.catalog.owner(&found.object)?.is_none() => Ok(()),
            "ALTER" if kind == "PIPE" => self.require(&found, "OPERATE"),
            _ => self.require(&found, OWNERSHIP),
        }
    }

    /// Takes from the answer of a SHOW what the role cannot see.
    pub(super) fn leave_visible(&self, words: &Words, result: &mut QueryResult) -> Result<()> {
        let at = if words.are(1, &["TERSE"]) { 2 } else { 1 };
        let at = at + usize::from(words.are(at, &["ICEBERG"]) || words.are(at, &["INTERACTIVE"]));
        let Some(shown) = words.word(at) else {
            return Ok(());
        };
        let place = |name: &str| result.columns.iter().position(|column| column.name == name);
        let (database, schema) = (place("database_name"), place("schema_name"));
        let (name, table) = (place("name"), place("table_name"));
        let dropped = place("dropped_on");
        let path = match shown {
            "DATABASES" => vec![name],
            "SCHEMAS" => vec![database, name],
            "TABLES" | "PIPES" | "SEQUENCES" => vec![database, schema, name],
            "COLUMNS" | "CHANNELS" => vec![database, schema, table],
            _ => return Ok(()),
        };
        let Some(path) = path.into_iter().collect::<Option<Vec<usize>>>() else {
            return Ok(());
        };
        let kind = match shown {
            "DATABASES" => "DATABASE",
            "SCHEMAS" => "SCHEMA",
            "PIPES" => "PIPE",
            "SEQUENCES" => "SEQUENCE",
            _ => "TABLE",
        };
        let mut seen = std::collections::HashMap::new();
        let mut kept = Vec::with_capacity(result.rows.len());
        for row in std::mem::take(&mut result.rows) {
            let parts: Vec<String> = path
                .iter()
                .filter_map(|at| row.get(*at).cloned().flatten())
                .collect();
            let visible = match seen.get(&parts) {
                // SHOW TABLES HISTORY has looked at dropped tables by itself: their names find others, or none.
                _ if dropped.is_some_and(|at| row.get(at).is_some_and(Option::is_some)) => true,
                Some(visible) => *visible,
                None => {
                    let visible = self.shows(kind, &parts)?;
                    seen.insert(parts, visible);
                    visible
                }
            };
            if visible {
                kept.push(row);
            }
        }
        result.rows = kept;
        Ok(())
    }

    /// Whether an object is in lists: a default pipe where its table is.
    pub(super) fn shows(&self, kind: &str, parts: &[String]) -> Result<bool> {
        let Some(found) = self.find(kind, parts)? else {
            return Ok(false);
        };
        if let Object::Pipe(id) = found.object
            && self.catalog.owner(&found.object)?.is_none()
            && let Some(pipe) = self.catalog.pipe_by_id(id)?
        {
            let table = self.table(&pipe.database, &pipe.schema, &pipe.table)?;
            return table.map_or(Ok(false), |table| self.sees(&table));
        }
        self.sees(&found)
    }
}

/// A table that was found in the catalog, dropped or not.
pub(super) fn of_table(table: &TableDef) -> Found {
    inside(
        Object::Table(table.id),
        &table.database,
        &table.schema,
        &table.name,
    )
}

/// A sequence or function that was found in the catalog.
pub(super) fn of_made(made: &Made) -> Found {
    let place = &made.place;
    inside(made.object(), &place.database, &place.schema, &place.name)
}

/// An object of the account that was found in the catalog.
pub(super) fn of_account(made: &Made) -> Found {
    Found {
        object: made.object(),
        name: made.place.name.clone(),
        within: Vec::new(),
    }
}

fn inside(object: Object, database: &str, schema: &str, name: &str) -> Found {
    Found {
        object,
        name: format!("{database}.{schema}.{name}"),
        within: vec![
            Object::Database(database.to_owned()),
            Object::Schema(database.to_owned(), schema.to_owned()),
        ],
    }
}

/// The kind of object that a statement names here, the privilege to make one, and where its name begins.
fn kind(words: &Words, at: usize, verb: &str) -> Option<(&'static str, String, usize)> {
    for (phrase, kind) in [
        (&["ICEBERG", "TABLE"][..], "TABLE"),
        (&["INTERACTIVE", "TABLE"], "TABLE"),
        (&["EXTERNAL", "VOLUME"], "EXTERNAL VOLUME"),
        (&["SECURITY", "INTEGRATION"], "INTEGRATION"),
        (&["EXTERNAL", "ACCESS", "INTEGRATION"], "INTEGRATION"),
        (&["INTEGRATION"], "INTEGRATION"),
        (&["NETWORK", "RULE"], "NETWORK RULE"),
        (&["NETWORK", "POLICY"], "NETWORK POLICY"),
        (&["TABLE"], "TABLE"),
        (&["PIPE"], "PIPE"),
        (&["DATABASE"], "DATABASE"),
        (&["SCHEMA"], "SCHEMA"),
        (&["USER"], "USER"),
        (&["ROLE"], "ROLE"),
        (&["WAREHOUSE"], "WAREHOUSE"),
        (&["SEQUENCE"], "SEQUENCE"),
        (&["FUNCTION"], "FUNCTION"),
    ] {
        if words.are(at, phrase) {
            let made = match kind {
                "TABLE" => phrase.join(" "),
                kind => kind.to_owned(),
            };
            return Some((kind, format!("CREATE {made}"), at + phrase.len()));
        }
    }
    // TRUNCATE and DESCRIBE mean a table where they do not say what.
    matches!(verb, "TRUNCATE" | "DESC" | "DESCRIBE").then(|| ("TABLE", String::new(), at))
}
