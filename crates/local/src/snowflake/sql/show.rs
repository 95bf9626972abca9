//! SHOW, DESCRIBE and USE, read from the words of the statement.

mod tables;

use sqlparser::tokenizer::Token;

use super::access::Access;
use super::words::Words;
use super::{Name, QueryResult, Result, Session, SqlError, ddl, pipe, structured};
use crate::snowflake::catalog::Catalog;
use crate::snowflake::model::{ChannelFilter, DataType, TableDef, TableKind, VectorElement};

/// Runs the statement if it is one of these.
pub(super) fn run(catalog: &Catalog, session: &mut Session, words: &Words) -> Result<Option<QueryResult>> {
    match words.word(0) {
        Some("SHOW") => show(catalog, session, words).map(Some),
        Some("DESC" | "DESCRIBE") => describe(catalog, session, words).map(Some),
        Some("USE") => switch(catalog, session, words).map(Some),
        _ => Ok(None),
    }
}

/// `LIKE '...'`, `IN DATABASE|SCHEMA|TABLE|PIPE|ACCOUNT name` and `STARTS WITH '...'`, in this order.
#[derive(Debug, Default)]
pub(super) struct Filter {
    like: Option<String>,
    starts_with: Option<String>,
    kind: Option<String>,
    name: Vec<String>,
}

impl Filter {
    pub(super) fn read(words: &Words, mut at: usize) -> Result<Self> {
        let mut filter = Self::default();
        if words.are(at, &["LIKE"]) {
            let text = words
                .text(at + 1)
                .ok_or_else(|| SqlError::syntax("LIKE wants a text"))?;
            filter.like = Some(text.to_owned());
            at += 2;
        }
        if words.are(at, &["IN"]) {
            at += 1;
            let kinds = ["ACCOUNT", "DATABASE", "SCHEMA", "TABLE", "PIPE"];
            if let Some(kind) = words.word(at).filter(|word| kinds.contains(word)) {
                filter.kind = Some(kind.to_owned());
                at += 1;
            }
            if let Some((name, end)) = words.name(at) {
                filter.name = name;
                at = end;
            }
        }
        if words.are(at, &["STARTS", "WITH"]) {
            let text = words
                .text(at + 2)
                .ok_or_else(|| SqlError::syntax("STARTS WITH wants a text"))?;
            filter.starts_with = Some(text.to_owned());
            at += 3;
        }
        if at == words.len() {
            Ok(filter)
        } else {
            let word = words.get(at).map(ToString::to_string).unwrap_or_default();
            Err(SqlError::syntax(format!("unexpected '{word}' in the SHOW")))
        }
    }

    /// The table that is meant, if it is one: `IN TABLE name`, or a name without a kind.
    pub(super) fn table(&self, session: &Session) -> Result<Option<Name>> {
        match self.kind.as_deref() {
            Some("TABLE") | None if !self.name.is_empty() => session.resolve(&self.name).map(Some),
            _ => Ok(None),
        }
    }

    pub(super) fn admits(&self, name: &str) -> bool {
        let begins = self
            .starts_with
            .as_ref()
            .is_none_or(|start| name.starts_with(start));
        let is_like = self
            .like
            .as_ref()
            .is_none_or(|pattern| like(&pattern.to_uppercase(), &name.to_uppercase()));
        begins && is_like
    }

    /// Database and schema that are meant; the session's where none is named.
    pub(super) fn scope(&self, session: &Session) -> (Option<String>, Option<String>) {
        match (self.kind.as_deref(), self.name.as_slice()) {
            (Some("ACCOUNT"), _) => (None, None),
            (Some("DATABASE"), [database]) => (Some(database.clone()), None),
            (_, [database, schema]) => (Some(database.clone()), Some(schema.clone())),
            (_, [schema]) => (session.database.clone(), Some(schema.clone())),
            _ => (session.database.clone(), session.schema.clone()),
        }
    }
}

/// How many of its rows a SHOW answers.
pub(super) struct Limit {
    rows: usize,
    /// Only names behind this one.
    from: Option<String>,
}

impl Limit {
    pub(super) fn apply(&self, result: &mut QueryResult) {
        let name = result.columns.iter().position(|column| column.name == "name");
        if let (Some(from), Some(name)) = (&self.from, name) {
            let is_behind = |row: &Vec<Option<String>>| row.get(name).and_then(Option::as_ref) > Some(from);
            result.rows.retain(is_behind);
        }
        result.rows.truncate(self.rows);
    }
}

