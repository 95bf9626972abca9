//! Programmatic access tokens by SQL: ALTER USER ... ADD, ROTATE, MODIFY, REMOVE PROGRAMMATIC ACCESS TOKEN, and SHOW USER
//! PROGRAMMATIC ACCESS TOKENS.
//!
//! Source: Snowflake documentation, the pages of these statements: at most 15 tokens of a user, 1 to 365 days (15 without
//! DAYS_TO_EXPIRY); a rotated token goes on for 24 hours unless EXPIRE_ROTATED_TOKEN_AFTER_HOURS says another time. The secret is
//! told once. A role that a token is restricted to must be the user's. What is taken and not used: the minutes for which a
//! network policy may be missing, since there are none here.

use super::access::Access;
use super::options::options;
use super::show::moment;
use super::words::Words;
use super::{QueryResult, Result, Session, SqlError, executed};
use crate::snowflake::auth::random_text;
use crate::snowflake::catalog::tokens::{AccessToken, digest};
use crate::snowflake::catalog::{Catalog, now_ms};

const MOST: usize = 15;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const HOUR_MS: i64 = 60 * 60 * 1000;
const DEFAULT_DAYS: i64 = 15;
/// Ended tokens are shown for this long.
const SHOWN_MS: i64 = 30 * DAY_MS;
const COLUMNS: [&str; 10] = [
    "name",
    "user_name",
    "role_restriction",
    "expires_at",
    "status",
    "comment",
    "created_on",
    "created_by",
    "mins_to_bypass_network_policy_requirement",
    "rotated_to",
];

/// Where what stands behind these words begins: PAT, or PROGRAMMATIC ACCESS TOKEN.
fn behind_pat(words: &Words, at: usize) -> Option<usize> {
    [&["PAT"][..], &["PROGRAMMATIC", "ACCESS", "TOKEN"]]
        .iter()
        .find(|phrase| words.are(at, phrase))
        .map(|phrase| at + phrase.len())
}

/// What an ALTER USER does with a token, and where the token's name begins.
fn action(words: &Words, at: usize) -> Option<(&'static str, usize)> {
    let verbs = ["ADD", "ROTATE", "MODIFY", "REMOVE"];
    let verb = verbs.into_iter().find(|verb| words.are(at, &[verb]))?;
    Some((verb, behind_pat(words, at + 1)?))
}

/// Whether ALTER USER goes on here with a token of whoever runs it, and names no user.
pub(super) fn is_of_oneself(words: &Words, at: usize) -> bool {
    action(words, at).is_some()
}

/// Runs the statement if it is about programmatic access tokens.
pub(super) fn run(catalog: &Catalog, session: &Session, words: &Words) -> Result<Option<QueryResult>> {
    if words.are(0, &["SHOW", "USER"]) {
        let plural = [&["PATS"][..], &["PROGRAMMATIC", "ACCESS", "TOKENS"]];
        let Some(plural) = plural.iter().find(|phrase| words.are(2, phrase)) else {
            return Ok(None);
        };
        return show(catalog, session, words, 2 + plural.len()).map(Some);
    }
    if !words.are(0, &["ALTER", "USER"]) {
        return Ok(None);
    }
    let is_lenient = words.are(2, &["IF", "EXISTS"]);
    let at = if is_lenient { 4 } else { 2 };
    let (user, at) = match action(words, at) {
        Some(_) => (session.user.clone(), at),
        None => (words.word(at).unwrap_or_default().to_owned(), at + 1),
    };
    let Some((verb, at)) = action(words, at) else {
        return Ok(None);
    };
    if !catalog.user_exists(&user)? {
        return if is_lenient {
            Ok(Some(executed()))
        } else {
            Err(SqlError::missing("User", &user))
        };
    }
    let skipped = [&["IF", "NOT", "EXISTS"][..], &["IF", "EXISTS"]];
    let skipped = skipped.iter().find(|phrase| words.are(at, phrase));
    let at = at + skipped.map_or(0, |phrase| phrase.len());
    let name = words
        .word(at)
        .ok_or_else(|| SqlError::syntax("a token's name is missing"))?;
    let tokens = catalog.tokens(&user)?;
    let known = tokens.iter().find(|token| token.name == name);
    let missing = || SqlError::missing("Programmatic access token", name);
    let done = match (verb, known) {
        ("ADD", Some(_)) if skipped.is_some() => Ok(executed()),
        ("ADD", Some(_)) => Err(SqlError::exists("Programmatic access token", name)),
        ("ADD", None) if tokens.len() >= MOST => Err(SqlError::syntax(format!(
            "user {user} has {MOST} programmatic access tokens, which is the most"
        ))),
        ("ADD", None) => add(catalog, session, &user, name, words, at + 1),
        (_, None) if skipped.is_some() => Ok(executed()),
        (_, None) => Err(missing()),
        ("REMOVE", Some(_)) => catalog
            .remove_token(&user, name)
            .map(|_| executed())
            .map_err(Into::into),
        ("ROTATE", Some(old)) => rotate(catalog, session, old, words, at + 1),
        (_, Some(_)) => modify(catalog, &user, name, words, at + 1),
    };
    done.map(Some)
}

