//! SHOW and DESCRIBE of network rules, network policies and external access integrations.

use super::super::access::{Access, of_account, of_made};
use super::super::show::{Filter, moment};
use super::super::words::Words;
use super::super::{QueryResult, Result, Session};
use crate::snowflake::catalog::Catalog;
use crate::snowflake::catalog::made::{Made, MadeKind};
use crate::snowflake::catalog::network::{ExternalAccess, Policy, Rule};

fn count(list: &[impl Sized]) -> Option<String> {
    Some(list.len().to_string())
}

/// SHOW NETWORK RULES.
pub(super) fn rules(catalog: &Catalog, session: &Session, words: &Words) -> Result<QueryResult> {
    let filter = Filter::read(words, 3)?;
    let (database, schema) = filter.scope(session);
    let access = Access::of(catalog, session);
    let mut rows = Vec::new();
    for made in catalog.all_made(
        MadeKind::NetworkRule,
        database.as_deref(),
        schema.as_deref(),
        None,
    )? {
        if !filter.admits(&made.place.name) || !access.sees(&of_made(&made))? {
            continue;
        }
        let rule = Rule::of(&made.definition)?;
        rows.push(vec![
            moment(made.created_on_ms),
            Some(made.place.name),
            Some(made.place.database),
            Some(made.place.schema),
            Some(made.owner),
            Some(made.comment.unwrap_or_default()),
            Some(rule.r#type),
            Some(rule.mode),
            count(&rule.values),
            Some("ROLE".to_owned()),
        ]);
    }
    let columns = [
        "created_on",
        "name",
        "database_name",
        "schema_name",
        "owner",
        "comment",
        "type",
        "mode",
        "entries_in_valuelist",
        "owner_role_type",
    ];
    Ok(QueryResult::texts(&columns, rows))
}

/// SHOW NETWORK POLICIES.
pub(super) fn policies(catalog: &Catalog, session: &Session) -> Result<QueryResult> {
    let access = Access::of(catalog, session);
    let mut rows = Vec::new();
    for made in catalog.all_made(MadeKind::NetworkPolicy, None, None, None)? {
        if !access.sees(&of_account(&made))? {
            continue;
        }
        let policy = Policy::of(&made.definition)?;
        rows.push(vec![
            moment(made.created_on_ms),
            Some(made.place.name),
            Some(made.comment.unwrap_or_default()),
            count(&policy.allowed),
            count(&policy.blocked),
            count(&policy.allowed_rules),
            count(&policy.blocked_rules),
        ]);
    }
    let columns = [
        "created_on",
        "name",
        "comment",
        "entries_in_allowed_ip_list",
        "entries_in_blocked_ip_list",
        "entries_in_allowed_network_rules",
        "entries_in_blocked_network_rules",
    ];
    Ok(QueryResult::texts(&columns, rows))
}

/// DESCRIBE of each of them.
pub(super) fn describe(found: Made) -> Result<QueryResult> {
    let paths = |rules: &[[String; 3]]| -> String {
        let paths: Vec<String> = rules.iter().map(|rule| rule.join(".")).collect();
        paths.join(",")
    };
    let row = |name: &str, value: String| vec![Some(name.to_owned()), Some(value)];
    match found.place.kind {
        MadeKind::NetworkRule => {
            let rule = Rule::of(&found.definition)?;
            let columns = [
                "created_on",
                "name",
                "database_name",
                "schema_name",
                "owner",
                "comment",
                "type",
                "mode",
                "value_list",
            ];
            let row = vec![
                moment(found.created_on_ms),
                Some(found.place.name),
                Some(found.place.database),
                Some(found.place.schema),
                Some(found.owner),
                Some(found.comment.unwrap_or_default()),
                Some(rule.r#type),
                Some(rule.mode),
                Some(rule.values.join(",")),
            ];
            Ok(QueryResult::texts(&columns, vec![row]))
        }
        MadeKind::NetworkPolicy => {
            let policy = Policy::of(&found.definition)?;
            let lists = [
                ("ALLOWED_IP_LIST", policy.allowed.join(",")),
                ("BLOCKED_IP_LIST", policy.blocked.join(",")),
                ("ALLOWED_NETWORK_RULE_LIST", paths(&policy.allowed_rules)),
                ("BLOCKED_NETWORK_RULE_LIST", paths(&policy.blocked_rules)),
            ];
            let said = lists.into_iter().filter(|(_, value)| !value.is_empty());
            let rows = said.map(|(name, value)| row(name, value)).collect();
            Ok(QueryResult::texts(&["name", "value"], rows))
        }
        _ => {
            let access = ExternalAccess::of(&found.definition)?;
            let rows = vec![
                row("ENABLED", access.enabled.to_string()),
                row("ALLOWED_NETWORK_RULES", paths(&access.allowed_rules)),
                row("COMMENT", found.comment.unwrap_or_default()),
            ];
            Ok(QueryResult::texts(&["property", "property_value"], rows))
        }
    }
}
