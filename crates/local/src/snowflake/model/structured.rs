//! Structured types: OBJECT(name type, ...), ARRAY(type) and MAP(key, value).
//!
//! Source: Snowflake documentation, "Structured data types". The names of an OBJECT's keys keep their case; a key of a MAP is a
//! text or a whole number.

use serde::{Deserialize, Serialize};

use super::DataType;

/// Columns below one structured column, at most (Snowflake documentation, "Structured data types", limits).
pub(crate) const MOST_SUB_COLUMNS: usize = 1000;

/// A part of a structured type: a key of an OBJECT, the elements of an ARRAY, keys or values of a MAP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDef {
    /// As written; `element`, `key` and `value` where there is nothing to write.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// False for NOT NULL.
    pub nullable: bool,
}

impl DataType {
    /// What a value of this type is in the language of VARIANT, where SQL reads it as JSON.
    pub(crate) fn json_kind(&self) -> Option<&'static str> {
        match self {
            Self::Variant => Some("VARIANT"),
            Self::Object | Self::Struct { .. } => Some("OBJECT"),
            Self::Array | Self::List { .. } => Some("ARRAY"),
            Self::Map { .. } => Some("MAP"),
            _ => None,
        }
    }

    /// Whether it has parts of declared types.
    pub(crate) fn is_structured(&self) -> bool {
        matches!(self, Self::Struct { .. } | Self::List { .. } | Self::Map { .. })
    }

    /// Its parts.
    pub(crate) fn parts(&self) -> Vec<&FieldDef> {
        match self {
            Self::Struct { fields } => fields.iter().collect(),
            Self::List { element } => vec![element],
            Self::Map { key, value } => vec![key, value],
            _ => Vec::new(),
        }
    }

    /// Columns below it.
    pub(crate) fn sub_columns(&self) -> usize {
        let parts = self.parts().into_iter();
        parts.map(|part| 1 + part.data_type.sub_columns()).sum()
    }

    /// This type with each type that has no parts made into another one.
    pub(crate) fn map_leaves<E>(
        &self,
        leaf: &impl Fn(&DataType) -> Result<DataType, E>,
    ) -> Result<DataType, E> {
        let part = |part: &FieldDef| {
            Ok(FieldDef {
                name: part.name.clone(),
                data_type: part.data_type.map_leaves(leaf)?,
                nullable: part.nullable,
            })
        };
        Ok(match self {
            Self::Struct { fields } => Self::Struct {
                fields: fields.iter().map(part).collect::<Result<_, E>>()?,
            },
            Self::List { element } => Self::List {
                element: Box::new(part(element)?),
            },
            Self::Map { key, value } => Self::Map {
                key: Box::new(part(key)?),
                value: Box::new(part(value)?),
            },
            plain => leaf(plain)?,
        })
    }
}
