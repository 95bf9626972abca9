//! Clients that reach a service through a proxy, by authorities of their own, at odd addresses.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use frazil_model::{PausedClock, SeededRandom, ShardId, StreamName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::client::KinesisClient;
use crate::door::{Kinesis, StartAt};
use crate::page::ShardIterator;
use crate::producer::Producer;

const HOST: &str = "kinesis.test.invalid";

/// A service that answers each call with an empty success, and remembers the calls.
#[derive(Default)]
struct Service {
    calls: Mutex<Vec<String>>,
}

impl Service {
    async fn serve(&self, mut connection: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
        loop {
            let Some((head, body)) = request(&mut connection).await? else {
                return Ok(());
            };
            let target = header(&head, "x-amz-target").unwrap_or_default();
            let call = target.rsplit('.').next().unwrap_or_default().to_owned();
            let answer = match call.as_str() {
                "GetRecords" => r#"{"Records":[],"MillisBehindLatest":0,"NextShardIterator":"i"}"#,
                "ListShards" => r#"{"Shards":[]}"#,
                "GetShardIterator" => r#"{"ShardIterator":"i"}"#,
                _ => "{}",
            };
            self.calls
                .lock()
                .expect("no panic inside")
                .push(format!("{call} {body}"));
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
                answer.len()
            );
            connection.write_all(format!("{head}{answer}").as_bytes()).await?;
        }
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("no panic inside").clone()
    }
}

async fn request(connection: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Option<(String, String)>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match connection.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => return Ok(None),
        }
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length = header(&head, "content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    connection.read_exact(&mut body).await?;
    Ok(Some((head, String::from_utf8_lossy(&body).into_owned())))
}

fn header(head: &str, name: &str) -> Option<String> {
    let line = head
        .lines()
        .find(|line| line.to_lowercase().starts_with(&format!("{name}:")))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// A TLS server for [`HOST`] and a proxy in front of it that wants a password; the authority's certificate.
struct Beyond {
    service: Arc<Service>,
    proxy: String,
    tunnels: Arc<AtomicUsize>,
    ca_pem: Vec<u8>,
}

impl Beyond {
    async fn start() -> Self {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_key = rcgen::KeyPair::generate().expect("a key");
        let ca = parameters.self_signed(&ca_key).expect("a certificate");
        let issuer = rcgen::Issuer::new(parameters, ca_key);
        let key = rcgen::KeyPair::generate().expect("a key");
        let leaf = rcgen::CertificateParams::new([HOST.to_owned()]).expect("a name");
        let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .expect("a certificate and its key");
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (service, tunnels) = (Arc::<Service>::default(), Arc::<AtomicUsize>::default());
        let beyond = Self {
            service: Arc::clone(&service),
            proxy: format!("http://ada:p%40ss@127.0.0.1:{port}"),
            tunnels: Arc::clone(&tunnels),
            ca_pem: ca.pem().into_bytes(),
        };
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (service, tunnels, acceptor) =
                    (Arc::clone(&service), Arc::clone(&tunnels), acceptor.clone());
                tokio::spawn(tunnel(connection, service, tunnels, acceptor));
            }
        });
        beyond
    }

    async fn client(&self, proxy: Option<&str>, ca_pem: Option<&[u8]>, arn: Option<&str>) -> KinesisClient {
        let reach = Reach {
            proxy: proxy.map(Secret::new),
            ca_pem: ca_pem.map(<[u8]>::to_vec),
            ..Reach::region("eu-central-1")
        };
        let endpoint = format!("https://{HOST}");
        let aws = Aws::new(reach, &keys(), &[Some(&endpoint)], &clock()).expect("it can be used");
        client(&aws, &endpoint, arn)
    }
}

async fn tunnel(
    mut connection: TcpStream,
    service: Arc<Service>,
    tunnels: Arc<AtomicUsize>,
    acceptor: TlsAcceptor,
) -> std::io::Result<()> {
    let Some((head, _)) = request(&mut connection).await? else {
        return Ok(());
    };
    // base64 of ada:p@ss
    let knows = header(&head, "proxy-authorization").is_some_and(|value| value == "Basic YWRhOnBAc3M=");
    if !head.starts_with(&format!("CONNECT {HOST}:443 ")) || !knows {
        return connection
            .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
            .await;
    }
    tunnels.fetch_add(1, Ordering::AcqRel);
    connection
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .await?;
    service.serve(acceptor.accept(connection).await?).await
}

fn keys() -> CredentialsSource {
    CredentialsSource::Static {
        access_key_id: "AKID".to_owned(),
        secret_access_key: Secret::new("canary"),
        session_token: None,
    }
}

