//! Columns under construction, and how each Snowflake type is stored.
//!
//! | type | arrow |
//! |---|---|
//! | NUMBER(p, s) | Decimal128(p, s) |
//! | FLOAT | Float64 |
//! | BOOLEAN | Boolean |
//! | VARCHAR | Utf8 |
//! | VARIANT, OBJECT, ARRAY | Utf8, compact JSON, with the field metadata [`TYPE_KEY`] |
//! | OBJECT(...), ARRAY(...), MAP(...) | Struct, List, Map; in queries as OBJECT and ARRAY |
//! | Iceberg's int and long | Decimal128(10, 0) and (19, 0); in the files of the table Int32 and Int64 |
//! | BINARY | Binary |
//! | DATE | Date32 |
//! | TIME | Time64 (ns) |
//! | TIMESTAMP_NTZ | Timestamp (ns, or µs: [`moments`]) |
//! | TIMESTAMP_LTZ | Timestamp (the same, UTC) |
//! | TIMESTAMP_TZ | Timestamp (the same, UTC) and a column of offsets; in queries one value of bytes ([`zoned`]) |
//! | DECFLOAT | FixedSizeBinary(19) ([`decfloat`]) |
//! | VECTOR | FixedSizeList of Float32 or Int32 |

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int16Builder,
    StringBuilder, Time64NanosecondBuilder,
};
use arrow::datatypes::{DataType as Arrow, Field, TimeUnit};

use super::cell::Cell;
use super::moments::{self, Moments};
use super::{decfloat, parts, vector, zoned};
use crate::snowflake::model::{ColumnDef, DataType, FieldDef};

/// The key of a field's metadata that tells VARIANT, OBJECT and ARRAY from text.
pub const TYPE_KEY: &str = "frazil.type";

/// What the moments of a column of timestamps are counted in.
fn unit(column: &ColumnDef) -> TimeUnit {
    if column.micros {
        TimeUnit::Microsecond
    } else {
        TimeUnit::Nanosecond
    }
}

/// How a column of this definition is stored, but for the offsets of TIMESTAMP_TZ.
#[must_use]
pub fn stored_field(column: &ColumnDef) -> Field {
    if matches!(column.data_type, DataType::TimestampTz { .. }) {
        return Field::new(column.stored_name(), moments::kind(unit(column), true), true);
    }
    match parts::stored(&column.data_type) {
        // Always nullable at rest, as in [`field`].
        Some(structured) => Field::new(column.stored_name(), structured, true),
        None => field(column),
    }
}

/// All that is stored of a column.
pub(super) fn stored_fields(column: &ColumnDef) -> impl Iterator<Item = Field> {
    let zoned = matches!(column.data_type, DataType::TimestampTz { .. });
    let offsets = zoned.then(|| zoned::offset_field(column.stored_name()));
    [stored_field(column)].into_iter().chain(offsets)
}

/// How a part of a structured column is stored.
pub(super) fn part_field(part: &FieldDef) -> Field {
    stored_field(&ColumnDef::new(&part.name, part.data_type.clone()))
}

/// How a column of this definition is known to queries.
#[must_use]
pub fn field(column: &ColumnDef) -> Field {
    let arrow = match &column.data_type {
        DataType::Number { precision, scale } => Arrow::Decimal128(*precision, *scale),
        DataType::Int => Arrow::Decimal128(10, 0),
        DataType::Long => Arrow::Decimal128(19, 0),
        DataType::Float => Arrow::Float64,
        DataType::Boolean => Arrow::Boolean,
        DataType::Varchar { .. }
        | DataType::Variant
        | DataType::Object
        | DataType::Array
        | DataType::Struct { .. }
        | DataType::List { .. }
        | DataType::Map { .. } => Arrow::Utf8,
        DataType::Binary { .. } => Arrow::Binary,
        DataType::Date => Arrow::Date32,
        DataType::Time { .. } => Arrow::Time64(TimeUnit::Nanosecond),
        DataType::TimestampNtz { .. } => moments::kind(unit(column), false),
        DataType::TimestampLtz { .. } => moments::kind(unit(column), true),
        DataType::TimestampTz { .. } => zoned::kind(unit(column)),
        DataType::Decfloat => decfloat::TYPE,
        DataType::Vector { element, dimension } => vector::arrow(*element, *dimension),
    };
    // Always nullable at rest: NOT NULL may be dropped later, and older files lack newer columns.
    let field = Field::new(column.stored_name(), arrow, true);
    let Some(kind) = column.data_type.json_kind() else {
        return field;
    };
    field.with_metadata(HashMap::from([(TYPE_KEY.to_owned(), kind.to_owned())]))
}

