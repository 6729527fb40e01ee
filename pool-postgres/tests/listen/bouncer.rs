//! PgBouncer in between.

use std::time::Duration;

use pool_postgres::diagnosis::Advice;
use pool_postgres::{ListenError, PostgresPool};
use pool_testkit::postgres::{EphemeralPostgres, PgBouncer};

use crate::common::config;
use crate::stage::all_before;

/// What is sent has so long to arrive.
async fn pool(bouncer: &PgBouncer, limit: Duration) -> PostgresPool {
    let mut settings = config(&bouncer.url(), 3);
    settings.pool.health_check_timeout = limit;
    PostgresPool::connect(settings).await.unwrap()
}

#[tokio::test]
async fn with_a_session_for_each_client_it_works() {
    let server = EphemeralPostgres::start().unwrap();
    let bouncer = PgBouncer::in_front_of(&server).setting("pool_mode", "session").start().unwrap();
    let pool = pool(&bouncer, Duration::from_secs(20)).await;
    let mut subscription = pool.listener().subscribe("a").await.unwrap();
    assert!(all_before(&mut subscription, &pool, "1").await.is_empty());
    pool.disconnect().await;
}

#[tokio::test]
async fn with_sessions_that_are_shared_there_is_an_error_that_says_so() {
    let server = EphemeralPostgres::start().unwrap();
    for sessions in ["1", "5"] {
        let bouncer = PgBouncer::in_front_of(&server)
            .setting("pool_mode", "transaction")
            .setting("default_pool_size", sessions)
            .start()
            .unwrap();
        // All of it is waited for; to send it takes less, also where a machine stands still meanwhile.
        let pool = pool(&bouncer, Duration::from_secs(4)).await;
        let error = pool.listener().subscribe("a").await.unwrap_err();
        assert!(matches!(error, ListenError::NotDelivered { .. }), "{sessions}: {error}");
        assert!(error.to_string().contains("pooler in transaction mode"), "{error}");
        assert_eq!(error.diagnosis().advice, Advice::FixConfiguration);
        // To notify works.
        pool.notify("a", "1").await.unwrap();
        pool.disconnect().await;
    }
}
