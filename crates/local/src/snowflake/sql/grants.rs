//! GRANT and REVOKE of privileges; `show` tells those that are there.
//!
//! Source: Snowflake documentation, "GRANT <privileges> ... TO ROLE", "GRANT OWNERSHIP", "REVOKE <privileges>", "SHOW GRANTS". A
//! privilege that the kind of object does not have is refused; `ALL` stands for those it has.

mod show;

use sqlparser::tokenizer::Token;

use super::access::{Access, Found, OWNERSHIP, insufficient, of_made};
use super::words::Words;
use super::{QueryResult, Result, Session, SqlError, executed, udf};
use crate::snowflake::catalog::Catalog;
use crate::snowflake::catalog::grants::{Future, Object, Target};

/// Privileges by kind of object (Snowflake documentation, "Access control privileges"; those that mean something here, and
/// those that scripts of pipelines grant beside them).
const PRIVILEGES: [(&str, &[&str]); 10] = [
    (
        "ACCOUNT",
        &[
            "CREATE DATABASE",
            "CREATE EXTERNAL VOLUME",
            "CREATE INTEGRATION",
            "CREATE NETWORK POLICY",
            "CREATE ROLE",
            "CREATE USER",
            "CREATE WAREHOUSE",
            "EXECUTE TASK",
            "MANAGE GRANTS",
            "MONITOR EXECUTION",
            "MONITOR USAGE",
        ],
    ),
    (
        "DATABASE",
        &["APPLYBUDGET", "CREATE SCHEMA", "MODIFY", "MONITOR", "USAGE"],
    ),
    (
        "SCHEMA",
        &[
            "CREATE FILE FORMAT",
            "CREATE FUNCTION",
            "CREATE ICEBERG TABLE",
            "CREATE INTERACTIVE TABLE",
            "CREATE NETWORK RULE",
            "CREATE PIPE",
            "CREATE SECRET",
            "CREATE SEQUENCE",
            "CREATE STAGE",
            "CREATE STREAM",
            "CREATE TABLE",
            "CREATE TASK",
            "CREATE VIEW",
            "MODIFY",
            "MONITOR",
            "USAGE",
        ],
    ),
    (
        "TABLE",
        &[
            "DELETE",
            "EVOLVE SCHEMA",
            "INSERT",
            "REFERENCES",
            "SELECT",
            "SELECT ERROR TABLE",
            "TRUNCATE",
            "UPDATE",
        ],
    ),
    ("PIPE", &["MONITOR", "OPERATE"]),
    ("EXTERNAL VOLUME", &["USAGE"]),
    (
        "WAREHOUSE",
        &["APPLYBUDGET", "MODIFY", "MONITOR", "OPERATE", "USAGE"],
    ),
    ("INTEGRATION", &["USAGE"]),
    ("SEQUENCE", &["USAGE"]),
    ("FUNCTION", &["USAGE"]),
];

fn privileges_of(kind: &str) -> &'static [&'static str] {
    PRIVILEGES
        .iter()
        .find(|(known, _)| *known == kind)
        .map_or(&[], |(_, privileges)| privileges)
}

/// What a statement gives or takes.
struct Terms {
    privileges: Vec<String>,
    only_option: bool,
    targets: Vec<(Target, String)>,
    /// The kind of what is meant, as SQL writes it.
    kind: &'static str,
    role: String,
    /// Where the words behind the role begin.
    end: usize,
}

/// Runs GRANT, REVOKE or SHOW [FUTURE] GRANTS.
pub(super) fn run(catalog: &Catalog, session: &Session, words: &Words) -> Result<Option<QueryResult>> {
    if words.are(0, &["SHOW", "GRANTS"]) {
        return show::grants(catalog, session, words).map(Some);
    }
    if words.are(0, &["SHOW", "FUTURE", "GRANTS"]) {
        return show::future(catalog, session, words).map(Some);
    }
    match words.word(0) {
        Some("GRANT") => grant(catalog, session, words).map(Some),
        Some("REVOKE") => revoke(catalog, session, words).map(Some),
        _ => Ok(None),
    }
}

fn grant(catalog: &Catalog, session: &Session, words: &Words) -> Result<QueryResult> {
    let terms = Terms::read(catalog, session, words, 1, "TO")?;
    if terms.privileges == [OWNERSHIP] {
        return give_ownership(catalog, session, words, &terms);
    }
    let grant_option = words.are(terms.end, &["WITH", "GRANT", "OPTION"]);
    let end = terms.end + if grant_option { 3 } else { 0 };
    ended(words, end)?;
    for (target, name) in &terms.targets {
        for privilege in &terms.privileges {
            if !catalog.may_grant(session.role(), privilege, target)? {
                return Err(insufficient(terms.kind, name));
            }
        }
    }
    for (target, _) in &terms.targets {
        catalog.grant(
            &terms.privileges,
            target,
            &terms.role,
            grant_option,
            session.role(),
        )?;
    }
    Ok(executed())
}

