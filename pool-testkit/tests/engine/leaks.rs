//! Leases that are held for long, and those who wait for themselves.

use std::time::Duration;

use pool_core::{AcquireError, Pool, Request, ScheduleConfig};
use pool_testkit::fake::{FakeDriver, quiet};
use tokio::time::sleep;

use crate::common::{SECOND, pool_with, prove_nothing_lost, until};
use crate::settings::{Setting, Trial};

fn watched(driver: &FakeDriver, max_size: usize, leak_after: Duration) -> Pool<FakeDriver> {
    let mut config = quiet(max_size);
    config.leak_after = Some(leak_after);
    pool_with(driver, config)
}

#[tokio::test(start_paused = true)]
async fn who_has_a_connection_is_known_with_the_place_and_the_task() {
    let driver = FakeDriver::new();
    let pool = watched(&driver, 4, 60 * SECOND);
    let line = line!() + 1;
    let first = pool.acquire().await.unwrap();
    sleep(2 * SECOND).await;
    let second = tokio::spawn({
        let pool = pool.clone();
        async move { (tokio::task::id(), pool.acquire_owned().await.unwrap()) }
    });
    let (task, second) = second.await.unwrap();
    let scheduler = pool.schedule(ScheduleConfig::default()).unwrap();
    let third = scheduler.acquire(Request::new()).await.unwrap();
    let again = line!() + 2;
    drop(pool.acquire().await.unwrap());
    let tried = pool.try_acquire().unwrap();
    let holders = pool.holders();
    assert_eq!(holders.len(), 4);
    assert_eq!((holders[0].connection, holders[0].held), (first.connection_id(), Some(2 * SECOND)));
    let place = |id| holders.iter().find(|holder| holder.connection == id).unwrap().place.unwrap();
    assert_eq!((place(first.connection_id()).line(), place(first.connection_id()).file()), (line, file!()));
    assert_eq!(place(tried.connection_id()).line(), again);
    assert_eq!(place(third.connection_id()).file(), file!(), "and not the scheduler's own");
    let of_second = holders.iter().find(|holder| holder.connection == second.connection_id()).unwrap();
    assert_eq!(of_second.task, Some(task));
    let text = holders[0].to_string();
    assert!(text.contains("has been leased for 2s, acquired at ") && text.contains("leaks.rs:"), "{text}");
    drop((first, second, third, tried));
    assert!(pool.holders().is_empty());
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn without_being_watched_they_are_known_all_the_same_to_within_a_second() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, quiet(2));
    let held = pool.acquire().await.unwrap();
    sleep(10 * SECOND).await;
    let holders = pool.holders();
    assert_eq!((holders.len(), holders[0].place), (1, None));
    assert!(holders[0].held.unwrap() >= 8 * SECOND, "{}", holders[0]);
    drop(held);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_held_for_long_is_reported_once() {
    let driver = FakeDriver::new();
    let pool = watched(&driver, 2, 5 * SECOND);
    for leaks in 1..=3 {
        let held = pool.acquire().await.unwrap();
        sleep(4 * SECOND).await;
        assert_eq!(pool.stats().leaks, leaks - 1);
        sleep(100 * SECOND).await;
        assert_eq!(pool.stats().leaks, leaks);
        drop(held);
        // Those that come back in time are not.
        for _ in 0..100 {
            drop(pool.acquire().await.unwrap());
            drop(pool.try_acquire().unwrap());
        }
        sleep(100 * SECOND).await;
        assert_eq!(pool.stats().leaks, leaks);
    }
    assert_eq!((pool.stats().opened, pool.stats().reclaimed), (1, 0), "and nothing else is done");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_held_for_too_long_is_cut_off() {
    let driver = FakeDriver::new();
    let mut config = quiet(1);
    config.reclaim_after = Some(5 * SECOND);
    let pool = pool_with(&driver, config);
    let held = pool.acquire_owned().await.unwrap();
    let user = tokio::spawn(async move {
        // As a user whose query fails then.
        while !held.is_broken() {
            sleep(SECOND).await;
        }
    });
    let next = pool.acquire_timeout(20 * SECOND).await.expect("the next one is served");
    user.await.unwrap();
    assert_eq!((pool.stats().reclaimed, pool.stats().broken, pool.stats().opened), (1, 1, 2));
    drop(next);
    prove_nothing_lost(&pool, &driver).await;
}

/// What ends while nobody watches is not taken for the next lease of that connection.
#[tokio::test(start_paused = true)]
async fn a_lease_that_was_watched_is_not_taken_for_the_next_one() {
    let driver = FakeDriver::new();
    let pool = watched(&driver, 1, 5 * SECOND);
    let watch = |leak_after, reclaim_after| {
        let mut config = (*pool.config()).clone();
        (config.leak_after, config.reclaim_after) = (leak_after, reclaim_after);
        pool.reconfigure(config).unwrap();
    };
    let held = pool.acquire().await.unwrap();
    watch(None, None);
    drop(held);
    sleep(100 * SECOND).await;
    let next = pool.acquire().await.unwrap();
    let holders = pool.holders();
    assert_eq!((holders.len(), holders[0].place), (1, None), "{}", holders[0]);
    assert!(holders[0].held.is_none_or(|held| held < SECOND), "{}", holders[0]);
    watch(None, Some(5 * SECOND));
    sleep(2 * SECOND).await;
    assert!(!next.is_broken(), "{:?}", pool.holders());
    assert_eq!((pool.stats().reclaimed, pool.stats().leaks), (0, 0));
    drop(next);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_itself_is_told_at_once() {
    let driver = FakeDriver::new();
    let pool = watched(&driver, 2, 60 * SECOND);
    let two_at_a_time = |pool: Pool<FakeDriver>, held: usize| {
        tokio::spawn(async move {
            let mut leases = Vec::new();
            for _ in 0..held {
                leases.push(pool.acquire_owned().await.unwrap());
            }
            pool.acquire_timeout(SECOND).await.map(drop)
        })
    };
    assert!(two_at_a_time(pool.clone(), 1).await.unwrap().is_ok(), "there is another one");
    assert_eq!(pool.stats().self_waits, 0);
    let error = two_at_a_time(pool.clone(), 2).await.unwrap().unwrap_err();
    assert!(matches!(error, AcquireError::Timeout { .. }), "{error}");
    assert_eq!(pool.stats().self_waits, 1);
    let other = pool.acquire_owned().await.unwrap();
    let _ = two_at_a_time(pool.clone(), 1).await.unwrap();
    assert_eq!(pool.stats().self_waits, 1, "somebody else has one, and may give it back");
    drop(other);
    until(&pool, |state| state.idle == 2).await;
    prove_nothing_lost(&pool, &driver).await;
}

/// When a lease that never ends is noticed, in seconds; within a minute, or never.
async fn noticed(pool: &Pool<FakeDriver>, count: fn(&Pool<FakeDriver>) -> u64) -> Option<u32> {
    let (held, before) = (pool.acquire_owned().await.unwrap(), count(pool));
    for seconds in 1..=60 {
        sleep(SECOND).await;
        if count(pool) > before {
            drop(held);
            until(pool, |state| state.in_maintenance == 0).await;
            return Some(seconds);
        }
    }
    None
}

async fn sooner_or_later(
    setting: Setting,
    set: fn(&mut pool_core::Config, Option<Duration>),
    count: fn(&Pool<FakeDriver>) -> u64,
) -> Trial {
    let trial = setting.begin(1, |config| set(config, Some(5 * SECOND)));
    for limit in [Some(5), Some(20), None, Some(2)] {
        if limit != Some(5) {
            trial.change(|config| set(config, limit.map(|limit| limit * SECOND)));
        }
        let seconds = noticed(&trial.pool, count).await;
        match limit {
            Some(limit) => {
                assert!(seconds.is_some_and(|seconds| (limit..=limit + 2).contains(&seconds)), "{seconds:?}");
            }
            None => assert_eq!(seconds, None),
        }
    }
    trial
}

pub(crate) async fn a_lease_is_reported_sooner_or_later_or_not_at_all(setting: Setting) -> Trial {
    sooner_or_later(setting, |config, limit| config.leak_after = limit, |pool| pool.stats().leaks).await
}

pub(crate) async fn a_lease_is_cut_off_sooner_or_later_or_not_at_all(setting: Setting) -> Trial {
    sooner_or_later(setting, |config, limit| config.reclaim_after = limit, |pool| pool.stats().reclaimed).await
}
