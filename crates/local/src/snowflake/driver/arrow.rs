//! Rows as Arrow, in the form of Snowflake's drivers: one stream of Arrow's IPC format, in base64.
//!
//! The cells of a result are texts (`sql/result.rs`); each column becomes one array, all of them one record batch. A result without
//! rows is an empty text: snowflake-connector-python 4.7 reads the first row of each batch that there is, and makes no table of a
//! stream without a batch (`CArrowChunkIterator.cpp`, `nanoarrow_arrow_iterator.pyx`). The metadata of a field
//! say what it is in Snowflake's terms:
//!
//! | `logicalType` | array |
//! |---|---|
//! | FIXED | the narrowest of Int8 to Int64 that holds every value times 10 to the `scale`, else Decimal128 |
//! | REAL, BOOLEAN, DATE | Float64, Boolean, Date32 |
//! | TEXT, VARIANT, OBJECT, ARRAY | Utf8; the last three as JSON |
//! | BINARY | Binary |
//! | TIME | Int64, in units of the scale |
//! | TIMESTAMP_NTZ, TIMESTAMP_LTZ | a struct of `epoch` (seconds, Int64) and `fraction` (nanoseconds, Int32); up to scale 7 Int64 |
//! | TIMESTAMP_TZ | `epoch`, `fraction` and `timezone` (minutes, 1440 is UTC; Int32); up to scale 3 `epoch` and `timezone` |
//! | DECFLOAT | a struct of `exponent` (Int16) and `significand` (Binary: two's complement, the highest byte first) |
//! | VECTOR | FixedSizeList of Float32 or Int32 |
//!
//! A fraction is never negative: half a second before 1970 is -1 s and half a second. A timestamp that is one number, as a whole or
//! as `epoch` without `fraction`, is in units of its scale.
//!
//! Sources: results of the service that are kept in the tests of snowflake-connector-python (`test/data/test_arrow_data`), and
//! what the drivers read: its `nanoarrow_cpp/ArrowIterator`, `converter.go` of gosnowflake 2.1 and
//! `ArrowVectorConverterUtil.java` of snowflake-jdbc 4.3.
//!
//! Timestamps of any year keep their nanoseconds, numbers all 38 digits. The cells of a result have a limit, [`LARGEST_RESULT`],
//! and their arrays hardly take more; only vectors that are NULL do, so they are counted apart. What has another form than its
//! column says is refused, and the result goes out as JSON. What this does not: chunks, compression, structured types as lists
//! and structs.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, AsArray as _, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
    FixedSizeListArray, Float64Array, Int16Array, Int32Array, Int64Array, PrimitiveArray, PrimitiveBuilder,
    RecordBatch, StringArray, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Fields, Float32Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema,
};
use arrow::error::ArrowError;
use arrow_ipc::writer::StreamWriter;
use base64::Engine as _;

use super::super::rows::unhex;
use super::super::sql::{LARGEST_RESULT, QueryResult, ResultColumn};

/// Digits of the largest number.
const DIGITS: u8 = 38;

/// Why a result cannot be Arrow.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("a cell of column {0} has not the form of its type, {1}")]
    Cell(String, &'static str),
    #[error("column {0} would be too large")]
    Large(String),
    #[error("{0}")]
    Arrow(#[from] ArrowError),
}

type Result<T, E = Unfit> = std::result::Result<T, E>;

/// A result as a stream, in base64.
pub(super) fn encode(result: &QueryResult) -> Result<String> {
    if result.rows.is_empty() {
        return Ok(String::new());
    }
    let mut fields = Vec::with_capacity(result.columns.len());
    let mut arrays = Vec::with_capacity(result.columns.len());
    for (at, column) in result.columns.iter().enumerate() {
        let (field, array) = Cells { result, at, column }.encoded()?;
        fields.push(field);
        arrays.push(array);
    }
    let schema = Arc::new(Schema::new(fields));
    let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
    writer.write(&RecordBatch::try_new(schema, arrays)?)?;
    writer.finish()?;
    Ok(base64::engine::general_purpose::STANDARD.encode(writer.into_inner()?))
}

/// The cells of one column.
struct Cells<'a> {
    result: &'a QueryResult,
    at: usize,
    column: &'a ResultColumn,
}

