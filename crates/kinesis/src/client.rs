//! The real Kinesis.
//!
//! GetRecords is our own signed request, because the SDK makes a string and a blob of each record: the answer's bytes are
//! kept as they come ([`RecordPage`]). Everything else goes through the SDK. Trying again is nobody's but the caller's: the
//! SDK's own retries are off. One thing alone is sent again here: a call whose keys were refused, once, if there are other keys
//! by then ([`crate::aws::keys`]).

mod calls;
mod fan_out;
mod probe;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::{Bytes, BytesMut};
use frazil_model::{Clock, ShardId, StreamName};
use url::Url;

use crate::aws::Aws;
use crate::aws::keys::{HeldKeys, innermost, renewing};
use crate::door::{Consumer, ConsumerId, Kinesis, Shard, StartAt, StreamDescription, Subscription};
use crate::error::{Error, NO_KEYS};
use crate::page::{RecordPage, ShardIterator};
pub use probe::StreamFacts;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Pages of a list of shards, of up to 1,000 each (Kinesis API reference, `ListShards`), before it is given up.
const MOST_PAGES: usize = 1000;
/// The longest error body that is read.
const LONGEST_ERROR: usize = 64 * 1024;
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const TARGET: &str = "Kinesis_20131202.GetRecords";

/// One stream of Kinesis.
#[derive(Debug, Clone)]
pub struct KinesisClient {
    calls: Calls,
    keys: Arc<HeldKeys>,
}

/// The calls, each sent once.
#[derive(Clone)]
struct Calls {
    sdk: aws_sdk_kinesis::Client,
    stream: StreamName,
    /// Names the stream on calls, where one is known: another account's stream is not found by its name.
    stream_arn: Option<String>,
    raw: Arc<Raw>,
    subscriptions: Arc<fan_out::Connections>,
}

/// What the own request needs.
struct Raw {
    http: reqwest::Client,
    address: Url,
    region: String,
    keys: Arc<HeldKeys>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let address = self.raw.address.as_str();
        f.debug_struct("Calls")
            .field("stream", &self.stream)
            .field("address", &address)
            .finish_non_exhaustive()
    }
}

/// The SDK's client, without retries of its own.
pub(crate) fn sdk_client(config: &SdkConfig, endpoint: Option<&str>) -> aws_sdk_kinesis::Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT);
    let mut builder = aws_sdk_kinesis::config::Builder::from(config)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts.build());
    if let Some(endpoint) = endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    aws_sdk_kinesis::Client::from_conf(builder.build())
}

/// The situation behind an error of the SDK.
pub(crate) fn of_sdk<E>(call: &'static str, error: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match &error {
        SdkError::ServiceError(inner) => {
            let meta = inner.err();
            let message = meta.message().unwrap_or_default().to_owned();
            Error::of_code(call, meta.code().unwrap_or_default(), message)
        }
        other => {
            let mut source: &dyn std::error::Error = other;
            let mut of_keys = false;
            while let Some(inner) = source.source() {
                source = inner;
                of_keys |= source.is::<CredentialsError>();
            }
            let detail = source.to_string();
            if of_keys {
                return no_keys(call, detail);
            }
            Error::Unreachable { call, detail }
        }
    }
}

/// There is nothing to sign with.
fn no_keys(call: &'static str, message: String) -> Error {
    let code = NO_KEYS.to_owned();
    Error::BadCredentials { call, code, message }
}

impl KinesisClient {
    /// A client; nothing is sent yet. With an ARN the stream is found by that: another account's is not found by its name.
    ///
    /// # Errors
    /// [`Error::BadConfig`] where the endpoint is no address.
    pub fn new(
        aws: &Aws,
        stream: StreamName,
        stream_arn: Option<String>,
        endpoint: Option<&str>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let bad = |text: String| Error::BadConfig(text);
        let config = aws.sdk()?;
        let address = match endpoint {
            Some(endpoint) => endpoint.to_owned(),
            None => aws.reach().data_endpoint(stream_arn.as_deref())?,
        };
        let parsed = Url::parse(&address)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let address = parsed.ok_or_else(|| bad(format!("{address:?} is no address of Kinesis")))?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT);
        let http = aws
            .reach()
            .reqwest(address.as_str(), http)?
            .build()
            .map_err(|error| bad(format!("no HTTP client can be made: {error}")))?;
        let raw = Arc::new(Raw {
            http,
            address,
            region: aws.reach().region.clone(),
            keys: aws.held_keys(),
            clock,
        });
        let calls = Calls {
            sdk: sdk_client(&config, endpoint),
            stream,
            stream_arn,
            raw,
            subscriptions: Arc::new(fan_out::Connections::new(aws.clone(), endpoint)),
        };
        let keys = aws.held_keys();
        Ok(Self { calls, keys })
    }
}

impl Calls {
    /// The stream on a call: its name, and its ARN where that is known ("either the StreamARN or the StreamName parameter, or
    /// both", Kinesis API reference).
    fn named(&self) -> (Option<String>, Option<String>) {
        (Some(self.stream.to_string()), self.stream_arn.clone())
    }
}

