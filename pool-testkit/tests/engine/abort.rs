//! A close that does not wait for ever.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pool_core::{Aborter, Attempt, Driver, ErrorClass, OwnedLease, Pool, SessionState};
use pool_testkit::fake::{Call, FakeDriver, Step};
use tokio::time::Instant;

use crate::common::{SECOND, pool_with, quiet, quiet_pool, until};

#[tokio::test(start_paused = true)]
async fn a_close_in_time_aborts_nothing() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let held = pool.acquire_owned().await.unwrap();
    let user = tokio::spawn(async move {
        tokio::time::sleep(SECOND).await;
        assert!(!held.is_broken());
    });
    assert_eq!(pool.close_within(2 * SECOND).await, 0);
    user.await.unwrap();
    assert_eq!(pool.close_within(Duration::ZERO).await, 0, "once more");
    driver.ledger().settle(&pool.stats());
}

#[tokio::test(start_paused = true)]
async fn what_is_in_use_at_the_end_is_cut_off() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let (held, kept) = (pool.acquire_owned().await.unwrap(), pool.acquire_owned().await.unwrap());
    drop(pool.acquire().await.unwrap());
    let started = Instant::now();
    assert_eq!(pool.close_within(SECOND).await, 2);
    assert_eq!(started.elapsed(), SECOND);
    assert!(held.is_broken() && kept.is_broken(), "and their users know");
    assert_eq!(driver.ledger().live(), 2);
    drop((held, kept));
    assert_eq!(pool.close_within(SECOND).await, 0);
    driver.ledger().settle(&pool.stats());
}

#[tokio::test(start_paused = true)]
async fn what_the_pool_is_doing_at_the_end_is_dropped() {
    let driver = FakeDriver::new();
    driver.script(Call::Connect, [Step::Ok, Step::Ok, Step::Ok, Step::Hang]);
    driver.always(Call::Reset, Step::Hang);
    driver.always(Call::Ping, Step::Hang);
    driver.script(Call::Close, [Step::Hang]);
    let mut config = quiet(4);
    let forever = Duration::from_hours(10);
    (config.connect_timeout, config.reset_timeout, config.close_timeout) = (forever, forever, forever);
    (config.health_check_timeout, config.health_check_interval) = (forever, Some(SECOND));
    let pool = pool_with(&driver, config);
    let (dirty, broken, idle) =
        (pool.acquire().await.unwrap(), pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    dirty.make_dirty();
    broken.break_it();
    drop((dirty, broken, idle));
    driver.reached(Call::Ping, 1).await;
    let waiter = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire_owned().await.map(drop) }
    });
    until(&pool, |state| (state.opening, state.in_maintenance) == (1, 3)).await;
    assert_eq!(pool.close_within(60 * SECOND).await, 0);
    assert!(waiter.await.unwrap().is_err());
    driver.ledger().settle(&pool.stats());
    assert_eq!(driver.ledger().live(), 0);
}

#[tokio::test(start_paused = true)]
async fn many_close_and_the_shortest_limit_counts() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let held = pool.acquire_owned().await.unwrap();
    let patient = tokio::spawn({
        let pool = pool.clone();
        async move { pool.close().await }
    });
    assert_eq!(pool.close_within(SECOND).await, 1);
    assert!(held.is_broken() && !patient.is_finished());
    drop(held);
    patient.await.unwrap();
    driver.ledger().settle(&pool.stats());
}

#[tokio::test(start_paused = true)]
async fn a_closing_that_is_given_up_before_its_limit_aborts_nothing() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let held = pool.acquire_owned().await.unwrap();
    assert!(tokio::time::timeout(SECOND, pool.close_within(60 * SECOND)).await.is_err());
    tokio::time::sleep(120 * SECOND).await;
    assert!(!held.is_broken());
    drop(held);
    pool.close().await;
    driver.ledger().settle(&pool.stats());
}

/// A driver whose connections know whether they were cut off. Whoever is cut off first has somebody else detach another one.
#[derive(Clone, Default)]
struct Meddling(Arc<Mutex<Meddled>>);

#[derive(Default)]
struct Meddled {
    leases: Vec<(usize, OwnedLease<Meddling>)>,
    opened: usize,
    detached: Option<Arc<AtomicBool>>,
}

impl Meddling {
    fn detach_another(&self, than: usize) {
        let another = {
            let mut meddled = self.0.lock().unwrap();
            let another = meddled.leases.iter().position(|(number, _)| *number != than);
            another.filter(|_| meddled.detached.is_none()).map(|place| meddled.leases.remove(place).1)
        };
        if let Some(another) = another {
            let connection = another.detach();
            self.0.lock().unwrap().detached = Some(connection.1);
        }
    }
}

impl Driver for Meddling {
    type Connection = (usize, Arc<AtomicBool>);
    type Error = std::io::Error;

    async fn connect(&self, _: &Attempt) -> Result<(usize, Arc<AtomicBool>), std::io::Error> {
        let mut meddled = self.0.lock().unwrap();
        meddled.opened += 1;
        Ok((meddled.opened, Arc::default()))
    }

    fn inspect(&self, _: &mut (usize, Arc<AtomicBool>)) -> SessionState {
        SessionState::Clean
    }

    fn aborter(&self, (number, cut_off): &(usize, Arc<AtomicBool>)) -> Option<Aborter> {
        let (driver, number, cut_off) = (self.clone(), *number, Arc::clone(cut_off));
        Some(Box::new(move || {
            cut_off.store(true, SeqCst);
            driver.detach_another(number);
        }))
    }

    fn classify(&self, _: &std::io::Error) -> ErrorClass {
        ErrorClass::Transient
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_detached_while_others_are_cut_off_is_left_alone() {
    let driver = Meddling::default();
    let pool = Pool::builder(driver.clone()).config(pool_testkit::fake::quiet(3)).build().unwrap();
    for number in 1..=3 {
        let lease = pool.acquire_owned().await.unwrap();
        assert_eq!(lease.0, number);
        driver.0.lock().unwrap().leases.push((number, lease));
    }
    assert_eq!(pool.close_within(SECOND).await, 2);
    let meddled = std::mem::take(&mut *driver.0.lock().unwrap());
    assert!(meddled.leases.iter().all(|(_, lease)| lease.1.load(SeqCst)));
    assert!(!meddled.detached.unwrap().load(SeqCst), "it had left the pool");
    drop(meddled.leases);
    pool.close().await;
}
