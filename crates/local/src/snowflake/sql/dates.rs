//! Functions of dates and times: DATE_TRUNC, DATE_PART and its short names, DATEADD, DATEDIFF, LAST_DAY, ADD_MONTHS, DAYNAME, MONTHNAME.
//!
//! They work on each type of dates and times as it is, over the years 1 to 9999; a text is read as a TIMESTAMP_NTZ. TIMESTAMP_TZ is
//! seen as its own clock shows it, and keeps its offset; spans shorter than a day are those between the moments.
//!
//! Source: Snowflake documentation, the page of each function. What it does not: other values of WEEK_START and WEEK_OF_YEAR_POLICY.

mod parts;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Int64Array, StringArray, Time64NanosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType as Arrow, Date32Type, Field, FieldRef, Int64Type, Time64NanosecondType, TimeUnit,
};
use datafusion::common::{Result, exec_datafusion_err, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use sqlparser::ast::Expr;

use self::parts::{DAY, Part};
use super::rewrite::{call, text};
use super::{Result as SqlResult, SqlError};
use crate::snowflake::rows::moment::{self, SECOND, clock};
use crate::snowflake::rows::moments::{self, Moments};
use crate::snowflake::rows::zoned::{self, Zoned};
use crate::snowflake::rows::{is_in_range, moment_of};

/// Which of the functions; the first argument of each is the name of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Does {
    Trunc,
    Part,
    Add,
    /// As ADD_MONTHS: from the last day of a month to the last day of a month.
    AddMonths,
    Diff,
    LastDay,
    DayName,
    MonthName,
}

const ALL: [(Does, &str); 8] = [
    (Does::Trunc, "frazil_date_trunc"),
    (Does::Part, "frazil_date_part"),
    (Does::Add, "frazil_date_add"),
    (Does::AddMonths, "frazil_add_months"),
    (Does::Diff, "frazil_date_diff"),
    (Does::LastDay, "frazil_last_day"),
    (Does::DayName, "frazil_day_name"),
    (Does::MonthName, "frazil_month_name"),
];

/// Functions that are DATE_PART of one part.
const SHORT: [(&str, &str); 17] = [
    ("YEAR", "year"),
    ("QUARTER", "quarter"),
    ("MONTH", "month"),
    ("WEEK", "week"),
    ("WEEKOFYEAR", "week"),
    ("WEEKISO", "week"),
    ("DAY", "day"),
    ("DAYOFMONTH", "day"),
    ("DAYOFWEEK", "dayofweek"),
    ("DAYOFWEEKISO", "dayofweekiso"),
    ("DAYOFYEAR", "dayofyear"),
    ("YEAROFWEEK", "yearofweek"),
    ("YEAROFWEEKISO", "yearofweek"),
    ("HOUR", "hour"),
    ("MINUTE", "minute"),
    ("SECOND", "second"),
    ("EPOCH_SECOND", "epoch_second"),
];

/// Makes the functions known to a session.
pub(super) fn register(context: &SessionContext) {
    for (does, _) in ALL {
        let signature = Signature::variadic_any(Volatility::Immutable);
        context.register_udf(ScalarUDF::from(Function { does, signature }));
    }
}

