//! What those are told who get no connection: for what they waited, and because of whom.

use std::error::Error;
use std::time::Duration;

use pool_core::{AcquireError, Attempt, Driver, ErrorClass, OpenFailure, Pool, SessionState, Situation, Step};
use pool_testkit::fake::{Call, FakeDriver, FakeError, Step as Does};
use tokio::time::sleep;

use crate::common::{SECOND, pool_with, prove_nothing_lost, quiet, quiet_pool, until};

/// Waits for a second in vain.
async fn in_vain<D: Driver>(pool: &Pool<D>) -> (Situation, String) {
    let error = pool.acquire_timeout(SECOND).await.map(drop).unwrap_err();
    let AcquireError::Timeout { situation, .. } = &error else { panic!("not a timeout: {error}") };
    (*situation.clone(), error.to_string())
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_the_queue_is_told_who_has_had_a_connection_for_longest() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let first = pool.acquire().await.unwrap();
    sleep(10 * SECOND).await;
    let second = pool.acquire().await.unwrap();
    let (situation, text) = in_vain(&pool).await;
    assert_eq!((situation.waited, situation.step()), (SECOND, Step::Queued));
    let oldest = situation.oldest_lease.unwrap();
    assert_eq!((oldest.connection, oldest.held), (first.connection_id(), 11 * SECOND));
    let id = first.connection_id();
    let expected = format!(
        "no connection within 1s, queued (2 leased, 0 idle, 0 opening, 0 in maintenance of 2; 0 waiting); connection {id} has been leased for 11s"
    );
    assert_eq!(text, expected);
    drop(first);
    let held = pool.acquire().await.unwrap();
    let oldest = in_vain(&pool).await.0.oldest_lease.unwrap();
    assert_eq!((oldest.connection, oldest.held), (second.connection_id(), 2 * SECOND));
    drop((second, held));
    prove_nothing_lost(&pool, &driver).await;
}

/// After many leases of a slot most are not timed by themselves.
#[tokio::test(start_paused = true)]
async fn a_lease_that_is_not_timed_is_known_to_within_a_second() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    for _ in 0..300 {
        drop(pool.acquire().await.unwrap());
    }
    let held = pool.acquire().await.unwrap();
    sleep(20 * SECOND).await;
    let oldest = in_vain(&pool).await.0.oldest_lease.unwrap();
    assert_eq!(oldest.connection, held.connection_id());
    assert!((20 * SECOND..=21 * SECOND).contains(&oldest.held), "{oldest}");
    // Another lease of the same slot is another lease.
    drop(held);
    let held = pool.acquire().await.unwrap();
    sleep(5 * SECOND).await;
    let oldest = in_vain(&pool).await.0.oldest_lease.unwrap();
    assert!((5 * SECOND..=6 * SECOND).contains(&oldest.held), "{oldest}");
    drop(held);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_attempt_is_told_how_far_it_has_come() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Does::Hang);
    let pool = quiet_pool(&driver, 1);
    let (situation, text) = in_vain(&pool).await;
    assert_eq!(situation.step(), Step::Authenticating);
    assert!(text.contains(", authenticating: logging in at the fake backend (0 leased, 0 idle, 1 opening,"), "{text}");
    // When its own time is over, that says so, too.
    until(&pool, |_| pool.stats().errors.open_timeouts == 1).await;
    let error = pool.acquire_timeout(SECOND).await.unwrap_err();
    let Some(OpenFailure::TimedOut { after, progress }) = error.failure() else { panic!("{error}") };
    assert_eq!((*after, progress.step), (5 * SECOND, Step::Authenticating));
    let words = "connect took longer than 5s (authenticating: logging in at the fake backend)";
    assert!(error.to_string().ends_with(words), "{error}");
    prove_nothing_lost(&pool, &driver).await;
}

/// A backend that never lets anybody in, and says how far it has come.
struct Slow;

impl Driver for Slow {
    type Connection = ();
    type Error = std::io::Error;

    async fn connect(&self, attempt: &Attempt) -> Result<(), std::io::Error> {
        sleep(SECOND * 3 / 2).await;
        attempt.authenticating("");
        sleep(SECOND).await;
        attempt.hook(format!("after {:?}", attempt.elapsed()));
        std::future::pending().await
    }
    fn inspect(&self, (): &mut ()) -> SessionState {
        SessionState::Clean
    }
    fn classify(&self, _: &std::io::Error) -> ErrorClass {
        ErrorClass::Transient
    }
}

#[tokio::test(start_paused = true)]
async fn each_step_of_an_attempt_has_its_name() {
    let pool = Pool::builder(Slow).config(quiet(1)).build().unwrap();
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(in_vain(&pool).await.0.progress);
    }
    assert_eq!(told.iter().map(|one| one.step).collect::<Vec<_>>(), [Step::Opening, Step::Authenticating, Step::Hook]);
    assert_eq!(
        told.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["opening", "authenticating", "setting up: after 2.5s"]
    );
    pool.close().await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_check_is_told_so() {
    let driver = FakeDriver::new();
    let mut config = quiet(1);
    (config.check_after_idle, config.check_timeout) = (Some(SECOND), 5 * SECOND);
    let pool = pool_with(&driver, config);
    drop(pool.acquire().await.unwrap());
    sleep(5 * SECOND).await;
    driver.always(Call::Ping, Does::Hang);
    let (situation, text) = in_vain(&pool).await;
    assert_eq!(situation.step(), Step::Check);
    assert!(text.contains("within 1s, checking (0 leased, 0 idle, 0 opening, 1 in maintenance"), "{text}");
    prove_nothing_lost(&pool, &driver).await;
}

/// Whether the driver's error is among the sources of this one.
fn below(error: &dyn Error) -> bool {
    let Some(source) = error.source() else { return false };
    source.downcast_ref::<FakeError>().is_some_and(|error| error.call == Call::Connect) || below(source)
}

#[tokio::test(start_paused = true)]
async fn programs_find_the_error_of_the_driver_below_every_error_that_has_one() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    driver.always(Call::Connect, Does::Fail);
    let late = pool.acquire_timeout(SECOND).await.map(drop).unwrap_err();
    assert!(below(&late), "{late:?}");
    let late = pool.ready(Duration::from_secs(1)).await.unwrap_err();
    assert!(below(&late), "{late:?}");
    driver.always(Call::Connect, Does::FailForGood);
    let failed = pool.acquire().await.map(drop).unwrap_err();
    assert!(matches!(failed, AcquireError::OpenFailed { .. }) && below(&failed), "{failed:?}");
    assert_eq!(failed.situation().map(Situation::step), Some(Step::Queued), "nothing is under way any more");
    prove_nothing_lost(&pool, &driver).await;
}
