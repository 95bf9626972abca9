//! Paths, names and queries of the protocol.
//!
//! Path parts are percent-encoded one by one. A name in double quotes is exact, any other one is folded to upper case.

use http::Method;

use super::files::BUCKET;

/// A name of a path: as written, and as it is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) written: String,
    pub(crate) lookup: String,
}

impl Name {
    pub(crate) fn new(text: &str) -> Self {
        let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match inner.filter(|inner| !inner.is_empty()) {
            Some(inner) => {
                let exact = inner.replace("\"\"", "\"");
                Self {
                    written: exact.clone(),
                    lookup: exact,
                }
            }
            None => Self {
                written: text.to_owned(),
                lookup: text.to_uppercase(),
            },
        }
    }
}

/// Database, schema and pipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PipePath {
    pub(crate) database: Name,
    pub(crate) schema: Name,
    pub(crate) pipe: Name,
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Hostname,
    Token,
    Telemetry,
    PipeInfo(PipePath),
    Open(PipePath, Name),
    Drop(PipePath, Name),
    Status(PipePath),
    Append(PipePath, Name),
    Register(PipePath, Name),
    /// The decoded path of an upload to the stage.
    Upload(String),
    Unknown,
}

impl Route {
    pub(crate) fn parse(method: &Method, path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let route = match (method.as_str(), parts.as_slice()) {
            ("GET", ["v2", "streaming", "hostname"]) => Some(Self::Hostname),
            ("POST", ["oauth", "token"]) => Some(Self::Token),
            ("POST", ["telemetry", "send", ..]) => Some(Self::Telemetry),
            ("PUT", [BUCKET, ..]) => percent_decode(path).map(Self::Upload),
            (method, ["v2", "streaming", "data", rest @ ..]) => data(method, rest),
            (method, ["v2", "streaming", rest @ ..]) => management(method, rest),
            _ => None,
        };
        route.unwrap_or(Self::Unknown)
    }

    /// The operation's name in the faults file.
    pub(crate) fn operation(&self) -> &'static str {
        match self {
            Self::Hostname => "hostname",
            Self::Token => "oauth_token",
            Self::Telemetry => "telemetry",
            Self::PipeInfo(_) => "pipe_info",
            Self::Open(..) => "open_channel",
            Self::Drop(..) => "drop_channel",
            Self::Status(_) => "channel_status",
            Self::Append(..) => "append_rows",
            Self::Register(..) => "register_files",
            Self::Upload(_) => "upload_file",
            Self::Unknown => "unknown",
        }
    }
}

