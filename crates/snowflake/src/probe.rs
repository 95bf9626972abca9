//! What a user and a role see and may do, asked in SQL without changing anything.
//!
//! How it works: SHOW, DESCRIBE and CURRENT_ROLE alone, none of which wants a warehouse (Snowflake documentation, "Overview of
//! warehouses": a warehouse is for queries and DML). What a role does not see does not exist for it, so a name that is not
//! listed may be missing or out of its sight; a grant on something within it proves that it is there.
//!
//! What it guarantees: no statement of it makes, changes or drops anything. What it does not: it judges nothing.

mod copy;
mod key;
mod name;
mod shown;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use frazil_model::{Clock, Random};
use reqwest::header::DATE;

use crate::client::SnowflakeConfig;
use crate::error::Error;
use crate::http;
use crate::sql::SqlClient;

pub use copy::{Copy, CopyShape};
pub use key::public_key;
pub use name::{path_of, quoted, quoted_path};
pub use shown::{ShownColumn, ShownPipe, ShownTable, TableKind};

use shown::Shown;

/// Roles whose grants are asked for, on the way up from one.
const MOST_ROLES: usize = 64;
/// What every role is a member of.
const PUBLIC: &str = "PUBLIC";

/// Who a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whoami {
    /// The user.
    pub user: String,
    /// The role: the one that was asked for, else the user's default one, else PUBLIC.
    pub role: String,
}

/// A privilege of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Such as `USAGE`, `OWNERSHIP`.
    pub privilege: String,
    /// The kind of the object, with spaces: `EXTERNAL VOLUME`.
    pub on: String,
    /// The object's name, in parts.
    pub name: Vec<String>,
}

/// What a role may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// What was granted to the role itself.
    pub direct: Vec<Grant>,
    /// What it has from a role that it has, by that role's name.
    pub inherited: Vec<(String, Grant)>,
}

/// A name that was looked for, letter by letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight<T> {
    /// It is there.
    Seen(T),
    /// It is not, and these are, which differ from it in the case of letters alone.
    OtherCase(Vec<String>),
    /// The session sees nothing of this name.
    Unseen,
}

impl Grant {
    fn is_on(&self, kind: &str, path: &[&str]) -> bool {
        // Iceberg and interactive tables are tables.
        (self.on == kind || (kind == "TABLE" && self.on.ends_with(" TABLE"))) && self.is_named(path)
    }

    fn is_named(&self, path: &[&str]) -> bool {
        self.name == path || self.name.join(".") == path.join(".")
    }
}

/// How a role came to a privilege.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held<'a> {
    /// It was granted to the role itself, or the role owns the object.
    Direct,
    /// Only a role that it has was granted it.
    Inherited(&'a str),
    /// It has it not.
    Not,
}

impl Grants {
    /// How the role has a privilege on an object; its owner has every one.
    #[must_use]
    pub fn held(&self, privilege: &str, kind: &str, path: &[&str]) -> Held<'_> {
        let fits = |grant: &Grant| {
            (grant.privilege == privilege || grant.privilege == "OWNERSHIP") && grant.is_on(kind, path)
        };
        if self.direct.iter().any(fits) {
            return Held::Direct;
        }
        let inherited = self.inherited.iter().find(|(_, grant)| fits(grant));
        inherited.map_or(Held::Not, |(role, _)| Held::Inherited(role))
    }

    /// Whether a grant on the object, or on something within it, proves that it is there.
    #[must_use]
    pub fn prove(&self, path: &[&str]) -> bool {
        let inherited = self.inherited.iter().map(|(_, grant)| grant);
        self.direct.iter().chain(inherited).any(|grant| {
            let begins =
                |name: &[String]| name.len() >= path.len() && name.iter().zip(path).all(|(a, b)| a == b);
            let on_account = !matches!(
                grant.on.as_str(),
                "DATABASE"
                    | "SCHEMA"
                    | "PIPE"
                    | "TABLE"
                    | "ICEBERG TABLE"
                    | "INTERACTIVE TABLE"
                    | "VIEW"
                    | "STAGE"
            );
            !on_account && begins(&grant.name)
        })
    }
}

