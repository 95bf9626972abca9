//! Enhanced fan-out through the SDK: consumers, and subscriptions as event streams over HTTP/2.
//!
//! How it works: consumers are made, looked up and removed by plain calls. A subscription is one long answer, which the SDK
//! cuts into events; it is read only when somebody asks, so that a reader that is held up holds the service up.
//!
//! Subscriptions share a connection by twos. HTTP/2 gives a connection a window of 5 MiB and each answer on it 2 MiB (the
//! defaults of the HTTP library): with more than two, shards that are held up would take the window from those that are not,
//! and one connection carries no more than about a hundred answers at a time.
//!
//! What it guarantees: an idle subscription is not ended by this side: the SDK's protection against slow answers, which
//! takes silence for a fault, is off for it. Who watches over it is its reader.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::primitives::event_stream::EventReceiver;
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError as StreamError;
use aws_sdk_kinesis::types::{self, ShardIteratorType, StartingPosition, SubscribeToShardEventStream};
use frazil_model::{SequenceNumber, ShardId};

use super::{of_sdk, sdk_client};
use crate::aws::Aws;
use crate::door::{Consumer, ConsumerId, ConsumerStatus, FanOutEvent, StartAt, Subscription};
use crate::error::Error;
use crate::page::{ChildShard, OwnedRecord};

/// Subscriptions that share a connection.
const A_CONNECTION: usize = 2;
const SUBSCRIBE: &str = "SubscribeToShard";

/// Connections for subscriptions, made as they are needed.
pub(super) struct Connections {
    aws: Aws,
    endpoint: Option<String>,
    open: Mutex<Vec<(aws_sdk_kinesis::Client, Arc<()>)>>,
}

impl Connections {
    pub(super) fn new(aws: Aws, endpoint: Option<&str>) -> Self {
        Self {
            aws,
            endpoint: endpoint.map(ToOwned::to_owned),
            open: Mutex::default(),
        }
    }

    /// A client with a connection that has room, and the place on it: given back when it is dropped.
    fn place(&self) -> Result<(aws_sdk_kinesis::Client, Arc<()>), Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // The list holds one share of each itself.
        let free = open
            .iter()
            .find(|(_, place)| Arc::strong_count(place) <= A_CONNECTION);
        if let Some(free) = free {
            return Ok(free.clone());
        }
        let unprotected = StalledStreamProtectionConfig::disabled();
        let config = self.aws.sdk()?.into_builder();
        let config = config.stalled_stream_protection(unprotected).build();
        let fresh = (sdk_client(&config, self.endpoint.as_deref()), Arc::new(()));
        open.push(fresh.clone());
        Ok(fresh)
    }

    pub(super) async fn subscribe(
        &self,
        consumer_arn: &str,
        shard: &ShardId,
        at: &StartAt,
    ) -> Result<Box<dyn Subscription>, Error> {
        let (client, place) = self.place()?;
        let request = client
            .subscribe_to_shard()
            .consumer_arn(consumer_arn)
            .shard_id(shard.as_str())
            .starting_position(starting(at)?);
        let answer = request.send().await.map_err(|error| of_sdk(SUBSCRIBE, error))?;
        Ok(Box::new(Stream {
            events: answer.event_stream,
            _place: place,
        }))
    }
}

fn starting(at: &StartAt) -> Result<StartingPosition, Error> {
    let position = StartingPosition::builder();
    let position = match at {
        StartAt::TrimHorizon => position.r#type(ShardIteratorType::TrimHorizon),
        StartAt::Timestamp { ms } => position
            .r#type(ShardIteratorType::AtTimestamp)
            .timestamp(DateTime::from_millis(*ms)),
        StartAt::At(sequence) => position
            .r#type(ShardIteratorType::AtSequenceNumber)
            .sequence_number(sequence.as_str()),
        StartAt::After(sequence) => position
            .r#type(ShardIteratorType::AfterSequenceNumber)
            .sequence_number(sequence.as_str()),
    };
    position
        .build()
        .map_err(|error| Error::BadConfig(format!("no start of a subscription can be made: {error}")))
}

struct Stream {
    events: EventReceiver<SubscribeToShardEventStream, StreamError>,
    _place: Arc<()>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[subscription]")
    }
}

#[async_trait]
impl Subscription for Stream {
    async fn next(&mut self) -> Result<Option<FanOutEvent>, Error> {
        loop {
            match self.events.recv().await.map_err(of_stream)? {
                None => return Ok(None),
                Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)) => {
                    return taken(event).map(Some);
                }
                // A kind of event that a later version of the service sends.
                Some(_) => {}
            }
        }
    }
}

