//! What the pool says of itself.

use std::time::Duration;

use pool_core::{AcquireError, Pool, Request, ScheduleConfig, Stats};
use pool_testkit::fake::{Call, FakeDriver, Step};
use tokio::time::sleep;

use crate::common::{SECOND, is_pending, pool_with, prove_nothing_lost, quiet, quiet_pool, ready};

type Lease<'a> = pool_core::Lease<'a, FakeDriver>;

/// What holds for a pool at rest.
fn assert_books(stats: &Stats) {
    let reasons: u64 = stats.closes().iter().map(|(_, count)| count).sum();
    assert_eq!(stats.closed, reasons, "each close has its reason: {:?}", stats.closes());
    let fields = format!("{stats:?}");
    for (reason, count) in stats.closes() {
        assert!(fields.contains(&format!(" {reason}: {count},")), "the field is named otherwise: {reason}");
    }
    let live = stats.state.size - stats.state.opening;
    assert_eq!(stats.opened, stats.closed + live as u64, "opened = closed + live");
    let in_vain = stats.timeouts + stats.cancelled + stats.failed + stats.refused;
    assert_eq!(stats.acquired, stats.immediate + stats.waited - in_vain);
}

#[tokio::test(start_paused = true)]
async fn every_acquire_is_counted_once() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let held = pool.acquire().await.unwrap();
    drop(held);
    let held = pool.acquire().await.unwrap();
    assert!(matches!(pool.try_acquire(), Err(AcquireError::Unavailable { .. })));
    assert!(pool.acquire_timeout(2 * SECOND).await.is_err());
    let mut given_up = Box::pin(pool.acquire());
    assert!(is_pending(&mut given_up));
    drop(given_up);
    held.discard();
    driver.always(Call::Connect, Step::FailForGood);
    assert!(matches!(pool.acquire().await, Err(AcquireError::OpenFailed { .. })));
    let stats = pool.stats();
    assert_eq!((stats.acquired, stats.immediate, stats.waited), (2, 1, 4));
    assert_eq!((stats.timeouts, stats.cancelled, stats.shed, stats.failed), (1, 1, 1, 1));
    assert_eq!(stats.wait.count, 4);
    assert_eq!(stats.wait.max.as_secs(), 2);
    assert_books(&stats);
    prove_nothing_lost(&pool, &driver).await;
    assert_books(&pool.stats());
    assert_eq!(pool.stats().refused, 0);
    for _ in 0..3 {
        assert!(matches!(pool.acquire().await, Err(AcquireError::Closed)));
    }
    assert!(matches!(pool.try_acquire(), Err(AcquireError::Closed)));
    let closed = pool.stats();
    assert_eq!((closed.refused, closed.shed), (4, 1), "those who do not wait are refused as well");
    assert_books(&closed);
}

/// By whichever way they have come.
#[tokio::test(start_paused = true)]
async fn those_who_do_not_wait_for_a_closed_pool_are_counted_once() {
    let driver = FakeDriver::new();
    driver.share_by(2);
    let pool = quiet_pool(&driver, 1);
    let scheduler = pool.schedule(ScheduleConfig::default()).unwrap();
    pool.close().await;
    let outcomes = [
        pool.try_acquire().map(drop),
        pool.try_acquire_owned().map(drop),
        pool.try_share().map(drop),
        pool.try_share_owned().map(drop),
        scheduler.try_acquire(Request::new()).map(drop),
    ];
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(AcquireError::Closed))), "{outcomes:?}");
    assert_eq!(pool.stats().refused, 5);
    assert_eq!(pool.stats().wait.count, 0, "they have not waited");
    assert_books(&pool.stats());
}

/// A driver may hand in whatever it likes, and as often.
#[test]
fn the_sum_of_times_that_cannot_be_never_goes_back() {
    let pool = quiet_pool(&FakeDriver::new(), 1);
    let mut before = 0.0;
    for _ in 0..8 {
        (0..1000).for_each(|_| pool.record_execution(Duration::MAX));
        let execution = pool.stats().execution;
        #[allow(clippy::cast_precision_loss)] // of some thousands
        let sum = execution.mean.as_secs_f64() * execution.count as f64;
        assert!(sum > before - 1.0, "{sum} after {before}");
        before = sum;
    }
}

#[test]
fn acquires_that_cannot_wait_are_counted() {
    let pool = quiet_pool(&FakeDriver::new(), 1);
    let refused = |expected: fn(&AcquireError) -> bool| {
        let error = ready(&mut Box::pin(pool.acquire())).unwrap_err();
        assert!(expected(&error), "{error}");
        assert_books(&pool.stats());
    };
    refused(|error| matches!(error, AcquireError::NoRuntime { .. }));
    assert!(is_pending(&mut Box::pin(pool.close())));
    refused(|error| matches!(error, AcquireError::Closed));
    assert_eq!((pool.stats().refused, pool.stats().waited), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_pool_that_is_closed_are_counted() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let held = pool.acquire().await.unwrap();
    let mut waiter = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiter));
    let mut closing = Box::pin(pool.close());
    assert!(is_pending(&mut closing));
    assert!(ready(&mut waiter).is_err());
    drop(held);
    closing.await;
    assert_eq!((pool.stats().refused, pool.stats().cancelled), (1, 0));
    assert_books(&pool.stats());
}

