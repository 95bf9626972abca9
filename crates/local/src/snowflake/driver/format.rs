//! Which clients get the rows of their queries as Arrow.
//!
//! A login says what its client is (`CLIENT_APP_ID`). Each kind of client has a parameter of its own, `ARROW` or `JSON`, which the
//! login sets (`SESSION_PARAMETERS`), ALTER SESSION, or a single request (`parameters`), the last of these first: a Python
//! connector without its native part asks for JSON with each statement (snowflake-connector-python 4.7, `cursor.py`). Where
//! nothing was set, the clients that read Arrow in each supported version get it: Python, Go and JDBC. ODBC and .NET get it
//! where they ask; clients of another kind, such as Node's, never.

use serde_json::{Map, Value};

use super::super::sql::Session;

/// A kind of client: how its name begins, its parameter, and whether it gets Arrow where nothing was set.
#[derive(Debug)]
struct Kind {
    name: &'static str,
    parameter: &'static str,
    is_arrow: bool,
}

static KINDS: [Kind; 5] = [
    // Snowpark calls itself PythonSnowpark.
    Kind {
        name: "PYTHON",
        parameter: "PYTHON_CONNECTOR_QUERY_RESULT_FORMAT",
        is_arrow: true,
    },
    Kind {
        name: "GO",
        parameter: "GO_QUERY_RESULT_FORMAT",
        is_arrow: true,
    },
    Kind {
        name: "JDBC",
        parameter: "JDBC_QUERY_RESULT_FORMAT",
        is_arrow: true,
    },
    Kind {
        name: "ODBC",
        parameter: "ODBC_QUERY_RESULT_FORMAT",
        is_arrow: false,
    },
    Kind {
        name: ".NET",
        parameter: "DOTNET_QUERY_RESULT_FORMAT",
        is_arrow: false,
    },
];

/// What a session's client is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Client(Option<&'static Kind>);

fn is_arrow(format: &str) -> Option<bool> {
    match format.to_uppercase().as_str() {
        "ARROW" | "ARROW_FORCE" => Some(true),
        "JSON" => Some(false),
        _ => None,
    }
}

impl Client {
    /// The client that names itself so.
    pub(super) fn named(name: &str) -> Self {
        let name = name.to_uppercase();
        Self(KINDS.iter().find(|kind| name.starts_with(kind.name)))
    }

    /// Whether it gets Arrow in this session, for a request with these parameters.
    pub(super) fn takes_arrow(self, session: &Session, request: Option<&Map<String, Value>>) -> bool {
        let Some(kind) = self.0 else {
            return false;
        };
        let of_request = request.and_then(|parameters| parameters.get(kind.parameter)?.as_str());
        let of_session = session.parameters.get(kind.parameter).map(String::as_str);
        let mut asked = [of_request, of_session].into_iter().flatten();
        asked.find_map(is_arrow).unwrap_or(kind.is_arrow)
    }

    /// Its parameter, as a session tells it.
    pub(super) fn format(self, session: &Session) -> Option<(&'static str, &'static str)> {
        let format = if self.takes_arrow(session, None) {
            "ARROW"
        } else {
            "JSON"
        };
        Some((self.0?.parameter, format))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arrow_goes_to_clients_that_read_it_unless_they_ask_for_json() {
        let parameter = "PYTHON_CONNECTOR_QUERY_RESULT_FORMAT";
        let cases = [
            ("PythonConnector", None, None, true),
            ("PythonSnowpark", None, None, true),
            ("PythonConnector", Some("JSON"), None, false),
            ("PythonConnector", Some("JSON"), Some("arrow_force"), true),
            ("PythonConnector", Some("ARROW"), Some("JSON"), false),
            ("PythonConnector", Some("CSV"), None, true),
            // The parameter of another kind of client.
            ("Go", Some("JSON"), Some("JSON"), true),
            ("JDBC", None, None, true),
            ("ODBC", None, None, false),
            (".NET", None, None, false),
            ("JavaScript", Some("ARROW"), Some("ARROW"), false),
            ("", None, None, false),
        ];
        for (name, of_session, of_request, expected) in cases {
            let mut session = Session::default();
            if let Some(format) = of_session {
                session.parameters.insert(parameter, format.to_owned());
            }
            let request = json!({ parameter: of_request });
            let client = Client::named(name);
            let taken = client.takes_arrow(&session, request.as_object());
            assert_eq!(taken, expected, "{name} {of_session:?} {of_request:?}");
        }
    }
}
