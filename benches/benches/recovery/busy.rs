//! A pool that is too small for those who want to use it, on a server that is well.

use std::time::{Duration, Instant};

use pool_core::{HealthChecker, HealthConfig, HealthState};
use pool_postgres::{PostgresDriver, PostgresPool};
use pool_testkit::postgres::EphemeralPostgres;
use serde::Serialize;
use tokio::time::sleep;

use super::part::{Part, count, float};
use super::server::{NAME, start, until};
use crate::claim::{at_least, at_most};
use crate::database::settings;

const WAITERS: usize = 100;
/// How long each of them waits, again and again.
const PATIENCE: Duration = Duration::from_millis(100);
/// The monitor looks once a second, and says that callers wait when it has seen it twice.
const NOTICED: Duration = Duration::from_secs(3);

#[derive(Debug, Default, Serialize)]
struct Busy {
    seconds: f64,
    timeouts: u64,
    breaker_openings: u64,
    /// Looks at the monitor's report, after it has had the time to notice.
    looks: usize,
    looks_degraded: usize,
    looks_unhealthy: usize,
    /// Of a check that is made at the end.
    last: String,
}

pub(crate) async fn keep_busy(name: &str) -> Part {
    let server = start(EphemeralPostgres::builder()).await;
    let pool = PostgresPool::connect_lazy(settings(server.port(), NAME)).expect("settings that work");
    let monitor = pool.monitor(HealthConfig::default()).expect("settings that work");
    assert_eq!(monitor.check_health().await.state, HealthState::Healthy);
    // All but the one that the monitor has for itself.
    let (size, mut leases) = (pool.config().max_size, Vec::new());
    while leases.len() < size - 1 {
        leases.push(pool.acquire().await.expect("a connection"));
    }
    let waiting: Vec<_> = (0..WAITERS).map(|_| tokio::spawn(wait(pool.clone()))).collect();
    until("they wait", async || pool.state().waiting > WAITERS / 2).await;
    let length = NOTICED + pool.config().breaker_after;
    eprintln!("{name}: {WAITERS} callers wait in vain for {length:?}");
    let mut busy = look(&monitor, length).await;
    let last = monitor.check_health().await;
    busy.last = last.to_string();
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    let stats = pool.stats();
    (busy.timeouts, busy.breaker_openings) = (stats.timeouts, stats.breaker_openings);
    drop((leases, monitor));
    pool.disconnect().await;
    eprintln!("{name}: {busy:?}");
    let claims = vec![
        at_least(count(WAITERS), &format!("{name}, acquires that came to nothing"), float(busy.timeouts)),
        at_most(0.0, &format!("{name}, openings of the breaker"), float(busy.breaker_openings)),
        at_most(0.0, &format!("{name}, looks at a monitor that said more than degraded"), count(busy.looks_unhealthy)),
        at_least(1.0, &format!("{name}, share of looks at which it said degraded"), share(&busy)),
    ];
    Part::new(&busy, claims)
}

/// Looks at what the monitor says, for so long.
async fn look(monitor: &HealthChecker<PostgresDriver>, length: Duration) -> Busy {
    let (started, mut busy) = (Instant::now(), Busy::default());
    sleep(NOTICED).await;
    while started.elapsed() < length {
        sleep(Duration::from_millis(100)).await;
        let state = monitor.report().state;
        busy.looks += 1;
        busy.looks_degraded += usize::from(state == HealthState::Degraded);
        busy.looks_unhealthy += usize::from(!monitor.is_ready());
    }
    busy.seconds = started.elapsed().as_secs_f64();
    busy
}

fn share(busy: &Busy) -> f64 {
    count(busy.looks_degraded) / count(busy.looks)
}

async fn wait(pool: PostgresPool) {
    // Nobody gives anything back.
    while pool.acquire_timeout(PATIENCE).await.is_err() {}
}
