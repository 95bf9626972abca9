//! `frazil_cast(v, type)` and `frazil_try_cast(v, type)`: casts of VARIANT and text by the rules of the columns, and all casts to
//! TIMESTAMP_NTZ and TIMESTAMP_LTZ.
//!
//! The type is a literal, as JSON; behind it may stand how many digits of a number are fractions of a second. A value that does not
//! fit is an error, or NULL. A VARIANT number is a boolean (zero is false), which streaming into a BOOLEAN column refuses
//! (Snowflake documentation, "TO_BOOLEAN").
//!
//! A timestamp is counted in nanoseconds, which reach from the year 1677 to 2262; in microseconds, which reach from 1 to 9999,
//! are a literal beyond, a date, what was counted so before, and where the type has at most six digits of a second. So what this
//! does not: make a timestamp beyond of a VARIANT or a text column where the type has more digits, as it has if none are said.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType as Arrow, Field, FieldRef, TimeUnit};
use datafusion::common::{Result, exec_err, internal_datafusion_err, internal_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, lit,
};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;

use super::variant::is_json;
use crate::snowflake::model::{ColumnDef, DataType};
use crate::snowflake::rows::{self, Form, Typed, Value, moments, zoned};

#[derive(Debug, PartialEq, Eq, Hash)]
struct Cast {
    lenient: bool,
    signature: Signature,
}

/// Makes the functions known to a session.
pub(super) fn register(context: &SessionContext) {
    for lenient in [false, true] {
        context.register_udf(function(lenient));
    }
}

fn function(lenient: bool) -> ScalarUDF {
    let signature = Signature::variadic_any(Volatility::Immutable);
    ScalarUDF::from(Cast { lenient, signature })
}

/// An expression as a value of this type.
pub(super) fn to(value: Expr, to: &DataType) -> Result<Expr> {
    let text = serde_json::to_string(to).map_err(|error| internal_datafusion_err!("a type: {error}"))?;
    Ok(function(false).call(vec![value, lit(text)]))
}

/// Whether an expression is a literal text that is a timestamp beyond the years 1677 to 2262.
pub(super) fn is_far(expression: &Expr) -> bool {
    matches!(expression, Expr::Literal(literal, _) if is_far_literal(Some(literal), 0))
}

/// The same of a text, or of a number that counts seconds behind so many digits.
fn is_far_literal(literal: Option<&ScalarValue>, digits: usize) -> bool {
    match literal {
        Some(ScalarValue::Int64(Some(number))) => rows::is_far_number(&shifted(&number.to_string(), digits)),
        Some(literal) => literal.try_as_str().flatten().is_some_and(rows::is_far),
        None => false,
    }
}

/// A column of this type, which says how values of this kind are stored.
fn column(to: Option<&ScalarValue>, given: &Arrow, is_far: bool) -> Result<ColumnDef> {
    let Some(ScalarValue::Utf8(Some(text))) = to else {
        return internal_err!("the type of a cast is no literal");
    };
    let data_type: DataType = match serde_json::from_str(text) {
        Ok(data_type) => data_type,
        Err(error) => return internal_err!("the type of a cast: {error}"),
    };
    let mut column = ColumnDef::new("CAST", data_type);
    column.micros = match (
        &column.data_type,
        moments::unit(given).or_else(|| zoned::unit(given)),
    ) {
        (_, Some(unit)) => unit == TimeUnit::Microsecond,
        (
            DataType::TimestampNtz { scale }
            | DataType::TimestampLtz { scale }
            | DataType::TimestampTz { scale },
            None,
        ) => *scale <= 6 || *given == Arrow::Date32 || is_far,
        _ => false,
    };
    Ok(column)
}

/// A timestamp or a date as another kind of timestamp, without going by its text.
fn timestamp(given: &ArrayRef, to: &ColumnDef) -> Result<Option<ArrayRef>> {
    let (scale, zoned) = match to.data_type {
        DataType::TimestampNtz { scale } => (scale, false),
        DataType::TimestampLtz { scale } => (scale, true),
        _ => return Ok(None),
    };
    let given = match given.data_type() {
        Arrow::Date32 => cast(given, &moments::kind(TimeUnit::Microsecond, false))?,
        kind if zoned::unit(kind).is_some() && zoned => zoned::moments(given),
        kind if zoned::unit(kind).is_some() => zoned::walls(given),
        kind if moments::unit(kind).is_some() => Arc::clone(given),
        _ => return Ok(None),
    };
    let unit = if to.micros {
        TimeUnit::Microsecond
    } else {
        TimeUnit::Nanosecond
    };
    Ok(Some(moments::scaled(&given, unit, zoned, scale)))
}

