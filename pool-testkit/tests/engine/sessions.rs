//! The numbers by which the server knows the sessions, shown with their connections.

use std::collections::HashSet;

use pool_core::{ObserveConfig, Pool, SlotState, SlotView};
use pool_testkit::fake::{FakeDriver, quiet};
use tokio::time::sleep;

use crate::common::{SECOND, pool_with, prove_nothing_lost, quiet_pool, until};
use crate::log::Log;

/// The session of connection 0.
const FIRST: u64 = 4_711;

fn numbered() -> FakeDriver {
    let driver = FakeDriver::new();
    driver.number_sessions_from(FIRST);
    driver
}

fn slots(pool: &Pool<FakeDriver>) -> Vec<SlotView> {
    pool.observe(ObserveConfig::default()).unwrap().snapshot().slots
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_numbers_no_sessions_has_none_shown() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let lease = pool.acquire().await.unwrap();
    assert_eq!((pool.holders()[0].session, slots(&pool)[0].session), (None, None));
    assert!(!pool.holders()[0].to_string().contains("session"), "{}", pool.holders()[0]);
    drop(lease);
    prove_nothing_lost(&pool, &driver).await;
}

/// Whether leases are watched or not.
#[tokio::test(start_paused = true)]
async fn the_session_of_a_connection_is_shown_until_the_next_one_has_its_own() {
    for leak_after in [None, Some(60 * SECOND)] {
        let driver = numbered();
        let mut config = quiet(1);
        config.leak_after = leak_after;
        let pool = pool_with(&driver, config);
        for number in FIRST..FIRST + 3 {
            let lease = pool.acquire().await.unwrap();
            let [holder] = &pool.holders()[..] else { panic!("{:?}", pool.holders()) };
            assert_eq!((holder.connection, holder.session), (lease.connection_id(), Some(number)));
            let text = holder.to_string();
            assert!(text.starts_with(&format!("connection {} (session {number})", holder.connection)), "{text}");
            drop(lease);
            let [slot] = slots(&pool)[..] else { panic!("{:?}", slots(&pool)) };
            assert_eq!((slot.state, slot.session), (SlotState::Idle, Some(number)), "nobody need have it");
            pool.acquire().await.unwrap().discard();
            until(&pool, |state| state.size == 0).await;
            assert_eq!(slots(&pool), []);
        }
        prove_nothing_lost(&pool, &driver).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_driver_is_asked_once_for_each_connection() {
    let driver = numbered();
    let pool = quiet_pool(&driver, 3);
    let first = pool.acquire().await.unwrap();
    driver.number_sessions_from(70_000);
    let second = pool.acquire().await.unwrap();
    pool.adopt(driver.open()).unwrap();
    first.make_dirty();
    drop(first);
    until(&pool, |state| state.idle == 2).await;
    let shown: HashSet<_> = slots(&pool).iter().map(|slot| slot.session.unwrap()).collect();
    assert_eq!(shown, HashSet::from([FIRST, 70_001, 70_002]), "after a reset, too, and of one that was adopted");
    drop(second);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn what_several_use_and_what_is_kept_has_its_session_too() {
    let driver = numbered();
    driver.share_by(2);
    let pool = quiet_pool(&driver, 2);
    let shared = pool.share().await.unwrap();
    let kept = pool.acquire_owned().await.unwrap().keep().unwrap();
    let seen: HashSet<_> = slots(&pool).iter().map(|slot| (slot.state, slot.session.unwrap())).collect();
    assert_eq!(seen, HashSet::from([(SlotState::Shared, FIRST), (SlotState::Reserved, FIRST + 1)]));
    kept.give_back();
    drop(shared);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn the_reports_about_a_lease_name_its_session() {
    let (log, driver) = (Log::default(), numbered());
    let _logging = tracing::subscriber::set_default(log.listener());
    let mut config = quiet(1);
    (config.leak_after, config.reclaim_after) = (Some(5 * SECOND), Some(20 * SECOND));
    let pool = pool_with(&driver, config);
    let observer = pool.observe(ObserveConfig::default()).unwrap();
    let lease = pool.acquire().await.unwrap();
    sleep(30 * SECOND).await;
    let journal = observer.snapshot().journal;
    let told = format!("{} (session {FIRST}), acquired at", lease.connection_id());
    assert_eq!(journal.iter().filter(|entry| entry.kind == "leak" && entry.message.contains(&told)).count(), 2);
    drop(lease);
    let text = log.text();
    assert_eq!(text.lines().filter(|line| *line == format!("session={FIRST}")).count(), 2, "{text}");
    until(&pool, |state| state.in_maintenance == 0).await;
    prove_nothing_lost(&pool, &driver).await;
}

/// The lock of the notes is not for everything there is.
#[tokio::test(start_paused = true)]
async fn of_very_many_slots_the_first_thousand_are_looked_up() {
    let driver = numbered();
    let mut config = quiet(1_003);
    (config.min_size, config.max_openers) = (1_003, 64);
    let pool = pool_with(&driver, config);
    until(&pool, |state| state.idle == 1_003).await;
    let told: Vec<_> = slots(&pool).iter().map(|slot| slot.session.is_some()).collect();
    assert_eq!(told, [[true; 1_000].as_slice(), &[false; 3]].concat());
    prove_nothing_lost(&pool, &driver).await;
}
