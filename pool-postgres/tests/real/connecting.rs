//! Getting in, or being told why not.

use std::time::Duration;

use pool_core::{AcquireError, OpenFailure};
use pool_postgres::{ConnectError, ConnectStep, Password, PostgresError, PostgresPool};
use pool_testkit::postgres::EphemeralPostgres;
use pool_testkit::secrets::literal;

use crate::common::{config, pool, sessions_on_server};

/// The error of the driver inside an error of the pool.
fn connect_error(error: &PostgresError) -> &ConnectError {
    let PostgresError::Acquire(
        AcquireError::OpenFailed { failure, .. } | AcquireError::Timeout { failure: Some(failure), .. },
    ) = error
    else {
        panic!("not a failure to connect: {error:?}");
    };
    let OpenFailure::Driver { source, .. } = &**failure else { panic!("not the driver's: {failure:?}") };
    source.downcast_ref().expect("the driver's error")
}

#[tokio::test]
async fn connect_query_disconnect() {
    let (_database, pool) = pool(3).await;
    assert!(pool.is_connected());
    let row = pool.acquire().await.unwrap().query_one("SELECT 6 * $1::int", &[&7]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 42);
    let health = pool.health().await.unwrap();
    assert!(health.latency > Duration::ZERO && health.state.idle == 1, "{health:?}");
    pool.disconnect().await;
    pool.disconnect().await;
    assert!(!pool.is_connected());
    assert!(matches!(pool.health().await, Err(PostgresError::Acquire(AcquireError::Closed))));
    let stats = pool.stats();
    assert_eq!((stats.opened, stats.closed, stats.state.size), (1, 1, 0));
}

#[tokio::test]
async fn after_disconnect_the_server_has_no_session_left() {
    let (database, pool) = pool(5).await;
    let mut watching = config(database.url(), 1);
    watching.database = Some("postgres".to_owned());
    let watcher = PostgresPool::connect(watching).await.unwrap();
    let mut leases = Vec::new();
    for _ in 0..5 {
        leases.push(pool.acquire().await.unwrap());
    }
    let watch = watcher.acquire().await.unwrap();
    assert_eq!(sessions_on_server(&watch, database.name()).await, 5);
    drop(leases);
    pool.disconnect().await;
    assert_eq!(sessions_on_server(&watch, database.name()).await, 0, "at once: disconnect has waited for the server");
}

#[tokio::test]
async fn a_unix_socket_works() {
    let server = EphemeralPostgres::start().unwrap();
    let mut by_socket = config(&server.url(), 1);
    by_socket.hosts[0].name = server.socket_dir().display().to_string();
    let permitted = std::process::Command::new("chmod").args(["755", &by_socket.hosts[0].name]).status().unwrap();
    assert!(permitted.success());
    let pool = PostgresPool::connect(by_socket).await.unwrap();
    assert!(pool.health().await.is_ok());
    pool.disconnect().await;
}

#[tokio::test]
async fn passwords_are_checked_and_never_shown() {
    let server = EphemeralPostgres::builder()
        .hba("host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        .start()
        .unwrap();
    let admin = PostgresPool::connect(config(&server.url(), 1)).await.unwrap();
    let create = format!("CREATE ROLE ann LOGIN PASSWORD {}", literal("s3cr3t2"));
    admin.acquire().await.unwrap().batch_execute(&create).await.unwrap();
    let as_ann = |password: Option<&str>| {
        let mut config = config(&server.url(), 1);
        config.user = Some("ann".to_owned());
        config.password = password.map(Password::from);
        config
    };
    assert!(PostgresPool::connect(as_ann(Some("s3cr3t2"))).await.is_ok());
    for wrong in [Some("s3cr3t3"), None] {
        let error = PostgresPool::connect(as_ann(wrong)).await.unwrap_err();
        assert!(matches!(error, PostgresError::Acquire(AcquireError::OpenFailed { .. })), "at once: {error}");
        assert_eq!(connect_error(&error).step, ConnectStep::Startup);
        let text = format!("{error} {error:?}");
        assert!(!text.contains("s3cr3t"), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let server = EphemeralPostgres::start().unwrap();
    let mut config = config(&server.url(), 1);
    drop(server);
    // The first attempt has failed by then, however busy the machine is.
    (config.pool.connect_timeout, config.pool.breaker_failures) = (Duration::from_secs(4), None);
    let failure = async |name: &str| {
        let mut config = config.clone();
        name.clone_into(&mut config.hosts[0].name);
        PostgresPool::connect(config).await.unwrap_err()
    };
    // One beside the others: each is tried for as long as there is time.
    let (gone, no_folder, no_name) =
        tokio::join!(failure("127.0.0.1"), failure("/nonexistent"), failure("host.invalid"));
    assert!(matches!(gone, PostgresError::Acquire(AcquireError::Timeout { .. })), "it may come back: {gone}");
    assert_eq!(connect_error(&gone).step, ConnectStep::Open);
    assert!(gone.to_string().contains(&config.hosts[0].to_string()), "{gone}");
    assert!(no_folder.to_string().contains("/nonexistent/.s.PGSQL."), "{no_folder}");
    assert!(no_name.to_string().contains("host.invalid"), "{no_name}");
}
