//! The doors to Snowflake that a configuration means.

use std::sync::Arc;

use frazil_pipeline::{Error, Pipe, Pipes, Routes};
use frazil_snowflake::{
    AccountGate, Authentication, Gated, OAuth, SecretSource, SnowflakeConfig, SnowpipeClient,
};

use super::RunOptions;
use crate::config::{self, ConnectorConfig};
use crate::state::Board;

fn authentication(configured: &config::Authentication) -> Authentication {
    let source = |configured: &config::SecretSource| match configured {
        config::SecretSource::File(path) => SecretSource::File(path.clone()),
        config::SecretSource::Text(text) => SecretSource::Text(text.clone()),
    };
    match configured {
        config::Authentication::KeyPair {
            private_key,
            passphrase,
        } => Authentication::KeyPair {
            private_key: source(private_key),
            passphrase: passphrase.as_ref().map(source),
        },
        config::Authentication::ProgrammaticAccessToken { token } => {
            Authentication::ProgrammaticAccessToken { token: source(token) }
        }
        config::Authentication::OAuth(oauth) => Authentication::OAuth(OAuth {
            token_endpoint: oauth.token_endpoint.clone(),
            client_id: oauth.client_id.clone(),
            client_secret: source(&oauth.client_secret),
            refresh_token: oauth.refresh_token.as_ref().map(source),
            scope: oauth.scope.clone(),
        }),
    }
}

/// The Snowflake side that a configuration means, with the pipe it names first.
#[must_use]
pub fn snowflake(configured: &config::DestinationConfig) -> SnowflakeConfig {
    on_pipe(configured, configured.target.pipe())
}

fn on_pipe(configured: &config::DestinationConfig, pipe: String) -> SnowflakeConfig {
    SnowflakeConfig {
        account: configured.account.clone(),
        user: configured.user.clone(),
        role: configured.role.clone(),
        authentication: authentication(&configured.authentication),
        url: configured.url.clone(),
        proxy: configured.proxy.clone(),
        ca_file: configured.ca_file.clone(),
        database: configured.database.clone(),
        schema: configured.schema.clone(),
        pipe,
    }
}

/// The doors to the pipes of a connector; the account's patience stands before all of them.
pub(super) fn pipes(
    configured: &ConnectorConfig,
    run: &RunOptions,
    board: &Board,
    gate: &Arc<AccountGate>,
) -> Result<Pipes, Error> {
    let destination = &configured.destination;
    let name = |pipe: &str| {
        let to = destination;
        format!(
            "{}.{}.{}.{pipe}",
            to.account.to_uppercase(),
            to.database,
            to.schema
        )
    };
    let client = |pipe: &str| {
        let to = on_pipe(destination, pipe.to_owned());
        SnowpipeClient::new(to, Arc::clone(&run.clock), Arc::clone(&run.random))
    };
    let gated = |pipe: &str, client: SnowpipeClient| Pipe {
        destination: name(pipe),
        snowpipe: Arc::new(Gated::new(Arc::new(client), Arc::clone(gate))),
    };
    let all = |names: &[String]| -> Result<Vec<Pipe>, Error> {
        let open = |pipe: &String| Ok(gated(pipe, client(pipe)?));
        names.iter().map(open).collect()
    };
    let first = client(&destination.target.pipe())?;
    let watched = first.clone();
    let ahead_ms = move || watched.clock_skew().map(|skew| skew.ahead_ms);
    board.watch_clock(&configured.name, Box::new(ahead_ms));
    let first = gated(&destination.target.pipe(), first);
    let (more, leaving) = (all(&destination.more_pipes)?, all(&destination.leaving_pipes)?);
    let Some(routes) = &destination.routes else {
        return Ok(Pipes::of(first, more, leaving));
    };
    let values = |to: &config::RouteConfig| {
        let pipe = name(&to.target.pipe());
        let values = to.values.clone().into_iter();
        values.map(move |value| (value, pipe.clone()))
    };
    let others = routes.others.as_ref().map(|others| name(&others.pipe()));
    let by_key = Routes::new(&routes.key, routes.to.iter().flat_map(values).collect(), others);
    let elsewhere: Vec<String> = destination
        .targets()
        .iter()
        .map(|target| target.pipe())
        .filter(|pipe| *pipe != destination.target.pipe())
        .collect();
    let mut pipes = all(&elsewhere)?;
    pipes.push(first);
    let routed = Pipes::routed(by_key, pipes, leaving);
    Ok(routed.expect("the routes name targets, and each of them has a door"))
}
