//! The types of queries that are none of arrow's: TIMESTAMP_TZ, DECFLOAT, VECTOR.
//!
//! Each is known by the arrow type that carries it, which no other type of a column has.

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType as Arrow;

use super::zoned::Zoned;
use super::{decfloat, vector, zoned};
use crate::snowflake::model::DataType;

/// One of these types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Typed {
    Zoned,
    Decfloat,
    Vector,
}

/// Which text of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As a cast to VARCHAR gives it.
    Shown,
    /// Without loss, for another cast.
    Canonical,
}

impl Typed {
    /// What an arrow type carries; `None` if it stands for itself.
    pub(crate) fn of(kind: &Arrow) -> Option<Self> {
        match kind {
            kind if zoned::unit(kind).is_some() => Some(Self::Zoned),
            kind if *kind == decfloat::TYPE => Some(Self::Decfloat),
            kind => vector::of_arrow(kind).map(|_| Self::Vector),
        }
    }

    /// The type of a column that takes such values.
    pub(crate) fn data_type(kind: &Arrow) -> Option<DataType> {
        match Self::of(kind)? {
            Self::Zoned => Some(DataType::TimestampTz { scale: 9 }),
            Self::Decfloat => Some(DataType::Decfloat),
            Self::Vector => vector::of_arrow(kind),
        }
    }

    /// As Snowflake's messages name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Zoned => "TIMESTAMP_TZ",
            Self::Decfloat => "DECFLOAT",
            Self::Vector => "VECTOR",
        }
    }

    /// The values of an array as texts; those of a vector are JSON.
    pub(crate) fn texts(self, array: &ArrayRef, form: Form) -> StringArray {
        match (self, form) {
            (Self::Zoned, Form::Shown) => zoned::values(array).map(|value| value.map(Zoned::text)).collect(),
            (Self::Zoned, Form::Canonical) => zoned::values(array)
                .map(|value| value.map(Zoned::canonical))
                .collect(),
            (Self::Decfloat, _) => decfloat::values(array)
                .map(|value| value.map(|number| number.to_string()))
                .collect(),
            (Self::Vector, _) => vector::texts(array),
        }
    }
}