/// How many digits of a number are fractions of a second.
fn digits(literal: Option<&ScalarValue>) -> Option<usize> {
    match literal {
        Some(ScalarValue::Int64(Some(digits))) => usize::try_from(*digits).ok(),
        _ => None,
    }
}

/// A whole number whose last digits are its fraction.
fn shifted(number: &str, digits: usize) -> String {
    let (sign, whole) = number
        .strip_prefix('-')
        .map_or(("", number), |whole| ("-", whole));
    let padded = format!("{whole:0>width$}", width = digits + 1);
    match padded.split_at_checked(padded.len() - digits) {
        Some((seconds, fraction)) => format!("{sign}{seconds}.{fraction}"),
        None => number.to_owned(),
    }
}

impl ScalarUDFImpl for Cast {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn name(&self) -> &str {
        if self.lenient {
            "frazil_try_cast"
        } else {
            "frazil_cast"
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[Arrow]) -> Result<Arrow> {
        internal_err!("the type depends on the second argument")
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let scalar = |place: usize| arguments.scalar_arguments.get(place).copied().flatten();
        let given = arguments.arg_fields.first().map(|field| field.data_type());
        let is_far = is_far_literal(scalar(0), digits(scalar(2)).unwrap_or(0));
        let to = column(scalar(1), given.unwrap_or(&Arrow::Null), is_far)?;
        Ok(Arc::new(rows::field(&to)))
    }

    /// A timestamp that is what it is to be stays as it is, so that a comparison with it leaves out files.
    fn simplify(&self, mut arguments: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let [given, Expr::Literal(to, _)] = arguments.as_slice() else {
            return Ok(ExprSimplifyResult::Original(arguments));
        };
        let kind = info.get_data_type(given)?;
        let to = column(Some(to), &kind, false)?;
        let is_whole = matches!(
            to.data_type,
            DataType::TimestampNtz { scale: 9 } | DataType::TimestampLtz { scale: 9 }
        );
        if is_whole && *rows::field(&to).data_type() == kind {
            return Ok(ExprSimplifyResult::Simplified(arguments.swap_remove(0)));
        }
        Ok(ExprSimplifyResult::Original(arguments))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [given, ColumnarValue::Scalar(to), rest @ ..] = arguments.args.as_slice() else {
            return internal_err!("the type of a cast is no literal");
        };
        let digits = match rest {
            [ColumnarValue::Scalar(literal)] => digits(Some(literal)),
            _ => None,
        };
        let is_far = match given {
            ColumnarValue::Scalar(literal) => is_far_literal(Some(literal), digits.unwrap_or(0)),
            ColumnarValue::Array(_) => false,
        };
        let kind = arguments.arg_fields.first().map(|field| field.data_type());
        let to = column(Some(to), kind.unwrap_or(&Arrow::Null), is_far)?;
        let is_json = arguments
            .arg_fields
            .first()
            .is_some_and(|field: &Arc<Field>| is_json(field));
        let given = given.to_array(arguments.number_rows)?;
        if let Some(made) = timestamp(&given, &to)? {
            return Ok(ColumnarValue::Array(made));
        }
        let typed = Typed::of(given.data_type());
        // A vector is read as the array of its elements.
        let is_json = is_json || typed == Some(Typed::Vector);
        let given = match typed {
            Some(typed) => typed.texts(&given, Form::Canonical),
            None => cast(&given, &Arrow::Utf8)?.as_string::<i32>().clone(),
        };
        let is_number = digits.is_some() || kind.is_some_and(Arrow::is_numeric);
        let given = match digits {
            Some(digits) => given
                .iter()
                .map(|text| text.map(|text| shifted(text, digits)))
                .collect(),
            None => given,
        };
        let values = (0..given.len()).map(|row| match (given.is_null(row), is_json) {
            (true, _) => Value::Null,
            (false, true) => Value::Json(given.value(row)),
            (false, false) if is_number => Value::Plain(given.value(row)),
            (false, false) => Value::Text(given.value(row)),
        });
        match rows::cast(values, &to, self.lenient) {
            Ok(array) => Ok(ColumnarValue::Array(array)),
            Err(message) => exec_err!("{message}"),
        }
    }
}
