//! One handle on servers, by what they are used as.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pool_core::{ConnectionFacts, HookPoint, Hooks};
use pool_postgres::{
    Credentials, PostgresConfig, PostgresConnection, PostgresLease, PostgresPool, PostgresServers, ServerRole,
};
use pool_testkit::postgres::EphemeralPostgres;

use crate::common::{config, eventually};

/// Two servers that can be written to, and their configuration.
fn two() -> (EphemeralPostgres, EphemeralPostgres, PostgresConfig) {
    let (first, second) = (EphemeralPostgres::start().unwrap(), EphemeralPostgres::start().unwrap());
    let mut settings = config(&first.url(), 4);
    settings.hosts.push(config(&second.url(), 4).hosts[0].clone());
    (first, second, settings)
}

async fn port_of(lease: &PostgresLease<'_>) -> u16 {
    let row = lease.query_one("SELECT inet_server_port()", &[]).await.unwrap();
    u16::try_from(row.get::<_, i32>(0)).unwrap()
}

async fn admin(server: &EphemeralPostgres) -> PostgresPool {
    PostgresPool::connect(config(&server.url(), 1)).await.unwrap()
}

/// Three idle connections.
async fn three_idle(pool: &PostgresPool) {
    let leases = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    drop(leases);
    eventually("they are idle", async || pool.state().idle == 3).await;
}

#[tokio::test]
async fn a_primary_that_was_told_to_be_read_only_is_left() {
    let (first, second, settings) = two();
    let (servers, admin) = (PostgresServers::new(settings).unwrap(), admin(&first).await);
    let primary = servers.primary();
    three_idle(primary).await;
    let admin = admin.acquire().await.unwrap();
    admin.batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").await.unwrap();
    admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let lease = primary.acquire().await.unwrap();
    let knows = async || {
        let row = lease.query_one("SHOW default_transaction_read_only", &[]).await.unwrap();
        row.get::<_, &str>(0) == "on"
    };
    eventually("it knows", knows).await;
    assert_eq!(primary.stats().closed, 0);
    drop(lease);
    eventually("all to it are closed", async || primary.stats().closed == 3).await;
    assert_eq!(port_of(&primary.acquire().await.unwrap()).await, second.port());
    servers.disconnect().await;
}

/// A server is what it is, whatever somebody has told his session.
#[tokio::test]
async fn a_session_that_was_told_to_be_read_only_is_closed_alone() {
    let (first, _second, settings) = two();
    let servers = PostgresServers::new(settings).unwrap();
    let primary = servers.primary();
    three_idle(primary).await;
    let lease = primary.acquire().await.unwrap();
    lease.batch_execute("SET default_transaction_read_only = on; BEGIN").await.unwrap();
    drop(lease);
    eventually("it is closed", async || primary.stats().closed == 1).await;
    assert_eq!(primary.state().idle, 2);
    assert_eq!(port_of(&primary.acquire().await.unwrap()).await, first.port());
    assert_eq!(primary.stats().closed, 1);
    servers.disconnect().await;
}

#[tokio::test]
async fn a_pool_of_one_role_leaves_such_a_server_too() {
    let server = EphemeralPostgres::start().unwrap();
    for (wanted, closed) in [("read-write", 1), ("any", 0), ("primary", 0)] {
        let mut settings = config(&server.url(), 1);
        settings.target_session_attrs = wanted.parse().unwrap();
        let pool = PostgresPool::connect(settings).await.unwrap();
        pool.acquire().await.unwrap().batch_execute("SET default_transaction_read_only = on").await.unwrap();
        drop(pool.acquire().await.unwrap());
        assert_eq!(pool.stats().broken, closed, "{wanted}");
        pool.disconnect().await;
    }
}

#[tokio::test]
async fn roles_share_what_they_are_told_and_end_together() {
    let (first, second, mut settings) = two();
    settings.pool.min_size = 2;
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let provider = move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok(Credentials::new("s3cr3t anything")) }
    };
    let servers = PostgresServers::builder(settings.clone()).credentials(provider).build().unwrap();
    let primary = servers.primary().acquire().await.unwrap();
    assert_eq!(port_of(&primary).await, first.port());
    let read = servers.prefer_replica().acquire().await.unwrap();
    assert!([first.port(), second.port()].contains(&port_of(&read).await), "there is no standby");
    assert_eq!(calls.load(Ordering::Relaxed), 1, "for both");
    let opened: Vec<_> = servers.pools().map(|(role, pool)| (role, pool.stats().opened > 0)).collect();
    let expected = [(ServerRole::Primary, true), (ServerRole::Replica, false), (ServerRole::PreferReplica, true)];
    assert_eq!(opened, expected, "the one that nobody needs opens nothing");
    // As they were given, but for one: the time that follows from how many servers there are stays.
    let mut pool = settings.pool;
    pool.max_size = 3;
    let changed = servers.reconfigure(pool.clone()).unwrap();
    assert!(changed.iter().all(|(_, changed)| changed.now == ["max_size"]), "{changed:?}");
    assert!(servers.pools().all(|(_, pool)| pool.config().max_size == 3 && pool.config().lazy));
    pool.max_size = 0;
    assert!(servers.reconfigure(pool).is_err());
    assert!(servers.pools().all(|(_, pool)| pool.config().max_size == 3));
    drop((primary, read));
    servers.clone().disconnect().await;
    assert!(servers.pools().all(|(_, pool)| pool.is_closed() && pool.state().size == 0));
    assert_eq!(servers.close_within(std::time::Duration::ZERO).await, 0);
}

/// Another size for each, one budget for all, and hooks that somebody else has.
#[tokio::test]
async fn each_role_may_have_a_pool_that_is_more_than_its_settings() {
    struct Counted(Arc<AtomicU64>);

    impl Hooks<PostgresConnection> for Counted {
        fn points(&self) -> &[HookPoint] {
            &[HookPoint::BeforeClose]
        }

        async fn before_close(&self, _: &mut PostgresConnection, _: &ConnectionFacts) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    let (first, second, settings) = two();
    let closed = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&closed);
    let builder = PostgresServers::builder(settings).pools(move |role, pool| match role {
        ServerRole::Primary => pool.max_size(3).hooks(Counted(Arc::clone(&counted))),
        _ => pool.max_size(7),
    });
    let servers = builder.build().unwrap();
    let sizes: Vec<_> = servers.pools().map(|(_, pool)| pool.config().max_size).collect();
    assert_eq!(sizes, [3, 7, 7]);
    three_idle(servers.primary()).await;
    assert_eq!(port_of(&servers.primary().acquire().await.unwrap()).await, first.port());
    // It follows as ever.
    let admin = admin(&first).await;
    admin.acquire().await.unwrap().batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").await.unwrap();
    admin.acquire().await.unwrap().batch_execute("SELECT pg_reload_conf()").await.unwrap();
    eventually("it is followed", async || port_of(&servers.primary().acquire().await.unwrap()).await == second.port())
        .await;
    eventually("all to the first are closed", async || closed.load(Ordering::Relaxed) == 3).await;
    servers.disconnect().await;
    assert_eq!(closed.load(Ordering::Relaxed), servers.primary().stats().closed);
}
