//! TLS against a server with a certificate of an authority made up for the test.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use pool_core::AcquireError;
use pool_postgres::{PostgresConfig, PostgresError, PostgresPool, SslCertMode, SslMode};
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
        config.sslrootcert = trusted.then(|| self.authority.file.clone().into());
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
async fn a_server_has_to_ask_for_the_certificate_that_sslcertmode_requires() {
    let tls = TlsServer::start();
    let file = tls.authority.file.display().to_string();
    let (certificate, key) = tls.authority.certificate("127.0.0.1");
    let asking = EphemeralPostgres::builder().tls(&certificate, &key).setting("ssl_ca_file", &file).start().unwrap();
    let files = ClientFiles::of(&tls.authority);
    let with = |url: &str, sslcertmode, sslmode| {
        let mut config = config(url, 1);
        (config.sslcertmode, config.sslmode) = (sslcertmode, sslmode);
        (config.sslcert, config.sslkey) = (Some(files.certificate.clone()), Some(files.key.clone()));
        config
    };
    let (require, asks, asks_not) = (SslCertMode::Require, asking.url(), tls.server.url());
    assert!(is_encrypted(with(&asks, require, SslMode::Require)).await.unwrap());
    for (url, sslmode) in [(&asks_not, SslMode::Require), (&asks_not, SslMode::Prefer), (&asks, SslMode::Disable)] {
        let refusal = refusal(with(url, require, sslmode)).await;
        assert!(refusal.contains("sslcertmode is require, and the server lets the client in without"), "{refusal}");
    }
    assert!(is_encrypted(with(&asks_not, SslCertMode::Allow, SslMode::Require)).await.unwrap());
    let issuer = "SELECT issuer_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    for (mode, is_known) in [(SslCertMode::Allow, true), (SslCertMode::Disable, false)] {
        let pool = PostgresPool::connect(with(&asks, mode, SslMode::Require)).await.unwrap();
        let row = pool.acquire().await.unwrap().query_one(issuer, &[]).await.unwrap();
        assert_eq!(row.get::<_, Option<&str>>(0).is_some(), is_known, "{mode}");
        pool.disconnect().await;
    }
}

/// The certificate and the key of a client.
struct ClientFiles {
    certificate: PathBuf,
    key: PathBuf,
}

impl ClientFiles {
    fn of(authority: &Authority) -> Self {
        let (certificate, key) = authority.certificate("client.example");
        let file = |end: &str, text: String| {
            let file = authority.file.with_extension(end);
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            file
        };
        Self { certificate: file("client.pem", certificate), key: file("client.key", key) }
    }
}

impl Drop for ClientFiles {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.certificate);
        let _ = std::fs::remove_file(&self.key);
    }
}

#[tokio::test]
async fn an_encrypted_session_inside_a_query_is_cut_off() {
    let tls = TlsServer::start();
    let database = tls.server.create_database().unwrap();
    let mut settings = tls.config(SslMode::Require, true);
    settings.database = Some(database.name().to_owned());
    close_over_a_sleeper(PostgresPool::connect(settings).await.unwrap(), &database).await;
}
