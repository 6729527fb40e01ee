//! One listens and the other one sends, while the session that listens is ended: `cargo run -p pool-postgres --example listen`. It starts a server of its own.

#[cfg(not(feature = "loom"))]
mod shown {
    use std::error::Error;

    use pool_postgres::{Event, PostgresPool, QueryError, Subscription};
    use pool_testkit::postgres::EphemeralPostgres;

    /// Says what it hears, up to the last one.
    async fn follow(mut jobs: Subscription) {
        while let Some(event) = jobs.recv().await {
            match event {
                Event::Notification(notification) if notification.payload() == "last" => return,
                Event::Notification(notification) => println!("heard {}", notification.payload()),
                // Here it would look at the table.
                other => println!("something may be missing: {other:?}"),
            }
        }
    }

    /// Sends some, and has the session ended in between.
    async fn send(pool: &PostgresPool, again: &mut Subscription) -> Result<(), QueryError> {
        pool.notify("jobs", "1").await?;
        pool.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'", &[]).await?;
        // This one has the gap as well, and so knows when the server listens again.
        again.recv().await;
        pool.notify("jobs", "2").await?;
        pool.notify("jobs", "last").await
    }

    #[tokio::main]
    pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
        let server = EphemeralPostgres::start()?;
        let pool = PostgresPool::connect(server.url().parse()?).await?;
        let listener = pool.listener();
        let following = tokio::spawn(follow(listener.subscribe("jobs").await?));
        let mut again = listener.subscribe("nothing").await?;

        send(&pool, &mut again).await?;
        following.await?;
        pool.disconnect().await;
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
