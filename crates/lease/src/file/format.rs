//! The text of the state file: JSON, versioned. Frozen by a golden test.
//!
//! `{"format": "frazil-leases", "version": 1, "rows": [{"application", "stream", "key", "attributes"}]}`, where an attribute is
//! `{"S": text}`, `{"N": text}` or `{"BOOL": truth}`, as DynamoDB's own JSON spells it. The keys are not repeated among the
//! attributes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::row::{Attribute, Item, name};
use crate::table::RowTable;

const FORMAT: &str = "frazil-leases";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    format: String,
    version: u32,
    rows: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    application: String,
    stream: String,
    key: String,
    attributes: BTreeMap<String, Value>,
}

#[derive(Serialize, Deserialize)]
enum Value {
    S(String),
    N(String),
    #[serde(rename = "BOOL")]
    Bool(bool),
}

pub(super) fn render(rows: &RowTable) -> Result<String, String> {
    let mut whole = Whole {
        format: FORMAT.to_owned(),
        version: VERSION,
        rows: Vec::new(),
    };
    for ((application, stream), part) in &rows.0 {
        for (key, item) in part {
            whole.rows.push(Row {
                application: application.clone(),
                stream: stream.clone(),
                key: key.clone(),
                attributes: attributes(key, item)?,
            });
        }
    }
    let mut text = serde_json::to_string_pretty(&whole).map_err(|e| e.to_string())?;
    text.push('\n');
    Ok(text)
}

fn attributes(key: &str, item: &Item) -> Result<BTreeMap<String, Value>, String> {
    let mut attributes = BTreeMap::new();
    for (name, value) in item {
        if name == name::STREAM_NAME || name == name::SHARD_ID {
            continue;
        }
        let value = match value {
            Attribute::S(text) => Value::S(text.clone()),
            Attribute::N(text) => Value::N(text.clone()),
            Attribute::Bool(value) => Value::Bool(*value),
            Attribute::Other => return Err(format!("row {key} has {name} of a type that it cannot hold")),
        };
        attributes.insert(name.clone(), value);
    }
    Ok(attributes)
}

pub(super) fn parse(text: &str) -> Result<RowTable, String> {
    let head: Head = serde_json::from_str(text).map_err(|e| format!("is damaged: {e}"))?;
    if head.format != FORMAT {
        return Err(format!(
            "is no state file of Frazil's: its format is {:?}",
            head.format
        ));
    }
    if head.version != VERSION {
        return Err(format!(
            "has version {}, and this Frazil reads {VERSION}; a later one wrote it",
            head.version
        ));
    }
    let whole: Whole = serde_json::from_str(text).map_err(|e| format!("is damaged: {e}"))?;
    let mut rows = RowTable::default();
    for row in whole.rows {
        let mut item: Item = [
            (name::STREAM_NAME.to_owned(), Attribute::text(&row.stream)),
            (name::SHARD_ID.to_owned(), Attribute::text(&row.key)),
        ]
        .into();
        item.extend(row.attributes.into_iter().map(|(name, value)| {
            let value = match value {
                Value::S(text) => Attribute::S(text),
                Value::N(text) => Attribute::N(text),
                Value::Bool(value) => Attribute::Bool(value),
            };
            (name, value)
        }));
        let part = rows.0.entry((row.application, row.stream)).or_default();
        if part.insert(row.key.clone(), item).is_some() {
            return Err(format!("is damaged: row {} stands in it twice", row.key));
        }
    }
    Ok(rows)
}
