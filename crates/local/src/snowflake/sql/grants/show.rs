//! SHOW GRANTS and SHOW FUTURE GRANTS.

use super::super::access::Access;
use super::super::show::moment;
use super::super::words::Words;
use super::super::{QueryResult, Result, Session, SqlError};
use super::{ended, one};
use crate::snowflake::catalog::Catalog;
use crate::snowflake::catalog::grants::{GrantRow, Of};
use crate::snowflake::catalog::roles::{Grantee, RoleGrant};

const SHOWN: [&str; 8] = [
    "created_on",
    "privilege",
    "granted_on",
    "name",
    "granted_to",
    "grantee_name",
    "grant_option",
    "granted_by",
];

fn shown(grant: GrantRow) -> Vec<Option<String>> {
    vec![
        moment(grant.created_on_ms),
        Some(grant.privilege),
        Some(grant.kind.replace(' ', "_")),
        Some(grant.name),
        Some("ROLE".to_owned()),
        Some(grant.role),
        Some(grant.grant_option.to_string()),
        Some(grant.granted_by.unwrap_or_default()),
    ]
}

/// A role that a role has, among its grants.
fn membership(grant: RoleGrant) -> Vec<Option<String>> {
    vec![
        moment(grant.created_on_ms),
        Some("USAGE".to_owned()),
        Some("ROLE".to_owned()),
        Some(grant.role),
        Some("ROLE".to_owned()),
        Some(grant.grantee),
        Some("false".to_owned()),
        Some(grant.granted_by.unwrap_or_default()),
    ]
}

fn of_role(grant: RoleGrant) -> Vec<Option<String>> {
    vec![
        moment(grant.created_on_ms),
        Some(grant.role),
        Some(grant.grantee_kind),
        Some(grant.grantee),
        Some(grant.granted_by.unwrap_or_default()),
    ]
}

const SHOWN_ROLES: [&str; 5] = ["created_on", "role", "granted_to", "grantee_name", "granted_by"];

/// SHOW GRANTS.
pub(super) fn grants(catalog: &Catalog, session: &Session, words: &Words) -> Result<QueryResult> {
    let is_future = |grant: &GrantRow| grant.kind.starts_with("FUTURE ");
    let role = |at: usize| -> Result<String> {
        let name = words.word(at).unwrap_or_default().to_owned();
        let known = catalog.role(&name)?.is_some();
        known
            .then_some(name.clone())
            .ok_or_else(|| SqlError::missing("Role", &name))
    };
    match (words.word(2), words.word(3)) {
        (Some("ON"), _) => {
            let (_, found, end) = one(catalog, session, words, 3)?;
            ended(words, end)?;
            if !Access::of(catalog, session).sees(&found)? {
                return Err(SqlError::missing("Object", &found.name));
            }
            let rows = catalog.grants(Of::Object(&found.object))?.into_iter();
            Ok(QueryResult::texts(&SHOWN, rows.map(shown).collect()))
        }
        (Some("TO"), Some("ROLE")) => {
            let role = role(4)?;
            let to = Grantee::Role(role.clone());
            let mut rows: Vec<_> = catalog
                .grants(Of::Role(&role))?
                .into_iter()
                .filter(|grant| !is_future(grant))
                .map(shown)
                .collect();
            rows.extend(catalog.role_grants(None, Some(&to))?.into_iter().map(membership));
            Ok(QueryResult::texts(&SHOWN, rows))
        }
        (Some("OF"), Some("ROLE")) => {
            let rows = catalog.role_grants(Some(&role(4)?), None)?.into_iter();
            Ok(QueryResult::texts(&SHOWN_ROLES, rows.map(of_role).collect()))
        }
        (None, _) | (Some("TO"), Some("USER")) => {
            let user = words.word(4).unwrap_or(&session.user).to_owned();
            if !catalog.user_exists(&user)? {
                return Err(SqlError::missing("User", &user));
            }
            let rows = catalog.role_grants(None, Some(&Grantee::User(user)))?.into_iter();
            Ok(QueryResult::texts(&SHOWN_ROLES, rows.map(of_role).collect()))
        }
        _ => Err(SqlError::unsupported("this form of SHOW GRANTS")),
    }
}

/// `SHOW FUTURE GRANTS IN SCHEMA|DATABASE name` and `... TO ROLE name`.
pub(super) fn future(catalog: &Catalog, session: &Session, words: &Words) -> Result<QueryResult> {
    let mut rows = Vec::new();
    if words.are(3, &["TO", "ROLE"]) {
        let role = words.word(5).unwrap_or_default();
        rows = catalog.grants(Of::Role(role))?;
    } else if words.are(3, &["IN"]) {
        let (_, found, end) = one(catalog, session, words, 4)?;
        ended(words, end)?;
        for role in catalog.roles()? {
            rows.extend(catalog.grants(Of::Role(&role.name))?);
        }
        rows.retain(|grant| grant.name == found.name);
    } else {
        return Err(SqlError::unsupported("this form of SHOW FUTURE GRANTS"));
    }
    let rows = rows.into_iter().filter_map(|mut grant| {
        let kind = grant.kind.strip_prefix("FUTURE ")?.to_owned();
        grant.name = format!("{}.<{kind}>", grant.name);
        grant.kind = kind;
        let mut row = shown(grant);
        row.pop();
        Some(row)
    });
    let names = [
        "created_on",
        "privilege",
        "grant_on",
        "name",
        "grant_to",
        "grantee_name",
        "grant_option",
    ];
    Ok(QueryResult::texts(&names, rows.collect()))
}
