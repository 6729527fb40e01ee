//! Leases that are held for long, and those who wait for themselves.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use pool_core::{AcquireError, Holder, ObserveConfig, Pool, Request, ScheduleConfig};
use pool_testkit::fake::{FakeDriver, quiet};
use tokio::time::{Instant, sleep};

use crate::common::{SECOND, pool_with, prove_nothing_lost, until};
use crate::log::Log;
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
    assert_eq!(pool.stats().self_waits, 2, "somebody else has one, and may wait for this task");
    let _ = two_at_a_time(pool.clone(), 0).await.unwrap();
    assert_eq!(pool.stats().self_waits, 2, "who has none waits for others");
    drop(other);
    until(&pool, |state| state.idle == 2).await;
    prove_nothing_lost(&pool, &driver).await;
}

/// Acquires all connections there are, and one more, in a task of its own. Where it acquired the first.
async fn wait_for_itself(pool: &Pool<FakeDriver>) -> (u32, Result<(), AcquireError>) {
    let (pool, size) = (pool.clone(), pool.config().max_size);
    let task = tokio::spawn(async move {
        let line = line!() + 1;
        let first = pool.acquire_owned().await.unwrap();
        let mut others = Vec::new();
        for _ in 1..size {
            sleep(SECOND).await;
            others.push(pool.acquire_owned().await.unwrap());
        }
        let outcome = pool.acquire_timeout(20 * SECOND).await.map(drop);
        drop((first, others));
        (line, outcome)
    });
    task.await.unwrap()
}

/// Of three connections, the first acquired at this line.
fn assert_refused(error: &AcquireError, line: u32) {
    let AcquireError::SelfWait { situation, held_at } = error else { panic!("{error}") };
    assert_eq!((held_at.file(), held_at.line(), situation.waited), (file!(), line, Duration::ZERO));
    assert_eq!((situation.state.leased, error.situation().is_some()), (3, true));
    let text = error.to_string();
    assert!(text.contains("a task that has a connection, acquired at") && text.contains("leaks.rs:"), "{text}");
}

pub(crate) async fn a_task_that_waits_for_itself_is_refused_or_not(setting: Setting) -> Trial {
    let trial = setting.begin(3, |config| config.refuse_self_wait = true);
    let pool = &trial.pool;
    for times in 1..=2 {
        let begun = Instant::now();
        let (line, outcome) = wait_for_itself(pool).await;
        assert_refused(&outcome.unwrap_err(), line);
        assert_eq!(begun.elapsed(), 2 * SECOND, "the seconds between the leases");
        let stats = pool.stats();
        assert_eq!((stats.refused, stats.timeouts), (times, times - 1));
        assert_eq!((stats.state.waiting, stats.state.idle, stats.acquired), (0, 3, 3 * (2 * times - 1)));
        trial.change(|config| config.refuse_self_wait = false);
        let late = wait_for_itself(pool).await.1.unwrap_err();
        assert!(matches!(late, AcquireError::Timeout { .. }), "{late}");
        trial.change(|config| config.refuse_self_wait = true);
    }
    trial
}

