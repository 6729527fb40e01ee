//! How connections come to be here, and go.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pool_core::{ConnectionFacts, HookError, HookPoint, Hooks};
use pool_postgres::{PostgresConfig, PostgresConnection, PostgresPool};
use tokio::time::{sleep, timeout};

use super::super::sessions::World;
use super::Here;

/// How long anybody waits for a connection that may not be there.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

fn config(url: &str, max: usize, change: impl FnOnce(&mut PostgresConfig)) -> PostgresConfig {
    let mut config: PostgresConfig = url.parse().expect("a URI");
    (config.pool.max_size, config.pool.min_size) = (max, 0);
    change(&mut config);
    config
}

pub(super) fn pool(url: &str, max: usize, change: impl FnOnce(&mut PostgresConfig)) -> PostgresPool {
    PostgresPool::connect_lazy(config(url, max, change)).expect("the settings are in range")
}

/// What an acquire says that cannot succeed.
async fn failure(url: &str, cause: &str) -> Here {
    let pool = pool(url, 1, |config| config.pool.acquire_timeout = PATIENCE);
    let begun = Instant::now();
    let error = pool.acquire().await.err().map(|error| error.to_string()).unwrap_or_default();
    let when = if begun.elapsed() < PATIENCE { "at once" } else { "after all of its time" };
    let names_it = error.contains(cause);
    let short = if names_it { format!("... {cause} ...") } else { error };
    Here(names_it, format!("\"{short}\", {when}"))
}

pub(super) async fn refused() -> Here {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its number").port();
    drop(listener);
    failure(&format!("postgres://postgres@127.0.0.1:{port}/postgres"), "refused").await
}

pub(super) async fn role(url: &str) -> Here {
    failure(&url.replace("postgres@", "nobody@"), "does not exist").await
}

pub(super) async fn limit(world: &World) -> Here {
    let role = "DROP ROLE IF EXISTS one_alone; CREATE ROLE one_alone LOGIN CONNECTION LIMIT 1";
    world.outside("sqlx_limit").await.batch_execute(role).await.expect("a role");
    let limited = world.url().replace("postgres@", "one_alone@");
    let pool = pool(&limited, 2, |config| config.pool.acquire_timeout = PATIENCE);
    let held = pool.acquire_owned().await.expect("the one that there may be");
    let second = pool.clone();
    let waiter = tokio::spawn(async move { second.acquire().await.is_ok() });
    sleep(PATIENCE / 4).await;
    drop(held);
    let is_served = waiter.await.expect("it does not panic");
    Here(is_served, if is_served { "is served" } else { "waits for all of its time, for nothing" }.to_owned())
}

pub(super) async fn impatient(url: &str) -> Here {
    let pool = pool(url, 1, |config| config.options = Some("-c post_auth_delay=1".to_owned()));
    let mut served = 0;
    for _ in 0..10 {
        served += u32::from(timeout(Duration::from_millis(300), pool.acquire()).await.is_ok_and(|it| it.is_ok()));
    }
    Here(served > 0, format!("{served} are served"))
}

pub(super) async fn churn(url: &str) -> Here {
    let idle = Duration::from_millis(300);
    let config = config(url, 10, |config| (config.pool.min_size, config.pool.idle_timeout) = (4, Some(idle)));
    let pool = PostgresPool::connect(config).await.expect("a pool");
    sleep(5 * idle).await;
    let opened = pool.stats().opened;
    Here(opened <= 4, format!("{opened} were opened"))
}

/// Panics once.
struct Panics(AtomicBool);

impl Hooks<PostgresConnection> for Panics {
    fn points(&self) -> &[HookPoint] {
        &[HookPoint::AfterOpen]
    }

    async fn after_open(&self, _: &mut PostgresConnection, _: &ConnectionFacts) -> Result<(), HookError> {
        assert!(!self.0.swap(false, Ordering::SeqCst), "it panics");
        Ok(())
    }
}

pub(super) async fn panic(url: &str) -> Here {
    let config = config(url, 1, |config| config.pool.acquire_timeout = PATIENCE);
    let builder = PostgresPool::builder(config).expect("the settings are in range");
    let pool = builder.hooks(Panics(AtomicBool::new(true))).build().expect("the settings are in range");
    let mut served = 0;
    for _ in 0..3 {
        served += u32::from(pool.acquire().await.is_ok());
    }
    Here(served >= 2, format!("{served} are served"))
}

pub(super) fn secret() -> Here {
    let config: PostgresConfig = "postgres://app:s3cr3t@localhost/app".parse().expect("a URI");
    let tells = format!("{config:?}").contains("s3cr3t");
    Here(!tells, if tells { "has the password" } else { "has no password" }.to_owned())
}
