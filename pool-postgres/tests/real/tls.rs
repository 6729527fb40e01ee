//! TLS against a server with a certificate of an authority made up for the test.

use pool_core::AcquireError;
use pool_postgres::{PostgresConfig, PostgresError, PostgresPool, SslMode};
use pool_testkit::postgres::EphemeralPostgres;

use crate::authority::Authority;
use crate::common::config;
use crate::shutdown::close_over_a_sleeper;

/// A server with a certificate, and the authority that it is from.
struct TlsServer {
    server: EphemeralPostgres,
    authority: Authority,
}

impl TlsServer {
    fn start() -> Self {
        let authority = Authority::new();
        let (certificate, key) = authority.certificate("127.0.0.1");
        let server = EphemeralPostgres::builder().tls(&certificate, &key).start().unwrap();
        Self { server, authority }
    }

    fn config(&self, sslmode: SslMode, trusted: bool) -> PostgresConfig {
        let mut config = config(&self.server.url(), 1);
        config.sslmode = sslmode;
        config.sslrootcert = trusted.then(|| self.authority.file.clone());
        config
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
    let tls = TlsServer::start();
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
    let tls = TlsServer::start();
    let database = tls.server.create_database().unwrap();
    let mut settings = tls.config(SslMode::Require, true);
    settings.database = Some(database.name().to_owned());
    close_over_a_sleeper(PostgresPool::connect(settings).await.unwrap(), &database).await;
}
