//! CREATE, ALTER and DROP of databases, schemas and tables.

use std::sync::Arc;

use sqlparser::ast::{
    ColumnDef as Parsed, ColumnOption, CommentDef, CreateTable, CreateTableOptions,
    IdentityPropertyFormatKind, IdentityPropertyKind, ObjectName, ObjectType, SchemaName, SqlOption,
    Statement,
};

use super::types::data_type;
use super::words::{TableOptions, Words, error_table_of};
use super::{QueryResult, Result, Scope, Session, SqlError, interactive, sequences};
use crate::snowflake::catalog::Catalog;
use crate::snowflake::catalog::grants::Object;
use crate::snowflake::model::{ColumnDef, CreateMode, Created, DataType, NewTable, SegmentKind, TableKind};

/// Runs a definition.
pub(super) fn run(
    catalog: &Arc<Catalog>,
    session: &mut Session,
    statement: Statement,
    options: TableOptions,
) -> Result<QueryResult> {
    match statement {
        Statement::CreateDatabase {
            db_name,
            if_not_exists,
            or_replace,
            ..
        } => {
            let name = only(&db_name)?;
            let created = catalog.create_database(&name, mode(or_replace, if_not_exists)?)?;
            if created != Created::Existed {
                let public = Object::Schema(name.clone(), "PUBLIC".to_owned());
                for made in [Object::Database(name.clone()), public] {
                    catalog.set_owner(&made, session.role(), false)?;
                }
            }
            (session.database, session.schema) = (Some(name.clone()), Some("PUBLIC".to_owned()));
            Ok(told("Database", &name, created))
        }
        Statement::CreateSchema {
            schema_name: SchemaName::Simple(name),
            if_not_exists,
            ..
        } => {
            let (database, schema) = pair(session, &name)?;
            if !catalog.database_exists(&database)? {
                return Err(SqlError::missing("Database", &database));
            }
            let created = catalog.create_schema(&database, &schema, mode(false, if_not_exists)?)?;
            if created != Created::Existed {
                let made = Object::Schema(database, schema.clone());
                catalog.set_owner(&made, session.role(), false)?;
            }
            session.schema = Some(schema.clone());
            Ok(told("Schema", &schema, created))
        }
        Statement::CreateTable(create) => Ok(table_of(catalog, session, create, options, Ok)?.result),
        Statement::Drop {
            object_type,
            if_exists,
            names,
            ..
        } => {
            let mut last = String::new();
            for name in names {
                last = drop_one(catalog, session, &object_type, if_exists, &name)?;
            }
            Ok(QueryResult::status(last))
        }
        other => {
            let words: Vec<String> = other
                .to_string()
                .split_whitespace()
                .take(2)
                .map(ToOwned::to_owned)
                .collect();
            Err(SqlError::unsupported(&words.join(" ")))
        }
    }
}

pub(super) fn told(kind: &str, name: &str, created: Created) -> QueryResult {
    QueryResult::status(match created {
        Created::Made | Created::Replaced => format!("{kind} {name} successfully created."),
        Created::Existed => format!("{name} already exists, statement succeeded."),
    })
}

pub(super) fn mode(or_replace: bool, if_not_exists: bool) -> Result<CreateMode> {
    match (or_replace, if_not_exists) {
        (true, true) => Err(SqlError::syntax(
            "OR REPLACE and IF NOT EXISTS exclude each other",
        )),
        (true, false) => Ok(CreateMode::OrReplace),
        (false, true) => Ok(CreateMode::IfNotExists),
        (false, false) => Ok(CreateMode::New),
    }
}

/// The parts of a name, folded already.
pub(super) fn parts(name: &ObjectName) -> Result<Vec<String>> {
    let parts = name
        .0
        .iter()
        .map(|part| part.as_ident().map(|ident| ident.value.clone()));
    parts
        .collect::<Option<_>>()
        .ok_or_else(|| SqlError::syntax(format!("{name} is no name")))
}

fn only(name: &ObjectName) -> Result<String> {
    match parts(name)?.as_slice() {
        [one] => Ok(one.clone()),
        _ => Err(SqlError::syntax(format!(
            "{name}: a database's name has one part"
        ))),
    }
}

fn pair(session: &Session, name: &ObjectName) -> Result<(String, String)> {
    match parts(name)?.as_slice() {
        [schema] => Ok((
            session.database.clone().ok_or_else(super::no_database)?,
            schema.clone(),
        )),
        [database, schema] => Ok((database.clone(), schema.clone())),
        _ => Err(SqlError::syntax(format!(
            "{name}: a schema's name has one or two parts"
        ))),
    }
}

fn comment(create: &CreateTable) -> Option<String> {
    let among_options = match &create.table_options {
        CreateTableOptions::Plain(options) => options.iter().find_map(|option| match option {
            SqlOption::Comment(comment) => Some(comment),
            _ => None,
        }),
        _ => None,
    };
    let (CommentDef::WithEq(text) | CommentDef::WithoutEq(text)) =
        among_options.or(create.comment.as_ref())?;
    Some(text.clone())
}

