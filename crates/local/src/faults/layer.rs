//! The generic faults as one layer before the router of each service.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use super::{Faults, Hit, Service};

/// The layer's state.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) faults: Arc<Faults>,
    pub(crate) service: Service,
}

impl Layer {
    /// Wraps a router, if any rule is about its service.
    pub(crate) fn wrap(self, router: axum::Router) -> axum::Router {
        if !self.faults.concern(self.service) {
            return router;
        }
        router.layer(axum::middleware::from_fn_with_state(self, apply))
    }

    fn operation(&self, request: &Request) -> String {
        match self.service {
            Service::Kinesis | Service::Dynamodb => aws_operation(request).unwrap_or("unknown").to_owned(),
            Service::Snowflake => {
                crate::snowflake::operation(request.method(), request.uri().path()).to_owned()
            }
        }
    }
}

/// The operation of an AWS JSON or CBOR call: what follows the dot in `X-Amz-Target`.
pub(crate) fn aws_operation(request: &Request) -> Option<&str> {
    let target = request.headers().get("x-amz-target")?.to_str().ok()?;
    target.split_once('.').map(|(_, operation)| operation)
}

async fn apply(
    axum::extract::State(layer): axum::extract::State<Layer>,
    request: Request,
    next: Next,
) -> Response {
    let operation = layer.operation(&request);
    for hit in layer.faults.generic(layer.service, &operation) {
        tracing::debug!(service = ?layer.service, operation, fault = hit.fault, "fault injected");
        match hit.fault.as_str() {
            "delay" => tokio::time::sleep(hit.delay).await,
            "error" => return error(layer.service, &hit),
            _ => {
                drop(next.run(request).await);
                return cut();
            }
        }
    }
    next.run(request).await
}

/// An error as the service would word it.
fn error(service: Service, hit: &Hit) -> Response {
    let (kind, body) = match service {
        Service::Snowflake => {
            let body =
                serde_json::json!({"error_code": hit.code, "code": hit.code, "message": "injected fault"});
            ("application/json", body)
        }
        Service::Kinesis => ("application/x-amz-json-1.1", aws_error(hit)),
        Service::Dynamodb => ("application/x-amz-json-1.0", aws_error(hit)),
    };
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(hit.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let (Service::Kinesis | Service::Dynamodb, Ok(code)) = (service, HeaderValue::from_str(&hit.code)) {
        response.headers_mut().insert("x-amzn-errortype", code);
    }
    response
}

fn aws_error(hit: &Hit) -> serde_json::Value {
    serde_json::json!({"__type": hit.code, "message": "injected fault"})
}

/// An answer that never arrives: its body fails, which ends the connection.
fn cut() -> Response {
    let failing =
        futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("answer lost by fault")) });
    let mut response = Response::new(Body::from_stream(failing));
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from_static("1"));
    response
}
