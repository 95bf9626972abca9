//! TIMESTAMP_TZ, DECFLOAT and VECTOR in queries.
//!
//! A value of one of these types is carried by an arrow type of its own ([`Typed`]). Where DataFusion would have to know them, a
//! function of this module stands between, which leaves values of all other types as they are and is gone where those are planned:
//!
//! | function | answer |
//! |---|---|
//! | `frazil_zoned(moment, offset)` | TIMESTAMP_TZ, of its two stored columns |
//! | `frazil_moment(x)` | the moment of a TIMESTAMP_TZ |
//! | `frazil_wall(x)` | what its clock shows, without the offset |
//! | `frazil_like(wall, x)` | a clock's time with the offset of x |
//! | `frazil_near(x)` | a timestamp or a date in nanoseconds, the nearest one if it is beyond them |
//! | `frazil_plain(x)` | any of them as the text that a cast to VARCHAR gives |
//! | `frazil_shown(x)` | the same, and of the other timestamps, too |
//!
//! TIMESTAMP_TZ is compared by its moment (Snowflake documentation, "Date & time data types"); what is compared with a DECFLOAT
//! becomes one. What this does not: arithmetic of DECFLOAT, which is refused, and one group for equal moments of different
//! offsets in GROUP BY and DISTINCT.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType as Arrow, Field, FieldRef, TimeUnit};
use datafusion::common::{DFSchema, DataFusionError, Result, internal_err, plan_err};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, binary_expr, lit,
};
use datafusion::prelude::SessionContext;
use sqlparser::ast::BinaryOperator;

use super::{arithmetic, casts};
use crate::snowflake::model::DataType;
use crate::snowflake::rows::moments::{self, Moments};
use crate::snowflake::rows::{Form, Typed, moment, zoned};

/// Which of the functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Zoned,
    Moment,
    Wall,
    Like,
    Near,
    Plain,
    Shown,
}

const STEPS: [Step; 7] = [
    Step::Zoned,
    Step::Moment,
    Step::Wall,
    Step::Like,
    Step::Near,
    Step::Plain,
    Step::Shown,
];

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    step: Step,
    signature: Signature,
}

/// Makes the functions known to a session, and how operators work on these types.
pub(super) fn register(context: &mut SessionContext) -> Result<()> {
    for step in STEPS {
        context.register_udf(Arc::new(function(step)))?;
    }
    context.register_expr_planner(Arc::new(Operators))
}

/// One of the functions.
pub(super) fn function(step: Step) -> ScalarUDF {
    let signature = Signature::variadic_any(Volatility::Immutable);
    ScalarUDF::from(Function { step, signature })
}

/// What a clock's time, moved by `frazil_like`, is counted in.
fn unit_like(wall: &Arrow, model: &Arrow) -> TimeUnit {
    let unit = moments::unit(wall).or_else(|| zoned::unit(model));
    unit.unwrap_or(TimeUnit::Nanosecond)
}

impl Step {
    /// The type that the function makes of values of this one; `None` if it leaves them.
    fn makes(self, kind: &Arrow) -> Option<Arrow> {
        match (self, Typed::of(kind)) {
            (Self::Moment | Self::Wall, Some(Typed::Zoned)) => {
                Some(moments::kind(zoned::unit(kind)?, self == Self::Moment))
            }
            (Self::Near, None) => match kind {
                Arrow::Timestamp(TimeUnit::Microsecond, zone) => {
                    Some(moments::kind(TimeUnit::Nanosecond, zone.is_some()))
                }
                Arrow::Date32 => Some(moments::kind(TimeUnit::Nanosecond, false)),
                _ => None,
            },
            (Self::Plain | Self::Shown, Some(_)) => Some(Arrow::Utf8),
            (Self::Shown, None) if matches!(kind, Arrow::Timestamp(..)) => Some(Arrow::Utf8),
            _ => None,
        }
    }

    fn of(self, values: &ArrayRef) -> ArrayRef {
        match (self, Typed::of(values.data_type())) {
            (Self::Moment, Some(Typed::Zoned)) => zoned::moments(values),
            (Self::Wall, Some(Typed::Zoned)) => zoned::walls(values),
            (Self::Plain | Self::Shown, Some(typed)) => Arc::new(typed.texts(values, Form::Shown)),
            (Self::Shown, None) => shown(values),
            (Self::Near, None) => near(values),
            _ => Arc::clone(values),
        }
    }
}

/// Timestamps as the defaults of TIMESTAMP_OUTPUT_FORMAT and TIMESTAMP_NTZ_OUTPUT_FORMAT write them (Snowflake documentation,
/// "Date and time input and output formats"); sessions are in UTC.
fn shown(values: &ArrayRef) -> ArrayRef {
    let zone = match values.data_type() {
        Arrow::Timestamp(_, Some(_)) => " +0000",
        Arrow::Timestamp(_, None) => "",
        _ => return Arc::clone(values),
    };
    let text = |at: i128| format!("{}{zone}", moment::clock_text(at));
    let shown = moments::values(values).map(|at| at.map(text));
    Arc::new(shown.collect::<StringArray>())
}