#[tokio::test(start_paused = true)]
async fn two_that_have_one_each_do_not_wait_for_each_other() {
    let driver = FakeDriver::new();
    let mut config = quiet(2);
    config.refuse_self_wait = true;
    let pool = pool_with(&driver, config);
    let both_have_one = Arc::new(tokio::sync::Barrier::new(2));
    let greedy = || {
        let (pool, both_have_one) = (pool.clone(), Arc::clone(&both_have_one));
        tokio::spawn(async move {
            let own = pool.acquire_owned().await.unwrap();
            both_have_one.wait().await;
            let second = pool.acquire_owned().await.map(drop);
            drop(own);
            second
        })
    };
    let outcomes = [greedy(), greedy()];
    let mut refused = 0;
    for outcome in outcomes {
        refused += usize::from(matches!(outcome.await.unwrap(), Err(AcquireError::SelfWait { .. })));
    }
    // The first to ask is, and then there is one for the other.
    assert_eq!((refused, pool.stats().self_waits), (1, 1));
    // A pool that is closed says so first.
    let error = tokio::spawn({
        let pool = pool.clone();
        async move {
            let leases = [pool.acquire_owned().await.unwrap(), pool.acquire_owned().await.unwrap()];
            drop(tokio::time::timeout(SECOND, pool.close()).await);
            let error = pool.acquire_owned().await.map(drop).unwrap_err();
            drop(leases);
            error
        }
    });
    assert!(matches!(error.await.unwrap(), AcquireError::Closed));
    assert_eq!(pool.stats().self_waits, 1);
    pool.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_connection_is_used_for_shows_among_the_holders() {
    let driver = FakeDriver::new();
    let pool = watched(&driver, 1, 5 * SECOND);
    let seen = |pool: &Pool<FakeDriver>| pool.holders()[0].activity.clone();
    let lease = pool.acquire().await.unwrap();
    assert_eq!(seen(&pool), None);
    lease.note_activity("users by name");
    lease.note_activity(format!("user {}", 7));
    assert_eq!(seen(&pool).as_deref(), Some("user 7"), "the last one");
    let text = pool.holders()[0].to_string();
    assert!(text.ends_with(", doing user 7"), "{text}");
    drop(lease);
    let owned = pool.acquire_owned().await.unwrap();
    assert_eq!(seen(&pool), None, "it was another lease");
    owned.note_activity("report");
    assert_eq!(seen(&pool).as_deref(), Some("report"));
    drop(owned);
    // Nobody keeps it if nobody watches.
    pool.reconfigure(quiet(1)).unwrap();
    let lease = pool.acquire().await.unwrap();
    lease.note_activity("users by name");
    assert_eq!(seen(&pool), None);
    drop(lease);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn the_reports_about_a_lease_say_what_it_was_used_for() {
    let (log, driver) = (Log::default(), FakeDriver::new());
    let _logging = tracing::subscriber::set_default(log.listener());
    let mut config = quiet(1);
    (config.leak_after, config.reclaim_after) = (Some(5 * SECOND), Some(20 * SECOND));
    let pool = pool_with(&driver, config);
    let lease = pool.acquire().await.unwrap();
    lease.note_activity("users by name");
    sleep(10 * SECOND).await;
    lease.note_activity("users by age");
    sleep(20 * SECOND).await;
    drop(lease);
    let text = log.text();
    let said: Vec<_> = text.lines().filter(|line| !line.starts_with("connection=")).collect();
    let place = |line: &&str| line.starts_with("place=") && line.contains("leaks.rs:");
    assert_eq!(said.iter().filter(|line| place(line)).count(), 3, "{text}");
    let activities: Vec<_> = said.iter().copied().filter(|line| line.starts_with("activity=")).collect();
    assert_eq!(activities, [r#"activity="users by name""#, r#"activity="users by age""#, r#"activity="users by age""#]);
    for what in ["is held for very long", "is cut off", "has come back"] {
        assert_eq!(text.matches(what).count(), 1, "{what}: {text}");
    }
    until(&pool, |state| state.in_maintenance == 0).await;
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

#[tokio::test(start_paused = true)]
async fn a_snapshot_says_of_the_longest_thousand_where_they_were_acquired() {
    let driver = FakeDriver::new();
    let pool = watched(&driver, 1_100, 3_600 * SECOND);
    let mut leases = Vec::new();
    for _ in 0..1_100 {
        leases.push(pool.acquire().await.unwrap());
        sleep(SECOND / 10).await;
    }
    let places = |holders: &[Holder]| holders.iter().filter(|holder| holder.place.is_some()).count();
    let seen = pool.observe(ObserveConfig::default()).unwrap().snapshot().holders;
    assert_eq!((seen.len(), places(&seen)), (1_100, 1_000));
    assert!(seen.is_sorted_by_key(|holder| Reverse(holder.held)) && seen[999].place.is_some());
    assert_eq!(places(&pool.holders()), 1_100);
    drop(leases);
    prove_nothing_lost(&pool, &driver).await;
}
