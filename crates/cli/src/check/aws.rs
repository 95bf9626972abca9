//! Credentials, stream and shards, and each IAM action on them that the connector uses.
//!
//! Rights are judged before anything else of a call (AWS Identity and Access Management user guide, "Policy evaluation logic"),
//! so an answer such as "no such shard" proves the right as well as a success does. GetRecords takes one record of the
//! throughput that all readers of a shard share. A subscription is asked for at a shard that is not there, because one at a
//! shard that is would end the connector's own.

use std::sync::Arc;
use std::time::Duration;

use frazil_kinesis::{Consumer, ConsumerStatus, Error, Kinesis, KinesisClient, Shard, StartAt, StreamFacts};
use frazil_model::{Clock, RetryPolicy, ShardId, SystemRandom};
use frazil_runtime::config::{ConnectorConfig, ConsumerType, SourceConfig};
use frazil_runtime::exit::Exit;
use frazil_runtime::run;

use super::clock;
use super::finding::{Book, Repair, allowing};

/// A call that may heal is tried so often.
const TRIES: u32 = 3;
const PAUSES: RetryPolicy = RetryPolicy {
    first: Duration::from_millis(500),
    cap: Duration::from_secs(2),
};
/// The most of one page: a record of 10 MiB in base64, and room.
const PAGE_BYTES: usize = 32 * 1024 * 1024;
/// The first shard that a stream has; whether it is still there or not, asking for it proves the right.
const FIRST_SHARD: &str = "shardId-000000000000";
/// A shard that no stream has.
const NO_SHARD: &str = "shardId-999999999999";

/// What the other parts go by.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The stream.
    pub(super) facts: Option<StreamFacts>,
    /// How many shards take records.
    pub(super) open_shards: Option<usize>,
    /// AWS took neither credentials nor calls: nothing further need be asked of it.
    pub(super) lost: bool,
}

/// The ARNs that policies name.
#[derive(Debug)]
struct Arns {
    stream: String,
    consumers: String,
}

/// The partition of a region (AWS Identity and Access Management user guide, "Amazon Resource Names").
pub(super) fn partition(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

impl Arns {
    fn of(source: &SourceConfig, facts: Option<&StreamFacts>) -> Self {
        let known = facts.map(|facts| facts.description.arn.clone());
        let stream = known.or_else(|| source.stream_arn.clone()).unwrap_or_else(|| {
            let region = &source.region;
            format!(
                "arn:{}:kinesis:{region}:*:stream/{}",
                partition(region),
                source.stream
            )
        });
        let consumers = format!("{stream}/consumer/*");
        Self { stream, consumers }
    }
}

/// Tries a call again while it may heal.
async fn patiently<T, F>(clock: &Arc<dyn Clock>, work: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut pauses = PAUSES.start();
    loop {
        match work().await {
            Err(error) if error.kind().may_heal() && pauses.failures() + 1 < TRIES => {
                pauses.wait(&**clock, &SystemRandom).await;
            }
            done => return done,
        }
    }
}

pub(super) async fn look(book: &mut Book, connector: &ConnectorConfig, clock: &Arc<dyn Clock>) -> Seen {
    let source = &connector.source;
    let mut seen = Seen::default();
    let kinesis = match run::kinesis(source, clock).await {
        Ok(kinesis) => kinesis,
        Err(error) => {
            seen.lost = true;
            let text = error.to_string();
            book.refused(
                run::exit_of(&error),
                "aws.reach",
                &source.region,
                &text,
                Vec::new(),
            );
            return seen;
        }
    };
    let asked_ms = clock.wall_ms();
    let date = kinesis.service_date().await;
    match date {
        Ok(date) => {
            let date = date.as_deref();
            clock::judge(book, "aws.clock", &source.region, date, asked_ms, &**clock);
        }
        Err(error) => {
            seen.lost = true;
            refuse(book, "aws.reach", &source.region, error, Vec::new());
            return seen;
        }
    }
    let mut look = Look {
        book,
        source,
        kinesis: &kinesis,
        clock,
        arns: Arns::of(source, None),
    };
    look.stream(&mut seen).await;
    if seen.lost {
        return seen;
    }
    let shards = look.shards(&mut seen).await;
    look.read(seen.facts.as_ref(), &shards).await;
    if source.consumer_type == ConsumerType::EnhancedFanOut {
        look.fan_out().await;
    }
    seen
}

fn refuse(book: &mut Book, id: &'static str, place: &str, error: Error, repair: Vec<Repair>) {
    let text = error.to_string();
    book.refused(run::exit_of(&error.into()), id, place, &text, repair);
}

struct Look<'a> {
    book: &'a mut Book,
    source: &'a SourceConfig,
    kinesis: &'a KinesisClient,
    clock: &'a Arc<dyn Clock>,
    arns: Arns,
}

