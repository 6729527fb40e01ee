//! TLS: by rustls, with what each `sslmode` verifies, or by whatever is plugged in.

mod certificate;
mod files;
mod fingerprint;
mod names;
mod plug;
mod revoked;
mod rustls;
mod trust;
mod verifier;
mod witness;

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use crate::config::{Host, PostgresConfig, RootCertificates, SslMode, TlsVersion};
use crate::error::PostgresError;
pub(crate) use plug::AnyConnector;
pub use plug::{TlsConnector, TlsSession, TlsSocket};
use rustls::Rustls;
use trust::Trust;
use verifier::Verifier;

/// What the protocol is called in a handshake, for servers of several.
const ALPN: &[u8] = b"postgresql";

/// The library for a configuration; `None` for [`SslMode::Disable`], and if there are Unix sockets alone, on which nothing is encrypted.
pub(crate) fn connector(config: &PostgresConfig) -> Result<Option<Arc<dyn AnyConnector>>, PostgresError> {
    if config.sslmode == SslMode::Disable || config.hosts.iter().all(Host::is_socket) {
        return Ok(None);
    }
    Ok(Some(Arc::new(Rustls::new(config)?)))
}

/// What rustls is to do. Reads files.
fn client(config: &PostgresConfig) -> Result<ClientConfig, PostgresError> {
    // Named here rather than installed for the process, which belongs to the application.
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Verifier { trust: trust(config)?, provider: Arc::clone(&provider) });
    let client =
        ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions(config)).map_err(wrong)?;
    let client = client.dangerous().with_custom_certificate_verifier(verifier);
    let mut client = match files::identity(config)? {
        Some((chain, key)) => client.with_client_cert_resolver(Arc::new(certified(chain, key)?)),
        None => client.with_no_client_auth(),
    };
    client.enable_sni = config.sslsni;
    client.alpn_protocols = vec![ALPN.to_vec()];
    // A session that is resumed shows no certificate, and asks for none: one that has expired or was revoked meanwhile would do.
    client.resumption = Resumption::disabled();
    Ok(client)
}

/// rustls itself does so for no certificate of version 1, as the recipe in PostgreSQL's manual makes them.
fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<SingleCertAndKey, PostgresError> {
    let key = ring::default_provider().key_provider.load_private_key(key).map_err(wrong)?;
    let first = chain.first().and_then(certificate::parse);
    let first = first.ok_or_else(|| wrong("the certificate in sslcert cannot be read"))?;
    if key.public_key().is_some_and(|key| *key != *first.public_key()) {
        return Err(wrong("the key in sslkey is not that of the certificate in sslcert"));
    }
    Ok(CertifiedKey::new(chain, key).into())
}

fn wrong(error: impl std::fmt::Display) -> PostgresError {
    PostgresError::Tls(error.to_string())
}

fn versions(config: &PostgresConfig) -> Vec<&'static SupportedProtocolVersion> {
    let most = config.ssl_max_protocol_version.unwrap_or(TlsVersion::V1_3);
    let all = [(TlsVersion::V1_2, &TLS12), (TlsVersion::V1_3, &TLS13)];
    let fits = |version: &TlsVersion| (config.ssl_min_protocol_version..=most).contains(version);
    all.into_iter().filter(|(version, _)| fits(version)).map(|(_, supported)| supported).collect()
}

/// With a root certificate it is always verified who has signed that of the server; `verify-ca` and `verify-full` insist on there being one.
fn trust(config: &PostgresConfig) -> Result<Option<Trust>, PostgresError> {
    let roots = match &config.sslrootcert {
        Some(RootCertificates::System) => system_roots(),
        Some(RootCertificates::File(file)) => own_roots(file)?,
        None if matches!(config.sslmode, SslMode::VerifyCa | SslMode::VerifyFull) => {
            let advice = "names a file with the certificate of an authority, or is system";
            return Err(wrong(format!("sslmode={} needs sslrootcert, which {advice}", config.sslmode)));
        }
        None => return Ok(None),
    };
    let trust = Trust::new(roots, files::revoked(config)?, Arc::new(ring::default_provider()), UnixTime::now());
    trust.map(Some).map_err(wrong)
}

/// Some of a system's certificates may be unreadable; what counts is whether any is left.
fn system_roots() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

fn own_roots(file: &Path) -> Result<Vec<CertificateDer<'static>>, PostgresError> {
    let roots = files::certificates("sslrootcert", file)?;
    let mut store = RootCertStore::empty();
    for root in &roots {
        store.add(root.clone()).map_err(|error| files::unusable("sslrootcert", file, error))?;
    }
    Ok(roots)
}
