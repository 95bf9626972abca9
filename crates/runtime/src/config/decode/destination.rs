//! The Snowflake side of a connector.

use std::collections::HashSet;

use super::super::fields::{Fields, Reading};
use super::super::{Authentication, DestinationConfig, OAuthConfig, RouteConfig, RoutesConfig, Target};
use super::{address, matches, name, path, proxy};

/// The most tables that routes may lead to: each shard has a channel for every one of them.
const MOST_TARGETS: usize = frazil_pipeline::MOST_PIPES;

pub(super) fn destination(reading: &Reading<'_>, mut fields: Fields<'_>) -> Option<DestinationConfig> {
    let account = fields.required("account", account);
    let user = fields.required("user", name);
    let role = fields.optional("role", name);
    let authentication = authentication(&mut fields);
    let database = fields.required("database", name);
    let schema = fields.required("schema", name);
    let others = table_or_pipe(&mut fields);
    let has_others = fields.has("table") || fields.has("pipe");
    let routes = fields
        .mapping("routes")
        .map(|routes| self::routes(routes, others.clone()));
    if !has_others && !fields.has("routes") {
        fields.must_have("table");
    }
    let first = routes
        .iter()
        .flatten()
        .flat_map(|routes| routes.to.first())
        .next();
    let target = others.or_else(|| first.map(|route| route.target.clone()).filter(|_| !has_others));
    let (more_pipes, leaving_pipes) = (
        fields.list("more_pipes", name),
        fields.list("leaving_pipes", name),
    );
    if let (Some(target), Some(more), Some(leaving)) = (&target, &more_pipes, &leaving_pipes) {
        each_pipe_once(
            &fields,
            target,
            routes.as_ref().and_then(Option::as_ref),
            more,
            leaving,
        );
    }
    let has_routes = fields.has("routes");
    let url = fields.optional("url", address);
    let proxy = proxy(&mut fields);
    let ca_file = fields.optional("ca_file", |text| path(reading, text));
    fields.finish();
    Some(DestinationConfig {
        account: account?,
        user: user?,
        role,
        authentication: authentication?,
        database: database?,
        schema: schema?,
        target: target?,
        routes: match routes {
            Some(routes) => Some(routes?),
            None if has_routes => return None,
            None => None,
        },
        more_pipes: more_pipes?,
        leaving_pipes: leaving_pipes?,
        url,
        proxy,
        ca_file,
    })
}

fn table_or_pipe(fields: &mut Fields<'_>) -> Option<Target> {
    let table = fields.optional("table", name).map(Target::Table);
    let pipe = fields.optional("pipe", name).map(Target::Pipe);
    if fields.has("table") && fields.has("pipe") {
        fields.problem("pipe", "give either a table or a pipe, not both");
    }
    table.or(pipe)
}

fn routes(mut fields: Fields<'_>, others: Option<Target>) -> Option<RoutesConfig> {
    let key = fields.required("key", name);
    fields.must_have("to");
    let to = fields
        .mappings("to")
        .and_then(|to| to.into_iter().map(route).collect::<Option<Vec<_>>>());
    if let Some(to) = &to {
        each_route_once(&fields, to, others.as_ref());
    }
    fields.finish();
    Some(RoutesConfig {
        key: key?,
        to: to?,
        others,
    })
}

fn route(mut fields: Fields<'_>) -> Option<RouteConfig> {
    let target = table_or_pipe(&mut fields);
    if !fields.has("table") && !fields.has("pipe") {
        fields.must_have("table");
    }
    fields.must_have("values");
    let values = fields.list("values", |text| Ok(text.to_owned()));
    if values.as_ref().is_some_and(Vec::is_empty) && fields.has("values") {
        fields.problem("values", "expected at least one value");
    }
    fields.finish();
    Some(RouteConfig {
        target: target?,
        values: values?,
    })
}

fn each_route_once(fields: &Fields<'_>, to: &[RouteConfig], others: Option<&Target>) {
    let mut pipes: Vec<String> = others.map(Target::pipe).into_iter().collect();
    let mut values = HashSet::new();
    if to.is_empty() {
        fields.problem("to", "expected at least one table with its values");
    }
    for route in to {
        let pipe = route.target.pipe();
        if pipes.contains(&pipe) {
            fields.problem("to", format!("names the pipe {pipe}, which is named already"));
        }
        pipes.push(pipe);
        for value in &route.values {
            if !values.insert(value) {
                fields.problem("to", format!("names the value `{value}` twice"));
            }
        }
    }
    if pipes.len() > MOST_TARGETS {
        let (found, most) = (pipes.len(), MOST_TARGETS);
        fields.problem("to", format!("leads to {found} tables; at most {most} can be"));
    }
}

