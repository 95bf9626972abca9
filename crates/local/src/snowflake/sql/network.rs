//! Network rules, network policies and external access integrations by SQL.
//!
//! How it works: each is an object of the catalog; who a policy lets in is asked for at each login and request
//! ([`crate::snowflake::catalog::network`]). Clients come from a loopback address, so a policy that is to let them in allows 127.0.0.1.
//! External access integrations and rules of outgoing traffic are kept, checked against one another, and decide nothing: no code
//! runs here that could go out.
//!
//! Source: Snowflake documentation, "CREATE NETWORK RULE", "CREATE NETWORK POLICY", "ALTER NETWORK POLICY", "SHOW NETWORK RULES",
//! "CREATE EXTERNAL ACCESS INTEGRATION", "ALTER ACCOUNT". A policy of a security integration is unknown.

mod show;

use std::net::Ipv4Addr;

use sqlparser::tokenizer::Token;

use super::access::Access;
use super::words::Words;
use super::{QueryResult, Result, Session, SqlError, define, executed};
use crate::snowflake::catalog::Catalog;
use crate::snowflake::catalog::made::{Made, MadeKind, NewMade, Place};
use crate::snowflake::catalog::network::{ExternalAccess, Holder, Policy, Rule, contains, text};
use crate::snowflake::model::CreateMode;

use super::options::{Item, Value, options};

const POLICY: &str = "NETWORK_POLICY";
const TYPES: [&str; 8] = [
    "IPV4",
    "IPV6",
    "AWSVPCEID",
    "AZURELINKID",
    "GCPPSCID",
    "HOST_PORT",
    "PRIVATE_HOST_PORT",
    "COMPUTE_POOL",
];
const MODES: [&str; 4] = [
    "INGRESS",
    "INTERNAL_STAGE",
    "SNOWFLAKE_MANAGED_STORAGE_VOLUME",
    "EGRESS",
];

/// Runs the statement if it is about these.
pub(super) fn run(catalog: &Catalog, session: &Session, words: &Words) -> Result<Option<QueryResult>> {
    if words.are(0, &["SHOW", "NETWORK", "RULES"]) {
        return show::rules(catalog, session, words).map(Some);
    }
    if words.are(0, &["SHOW", "NETWORK", "POLICIES"]) {
        return show::policies(catalog, session).map(Some);
    }
    if words.are(0, &["ALTER", "ACCOUNT"]) && words.are(3, &[POLICY]) {
        return of_account(catalog, session, words).map(Some);
    }
    let replaces = words.are(0, &["CREATE", "OR", "REPLACE"]);
    let at = if replaces { 3 } else { 1 };
    let kinds = [
        (&["NETWORK", "RULE"][..], MadeKind::NetworkRule),
        (&["NETWORK", "POLICY"], MadeKind::NetworkPolicy),
        (&["EXTERNAL", "ACCESS", "INTEGRATION"], MadeKind::ExternalAccess),
        (&["INTEGRATION"], MadeKind::ExternalAccess),
    ];
    let Some((phrase, kind)) = kinds.into_iter().find(|(phrase, _)| words.are(at, phrase)) else {
        return Ok(None);
    };
    let at = at + phrase.len();
    let skipped = [&["IF", "NOT", "EXISTS"][..], &["IF", "EXISTS"]];
    let skipped = skipped.iter().find(|skipped| words.are(at, skipped));
    let is_lenient = skipped.is_some();
    let (name, end) = words
        .name(at + skipped.map_or(0, |skipped| skipped.len()))
        .ok_or_else(|| SqlError::syntax("a name is missing"))?;
    let place = match (kind, name.as_slice()) {
        (MadeKind::NetworkRule, parts) => {
            let name = session.resolve(parts)?;
            Place::in_schema(kind, &name.database, &name.schema, &name.name)
        }
        (_, [name]) => Place::in_account(kind, name),
        _ => {
            return Err(SqlError::syntax(
                "an object of the account has a name of one part",
            ));
        }
    };
    let found = catalog.made(&place)?;
    // Integrations of other kinds are somebody else's.
    if phrase.len() == 1 && found.is_none() {
        return Ok(None);
    }
    let shown = name.join(".");
    match (words.word(0), found) {
        (Some("CREATE"), _) => {
            let mode = define::mode(replaces, is_lenient)?;
            create(catalog, session, place, mode, words, end).map(Some)
        }
        (Some("DROP"), None) if is_lenient => Ok(Some(QueryResult::status(format!(
            "Drop statement executed successfully ({shown} already dropped)."
        )))),
        (Some("ALTER"), None) if is_lenient => Ok(Some(executed())),
        (Some("DROP" | "ALTER" | "DESC" | "DESCRIBE"), None) => Err(SqlError::missing(title(kind), &shown)),
        (Some("DROP"), Some(found)) => {
            refuse_used(catalog, &found)?;
            catalog.drop_made(&found)?;
            Ok(Some(QueryResult::status(format!(
                "{shown} successfully dropped."
            ))))
        }
        (Some("ALTER"), Some(found)) => alter(catalog, session, &found, words, end).map(Some),
        (Some("DESC" | "DESCRIBE"), Some(found)) => show::describe(found).map(Some),
        _ => Ok(None),
    }
}

