//! Sessions of drivers: login, tokens, where names are looked up.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Snowflake;
use super::super::auth::{AuthFailure, Login};
use super::super::catalog::now_ms;
use super::super::sql::{ROLE_REFUSED, SERVER_VERSION, Session, folded, parameter, role_refused};
use super::format::Client;

/// Sessions at once; the one that was idle longest goes first.
const MOST_SESSIONS: usize = 1000;
/// How long a session's token is good, and how long it can be renewed.
const VALID_S: i64 = 60 * 60;
const RENEWABLE_S: i64 = 4 * 60 * 60;

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Refused {
    pub(super) fn internal() -> Self {
        Self {
            code: "390189",
            message: "The server is stopping.".to_owned(),
        }
    }

    fn expired() -> Self {
        Self {
            code: "390112",
            message: "Your session has expired. Please login again.".to_owned(),
        }
    }

    fn login() -> Self {
        Self {
            code: "390100",
            message: "Incorrect username or password was specified.".to_owned(),
        }
    }
}

/// Where a session begins, in the query of the login.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Wanted {
    database_name: Option<String>,
    schema_name: Option<String>,
    warehouse: Option<String>,
    role_name: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct LoginRequest {
    data: LoginData,
}

/// Not `Debug`: it holds a password.
#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct LoginData {
    #[serde(default)]
    account_name: String,
    #[serde(default)]
    login_name: String,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    authenticator: Option<String>,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    client_app_id: Option<String>,
    #[serde(default)]
    session_parameters: Option<serde_json::Map<String, Value>>,
}

/// One session.
#[derive(Debug, Clone)]
pub(super) struct DriverSession {
    pub(super) sql: Session,
    pub(super) client: Client,
    id: i64,
    master: String,
    valid_until_ms: i64,
    used_ms: i64,
}

/// Checks a login.
pub(super) fn check(
    snowflake: &Snowflake,
    request: &LoginRequest,
    wanted: &Wanted,
) -> Result<(Session, Client), Refused> {
    let data = &request.data;
    let account = data.account_name.split('.').next().unwrap_or_default();
    if !account.is_empty() && !account.eq_ignore_ascii_case(&snowflake.account) {
        return Err(Refused {
            code: "390201",
            message: format!(
                "The account {account} is not the one here, {}.",
                snowflake.account
            ),
        });
    }
    let login = snowflake.auth.admit(proved(snowflake, data)?).map_err(refused)?;
    let named = |name: &Option<String>| name.as_deref().filter(|name| !name.is_empty()).map(folded);
    let refused = |role: &str| Refused {
        code: ROLE_REFUSED,
        message: role_refused(role),
    };
    let role = login.role_for(named(&wanted.role_name));
    let role = role.map_err(|role| refused(&role))?;
    let user = login.user;
    let role = match role {
        Some(role) => {
            let has = snowflake.catalog.user_has_role(&user, &role);
            if !has.map_err(|_| Refused::internal())? {
                return Err(refused(&role));
            }
            role
        }
        None => snowflake
            .catalog
            .first_role(&user)
            .map_err(|_| Refused::internal())?,
    };
    let client = Client::named(data.client_app_id.as_deref().unwrap_or_default());
    let set = data.session_parameters.iter().flatten();
    let set = set.filter_map(|(name, value)| Some((parameter(name)?, value.as_str()?.to_uppercase())));
    let session = Session {
        database: named(&wanted.database_name),
        schema: named(&wanted.schema_name),
        role: Some(role),
        warehouse: named(&wanted.warehouse),
        user,
        parameters: set.collect(),
    };
    Ok((session, client))
}

fn refused(failure: AuthFailure) -> Refused {
    Refused {
        code: failure.code,
        message: failure.message,
    }
}

/// Who logs in. A programmatic access token may stand in the password's place, too (Snowflake documentation, "Using
/// programmatic access tokens for authentication").
fn proved(snowflake: &Snowflake, data: &LoginData) -> Result<Login, Refused> {
    let user = data.login_name.to_uppercase();
    let token = data.token.as_deref().unwrap_or_default();
    let password = data.password.as_deref().unwrap_or_default();
    match data.authenticator.as_deref().map(str::to_uppercase).as_deref() {
        Some("SNOWFLAKE_JWT") => snowflake.auth.check_key_pair(token).map_err(refused),
        Some("OAUTH") => snowflake.auth.check_access(token).map_err(refused),
        Some("PROGRAMMATIC_ACCESS_TOKEN") => {
            let token = if token.is_empty() { password } else { token };
            snowflake.auth.check_programmatic(token).map_err(refused)
        }
        None | Some("" | "SNOWFLAKE") => {
            let checked = snowflake.check_password(&user, password);
            if checked.map_err(|_| Refused::internal())? {
                return Ok(Login {
                    user,
                    role: None,
                    is_bound: false,
                });
            }
            let by_token = snowflake.auth.check_programmatic(password).ok();
            by_token
                .filter(|login| login.user == user)
                .ok_or_else(Refused::login)
        }
        Some(other) => Err(Refused {
            code: "390190",
            message: format!(
                "The authenticator {other} is not known here: use a password, SNOWFLAKE_JWT, OAUTH or \
                 PROGRAMMATIC_ACCESS_TOKEN."
            ),
        }),
    }
}

