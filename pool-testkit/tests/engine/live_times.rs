//! Settings that are changed live, each for `settings.rs`: limits and intervals.

use std::time::Duration;

use pool_core::{AcquireError, OpenFailure, OwnedLease, Pool};
use pool_testkit::fake::{Call, FakeDriver, Step};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::common::{SECOND, until};
use crate::settings::{Setting, Trial};

const HOUR: Duration = Duration::from_hours(1);

/// The connection that somebody gets who uses it at once, and after how long.
async fn served(pool: &Pool<FakeDriver>) -> (u64, Duration) {
    let started = Instant::now();
    let id = pool.acquire_timeout(HOUR).await.unwrap().id();
    (id, started.elapsed())
}

/// Whether a time is what is expected, to within the steps in which somebody looks.
fn about(time: Duration, expected: Duration) -> bool {
    (expected..expected + SECOND / 100).contains(&time)
}

/// How long it takes until the pool has so many connections.
async fn until_there_are(pool: &Pool<FakeDriver>, size: usize) -> Duration {
    let started = Instant::now();
    until(pool, |state| (state.size, state.in_maintenance) == (size, 0)).await;
    started.elapsed()
}

pub(crate) async fn a_caller_waits_for_longer_or_less(setting: Setting) -> Trial {
    let trial = setting.begin(1, |config| config.acquire_timeout = 3 * SECOND);
    let held = trial.pool.acquire().await.unwrap();
    for limit in [3, 10, 1].map(|limit| limit * SECOND) {
        if limit != trial.pool.config().acquire_timeout {
            trial.change(|config| config.acquire_timeout = limit);
        }
        let started = Instant::now();
        let error = trial.pool.acquire().await.unwrap_err();
        assert!(matches!(error, AcquireError::Timeout { ref situation, .. } if situation.waited == limit), "{error}");
        assert_eq!(started.elapsed(), limit);
    }
    drop(held);
    trial
}

/// How long an attempt to open a connection took that took too long.
async fn patience(trial: &Trial) -> Duration {
    let failed = trial.pool.stats().errors.open_timeouts;
    let waiting = trial.pool.acquire_timeout(40 * SECOND);
    let started = Instant::now();
    let (outcome, elapsed) = tokio::join!(waiting, async {
        while trial.pool.stats().errors.open_timeouts == failed {
            sleep(Duration::from_millis(1)).await;
        }
        started.elapsed()
    });
    let Err(AcquireError::Timeout { failure: Some(failure), .. }) = outcome else { panic!("nothing is opened") };
    let OpenFailure::TimedOut { after, .. } = *failure else { panic!("{failure}") };
    assert!(about(elapsed, after), "{elapsed:?}, {after:?}");
    after
}

pub(crate) async fn an_attempt_takes_longer_or_less(setting: Setting) -> Trial {
    let trial = setting.begin(1, |config| config.connect_timeout = 2 * SECOND);
    trial.driver.always(Call::Connect, Step::Delay(9 * SECOND));
    assert_eq!(patience(&trial).await, 2 * SECOND);
    // What is under way has the time that it began with.
    until(&trial.pool, |state| state.opening == 0).await;
    trial.change(|config| config.connect_timeout = 10 * SECOND);
    let (id, took) = served(&trial.pool).await;
    assert!(id == 0 && (9 * SECOND..12 * SECOND).contains(&took), "{took:?}, with a pause after the failure");
    trial.pool.retire_all();
    until(&trial.pool, |state| state.size == 0).await;
    trial.change(|config| config.connect_timeout = 4 * SECOND);
    assert_eq!(patience(&trial).await, 4 * SECOND);
    trial
}

pub(crate) async fn an_idle_connection_stays_for_longer_or_less(setting: Setting) -> Trial {
    let trial = setting.begin(1, |config| config.idle_timeout = Some(60 * SECOND));
    let mut left = Vec::new();
    for timeout in [Some(40), None, Some(70), Some(20)] {
        served(&trial.pool).await;
        sleep(50 * SECOND).await;
        left.push(trial.pool.state().idle);
        // What is idle already, too.
        trial.change(|config| config.idle_timeout = timeout.map(Duration::from_secs));
        sleep(SECOND).await;
        left.push(trial.pool.state().idle);
    }
    assert_eq!((left, trial.pool.stats().idle_timed_out), (vec![1, 0, 0, 0, 1, 1, 1, 0], 3));
    trial
}

