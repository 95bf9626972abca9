//! CREATE ICEBERG TABLE and what else is said of Iceberg tables only.
//!
//! Source: Snowflake documentation, "CREATE ICEBERG TABLE (Snowflake as the Iceberg catalog)", "Data types for Apache Iceberg
//! tables", "SHOW ICEBERG TABLES", "SYSTEM$GET_ICEBERG_TABLE_INFORMATION".

use sqlparser::ast::{ColumnDef as Parsed, CreateTable, DataType as Type, TimezoneInfo};
use sqlparser::tokenizer::Token;

use super::access::Access;
use super::define::{self, parts};
use super::show::{Filter, moment};
use super::types::data_type;
use super::words::{TableOptions, Words};
use super::{Engine, QueryResult, Result, Session, SqlError, structured};
use crate::snowflake::catalog::Catalog;
use crate::snowflake::catalog::grants::{Kind, Object};
use crate::snowflake::iceberg::{self, Place};
use crate::snowflake::model::{
    ColumnDef, CreateMode, Created, DataType, MOST_SUB_COLUMNS, TableDef, TableKind,
};
use crate::snowflake::rows::MAX_VARCHAR;

/// The volume that Snowflake keeps itself; it wants no grant.
const MANAGED: &str = "SNOWFLAKE_MANAGED";
/// Characters of every text column.
pub(super) const TEXT: u32 = 134_217_728;
/// Bytes of every binary column.
const BINARY: u32 = 67_108_864;

/// Options of CREATE ICEBERG TABLE.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Options {
    volume: Option<String>,
    catalog: Option<String>,
    base_location: Option<String>,
    version: Option<String>,
}

/// A statement without the word ICEBERG and the options of Iceberg tables, if it makes one.
pub(super) fn read(words: &Words) -> Result<Option<(Words, Options)>> {
    let at = if words.are(1, &["OR", "REPLACE"]) { 3 } else { 1 };
    if !words.are(0, &["CREATE"]) || !words.are(at, &["ICEBERG", "TABLE"]) {
        return Ok(None);
    }
    let mut options = Options::default();
    let mut kept: Vec<Token> = words.tokens().get(..at).unwrap_or_default().to_vec();
    let (mut index, mut depth) = (at + 1, 0_usize);
    while let Some(token) = words.get(index) {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        let value = (words.get(index + 1) == Some(&Token::Eq)).then(|| match words.get(index + 2) {
            Some(Token::SingleQuotedString(text) | Token::Number(text, _)) => text.clone(),
            Some(Token::Word(word)) => word.value.clone(),
            _ => String::new(),
        });
        let name = words.word(index).filter(|_| depth == 0);
        match (name, value) {
            (Some("EXTERNAL_VOLUME"), Some(value)) => options.volume = Some(value),
            (Some("CATALOG"), Some(value)) => options.catalog = Some(value),
            (Some("BASE_LOCATION"), Some(value)) => options.base_location = Some(value),
            (Some("ICEBERG_VERSION"), Some(value)) => options.version = Some(value),
            // How files are laid out; these are laid out in one way.
            (Some("STORAGE_SERIALIZATION_POLICY"), Some(_)) => {}
            _ => {
                if depth == 0 && words.are(index, &["PARTITION", "BY"]) {
                    return Err(SqlError::unsupported("PARTITION BY of Iceberg tables"));
                }
                kept.push(token.clone());
                index += 1;
                continue;
            }
        }
        index += 3;
    }
    Ok(Some((Words::folded(kept), options)))
}

/// `ALTER|DROP|DESC|TRUNCATE ICEBERG TABLE` as the same of a table.
pub(super) fn plain(words: &Words) -> Words {
    let verbs = ["ALTER", "DROP", "DESC", "DESCRIBE", "TRUNCATE"];
    let is_it =
        words.word(0).is_some_and(|verb| verbs.contains(&verb)) && words.are(1, &["ICEBERG", "TABLE"]);
    if !is_it {
        return words.clone();
    }
    let mut tokens = words.tokens().to_vec();
    tokens.remove(1);
    Words::folded(tokens)
}

