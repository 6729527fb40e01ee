//! Whether a server was sent the certificate of the client, which rustls does not tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ClientConfig, SignatureScheme};

/// Of one handshake.
#[derive(Debug)]
pub(super) struct Witness {
    inner: Arc<dyn ResolvesClientCert>,
    was_sent: AtomicBool,
}

impl Witness {
    /// A connector for one handshake, and who sees it.
    pub(super) fn of(client: &ClientConfig) -> (TlsConnector, Arc<Self>) {
        let mut config = client.clone();
        let inner = Arc::clone(&config.client_auth_cert_resolver);
        let witness = Arc::new(Self { inner, was_sent: AtomicBool::new(false) });
        config.client_auth_cert_resolver = Arc::<Self>::clone(&witness);
        (TlsConnector::from(Arc::new(config)), witness)
    }

    /// Whether the server has asked for a certificate and was sent one.
    pub(super) fn was_sent(&self) -> bool {
        self.was_sent.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for Witness {
    fn resolve(&self, authorities: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let found = self.inner.resolve(authorities, schemes);
        // Without a signature that the server takes, rustls goes on as if there were none.
        let can_sign = found.as_ref().is_some_and(|found| found.key.choose_scheme(schemes).is_some());
        self.was_sent.store(can_sign, Ordering::Relaxed);
        found
    }

    fn has_certs(&self) -> bool {
        self.inner.has_certs()
    }
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;
    use tokio_rustls::rustls::sign::SingleCertAndKey;

    use super::*;

    #[test]
    fn a_certificate_that_the_server_cannot_verify_is_not_taken_for_sent() {
        let key = rcgen::KeyPair::generate().unwrap();
        let chain = vec![rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap().der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let key = ring::default_provider().key_provider.load_private_key(key).unwrap();
        let inner = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
        let witness = Witness { inner, was_sent: AtomicBool::new(false) };
        for (scheme, was_sent) in
            [(SignatureScheme::ECDSA_NISTP256_SHA256, true), (SignatureScheme::RSA_PSS_SHA256, false)]
        {
            witness.resolve(&[], &[scheme]);
            assert_eq!(witness.was_sent(), was_sent, "{scheme:?}");
        }
    }
}