pub(crate) async fn a_new_connection_has_another_life(setting: Setting) -> Trial {
    let trial = setting.begin(4, |_| {});
    let pool = &trial.pool;
    let mut leases = vec![pool.acquire().await.unwrap()];
    for lifetime in [Some(100 * SECOND), Some(300 * SECOND), None] {
        trial.change(|config| config.max_lifetime = lifetime);
        leases.push(pool.acquire().await.unwrap());
    }
    drop(leases);
    let mut sizes = Vec::new();
    for time in [89, 12, 168, 32, 3600] {
        sleep(time * SECOND).await;
        sizes.push(pool.state().size);
    }
    assert_eq!(sizes, [4, 3, 3, 2, 2], "up to a tenth less than its life");
    let left = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    let mut left = left.map(|lease| lease.id());
    left.sort_unstable();
    assert_eq!((left, pool.stats().expired), ([0, 3], 2));
    trial
}

/// How many pings there are in a hundred seconds.
async fn pings(trial: &Trial) -> u64 {
    let before = trial.driver.begun(Call::Ping);
    sleep(100 * SECOND).await;
    trial.driver.begun(Call::Ping) - before
}

pub(crate) async fn idle_connections_are_pinged_more_or_less_often(setting: Setting) -> Trial {
    let trial = setting.begin(1, |_| {});
    drop(trial.pool.acquire().await.unwrap());
    let mut seen = vec![pings(&trial).await];
    for interval in [Some(10), Some(2), Some(40), None] {
        trial.change(|config| config.health_check_interval = interval.map(Duration::from_secs));
        seen.push(pings(&trial).await);
    }
    assert!(matches!(seen[..], [0, 9..=11, 40..=50, 2..=3, 0]), "{seen:?}");
    trial
}

pub(crate) async fn a_ping_takes_longer_or_less(setting: Setting) -> Trial {
    let trial = setting.begin(1, |config| {
        (config.min_size, config.health_check_timeout) = (1, 4 * SECOND);
        config.health_check_interval = Some(10 * SECOND);
    });
    trial.driver.always(Call::Ping, Step::Delay(3 * SECOND));
    let mut failed = Vec::new();
    for limit in [4, 2, 4] {
        if !failed.is_empty() {
            trial.change(|config| config.health_check_timeout = limit * SECOND);
        }
        let before = trial.pool.stats().errors.pings;
        assert!(pings(&trial).await >= 6);
        // The one that is under way has the time that it began with.
        until(&trial.pool, |state| state.idle == 1).await;
        failed.push(trial.pool.stats().errors.pings - before);
    }
    assert!(matches!(failed[..], [0, 6..=20, 0]), "{failed:?}");
    trial
}

/// Whether a connection that was idle for so long is checked.
async fn is_checked(trial: &Trial, idle: Duration) -> bool {
    drop(trial.pool.acquire().await.unwrap());
    let before = trial.driver.begun(Call::Ping);
    sleep(idle).await;
    drop(trial.pool.acquire().await.unwrap());
    trial.driver.begun(Call::Ping) > before
}

pub(crate) async fn a_connection_is_checked_sooner_or_later_or_not_at_all(setting: Setting) -> Trial {
    let trial = setting.begin(1, |_| {});
    assert!(!is_checked(&trial, HOUR).await);
    for limit in [60, 10, 100] {
        trial.change(|config| config.check_after_idle = Some(limit * SECOND));
        let idle = [limit - 2, limit + 2].map(|idle| idle * SECOND);
        assert!(!is_checked(&trial, idle[0]).await && is_checked(&trial, idle[1]).await, "{limit} s");
    }
    trial.change(|config| config.check_after_idle = None);
    assert!(!is_checked(&trial, HOUR).await);
    trial
}

pub(crate) async fn a_check_takes_longer_or_less(setting: Setting) -> Trial {
    let trial = setting.begin(1, |config| {
        (config.check_after_idle, config.check_timeout) = (Some(10 * SECOND), 4 * SECOND);
    });
    trial.driver.always(Call::Ping, Step::Delay(3 * SECOND));
    let after_a_while = async || {
        sleep(20 * SECOND).await;
        served(&trial.pool).await
    };
    drop(trial.pool.acquire().await.unwrap());
    assert_eq!(after_a_while().await, (0, 3 * SECOND));
    trial.change(|config| config.check_timeout = SECOND);
    assert_eq!(after_a_while().await, (1, SECOND), "another one instead");
    trial.change(|config| config.check_timeout = 4 * SECOND);
    assert_eq!(after_a_while().await, (1, 3 * SECOND));
    trial
}

/// The connection that comes after one that had to be reset, and after how long.
async fn after_reset(pool: &Pool<FakeDriver>) -> (u64, Duration) {
    pool.acquire().await.unwrap().make_dirty();
    served(pool).await
}

pub(crate) async fn a_reset_takes_longer_or_less(setting: Setting) -> Trial {
    let trial = setting.begin(1, |config| config.reset_timeout = 4 * SECOND);
    trial.driver.always(Call::Reset, Step::Delay(3 * SECOND));
    assert_eq!(after_reset(&trial.pool).await, (0, 3 * SECOND));
    trial.change(|config| config.reset_timeout = SECOND);
    assert_eq!(after_reset(&trial.pool).await, (1, SECOND), "another one instead");
    trial.change(|config| config.reset_timeout = 4 * SECOND);
    assert_eq!(after_reset(&trial.pool).await, (1, 3 * SECOND));
    trial
}

