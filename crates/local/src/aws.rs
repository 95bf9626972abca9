//! AWS calls on the wire: the operation, bodies as JSON or CBOR, error answers.
//!
//! Kinesis speaks JSON 1.1 or CBOR as the client's content type says (the Java SDK sends CBOR), DynamoDB JSON 1.0. Both are
//! read into the same JSON value, with bytes as base64, and written back in the client's format.

pub(crate) mod named;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};
use serde_json::{Map, Number, Value, json};

/// PutRecords takes 10 MiB, as base64 in JSON.
pub(crate) const BODY_LIMIT: usize = 20 * 1024 * 1024;
/// The one field of Kinesis that holds bytes.
const BLOB: &str = "Data";

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json10,
    Json11,
    Cbor,
}

impl Format {
    /// The format of a request, and so of its answer.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let kind = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        match kind.unwrap_or_default() {
            kind if kind.starts_with("application/x-amz-cbor") => Self::Cbor,
            kind if kind.starts_with("application/x-amz-json-1.0") => Self::Json10,
            _ => Self::Json11,
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json10 => "application/x-amz-json-1.0",
            Self::Json11 => "application/x-amz-json-1.1",
            Self::Cbor => "application/x-amz-cbor-1.1",
        }
    }

    /// None if the body is not in this format.
    pub(crate) fn read(self, body: &[u8]) -> Option<Value> {
        match self {
            Self::Json10 | Self::Json11 => serde_json::from_slice(body).ok(),
            Self::Cbor => ciborium::from_reader(body).ok().map(of_cbor),
        }
    }

    pub(crate) fn write(self, value: &Value) -> Vec<u8> {
        match self {
            Self::Json10 | Self::Json11 => value.to_string().into_bytes(),
            Self::Cbor => {
                let mut bytes = Vec::new();
                ciborium::into_writer(&Blobs(value, false), &mut bytes)
                    .expect("a vector takes all, and a JSON value has only string keys");
                bytes
            }
        }
    }

    /// An error answer with AWS's header and body.
    pub(crate) fn error(self, status: u16, code: &str, message: &str) -> Response {
        let body = self.write(&json!({"__type": code, "message": message}));
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(self.content_type()),
        );
        if let Ok(code) = HeaderValue::from_str(code) {
            headers.insert("x-amzn-errortype", code);
        }
        response
    }
}

/// The operation of a call: what follows the dot in `X-Amz-Target`.
pub(crate) fn operation(request: &Request) -> Option<&str> {
    let target = request.headers().get("x-amz-target")?.to_str().ok()?;
    target.split_once('.').map(|(_, operation)| operation)
}

/// Puts another body under an answer's head.
pub(crate) fn with_body(head: http::response::Parts, body: Vec<u8>) -> Response {
    let mut response = Response::from_parts(head, Body::empty());
    let length = HeaderValue::from(body.len());
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    *response.body_mut() = Body::from(body);
    response
}

/// Puts another body under a request's head.
pub(crate) fn request_with(mut head: http::request::Parts, body: impl Into<Vec<u8>>) -> Request {
    let body = body.into();
    head.headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    head.headers.remove(header::TRANSFER_ENCODING);
    Request::from_parts(head, Body::from(body))
}

/// The answer to a body over the limit.
pub(crate) fn too_large(format: Format) -> Response {
    format.error(413, "SerializationException", "Request body is too large")
}

fn of_cbor(value: ciborium::Value) -> Value {
    match value {
        ciborium::Value::Bool(flag) => Value::Bool(flag),
        ciborium::Value::Integer(number) => {
            i64::try_from(number).map_or(Value::Null, |number| Value::Number(number.into()))
        }
        ciborium::Value::Float(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        ciborium::Value::Text(text) => Value::String(text),
        ciborium::Value::Bytes(bytes) => Value::String(STANDARD.encode(bytes)),
        ciborium::Value::Array(items) => items.into_iter().map(of_cbor).collect(),
        ciborium::Value::Map(entries) => {
            let entry = |(key, value)| match key {
                ciborium::Value::Text(key) => Some((key, of_cbor(value))),
                _ => None,
            };
            Value::Object(entries.into_iter().filter_map(entry).collect::<Map<_, _>>())
        }
        ciborium::Value::Tag(_, inner) => of_cbor(*inner),
        _ => Value::Null,
    }
}

/// A value whose `Data` fields are written as bytes; the flag says that it is one.
struct Blobs<'a>(&'a Value, bool);

impl Serialize for Blobs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::String(text) if self.1 => match STANDARD.decode(text) {
                Ok(bytes) => serializer.serialize_bytes(&bytes),
                Err(_) => serializer.serialize_str(text),
            },
            Value::Object(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, &Blobs(value, key == BLOB))?;
                }
                map.end()
            }
            Value::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(&Blobs(item, false))?;
                }
                list.end()
            }
            other => other.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cbor_comes_back_with_its_bytes() {
        let value =
            json!({"Records": [{"Data": "AAH/", "PartitionKey": "k", "at": 1.5}], "Count": 3, "none": null});
        let bytes = Format::Cbor.write(&value);
        assert!(
            bytes.windows(4).any(|part| part == [0x43, 0x00, 0x01, 0xFF]),
            "bytes, not base64"
        );
        assert_eq!(Format::Cbor.read(&bytes), Some(value));
    }
}
