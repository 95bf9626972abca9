//! The consumer of enhanced fan-out: registered once for an application, and shared by all its workers and shards.
//!
//! How it works: the consumer is looked up by name first. One that is there is used, one that is being made is waited for,
//! one that is being removed is waited for until it is gone, and only then is a new one registered; of two workers that
//! register at once, the second one finds the first one's. Shards whose subscription finds no consumer any more ask for it
//! again here: one of them looks, the others wait for what it finds.
//!
//! What it guarantees: each wait has a bound and jitter, and is on the clock; dropping a call that has not ended leaves
//! nothing behind that the next call would not find. The ARN is never guessed: a consumer that is registered anew has another
//! (Kinesis API reference, `ConsumerDescription`).
//!
//! What it does not: it never removes the consumer by itself, however the process ends, because other workers may read
//! with it. That is [`FanOutConsumer::deregister`], and somebody has to ask for it. Errors that heal by themselves are tried
//! again by the caller.

use std::sync::Arc;
use std::time::Duration;

use frazil_model::{Backoff, Clock, ErrorKind, Event, Events, Instant, Random, RetryPolicy};
use tokio::sync::Mutex;

use crate::door::{ConsumerId, ConsumerStatus, Kinesis, StreamDescription};
use crate::error::Error;

/// How long a consumer may take to become active, its name to become free, or the stream to have room for it.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// Between two looks at a consumer that is not ready: 20 looks a second for a stream are allowed, to all workers together.
const LOOKS: RetryPolicy = RetryPolicy {
    first: Duration::from_secs(1),
    cap: Duration::from_secs(5),
};
/// Between two searches for a consumer that was lost.
const SEARCHES: RetryPolicy = RetryPolicy {
    first: Duration::from_secs(1),
    cap: Duration::from_secs(60),
};
/// A consumer that was there for this long was not lost again by the same cause.
const SETTLED: Duration = Duration::from_secs(5 * 60);

/// The consumer of one application on one stream.
#[derive(Debug)]
pub struct FanOutConsumer {
    kinesis: Arc<dyn Kinesis>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    events: Events,
    stream_arn: String,
    name: String,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    arn: Option<String>,
    searches: Backoff,
    found_at: Instant,
    next_search: Instant,
}

