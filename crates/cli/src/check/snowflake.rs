//! The account, who logs in and in which role; then names, rights, table and pipe; then the way that rows will take.
//!
//! Each step stands on those before it: where one fails, what cannot be asked any more is one unknowable line.

mod columns;
mod metadata;
mod names;
mod pipe;
mod pipes;
mod rights;
mod table;

use std::sync::Arc;
use std::time::Duration;

use frazil_model::{Clock, Random};
use frazil_runtime::config::{ConnectorConfig, Target};
use frazil_runtime::exit::Exit;
use frazil_runtime::run;
use frazil_snowflake::probe::{Grants, Probe, Whoami, public_key, quoted, service_date};
use frazil_snowflake::{Error, SnowflakeConfig, Snowpipe as _, SnowpipeClient};

use super::clock;
use super::finding::{Book, Repair, Stage};

/// Codes of a login whose role the user does not have.
const ROLE_CODES: [&str; 2] = ["390186", "390189"];
/// The codes with which a network policy shuts out.
const SHUT_OUT: [&str; 2] = ["390420", "390422"];
/// The code of a key-pair token that is not taken.
const TOKEN_REFUSED: &str = "390144";
/// How long Snowflake may take to let somebody in, and how long to look around.
const LOG_IN_LIMIT: Duration = Duration::from_secs(30);
const LOOK_LIMIT: Duration = Duration::from_secs(180);
/// What every role is a member of.
const PUBLIC: &str = "PUBLIC";
/// A pipe and a channel that nobody makes.
const NOBODYS: &str = "FRAZIL_CHECK";

/// What the steps share.
struct Look<'a> {
    book: &'a mut Book,
    connector: &'a ConnectorConfig,
    probe: Probe,
    /// The role that everything is asked in.
    role: String,
    /// What it may do; none where that cannot be asked.
    grants: Option<Grants>,
}

pub(super) async fn look(
    book: &mut Book,
    connector: &ConnectorConfig,
    shards: Option<usize>,
    clock: &Arc<dyn Clock>,
    random: Arc<dyn Random>,
) {
    let config = run::snowflake(&connector.destination);
    let asked_ms = clock.wall_ms();
    let date = match service_date(&config).await {
        Ok(date) => date,
        Err(error) => return refuse(book, "snowflake.reach", &config.account, error, Vec::new()),
    };
    let date = date.as_deref();
    let clock_is_off = clock::judge(book, "snowflake.clock", &config.account, date, asked_ms, &**clock);
    let doors = Doors {
        config: &config,
        clock,
        random: &random,
    };
    let Some((probe, whoami)) = log_in(book, &doors, clock_is_off).await else {
        let what = "not looked at: nobody is logged in";
        return book.unknowable("snowflake.table", &address(connector), what);
    };
    let grants = match probe.grants(&whoami.role).await {
        Ok(grants) => grants,
        Err(error) => return refuse(book, "snowflake.grants", &whoami.role, error, Vec::new()),
    };
    if grants.is_none() {
        let what = "its grants cannot be listed; what follows is what it sees";
        book.unknowable("snowflake.grants", &whoami.role, what);
    }
    let mut is_there = Vec::new();
    let (mut probe, mut grants) = (probe, grants);
    for connector in &connector.by_target() {
        let mut look = Look {
            book,
            connector,
            probe,
            role: whoami.role.clone(),
            grants,
        };
        match doors.within(LOOK_LIMIT, look.destination(shards)).await {
            Ok(pipe_is_there) => is_there.push(pipe_is_there),
            Err(error) => return refuse(look.book, "snowflake.reach", &config.account, error, Vec::new()),
        }
        (probe, grants) = (look.probe, look.grants);
    }
    way_of_rows(book, &doors, is_there.first() == Some(&true)).await;
}

/// What clients are made of.
struct Doors<'a> {
    config: &'a SnowflakeConfig,
    clock: &'a Arc<dyn Clock>,
    random: &'a Arc<dyn Random>,
}

impl Doors<'_> {
    /// Waits for an answer, but not longer than this: statements of a busy service are sent again for minutes.
    async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            done = work => done,
            () = self.clock.sleep(limit) => Err(Error::Unreachable {
                url: self.config.account.clone(),
                detail: format!("no answer within {} s", limit.as_secs()),
            }),
        }
    }

    fn probe(&self, role: Option<&str>) -> Result<Probe, Error> {
        let config = SnowflakeConfig {
            role: role.map(ToOwned::to_owned),
            ..self.config.clone()
        };
        Probe::new(&config, Arc::clone(self.clock), Arc::clone(self.random))
    }
}

