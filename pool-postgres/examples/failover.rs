//! A primary dies and its standby takes over, while somebody writes: `cargo run -p pool-postgres --example failover`. It starts two servers of its own.

#[cfg(not(feature = "loom"))]
mod shown {
    use std::error::Error;
    use std::time::Instant;

    use pool_postgres::{PostgresConfig, PostgresServers};
    use pool_testkit::postgres::EphemeralPostgres;

    /// Writes to the primary, and says which server that was.
    async fn write(servers: &PostgresServers) -> Result<i32, Box<dyn Error>> {
        let lease = servers.primary().acquire().await?;
        Ok(lease.query_one("INSERT INTO visits VALUES (inet_server_port()) RETURNING port", &[]).await?.get(0))
    }

    /// Writes until it works. The session from before has gone with its server; a statement on it may fail once.
    async fn written(servers: &PostgresServers) -> i32 {
        loop {
            match write(servers).await {
                Ok(port) => return port,
                Err(error) => println!("{error}"),
            }
        }
    }

    /// Two servers, one of which follows the other.
    fn pair() -> Result<(EphemeralPostgres, EphemeralPostgres, PostgresServers), Box<dyn Error>> {
        let mut first = EphemeralPostgres::builder().replicated().start()?;
        let second = first.standby()?;
        let ports = format!("{},{}", first.port(), second.port());
        let config: PostgresConfig = format!("host=127.0.0.1,127.0.0.1 port={ports} user=postgres").parse()?;
        Ok((first, second, PostgresServers::new(config)?))
    }

    async fn report(servers: &PostgresServers) -> Result<(), Box<dyn Error>> {
        let lease = servers.prefer_replica().acquire().await?;
        let row = lease.query_one("SELECT count(*) FROM visits", &[]).await?;
        println!("{} visits", row.get::<_, i64>(0));
        for (role, pool) in servers.pools() {
            println!("{role}: {} opened", pool.stats().opened);
        }
        Ok(())
    }

    #[tokio::main]
    pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
        let (mut first, second, servers) = pair()?;
        servers.primary().acquire().await?.batch_execute("CREATE TABLE visits (port int)").await?;
        println!("written to {}", write(&servers).await?);
        second.catch_up(&first)?;

        first.kill9()?;
        let killed = Instant::now();
        second.promote()?;
        println!("promoted after {:?}", killed.elapsed());
        let port = written(&servers).await;
        println!("written to {port} after {:?}", killed.elapsed());
        assert_eq!(port, i32::from(second.port()));

        report(&servers).await?;
        servers.disconnect().await;
        Ok(())
    }
}

#[cfg(not(feature = "loom"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    shown::main()
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