impl<'a> Cells<'a> {
    fn encoded(&self) -> Result<(Field, ArrayRef)> {
        let scale = self.scale()?;
        let array: ArrayRef = match self.column.kind {
            "fixed" => self.fixed(scale)?,
            "real" => Arc::new(Float64Array::from(self.read(|cell| cell.parse().ok())?)),
            "boolean" => Arc::new(BooleanArray::from(self.read(|cell| cell.parse().ok())?)),
            "date" => Arc::new(Date32Array::from(self.read(|cell| cell.parse().ok())?)),
            "time" => Arc::new(Int64Array::from(
                self.read(|cell| Moment::read(cell)?.in_units_of(scale))?,
            )),
            "timestamp_ntz" | "timestamp_ltz" => self.timestamp(scale)?,
            "timestamp_tz" => self.zoned(scale)?,
            "binary" => Arc::new(BinaryArray::from_iter(self.read(unhex)?)),
            "decfloat" => self.decfloat()?,
            "vector" => self.vector()?,
            _ => self.text()?,
        };
        let metadata = self.metadata(scale, array.data_type());
        let array = described_parts(array, &metadata)?;
        let kind = array.data_type().clone();
        let field = Field::new(&self.column.name, kind, true).with_metadata(metadata);
        Ok((field, array))
    }

