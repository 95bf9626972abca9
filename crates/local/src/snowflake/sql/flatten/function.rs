//! `frazil_flatten(value, path, outer, objects, arrays, recursive, this)`: the elements of JSON as a list.
//!
//! What it gives in a query is bounded: [`LARGEST`] bytes in a batch of rows.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::{ArrayRef, AsArray, Int64Builder, ListArray, StringBuilder, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{DataFusionError, Result, exec_datafusion_err, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;

use super::{COLUMNS, VARIANTS};
use crate::snowflake::rows::{Element, How, TYPE_KEY, flatten};

/// Bytes of the elements of one batch of rows.
const LARGEST: usize = 256 * 1024 * 1024;

/// Rows that were opened since the start: SEQ tells them apart.
static ROWS: AtomicI64 = AtomicI64::new(1);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    signature: Signature,
}

/// Makes the function known to a session.
pub(in super::super) fn register(context: &SessionContext) {
    // SEQ is another one at each call.
    let signature = Signature::any(7, Volatility::Volatile);
    context.register_udf(ScalarUDF::from(Function { signature }));
}

fn fields() -> Fields {
    let field = |name: &str| {
        let kind = match name {
            "SEQ" | "INDEX" => DataType::Int64,
            _ => DataType::Utf8,
        };
        let field = Field::new(name, kind, true);
        match VARIANTS.contains(&name) {
            true => field.with_metadata(HashMap::from([(TYPE_KEY.to_owned(), "VARIANT".to_owned())])),
            false => field,
        }
    };
    COLUMNS.iter().map(|name| field(name)).collect()
}

fn list() -> DataType {
    DataType::List(element())
}

fn element() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Struct(fields()), true))
}

impl ScalarUDFImpl for Function {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn name(&self) -> &str {
        "frazil_flatten"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(list())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name(), list(), false)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [values, ColumnarValue::Scalar(path), flags @ ..] = arguments.args.as_slice() else {
            return internal_err!("the path of FLATTEN is no literal");
        };
        let flags: Vec<bool> = flags
            .iter()
            .map(|flag| matches!(flag, ColumnarValue::Scalar(ScalarValue::Boolean(Some(true)))))
            .collect();
        let &[outer, objects, arrays, recursive, wants_this] = flags.as_slice() else {
            return internal_err!("FLATTEN has other arguments");
        };
        let how = How {
            objects,
            arrays,
            recursive,
        };
        let path = path.try_as_str().flatten().unwrap_or_default();
        let texts = cast(&values.to_array(arguments.number_rows)?, &DataType::Utf8)?;
        let mut built = Built::default();
        for text in texts.as_string::<i32>() {
            built.row = ROWS.fetch_add(1, Ordering::Relaxed);
            let before = built.count;
            if let Some(text) = text {
                flatten(text, path, how, &mut |element| built.push(&element, wants_this))?;
            }
            if outer && built.count == before {
                built.nothing();
            }
            built.ends.push(built.count - before);
        }
        built.finish().map(ColumnarValue::Array)
    }
}

#[derive(Default)]
struct Built {
    row: i64,
    seq: Int64Builder,
    key: StringBuilder,
    path: StringBuilder,
    index: Int64Builder,
    value: StringBuilder,
    this: StringBuilder,
    count: usize,
    bytes: usize,
    /// Elements of each row.
    ends: Vec<usize>,
}

impl Built {
    fn push(&mut self, element: &Element<'_>, wants_this: bool) -> Result<()> {
        let this = wants_this.then_some(element.this);
        self.bytes += element.value.len() + element.path.len() + this.map_or(0, str::len);
        if self.bytes > LARGEST {
            return Err(exec_datafusion_err!(
                "FLATTEN gives more than {LARGEST} bytes at once"
            ));
        }
        self.seq.append_value(self.row);
        self.key.append_option(element.key.as_deref());
        self.path.append_value(&element.path);
        self.index.append_option(element.index);
        self.value.append_value(element.value);
        self.this.append_option(this);
        self.count += 1;
        Ok(())
    }

    /// The row of a value without elements, where OUTER is asked for.
    fn nothing(&mut self) {
        self.seq.append_value(self.row);
        for text in [&mut self.key, &mut self.path, &mut self.value, &mut self.this] {
            text.append_null();
        }
        self.index.append_null();
        self.count += 1;
    }

    fn finish(mut self) -> Result<ArrayRef> {
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(self.seq.finish()),
            Arc::new(self.key.finish()),
            Arc::new(self.path.finish()),
            Arc::new(self.index.finish()),
            Arc::new(self.value.finish()),
            Arc::new(self.this.finish()),
        ];
        let elements = StructArray::try_new(fields(), arrays, None).map_err(DataFusionError::from)?;
        let offsets = OffsetBuffer::from_lengths(self.ends);
        Ok(Arc::new(ListArray::try_new(
            element(),
            offsets,
            Arc::new(elements),
            None,
        )?))
    }
}
