//! An outage under a thousand callers who wait it out.

use std::time::{Duration, Instant};

use pool_postgres::PostgresPool;
use pool_testkit::postgres::EphemeralPostgres;
use pool_testkit::proxy::{Admission, Proxy, Toxic};
use serde::Serialize;
use tokio::time::sleep;

use super::part::{Crowd, Part, count, float, soon};
use super::server::{NAME, start, until};
use crate::claim::{at_least, at_most, reported};
use crate::database::settings;

const WAITERS: usize = 1_000;

#[derive(Debug, Serialize)]
struct Outage {
    seconds: f64,
    served: usize,
    /// From its end until the last one was served.
    served_s: f64,
    max_openers: usize,
    /// The most connections at a time that the server had not let in yet.
    most_opening: usize,
    failed_attempts: u64,
    opened: u64,
}

/// For half of the time nobody listens, for the other half whoever comes hears nothing.
pub(crate) async fn wait_out(name: &str, quick: bool) -> Part {
    let half = Duration::from_secs(if quick { 1 } else { 5 });
    let server = start(EphemeralPostgres::builder()).await;
    let proxy = Proxy::postgres(("127.0.0.1", server.port())).await.expect("a proxy");
    proxy.admit(Admission::Refuse).await;
    let mut config = settings(proxy.address().port(), NAME);
    config.pool.breaker_failures = None;
    let pool = PostgresPool::connect_lazy(config).expect("settings that work");
    let crowd = Crowd::of(WAITERS, || served(pool.clone()));
    until("all wait", async || pool.state().waiting == WAITERS).await;
    let begun = Instant::now();
    let healed = go_away(name, &proxy, half).await;
    let (number, seconds) = crowd.all_served(healed).await;
    let (stats, max_openers) = (pool.stats(), pool.config().max_openers);
    pool.disconnect().await;
    let outage = Outage {
        seconds: (healed - begun).as_secs_f64(),
        served: number,
        served_s: seconds,
        max_openers,
        most_opening: proxy.seen().most_opening,
        failed_attempts: stats.open_failures,
        opened: stats.opened,
    };
    eprintln!("{name}: {outage:?}");
    let claims = vec![
        at_least(count(WAITERS), &format!("{name}, served of those who waited"), count(outage.served)),
        at_most(soon(), &format!("{name}, s until the last of them was served"), outage.served_s),
        at_least(1.0, &format!("{name}, connects at the same time"), count(outage.most_opening)),
        at_most(count(max_openers), &format!("{name}, connects at the same time"), count(outage.most_opening)),
        reported(&format!("{name}, attempts in vain"), float(outage.failed_attempts)),
    ];
    Part::new(&outage, claims)
}

/// When it was over.
async fn go_away(name: &str, proxy: &Proxy, half: Duration) -> Instant {
    eprintln!("{name}: {WAITERS} callers wait, and nobody listens for {half:?}");
    sleep(half).await;
    eprintln!("{name}: nobody answers for {half:?}");
    proxy.set_both(Toxic::Hold);
    proxy.admit(Admission::Forward).await;
    sleep(half).await;
    let healed = Instant::now();
    proxy.calm().await;
    healed
}

/// When somebody was served.
async fn served(pool: PostgresPool) -> Option<Instant> {
    let lease = pool.acquire().await.ok()?;
    lease.batch_execute("SELECT 1").await.is_ok().then(Instant::now)
}
