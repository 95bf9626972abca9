//! Functions over VARIANT, which is JSON text in storage.
//!
//! | function | answer |
//! |---|---|
//! | `frazil_get(v, 'key')`, `frazil_at(v, n)` | a step into an object or array; where there is nothing, NULL |
//! | `frazil_text(v)` | the cast to VARCHAR: a string without its quotes, JSON null as NULL, anything else as it stands |
//! | `frazil_variant(x)`, `frazil_json(x)` | any value as VARIANT, as JSON text |
//! | `frazil_parse(t)`, `frazil_try_parse(t)` | text as VARIANT; an error, or NULL, where it is no JSON |
//! | `frazil_object(k, v, ...)`, `frazil_array(v, ...)` | construction; a pair with NULL is left out, an element becomes null |
//! | `frazil_size(v)` | elements of an array, else NULL |
//! | `frazil_type(v)` | as TYPEOF writes it |
//! | `frazil_split(t, s)` | an array of texts |
//! | `frazil_hex(t)`, `frazil_unhex(t)`, `frazil_try_unhex(t)` | text as hexadecimal digits, and back |
//!
//! A value that is no text counts as the JSON of its type.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionContext;

use crate::snowflake::rows::json::{Kind, Raw, Reader, quote};
use crate::snowflake::rows::{Form, TYPE_KEY, Typed, unhex};

/// Which of the functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Get,
    At,
    Text,
    Json,
    Variant,
    Parse,
    TryParse,
    Object,
    Array,
    Size,
    Type,
    Split,
    Hex,
    Unhex,
    TryUnhex,
}

const STEPS: [Step; 15] = [
    Step::Get,
    Step::At,
    Step::Text,
    Step::Json,
    Step::Variant,
    Step::Parse,
    Step::TryParse,
    Step::Object,
    Step::Array,
    Step::Size,
    Step::Type,
    Step::Split,
    Step::Hex,
    Step::Unhex,
    Step::TryUnhex,
];

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    step: Step,
    signature: Signature,
}

/// Makes the functions known to a session.
pub(super) fn register(context: &SessionContext) {
    for step in STEPS {
        let signature = Signature::variadic_any(Volatility::Immutable);
        context.register_udf(ScalarUDF::from(Function { step, signature }));
    }
}

/// Whether values of this field are JSON.
pub(super) fn is_json(field: &Field) -> bool {
    field.metadata().contains_key(TYPE_KEY)
}

/// A value of one row.
#[derive(Debug, Clone, Copy)]
enum Given<'a> {
    Null,
    Json(&'a str),
    Text(&'a str),
}

impl<'a> Given<'a> {
    fn json(self) -> Option<&'a str> {
        match self {
            Self::Json(json) => Some(json),
            _ => None,
        }
    }

    fn any(self) -> Option<&'a str> {
        match self {
            Self::Json(any) | Self::Text(any) => Some(any),
            Self::Null => None,
        }
    }

    /// As a part of a JSON text.
    fn write(self, into: &mut String) {
        match self {
            Self::Null => into.push_str("null"),
            Self::Json(json) => into.push_str(json),
            Self::Text(text) => quote(text, into),
        }
    }
}

/// The values of one argument.
struct Argument {
    values: StringArray,
    is_json: bool,
}

impl Argument {
    fn of(field: &Field, array: &ArrayRef) -> Result<Self> {
        let is_text = matches!(
            field.data_type(),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        );
        if let Some(typed) = Typed::of(field.data_type()) {
            return Ok(Self {
                values: typed.texts(array, Form::Shown),
                is_json: typed == Typed::Vector,
            });
        }
        let is_moment = field.data_type().is_temporal();
        let values = cast(array, &DataType::Utf8)?;
        Ok(Self {
            values: values.as_string::<i32>().clone(),
            is_json: is_json(field) || !is_text && !is_moment,
        })
    }

