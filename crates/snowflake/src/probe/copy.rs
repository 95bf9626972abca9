//! The COPY statement of a pipe: its table, and whether it takes each record whole.
//!
//! Source: Snowflake documentation, "CREATE PIPE", "Snowpipe Streaming high-performance architecture". What a statement does is
//! read from its words; their order is the service's business.

use super::name::path_of;

/// How rows are made of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyShape {
    /// Keys go to the columns of their names.
    ByName,
    /// By expressions over `$1`.
    Select {
        /// Whether some records make no row, or several (WHERE, JOIN, FLATTEN and their like).
        filters: bool,
    },
}

/// What a COPY statement says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The table, as far as it is named; unquoted parts in upper case.
    pub table: Vec<String>,
    /// How rows are made.
    pub shape: CopyShape,
    text: String,
}

/// Words that change how many rows a record makes.
const FILTERS: [&str; 7] = [
    "WHERE", "JOIN", "FLATTEN", "LATERAL", "QUALIFY", "LIMIT", "DISTINCT",
];

impl Copy {
    /// Reads a definition; none where it is no COPY statement.
    #[must_use]
    pub fn read(definition: &str) -> Option<Self> {
        let words = words(definition);
        let into = words
            .windows(2)
            .position(|pair| pair[0].eq_ignore_ascii_case("COPY") && pair[1].eq_ignore_ascii_case("INTO"))?;
        let table = words.get(into + 2)?;
        let has = |word: &str| words.iter().any(|known| known.eq_ignore_ascii_case(word));
        let shape = if has("MATCH_BY_COLUMN_NAME") {
            CopyShape::ByName
        } else {
            CopyShape::Select {
                filters: FILTERS.iter().any(|word| has(word)),
            }
        };
        Some(Self {
            table: folded(table),
            shape,
            text: definition.to_owned(),
        })
    }

    /// Database, schema and name of the table; what the statement leaves out is where its pipe is.
    #[must_use]
    pub fn table_in(&self, database: &str, schema: &str) -> Option<[String; 3]> {
        match &self.table[..] {
            [table] => Some([database, schema, table].map(str::to_owned)),
            [schema, table] => Some([database, schema, table].map(str::to_owned)),
            [database, schema, table] => Some([database, schema, table].map(Clone::clone)),
            _ => None,
        }
    }

    /// Whether a row holds what a record has under this key: each row does where it goes by names, or holds `$1` whole. Paths
    /// into a VARIANT keep the case of their keys.
    #[must_use]
    pub fn carries(&self, key: &str) -> bool {
        if self.shape == CopyShape::ByName {
            return true;
        }
        let whole = self.text.match_indices("$1").any(|(at, found)| {
            let behind = self.text[at + found.len()..].trim_start();
            !behind.starts_with([':', '[', '.']) && !behind.starts_with(|c: char| c.is_ascii_digit())
        });
        whole
            || self.text.contains(&format!(":{key}"))
            || self.text.contains(&format!(":\"{key}\""))
            || self.text.contains(&format!("'{key}'"))
    }
}

/// The table's name in parts: upper case where it is not quoted.
fn folded(text: &str) -> Vec<String> {
    let mut name = String::new();
    let mut within = false;
    for letter in text.chars() {
        within ^= letter == '"';
        if within {
            name.push(letter);
        } else {
            name.extend(letter.to_uppercase());
        }
    }
    path_of(&name)
}

/// The words outside of texts and comments; a name with its points and quotes is one.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => {
                // A doubled quote ends one text and begins the next, which is the same here.
                letters.by_ref().find(|next| *next == '\'');
            }
            '"' => {
                word.push('"');
                for next in letters.by_ref() {
                    word.push(next);
                    if next == '"' {
                        break;
                    }
                }
            }
            '-' if letters.peek() == Some(&'-') => {
                letters.by_ref().find(|next| *next == '\n');
            }
            '_' | '$' | '.' => word.push(letter),
            letter if letter.is_alphanumeric() => word.push(letter),
            _ => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "kinesisMetadata";

    #[test]
    fn table_shape_and_metadata_are_read() {
        let streaming = "FROM TABLE(DATA_SOURCE(TYPE => 'STREAMING'))";
        let cases = [
            (
                format!("COPY INTO ORDERS {streaming} MATCH_BY_COLUMN_NAME=CASE_INSENSITIVE"),
                vec!["ORDERS"],
                CopyShape::ByName,
                true,
            ),
            (
                format!(
                    "copy into d.s.\"my.orders\" from (select $1:a, $1:kinesisMetadata.stream::string {streaming})"
                ),
                vec!["D", "S", "my.orders"],
                CopyShape::Select { filters: false },
                true,
            ),
            (
                format!("COPY INTO T (A) FROM (SELECT $1:a, 'where kinesisMetadata' {streaming})"),
                vec!["T"],
                CopyShape::Select { filters: false },
                false,
            ),
            (
                format!("COPY INTO T FROM (SELECT $1 {streaming} WHERE $1:a > 1)"),
                vec!["T"],
                CopyShape::Select { filters: true },
                true,
            ),
            (
                format!(
                    "COPY INTO T FROM (SELECT $1['kinesisMetadata'], $1:\"where\" -- where\n {streaming})"
                ),
                vec!["T"],
                CopyShape::Select { filters: false },
                true,
            ),
            (
                format!("COPY INTO T FROM (SELECT $1:kinesismetadata {streaming})"),
                vec!["T"],
                CopyShape::Select { filters: false },
                false,
            ),
        ];
        for (text, table, shape, carries) in cases {
            let copy = Copy::read(&text).expect("a COPY statement");
            assert_eq!(copy.table, table, "{text}");
            assert_eq!(copy.shape, shape, "{text}");
            assert_eq!(copy.carries(KEY), carries, "{text}");
        }
        assert_eq!(Copy::read("SELECT 1"), None);
    }
}
