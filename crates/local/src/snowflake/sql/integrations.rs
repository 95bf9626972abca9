//! Security integrations by SQL: CREATE, ALTER ... SET ENABLED, DROP, SHOW, and SYSTEM$SHOW_OAUTH_CLIENT_SECRETS.
//!
//! Source: Snowflake documentation, "CREATE SECURITY INTEGRATION (Snowflake OAuth)" and "(External OAuth)",
//! "SYSTEM$SHOW_OAUTH_CLIENT_SECRETS". Of the former a custom client with a secret; of the latter the issuer counts. Their other
//! options are taken and not used. What tokens they stand for is [`crate::snowflake::oauth`]'s.

use sqlparser::tokenizer::Token;

use super::access::Access;
use super::options::options;
use super::show::moment;
use super::words::Words;
use super::{QueryResult, Result, Session, SqlError, executed};
use crate::snowflake::auth::random_text;
use crate::snowflake::catalog::made::MadeKind;
use crate::snowflake::catalog::network::ExternalAccess;
use crate::snowflake::catalog::tokens::Integration;
use crate::snowflake::catalog::{Catalog, now_ms};

/// Options that are taken and not used, by how they begin.
const UNUSED: [&str; 9] = [
    "OAUTH_CLIENT_TYPE",
    "OAUTH_REDIRECT_URI",
    "OAUTH_ALLOW",
    "OAUTH_ENFORCE",
    "OAUTH_USE",
    "OAUTH_ISSUE",
    "EXTERNAL_OAUTH_",
    "PRE_AUTHORIZED_ROLES_LIST",
    "BLOCKED_ROLES_LIST",
];
/// 90 days.
const REFRESH_VALIDITY_S: i64 = 7_776_000;

/// Runs the statement if it is about integrations.
pub(super) fn run(catalog: &Catalog, session: &Session, words: &Words) -> Result<Option<QueryResult>> {
    if words.are(0, &["SHOW", "INTEGRATIONS"]) || words.are(0, &["SHOW", "SECURITY", "INTEGRATIONS"]) {
        return show(catalog).map(Some);
    }
    if words.are(0, &["SELECT", "SYSTEM$SHOW_OAUTH_CLIENT_SECRETS"]) {
        Access::of(catalog, session).account("CREATE INTEGRATION")?;
        return secrets(catalog, words).map(Some);
    }
    let replaces = words.are(1, &["OR", "REPLACE"]);
    let mut at = if replaces { 3 } else { 1 };
    at += usize::from(words.are(at, &["SECURITY"]));
    if !words.are(at, &["INTEGRATION"]) {
        return Ok(None);
    }
    at += 1;
    let skipped = [&["IF", "NOT", "EXISTS"][..], &["IF", "EXISTS"]];
    let skipped = skipped.iter().find(|phrase| words.are(at, phrase));
    at += skipped.map_or(0, |phrase| phrase.len());
    let name = words
        .word(at)
        .ok_or_else(|| SqlError::syntax("an integration's name is missing"))?;
    let there = catalog.integration(name)?.is_some();
    let done = |text: String| Ok(Some(QueryResult::status(text)));
    match words.word(0).unwrap_or_default() {
        "CREATE" if there && skipped.is_some() => {
            done(format!("{name} already exists, statement succeeded."))
        }
        "CREATE" if there && !replaces => Err(SqlError::exists("INTEGRATION", name)),
        "CREATE" => {
            let new = read(name, words, at + 1)?;
            if there {
                catalog.drop_integration(name)?;
            }
            catalog.put_integration(&new)?;
            done(format!("Integration {name} successfully created."))
        }
        "DROP" | "ALTER" if !there && skipped.is_some() => Ok(Some(executed())),
        "DROP" | "ALTER" if !there => Err(SqlError::missing("Integration", name)),
        "DROP" => {
            catalog.drop_integration(name)?;
            done(format!("{name} successfully dropped."))
        }
        "ALTER" if words.are(at + 1, &["SET", "ENABLED"]) && words.get(at + 3) == Some(&Token::Eq) => {
            let [(option, enabled)] = &options(words, at + 2)?[..] else {
                return Err(SqlError::unsupported("ENABLED beside another option"));
            };
            catalog.enable_integration(name, enabled.truth(option)?)?;
            Ok(Some(executed()))
        }
        "ALTER" => Err(SqlError::unsupported(
            "another change of an integration than SET ENABLED",
        )),
        _ => Ok(None),
    }
}

