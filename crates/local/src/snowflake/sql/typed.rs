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
//! | `frazil_plain(x)` | any of them as the text that a cast to VARCHAR gives |
//! | `frazil_shown(x)` | the same, and of the other timestamps, too |
//!
//! TIMESTAMP_TZ is compared by its moment (Snowflake documentation, "Date & time data types"); what is compared with a DECFLOAT
//! becomes one. What this does not: arithmetic of DECFLOAT, which is refused, and one group for equal moments of different
//! offsets in GROUP BY and DISTINCT.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType as Arrow, Field, FieldRef, TimeUnit, TimestampNanosecondType};
use datafusion::common::{DFSchema, Result, internal_err, plan_err};
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

use super::casts;
use crate::snowflake::model::DataType;
use crate::snowflake::rows::{Form, Typed, zoned};

/// Which of the functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Zoned,
    Moment,
    Wall,
    Like,
    Plain,
    Shown,
}

const STEPS: [Step; 6] = [
    Step::Zoned,
    Step::Moment,
    Step::Wall,
    Step::Like,
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

fn clock() -> Arrow {
    Arrow::Timestamp(TimeUnit::Nanosecond, None)
}

impl Step {
    /// The type that the function makes of values of this one; `None` if it leaves them.
    fn makes(self, kind: &Arrow) -> Option<Arrow> {
        match (self, Typed::of(kind)) {
            (Self::Moment, Some(Typed::Zoned)) => {
                Some(Arrow::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())))
            }
            (Self::Wall, Some(Typed::Zoned)) => Some(clock()),
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
    let Ok(moments) = cast(values, &clock()) else {
        return Arc::clone(values);
    };
    let moments = moments.as_primitive::<TimestampNanosecondType>().iter();
    let text = |at: i64| {
        let at = chrono::DateTime::from_timestamp_nanos(at);
        format!("{}{zone}", at.format("%Y-%m-%d %H:%M:%S%.3f"))
    };
    Arc::new(moments.map(|at| at.map(text)).collect::<StringArray>())
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
            Step::Plain => "frazil_plain",
            Step::Shown => "frazil_shown",
        }
    }

    /// A result's column is called as if the function were not there; what is compared has a name of its own, because keys of a
    /// join stand beside the columns that they are made of.
    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        match arguments.first() {
            Some(first) if self.step == Step::Moment && arguments.len() > 1 => {
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
            Step::Zoned => Some(zoned::TYPE),
            Step::Like => {
                let model = arguments.arg_fields.get(1);
                model
                    .filter(|model| is_zoned(model.data_type()))
                    .map(|_| zoned::TYPE)
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
                zoned::at_offsets(&cast(first, &clock())?, model)?
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
        let typed =
            |side: &Expr| Ok::<_, datafusion::error::DataFusionError>(Typed::of(&side.get_type(schema)?));
        let (left, right) = match (typed(&raw.left), typed(&raw.right)) {
            (Ok(None), Ok(None)) | (Err(_), _) | (_, Err(_)) => return Ok(PlannerResult::Original(raw)),
            (Ok(left), Ok(right)) => (left, right),
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
        let compares = matches!(
            raw.op,
            BinaryOperator::Eq
                | BinaryOperator::NotEq
                | BinaryOperator::Lt
                | BinaryOperator::LtEq
                | BinaryOperator::Gt
                | BinaryOperator::GtEq
        );
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
        _ if compares || raw.op == BinaryOperator::Minus => {
            return Ok(PlannerResult::Original(both(Step::Moment, raw)));
        }
        _ => return plan_err!("the operator {} is none of TIMESTAMP_TZ", raw.op),
    };
    let wall = function(Step::Wall).call(vec![raw.left.clone()]);
    let moved = binary_expr(wall, operator, raw.right);
    Ok(PlannerResult::Planned(
        function(Step::Like).call(vec![moved, raw.left]),
    ))
}
