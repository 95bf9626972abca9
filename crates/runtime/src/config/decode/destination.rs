//! The Snowflake side of a connector.

use super::super::fields::{Fields, Reading};
use super::super::{Authentication, DestinationConfig, Target};
use super::{address, matches, name, path};

pub(super) fn destination(reading: &Reading<'_>, mut fields: Fields<'_>) -> Option<DestinationConfig> {
    let account = fields.required("account", account);
    let user = fields.required("user", name);
    let role = fields.optional("role", name);
    let authentication = key_pair(&mut fields);
    let database = fields.required("database", name);
    let schema = fields.required("schema", name);
    let table = fields.optional("table", name).map(Target::Table);
    let pipe = fields.optional("pipe", name).map(Target::Pipe);
    match (fields.has("table"), fields.has("pipe")) {
        (true, true) => fields.problem("pipe", "give either a table or a pipe, not both"),
        (false, false) => fields.must_have("table"),
        _ => {}
    }
    let url = fields.optional("url", address);
    let ca_file = fields.optional("ca_file", |text| path(reading, text));
    fields.finish();
    Some(DestinationConfig {
        account: account?,
        user: user?,
        role,
        authentication: authentication?,
        database: database?,
        schema: schema?,
        target: table.or(pipe)?,
        url,
        ca_file,
    })
}

fn key_pair(fields: &mut Fields<'_>) -> Option<Authentication> {
    let private_key = fields.secret_or_file("private_key", "private_key_file");
    let passphrase = fields.secret_source("private_key_passphrase");
    if !fields.has("private_key") {
        fields.must_have("private_key_file");
    }
    Some(Authentication::KeyPair {
        private_key: private_key?,
        passphrase,
    })
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
