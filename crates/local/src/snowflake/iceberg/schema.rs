//! Columns as Iceberg knows them.
//!
//! Source: Snowflake documentation, "Data types for Apache Iceberg tables"; Apache Iceberg, "Iceberg Table Spec", schemas. A
//! column keeps its field id for ever; a new one gets the next.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Field, Schema as ArrowSchema, SchemaRef};
use arrow::record_batch::RecordBatch;
use iceberg::spec::{ListType, MapType, NestedField, PrimitiveType, Schema, StructType, Type};

use super::failed;
use crate::Result;
use crate::snowflake::model::{ColumnDef, DataType, FieldDef};
use crate::snowflake::rows::{JSON_DOC, TYPE_KEY};

/// The schema of a new table.
pub(super) fn new(columns: &[ColumnDef]) -> Result<Schema> {
    after(columns, None, 0)
}

/// The schema with other columns: known ones keep their ids, and may lose NOT NULL.
pub(super) fn after(columns: &[ColumnDef], before: Option<&Schema>, last_id: i32) -> Result<Schema> {
    let mut ids = last_id;
    let fields = columns.iter().map(|column| {
        let known = before.and_then(|schema| schema.field_by_name(&column.name));
        match known {
            Some(known) => {
                let mut field = known.as_ref().clone();
                field.required = !column.nullable;
                Ok(field.into())
            }
            None => field(&column.name, &column.data_type, column.nullable, &mut ids).map(Into::into),
        }
    });
    let fields = fields.collect::<Result<Vec<_>>>()?;
    Schema::builder().with_fields(fields).build().map_err(failed)
}

fn field(name: &str, data_type: &DataType, nullable: bool, ids: &mut i32) -> Result<NestedField> {
    *ids += 1;
    let id = *ids;
    let mut part = |of: &FieldDef| field(&of.name, &of.data_type, of.nullable, ids).map(Arc::new);
    let kind = match data_type {
        DataType::Struct { fields } => {
            let fields = fields.iter().map(&mut part).collect::<Result<Vec<_>>>()?;
            Type::Struct(StructType::new(fields))
        }
        DataType::List { element } => Type::List(ListType::new(part(element)?)),
        DataType::Map { key, value } => Type::Map(MapType::new(part(key)?, part(value)?)),
        plain => Type::Primitive(primitive(plain)?),
    };
    let made = NestedField::new(id, name, kind, !nullable);
    let is_json = !data_type.is_structured() && data_type.json_kind().is_some();
    Ok(if is_json { made.with_doc(JSON_DOC) } else { made })
}

fn primitive(data_type: &DataType) -> Result<PrimitiveType> {
    Ok(match data_type {
        DataType::Number { precision, scale } => PrimitiveType::Decimal {
            precision: u32::from(*precision),
            scale: u32::from(scale.unsigned_abs()),
        },
        DataType::Int => PrimitiveType::Int,
        DataType::Long => PrimitiveType::Long,
        DataType::Float => PrimitiveType::Double,
        DataType::Boolean => PrimitiveType::Boolean,
        DataType::Varchar { .. } | DataType::Variant => PrimitiveType::String,
        DataType::Binary { .. } => PrimitiveType::Binary,
        DataType::Date => PrimitiveType::Date,
        DataType::Time { .. } => PrimitiveType::Time,
        DataType::TimestampNtz { scale: 0..=6 } => PrimitiveType::Timestamp,
        DataType::TimestampNtz { .. } => PrimitiveType::TimestampNs,
        DataType::TimestampLtz { scale: 0..=6 } => PrimitiveType::Timestamptz,
        DataType::TimestampLtz { .. } => PrimitiveType::TimestamptzNs,
        other => return Err(failed(format!("{other:?} is no type of Iceberg"))),
    })
}

pub(super) fn text(schema: &Schema) -> Result<String> {
    serde_json::to_string(schema).map_err(failed)
}

/// How the rows of a table's files read, of a schema that [`text`] wrote.
pub(crate) fn arrow_schema(text: &str) -> Result<SchemaRef> {
    let schema: Schema = serde_json::from_str(text).map_err(failed)?;
    let arrow = stored(&schema)?;
    let fields = arrow.fields().iter().map(|field| {
        let mut metadata = HashMap::new();
        if field.metadata().values().any(|text| text == JSON_DOC) {
            metadata.insert(TYPE_KEY.to_owned(), "VARIANT".to_owned());
        }
        // NOT NULL may be dropped later, and older files lack newer columns.
        Field::new(field.name(), field.data_type().clone(), true).with_metadata(metadata)
    });
    Ok(Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>())))
}

fn stored(schema: &Schema) -> Result<ArrowSchema> {
    iceberg::arrow::schema_to_arrow_schema(schema).map_err(failed)
}

/// Rows in the types of the table's files; a column that they lack is NULL.
pub(super) fn fit(rows: &RecordBatch, schema: &Schema) -> Result<RecordBatch> {
    let stored = Arc::new(stored(schema)?);
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let array = |field: &Arc<Field>| -> Result<ArrayRef> {
        match rows.column_by_name(field.name()) {
            None => Ok(new_null_array(field.data_type(), rows.num_rows())),
            Some(array) if array.data_type() == field.data_type() => Ok(Arc::clone(array)),
            Some(array) => cast_with_options(array, field.data_type(), &strict).map_err(failed),
        }
    };
    let arrays = stored.fields().iter().map(array).collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(stored, arrays).map_err(failed)
}