fn revoke(catalog: &Catalog, session: &Session, words: &Words) -> Result<QueryResult> {
    let only_option = words.are(1, &["GRANT", "OPTION", "FOR"]);
    let mut terms = Terms::read(catalog, session, words, if only_option { 4 } else { 1 }, "FROM")?;
    terms.only_option = only_option;
    let end =
        terms.end + usize::from(words.are(terms.end, &["CASCADE"]) || words.are(terms.end, &["RESTRICT"]));
    ended(words, end)?;
    if terms.privileges == [OWNERSHIP] {
        return Err(SqlError::syntax(
            "OWNERSHIP is not revoked: grant it to another role",
        ));
    }
    for (target, name) in &terms.targets {
        for privilege in &terms.privileges {
            if !catalog.may_grant(session.role(), privilege, target)? {
                return Err(insufficient(terms.kind, name));
            }
        }
    }
    for (target, _) in &terms.targets {
        catalog.revoke(&terms.privileges, target, &terms.role, terms.only_option)?;
    }
    Ok(executed())
}

fn ended(words: &Words, end: usize) -> Result<()> {
    if end == words.len() {
        Ok(())
    } else {
        Err(SqlError::syntax("unexpected words behind the role"))
    }
}

/// GRANT OWNERSHIP. Grants that are there must be copied or revoked in so many words.
fn give_ownership(catalog: &Catalog, session: &Session, words: &Words, terms: &Terms) -> Result<QueryResult> {
    let revoke = words.are(terms.end, &["REVOKE", "CURRENT", "GRANTS"]);
    let copy = words.are(terms.end, &["COPY", "CURRENT", "GRANTS"]);
    ended(words, terms.end + if revoke || copy { 3 } else { 0 })?;
    for (target, name) in &terms.targets {
        let Target::Object(object) = target else {
            return Err(SqlError::unsupported("GRANT OWNERSHIP ON FUTURE objects"));
        };
        if catalog.owner(object)?.is_none() {
            return Err(insufficient(terms.kind, name));
        }
        let may = catalog.may(session.role(), false, OWNERSHIP, object)?
            || catalog.may(session.role(), false, "MANAGE GRANTS", &Object::Account)?;
        if !may {
            return Err(insufficient(terms.kind, name));
        }
        let there = catalog.grantees(object)?;
        if let (Some((privilege, role)), false) = (there.first(), revoke || copy) {
            let kind = terms.kind.to_lowercase();
            return Err(SqlError {
                code: "003036",
                sql_state: "42501",
                message: format!(
                    "SQL execution error: Dependent grant of privilege '{privilege}' on securable '{name}' to role '{role}' \
                     exists. It must be revoked first. To revoke all dependent grants while transferring object ownership, \
                     use 'GRANT OWNERSHIP ON {kind} ... REVOKE CURRENT GRANTS'."
                ),
            });
        }
    }
    for (target, _) in &terms.targets {
        if let Target::Object(object) = target {
            catalog.set_owner(object, &terms.role, revoke)?;
        }
    }
    Ok(executed())
}

impl Terms {
    fn read(catalog: &Catalog, session: &Session, words: &Words, at: usize, between: &str) -> Result<Self> {
        let (mut privileges, at) = list(words, at)?;
        let (kind, targets, at) = targets(catalog, session, words, at)?;
        let known = privileges_of(kind);
        if matches!(privileges.as_slice(), [all] if all == "ALL" || all == "ALL PRIVILEGES") {
            privileges = known.iter().map(|privilege| (*privilege).to_owned()).collect();
        }
        let unknown = privileges
            .iter()
            .find(|privilege| !known.contains(&privilege.as_str()));
        if let Some(unknown) = unknown.filter(|_| privileges != [OWNERSHIP]) {
            return Err(SqlError::syntax(format!(
                "Invalid privilege '{unknown}' for an object of kind {kind}"
            )));
        }
        if !words.are(at, &[between]) {
            return Err(SqlError::syntax(format!("{between} ROLE is missing")));
        }
        let at = at + 1 + usize::from(words.are(at + 1, &["ROLE"]));
        let role = words
            .word(at)
            .ok_or_else(|| SqlError::syntax("a role's name is missing"))?
            .to_owned();
        catalog
            .role(&role)?
            .ok_or_else(|| SqlError::missing("Role", &role))?;
        Ok(Self {
            privileges,
            only_option: false,
            targets,
            kind,
            role,
            end: at + 1,
        })
    }
}

/// Privileges with commas between them, and where ON ends.
fn list(words: &Words, mut at: usize) -> Result<(Vec<String>, usize)> {
    let mut privileges = vec![String::new()];
    while !words.are(at, &["ON"]) {
        let last = privileges.last_mut().expect("there is one from the start");
        match (words.word(at), words.get(at)) {
            (Some(word), _) if last.is_empty() => last.push_str(word),
            (Some(word), _) => {
                last.push(' ');
                last.push_str(word);
            }
            (None, Some(Token::Comma)) => privileges.push(String::new()),
            _ => return Err(SqlError::syntax("ON is missing")),
        }
        at += 1;
    }
    if privileges.iter().any(String::is_empty) {
        return Err(SqlError::syntax("a privilege is missing"));
    }
    Ok((privileges, at + 1))
}