/// Runs CREATE ICEBERG TABLE.
pub(super) async fn create(
    engine: &Engine,
    session: &Session,
    create: CreateTable,
    mut table: TableOptions,
    options: Options,
) -> Result<QueryResult> {
    table.kind = TableKind::Iceberg;
    if create.query.is_some() {
        return Err(SqlError::unsupported("CREATE ICEBERG TABLE ... AS SELECT"));
    }
    if table.row_timestamp == Some(true) {
        return Err(no_row_timestamps());
    }
    let name = session.resolve(&parts(&create.name)?)?;
    let place = options.place(&name.to_string())?;
    if place.volume != MANAGED {
        let volume = Object::Named(Kind::Volume, place.volume.clone());
        if !engine.catalog.may(session.role(), false, "USAGE", &volume)?
            && session.role() != super::ACCOUNTADMIN
        {
            return Err(SqlError::missing("External volume", &place.volume));
        }
    }
    let (mut new, mode) = define::new_table(&engine.catalog, session, &create, table, |parsed| {
        column(parsed, place.version)
    })?;
    new.kind = TableKind::Iceberg;
    if new.columns.is_empty() {
        return Err(SqlError::syntax("an Iceberg table wants columns"));
    }
    let known = engine.catalog.table(&name.database, &name.schema, &name.name)?;
    if mode == CreateMode::IfNotExists && known.is_some() {
        return Ok(define::told("Table", &name.name, Created::Existed));
    }
    let engine = engine.clone();
    let made = tokio::task::spawn_blocking(move || {
        let (disk, catalog) = (engine.disk.as_ref(), &engine.catalog);
        let row = iceberg::create(disk, catalog, engine.files.folder(), &place, &new.columns)?;
        let created = catalog.create_iceberg_table(&new, &row, mode);
        if !matches!(created, Ok(made) if made != Created::Existed) {
            crate::snowflake::segments::remove(disk, &row.metadata);
        }
        created
    });
    let created = made.await.map_err(SqlError::running)??;
    Ok(define::told("Table", &name.name, created))
}

fn no_row_timestamps() -> SqlError {
    SqlError::unsupported("ROW_TIMESTAMP of Iceberg tables, which the service does not have either")
}

impl Options {
    fn place(self, name: &str) -> Result<Place> {
        let catalog = self.catalog.unwrap_or_else(|| "SNOWFLAKE".to_owned());
        if !catalog.eq_ignore_ascii_case("SNOWFLAKE") {
            return Err(SqlError::unsupported(&format!(
                "CATALOG = '{catalog}', only SNOWFLAKE"
            )));
        }
        let version = match self.version.as_deref() {
            None | Some("2") => 2,
            Some("3") => 3,
            Some(other) => {
                return Err(SqlError::syntax(format!(
                    "ICEBERG_VERSION is 2 or 3, not {other}"
                )));
            }
        };
        let volume = self.volume.unwrap_or_else(|| MANAGED.to_owned()).to_uppercase();
        let base_location = match self.base_location {
            Some(given) => given.trim_matches('/').to_owned(),
            None => {
                let own = uuid::Uuid::new_v4().simple().to_string();
                let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
                let plain = name
                    .split('.')
                    .map(|part| part.replace(|letter| !is_plain(letter), "_"));
                format!(
                    "{}.{}",
                    plain.collect::<Vec<_>>().join("/"),
                    own.get(..8).unwrap_or_default()
                )
            }
        };
        if volume.contains('/') || !is_path(&volume) {
            return Err(SqlError::syntax(format!(
                "EXTERNAL_VOLUME '{volume}' is no name of a volume"
            )));
        }
        if !is_path(&base_location) {
            return Err(SqlError::syntax(format!(
                "BASE_LOCATION '{base_location}' is no path of letters, digits and . _ - = /"
            )));
        }
        Ok(Place {
            volume,
            base_location,
            version,
        })
    }
}

/// Whether this is a path that stays where it is put, on any disk and in any address.
fn is_path(text: &str) -> bool {
    text.len() <= 512
        && text.split('/').all(|part| {
            let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-=".contains(letter);
            !part.is_empty() && part != "." && part != ".." && part.chars().all(plain)
        })
}

/// A column of an Iceberg table.
fn column(parsed: &Parsed, version: u8) -> Result<ColumnDef> {
    let mut column = define::column(parsed)?;
    if column.identity.is_some() {
        return Err(SqlError::unsupported("IDENTITY columns of Iceberg tables"));
    }
    column.data_type = column_type(&parsed.data_type, version)?;
    Ok(column)
}

fn column_type(parsed: &Type, version: u8) -> Result<DataType> {
    let read = match parsed {
        Type::Int(_) | Type::Integer(_) | Type::SmallInt(_) | Type::TinyInt(_) => DataType::Int,
        Type::BigInt(_) => DataType::Long,
        Type::Custom(name, arguments) => match name.to_string().to_uppercase().as_str() {
            "LONG" => DataType::Long,
            structured::TYPE => structured::read(arguments)?,
            _ => data_type(parsed)?,
        },
        Type::Timestamp(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone)
        | Type::TimestampNtz(None) => DataType::TimestampNtz { scale: 6 },
        other => data_type(other)?,
    };
    if read.sub_columns() > MOST_SUB_COLUMNS {
        return Err(SqlError::syntax("a structured type has too many sub-columns"));
    }
    let explicit = parsed.to_string().contains('(') && !read.is_structured();
    read.map_leaves(&|leaf| leaf_type(leaf, version, explicit))
}

