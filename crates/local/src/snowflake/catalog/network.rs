//! Network policies: which one is active for whom, and whom it lets in.
//!
//! Rules and policies are objects of [`super::made`]; what they say is here, as JSON in their definitions. A user's policy goes before
//! the account's. Who is in the blocked list is refused; who is not in the allowed list is refused, where there is one.
//!
//! Source: Snowflake documentation, "Controlling network traffic with network policies", "CREATE NETWORK RULE". Rules of a TYPE other
//! than IPV4 let nobody in here: every client comes from a loopback address.

use std::net::Ipv4Addr;

use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Serialize};

use super::made::{MadeKind, Place};
use super::{Catalog, write};
use crate::{Error, Result};

/// Run at each open. The policy of the account stands under no name.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS active_policies (user TEXT PRIMARY KEY, policy TEXT NOT NULL) STRICT;
";

/// Whose policy is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder<'a> {
    /// Everybody who has none.
    Account,
    /// A user.
    User(&'a str),
}

impl Holder<'_> {
    fn key(&self) -> &str {
        match self {
            Self::Account => "",
            Self::User(name) => name,
        }
    }
}

/// What a network rule says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Rule {
    pub(crate) r#type: String,
    pub(crate) mode: String,
    pub(crate) values: Vec<String>,
}

/// What a network policy says. Rules stand by database, schema and name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Policy {
    pub(crate) allowed_rules: Vec<[String; 3]>,
    pub(crate) blocked_rules: Vec<[String; 3]>,
    pub(crate) allowed: Vec<String>,
    pub(crate) blocked: Vec<String>,
}

/// What an external access integration says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ExternalAccess {
    pub(crate) allowed_rules: Vec<[String; 3]>,
    pub(crate) enabled: bool,
}

/// A definition as JSON.
pub(crate) fn text(definition: &impl Serialize) -> String {
    serde_json::to_string(definition).expect("texts and lists are always JSON")
}

fn parsed<T: for<'de> Deserialize<'de>>(definition: &str) -> Result<T> {
    serde_json::from_str(definition).map_err(|error| Error::Damaged(format!("a network object: {error}")))
}

impl Rule {
    pub(crate) fn of(definition: &str) -> Result<Self> {
        parsed(definition)
    }
}

impl ExternalAccess {
    pub(crate) fn of(definition: &str) -> Result<Self> {
        parsed(definition)
    }
}

impl Policy {
    pub(crate) fn of(definition: &str) -> Result<Self> {
        parsed(definition)
    }

    /// The rules in either list.
    pub(crate) fn rules(&self) -> impl Iterator<Item = &[String; 3]> {
        self.allowed_rules.iter().chain(&self.blocked_rules)
    }
}

/// Whether an address is in a range such as `192.0.2.0/24`, or is the one written; `None` if that is neither.
pub(crate) fn contains(range: &str, address: Ipv4Addr) -> Option<bool> {
    let (first, bits) = match range.split_once('/') {
        Some((first, bits)) => (first, bits.parse().ok().filter(|bits| *bits <= 32)?),
        None => (range, 32),
    };
    let first: Ipv4Addr = first.trim().parse().ok()?;
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    Some((first.to_bits() ^ address.to_bits()) & mask == 0)
}

impl Catalog {
    /// Activates a policy, or none.
    pub(crate) fn set_network_policy(&self, holder: Holder<'_>, policy: Option<&str>) -> Result<()> {
        let connection = self.lock();
        match policy {
            Some(policy) => connection.execute(
                "INSERT OR REPLACE INTO active_policies (user, policy) VALUES (?1, ?2)",
                [holder.key(), policy],
            )?,
            None => connection.execute("DELETE FROM active_policies WHERE user = ?1", [holder.key()])?,
        };
        Ok(())
    }

    /// The policy that was activated for this one itself.
    pub(crate) fn network_policy(&self, holder: Holder<'_>) -> Result<Option<String>> {
        active(&self.lock(), holder)
    }

    /// Whether a policy is active for anybody.
    pub(crate) fn is_policy_active(&self, policy: &str) -> Result<bool> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached("SELECT 1 FROM active_policies WHERE policy = ?1")?;
        Ok(statement.exists([policy])?)
    }

    /// Whether the policy that counts for a user lets it in from this address.
    pub(crate) fn lets_in(&self, user: &str, from: Ipv4Addr) -> Result<bool> {
        let name = {
            let connection = self.lock();
            match active(&connection, Holder::User(user))? {
                Some(name) => Some(name),
                None => active(&connection, Holder::Account)?,
            }
        };
        match name {
            Some(name) => self.policy_lets_in(&name, from),
            None => Ok(true),
        }
    }

    /// Whether a policy lets in who comes from this address.
    pub(crate) fn policy_lets_in(&self, name: &str, from: Ipv4Addr) -> Result<bool> {
        let place = Place::in_account(MadeKind::NetworkPolicy, name);
        let Some(made) = self.made(&place)? else {
            return Ok(true);
        };
        let policy = Policy::of(&made.definition)?;
        let is_in = |addresses: &[String], rules: &[[String; 3]]| -> Result<bool> {
            if addresses.iter().any(|range| contains(range, from) == Some(true)) {
                return Ok(true);
            }
            for [database, schema, name] in rules {
                let place = Place::in_schema(MadeKind::NetworkRule, database, schema, name);
                let Some(made) = self.made(&place)? else {
                    continue;
                };
                let rule = Rule::of(&made.definition)?;
                let holds = |range: &String| contains(range, from) == Some(true);
                if rule.r#type == "IPV4" && rule.values.iter().any(holds) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        if is_in(&policy.blocked, &policy.blocked_rules)? {
            return Ok(false);
        }
        let names_nobody = policy.allowed.is_empty() && policy.allowed_rules.is_empty();
        Ok(names_nobody || is_in(&policy.allowed, &policy.allowed_rules)?)
    }

    /// Gives a policy another name, wherever it is active.
    pub(crate) fn rename_policy(&self, from: &str, to: &str) -> Result<()> {
        let mut connection = self.lock();
        let transaction = write(&mut connection)?;
        transaction.execute(
            "UPDATE made_objects SET name = ?2 WHERE kind = 'NETWORK POLICY' AND name = ?1",
            [from, to],
        )?;
        transaction.execute(
            "UPDATE active_policies SET policy = ?2 WHERE policy = ?1",
            [from, to],
        )?;
        transaction.commit()?;
        self.changed();
        Ok(())
    }
}

fn active(connection: &Connection, holder: Holder<'_>) -> Result<Option<String>> {
    Ok(connection
        .prepare_cached("SELECT policy FROM active_policies WHERE user = ?1")?
        .query_row([holder.key()], |row| row.get(0))
        .optional()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_contain_their_addresses_and_no_others() {
        let here = Ipv4Addr::LOCALHOST;
        for (range, wanted) in [
            ("127.0.0.1", Some(true)),
            ("127.0.0.1/32", Some(true)),
            ("127.0.0.0/8", Some(true)),
            ("0.0.0.0/0", Some(true)),
            ("127.0.0.2", Some(false)),
            ("126.0.0.0/8", Some(false)),
            ("127.0.0.0/31", Some(true)),
            ("127.0.0.2/31", Some(false)),
            ("127.0.0.1/33", None),
            ("127.0.0", None),
            ("::1", None),
            ("localhost", None),
        ] {
            assert_eq!(contains(range, here), wanted, "{range}");
        }
    }
}
