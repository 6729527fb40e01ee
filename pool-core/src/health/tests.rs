use super::*;
use crate::connection::ConnectionId;

const SECOND: Duration = Duration::from_secs(1);

fn pool(leased: usize, waiting: usize) -> PoolState {
    PoolState { leased, waiting, max_size: 10, ..PoolState::default() }
}

fn sample(pool: PoolState) -> Sample {
    Sample { at: Instant::now(), pool, oldest: None }
}

/// The state after these checks, `+` and `-`, `b` for a busy pool, and `s` for one that has served others meanwhile.
fn after(checks: &str) -> HealthState {
    let (mut judge, config) = (Judge::default(), HealthConfig::default());
    for check in checks.chars() {
        judge.hear(
            match check {
                '+' => Checked::Answered(SECOND),
                '-' => Checked::Failed("it is gone".to_owned()),
                's' => Checked::Served,
                _ => Checked::Busy,
            },
            &config,
        );
        judge.look(&sample(pool(0, 0)), &config);
    }
    judge.report().state
}

#[test]
fn it_takes_three_failures_to_be_unhealthy_and_two_successes_to_recover() {
    use HealthState::{Degraded, Healthy, Starting, Unhealthy};
    let expected = [
        ("b", Starting),
        ("-", Starting),
        ("--", Starting),
        ("---", Unhealthy),
        ("+", Healthy),
        ("--+", Healthy),
        ("+-", Degraded),
        ("+--", Degraded),
        ("+---", Unhealthy),
        ("+--bb-", Unhealthy),
        ("+--+--", Degraded),
        ("+---+", Unhealthy),
        ("+---+b+", Healthy),
        ("+---+-+", Unhealthy),
        ("+---+-++", Healthy),
        ("s", Healthy),
        ("+-s", Healthy),
        ("+---bb", Unhealthy),
        ("+---s", Unhealthy),
        ("+---sbs", Healthy),
    ];
    for (checks, state) in expected {
        assert_eq!(after(checks), state, "{checks}");
    }
}

#[test]
fn what_is_wrong_is_said_and_how_often_it_is_looked_at() {
    let (mut judge, config) = (Judge::default(), HealthConfig::default());
    let mut tell = |checked| {
        judge.hear(checked, &config);
        judge.look(&sample(pool(0, 0)), &config);
        (judge.report().to_string(), judge.pace(&config))
    };
    let failed = || Checked::Failed("it is gone".to_owned());
    assert_eq!(tell(Checked::Answered(SECOND)), ("healthy".to_owned(), 30 * SECOND));
    assert_eq!(tell(failed()), ("degraded: the last check has failed: it is gone".to_owned(), SECOND));
    tell(failed());
    assert_eq!(tell(failed()), ("unhealthy: 3 checks have failed: it is gone".to_owned(), SECOND));
    let again = "unhealthy: 1 of 2 checks have succeeded again".to_owned();
    assert_eq!(tell(Checked::Answered(SECOND)), (again, SECOND));
    assert_eq!(tell(Checked::Answered(SECOND)), ("healthy".to_owned(), 30 * SECOND));
}

/// What is said of these samples, each half a second after the other, of a pool that answers.
fn told(samples: &[Sample]) -> Vec<String> {
    let (mut judge, config) = (Judge::default(), HealthConfig::default());
    judge.hear(Checked::Answered(SECOND), &config);
    let started = Instant::now();
    let tell = |(number, sample): (usize, &Sample)| {
        let at = started + u32::try_from(number).unwrap() * SECOND / 2;
        judge.look(&Sample { at, ..*sample }, &config);
        let report = judge.report();
        assert!(report.is_ready());
        report.to_string()
    };
    samples.iter().enumerate().map(tell).collect()
}

#[test]
fn a_pool_whose_connections_are_in_use_is_degraded_and_never_unhealthy() {
    let own = |leased| sample(PoolState { reserved: 1, ..pool(leased, 0) });
    let samples = [sample(pool(8, 0)), sample(pool(9, 0)), own(7), own(8)];
    // 80 % are not too much, and 7 of 9 are less.
    assert_eq!(
        samples.map(|sample| told(&[sample]).concat()),
        ["healthy", "degraded: 9 of 10 connections are in use", "healthy", "degraded: 8 of 9 connections are in use",]
    );
}

/// Or it would say something else each second.
#[test]
fn a_pool_that_is_busy_now_and_then_is_degraded_until_it_has_been_calm_for_a_while() {
    let samples: Vec<_> = [9, 3, 10, 0].into_iter().chain([0; 10]).map(|leased| sample(pool(leased, 0))).collect();
    let [first, second] = [9, 10].map(|leased| format!("degraded: {leased} of 10 connections are in use"));
    let wanted: Vec<_> = [&first; 2].into_iter().chain([&second; 10]).cloned().chain(["healthy".to_owned()]).collect();
    assert_eq!(told(&samples)[..13], wanted, "two looks a second");
}

