//! Which server of a list is taken, in what time, and what is told if none is.

use std::time::{Duration, Instant};

use pool_core::{AcquireError, OpenFailure};
use pool_postgres::{ConnectError, Host, PostgresConfig, PostgresError, PostgresPool};
use pool_testkit::postgres::EphemeralPostgres;
use pool_testkit::proxy::Proxy;
use tokio::net::TcpListener;
use tokio_postgres::error::SqlState;

use crate::common::config;

/// A server, and somebody who counts who comes to it.
async fn counted() -> (EphemeralPostgres, Proxy, PostgresConfig) {
    let hba = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    let server = EphemeralPostgres::builder().hba(hba).start().unwrap();
    let proxy = Proxy::postgres(("127.0.0.1", server.port())).await.unwrap();
    let mut settings = config(&server.url(), 1);
    settings.hosts = vec![Host::new("127.0.0.1", proxy.address().port())];
    settings.sslmode = "disable".parse().unwrap();
    settings.target_session_attrs = "prefer-standby".parse().unwrap();
    // What is told at the end of the time is what is looked at, on a machine that stands still for a while, too.
    settings.pool.breaker_failures = None;
    (server, proxy, settings)
}

/// Somebody who takes connections, and says nothing.
async fn silent() -> (TcpListener, Host) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = Host::new("127.0.0.1", listener.local_addr().unwrap().port());
    (listener, host)
}

/// Somebody who is not there: nobody has that address, so no other test takes the port.
async fn away() -> Host {
    Host::new("127.0.0.3", silent().await.1.port)
}

fn cause(error: &PostgresError) -> &ConnectError {
    let PostgresError::Acquire(
        AcquireError::OpenFailed { failure, .. } | AcquireError::Timeout { failure: Some(failure), .. },
    ) = error
    else {
        panic!("not a failure to connect: {error:?}");
    };
    let OpenFailure::Driver { source, .. } = &**failure else { panic!("not the driver's: {failure:?}") };
    source.downcast_ref().expect("the driver's error")
}

/// What failed at the last server, and what had failed before at the first.
fn tells_both(error: &PostgresError, first: &Host, last: &Host) {
    let cause = cause(error);
    let targets = [cause.target.as_str(), cause.earlier[0].target.as_str()];
    assert_eq!((targets, cause.earlier.len()), ([last.to_string().as_str(), &first.to_string()], 1), "{error}");
}

#[tokio::test]
async fn who_prefers_a_standby_looks_once_at_each_server() {
    let (_server, proxy, settings) = counted().await;
    let pool = PostgresPool::connect(settings).await.unwrap();
    assert_eq!(proxy.seen().accepted, 1, "it will do, and is there");
    pool.disconnect().await;
}

