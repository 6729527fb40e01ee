//! Who is served next, and who is turned away.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use pool_core::{
    AcquireError, Codel, HealthConfig, Key, Pool, Priority, Quota, Request, ScheduleConfig, ScheduledLease, Scheduler,
    Shed,
};
use pool_testkit::cancel::for_each_cancellation;
use pool_testkit::fake::{Call, FakeDriver, Step};
use tokio::runtime::Builder;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::common::{SECOND, is_pending, prove_nothing_lost, quiet_pool, ready, until};

const SERVICE: Duration = Duration::from_millis(10);
const MS: Duration = Duration::from_millis(1);

pub(crate) fn schedule(pool: &Pool<FakeDriver>, change: impl FnOnce(&mut ScheduleConfig)) -> Scheduler<FakeDriver> {
    let mut config = ScheduleConfig::default();
    change(&mut config);
    pool.schedule(config).unwrap()
}

/// A pool that has all its connections.
pub(crate) async fn warm(driver: &FakeDriver, size: usize) -> Pool<FakeDriver> {
    let pool = quiet_pool(driver, size);
    pool.warm_up(size, Duration::ZERO, 60 * SECOND).await.unwrap();
    pool
}

pub(crate) async fn prove(scheduler: Scheduler<FakeDriver>, driver: &FakeDriver) {
    let stats = scheduler.stats();
    assert_eq!((stats.waiting, stats.in_use), (0, 0), "{stats:?}");
    scheduler.pool().breaker().wait_for(|state| !state.is_open()).await.unwrap();
    let all = scheduler.acquire_many(Request::new(), stats.limit).await.unwrap();
    assert_eq!(all.len(), stats.limit, "all can be had at once");
    drop(all);
    prove_nothing_lost(scheduler.pool(), driver).await;
}

pub(crate) fn wait(
    scheduler: &Scheduler<FakeDriver>,
    request: Request,
) -> Pin<Box<dyn Future<Output = Result<Lease, AcquireError>> + Send>> {
    let scheduler = scheduler.clone();
    Box::pin(async move { scheduler.acquire(request).await })
}

pub(crate) type Lease = ScheduledLease<FakeDriver>;

/// What all of these tasks come to.
pub(crate) async fn all<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut outcomes = Vec::with_capacity(tasks.len());
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    outcomes
}