/// Takes `LIMIT n [FROM 'name']` from the end of a SHOW.
pub(super) fn limited(words: Words) -> Result<(Words, Option<Limit>)> {
    if !words.are(0, &["SHOW"]) {
        return Ok((words, None));
    }
    let Some(at) = (1..words.len()).rev().find(|at| words.are(*at, &["LIMIT"])) else {
        return Ok((words, None));
    };
    let rows = match words.get(at + 1) {
        Some(Token::Number(rows, _)) => rows.parse().ok(),
        _ => None,
    };
    let from = match words.are(at + 2, &["FROM"]) {
        true => words.text(at + 3).map(ToOwned::to_owned),
        false => None,
    };
    let end = at + 2 + if from.is_some() { 2 } else { 0 };
    match rows {
        Some(rows) if end == words.len() => Ok((words.range(0, at), Some(Limit { rows, from }))),
        _ => Err(SqlError::syntax(
            "LIMIT of a SHOW wants a number of rows, and then FROM and a text",
        )),
    }
}

/// SQL's LIKE: `%` for any text, `_` for one character.
fn like(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // Which lengths of the text the pattern so far can end at.
    let mut ends = vec![false; text.len() + 1];
    ends[0] = true;
    for part in pattern {
        let mut next = vec![false; text.len() + 1];
        if part == '%' {
            let first = ends.iter().position(|end| *end).unwrap_or(usize::MAX);
            next.iter_mut().skip(first).for_each(|end| *end = true);
        } else {
            for (index, c) in text.iter().enumerate() {
                next[index + 1] = ends[index] && (part == '_' || part == *c);
            }
        }
        ends = next;
    }
    ends.last().copied().unwrap_or(false)
}

/// A moment as the REST API writes a timestamp: seconds since 1970 with nine digits behind the point.
pub(super) fn moment(ms: i64) -> Option<String> {
    let (seconds, rest) = (ms.div_euclid(1000), ms.rem_euclid(1000));
    Some(format!("{seconds}.{rest:03}000000"))
}

fn some(text: impl Into<String>) -> Option<String> {
    Some(text.into())
}

fn show(catalog: &Catalog, session: &Session, words: &Words) -> Result<QueryResult> {
    let at = if words.are(1, &["TERSE"]) { 2 } else { 1 };
    let kind = match (words.word(at), words.word(at + 1)) {
        (Some("ICEBERG"), Some("TABLES")) => Some(TableKind::Iceberg),
        (Some("INTERACTIVE"), Some("TABLES")) => Some(TableKind::Interactive),
        _ => None,
    };
    let at = at + usize::from(kind.is_some());
    let history = words.are(at, &["TABLES", "HISTORY"]);
    let filter = Filter::read(words, at + 1 + usize::from(history))?;
    let (database, schema) = filter.scope(session);
    match words.word(at) {
        Some("DATABASES") => {
            let rows = catalog
                .list_databases()?
                .into_iter()
                .filter(|row| filter.admits(&row.database));
            let rows = rows.map(|row| vec![moment(row.created_on_ms), some(row.database)]);
            Ok(QueryResult::texts(&["created_on", "name"], rows.collect()))
        }
        Some("SCHEMAS") => {
            let rows = catalog.list_schemas(filter.name.first().or(database.as_ref()).map(String::as_str))?;
            let rows = rows.into_iter().filter(|row| filter.admits(&row.schema));
            let rows = rows.map(|row| vec![moment(row.created_on_ms), some(row.schema), some(row.database)]);
            Ok(QueryResult::texts(
                &["created_on", "name", "database_name"],
                rows.collect(),
            ))
        }
        Some("TABLES") => {
            let wanted =
                |table: &TableDef| filter.admits(&table.name) && kind.is_none_or(|kind| table.kind == kind);
            let place = (database.as_deref(), schema.as_deref());
            tables::show(catalog, session, place, history, wanted)
        }
        Some("PIPES") => {
            let rows = catalog.pipes(database.as_deref(), schema.as_deref())?;
            let rows = rows.into_iter().filter(|row| filter.admits(&row.name));
            Ok(QueryResult::texts(&pipe::SHOWN, rows.map(pipe::shown).collect()))
        }
        Some("CHANNELS") => channels(catalog, session, &filter),
        Some("COLUMNS") => ddl::show_columns(catalog, session, &filter),
        other => Err(SqlError::unsupported(&format!(
            "SHOW {}",
            other.unwrap_or("what is written here")
        ))),
    }
}

/// A clustering key as SHOW TABLES and INFORMATION_SCHEMA write it.
pub(super) fn clustering(keys: Option<&str>) -> String {
    keys.map(|keys| format!("LINEAR{keys}")).unwrap_or_default()
}

