//! What a statement is, as its words say before it is run: its number, its values, and what a session does.

use sqlparser::tokenizer::Token;

use super::words::Words;
use super::{QueryResult, Result, Session, SqlError, binding, executed};

/// The statement whose result `SELECT * FROM TABLE(RESULT_SCAN('<id>'))`, and nothing else, asks for.
pub(crate) fn result_scan(sql: &str) -> Option<String> {
    let words = Words::of(sql).ok()?;
    let signs = [
        (1, Token::Mul),
        (4, Token::LParen),
        (6, Token::LParen),
        (8, Token::RParen),
        (9, Token::RParen),
    ];
    let is_it = words.len() == 10
        && words.are(0, &["SELECT"])
        && words.are(2, &["FROM", "TABLE"])
        && words.are(5, &["RESULT_SCAN"])
        && signs.iter().all(|(at, sign)| words.get(*at) == Some(sign));
    words.text(7).filter(|_| is_it).map(ToOwned::to_owned)
}

/// The verb of a statement about a pipe.
pub(super) fn pipe_statement(words: &Words) -> Option<&str> {
    let at = if words.are(0, &["CREATE", "OR", "REPLACE"]) {
        3
    } else {
        1
    };
    let verb = words.word(0)?;
    let known = ["CREATE", "ALTER", "DROP", "DESC", "DESCRIBE"].contains(&verb);
    (known && words.are(at, &["PIPE"])).then_some(verb)
}

/// Sessions' parameters and transactions: each statement is its own, so COMMIT and ROLLBACK find nothing to do.
pub(super) fn transaction(session: &mut Session, words: &Words) -> Result<Option<QueryResult>> {
    let off = words.are(2, &["SET", "AUTOCOMMIT"]) && words.word(5) == Some("FALSE");
    match words.word(0) {
        Some("BEGIN" | "START") => Err(SqlError::unsupported("transactions of several statements")),
        Some("ALTER") if words.are(1, &["SESSION"]) && off => Err(SqlError::unsupported(
            "transactions of several statements (AUTOCOMMIT = FALSE)",
        )),
        Some("ALTER") if words.are(1, &["SESSION"]) => {
            set_parameters(session, words);
            Ok(Some(executed()))
        }
        Some("COMMIT" | "ROLLBACK") => Ok(Some(executed())),
        _ => Ok(None),
    }
}

/// Parameters of sessions that somebody reads; all others may be set and change nothing.
const PARAMETERS: [&str; 5] = [
    "PYTHON_CONNECTOR_QUERY_RESULT_FORMAT",
    "GO_QUERY_RESULT_FORMAT",
    "JDBC_QUERY_RESULT_FORMAT",
    "ODBC_QUERY_RESULT_FORMAT",
    "DOTNET_QUERY_RESULT_FORMAT",
];

/// The parameter of this name, if anybody reads it.
pub(crate) fn parameter(name: &str) -> Option<&'static str> {
    PARAMETERS
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(name))
}

/// What ALTER SESSION SET and UNSET change.
fn set_parameters(session: &mut Session, words: &Words) {
    let (is_set, is_unset) = (words.are(2, &["SET"]), words.are(2, &["UNSET"]));
    for at in 3..words.len() {
        let Some(name) = words.word(at).and_then(parameter) else {
            continue;
        };
        let value = words.text(at + 2).or_else(|| words.word(at + 2));
        match value {
            Some(value) if is_set && words.get(at + 1) == Some(&Token::Eq) => {
                session.parameters.insert(name, value.to_uppercase());
            }
            _ if is_unset => {
                session.parameters.remove(name);
            }
            _ => {}
        }
    }
}

/// The statement with its values put in.
pub(super) fn bound(words: &Words, bindings: &binding::Bindings) -> Result<Words> {
    let Some(rows) = bindings.values().filter_map(binding::Binding::rows).max() else {
        return binding::bind(words.tokens(), bindings, 0).map(Words::folded);
    };
    let values = (0..words.len()).find(|at| words.are(*at, &["VALUES"]));
    let (Some(values), true) = (values, words.are(0, &["INSERT"])) else {
        return Err(SqlError::unsupported(
            "lists of values but in INSERT ... VALUES (?)",
        ));
    };
    let mut tokens = words.range(0, values + 1).tokens().to_vec();
    let row = words.range(values + 1, words.len());
    for number in 0..rows {
        if number > 0 {
            tokens.push(Token::Comma);
        }
        tokens.extend(binding::bind(row.tokens(), bindings, number)?);
    }
    Ok(Words::folded(tokens))
}

/// The number of a query.
pub(crate) const QUERY: u32 = 0x1000;

/// The number by which drivers know a kind of statement (source of `snowflake-connector-python`: a query is 0x1000, INSERT
/// 0x3100, what changes the session 0x4000, SHOW 0x4400, DESCRIBE 0x4500, definitions 0x6000).
pub(super) fn statement_type(words: &Words) -> u32 {
    match words.word(0) {
        Some("INSERT") => 0x3100,
        Some("USE") => 0x4300,
        Some("SHOW") => 0x4400,
        Some("DESC" | "DESCRIBE") => 0x4500,
        Some("ALTER") if words.are(1, &["SESSION"]) => 0x4100,
        Some("COMMIT" | "ROLLBACK") => 0x5000,
        Some("CREATE" | "ALTER" | "DROP" | "UNDROP" | "TRUNCATE" | "GRANT" | "REVOKE") => 0x6000,
        _ => QUERY,
    }
}
