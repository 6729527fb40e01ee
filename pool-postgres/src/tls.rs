//! TLS by rustls, with what each `sslmode` verifies.

use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::config::{PostgresConfig, SslMode};
use crate::error::PostgresError;

/// The connector for a configuration; `None` for [`SslMode::Disable`].
pub(crate) fn connector(config: &PostgresConfig) -> Result<Option<TlsConnector>, PostgresError> {
    let check = match (config.sslmode, &config.sslrootcert) {
        (SslMode::Disable, _) => return Ok(None),
        (SslMode::Prefer, _) | (SslMode::Require, None) => Check::Nothing,
        (SslMode::Require, Some(_)) | (SslMode::VerifyCa, _) => Check::Authority(trust(config)?),
        (SslMode::VerifyFull, _) => Check::Everything(trust(config)?),
    };
    // Named here rather than installed for the process, which belongs to the application.
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Verifier { check, provider: Arc::clone(&provider) });
    let client =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(unusable)?;
    let client = client.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    Ok(Some(TlsConnector::from(Arc::new(client))))
}

fn unusable(error: impl std::fmt::Display) -> PostgresError {
    PostgresError::Tls(error.to_string())
}

fn trust(config: &PostgresConfig) -> Result<Arc<WebPkiServerVerifier>, PostgresError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &config.sslrootcert {
        let name = |error: &dyn std::fmt::Display| unusable(format!("sslrootcert = {}: {error}", path.display()));
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| name(&error))? {
            roots.add(certificate.map_err(|error| name(&error))?).map_err(|error| name(&error))?;
        }
    } else {
        // Some of a system's certificates may be unreadable; what counts is whether any is left.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(ring::default_provider());
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(unusable)
}

#[derive(Debug)]
enum Check {
    Nothing,
    Authority(Arc<WebPkiServerVerifier>),
    Everything(Arc<WebPkiServerVerifier>),
}

#[derive(Debug)]
struct Verifier {
    check: Check,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |verifier: &WebPkiServerVerifier| {
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        match &self.check {
            Check::Nothing => Ok(ServerCertVerified::assertion()),
            Check::Everything(verifier) => verify(verifier),
            Check::Authority(verifier) => match verify(verifier) {
                // The name is checked last, so everything else was in order.
                Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                )) => Ok(ServerCertVerified::assertion()),
                outcome => outcome,
            },
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