fn taken(event: types::SubscribeToShardEvent) -> Result<FanOutEvent, Error> {
    let bad = |detail| Error::BadAnswer {
        call: SUBSCRIBE,
        detail,
    };
    let records = event.records.into_iter().map(|record| {
        let arrival_ms = record
            .approximate_arrival_timestamp
            .and_then(|at| at.to_millis().ok());
        let key = record.partition_key.unwrap_or_default();
        OwnedRecord::new(&record.sequence_number, key, arrival_ms, record.data.into_inner())
    });
    let shard = |id: &str| ShardId::new(id).map_err(|_| bad("a child shard's id is none"));
    let child_shards = event.child_shards.unwrap_or_default().into_iter().map(|child| {
        let parents = child.parent_shards.iter().map(|parent| shard(parent));
        Ok(ChildShard {
            id: shard(&child.shard_id)?,
            parents: parents.collect::<Result<_, Error>>()?,
        })
    });
    // The SDK gives an empty text where the service gives none.
    let continuation = Some(event.continuation_sequence_number).filter(|text| !text.is_empty());
    Ok(FanOutEvent {
        records: records.collect::<Result<_, _>>()?,
        continuation: continuation.map(SequenceNumber::new).transpose()?,
        millis_behind: u64::try_from(event.millis_behind_latest).unwrap_or(0),
        child_shards: child_shards.collect::<Result<_, Error>>()?,
    })
}

/// The situation behind an error in the midst of a subscription. The service names its kind beside the message and not in
/// it, so the kind is what the SDK made of it.
fn of_stream<R: std::fmt::Debug>(error: SdkError<StreamError, R>) -> Error {
    let error = match error {
        SdkError::ServiceError(inner) => inner.into_err(),
        other => {
            let mut detail = "the subscription broke off".to_owned();
            let mut source = std::error::Error::source(&other);
            while let Some(inner) = source {
                detail = inner.to_string();
                source = inner.source();
            }
            return Error::Unreachable {
                call: SUBSCRIBE,
                detail,
            };
        }
    };
    let code = match &error {
        StreamError::ResourceNotFoundException(_) => "ResourceNotFoundException",
        StreamError::ResourceInUseException(_) => "ResourceInUseException",
        StreamError::KmsDisabledException(_) => "KMSDisabledException",
        StreamError::KmsInvalidStateException(_) => "KMSInvalidStateException",
        StreamError::KmsAccessDeniedException(_) => "KMSAccessDeniedException",
        StreamError::KmsNotFoundException(_) => "KMSNotFoundException",
        StreamError::KmsOptInRequired(_) => "KMSOptInRequired",
        StreamError::KmsThrottlingException(_) => "KMSThrottlingException",
        StreamError::InternalFailureException(_) => "InternalFailureException",
        unknown => unknown.code().unwrap_or_default(),
    };
    Error::of_code(SUBSCRIBE, code, error.message().unwrap_or_default().to_owned())
}

fn status(status: &types::ConsumerStatus) -> ConsumerStatus {
    match status {
        types::ConsumerStatus::Active => ConsumerStatus::Active,
        types::ConsumerStatus::Deleting => ConsumerStatus::Deleting,
        // Of a state that a later version of the service has, all that is known is that it is not ready.
        _ => ConsumerStatus::Creating,
    }
}

pub(super) async fn describe(
    sdk: &aws_sdk_kinesis::Client,
    stream_arn: &str,
    name: &str,
) -> Result<Consumer, Error> {
    let call = "DescribeStreamConsumer";
    let request = sdk
        .describe_stream_consumer()
        .stream_arn(stream_arn)
        .consumer_name(name);
    let answer = request.send().await.map_err(|error| of_sdk(call, error))?;
    let consumer = answer.consumer_description.ok_or(Error::BadAnswer {
        call,
        detail: "it describes no consumer",
    })?;
    Ok(Consumer {
        status: status(&consumer.consumer_status),
        name: consumer.consumer_name,
        arn: consumer.consumer_arn,
    })
}

pub(super) async fn register(
    sdk: &aws_sdk_kinesis::Client,
    stream_arn: &str,
    name: &str,
) -> Result<Consumer, Error> {
    let call = "RegisterStreamConsumer";
    let request = sdk
        .register_stream_consumer()
        .stream_arn(stream_arn)
        .consumer_name(name);
    let answer = request.send().await.map_err(|error| of_sdk(call, error))?;
    let consumer = answer.consumer.ok_or(Error::BadAnswer {
        call,
        detail: "it has no consumer",
    })?;
    Ok(Consumer {
        status: status(&consumer.consumer_status),
        name: consumer.consumer_name,
        arn: consumer.consumer_arn,
    })
}

