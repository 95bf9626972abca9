//! Variables and secrets inside values.
//!
//! | text | becomes |
//! |---|---|
//! | `${NAME}` | the environment variable; an error where it is not set |
//! | `${NAME:-default}` | the same, or `default` where it is not set or empty |
//! | `${secret:env/NAME}` | the environment variable, which must be set and not empty |
//! | `${secret:file/path}` | the text of the file, without the newline at its end; a path not starting with `/` (so `${secret:file//run/key}` is absolute) counts from the configuration file's folder |
//! | `$$` | `$` |
//!
//! A `$` before anything else stands for itself. What was put in is not looked at again, and never printed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest secret that is read from a file, in bytes.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Where `${NAME}` is looked up.
#[derive(Clone)]
pub struct Variables(Arc<Lookup>);

impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Variables")
    }
}

impl Variables {
    /// The variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self(Arc::new(|name| std::env::var(name).ok()))
    }

    /// These variables and no others.
    #[must_use]
    pub fn these(variables: &[(&str, &str)]) -> Self {
        let map: HashMap<String, String> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Self(Arc::new(move |name| map.get(name).cloned()))
    }

    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }
}

/// A text after interpolation.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) text: String,
    /// What was put in, as `${NAME}`, for messages. Where it is not empty, `text` must not be printed.
    pub(super) from: Vec<String>,
}

/// Puts variables and secrets in. The error says what is wrong, without any value.
pub(super) fn fill(text: &str, variables: &Variables, base: &Path) -> Result<Filled, String> {
    let mut filled = Filled {
        text: String::with_capacity(text.len()),
        from: Vec::new(),
    };
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        filled.text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            filled.text.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let Some(end) = after.find('}') else {
                return Err("`${` without its `}`; write `$$` for a dollar sign".to_owned());
            };
            let (name, value) = resolve(&after[..end], variables, base)?;
            filled.text.push_str(&value);
            filled.from.push(name);
            rest = &after[end + 1..];
        } else {
            filled.text.push('$');
        }
    }
    filled.text.push_str(rest);
    Ok(filled)
}

/// What stands between the braces: its name for messages, and its value.
fn resolve(inside: &str, variables: &Variables, base: &Path) -> Result<(String, String), String> {
    if let Some(secret) = inside.strip_prefix("secret:") {
        let label = format!("${{secret:{secret}}}");
        return secret_value(secret, variables, base).map(|value| (label, value));
    }
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    check_name(name)?;
    let value = variables.get(name);
    let value = match (value, default) {
        (Some(value), Some(default)) if value.is_empty() => default.to_owned(),
        (Some(value), _) => value,
        (None, Some(default)) => default.to_owned(),
        (None, None) => {
            return Err(format!(
                "the environment variable `{name}` is not set; set it, or give a default as in `${{{name}:-default}}`"
            ));
        }
    };
    Ok((format!("${{{name}}}"), value))
}

/// The file of a value that is one secret of a file and nothing else.
pub(super) fn secret_file(text: &str, base: &Path) -> Option<PathBuf> {
    let name = text.strip_prefix("${secret:file/")?.strip_suffix('}')?;
    (!name.contains('}')).then(|| base.join(name))
}

fn check_name(name: &str) -> Result<(), String> {
    let start = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if start && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Ok(());
    }
    Err(format!(
        "`${{{name}}}` names no variable: expected `${{NAME}}`, `${{NAME:-default}}` or `${{secret:provider/name}}`"
    ))
}

fn secret_value(secret: &str, variables: &Variables, base: &Path) -> Result<String, String> {
    let Some((provider, name)) = secret.split_once('/') else {
        return Err(format!(
            "`${{secret:{secret}}}` has no name: expected `${{secret:provider/name}}`"
        ));
    };
    match provider {
        "env" => {
            check_name(name)?;
            let value = variables.get(name).filter(|value| !value.is_empty());
            value
                .ok_or_else(|| format!("the environment variable `{name}` of the secret is not set or empty"))
        }
        "file" => {
            let path = base.join(name);
            let shown = path.display().to_string();
            let failed = |error: std::io::Error| format!("the secret's file {shown} cannot be read: {error}");
            let length = std::fs::metadata(&path).map_err(failed)?.len();
            if length > MAX_SECRET_BYTES {
                return Err(format!(
                    "the secret's file {shown} has more than {MAX_SECRET_BYTES} bytes"
                ));
            }
            let text = std::fs::read_to_string(&path).map_err(failed)?;
            let text = text.strip_suffix('\n').unwrap_or(&text);
            let text = text.strip_suffix('\r').unwrap_or(text);
            if text.is_empty() {
                return Err(format!("the secret's file {shown} is empty"));
            }
            Ok(text.to_owned())
        }
        other => Err(format!(
            "no secret provider is named `{other}`; there are `env` and `file`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, String> {
        let variables = Variables::these(&[("HOST", "h1"), ("EMPTY", ""), ("ODD", "${HOST}$$")]);
        fill(text, &variables, Path::new("/nowhere")).map(|filled| filled.text)
    }

    #[test]
    fn variables_defaults_and_dollar_signs_are_put_in() {
        for (text, expected) in [
            ("plain", "plain"),
            ("http://${HOST}:80/${HOST}", "http://h1:80/h1"),
            ("${MISSING:-a:-b}", "a:-b"),
            ("${EMPTY:-d}|${EMPTY}|${HOST:-d}", "d||h1"),
            ("$$${HOST}$$ $ $x 5$", "$h1$ $ $x 5$"),
            ("${ODD}", "${HOST}$$"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_secret_file_is_read_without_its_newline() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("key"), "canary\n\n").expect("written");
        std::fs::write(folder.path().join("large"), vec![b'x'; 65_537]).expect("written");
        let variables = Variables::these(&[]);
        let absolute = format!("${{secret:file/{}/key}}", folder.path().display());
        for text in ["${secret:file/key}", &absolute] {
            let found = fill(text, &variables, folder.path()).map(|filled| filled.text);
            assert_eq!(found.as_deref(), Ok("canary\n"), "{text}");
        }
        let large = fill("${secret:file/large}", &variables, folder.path()).map(|filled| filled.text);
        assert!(large.is_err_and(|error| error.ends_with("has more than 65536 bytes")));
    }
}
