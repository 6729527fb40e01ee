//! A worker that takes jobs out of a table, several at a time, each done once: `cargo run --example worker`. It brings a PostgreSQL of its own.

#[cfg(not(feature = "loom"))]
mod shown {
    use std::error::Error;

    use pool_postgres::retry::RetryPolicy;
    use pool_postgres::{PostgresConfig, PostgresPool};
    use pool_testkit::postgres::EphemeralPostgres;
    use tokio::task::JoinSet;

    const JOBS: i32 = 200;
    const WORKERS: usize = 4;

    /// Takes one job, so that nobody else does, and does it: all in one transaction, which is tried again where that helps. Whether there was one.
    async fn take_one(pool: &PostgresPool) -> Result<bool, Box<dyn Error + Send + Sync>> {
        let retrier = pool.retrying(RetryPolicy::default())?;
        let found = retrier.transaction(async |lease| {
            let next =
                "DELETE FROM job WHERE id = (SELECT id FROM job ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id";
            let Some(job) = lease.query_opt(next, &[]).await? else { return Ok(false) };
            lease.execute("INSERT INTO done VALUES ($1)", &[&job.get::<_, i32>(0)]).await?;
            Ok::<_, pool_postgres::tokio_postgres::Error>(true)
        });
        Ok(found.await?)
    }

    #[tokio::main]
    pub(crate) async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
        let server = EphemeralPostgres::start()?;
        let mut config: PostgresConfig = server.url().parse()?;
        config.pool.max_size = WORKERS;
        let pool = PostgresPool::connect(config).await?;
        work(&pool).await?;
        let done: i64 = pool.query_one("SELECT count(*) FROM done", &[]).await?.get(0);
        println!("{done} of {JOBS} jobs are done, each once");
        assert_eq!(done, i64::from(JOBS));
        pool.disconnect().await;
        Ok(())
    }

    /// Has all jobs done.
    async fn work(pool: &PostgresPool) -> Result<(), Box<dyn Error + Send + Sync>> {
        pool.batch_execute("CREATE TABLE job (id int); CREATE TABLE done (id int PRIMARY KEY)").await?;
        pool.execute("INSERT INTO job SELECT generate_series(1, $1::int)", &[&JOBS]).await?;
        let mut workers = JoinSet::new();
        for worker in 1..=WORKERS {
            let pool = pool.clone();
            workers.spawn(async move {
                let mut jobs = 0;
                while take_one(&pool).await? {
                    jobs += 1;
                }
                println!("worker {worker} has done {jobs} jobs");
                Ok::<_, Box<dyn Error + Send + Sync>>(())
            });
        }
        while let Some(outcome) = workers.join_next().await {
            outcome??;
        }
        Ok(())
    }
}

#[cfg(not(feature = "loom"))]
fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    shown::main()
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
