//! Who cannot be subscribed, and is told why.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pool_postgres::diagnosis::Advice;
use pool_postgres::pool_core::AcquireError;
use pool_postgres::{ListenError, PostgresPool};
use pool_testkit::postgres::EphemeralPostgres;

use crate::common::{config, database, eventually, pool};
use crate::stage::payload;

#[tokio::test]
async fn a_pool_of_one_has_none_to_keep() {
    let (_database, pool) = pool(1).await;
    let error = pool.listener().subscribe("a").await.unwrap_err();
    assert!(matches!(error, ListenError::PoolTooSmall { max_size: 1, kept: 0 }), "{error}");
    assert_eq!(error.diagnosis().advice, Advice::FixConfiguration);
    pool.batch_execute("SELECT 1").await.unwrap();
}

#[test]
fn outside_of_a_runtime_there_is_an_error() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_database, pool) = runtime.block_on(pool(2));
    let listener = pool.listener();
    let mut subscribing = std::pin::pin!(listener.subscribe("a"));
    let polled = subscribing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Err(ListenError::NoRuntime))));
    assert_eq!(pool.state().reserved, 0);
}

#[tokio::test]
async fn a_closed_pool_is_told_at_once() {
    let (_database, pool) = pool(2).await;
    let listener = pool.listener();
    pool.disconnect().await;
    for _ in 0..2 {
        let error = listener.subscribe("a").await.unwrap_err();
        assert!(matches!(error, ListenError::Acquire(AcquireError::Closed)), "{error}");
    }
}

#[tokio::test]
async fn a_pool_that_is_full_is_waited_for_and_then_told() {
    let database = database();
    let pool = PostgresPool::connect_lazy(config(database.url(), 2)).unwrap();
    let leases = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    // Only for as long as nobody can have one: others may have to wait for theirs.
    let patient = (*pool.config()).clone();
    let mut impatient = patient.clone();
    impatient.acquire_timeout = Duration::from_millis(100);
    pool.reconfigure(impatient).unwrap();
    let listener = pool.listener();
    let error = listener.subscribe("a").await.unwrap_err();
    assert!(matches!(error, ListenError::Acquire(AcquireError::Timeout { .. })), "{error}");
    assert_eq!(error.diagnosis().advice, Advice::RetryLater);
    pool.reconfigure(patient).unwrap();
    drop(leases);
    let mut subscription = listener.subscribe("a").await.unwrap();
    pool.notify("a", "1").await.unwrap();
    assert_eq!(payload(&mut subscription).await, "1");
}

#[tokio::test]
async fn a_server_that_does_not_let_in_is_told() {
    let database = database();
    let mut settings = config(database.url(), 2);
    settings.database = Some("no such".to_owned());
    let pool = PostgresPool::connect_lazy(settings).unwrap();
    let error = pool.listener().subscribe("a").await.unwrap_err();
    assert!(matches!(error, ListenError::Acquire(AcquireError::OpenFailed { .. })), "{error}");
}

/// What the server refuses of one channel is no reason to keep the others waiting: those of a database whose encoding does not have their letters, here.
#[tokio::test]
async fn a_channel_that_the_server_refuses_is_nobody_elses_trouble() {
    let server = EphemeralPostgres::start().unwrap();
    let admin = PostgresPool::connect(config(&server.url(), 1)).await.unwrap();
    let create = "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0";
    admin.batch_execute(create).await.unwrap();
    admin.disconnect().await;
    let mut settings = config(&server.url(), 3);
    settings.database = Some("latin".to_owned());
    let pool = PostgresPool::connect(settings).await.unwrap();
    let listener = pool.listener();
    let subscribe = |name: &'static str| {
        let listener = listener.clone();
        async move { listener.subscribe(name).await }
    };
    // All at once, so that they are asked for together.
    let (snowman, good, other) = tokio::join!(subscribe("\u{2603}"), subscribe("gr\u{fc}n"), subscribe("b"));
    let error = snowman.unwrap_err();
    assert!(matches!(error, ListenError::Refused(_)), "{error}");
    assert!(error.to_string().starts_with("listening by \"LISTEN \"\u{2603}\"\" on "), "{error}");
    assert!(error.to_string().contains("22P05"), "{error}");
    let (mut good, _other) = (good.unwrap(), other.unwrap());
    pool.notify("gr\u{fc}n", "1").await.unwrap();
    assert_eq!(payload(&mut good).await, "1");
    // None of several, if one is refused.
    assert!(listener.subscribe_all(["c", "\u{2603}"]).await.is_err());
    assert_eq!(pool.state().reserved, 1);
    pool.disconnect().await;
}

/// The pool's only server is one that listens to nobody.
#[tokio::test]
async fn a_standby_refuses() {
    let mut primary = EphemeralPostgres::builder().replicated().start().unwrap();
    let standby = primary.standby().unwrap();
    let pool = PostgresPool::connect(config(&standby.url(), 2)).await.unwrap();
    let error = pool.listener().subscribe("a").await.unwrap_err();
    assert!(error.to_string().contains("cannot execute LISTEN during recovery"), "{error}");
    eventually("its connection is gone", async || pool.state().reserved == 0).await;
    pool.disconnect().await;
}
