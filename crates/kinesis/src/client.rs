//! The real Kinesis.
//!
//! GetRecords is our own signed request, because the SDK makes a string and a blob of each record: the answer's bytes are
//! kept as they come ([`RecordPage`]). Everything else goes through the SDK. Trying again is nobody's but the caller's: the
//! SDK's own retries are off.

mod fan_out;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::ShardIteratorType;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::{Bytes, BytesMut};
use frazil_model::{Clock, SequenceNumber, ShardId, StreamName};
use tokio::sync::Mutex;
use url::Url;

use crate::aws::Aws;
use crate::door::{
    Consumer, ConsumerId, HashKeyRange, Kinesis, Shard, StartAt, StreamDescription, Subscription,
};
use crate::error::Error;
use crate::page::{RecordPage, ShardIterator};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Credentials are asked for again this long before they expire.
const RENEW_AHEAD: Duration = Duration::from_secs(5 * 60);
/// Pages of a list of shards, of up to 1,000 each (Kinesis API reference, `ListShards`), before it is given up.
const MOST_PAGES: usize = 1000;
/// The longest error body that is read.
const LONGEST_ERROR: usize = 64 * 1024;
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const TARGET: &str = "Kinesis_20131202.GetRecords";

/// One stream of Kinesis.
#[derive(Clone)]
pub struct KinesisClient {
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
    provider: SharedCredentialsProvider,
    credentials: Mutex<Option<Credentials>>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for KinesisClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let address = self.raw.address.as_str();
        f.debug_struct("KinesisClient")
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
            while let Some(inner) = source.source() {
                source = inner;
            }
            let detail = source.to_string();
            if detail.contains("credential") {
                return Error::BadCredentials {
                    call,
                    code: "none".to_owned(),
                    message: detail,
                };
            }
            Error::Unreachable { call, detail }
        }
    }
}

