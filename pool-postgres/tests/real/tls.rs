//! TLS against a server with a certificate of an authority made up for the test.

use std::path::PathBuf;

use pool_core::AcquireError;
use pool_postgres::{PostgresConfig, PostgresError, PostgresPool, SslMode};
use pool_testkit::postgres::EphemeralPostgres;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::common::config;
use crate::shutdown::close_over_a_sleeper;

/// A server with a certificate for `name`, and the file with its authority.
struct TlsServer {
    server: EphemeralPostgres,
    authority: PathBuf,
}

impl TlsServer {
    fn start(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let server = EphemeralPostgres::builder().tls(&certificate.pem(), &key.serialize_pem()).start().unwrap();
        let path = std::env::temp_dir().join(format!("pool-postgres-ca-{}-{}.pem", std::process::id(), server.port()));
        std::fs::write(&path, authority).unwrap();
        Self { server, authority: path }
    }

    fn config(&self, sslmode: SslMode, trusted: bool) -> PostgresConfig {
        let mut config = config(&self.server.url(), 1);
        config.sslmode = sslmode;
        config.sslrootcert = trusted.then(|| self.authority.clone());
        config
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.authority);
    }
}

/// Whether the session is encrypted, as the server sees it.
async fn is_encrypted(config: PostgresConfig) -> Result<bool, PostgresError> {
    let pool = PostgresPool::connect(config).await?;
    let lease = pool.acquire().await?;
    let row = lease.query_one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await.unwrap();
    drop(lease);
    pool.disconnect().await;
    Ok(row.get(0))
}

async fn refusal(config: PostgresConfig) -> String {
    let error = is_encrypted(config).await.unwrap_err();
    assert!(matches!(error, PostgresError::Acquire(AcquireError::OpenFailed { .. })), "at once: {error}");
    error.to_string()
}

#[tokio::test]
async fn tls_is_used_where_it_is_offered() {
    let tls = TlsServer::start("127.0.0.1");
    for (mode, trusted, encrypted) in [
        (SslMode::Disable, false, false),
        (SslMode::Prefer, false, true),
        (SslMode::Require, false, true),
        (SslMode::Require, true, true),
        (SslMode::VerifyCa, true, true),
        (SslMode::VerifyFull, true, true),
    ] {
        assert_eq!(is_encrypted(tls.config(mode, trusted)).await.unwrap(), encrypted, "{mode:?}");
    }
}

#[tokio::test]
async fn an_unknown_authority_is_refused() {
    let (tls, other) = (TlsServer::start("127.0.0.1"), TlsServer::start("127.0.0.1"));
    for mode in [SslMode::VerifyCa, SslMode::VerifyFull] {
        assert!(refusal(tls.config(mode, false)).await.contains("the TLS handshake"));
    }
    for mode in [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
        let mut config = tls.config(mode, true);
        config.sslrootcert = Some(other.authority.clone());
        assert!(refusal(config).await.contains("the TLS handshake"), "{mode:?}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_by_verify_full_alone() {
    let tls = TlsServer::start("db.example");
    assert!(is_encrypted(tls.config(SslMode::VerifyCa, true)).await.unwrap());
    assert!(refusal(tls.config(SslMode::VerifyFull, true)).await.contains("not valid for name"));
}

#[tokio::test]
async fn a_server_without_tls_is_refused_unless_tls_is_only_preferred() {
    let server = EphemeralPostgres::start().unwrap();
    let with = |mode| {
        let mut config = config(&server.url(), 1);
        config.sslmode = mode;
        config
    };
    assert!(!is_encrypted(with(SslMode::Prefer)).await.unwrap());
    assert!(refusal(with(SslMode::Require)).await.contains("the server does not offer it"));
}

#[tokio::test]
async fn an_encrypted_session_inside_a_query_is_cut_off() {
    let tls = TlsServer::start("127.0.0.1");
    let database = tls.server.create_database().unwrap();
    let mut settings = tls.config(SslMode::Require, true);
    settings.database = Some(database.name().to_owned());
    close_over_a_sleeper(PostgresPool::connect(settings).await.unwrap(), &database).await;
}
