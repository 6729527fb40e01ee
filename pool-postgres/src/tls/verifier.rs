//! What of the server's certificate is verified in a handshake, as libpq verifies it: all but the name.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use tokio_rustls::rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::certificate;
use super::trust::Trust;

#[derive(Debug)]
pub(super) struct Verifier {
    /// One of its authorities has to have signed the certificate. `None`: nothing is verified.
    pub(super) trust: Option<Trust>,
    pub(super) provider: Arc<CryptoProvider>,
}

/// Whether it is only the name that is wrong: it is looked at last, so everything else was in order.
fn is_about_the_name(error: &Error) -> bool {
    use CertificateError::{NotValidForName, NotValidForNameContext};
    matches!(error, Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
}

/// Whether it is only that nobody who is known has signed it, or that it is of a kind that rustls does not take.
fn is_about_the_authority(error: &Error) -> bool {
    use CertificateError::{Other, UnknownIssuer};
    matches!(error, Error::InvalidCertificate(Other(_) | UnknownIssuer))
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
        let Some(trust) = &self.trust else { return Ok(ServerCertVerified::assertion()) };
        if certificate::parse(end_entity).is_some_and(|it| !it.may_speak_tls()) {
            return Err(Error::InvalidCertificate(CertificateError::InvalidPurpose));
        }
        match trust.verify(end_entity, intermediates, server_name, ocsp_response, now) {
            // What libpq makes of the name is looked at after the handshake.
            Err(error) if is_about_the_name(&error) => Ok(ServerCertVerified::assertion()),
            Err(error) if is_about_the_authority(&error) && trust.vouches_for(end_entity, now) => {
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let outcome = verify_tls12_signature(message, certificate, signature, algorithms);
        // As below. rustls has no function for keys alone here, but all that it takes.
        match certificate::parse(certificate).filter(|_| outcome.is_err()) {
            Some(parsed) if is_signed(algorithms, parsed.key(), message, signature) => {
                Ok(HandshakeSignatureValid::assertion())
            }
            _ => outcome,
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let outcome = verify_tls13_signature(message, certificate, signature, algorithms);
        // Certificates of version 1, as the PostgreSQL manual's recipe makes them, are none for rustls; their keys are all right.
        match certificate::parse(certificate).filter(|_| outcome.is_err()) {
            Some(parsed) => {
                let key = SubjectPublicKeyInfoDer::from(parsed.public_key());
                verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
            }
            None => outcome,
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a signature is one of this key, by one of the algorithms that its scheme stands for.
fn is_signed(
    algorithms: &WebPkiSupportedAlgorithms,
    key: &[u8],
    message: &[u8],
    signature: &DigitallySignedStruct,
) -> bool {
    let of_scheme = algorithms.mapping.iter().filter(|(scheme, _)| *scheme == signature.scheme);
    of_scheme
        .flat_map(|(_, algorithms)| algorithms.iter())
        .any(|algorithm| algorithm.verify_signature(key, message, signature.signature()).is_ok())
}
