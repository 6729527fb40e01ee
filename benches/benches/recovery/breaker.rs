//! The server is gone for longer: callers fail at once, and are served again when it is back.

use std::error::Error;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use pool_core::AcquireError;
use pool_postgres::PostgresPool;
use pool_testkit::postgres::EphemeralPostgres;
use serde::Serialize;
use tokio::time::sleep;

use super::part::{Part, count, float, soon};
use super::server::{LIMIT, NAME, restart, start, until};
use crate::claim::{at_most, reported};
use crate::database::settings;

const ACQUIRES: usize = 10_000;
const CALLERS: usize = 20;
/// In microseconds.
const AT_ONCE: f64 = 1_000.0;

#[derive(Debug, Serialize)]
struct Denied {
    acquires: usize,
    /// That ended otherwise than by the breaker with the cause.
    otherwise: usize,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    /// Until the breaker was open.
    opened_s: f64,
    /// From the server's first answer until the first acquire that succeeded.
    served_s: f64,
    said: String,
}

pub(crate) async fn deny(name: &str) -> Part {
    let mut server = start(EphemeralPostgres::builder()).await;
    let pool = PostgresPool::connect_lazy(settings(server.port(), NAME)).expect("settings that work");
    pool.ready(LIMIT).await.expect("the least that it keeps");
    server.kill9().expect("it is killed");
    let killed = Instant::now();
    eprintln!("{name}: waits until the breaker is open");
    until("it opens", async || pool.state().breaker.is_open()).await;
    let opened_s = killed.elapsed().as_secs_f64();
    eprintln!("{name}: {CALLERS} callers acquire {ACQUIRES} times");
    let Failures { latencies, otherwise, said } = acquire_in_vain(&pool).await;
    let (_server, back) = restart(server).await;
    until("it closes", async || pool.acquire().await.is_ok()).await;
    let served_s = back.elapsed().as_secs_f64();
    pool.disconnect().await;
    let at = |quantile| float(latencies.value_at_quantile(quantile)) / 1e3;
    let denied = Denied {
        acquires: ACQUIRES,
        otherwise,
        p50_us: at(0.5),
        p99_us: at(0.99),
        p999_us: at(0.999),
        max_us: at(1.0),
        opened_s,
        served_s,
        said,
    };
    eprintln!("{name}: {denied:?}");
    let claims = vec![
        at_most(0.0, &format!("{name}, acquires that did not fail by it with the cause"), count(otherwise)),
        at_most(AT_ONCE, &format!("{name}, 99th percentile until an acquire failed, µs"), denied.p99_us),
        reported(&format!("{name}, 99.9th percentile, µs"), denied.p999_us),
        reported(&format!("{name}, the slowest, µs"), denied.max_us),
        at_most(soon(), &format!("{name}, s until an acquire succeeded when the server was back"), served_s),
    ];
    Part::new(&denied, claims)
}

/// What came of acquires that should fail.
struct Failures {
    /// How long they took, in nanoseconds.
    latencies: Histogram<u64>,
    otherwise: usize,
    /// By the last one that failed as it should.
    said: String,
}

impl Failures {
    fn none() -> Self {
        Self { latencies: Histogram::new(3).expect("three digits"), otherwise: 0, said: String::new() }
    }

    fn note(&mut self, took: Duration, outcome: Result<(), AcquireError>) {
        self.latencies.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        match outcome {
            Err(error) if is_denied(&error) => self.said = error.to_string(),
            _ => self.otherwise += 1,
        }
    }

    fn add(&mut self, other: Self) {
        self.latencies.add(other.latencies).expect("it grows");
        self.otherwise += other.otherwise;
        self.said = other.said;
    }
}

/// By all callers, while the pool goes on trying.
async fn acquire_in_vain(pool: &PostgresPool) -> Failures {
    let one = |pool: PostgresPool| async move {
        let mut failures = Failures::none();
        for _ in 0..ACQUIRES / CALLERS {
            let started = Instant::now();
            let outcome = pool.acquire().await.map(drop);
            failures.note(started.elapsed(), outcome);
            sleep(Duration::from_millis(5)).await;
        }
        failures
    };
    let callers: Vec<_> = (0..CALLERS).map(|_| tokio::spawn(one(pool.clone()))).collect();
    let mut all = Failures::none();
    for caller in callers {
        all.add(caller.await.expect("it does not panic"));
    }
    all
}

/// Whether the breaker has denied it, and the error leads to the driver's.
fn is_denied(error: &AcquireError) -> bool {
    matches!(error, AcquireError::BreakerOpen { .. }) && error.failure().is_some_and(|cause| cause.source().is_some())
}