fn channels(catalog: &Catalog, session: &Session, filter: &Filter) -> Result<QueryResult> {
    let mut wanted = ChannelFilter::default();
    match filter.kind.as_deref() {
        Some(kind @ ("TABLE" | "PIPE")) => {
            let name = session.resolve(&filter.name)?;
            (wanted.database, wanted.schema) = (Some(name.database), Some(name.schema));
            let object = Some(name.name);
            if kind == "TABLE" {
                wanted.table = object
            } else {
                wanted.pipe = object
            }
        }
        _ => (wanted.database, wanted.schema) = filter.scope(session),
    }
    let rows = catalog
        .channels(&wanted)?
        .into_iter()
        .filter(|row| filter.admits(&row.name))
        .map(|row| {
            vec![
                moment(row.created_on_ms),
                some(row.name),
                some(row.database),
                some(row.schema),
                some(row.table),
                some(row.client_sequencer.to_string()),
                some(row.committed_row_sequencer.to_string()),
                row.offset_token,
                some(row.pipe),
                some("PIPE"),
            ]
        });
    let names = [
        "created_on",
        "name",
        "database_name",
        "schema_name",
        "table_name",
        "client_sequencer",
        "row_sequencer",
        "offset_token",
        "parent_name",
        "parent_domain",
    ];
    Ok(QueryResult::texts(&names, rows.collect()))
}

/// A type as Snowflake writes it.
pub(super) fn type_text(data_type: &DataType) -> String {
    match data_type {
        DataType::Number { precision, scale } => format!("NUMBER({precision},{scale})"),
        DataType::Float => "FLOAT".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Varchar { length } => format!("VARCHAR({length})"),
        DataType::Binary { length } => format!("BINARY({length})"),
        DataType::Date => "DATE".to_owned(),
        DataType::Time { scale } => format!("TIME({scale})"),
        DataType::TimestampNtz { scale } => format!("TIMESTAMP_NTZ({scale})"),
        DataType::TimestampLtz { scale } => format!("TIMESTAMP_LTZ({scale})"),
        DataType::TimestampTz { scale } => format!("TIMESTAMP_TZ({scale})"),
        DataType::Variant => "VARIANT".to_owned(),
        DataType::Object => "OBJECT".to_owned(),
        DataType::Array => "ARRAY".to_owned(),
        DataType::Int => "NUMBER(10,0)".to_owned(),
        DataType::Long => "NUMBER(19,0)".to_owned(),
        DataType::Decfloat => "DECFLOAT(38)".to_owned(),
        DataType::Vector { element, dimension } => {
            let element = match element {
                VectorElement::Float => "FLOAT",
                VectorElement::Int => "INT",
            };
            format!("VECTOR({element}, {dimension})")
        }
        structured => structured::text(structured, &type_text),
    }
}

/// Source: Snowflake documentation, "DESCRIBE TABLE"; the last column is there where the table evolves (behaviour change 1377).
fn described(table: &TableDef) -> QueryResult {
    let rows = table.columns.iter().map(|column| {
        let identity = ddl::identity(column).map(|text| format!("IDENTITY {text}"));
        let mut row = vec![
            some(column.name.clone()),
            some(type_text(&column.data_type)),
            some("COLUMN"),
            some(if column.nullable { "Y" } else { "N" }),
            column.default.clone().or(identity),
            some("N"),
            some("N"),
            None,
            None,
            column.comment.clone(),
            None,
            None,
        ];
        if table.schema_evolution {
            row.push(ddl::evolution_record(column));
        }
        row
    });
    let names = [
        "name",
        "type",
        "kind",
        "null?",
        "default",
        "primary key",
        "unique key",
        "check",
        "expression",
        "comment",
        "policy name",
        "privacy domain",
        "schema_evolution_record",
    ];
    let shown = names.len() - usize::from(!table.schema_evolution);
    QueryResult::texts(&names[..shown], rows.collect())
}

