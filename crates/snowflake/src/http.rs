//! One HTTP request and its answer, bounded in time and bytes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use frazil_model::Secret;
use reqwest::RequestBuilder;
use reqwest::header::RETRY_AFTER;
use url::{Host, Url};

use crate::client::SnowflakeConfig;
use crate::error::Error;
use crate::service_clock::ServiceClock;

/// Status of 1,000 channels is about 500 KB; a partition of a query's result may be 16 MB.
const LONGEST_ANSWER: usize = 64 * 1024 * 1024;
/// The time after which a call without an answer counts as lost (as the official SDK has it).
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A client for an address: loopback is reached directly, everything else through the proxy of the configuration, or else
/// that of the environment.
pub(crate) fn client(address: &Url, config: &SnowflakeConfig) -> Result<reqwest::Client, Error> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("frazil/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(CALL_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none());
    let loopback = match address.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    };
    if loopback {
        builder = builder.no_proxy();
    } else if let Some(proxy) = &config.proxy {
        builder = builder.proxy(of_address(proxy)?);
    }
    if let Some(path) = &config.ca_file {
        let bad = |detail: String| {
            Error::BadConfig(format!(
                "the certificate {} cannot be used: {detail}",
                path.display()
            ))
        };
        let pem = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        let certificates =
            reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| bad(error.to_string()))?;
        for certificate in certificates {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder
        .build()
        .map_err(|error| Error::BadConfig(format!("no HTTP client can be made: {error}")))
}

/// A proxy by its address.
fn of_address(proxy: &Secret) -> Result<reqwest::Proxy, Error> {
    let url = Url::parse(proxy.reveal()).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https") && url.has_host() && matches!(url.path(), "" | "/")
    });
    // Not what it is: it may hold a password.
    url.and_then(|url| reqwest::Proxy::all(url).ok())
        .ok_or_else(|| Error::BadConfig("`proxy` is no address such as http://proxy.example:3128".to_owned()))
}

pub(crate) fn unreachable(address: &str, error: &reqwest::Error) -> Error {
    // The error's own text may hold the request's address with its query; what it came from does not.
    let mut source: &dyn std::error::Error = error;
    while let Some(inner) = source.source() {
        source = inner;
    }
    let detail = if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        source.to_string()
    };
    Error::Unreachable {
        url: address.to_owned(),
        detail,
    }
}

/// Sends and reads the answer. Every answer of the service is `Ok`, whatever its status. The
/// clock is that of the service that answers.
pub(crate) async fn send(
    request: RequestBuilder,
    address: &str,
    clock: Option<&ServiceClock>,
) -> Result<Answer, Error> {
    let request = request.header("Accept", "application/json");
    let sent = clock.map(|clock| (clock, clock.moment()));
    let mut answer = request
        .send()
        .await
        .map_err(|error| unreachable(address, &error))?;
    let status = answer.status().as_u16();
    if let Some((clock, sent)) = sent {
        clock.note(sent, answer.headers());
    }
    let retry_after = answer.headers().get(RETRY_AFTER);
    let retry_after = retry_after
        .and_then(|v| v.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let mut body = BytesMut::new();
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(|error| unreachable(address, &error))?
    {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            let detail = format!("an answer of more than {LONGEST_ANSWER} bytes");
            return Err(Error::Unreachable {
                url: address.to_owned(),
                detail,
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status,
        retry_after,
        body: body.freeze(),
    })
}
