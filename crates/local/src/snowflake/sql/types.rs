//! Types as statements write them.

use sqlparser::ast::{DataType as Type, ExactNumberInfo, TimezoneInfo};

use super::{Result, SqlError, structured};
use crate::snowflake::model::{DataType, VectorElement};
use crate::snowflake::rows::{self, MAX_VARCHAR};

/// Bytes of BINARY without a length.
const BINARY_LENGTH: u32 = 8 * 1024 * 1024;

fn fraction_digits(digits: Option<u64>) -> Result<u8> {
    let digits = digits.unwrap_or(9);
    u8::try_from(digits)
        .ok()
        .filter(|d| *d <= 9)
        .ok_or_else(|| SqlError::syntax("seconds have at most 9 digits"))
}

fn number(precision: u64, scale: i64) -> Result<DataType> {
    let wrong = || SqlError::syntax(format!("NUMBER({precision},{scale}) is no type"));
    let fits =
        (1..=38).contains(&precision) && (0..=37).contains(&scale) && scale.unsigned_abs() <= precision;
    let parts = (u8::try_from(precision).ok(), i8::try_from(scale).ok());
    match parts {
        (Some(precision), Some(scale)) if fits => Ok(DataType::Number { precision, scale }),
        _ => Err(wrong()),
    }
}

fn length(text: Option<&str>, default: u32) -> Result<u32> {
    let Some(text) = text else { return Ok(default) };
    let length = text
        .parse()
        .ok()
        .filter(|length| (1..=134_217_728).contains(length));
    length.ok_or_else(|| SqlError::syntax(format!("{text} is no length")))
}

/// The type that a parsed one means.
pub(super) fn data_type(parsed: &Type) -> Result<DataType> {
    let exact = |info: &ExactNumberInfo| match info {
        ExactNumberInfo::None => number(38, 0),
        ExactNumberInfo::Precision(precision) => number(*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => number(*precision, *scale),
    };
    Ok(match parsed {
        Type::Numeric(info) | Type::Decimal(info) | Type::Dec(info) => exact(info)?,
        Type::Int(_) | Type::Integer(_) | Type::BigInt(_) | Type::SmallInt(_) | Type::TinyInt(_) => {
            number(38, 0)?
        }
        Type::Float(_)
        | Type::Real
        | Type::Double(_)
        | Type::DoublePrecision
        | Type::Float4
        | Type::Float8 => DataType::Float,
        Type::Boolean | Type::Bool => DataType::Boolean,
        Type::Varchar(size) | Type::Char(size) | Type::Character(size) | Type::CharacterVarying(size) => {
            let text = size.as_ref().map(ToString::to_string);
            DataType::Varchar {
                length: length(text.as_deref(), MAX_VARCHAR)?,
            }
        }
        Type::Text | Type::String(_) => DataType::Varchar { length: MAX_VARCHAR },
        Type::Binary(size) => DataType::Binary {
            length: length(size.map(|s| s.to_string()).as_deref(), BINARY_LENGTH)?,
        },
        Type::Varbinary(_) => DataType::Binary {
            length: BINARY_LENGTH,
        },
        Type::Date => DataType::Date,
        Type::Time(digits, _) => DataType::Time {
            scale: fraction_digits(*digits)?,
        },
        Type::Timestamp(digits, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone)
        | Type::TimestampNtz(digits) => DataType::TimestampNtz {
            scale: fraction_digits(*digits)?,
        },
        Type::Timestamp(digits, _) => DataType::TimestampTz {
            scale: fraction_digits(*digits)?,
        },
        Type::Datetime(digits) => DataType::TimestampNtz {
            scale: fraction_digits(*digits)?,
        },
        Type::Custom(name, arguments) => custom(&name.to_string().to_uppercase(), arguments)?,
        Type::Array(_) => DataType::Array,
        other => match other.to_string().to_uppercase().as_str() {
            "VARIANT" => DataType::Variant,
            "OBJECT" => DataType::Object,
            text => return Err(SqlError::unsupported(&format!("the type {text}"))),
        },
    })
}

fn custom(name: &str, arguments: &[String]) -> Result<DataType> {
    let argument = |index: usize| arguments.get(index).and_then(|text| text.parse::<u64>().ok());
    let digits = || fraction_digits(argument(0));
    Ok(match name {
        "NUMBER" => {
            let scale = i64::try_from(argument(1).unwrap_or(0)).unwrap_or(i64::MAX);
            number(argument(0).unwrap_or(38), scale)?
        }
        "VARIANT" => DataType::Variant,
        "OBJECT" => DataType::Object,
        "ARRAY" => DataType::Array,
        structured::TYPE => structured::standard(arguments)?,
        "STRING" => DataType::Varchar {
            length: length(arguments.first().map(String::as_str), MAX_VARCHAR)?,
        },
        "TIMESTAMP_NTZ" => DataType::TimestampNtz { scale: digits()? },
        "TIMESTAMP_LTZ" => DataType::TimestampLtz { scale: digits()? },
        "TIMESTAMP_TZ" => DataType::TimestampTz { scale: digits()? },
        "DECFLOAT" => match arguments {
            [] => DataType::Decfloat,
            [digits] if digits == "38" => DataType::Decfloat,
            _ => return Err(SqlError::syntax("a DECFLOAT has 38 digits")),
        },
        "VECTOR" => vector(arguments)?,
        "GEOGRAPHY" | "GEOMETRY" => return Err(no_geospatial(name)),
        other => return Err(SqlError::unsupported(&format!("the type {other}"))),
    })
}

fn vector(arguments: &[String]) -> Result<DataType> {
    let [element, dimension] = arguments else {
        return Err(SqlError::syntax("a VECTOR has a type and a dimension"));
    };
    let element = match element.to_uppercase().as_str() {
        "FLOAT" | "FLOAT4" | "FLOAT8" => VectorElement::Float,
        "INT" | "INTEGER" => VectorElement::Int,
        other => {
            return Err(SqlError::syntax(format!(
                "the elements of a VECTOR are FLOAT or INT, not {other}"
            )));
        }
    };
    let most = rows::vector::MOST;
    let fits = dimension
        .parse()
        .ok()
        .filter(|dimension| (1..=most).contains(dimension));
    let dimension =
        fits.ok_or_else(|| SqlError::syntax(format!("a VECTOR has 1 to {most} elements, not {dimension}")))?;
    Ok(DataType::Vector { element, dimension })
}

/// The evidence of what streaming does with these types conflicts, so they are left out.
fn no_geospatial(name: &str) -> SqlError {
    SqlError::unsupported(&format!(
        "the type {name}: the documentation lists it for streaming and the service's own tests see no row land; use VARIANT or \
         VARCHAR and convert behind it"
    ))
}