const KINDS: [(&[&str], &str); 13] = [
    (&["ICEBERG", "TABLE"], "TABLE"),
    (&["INTERACTIVE", "TABLE"], "TABLE"),
    (&["EXTERNAL", "VOLUME"], "EXTERNAL VOLUME"),
    (&["ACCOUNT"], "ACCOUNT"),
    (&["DATABASE"], "DATABASE"),
    (&["SCHEMA"], "SCHEMA"),
    (&["TABLE"], "TABLE"),
    (&["PIPE"], "PIPE"),
    (&["WAREHOUSE"], "WAREHOUSE"),
    (&["INTEGRATION"], "INTEGRATION"),
    (&["ROLE"], "ROLE"),
    (&["SEQUENCE"], "SEQUENCE"),
    (&["FUNCTION"], "FUNCTION"),
];

type Targets = (&'static str, Vec<(Target, String)>, usize);

/// What stands behind ON, and where it ends.
fn targets(catalog: &Catalog, session: &Session, words: &Words, at: usize) -> Result<Targets> {
    if words.are(at, &["ALL"]) || words.are(at, &["FUTURE"]) {
        return many(catalog, session, words, at);
    }
    let (kind, found, end) = one(catalog, session, words, at)?;
    Ok((kind, vec![(Target::Object(found.object), found.name)], end))
}

fn one(
    catalog: &Catalog,
    session: &Session,
    words: &Words,
    at: usize,
) -> Result<(&'static str, Found, usize)> {
    let known = KINDS.iter().find(|(phrase, _)| words.are(at, phrase));
    let (kind, at) = known.map_or(("TABLE", at), |(phrase, kind)| (*kind, at + phrase.len()));
    let (name, end) = match kind {
        "ACCOUNT" => (Vec::new(), at),
        _ => words
            .name(at)
            .ok_or_else(|| SqlError::syntax("an object's name is missing"))?,
    };
    let access = Access::of(catalog, session);
    let (found, end) = match kind {
        "FUNCTION" => {
            let (signature, end) = udf::types(words, end)?;
            let resolved = session.resolve(&name)?;
            let made = catalog.made(&udf::place(&resolved, &signature))?;
            (made.map(|made| of_made(&made)), end)
        }
        _ => (access.find(kind, &name)?, end),
    };
    let found = found.ok_or_else(|| {
        let mut kind = kind.to_lowercase();
        kind.get_mut(..1).map(str::make_ascii_uppercase);
        SqlError::missing(&kind, &name.join("."))
    })?;
    Ok((kind, found, end))
}

/// `ALL|FUTURE TABLES|PIPES|SCHEMAS IN SCHEMA|DATABASE name`.
fn many(catalog: &Catalog, session: &Session, words: &Words, at: usize) -> Result<Targets> {
    let future = words.are(at, &["FUTURE"]);
    let skipped = usize::from(words.are(at + 1, &["ICEBERG"]) || words.are(at + 1, &["INTERACTIVE"]));
    let kind = match words.word(at + 1 + skipped) {
        Some("TABLES") => "TABLE",
        Some("PIPES") => "PIPE",
        Some("SCHEMAS") => "SCHEMA",
        other => {
            let what = other.unwrap_or("what is written here");
            return Err(SqlError::unsupported(&format!("grants on all or future {what}")));
        }
    };
    let at = at + 2 + skipped;
    if !words.are(at, &["IN"]) {
        return Err(SqlError::syntax("IN SCHEMA or IN DATABASE is missing"));
    }
    let (within_kind, within, end) = one(catalog, session, words, at + 1)?;
    let (database, schema) = match &within.object {
        Object::Database(database) => (database.clone(), None),
        Object::Schema(database, schema) if kind != "SCHEMA" => (database.clone(), Some(schema.clone())),
        _ => return Err(SqlError::syntax(format!("{kind}S are not in a {within_kind}"))),
    };
    if future {
        let target = Target::Future(Future {
            kind,
            within: within.object,
        });
        return Ok((kind, vec![(target, within.name)], end));
    }
    let (database, schema) = (Some(database.as_str()), schema.as_deref());
    let full = |database: &str, schema: &str, name: &str| format!("{database}.{schema}.{name}");
    let objects = match kind {
        "TABLE" => {
            let tables = catalog.list_tables(database, schema)?.into_iter();
            tables
                .map(|table| {
                    let name = full(&table.database, &table.schema, &table.name);
                    (Target::Object(Object::Table(table.id)), name)
                })
                .collect()
        }
        "PIPE" => {
            let pipes = catalog.pipes(database, schema)?.into_iter();
            pipes
                .filter(|pipe| pipe.copy.is_some())
                .map(|pipe| {
                    let name = full(&pipe.database, &pipe.schema, &pipe.name);
                    (Target::Object(Object::Pipe(pipe.id)), name)
                })
                .collect()
        }
        _ => {
            let schemas = catalog.list_schemas(database)?.into_iter();
            schemas
                .map(|row| {
                    let name = format!("{}.{}", row.database, row.schema);
                    (Target::Object(Object::Schema(row.database, row.schema)), name)
                })
                .collect()
        }
    };
    Ok((kind, objects, end))
}
