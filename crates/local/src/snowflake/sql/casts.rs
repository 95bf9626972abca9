//! `frazil_cast(v, type)` and `frazil_try_cast(v, type)`: casts of VARIANT and text by the rules of the columns.
//!
//! The type is a literal, as JSON. A value that does not fit is an error, or NULL. A VARIANT number is a boolean (zero is
//! false), which streaming into a BOOLEAN column refuses (Snowflake documentation, "TO_BOOLEAN").

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType as Arrow, Field, FieldRef};
use datafusion::common::{Result, exec_err, internal_datafusion_err, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, lit,
};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;

use super::variant::is_json;
use crate::snowflake::model::{ColumnDef, DataType};
use crate::snowflake::rows::{self, Form, Typed, Value};

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
    let signature = Signature::any(2, Volatility::Immutable);
    ScalarUDF::from(Cast { lenient, signature })
}

/// An expression as a value of this type.
pub(super) fn to(value: Expr, to: &DataType) -> Result<Expr> {
    let text = serde_json::to_string(to).map_err(|error| internal_datafusion_err!("a type: {error}"))?;
    Ok(function(false).call(vec![value, lit(text)]))
}

/// A column of this type, which says how values are stored.
fn column(to: Option<&ScalarValue>) -> Result<ColumnDef> {
    let Some(ScalarValue::Utf8(Some(text))) = to else {
        return internal_err!("the type of a cast is no literal");
    };
    let data_type: DataType = match serde_json::from_str(text) {
        Ok(data_type) => data_type,
        Err(error) => return internal_err!("the type of a cast: {error}"),
    };
    Ok(ColumnDef::new("CAST", data_type))
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
        let to = column(arguments.scalar_arguments.get(1).copied().flatten())?;
        Ok(Arc::new(rows::field(&to)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [given, ColumnarValue::Scalar(to)] = arguments.args.as_slice() else {
            return internal_err!("the type of a cast is no literal");
        };
        let to = column(Some(to))?;
        let is_json = arguments
            .arg_fields
            .first()
            .is_some_and(|field: &Arc<Field>| is_json(field));
        let given = given.to_array(arguments.number_rows)?;
        let typed = Typed::of(given.data_type());
        // A vector is read as the array of its elements.
        let is_json = is_json || typed == Some(Typed::Vector);
        let given = match typed {
            Some(typed) => typed.texts(&given, Form::Canonical),
            None => arrow::compute::cast(&given, &Arrow::Utf8)?
                .as_string::<i32>()
                .clone(),
        };
        let values = (0..given.len()).map(|row| match (given.is_null(row), is_json) {
            (true, _) => Value::Null,
            (false, true) => Value::Json(given.value(row)),
            (false, false) => Value::Text(given.value(row)),
        });
        match rows::cast(values, &to, self.lenient) {
            Ok(array) => Ok(ColumnarValue::Array(array)),
            Err(message) => exec_err!("{message}"),
        }
    }
}
