//! What benchmarks on a real server share: settings, sessions that do not go through the pool, and patience.

use std::future::Future;
use std::time::{Duration, Instant};

use pool_postgres::tokio_postgres::{self, Client, NoTls};
use pool_postgres::{Host, PostgresConfig};
use tokio::time::sleep;

/// A pool's settings, each as it comes but for where the server is and what the pool calls its sessions.
pub(crate) fn settings(port: u16, name: &str) -> PostgresConfig {
    let mut config = PostgresConfig::default();
    config.hosts = vec![Host::new(std::net::Ipv4Addr::LOCALHOST.to_string(), port)];
    config.user = Some("postgres".to_owned());
    config.database = Some("postgres".to_owned());
    config.application_name = Some(name.to_owned());
    config
}

/// A session of one's own.
pub(crate) async fn client(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// How many sessions of a pool the server has.
pub(crate) async fn sessions(client: &Client, name: &str) -> usize {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
    let row = client.query_one(count, &[&name]).await.expect("the server counts");
    usize::try_from(row.get::<_, i64>(0)).expect("no fewer than none")
}

/// Asks each millisecond until it holds. Whether it did within the time.
pub(crate) async fn within<F: Future<Output = bool>>(limit: Duration, holds: impl Fn() -> F) -> bool {
    let started = Instant::now();
    while !holds().await {
        if started.elapsed() > limit {
            return false;
        }
        sleep(Duration::from_millis(1)).await;
    }
    true
}
