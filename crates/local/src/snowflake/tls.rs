//! TLS of the local Snowflake: an authority and a server certificate, made at first start.
//!
//! Clients trust `tls/ca.pem` (for instance by `SSL_CERT_FILE`). The authority's own key is thrown away after it signed the
//! server's certificate, so nothing else can ever be signed with what a user was told to trust.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::disk::{read_small, replace_private};
use crate::{Error, Result};

const FILE_LIMIT: u64 = 64 * 1024;

/// The certificate to trust, and the server's configuration.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) authority: PathBuf,
    pub(crate) config: Arc<ServerConfig>,
}

/// Reads the certificate below `folder`, or makes it.
pub(crate) fn prepare(folder: &Path) -> Result<Tls> {
    std::fs::create_dir_all(folder).map_err(Error::disk("create", folder))?;
    let (authority, server, key) = (
        folder.join("ca.pem"),
        folder.join("server.pem"),
        folder.join("server.key"),
    );
    // The authority is written last: where it is, the others are.
    if !authority.exists() {
        let made = make().map_err(|error| Error::Key(format!("no certificate could be made: {error}")))?;
        for (path, text) in [
            (&server, made.server),
            (&key, made.key),
            (&authority, made.authority),
        ] {
            replace_private(path, text.as_bytes()).map_err(Error::disk("write", path))?;
        }
    }
    let read = |path: &Path| read_small(path, FILE_LIMIT).map_err(Error::disk("read", path));
    let damaged =
        |error: &dyn std::fmt::Display| Error::Key(format!("certificate in {}: {error}", folder.display()));
    let chain = CertificateDer::pem_slice_iter(&read(&server)?)
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|error| damaged(&error))?;
    let key = PrivateKeyDer::from_pem_slice(&read(&key)?).map_err(|error| damaged(&error))?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| damaged(&error))?;
    Ok(Tls {
        authority,
        config: Arc::new(config),
    })
}

struct Made {
    authority: String,
    server: String,
    key: String,
}

fn make() -> std::result::Result<Made, rcgen::Error> {
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::new(Vec::<String>::new())?;
    authority
        .distinguished_name
        .push(DnType::CommonName, "frazil local authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority_certificate = authority.self_signed(&authority_key)?;

    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    server.distinguished_name.push(DnType::CommonName, "frazil local");
    server.is_ca = IsCa::ExplicitNoCa;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    let server_certificate = server.signed_by(&key, &Issuer::new(authority, authority_key))?;
    Ok(Made {
        authority: authority_certificate.pem(),
        server: server_certificate.pem(),
        key: key.serialize_pem(),
    })
}
