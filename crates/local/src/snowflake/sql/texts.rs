//! Functions from texts to a text: hashes and regular expressions; `addresses`, `xml` and `formats` have the others.
//!
//! A NULL argument gives NULL. A value that is no text is given as one; BINARY as hexadecimal digits. What a function answers may be
//! JSON (an OBJECT), or a text that a cast then reads ([`super::functions`]).
//!
//! Source: Snowflake documentation, the page of each function.

mod addresses;
mod formats;
mod pieces;
mod xml;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionContext;
use md5::Md5;
use regex::{Regex, RegexBuilder};
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::variant;
use crate::snowflake::rows::{Form, TYPE_KEY, Typed};

/// What a value is, as far as a function asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Moment,
    Bytes,
    Other,
}

struct Given<'a> {
    text: &'a str,
    is: Is,
}

type Answer = std::result::Result<Option<String>, String>;
type Work = fn(&[Given<'_>]) -> Answer;

/// Name, whether it answers an OBJECT, and what it does.
const FUNCTIONS: [(&str, bool, Work); 24] = [
    ("frazil_md5", false, |given| {
        Ok(Some(hex(&Md5::digest(first(given)?))))
    }),
    ("frazil_sha1", false, |given| {
        Ok(Some(hex(&Sha1::digest(first(given)?))))
    }),
    ("frazil_sha2", false, sha2),
    ("frazil_regexp_substr", false, regexp_substr),
    ("frazil_regexp_replace", false, regexp_replace),
    ("frazil_rlike", false, rlike),
    ("frazil_regexp_count", false, regexp_count),
    ("frazil_regexp_instr", false, regexp_instr),
    ("frazil_substr", false, pieces::substr),
    ("frazil_charindex", false, pieces::charindex),
    ("frazil_strtok", false, pieces::strtok),
    ("frazil_parse_url", true, addresses::parse_url),
    ("frazil_parse_ip", true, addresses::parse_ip),
    ("frazil_check_xml", false, xml::check_xml),
    ("frazil_parse_xml", true, xml::parse_xml),
    ("frazil_xmlget", true, xml::xmlget),
    ("frazil_in_zone", false, formats::in_zone),
    ("frazil_between_zones", false, formats::between_zones),
    ("frazil_moment_as", false, formats::moment),
    ("frazil_try_moment_as", false, formats::try_moment),
    ("frazil_time_as", false, formats::time),
    ("frazil_char_as", false, formats::char_as),
    ("frazil_binary_as", false, formats::binary_as),
    ("frazil_number_as", false, formats::number_as),
];

/// Makes the functions known to a session.
pub(super) fn register(context: &SessionContext) {
    for index in 0..FUNCTIONS.len() {
        let signature = Signature::variadic_any(Volatility::Immutable);
        context.register_udf(ScalarUDF::from(Function { index, signature }));
    }
}

/// Whether a function of this name answers JSON.
pub(super) fn gives_json(name: &str) -> bool {
    FUNCTIONS
        .iter()
        .any(|(known, is_json, _)| *known == name && *is_json)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    index: usize,
    signature: Signature,
}

impl Function {
    fn known(&self) -> &'static (&'static str, bool, Work) {
        &FUNCTIONS[self.index]
    }
}

impl ScalarUDFImpl for Function {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn name(&self) -> &str {
        self.known().0
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = Field::new(self.name(), DataType::Utf8, true);
        if !self.known().1 {
            return Ok(Arc::new(field));
        }
        let kind = HashMap::from([(TYPE_KEY.to_owned(), "OBJECT".to_owned())]);
        Ok(Arc::new(field.with_metadata(kind)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let mut columns: Vec<(StringArray, Is)> = Vec::with_capacity(arrays.len());
        for (field, array) in arguments.arg_fields.iter().zip(&arrays) {
            columns.push(texts(field, array)?);
        }
        let rows = columns.first().map_or(0, |(first, _)| first.len());
        let mut built = StringBuilder::new();
        for row in 0..rows {
            let given: Option<Vec<Given<'_>>> = columns
                .iter()
                .map(|(column, is)| {
                    (!column.is_null(row)).then(|| Given {
                        text: column.value(row),
                        is: *is,
                    })
                })
                .collect();
            match given.map_or(Ok(None), |given| self.known().2(&given)) {
                Ok(answer) => built.append_option(answer),
                Err(message) => return exec_err!("{message}"),
            }
        }
        Ok(ColumnarValue::Array(Arc::new(built.finish())))
    }
}

fn texts(field: &Field, array: &arrow::array::ArrayRef) -> Result<(StringArray, Is)> {
    let kind = field.data_type();
    if matches!(
        kind,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView
    ) {
        let bytes = cast(array, &DataType::Binary)?;
        let digits = bytes.as_binary::<i32>().iter().map(|value| value.map(upper_hex));
        return Ok((digits.collect(), Is::Bytes));
    }
    if let Some(typed) = Typed::of(kind) {
        let is = if typed == Typed::Zoned {
            Is::Moment
        } else {
            Is::Other
        };
        return Ok((typed.texts(array, Form::Canonical), is));
    }
    let is = if kind.is_temporal() { Is::Moment } else { Is::Other };
    let texts = cast(array, &DataType::Utf8)?;
    if !variant::is_json(field) {
        return Ok((texts.as_string::<i32>().clone(), is));
    }
    let plain = texts
        .as_string::<i32>()
        .iter()
        .map(|json| json.map(ToOwned::to_owned));
    Ok((plain.collect(), is))
}

fn first<'a>(given: &'a [Given<'_>]) -> std::result::Result<&'a str, String> {
    at(given, 0).ok_or_else(|| "a value is missing".to_owned())
}

fn at<'a>(given: &'a [Given<'_>], index: usize) -> Option<&'a str> {
    given.get(index).map(|given| given.text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn upper_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn sha2(given: &[Given<'_>]) -> Answer {
    let text = first(given)?;
    Ok(Some(match at(given, 1).unwrap_or("256") {
        "224" => hex(&Sha224::digest(text)),
        "256" => hex(&Sha256::digest(text)),
        "384" => hex(&Sha384::digest(text)),
        "512" => hex(&Sha512::digest(text)),
        other => return Err(format!("SHA2: {other} is no digest size (224, 256, 384, 512)")),
    }))
}

/// The pattern with Snowflake's parameters: `c` and `i` the case, `m` many lines, `s` a dot takes a line's end, `e` groups.
fn pattern(text: &str, parameters: &str) -> std::result::Result<Regex, String> {
    let mut builder = RegexBuilder::new(text);
    for parameter in parameters.chars() {
        match parameter {
            'c' => builder.case_insensitive(false),
            'i' => builder.case_insensitive(true),
            'm' => builder.multi_line(true),
            's' => builder.dot_matches_new_line(true),
            'e' => &mut builder,
            other => return Err(format!("Invalid regular expression parameter: '{other}'")),
        };
    }
    builder
        .size_limit(1 << 20)
        .build()
        .map_err(|error| format!("Invalid regular expression: {error}"))
}

fn whole(given: &[Given<'_>], index: usize, default: usize) -> std::result::Result<usize, String> {
    match at(given, index) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| format!("{text} is no position")),
    }
}

/// Where the n-th character begins, counted from 1.
fn offset(text: &str, position: usize) -> usize {
    text.char_indices()
        .nth(position.saturating_sub(1))
        .map_or(text.len(), |(offset, _)| offset)
}

fn regexp_substr(given: &[Given<'_>]) -> Answer {
    let (subject, parameters) = (first(given)?, at(given, 4).unwrap_or("c"));
    let regex = pattern(at(given, 1).unwrap_or_default(), parameters)?;
    let (position, occurrence) = (whole(given, 2, 1)?, whole(given, 3, 1)?);
    let default_group = usize::from(parameters.contains('e'));
    let group = whole(given, 5, default_group)?;
    let tail = subject.get(offset(subject, position)..).unwrap_or_default();
    let found = regex.captures_iter(tail).nth(occurrence.saturating_sub(1));
    Ok(found.and_then(|found| found.get(group).map(|part| part.as_str().to_owned())))
}

/// Whether a pattern takes the whole text.
fn rlike(given: &[Given<'_>]) -> Answer {
    let whole = format!("^(?:{})$", at(given, 1).unwrap_or_default());
    let regex = pattern(&whole, at(given, 2).unwrap_or("c"))?;
    Ok(Some(regex.is_match(first(given)?).to_string()))
}

/// `REGEXP_COUNT(text, pattern [, position [, parameters]])`
fn regexp_count(given: &[Given<'_>]) -> Answer {
    let (subject, position) = (first(given)?, whole(given, 2, 1)?);
    let regex = pattern(at(given, 1).unwrap_or_default(), at(given, 3).unwrap_or("c"))?;
    let tail = subject.get(offset(subject, position)..).unwrap_or_default();
    Ok(Some(regex.find_iter(tail).count().to_string()))
}

/// `REGEXP_INSTR(text, pattern [, position [, occurrence [, option [, parameters]]]])`: where a match begins, or, with the
/// option 1, what is behind it; 0 where there is none.
fn regexp_instr(given: &[Given<'_>]) -> Answer {
    let (subject, position) = (first(given)?, whole(given, 2, 1)?);
    let (occurrence, option) = (whole(given, 3, 1)?, whole(given, 4, 0)?);
    let regex = pattern(at(given, 1).unwrap_or_default(), at(given, 5).unwrap_or("c"))?;
    let from = offset(subject, position);
    let tail = subject.get(from..).unwrap_or_default();
    let found = regex.find_iter(tail).nth(occurrence.saturating_sub(1));
    let place = found.map_or(0, |found| {
        let end = if option == 1 { found.end() } else { found.start() };
        subject.get(..from + end).unwrap_or_default().chars().count() + 1
    });
    Ok(Some(place.to_string()))
}

fn regexp_replace(given: &[Given<'_>]) -> Answer {
    let (subject, replacement) = (first(given)?, at(given, 2).unwrap_or(""));
    let regex = pattern(at(given, 1).unwrap_or_default(), at(given, 5).unwrap_or("c"))?;
    let (position, occurrence) = (whole(given, 3, 1)?, whole(given, 4, 0)?);
    let (head, tail) = subject.split_at(offset(subject, position));
    let mut replaced = head.to_owned();
    let mut last = 0;
    for (number, found) in regex.captures_iter(tail).enumerate() {
        let Some(all) = found
            .get(0)
            .filter(|_| occurrence == 0 || occurrence == number + 1)
        else {
            continue;
        };
        replaced.push_str(tail.get(last..all.start()).unwrap_or_default());
        let mut signs = replacement.chars().peekable();
        while let Some(sign) = signs.next() {
            match signs.peek().and_then(|next| next.to_digit(10)) {
                Some(group) if sign == '\\' => {
                    let part = found.get(group as usize).map_or("", |part| part.as_str());
                    replaced.push_str(part);
                    signs.next();
                }
                _ => replaced.push(sign),
            }
        }
        last = all.end();
    }
    replaced.push_str(tail.get(last..).unwrap_or_default());
    Ok(Some(replaced))
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at)
        .map_or((text, None), |(before, behind)| (before, Some(behind)))
}
