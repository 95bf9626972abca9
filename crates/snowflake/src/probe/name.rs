//! Names as SQL writes them.

/// A name that SQL takes letter by letter.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A name of several parts, likewise.
#[must_use]
pub fn quoted_path(path: &[&str]) -> String {
    path.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(".")
}

/// The parts of a name as a SHOW writes it: points part it, but not within quotes; unquoted parts are taken as they stand.
#[must_use]
pub fn path_of(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut letters = text.chars().peekable();
    let mut within = false;
    while let Some(letter) = letters.next() {
        let last = parts.last_mut().expect("there is one from the start");
        match letter {
            '"' if within && letters.peek() == Some(&'"') => {
                letters.next();
                last.push('"');
            }
            '"' => within = !within,
            '.' if !within => parts.push(String::new()),
            other => last.push(other),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_names_are_found_and_put_together_again() {
        for (text, parts) in [
            ("D", vec!["D"]),
            ("D.PUBLIC.T", vec!["D", "PUBLIC", "T"]),
            (
                "D.\"my.schema\".\"a \"\"b\"\"\"",
                vec!["D", "my.schema", "a \"b\""],
            ),
            ("\"T-STREAMING\"", vec!["T-STREAMING"]),
        ] {
            assert_eq!(path_of(text), parts, "{text}");
            assert_eq!(path_of(&quoted_path(&parts)), parts, "{text}");
        }
    }
}
