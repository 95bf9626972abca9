//! The layer before the router of each service: faults that need only its requests and answers.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::kinds::BEARERS;
use super::lasting::Lasting;
use super::{Faults, Hit, Service, answers};
use crate::aws::named::Named;
use crate::aws::{self, BODY_LIMIT, Format};
use crate::snowflake::{auth::bearer, operation};

/// Whose resources the names of AWS stand for.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) region: String,
    pub(crate) id: String,
}

/// The layer's state.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    faults: Arc<Faults>,
    service: Service,
    account: Arc<Account>,
    lasting: Arc<Lasting>,
}

/// A fault that the service itself carries out, left with the request.
#[derive(Clone, Debug)]
pub(crate) struct Within(pub(crate) Hit);

/// What the layer knows of a call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) operation: String,
    pub(super) format: Format,
    pub(super) named: Named,
}

impl Layer {
    pub(crate) fn new(faults: Arc<Faults>, service: Service, account: Account) -> Self {
        Self {
            faults,
            service,
            account: Arc::new(account),
            lasting: Arc::default(),
        }
    }

    /// Wraps a router, if any rule is about its service.
    pub(crate) fn wrap(self, router: axum::Router) -> axum::Router {
        if !self.faults.concern(self.service) {
            return router;
        }
        router.layer(axum::middleware::from_fn_with_state(self, apply))
    }

    async fn call(&self, request: Request) -> Result<(Call, Request), Box<Response>> {
        let format = Format::of(request.headers());
        let operation = match self.service {
            Service::Kinesis | Service::Dynamodb => aws::operation(&request).unwrap_or("unknown").to_owned(),
            Service::Snowflake => operation(request.method(), request.uri().path()).to_owned(),
        };
        let mut call = Call {
            operation,
            format,
            named: Named::default(),
        };
        if self.service == Service::Snowflake || !self.faults.want_names(self.service) {
            return Ok((call, request));
        }
        let (head, body) = request.into_parts();
        let Ok(body) = axum::body::to_bytes(body, BODY_LIMIT).await else {
            return Err(Box::new(aws::too_large(format)));
        };
        let value = format.read(&body).unwrap_or_default();
        call.named = match self.service {
            Service::Dynamodb => Named::of_dynamodb(&value),
            Service::Kinesis | Service::Snowflake => Named::of_kinesis(&value),
        };
        Ok((call, aws::request_with(head, body)))
    }

    /// The bearer token of a call to Snowflake that it can make expire.
    fn token(&self, call: &Call, request: &Request) -> Option<String> {
        let may_expire = self.service == Service::Snowflake && BEARERS.contains(&call.operation.as_str());
        let token = may_expire.then(|| bearer(request.headers())).flatten();
        token.map(str::to_owned)
    }

    fn refuse(&self, call: &Call, hit: &Hit) -> Response {
        answers::refusal(self.service, &self.account, call, hit)
    }
}

async fn apply(State(layer): State<Layer>, request: Request, next: Next) -> Response {
    let (call, mut request) = match layer.call(request).await {
        Ok(read) => read,
        Err(refused) => return *refused,
    };
    let token = layer.token(&call, &request);
    if token
        .as_ref()
        .is_some_and(|token| layer.lasting.has_expired(token))
    {
        return layer.refuse(&call, &Hit::of("expire_token"));
    }
    let mut cut = None;
    for hit in layer.faults.layered(layer.service, &call.operation, &call.named) {
        tracing::debug!(service = %layer.service, operation = call.operation, fault = hit.fault, "fault injected");
        match hit.fault.as_str() {
            "delay" => tokio::time::sleep(hit.delay).await,
            "cut" => cut = Some(hit.bytes),
            "partial" | "stale" => {
                request.extensions_mut().insert(Within(hit));
            }
            "lost_answer" => {
                drop(next.run(request).await);
                return answers::lost();
            }
            "lost_request" => return answers::lost(),
            fault => {
                if let ("expire_token", Some(token)) = (fault, &token) {
                    layer.lasting.expire(token);
                }
                return layer.refuse(&call, &hit);
            }
        }
    }
    let response = next.run(request).await;
    match cut {
        Some(bytes) => answers::cut(response, bytes),
        None => response,
    }
}
