//! PARSE_XML, CHECK_XML and XMLGET: an element is JSON.

use serde_json::{Map, Value as Json};

use super::{Answer, Given, at, first, whole};

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

pub(super) fn parse_xml(given: &[Given<'_>]) -> Answer {
    let parsed = roxmltree::Document::parse(first(given)?);
    let document = parsed.map_err(|error| format!("Error parsing XML: {error}"))?;
    Ok(Some(element(document.root_element()).to_string()))
}

/// `XMLGET(element, tag [, instance])`: the n-th element of this name in it.
pub(super) fn xmlget(given: &[Given<'_>]) -> Answer {
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

/// What is wrong with it, if anything is.
pub(super) fn check_xml(given: &[Given<'_>]) -> Answer {
    Ok(roxmltree::Document::parse(first(given)?)
        .err()
        .map(|error| error.to_string()))
}
