//! Who has a turn in the line of a scheduler: what the simulation has found.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pool_core::{AcquireError, Codel, Fit, Key, Preference, Quota, Request, ScheduleConfig, Shed};
use pool_testkit::fake::{Call, FakeDriver, Step, quiet};
use tokio::time::{Instant, sleep};

use crate::common::{SECOND, is_pending, pool_with, ready};
use crate::schedule::{all, prove, schedule, wait, warm};
use crate::tags::tenant;

const MS: Duration = Duration::from_millis(1);

fn quota(change: impl FnOnce(&mut Quota)) -> Quota {
    let mut quota = Quota::default();
    change(&mut quota);
    quota
}

fn reserve(config: &mut ScheduleConfig, key: &str) {
    config.quotas.insert(Key::from(key), quota(|quota| quota.reserved = 1));
}

/// Those who wait for their own quota are in nobody's way.
#[tokio::test(start_paused = true)]
async fn who_can_be_served_at_once_is_not_turned_away_because_others_wait() {
    let driver = FakeDriver::new();
    let pool = warm(&driver, 3).await;
    let scheduler = schedule(&pool, |config| {
        config.max_waiting = Some(1);
        config.quotas.insert(Key::from("a"), quota(|quota| quota.max = Some(1)));
    });
    let held = scheduler.acquire(Request::new().key("a")).await.unwrap();
    let mut waiter = wait(&scheduler, Request::new().key("a"));
    assert!(is_pending(&mut waiter));
    drop(ready(&mut wait(&scheduler, Request::new().key("b"))).expect("two connections are free"));
    drop((waiter, held));
    prove(scheduler, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_reserved_for_a_key_does_not_wait_for_a_batch_of_another() {
    let driver = FakeDriver::new();
    let pool = warm(&driver, 3).await;
    let scheduler = schedule(&pool, |config| reserve(config, "a"));
    let held = scheduler.acquire(Request::new()).await.unwrap();
    let batch = tokio::spawn({
        let scheduler = scheduler.clone();
        async move { scheduler.acquire_many(Request::new(), 2).await }
    });
    sleep(MS).await;
    assert_eq!(scheduler.stats().waiting, 1);
    // One that comes, and one that has waited.
    let first = ready(&mut wait(&scheduler, Request::new().key("a"))).expect("it is reserved");
    let mut second = wait(&scheduler, Request::new().key("a"));
    assert!(is_pending(&mut second));
    drop(first);
    drop(ready(&mut second).expect("it is reserved"));
    drop(held);
    assert_eq!(batch.await.unwrap().unwrap().len(), 2);
    scheduler.reconfigure(ScheduleConfig::default()).unwrap();
    prove(scheduler, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_reserved_counts_though_as_many_keys_are_in_use_as_may_be() {
    let driver = FakeDriver::new();
    let pool = warm(&driver, 2).await;
    let scheduler = schedule(&pool, |config| config.max_keys = 1);
    let held = scheduler.acquire(Request::new().key("a")).await.unwrap();
    let mut config = (*scheduler.config()).clone();
    reserve(&mut config, "b");
    scheduler.reconfigure(config).unwrap();
    let mut another = wait(&scheduler, Request::new().key("a"));
    assert!(is_pending(&mut another), "it is reserved for another key");
    drop(ready(&mut wait(&scheduler, Request::new().key("b"))).expect("it is reserved"));
    drop((another, held));
    scheduler.reconfigure(ScheduleConfig::default()).unwrap();
    prove(scheduler, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_too_large_for_a_pool_that_has_shrunk_is_turned_away_and_holds_nobody_up() {
    let driver = FakeDriver::new();
    let pool = warm(&driver, 3).await;
    let scheduler = schedule(&pool, |_| {});
    let held = scheduler.acquire(Request::new()).await.unwrap();
    let batch = tokio::spawn({
        let scheduler = scheduler.clone();
        async move { scheduler.acquire_many(Request::new(), 3).await }
    });
    sleep(MS).await;
    let next = tokio::spawn(wait(&scheduler, Request::new()));
    sleep(MS).await;
    let mut config = (*pool.config()).clone();
    config.max_size = 2;
    pool.reconfigure(config).unwrap();
    let error = batch.await.unwrap().unwrap_err();
    let why = Shed::Impossible { wanted: 3, max: 2 };
    assert!(matches!(&error, AcquireError::Shed { why: told, .. } if **told == why), "{error}");
    drop((next.await.unwrap().expect("there is a second one"), held));
    assert_eq!(scheduler.stats().shed.impossible, 1);
    prove(scheduler, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn the_newest_gets_no_more_than_there_is() {
    let driver = FakeDriver::new();
    let pool = warm(&driver, 2).await;
    let scheduler = schedule(&pool, |config| {
        let mut codel = Codel::default();
        (codel.target, codel.interval) = (50 * MS, 50 * MS);
        (config.codel, config.newest_first) = (Some(codel), true);
    });
    let mut held = scheduler.acquire_many(Request::new(), 2).await.unwrap();
    let oldest = tokio::spawn(wait(&scheduler, Request::new()));
    sleep(60 * MS).await;
    let single = tokio::spawn(wait(&scheduler, Request::new()));
    sleep(MS).await;
    let batch = tokio::spawn({
        let scheduler = scheduler.clone();
        async move { scheduler.acquire_many(Request::new(), 2).await }
    });
    // The oldest has seen by then that nobody was served, and has waited for too long.
    sleep(44 * MS).await;
    held.pop();
    assert!(oldest.await.unwrap().is_err(), "the queue stands");
    let stats = scheduler.stats();
    assert_eq!((stats.in_use, stats.limit), (2, 2), "{stats:?}");
    drop((held, single.await.unwrap().expect("there is room for one")));
    drop(batch.await.unwrap());
    prove(scheduler, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_given_up_when_it_has_been_called_counts_as_cancelled() {
    let driver = FakeDriver::new();
    let pool = warm(&driver, 1).await;
    let scheduler = schedule(&pool, |_| {});
    let held = scheduler.acquire(Request::new()).await.unwrap();
    let mut waiter = wait(&scheduler, Request::new());
    assert!(is_pending(&mut waiter));
    drop(held);
    drop(waiter);
    let stats = scheduler.stats();
    assert_eq!((stats.passed, stats.cancelled), (1, 1), "{stats:?}");
    prove(scheduler, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_in_front_of_a_pool_that_is_closed() {
    let driver = FakeDriver::new();
    let pool = warm(&driver, 1).await;
    let scheduler = schedule(&pool, |_| {});
    let held = scheduler.acquire(Request::new()).await.unwrap();
    let close = tokio::spawn({
        let pool = pool.clone();
        async move { pool.close().await }
    });
    sleep(MS).await;
    let outcome = ready(&mut wait(&scheduler, Request::new()));
    assert!(matches!(outcome, Err(AcquireError::Closed)), "the pool would say so, too");
    drop(held);
    close.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_several_who_are_called_at_once_the_first_is_served_first() {
    let driver = FakeDriver::new();
    let pool = warm(&driver, 1).await;
    let scheduler = schedule(&pool, |_| {});
    let held = scheduler.acquire(Request::new()).await.unwrap();
    let served = Arc::new(Mutex::new(Vec::new()));
    let ask = |number| {
        let (waiting, served) = (wait(&scheduler, Request::new()), Arc::clone(&served));
        tokio::spawn(async move {
            let lease = waiting.await.unwrap();
            served.lock().unwrap().push(number);
            lease
        })
    };
    let mut waiting = Vec::new();
    for number in 0..3 {
        waiting.push(ask(number));
        sleep(MS).await;
    }
    driver.limit(4);
    let mut config = (*pool.config()).clone();
    config.max_size = 4;
    pool.reconfigure(config).unwrap();
    drop((all(waiting).await, held));
    assert_eq!(*served.lock().unwrap(), [0, 1, 2]);
    prove(scheduler, &driver).await;
}

/// Both have a part of what they want when the pool shrinks.
#[tokio::test(start_paused = true)]
async fn two_batches_do_not_wait_for_each_other_in_a_pool_that_shrinks() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, quiet(4));
    driver.script(Call::Connect, [Step::Ok, Step::Ok, Step::Hold, Step::Hold]);
    let scheduler = schedule(&pool, |_| {});
    let batch = |_| {
        let scheduler = scheduler.clone();
        tokio::spawn(async move {
            let both = scheduler.acquire_many(Request::new().within(60 * SECOND), 2).await.unwrap();
            drop(both);
        })
    };
    let batches: Vec<_> = (0..2).map(batch).collect();
    sleep(MS).await;
    let mut config = (*pool.config()).clone();
    config.max_size = 2;
    pool.reconfigure(config).unwrap();
    driver.let_go(Call::Connect, 2);
    let served = tokio::time::timeout(SECOND, all(batches)).await;
    assert!(served.is_ok(), "{:?}", pool.state());
    prove(scheduler, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_wait_gets_what_is_idle_unless_somebody_comes_before() {
    let driver = FakeDriver::new();
    let pool = warm(&driver, 2).await;
    let scheduler = schedule(&pool, |config| {
        config.quotas.insert(Key::from("a"), quota(|quota| quota.max = Some(1)));
    });
    let a = || Request::new().key("a");
    let held = scheduler.try_acquire(a()).unwrap();
    let is_unavailable = |outcome: Result<_, AcquireError>| matches!(outcome, Err(AcquireError::Unavailable { .. }));
    assert!(is_unavailable(scheduler.try_acquire(a()).map(drop)), "by its quota");
    let other = scheduler.try_acquire(Request::new()).unwrap();
    let mut waiter = wait(&scheduler, Request::new());
    assert!(is_pending(&mut waiter));
    assert!(is_unavailable(scheduler.try_acquire(Request::new()).map(drop)), "both are in use");
    assert_eq!((scheduler.stats().waiting, scheduler.stats().in_use), (1, 2));
    drop(held);
    assert!(is_unavailable(scheduler.try_acquire(Request::new()).map(drop)), "it is the turn of the one who waits");
    drop((waiter, other));
    prove(scheduler.clone(), &driver).await;
    pool.close().await;
    assert!(matches!(scheduler.try_acquire(a()), Err(AcquireError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn a_request_may_prefer_a_connection() {
    let driver = FakeDriver::new();
    let pool = warm(&driver, 2).await;
    let scheduler = schedule(&pool, |_| {});
    let wish = Preference::tag(tenant("7"));
    let prefer = || scheduler.acquire_preferring(Request::new().key("7").within(SECOND), &wish);
    let (first, fit) = prefer().await.unwrap();
    assert_eq!((fit, scheduler.stats().in_use), (Fit::Converted, 1));
    let id = first.connection_id();
    let second = scheduler.acquire(Request::new()).await.unwrap();
    drop(first);
    let (first, fit) = prefer().await.unwrap();
    assert_eq!((fit, first.connection_id()), (Fit::AtOnce, id));
    // The time of the request counts.
    let started = Instant::now();
    let error = prefer().await.map(drop).unwrap_err();
    assert!(matches!(error, AcquireError::Timeout { .. }), "{error}");
    assert_eq!(started.elapsed(), SECOND);
    drop((first, second));
    prove(scheduler, &driver).await;
}
