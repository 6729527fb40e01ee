//! Connections that were handed to a waiter that is not polled.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use pool_core::{AcquireError, Config, Lease, Pool, Request};
use pool_testkit::fake::{Call, FakeDriver, Step, quiet};
use tokio::time::{Instant, sleep, timeout};

use crate::common::{SECOND, is_pending, pool_with, prove_nothing_lost, ready, until};
use crate::log::Log;
use crate::schedule::{prove, schedule};
use crate::settings::{Setting, Trial};

const LIMIT: Duration = Duration::from_secs(2);
/// Within what it is seen to.
const SOON: Duration = Duration::from_secs(4);

fn collected_within(max_size: usize, limit: Duration) -> Config {
    let mut config = quiet(max_size);
    config.collect_within = Some(limit);
    config.acquire_timeout = Duration::from_hours(1);
    config
}

/// A future that is handed a connection, and polled no more.
async fn left_aside(
    pool: &Pool<FakeDriver>,
) -> Pin<Box<impl Future<Output = Result<Lease<'_, FakeDriver>, AcquireError>>>> {
    let held = pool.acquire().await.unwrap();
    let mut aside = Box::pin(pool.acquire());
    assert!(is_pending(&mut aside));
    drop(held);
    assert_eq!((pool.state().idle, pool.state().waiting), (0, 0), "it has the connection");
    aside
}