pub(crate) async fn a_close_takes_longer_or_less(setting: Setting) -> Trial {
    let trial = setting.begin(1, |config| config.close_timeout = 5 * SECOND);
    trial.driver.always(Call::Close, Step::Hang);
    for limit in [5, 2, 20].map(|limit| limit * SECOND) {
        if limit != trial.pool.config().close_timeout {
            trial.change(|config| config.close_timeout = limit);
        }
        trial.pool.acquire().await.unwrap().break_it();
        let took = until_there_are(&trial.pool, 0).await;
        assert!(about(took, limit), "{took:?} of {limit:?}");
    }
    trial
}

/// Users that wait for connections, and keep them.
fn users(pool: &Pool<FakeDriver>, how_many: usize) -> Vec<JoinHandle<OwnedLease<FakeDriver>>> {
    let user = |pool: Pool<FakeDriver>| tokio::spawn(async move { pool.acquire_owned_timeout(HOUR).await.unwrap() });
    (0..how_many).map(|_| user(pool.clone())).collect()
}

pub(crate) async fn attempts_begin_in_quicker_or_slower_succession(setting: Setting) -> Trial {
    let trial = setting.begin(9, |_| {});
    let mut users_of_it = users(&trial.pool, 2);
    // Somewhere between the attempts, from here on.
    sleep(SECOND / 2).await;
    let mut begun = vec![trial.driver.begun(Call::Connect)];
    let steps: [(_, &[u32]); 4] = [(Some(10), &[9, 1, 9]), (Some(1), &[0, 1]), (Some(10), &[8]), (None, &[1])];
    for (interval, looks) in steps {
        trial.change(|config| config.opener_interval = interval.map(Duration::from_secs));
        users_of_it.extend(users(&trial.pool, 9 - users_of_it.len()));
        for look in looks {
            sleep(*look * SECOND + Duration::from_millis(1)).await;
            begun.push(trial.driver.begun(Call::Connect));
        }
    }
    assert_eq!(begun, [2, 2, 3, 3, 4, 5, 5, 9]);
    drop(users_of_it);
    trial
}

/// How long it takes to open a connection after so many failures.
async fn after_failures(trial: &Trial, failures: usize) -> Duration {
    trial.pool.retire_all();
    until(&trial.pool, |state| state.size == 0).await;
    trial.driver.script(Call::Connect, std::iter::repeat_n(Step::Fail, failures));
    served(&trial.pool).await.1
}

pub(crate) async fn the_first_pause_is_longer_or_shorter(setting: Setting) -> Trial {
    let trial = setting.begin(1, |config| (config.backoff_initial, config.backoff_max) = (10 * SECOND, HOUR));
    for initial in [10_000, 200_000, 50].map(Duration::from_millis) {
        if initial != trial.pool.config().backoff_initial {
            trial.change(|config| config.backoff_initial = initial);
        }
        let pause = after_failures(&trial, 1).await;
        assert!((initial / 10..=initial + SECOND / 100).contains(&pause), "{pause:?} of {initial:?}");
    }
    trial
}

/// How long it takes until the minimum is opened again after so many failures, while nobody waits for it.
async fn alone_after_failures(trial: &Trial, failures: u16) -> Duration {
    until(&trial.pool, |state| state.idle == 1).await;
    trial.driver.script(Call::Connect, std::iter::repeat_n(Step::Fail, failures.into()));
    let (begun, started) = (trial.driver.begun(Call::Connect), Instant::now());
    trial.pool.retire_all();
    trial.driver.reached(Call::Connect, begun + u64::from(failures) + 1).await;
    started.elapsed()
}

pub(crate) async fn the_longest_pause_is_longer_or_shorter(setting: Setting) -> Trial {
    let trial = setting.begin(1, |config| {
        config.min_size = 1;
        (config.backoff_initial, config.backoff_max) = (SECOND, SECOND);
    });
    let short = alone_after_failures(&trial, 10).await;
    trial.change(|config| config.backoff_max = 100 * SECOND);
    let long = alone_after_failures(&trial, 10).await;
    trial.change(|config| config.backoff_max = 2 * SECOND);
    let middling = alone_after_failures(&trial, 10).await;
    // A tenth of each pause, at least, to all of it: of 1, 2, 4, 8, 16, 32, 64, 100, 100 and 100 seconds, for the long ones.
    assert!((SECOND..11 * SECOND).contains(&short), "{short:?}");
    assert!((42 * SECOND..430 * SECOND).contains(&long), "{long:?}");
    assert!((19 * SECOND / 10..20 * SECOND).contains(&middling), "{middling:?}");
    trial
}
