//! Schedulers of pools that share a budget, are full, or have lost their runtime; and requests that have little time left.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use pool_core::{AcquireError, AdaptConfig, Budget, Codel, Key, Pool, Preference, Priority, Quota, Request};
use pool_testkit::fake::{Call, FakeDriver, Step, quiet};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep, sleep_until};

use crate::common::{SECOND, is_pending, pool_with, quiet_pool, ready};
use crate::schedule::{all, load, schedule, wait, warm};
use crate::tags::{HALF, patient, prefer, tenant, tenants};

const MS: Duration = Duration::from_millis(1);

fn member(budget: &Budget, max_size: usize) -> Pool<FakeDriver> {
    Pool::builder(FakeDriver::new()).config(quiet(max_size)).budget(budget).build().unwrap()
}

fn two_of(cap: usize) -> (Pool<FakeDriver>, Pool<FakeDriver>) {
    let budget = Budget::new(cap).unwrap();
    (member(&budget, 4), member(&budget, 4))
}

fn one_at_a_time() -> Quota {
    let mut quota = Quota::default();
    quota.max = Some(1);
    quota
}

/// Patience ends when somebody waits, in the pool or in front of it.
#[tokio::test(start_paused = true)]
async fn nobody_waits_in_the_line_beside_an_idle_connection_for_one_who_is_patient() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    drop(tenants(&pool, 2).await);
    let scheduler = schedule(&pool, |_| {});
    let zero = Preference::tag(tenant("0")).grace(20 * SECOND);
    let (held, _) = scheduler.acquire_preferring(Request::new(), &zero).await.unwrap();
    let begun = Instant::now();
    let (patient, other) = tokio::join!(scheduler.acquire_preferring(Request::new(), &zero), async {
        sleep(SECOND).await;
        wait(&scheduler, Request::new().within(10 * SECOND)).await.map(drop)
    });
    assert!(matches!(other, Err(AcquireError::Timeout { .. })), "two are in use");
    assert_eq!(patient.unwrap().0.tags(), [tenant("0")], "it took the other one, and has had it converted");
    assert_eq!(begun.elapsed(), 11 * SECOND);
    drop(held);
}

/// Those who have too little time left end, and leave the connection to the next in line.
#[tokio::test(start_paused = true)]
async fn in_an_overload_conversions_behind_a_scheduler_cost_no_connections() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 4);
    let scheduler = schedule(&pool, |_| {});
    driver.always(Call::Connect, Step::Delay(50 * MS));
    driver.always(Call::Convert, Step::Delay(2 * MS));
    let started = Instant::now();
    let one = |number: u32| {
        let scheduler = scheduler.clone();
        tokio::spawn(async move {
            sleep_until(started + SECOND / 1_200 * number).await;
            let wish = Preference::tag(tenant(&(number % 50).to_string()));
            let lease = scheduler.acquire_preferring(Request::new().within(HALF), &wish).await.ok()?;
            sleep(10 * MS).await;
            drop(lease);
            Some(())
        })
    };
    let served = all((0..1_200 * 5).map(one).collect()).await.into_iter().flatten().count();
    let stats = pool.stats();
    assert!(stats.opened <= 8, "{} opened, {} conversions failed", stats.opened, stats.errors.conversions);
    assert!(served > 1_500, "{served}");
    assert!(scheduler.stats().shed.hopeless > 0);
}

#[tokio::test(start_paused = true)]
async fn a_conversion_that_takes_longer_than_there_is_time_is_not_begun() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    driver.always(Call::Convert, Step::Delay(10 * MS));
    prefer(&pool, &patient("0")).await.unwrap();
    for _ in 0..10 {
        let error = prefer(&pool, &patient("1").within(MS)).await.unwrap_err();
        assert!(matches!(error, AcquireError::Timeout { .. }), "{error}");
    }
    assert_eq!((pool.stats().opened, pool.stats().timeouts, pool.state().idle), (1, 10, 1));
}

/// One check that hangs does not end preference for ever.
#[tokio::test(start_paused = true)]
async fn a_slow_check_is_forgotten() {
    let (driver, mut config) = (FakeDriver::new(), quiet(2));
    config.check_after_idle = Some(2 * SECOND);
    config.acquire_timeout = 5 * SECOND;
    let pool = pool_with(&driver, config);
    drop(tenants(&pool, 2).await);
    driver.script(Call::Ping, [Step::Hang]);
    sleep(10 * SECOND).await;
    prefer(&pool, &patient("0")).await.unwrap_err();
    drop(tenants(&pool, 2).await);
    for _ in 0..20 {
        sleep(10 * SECOND).await;
        prefer(&pool, &patient("1")).await.unwrap();
        sleep(MS).await;
    }
    assert_eq!(pool.stats().converted, 0, "all of these had one that fitted, idle");
}