/// What a call of one of Snowflake's functions becomes; `None` of any other.
pub(super) fn rewrite(name: &str, arguments: &[Expr]) -> SqlResult<Option<Expr>> {
    if let Some((_, part)) = SHORT.iter().find(|(known, _)| *known == name) {
        return Ok(match arguments {
            [at] => Some(call("frazil_date_part", vec![text(part), at.clone()])),
            _ => None,
        });
    }
    let (function, span, arguments) = match (name, arguments) {
        ("DATE_TRUNC", [part, at]) => ("frazil_date_trunc", Some(part), vec![at.clone()]),
        ("TRUNC", [at, part]) if part_of(part).is_some() => {
            ("frazil_date_trunc", Some(part), vec![at.clone()])
        }
        ("DATE_PART", [part, at]) => ("frazil_date_part", Some(part), vec![at.clone()]),
        ("DATEADD" | "TIMEADD" | "TIMESTAMPADD", [part, count, at]) => {
            ("frazil_date_add", Some(part), vec![count.clone(), at.clone()])
        }
        ("DATEDIFF" | "TIMEDIFF" | "TIMESTAMPDIFF", [part, from, to]) => {
            ("frazil_date_diff", Some(part), vec![from.clone(), to.clone()])
        }
        ("ADD_MONTHS", [at, count]) => ("frazil_add_months", None, vec![count.clone(), at.clone()]),
        ("LAST_DAY", [at]) => ("frazil_last_day", None, vec![at.clone()]),
        ("LAST_DAY", [at, part]) => ("frazil_last_day", Some(part), vec![at.clone()]),
        ("DAYNAME", [at]) => ("frazil_day_name", None, vec![at.clone()]),
        ("MONTHNAME", [at]) => ("frazil_month_name", None, vec![at.clone()]),
        (
            "DATE_TRUNC" | "DATE_PART" | "DATEADD" | "TIMEADD" | "TIMESTAMPADD" | "DATEDIFF" | "TIMEDIFF"
            | "TIMESTAMPDIFF" | "ADD_MONTHS" | "LAST_DAY" | "DAYNAME" | "MONTHNAME",
            _,
        ) => {
            let given = arguments.len();
            return Err(SqlError::syntax(format!(
                "{name} does not take {given} arguments"
            )));
        }
        _ => return Ok(None),
    };
    let part = match span {
        None => "month".to_owned(),
        Some(part) => named(part)?,
    };
    let all = [text(&part)].into_iter().chain(arguments).collect();
    Ok(Some(call(function, all)))
}

/// `EXTRACT(part FROM at)`.
pub(super) fn extract(part: &str, at: Expr) -> SqlResult<Expr> {
    known(part)?;
    Ok(call("frazil_date_part", vec![text(part), at]))
}

fn word(part: &Expr) -> String {
    part.to_string().trim_matches(['"', '\'']).to_owned()
}

fn part_of(part: &Expr) -> Option<Part> {
    Part::read(&word(part))
}

fn named(part: &Expr) -> SqlResult<String> {
    let word = word(part);
    known(&word)?;
    Ok(word)
}

fn known(word: &str) -> SqlResult<()> {
    let message = || SqlError::syntax(format!("'{word}' is not a valid date or time part"));
    Part::read(word).map(|_| ()).ok_or_else(message)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    does: Does,
    signature: Signature,
}

impl Function {
    /// The type that the answer for values of a type has.
    fn answer(&self, part: Part, of: &Arrow) -> Result<Arrow> {
        Ok(match self.does {
            Does::Part | Does::Diff => Arrow::Int64,
            Does::DayName | Does::MonthName => Arrow::Utf8,
            Does::LastDay => Arrow::Date32,
            Does::Add if *of == Arrow::Date32 && part.is_of_time() => {
                moments::kind(TimeUnit::Microsecond, false)
            }
            Does::Trunc | Does::Add | Does::AddMonths => match of {
                Arrow::Utf8 | Arrow::LargeUtf8 | Arrow::Utf8View | Arrow::Null => {
                    moments::kind(TimeUnit::Nanosecond, false)
                }
                of if is_clock(of) => of.clone(),
                other => return plan_err!("a value of type {other} is no date or time"),
            },
        })
    }
}

/// Whether a type is one of dates and times.
fn is_clock(kind: &Arrow) -> bool {
    matches!(kind, Arrow::Date32 | Arrow::Time64(TimeUnit::Nanosecond))
        || moments::unit(kind).is_some()
        || zoned::unit(kind).is_some()
}

