//! Several runtimes and threads use one pool in every way at once, against a backend that fails at random, and its ledger says whether anything
//! went wrong (I1 to I4, I16, I17).
//!
//! In phases: the runtimes of a phase end with it, the janitor's among them, and the pool goes on with the next ones. `POOL_STRESS_SECONDS=N` begins
//! no phase after N seconds (default 3), `POOL_SEED=S` repeats what a failed run did, as far as threads do the same twice.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "stress/draining.rs"]
mod draining;
#[path = "stress/resizing.rs"]
mod resizing;
#[path = "stress/user.rs"]
mod user;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use pool_core::Pool;
use pool_testkit::fake::{FakeDriver, Odds, prove_nothing_lost, quiet};
use tokio::runtime::{Builder, Runtime};

use pool_testkit::random::Random;
use user::{MOST, Place, User, settings};

const USERS: usize = 6;
const TURNS: usize = 150;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// Says the seed when the test has failed.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("POOL_SEED={}", self.0);
        }
    }
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

fn two_threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

/// Runs the users of one runtime to their end; the runtime ends with them.
fn run_users(runtime: &Runtime, place: &Arc<Place>, mut random: Random) {
    runtime.block_on(async {
        let user = |random| tokio::spawn(User { place: Arc::clone(place), random }.run(TURNS));
        let users: Vec<_> = (0..USERS).map(|_| user(random.split())).collect();
        for user in users {
            user.await.unwrap();
        }
    });
}

fn phase(place: &Arc<Place>, random: &mut Random) {
    let runtimes: [fn() -> Runtime; 3] = [one_thread, one_thread, two_threads];
    place.busy.store(USERS * runtimes.len(), Ordering::SeqCst);
    thread::scope(|scope| {
        scope.spawn(|| place.clean_up());
        for runtime in runtimes {
            let random = random.split();
            scope.spawn(move || run_users(&runtime(), place, random));
        }
    });
}

/// All connections can be had at once, and the books of the pool agree with what its users saw.
async fn check(place: &Place, driver: &FakeDriver) {
    let mut leases = Vec::new();
    for _ in 0..place.pool.config().max_size {
        leases.push(place.pool.acquire().await.expect("a connection was lost"));
        place.acquired.fetch_add(1, Ordering::SeqCst);
    }
    let stats = place.pool.stats();
    assert_eq!((stats.state.leased, stats.state.waiting), (leases.len(), 0));
    let seen = [&place.acquired, &place.timeouts, &place.cancelled].map(|count| count.load(Ordering::SeqCst));
    assert_eq!([stats.acquired, stats.timeouts, stats.cancelled], seen, "acquired, timeouts, cancelled");
    drop(leases);
    driver.ledger().check();
}

#[test]
fn nothing_is_lost_when_everything_happens_at_once() {
    let seed = Seed(number("POOL_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish()));
    let time = Duration::from_secs(number("POOL_STRESS_SECONDS").unwrap_or(3));
    let mut random = Random::new(seed.0);
    let driver = FakeDriver::seeded(seed.0, Odds { fail: 10, delay: 5, hang: 1, panic: 0 });
    driver.limit(MOST);
    let pool = Pool::builder(driver.clone()).config(settings(&mut random)).build().unwrap();
    let place = Place::new(pool);
    let (started, mut said) = (Instant::now(), 0);
    for phases in 1.. {
        phase(&place, &mut random);
        one_thread().block_on(check(&place, &driver));
        let elapsed = started.elapsed();
        if elapsed.as_secs() >= said + 10 {
            said = elapsed.as_secs();
            let (leases, taken_back) = (place.acquired.load(Ordering::SeqCst), place.pool.stats().uncollected);
            eprintln!("{said} s: {phases} phases, {leases} leases, {taken_back} taken back");
        }
        if elapsed >= time {
            break;
        }
    }
    place.pool.reconfigure(quiet(MOST)).unwrap();
    one_thread().block_on(prove_nothing_lost(&place.pool, &driver));
}
