//! Functions from texts to a text: hashes, regular expressions, addresses, XML, time zones, formats.
//!
//! A NULL argument gives NULL. A value that is no text is given as one; BINARY as hexadecimal digits. What a function answers may be
//! JSON (an OBJECT), or a text that a cast then reads ([`super::functions`]).
//!
//! Source: Snowflake documentation, the page of each function.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use chrono::{Offset as _, TimeZone as _};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionContext;
use md5::Md5;
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value as Json, json};
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::{formats, variant};
use crate::snowflake::rows::{Form, TYPE_KEY, Typed, unhex};

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
const FUNCTIONS: [(&str, bool, Work); 18] = [
    ("frazil_md5", false, |given| {
        Ok(Some(hex(&Md5::digest(first(given)?))))
    }),
    ("frazil_sha1", false, |given| {
        Ok(Some(hex(&Sha1::digest(first(given)?))))
    }),
    ("frazil_sha2", false, sha2),
    ("frazil_regexp_substr", false, regexp_substr),
    ("frazil_regexp_replace", false, regexp_replace),
    ("frazil_parse_url", true, parse_url),
    ("frazil_parse_ip", true, parse_ip),
    ("frazil_check_xml", false, |given| {
        Ok(roxmltree::Document::parse(first(given)?)
            .err()
            .map(|error| error.to_string()))
    }),
    ("frazil_parse_xml", true, parse_xml),
    ("frazil_xmlget", true, xmlget),
    ("frazil_in_zone", false, in_zone),
    ("frazil_between_zones", false, between_zones),
    ("frazil_moment_as", false, |given| {
        moment_as(given).map(|read| read.map(formats::canonical))
    }),
    ("frazil_try_moment_as", false, |given| {
        Ok(moment_as(given).ok().flatten().map(formats::canonical))
    }),
    ("frazil_time_as", false, |given| {
        Ok(moment_as(given)?.map(|read| read.moment.format("%H:%M:%S%.9f").to_string()))
    }),
    ("frazil_char_as", false, char_as),
    ("frazil_binary_as", false, binary_as),
    ("frazil_number_as", false, number_as),
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

/// `PARSE_URL(url [, permissive])`
fn parse_url(given: &[Given<'_>]) -> Answer {
    let text = first(given)?;
    let permissive = at(given, 1).is_some_and(|flag| flag != "0");
    let scheme_end = text.find(':').filter(|end| {
        text.get(..*end).is_some_and(|scheme| {
            scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
                && scheme
                    .chars()
                    .all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
        })
    });
    let Some(end) = scheme_end else {
        return match permissive {
            true => Ok(Some(json!({ "error": "scheme not specified" }).to_string())),
            false => Err(format!("Error parsing URL: scheme not specified in '{text}'")),
        };
    };
    let (scheme, rest) = text.split_at(end);
    let rest = rest.get(1..).unwrap_or_default();
    let (rest, fragment) = cut(rest, '#');
    let (rest, query) = cut(rest, '?');
    let (authority, path) = match rest.strip_prefix("//") {
        None => (None, Some(rest)),
        Some(rest) => {
            let (authority, path) = cut(rest, '/');
            (Some(authority), path)
        }
    };
    let (host, port) = match authority {
        None => (None, None),
        Some(authority) => match authority.rsplit_once(':') {
            Some((host, port)) if !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit()) => {
                (Some(host), Some(port))
            }
            _ => (Some(authority), None),
        },
    };
    let parameters = query.filter(|query| query.contains('=')).map(|query| {
        let pairs = query.split('&').map(|pair| cut(pair, '='));
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.map_or(Json::Null, Json::from)));
        Json::Object(pairs.collect::<Map<_, _>>())
    });
    let parsed = json!({
        "fragment": fragment,
        "host": host,
        "parameters": parameters,
        "path": path,
        "port": port,
        "query": query,
        "scheme": scheme.to_lowercase(),
    });
    Ok(Some(parsed.to_string()))
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at)
        .map_or((text, None), |(before, behind)| (before, Some(behind)))
}

