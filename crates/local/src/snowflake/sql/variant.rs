//! Functions over VARIANT, which is JSON text in storage.
//!
//! `frazil_get(v, 'key')` and `frazil_at(v, n)` step into an object or array; where there is nothing, NULL.
//! `frazil_text(v)` is the cast to VARCHAR: a string without its quotes, JSON null as NULL, anything else as it stands;
//! casts to other types go through it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionContext;

use crate::snowflake::rows::TYPE_KEY;
use crate::snowflake::rows::json::{Kind, Raw, Reader};

/// Which of the functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Get,
    At,
    Text,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    step: Step,
    signature: Signature,
}

/// Makes the functions known to a session.
pub(super) fn register(context: &SessionContext) {
    for (step, arguments) in [
        (Step::Get, vec![DataType::Utf8, DataType::Utf8]),
        (Step::At, vec![DataType::Utf8, DataType::Int64]),
        (Step::Text, vec![DataType::Utf8]),
    ] {
        let signature = Signature::exact(arguments, Volatility::Immutable);
        context.register_udf(ScalarUDF::from(Function { step, signature }));
    }
}

impl ScalarUDFImpl for Function {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn name(&self) -> &str {
        match self.step {
            Step::Get => "frazil_get",
            Step::At => "frazil_at",
            Step::Text => "frazil_text",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = Field::new(self.name(), DataType::Utf8, true);
        let variant = HashMap::from([(TYPE_KEY.to_owned(), "VARIANT".to_owned())]);
        Ok(Arc::new(if self.step == Step::Text {
            field
        } else {
            field.with_metadata(variant)
        }))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [values, rest @ ..] = arrays.as_slice() else {
            return exec_err!("{} wants a value", self.name());
        };
        let values = values.as_string::<i32>();
        let mut built = StringBuilder::new();
        for row in 0..values.len() {
            let value = (!values.is_null(row)).then(|| values.value(row));
            let stepped = value.and_then(|value| match (self.step, rest.first()) {
                (Step::Text, _) => text(value),
                (Step::Get, Some(keys)) if !keys.is_null(row) => {
                    member(value, keys.as_string::<i32>().value(row))
                }
                (Step::At, Some(indexes)) if !indexes.is_null(row) => {
                    element(value, indexes.as_primitive::<Int64Type>().value(row))
                }
                _ => None,
            });
            built.append_option(stepped);
        }
        Ok(ColumnarValue::Array(Arc::new(built.finish()) as ArrayRef))
    }
}

fn text(value: &str) -> Option<String> {
    let raw = Raw::parse(value).ok()?;
    match raw.kind {
        Kind::Null => None,
        Kind::Text(_) => raw.string().map(|text| text.into_owned()),
        _ => Some(raw.compact().into_owned()),
    }
}

fn member(value: &str, key: &str) -> Option<String> {
    let mut reader = Reader::new(value);
    reader.space();
    if !reader.take(b'{') {
        return None;
    }
    loop {
        reader.space();
        if reader.take(b'}') {
            return None;
        }
        let found = reader.key().ok()?;
        let raw = reader.value().ok()?;
        if found == key {
            return Some(raw.compact().into_owned());
        }
        reader.space();
        reader.take(b',');
    }
}

fn element(value: &str, index: i64) -> Option<String> {
    let mut left = usize::try_from(index).ok()?;
    let mut reader = Reader::new(value);
    reader.space();
    if !reader.take(b'[') {
        return None;
    }
    loop {
        reader.space();
        if reader.take(b']') {
            return None;
        }
        let raw = reader.value().ok()?;
        if left == 0 {
            return Some(raw.compact().into_owned());
        }
        left -= 1;
        reader.space();
        reader.take(b',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_find_what_is_there() {
        let value = r#"{"a":{"b":[1,"x",null]},"c":"d\"e"}"#;
        let b = member(&member(value, "a").unwrap(), "b").unwrap();
        assert_eq!(element(&b, 1).as_deref(), Some(r#""x""#));
        assert_eq!(text(&element(&b, 1).unwrap()).as_deref(), Some("x"));
        assert_eq!(text(&element(&b, 2).unwrap()), None);
        assert_eq!(text(&member(value, "c").unwrap()).as_deref(), Some("d\"e"));
        for nothing in [
            member(value, "A"),
            member("[1]", "a"),
            element(value, 0),
            element(&b, 3),
            element(&b, -1),
        ] {
            assert_eq!(nothing, None);
        }
        assert_eq!(member("broken", "a"), None);
    }
}
