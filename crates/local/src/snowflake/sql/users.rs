//! Users by SQL: CREATE, ALTER, DROP, SHOW, DESCRIBE USER.
//!
//! Source: Snowflake documentation, "CREATE USER", "ALTER USER". A user has a password, one or two RSA keys, or both; a user of
//! TYPE = SERVICE has no password. A new user has the role PUBLIC alone; sessions begin with its DEFAULT_ROLE if it was granted
//! that one too. The other defaults (warehouse, namespace) are taken and not used.

use super::access::Access;
use super::show::moment;
use super::words::Words;
use super::{QueryResult, Result, Session, SqlError, network, options};
use crate::snowflake::catalog::Catalog;
use crate::snowflake::catalog::network::Holder;
use crate::snowflake::keys;
use crate::snowflake::passwords;

/// Options that are taken and not used.
const UNUSED: [&str; 11] = [
    "DEFAULT_WAREHOUSE",
    "DEFAULT_NAMESPACE",
    "DEFAULT_SECONDARY_ROLES",
    "LOGIN_NAME",
    "DISPLAY_NAME",
    "FIRST_NAME",
    "LAST_NAME",
    "EMAIL",
    "COMMENT",
    "MUST_CHANGE_PASSWORD",
    "DISABLED",
];

#[derive(Default)]
struct Options {
    password: Option<String>,
    /// By slot: `Some(None)` unsets.
    keys: [Option<Option<String>>; 2],
    is_service: bool,
    /// `Some(None)` unsets.
    default_role: Option<Option<String>>,
    /// `Some(None)` unsets.
    network_policy: Option<Option<String>>,
}

/// Runs the statement if it is about users.
pub(super) fn run(catalog: &Catalog, session: &Session, words: &Words) -> Result<Option<QueryResult>> {
    let replaces = words.are(1, &["OR", "REPLACE", "USER"]);
    let verb = words.word(0).unwrap_or_default();
    if words.are(0, &["SHOW", "USERS"]) {
        return show(catalog).map(Some);
    }
    if !replaces && !words.are(1, &["USER"]) {
        return Ok(None);
    }
    let at = if replaces { 4 } else { 2 };
    let skipped = [&["IF", "NOT", "EXISTS"][..], &["IF", "EXISTS"]];
    let skipped = skipped
        .iter()
        .find(|skipped| words.are(at, skipped))
        .map_or(0, |skipped| skipped.len());
    let at = at + skipped;
    let name = words
        .word(at)
        .ok_or_else(|| SqlError::syntax("a user's name is missing"))?
        .to_owned();
    let there = catalog.user_exists(&name)?;
    let missing = || SqlError::missing("User", &name);
    let done = |text: String| Ok(Some(QueryResult::status(text)));
    match verb {
        "CREATE" => {
            if there && skipped > 0 {
                return done(format!("{name} already exists, statement succeeded."));
            }
            if there && !replaces {
                return Err(SqlError::exists("USER", &name));
            }
            let options = set(words, at + 1)?;
            let stored = read(catalog, session, &options)?;
            if there {
                catalog.drop_user(&name)?;
            }
            catalog.create_user(&name)?;
            store(catalog, &name, stored)?;
            done(format!("User {name} successfully created."))
        }
        "ALTER" => {
            if !there {
                return if skipped > 0 {
                    done("Statement executed successfully.".to_owned())
                } else {
                    Err(missing())
                };
            }
            let options = match words.word(at + 1) {
                Some("SET") => set(words, at + 2)?,
                Some("UNSET") => unset(words, at + 2)?,
                _ => return Err(SqlError::unsupported("this form of ALTER USER")),
            };
            let stored = read(catalog, session, &options)?;
            store(catalog, &name, stored)?;
            done("Statement executed successfully.".to_owned())
        }
        "DROP" => match (catalog.drop_user(&name)?, skipped > 0) {
            (true, _) => done(format!("{name} successfully dropped.")),
            (false, true) => done(format!(
                "Drop statement executed successfully ({name} already dropped)."
            )),
            (false, false) => Err(missing()),
        },
        "DESC" | "DESCRIBE" if there => describe(catalog, &name).map(Some),
        "DESC" | "DESCRIBE" => Err(missing()),
        _ => Ok(None),
    }
}