fn refuse(book: &mut Book, id: &'static str, place: &str, error: Error, repair: Vec<Repair>) {
    let text = error.to_string();
    book.refused(run::exit_of(&error.into()), id, place, &text, repair);
}

/// The destination for people.
fn address(connector: &ConnectorConfig) -> String {
    let to = &connector.destination;
    let (Target::Table(name) | Target::Pipe(name)) = &to.target;
    format!("{}.{}.{name}", to.database, to.schema)
}

/// Whether a login failed for its role alone.
fn is_of_role(error: &Error) -> bool {
    match error {
        Error::Sql { code, .. } | Error::Unauthorized { code, .. } => ROLE_CODES.contains(&code.as_str()),
        _ => false,
    }
}

async fn log_in(book: &mut Book, doors: &Doors<'_>, clock_is_off: bool) -> Option<(Probe, Whoami)> {
    let config = doors.config;
    let place = format!("user {} of {}", config.user, config.account);
    let tried = match doors.probe(config.role.as_deref()) {
        Ok(probe) => {
            let whoami = doors.within(LOG_IN_LIMIT, probe.whoami()).await;
            whoami.map(|whoami| (probe, whoami))
        }
        Err(error) => Err(error),
    };
    match tried {
        Ok((probe, whoami)) => {
            book.proved("snowflake.login", &place, "Snowflake lets the user in");
            in_role(book, &probe, config, &whoami)
                .await
                .then_some((probe, whoami))
        }
        Err(error) if is_of_role(&error) => {
            book.proved("snowflake.login", &place, "Snowflake lets the user in");
            foreign_role(book, doors, error).await;
            None
        }
        Err(error @ Error::Unauthorized { .. }) => {
            let is_of_policy =
                matches!(&error, Error::Unauthorized { code, .. } if SHUT_OUT.contains(&code.as_str()));
            let is_of_key = matches!(&error, Error::Unauthorized { code, .. } if code == TOKEN_REFUSED);
            let repair = match public_key(config).filter(|_| is_of_key) {
                _ if is_of_policy => vec![Repair::Step(format!(
                    "let this machine's address into the network policy of user {}, or of the account (`frazil setup network \
                     --address`)",
                    config.user
                ))],
                _ if clock_is_off => vec![Repair::Step("set this machine's clock first".to_owned())],
                Some(key) => key_repair(config, &key),
                None => vec![Repair::Step(format!(
                    "look at user {}, how it logs in, and at the account's network policies",
                    config.user
                ))],
            };
            refuse(book, "snowflake.login", &place, error, repair);
            None
        }
        Err(error @ Error::BadKey { .. }) => {
            let step = "correct `destination.private_key_file` or `destination.private_key`".to_owned();
            refuse(book, "snowflake.key", &place, error, vec![Repair::Step(step)]);
            None
        }
        Err(error) => {
            refuse(book, "snowflake.login", &place, error, Vec::new());
            None
        }
    }
}

/// What lets a user in by its key. Snowflake answers the same to a key that is not the user's and to a user that is not there.
fn key_repair(config: &SnowflakeConfig, key: &str) -> Vec<Repair> {
    let user = quoted(&config.user.to_uppercase());
    let sql = |text: String| Repair::Sql(Stage::User, text);
    let mut repair = vec![sql(format!("CREATE USER IF NOT EXISTS {user} TYPE = SERVICE"))];
    if let Some(role) = &config.role {
        repair.push(sql(format!("GRANT ROLE {} TO USER {user}", quoted(role))));
    }
    repair.push(sql(format!("ALTER USER {user} SET RSA_PUBLIC_KEY = '{key}'")));
    repair
}