fn stream() -> StreamName {
    StreamName::new("s").expect("a name")
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(PausedClock::at_wall_ms(1_700_000_000_000))
}

fn client(aws: &Aws, endpoint: &str, arn: Option<&str>) -> KinesisClient {
    let arn = arn.map(ToOwned::to_owned);
    KinesisClient::new(aws, stream(), arn, Some(endpoint), clock()).expect("a client")
}

/// One call of the SDK's client, one of our own.
async fn calls(kinesis: &KinesisClient) -> Result<(), Error> {
    kinesis.list_shards().await?;
    kinesis.get_records(&ShardIterator::new("i"), 10, 1 << 20).await?;
    Ok(())
}

#[tokio::test]
async fn case_91_every_client_goes_through_the_proxy_and_trusts_the_authority() {
    let beyond = Beyond::start().await;
    let kinesis = beyond
        .client(Some(&beyond.proxy), Some(&beyond.ca_pem), None)
        .await;
    calls(&kinesis).await.expect("both ways");
    assert_eq!(beyond.tunnels.load(Ordering::Acquire), 2, "one for each client");
    let shard = ShardId::new("shardId-000000000000").expect("an id");
    // The service here knows no events; that it was asked is enough.
    let _ = kinesis.subscribe("arn:c", &shard, &StartAt::TrimHorizon).await;
    let calls_so_far = beyond.service.calls();
    assert!(
        calls_so_far
            .iter()
            .any(|call| call.starts_with("SubscribeToShard "))
    );
    assert_eq!(
        beyond.tunnels.load(Ordering::Acquire),
        3,
        "a connection of its own for subscriptions"
    );

    for (proxy, ca, why) in [
        (Some(beyond.proxy.as_str()), None, "certificate"),
        (
            Some("http://ada:canary@127.0.0.1:1"),
            Some(&beyond.ca_pem[..]),
            "",
        ),
        (None, Some(&beyond.ca_pem[..]), ""),
    ] {
        let kinesis = beyond.client(proxy, ca, None).await;
        for error in [
            kinesis.list_shards().await.expect_err("not reached").to_string(),
            kinesis
                .get_records(&ShardIterator::new("i"), 10, 1 << 20)
                .await
                .expect_err("not reached")
                .to_string(),
        ] {
            assert!(error.contains(why) && !error.contains("canary"), "{error}");
        }
    }
    let wrong = beyond.proxy.replace("p%40ss", "canary");
    let kinesis = beyond.client(Some(&wrong), Some(&beyond.ca_pem), None).await;
    let error = calls(&kinesis).await.expect_err("407").to_string();
    assert!(!error.contains("canary"), "{error}");
    assert_eq!(beyond.service.calls().len(), 3, "nobody else got through");
}

#[tokio::test]
async fn case_91_a_stream_of_another_account_is_named_by_its_arn_on_every_call() {
    let beyond = Beyond::start().await;
    let arn = "arn:aws:kinesis:eu-central-1:123456789012:stream/s";
    let kinesis = beyond
        .client(Some(&beyond.proxy), Some(&beyond.ca_pem), Some(arn))
        .await;
    calls(&kinesis).await.expect("both ways");
    let shard = ShardId::new("shardId-000000000000").expect("an id");
    kinesis
        .shard_iterator(&shard, &StartAt::TrimHorizon)
        .await
        .expect("an iterator");
    let _ = kinesis.describe_stream().await;
    let calls = beyond.service.calls();
    assert_eq!(calls.len(), 4, "{calls:?}");
    for call in calls {
        assert!(call.contains(&format!("\"StreamARN\":\"{arn}\"")), "{call}");
    }
}

#[tokio::test]
async fn case_91_an_address_may_be_ipv6() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        eprintln!("this machine has no IPv6 loopback: nothing is shown");
        return;
    };
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let service = Arc::<Service>::default();
    let serving = Arc::clone(&service);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let service = Arc::clone(&serving);
            tokio::spawn(async move { service.serve(connection).await });
        }
    });
    assert!(is_loopback(&endpoint));
    let reach = Reach::region("eu-central-1");
    let aws = Aws::new(reach, &keys(), &[Some(&endpoint)], &clock()).expect("usable");
    calls(&client(&aws, &endpoint, None)).await.expect("both ways");
    let clock = Arc::new(PausedClock::at_wall_ms(0));
    let random = Arc::new(SeededRandom::new(1));
    let producer = Producer::new(&aws, stream(), None, Some(&endpoint), clock, random);
    assert!(producer.is_ok());
    assert_eq!(service.calls().len(), 2);
}