/// `PARSE_IP(address, 'INET' [, permissive])`
fn parse_ip(given: &[Given<'_>]) -> Answer {
    let text = first(given)?;
    let kind = at(given, 1).unwrap_or("INET");
    if !kind.eq_ignore_ascii_case("INET") {
        return Err(format!("PARSE_IP: '{kind}' is no type of an address"));
    }
    let (address, prefix) = cut(text, '/');
    let parsed: Option<std::net::IpAddr> = address.parse().ok();
    let bits = match parsed {
        Some(std::net::IpAddr::V4(_)) => 32_u32,
        _ => 128,
    };
    let prefix = prefix.map(|prefix| prefix.parse::<u32>().ok().filter(|prefix| *prefix <= bits));
    let (Some(parsed), false) = (parsed, prefix == Some(None)) else {
        let permissive = at(given, 2).is_some_and(|flag| flag != "0");
        return match permissive {
            true => Ok(Some(
                json!({ "error": format!("Failed to parse IP address: {text}") }).to_string(),
            )),
            false => Err(format!("Failed to parse IP address: {text}")),
        };
    };
    let prefix = prefix.flatten();
    let mut told = json!({
        "host": address,
        "ip_type": "inet",
        "netmask_prefix_length": prefix,
        "snowflake$type": "ip_address",
    });
    match parsed {
        std::net::IpAddr::V4(four) => {
            let value = u32::from(four);
            told["family"] = 4.into();
            told["ip_fields"] = json!([value, 0, 0, 0]);
            told["ipv4"] = value.into();
            if let Some(prefix) = prefix {
                let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
                told["ipv4_range_start"] = (value & mask).into();
                told["ipv4_range_end"] = (value | !mask).into();
            }
        }
        std::net::IpAddr::V6(six) => {
            let value = u128::from(six);
            let field =
                |shift: u32| Json::from(u32::try_from(value >> shift & u128::from(u32::MAX)).unwrap_or(0));
            told["family"] = 6.into();
            told["ip_fields"] = json!([field(96), field(64), field(32), field(0)]);
            told["hex_ipv6"] = format!("{value:032X}").into();
            if let Some(prefix) = prefix {
                let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
                told["hex_ipv6_range_start"] = format!("{:032X}", value & mask).into();
                told["hex_ipv6_range_end"] = format!("{:032X}", value | !mask).into();
            }
        }
    }
    Ok(Some(told.to_string()))
}

/// `{"@": "tag", "@attribute": ..., "$": what is in it}`: a text, an element, or an array of them.
fn element(node: roxmltree::Node<'_, '_>) -> Json {
    let mut told = Map::new();
    told.insert("@".to_owned(), node.tag_name().name().into());
    for attribute in node.attributes() {
        told.insert(format!("@{}", attribute.name()), scalar(attribute.value()));
    }
    let mut parts: Vec<Json> = Vec::new();
    for child in node.children() {
        if child.is_element() {
            parts.push(element(child));
        } else if let Some(text) = child
            .text()
            .map(str::trim)
            .filter(|text| child.is_text() && !text.is_empty())
        {
            parts.push(scalar(text));
        }
    }
    let content = match parts.len() {
        0 => Json::from(""),
        1 => parts.remove(0),
        _ => Json::Array(parts),
    };
    told.insert("$".to_owned(), content);
    Json::Object(told)
}

/// Numbers and truths become such, as PARSE_XML does unless told otherwise.
fn scalar(text: &str) -> Json {
    let is_number = text.starts_with(|sign: char| sign.is_ascii_digit() || sign == '-');
    match serde_json::from_str::<Json>(text) {
        Ok(number @ Json::Number(_)) if is_number => number,
        Ok(truth @ Json::Bool(_)) => truth,
        _ => text.into(),
    }
}

fn parse_xml(given: &[Given<'_>]) -> Answer {
    let parsed = roxmltree::Document::parse(first(given)?);
    let document = parsed.map_err(|error| format!("Error parsing XML: {error}"))?;
    Ok(Some(element(document.root_element()).to_string()))
}

/// `XMLGET(element, tag [, instance])`: the n-th element of this name in it.
fn xmlget(given: &[Given<'_>]) -> Answer {
    let Ok(element) = serde_json::from_str::<Json>(first(given)?) else {
        return Ok(None);
    };
    let (tag, instance) = (at(given, 1).unwrap_or_default(), whole(given, 2, 0)?);
    let of_tag = |part: &&Json| part.get("@").and_then(Json::as_str) == Some(tag);
    let found = match element.get("$") {
        Some(Json::Array(parts)) => parts.iter().filter(of_tag).nth(instance),
        Some(part) if instance == 0 => Some(part).filter(of_tag),
        _ => None,
    };
    Ok(found.map(Json::to_string))
}

fn zone(name: &str) -> std::result::Result<chrono_tz::Tz, String> {
    name.parse().map_err(|_| format!("Unknown time zone: '{name}'"))
}

fn wall(text: &str) -> std::result::Result<(chrono::NaiveDateTime, i32), String> {
    formats::of_arrow(text).ok_or_else(|| format!("Timestamp '{text}' is not recognized"))
}

/// `CONVERT_TIMEZONE(target, moment)`: the moment with the target's wall clock and offset.
fn in_zone(given: &[Given<'_>]) -> Answer {
    let target = zone(first(given)?)?;
    let (moment, offset) = wall(at(given, 1).unwrap_or_default())?;
    let there = target.from_utc_datetime(&(moment - chrono::Duration::seconds(i64::from(offset))));
    Ok(Some(formats::canonical(formats::Read {
        moment: there.naive_local(),
        offset: Some(there.offset().fix().local_minus_utc()),
    })))
}

/// `CONVERT_TIMEZONE(source, target, moment)`: one wall clock as the other.
fn between_zones(given: &[Given<'_>]) -> Answer {
    let (source, target) = (zone(first(given)?)?, zone(at(given, 1).unwrap_or_default())?);
    let (moment, _) = wall(at(given, 2).unwrap_or_default())?;
    // A moment that summer time leaves out is that of the hour before.
    let here = source.from_local_datetime(&moment);
    let here = here.earliest().or_else(|| {
        source
            .from_local_datetime(&(moment - chrono::Duration::hours(1)))
            .earliest()
            .map(|before| before + chrono::Duration::hours(1))
    });
    let here = here.ok_or_else(|| format!("Timestamp '{moment}' is not in {source}"))?;
    Ok(Some(formats::canonical(formats::Read {
        moment: here.with_timezone(&target).naive_local(),
        offset: None,
    })))
}

fn moment_as(given: &[Given<'_>]) -> std::result::Result<Option<formats::Read>, String> {
    let (text, format) = (first(given)?, at(given, 1).unwrap_or_default());
    if format.eq_ignore_ascii_case("AUTO") {
        return Err("the format AUTO is that of no format".to_owned());
    }
    let read = formats::read(text, format);
    read.map(Some)
        .ok_or_else(|| format!("Can't parse '{text}' as timestamp with format '{format}'"))
}

/// `TO_CHAR(moment or binary, format)`
fn char_as(given: &[Given<'_>]) -> Answer {
    let (text, format) = (first(given)?, at(given, 1).unwrap_or_default());
    match given.first().map(|given| given.is) {
        Some(Is::Moment) => {
            let (moment, offset) = wall(text)?;
            Ok(Some(formats::write(moment, offset, format)))
        }
        Some(Is::Bytes) => {
            let bytes = unhex(text).unwrap_or_default();
            match format.to_uppercase().as_str() {
                "HEX" => Ok(Some(text.to_owned())),
                "BASE64" => Ok(Some(base64(&bytes))),
                "UTF-8" | "UTF8" => String::from_utf8(bytes)
                    .map(Some)
                    .map_err(|_| "the binary is no UTF-8".to_owned()),
                _ => Err(format!("'{format}' is no format of binary (HEX, BASE64, UTF-8)")),
            }
        }
        _ => Err(format!(
            "the local Snowflake does not know TO_CHAR of a number with a format ('{format}')"
        )),
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// `TO_BINARY(text, format)` as hexadecimal digits.
fn binary_as(given: &[Given<'_>]) -> Answer {
    use base64::Engine as _;
    let (text, format) = (first(given)?, at(given, 1).unwrap_or_default());
    let bytes = match format.to_uppercase().as_str() {
        "HEX" => unhex(text),
        "BASE64" => base64::engine::general_purpose::STANDARD.decode(text).ok(),
        "UTF-8" | "UTF8" => Some(text.as_bytes().to_vec()),
        _ => return Err(format!("'{format}' is no format of binary (HEX, BASE64, UTF-8)")),
    };
    let bytes = bytes
        .ok_or_else(|| format!("The following string is not a legal {format}-encoded value: '{text}'"))?;
    Ok(Some(upper_hex(&bytes)))
}

/// `TO_NUMBER(text, format)`: `$`, commas, a sign and a point where the format has them; `X` for hexadecimal digits.
fn number_as(given: &[Given<'_>]) -> Answer {
    let (text, format) = (
        first(given)?.trim(),
        at(given, 1).unwrap_or_default().to_uppercase(),
    );
    let wrong = || format!("Can't parse '{text}' as number with format '{format}'");
    if format.chars().all(|letter| letter == 'X') && !format.is_empty() {
        let value = i128::from_str_radix(text, 16).map_err(|_| wrong())?;
        return Ok(Some(value.to_string()));
    }
    if !format.chars().all(|letter| "90$,.SMITE".contains(letter)) {
        return Err(format!(
            "the local Snowflake does not know the number format '{format}'"
        ));
    }
    let plain: String = text
        .chars()
        .filter(|sign| !(*sign == '$' || *sign == ',') || !format.contains(*sign))
        .collect();
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let (before, behind) = cut(unsigned, '.');
    let digits = |part: &str| part.bytes().all(|digit| digit.is_ascii_digit());
    let room = |part: &str| part.chars().filter(|letter| "90".contains(*letter)).count();
    let (whole_room, point_room) = cut(&format, '.');
    let fits = format.starts_with("TM")
        || before.len() <= room(whole_room) && behind.unwrap_or("").len() <= room(point_room.unwrap_or(""));
    if unsigned.is_empty() || !digits(before) || !digits(behind.unwrap_or("")) || !fits {
        return Err(wrong());
    }
    Ok(Some(plain.trim_start_matches('+').to_owned()))
}
