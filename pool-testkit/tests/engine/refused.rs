//! Settings that cannot be: each has its message, and nothing comes of them.

use std::collections::BTreeSet;
use std::time::Duration;

use pool_core::{AcquireError, Config, IdleOrder, Pool};
use pool_testkit::fake::{Call, FakeDriver};
use tokio::time::Instant;

use crate::common::{SECOND, prove_nothing_lost, quiet_pool};
use crate::settings::all_settings;

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);
const INSTANT: Duration = Duration::from_nanos(1);

/// A setting, what makes it wrong among the defaults, how its value shows, and the values it may have.
type Case = (&'static str, fn(&mut Config), &'static str, &'static str);

const SIZES: &str = "1 to 65535";
const MINIMA: &str = "0 to max_size";
const OPENERS: &str = "1 to 255, or to max_size if that is more";
const HEADROOM: &str = "0 to 65535 - max_size";
const USES: &str = "None, or 1 and more";
const PAUSES: &str = "backoff_initial to 10 years";
const TIMES: &str = "1 ms to 10 years";
const TIMES_OR_NONE: &str = "None, or 1 ms to 10 years";

const CASES: &[Case] = &[
    ("max_size", |c| (c.max_size, c.min_size) = (0, 0), "0", SIZES),
    ("max_size", |c| c.max_size = 65_536, "65536", SIZES),
    ("min_size", |c| c.min_size = 21, "21", MINIMA),
    ("min_size", |c| c.max_size = 1, "2", MINIMA),
    ("min_idle", |c| c.min_idle = 21, "21", MINIMA),
    ("min_idle", |c| (c.max_size, c.min_size, c.min_idle) = (4, 4, 5), "5", MINIMA),
    ("max_openers", |c| c.max_openers = 0, "0", OPENERS),
    ("max_openers", |c| c.max_openers = 256, "256", OPENERS),
    ("max_openers", |c| (c.max_size, c.max_openers) = (300, 301), "301", OPENERS),
    ("rotation_headroom", |c| c.rotation_headroom = 65_516, "65516", HEADROOM),
    ("rotation_headroom", |c| (c.max_size, c.rotation_headroom) = (65_535, 1), "1", HEADROOM),
    ("max_uses", |c| c.max_uses = Some(0), "Some(0)", USES),
    ("breaker_failures", |c| c.breaker_failures = Some(0), "Some(0)", USES),
    ("backoff_initial", |c| c.backoff_initial = Duration::ZERO, "0ns", TIMES),
    ("backoff_initial", |c| c.backoff_initial = SHORTEST.saturating_sub(INSTANT), "999.999µs", TIMES),
    ("backoff_max", |c| c.backoff_max = Duration::from_millis(49), "49ms", PAUSES),
    ("backoff_max", |c| c.backoff_initial = 3 * SECOND, "2s", PAUSES),
    ("backoff_max", |c| c.backoff_max = LONGEST + INSTANT, "315360000.000000001s", PAUSES),
];

/// A limit of time, the values it may have, and how to set it.
type Limit = (&'static str, &'static str, fn(&mut Config, Duration));

const LIMITS: &[Limit] = &[
    ("acquire_timeout", TIMES, |c, time| c.acquire_timeout = time),
    ("connect_timeout", TIMES, |c, time| c.connect_timeout = time),
    ("idle_timeout", TIMES_OR_NONE, |c, time| c.idle_timeout = Some(time)),
    ("max_lifetime", TIMES_OR_NONE, |c, time| c.max_lifetime = Some(time)),
    ("health_check_interval", TIMES_OR_NONE, |c, time| c.health_check_interval = Some(time)),
    ("health_check_timeout", TIMES, |c, time| c.health_check_timeout = time),
    ("check_after_idle", TIMES_OR_NONE, |c, time| c.check_after_idle = Some(time)),
    ("check_timeout", TIMES, |c, time| c.check_timeout = time),
    ("reset_timeout", TIMES, |c, time| c.reset_timeout = time),
    ("close_timeout", TIMES, |c, time| c.close_timeout = time),
    ("opener_interval", TIMES_OR_NONE, |c, time| c.opener_interval = Some(time)),
    ("breaker_after", TIMES, |c, time| c.breaker_after = time),
    ("leak_after", TIMES_OR_NONE, |c, time| c.leak_after = Some(time)),
    ("reclaim_after", TIMES_OR_NONE, |c, time| c.reclaim_after = Some(time)),
    ("collect_within", TIMES_OR_NONE, |c, time| c.collect_within = Some(time)),
    ("slow_acquire", TIMES_OR_NONE, |c, time| c.slow_acquire = Some(time)),
];

const WRONG_TIMES: [(Duration, &str); 4] = [
    (Duration::ZERO, "0ns"),
    (SHORTEST.saturating_sub(INSTANT), "999.999µs"),
    (LONGEST.saturating_add(INSTANT), "315360000.000000001s"),
    (Duration::MAX, "18446744073709551615.999999999s"),
];

/// Settings that are wrong, the fields to blame, and the message.
struct Wrong {
    config: Config,
    fields: Vec<&'static str>,
    message: String,
}

impl Wrong {
    /// Wrong in these: field, shown value, values it may have.
    fn of(change: impl FnOnce(&mut Config), blamed: &[(&'static str, &str, &str)]) -> Self {
        let message =
            |(field, shown, allowed): &(_, _, _)| format!("{field} = {shown} is not allowed; allowed: {allowed}");
        let messages: Vec<_> = blamed.iter().map(message).collect();
        let fields = blamed.iter().map(|(field, ..)| *field).collect();
        Self { config: changed(change), fields, message: messages.join("; ") }
    }
}

fn changed(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

/// How a time shows itself in a field.
fn shown_in((_, allowed, _): &Limit, time: &str) -> String {
    if *allowed == TIMES_OR_NONE { format!("Some({time})") } else { time.to_owned() }
}

/// Everything that is wrong with one setting alone.
fn one_wrong() -> Vec<Wrong> {
    let cases = CASES.iter().map(|(field, change, shown, allowed)| Wrong::of(change, &[(field, shown, allowed)]));
    let limits = LIMITS.iter().flat_map(|limit @ (field, allowed, set)| {
        WRONG_TIMES
            .map(|(time, shown)| Wrong::of(|config| set(config, time), &[(field, &shown_in(limit, shown), allowed)]))
    });
    cases.chain(limits).collect()
}

/// Several at once; what is measured by another one that is wrong, too.
fn several_wrong() -> Vec<Wrong> {
    let (zero, never) = (Duration::ZERO, Duration::MAX);
    let shown = "18446744073709551615.999999999s";
    vec![
        Wrong::of(|c| c.max_size = 0, &[("max_size", "0", SIZES), ("min_size", "2", MINIMA)]),
        Wrong::of(
            |c| (c.min_size, c.min_idle, c.max_openers) = (21, 22, 0),
            &[("min_size", "21", MINIMA), ("min_idle", "22", MINIMA), ("max_openers", "0", OPENERS)],
        ),
        Wrong::of(
            |c| (c.max_uses, c.idle_timeout, c.close_timeout) = (Some(0), Some(zero), never),
            &[
                ("max_uses", "Some(0)", USES),
                ("close_timeout", shown, TIMES),
                ("idle_timeout", "Some(0ns)", TIMES_OR_NONE),
            ],
        ),
        Wrong::of(
            |c| (c.backoff_initial, c.backoff_max) = (zero, zero),
            &[("backoff_initial", "0ns", TIMES), ("backoff_max", "0ns", PAUSES)],
        ),
        Wrong::of(
            |c| (c.backoff_initial, c.backoff_max) = (never, never),
            &[("backoff_initial", shown, TIMES), ("backoff_max", shown, PAUSES)],
        ),
        everything_wrong(),
    ]
}

/// Every setting that can be wrong, in the order in which they are checked.
fn everything_wrong() -> Wrong {
    let mut blamed = vec![("max_size", "65536", SIZES), ("min_size", "65537", MINIMA), ("min_idle", "65538", MINIMA)];
    blamed.extend([("max_openers", "0", OPENERS), ("rotation_headroom", "1", HEADROOM), ("max_uses", "Some(0)", USES)]);
    blamed.push(("breaker_failures", "Some(0)", USES));
    let times = |allowed, shown| {
        LIMITS.iter().filter(move |limit| limit.1 == allowed).map(move |limit| (limit.0, shown, allowed))
    };
    blamed.extend(times(TIMES, "0ns"));
    blamed.push(("backoff_initial", "0ns", TIMES));
    blamed.extend(times(TIMES_OR_NONE, "Some(0ns)"));
    blamed.push(("backoff_max", "0ns", PAUSES));
    let change = |config: &mut Config| {
        (config.max_size, config.min_size, config.min_idle) = (65_536, 65_537, 65_538);
        (config.max_openers, config.rotation_headroom, config.max_uses) = (0, 1, Some(0));
        (config.backoff_initial, config.backoff_max) = (Duration::ZERO, Duration::ZERO);
        config.breaker_failures = Some(0);
        for (.., set) in LIMITS {
            set(config, Duration::ZERO);
        }
    };
    Wrong::of(change, &blamed)
}

fn all_wrong() -> impl Iterator<Item = Wrong> {
    one_wrong().into_iter().chain(several_wrong())
}

/// Checks that settings are refused, with the right words.
fn assert_refused<T>(outcome: Result<T, pool_core::ConfigError>, wrong: &Wrong) {
    let Err(error) = outcome else { panic!("not refused: {}", wrong.message) };
    assert_eq!(error.to_string(), wrong.message);
    let named: Vec<_> = error.refused.iter().map(|setting| setting.field).collect();
    assert_eq!(named, wrong.fields);
}

#[tokio::test(start_paused = true)]
async fn a_pool_is_not_built_with_settings_that_cannot_be() {
    let driver = FakeDriver::new();
    for wrong in all_wrong() {
        assert_refused(wrong.config.validate(), &wrong);
        assert_refused(Pool::builder(driver.clone()).config(wrong.config.clone()).build(), &wrong);
    }
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(driver.begun(Call::Connect), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pool_in_use_keeps_its_settings_if_the_new_ones_cannot_be() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let mut leases = vec![pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    let (settings, looks) = (pool.config(), pool.stats());
    for wrong in all_wrong() {
        assert_refused(pool.reconfigure(wrong.config.clone()), &wrong);
        assert_eq!(*pool.config(), *settings, "after {}", wrong.message);
    }
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(pool.stats(), looks, "nothing has come of it");
    drop(leases.pop());
    assert_eq!(pool.try_acquire().unwrap().id(), 1);
    drop(leases);
    prove_nothing_lost(&pool, &driver).await;
}

/// All of it or nothing: right settings are not put in force along with a wrong one.
#[tokio::test(start_paused = true)]
async fn what_is_right_beside_something_wrong_is_not_in_force() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let leases = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    let mut config = (*pool.config()).clone();
    (config.max_size, config.max_uses, config.acquire_timeout) = (3, Some(1), SECOND);
    (config.min_size, config.idle_order) = (4, IdleOrder::Fifo);
    let error = pool.reconfigure(config.clone()).unwrap_err();
    assert_eq!(error.to_string(), "min_size = 4 is not allowed; allowed: 0 to max_size");
    let started = Instant::now();
    let late = pool.acquire().await.unwrap_err();
    assert!(matches!(late, AcquireError::Timeout { .. }) && started.elapsed() == 30 * SECOND, "{late}");
    drop(leases);
    assert_eq!((pool.state().idle, pool.state().max_size), (2, 2));
    let first = pool.acquire().await.unwrap().id();
    assert_eq!(pool.acquire().await.unwrap().id(), first, "neither in turn, nor once only");
    // Without what is wrong, all of it is.
    driver.limit(3);
    config.min_size = 3;
    let changed = pool.reconfigure(config).unwrap();
    assert_eq!(changed.now, ["max_size", "min_size", "idle_order", "acquire_timeout", "max_uses"]);
    prove_nothing_lost(&pool, &driver).await;
}

#[test]
fn the_limits_themselves_are_allowed() {
    let sizes: &[fn(&mut Config)] = &[
        |c| (c.max_size, c.min_size) = (1, 1),
        |c| (c.max_size, c.min_size, c.min_idle) = (65_535, 65_535, 65_535),
        |c| (c.min_size, c.min_idle) = (20, 20),
        |c| c.max_openers = 1,
        |c| (c.max_size, c.max_openers) = (2, 255),
        |c| (c.max_size, c.max_openers) = (300, 300),
        |c| c.rotation_headroom = 65_515,
        |c| c.max_uses = Some(1),
        |c| c.max_uses = Some(u64::MAX),
        |c| c.breaker_failures = Some(1),
        |c| c.breaker_failures = Some(u32::MAX),
        |c| c.breaker_failures = None,
        |c| (c.backoff_initial, c.backoff_max) = (SHORTEST, SHORTEST),
        |c| (c.backoff_initial, c.backoff_max) = (LONGEST, LONGEST),
        |c| (c.idle_timeout, c.max_lifetime, c.health_check_interval) = (None, None, None),
        |c| (c.check_after_idle, c.opener_interval, c.max_uses) = (None, None, None),
    ];
    let times = LIMITS.iter().flat_map(|(_, _, set)| [SHORTEST, LONGEST].map(|time| changed(|c| set(c, time))));
    for config in sizes.iter().map(changed).chain(times) {
        assert_eq!(config.validate(), Ok(()), "{config:?}");
    }
}

#[test]
fn every_setting_that_can_be_wrong_has_its_message() {
    let cannot_be_wrong = ["lazy", "idle_order", "refuse_self_wait"].map(str::to_owned);
    let blamed = |wrong: Vec<Wrong>| wrong.into_iter().flat_map(|one| one.fields).map(str::to_owned);
    let named: BTreeSet<_> = blamed(one_wrong()).chain(cannot_be_wrong.clone()).collect();
    assert_eq!(named, all_settings().into_iter().collect());
    let together: BTreeSet<_> = blamed(vec![everything_wrong()]).chain(cannot_be_wrong).collect();
    assert_eq!(together, named, "all at once, too");
}