/// Takes the cells of one column.
#[derive(Debug)]
pub(super) enum ColumnBuilder {
    Number(Decimal128Builder),
    Float(Float64Builder),
    Boolean(BooleanBuilder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64NanosecondBuilder),
    Moment(Moments),
    Zoned(Moments, Int16Builder),
    Decfloat(Vec<Option<[u8; decfloat::BYTES as usize]>>),
    Vector(Vec<Cell<'static>>, Arrow),
    /// Of a structured column.
    Parts(Vec<Cell<'static>>, Arrow),
}

impl ColumnBuilder {
    pub(super) fn new(column: &ColumnDef) -> Self {
        let stored = stored_field(column);
        match &column.data_type {
            DataType::TimestampTz { .. } => {
                Self::Zoned(Moments::new(unit(column), true), Int16Builder::new())
            }
            _ => Self::of(stored.data_type()),
        }
    }

    pub(super) fn of(stored: &Arrow) -> Self {
        match stored {
            Arrow::Decimal128(precision, scale) => {
                Self::Number(Decimal128Builder::new().with_data_type(Arrow::Decimal128(*precision, *scale)))
            }
            Arrow::Float64 => Self::Float(Float64Builder::new()),
            Arrow::Boolean => Self::Boolean(BooleanBuilder::new()),
            Arrow::Binary => Self::Bytes(BinaryBuilder::new()),
            Arrow::Date32 => Self::Date(Date32Builder::new()),
            Arrow::Time64(_) => Self::Time(Time64NanosecondBuilder::new()),
            Arrow::Timestamp(unit, zone) => Self::Moment(Moments::new(*unit, zone.is_some())),
            Arrow::FixedSizeBinary(_) => Self::Decfloat(Vec::new()),
            Arrow::FixedSizeList(..) => Self::Vector(Vec::new(), stored.clone()),
            Arrow::Struct(_) | Arrow::List(_) | Arrow::Map(..) => Self::Parts(Vec::new(), stored.clone()),
            _ => Self::Text(StringBuilder::new()),
        }
    }

    /// Adds a cell; one of another kind, which coercion does not make, is NULL.
    pub(super) fn push(&mut self, cell: Cell<'_>) {
        match self {
            Self::Number(b) => b.append_option(if let Cell::Number(v) = cell { Some(v) } else { None }),
            Self::Float(b) => b.append_option(if let Cell::Float(v) = cell { Some(v) } else { None }),
            Self::Boolean(b) => b.append_option(if let Cell::Boolean(v) = cell {
                Some(v)
            } else {
                None
            }),
            Self::Text(b) => b.append_option(if let Cell::Text(v) = cell { Some(v) } else { None }),
            Self::Bytes(b) => b.append_option(if let Cell::Bytes(v) = cell { Some(v) } else { None }),
            Self::Date(b) => b.append_option(if let Cell::Date(v) = cell { Some(v) } else { None }),
            Self::Time(b) => b.append_option(if let Cell::Time(v) = cell { Some(v) } else { None }),
            Self::Moment(b) => b.push(match cell {
                Cell::Moment(v) => Some(v),
                // A part of a structured value.
                Cell::Zoned(v) => Some(v.nanos),
                _ => None,
            }),
            Self::Zoned(moments, offsets) => {
                let value = match cell {
                    Cell::Zoned(v) => Some((v.nanos, v.offset)),
                    // CURRENT_TIMESTAMP as a DEFAULT.
                    Cell::Moment(v) => Some((v, 0)),
                    _ => None,
                };
                moments.push(value.map(|(moment, _)| moment));
                offsets.append_option(value.map(|(_, offset)| offset));
            }
            Self::Decfloat(values) => values.push(if let Cell::Decfloat(v) = cell {
                Some(v)
            } else {
                None
            }),
            Self::Vector(cells, _) | Self::Parts(cells, _) => cells.push(cell.into_owned()),
        }
    }

    /// Whether timestamps are counted in microseconds, because one was far away or the column had such before.
    pub(super) fn is_micros(&self) -> bool {
        match self {
            Self::Moment(moments) | Self::Zoned(moments, _) => moments.unit() == TimeUnit::Microsecond,
            _ => false,
        }
    }

    /// The arrays of [`stored_fields`].
    pub(super) fn finish_all(self) -> Vec<ArrayRef> {
        match self {
            Self::Zoned(moments, mut offsets) => {
                vec![moments.finish(), Arc::new(offsets.finish())]
            }
            plain => vec![plain.finish()],
        }
    }

    /// One array, as queries know the column.
    pub(super) fn finish(self) -> ArrayRef {
        match self {
            Self::Zoned(moments, mut offsets) => {
                let offsets: ArrayRef = Arc::new(offsets.finish());
                zoned::joined(&moments.finish(), &offsets).expect("moments and offsets, one of each a row")
            }
            Self::Decfloat(values) => decfloat::array(values).expect("all are of one length"),
            Self::Vector(cells, kind) => vector::build(cells, &kind),
            Self::Number(mut b) => Arc::new(b.finish()),
            Self::Float(mut b) => Arc::new(b.finish()),
            Self::Boolean(mut b) => Arc::new(b.finish()),
            Self::Text(mut b) => Arc::new(b.finish()),
            Self::Bytes(mut b) => Arc::new(b.finish()),
            Self::Date(mut b) => Arc::new(b.finish()),
            Self::Time(mut b) => Arc::new(b.finish()),
            Self::Moment(b) => b.finish(),
            Self::Parts(cells, kind) => parts::build(cells, &kind),
        }
    }
}
