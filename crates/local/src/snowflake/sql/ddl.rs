//! What a table's columns are and what statement makes an object again: SHOW COLUMNS and GET_DDL.
//!
//! Source: Snowflake documentation, "SHOW COLUMNS" and "GET_DDL". GET_DDL is the whole statement, `SELECT GET_DDL('TABLE', 'name')`
//! or `'PIPE'`, not a part of another one; what it prints makes an object of the same definition here and in the service.

use serde_json::json;
use sqlparser::tokenizer::Token;

use super::access::Access;
use super::show::{Filter, type_text};
use super::words::Words;
use super::{QueryResult, Result, Session, SqlError, iceberg};
use crate::snowflake::catalog::Catalog;
use crate::snowflake::catalog::grants::Object;
use crate::snowflake::model::{ColumnDef, DataType, EvolutionKind, RETENTION_DAYS, TableDef, TableKind};

/// Runs SHOW COLUMNS; what stands behind the word has been read.
pub(super) fn show_columns(catalog: &Catalog, session: &Session, filter: &Filter) -> Result<QueryResult> {
    let tables = match filter.table(session)? {
        Some(name) => {
            let table = catalog.table(&name.database, &name.schema, &name.name)?;
            vec![table.ok_or_else(|| SqlError::missing("Table", &name.to_string()))?]
        }
        None => {
            let (database, schema) = filter.scope(session);
            catalog.list_tables(database.as_deref(), schema.as_deref())?
        }
    };
    let mut rows = Vec::new();
    for table in &tables {
        let columns = table.columns.iter().filter(|column| filter.admits(&column.name));
        rows.extend(columns.map(|column| shown(table, column)));
    }
    let names = [
        "table_name",
        "schema_name",
        "column_name",
        "data_type",
        "null?",
        "default",
        "kind",
        "expression",
        "comment",
        "database_name",
        "autoincrement",
        "schema_evolution_record",
    ];
    Ok(QueryResult::texts(&names, rows))
}

fn shown(table: &TableDef, column: &ColumnDef) -> Vec<Option<String>> {
    let empty = || Some(String::new());
    vec![
        Some(table.name.clone()),
        Some(table.schema.clone()),
        Some(column.name.clone()),
        Some(described(column)),
        Some(if column.nullable { "true" } else { "NOT_NULL" }.to_owned()),
        Some(column.default.clone().unwrap_or_default()),
        Some("COLUMN".to_owned()),
        empty(),
        Some(column.comment.clone().unwrap_or_default()),
        Some(table.database.clone()),
        Some(
            identity(column)
                .map(|text| format!("IDENTITY {text}"))
                .unwrap_or_default(),
        ),
        evolution_record(column),
    ]
}

/// SchemaEvolutionRecord of a column. Source: Snowflake documentation, behaviour change 1377 (bundle 2023_08): type, mode, file,
/// time, and query or pipe. Rows that are streamed come from no file and no query.
pub(super) fn evolution_record(column: &ColumnDef) -> Option<String> {
    let evolution = column.evolution?;
    let kind = match evolution.kind {
        EvolutionKind::AddColumn => "ADD_COLUMN",
        EvolutionKind::DropNotNull => "DROP_NOT_NULL",
    };
    let time = chrono::DateTime::from_timestamp_millis(evolution.at_ms)?;
    let record = json!({
        "evolutionType": kind,
        "evolutionMode": "SNOWPIPE",
        "fileName": null,
        "triggeringTime": time.format("%Y-%m-%d %H:%M:%S%.9fZ").to_string(),
        "queryId": null,
    });
    Some(record.to_string())
}

/// The words of an IDENTITY column.
pub(super) fn identity(column: &ColumnDef) -> Option<String> {
    let (start, step) = column.identity?;
    Some(format!("START {start} INCREMENT {step} NOORDER"))
}

/// The type as SHOW COLUMNS writes it.
fn described(column: &ColumnDef) -> String {
    let nullable = column.nullable;
    let plain = |name: &str| json!({ "type": name, "nullable": nullable });
    let clock =
        |name: &str, scale: u8| json!({ "type": name, "precision": 0, "scale": scale, "nullable": nullable });
    let sized = |name: &str, length: u32, bytes: u64| json!({ "type": name, "length": length, "byteLength": bytes, "nullable": nullable, "fixed": false });
    let fixed = |precision: u8, scale: i8| json!({ "type": "FIXED", "precision": precision, "scale": scale, "nullable": nullable });
    let described = match column.data_type {
        DataType::Number { precision, scale } => fixed(precision, scale),
        DataType::Int => fixed(10, 0),
        DataType::Long => fixed(19, 0),
        DataType::Float => plain("REAL"),
        DataType::Boolean => plain("BOOLEAN"),
        DataType::Varchar { length } => sized(
            "TEXT",
            length,
            u64::from(length).saturating_mul(4).min(134_217_728),
        ),
        DataType::Binary { length } => sized("BINARY", length, u64::from(length)),
        DataType::Date => plain("DATE"),
        DataType::Time { scale } => clock("TIME", scale),
        DataType::TimestampNtz { scale } => clock("TIMESTAMP_NTZ", scale),
        DataType::TimestampLtz { scale } => clock("TIMESTAMP_LTZ", scale),
        DataType::TimestampTz { scale } => clock("TIMESTAMP_TZ", scale),
        DataType::Variant => plain("VARIANT"),
        DataType::Object | DataType::Struct { .. } => plain("OBJECT"),
        DataType::Array | DataType::List { .. } => plain("ARRAY"),
        DataType::Map { .. } => plain("MAP"),
        DataType::Decfloat => json!({ "type": "DECFLOAT", "precision": 38, "nullable": nullable }),
        DataType::Vector { dimension, .. } => {
            json!({ "type": "VECTOR", "vectorDimension": dimension, "nullable": nullable })
        }
    };
    described.to_string()
}