/// Whoever comes next finds room beside the others.
#[test]
fn of_shared_connections_the_places_that_are_taken_are_in_use() {
    let shared = |leased, shared, room| sample(PoolState { shared, room, places: 16, ..pool(leased, 0) });
    let samples = [
        shared(10, 10, 150), // one user on each
        shared(10, 10, 32),  // 128 of 160 places
        shared(10, 10, 31),
        shared(9, 9, 15), // eight of them take nobody any more, whoever uses them
        shared(9, 9, 17),
        shared(9, 1, 15), // eight have one user each, for himself
        shared(9, 1, 17), // read in different moments
    ];
    let full = |leased| format!("degraded: {leased} of 10 connections are in use");
    let well = || "healthy".to_owned();
    let expected = [well(), well(), full(10), full(9), well(), full(9), well()];
    // Each by itself: one that is busy is so for a while.
    assert_eq!(samples.map(|sample| told(&[sample]).concat()), expected);
}

#[test]
fn callers_that_wait_for_longer_than_an_instant_degrade_it() {
    let samples: Vec<_> =
        [3, 1, 2].into_iter().chain([0, 1, 1].repeat(4)).map(|waiting| sample(pool(0, waiting))).collect();
    let told_of = told(&samples);
    assert_eq!(
        (&told_of[..2], &told_of[12..]),
        (&["healthy"; 2].map(String::from)[..], &["healthy"; 3].map(String::from)[..])
    );
    assert!(
        told_of[2..12].iter().all(|one| one == "degraded: 2 callers wait"),
        "and for five seconds more: {told_of:?}"
    );
    let samples = [0, 1, 2].map(|waiting| sample(PoolState { in_line: 3, ..pool(0, waiting) }));
    assert_eq!(told(&samples)[2], "degraded: 5 callers wait", "wherever they do");
}

#[test]
fn so_does_a_lease_that_may_be_forgotten_an_open_breaker_and_a_pause() {
    let connection = ConnectionId { pool: 1, slot: 2, life: 3 };
    let held = |held| Sample { oldest: Some(OldestLease { connection, held }), ..sample(pool(0, 0)) };
    let breaker = PoolState { breaker: BreakerState::HalfOpen, paused: true, ..pool(10, 0) };
    let expected = [
        "healthy",
        "degraded: connection 1.2.3 has been leased for 600s",
        "degraded: the breaker is half open, an attempt is under way; 10 of 10 connections are in use; the pool is paused",
    ];
    assert_eq!(told(&[held(599 * SECOND), held(600 * SECOND), sample(breaker)]), expected);
}

#[test]
fn a_pause_hides_that_a_backend_does_not_answer_and_forgets_nothing() {
    let (mut judge, config) = (Judge::default(), HealthConfig::default());
    let report = |judge: &mut Judge, paused| {
        judge.look(&sample(PoolState { paused, ..pool(0, 0) }), &config);
        (judge.report().is_ready(), judge.report().to_string())
    };
    let told = |ready, text: &str| (ready, text.to_owned());
    assert_eq!(report(&mut judge, true), told(false, "starting: the pool is paused"), "it never was ready");
    (0..3).for_each(|_| judge.hear(Checked::Failed("it is gone".to_owned()), &config));
    assert_eq!(report(&mut judge, false), told(false, "unhealthy: 3 checks have failed: it is gone"));
    let paused = "degraded: 3 checks have failed: it is gone; the pool is paused";
    assert_eq!(report(&mut judge, true), told(true, paused));
    judge.hear(Checked::Busy, &config);
    assert_eq!(report(&mut judge, true), told(true, paused));
    assert_eq!(report(&mut judge, false), told(false, "unhealthy: 3 checks have failed: it is gone"));
    judge.hear(Checked::Answered(SECOND), &config);
    assert_eq!(report(&mut judge, false), told(false, "unhealthy: 1 of 2 checks have succeeded again"));
    judge.hear(Checked::Answered(SECOND), &config);
    assert_eq!(report(&mut judge, false), told(true, "healthy"));
}

#[test]
fn a_closed_pool_is_closing_whatever_its_checks_say() {
    let (mut judge, config) = (Judge::default(), HealthConfig::default());
    for checked in [Checked::Answered(SECOND), Checked::Failed(String::new())] {
        judge.hear(checked, &config);
        judge.look(&sample(PoolState { closed: true, ..pool(0, 0) }), &config);
        assert_eq!((judge.report().state, judge.report().is_ready()), (HealthState::Closing, false));
    }
}

#[test]
fn every_setting_that_can_be_wrong_is_named() {
    let zero = Duration::ZERO;
    let mut config = HealthConfig { interval: zero, retry_interval: zero, timeout: zero, ..HealthConfig::default() };
    (config.tries, config.successes, config.utilisation, config.leak_after) = (0, 0, 0, Some(zero));
    let fields: Vec<_> = config.validate().unwrap_err().refused.into_iter().map(|one| one.field).collect();
    assert_eq!(fields, ["interval", "retry_interval", "timeout", "tries", "successes", "utilisation", "leak_after"]);
    let slow = HealthConfig { retry_interval: 31 * SECOND, ..HealthConfig::default() };
    assert_eq!(
        slow.validate().unwrap_err().to_string(),
        "retry_interval = 31s is not allowed; allowed: 1 ms to interval"
    );
    let full = HealthConfig { utilisation: 101, ..HealthConfig::default() };
    assert_eq!(full.validate().unwrap_err().to_string(), "utilisation = 101 is not allowed; allowed: 1 to 100");
    assert_eq!(HealthConfig { leak_after: None, ..HealthConfig::default() }.validate(), Ok(()));
}
