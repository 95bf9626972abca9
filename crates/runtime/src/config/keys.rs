//! Every key there is, and which of them a mistyped one may have meant.

/// Every key of the file, without list indexes; `docs/configuration.md` describes each.
pub const KEYS: [&str; 74] = [
    "connectors",
    "connectors[].name",
    "connectors[].source",
    "connectors[].source.stream",
    "connectors[].source.region",
    "connectors[].source.application_name",
    "connectors[].source.consumer_type",
    "connectors[].source.initial_position",
    "connectors[].source.initial_timestamp",
    "connectors[].source.hash_range_check",
    "connectors[].source.decompress",
    "connectors[].source.credentials",
    "connectors[].source.credentials.access_key_id",
    "connectors[].source.credentials.secret_access_key",
    "connectors[].source.credentials.session_token",
    "connectors[].source.credentials.profile",
    "connectors[].source.credentials.role_arn",
    "connectors[].source.credentials.external_id",
    "connectors[].source.credentials.session_name",
    "connectors[].source.credentials.sts_endpoint",
    "connectors[].source.credentials.web_identity_token_file",
    "connectors[].source.use_fips",
    "connectors[].source.use_dual_stack",
    "connectors[].source.proxy",
    "connectors[].source.ca_file",
    "connectors[].source.endpoint",
    "connectors[].source.dynamodb_endpoint",
    "connectors[].destination",
    "connectors[].destination.account",
    "connectors[].destination.user",
    "connectors[].destination.role",
    "connectors[].destination.private_key",
    "connectors[].destination.private_key_file",
    "connectors[].destination.private_key_passphrase",
    "connectors[].destination.token",
    "connectors[].destination.token_file",
    "connectors[].destination.oauth",
    "connectors[].destination.oauth.token_endpoint",
    "connectors[].destination.oauth.client_id",
    "connectors[].destination.oauth.client_secret",
    "connectors[].destination.oauth.refresh_token",
    "connectors[].destination.oauth.scope",
    "connectors[].destination.database",
    "connectors[].destination.schema",
    "connectors[].destination.table",
    "connectors[].destination.pipe",
    "connectors[].destination.routes",
    "connectors[].destination.routes.key",
    "connectors[].destination.routes.to",
    "connectors[].destination.routes.to[].table",
    "connectors[].destination.routes.to[].pipe",
    "connectors[].destination.routes.to[].values",
    "connectors[].destination.more_pipes",
    "connectors[].destination.leaving_pipes",
    "connectors[].destination.url",
    "connectors[].destination.proxy",
    "connectors[].destination.ca_file",
    "connectors[].leases",
    "connectors[].state_file",
    "connectors[].metadata",
    "connectors[].metadata.key",
    "connectors[].metadata.approximate_arrival",
    "connectors[].dead_letters",
    "connectors[].dead_letters.file",
    "connectors[].dead_letters.file.path",
    "connectors[].dead_letters.file.max_bytes",
    "connectors[].on_row_error",
    "connectors[].checkpoint_interval",
    "connectors[].commit_timeout",
    "connectors[].lease_timeout",
    "memory_budget",
    "http",
    "http.listen",
    "http.allow_remote",
];

/// `connectors[3].name` as `connectors[].name`.
pub(super) fn without_indexes(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    let mut inside = false;
    for c in key.chars() {
        inside = (inside && c != ']') || c == '[';
        if !inside || c == '[' {
            out.push(c);
        }
    }
    out
}

/// What to say about an unknown key: the nearest known key beside it, else the same name elsewhere, else what is
/// known here.
pub(super) fn hint(path: &str, key: &str, known: &[&str]) -> String {
    let wanted = key.to_ascii_lowercase().replace(['-', ' ', '.'], "_");
    let near = |candidate: &&&str| {
        let distance = strsim::damerau_levenshtein(&wanted, candidate);
        (distance <= 1 + candidate.len() / 4).then_some(distance)
    };
    let nearest = known
        .iter()
        .filter_map(|candidate| near(&candidate).map(|distance| (distance, *candidate)))
        .min();
    if let Some((_, nearest)) = nearest {
        return format!("did you mean `{nearest}`?");
    }
    let here = without_indexes(path);
    let elsewhere = KEYS.iter().find_map(|full| {
        let (parent, name) = full.rsplit_once('.')?;
        (name == wanted && parent != here).then_some(parent)
    });
    if let Some(parent) = elsewhere {
        return format!("`{wanted}` belongs under `{parent}`");
    }
    let mut known = known.to_vec();
    known.sort_unstable();
    format!("known here: {}", known.join(", "))
}