#[tokio::test(start_paused = true)]
async fn in_front_of_a_pool_nobody_is_refused_for_what_a_budget_has_lent_to_others() {
    let budget = Budget::new(3).unwrap();
    let mut config = quiet(10);
    config.refuse_self_wait = true;
    let pool = Pool::builder(FakeDriver::new()).config(config).budget(&budget).build().unwrap();
    let lent = member(&budget, 10).acquire_owned().await.unwrap();
    let scheduler = schedule(&pool, |_| {});
    let task = tokio::spawn(async move {
        let held = scheduler.acquire_many(Request::new(), 2).await.unwrap();
        let outcome = scheduler.acquire(Request::new().within(5 * SECOND)).await.map(drop);
        drop(held);
        outcome
    });
    sleep(SECOND).await;
    drop(lent);
    task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_budget_has_lent_to_others_is_waited_for_in_the_order_of_the_scheduler() {
    let (pool, other) = two_of(1);
    let lent = other.acquire().await.unwrap();
    let scheduler = schedule(&pool, |_| {});
    let [mut low, mut high] =
        [Priority::Low, Priority::High].map(|priority| wait(&scheduler, Request::new().priority(priority)));
    assert!(is_pending(&mut low) && is_pending(&mut high));
    drop(lent);
    drop(high.await.unwrap());
    drop(low.await.unwrap());
}

/// Whoever waits for a quota of its own has no use for more connections.
#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_quota_take_nothing_from_other_pools() {
    let (pool, other) = two_of(2);
    let scheduler = schedule(&pool, |config| {
        config.quotas.insert(Key::from("a"), one_at_a_time());
    });
    let held = scheduler.acquire(Request::new().key("a")).await.unwrap();
    let mut waiter = wait(&scheduler, Request::new().key("a").within(600 * SECOND));
    assert!(is_pending(&mut waiter));
    for _ in 0..10 {
        drop(other.acquire().await.unwrap());
        sleep(4 * SECOND).await;
    }
    assert_eq!(other.stats().opened, 1);
    drop((held, waiter));
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_more_than_may_be_opened_at_once_gets_what_others_do_not_use() {
    for max_openers in [4, 1] {
        let budget = Budget::new(4).unwrap();
        let mut config = quiet(4);
        config.max_openers = max_openers;
        let pool = Pool::builder(FakeDriver::new()).config(config).budget(&budget).build().unwrap();
        let other = member(&budget, 4);
        other.warm_up(4, Duration::ZERO, 60 * SECOND).await.unwrap();
        let batch = schedule(&pool, |_| {}).acquire_many(Request::new().within(10 * SECOND), 3).await;
        assert_eq!(batch.unwrap().len(), 3);
    }
}

/// A batch that wants more than its pool can have is in nobody's way.
#[tokio::test(start_paused = true)]
async fn whoever_comes_after_a_batch_that_cannot_be_served_yet_is_served() {
    let (pool, other) = two_of(4);
    let used = [other.acquire().await.unwrap(), other.acquire().await.unwrap()];
    let scheduler = schedule(&pool, |config| config.foresee = false);
    let mut batch = Box::pin(scheduler.acquire_many(Request::new().within(60 * SECOND), 4));
    assert!(is_pending(&mut batch));
    sleep(SECOND).await;
    drop(scheduler.acquire(Request::new().within(SECOND)).await.unwrap());
    drop(used);
    assert_eq!(batch.await.unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_is_free_of_a_budget_is_used_though_a_pool_keeps_some() {
    let (pool, other) = two_of(3);
    let scheduler = schedule(&pool, |config| config.kept = 1);
    let held = scheduler.acquire(Request::new()).await.unwrap();
    let one = other.acquire().await.unwrap();
    let two = scheduler.acquire(Request::new().within(SECOND)).await.unwrap();
    let mut waiter = wait(&scheduler, Request::new());
    assert!(is_pending(&mut waiter), "the third is kept");
    drop((held, one, two));
    drop(waiter.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_adapter_does_not_grow_a_pool_for_what_a_budget_does_not_give() {
    let pool = member(&Budget::new(4).unwrap(), 8);
    let scheduler = schedule(&pool, |config| config.foresee = false);
    let mut config = AdaptConfig::default();
    (config.min_size, config.max_size) = (1, 64);
    let adapter = pool.adapt(config).unwrap();
    let until = Instant::now() + 60 * SECOND;
    let busy = |_| {
        let scheduler = scheduler.clone();
        tokio::spawn(async move {
            while Instant::now() < until {
                let lease = scheduler.acquire(Request::new()).await.unwrap();
                sleep(50 * MS).await;
                drop(lease);
            }
        })
    };
    drop(all((0..30).map(busy).collect()).await);
    assert!(pool.config().max_size <= 8, "{}", adapter.report());
}

/// Both are polled all the time, and the pool shrinks: they collect one after the other.
#[tokio::test(start_paused = true)]
async fn batches_that_collect_wait_for_each_other_though_what_is_uncollected_is_taken_back() {
    let (driver, mut config) = (FakeDriver::new(), quiet(6));
    config.collect_within = Some(SECOND);
    let pool = pool_with(&driver, config);
    let scheduler = schedule(&pool, |_| {});
    let mut others = Vec::new();
    for _ in 0..6 {
        others.push(pool.acquire_owned().await.unwrap());
    }
    let batch = || {
        let scheduler = scheduler.clone();
        tokio::spawn(async move { scheduler.acquire_many(Request::new().within(60 * SECOND), 3).await.map(drop) })
    };
    let batches = vec![batch(), batch()];
    sleep(5 * SECOND).await;
    let mut fewer = (*pool.config()).clone();
    fewer.max_size = 3;
    pool.reconfigure(fewer).unwrap();
    for other in others {
        drop(other);
        sleep(MS).await;
    }
    all(batches).await.into_iter().for_each(|outcome| outcome.unwrap());
}

/// A queue stood, and is empty; an hour later one waits for a moment.
#[tokio::test(start_paused = true)]
async fn a_queue_that_was_empty_for_an_hour_does_not_stand() {
    let pool = warm(&FakeDriver::new(), 1).await;
    let scheduler = schedule(&pool, |config| (config.codel, config.foresee) = (Some(Codel::default()), false));
    let low = Request::new().priority(Priority::Low).within(10 * SECOND);
    drop(load(&scheduler, 200, 10, &low).await);
    assert!(scheduler.stats().shed.standing > 0);
    sleep(3_600 * SECOND).await;
    let held = scheduler.acquire(Request::new()).await.unwrap();
    let mut waiter = wait(&scheduler, low);
    assert!(is_pending(&mut waiter));
    sleep(150 * MS).await;
    drop(held);
    drop(ready(&mut waiter).unwrap());
}

/// Of a pool that has a connection, somebody else has another one that is not the scheduler's.
#[tokio::test(start_paused = true)]
async fn who_tries_in_vain_has_not_passed() {
    let pool = warm(&FakeDriver::new(), 1).await;
    let scheduler = schedule(&pool, |_| {});
    let direct = pool.acquire().await.unwrap();
    for _ in 0..10 {
        assert!(matches!(scheduler.try_acquire(Request::new()), Err(AcquireError::Unavailable { .. })));
    }
    assert_eq!((scheduler.stats().passed, scheduler.stats().in_use), (0, 0));
    drop(direct);
    drop(scheduler.try_acquire(Request::new()).unwrap());
    assert_eq!(scheduler.stats().passed, 1);
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// The janitor has ended with its runtime: whoever waits starts another one.
#[test]
fn a_turn_is_taken_back_though_the_first_runtime_has_ended() {
    let (driver, mut config) = (FakeDriver::new(), quiet(1));
    config.collect_within = Some(2 * SECOND);
    let scheduler = runtime().block_on(async {
        let scheduler = schedule(&pool_with(&driver, config), |_| {});
        drop(scheduler.acquire(Request::new()).await.unwrap());
        scheduler
    });
    runtime().block_on(async {
        let held = scheduler.acquire(Request::new()).await.unwrap();
        let mut aside = wait(&scheduler, Request::new().within(100 * SECOND));
        assert!(is_pending(&mut aside));
        drop(held);
        drop(scheduler.acquire(Request::new().within(20 * SECOND)).await.unwrap());
    });
}

/// Whoever cannot wait panics, before it has a place in the line; and whoever gives back does not.
#[test]
fn in_a_runtime_without_a_timer_nothing_is_left_in_the_line() {
    let budget = Budget::new(1).unwrap();
    let (scheduler, held) = runtime().block_on(async {
        let scheduler = schedule(&member(&budget, 4), |_| {});
        let held = scheduler.acquire(Request::new()).await.unwrap();
        (scheduler, held)
    });
    Builder::new_current_thread().build().unwrap().block_on(async {
        let mut waiter = wait(&scheduler, Request::new());
        let outcome = catch_unwind(AssertUnwindSafe(|| is_pending(&mut waiter)));
        assert!(outcome.is_err());
        assert_eq!(scheduler.stats().waiting, 0);
        drop(held);
    });
    assert_eq!(scheduler.stats().in_use, 0);
}