/// Runs `SELECT GET_DDL('<kind>', '<name>')`, if that is the statement.
pub(super) fn run(catalog: &Catalog, session: &Session, words: &Words) -> Result<Option<QueryResult>> {
    let is_it = words.len() == 7
        && words.are(0, &["SELECT", "GET_DDL"])
        && words.get(2) == Some(&Token::LParen)
        && words.get(4) == Some(&Token::Comma)
        && words.get(6) == Some(&Token::RParen);
    let (true, Some(kind), Some(name)) = (is_it, words.text(3), words.text(5)) else {
        return Ok(None);
    };
    let kind = kind.to_uppercase();
    if !["TABLE", "PIPE"].contains(&kind.as_str()) {
        return Err(SqlError::unsupported(&format!("GET_DDL of a {kind}")));
    }
    let named = Words::of(name)?;
    let parts = match named.name(0) {
        Some((parts, end)) if end == named.len() => parts,
        _ => return Err(SqlError::syntax(format!("{name} is no name"))),
    };
    let access = Access::of(catalog, session);
    let missing = || SqlError::missing("Object", name);
    let found = access.find(&kind, &parts)?.ok_or_else(missing)?;
    if !access.sees(&found)? {
        return Err(missing());
    }
    let text = match found.object {
        Object::Table(id) => {
            let found = catalog.table_by_id(id)?.ok_or_else(missing)?;
            table(&found, &iceberg::clauses(catalog, &found)?)
        }
        Object::Pipe(id) => {
            let pipe = catalog.pipe_by_id(id)?.ok_or_else(missing)?;
            let comment = pipe.comment.map(|text| format!(" COMMENT = {}", literal(&text)));
            let copy = pipe.copy.ok_or_else(missing)?;
            format!(
                "create or replace pipe {}{} as {copy};",
                quoted(&pipe.name),
                comment.unwrap_or_default()
            )
        }
        _ => return Err(missing()),
    };
    Ok(Some(QueryResult::texts(&["GET_DDL"], vec![vec![Some(text)]])))
}

fn table(table: &TableDef, clauses: &str) -> String {
    let is_iceberg = table.kind == TableKind::Iceberg;
    let type_text = if is_iceberg { iceberg::type_text } else { type_text };
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|column| {
            let mut text = format!("\t{} {}", quoted(&column.name), type_text(&column.data_type));
            if !column.nullable {
                text.push_str(" NOT NULL");
            }
            if let Some(default) = &column.default {
                text.push_str(&format!(" DEFAULT {default}"));
            }
            if let Some(identity) = identity(column) {
                text.push_str(&format!(" AUTOINCREMENT {identity}"));
            }
            if let Some(comment) = &column.comment {
                text.push_str(&format!(" COMMENT {}", literal(comment)));
            }
            text
        })
        .collect();
    let mut text = format!(
        "create or replace {}TABLE {} (\n{}\n)",
        match table.kind {
            TableKind::Standard => "",
            TableKind::Iceberg => "ICEBERG ",
            TableKind::Interactive => "INTERACTIVE ",
        },
        quoted(&table.name),
        columns.join(",\n")
    );
    text.push_str(clauses);
    if let Some(keys) = &table.cluster_by {
        text.push_str(&format!(" CLUSTER BY {keys}"));
    }
    for (option, is_on) in [
        ("ENABLE_SCHEMA_EVOLUTION", table.schema_evolution),
        ("ERROR_LOGGING", table.error_logging),
        ("ROW_TIMESTAMP", table.row_timestamp_ms.is_some()),
    ] {
        if is_on {
            text.push_str(&format!(" {option} = TRUE"));
        }
    }
    if table.retention_days != RETENTION_DAYS {
        text.push_str(&format!(
            " DATA_RETENTION_TIME_IN_DAYS = {}",
            table.retention_days
        ));
    }
    if let Some(comment) = &table.comment {
        text.push_str(&format!(" COMMENT = {}", literal(comment)));
    }
    if let Some(transform) = &table.transform {
        text.push_str(&format!(" AS {transform}"));
    }
    text.push(';');
    text
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// A name as SQL reads it back.
pub(super) fn quoted(name: &str) -> String {
    let begins = name.starts_with(|letter: char| letter.is_ascii_uppercase() || letter == '_');
    let is_plain = begins
        && name
            .chars()
            .all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || "_$".contains(letter));
    if is_plain {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}