    fn at(&self, row: usize) -> Given<'_> {
        match (self.values.is_null(row), self.is_json) {
            (true, _) => Given::Null,
            (false, true) => Given::Json(self.values.value(row)),
            (false, false) => Given::Text(self.values.value(row)),
        }
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
            Step::Json => "frazil_json",
            Step::Variant => "frazil_variant",
            Step::Parse => "frazil_parse",
            Step::TryParse => "frazil_try_parse",
            Step::Object => "frazil_object",
            Step::Array => "frazil_array",
            Step::Size => "frazil_size",
            Step::Type => "frazil_type",
            Step::Split => "frazil_split",
            Step::Hex => "frazil_hex",
            Step::Unhex => "frazil_unhex",
            Step::TryUnhex => "frazil_try_unhex",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        if matches!(self.step, Step::Variant | Step::Object | Step::Array) {
            let fields = arguments.arg_fields.iter();
            let mut typed = fields.filter_map(|field| Typed::of(field.data_type()));
            if let Some(typed) = typed.find(|typed| *typed != Typed::Zoned) {
                return plan_err!(
                    "a value of {} is no part of VARIANT, OBJECT and ARRAY",
                    typed.name()
                );
            }
        }
        let data_type = if self.step == Step::Size {
            DataType::Int64
        } else {
            DataType::Utf8
        };
        let field = Field::new(self.name(), data_type, true);
        let kind = match self.step {
            Step::Object => "OBJECT",
            Step::Array | Step::Split => "ARRAY",
            Step::Get | Step::At | Step::Variant | Step::Parse | Step::TryParse => "VARIANT",
            _ => return Ok(Arc::new(field)),
        };
        Ok(Arc::new(field.with_metadata(HashMap::from([(
            TYPE_KEY.to_owned(),
            kind.to_owned(),
        )]))))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let fields = arguments.arg_fields.iter();
        let given: Vec<Argument> = fields
            .zip(&arrays)
            .map(|(field, array)| Argument::of(field, array))
            .collect::<Result<_>>()?;
        let rows = given.first().map_or(0, |first| first.values.len());
        let mut built = StringBuilder::new();
        let mut row_of = Vec::with_capacity(given.len());
        for row in 0..rows {
            row_of.clear();
            row_of.extend(given.iter().map(|argument| argument.at(row)));
            built.append_option(self.step.of(&row_of)?);
        }
        let texts: ArrayRef = Arc::new(built.finish());
        Ok(ColumnarValue::Array(if self.step == Step::Size {
            cast(&texts, &DataType::Int64)?
        } else {
            texts
        }))
    }
}