/// Parameters that drivers read.
pub(super) fn parameters(client: Client, session: &Session) -> Value {
    let parameters = [
        ("TIMEZONE", json!("UTC")),
        ("AUTOCOMMIT", json!(true)),
        ("CLIENT_SESSION_KEEP_ALIVE", json!(false)),
        ("CLIENT_TELEMETRY_ENABLED", json!(false)),
        // Bound rows come inline: there is no stage.
        ("CLIENT_STAGE_ARRAY_BINDING_THRESHOLD", json!(0)),
        // The defaults of the service; the driver for Node formats by them.
        ("DATE_OUTPUT_FORMAT", json!("YYYY-MM-DD")),
        ("TIME_OUTPUT_FORMAT", json!("HH24:MI:SS")),
        (
            "TIMESTAMP_OUTPUT_FORMAT",
            json!("YYYY-MM-DD HH24:MI:SS.FF3 TZHTZM"),
        ),
        ("TIMESTAMP_NTZ_OUTPUT_FORMAT", json!("YYYY-MM-DD HH24:MI:SS.FF3")),
        ("TIMESTAMP_LTZ_OUTPUT_FORMAT", json!("")),
        ("TIMESTAMP_TZ_OUTPUT_FORMAT", json!("")),
        ("BINARY_OUTPUT_FORMAT", json!("HEX")),
    ];
    let format = client.format(session).map(|(name, format)| (name, json!(format)));
    parameters
        .into_iter()
        .chain(format)
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect()
}

/// The sessions that are open.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<String, DriverSession>>);

fn token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let token = value.strip_prefix("Snowflake Token=")?;
    Some(token.trim_matches('"'))
}

fn secret() -> String {
    format!(
        "{}{}",
        uuid::Uuid::new_v4().simple(),
        uuid::Uuid::new_v4().simple()
    )
}

impl Sessions {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, DriverSession>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session; what the login answers.
    pub(super) fn open(&self, sql: Session, client: Client) -> Value {
        let now = now_ms();
        let (token, master) = (secret(), secret());
        let mut sessions = self.lock();
        while sessions.len() >= MOST_SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.used_ms);
            let Some(oldest) = oldest.map(|(token, _)| token.clone()) else {
                break;
            };
            sessions.remove(&oldest);
        }
        let id = now.saturating_mul(1000) + i64::try_from(sessions.len()).unwrap_or_default();
        let session = DriverSession {
            sql,
            client,
            id,
            master: master.clone(),
            valid_until_ms: now + VALID_S * 1000,
            used_ms: now,
        };
        let sql = session.sql.clone();
        sessions.insert(token.clone(), session);
        json!({
            "token": token,
            "masterToken": master,
            "sessionId": id,
            "validityInSeconds": VALID_S,
            "masterValidityInSeconds": RENEWABLE_S,
            "displayUserName": sql.user,
            "serverVersion": SERVER_VERSION,
            "firstLogin": false,
            "parameters": parameters(client, &sql),
            "sessionInfo": {
                "databaseName": sql.database,
                "schemaName": sql.schema,
                "warehouseName": sql.warehouse,
                "roleName": sql.role,
            },
        })
    }

    /// The session of a call.
    pub(super) fn of(&self, headers: &HeaderMap) -> Result<DriverSession, Refused> {
        let mut sessions = self.lock();
        let session = token(headers).and_then(|token| sessions.get_mut(token));
        let now = now_ms();
        let session = session.filter(|session| now < session.valid_until_ms);
        let session = session.ok_or_else(Refused::expired)?;
        session.used_ms = now;
        Ok(session.clone())
    }

    /// Notes what a statement changed: USE, CREATE DATABASE.
    pub(super) fn moved(&self, headers: &HeaderMap, sql: &Session) {
        let mut sessions = self.lock();
        if let Some(session) = token(headers).and_then(|token| sessions.get_mut(token)) {
            session.sql = sql.clone();
        }
    }

    /// Ends the session of a call.
    pub(super) fn close(&self, headers: &HeaderMap) {
        if let Some(token) = token(headers) {
            self.lock().remove(token);
        }
    }

    /// Gives a session a new token; the call bears its master token.
    pub(super) fn renew(&self, headers: &HeaderMap, old: &str) -> Result<Value, Refused> {
        let master = token(headers).ok_or_else(Refused::expired)?;
        let mut sessions = self.lock();
        let now = now_ms();
        let known = sessions.get(old).is_some_and(|session| {
            session.master == master && now < session.valid_until_ms + (RENEWABLE_S - VALID_S) * 1000
        });
        let session = if known { sessions.remove(old) } else { None };
        let mut session = session.ok_or_else(|| Refused {
            code: "390114",
            message: "Authentication token has expired. The user must authenticate again.".to_owned(),
        })?;
        let token = secret();
        (session.valid_until_ms, session.used_ms) = (now + VALID_S * 1000, now);
        let id = session.id;
        sessions.insert(token.clone(), session);
        Ok(json!({
            "sessionToken": token,
            "masterToken": master,
            "validityInSecondsST": VALID_S,
            "validityInSecondsMT": RENEWABLE_S,
            "sessionId": id,
        }))
    }
}