fn management(method: &str, parts: &[&str]) -> Option<Route> {
    let ["databases", database, "schemas", schema, "pipes", pipe, rest @ ..] = parts else {
        return None;
    };
    match (method, rest) {
        ("PUT", ["channels", channel]) => {
            Some(Route::Open(pipe_path(database, schema, pipe)?, name(channel)?))
        }
        ("DELETE", ["channels", channel]) => {
            Some(Route::Drop(pipe_path(database, schema, pipe)?, name(channel)?))
        }
        ("POST", []) => {
            let (pipe, action) = pipe.rsplit_once(':')?;
            let path = pipe_path(database, schema, pipe)?;
            match action {
                "pipe-info" => Some(Route::PipeInfo(path)),
                "bulk-channel-status" => Some(Route::Status(path)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn data(method: &str, parts: &[&str]) -> Option<Route> {
    match (method, parts) {
        (
            "POST",
            [
                "databases",
                database,
                "schemas",
                schema,
                "pipes",
                pipe,
                "channels",
                channel,
                "rows",
            ],
        ) => Some(Route::Append(pipe_path(database, schema, pipe)?, name(channel)?)),
        (
            "POST",
            [
                "databases",
                database,
                "schemas",
                schema,
                "pipes",
                pipe,
                "channels",
                channel,
                "filebuffer",
            ],
        ) => Some(Route::Register(
            pipe_path(database, schema, pipe)?,
            name(channel)?,
        )),
        ("POST", ["databases", database, "schemas", schema, "tables", table, "rows"]) => {
            let table = name(table)?;
            let suffix = super::super::catalog::DEFAULT_PIPE_SUFFIX;
            let pipe = Name {
                written: format!("{}{suffix}", table.written),
                lookup: format!("{}{suffix}", table.lookup),
            };
            let path = PipePath {
                database: name(database)?,
                schema: name(schema)?,
                pipe,
            };
            Some(Route::Append(path, Name::new(super::super::catalog::ELASTIC)))
        }
        _ => None,
    }
}

fn pipe_path(database: &str, schema: &str, pipe: &str) -> Option<PipePath> {
    Some(PipePath {
        database: name(database)?,
        schema: name(schema)?,
        pipe: name(pipe)?,
    })
}

fn name(part: &str) -> Option<Name> {
    let text = percent_decode(part)?;
    (!text.is_empty()).then(|| Name::new(&text))
}

/// Percent-decoding alone: a plus sign stays one.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

/// The query of a request. Absent and empty values are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) start_offset_token: Option<String>,
    pub(crate) end_offset_token: Option<String>,
    pub(crate) offset_token: Option<String>,
    pub(crate) continuation_token: Option<String>,
    pub(crate) request_id: Option<String>,
}

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let mut query = Self::default();
        for (key, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            let slot = match key {
                "startOffsetToken" => &mut query.start_offset_token,
                "endOffsetToken" => &mut query.end_offset_token,
                "offsetToken" => &mut query.offset_token,
                "continuationToken" => &mut query.continuation_token,
                "requestId" => &mut query.request_id,
                _ => continue,
            };
            *slot = percent_decode(value).filter(|value| !value.is_empty());
        }
        query
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPE: &str = "databases/db/schemas/Sc%22x%22/pipes/%22t-STREAMING%22";

    fn parse(method: &str, path: &str) -> Route {
        Route::parse(&method.parse().unwrap(), path)
    }

    #[test]
    fn names_fold_unless_quoted() {
        let Route::Status(path) = parse("POST", &format!("/v2/streaming/{PIPE}:bulk-channel-status")) else {
            panic!()
        };
        assert_eq!(path.database.lookup, "DB");
        assert_eq!(path.schema.lookup, "SC\"X\"");
        assert_eq!(path.pipe.lookup, "t-STREAMING");
        let Route::Open(_, channel) = parse("PUT", &format!("/v2/streaming/{PIPE}/channels/a%2Fb")) else {
            panic!()
        };
        assert_eq!(
            (channel.written.as_str(), channel.lookup.as_str()),
            ("a/b", "A/B")
        );
    }

    #[test]
    fn table_path_is_the_elastic_channel_of_the_default_pipe() {
        let path = "/v2/streaming/data/databases/d/schemas/s/tables/%22t%22/rows";
        let Route::Append(pipe, channel) = parse("POST", path) else {
            panic!()
        };
        assert_eq!(pipe.pipe.lookup, "t-STREAMING");
        assert_eq!(channel.lookup, "ELASTIC");
    }

    #[test]
    fn other_paths_and_methods_are_unknown() {
        for (method, path) in [
            ("GET", "/"),
            ("POST", "/v2/streaming/hostname"),
            ("POST", "/v2/streaming/databases/d/schemas/s/pipes/p"),
            ("POST", "/v2/streaming/databases/d/schemas/s/pipes/p:other"),
            ("PUT", "/v2/streaming/databases/d/schemas/s/pipes/p/channels/%zz"),
            ("PUT", "/v2/streaming/databases//schemas/s/pipes/p/channels/c"),
        ] {
            assert_eq!(parse(method, path), Route::Unknown, "{method} {path}");
        }
    }

    #[test]
    fn query_keeps_plus_and_takes_empty_as_absent() {
        let query = Query::parse(
            "startOffsetToken=&endOffsetToken=a+b%3D&continuationToken=0_1&requestId=r&retryCount=2",
        );
        assert_eq!(query.start_offset_token, None);
        assert_eq!(query.end_offset_token.as_deref(), Some("a+b="));
        assert_eq!(query.request_id.as_deref(), Some("r"));
    }
}