/// It is polled again, and served.
async fn served<T>(late: &mut (impl Future<Output = Result<T, AcquireError>> + Unpin)) -> T {
    timeout(SECOND, late).await.expect("there is one").unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_not_collected_goes_to_the_next_waiter_and_the_first_is_served_later() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, collected_within(1, LIMIT));
    let mut aside = left_aside(&pool).await;
    let next = timeout(SOON, pool.acquire()).await.expect("it goes to the next").unwrap();
    assert_eq!((pool.stats().uncollected, pool.stats().opened), (1, 1));
    // It has lost its place: another one that has come meanwhile is before it.
    let mut before = Box::pin(pool.acquire());
    assert!(is_pending(&mut before) && is_pending(&mut aside));
    assert_eq!(pool.state().waiting, 2);
    drop(next);
    assert!(is_pending(&mut aside));
    drop(ready(&mut before).unwrap());
    drop(ready(&mut aside).unwrap());
    drop((before, aside));
    let stats = pool.stats();
    assert_eq!((stats.uncollected, stats.waited, stats.timeouts, stats.cancelled), (1, 4, 0, 0), "each counts once");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_branch_of_a_select_that_is_left_aside_blocks_nobody() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, collected_within(1, LIMIT));
    let held = pool.acquire().await.unwrap();
    let acquire = pool.acquire();
    tokio::pin!(acquire);
    tokio::select! {
        biased;
        _ = &mut acquire => panic!("nothing has come back"),
        () = sleep(SECOND) => {
            drop(held);
            // It has the turn, and nobody polls it: this would wait for ever.
            drop(timeout(SOON, pool.acquire()).await.expect("it is served").unwrap());
        }
    }
    drop(acquire.await.unwrap());
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_idle_if_nobody_else_waits() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, collected_within(1, LIMIT));
    let mut aside = left_aside(&pool).await;
    until(&pool, |state| state.idle == 1).await;
    assert_eq!(pool.stats().uncollected, 1);
    drop(pool.try_acquire().unwrap());
    drop(served(&mut aside).await);
    drop(aside);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn who_comes_in_time_keeps_it() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, collected_within(1, 10 * SECOND));
    for _ in 0..20 {
        let mut aside = left_aside(&pool).await;
        sleep(9 * SECOND).await;
        drop(ready(&mut aside).expect("it is its own"));
        // The time of another hand-over begins anew.
    }
    assert_eq!(pool.stats().uncollected, 0);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn each_hand_over_is_taken_back_and_counted_once() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, collected_within(1, LIMIT));
    let mut aside = left_aside(&pool).await;
    for times in 1..=5 {
        until(&pool, |state| state.idle == 1).await;
        sleep(20 * SOON).await;
        assert_eq!(pool.stats().uncollected, times, "once and no more");
        // It joins, is served, and does not come for that either.
        assert!(is_pending(&mut aside));
        assert_eq!(pool.state().leased, 1);
    }
    drop(ready(&mut aside).unwrap());
    drop(aside);
    assert_eq!((pool.stats().uncollected, pool.stats().acquired), (5, 2));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_reported_with_the_place_that_asked_for_it() {
    let (log, driver) = (Log::default(), FakeDriver::new());
    let _logging = tracing::subscriber::set_default(log.listener());
    let pool = pool_with(&driver, collected_within(1, LIMIT));
    let held = pool.acquire().await.unwrap();
    let line = line!() + 1;
    let mut aside = Box::pin(pool.acquire());
    assert!(is_pending(&mut aside));
    let id = held.connection_id();
    drop(held);
    until(&pool, |state| state.idle == 1).await;
    let text = log.text();
    assert_eq!(text.matches("was taken back").count(), 1, "{text}");
    for what in [format!("place={}:{line}:", file!()), format!("connection={id}"), String::from("lay=2")] {
        assert!(text.contains(&what), "{what}: {text}");
    }
    drop(aside);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn by_default_it_lies_there_for_ever() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, quiet(1));
    let mut aside = left_aside(&pool).await;
    let error = pool.acquire_timeout(Duration::from_hours(24)).await.unwrap_err();
    assert!(matches!(error, AcquireError::Timeout { .. }), "{error}");
    assert_eq!(pool.stats().uncollected, 0);
    drop(ready(&mut aside).unwrap());
    drop(aside);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_one_that_is_late_stays() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, collected_within(1, LIMIT));
    let held = pool.acquire().await.unwrap();
    let begun = Instant::now();
    let mut waiters: Vec<_> = (0..2).map(|_| Box::pin(pool.acquire_timeout(60 * SECOND))).collect();
    assert!(is_pending(&mut waiters[0]));
    drop(held);
    let held = timeout(SOON, pool.acquire()).await.unwrap().unwrap();
    assert!(is_pending(&mut waiters[1]));
    drop(held);
    let held = timeout(SOON, pool.acquire()).await.unwrap().unwrap();
    assert_eq!(pool.stats().uncollected, 2);
    // The first waits again, for what is left of its time.
    let error = (&mut waiters[0]).await.unwrap_err();
    assert!(matches!(error, AcquireError::Timeout { .. }) && begun.elapsed() == 60 * SECOND, "{error}");
    // The second one's was over before it was polled again.
    sleep(10 * SECOND).await;
    let error = ready(&mut waiters[1]).unwrap_err();
    assert!(matches!(error, AcquireError::Timeout { .. }), "{error}");
    assert_eq!((pool.stats().timeouts, pool.stats().waited), (2, 5));
    drop((waiters, held));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_dropped_after_it_was_taken_back_takes_nothing_with_it() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, collected_within(2, LIMIT));
    let other = pool.acquire().await.unwrap();
    let aside = left_aside(&pool).await;
    until(&pool, |state| state.idle == 1).await;
    drop(aside);
    assert_eq!((pool.state().idle, pool.state().waiting, pool.stats().cancelled), (1, 0, 1));
    // And before: it passes on what it was handed, and that is not taken back.
    drop(left_aside(&pool).await);
    assert_eq!((pool.state().idle, pool.stats().uncollected), (1, 1));
    drop(other);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_a_retirement_and_a_close_get_what_nobody_collects() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, collected_within(1, LIMIT));
    let mut aside = left_aside(&pool).await;
    pool.pause();
    assert!(timeout(SOON, pool.drained()).await.expect("it is not held for ever"));
    pool.resume();
    drop(served(&mut aside).await);
    drop(aside);

    let mut aside = left_aside(&pool).await;
    pool.retire_all();
    drop(timeout(SOON, pool.acquire()).await.unwrap().unwrap());
    assert_eq!((pool.stats().outdated, pool.stats().opened), (1, 2));
    drop(served(&mut aside).await);
    drop(aside);

    let mut aside = left_aside(&pool).await;
    timeout(SOON, pool.close()).await.expect("nothing is left");
    assert!(matches!(ready(&mut aside), Err(AcquireError::Closed)));
    drop(aside);
    assert_eq!((pool.stats().uncollected, driver.ledger().live()), (3, 0));
}

/// One that times itself, because it waits on another runtime than that of the janitor.
#[test]
fn a_waiter_with_a_timer_of_its_own_waits_again() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (janitors, own) = (runtime(), runtime());
    let driver = FakeDriver::new();
    let pool = janitors.block_on(async { pool_with(&driver, collected_within(1, LIMIT)) });
    let held = janitors.block_on(pool.acquire()).unwrap();
    let mut aside = Box::pin(pool.acquire());
    own.block_on(async { assert!(is_pending(&mut aside)) });
    drop(held);
    let next = janitors.block_on(async { timeout(SOON, pool.acquire()).await }).expect("it is served").unwrap();
    assert_eq!(pool.stats().uncollected, 1);
    own.block_on(async { assert!(is_pending(&mut aside)) });
    drop(next);
    drop(own.block_on(&mut aside).unwrap());
    drop(aside);
    janitors.block_on(prove_nothing_lost(&pool, &driver));
}

