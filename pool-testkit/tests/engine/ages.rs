//! Connections that grow old: replaced before they are closed, and checked when they were idle for long.

use std::time::Duration;

use pool_core::{Config, Pool};
use pool_testkit::fake::{Call, FakeDriver, Step};
use tokio::time::{Instant, sleep};

use crate::common::{SECOND, is_pending, pool_with, prove_nothing_lost, quiet, until};

fn with(driver: &FakeDriver, change: impl FnOnce(&mut Config)) -> Pool<FakeDriver> {
    let mut config = quiet(10);
    change(&mut config);
    pool_with(driver, config)
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_replaced_before_it_is_closed() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Delay(SECOND));
    let pool = with(&driver, |config| {
        (config.max_size, config.min_size, config.max_lifetime) = (3, 2, Some(100 * SECOND));
    });
    pool.ready(10 * SECOND).await.unwrap();
    let mut least = 2;
    for _ in 0..2_200 {
        sleep(SECOND / 10).await;
        least = least.min(pool.state().idle);
    }
    assert_eq!(least, 2, "there were always two");
    let stats = pool.stats();
    assert!((4..=6).contains(&stats.expired) && stats.opened == stats.expired + 2, "{stats:?}");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn at_the_maximum_one_at_a_time_is_closed_first() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Delay(SECOND));
    let pool = with(&driver, |config| {
        (config.max_size, config.min_size, config.max_lifetime) = (5, 5, Some(100 * SECOND));
    });
    pool.ready(20 * SECOND).await.unwrap();
    let mut least = 5;
    for _ in 0..2_200 {
        sleep(SECOND / 10).await;
        least = least.min(pool.state().idle);
    }
    assert_eq!(least, 4);
    assert!((10..=15).contains(&pool.stats().expired), "{:?}", pool.stats());
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn headroom_lets_the_replacement_come_first() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Delay(SECOND));
    let pool = with(&driver, |config| {
        (config.max_size, config.min_size, config.max_lifetime) = (5, 5, Some(100 * SECOND));
        config.rotation_headroom = 1;
    });
    driver.limit(6);
    pool.ready(20 * SECOND).await.unwrap();
    let mut least = 5;
    for _ in 0..2_200 {
        sleep(SECOND / 10).await;
        least = least.min(pool.state().idle);
    }
    assert_eq!((least, driver.ledger().peak()), (5, 6));
    assert!((10..=15).contains(&pool.stats().expired), "{:?}", pool.stats());
    driver.limit(5);
    prove_nothing_lost(&pool, &driver).await;
}

/// All twenty are of the same age, and their lives are short: there is no time to lose between one and the next. The least that was idle at a time, and the
/// most that was open.
async fn rotate_in_a_hurry(headroom: usize) -> (usize, usize) {
    let (driver, millisecond) = (FakeDriver::new(), SECOND / 1000);
    driver.always(Call::Connect, Step::Delay(5 * millisecond));
    driver.always(Call::Close, Step::Delay(millisecond));
    let pool = with(&driver, |config| {
        (config.max_size, config.min_size, config.max_lifetime) = (20, 20, Some(SECOND));
        config.rotation_headroom = headroom;
    });
    driver.limit(20 + headroom);
    pool.ready(SECOND).await.unwrap();
    let (mut least, mut beyond) = (20, 0);
    for _ in 0..5_000 {
        sleep(millisecond).await;
        let idle = pool.state().idle;
        least = least.min(idle);
        beyond = if idle > 20 { beyond + 1 } else { 0 };
        assert!(beyond < 3, "whose replacement is there leaves at once");
    }
    assert!((90..=180).contains(&pool.stats().expired), "{:?}", pool.stats());
    let peak = driver.ledger().peak();
    // It may rotate meanwhile, too.
    prove_nothing_lost(&pool, &driver).await;
    (least, peak)
}

#[tokio::test(start_paused = true)]
async fn one_after_the_other_is_replaced_without_a_rest() {
    assert_eq!(rotate_in_a_hurry(0).await, (19, 20), "one at a time");
}

/// The connection that leaves makes the room for the next replacement, for which nobody else has to leave.
#[tokio::test(start_paused = true)]
async fn with_headroom_none_is_missed_in_a_hurry() {
    assert_eq!(rotate_in_a_hurry(1).await, (20, 21));
}