impl Step {
    fn of(self, given: &[Given<'_>]) -> Result<Option<String>> {
        let first = given.first().copied().unwrap_or(Given::Null);
        let second = given.get(1).copied().unwrap_or(Given::Null);
        let parsed = |text: &str| Raw::parse(text).ok().map(|raw| raw.compact().into_owned());
        Ok(match (self, first.any()) {
            (Self::Object, _) => return object(given).map(Some),
            (Self::Array, _) => Some(array(given)),
            (_, None) => None,
            (Self::Get, _) => first
                .json()
                .zip(second.any())
                .and_then(|(value, key)| member(value, key)),
            (Self::At, _) => {
                let index = second.any().and_then(|text| text.parse().ok());
                first
                    .json()
                    .zip(index)
                    .and_then(|(value, index)| element(value, index))
            }
            (Self::Text, Some(any)) => match first {
                Given::Text(_) => Some(any.to_owned()),
                _ => text(any),
            },
            (Self::Variant | Self::Json, Some(_)) => {
                let mut written = String::new();
                first.write(&mut written);
                Some(written)
            }
            (Self::Parse, Some(any)) => match parsed(any) {
                Some(json) => Some(json),
                None => return exec_err!("Error parsing JSON: {}", shown(any)),
            },
            (Self::TryParse, Some(any)) => parsed(any),
            (Self::Size, Some(any)) => elements(any).map(|count| count.to_string()),
            (Self::Type, Some(any)) => Some(type_of(any).to_owned()),
            (Self::Split, Some(any)) => {
                let parts: Vec<&str> = match second.any() {
                    None => return Ok(None),
                    Some("") => vec![any],
                    Some(separator) => any.split(separator).collect(),
                };
                let parts: Vec<Given<'_>> = parts.into_iter().map(Given::Text).collect();
                Some(array(&parts))
            }
            (Self::Hex, Some(any)) => Some(any.bytes().map(|byte| format!("{byte:02X}")).collect()),
            (Self::Unhex, Some(any)) => {
                let plain = unhex(any).and_then(|bytes| String::from_utf8(bytes).ok());
                Some(plain.ok_or_else(|| exec_datafusion_err!("'{}' is no hexadecimal text", shown(any)))?)
            }
            (Self::TryUnhex, Some(any)) => unhex(any).and_then(|bytes| String::from_utf8(bytes).ok()),
        })
    }
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

fn object(given: &[Given<'_>]) -> Result<String> {
    let mut written = String::from("{");
    for pair in given.chunks(2) {
        let [key, value] = pair else {
            return exec_err!("OBJECT_CONSTRUCT takes keys and values in pairs");
        };
        let (Some(key), Some(_)) = (key.any(), value.any()) else {
            continue;
        };
        if written.len() > 1 {
            written.push(',');
        }
        quote(key, &mut written);
        written.push(':');
        value.write(&mut written);
    }
    written.push('}');
    Ok(written)
}

fn array(given: &[Given<'_>]) -> String {
    let mut written = String::from("[");
    for (index, value) in given.iter().enumerate() {
        if index > 0 {
            written.push(',');
        }
        value.write(&mut written);
    }
    written.push(']');
    written
}

fn elements(value: &str) -> Option<usize> {
    let mut reader = Reader::new(value);
    reader.space();
    if !reader.take(b'[') {
        return None;
    }
    let mut count = 0;
    loop {
        reader.space();
        if reader.take(b']') {
            return Some(count);
        }
        reader.value().ok()?;
        count += 1;
        reader.space();
        reader.take(b',');
    }
}

fn type_of(value: &str) -> &'static str {
    match Raw::parse(value).map(|raw| raw.kind) {
        Err(_) => "VARCHAR",
        Ok(Kind::Null) => "NULL_VALUE",
        Ok(Kind::Boolean(_)) => "BOOLEAN",
        Ok(Kind::Number) if value.contains(['e', 'E']) => "DOUBLE",
        Ok(Kind::Number) if value.contains('.') => "DECIMAL",
        Ok(Kind::Number) => "INTEGER",
        Ok(Kind::Text(_)) => "VARCHAR",
        Ok(Kind::Object) => "OBJECT",
        Ok(Kind::Array) => "ARRAY",
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

    #[test]
    fn values_are_built_taken_apart_and_named() {
        let of = |step: Step, given: &[Given<'_>]| step.of(given).map_err(|error| error.to_string());
        let (json, text) = (Given::Json, Given::Text);
        let some = |text: &str| Ok(Some(text.to_owned()));
        let pairs = [
            text("a"),
            text("x\"y"),
            text("n"),
            Given::Null,
            text("b"),
            json("[1]"),
        ];
        assert_eq!(of(Step::Object, &pairs), some(r#"{"a":"x\"y","b":[1]}"#));
        assert!(of(Step::Object, &pairs[..3]).is_err());
        assert_eq!(
            of(Step::Array, &[json("1"), Given::Null, text("z")]),
            some(r#"[1,null,"z"]"#)
        );
        assert_eq!(of(Step::Size, &[json("[1, [2, 3], {}]")]), some("3"));
        assert_eq!(of(Step::Size, &[json("{}")]), Ok(None));
        assert_eq!(of(Step::Parse, &[text(r#"{ "a" : 1 }"#)]), some(r#"{"a":1}"#));
        assert!(of(Step::Parse, &[text("{")]).is_err());
        assert_eq!(of(Step::TryParse, &[text("{")]), Ok(None));
        assert_eq!(
            of(Step::Split, &[text("a,,b"), text(",")]),
            some(r#"["a","","b"]"#)
        );
        assert_eq!(of(Step::Hex, &[text("hé")]), some("68C3A9"));
        assert_eq!(of(Step::Unhex, &[text("68c3a9")]), some("hé"));
        assert!(of(Step::Unhex, &[text("6")]).is_err());
        assert_eq!(of(Step::TryUnhex, &[text("zz")]), Ok(None));
        let types = [
            ("null", "NULL_VALUE"),
            ("1", "INTEGER"),
            ("1.5", "DECIMAL"),
            ("1e3", "DOUBLE"),
            ("[]", "ARRAY"),
        ];
        for (value, name) in types {
            assert_eq!(of(Step::Type, &[json(value)]), some(name));
        }
    }
}
