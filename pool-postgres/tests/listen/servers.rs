//! Several servers, of which another one is promoted.

use pool_postgres::PostgresServers;
use pool_testkit::postgres::EphemeralPostgres;

use crate::common::config;
use crate::stage::{all_before, one_gap};

#[tokio::test(flavor = "multi_thread")]
async fn it_follows_a_failover() {
    let mut primary = EphemeralPostgres::builder().replicated().start().unwrap();
    let standby = primary.standby().unwrap();
    let text = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres?sslmode=disable",
        primary.port(),
        standby.port()
    );
    let servers = PostgresServers::new(config(&text, 3)).unwrap();
    let listener = servers.primary().listener();
    let mut subscription = listener.subscribe("a").await.unwrap();
    assert!(all_before(&mut subscription, servers.primary(), "1").await.is_empty());
    primary.kill9().unwrap();
    standby.promote().unwrap();
    one_gap(&mut subscription).await;
    assert!(all_before(&mut subscription, servers.primary(), "2").await.is_empty());
    servers.disconnect().await;
    assert_eq!(subscription.recv().await, None);
}
