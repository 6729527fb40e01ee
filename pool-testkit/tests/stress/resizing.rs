//! A maximum that goes up and down under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pool_core::Pool;
use pool_testkit::fake::{FakeDriver, prove_nothing_lost, quiet};
use tokio::task::yield_now;

use crate::number;

const CALLERS: usize = 100;
const MAXIMA: [usize; 3] = [50, 2, 80];

/// Uses connections until it is told to stop. None may be refused.
async fn call(pool: Pool<FakeDriver>, stop: Arc<AtomicBool>, leases: Arc<AtomicU64>) {
    while !stop.load(Ordering::SeqCst) {
        let lease = pool.acquire().await.unwrap_or_else(|error| panic!("nobody has reason to say: {error}"));
        let in_hand = lease.take_in_hand();
        yield_now().await;
        drop(in_hand);
        drop(lease);
        leases.fetch_add(1, Ordering::SeqCst);
    }
}

/// Another maximum. Once what is leased above it has come back, the ledger notes it if there are ever more connections.
async fn resize(pool: &Pool<FakeDriver>, driver: &FakeDriver, maximum: usize) {
    driver.limit(MAXIMA[2]);
    pool.reconfigure(quiet(maximum)).unwrap();
    let began = Instant::now();
    while pool.state().size > maximum {
        assert!(began.elapsed() < Duration::from_secs(30), "{maximum} are allowed: {:?}", pool.state());
        yield_now().await;
    }
    driver.limit(maximum);
    // By the number of leases and not by the clock: so that there is a load.
    for _ in 0..50 {
        drop(pool.acquire().await.unwrap());
        yield_now().await;
    }
    driver.ledger().check();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_maximum_goes_up_and_down_under_load() {
    let time = Duration::from_secs(number("POOL_STRESS_SECONDS").unwrap_or(3));
    let driver = FakeDriver::new();
    let pool = Pool::builder(driver.clone()).config(quiet(MAXIMA[2])).build().unwrap();
    let (stop, leases) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> =
        (0..CALLERS).map(|_| tokio::spawn(call(pool.clone(), Arc::clone(&stop), Arc::clone(&leases)))).collect();
    let (began, mut maxima) = (Instant::now(), 0);
    while began.elapsed() < time {
        for maximum in MAXIMA {
            resize(&pool, &driver, maximum).await;
            maxima += 1;
        }
    }
    stop.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    eprintln!("{maxima} maxima, {} leases", leases.load(Ordering::SeqCst));
    prove_nothing_lost(&pool, &driver).await;
}
