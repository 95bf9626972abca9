//! Schema evolution: the columns that keys without one become.
//!
//! Source: Snowflake documentation, "Table schema evolution": types are inferred from the values of one operation and never
//! looked at again; more than 100 new columns, or a key that is no name, invalidate the channel.

use std::collections::{HashMap, HashSet};

use super::json::{Kind, Raw};
use super::keys::{Columns, Routes};
use super::{Invalid, MAX_VARCHAR, Parsed, Terms};
use crate::snowflake::behaviours::{Behaviours, Other};
use crate::snowflake::model::{ColumnDef, DataType, Evolution, EvolutionKind, TableDef};

/// Columns that one batch may add (Snowflake documentation, "Table schema evolution", limits).
const MAX_NEW_COLUMNS: usize = 100;
/// Characters of an identifier (Snowflake documentation, "Identifier requirements").
const MAX_NAME: usize = 255;

/// The columns that keys without one ask for.
pub(super) fn evolve(
    table: &TableDef,
    case_sensitive: bool,
    parsed: &[Parsed<'_>],
    batches: usize,
    terms: Terms<'_>,
) -> Result<Vec<ColumnDef>, Invalid> {
    let known = Columns::of(&table.columns, case_sensitive);
    let mut routes = Routes::default();
    let mut added: Vec<ColumnDef> = Vec::new();
    let mut index_of: HashMap<String, usize> = HashMap::new();
    let mut new_in_batch: Vec<HashSet<usize>> = vec![HashSet::new(); batches];
    for Parsed { batch, fields, .. } in parsed {
        for (place, (key, value)) in fields.iter().enumerate() {
            if !routes.of(place, key, &known).columns.is_empty() {
                continue;
            }
            let name = if case_sensitive {
                key.to_string()
            } else {
                key.to_uppercase()
            };
            let invalid = |message: String| Invalid {
                batch: *batch,
                code: "ERR_CHANNEL_MUST_BE_REOPENED".to_owned(),
                message,
            };
            if name.is_empty() || name.chars().count() > MAX_NAME {
                return Err(invalid("schema evolution: a key is no column name".to_owned()));
            }
            let inferred = match table.iceberg_version {
                None => inferred(value, terms.behaviours),
                Some(version) => match iceberg(value, version, terms.behaviours) {
                    Ok(inferred) => inferred,
                    // It makes no column; without one the key is left out.
                    Err(NoColumn) => continue,
                },
            };
            let index = *index_of.entry(name.clone()).or_insert(added.len());
            match added.get_mut(index) {
                Some(column) => column.data_type = common(&column.data_type, inferred),
                // NULL alone says nothing; common() lets any later value decide.
                None => added.push(ColumnDef {
                    stored: table.stored_as(&name),
                    evolution: Some(Evolution {
                        kind: EvolutionKind::AddColumn,
                        at_ms: terms.now_ms,
                    }),
                    ..ColumnDef::new(name, inferred.unwrap_or(UNDECIDED))
                }),
            }
            let new = new_in_batch.get_mut(*batch);
            if new.is_some_and(|new| new.insert(index) && new.len() > MAX_NEW_COLUMNS) {
                let message = format!("schema evolution: more than {MAX_NEW_COLUMNS} new columns in a batch");
                return Err(invalid(message));
            }
        }
    }
    for column in &mut added {
        if column.data_type == UNDECIDED {
            column.data_type = if table.iceberg_version.is_some() {
                LONG_TEXT
            } else {
                TEXT
            };
        }
    }
    Ok(added)
}

/// Stands for a column that has seen nothing but NULL; never leaves this module.
const UNDECIDED: DataType = DataType::Varchar { length: 0 };
pub(super) const WHOLE: DataType = DataType::Number {
    precision: 38,
    scale: 0,
};
pub(super) const TEXT: DataType = DataType::Varchar { length: MAX_VARCHAR };

/// Text of an Iceberg table, which has no length of its own.
pub(super) const LONG_TEXT: DataType = DataType::Varchar { length: 134_217_728 };

/// The value is of a kind that makes no column.
struct NoColumn;

/// The type for a column of an Iceberg table: numbers have a fixed point, which the digits behind it place; an object is VARIANT,
/// which version 2 does not have; an array makes no column (Snowflake documentation, "Table support and schema", limitations
/// of schema evolution; `test_iceberg` of Snowflake's Kafka connector 4, for the fixed point).
fn iceberg(value: &Raw<'_>, version: u8, behaviours: Behaviours) -> Result<Option<DataType>, NoColumn> {
    Ok(match value.kind {
        Kind::Array => return Err(NoColumn),
        Kind::Object if version < 3 => return Err(NoColumn),
        Kind::Text(_) => match inferred(value, behaviours) {
            Some(DataType::Date) => Some(DataType::Date),
            _ => Some(LONG_TEXT),
        },
        Kind::Number if !value.text.contains(['e', 'E']) => {
            let digits = value.text.split_once('.').map_or(0, |(_, digits)| digits.len());
            i8::try_from(digits)
                .ok()
                .filter(|scale| *scale <= 37)
                .map_or(Some(DataType::Float), |scale| {
                    Some(DataType::Number { precision: 38, scale })
                })
        }
        _ => inferred(value, behaviours),
    })
}

fn inferred(value: &Raw<'_>, behaviours: Behaviours) -> Option<DataType> {
    match value.kind {
        Kind::Null => None,
        Kind::Boolean(_) => Some(DataType::Boolean),
        Kind::Number if value.text.contains(['.', 'e', 'E']) => Some(DataType::Float),
        Kind::Number => Some(WHOLE),
        Kind::Text(_) if behaviours.has(Other::DateOfText) && is_date(value) => Some(DataType::Date),
        Kind::Text(_) => Some(TEXT),
        Kind::Array if behaviours.has(Other::ArrayOfArray) => Some(DataType::Array),
        Kind::Object | Kind::Array => Some(DataType::Variant),
    }
}

/// Whether a text is a day as ISO 8601 writes it, and nothing else.
fn is_date(value: &Raw<'_>) -> bool {
    let text = value.string().unwrap_or_default();
    text.len() == 10 && chrono::NaiveDate::parse_from_str(&text, "%Y-%m-%d").is_ok()
}

/// The type that takes both: FLOAT for whole and broken numbers, VARIANT where an object or array is among them, else text.
fn common(one: &DataType, other: Option<DataType>) -> DataType {
    let Some(other) = other else { return one.clone() };
    match (one, other) {
        (one, other) if *one == other => other,
        (one, other) if *one == UNDECIDED => other,
        (one, DataType::Float) if *one == WHOLE => DataType::Float,
        (DataType::Float, other) if other == WHOLE => DataType::Float,
        (DataType::Number { scale: one, .. }, DataType::Number { scale: other, .. }) => DataType::Number {
            precision: 38,
            scale: *one.max(&other),
        },
        (DataType::Number { .. }, DataType::Float) | (DataType::Float, DataType::Number { .. }) => {
            DataType::Float
        }
        (one, other) if *one == LONG_TEXT || other == LONG_TEXT => LONG_TEXT,
        (DataType::Variant | DataType::Array, _) | (_, DataType::Variant | DataType::Array) => {
            DataType::Variant
        }
        _ => TEXT,
    }
}
