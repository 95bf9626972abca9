//! Before the first look: the table is there, has our layout, and is complete.

use std::time::Duration;

use frazil_model::RetryPolicy;

use super::Shared;
use crate::error::Error;
use crate::row;

/// How often a table that is being made is looked at before the start gives up.
const TABLE_LOOKS: u32 = 60;
const TABLE_WAIT: RetryPolicy = RetryPolicy {
    first: Duration::from_millis(500),
    cap: Duration::from_secs(2),
};
impl Shared {
    pub(super) async fn prepare(&self) -> Result<(), Error> {
        let mut backoff = TABLE_WAIT.start();
        loop {
            match self
                .bounded("DescribeTable", self.store.prepare(&self.scope))
                .await
            {
                Err(Error::TableNotReady { .. }) if backoff.failures() < TABLE_LOOKS => {
                    backoff.wait(&*self.clock, &*self.random).await;
                }
                Ok(()) => return self.refuse_unfinished_takeover().await,
                other => return other,
            }
        }
    }

    /// A takeover writes the pin last: a table without one, and with a takeover's traces, lacks rows. To begin on it would be
    /// to begin in wrong places.
    async fn refuse_unfinished_takeover(&self) -> Result<(), Error> {
        if self.row(row::PIN_KEY).await?.is_some() {
            return Ok(());
        }
        let marked = self
            .row(row::MIGRATION_KEY)
            .await?
            .is_some_and(|item| crate::migrate::is_marked(&item));
        let beside = self.store.takeover_unfinished(&self.scope);
        if !marked && !self.bounded("DescribeTable", beside).await? {
            return Ok(());
        }
        Err(Error::Takeover {
            table: self.scope.application.clone(),
            detail: "an earlier takeover was not finished; run it again before anything reads this stream"
                .to_owned(),
        })
    }
}