    /// What drivers read of a field. A number as text is what stands for none, too.
    fn metadata(&self, scale: u8, kind: &DataType) -> HashMap<String, String> {
        let column = self.column;
        let length = column.length.unwrap_or_default();
        let bytes = match (column.kind, kind) {
            ("text" | "variant" | "object" | "array" | "binary", _) => u64::from(length),
            ("timestamp_tz", DataType::Struct(parts)) if parts.len() == 2 => 8,
            (_, DataType::Struct(_)) => 16,
            (_, DataType::Boolean) => 1,
            (_, kind) => kind.primitive_width().map_or(0, |width| width as u64),
        };
        let is_moment = column.kind == "time" || column.kind.starts_with("timestamp");
        let precision = column.precision.unwrap_or(if is_moment { 0 } else { DIGITS });
        [
            ("logicalType", column.kind.to_uppercase()),
            ("precision", precision.to_string()),
            ("scale", scale.to_string()),
            ("charLength", length.to_string()),
            ("byteLength", bytes.to_string()),
            ("finalType", "T".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    fn scale(&self) -> Result<u8> {
        let most = if self.column.kind == "fixed" { DIGITS } else { 9 };
        let scale = u8::try_from(self.column.scale.unwrap_or_default()).ok();
        scale.filter(|scale| *scale <= most).ok_or_else(|| self.unfit())
    }

    fn unfit(&self) -> Unfit {
        Unfit::Cell(self.column.name.clone(), self.column.kind)
    }

    fn cells(&self) -> impl Iterator<Item = Option<&'a str>> + use<'a> {
        let at = self.at;
        let rows = self.result.rows.iter();
        rows.map(move |row| row.get(at).and_then(Option::as_deref))
    }

    /// Each cell's value; none where it is NULL.
    fn read<T>(&self, value: impl Fn(&str) -> Option<T>) -> Result<Vec<Option<T>>> {
        let value = |cell: Option<&str>| match cell {
            None => Ok(None),
            Some(cell) => value(cell).map(Some).ok_or_else(|| self.unfit()),
        };
        self.cells().map(value).collect()
    }

    fn text(&self) -> Result<ArrayRef> {
        // Arrow counts the bytes of all texts in 31 bits.
        let bytes: usize = self.cells().flatten().map(str::len).sum();
        if i32::try_from(bytes).is_err() {
            return Err(Unfit::Large(self.column.name.clone()));
        }
        Ok(Arc::new(StringArray::from_iter(self.cells())))
    }

    fn fixed(&self, scale: u8) -> Result<ArrayRef> {
        let values = self.read(|cell| unscaled(cell, scale))?;
        // Without a value, any width would do; drivers take 64 bits for a column of which they know nothing.
        let narrow = match values.iter().any(Option::is_some) {
            true => of_width::<Int8Type>(&values)
                .or_else(|| of_width::<Int16Type>(&values))
                .or_else(|| of_width::<Int32Type>(&values)),
            false => None,
        };
        if let Some(array) = narrow.or_else(|| of_width::<Int64Type>(&values)) {
            return Ok(array);
        }
        let scale = i8::try_from(scale).map_err(|_| self.unfit())?;
        let numbers: Decimal128Array = PrimitiveArray::<Decimal128Type>::from(values);
        Ok(Arc::new(numbers.with_precision_and_scale(DIGITS, scale)?))
    }

    fn timestamp(&self, scale: u8) -> Result<ArrayRef> {
        if scale <= 7 {
            let values = self.read(|cell| Moment::read(cell)?.in_units_of(scale))?;
            return Ok(Arc::new(Int64Array::from(values)));
        }
        let moments = self.read(Moment::read)?;
        let epochs = moments
            .iter()
            .map(|moment| moment.map_or(0, |moment| moment.epoch));
        let fractions = moments
            .iter()
            .map(|moment| moment.map_or(0, |moment| moment.fraction));
        parts(
            vec![
                ("epoch", Arc::new(Int64Array::from_iter_values(epochs))),
                ("fraction", Arc::new(Int32Array::from_iter_values(fractions))),
            ],
            moments.iter().map(Option::is_some),
        )
    }

    fn zoned(&self, scale: u8) -> Result<ArrayRef> {
        let moments = self.read(|cell| {
            let (moment, offset) = cell.split_once(' ')?;
            let moment = Moment::read(moment)?;
            let epoch = if scale <= 3 {
                moment.in_units_of(scale)?
            } else {
                moment.epoch
            };
            Some((epoch, moment.fraction, offset.parse::<i32>().ok()?))
        })?;
        let values = || moments.iter().map(|moment| moment.unwrap_or_default());
        let epochs = Int64Array::from_iter_values(values().map(|(epoch, ..)| epoch));
        let fractions = Int32Array::from_iter_values(values().map(|(_, fraction, _)| fraction));
        let offsets = Int32Array::from_iter_values(values().map(|(.., offset)| offset));
        let mut arrays: Vec<(&str, ArrayRef)> = vec![("epoch", Arc::new(epochs))];
        if scale > 3 {
            arrays.push(("fraction", Arc::new(fractions)));
        }
        arrays.push(("timezone", Arc::new(offsets)));
        parts(arrays, moments.iter().map(Option::is_some))
    }

    fn decfloat(&self) -> Result<ArrayRef> {
        let numbers = self.read(decimal_float)?;
        let exponents = numbers
            .iter()
            .map(|number| number.map_or(0, |(exponent, _)| exponent));
        let significands = numbers
            .iter()
            .map(|number| shortest(number.map_or(0, |(_, significand)| significand)));
        parts(
            vec![
                ("exponent", Arc::new(Int16Array::from_iter_values(exponents))),
                (
                    "significand",
                    Arc::new(BinaryArray::from_iter_values(significands)),
                ),
            ],
            numbers.iter().map(Option::is_some),
        )
    }

    fn vector(&self) -> Result<ArrayRef> {
        let (element, dimension) = self.column.vector.ok_or_else(|| self.unfit())?;
        // A list of fixed size takes its place where it is NULL, too.
        let bytes = self.result.rows.len().saturating_mul(usize::from(dimension) * 4);
        if bytes > LARGEST_RESULT {
            return Err(Unfit::Large(self.column.name.clone()));
        }
        if element == "real" {
            self.lists::<Float32Type>("REAL", dimension)
        } else {
            self.lists::<Int32Type>("FIXED", dimension)
        }
    }

    fn lists<T: ArrowPrimitiveType>(&self, element: &str, dimension: u16) -> Result<ArrayRef>
    where
        T::Native: std::str::FromStr,
    {
        let mut values = PrimitiveBuilder::<T>::new();
        let size = usize::from(dimension);
        for cell in self.cells() {
            let Some(cell) = cell else {
                values.append_value_n(T::Native::default(), size);
                continue;
            };
            let before = values.values_slice().len();
            let elements = cell.strip_prefix('[').and_then(|cell| cell.strip_suffix(']'));
            for element in elements.ok_or_else(|| self.unfit())?.split(',') {
                values.append_value(element.parse().map_err(|_| self.unfit())?);
            }
            if values.values_slice().len() != before + size {
                return Err(self.unfit());
            }
        }
        let metadata = [("logicalType", element), ("precision", "38"), ("scale", "0")];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let field = Field::new("element", T::DATA_TYPE, true).with_metadata(metadata.into());
        let is_there = NullBuffer::from_iter(self.cells().map(|cell| cell.is_some()));
        let lists = FixedSizeListArray::try_new(
            Arc::new(field),
            i32::from(dimension),
            Arc::new(values.finish()),
            Some(is_there),
        )?;
        Ok(Arc::new(lists))
    }
}

/// Arrays as the parts of structs.
fn parts(arrays: Vec<(&str, ArrayRef)>, is_there: impl Iterator<Item = bool>) -> Result<ArrayRef> {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = arrays
        .into_iter()
        .map(|(name, array)| (Field::new(name, array.data_type().clone(), true), array))
        .unzip();
    let nulls = NullBuffer::from_iter(is_there);
    Ok(Arc::new(StructArray::try_new(
        Fields::from(fields),
        arrays,
        Some(nulls),
    )?))
}

/// A struct whose parts are described as the whole, which is what the service does; any other array as it is.
fn described_parts(array: ArrayRef, metadata: &HashMap<String, String>) -> Result<ArrayRef> {
    let Some(parts) = array.as_struct_opt() else {
        return Ok(array);
    };
    let (fields, arrays, nulls) = parts.clone().into_parts();
    let described = |field: &Arc<Field>| field.as_ref().clone().with_metadata(metadata.clone());
    let fields: Fields = fields.iter().map(described).collect();
    Ok(Arc::new(StructArray::try_new(fields, arrays, nulls)?))
}

/// The values in this width, if all fit.
fn of_width<T: ArrowPrimitiveType>(values: &[Option<i128>]) -> Option<ArrayRef>
where
    T::Native: TryFrom<i128>,
{
    let mut array = PrimitiveBuilder::<T>::with_capacity(values.len());
    for value in values {
        match value {
            Some(value) => array.append_value(T::Native::try_from(*value).ok()?),
            None => array.append_null(),
        }
    }
    Some(Arc::new(array.finish()))
}

/// A decimal number times 10 to the scale; none, if it has more digits behind the point.
fn unscaled(text: &str, scale: u8) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let missing = usize::from(scale).checked_sub(fraction.len())?;
    let number: i128 = format!("{whole}{fraction}").parse().ok()?;
    number.checked_mul(10_i128.checked_pow(u32::try_from(missing).ok()?)?)
}

/// The exponent and the significand of a decimal float.
fn decimal_float(text: &str) -> Option<(i16, i128)> {
    let (number, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    let behind = i32::try_from(fraction.len()).ok()?;
    // Zeros at the end of a whole number would need more digits than there are.
    let plain = digits.trim_end_matches('0');
    let (plain, zeros) = match plain {
        "" | "-" if plain != digits => ("0", 0),
        plain => (plain, i32::try_from(digits.len() - plain.len()).ok()?),
    };
    let exponent = exponent
        .parse::<i32>()
        .ok()?
        .checked_sub(behind)?
        .checked_add(zeros)?;
    Some((i16::try_from(exponent).ok()?, plain.parse().ok()?))
}

/// A number as two's complement in as few bytes as hold it, at least one.
fn shortest(number: i128) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let is_sign = |pair: &[u8]| matches!((pair[0], pair[1] >= 0x80), (0, false) | (0xff, true));
    let signs = bytes.windows(2).take_while(|pair| is_sign(pair)).count();
    bytes[signs..].to_vec()
}

/// A point in time, or of the day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Moment {
    /// Whole seconds, rounded down.
    epoch: i64,
    /// Nanoseconds after that.
    fraction: i32,
}

impl Moment {
    /// Reads seconds as a decimal number with at most nine digits of fraction.
    fn read(text: &str) -> Option<Self> {
        let nanos = unscaled(text, 9)?;
        Some(Self {
            epoch: i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?,
            fraction: i32::try_from(nanos.rem_euclid(1_000_000_000)).ok()?,
        })
    }

    fn in_units_of(self, scale: u8) -> Option<i64> {
        let (scale, rest) = (u32::from(scale), 9_u32.checked_sub(u32::from(scale))?);
        let whole = self.epoch.checked_mul(10_i64.pow(scale))?;
        whole.checked_add(i64::from(self.fraction) / 10_i64.pow(rest))
    }
}