fn set(words: &Words, at: usize) -> Result<Options> {
    let mut options = Options::default();
    for (option, value) in options::options(words, at)? {
        match option.as_str() {
            "PASSWORD" => options.password = Some(value.quoted(&option)?),
            "RSA_PUBLIC_KEY" => options.keys[0] = Some(Some(value.quoted(&option)?)),
            "RSA_PUBLIC_KEY_2" => options.keys[1] = Some(Some(value.quoted(&option)?)),
            "DEFAULT_ROLE" => options.default_role = Some(Some(value.folded(&option)?)),
            "NETWORK_POLICY" => options.network_policy = Some(Some(value.one(&option)?)),
            "TYPE" => {
                let kind = value.word(&option, &["PERSON", "SERVICE", "LEGACY_SERVICE"])?;
                options.is_service = kind == "SERVICE";
            }
            // A name of several parts, or a list.
            option if UNUSED.contains(&option) => {}
            other => return Err(SqlError::unsupported(&format!("the option {other} of a user"))),
        }
    }
    if options.is_service && options.password.is_some() {
        return Err(SqlError::syntax("a user of TYPE = SERVICE has no password"));
    }
    Ok(options)
}

fn unset(words: &Words, at: usize) -> Result<Options> {
    let mut options = Options::default();
    match words.word(at) {
        Some("RSA_PUBLIC_KEY") => options.keys[0] = Some(None),
        Some("RSA_PUBLIC_KEY_2") => options.keys[1] = Some(None),
        Some("DEFAULT_ROLE") => options.default_role = Some(None),
        Some("NETWORK_POLICY") => options.network_policy = Some(None),
        other => {
            let what = other.unwrap_or("what is written here");
            return Err(SqlError::unsupported(&format!("UNSET {what} of a user")));
        }
    }
    Ok(options)
}

/// What is stored of them, checked before anything is.
struct Stored {
    password: Option<Vec<u8>>,
    default_role: Option<Option<String>>,
    network_policy: Option<Option<String>>,
    keys: [Option<Option<Vec<u8>>>; 2],
}

fn read(catalog: &Catalog, session: &Session, options: &Options) -> Result<Stored> {
    if let Some(policy) = &options.network_policy {
        // A user changes itself, but not where it may come from.
        Access::of(catalog, session).account("CREATE USER")?;
        if let Some(policy) = policy {
            network::policy(catalog, policy)?;
        }
    }
    let key = |text: &Option<Option<String>>| -> Result<Option<Option<Vec<u8>>>> {
        let Some(text) = text else { return Ok(None) };
        let Some(text) = text else { return Ok(Some(None)) };
        let public = keys::read_public(text).map_err(|error| SqlError {
            code: "002003",
            sql_state: "22023",
            message: format!(
                "SQL compilation error: New public key rejected by current policy. Reason: {error}"
            ),
        })?;
        Ok(Some(Some(public)))
    };
    Ok(Stored {
        default_role: options.default_role.clone(),
        network_policy: options.network_policy.clone(),
        password: options.password.as_deref().map(passwords::stored).transpose()?,
        keys: [key(&options.keys[0])?, key(&options.keys[1])?],
    })
}

fn store(catalog: &Catalog, name: &str, stored: Stored) -> Result<()> {
    if let Some(role) = &stored.default_role {
        catalog.set_default_role(name, role.as_deref())?;
    }
    if let Some(policy) = &stored.network_policy {
        catalog.set_network_policy(Holder::User(name), policy.as_deref())?;
    }
    if let Some(password) = stored.password {
        catalog.set_password(name, &password)?;
    }
    for (slot, key) in (1..).zip(stored.keys) {
        match key {
            None => {}
            Some(None) => catalog.remove_key(name, slot)?,
            Some(Some(public)) => catalog.put_user(name, slot, &keys::fingerprint(&public), &public)?,
        }
    }
    Ok(())
}

fn show(catalog: &Catalog) -> Result<QueryResult> {
    let rows = catalog.users()?.into_iter().map(|user| {
        let has_keys = (!user.fingerprints.is_empty()).to_string();
        vec![Some(user.name), moment(user.created_on_ms), Some(has_keys)]
    });
    Ok(QueryResult::texts(
        &["name", "created_on", "has_rsa_public_key"],
        rows.collect(),
    ))
}

fn describe(catalog: &Catalog, name: &str) -> Result<QueryResult> {
    let row = |property: &str, value: Option<String>| vec![Some(property.to_owned()), value];
    let rows = vec![
        row("NAME", Some(name.to_owned())),
        row("RSA_PUBLIC_KEY_FP", catalog.fingerprint(name, 1)?),
        row("RSA_PUBLIC_KEY_2_FP", catalog.fingerprint(name, 2)?),
        row("NETWORK_POLICY", catalog.network_policy(Holder::User(name))?),
    ];
    Ok(QueryResult::texts(&["property", "value"], rows))
}
