//! VECTOR: so many numbers of 32 bits.
//!
//! Source: Snowflake documentation, "Vector data types": FLOAT or INT, 1 to 4096 elements; casts from an ARRAY of as many
//! numbers of the type, and back.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, FixedSizeListBuilder, Float32Builder, Int32Builder,
    StringArray, StringBuilder,
};
use arrow::datatypes::{DataType as Arrow, Field, Float32Type, Int32Type};

use super::cell::{Cell, Misfit};
use super::json::{Kind, Raw};
use super::parts::elements;
use crate::snowflake::model::{DataType, VectorElement};

/// Elements, at most.
pub(crate) const MOST: u16 = 4096;

/// How queries and files know the type.
pub(super) fn arrow(element: VectorElement, dimension: u16) -> Arrow {
    Arrow::FixedSizeList(Arc::new(item(element)), i32::from(dimension))
}

fn item(element: VectorElement) -> Field {
    let kind = match element {
        VectorElement::Float => Arrow::Float32,
        VectorElement::Int => Arrow::Int32,
    };
    Field::new("item", kind, true)
}

/// The type that a query's type stands for.
pub(crate) fn of_arrow(kind: &Arrow) -> Option<DataType> {
    let Arrow::FixedSizeList(item, dimension) = kind else {
        return None;
    };
    let element = match item.data_type() {
        Arrow::Float32 => VectorElement::Float,
        Arrow::Int32 => VectorElement::Int,
        _ => return None,
    };
    let dimension = u16::try_from(*dimension).ok()?;
    Some(DataType::Vector { element, dimension })
}

/// The elements of a JSON array.
pub(super) fn read(array: &str, element: VectorElement, dimension: u16) -> Result<Cell<'static>, Misfit> {
    let elements = elements(array).ok_or(Misfit::Kind)?;
    if elements.len() != usize::from(dimension) {
        return Err(Misfit::Dimension);
    }
    let number = |raw: &Raw<'_>| (raw.kind == Kind::Number).then(|| raw.text.to_owned());
    let numbers: Option<Vec<String>> = elements.iter().map(number).collect();
    let numbers = numbers.ok_or(Misfit::Element)?;
    match element {
        VectorElement::Float => {
            let read = |text: &String| text.parse::<f32>().ok().filter(|number| number.is_finite());
            let numbers: Option<Vec<f32>> = numbers.iter().map(read).collect();
            numbers.map(Cell::Floats).ok_or(Misfit::OutOfRange)
        }
        VectorElement::Int => {
            let numbers: Result<Vec<i32>, _> = numbers.iter().map(|text| text.parse()).collect();
            numbers.map(Cell::Ints).map_err(|_| Misfit::Element)
        }
    }
}

/// The array of a column's cells.
pub(super) fn build(cells: Vec<Cell<'static>>, kind: &Arrow) -> ArrayRef {
    let (item, dimension) = match kind {
        Arrow::FixedSizeList(item, dimension) => (Arc::clone(item), *dimension),
        _ => unreachable!("a vector is a list of one length"),
    };
    let nothing = 0..dimension;
    if item.data_type() == &Arrow::Int32 {
        let mut built = FixedSizeListBuilder::new(Int32Builder::new(), dimension).with_field(item);
        for cell in cells {
            match &cell {
                Cell::Ints(elements) => built.values().append_slice(elements),
                _ => nothing.clone().for_each(|_| built.values().append_null()),
            }
            built.append(matches!(cell, Cell::Ints(_)));
        }
        return Arc::new(built.finish());
    }
    let mut built = FixedSizeListBuilder::new(Float32Builder::new(), dimension).with_field(item);
    for cell in cells {
        match &cell {
            Cell::Floats(elements) => built.values().append_slice(elements),
            _ => nothing.clone().for_each(|_| built.values().append_null()),
        }
        built.append(matches!(cell, Cell::Floats(_)));
    }
    Arc::new(built.finish())
}

/// The vectors of an array as JSON.
pub(super) fn texts(array: &ArrayRef) -> StringArray {
    let lists: &FixedSizeListArray = array.as_fixed_size_list();
    let mut built = StringBuilder::new();
    for row in 0..lists.len() {
        if lists.is_null(row) {
            built.append_null();
            continue;
        }
        let values = lists.value(row);
        // A number of FLOAT has a point or an exponent, so that clients read it as one.
        let elements: Vec<String> = match values.data_type() {
            Arrow::Int32 => {
                let values = values.as_primitive::<Int32Type>().values();
                values.iter().map(ToString::to_string).collect()
            }
            _ => {
                let values = values.as_primitive::<Float32Type>().values();
                values.iter().map(|number| format!("{number:?}")).collect()
            }
        };
        built.append_value(format!("[{}]", elements.join(",")));
    }
    built.finish()
}
