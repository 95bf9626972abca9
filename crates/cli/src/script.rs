//! SQL scripts: a file's statements, and the USE that stands between them.
//!
//! How it works: the text is cut at semicolons that stand in no literal, quoted name, comment or `$$` block. Each statement is a
//! request of its own to the SQL REST API, which keeps no session (Snowflake documentation, "SQL REST API"): so what USE chose is
//! kept here and named in the requests that follow.

use frazil_snowflake::SnowflakeConfig;

/// One statement and the line where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// The statements of a script, without comments before them.
pub(crate) fn statements(script: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    let mut rest = script;
    let mut begin = script;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' => literal(rest, first),
            '$' if rest.starts_with("$$") => until(rest, 2, "$$"),
            '-' if rest.starts_with("--") => until(rest, 2, "\n"),
            '/' if rest.starts_with("//") => until(rest, 2, "\n"),
            '/' if rest.starts_with("/*") => until(rest, 2, "*/"),
            ';' => {
                let end = begin.len() - rest.len();
                push(&mut found, script, begin, end);
                begin = &rest[1..];
                1
            }
            other => other.len_utf8(),
        };
        rest = &rest[length..];
    }
    push(&mut found, script, begin, begin.len());
    found
}

/// Bytes up to and with the next `end`, or all.
fn until(text: &str, from: usize, end: &str) -> usize {
    text[from..]
        .find(end)
        .map_or(text.len(), |at| from + at + end.len())
}

/// Bytes of a literal or quoted name; a doubled quote is two of them side by side.
fn literal(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quote == '\'' => escaped = true,
            letter if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn push(found: &mut Vec<Statement>, script: &str, begin: &str, length: usize) {
    let mut text = &begin[..length];
    loop {
        text = text.trim_start();
        text = match text {
            comment if comment.starts_with("--") || comment.starts_with("//") => {
                &comment[until(comment, 2, "\n")..]
            }
            comment if comment.starts_with("/*") => &comment[until(comment, 2, "*/")..],
            _ => break,
        };
    }
    let before = script.len() - begin.len() + (length - text.len());
    let text = text.trim_end();
    if !text.is_empty() {
        let line = 1 + script[..before].matches('\n').count();
        let text = text.to_owned();
        found.push(Statement { line, text });
    }
}

/// Where the statements behind this one run, if it is a USE that says so.
pub(crate) fn used(statement: &str, now: &SnowflakeConfig) -> Option<SnowflakeConfig> {
    let words: Vec<&str> = statement.split_whitespace().collect();
    let is = |at: usize, word: &str| {
        words
            .get(at)
            .is_some_and(|found| found.eq_ignore_ascii_case(word))
    };
    if !is(0, "USE") {
        return None;
    }
    let mut next = now.clone();
    let last = (*words.last()?).to_owned();
    let parts: Vec<&str> = last.split('.').collect();
    match (words.len(), parts.as_slice()) {
        (3, _) if is(1, "ROLE") => next.role = Some(last),
        (3, [database]) if is(1, "DATABASE") => {
            (next.database, next.schema) = ((*database).to_owned(), "PUBLIC".to_owned());
        }
        (3, [schema]) if is(1, "SCHEMA") => next.schema = (*schema).to_owned(),
        (2, [database]) => (next.database, next.schema) = ((*database).to_owned(), "PUBLIC".to_owned()),
        (2, [database, schema]) => {
            (next.database, next.schema) = ((*database).to_owned(), (*schema).to_owned());
        }
        (3, [database, schema]) if is(1, "SCHEMA") => {
            (next.database, next.schema) = ((*database).to_owned(), (*schema).to_owned());
        }
        _ => return None,
    }
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_cut_where_a_statement_ends() {
        let script = "-- a; comment\nSELECT ';', \"a;b\", 'it''s; \\';';\n/* more; */ // and; more\n\nSELECT\n 2 -- end;\n;;\n$$x;y$$; last";
        let found = statements(script);
        let texts: Vec<&str> = found.iter().map(|one| one.text.as_str()).collect();
        let expected = [
            "SELECT ';', \"a;b\", 'it''s; \\';'",
            "SELECT\n 2 -- end;",
            "$$x;y$$",
            "last",
        ];
        assert_eq!(texts, expected);
        let lines: Vec<usize> = found.iter().map(|one| one.line).collect();
        assert_eq!(lines, [2, 5, 8, 8]);
        for odd in ["", ";", "-- only a comment", "/* open", "'open; literal", "$$ü;"] {
            assert!(statements(odd).len() <= 1, "{odd}");
        }
    }

    #[test]
    fn use_moves_what_follows() {
        let start = SnowflakeConfig {
            account: "local".to_owned(),
            user: "ADA".to_owned(),
            role: None,
            authentication: frazil_snowflake::Authentication::KeyPair {
                private_key: frazil_snowflake::SecretSource::File("key".into()),
                passphrase: None,
            },
            url: None,
            proxy: None,
            ca_file: None,
            database: "A".to_owned(),
            schema: "S".to_owned(),
            pipe: String::new(),
        };
        let place = |statement: &str| {
            let next = used(statement, &start)?;
            Some((next.role, next.database, next.schema))
        };
        let moved = |role: Option<&str>, database: &str, schema: &str| {
            Some((role.map(str::to_owned), database.to_owned(), schema.to_owned()))
        };
        assert_eq!(place("USE ROLE r"), moved(Some("r"), "A", "S"));
        assert_eq!(place("use database d"), moved(None, "d", "PUBLIC"));
        assert_eq!(place("USE d"), moved(None, "d", "PUBLIC"));
        assert_eq!(place("USE SCHEMA t"), moved(None, "A", "t"));
        assert_eq!(place("USE SCHEMA d.t"), moved(None, "d", "t"));
        assert_eq!(place("USE d.t"), moved(None, "d", "t"));
        for other in ["USE WAREHOUSE w", "USE SECONDARY ROLES ALL", "SELECT 1", "USE"] {
            assert_eq!(place(other), None, "{other}");
        }
    }
}