/// Says in which role the session is; whether that is one to go on with.
async fn in_role(book: &mut Book, probe: &Probe, config: &SnowflakeConfig, whoami: &Whoami) -> bool {
    let id = "snowflake.role";
    let Whoami { user, role } = whoami;
    if config.role.is_some() {
        book.proved(id, role, &format!("granted to {user}"));
        return true;
    }
    if role != PUBLIC {
        book.proved(
            id,
            role,
            &format!("the default role of {user}; the configuration names none"),
        );
        return true;
    }
    let what = format!("{user} has no default role of its own, and the configuration names none");
    let roles = probe.roles_of(user).await.unwrap_or_default();
    let repair = match roles.as_slice() {
        [only] => Repair::Configuration {
            key: "destination.role",
            value: only.clone(),
        },
        [] => Repair::Step(format!(
            "grant a role to {user}, and name it in `destination.role`"
        )),
        several => Repair::Step(format!(
            "name one of {} in `destination.role`",
            several.join(", ")
        )),
    };
    book.refused(Exit::Unauthorized, id, role, &what, vec![repair]);
    false
}

/// Says why the user has not the configured role.
async fn foreign_role(book: &mut Book, doors: &Doors<'_>, error: Error) {
    let role = doors.config.role.clone().unwrap_or_default();
    let mut repair = Vec::new();
    let mut user = doors.config.user.to_uppercase();
    if let Ok(probe) = doors.probe(None)
        && let Ok(whoami) = probe.whoami().await
    {
        user = whoami.user;
        let roles = probe.roles_of(&user).await.unwrap_or_default();
        let other_case = roles.into_iter().find(|other| other.eq_ignore_ascii_case(&role));
        if let Some(value) = other_case {
            let key = "destination.role";
            repair.push(Repair::Configuration { key, value });
        }
    }
    if repair.is_empty() {
        let (role, user) = (quoted(&role), quoted(&user));
        repair.push(Repair::Sql(
            Stage::Role,
            format!("CREATE ROLE IF NOT EXISTS {role}"),
        ));
        repair.push(Repair::Sql(
            Stage::User,
            format!("GRANT ROLE {role} TO USER {user}"),
        ));
    }
    let what = format!("it was not granted to {user}, or there is none: {error}");
    book.refused(Exit::Unauthorized, "snowflake.role", &role, &what, repair);
}

/// Asks the ingest host for the status of a channel that is not there, as each start does: host, token, role and pipe.
async fn way_of_rows(book: &mut Book, doors: &Doors<'_>, pipe_is_there: bool) {
    let (id, place) = ("snowflake.ingest", doors.config.account.as_str());
    // The call would make a default pipe that is not there yet; and what is refused already is not told again.
    let own = pipe_is_there && !book.has_refused();
    let pipe = if own { doors.config.pipe.as_str() } else { NOBODYS };
    let config = SnowflakeConfig {
        pipe: pipe.to_owned(),
        ..doors.config.clone()
    };
    let client = SnowpipeClient::new(config, Arc::clone(doors.clock), Arc::clone(doors.random));
    let asked = match client {
        Ok(client) => client.channel_status(&[NOBODYS.to_owned()]).await.map(drop),
        Err(error) => Err(error),
    };
    match asked {
        Ok(()) => {
            book.proved(
                id,
                place,
                "the ingest host takes a token of the role, and the role on the pipe",
            );
        }
        // The pipe is nobody's: this is the answer of a host that took the token.
        Err(Error::Missing { .. }) if !own => {
            book.proved(id, place, "the ingest host takes a token of the role");
        }
        Err(error @ Error::Unreachable { .. }) => {
            let step =
                "allow the ingest host that `GET /v2/streaming/hostname` of the account names, port 443"
                    .to_owned();
            refuse(book, id, place, error, vec![Repair::Step(step)]);
        }
        Err(error) => refuse(book, id, place, error, Vec::new()),
    }
}

impl Look<'_> {
    /// Names, rights, and what is there; whether the pipe is.
    async fn destination(&mut self, shards: Option<usize>) -> Result<bool, Error> {
        let found = self.names().await?;
        self.rights(&found);
        let Some((path, shown)) = &found.table else {
            let what = "not looked at: the role does not see it yet";
            if !found.told_missing {
                let place = address(self.connector);
                self.book.unknowable("snowflake.table_kind", &place, what);
            }
            return Ok(false);
        };
        self.table(path, shown, &found);
        self.pipe_shape(&found);
        self.columns(path, shown, &found).await?;
        self.other_pipes(path).await?;
        self.channels(path, shards).await?;
        Ok(found.copy.is_some())
    }
}
