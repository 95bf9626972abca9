//! How AWS services are reached: region, kind of endpoint, proxy, trusted authorities.
//!
//! The same holds for every client of a connector: the SDK's, which are given an HTTP client where one of these is configured,
//! and our own of GetRecords. Services on loopback are reached directly, whatever is configured. Without a proxy of the
//! configuration those of the environment count (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`).
//!
//! Which address a service has is the SDK's to say (AWS General Reference, "Amazon Kinesis Data Streams endpoints and
//! quotas"): with FIPS, dual-stack, and, where the stream is named by its ARN, the endpoint of its account.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use aws_config::{Region, SdkConfig};
use aws_sdk_kinesis::config::SharedHttpClient;
use aws_sdk_kinesis::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use frazil_model::Secret;
use url::Url;

use super::is_loopback;
use crate::error::Error;

/// How AWS services are reached.
#[derive(Debug, Clone)]
pub struct Reach {
    /// The region.
    pub region: String,
    /// Endpoints with FIPS 140 validated cryptography.
    pub use_fips: bool,
    /// Endpoints with IPv4 and IPv6.
    pub use_dual_stack: bool,
    /// A proxy for everything that is not on loopback: `http://user:password@host:port`. It may hold a password.
    pub proxy: Option<Secret>,
    /// Certificates (PEM) to trust beside the usual authorities.
    pub ca_pem: Option<Vec<u8>>,
}

/// Those of EC2 and of containers (AWS SDKs and Tools reference guide, "IMDS credential provider", "Container credential
/// provider"), and what is on this machine.
const METADATA_SERVICES: &str =
    "169.254.169.254,169.254.170.2,169.254.170.23,fd00:ec2::254,fd00:ec2::23,127.0.0.0/8,::1,localhost";

/// A proxy's address, and user and password.
type ProxyParts = (Url, Option<(String, String)>);

impl Reach {
    /// A region's usual endpoints, as the environment reaches them.
    #[must_use]
    pub fn region(region: &str) -> Self {
        Self {
            region: region.to_owned(),
            use_fips: false,
            use_dual_stack: false,
            proxy: None,
            ca_pem: None,
        }
    }

    /// Whether an HTTP client other than the SDK's usual one is needed.
    fn is_unusual(&self) -> bool {
        self.proxy.is_some() || self.ca_pem.is_some()
    }

    /// Tries what the SDK takes for granted: a proxy's address, and certificates that can be read.
    ///
    /// # Errors
    /// [`Error::BadConfig`], without the proxy's password.
    pub(super) fn check(&self) -> Result<(), Error> {
        let http = self.reqwest("https://kinesis.invalid", reqwest::Client::builder())?;
        let built = http.build();
        built.map_err(|error| {
            Error::BadConfig(format!("the certificates of ca_file cannot be used: {error}"))
        })?;
        self.proxy_config().map(|_| ())
    }

