//! Roles by SQL: CREATE, ALTER, DROP, SHOW ROLE, and GRANT and REVOKE of a role.
//!
//! Source: Snowflake documentation, "CREATE ROLE", "GRANT ROLE", "DROP ROLE": what a dropped role owned goes to the role that
//! drops it.

use sqlparser::tokenizer::Token;

use super::access::{OWNERSHIP, insufficient};
use super::show::moment;
use super::words::Words;
use super::{QueryResult, Result, Session, SqlError, executed};
use crate::snowflake::catalog::Catalog;
use crate::snowflake::catalog::grants::{Kind, Object};
use crate::snowflake::catalog::roles::Grantee;

/// Roles that are there from the start and stay.
const SYSTEM: [&str; 5] = ["ACCOUNTADMIN", "SECURITYADMIN", "USERADMIN", "SYSADMIN", "PUBLIC"];

/// Runs the statement if it is about a role.
pub(super) fn run(catalog: &Catalog, session: &Session, words: &Words) -> Result<Option<QueryResult>> {
    if words.are(0, &["SHOW", "ROLES"]) {
        return show(catalog, session).map(Some);
    }
    if words.are(0, &["GRANT", "ROLE"]) || words.are(0, &["REVOKE", "ROLE"]) {
        return give(catalog, session, words).map(Some);
    }
    let replaces = words.are(1, &["OR", "REPLACE", "ROLE"]);
    if !replaces && !words.are(1, &["ROLE"]) {
        return Ok(None);
    }
    let at = if replaces { 4 } else { 2 };
    let skipped = [&["IF", "NOT", "EXISTS"][..], &["IF", "EXISTS"]];
    let skipped = skipped.iter().find(|skipped| words.are(at, skipped));
    let is_lenient = skipped.is_some();
    let at = at + skipped.map_or(0, |skipped| skipped.len());
    let name = words
        .word(at)
        .ok_or_else(|| SqlError::syntax("a role's name is missing"))?
        .to_owned();
    let there = catalog.role(&name)?.is_some();
    let done = |text: String| Ok(Some(QueryResult::status(text)));
    match words.word(0).unwrap_or_default() {
        "CREATE" if there && is_lenient => done(format!("{name} already exists, statement succeeded.")),
        "CREATE" if there && !replaces => Err(SqlError::exists("ROLE", &name)),
        "CREATE" => {
            system(&name)?;
            let comment = comment(words, at + 1)?;
            if there {
                catalog.drop_role(&name, session.role())?;
            }
            catalog.create_role(&name, session.role(), comment.as_deref())?;
            done(format!("Role {name} successfully created."))
        }
        "DROP" | "ALTER" if !there && is_lenient => done(format!(
            "Drop statement executed successfully ({name} already dropped)."
        )),
        "DROP" | "ALTER" if !there => Err(SqlError::missing("Role", &name)),
        "DROP" => {
            system(&name)?;
            catalog.drop_role(&name, session.role())?;
            done(format!("{name} successfully dropped."))
        }
        "ALTER" if words.are(at + 1, &["SET"]) => {
            let comment = comment(words, at + 2)?;
            catalog.comment_role(&name, comment.as_deref())?;
            Ok(Some(executed()))
        }
        "ALTER" if words.are(at + 1, &["UNSET", "COMMENT"]) => {
            catalog.comment_role(&name, None)?;
            Ok(Some(executed()))
        }
        "ALTER" => Err(SqlError::unsupported("this form of ALTER ROLE")),
        _ => Ok(None),
    }
}

fn system(name: &str) -> Result<()> {
    if SYSTEM.contains(&name) {
        return Err(insufficient("role", name));
    }
    Ok(())
}

fn comment(words: &Words, at: usize) -> Result<Option<String>> {
    if at == words.len() {
        return Ok(None);
    }
    match (words.are(at, &["COMMENT"]), words.get(at + 1), words.text(at + 2)) {
        (true, Some(Token::Eq), Some(text)) if words.len() == at + 3 => Ok(Some(text.to_owned())),
        _ => Err(SqlError::unsupported("an option of a role but COMMENT")),
    }
}

/// `GRANT ROLE r TO ROLE|USER n`, `REVOKE ROLE r FROM ROLE|USER n`.
fn give(catalog: &Catalog, session: &Session, words: &Words) -> Result<QueryResult> {
    let gives = words.are(0, &["GRANT"]);
    let role = words
        .word(2)
        .ok_or_else(|| SqlError::syntax("a role's name is missing"))?;
    let between = if gives { "TO" } else { "FROM" };
    if !words.are(3, &[between]) {
        return Err(SqlError::syntax(format!("{between} is missing")));
    }
    let name = words
        .word(5)
        .ok_or_else(|| SqlError::syntax("the name of a role or user is missing"))?
        .to_owned();
    let grantee = match words.word(4) {
        Some("ROLE") => {
            catalog
                .role(&name)?
                .ok_or_else(|| SqlError::missing("Role", &name))?;
            Grantee::Role(name)
        }
        Some("USER") if catalog.user_exists(&name)? => Grantee::User(name),
        Some("USER") => return Err(SqlError::missing("User", &name)),
        _ => return Err(SqlError::syntax(format!("{between} ROLE or {between} USER"))),
    };
    catalog
        .role(role)?
        .ok_or_else(|| SqlError::missing("Role", role))?;
    let object = Object::Named(Kind::Role, role.to_owned());
    let may = catalog.may(session.role(), false, OWNERSHIP, &object)?
        || catalog.may(session.role(), false, "MANAGE GRANTS", &Object::Account)?;
    // A system role can be given by whoever has it.
    let has_system = SYSTEM.contains(&role) && catalog.holds(session.role(), role)?;
    if !may && !has_system {
        return Err(insufficient("role", role));
    }
    if !gives {
        catalog.revoke_role(role, &grantee)?;
    } else if !catalog.grant_role(role, &grantee, session.role())? {
        let message = format!("granting role {role} would make a circle of roles");
        return Err(SqlError::syntax(message));
    }
    Ok(executed())
}

fn show(catalog: &Catalog, session: &Session) -> Result<QueryResult> {
    let grants = catalog.role_grants(None, None)?;
    let yes = |truth: bool| Some(if truth { "Y" } else { "N" }.to_owned());
    let mut rows = Vec::new();
    let first = catalog.first_role(&session.user)?;
    for role in catalog.roles()? {
        let count = |kind: &str| {
            let given = grants
                .iter()
                .filter(|grant| grant.role == role.name && grant.grantee_kind == kind);
            Some(given.count().to_string())
        };
        let has = grants
            .iter()
            .filter(|grant| grant.grantee_kind == "ROLE" && grant.grantee == role.name);
        let inherited = role.name != session.role() && catalog.holds(session.role(), &role.name)?;
        rows.push(vec![
            moment(role.created_on_ms),
            Some(role.name.clone()),
            yes(role.name == first),
            yes(role.name == session.role()),
            yes(inherited),
            count("USER"),
            count("ROLE"),
            Some(has.count().to_string()),
            Some(role.owner.clone().unwrap_or_default()),
            Some(role.comment.clone().unwrap_or_default()),
        ]);
    }
    let names = [
        "created_on",
        "name",
        "is_default",
        "is_current",
        "is_inherited",
        "assigned_to_users",
        "granted_to_roles",
        "granted_roles",
        "owner",
        "comment",
    ];
    Ok(QueryResult::texts(&names, rows))
}