pub(super) async fn deregister(sdk: &aws_sdk_kinesis::Client, consumer: ConsumerId<'_>) -> Result<(), Error> {
    let request = sdk.deregister_stream_consumer();
    let request = match consumer {
        ConsumerId::Name { stream_arn, name } => request.stream_arn(stream_arn).consumer_name(name),
        ConsumerId::Arn(arn) => request.consumer_arn(arn),
    };
    let answer = request.send().await;
    answer.map_err(|error| of_sdk("DeregisterStreamConsumer", error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::primitives::Blob;
    use aws_sdk_kinesis::types::error as service;
    use frazil_model::{Clock, ErrorKind, PausedClock, Secret};

    use super::*;
    use crate::aws::{CredentialsSource, Reach};

    fn event() -> types::builders::SubscribeToShardEventBuilder {
        types::SubscribeToShardEvent::builder().millis_behind_latest(7)
    }

    #[tokio::test]
    async fn case_59_subscriptions_share_connections_by_twos_and_give_their_place_back() {
        let source = CredentialsSource::Static {
            access_key_id: "a".to_owned(),
            secret_access_key: Secret::new("b"),
            session_token: None,
        };
        let endpoint = Some("http://127.0.0.1:1");
        let clock: Arc<dyn Clock> = Arc::new(PausedClock::at_wall_ms(0));
        let aws = Aws::new(Reach::region("eu-central-1"), &source, &[endpoint], &clock);
        let connections = Connections::new(aws.expect("nothing odd"), endpoint);
        let place = || connections.place().expect("a client");
        let count = || connections.open.lock().expect("no panic inside").len();
        let mut places: Vec<Arc<()>> = (0..40).map(|_| place().1).collect();
        assert_eq!(count(), 20);
        places.truncate(30);
        places.extend((0..10).map(|_| place().1));
        assert_eq!(count(), 20, "places that were given back are used again");
        let (client, _) = place();
        let protection = client.config().stalled_stream_protection();
        assert!(
            protection.is_some_and(|protection| !protection.is_enabled()),
            "an idle subscription would be taken for a slow answer"
        );
    }

    #[test]
    fn an_event_becomes_records_and_an_empty_continuation_is_an_end() {
        let record = types::Record::builder()
            .sequence_number("12")
            .partition_key("k")
            .approximate_arrival_timestamp(DateTime::from_millis(1234))
            .data(Blob::new("{}"));
        let wire = event()
            .records(record.build().expect("complete"))
            .continuation_sequence_number("13");
        let taken_over = taken(wire.build().expect("complete")).expect("readable");
        assert_eq!(
            taken_over.records,
            [OwnedRecord::new("12", "k".to_owned(), Some(1234), "{}").expect("digits")]
        );
        assert_eq!(
            taken_over.continuation,
            Some(SequenceNumber::new("13").expect("digits"))
        );
        assert_eq!(taken_over.millis_behind, 7);
        let wire = event()
            .set_records(Some(Vec::new()))
            .continuation_sequence_number("");
        assert_eq!(
            taken(wire.build().expect("complete"))
                .expect("readable")
                .continuation,
            None
        );
        let wire = event()
            .set_records(Some(Vec::new()))
            .continuation_sequence_number("x");
        assert!(
            taken(wire.build().expect("complete")).is_err(),
            "no panic on outside data"
        );
    }

    #[test]
    fn case_43_case_56_each_exception_of_the_sdk_has_its_kind() {
        let cases = [
            (
                StreamError::ResourceInUseException(service::ResourceInUseException::builder().build()),
                ErrorKind::Retry,
            ),
            (
                StreamError::ResourceNotFoundException(service::ResourceNotFoundException::builder().build()),
                ErrorKind::Invalid,
            ),
            (
                StreamError::InternalFailureException(service::InternalFailureException::builder().build()),
                ErrorKind::Retry,
            ),
            (
                StreamError::KmsThrottlingException(service::KmsThrottlingException::builder().build()),
                ErrorKind::SlowDown,
            ),
            (
                StreamError::KmsDisabledException(service::KmsDisabledException::builder().build()),
                ErrorKind::Invalid,
            ),
            (
                StreamError::KmsAccessDeniedException(service::KmsAccessDeniedException::builder().build()),
                ErrorKind::Invalid,
            ),
        ];
        for (error, kind) in cases {
            let text = format!("{error:?}");
            assert_eq!(
                of_stream(SdkError::service_error(error, ())).kind(),
                kind,
                "{text}"
            );
        }
        let cut = SdkError::<StreamError, ()>::timeout_error("cut");
        assert_eq!(of_stream(cut).kind(), ErrorKind::Retry);
    }
}