/// Only standard tables have row timestamps (Snowflake documentation, "Row timestamps").
pub(super) fn takes_row_timestamps(kind: TableKind) -> Result<()> {
    match kind {
        TableKind::Standard => Ok(()),
        TableKind::Iceberg => Err(SqlError::unsupported(
            "ROW_TIMESTAMP of an Iceberg table (as in the service)",
        )),
        TableKind::Interactive => Err(SqlError::unsupported(
            "ROW_TIMESTAMP of an interactive table (as in the service)",
        )),
    }
}

/// DATA_RETENTION_TIME_IN_DAYS (Snowflake documentation, "CREATE TABLE").
pub(super) fn retention(days: u64) -> Result<u8> {
    u8::try_from(days)
        .ok()
        .filter(|days| *days <= 90)
        .ok_or_else(|| SqlError::syntax("DATA_RETENTION_TIME_IN_DAYS is 0 to 90"))
}

/// What a CREATE TABLE answers, and whether it made the table.
pub(super) struct Told {
    pub(super) result: QueryResult,
    pub(super) is_new: bool,
}

/// Runs CREATE TABLE with the columns that `columns` makes of the named ones.
pub(super) fn table_of(
    catalog: &Arc<Catalog>,
    session: &Session,
    create: CreateTable,
    options: TableOptions,
    columns: impl FnOnce(Vec<ColumnDef>) -> Result<Vec<ColumnDef>>,
) -> Result<Told> {
    if create.like.is_some() || create.clone.is_some() {
        return Err(SqlError::unsupported(
            "this form of CREATE TABLE ... LIKE or CLONE",
        ));
    }
    if create.temporary || create.volatile {
        // It would stay, and take the place of another one.
        return Err(SqlError::unsupported(
            "temporary tables: make one that stays, and DROP it",
        ));
    }
    if create.dynamic {
        return Err(SqlError::unsupported("dynamic tables"));
    }
    let (new, mode) = new_table(catalog, session, &create, options, column)?;
    let name = new.name.clone();
    let columns = columns(new.columns)?;
    distinct(&columns)?;
    let created = catalog.create_table(&NewTable { columns, ..new }, mode)?;
    Ok(Told {
        result: told("Table", &name, created),
        is_new: created != Created::Existed,
    })
}

fn distinct(columns: &[ColumnDef]) -> Result<()> {
    for (index, column) in columns.iter().enumerate() {
        if columns.iter().take(index).any(|other| other.name == column.name) {
            let message = format!("duplicate column name '{}'", column.name);
            return Err(SqlError::syntax(message));
        }
    }
    Ok(())
}

/// The table that a CREATE TABLE asks for.
pub(super) fn new_table(
    catalog: &Arc<Catalog>,
    session: &Session,
    create: &CreateTable,
    options: TableOptions,
    column: impl Fn(&Parsed) -> Result<ColumnDef>,
) -> Result<(NewTable, CreateMode)> {
    let name = session.resolve(&parts(&create.name)?)?;
    if !catalog.schema_exists(&name.database, &name.schema)? {
        return Err(SqlError::missing(
            "Schema",
            &format!("{}.{}", name.database, name.schema),
        ));
    }
    let mut columns: Vec<ColumnDef> = create.columns.iter().map(column).collect::<Result<_>>()?;
    distinct(&columns)?;
    for default in columns.iter_mut().filter_map(|column| column.default.as_mut()) {
        if let Some(whole) = sequences::whole_default(catalog, session, default)? {
            *default = whole;
        }
    }
    let row_timestamp = match options.row_timestamp {
        Some(said) => said,
        None if options.kind == TableKind::Standard => {
            catalog.row_timestamp_default(&name.database, &name.schema)?
        }
        None => false,
    };
    let new = NewTable {
        database: name.database.clone(),
        schema: name.schema.clone(),
        name: name.name.clone(),
        columns,
        schema_evolution: options.schema_evolution.unwrap_or(false),
        error_logging: options.error_logging.unwrap_or(false),
        row_timestamp,
        kind: options.kind,
        transform: options.transform,
        cluster_by: create.cluster_by.as_ref().map(ToString::to_string),
        comment: comment(create),
        retention_days: create.data_retention_time_in_days.map(retention).transpose()?,
        owner: Some(session.role_name()),
        copy_grants_of: match create.copy_grants {
            true => catalog
                .table(&name.database, &name.schema, &name.name)?
                .map(|replaced| replaced.id),
            false => None,
        },
    };
    if new.row_timestamp {
        takes_row_timestamps(new.kind)?;
    }
    if new.kind == TableKind::Interactive {
        interactive::check(&new, &Scope::of_session(catalog, session))?;
    }
    let mode = mode(create.or_replace, create.if_not_exists)?;
    if mode == CreateMode::New && catalog.table(&name.database, &name.schema, &name.name)?.is_some() {
        return Err(SqlError::exists("TABLE", &name.to_string()));
    }
    Ok((new, mode))
}

