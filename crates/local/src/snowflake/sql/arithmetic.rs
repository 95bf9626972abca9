//! Numbers: `/` and `*` as Snowflake does them, where DataFusion gives whole numbers or other digits.
//!
//! A quotient of NUMBERs has as many digits behind the point as its dividend, and six more up to twelve; a product has at most twelve,
//! or as many as a factor has. The last digit is rounded half away from zero. Division by zero is an error, also of FLOAT.
//!
//! Source: Snowflake documentation, "Arithmetic operators", "DIV0", "DIV0NULL".

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType as Arrow, Decimal128Type, Field, FieldRef, Float64Type, i256};
use datafusion::common::{Result, exec_datafusion_err, internal_err, plan_err};
use datafusion::logical_expr::planner::RawBinaryExpr;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionContext;
use sqlparser::ast::BinaryOperator;

/// What an error of a division by zero says.
pub(super) const BY_ZERO: &str = "Division by zero";
/// Digits of a NUMBER.
const DIGITS: u8 = 38;
/// Digits behind the point, up to which a quotient has more of them than its dividend.
const QUOTIENT: i8 = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Does {
    Divide,
    /// DIV0: a quotient by zero is zero.
    DivideOrZero,
    /// DIV0NULL: one by NULL, too.
    DivideOrZeroOfNull,
    Multiply,
}

const ALL: [(Does, &str); 4] = [
    (Does::Divide, "frazil_divide"),
    (Does::DivideOrZero, "frazil_divide_or_zero"),
    (Does::DivideOrZeroOfNull, "frazil_divide_or_zero_of_null"),
    (Does::Multiply, "frazil_multiply"),
];

/// Makes the functions known to a session.
pub(super) fn register(context: &SessionContext) {
    for (does, _) in ALL {
        context.register_udf(function(does));
    }
}

fn function(does: Does) -> ScalarUDF {
    let signature = Signature::any(2, Volatility::Immutable);
    ScalarUDF::from(Function { does, signature })
}

/// A quotient or product of two numbers as a call; as it is where DataFusion does the same.
pub(super) fn plan(
    raw: RawBinaryExpr,
    left: &Arrow,
    right: &Arrow,
) -> std::result::Result<Expr, Box<RawBinaryExpr>> {
    let call = |does: Does, raw: RawBinaryExpr| Ok(function(does).call(vec![raw.left, raw.right]));
    match raw.op {
        BinaryOperator::Divide if is_number(left) && is_number(right) => call(Does::Divide, raw),
        BinaryOperator::Multiply => match (scale(left), scale(right)) {
            (Some(left), Some(right)) if left + right > product(left, right) => call(Does::Multiply, raw),
            _ => Err(Box::new(raw)),
        },
        _ => Err(Box::new(raw)),
    }
}

fn is_number(kind: &Arrow) -> bool {
    scale(kind).is_some() || kind.is_floating()
}

/// Digits behind the point of a type of exact numbers.
fn scale(kind: &Arrow) -> Option<i8> {
    match kind {
        Arrow::Decimal128(_, scale) => Some(*scale),
        // NULL.
        Arrow::Null => Some(0),
        kind if kind.is_integer() => Some(0),
        _ => None,
    }
}

fn quotient(dividend: i8) -> i8 {
    dividend.max((dividend + 6).min(QUOTIENT))
}

fn product(one: i8, other: i8) -> i8 {
    (one + other).min(one.max(other).max(QUOTIENT))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    does: Does,
    signature: Signature,
}

impl Function {
    fn answer(&self, left: &Arrow, right: &Arrow) -> Result<Arrow> {
        match (scale(left), scale(right)) {
            (Some(left), Some(right)) if self.does == Does::Multiply => {
                Ok(Arrow::Decimal128(DIGITS, product(left, right)))
            }
            (Some(left), Some(_)) => Ok(Arrow::Decimal128(DIGITS, quotient(left))),
            _ if [left, right]
                .into_iter()
                .all(|kind| is_number(kind) || *kind == Arrow::Null) =>
            {
                Ok(Arrow::Float64)
            }
            _ => plan_err!("{left} and {right} are no numbers"),
        }
    }
}

