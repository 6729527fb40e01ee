//! Connections beyond the maximum: there while one is being replaced, and not for longer.

use std::time::Duration;

use pool_core::{Config, Pool};
use pool_testkit::fake::{Call, FakeDriver, Step};
use tokio::time::sleep;

use crate::common::{SECOND, prove_nothing_lost, quiet, until};

/// A pool of so many, all of them needed, whose connections live for this long, with one more while one is replaced; all of them open, and an attempt to open
/// another takes a second.
async fn full(driver: &FakeDriver, size: usize, lifetime: Duration) -> Pool<FakeDriver> {
    driver.always(Call::Connect, Step::Delay(SECOND));
    let mut config = quiet(size);
    (config.min_size, config.max_lifetime, config.rotation_headroom) = (size, Some(lifetime), 1);
    driver.limit(size + 1);
    let pool = Pool::builder(driver.clone()).config(config).seed(1).build().unwrap();
    pool.ready(20 * SECOND).await.unwrap();
    pool
}

fn reconfigure(pool: &Pool<FakeDriver>, change: impl FnOnce(&mut Config)) {
    let mut config = (*pool.config()).clone();
    change(&mut config);
    pool.reconfigure(config).unwrap();
}

async fn prove(pool: &Pool<FakeDriver>, driver: &FakeDriver) {
    reconfigure(pool, |config| (config.rotation_headroom, config.max_lifetime) = (0, None));
    sleep(5 * SECOND).await;
    driver.limit(pool.config().max_size);
    driver.always(Call::Connect, Step::Ok);
    prove_nothing_lost(pool, driver).await;
}

/// The headroom is for the time that a replacement takes.
#[tokio::test(start_paused = true)]
async fn the_headroom_is_given_back_once_the_replacement_is_there() {
    let driver = FakeDriver::new();
    let pool = full(&driver, 5, 1000 * SECOND).await;
    let (mut run, mut longest) = (0, 0);
    for _ in 0..1_200 {
        sleep(SECOND).await;
        run = if pool.state().size > 5 { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    assert!(longest <= 5, "more than max_size for {longest} s on end, with nothing being opened");
    prove(&pool, &driver).await;
}

/// The least that is idle in the next five seconds.
async fn least_idle(pool: &Pool<FakeDriver>) -> usize {
    let mut least = usize::MAX;
    for _ in 0..50 {
        sleep(SECOND / 10).await;
        least = least.min(pool.state().idle);
    }
    least
}

#[tokio::test(start_paused = true)]
async fn a_change_of_any_setting_does_not_shed_what_the_headroom_allows() {
    let driver = FakeDriver::new();
    let pool = full(&driver, 2, 100 * SECOND).await;
    until(&pool, |state| state.opening == 1).await;
    reconfigure(&pool, |config| config.acquire_timeout = 7 * SECOND);
    let least = least_idle(&pool).await;
    assert_eq!((least, pool.stats().excess), (2, 0), "a replacement or what it replaces was shed");
    prove(&pool, &driver).await;
}

/// The very same settings once more: nothing is different, and nothing happens.
#[tokio::test(start_paused = true)]
async fn the_same_settings_once_more_close_nothing() {
    let driver = FakeDriver::new();
    let pool = full(&driver, 2, 100 * SECOND).await;
    until(&pool, |state| state.opening == 1).await;
    let config = (*pool.config()).clone();
    assert_eq!(pool.reconfigure(config).unwrap(), pool_core::Reconfigured::default());
    assert_eq!((least_idle(&pool).await, pool.stats().excess), (2, 0));
    prove(&pool, &driver).await;
}

/// One of three is surplus now, another one is due and has its replacement: two go, and not three.
#[tokio::test(start_paused = true)]
async fn a_lower_maximum_and_a_replacement_do_not_both_take_one_away() {
    let driver = FakeDriver::new();
    let pool = full(&driver, 3, 3000 * SECOND).await;
    driver.reached(Call::Connect, 4).await;
    reconfigure(&pool, |config| (config.max_size, config.min_size) = (2, 2));
    sleep(SECOND / 2).await;
    assert_eq!((pool.state().idle, pool.state().opening, pool.stats().excess), (2, 1, 1));
    let least = least_idle(&pool).await;
    let stats = pool.stats();
    // The first may have been the one that was due.
    assert_eq!((least, stats.state.size, stats.excess + stats.expired), (2, 2, 2), "{stats:?}");
    prove(&pool, &driver).await;
}

/// The one that is due is in use, and its replacement is there; the headroom is taken back.
#[tokio::test(start_paused = true)]
async fn a_headroom_that_is_taken_back_is_given_back() {
    let driver = FakeDriver::new();
    let pool = full(&driver, 2, 100 * SECOND).await;
    let held = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    until(&pool, |state| state.idle == 1).await;
    sleep(2 * SECOND).await;
    assert_eq!((pool.state().idle, pool.state().size), (1, 3), "as soon as one comes back");
    reconfigure(&pool, |config| config.rotation_headroom = 0);
    sleep(SECOND / 10).await;
    assert_eq!((pool.state().idle, pool.state().size, pool.stats().excess), (0, 2, 1));
    drop(held);
    prove(&pool, &driver).await;
}

/// As above, while the replacement is being opened: one that is due goes at once, and only that.
#[tokio::test(start_paused = true)]
async fn a_headroom_is_given_back_while_a_replacement_is_being_opened() {
    let driver = FakeDriver::new();
    let pool = full(&driver, 2, 3000 * SECOND).await;
    driver.reached(Call::Connect, 3).await;
    reconfigure(&pool, |config| config.rotation_headroom = 0);
    sleep(SECOND / 10).await;
    assert_eq!((pool.state().idle, pool.state().opening, pool.stats().expired), (1, 1, 1));
    sleep(SECOND).await;
    assert_eq!((pool.state().idle, pool.stats().excess), (2, 0));
    prove(&pool, &driver).await;
}

/// As many connections as a pool can have, and a headroom for one more than there is a place for.
#[tokio::test(start_paused = true)]
async fn there_is_a_place_for_every_replacement() {
    let driver = FakeDriver::new();
    let pool = full(&driver, 2, 100 * SECOND).await;
    until(&pool, |state| state.opening == 1).await;
    // At this moment the janitor may still believe in a headroom that was for another maximum.
    reconfigure(&pool, |config| {
        (config.max_size, config.rotation_headroom) = (Config::MAX_SIZE_LIMIT, 0);
    });
    sleep(5 * SECOND).await;
    assert_eq!((pool.state().idle, pool.stats().excess), (2, 0));
    reconfigure(&pool, |config| config.max_size = 2);
    prove(&pool, &driver).await;
}

/// A replacement beyond the maximum is not taken for one too many when other settings are put in force meanwhile.
#[tokio::test(start_paused = true)]
async fn other_settings_do_not_disturb_a_replacement() {
    let driver = FakeDriver::new();
    let pool = full(&driver, 2, 100 * SECOND).await;
    driver.always(Call::Connect, Step::Hold);
    until(&pool, |state| state.opening == 1).await;
    reconfigure(&pool, |config| config.acquire_timeout += SECOND);
    sleep(SECOND).await;
    assert_eq!((pool.state().idle, pool.state().opening, pool.stats().excess), (2, 1, 0));
    driver.let_go(Call::Connect, 1);
    sleep(SECOND).await;
    prove(&pool, &driver).await;
}