#[tokio::test(start_paused = true)]
async fn without_settings_it_is_first_come_first_served() {
    let driver = FakeDriver::new();
    let pool = warm(&driver, 1).await;
    let scheduler = schedule(&pool, |_| {});
    let held = scheduler.acquire(Request::new()).await.unwrap();
    let mut waiters: Vec<_> = (0..3).map(|_| wait(&scheduler, Request::new())).collect();
    assert!(waiters.iter_mut().all(is_pending));
    assert_eq!((scheduler.stats().waiting, pool.state().waiting), (3, 0), "in front of the pool, not in it");
    drop(held);
    drop(ready(&mut waiters[0]).unwrap());
    assert_eq!(ready(&mut waiters[1]).unwrap().id(), 0);
    drop(ready(&mut waiters[2]).unwrap());
    drop(waiters);
    assert_eq!(scheduler.stats().passed, 4);
    prove(scheduler, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_opened_for_whom_there_is_room() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let scheduler = schedule(&pool, |config| config.kept = 1);
    let (one, two) = tokio::join!(scheduler.acquire(Request::new()), scheduler.acquire(Request::new()));
    let mut third = wait(&scheduler, Request::new());
    assert!(is_pending(&mut third), "one is kept");
    drop(pool.acquire().await.unwrap());
    drop((one, two));
    drop(ready(&mut third).unwrap());
    prove(scheduler, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_too_long_is_told_what_the_pool_is_like() {
    let driver = FakeDriver::new();
    let pool = warm(&driver, 1).await;
    let scheduler = schedule(&pool, |_| {});
    let held = scheduler.acquire(Request::new()).await.unwrap();
    let started = Instant::now();
    let error = scheduler.acquire(Request::new().within(SECOND)).await.unwrap_err();
    assert_eq!(started.elapsed(), SECOND);
    assert!(matches!(&error, AcquireError::Timeout { situation, .. } if situation.waited == SECOND), "{error}");
    let error = scheduler.acquire(Request::new().until(Instant::now() + SECOND)).await.unwrap_err();
    assert_eq!(started.elapsed(), 2 * SECOND, "{error}");
    assert_eq!(scheduler.stats().timeouts, 2);
    drop(held);
    prove(scheduler, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_closes_sends_everybody_away() {
    let driver = FakeDriver::new();
    let pool = warm(&driver, 1).await;
    let scheduler = schedule(&pool, |_| {});
    let held = scheduler.acquire(Request::new()).await.unwrap();
    let mut waiter = wait(&scheduler, Request::new());
    assert!(is_pending(&mut waiter));
    let closing = tokio::spawn(async move { pool.close().await });
    let error = waiter.await.unwrap_err();
    assert!(matches!(error, AcquireError::Closed), "{error}");
    drop(held);
    closing.await.unwrap();
    assert!(matches!(scheduler.acquire(Request::new()).await, Err(AcquireError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn other_sizes_and_other_settings_count_at_once() {
    let driver = FakeDriver::new();
    let pool = warm(&driver, 1).await;
    driver.limit(3);
    let scheduler = schedule(&pool, |config| config.quota.max = Some(2));
    let mut all: Vec<_> = (0..3).map(|_| wait(&scheduler, Request::new().key("a"))).collect();
    let first = ready(&mut all[0]).unwrap();
    assert!(all[1..].iter_mut().all(is_pending));
    let mut config = (*pool.config()).clone();
    config.max_size = 3;
    pool.reconfigure(config).unwrap();
    let second = (&mut all[1]).await.unwrap();
    assert!(is_pending(&mut all[2]), "two are its quota");
    scheduler.reconfigure(ScheduleConfig::default()).unwrap();
    let third = (&mut all[2]).await.unwrap();
    assert_eq!((scheduler.stats().in_use, scheduler.stats().limit), (3, 3));
    assert_eq!(scheduler.keys()[0].in_use, 3);
    drop((first, second, third));
    let checker = pool.monitor(HealthConfig::default()).unwrap();
    until(&pool, |state| state.reserved == 1).await;
    assert_eq!(scheduler.stats().limit, 2, "one is for the checks");
    drop(checker);
    until(&pool, |state| state.reserved == 0).await;
    assert_eq!(scheduler.stats().limit, 3);
    let refused = scheduler.reconfigure({
        let mut config = ScheduleConfig::default();
        config.aging = Duration::ZERO;
        config
    });
    assert!(refused.is_err());
    drop(all);
    prove(scheduler, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn several_are_had_at_once_and_two_who_want_several_do_not_wait_for_each_other() {
    let driver = FakeDriver::new();
    let pool = warm(&driver, 3).await;
    let scheduler = schedule(&pool, |_| {});
    let two_at_once = |_| {
        let scheduler = scheduler.clone();
        tokio::spawn(async move {
            let both = scheduler.acquire_many(Request::new(), 2).await.unwrap();
            sleep(SERVICE).await;
            drop(both);
        })
    };
    all((0..20).map(two_at_once).collect()).await;
    let error = scheduler.acquire_many(Request::new(), 4).await.unwrap_err();
    assert!(
        matches!(&error, AcquireError::Shed { why, .. } if **why == Shed::Impossible { wanted: 4, max: 3 }),
        "{error}"
    );
    assert_eq!(
        error.to_string().split(" (").next(),
        Some("turned away after 0s: 4 connections are wanted at once, and there can be 3")
    );
    assert_eq!(scheduler.acquire_many(Request::new(), 0).await.unwrap().len(), 0);
    prove(scheduler, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_gone_is_told_to_all_who_wait() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Fail);
    let mut config = pool_testkit::fake::quiet(2);
    (config.breaker_failures, config.breaker_after) = (Some(1), MS);
    let pool = crate::common::pool_with(&driver, config);
    let scheduler = schedule(&pool, |_| {});
    let outcomes = all((0..100).map(|_| tokio::spawn(wait(&scheduler, Request::new()))).collect()).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(AcquireError::BreakerOpen { .. }))));
    drop(outcomes);
    driver.recover();
    prove(scheduler, &driver).await;
}

/// A request that is dropped at each of its polls: while it waits, in the moment when it is called, and while its connection is being opened.
#[test]
fn a_request_may_be_dropped_at_any_poll() {
    let cases = for_each_cancellation(|cut| {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let driver = FakeDriver::new();
            driver.dawdle(2);
            let pool = quiet_pool(&driver, 2);
            let scheduler = schedule(&pool, |_| {});
            let held = scheduler.acquire(Request::new()).await.unwrap();
            let release = async {
                sleep(SERVICE).await;
                drop(held);
            };
            let mut beside = wait(&scheduler, Request::new());
            let asking = async { cut.apply(scheduler.acquire_many(Request::new(), 2)).await.is_some() };
            let ((), ended, beside) = tokio::join!(release, asking, &mut beside);
            drop(beside);
            prove(scheduler, &driver).await;
            ended
        })
    });
    assert!(cases > 9, "{cases}");
}

/// What a group of requests has waited for: the 99th of a hundred.
pub(crate) fn p99(mut waits: Vec<Duration>) -> Duration {
    waits.sort_unstable();
    waits[waits.len() * 99 / 100]
}

/// Requests that come evenly from now on, each of which uses its connection for the time of a service. How long those waited that were served, and how many were.
pub(crate) async fn load(
    scheduler: &Scheduler<FakeDriver>,
    rate: u32,
    seconds: u32,
    request: &Request,
) -> Vec<Duration> {
    let started = Instant::now();
    let one = |number: u32| {
        let (scheduler, request) = (scheduler.clone(), request.clone());
        tokio::spawn(async move {
            let comes = started + SECOND / rate * number;
            sleep_until(comes).await;
            let lease = scheduler.acquire(request).await.ok()?;
            let waited = comes.elapsed();
            sleep(SERVICE).await;
            drop(lease);
            Some(waited)
        })
    };
    all((0..rate * seconds).map(one).collect()).await.into_iter().flatten().collect()
}

const SIZE: usize = 4;

async fn two_tenants(keys: [Option<&str>; 2]) -> (Duration, Duration) {
    let driver = FakeDriver::new();
    let pool = warm(&driver, SIZE).await;
    let scheduler = schedule(&pool, |config| config.foresee = false);
    let of = |key: Option<&str>| key.map_or(Request::new(), |key| Request::new().key(key)).within(20 * SECOND);
    let (small, large) = (of(keys[0]), of(keys[1]));
    let alone = p99(load(&scheduler, 40, 4, &small).await);
    let (beside, _) = tokio::join!(load(&scheduler, 40, 4, &small), load(&scheduler, 4_000, 4, &large));
    prove(scheduler, &driver).await;
    (alone, p99(beside))
}

/// One wants a tenth of what there is, the other one a hundred times as much.
#[tokio::test(start_paused = true)]
async fn a_tenant_that_sends_a_hundred_times_as_much_costs_the_other_one_service_time_at_most() {
    let (alone, beside) = two_tenants([Some("small"), Some("large")]).await;
    assert!(beside <= alone + SERVICE + 2 * MS, "{alone:?} alone, {beside:?} beside the other one");
    let (_, without) = two_tenants([None, None]).await;
    assert!(without > SECOND, "without keys: {without:?}");
}

/// How an overload was got over.
struct Overload {
    /// What those waited that were served, once the queue was known to stand: the 99th of a hundred.
    waited: Duration,
    /// The same of the whole minute.
    from_the_beginning: Duration,
    /// The percentage of what there is that was used.
    used: usize,
}

/// Three times what there is, for a minute.
async fn overload(change: impl FnOnce(&mut ScheduleConfig)) -> Overload {
    let driver = FakeDriver::new();
    let pool = warm(&driver, SIZE).await;
    let scheduler = schedule(&pool, |config| {
        config.foresee = false;
        change(config);
    });
    let request = Request::new().within(10 * SECOND);
    let begins = load(&scheduler, 1_200, 3, &request);
    let goes_on = async {
        sleep(3 * SECOND).await;
        load(&scheduler, 1_200, 57, &request).await
    };
    let (mut all, standing) = tokio::join!(begins, goes_on);
    let waited = p99(standing.clone());
    all.extend(standing);
    let used = all.len() * 100 / (400 * 60);
    prove(scheduler, &driver).await;
    Overload { waited, from_the_beginning: p99(all), used }
}

#[tokio::test(start_paused = true)]
async fn what_is_served_of_an_overload_is_served_soon() {
    let codel = overload(|config| config.codel = Some(Codel::default())).await;
    assert!(codel.waited < 150 * MS && codel.used > 90, "{:?}, {} %", codel.waited, codel.used);
    // Until it is known that it is no burst.
    assert!(codel.from_the_beginning < 3 * SECOND, "{:?}", codel.from_the_beginning);
    let short = |config: &mut ScheduleConfig| {
        let mut codel = Codel::default();
        codel.interval = 100 * MS;
        config.codel = Some(codel);
    };
    let soon = overload(short).await;
    assert!(soon.from_the_beginning < 150 * MS && soon.used > 90, "{:?}, {} %", soon.from_the_beginning, soon.used);
    let without = overload(|config| config.codel = None).await;
    assert!(without.waited > 5 * SECOND, "{:?} without", without.waited);
}

#[tokio::test(start_paused = true)]
async fn a_high_priority_waits_for_a_service_time_at_most_and_a_low_one_has_its_share() {
    let driver = FakeDriver::new();
    let pool = warm(&driver, SIZE).await;
    let scheduler = schedule(&pool, |config| config.foresee = false);
    let of = |priority| Request::new().priority(priority).within(6 * SECOND);
    let (high, normal, low) = (of(Priority::High), of(Priority::Normal), of(Priority::Low));
    let (high, normal, low) = tokio::join!(
        load(&scheduler, 200, 6, &high),
        load(&scheduler, 600, 6, &normal),
        load(&scheduler, 600, 6, &low)
    );
    assert_eq!(high.len(), 1_200);
    let waited = p99(high);
    assert!(waited <= SERVICE + SERVICE / 10, "{waited:?}");
    // Of 2,400 for high and low alone, once somebody of low priority has waited for a second.
    assert!(
        low.len() >= 90 && normal.len() > 5 * low.len(),
        "{} of low priority, {} of normal",
        low.len(),
        normal.len()
    );
    prove(scheduler, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_shed_is_counted_by_its_reason() {
    let driver = FakeDriver::new();
    let pool = warm(&driver, 1).await;
    let scheduler = schedule(&pool, |config| {
        (config.max_waiting, config.max_keys) = (Some(2), 1);
        let mut quota = Quota::default();
        quota.max_waiting = Some(1);
        config.quotas.insert(Key::from("a"), quota);
    });
    let held = scheduler.acquire(Request::new().key("a")).await.unwrap();
    let mut waiters = [wait(&scheduler, Request::new().key("a")), wait(&scheduler, Request::new())];
    assert!(waiters.iter_mut().all(is_pending));
    for request in [Request::new().key("a"), Request::new(), Request::new().key("b")] {
        let error = ready(&mut wait(&scheduler, request)).unwrap_err();
        assert!(matches!(error, AcquireError::Shed { .. }), "{error}");
    }
    let shed = scheduler.stats().shed;
    assert_eq!((shed.full, shed.key_full, shed.keys), (2, 0, 1), "the whole line is looked at first");
    drop((waiters, held));
    assert_eq!(scheduler.stats().cancelled, 2);
    prove(scheduler, &driver).await;
}