fn read(name: &str, words: &Words, at: usize) -> Result<Integration> {
    let mut new = Integration {
        name: name.to_owned(),
        is_external: false,
        is_enabled: false,
        issuer: None,
        client_id: random_text("fzclient")?,
        client_secret: random_text("fzsecret")?,
        refresh_validity_s: REFRESH_VALIDITY_S,
        is_single_use: false,
        comment: None,
        created_on_ms: now_ms(),
    };
    let mut kind = None;
    for (option, value) in options(words, at)? {
        match option.as_str() {
            "TYPE" => kind = Some(value.one(&option)?.to_uppercase()),
            "ENABLED" => new.is_enabled = value.truth(&option)?,
            "COMMENT" => new.comment = Some(value.one(&option)?),
            "EXTERNAL_OAUTH_ISSUER" => new.issuer = Some(value.one(&option)?),
            "OAUTH_CLIENT" if value.one(&option)?.eq_ignore_ascii_case("CUSTOM") => {}
            "OAUTH_CLIENT" => return Err(SqlError::unsupported("an OAUTH_CLIENT other than CUSTOM")),
            "OAUTH_SINGLE_USE_REFRESH_TOKENS_REQUIRED" => new.is_single_use = value.truth(&option)?,
            "OAUTH_REFRESH_TOKEN_VALIDITY" => {
                new.refresh_validity_s = value.whole(&option, 0..=i64::from(u32::MAX))?;
            }
            option if UNUSED.iter().any(|unused| option.starts_with(unused)) => {}
            other => {
                let what = format!("the option {other} of a security integration");
                return Err(SqlError::unsupported(&what));
            }
        }
    }
    match kind.as_deref() {
        Some("OAUTH") => {}
        Some("EXTERNAL_OAUTH") if new.issuer.is_some() => new.is_external = true,
        Some("EXTERNAL_OAUTH") => return Err(SqlError::syntax("EXTERNAL_OAUTH_ISSUER is missing")),
        _ => {
            return Err(SqlError::unsupported(
                "integrations of a TYPE other than OAUTH and EXTERNAL_OAUTH",
            ));
        }
    }
    Ok(new)
}

fn secrets(catalog: &Catalog, words: &Words) -> Result<QueryResult> {
    let ends = words.get(2) == Some(&Token::LParen) && words.get(4) == Some(&Token::RParen);
    let name = words.text(3).filter(|_| ends && words.len() == 5);
    let name = name.ok_or_else(|| SqlError::unsupported("this form of SYSTEM$SHOW_OAUTH_CLIENT_SECRETS"))?;
    let found = catalog.integration(name)?.filter(|found| !found.is_external);
    let found = found.ok_or_else(|| SqlError::missing("Integration", name))?;
    let told = serde_json::json!({
        "OAUTH_CLIENT_ID": found.client_id,
        "OAUTH_CLIENT_SECRET": found.client_secret,
    });
    let column = format!("SYSTEM$SHOW_OAUTH_CLIENT_SECRETS('{name}')");
    Ok(QueryResult::texts(&[&column], vec![vec![Some(told.to_string())]]))
}

/// Of external access integrations, too, which [`super::network`] makes.
fn show(catalog: &Catalog) -> Result<QueryResult> {
    let rows = catalog.integrations()?.into_iter().map(|found| {
        let kind = if found.is_external {
            "EXTERNAL_OAUTH - CUSTOM"
        } else {
            "OAUTH - CUSTOM"
        };
        vec![
            Some(found.name),
            Some(kind.to_owned()),
            Some("SECURITY".to_owned()),
            Some(found.is_enabled.to_string()),
            found.comment,
            moment(found.created_on_ms),
        ]
    });
    let external = catalog.all_made(MadeKind::ExternalAccess, None, None, None)?;
    let mut rows: Vec<_> = rows.collect();
    for made in external {
        let access = ExternalAccess::of(&made.definition)?;
        rows.push(vec![
            Some(made.place.name),
            Some("EXTERNAL_ACCESS".to_owned()),
            Some("EXTERNAL_ACCESS".to_owned()),
            Some(access.enabled.to_string()),
            made.comment,
            moment(made.created_on_ms),
        ]);
    }
    let columns = ["name", "type", "category", "enabled", "comment", "created_on"];
    Ok(QueryResult::texts(&columns, rows))
}
