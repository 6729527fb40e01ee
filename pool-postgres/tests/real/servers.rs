//! Lists of servers, and the ways to log in, as a configuration asks for them.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use pool_core::AcquireError;
use pool_postgres::{Host, PostgresConfig, PostgresError, PostgresPool};
use pool_testkit::postgres::{EphemeralBuilder, EphemeralPostgres};
use pool_testkit::secrets::literal;

use crate::authority::Authority;
use crate::common::config;

/// That of the role of the tests.
const PASSWORD: &str = "s3cr3t-battery";

/// A server that is not there, and what keeps its port from being given to others.
fn deaf() -> (Host, TcpListener) {
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    // The same port of another address, which nobody has bound.
    (Host::new("127.0.0.3", listener.local_addr().unwrap().port()), listener)
}

/// The port of the server of the first session.
async fn port(config: PostgresConfig) -> Result<u16, PostgresError> {
    let pool = PostgresPool::connect(config).await?;
    let lease = pool.acquire().await?;
    let row = lease.query_one("SELECT inet_server_port()", &[]).await.unwrap();
    drop(lease);
    pool.disconnect().await;
    Ok(u16::try_from(row.get::<_, i32>(0)).unwrap())
}

async fn refusal(config: PostgresConfig) -> String {
    port(config).await.expect_err("nobody lets it in").to_string()
}

/// A string with what is to be added to it, for a pool that opens when it is asked.
fn with(server: &EphemeralPostgres, more: &str) -> PostgresConfig {
    format!("host=127.0.0.1 port={} dbname=postgres pool_max_conns=1 pool_min_conns=0 {more}", server.port())
        .parse()
        .unwrap()
}

#[tokio::test]
async fn the_first_server_that_is_there_is_taken() {
    let server = EphemeralPostgres::start().unwrap();
    let ((first, _kept), (third, _too)) = (deaf(), deaf());
    let mut settings = config(&server.url(), 1);
    settings.hosts = vec![first.clone(), settings.hosts[0].clone(), third.clone()];
    assert_eq!(port(settings.clone()).await.unwrap(), server.port());
    settings.hosts = vec![first.clone(), third.clone()];
    (settings.pool.acquire_timeout, settings.pool.breaker_failures) = (Duration::from_secs(4), None);
    let refusal = refusal(settings).await;
    assert!(refusal.contains(&first.to_string()) && refusal.contains(&third.to_string()), "{refusal}");
}

#[tokio::test]
async fn a_server_has_to_be_what_target_session_attrs_asks_for() {
    let primary = EphemeralPostgres::start().unwrap();
    let reader = EphemeralPostgres::builder().setting("default_transaction_read_only", "on").start().unwrap();
    for (wanted, found) in [
        ("any", &reader),
        ("read-write", &primary),
        ("read-only", &reader),
        ("primary", &reader),
        ("prefer-standby", &reader),
    ] {
        let mut settings = config(&primary.url(), 1);
        settings.target_session_attrs = wanted.parse().unwrap();
        settings.hosts = vec![config(&reader.url(), 1).hosts[0].clone(), settings.hosts[0].clone()];
        assert_eq!(port(settings).await.unwrap(), found.port(), "{wanted}");
    }
    let mut settings = config(&primary.url(), 1);
    settings.target_session_attrs = "standby".parse().unwrap();
    (settings.pool.acquire_timeout, settings.pool.breaker_failures) = (Duration::from_secs(4), None);
    let refusal = refusal(settings).await;
    assert!(refusal.contains("it is no standby, and target_session_attrs is standby"), "{refusal}");
}

/// A server that asks `app` in this way, with TLS or without.
async fn asking(method: &str, builder: EphemeralBuilder) -> EphemeralPostgres {
    let hba = format!("local all all trust\nhost all app 127.0.0.1/32 {method}\nhost all all 127.0.0.1/32 trust\n");
    let server = builder.hba(&hba).start().unwrap();
    let pool = PostgresPool::connect(config(&server.url(), 1)).await.unwrap();
    pool.acquire()
        .await
        .unwrap()
        .batch_execute(&format!("CREATE ROLE app LOGIN PASSWORD {}", literal(PASSWORD)))
        .await
        .unwrap();
    pool.disconnect().await;
    server
}

#[tokio::test]
async fn a_server_asks_for_the_password_as_require_auth_says() {
    let scram = asking("scram-sha-256", EphemeralPostgres::builder()).await;
    let plain = asking("password", EphemeralPostgres::builder()).await;
    let logs_in = "user=app password=s3cr3t-battery require_auth=";
    for (server, allowed) in [(&scram, "scram-sha-256"), (&scram, "!password,!md5"), (&plain, "password")] {
        assert_eq!(port(with(server, &format!("{logs_in}{allowed}"))).await.unwrap(), server.port(), "{allowed}");
    }
    for (server, allowed, asks_for) in [
        (&scram, "none", "SASL"),
        (&plain, "scram-sha-256", "the password in plain text"),
        (&plain, "!password", "the password"),
    ] {
        let refusal = refusal(with(server, &format!("{logs_in}{allowed}"))).await;
        assert!(refusal.contains(&format!("the server asks for {asks_for}")), "{allowed}: {refusal}");
    }
    let refusal = refusal(with(&scram, "require_auth=scram-sha-256")).await;
    assert!(refusal.contains("the server asks for nothing"), "{refusal}");
}

#[tokio::test]
async fn channel_binding_is_as_the_configuration_says() {
    let authority = Authority::new();
    let (certificate, key) = authority.certificate("127.0.0.1");
    let server = asking("scram-sha-256", EphemeralPostgres::builder().tls(&certificate, &key)).await;
    let logs_in = format!("user=app password=s3cr3t-battery sslrootcert={}", authority.file.display());
    for more in
        ["channel_binding=require sslmode=require", "channel_binding=disable sslmode=verify-full", "sslmode=allow"]
    {
        assert_eq!(port(with(&server, &format!("{logs_in} {more}"))).await.unwrap(), server.port(), "{more}");
    }
    let refusal = refusal(with(&server, &format!("{logs_in} channel_binding=require sslmode=disable"))).await;
    assert!(refusal.contains("channel binding"), "{refusal}");
}

#[tokio::test]
async fn a_password_is_found_in_the_password_file_of_its_owner() {
    let server = asking("scram-sha-256", EphemeralPostgres::builder()).await;
    let file = std::env::temp_dir().join(format!("pool-postgres-pass-{}", std::process::id()));
    std::fs::write(&file, format!("# here\n127.0.0.1:{}:postgres:app:{PASSWORD}\n", server.port())).unwrap();
    let settings = with(&server, &format!("user=app passfile={}", file.display()));
    let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o600);
    assert_eq!(port(settings.clone()).await.unwrap(), server.port());
    mode(0o644);
    let error = port(settings).await.unwrap_err();
    std::fs::remove_file(&file).unwrap();
    let PostgresError::Acquire(AcquireError::OpenFailed { failure, .. }) = &error else { panic!("at once: {error}") };
    assert!(failure.to_string().contains("password"), "{error}");
}