impl KinesisClient {
    /// A client; nothing is sent yet. With an ARN the stream is found by that: another account's is not found by its name.
    ///
    /// # Errors
    /// [`Error::BadConfig`] where the endpoint is no address, or there is nothing to sign with.
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
        let provider = config.credentials_provider();
        let provider = provider.ok_or_else(|| bad("no AWS credentials are configured".to_owned()))?;
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
            provider,
            credentials: Mutex::new(None),
            clock,
        });
        Ok(Self {
            sdk: sdk_client(&config, endpoint),
            stream,
            stream_arn,
            raw,
            subscriptions: Arc::new(fan_out::Connections::new(aws.clone(), endpoint)),
        })
    }

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
        let mut known = self.credentials.lock().await;
        let until = self.now() + RENEW_AHEAD;
        if let Some(good) = known
            .as_ref()
            .filter(|c| c.expiry().is_none_or(|expiry| expiry > until))
        {
            return Ok(good.clone());
        }
        let fresh = self.provider.provide_credentials().await.map_err(|error| {
            let mut source: &dyn std::error::Error = &error;
            while let Some(inner) = source.source() {
                source = inner;
            }
            Error::BadCredentials {
                call,
                code: "none".to_owned(),
                message: source.to_string(),
            }
        })?;
        *known = Some(fresh.clone());
        Ok(fresh)
    }

    /// Forgets credentials that were not taken.
    async fn forget_credentials(&self) {
        *self.credentials.lock().await = None;
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
        // Not DescribeStreamSummary: policies that were written for the Openflow connector do not have it.
        let call = "DescribeStream";
        let (name, arn) = self.named();
        let request = self.sdk.describe_stream().limit(1);
        let request = request.set_stream_name(name).set_stream_arn(arn);
        let answer = request.send().await.map_err(|error| of_sdk(call, error))?;
        let summary = answer.stream_description().ok_or(Error::BadAnswer {
            call,
            detail: "it describes no stream",
        })?;
        Ok(StreamDescription {
            name: self.stream.clone(),
            arn: summary.stream_arn().to_owned(),
            created_ms: summary.stream_creation_timestamp().to_millis().unwrap_or(0),
            status: summary.stream_status().as_str().to_owned(),
            retention_hours: u32::try_from(summary.retention_period_hours()).unwrap_or(24),
        })
    }

    async fn list_shards(&self) -> Result<Vec<Shard>, Error> {
        let call = "ListShards";
        // The stream may change between two pages, and a shard stand on both: the later one counts.
        let mut shards = BTreeMap::new();
        let mut token: Option<String> = None;
        for _ in 0..MOST_PAGES {
            // A token stands for the stream; both together are refused.
            let (name, arn) = self.named();
            let name = name.filter(|_| token.is_none());
            let request = self
                .sdk
                .list_shards()
                .set_stream_name(name)
                .set_stream_arn(arn)
                .set_next_token(token.take());
            let answer = request.send().await.map_err(|error| of_sdk(call, error))?;
            for shard in answer.shards() {
                let shard = listed(shard)?;
                shards.insert(shard.id.clone(), shard);
            }
            match answer.next_token() {
                Some(next) if !next.is_empty() => token = Some(next.to_owned()),
                _ => return Ok(shards.into_values().collect()),
            }
        }
        let detail = "its pages do not end";
        Err(Error::BadAnswer { call, detail })
    }

    async fn shard_iterator(&self, shard: &ShardId, at: &StartAt) -> Result<ShardIterator, Error> {
        let call = "GetShardIterator";
        let (name, arn) = self.named();
        let request = self.sdk.get_shard_iterator();
        let request = request
            .set_stream_name(name)
            .set_stream_arn(arn)
            .shard_id(shard.as_str());
        let request = match at {
            StartAt::TrimHorizon => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            StartAt::Timestamp { ms } => request
                .shard_iterator_type(ShardIteratorType::AtTimestamp)
                .timestamp(DateTime::from_millis(*ms)),
            StartAt::At(sequence) => request
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .starting_sequence_number(sequence.as_str()),
            StartAt::After(sequence) => request
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(sequence.as_str()),
        };
        let answer = request.send().await.map_err(|error| of_sdk(call, error))?;
        let iterator = answer.shard_iterator().ok_or(Error::BadAnswer {
            call,
            detail: "it has no iterator",
        })?;
        Ok(ShardIterator::new(iterator))
    }

    async fn get_records(
        &self,
        iterator: &ShardIterator,
        limit: u32,
        max_bytes: usize,
    ) -> Result<RecordPage, Error> {
        let call = "GetRecords";
        let credentials = self.raw.credentials(call).await?;
        let mut body = serde_json::json!({ "ShardIterator": iterator.as_str(), "Limit": limit });
        if let Some(arn) = &self.stream_arn {
            body["StreamARN"] = arn.as_str().into();
        }
        let body = body.to_string();
        let request = self.raw.signed(credentials, &body)?;
        let answer = request.send().await.map_err(|error| unreachable(call, &error))?;
        let status = answer.status().as_u16();
        if status == 200 {
            return RecordPage::parse(read(call, answer, max_bytes).await?);
        }
        let header = answer
            .headers()
            .get("x-amzn-errortype")
            .and_then(|v| v.to_str().ok())
            .map(ToOwned::to_owned);
        let body = read(call, answer, LONGEST_ERROR).await.unwrap_or_default();
        let error = refusal(call, status, header, &body);
        if matches!(error, Error::BadCredentials { .. }) {
            self.raw.forget_credentials().await;
        }
        Err(error)
    }

    async fn describe_consumer(&self, stream_arn: &str, name: &str) -> Result<Consumer, Error> {
        fan_out::describe(&self.sdk, stream_arn, name).await
    }

    async fn register_consumer(&self, stream_arn: &str, name: &str) -> Result<Consumer, Error> {
        fan_out::register(&self.sdk, stream_arn, name).await
    }

    async fn deregister_consumer(&self, consumer: ConsumerId<'_>) -> Result<(), Error> {
        fan_out::deregister(&self.sdk, consumer).await
    }

    async fn subscribe(
        &self,
        consumer_arn: &str,
        shard: &ShardId,
        at: &StartAt,
    ) -> Result<Box<dyn Subscription>, Error> {
        self.subscriptions.subscribe(consumer_arn, shard, at).await
    }
}

fn listed(shard: &aws_sdk_kinesis::types::Shard) -> Result<Shard, Error> {
    let bad = |detail| Error::BadAnswer {
        call: "ListShards",
        detail,
    };
    let id = |text: &str| ShardId::new(text).map_err(|_| bad("a shard's id is none"));
    let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
    let parents = parents.into_iter().flatten().map(id).collect::<Result<_, _>>()?;
    let key = |text: &str| text.parse::<u128>().map_err(|_| bad("a hash key is no number"));
    let range = shard
        .hash_key_range()
        .ok_or_else(|| bad("a shard has no hash key range"))?;
    let sequences = shard
        .sequence_number_range()
        .ok_or_else(|| bad("a shard has no sequence number range"))?;
    Ok(Shard {
        id: id(shard.shard_id())?,
        parents,
        hash_range: HashKeyRange {
            start: key(range.starting_hash_key())?,
            end: key(range.ending_hash_key())?,
        },
        starting_sequence: SequenceNumber::new(sequences.starting_sequence_number())?,
        ending_sequence: sequences
            .ending_sequence_number()
            .map(SequenceNumber::new)
            .transpose()?,
    })
}
