//! Another TLS library: rustls too, but with settings and a verifier of its own, and no file.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use pool_postgres::{PostgresConfig, PostgresDriver, PostgresPool, TlsConnector, TlsSession, TlsSocket};
use pool_testkit::postgres::EphemeralPostgres;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, SignatureScheme};

use crate::files::{eventually, pass};
use crate::paper::{self, Paper};
use crate::world::{NAME, server_with_role};

/// Trusts one certificate, whoever has signed it.
#[derive(Debug)]
struct Pinned(CertificateDer<'static>);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.0 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General("this is not the certificate that is pinned".to_owned()))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A library that is not the pool's own.
#[derive(Clone)]
struct Own {
    client: Arc<ClientConfig>,
    handshakes: Arc<AtomicUsize>,
    changed: Arc<AtomicBool>,
    tells_certificate: bool,
}

impl Own {
    /// Trusts this certificate alone.
    fn pinning(paper: &Paper) -> Self {
        let pinned = Pinned(CertificateDer::from_pem_slice(paper.certificate.as_bytes()).unwrap());
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let client = client.with_safe_default_protocol_versions().unwrap();
        let client = client.dangerous().with_custom_certificate_verifier(Arc::new(pinned)).with_no_client_auth();
        Self { client: Arc::new(client), handshakes: Arc::default(), changed: Arc::default(), tells_certificate: true }
    }

    fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::Relaxed)
    }
}

impl TlsConnector for Own {
    async fn connect(&self, server: &str, socket: TlsSocket) -> Result<TlsSession, Box<dyn Error + Send + Sync>> {
        assert_eq!(server, NAME);
        let name = ServerName::try_from(server.to_owned())?;
        let stream = tokio_rustls::TlsConnector::from(Arc::clone(&self.client)).connect(name, socket).await?;
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).cloned();
        let session = TlsSession::new(stream);
        Ok(match certificate.filter(|_| self.tells_certificate) {
            Some(certificate) => session.server_certificate(&certificate),
            None => session,
        })
    }

    async fn renew(&self) -> bool {
        self.changed.swap(false, Ordering::Relaxed)
    }
}

fn pool(server: &EphemeralPostgres, tls: &Own, more: &str) -> PostgresPool {
    pool_testkit::secrets::listen();
    let text = format!(
        "host={NAME} port={} user=app password=s3cr3t-battery dbname=postgres pool_min_conns=0 pool_max_conns=3 {more}",
        server.port()
    );
    let driver = PostgresDriver::with_tls(text.parse::<PostgresConfig>().unwrap(), tls.clone()).unwrap();
    PostgresPool::builder_of(driver).build().unwrap().into()
}

async fn refusal(pool: &PostgresPool) -> String {
    pool.acquire().await.map(drop).expect_err("nobody lets it in").to_string()
}

#[tokio::test]
async fn another_library_verifies_servers_and_binds_the_login_to_its_channel() {
    let paper = paper::self_signed(&paper::draft(NAME));
    let (server, tls) = (server_with_role("hostssl", &paper).await, Own::pinning(&paper));
    for more in ["sslmode=require channel_binding=require", "sslmode=prefer", "sslmode=verify-full", "sslmode=allow"] {
        let pool = pool(&server, &tls, more);
        let before = tls.handshakes();
        let asked = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let is_encrypted: bool = pool.acquire().await.unwrap().query_one(asked, &[]).await.unwrap().get(0);
        assert!(is_encrypted && tls.handshakes() == before + 1, "{more}");
        pool.disconnect().await;
    }
    let other = Own::pinning(&paper::self_signed(&paper::draft(NAME)));
    let refused = refusal(&pool(&server, &other, "sslmode=require")).await;
    assert!(
        refused.contains("the TLS handshake") && refused.contains("not the certificate that is pinned"),
        "{refused}"
    );
    let silent = Own { tells_certificate: false, ..Own::pinning(&paper) };
    for more in ["sslmode=require channel_binding=require", "sslmode=require"] {
        let refused = refusal(&pool(&server, &silent, more)).await;
        assert!(refused.contains("the server offers channel binding"), "{refused}");
    }
    let unbound = pool(&server, &silent, "sslmode=require channel_binding=disable");
    drop(unbound.acquire().await.unwrap());
    unbound.disconnect().await;
    let plain = pool(&server, &tls, "sslmode=disable");
    let before = tls.handshakes();
    assert!(refusal(&plain).await.contains("no encryption"));
    assert_eq!(tls.handshakes(), before);
    let uncertain = pool(&server, &tls, "sslmode=require sslcertmode=require");
    assert!(refusal(&uncertain).await.contains("sslcertmode is require"));
}

#[tokio::test]
async fn requests_to_cancel_go_by_the_library_and_a_change_in_it_replaces_sessions() {
    let paper = paper::self_signed(&paper::draft(NAME));
    let (server, tls) = (server_with_role("hostssl", &paper).await, Own::pinning(&paper));
    let more = "sslmode=require pool_max_conns=1 pool_health_check_period=0 pool_max_conn_idle_time=0 pool_max_conn_lifetime=0";
    let pool = pool(&server, &tls, more);
    let lease = pool.acquire().await.unwrap();
    let sleep = lease.batch_execute("SELECT pg_sleep(3600)");
    assert!(tokio::time::timeout(Duration::from_millis(50), sleep).await.is_err());
    drop(lease);
    let lease = pool.acquire().await.unwrap();
    assert!(tls.handshakes() >= 2, "one to log in, and at least one to cancel");
    assert_eq!(pool.stats().opened, 1);
    lease.discard();
    tls.changed.store(true, Ordering::Relaxed);
    drop(pool.acquire().await.unwrap());
    assert!(!tls.changed.load(Ordering::Relaxed), "it was asked before the handshake");
    eventually("what was open then is replaced", async || {
        pass(Duration::from_secs(61)).await;
        pool.stats().outdated == 1
    })
    .await;
    pool.disconnect().await;
}