/// All five are in use, each for half a second at a time: each is replaced when it comes back.
#[tokio::test(start_paused = true)]
async fn busy_connections_are_replaced_as_they_come_back() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Delay(SECOND / 100));
    let pool = with(&driver, |config| (config.max_size, config.max_lifetime) = (5, Some(100 * SECOND)));
    let users: Vec<_> = (0..8)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut longest = Duration::ZERO;
                for _ in 0..400 {
                    let started = Instant::now();
                    let lease = pool.acquire().await.unwrap();
                    longest = longest.max(started.elapsed());
                    sleep(SECOND / 2).await;
                    drop(lease);
                }
                longest
            })
        })
        .collect();
    for user in users {
        let longest = user.await.unwrap();
        assert!(longest < SECOND + SECOND / 10, "{longest:?}");
    }
    assert!(pool.stats().expired >= 15, "{:?}", pool.stats());
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_needs_is_not_replaced() {
    let driver = FakeDriver::new();
    let pool = with(&driver, |config| (config.min_size, config.max_lifetime) = (1, Some(100 * SECOND)));
    pool.warm_up(6, Duration::ZERO, SECOND).await.unwrap();
    sleep(101 * SECOND).await;
    assert_eq!(pool.state().size, 1);
    assert_eq!((pool.stats().expired, pool.stats().opened), (6, 7));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_down_costs_no_connection_before_its_time() {
    let driver = FakeDriver::new();
    let pool = with(&driver, |config| (config.min_size, config.max_lifetime) = (2, Some(100 * SECOND)));
    pool.ready(SECOND).await.unwrap();
    driver.always(Call::Connect, Step::Fail);
    sleep(89 * SECOND).await;
    assert_eq!(pool.state().idle, 2, "due since 80 s at the earliest, and kept");
    driver.reached(Call::Connect, 3).await;
    driver.always(Call::Connect, Step::Ok);
    sleep(13 * SECOND).await;
    assert_eq!((pool.state().idle, pool.stats().expired), (2, 2));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_idle_for_long_is_checked_before_it_is_handed_out() {
    let driver = FakeDriver::new();
    let pool = with(&driver, |config| {
        (config.check_after_idle, config.check_timeout) = (Some(10 * SECOND), 3 * SECOND);
    });
    drop(pool.acquire().await.unwrap());
    sleep(5 * SECOND).await;
    drop(pool.acquire().await.unwrap());
    assert_eq!(driver.begun(Call::Ping), 0, "it was not idle for long");
    sleep(12 * SECOND).await;
    drop(pool.acquire().await.unwrap());
    drop(pool.acquire().await.unwrap());
    assert_eq!(driver.begun(Call::Ping), 1, "once");
    assert_eq!((pool.stats().check.count, pool.stats().opened), (1, 1));
    sleep(12 * SECOND).await;
    drop(pool.try_acquire().unwrap());
    assert_eq!(driver.begun(Call::Ping), 1, "who does not wait does not check");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_answer_is_replaced_for_the_one_who_waits() {
    let driver = FakeDriver::new();
    let pool = with(&driver, |config| {
        (config.check_after_idle, config.check_timeout) = (Some(10 * SECOND), 3 * SECOND);
    });
    pool.warm_up(2, Duration::ZERO, SECOND).await.unwrap();
    sleep(12 * SECOND).await;
    driver.always(Call::Ping, Step::Hang);
    let started = Instant::now();
    let lease = pool.acquire().await.unwrap();
    assert_eq!((started.elapsed(), lease.id()), (SECOND / 10, 2), "nobody relies on either after that");
    drop(lease);
    sleep(5 * SECOND).await;
    assert_eq!((pool.stats().errors.pings, pool.stats().broken), (2, 2));
    prove_nothing_lost(&pool, &driver).await;
}

/// One caller has one connection checked and not all of them; the next caller another one.
#[tokio::test(start_paused = true)]
async fn as_many_are_checked_as_there_are_callers() {
    let driver = FakeDriver::new();
    let pool = with(&driver, |config| (config.max_size, config.check_after_idle) = (4, Some(10 * SECOND)));
    pool.warm_up(4, Duration::ZERO, SECOND).await.unwrap();
    sleep(12 * SECOND).await;
    driver.always(Call::Ping, Step::Hold);
    let mut waiters: Vec<_> = (0..2).map(|_| Box::pin(pool.acquire())).collect();
    assert!(is_pending(&mut waiters[0]));
    driver.reached(Call::Ping, 1).await;
    sleep(SECOND / 50).await;
    assert_eq!((driver.begun(Call::Ping), pool.state().idle), (1, 3));
    assert!(is_pending(&mut waiters[1]));
    driver.reached(Call::Ping, 2).await;
    sleep(SECOND / 50).await;
    assert_eq!((driver.begun(Call::Ping), pool.state().idle), (2, 2));
    driver.let_go(Call::Ping, 2);
    for waiter in waiters {
        drop(waiter.await.unwrap());
    }
    driver.always(Call::Ping, Step::Ok);
    prove_nothing_lost(&pool, &driver).await;
}

/// The first check fails, and nothing can be opened: the next idle connection is checked for the one who still waits.
#[tokio::test(start_paused = true)]
async fn a_check_that_fails_is_followed_by_another() {
    let driver = FakeDriver::new();
    let pool = with(&driver, |config| (config.max_size, config.check_after_idle) = (3, Some(10 * SECOND)));
    pool.warm_up(3, Duration::ZERO, SECOND).await.unwrap();
    sleep(12 * SECOND).await;
    driver.always(Call::Connect, Step::Hang);
    driver.script(Call::Ping, [Step::Fail, Step::Panic, Step::Ok]);
    drop(pool.acquire_timeout(2 * SECOND).await.unwrap());
    assert_eq!(pool.stats().errors.pings, 2);
    prove_nothing_lost(&pool, &driver).await;
}

/// The connections that are kept ready are replaced before they are closed, as those of the minimum are.
#[tokio::test(start_paused = true)]
async fn those_that_are_kept_ready_are_replaced_before_they_are_closed() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Delay(SECOND));
    let pool = with(&driver, |config| {
        (config.max_size, config.min_idle, config.max_lifetime) = (4, 1, Some(100 * SECOND));
    });
    until(&pool, |state| state.idle == 1).await;
    let mut least = 1;
    for _ in 0..2_200 {
        sleep(SECOND / 10).await;
        least = least.min(pool.state().idle);
    }
    assert_eq!(least, 1, "there was always one");
    prove_nothing_lost(&pool, &driver).await;
}

/// Nothing can be opened during a pause, so nothing is closed that is to be replaced.
#[tokio::test(start_paused = true)]
async fn a_pause_costs_no_connection_before_its_time() {
    let driver = FakeDriver::new();
    let pool = with(&driver, |config| {
        (config.max_size, config.min_size, config.max_lifetime) = (2, 2, Some(100 * SECOND));
    });
    pool.ready(SECOND).await.unwrap();
    pool.pause();
    let started = Instant::now();
    while started.elapsed() < 89 * SECOND {
        sleep(SECOND / 10).await;
        assert_eq!(pool.state().idle, 2, "one was closed after {:?}, and cannot be replaced", started.elapsed());
    }
    pool.resume();
    sleep(2 * SECOND).await;
    assert!(pool.stats().expired >= 1, "those that are due are replaced after it");
    prove_nothing_lost(&pool, &driver).await;
}

/// A connection that broke does not count as one that is there.
#[tokio::test(start_paused = true)]
async fn a_round_that_finds_a_broken_connection_leaves_the_minimum_alone() {
    let driver = FakeDriver::new();
    let pool = with(&driver, |config| (config.min_size, config.idle_timeout) = (2, Some(10 * SECOND)));
    drop([pool.acquire().await.unwrap(), pool.acquire().await.unwrap(), pool.acquire().await.unwrap()]);
    sleep(9 * SECOND + SECOND / 2).await;
    // The first that the next round looks at is broken.
    driver.script(Call::Inspect, [Step::Fail]);
    driver.always(Call::Connect, Step::Hang);
    sleep(2 * SECOND).await;
    let stats = pool.stats();
    assert_eq!((pool.state().idle, stats.broken, stats.idle_timed_out), (2, 1, 0));
    driver.always(Call::Connect, Step::Ok);
    prove_nothing_lost(&pool, &driver).await;
}