/// In nanoseconds of 64 bits. What is compared with such as these is as right: nothing of them lies beyond.
fn near(values: &ArrayRef) -> ArrayRef {
    let micros = match values.data_type() {
        Arrow::Date32 => cast(values, &moments::kind(TimeUnit::Microsecond, false)),
        _ => Ok(Arc::clone(values)),
    };
    let Ok(micros) = micros else {
        return Arc::clone(values);
    };
    let zoned = matches!(values.data_type(), Arrow::Timestamp(_, Some(_)));
    let mut built = Moments::new(TimeUnit::Nanosecond, zoned);
    moments::values(&micros).for_each(|at| built.push(at.map(|at| i128::from(moments::nanos(at)))));
    built.finish()
}

fn is_zoned(kind: &Arrow) -> bool {
    Typed::of(kind) == Some(Typed::Zoned)
}

impl ScalarUDFImpl for Function {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn name(&self) -> &str {
        match self.step {
            Step::Zoned => "frazil_zoned",
            Step::Moment => "frazil_moment",
            Step::Wall => "frazil_wall",
            Step::Like => "frazil_like",
            Step::Near => "frazil_near",
            Step::Plain => "frazil_plain",
            Step::Shown => "frazil_shown",
        }
    }

    /// A result's column is called as if the function were not there; what is compared has a name of its own, because keys of a
    /// join stand beside the columns that they are made of.
    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        match arguments.first() {
            Some(first) if self.step == Step::Near || arguments.len() > 1 && self.step == Step::Moment => {
                Ok(format!("{}({})", self.name(), first.schema_name()))
            }
            Some(first) => Ok(first.schema_name().to_string()),
            None => internal_err!("a value is missing"),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[Arrow]) -> Result<Arrow> {
        internal_err!("the type depends on that of the value")
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let Some(first) = arguments.arg_fields.first() else {
            return plan_err!("a value is missing");
        };
        let made = match self.step {
            Step::Zoned => moments::unit(first.data_type()).map(zoned::kind),
            Step::Like => {
                let model = arguments.arg_fields.get(1).map(|model| model.data_type());
                model
                    .filter(|model| is_zoned(model))
                    .map(|model| zoned::kind(unit_like(first.data_type(), model)))
            }
            step => step.makes(first.data_type()),
        };
        Ok(match made {
            Some(made) => Arc::new(Field::new(first.name(), made, true)),
            None => Arc::clone(first),
        })
    }

    fn simplify(&self, mut arguments: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let decides = if self.step == Step::Like { 1 } else { 0 };
        let Some(decides) = arguments.get(decides) else {
            return Ok(ExprSimplifyResult::Original(arguments));
        };
        let kind = info.get_data_type(decides)?;
        let leaves = match self.step {
            Step::Zoned => false,
            Step::Like => !is_zoned(&kind),
            step => step.makes(&kind).is_none(),
        };
        if leaves {
            return Ok(ExprSimplifyResult::Simplified(arguments.swap_remove(0)));
        }
        // The moment of two stored columns is the first of them, whose statistics then leave out files.
        if let (Step::Moment, Some(Expr::ScalarFunction(ScalarFunction { func, args }))) =
            (self.step, arguments.first())
            && func.name() == "frazil_zoned"
            && let Some(moment) = args.first()
        {
            return Ok(ExprSimplifyResult::Simplified(moment.clone()));
        }
        Ok(ExprSimplifyResult::Original(arguments))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let (Some(first), second) = (arrays.first(), arrays.get(1)) else {
            return internal_err!("a value is missing");
        };
        let made = match (self.step, second) {
            (Step::Zoned, Some(offsets)) => zoned::joined(first, offsets)?,
            (Step::Like, Some(model)) if is_zoned(model.data_type()) => {
                let unit = unit_like(first.data_type(), model.data_type());
                zoned::at_offsets(&cast(first, &moments::kind(unit, false))?, model)?
            }
            (step, _) => step.of(first),
        };
        Ok(ColumnarValue::Array(made))
    }
}