impl ScalarUDFImpl for Function {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn name(&self) -> &str {
        let known = ALL.iter().find(|(does, _)| *does == self.does);
        known.map_or("frazil_number", |(_, name)| name)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, kinds: &[Arrow]) -> Result<Arrow> {
        match kinds {
            [left, right] => self.answer(left, right),
            _ => internal_err!("two numbers are wanted"),
        }
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [left, right] = arguments.arg_fields else {
            return internal_err!("two numbers are wanted");
        };
        let answer = self.answer(left.data_type(), right.data_type())?;
        Ok(Arc::new(Field::new(self.name(), answer, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [left, right] = arrays.as_slice() else {
            return internal_err!("two numbers are wanted");
        };
        let made: ArrayRef = match self.answer(left.data_type(), right.data_type())? {
            Arrow::Decimal128(digits, scale) => {
                let numbers = self.exact(left, right, scale)?;
                Arc::new(numbers.with_precision_and_scale(digits, scale)?)
            }
            _ => Arc::new(self.floating(left, right)?),
        };
        Ok(ColumnarValue::Array(made))
    }
}

impl Function {
    /// What a division by this divisor is without dividing: `Some(None)` is NULL.
    fn without_dividing(&self, is_null: (bool, bool), is_zero: bool) -> Result<Option<Option<i128>>> {
        Ok(match (self.does, is_null) {
            (Does::DivideOrZeroOfNull, (false, true)) => Some(Some(0)),
            (_, (true, _) | (_, true)) => Some(None),
            (Does::Divide, _) if is_zero => return Err(exec_datafusion_err!("{BY_ZERO}")),
            (Does::DivideOrZero | Does::DivideOrZeroOfNull, _) if is_zero => Some(Some(0)),
            _ => None,
        })
    }

    fn exact(&self, left: &ArrayRef, right: &ArrayRef, to: i8) -> Result<Decimal128Array> {
        let decimal = |array: &ArrayRef| match array.data_type() {
            Arrow::Decimal128(..) => Ok(Arc::clone(array)),
            _ => cast(array, &Arrow::Decimal128(DIGITS, 0)),
        };
        let shift = match (self.does, scale(left.data_type()), scale(right.data_type())) {
            (Does::Multiply, Some(left), Some(right)) => left + right - to,
            (_, Some(left), Some(right)) => to - left + right,
            _ => return internal_err!("two numbers are wanted"),
        };
        let power = i256::from_i128(10).checked_pow(u32::from(shift.unsigned_abs()));
        let (left, right) = (decimal(left)?, decimal(right)?);
        let (left, right) = (
            left.as_primitive::<Decimal128Type>(),
            right.as_primitive::<Decimal128Type>(),
        );
        let beyond = || exec_datafusion_err!("Number out of representable range: NUMBER({DIGITS},{to})");
        let power = power.ok_or_else(beyond)?;
        let row = |row: usize| {
            let (one, other) = (left.value(row), right.value(row));
            if let Some(known) = self.without_dividing((left.is_null(row), right.is_null(row)), other == 0)? {
                return Ok(known);
            }
            let (one, other) = (i256::from_i128(one), i256::from_i128(other));
            let pair = match self.does {
                Does::Multiply => one.checked_mul(other).map(|product| (product, power)),
                _ => one.checked_mul(power).map(|dividend| (dividend, other)),
            };
            let (dividend, divisor) = pair.ok_or_else(beyond)?;
            let rounded = rounded(dividend, divisor).and_then(|number| number.to_i128());
            let fits = |number: &i128| number.unsigned_abs() < 10_u128.pow(DIGITS.into());
            rounded.filter(fits).map(Some).ok_or_else(beyond)
        };
        (0..left.len()).map(row).collect()
    }

    fn floating(&self, left: &ArrayRef, right: &ArrayRef) -> Result<Float64Array> {
        let (left, right) = (cast(left, &Arrow::Float64)?, cast(right, &Arrow::Float64)?);
        let (left, right) = (
            left.as_primitive::<Float64Type>(),
            right.as_primitive::<Float64Type>(),
        );
        let row = |row: usize| {
            let (one, other) = (left.value(row), right.value(row));
            match self.without_dividing((left.is_null(row), right.is_null(row)), other == 0.0)? {
                Some(known) => Ok(known.map(|_| 0.0)),
                None => Ok(Some(one / other)),
            }
        };
        (0..left.len()).map(row).collect()
    }
}

/// A quotient, half away from zero; the divisor is not zero.
fn rounded(dividend: i256, divisor: i256) -> Option<i256> {
    let (whole, rest) = (dividend.checked_div(divisor)?, dividend.checked_rem(divisor)?);
    let twice = rest.checked_abs()?.checked_mul(i256::from_i128(2))?;
    if twice < divisor.checked_abs()? {
        return Some(whole);
    }
    let negative = dividend.is_negative() != divisor.is_negative();
    whole.checked_add(if negative { i256::MINUS_ONE } else { i256::ONE })
}