impl Raw {
    fn now(&self) -> SystemTime {
        let ms = u64::try_from(self.clock.wall_ms()).unwrap_or(0);
        UNIX_EPOCH + Duration::from_millis(ms)
    }

    async fn credentials(&self, call: &'static str) -> Result<Credentials, Error> {
        let given = self.keys.provide_credentials().await;
        given.map_err(|error| no_keys(call, innermost(&error)))
    }

    fn signed(&self, credentials: Credentials, body: &str) -> Result<reqwest::RequestBuilder, Error> {
        let unsigned =
            || Error::BadConfig("a request of GetRecords cannot be signed with these credentials".to_owned());
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("kinesis")
            .time(self.now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|_| unsigned())?
            .into();
        let authority = self.address.authority();
        let headers = [
            ("host", authority),
            ("content-type", CONTENT_TYPE),
            ("x-amz-target", TARGET),
        ];
        let body_to_sign = SignableBody::Bytes(body.as_bytes());
        let signable = SignableRequest::new("POST", self.address.as_str(), headers.into_iter(), body_to_sign);
        let signed = sign(signable.map_err(|_| unsigned())?, &parameters).map_err(|_| unsigned())?;
        let (instructions, _) = signed.into_parts();
        let mut request = self.http.post(self.address.clone());
        for (name, value) in headers.into_iter().skip(1).chain(instructions.headers()) {
            request = request.header(name, value);
        }
        Ok(request.body(body.to_owned()))
    }
}

fn unreachable(call: &'static str, error: &reqwest::Error) -> Error {
    let mut source: &dyn std::error::Error = error;
    while let Some(inner) = source.source() {
        source = inner;
    }
    let detail = if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        source.to_string()
    };
    Error::Unreachable { call, detail }
}

/// Reads a body of at most `max` bytes; refuses a longer one by its announced length, before reading it.
async fn read(call: &'static str, mut answer: reqwest::Response, max: usize) -> Result<Bytes, Error> {
    let announced = answer
        .content_length()
        .and_then(|length| usize::try_from(length).ok());
    if let Some(bytes) = announced.filter(|bytes| *bytes > max) {
        return Err(Error::PageTooLarge { bytes });
    }
    let mut body = BytesMut::with_capacity(announced.unwrap_or(0));
    while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(call, &error))? {
        if body.len() + chunk.len() > max {
            // Without an announced length all that is known is that it is more.
            return Err(Error::PageTooLarge {
                bytes: (body.len() + chunk.len()) * 2,
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn refusal(call: &'static str, status: u16, header: Option<String>, body: &[u8]) -> Error {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let field = |names: [&str; 2]| {
        names
            .iter()
            .find_map(|name| value.get(*name)?.as_str().map(ToOwned::to_owned))
    };
    let code = header.or_else(|| field(["__type", "code"])).unwrap_or_default();
    let message = field(["message", "Message"]).unwrap_or_default();
    if status >= 500 {
        return Error::ServerFault {
            call,
            code: format!("{status} {code}").trim().to_owned(),
            message,
        };
    }
    if code.is_empty() {
        return Error::Refused {
            call,
            code: status.to_string(),
            message,
        };
    }
    Error::of_code(call, &code, message)
}

#[async_trait]
impl Kinesis for KinesisClient {
    async fn describe_stream(&self) -> Result<StreamDescription, Error> {
        renewing(&self.keys, || self.calls.describe_stream()).await
    }

    async fn list_shards(&self) -> Result<Vec<Shard>, Error> {
        renewing(&self.keys, || self.calls.list_shards()).await
    }

    async fn shard_iterator(&self, shard: &ShardId, at: &StartAt) -> Result<ShardIterator, Error> {
        renewing(&self.keys, || self.calls.shard_iterator(shard, at)).await
    }

    async fn get_records(
        &self,
        iterator: &ShardIterator,
        limit: u32,
        max_bytes: usize,
    ) -> Result<RecordPage, Error> {
        renewing(&self.keys, || self.calls.get_records(iterator, limit, max_bytes)).await
    }

    async fn describe_consumer(&self, stream_arn: &str, name: &str) -> Result<Consumer, Error> {
        renewing(&self.keys, || self.calls.describe_consumer(stream_arn, name)).await
    }

    async fn register_consumer(&self, stream_arn: &str, name: &str) -> Result<Consumer, Error> {
        renewing(&self.keys, || self.calls.register_consumer(stream_arn, name)).await
    }

    async fn deregister_consumer(&self, consumer: ConsumerId<'_>) -> Result<(), Error> {
        renewing(&self.keys, || self.calls.deregister_consumer(consumer)).await
    }

    async fn subscribe(
        &self,
        consumer_arn: &str,
        shard: &ShardId,
        at: &StartAt,
    ) -> Result<Box<dyn Subscription>, Error> {
        renewing(&self.keys, || self.calls.subscribe(consumer_arn, shard, at)).await
    }
}