impl ScalarUDFImpl for Function {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn name(&self) -> &str {
        let known = ALL.iter().find(|(does, _)| *does == self.does);
        known.map_or("frazil_date", |(_, name)| name)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[Arrow]) -> Result<Arrow> {
        internal_err!("the type depends on that of the value")
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let part = part_argument(arguments.scalar_arguments.first().copied().flatten())?;
        let kind = arguments.arg_fields.last().map(|field| field.data_type());
        let answer = self.answer(part, kind.unwrap_or(&Arrow::Null))?;
        Ok(Arc::new(Field::new(self.name(), answer, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(part), rest @ ..] = arguments.args.as_slice() else {
            return internal_err!("the part of a date is no literal");
        };
        let part = part_argument(Some(part))?;
        let arrays: Vec<ArrayRef> = rest
            .iter()
            .map(|value| value.to_array(arguments.number_rows))
            .collect::<Result<_>>()?;
        let made = match (self.does, arrays.as_slice()) {
            (Does::Diff, [from, to]) => difference(part, &clocks(from)?, &clocks(to)?)?,
            (Does::Add | Does::AddMonths, [counts, at]) => {
                let answer = self.answer(part, at.data_type())?;
                let counts = cast(&whole(counts)?, &Arrow::Int64)?;
                let counts = counts.as_primitive::<Int64Type>().iter();
                let moved = clocks(at)?.into_iter().zip(counts).map(|(at, count)| {
                    let (Some(at), Some(count)) = (at, count) else {
                        return Ok(None);
                    };
                    self.moved(part, at, count).map(Some)
                });
                build(&answer, moved.collect::<Result<Vec<_>>>()?)?
            }
            (_, [at]) => self.one(part, at)?,
            _ => return internal_err!("{} has other arguments", self.name()),
        };
        Ok(ColumnarValue::Array(made))
    }
}

impl Function {
    fn moved(&self, part: Part, at: Clock, count: i64) -> Result<Clock> {
        let is_last = |at: i128| {
            part.last_day(at)
                .is_some_and(|last| last == at - at.rem_euclid(DAY))
        };
        let mut moved = part.add(at.wall, count);
        if self.does == Does::AddMonths && is_last(at.wall) {
            moved = moved.and_then(|moved| Some(part.last_day(moved)? + moved.rem_euclid(DAY)));
        }
        let wall = moved.ok_or_else(|| beyond(part, part.is_span()))?;
        Ok(Clock { wall, ..at })
    }

    fn one(&self, part: Part, at: &ArrayRef) -> Result<ArrayRef> {
        let read = clocks(at)?;
        let begun = |at: Clock, to: fn(Part, i128) -> Option<i128>| {
            let wall = to(part, at.wall).ok_or_else(|| beyond(part, part.is_span()))?;
            Ok(Clock { wall, ..at })
        };
        Ok(match self.does {
            Does::Part => {
                let value = |at: Option<Clock>| at.map(|at| part.value(at.wall, at.offset));
                Arc::new(read.into_iter().map(value).collect::<Int64Array>())
            }
            Does::DayName | Does::MonthName => {
                let format = if self.does == Does::DayName { "%a" } else { "%b" };
                let name = |at: Option<Clock>| at.map(|at| clock(at.wall).format(format).to_string());
                Arc::new(read.into_iter().map(name).collect::<StringArray>())
            }
            does => {
                let to = match does {
                    Does::LastDay => Part::last_day,
                    _ => Part::begin,
                };
                let answer = self.answer(part, at.data_type())?;
                let all = read.into_iter().map(|at| at.map(|at| begun(at, to)).transpose());
                build(&answer, all.collect::<Result<Vec<_>>>()?)?
            }
        })
    }
}

fn beyond(part: Part, is_span: bool) -> datafusion::error::DataFusionError {
    match is_span {
        true => exec_datafusion_err!("a date or time is beyond the years 1 to 9999"),
        false => exec_datafusion_err!("{part:?} is no part that can be counted"),
    }
}

fn part_argument(part: Option<&ScalarValue>) -> Result<Part> {
    let word = part.and_then(|part| part.try_as_str()).flatten();
    match word.and_then(Part::read) {
        Some(part) => Ok(part),
        None => plan_err!("a date or time part is missing"),
    }
}

/// Numbers rounded to whole ones, as DATEADD does with its count.
fn whole(counts: &ArrayRef) -> Result<ArrayRef> {
    Ok(match counts.data_type() {
        Arrow::Decimal128(precision, scale) if *scale > 0 => cast(counts, &Arrow::Decimal128(*precision, 0))?,
        Arrow::Float64 | Arrow::Float32 => cast(counts, &Arrow::Decimal128(38, 0))?,
        _ => Arc::clone(counts),
    })
}

/// What a clock shows, in nanoseconds since 1970, and its offset in minutes.
#[derive(Debug, Clone, Copy)]
struct Clock {
    wall: i128,
    offset: i16,
}

/// The values of an array of dates, times or texts.
fn clocks(array: &ArrayRef) -> Result<Vec<Option<Clock>>> {
    let at_utc = |wall: i128| Clock { wall, offset: 0 };
    let kind = array.data_type();
    if zoned::unit(kind).is_some() {
        let clock = |value: Zoned| Clock {
            wall: value.wall(),
            offset: value.offset,
        };
        return Ok(zoned::values(array).map(|value| value.map(clock)).collect());
    }
    if moments::unit(kind).is_some() {
        return Ok(moments::values(array).map(|value| value.map(at_utc)).collect());
    }
    Ok(match kind {
        Arrow::Date32 => {
            let days = array.as_primitive::<Date32Type>().iter();
            days.map(|day| day.map(|day| at_utc(i128::from(day) * DAY)))
                .collect()
        }
        Arrow::Time64(TimeUnit::Nanosecond) => {
            let times = array.as_primitive::<Time64NanosecondType>().iter();
            times.map(|time| time.map(|time| at_utc(time.into()))).collect()
        }
        Arrow::Null => vec![None; array.len()],
        Arrow::Utf8 | Arrow::LargeUtf8 | Arrow::Utf8View => {
            let texts = cast(array, &Arrow::Utf8)?;
            let read = |text: &str| {
                let moment = moment_of(text).map(at_utc);
                moment.ok_or_else(|| exec_datafusion_err!("Timestamp '{text}' is not recognized"))
            };
            let each = texts.as_string::<i32>().iter();
            each.map(|text| text.map(read).transpose())
                .collect::<Result<_>>()?
        }
        other => return plan_err!("a value of type {other} is no date or time"),
    })
}

fn difference(part: Part, from: &[Option<Clock>], to: &[Option<Clock>]) -> Result<ArrayRef> {
    // Days and what is longer are those of each value's own clock.
    let at = |clock: Clock| match part.is_of_time() {
        true => clock.wall - i128::from(clock.offset) * 60 * SECOND,
        false => clock.wall,
    };
    let pairs = from.iter().zip(to).map(|(from, to)| {
        let (Some(from), Some(to)) = (from, to) else {
            return Ok(None);
        };
        let both = part.number(at(*from)).zip(part.number(at(*to)));
        let (from, to) = both.ok_or_else(|| beyond(part, part.is_span()))?;
        i64::try_from(to - from)
            .map(Some)
            .map_err(|_| exec_datafusion_err!("a difference is beyond 64 bits"))
    });
    Ok(Arc::new(pairs.collect::<Result<Int64Array>>()?))
}

/// Values as an array of a type of dates or times.
fn build(kind: &Arrow, values: Vec<Option<Clock>>) -> Result<ArrayRef> {
    let is_time = matches!(kind, Arrow::Time64(_));
    let at = |clock: Clock| clock.wall - i128::from(clock.offset) * 60 * SECOND;
    for value in values.iter().flatten() {
        if !is_time && !is_in_range(value.wall) {
            return Err(beyond(Part::Day, true));
        }
    }
    if let Some(unit) = zoned::unit(kind) {
        let zoned = values.into_iter().map(|value| {
            value.map(|value| Zoned {
                nanos: at(value),
                offset: value.offset,
            })
        });
        let zoned: Vec<Option<Zoned>> = zoned.collect();
        near(unit, zoned.iter().flatten().map(|value| value.nanos))?;
        return Ok(zoned::array(unit, zoned.into_iter())?);
    }
    if let (Some(unit), Arrow::Timestamp(_, zone)) = (moments::unit(kind), kind) {
        near(unit, values.iter().flatten().map(|value| value.wall))?;
        let mut built = Moments::new(unit, zone.is_some());
        values
            .iter()
            .for_each(|value| built.push(value.map(|value| value.wall)));
        return Ok(built.finish());
    }
    Ok(match kind {
        Arrow::Time64(_) => {
            let time = |value: Clock| i64::try_from(value.wall.rem_euclid(DAY)).ok();
            let times = values.into_iter().map(|value| value.and_then(time));
            Arc::new(times.collect::<Time64NanosecondArray>())
        }
        _ => {
            let day = |value: Clock| i32::try_from(value.wall.div_euclid(DAY)).ok();
            let days = values.into_iter().map(|value| value.and_then(day));
            Arc::new(days.collect::<Date32Array>())
        }
    })
}

/// Fails for a moment that a type of nanoseconds has no place for.
fn near(unit: TimeUnit, mut moments: impl Iterator<Item = i128>) -> Result<()> {
    if unit == TimeUnit::Microsecond || moments.all(moment::is_near) {
        return Ok(());
    }
    Err(exec_datafusion_err!(
        "a timestamp is beyond the years 1677 to 2262: cast it to a type of six digits of a second, such as TIMESTAMP_NTZ(6)"
    ))
}