enum Found {
    Ready(String),
    NotYet(&'static str),
    NoRoom(String),
}

impl FanOutConsumer {
    /// A consumer of this name; nothing is asked yet. A name has 1 to 128 characters of `a-z`, `A-Z`, `0-9`, `_`, `.`, `-`.
    #[must_use]
    pub fn new(
        kinesis: Arc<dyn Kinesis>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        events: Events,
        stream: &StreamDescription,
        name: &str,
    ) -> Self {
        let known = Mutex::new(Known {
            arn: None,
            searches: SEARCHES.start(),
            found_at: clock.now(),
            next_search: clock.now(),
        });
        Self {
            kinesis,
            clock,
            random,
            events,
            stream_arn: stream.arn.clone(),
            name: name.to_owned(),
            known,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its ARN, once it is active; it is registered where it is not there.
    ///
    /// # Errors
    /// [`Error::TooManyConsumers`] where the stream has no room for it, [`Error::ConsumerNotReady`] where it is not active
    /// after 120 s, and those of the calls.
    pub async fn arn(&self) -> Result<String, Error> {
        let mut known = self.known.lock().await;
        if let Some(arn) = &known.arn {
            return Ok(arn.clone());
        }
        self.search(&mut known).await
    }

    /// Its ARN, where nothing is found under the one that was given out before. The same again means that the consumer is
    /// there, and something else is missing.
    ///
    /// # Errors
    /// Those of [`FanOutConsumer::arn`].
    pub async fn arn_instead_of(&self, stale: &str) -> Result<String, Error> {
        let mut known = self.known.lock().await;
        if let Some(other) = known.arn.as_ref().filter(|arn| *arn != stale) {
            return Ok(other.clone());
        }
        self.search(&mut known).await
    }

    async fn search(&self, known: &mut Known) -> Result<String, Error> {
        self.clock.sleep(known.next_search.since(self.clock.now())).await;
        let now = self.clock.now();
        if now.since(known.found_at) > SETTLED {
            known.searches.reset();
        }
        // Noted before the search, so that one that fails or is given up counts as well.
        known.next_search = now + known.searches.next_wait(&*self.random);
        known.arn = None;
        let arn = self.find().await?;
        known.found_at = self.clock.now();
        known.arn = Some(arn.clone());
        Ok(arn)
    }

    async fn find(&self) -> Result<String, Error> {
        let begun = self.clock.now();
        let mut looks = LOOKS.start();
        loop {
            let found = self.look().await?;
            let name = self.name.clone();
            let waited = self.clock.now().since(begun);
            let not_yet = match found {
                Found::Ready(arn) => return Ok(arn),
                Found::NotYet(status) => Error::ConsumerNotReady {
                    name,
                    status,
                    waited_s: waited.as_secs(),
                },
                Found::NoRoom(message) => {
                    let error = Error::TooManyConsumers { name, message };
                    self.tell(&error, looks.failures() + 1);
                    error
                }
            };
            if waited >= READY_LIMIT {
                return Err(not_yet);
            }
            looks.wait(&*self.clock, &*self.random).await;
        }
    }

    async fn look(&self) -> Result<Found, Error> {
        let described = self.kinesis.describe_consumer(&self.stream_arn, &self.name);
        let consumer = match described.await {
            Ok(consumer) => consumer,
            Err(Error::Missing { .. }) => {
                let registered = self.kinesis.register_consumer(&self.stream_arn, &self.name);
                match registered.await {
                    Ok(consumer) => consumer,
                    // Another worker was faster; the next look finds its consumer.
                    Err(Error::InUse { .. }) => return Ok(Found::NotYet("CREATING")),
                    // The service has one code for "too many" and "too fast"; only waiting tells them apart.
                    Err(Error::Throttled { message, .. }) => return Ok(Found::NoRoom(message)),
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        };
        Ok(match consumer.status {
            ConsumerStatus::Active => Found::Ready(consumer.arn),
            ConsumerStatus::Creating => Found::NotYet("CREATING"),
            ConsumerStatus::Deleting => Found::NotYet("DELETING"),
        })
    }

    fn tell(&self, error: &Error, failures: u32) {
        self.events.emit(Event::CallFailed {
            shard: None,
            room: "kinesis",
            call: "RegisterStreamConsumer",
            kind: ErrorKind::SlowDown,
            error: error.to_string(),
            failures,
        });
    }

    /// Removes the consumer, by name, so that it costs nothing any more; whether or not this process ever used it. One that
    /// is not there, or is being removed already, is as good as removed. Every worker that reads with it loses its
    /// subscriptions, and registers it anew if it goes on.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn deregister(&self) -> Result<(), Error> {
        self.known.lock().await.arn = None;
        deregister_consumer(&*self.kinesis, &self.stream_arn, &self.name).await
    }
}

/// Removes a consumer of the stream, by name. One that is not there, or is being removed already, is as good as removed.
///
/// # Errors
/// Those of the call.
pub async fn deregister_consumer(kinesis: &dyn Kinesis, stream_arn: &str, name: &str) -> Result<(), Error> {
    match kinesis
        .deregister_consumer(ConsumerId::Name { stream_arn, name })
        .await
    {
        Err(Error::Missing { .. }) | Ok(()) => Ok(()),
        Err(Error::InUse { call, message }) => {
            let there = kinesis.describe_consumer(stream_arn, name).await;
            match there.map(|consumer| consumer.status) {
                Ok(ConsumerStatus::Deleting) | Err(Error::Missing { .. }) => Ok(()),
                Ok(_) => Err(Error::InUse { call, message }),
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