#[tokio::test]
async fn a_wrong_password_is_told_once_to_who_prefers_a_standby() {
    let (_server, proxy, mut settings) = counted().await;
    (settings.user, settings.password) = (Some("ann".to_owned()), Some("s3cr3t, and wrong".into()));
    settings.pool.backoff_initial = Duration::from_secs(2);
    let error = PostgresPool::connect(settings).await.unwrap_err();
    assert!(matches!(error, PostgresError::Acquire(AcquireError::OpenFailed { .. })), "at once: {error}");
    assert_eq!((proxy.seen().accepted, cause(&error).earlier.len()), (1, 0), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_leaves_time_for_what_there_is() {
    let (_server, _proxy, mut settings) = counted().await;
    let (_first, before) = silent().await;
    let (_last, after) = silent().await;
    settings.hosts = vec![before, settings.hosts[0].clone(), after];
    settings.pool.connect_timeout = Duration::from_secs(12);
    let pool = PostgresPool::connect(settings).await.expect("the one that answers, in time");
    assert_eq!((pool.stats().opened, pool.stats().open_failures), (1, 0), "at the first attempt");
    pool.disconnect().await;
}

/// Whoever has built it, and whatever it was told since: the time that the pool has counts, and not what its configuration says.
#[tokio::test]
async fn an_attempt_has_the_time_of_its_pool() {
    let (_server, _proxy, mut settings) = counted().await;
    let (_first, before) = silent().await;
    settings.hosts = vec![before, settings.hosts[0].clone()];
    settings.connect_timeout = Duration::from_secs(30);
    let pool = PostgresPool::builder(settings).unwrap().connect_timeout(Duration::from_secs(10)).min_size(0);
    let pool = PostgresPool::from(pool.build().unwrap());
    drop(pool.acquire().await.expect("half of it is for the other one"));
    assert_eq!((pool.stats().opened, pool.stats().open_failures), (1, 0), "at the first attempt");
    pool.disconnect().await;
}

/// The last one, too, has to be done before the pool drops the attempt, which would say nothing of the others.
#[tokio::test]
async fn what_failed_first_is_told_if_the_last_one_says_nothing() {
    let (_server, _proxy, mut settings) = counted().await;
    let (first, (_last, last)) = (away().await, silent().await);
    settings.target_session_attrs = "any".parse().unwrap();
    settings.hosts = vec![first.clone(), last.clone()];
    settings.pool.connect_timeout = Duration::from_secs(3);
    // Between the ends of two attempts: not when the pool drops one.
    settings.pool.acquire_timeout = Duration::from_secs(7);
    let pool = PostgresPool::connect_lazy(settings).unwrap();
    let error = PostgresError::from(pool.acquire().await.map(drop).unwrap_err());
    tells_both(&error, &first, &last);
}

/// A name may have several addresses, and a pool connections to each.
#[tokio::test]
async fn connections_are_retired_by_the_name_of_their_host_and_by_its_address() {
    let (_server, proxy, mut settings) = counted().await;
    let port = proxy.address().port();
    let mut host = Host::new("db.invalid", port);
    host.address = Some([127, 0, 0, 1].into());
    settings.hosts = vec![host];
    let pool = PostgresPool::connect(settings).await.unwrap();
    for (host, opened) in [
        (format!("127.0.0.2:{port}"), 1),
        (format!("127.0.0.1:{port}"), 2),
        ("db.invalid:1".to_owned(), 2),
        (format!("db.invalid:{port}"), 3),
    ] {
        pool.retire_host(&host);
        drop(pool.acquire().await.unwrap());
        assert_eq!(pool.stats().opened, opened, "{host}");
    }
    pool.disconnect().await;
}

#[tokio::test]
async fn what_failed_first_is_told_if_nothing_will_do() {
    let (_server, _proxy, mut settings) = counted().await;
    let (first, last) = (away().await, away().await);
    settings.hosts = vec![first.clone(), last.clone()];
    settings.pool.acquire_timeout = Duration::from_secs(4);
    let error = PostgresPool::connect(settings).await.unwrap_err();
    tells_both(&error, &first, &last);
}

/// A wrong password stays so, but the server that is away may know it.
#[tokio::test]
async fn an_attempt_is_hopeless_only_if_it_is_so_everywhere() {
    let (_server, _proxy, mut settings) = counted().await;
    (settings.user, settings.password) = (Some("ann".to_owned()), Some("s3cr3t, and wrong".into()));
    settings.target_session_attrs = "any".parse().unwrap();
    let refuses = settings.hosts[0].clone();
    settings.hosts = vec![away().await, refuses];
    settings.pool.acquire_timeout = Duration::from_secs(4);
    let started = Instant::now();
    let error = PostgresPool::connect(settings).await.unwrap_err();
    assert!(matches!(error, PostgresError::Acquire(AcquireError::Timeout { .. })), "{error}");
    assert!(started.elapsed() >= Duration::from_secs(4), "it is tried for as long as there is time");
    assert_eq!(cause(&error).sqlstate().map(SqlState::code), Some("28P01"), "{error}");
}