/// `TRUNCATE [TABLE] [IF EXISTS] <name>`, of a table or of its error table.
pub(super) fn truncate(catalog: &Catalog, session: &Session, words: &Words) -> Result<QueryResult> {
    let at = if words.are(1, &["TABLE"]) { 2 } else { 1 };
    let if_exists = words.are(at, &["IF", "EXISTS"]);
    let (name, end) = words
        .name(if if_exists { at + 2 } else { at })
        .ok_or_else(|| SqlError::syntax("a table's name is missing"))?;
    if end != words.len() {
        return Err(SqlError::syntax("unexpected words behind the table's name"));
    }
    let mut name = session.resolve(&name)?;
    let mut kind = SegmentKind::Rows;
    if let Some(table) = error_table_of(&name.name) {
        (name.name, kind) = (table.to_owned(), SegmentKind::Errors);
    }
    let found = catalog.table(&name.database, &name.schema, &name.name)?;
    match found.filter(|table| kind == SegmentKind::Rows || table.error_logging) {
        Some(table) => catalog.truncate(table.id, kind)?,
        None if if_exists => {}
        None if kind == SegmentKind::Errors => {
            return Err(SqlError::missing("Error table of", &name.to_string()));
        }
        None => return Err(SqlError::missing("Table", &name.to_string())),
    }
    Ok(QueryResult::status("Statement executed successfully.".to_owned()))
}

fn drop_one(
    catalog: &Catalog,
    session: &Session,
    kind: &ObjectType,
    if_exists: bool,
    name: &ObjectName,
) -> Result<String> {
    let (word, text, dropped) = match kind {
        ObjectType::Database => {
            let name = only(name)?;
            let dropped = catalog.drop_database(&name)?;
            ("Database", name, dropped)
        }
        ObjectType::Schema => {
            let (database, schema) = pair(session, name)?;
            let dropped = catalog.drop_schema(&database, &schema)?;
            ("Schema", schema, dropped)
        }
        ObjectType::Table => {
            let name = session.resolve(&parts(name)?)?;
            let dropped = catalog.drop_table(&name.database, &name.schema, &name.name)?;
            ("Table", name.name, dropped)
        }
        other => return Err(SqlError::unsupported(&format!("DROP {other}"))),
    };
    match (dropped, if_exists) {
        (true, _) => Ok(format!("{text} successfully dropped.")),
        (false, true) => Ok(format!(
            "Drop statement executed successfully ({text} already dropped)."
        )),
        (false, false) => Err(SqlError::missing(word, &text)),
    }
}

/// The column that a parsed one means.
pub(super) fn column(parsed: &Parsed) -> Result<ColumnDef> {
    let mut column = ColumnDef::new(&parsed.name.value, data_type(&parsed.data_type)?);
    for option in &parsed.options {
        match &option.option {
            ColumnOption::NotNull => column.nullable = false,
            ColumnOption::Null => {}
            ColumnOption::Comment(text) => column.comment = Some(text.clone()),
            ColumnOption::Default(expression) => column.default = Some(default(&expression.to_string())?),
            ColumnOption::Identity(kind) => column.identity = Some(identity(kind)?),
            other => return Err(SqlError::unsupported(&format!("the column option {other}"))),
        }
    }
    let is_whole = matches!(column.data_type, DataType::Number { scale: 0, .. });
    if column.identity.is_some() && (!is_whole || column.default.is_some()) {
        let message = format!(
            "column '{}': IDENTITY is for whole numbers without DEFAULT",
            column.name
        );
        return Err(SqlError::syntax(message));
    }
    Ok(column)
}

/// First value and step of IDENTITY or AUTOINCREMENT; ORDER and NOORDER are the same with one writer.
fn identity(kind: &IdentityPropertyKind) -> Result<(i64, i64)> {
    let (IdentityPropertyKind::Identity(property) | IdentityPropertyKind::Autoincrement(property)) = kind;
    let Some(parameters) = &property.parameters else {
        return Ok((1, 1));
    };
    let (IdentityPropertyFormatKind::FunctionCall(parameters)
    | IdentityPropertyFormatKind::StartAndIncrement(parameters)) = parameters;
    let number = |expression: &sqlparser::ast::Expr| {
        let text = expression.to_string().replace(' ', "");
        let parsed = text.parse::<i64>();
        parsed.map_err(|_| SqlError::syntax(format!("IDENTITY: {text} is no whole number")))
    };
    match (number(&parameters.seed)?, number(&parameters.increment)?) {
        (_, 0) => Err(SqlError::syntax("IDENTITY: the increment is zero")),
        pair => Ok(pair),
    }
}

/// Literals, the current time and the numbers of a sequence; anything else would have to be evaluated.
fn default(text: &str) -> Result<String> {
    let upper = text.to_uppercase();
    let literal = text.starts_with('\'')
        || text.parse::<f64>().is_ok()
        || matches!(upper.as_str(), "TRUE" | "FALSE" | "NULL")
        || upper.starts_with("CURRENT_TIMESTAMP")
        || upper.starts_with("SYSDATE")
        || sequences::of_default(text).is_some();
    if literal {
        Ok(text.to_owned())
    } else {
        Err(SqlError::unsupported(&format!("DEFAULT {text}")))
    }
}