/// Operators with a value of these types on a side.
#[derive(Debug)]
struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let (Ok(left), Ok(right)) = (raw.left.get_type(schema), raw.right.get_type(schema)) else {
            return Ok(PlannerResult::Original(raw));
        };
        let compares = matches!(
            raw.op,
            BinaryOperator::Eq
                | BinaryOperator::NotEq
                | BinaryOperator::Lt
                | BinaryOperator::LtEq
                | BinaryOperator::Gt
                | BinaryOperator::GtEq
        );
        let (left, right) = match (Typed::of(&left), Typed::of(&right)) {
            (None, None) if compares => {
                return Ok(PlannerResult::Original(RawBinaryExpr {
                    op: raw.op,
                    left: beside(raw.left, &left, &right)?,
                    right: beside(raw.right, &right, &left)?,
                }));
            }
            (None, None) => {
                return Ok(match arithmetic::plan(raw, &left, &right) {
                    Ok(planned) => PlannerResult::Planned(planned),
                    Err(raw) => PlannerResult::Original(*raw),
                });
            }
            sides => sides,
        };
        let both = |step: Step, raw: RawBinaryExpr| {
            let of = |side: Expr| match step {
                Step::Moment => function(step).call(vec![side, lit("key")]),
                _ => function(step).call(vec![side]),
            };
            RawBinaryExpr {
                op: raw.op,
                left: of(raw.left),
                right: of(raw.right),
            }
        };
        if raw.op == BinaryOperator::StringConcat {
            return Ok(PlannerResult::Original(both(Step::Plain, raw)));
        }
        let is = |typed: Typed| left == Some(typed) || right == Some(typed);
        if is(Typed::Zoned) {
            return zoned_operation(raw, schema, compares, both);
        }
        if is(Typed::Decfloat) && !compares {
            return plan_err!("the local Snowflake does not know arithmetic of DECFLOAT");
        }
        if is(Typed::Decfloat) {
            let number = |side: Expr, typed: Option<Typed>| match typed {
                Some(Typed::Decfloat) => Ok(side),
                _ => casts::to(side, &DataType::Decfloat),
            };
            return Ok(PlannerResult::Original(RawBinaryExpr {
                op: raw.op,
                left: number(raw.left, left)?,
                right: number(raw.right, right)?,
            }));
        }
        Ok(PlannerResult::Original(raw))
    }
}

/// One of two sides that are compared, where the other is a number or a timestamp. DataFusion would make nanoseconds of a text or a date, and then
/// of the timestamp, which those of before 1677 and behind 2262 are not; and it would compare a column in nanoseconds with a
/// literal in microseconds that it takes for nanoseconds.
fn beside(side: Expr, kind: &Arrow, other: &Arrow) -> Result<Expr> {
    let is_text = matches!(kind, Arrow::Utf8 | Arrow::Utf8View | Arrow::LargeUtf8);
    let is_date = *kind == Arrow::Date32;
    let to_micros = |side: Expr, scale: u8| match other {
        Arrow::Timestamp(_, Some(_)) => casts::to(side, &DataType::TimestampLtz { scale }),
        _ => casts::to(side, &DataType::TimestampNtz { scale }),
    };
    let near = |side: Expr| function(Step::Near).call(vec![side]);
    // DataFusion would compare both as texts.
    if is_text && other.is_floating() {
        return casts::to(side, &DataType::Float);
    }
    if is_text && (other.is_integer() || matches!(other, Arrow::Decimal128(..))) {
        let scale = match other {
            Arrow::Decimal128(_, scale) => (*scale).max(9),
            _ => 9,
        };
        return casts::to(side, &DataType::Number { precision: 38, scale });
    }
    match moments::unit(other) {
        Some(TimeUnit::Microsecond) if is_text || is_date => to_micros(side, 6),
        Some(TimeUnit::Nanosecond) if is_text && casts::is_far(&side) => Ok(near(to_micros(side, 9)?)),
        Some(TimeUnit::Nanosecond) if is_date || moments::unit(kind) == Some(TimeUnit::Microsecond) => {
            Ok(near(side))
        }
        _ => Ok(side),
    }
}

/// Comparisons and differences are those of moments; what is added to a TIMESTAMP_TZ moves its clock.
fn zoned_operation(
    raw: RawBinaryExpr,
    schema: &DFSchema,
    compares: bool,
    both: impl Fn(Step, RawBinaryExpr) -> RawBinaryExpr,
) -> Result<PlannerResult<RawBinaryExpr>> {
    let interval = matches!(raw.right.get_type(schema)?, Arrow::Interval(_));
    let operator = match raw.op {
        BinaryOperator::Plus if interval => datafusion::logical_expr::Operator::Plus,
        BinaryOperator::Minus if interval => datafusion::logical_expr::Operator::Minus,
        _ if compares => {
            let kind = |side: &Expr| {
                let kind = side.get_type(schema)?;
                Ok::<_, DataFusionError>(Step::Moment.makes(&kind).unwrap_or(kind))
            };
            let (left, right) = (kind(&raw.left)?, kind(&raw.right)?);
            let raw = RawBinaryExpr {
                op: raw.op,
                left: beside(raw.left, &left, &right)?,
                right: beside(raw.right, &right, &left)?,
            };
            return Ok(PlannerResult::Original(both(Step::Moment, raw)));
        }
        BinaryOperator::Minus => return Ok(PlannerResult::Original(both(Step::Moment, raw))),
        _ => return plan_err!("the operator {} is none of TIMESTAMP_TZ", raw.op),
    };
    let wall = function(Step::Wall).call(vec![raw.left.clone()]);
    let moved = binary_expr(wall, operator, raw.right);
    Ok(PlannerResult::Planned(
        function(Step::Like).call(vec![moved, raw.left]),
    ))
}