impl Look<'_> {
    /// The first call: it tells whether there are credentials at all.
    async fn stream(&mut self, seen: &mut Seen) {
        let facts = patiently(self.clock, || self.kinesis.facts()).await;
        let stream = self.source.stream.to_string();
        let region = &self.source.region;
        match facts {
            Err(error @ (Error::Unreachable { .. } | Error::ServerFault { .. })) => {
                seen.lost = true;
                refuse(self.book, "aws.reach", region, error, Vec::new());
                return;
            }
            Err(error @ Error::BadCredentials { .. }) => {
                seen.lost = true;
                let step = "give the connector credentials that AWS takes (`source.credentials`)".to_owned();
                refuse(
                    self.book,
                    "aws.credentials",
                    region,
                    error,
                    vec![Repair::Step(step)],
                );
                return;
            }
            _ => self.book.proved("aws.credentials", region, "AWS takes them"),
        }
        let facts = match facts {
            Err(error @ Error::Missing { .. }) => {
                self.right("DescribeStream", Ok(()));
                let make = format!(
                    "aws kinesis create-stream --stream-name {stream} --stream-mode-details StreamMode=ON_DEMAND --region {region}"
                );
                refuse(self.book, "aws.stream", &stream, error, vec![Repair::Shell(make)]);
                return;
            }
            Err(error) => {
                self.right("DescribeStream", Err(error));
                let what = "what it is cannot be asked without kinesis:DescribeStream";
                self.book.unknowable("aws.stream", &stream, what);
                return;
            }
            Ok(facts) => facts,
        };
        self.arns = Arns::of(self.source, Some(&facts));
        self.right("DescribeStream", Ok(()));
        let description = &facts.description;
        let mode = match facts.on_demand {
            Some(true) => "on-demand",
            Some(false) => "provisioned",
            None => "of an unknown capacity mode",
        };
        let key = match &facts.kms_key {
            Some(key) => format!("encrypted with {key}"),
            None => "not encrypted".to_owned(),
        };
        let (status, hours) = (&description.status, description.retention_hours);
        let what = format!("{status}, {mode}, records are kept for {hours} h, {key}");
        if description.is_readable() {
            self.book.proved("aws.stream", &stream, &what);
        } else {
            let step = format!("wait until stream {stream} is ACTIVE");
            self.book
                .warning("aws.stream", &stream, &what, vec![Repair::Step(step)]);
        }
        seen.facts = Some(facts);
    }

    /// What is said of an action; whether it may be taken.
    fn right(&mut self, action: &'static str, outcome: Result<(), Error>) -> bool {
        let id = format!("kinesis:{action}");
        let resource = match action {
            "SubscribeToShard" => &self.arns.consumers,
            _ => &self.arns.stream,
        };
        match outcome {
            Ok(()) => {
                self.book.proved(id, resource, "allowed");
                true
            }
            Err(error @ Error::AccessDenied { .. }) => {
                let text = error.to_string();
                let repair = vec![allowing(&id, resource, &text)];
                self.book.refused(Exit::Unauthorized, id, resource, &text, repair);
                false
            }
            Err(error) => {
                self.book.unknowable(id, resource, &error.to_string());
                false
            }
        }
    }

    async fn shards(&mut self, seen: &mut Seen) -> Vec<Shard> {
        let listed = patiently(self.clock, || self.kinesis.list_shards()).await;
        let stream = self.source.stream.to_string();
        match listed {
            Ok(shards) => {
                self.right("ListShards", Ok(()));
                let open = shards.iter().filter(|shard| !shard.is_closed()).count();
                let closed = shards.len() - open;
                let what = format!("{open} take records, {closed} are closed and not forgotten yet");
                self.book.proved("aws.shards", &stream, &what);
                seen.open_shards = Some(open);
                shards
            }
            Err(Error::Missing { .. }) => {
                self.right("ListShards", Ok(()));
                Vec::new()
            }
            Err(error) => {
                self.right("ListShards", Err(error));
                Vec::new()
            }
        }
    }

    async fn read(&mut self, facts: Option<&StreamFacts>, shards: &[Shard]) {
        let open = shards.iter().find(|shard| !shard.is_closed()).or(shards.first());
        let shard = match open {
            Some(shard) => shard.id.clone(),
            None => ShardId::new(FIRST_SHARD).expect("a shard's id"),
        };
        let at = StartAt::TrimHorizon;
        let iterator = patiently(self.clock, || self.kinesis.shard_iterator(&shard, &at)).await;
        let iterator = match iterator {
            Ok(iterator) => iterator,
            Err(error) => {
                let allowed = matches!(error, Error::Missing { .. });
                self.right("GetShardIterator", if allowed { Ok(()) } else { Err(error) });
                let what = "it cannot be tried without an iterator";
                let stream = self.arns.stream.clone();
                self.book.unknowable("kinesis:GetRecords", &stream, what);
                return;
            }
        };
        self.right("GetShardIterator", Ok(()));
        let page = patiently(self.clock, || self.kinesis.get_records(&iterator, 1, PAGE_BYTES)).await;
        match page {
            Ok(_) | Err(Error::PageTooLarge { .. } | Error::ExpiredIterator) => {
                self.right("GetRecords", Ok(()));
                self.key(facts, None);
            }
            Err(error) if is_of_key(&error) => {
                self.right("GetRecords", Ok(()));
                self.key(facts, Some(error));
            }
            Err(error) => {
                self.right("GetRecords", Err(error));
            }
        }
    }

    /// What is said of the key of an encrypted stream.
    fn key(&mut self, facts: Option<&StreamFacts>, error: Option<Error>) {
        let key = facts.and_then(|facts| facts.kms_key.as_deref());
        match (key, error) {
            (None, None) => {}
            (Some(key), None) => self.book.proved("aws.key", key, "records can be decrypted"),
            (key, Some(error)) => {
                let resource = key
                    .filter(|key| key.starts_with("arn:"))
                    .unwrap_or("*")
                    .to_owned();
                let text = error.to_string();
                let repair = match error {
                    Error::KeyDenied { .. } => allowing("kms:Decrypt", &resource, &text),
                    _ => Repair::Step(format!(
                        "look at the key of stream {} in AWS KMS: it must be enabled",
                        self.source.stream
                    )),
                };
                let place = key.unwrap_or("the stream's key");
                self.book.refused(
                    Exit::Unauthorized,
                    "aws.key",
                    place,
                    &error.to_string(),
                    vec![repair],
                );
            }
        }
    }

    async fn fan_out(&mut self) {
        let stream_arn = self.arns.stream.clone();
        let name = &self.source.application_name;
        let place = format!("consumer {name}");
        let found = patiently(self.clock, || self.kinesis.describe_consumer(&stream_arn, name)).await;
        let consumer = match found {
            Ok(consumer) => consumer,
            Err(Error::Missing { .. }) => {
                self.right("DescribeStreamConsumer", Ok(()));
                let what = "not registered; the first start registers it";
                self.book.proved("aws.consumer", &place, what);
                let untried = "it cannot be tried before the consumer is registered";
                for (action, on) in [
                    ("kinesis:RegisterStreamConsumer", &self.arns.stream),
                    ("kinesis:SubscribeToShard", &self.arns.consumers),
                ] {
                    self.book.unknowable(action, on, untried);
                }
                return;
            }
            Err(error) => {
                self.right("DescribeStreamConsumer", Err(error));
                let untried = "it cannot be tried without kinesis:DescribeStreamConsumer";
                for action in ["kinesis:RegisterStreamConsumer", "kinesis:SubscribeToShard"] {
                    self.book.unknowable(action, &stream_arn, untried);
                }
                return;
            }
        };
        self.right("DescribeStreamConsumer", Ok(()));
        self.consumer(&place, &consumer);
        let registered = patiently(self.clock, || async {
            match self.kinesis.register_consumer(&stream_arn, name).await {
                Err(Error::InUse { .. }) => Ok(()),
                other => other.map(|_| ()),
            }
        });
        let registered = registered.await;
        self.right("RegisterStreamConsumer", registered);
        let nowhere = ShardId::new(NO_SHARD).expect("a shard's id");
        let subscribed = patiently(self.clock, || async {
            let at = StartAt::TrimHorizon;
            match self.kinesis.subscribe(&consumer.arn, &nowhere, &at).await {
                Err(Error::Missing { .. } | Error::Refused { .. } | Error::InUse { .. }) => Ok(()),
                other => other.map(|_| ()),
            }
        });
        let subscribed = subscribed.await;
        self.right("SubscribeToShard", subscribed);
    }

    fn consumer(&mut self, place: &str, consumer: &Consumer) {
        let (is, next) = match consumer.status {
            ConsumerStatus::Active => {
                return self.book.proved("aws.consumer", place, "ACTIVE");
            }
            ConsumerStatus::Creating => ("CREATING", "wait until the consumer is ACTIVE"),
            ConsumerStatus::Deleting => (
                "DELETING; the next start registers it anew",
                "wait until the consumer is gone",
            ),
        };
        self.book
            .warning("aws.consumer", place, is, vec![Repair::Step(next.to_owned())]);
    }
}

/// Whether the stream's key is in the way (Kinesis API reference, `GetRecords`, errors).
fn is_of_key(error: &Error) -> bool {
    match error {
        Error::KeyDenied { .. } => true,
        Error::Refused { code, .. } => code.starts_with("KMS"),
        _ => false,
    }
}