/// A session that looks around.
#[derive(Debug)]
pub struct Probe {
    sql: SqlClient,
}

impl Probe {
    /// A session of the configuration's user and role, outside of any database; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::BadKey`], [`Error::BadConfig`].
    pub fn new(
        config: &SnowflakeConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, Error> {
        // A session in a database that is not there would be refused as a whole.
        let outside = SnowflakeConfig {
            database: String::new(),
            schema: String::new(),
            ..config.clone()
        };
        let sql = SqlClient::new(outside, clock, random)?;
        Ok(Self { sql })
    }

    async fn ask(&self, statement: &str) -> Result<Shown, Error> {
        Ok(Shown(self.sql.execute(statement).await?))
    }

    /// What is listed; nothing where the session may not list it.
    async fn list(&self, statement: &str) -> Result<Shown, Error> {
        match self.ask(statement).await {
            Err(Error::Sql { code, message }) => {
                tracing::debug!(code, message, "what was asked for cannot be listed");
                Ok(Shown::default())
            }
            other => other,
        }
    }

    /// Logs in.
    ///
    /// # Errors
    /// Those of any call; [`Error::Unauthorized`] where key or role are refused, [`Error::Sql`] where only the role is.
    pub async fn whoami(&self) -> Result<Whoami, Error> {
        let rows = self.ask("SELECT CURRENT_USER(), CURRENT_ROLE()").await?.0.rows;
        match rows.into_iter().next().as_deref() {
            Some([Some(user), role]) => Ok(Whoami {
                user: user.clone(),
                role: role.clone().unwrap_or_else(|| PUBLIC.to_owned()),
            }),
            _ => Err(Error::BadAnswer {
                call: "SELECT CURRENT_USER()",
                detail: "no user".to_owned(),
            }),
        }
    }

    /// The roles that were granted to a user.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn roles_of(&self, user: &str) -> Result<Vec<String>, Error> {
        let shown = self
            .list(&format!("SHOW GRANTS TO USER {}", quoted(user)))
            .await?;
        Ok(shown.texts("role"))
    }

