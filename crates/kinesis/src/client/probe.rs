//! What a check asks of a stream beyond the door: facts that reading does not need, and what the service's clock says.

use aws_sdk_kinesis::types::{EncryptionType, StreamMode};
use reqwest::header::DATE;

use super::{KinesisClient, unreachable};
use crate::aws::keys::renewing;
use crate::door::StreamDescription;
use crate::error::Error;

/// How a stream is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamFacts {
    /// What every reader asks.
    pub description: StreamDescription,
    /// Whether its capacity is on demand; none where the service does not say.
    pub on_demand: Option<bool>,
    /// The KMS key that its records are encrypted with.
    pub kms_key: Option<String>,
}

impl KinesisClient {
    /// What the stream is and how it is kept: one DescribeStream.
    ///
    /// # Errors
    /// Those of [`crate::Kinesis::describe_stream`].
    pub async fn facts(&self) -> Result<StreamFacts, Error> {
        let described = renewing(&self.keys, || self.calls.described()).await?;
        let mode = described
            .stream_mode_details()
            .map(|details| details.stream_mode());
        let is_encrypted = described.encryption_type() == Some(&EncryptionType::Kms);
        let key = described.key_id().filter(|_| is_encrypted);
        Ok(StreamFacts {
            description: self.calls.description(&described),
            on_demand: mode.map(|mode| *mode == StreamMode::OnDemand),
            kms_key: key.map(ToOwned::to_owned),
        })
    }

    /// The `Date` of an answer of the service to a plain request, as HTTP writes it; none where it has none.
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    pub async fn service_date(&self) -> Result<Option<String>, Error> {
        let raw = &self.calls.raw;
        let answer = raw.http.get(raw.address.clone()).send().await;
        let answer = answer.map_err(|error| unreachable("a plain request", &error))?;
        let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
        Ok(date.map(ToOwned::to_owned))
    }
}