fn add(
    catalog: &Catalog,
    session: &Session,
    user: &str,
    name: &str,
    words: &Words,
    at: usize,
) -> Result<QueryResult> {
    let now = now_ms();
    let mut token = AccessToken {
        user: user.to_owned(),
        name: name.to_owned(),
        role_restriction: None,
        days: DEFAULT_DAYS,
        expires_on_ms: 0,
        is_disabled: false,
        comment: None,
        created_on_ms: now,
        created_by: session.user.clone(),
        rotated_to: None,
    };
    for (option, value) in options(words, at)? {
        match option.as_str() {
            "ROLE_RESTRICTION" => token.role_restriction = Some(value.folded(&option)?),
            "DAYS_TO_EXPIRY" => token.days = value.whole(&option, 1..=365)?,
            "MINS_TO_BYPASS_NETWORK_POLICY_REQUIREMENT" => drop(value.whole(&option, 1..=1440)?),
            "COMMENT" => token.comment = Some(value.one(&option)?),
            other => return Err(SqlError::unsupported(&format!("the option {other} of a token"))),
        }
    }
    if let Some(role) = &token.role_restriction
        && !catalog.user_has_role(user, role)?
    {
        return Err(SqlError::missing("Role", role));
    }
    token.expires_on_ms = now + token.days * DAY_MS;
    let secret = random_text("fzpat")?;
    catalog.add_token(&token, &digest(&secret), None)?;
    let row = vec![Some(token.name), Some(secret)];
    Ok(QueryResult::texts(&["token_name", "token_secret"], vec![row]))
}

fn rotate(
    catalog: &Catalog,
    session: &Session,
    old: &AccessToken,
    words: &Words,
    at: usize,
) -> Result<QueryResult> {
    let mut hours = 24;
    for (option, value) in options(words, at)? {
        match option.as_str() {
            "EXPIRE_ROTATED_TOKEN_AFTER_HOURS" => hours = value.whole(&option, 0..=i64::from(u16::MAX))?,
            other => {
                return Err(SqlError::unsupported(&format!(
                    "the option {other} of a rotation"
                )));
            }
        }
    }
    let now = now_ms();
    let rotated = format!("{}_ROTATED_{now}", old.name);
    let new = AccessToken {
        expires_on_ms: now + old.days * DAY_MS,
        created_on_ms: now,
        created_by: session.user.clone(),
        rotated_to: None,
        ..old.clone()
    };
    let secret = random_text("fzpat")?;
    catalog.add_token(&new, &digest(&secret), Some((&rotated, now + hours * HOUR_MS)))?;
    let row = vec![Some(new.name), Some(secret), Some(rotated)];
    let columns = ["token_name", "token_secret", "rotated_token_name"];
    Ok(QueryResult::texts(&columns, vec![row]))
}

fn modify(catalog: &Catalog, user: &str, name: &str, words: &Words, at: usize) -> Result<QueryResult> {
    let options = match words.are(at, &["SET"]) {
        true => options(words, at + 1)?,
        false => Vec::new(),
    };
    let [(option, value)] = &options[..] else {
        return Err(SqlError::unsupported(
            "this form of MODIFY PROGRAMMATIC ACCESS TOKEN",
        ));
    };
    if option != "DISABLED" {
        return Err(SqlError::unsupported(
            "another change of a token than SET DISABLED",
        ));
    }
    catalog.disable_token(user, name, value.truth(option)?)?;
    Ok(executed())
}

fn show(catalog: &Catalog, session: &Session, words: &Words, at: usize) -> Result<QueryResult> {
    let user = if words.are(at, &["FOR", "USER"]) {
        let user = words.word(at + 2);
        let user = user.ok_or_else(|| SqlError::syntax("a user's name is missing"))?;
        Access::of(catalog, session).user(user)?;
        if !catalog.user_exists(user)? {
            return Err(SqlError::missing("User", user));
        }
        user.to_owned()
    } else {
        session.user.clone()
    };
    let now = now_ms();
    let status = |token: &AccessToken| match token {
        token if token.expires_on_ms <= now => "EXPIRED",
        token if token.is_disabled => "DISABLED",
        _ => "ACTIVE",
    };
    let rows = catalog.tokens(&user)?;
    let rows = rows
        .into_iter()
        .filter(|token| token.expires_on_ms > now - SHOWN_MS);
    let rows = rows.map(|token| {
        vec![
            Some(token.name.clone()),
            Some(token.user.clone()),
            token.role_restriction.clone(),
            moment(token.expires_on_ms),
            Some(status(&token).to_owned()),
            token.comment.clone(),
            moment(token.created_on_ms),
            Some(token.created_by.clone()),
            None,
            token.rotated_to,
        ]
    });
    Ok(QueryResult::texts(&COLUMNS, rows.collect()))
}