fn title(kind: MadeKind) -> &'static str {
    match kind {
        MadeKind::NetworkRule => "Network rule",
        MadeKind::NetworkPolicy => "Network policy",
        _ => "Integration",
    }
}

fn create(
    catalog: &Catalog,
    session: &Session,
    place: Place,
    mode: CreateMode,
    words: &Words,
    end: usize,
) -> Result<QueryResult> {
    let (definition, comment) = match place.kind {
        MadeKind::NetworkRule => rule(words, end)?,
        MadeKind::NetworkPolicy => {
            let (mut policy, mut comment) = (Policy::default(), None);
            apply(catalog, session, &mut policy, &mut comment, options(words, end)?)?;
            (text(&policy), comment)
        }
        _ => external_access(catalog, session, words, end)?,
    };
    let (kind, name) = (place.kind, place.name.clone());
    if mode == CreateMode::New && catalog.made(&place)?.is_some() {
        return Err(SqlError::exists(kind.sql(), &name));
    }
    let new = NewMade {
        place,
        definition,
        comment,
        owner: session.role_name(),
        next: None,
    };
    let created = catalog.make(&new, mode)?;
    Ok(define::told(title(kind), &name, created))
}

type Defined = (String, Option<String>);

fn rule(words: &Words, at: usize) -> Result<Defined> {
    let (mut kind, mut mode, mut values, mut comment) = (None, "INGRESS".to_owned(), None, None);
    for (name, value) in options(words, at)? {
        match name.as_str() {
            "TYPE" => kind = Some(value.word("TYPE", &TYPES)?),
            "MODE" => mode = value.word("MODE", &MODES)?,
            "VALUE_LIST" => values = Some(value.texts()),
            "COMMENT" => comment = Some(value.one("COMMENT")?),
            other => return Err(unknown(other)),
        }
    }
    let missing = |what: &str| SqlError::syntax(format!("missing property '{what}' of a network rule"));
    let rule = Rule {
        r#type: kind.ok_or_else(|| missing("TYPE"))?,
        mode,
        values: values.ok_or_else(|| missing("VALUE_LIST"))?,
    };
    let goes_out = ["HOST_PORT", "PRIVATE_HOST_PORT", "COMPUTE_POOL"].contains(&rule.r#type.as_str());
    if goes_out != (rule.mode == "EGRESS") {
        let Rule { r#type, mode, .. } = &rule;
        return Err(SqlError::syntax(format!(
            "a network rule of TYPE {type} cannot have the MODE {mode}"
        )));
    }
    checked(&rule)?;
    Ok((text(&rule), comment))
}

/// Refuses values that are not of the rule's type.
fn checked(rule: &Rule) -> Result<()> {
    let is_good = |value: &String| match rule.r#type.as_str() {
        "IPV4" => contains(value, Ipv4Addr::LOCALHOST).is_some(),
        "HOST_PORT" => {
            let (host, port) = value.split_once(':').unwrap_or((value, "443"));
            !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok()
        }
        _ => !value.is_empty(),
    };
    match rule.values.iter().find(|value| !is_good(value)) {
        None => Ok(()),
        Some(value) => Err(SqlError::syntax(format!(
            "invalid network identifier '{value}' of TYPE {}",
            rule.r#type
        ))),
    }
}

fn unknown(option: &str) -> SqlError {
    SqlError::syntax(format!("invalid property '{option}'"))
}

/// The rules of a list, which are there and have this mode.
fn rules(catalog: &Catalog, session: &Session, value: &Value, mode: &str) -> Result<Vec<[String; 3]>> {
    let known = |item: &Item| {
        let parts = item.name()?;
        let name = session.resolve(&parts)?;
        let place = Place::in_schema(MadeKind::NetworkRule, &name.database, &name.schema, &name.name);
        let made = catalog
            .made(&place)?
            .ok_or_else(|| SqlError::missing("Network rule", &name.to_string()))?;
        let rule = Rule::of(&made.definition)?;
        if (rule.mode == "EGRESS") != (mode == "EGRESS") {
            return Err(SqlError::syntax(format!(
                "the network rule {name} has the MODE {}, and {mode} is wanted here",
                rule.mode
            )));
        }
        Ok([name.database, name.schema, name.name])
    };
    value.items.iter().map(known).collect()
}

/// Puts what is said into a policy.
fn apply(
    catalog: &Catalog,
    session: &Session,
    policy: &mut Policy,
    comment: &mut Option<String>,
    said: Vec<(String, Value)>,
) -> Result<()> {
    let addresses = |value: &Value| {
        let texts = value.texts();
        match texts
            .iter()
            .find(|text| contains(text, Ipv4Addr::LOCALHOST).is_none())
        {
            None => Ok(texts),
            Some(text) => Err(SqlError::syntax(format!("invalid IP address '{text}'"))),
        }
    };
    for (name, value) in said {
        match name.as_str() {
            "ALLOWED_NETWORK_RULE_LIST" => policy.allowed_rules = rules(catalog, session, &value, "INGRESS")?,
            "BLOCKED_NETWORK_RULE_LIST" => policy.blocked_rules = rules(catalog, session, &value, "INGRESS")?,
            "ALLOWED_IP_LIST" => policy.allowed = addresses(&value)?,
            "BLOCKED_IP_LIST" => policy.blocked = addresses(&value)?,
            "COMMENT" => *comment = Some(value.one("COMMENT")?),
            other => return Err(unknown(other)),
        }
    }
    Ok(())
}

fn external_access(catalog: &Catalog, session: &Session, words: &Words, at: usize) -> Result<Defined> {
    let (mut allowed, mut enabled, mut comment) = (None, None, None);
    for (name, value) in options(words, at)? {
        match name.as_str() {
            "ALLOWED_NETWORK_RULES" => allowed = Some(rules(catalog, session, &value, "EGRESS")?),
            "ENABLED" => enabled = Some(value.word("ENABLED", &["TRUE", "FALSE"])? == "TRUE"),
            "COMMENT" => comment = Some(value.one("COMMENT")?),
            // Secrets and what gives them are for code that runs in the service.
            "ALLOWED_API_AUTHENTICATION_INTEGRATIONS" | "ALLOWED_AUTHENTICATION_SECRETS" => {}
            other => return Err(unknown(other)),
        }
    }
    let missing = |what: &str| SqlError::syntax(format!("missing property '{what}' of an integration"));
    let allowed = allowed.ok_or_else(|| missing("ALLOWED_NETWORK_RULES"))?;
    let enabled = enabled.ok_or_else(|| missing("ENABLED"))?;
    let access = ExternalAccess {
        allowed_rules: allowed,
        enabled,
    };
    Ok((text(&access), comment))
}

fn alter(
    catalog: &Catalog,
    session: &Session,
    found: &Made,
    words: &Words,
    end: usize,
) -> Result<QueryResult> {
    let kind = found.place.kind;
    if words.are(end, &["UNSET", "COMMENT"]) && words.len() == end + 2 {
        catalog.alter_made(found.id, |made| {
            made.comment = None;
            Ok::<(), SqlError>(())
        })?;
        return Ok(executed());
    }
    if words.are(end, &["RENAME", "TO"]) && kind == MadeKind::NetworkPolicy && words.len() == end + 3 {
        let to = words
            .word(end + 2)
            .ok_or_else(|| SqlError::syntax("a name is missing"))?;
        if catalog.made(&Place::in_account(kind, to))?.is_some() {
            return Err(SqlError::exists(kind.sql(), to));
        }
        catalog.rename_policy(&found.place.name, to)?;
        return Ok(executed());
    }
    if !words.are(end, &["SET"]) {
        return Err(SqlError::unsupported(&format!(
            "this form of ALTER {}",
            kind.sql()
        )));
    }
    let said = options(words, end + 1)?;
    match kind {
        MadeKind::NetworkPolicy => {
            let mut policy = Policy::of(&found.definition)?;
            let mut comment = found.comment.clone();
            apply(catalog, session, &mut policy, &mut comment, said)?;
            put(catalog, found, text(&policy), comment)
        }
        MadeKind::NetworkRule => {
            let (mut rule, mut comment) = (Rule::of(&found.definition)?, found.comment.clone());
            for (name, value) in said {
                match name.as_str() {
                    "VALUE_LIST" => rule.values = value.texts(),
                    "COMMENT" => comment = Some(value.one("COMMENT")?),
                    other => return Err(unknown(other)),
                }
            }
            checked(&rule)?;
            put(catalog, found, text(&rule), comment)
        }
        _ => {
            let mut access = ExternalAccess::of(&found.definition)?;
            let mut comment = found.comment.clone();
            for (name, value) in said {
                match name.as_str() {
                    "ALLOWED_NETWORK_RULES" => {
                        access.allowed_rules = rules(catalog, session, &value, "EGRESS")?
                    }
                    "ENABLED" => access.enabled = value.word("ENABLED", &["TRUE", "FALSE"])? == "TRUE",
                    "COMMENT" => comment = Some(value.one("COMMENT")?),
                    other => return Err(unknown(other)),
                }
            }
            put(catalog, found, text(&access), comment)
        }
    }
}

fn put(catalog: &Catalog, found: &Made, definition: String, comment: Option<String>) -> Result<QueryResult> {
    catalog.alter_made(found.id, |made| {
        // What is put was made of what was found.
        if (&made.definition, &made.comment) != (&found.definition, &found.comment) {
            let message = format!(
                "{} was changed by another statement meanwhile; run it again",
                made.place.name
            );
            return Err(SqlError::running(message));
        }
        (made.definition, made.comment) = (definition, comment);
        Ok::<(), SqlError>(())
    })?;
    Ok(executed())
}

/// A rule that a policy or an integration names, and a policy that is active, stay.
fn refuse_used(catalog: &Catalog, found: &Made) -> Result<()> {
    let place = &found.place;
    let used = |by: &str| {
        SqlError::syntax(format!(
            "Cannot drop {} {}: it is used by {by}",
            place.kind.sql().to_lowercase(),
            place.name
        ))
    };
    match place.kind {
        MadeKind::NetworkPolicy if catalog.is_policy_active(&place.name)? => {
            Err(used("an account or a user; UNSET NETWORK_POLICY first"))
        }
        MadeKind::NetworkRule => {
            let path = [&place.database, &place.schema, &place.name];
            for policy in catalog.all_made(MadeKind::NetworkPolicy, None, None, None)? {
                if Policy::of(&policy.definition)?
                    .rules()
                    .any(|rule| rule.each_ref() == path)
                {
                    return Err(used(&format!("the network policy {}", policy.place.name)));
                }
            }
            for integration in catalog.all_made(MadeKind::ExternalAccess, None, None, None)? {
                let access = ExternalAccess::of(&integration.definition)?;
                if access.allowed_rules.iter().any(|rule| rule.each_ref() == path) {
                    return Err(used(&format!("the integration {}", integration.place.name)));
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The policy that a statement names.
pub(super) fn policy(catalog: &Catalog, name: &str) -> Result<()> {
    let place = Place::in_account(MadeKind::NetworkPolicy, name);
    match catalog.made(&place)? {
        Some(_) => Ok(()),
        None => Err(SqlError::missing("Network policy", name)),
    }
}

/// `ALTER ACCOUNT SET NETWORK_POLICY = p` and UNSET. One that would shut out who asks is refused.
fn of_account(catalog: &Catalog, session: &Session, words: &Words) -> Result<QueryResult> {
    Access::of(catalog, session).account("CREATE NETWORK POLICY")?;
    if words.are(2, &["UNSET"]) && words.len() == 4 {
        catalog.set_network_policy(Holder::Account, None)?;
        return Ok(executed());
    }
    let said = words.are(2, &["SET"]) && words.get(4) == Some(&Token::Eq) && words.len() == 6;
    let name = words.word(5).or(words.text(5)).filter(|_| said);
    let name = name.ok_or_else(|| SqlError::syntax("SET NETWORK_POLICY = a policy is expected"))?;
    policy(catalog, name)?;
    let from = Ipv4Addr::LOCALHOST;
    if !catalog.policy_lets_in(name, from)? {
        return Err(SqlError::syntax(format!(
            "Network policy {name} cannot be activated. Requestor IP address, {from}, must be included in its allowed list"
        )));
    }
    catalog.set_network_policy(Holder::Account, Some(name))?;
    Ok(executed())
}