/// The type that stands for one without parts, or why none does.
fn leaf_type(leaf: &DataType, version: u8, explicit: bool) -> Result<DataType> {
    let seconds = |scale: u8, name: &str| match (scale, version) {
        (6, _) => Ok(6),
        (9, _) if !explicit => Ok(6),
        (9, 3) if name != "TIME" => Ok(9),
        _ => Err(SqlError::syntax(format!(
            "{name}({scale}) is no type of an Iceberg table of version {version}: seconds have 6 digits, in timestamps of version 3 also 9"
        ))),
    };
    Ok(match leaf {
        DataType::Varchar {
            length: MAX_VARCHAR | TEXT,
        } => DataType::Varchar { length: TEXT },
        DataType::Varchar { length } => {
            return Err(SqlError::syntax(format!(
                "VARCHAR({length}) is no type of an Iceberg table: a text has no length, use STRING"
            )));
        }
        DataType::Binary { .. } if !explicit => DataType::Binary { length: BINARY },
        DataType::Binary { length: BINARY } => DataType::Binary { length: BINARY },
        DataType::Time { scale } => DataType::Time {
            scale: seconds(*scale, "TIME")?,
        },
        DataType::TimestampNtz { scale } => DataType::TimestampNtz {
            scale: seconds(*scale, "TIMESTAMP_NTZ")?,
        },
        DataType::TimestampLtz { scale } => DataType::TimestampLtz {
            scale: seconds(*scale, "TIMESTAMP_LTZ")?,
        },
        DataType::Variant if version < 3 => {
            return Err(SqlError {
                code: "091386",
                sql_state: "0A000",
                message: "SQL compilation error: VARIANT is no type of an Iceberg table of version 2; use ICEBERG_VERSION = 3"
                    .to_owned(),
            });
        }
        DataType::Binary { .. }
        | DataType::TimestampTz { .. }
        | DataType::Object
        | DataType::Array
        | DataType::Decfloat
        | DataType::Vector { .. } => {
            return Err(SqlError::syntax(format!(
                "{} is no type of an Iceberg table",
                super::show::type_text(leaf)
            )));
        }
        other => other.clone(),
    })
}

/// Whether a name is that of an Iceberg table.
pub(super) fn named(catalog: &Catalog, session: &Session, name: &[String]) -> Result<Option<TableDef>> {
    let name = session.resolve(name)?;
    let found = catalog.table(&name.database, &name.schema, &name.name)?;
    Ok(found.filter(iceberg::is_it))
}

/// ADD COLUMN of an Iceberg table; true with IF NOT EXISTS.
pub(super) async fn add_columns(engine: &Engine, table: &TableDef, columns: &[(Parsed, bool)]) -> Result<()> {
    let version = table.iceberg_version.unwrap_or(2);
    let mut added = Vec::new();
    for (parsed, if_not_exists) in columns {
        let new = column(parsed, version)?;
        if !new.nullable {
            return Err(SqlError::syntax("a new column of an Iceberg table takes NULL"));
        }
        added.push((new, *if_not_exists));
    }
    let (here, id) = (engine.clone(), table.id);
    let changed = tokio::task::spawn_blocking(move || {
        iceberg::alter(here.disk.as_ref(), &here.catalog, id, |table| {
            for (new, if_not_exists) in &added {
                if !table.columns.iter().any(|known| known.name == new.name) {
                    table.columns.push(new.clone());
                } else if !if_not_exists {
                    return Err(SqlError::exists("COLUMN", &new.name));
                }
            }
            Ok(())
        })
    });
    changed.await.map_err(SqlError::running)?
}

/// TRUNCATE of the rows of an Iceberg table, if that is the statement.
pub(super) async fn truncate(
    engine: &Engine,
    session: &Session,
    words: &Words,
) -> Result<Option<QueryResult>> {
    if !words.are(0, &["TRUNCATE"]) {
        return Ok(None);
    }
    let at = if words.are(1, &["TABLE"]) { 2 } else { 1 };
    let at = if words.are(at, &["IF", "EXISTS"]) {
        at + 2
    } else {
        at
    };
    let Some((name, _)) = words.name(at).filter(|(_, end)| *end == words.len()) else {
        return Ok(None);
    };
    let Some(table) = named(&engine.catalog, session, &name)? else {
        return Ok(None);
    };
    let here = engine.clone();
    let emptied =
        tokio::task::spawn_blocking(move || iceberg::truncate(here.disk.as_ref(), &here.catalog, table.id));
    emptied.await.map_err(SqlError::running)??;
    Ok(Some(QueryResult::status(
        "Statement executed successfully.".to_owned(),
    )))
}