fn each_pipe_once(
    fields: &Fields<'_>,
    target: &Target,
    routes: Option<&RoutesConfig>,
    more: &[String],
    leaving: &[String],
) {
    let mut named = vec![target.pipe()];
    if let Some(routes) = routes {
        named.extend(routes.to.iter().map(|route| route.target.pipe()));
        if !more.is_empty() {
            fields.problem(
                "more_pipes",
                "cannot stand beside `routes`: each table of theirs has one pipe",
            );
        }
    }
    for (key, pipes) in [("more_pipes", more), ("leaving_pipes", leaving)] {
        for pipe in pipes {
            if named.contains(pipe) {
                fields.problem(key, format!("names the pipe {pipe}, which is named already"));
            }
            named.push(pipe.clone());
        }
    }
}

/// What proves who the user is: which keys there are says in which way.
fn authentication(fields: &mut Fields<'_>) -> Option<Authentication> {
    let private_key = fields.secret_or_file("private_key", "private_key_file");
    let passphrase = fields.secret_source("private_key_passphrase");
    let token = fields.secret_or_file("token", "token_file");
    let oauth = fields.mapping("oauth").and_then(oauth);
    let ways = [
        &["private_key", "private_key_file"][..],
        &["token", "token_file"],
        &["oauth"],
    ];
    let given: Vec<&str> = ways
        .iter()
        .filter_map(|keys| keys.iter().find(|key| fields.has(key)).copied())
        .collect();
    if fields.has("private_key_passphrase") && !ways[0].iter().any(|key| fields.has(key)) {
        fields.problem(
            "private_key_passphrase",
            "only has a meaning with `private_key_file` or `private_key`",
        );
    }
    match given[..] {
        [] => {
            fields.must_have("private_key_file");
            None
        }
        ["oauth"] => oauth.map(Authentication::OAuth),
        ["token" | "token_file"] => Some(Authentication::ProgrammaticAccessToken { token: token? }),
        [_] => Some(Authentication::KeyPair {
            private_key: private_key?,
            passphrase,
        }),
        [first, second, ..] => {
            fields.problem(
                second,
                format!("the user proves itself in one way; give either `{first}` or `{second}`"),
            );
            None
        }
    }
}

fn oauth(mut fields: Fields<'_>) -> Option<OAuthConfig> {
    let token_endpoint = fields.optional("token_endpoint", endpoint);
    let client_id = fields.required("client_id", name);
    fields.must_have("client_secret");
    let client_secret = fields.secret_source("client_secret");
    let refresh_token = fields.secret_source("refresh_token");
    let scope = fields.optional("scope", name);
    // The account's own endpoint knows refresh tokens only.
    if !fields.has("refresh_token") {
        fields.must_have("token_endpoint");
    }
    fields.finish();
    Some(OAuthConfig {
        token_endpoint,
        client_id: client_id?,
        client_secret: client_secret?,
        refresh_token,
        scope,
    })
}

/// A token endpoint: what goes there gives rights, so it is encrypted, or stays on this machine.
fn endpoint(text: &str) -> Result<String, String> {
    let expected = || "expected an address, such as `https://login.example.com/oauth2/token`".to_owned();
    let url = url::Url::parse(text).map_err(|_| expected())?;
    let is_local = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        _ if !url.username().is_empty() || url.password().is_some() => {
            Err("expected an address without a user; give `client_id` and `client_secret`".to_owned())
        }
        "https" if url.has_host() => Ok(text.to_owned()),
        "http" if is_local => Ok(text.to_owned()),
        "http" => Err("expected https: the client's secret goes there".to_owned()),
        _ => Err(expected()),
    }
}

fn account(text: &str) -> Result<String, String> {
    if text.to_ascii_lowercase().contains("snowflakecomputing") || text.contains('/') {
        return Err(
            "expected the account identifier alone, such as `myorg-myaccount`; an address goes to `url`"
                .into(),
        );
    }
    if matches(text, 1..=255, b"_.-") {
        return Ok(text.to_owned());
    }
    Err("expected an account identifier, such as `myorg-myaccount`".to_owned())
}