fn describe(catalog: &Catalog, session: &Session, words: &Words) -> Result<QueryResult> {
    let kind = words.word(1).unwrap_or_default();
    match kind {
        "DATABASE" | "SCHEMA" => {
            let (name, _) = words
                .name(2)
                .ok_or_else(|| SqlError::syntax("a name is missing"))?;
            let rows = match (kind, name.as_slice()) {
                ("DATABASE", [database]) => {
                    let schemas = catalog.list_schemas(Some(database))?.into_iter();
                    schemas
                        .map(|row| vec![moment(row.created_on_ms), some(row.schema), some("SCHEMA")])
                        .collect()
                }
                _ => {
                    let full = session.resolve(&[name, vec![String::new()]].concat())?;
                    let tables = catalog
                        .list_tables(Some(&full.database), Some(&full.schema))?
                        .into_iter();
                    tables
                        .map(|row| vec![moment(row.created_on_ms), some(row.name), some("TABLE")])
                        .collect()
                }
            };
            Ok(QueryResult::texts(&["created_on", "name", "kind"], rows))
        }
        _ => {
            let at = match kind {
                "TABLE" => 2,
                "ICEBERG" | "INTERACTIVE" if words.are(2, &["TABLE"]) => 3,
                _ => 1,
            };
            let (name, end) = words
                .name(at)
                .ok_or_else(|| SqlError::syntax("a table's name is missing"))?;
            let is_end = words.get(end).is_none_or(|token| *token == Token::SemiColon);
            let columns =
                words.are(end, &["TYPE"]) && words.are(end + 2, &["COLUMNS"]) && words.len() == end + 3;
            if !is_end && !columns {
                return Err(SqlError::syntax("unexpected words behind the table's name"));
            }
            let name = session.resolve(&name)?;
            let table = catalog.table(&name.database, &name.schema, &name.name)?;
            table
                .map(|table| described(&table))
                .ok_or_else(|| SqlError::missing("Table", &name.to_string()))
        }
    }
}

fn switch(catalog: &Catalog, session: &mut Session, words: &Words) -> Result<QueryResult> {
    let kind = words.word(1).unwrap_or_default().to_owned();
    let named = matches!(kind.as_str(), "DATABASE" | "SCHEMA" | "ROLE" | "WAREHOUSE");
    let (name, _) = words
        .name(if named { 2 } else { 1 })
        .ok_or_else(|| SqlError::syntax("a name is missing"))?;
    match (kind.as_str(), name.as_slice()) {
        ("ROLE", [role]) => {
            if catalog.role(role)?.is_none() {
                return Err(cannot());
            }
            if !session.user.is_empty() && !catalog.user_has_role(&session.user, role)? {
                return Err(SqlError {
                    code: "003013",
                    sql_state: "42501",
                    message: format!(
                        "Requested role '{role}' is not assigned to the executing user. Specify another role to activate."
                    ),
                });
            }
            session.role = Some(role.clone());
        }
        // One role counts here; the statement stands in scripts.
        ("SECONDARY", _) if words.are(2, &["ROLES"]) => {}
        // There is nothing to choose, and scripts do.
        ("WAREHOUSE", name) => session.warehouse = name.last().cloned(),
        ("SCHEMA", [schema]) => {
            let database = session.database.clone().ok_or_else(super::no_database)?;
            enter(catalog, session, &database, Some(schema))?;
        }
        (_, [database]) => enter(catalog, session, database, None)?,
        (_, [database, schema]) => enter(catalog, session, database, Some(schema))?,
        _ => return Err(SqlError::syntax("a name has one or two parts here")),
    }
    Ok(QueryResult::status("Statement executed successfully.".to_owned()))
}

fn cannot() -> SqlError {
    SqlError {
        code: "002043",
        sql_state: "02000",
        message: "SQL compilation error: Object does not exist, or operation cannot be performed.".to_owned(),
    }
}

fn enter(catalog: &Catalog, session: &mut Session, database: &str, schema: Option<&String>) -> Result<()> {
    let access = Access::of(catalog, session);
    let named = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
    let found = access.find("DATABASE", &named(&[database]))?;
    if !found.map_or(Ok(false), |found| access.sees(&found))? {
        return Err(SqlError::missing("Database", database));
    }
    if let Some(schema) = schema {
        let found = access.find("SCHEMA", &named(&[database, schema]))?;
        if !found.map_or(Ok(false), |found| access.sees(&found))? {
            return Err(SqlError::missing("Schema", &format!("{database}.{schema}")));
        }
    }
    session.database = Some(database.to_owned());
    session.schema = Some(schema.cloned().unwrap_or_else(|| "PUBLIC".to_owned()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn patterns_admit_what_sql_admits() {
        for (pattern, text, admits) in [
            ("%", "", true),
            ("A%C", "ABC", true),
            ("A%C", "ABCD", false),
            ("A_C", "ABC", true),
            ("A_C", "AC", false),
            ("%B%", "ABC", true),
            ("", "A", false),
        ] {
            assert_eq!(like(pattern, text), admits, "{pattern} {text}");
        }
    }
}