/// When a hand-over that nobody collects is taken back, in seconds; within a minute, or never.
async fn taken_back(pool: &Pool<FakeDriver>) -> Option<u32> {
    let before = pool.stats().uncollected;
    let mut aside = left_aside(pool).await;
    for seconds in 1..=60 {
        sleep(SECOND).await;
        if pool.stats().uncollected > before {
            drop(served(&mut aside).await);
            return Some(seconds);
        }
    }
    drop(ready(&mut aside).unwrap());
    None
}

pub(crate) async fn a_hand_over_is_taken_back_sooner_or_later_or_not_at_all(setting: Setting) -> Trial {
    let trial = setting.begin(1, |config| *config = collected_within(1, 5 * SECOND));
    for limit in [Some(5), Some(20), None, Some(2)] {
        if limit != Some(5) {
            trial.change(|config| config.collect_within = limit.map(|limit| limit * SECOND));
        }
        let seconds = taken_back(&trial.pool).await;
        match limit {
            Some(limit) => {
                assert!(seconds.is_some_and(|seconds| (limit..=limit + 2).contains(&seconds)), "{seconds:?}");
            }
            None => assert_eq!(seconds, None),
        }
    }
    what_lies_there_already_is_taken_back(&trial).await;
    trial
}

async fn what_lies_there_already_is_taken_back(trial: &Trial) {
    trial.change(|config| config.collect_within = None);
    let mut aside = left_aside(&trial.pool).await;
    sleep(60 * SECOND).await;
    trial.change(|config| config.collect_within = Some(SECOND));
    until(&trial.pool, |state| state.idle == 1).await;
    drop(served(&mut aside).await);
}

/// A request that is called and not polled.
#[tokio::test(start_paused = true)]
async fn a_turn_that_a_scheduled_request_does_not_take_goes_to_the_next() {
    let (driver, log) = (FakeDriver::new(), Log::default());
    let _logging = tracing::subscriber::set_default(log.listener());
    let pool = pool_with(&driver, collected_within(1, LIMIT));
    let scheduler = schedule(&pool, |config| config.foresee = false);
    let held = scheduler.acquire(Request::new()).await.unwrap();
    let line = line!() + 1;
    let mut aside = Box::pin(scheduler.acquire(Request::new()));
    assert!(is_pending(&mut aside));
    drop(held);
    assert_eq!((pool.state().idle, scheduler.stats().in_use), (1, 1), "it has the turn");
    let next = timeout(SOON, scheduler.acquire(Request::new())).await.expect("it goes to the next").unwrap();
    assert_eq!(pool.stats().uncollected, 1);
    let told = log.text();
    assert!(told.contains("a turn was taken back that a scheduled request did not take"), "{told}");
    assert!(told.contains(&format!("uncollected.rs:{line}")), "{told}");
    assert!(is_pending(&mut aside), "it waits again");
    assert_eq!((scheduler.stats().waiting, scheduler.stats().in_use), (1, 1));
    drop(next);
    drop(served(&mut aside).await);
    drop(aside);
    // One that comes in time keeps it, and one that is dropped gives it back.
    for is_polled in [true, false] {
        let held = scheduler.acquire(Request::new()).await.unwrap();
        let mut aside = Box::pin(scheduler.acquire(Request::new()));
        assert!(is_pending(&mut aside));
        drop(held);
        sleep(LIMIT / 2).await;
        if is_polled {
            drop(served(&mut aside).await);
        }
        drop(aside);
        drop(ready(&mut Box::pin(scheduler.acquire(Request::new()))).unwrap());
    }
    assert_eq!(pool.stats().uncollected, 1);
    prove(scheduler, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_left_aside_while_it_collects_holds_no_other_batch_up() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, collected_within(4, LIMIT));
    let scheduler = schedule(&pool, |config| config.foresee = false);
    driver.always(Call::Connect, Step::Delay(SECOND));
    let mut aside = Box::pin(scheduler.acquire_many(Request::new(), 2));
    assert!(is_pending(&mut aside));
    let two =
        timeout(3 * SOON, scheduler.acquire_many(Request::new(), 2)).await.expect("nobody is waited for for ever");
    assert_eq!(two.unwrap().len(), 2);
    drop(aside);
    driver.recover();
    prove(scheduler, &driver).await;
}
