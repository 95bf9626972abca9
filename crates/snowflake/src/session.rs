//! The account's own host: requests that carry a proof of who asks.
//!
//! How it works: each request gets a proof ([`crate::auth`]); where it is refused and another can be made, the request is sent
//! once more with that. A refusal says what time the service has, too, so a clock that is wrong costs one refused request.

use std::sync::Arc;

use frazil_model::{Clock, Random};
use reqwest::{Method, RequestBuilder};
use url::Url;

use crate::auth::{Proof, Prover};
use crate::client::SnowflakeConfig;
use crate::error::Error;
use crate::http::{self, Answer};
use crate::service_clock::ServiceClock;
use crate::wire::{self, Asked};

/// What all clients of one configuration share.
pub(crate) struct Session {
    pub(crate) http: reqwest::Client,
    pub(crate) address: Url,
    pub(crate) config: SnowflakeConfig,
    pub(crate) clock: Arc<ServiceClock>,
    pub(crate) random: Arc<dyn Random>,
    prover: Prover,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("address", &self.address.as_str())
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Reads what proves who asks; sends nothing. Blocks on the disk.
    pub(crate) fn new(
        config: SnowflakeConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Arc<Self>, Error> {
        let address = config.address()?;
        let http = http::client(&address, &config)?;
        let clock = Arc::new(ServiceClock::new(clock));
        let prover = Prover::new(&config, &clock, &random)?;
        Ok(Arc::new(Self {
            http,
            address,
            config,
            clock,
            random,
            prover,
        }))
    }

    /// What is asked, for errors.
    pub(crate) fn asked<'a>(&'a self, call: &'static str, channel: &'a str) -> Asked<'a> {
        Asked {
            call,
            channel,
            user: &self.config.user,
            check: self.prover.check(),
        }
    }

    /// A request to the account's host.
    pub(crate) fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.address.clone();
        url.set_path(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.request(method, url)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, Error> {
        self.send_to(&self.address, request).await
    }

    /// Sends to a host of the service, as it is; the address is what an error names.
    pub(crate) async fn send_to(&self, address: &Url, request: RequestBuilder) -> Result<Answer, Error> {
        http::send(request, address.as_str(), Some(&self.clock)).await
    }

    /// Sends with a proof, and once more with another one where it was refused and there is another. What is sent may be
    /// made of the proof.
    pub(crate) async fn ask(
        &self,
        build: impl Fn(&Proof) -> RequestBuilder + Send + Sync,
    ) -> Result<Answer, Error> {
        let proof = self.prover.prove(&self.clock, None).await?;
        let answer = self.send(proof.sign(build(&proof))).await?;
        if !wire::refuses_proof(answer.status, &answer.body) {
            return Ok(answer);
        }
        let other = self.prover.prove(&self.clock, Some(&proof)).await?;
        if !other.differs(&proof) {
            return Ok(answer);
        }
        self.send(other.sign(build(&other))).await
    }
}