/// However a lease ends.
#[tokio::test(start_paused = true)]
async fn leases_that_end_badly_are_timed_too() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let ends: [fn(Lease<'_>); 4] =
        [|lease| drop(lease.detach()), |lease| lease.discard(), |lease| lease.break_it(), |lease| lease.make_dirty()];
    for end in ends {
        let lease = pool.acquire().await.unwrap();
        sleep(SECOND).await;
        end(lease);
    }
    assert_eq!((pool.stats().hold.count, pool.stats().hold.max.as_secs()), (4, 1));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn failures_are_counted_by_class() {
    let driver = FakeDriver::new();
    driver.script(Call::Connect, [Step::Fail, Step::FailForGood, Step::Panic, Step::Hang]);
    let mut config = quiet(1);
    config.min_size = 1;
    let pool = pool_with(&driver, config);
    sleep(60 * SECOND).await;
    let errors = pool.stats().errors;
    assert_eq!((errors.open_transient, errors.open_permanent, errors.open_panics, errors.open_timeouts), (1, 1, 1, 1));
    assert_eq!(pool.stats().open_failures, 4);
    driver.script(Call::Reset, [Step::Fail]);
    let lease = pool.acquire().await.unwrap();
    lease.make_dirty();
    drop(lease);
    sleep(SECOND).await;
    driver.script(Call::Inspect, [Step::Panic]);
    drop(pool.acquire().await.unwrap());
    sleep(SECOND).await;
    let errors = pool.stats().errors;
    assert_eq!((errors.resets, errors.inspections, errors.pings), (1, 1, 0));
    assert_books(&pool.stats());
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn times_are_measured() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Delay(SECOND));
    let pool = quiet_pool(&driver, 1);
    for held in 1..=10 {
        let lease = pool.acquire().await.unwrap();
        sleep(held * SECOND).await;
        drop(lease);
    }
    pool.record_execution(SECOND / 4);
    let stats = pool.stats();
    assert_eq!((stats.open.count, stats.open.p50.as_millis() / 10), (1, 100));
    assert_eq!((stats.hold.count, stats.hold.max.as_secs(), stats.hold.mean.as_millis() / 100), (10, 10, 55));
    assert_eq!((stats.execution.count, stats.execution.p99.as_millis()), (1, 250));
    assert_eq!(stats.check, pool_core::Distribution::default());
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_driver_measures_shows() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let recorder = driver.recorder().expect("it is attached when the pool is built");
    recorder.record_execution(SECOND);
    recorder.record_executions(2 * SECOND, 16);
    pool.record_execution(SECOND / 4);
    let execution = pool.stats().execution;
    assert_eq!((execution.count, execution.p50.as_secs(), execution.max.as_secs()), (18, 2, 2));
    assert_eq!(recorder.executions(), execution);
    prove_nothing_lost(&pool, &driver).await;
    recorder.record_execution(SECOND);
    assert_eq!(pool.stats().execution.count, 19, "what ends after the pool was closed counts too");
}

const MILLI: Duration = Duration::from_millis(1);

async fn lease(pool: &Pool<FakeDriver>, held: Duration) {
    let lease = pool.acquire().await.unwrap();
    if !held.is_zero() {
        sleep(held).await;
    }
    drop(lease);
}

/// To look at a clock is nothing beside them.
#[tokio::test(start_paused = true)]
async fn leases_that_are_not_short_are_all_timed() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    for _ in 0..10_000 {
        lease(&pool, MILLI).await;
    }
    let hold = pool.stats().hold;
    assert_eq!((hold.count, hold.mean.as_micros() / 100), (10_000, 10), "{hold:?}");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn of_short_leases_a_sample_stands_for_the_rest() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    for _ in 0..10_000 {
        lease(&pool, Duration::ZERO).await;
    }
    let hold = pool.stats().hold;
    assert!((9_488..=10_000).contains(&hold.count), "{hold:?}");
    prove_nothing_lost(&pool, &driver).await;
}

/// Whatever the pattern is in which long ones come.
#[tokio::test(start_paused = true)]
async fn a_sample_has_as_many_long_ones_as_there_are() {
    for period in [2, 10, 16] {
        let driver = FakeDriver::new();
        let pool = quiet_pool(&driver, 1);
        for number in 0..200_000 {
            lease(&pool, if number % period == 0 { 2 * MILLI } else { Duration::ZERO }).await;
        }
        let hold = pool.stats().hold;
        assert!((199_488..=200_000).contains(&hold.count), "{hold:?}");
        let (expected, seen) = (2000 / period, u64::try_from(hold.mean.as_micros()).unwrap());
        assert!((expected * 3 / 4..=expected * 5 / 4).contains(&seen), "one of {period}: {seen} and not {expected} us");
        prove_nothing_lost(&pool, &driver).await;
    }
}

/// As in a service whose server has become slow.
#[tokio::test(start_paused = true)]
async fn leases_that_become_long_are_seen_at_once() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    for _ in 0..10_000 {
        lease(&pool, Duration::ZERO).await;
    }
    let before = pool.stats().hold.count;
    lease(&pool, 3 * SECOND).await;
    for number in 1..=5 {
        lease(&pool, 3 * SECOND).await;
        let hold = pool.stats().hold;
        assert_eq!(hold.max.as_secs(), 3, "{hold:?}");
        assert!(
            hold.count > before + number,
            "the one that was not seen is among those for which one stands: {hold:?}"
        );
    }
    assert_eq!(pool.stats().hold.count, 10_006);
    prove_nothing_lost(&pool, &driver).await;
}

/// The first lease of each new connection is looked at, whether it is a sample or not.
#[tokio::test(start_paused = true)]
async fn a_lease_that_is_looked_at_for_another_reason_stands_for_those_before_it() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    for _ in 0..1_000 {
        pool.acquire().await.unwrap().discard();
    }
    let stats = pool.stats();
    assert_eq!((stats.opened, stats.hold.count), (1_000, 1_000), "{:?}", stats.hold);
    prove_nothing_lost(&pool, &driver).await;
}
