//! Structured columns: values with parts of declared types.
//!
//! The cast is strict, as the service's is for structured types: an object has each key of the type, in its case, and no other
//! one; a part that is NULL is written as null. At rest the parts are arrow's (struct, list, map); queries read them as
//! JSON, in the order of the type.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBufferBuilder, ListArray, MapArray, StringArray, StringBuilder,
    StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType as Arrow, Decimal128Type, Field, Fields, Float64Type, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::cell::{Cell, Misfit, coerce, coerce_text};
use super::column::{ColumnBuilder, TYPE_KEY, part_field};
use super::json::{Kind, Raw, Reader, quote};
use crate::snowflake::model::{DataType, FieldDef};

/// What tells JSON from text in the fields of an Iceberg table, which has no type for it: their documentation.
pub(crate) const JSON_DOC: &str = "JSON text (VARIANT)";

/// How a structured type is stored.
pub(super) fn stored(data_type: &DataType) -> Option<Arrow> {
    Some(match data_type {
        DataType::Struct { fields } => Arrow::Struct(fields.iter().map(part_field).collect()),
        DataType::List { element } => Arrow::List(Arc::new(part_field(element))),
        DataType::Map { key, value } => {
            let key = part_field(key).with_nullable(false);
            let entries = Fields::from(vec![key, part_field(value)]);
            Arrow::Map(
                Arc::new(Field::new("key_value", Arrow::Struct(entries), false)),
                false,
            )
        }
        _ => return None,
    })
}

/// A JSON value for a structured column.
pub(super) fn coerce_parts<'a>(value: &Raw<'a>, to: &DataType) -> Result<Cell<'a>, Misfit> {
    match (to, value.kind) {
        (DataType::Struct { fields }, Kind::Object) => {
            let members = members(value.text).ok_or(Misfit::Parts)?;
            if members.len() != fields.len() {
                return Err(Misfit::Parts);
            }
            let cell = |field: &FieldDef| {
                let found = members.iter().find(|(key, _)| *key == field.name);
                part(&found.ok_or(Misfit::Parts)?.1, field)
            };
            Ok(Cell::Parts(fields.iter().map(cell).collect::<Result<_, _>>()?))
        }
        (DataType::List { element }, Kind::Array) => {
            let elements = elements(value.text).ok_or(Misfit::Parts)?;
            let cells = elements.iter().map(|value| part(value, element));
            Ok(Cell::Parts(cells.collect::<Result<_, _>>()?))
        }
        (DataType::Map { key, value: of }, Kind::Object) => {
            let mut entries: Vec<(Cell<'a>, Cell<'a>)> = Vec::new();
            for (name, value) in members(value.text).ok_or(Misfit::Parts)? {
                let name = coerce_text(&name, &key.data_type)?.into_owned();
                if entries.iter().any(|(known, _)| *known == name) {
                    return Err(Misfit::Parts);
                }
                entries.push((name, part(&value, of)?));
            }
            Ok(Cell::Entries(entries))
        }
        _ => Err(Misfit::Kind),
    }
}

fn part<'a>(value: &Raw<'a>, of: &FieldDef) -> Result<Cell<'a>, Misfit> {
    match coerce(value, &of.data_type)? {
        Cell::Null if !of.nullable => Err(Misfit::Null),
        // Parts are kept in nanoseconds of 64 bits.
        cell if cell.far().is_some() => Err(Misfit::Moment),
        cell => Ok(cell),
    }
}

/// The members of an object that was read before.
pub(super) fn members(text: &str) -> Option<Vec<(Cow<'_, str>, Raw<'_>)>> {
    let mut reader = Reader::new(text);
    let mut members = Vec::new();
    reader.take(b'{').then_some(())?;
    reader.space();
    if reader.take(b'}') {
        return Some(members);
    }
    loop {
        reader.space();
        members.push((reader.key().ok()?, reader.value().ok()?));
        reader.space();
        if reader.take(b'}') {
            return Some(members);
        }
        reader.take(b',').then_some(())?;
    }
}

/// The elements of an array that was read before.
pub(super) fn elements(text: &str) -> Option<Vec<Raw<'_>>> {
    let mut reader = Reader::new(text);
    let mut elements = Vec::new();
    reader.take(b'[').then_some(())?;
    reader.space();
    if reader.take(b']') {
        return Some(elements);
    }
    loop {
        reader.space();
        elements.push(reader.value().ok()?);
        reader.space();
        if reader.take(b']') {
            return Some(elements);
        }
        reader.take(b',').then_some(())?;
    }
}