    /// The proxy's address, and who uses it, percent-encoded.
    fn proxy_parts(&self) -> Result<Option<ProxyParts>, Error> {
        let Some(proxy) = &self.proxy else { return Ok(None) };
        let parsed = Url::parse(proxy.reveal()).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https") && url.has_host() && matches!(url.path(), "" | "/")
        });
        // Not what it is: it may hold a password.
        let no_address =
            || Error::BadConfig("`proxy` is no address such as http://proxy.example:3128".to_owned());
        let mut url = parsed.ok_or_else(no_address)?;
        let user = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => Some((user.to_owned(), password.unwrap_or_default().to_owned())),
        };
        let is_text = |(user, password): &(String, String)| {
            percent_decoded(user).is_some() && percent_decoded(password).is_some()
        };
        if user.as_ref().is_some_and(|user| !is_text(user)) {
            return Err(no_address());
        }
        url.set_username("").map_err(|()| no_address())?;
        url.set_password(None).map_err(|()| no_address())?;
        Ok(Some((url, user)))
    }

    fn proxy_config(&self) -> Result<ProxyConfig, Error> {
        let Some((url, user)) = self.proxy_parts()? else {
            return Ok(ProxyConfig::from_env());
        };
        let config = ProxyConfig::all(url.as_str())
            .map_err(|error| Error::BadConfig(format!("`proxy` cannot be used: {error}")))?;
        Ok(match user {
            // It puts them into an address again.
            Some((user, password)) => config.with_basic_auth(user, password),
            None => config,
        })
    }

    /// Gives an HTTP client of ours these settings.
    pub(crate) fn reqwest(
        &self,
        address: &str,
        mut http: reqwest::ClientBuilder,
    ) -> Result<reqwest::ClientBuilder, Error> {
        if is_loopback(address) {
            http = http.no_proxy();
        } else if let Some((url, user)) = self.proxy_parts()? {
            let unusable =
                |error: reqwest::Error| Error::BadConfig(format!("`proxy` cannot be used: {error}"));
            let mut proxy = reqwest::Proxy::all(url.as_str()).map_err(unusable)?;
            if let Some((user, password)) = user {
                let decoded = |text: &str| percent_decoded(text).unwrap_or_default();
                proxy = proxy.basic_auth(&decoded(&user), &decoded(&password));
            }
            http = http.proxy(proxy);
        }
        if let Some(pem) = &self.ca_pem {
            let bundle = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|error| Error::BadConfig(format!("ca_file cannot be read as PEM: {error}")))?;
            if bundle.is_empty() {
                return Err(Error::BadConfig("ca_file holds no certificate".to_owned()));
            }
            for certificate in bundle {
                http = http.add_root_certificate(certificate);
            }
        }
        Ok(http)
    }

    /// The SDK's settings, with an HTTP client of their own where one is needed.
    pub(super) fn applied(&self, config: SdkConfig, on_loopback: bool) -> Result<SdkConfig, Error> {
        let config = config
            .into_builder()
            .region(Region::new(self.region.clone()))
            .use_fips(self.use_fips)
            .use_dual_stack(self.use_dual_stack);
        if !on_loopback && !self.is_unusual() {
            return Ok(config.build());
        }
        let proxy = if on_loopback {
            ProxyConfig::disabled()
        } else {
            self.proxy_config()?
        };
        Ok(config.http_client(self.http_client(proxy)?).build())
    }

    /// What asks a token service and metadata services for keys; none where the SDK's usual client will do.
    pub(super) fn http_client_beside_metadata(&self) -> Result<Option<SharedHttpClient>, Error> {
        if !self.is_unusual() {
            return Ok(None);
        }
        // Has no effect on a proxy of the environment, which has its own list.
        let proxy = self.proxy_config()?.no_proxy(METADATA_SERVICES);
        self.http_client(proxy).map(Some)
    }

    fn http_client(&self, proxy: ProxyConfig) -> Result<SharedHttpClient, Error> {
        let mut trust = TrustStore::default();
        if let Some(pem) = &self.ca_pem {
            trust.add_pem_certificate(pem.clone());
        }
        let tls = TlsContext::builder().with_trust_store(trust).build();
        let tls = tls.map_err(|error| Error::BadConfig(format!("no TLS settings: {error}")))?;
        Ok(
            Builder::new().build_with_connector_fn(move |settings, components| {
                let mut connector = Connector::builder().proxy_config(proxy.clone());
                connector.set_connector_settings(settings.cloned());
                connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
                connector
                    .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
                    .tls_context(tls.clone())
                    .build()
            }),
        )
    }

    /// Where GetRecords goes.
    pub(crate) fn data_endpoint(&self, stream_arn: Option<&str>) -> Result<String, Error> {
        let bad = |why: String| Error::BadConfig(format!("no address of Kinesis in {}: {why}", self.region));
        let params = Params::builder()
            .region(&self.region)
            .use_fips(self.use_fips)
            .use_dual_stack(self.use_dual_stack)
            .operation_type("data")
            .set_stream_arn(stream_arn.map(ToOwned::to_owned))
            .build()
            .map_err(|error| bad(error.to_string()))?;
        let resolver = DefaultResolver::new();
        let resolved = pin!(resolver.resolve_endpoint(&params));
        match resolved.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(endpoint)) => Ok(endpoint.url().to_owned()),
            Poll::Ready(Err(error)) => Err(bad(error.to_string())),
            Poll::Pending => Err(bad("the SDK did not say".to_owned())),
        }
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail.get(2..)?;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_those_of_the_kind_and_of_the_account() {
        let arn = "arn:aws:kinesis:eu-central-1:123456789012:stream/s";
        let cases = [
            (
                "eu-central-1",
                false,
                false,
                None,
                "https://kinesis.eu-central-1.amazonaws.com",
            ),
            (
                "us-east-1",
                true,
                false,
                None,
                "https://kinesis-fips.us-east-1.amazonaws.com",
            ),
            (
                "eu-central-1",
                false,
                true,
                None,
                "https://kinesis.eu-central-1.api.aws",
            ),
            (
                "us-east-1",
                true,
                true,
                None,
                "https://kinesis-fips.us-east-1.api.aws",
            ),
            (
                "cn-north-1",
                false,
                false,
                None,
                "https://kinesis.cn-north-1.amazonaws.com.cn",
            ),
            (
                "eu-central-1",
                false,
                false,
                Some(arn),
                "https://123456789012.data-kinesis.eu-central-1.amazonaws.com",
            ),
        ];
        for (region, use_fips, use_dual_stack, stream, address) in cases {
            let reach = Reach {
                use_fips,
                use_dual_stack,
                ..Reach::region(region)
            };
            assert_eq!(
                reach.data_endpoint(stream).expect("an address"),
                address,
                "{region}"
            );
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_without_the_password() {
        for proxy in [
            "socks5://u:canary@h:1",
            "nonsense canary",
            "http://u:canary@",
            "http://u:canary%zz@h:1",
        ] {
            let reach = Reach {
                proxy: Some(Secret::new(proxy)),
                ..Reach::region("eu-central-1")
            };
            let error = reach.check().expect_err(proxy).to_string();
            assert!(!error.contains("canary"), "{error}");
            assert!(!format!("{reach:?}").contains("canary"));
        }
        let broken = b"-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n";
        for pem in [&broken[..], b"", b"no PEM"] {
            let reach = Reach {
                ca_pem: Some(pem.to_vec()),
                ..Reach::region("eu-central-1")
            };
            assert!(reach.check().is_err(), "{}", String::from_utf8_lossy(pem));
        }
        assert!(Reach::region("eu-central-1").check().is_ok());
    }
}
