//! Status answers that take long, while the channel is opened again: who watches sees none of an older opening.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use frazil_model::{Clock, Events, PausedClock, Random, SeededRandom};
use frazil_snowflake::{
    Append, ChannelStatus, ContinuationToken, Error, Opened, Snowpipe, StatusPoller, StatusWatch, TableFacts,
};

use crate::service::NAME;

/// Answers with the number of the opening at the time of the question, after a while.
#[derive(Debug)]
struct Slow {
    clock: PausedClock,
    opening: AtomicI64,
    takes_ms: AtomicU64,
}

#[async_trait]
impl Snowpipe for Slow {
    async fn open_channel(&self, _: &str, _: bool) -> Result<Opened, Error> {
        unreachable!("only status is asked")
    }

    async fn append_rows(&self, _: &str, _: &Append) -> Result<ContinuationToken, Error> {
        unreachable!("only status is asked")
    }

    async fn channel_status(&self, channels: &[String]) -> Result<HashMap<String, ChannelStatus>, Error> {
        let status = ChannelStatus {
            code: "SUCCESS".to_owned(),
            created_on_ms: self.opening.load(Ordering::Relaxed),
            ..ChannelStatus::default()
        };
        let takes = Duration::from_millis(self.takes_ms.load(Ordering::Relaxed));
        self.clock.sleep(takes).await;
        Ok(channels
            .iter()
            .map(|name| (name.clone(), status.clone()))
            .collect())
    }

    async fn drop_channel(&self, _: &str) -> Result<(), Error> {
        unreachable!("only status is asked")
    }

    async fn table(&self) -> Result<Option<TableFacts>, Error> {
        unreachable!("only status is asked")
    }
}

async fn shown(watch: &mut StatusWatch) -> Option<ChannelStatus> {
    tokio::select! {
        biased;
        status = watch.next() => Some(status),
        () = std::future::ready(()) => None,
    }
}

#[tokio::test]
async fn an_answer_to_a_question_of_an_older_opening_is_not_shown() {
    let (mut seen, mut openings) = (0, 0);
    for seed in 0..60 {
        let (random, clock) = (SeededRandom::new(seed), PausedClock::default());
        let slow = Arc::new(Slow {
            clock: clock.clone(),
            opening: AtomicI64::new(0),
            takes_ms: AtomicU64::new(100),
        });
        let (pipe, events) = (Arc::clone(&slow), Events::new("c", Vec::new()));
        let random_of_poller = Arc::new(SeededRandom::new(seed));
        let poller = StatusPoller::start(pipe, Arc::new(clock.clone()), random_of_poller, events);
        let mut watch = poller.watch(NAME);
        watch.want(true);
        for _ in 0..60 {
            match random.below(4) {
                0 => {
                    openings += 1;
                    slow.opening.fetch_add(1, Ordering::Relaxed);
                    watch = poller.watch(NAME);
                    watch.want(true);
                }
                1 => slow.takes_ms.store(random.below(1500), Ordering::Relaxed),
                _ => clock.advance(Duration::from_millis(random.below(700))).await,
            }
            if let Some(status) = shown(&mut watch).await {
                seen += 1;
                let now = slow.opening.load(Ordering::Relaxed);
                assert_eq!(status.created_on_ms, now, "seed {seed}: of an older opening");
            }
        }
    }
    assert!(
        seen > 300 && openings > 600,
        "{seen} answers, {openings} openings"
    );
}