/// The array of a column's cells.
pub(super) fn build(cells: Vec<Cell<'static>>, kind: &Arrow) -> ArrayRef {
    let mut valid = BooleanBufferBuilder::new(cells.len());
    match kind {
        Arrow::Struct(fields) => {
            let mut columns: Vec<Vec<Cell<'static>>> =
                fields.iter().map(|_| Vec::with_capacity(cells.len())).collect();
            for cell in cells {
                let mut parts = match cell {
                    Cell::Parts(parts) => Some(parts.into_iter()),
                    _ => None,
                };
                valid.append(parts.is_some());
                for column in &mut columns {
                    column.push(parts.as_mut().and_then(Iterator::next).unwrap_or(Cell::Null));
                }
            }
            let arrays = fields
                .iter()
                .zip(columns)
                .map(|(field, cells)| build(cells, field.data_type()));
            let nulls = NullBuffer::new(valid.finish());
            Arc::new(StructArray::new(fields.clone(), arrays.collect(), Some(nulls)))
        }
        Arrow::List(field) => {
            let (mut lengths, mut all) = (Vec::with_capacity(cells.len()), Vec::new());
            for cell in cells {
                let parts = if let Cell::Parts(parts) = cell {
                    Some(parts)
                } else {
                    None
                };
                valid.append(parts.is_some());
                let parts = parts.unwrap_or_default();
                lengths.push(parts.len());
                all.extend(parts);
            }
            let values = build(all, field.data_type());
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(ListArray::new(
                Arc::clone(field),
                offsets,
                values,
                Some(NullBuffer::new(valid.finish())),
            ))
        }
        Arrow::Map(entries, sorted) => {
            let Arrow::Struct(fields) = entries.data_type() else {
                unreachable!("the entries of a map are a struct");
            };
            let (mut lengths, mut keys, mut values) =
                (Vec::with_capacity(cells.len()), Vec::new(), Vec::new());
            for cell in cells {
                let pairs = if let Cell::Entries(pairs) = cell {
                    Some(pairs)
                } else {
                    None
                };
                valid.append(pairs.is_some());
                let pairs = pairs.unwrap_or_default();
                lengths.push(pairs.len());
                for (key, value) in pairs {
                    keys.push(key);
                    values.push(value);
                }
            }
            let arrays = fields
                .iter()
                .zip([keys, values])
                .map(|(field, cells)| build(cells, field.data_type()));
            let pairs = StructArray::new(fields.clone(), arrays.collect(), None);
            let nulls = Some(NullBuffer::new(valid.finish()));
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(MapArray::new(Arc::clone(entries), offsets, pairs, nulls, *sorted))
        }
        plain => {
            let mut builder = ColumnBuilder::of(plain);
            cells.into_iter().for_each(|cell| builder.push(cell));
            builder.finish()
        }
    }
}

/// The values of a structured column as JSON.
///
/// # Errors
/// For a type that no column has.
pub fn parts_as_json(array: &ArrayRef) -> Result<StringArray, ArrowError> {
    let mut built = StringBuilder::new();
    let mut text = String::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            built.append_null();
            continue;
        }
        text.clear();
        write(array, false, row, &mut text)?;
        built.append_value(&text);
    }
    Ok(built.finish())
}

/// Whether the texts of a part are JSON.
fn is_json(field: &Field) -> bool {
    let metadata = field.metadata();
    metadata.contains_key(TYPE_KEY) || metadata.values().any(|text| text == JSON_DOC)
}

fn write(array: &dyn Array, json: bool, row: usize, into: &mut String) -> Result<(), ArrowError> {
    if array.is_null(row) {
        into.push_str("null");
        return Ok(());
    }
    match array.data_type() {
        Arrow::Struct(fields) => {
            into.push('{');
            for (index, (field, column)) in fields.iter().zip(array.as_struct().columns()).enumerate() {
                into.push_str(if index > 0 { "," } else { "" });
                quote(field.name(), into);
                into.push(':');
                write(column, is_json(field), row, into)?;
            }
            into.push('}');
        }
        Arrow::List(field) => {
            let values = array.as_list::<i32>().value(row);
            into.push('[');
            for index in 0..values.len() {
                into.push_str(if index > 0 { "," } else { "" });
                write(&values, is_json(field), index, into)?;
            }
            into.push(']');
        }
        Arrow::Map(field, _) => {
            let entries = array.as_map().value(row);
            let json = match field.data_type() {
                Arrow::Struct(fields) => fields.last().is_some_and(|field| is_json(field)),
                _ => false,
            };
            into.push('{');
            for index in 0..entries.len() {
                into.push_str(if index > 0 { "," } else { "" });
                let key = entries.column(0);
                let is_text = matches!(key.data_type(), Arrow::Utf8);
                into.push_str(if is_text { "" } else { "\"" });
                write(key, false, index, into)?;
                into.push_str(if is_text { ":" } else { "\":" });
                write(entries.column(1), json, index, into)?;
            }
            into.push('}');
        }
        _ => plain(array, json, row, into)?,
    }
    Ok(())
}

fn plain(array: &dyn Array, json: bool, row: usize, into: &mut String) -> Result<(), ArrowError> {
    match array.data_type() {
        Arrow::Utf8 if json => into.push_str(array.as_string::<i32>().value(row)),
        Arrow::Utf8 => quote(array.as_string::<i32>().value(row), into),
        Arrow::Decimal128(..) => into.push_str(&array.as_primitive::<Decimal128Type>().value_as_string(row)),
        Arrow::Float64 => {
            let number = array.as_primitive::<Float64Type>().value(row);
            match number.is_finite() {
                true => into.push_str(&number.to_string()),
                false => quote(&number.to_string(), into),
            }
        }
        kind => {
            let is_bare = matches!(kind, Arrow::Boolean | Arrow::Int32 | Arrow::Int64);
            let moment = match kind {
                Arrow::Timestamp(TimeUnit::Nanosecond | TimeUnit::Microsecond, Some(_)) => {
                    "%Y-%m-%d %H:%M:%S%.3f Z"
                }
                _ => "%Y-%m-%d %H:%M:%S%.3f",
            };
            let options = FormatOptions::default()
                .with_timestamp_format(Some(moment))
                .with_timestamp_tz_format(Some(moment));
            let shown = ArrayFormatter::try_new(array, &options)?
                .value(row)
                .try_to_string()?;
            match (is_bare, kind) {
                (true, _) => into.push_str(&shown),
                (_, Arrow::Binary | Arrow::LargeBinary) => quote(&shown.to_uppercase(), into),
                _ => quote(&shown, into),
            }
        }
    }
    Ok(())
}