    async fn grants_to(&self, role: &str) -> Result<Option<Vec<Grant>>, Error> {
        match self.ask(&format!("SHOW GRANTS TO ROLE {}", quoted(role))).await {
            Ok(shown) => Ok(Some(shown.grants())),
            Err(Error::Sql { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a role may do, itself and by the roles that it has; none where its grants cannot be listed.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn grants(&self, role: &str) -> Result<Option<Grants>, Error> {
        let Some(direct) = self.grants_to(role).await? else {
            return Ok(None);
        };
        let of = |grants: &[Grant]| -> Vec<String> {
            let roles = grants
                .iter()
                .filter(|grant| grant.on == "ROLE" && grant.privilege == "USAGE");
            roles.filter_map(|grant| grant.name.first().cloned()).collect()
        };
        let mut waiting: VecDeque<String> = of(&direct).into();
        waiting.push_back(PUBLIC.to_owned());
        let mut known = HashSet::from([role.to_owned()]);
        let mut inherited = Vec::new();
        while let Some(next) = waiting.pop_front() {
            if known.len() >= MOST_ROLES || !known.insert(next.clone()) {
                continue;
            }
            let grants = self.grants_to(&next).await?.unwrap_or_default();
            waiting.extend(of(&grants));
            inherited.extend(grants.into_iter().map(|grant| (next.clone(), grant)));
        }
        Ok(Some(Grants { direct, inherited }))
    }

    /// A database.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn database(&self, name: &str) -> Result<Sight<()>, Error> {
        let shown = self.list(&format!("SHOW DATABASES LIKE {}", like(name))).await?;
        Ok(shown.sight(name).map(|_| ()))
    }

    /// A schema.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn schema(&self, database: &str, name: &str) -> Result<Sight<()>, Error> {
        let statement = format!(
            "SHOW SCHEMAS LIKE {} IN DATABASE {}",
            like(name),
            quoted(database)
        );
        Ok(self.list(&statement).await?.sight(name).map(|_| ()))
    }

    /// A table.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn table(&self, database: &str, schema: &str, name: &str) -> Result<Sight<ShownTable>, Error> {
        let within = quoted_path(&[database, schema]);
        let shown = self
            .list(&format!("SHOW TABLES LIKE {} IN SCHEMA {within}", like(name)))
            .await?;
        let sight = shown.sight(name).map(|row| shown.table(row));
        let Sight::Seen(mut table) = sight else {
            return Ok(sight);
        };
        if table.kind == TableKind::Iceberg {
            let statement = format!("SHOW ICEBERG TABLES LIKE {} IN SCHEMA {within}", like(name));
            let shown = self.list(&statement).await?;
            if let Sight::Seen(row) = shown.sight(name) {
                table.volume = shown.text(row, "external_volume_name");
                table.catalog = shown.text(row, "catalog_name");
            }
        }
        Ok(Sight::Seen(table))
    }

    /// The names of the tables of a schema that the session sees.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn tables(&self, database: &str, schema: &str) -> Result<Vec<String>, Error> {
        let within = quoted_path(&[database, schema]);
        let shown = self.list(&format!("SHOW TABLES IN SCHEMA {within}")).await?;
        Ok(shown.texts("name"))
    }

    /// The columns of a table, in order.
    ///
    /// # Errors
    /// Those of any call; [`Error::Sql`] where the session may not describe it.
    pub async fn columns(&self, path: &[&str]) -> Result<Vec<ShownColumn>, Error> {
        Ok(self
            .ask(&format!("DESC TABLE {}", quoted_path(path)))
            .await?
            .columns())
    }

    /// A pipe.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn pipe(&self, database: &str, schema: &str, name: &str) -> Result<Sight<ShownPipe>, Error> {
        let within = quoted_path(&[database, schema]);
        let shown = self
            .list(&format!("SHOW PIPES LIKE {} IN SCHEMA {within}", like(name)))
            .await?;
        Ok(shown.sight(name).map(|row| shown.pipe(row)))
    }

    /// The names of the channels of a table's pipe; none where they cannot be listed.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn channels(&self, table: &[&str], pipe: &str) -> Result<Option<Vec<String>>, Error> {
        let statement = format!("SHOW CHANNELS IN TABLE {}", quoted_path(table));
        match self.ask(&statement).await {
            Ok(shown) => Ok(Some(shown.channels(pipe))),
            Err(Error::Sql { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl<T> Sight<T> {
    fn map<U>(self, with: impl FnOnce(T) -> U) -> Sight<U> {
        match self {
            Self::Seen(found) => Sight::Seen(with(found)),
            Self::OtherCase(names) => Sight::OtherCase(names),
            Self::Unseen => Sight::Unseen,
        }
    }
}

/// A pattern that admits a name, and little else: LIKE of a SHOW ignores case and takes `_` for any character.
fn like(name: &str) -> String {
    format!("'{}'", name.replace('\\', "\\\\").replace('\'', "''"))
}

/// The `Date` of an answer of the account to a plain request, as HTTP writes it; none where it has none.
///
/// # Errors
/// [`Error::Unreachable`], [`Error::BadConfig`].
pub async fn service_date(config: &SnowflakeConfig) -> Result<Option<String>, Error> {
    let address = config.address()?;
    let http = http::client(&address, config)?;
    let answer = http.get(address.clone()).send().await;
    let answer = answer.map_err(|error| http::unreachable(address.as_str(), &error))?;
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
    Ok(date.map(ToOwned::to_owned))
}