/// SHOW ICEBERG TABLES, and what tells where the current metadata file is.
pub(super) fn run(engine: &Engine, session: &Session, words: &Words) -> Result<Option<QueryResult>> {
    let at = if words.are(1, &["TERSE"]) { 2 } else { 1 };
    if words.are(0, &["SHOW"]) && words.are(at, &["ICEBERG", "TABLES"]) {
        return show(&engine.catalog, session, &Filter::read(words, at + 2)?).map(Some);
    }
    let is_it = words.len() == 5
        && words.are(0, &["SELECT", "SYSTEM$GET_ICEBERG_TABLE_INFORMATION"])
        && words.get(2) == Some(&Token::LParen)
        && words.get(4) == Some(&Token::RParen);
    let (true, Some(name)) = (is_it, words.text(3)) else {
        return Ok(None);
    };
    let parsed = Words::of(name)?;
    let parts = parsed.name(0).filter(|(_, end)| *end == parsed.len());
    let parts = parts
        .ok_or_else(|| SqlError::syntax(format!("{name} is no name")))?
        .0;
    let access = Access::of(&engine.catalog, session);
    let missing = || SqlError::missing("Iceberg table", name);
    let found = access.find("TABLE", &parts)?.ok_or_else(missing)?;
    let table = named(&engine.catalog, session, &parts)?.ok_or_else(missing)?;
    if !access.sees(&found)? {
        return Err(missing());
    }
    let row = engine.catalog.iceberg(table.id)?.ok_or_else(missing)?;
    let within = row.metadata.strip_prefix(&row.folder).unwrap_or_default();
    let answer =
        serde_json::json!({ "metadataLocation": format!("{}{within}", row.location), "status": "success" });
    let column = "SYSTEM$GET_ICEBERG_TABLE_INFORMATION";
    Ok(Some(QueryResult::texts(
        &[column],
        vec![vec![Some(answer.to_string())]],
    )))
}

fn show(catalog: &Catalog, session: &Session, filter: &Filter) -> Result<QueryResult> {
    let (database, schema) = filter.scope(session);
    let mut rows = Vec::new();
    for table in catalog.list_tables(database.as_deref(), schema.as_deref())? {
        let Some(row) = catalog.iceberg(table.id)?.filter(|_| filter.admits(&table.name)) else {
            continue;
        };
        rows.push(vec![
            moment(table.created_on_ms),
            Some(table.name),
            Some(table.database),
            Some(table.schema),
            Some(table.owner),
            Some(row.volume),
            Some("SNOWFLAKE".to_owned()),
            Some("MANAGED".to_owned()),
            Some(row.base_location),
            Some("Y".to_owned()),
            Some(row.version.to_string()),
            table.comment,
        ]);
    }
    let names = [
        "created_on",
        "name",
        "database_name",
        "schema_name",
        "owner",
        "external_volume_name",
        "catalog_name",
        "iceberg_table_type",
        "base_location",
        "can_write_metadata",
        "iceberg_version",
        "comment",
    ];
    Ok(QueryResult::texts(&names, rows))
}

/// What GET_DDL writes behind the columns of an Iceberg table.
pub(super) fn clauses(catalog: &Catalog, table: &TableDef) -> Result<String> {
    let Some(row) = catalog.iceberg(table.id)? else {
        return Ok(String::new());
    };
    Ok(format!(
        "\n EXTERNAL_VOLUME = '{}'\n CATALOG = 'SNOWFLAKE'\n BASE_LOCATION = '{}'\n ICEBERG_VERSION = {}",
        row.volume, row.base_location, row.version
    ))
}

/// A type as CREATE ICEBERG TABLE reads it back.
pub(super) fn type_text(data_type: &DataType) -> String {
    match data_type {
        DataType::Int => "INT".to_owned(),
        DataType::Long => "BIGINT".to_owned(),
        DataType::Varchar { .. } => "STRING".to_owned(),
        DataType::Binary { .. } => "BINARY".to_owned(),
        structured if structured.is_structured() => structured::text(structured, &type_text),
        other => super::show::type_text(other),
    }
}
